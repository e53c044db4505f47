"""Log-likelihoods of all rows together, and criteria that weigh them against parameters."""

from abc import ABCMeta, abstractmethod
from collections.abc import Iterable

import numpy as np

from emfast.data import Batch


class InformationCriteria(metaclass=ABCMeta):
    """What is said of independent rows by the log-likelihood of each of them."""

    @abstractmethod
    def _log_likelihoods(self, batch: Batch) -> np.ndarray:
        """Log-likelihood of every row, (n_rows,), in nats."""

    @abstractmethod
    def _n_parameters(self) -> int:
        """How many free parameters the model has."""

    def _totals(self, batches: Iterable[Batch]) -> tuple[float, float]:
        """Weighted log-likelihood of the rows, and the sum of weights."""
        total = weight = 0.0
        for batch in batches:
            scores, weights = self._log_likelihoods(batch), batch.weights
            if weights is None:
                total, weight = total + float(scores.sum()), weight + len(scores)
            else:
                # Of a row without weight the log-likelihood may be -inf.
                total += float(scores[weights > 0] @ weights[weights > 0])
                weight += float(weights.sum())
        return total, weight

    def _bic_of(self, total: float, weight: float) -> float:
        """-2 log-likelihood + p log n with p free parameters and n the sum of weights."""
        return -2 * total + self._n_parameters() * np.log(weight)

    def _aic_of(self, total: float, weight: float) -> float:
        """-2 log-likelihood + 2 p."""
        return -2 * total + 2 * self._n_parameters()
