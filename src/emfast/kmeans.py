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
from emfast.known import components_given
from emfast.latent.mixture import MixtureWeights
from emfast.problem import GridProblem, Model

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
) -> np.ndarray:
    """Centres, with points drawn for those that are nowhere yet (NaN).

    They are drawn one by one, with probability proportional to weight times squared distance from
    the nearest centre so far; the best of some draws is kept, which leaves the least of the sum.

    Parameters
    ----------
    X : ndarray of shape (n_points, n_features), about the origin
    weights : ndarray of shape (n_points,), not all 0, or None for ones
    centres : ndarray of shape (n_centres, n_features)
    random_state : RandomState

    Returns
    -------
    ndarray of shape (n_centres, n_features)
    """
    enough = max(SPREAD_ROWS, SPREAD_ROWS_PER_CENTRE * len(centres))
    if enough < len(X) // 2:
        odds = None if weights is None else weights / weights.sum()
        X, weights = X[random_state.choice(len(X), enough, p=odds)], None
    centres, placed = centres.copy(), components_given(centres)
    weights = np.ones(len(X)) if weights is None else weights
    # What is left to gain from every point: weight times squared distance.
    left = weights
    if placed.any():
        left = weights * squared_distances(X, centres[placed]).min(axis=0)
    n_draws = 2 + int(math.log(len(centres)))
    for k in np.flatnonzero(~placed):
        sums = np.cumsum(left if left.any() else weights, dtype=np.float64)
        drawn = np.searchsorted(sums, sums[-1] * random_state.random_sample(n_draws), "right")
        gains = weights * squared_distances(X, X[drawn])
        if left is not weights:
            gains = np.minimum(gains, left)
        best = gains.sum(axis=1).argmin()
        centres[k], left = X[drawn[best]], gains[best]
    return centres


def squared_distances(X: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances of all points from every centre, (n_centres, n_points)."""
    squares = np.einsum("nd,nd->n", X, X) - 2 * centres @ X.T
    return np.maximum(squares + np.einsum("kd,kd->k", centres, centres)[:, None], 0)
