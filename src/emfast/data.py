"""Where rows come from: the only part of the package that knows.

A *source* is re-iterable and yields batches. An array is a source of one batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from emfast.labels import NOTHING_KNOWN, Labels


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows with what is known about each of them.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features), float32, float64 or uint8
    weights : ndarray of shape (n_rows,), float64, or None for ones
    labels : Labels
    """

    X: np.ndarray
    weights: np.ndarray | None = None
    labels: Labels = NOTHING_KNOWN

    @property
    def n_rows(self) -> int:
        return self.X.shape[0]

    @property
    def dtype(self) -> str:
        """The precision this batch is computed in, "float32" or "float64"."""
        return "float32" if self.X.dtype == np.float32 else "float64"

    def take(self, rows: np.ndarray) -> "Batch":
        """A copy of the given rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Batch(self.X[rows], weights, self.labels.take(rows))


class ArraySource:
    """All rows in one array.

    Attributes
    ----------
    n_rows, n_features : int
    dtype : str, the precision the rows are computed in
    """

    def __init__(self, batch: Batch):
        self.batch = batch
        self.n_rows, self.n_features = batch.X.shape
        self.dtype = batch.dtype

    def __iter__(self) -> Iterator[Batch]:
        yield self.batch

    def sample(self, n_rows: int, n_components: int, random_state: np.random.RandomState) -> Batch:
        """About `n_rows` rows of positive weight, without replacement and in their order.

        Rows with a known component are few and precious: up to half the sample is theirs, the same
        number for every component, besides those that come by chance.
        """
        weights, labels = self.batch.weights, self.batch.labels
        if n_rows >= self.n_rows and weights is None:
            return self.batch
        if weights is None:
            rows = _choice(self.n_rows, n_rows, random_state)
        else:
            positive = np.flatnonzero(weights > 0)
            rows = positive[_choice(positive.size, n_rows, random_state)]
        if rows.size < self.n_rows and not labels.nothing_known:
            known = labels.known(self.n_rows)
            parts = [rows]
            for k in range(n_components):
                of_component = np.flatnonzero(known == k)
                if weights is not None:
                    of_component = of_component[weights[of_component] > 0]
                chosen = _choice(of_component.size, n_rows // (2 * n_components), random_state)
                parts.append(of_component[chosen])
            rows = np.concatenate(parts)
        return self.batch.take(np.unique(rows))


def _choice(n: int, size: int, random_state: np.random.RandomState) -> np.ndarray:
    """`size` of range(n), or all, in memory that depends on `size` alone where it is much less."""
    if size >= n:
        return np.arange(n)
    if size > n // 20:
        return random_state.permutation(n)[:size]
    return random_state.permutation(np.unique(random_state.randint(n, size=2 * size)))[:size]
