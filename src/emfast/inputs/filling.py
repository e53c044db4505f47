"""Copies of what users give as X, array or table, with other values in some of its entries."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp

from emfast.inputs.rows import RowsWithTrials

# By position of a column: rows, and the values that they get.
Fills = Mapping[int, tuple[np.ndarray, np.ndarray]]


def settable(X: Any, rows: Any) -> Any:
    """X as a table or an array that can hold what it is filled with.

    Parameters
    ----------
    X : table or array-like of numbers, as the user gave it
    rows : the same as the kernels take it, NaN where an entry is missing
    """
    if sp.issparse(X) or _library(X) in TABLES:
        return X
    if isinstance(rows, RowsWithTrials):
        return np.where(rows.trials == 0, np.nan, rows.counts)
    # Integers and booleans are never missing.
    integers = type(X) is np.ndarray and X.dtype.kind in "biu"
    return X if integers else rows


def filled(X: Any, fills: Fills) -> Any:
    """A copy of X with these values."""
    if _library(X) in TABLES:
        return TABLES[_library(X)](X, fills)
    X = X.copy()
    for column, (rows, values) in fills.items():
        if X.dtype == object:
            X[:, column] = _with(X[:, column].tolist(), rows, values)
        else:
            X[rows, column] = values
    return X


def _filled_pandas(X: Any, fills: Fills) -> Any:
    import pandas as pd

    X = X.copy()
    for at, (rows, values) in fills.items():
        column = X.iloc[:, at].copy()
        kind, of_numbers = column.dtype, pd.api.types.is_numeric_dtype(column.dtype)
        if _says_nothing(of_numbers, len(X), values):
            X.isetitem(at, pd.Series(values, X.index))
            continue
        if pd.api.types.infer_dtype(column, skipna=True) == "boolean":
            values = values.astype(bool)
        elif isinstance(kind, pd.SparseDtype):
            column = column.sparse.to_dense()
        elif isinstance(kind, pd.CategoricalDtype):
            unknown = np.setdiff1d(values, kind.categories)
            column = column.cat.add_categories(unknown) if unknown.size else column
        elif pd.api.types.is_integer_dtype(kind) and not _are_whole(values):
            arrow = isinstance(kind, pd.ArrowDtype)
            column = column.astype("double[pyarrow]" if arrow else "Float64")
        elif kind.kind == "f":
            values = values.astype(getattr(kind, "numpy_dtype", kind))
        column.iloc[rows] = values
        X.isetitem(at, column)
    return X


def _filled_polars(X: Any, fills: Fills) -> Any:
    import polars as pl

    columns = []
    for at, (rows, values) in fills.items():
        column = X.to_series(at)
        entries = _with(column.to_list(), rows, values)
        dtype = column.dtype
        of_numbers = dtype.is_numeric() or dtype == pl.Boolean
        if _says_nothing(of_numbers, len(X), values):
            dtype = None
        elif dtype.is_integer() and not _are_whole(values):
            dtype = pl.Float64
        columns.append(pl.Series(column.name, entries, dtype))
    return X.with_columns(columns)


def _filled_arrow(X: Any, fills: Fills) -> Any:
    import pyarrow as pa

    for at, (rows, values) in fills.items():
        name, kind = X.column_names[at], X.column(at).type
        of_numbers = any(
            test(kind) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        )
        if _says_nothing(of_numbers, len(X), values):
            kind = None
        elif pa.types.is_integer(kind) and not _are_whole(values):
            kind = pa.float64()
        column = pa.array(_with(X.column(at).to_pylist(), rows, values), kind)
        X = X.set_column(at, name, column)
    return X


def _says_nothing(of_numbers: bool, n_rows: int, values: np.ndarray) -> bool:
    """Whether a column has no type that the values could take, for all of it is missing."""
    return len(values) == n_rows and not (of_numbers and values.dtype.kind in "biuf")


def _with(column: list, rows: np.ndarray, values: np.ndarray) -> list:
    """A list with other values in some rows, of one type with all others if these have one."""
    filled = dict(zip(rows.tolist(), values.tolist(), strict=True))
    kinds = {type(value) for row, value in enumerate(column) if row not in filled}
    if kinds and kinds <= {bool, np.bool_}:
        filled = {row: bool(value) for row, value in filled.items()}
    elif kinds == {float} and values.dtype.kind in "iu":
        filled = {row: float(value) for row, value in filled.items()}
    elif kinds == {int} and _are_whole(values):
        filled = {row: int(value) for row, value in filled.items()}
    elif kinds == {int}:
        column = [None if row in filled else float(value) for row, value in enumerate(column)]
    for row, value in filled.items():
        column[row] = value
    return column


def _are_whole(values: np.ndarray) -> bool:
    return values.dtype.kind != "f" or bool(np.all(values == np.rint(values)))


def _library(X: Any) -> str:
    return type(X).__module__.split(".")[0]


TABLES = {"pandas": _filled_pandas, "polars": _filled_polars, "pyarrow": _filled_arrow}
