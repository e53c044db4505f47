"""k-means: EM with hard assignment to spherical Gaussians of known equal weights and variances.

References
----------
Arthur, D. and Vassilvitskii, S. (2007). k-means++: the advantages of careful seeding. Proceedings
of the eighteenth annual ACM-SIAM symposium on discrete algorithms, 1027-1035.
Celeux, G. and Govaert, G. (1992). A classification EM algorithm for clustering and two stochastic
versions. Computational Statistics & Data Analysis 14, 315-332.
"""

import math

import numpy as np

from emfast import em
from emfast.data import ArraySource, Batch
from emfast.emissions.gaussian import Gaussian
from emfast.latent.mixture import MixtureWeights
from emfast.parts.known import components_given
from emfast.passes import Model
from emfast.problems.grid import GridProblem

# Rows that are enough to draw centres from, and so many for each of them.
SPREAD_ROWS = 1_000
SPREAD_ROWS_PER_CENTRE = 100


class KMeans:
    """Points that go to the nearest of some centres that their labels allow.

    Parameters
    ----------
    batch : Batch of points about the origin, none of which is noise
    n_threads : int
    """

    def __init__(self, batch: Batch, n_threads: int):
        latent = MixtureWeights(fixed=("weights",), assignment="hard")
        emission = Gaussian("spherical", fixed=("covariances",))
        self.problem = GridProblem(latent, emission, ArraySource(batch), n_threads)
        # That of all points, whatever their units; but the nearest centre does not depend on it.
        self.variance = float(np.vdot(batch.X, batch.X)) / batch.X.size or 1.0

    def moved(self, centres: np.ndarray, n_iter: int) -> np.ndarray:
        """The centres after some of Lloyd's steps; one without points stays where it is."""
        trace = em.maximize(self.problem, self._model(centres), tol=0.0, max_iter=n_iter)
        return trace.model.emission.means

    def nearest(self, centres: np.ndarray) -> np.ndarray:
        """The centre of every point, of shape (n_rows,), int32."""
        return self.problem.assignments(self._model(centres))

    def _model(self, centres: np.ndarray) -> Model:
        K = len(centres)
        variances = np.full(K, self.variance)
        parameters = self.problem.emission.parameters(centres.astype(np.float64), variances)
        return Model(np.full(K, 1 / K), parameters)


def spread(
    X: np.ndarray,
    weights: np.ndarray | None,
    centres: np.ndarray,
    random_state: np.random.RandomState,
    allowed: np.ndarray | None = None,
) -> np.ndarray:
    """Centres, with points drawn for those that are nowhere yet (NaN).

    They are drawn one by one, with probability proportional to weight times squared distance from
    the nearest centre so far; the best of some draws is kept, which leaves the least of the sum.

    Where labels say which centres points may go to, the nearest is the nearest of those, and a
    centre is placed among the labelled points that may go to it, as long as these are not all where
    such centres are. First come those points that have none to go to yet.

    Parameters
    ----------
    X : ndarray of shape (n_points, n_features), about the origin
    weights : ndarray of shape (n_points,), not all 0, or None for ones
    centres : ndarray of shape (n_centres, n_features)
    random_state : RandomState
    allowed : ndarray of shape (n_points, n_centres), bool, or None if every point may go anywhere

    Returns
    -------
    ndarray of shape (n_centres, n_features)
    """
    enough = max(SPREAD_ROWS, SPREAD_ROWS_PER_CENTRE * len(centres))
    # Labelled points may be few, and all of them are needed.
    if allowed is None and enough < len(X) // 2:
        odds = None if weights is None else weights / weights.sum()
        X, weights = X[random_state.choice(len(X), enough, p=odds)], None
    centres, placed = centres.copy(), components_given(centres)
    weights = np.ones(len(X)) if weights is None else weights
    # Where nothing is labelled, no point is left without a centre by its label.
    passes = (False,) if allowed is None else (True, False)
    gain = FreeGain(X, weights) if allowed is None else Gain(X, weights, allowed)
    if placed.any():
        gain.begin(centres, placed)
    n_draws = 2 + int(math.log(len(centres)))
    for unserved_only in passes:
        for k in np.flatnonzero(~placed):
            odds = gain.odds_of_unserved(k) if unserved_only else gain.odds(k)
            if not odds.any():
                continue
            sums = np.cumsum(odds, dtype=np.float64)
            drawn = np.searchsorted(sums, sums[-1] * random_state.random_sample(n_draws), "right")
            centres[k], placed[k] = X[gain.take_best(k, drawn)], True
    return centres


class FreeGain:
    """What is left to gain from points, which may go to any centre, by placing more centres.

    Parameters
    ----------
    X : ndarray of shape (n_points, n_features), about the origin
    weights : ndarray of shape (n_points,)

    Attributes
    ----------
    left : ndarray of shape (n_points,)
        Weight times squared distance from the nearest centre that is placed; infinite if there is
        none.
    """

    def __init__(self, X: np.ndarray, weights: np.ndarray):
        self.X, self.weights = X, weights
        self.squares = np.einsum("nd,nd->n", X, X)
        self.left = np.full(len(X), np.inf)

    def begin(self, centres: np.ndarray, placed: np.ndarray) -> None:
        """Begin with some centres that are placed."""
        distances = squared_distances(self.X, centres[placed], self.squares)
        self.left = self.weights * distances.min(axis=0)

    def odds(self, k: int) -> np.ndarray:
        """Of points to be where centre k is."""
        return self.left if 0 < self.left.sum() < np.inf else self.weights

    def take_best(self, k: int, drawn: np.ndarray) -> int:
        """Put centre k on the one of some points that leaves least."""
        distances = self.weights * squared_distances(self.X, self.X[drawn], self.squares)
        left = np.minimum(distances, self.left)
        best = left.sum(axis=1).argmin()
        self.left = left[best]
        return drawn[best]


class Gain:
    """The same of points that labels let go to some centres only.

    Parameters
    ----------
    X : ndarray of shape (n_points, n_features), about the origin
    weights : ndarray of shape (n_points,)
    allowed : ndarray of shape (n_points, n_centres), bool, the centres that each may go to

    Attributes
    ----------
    left : ndarray of shape (n_points,)
        Weight times squared distance from the nearest centre that is placed and allowed; infinite
        if there is none.
    """

    def __init__(self, X: np.ndarray, weights: np.ndarray, allowed: np.ndarray):
        self.X, self.weights, self.allowed = X, weights, allowed
        self.labelled = ~allowed.all(axis=1)
        self.left = np.where(weights > 0, np.inf, 0.0)
        largest = np.einsum("nd,nd->n", X, X).max()
        # Rounding of squared distances.
        self.negligible = 100 * np.finfo(X.dtype).eps * largest * weights

    def begin(self, centres: np.ndarray, placed: np.ndarray) -> None:
        """Begin with some centres that are placed."""
        distances = squared_distances(self.X, centres[placed])
        distances[~self.allowed[:, placed].T] = np.inf
        counted = self.weights > 0
        self.left[counted] = self.weights[counted] * distances.min(axis=0)[counted]

    def odds_of_unserved(self, k: int) -> np.ndarray:
        """Weights of labelled points that may go to centre k, and to none that is placed."""
        own = self.labelled & self.allowed[:, k]
        return np.where(own & np.isinf(self.left), self.weights, 0.0)

    def odds(self, k: int) -> np.ndarray:
        """Of points to be where centre k is, once every labelled point has some centre."""
        own = self.allowed[:, k]
        labelled = own & self.labelled & (self.left > self.negligible)
        if labelled.any():
            return np.where(labelled, self.left, 0.0)
        unserved = own & np.isinf(self.left)
        if unserved.any():
            return np.where(unserved, self.weights, 0.0)
        left = np.where(own, self.left, 0.0)
        return left if left.any() else self.weights

    def take_best(self, k: int, drawn: np.ndarray) -> int:
        """Put centre k on the one of some points that leaves least."""
        own = self.allowed[:, k]
        distances = self.weights * squared_distances(self.X, self.X[drawn])
        left = np.where(own, np.minimum(distances, self.left), self.left)
        best = left[:, own].sum(axis=1).argmin()
        self.left = left[best]
        return drawn[best]


def squared_distances(
    X: np.ndarray, centres: np.ndarray, squares: np.ndarray | None = None
) -> np.ndarray:
    """Squared distances of all points from every centre, (n_centres, n_points).

    `squares` are those of the points from the origin, where they are known.
    """
    if squares is None:
        squares = np.einsum("nd,nd->n", X, X)
    squares = squares - 2 * centres @ X.T
    return np.maximum(squares + np.einsum("kd,kd->k", centres, centres)[:, None], 0)
