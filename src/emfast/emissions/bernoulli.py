r"""Bernoulli emission: independent binary features.

:math:`\log p(x | k) = \sum_d x_d \log p_{kd} + (1 - x_d) \log(1 - p_{kd})`; the M-step is
:math:`p_{kd} = \sum_n r_{nk} x_{nd} / \sum_n r_{nk}` (Bishop 2006, eq. 9.59).
"""

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from emfast.emissions.base import Emission, refuse_another_kind
from emfast.known import Known, filled
from emfast.statistics import starved

# log p and log(1 - p) are not taken to be lower: a row that a component excludes stays comparable.
LOG_FLOOR = -100.0

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
    counts : ndarray of shape (K,)
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
        moved = other.first + other.counts[:, None] * (other.reference - self.reference)
        return replace(self, counts=self.counts + other.counts, first=self.first + moved)


class Bernoulli(Emission):
    """Independent binary features.

    Parameters
    ----------
    fixed : collection or mapping of "probabilities", see `known.Known`
    """

    kind = "Bernoulli"
    groups = ("probabilities",)

    def __init__(self, *, fixed=()):
        self.fixed = Known(fixed)

    def kernel(
        self,
        parameters: BernoulliParameters,
        weights: np.ndarray,
        kernels: ModuleType,
        constant: None = None,
    ) -> Any:
        # log p(x) = sum_d (x_d - c_d) logit_d + sum_d (1 - c_d) log(1 - p_d) + c_d log p_d.
        # With the reference c_d at the likelier value, no large terms cancel where p is near 1.
        p = parameters.probabilities
        reference = _reference(p)
        with np.errstate(divide="ignore"):
            log_p = np.maximum(np.log(p), LOG_FLOOR)
            log_q = np.maximum(np.log1p(-p), LOG_FLOOR)
        constants = np.where(reference, log_p, log_q).sum(axis=1)
        return kernels.Bernoulli(reference, log_p - log_q, constants)

    def statistics(
        self, flat: np.ndarray, counts: np.ndarray, kernel: Any, parameters: BernoulliParameters
    ) -> BernoulliStatistics:
        # The kernel's own counts: a column of ones has sums that are exactly as large.
        p = parameters.probabilities
        first = flat.reshape(len(p), -1)
        return BernoulliStatistics(first[:, -1], _reference(p), first[:, :-1])

    def mstep(
        self, statistics: BernoulliStatistics, parameters: BernoulliParameters
    ) -> BernoulliParameters:
        if "probabilities" in self.fixed:
            return parameters
        gone = starved(statistics.counts)
        n = np.where(gone, 1.0, statistics.counts)[:, None]
        p = np.clip(statistics.reference + statistics.first / n, 0.0, 1.0)
        p = self.fixed.keep("probabilities", p, parameters.probabilities, gone)
        return BernoulliParameters(p)

    def start(
        self, statistics: BernoulliStatistics, parameters: BernoulliParameters
    ) -> BernoulliParameters:
        # A probability of 0 or 1 would never move again.
        p = self.mstep(statistics, parameters).probabilities
        average = statistics.counts @ p / statistics.counts.sum()
        shrunk = (1 - START_SHRINKAGE) * p + START_SHRINKAGE * average
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
        p[components] = 0.5 * (rows + p[healthy].mean(axis=0))
        return BernoulliParameters(self.fixed.keep("probabilities", p, parameters.probabilities))

    def shape(self, parameters: BernoulliParameters) -> tuple[int, int]:
        return parameters.probabilities.shape

    def group_size(self, group: str, n_components: int, n_features: int) -> int:
        return n_components * n_features

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
        ones = np.asarray(X, dtype=np.float64)
        return ones @ (p == 0).T + (1 - ones) @ (p == 1).T > 0


def _reference(p: np.ndarray) -> np.ndarray:
    """For every feature the value, 0 or 1, that is likelier over all components."""
    return (p.mean(axis=0) > 0.5).astype(np.float64)
