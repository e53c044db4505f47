"""Grids of starts: what a fit makes of each, and where it goes."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture as Peer

from emfast import BernoulliMixture, GaussianMixture
from emfast.datasets import make_cars_and_trucks
from emfast.landscape import landscape, paths

KNOWN = {
    "covariance_type": "spherical",
    "weights_init": [0.6, 0.4],
    "covariances_init": [1.0, 4.0],
    "fixed": ("weights", "covariances"),
}


@pytest.fixture(scope="module")
def cars_and_trucks():
    return make_cars_and_trucks(20, 200, random_state=0)


@pytest.mark.parametrize("n_iter", [0, 1, 10])
def test_every_place_is_the_fit_from_there(cars_and_trucks, n_iter):
    X, labels = cars_and_trucks
    weights = np.linspace(0.5, 1.5, len(X))
    given = {"labels": labels, "sample_weight": weights}
    mixture = GaussianMixture(2, **KNOWN)
    first, second = np.array([2.0, 5.0, 9.0]), np.array([4.0, 10.0])

    found = landscape(mixture, X, first, second, n_iter=n_iter, **given)

    assert found.objective.shape == (2, 3)
    assert (found.group, found.n_iter) == ("means", n_iter)
    for (i, j), objective in np.ndenumerate(found.objective):
        start = {**KNOWN, "means_init": [[first[j]], [second[i]]]}
        alone = GaussianMixture(2, **start, tol=0, max_iter=n_iter).fit(X, **given)
        assert objective == alone.lower_bound_
    assert mixture.means_init is None
    assert not hasattr(mixture, "weights_")


def test_paths_are_iterations_and_lead_to_maxima(cars_and_trucks):
    X, labels = cars_and_trucks
    first, second = np.array([2.0, 9.0, 12.0]), np.array([3.0, 11.0])

    found = paths(GaussianMixture(2, **KNOWN), X, first, second, n_iter=4, labels=labels)

    assert found.positions.shape == (2, 3, 5, 2)
    assert_array_equal(found.positions[..., 0, 0], np.tile(first, (2, 1)))
    assert_array_equal(found.positions[..., 0, 1], np.tile(second[:, None], (1, 3)))
    for (i, j), leads_to in np.ndenumerate(found.leads_to):
        start = {**KNOWN, "means_init": [[first[j]], [second[i]]], "tol": 0}
        for n_iter in (1, 4):
            alone = GaussianMixture(2, **start, max_iter=n_iter).fit(X, labels=labels)
            assert_array_equal(found.positions[i, j, n_iter], alone.means_.ravel())
        limit = GaussianMixture(2, **start, max_iter=500).fit(X, labels=labels)
        assert_allclose(found.attractors[leads_to], limit.means_.ravel(), atol=1e-3)
        assert_allclose(found.objectives[leads_to], limit.lower_bound_, atol=1e-8)
    assert set(found.leads_to.ravel()) == {0, 1}
    assert found.objectives[0] > found.objectives[1]


def test_other_families_have_landscapes_too():
    X = (np.random.default_rng(0).uniform(size=(200, 1)) < 0.7).astype(np.uint8)
    mixture = BernoulliMixture(2, weights_init=[0.3, 0.7], fixed=["weights"])
    found = landscape(mixture, X, [0.2, 0.6], [0.5, 0.9], n_iter=100)
    assert found.group == "probabilities"
    # One column of bits is a single probability, which all pairs reach.
    p = X.mean()
    assert_allclose(found.objective, p * np.log(p) + (1 - p) * np.log(1 - p), rtol=1e-9)
    ends = paths(mixture, X, [0.2, 0.6], [0.5, 0.9], n_iter=100).positions[..., -1, :]
    assert_allclose(ends @ [0.3, 0.7], p, rtol=1e-9)


def test_starts_that_fail_leave_a_gap():
    X = np.concatenate([np.zeros((6, 1)), np.linspace(5, 9, 40)[:, None]])
    mixture = GaussianMixture(2, reg_covar=0, covariance_type="diag", weights_init=[0.5, 0.5],
                              covariances_init=[[1.0], [1.0]])  # fmt: skip
    axis = [0.1, 6.5, 7.5]
    found = landscape(mixture, X, axis, axis, n_iter=100)
    assert np.isnan(found.objective).any()
    walks = paths(mixture, X, axis, axis)
    assert_array_equal(walks.leads_to < 0, np.isnan(found.objective))
    assert np.isfinite(walks.objectives).all()


@pytest.mark.parametrize("make", [pd.DataFrame, np.ndarray.tolist, lambda X: X.astype(np.float32)])
def test_rows_of_any_kind(cars_and_trucks, make):
    X, labels = cars_and_trucks
    mixture, axis = GaussianMixture(2, **KNOWN), [4.0, 9.0]
    expected = landscape(mixture, X, axis, axis, labels=labels).objective
    given = make(X)
    found = landscape(mixture, given, axis, axis, labels=labels.tolist()).objective
    assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("function", [landscape, paths])
def test_bad_arguments(cars_and_trucks, function):
    X, labels = cars_and_trucks
    mixture, axis = GaussianMixture(2, **KNOWN), [4.0, 9.0]
    with pytest.raises(TypeError, match="estimator: found GaussianMixture; expected a mixture"):
        function(Peer(2), X, axis, axis)
    with pytest.raises(ValueError, match="estimator: found n_components=3; expected 2"):
        function(GaussianMixture(3), X, axis, axis)
    with pytest.raises(ValueError, match=r"X: found shape \(220, 2\); expected"):
        function(mixture, np.hstack([X, X]), axis, axis)
    for bad in ([1.0], [[1.0, 2.0]], [1.0, np.nan], 3.0):
        with pytest.raises(ValueError, match="first: found"):
            function(mixture, X, bad, axis)
        with pytest.raises(ValueError, match="second: found"):
            function(mixture, X, axis, bad)
    for bad in (-1, 2.5, None):
        with pytest.raises(ValueError, match="n_iter: found"):
            function(mixture, X, axis, axis, n_iter=bad)
    with pytest.raises(ValueError, match="labels"):
        function(mixture, X, axis, axis, labels=labels[:-1])


def test_hard_assignments_lead_to_where_k_means_does(cars_and_trucks):
    X, _ = cars_and_trucks
    mixture = GaussianMixture(
        2, covariance_type="spherical", weights_init=[0.5, 0.5], covariances_init=[1.0, 1.0],
        fixed=("weights", "covariances"), assignment="hard",
    )  # fmt: skip
    found = paths(mixture, X, [3.0, 12.0], [4.0, 11.0], n_iter=3)
    for (i, j), leads_to in np.ndenumerate(found.leads_to):
        kmeans = KMeans(2, init=found.positions[i, j, 0][:, None], n_init=1, tol=0).fit(X)
        assert_allclose(found.attractors[leads_to], kmeans.cluster_centers_.ravel(), rtol=1e-9)
    with pytest.raises(ValueError, match="estimator: found assignment='stochastic'"):
        paths(mixture.set_params(assignment="stochastic"), X, [3.0, 12.0], [4.0, 11.0])


def test_labels_of_noise():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(40, 1)), rng.uniform(-30, 30, (10, 1))])
    labels = np.repeat([0, -1, -2], [5, 35, 10])
    start = GaussianMixture(2, noise=True, covariance_type="spherical", covariances_init=[1, 1],
                            weights_init=[0.5, 0.4])  # fmt: skip
    grid = landscape(start, X, [0.0, 1.0], [2.0, 3.0], n_iter=2, labels=labels)
    alone = start.set_params(means_init=[[1.0], [3.0]], max_iter=2, tol=0).fit(X, labels=labels)
    assert grid.objective[1, 1] == alone.lower_bound_
