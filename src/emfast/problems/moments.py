r"""Weighted mean and scatter of rows, and of rows with a target, in one pass over them.

.. math::
    \bar x = \sum_n w_n x_n / \sum_n w_n, \qquad
    S = \sum_n w_n (x_n - \bar x)(x_n - \bar x)^T, \qquad
    c = \sum_n w_n (x_n - \bar x)(y_n - \bar y).

They are all that Bayesian linear regression and factor analysis need to know of complete rows,
however many iterations these take.

The compiled E-step of Gaussians that share a covariance collects them tile by tile: the scatter of
all rows about a point, and for every component the sum of its responsibilities times the row. Here
responsibilities are given: those of the first component are the weights, and of a second one the
weights times the target, scaled to [0, 1]. So rows are read once and never copied. Sums are about a
median of some rows, which is so near the mean that nothing cancels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from emfast.data import Batch
from emfast.emissions.gaussian import Gaussian, GaussianStatistics
from emfast.inputs.arguments import near_one
from emfast.latent import GivenResponsibilities
from emfast.passes import Model, expectation

# Rows whose responsibilities are held at a time: 2 MiB for two components.
CHUNK_ROWS = 131_072

# Rows whose median sums are about.
SAMPLE_ROWS = 1_001

# Sums about a point are precise where its squared distance from the mean is at most so many times
# the variance: a quarter of the digits may cancel.
CANCELLATION = 0.25


@dataclass(frozen=True, eq=False)
class Moments:
    """Weight, mean and scatter of some rows; they add.

    Attributes
    ----------
    weight : float, sum of the weights
    mean : ndarray of shape (D,)
    scatter : ndarray of shape (D, D), sum of w (x - mean) (x - mean)'
    """

    weight: float
    mean: np.ndarray
    scatter: np.ndarray

    def __add__(self, other: "Moments") -> "Moments":
        # With the means m and n, S of both is S_m + S_n + w_m w_n / (w_m + w_n) (m - n)(m - n)'.
        weight = self.weight + other.weight
        shift = other.mean - self.mean
        between = self.weight * (other.weight / weight) * np.outer(shift, shift)
        mean = self.mean + shift * (other.weight / weight)
        return Moments(weight, mean, self.scatter + other.scatter + between)


@dataclass(frozen=True, eq=False)
class JointMoments:
    """Moments of rows, of their targets, and of both together; they add.

    Attributes
    ----------
    rows : Moments
    target_mean : float
    target_scatter : float, sum of w (y - target_mean)^2
    cross : ndarray of shape (D,), sum of w (x - mean) (y - target_mean)
    """

    rows: Moments
    target_mean: float
    target_scatter: float
    cross: np.ndarray

    def __add__(self, other: "JointMoments") -> "JointMoments":
        rows = self.rows + other.rows
        shift, share = other.target_mean - self.target_mean, other.rows.weight / rows.weight
        between = self.rows.weight * share * shift
        return JointMoments(
            rows,
            self.target_mean + shift * share,
            self.target_scatter + other.target_scatter + between * shift,
            self.cross + other.cross + between * (other.rows.mean - self.rows.mean),
        )

    def about_zero(self) -> "JointMoments":
        """Sums of products about 0 in place of the means."""
        weight, mean, target = self.rows.weight, self.rows.mean, self.target_mean
        scatter = self.rows.scatter + weight * np.outer(mean, mean)
        return JointMoments(
            Moments(weight, np.zeros_like(mean), scatter),
            0.0,
            self.target_scatter + weight * target**2,
            self.cross + weight * target * mean,
        )


def moments(X: np.ndarray, weights: np.ndarray | None, n_threads: int) -> Moments:
    """Moments of complete rows.

    Parameters
    ----------
    X : ndarray of shape (n_rows, D), float32 or float64, finite, of any strides
        Rows of float32 are multiplied in float32, and summed in float64.
    weights : ndarray of shape (n_rows,) or None for ones, float64, at least one of them positive
    n_threads : int
        The sums are the same to the bit for any number.

    Returns
    -------
    Moments
    """
    return _collected(X, weights, n_threads).moments()


def joint_moments(
    X: np.ndarray, y: np.ndarray, weights: np.ndarray | None, n_threads: int
) -> JointMoments:
    """Moments of complete rows and their targets.

    Parameters
    ----------
    X, weights, n_threads : see `moments`
    y : ndarray of shape (n_rows,), float64, finite

    Returns
    -------
    JointMoments
    """
    counted = True if weights is None else weights > 0
    low = float(np.min(y, where=counted, initial=np.inf))
    high = float(np.max(y, where=counted, initial=-np.inf))
    width = high - low or 1.0
    sums = _collected(
        X, weights, n_threads, lambda part: (np.clip(y[part], low, high) - low) / width
    )
    middle = sums.counts[1] / sums.counts[0]
    # From y itself, which is in float64 where rows are not.
    target_mean = low + _weighted_sum(lambda part: part - low, y, weights) / sums.weight
    target_scatter = _weighted_sum(lambda part: (part - target_mean) ** 2, y, weights)
    cross = sums.factor * width * (sums.first[1] - middle * sums.first[0])
    return JointMoments(sums.moments(), target_mean, target_scatter, cross)


def _weighted_sum(
    of: Callable[[np.ndarray], np.ndarray], y: np.ndarray, weights: np.ndarray | None
) -> float:
    # Not by BLAS, whose result depends on its number of threads.
    total = 0.0
    for part in _parts(len(y)):
        values = of(y[part])
        total += float(np.sum(values if weights is None else values * weights[part]))
    return total


def _parts(n_rows: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK_ROWS) for start in range(0, n_rows, CHUNK_ROWS))


@dataclass(frozen=True, eq=False)
class _Sums:
    """What was summed about an origin, with weights that are `factor` times smaller."""

    weight: float
    factor: float
    counts: np.ndarray
    statistics: GaussianStatistics

    @property
    def first(self) -> np.ndarray:
        return self.statistics.first

    @property
    def shift(self) -> np.ndarray:
        """The mean of the rows less the origin."""
        return self.first[0] / self.counts[0]

    def moments(self) -> Moments:
        scatter = self.statistics.second - np.outer(self.first[0], self.shift)
        return Moments(self.weight, self.mean, self.factor * scatter)

    @property
    def mean(self) -> np.ndarray:
        return self.statistics.origin[0] + self.shift

    @property
    def cancels(self) -> bool:
        squares = self.shift**2
        variances = np.diag(self.statistics.second) / self.counts[0] - squares
        return bool(np.any(squares > self.statistics.epsilon**-CANCELLATION * variances))


def _collected(
    X: np.ndarray,
    weights: np.ndarray | None,
    n_threads: int,
    target: Callable[[slice], np.ndarray] | None = None,
) -> _Sums:
    """Sums about a point near the mean, with a second component if there is a target."""
    scaled = near_one(weights)
    factor = 1.0 if scaled is weights else float(weights.max() / scaled.max())
    weight = float(len(X) if weights is None else weights.sum())
    origin = _middle(X, weights)
    for _ in range(2):
        counts, statistics = _summed(X, scaled, n_threads, target, origin)
        sums = _Sums(weight, factor, counts, statistics)
        if not sums.cancels:
            break
        # Some rows told nothing of the others: once more, about the mean.
        origin = sums.mean
    return sums


def _summed(
    X: np.ndarray,
    weights: np.ndarray | None,
    n_threads: int,
    target: Callable[[slice], np.ndarray] | None,
    origin: np.ndarray,
) -> tuple[np.ndarray, GaussianStatistics]:
    n_components = 1 if target is None else 2
    emission = Gaussian("tied")
    means = origin[None].repeat(n_components, axis=0)
    parameters = emission.parameters(means, np.eye(X.shape[1]))
    counts, total = np.zeros(n_components), None
    for part in _parts(len(X)):
        rows, w = X[part], None if weights is None else weights[part]
        shares = np.ones((len(rows), n_components), X.dtype)
        if target is not None:
            shares[:, 1] = target(part)
        if w is not None:
            shares *= w[:, None].astype(X.dtype)
        model = Model(shares, parameters)
        statistics = expectation(
            GivenResponsibilities(), emission, model, Batch(rows, w), n_threads
        ).emission
        total = statistics if total is None else total + statistics
        counts += shares.sum(axis=0, dtype=np.float64)
    return counts, total


def _middle(X: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The median of some rows of positive weight: one of their values in every column.

    So a column that is constant has no scatter at all.
    """
    rows = np.unique(np.linspace(0, len(X) - 1, SAMPLE_ROWS).astype(np.intp))
    if weights is not None:
        rows = np.append(rows[weights[rows] > 0], weights.argmax())
    sample = np.sort(X[rows].astype(np.float64), axis=0)
    return sample[(len(sample) - 1) // 2]
