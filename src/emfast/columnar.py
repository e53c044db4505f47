"""Tables of numbers by columns, without a copy by rows."""

import sys
from typing import Any

import numpy as np

from emfast.rows import ColumnRows


def column_rows(batch: Any) -> ColumnRows | None:
    """A pyarrow record batch of numbers as rows; None where it has anything else.

    Nulls become NaN. All columns have the precision that holds each of them, and those that have it
    already are not copied.
    """
    if batch.num_columns == 0 or not _are_numbers(batch.schema):
        return None
    arrays = [_as_array(column) for column in batch.columns]
    dtype = _precision([array.dtype for array in arrays])
    return ColumnRows([array.astype(dtype, copy=False) for array in arrays], batch.schema.names)


def is_arrow_table(X: Any) -> bool:
    """Whether it is a pyarrow.Table; nothing is imported for that."""
    found = getattr(sys.modules.get("pyarrow"), "Table", None)
    return found is not None and isinstance(X, found)


def table_rows(table: Any) -> ColumnRows | None:
    """The same of a pyarrow.Table, each column of which is copied once, into an array."""
    if table.num_columns == 0 or table.num_rows == 0 or not _are_numbers(table.schema):
        return None
    columns = [[_as_array(chunk) for chunk in column.chunks] for column in table.columns]
    dtype = _precision([array.dtype for chunks in columns for array in chunks])
    rows = np.empty((table.num_columns, table.num_rows), dtype)
    for row, chunks in zip(rows, columns, strict=True):
        np.concatenate(chunks, out=row, casting="unsafe")
    return ColumnRows(rows, table.column_names)


def _are_numbers(schema: Any) -> bool:
    import pyarrow.types as types

    checks = types.is_floating, types.is_integer, types.is_boolean
    return all(any(is_kind(field.type) for is_kind in checks) for field in schema)


def _precision(dtypes: list[np.dtype]) -> np.dtype:
    """The precision that numbers of all these types are computed in."""
    dtype = np.result_type(np.float32, *dtypes)
    return dtype if np.float32 in dtypes else np.dtype(np.float64)


def _as_array(column: Any) -> np.ndarray:
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind == "O":
        # Booleans with nulls.
        return np.array([np.nan if value is None else value for value in values], np.float64)
    return values.astype(np.float32) if values.dtype == np.float16 else values
