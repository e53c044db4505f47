"""Data to try mixtures on: one classic set, and draws from known mixtures."""

from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["Dataset", "load_faithful", "make_cars_and_trucks", "make_gaussian_mixture"]

# Numbers drawn at a time by the generators of large data.
CHUNK_SIZE = 2**18


class Dataset(NamedTuple):
    """A table of numbers.

    Attributes
    ----------
    data : ndarray of shape (n_samples, n_features), float64
    columns : tuple of str, the name of every feature
    """

    data: np.ndarray
    columns: tuple[str, ...]


def load_faithful() -> Dataset:
    """Old Faithful: duration of an eruption and waiting time until the next, both in minutes.

    Returns
    -------
    Dataset
        272 rows; columns "eruptions" and "waiting".

    References
    ----------
    Azzalini, A. and Bowman, A. W. (1990). A look at some data on the Old Faithful geyser. Applied
    Statistics 39, 357-365.

    Examples
    --------
    >>> from emfast.datasets import load_faithful
    >>> faithful = load_faithful()
    >>> faithful.data.shape, faithful.columns
    ((272, 2), ('eruptions', 'waiting'))
    """
    with files(__name__).joinpath("faithful.csv").open(encoding="utf-8") as lines:
        columns = tuple(name.strip('"') for name in next(lines).strip().split(","))
        return Dataset(np.loadtxt(lines, delimiter=",", ndmin=2), columns)


def make_cars_and_trucks(
    n_labelled: int = 100,
    n_unlabelled: int = 1000,
    *,
    random_state: int | np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of cars and trucks, of which few are known to be the one or the other.

    Cars are N(5, 1²) and trucks N(10, 2²). Half of the labelled rows are cars; of the unlabelled
    rows each is a car with probability 0.6.

    Parameters
    ----------
    n_labelled, n_unlabelled : int, default=100 and 1000
        Labelled rows come first, cars before trucks; of an odd number the trucks are one more.
    random_state : int, numpy.random.Generator or None, default=None

    Returns
    -------
    X : ndarray of shape (n_labelled + n_unlabelled, 1), float64
    labels : ndarray of shape (n_labelled + n_unlabelled,), object
        "car", "truck", or None where it is not known.
    """
    generator = np.random.default_rng(random_state)
    n_cars = n_labelled // 2
    truck = np.concatenate([np.arange(n_labelled) >= n_cars, generator.random(n_unlabelled) >= 0.6])
    lengths = generator.standard_normal(truck.size)
    lengths *= np.where(truck, 2.0, 1.0)
    lengths += np.where(truck, 10.0, 5.0)
    labels = np.full(truck.size, None, object)
    labels[:n_cars] = "car"
    labels[n_cars:n_labelled] = "truck"
    return lengths[:, None], labels


def make_gaussian_mixture(
    n_samples: int,
    n_features: int,
    n_components: int,
    *,
    separation: float = 4.0,
    random_state: int | np.random.Generator | None = None,
    dtype: DTypeLike = np.float64,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows from a mixture of Gaussians with diagonal covariances.

    Weights come from a symmetric Dirichlet distribution with concentration 10, standard deviations
    are uniform between 0.5 and 1.5, and the means are normal.

    Parameters
    ----------
    n_samples, n_features, n_components : int
    separation : float, default=4.0
        Root mean square distance between the means of two components, where the standard deviations
        are about 1. Of two components 4 apart, 2 % of the rows are nearer to the other; below 2
        they merge.
    random_state : int, numpy.random.Generator or None, default=None
    dtype : {numpy.float64, numpy.float32}, default=numpy.float64

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
    components : ndarray of shape (n_samples,), int32, where every row comes from
    """
    generator = np.random.default_rng(random_state)
    weights = generator.dirichlet(np.full(n_components, 10.0))
    deviations = generator.uniform(0.5, 1.5, (n_components, n_features)).astype(dtype)
    spread = separation / np.sqrt(2 * n_features)
    means = (spread * generator.standard_normal((n_components, n_features))).astype(dtype)
    bounds = np.cumsum(weights)[:-1]
    X = np.empty((n_samples, n_features), dtype)
    components = np.empty(n_samples, np.int32)
    step = max(1, CHUNK_SIZE // n_features)
    for start in range(0, n_samples, step):
        rows, of_rows = X[start : start + step], components[start : start + step]
        of_rows[:] = np.searchsorted(bounds, generator.random(len(rows)), side="right")
        generator.standard_normal(dtype=dtype, out=rows)
        rows *= deviations[of_rows]
        rows += means[of_rows]
    return X, components
