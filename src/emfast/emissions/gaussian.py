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
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from scipy.linalg import lapack, solve_triangular

from emfast.emissions.base import Emission, refuse_another_kind
from emfast.emissions.degeneracy import degenerate_components
from emfast.exceptions import SingularComponentError
from emfast.statistics import Statistics, starved

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")

# Rounding of a row, in units of machine epsilon times its distance from the centre.
NOISE = 8

# Digits lost where moments cancel, in units of machine epsilon times (mean - origin)^2.
LOST_DIGITS = 10

# Least eigenvalue of a correlation matrix that is regular, in units of D times machine epsilon.
RANK_DIGITS = 100


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
    epsilon: float = float(np.finfo(np.float64).eps)

    @property
    def kind(self) -> str:
        return f"{self.covariance_type} Gaussian of shape {self.first.shape}"

    def moved_to(self, origin: np.ndarray) -> "GaussianStatistics":
        """The same statistics about another origin: algebra, no data needed."""
        shift = self.origin - origin
        n = self.counts[:, None]
        first = self.first + n * shift
        if self.second is None:
            second = None
        elif self.covariance_type == "diag":
            second = self.second + shift * (self.first + first)
        elif self.covariance_type == "spherical":
            second = self.second + (shift * (self.first + first)).sum(axis=1)
        else:
            # sum r (z + s)(z + s)' = sum r z z' + s (sum r z)' + (sum r z + n s) s'
            outer = shift[:, :, None] * self.first[:, None, :]
            outer = outer + first[:, :, None] * shift[:, None, :]
            second = self.second + (outer.sum(axis=0) if self.covariance_type == "tied" else outer)
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
        return self.second + np.outer(shift, self.first) + np.outer(first, shift)


class Gaussian(Emission):
    """Gaussian with a covariance matrix of one of four shapes.

    Parameters
    ----------
    covariance_type : {"full", "tied", "diag", "spherical"}
    reg_covar : float, default=1e-6
        Added to the variances in every M-step.
    fixed : collection of "means" and "covariances"
    """

    groups = ("means", "covariances")

    def __init__(self, covariance_type="full", *, reg_covar=1e-6, fixed=()):
        self.covariance_type = covariance_type
        self.reg_covar = reg_covar
        self.fixed = frozenset(fixed)

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
        centre = _median(parameters.means, weights).astype(kernels.DTYPE).astype(np.float64)
        means, D = parameters.means - centre, len(centre)
        constants = -0.5 * D * np.log(2 * np.pi) + self._log_determinants(parameters)
        if self.covariance_type == "full":
            return kernels.FullGaussian(centre, means, parameters.factors, constants)
        if self.covariance_type == "tied":
            kernel = kernels.TiedGaussian(centre, means, parameters.factors, constants[0])
            if constant is None or not kernel.about_centre:
                return kernel
            # log p(x | k) = constant_k + x' Lambda mu_k - x' Lambda x / 2, and responsibilities do
            # not depend on the last term.
            forms = means @ self.precisions(parameters)
            return kernels.LinearForms(centre, forms, constants - 0.5 * (forms * means).sum(axis=1))
        if self.covariance_type == "spherical":
            kernel = kernels.SphericalGaussian(centre, means, parameters.factors, constants)
            if kernel.about_centre:
                return kernel
        return kernels.DiagGaussian(centre, means, self._scales(parameters), constants)

    def statistics(
        self, flat: np.ndarray, counts: np.ndarray, kernel: Any, parameters: GaussianParameters
    ) -> GaussianStatistics:
        centre = np.array(kernel.centre_values())
        K, D = parameters.means.shape
        if self.covariance_type == "spherical" and kernel.about_centre:
            first, second = flat.reshape(K, D + 1)[:, :D], flat.reshape(K, D + 1)[:, D]
        elif self.covariance_type == "spherical":
            first, second = flat.reshape(K, 2, D)[:, 0], flat.reshape(K, 2, D)[:, 1].sum(axis=1)
        elif self.covariance_type == "diag":
            first, second = flat.reshape(K, 2, D).swapaxes(0, 1)
        elif len(flat) == K * D:
            first, second = flat.reshape(K, D), None
        elif self.covariance_type == "full":
            first, second = np.zeros((K, D)), np.zeros((K, D, D))
            kernel.moments(flat, first, second)
        else:
            first, second = flat[: K * D].reshape(K, D), _from_triangle(flat[K * D :], D)
        if kernel.about_centre:
            origin = np.tile(centre, (K, 1))
        else:
            origin = centre + (parameters.means - centre).astype(kernel.dtype)
        epsilon = float(np.finfo(kernel.dtype).eps)
        return GaussianStatistics(self.covariance_type, counts, origin, first, second, epsilon)

    @property
    def has_constant(self) -> bool:
        """With a covariance that all components share: the scatter of all rows."""
        return self.covariance_type == "tied"

    def constant(self, statistics: GaussianStatistics) -> ConstantScatter:
        point = statistics.origin[0]
        moments = statistics.moved_to(np.tile(point, (len(statistics.counts), 1)))
        return ConstantScatter(
            point, moments.counts.sum(), moments.first.sum(axis=0), moments.second
        )

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
        gone = starved(statistics.counts)
        n = np.where(gone, 1.0, statistics.counts)
        means = statistics.origin + statistics.first / n[:, None]
        means[gone] = parameters.means[gone]
        if "means" in self.fixed:
            means = parameters.means
        if "covariances" in self.fixed:
            return replace(parameters, means=means)
        moments = statistics.moved_to(means)
        unknown = LOST_DIGITS * statistics.epsilon * (means - statistics.origin) ** 2
        covariances = self._covariances(moments, n, unknown)
        if self.covariance_type != "tied":
            covariances[gone] = parameters.covariances[gone]
        return self._regular(means, covariances, statistics.epsilon, gone)

    def _covariances(
        self, moments: GaussianStatistics, n: np.ndarray, unknown: np.ndarray
    ) -> np.ndarray:
        """Second moments about the means over counts, with `reg_covar` on the diagonal.

        A variance that the moments' cancellation leaves unknown is taken to be `unknown`: the next
        pass takes its moments about the new means, and finds it.
        """
        second = moments.second
        if self.covariance_type == "spherical":
            variances = second / (n * unknown.shape[1])
            unknown = unknown.max(axis=1)
        elif self.covariance_type == "diag":
            variances = second / n[:, None]
        else:
            counts = n[:, None, None] if self.covariance_type == "full" else moments.counts.sum()
            covariances = second / counts
            variances = np.diagonal(covariances, axis1=-2, axis2=-1)
            unknown = unknown if self.covariance_type == "full" else unknown.max(axis=0)
        floor = np.where(unknown > 1e-4 * variances, unknown, 0.0) + self.reg_covar
        if self.covariance_type in ("spherical", "diag"):
            return np.maximum(variances, 0.0) + floor
        diagonal = np.arange(covariances.shape[-1])
        covariances[..., diagonal, diagonal] += floor
        return covariances

    def _regular(
        self, means: np.ndarray, covariances: np.ndarray, epsilon: float, gone: np.ndarray
    ) -> GaussianParameters:
        """Parameters with regular covariances.

        With ``reg_covar > 0`` a covariance that is singular to rounding gets the smallest
        eigenvalues that keep it regular; without, it is an error.
        """
        # Rows are rounded where they lie: variances below this are nothing but that.
        noise = (NOISE * epsilon * (means - _median(means, np.ones(len(means))))) ** 2
        if self.covariance_type == "spherical":
            noise = noise.max(axis=1)
        if self.covariance_type in ("diag", "spherical"):
            bad = ~(covariances > (noise if self.reg_covar == 0 else 0.0))
            singular = bad if bad.ndim == 1 else bad.any(axis=1)
            factors = 1 / np.sqrt(np.where(bad, 1.0, covariances))
        else:
            stack = covariances[None] if self.covariance_type == "tied" else covariances
            noise = noise if self.covariance_type == "full" else noise.max(axis=0)[None]
            factors, singular = np.zeros_like(stack), np.zeros(len(stack), bool)
            for k in range(len(stack)):
                factors[k], singular[k] = _inverse_cholesky(stack[k], noise[k])
                if singular[k] and self.reg_covar > 0:
                    stack[k] = _with_regular_correlations(stack[k])
                    factors[k], singular[k] = _inverse_cholesky(stack[k], np.zeros(len(stack[k])))
            factors = factors[0] if self.covariance_type == "tied" else factors
        if self.covariance_type != "tied":
            singular &= ~gone
        if singular.any():
            self._raise_singular(np.flatnonzero(singular))
        return GaussianParameters(means, covariances, factors)

    def _raise_singular(self, components: np.ndarray) -> None:
        which = (
            "the covariance that all components share"
            if self.covariance_type == "tied"
            else f"the covariance of component(s) {components.tolist()}"
        )
        raise SingularComponentError(
            f"{which} became singular with reg_covar={self.reg_covar}; fewer components, a simpler "
            "covariance_type or reg_covar > 0 avoid it",
            tuple(components.tolist()),
        )

    def parameters(self, means: np.ndarray, covariances: np.ndarray) -> GaussianParameters:
        """Parameters in human units, with the factors of the precisions."""
        return self._regular(means, np.array(covariances), 0.0, np.zeros(len(means), bool))

    def of_factors(self, means: np.ndarray, factors: np.ndarray) -> GaussianParameters:
        """Parameters from factors of the precisions."""
        if self.covariance_type in ("diag", "spherical"):
            return GaussianParameters(means, 1 / factors**2, factors)
        inverse = np.linalg.inv(factors)
        covariances = inverse @ np.swapaxes(inverse, -1, -2)
        return GaussianParameters(means, covariances, np.ascontiguousarray(factors))

    def flat_start(self, X: np.ndarray, n_components: int) -> GaussianParameters:
        X = X.astype(np.float64)
        mean = X.mean(axis=0)
        variance = ((X - mean) ** 2).mean(axis=0)
        variance[~(variance > 0)] = 1.0
        means = np.tile(mean, (n_components, 1))
        if self.covariance_type == "spherical":
            return self.parameters(means, np.full(n_components, variance.mean()))
        if self.covariance_type == "diag":
            return self.parameters(means, np.tile(variance, (n_components, 1)))
        if self.covariance_type == "tied":
            return self.parameters(means, np.diag(variance))
        return self.parameters(means, np.tile(np.diag(variance), (n_components, 1, 1)))

    def with_groups(
        self, parameters: GaussianParameters, given: dict[str, np.ndarray]
    ) -> GaussianParameters:
        if "means" in given:
            parameters = replace(parameters, means=given["means"])
        if "covariances" in given:
            parameters = self.parameters(parameters.means, given["covariances"])
        return parameters

    def reseed(
        self,
        parameters: GaussianParameters,
        components: np.ndarray,
        rows: np.ndarray,
        healthy: np.ndarray,
    ) -> GaussianParameters:
        means = parameters.means.copy()
        if "means" not in self.fixed:
            means[components] = rows
        if self.covariance_type == "tied" or "covariances" in self.fixed:
            return replace(parameters, means=means)
        covariances = parameters.covariances.copy()
        covariances[components] = covariances[healthy].mean(axis=0)
        return self.parameters(means, covariances)

    def shape(self, parameters: GaussianParameters) -> tuple[int, int]:
        return parameters.means.shape

    def n_parameters(self, n_components: int, n_features: int) -> int:
        covariances = {
            "full": n_components * n_features * (n_features + 1) // 2,
            "tied": n_features * (n_features + 1) // 2,
            "diag": n_components * n_features,
            "spherical": n_components,
        }[self.covariance_type]
        means = 0 if "means" in self.fixed else n_components * n_features
        return means + (0 if "covariances" in self.fixed else covariances)

    def draw(
        self,
        parameters: GaussianParameters,
        component: int,
        n_rows: int,
        random_state: np.random.RandomState,
    ) -> np.ndarray:
        D = parameters.means.shape[1]
        normal = random_state.standard_normal((n_rows, D))
        if self.covariance_type in ("diag", "spherical"):
            return parameters.means[component] + normal / parameters.factors[component]
        factors = parameters.factors
        factor = factors if self.covariance_type == "tied" else factors[component]
        return parameters.means[component] + solve_triangular(factor, normal.T, lower=True).T

    def slack(self, parameters: GaussianParameters, weights: np.ndarray, epsilon: float) -> float:
        """What `reg_covar` and rounding may cost, per unit of weight.

        An error E_k in the covariances changes the objective by at most
        1/2 sum_k weights_k trace(precision_k |E_k|): by design E_k is reg_covar I, and by rounding
        some epsilons times the variances.
        """
        if "covariances" in self.fixed:
            return 0.0
        K, D = parameters.means.shape
        if self.covariance_type in ("spherical", "diag"):
            precisions = self._scales(parameters) ** 2
            variances = 1 / precisions
        else:
            precisions = np.broadcast_to((parameters.factors**2).sum(axis=-2), (K, D))
            diagonals = np.diagonal(parameters.covariances, axis1=-2, axis2=-1)
            variances = np.broadcast_to(diagonals, (K, D))
        errors = self.reg_covar + RANK_DIGITS * D * epsilon * variances
        return 0.5 * float(weights @ (precisions * errors).sum(axis=1))

    def degenerate(
        self, statistics: GaussianStatistics, parameters: GaussianParameters, n_rows: int
    ) -> list[int]:
        """Components that are thin for no good reason: see `degeneracy`."""
        if self.covariance_type == "tied" or "covariances" in self.fixed:
            return []
        covariances, counts = parameters.covariances, statistics.counts
        second = statistics.moved_to(parameters.means).second
        if self.covariance_type == "spherical":
            # A component has one variance, that of all columns together.
            covariances = covariances[:, None]
            second = second[:, None] / parameters.means.shape[1]
        n = np.where(starved(counts), 1.0, counts).reshape((-1,) + (1,) * (second.ndim - 1))
        distances = parameters.means - np.median(parameters.means, axis=0)
        rounding = (NOISE * statistics.epsilon * distances) ** 2
        if self.covariance_type == "spherical":
            rounding = rounding.max(axis=1, keepdims=True)
        shares = counts / counts.sum()
        return degenerate_components(
            shares, covariances, second / n, rounding, n_rows, self.reg_covar
        )

    def precisions(self, parameters: GaussianParameters) -> np.ndarray:
        """Inverses of the covariances, in their shape."""
        factors = parameters.factors
        if self.covariance_type in ("diag", "spherical"):
            return factors**2
        return np.swapaxes(factors, -1, -2) @ factors

    def _scales(self, parameters: GaussianParameters) -> np.ndarray:
        """Square roots of the precisions as (K, D)."""
        if self.covariance_type == "spherical":
            return np.repeat(parameters.factors[:, None], parameters.means.shape[1], axis=1)
        return np.ascontiguousarray(parameters.factors)

    def _log_determinants(self, parameters: GaussianParameters) -> np.ndarray:
        """log |precision| / 2 of every component, as a sum of logs."""
        K = parameters.means.shape[0]
        if self.covariance_type in ("diag", "spherical"):
            return np.log(self._scales(parameters)).sum(axis=1)
        diagonals = np.diagonal(parameters.factors, axis1=-2, axis2=-1)
        return np.broadcast_to(np.log(diagonals).sum(axis=-1), K).copy()


def _median(means: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted median of the means, column by column: components far out do not move it."""
    order = np.argsort(means, axis=0)
    below = np.cumsum(weights[order], axis=0)
    middle = (below >= 0.5 * below[-1]).argmax(axis=0)
    columns = np.arange(means.shape[1])
    return means[order[middle, columns], columns]


@lru_cache(maxsize=8)
def _triangle_indices(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.tril_indices(n)


def _from_triangle(packed: np.ndarray, n: int) -> np.ndarray:
    """Symmetric matrices from their lower triangles by rows."""
    rows, columns = _triangle_indices(n)
    full = np.empty((*packed.shape[:-1], n, n))
    full[..., rows, columns] = packed
    full[..., columns, rows] = packed
    return full


def _inverse_cholesky(covariance: np.ndarray, floor: np.ndarray) -> tuple[np.ndarray, bool]:
    """(P, whether singular): lower-triangular P with P^T P the inverse of `covariance`.

    Singular is a matrix that leaves some feature, given those before it, a variance that rounding
    explains or that is below `floor`.
    """
    n = len(covariance)
    cholesky, failed = lapack.dpotrf(covariance, lower=1, clean=1)
    if failed or not np.all(np.isfinite(cholesky)):
        return np.eye(n), True
    pivots = np.diagonal(cholesky) ** 2
    rounding = 10 * n * np.finfo(np.float64).eps * np.diagonal(covariance)
    if np.any(pivots <= np.maximum(rounding, floor)):
        return np.eye(n), True
    return lapack.dtrtri(cholesky, lower=1)[0], False


def _with_regular_correlations(covariance: np.ndarray) -> np.ndarray:
    """`covariance` with its correlations' eigenvalues raised to what rounding can tell from 0."""
    scales = np.sqrt(np.diagonal(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scales, scales))
    least = RANK_DIGITS * len(values) * np.finfo(np.float64).eps
    correlations = (vectors * np.maximum(values, least)) @ vectors.T
    return correlations * np.outer(scales, scales)
