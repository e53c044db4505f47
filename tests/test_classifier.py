"""Classes that are mixtures, and rows whose class is missing."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_selector
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import emfast
from emfast import (
    BernoulliMixture,
    BinomialMixture,
    CategoricalMixture,
    ExponentialMixture,
    GaussianHMM,
    GaussianMixture,
    Mixture,
    MixtureClassifier,
    MixtureOfExperts,
    PoissonMixture,
)
from emfast.emissions import Bernoulli, Gaussian, Poisson

ROUND = {"covariance_type": "spherical", "random_state": 0}


def board(n_rows, seed=0, gap=4.0):
    """Rows about the corners of a square, whose class is that of the opposite corner, too."""
    rng = np.random.default_rng(seed)
    high = rng.integers(2, size=(n_rows, 2))
    return gap * high + rng.normal(size=(n_rows, 2)), high.sum(axis=1) % 2


def with_few(y, n_known, seed=0, missing=-1):
    """The classes of some rows only."""
    rng = np.random.default_rng(seed)
    few = np.full(len(y), missing, object if missing is None else y.dtype)
    known = rng.choice(len(y), n_known, replace=False)
    few[known] = y[known]
    return few


def opposites(n_rows, low, high, n_columns=6, seed=0):
    """For two blocks of columns, one of two parameters each; the class is whether they differ."""
    rng = np.random.default_rng(seed)
    which = rng.integers(2, size=(n_rows, 2))
    of_column = np.repeat(which, n_columns, axis=1)
    return rng, np.where(of_column, high, low), which.sum(axis=1) % 2


# Several components of a class


def test_opposite_corners_need_two_components_a_class():
    X, y = board(600)
    new = board(2000, seed=1)
    two = MixtureClassifier(GaussianMixture(**ROUND), components_per_class=2).fit(X, y)
    one = MixtureClassifier(GaussianMixture(**ROUND)).fit(X, y)
    assert two.score(*new) > 0.94
    assert one.score(*new) < 0.7
    means = two.mixture_.means_
    assert_array_equal(two.component_classes_, [0, 0, 1, 1])
    assert_allclose(means[np.argsort(means[:2, 0])], [[0, 0], [4, 4]], atol=0.3)
    assert_allclose(means[2:][np.argsort(means[2:, 0])], [[0, 4], [4, 0]], atol=0.3)


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random_from_data", "short_em"])
@pytest.mark.parametrize("seed", range(5))
def test_a_few_classes_are_enough_for_every_start(init_params, seed):
    X, y = board(400, seed)
    mixture = GaussianMixture(covariance_type="spherical", init_params=init_params)
    mixture.set_params(random_state=seed)
    classifier = MixtureClassifier(mixture, 2).fit(X, with_few(y, 20, seed))
    assert classifier.score(*board(2000, seed=100)) > 0.93


@pytest.mark.parametrize("covariance_type", ["spherical", "full"])
def test_a_few_classes_among_very_many_rows(covariance_type):
    """Which a start on a subsample does not miss."""
    X, y = board(100_000)
    mixture = GaussianMixture(covariance_type=covariance_type, random_state=0)
    classifier = MixtureClassifier(mixture, 2).fit(X, with_few(y, 16))
    assert classifier.score(*board(2000, seed=1)) > 0.94


def test_rows_without_class_help():
    X, y = board(1000, gap=3.0)
    new = board(4000, seed=1, gap=3.0)
    few = with_few(y, 20, seed=3)
    known = few >= 0
    mixture = GaussianMixture(**ROUND)
    all_rows = MixtureClassifier(mixture, 2).fit(X, few).score(*new)
    labelled_only = MixtureClassifier(mixture, 2).fit(X[known], few[known]).score(*new)
    assert all_rows > labelled_only + 0.02


def test_numbers_of_components_by_class():
    X, y = board(300)
    names = np.array(["even", "odd"])[y]
    mixture = GaussianMixture(**ROUND)
    fits = [
        MixtureClassifier(mixture, counts).fit(X, names)
        for counts in ([1, 3], (1, 3), np.array([1, 3]), {"odd": 3, "even": 1})
    ]
    for classifier in fits:
        assert_array_equal(classifier.component_classes_, ["even", "odd", "odd", "odd"])
        assert_array_equal(classifier.mixture_.means_, fits[0].mixture_.means_)
    assert_array_equal(fits[0].predict_proba(X).shape, [300, 2])


def test_class_probabilities_are_sums_of_responsibilities():
    X, y = board(200)
    classifier = MixtureClassifier(GaussianMixture(**ROUND), [2, 1]).fit(X, y)
    shares = classifier.mixture_.predict_proba(X)
    expected = np.stack([shares[:, 0] + shares[:, 1], shares[:, 2]], axis=1)
    assert_allclose(classifier.predict_proba(X), expected, rtol=1e-14)
    assert_array_equal(classifier.predict(X), expected.argmax(axis=1))
    assert_allclose(np.exp(classifier.predict_log_proba(X)), expected, rtol=1e-12)
    assert_array_equal(classifier.score_samples(X), classifier.mixture_.score_samples(X))


def test_the_bound_is_the_likelihood_joint_with_the_classes():
    X, y = board(200)
    few = with_few(y, 100)
    classifier = MixtureClassifier(GaussianMixture(**ROUND), 2).fit(X, few)
    joint = classifier.score_samples(X)
    known = few >= 0
    log_posterior = classifier.predict_log_proba(X)[known, few[known]]
    total = joint.sum() + log_posterior.sum()
    assert classifier.mixture_.lower_bound_ * 200 == pytest.approx(total, rel=1e-10)


# One component a class and every class known: discriminant analysis


@pytest.fixture(scope="module")
def three():
    """Three classes of different breadth."""
    rng = np.random.default_rng(5)
    y = rng.choice(3, size=300, p=[0.5, 0.3, 0.2])
    shapes = rng.normal(size=(3, 3, 3))
    return np.einsum("nd,nde->ne", rng.normal(size=(300, 3)), shapes[y]) + y[:, None], y


def fitted(X, y, covariance_type):
    mixture = GaussianMixture(covariance_type=covariance_type, reg_covar=0.0)
    return MixtureClassifier(mixture).fit(X, y)


def test_diagonal_covariances_are_naive_bayes(three):
    expected = GaussianNB(var_smoothing=0.0).fit(*three).predict_proba(three[0])
    assert_allclose(fitted(*three, "diag").predict_proba(three[0]), expected, atol=1e-12)


def test_tied_covariances_are_linear_discriminant_analysis(three):
    expected = LinearDiscriminantAnalysis(solver="lsqr").fit(*three).predict_proba(three[0])
    assert_allclose(fitted(*three, "tied").predict_proba(three[0]), expected, atol=1e-10)


def test_full_covariances_are_quadratic_discriminant_analysis(three):
    X, y = three
    peer = QuadraticDiscriminantAnalysis().fit(X, y)
    # It divides by n or n - 1, according to its version; maximum likelihood by n.
    peer.scalings_ = [
        np.diag(rotation.T @ np.cov(X[y == c].T, bias=True) @ rotation)
        for c, rotation in enumerate(peer.rotations_)
    ]
    assert_allclose(fitted(X, y, "full").predict_proba(X), peer.predict_proba(X), atol=1e-10)


def test_the_closed_form_takes_one_iteration(three):
    classifier = fitted(*three, "full")
    assert classifier.mixture_.n_iter_ <= 2
    assert_allclose(classifier.mixture_.weights_, np.bincount(three[1]) / 300, rtol=1e-12)


# Every mixture inside


def bernoulli():
    rng, p, y = opposites(500, 0.1, 0.9)
    return BernoulliMixture(random_state=0), (rng.random(p.shape) < p).astype(float), y


def categorical():
    rng, p, y = opposites(500, 0.1, 0.9)
    X = np.where(rng.random(p.shape) < p, "high", rng.choice(["low", "lower"], p.shape))
    return CategoricalMixture(random_state=0), X, y


def poisson():
    rng, rates, y = opposites(500, 1.0, 6.0)
    return PoissonMixture(random_state=0), rng.poisson(rates), y


def binomial():
    rng, p, y = opposites(500, 0.2, 0.7)
    return BinomialMixture(n_trials=10, random_state=0), rng.binomial(10, p), y


def exponential():
    rng, means, y = opposites(500, 1.0, 8.0)
    return ExponentialMixture(random_state=0), rng.exponential(means), y


def several_kinds():
    rng, level, y = opposites(500, 0.0, 1.0, n_columns=4)
    X = np.hstack(
        [rng.normal(4 * level[:, :4]), rng.poisson(1 + 5 * level[:, 4:6]), level[:, 6:] > 0]
    )
    flip = rng.random((500, 2)) < 0.1
    X[:, 6:] = np.where(flip, 1 - X[:, 6:], X[:, 6:])
    blocks = [
        ("sizes", Gaussian("diag"), [0, 1, 2, 3]),
        ("counts", Poisson(), [4, 5]),
        ("flags", Bernoulli(), [6, 7]),
    ]
    return Mixture(emissions=blocks, random_state=0), X, y


KINDS = [bernoulli, categorical, poisson, binomial, exponential, several_kinds]


@pytest.mark.parametrize("make", KINDS)
def test_every_mixture(make):
    mixture, X, y = make()
    train, new = slice(300), slice(300, None)
    two = MixtureClassifier(mixture, 2).fit(X[train], y[train])
    assert two.score(X[new], y[new]) > 0.93
    assert MixtureClassifier(mixture).fit(X[train], y[train]).score(X[new], y[new]) < 0.75
    few = with_few(y[train], 40)
    assert MixtureClassifier(mixture, 2).fit(X[train], few).score(X[new], y[new]) > 0.9


@pytest.mark.parametrize("make", KINDS)
def test_rows_and_classes_drawn(make):
    mixture, X, y = make()
    classifier = MixtureClassifier(mixture, 2).fit(X, np.array(["even", "odd"])[y])
    rows, classes = classifier.sample(400)
    assert rows.shape == (400, X.shape[1])
    assert classifier.score(rows, classes) > 0.93


def test_entries_that_are_missing():
    X, y = board(600)
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    classifier = MixtureClassifier(GaussianMixture(**ROUND), 2).fit(X, with_few(y, 100))
    assert classifier.score(*board(2000, seed=1)) > 0.93
    nothing = classifier.predict_proba([[np.nan, np.nan]])[0]
    priors = [classifier.mixture_.weights_[:2].sum(), classifier.mixture_.weights_[2:].sum()]
    assert_allclose(nothing, priors, rtol=1e-12)


def test_a_row_that_no_class_can_produce_has_the_priors():
    X, y = [[1, 0], [1, 0], [0, 0]], ["a", "a", "b"]
    classifier = MixtureClassifier(BernoulliMixture()).fit(X, y)
    assert_allclose(classifier.predict_proba([[1, 1]]), [[2 / 3, 1 / 3]])
    assert classifier.score_samples([[1, 1]]) == -np.inf
    assert_array_equal(classifier.predict_log_proba([[1, 0]]), [[0, -np.inf]])


def test_noise_is_of_no_class():
    X, y = board(600, gap=8.0)
    rng = np.random.default_rng(1)
    outliers = rng.uniform(-40, 40, size=(60, 2))
    mixture = GaussianMixture(noise=True, **ROUND)
    few = np.append(with_few(y, 100), np.full(60, -1))
    classifier = MixtureClassifier(mixture, 2).fit(np.vstack([X, outliers]), few)
    assert classifier.mixture_.noise_weight_ == pytest.approx(60 / 660, abs=0.02)
    assert classifier.score(*board(2000, seed=1, gap=8.0)) > 0.99
    probabilities = classifier.predict_proba(np.vstack([X, outliers, [[1e6, 1e6]]]))
    assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    _, classes = classifier.sample(500)
    assert set(classes) == {0, 1, None}


def test_known_weights_and_priors_pass_through():
    X, y = board(300)
    mixture = GaussianMixture(
        weights_init=[0.1, 0.2, 0.3, 0.4],
        fixed=["weights"],
        prior={"mean_prior": [100.0, 100.0], "mean_precision_prior": 1e9},
        **ROUND,
    )
    classifier = MixtureClassifier(mixture, 2).fit(X, y)
    assert_array_equal(classifier.mixture_.weights_, [0.1, 0.2, 0.3, 0.4])
    assert_allclose(classifier.mixture_.means_, 100, rtol=1e-3)
    assert_allclose(classifier.predict_proba([[100.0, 100.0]]), [[0.3, 0.7]], atol=0.1)


def test_starting_values_are_in_the_order_of_the_classes():
    X, y = board(300)
    means = [[4.0, 4.0], [0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]
    mixture = GaussianMixture(means_init=means, **ROUND)
    classifier = MixtureClassifier(mixture, 2).fit(X, y)
    assert_allclose(classifier.mixture_.means_, means, atol=0.4)


def test_weights_count_as_repeated_rows():
    X, y = board(200)
    weights = np.random.default_rng(0).integers(0, 4, size=200)
    mixture = GaussianMixture(means_init=[[0, 0], [4, 4], [0, 4], [4, 0]], **ROUND)
    weighted = MixtureClassifier(mixture, 2).fit(X, y, sample_weight=weights)
    repeated = MixtureClassifier(mixture, 2).fit(np.repeat(X, weights, axis=0), y.repeat(weights))
    assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-9)


def test_a_class_whose_rows_do_not_count_is_none():
    X, y = board(200)
    y = np.where(np.arange(200) < 10, 7, y)
    classifier = MixtureClassifier(GaussianMixture(**ROUND), 2)
    weights = (y != 7).astype(float)
    assert_array_equal(classifier.fit(X, y, sample_weight=weights).classes_, [0, 1])


def test_single_precision():
    X, y = board(400)
    mixture = GaussianMixture(**ROUND)
    double = MixtureClassifier(mixture, 2).fit(X, y)
    single = MixtureClassifier(mixture, 2).fit(X.astype(np.float32), y)
    assert single.predict_proba(X.astype(np.float32)).dtype == np.float32
    assert_allclose(single.predict_proba(X), double.predict_proba(X), atol=1e-3)


# Classes


CLASSES = {
    "strings": ["north", "south"],
    "integers": [3, 7],
    "floats": [0.0, 2.0],
    "booleans": [False, True],
}


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, -1])
@pytest.mark.parametrize("names", CLASSES.values(), ids=CLASSES)
def test_classes_of_every_kind(names, missing):
    X, code = board(100)
    y = [names[c] for c in code]
    y[::3] = [missing] * len(y[::3])
    forms = [y, np.array(y, dtype=object), pd.Series(y, dtype=object)]
    fits = [MixtureClassifier(GaussianMixture(**ROUND), 2).fit(X, form) for form in forms]
    for classifier in fits:
        assert classifier.classes_.dtype == np.array(names).dtype
        assert_array_equal(classifier.classes_, names)
        assert_array_equal(classifier.mixture_.means_, fits[0].mixture_.means_)
        predicted = classifier.predict(X)
        assert predicted.dtype == classifier.classes_.dtype
        assert np.mean(predicted == np.array(names)[code]) > 0.9


@pytest.mark.parametrize(
    "make",
    [
        lambda y: pd.Series(y, dtype="Int64").where(np.arange(len(y)) % 3 > 0),
        lambda y: pl.Series([None if i % 3 == 0 else v for i, v in enumerate(y.tolist())]),
        lambda y: np.ma.masked_array(y, mask=np.arange(len(y)) % 3 == 0),
        lambda y: np.where(np.arange(len(y)) % 3 == 0, np.nan, y),
        lambda y: np.where(np.arange(len(y)) % 3 == 0, -1, y).astype(np.int8),
    ],
    ids=["nullable", "polars", "masked", "floats", "bytes"],
)
def test_ways_of_missing(make):
    X, y = board(90)
    classifier = MixtureClassifier(GaussianMixture(**ROUND), 2)
    expected = clone(classifier).fit(X, np.where(np.arange(90) % 3 == 0, -1, y))
    found = classifier.fit(X, make(y))
    assert_array_equal(found.classes_, [0, 1])
    assert_array_equal(found.mixture_.means_, expected.mixture_.means_)


@pytest.mark.parametrize(
    "make",
    [
        lambda y: pd.Series(y, dtype="Int64"),
        lambda y: pd.array(y, dtype="UInt8"),
        lambda y: pd.Series(y, dtype="int64[pyarrow]"),
        pl.Series,
        pa.array,
        lambda y: pa.chunked_array([y]),
        lambda y: pa.chunked_array([pa.array(y).dictionary_encode()]),
    ],
    ids=["Int64", "UInt8", "pandas arrow", "polars", "arrow", "arrow chunks", "arrow dictionary"],
)
def test_classes_stay_integers_beside_missing_ones(make):
    X, y = board(90)
    some = [None if i % 3 == 0 else v for i, v in enumerate((y + 3).tolist())]
    classifier = MixtureClassifier(GaussianMixture(**ROUND), 2).fit(X, make(some))
    assert classifier.classes_.dtype == np.int64
    assert_array_equal(classifier.classes_, [3, 4])
    assert classifier.predict(X).dtype == np.int64
    assert classifier.score(X, make(some)) > 0.9
    large = [None if i % 3 == 0 else 2**53 + i for i in range(90)]
    with pytest.raises(ValueError, match=r"^y: found integers beyond 2\^53 beside missing ones"):
        classifier.fit(X, pl.Series(large))


def test_files_keep_the_columns_that_a_callable_found(tmp_path):
    X, y = board(90)
    table = pd.DataFrame(X, columns=["a", "b"]).assign(c="x")
    numbers = make_column_selector(dtype_include=float)
    mixture = Mixture(emissions=[("numbers", Gaussian("diag"), numbers)], random_state=0)
    classifier = MixtureClassifier(mixture, 2).fit(table, y)
    classifier.save(tmp_path / "model")
    again = emfast.load(tmp_path / "model")
    assert_array_equal(again.predict_proba(table), classifier.predict_proba(table))
    assert_array_equal(clone(again).fit(table, y).predict(table), classifier.predict(table))
    assert classifier.mixture.emissions[0][2] is numbers


def test_what_is_missing_is_a_choice():
    X, y = board(90)
    signs = 2 * y - 1
    mixture = GaussianMixture(**ROUND)
    both = MixtureClassifier(mixture, missing_label=None).fit(X, signs)
    assert_array_equal(both.classes_, [-1, 1])
    assert_array_equal(MixtureClassifier(mixture).fit(X, signs).classes_, [1])
    names = np.where(y == 1, "one", "unknown")
    assert_array_equal(
        MixtureClassifier(mixture, missing_label="unknown").fit(X, names).classes_, "one"
    )
    # A string is no number.
    digits = np.where(y == 1, "1", "-1")
    assert_array_equal(MixtureClassifier(mixture).fit(X, digits).classes_, ["-1", "1"])
    assert_array_equal(
        MixtureClassifier(mixture, missing_label="-1").fit(X, digits).classes_, ["1"]
    )
    mixed = MixtureClassifier(mixture).fit(X, [-1 if v else "zero" for v in y])
    assert_array_equal(mixed.classes_, ["zero"])


def test_one_class():
    X, _ = board(50)
    classifier = MixtureClassifier(GaussianMixture(**ROUND), 2).fit(X, ["all"] * 50)
    assert_array_equal(classifier.predict(X), ["all"] * 50)
    assert_allclose(classifier.predict_proba(X), np.ones((50, 1)))


def test_score_is_of_rows_whose_class_is_known():
    X, y = board(300)
    classifier = MixtureClassifier(GaussianMixture(**ROUND), 2).fit(X, y)
    right = classifier.predict(X) == y
    few = with_few(y, 100, missing=None)
    known = np.array([value is not None for value in few])
    assert classifier.score(X, few) == right[known].mean()
    weights = np.arange(300.0)
    expected = np.average(right[known], weights=weights[known])
    assert classifier.score(X, few, weights) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"y: the class of every row .* is missing"):
        classifier.score(X, [None] * 300)


# What cannot be right


@pytest.mark.parametrize(
    ("arguments", "y", "error", "message"),
    [
        ({}, [-1] * 40, ValueError, "y: the class of every row of positive weight is missing"),
        ({}, [None] * 40, ValueError, "missing_label=-1.*expected at least one class"),
        ({}, None, ValueError, "y: MixtureClassifier requires y"),
        ({}, [0, 1] * 10, ValueError, r"y: found shape \(20,\); expected \(40,\)"),
        ({}, np.zeros((40, 2), int), ValueError, r"y: found shape \(40, 2\)"),
        ({}, np.linspace(0.1, 0.9, 40), ValueError, "Unknown label type"),
        ({}, ["a", 1] * 20, TypeError, "y: expected values that can be sorted"),
        ({}, [["a"], ["b", "c"]] * 20, TypeError, "y: expected values that can be sorted"),
        ({}, [0.0, np.inf] * 20, ValueError, "y: found infinity"),
        ({"components_per_class": 0}, [0, 1] * 20, ValueError, "components_per_class"),
        ({"components_per_class": 1.5}, [0, 1] * 20, ValueError, "components_per_class"),
        ({"components_per_class": [1, 2, 3]}, [0, 1] * 20, ValueError, "found 3 numbers"),
        ({"components_per_class": [1, 0]}, [0, 1] * 20, ValueError, "found 0; expected integers"),
        ({"components_per_class": [1, 1.5]}, [0, 1] * 20, ValueError, "found 1.5"),
        ({"components_per_class": {0: 1}}, [0, 1] * 20, ValueError, r"classes \[0, 1\]"),
        (
            {"components_per_class": {0: 1, 1: 1, 2: 1}},
            [0, 1] * 20,
            ValueError,
            "and no others",
        ),
        (
            {"components_per_class": 3},
            [0] * 38 + [1] * 2,
            ValueError,
            "y: class 1 has n_samples = 2 of positive weight, and the class of 0 is missing",
        ),
        ({"mixture": SklearnMixture()}, [0, 1] * 20, TypeError, "mixture of emfast"),
        ({"mixture": MixtureOfExperts(2)}, [0, 1] * 20, TypeError, "^mixture: .*of emfast"),
        ({"mixture": GaussianHMM(2)}, [0, 1] * 20, TypeError, "^mixture: .*of emfast"),
        ({"mixture": "full"}, [0, 1] * 20, ValueError, "mixture"),
        ({"mixture": GaussianMixture(tol=-1)}, [0, 1] * 20, ValueError, "tol"),
    ],
)
def test_what_cannot_be_right(arguments, y, error, message):
    X, _ = board(40)
    classifier = MixtureClassifier(**arguments)
    before = dict(vars(classifier))
    with pytest.raises(error, match=message):
        classifier.fit(X, y)
    assert vars(classifier) == before


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (None, "X: .*NoneType"),
        (5.0, "X: .*float"),
        (np.arange(4.0), "X: .*1D array"),
        (np.array([[1 + 2j]] * 4), "X: Complex"),
        (np.empty((0, 2)), "y: found shape"),
        ([["a"], ["b"]] * 2, "X: could not convert"),
    ],
)
def test_rows_that_cannot_be_right(X, message):
    with pytest.raises((TypeError, ValueError), match=message):
        MixtureClassifier().fit(X, [0, 1, 0, 1])


def test_a_fit_that_fails_leaves_the_last_one():
    X, y = board(100)
    classifier = MixtureClassifier(GaussianMixture(**ROUND), 2).fit(X, y)
    before = classifier.predict_proba(X)
    with pytest.raises(ValueError, match="infinity"):
        classifier.fit(np.full((10, 3), np.inf), [0, 1] * 5)
    assert_array_equal(classifier.predict_proba(X), before)
    assert classifier.n_features_in_ == 2


def test_rows_without_class_make_up_for_few_with():
    X, y = board(100)
    one_each = np.full(100, -1)
    for corner in ([0, 0], [4, 0]):
        nearest = ((X - corner) ** 2).sum(axis=1).argmin()
        one_each[nearest] = y[nearest]
    classifier = MixtureClassifier(GaussianMixture(**ROUND), 2).fit(X, one_each)
    assert_array_equal(classifier.classes_, [0, 1])
    assert np.all(classifier.mixture_.weights_ > 0.1)


def test_not_fitted():
    for method in ("predict", "predict_proba", "predict_log_proba", "score_samples"):
        with pytest.raises(NotFittedError):
            getattr(MixtureClassifier(), method)([[0.0]])
    with pytest.raises(NotFittedError):
        MixtureClassifier().sample()


def test_a_column_of_classes():
    X, y = board(60)
    with pytest.warns(DataConversionWarning, match="column-vector"):
        classifier = MixtureClassifier(GaussianMixture(**ROUND), 2).fit(X, y[:, None])
    assert_array_equal(classifier.classes_, [0, 1])


# scikit-learn


def test_the_mixture_that_was_given_is_not_fitted():
    X, y = board(100)
    mixture = GaussianMixture(**ROUND)
    classifier = MixtureClassifier(mixture, 2).fit(X, y)
    assert not hasattr(mixture, "weights_")
    assert mixture.n_components == 1
    assert classifier.mixture_.n_components == 4


def test_copies():
    X, y = board(100)
    classifier = MixtureClassifier(GaussianMixture(**ROUND), {0: 2, 1: 1}).fit(X, y)
    stored = pickle.loads(pickle.dumps(classifier))
    assert_array_equal(stored.predict_proba(X), classifier.predict_proba(X))
    again = clone(classifier)
    assert not hasattr(again, "classes_")
    assert_array_equal(again.fit(X, y).predict_proba(X), classifier.predict_proba(X))


@pytest.mark.parametrize("mixture", [GaussianMixture(random_state=0), None])
def test_a_grid_over_the_mixture_and_the_number_of_components(mixture):
    X, y = board(300)
    grid = {"mixture__covariance_type": ["spherical", "diag"], "components_per_class": [1, 2]}
    search = GridSearchCV(MixtureClassifier(mixture), grid, cv=3).fit(X, y)
    assert search.best_params_["components_per_class"] == 2
    assert search.best_score_ > 0.93
    assert np.all(np.isfinite(search.cv_results_["mean_test_score"]))
    semi = GridSearchCV(MixtureClassifier(mixture), grid, cv=3).fit(X, with_few(y, 150))
    assert semi.best_params_["components_per_class"] == 2


def test_arguments_of_the_mixture_that_stands_for_none():
    first, second = MixtureClassifier(), MixtureClassifier()
    first.set_params(mixture__covariance_type="diag", components_per_class=2)
    assert first.mixture.covariance_type == "diag"
    assert second.mixture is None
    with pytest.raises(ValueError, match="Invalid parameter 'nothing'"):
        second.set_params(mixture__nothing=1)


def test_pipelines_and_names_of_columns():
    X, y = board(300)
    classifier = MixtureClassifier(GaussianMixture(**ROUND), 2)
    pipeline = make_pipeline(StandardScaler(), classifier)
    assert pipeline.fit(100 * X, y).score(100 * X, y) > 0.93
    frame = pd.DataFrame(X, columns=["width", "height"])
    classifier.fit(frame, y)
    assert_array_equal(classifier.feature_names_in_, ["width", "height"])
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(frame[["height", "width"]])
    classifier.fit(X, y)
    assert not hasattr(classifier, "feature_names_in_")


def test_what_rows_may_be_is_what_the_mixture_says():
    tags = MixtureClassifier(BernoulliMixture()).__sklearn_tags__()
    assert tags.input_tags.sparse
    assert tags.input_tags.allow_nan
    assert tags.estimator_type == "classifier"
    assert not MixtureClassifier().__sklearn_tags__().input_tags.sparse


def expected_failures(classifier):
    failures = {}
    if classifier.missing_label == -1:
        failures["check_classifiers_classes"] = "there -1 is a class, and here it is missing"
    if classifier.components_per_class == 2:
        failures["check_sample_weight_equivalence_on_dense_data"] = (
            "the start is drawn from the rows given"
        )
    return failures


@parametrize_with_checks(
    [
        MixtureClassifier(missing_label=None),
        MixtureClassifier(),
        MixtureClassifier(GaussianMixture(random_state=0), 2, missing_label=None),
    ],
    expected_failed_checks=expected_failures,
)
# Some checks fit two components to a handful of rows.
@pytest.mark.filterwarnings("ignore::emfast.exceptions.DegenerateComponentWarning")
def test_scikit_learn_contract(estimator, check):
    check(estimator)
