"""What estimators tell the data layer, which reads rows for them."""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from emfast.data import (
    START,
    Batch,
    Names,
    Observer,
    check_out,
    gathered,
    observe,
    read_ahead,
    rows_in_parts,
)

# Whatever is fitted knows its columns; there are no names of components.
NO_CLASSES = np.empty(0, object)


class TakesSources(metaclass=ABCMeta):
    """An estimator whose methods take rows that come in batches; see `data.Observer`."""

    # Whether rows that come together belong together, as those of sequences do.
    _keeps_portions: bool = False

    # Whether rows may come as `ColumnRows`.
    _takes_columns: bool = False

    def _takes_again(self, X: Any) -> bool:
        """Whether rows that once have been validated need not be looked at again."""
        return False

    @abstractmethod
    def _portion(self, X: Any, y: Any = None, *, reset: bool = False) -> Batch:
        """Some rows of a source as the kernels take them."""

    def _learn(self, observer: Observer) -> None:
        """Learn what columns there are, and what is in them, from portions of a source."""
        with closing(observer.portions()) as portions:
            first = next(portions, None)
            if first is not None:
                observer.batch(first, START, reset=True)


class TakesFeatures(TakesSources):
    """One whose fitted model can be asked about features, with nothing else known of them."""

    @abstractmethod
    def _features(self, X: Any) -> np.ndarray:
        """X as the fitted model takes it."""

    def _features_of(self, X: Any) -> Iterator[np.ndarray]:
        """The rows of X, in one array where they are in memory."""
        check_is_fitted(self)
        observer = observe(self, X, None, None, NO_CLASSES)
        if observer is None:
            return iter([self._features(X)])
        return map(self._features, read_ahead(observer.tables()))

    def _answered_by_features(
        self, answer: Callable[[np.ndarray], np.ndarray], out: Any, names: Names, X: Any
    ) -> Any:
        """What is said of all rows by their features alone: see `gathered`."""
        check_out(out, X)
        arrays = rows_in_parts(self._features_of(X), out)
        return gathered((answer(rows) for rows in arrays), out, names)
