"""Logarithms of probabilities and of other numbers that may be 0."""

import numpy as np
from scipy.special import logit

# log p and log(1 - p) are not taken to be lower: a row that a component excludes stays comparable.
LOG_FLOOR = -100.0


def log_above_floor(values: np.ndarray) -> np.ndarray:
    """log(values), not below `LOG_FLOOR`."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(values), LOG_FLOOR)


def log_probabilities(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log p and log(1 - p), not below `LOG_FLOOR`."""
    with np.errstate(divide="ignore"):
        return log_above_floor(p), np.maximum(np.log1p(-p), LOG_FLOOR)


def log_odds(p: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)), as far from 0 as `LOG_FLOOR` at most."""
    return np.clip(logit(p), LOG_FLOOR, -LOG_FLOOR)


def log_ratios(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """log(values / reference) of non-negative numbers, 0 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values == reference, 0.0, np.log(values) - np.log(reference))
