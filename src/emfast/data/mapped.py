"""Rows of one array that is not in memory: mapped files and zarr."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from emfast.data.portions import Portion, check_apart


def is_used_where_it_is(X: Any) -> bool:
    """Whether rows are mapped from a file and are numbers that kernels read as they are.

    They need no memory of their own, and are as good as in memory.

    Raises
    ------
    ValueError
        The file has been cut short: reading it would end the process.
    """
    if not isinstance(X, np.memmap) or X.dtype not in (np.float32, np.float64):
        return False
    check_size(X)
    return True


def check_size(array: np.memmap) -> None:
    """Raise where a file has become shorter than its map."""
    path = getattr(array, "filename", None)
    if path is None or not os.path.exists(path):
        # A file without a name is still there while it is mapped.
        return
    whole = array
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    expected, found = whole.offset + whole.nbytes, os.path.getsize(path)
    if found < expected:
        raise ValueError(f"X: {path}: found {found} bytes; expected {expected} or more")


class MappedReader:
    """The rows of an array that is mapped from a file.

    Attributes
    ----------
    n_rows, names : see `Reader`

    Parameters
    ----------
    array : numpy.memmap of shape (n_rows, n_features)
    apart : sequence of str, none of which there is

    Raises
    ------
    ValueError
        It is not two-dimensional; from `portions`: the file has been cut short.
    """

    names = None

    def __init__(self, array: np.memmap, apart: Sequence[str] = ()):
        _check(array, apart, "a memory map")
        self.array, self.n_rows = array, array.shape[0]

    def portions(self, batch_rows: int) -> Iterator[Portion]:
        check_size(self.array)
        yield from _slices(np.asarray(self.array), batch_rows)


class ZarrReader:
    """The rows of a zarr array, whole chunks at a time.

    Attributes
    ----------
    n_rows, names : see `Reader`

    Parameters
    ----------
    array : zarr.Array of shape (n_rows, n_features)
    apart : sequence of str, none of which there is

    Raises
    ------
    ValueError
        It is not two-dimensional; from `portions`: a chunk cannot be decoded.
    """

    names = None

    def __init__(self, array: Any, apart: Sequence[str] = ()):
        _check(array, apart, "a zarr array")
        self.array, self.n_rows = array, array.shape[0]

    def portions(self, batch_rows: int) -> Iterator[Portion]:
        # What is decoded together is a shard, or a chunk where there are no shards.
        together = (getattr(self.array, "shards", None) or self.array.chunks)[0]
        step = max(together, batch_rows // together * together)
        for batch, start in enumerate(range(0, self.n_rows, step)):
            where = f"batch {batch}"
            try:
                rows = np.asarray(self.array[start : start + step])
            except Exception as error:
                # Whatever stores and codecs raise for damaged bytes; the list is long and open.
                raise ValueError(
                    f"X: {where}: rows from {start} on cannot be read ({error})"
                ) from error
            for portion in _slices(rows, batch_rows):
                yield Portion(portion.X, where)


def _check(array: Any, apart: Sequence[str], called: str) -> None:
    if len(array.shape) != 2:
        raise ValueError(f"X: found {called} of shape {array.shape}; expected two dimensions")
    if apart:
        check_apart(apart, None, called)


def _slices(array: np.ndarray, batch_rows: int) -> Iterator[Portion]:
    for batch, start in enumerate(range(0, len(array), batch_rows)):
        yield Portion(array[start : start + batch_rows], f"batch {batch}")
