r"""Categorical emission: independent features, each one of some levels (multinoulli).

:math:`\log p(x | k) = \sum_d \log p_{k d x_d}`; the M-step is
:math:`p_{kdl} = \sum_n r_{nk} [x_{nd} = l] / \sum_n r_{nk}`, over the rows where feature d is
observed (Bishop 2006, exercise 9.18). Levels are codes 0, 1, ...; a code that is none of them is
missing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from types import ModuleType
from typing import Any, Literal

import numpy as np

from emfast.annotations import Fixed, Values
from emfast.emissions.base import ConditionalMeans, Emission, refuse_another_kind
from emfast.emissions.linear import START_SHRINKAGE
from emfast.inputs.arguments import check_distributions, check_of_components
from emfast.inputs.levels import encode_levels, united_levels
from emfast.inputs.rows import as_points
from emfast.inputs.validation import check_columns, column_called
from emfast.parts.known import Known, filled
from emfast.parts.logarithms import log_above_floor, log_ratios
from emfast.parts.priors import Dirichlet, check_concentrations, is_sequence
from emfast.statistics import pooled, starved
from emfast.storage.stored import NOT_NEGATIVE, POSITIVE, PROBABILITIES, Numbers, Record, Rule


@dataclass(frozen=True, eq=False)
class CategoricalParameters:
    """Probabilities of the levels of every feature.

    Attributes
    ----------
    probabilities : ndarray of shape (K, sum of levels), the levels of a feature adjacent
    levels : ndarray of shape (D,), int64
    """

    probabilities: np.ndarray
    levels: np.ndarray

    @property
    def by_feature(self) -> list[np.ndarray]:
        """An array of shape (K, levels) for every feature."""
        return np.split(self.probabilities, np.cumsum(self.levels)[:-1], axis=1)


@dataclass(frozen=True, eq=False)
class CategoricalStatistics:
    """Sums of responsibilities by level.

    Attributes
    ----------
    sums : ndarray of shape (K, sum of levels)
    levels : ndarray of shape (D,), int64
    """

    sums: np.ndarray
    levels: np.ndarray

    @property
    def kind(self) -> str:
        return f"Categorical of {len(self.sums)} components with levels {self.levels.tolist()}"

    def __add__(self, other: "CategoricalStatistics") -> "CategoricalStatistics":
        refuse_another_kind(self, other)
        return replace(self, sums=self.sums + other.sums)

    def __mul__(self, factor: float) -> "CategoricalStatistics":
        return replace(self, sums=factor * self.sums)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.sums), len(self.levels)

    @staticmethod
    def stored(K: int, D: int, told: dict[str, Any]) -> dict[str, Any]:
        return {
            "sums": Numbers(K, int(told["levels"].sum()), rule=NOT_NEGATIVE),
            "levels": Numbers(D, rule=POSITIVE, dtype=np.int64),
        }

    @property
    def totals(self) -> np.ndarray:
        """For every level the sum over all levels of its feature."""
        totals = np.add.reduceat(self.sums, np.cumsum(self.levels) - self.levels, axis=1)
        return np.repeat(totals, self.levels, axis=1)


class Categorical(Emission):
    """Independent features, each one of some levels.

    Parameters
    ----------
    categories : "auto" or list of array-like, default="auto"
        The levels of every feature; "auto" takes those of the data, sorted, or the categories of a
        categorical dtype in their order.
    fixed : collection or mapping of "probabilities", see `known.Known`
    """

    groups = ("probabilities",)
    discrete = True
    prior_names = ("probabilities_prior",)

    def __init__(
        self,
        categories: Literal["auto"] | Sequence[Values] = "auto",
        *,
        fixed: Fixed = (),
    ) -> None:
        self.categories = categories
        self.fixed = Known(fixed)

    @property
    def kind(self) -> str:
        if isinstance(self.categories, str):
            return "Categorical"
        return f"Categorical with levels {self.levels.tolist()}"

    @property
    def levels(self) -> np.ndarray:
        """How many levels every feature has, once categories are known."""
        return np.array([len(categories) for categories in self.categories], np.int64)

    def learn(self, X: Any, called: Callable[[int], str]) -> tuple[np.ndarray, bool, "Categorical"]:
        """Columns as codes, whether values are missing, and the emission with their categories."""
        codes, categories, missing = encode_levels(X, self.categories, called)
        return codes, missing, Categorical(categories, fixed=self.fixed)

    def with_levels_of(self, other: "Categorical") -> "Categorical":
        """The emission that has the levels of both in every column."""
        both = map(united_levels, self.categories, other.categories)
        return Categorical(list(both), fixed=self.fixed)

    def validated(self, estimator, X, *, reset):
        X = check_columns(estimator, X, reset=reset)
        codes, _, missing = encode_levels(X, self.categories, partial(column_called, estimator))
        return codes, missing

    def checked(self, name: str, group: str, values: Any, K: int, D: int) -> np.ndarray:
        """`values` has an array of shape (n_components, levels) for every feature."""
        levels = self.levels
        if isinstance(values, str) or len(values) != len(levels):
            raise ValueError(
                f"{name}: expected an array of shape (n_components, levels) for each of the "
                f"{len(levels)} features; found {len(values)}"
            )
        return np.hstack(
            [
                check_of_components(
                    f"{name}[{d}]",
                    own,
                    lambda name, own, n=int(n_levels): check_distributions(name, own, (K, n)),
                )
                for d, (own, n_levels) in enumerate(zip(values, levels, strict=True))
            ]
        )

    def missing_entries(self, X: np.ndarray) -> np.ndarray:
        return self.levels <= X

    def kernel(
        self,
        parameters: CategoricalParameters,
        weights: np.ndarray,
        kernels: ModuleType,
        constant: None = None,
        missing: bool = False,
        storage: str = "dense",
    ) -> Any:
        log_p = log_above_floor(parameters.probabilities)
        return kernels.Categorical(parameters.levels, np.ascontiguousarray(log_p.T))

    def statistics(
        self, flat: np.ndarray, counts: np.ndarray, kernel: Any, parameters: CategoricalParameters
    ) -> CategoricalStatistics:
        # The last slot is what is missing.
        return CategoricalStatistics(kernel.by_slot(flat)[:-1].T.copy(), parameters.levels)

    def mstep(
        self, statistics: CategoricalStatistics, parameters: CategoricalParameters
    ) -> CategoricalParameters:
        if "probabilities" in self.fixed:
            return parameters
        if self.prior is not None:
            statistics = replace(statistics, sums=statistics.sums + self.prior.counts)
        totals = statistics.totals
        gone = starved(totals)
        p = statistics.sums / np.where(gone, 1.0, totals)
        return self._with_values(np.where(gone, parameters.probabilities, p), parameters)

    def expected_log_density(
        self, statistics: CategoricalStatistics, parameters: CategoricalParameters
    ) -> float:
        return float((statistics.sums * log_above_floor(parameters.probabilities)).sum())

    def checked_prior(
        self, prior: dict[str, Any], n_components: int, n_features: int
    ) -> Dirichlet | None:
        """Of one concentration for all levels, or for every feature one or an array (levels,)."""
        name = self.prior_names[0]
        if name not in prior:
            return None
        K, levels, values = n_components, self.levels, prior[name]
        if isinstance(values, Real):
            values = [values] * n_features
        if not is_sequence(values) or len(values) != n_features:
            raise ValueError(
                f"prior[{name!r}]: found {values!r}; expected a concentration, or one or an array "
                f"of them for each of the {n_features} features"
            )
        counts = [
            np.broadcast_to(
                check_concentrations(f"prior[{name!r}][{d}]", own, (), (n,), (K, n)), (K, n)
            )
            for d, (own, n) in enumerate(zip(values, levels.tolist(), strict=True))
        ]
        return Dirichlet(np.hstack(counts))

    def log_prior(self, parameters: CategoricalParameters) -> float:
        return 0.0 if self.prior is None else self.prior.log_density(parameters.probabilities)

    def _with_values(
        self, p: np.ndarray, parameters: CategoricalParameters
    ) -> CategoricalParameters:
        kept = self.fixed.keep("probabilities", p, parameters.probabilities)
        return replace(parameters, probabilities=kept)

    def start(
        self, statistics: CategoricalStatistics, parameters: CategoricalParameters
    ) -> CategoricalParameters:
        # A probability of 0 would never move again.
        estimate = self.mstep(statistics, parameters)
        p = estimate.probabilities
        shrunk = (1 - START_SHRINKAGE) * p + START_SHRINKAGE * pooled(p, statistics.totals)
        return self._with_values(shrunk, estimate)

    def flat_start(self, X: np.ndarray, n_components: int) -> CategoricalParameters:
        levels = self.levels
        return CategoricalParameters(
            np.tile(np.repeat(1 / levels, levels), (n_components, 1)), levels
        )

    def with_groups(
        self, parameters: CategoricalParameters, given: dict[str, np.ndarray]
    ) -> CategoricalParameters:
        p = filled(given.get("probabilities"), parameters.probabilities)
        return replace(parameters, probabilities=p)

    def reseed(
        self,
        parameters: CategoricalParameters,
        components: np.ndarray,
        rows: np.ndarray,
        healthy: np.ndarray,
    ) -> CategoricalParameters:
        p = parameters.probabilities.copy()
        average = p[healthy].mean(axis=0)
        own = indicators(rows, parameters.levels)
        p[components] = 0.5 * (np.where(np.isnan(own), average, own) + average)
        return self._with_values(p, parameters)

    def displacement(
        self, parameters: CategoricalParameters, reference: CategoricalParameters
    ) -> np.ndarray:
        """Logarithms of ratios."""
        if "probabilities" in self.fixed:
            return np.empty(0)
        return log_ratios(parameters.probabilities, reference.probabilities).ravel()

    def displaced(
        self, displacement: np.ndarray, reference: CategoricalParameters
    ) -> CategoricalParameters | None:
        if "probabilities" in self.fixed:
            return reference
        p = reference.probabilities
        statistics = CategoricalStatistics(
            p * np.exp(displacement.reshape(p.shape)), reference.levels
        )
        totals = statistics.totals
        if not np.all((totals > 0) & (totals < np.inf)):
            return None
        return self._with_values(statistics.sums / totals, reference)

    def embedded(
        self, X: np.ndarray, located: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        return as_points(indicators(X, self.levels)), located.get("probabilities")

    def stored(self, n_components: int, n_features: int) -> Record:
        levels = self.levels
        as_categories = Rule("the numbers of categories", lambda found: found == levels)
        return Record(
            CategoricalParameters,
            probabilities=Numbers(n_components, int(levels.sum()), rule=PROBABILITIES),
            levels=Numbers(n_features, rule=as_categories, dtype=np.int64),
        )

    def shape(self, parameters: CategoricalParameters) -> tuple[int, int]:
        return len(parameters.probabilities), len(parameters.levels)

    def group_size(self, group: str, n_components: int, n_features: int) -> int:
        return n_components * int((self.levels - 1).sum())

    def of_columns(self, columns: np.ndarray) -> "Categorical":
        changed = super().of_columns(columns)
        if not isinstance(self.categories, str):
            changed.categories = [self.categories[column] for column in columns]
        return changed

    def marginal(
        self, parameters: CategoricalParameters, columns: np.ndarray
    ) -> CategoricalParameters:
        by_feature = parameters.by_feature
        p = np.hstack([by_feature[column] for column in columns])
        return CategoricalParameters(p, parameters.levels[columns])

    def estimates(
        self,
        parameters: CategoricalParameters,
        X: np.ndarray,
        responsibilities: np.ndarray,
        conditional_means: ConditionalMeans,
    ) -> np.ndarray:
        likeliest = [(responsibilities @ p).argmax(axis=1) for p in parameters.by_feature]
        return np.stack(likeliest, axis=1)

    def draw(
        self,
        parameters: CategoricalParameters,
        component: int,
        n_rows: int,
        random_state: np.random.RandomState,
    ) -> np.ndarray:
        columns = [
            random_state.choice(p.shape[1], n_rows, p=p[component] / p[component].sum())
            for p in parameters.by_feature
        ]
        return np.stack(columns, axis=1)

    def impossible_rows(
        self, X: np.ndarray, parameters: CategoricalParameters
    ) -> np.ndarray | None:
        if np.all(parameters.probabilities > 0):
            return None
        impossible = np.zeros((len(X), len(parameters.probabilities)), bool)
        for codes, p in zip(X.T, parameters.by_feature, strict=True):
            # A level more, which is what is missing.
            never = np.vstack([(p == 0).T, np.zeros(len(p), bool)])
            impossible |= never[np.minimum(codes.astype(np.int64), p.shape[1])]
        return impossible


def indicators(X: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """1 for the level of a feature that a row has, else 0; NaN for all where it is missing."""
    parts = []
    for codes, n_levels in zip(np.asarray(X).T, levels, strict=True):
        own = (codes[:, None] == np.arange(n_levels)).astype(np.float64)
        own[~own.any(axis=1)] = np.nan
        parts.append(own)
    return np.hstack(parts)
