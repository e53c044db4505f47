"""Mixtures of exponential distributions: what their law tests do not say."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from emfast import ExponentialMixture, Mixture
from emfast.emissions import Exponential, Gaussian
from emfast.exceptions import DegenerateComponentWarning
from emfast.storage.persistence import load, save

RATES = np.array([[1.0, 0.02], [0.05, 0.5]])


@pytest.fixture(scope="module")
def waits():
    rng = np.random.default_rng(0)
    z = (rng.uniform(size=20_000) < 0.3).astype(int)
    return rng.exponential(1 / RATES[z]), z


def in_order(mixture):
    order = np.argsort(-mixture.rates_[:, 0])
    return mixture.weights_[order], mixture.rates_[order]


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rates_are_recovered(waits, missing, accelerate, dtype):
    X = waits[0].astype(dtype)
    X[np.random.default_rng(1).uniform(size=X.shape) < missing] = np.nan
    mixture = ExponentialMixture(2, tol=1e-6, random_state=0, accelerate=accelerate).fit(X)
    weights, rates = in_order(mixture)
    assert_allclose(weights, [0.7, 0.3], atol=0.02)
    assert_allclose(rates, RATES, rtol=0.06)
    assert rates.dtype == dtype


def test_one_component_is_one_over_the_mean(waits):
    X, weights = waits[0], np.random.default_rng(2).uniform(0, 2, 20_000)
    assert_allclose(ExponentialMixture().fit(X).rates_, 1 / X.mean(axis=0)[None], rtol=1e-12)
    weighted = ExponentialMixture().fit(X, sample_weight=weights)
    assert_allclose(weighted.rates_[0], weights.sum() / (weights @ X), rtol=1e-12)
    holes = np.where(np.arange(20_000)[:, None] % 3 == [0, 1], np.nan, X)
    assert_allclose(
        ExponentialMixture().fit(holes).rates_[0], 1 / np.nanmean(holes, axis=0), rtol=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_scores_are_densities(waits, dtype):
    X = waits[0][:500].astype(dtype)
    mixture = ExponentialMixture(2, random_state=0).fit(X)
    expected = np.logaddexp.reduce(
        [
            np.log(weight) + stats.expon(scale=1 / rates).logpdf(X).sum(axis=1)
            for weight, rates in zip(mixture.weights_, mixture.rates_, strict=True)
        ]
    )
    tolerance = {8: 1e-12, 4: 1e-5}[X.itemsize]
    assert_allclose(mixture.score_samples(X), expected, rtol=tolerance, atol=tolerance)


def test_acceleration_climbs_and_ends_no_lower(waits):
    X = waits[0][:2000, :1] ** 0.9
    arguments = {"tol": 0, "max_iter": 90, "random_state": 0}
    plain = ExponentialMixture(3, **arguments).fit(X)
    fast = ExponentialMixture(3, accelerate=True, **arguments).fit(X)
    assert np.all(np.diff(fast.lower_bounds_) >= -1e-12)
    assert np.all(np.diff(plain.lower_bounds_) >= -1e-12)
    assert fast.lower_bound_ >= plain.lower_bound_ - 1e-12


def test_known_rates_and_labels(waits):
    X, z = waits
    mixture = ExponentialMixture(
        2, rates_init=[RATES[0], None], fixed={"rates": [True, False]}, random_state=0
    ).fit(X[:3000], labels=np.where(np.arange(3000) < 50, z[:3000], -1))
    assert_array_equal(mixture.rates_[0], RATES[0])
    assert_allclose(mixture.rates_[1], RATES[1], rtol=0.1)
    every = ExponentialMixture(2).fit(X, labels=z)
    assert_allclose(every.rates_, [1 / X[z == k].mean(axis=0) for k in (0, 1)], rtol=1e-10)


def test_samples_have_the_rates():
    mixture = ExponentialMixture(2, rates_init=RATES, weights_init=[0.4, 0.6], max_iter=0)
    mixture.set_params(random_state=0).fit(1 / RATES)
    X, z = mixture.sample(50_000)
    assert X.shape == (50_000, 2) and X.min() >= 0
    for k in (0, 1):
        assert_allclose(X[z == k].mean(axis=0), 1 / RATES[k], rtol=0.05)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("value", [-0.5, np.inf, -np.inf])
def test_what_is_no_waiting_time_is_named(waits, value, dtype):
    X = waits[0][:50].astype(dtype)
    X[7, 1] = value
    with pytest.raises(ValueError, match=rf"X: found {value} in row 7, column 1; expected "):
        ExponentialMixture(2).fit(X)


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_rates_are_positive(waits, rate):
    with pytest.raises(ValueError, match=r"rates_init: found -?\d.*positive rates"):
        ExponentialMixture(1, rates_init=[[1.0, rate]]).fit(waits[0])


def test_a_column_of_zeros_has_no_rate_unless_a_prior_says_so():
    X = pd.DataFrame({"first": [1.0, 2.0, 3.0], "second": [0.0, 0.0, 0.0]})
    with pytest.raises(ValueError, match=r"column 1 \('second'\) is 0"):
        ExponentialMixture().fit(X)
    with pytest.raises(ValueError, match=r"column 1 \('second'\) is 0"):
        blocks = [("a", Gaussian("diag"), ["first"]), ("b", Exponential(), ["second"])]
        Mixture(1, blocks).fit(X)
    mixture = ExponentialMixture(prior={"rates_prior": (2.0, 0.5)}).fit(X)
    assert_allclose(mixture.rates_, [[4 / 6.5, 4 / 0.5]], rtol=1e-12)
    known = ExponentialMixture(rates_init=[[1.0, 2.0]], fixed=["rates"]).fit(X)
    assert_array_equal(known.rates_, [[1.0, 2.0]])


@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 1e-25), (np.float64, 1e205)])
def test_columns_that_are_out_of_range_are_named(waits, dtype, scale):
    X = waits[0][:50] * [1, scale]
    with pytest.raises(ValueError, match=r"largest entry of column 1.*rescale"):
        ExponentialMixture(2).fit(X.astype(dtype))


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_component_of_zeros_is_degenerate(waits, accelerate, dtype):
    """Its density at 0 has no bound: it grows to one, the objective never falls, and fits warn."""
    X = waits[0][:400].astype(dtype)
    X[:40, 0] = 0
    arguments = {"tol": 0, "max_iter": 60, "accelerate": accelerate}
    start = {"weights_init": [0.9, 0.1], "rates_init": [[0.1, 0.1], [50.0, 0.1]]}
    with pytest.warns(DegenerateComponentWarning, match=r"\[1\]"):
        mixture = ExponentialMixture(2, **start, **arguments).fit(X)
    assert np.all(np.diff(mixture.lower_bounds_) >= -1e-6)
    assert np.all(np.isfinite(mixture.rates_))
    bounded = ExponentialMixture(2, prior={"rates_prior": (1.0, 0.1)}, **start, **arguments).fit(X)
    assert bounded.rates_.max() < 1e4


def test_files_give_the_same_answers(waits, tmp_path):
    X = waits[0][:300]
    mixture = ExponentialMixture(2, random_state=0).fit(X)
    product = Mixture(2, [("waits", Exponential(), [0, 1])], random_state=0).fit(X)
    for each in (mixture, product):
        save(each, tmp_path / "model.npz")
        after = load(tmp_path / "model.npz")
        assert_array_equal(after.predict_proba(X), each.predict_proba(X))
    mixture.rates_[0, 0] = 0
    with pytest.raises(ValueError, match="expected positive numbers"):
        save(mixture, tmp_path / "model.npz")
