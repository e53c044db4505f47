"""Rows that come in batches and are never in memory together."""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

import numpy as np

from emfast.data.ahead import read_ahead
from emfast.data.arrays import ArraySource, SequenceSource
from emfast.data.batch import Batch, offsets
from emfast.data.source import Source, even_cuts, sequence_cuts
from emfast.data.survey import Plan, Survey, Surveyor
from emfast.inputs.arguments import near_one
from emfast.inputs.labels import NOTHING_KNOWN

# Gives all batches from the first on; told what a survey has found, it may leave out checks.
Batches = Callable[[Survey | None], Iterator[Batch]]


def surveyed(batches: Batches, plan: Plan, classes: np.ndarray | None = None) -> "StreamSource":
    """A source of these batches, once gone over.

    Raises
    ------
    ValueError
        There are no rows, or batches differ in kind.
    """
    surveyor, first = Surveyor(plan), 0
    for batch in read_ahead(batches(None)):
        if batch.n_rows:
            surveyor.add(batch, first)
            first += batch.n_independent
    if surveyor.survey is None:
        raise ValueError("X: found no row in any batch while a minimum of 1 sample is required")
    return StreamSource(batches, surveyor.survey, classes)


class SurveyedSource(Source):
    """Rows that have been gone over once, and what a survey says of them; see `Source`.

    Parameters
    ----------
    survey : Survey, of all of them
    classes : ndarray, see `Source`

    Attributes
    ----------
    cut : bool, whether samples may have pieces of sequences: see `SequenceSource`
    """

    # What weights are multiplied by.
    _factor = 1.0

    def __init__(self, survey: Survey, classes: np.ndarray | None = None):
        self.survey, self.cut = survey, True
        self.n_rows = survey.n_rows
        self.n_features, self.dtype, _ = survey.kind
        self.n_used, self.weight = survey.n_used, survey.weight
        self.missing, self.classes = survey.missing, classes
        self.row_bytes = survey.row_bytes

    @cached_property
    def sequences(self) -> np.ndarray | None:
        """Where all sequences begin, and the last one ends; None where rows are independent."""
        lengths = self.survey.lengths
        return offsets(np.concatenate(lengths)) if lengths else None

    @property
    def n_sequences(self) -> int:
        return len(self.sequences) - 1

    @cached_property
    def _kept(self) -> ArraySource:
        kept = replace(self.survey.kept.content(), missing=self.missing)
        if self._factor != 1 and kept.weights is not None:
            kept = replace(kept, weights=kept.weights * self._factor)
        return ArraySource(kept) if kept.sequences is None else SequenceSource(kept, cut=self.cut)

    @property
    def kept(self) -> Batch:
        """The sample that the survey has taken."""
        return self._kept.batch

    @property
    def n_kept(self) -> int:
        return self._kept.n_rows

    def of(self, batch: Batch) -> ArraySource:
        return self._kept.of(batch)

    def head(self, n_rows: int) -> Any:
        return self.survey.head.X[:n_rows]

    @property
    def extremes(self) -> tuple[Any, np.ndarray | None]:
        return self.survey.extremes, None

    @property
    def sketch(self) -> Any:
        head = self.survey.head
        return head.X, head.labels, head.covariates

    def near_one(self) -> tuple[Source, float]:
        if not self.survey.weighted:
            return self, 1.0
        largest = np.array([self.survey.largest])
        factor = float(near_one(largest)[0] / largest[0])
        if factor == 1:
            return self, 1.0
        scaled = copy(self)
        scaled._factor, scaled.weight = factor, self.survey.weight * factor
        # Of the weights as they are.
        scaled.__dict__.pop("_kept", None)
        return scaled, factor

    def sample(self, n_rows: int, n_components: int, random_state: np.random.RandomState) -> Batch:
        return self._kept.sample(n_rows, n_components, random_state)


class StreamSource(SurveyedSource):
    """Rows of which a batch or two are in memory at a time; see `Source`.

    Parameters
    ----------
    batches : Batches
    survey, classes : see `SurveyedSource`
    """

    def __init__(self, batches: Batches, survey: Survey, classes: np.ndarray | None = None):
        super().__init__(survey, classes)
        self._batches = batches

    def batches(self) -> Iterator[Batch]:
        n_rows = first = 0
        for batch in read_ahead(self._batches(self.survey)):
            if batch.n_rows:
                yield self._as_surveyed(batch, first)
            n_rows, first = n_rows + batch.n_rows, first + batch.n_independent
        if n_rows != self.n_rows:
            raise ValueError(
                f"X: found {n_rows} rows, where an earlier pass found {self.n_rows}; expected the "
                "same rows in every pass"
            )

    def _as_surveyed(self, batch: Batch, first: int) -> Batch:
        """A batch, the first row or sequence of which is at this place."""
        if batch.kind != self.survey.kind:
            raise ValueError(
                f"X: found rows of (n_features, dtype, storage) = {batch.kind}, where an earlier "
                f"pass found {self.survey.kind}; expected the same rows in every pass"
            )
        self._check_sequences(batch, first)
        weights = batch.weights
        if weights is not None and self._factor != 1:
            weights = weights * self._factor
        return replace(batch, weights=weights, missing=self.missing)

    def _check_sequences(self, batch: Batch, first: int) -> None:
        if batch.sequences is None:
            return
        begins = self.sequences[first : first + batch.n_independent + 1]
        if not np.array_equal(np.diff(begins), batch.lengths):
            raise ValueError(
                f"X: found sequences, from number {first} on, of other lengths than in an earlier "
                "pass; expected the same rows in every pass"
            )

    def total(self, asked: Any) -> Any:
        return asked.of_stream(self)

    def blocks(self, n_blocks: int) -> "StreamBlocks":
        return StreamBlocks(self, n_blocks)

    def plain(self, block: int | None = None) -> "PlainStream":
        return PlainStream(self, block)


class PlainStream:
    """The rows of a stream, or a block of their columns, and nothing else that is known of them."""

    sequences = None
    first_row = 0

    def __init__(self, stream: StreamSource, block: int | None):
        self._stream, self._block = stream, block
        self.n_rows, self.row_bytes = stream.n_rows, stream.row_bytes

    def batches(self) -> Iterator[Batch]:
        for batch in self._stream.batches():
            part = batch if self._block is None else batch.of_block(self._block)
            yield replace(part.as_rows(), labels=NOTHING_KNOWN)

    def head(self, n_rows: int) -> Any:
        rows = self._stream.head(n_rows)
        return rows if self._block is None else rows.parts[self._block]

    def total(self, asked: Any) -> Any:
        return asked.of_stream(self)


class StreamBlocks:
    """The rows of a stream in blocks, which one pass goes over."""

    def __init__(self, stream: StreamSource, n_blocks: int):
        self._stream = stream
        if stream.sequences is None:
            self._cuts = even_cuts(stream.n_rows, n_blocks)
        else:
            self._cuts = sequence_cuts(stream.sequences, n_blocks)

    def __len__(self) -> int:
        return len(self._cuts) - 1

    def __iter__(self) -> Iterator["StreamBlock"]:
        batches = self._stream.batches()
        rest: list[Batch] = []
        try:
            for first, end in pairwise(self._cuts):
                block = StreamBlock(self._stream, first, end, batches, rest)
                yield block
                rest = block.rest
            # The end of the stream is where it tells of rows that are missing.
            for _ in batches:
                pass
        finally:
            batches.close()


class StreamBlock:
    """Some rows of a stream that is being gone over; see `passes.Stream`.

    Attributes
    ----------
    rest : list of Batch
        What has been read and belongs to the next block, once this one has been gone over.
    """

    def __init__(
        self,
        stream: StreamSource,
        first: int,
        end: int,
        batches: Iterator[Batch],
        begun: list[Batch],
    ):
        self._batches, self._begun, self._size = batches, begun, end - first
        self.rest: list[Batch] = []
        self.row_bytes, self.sequences = stream.row_bytes, None
        self.first_row, self.n_rows = first, end - first
        if stream.sequences is not None:
            own = stream.sequences[first : end + 1]
            self.first_row, self.n_rows = int(own[0]), int(own[-1] - own[0])
            self.sequences = own - own[0]

    def batches(self) -> Iterator[Batch]:
        lacks = self._size
        for batch in chain(self._begun, self._batches):
            n = min(lacks, batch.n_independent)
            lacks -= n
            if n < batch.n_independent:
                self.rest = [batch.part(n, batch.n_independent)]
                batch = batch.part(0, n)
            yield batch
            if lacks == 0:
                return

    def total(self, asked: Any) -> Any:
        return asked.of_stream(self)
