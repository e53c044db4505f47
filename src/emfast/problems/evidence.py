r"""Bayesian linear regression, as a problem for the driver in `em`.

.. math::
    y = b + X \beta + \varepsilon, \qquad \varepsilon \sim N(0, 1 / \alpha), \qquad
    \beta_j \sim N(0, 1 / \lambda_j).

The weights :math:`\beta` are the latent variable. Given the hyperparameters their distribution is
normal with

.. math::
    \Sigma = (\alpha S + \Lambda)^{-1}, \qquad m = \alpha \Sigma c,

where S and c are the sums of products of rows and of rows with targets (the E-step). The expected
complete-data log-likelihood has its maximum at (the M-step)

.. math::
    1 / \alpha = (|y - b - X m|^2 + \mathrm{tr}(S \Sigma)) / n, \qquad
    1 / \lambda_j = m_j^2 + \Sigma_{jj},

and at their mean where the :math:`\lambda_j` are one. The objective is the evidence, the logarithm
of :math:`p(y)` with the weights integrated out (Bishop, Pattern Recognition and Machine Learning,
2006, eqs. 3.86, 9.62, 9.63 and exercises 9.22, 9.23).

All follows from S, c and :math:`|y|^2`, which are collected once. With :math:`S = F^T F`, g such
that :math:`F^T g = c`, and the singular value decomposition
:math:`F \Lambda^{-1/2} = U s V^T`, sums are of squares alone, so that they do not cancel:

.. math::
    a = \frac{\alpha s}{1 + \alpha s^2} U^T g, \qquad m = \Lambda^{-1/2} V a, \qquad
    |y - b - X m|^2 = |y|^2 - |g|^2 + \left|\frac{U^T g}{1 + \alpha s^2}\right|^2.

A prior variance :math:`1 / \lambda_j` may be 0: then the weight is 0, and the feature is *pruned*.
Where that is best, EM tends to it like 1 / t, and the M-step goes there at once (see
`PrecisionPerFeature`): as other steps of EM, this raises the evidence.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from emfast.problems.moments import JointMoments

# Residual variance that a fit from sums of products cannot tell from 0, in units of machine epsilon
# times the variance of the targets.
LOST_DIGITS = 1_000

# Eigenvalues of S that are not told from 0, in units of machine epsilon times D times the largest.
RANK_DIGITS = 10

# A weight may be pruned once the data tell less than this fraction of it: 1 - lambda Sigma.
TOLD = 0.1

# How much the logarithm of a variance may change in one extrapolation.
FURTHEST = 5.0


class Hyperparameters(NamedTuple):
    """Precision of the noise, and prior variances of the weights.

    Attributes
    ----------
    alpha : float
    variances : ndarray of shape (1,), or (D,) where every feature has its own: 1 / lambda
    """

    alpha: float
    variances: np.ndarray


class Predictor(NamedTuple):
    """What predictions are made with: in float64, about the means of the rows.

    Attributes
    ----------
    centre : ndarray of shape (D,), means of the features, or zeros without intercept
    middle : float, mean of the targets, or zero
    coef : ndarray of shape (D,), posterior mean of the weights
    covariance : ndarray of shape (D, D), of the weights
    """

    centre: np.ndarray
    middle: float
    coef: np.ndarray
    covariance: np.ndarray


class Posterior(NamedTuple):
    """What is expected of the weights and of the noise.

    Attributes
    ----------
    squares : ndarray of shape (1,) or (D,), E beta^2, their mean where they share a precision
    noise : float, E |y - b - X beta|^2
    evidence : float, log p(y) in nats
    may_prune : bool, whether the M-step should look for what is to be pruned
    """

    squares: np.ndarray
    noise: float
    evidence: float
    may_prune: bool


@dataclass(frozen=True, eq=False)
class Squares:
    """Sums of products of rows and targets, as square roots.

    Attributes
    ----------
    n : float, sum of the weights of the rows
    factor : ndarray of shape (r, D), F with F'F = S
    projections : ndarray of shape (r,), g with F'g = c
    unexplained : float, sum of squares that least squares leave
    total : float, sum of squares of the targets
    least_noise : float, least variance of the noise that can be told
    """

    n: float
    factor: np.ndarray
    projections: np.ndarray
    unexplained: float
    total: float
    least_noise: float

    @classmethod
    def of(cls, moments: JointMoments, epsilon: float) -> "Squares":
        """Those of moments which were computed with this machine epsilon."""
        scatter, total, n = moments.rows.scatter, moments.target_scatter, moments.rows.weight
        # Columns have any units: which eigenvalues are zero is told of correlations.
        scales = np.sqrt(np.diag(scatter))
        varying = scales > 0
        scales = np.where(varying, scales, 1.0)
        values, vectors = np.linalg.eigh(scatter / np.outer(scales, scales))
        kept = values > RANK_DIGITS * epsilon * len(scales)
        if not kept.any():
            factor, projections = np.zeros((1, len(scales))), np.zeros(1)
        else:
            roots, axes = np.sqrt(values[kept]), vectors[:, kept].T
            factor = roots[:, None] * axes * np.where(varying, scales, 0.0)
            projections = axes @ (moments.cross / scales) / roots
        unexplained = max(total - float(projections @ projections), 0.0)
        least_noise = LOST_DIGITS * epsilon * total / n
        return cls(n, factor, projections, unexplained, total, least_noise)

    @property
    def least_precise(self) -> Hyperparameters:
        """The hyperparameters under which nothing but noise is expected."""
        return Hyperparameters(self.n / self.total, np.zeros(1))


class EvidenceProblem:
    """Hyperparameters of a linear regression, for `em.maximize`.

    The objective is the log evidence over the sum of the weights of the rows.

    Parameters
    ----------
    squares : Squares, with a positive total
    """

    furthest = FURTHEST

    def __init__(self, squares: Squares):
        self.squares = squares

    def objective(self, posterior: Posterior, model: Hyperparameters) -> float:
        return posterior.evidence / self.squares.n

    def displacement(self, model: Hyperparameters, reference: Hyperparameters) -> np.ndarray:
        """Logarithms of ratios; pruned weights have none."""
        there = reference.variances > 0
        with np.errstate(divide="ignore"):
            ratios = np.log(model.variances[there] / reference.variances[there])
        return np.append(ratios, math.log(model.alpha / reference.alpha))

    def displaced(
        self, displacement: np.ndarray, reference: Hyperparameters
    ) -> Hyperparameters | None:
        if not np.isfinite(displacement).all():
            return None
        variances = reference.variances.copy()
        variances[variances > 0] *= np.exp(displacement[:-1])
        alpha = reference.alpha * math.exp(displacement[-1])
        return Hyperparameters(self._bounded(alpha), variances)

    def _bounded(self, alpha: float) -> float:
        return min(alpha, 1 / self.squares.least_noise)

    def _noise_precision(self, posterior: Posterior) -> float:
        return self._bounded(self.squares.n / posterior.noise)

    def _measured(
        self, model: Hyperparameters, s: np.ndarray, g: np.ndarray, beyond: float
    ) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Of the singular values s of F Lambda^(-1/2), and U'g.

        `beyond` is what of |g|^2 is outside the range of U.

        Returns
        -------
        a : ndarray of shape (r,), means of the weights by V, over their prior deviations
        left : ndarray of shape (r,), 1 / (1 + alpha s^2), their variances
        noise, evidence : float, see `Posterior`
        """
        alpha, squares = model.alpha, self.squares
        gains = alpha * s**2
        left = 1 / (1 + gains)
        a = alpha * s * left * g
        residual = squares.unexplained + beyond + float(((left * g) ** 2).sum())
        evidence = 0.5 * (
            squares.n * math.log(alpha / (2 * math.pi))
            - alpha * residual
            - float((a**2).sum())
            - float(np.log1p(gains).sum())
        )
        return a, left, residual + float((s**2 * left).sum()), evidence


class SharedPrecision(EvidenceProblem):
    """One prior precision for all weights.

    Weights in directions in which the rows do not vary follow the prior whatever it is: they are
    integrated out, and EM has less to wait for.
    """

    def __init__(self, squares: Squares):
        super().__init__(squares)
        left, self.lengths, axes = np.linalg.svd(squares.factor, full_matrices=False)
        self.axes, self.projections = axes.T, left.T @ squares.projections

    def start(self) -> Hyperparameters:
        """As much noise as there is variance, and as much that the weights explain."""
        noise, n = self.squares.least_precise, self.squares.n
        size = float((self.lengths**2).sum()) / n
        return noise._replace(variances=np.array([1 / (noise.alpha * size) if size > 0 else 0.0]))

    def estep(self, model: Hyperparameters) -> Posterior:
        a, left, noise, evidence = self._by_axes(model)
        told = 1 - left.mean()
        return Posterior(model.variances * (a**2 + left).mean(), noise, evidence, bool(told < TOLD))

    def mstep(self, posterior: Posterior, model: Hyperparameters) -> Hyperparameters:
        if posterior.may_prune and self._is_noise(posterior):
            return self.squares.least_precise
        return Hyperparameters(self._noise_precision(posterior), posterior.squares)

    def weights(self, model: Hyperparameters) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean (D,) and covariance (D, D) of the weights."""
        a, left, *_ = self._by_axes(model)
        variances = np.full(len(self.axes), float(model.variances[0]))
        return _of_axes(variances, self.axes, a, left)

    def _by_axes(self, model: Hyperparameters) -> tuple[np.ndarray, np.ndarray, float, float]:
        s = math.sqrt(model.variances[0]) * self.lengths
        return self._measured(model, s, self.projections, 0.0)

    def _is_noise(self, posterior: Posterior) -> bool:
        """Whether the evidence has a maximum where all weights are 0, and not a lower one.

        There its derivative by the prior variance is (alpha^2 |c|^2 - alpha tr S) / 2.
        """
        noise = self.squares.least_precise
        slopes = noise.alpha * self.projections**2 - 1
        return (
            float((self.lengths**2 * slopes).sum()) <= 0
            and self.estep(noise).evidence >= posterior.evidence
        )


class PrecisionPerFeature(EvidenceProblem):
    r"""A prior precision for every weight: automatic relevance determination.

    With the hyperparameters of the others as they are, the evidence grows with :math:`\lambda_j`
    without end if and only if :math:`m_j^2 \le \gamma_j \Sigma_{jj}`, where
    :math:`\gamma_j = 1 - \lambda_j \Sigma_{jj}`: this is the condition :math:`q_j^2 \le s_j` of
    Faul and Tipping (Analysis of sparse Bayesian learning, 2002), with
    :math:`\Sigma_{jj} = 1 / (\lambda_j + s_j)` and :math:`m_j = \Sigma_{jj} q_j`. Then the feature
    is pruned, one after the other; a pruned feature does not come back.
    """

    def start(self) -> Hyperparameters:
        """As much noise as there is variance, and as much that every weight explains."""
        noise, n = self.squares.least_precise, self.squares.n
        sizes = (self.squares.factor**2).sum(axis=0) / n
        there = sizes > 0
        variances = 1 / (noise.alpha * np.where(there, sizes, 1.0))
        return noise._replace(variances=np.where(there, variances, 0.0))

    def estep(self, model: Hyperparameters) -> Posterior:
        V, a, left, noise, evidence = self._by_axes(model)
        # Over the prior variances.
        own, squared_means = _variances(V, left), (V @ a) ** 2
        prunable = _prunable(own, squared_means) & (model.variances > 0)
        squares = model.variances * (squared_means + own)
        return Posterior(squares, noise, evidence, bool(prunable.any()))

    def mstep(self, posterior: Posterior, model: Hyperparameters) -> Hyperparameters:
        if posterior.may_prune:
            model = model._replace(variances=self._pruned(model))
            posterior = self.estep(model)
        return Hyperparameters(self._noise_precision(posterior), posterior.squares)

    def weights(self, model: Hyperparameters) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean (D,) and covariance (D, D) of the weights."""
        V, a, left, *_ = self._by_axes(model)
        return _of_axes(model.variances, V, a, left)

    def _by_axes(self, model: Hyperparameters) -> tuple:
        """V, and what `_measured` says in it."""
        squares = self.squares
        U, s, Vt = np.linalg.svd(squares.factor * np.sqrt(model.variances), full_matrices=False)
        g = U.T @ squares.projections
        outside = squares.projections - U @ g
        return (Vt.T, *self._measured(model, s, g, float(outside @ outside)))

    def _pruned(self, model: Hyperparameters) -> np.ndarray:
        """Prior variances, 0 for all features that are to be pruned, one after the other."""
        mean, covariance = self.weights(model)
        variances = model.variances.copy()
        while True:
            there = np.flatnonzero(variances > 0)
            own = np.diag(covariance)[there] / variances[there]
            prunable = there[_prunable(own, mean[there] ** 2 / variances[there])]
            if not prunable.size:
                return variances
            # The one of which the data tell least.
            j = prunable[(np.diag(covariance)[prunable] / variances[prunable]).argmax()]
            # Given that its weight is 0.
            slopes = covariance[:, j] / covariance[j, j]
            mean = mean - slopes * mean[j]
            covariance = covariance - np.outer(slopes, covariance[j])
            variances[j] = 0.0


def _prunable(own: np.ndarray, squared_means: np.ndarray) -> np.ndarray:
    """Which of some weights may be pruned; both arguments are over the prior variances."""
    told = 1 - own
    return (told < TOLD) & (squared_means <= told * own)


def _of_axes(
    variances: np.ndarray, V: np.ndarray, a: np.ndarray, left: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of weights whose prior is N(0, diag(variances)).

    Over their prior deviations, they have means `a` and variances `left` by the axes V, and follow
    the prior in all other directions.
    """
    D, r = V.shape
    deviations = np.sqrt(variances)
    covariance = (V * left) @ V.T
    if r < D:
        covariance += np.eye(D) - V @ V.T
    covariance = deviations[:, None] * covariance * deviations
    return deviations * (V @ a), (covariance + covariance.T) / 2


def _variances(V: np.ndarray, left: np.ndarray) -> np.ndarray:
    """The diagonal of the covariance in `_of_axes`, over the prior variances."""
    squares = V**2
    beyond = 1 - squares.sum(axis=1) if V.shape[1] < len(V) else 0.0
    return squares @ left + np.maximum(beyond, 0.0)
