"""Tables to files and streams: CSV, ``.npy``, Parquet, Arrow (Feather), JSON."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

import numpy as np

from emfast.data.writers import Columns, CsvRows, check_suffix, writer_to

__all__ = ["check_suffix", "plain", "records", "write_csv", "write_json", "write_table"]


def write_table(columns: Columns, path: str | os.PathLike) -> None:
    """Write columns to a file, whose suffix says of what kind.

    The file appears as a whole or not at all; one of that name is replaced.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_rows,)
        Numbers, or objects with None where a cell is missing.
    path : str or path-like, ending in .csv, .npy, .parquet, .arrow or .feather
        ``.npy`` takes numbers, and keeps no names: a column is an array of one dimension, several
        are one of two.

    Raises
    ------
    TableError
        The suffix is another one, pyarrow is missing, or there are strings for ``.npy``.
    OSError
        The file cannot be written.
    """
    with writer_to(path) as writer:
        writer.write(columns)


def write_csv(columns: Columns, file: TextIO) -> None:
    """Write columns as CSV, with what reads back as the same numbers; missing cells are empty."""
    CsvRows(file).write(columns)


def write_json(value: Any, file: TextIO) -> None:
    """Write JSON, in which arrays are lists and what is not finite is null."""
    json.dump(plain(value), file, allow_nan=False, ensure_ascii=False)
    file.write("\n")


def plain(value: Any) -> Any:
    """The value as JSON can hold it."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if isinstance(value, str | int | None) else str(value)


def records(columns: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
    """A mapping for every row."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
