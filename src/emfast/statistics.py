"""Expected sufficient statistics of some rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np

# Below this fraction of all rows, a component has starved.
STARVED = 10 * float(np.finfo(np.float64).eps)


def starved(counts: np.ndarray) -> np.ndarray:
    """Which components have too little weight for an M-step, by the sums of responsibilities.

    Where entries of rows are missing, the sums may be those over what was observed of each feature,
    (n_components, n_features): then, which have too little for an estimate of the feature.
    """
    return counts <= STARVED * counts.sum(axis=0)


def pooled(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Averages of the components' values, (n_components, n_features), weighted by their counts."""
    totals = np.broadcast_to(counts, values.shape).sum(axis=0)
    known = totals > 0
    sums = (counts * values).sum(axis=0)
    return np.where(known, sums / np.where(known, totals, 1.0), values.mean(axis=0))


@dataclass(frozen=True, eq=False)
class Statistics:
    """Expected sufficient statistics of some rows; they add.

    Attributes
    ----------
    log_likelihood : float, weighted, in nats
    weight : float, sum of the weights of the rows
    counts : ndarray of shape (n_components,), sums of responsibilities
    latent : the latent structure's own statistics
    emission : the emission's own statistics
    impossible_row : int, a row of zero likelihood in a batch, or -1
    """

    log_likelihood: float
    weight: float
    counts: np.ndarray
    latent: Any
    emission: Any
    impossible_row: int = -1

    def __add__(self, other: "Statistics") -> "Statistics":
        # Refuses statistics of another kind or shape.
        emission = self.emission + other.emission
        return Statistics(
            self.log_likelihood + other.log_likelihood,
            self.weight + other.weight,
            self.counts + other.counts,
            self.latent + other.latent,
            emission,
        )
