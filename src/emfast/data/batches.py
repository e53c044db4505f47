"""Rows that come in batches from other libraries: iterables, record batches, lazy frames."""

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing
from functools import cached_property
from typing import Any

import numpy as np

from emfast.data.portions import (
    Portion,
    check_apart,
    form_of,
    listed,
    needs_pyarrow,
    portions_of,
)
from emfast.inputs.optional import instance_of

# Batches that are decoded while another one is used: one keeps the processors busy, and each is as
# much memory again.
READAHEAD = 1
# Rows of a batch that tell whether it has been changed.
ROWS_TO_COMPARE = 16
# Rows that pyarrow can be asked for at a time.
MOST_ROWS = 2**31 - 1


def is_in_memory(X: Any) -> bool:
    """Whether this is rows themselves, and no batches of rows."""
    if isinstance(X, np.ndarray | Sequence | Mapping | Set):
        return True
    told_by = ("shape", "__array__", "__array_interface__", "__dataframe__")
    return any(hasattr(X, name) for name in told_by)


class BatchesReader:
    """The batches of an iterable that is made anew for every pass.

    Attributes
    ----------
    n_rows, names : see `Reader`
        For the names, first batches are read until one has rows; the next pass goes on with them.

    Parameters
    ----------
    make : callable without arguments
        Returns an iterable of batches as `portions_of` takes them; a pyarrow.RecordBatchReader is
        one.
    apart : sequence of str, columns that are no features

    Raises
    ------
    ValueError
        From `portions`: the callable returns the same iterator again, or a batch was changed after
        it was given.
    """

    n_rows = None

    def __init__(self, make: Callable[[], Iterable[Any]], apart: Sequence[str] = ()):
        self._make, self._apart = make, tuple(apart)
        self._begun: Generator[Any, None, None] | None = None
        # The last that was made that can be read only once.
        self._made: Any = None

    @cached_property
    def names(self) -> tuple[str, ...] | None:
        batches = self._batches()
        first: list[Any] = []
        # The next pass goes on with these: to begin may be expensive.
        self._begun = _again(first, batches)
        for number, batch in enumerate(batches):
            first.append(batch)
            portion = next(self._portions(batch, number, sys.maxsize), None)
            if portion is not None and portion.n_rows:
                return form_of(portion.X).names
        return None

    def portions(self, batch_rows: int) -> Iterator[Portion]:
        batches, self._begun = self._begun or self._batches(), None
        before: tuple[np.ndarray, bytes] | None = None
        with closing(batches):
            for number, batch in enumerate(batches):
                if before is not None and some_of(before[0]) != before[1]:
                    raise ValueError(
                        f"X: batch {number - 1}: the array has been changed since it was given; "
                        "expected a fresh one for every batch, for they are read ahead"
                    )
                rows = batch[0] if isinstance(batch, tuple) and batch else batch
                before = (rows, some_of(rows)) if isinstance(rows, np.ndarray) else None
                yield from self._portions(batch, number, batch_rows)

    def _portions(self, batch: Any, number: int, batch_rows: int) -> Iterator[Portion]:
        return portions_of(batch, f"batch {number}", self._apart, batch_rows)

    def _batches(self) -> Generator[Any, None, None]:
        made = self._make()
        if is_in_memory(made) and not isinstance(made, list | tuple):
            raise TypeError(
                f"X: the callable returned a {type(made).__name__}; expected an iterable of batches"
            )
        if one_shot(made):
            if made is self._made:
                raise ValueError(
                    f"X: the callable returned the same {type(made).__name__} again, which can be "
                    "read only once; expected a fresh one for every pass"
                )
            self._made = made
        batches = iter(made)
        try:
            yield from batches
        finally:
            for each in (batches, made):
                if hasattr(each, "close"):
                    each.close()


def some_of(rows: np.ndarray) -> bytes:
    """What tells an array from the same with other rows, as a rule."""
    return rows[:: max(1, len(rows) // ROWS_TO_COMPARE)].tobytes() if rows.ndim else b""


def _again(first: list[Any], rest: Generator[Any, None, None]) -> Generator[Any, None, None]:
    """The first items, which are forgotten, and the rest of them."""
    with closing(rest):
        while first:
            yield first.pop(0)
        yield from rest


class LazyFrameReader:
    """The rows of a polars.LazyFrame, which is evaluated anew in every pass, never as a whole.

    Attributes
    ----------
    n_rows, names : see `Reader`

    Parameters
    ----------
    frame : polars.LazyFrame
    apart : sequence of str, columns that are no features

    Raises
    ------
    ValueError
        A column is missing; from `portions`: what polars cannot do.
    ImportError
        pyarrow is not installed, or polars is too old.
    """

    n_rows = None

    def __init__(self, frame: Any, apart: Sequence[str] = ()):
        needs_pyarrow("a polars.LazyFrame")
        if not hasattr(frame, "collect_batches"):
            raise ImportError(
                "X: a polars.LazyFrame needs polars 1.34 or later, which evaluates it in batches"
            )
        self.names = check_apart(apart, frame.collect_schema().names(), "a LazyFrame")
        self._frame, self._apart = frame, tuple(apart)

    def portions(self, batch_rows: int) -> Iterator[Portion]:
        from polars.exceptions import PolarsError

        batches = self._frame.collect_batches(chunk_size=batch_rows, maintain_order=True)
        number = 0
        try:
            for number, frame in enumerate(batches):
                yield from portions_of(frame, f"batch {number}", self._apart, batch_rows)
        except (PolarsError, OSError) as error:
            raise ValueError(f"X: after batch {number}: polars says: {error}") from error


class DatasetReader:
    """The rows of a pyarrow.dataset.Dataset.

    Attributes
    ----------
    n_rows, names : see `Reader`

    Parameters
    ----------
    dataset : pyarrow.dataset.Dataset
    apart : sequence of str, columns that are no features

    Raises
    ------
    ValueError
        A column is missing, in one of the files or altogether; from `portions`: a file cannot be
        read.
    """

    n_rows = None

    def __init__(self, dataset: Any, apart: Sequence[str] = ()):
        self.names = check_apart(apart, dataset.schema.names, "a Dataset")
        self._dataset, self._apart = dataset, tuple(apart)
        self._checked: set[str] = set()
        try:
            fragments = dataset.get_fragments()
        except ValueError:
            # Of a filtered one, pyarrow tells them only where rows of them are read.
            return
        for fragment in fragments:
            self._check_columns(fragment)

    def _check_columns(self, fragment: Any) -> None:
        """Raise where pyarrow would have nulls for a column that a file does not have."""
        from pyarrow.dataset import get_partition_keys

        if not hasattr(fragment, "path") or fragment.path in self._checked:
            return
        self._checked.add(fragment.path)
        try:
            found = set(fragment.physical_schema.names)
        except (ValueError, OSError) as error:
            raise ValueError(f"X: {fragment.path}: cannot be read ({error})") from error
        found |= set(get_partition_keys(fragment.partition_expression))
        for name in self._dataset.schema.names:
            if name not in found:
                raise ValueError(
                    f"X: {fragment.path}: found no column {name!r}; expected those of the Dataset: "
                    f"{listed(self._dataset.schema.names)}"
                )

    def portions(self, batch_rows: int) -> Iterator[Portion]:
        import pyarrow as pa

        tagged = self._scanner(batch_rows).scan_batches()
        where = "batch 0"
        try:
            for number, batch in enumerate(tagged):
                where = f"{getattr(batch.fragment, 'path', 'a Dataset')}, batch {number}"
                self._check_columns(batch.fragment)
                yield from portions_of(batch.record_batch, where, self._apart, batch_rows)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"X: after {where}: cannot be read ({error})") from error

    def _scanner(self, batch_rows: int) -> Any:
        import pyarrow.dataset as ds

        settings = {}
        if isinstance(getattr(self._dataset, "format", None), ds.ParquetFileFormat):
            # Without these, all of a row group is held as it is in the file besides what is decoded
            # from it, and the next one.
            settings["fragment_scan_options"] = ds.ParquetFragmentScanOptions(
                use_buffered_stream=True, pre_buffer=False
            )
        return self._dataset.scanner(
            batch_size=min(batch_rows, MOST_ROWS),
            batch_readahead=READAHEAD,
            fragment_readahead=READAHEAD,
            **settings,
        )


def one_shot(X: Any) -> bool:
    """Whether this can be read only once."""
    return hasattr(X, "__next__") or instance_of(X, "pyarrow", "RecordBatchReader")
