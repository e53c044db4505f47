r"""Bernoulli emission: independent binary features.

:math:`\log p(x | k) = \sum_d x_d \log p_{kd} + (1 - x_d) \log(1 - p_{kd})`; the M-step is
:math:`p_{kd} = \sum_n r_{nk} x_{nd} / \sum_n r_{nk}` (Bishop 2006, eq. 9.59).
"""

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from scipy.special import expit, logit

from emfast.emissions.base import ConditionalMeans, Emission, refuse_another_kind
from emfast.known import Known, filled
from emfast.priors import LOG_FLOOR, Beta, check_beta
from emfast.rows import SparseRows, as_points, varying_columns
from emfast.statistics import pooled, starved
from emfast.validation import check_binary, check_of_components, check_probabilities

# How far the probabilities of a start are moved towards their average over components.
START_SHRINKAGE = 0.05


@dataclass(frozen=True, eq=False)
class BernoulliParameters:
    """probabilities : ndarray of shape (K, D), p(x_d = 1 | k), 0 and 1 included."""

    probabilities: np.ndarray


@dataclass(frozen=True, eq=False)
class BernoulliStatistics:
    """Sums of responsibilities and of responsibilities where a feature differs from its reference.

    Attributes
    ----------
    counts : ndarray of shape (K, 1), or (K, D) where features may be missing
    reference : ndarray of shape (D,), 0 or 1
    first : ndarray of shape (K, D), sums of r (x - reference)
    """

    counts: np.ndarray
    reference: np.ndarray
    first: np.ndarray

    @property
    def kind(self) -> str:
        return f"Bernoulli of shape {self.first.shape}"

    def __add__(self, other: "BernoulliStatistics") -> "BernoulliStatistics":
        refuse_another_kind(self, other)
        moved = other.first + other.counts * (other.reference - self.reference)
        return replace(self, counts=self.counts + other.counts, first=self.first + moved)


class Bernoulli(Emission):
    """Independent binary features.

    Parameters
    ----------
    fixed : collection or mapping of "probabilities", see `known.Known`
    """

    kind = "Bernoulli"
    discrete = True
    groups = ("probabilities",)
    prior_names = ("probabilities_prior",)

    def __init__(self, *, fixed=()):
        self.fixed = Known(fixed)

    def validated(self, estimator, X, *, reset):
        return check_binary(estimator, X, reset=reset)

    def checked(self, name: str, group: str, values: Any, K: int, D: int) -> np.ndarray:
        return check_of_components(
            name, values, lambda name, values: check_probabilities(name, values, (K, D))
        )

    def embedded(
        self, X: Any, located: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        points, locations = X, located.get("probabilities")
        if isinstance(X, SparseRows):
            columns = varying_columns(X)
            points = SparseRows(X.matrix[:, columns])
            locations = None if locations is None else locations[:, columns]
        return as_points(points), locations

    def kernel(
        self,
        parameters: BernoulliParameters,
        weights: np.ndarray,
        kernels: ModuleType,
        constant: None = None,
        missing: bool = False,
        storage: str = "dense",
    ) -> Any:
        # log p(x) = sum_d (x_d - c_d) logit_d + sum_d (1 - c_d) log(1 - p_d) + c_d log p_d.
        # With the reference c_d at the likelier value, no large terms cancel where p is near 1.
        p = parameters.probabilities
        with np.errstate(divide="ignore"):
            log_p = np.maximum(np.log(p), LOG_FLOOR)
            log_q = np.maximum(np.log1p(-p), LOG_FLOOR)
        if storage == "sparse":
            return kernels.SparseForms(np.ascontiguousarray((log_p - log_q).T), log_q.sum(axis=1))
        if missing:
            # Yes and no are columns of their own, and a feature that is missing has neither.
            K, D = p.shape
            return kernels.Bernoulli(np.zeros(2 * D), np.hstack([log_p, log_q]), np.zeros(K), True)
        reference = _reference(p)
        constants = np.where(reference, log_p, log_q).sum(axis=1)
        return kernels.Bernoulli(reference, log_p - log_q, constants)

    def statistics(
        self, flat: np.ndarray, counts: np.ndarray, kernel: Any, parameters: BernoulliParameters
    ) -> BernoulliStatistics:
        # The kernel's own counts: a column of ones has sums that are exactly as large.
        K, D = parameters.probabilities.shape
        nothing = np.zeros(D)
        if kernel.form == "entries":
            first = kernel.by_slot(flat).T
            return BernoulliStatistics(first[:, -1:], nothing, first[:, :-1])
        first = flat.reshape(K, -1)
        if first.shape[1] > D + 1:
            yes, no = first[:, :D], first[:, D:-1]
            return BernoulliStatistics(yes + no, nothing, yes)
        reference = _reference(parameters.probabilities)
        return BernoulliStatistics(first[:, -1:], reference, first[:, :-1])

    def mstep(
        self, statistics: BernoulliStatistics, parameters: BernoulliParameters
    ) -> BernoulliParameters:
        if "probabilities" in self.fixed:
            return parameters
        if self.prior is not None:
            nothing = np.zeros(parameters.probabilities.shape[1])
            statistics += BernoulliStatistics(self.prior.trials, nothing, self.prior.successes)
        gone = starved(statistics.counts)
        n = np.where(gone, 1.0, statistics.counts)
        p = np.clip(statistics.reference + statistics.first / n, 0.0, 1.0)
        p = np.where(gone, parameters.probabilities, p)
        return BernoulliParameters(self.fixed.keep("probabilities", p, parameters.probabilities))

    def checked_prior(
        self, prior: dict[str, Any], n_components: int, n_features: int
    ) -> Beta | None:
        name = self.prior_names[0]
        if name not in prior:
            return None
        return check_beta(f"prior[{name!r}]", prior[name], n_components, n_features)

    def log_prior(self, parameters: BernoulliParameters) -> float:
        return 0.0 if self.prior is None else self.prior.log_density(parameters.probabilities)

    def start(
        self, statistics: BernoulliStatistics, parameters: BernoulliParameters
    ) -> BernoulliParameters:
        # A probability of 0 or 1 would never move again.
        p = self.mstep(statistics, parameters).probabilities
        shrunk = (1 - START_SHRINKAGE) * p + START_SHRINKAGE * pooled(p, statistics.counts)
        return BernoulliParameters(self.fixed.keep("probabilities", shrunk, p))

    def flat_start(self, X: np.ndarray, n_components: int) -> BernoulliParameters:
        return BernoulliParameters(np.full((n_components, X.shape[1]), 0.5))

    def with_groups(
        self, parameters: BernoulliParameters, given: dict[str, np.ndarray]
    ) -> BernoulliParameters:
        return BernoulliParameters(filled(given.get("probabilities"), parameters.probabilities))

    def reseed(
        self,
        parameters: BernoulliParameters,
        components: np.ndarray,
        rows: np.ndarray,
        healthy: np.ndarray,
    ) -> BernoulliParameters:
        p = parameters.probabilities.copy()
        average = p[healthy].mean(axis=0)
        p[components] = 0.5 * (np.where(np.isnan(rows), average, rows) + average)
        return BernoulliParameters(self.fixed.keep("probabilities", p, parameters.probabilities))

    def displacement(
        self, parameters: BernoulliParameters, reference: BernoulliParameters
    ) -> np.ndarray:
        """Differences of log-odds."""
        if "probabilities" in self.fixed:
            return np.empty(0)
        return log_odds_ratios(parameters.probabilities, reference.probabilities).ravel()

    def displaced(
        self, displacement: np.ndarray, reference: BernoulliParameters
    ) -> BernoulliParameters | None:
        if "probabilities" in self.fixed:
            return reference
        p = reference.probabilities
        return BernoulliParameters(with_log_odds_ratios(p, displacement.reshape(p.shape)))

    def shape(self, parameters: BernoulliParameters) -> tuple[int, int]:
        return parameters.probabilities.shape

    def group_size(self, group: str, n_components: int, n_features: int) -> int:
        return n_components * n_features

    def marginal(self, parameters: BernoulliParameters, columns: np.ndarray) -> BernoulliParameters:
        return BernoulliParameters(np.take(parameters.probabilities, columns, axis=1))

    def estimates(
        self,
        parameters: BernoulliParameters,
        X: np.ndarray,
        responsibilities: np.ndarray,
        conditional_means: ConditionalMeans,
    ) -> np.ndarray:
        p = parameters.probabilities
        return (responsibilities @ p > responsibilities @ (1 - p)).astype(np.float64)

    def draw(
        self,
        parameters: BernoulliParameters,
        component: int,
        n_rows: int,
        random_state: np.random.RandomState,
    ) -> np.ndarray:
        p = parameters.probabilities[component]
        return (random_state.random_sample((n_rows, p.size)) < p).astype(np.uint8)

    def impossible_rows(self, X: np.ndarray, parameters: BernoulliParameters) -> np.ndarray | None:
        p = parameters.probabilities
        if not np.any((p == 0) | (p == 1)):
            return None
        if isinstance(X, SparseRows):
            ones = X.matrix != 0
            return ones @ (p == 0).T + ((p == 1).sum(axis=1) - ones @ (p == 1).T) > 0
        yes, no = (np.asarray(value == X, np.float64) for value in (1, 0))
        return yes @ (p == 0).T + no @ (p == 1).T > 0


def log_odds_ratios(p: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Differences of log-odds."""
    return _log_odds(p) - _log_odds(reference)


def with_log_odds_ratios(p: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Probabilities with log-odds that differ by so much; exactly 0 or 1 stays so for none."""
    return np.where(ratios == 0, p, expit(_log_odds(p) + ratios))


def _log_odds(p: np.ndarray) -> np.ndarray:
    return np.clip(logit(p), LOG_FLOOR, -LOG_FLOOR)


def _reference(p: np.ndarray) -> np.ndarray:
    """For every feature the value, 0 or 1, that is likelier over all components."""
    return (p.mean(axis=0) > 0.5).astype(np.float64)
