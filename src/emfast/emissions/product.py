"""Product of emissions over blocks of columns, which are independent given the component.

:math:`\\log p(x | k) = \\sum_b \\log p_b(x_b | k)`; the M-step is that of every part by itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import reduce
from types import ModuleType
from typing import Any

import numpy as np

from emfast.annotations import Fixed
from emfast.emissions.base import (
    ConditionalMeans,
    Emission,
    FlatTotal,
    refuse_another_kind,
)
from emfast.inputs.rows import Blocks, in_one_precision
from emfast.parts.known import Known
from emfast.statistics import Statistics
from emfast.storage.stored import Parts


class ProductParameters(tuple):
    """The parameters of the parts."""

    __slots__ = ()


@dataclass(frozen=True, eq=False)
class ProductStatistics:
    """The statistics of the parts; they add if all of them do.

    Attributes
    ----------
    parts : tuple
    """

    parts: tuple

    @property
    def kind(self) -> str:
        return "product of " + ", ".join(part.kind for part in self.parts)

    def __add__(self, other: "ProductStatistics") -> "ProductStatistics":
        refuse_another_kind(self, other)
        pairs = zip(self.parts, other.parts, strict=True)
        return ProductStatistics(tuple(one + another for one, another in pairs))

    def __mul__(self, factor: float) -> "ProductStatistics":
        return ProductStatistics(tuple(part * factor for part in self.parts))

    @property
    def shape(self) -> tuple[int, int]:
        shapes = [part.shape for part in self.parts]
        return shapes[0][0], sum(D for _, D in shapes)


class Product(Emission):
    """Independent blocks of columns, each with an emission of its own.

    A group of a part is called "name.group", as in ``fixed=("smokes.probabilities",)``.

    Parameters
    ----------
    parts : mapping of str to Emission
    widths : sequence of int, how many columns each has
    fixed : collection or mapping of groups, see `known.Known`
    """

    def __init__(
        self, parts: Mapping[str, Emission], widths: Sequence[int], *, fixed: Fixed = ()
    ) -> None:
        self.names = tuple(parts)
        self.parts = tuple(parts.values())
        self.widths = tuple(widths)
        self.groups = tuple(
            f"{name}.{group}" for name, part in parts.items() for group in part.groups
        )
        self.shared = tuple(
            f"{name}.{group}" for name, part in parts.items() for group in part.shared
        )
        self.fixed = Known(fixed)

    @property
    def kind(self) -> str:
        named = zip(self.names, self.parts, strict=True)
        return "product of " + ", ".join(f"{name}: {part.kind}" for name, part in named)

    @property
    def discrete(self) -> bool:
        return all(part.discrete for part in self.parts)

    @property
    def fixed(self) -> Known:
        return self._fixed

    @fixed.setter
    def fixed(self, fixed: Any) -> None:
        self._fixed = fixed = Known(fixed)
        for name, part in zip(self.names, self.parts, strict=True):
            part.fixed = Known(_of_part(fixed, name))

    @property
    def prior_names(self) -> tuple[str, ...]:
        return tuple(
            f"{name}.{own}" for part, name in self._each(self.names) for own in part.prior_names
        )

    @property
    def prior(self) -> tuple | None:
        priors = tuple(part.prior for part in self.parts)
        return None if all(prior is None for prior in priors) else priors

    @prior.setter
    def prior(self, priors: tuple | None) -> None:
        for part, prior in self._each(priors or (None,) * len(self.parts)):
            part.prior = prior

    def checked_prior(
        self, prior: dict[str, Any], n_components: int, n_features: int
    ) -> tuple | None:
        priors = []
        for part, name, width in self._each(self.names, self.widths):
            try:
                priors.append(part.checked_prior(_of_part(prior, name), n_components, width))
            except ValueError as error:
                raise ValueError(f"prior of {name!r}: {error}") from error
        return tuple(priors)

    def log_prior(self, parameters: ProductParameters) -> float:
        return sum(part.log_prior(own) for part, own in self._each(parameters))

    def with_prior_times(self, factor: float) -> "Product":
        if self.prior is None:
            return self
        changed = copy(self)
        changed.parts = tuple(part.with_prior_times(factor) for part in self.parts)
        return changed

    def _each(self, *of_parts: Sequence[Any]) -> Any:
        """Every part with what is its own of several sequences."""
        return zip(self.parts, *of_parts, strict=True)

    def validated(self, estimator, X, *, reset):
        """X : sequence of what each part takes."""
        each = [
            part.validated(own, rows, reset=True) for part, own, rows in self._each(estimator, X)
        ]
        rows, missing = zip(*each, strict=True)
        return in_one_precision(rows), missing

    def check_columns(
        self, X: Blocks, weights: np.ndarray | None, called: Callable[[int], str]
    ) -> None:
        for part, rows, first in self._each(X.parts, self._firsts):
            part.check_columns(rows, weights, lambda column, first=first: called(first + column))

    def checked(self, name: str, group: str, values: Any, K: int, D: int) -> np.ndarray:
        of, own = group.rsplit(".", 1)
        block = self.names.index(of)
        return self.parts[block].checked(name, own, values, K, self.widths[block])

    def kernel(
        self,
        parameters: ProductParameters,
        weights: np.ndarray,
        kernels: ModuleType,
        constant: tuple | None = None,
        missing: tuple[bool, ...] = (),
        storage: tuple[str, ...] = (),
    ) -> Any:
        nothing = (None,) * len(self.parts)
        compiled = [
            part.kernel(own, weights, kernels, *options)
            for part, own, *options in self._each(parameters, constant or nothing, missing, storage)
        ]
        # A product of two, of which the second may be a product.
        return reduce(lambda rest, first: kernels.Product(first, rest), compiled[::-1])

    def statistics(
        self, flat: np.ndarray, counts: np.ndarray, kernel: Any, parameters: ProductParameters
    ) -> ProductStatistics:
        statistics = []
        for part, own in self._each(parameters):
            first, kernel = getattr(kernel, "first", kernel), getattr(kernel, "rest", None)
            size = first.statistics_size
            statistics.append(part.statistics(flat[:size], counts, first, own))
            flat = flat[size:]
        return ProductStatistics(tuple(statistics))

    def constant(
        self, n_rows: int, n_features: int, flat_total: FlatTotal, missing: Sequence[bool]
    ) -> tuple:
        def of_block(block: int) -> FlatTotal:
            return lambda emission: flat_total(emission, block)

        return tuple(
            part.constant(n_rows, width, of_block(block), of_part)
            for block, (part, width, of_part) in enumerate(self._each(self.widths, missing))
        )

    def complete(
        self, statistics: Statistics, parameters: ProductParameters, constant: tuple | None
    ) -> Statistics:
        if constant is None:
            return statistics
        completed = []
        for part, own, of_part, of_rows in self._each(
            statistics.emission.parts, parameters, constant
        ):
            statistics = part.complete(replace(statistics, emission=own), of_part, of_rows)
            completed.append(statistics.emission)
        return replace(statistics, emission=ProductStatistics(tuple(completed)))

    def mstep(
        self, statistics: ProductStatistics, parameters: ProductParameters
    ) -> ProductParameters:
        return ProductParameters(
            part.mstep(own, before)
            for part, own, before in self._each(statistics.parts, parameters)
        )

    def expected_log_density(
        self, statistics: ProductStatistics, parameters: ProductParameters
    ) -> float:
        return sum(
            part.expected_log_density(own, of_part)
            for part, own, of_part in self._each(statistics.parts, parameters)
        )

    def is_precise(self, statistics: ProductStatistics, parameters: ProductParameters) -> bool:
        return all(
            part.is_precise(own, of_part)
            for part, own, of_part in self._each(statistics.parts, parameters)
        )

    def start(
        self, statistics: ProductStatistics, parameters: ProductParameters
    ) -> ProductParameters:
        return ProductParameters(
            part.start(own, before)
            for part, own, before in self._each(statistics.parts, parameters)
        )

    def flat_start(self, X: Blocks, n_components: int) -> ProductParameters:
        return ProductParameters(
            part.flat_start(rows, n_components) for part, rows in self._each(X.parts)
        )

    def located(self, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {
            f"{name}.{group}": values
            for part, name in self._each(self.names)
            for group, values in part.located(_of_part(given, name)).items()
        }

    def embedded(
        self, X: Blocks, located: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Points of all parts, or of those located, in which features count about alike."""
        points, locations = [], []
        for part, name, rows in self._each(self.names, X.parts):
            of_part = _of_part(located, name)
            if located and not of_part:
                continue
            own, places = part.embedded(rows, of_part)
            own = np.asarray(own, np.float64)
            middle = own.mean(axis=0)
            variances = ((own - middle) ** 2).mean(axis=0)
            scales = np.sqrt(np.where(variances > 0, variances, 1.0))
            if not part.has_units:
                scales = np.sqrt((variances.sum() or 1.0) / rows.shape[1])
            points.append((own - middle) / scales)
            if places is not None:
                locations.append((places - middle) / scales)
        if not located:
            return np.hstack(points), None
        places = np.hstack(locations)
        # A component that is located in some blocks only is not located.
        return np.hstack(points), np.where(np.isnan(places).any(axis=1)[:, None], np.nan, places)

    def displacement(
        self, parameters: ProductParameters, reference: ProductParameters
    ) -> np.ndarray:
        return np.concatenate(
            [
                part.displacement(own, before)
                for part, own, before in self._each(parameters, reference)
            ]
        )

    def displaced(
        self, displacement: np.ndarray, reference: ProductParameters
    ) -> ProductParameters | None:
        moved = []
        for part, before in self._each(reference):
            size = part.displacement(before, before).size
            moved.append(part.displaced(displacement[:size], before))
            displacement = displacement[size:]
        return None if any(each is None for each in moved) else ProductParameters(moved)

    def with_groups(
        self, parameters: ProductParameters, given: dict[str, np.ndarray]
    ) -> ProductParameters:
        return ProductParameters(
            part.with_groups(own, _of_part(given, name))
            for part, own, name in self._each(parameters, self.names)
        )

    def reseed(
        self,
        parameters: ProductParameters,
        components: np.ndarray,
        rows: Blocks,
        healthy: np.ndarray,
    ) -> ProductParameters:
        return ProductParameters(
            part.reseed(own, components, of_part, healthy)
            for part, own, of_part in self._each(parameters, rows.parts)
        )

    def unseen_columns(self, X: Blocks) -> np.ndarray:
        return np.hstack([part.unseen_columns(rows) for part, rows in self._each(X.parts)])

    def incomplete_rows(self, X: Blocks) -> np.ndarray:
        found = [part.incomplete_rows(rows) for part, rows in self._each(X.parts)]
        return np.logical_or.reduce(found)

    def estimated(
        self,
        parameters: ProductParameters,
        X: Blocks,
        responsibilities: np.ndarray,
        conditional_means: ConditionalMeans,
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for part, own, rows, first in self._each(parameters, X.parts, self._firsts):
            for column, at, values in part.estimated(
                own, rows, responsibilities, conditional_means
            ):
                yield first + column, at, values

    def marginal(self, parameters: ProductParameters, columns: np.ndarray) -> ProductParameters:
        """Parameters of the parts that have any of the features, which keep their order there."""
        return ProductParameters(
            part.marginal(own, of_part)
            for part, own, of_part in self._each(parameters, self.of_parts(columns))
            if of_part.size
        )

    def conditional(
        self, parameters: ProductParameters, known: np.ndarray, X: Blocks
    ) -> ProductParameters:
        masks = np.split(known, self._firsts[1:])
        return ProductParameters(
            part.conditional(own, mask, rows)
            for part, own, mask, rows in self._each(parameters, masks, X.parts)
            if not mask.all()
        )

    def of_parts(self, columns: np.ndarray) -> list[np.ndarray]:
        """For every part which of some columns are its own, by their position in it, in order."""
        return [
            np.flatnonzero(np.isin(np.arange(first, first + width), columns))
            for first, width in zip(self._firsts, self.widths, strict=True)
        ]

    @property
    def _firsts(self) -> list[int]:
        """The positions of the first columns of the parts."""
        return np.cumsum([0, *self.widths])[:-1].tolist()

    def arguments(self) -> dict[str, Any]:
        parts = dict(zip(self.names, self.parts, strict=True))
        return {"parts": parts, "widths": self.widths, "fixed": self.fixed}

    def stored(self, n_components: int, n_features: int) -> Parts:
        kinds = [part.stored(n_components, width) for part, width in self._each(self.widths)]
        return Parts(ProductParameters, kinds)

    def shape(self, parameters: ProductParameters) -> tuple[int, int]:
        shapes = [part.shape(own) for part, own in self._each(parameters)]
        return shapes[0][0], sum(D for _, D in shapes)

    def group_size(self, group: str, n_components: int, n_features: int) -> int:
        name, of_part = group.rsplit(".", 1)
        block = self.names.index(name)
        return self.parts[block].group_size(of_part, n_components, self.widths[block])

    def draw(
        self,
        parameters: ProductParameters,
        component: int,
        n_rows: int,
        random_state: np.random.RandomState,
    ) -> list[np.ndarray]:
        """The rows of every part."""
        return [
            part.draw(own, component, n_rows, random_state) for part, own in self._each(parameters)
        ]

    def slack(self, parameters: ProductParameters, counts: np.ndarray, epsilon: float) -> float:
        return sum(part.slack(own, counts, epsilon) for part, own in self._each(parameters))

    def degenerate(
        self, statistics: ProductStatistics, parameters: ProductParameters, n_rows: int
    ) -> list[int]:
        found = {
            component
            for part, own, of_part in self._each(statistics.parts, parameters)
            for component in part.degenerate(own, of_part, n_rows)
        }
        return sorted(found)

    def impossible_rows(self, X: Blocks, parameters: ProductParameters) -> np.ndarray | None:
        found = [
            part.impossible_rows(rows, own) for part, rows, own in self._each(X.parts, parameters)
        ]
        found = [each for each in found if each is not None]
        return reduce(np.logical_or, found) if found else None


def _of_part(named: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What is said of the groups of one part, by the names they have there."""
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): value
        for key, value in named.items()
        if key.startswith(prefix) and "." not in key.removeprefix(prefix)
    }
