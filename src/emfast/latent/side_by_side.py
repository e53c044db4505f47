"""Several mixtures of the same rows, side by side: one pass serves all of them."""

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from emfast.data import Batch
from emfast.latent.mixture import MixtureWeights
from emfast.statistics import starved


class OfMixtures(NamedTuple):
    """What a pass has summed for every mixture.

    Attributes
    ----------
    counts : ndarray of shape (n_mixtures, n_components), sums of responsibilities
    log_likelihoods : ndarray of shape (n_mixtures,)
    """

    counts: np.ndarray
    log_likelihoods: np.ndarray


class SideBySide(MixtureWeights):
    """p(z = k) = weights[m, k] in mixture m, whose components follow those of the one before.

    Nothing is known of the weights, the prior is flat, and there is no noise; nothing is drawn.
    """

    def kernel(
        self,
        weights: np.ndarray,
        kernels: ModuleType,
        batch: Batch,
        iteration: int = 0,
        first_row: int = 0,
    ) -> Any:
        with np.errstate(divide="ignore"):
            log_weights = np.log(weights.ravel())
        return kernels.SideBySide(log_weights, len(weights), assignment=self.assignment)

    def statistics(self, counts: np.ndarray, flat: np.ndarray) -> OfMixtures:
        return OfMixtures(counts.reshape(len(flat), -1), flat)

    def n_components(self, weights: np.ndarray) -> int:
        return weights.size

    def weights(self, weights: np.ndarray) -> np.ndarray:
        return weights.ravel()

    def mstep(self, statistics: OfMixtures, weights: np.ndarray) -> np.ndarray:
        counts = np.where(starved(statistics.counts.T).T, 0.0, statistics.counts)
        return counts / counts.sum(axis=1, keepdims=True)
