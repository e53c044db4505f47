"""Checks of what users give; every message names the argument, what was found, what is expected."""

from typing import Any

import numpy as np


def check_sample_weight(sample_weight: Any, n_rows: int) -> np.ndarray | None:
    """Weights as float64 of shape (n_rows,), or None.

    Raises
    ------
    ValueError
        Not numeric, of another shape, negative, not finite, or all zero.
    """
    if sample_weight is None:
        return None
    weights = _as_floats("sample_weight", sample_weight)
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight: found shape {weights.shape}; expected ({n_rows},), one weight a row"
        )
    _check_finite("sample_weight", weights)
    if np.any(weights < 0):
        row = int(np.flatnonzero(weights < 0)[0])
        raise ValueError(f"sample_weight: found {weights[row]} in row {row}; expected no negatives")
    if not np.any(weights > 0):
        raise ValueError("sample_weight: all weights are zero; expected at least one positive")
    return weights


def check_array_of(name: str, values: Any, shape: tuple[int, ...], meaning: str) -> np.ndarray:
    """Finite float64 values of exactly this shape."""
    array = _as_floats(name, values)
    if array.shape != shape:
        raise ValueError(f"{name}: found shape {array.shape}; expected {shape}, {meaning}")
    _check_finite(name, array)
    return np.ascontiguousarray(array)


def check_mixture_weights(weights_init: Any, n_components: int) -> np.ndarray:
    """Weights of the components: non-negative numbers that sum to 1."""
    weights = check_array_of("weights_init", weights_init, (n_components,), "(n_components,)")
    if np.any(weights < 0):
        raise ValueError(f"weights_init: found {weights.min()}; expected no negatives")
    if not np.isclose(weights.sum(), 1.0, rtol=0, atol=1e-6):
        raise ValueError(f"weights_init: found a sum of {weights.sum()}; expected 1")
    return weights / weights.sum()


def check_probabilities(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = check_array_of(name, values, shape, "(n_components, n_features)")
    if np.any((array < 0) | (array > 1)):
        wrong = array[(array < 0) | (array > 1)][0]
        raise ValueError(f"{name}: found {wrong}; expected probabilities between 0 and 1")
    return array


def check_positive_definite(
    name: str, values: Any, covariance_type: str, K: int, D: int
) -> np.ndarray:
    """Covariances or precisions of one of the four shapes, positive (definite) and symmetric."""
    shape, meaning = {
        "full": ((K, D, D), "(n_components, n_features, n_features)"),
        "tied": ((D, D), "(n_features, n_features)"),
        "diag": ((K, D), "(n_components, n_features)"),
        "spherical": ((K,), "(n_components,)"),
    }[covariance_type]
    array = check_array_of(name, values, shape, f"{meaning} for {covariance_type!r}")
    if covariance_type in ("diag", "spherical"):
        if np.any(array <= 0):
            raise ValueError(f"{name}: found {array.min()}; expected positive numbers")
        return array
    for k, matrix in enumerate(array if covariance_type == "full" else array[None]):
        which = f"{name}[{k}]" if covariance_type == "full" else name
        if not np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-12 * np.abs(matrix).max()):
            raise ValueError(f"{which}: found an asymmetric matrix; expected a symmetric one")
        smallest = np.linalg.eigvalsh(matrix)[0]
        if smallest <= 0:
            raise ValueError(
                f"{which}: found an eigenvalue of {smallest:.3g}; expected positive definiteness"
            )
    return array


def _as_floats(name: str, values: Any) -> np.ndarray:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: found values that are not numbers ({error})") from error


def _check_finite(name: str, array: np.ndarray) -> None:
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name}: found {array[~np.isfinite(array)][0]}; expected finite numbers")
