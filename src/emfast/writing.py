"""Tables to files and streams: CSV, ``.npy``, Parquet, Arrow (Feather), JSON."""

import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from emfast.archive import replacement
from emfast.tables import NEEDS_PYARROW, TableError

Columns = Mapping[str, np.ndarray]


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
    write = check_suffix(path)
    with replacement(path) as temporary:
        write(columns, temporary)


def check_suffix(path: str | os.PathLike) -> Callable[[Columns, Path], None]:
    """What writes to a file of this name, or an error that says that nothing does."""
    suffix = Path(path).suffix
    if suffix not in WRITERS:
        raise TableError(f"{path}: expected a name that ends in one of {', '.join(WRITERS)}")
    if suffix not in (".csv", ".npy") and find_spec("pyarrow") is None:
        raise TableError(f"{path}: {NEEDS_PYARROW}")
    return WRITERS[suffix]


def write_csv(columns: Columns, file: TextIO) -> None:
    """Write columns as CSV, with what reads back as the same numbers; missing cells are empty."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*map(_cells, columns.values()), strict=True))


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


def _cells(values: np.ndarray) -> Iterator[Any]:
    for value in values.tolist():
        missing = value is None or (isinstance(value, float) and math.isnan(value))
        yield "" if missing else value


def _to_csv(columns: Columns, path: Path) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        write_csv(columns, file)


def _to_npy(columns: Columns, path: Path) -> None:
    for name, values in columns.items():
        if values.dtype.kind not in "biuf":
            raise TableError(
                f"column {name!r}: .npy files hold numbers; expected .csv, .parquet or .arrow"
            )
    arrays: Sequence[np.ndarray] = list(columns.values())
    with open(path, "wb") as file:
        np.save(file, arrays[0] if len(arrays) == 1 else np.column_stack(arrays))


def _arrow_table(columns: Columns) -> Any:
    import pyarrow as pa

    arrays: Iterable[Any] = (
        pa.array(values.tolist() if values.dtype.kind == "O" else values)
        for values in columns.values()
    )
    return pa.table(list(arrays), names=list(columns))


def _to_parquet(columns: Columns, path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(_arrow_table(columns), path)


def _to_arrow(columns: Columns, path: Path) -> None:
    from pyarrow import feather

    feather.write_feather(_arrow_table(columns), str(path), compression="uncompressed")


WRITERS: dict[str, Callable[[Columns, Path], None]] = {
    ".csv": _to_csv,
    ".npy": _to_npy,
    ".parquet": _to_parquet,
    ".arrow": _to_arrow,
    ".feather": _to_arrow,
}
