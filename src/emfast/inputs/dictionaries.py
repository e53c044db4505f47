"""Columns whose type has categories: those of pandas and Polars, and dictionaries of Arrow."""

from typing import Any

import numpy as np


def has_dictionary(values: Any) -> bool:
    """Whether it is an Arrow array of indices into a dictionary."""
    return str(getattr(values, "type", "")).startswith("dictionary")


def without_dictionary(values: Any) -> Any:
    """An Arrow array with the values that its indices stand for, anything else as it is.

    Arrow's own conversion to NumPy takes a null for the last value of a dictionary.
    """
    return values.cast(values.type.value_type) if has_dictionary(values) else values


def without_dictionaries(table: Any) -> Any:
    """An Arrow table whose columns are `without_dictionary`, anything else as it is."""
    if not hasattr(table, "schema") or not hasattr(table, "set_column"):
        return table
    for j, name in enumerate(table.column_names):
        column = table.column(j)
        if has_dictionary(column):
            table = table.set_column(j, name, without_dictionary(column))
    return table


def categories_of(values: Any) -> np.ndarray | None:
    """The categories, in their order, of a type that has an order of them."""
    if has_dictionary(values):
        return _of_dictionary(values) if values.type.ordered else None
    categories = getattr(getattr(values, "dtype", None), "categories", None)
    if categories is None:
        return None
    categories = np.asarray(categories)
    return categories if categories.ndim == 1 else None


def _of_dictionary(values: Any) -> np.ndarray:
    if hasattr(values, "chunks"):
        # Each chunk has a dictionary of its own.
        chunks = values.unify_dictionaries().chunks
        if not chunks:
            return np.empty(0, object)
        values = chunks[0]
    return np.asarray(values.dictionary)
