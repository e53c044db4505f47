"""What a file keeps of an estimator: attributes by name, and what each of them has to be.

An estimator names them in `_stored`, and emissions and latent structures tell of their parameters
by a method `stored`. Whatever a file contains is checked against this before anything is made of
it, for kernels trust shapes and values.

What a value has to be is a type (a class, ``list[...]``, ``... | None``, or a dataclass, whose
fields are checked), or a `Kept` here.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np

# How far from 1 sums of probabilities may be: those of float32 that somebody has set by hand.
ROUNDING = 1e-5

# Arguments that are no part of a model.
NOT_KEPT = ("callback", "checkpoint")

# What lengths are called by, and how long they are: arguments and attributes that are integers.
Sizes = dict[str, int]


class Kept(ABC):
    """What a value has to be."""

    @abstractmethod
    def checked(self, name: str, value: Any, sizes: Sizes) -> Any:
        """The value as the estimator has it.

        Raises
        ------
        ValueError
            It is not what it has to be; the message has its `name`.
        """


def checked(kind: Any, name: str, value: Any, sizes: Sizes) -> Any:
    """The value, if it is of a kind: see the top of the module."""
    if isinstance(kind, Kept):
        return kind.checked(name, value, sizes)
    if isinstance(kind, UnionType):
        if value is None and type(None) in get_args(kind):
            return None
        return checked(get_args(kind)[0], name, value, sizes)
    if get_origin(kind) is list:
        return ListOf(get_args(kind)[0]).checked(name, value, sizes)
    if is_dataclass(kind):
        return Record(kind, **get_type_hints(kind)).checked(name, value, sizes)
    # True is an int, too.
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise _unexpected(name, value, f"of type {kind.__name__}")


def checked_all(kinds: dict[str, Any], values: Any, sizes: Sizes, prefix: str = "") -> dict:
    """Values by name, if they are what they have to be, and none is missing or unknown."""
    if not isinstance(values, dict):
        raise _unexpected(prefix.rstrip("."), values, f"named values {sorted(kinds)}")
    unknown = [name for name in values if name not in kinds]
    if unknown:
        raise ValueError(f"unknown values {prefix}{unknown[0]}")
    found = {}
    for name, kind in kinds.items():
        if isinstance(kind, Maybe):
            if kind.beside is not None and (name in values) != (kind.beside in values):
                raise ValueError(f"{prefix}{name}: expected {kind.beside} with it, or neither")
            if name not in values:
                continue
            kind = kind.kind
        if name not in values:
            raise ValueError(f"{prefix}{name}: found nothing")
        found[name] = checked(kind, f"{prefix}{name}", values[name], sizes)
        if type(found[name]) is int:
            sizes[name] = found[name]
    return found


def _unexpected(name: str, value: Any, expected: str) -> ValueError:
    found = repr(value)
    if isinstance(value, np.ndarray):
        found = f"{value.dtype} of shape {value.shape}"
    return ValueError(f"{name}: found {found[:80]}; expected {expected}")


@dataclass(frozen=True)
class Maybe:
    """A value that need not be there, or only if another one is."""

    kind: Any
    beside: str | None = None


@dataclass(frozen=True)
class OrNone(Kept):
    """A value, or None in its place."""

    kind: Any

    def checked(self, name: str, value: Any, sizes: Sizes) -> Any:
        return None if value is None else checked(self.kind, name, value, sizes)


@dataclass(frozen=True)
class Whole(Kept):
    """A whole number."""

    least: int = 0

    def checked(self, name: str, value: Any, sizes: Sizes) -> int:
        if type(value) is not int or value < self.least:
            raise _unexpected(name, value, f"a whole number from {self.least} on")
        return value


class Precision(Kept):
    """The name of the type of floats that attributes have."""

    def checked(self, name: str, value: Any, sizes: Sizes) -> np.dtype:
        if value not in ("float32", "float64"):
            raise _unexpected(name, value, "float32 or float64")
        return np.dtype(value)


@dataclass(frozen=True)
class ListOf(Kept):
    """A list of values of one kind, at least so many."""

    kind: Any
    least: int = 0

    def checked(self, name: str, value: Any, sizes: Sizes) -> list:
        if not isinstance(value, list) or len(value) < self.least:
            raise _unexpected(name, value, f"a list of at least {self.least}")
        return [checked(self.kind, f"{name}[{i}]", each, sizes) for i, each in enumerate(value)]


@dataclass(frozen=True)
class DictOf(Kept):
    """A dict of values of one kind by strings."""

    kind: Any

    def checked(self, name: str, value: Any, sizes: Sizes) -> dict:
        if not isinstance(value, dict):
            raise _unexpected(name, value, "a mapping")
        return {
            checked(str, f"a key of {name}", key, sizes): checked(
                self.kind, f"{name}[{key!r}]", each, sizes
            )
            for key, each in value.items()
        }


class Record(Kept):
    """A dataclass or named tuple, by the kinds of its fields."""

    def __init__(self, made: Callable[..., Any], **kinds: Any):
        self.made = made
        self.kinds = kinds

    def checked(self, name: str, value: Any, sizes: Sizes) -> Any:
        return self.made(**checked_all(self.kinds, value, dict(sizes), f"{name}."))


class Parts(Kept):
    """A tuple of its own class, by the kinds of its items."""

    def __init__(self, made: Callable[[list], Any], kinds: Sequence[Any]):
        self.made = made
        self.kinds = kinds

    def checked(self, name: str, value: Any, sizes: Sizes) -> Any:
        if not isinstance(value, tuple) or len(value) != len(self.kinds):
            raise _unexpected(name, value, f"{len(self.kinds)} parts")
        return self.made(
            [
                checked(kind, f"{name}[{i}]", each, sizes)
                for i, (kind, each) in enumerate(zip(self.kinds, value, strict=True))
            ]
        )


# Numbers


class Rule(NamedTuple):
    """What finite numbers have to be, in words and as a test of an array."""

    words: str
    holds: Callable[[np.ndarray], Any]


FINITE = Rule("finite numbers", np.isfinite)
POSITIVE = Rule("positive numbers", lambda values: values > 0)
NOT_NEGATIVE = Rule("numbers from 0 on", lambda values: values >= 0)
PROBABILITIES = Rule("numbers from 0 to 1", lambda values: (values >= 0) & (values <= 1))
DISTRIBUTIONS = Rule(
    "probabilities that sum to 1",
    lambda values: np.all(values >= 0) and abs(values.sum(axis=-1) - 1) <= ROUNDING,
)
POSITIVE_DIAGONALS = Rule(
    "matrices with positive diagonals", lambda values: np.diagonal(values, 0, -2, -1) > 0
)
NO_NEGATIVE_DIAGONALS = Rule(
    "matrices without negative diagonals", lambda values: np.diagonal(values, 0, -2, -1) >= 0
)
TRIANGLES = Rule(
    "lower-triangular matrices with positive diagonals",
    lambda values: np.all(POSITIVE_DIAGONALS.holds(values)) and np.triu(values, 1) == 0,
)
RANGES = Rule("least values below the largest", lambda values: values[0] < values[1])


class Numbers(Kept):
    """An array of finite numbers.

    Parameters
    ----------
    *shape : int or str
        Names are looked up among the sizes; one that is not there is any length.
    rule : Rule
    dtype : type
    """

    def __init__(self, *shape: int | str, rule: Rule = FINITE, dtype: type = np.float64):
        self.shape = shape
        self.rule = rule
        self.dtype = np.dtype(dtype)

    def checked(self, name: str, value: Any, sizes: Sizes) -> np.ndarray:
        shape = tuple(sizes.get(n, n) if isinstance(n, str) else n for n in self.shape)
        expected = f"{self.dtype} of shape {shape}".replace("'", "")
        if not isinstance(value, np.ndarray) or value.dtype != self.dtype:
            raise _unexpected(name, value, expected)
        if len(value.shape) != len(shape) or any(
            isinstance(n, int) and found != n for found, n in zip(value.shape, shape, strict=True)
        ):
            raise _unexpected(name, value, expected)
        if not np.isfinite(value).all():
            raise ValueError(f"{name}: found NaN or infinity; expected {self.rule.words}")
        with np.errstate(all="ignore"):
            if not np.all(self.rule.holds(value)):
                raise ValueError(f"{name}: found other numbers; expected {self.rule.words}")
        return np.ascontiguousarray(value)


@dataclass(frozen=True)
class Number(Kept):
    """A finite float."""

    rule: Rule = FINITE

    def checked(self, name: str, value: Any, sizes: Sizes) -> float:
        if type(value) is not float or not np.isfinite(value) or not self.rule.holds(value):
            raise _unexpected(name, value, self.rule.words.replace("numbers", "a number"))
        return value


@dataclass(frozen=True)
class Names(Kept):
    """An array of different strings or numbers.

    Parameters
    ----------
    length : int or str, optional, as in `Numbers`
    most : str, optional, the name of the size that they are at most
    strings : bool, whether all are strings
    """

    length: str | None = None
    most: str | None = None
    strings: bool = False

    def checked(self, name: str, value: Any, sizes: Sizes) -> np.ndarray:
        what = "strings" if self.strings else "strings or numbers"
        if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind not in "biufUO":
            raise _unexpected(name, value, f"an array of {what}")
        values = value.tolist()
        kinds = str if self.strings else str | bool | int | float
        if not all(isinstance(each, kinds) and each == each for each in values):
            raise _unexpected(name, values, what)
        if len(set(values)) != len(values):
            raise _unexpected(name, values, f"different {what}")
        least, most = sizes.get(self.length, 1), sizes.get(self.length or self.most, len(values))
        if not least <= len(values) <= most:
            raise ValueError(f"{name}: found {len(values)} {what}; expected {least} to {most}")
        return value


# Estimators


class Storable:
    """An estimator that a file can keep.

    Attributes
    ----------
    _stored : dict
        The fitted attributes that a file keeps, and what each has to be; those of base classes are
        among them. Arguments of the constructor are kept anyway.
    """

    _stored: dict[str, Any] = {
        "n_features_in_": Whole(1),
        "feature_names_in_": Maybe(Names("n_features_in_", strings=True)),
    }

    @classmethod
    def _all_stored(cls) -> dict[str, Any]:
        """What `_stored` says in the class and its bases."""
        kinds: dict[str, Any] = {}
        for each in reversed(cls.__mro__):
            kinds.update(vars(each).get("_stored", {}))
        return kinds

    def _arguments(self) -> dict[str, Any]:
        """The arguments of the constructor, as a file keeps them.

        A callback is code, and a checkpoint is that of one fit: both are None.
        """
        arguments = self.get_params(deep=False)
        return {**arguments, **{name: None for name in NOT_KEPT if name in arguments}}

    def _state(self) -> dict[str, Any]:
        """What a file keeps besides the arguments: a value for every name in `_stored`."""
        return {name: getattr(self, name) for name in self._all_stored() if hasattr(self, name)}

    def _take_state(self, state: dict[str, Any]) -> None:
        """Become what `_state` has said, each value of which is what `_stored` says."""
        vars(self).update(state)

    def save(self, path: str | os.PathLike) -> None:
        """Write the fitted model to a file, which `emfast.load` reads.

        The file has arrays and JSON, nothing of which is executed when it is read. It appears as a
        whole or not at all; one of that name is replaced.

        Parameters
        ----------
        path : str or path-like
            Taken as it is: no extension is added.

        Raises
        ------
        TypeError
            The class is not one of emfast's own, or arguments or names of classes cannot be stored:
            they are neither None, strings, numbers, arrays, nor lists or mappings of these.
        ValueError
            Attributes are not those of a fitted model, or arguments have been changed since.
        sklearn.exceptions.NotFittedError
        OSError
            The file cannot be written. There is none then, or still the old one.
        """
        from emfast.storage import persistence

        persistence.save(self, path)
