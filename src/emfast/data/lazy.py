"""A question to a fitted model about every partition of rows of Dask."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import dask
import dask.array as da
import numpy as np

from emfast.data.distributed import bare, partitioned
from emfast.data.observer import Place, check_length, told_where
from emfast.data.partitions import PartitionedRows, column_of
from emfast.inputs.arguments import refuse_lengths

# Arguments that have something for every row; weights have it for every sequence.
OF_ROWS = ("labels", "sample_weight", "y")


@dataclass(frozen=True)
class Question:
    """What a method says of some rows, asked about every partition.

    Attributes
    ----------
    estimator : FittedModel
    method : str
    rows : PartitionedRows
    beside : dict of str to str, by argument what `rows` calls it that has partitions
    given : dict, by argument what is in memory for all rows, or goes to every partition
    """

    estimator: Any
    method: str
    rows: PartitionedRows
    beside: Mapping[str, str]
    given: Mapping[str, Any]

    @classmethod
    def of(
        cls, estimator: Any, method: Callable, X: Any, args: tuple, given: Mapping[str, Any]
    ) -> "Question":
        """The question that this call of a method is.

        Raises
        ------
        ValueError, TypeError, RuntimeError
            See `distributed.partitioned`.
        """
        bound = signature(method).bind(estimator, X, *args, **given).arguments
        values = dict(list(bound.items())[2:])
        refuse_lengths(values.get("lengths"))
        rows, columns = partitioned(X, {name: values.get(name) for name in OF_ROWS})
        beside = {name: called for name, called in columns.items() if called in rows.beside}
        others = {name: value for name, value in values.items() if name not in beside}
        # Dask has as many tasks at a time as there are threads.
        worker = bare(estimator)
        worker.n_threads = 1
        return cls(worker, method.__name__, rows, beside, others)

    def lazily(self, dtype: Any, width: tuple[int, ...]) -> da.Array:
        """An array of Dask with what the method says of every row."""
        dtype = np.dtype(self.rows.X.dtype if dtype is None else dtype)
        lengths = self.rows.X.lengths or [np.nan] * len(self.rows.X.parts)
        parts = self._delayed(answer_of_rows, dtype, width)
        arrays = [
            da.from_delayed(part, (length, *width), dtype)
            for part, length in zip(parts, lengths, strict=True)
        ]
        return da.concatenate(arrays, allow_unknown_chunksizes=True)

    def answers(self) -> list[Any]:
        """What the method says of the partitions that have rows.

        Raises
        ------
        ValueError
            None of them has.
        """
        found = [each for each in dask.compute(*self._delayed(answer)) if each is not None]
        if not found:
            raise ValueError("X: found no row in any partition; expected 1 row at least")
        return found

    def _delayed(self, task: Callable, *args: Any) -> Iterator[Any]:
        estimator = dask.delayed(self.estimator, pure=False, traverse=False)
        asked, own = dask.delayed(task, pure=False), self._in_memory()
        for i, X in enumerate(self.rows.X.parts):
            beside = {
                name: self.rows.beside[called].parts[i] for name, called in self.beside.items()
            }
            yield asked(*args, i, X, beside, own[i], estimator, self.method)

    def _in_memory(self) -> list[dict[str, Any]]:
        """What goes to every partition."""
        n = len(self.rows.X.parts)
        cut = {
            name: value
            for name, value in self.given.items()
            if name in OF_ROWS and not isinstance(value, str | None)
        }
        whole = {name: value for name, value in self.given.items() if name not in cut}
        if not cut:
            return [whole] * n
        of_sequences = self.estimator._keeps_portions
        rows, sequences = self._ends(of_sequences)
        own = [dict(whole) for _ in range(n)]
        for name, value in cut.items():
            ends = sequences if name == "sample_weight" and of_sequences else rows
            value = np.asarray(value)
            check_length(name, len(value), Place(int(rows[-1]), int(sequences[-1])))
            for i in range(n):
                own[i][name] = value[ends[i] : ends[i + 1]]
        return own

    def _ends(self, of_sequences: bool) -> tuple[np.ndarray, np.ndarray]:
        """Where partitions begin, in rows and in sequences; they are computed if nobody knows."""
        lengths = self.rows.X.lengths
        if lengths is not None and not of_sequences:
            return np.cumsum([0, *lengths]), np.zeros(1, int)
        count = dask.delayed(shape_of, pure=False)
        rows, sequences = zip(*dask.compute(*map(count, self.rows.X.parts)), strict=True)
        return np.cumsum([0, *rows]), np.cumsum([0, *sequences]) * of_sequences


def rows_in(X: Any) -> tuple[Any, list[int] | None]:
    """The rows of a partition, and the lengths of its sequences if it is a list of them."""
    X = list(X) if isinstance(X, Iterator) else X
    if not isinstance(X, list) or (X and np.ndim(X[0]) < 2):
        return X, None
    lengths = [len(rows) for rows in X if len(rows)]
    return (np.concatenate(X) if lengths else X[:0]), lengths


def shape_of(X: Any) -> tuple[int, int]:
    """How many rows a partition has, and how many sequences."""
    X, lengths = rows_in(X)
    return len(X), int(len(X) > 0) if lengths is None else len(lengths)


def answer(
    number: int,
    X: Any,
    beside: Mapping[str, Any],
    own: Mapping[str, Any],
    estimator: Any,
    method: str,
) -> Any:
    """What a method says of the rows of a partition; None if there are none, or none of weight."""
    X, lengths = rows_in(X)
    if not (X.shape[0] if hasattr(X, "shape") else len(X)):
        return None
    given = {**own, **{name: column_of(values) for name, values in beside.items()}}
    if lengths is not None:
        given["lengths"] = lengths
    weights = given.get("sample_weight")
    if weights is not None and not np.any(X[weights] if isinstance(weights, str) else weights):
        return None
    features = getattr(estimator, "feature_names_in_", None)
    if features is not None and hasattr(X, "columns"):
        # What was fitted has its columns, whatever there is beside them.
        apart = [value for value in own.values() if isinstance(value, str)]
        X = X[[name for name in X.columns if name in {*features, *apart}]]
    with told_where(f"partition {number}"):
        return getattr(estimator, method)(X, **given)


def answer_of_rows(dtype: np.dtype, width: tuple[int, ...], *asked: Any) -> np.ndarray:
    """An `answer` to what is asked, as an array with an entry for every row."""
    found = answer(*asked)
    return np.empty((0, *width), dtype) if found is None else np.asarray(found, dtype)
