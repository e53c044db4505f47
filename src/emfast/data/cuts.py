"""Batches cut again, where passes over them can be."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from emfast.data.batch import Batch, joined

# Batches of at least so many bytes are not copied, but for what is left over from the one before.
LARGE = 1 << 20

# Smaller ones are gathered until there is so much.
GATHERED = 1 << 23


class Places(Protocol):
    """Where a stream of rows, or of sequences, can be cut."""

    def before(self, place: int) -> int:
        """The last of them up to `place`."""

    def after(self, place: int) -> int:
        """The first of them from `place` on."""


@dataclass(frozen=True)
class Multiples:
    """Every so many rows."""

    step: int

    def before(self, place: int) -> int:
        return place // self.step * self.step

    def after(self, place: int) -> int:
        return -(-place // self.step) * self.step


@dataclass(frozen=True)
class Listed:
    """Some places, in order, the first and the last one among them."""

    places: np.ndarray

    def before(self, place: int) -> int:
        return int(self.places[np.searchsorted(self.places, place, side="right") - 1])

    def after(self, place: int) -> int:
        return int(self.places[np.searchsorted(self.places, place)])


def cut_again(batches: Iterable[Batch], places: Places, row_bytes: int) -> Iterator[Batch]:
    """The same rows in batches that begin where a stream can be cut.

    Parameters
    ----------
    batches : iterable of Batch, all of independent rows, or all of sequences
    places : Places, counted in rows, or in sequences
    row_bytes : int, what a row takes, roughly
    """
    pending: list[Batch] = []
    begin = end = pending_rows = 0
    for batch in batches:
        n = batch.n_independent
        if batch.n_rows == 0:
            continue
        is_large = batch.n_rows * row_bytes >= LARGE
        first = min(places.after(end) - end, n) if pending and is_large else 0
        if first or not is_large:
            # A copy: a part would keep all of its batch in memory.
            pending.append(batch.part(0, first) if is_large else batch)
            pending_rows += pending[-1].n_rows
            end += first if is_large else n
            gathered = pending_rows * row_bytes >= GATHERED
            stop = places.before(end)
            if stop > begin and (is_large or gathered):
                whole = joined(pending)
                yield whole.part(0, stop - begin)
                pending = _rest(whole, stop - begin)
                pending_rows = sum(each.n_rows for each in pending)
                begin = stop
        if is_large and first < n:
            stop = places.before(end + n - first)
            if not pending and stop > end:
                yield batch.part(first, first + stop - end)
                first, begin = first + stop - end, stop
            pending += _rest(batch, first)
            pending_rows = sum(each.n_rows for each in pending)
            end = begin + sum(each.n_independent for each in pending)
    if pending:
        yield joined(pending)


def _rest(batch: Batch, first: int) -> list[Batch]:
    """A copy of the rows from some place on, if there are any."""
    rest = batch.part(first, batch.n_independent)
    return [joined([rest])] if rest.n_rows else []
