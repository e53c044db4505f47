"""Checks of the rows that users give: `arguments` has those of all else.

Every message names the argument, what was found, what is expected.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from emfast.inputs.columnar import table_rows
from emfast.inputs.dictionaries import without_dictionaries
from emfast.inputs.optional import instance_of
from emfast.inputs.rows import ColumnRows, SparseRows
from emfast.threads import SingleThreadedBlas

# Rows of which copies are made at a time.
CHUNK_ROWS = 65_536

FINITE_OR_MISSING = "no infinity, and NaN where an entry is missing"
# Types of dates, times and durations of NumPy, pandas, Arrow and polars.
TIMES = re.compile("date|time|duration", re.IGNORECASE)
WHOLE_NUMBERS = "counts: whole numbers from 0 on"


def check_rows(
    estimator: BaseEstimator,
    X: Any,
    dtypes: list[type],
    *,
    reset: bool,
    allow_missing: bool = False,
) -> tuple[np.ndarray, bool]:
    """X as a two-dimensional array of one of `dtypes`, and whether entries are missing.

    It is finite but for NaN, which says that an entry is missing, where that is allowed. None,
    pandas.NA, nulls and masked entries become NaN. Sets the estimator's feature names.

    Raises
    ------
    ValueError, TypeError
        What scikit-learn's `validate_data` raises, with the name of the argument.
    """
    if instance_of(X, "pyarrow", "Table") and (numbers := table_rows(X)) is not None:
        rows, missing = _checked_columns(
            estimator, numbers, reset=reset, allow_missing=allow_missing
        )
        return np.asarray(rows), missing
    if isinstance(X, ColumnRows):
        return _checked_columns(estimator, X, reset=reset, allow_missing=allow_missing)
    if isinstance(X, np.ma.MaskedArray):
        X = _without_mask(X)
    if isinstance(X, np.ndarray) and not X.dtype.isnative:
        X = X.astype(X.dtype.newbyteorder("="))
    X = without_dictionaries(X)
    if X is None:
        raise ValueError("X: found None; expected a two-dimensional array of numbers")
    for dtype in _dtypes(X):
        if TIMES.match(str(dtype)):
            raise TypeError(f"X: found values of type {dtype}; expected numbers")
    try:
        if _is_ready(X, dtypes) and _takes_features(estimator, X.shape[1], reset):
            rows = X
        else:
            rows = validate_data(estimator, X, dtype=dtypes, reset=reset, ensure_all_finite=False)
        if _squares_are_finite(rows):
            return rows, False
        # Which is slower, but says what is wrong.
        if not allow_missing:
            validate_data(estimator, X, dtype=dtypes, reset=False)
            return rows, False
        _check_entries(
            estimator,
            rows,
            lambda part: ~np.isinf(part),
            FINITE_OR_MISSING,
        )
        return rows, _has_missing(rows)
    except (TypeError, ValueError) as error:
        if re.search(r"\bX\b", str(error)):
            raise
        where = _where_no_number_is(X) if "could not convert" in str(error) else ""
        raise type(error)(f"X: {error}{where}") from error


def _where_no_number_is(X: Any) -> str:
    """The first column of a table that holds something else, if any does, in words."""
    for name in getattr(X, "column_names", getattr(X, "columns", ())):
        try:
            np.asarray(X[name], np.float64)
        except ValueError:
            return f", in column {name!r}"
        except TypeError:
            # Missing values, which stand for NaN.
            continue
    return ""


def _checked_columns(
    estimator: BaseEstimator, X: ColumnRows, *, reset: bool, allow_missing: bool
) -> tuple[ColumnRows, bool]:
    """Columns of numbers, none of which is infinite; and whether entries are missing."""
    _take_names(estimator, X, reset=reset)
    missing = False
    for column, values in enumerate(X.arrays):
        if _squares_are_finite(values):
            continue
        wrong = np.isinf(values) if allow_missing else ~np.isfinite(values)
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"X: found {values[row]} in row {row}, {column_called(estimator, column)}; "
                f"expected {FINITE_OR_MISSING if allow_missing else 'finite numbers'}"
            )
        missing = missing or bool(np.isnan(values).any())
    return X, missing


def _take_names(estimator: BaseEstimator, X: ColumnRows, *, reset: bool) -> None:
    """Tell the estimator of the names of columns, or whether it expects just those."""
    if reset or X.names is None:
        if not _takes_features(estimator, X.shape[1], reset) and X.names is None:
            validate_data(estimator, np.asarray(X[:1]), reset=False, ensure_all_finite=False)
        if reset and X.names is not None:
            estimator.feature_names_in_ = np.array(X.names, object)
        return
    expected = getattr(estimator, "feature_names_in_", None)
    if expected is not None and list(expected) != list(X.names):
        raise ValueError(
            "X: The feature names should match those that were passed during fit, in the same "
            f"order: found {list(X.names)}; expected {list(expected)}"
        )
    if X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X: found {X.shape[1]} features; expected {estimator.n_features_in_} features"
        )


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
    types = getattr(getattr(X, "schema", None), "types", None)
    dtypes = getattr(X, "dtypes", types)
    return [getattr(X, "dtype", None)] if dtypes is None else list(dtypes)


def check_squares(X: np.ndarray, weights: np.ndarray | None, name: str = "X") -> None:
    """Raise where rows of positive weight are so large that sums of their squares overflow."""
    if _squares_are_finite(X):
        return
    limit = 1e140 if X.dtype == np.float64 else 1e16
    least, largest = column_ranges(X, weights)
    largest = max(largest.max(), -least.min())
    if largest > limit:
        raise ValueError(
            f"{name}: found {largest:.3g}; expected numbers below {limit:g}, so that sums of their "
            f"squares do not overflow in {X.dtype}: rescale the columns"
        )


def _squares_are_finite(X: np.ndarray) -> bool:
    """Whether all numbers and the sum of their squares are known to be finite, in one fast pass."""
    if isinstance(X, ColumnRows):
        return all(map(_squares_are_finite, X.arrays))
    if X.dtype.kind != "f":
        return True
    if not X.flags.forc:
        return False
    flat = X.ravel("K")
    # One thread of BLAS reads nearly as fast as the memory, and others would stay awake.
    with np.errstate(over="ignore", invalid="ignore"), SingleThreadedBlas():
        return bool(np.isfinite(np.dot(flat, flat)))


def location_and_scale(X: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Means of the columns, as numbers of their precision, and standard deviations from there.

    Over the rows of positive weight, float64; a deviation of 0 becomes 1.
    """
    counts = np.ones(len(X)) if weights is None else weights / weights.max()
    counted = counts[counts > 0]

    def mean(of_rows: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        total, first = np.zeros(X.shape[1]), 0
        for rows in _counted_chunks(X, weights):
            total += counted[first : first + len(rows)] @ of_rows(rows)
            first += len(rows)
        return total / counted.sum()

    origin = X[int(counts.argmax())].astype(np.float64)
    shift = mean(lambda rows: rows - origin)
    location = (origin + shift).astype(X.dtype).astype(np.float64)
    squares = mean(lambda rows: (rows - location) ** 2)
    return location, np.sqrt(np.where(squares > 0, squares, 1.0))


def column_ranges(X: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest value of every column over the rows of positive weight.

    NaN where a column has none that is not missing.
    """
    parts = [
        (np.fmin.reduce(part, axis=0), np.fmax.reduce(part, axis=0))
        for part in _counted_chunks(X, weights)
    ]
    least, largest = zip(*parts, strict=True)
    return np.fmin.reduce(least, axis=0), np.fmax.reduce(largest, axis=0)


def check_observed(
    X: Any,
    weights: np.ndarray | None,
    unseen_columns: Callable[[Any], np.ndarray],
    called: Callable[[int], str],
) -> None:
    """Raise where a column has no entry that is not missing in any row of positive weight."""
    unseen = np.ones(X.shape[1], bool)
    for part in _counted_chunks(X, weights):
        unseen &= unseen_columns(part)
        if not unseen.any():
            return
    refuse_unseen(unseen, called)


def refuse_unseen(unseen: np.ndarray, called: Callable[[int], str]) -> None:
    """Raise where there are columns without any entry that is not missing."""
    if not unseen.any():
        return
    raise ValueError(
        f"X: every entry of {called(int(unseen.argmax()))} is missing; expected at least one that "
        "is not in every column, in a row of positive weight"
    )


def _counted_chunks(X: np.ndarray, weights: np.ndarray | None) -> Iterator[np.ndarray]:
    """The rows of positive weight, some at a time."""
    for start in range(0, len(X), CHUNK_ROWS):
        part = X[start : start + CHUNK_ROWS]
        if weights is not None:
            part = part[np.flatnonzero(weights[start : start + CHUNK_ROWS])]
        if len(part):
            yield part


def check_binary(
    estimator: BaseEstimator, X: Any, *, reset: bool
) -> tuple[np.ndarray | SparseRows, bool]:
    """X as zeros, ones and NaN of any type that the kernels take, and whether there is any NaN."""
    if sp.issparse(X):
        rows = _sparse_rows(estimator, X, reset=reset)
        _check_entries(estimator, rows, lambda part: part == 1, "only 0 and 1")
        return rows, False
    dtypes = [np.float64, np.float32, np.uint8, np.bool_]
    rows, missing = check_rows(estimator, X, dtypes, reset=reset, allow_missing=True)
    if rows.dtype == bool:
        return rows.view(np.uint8), False
    _check_entries(
        estimator,
        rows,
        lambda part: (part == 0) | (part == 1) | (part != part),
        "only 0 and 1, or booleans",
    )
    return rows, missing


def check_counts(
    estimator: BaseEstimator, X: Any, *, reset: bool, accept_sparse: bool = False
) -> tuple[np.ndarray | SparseRows, bool]:
    """X as counts of any type that the kernels take, NaN where missing, and whether any is."""
    if sp.issparse(X) and accept_sparse:
        rows = _sparse_rows(estimator, X, reset=reset)
        _check_entries(
            estimator, rows, lambda part: (part >= 0) & (part == np.rint(part)), WHOLE_NUMBERS
        )
        return rows, False
    dtypes = [np.float64, np.float32, np.uint8]
    rows, missing = check_rows(estimator, _packed(X), dtypes, reset=reset, allow_missing=True)
    if rows.dtype != np.uint8:
        _check_entries(
            estimator,
            rows,
            lambda part: (part >= 0) & (part == np.rint(part)) | (part != part),
            WHOLE_NUMBERS,
        )
    return rows, missing


def check_within_trials(estimator: BaseEstimator, counts: np.ndarray, trials: np.ndarray) -> None:
    """Raise where a count that is not missing is above its trials, which broadcast to counts."""
    wrong = counts > trials
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        most = np.broadcast_to(trials, counts.shape)[row, column]
        raise ValueError(
            f"X: found {counts[row, column]:g} in row {row}, {column_called(estimator, column)}; "
            f"expected at most n_trials = {most:g}"
        )


def check_durations(estimator: BaseEstimator, X: Any, *, reset: bool) -> tuple[np.ndarray, bool]:
    """X as numbers from 0 on, NaN where missing, and whether any is."""
    rows, missing = check_rows(
        estimator, X, [np.float64, np.float32], reset=reset, allow_missing=True
    )
    _check_entries(
        estimator,
        rows,
        lambda part: (part >= 0) | (part != part),
        "waiting times from 0 on: Negative values in data have density 0",
    )
    return rows, missing


def check_some_duration(
    X: np.ndarray, weights: np.ndarray | None, called: Callable[[int], str], *, zero: bool
) -> None:
    """Raise where waiting times of positive weight are out of range, or in some column all 0.

    Parameters
    ----------
    called : callable, how messages call a column
    zero : bool, whether rates are bounded where all are 0
    """
    largest = column_ranges(X, weights)[1]
    least, most = (1e-20, 1e20) if X.dtype == np.float32 else (1e-200, 1e200)
    for column, value in enumerate(largest):
        if value == 0 and not zero:
            raise ValueError(
                f"X: every entry of {called(column)} is 0 in {len(X)} sample(s); expected some "
                "that are not, in rows of positive weight, for the rate has no bound: leave the "
                "column out, or give a prior"
            )
        if value > 0 and not least <= value <= most:
            raise ValueError(
                f"X: found {value:.3g} as the largest entry of {called(column)}; expected one "
                f"between {least:g} and {most:g} in {X.dtype}: rescale the column"
            )


def check_columns(
    estimator: BaseEstimator, X: Any, *, reset: bool, accept_sparse: bool = False
) -> Any:
    """X as a data frame or an array of two dimensions, whatever it holds; sets feature names.

    It may be a CSR array where `accept_sparse`.
    """
    if X is None:
        raise ValueError("X: found None; expected a table with a row for each sample")
    if sp.issparse(X):
        if not accept_sparse:
            raise TypeError("X: found a sparse matrix; expected a dense table of categories")
        X = sp.csr_array(X)
    if isinstance(X, np.ma.MaskedArray):
        X = np.where(np.ma.getmaskarray(X), None, X.astype(object))
    if not (hasattr(X, "columns") or isinstance(X, np.ndarray | sp.csr_array)):
        X = _table(X)
    if len(X.shape) != 2:
        raise ValueError(
            f"X: found an array of {len(X.shape)} dimension(s). Reshape your data: expected two "
            "dimensions"
        )
    if 0 in X.shape:
        raise ValueError(
            f"X: Found array with {X.shape[0]} sample(s) and {X.shape[1]} feature(s) "
            f"(shape={X.shape}) while a minimum of 1 is required."
        )
    try:
        return validate_data(estimator, X, reset=reset, skip_check_array=True)
    except ValueError as error:
        raise ValueError(f"X: {error}") from error


def _table(X: Any) -> np.ndarray:
    """Lists of rows as an array whose missing entries are still what they were."""
    try:
        numbers = np.asarray(X)
    except ValueError as error:
        raise ValueError(f"X: expected as many entries in every row ({error})") from error
    return numbers if numbers.dtype.kind in "biufc" else np.asarray(X, dtype=object)


def column_called(estimator: BaseEstimator, column: int) -> str:
    """How messages call a column: by its position, and its name if it has one."""
    if isinstance(estimator, Block):
        return column_called(estimator.estimator, estimator.columns[column])
    names = getattr(estimator, "feature_names_in_", None)
    return f"column {column}" if names is None else f"column {column} ({names[column]!r})"


class Block(BaseEstimator):
    """Some columns of the rows of an estimator, for what validates them."""

    def __init__(self, estimator=None, columns=()):
        self.estimator = estimator
        self.columns = columns


def _packed(X: Any) -> Any:
    """Integers that fit in bytes as bytes."""
    if type(X) is not np.ndarray or X.dtype.kind not in "iub" or X.size == 0:
        return X
    return X.astype(np.uint8) if X.min() >= 0 and X.max() <= 255 else X


def _sparse_rows(estimator: BaseEstimator, X: Any, *, reset: bool) -> SparseRows:
    """A sparse matrix as rows, each with its entries in order, once, and none of them zero."""
    X = validate_data(
        estimator,
        X,
        accept_sparse="csr",
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,
        reset=reset,
    )
    matrix = sp.csr_array(X)
    matrix.check_format()
    if not matrix.has_canonical_format or np.any(matrix.data == 0):
        matrix = matrix.copy()
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    rows = SparseRows(matrix)
    _check_entries(
        estimator, rows, np.isfinite, "finite numbers, for no entry of sparse rows is missing"
    )
    return rows


def _check_entries(
    estimator: BaseEstimator,
    rows: np.ndarray | SparseRows,
    right: Callable[[np.ndarray], np.ndarray],
    expected: str,
) -> None:
    """Raise where an entry is not right."""
    if isinstance(rows, SparseRows):
        wrong = np.flatnonzero(~right(rows.values))
        if wrong.size:
            row = np.searchsorted(rows.starts, wrong[0], side="right") - 1
            column = column_called(estimator, rows.columns[wrong[0]])
            raise ValueError(
                f"X: found {rows.values[wrong[0]]:g} in row {row}, {column}; expected {expected}"
            )
        return
    step = max(1, 2**20 // rows.shape[1])
    for start in range(0, rows.shape[0], step):
        part = rows[start : start + step]
        correct = right(part)
        if not correct.all():
            row, column = np.argwhere(~correct)[0]
            raise ValueError(
                f"X: found {part[row, column]} in row {start + row}, "
                f"{column_called(estimator, column)}; expected {expected}"
            )


def _has_missing(X: np.ndarray) -> bool:
    """Whether any entry is NaN."""
    starts = range(0, len(X), CHUNK_ROWS)
    return X.dtype.kind == "f" and any(
        np.isnan(X[start : start + CHUNK_ROWS]).any() for start in starts
    )


def _without_mask(X: np.ma.MaskedArray) -> np.ndarray:
    """The array with NaN where it is masked."""
    if not np.ma.is_masked(X):
        return X.data
    floats = X.data.dtype if X.data.dtype.kind in "fO" else np.float64
    return np.where(np.ma.getmaskarray(X), np.nan, X.data.astype(floats, copy=False))
