r"""Gaussian emissions.

With responsibilities :math:`r_{nk}` and moments taken about an origin :math:`o_k`,

.. math::
    F_k = \sum_n r_{nk} (x_n - o_k), \qquad S_k = \sum_n r_{nk} (x_n - o_k)(x_n - o_k)^T,

the M-step is :math:`\mu_k = o_k + F_k / n_k` and
:math:`\Sigma_k = S_k / n_k - (F_k / n_k)(F_k / n_k)^T` (Bishop, Pattern Recognition and Machine
Learning, 2006, eqs. 9.24 and 9.25, moved to the origin). Where the means are fixed, the covariance
is taken about them.
"""

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from emfast.emissions.base import Emission, refuse_another_kind
from emfast.emissions.covariances import (
    EPSILON,
    RANK_DIGITS,
    STRUCTURES,
    CovarianceStructure,
    rounding_variances,
)
from emfast.emissions.degeneracy import degenerate_components
from emfast.exceptions import SingularComponentError
from emfast.known import Known, filled
from emfast.statistics import Statistics, starved

COVARIANCE_TYPES = tuple(STRUCTURES)

# Digits lost where moments cancel, in units of machine epsilon times (mean - origin)^2.
LOST_DIGITS = 10

# Moments are precise where (mean - origin)^2 is at most epsilon^-CANCELLATION times the variance: a
# quarter of the digits may cancel.
CANCELLATION = 0.25

# Rows times features times features from which a pass that leaves out their scatter saves more than
# it takes to add it.
LEAST_SCATTER = 500_000

# Counts that a starved component, whose estimates nobody uses, can be divided by.
LEAST_COUNT = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, eq=False)
class GaussianParameters:
    """Parameters of K Gaussians in D dimensions.

    Attributes
    ----------
    means : ndarray of shape (K, D)
    covariances : ndarray of shape (K, D, D), (D, D), (K, D) or (K,) for full, tied, diag, spherical
    factors : ndarray of the shape of covariances
        Lower-triangular P with P^T P the precision (full, tied), or square roots of the precisions.
    """

    means: np.ndarray
    covariances: np.ndarray
    factors: np.ndarray


@dataclass(frozen=True, eq=False)
class GaussianStatistics:
    """Moments about an origin.

    Attributes
    ----------
    covariance_type : str
    counts : ndarray of shape (K,), sums of responsibilities
    origin : ndarray of shape (K, D), what the moments are taken about
    first : ndarray of shape (K, D)
    second : ndarray of shape (K, D, D), (D, D), (K, D) or (K,) for full, tied, diag, spherical
        For tied, the sum over components, or None where it is known to be constant; for spherical,
        the sum over features.
    epsilon : float, machine epsilon of the precision the rows were computed in
    """

    covariance_type: str
    counts: np.ndarray
    origin: np.ndarray
    first: np.ndarray
    second: np.ndarray
    epsilon: float = EPSILON

    @property
    def kind(self) -> str:
        return f"{self.covariance_type} Gaussian of shape {self.first.shape}"

    @property
    def structure(self) -> CovarianceStructure:
        return STRUCTURES[self.covariance_type]

    def about(self, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """First and second moments about another origin: algebra, no data needed."""
        shift = self.origin - origin
        first = self.first + self.counts[:, None] * shift
        if self.second is None:
            return first, None
        return first, self.structure.moved(self.second, shift, self.first, first)

    def moved_to(self, origin: np.ndarray) -> "GaussianStatistics":
        """The same statistics about another origin."""
        first, second = self.about(origin)
        return replace(self, origin=origin, first=first, second=second)

    def __add__(self, other: "GaussianStatistics") -> "GaussianStatistics":
        refuse_another_kind(self, other)
        other = other.moved_to(self.origin)
        return replace(
            self,
            counts=self.counts + other.counts,
            first=self.first + other.first,
            second=None if self.second is None else self.second + other.second,
            epsilon=max(self.epsilon, other.epsilon),
        )


@dataclass(frozen=True, eq=False)
class ConstantScatter:
    """The scatter of all rows about a point, which no responsibility enters.

    Attributes
    ----------
    point : ndarray of shape (D,)
    weight : float, sum of the weights of the rows
    first : ndarray of shape (D,), sum of w (x - point)
    second : ndarray of shape (D, D), sum of w (x - point) (x - point)'
    """

    point: np.ndarray
    weight: float
    first: np.ndarray
    second: np.ndarray

    def about(self, point: np.ndarray) -> np.ndarray:
        """The scatter about another point."""
        shift = self.point - point
        first = self.first + self.weight * shift
        return self.second + shift[:, None] * self.first + first[:, None] * shift


class Gaussian(Emission):
    """Gaussian with a covariance matrix of one of four shapes.

    Parameters
    ----------
    covariance_type : {"full", "tied", "diag", "spherical"}
    reg_covar : float, default=1e-6
        Added to the variances in every M-step.
    fixed : collection or mapping of "means" and "covariances", see `known.Known`
    """

    groups = ("means", "covariances")

    def __init__(self, covariance_type="full", *, reg_covar=1e-6, fixed=()):
        self.covariance_type = covariance_type
        self.structure = STRUCTURES[covariance_type]
        self.reg_covar = reg_covar
        self.fixed = Known(fixed)
        self.shared = ("covariances",) if self.structure.shared else ()

    @property
    def kind(self) -> str:
        return f"{self.covariance_type} Gaussian"

    def kernel(
        self,
        parameters: GaussianParameters,
        weights: np.ndarray,
        kernels: ModuleType,
        constant: "ConstantScatter | None" = None,
    ) -> Any:
        # In the precision of the rows, from which it is subtracted.
        centre = _median(parameters.means, weights).astype(kernels.DTYPE, copy=False)
        centre = centre.astype(np.float64, copy=False)
        return self.structure.kernel(
            kernels, centre, parameters.means - centre, parameters.factors, constant is not None
        )

    def statistics(
        self, flat: np.ndarray, counts: np.ndarray, kernel: Any, parameters: GaussianParameters
    ) -> GaussianStatistics:
        first, second = self.structure.moments(flat, kernel, *parameters.means.shape)
        centre = np.array(kernel.centre_values())
        if kernel.about_centre:
            origin = centre[None].repeat(len(counts), axis=0)
        else:
            origin = centre + (parameters.means - centre).astype(kernel.dtype)
        epsilon = EPSILON if kernel.dtype == "float64" else float(np.finfo(kernel.dtype).eps)
        return GaussianStatistics(self.covariance_type, counts, origin, first, second, epsilon)

    def has_constant(self, n_rows: int, n_features: int) -> bool:
        """With a covariance that all components share: the scatter of all rows."""
        return self.structure.shared and n_rows * n_features**2 >= LEAST_SCATTER

    def constant(self, statistics: GaussianStatistics) -> ConstantScatter:
        point = statistics.origin[0]
        first, second = statistics.about(point)
        return ConstantScatter(point, statistics.counts.sum(), first.sum(axis=0), second)

    def complete(
        self, statistics: Statistics, parameters: GaussianParameters, constant: ConstantScatter
    ) -> Statistics:
        """Add sum_n w_n (log-density that components share) = - trace(Lambda S) / 2, and S."""
        if statistics.emission.second is not None:
            return statistics
        scatter = constant.about(statistics.emission.origin[0])
        factor = parameters.factors
        shared = -0.5 * float(((factor @ scatter) * factor).sum())
        return replace(
            statistics,
            log_likelihood=statistics.log_likelihood + shared,
            emission=replace(statistics.emission, second=scatter),
        )

    def mstep(
        self, statistics: GaussianStatistics, parameters: GaussianParameters
    ) -> GaussianParameters:
        counts, origin, structure = statistics.counts, statistics.origin, self.structure
        gone = starved(counts)
        n = np.maximum(counts, LEAST_COUNT)
        means = origin + statistics.first / n[:, None]
        means = self.fixed.keep("means", means, parameters.means, gone)
        if "covariances" in self.fixed:
            return replace(parameters, means=means)
        second = statistics.about(means)[1]
        unknown = LOST_DIGITS * statistics.epsilon * (means - origin) ** 2
        covariances = structure.averages(second, n, means.shape[1])
        covariances = structure.raise_variances(covariances, unknown, self.reg_covar)
        kept = gone | self.fixed.of("covariances", len(gone))
        estimate = self._regular(means, covariances, statistics.epsilon, kept)
        if np.count_nonzero(kept) and not structure.shared:
            estimate.covariances[kept] = parameters.covariances[kept]
            estimate.factors[kept] = parameters.factors[kept]
        return estimate

    def is_precise(self, statistics: GaussianStatistics, parameters: GaussianParameters) -> bool:
        distances = self.structure.whitened(
            parameters.factors, parameters.means - statistics.origin
        )
        return bool((distances**2).max() <= statistics.epsilon**-CANCELLATION)

    def _regular(
        self,
        means: np.ndarray,
        covariances: np.ndarray,
        epsilon: float,
        kept: np.ndarray | bool = False,
    ) -> GaussianParameters:
        """Parameters with regular covariances, which are overwritten.

        With ``reg_covar > 0`` a covariance that is singular to rounding gets the smallest
        eigenvalues that keep it regular; without, it is an error, except for components whose
        covariances are `kept` as they were.
        """
        factors, singular = self.structure.regular(covariances, means, epsilon, self.reg_covar)
        if np.count_nonzero(singular):
            if not self.structure.shared:
                singular = singular & ~np.asarray(kept)
            self._refuse_singular(np.flatnonzero(singular))
        return GaussianParameters(means, covariances, factors)

    def _refuse_singular(self, components: np.ndarray) -> None:
        if not components.size:
            return
        which = (
            "the covariance that all components share"
            if self.structure.shared
            else f"the covariance of component(s) {components.tolist()}"
        )
        raise SingularComponentError(
            f"{which} became singular with reg_covar={self.reg_covar}; fewer components, a simpler "
            "covariance_type or reg_covar > 0 avoid it",
            tuple(components.tolist()),
        )

    def parameters(self, means: np.ndarray, covariances: np.ndarray) -> GaussianParameters:
        """Parameters in human units, with the factors of the precisions."""
        return self._regular(means, np.array(covariances), 0.0)

    def of_factors(self, means: np.ndarray, factors: np.ndarray) -> GaussianParameters:
        """Parameters from factors of the precisions."""
        covariances = self.structure.covariances(factors)
        return GaussianParameters(means, covariances, np.ascontiguousarray(factors))

    def flat_start(self, X: np.ndarray, n_components: int) -> GaussianParameters:
        X = X.astype(np.float64)
        mean = X.mean(axis=0)
        variance = ((X - mean) ** 2).mean(axis=0)
        variance[~(variance > 0)] = 1.0
        means = mean[None].repeat(n_components, axis=0)
        return self._regular(means, self.structure.of_variances(variance, n_components), 0.0)

    def with_groups(
        self, parameters: GaussianParameters, given: dict[str, np.ndarray]
    ) -> GaussianParameters:
        means = filled(given.get("means"), parameters.means)
        if "covariances" not in given:
            return replace(parameters, means=means)
        return self.parameters(means, filled(given["covariances"], parameters.covariances))

    def reseed(
        self,
        parameters: GaussianParameters,
        components: np.ndarray,
        rows: np.ndarray,
        healthy: np.ndarray,
    ) -> GaussianParameters:
        means = parameters.means.copy()
        means[components] = rows
        means = self.fixed.keep("means", means, parameters.means)
        if self.structure.shared or "covariances" in self.fixed:
            return replace(parameters, means=means)
        covariances = parameters.covariances.copy()
        covariances[components] = covariances[healthy].mean(axis=0)
        covariances = self.fixed.keep("covariances", covariances, parameters.covariances)
        return self.parameters(means, covariances)

    def shape(self, parameters: GaussianParameters) -> tuple[int, int]:
        return parameters.means.shape

    def group_size(self, group: str, n_components: int, n_features: int) -> int:
        if group == "means":
            return n_components * n_features
        return self.structure.n_parameters(n_components, n_features)

    def draw(
        self,
        parameters: GaussianParameters,
        component: int,
        n_rows: int,
        random_state: np.random.RandomState,
    ) -> np.ndarray:
        means = parameters.means
        normal = random_state.standard_normal((n_rows, means.shape[1]))
        return means[component] + self.structure.deviates(parameters.factors, component, normal)

    def slack(self, parameters: GaussianParameters, weights: np.ndarray, epsilon: float) -> float:
        """What `reg_covar` and rounding may cost, per unit of weight.

        An error E_k in the covariances changes the objective by at most
        1/2 sum_k weights_k trace(precision_k |E_k|): by design E_k is reg_covar I, and by rounding
        some epsilons times the variances.
        """
        if "covariances" in self.fixed:
            return 0.0
        D = parameters.means.shape[1]
        traces = self.structure.traces(
            parameters.covariances,
            parameters.factors,
            D,
            added=self.reg_covar,
            part=RANK_DIGITS * D * epsilon,
        )
        return 0.5 * float((weights * traces).sum())

    def degenerate(
        self, statistics: GaussianStatistics, parameters: GaussianParameters, n_rows: int
    ) -> list[int]:
        """Components that are thin for no good reason: see `degeneracy`."""
        if self.structure.shared or "covariances" in self.fixed:
            return []
        counts, means = statistics.counts, parameters.means
        n = np.where(starved(counts), 1.0, counts)
        moments = self.structure.averages(statistics.about(means)[1], n, means.shape[1])
        return degenerate_components(
            counts / counts.sum(),
            *self.structure.by_direction(
                parameters.covariances, moments, rounding_variances(means, statistics.epsilon)
            ),
            n_rows,
            self.reg_covar,
        )

    def precisions(self, parameters: GaussianParameters) -> np.ndarray:
        """Inverses of the covariances, in their shape."""
        return self.structure.precisions(parameters.factors)


def _median(means: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted median of the means, column by column: components far out do not move it."""
    order = means.argsort(axis=0)
    below = weights[order].cumsum(axis=0)
    middle = (below >= 0.5 * below[-1]).argmax(axis=0)
    columns = np.arange(means.shape[1])
    return means[order[middle, columns], columns]
