"""Checks of what users give; every message names the argument, what was found, what is expected."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import lapack
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

# Rows of which copies are made at a time.
CHUNK_ROWS = 65_536


def check_sample_weight(sample_weight: Any, n_rows: int) -> np.ndarray | None:
    """Weights as float64 of shape (n_rows,), or None.

    Raises
    ------
    ValueError
        Not numeric, of another shape, negative, not finite, or all zero.
    """
    if sample_weight is None:
        return None
    weights = _as_floats("sample_weight", sample_weight)
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight: found shape {weights.shape}; expected ({n_rows},), one weight a row"
        )
    _check_finite("sample_weight", weights)
    if np.any(weights < 0):
        row = int(np.flatnonzero(weights < 0)[0])
        raise ValueError(f"sample_weight: found {weights[row]} in row {row}; expected no negatives")
    if not np.any(weights > 0):
        raise ValueError("sample_weight: all weights are zero; expected at least one positive")
    if weights.max() > np.finfo(np.float64).max / n_rows:
        raise ValueError(
            f"sample_weight: found {weights.max():g}; expected weights whose sum is finite"
        )
    return weights


def near_one(weights: np.ndarray | None) -> np.ndarray | None:
    """Weights, or where they are very large or small, weights times a power of two.

    Only ratios of weights matter in a fit, and this keeps the ratios; very large or small weights
    would overflow in single precision.
    """
    if weights is None or 1e-6 < weights.max() < 1e6:
        return weights
    return np.ldexp(weights, 1 - np.frexp(weights.max())[1])


def check_array_of(name: str, values: Any, shape: tuple[int, ...], meaning: str) -> np.ndarray:
    """Finite float64 values of exactly this shape."""
    array = _as_floats(name, values)
    if array.shape != shape:
        raise ValueError(f"{name}: found shape {array.shape}; expected {shape}, {meaning}")
    _check_finite(name, array)
    return np.array(array, order="C")


def check_of_components(
    name: str, values: Any, check: Callable[[str, Any], np.ndarray]
) -> np.ndarray:
    """What `check` makes of values of every component, NaN where a list has None: not given."""
    missing = _is_none(values)
    if not missing.any():
        return check(name, values)
    if missing.all():
        raise ValueError(f"{name}: found None for every component; expected values for some")
    # In place of what is missing, something that passes if the rest does.
    something = next(value for value in values if value is not None)
    filled = check(name, [something if value is None else value for value in values])
    filled[missing] = np.nan
    return filled


def _is_none(values: Any) -> np.ndarray:
    if isinstance(values, list | tuple):
        return np.array([value is None for value in values], bool)
    return np.zeros(1, bool)


def check_mixture_weights(weights_init: Any, n_components: int) -> np.ndarray:
    """Weights of the components: non-negative numbers that sum to 1.

    "equal" are the same for all. Where a list has None, which becomes NaN, components share what
    the others leave.
    """
    if isinstance(weights_init, str):
        return np.full(n_components, 1 / n_components)
    weights = check_of_components(
        "weights_init",
        weights_init,
        lambda name, values: check_array_of(name, values, (n_components,), "(n_components,)"),
    )
    total = np.nansum(weights)
    if np.any(weights < 0):
        raise ValueError(f"weights_init: found {np.nanmin(weights)}; expected no negatives")
    if np.isnan(weights).any():
        if not total < 1:
            raise ValueError(
                f"weights_init: found a sum of {total}; expected less than 1, for the components "
                "that are None share what is left"
            )
        return weights
    if not np.isclose(total, 1.0, rtol=0, atol=1e-6):
        raise ValueError(f"weights_init: found a sum of {total}; expected 1")
    return weights / total


def check_probabilities(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = check_array_of(name, values, shape, "(n_components, n_features)")
    if np.any((array < 0) | (array > 1)):
        wrong = array[(array < 0) | (array > 1)][0]
        raise ValueError(f"{name}: found {wrong}; expected probabilities between 0 and 1")
    return array


def check_positive_definite(
    name: str, values: Any, covariance_type: str, K: int, D: int
) -> np.ndarray:
    """Covariances or precisions of one of the four shapes, positive (definite) and symmetric."""
    shape, meaning = {
        "full": ((K, D, D), "(n_components, n_features, n_features)"),
        "tied": ((D, D), "(n_features, n_features)"),
        "diag": ((K, D), "(n_components, n_features)"),
        "spherical": ((K,), "(n_components,)"),
    }[covariance_type]
    array = check_array_of(name, values, shape, f"{meaning} for {covariance_type!r}")
    if covariance_type in ("diag", "spherical"):
        if np.any(array <= 0):
            raise ValueError(f"{name}: found {array.min()}; expected positive numbers")
        return array
    for k, matrix in enumerate(array if covariance_type == "full" else array[None]):
        which = f"{name}[{k}]" if covariance_type == "full" else name
        if not np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-12 * np.abs(matrix).max()):
            raise ValueError(f"{which}: found an asymmetric matrix; expected a symmetric one")
        if lapack.dpotrf(matrix, lower=1)[1]:
            raise ValueError(
                f"{which}: found the eigenvalue {np.linalg.eigvalsh(matrix)[0]:.3g}; "
                "expected a positive-definite matrix"
            )
    return array


def _as_floats(name: str, values: Any) -> np.ndarray:
    """Numbers as float64; dates, strings and complex numbers are none."""
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: found values that are not numbers ({error})") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name}: found values of type {array.dtype}; expected real numbers")
    return array.astype(np.float64, copy=False)


def _check_finite(name: str, array: np.ndarray) -> None:
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name}: found {array[~np.isfinite(array)][0]}; expected finite numbers")


def inverse(matrices: np.ndarray) -> np.ndarray:
    """Inverses of positive-definite matrices, symmetric to the bit."""
    factors = np.linalg.inv(np.linalg.cholesky(matrices))
    return np.swapaxes(factors, -1, -2) @ factors


def check_rows(estimator: BaseEstimator, X: Any, dtypes: list[type], *, reset: bool) -> np.ndarray:
    """X as a two-dimensional array of one of `dtypes`, finite; sets the estimator's feature names.

    Raises
    ------
    ValueError, TypeError
        What scikit-learn's `validate_data` raises, with the name of the argument.
    """
    if isinstance(X, np.ndarray) and not X.dtype.isnative:
        X = X.astype(X.dtype.newbyteorder("="))
    if X is None:
        raise ValueError("X: found None; expected a two-dimensional array of numbers")
    for dtype in _dtypes(X):
        if getattr(dtype, "kind", "") in ("M", "m"):
            raise TypeError(f"X: found values of type {dtype}; expected numbers")
    try:
        if _is_ready(X, dtypes) and _takes_features(estimator, X.shape[1], reset):
            rows = X
        else:
            rows = validate_data(estimator, X, dtype=dtypes, reset=reset, ensure_all_finite=False)
        if not _squares_are_finite(rows):
            # Which is slower, but says what is wrong.
            validate_data(estimator, X, dtype=dtypes, reset=False)
        return rows
    except (TypeError, ValueError) as error:
        if re.search(r"\bX\b", str(error)):
            raise
        raise type(error)(f"X: {error}") from error


def _is_ready(X: Any, dtypes: list[type]) -> bool:
    """Whether `validate_data`, which takes longer than an iteration, would return X itself."""
    return type(X) is np.ndarray and X.ndim == 2 and X.size > 0 and X.dtype in dtypes


def _takes_features(estimator: BaseEstimator, n_features: int, reset: bool) -> bool:
    """Tell the estimator of features without names, or whether it expects just those."""
    if reset:
        estimator.n_features_in_ = n_features
        estimator.__dict__.pop("feature_names_in_", None)
        return True
    named = hasattr(estimator, "feature_names_in_")
    return not named and getattr(estimator, "n_features_in_", None) == n_features


def _dtypes(X: Any) -> list:
    dtypes = getattr(X, "dtypes", None)
    return [getattr(X, "dtype", None)] if dtypes is None else list(dtypes)


def check_squares(X: np.ndarray, weights: np.ndarray | None) -> None:
    """Raise where rows of positive weight are so large that sums of their squares overflow."""
    if _squares_are_finite(X):
        return
    limit = 1e140 if X.dtype == np.float64 else 1e16
    least, largest = column_ranges(X, weights)
    largest = max(largest.max(), -least.min())
    if largest > limit:
        raise ValueError(
            f"X: found {largest:.3g}; expected numbers below {limit:g}, so that sums of their "
            f"squares do not overflow in {X.dtype}: rescale the columns"
        )


def _squares_are_finite(X: np.ndarray) -> bool:
    """Whether all numbers and the sum of their squares are known to be finite, in one fast pass."""
    if X.dtype.kind != "f":
        return True
    if not X.flags.forc:
        return False
    flat = X.ravel("K")
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.dot(flat, flat)))


def column_ranges(X: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest value of every column over the rows of positive weight."""
    if weights is None:
        return X.min(axis=0), X.max(axis=0)
    parts = []
    for start in range(0, len(X), CHUNK_ROWS):
        part = X[start : start + CHUNK_ROWS][weights[start : start + CHUNK_ROWS] > 0]
        if len(part):
            parts.append((part.min(axis=0), part.max(axis=0)))
    least, largest = zip(*parts, strict=True)
    return np.min(least, axis=0), np.max(largest, axis=0)
