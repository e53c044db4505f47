"""Discrete rows that are repeated, collapsed exactly into one row with the sum of their weights.

Seven yes-or-no items have 128 different rows however many people are asked. Rows with different
labels stay apart.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from emfast.data import Batch
from emfast.inputs.rows import Blocks, RowsWithTrials, take

# Rows below which collapsing them saves nothing.
MANY_ROWS = 10_000

# Rows that show how many are repeated; more than this fraction of them different, and it does not
# pay to look at all.
SAMPLE = 1_000
MOSTLY_REPEATED = 0.5

# Different keys that are counted in a table, and not sorted.
TABLE = 1 << 22


def collapsed(batch: Batch) -> Batch:
    """The different rows of a batch with their weights, where few are different.

    Parameters
    ----------
    batch : Batch, of discrete features

    Returns
    -------
    Batch
        Its rows know their first place in the batch that was given, and those of weight 0 are gone;
        the batch that was given, if it does not pay.
    """
    n = batch.n_rows
    columns = list(_columns(batch))
    if n < MANY_ROWS or not columns:
        return batch
    some = np.linspace(0, n - 1, SAMPLE).astype(np.intp)
    if len(_different([column[some] for column in columns])[0]) > MOSTLY_REPEATED * SAMPLE:
        return batch
    first, weights = _different(columns, batch.weights)
    kept = np.flatnonzero(weights > 0)
    if len(kept) > MOSTLY_REPEATED * n:
        return batch
    first = first[kept]
    return replace(
        batch,
        X=take(batch.X, first),
        weights=weights[kept],
        labels=batch.labels.take(first),
        numbers=first,
    )


def _columns(batch: Batch) -> Iterator[np.ndarray]:
    """All that tells rows apart, one column after another; nothing for rows that are sparse."""
    parts = batch.X.parts if isinstance(batch.X, Blocks) else (batch.X,)
    arrays = [part.both if isinstance(part, RowsWithTrials) else part for part in parts]
    if not all(isinstance(array, np.ndarray) for array in arrays):
        return
    for array in arrays:
        yield from array.T
    if batch.labels.component is not None:
        yield batch.labels.component + 1
    if batch.labels.allowed is not None:
        yield from np.packbits(batch.labels.allowed.astype(bool), axis=1).T


def _different(
    columns: list[np.ndarray], weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """First place and total weight of every different row, in the order of their keys."""
    n = len(columns[0])
    keys, n_keys = np.zeros(n, np.int64), 1
    for column in columns:
        codes, n_codes = _codes(column)
        if n_keys * n_codes > 1 << 62:
            # What there is so far, numbered anew.
            keys = np.unique(keys, return_inverse=True)[1]
            n_keys = int(keys.max()) + 1
        keys *= n_codes
        keys += codes
        n_keys *= n_codes
    if n_keys > TABLE:
        first, keys = np.unique(keys, return_index=True, return_inverse=True)[1:]
        return first, np.bincount(keys, weights).astype(np.float64)
    first = np.full(n_keys, -1)
    # Of several, the one that is written last stays.
    first[keys[::-1]] = np.arange(n - 1, -1, -1)
    there = first >= 0
    return first[there], np.bincount(keys, weights, n_keys)[there].astype(np.float64)


def _codes(column: np.ndarray) -> tuple[np.ndarray, int]:
    """Whole numbers as codes from 0 on, and how many codes there may be; missing ones are 0."""
    if column.dtype.kind == "f":
        column = np.where(np.isnan(column), -1, column).astype(np.int64) + 1
    return column, int(column.max()) + 1
