"""Starts of a fit, and starting values that are given, some of them known."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import oracle
from emfast import GaussianMixture
from emfast.exceptions import DegenerateComponentWarning
from gaussians import (
    INITS,
    TYPES,
    assert_same_bits,
    assert_same_fit,
    blobs,
    covariances_of,
    start_for,
)
from repeats import assert_repeats


def test_the_best_of_several_starts_is_kept(X):
    settings = {"init_params": "random_from_data", "tol": 1e-5, "max_iter": 1000}
    mixture = GaussianMixture(5, n_init=6, random_state=7, **settings).fit(X)
    assert len(mixture.restarts_) == 6
    scores = [restart.score for restart in mixture.restarts_]
    assert len(set(np.round(scores, 6))) > 1
    regular = [restart for restart in mixture.restarts_ if not restart.degenerate]
    winner = max(regular, key=lambda restart: restart.score)
    assert mixture.lower_bound_ == winner.score < max(scores)
    assert [restart.won for restart in mixture.restarts_].count(True) == 1
    assert winner.won
    assert mixture.n_iter_ == winner.n_iter
    assert mixture.converged_ == winner.converged
    assert_array_equal(mixture.lower_bounds_, winner.lower_bounds)
    for restart in mixture.restarts_:
        assert restart.n_rows == len(X)
        assert restart.error is None
        assert restart.starved == []
        assert len(restart.lower_bounds) == restart.n_iter
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DegenerateComponentWarning)
            again = GaussianMixture(5, n_init=1, random_state=restart.seed, **settings).fit(X)
        assert_repeats(again, restart)


@pytest.mark.parametrize("random_state", [0, 11, np.int64(3)])
def test_the_first_of_several_starts_is_the_only_one_of_one(X, random_state):
    several = GaussianMixture(3, n_init=3, random_state=random_state).fit(X).restarts_
    assert several[0] == GaussianMixture(3, random_state=random_state).fit(X).restarts_[0]
    assert several[0].seed == random_state
    assert len({restart.seed for restart in several}) == 3


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(4)])
def test_seeds_are_told_whatever_the_random_state(X, random_state):
    mixture = GaussianMixture(3, init_params="random", n_init=2, random_state=random_state).fit(X)
    for restart in mixture.restarts_:
        again = GaussianMixture(3, init_params="random", random_state=restart.seed).fit(X)
        assert_repeats(again, restart)


def test_the_winner_reports_its_own_convergence(X):
    # Some starts end within this many iterations and others do not.
    settings = {"init_params": "random_from_data", "tol": 1e-5, "max_iter": 45, "n_init": 8}
    seen = set()
    for seed in range(12):
        mixture = GaussianMixture(4, random_state=seed, **settings)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            mixture.fit(X)
        converged = [restart.converged for restart in mixture.restarts_]
        (winner,) = [restart for restart in mixture.restarts_ if restart.won]
        assert mixture.converged_ == winner.converged
        assert bool(caught) == (not winner.converged)
        if len(set(converged)) == 2:
            seen.add(winner.converged)
    assert seen == {True, False}


def test_a_complete_start_is_run_once(X):
    mixture = GaussianMixture(3, n_init=5, **start_for("full")).fit(X)
    assert len(mixture.restarts_) == 1


@pytest.mark.parametrize("init_params", INITS)
@pytest.mark.parametrize("covariance_type", TYPES)
def test_all_ways_to_start(X, covariance_type, init_params):
    settings = {"covariance_type": covariance_type, "init_params": init_params}
    mixture = GaussianMixture(3, max_iter=500, random_state=0, **settings).fit(X)
    again = GaussianMixture(3, max_iter=500, random_state=0, **settings).fit(X)
    assert_same_bits(mixture, again)
    single = GaussianMixture(1, covariance_type=covariance_type).fit(X)
    # Less the little that the floor under the variances costs.
    assert mixture.lower_bound_ > single.lower_bound_ - 1e-4
    start = GaussianMixture(3, max_iter=0, random_state=0, **settings).fit(X)
    assert np.isfinite(start.lower_bound_)
    assert np.all(start.weights_ > 0)


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random_from_data"])
def test_starts_on_a_subsample_of_many_rows(init_params):
    X = blobs(60_000, D=2)
    mixture = GaussianMixture(3, init_params=init_params, random_state=0, max_iter=300).fit(X)
    assert mixture.restarts_[0].n_rows == 60_000
    best = GaussianMixture(3, random_state=0).fit(X).lower_bound_
    assert mixture.lower_bound_ == pytest.approx(best, abs=0.05)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("far", [0, 10, 1e3, 1e6])
def test_a_start_has_the_digits_of_its_rows(covariance_type, far):
    mixing = np.array([[1.0, 0.0], [0.99, 0.05]])
    rows = np.random.RandomState(0).standard_normal((200, 2)) @ mixing.T
    component = np.arange(200) % 2
    X = rows + far * component[:, None]
    mixture = GaussianMixture(2, covariance_type=covariance_type, reg_covar=1e-12, max_iter=0)
    mixture.fit(X, labels=component)
    expected = oracle.gaussian_covariances(X, np.eye(2)[component], covariance_type)
    assert_allclose(mixture.covariances_, expected, rtol=1e-9, atol=1e-9)


# Partial starts


def test_a_start_from_means_alone_assigns_rows_to_the_nearest(X):
    means = start_for("full")["means_init"]
    mixture = GaussianMixture(3, means_init=means, max_iter=0, reg_covar=0).fit(X)
    nearest = ((X[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert_array_equal(mixture.means_, means)
    assert_allclose(mixture.weights_, np.bincount(nearest) / len(X))
    for k in range(3):
        assert_allclose(mixture.covariances_[k], np.cov(X[nearest == k].T, ddof=0), rtol=1e-8)


def test_a_start_from_means_keeps_their_order(X):
    means = start_for("full")["means_init"]
    forward = GaussianMixture(3, means_init=means).fit(X)
    backward = GaussianMixture(3, means_init=means[::-1]).fit(X)
    assert_allclose(forward.means_, backward.means_[::-1], rtol=1e-8)
    assert_array_equal(np.argsort(forward.means_[:, 0]), [0, 1, 2])


def test_means_and_weights_given(X):
    start = start_for("full")
    del start["precisions_init"]
    mixture = GaussianMixture(3, **start, max_iter=0).fit(X)
    means_only = GaussianMixture(3, means_init=start["means_init"], max_iter=0).fit(X)
    assert_allclose(mixture.weights_, start["weights_init"])
    assert_allclose(mixture.covariances_, means_only.covariances_)


def test_a_start_from_weights_alone(X):
    weights = np.array([0.1, 0.2, 0.7])
    mixture = GaussianMixture(3, weights_init=weights, max_iter=0, random_state=0).fit(X)
    plain = GaussianMixture(3, max_iter=0, random_state=0).fit(X)
    assert_allclose(mixture.weights_, weights)
    assert_array_equal(mixture.means_, plain.means_)
    assert_array_equal(mixture.covariances_, plain.covariances_)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_start_from_covariances_alone(X, covariance_type):
    precisions = start_for(covariance_type)["precisions_init"]
    mixture = GaussianMixture(
        3, covariance_type=covariance_type, precisions_init=precisions, max_iter=0, random_state=0
    ).fit(X)
    plain = GaussianMixture(3, covariance_type=covariance_type, max_iter=0, random_state=0).fit(X)
    assert_allclose(mixture.precisions_, precisions, rtol=1e-10)
    assert_array_equal(mixture.means_, plain.means_)
    assert_array_equal(mixture.weights_, plain.weights_)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_covariances_init_is_the_inverse_of_precisions_init(X, covariance_type):
    start = start_for(covariance_type)
    settings = {"covariance_type": covariance_type, "tol": 0, "max_iter": 5}
    by_precisions = GaussianMixture(3, **start, **settings).fit(X)
    covariances = covariances_of(start.pop("precisions_init"), covariance_type)
    by_covariances = GaussianMixture(3, **start, covariances_init=covariances, **settings).fit(X)
    assert_same_fit(by_precisions, by_covariances)


# Known parameters


@pytest.mark.parametrize("fixed", [("weights",), ["means"], {"covariances"}, ("weights", "means"),
                                   ("weights", "covariances"), ("means", "covariances"),
                                   frozenset({"weights", "means", "covariances"})])  # fmt: skip
@pytest.mark.parametrize("covariance_type", TYPES)
def test_fixed_groups_stay_and_the_others_move(X, covariance_type, fixed):
    start = start_for(covariance_type)
    start["covariances_init"] = covariances_of(start.pop("precisions_init"), covariance_type)
    mixture = GaussianMixture(
        3, covariance_type=covariance_type, fixed=fixed, tol=0, max_iter=10, **start
    ).fit(X)
    for group in ("weights", "means", "covariances"):
        same = np.allclose(getattr(mixture, f"{group}_"), start[f"{group}_init"], rtol=1e-12)
        assert same == (group in fixed)
    p = {"weights": 2, "means": 9}
    p["covariances"] = {"full": 18, "tied": 6, "diag": 9, "spherical": 3}[covariance_type]
    free = sum(count for group, count in p.items() if group not in fixed)
    total = mixture.score_samples(X).sum()
    assert_allclose(mixture.bic(X), -2 * total + free * np.log(len(X)))
    assert_allclose(mixture.aic(X), -2 * total + 2 * free)
    assert np.all(np.diff(mixture.lower_bounds_) > -1e-9)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_covariances_about_fixed_means(X, covariance_type):
    # One component: the closed form is at hand.
    mean = np.array([[1.0, -2.0, 0.5]])
    mixture = GaussianMixture(
        1, covariance_type=covariance_type, means_init=mean, fixed=["means"], reg_covar=0,
    ).fit(X)  # fmt: skip
    scatter = (X - mean).T @ (X - mean) / len(X)
    expected = {
        "full": scatter[None],
        "tied": scatter,
        "diag": np.diag(scatter)[None],
        "spherical": np.array([np.trace(scatter) / 3]),
    }[covariance_type]
    assert_allclose(mixture.covariances_, expected, rtol=1e-10)


def test_fixed_groups_may_be_given_alone(X):
    weights = np.array([0.2, 0.3, 0.5])
    mixture = GaussianMixture(3, weights_init=weights, fixed=["weights"], random_state=0).fit(X)
    assert_allclose(mixture.weights_, weights)
    mixture = GaussianMixture(
        3, precisions_init=np.stack([np.eye(3)] * 3), fixed=["covariances"], random_state=0
    ).fit(X)
    assert_allclose(mixture.covariances_, np.stack([np.eye(3)] * 3))


@pytest.mark.parametrize("group", ["weights", "means", "covariances"])
def test_fixed_needs_the_values(X, group):
    with pytest.raises(ValueError, match=f"fixed: '{group}'.*{group}_init"):
        GaussianMixture(3, fixed=[group]).fit(X)
