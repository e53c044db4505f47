"""Labels that are partly missing: what each row's label says of its component."""

from collections.abc import Hashable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of each row's component; nothing by default.

    Attributes
    ----------
    component : ndarray of shape (n_rows,), int32, the component or -1 where missing, or None
    allowed : ndarray of shape (n_rows, n_components), uint8, components a row may have, or None
    classes : ndarray of shape (n_classes,), names of the first components, or None
    """

    component: np.ndarray | None = None
    allowed: np.ndarray | None = None
    classes: np.ndarray | None = None

    @property
    def nothing_known(self) -> bool:
        return self.component is None and self.allowed is None

    def take(self, rows: np.ndarray) -> "Labels":
        return Labels(
            None if self.component is None else self.component[rows],
            None if self.allowed is None else self.allowed[rows],
            self.classes,
        )

    def known(self, n_rows: int) -> np.ndarray:
        """The component of every row that has only one possible, else -1."""
        if self.component is not None:
            return self.component
        if self.allowed is not None:
            single = self.allowed.sum(axis=1) == 1
            return np.where(single, self.allowed.argmax(axis=1), -1).astype(np.int32)
        return np.full(n_rows, -1, np.int32)


NOTHING_KNOWN = Labels()


def encode_labels(labels: Any, n_rows: int, n_components: int) -> Labels:
    """Labels as component indices or as sets of allowed components.

    Parameters
    ----------
    labels : array-like of shape (n_rows,), or boolean array of shape (n_rows, n_components)
        Integers (and integral floats) are component indices, -1 missing. Other hashables are
        sorted to components 0, 1, ...; a categorical dtype keeps its order. None, NaN and
        pandas.NA are missing. A boolean array holds the components each row may have.
    n_rows, n_components : int

    Returns
    -------
    Labels

    Raises
    ------
    ValueError
        Wrong length or shape, more classes than components, an index out of range, or a row of a
        boolean array that allows nothing.
    TypeError
        Values that cannot be sorted to components.
    """
    if labels is None:
        return NOTHING_KNOWN
    categories = _categories(labels)
    values = np.asarray(labels)
    if values.ndim == 2:
        return _encode_mask(values, n_rows, n_components)
    if values.ndim != 1 or values.shape[0] != n_rows:
        raise ValueError(
            f"labels: expected one entry for each of the {n_rows} rows of X, or a boolean array of "
            f"shape ({n_rows}, {n_components}); found shape {values.shape}"
        )
    missing = _missing(values)
    if categories is not None:
        return _encode_classes(values, missing, categories, n_components)
    indices = _as_integers(values, missing)
    if indices is not None:
        return _encode_indices(indices, n_components)
    return _encode_classes(values, missing, _sorted_classes(values[~missing]), n_components)


def _encode_mask(values: np.ndarray, n_rows: int, n_components: int) -> Labels:
    if values.dtype != bool or values.shape != (n_rows, n_components):
        raise ValueError(
            "labels: expected two dimensions to be a boolean array of shape "
            f"({n_rows}, {n_components}), the components each row may have; "
            f"found {values.dtype} of shape {values.shape}"
        )
    nothing = np.flatnonzero(~values.any(axis=1))
    if nothing.size:
        raise ValueError(f"labels: row {nothing[0]} allows no component; expected at least one")
    return Labels(allowed=np.ascontiguousarray(values).view(np.uint8))


def _encode_indices(indices: np.ndarray, n_components: int) -> Labels:
    wrong = np.flatnonzero((indices < -1) | (indices >= n_components))
    if wrong.size:
        raise ValueError(
            f"labels: integers are component indices 0 to {n_components - 1} with -1 for missing; "
            f"found {indices[wrong[0]]} in row {wrong[0]}"
        )
    return Labels(component=np.ascontiguousarray(indices, np.int32))


def _encode_classes(
    values: np.ndarray, missing: np.ndarray, classes: np.ndarray, n_components: int
) -> Labels:
    if len(classes) > n_components:
        shown = ", ".join(repr(name) for name in classes[:5].tolist())
        raise ValueError(
            f"labels: found {len(classes)} classes ({shown}, ...) for n_components={n_components}; "
            "expected at most one class for each component"
        )
    code: dict[Hashable, int] = {name: i for i, name in enumerate(classes.tolist())}
    component = np.full(values.shape[0], -1, np.int32)
    component[~missing] = [code[value] for value in values[~missing].tolist()]
    return Labels(component=component, classes=classes)


def _categories(labels: Any) -> np.ndarray | None:
    """The categories, in their order, of a pandas categorical."""
    categories = getattr(getattr(labels, "dtype", None), "categories", None)
    return None if categories is None else np.asarray(categories)


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, Real) and value != value


def _missing(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "O":
        return np.fromiter((_is_missing(value) for value in values), bool, values.shape[0])
    return np.zeros(values.shape[0], bool)


def _as_integers(values: np.ndarray, missing: np.ndarray) -> np.ndarray | None:
    """Component indices, if that is what the values are, with -1 where missing."""
    present = values[~missing]
    if values.dtype.kind == "O":
        if not all(_is_number(value) for value in present):
            return None
        present = present.astype(float)
    elif values.dtype.kind not in "iuf":
        return None
    if not np.all(present == np.rint(present)):
        raise ValueError(
            "labels: numbers are component indices and must be integral; "
            f"found {present[present != np.rint(present)][0]}"
        )
    indices = np.full(values.shape[0], -1, np.int64)
    indices[~missing] = np.clip(present, -(2.0**31), 2.0**31)
    return indices


def _is_number(value: Any) -> bool:
    return isinstance(value, Integral | float) and not isinstance(value, bool | np.bool_)


def _sorted_classes(present: np.ndarray) -> np.ndarray:
    try:
        return np.unique(present)
    except TypeError as error:
        kinds = sorted({type(value).__name__ for value in present})
        raise TypeError(
            f"labels: values of types {kinds} cannot be sorted to components"
        ) from error
