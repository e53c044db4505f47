"""How well targets are predicted."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from emfast.annotations import Rows, Values
from emfast.data import observe, read_ahead
from emfast.estimators.base.sources import NO_CLASSES, TakesFeatures
from emfast.inputs.columns import columns_apart
from emfast.inputs.targets import check_target


class PredictsTargets(RegressorMixin, TakesFeatures):
    """One that predicts numbers."""

    @abstractmethod
    def _means(self, X: np.ndarray) -> np.ndarray:
        """The target that is expected of every row."""

    def score(self, X: Rows, y: Values, sample_weight: Any = None) -> float:
        r"""The coefficient of determination of the predictions, 1 at best.

        .. math:: R^2 = 1 - \sum_n w_n (y_n - \hat y_n)^2 / \sum_n w_n (y_n - \bar y)^2

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or any other source of rows
        y : array-like of shape (n_samples,) or (n_samples, n_targets), or the name of a column
            The mean over several targets is taken.
        sample_weight : array-like of shape (n_samples,), or the name of a column, optional

        Returns
        -------
        float
        """
        check_is_fitted(self)
        observer = observe(self, X, None, sample_weight, NO_CLASSES, y)
        if observer is None:
            X, y, sample_weight = columns_apart(X, y=y, sample_weight=sample_weight)
            return super().score(X, y, sample_weight=sample_weight)
        parts = read_ahead(observer.targets())
        return r_squared(
            (y, self._means(self._features(table)), weights) for table, y, weights in parts
        )


def r_squared(parts: Iterable[tuple[Any, np.ndarray, np.ndarray | None]]) -> float:
    """The coefficient of determination, in one pass; as scikit-learn's for constant targets.

    Parameters
    ----------
    parts : iterable of targets and predictions of shape (n_rows,) or (n_rows, n_targets), and
        weights of shape (n_rows,) or None
    """
    weight: float = 0.0
    mean: Any = 0.0
    total: Any = 0.0
    left: Any = 0.0
    for y, predicted, weights in parts:
        targets = _targets(y, len(predicted))
        w = np.ones(len(targets)) if weights is None else weights
        own = float(w.sum())
        if own == 0:
            continue
        left = left + w @ (targets - predicted.reshape(targets.shape)) ** 2
        middle = w @ targets / own
        # Sums of squares about the mean of the rows so far, and of those that come.
        total = total + w @ (targets - middle) ** 2
        total = total + weight * own / (weight + own) * (middle - mean) ** 2
        mean = mean + (middle - mean) * own / (weight + own)
        weight += own
    constant = np.where(left == 0, 1.0, 0.0)
    return float(np.where(total > 0, 1 - left / np.where(total > 0, total, 1), constant).mean())


def _targets(y: Any, n_rows: int) -> np.ndarray:
    """Targets as float64 of shape (n_rows, n_targets)."""
    values = np.asarray(y)
    columns = [values] if values.ndim == 1 else values.T
    return np.column_stack([check_target(column, n_rows) for column in columns])
