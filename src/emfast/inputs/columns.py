"""Columns of X as people name them."""

from collections.abc import Iterable, Mapping, Set
from numbers import Integral, Real
from typing import Any

import numpy as np

from emfast.inputs.labels import is_missing


def column_position(argument: str, column: Any, n_features: int, names: np.ndarray | None) -> int:
    """The position of a column that is given by name or position.

    Parameters
    ----------
    argument : str, what to call the argument in errors
    column : str or int; negative positions count from the last
    n_features : int
    names : ndarray of shape (n_features,) of str, or None

    Raises
    ------
    ValueError
        There is no such column.
    TypeError
        Neither a name nor a position.
    """
    if isinstance(column, str):
        found = [] if names is None else np.flatnonzero(names == column)
        if not len(found):
            expected = "positions, for the model was fitted without names"
            if names is not None:
                expected = f"names among {names.tolist()}"
            raise ValueError(f"{argument}: found {column!r}; expected {expected}")
        return int(found[0])
    if not isinstance(column, Integral) or isinstance(column, bool | np.bool_):
        raise TypeError(f"{argument}: found {column!r}; expected names or positions of columns")
    if not -n_features <= column < n_features:
        raise ValueError(
            f"{argument}: found position {column}; expected {-n_features} to {n_features - 1}"
        )
    return int(column) % n_features


def column_positions(
    argument: str, columns: Any, n_features: int, names: np.ndarray | None
) -> np.ndarray:
    """Positions of columns that are given by names, positions, a slice or a boolean mask.

    Returns
    -------
    ndarray of shape (n_columns,), int, in the order given

    Raises
    ------
    ValueError, TypeError
        There are no such columns, none at all, or one of them twice.
    """
    if isinstance(columns, slice):
        columns = range(n_features)[columns]
    elif isinstance(columns, str) or not isinstance(columns, Iterable):
        columns = [columns]
    elif np.asarray(columns).dtype == bool:
        if np.shape(columns) != (n_features,):
            raise ValueError(
                f"{argument}: found a mask of shape {np.shape(columns)}; expected ({n_features},)"
            )
        columns = np.flatnonzero(columns)
    return _each_once(argument, columns, n_features, names)


def _each_once(
    argument: str, columns: Iterable, n_features: int, names: np.ndarray | None
) -> np.ndarray:
    """Positions of one or more columns that are given by names or positions."""
    positions = [column_position(argument, each, n_features, names) for each in columns]
    if not positions:
        raise ValueError(f"{argument}: found no columns; expected at least one")
    different, first, counts = np.unique(positions, return_index=True, return_counts=True)
    if counts.max() > 1:
        twice = different[counts > 1][first[counts > 1].argmin()]
        raise ValueError(f"{argument}: found column {twice} twice; expected each once")
    return np.array(positions)


def column_values(
    argument: str, given: Any, n_features: int, names: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and values of columns that are given as a mapping of column to value.

    Returns
    -------
    positions : ndarray of shape (n_given,), int
    values : ndarray of shape (n_given,), object

    Raises
    ------
    ValueError, TypeError
        There are no such columns, none at all, or one of them twice; a value is missing, not
        finite, or more than one.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"{argument}: found {given!r}; expected a mapping of columns to values")
    positions = _each_once(argument, given, n_features, names)
    values = np.empty(len(positions), object)
    for i, (column, value) in enumerate(given.items()):
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value[()]
        several = np.ndim(value) > 0 or isinstance(value, Mapping | Set)
        if several or isinstance(value, np.datetime64 | np.timedelta64):
            raise TypeError(
                f"{argument}: found {value!r} for {column!r}; expected one number or level"
            )
        if is_missing(value) or (isinstance(value, Real) and not np.isfinite(value)):
            raise ValueError(
                f"{argument}: found {value!r} for {column!r}; expected a finite value, and no "
                "entry for a column without one"
            )
        values[i] = value
    return positions, values


def columns_apart(X: Any, **given: Any) -> tuple[Any, ...]:
    """A table without the columns that stand for arguments, and what these arguments are.

    Parameters
    ----------
    X : table or array
    **given : by argument its values, or the name of a column of X

    Returns
    -------
    X : the rest of the table
    *values : the arguments, in their order

    Raises
    ------
    ValueError
        X has no names of columns, or not this one, or no other one.
    """
    names = {argument: value for argument, value in given.items() if isinstance(value, str)}
    if not names:
        return X, *given.values()
    columns = getattr(X, "column_names", getattr(X, "columns", None))
    for argument, name in names.items():
        if columns is None:
            raise ValueError(
                f"{argument}: found {name!r}; expected an entry for each row, or the name of a "
                f"column, but a {type(X).__name__} has no names of columns"
            )
        if name not in list(columns):
            raise ValueError(
                f"{argument}: found {name!r}; expected the name of a column, one of {list(columns)}"
            )
    apart = set(names.values())
    rest = [name for name in columns if name not in apart]
    if not rest:
        raise ValueError(f"X: found no columns but {sorted(apart)}; expected features")
    values = {argument: X[name] for argument, name in names.items()}
    rows = X.select(rest) if hasattr(X, "select") else X[rest]
    return rows, *({**given, **values}).values()
