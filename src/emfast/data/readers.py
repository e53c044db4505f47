"""Sources that are larger than memory: what reads them, by what they are."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from emfast.data.batches import (
    BatchesReader,
    DatasetReader,
    LazyFrameReader,
    is_in_memory,
    one_shot,
)
from emfast.data.checked import Checked
from emfast.data.files import FilesReader, paths_of
from emfast.data.mapped import MappedReader, ZarrReader
from emfast.data.opened import Opened
from emfast.data.portions import Portion, Reader
from emfast.inputs.optional import instance_of

__all__ = ["Checked", "Portion", "Reader", "reader_of"]


def reader_of(X: Any, *, apart: Sequence[str] = ()) -> Checked | None:
    """What reads the rows of X in portions, or None if they are in memory.

    Parameters
    ----------
    X : what `fit` and the like take
        Read in portions are a numpy.memmap, a zarr array, a polars.LazyFrame, a
        pyarrow.dataset.Dataset; the name of a file (Parquet, Arrow or Feather, CSV, ``.npy``), of a
        folder of them, a pattern like ``"part-*.parquet"``, or a list of names; a callable without
        arguments that returns an iterable of batches or a pyarrow.RecordBatchReader; and an object
        that can be iterated over more than once and yields batches: arrays, data frames, record
        batches, sparse matrices, lists of sequences, or tuples of one of these and a dict with
        columns of its rows.
    apart : sequence of str
        Names of columns that are no features: `Portion.columns` has them.

    Returns
    -------
    Checked, a Reader; or None

    Raises
    ------
    TypeError
        An iterator, which could be read only once.
    ValueError
        There is no column of a name in `apart`, files are damaged or unlike each other, an array is
        not two-dimensional.
    FileNotFoundError
        There is no such file.
    ImportError
        A package is missing that reads files of this kind; the message says what to install.
    """
    if one_shot(X):
        raise TypeError(
            f"X: found a {type(X).__name__}, which can be read only once; expected a callable "
            "without arguments that makes a fresh one for every pass"
        )
    if isinstance(X, Opened):
        return Checked(X.reader(reader_of, apart))
    reader = _of_files(X, apart) or _of_library(X, apart) or _of_batches(X, apart)
    return None if reader is None else Checked(reader)


def files_of(X: Any) -> list[str]:
    """The files that rows are read from, as far as that is known; none of rows in memory.

    Raises
    ------
    FileNotFoundError
        There are none of this name.
    """
    if isinstance(X, Opened):
        return files_of(X.source)
    if _names_files(X):
        return paths_of(X)
    if isinstance(X, np.memmap) and X.filename is not None:
        return [os.fspath(X.filename)]
    return list(getattr(X, "files", ())) if instance_of(X, "pyarrow.dataset", "Dataset") else []


def _names_files(X: Any) -> bool:
    each = X if isinstance(X, list | tuple) and len(X) > 0 else [X]
    return all(isinstance(name, str | os.PathLike) for name in each)


def _of_files(X: Any, apart: Sequence[str]) -> Reader | None:
    return FilesReader(paths_of(X), apart) if _names_files(X) else None


def _of_library(X: Any, apart: Sequence[str]) -> Reader | None:
    if isinstance(X, np.memmap):
        # What is computed from a map is of the same class, but in memory.
        return None if X._mmap is None else MappedReader(X, apart)
    known: list[tuple[str, str, Callable[[Any, Sequence[str]], Reader]]] = [
        ("zarr", "Array", ZarrReader),
        ("polars", "LazyFrame", LazyFrameReader),
        ("pyarrow.dataset", "Dataset", DatasetReader),
    ]
    for module, name, made in known:
        if instance_of(X, module, name):
            return made(X, apart)
    return None


def _of_batches(X: Any, apart: Sequence[str]) -> Reader | None:
    # What Dask has is where its workers are, and is not read from here.
    if X is None or isinstance(X, type) or type(X).__module__.split(".")[0] == "dask":
        return None
    if is_in_memory(X):
        return None
    if callable(X):
        return BatchesReader(X, apart)
    return BatchesReader(lambda: X, apart) if hasattr(X, "__iter__") else None
