"""Expected sufficient statistics of some rows."""

import math
import os
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import numpy as np

# Below this fraction of all rows, a component has starved.
STARVED = 10 * float(np.finfo(np.float64).eps)

# Counts that a starved component, whose estimates nobody uses, can be divided by.
LEAST_COUNT = float(np.finfo(np.float64).tiny)


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


@dataclass(frozen=True)
class Under:
    """The model that statistics were taken under.

    Attributes
    ----------
    model : str, what it is, in words
    n_components, n_features : int
    parameters : str, a fingerprint of its parameters
    """

    model: str
    n_components: int
    n_features: int
    parameters: str

    def __str__(self) -> str:
        return (
            f"a {self.model}, {self.n_components} components, {self.n_features} features, "
            f"parameters {self.parameters}"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Statistics:
    """Expected sufficient statistics of some rows under a fitted model: all its M-step needs.

    The method `summarize` of an estimator makes them of rows, `update` takes them. Those of
    different rows add, so that rows may be anywhere: in files, in other processes, on other
    machines. Addition is exact up to rounding, whatever its order; the same order gives the same
    bits. Times a number, they are those of rows of so many times the weight.

    Their size does not depend on the number of rows. They can be pickled, written to files and made
    bytes.

    Attributes
    ----------
    log_likelihood : float
        Weighted sum of the log-likelihoods of the rows under the model, in nats.
    weight : float, sum of the weights of the rows
    counts : ndarray of shape (n_components,)
        Sums of responsibilities; with `noise` one more, the last.
    latent : the latent structure's own statistics
    emission : the emission's own statistics
    impossible_row : int, a row of zero likelihood in a batch, or -1
    under : Under or None
        What they were taken under: only those that were taken under the same parameters of the same
        model add. None inside of the package, where nobody can mix them up.

    Examples
    --------
    >>> import numpy as np
    >>> from emfast import GaussianMixture
    >>> X = np.array([[1.0], [1.2], [0.8], [9.0], [9.3], [8.7]])
    >>> mixture = GaussianMixture(2, random_state=0, max_iter=0).fit(X)
    >>> first, second = mixture.summarize(X[:3]), mixture.summarize(X[3:])
    >>> str(first).split(", parameters")[0]
    '<Statistics of weight 3: a GaussianMixture of full Gaussian, 2 components, 1 features'
    >>> sorted(mixture.update(first + second).means_.round(2).ravel().tolist())
    [1.0, 9.0]
    """

    log_likelihood: float
    weight: float
    counts: np.ndarray
    latent: Any
    emission: Any
    impossible_row: int = -1
    under: Under | None = None

    # Of NumPy's numbers, none is taken for an array of one number.
    __array_ufunc__ = None

    def __repr__(self) -> str:
        return f"<Statistics of weight {self.weight:.6g}: {self.under or 'of this package'}>"

    def __add__(self, other: "Statistics") -> "Statistics":
        if not isinstance(other, Statistics):
            return NotImplemented
        if self.under != other.under:
            raise ValueError(
                f"statistics of {self.under} and of {other.under} do not add; expected those of "
                "the same model, taken under the same parameters"
            )
        # Refuses statistics of another kind or shape.
        emission = self.emission + other.emission
        return Statistics(
            self.log_likelihood + other.log_likelihood,
            self.weight + other.weight,
            self.counts + other.counts,
            self.latent + other.latent,
            emission,
            under=self.under,
        )

    def __radd__(self, other: object) -> "Statistics":
        # What `sum` begins with.
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, factor: float) -> "Statistics":
        if not isinstance(factor, Real):
            return NotImplemented
        factor = float(factor)
        if not 0 <= factor < math.inf:
            raise ValueError(f"statistics times {factor}: expected a finite number from 0 on")
        return Statistics(
            factor * self.log_likelihood,
            factor * self.weight,
            factor * self.counts,
            self.latent * factor,
            self.emission * factor,
            under=self.under,
        )

    __rmul__ = __mul__

    def save(self, path: str | os.PathLike) -> None:
        """Write them to a file, which `emfast.load` reads.

        Parameters
        ----------
        path : str or path-like
            Taken as it is. The file has arrays and JSON, nothing of which is executed when it is
            read; it appears as a whole or not at all, and one of that name is replaced.

        Raises
        ------
        OSError
            The file cannot be written. There is none then, or still the old one.
        """
        from emfast.storage import archive, persistence

        archive.write(path, *persistence.described_statistics(self))

    def to_bytes(self) -> bytes:
        """The bytes of the file that `save` writes."""
        from emfast.storage import archive, persistence

        return archive.packed(*persistence.described_statistics(self))

    @classmethod
    def from_bytes(cls, content: bytes) -> "Statistics":
        """What `to_bytes` has made bytes of.

        Parameters
        ----------
        content : bytes

        Raises
        ------
        ValueError
            They are damaged, of another kind, or of a newer format; the message says which.

        Examples
        --------
        >>> import emfast
        >>> mixture = emfast.PoissonMixture(random_state=0).fit([[1], [2], [3]])
        >>> statistics = mixture.summarize([[4], [6]])
        >>> emfast.Statistics.from_bytes(statistics.to_bytes()).weight
        2.0
        """
        from emfast.storage import archive, persistence

        called = "content"
        return persistence.made_statistics(*archive.unpacked(content, called), called)

    @property
    def alone(self) -> "Statistics":
        """The same, without what classes derived from this one have besides."""
        return Statistics(**{each.name: getattr(self, each.name) for each in fields(Statistics)})
