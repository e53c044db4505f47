"""Rows that are all in memory, as a source of one batch; samples of them."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from emfast.data.batch import Batch, rows_of
from emfast.data.source import Source, even_cuts, sequence_cuts
from emfast.inputs.arguments import near_one
from emfast.inputs.labels import NOTHING_KNOWN
from emfast.inputs.rows import take

# A sample of long sequences is made of at least so many pieces, which are no shorter than so many
# rows: pieces of one sequence are as alike as their rows follow each other, and what a piece begins
# with is no start.
PIECES = 8
LEAST_PIECE = 100


class ArraySource(Source):
    """All rows in one array; see `Source`.

    Attributes
    ----------
    batch : Batch
    """

    def __init__(self, batch: Batch):
        self.batch = batch
        self.missing, self.classes = batch.missing, batch.labels.classes
        self.n_rows, self.n_features = batch.X.shape
        self.n_used = self.n_rows if batch.weights is None else np.count_nonzero(batch.weights)
        self.weight = float(self.n_rows if batch.weights is None else batch.weights.sum())
        self.n_kept, self.dtype = self.n_rows, batch.dtype

    def batches(self) -> Iterator[Batch]:
        yield self.batch

    def total(self, asked: Any) -> Any:
        return asked.of(self.batch, self.first_row)

    def of(self, batch: Batch) -> "ArraySource":
        return ArraySource(batch)

    def blocks(self, n_blocks: int) -> list["ArraySource"]:
        batch = self.batch
        begins = batch.sequences
        if begins is None:
            cuts = even_cuts(self.n_rows, n_blocks)
        else:
            cuts = sequence_cuts(begins, n_blocks)
        found = []
        for first, end in pairwise(cuts):
            block = self.of(batch.part(first, end))
            if batch.numbers is None:
                block.first_row = first if begins is None else int(begins[first])
            found.append(block)
        return found

    def plain(self, block: int | None = None) -> "ArraySource":
        batch = self.batch if block is None else self.batch.of_block(block)
        return ArraySource(replace(batch.as_rows(), labels=NOTHING_KNOWN))

    def head(self, n_rows: int) -> Any:
        weights = self.batch.row_weights
        if weights is None:
            return self.batch.X[:n_rows]
        if n_rows == 1:
            first = int((weights > 0).argmax())
            return self.batch.X[first : first + 1]
        return take(self.batch.X, np.flatnonzero(weights)[:n_rows])

    @property
    def extremes(self) -> tuple[Any, np.ndarray | None]:
        return self.batch.X, self.batch.row_weights

    @property
    def sketch(self) -> Batch:
        return self.batch

    def near_one(self) -> tuple["ArraySource", float]:
        weights = self.batch.weights
        scaled = near_one(weights)
        if scaled is weights:
            return self, 1.0
        return self.of(replace(self.batch, weights=scaled)), float(scaled.max() / weights.max())

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


class SequenceSource(ArraySource):
    """All rows in one array, in sequences.

    Attributes
    ----------
    batch : Batch
        A row has the weight of its sequence.
    n_sequences : int

    Parameters
    ----------
    batch : Batch with sequences
    cut : bool, default=True
        Whether samples may have pieces of sequences, which begin anywhere.
    """

    def __init__(self, batch: Batch, *, cut: bool = True):
        super().__init__(replace(batch, weights=None))
        self.batch, self.cut, self.n_sequences = batch, cut, batch.n_independent
        if batch.weights is not None:
            self.n_used = int(batch.lengths[batch.weights > 0].sum())
            self.weight = float(batch.weights @ batch.lengths)

    def of(self, batch: Batch) -> "SequenceSource":
        return SequenceSource(batch, cut=self.cut)

    def sample(self, n_rows: int, n_components: int, random_state: np.random.RandomState) -> Batch:
        """Sequences of positive weight with about `n_rows` rows, without replacement, in order.

        Of long sequences there are pieces. Rows whose label excludes some component are few and
        precious, as in `ArraySource.sample`: up to half the sample are pieces that have some, and
        their weights make up for it.
        """
        if n_rows >= self.n_rows and self.batch.weights is None:
            return self.batch
        first, lengths = self._pieces(n_rows)
        if n_rows >= self.n_used:
            return self.batch.pieces(first, lengths)
        chosen = _about(lengths, n_rows, random_state)
        if self.batch.missing:
            chosen = self._with_columns_of(chosen, first, lengths)
        chosen, factors = self._with_labelled(
            chosen, first, lengths, n_rows, n_components, random_state
        )
        sample = self.batch.pieces(first[chosen], lengths[chosen])
        if factors is None:
            return sample
        return replace(
            sample, weights=factors if sample.weights is None else factors * sample.weights
        )

    def _pieces(self, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
        """First rows and lengths of what a sample of so many rows is drawn from."""
        first, lengths = self.batch.sequences[:-1], self.batch.lengths
        if self.batch.weights is not None:
            used = self.batch.weights > 0
            first, lengths = first[used], lengths[used]
        if not self.cut or n_rows >= self.n_used:
            return first, lengths
        longest = max(LEAST_PIECE, n_rows // PIECES)
        # Pieces of one sequence differ in length by one row at most.
        counts = -(-lengths // longest)
        number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        first, lengths, counts = (np.repeat(each, counts) for each in (first, lengths, counts))
        begin, end = number * lengths // counts, (number + 1) * lengths // counts
        return first + begin, end - begin

    def _with_columns_of(
        self, chosen: np.ndarray, first: np.ndarray, lengths: np.ndarray
    ) -> np.ndarray:
        """These pieces, and one with every column that is missing in all of them."""
        weights = self.batch.row_weights
        pool = None if weights is None else np.flatnonzero(weights > 0)
        rows = self._with_every_column(rows_of(first[chosen], lengths[chosen]), pool)
        return np.unique(np.searchsorted(first, rows, side="right") - 1)

    def _with_labelled(
        self,
        chosen: np.ndarray,
        first: np.ndarray,
        lengths: np.ndarray,
        n_rows: int,
        n_components: int,
        random_state: np.random.RandomState,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """These pieces with some for every group of labels, in order, and factors.

        The factors, None for ones, are how much less a piece weighs because it was likelier drawn.
        """
        if self.batch.labels.nothing_known:
            return np.sort(chosen), None
        groups = self.batch.labels.groups(self.n_rows)
        labelled = np.flatnonzero(groups >= 0)
        piece = np.searchsorted(first, labelled, side="right") - 1
        # Not those of sequences without weight.
        inside = (piece >= 0) & (labelled < (first + lengths)[piece])
        groups, piece = groups[labelled[inside]], piece[inside]
        chance, parts, spared = n_rows / lengths.sum(), [chosen], np.ones(len(first))
        for k in range(n_components):
            of_group = np.unique(piece[groups == k])
            if of_group.size:
                drawn = _about(lengths[of_group], n_rows // (2 * n_components), random_state)
                parts.append(of_group[drawn])
                spared[of_group] *= 1 - drawn.size / of_group.size
        chosen = np.unique(np.concatenate(parts))
        return chosen, chance / (1 - (1 - chance) * spared[chosen])


def _about(lengths: np.ndarray, n_rows: int, random_state: np.random.RandomState) -> np.ndarray:
    """Which of some pieces, drawn at random, have about so many rows together; at least one."""
    order = random_state.permutation(len(lengths))
    total = np.cumsum(lengths[order])
    return order[: np.searchsorted(total, n_rows) + 1]


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
