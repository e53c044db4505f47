"""The contract of a source of rows."""

from abc import ABCMeta, abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from emfast.data.batch import Batch


class Block(Protocol):
    """Some rows of a source, one after the other, of which sums can be asked."""

    def total(self, asked: Any) -> Any:
        """See `Source.total`."""


class Blocks(Protocol):
    """All rows of a source in blocks of about the same size, from the first on.

    They can be gone over again and again; each is to be asked before the next one.
    """

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Block]: ...


class Source(metaclass=ABCMeta):
    """Rows that can be gone over again and again, wherever they are.

    Attributes
    ----------
    n_rows, n_features : int
    n_used : int, rows of positive weight
    n_kept : int, rows of which a sample can have as many
    weight : float, sum of the weights
    dtype : str, the precision the rows are computed in
    missing : see `Batch`, of all of them
    classes : ndarray of shape (n_classes,), names of the first components, or None
    first_row : int, the place of the first row among those of the source that this is a block of
    """

    n_rows: int
    n_features: int
    n_used: int
    n_kept: int
    weight: float
    dtype: str
    missing: bool | tuple[bool, ...]
    classes: np.ndarray | None
    first_row: int = 0

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """All rows in batches, from the first on."""

    @abstractmethod
    def total(self, asked: Any) -> Any:
        """What is asked of all rows, as `passes.Expectation` is: sums over them."""

    @abstractmethod
    def blocks(self, n_blocks: int) -> "Blocks":
        """The rows in at most so many blocks, which depend on the shapes of the rows only."""

    @abstractmethod
    def of(self, batch: Batch) -> "Source":
        """A source of the same kind with some of the rows, in memory."""

    @abstractmethod
    def plain(self, block: int | None = None) -> "Source":
        """The rows, or one block of their columns, as if independent, and nothing else known."""

    @abstractmethod
    def head(self, n_rows: int) -> Any:
        """The first so many rows of positive weight."""

    @property
    @abstractmethod
    def extremes(self) -> tuple[Any, np.ndarray | None]:
        """Rows that have what is least and largest in every column, and their weights or None."""

    @property
    @abstractmethod
    def sketch(self) -> Any:
        """What tells these rows, and what is known of them, from others: some of them, as a rule.

        It does not depend on how the rows come.
        """

    @abstractmethod
    def near_one(self) -> tuple["Source", float]:
        """The rows with weights of about 1, and the power of two these are multiplied by."""

    @abstractmethod
    def sample(self, n_rows: int, n_components: int, random_state: np.random.RandomState) -> Batch:
        """About so many rows of positive weight, in their order; few if they are precious."""


def even_cuts(n: int, n_blocks: int) -> list[int]:
    """Where so many blocks of n begin, and the last one ends; none of them is empty."""
    return np.unique(np.arange(n_blocks + 1) * n // n_blocks).tolist()


def sequence_cuts(sequences: np.ndarray, n_blocks: int) -> list[int]:
    """The same of whole sequences, which begin and end at these rows, for rows to be even."""
    rows = even_cuts(int(sequences[-1]), n_blocks)
    return np.unique(np.searchsorted(sequences, rows)).tolist()
