r"""The yardstick: expectation-maximisation as fast as whole-array NumPy can do it.

A Gaussian's log-density is linear in the features :math:`\phi(x) = (1, x, x x^T)`, or as many of
them as the covariance type needs, and so is a Bernoulli's in :math:`\phi(x) = (1, x)`. An E-step is
therefore a matrix product with :math:`\phi`, a log-sum-exp, and another matrix product with
:math:`\phi`, each over all rows at once. A linear regression has :math:`\phi(x, y)` in its sums and
residuals in its density. Features are made once, and components are the first axis, so that every
sum over components runs along whole vectors. Threads are those of BLAS.

Moments are taken about the mean of all rows. That loses digits where components are much narrower
than the data, which the compiled kernels do not.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from emfast.parts.logarithms import log_probabilities

LOG_2_PI = float(np.log(2 * np.pi))

# Most features for which products x_i x_j are formed; with more, whitening by component is faster.
MAX_QUADRATIC = 16


class GaussianEstimate(NamedTuple):
    """Parameters of a Gaussian mixture, covariances in the shape of their type."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


class BernoulliEstimate(NamedTuple):
    """Parameters of a Bernoulli mixture."""

    weights: np.ndarray
    probabilities: np.ndarray


def numpy_em(
    X: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    covariance_type: str,
    n_iter: int,
    *,
    reg_covar: float = 1e-6,
    on_iteration: Callable[[int, float], None] | None = None,
) -> tuple[GaussianEstimate, float]:
    """Run EM for a Gaussian mixture.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float64 or float32
    weights : ndarray of shape (n_components,)
    means : ndarray of shape (n_components, n_features)
    covariances : ndarray, in the shape that `covariance_type` says
    covariance_type : {"full", "tied", "diag", "spherical"}
    n_iter : int
        M-steps; there is one E-step more.
    reg_covar : float, default=1e-6
        Added to the variances in every M-step.
    on_iteration : callable, optional
        Called with the number of the iteration and the mean log-likelihood after it.

    Returns
    -------
    parameters : GaussianEstimate
    log_likelihood : float
        Mean log-likelihood of the rows under exactly these parameters, in nats.

    Notes
    -----
    No component may lose all its rows.
    """
    start = GaussianEstimate(
        np.asarray(weights, np.float64),
        np.asarray(means, np.float64),
        np.asarray(covariances, np.float64),
    )
    family = {"full": _full, "tied": _Tied, "diag": _Diag, "spherical": _Spherical}
    problem = family[covariance_type](X, reg_covar)
    return _maximize(problem, start, n_iter, on_iteration)


def numpy_em_bernoulli(
    X: np.ndarray,
    weights: np.ndarray,
    probabilities: np.ndarray,
    n_iter: int,
    *,
    on_iteration: Callable[[int, float], None] | None = None,
) -> tuple[BernoulliEstimate, float]:
    """Run EM for a mixture of independent binary features.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float64, float32, uint8 or bool
    weights : ndarray of shape (n_components,)
    probabilities : ndarray of shape (n_components, n_features)
    n_iter : int
        M-steps; there is one E-step more.
    on_iteration : callable, optional
        Called with the number of the iteration and the mean log-likelihood after it.

    Returns
    -------
    parameters : BernoulliEstimate
    log_likelihood : float
        Mean log-likelihood of the rows under exactly these parameters, in nats.
    """
    start = BernoulliEstimate(
        np.asarray(weights, np.float64), np.asarray(probabilities, np.float64)
    )
    return _maximize(_Bernoulli(X), start, n_iter, on_iteration)


class RegressionEstimate(NamedTuple):
    """Parameters of a mixture of linear regressions."""

    weights: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    noise_variances: np.ndarray


def numpy_em_regression(
    X: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    coef: np.ndarray,
    intercept: np.ndarray,
    noise_variances: np.ndarray,
    n_iter: int,
    *,
    reg_covar: float = 1e-6,
    on_iteration: Callable[[int, float], None] | None = None,
) -> tuple[RegressionEstimate, float]:
    """Run EM for a mixture of linear regressions.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float64 or float32
    y : ndarray of shape (n_samples,)
    weights : ndarray of shape (n_components,)
    coef : ndarray of shape (n_components, n_features)
    intercept, noise_variances : ndarray of shape (n_components,)
    n_iter : int
        M-steps; there is one E-step more.
    reg_covar : float, default=1e-6
        Added to the variances in every M-step.
    on_iteration : callable, optional
        Called with the number of the iteration and the mean log-likelihood after it.

    Returns
    -------
    parameters : RegressionEstimate
    log_likelihood : float
        Mean log-likelihood of y given X under exactly these parameters, in nats.
    """
    given = (weights, coef, intercept, noise_variances)
    start = RegressionEstimate(*(np.asarray(values, np.float64) for values in given))
    return _maximize(_Regression(X, y, reg_covar), start, n_iter, on_iteration)


def _maximize(problem, parameters, n_iter, on_iteration):
    statistics, log_likelihood = problem.estep(parameters)
    for number in range(1, n_iter + 1):
        parameters = problem.mstep(*statistics)
        statistics, log_likelihood = problem.estep(parameters)
        if on_iteration is not None:
            on_iteration(number, log_likelihood)
    return parameters, log_likelihood


def _responsibilities(logs: np.ndarray) -> float:
    """Turn joint log-densities (K, rows) into responsibilities; returns the log-likelihood."""
    largest = logs.max(axis=0)
    logs -= largest
    np.exp(logs, out=logs)
    scale = np.reciprocal(logs.sum(axis=0))
    logs *= scale
    return float(largest.sum(dtype=np.float64) - np.log(scale, out=scale).sum(dtype=np.float64))


class _Problem:
    """Rows, and sums over them under given parameters."""

    def __init__(self, X: np.ndarray):
        self.X = X
        self.n_rows, self.n_features = X.shape
        self.dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)

    def estep(self, parameters: Any) -> tuple[list, float]:
        """Sums that the M-step needs, and the mean log-likelihood."""
        *statistics, total = self.sums(self.prepared(parameters))
        return statistics, total / self.n_rows


class _Gaussian(_Problem):
    """Sums of responsibilities times features (1, z, more(z)), with z the rows about their mean."""

    def __init__(self, X: np.ndarray, reg_covar: float):
        super().__init__(X)
        self.reg_covar = reg_covar
        # Rows lose the centre in their own precision.
        self.shift = X.mean(axis=0, dtype=np.float64).astype(self.dtype)
        self.centre = self.shift.astype(np.float64)
        self.phi = np.ones((1 + self.n_features + self.n_more(), self.n_rows), self.dtype)
        z = np.subtract(X.T, self.shift[:, None], out=self.phi[1 : self.n_features + 1])
        self.more(z, self.phi[self.n_features + 1 :])

    def sums(self, coefficients: np.ndarray) -> tuple[np.ndarray, float]:
        logs = coefficients.astype(self.dtype) @ self.phi
        log_likelihood = _responsibilities(logs)
        return logs @ self.phi.T, log_likelihood

    def constants(self, parameters: GaussianEstimate, log_determinant, distance) -> np.ndarray:
        """log weight + log-density of the centre, of shape (K, 1)."""
        norm = log_determinant - self.n_features * LOG_2_PI - distance
        return (np.log(parameters.weights) + 0.5 * norm)[:, None]

    def estimate(self, counts, means, covariances) -> GaussianEstimate:
        return GaussianEstimate(counts / self.n_rows, means + self.centre, covariances)


class _Diag(_Gaussian):
    def n_more(self) -> int:
        return self.n_features

    def more(self, z: np.ndarray, out: np.ndarray) -> None:
        np.multiply(z, z, out=out)

    def prepared(self, parameters: GaussianEstimate) -> np.ndarray:
        means, precisions = parameters.means - self.centre, 1 / parameters.covariances
        distance = (means**2 * precisions).sum(axis=1)
        constants = self.constants(parameters, np.log(precisions).sum(axis=1), distance)
        return np.hstack([constants, means * precisions, -0.5 * precisions])

    def mstep(self, sums: np.ndarray) -> GaussianEstimate:
        counts, first, second = np.split(sums, [1, 1 + self.n_features], axis=1)
        means = first / counts
        covariances = np.maximum(second / counts - means**2, 0) + self.reg_covar
        return self.estimate(counts[:, 0], means, covariances)


class _Spherical(_Gaussian):
    def n_more(self) -> int:
        return 1

    def more(self, z: np.ndarray, out: np.ndarray) -> None:
        np.einsum("ij,ij->j", z, z, out=out[0])

    def prepared(self, parameters: GaussianEstimate) -> np.ndarray:
        means, precisions = parameters.means - self.centre, 1 / parameters.covariances
        distance = (means**2).sum(axis=1) * precisions
        constants = self.constants(parameters, self.n_features * np.log(precisions), distance)
        return np.hstack([constants, means * precisions[:, None], -0.5 * precisions[:, None]])

    def mstep(self, sums: np.ndarray) -> GaussianEstimate:
        counts, first, second = np.split(sums, [1, 1 + self.n_features], axis=1)
        means = first / counts
        covariances = (second / counts)[:, 0] - (means**2).sum(axis=1)
        covariances = np.maximum(covariances / self.n_features, 0) + self.reg_covar
        return self.estimate(counts[:, 0], means, covariances)


class _Tied(_Gaussian):
    """A row's own quadratic form is the same for all components: the total scatter is enough."""

    def __init__(self, X: np.ndarray, reg_covar: float):
        super().__init__(X, reg_covar)
        z = self.phi[1:]
        self.scatter = z @ z.T

    def n_more(self) -> int:
        return 0

    def estep(self, parameters: GaussianEstimate):
        statistics, mean = super().estep(parameters)
        quadratic = np.vdot(np.linalg.inv(parameters.covariances), self.scatter)
        return statistics, mean - 0.5 * quadratic / self.n_rows

    def more(self, z: np.ndarray, out: np.ndarray) -> None:
        """Nothing more than (1, z)."""

    def prepared(self, parameters: GaussianEstimate) -> np.ndarray:
        means = parameters.means - self.centre
        linear = np.linalg.solve(parameters.covariances, means.T).T
        log_determinant = -np.linalg.slogdet(parameters.covariances)[1]
        distance = (means * linear).sum(axis=1)
        return np.hstack([self.constants(parameters, log_determinant, distance), linear])

    def mstep(self, sums: np.ndarray) -> GaussianEstimate:
        counts, first = sums[:, :1], sums[:, 1:]
        means = first / counts
        covariance = (self.scatter - first.T @ means) / self.n_rows
        covariance.flat[:: self.n_features + 1] += self.reg_covar
        return self.estimate(counts[:, 0], means, covariance)


def _full(X: np.ndarray, reg_covar: float) -> _Gaussian:
    return (_FullQuadratic if X.shape[1] <= MAX_QUADRATIC else _FullWhitened)(X, reg_covar)


class _FullQuadratic(_Gaussian):
    """The further features are z_i z_j for i <= j."""

    def n_more(self) -> int:
        return self.n_features * (self.n_features + 1) // 2

    def more(self, z: np.ndarray, out: np.ndarray) -> None:
        at = 0
        for i in range(len(z)):
            np.multiply(z[i], z[i:], out=out[at : at + len(z) - i])
            at += len(z) - i

    def prepared(self, parameters: GaussianEstimate) -> np.ndarray:
        means = parameters.means - self.centre
        precisions = np.linalg.inv(parameters.covariances)
        linear = (precisions @ means[:, :, None])[:, :, 0]
        log_determinant = -np.linalg.slogdet(parameters.covariances)[1]
        constants = self.constants(parameters, log_determinant, (means * linear).sum(axis=1))
        upper = np.triu_indices(self.n_features)
        quadratic = np.where(upper[0] == upper[1], -0.5, -1.0) * precisions[:, *upper]
        return np.hstack([constants, linear, quadratic])

    def mstep(self, sums: np.ndarray) -> GaussianEstimate:
        D = self.n_features
        upper = np.triu_indices(D)
        second = np.empty((len(sums), D, D))
        second[:, *upper] = sums[:, D + 1 :]
        second[:, *upper[::-1]] = sums[:, D + 1 :]
        return self.estimate_full(sums[:, 0], sums[:, 1 : D + 1], second)

    def estimate_full(self, counts, first, second) -> GaussianEstimate:
        means = first / counts[:, None]
        covariances = second / counts[:, None, None] - means[:, :, None] * means[:, None, :]
        diagonal = np.arange(self.n_features)
        covariances[:, diagonal, diagonal] += self.reg_covar
        return self.estimate(counts, means, covariances)


class _FullWhitened(_FullQuadratic):
    """One whitening and one scatter product for each component."""

    def prepared(self, parameters: GaussianEstimate) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        means = parameters.means - self.centre
        factors = np.linalg.inv(np.linalg.cholesky(parameters.covariances))
        log_determinant = 2 * np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
        offsets = factors @ means[:, :, None]
        constants = self.constants(parameters, log_determinant, 0.0)
        return tuple(values.astype(self.dtype) for values in (factors, offsets, constants))

    def n_more(self) -> int:
        return 0

    def more(self, z: np.ndarray, out: np.ndarray) -> None:
        """Nothing more than (1, z)."""

    def sums(self, whitening: tuple):
        factors, offsets, constants = whitening
        (K, D), z = offsets.shape[:2], self.phi[1:]
        second, work = np.empty((K, D, D)), np.empty_like(z)
        logs = np.empty((K, self.n_rows), self.dtype)
        for k in range(K):
            np.matmul(factors[k], z, out=work)
            work -= offsets[k]
            np.einsum("ij,ij->j", work, work, out=logs[k])
        logs *= -0.5
        logs += constants
        total = _responsibilities(logs)
        for k in range(K):
            np.multiply(z, logs[k], out=work)
            second[k] = work @ z.T
        return logs.sum(axis=1, dtype=np.float64), logs @ z.T, second, total

    def mstep(self, counts, first, second) -> GaussianEstimate:
        return self.estimate_full(counts, first, second)


class _Bernoulli(_Problem):
    def __init__(self, X: np.ndarray):
        super().__init__(X if X.dtype.kind == "f" else X.astype(np.float64))

    def prepared(self, parameters: BernoulliEstimate) -> tuple[np.ndarray, np.ndarray]:
        p = parameters.probabilities
        log_p, log_q = log_probabilities(p)
        constants = np.log(parameters.weights) + log_q.sum(axis=1)
        return (log_p - log_q).astype(self.dtype), constants.astype(self.dtype)[:, None]

    def sums(self, prepared: tuple[np.ndarray, np.ndarray]):
        slopes, constants = prepared
        logs = slopes @ self.X.T
        logs += constants
        total = _responsibilities(logs)
        return logs.sum(axis=1, dtype=np.float64), logs @ self.X, total

    def mstep(self, counts: np.ndarray, ones: np.ndarray) -> BernoulliEstimate:
        return BernoulliEstimate(counts / self.n_rows, np.clip(ones / counts[:, None], 0.0, 1.0))


class _Regression(_FullQuadratic):
    """Sums over the columns (x, y) as of a Gaussian; the density is that of y alone."""

    def __init__(self, X: np.ndarray, y: np.ndarray, reg_covar: float):
        super().__init__(np.column_stack([X, y]), reg_covar)

    def prepared(self, parameters: RegressionEstimate) -> tuple[np.ndarray, ...]:
        centre, at = self.centre[:-1], self.centre[-1]
        # y less its prediction is linear in (1, x, y).
        linear = np.column_stack(
            [
                at - parameters.intercept - parameters.coef @ centre,
                -parameters.coef,
                np.ones(len(parameters.coef)),
            ]
        )
        precisions = 1 / parameters.noise_variances
        constants = np.log(parameters.weights) + 0.5 * (np.log(precisions) - LOG_2_PI)
        scaled = np.sqrt(0.5 * precisions)[:, None] * linear
        return scaled.astype(self.dtype), constants[:, None].astype(self.dtype)

    def sums(self, prepared: tuple[np.ndarray, ...]) -> tuple[np.ndarray, float]:
        scaled, constants = prepared
        logs = scaled @ self.phi[: self.n_features + 1]
        np.multiply(logs, logs, out=logs)
        np.subtract(constants, logs, out=logs)
        log_likelihood = _responsibilities(logs)
        return logs @ self.phi.T, log_likelihood

    def estimate_full(self, counts, first, second) -> RegressionEstimate:
        means = first / counts[:, None]
        scatter = second / counts[:, None, None] - means[:, :, None] * means[:, None, :]
        coef = np.linalg.solve(scatter[:, :-1, :-1], scatter[:, :-1, -1:])[:, :, 0]
        variances = scatter[:, -1, -1] - np.einsum("kd,kd->k", coef, scatter[:, :-1, -1])
        means = means + self.centre
        intercept = means[:, -1] - np.einsum("kd,kd->k", coef, means[:, :-1])
        weights = counts / self.n_rows
        return RegressionEstimate(weights, coef, intercept, variances + self.reg_covar)
