r"""The four shapes of the covariance matrices of K Gaussians in D dimensions.

=========  ============  ==============================================
full       (K, D, D)     a matrix for every component
tied       (D, D)        one matrix, which all components share
diag       (K, D)        a variance for every component and feature
spherical  (K,)          a variance for every component
=========  ============  ==============================================

Covariances, second moments and *factors* have the same shape. A factor is a lower-triangular P with
:math:`P^T P` the precision, or the square root of a precision where covariances are variances.
"""

import math
from abc import ABC, abstractmethod
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from scipy.linalg import lapack, solve_triangular

from emfast.inputs.arguments import inverse

# Rounding of a row, in units of machine epsilon times its distance from the centre.
NOISE = 8

# A variance is unknown where what cancelled may be more than this fraction of it.
UNKNOWN = 1e-4

# Least eigenvalue of a correlation matrix that is regular, in units of D times machine epsilon.
RANK_DIGITS = 100

EPSILON = float(np.finfo(np.float64).eps)
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class CovarianceStructure(ABC):
    """What depends on the shape of the covariances, and on nothing else of a Gaussian.

    Attributes
    ----------
    shared : bool, whether all components have the same covariance
    """

    shared = False

    @abstractmethod
    def n_parameters(self, n_components: int, n_features: int) -> int:
        """How many free parameters the covariances have."""

    @abstractmethod
    def of_variances(self, variances: np.ndarray, n_components: int) -> np.ndarray:
        """Covariances of components that all have these variances of the features."""

    @abstractmethod
    def kernel(
        self,
        kernels: ModuleType,
        centre: np.ndarray,
        means: np.ndarray,
        factors: np.ndarray,
        without_scatter: bool,
    ) -> Any:
        """The compiled emission.

        Parameters
        ----------
        kernels : module
        centre : ndarray of shape (D,)
        means : ndarray of shape (K, D), less the centre
        factors : ndarray
        without_scatter : bool
            Whether it may leave out the scatter of all rows, as far as responsibilities do not
            depend on it; only asked of a covariance that components share.
        """

    @abstractmethod
    def kernel_with_missing(
        self,
        kernels: ModuleType,
        centre: np.ndarray,
        means: np.ndarray,
        factors: np.ndarray,
        covariances: np.ndarray,
    ) -> Any:
        """The compiled emission of rows with missing entries."""

    @abstractmethod
    def moments(
        self, sums: np.ndarray, kernel: Any, n_components: int, n_features: int
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """What a pass with `kernel` has summed.

        Returns
        -------
        first : ndarray of shape (K, D)
        second : ndarray, or None where the kernel has left out the scatter of all rows
        known : ndarray of shape (K, D), or None where the moments are of all rows
        """

    @abstractmethod
    def moved(
        self, second: np.ndarray, shift: np.ndarray, first: np.ndarray, moved_first: np.ndarray
    ) -> np.ndarray:
        """Second moments about another origin.

        Parameters
        ----------
        second : ndarray, about the old origin
        shift : ndarray of shape (K, D), old origin less new origin
        first, moved_first : ndarray of shape (K, D), first moments about the old and new origin
        """

    @abstractmethod
    def averages(self, second: np.ndarray, counts: np.ndarray, n_features: int) -> np.ndarray:
        """Second moments over positive counts: covariances, if they are about the means.

        Counts are (K, 1), or (K, D) where features are known of different rows.
        """

    @abstractmethod
    def raise_variances(
        self, covariances: np.ndarray, unknown: np.ndarray, reg_covar: float
    ) -> np.ndarray:
        """`covariances`, which may be overwritten, with `reg_covar` added to the variances.

        A variance below what cancellation leaves `unknown`, (K, D), is raised by that: the next
        pass takes its moments about the new means, and finds it.
        """

    @abstractmethod
    def regular(
        self, covariances: np.ndarray, means: np.ndarray, epsilon: float, reg_covar: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Factors, and which covariances, (K,) or (1,), are singular.

        Parameters
        ----------
        covariances : ndarray
            With ``reg_covar > 0``, those that are singular to rounding are overwritten by regular
            ones with the smallest eigenvalues that rounding can tell from 0.
        means : ndarray of shape (K, D)
        epsilon : float, machine epsilon of the precision the rows were computed in
        reg_covar : float
        """

    @abstractmethod
    def covariances(self, factors: np.ndarray) -> np.ndarray:
        """Covariances with these factors."""

    @abstractmethod
    def precisions(self, factors: np.ndarray) -> np.ndarray:
        """Inverses of the covariances with these factors."""

    @abstractmethod
    def log_determinants(self, factors: np.ndarray, n_features: int) -> np.ndarray:
        """Of the precisions, (K,) or (1,)."""

    @abstractmethod
    def log_volumes(self, factors: np.ndarray, entries: np.ndarray) -> float:
        """Sum of the log-determinants of factors, as often as features were there: (K, D)."""

    @abstractmethod
    def squares(self, factors: np.ndarray, second: np.ndarray) -> float:
        """Sum of the whitened second moments, tr(P S P')."""

    @abstractmethod
    def counts_of_degrees(self, degrees: float, n_components: int, n_features: int) -> float:
        """As how many rows of every component an inverse Wishart prior counts in covariances.

        The prior of a variance is an inverse Wishart of one dimension; one that components or
        features share counts once.
        """

    @abstractmethod
    def whitened(self, factors: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Vectors, (K, D), in standard deviations of their components."""

    @abstractmethod
    def unwhitened(self, factors: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Vectors, (K, D), that are given in standard deviations of their components."""

    @abstractmethod
    def log_ratios(self, factors: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """What takes `reference` to `factors`: unconstrained, free of units, 0 if they agree."""

    @abstractmethod
    def multiplied(self, factors: np.ndarray, log_ratios: np.ndarray) -> np.ndarray:
        """Factors with these `log_ratios` to given ones."""

    @abstractmethod
    def traces(
        self,
        covariances: np.ndarray,
        factors: np.ndarray,
        n_features: int,
        added: float,
        part: float,
    ) -> np.ndarray:
        """trace(precision E) of every component, (K,) or (1,), for a diagonal E.

        Its elements are `added`, and a `part` of the variances.
        """

    @abstractmethod
    def deviates(self, factors: np.ndarray, component: int, normal: np.ndarray) -> np.ndarray:
        """Standard normal rows, (n, D), with the covariance of a component instead."""

    @abstractmethod
    def of_columns(self, covariances: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The covariances of some of the features."""

    @abstractmethod
    def given(
        self, factors: np.ndarray, means: np.ndarray, known: np.ndarray, values: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means and covariances of the other features where those that are `known` have `values`.

        Parameters
        ----------
        factors : ndarray
        means : ndarray of shape (K, D)
        known : ndarray of shape (D,), bool
        values : ndarray of shape (known.sum(),)
        """

    def by_direction(
        self,
        shares: np.ndarray,
        covariances: np.ndarray,
        moments: np.ndarray,
        rounding: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What `degeneracy` takes, of `shares`, (K, 1) or (K, D), and of `rounding`, (K, D)."""
        return shares, covariances, moments, rounding


class _Variances(CovarianceStructure):
    """Covariances that are variances: no direction but the features' own."""

    @abstractmethod
    def largest(self, variances: np.ndarray) -> np.ndarray:
        """What of (K, D) variances counts for each of the structure's own."""

    @abstractmethod
    def untold(self, unseen: np.ndarray) -> np.ndarray:
        """Which of the structure's variances have no feature but `unseen` ones, (K, D)."""

    def given(self, factors, means, known, values):
        rest = np.flatnonzero(~known)
        return means[:, rest], self.of_columns(self.covariances(factors), rest)

    def kernel_with_missing(self, kernels, centre, means, factors, covariances):
        scales = np.broadcast_to(factors.reshape(len(means), -1), means.shape)
        return kernels.IncompleteDiagGaussian(centre, means, np.ascontiguousarray(scales))

    def raise_variances(self, covariances, unknown, reg_covar):
        floor = _floor(covariances, self.largest(unknown), reg_covar)
        return np.maximum(covariances, 0.0) + floor

    def regular(self, covariances, means, epsilon, reg_covar):
        floor = self.largest(rounding_variances(means, epsilon)) if reg_covar == 0 else 0.0
        bad = ~(covariances > floor)
        if np.count_nonzero(bad):
            covariances = np.where(bad, 1.0, covariances)
        return 1 / np.sqrt(covariances), bad if bad.ndim == 1 else bad.any(axis=1)

    def covariances(self, factors):
        return 1 / factors**2

    def log_volumes(self, factors, entries):
        return float((entries * np.log(factors).reshape(len(entries), -1)).sum())

    def squares(self, factors, second):
        return float((factors**2 * second).sum())

    def log_ratios(self, factors, reference):
        return np.log(factors / reference)

    def multiplied(self, factors, log_ratios):
        return factors * np.exp(log_ratios)

    def precisions(self, factors):
        return factors**2

    def deviates(self, factors, component, normal):
        return normal / factors[component]


class Diag(_Variances):
    """A variance for every component and feature."""

    def n_parameters(self, n_components, n_features):
        return n_components * n_features

    def of_variances(self, variances, n_components):
        return variances[None].repeat(n_components, axis=0)

    def kernel(self, kernels, centre, means, factors, without_scatter):
        constants = np.log(factors).sum(axis=1) - len(centre) * HALF_LOG_2PI
        return kernels.DiagGaussian(centre, means, np.ascontiguousarray(factors), constants)

    def moments(self, sums, kernel, n_components, n_features):
        first, second, *known = sums.reshape(n_components, -1, n_features).swapaxes(0, 1)
        return first, second, known[0] if known else None

    def moved(self, second, shift, first, moved_first):
        return second + shift * (first + moved_first)

    def averages(self, second, counts, n_features):
        return second / counts

    def largest(self, variances):
        return variances

    def untold(self, unseen):
        return unseen

    def of_columns(self, covariances, columns):
        return covariances[:, columns]

    def log_determinants(self, factors, n_features):
        return 2 * np.log(factors).sum(axis=1)

    def counts_of_degrees(self, degrees, n_components, n_features):
        return degrees + 2

    def whitened(self, factors, vectors):
        return factors * vectors

    def unwhitened(self, factors, vectors):
        return vectors / factors

    def traces(self, covariances, factors, n_features, added, part):
        return added * (factors**2).sum(axis=1) + part * n_features


class Spherical(_Variances):
    """A variance for every component, the same for all features."""

    def n_parameters(self, n_components, n_features):
        return n_components

    def of_variances(self, variances, n_components):
        return np.full(n_components, variances.mean())

    def kernel(self, kernels, centre, means, factors, without_scatter):
        D = len(centre)
        constants = D * np.log(factors) - D * HALF_LOG_2PI
        kernel = kernels.SphericalGaussian(centre, means, factors, constants)
        if kernel.about_centre:
            return kernel
        scales = factors[:, None].repeat(D, axis=1)
        return kernels.DiagGaussian(centre, means, scales, constants)

    def moments(self, sums, kernel, n_components, n_features):
        if sums.size == n_components * (n_features + 1):
            both = sums.reshape(n_components, n_features + 1)
            return both[:, :n_features], both[:, n_features], None
        first, second, known = STRUCTURES["diag"].moments(sums, kernel, n_components, n_features)
        return first, second.sum(axis=1), known

    def moved(self, second, shift, first, moved_first):
        return second + (shift * (first + moved_first)).sum(axis=1)

    def averages(self, second, counts, n_features):
        entries = counts.sum(axis=1)
        return second / (entries if counts.shape[1] == n_features else entries * n_features)

    def largest(self, variances):
        return variances.max(axis=1)

    def untold(self, unseen):
        return unseen.all(axis=1)

    def of_columns(self, covariances, columns):
        return covariances

    def log_determinants(self, factors, n_features):
        return 2 * n_features * np.log(factors)

    def counts_of_degrees(self, degrees, n_components, n_features):
        return (degrees + 2) / n_features

    def whitened(self, factors, vectors):
        return factors[:, None] * vectors

    def unwhitened(self, factors, vectors):
        return vectors / factors[:, None]

    def traces(self, covariances, factors, n_features, added, part):
        return n_features * (added * factors**2 + part)

    def by_direction(self, shares, covariances, moments, rounding):
        # A component has one variance, that of all features together.
        rounding = self.largest(rounding)
        shares = shares.mean(axis=1)
        return shares[:, None], covariances[:, None], moments[:, None], rounding[:, None]


class _Matrices(CovarianceStructure):
    """Covariances that are matrices, taken as a stack."""

    @abstractmethod
    def stack(self, matrices: np.ndarray) -> np.ndarray:
        """A view of shape (n, D, D)."""

    def constants(self, factors: np.ndarray) -> np.ndarray:
        """Log-densities at the mean."""
        D = factors.shape[-1]
        return np.log(_diagonals(factors)).sum(axis=-1) - D * HALF_LOG_2PI

    @abstractmethod
    def largest(self, variances: np.ndarray) -> np.ndarray:
        """What of (K, D) variances counts for each matrix of the stack, (n, D)."""

    def raise_variances(self, covariances, unknown, reg_covar):
        # A view of the diagonals that can be written to.
        variances = np.einsum("kii->ki", self.stack(covariances))
        variances += _floor(variances, self.largest(unknown), reg_covar)
        return covariances

    def regular(self, covariances, means, epsilon, reg_covar):
        stack = self.stack(covariances)
        noise = self.largest(rounding_variances(means, epsilon))
        factors, singular = _inverse_choleskys(stack, noise)
        if reg_covar > 0 and np.count_nonzero(singular):
            found = np.flatnonzero(singular)
            stack[found] = [_with_regular_correlations(matrix) for matrix in stack[found]]
            factors[found], singular[found] = _inverse_choleskys(stack[found], 0.0)
        return factors.reshape(covariances.shape), singular

    def of_columns(self, covariances, columns):
        return covariances[..., columns[:, None], columns]

    def given(self, factors, means, known, values):
        # Of the joint precision, L_rr is the conditional one, -L_rr^-1 L_ro the slope of the mean.
        precisions = self.precisions(self.stack(factors))
        covariances = inverse(precisions[:, ~known][:, :, ~known])
        forms = precisions[:, ~known][:, :, known] @ (values - means[:, known])[:, :, None]
        given_means = means[:, ~known] - (covariances @ forms)[:, :, 0]
        return given_means, covariances[0] if self.shared else covariances

    def covariances(self, factors):
        roots = np.linalg.inv(factors)
        return roots @ np.swapaxes(roots, -1, -2)

    def precisions(self, factors):
        return np.swapaxes(factors, -1, -2) @ factors

    def log_determinants(self, factors, n_features):
        return 2 * np.log(_diagonals(self.stack(factors))).sum(axis=-1)

    def log_volumes(self, factors, entries):
        return float((entries * np.log(_diagonals(self.stack(factors)))).sum())

    def squares(self, factors, second):
        return float(((factors @ second) * factors).sum())

    def counts_of_degrees(self, degrees, n_components, n_features):
        return (degrees + n_features + 1) / (n_components if self.shared else 1)

    def whitened(self, factors, vectors):
        return (factors @ vectors[:, :, None])[:, :, 0]

    def unwhitened(self, factors, vectors):
        return np.linalg.solve(factors, vectors[:, :, None])[:, :, 0]

    def log_ratios(self, factors, reference):
        # T with T reference = factors is lower-triangular, with positive numbers on the diagonal.
        ratios = factors @ np.linalg.inv(reference)
        return _with_diagonals(ratios, np.log(_diagonals(ratios)))

    def multiplied(self, factors, log_ratios):
        return _with_diagonals(log_ratios, np.exp(_diagonals(log_ratios))) @ factors

    def traces(self, covariances, factors, n_features, added, part):
        precisions = (self.stack(factors) ** 2).sum(axis=-2)
        return (precisions * (added + part * _diagonals(self.stack(covariances)))).sum(axis=-1)

    def deviates(self, factors, component, normal):
        factor = factors if self.shared else factors[component]
        return solve_triangular(factor, normal.T, lower=True).T


class Full(_Matrices):
    """A matrix for every component."""

    def n_parameters(self, n_components, n_features):
        return n_components * n_features * (n_features + 1) // 2

    def of_variances(self, variances, n_components):
        return np.diag(variances)[None].repeat(n_components, axis=0)

    def kernel(self, kernels, centre, means, factors, without_scatter):
        return kernels.FullGaussian(centre, means, factors, self.constants(factors))

    def kernel_with_missing(self, kernels, centre, means, factors, covariances):
        precisions = self.precisions(factors)
        return kernels.IncompleteFullGaussian(
            centre, means, factors, self.constants(factors), precisions, covariances
        )

    def moments(self, sums, kernel, n_components, n_features):
        first = np.zeros((n_components, n_features))
        second = np.zeros((n_components, n_features, n_features))
        kernel.moments(sums, first, second)
        return first, second, None

    def moved(self, second, shift, first, moved_first):
        # sum r (z + s)(z + s)' = sum r z z' + s (sum r z)' + (sum r z + n s) s'
        outer = shift[:, :, None] * first[:, None, :]
        return second + (outer + moved_first[:, :, None] * shift[:, None, :])

    def averages(self, second, counts, n_features):
        return second / counts[:, :, None]

    def stack(self, matrices):
        return matrices

    def largest(self, variances):
        return variances


class Tied(_Matrices):
    """One matrix, which all components share; second moments are summed over the components."""

    shared = True

    def n_parameters(self, n_components, n_features):
        return n_features * (n_features + 1) // 2

    def of_variances(self, variances, n_components):
        return np.diag(variances)

    def kernel(self, kernels, centre, means, factors, without_scatter):
        constant = self.constants(factors)
        kernel = kernels.TiedGaussian(centre, means, factors, constant)
        if not without_scatter or not kernel.about_centre:
            return kernel
        # log p(x | k) = constant_k + x' Lambda mu_k - x' Lambda x / 2, and responsibilities do not
        # depend on the last term.
        forms = means @ self.precisions(factors)
        squares = (forms * means).sum(axis=1)
        if squares.max() > kernels.LARGEST_SQUARED_DISTANCE:
            return kernel
        return kernels.LinearForms(centre, forms, constant - 0.5 * squares)

    def kernel_with_missing(self, kernels, centre, means, factors, covariances):
        precisions = self.precisions(factors)
        kernel = kernels.IncompleteTiedGaussian(
            centre,
            means,
            factors,
            self.constants(factors),
            precisions,
            covariances,
            means @ precisions,
        )
        if kernel.about_centre:
            return kernel
        each = [matrix[None].repeat(len(means), axis=0) for matrix in (factors, covariances)]
        return STRUCTURES["full"].kernel_with_missing(kernels, centre, means, *each)

    def moments(self, sums, kernel, n_components, n_features):
        first = sums[: n_components * n_features].reshape(n_components, n_features)
        triangles = sums[first.size :]
        if not triangles.size:
            return first, None, None
        # Of every component, or of all together.
        triangle = triangles.reshape(-1, n_features * (n_features + 1) // 2).sum(axis=0)
        return first, _from_triangle(triangle, n_features), None

    def moved(self, second, shift, first, moved_first):
        # As for "full", summed over the components.
        return second + (shift.T @ first + moved_first.T @ shift)

    def averages(self, second, counts, n_features):
        return second / counts.sum()

    def stack(self, matrices):
        return matrices[None]

    def largest(self, variances):
        return variances.max(axis=0)[None]


STRUCTURES: dict[str, CovarianceStructure] = {
    "full": Full(),
    "tied": Tied(),
    "diag": Diag(),
    "spherical": Spherical(),
}


def rounding_variances(means: np.ndarray, epsilon: float) -> np.ndarray:
    """Variances, (K, D), that are nothing but rounding of the rows, which lie about the means."""
    middle = np.sort(means, axis=0)[(len(means) - 1) // 2]
    return (NOISE * epsilon * (means - middle)) ** 2


def _floor(variances: np.ndarray, unknown: np.ndarray, reg_covar: float) -> np.ndarray:
    """What is added to variances."""
    return np.where(unknown > UNKNOWN * variances, unknown, 0.0) + reg_covar


def _diagonals(matrices: np.ndarray) -> np.ndarray:
    """Their diagonals, of shape (..., D): a view to read."""
    return matrices.diagonal(0, -2, -1)


def _with_diagonals(matrices: np.ndarray, diagonals: np.ndarray) -> np.ndarray:
    """Their lower triangles, with other diagonals."""
    return np.tril(matrices, -1) + diagonals[..., None] * np.eye(matrices.shape[-1])


@lru_cache(maxsize=8)
def _triangle_indices(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.tril_indices(n)


def _from_triangle(packed: np.ndarray, n: int) -> np.ndarray:
    """A symmetric matrix from its lower triangle by rows."""
    rows, columns = _triangle_indices(n)
    full = np.empty((n, n))
    full[rows, columns] = packed
    full[columns, rows] = packed
    return full


def _inverse_choleskys(
    stack: np.ndarray, floor: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """(P, which are singular): lower-triangular P with P^T P the inverses of (n, D, D) matrices.

    Singular is a matrix that leaves some feature, given those before it, a variance that rounding
    explains or that is not above `floor`, (n, D); its P is the identity.
    """
    n, D = stack.shape[:2]
    factors, pivots, failed = np.empty(stack.shape), np.empty((n, D)), np.zeros(n, bool)
    for k in range(n):
        cholesky, failed[k] = lapack.dpotrf(stack[k], lower=1, clean=1)
        pivots[k] = cholesky.diagonal()
        factors[k] = lapack.dtrtri(cholesky, lower=1)[0]
    rounding = 10 * D * EPSILON * _diagonals(stack)
    # Where a matrix is not finite, some pivot is not, or `rounding` is infinite as well.
    singular = failed | ~(pivots**2 > np.maximum(rounding, floor)).all(axis=1)
    if np.count_nonzero(singular):
        factors[singular] = np.eye(D)
    return factors, singular


def _with_regular_correlations(covariance: np.ndarray) -> np.ndarray:
    """`covariance` with its correlations' eigenvalues raised to what rounding can tell from 0."""
    scales = np.sqrt(np.diagonal(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scales, scales))
    least = RANK_DIGITS * len(values) * EPSILON
    correlations = (vectors * np.maximum(values, least)) @ vectors.T
    return correlations * np.outer(scales, scales)
