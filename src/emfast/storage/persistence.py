"""Fitted models as files: NumPy arrays with a JSON header, never pickle.

What a file is, `archive` says; what it keeps of which estimator, the estimators and emissions say
themselves, in terms of `stored`. Here values become JSON and arrays, and are made again: only
estimators that `emfast` exports and emissions that `emfast.emissions` exports, by their own
constructors, and nothing else is executed.

A value of Python is in the header as JSON has it, or as an object with one key, which says what it
is: ``{"array": name of the entry}``, ``{"values": [...]}`` (an array of objects), ``{"tuple":
[...]}``, ``{"set": [...]}``, ``{"named": {...}}`` (a mapping of strings, a dataclass),
``{"mapping": [[key, value], ...]}``, ``{"slice": [...]}``, ``{"float": "nan"}``, or ``{"object":
{"class": ..., "parameters": {...}, "state": {...}}}``, without a state if it is not fitted.

A `RandomState` among the arguments is a stream and not a value: it is stored as None.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from inspect import signature
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

import emfast
from emfast import emissions
from emfast.emissions.base import Emission
from emfast.inputs.labels import is_missing
from emfast.statistics import Statistics
from emfast.storage import archive
from emfast.storage.archive import Arrays, check_writable
from emfast.storage.stored import Storable, checked_all
from emfast.storage.stored_statistics import StoredStatistics, told_of

__all__ = [
    "check_writable",
    "classes",
    "described_statistics",
    "load",
    "made_statistics",
    "save",
]


def classes() -> dict[str, type]:
    """The estimators and emissions that files may have, by name."""
    public = [getattr(emfast, name) for name in emfast.__all__]
    estimators = [each for each in public if isinstance(each, type) and issubclass(each, Storable)]
    found = [*estimators, *(getattr(emissions, name) for name in emissions.__all__)]
    return {each.__name__: each for each in found}


def save(estimator: BaseEstimator, path: str | os.PathLike) -> None:
    """Write a fitted model to a file: see the method `save` of every estimator.

    Parameters
    ----------
    estimator : one of the package
    path : str or path-like

    Raises
    ------
    TypeError, ValueError, sklearn.exceptions.NotFittedError, OSError
    """
    if not isinstance(estimator, Storable):
        raise TypeError(f"cannot store {type(estimator)!r}; expected an estimator of emfast")
    arrays: Arrays = {}
    described = _described(estimator, "", arrays, fitted=True)
    # What could not be read is not written.
    _made(described, dict(arrays))
    archive.write(path, described, arrays)


def load(path: str | os.PathLike) -> Any:
    """Read a fitted model, or `Statistics`, that the method `save` has written.

    Nothing in the file is executed.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    the estimator, or the statistics
        Predicts the same bits as the one saved, and a warm start or `partial_fit` goes on where
        that would. A `RandomState` among its arguments has become None.

    Raises
    ------
    ValueError
        The file is damaged, of another kind, or of a newer format; the message says which.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> import emfast
    >>> X = [[1.0], [1.2], [0.8], [9.0], [9.3], [8.7]]
    >>> mixture = emfast.GaussianMixture(2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mixture.save(os.path.join(folder, "mixture.npz"))
    ...     again = emfast.load(os.path.join(folder, "mixture.npz"))
    >>> bool(again.score(X) == mixture.score(X))
    True
    """
    described, arrays = archive.read(path)
    if "checkpoint" in described:
        raise ValueError(f"{path}: found the checkpoint of a fit; expected a saved model")
    if "statistics" in described:
        return made_statistics(described, arrays, path)
    with _all_used(arrays, f"{path}: not a valid emfast model"):
        estimator = _made(described, arrays)
        if not isinstance(estimator, Storable) or "state" not in described:
            raise ValueError("found no fitted estimator")
    return estimator


@contextmanager
def _all_used(arrays: Arrays, otherwise: str) -> Iterator[None]:
    """What is made in the block takes all arrays; errors say what else has been found."""
    try:
        yield
        if arrays:
            raise ValueError(f"unknown arrays {sorted(arrays)}")
    except Exception as error:
        # Constructors and NumPy are given whatever the file says; the list of errors is open.
        raise ValueError(f"{otherwise} ({archive.in_one_line(error)})") from error


# Statistics


def described_statistics(statistics: Statistics) -> tuple[dict[str, Any], Arrays]:
    """Statistics as a header and arrays."""
    arrays: Arrays = {}
    told = encode(statistics, "statistics", arrays, fitted=True)
    return {"statistics": told}, arrays


def made_statistics(described: dict[str, Any], arrays: Arrays, called: Any) -> Statistics:
    """Statistics from header and arrays; messages call what had these as said."""
    with _all_used(arrays, f"{called}: not valid statistics of emfast"):
        if described.keys() != {"statistics"}:
            raise ValueError(f"expected only statistics; found {sorted(described)}")
        statistics = decode(described["statistics"], arrays)
        return StoredStatistics().checked("statistics", statistics, {})


# Writing


def _described(made: Any, path: str, arrays: Arrays, *, fitted: bool) -> dict[str, Any]:
    """An estimator or emission as JSON, and its arrays by the way that leads to them."""
    name = type(made).__name__
    if classes().get(name) is not type(made):
        raise TypeError(f"cannot store {type(made)!r}; expected one of {sorted(classes())}")
    arguments = made.arguments() if isinstance(made, Emission) else made._arguments()
    described = {
        "class": name,
        "parameters": {
            key: encode(value, f"{path}parameters.{key}", arrays, fitted=False)
            for key, value in arguments.items()
        },
    }
    if fitted:
        check_is_fitted(made)
        described["state"] = {
            key: encode(value, f"{path}{key}", arrays, fitted=True)
            for key, value in made._state().items()
        }
    return described


def encode(value: Any, path: str, arrays: Arrays, *, fitted: bool) -> Any:
    """A value as the header has it; its arrays are added under names that begin with `path`."""

    def encoded(key: Any, item: Any) -> Any:
        return encode(item, f"{path}.{key}", arrays, fitted=fitted)

    def encoded_items(items: Any) -> list:
        return [encoded(number, item) for number, item in enumerate(items)]

    if isinstance(value, Statistics):
        value = told_of(value)
    if isinstance(value, Storable | Emission):
        return {"object": _described(value, f"{path}.", arrays, fitted=fitted)}
    if hasattr(value, "__array__") and np.ndim(value) > 0:
        return _encoded_array(np.asarray(value), path, arrays)
    if isinstance(value, slice):
        return {"slice": encoded_items([value.start, value.stop, value.step])}
    if isinstance(value, list):
        return encoded_items(value)
    if isinstance(value, set | frozenset):
        return {"set": encoded_items(sorted(value, key=repr))}
    if is_dataclass(value):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, tuple):
        return {"tuple": encoded_items(value)}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        # Any string may be a key, but not in the name of an entry.
        keys = {key: key if re.fullmatch(r"[\w.]+", key, re.ASCII) else "value" for key in value}
        return {"named": {key: encoded(keys[key], item) for key, item in value.items()}}
    if isinstance(value, Mapping):
        return {"mapping": [encoded_items(pair) for pair in value.items()]}
    return _encoded_scalar(value, path)


def _encoded_array(array: np.ndarray, path: str, arrays: Arrays) -> Any:
    if array.dtype.kind in archive.KINDS:
        while path in arrays:
            path += "_"
        arrays[path] = array
        return {"array": path}
    if array.ndim == 1 and array.dtype.kind == "O":
        return {"values": [_encoded_scalar(value, path) for value in array]}
    return [
        _encoded_array(row, path, arrays) if row.ndim else _encoded_scalar(row.item(), path)
        for row in map(np.asarray, array)
    ]


def _encoded_scalar(value: Any, path: str) -> Any:
    if isinstance(value, np.random.RandomState):
        return None
    if hasattr(value, "__array__"):
        value = np.asarray(value).item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        value = float(value)
        return value if np.isfinite(value) else {"float": str(value)}
    if is_missing(value):
        return None
    raise TypeError(
        f"{path}: cannot store {value!r} of {type(value)}; expected None, strings, numbers, "
        "arrays, or lists or mappings of these"
    )


# Reading


def _made(described: Any, arrays: Arrays) -> Any:
    """The estimator or emission that is described, which takes its arrays away from `arrays`."""
    unknown = sorted(described.keys() - {"class", "parameters", "state"})
    if unknown:
        raise ValueError(f"unknown entries {unknown}")
    kind = classes().get(described["class"])
    if kind is None:
        raise ValueError(f"class {described['class']!r}; expected one of {sorted(classes())}")
    parameters = _decoded_items(described["parameters"], arrays)
    unknown = sorted(parameters.keys() - signature(kind).parameters.keys())
    if unknown:
        raise ValueError(f"unknown parameters {unknown}")
    made = kind(**parameters)
    if isinstance(made, Storable):
        made._validate_params()
        if "state" in described:
            arguments = made.get_params(deep=False).items()
            sizes = {name: value for name, value in arguments if type(value) is int}
            state = _decoded_items(described["state"], arrays)
            made._take_state(checked_all(made._all_stored(), state, sizes))
    return made


def _decoded_items(values: dict[str, Any], arrays: Arrays) -> dict[str, Any]:
    return {key: decode(value, arrays) for key, value in values.items()}


def decode(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, list):
        return [decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "array":
            return arrays.pop(content)
        case "float":
            return float(content)
        case "object":
            return _made(content, arrays)
        case "named":
            return _decoded_items(content, arrays)
    items = [decode(item, arrays) for item in content]
    match kind:
        case "values":
            found = np.empty(len(items), object)
            found[:] = items
            return found
        case "tuple":
            return tuple(items)
        case "set":
            return set(items)
        case "slice":
            return slice(*items)
        case "mapping":
            return dict(items)
    raise ValueError(f"found a value of unknown kind {kind!r}")
