r"""Counts: Poisson and binomial emissions, with independent features.

Both are linear in the count :math:`x` and its trials :math:`t`,

.. math:: \log p(x | k) = \sum_d x_d \eta_{kd} + t_d a_{kd} + \log c(x_d, t_d),

with :math:`\eta = \log\lambda, a = -\lambda, t = 1, c = 1 / x!` for a rate :math:`\lambda`, and
:math:`\eta = \log p - \log(1 - p), a = \log(1 - p), c = \binom{t}{x}` for a probability :math:`p`.
The M-step is :math:`\sum_n r_{nk} x_{nd} / \sum_n r_{nk} t_{nd}` for both (Bishop 2006, section
2.4). A missing count has no trials.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from emfast.emissions.base import Emission, FlatTotal, refuse_another_kind
from emfast.emissions.bernoulli import (
    START_SHRINKAGE,
    log_odds_ratios,
    with_log_odds_ratios,
)
from emfast.known import Known, filled
from emfast.priors import LOG_FLOOR, check_beta, check_gamma
from emfast.rows import RowsWithTrials, SparseRows, as_points, varying_columns
from emfast.statistics import Statistics, log_ratios, pooled, starved
from emfast.validation import (
    check_counts,
    check_of_components,
    check_probabilities,
    check_rates,
)


@dataclass(frozen=True, eq=False)
class PoissonParameters:
    """rates : ndarray of shape (K, D), mean counts, 0 included."""

    rates: np.ndarray


@dataclass(frozen=True, eq=False)
class BinomialParameters:
    """probabilities : ndarray of shape (K, D), of success in one trial, 0 and 1 included."""

    probabilities: np.ndarray


@dataclass(frozen=True, eq=False)
class CountStatistics:
    """Sums of counts and of their trials.

    Attributes
    ----------
    family : str
    reference : ndarray of shape (D,)
        Of every trial so much is left out of the count: 0, or 1 where most of them succeed.
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

    def __add__(self, other: "CountStatistics") -> "CountStatistics":
        refuse_another_kind(self, other)
        moved = other.first + other.trials * (other.reference - self.reference)
        return replace(self, first=self.first + moved, trials=self.trials + other.trials)


class CountEmission(Emission):
    """What Poisson and binomial emissions share; their one group is called `group`.

    Parameters
    ----------
    fixed : collection or mapping of the group, see `known.Known`
    """

    group: str
    made: type
    discrete = True
    check_prior: Callable

    def __init__(self, *, fixed=()):
        self.fixed = Known(fixed)

    @property
    def groups(self) -> tuple[str, ...]:
        return (self.group,)

    @abstractmethod
    def forms(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """eta and a for parameters of any shape, with logarithms of at least `LOG_FLOOR`."""

    @abstractmethod
    def trials_of_rows(self, n_features: int) -> np.ndarray | None:
        """Trials of every feature, (D,), where they are the same for all rows and not just 1."""

    @abstractmethod
    def distance(self, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Differences on an unconstrained scale, 0 where both are the same."""

    @abstractmethod
    def moved(self, values: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """The values at this distance."""

    @abstractmethod
    def clipped(self, values: np.ndarray) -> np.ndarray:
        """Estimates without what rounding may have added."""

    def reference(self, values: np.ndarray) -> np.ndarray:
        """How much of a trial is left out of the count: where sums cancel least, (D,)."""
        return np.zeros(values.shape[1])

    def typical(self, values: np.ndarray) -> np.ndarray:
        """A parameter for every feature, beside which those of the components are told, (D,)."""
        return values.mean(axis=0)

    def _values(self, parameters: Any) -> np.ndarray:
        return getattr(parameters, self.group)

    def _with_values(self, values: np.ndarray, parameters: Any) -> Any:
        return self.made(self.fixed.keep(self.group, values, self._values(parameters)))

    def kernel(
        self,
        parameters: Any,
        weights: np.ndarray,
        kernels: ModuleType,
        constant: float | None = None,
        missing: bool = False,
        storage: str = "dense",
    ) -> Any:
        # Beside a typical component, so that large terms that components share do not cancel.
        values = self._values(parameters)
        D = values.shape[1]
        eta, a = self.forms(values)
        typical_eta, typical_a = self.forms(self.typical(values))
        eta, a = eta - typical_eta, a - typical_a
        if storage == "with trials":
            both = np.hstack([eta, a])
            typical = np.hstack([typical_eta, typical_a])
            base = typical if constant is None else None
            return kernels.Counts(np.zeros(2 * D), both, np.zeros(len(both)), base, paired=True)
        if storage == "sparse":
            base = typical_eta if constant is None else None
            constants = a.sum(axis=1)
            eta = np.ascontiguousarray(eta.T)
            return kernels.SparseForms(eta, constants, base, typical_a.sum())
        given = self.trials_of_rows(D)
        trials = np.ones(D) if given is None else given
        centre = self.reference(values) * trials
        at_centre = centre * eta + trials * a
        typical_at_centre = centre * typical_eta + trials * typical_a
        base, base_constant = typical_eta, typical_at_centre.sum()
        constants = at_centre.sum(axis=1)
        if missing:
            eta, constants = np.hstack([eta, at_centre]), np.zeros(len(eta))
            base, base_constant = np.hstack([typical_eta, typical_at_centre]), 0.0
        if constant is not None:
            base = None
        return kernels.Counts(centre, eta, constants, base, base_constant, given)

    def statistics(
        self, flat: np.ndarray, counts: np.ndarray, kernel: Any, parameters: Any
    ) -> CountStatistics:
        values = self._values(parameters)
        K, D = values.shape
        nothing = np.zeros(D)
        if kernel.form == "entries":
            first = kernel.by_slot(flat).T
            trials = np.tile(first[:, -1:], D)
            return CountStatistics(self.kind, nothing, first[:, :-1], trials)
        sums = flat.reshape(K, -1)
        if kernel.paired:
            return CountStatistics(self.kind, nothing, sums[:, :D], sums[:, D:])
        given = self.trials_of_rows(D)
        observed = sums[:, D:] if sums.shape[1] > D else np.tile(counts[:, None], D)
        trials = observed if given is None else observed * given
        return CountStatistics(self.kind, self.reference(values), sums[:, :D], trials)

    def constant(self, n_rows: int, n_features: int, flat_total: FlatTotal, missing: bool) -> float:
        """The sum of w log c(x, t), which takes as long as the density of many components."""
        total, parameters = flat_total(self)
        return total.log_likelihood - self._typical_log_density(total.emission, parameters)

    def complete(
        self, statistics: Statistics, parameters: Any, constant: float | None
    ) -> Statistics:
        """Add the log-density of the typical component, and log c(x, t)."""
        if constant is None:
            return statistics
        typical = self._typical_log_density(statistics.emission, parameters)
        return replace(statistics, log_likelihood=statistics.log_likelihood + typical + constant)

    def _typical_log_density(self, statistics: CountStatistics, parameters: Any) -> float:
        """sum_n w_n sum_d x_d eta_d + t_d a_d of the typical component."""
        eta, a = self.forms(self.typical(self._values(parameters)))
        trials = statistics.trials.sum(axis=0)
        counts = statistics.first.sum(axis=0) + statistics.reference * trials
        return float(counts @ eta + trials @ a)

    def mstep(self, statistics: CountStatistics, parameters: Any) -> Any:
        if self.group in self.fixed:
            return parameters
        if self.prior is not None:
            nothing = np.zeros(self._values(parameters).shape[1])
            statistics += replace(
                statistics, reference=nothing, first=self.prior.successes, trials=self.prior.trials
            )
        gone = starved(statistics.trials)
        n = np.where(gone, 1.0, statistics.trials)
        values = self.clipped(statistics.reference + statistics.first / n)
        return self._with_values(np.where(gone, self._values(parameters), values), parameters)

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

    def start(self, statistics: CountStatistics, parameters: Any) -> Any:
        # A rate of 0, or a probability of 0 or 1, would never move again.
        values = self._values(self.mstep(statistics, parameters))
        average = pooled(values, statistics.trials)
        shrunk = (1 - START_SHRINKAGE) * values + START_SHRINKAGE * average
        return self.made(self.fixed.keep(self.group, shrunk, values))

    def with_groups(self, parameters: Any, given: dict[str, np.ndarray]) -> Any:
        return self.made(filled(given.get(self.group), self._values(parameters)))

    def reseed(
        self, parameters: Any, components: np.ndarray, rows: np.ndarray, healthy: np.ndarray
    ) -> Any:
        values = self._values(parameters).copy()
        average = values[healthy].mean(axis=0)
        own = self.share(rows)
        values[components] = 0.5 * (np.where(np.isnan(own), average, own) + average)
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

    def shape(self, parameters: Any) -> tuple[int, int]:
        return self._values(parameters).shape

    def group_size(self, group: str, n_components: int, n_features: int) -> int:
        return n_components * n_features

    def embedded(
        self, X: Any, located: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        locations = located.get(self.group)
        if isinstance(X, SparseRows):
            columns = varying_columns(X)
            X = SparseRows(X.matrix[:, columns])
            locations = None if locations is None else locations[:, columns]
        points = as_points(self.share(X))
        return self.spread(points), None if locations is None else self.spread(locations)

    def spread(self, shares: np.ndarray) -> np.ndarray:
        """Shares on a scale where their variance depends little on where they are."""
        return shares

    def share(self, X: Any) -> np.ndarray:
        """Counts for each trial, NaN where a count is missing."""
        if isinstance(X, RowsWithTrials):
            with np.errstate(invalid="ignore"):
                return X.counts / X.trials
        trials = self.trials_of_rows(X.shape[1])
        if trials is None or isinstance(X, SparseRows):
            return X
        return X / trials


class Poisson(CountEmission):
    """Independent counts without a bound.

    Parameters
    ----------
    fixed : collection or mapping of "rates", see `known.Known`
    """

    kind = "Poisson"
    group = "rates"
    made = PoissonParameters
    check_prior = staticmethod(check_gamma)

    def forms(self, values):
        with np.errstate(divide="ignore"):
            return np.maximum(np.log(values), LOG_FLOOR), -values

    def trials_of_rows(self, n_features):
        return None

    def distance(self, values, reference):
        return log_ratios(values, reference)

    def moved(self, values, distance):
        return values * np.exp(distance)

    def clipped(self, values):
        return np.maximum(values, 0.0)

    def flat_start(self, X: Any, n_components: int) -> PoissonParameters:
        means = as_means(X)
        return PoissonParameters(np.tile(np.where(means > 0, means, 1.0), (n_components, 1)))

    def spread(self, shares: np.ndarray) -> np.ndarray:
        return np.sqrt(shares)

    def validated(self, estimator, X, *, reset):
        return check_counts(estimator, X, reset=reset)

    def checked(self, name: str, group: str, values: Any, K: int, D: int) -> np.ndarray:
        return check_of_components(
            name, values, lambda name, values: check_rates(name, values, (K, D))
        )

    def draw(
        self,
        parameters: PoissonParameters,
        component: int,
        n_rows: int,
        random_state: np.random.RandomState,
    ) -> np.ndarray:
        rates = parameters.rates[component]
        return random_state.poisson(rates, (n_rows, len(rates)))

    def impossible_rows(self, X: Any, parameters: PoissonParameters) -> np.ndarray | None:
        never = parameters.rates == 0
        if not never.any():
            return None
        some = X.matrix > 0 if isinstance(X, SparseRows) else np.asarray(X > 0, np.float64)
        return some @ never.T > 0


class Binomial(CountEmission):
    """Independent counts of successes.

    Parameters
    ----------
    n_trials : int or array-like of shape (n_features,), optional
        Trials of every row; without, rows bring their own.
    fixed : collection or mapping of "probabilities", see `known.Known`
    """

    kind = "Binomial"
    group = "probabilities"
    made = BinomialParameters
    check_prior = staticmethod(check_beta)

    def __init__(self, n_trials=None, *, fixed=()):
        super().__init__(fixed=fixed)
        self.n_trials = n_trials

    def forms(self, values):
        with np.errstate(divide="ignore"):
            log_p = np.maximum(np.log(values), LOG_FLOOR)
            log_q = np.maximum(np.log1p(-values), LOG_FLOOR)
        return log_p - log_q, log_q

    def trials_of_rows(self, n_features):
        if self.n_trials is None:
            return None
        return np.array(np.broadcast_to(np.asarray(self.n_trials, np.float64), n_features))

    def distance(self, values, reference):
        return log_odds_ratios(values, reference)

    def moved(self, values, distance):
        return with_log_odds_ratios(values, distance)

    def clipped(self, values):
        return np.clip(values, 0.0, 1.0)

    def reference(self, values):
        if self.n_trials is None:
            return np.zeros(values.shape[1])
        return (values.mean(axis=0) > 0.5).astype(np.float64)

    def flat_start(self, X: Any, n_components: int) -> BinomialParameters:
        return BinomialParameters(np.full((n_components, X.shape[1]), 0.5))

    def missing_entries(self, X: Any) -> np.ndarray:
        return X.trials == 0 if isinstance(X, RowsWithTrials) else super().missing_entries(X)

    def validated(self, estimator, X, *, reset):
        return check_counts(estimator, X, reset=reset, most=self.trials_of_rows(np.shape(X)[1]))

    def checked(self, name: str, group: str, values: Any, K: int, D: int) -> np.ndarray:
        return check_of_components(
            name, values, lambda name, values: check_probabilities(name, values, (K, D))
        )

    def draw(
        self,
        parameters: BinomialParameters,
        component: int,
        n_rows: int,
        random_state: np.random.RandomState,
    ) -> np.ndarray:
        p = parameters.probabilities[component]
        if self.n_trials is None:
            raise ValueError("n_trials: found None; expected the number of trials to draw from")
        trials = np.broadcast_to(np.asarray(self.n_trials, np.int64), len(p))
        return random_state.binomial(trials, p, (n_rows, len(p)))

    def impossible_rows(self, X: Any, parameters: BinomialParameters) -> np.ndarray | None:
        p = parameters.probabilities
        if not np.any((p == 0) | (p == 1)):
            return None
        counts, trials = X, self.n_trials
        if isinstance(X, RowsWithTrials):
            counts, trials = X.counts, X.trials
        some, fails = (np.asarray(each, np.float64) for each in (counts > 0, counts < trials))
        return some @ (p == 0).T + fails @ (p == 1).T > 0


def as_means(X: Any) -> np.ndarray:
    """Means of the columns over what is there."""
    if isinstance(X, SparseRows):
        return np.asarray(X.matrix.mean(axis=0), np.float64)
    X = np.asarray(X, np.float64)
    there = ~np.isnan(X)
    return np.where(there, X, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
