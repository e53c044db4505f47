"""Mixtures of columns of several kinds."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_selector

from emfast import (
    BernoulliMixture,
    CategoricalMixture,
    ExponentialMixture,
    GaussianMixture,
    Mixture,
    PoissonMixture,
)
from emfast.emissions import Bernoulli, Binomial, Categorical, Exponential, Gaussian, Poisson
from emfast.storage.persistence import load, save


@pytest.fixture
def people():
    """Two kinds of people, in columns of four kinds, some entries missing."""
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, 400)
    frame = pd.DataFrame(
        {
            "height": rng.normal([165, 180], 5, (400, 2))[np.arange(400), z],
            "smokes": rng.uniform(size=400) < np.array([0.1, 0.8])[z],
            "town": np.where(rng.uniform(size=400) < np.array([0.2, 0.7])[z], "Ulm", "Bonn"),
            "weight": rng.normal([60, 85], 6, (400, 2))[np.arange(400), z],
            "visits": rng.poisson(np.array([1.0, 6.0])[z]),
        }
    )
    return frame, z


EMISSIONS = [
    ("body", Gaussian("full"), ["height", "weight"]),
    ("habits", Bernoulli(), ["smokes"]),
    ("home", Categorical(), "town"),
    ("counts", Poisson(), ["visits"]),
]


def test_components_are_found(people):
    X, z = people
    mixture = Mixture(2, EMISSIONS, random_state=0).fit(X)
    order = np.argsort(mixture.emissions_["body"].means[:, 0])
    assert np.mean(order.argsort()[mixture.predict(X)] == z) > 0.97
    assert_allclose(mixture.emissions_["body"].means[order], [[165, 60], [180, 85]], atol=1.5)
    assert_allclose(mixture.emissions_["habits"].probabilities[order, 0], [0.1, 0.8], atol=0.08)
    assert_array_equal(mixture.categories_["home"][0], ["Bonn", "Ulm"])
    ulm = [p[1] for p in mixture.emissions_["home"].probabilities[order]]
    assert_allclose(ulm, [0.2, 0.7], atol=0.1)
    assert_allclose(mixture.emissions_["counts"].rates[order, 0], [1, 6], atol=0.5)
    assert mixture.feature_names_in_.tolist() == X.columns.tolist()


@pytest.mark.parametrize(
    ("emission", "estimator"),
    [
        (Gaussian("full"), GaussianMixture(2)),
        (Gaussian("tied"), GaussianMixture(2, covariance_type="tied")),
        (Gaussian("spherical"), GaussianMixture(2, covariance_type="spherical")),
        (Poisson(), PoissonMixture(2)),
        (Exponential(), ExponentialMixture(2)),
        (Categorical(), CategoricalMixture(2)),
        (Bernoulli(), BernoulliMixture(2)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_one_block_is_the_mixture_of_its_emission(emission, estimator):
    rng = np.random.default_rng(0)
    X = rng.poisson([[1, 7, 4]] * 100 + [[9, 2, 3]] * 100).astype(float)
    if isinstance(emission, Bernoulli):
        X = (X > 4).astype(float)
    # Starts of a product see columns on other scales.
    labels = np.repeat([0, 1], 100)
    arguments = {"tol": 0, "max_iter": 3, "random_state": 0}
    plain = clone(estimator).set_params(**arguments).fit(X, labels=labels)
    mixture = Mixture(2, [("all", emission, slice(None))], **arguments).fit(X, labels=labels)
    assert_allclose(mixture.lower_bounds_, plain.lower_bounds_, rtol=1e-9)
    assert_allclose(mixture.predict_proba(X), plain.predict_proba(X), rtol=0, atol=1e-9)
    assert mixture.bic(X) == pytest.approx(plain.bic(X), rel=1e-9)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_product_is_the_sum_of_log_densities(covariance_type, dtype):
    """Against the mixtures of the parts, whose log-densities given a label are known."""
    rng = np.random.default_rng(1)
    K, n = 3, 1700
    X = np.hstack(
        [
            rng.normal(size=(n, 5)),
            rng.integers(0, 2, (n, 9)),
            rng.integers(0, 4, (n, 2)),
            rng.poisson(3, (n, 3)),
            rng.integers(0, 7, (n, 2)),
            rng.exponential(3, (n, 2)),
        ]
    ).astype(dtype)
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    z = rng.integers(0, K, n)
    blocks = {
        "numbers": (Gaussian(covariance_type), slice(0, 5)),
        "answers": (Bernoulli(), slice(5, 14)),
        "levels": (Categorical(), slice(14, 16)),
        "counts": (Poisson(), slice(16, 19)),
        "successes": (Binomial(6), slice(19, 21)),
        "waits": (Exponential(), slice(21, 23)),
    }
    emissions = [(name, emission, columns) for name, (emission, columns) in blocks.items()]
    mixture = Mixture(K, emissions, max_iter=1, tol=0, random_state=0).fit(X, labels=z)
    log_p = np.zeros((n, K))
    for name, (emission, columns) in blocks.items():
        alone = Mixture(K, [(name, emission, columns)], max_iter=1, tol=0, random_state=0)
        alone.fit(X, labels=z)
        for k in range(K):
            of_k = alone.score_samples(X, labels=np.full(n, k))
            log_p[:, k] += of_k - np.log(alone.weights_[k])
    joint = log_p + np.log(mixture.weights_)
    largest = joint.max(axis=1)
    expected = largest + np.log(np.exp(joint - largest[:, None]).sum(axis=1))
    tolerance = {np.float32: 1e-4, np.float64: 1e-11}[dtype]
    assert_allclose(mixture.score_samples(X), expected, rtol=tolerance)
    assert_allclose(
        mixture.predict_proba(X), np.exp(joint - expected[:, None]), atol=10 * tolerance
    )
    after = Mixture(K, emissions, max_iter=4, tol=0, random_state=0, n_threads=3).fit(X)
    again = Mixture(K, emissions, max_iter=4, tol=0, random_state=0, n_threads=1).fit(X)
    assert_array_equal(after.lower_bounds_, again.lower_bounds_)
    assert np.all(np.diff(after.lower_bounds_) > -1e-5)


@pytest.mark.parametrize(
    "columns",
    [
        ["height", "weight"],
        [0, 3],
        [-5, -2],
        np.array([True, False, False, True, False]),
        slice(0, 4, 3),
        lambda X: ["height", "weight"],
        make_column_selector(dtype_include=float),
    ],
)
def test_columns_by_any_name(people, columns):
    X, _ = people
    arguments = {"random_state": 0, "max_iter": 3, "tol": 0}
    expected = Mixture(2, [EMISSIONS[0]], **arguments).fit(X)
    mixture = Mixture(2, [("body", Gaussian("full"), columns)], **arguments).fit(X)
    assert_array_equal(mixture.emissions_["body"].means, expected.emissions_["body"].means)


def test_columns_of_arrays():
    X = np.random.default_rng(0).normal(size=(50, 3))
    mixture = Mixture(2, [("a", Gaussian("diag"), [0, 2]), ("b", Gaussian("diag"), 1)])
    mixture.set_params(random_state=0).fit(X)
    assert mixture.emissions_["a"].means.shape == (2, 2)
    assert mixture.emissions_["b"].means.shape == (2, 1)
    assert mixture.sample(7)[0].shape == (7, 3)


def test_known_groups_stay_and_starting_values_are_taken(people):
    X, _ = people
    means = np.array([[165.0, 60.0], [180.0, 85.0]])
    mixture = Mixture(
        2,
        EMISSIONS,
        emissions_init={"body.means": means, "home.probabilities": [[[0.5, 0.5], [0.1, 0.9]]]},
        fixed=["body.means", "home.probabilities"],
        random_state=0,
    ).fit(X)
    assert_array_equal(mixture.emissions_["body"].means, means)
    assert_array_equal(mixture.emissions_["home"].probabilities, [[0.5, 0.5], [0.1, 0.9]])
    free = 1 + 2 * 3 + 2 + 2
    total = mixture.score(X) * 400
    assert mixture.bic(X) == pytest.approx(-2 * total + free * np.log(400))
    of_one = Mixture(
        2,
        EMISSIONS,
        emissions_init={"body.means": means},
        fixed={"body.means": [True, False]},
        random_state=0,
    ).fit(X)
    assert_array_equal(of_one.emissions_["body"].means[0], means[0])
    assert np.all(of_one.emissions_["body"].means[1] != means[1])


def test_missing_entries_of_every_kind(people):
    X, z = people
    rng = np.random.default_rng(1)
    holes = X.astype(object)
    holes[rng.uniform(size=X.shape) < 0.2] = None
    holes.iloc[3] = None
    mixture = Mixture(2, EMISSIONS, random_state=0).fit(holes)
    order = np.argsort(mixture.emissions_["body"].means[:, 0])
    assert np.mean(order.argsort()[mixture.predict(holes)] == z) > 0.9
    assert_allclose(mixture.predict_proba(holes)[3], mixture.weights_)
    assert mixture.score_samples(holes)[3] == pytest.approx(0, abs=1e-12)
    holes["town"] = None
    with pytest.raises(ValueError, match="town"):
        clone(mixture).fit(holes)


def test_missing_entries_in_rows_with_weights(people):
    """A column counts as missing only if no row of positive weight has it."""
    X, _ = people
    holes = X.astype(object)
    holes.iloc[:2] = None
    mixture = Mixture(2, EMISSIONS, random_state=0, tol=0, max_iter=3)
    weighted = clone(mixture).fit(holes, sample_weight=np.full(len(X), 2.0))
    assert weighted.lower_bound_ == pytest.approx(mixture.fit(holes).lower_bound_, rel=1e-12)
    holes.loc[holes.index < 100, "visits"] = None
    with pytest.raises(ValueError, match="visits"):
        clone(mixture).fit(holes, sample_weight=(holes.index < 100).astype(float))


def test_samples_are_rows(people):
    X, _ = people
    mixture = Mixture(2, EMISSIONS, random_state=0).fit(X)
    rows, z = mixture.sample(500)
    frame = pd.DataFrame(rows, columns=X.columns)
    assert set(frame["town"]) == {"Ulm", "Bonn"}
    assert np.mean(mixture.predict(frame) == z) > 0.95
    assert frame["visits"].astype(float).mean() == pytest.approx(X["visits"].mean(), abs=0.5)


def test_columns_that_no_emission_names_do_not_matter(people):
    X, _ = people
    mixture = Mixture(2, EMISSIONS[1:], random_state=0).fit(X)
    changed = X.assign(height=np.nan)
    assert_array_equal(mixture.predict_proba(changed), mixture.predict_proba(X))


def test_copies_and_files(people, tmp_path):
    X, _ = people
    mixture = Mixture(
        2,
        [
            ("body", Gaussian("diag", reg_covar=1e-3), make_column_selector(dtype_include=float)),
            ("habits", Bernoulli(), [1]),
            ("home", Categorical(), slice(2, 3)),
            ("visits", Binomial(40), "visits"),
        ],
        fixed=["visits.probabilities"],
        emissions_init={"visits.probabilities": [[0.1], [0.2]]},
        random_state=0,
    ).fit(X)
    save(mixture, tmp_path / "model.npz")
    for copy in (pickle.loads(pickle.dumps(mixture)), load(tmp_path / "model.npz")):
        assert_array_equal(copy.predict_proba(X), mixture.predict_proba(X))
        assert_array_equal(copy.score_samples(X), mixture.score_samples(X))
        assert copy.bic(X) == mixture.bic(X)
    assert_array_equal(clone(mixture).fit(X).predict(X), mixture.predict(X))


@pytest.mark.parametrize(
    ("emissions", "said"),
    [
        ([], "found none"),
        ([("a", Gaussian("diag"))], "tuples"),
        ([("a", "gaussian", [0])], "one of emfast.emissions"),
        ([("a.b", Gaussian("diag"), [0])], "without a dot"),
        ([("weights", Gaussian("diag"), [0])], "not 'weights'"),
        ([("a", Gaussian("diag"), [0]), ("a", Poisson(), [1])], "'a' twice"),
        ([("a", Gaussian("diag"), [0, 1]), ("b", Poisson(), [1])], "column 1 in 'a' and in 'b'"),
        ([("a", Gaussian("diag"), [7])], "columns of 'a'"),
        ([("a", Gaussian("diag"), ["x"])], "columns of 'a'"),
        ([("a", Gaussian("diag"), [])], "no columns for 'a'"),
        ([("a", Poisson(), lambda X: [])], "no columns for any"),
        ([("a", Gaussian("diag"), [0]), ("b", Bernoulli(), [1])], "column 1"),
        ([("a", Binomial(), [1])], "n_trials: found None"),
        ([("a", Binomial([5, 5]), [1])], r"n_trials: found shape \(2,\)"),
    ],
)
def test_bad_emissions(emissions, said):
    X = np.array([[0.5, 2.0], [1.5, 3.0], [0.1, 4.0]])
    mixture = Mixture(1, emissions)
    with pytest.raises((ValueError, TypeError), match=said):
        mixture.fit(X)
    assert not hasattr(mixture, "weights_")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"fixed": ["means"]}, "expected names among"),
        ({"fixed": ["a.means"]}, "a.means"),
        ({"emissions_init": {"a.rates": [[1.0]]}}, "expected names among"),
        ({"emissions_init": {"a.means": [[1.0, 2.0]]}}, "a.means.*shape"),
        ({"emissions_init": {"b.rates": [[-2.0]]}}, "b.rates.*-2"),
        ({"fixed": ["a.means"]}, r"but emissions_init\['a.means'\] is None"),
        ({"fixed": ["weights"]}, "but weights_init is None"),
    ],
)
def test_bad_arguments(arguments, said):
    X = np.array([[0.5, 2.0], [1.5, 3.0], [0.1, 4.0]])
    mixture = Mixture(1, [("a", Gaussian("diag"), [0]), ("b", Poisson(), [1])], **arguments)
    with pytest.raises(ValueError, match=said):
        mixture.fit(X)


@pytest.mark.parametrize(
    ("n_trials", "said"),
    [
        (None, "n_trials: found None"),
        (-3, "n_trials: found -3"),
        ([3, 4, 5], r"n_trials: found shape \(3,\)"),
        (2, "X: found 3 in row 1, column 0; expected at most n_trials = 2"),
    ],
)
def test_bad_trials(n_trials, said):
    X = np.array([[1, 2, 0.5], [3, 0, 1.5], [2, 2, 0.1]])
    emissions = [("counts", Binomial(n_trials), [0, 1]), ("size", Gaussian(), [2])]
    with pytest.raises(ValueError, match=said):
        Mixture(2, emissions).fit(X)


def test_other_columns_at_predict_time(people):
    X, _ = people
    mixture = Mixture(2, EMISSIONS, random_state=0).fit(X)
    with pytest.raises(ValueError, match="feature names"):
        mixture.predict(X[X.columns[::-1]])
    with pytest.raises(ValueError, match="X"):
        mixture.predict(X.iloc[:, :3])
    with pytest.raises(ValueError, match=r"'Rome' in column 2 \('town'\), row 0"):
        mixture.predict(X.assign(town="Rome"))
