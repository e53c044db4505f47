"""Names for what arguments may be, as they stand in signatures."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emfast.em import Iteration

Array: TypeAlias = NDArray[Any]


class HasShape(Protocol):
    """Data frames, sparse arrays and other tables."""

    @property
    def shape(self) -> tuple[int, ...]: ...


class IsSource(Protocol):
    """What `emfast.cached` returns."""

    def reader(self, makes: Any, apart: Sequence[str]) -> Any: ...


# Rows of X, or where they come from. A list of rows may hold strings and None.
Rows: TypeAlias = (
    ArrayLike | HasShape | Iterable[Any] | os.PathLike[str] | Callable[[], Iterable[Any]] | IsSource
)

# Something for each row or component, None among it.
Values: TypeAlias = ArrayLike | Sequence[Any]

# Groups of parameters that are known: all of them, or by group those of which components.
Fixed: TypeAlias = Collection[str] | Mapping[str, Any]

Prior: TypeAlias = Mapping[str, Any]
RandomState: TypeAlias = int | np.random.RandomState | None
InitParams: TypeAlias = Literal[
    "kmeans", "k-means++", "random", "random_from_data", "neighbourhood", "short_em"
]
Restarts: TypeAlias = Literal["auto", "full", "race"]
Assignment: TypeAlias = Literal["soft", "hard", "stochastic"]
PathName: TypeAlias = str | os.PathLike[str]
Callback: TypeAlias = Callable[[Iteration], object]
CovarianceType: TypeAlias = Literal["full", "tied", "diag", "spherical"]

# Columns of a table, by name or position.
Columns: TypeAlias = str | int | slice | Sequence[str] | Sequence[int] | Sequence[bool] | Array
