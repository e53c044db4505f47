"""Components that owe their likelihood to few rows, or to rows that do not vary."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from emfast import BernoulliMixture, GaussianMixture
from emfast.datasets import load_faithful
from emfast.exceptions import DegenerateComponentWarning

# Warnings are errors in tests: where none is expected, none may come.

SHAPES = ("full", "diag", "spherical")


def fit_from_groups(X, groups, covariance_type, reg_covar=1e-6):
    """A fit that starts from the means and covariances of given groups of rows."""
    K, D = groups.max() + 1, X.shape[1]
    parts = [X[groups == k].astype(np.float64) for k in range(K)]
    covariances = np.stack([np.cov(part.T, ddof=0).reshape(D, D) for part in parts])
    covariances += reg_covar * np.eye(D)
    if covariance_type != "full":
        covariances = np.diagonal(covariances, axis1=1, axis2=2)
    if covariance_type == "spherical":
        covariances = covariances.mean(axis=1)
    return GaussianMixture(
        K,
        covariance_type=covariance_type,
        weights_init=np.bincount(groups) / len(X),
        means_init=np.stack([part.mean(axis=0) for part in parts]),
        covariances_init=covariances,
        tol=1e-6,
        max_iter=500,
        reg_covar=reg_covar,
    ).fit(X)


def two_clusters(n, scale, seed=0):
    """Rows around 0 with standard deviation 1, then `n` around 10 with standard deviation scale."""
    rng = np.random.default_rng(seed)
    X = np.vstack([rng.normal(size=(200, 2)), 10 + scale * rng.normal(size=(n, 2))])
    return X, np.repeat([0, 1], [200, n])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("covariance_type", SHAPES)
@pytest.mark.parametrize(("n", "scale"), [(2, 1e-5), (3, 0.0), (100, 0.0)])
def test_few_or_equal_rows_are_recognised(covariance_type, n, scale, dtype):
    X, groups = two_clusters(n, scale)
    with pytest.warns(DegenerateComponentWarning, match=r"\[1\]"):
        mixture = fit_from_groups(X.astype(dtype), groups, covariance_type)
    assert mixture.restarts_[0].degenerate == [1]


@pytest.mark.parametrize("covariance_type", SHAPES)
def test_units_do_not_matter(covariance_type):
    X, groups = two_clusters(100, 0.0)
    for unit in (1e-6, 1.0, 1e6):
        with pytest.warns(DegenerateComponentWarning):
            fit_from_groups(X * unit, groups, covariance_type, reg_covar=1e-6 * unit**2)


def test_a_line_in_the_plane_is_recognised():
    X, groups = two_clusters(60, 1.0)
    X[groups == 1, 1] = 3 * X[groups == 1, 0]
    with pytest.warns(DegenerateComponentWarning, match=r"\[1\]"):
        fit_from_groups(X, groups, "full")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("covariance_type", SHAPES)
@pytest.mark.parametrize("scale", [1e-3, 1e-2, 0.3])
def test_a_tight_cluster_of_many_rows_is_not_degenerate(covariance_type, scale, dtype):
    X, groups = two_clusters(100, scale)
    mixture = fit_from_groups(X.astype(dtype), groups, covariance_type)
    assert mixture.restarts_[0].degenerate == []


@pytest.mark.parametrize("covariance_type", SHAPES)
def test_columns_in_which_no_component_varies_are_not_degenerate(covariance_type):
    X, groups = two_clusters(100, 1.0)
    constant = np.full(len(X), 7.0)
    # One value in each component.
    code = groups.astype(float)
    rows = np.column_stack([X, constant, code])
    if covariance_type == "spherical":
        rows = np.column_stack([X, constant])
    assert fit_from_groups(rows, groups, covariance_type).restarts_[0].degenerate == []


@pytest.mark.parametrize("covariance_type", SHAPES)
def test_columns_of_tiny_scale_are_not_degenerate(covariance_type):
    X, groups = two_clusters(100, 0.5)
    for units in ([1e-6, 1e-6], [1e-6, 1.0]):
        mixture = fit_from_groups(X * units, groups, covariance_type)
        assert mixture.restarts_[0].degenerate == []


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_one_component_is_not_degenerate(covariance_type):
    X = np.column_stack([np.arange(5.0), np.zeros(5)])
    mixture = GaussianMixture(1, covariance_type=covariance_type).fit(X)
    assert mixture.restarts_[0].degenerate == []


def test_known_covariances_are_not_degenerate():
    X, _ = two_clusters(2, 0.0)
    mixture = GaussianMixture(
        2,
        covariance_type="spherical",
        covariances_init=[1.0, 1e-6],
        means_init=[[0, 0], [10, 10]],
        fixed=("covariances",),
    ).fit(X)
    assert mixture.restarts_[0].degenerate == []


def test_the_scale_of_weights_does_not_matter():
    X, groups = two_clusters(100, 1e-2)
    for factor in (1e-3, 1e3):
        mixture = GaussianMixture(2, random_state=0)
        mixture.fit(X, sample_weight=np.full(len(X), factor), labels=groups)
        assert mixture.restarts_[0].degenerate == []


def test_families_of_bounded_density_have_none():
    X = np.repeat([[0, 1, 0], [1, 0, 1]], [50, 3], axis=0)
    assert BernoulliMixture(2, random_state=0).fit(X).restarts_[0].degenerate == []


def test_duplicates_in_iris_are_recognised():
    # Rows 101 and 142 are the same.
    X = load_iris().data
    groups = np.repeat([0, 1], [50, 100])
    groups[[101, 142]] = 2
    with pytest.warns(DegenerateComponentWarning, match=r"\[2\]"):
        fit_from_groups(X, groups, "full")


def test_spurious_maxima_of_old_faithful_are_recognised():
    # About eight eruptions nearly on a line give -1117.39; of the maxima whose components are all
    # large, the best two are -1114.44 and -1119.21.
    X = load_faithful().data
    groups = (X[:, 0] > 3).astype(int)
    line = (X[:, 0] < 2) & (np.abs(X[:, 1] - 45.8 + 15.6 * (X[:, 0] - 1.832)) < 1.2)
    groups[line & (X[:, 1] < 48)] = 2
    with pytest.warns(DegenerateComponentWarning, match=r"\[2\]"):
        mixture = fit_from_groups(X, groups, "full")
    assert mixture.weights_[2] * len(X) < 9


def test_a_degenerate_start_does_not_win():
    X = np.vstack([np.random.default_rng(0).normal(size=(100, 2)), np.full((4, 2), 0.3)])
    mixture = GaussianMixture(
        3, init_params="random_from_data", n_init=20, random_state=0, tol=1e-4, max_iter=500
    ).fit(X)
    degenerate = [restart for restart in mixture.restarts_ if restart.degenerate]
    assert 0 < len(degenerate) < 20
    assert max(restart.score for restart in degenerate) > mixture.lower_bound_
    (winner,) = [restart for restart in mixture.restarts_ if restart.won]
    assert winner.degenerate == []
