"""Rows that were decoded once, in files that later passes map into memory."""

import os
import shutil
import tempfile
import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from emfast.data.portions import Portion, Reader, column_kind, is_record_batch

# Of the free space of a file system, how much a cache takes at most if nothing is said.
SHARE = 0.5
# Types of arrays that stay what they are; all other numbers become float64.
KEPT = (np.float32, np.float64, np.uint8, np.bool_)


@dataclass(frozen=True)
class Block:
    """A portion that is in files.

    Attributes
    ----------
    path : str, of the features: an array of shape (n_features, n_rows)
    shape : (n_features, n_rows)
    dtype : numpy.dtype
    columns : dict of str to (path, numpy.dtype) for numbers, else ndarray or pyarrow.Array
    where : str
    """

    path: str
    shape: tuple[int, int]
    dtype: np.dtype
    columns: dict[str, Any]
    where: str

    def portion(self) -> Portion:
        columns = {
            name: np.memmap(kept[0], kept[1], mode="r") if isinstance(kept, tuple) else kept
            for name, kept in self.columns.items()
        }
        X = np.memmap(self.path, self.dtype, mode="r", shape=self.shape)
        return Portion(X.T, self.where, columns)


class Closed:
    """What a ``with`` block closes in the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what is held."""


class Cached(Closed):
    """A reader that decodes once: the first complete pass writes what later passes map.

    Every pass has the same portions, the first one too: features as an array with NaN where an
    entry is missing, of shape (n_rows, n_features), whose columns are contiguous. It is float32
    where all columns are (and uint8 or bool if they come so in arrays), else float64.

    The files are in a folder of their own, which is removed by `close`, at the end of a ``with``
    block, when a pass fails, when the object is collected, and when the interpreter exits. Of
    several first passes at a time, that writes which has begun last.

    Attributes
    ----------
    n_rows, names : see `Reader`
    folder : str, or None where there are no files (yet, or because there is no room)

    Parameters
    ----------
    reader : Reader of features that are numbers in arrays or record batches
    folder : path-like, optional
        Where to make the folder; by default where temporary files go, which the environment
        variable TMPDIR says. If that is in memory, so is the cache.
    limit : int, optional
        Bytes that the files may have; by default half of those that are free. There is no cache,
        and one warning, if that is too little, or the file system too full.

    Warns
    -----
    RuntimeWarning
        There is no room. Portions are decoded in every pass then.

    Raises
    ------
    TypeError
        From `portions`: features are no numbers, or sparse.
    """

    def __init__(
        self,
        reader: Reader,
        folder: str | os.PathLike[str] | None = None,
        limit: int | None = None,
    ):
        self.reader = reader
        self._parent = os.fspath(tempfile.gettempdir() if folder is None else folder)
        if not os.path.isdir(self._parent):
            raise FileNotFoundError(f"folder: there is no folder {self._parent}")
        self._limit = limit
        self._given_up = False
        self._blocks: list[Block] | None = None
        # Who writes, and how many passes read what was written.
        self._writer: _Writer | None = None
        self._n_reading = 0
        self._lock = threading.RLock()
        self._remove: weakref.finalize | None = None
        self.folder: str | None = None

    @property
    def n_rows(self) -> int | None:
        return self.reader.n_rows

    @property
    def names(self) -> tuple[str, ...] | None:
        return self.reader.names

    def close(self) -> None:
        """Remove all files. Portions that are mapped stay valid."""
        with self._lock:
            self._blocks = self._writer = None
            if self._remove is not None:
                self._remove()
            self._remove = self.folder = None

    def close_unless_read(self) -> None:
        """The same, but not while a pass reads them."""
        with self._lock:
            if not self._n_reading:
                self.close()

    def portions(self, batch_rows: int) -> Iterator[Portion]:
        with self._lock:
            blocks = self._blocks
            self._n_reading += blocks is not None
        if blocks is not None:
            try:
                for block in blocks:
                    yield from _pieces(block.portion(), batch_rows)
            finally:
                with self._lock:
                    self._n_reading -= 1
            return
        with closing(self.reader.portions(batch_rows)) as read:
            portions = (_in_columns(portion) for portion in read if portion.n_rows)
            yield from portions if self._given_up else self._written(portions)

    def _written(self, portions: Iterator[Portion]) -> Iterator[Portion]:
        """The portions, each of which is in files when it is given away, if this pass writes."""
        writer = self._new_writer()
        try:
            for portion in portions:
                try:
                    portion = self._in_files(portion, writer)
                except OSError as error:
                    self._give_up(str(error))
                yield portion
            with self._lock:
                if self._writer is writer:
                    self._blocks, self._writer = writer.blocks, None
        finally:
            with self._lock:
                if self._writer is writer:
                    self.close()

    def _new_writer(self) -> "_Writer":
        """A writer that takes the place of that of a pass which was not completed, if any."""
        with self._lock:
            self.close()
            self._writer = _Writer()
            return self._writer

    def _in_files(self, portion: Portion, writer: "_Writer") -> Portion:
        with self._lock:
            if self._writer is not writer:
                return portion
            if self.folder is None:
                self._make_folder(portion)
            writer.write(portion)
            return writer.blocks[-1].portion()

    def _make_folder(self, first: Portion) -> None:
        """Make the folder of the writer, if there is room for as much as can be foreseen."""
        limit = self._limit
        if limit is None:
            limit = int(SHARE * shutil.disk_usage(self._parent).free)
        n_rows = first.n_rows if self.n_rows is None else max(self.n_rows, first.n_rows)
        _check_room(self._parent, n_rows * first.X.shape[1] * first.X.itemsize, 0, limit)
        self.folder = tempfile.mkdtemp(prefix="emfast-cache-", dir=self._parent)
        self._remove = weakref.finalize(self, _remove, self.folder, os.getpid())
        self._writer.folder, self._writer.limit = self.folder, limit

    def _give_up(self, reason: str) -> None:
        self._given_up = True
        self.close()
        warnings.warn(
            f"no cache of decoded rows in {self._parent}: {reason}; every pass decodes them again",
            RuntimeWarning,
            stacklevel=3,
        )


@dataclass
class _Writer:
    """Files of blocks in a folder, which have up to `limit` bytes together."""

    folder: str = ""
    limit: int = 0
    used: int = 0
    blocks: list[Block] = field(default_factory=list)

    def write(self, portion: Portion) -> None:
        """Write a block.

        Raises
        ------
        OSError
            There is no room.
        """
        at = len(self.blocks)
        path = os.path.join(self.folder, f"{at}.features")
        self._file(path, portion.X.T)
        columns: dict[str, Any] = {}
        for number, (name, values) in enumerate(portion.columns.items()):
            if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
                beside = os.path.join(self.folder, f"{at}.column-{number}")
                self._file(beside, values)
                columns[name] = (beside, values.dtype)
            else:
                columns[name] = values
        shape = portion.X.T.shape
        self.blocks.append(Block(path, shape, portion.X.dtype, columns, portion.where))

    def _file(self, path: str, array: np.ndarray) -> None:
        _check_room(self.folder, array.nbytes, self.used, self.limit)
        with open(path, "xb") as file:
            np.ascontiguousarray(array).tofile(file)
        self.used += array.nbytes


def _check_room(folder: str, wanted: int, used: int, limit: int) -> None:
    if used + wanted > limit:
        raise OSError(f"{used + wanted} bytes or more are needed, and the limit is {limit}")
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise OSError(f"{wanted} bytes or more are needed, and {free} are free")


def _remove(folder: str, owner: int) -> None:
    """Remove a folder, but not from a forked process, which has not made it."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _pieces(portion: Portion, most: int) -> Iterator[Portion]:
    """Views of a portion, of up to `most` rows."""
    for start in range(0, portion.n_rows, most):
        rows = slice(start, start + most)
        columns = {name: values[rows] for name, values in portion.columns.items()}
        yield replace(portion, X=portion.X[rows], columns=columns)


def _in_columns(portion: Portion) -> Portion:
    """The same numbers as one array whose columns are contiguous."""
    columns = {name: _plain(values) for name, values in portion.columns.items()}
    try:
        return replace(portion, X=features_of(portion.X), columns=columns)
    except TypeError as error:
        raise TypeError(f"X: {portion.where}: {error}") from error


def features_of(X: Any) -> np.ndarray:
    """Features as one array, of shape (n_rows, n_features), whose columns are contiguous.

    Raises
    ------
    TypeError
        They are no numbers, or no table of them.
    """
    if is_record_batch(X):
        # By the types of the columns, not by which entries are missing: all portions are alike.
        single = all(str(kind) == "float" for kind in X.schema.types)
        columns = np.empty((X.num_columns, X.num_rows), np.float32 if single else np.float64)
        for row, name in zip(columns, X.schema.names, strict=True):
            row[:] = _numbers(name, X.column(name))
        return columns.T
    if not isinstance(X, np.ndarray) or X.dtype.kind not in "biuf":
        found = X.dtype if isinstance(X, np.ndarray) else type(X).__name__
        raise TypeError(f"found {found}; expected numbers in an array or a record batch to cache")
    return np.asfortranarray(X, X.dtype if X.dtype in KEPT else np.float64)


def _numbers(name: str, column: Any) -> np.ndarray:
    """A column of numbers, with NaN where one is missing."""
    if column_kind(column) not in ("numbers", None):
        raise TypeError(f"found {column.type} in column {name!r}; expected numbers to cache")
    if str(column.type) not in ("float", "double"):
        column = column.cast("float64")
    return column.to_numpy(zero_copy_only=False)


def _plain(values: Any) -> Any:
    """A column as an array, if it has numbers and all of them."""
    if isinstance(values, np.ndarray) or column_kind(values) != "numbers" or values.null_count:
        return values
    return values.to_numpy(zero_copy_only=False)
