"""What scikit-learn's `GaussianMixture` does, this one does too."""

import copy
import pickle

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.mixture import GaussianMixture as Peer

from emfast import GaussianMixture
from gaussians import PARAMETERS, TYPES, assert_same_bits, blobs, peer_fit, start_for


def test_every_parameter_of_scikit_learn_is_there():
    ours, theirs = GaussianMixture().get_params(), Peer().get_params()
    assert theirs.keys() <= ours.keys()
    assert {name: ours[name] for name in theirs} == theirs


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


@pytest.mark.parametrize("covariance_type", TYPES)
def test_bic_counts_what_scikit_learn_counts(X, covariance_type):
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    p = (mixture.bic(X) + 2 * mixture.score_samples(X).sum()) / np.log(len(X))
    assert round(p, 6) == peer_fit(X, covariance_type=covariance_type)._n_parameters()


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
