r"""Exponential emission: independent waiting times.

:math:`\log p(x | k) = \sum_d \log\lambda_{kd} - \lambda_{kd} x_d` for :math:`x \ge 0`, which is
linear as `linear` says, with :math:`\eta = -\lambda, a = \log\lambda, t = 1, c = 1`. The mean is
:math:`1 / \lambda`.

The likelihood has no maximum where a component may have rows that are all 0 in some feature: its
rate there grows without end. Rates grow no further than to `LARGEST_RATE` over the mean of the
column, and a component that has come so far is degenerate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from emfast.emissions.linear import LinearStatistics, RateEmission
from emfast.inputs.rows import column_means
from emfast.inputs.validation import check_durations, check_some_duration
from emfast.statistics import pooled

# In units of one over the mean of the column.
LARGEST_RATE = 1e8


@dataclass(frozen=True, eq=False)
class ExponentialParameters:
    """rates : ndarray of shape (K, D), one over the means, positive."""

    rates: np.ndarray


class Exponential(RateEmission):
    """Independent waiting times.

    Parameters
    ----------
    fixed : collection or mapping of "rates", see `known.Known`
    """

    kind = "Exponential"
    made = ExponentialParameters
    has_units = True
    takes_zero = False

    def validated(self, estimator, X, *, reset):
        return check_durations(estimator, X, reset=reset)

    def check_columns(
        self, X: np.ndarray, weights: np.ndarray | None, called: Callable[[int], str]
    ) -> None:
        has_prior = self.prior is not None and bool(np.all(self.prior.trials > 0))
        check_some_duration(X, weights, called, zero=has_prior or "rates" in self.fixed)

    def forms(self, values):
        return -values, np.log(values)

    def means(self, values):
        return 1 / values

    def values_of(self, means):
        return 1 / means

    def prior_sums(self):
        # rate^(a - 1) exp(-b rate): a - 1 rows that have taken b together.
        return self.prior.trials, self.prior.successes

    def bounded(self, means, before, trials):
        # Over all components the mean is the same in every iteration: so is the bound, which a
        # model may have been beyond from the start.
        average = pooled(means, trials)
        least = np.where(average > 0, average / LARGEST_RATE, np.inf)
        return np.maximum(means, np.minimum(least, before))

    def moved(self, values, distance):
        moved = super().moved(values, distance)
        return np.where(moved > 0, moved, np.nan)

    def spread(self, means):
        # Cube roots of waiting times are nearly normal (Wilson and Hilferty, 1931).
        return np.cbrt(means)

    def kernel(
        self,
        parameters: ExponentialParameters,
        weights: np.ndarray,
        kernels: ModuleType,
        constant: None = None,
        missing: bool = False,
        storage: str = "dense",
    ) -> Any:
        eta, a = self.forms(parameters.rates)
        K, D = eta.shape
        if missing:
            return kernels.LinearForms(np.zeros(D), np.hstack([eta, a]), np.zeros(K))
        return kernels.LinearForms(np.zeros(D), eta, a.sum(axis=1))

    def flat_start(self, X: np.ndarray, n_components: int) -> ExponentialParameters:
        means = column_means(X)
        rates = 1 / np.where(means > 0, means, 1.0)
        return ExponentialParameters(np.tile(rates, (n_components, 1)))

    def degenerate(
        self, statistics: LinearStatistics, parameters: ExponentialParameters, n_rows: int
    ) -> list[int]:
        averages = statistics.first.sum(axis=0) / statistics.trials.sum(axis=0)
        steep = np.any(parameters.rates * averages >= 0.5 * LARGEST_RATE, axis=1)
        return np.flatnonzero(steep & ~self.fixed.of("rates", len(steep))).tolist()

    def draw(
        self,
        parameters: ExponentialParameters,
        component: int,
        n_rows: int,
        random_state: np.random.RandomState,
    ) -> np.ndarray:
        rates = parameters.rates[component]
        return random_state.exponential(1 / rates, (n_rows, len(rates)))
