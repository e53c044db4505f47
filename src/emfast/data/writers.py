"""Tables that are written piece by piece: CSV, ``.npy``, Parquet, Arrow (Feather)."""

import csv
import math
import os
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from emfast.data.tables import NEEDS_PYARROW, TableError
from emfast.storage.archive import replacement

Columns = Mapping[str, np.ndarray]

# Rows that are written together to Parquet and Arrow, at least.
GROUP_ROWS = 2**16


class Writer(metaclass=ABCMeta):
    """Rows to a file.

    Parameters
    ----------
    path : Path of the file
    names : sequence of str, optional
        Of the columns of arrays; x0, x1, ... otherwise.
    """

    def __init__(self, path: Path, names: Sequence[str] | None = None):
        self.path, self.n_rows = path, 0
        self._names = None if names is None else tuple(names)

    def write(self, rows: np.ndarray | Columns) -> None:
        """Add rows below those that were written.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,) or (n_rows, n_columns), or mapping of str to ndarrays of
            shape (n_rows,)
            Numbers, or objects with None where a cell is missing; the same columns every time.

        Raises
        ------
        TableError
            There are other columns than before, not as many values in each, or no way to write
            them to a file of this kind.
        OSError
            The file cannot be written.
        """
        columns = dict(rows) if isinstance(rows, Mapping) else self._named(np.asarray(rows))
        if self._names is None:
            self._names = tuple(columns)
        if tuple(columns) != self._names:
            raise TableError(f"found columns {tuple(columns)}; expected {self._names} as before")
        lengths = {len(values) for values in columns.values()}
        if len(lengths) != 1:
            raise TableError(
                f"found columns of {sorted(lengths)} rows; expected one or more of the same length"
            )
        self._write(columns)
        self.n_rows += lengths.pop()

    def _named(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        if rows.ndim not in (1, 2):
            raise TableError(
                f"found an array of shape {rows.shape}; expected one or two dimensions"
            )
        columns = [rows] if rows.ndim == 1 else list(rows.T)
        names = self._names or tuple(f"x{j}" for j in range(len(columns)))
        if len(names) != len(columns):
            raise TableError(f"found {len(columns)} columns; expected {len(names)}")
        return dict(zip(names, columns, strict=True))

    @abstractmethod
    def _write(self, columns: Columns) -> None:
        """Add columns, all of the same length and named as before."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is left, and close the file."""

    @abstractmethod
    def abandon(self) -> None:
        """Close the file, which is of no use."""


@contextmanager
def writer_to(path: str | os.PathLike[str], names: Sequence[str] | None = None) -> Iterator[Writer]:
    """Write a table piece by piece to a file, whose suffix says of what kind.

    The file appears as a whole at the end of the ``with`` block, in place of one of that name, or
    not at all where that fails.

    Parameters
    ----------
    path : str or path-like, ending in .csv, .npy, .parquet, .arrow or .feather
        ``.npy`` takes numbers, and keeps no names: a column is an array of one dimension, several
        are one of two.
    names : sequence of str, optional
        Names of the columns of arrays; x0, x1, ... otherwise.

    Yields
    ------
    Writer

    Raises
    ------
    TableError
        The suffix is another one, pyarrow is missing, or nothing was written.
    OSError
        The file cannot be written.
    """
    made = check_suffix(path)
    with replacement(path) as temporary:
        writer = made(temporary, names)
        try:
            yield writer
            if writer.n_rows == 0:
                raise TableError(f"{path}: found no rows to write; expected at least one")
            writer.finish()
        except BaseException:
            writer.abandon()
            raise


def check_suffix(path: str | os.PathLike[str]) -> type[Writer]:
    """What writes to a file of this name, or an error that says that nothing does."""
    suffix = Path(path).suffix
    if suffix not in WRITERS:
        raise TableError(f"{path}: expected a name that ends in one of {', '.join(WRITERS)}")
    if suffix not in (".csv", ".npy") and find_spec("pyarrow") is None:
        raise TableError(f"{path}: {NEEDS_PYARROW}")
    return WRITERS[suffix]


class CsvRows:
    """Rows of CSV on a stream, after a header, with what reads back as the same numbers."""

    def __init__(self, file: TextIO):
        self._writer = csv.writer(file, lineterminator="\n")
        self._begun = False

    def write(self, columns: Columns) -> None:
        """Add rows; missing cells are empty."""
        if not self._begun:
            self._writer.writerow(columns)
            self._begun = True
        self._writer.writerows(zip(*map(_cells, columns.values()), strict=True))


def _cells(values: np.ndarray) -> Iterator[Any]:
    for value in values.tolist():
        missing = value is None or (isinstance(value, float) and math.isnan(value))
        yield "" if missing else value


class CsvWriter(Writer):
    def __init__(self, path: Path, names: Sequence[str] | None = None):
        super().__init__(path, names)
        self._file = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115
        self._rows = CsvRows(self._file)

    def _write(self, columns: Columns) -> None:
        self._rows.write(columns)

    def finish(self) -> None:
        self._file.close()

    abandon = finish


class NpyWriter(Writer):
    """The header, which says how many rows there are, is written again at the end."""

    def __init__(self, path: Path, names: Sequence[str] | None = None):
        super().__init__(path, names)
        self._file = open(path, "wb")  # noqa: SIM115
        self._dtype: np.dtype | None = None

    def _write(self, columns: Columns) -> None:
        for name, values in columns.items():
            if values.dtype.kind not in "biuf":
                raise TableError(
                    f"column {name!r}: .npy files hold numbers; expected .csv, .parquet or .arrow"
                )
        arrays = list(columns.values())
        rows = arrays[0] if len(arrays) == 1 else np.column_stack(arrays)
        if self._dtype is None:
            self._dtype = rows.dtype
            self._write_header()
        if rows.dtype != self._dtype:
            raise TableError(f"found {rows.dtype}; expected {self._dtype} as before")
        np.ascontiguousarray(rows).tofile(self._file)

    def _write_header(self) -> None:
        # NumPy leaves room in it, so that it is as long for any number of rows.
        many = len(self._names or ())
        shape = (self.n_rows,) if many == 1 else (self.n_rows, many)
        descr = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def finish(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def abandon(self) -> None:
        self._file.close()


class _ArrowWriter(Writer):
    """Tables are held until there are enough rows, and a value in every column that says its type.

    A column of objects does not tell its type before there is one.
    """

    def __init__(self, path: Path, names: Sequence[str] | None = None):
        super().__init__(path, names)
        self._held: list[Any] = []
        self._sink: Any = None
        self._schema: Any = None

    def _write(self, columns: Columns) -> None:
        self._held.append(_arrow_table(columns))
        enough = sum(len(table) for table in self._held) >= GROUP_ROWS
        if enough and (self._sink is not None or self._types_are_known()):
            self._write_held()

    def _types_are_known(self) -> bool:
        import pyarrow as pa

        columns = zip(*(table.schema.types for table in self._held), strict=True)
        return all(any(not pa.types.is_null(kind) for kind in kinds) for kinds in columns)

    def _write_held(self) -> None:
        import pyarrow as pa

        # With rows of none first, for a table of nulls has no types of its own.
        known = [] if self._schema is None else [self._schema.empty_table()]
        try:
            table = pa.concat_tables(known + self._held, promote_options="default")
        except (pa.ArrowException, ValueError) as error:
            raise TableError(f"found columns of other types than before ({error})") from error
        self._held = []
        if self._sink is None:
            self._schema = table.schema
            self._sink = self._opened(table.schema)
        self._sink.write_table(table.combine_chunks())

    @abstractmethod
    def _opened(self, schema: Any) -> Any:
        """What writes tables of a schema."""

    def finish(self) -> None:
        if self._held:
            self._write_held()
        self._sink.close()

    def abandon(self) -> None:
        if self._sink is not None:
            self._sink.close()


class ParquetWriter(_ArrowWriter):
    def _opened(self, schema: Any) -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetWriter(self.path, schema)


class ArrowWriter(_ArrowWriter):
    def _opened(self, schema: Any) -> Any:
        import pyarrow as pa

        return pa.ipc.new_file(str(self.path), schema)


def _arrow_table(columns: Columns) -> Any:
    import pyarrow as pa

    arrays = [
        pa.array(values.tolist() if values.dtype.kind == "O" else values)
        for values in columns.values()
    ]
    return pa.table(arrays, names=list(columns))


WRITERS: dict[str, type[Writer]] = {
    ".csv": CsvWriter,
    ".npy": NpyWriter,
    ".parquet": ParquetWriter,
    ".arrow": ArrowWriter,
    ".feather": ArrowWriter,
}
