"""Iterations of a fit: how many, from where, until when, and what they lead to."""

import copy
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal

from emfast import GaussianMixture
from emfast.exceptions import ConvergenceWarning
from gaussians import PARAMETERS, TYPES, assert_same_bits, blobs, peer_fit, shape_of, start_for


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
    mixture = GaussianMixture(
        3, covariance_type=covariance_type, random_state=0, tol=1e-9, max_iter=10_000
    ).fit(X)
    peer = peer_fit(
        X,
        covariance_type=covariance_type,
        weights_init=mixture.weights_,
        means_init=mixture.means_,
        precisions_init=mixture.precisions_,
        max_iter=1,
    )
    assert_allclose(mixture.means_, peer.means_, atol=1e-4)
    assert mixture.sample(3)[0].shape == (3, 1)


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_as_many_components_as_rows(covariance_type):
    X = 10 * blobs(20)
    mixture = GaussianMixture(len(X), covariance_type=covariance_type, random_state=0).fit(X)
    assert_array_equal(np.sort(mixture.predict(X)), np.arange(len(X)))
    assert_allclose(mixture.weights_, 1 / len(X))


def test_verbose(X, capsys):
    GaussianMixture(3, verbose=0, random_state=0).fit(X)
    assert capsys.readouterr().out == ""
    GaussianMixture(
        3, verbose=1, verbose_interval=2, n_init=2, tol=0, max_iter=6, random_state=0
    ).fit(X)
    lines = capsys.readouterr().out.splitlines()
    one = ["  Iteration 2", "  Iteration 4", "  Iteration 6", "Initialization did not converge."]
    assert lines == ["Initialization 0", *one, "Initialization 1", *one]
    mixture = GaussianMixture(3, verbose=2, verbose_interval=1, random_state=0).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == mixture.n_iter_ + 2
    number = r"[\d.]+"
    for n, line in enumerate(lines[1:-1], 1):
        assert re.fullmatch(rf"  Iteration {n}\t time lapse {number}s\t ll change {number}", line)
    last = rf"Initialization converged\. time lapse {number}s\t lower bound (-{number})\."
    assert float(re.fullmatch(last, lines[-1])[1]) == pytest.approx(mixture.lower_bound_, abs=1e-5)


@pytest.mark.parametrize("tol", [0, 1e-3])
@pytest.mark.parametrize("verbose", [1, 2])
def test_verbose_prints_what_scikit_learn_prints(X, capsys, verbose, tol):
    settings = {
        "verbose": verbose,
        "verbose_interval": 1,
        "tol": tol,
        "max_iter": 3 if tol == 0 else 99,
    }
    fit = GaussianMixture(3, **settings, **start_for("full")).fit(X)
    ours = capsys.readouterr().out
    peer_fit(X, **settings, **start_for("full"))
    theirs = capsys.readouterr().out.rstrip() + "\n"
    if tol > 0:
        # They stop earlier, where a gain is below tol but not all that is still to come.
        ours, theirs = (re.sub(r"  Iteration (?!1\b).*\n", "", out) for out in (ours, theirs))
        assert fit.converged_
    ours, theirs = (re.sub(r"-?\d+\.\d+|inf", "#", out) for out in (ours, theirs))
    assert ours == theirs


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


def test_a_fall_of_the_objective_is_not_convergence():
    random = np.random.default_rng(24)
    X = np.exp(2 * random.normal(size=(40, 2))) * 0.003
    mixture = GaussianMixture(3, covariance_type="diag", random_state=0).fit(X)
    assert abs(mixture.lower_bounds_[-1] - mixture.lower_bounds_[-2]) < 1e-3


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
