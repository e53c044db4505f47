"""Independent components: the latent structure of a mixture."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

# Below this fraction of all rows, times machine epsilon, a component has starved.
STARVED_EPSILONS = 10


def starved(counts: np.ndarray) -> np.ndarray:
    """Which components have too little weight for an M-step, by the sums of responsibilities."""
    return counts < STARVED_EPSILONS * np.finfo(np.float64).eps * counts.sum()


@dataclass(frozen=True)
class MixtureWeights:
    """p(z = k) = weights[k], the same for every row.

    Parameters
    ----------
    fixed : bool, whether the weights are known
    """

    fixed: bool = False

    def kernel(self, weights: np.ndarray, kernels: ModuleType) -> Any:
        with np.errstate(divide="ignore"):
            return kernels.MixtureWeights(np.log(weights))

    def mstep(self, counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """weights[k] = sum of the responsibilities of k / sum of all; 0 for a starved component."""
        if self.fixed:
            return weights
        counts = np.where(starved(counts), 0.0, counts)
        return counts / counts.sum()

    def n_parameters(self, n_components: int) -> int:
        return 0 if self.fixed else n_components - 1
