"""Labels that are partly missing: what each row's label says of its component."""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from emfast.inputs.dictionaries import categories_of, without_dictionary


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
    def n_rows(self) -> int | None:
        """How many rows there are labels of; None where nothing is known of any."""
        known = self.component if self.allowed is None else self.allowed
        return None if known is None else len(known)

    @property
    def nothing_known(self) -> bool:
        return self.component is None and self.allowed is None

    def allows(self, chunk: slice, shape: tuple[int, int]) -> np.ndarray:
        """Which components the labels of some rows allow, of the given shape."""
        if self.allowed is not None:
            return self.allowed[chunk] > 0
        if self.component is not None:
            component = self.component[chunk, None]
            return (component < 0) | (component == np.arange(shape[1]))
        return np.ones(shape, bool)

    def restricts(self, n_rows: int) -> np.ndarray:
        """Which rows have a label that excludes some component, (n_rows,), bool."""
        if self.allowed is not None:
            return ~self.allowed.all(axis=1)
        return self.known(n_rows) >= 0

    def groups(self, n_rows: int) -> np.ndarray:
        """The first component that each row may have, -1 where its label excludes none.

        It tells apart known components, and classes of components that have none in common.
        """
        if self.allowed is None:
            return self.known(n_rows)
        return np.where(self.allowed.all(axis=1), -1, self.allowed.argmax(axis=1))

    def take(self, rows: np.ndarray | slice) -> "Labels":
        return Labels(
            None if self.component is None else self.component[rows],
            None if self.allowed is None else self.allowed[rows],
            self.classes,
        )

    def without_noise(self, n_components: int) -> "Labels":
        """The same of the components before that of noise; nothing of rows of noise."""
        component, allowed = self.component, self.allowed
        if component is not None:
            component = np.where(component < n_components, component, -1).astype(np.int32)
        if allowed is not None:
            noise = ~allowed[:, :n_components].any(axis=1, keepdims=True)
            allowed = np.ascontiguousarray(allowed[:, :n_components] | noise, np.uint8)
        return Labels(component, allowed, self.classes)

    def known(self, n_rows: int) -> np.ndarray:
        """The component of every row that has only one possible, else -1."""
        if self.component is not None:
            return self.component
        if self.allowed is not None:
            single = self.allowed.sum(axis=1) == 1
            return np.where(single, self.allowed.argmax(axis=1), -1).astype(np.int32)
        return np.full(n_rows, -1, np.int32)


NOTHING_KNOWN = Labels()


def encode_labels(
    labels: Any,
    n_rows: int,
    n_components: int,
    classes: np.ndarray | None = None,
    noise: bool = False,
) -> Labels:
    """Labels as component indices or as sets of allowed components.

    Parameters
    ----------
    labels : array-like of shape (n_rows,), or boolean array of shape (n_rows, n_components)
        Integers (and integral floats) are component indices, -1 missing. Other hashables are
        sorted to components 0, 1, ...; a categorical dtype keeps its order. None, NaN and
        pandas.NA are missing. A boolean array holds the components each row may have.
    n_rows, n_components : int
    classes : ndarray of shape (n_classes,), optional
        Names that the first components have already; there are no others then.
    noise : bool, default=False
        Whether there is a component more, the last one, whose index is -2.

    Returns
    -------
    Labels

    Raises
    ------
    ValueError
        Wrong length or shape, more classes than components, a name that is none of the `classes`,
        an index out of range, or a row of a boolean array that allows nothing.
    TypeError
        Values that cannot be sorted to components.
    """
    if labels is None:
        return NOTHING_KNOWN
    categories = categories_of(labels)
    values = as_array(labels)
    if values.ndim == 2:
        return _encode_mask(values, n_rows, n_components + noise)
    if values.shape != (n_rows,):
        raise ValueError(
            f"labels: expected one entry for each of the {n_rows} rows of X, or a boolean array of "
            f"shape ({n_rows}, {n_components + noise}); found shape {values.shape}"
        )
    missing = missing_entries(values)
    if categories is None and _are_numbers(values, missing):
        return _encode_indices(values, missing, n_components, noise)
    if classes is not None:
        return _encode_known_classes(values, missing, classes)
    if categories is None:
        categories = sorted_classes(values[~missing])
    return _encode_classes(values, missing, categories, n_components)


def as_array(labels: Any, called: str = "labels") -> np.ndarray:
    """Labels as an array whose missing entries are still what they were."""
    if isinstance(labels, list | tuple):
        try:
            values = np.asarray(labels, dtype=object)
        except ValueError as error:
            raise ValueError(
                f"{called}: expected one label for each row; found ragged lists ({error})"
            ) from error
        return values if values.ndim < 2 else np.asarray(labels)
    if isinstance(labels, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(labels), None, labels.data.astype(object))
    values = np.asarray(without_dictionary(labels))
    # A string dtype with a missing value of its own.
    return values.astype(object) if values.dtype.kind == "T" else values


def are_integers(labels: Any) -> bool:
    """Whether the type is one of integers, some of which may be missing."""
    kind = getattr(labels, "dtype", getattr(without_dictionary(labels), "type", ""))
    return re.match(r"u?int\d", str(kind), re.IGNORECASE) is not None


def _encode_mask(values: np.ndarray, n_rows: int, n_components: int) -> Labels:
    if values.dtype.kind == "O" and all(isinstance(v, bool | np.bool_) for v in values.flat):
        values = values.astype(bool)
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


def _encode_indices(
    values: np.ndarray, missing: np.ndarray, n_components: int, noise: bool
) -> Labels:
    present = np.flatnonzero(~missing)
    indices = values[present].astype(np.float64)
    right = (indices == np.rint(indices)) & (indices >= -1 - noise) & (indices < n_components)
    if not right.all():
        row = present[~right][0]
        raise ValueError(
            f"labels: numbers are component indices: expected integers 0 to {n_components - 1}, or "
            f"-1 for missing{', -2 for noise' if noise else ''}; found {values[row]} in row {row}"
        )
    indices[indices == -2] = n_components
    component = np.full(values.shape[0], -1, np.int32)
    component[present] = indices
    return Labels(component=component)


def _encode_classes(
    values: np.ndarray, missing: np.ndarray, classes: np.ndarray, n_components: int
) -> Labels:
    if len(classes) > n_components:
        shown = ", ".join(repr(name) for name in classes[:5].tolist())
        more = ", ..." if len(classes) > 5 else ""
        raise ValueError(
            f"labels: found {len(classes)} classes ({shown}{more}) for n_components="
            f"{n_components}; expected at most one class for each component"
        )
    return _encode_known_classes(values, missing, classes)


def _encode_known_classes(values: np.ndarray, missing: np.ndarray, classes: np.ndarray) -> Labels:
    code: dict[Hashable, int] = {name: i for i, name in enumerate(classes.tolist())}
    component = np.full(values.shape[0], -1, np.int32)
    present = np.flatnonzero(~missing)
    try:
        component[present] = [code.get(value, -1) for value in values[present].tolist()]
    except TypeError as error:
        raise TypeError(f"labels: expected names or numbers ({error})") from error
    unknown = present[component[present] < 0]
    if unknown.size:
        if not len(classes):
            expected = "component indices, for components had no names in the fit"
        else:
            expected = f"the names that components had in the fit, {classes.tolist()}"
        raise ValueError(
            f"labels: found {values[unknown[0]]!r} in row {unknown[0]}; expected {expected}"
        )
    return Labels(component=component, classes=classes)


def label_names(labels: Any) -> np.ndarray | None:
    """The different names that labels are, in their order; None of numbers and masks."""
    categories = categories_of(labels)
    values = as_array(labels)
    if values.ndim != 1:
        return None
    missing = missing_entries(values)
    if categories is None and not missing.all() and _are_numbers(values, missing):
        return None
    return sorted_classes(values[~missing]) if categories is None else categories


def missing_entries(values: np.ndarray) -> np.ndarray:
    """Which entries are None, NaN, NaT or NA, (n_rows,), bool."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype.kind == "O":
        return np.fromiter((is_missing(value) for value in values), bool, values.shape[0])
    return np.zeros(values.shape[0], bool)


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, NaT or NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, Real) and value != value


def _are_numbers(values: np.ndarray, missing: np.ndarray) -> bool:
    if values.dtype.kind == "O":
        return all(
            isinstance(value, Real) and not isinstance(value, bool) for value in values[~missing]
        )
    return values.dtype.kind in "iuf"


def sorted_classes(present: np.ndarray, called: str = "labels") -> np.ndarray:
    """The different values, sorted; strings as an array of strings."""
    kinds = sorted({type(value).__name__ for value in present})
    if "tuple" in kinds:
        raise TypeError(f"{called}: found tuples; expected one name or number for each row")
    try:
        classes = sorted(set(present.tolist()))
    except TypeError as error:
        raise TypeError(
            f"{called}: expected values that can be sorted; found {kinds} ({error})"
        ) from error
    return np.array(classes, dtype=str if kinds == ["str"] else present.dtype)
