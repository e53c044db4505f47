"""Gaussian mixtures to scikit-learn and back."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.mixture import BayesianGaussianMixture
from sklearn.mixture import GaussianMixture as SklearnMixture

from emfast import GaussianMixture
from emfast.datasets import make_gaussian_mixture

COVARIANCE_TYPES = ["full", "tied", "diag", "spherical"]
over_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
over_precisions = pytest.mark.parametrize("dtype", ["float64", "float32"])


def rows(dtype="float64"):
    return make_gaussian_mixture(600, 3, 4, random_state=0)[0].astype(dtype)


def assert_alike(one, other, X):
    rtol = 1e-4 if X.dtype == np.float32 else 1e-9
    np.testing.assert_allclose(one.score(X), other.score(X), rtol=rtol)
    np.testing.assert_allclose(one.bic(X), other.bic(X), rtol=rtol)
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=10 * rtol)
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        values, expected = getattr(one, name), getattr(other, name)
        assert values.dtype == expected.dtype == X.dtype
        np.testing.assert_allclose(values, expected, rtol=rtol)
    for name in ("converged_", "n_iter_", "lower_bound_", "n_features_in_"):
        assert getattr(one, name) == getattr(other, name)


@over_types
@over_precisions
def test_round_trip_from_emfast(covariance_type, dtype):
    X = rows(dtype)
    mixture = GaussianMixture(4, covariance_type=covariance_type, tol=1e-4, random_state=0).fit(X)
    other = mixture.to_sklearn()
    assert type(other) is SklearnMixture
    assert other.tol == 1e-4
    assert_alike(other, mixture, X)
    back = GaussianMixture.from_sklearn(other)
    assert_alike(back, mixture, X)
    np.testing.assert_array_equal(back.lower_bounds_, mixture.lower_bounds_)


@over_types
@over_precisions
def test_round_trip_from_scikit_learn(covariance_type, dtype):
    X = rows(dtype)
    other = SklearnMixture(4, covariance_type=covariance_type, random_state=0).fit(X)
    mixture = GaussianMixture.from_sklearn(other)
    assert_alike(mixture, other, X)
    assert_alike(mixture.to_sklearn(), other, X)


def test_what_was_made_is_an_estimator_of_its_own():
    X = rows()
    mixture = GaussianMixture(4, random_state=0).fit(X)
    other = mixture.to_sklearn()
    other.means_ += 1
    np.testing.assert_raises(
        AssertionError, np.testing.assert_allclose, other.means_, mixture.means_
    )
    clone(other).fit(X)
    warm = GaussianMixture.from_sklearn(mixture.to_sklearn()).set_params(warm_start=True)
    assert warm.fit(X).lower_bound_ >= mixture.lower_bound_ - 1e-12


def test_arguments_that_scikit_learn_does_not_know():
    mixture = GaussianMixture(
        2, init_params="short_em", weights_init="equal", means_init=[[0.0] * 3, None], n_threads=1
    ).fit(rows())
    other = mixture.to_sklearn()
    assert (other.init_params, other.weights_init, other.means_init) == ("kmeans", None, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clone(other).fit(rows())


def test_feature_names_are_kept():
    X = pd.DataFrame(rows(), columns=["a", "b", "c"])
    other = GaussianMixture(2, random_state=0).fit(X).to_sklearn()
    assert other.feature_names_in_.tolist() == ["a", "b", "c"]
    assert GaussianMixture.from_sklearn(other).marginal(["c"]).means_.shape == (2, 1)


def test_marginals_have_no_history():
    other = GaussianMixture(2, random_state=0).fit(rows()).marginal([0, 1]).to_sklearn()
    assert other.means_.shape == (2, 2)
    assert np.isfinite(other.score(rows()[:, :2]))


def test_what_cannot_be_told():
    with pytest.raises(NotFittedError):
        GaussianMixture().to_sklearn()
    with pytest.raises(NotFittedError):
        GaussianMixture.from_sklearn(SklearnMixture())
    with pytest.raises(TypeError, match="mixture: found BayesianGaussianMixture; expected"):
        GaussianMixture.from_sklearn(BayesianGaussianMixture().fit(rows()))
    with pytest.raises(ValueError, match="noise"):
        GaussianMixture(2, noise=True, random_state=0).fit(rows()).to_sklearn()
