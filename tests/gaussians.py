"""Rows, starts and comparisons that the tests of `GaussianMixture` share."""

import warnings

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.mixture import GaussianMixture as Peer

from emfast.exceptions import ConvergenceWarning

TYPES = ("full", "tied", "diag", "spherical")
INITS = ("kmeans", "k-means++", "random", "random_from_data")
PARAMETERS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


def blobs(n=240, D=3, seed=0):
    """Rows of three overlapping correlated clusters, shuffled."""
    rng = np.random.RandomState(seed)
    parts = []
    for centre, share in ((0.0, 0.5), (3.0, 0.3), (-4.0, 0.2)):
        mixing = np.eye(D) + 0.4 * rng.standard_normal((D, D))
        shift = centre * np.where(np.arange(D) % 2, -0.5, 1.0)
        parts.append(rng.standard_normal((int(n * share), D)) @ mixing + shift)
    return rng.permutation(np.concatenate(parts))


def shape_of(covariance_type, K, D):
    return {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}[covariance_type]


def start_for(covariance_type, K=3, D=3):
    """A complete start with weights and precisions that are not all the same."""
    matrices = np.array([np.diag(np.linspace(0.5, 1.5, D)) + 0.1 * (k + 1) for k in range(K)])
    precisions = {
        "full": matrices,
        "tied": matrices[0],
        "diag": np.array([np.diag(matrix) for matrix in matrices]),
        "spherical": np.linspace(0.5, 1.5, K),
    }[covariance_type]
    return {
        "weights_init": np.arange(1.0, K + 1) / np.arange(1.0, K + 1).sum(),
        "means_init": np.linspace(-3.0, 3.0, K)[:, None] * np.where(np.arange(D) % 2, -0.5, 1.0),
        "precisions_init": precisions,
    }


def covariances_of(precisions, covariance_type):
    return 1 / precisions if covariance_type in ("diag", "spherical") else np.linalg.inv(precisions)


def peer_fit(X, K=3, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return Peer(K, **settings).fit(X)


def assert_same_fit(one, other, rtol=1e-9, atol=1e-10):
    for name in PARAMETERS:
        assert_allclose(getattr(one, name), getattr(other, name), rtol=rtol, atol=atol)


def assert_same_bits(one, other):
    for name in (*PARAMETERS, "lower_bounds_"):
        assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.lower_bound_ == other.lower_bound_
    assert one.n_iter_ == other.n_iter_
