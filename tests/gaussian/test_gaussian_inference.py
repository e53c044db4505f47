"""What a fitted mixture says: scores, responsibilities, criteria, samples."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from emfast import GaussianMixture
from gaussians import TYPES


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


def test_fit_predict_is_fit_then_predict(X):
    mixture = GaussianMixture(3, random_state=0)
    assert_array_equal(mixture.fit_predict(X), mixture.predict(X))
    assert mixture.fit_predict(X).dtype.kind == "i"


def test_rows_far_from_everything(X):
    mixture = GaussianMixture(3, random_state=0).fit(X)
    far = np.array([[1e6, 0, 0], [1e150, 0, 0], [1e200, -1e200, 1e300]])
    proba = mixture.predict_proba(far)
    assert_allclose(proba.sum(axis=1), 1)
    assert_allclose(proba[2], mixture.weights_)
    scores = mixture.score_samples(far)
    assert not np.isnan(scores).any()
    assert scores[0] > scores[1] > scores[2]


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
