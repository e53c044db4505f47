"""Rows that are more than one array of numbers, and how the kernels take them.

The classes here answer what is asked of a two-dimensional array: `shape`, `dtype`, ``len``, and
some rows by a slice or an array of indices.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

# Columns of sparse rows that tell which rows are alike where a start is looked for.
MOST_COLUMNS = 200


class SparseRows:
    """Rows of which only the numbers that are not zero are stored.

    Attributes
    ----------
    matrix : scipy.sparse.csr_array of shape (n_rows, n_features), float32 or float64
    """

    storage = "sparse"

    def __init__(self, matrix: sp.csr_array):
        self.matrix = matrix
        self.shape, self.dtype = matrix.shape, matrix.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> "SparseRows":
        return SparseRows(self.matrix[rows])

    def astype(self, dtype: Any) -> "SparseRows":
        return SparseRows(self.matrix.astype(dtype))

    @property
    def values(self) -> np.ndarray:
        return self.matrix.data

    @cached_property
    def columns(self) -> np.ndarray:
        return self.matrix.indices.astype(np.int32, copy=False)

    @cached_property
    def starts(self) -> np.ndarray:
        return self.matrix.indptr.astype(np.int64, copy=False)


class RowsWithTrials:
    """Counts, each with the number of trials it is out of.

    Attributes
    ----------
    both : ndarray of shape (n_rows, 2 n_features), the counts and then the trials; both 0 where a
        count is missing
    asked : ndarray of shape (n_rows, n_features), the trials, also of counts that are missing if
        they are known
    """

    storage = "with trials"

    def __init__(self, both: np.ndarray, asked: np.ndarray | None = None):
        self.both = both
        self.shape, self.dtype = (both.shape[0], both.shape[1] // 2), both.dtype
        self.asked = self.trials if asked is None else asked

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> "RowsWithTrials":
        return RowsWithTrials(self.both[rows], self.asked[rows])

    def astype(self, dtype: Any) -> "RowsWithTrials":
        return RowsWithTrials(self.both.astype(dtype), self.asked)

    @property
    def counts(self) -> np.ndarray:
        return self.both[:, : self.shape[1]]

    @property
    def trials(self) -> np.ndarray:
        return self.both[:, self.shape[1] :]


class RowsWithTargets:
    """Features, and as the last column a target in an array of its own: neither is copied.

    Attributes
    ----------
    features : ndarray of shape (n_rows, n_features - 1), float32 or float64
    target : ndarray of shape (n_rows,), of the same type where kernels read it
    """

    storage = "with targets"

    def __init__(self, features: np.ndarray, target: np.ndarray):
        self.features, self.target = features, target
        self.shape, self.dtype = (len(features), features.shape[1] + 1), features.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> "RowsWithTargets":
        return RowsWithTargets(take(self.features, rows), take(self.target, rows))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.column_stack([self.features, self.target]).astype(dtype or self.dtype)

    def astype(self, dtype: Any) -> "RowsWithTargets":
        return RowsWithTargets(self.features.astype(dtype), self.target.astype(dtype))


class ColumnRows:
    """Rows whose columns are arrays of their own, as tables have them: none is copied.

    Attributes
    ----------
    arrays : sequence of ndarray of shape (n_rows,), contiguous, all float32 or all float64; or one
        of shape (n_features, n_rows)
    names : tuple of str, or None
    pointers : ndarray of shape (n_features,), where the kernels note what they read
    """

    storage = "dense"

    def __init__(self, arrays: Sequence[np.ndarray], names: Sequence[str] | None = None):
        self.arrays = tuple(np.ascontiguousarray(array) for array in arrays)
        self._whole = arrays if isinstance(arrays, np.ndarray) else None
        self.names = None if names is None else tuple(names)
        self.shape, self.dtype = (len(arrays[0]), len(arrays)), self.arrays[0].dtype
        self.pointers = np.zeros(len(arrays), np.uintp)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        """A slice as rows of the same kind, and rows by their indices as an array."""
        parts = [array[rows] for array in self.arrays]
        return ColumnRows(parts, self.names) if isinstance(rows, slice) else np.stack(parts, axis=1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        # Every feature stays contiguous, and nothing is copied of what is in one array.
        whole = self._whole
        if whole is None:
            whole = np.array(self.arrays)
        return whole.T if dtype is None else whole.T.astype(dtype, copy=bool(copy))

    def astype(self, dtype: Any) -> "ColumnRows":
        return ColumnRows([array.astype(dtype) for array in self.arrays], self.names)


class Blocks:
    """The same rows in several blocks of columns, each as its emission takes them.

    Attributes
    ----------
    parts : tuple of rows
    """

    def __init__(self, parts: tuple[Any, ...]):
        self.parts = parts
        self.shape = (len(parts[0]), sum(part.shape[1] for part in parts))
        floats = [part.dtype for part in parts if part.dtype.kind == "f"]
        self.dtype = np.result_type(*floats) if floats else np.dtype(np.float64)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> "Blocks":
        return Blocks(tuple(take(part, rows) for part in self.parts))

    @property
    def storage(self) -> tuple[str, ...]:
        return tuple(storage(part) for part in self.parts)


def in_one_precision(parts: Sequence[Any]) -> Blocks:
    """Blocks of columns of which all that are real have the same precision."""
    blocks = Blocks(tuple(parts))
    return in_precision(blocks, blocks.dtype)


def in_precision(rows: Any, dtype: np.dtype) -> Any:
    """Rows whose reals are of this type; integers stay what they are."""
    if isinstance(rows, Blocks):
        return Blocks(tuple(in_precision(part, dtype) for part in rows.parts))
    return rows.astype(dtype) if rows.dtype.kind == "f" and rows.dtype != dtype else rows


def storage(rows: Any) -> Any:
    """How rows are stored: "dense", "sparse", "with trials" or "targets"; a tuple for `Blocks`."""
    return getattr(rows, "storage", "dense")


def for_kernels(rows: Any) -> Any:
    """Rows as `emcore` reads them."""
    if isinstance(rows, Blocks):
        return tuple(for_kernels(part) for part in rows.parts)
    return rows.both if isinstance(rows, RowsWithTrials) else rows


def as_numbers(rows: Any) -> Any:
    """Dense rows in float64, with NaN where a number is missing; blocks of them."""
    if isinstance(rows, Blocks):
        return Blocks(tuple(as_numbers(part) for part in rows.parts))
    if isinstance(rows, SparseRows):
        return rows.matrix.toarray().astype(np.float64)
    return rows if isinstance(rows, RowsWithTrials) else np.asarray(rows, np.float64)


def concatenated(parts: Sequence[Any]) -> Any:
    """A copy of rows of one kind, one after the other."""
    first = parts[0]
    if isinstance(first, Blocks):
        return Blocks(tuple(map(concatenated, zip(*(part.parts for part in parts), strict=True))))
    if isinstance(first, SparseRows):
        return SparseRows(sp.csr_array(sp.vstack([part.matrix for part in parts], format="csr")))
    if isinstance(first, RowsWithTrials):
        arrays = ([part.both for part in parts], [part.asked for part in parts])
        return RowsWithTrials(*map(np.concatenate, arrays))
    if isinstance(first, RowsWithTargets):
        features = concatenated([part.features for part in parts])
        return RowsWithTargets(features, np.concatenate([part.target for part in parts]))
    if isinstance(first, ColumnRows):
        columns = zip(*(part.arrays for part in parts), strict=True)
        return ColumnRows([np.concatenate(column) for column in columns], first.names)
    return np.concatenate(parts)


def take(rows: Any, which: Any) -> Any:
    """Some of the rows."""
    if isinstance(rows, np.ndarray) and isinstance(which, np.ndarray):
        # Several times as fast as indexing.
        return np.take(rows, which, axis=0)
    return rows[which]


def varying_columns(rows: SparseRows) -> np.ndarray:
    """The columns of sparse rows that vary most."""
    matrix = rows.matrix
    variances = matrix.multiply(matrix).mean(axis=0) - matrix.mean(axis=0) ** 2
    return np.sort(np.argsort(-variances, kind="stable")[:MOST_COLUMNS])


def column_means(rows: Any) -> np.ndarray:
    """Means of the columns over what is not missing, 0 where all is, (n_features,), float64."""
    if isinstance(rows, SparseRows):
        return np.asarray(rows.matrix.mean(axis=0), np.float64)
    X = np.asarray(rows, np.float64)
    there = ~np.isnan(X)
    return np.where(there, X, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)


def as_points(rows: Any) -> np.ndarray:
    """Rows as an array of numbers, with the means of the columns for what is missing."""
    if isinstance(rows, SparseRows):
        return rows.matrix.toarray()
    X = np.asarray(rows, rows.dtype if rows.dtype.kind == "f" else np.float64)
    missing = np.isnan(X)
    if not missing.any():
        return X
    return np.where(missing, column_means(X), X).astype(X.dtype, copy=False)
