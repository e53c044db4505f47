"""What is said of all rows: in one array, or in a file, part by part."""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from emfast.data.batch import Batch, all_of
from emfast.data.readers import files_of
from emfast.data.source import even_cuts, sequence_cuts
from emfast.data.tables import TableError
from emfast.data.writers import Columns, check_suffix, writer_to
from emfast.storage.archive import check_writable

# Rows of which there are answers in memory where these go to a file.
PART_ROWS = 65_536

# Of a column; or what columns are called before their number; or of all columns.
Names = str | Sequence[str]


def check_out(out: Any, X: Any) -> None:
    """Raise where answers about X cannot be written to a file of this name.

    Raises
    ------
    TypeError
        It is no name.
    ValueError
        Nothing writes files that end so, or it is a file that X is read from.
    OSError
        It cannot be written.
    """
    if out is None:
        return
    if not isinstance(out, str | os.PathLike):
        raise TypeError(f"out: found {out!r}; expected the name of a file, or None")
    try:
        check_suffix(out)
    except TableError as error:
        raise ValueError(f"out: {error}") from error
    target = check_writable(out)
    replaced = (path for path in files_of(X) if os.path.exists(path))
    if target.exists() and any(os.path.samefile(target, path) for path in replaced):
        raise ValueError(f"out: {out} would replace rows of X; expected another file")


def gathered(parts: Generator[np.ndarray, None, None], out: Any, names: Names) -> Any:
    """What there is for all rows, in one array or in a file.

    Parameters
    ----------
    parts : generator of ndarray of shape (n_rows, ...), which is closed in the end
    out : path-like or None
        The file appears as a whole, or not at all where anything fails; `check_out` has passed it.
    names : str or sequence of str
        What the columns of the file are called: if there are several, a string is followed by their
        numbers.

    Returns
    -------
    ndarray, or `out` if that is given
    """
    with closing(parts):
        if out is None:
            return all_of(parts)
        with writer_to(out) as writer:
            for part in parts:
                writer.write(_in_columns(part, names))
    return out


def _in_columns(part: np.ndarray, names: Names) -> Columns:
    if part.ndim == 1:
        return {names if isinstance(names, str) else names[0]: part}
    called = [f"{names}{k}" for k in range(part.shape[1])] if isinstance(names, str) else names
    return dict(zip(called, part.T, strict=True))


def in_parts(batches: Iterable[Batch], out: Any) -> Iterator[Batch]:
    """Batches that know where their rows are among all; of few rows if answers go to a file."""
    first = 0
    for batch in batches:
        if first:
            batch = replace(batch, numbers=np.arange(first, first + batch.n_rows))
        first += batch.n_rows
        if out is None:
            yield batch
            continue
        n_parts = -(-batch.n_rows // PART_ROWS)
        cuts = even_cuts(batch.n_rows, n_parts)
        if batch.sequences is not None:
            cuts = sequence_cuts(batch.sequences, n_parts)
        if len(cuts) > 2 and batch.numbers is None:
            batch = replace(batch, numbers=np.arange(batch.n_rows))
        for start, stop in pairwise(cuts):
            yield batch.part(start, stop)


def rows_in_parts(arrays: Iterable[Any], out: Any) -> Iterator[Any]:
    """Rows without anything that is known of them, in the same way."""
    if out is None:
        yield from arrays
        return
    for rows in arrays:
        for start in range(0, len(rows), PART_ROWS):
            yield rows[start : start + PART_ROWS]
