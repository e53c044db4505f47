"""Collections of Dask as partitions, each of which is in memory somewhere or can be."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import dask
import numpy as np

from emfast.data.portions import Portion, check_apart, portions_of
from emfast.inputs.optional import instance_of

# No partition is cut.
ALL_ROWS = 1 << 62


@dataclass(frozen=True)
class Partitions:
    """What an argument has for the rows of every partition.

    Attributes
    ----------
    parts : tuple of Delayed or Future
    names : tuple of str, those of columns, or None
    lengths : tuple of int, rows of every partition, or None where that is not known
    dtype : the precision that rows are computed in
    futures : tuple of Future, what they are computed from that is on workers
    """

    parts: tuple[Any, ...]
    names: tuple[str, ...] | None = None
    lengths: tuple[int, ...] | None = None
    dtype: Any = np.float64
    futures: tuple[Any, ...] = ()


def partitions_of(value: Any, called: str, rows: Partitions | None = None) -> Partitions:
    """A collection of Dask, or a list of delayed values or futures, as partitions.

    Chunks along features become one.

    Parameters
    ----------
    value : dask.array, dask.dataframe or its series, dask.bag, or list of Delayed or Future
    called : str, the argument
    rows : Partitions, optional
        Those of X, which this is to have the lengths of.

    Raises
    ------
    ValueError
        It has other partitions, or not two dimensions.
    TypeError
        It is something else.
    """
    if instance_of(value, "dask.array", "Array"):
        found = _of_array(value, called, rows)
    elif not _is_partition(value) and hasattr(value, "to_delayed"):
        # What is delayed would have any attribute.
        found = _of_frame_or_bag(value)
    elif isinstance(value, list | tuple) and value and all(map(_is_partition, value)):
        found = Partitions(tuple(value), futures=_futures_behind(*value))
    else:
        raise TypeError(
            f"{called}: found a {type(value).__name__}; expected a Dask array, data frame or bag, "
            "or a list of delayed values or of futures"
        )
    if rows is not None and len(found.parts) != len(rows.parts):
        raise ValueError(
            f"{called}: found {len(found.parts)} partitions; expected those of X, which has "
            f"{len(rows.parts)}"
        )
    return found


def _is_partition(value: Any) -> bool:
    return instance_of(value, "dask.delayed", "Delayed") or instance_of(
        value, "distributed", "Future"
    )


def _of_array(array: Any, called: str, rows: Partitions | None) -> Partitions:
    if array.ndim != 2 and (rows is None or array.ndim != 1):
        raise ValueError(
            f"{called}: found a Dask array of {array.ndim} dimensions; expected "
            + ("two" if rows is None else "one or two")
        )
    if array.ndim == 2 and array.numblocks[1] > 1:
        array = array.rechunk({1: -1})
    lengths = None if np.isnan(array.chunks[0]).any() else tuple(map(int, array.chunks[0]))
    if rows is not None and rows.lengths is not None and lengths not in (None, rows.lengths):
        if sum(lengths) != sum(rows.lengths):
            raise ValueError(
                f"{called}: found {sum(lengths)} entries; expected one for each of "
                f"{sum(rows.lengths)} rows"
            )
        array, lengths = array.rechunk({0: rows.lengths}), rows.lengths
    dtype = np.float32 if array.dtype == np.float32 else np.float64
    parts = tuple(array.to_delayed().ravel())
    return Partitions(parts, None, lengths, dtype, _futures_behind(array))


def _of_frame_or_bag(value: Any) -> Partitions:
    names = None if getattr(value, "columns", None) is None else tuple(value.columns)
    dtypes = getattr(value, "dtypes", None)
    single = names is not None and all(dtype == np.float32 for dtype in dtypes)
    dtype = np.float32 if single else np.float64
    return Partitions(tuple(value.to_delayed()), names, None, dtype, _futures_behind(value))


@dataclass(frozen=True)
class PartitionedRows:
    """Rows in partitions, with what else has partitions, as a `portions.Reader`.

    Attributes
    ----------
    X : Partitions
    beside : dict of str to Partitions, columns of the rows by the names that portions have
    apart : tuple of str, columns of X that are no features
    """

    X: Partitions
    beside: Mapping[str, Partitions]
    apart: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.apart:
            check_apart(self.apart, self.X.names, "Dask")

    @property
    def names(self) -> tuple[str, ...] | None:
        names = self.X.names
        return None if names is None else tuple(name for name in names if name not in self.apart)

    @property
    def n_rows(self) -> int | None:
        return None if self.X.lengths is None else sum(self.X.lengths)

    def portions(self, batch_rows: int) -> Iterator[Portion]:
        """All rows, one partition after the other, wherever Dask computes them."""
        for partition in self.delayed():
            yield from pieces(dask.compute(partition)[0], batch_rows)

    def delayed(self) -> list[Any]:
        """For every partition the list of its portions, still to be computed."""
        portions = dask.delayed(portions_in, pure=False)
        apart = (*self.beside, *self.apart)
        return [
            portions(i, X, {name: each.parts[i] for name, each in self.beside.items()}, apart)
            for i, X in enumerate(self.X.parts)
        ]


def portions_in(
    number: int, X: Any, beside: Mapping[str, Any], apart: tuple[str, ...]
) -> list[Portion]:
    """The rows of a partition, with columns that are beside them or in the table; see `Portion`."""
    where = f"partition {number}"
    X = list(X) if isinstance(X, Iterator) else X
    beside = {name: column_of(values) for name, values in beside.items()}
    if (X.shape[0] if hasattr(X, "shape") else len(X)) > 0:
        return list(portions_of((X, beside), where, apart, ALL_ROWS))
    for name, values in beside.items():
        if len(values):
            raise ValueError(f"X: {where}: found no rows, and {len(values)} entries of {name!r}")
    return []


def column_of(values: Any) -> Any:
    """What a partition has for its rows; of sequences it may be an array for each."""
    values = list(values) if isinstance(values, Iterator) else values
    if isinstance(values, list) and values and np.ndim(values[0]) > 0:
        return np.concatenate(values)
    return values


def pieces(portions: list[Portion], most: int) -> Iterator[Portion]:
    """The same portions cut to at most so many rows, but for sequences."""
    for portion in portions:
        if portion.n_rows <= most:
            yield portion
        else:
            rows = portion.X, portion.columns
            yield from portions_of(rows, portion.where, tuple(portion.columns), most)


def nth_piece(portions: list[Portion], most: int, n: int) -> Portion | None:
    """One of these pieces, or None where there are no more."""
    for i, piece in enumerate(pieces(portions, most)):
        if i == n:
            return piece
    return None


def sizes(portions: list[Portion]) -> tuple[int, int]:
    """How many rows portions have, and in how many sequences, if these are lists of them."""
    sequences = [
        sum(len(rows) > 0 for rows in portion.X) if isinstance(portion.X, list) else 1
        for portion in portions
    ]
    return sum(portion.n_rows for portion in portions), sum(sequences)


def _futures_behind(*values: Any) -> tuple[Any, ...]:
    """The futures that collections or delayed values are computed from, or are."""
    graphs = [
        getattr(value, "__dask_graph__", lambda value=value: {0: value})() for value in values
    ]
    # Delayed values may share one.
    different = {id(graph): graph for graph in graphs}.values()
    nodes = chain.from_iterable(dict(graph).values() for graph in different)
    return tuple(node for node in nodes if instance_of(node, "distributed", "Future"))
