"""Independent components: the latent structure of a mixture.

References
----------
Celeux, G. and Govaert, G. (1992). A classification EM algorithm for clustering and two stochastic
versions. Computational Statistics & Data Analysis 14, 315-332.
"""

from types import ModuleType
from typing import Any

import numpy as np

from emfast.data import Batch
from emfast.inputs.validation import column_ranges
from emfast.latent.base import Independent
from emfast.parts.known import components_given
from emfast.parts.logarithms import log_above_floor, log_ratios
from emfast.parts.priors import Dirichlet, check_concentrations
from emfast.statistics import starved
from emfast.storage.stored import DISTRIBUTIONS, Numbers

# The weight of noise where EM begins.
NOISE_AT_START = 0.05

# Relative, of a width of the box in which noise is uniform.
LARGEST_ERROR = 1e-6


class MixtureWeights(Independent):
    """p(z = k) = weights[k], the same for every row; the last is the weight of noise, if any.

    Parameters
    ----------
    fixed : collection or mapping of "weights", see `known.Known`
    assignment : {"soft", "hard", "stochastic"}, default="soft"
        Whether the E-step gives rows to components by their responsibilities, as a whole to the
        most probable one, or as a whole to one that is drawn. The objective of "hard" is the
        classification likelihood, that of the others the likelihood.
    seed : int, default=0
        Of the draws.
    noise : ndarray of shape (2, n_features), optional
        Least and largest values: one component more, the last, is uniform in this box. Its density
        is taken to be the same outside, and that of a row with missing entries to be the density of
        the others.
    """

    groups = ("weights",)
    prior_names = ("weight_concentration_prior",)

    def __init__(self, *, fixed=(), assignment="soft", seed=0, noise=None):
        super().__init__(fixed=fixed, assignment=assignment, seed=seed)
        self.noise = noise

    def kernel(
        self,
        weights: np.ndarray,
        kernels: ModuleType,
        batch: Batch,
        iteration: int = 0,
        first_row: int = 0,
    ) -> Any:
        background = background_of_rows = None
        if self.noise is not None:
            log_widths = np.log(self.noise[1] - self.noise[0])
            background = -log_widths.sum()
            if batch.missing:
                background_of_rows = np.isnan(batch.X) @ log_widths
        with np.errstate(divide="ignore"):
            return kernels.MixtureWeights(
                np.log(weights),
                assignment=self.assignment,
                seed=self.seed,
                iteration=iteration,
                first_row=first_row,
                background=background,
                background_of_rows=background_of_rows,
            )

    def n_components(self, weights: np.ndarray) -> int:
        return len(weights)

    def stored(self, n_components: int) -> Numbers:
        return Numbers(n_components + (self.noise is not None), rule=DISTRIBUTIONS)

    def weights(self, weights: np.ndarray) -> np.ndarray:
        return weights if self.noise is None else weights[:-1]

    def flat_start(self, n_components: int) -> np.ndarray:
        return self._with_noise(np.full(n_components, 1 / n_components))

    def start(self, counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
        started = self.mstep(counts, weights)
        if self.noise is None or "weights" in self.fixed:
            return started
        own = started[:-1]
        # Without a weight it would never have one.
        return self._with_noise(own / own.sum() if own.any() else np.full(len(own), 1 / len(own)))

    def reseed(
        self, weights: np.ndarray, components: np.ndarray, counts: np.ndarray, n_rows: int
    ) -> np.ndarray:
        shares = np.zeros(len(weights))
        shares[: len(counts)] = counts
        shares[components] = counts.sum() / n_rows
        return self.start(shares, weights)

    def _with_noise(self, weights: np.ndarray) -> np.ndarray:
        if self.noise is None:
            return weights
        return np.append((1 - NOISE_AT_START) * weights, NOISE_AT_START)

    def mstep(self, counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """weights[k] = sum of the responsibilities of k / sum of all; 0 for a starved component.

        Free weights share what the known ones leave, in proportion to their sums.
        """
        if "weights" in self.fixed:
            return weights
        counts = np.where(starved(counts), 0.0, counts)
        if self.prior is not None:
            counts = counts + self.prior.counts
        if not self.fixed.touches("weights"):
            return counts / counts.sum()
        known = self._known(weights)
        return _shared(counts, weights, known) if counts[~known].sum() > 0 else weights

    def expected_log_density(self, counts: np.ndarray, weights: np.ndarray) -> float:
        # What is left of a component that has starved is rounding.
        return float((counts * log_above_floor(weights)).sum())

    def _known(self, weights: np.ndarray) -> np.ndarray:
        """Which of the weights are known, that of noise not among them, bool."""
        own = len(self.weights(weights))
        return np.append(self.fixed.of("weights", own), np.zeros(len(weights) - own, bool))

    def checked_prior(self, prior: dict[str, Any], n_components: int) -> Dirichlet | None:
        name = self.prior_names[0]
        if name not in prior:
            return None
        K = n_components
        counts = check_concentrations(f"prior[{name!r}]", prior[name], (), (K,))
        if self.noise is not None:
            counts = np.append(np.broadcast_to(counts, K), counts if counts.ndim == 0 else 0.0)
        return Dirichlet(np.broadcast_to(counts, K + (self.noise is not None)))

    def log_prior(self, weights: np.ndarray) -> float:
        return 0.0 if self.prior is None else self.prior.log_density(weights)

    def with_groups(self, weights: np.ndarray, given: dict[str, np.ndarray]) -> np.ndarray:
        """Weights that are not given share what the given ones leave."""
        if "weights" not in given:
            return weights
        values = given["weights"]
        if self.noise is not None:
            values = np.append(values, np.nan)
        return _shared(weights, values, components_given(values))

    def displacement(self, weights: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Logarithms of ratios; none of a component that has starved."""
        if "weights" in self.fixed:
            return np.empty(0)
        return log_ratios(weights, reference)

    def displaced(self, displacement: np.ndarray, reference: np.ndarray) -> np.ndarray | None:
        if "weights" in self.fixed:
            return reference
        weights = reference * np.exp(displacement)
        known, total = self._known(reference), weights.sum()
        if not 0 < total < np.inf:
            return None
        return _shared(weights, reference, known) if known.any() else weights / total

    def n_parameters(self, n_components: int) -> int:
        n_free = self.fixed.n_free("weights", n_components) + (self.noise is not None)
        return max(n_free - 1, 0)


def _shared(shares: np.ndarray, weights: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The `known` weights, and what they leave in proportion to `shares`, if these are not 0."""
    if known.all():
        return weights
    if not shares[~known].sum() > 0:
        shares = np.ones(len(weights))
    shares = np.where(known, 0.0, shares)
    left = max(1.0 - weights[known].sum(), 0.0)
    return np.where(known, weights, left * (shares / shares.sum()))


def noise_bounds(noise: bool | float, X: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The box in which noise is uniform, (2, n_features).

    It is the bounding box of the rows of positive weight. If a volume is given it is made so large,
    about its middle and with the same factor for every feature.
    """
    box = np.array(column_ranges(X, weights), np.float64)
    widths = box[1] - box[0]
    flat = np.flatnonzero(~(widths > 0))
    if noise is True or isinstance(noise, np.bool_):
        if flat.size:
            raise ValueError(
                f"noise: column {flat[0]} of X is constant ({box[0, flat[0]]}), so that its "
                "bounding box has no volume; expected columns that vary, or noise=<volume>"
            )
        return box
    widths[flat] = 1.0
    widths *= np.exp((np.log(float(noise)) - np.log(widths).sum()) / len(widths))
    middle = 0.5 * (box[0] + box[1])
    box = np.stack([middle - 0.5 * widths, middle + 0.5 * widths])
    lost = np.flatnonzero(~(np.abs(box[1] - box[0] - widths) <= LARGEST_ERROR * widths))
    if lost.size:
        raise ValueError(
            f"noise: found the volume {noise:g}; expected a larger one, for rounding would change "
            f"the width {widths[lost[0]]:.3g} of its box about {middle[lost[0]]:.3g} in column "
            f"{lost[0]} of X"
        )
    return box
