r"""Independent features, each with one parameter, whose log-densities are linear in the row.

.. math:: \log p(x | k) = \sum_d x_d \eta_{kd} + t_d a_{kd} + \log c(x_d, t_d),

where :math:`\eta` and :math:`a` are functions of the parameter and :math:`t` are trials: 1 for one
observation. A feature that is missing has neither, hence no factor of the density. The mean
:math:`\mu` of x for each trial tells the parameter, and the M-step is

.. math:: \mu_{kd} = \frac{\sum_n r_{nk} x_{nd}}{\sum_n r_{nk} t_{nd}}

(Bishop 2006, section 2.4). A family says what :math:`\eta`, :math:`a` and :math:`\mu` are.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit

from emfast.annotations import Fixed
from emfast.emissions.base import ConditionalMeans, Emission, refuse_another_kind
from emfast.inputs.arguments import check_of_components, check_probabilities, check_rates
from emfast.inputs.rows import SparseRows, as_points, varying_columns
from emfast.parts.known import Known, filled
from emfast.parts.logarithms import log_odds, log_probabilities, log_ratios
from emfast.parts.priors import check_beta, check_gamma
from emfast.statistics import pooled, starved
from emfast.storage.stored import NOT_NEGATIVE, POSITIVE, PROBABILITIES, Numbers, Record, Rule

# How far the means of a start are moved towards their average over components.
START_SHRINKAGE = 0.05


@dataclass(frozen=True, eq=False)
class LinearStatistics:
    """Sums of features and of their trials.

    Attributes
    ----------
    family : str
    reference : ndarray of shape (D,)
        Of every trial so much is left out of the feature: 0, or what most of them are about.
    first : ndarray of shape (K, D), sums of r (x - reference t)
    trials : ndarray of shape (K, D), sums of r t
    """

    family: str
    reference: np.ndarray
    first: np.ndarray
    trials: np.ndarray

    @property
    def kind(self) -> str:
        return f"{self.family} of shape {self.first.shape}"

    def __add__(self, other: "LinearStatistics") -> "LinearStatistics":
        refuse_another_kind(self, other)
        moved = other.first + other.trials * (other.reference - self.reference)
        return replace(self, first=self.first + moved, trials=self.trials + other.trials)

    def __mul__(self, factor: float) -> "LinearStatistics":
        return replace(self, first=factor * self.first, trials=factor * self.trials)

    @property
    def shape(self) -> tuple[int, int]:
        return self.first.shape

    @staticmethod
    def stored(K: int, D: int, told: dict[str, Any]) -> dict[str, Any]:
        return {
            "family": str,
            "reference": Numbers(D),
            "first": Numbers(K, D),
            "trials": Numbers(K, D, rule=NOT_NEGATIVE),
        }


class LinearEmission(Emission):
    """What families of such features share; their one group is called `group`.

    Parameters
    ----------
    fixed : collection or mapping of the group, see `known.Known`
    """

    group: str
    made: type
    check_prior: Callable
    separable = True

    def __init__(self, *, fixed: Fixed = ()) -> None:
        self.fixed = Known(fixed)

    @property
    def groups(self) -> tuple[str, ...]:
        return (self.group,)

    @abstractmethod
    def forms(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """eta and a, finite, for parameters of any shape."""

    @abstractmethod
    def distance(self, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Differences on an unconstrained scale, 0 where both are the same."""

    @abstractmethod
    def moved(self, values: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """The values at this distance; not finite where there are none."""

    @abstractmethod
    def bounded(self, means: np.ndarray, before: np.ndarray, trials: np.ndarray) -> np.ndarray:
        """Estimated means within their bounds, beyond which rounding, or a likelihood that has
        none, may have led; `before` are those of the model that `trials` were collected under."""

    def means(self, values: np.ndarray) -> np.ndarray:
        """Means of a feature for each trial, which increase or decrease with the parameter."""
        return values

    def values_of(self, means: np.ndarray) -> np.ndarray:
        """The parameters of these means."""
        return means

    def prior_sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Features and trials of rows that nobody has seen, (K, D) each."""
        return self.prior.successes, self.prior.trials

    def reference(self, values: np.ndarray) -> np.ndarray:
        """How much of a trial is left out of the feature: where sums cancel least, (D,)."""
        return np.zeros(values.shape[1])

    def share(self, X: Any) -> Any:
        """Features for each trial, NaN where one is missing."""
        return X

    def spread(self, means: np.ndarray) -> np.ndarray:
        """Means on a scale where their variance depends little on where they are."""
        return means

    def _values(self, parameters: Any) -> np.ndarray:
        return getattr(parameters, self.group)

    def _with_values(self, values: np.ndarray, parameters: Any) -> Any:
        return self.made(self.fixed.keep(self.group, values, self._values(parameters)))

    def statistics(
        self, flat: np.ndarray, counts: np.ndarray, kernel: Any, parameters: Any
    ) -> LinearStatistics:
        # Where features may be missing, the kernel has summed what is there; elsewhere all is.
        values = self._values(parameters)
        K, D = values.shape
        sums = flat.reshape(K, -1)
        trials = sums[:, D:] if sums.shape[1] > D else np.tile(counts[:, None], D)
        return LinearStatistics(self.kind, self.reference(values), sums[:, :D], trials)

    def mstep(self, statistics: LinearStatistics, parameters: Any) -> Any:
        if self.group in self.fixed:
            return parameters
        values = self._values(parameters)
        if self.prior is not None:
            first, trials = self.prior_sums()
            nothing = np.zeros(values.shape[1])
            statistics += replace(statistics, reference=nothing, first=first, trials=trials)
        gone = starved(statistics.trials)
        n = np.where(gone, 1.0, statistics.trials)
        means = statistics.reference + statistics.first / n
        means = self.bounded(means, self.means(values), statistics.trials)
        return self._with_values(np.where(gone, values, self.values_of(means)), parameters)

    def expected_log_density(self, statistics: LinearStatistics, parameters: Any) -> float:
        eta, a = self.forms(self._values(parameters))
        return float(
            (statistics.first * eta + statistics.trials * (a + statistics.reference * eta)).sum()
        )

    @property
    def prior_names(self) -> tuple[str, ...]:
        return (f"{self.group}_prior",)

    def checked_prior(self, prior: dict[str, Any], n_components: int, n_features: int) -> Any:
        name = self.prior_names[0]
        if name not in prior:
            return None
        return self.check_prior(f"prior[{name!r}]", prior[name], n_components, n_features)

    def log_prior(self, parameters: Any) -> float:
        return 0.0 if self.prior is None else self.prior.log_density(self._values(parameters))

    def start(self, statistics: LinearStatistics, parameters: Any) -> Any:
        # A mean on the boundary would never move again.
        values = self._values(self.mstep(statistics, parameters))
        means = self.means(values)
        average = pooled(means, statistics.trials)
        shrunk = (1 - START_SHRINKAGE) * means + START_SHRINKAGE * average
        return self.made(self.fixed.keep(self.group, self.values_of(shrunk), values))

    def with_groups(self, parameters: Any, given: dict[str, np.ndarray]) -> Any:
        return self.made(filled(given.get(self.group), self._values(parameters)))

    def reseed(
        self, parameters: Any, components: np.ndarray, rows: np.ndarray, healthy: np.ndarray
    ) -> Any:
        values = self._values(parameters).copy()
        average = self.means(values[healthy]).mean(axis=0)
        own = self.share(rows)
        means = 0.5 * (np.where(np.isnan(own), average, own) + average)
        values[components] = self.values_of(means)
        return self._with_values(values, parameters)

    def displacement(self, parameters: Any, reference: Any) -> np.ndarray:
        if self.group in self.fixed:
            return np.empty(0)
        values, before = self._values(parameters), self._values(reference)
        return self.distance(values, before).ravel()

    def displaced(self, displacement: np.ndarray, reference: Any) -> Any | None:
        if self.group in self.fixed:
            return reference
        values = self._values(reference)
        moved = self.moved(values, displacement.reshape(values.shape))
        return self._with_values(moved, reference) if np.isfinite(moved).all() else None

    @property
    @abstractmethod
    def rule(self) -> Rule:
        """What parameters have to be."""

    def stored(self, n_components: int, n_features: int) -> Record:
        return Record(self.made, **{self.group: Numbers(n_components, n_features, rule=self.rule)})

    def shape(self, parameters: Any) -> tuple[int, int]:
        return self._values(parameters).shape

    def group_size(self, group: str, n_components: int, n_features: int) -> int:
        return n_components * n_features

    def marginal(self, parameters: Any, columns: np.ndarray) -> Any:
        return self.made(np.take(self._values(parameters), columns, axis=1))

    def estimates(
        self,
        parameters: Any,
        X: Any,
        responsibilities: np.ndarray,
        conditional_means: ConditionalMeans,
    ) -> np.ndarray:
        # Of one trial; what else is known of the row says nothing but its component.
        return responsibilities @ self.means(self._values(parameters))

    def embedded(
        self, X: Any, located: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        locations = located.get(self.group)
        if isinstance(X, SparseRows):
            columns = varying_columns(X)
            X = SparseRows(X.matrix[:, columns])
            locations = None if locations is None else locations[:, columns]
        points = self.spread(as_points(self.share(X)))
        return points, None if locations is None else self.spread(self.means(locations))


class RateEmission(LinearEmission):
    """Families whose parameters are rates, of which Gamma distributions are the prior."""

    group = "rates"
    check_prior = staticmethod(check_gamma)
    # Whether a rate of 0 is a density.
    takes_zero: bool

    @property
    def rule(self) -> Rule:
        return NOT_NEGATIVE if self.takes_zero else POSITIVE

    def checked(self, name: str, group: str, values: Any, K: int, D: int) -> np.ndarray:
        return check_of_components(
            name,
            values,
            lambda name, values: check_rates(name, values, (K, D), zero=self.takes_zero),
        )

    def distance(self, values, reference):
        return log_ratios(values, reference)

    def moved(self, values, distance):
        return values * np.exp(distance)


class ProbabilityEmission(LinearEmission):
    """Families whose parameters are probabilities of success in one trial, with Beta priors."""

    group = "probabilities"
    discrete = True
    check_prior = staticmethod(check_beta)
    rule = PROBABILITIES

    @abstractmethod
    def out_of(self, X: Any) -> tuple[Any, Any]:
        """Successes, and out of how many trials they are."""

    def forms(self, values):
        log_p, log_q = log_probabilities(values)
        return log_p - log_q, log_q

    def reference(self, values):
        """What is likelier over all components, 0 or 1."""
        return (values.mean(axis=0) > 0.5).astype(np.float64)

    def bounded(self, means, before, trials):
        return np.clip(means, 0.0, 1.0)

    def distance(self, values, reference):
        return log_odds(values) - log_odds(reference)

    def moved(self, values, distance):
        # Exactly 0 or 1 stays so if it does not move.
        return np.where(distance == 0, values, expit(log_odds(values) + distance))

    def checked(self, name: str, group: str, values: Any, K: int, D: int) -> np.ndarray:
        return check_of_components(
            name, values, lambda name, values: check_probabilities(name, values, (K, D))
        )

    def flat_start(self, X: Any, n_components: int) -> Any:
        return self.made(np.full((n_components, X.shape[1]), 0.5))

    def impossible_rows(self, X: Any, parameters: Any) -> np.ndarray | None:
        p = self._values(parameters)
        if not np.any((p == 0) | (p == 1)):
            return None
        successes, trials = self.out_of(X)
        if isinstance(successes, SparseRows):
            some = (successes.matrix != 0).astype(np.float64)
            return some @ (p == 0).T + ((p == 1).sum(axis=1) - some @ (p == 1).T) > 0
        both = successes > 0, successes < trials
        some, fails = (np.asarray(each, np.float64) for each in both)
        return some @ (p == 0).T + fails @ (p == 1).T > 0
