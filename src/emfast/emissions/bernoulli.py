r"""Bernoulli emission: independent binary features.

:math:`\log p(x | k) = \sum_d x_d \log p_{kd} + (1 - x_d) \log(1 - p_{kd})`; the M-step is
:math:`p_{kd} = \sum_n r_{nk} x_{nd} / \sum_n r_{nk}` (Bishop 2006, eq. 9.59).
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from emfast.emissions.base import ConditionalMeans
from emfast.emissions.linear import LinearStatistics, ProbabilityEmission
from emfast.inputs.validation import check_binary
from emfast.parts.logarithms import log_probabilities


@dataclass(frozen=True, eq=False)
class BernoulliParameters:
    """probabilities : ndarray of shape (K, D), p(x_d = 1 | k), 0 and 1 included."""

    probabilities: np.ndarray


class Bernoulli(ProbabilityEmission):
    """Independent binary features.

    Parameters
    ----------
    fixed : collection or mapping of "probabilities", see `known.Known`
    """

    kind = "Bernoulli"
    takes_sparse = True
    made = BernoulliParameters

    def validated(self, estimator, X, *, reset):
        return check_binary(estimator, X, reset=reset)

    def out_of(self, X):
        return X, 1

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
        log_p, log_q = log_probabilities(p)
        if storage == "sparse":
            return kernels.SparseForms(np.ascontiguousarray((log_p - log_q).T), log_q.sum(axis=1))
        if missing:
            # Yes and no are columns of their own, and a feature that is missing has neither.
            K, D = p.shape
            return kernels.Bernoulli(np.zeros(2 * D), np.hstack([log_p, log_q]), np.zeros(K), True)
        reference = self.reference(p)
        constants = np.where(reference, log_p, log_q).sum(axis=1)
        return kernels.Bernoulli(reference, log_p - log_q, constants)

    def statistics(
        self, flat: np.ndarray, counts: np.ndarray, kernel: Any, parameters: BernoulliParameters
    ) -> LinearStatistics:
        # The kernel's own counts: a column of ones has sums that are exactly as large.
        p = parameters.probabilities
        D, reference = p.shape[1], np.zeros(p.shape[1])
        if kernel.form == "entries":
            sums = kernel.by_slot(flat).T
        else:
            sums = flat.reshape(len(p), -1)
            if sums.shape[1] > D + 1:
                yes, no = sums[:, :D], sums[:, D:-1]
                return LinearStatistics(self.kind, reference, yes, yes + no)
            reference = self.reference(p)
        return LinearStatistics(self.kind, reference, sums[:, :-1], np.tile(sums[:, -1:], D))

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
