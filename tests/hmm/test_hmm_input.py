"""Input that cannot be fitted is refused before anything is changed, and the error says why."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from emfast import HMM, BernoulliHMM, CategoricalHMM, GaussianHMM, GaussianMixture, PoissonHMM
from emfast.emissions import Bernoulli, Gaussian, Product


def rows(n=20, D=2):
    return np.random.default_rng(0).normal(size=(n, D))


def refuses_fit(hmm, X, *said, lengths=None, **given):
    """`fit` raises an error with these words and leaves the estimator as it was, fitted or not."""
    fitted = clone(hmm)
    vars(fitted).update(startprob_=np.ones(1), n_features_in_=7, categories_=["a"])
    for estimator in (hmm, fitted):
        before = vars(estimator).copy()
        with pytest.raises((ValueError, TypeError)) as error:
            estimator.fit(X, lengths, **given)
        for word in said:
            assert word in str(error.value)
        after = vars(estimator)
        assert before.keys() == after.keys()
        assert all(after[name] is value for name, value in before.items())


# Lengths and weights


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ([10, 9], "add up to 19; expected the 20 rows of X"),
        ([10, 11], "add up to 21"),
        ([20, 0], "found 0 for sequence 1; expected whole numbers from 1 to the 20 rows"),
        ([25, -5], "found 25 for sequence 0"),
        ([15, -5, 10], "found -5 for sequence 1"),
        ([10.5, 9.5], "found 10.5 for sequence 0"),
        ([np.nan, 20], "found nan for sequence 0"),
        ([np.inf, 20], "found inf for sequence 0"),
        ([], "found none; expected one for each sequence"),
        (20, "of shape (); expected one whole number for each sequence"),
        ([[10, 10]], "of shape (1, 2)"),
        (["a", "b"], "lengths: found values of type"),
        ([True] * 20, "found bool"),
        ([None, 20], "found nan for sequence 0"),
        (np.array(["2020-01-01"], "datetime64[D]"), "lengths: found values of type"),
    ],
)
def test_lengths_that_are_not_those_of_the_rows(lengths, said):
    X = rows()
    refuses_fit(GaussianHMM(2), X, "lengths", said, lengths=lengths)
    hmm = GaussianHMM(2, random_state=0).fit(X)
    for ask in (hmm.score, hmm.score_samples, hmm.decode, hmm.predict, hmm.predict_proba, hmm.bic):
        with pytest.raises(ValueError, match="lengths: found"):
            ask(X, lengths)


@pytest.mark.parametrize(
    "lengths", [[10, 10], (10, 10), np.array([10, 10], np.uint8), np.array([10.0, 10.0]), [20]]
)
def test_lengths_of_any_kind_of_numbers(lengths):
    assert np.isfinite(GaussianHMM(2, random_state=0).fit(rows(), lengths).lower_bound_)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0] * 20, "found shape (20,); expected (2,), one weight a sequence"),
        ([1.0, -1.0], "found -1.0 in sequence 1; expected no negatives"),
        ([0.0, 0.0], "all weights are zero"),
        ([1.0, np.nan], "found nan; expected finite numbers"),
        ([1.0, np.inf], "found inf"),
        (["a", "b"], "sample_weight: found"),
        (1.0, "found shape ()"),
    ],
)
def test_weights_that_are_none_of_sequences(weights, said):
    given = {"lengths": [12, 8], "sample_weight": weights}
    refuses_fit(GaussianHMM(2), rows(), "sample_weight", said, **given)
    hmm = GaussianHMM(2, random_state=0).fit(rows())
    with pytest.raises(ValueError, match="sample_weight"):
        hmm.score(rows(), [12, 8], sample_weight=weights)


def test_fewer_rows_than_states():
    refuses_fit(GaussianHMM(5), rows(4), "n_components = 5, n_samples = 4")
    refuses_fit(
        GaussianHMM(5),
        rows(20),
        "n_samples = 4 of positive weight",
        lengths=[4, 16],
        sample_weight=[1, 0],
    )


# Rows


@pytest.mark.parametrize(
    ("X", "said"),
    [
        (np.arange(20.0), "Reshape your data"),
        (rows().reshape(5, 2, 4), "dim"),
        (np.empty((0, 2)), "0 sample"),
        (np.full((20, 2), np.inf), "X"),
        (np.full((20, 2), "a"), "X"),
        (rows() * 1e200, "X: found"),
        (np.full((20, 2), np.nan), "every entry of column 0 is missing"),
        (None, "X: found None"),
        (rows().astype(complex), "omplex"),
    ],
)
def test_rows_that_are_no_numbers_in_two_dimensions(X, said):
    refuses_fit(GaussianHMM(2), X, said)


def test_columns_that_only_rows_of_no_weight_have():
    X = rows()
    X[:10, 1] = np.nan
    given = {"lengths": [10, 10], "sample_weight": [1, 0]}
    refuses_fit(GaussianHMM(2), X, "every entry of column 1 is missing", **given)


def test_rows_of_other_kinds():
    refuses_fit(BernoulliHMM(2), rows(), "expected only 0 and 1")
    refuses_fit(PoissonHMM(2), -np.ones((20, 1)), "whole numbers from 0 on")
    refuses_fit(CategoricalHMM(2), np.full((20, 1), None), "X")
    hmm = CategoricalHMM(1, random_state=0).fit([["a"], ["b"], ["a"]])
    with pytest.raises(ValueError, match="'c'"):
        hmm.score([["c"]])


def test_methods_need_a_fit_and_as_many_columns():
    hmm = GaussianHMM(2, random_state=0)
    for ask in (hmm.score, hmm.score_samples, hmm.decode, hmm.predict, hmm.predict_proba, hmm.bic):
        with pytest.raises(NotFittedError):
            ask(rows())
    for ask in (hmm.sample, hmm.get_stationary_distribution):
        with pytest.raises(NotFittedError):
            ask()
    hmm.fit(rows())
    with pytest.raises(ValueError, match="3 features"):
        hmm.score(rows(D=3))


# Starting values of the chain


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"startprob_init": [0.5, 0.6]}, "startprob_init: found probabilities that sum to 1.1"),
        ({"startprob_init": [1.5, -0.5]}, "startprob_init: found -0.5; expected probabilities"),
        ({"startprob_init": [1.0]}, "startprob_init: found shape (1,); expected (2,)"),
        ({"startprob_init": [np.nan, 1.0]}, "startprob_init: found nan"),
        ({"startprob_init": [None, 1.0]}, "startprob_init"),
        ({"startprob_init": ["a", "b"]}, "startprob_init: found values"),
        ({"transmat_init": [0.5, 0.5]}, "transmat_init: found shape (2,); expected (2, 2)"),
        ({"transmat_init": np.eye(3)}, "transmat_init: found shape (3, 3)"),
        ({"transmat_init": [[0.5, 0.4], [0, 1]]}, "transmat_init: found probabilities that sum"),
        ({"transmat_init": [[2, -1], [0, 1]]}, "transmat_init: found -1"),
        ({"transmat_init": [None, None]}, "transmat_init: found None for every component"),
        (
            {"startprob_init": [1, 0], "transmat_init": np.eye(2)},
            "transmat_init: found no way to state 1, which startprob_init gives the probability 0",
        ),
        (
            {"startprob_init": [0, 1], "transmat_init": [None, [0, 1]]},
            "transmat_init: found no way to state 0",
        ),
    ],
)
def test_starting_values_that_are_no_chain(given, said):
    refuses_fit(GaussianHMM(2, **given), rows(), said)


def test_states_that_are_reached_over_others_are_fine():
    hmm = GaussianHMM(
        3,
        startprob_init=[0, 1, 0],
        transmat_init=[[0.5, 0, 0.5], [0.5, 0.5, 0], None],
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hmm.fit(rows(200))
    assert hmm.startprob_.tolist() == [0, 1, 0]
    assert hmm.transmat_[0, 1] == hmm.transmat_[1, 2] == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fixed": ("weights",)}, "('startprob', 'transmat', 'means', 'covars')"),
        ({"fixed": ("covariances",)}, "fixed: found 'covariances'"),
        ({"fixed": ("covars",)}, "fixed: 'covars' needs the known values, but covars_init is None"),
        ({"fixed": ("startprob",)}, "but startprob_init is None"),
        ({"fixed": {"startprob": [True, False]}}, "'startprob', which all components share"),
        ({"fixed": {"transmat": [True]}}, "fixed: found [True] for 'transmat'"),
        (
            {"fixed": {"transmat": [False, True]}, "transmat_init": [[0.5, 0.5], None]},
            "'transmat' of component 1 needs the known values, but transmat_init has None there",
        ),
        ({"prior": {"startprob_prior": 0.1}}, "prior['startprob_prior']: found 0.1"),
        ({"prior": {"weight_concentration_prior": 2}}, "('startprob_prior', 'transmat_prior'"),
        ({"assignment": "stochastic"}, "assignment"),
        ({"covariance_type": "round"}, "covariance_type"),
        ({"n_components": 0}, "n_components"),
        ({"tol": -1.0}, "tol"),
        ({"means_init": np.zeros((3, 2))}, "means_init: found shape (3, 2)"),
        ({"covars_init": -np.ones((2, 2))}, "covars_init: found -1"),
    ],
)
def test_arguments_that_are_out_of_range(given, said):
    refuses_fit(GaussianHMM(**{"n_components": 2, **given}), rows(), said)


@pytest.mark.parametrize(
    ("emission", "said"),
    [
        (None, "emission: found none; expected tuples"),
        ([], "emission: found none"),
        ("gaussian", "emission"),
        ([("a", Gaussian("diag"))], "expected tuples (name, emission, columns)"),
        ([("a", "gaussian", [0])], "expected one of emfast.emissions"),
        ([("transmat", Gaussian("diag"), [0])], "and not 'startprob' or 'transmat'"),
        ([("a", Gaussian("diag"), [0]), ("b", Bernoulli(), [0])], "each column in one emission"),
        ([("a", Gaussian("diag"), [7])], "emission: columns of 'a'"),
        (Product({"a": Gaussian("diag")}, [2]), "or a list of (name, emission, columns)"),
        (GaussianMixture(2), "emission"),
    ],
)
def test_emissions_that_are_none(emission, said):
    refuses_fit(HMM(2, emission=emission), rows(), said)


def test_starting_values_of_no_group():
    hmm = HMM(2, emission=Gaussian("diag"), emission_init={"rates": [1, 2]})
    refuses_fit(hmm, rows(), "emission_init: found 'rates'; expected names among ('means',")
    hmm.set_params(emission_init={"means": [1, 2]})
    refuses_fit(hmm, rows(), "emission_init['means']: found shape (2,)")


# Labels


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros(19, int), "labels: expected one entry for each of the 20 rows"),
        (np.full(20, 2), "expected integers 0 to 1"),
        (["a", "b", "c"] + ["a"] * 17, "found 3 classes"),
        (np.zeros((20, 2), bool), "row 0 allows no component"),
    ],
)
def test_labels_that_are_none_of_rows(labels, said):
    refuses_fit(GaussianHMM(2), rows(), said, labels=labels)


def test_labels_that_no_path_can_have():
    hmm = GaussianHMM(2, startprob_init=[1, 0], transmat_init=[[0.5, 0.5], [0, 1]], random_state=0)
    labels = np.full(20, -1)
    labels[[4, 7]] = [1, 0]
    refuses_fit(hmm, rows(), "X: row 7 has zero likelihood in every state that its", labels=labels)
    # Between them a sequence begins anew.
    hmm.fit(rows(), [6, 14], labels=labels)


def test_rows_that_known_probabilities_exclude():
    hmm = BernoulliHMM(2, probabilities_init=[[1.0], [1.0]], fixed=("probabilities",))
    refuses_fit(hmm, np.array([[1], [0], [1]]), "X: row 1 has zero likelihood")
    hmm.fit(np.array([[1], [0], [1]]), [1, 1, 1], sample_weight=[1, 0, 1])


def test_warm_start_of_another_shape():
    hmm = GaussianHMM(2, warm_start=True, random_state=0).fit(rows())
    with pytest.raises(ValueError, match="warm_start: the last fit was of"):
        hmm.fit(rows(D=3))
    hmm.set_params(n_components=3)
    with pytest.raises(ValueError, match="warm_start"):
        hmm.fit(rows())


def test_unfitted_parameters_are_told_where_arguments_have_changed():
    hmm = GaussianHMM(2, random_state=0).fit(rows())
    hmm.set_params(covariance_type="full")
    with pytest.raises(ValueError, match="its arguments changed"):
        hmm.score(rows())
