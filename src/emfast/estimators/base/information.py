r"""The observed information of mixtures of linear regressions, and standard errors by it.

With responsibilities r, and for component k the scores :math:`s_{nk}` of its own parameters and of
its linear form in the latent structure, Louis' identity is

.. math::
    I = \sum_n E[-\nabla^2 \log p(y_n, z_n | x_n)]
        - \sum_n \Bigl( \sum_k r_{nk} s_{nk} s_{nk}^T - \bar s_n \bar s_n^T \Bigr),
    \qquad \bar s_n = \sum_k r_{nk} s_{nk}.

Every component has coordinates without units: first those of its linear form in the latent
structure; then those of its mean, a linear form of columns in their spreads, times the deviation of
its noise; last its noise variance over what it is.

References
----------
Louis, T. A. (1982). Finding the observed information matrix when using the EM algorithm. Journal of
the Royal Statistical Society B 44, 226-233.
"""

from collections.abc import Iterable

import numpy as np
from scipy.linalg import block_diag, helmert

from emfast.data import Batch, covariates_of
from emfast.emissions.regression import LinearRegression, RegressionParameters
from emfast.inputs.rows import take
from emfast.latent import Gate, MixtureWeights
from emfast.latent.gate import GateParameters
from emfast.parts.quadratic import EPSILON, RANK_DIGITS
from emfast.passes import Model


def standard_errors(
    latent: MixtureWeights | Gate,
    emission: LinearRegression,
    model: Model,
    batch: Batch,
    posteriors: Iterable[tuple[slice, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Standard errors of all parameters: see `BaseRegressionMixture.standard_errors`.

    Parameters
    ----------
    latent, emission : families, with what is known and the prior
    model : Model
    batch : Batch
    posteriors : iterable of (slice, responsibilities), of all rows
    """
    of_latent = GateForms if isinstance(latent, Gate) else WeightForms
    forms, lines = of_latent(latent, model.latent), Lines(emission, model.emission)
    K, q, m = len(lines.deviations), forms.size, lines.size
    information = np.zeros((K, q + m, K, q + m))
    information[:, :q, :, :q] += forms.prior()
    for k in range(K):
        information[k, q:, k, q:] += lines.prior(k)
    for rows, r in posteriors:
        weights = np.ones(len(r)) if batch.weights is None else batch.weights[rows]
        r = r.astype(np.float64)
        design, p = forms.design(covariates_of(batch, rows), len(r))
        second = design[:, :, None] * design[:, None, :] * weights[:, None, None]
        information[:, :q, :, :q] += np.einsum(
            "nk,kl,nij->kilj", p, np.eye(K), second, optimize=True
        )
        information[:, :q, :, :q] -= np.einsum("nk,nl,nij->kilj", p, p, second, optimize=True)
        means = np.empty((len(r), K, q + m))
        for k in range(K):
            own, complete = lines.scores(k, take(batch.X, rows), weights * r[:, k])
            scores = np.hstack([design, own])
            information[k, q:, k, q:] += complete
            information[k, :, k, :] -= (scores.T * (weights * r[:, k])) @ scores
            means[:, k] = scores * r[:, k, None]
        flat = means.reshape(len(r), -1)
        information += ((flat.T * weights) @ flat).reshape(information.shape)
    first, second = forms.free(), lines.free()
    free = np.zeros((K, q + m, first.shape[-1] + second.shape[-1]))
    free[:, :q, : first.shape[-1]] = first
    free[:, q:, first.shape[-1] :] = second
    free = free.reshape(K * (q + m), -1)
    size = K * (q + m)
    covariance = _inverse(free.T @ information.reshape(size, size) @ free)
    covariance = (free @ covariance @ free.T).reshape(K, q + m, K, q + m)
    return {
        **forms.errors(covariance[:, :q, :, :q]),
        **lines.errors([covariance[k, q:, k, q:] for k in range(K)]),
    }


def _inverse(information: np.ndarray) -> np.ndarray:
    """Of a positive definite matrix."""
    scales = np.sqrt(np.maximum(np.diagonal(information), np.finfo(np.float64).tiny))
    values, vectors = np.linalg.eigh(information / np.outer(scales, scales))
    if not np.all(values > RANK_DIGITS * len(values) * EPSILON):
        raise ValueError(
            "the observed information is not positive definite, so that there are no standard "
            "errors: the fit has not converged to a maximum (a smaller tol), or the rows do not "
            "tell all parameters"
        )
    vectors = vectors / scales[:, None]
    return (vectors / values) @ vectors.T


class WeightForms:
    """The weights of a mixture, as a softmax of one number for every component."""

    def __init__(self, latent: MixtureWeights, weights: np.ndarray):
        if latent.fixed.touches("weights") and "weights" not in latent.fixed:
            raise ValueError(
                "fixed: found weights of some components; expected all weights or none, for "
                "standard errors"
            )
        self.latent, self.weights = latent, weights
        self.size = 0 if "weights" in latent.fixed else 1

    def design(self, covariates: np.ndarray | None, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Columns of the linear forms, and probabilities of components."""
        p = np.broadcast_to(self.weights, (n_rows, len(self.weights)))
        return np.ones((n_rows, self.size)), p

    def prior(self) -> np.ndarray:
        """Less the second derivatives of the log prior, (K, size, K, size)."""
        K = len(self.weights)
        if self.latent.prior is None:
            return np.zeros((K, self.size, K, self.size))
        total = self.latent.prior.counts.sum()
        return np.ones((1, self.size, 1, self.size)) * (total * self._slopes)[:, None, :, None]

    @property
    def _slopes(self) -> np.ndarray:
        return np.diag(self.weights) - np.outer(self.weights, self.weights)

    def free(self) -> np.ndarray:
        """Contrasts: adding the same to all forms changes nothing. (K, size, n_free)"""
        return _contrasts(len(self.weights), self.size)

    def errors(self, covariance: np.ndarray) -> dict[str, np.ndarray]:
        if self.size == 0:
            return {"weights": np.zeros(len(self.weights))}
        variances = self._slopes @ covariance[:, 0, :, 0] @ self._slopes
        return {"weights": np.sqrt(np.diagonal(variances))}


class GateForms:
    """The linear forms of a gate, in its free coordinates."""

    def __init__(self, latent: Gate, parameters: GateParameters):
        self.latent, self.parameters = latent, parameters
        self.size = int(latent.free.sum())

    def design(self, covariates: np.ndarray | None, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
        z = (covariates.astype(np.float64) - self.latent.point) / self.latent.scale
        design = np.column_stack([np.ones(n_rows), z])[:, self.latent.free]
        return design, self.parameters.probabilities(covariates.astype(np.float64))

    def prior(self) -> np.ndarray:
        K = len(self.parameters.shares)
        blocks = np.kron(np.eye(K), np.diag(self.latent.precisions))
        return blocks.reshape(K, self.size, K, self.size)

    def free(self) -> np.ndarray:
        return _contrasts(len(self.parameters.shares), self.size)

    def errors(self, covariance: np.ndarray) -> dict[str, np.ndarray]:
        latent, (K, C) = self.latent, self.parameters.coef.shape
        # Intercept and coefficients by the coordinates.
        change = np.diag(np.append(1.0, 1 / latent.scale))
        change[0, 1:] = -latent.point / latent.scale
        errors = np.array(
            [_errors(change[:, latent.free], covariance[k, :, k, :]) for k in range(K)]
        ).reshape(K, C + 1)
        return {"gate_coef": errors[:, 1:], "gate_intercept": errors[:, 0]}


class Lines:
    """Linear regressions of all components."""

    def __init__(self, emission: LinearRegression, parameters: RegressionParameters):
        self.emission, self.parameters = emission, parameters
        self.deviations = np.sqrt(parameters.noise_variances)
        K, D = parameters.coef.shape
        self.size = D + 2
        # Known intercepts are values at 0.
        known = emission.fixed.of("intercept", K)
        self.centres = np.where(known[:, None], 0.0, parameters.centre[:-1])

    def scores(self, k: int, X: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of component k in every row; and less the sum of second derivatives."""
        rows = np.asarray(X, np.float64)
        parameters = self.parameters
        e = rows[:, -1] - rows[:, :-1] @ parameters.coef[k] - parameters.intercept[k]
        e = (e / self.deviations[k])[:, None]
        z = (rows[:, :-1] - self.centres[k]) / parameters.spread
        u = np.column_stack([np.ones(len(rows)), z])
        second = np.zeros((self.size, self.size))
        second[:-1, :-1] = (u.T * weights) @ u
        second[-1, :-1] = second[:-1, -1] = (weights * e[:, 0]) @ u
        second[-1, -1] = weights @ (e[:, 0] ** 2 - 0.5)
        return np.hstack([e * u, 0.5 * (e**2 - 1)]), second

    def prior(self, k: int) -> np.ndarray:
        second = np.zeros((self.size, self.size))
        prior = self.emission.prior
        if prior is None:
            return second
        strength = prior.strengths[k] / self.parameters.spread**2
        coef = self.parameters.coef[k] * self.parameters.spread / self.deviations[k]
        second[1:-1, 1:-1] = np.diag(strength)
        second[-1, 1:-1] = second[1:-1, -1] = -strength * coef
        squares = strength @ coef**2 + prior.scale[k] / self.deviations[k] ** 2
        second[-1, -1] = squares - 0.5 * prior.counts[k]
        return second

    def free(self) -> np.ndarray:
        """(K, size, n_free)"""
        fixed, (K, D) = self.emission.fixed, self.parameters.coef.shape
        free = np.column_stack(
            [
                ~fixed.of("intercept", K),
                np.repeat(~fixed.of("coef", K)[:, None], D, axis=1),
                ~fixed.of("noise_variances", K),
            ]
        )
        return np.eye(free.size)[:, free.ravel()].reshape(K, self.size, -1)

    def errors(self, covariances: list[np.ndarray]) -> dict[str, np.ndarray]:
        errors = np.empty((len(covariances), self.size))
        for k, covariance in enumerate(covariances):
            change = block_diag(np.eye(1), np.diag(1 / self.parameters.spread), self.deviations[k])
            change[0, 1:-1] = -self.centres[k] / self.parameters.spread
            errors[k] = self.deviations[k] * _errors(change, covariance)
        return {
            "coef": errors[:, 1:-1],
            "intercept": errors[:, 0],
            "noise_variances": errors[:, -1],
        }


def _contrasts(K: int, size: int) -> np.ndarray:
    """(K, size, (K - 1) size)"""
    contrasts = helmert(K).T if K > 1 else np.zeros((1, 0))
    return np.kron(contrasts, np.eye(size)).reshape(K, size, (K - 1) * size)


def _errors(change: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Standard errors of linear functions of coordinates with this covariance."""
    return np.sqrt(np.maximum(np.einsum("pi,ij,pj->p", change, covariance, change), 0.0))
