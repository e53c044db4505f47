"""Independent components: the latent structure of a mixture.

References
----------
Celeux, G. and Govaert, G. (1992). A classification EM algorithm for clustering and two stochastic
versions. Computational Statistics & Data Analysis 14, 315-332.
"""

from types import ModuleType
from typing import Any

import numpy as np

from emfast.known import Known, components_given
from emfast.latent.base import Latent
from emfast.statistics import starved


class MixtureWeights(Latent):
    """p(z = k) = weights[k], the same for every row.

    Parameters
    ----------
    fixed : collection or mapping of "weights", see `known.Known`
    assignment : {"soft", "hard", "stochastic"}, default="soft"
        Whether the E-step gives rows to components by their responsibilities, as a whole to the
        most probable one, or as a whole to one that is drawn. The objective of "hard" is the
        classification likelihood, that of the others the likelihood.
    seed : int, default=0
        Of the draws.
    """

    groups = ("weights",)

    def __init__(self, *, fixed=(), assignment="soft", seed=0):
        self.fixed = Known(fixed)
        self.assignment = assignment
        self.seed = seed

    @property
    def draws(self) -> bool:
        return self.assignment == "stochastic"

    def with_draws(self, seed: int | None) -> "MixtureWeights":
        if not self.draws:
            return self
        assignment = "soft" if seed is None else "stochastic"
        return MixtureWeights(fixed=self.fixed, assignment=assignment, seed=seed or 0)

    def kernel(
        self, weights: np.ndarray, kernels: ModuleType, iteration: int = 0, first_row: int = 0
    ) -> Any:
        with np.errstate(divide="ignore"):
            return kernels.MixtureWeights(
                np.log(weights),
                assignment=self.assignment,
                seed=self.seed,
                iteration=iteration,
                first_row=first_row,
            )

    def weights(self, weights: np.ndarray) -> np.ndarray:
        return weights

    def mstep(self, counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """weights[k] = sum of the responsibilities of k / sum of all; 0 for a starved component.

        Free weights share what the known ones leave, in proportion to their sums.
        """
        if "weights" in self.fixed:
            return weights
        counts = np.where(starved(counts), 0.0, counts)
        known = self.fixed.of("weights", len(weights))
        if not known.any():
            return counts / counts.sum()
        return _shared(counts, weights, known) if counts[~known].sum() > 0 else weights

    def with_groups(self, weights: np.ndarray, given: dict[str, np.ndarray]) -> np.ndarray:
        """Weights that are not given share what the given ones leave."""
        if "weights" not in given:
            return weights
        return _shared(weights, given["weights"], components_given(given["weights"]))

    def n_parameters(self, n_components: int) -> int:
        return max(self.fixed.n_free("weights", n_components) - 1, 0)


def _shared(shares: np.ndarray, weights: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The `known` weights, and what they leave in proportion to `shares`, if these are not 0."""
    if known.all():
        return weights
    if not shares[~known].sum() > 0:
        shares = np.ones(len(weights))
    shares = np.where(known, 0.0, shares)
    left = max(1.0 - weights[known].sum(), 0.0)
    return np.where(known, weights, left * (shares / shares.sum()))
