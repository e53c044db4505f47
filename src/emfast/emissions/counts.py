r"""Counts: Poisson and binomial emissions, with independent features.

Both are linear in the count :math:`x` and its trials :math:`t`, as `linear` says, with
:math:`\eta = \log\lambda, a = -\lambda, t = 1, c = 1 / x!` for a rate :math:`\lambda`, and
:math:`\eta = \log p - \log(1 - p), a = \log(1 - p), c = \binom{t}{x}` for a probability :math:`p`.
The mean count for each trial is the parameter. A missing count has no trials.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emfast.annotations import Fixed
from emfast.emissions.base import ConditionalMeans, FlatTotal
from emfast.emissions.linear import (
    LinearEmission,
    LinearStatistics,
    ProbabilityEmission,
    RateEmission,
)
from emfast.inputs.arguments import check_trials
from emfast.inputs.rows import RowsWithTrials, SparseRows, column_means
from emfast.inputs.validation import check_counts, check_within_trials
from emfast.parts.logarithms import log_above_floor
from emfast.statistics import Statistics
from emfast.storage.stored import Record


@dataclass(frozen=True, eq=False)
class PoissonParameters:
    """rates : ndarray of shape (K, D), mean counts, 0 included."""

    rates: np.ndarray


@dataclass(frozen=True, eq=False)
class BinomialParameters:
    """probabilities : ndarray of shape (K, D), of success in one trial, 0 and 1 included."""

    probabilities: np.ndarray


class CountEmission(LinearEmission):
    """What Poisson and binomial emissions share."""

    discrete = True

    @abstractmethod
    def trials_of_rows(self, n_features: int) -> np.ndarray | None:
        """Trials of every feature, (D,), where they are the same for all rows and not just 1."""

    def typical(self, values: np.ndarray) -> np.ndarray:
        """A parameter for every feature, beside which those of the components are told, (D,)."""
        return values.mean(axis=0)

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
    ) -> LinearStatistics:
        K, D = self.shape(parameters)
        nothing = np.zeros(D)
        if kernel.form == "entries":
            first = kernel.by_slot(flat).T
            trials = np.tile(first[:, -1:], D)
            return LinearStatistics(self.kind, nothing, first[:, :-1], trials)
        if kernel.paired:
            sums = flat.reshape(K, -1)
            return LinearStatistics(self.kind, nothing, sums[:, :D], sums[:, D:])
        statistics = super().statistics(flat, counts, kernel, parameters)
        given = self.trials_of_rows(D)
        if given is None:
            return statistics
        return replace(statistics, trials=statistics.trials * given)

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

    def _typical_log_density(self, statistics: LinearStatistics, parameters: Any) -> float:
        """sum_n w_n sum_d x_d eta_d + t_d a_d of the typical component."""
        eta, a = self.forms(self.typical(self._values(parameters)))
        trials = statistics.trials.sum(axis=0)
        counts = statistics.first.sum(axis=0) + statistics.reference * trials
        return float(counts @ eta + trials @ a)

    def share(self, X: Any) -> np.ndarray:
        """Counts for each trial, NaN where a count is missing."""
        if isinstance(X, RowsWithTrials):
            with np.errstate(invalid="ignore"):
                return X.counts / X.trials
        trials = self.trials_of_rows(X.shape[1])
        if trials is None or isinstance(X, SparseRows):
            return X
        return X / trials


class Poisson(RateEmission, CountEmission):
    """Independent counts without a bound.

    Parameters
    ----------
    fixed : collection or mapping of "rates", see `known.Known`
    """

    kind = "Poisson"
    takes_sparse = True
    made = PoissonParameters
    takes_zero = True

    def forms(self, values):
        return log_above_floor(values), -values

    def trials_of_rows(self, n_features):
        return None

    def bounded(self, means, before, trials):
        return np.maximum(means, 0.0)

    def flat_start(self, X: Any, n_components: int) -> PoissonParameters:
        means = column_means(X)
        return PoissonParameters(np.tile(np.where(means > 0, means, 1.0), (n_components, 1)))

    def spread(self, means):
        return np.sqrt(means)

    def validated(self, estimator, X, *, reset):
        return check_counts(estimator, X, reset=reset, accept_sparse=True)

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


class Binomial(ProbabilityEmission, CountEmission):
    """Independent counts of successes.

    Parameters
    ----------
    n_trials : int or array-like of shape (n_features,), optional
        Trials of every row; without, rows bring their own.
    fixed : collection or mapping of "probabilities", see `known.Known`
    """

    kind = "Binomial"
    made = BinomialParameters

    def __init__(self, n_trials: ArrayLike | None = None, *, fixed: Fixed = ()) -> None:
        super().__init__(fixed=fixed)
        self.n_trials = n_trials

    def trials_of_rows(self, n_features):
        if self.n_trials is None:
            return None
        return np.array(np.broadcast_to(np.asarray(self.n_trials, np.float64), n_features))

    def reference(self, values):
        if self.n_trials is None:
            # Nothing is left out of rows that bring trials of their own.
            return np.zeros(values.shape[1])
        return super().reference(values)

    def out_of(self, X):
        return (X.counts, X.trials) if isinstance(X, RowsWithTrials) else (X, self.n_trials)

    def missing_entries(self, X: Any) -> np.ndarray:
        return X.trials == 0 if isinstance(X, RowsWithTrials) else super().missing_entries(X)

    def validated(self, estimator, X, *, reset):
        rows, missing = check_counts(estimator, X, reset=reset)
        check_within_trials(estimator, rows, check_trials(self.n_trials, None, rows.shape[1]))
        return rows, missing

    def stored(self, n_components: int, n_features: int) -> Record:
        if self.n_trials is not None:
            check_trials(self.n_trials, None, n_features)
        return super().stored(n_components, n_features)

    def of_columns(self, columns: np.ndarray) -> "Binomial":
        changed = super().of_columns(columns)
        if np.ndim(self.n_trials) > 0:
            changed.n_trials = np.asarray(self.n_trials)[columns]
        return changed

    def estimates(
        self,
        parameters: BinomialParameters,
        X: Any,
        responsibilities: np.ndarray,
        conditional_means: ConditionalMeans,
    ) -> np.ndarray:
        shares = super().estimates(parameters, X, responsibilities, conditional_means)
        trials = X.asked if isinstance(X, RowsWithTrials) else self.trials_of_rows(X.shape[1])
        return trials * shares

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
