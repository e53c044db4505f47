r"""Gaussian emissions.

With responsibilities :math:`r_{nk}` and moments taken about an origin :math:`o_k`,

.. math::
    F_k = \sum_n r_{nk} (x_n - o_k), \qquad S_k = \sum_n r_{nk} (x_n - o_k)(x_n - o_k)^T,

the M-step is :math:`\mu_k = o_k + F_k / n_k` and
:math:`\Sigma_k = S_k / n_k - (F_k / n_k)(F_k / n_k)^T` (Bishop, Pattern Recognition and Machine
Learning, 2006, eqs. 9.24 and 9.25, moved to the origin). Where the means are fixed, the covariance
is taken about them.

Where entries of rows are missing, independent features ("diag", "spherical") leave out their
factors of the density, and moments are of what is known. Otherwise moments are expected ones, given
what is known of the row (Little and Rubin, Statistical Analysis with Missing Data, 2002, section
11.2).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from emfast.annotations import CovarianceType, Fixed
from emfast.emissions.base import Emission, FlatTotal, refuse_another_kind
from emfast.emissions.covariances import (
    EPSILON,
    RANK_DIGITS,
    STRUCTURES,
    CovarianceStructure,
    rounding_variances,
)
from emfast.emissions.degeneracy import degenerate_components
from emfast.exceptions import SingularComponentError
from emfast.inputs.arguments import check_array_of, check_of_components, check_positive_definite
from emfast.inputs.rows import as_points
from emfast.inputs.validation import check_rows, check_squares, column_ranges
from emfast.parts.known import Known, filled
from emfast.parts.priors import (
    GAUSSIAN_PRIOR_NAMES,
    NormalInverseWishart,
    check_normal_inverse_wishart,
)
from emfast.statistics import LEAST_COUNT, STARVED, Statistics, starved
from emfast.storage.stored import (
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_DIAGONALS,
    TRIANGLES,
    Number,
    Numbers,
    Record,
)

COVARIANCE_TYPES = tuple(STRUCTURES)

# Digits lost where moments cancel, in units of machine epsilon times (mean - origin)^2.
LOST_DIGITS = 10

# Moments are precise where (mean - origin)^2 is at most epsilon^-CANCELLATION times the variance: a
# quarter of the digits may cancel.
CANCELLATION = 0.25

# Rows times features times features from which a pass that leaves out their scatter saves more than
# it takes to add it.
LEAST_SCATTER = 500_000


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
    known : ndarray of shape (K, D) or None
        Sums of responsibilities of the rows that have the feature, where moments are of those
        alone; None where they are of all rows.
    """

    covariance_type: str
    counts: np.ndarray
    origin: np.ndarray
    first: np.ndarray
    second: np.ndarray
    epsilon: float = EPSILON
    known: np.ndarray | None = None

    @property
    def entries(self) -> np.ndarray:
        """Sums of responsibilities behind every first moment, (K, D) or (K, 1)."""
        return self.counts[:, None] if self.known is None else self.known

    @property
    def unseen(self) -> np.ndarray | None:
        """Which features of a component too few rows have to tell its parameters; None if all."""
        return None if self.known is None else self.known < STARVED * self.counts.sum()

    @property
    def kind(self) -> str:
        return f"{self.covariance_type} Gaussian of shape {self.first.shape}"

    @property
    def structure(self) -> CovarianceStructure:
        return STRUCTURES[self.covariance_type]

    def about(self, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """First and second moments about another origin: algebra, no data needed."""
        shift = self.origin - origin
        first = self.first + self.entries * shift
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
        all_known = self.known is None and other.known is None
        return replace(
            self,
            counts=self.counts + other.counts,
            first=self.first + other.first,
            second=None if self.second is None else self.second + other.second,
            epsilon=max(self.epsilon, other.epsilon),
            known=None if all_known else self.entries + other.entries,
        )

    def __mul__(self, factor: float) -> "GaussianStatistics":
        return replace(
            self,
            counts=factor * self.counts,
            first=factor * self.first,
            second=None if self.second is None else factor * self.second,
            known=None if self.known is None else factor * self.known,
        )

    @property
    def shape(self) -> tuple[int, int]:
        return self.first.shape

    @staticmethod
    def stored(K: int, D: int, told: dict[str, Any]) -> dict[str, Any]:
        return {
            "covariance_type": str,
            "counts": Numbers(K, rule=NOT_NEGATIVE),
            "origin": Numbers(K, D),
            "first": Numbers(K, D),
            "second": Numbers(*shape_of_covariances(told["covariance_type"], K, D)),
            "epsilon": Number(POSITIVE),
            "known": type(None) if told["known"] is None else Numbers(K, D, rule=NOT_NEGATIVE),
        }


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


def shape_of_covariances(covariance_type: str, K: int, D: int) -> tuple[int, ...]:
    """Of K components in D dimensions."""
    return {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}[covariance_type]


class Gaussian(Emission):
    """Gaussian with a covariance matrix of one of four shapes.

    Parameters
    ----------
    covariance_type : {"full", "tied", "diag", "spherical"}
    reg_covar : float, default=1e-6
        Added to the variances in every M-step.
    fixed : collection or mapping of "means" and "covariances", see `known.Known`
    """

    takes_numbers = True
    separable = True
    groups = ("means", "covariances")
    prior_names = GAUSSIAN_PRIOR_NAMES
    has_units = True

    def __init__(
        self,
        covariance_type: CovarianceType = "full",
        *,
        reg_covar: float = 1e-6,
        fixed: Fixed = (),
    ) -> None:
        self.covariance_type = covariance_type
        self.structure = STRUCTURES[covariance_type]
        self.reg_covar = reg_covar
        self.fixed = Known(fixed)
        self.shared = ("covariances",) if self.structure.shared else ()

    @property
    def kind(self) -> str:
        return f"{self.covariance_type} Gaussian"

    def validated(self, estimator, X, *, reset):
        return check_rows(estimator, X, [np.float64, np.float32], reset=reset, allow_missing=True)

    def check_columns(
        self, X: np.ndarray, weights: np.ndarray | None, called: Callable[[int], str]
    ) -> None:
        check_squares(X, weights)
        if self.reg_covar > 0 or "covariances" in self.fixed or self._is_bounded:
            return
        least, largest = column_ranges(X, weights)
        constant = np.flatnonzero(least == largest)
        if constant.size:
            column = int(constant[0])
            raise ValueError(
                f"X: {called(column)} is constant ({least[column]}), so that its variances are 0; "
                "expected columns that vary, or reg_covar > 0"
            )

    def checked(self, name: str, group: str, values: Any, K: int, D: int) -> np.ndarray:
        def check(name: str, values: Any) -> np.ndarray:
            if group == "means":
                return check_array_of(name, values, (K, D), "(n_components, n_features)")
            return check_positive_definite(name, values, self.covariance_type, K, D)

        if group in self.shared:
            return check(name, values)
        return check_of_components(name, values, check)

    def kernel(
        self,
        parameters: GaussianParameters,
        weights: np.ndarray,
        kernels: ModuleType,
        constant: "ConstantScatter | None" = None,
        missing: bool = False,
        storage: str = "dense",
    ) -> Any:
        # In the precision of the rows, from which it is subtracted.
        centre = _median(parameters.means, weights).astype(kernels.DTYPE, copy=False)
        centre = centre.astype(np.float64, copy=False)
        means, factors = parameters.means - centre, parameters.factors
        if missing:
            return self.structure.kernel_with_missing(
                kernels, centre, means, factors, parameters.covariances
            )
        return self.structure.kernel(kernels, centre, means, factors, constant is not None)

    def statistics(
        self, flat: np.ndarray, counts: np.ndarray, kernel: Any, parameters: GaussianParameters
    ) -> GaussianStatistics:
        first, second, known = self.structure.moments(flat, kernel, *parameters.means.shape)
        centre = np.array(kernel.centre_values())
        if kernel.about_centre:
            origin = centre[None].repeat(len(counts), axis=0)
        else:
            origin = centre + (parameters.means - centre).astype(kernel.dtype)
        epsilon = EPSILON if kernel.dtype == "float64" else float(np.finfo(kernel.dtype).eps)
        return GaussianStatistics(
            self.covariance_type, counts, origin, first, second, epsilon, known
        )

    def constant(
        self, n_rows: int, n_features: int, flat_total: FlatTotal, missing: bool
    ) -> ConstantScatter | None:
        """With a covariance that all components share: the scatter of all rows, if complete."""
        if missing or not self.structure.shared or n_rows * n_features**2 < LEAST_SCATTER:
            return None
        statistics = flat_total(self)[0].emission
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
        gone, unseen, prior = starved(counts), statistics.unseen, self.prior
        first, entries = statistics.first, statistics.entries
        if prior is not None:
            first = first + prior.distances(origin)
            entries = entries + prior.strengths[:, None]
        means = origin + first / np.maximum(entries, LEAST_COUNT)
        if prior is None or not prior.tells_means:
            if unseen is not None:
                means[unseen] = parameters.means[unseen]
            means = self.fixed.keep("means", means, parameters.means, gone)
        else:
            means = self.fixed.keep("means", means, parameters.means)
        if "covariances" in self.fixed:
            return replace(parameters, means=means)
        second, entries = statistics.about(means)[1], statistics.entries
        if prior is not None:
            second = prior.with_second(second, means, structure)
            entries = entries + prior.counts[:, None]
        unknown = LOST_DIGITS * statistics.epsilon * (means - origin) ** 2
        covariances = structure.averages(second, np.maximum(entries, LEAST_COUNT), means.shape[1])
        covariances = structure.raise_variances(covariances, unknown, self.reg_covar)
        if prior is not None and prior.tells_covariances:
            gone = np.zeros_like(gone)
        elif unseen is not None:
            untold = structure.untold(unseen)
            covariances[untold] = parameters.covariances[untold]
        kept = self.fixed.or_gone("covariances", gone)
        estimate = self._regular(means, covariances, statistics.epsilon, kept)
        if not structure.shared and np.count_nonzero(kept):
            estimate.covariances[kept] = parameters.covariances[kept]
            estimate.factors[kept] = parameters.factors[kept]
        return estimate

    def expected_log_density(
        self, statistics: GaussianStatistics, parameters: GaussianParameters
    ) -> float:
        r""":math:`\sum_k n_k \log|P_k| - \frac12 \mathrm{tr}(P_k S_k P_k^T)`, with S about the
        means."""
        second = statistics.about(parameters.means)[1]
        entries = np.broadcast_to(statistics.entries, parameters.means.shape)
        volumes = self.structure.log_volumes(parameters.factors, entries)
        return volumes - 0.5 * self.structure.squares(parameters.factors, second)

    def checked_prior(
        self, prior: dict[str, Any], n_components: int, n_features: int
    ) -> NormalInverseWishart | None:
        return check_normal_inverse_wishart(
            prior, self.structure, self.covariance_type, n_components, n_features
        )

    @property
    def _is_bounded(self) -> bool:
        """Whether a prior keeps densities from growing without bound."""
        return self.prior is not None and self.prior.bounds_covariances

    def log_prior(self, parameters: GaussianParameters) -> float:
        if self.prior is None:
            return 0.0
        return self.prior.log_density(parameters.means, parameters.factors, self.structure)

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
        return self._regular(np.ascontiguousarray(means), np.array(covariances, order="C"), 0.0)

    def of_factors(self, means: np.ndarray, factors: np.ndarray) -> GaussianParameters:
        """Parameters from factors of the precisions."""
        covariances = self.structure.covariances(factors)
        return GaussianParameters(means, covariances, np.ascontiguousarray(factors))

    def flat_start(self, X: np.ndarray, n_components: int) -> GaussianParameters:
        points = as_points(X.astype(np.float64))
        mean = points.mean(axis=0)
        distances = points - mean
        known = np.maximum((~np.isnan(X)).sum(axis=0), 1)
        variance = np.einsum("nd,nd->d", distances, distances) / known
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
        means[components] = np.where(np.isnan(rows), means[healthy].mean(axis=0), rows)
        means = self.fixed.keep("means", means, parameters.means)
        if self.structure.shared or "covariances" in self.fixed:
            return replace(parameters, means=means)
        covariances = parameters.covariances.copy()
        covariances[components] = covariances[healthy].mean(axis=0)
        covariances = self.fixed.keep("covariances", covariances, parameters.covariances)
        return self.parameters(means, covariances)

    def displacement(
        self, parameters: GaussianParameters, reference: GaussianParameters
    ) -> np.ndarray:
        """Whitened differences of means, and what takes one factor to the other."""
        parts = [np.empty(0)]
        if "means" not in self.fixed:
            shift = parameters.means - reference.means
            parts.append(self.structure.whitened(reference.factors, shift).ravel())
        if "covariances" not in self.fixed:
            parts.append(self.structure.log_ratios(parameters.factors, reference.factors).ravel())
        return np.concatenate(parts)

    def displaced(
        self, displacement: np.ndarray, reference: GaussianParameters
    ) -> GaussianParameters | None:
        means, factors = reference.means, reference.factors
        if not np.isfinite(displacement).all():
            return None
        if "means" not in self.fixed:
            shift = displacement[: means.size].reshape(means.shape)
            means = means + self.structure.unwhitened(factors, shift)
            displacement = displacement[means.size :]
        if "covariances" in self.fixed:
            return replace(reference, means=means)
        factors = self.structure.multiplied(factors, displacement.reshape(factors.shape))
        if not (np.isfinite(means).all() and np.isfinite(factors).all()):
            return None
        moved = self.of_factors(means, factors)
        self.fixed.keep("covariances", moved.covariances, reference.covariances)
        self.fixed.keep("covariances", moved.factors, reference.factors)
        return moved

    def stored(self, n_components: int, n_features: int) -> Record:
        K, D = n_components, n_features
        shape = shape_of_covariances(self.covariance_type, K, D)
        are_matrices = self.covariance_type in ("full", "tied")
        return Record(
            GaussianParameters,
            means=Numbers(K, D),
            covariances=Numbers(*shape, rule=POSITIVE_DIAGONALS if are_matrices else POSITIVE),
            factors=Numbers(*shape, rule=TRIANGLES if are_matrices else POSITIVE),
        )

    def shape(self, parameters: GaussianParameters) -> tuple[int, int]:
        return parameters.means.shape

    def of_components(
        self, parameters: GaussianParameters, chosen: np.ndarray | slice
    ) -> GaussianParameters:
        if not self.structure.shared:
            return super().of_components(parameters, chosen)
        return replace(parameters, means=parameters.means[chosen])

    def joined(self, models: Sequence[GaussianParameters]) -> GaussianParameters:
        if not self.structure.shared:
            return super().joined(models)
        return replace(models[0], means=np.concatenate([each.means for each in models]))

    def group_size(self, group: str, n_components: int, n_features: int) -> int:
        if group == "means":
            return n_components * n_features
        return self.structure.n_parameters(n_components, n_features)

    def marginal(self, parameters: GaussianParameters, columns: np.ndarray) -> GaussianParameters:
        covariances = self.structure.of_columns(parameters.covariances, columns)
        return self.parameters(parameters.means[:, columns], covariances)

    def conditional(
        self, parameters: GaussianParameters, known: np.ndarray, X: np.ndarray
    ) -> GaussianParameters:
        means, factors = parameters.means, parameters.factors
        return self.parameters(*self.structure.given(factors, means, known, X[0, known]))

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

    def slack(self, parameters: GaussianParameters, counts: np.ndarray, epsilon: float) -> float:
        """What `reg_covar` and rounding may cost.

        An error E_k in the covariances changes log-likelihood and log prior by at most
        1/2 sum_k counts_k trace(precision_k |E_k|): by design E_k is reg_covar I, and by rounding
        some epsilons times the variances.
        """
        if "covariances" in self.fixed:
            return 0.0
        if self.prior is not None:
            counts = counts + self.prior.counts
        D = parameters.means.shape[1]
        traces = self.structure.traces(
            parameters.covariances,
            parameters.factors,
            D,
            added=self.reg_covar,
            part=RANK_DIGITS * D * epsilon,
        )
        return 0.5 * float((counts * traces).sum())

    def degenerate(
        self, statistics: GaussianStatistics, parameters: GaussianParameters, n_rows: int
    ) -> list[int]:
        """Components that are thin for no good reason: see `degeneracy`."""
        if self.structure.shared or "covariances" in self.fixed or self._is_bounded:
            return []
        counts, means = statistics.counts, parameters.means
        if starved(counts).all():
            return []
        shares = statistics.entries / counts.sum()
        n = np.where(starved(counts)[:, None] | (shares < STARVED), 1.0, statistics.entries)
        moments = self.structure.averages(statistics.about(means)[1], n, means.shape[1])
        return degenerate_components(
            counts / counts.sum(),
            *self.structure.by_direction(
                shares,
                parameters.covariances,
                moments,
                rounding_variances(means, statistics.epsilon),
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
