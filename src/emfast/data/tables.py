"""Tables in files: CSV with a header row, ``.npy``, Parquet, Arrow (Feather)."""

import csv
import os
import warnings
from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

# What an empty cell may be spelled like in a CSV file: as pandas has it.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "NULL", "null", "None")
NPY_MAGIC = b"\x93NUMPY"
# Of a file, which is also Feather, and of a stream.
ARROW_MAGIC = (b"ARROW1", b"\xff\xff\xff\xff")
# Numbers of a matrix that are looked at together.
CHECK_SIZE = 2**20
# Smaller files are read as a whole; an array without rows cannot be mapped into memory.
MAPPED_SIZE = 2**20
NEEDS_PYARROW = "needs pyarrow: pip install 'emfast[arrow]'"


class TableError(ValueError):
    """A table that cannot be read or used; one line that says why."""


class Table:
    """Columns by name.

    Parameters
    ----------
    columns : dict of str to ndarray of shape (n_rows,)
        Booleans or numbers with NaN where a cell is missing, else objects with None there.
    matrix : ndarray of shape (n_rows, n_columns), optional
        The array whose columns they are, if there is one.

    Raises
    ------
    TableError
        There are no columns or no rows.
    """

    def __init__(self, columns: dict[str, np.ndarray], matrix: np.ndarray | None = None):
        if not columns:
            raise TableError("the table has no columns")
        self.columns, self.matrix = columns, matrix
        self.n_rows = len(next(iter(columns.values())))
        if self.n_rows == 0:
            raise TableError("the table has no rows")

    def numbers(self, name: str, *, allow_missing: bool = False) -> np.ndarray:
        """A column of finite numbers or booleans; NaN for missing ones, if these are allowed.

        Raises
        ------
        TableError
            Names the column, the row (from 0) and what is found there.
        """
        values = self.column(name)
        if values.dtype.kind not in "biuf":
            at, value = _first_bad(values, allow_missing)
            found = "a missing value" if value is None else repr(str(value))
            raise TableError(f"column {name!r}: found {found} in row {at}; expected numbers")
        good = ~np.isinf(values) if allow_missing else np.isfinite(values)
        if not good.all():
            at = int(np.argmin(good))
            found = "a missing value" if np.isnan(values[at]) else str(values[at])
            raise TableError(f"column {name!r}: found {found} in row {at}; expected finite numbers")
        return values

    def names(self, without: Iterable[str] = ()) -> list[str]:
        """The names of all columns but some."""
        names = [name for name in self.columns if name not in set(without)]
        if not names:
            raise TableError("no columns are left to be features")
        return names

    def only(self, names: Iterable[str]) -> "Table":
        """The table of these columns, in this order."""
        found = {name: self.column(name) for name in names}
        same = list(found) == list(self.columns)
        return Table(found, self.matrix if same else None)

    def values(self, without: Iterable[str] = ()) -> tuple[np.ndarray, list[str]]:
        """All columns but some, as they are: as `features` if all are numbers, else as objects.

        Parameters
        ----------
        without : iterable of str

        Returns
        -------
        X : ndarray of shape (n_rows, n_features)
            None where a cell is missing, if these are objects.
        names : list of str
        """
        names = self.names(without)
        if all(self.columns[name].dtype.kind in "biuf" for name in names):
            return self.features(without)
        X = np.empty((self.n_rows, len(names)), object)
        for j, name in enumerate(names):
            X[:, j] = [None if v is None or v != v else v for v in self.columns[name].tolist()]
        return X, names

    def features(self, without: Iterable[str] = ()) -> tuple[np.ndarray, list[str]]:
        """All columns but some, as one array.

        Parameters
        ----------
        without : iterable of str

        Returns
        -------
        X : ndarray of shape (n_rows, n_features)
            float32, uint8 or bool if all columns are, else float64; NaN where a number is missing.
        names : list of str
        """
        names = self.names(without)
        if self.matrix is not None and len(names) == len(self.columns) and not self._any_infinite():
            return self.matrix, names
        columns = [self.numbers(name, allow_missing=True) for name in names]
        dtype = np.result_type(*{column.dtype for column in columns})
        if dtype not in (np.float32, np.uint8, np.bool_):
            dtype = np.float64
        X = np.empty((self.n_rows, len(names)), dtype)
        for j, column in enumerate(columns):
            X[:, j] = column
        return X, names

    def _any_infinite(self) -> bool:
        step = max(1, CHECK_SIZE // self.matrix.shape[1])
        starts = range(0, self.n_rows, step)
        return any(np.isinf(self.matrix[at : at + step]).any() for at in starts)

    def labels(self, name: str) -> np.ndarray:
        """A column of labels: numbers with NaN, or strings with None, where they are missing."""
        values = self.column(name)
        if values.dtype.kind != "O":
            return values
        labels = np.empty(len(values), object)
        labels[:] = [None if value is None else str(value).strip() or None for value in values]
        return labels

    def column(self, name: str) -> np.ndarray:
        if name not in self.columns:
            names = ", ".join(list(self.columns)[:10]) + (", ..." * (len(self.columns) > 10))
            raise TableError(f"there is no column {name!r}; the columns are {names}")
        return self.columns[name]


def read_table(path: str | os.PathLike) -> Table:
    """Read a table; its kind is told by its first bytes, and CSV is what is left.

    Parameters
    ----------
    path : str or path-like
        CSV in UTF-8, separated by commas, with a header row; ``.npy`` with a two-dimensional array,
        whose columns are then named x0, x1, ..., a one-dimensional one, which is x0, or a
        structured one; Parquet; Arrow, which is Feather, as a file or a stream.

    Returns
    -------
    Table

    Raises
    ------
    TableError
        The file is not a table, or a damaged one.
    OSError
        The file cannot be read.
    """
    path = Path(path)
    with open(path, "rb") as file:
        start = file.read(4096)
    try:
        return _read(path, start)
    except TableError as error:
        raise TableError(f"{path}: {error}") from None


def table_of(rows: Any) -> Table:
    """A record batch, or an array whose columns become x0, x1, ..., as a table."""
    if isinstance(rows, np.ndarray):
        return Table({f"x{j}": rows[:, j] for j in range(rows.shape[1])}, rows)
    import pyarrow as pa

    return Table(_columns_of_arrow(pa.Table.from_batches([rows])))


def _read(path: Path, start: bytes) -> Table:
    readers = {"parquet": _read_parquet, "arrow": _read_arrow, "csv": _read_csv}
    kind = kind_of(path, start)
    return _read_npy(path, start) if kind == "npy" else readers[kind](path)


def kind_of(path: Path, start: bytes) -> str:
    """What a file that begins so is: "npy", "parquet", "arrow" or "csv"."""
    if start.startswith(NPY_MAGIC) or path.suffix == ".npy":
        return "npy"
    if start.startswith(b"PAR1") or path.suffix == ".parquet":
        return "parquet"
    if start.startswith(ARROW_MAGIC) or path.suffix in (".arrow", ".feather"):
        return "arrow"
    if not start:
        raise TableError("the file is empty")
    if b"\0" in start:
        raise TableError("neither text nor .npy, Parquet or Arrow; expected one of them")
    return "csv"


def _first_bad(values: np.ndarray, allow_missing: bool) -> tuple[int, Any]:
    """The first value that is no number; the first one where all of them look like numbers."""
    for at, value in enumerate(values):
        if allow_missing and value is None:
            continue
        try:
            float(value)
        except (TypeError, ValueError):
            return at, value
    return 0, values[0]


# NumPy


def _read_npy(path: Path, start: bytes) -> Table:
    if not start.startswith(NPY_MAGIC):
        raise TableError("not a .npy file")
    try:
        mode = "r" if path.stat().st_size > MAPPED_SIZE else None
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise TableError(f"not a readable .npy file ({first_line(error)})") from error
    if not isinstance(array, np.ndarray):
        raise TableError("an .npz archive; expected a single array")
    if array.dtype.names and array.ndim == 1:
        return Table({name: _plain_column(array[name]) for name in array.dtype.names})
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise TableError(f"an array of shape {array.shape}; expected two dimensions")
    if array.dtype.kind not in "biuf":
        raise TableError(f"an array of {array.dtype}; expected numbers or booleans")
    return table_of(array)


def _plain_column(values: np.ndarray) -> np.ndarray:
    if values.ndim != 1:
        raise TableError(f"a field of shape {values.shape[1:]}; expected one value a row")
    return values if values.dtype.kind in "biuf" else _objects(values.tolist())


# Parquet and Arrow


def _read_parquet(path: Path) -> Table:
    if find_spec("pyarrow") is None:
        raise TableError(NEEDS_PYARROW)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"not a readable Parquet file ({first_line(error)})") from error
    check_names(table.column_names)
    return Table(_columns_of_arrow(table))


def _read_arrow(path: Path) -> Table:
    if find_spec("pyarrow") is None:
        raise TableError(NEEDS_PYARROW)
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            table = arrow_reader(source).read_all()
            check_names(table.column_names)
            return Table(_columns_of_arrow(table))
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"not a readable Arrow file ({first_line(error)})") from error


def arrow_reader(source):
    import pyarrow as pa

    if source.read(6) == ARROW_MAGIC[0]:
        return pa.ipc.open_file(source)
    source.seek(0)
    return pa.ipc.open_stream(source)


def _columns_of_arrow(table) -> dict[str, np.ndarray]:
    return {name: _column_of_arrow(table[name]) for name in table.column_names}


def _column_of_arrow(column) -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64()).to_numpy()
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return column.to_numpy()
    if pa.types.is_boolean(kind) and column.null_count == 0:
        return column.to_numpy()
    return _objects(column.to_pylist())


# CSV


def _read_csv(path: Path) -> Table:
    """With pyarrow or pandas, whichever is installed, for they are fast."""
    check_quotes(path)
    if find_spec("pyarrow") is not None:
        return Table(_csv_by_pyarrow(path))
    if find_spec("pandas") is not None:
        return Table(_csv_by_pandas(path))
    return Table(_csv_by_module(path))


def _csv_by_pyarrow(path: Path) -> dict[str, np.ndarray]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = csv_header(path)
    convert = arrow_csv.ConvertOptions(
        null_values=list(MISSING), strings_can_be_null=True, quoted_strings_can_be_null=True
    )
    parse = arrow_csv.ParseOptions(newlines_in_values=True)
    read = arrow_csv.ReadOptions(column_names=names, skip_rows_after_names=1)
    try:
        table = arrow_csv.read_csv(path, read, parse, convert)
    except pa.ArrowException as error:
        raise TableError(f"not a readable CSV file ({first_line(error)})") from error
    return {name: _stripped(column) for name, column in _columns_of_arrow(table).items()}


def _csv_by_pandas(path: Path) -> dict[str, np.ndarray]:
    import pandas as pd

    names = csv_header(path)
    try:
        with warnings.catch_warnings():
            # A row that is too long is a warning to pandas, and loses data.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                names=names,
                header=0,
                index_col=False,
                na_values=list(MISSING),
                keep_default_na=False,
                skipinitialspace=True,
                encoding="utf-8-sig",
            )
    except (ValueError, pd.errors.ParserWarning) as error:
        raise TableError(f"not a readable CSV file ({first_line(error)})") from error
    return {name: _stripped(_column_of_pandas(frame[name])) for name in names}


def _column_of_pandas(column) -> np.ndarray:
    values = column.to_numpy()
    if values.dtype.kind in "biuf":
        return values
    return _objects(
        [None if missing else v for v, missing in zip(values, column.isna(), strict=True)]
    )


def _csv_by_module(path: Path) -> dict[str, np.ndarray]:
    names = csv_header(path)
    cells: list[list[str]] = [[] for _ in names]
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            next(reader)
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise TableError(
                        f"line {reader.line_num} has {len(row)} cells; expected {len(names)}"
                    )
                for column, cell in zip(cells, row, strict=True):
                    column.append(cell)
    except (csv.Error, UnicodeDecodeError) as error:
        raise TableError(f"not a readable CSV file ({first_line(error)})") from error
    return {name: _column_of_cells(column) for name, column in zip(names, cells, strict=True)}


def _column_of_cells(cells: list[str]) -> np.ndarray:
    values = [None if cell.strip() in MISSING else cell.strip() for cell in cells]
    if set(values) <= {"true", "false", "True", "False"} and values:
        return np.array([value in ("true", "True") for value in values])
    try:
        return np.array([np.nan if value is None else float(value) for value in values])
    except ValueError:
        return _objects(values)


def check_quotes(path: Path) -> None:
    """A quote that is not closed would swallow the rows after it."""
    with open(path, "rb") as file:
        quotes = sum(block.count(b'"') for block in iter(lambda: file.read(2**20), b""))
    if quotes % 2:
        raise TableError(f"found {quotes} quotes; expected pairs of them")


def csv_header(path: Path) -> list[str]:
    """The column names: the first row."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file, skipinitialspace=True, strict=True), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise TableError(f"not a readable CSV file ({first_line(error)})") from error
    names = [name.strip() for name in header]
    if not any(names):
        raise TableError("the first line is empty; expected the names of the columns")
    if all(_is_number(name) for name in names):
        raise TableError(
            f"the first line has numbers only ({', '.join(names[:3])}, ...); expected the names of "
            "the columns there"
        )
    check_names(names)
    return names


def check_names(names: list[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise TableError(f"there are {count} columns {name!r}; expected one of each")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _stripped(column: np.ndarray) -> np.ndarray:
    """Strings without the spaces around them; numbers, if that is what makes them numbers."""
    if column.dtype.kind != "O" or not all(isinstance(v, str | None) for v in column):
        return column
    if any(value is not None and value != value.strip() for value in column):
        return _column_of_cells(["" if value is None else value for value in column])
    return column


def _objects(values: list) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def first_line(error: Exception) -> str:
    """The first line of an error."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
