"""What is counted of rows whose sums are taken once, in whatever batches they come."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from emfast.data import Batch
from emfast.inputs.arguments import check_some_weight
from emfast.inputs.validation import check_squares
from emfast.storage.checkpoint import ROWS_OF_DIGEST, digest


class Tally:
    """Counts the rows of batches that pass by, and keeps what tells them from others.

    Attributes
    ----------
    n_rows, n_used : int, rows, and those of positive weight
    dtype : numpy.dtype, the precision they are computed in

    Parameters
    ----------
    kept : bool, whether to keep what tells them from others
    """

    def __init__(self, *, kept: bool) -> None:
        self._kept = kept
        self.n_rows = self.n_used = 0
        self.dtype = np.dtype(np.float64)
        self._weight, self._first = 0.0, ""

    def over(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, but for those without a row of positive weight.

        Raises
        ------
        ValueError
            Numbers are too large for sums of squares, or all weights are 0.
        """
        for batch in batches:
            if not self.n_rows:
                self.dtype = np.dtype(batch.dtype)
                if self._kept:
                    self._first = _digest(batch)
            self.n_rows += batch.n_rows
            self._weight += batch.n_rows if batch.weights is None else float(batch.weights.sum())
            self.n_used += batch.n_used
            if batch.n_used:
                check_squares(getattr(batch.X, "features", batch.X), batch.weights)
                yield batch
        check_some_weight(self.n_used > 0)

    def told(self) -> dict[str, Any]:
        """What tells the rows from others, as JSON: see `Checkpoint`."""
        return {
            "n_rows": self.n_rows,
            "dtype": str(self.dtype),
            "weight": f"{self._weight:.12g}",
            "digest": self._first,
        }


def _digest(first: Batch) -> str:
    """What tells a batch from others."""
    rows = getattr(first.X, "features", first.X)
    if not isinstance(rows, np.ndarray):
        rows = np.asarray(rows[:ROWS_OF_DIGEST])
    return digest(rows, getattr(first.X, "target", None), first.weights)
