"""Checks of what regressions are fitted to: rows, and a target for each.

Every message names the argument, what was found, what is expected.
"""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import column_or_1d

from emfast.inputs.validation import check_rows

# Targets whose squares, summed over many rows, are finite.
LARGEST_TARGET = 1e140


def check_regression(
    estimator: BaseEstimator, X: Any, y: Any, *, reset: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and targets that a regression can be fitted to.

    Sets the estimator's number and names of features, if `reset`.

    Parameters
    ----------
    estimator : BaseEstimator
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    reset : bool

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), float32 or float64, finite
    y : ndarray of shape (n_samples,), float64, finite

    Raises
    ------
    ValueError, TypeError
        Something is missing, not a number, not finite, too large, or of a length or shape that
        does not fit.
    """
    if y is None:
        raise ValueError(
            f"y: found None; expected a number for each row, for {type(estimator).__name__} "
            "requires y to be passed, but the target y is None"
        )
    rows, _ = check_rows(estimator, X, [np.float64, np.float32], reset=reset)
    return rows, check_target(y, len(rows))


def check_target(y: Any, n_rows: int) -> np.ndarray:
    """A finite number for each of so many rows, float64 of shape (n_rows,).

    A column of shape (n_rows, 1) is taken as if it were flat, with scikit-learn's
    DataConversionWarning.

    Raises
    ------
    ValueError
        Not numbers, of another shape, not finite, or too large for sums of their squares.
    """
    try:
        target = column_or_1d(y, warn=True)
        if target.dtype.kind not in "biuf":
            target = target.astype(object).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"y: expected a number for each row ({error})") from error
    if len(target) != n_rows:
        raise ValueError(
            f"y: found {len(target)} targets; expected {n_rows}, one for each row: X and y have "
            "inconsistent numbers of samples"
        )
    target = target.astype(np.float64, copy=False)
    # Not finite if any target is not, and without a copy of them.
    largest = max(target.max(), -target.min())
    if not np.isfinite(largest):
        row = int(np.flatnonzero(~np.isfinite(target))[0])
        what = "NaN" if np.isnan(target[row]) else "infinity"
        raise ValueError(
            f"y: Input y contains {what}: found {target[row]} in row {row}; expected finite numbers"
        )
    if largest > LARGEST_TARGET:
        raise ValueError(
            f"y: found {largest:.3g}; expected numbers below {LARGEST_TARGET:g}, so that sums of "
            "their squares do not overflow"
        )
    return target
