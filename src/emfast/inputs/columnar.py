"""Tables of numbers by columns, without a copy by rows."""

from typing import Any

import numpy as np

from emfast.inputs.rows import ColumnRows


def column_rows(batch: Any) -> ColumnRows | None:
    """A pyarrow record batch of numbers as rows; None where it has anything else.

    Nulls become NaN. All columns have the precision that holds each of them, and those that have it
    already are not copied.
    """
    if batch.num_columns == 0 or not _are_numbers(batch.schema):
        return None
    dtype = _precision(batch.schema)
    arrays = [_as_array(column).astype(dtype, copy=False) for column in batch.columns]
    return ColumnRows(arrays, batch.schema.names)


def table_rows(table: Any) -> ColumnRows | None:
    """The same of a pyarrow.Table, each column of which is copied once, into an array."""
    if table.num_columns == 0 or table.num_rows == 0 or not _are_numbers(table.schema):
        return None
    columns = [[_as_array(chunk) for chunk in column.chunks] for column in table.columns]
    rows = np.empty((table.num_columns, table.num_rows), _precision(table.schema))
    for row, chunks in zip(rows, columns, strict=True):
        np.concatenate(chunks, out=row, casting="unsafe")
    return ColumnRows(rows, table.column_names)


def _are_numbers(schema: Any) -> bool:
    import pyarrow.types as types

    checks = types.is_floating, types.is_integer, types.is_boolean
    return all(any(is_kind(field.type) for is_kind in checks) for field in schema)


def _precision(schema: Any) -> np.dtype:
    """The precision that numbers of all these types are computed in.

    It does not depend on whether any are missing: batches of one source are alike.
    """
    types = [np.dtype(field.type.to_pandas_dtype()) for field in schema]
    dtype = np.result_type(np.float32, *types)
    single = any(each in (np.float16, np.float32) for each in types)
    return dtype if single else np.dtype(np.float64)


def _as_array(column: Any) -> np.ndarray:
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind == "O":
        # Booleans with nulls.
        return np.array([np.nan if value is None else value for value in values], np.float64)
    return values
