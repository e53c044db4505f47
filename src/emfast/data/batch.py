"""Some rows, with what is known about each of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from emfast.inputs.labels import NOTHING_KNOWN, Labels
from emfast.inputs.rows import concatenated, storage, take


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows with what is known about each of them.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features), float32, float64 or integers; or rows as in `rows`
    weights : ndarray of shape (n_rows,), float64, or None for ones; of shape (n_sequences,) where
        there are sequences
    labels : Labels
    missing : bool, whether there may be NaN among the rows, for entries that are missing; a tuple
        of bool for blocks of columns
    numbers : ndarray of shape (n_rows,) or None, what messages call the rows, if not by their place
    sequences : ndarray of shape (n_sequences + 1,), int64, or None where rows are independent
        Sequence s has the rows from ``sequences[s]`` to ``sequences[s + 1]``.
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
    def n_independent(self) -> int:
        """How many sequences there are, or rows if these are independent."""
        return self.n_rows if self.sequences is None else len(self.sequences) - 1

    @property
    def lengths(self) -> np.ndarray:
        """How many rows the sequences have, (n_sequences,)."""
        return np.diff(self.sequences)

    @property
    def n_used(self) -> int:
        """Rows of positive weight."""
        weights = self.row_weights
        return self.n_rows if weights is None else int(np.count_nonzero(weights))

    @cached_property
    def row_weights(self) -> np.ndarray | None:
        """The weight of every row, (n_rows,), or None for ones."""
        if self.sequences is None or self.weights is None:
            return self.weights
        return np.repeat(self.weights, self.lengths)

    def as_rows(self) -> "Batch":
        """The same rows, as if they were independent."""
        return replace(self, weights=self.row_weights, sequences=None)

    @property
    def dtype(self) -> str:
        """The precision this batch is computed in, "float32" or "float64"."""
        return "float32" if self.X.dtype == np.float32 else "float64"

    def take(self, rows: np.ndarray) -> "Batch":
        """A copy of the given rows, which are independent."""
        weights = None if self.row_weights is None else self.row_weights[rows]
        numbers = None if self.numbers is None else self.numbers[rows]
        X, labels = take(self.X, rows), self.labels.take(rows)
        covariates = covariates_of(self, rows)
        return Batch(X, weights, labels, self.missing, numbers, covariates=covariates)

    def pieces(self, first: np.ndarray, lengths: np.ndarray) -> "Batch":
        """A copy of pieces of the sequences, each of which becomes a sequence.

        Parameters
        ----------
        first : ndarray of shape (n_pieces,), the first row of every piece
        lengths : ndarray of shape (n_pieces,), how many rows of one sequence it has
        """
        weights = None
        if self.weights is not None:
            weights = self.weights[np.searchsorted(self.sequences, first, side="right") - 1]
        taken = replace(self, weights=None).take(rows_of(first, lengths))
        return replace(taken, weights=weights, sequences=offsets(lengths))

    def of_sequences(self, which: np.ndarray) -> "Batch":
        """A copy of some of the sequences."""
        return self.pieces(self.sequences[:-1][which], self.lengths[which])

    def number(self, row: int) -> int:
        """What messages call a row."""
        return int(row if self.numbers is None else self.numbers[row])

    @property
    def storage(self) -> str | tuple[str, ...]:
        """How the rows are stored: see `rows.storage`."""
        return storage(self.X)

    @property
    def kind(self) -> tuple[int, str, str | tuple[str, ...]]:
        """What all batches of one source have in common: n_features, dtype, storage."""
        return self.X.shape[1], self.dtype, self.storage

    def part(self, first: int, stop: int) -> "Batch":
        """Some rows, or some of the sequences, without a copy."""
        rows = slice(first, stop)
        sequences, weights = None, None if self.weights is None else self.weights[first:stop]
        if self.sequences is not None:
            ends = self.sequences[first : stop + 1]
            rows, sequences = slice(int(ends[0]), int(ends[-1])), ends - ends[0]
        return replace(
            self,
            X=self.X[rows],
            weights=weights,
            labels=self.labels.take(rows),
            numbers=None if self.numbers is None else self.numbers[rows],
            sequences=sequences,
            covariates=None if self.covariates is None else self.covariates[rows],
        )

    def of_block(self, block: int) -> "Batch":
        """The rows with one of their blocks of columns only."""
        return replace(self, X=self.X.parts[block], missing=self.missing[block])


def covariates_of(batch: Batch, rows: Any) -> np.ndarray | None:
    """The covariates of some rows, if there are any."""
    return None if batch.covariates is None else take(batch.covariates, rows)


def offsets(lengths: np.ndarray) -> np.ndarray:
    """Where sequences of these lengths begin, and where the last one ends, int64."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def rows_of(first: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The rows of pieces that begin at `first`, one piece after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1]) + np.repeat(first - (ends - lengths), lengths)


def all_of(parts: Iterable[np.ndarray]) -> np.ndarray:
    """What there is for the rows of all batches, in one array."""
    parts = list(parts)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch with a copy of the rows of some, in their order; their rows have no numbers."""
    first = batches[0]
    sequences = None
    if first.sequences is not None:
        sequences = offsets(np.concatenate([batch.lengths for batch in batches]))
    return replace(
        first,
        X=concatenated([batch.X for batch in batches]),
        weights=_joined([batch.weights for batch in batches]),
        labels=Labels(
            _joined([batch.labels.component for batch in batches]),
            _joined([batch.labels.allowed for batch in batches]),
            first.labels.classes,
        ),
        sequences=sequences,
        covariates=_joined([batch.covariates for batch in batches]),
    )


def _joined(arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
    return None if arrays[0] is None else np.concatenate(arrays)
