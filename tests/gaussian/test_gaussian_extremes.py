"""Singular and starved components, far offsets, scales, single precision."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from emfast import GaussianMixture
from emfast.emissions import gaussian
from emfast.exceptions import (
    DegenerateComponentWarning,
    ObjectiveDecreaseWarning,
    SingularComponentError,
    StarvedComponentWarning,
)
from gaussians import INITS, PARAMETERS, TYPES, assert_same_fit, start_for

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


def test_a_starved_component_of_fixed_weight_is_reported():
    mixture = GaussianMixture(
        2, covariance_type="diag", weights_init=[0.5, 0.5], means_init=[[0.0], [1e6]],
        covariances_init=np.ones((2, 1)), fixed=("weights",),
    )  # fmt: skip
    with pytest.warns(StarvedComponentWarning):
        mixture.fit(np.random.RandomState(0).standard_normal((50, 1)))
    assert mixture.restarts_[0].starved == [1]
    assert_array_equal(mixture.weights_, [0.5, 0.5])


# Offsets, scales and precisions


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


@pytest.mark.parametrize("covariance_type", TYPES)
def test_float32_reaches_the_same_optimum(X, covariance_type):
    settings = {**start_for(covariance_type), "covariance_type": covariance_type}
    single = GaussianMixture(3, **settings, tol=0, max_iter=30).fit(X.astype(np.float32))
    double = GaussianMixture(3, **settings, tol=0, max_iter=30).fit(X)
    assert_same_fit(single, double, rtol=1e-3, atol=1e-4)
    assert_allclose(single.score_samples(X), double.score_samples(X), rtol=1e-3, atol=1e-3)


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
