r"""Factor analysis, as a problem for the driver in `em`.

.. math::
    x = \mu + W z + \varepsilon, \qquad z \sim N(0, I), \qquad \varepsilon \sim N(0, \Psi)

with a diagonal :math:`\Psi`, or :math:`\Psi = \sigma^2 I` (probabilistic principal components).
The factors z are the latent variable. Given the features o of a row that are known, they are
normal with

.. math::
    G = (I + W_o^T \Psi_o^{-1} W_o)^{-1}, \qquad
    \hat z = G W_o^T \Psi_o^{-1} (x_o - \mu_o)

(the E-step). What is missing does not enter, and neither is it imputed. With
:math:`\tilde z = (z, 1)`, the M-step regresses every feature on the factors, over the rows n in
which it is known:

.. math::
    (W_d, \mu_d) = \Big(\sum_n x_{nd} E[\tilde z_n]\Big)^T
    \Big(\sum_n E[\tilde z_n \tilde z_n^T]\Big)^{-1},

and :math:`\Psi_d` is what that leaves of the variance (Rubin and Thayer, EM algorithms for ML
factor analysis, 1982; Tipping and Bishop, Probabilistic principal component analysis, 1999; Ilin
and Raiko, Practical approaches to principal component analysis in the presence of missing values,
2010). The objective is the mean log-likelihood of what is known of the rows.

EM is slow here, the slower the less noise some feature has. So the factors may have any mean and
covariance in the M-step, which their loadings take up (PX-EM: Liu, Rubin and Wu, Parameter
expansion to accelerate EM, 1998). And of complete rows with diagonal noise, for which there are
closed forms, the likelihood itself is maximised after that (ECME: Liu and Rubin, The ECME
algorithm, 1994): over the loadings given the noise, by the K largest eigenvalues of
:math:`\Psi^{-1/2} S \Psi^{-1/2}` (Jöreskog, Some contributions to maximum likelihood factor
analysis, 1967), and over the noise of each feature given all else. With the sample covariance S and
:math:`C = W W^T + \Psi`, that is

.. math::
    \Psi_d \leftarrow \Psi_d + (b - a) / a^2, \qquad
    a = (C^{-1})_{dd}, \qquad b = (C^{-1} S C^{-1})_{dd}.

Only weight, mean and scatter matter of the rows that know the same D features. Up to D rows are
taken as they are; more are replaced by at most 2 D points of the same weight, mean and scatter. So
the cost of an iteration does not depend on the number of rows where patterns of missing features
are few, and sums are of squares, which do not cancel.
"""

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh

from emfast.inputs.validation import CHUNK_ROWS
from emfast.problems.moments import Moments, moments

# Least variance of the noise, as a fraction of the variance of the feature. Likelihoods may grow up
# to a variance of 0 (Heywood cases).
LEAST_NOISE = 1e-8

# Rows of one pattern are taken as they are if they are at most so many, for each feature.
MOST_ROWS = 1

# How much the logarithm of a variance, or a loading in standard deviations, may change in one
# extrapolation.
FURTHEST = 5.0

# Numbers of one kind that are held at a time: rows x factors x factors.
HELD = 2**21

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class Factors:
    """Parameters of factor analysis of D features by K factors.

    Attributes
    ----------
    mean : ndarray of shape (D,)
    loadings : ndarray of shape (D, K), W
    noise : ndarray of shape (D,), the diagonal of Psi
    """

    mean: np.ndarray
    loadings: np.ndarray
    noise: np.ndarray

    def in_units(self, centre: np.ndarray, scales: np.ndarray) -> "Factors":
        """Those of x, if these are of (x - centre) / scales."""
        return Factors(
            centre + scales * self.mean, scales[:, None] * self.loadings, scales**2 * self.noise
        )

    def without_units(self, centre: np.ndarray, scales: np.ndarray) -> "Factors":
        """Those of (x - centre) / scales, if these are of x."""
        return Factors(
            (self.mean - centre) / scales, self.loadings / scales[:, None], self.noise / scales**2
        )

    def in_order(self) -> "Factors":
        """The same distribution with W' Psi^-1 W diagonal, its largest elements first.

        Of factors only the span is determined. The largest loading of each is positive.
        """
        roots = np.sqrt(self.noise)[:, None]
        U, s, _ = np.linalg.svd(self.loadings / roots, full_matrices=False)
        loadings = roots * U * s
        largest = np.abs(loadings).argmax(axis=0)
        signs = np.where(loadings[largest, np.arange(loadings.shape[1])] < 0, -1.0, 1.0)
        return replace(self, loadings=loadings * signs)

    def given(self, X: np.ndarray) -> "GivenRows":
        """What is known of the factors of some rows, (n, D), NaN where a feature is missing."""
        known = ~np.isnan(X)
        if known.all():
            masks, pattern = known[:1], np.zeros(len(X), np.intp)
        else:
            masks, pattern = np.unique(known, axis=0, return_inverse=True)
        distances = np.where(known, X - self.mean, 0.0)
        return self.given_patterns(distances, masks.astype(np.float64), pattern.ravel())

    def given_patterns(
        self, distances: np.ndarray, masks: np.ndarray, pattern: np.ndarray
    ) -> "GivenRows":
        """What is known of the factors of some rows.

        Parameters
        ----------
        distances : ndarray of shape (n, D), rows less the mean, 0 where a feature is missing
        masks : ndarray of shape (P, D), 1 for features that are known and 0 for others
        pattern : ndarray of shape (n,), which mask is that of a row
        """
        W, (D, K) = self.loadings, self.loadings.shape
        scaled = W / self.noise[:, None]
        products = (W[:, :, None] * scaled[:, None, :]).reshape(D, K * K)
        precisions = np.eye(K) + (masks @ products).reshape(-1, K, K)
        roots = np.linalg.inv(np.linalg.cholesky(precisions))
        covariances = np.swapaxes(roots, 1, 2) @ roots
        forms = distances @ scaled
        if len(masks) == 1:
            means = forms @ covariances[0]
        else:
            means = (covariances[pattern] @ forms[:, :, None])[:, :, 0]
        # (x - mu)' C^-1 (x - mu) = min over z of |x - mu - W z|^2 / Psi + |z|^2, in which an error
        # of z is of second order.
        residuals = distances - (means @ W.T) * (masks[pattern] if len(masks) > 1 else masks)
        squares = (residuals**2) @ (1 / self.noise) + (means**2).sum(axis=1)
        diagonals = np.diagonal(roots, axis1=1, axis2=2)
        constants = masks @ (LOG_2PI + np.log(self.noise)) - 2 * np.log(diagonals).sum(axis=1)
        return GivenRows(means, covariances, -0.5 * (constants[pattern] + squares))


class GivenRows(NamedTuple):
    """What is known of the factors of some rows.

    Attributes
    ----------
    means : ndarray of shape (n, K)
    covariances : ndarray of shape (P, K, K), of each pattern of missing features
    log_likelihoods : ndarray of shape (n,), log p of the features that are known, in nats
    """

    means: np.ndarray
    covariances: np.ndarray
    log_likelihoods: np.ndarray


@dataclass(frozen=True, eq=False)
class Points:
    """Rows, or what stands for them.

    Attributes
    ----------
    rows : ndarray of shape (n, D), by patterns, 0 where a feature is missing
    weights : ndarray of shape (n,), positive
    masks : ndarray of shape (P, D), 1 for the features that a pattern knows and 0 for others
    starts : ndarray of shape (P + 1,), where the rows of each pattern begin
    weight : float, sum of the weights of all rows, those without any feature among them
    """

    rows: np.ndarray
    weights: np.ndarray
    masks: np.ndarray
    starts: np.ndarray
    weight: float

    @property
    def weights_of_features(self) -> np.ndarray:
        """Sums of the weights of the rows in which each feature is known, (D,)."""
        return np.add.reduceat(self.weights, self.starts[:-1]) @ self.masks

    def spread(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and variances of every feature over the rows in which it is known, (D,)."""
        counts = self.weights_of_features
        # About a row, so that the values of a feature that is constant differ by nothing.
        known = self._known()
        origin = self.rows[known.argmax(axis=0), np.arange(self.rows.shape[1])]
        distances = np.where(known, self.rows - origin, 0.0)
        shifts = self.weights @ distances / counts
        distances = np.where(known, distances - shifts, 0.0)
        return origin + shifts, self.weights @ distances**2 / counts

    def without_units(self, centre: np.ndarray, scales: np.ndarray) -> "Points":
        """Points (x - centre) / scales."""
        return replace(self, rows=np.where(self._known(), (self.rows - centre) / scales, 0.0))

    @property
    def are_complete(self) -> bool:
        """Whether no feature of any row is missing."""
        return len(self.masks) == 1 and bool(self.masks.all())

    def _known(self) -> np.ndarray:
        return self.masks.astype(bool).repeat(np.diff(self.starts), axis=0)

    def chunks(self, n_factors: int) -> Iterator[tuple[slice, slice]]:
        """Slices of patterns and of their rows that are worked on at a time."""
        most, first = max(1, HELD // (n_factors + 1) ** 2), 0
        while first < len(self.masks):
            last = int(np.searchsorted(self.starts, self.starts[first] + most, side="right")) - 1
            last = max(last, first + 1)
            yield slice(first, last), slice(self.starts[first], self.starts[last])
            first = last


def points_of(X: np.ndarray, weights: np.ndarray | None, missing: bool, n_threads: int) -> Points:
    """What stands for rows, (n, D), NaN where a feature is missing if `missing`."""
    patterns = Patterns(X.shape[1], n_threads)
    patterns.add(X, weights, missing)
    return patterns.points()


class Patterns:
    """What stands for rows that come in batches, by the features that are known of them.

    Of every pattern there are up to D rows, or their weight, mean and scatter. So what is held does
    not grow with the number of rows where patterns are few.
    """

    def __init__(self, n_features: int, n_threads: int):
        self._n_features, self._n_threads = n_features, n_threads
        self._found: dict[bytes, _Pattern] = {}
        self._weight = 0.0

    def add(self, X: Any, weights: np.ndarray | None, missing: bool) -> None:
        """A batch of rows, (n, D), NaN where a feature is missing if `missing`."""
        self._weight += float(len(X) if weights is None else weights.sum())
        if not missing:
            n_used = len(X) if weights is None else np.count_nonzero(weights)
            self._of(np.ones(self._n_features, bool)).add(X, weights, None, n_used)
            return
        X = np.asarray(X)
        masks, members = _patterns(X, weights)
        for mask, which in zip(masks, members, strict=True):
            self._of(mask).add(X, weights, which, len(which))

    def _of(self, mask: np.ndarray) -> "_Pattern":
        key = np.packbits(mask).tobytes()
        if key not in self._found:
            self._found[key] = _Pattern(np.flatnonzero(mask), self._n_threads)
        return self._found[key]

    @property
    def seen(self) -> np.ndarray:
        """Which features are known in some row of positive weight, (D,), bool."""
        seen = np.zeros(self._n_features, bool)
        for pattern in self._found.values():
            seen[pattern.columns] = True
        return seen

    def points(self) -> Points:
        found = [self._found[key] for key in sorted(self._found)]
        masks = np.zeros((len(found), self._n_features))
        for mask, pattern in zip(masks, found, strict=True):
            mask[pattern.columns] = 1
        rows, weights = zip(*(each.points(self._n_features) for each in found), strict=True)
        starts = np.cumsum([0, *map(len, weights)])
        return Points(np.concatenate(rows), np.concatenate(weights), masks, starts, self._weight)


class _Pattern:
    """Rows that know the same features: themselves while they are few, or their moments."""

    def __init__(self, columns: np.ndarray, n_threads: int):
        self.columns, self._n_threads = columns, n_threads
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []
        self._n_rows = 0
        self._moments: Moments | None = None

    def add(
        self, X: Any, weights: np.ndarray | None, which: np.ndarray | None, n_used: int
    ) -> None:
        """Some rows, or all, which know all features; so many of them have a positive weight."""
        self._n_rows += n_used
        if self._n_rows <= MOST_ROWS * len(self.columns):
            self._rows.append(_taken(X, weights, np.arange(len(X)) if which is None else which))
            return
        if which is None:
            found = moments(X, weights, self._n_threads)
        else:
            found = _moments_of(X, weights, which, self.columns, self._n_threads)
        for rows, w in self._rows:
            found = moments(rows[:, self.columns], w, self._n_threads) + found
        self._rows = []
        self._moments = found if self._moments is None else self._moments + found

    def points(self, n_features: int) -> tuple[np.ndarray, np.ndarray]:
        """What stands for them, (n, D), 0 where a feature is missing, and weights."""
        if self._moments is None:
            rows, weights = zip(*self._rows, strict=True)
            return np.concatenate(rows), np.concatenate(weights)
        of_columns, weights = _of_moments(self._moments)
        rows = np.zeros((len(weights), n_features))
        rows[:, self.columns] = of_columns
        return rows, weights


def _taken(
    X: np.ndarray, weights: np.ndarray | None, which: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Some rows, 0 where a feature is missing, and their weights, if these are positive."""
    w = np.ones(len(which)) if weights is None else weights[which]
    rows = X[which[w > 0]].astype(np.float64)
    return np.where(np.isnan(rows), 0.0, rows), w[w > 0]


def _of_moments(of: Moments) -> tuple[np.ndarray, np.ndarray]:
    """At most 2 D points with these moments, and their weights.

    With eigenvalues v and eigenvectors u of the covariance, r of them positive, they are
    mean +- sqrt(r v) u, each with the same weight.
    """
    deviations = np.sqrt(np.diag(of.scatter) / of.weight)
    scales = np.where(deviations > 0, deviations, 1.0)
    values, vectors = np.linalg.eigh(of.scatter / of.weight / np.outer(scales, scales))
    kept = values > np.finfo(np.float64).eps * len(values)
    steps = (np.sqrt(np.count_nonzero(kept) * values[kept]) * vectors[:, kept]).T * deviations
    steps = np.concatenate([steps, -steps]) if kept.any() else np.zeros((1, len(scales)))
    return of.mean + steps, np.full(len(steps), of.weight / len(steps))


def _moments_of(
    X: np.ndarray,
    weights: np.ndarray | None,
    which: np.ndarray,
    columns: np.ndarray,
    n_threads: int,
) -> Moments:
    """Moments of some columns of some rows, of which copies are made a part at a time."""
    parts = (which[start : start + CHUNK_ROWS] for start in range(0, len(which), CHUNK_ROWS))
    return reduce(
        operator.add,
        (
            moments(X[np.ix_(part, columns)], None if weights is None else weights[part], n_threads)
            for part in parts
        ),
    )


def _patterns(X: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, list[np.ndarray]]:
    """Patterns of known features, (P, D), bool, and the rows of positive weight of each.

    Rows of which nothing is known have no pattern.
    """
    D = X.shape[1]
    packed = np.concatenate(
        [
            np.packbits(~np.isnan(X[start : start + CHUNK_ROWS]), axis=1)
            for start in range(0, len(X), CHUNK_ROWS)
        ]
    )
    used = packed.any(axis=1) if weights is None else packed.any(axis=1) & (weights > 0)
    rows = np.flatnonzero(used)
    keys = packed[rows].view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, inverse, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    order = rows[np.argsort(inverse, kind="stable")]
    masks = np.unpackbits(packed[rows[first]], axis=1, count=D).astype(bool)
    return masks, np.split(order, np.cumsum(counts)[:-1])


@dataclass(frozen=True, eq=False)
class FactorStatistics:
    """Sums over the rows in which a feature is known, with z~ = (z, 1) and x about the mean.

    Attributes
    ----------
    products : ndarray of shape (C, K + 1, K + 1), sums of w E z~ z~', of each class of features
        that are known in the same rows
    cross : ndarray of shape (D, K + 1), sums of w x E z~'
    squares : ndarray of shape (D,), sums of w x^2
    every : ndarray of shape (K + 1, K + 1), sum of w E z~ z~' over all rows
    log_likelihood : float, in nats
    """

    products: np.ndarray
    every: np.ndarray
    cross: np.ndarray
    squares: np.ndarray
    log_likelihood: float


class FactorProblem:
    """Factor analysis of points, for `em.maximize`.

    The objective is the mean log-likelihood of rows, in nats.

    Parameters
    ----------
    points : Points, in the units of the rows
    isotropic : bool, whether all features have the same noise
    """

    furthest = FURTHEST

    def __init__(self, points: Points, isotropic: bool):
        self.isotropic = isotropic
        self.centre, variances = points.spread()
        if isotropic:
            variances = np.full_like(variances, variances.mean())
        self.scales = np.sqrt(variances)
        self.points = points.without_units(self.centre, self.scales)
        counts = points.weights_of_features
        self._per_row = counts / points.weight
        _, self._examples, self._classes = np.unique(
            points.masks, axis=1, return_index=True, return_inverse=True
        )
        self._counts = counts
        self._scatter = None
        if not isotropic and self.points.are_complete:
            self._scatter = self._covariance()

    def principal_start(self, n_factors: int) -> Factors:
        """Principal components, with what the others leave as noise.

        For isotropic noise and complete rows this is the maximum of the likelihood (Tipping and
        Bishop, 1999, eqs. 15 and 16).
        """
        # A missing feature is at its mean.
        values, vectors = np.linalg.eigh(self._covariance())
        K, D = n_factors, len(values)
        noise = float(values[: D - K].mean()) if K < D else float(values[0])
        noise = max(noise, LEAST_NOISE)
        values, vectors = values[::-1][:K], vectors[:, ::-1][:, :K]
        loadings = vectors * np.sqrt(np.maximum(values - noise, 0.0))
        left = np.full(D, noise)
        if not self.isotropic:
            left = np.maximum(1 - (loadings**2).sum(axis=1), noise / 10)
        # A tenth of the least would be below it, where no iteration could stay.
        return self.bounded(Factors(np.zeros(D), loadings, left))

    def _covariance(self) -> np.ndarray:
        """Second moments of the points about 0, where the means are, (D, D)."""
        rows, weights = self.points.rows, self.points.weights
        return (rows.T * weights) @ rows / weights.sum()

    def random_start(self, n_factors: int, random_state: np.random.RandomState) -> Factors:
        """Loadings drawn at random that explain half of the variance, about."""
        D = len(self.scales)
        loadings = random_state.standard_normal((D, n_factors)) / math.sqrt(2 * n_factors)
        return Factors(np.zeros(D), loadings, np.full(D, 0.5))

    def estep(self, model: Factors) -> FactorStatistics:
        points, (D, K) = self.points, model.loadings.shape
        products = np.zeros((len(self._examples), (K + 1) ** 2))
        every = np.zeros((K + 1, K + 1))
        cross, squares, log_likelihood = np.zeros((D, K + 1)), np.zeros(D), 0.0
        for patterns, rows in points.chunks(K):
            masks, starts = points.masks[patterns], points.starts[patterns] - rows.start
            sizes = np.diff(points.starts[patterns.start : patterns.stop + 1])
            pattern, w = np.arange(len(masks)).repeat(sizes), points.weights[rows]
            distances = points.rows[rows] - model.mean
            if len(masks) > 1 or not masks.all():
                distances *= masks[pattern]
            given = model.given_patterns(distances, masks, pattern)
            z = np.column_stack([given.means, np.ones(len(w))])
            weighted = w[:, None] * z
            if len(masks) == 1:
                of_patterns = (weighted.T @ z)[None]
            else:
                outer = weighted[:, :, None] * z[:, None, :]
                of_patterns = np.add.reduceat(outer, starts, axis=0)
            of_patterns[:, :K, :K] += of_patterns[:, K:, K:] * given.covariances
            every += of_patterns.sum(axis=0)
            products += masks[:, self._examples].T @ of_patterns.reshape(len(masks), -1)
            cross += distances.T @ weighted
            squares += w @ distances**2
            log_likelihood += float(w @ given.log_likelihoods)
        return FactorStatistics(
            products.reshape(-1, K + 1, K + 1), every, cross, squares, log_likelihood
        )

    def mstep(self, statistics: FactorStatistics, model: Factors) -> Factors:
        products = statistics.products[self._classes.ravel()]
        slopes = np.linalg.solve(products, statistics.cross[:, :, None])[:, :, 0]
        left = statistics.squares - (statistics.cross * slopes).sum(axis=1)
        if self.isotropic:
            left = np.full_like(left, left.sum() / self._counts.sum())
        else:
            left = left / self._counts
        # Factors of mean nu and covariance R in place of 0 and I.
        nu = statistics.every[-1, :-1] / statistics.every[-1, -1]
        R = statistics.every[:-1, :-1] / statistics.every[-1, -1] - np.outer(nu, nu)
        mean, loadings = model.mean + slopes @ np.append(nu, 1.0), slopes[:, :-1]
        found = self.bounded(Factors(mean, loadings @ np.linalg.cholesky(R), left))
        return found if self._scatter is None else _climbed(found, self._scatter)

    def bounded(self, model: Factors) -> Factors:
        """The same, with noise that is not below the least."""
        return replace(model, noise=np.maximum(model.noise, LEAST_NOISE))

    def objective(self, statistics: FactorStatistics, model: Factors) -> float:
        units = float(self._per_row @ np.log(self.scales))
        return statistics.log_likelihood / self.points.weight - units

    def slack(self, model: Factors) -> float:
        """What rounding of the precision matrix may cost, in standard deviations of features."""
        return float(np.finfo(np.float64).eps * (1 / model.noise).sum())

    def displacement(self, model: Factors, reference: Factors) -> np.ndarray:
        """Differences of means and loadings, in standard deviations; logarithms of ratios."""
        ratios = np.log(model.noise / reference.noise)
        return np.concatenate(
            [
                model.mean - reference.mean,
                (model.loadings - reference.loadings).ravel(),
                ratios[:1] if self.isotropic else ratios,
            ]
        )

    def displaced(self, displacement: np.ndarray, reference: Factors) -> Factors | None:
        if not np.isfinite(displacement).all():
            return None
        (D, K) = reference.loadings.shape
        mean, loadings, ratios = np.split(displacement, [D, D + D * K])
        loadings = reference.loadings + loadings.reshape(D, K)
        return self.bounded(
            Factors(reference.mean + mean, loadings, reference.noise * np.exp(ratios))
        )


def _climbed(model: Factors, scatter: np.ndarray) -> Factors:
    """Mean, loadings and each noise where the likelihood of complete rows is highest in turn.

    `scatter` is the covariance of the rows, whose mean is 0.
    """
    roots = np.sqrt(model.noise)[:, None]
    (D, K) = model.loadings.shape
    values, vectors = eigh(scatter / (roots * roots.T), subset_by_index=[D - K, D - 1])
    loadings = roots * vectors * np.sqrt(np.maximum(values - 1, 0.0))
    # Of the loadings that are as good, those nearest to the model: extrapolation needs a path.
    U, _, Vt = np.linalg.svd(loadings.T @ model.loadings)
    loadings = loadings @ (U @ Vt)
    noise = model.noise.copy()
    precision = np.linalg.inv(loadings @ loadings.T + np.diag(noise))
    for d in range(D):
        row = precision[d].copy()
        a, b = row[d], row @ scatter @ row
        change = max(noise[d] + (b - a) / a**2, LEAST_NOISE) - noise[d]
        noise[d] += change
        precision -= np.outer(row, row * (change / (1 + change * a)))
    return Factors(np.zeros(D), loadings, noise)
