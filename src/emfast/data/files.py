"""Rows in one or more files of the same kind: Parquet, Arrow (Feather), CSV, ``.npy``."""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emfast.data.mapped import MappedReader
from emfast.data.portions import (
    Form,
    Portion,
    check_apart,
    form_of,
    needs_pyarrow,
    portions_of,
)
from emfast.data.tables import (
    MISSING,
    TableError,
    arrow_reader,
    check_names,
    check_quotes,
    csv_header,
    first_line,
    kind_of,
)

SUFFIXES = (".parquet", ".arrow", ".feather", ".csv", ".npy")

# Bytes that are read of a column of a Parquet file at a time.
BUFFER = 2**18
# Bytes of a CSV file that are parsed at a time. pyarrow holds almost 40 such blocks, and larger
# ones are no faster.
CSV_BLOCK = 2**21


@dataclass(frozen=True)
class OpenFile:
    """A file that is open.

    Attributes
    ----------
    form : Form, of all its columns
    n_rows : int, or None if that is not known without reading all
    batches : callable, (batch_rows) -> iterator of ndarray or pyarrow.RecordBatch
    """

    form: Form
    n_rows: int | None
    batches: Callable[[int], Iterator[Any]]


Opener = Callable[[str], AbstractContextManager[OpenFile]]


class FilesReader:
    """The rows of files, one after the other.

    Attributes
    ----------
    n_rows, names : see `Reader`

    Parameters
    ----------
    paths : sequence of str
    apart : sequence of str, columns that are no features

    Raises
    ------
    ValueError
        A file is damaged, or unlike the first: in kind, columns or their types. From `portions`
        besides: it has changed since.
    FileNotFoundError
        A file is not there; from `portions`: not any more.
    ImportError
        pyarrow is not installed, and these are no ``.npy`` files.
    """

    def __init__(self, paths: Sequence[str], apart: Sequence[str] = ()):
        self._paths, self._apart = tuple(paths), tuple(apart)
        self._open = _opener(self._paths)
        with self._opened(self._paths[0]) as file:
            self._form, counts = file.form, [file.n_rows]
        for path in self._paths[1:]:
            with self._opened(path) as file:
                self._check(path, file)
                counts.append(file.n_rows)
        self._counts = tuple(counts)
        self.n_rows = None if None in counts else sum(counts)
        self.names = self._form.names
        if apart:
            self.names = check_apart(apart, self.names, self._paths[0])

    @contextmanager
    def _opened(self, path: str) -> Iterator[OpenFile]:
        try:
            with self._open(path) as file:
                yield file
        except TableError as error:
            raise ValueError(f"X: {path}: {error}") from error

    def _check(self, path: str, file: OpenFile) -> None:
        """Raise where the columns are not those of the first file, in whatever order."""
        form, expected = file.form, self._form
        if expected.names is not None and set(form.names or ()) == set(expected.names):
            types = dict(zip(form.names, form.types, strict=True))
            types_in_order = tuple(types[name] for name in expected.names)
            form = replace(form, names=expected.names, types=types_in_order)
        difference = form.unlike(expected)
        if difference is not None:
            raise ValueError(f"X: {path}: {difference}, as in {self._paths[0]}")

    def portions(self, batch_rows: int) -> Iterator[Portion]:
        for path, count in zip(self._paths, self._counts, strict=True):
            if not os.path.exists(path):
                raise FileNotFoundError(
                    f"X: {path}: there was a file, and there is none any more; expected the same "
                    "files in every pass"
                )
            with self._opened(path) as file:
                self._check(path, file)
                if file.n_rows != count:
                    raise ValueError(
                        f"X: {path}: found {file.n_rows} rows; expected {count}, as there were"
                    )
                with closing(self._batches(path, file, batch_rows)) as batches:
                    for number, batch in enumerate(batches):
                        where = f"{path}, batch {number}"
                        yield from portions_of(batch, where, self._apart, batch_rows)

    def _batches(self, path: str, file: OpenFile, batch_rows: int) -> Iterator[Any]:
        """The batches of a file, whose columns are in the order of those of the first file."""
        names, batches = self._form.names, 0
        try:
            for batch in file.batches(batch_rows):
                batches += 1
                yield batch if names is None else batch.select(list(names))
        except MemoryError:
            raise
        except (ValueError, OSError) as error:
            # pyarrow has errors of both.
            raise ValueError(
                f"X: {path}, batch {batches}: cannot be read ({first_line(error)}); expected a "
                "whole file that does not change"
            ) from error


def paths_of(X: Any) -> list[str]:
    """The files that a name of a file or folder, a pattern, or a list of names stand for.

    Those of a folder or a pattern are sorted by name, as strings.

    Raises
    ------
    FileNotFoundError
        There are none.
    """
    if isinstance(X, list | tuple):
        return [path for each in X for path in paths_of(each)]
    path = os.fspath(X)
    if os.path.isdir(path):
        return _of_folder(path)
    if os.path.exists(path):
        return [path]
    if glob.has_magic(path):
        found = sorted(each for each in glob.glob(path, recursive=True) if os.path.isfile(each))
        if found:
            return found
        raise FileNotFoundError(f"X: {path}: no file matches; expected at least one")
    raise FileNotFoundError(f"X: {path}: there is no such file; expected a file, folder or pattern")


def _of_folder(path: str) -> list[str]:
    # Engines leave files like _SUCCESS and .part-0.crc beside the data.
    names = sorted(name for name in os.listdir(path) if name[0] not in "._")
    found = [os.path.join(path, name) for name in names if name.endswith(SUFFIXES)]
    if found:
        return found
    folders = any(os.path.isdir(os.path.join(path, name)) for name in names)
    raise FileNotFoundError(
        f"X: {path}: the folder has no file whose name ends in one of {', '.join(SUFFIXES)}"
        + ("; for folders of folders pass a pyarrow.dataset.Dataset" if folders else "")
    )


def _opener(paths: Sequence[str]) -> Opener:
    """What opens these files, all of which are of the kind of the first."""
    kinds = {}
    for path in paths:
        with open(path, "rb") as file:
            start = file.read(4096)
        try:
            kinds[kind_of(Path(path), start)] = path
        except TableError as error:
            raise ValueError(f"X: {path}: {error}") from error
    if len(kinds) > 1:
        (first, one), (second, other) = list(kinds.items())[:2]
        raise ValueError(
            f"X: found {first} in {one} and {second} in {other}; expected files of one kind"
        )
    kind = kinds.popitem()[0]
    if kind == "npy":
        return _npy
    needs_pyarrow(paths[0])
    return {"parquet": _parquet, "arrow": _arrow}.get(kind) or Csv().open


@contextmanager
def _npy(path: str) -> Iterator[OpenFile]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise TableError(f"not a readable .npy file ({first_line(error)})") from error
    if not isinstance(array, np.memmap) or array.ndim != 2 or array.dtype.kind not in "biuf":
        found = f"{getattr(array, 'dtype', 'an archive')} of shape {getattr(array, 'shape', None)}"
        raise TableError(f"found {found}; expected one array of numbers with two dimensions")

    def batches(batch_rows: int) -> Iterator[np.ndarray]:
        return (portion.X for portion in MappedReader(array).portions(batch_rows))

    yield OpenFile(form_of(np.asarray(array)), len(array), batches)


@contextmanager
def _parquet(path: str) -> Iterator[OpenFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Measured with 10,000,000 x 16 float32 in row groups of 1 Mi rows, read 1 Mi rows at a time:
    # CPU time, and what Arrow held at most.
    #                                 uncompressed     snappy           zstd
    # iter_batches with a buffer      0.16 s  169 MB   0.23 s  200 MB   0.70 s  214 MB
    # iter_batches without            0.17 s  236 MB   0.24 s  278 MB   0.70 s  272 MB
    # read_row_group                  0.16 s  144 MB   0.23 s  154 MB   0.70 s  150 MB
    # Dataset.to_batches              0.40 s  290 MB   0.53 s  319 MB   0.85 s  346 MB
    # iter_batches with pre_buffer    0.19 s  755 MB   0.26 s  865 MB   0.73 s  820 MB
    # If all rows are in one row group, the buffer makes 241 MB of 856 MB, and read_row_group holds
    # all rows; many small row groups make batches that are as large as asked for, with one array a
    # column. A map of the file would be no faster, and all of it would count as resident memory.
    try:
        file = pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"not a readable Parquet file ({first_line(error)})") from error
    with file:
        form = _form(file.schema_arrow)
        yield OpenFile(form, file.metadata.num_rows, lambda n: file.iter_batches(batch_size=n))


@contextmanager
def _arrow(path: str) -> Iterator[OpenFile]:
    import pyarrow as pa

    # A map, for all rows may be in one batch. Its pages count as resident, but the system takes
    # them back when others need memory.
    with pa.memory_map(path) as source:
        try:
            reader = arrow_reader(source)
        except (pa.ArrowException, OSError) as error:
            raise TableError(f"not a readable Arrow file ({first_line(error)})") from error
        with reader:
            yield OpenFile(_form(reader.schema), _count(reader), lambda n: _all_batches(reader))


def _count(reader: Any) -> int | None:
    return reader.count_rows() if hasattr(reader, "count_rows") else None


def _all_batches(reader: Any) -> Iterator[Any]:
    if hasattr(reader, "num_record_batches"):
        return (reader.get_batch(number) for number in range(reader.num_record_batches))
    return iter(reader)


def _form(schema: Any) -> Form:
    check_names(schema.names)
    return form_of(_without_rows(schema))


def _without_rows(schema: Any) -> Any:
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([pa.array([], kind) for kind in schema.types], schema=schema)


class Csv:
    """CSV files with a header row, whose columns have the types that the first file begins with."""

    def __init__(self) -> None:
        self._types: dict[str, Any] | None = None
        self._whole: set[str] = set()

    @contextmanager
    def open(self, path: str) -> Iterator[OpenFile]:
        names = csv_header(Path(path))
        if self._types is None:
            self._types = _types_of_start(path, names)
        if set(names) == set(self._types):
            form = _form(_schema({name: self._types[name] for name in names}))
        else:
            form = Form("a table", len(names), tuple(names), ())
        yield OpenFile(form, None, lambda batch_rows: self._batches(path, names))

    def _batches(self, path: str, names: list[str]) -> Iterator[Any]:
        if path not in self._whole:
            # Which takes a tenth of the time that parsing does, and once is enough.
            check_quotes(Path(path))
            self._whole.add(path)
        with _csv_reader(path, names, self._types) as reader:
            for batch in reader:
                yield _stripped(batch)


def _types_of_start(path: str, names: list[str]) -> dict[str, Any]:
    """Types of columns, by the first block of a file.

    Numbers are float64, for integers may become floats further on.
    """
    import pyarrow as pa

    try:
        with _csv_reader(path, names, None) as reader:
            schema = reader.schema
    except pa.ArrowException as error:
        raise TableError(f"not a readable CSV file ({first_line(error)})") from error
    numbers = (pa.types.is_integer, pa.types.is_null)
    return {
        name: pa.float64() if any(is_one(kind) for is_one in numbers) else kind
        for name, kind in zip(schema.names, schema.types, strict=True)
    }


def _csv_reader(path: str, names: list[str], types: dict[str, Any] | None) -> Any:
    from pyarrow import csv

    return csv.open_csv(
        path,
        csv.ReadOptions(block_size=CSV_BLOCK, column_names=names, skip_rows_after_names=1),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(
            column_types=types,
            null_values=list(MISSING),
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _schema(types: dict[str, Any]) -> Any:
    import pyarrow as pa

    return pa.schema(list(types.items()))


def _stripped(batch: Any) -> Any:
    """Strings without the spaces around them, and null where nothing else is left."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = []
    for column in batch.columns:
        if pa.types.is_string(column.type):
            column = pc.utf8_trim_whitespace(column)
            column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
