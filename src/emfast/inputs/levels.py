"""Levels of categorical columns: what values there are, and the codes 0, 1, ... of each.

Values are integers from 0 on, booleans, strings, or whatever a categorical dtype has. None, NaN and
pandas.NA are missing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing

from emfast.inputs.dictionaries import categories_of, without_dictionary
from emfast.inputs.labels import is_missing

# Integers up to here are counted, not sorted.
MOST_COUNTED = 1 << 16

# Levels that an error message lists.
SHOWN = 8


def encode_levels(
    X: Any, categories: Any, called: Callable[[int], str]
) -> tuple[np.ndarray, list[np.ndarray], bool]:
    """Columns as codes.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features) or a data frame
    categories : "auto" or list of array-like
        The values of every column; "auto" takes those of the data, sorted, or the categories of a
        categorical dtype in their order.
    called : callable, how messages call a column

    Returns
    -------
    codes : ndarray of shape (n_rows, n_features), uint8, uint16 or uint32
        The largest number of its type where a value is missing.
    categories : list of ndarray
    missing : bool, whether any value is

    Raises
    ------
    ValueError
        Negative integers, numbers that are no integers, or values that are not among `categories`.
    TypeError
        Values that cannot be sorted.
    """
    n_features = X.shape[1]
    if not isinstance(categories, str) and len(categories) != n_features:
        raise ValueError(
            f"categories: found those of {len(categories)} columns; expected {n_features}"
        )
    columns, found, missing = [], [], False
    for d in range(n_features):
        given = None if isinstance(categories, str) else _as_levels(categories[d])
        codes, levels = _encoded(_safe_indexing(X, d, axis=1), given, called(d))
        columns.append(codes)
        found.append(levels)
        missing = missing or bool((codes < 0).any())
    dtype = _codes_dtype(max(len(levels) for levels in found))
    encoded = np.empty((len(columns[0]), n_features), dtype)
    for d, codes in enumerate(columns):
        # -1 becomes the largest number.
        encoded[:, d] = codes.astype(dtype)
    return encoded, found, missing


def decode_levels(codes: np.ndarray, categories: list[np.ndarray]) -> np.ndarray:
    """The values of codes none of which is missing: one array, of objects if types differ."""
    columns = [levels[codes[:, d]] for d, levels in enumerate(categories)]
    kinds = {column.dtype.kind for column in columns}
    values = np.empty(codes.shape, columns[0].dtype if len(kinds) == 1 else object)
    if values.dtype.kind == "U":
        values = values.astype(np.result_type(*columns))
    for d, column in enumerate(columns):
        values[:, d] = column
    return values


def united_levels(levels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The levels of a column of which two parts have these; in their order where they are equal."""
    if len(others) == 0 or np.array_equal(levels, others):
        return levels
    if len(levels) == 0:
        return others
    if levels.dtype.kind in "biuf" and others.dtype.kind in "biuf":
        return np.union1d(levels, others)
    known = set(levels.tolist())
    if known.issuperset(others.tolist()):
        return levels
    return _of_objects(np.array([*levels.tolist(), *others.tolist()], object), None, "a column")[1]


def _codes_dtype(n_levels: int) -> type:
    for dtype in (np.uint8, np.uint16):
        if n_levels <= np.iinfo(dtype).max:
            return dtype
    return np.uint32


def _as_levels(categories: Any) -> np.ndarray:
    levels = np.asarray(categories)
    return levels if levels.dtype.kind in "biufU" else np.asarray(categories, object)


def _encoded(column: Any, levels: np.ndarray | None, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Codes of one column, -1 where missing, and its levels."""
    own = categories_of(column)
    if own is not None and hasattr(column, "cat") and hasattr(column.cat, "codes"):
        codes = np.asarray(column.cat.codes, np.int64)
        return (codes, own) if levels is None else (_recoded(codes, own, levels, name), levels)
    if levels is None and own is not None:
        levels = _as_levels(own)
    column = without_dictionary(column)
    values = column.to_numpy() if hasattr(column, "to_numpy") else np.asarray(column)
    if values.dtype.kind == "c":
        raise ValueError(
            f"X: found complex numbers in {name}; expected integers, strings or "
            "categories. Complex data not supported"
        )
    if values.dtype.kind == "b":
        values = values.astype(np.int64)
        own = np.array([False, True])[: values.max(initial=0) + 1]
        own = own[np.isin(own, values)]
        if levels is None:
            return np.searchsorted(own, values), own
        if levels.dtype.kind in "biuf":
            return _of_numbers(values, levels.astype(np.int64), name), levels
        return _of_objects(values.astype(bool).astype(object), levels, name)
    if values.dtype.kind == "O" and _are_numbers(values):
        values = np.array([np.nan if is_missing(v) else float(v) for v in values])
    if values.dtype.kind in "iuf":
        numbers = _integers(values, name)
        if levels is None:
            levels = _present(numbers)
        if levels.dtype.kind in "biuf":
            return _of_numbers(numbers, levels, name), levels
        values = values.astype(object)
    return _of_objects(values.astype(object), levels, name)


def _are_numbers(values: np.ndarray) -> bool:
    return all(
        (isinstance(v, int | float | np.number) and not isinstance(v, bool)) or is_missing(v)
        for v in values
    )


def _integers(values: np.ndarray, name: str) -> np.ndarray:
    """Numbers as int64, -1 where missing."""
    if values.dtype.kind == "f":
        missing = np.isnan(values)
        numbers = np.where(missing, 0, values)
        wrong = ~((numbers == np.rint(numbers)) & (np.abs(numbers) < 2**53))
    else:
        missing, numbers = None, values
        wrong = values > np.iinfo(np.int64).max
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"X: found {values[row]} in {name}, row {row}; expected integers below 2^63, strings "
            "or categories"
        )
    if (numbers < 0).any():
        row = int((numbers < 0).argmax())
        raise ValueError(
            f"X: found {values[row]} in {name}, row {row}; expected integers from 0 on, "
            "and None, NaN or NA where a value is missing"
        )
    numbers = numbers.astype(np.int64)
    if missing is not None:
        numbers[missing] = -1
    return numbers


def _present(numbers: np.ndarray) -> np.ndarray:
    """The different numbers that are not missing, sorted."""
    if numbers.max(initial=-1) < MOST_COUNTED:
        return np.flatnonzero(np.bincount(numbers + 1)[1:])
    return np.unique(numbers[numbers >= 0])


def _of_numbers(numbers: np.ndarray, levels: np.ndarray, name: str) -> np.ndarray:
    """The place of every number among the levels."""
    order = np.argsort(levels, kind="stable")
    at = np.minimum(np.searchsorted(levels, numbers, sorter=order), max(len(levels) - 1, 0))
    codes = order[at] if len(levels) else np.full(len(numbers), -1)
    missing = numbers < 0
    unseen = ~missing & (levels[codes] != numbers if len(levels) else True)
    if unseen.any():
        row = int(unseen.argmax())
        raise _unseen(numbers[row], name, row, levels)
    return np.where(missing, -1, codes)


def _of_objects(
    values: np.ndarray, levels: np.ndarray | None, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Codes and levels of values of any type."""
    known = {} if levels is None else {level: i for i, level in enumerate(levels.tolist())}
    present = [None if is_missing(value) else value for value in values.tolist()]
    if levels is None:
        different = set(present) - {None}
        kinds = sorted({type(value).__name__ for value in different})
        try:
            ordered = sorted(different)
        except TypeError as error:
            raise TypeError(
                f"X: found values of types {kinds} in {name}; expected values that can be sorted"
            ) from error
        levels = np.array(ordered, dtype=str if kinds == ["str"] else object)
        known = {level: i for i, level in enumerate(ordered)}
    codes = np.array([-1 if v is None else known.get(v, -2) for v in present], np.int64)
    if (codes == -2).any():
        row = int((codes == -2).argmax())
        raise _unseen(present[row], name, row, levels)
    return codes, levels


def _recoded(codes: np.ndarray, own: np.ndarray, levels: np.ndarray, name: str) -> np.ndarray:
    """Codes among `levels` of codes among the categories of a dtype."""
    known = {level: i for i, level in enumerate(levels.tolist())}
    table = np.array([known.get(value, -2) for value in own.tolist()] + [-1], np.int64)
    recoded = table[codes]
    if (recoded == -2).any():
        row = int((recoded == -2).argmax())
        raise _unseen(own[codes[row]], name, row, levels)
    return recoded


def _unseen(value: Any, name: str, row: int, levels: np.ndarray) -> ValueError:
    value = value.item() if isinstance(value, np.generic) else value
    shown = ", ".join(repr(level) for level in levels[:SHOWN].tolist())
    more = ", ..." if len(levels) > SHOWN else ""
    return ValueError(
        f"X: found {value!r} in {name}, row {row}, which is not among its categories; "
        f"expected one of {shown}{more}"
    )
