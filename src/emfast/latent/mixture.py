"""Independent components: the latent structure of a mixture."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from emfast.latent.base import Latent
from emfast.statistics import starved


def log_ratios(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """log(values / reference) of non-negative numbers, 0 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values == reference, 0.0, np.log(values) - np.log(reference))


@dataclass(frozen=True)
class MixtureWeights(Latent):
    """p(z = k) = weights[k], the same for every row.

    Parameters
    ----------
    fixed : bool, whether the weights are known
    """

    fixed: bool = False

    def kernel(self, weights: np.ndarray, kernels: ModuleType) -> Any:
        with np.errstate(divide="ignore"):
            return kernels.MixtureWeights(np.log(weights))

    def weights(self, weights: np.ndarray) -> np.ndarray:
        return weights

    def mstep(self, counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """weights[k] = sum of the responsibilities of k / sum of all; 0 for a starved component."""
        if self.fixed:
            return weights
        counts = np.where(starved(counts), 0.0, counts)
        return counts / counts.sum()

    def displacement(self, weights: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Logarithms of ratios; none of a component that has starved."""
        if self.fixed:
            return np.empty(0)
        return log_ratios(weights, reference)

    def displaced(self, displacement: np.ndarray, reference: np.ndarray) -> np.ndarray | None:
        if self.fixed:
            return reference
        weights = reference * np.exp(displacement)
        total = weights.sum()
        return weights / total if 0 < total < np.inf else None

    def n_parameters(self, n_components: int) -> int:
        return 0 if self.fixed else n_components - 1
