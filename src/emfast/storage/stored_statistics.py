"""Statistics as files keep them, and what they have to be when they come back.

Each of their classes says itself what its numbers have to be, in a method `stored`, given the
number of components and of features and the values that were told. A file tells which class it is,
among those here.
"""

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from emfast.emissions.categorical import CategoricalStatistics
from emfast.emissions.gaussian import GaussianStatistics
from emfast.emissions.linear import LinearStatistics
from emfast.emissions.product import ProductStatistics
from emfast.emissions.regression import RegressionStatistics
from emfast.latent.gate import GateStatistics
from emfast.latent.markov import ChainStatistics
from emfast.statistics import Statistics, Under
from emfast.storage.stored import (
    NOT_NEGATIVE,
    Kept,
    Number,
    Numbers,
    Record,
    Sizes,
    Whole,
    checked,
    checked_all,
)

EMISSIONS = {
    each.__name__: each
    for each in (CategoricalStatistics, GaussianStatistics, LinearStatistics, RegressionStatistics)
}
LATENTS = {each.__name__: each for each in (ChainStatistics, GateStatistics)}


def told_of(statistics: Any) -> Any:
    """Statistics as mappings of values, with the names of their classes and their shapes."""
    if isinstance(statistics, tuple):
        return tuple(told_of(each) for each in statistics)
    if not is_dataclass(statistics):
        return statistics
    told = {each.name: told_of(getattr(statistics, each.name)) for each in fields(statistics)}
    if isinstance(statistics, Statistics):
        del told["impossible_row"]
        return told
    if isinstance(statistics, Under):
        return told
    shape = tuple(statistics.shape) if hasattr(statistics, "shape") else None
    return {**told, "class": type(statistics).__name__, "shape": shape}


class StoredStatistics(Kept):
    """What `told_of` statistics have to be."""

    def checked(self, name: str, value: Any, sizes: Sizes) -> Statistics:
        told = dict(value)
        latent, emission, under = (told.pop(each) for each in ("latent", "emission", "under"))
        numbers = checked_all(
            {
                "log_likelihood": Number(),
                "weight": Number(NOT_NEGATIVE),
                "counts": Numbers("any number", rule=NOT_NEGATIVE),
            },
            told,
            {},
            f"{name}.",
        )
        n_components = len(numbers["counts"])
        emission = _emission(emission, f"{name}.emission")
        # Of noise no emission knows.
        if emission.shape[0] not in (n_components, n_components - 1):
            raise ValueError(
                f"{name}: found {n_components} counts of {emission.shape[0]} components"
            )
        if isinstance(latent, np.ndarray):
            latent = Numbers(n_components, rule=NOT_NEGATIVE).checked(f"{name}.latent", latent, {})
        else:
            latent = _made(LATENTS, latent, n_components, 0, f"{name}.latent")
        if under is not None:
            under = checked(Under, f"{name}.under", under, {})
            if (under.n_components, under.n_features) != emission.shape:
                raise ValueError(f"{name}: found the shape {emission.shape} under {under}")
        return Statistics(**numbers, latent=latent, emission=emission, under=under)


def _emission(told: dict[str, Any], name: str) -> Any:
    if told["class"] == ProductStatistics.__name__:
        unknown = told.keys() - {"class", "shape", "parts"}
        if unknown or not isinstance(told["parts"], tuple) or not told["parts"]:
            raise ValueError(f"{name}: found {sorted(told)}; expected a tuple of parts")
        parts = [_emission(each, f"{name}.parts[{i}]") for i, each in enumerate(told["parts"])]
        if len({part.shape[0] for part in parts}) > 1:
            raise ValueError(f"{name}: found parts of different numbers of components")
        return ProductStatistics(tuple(parts))
    K, D = (Whole(1).checked(f"{name}.shape", n, {}) for n in told["shape"])
    return _made(EMISSIONS, told, K, D, name)


def _made(known: dict[str, Any], told: dict[str, Any], K: int, D: int, name: str) -> Any:
    kind = known.get(told["class"])
    if kind is None:
        raise ValueError(f"{name}: found {told['class']!r}; expected one of {sorted(known)}")
    values = {key: value for key, value in told.items() if key not in ("class", "shape")}
    return Record(kind, **kind.stored(K, D, values)).checked(name, values, {})
