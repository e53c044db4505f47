"""Columns of tables as the rows that kernels read without a copy."""

from typing import Any

import numpy as np

from emfast.rows import ColumnRows


def column_rows(batch: Any) -> ColumnRows | None:
    """A pyarrow record batch of numbers as rows; None where it has anything else.

    Nulls become NaN. All columns have the precision that holds each of them.
    """
    import pyarrow.types as types

    def is_number(kind: Any) -> bool:
        return types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)

    if batch.num_columns == 0 or not all(is_number(field.type) for field in batch.schema):
        return None
    arrays = [_as_array(column) for column in batch.columns]
    dtype = np.result_type(np.float32, *(array.dtype for array in arrays))
    if not any(array.dtype == np.float32 for array in arrays):
        dtype = np.dtype(np.float64)
    return ColumnRows([array.astype(dtype, copy=False) for array in arrays], batch.schema.names)


def _as_array(column: Any) -> np.ndarray:
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind == "O":
        # Booleans with nulls.
        return np.array([np.nan if value is None else value for value in values], np.float64)
    return values.astype(np.float32) if values.dtype == np.float16 else values
