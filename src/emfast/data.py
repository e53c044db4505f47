"""Where rows come from: the only part of the package that knows.

A *source* is re-iterable and yields batches. An array is a source of one batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emfast.labels import NOTHING_KNOWN, Labels
from emfast.rows import storage, take


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows with what is known about each of them.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features), float32, float64 or integers; or rows as in `rows`
    weights : ndarray of shape (n_rows,), float64, or None for ones; (n_sequences,) with `sequences`
    labels : Labels
    missing : bool, whether there may be NaN among the rows, for entries that are missing; a tuple
        of bool for blocks of columns
    numbers : ndarray of shape (n_rows,) or None, what messages call the rows, if not by their place
    sequences : ndarray of shape (n_sequences + 1,), int64, or None
        Where sequences of rows start, and the last one ends; None where rows are independent.
    covariates : ndarray of shape (n_rows, n_covariates) or None
        What the latent variable depends on, in the precision the batch is computed in.
    """

    X: Any
    weights: np.ndarray | None = None
    labels: Labels = NOTHING_KNOWN
    missing: bool | tuple[bool, ...] = False
    numbers: np.ndarray | None = None
    sequences: np.ndarray | None = None
    covariates: np.ndarray | None = None

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
        numbers = None if self.numbers is None else self.numbers[rows]
        X, labels = take(self.X, rows), self.labels.take(rows)
        covariates = covariates_of(self, rows)
        return Batch(X, weights, labels, self.missing, numbers, covariates=covariates)

    def number(self, row: int) -> int:
        """What messages call a row."""
        return int(row if self.numbers is None else self.numbers[row])

    @property
    def storage(self) -> str | tuple[str, ...]:
        """How the rows are stored: see `rows.storage`."""
        return storage(self.X)

    def of_block(self, block: int) -> "Batch":
        """The rows with one of their blocks of columns only."""
        return replace(self, X=self.X.parts[block], missing=self.missing[block])


def covariates_of(batch: Batch, rows: Any) -> np.ndarray | None:
    """The covariates of some rows, if there are any."""
    return None if batch.covariates is None else take(batch.covariates, rows)


class ArraySource:
    """All rows in one array.

    Attributes
    ----------
    n_rows, n_features : int
    n_used : int, rows of positive weight
    weight : float, sum of the weights
    dtype : str, the precision the rows are computed in
    """

    def __init__(self, batch: Batch):
        self.batch = batch
        self.n_rows, self.n_features = batch.X.shape
        self.n_used = self.n_rows if batch.weights is None else np.count_nonzero(batch.weights)
        self.weight = float(self.n_rows if batch.weights is None else batch.weights.sum())
        self.dtype = batch.dtype

    def __iter__(self) -> Iterator[Batch]:
        yield self.batch

    def sample(self, n_rows: int, n_components: int, random_state: np.random.RandomState) -> Batch:
        """About `n_rows` rows of positive weight, without replacement and in their order.

        Rows whose label excludes some component are few and precious: up to half the sample is
        theirs, the same number for every group of labels, besides those that come by chance. Their
        weights make up for it, so that weighted sums over the sample still estimate those over all
        rows.
        """
        weights, labels = self.batch.weights, self.batch.labels
        if n_rows >= self.n_rows and weights is None:
            return self.batch
        pool = None if weights is None else np.flatnonzero(weights > 0)
        size = self.n_rows if pool is None else pool.size
        rows = _choice(size, n_rows, random_state)
        rows = rows if pool is None else pool[rows]
        if self.batch.missing:
            rows = self._with_every_column(rows, pool)
        if n_rows >= size or labels.nothing_known:
            return self.batch.take(np.sort(rows))
        groups = labels.groups(self.n_rows)
        # Rows of noise come by chance.
        groups = np.where(groups < n_components, groups, -1)
        chance, parts, odds = n_rows / size, [rows], np.zeros(n_components)
        for k in range(n_components):
            of_group = np.flatnonzero(groups == k)
            if weights is not None:
                of_group = of_group[weights[of_group] > 0]
            wanted = min(of_group.size, n_rows // (2 * n_components))
            parts.append(of_group[_choice(of_group.size, wanted, random_state)])
            odds[k] = parts[-1].size / max(of_group.size, 1)
        rows = np.unique(np.concatenate(parts))
        chosen = self.batch.take(rows)
        groups = groups[rows]
        odds = np.where(groups >= 0, odds[groups], 0.0)
        factors = chance / (1 - (1 - chance) * (1 - odds))
        weights = factors if chosen.weights is None else factors * chosen.weights
        return replace(chosen, weights=weights)

    def _with_every_column(self, rows: np.ndarray, pool: np.ndarray | None) -> np.ndarray:
        """These rows, and the first that has it for every column that is missing in all of them."""
        for X in getattr(self.batch.X, "parts", [self.batch.X]):
            if not isinstance(X, np.ndarray) or X.dtype.kind != "f":
                continue
            unseen = np.flatnonzero(np.isnan(np.take(X, rows, axis=0)).all(axis=0))
            if unseen.size:
                known = ~np.isnan(X[:, unseen] if pool is None else X[np.ix_(pool, unseen)])
                first = known.argmax(axis=0)[known.any(axis=0)]
                rows = np.union1d(rows, first if pool is None else pool[first])
        return rows


def _choice(n: int, size: int, random_state: np.random.RandomState) -> np.ndarray:
    """About `size` of range(n), or all, in memory that depends on `size` where it is much less."""
    if size >= n:
        return np.arange(n)
    if size > n // 2:
        return random_state.permutation(n)[:size]
    if size < n // 100:
        return random_state.permutation(np.unique(random_state.randint(n, size=2 * size)))[:size]
    # So many draws with replacement hit `size` different numbers on average.
    draws = max(size, round(-n * np.log1p(-size / n)))
    hit = np.zeros(n, bool)
    hit[random_state.randint(n, size=draws)] = True
    return np.flatnonzero(hit)
