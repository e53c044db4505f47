"""Classes of rows, some of which are missing, in whatever portions they come."""

import warnings
from collections import Counter
from numbers import Real
from typing import Any

import numpy as np
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.multiclass import check_classification_targets

from emfast.inputs.labels import are_integers, as_array, is_missing, missing_entries, sorted_classes


class Classes:
    """The different classes that rows of positive weight have, and how many have each.

    Attributes
    ----------
    n_missing : int, rows of positive weight whose class is missing

    Parameters
    ----------
    missing_label : object, what says that a class is missing, besides None, NaN, NaT and NA
    """

    def __init__(self, missing_label: Any):
        self.missing_label, self.n_missing = missing_label, 0
        self._counts: Counter[Any] = Counter()
        self._types: set[np.dtype] = set()

    def add(self, y: Any, n_rows: int, weights: np.ndarray | None) -> None:
        """The classes of some rows.

        Raises
        ------
        ValueError, TypeError
            Not as many as rows, or nothing that could be classes.
        """
        values = one_dimensional(y, n_rows)
        if values.dtype.kind == "c":
            raise ValueError("y: Complex data not supported: expected classes")
        counted = np.ones(n_rows, bool) if weights is None else weights > 0
        known = counted & ~self.missing(values)
        self.n_missing += int(counted.sum() - known.sum())
        present = values[known]
        if not present.size:
            return
        if present.dtype.kind == "O":
            self._types.add(sorted_classes(present, "y").dtype)
            self._counts.update(present.tolist())
            return
        names, counts = np.unique(present, return_counts=True)
        if names.dtype.kind == "f" and are_integers(y):
            names = _as_integers(names)
        self._types.add(names.dtype)
        self._counts.update(dict(zip(names.tolist(), counts.tolist(), strict=True)))

    def found(self) -> tuple[np.ndarray, np.ndarray]:
        """The classes, sorted, and how many rows have each.

        Raises
        ------
        ValueError
            There is none, or they are no classes.
        """
        if not self._counts:
            raise ValueError(
                "y: the class of every row of positive weight is missing (None, NaN or "
                f"missing_label={self.missing_label!r}); expected at least one class"
            )
        names = np.empty(len(self._counts), object)
        names[:] = list(self._counts)
        names = sorted_classes(names, "y")
        counts = np.array([self._counts[name] for name in names.tolist()])
        classes = np.array(names.tolist())
        if np.dtype(object) not in self._types:
            classes = classes.astype(np.result_type(*self._types))
        if classes.dtype.kind == "f" and not np.isfinite(classes).all():
            raise ValueError("y: found infinity; expected classes")
        # Which warns of classes that are almost as many as rows.
        check_classification_targets(np.repeat(classes, np.minimum(counts, 2)))
        return classes, counts

    def codes(self, y: Any, n_rows: int, classes: np.ndarray) -> np.ndarray:
        """The index among all classes of every row's, or -1 where there is none; (n_rows,)."""
        values = one_dimensional(y, n_rows, warn=False)
        known = np.flatnonzero(~self.missing(values))
        codes = np.full(n_rows, -1)
        if values.dtype.kind == "O":
            of_name = {name: code for code, name in enumerate(classes.tolist())}
            codes[known] = [of_name.get(value, -1) for value in values[known].tolist()]
            return codes
        at = np.searchsorted(classes, values[known])
        at[at == len(classes)] = 0
        codes[known] = np.where(classes[at] == values[known], at, -1)
        return codes

    def missing(self, values: np.ndarray) -> np.ndarray:
        """Which entries of `y` say that the class is missing, (n_rows,), bool."""
        missing, label = missing_entries(values), self.missing_label
        if is_missing(label):
            return missing
        if values.dtype.kind == "O":
            known = np.flatnonzero(~missing)
            missing[known] = [bool(value == label) for value in values[known]]
            return missing
        kinds = (
            "US" if isinstance(label, str | bytes) else "biuf" if isinstance(label, Real) else ""
        )
        return missing | (values == label) if values.dtype.kind in kinds else missing


def one_dimensional(y: Any, n_rows: int, *, warn: bool = True) -> np.ndarray:
    """y as an array with an entry for every row, its missing ones still what they were."""
    if y is None:
        raise ValueError(
            "y: MixtureClassifier requires y to be passed, but the target y is None; expected a "
            "class for each row, missing for some"
        )
    values = as_array(y, "y")
    if values.ndim == 2 and values.shape[1] == 1:
        if warn:
            warnings.warn(
                "A column-vector y was passed when a 1d array was expected. Please change the "
                "shape of y to (n_samples,), for example using ravel().",
                DataConversionWarning,
                stacklevel=4,
            )
        values = values[:, 0]
    if values.shape != (n_rows,):
        raise ValueError(
            f"y: found shape {values.shape}; expected ({n_rows},), a class for each row of X"
        )
    return values


def _as_integers(classes: np.ndarray) -> np.ndarray:
    """Integers that missing ones beside them have made floats."""
    if abs(classes).max() >= 2.0**53:
        raise ValueError(
            "y: found integers beyond 2^53 beside missing ones, which floats would confuse; "
            "expected smaller ones, or strings"
        )
    return classes.astype(np.int64)
