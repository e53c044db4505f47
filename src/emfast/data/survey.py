"""What is known of rows once they have been gone over; surveys of parts add."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emfast.data.batch import Batch, joined
from emfast.data.reservoir import LARGEST_KEY, Reservoir, key_of_share
from emfast.inputs.rows import Blocks, ColumnRows, RowsWithTargets, SparseRows, concatenated
from emfast.inputs.validation import column_ranges

# Rows that a survey keeps from the beginning, and bytes of its sample.
HEAD_ROWS = 10_000
SAMPLE_BYTES = 1 << 25


@dataclass(frozen=True)
class Plan:
    """What a survey is to keep.

    Attributes
    ----------
    n_groups : int, how many groups of labels there are
    least : int, rows that a sample should have
    seed : int, of the sample
    n_rows : int, how many rows there are, or None if nobody knows before the end
    """

    n_groups: int
    least: int
    seed: int
    n_rows: int | None = None


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known of some rows.

    Attributes
    ----------
    n_rows, n_used : int, rows, and those of positive weight
    weight, largest : float, the sum of the weights of rows, and the largest weight of all
    weighted : bool, whether there are weights
    kind : tuple, see `Batch`; all batches have the same
    missing : bool or tuple of bool, see `Batch`
    row_bytes : int, what a row takes, roughly
    extremes : rows with what is least and largest in every column; None if none is used
    head : Batch, the first rows that are used; None if none is
    kept : Reservoir
    lengths : tuple of ndarray, those of all sequences; () where rows are independent
    """

    n_rows: int
    n_used: int
    weight: float
    largest: float
    weighted: bool
    kind: tuple[Any, ...]
    missing: bool | tuple[bool, ...]
    row_bytes: int
    extremes: Any
    head: Batch | None
    kept: Reservoir
    lengths: tuple[np.ndarray, ...] = ()

    def __add__(self, other: "Survey") -> "Survey":
        missing = self.missing
        if isinstance(missing, tuple):
            missing = tuple(map(any, zip(missing, other.missing, strict=True)))
        else:
            missing = missing or other.missing
        return replace(
            self,
            n_rows=self.n_rows + other.n_rows,
            n_used=self.n_used + other.n_used,
            weight=self.weight + other.weight,
            largest=max(self.largest, other.largest),
            missing=missing,
            extremes=_both(self.extremes, other.extremes),
            head=_first(self.head, other.head),
            kept=self.kept + other.kept,
            lengths=self.lengths + other.lengths,
        )


class Surveyor:
    """Makes the survey of rows that come in batches.

    Parameters
    ----------
    plan : Plan
    """

    def __init__(self, plan: Plan):
        self._plan = plan
        self._kept: Reservoir | None = None
        self.survey: Survey | None = None

    def add(self, batch: Batch, first: int) -> None:
        """A batch, the first row or sequence of which is at this place."""
        if self._kept is None:
            capacity = capacity_of(self._plan, row_bytes(batch))
            thresholds = None
            # How long sequences are nobody knows before the end.
            if self._plan.n_rows is not None and batch.sequences is None:
                of_all = key_of_share(capacity, self._plan.n_rows)
                thresholds = [of_all, *[LARGEST_KEY] * self._plan.n_groups]
            self._kept = Reservoir(capacity, self._plan.n_groups, self._plan.seed, thresholds)
        if self.survey is not None and batch.kind != self.survey.kind:
            raise ValueError(
                f"X: found rows of (n_features, dtype, storage) = {batch.kind} after rows of "
                f"{self.survey.kind}; expected batches of one kind"
            )
        self._kept.add(batch, first)
        found = survey_of(batch, self._kept)
        self.survey = found if self.survey is None else _added(self.survey, found)


def _added(survey: Survey, found: Survey) -> Survey:
    """The survey of what came before and of a batch, which share their sample."""
    nothing = Reservoir(1, 0, 0)
    total = replace(survey, kept=nothing) + replace(found, kept=nothing)
    return replace(total, kept=found.kept)


def survey_of(batch: Batch, kept: Reservoir, head_rows: int = HEAD_ROWS) -> Survey:
    """The survey of one batch, with the sample that has its rows, and so many of the first."""
    weights = batch.row_weights
    return Survey(
        n_rows=batch.n_rows,
        n_used=batch.n_used,
        weight=float(batch.n_rows if weights is None else weights.sum()),
        largest=1.0 if weights is None else float(weights.max(initial=0.0)),
        weighted=weights is not None,
        kind=batch.kind,
        missing=batch.missing,
        row_bytes=row_bytes(batch),
        extremes=extremes_of(batch.X, weights) if batch.n_used else None,
        head=head_of(batch, head_rows),
        kept=kept,
        lengths=() if batch.sequences is None else (batch.lengths,),
    )


def head_of(batch: Batch, n_rows: int) -> Batch | None:
    """The first so many rows of positive weight, with their labels."""
    if not min(batch.n_used, n_rows):
        return None
    weights = batch.row_weights
    if weights is None:
        used = np.arange(min(batch.n_rows, n_rows))
    else:
        used = np.flatnonzero(weights > 0)[:n_rows]
    return replace(batch.as_rows(), weights=None, numbers=None).take(used)


def capacity_of(plan: Plan, of_row: int) -> int:
    """How many rows a sample has, each of which takes so many bytes."""
    return max(plan.least, SAMPLE_BYTES // of_row)


def row_bytes(batch: Batch) -> int:
    """What a row takes, roughly: for entries that are not stored nothing is counted."""
    if isinstance(batch.X, SparseRows):
        return 64 + 12 * (batch.X.matrix.nnz // max(1, batch.n_rows))
    return max(1, batch.X.shape[1] * batch.X.dtype.itemsize)


def extremes_of(rows: Any, weights: np.ndarray | None) -> Any:
    """Two rows with what is least and largest in every column, of rows of positive weight."""
    if isinstance(rows, Blocks):
        return Blocks(tuple(extremes_of(part, weights) for part in rows.parts))
    if isinstance(rows, RowsWithTargets):
        target = extremes_of(rows.target[:, None], weights)[:, 0]
        return RowsWithTargets(extremes_of(rows.features, weights), target)
    if isinstance(rows, SparseRows):
        # Nothing asks for what sparse rows hold.
        return rows[:2]
    if isinstance(rows, ColumnRows):
        return np.hstack([extremes_of(array[:, None], weights) for array in rows.arrays])
    return np.stack(column_ranges(rows, weights)).astype(rows.dtype, copy=False)


def _both(extremes: Any, others: Any) -> Any:
    if extremes is None or others is None:
        return others if extremes is None else extremes
    return extremes_of(concatenated([extremes, others]), None)


def _first(head: Batch | None, other: Batch | None) -> Batch | None:
    if head is None or other is None:
        return other if head is None else head
    if head.n_rows >= HEAD_ROWS:
        return head
    both = joined([head, other])
    return both.part(0, min(both.n_rows, HEAD_ROWS))
