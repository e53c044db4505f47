"""`GaussianMixture` beside scikit-learn's, and what only it does."""

import copy
import pickle
import threading
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.mixture import GaussianMixture as Peer
from threadpoolctl import threadpool_info

import oracle
from emfast import GaussianMixture
from emfast.emissions import gaussian
from emfast.exceptions import (
    ConvergenceWarning,
    DegenerateComponentWarning,
    ObjectiveDecreaseWarning,
    SingularComponentError,
    StarvedComponentWarning,
)
from emfast.threads import resolve_threads
from repeats import assert_repeats

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


@pytest.fixture(scope="module")
def X():
    return blobs()


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


# Beside scikit-learn


@pytest.mark.parametrize("n_iter", [1, 2, 25])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_same_iterations_as_scikit_learn(X, covariance_type, n_iter):
    settings = {
        **start_for(covariance_type),
        "covariance_type": covariance_type,
        "tol": 0,
        "max_iter": n_iter,
    }
    mixture, peer = GaussianMixture(3, **settings).fit(X), peer_fit(X, **settings)
    for name in PARAMETERS:
        assert_allclose(getattr(mixture, name), getattr(peer, name), rtol=1e-8, atol=1e-8)
    assert mixture.n_iter_ == peer.n_iter_ == n_iter
    assert_allclose(mixture.lower_bound_, peer.score(X), rtol=1e-10)
    # scikit-learn reports the bound of the model before the last M-step.
    if n_iter > 1:
        assert_allclose(mixture.lower_bounds_[-2], peer.lower_bound_, rtol=1e-10)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_same_answers_as_scikit_learn_with_the_same_parameters(X, covariance_type):
    peer = peer_fit(X, covariance_type=covariance_type, random_state=0)
    mixture = GaussianMixture(
        3,
        covariance_type=covariance_type,
        weights_init=peer.weights_,
        means_init=peer.means_,
        precisions_init=peer.precisions_,
        max_iter=0,
    ).fit(X)
    new = blobs(seed=1)
    assert_allclose(mixture.score_samples(new), peer.score_samples(new), rtol=1e-9)
    assert_allclose(mixture.predict_proba(new), peer.predict_proba(new), rtol=1e-7, atol=1e-12)
    assert_array_equal(mixture.predict(new), peer.predict(new))
    assert_allclose(mixture.score(new), peer.score(new), rtol=1e-10)
    assert_allclose(mixture.bic(new), peer.bic(new), rtol=1e-10)
    assert_allclose(mixture.aic(new), peer.aic(new), rtol=1e-10)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_default_start_finds_the_same_maximum_as_scikit_learn(X, covariance_type):
    settings = {
        "covariance_type": covariance_type,
        "tol": 1e-10,
        "max_iter": 5000,
        "n_init": 4,
        "random_state": 0,
    }
    mixture, peer = GaussianMixture(3, **settings).fit(X), peer_fit(X, **settings)
    assert mixture.score(X) >= peer.score(X) - 1e-6


def test_every_parameter_of_scikit_learn_is_there():
    ours, theirs = GaussianMixture().get_params(), Peer().get_params()
    assert theirs.keys() <= ours.keys()
    assert {name: ours[name] for name in theirs} == theirs


def test_fit_predict_is_fit_then_predict(X):
    mixture = GaussianMixture(3, random_state=0)
    assert_array_equal(mixture.fit_predict(X), mixture.predict(X))
    assert mixture.fit_predict(X).dtype.kind == "i"


# Attributes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_attributes(X, covariance_type, dtype):
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0)
    assert mixture.fit(X.astype(dtype)) is mixture
    shape = shape_of(covariance_type, 3, 3)
    assert mixture.weights_.shape == (3,)
    assert mixture.means_.shape == (3, 3)
    for name in ("covariances_", "precisions_", "precisions_cholesky_"):
        assert getattr(mixture, name).shape == shape
    for name in PARAMETERS:
        assert getattr(mixture, name).dtype == dtype
    assert_allclose(mixture.weights_.sum(), 1, rtol=1e-6)
    assert mixture.n_features_in_ == 3
    assert isinstance(mixture.converged_, bool)
    assert mixture.converged_
    assert isinstance(mixture.n_iter_, int)
    assert isinstance(mixture.lower_bound_, float)
    assert mixture.lower_bounds_.shape == (mixture.n_iter_,)
    assert mixture.lower_bounds_[-1] == mixture.lower_bound_
    assert not hasattr(mixture, "classes_")
    assert mixture.predict_proba(X.astype(dtype)).shape == (len(X), 3)
    assert mixture.score_samples(X.astype(dtype)).shape == (len(X),)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_precisions_belong_to_covariances(X, covariance_type):
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    covariances, factors = mixture.covariances_, mixture.precisions_cholesky_
    if covariance_type in ("diag", "spherical"):
        assert_allclose(mixture.precisions_, 1 / covariances)
        assert_allclose(factors, np.sqrt(mixture.precisions_))
    else:
        assert_allclose(mixture.precisions_, np.linalg.inv(covariances), atol=1e-12)
        assert_allclose(factors @ np.swapaxes(factors, -1, -2), mixture.precisions_, atol=1e-12)
        assert_array_equal(np.tril(factors, -1), 0)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_float32_reaches_the_same_optimum(X, covariance_type):
    settings = {**start_for(covariance_type), "covariance_type": covariance_type}
    single = GaussianMixture(3, **settings, tol=0, max_iter=30).fit(X.astype(np.float32))
    double = GaussianMixture(3, **settings, tol=0, max_iter=30).fit(X)
    assert_same_fit(single, double, rtol=1e-3, atol=1e-4)
    assert_allclose(single.score_samples(X), double.score_samples(X), rtol=1e-3, atol=1e-3)


def test_the_bound_is_the_score(X):
    weights = np.random.RandomState(0).uniform(0, 3, len(X))
    mixture = GaussianMixture(3, random_state=0).fit(X, sample_weight=weights)
    assert_allclose(mixture.lower_bound_, mixture.score(X, sample_weight=weights), rtol=1e-12)
    scores = mixture.score_samples(X)
    assert_allclose(mixture.lower_bound_, np.average(scores, weights=weights), rtol=1e-12)


def test_information_criteria(X):
    weights = np.random.RandomState(0).uniform(0, 3, len(X))
    mixture = GaussianMixture(3, random_state=0).fit(X, sample_weight=weights)
    total, p = (weights * mixture.score_samples(X)).sum(), 2 + 9 + 18
    bic = -2 * total + p * np.log(weights.sum())
    assert_allclose(mixture.bic(X, sample_weight=weights), bic)
    assert_allclose(mixture.aic(X, sample_weight=weights), -2 * total + 2 * p)
    certainty = (weights * np.log(mixture.predict_proba(X).max(axis=1))).sum()
    assert_allclose(mixture.icl(X, sample_weight=weights), bic - 2 * certainty)
    assert mixture.icl(X) > mixture.bic(X)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_bic_counts_what_scikit_learn_counts(X, covariance_type):
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    p = (mixture.bic(X) + 2 * mixture.score_samples(X).sum()) / np.log(len(X))
    assert round(p, 6) == peer_fit(X, covariance_type=covariance_type)._n_parameters()


# Drawing rows


@pytest.mark.parametrize("covariance_type", TYPES)
def test_sample(X, covariance_type):
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    drawn, component = mixture.sample(40_000)
    assert drawn.shape == (40_000, 3)
    assert component.shape == (40_000,)
    assert component.dtype.kind == "i"
    assert np.all(np.diff(component) >= 0)
    assert_allclose(np.bincount(component) / 40_000, mixture.weights_, atol=0.01)
    for k in range(3):
        covariance = mixture.covariances_ if covariance_type == "tied" else mixture.covariances_[k]
        if covariance.ndim < 2:
            covariance = np.diag(np.broadcast_to(covariance, 3))
        of_component = drawn[component == k]
        assert_allclose(of_component.mean(axis=0), mixture.means_[k], atol=0.1)
        assert_allclose(np.cov(of_component.T), covariance, atol=0.06 * covariance.max())
    assert_array_equal(drawn, mixture.sample(40_000)[0])
    assert mixture.sample()[0].shape == (1, 3)
    assert mixture.sample(np.int64(5))[1].shape == (5,)


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "3"])
def test_sample_needs_a_positive_integer(X, n_samples):
    mixture = GaussianMixture(3, random_state=0).fit(X)
    with pytest.raises(ValueError, match="n_samples"):
        mixture.sample(n_samples)


# Iterations


def test_no_iterations_return_the_start(X):
    start = start_for("full")
    mixture = GaussianMixture(3, **start, max_iter=0).fit(X)
    assert_allclose(mixture.weights_, start["weights_init"], rtol=1e-15)
    assert_array_equal(mixture.means_, start["means_init"])
    assert_allclose(mixture.precisions_, start["precisions_init"])
    assert mixture.n_iter_ == 0
    assert not mixture.converged_
    assert mixture.lower_bounds_.shape == (0,)
    densities = [
        multivariate_normal(mean, np.linalg.inv(precision)).logpdf(X)
        for mean, precision in zip(start["means_init"], start["precisions_init"], strict=True)
    ]
    expected = np.logaddexp.reduce(densities + np.log(start["weights_init"])[:, None]).mean()
    assert_allclose(mixture.lower_bound_, expected, rtol=1e-12)


def test_no_iterations_without_a_given_start(X):
    mixture = GaussianMixture(3, max_iter=0, random_state=0).fit(X)
    assert mixture.n_iter_ == 0
    assert_allclose(mixture.lower_bound_, mixture.score(X))
    # One iteration from here is the first of a whole run.
    longer = GaussianMixture(3, max_iter=1, tol=0, random_state=0).fit(X)
    assert longer.lower_bound_ > mixture.lower_bound_


@pytest.mark.parametrize("n_iter", [1, 7, 300])
def test_tol_0_runs_exactly_max_iter(X, n_iter):
    # Warnings are errors here: there is none.
    mixture = GaussianMixture(2, tol=0, max_iter=n_iter, random_state=0).fit(X)
    assert mixture.n_iter_ == len(mixture.lower_bounds_) == n_iter
    assert not mixture.converged_


def test_a_fit_that_is_cut_short_warns(X):
    mixture = GaussianMixture(3, tol=1e-9, max_iter=2, random_state=0)
    with pytest.warns(ConvergenceWarning, match="max_iter=2|2 iterations") as caught:
        mixture.fit(X)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert not mixture.converged_
    assert mixture.n_iter_ == 2


@pytest.mark.parametrize("tol", [1e-2, 1e-3, 1e-6])
def test_convergence(X, tol):
    mixture = GaussianMixture(3, tol=tol, max_iter=2000, random_state=0).fit(X)
    trace = np.array(
        [
            GaussianMixture(3, max_iter=0, random_state=0).fit(X).lower_bound_,
            *mixture.lower_bounds_.tolist(),
        ]
    )
    gains = np.diff(trace)
    assert mixture.converged_
    assert gains[-1] < tol
    # The end of a much longer run is no further away than the estimate of what is still to come.
    limit = GaussianMixture(3, tol=0, max_iter=3000, random_state=0).fit(X).lower_bound_
    ratio = gains[-1] / gains[-2]
    if 0 < ratio < 1:
        assert gains[-1] * ratio / (1 - ratio) < tol
    assert limit - mixture.lower_bound_ < 50 * tol
    # No earlier iteration met both tests.
    for t in range(2, len(gains) - 1):
        ratio = gains[t] / gains[t - 1]
        remaining = gains[t] * ratio / (1 - ratio) if 0 < ratio < 1 else -np.inf
        assert gains[t] >= tol or remaining >= tol


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_bound_never_falls(X, covariance_type):
    mixture = GaussianMixture(
        4, covariance_type=covariance_type, init_params="random", tol=0, max_iter=100,
        reg_covar=0, random_state=3,
    ).fit(X)  # fmt: skip
    assert np.all(np.diff(mixture.lower_bounds_) > -1e-12)


# Warm start


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_split_run_is_one_run(X, covariance_type, dtype):
    X = X.astype(dtype)
    settings = {"covariance_type": covariance_type, "tol": 0, "random_state": 0}
    whole = GaussianMixture(3, max_iter=12, **settings).fit(X)
    parts = GaussianMixture(3, max_iter=5, warm_start=True, **settings).fit(X)
    trace = parts.lower_bounds_.tolist()
    trace += parts.set_params(max_iter=7).fit(X).lower_bounds_.tolist()
    assert_array_equal(trace, whole.lower_bounds_)
    for name in PARAMETERS:
        assert_array_equal(getattr(parts, name), getattr(whole, name))


@pytest.mark.parametrize("first", range(1, 12))
def test_a_split_run_converges_where_one_run_does(X, first):
    settings = {"tol": 1e-7, "random_state": 0}
    whole = GaussianMixture(3, max_iter=500, **settings).fit(X)
    assert whole.n_iter_ > 12
    parts = GaussianMixture(3, max_iter=first, warm_start=True, **settings)
    with pytest.warns(ConvergenceWarning):
        parts.fit(X)
    parts.set_params(max_iter=500).fit(X)
    assert parts.converged_
    assert first + parts.n_iter_ == whole.n_iter_
    assert_array_equal(parts.means_, whole.means_)


def test_without_warm_start_a_fit_starts_anew(X):
    mixture = GaussianMixture(3, tol=0, max_iter=5, random_state=0).fit(X)
    assert_same_bits(copy.deepcopy(mixture).fit(X), mixture)


def test_warm_start_goes_on_with_other_rows(X):
    mixture = GaussianMixture(2, warm_start=True, random_state=0).fit(X)
    before = mixture.means_.copy()
    mixture.set_params(max_iter=0).fit(X[:50])
    assert_array_equal(mixture.means_, before)


def test_warm_start_goes_on_from_attributes_set_by_hand(X):
    mixture = GaussianMixture(3, warm_start=True, max_iter=0, random_state=0).fit(X)
    mixture.means_ = mixture.means_ + 0.5
    assert_array_equal(mixture.fit(X).means_, mixture.means_)
    assert mixture.lower_bound_ < GaussianMixture(3, max_iter=0, random_state=0).fit(X).lower_bound_


def test_warm_start_refuses_another_shape(X):
    mixture = GaussianMixture(2, warm_start=True, random_state=0).fit(X)
    with pytest.raises(ValueError, match="warm_start"):
        copy.deepcopy(mixture).set_params(n_components=3).fit(X)
    with pytest.raises(ValueError, match="warm_start"):
        copy.deepcopy(mixture).fit(X[:, :2])


@pytest.mark.parametrize("other", ["tied", "diag", "spherical"])
def test_warm_start_refuses_another_covariance_type(X, other):
    mixture = GaussianMixture(2, warm_start=True, random_state=0).fit(X)
    with pytest.raises(ValueError, match=r"warm_start|covariance_type"):
        mixture.set_params(covariance_type=other).fit(X)


# Starts


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
    mixture = GaussianMixture(4, init_params="random", n_init=2, random_state=random_state).fit(X)
    for restart in mixture.restarts_:
        again = GaussianMixture(4, init_params="random", random_state=restart.seed).fit(X)
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


def test_verbose(X, capsys):
    GaussianMixture(3, verbose=0, random_state=0).fit(X)
    assert capsys.readouterr().out == ""
    GaussianMixture(
        3, verbose=1, verbose_interval=2, n_init=2, tol=0, max_iter=6, random_state=0
    ).fit(X)
    lines = capsys.readouterr().out.splitlines()
    one = ["  Iteration 2", "  Iteration 4", "  Iteration 6"]
    assert lines == ["Initialization 0", *one, "Initialization 1", *one]
    mixture = GaussianMixture(3, verbose=2, verbose_interval=1, random_state=0).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == mixture.n_iter_ + 2
    assert "ll change" in lines[1]
    assert "converged" in lines[-1]


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


# Attributes set by hand


@pytest.mark.parametrize("covariance_type", TYPES)
def test_answers_follow_attributes_set_by_hand(X, covariance_type):
    peer = peer_fit(X, covariance_type=covariance_type, random_state=0)
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=1).fit(X + 1)
    for name in PARAMETERS:
        setattr(mixture, name, getattr(peer, name))
    assert_allclose(mixture.score_samples(X), peer.score_samples(X), rtol=1e-9)
    assert_array_equal(mixture.predict(X), peer.predict(X))
    mixture.means_ = peer.means_[::-1]
    peer.means_ = peer.means_[::-1]
    assert_allclose(mixture.score_samples(X), peer.score_samples(X), rtol=1e-9)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_an_estimator_made_by_hand(X, covariance_type):
    # What scikit-learn needs for predictions, and no more.
    peer = peer_fit(X, covariance_type=covariance_type, random_state=0)
    mixture = GaussianMixture(3, covariance_type=covariance_type)
    mixture.weights_, mixture.means_ = peer.weights_, peer.means_
    mixture.precisions_cholesky_ = peer.precisions_cholesky_
    assert_allclose(mixture.score_samples(X), peer.score_samples(X), rtol=1e-9)
    assert_allclose(mixture.predict_proba(X), peer.predict_proba(X), rtol=1e-7, atol=1e-12)
    assert_array_equal(mixture.predict(X), peer.predict(X))
    assert_allclose(mixture.bic(X), peer.bic(X))


@pytest.mark.parametrize("name", ["weights_", "means_", "precisions_cholesky_"])
def test_attributes_changed_in_place_are_not_ignored(X, name):
    # Either the change counts, or it is refused; the old answer would be wrong without a word.
    mixture = GaussianMixture(3, random_state=0).fit(X)
    peer = peer_fit(X, random_state=0)
    try:
        getattr(mixture, name)[0] *= 0.5
    except ValueError as error:
        assert "read-only" in str(error)
        return
    peer.weights_, peer.means_ = mixture.weights_, mixture.means_
    peer.precisions_cholesky_ = mixture.precisions_cholesky_
    assert_allclose(mixture.score_samples(X), peer.score_samples(X), rtol=1e-9)


# Copies


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_give_the_same_answers(X, dtype, tmp_path):
    X = X.astype(dtype)
    mixture = GaussianMixture(3, warm_start=True, tol=0, max_iter=5, random_state=0)
    mixture.fit(X, labels=["a", *[None] * (len(X) - 1)])
    joblib.dump(mixture, tmp_path / "mixture.joblib")
    copies = {
        "pickle": pickle.loads(pickle.dumps(mixture)),
        "deepcopy": copy.deepcopy(mixture),
        "joblib": joblib.load(tmp_path / "mixture.joblib"),
    }
    scores = mixture.score_samples(X)
    later = copy.deepcopy(mixture).fit(X)
    for how, copied in copies.items():
        assert_array_equal(copied.score_samples(X), scores, err_msg=how)
        assert_same_bits(copied, mixture)
        assert copied.restarts_ == mixture.restarts_
        assert_array_equal(copied.classes_, mixture.classes_)
        assert_array_equal(copied.fit(X).means_, later.means_, err_msg=how)


def test_clone_is_not_fitted(X):
    mixture = GaussianMixture(3, random_state=0, n_threads=1, fixed=["weights"],
                              weights_init=[0.2, 0.3, 0.5])  # fmt: skip
    copied = clone(mixture.fit(X))
    assert copied.get_params() == mixture.get_params()
    assert not hasattr(copied, "weights_")
    assert_same_bits(copied.fit(X), mixture)


# Singular covariances


@pytest.mark.parametrize("covariance_type", TYPES)
def test_reg_covar_0_names_the_singular_components(X, covariance_type):
    # Six of these rows are one point, far from the others.
    rows = np.concatenate([X, np.full((6, 3), 50.0)])
    means = np.array([X.mean(axis=0), [50.0, 50.0, 50.0]])
    mixture = GaussianMixture(2, covariance_type=covariance_type, reg_covar=0, means_init=means)
    if covariance_type == "tied":
        rows = np.concatenate([np.zeros((6, 3)), np.full((6, 3), 50.0)])
        mixture.set_params(means_init=[[0.0] * 3, [50.0] * 3])
    with pytest.raises(SingularComponentError, match="reg_covar") as caught:
        mixture.fit(rows)
    assert isinstance(caught.value, ValueError)
    if covariance_type != "tied":
        assert caught.value.components == (1,)
        assert "component(s) [1]" in str(caught.value)
    assert not hasattr(mixture, "weights_")


def test_a_singular_start_fails_and_the_others_go_on():
    rng = np.random.RandomState(0)
    X = np.concatenate([rng.standard_normal((60, 2)), np.tile([4.0, 4.0], (4, 1))])
    mixture = GaussianMixture(
        3, reg_covar=0, n_init=10, init_params="random_from_data", random_state=5, max_iter=500
    ).fit(X)
    failed = [restart for restart in mixture.restarts_ if restart.error is not None]
    assert 0 < len(failed) < 10
    for restart in failed:
        assert "singular" in restart.error
        assert restart.score == -np.inf
        assert not restart.converged
    regular = [restart for restart in mixture.restarts_ if not restart.degenerate]
    assert mixture.lower_bound_ == max(restart.score for restart in regular)


DEGENERATE = {
    "duplicates": np.repeat([[0.0, 0.0], [1.0, 2.0], [5.0, 1.0]], 5, axis=0),
    "one point": np.ones((12, 2)),
    "constant column": np.column_stack([np.arange(12.0), np.full(12, 7.0)]),
    "constant columns": np.full((12, 3), [1e9, -3.0, 0.0]),
    "collinear": np.outer(np.arange(12.0), [1.0, 2.0, -3.0]),
    "collinear of scale 1e9": 1e9 * np.outer(np.arange(12.0), [1.0, 2.0, -3.0]),
    "more columns than rows": np.random.RandomState(0).standard_normal((6, 20)),
    "scale 1e9": 1e9 * np.random.RandomState(0).standard_normal((30, 3)),
    "duplicates of scale 1e9": 1e9 * np.repeat([[0.0, 0.0], [1.0, 2.0], [5.0, 1.0]], 5, axis=0),
    "duplicates of scale 1e13": 1e13 * np.repeat([[0.0, 0.0], [1.0, 2.0], [5.0, 1.0]], 5, axis=0),
    "scale 1e-9": 1e-9 * np.random.RandomState(0).standard_normal((30, 3)),
    "offset 1e8": 1e8 + np.repeat([[0.0, 0.0], [1.0, 2.0], [5.0, 1.0]], 5, axis=0),
    "one column of zeros": np.zeros((8, 1)),
    "two distinct rows": np.repeat([[0.0, 1.0], [1e6, -1e6]], 4, axis=0),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("name", DEGENERATE)
def test_reg_covar_saves_degenerate_data(name, covariance_type, dtype):
    X = DEGENERATE[name].astype(dtype)
    for init_params in INITS:
        for K in (1, 3, len(X)):
            mixture = GaussianMixture(
                K, covariance_type=covariance_type, init_params=init_params, tol=0, max_iter=20,
                random_state=0,
            )  # fmt: skip
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", StarvedComponentWarning)
                warnings.simplefilter("ignore", DegenerateComponentWarning)
                # In single precision some of these are nothing but rounding.
                warnings.simplefilter("ignore", ObjectiveDecreaseWarning)
                mixture.fit(X)
            for parameter in PARAMETERS:
                assert np.isfinite(getattr(mixture, parameter)).all()
            assert_allclose(mixture.weights_.sum(), 1, rtol=1e-5)
            assert np.isfinite(mixture.score(X))
            assert_allclose(mixture.predict_proba(X).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("name", [name for name in DEGENERATE if "1e13" not in name])
def test_the_bound_never_falls_on_degenerate_data(name, covariance_type):
    X = DEGENERATE[name]
    for K in (1, 3, len(X)):
        mixture = GaussianMixture(
            K, covariance_type=covariance_type, tol=0, max_iter=20, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StarvedComponentWarning)
            warnings.simplefilter("ignore", DegenerateComponentWarning)
            mixture.fit(X)
        # `ObjectiveDecreaseWarning`, which allows for rounding and `reg_covar`, is an error here.
        assert len(mixture.lower_bounds_) == 20
        assert np.isfinite(mixture.lower_bounds_).all()


# Starved components


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_starved_component_keeps_its_parameters(X, covariance_type):
    start = start_for(covariance_type)
    start["means_init"][2] = 1e4
    mixture = GaussianMixture(3, covariance_type=covariance_type, **start, max_iter=500)
    with pytest.warns(StarvedComponentWarning, match=r"\[2\]"):
        mixture.fit(X)
    assert mixture.weights_[2] == 0
    assert_allclose(mixture.weights_.sum(), 1)
    assert_array_equal(mixture.means_[2], start["means_init"][2])
    if covariance_type != "tied":
        assert_allclose(mixture.precisions_[2], start["precisions_init"][2], rtol=1e-10)
    assert mixture.restarts_[0].starved == [2]
    assert_array_equal(mixture.predict_proba(X)[:, 2], 0)
    assert 2 not in mixture.predict(X)
    assert 2 not in mixture.sample(1000)[1]
    assert np.isfinite(mixture.score(X))
    # What is left is the mixture of the other two.
    settings = {**start, "covariance_type": covariance_type, "max_iter": 500}
    settings["weights_init"] = start["weights_init"][:2] / start["weights_init"][:2].sum()
    settings["means_init"] = start["means_init"][:2]
    if covariance_type != "tied":
        settings["precisions_init"] = start["precisions_init"][:2]
    two = GaussianMixture(2, **settings).fit(X)
    assert_allclose(mixture.means_[:2], two.means_, rtol=1e-6)


# Special shapes


@pytest.mark.parametrize("covariance_type", TYPES)
def test_one_component_is_the_closed_form(X, covariance_type):
    mixture = GaussianMixture(1, covariance_type=covariance_type, reg_covar=0).fit(X)
    covariance = np.cov(X.T, ddof=0)
    expected = {
        "full": covariance[None],
        "tied": covariance,
        "diag": np.diag(covariance)[None],
        "spherical": np.array([np.diag(covariance).mean()]),
    }[covariance_type]
    assert_allclose(mixture.means_, X.mean(axis=0)[None])
    assert_allclose(mixture.covariances_, expected)
    assert_array_equal(mixture.weights_, [1])
    assert_array_equal(mixture.predict(X), 0)
    assert_allclose(mixture.predict_proba(X), 1)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_one_column(covariance_type):
    X = blobs(D=1)
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    peer = peer_fit(
        X,
        covariance_type=covariance_type,
        weights_init=mixture.weights_,
        means_init=mixture.means_,
        precisions_init=mixture.precisions_,
        max_iter=1,
    )
    assert_allclose(mixture.means_, peer.means_, atol=0.02)
    assert mixture.sample(3)[0].shape == (3, 1)


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_as_many_components_as_rows(covariance_type):
    X = 10 * blobs(20)
    mixture = GaussianMixture(len(X), covariance_type=covariance_type, random_state=0).fit(X)
    assert_array_equal(np.sort(mixture.predict(X)), np.arange(len(X)))
    assert_allclose(mixture.weights_, 1 / len(X))


@pytest.mark.parametrize("covariance_type", TYPES)
def test_an_offset_of_1e8_only_moves_the_means(X, covariance_type):
    # A grid on which adding the offset is exact.
    X = np.round(X * 2**10) / 2**10
    settings = {**start_for(covariance_type), "covariance_type": covariance_type, "tol": 0}
    here = GaussianMixture(3, **settings, max_iter=20).fit(X)
    settings["means_init"] = settings["means_init"] + 1e8
    there = GaussianMixture(3, **settings, max_iter=20).fit(X + 1e8)
    assert_allclose(there.means_ - 1e8, here.means_, atol=1e-6)
    assert_allclose(there.covariances_, here.covariances_, rtol=1e-5, atol=1e-6)
    assert_allclose(there.score_samples(X + 1e8), here.score_samples(X), atol=1e-5)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("init_params", INITS)
def test_the_default_start_survives_an_offset_of_1e8(X, covariance_type, init_params):
    X = np.round(X * 2**10) / 2**10
    settings = {"covariance_type": covariance_type, "init_params": init_params, "random_state": 0}
    here = GaussianMixture(3, **settings, tol=0, max_iter=30).fit(X)
    there = GaussianMixture(3, **settings, tol=0, max_iter=30).fit(X + 1e8)
    assert_allclose(there.means_ - 1e8, here.means_, atol=1e-5)
    assert_allclose(there.lower_bound_, here.lower_bound_, atol=1e-6)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag"])
def test_scales_of_columns_only_scale_the_parameters(X, covariance_type):
    scales = np.array([1e6, 1.0, 1e-6])
    start = start_for(covariance_type)
    settings = {"covariance_type": covariance_type, "reg_covar": 0, "tol": 0, "max_iter": 20}
    here = GaussianMixture(3, **start, **settings).fit(X)
    start["means_init"] = start["means_init"] * scales
    outer = scales if covariance_type == "diag" else np.outer(scales, scales)
    squares = scales**2 if covariance_type == "diag" else outer
    start["precisions_init"] = start["precisions_init"] / squares
    there = GaussianMixture(3, **start, **settings).fit(X * scales)
    assert_allclose(there.weights_, here.weights_, rtol=1e-8)
    assert_allclose(there.means_ / scales, here.means_, rtol=1e-7)
    assert_allclose(there.covariances_ / squares, here.covariances_, rtol=1e-6)
    assert_allclose(there.score(X * scales), here.score(X) - np.log(scales).sum(), rtol=1e-9)


# Kinds of input


def inputs(X, tmp_path):
    wide = np.zeros((2 * len(X), 2 * X.shape[1]))
    wide[::2, ::2] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    np.save(tmp_path / "X.npy", X)
    columns = [f"x{d}" for d in range(X.shape[1])]
    return {
        "fortran": np.asfortranarray(X),
        "strided": wide[::2, ::2],
        "reversed": X[::-1, ::-1].copy()[::-1, ::-1],
        "read-only": read_only,
        "memmap": np.load(tmp_path / "X.npy", mmap_mode="r"),
        "big-endian": X.astype(">f8"),
        "long double": X.astype(np.longdouble),
        "object": X.astype(object),
        "lists": X.tolist(),
        "pandas": pd.DataFrame(X, columns=columns),
        "polars": pl.DataFrame(X, schema=columns),
        "arrow": pa.table(dict(zip(columns, X.T, strict=True))),
    }


@pytest.mark.parametrize("covariance_type", TYPES)
def test_any_kind_of_array_gives_the_same_result(X, covariance_type, tmp_path):
    settings = {"covariance_type": covariance_type, "random_state": 0, "tol": 0, "max_iter": 10}
    expected = GaussianMixture(3, **settings).fit(X)
    scores, labels = expected.score_samples(X), expected.predict(X)
    for kind, given in inputs(X, tmp_path).items():
        before = copy.deepcopy(given)
        mixture = GaussianMixture(3, **settings).fit(given)
        for name in PARAMETERS:
            assert_allclose(
                getattr(mixture, name), getattr(expected, name), rtol=1e-9, atol=1e-12,
                err_msg=kind,
            )  # fmt: skip
        assert_allclose(mixture.score_samples(given), scores, rtol=1e-9, err_msg=kind)
        assert_array_equal(mixture.predict(given), labels, err_msg=kind)
        assert_array_equal(np.asarray(given), np.asarray(before), err_msg=kind)


@pytest.mark.parametrize("make", [
    pd.DataFrame,
    lambda columns: pl.DataFrame(columns),
    lambda columns: pa.table(columns),
], ids=["pandas", "polars", "arrow"])  # fmt: skip
def test_names_of_columns(X, make):
    frame = make({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]})
    mixture = GaussianMixture(2, random_state=0).fit(frame)
    assert_array_equal(mixture.feature_names_in_, ["a", "b", "c"])
    other = make({"a": X[:, 0], "c": X[:, 1], "b": X[:, 2]})
    with pytest.raises(ValueError, match="feature names"):
        mixture.predict(other)


def test_names_of_columns_are_missed_and_forgotten(X):
    mixture = GaussianMixture(2, random_state=0).fit(pd.DataFrame(X, columns=["a", "b", "c"]))
    with pytest.warns(UserWarning, match="feature names"):
        mixture.predict(X)
    mixture.fit(X)
    assert not hasattr(mixture, "feature_names_in_")
    mixture.predict(X)


@pytest.mark.parametrize("dtype", ["i1", "i2", ">i4", "i8", "u1", "u8", "f2", "f4", ">f4", bool])
def test_numbers_of_any_kind(dtype):
    rng = np.random.RandomState(0)
    X = rng.randint(0, 2, (50, 2)) if dtype is bool else rng.poisson([[3, 20]], (50, 2))
    given = X.astype(dtype)
    # To the optimum: in single precision the default tolerance may stop an iteration earlier.
    settings = {"tol": 1e-6, "max_iter": 1000, "random_state": 0}
    mixture = GaussianMixture(2, **settings).fit(given)
    expected = GaussianMixture(2, **settings).fit(X.astype(np.float64))
    single = given.dtype.kind == "f" and given.dtype.itemsize == 4
    tolerance = 1e-3 if single else 1e-12
    assert_allclose(mixture.means_, expected.means_, rtol=tolerance)
    assert mixture.means_.dtype == (np.float32 if single else np.float64)


# Weights


@pytest.mark.parametrize("covariance_type", TYPES)
def test_rows_of_weight_zero_are_deleted_rows(X, covariance_type):
    weights = np.random.RandomState(0).poisson(1.0, len(X)).astype(float)
    assert 0 < np.count_nonzero(weights == 0) < len(X)
    given = X.copy()
    # Wherever they lie.
    given[weights == 0] = 1e4
    for init_params in INITS:
        settings = {
            "covariance_type": covariance_type, "init_params": init_params, "random_state": 0,
            "tol": 0, "max_iter": 10,
        }  # fmt: skip
        with_zeros = GaussianMixture(3, **settings).fit(given, sample_weight=weights)
        kept = weights > 0
        without = GaussianMixture(3, **settings).fit(given[kept], sample_weight=weights[kept])
        assert_same_fit(with_zeros, without, rtol=1e-7, atol=1e-9)
        assert_allclose(with_zeros.lower_bound_, without.lower_bound_, rtol=1e-10)


@pytest.mark.parametrize(("dtype", "far"), [(np.float32, 1e30), (np.float64, 1e200)])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_rows_of_weight_zero_may_hold_a_filler(X, covariance_type, dtype, far):
    # Files mark what is not known by numbers whose squares overflow; weight 0 deletes such rows.
    weights = np.ones(len(X))
    weights[::5] = 0
    given = X.astype(dtype)
    given[::5] = far
    start = start_for(covariance_type)
    settings = {**start, "covariance_type": covariance_type, "tol": 0, "max_iter": 5}
    mixture = GaussianMixture(3, **settings).fit(given, sample_weight=weights)
    without = GaussianMixture(3, **settings).fit(given[weights > 0])
    assert_same_fit(mixture, without, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-300, 1e-40, 0.5, 3, 1e30, 1e150])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_scale_of_the_weights_changes_nothing(X, dtype, scale):
    X = X.astype(dtype)
    weights = np.random.RandomState(0).uniform(0.5, 2, len(X))
    settings = {"random_state": 0, "tol": 0, "max_iter": 10}
    one = GaussianMixture(3, **settings).fit(X, sample_weight=weights)
    scaled = GaussianMixture(3, **settings).fit(X, sample_weight=weights * scale)
    tolerance = 1e-5 if dtype == np.float32 else 1e-9
    assert_same_fit(one, scaled, rtol=tolerance, atol=tolerance)
    assert_allclose(one.lower_bound_, scaled.lower_bound_, rtol=tolerance)


def test_integer_weights_repeat_rows(X):
    counts = np.random.RandomState(0).poisson(1.5, len(X))
    settings = {**start_for("full"), "tol": 0, "max_iter": 10}
    weighted = GaussianMixture(3, **settings).fit(X, sample_weight=counts)
    repeated = GaussianMixture(3, **settings).fit(np.repeat(X, counts, axis=0))
    assert_same_fit(weighted, repeated)
    assert_allclose(
        weighted.bic(X, sample_weight=counts), repeated.bic(np.repeat(X, counts, axis=0))
    )


@pytest.mark.parametrize("make", [list, tuple, pd.Series, pl.Series, pa.array,
                                  lambda w: w.astype(np.float32), lambda w: w.astype(">f8"),
                                  lambda w: np.repeat(w, 2)[::2], lambda w: w.astype(np.int64),
                                  lambda w: pd.array(w.astype(int))])  # fmt: skip
def test_weights_of_any_kind(X, make):
    weights = np.random.RandomState(0).poisson(1.5, len(X)).astype(np.float64)
    expected = GaussianMixture(3, random_state=0).fit(X, sample_weight=weights)
    mixture = GaussianMixture(3, random_state=0).fit(X, sample_weight=make(weights))
    assert_same_bits(mixture, expected)


# Promises


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_same_bits_for_any_number_of_threads(covariance_type, dtype):
    X = blobs(5000).astype(dtype)
    weights = np.random.RandomState(0).uniform(0, 2, len(X))
    start = start_for(covariance_type)
    settings = {**start, "covariance_type": covariance_type, "tol": 0, "max_iter": 5}
    one = GaussianMixture(3, n_threads=1, **settings).fit(X, sample_weight=weights)
    for n_threads in (2, 3, 8, None):
        other = GaussianMixture(3, n_threads=n_threads, **settings).fit(X, sample_weight=weights)
        assert_same_bits(one, other)
        assert_array_equal(one.predict_proba(X), other.predict_proba(X))
        assert_array_equal(one.score_samples(X), other.score_samples(X))


def test_nothing_given_is_modified(X):
    start = start_for("full")
    given = {
        "X": X.copy(), "weights": np.linspace(0, 2, len(X)), "labels": np.full(len(X), -1),
        **{name: value.copy() for name, value in start.items()},
    }  # fmt: skip
    before = copy.deepcopy(given)
    for array in given.values():
        array.flags.writeable = False
    mixture = GaussianMixture(3, fixed=("means",), **{name: given[name] for name in start})
    mixture.fit(given["X"], labels=given["labels"], sample_weight=given["weights"])
    for call in (mixture.predict, mixture.predict_proba, mixture.score_samples, mixture.icl):
        call(given["X"])
    mixture.bic(given["X"], sample_weight=given["weights"])
    for name, array in given.items():
        assert_array_equal(array, before[name])
    # The attributes are arrays of their own.
    assert not np.shares_memory(mixture.means_, given["means_init"])
    assert not np.shares_memory(mixture.weights_, given["weights_init"])


@pytest.mark.parametrize("spoil", [
    lambda mixture, X: mixture.fit(X[:, 0]),
    lambda mixture, X: mixture.fit(np.where(X > 1, np.nan, X)[:, :2]),
    lambda mixture, X: mixture.fit(X[:, :2], labels=[5] * len(X)),
    lambda mixture, X: mixture.fit(X[:, :2], sample_weight=-np.ones(len(X))),
    lambda mixture, X: mixture.fit_predict(X[:1, :2]),
    lambda mixture, X: mixture.set_params(reg_covar=0).fit(np.repeat(X[:2, :2], 9, axis=0)),
    lambda mixture, X: mixture.set_params(means_init=[[0]]).fit(X[:, :2]),
])  # fmt: skip
def test_a_fit_that_fails_changes_nothing(X, spoil):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    mixture = GaussianMixture(2, random_state=0).fit(frame, labels=["x", *[None] * (len(X) - 1)])
    before = pickle.dumps({k: v for k, v in vars(mixture).items() if k not in mixture.get_params()})
    scores = mixture.score_samples(frame)
    with pytest.raises(ValueError):
        spoil(mixture, X)
    after = pickle.dumps({k: v for k, v in vars(mixture).items() if k not in mixture.get_params()})
    assert after == before
    assert_array_equal(mixture.score_samples(frame), scores)
    assert_array_equal(mixture.feature_names_in_, ["a", "b", "c"])


def test_rows_far_from_everything(X):
    mixture = GaussianMixture(3, random_state=0).fit(X)
    far = np.array([[1e6, 0, 0], [1e150, 0, 0], [1e200, -1e200, 1e300]])
    proba = mixture.predict_proba(far)
    assert_allclose(proba.sum(axis=1), 1)
    assert_allclose(proba[2], mixture.weights_)
    scores = mixture.score_samples(far)
    assert not np.isnan(scores).any()
    assert scores[0] > scores[1] > scores[2]


# Components far from the others


# The copies of the outlier do not vary.
@pytest.mark.filterwarnings("ignore::emfast.exceptions.DegenerateComponentWarning")
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("far", [1e4, 1e6, 1e8])
def test_an_outlier_does_not_cost_the_digits_of_the_others(covariance_type, sign, far):
    rows = np.random.RandomState(0).standard_normal((200, 2))
    X = np.vstack([rows, np.full((20, 2), sign * far)])
    settings = {"covariance_type": covariance_type, "reg_covar": 1e-3, "random_state": 0}
    single = GaussianMixture(2, **settings).fit(X.astype(np.float32))
    double = GaussianMixture(2, **settings).fit(X)
    assert_allclose(single.score(X[:200].astype(np.float32)), double.score(X[:200]), atol=2e-3)


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


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("far", [0, 1e3, 1e6])
def test_the_scatter_of_all_rows_may_be_left_out(X, dtype, far, monkeypatch):
    rows = np.vstack([X, X[:60] + far]).astype(dtype)
    random = np.random.RandomState(0)
    given = {
        "sample_weight": random.uniform(0.5, 2.0, len(rows)),
        "labels": np.where(
            random.uniform(size=len(rows)) < 0.1, np.arange(len(rows)) >= len(X), -1
        ),
    }
    settings = {"covariance_type": "tied", "random_state": 0, "tol": 0, "max_iter": 20}
    fits = []
    for least in (np.inf, 0):
        monkeypatch.setattr(gaussian, "LEAST_SCATTER", least)
        fits.append(GaussianMixture(2, **settings).fit(rows, **given))
    tolerance = 1e-9 if dtype == np.float64 else 2e-4
    assert_same_fit(*fits, rtol=tolerance, atol=tolerance * max(1, far))
    assert_allclose(fits[0].lower_bounds_, fits[1].lower_bounds_, rtol=tolerance)


def test_a_fall_of_the_objective_is_not_convergence():
    random = np.random.default_rng(24)
    X = np.exp(2 * random.normal(size=(40, 2))) * 0.003
    mixture = GaussianMixture(3, covariance_type="diag", random_state=0).fit(X)
    assert abs(mixture.lower_bounds_[-1] - mixture.lower_bounds_[-2]) < 1e-3


def test_fits_that_overlap_in_time_leave_blas_its_threads(X):
    def blas_threads():
        return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]

    before = blas_threads()
    fits = [
        threading.Thread(target=GaussianMixture(3, tol=0, max_iter=n).fit, args=(X,))
        for n in (300, 30, 150)
    ]
    for fit in fits:
        fit.start()
    for fit in fits:
        fit.join()
    assert blas_threads() == before


def test_the_number_of_threads_follows_what_the_process_may_use(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    resolve_threads(None)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert resolve_threads(None) == 1
    assert resolve_threads(3) == 3


def test_a_starved_component_of_fixed_weight_is_reported():
    mixture = GaussianMixture(
        2, covariance_type="diag", weights_init=[0.5, 0.5], means_init=[[0.0], [1e6]],
        covariances_init=np.ones((2, 1)), fixed=("weights",),
    )  # fmt: skip
    with pytest.warns(StarvedComponentWarning):
        mixture.fit(np.random.RandomState(0).standard_normal((50, 1)))
    assert mixture.restarts_[0].starved == [1]
    assert_array_equal(mixture.weights_, [0.5, 0.5])
