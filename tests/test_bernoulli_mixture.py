"""`BernoulliMixture`: behaviour that people see."""

import copy
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from emfast import BernoulliMixture
from emfast.exceptions import ConvergenceWarning, StarvedComponentWarning
from repeats import assert_repeats

INITS = ("kmeans", "k-means++", "random", "random_from_data")
P = np.array([[0.9, 0.8, 0.1, 0.2, 0.5], [0.2, 0.1, 0.7, 0.9, 0.5], [0.8, 0.1, 0.9, 0.1, 0.3]])
WEIGHTS = np.array([0.5, 0.3, 0.2])
START = {
    "weights_init": np.array([0.4, 0.4, 0.2]),
    "probabilities_init": np.clip(P + 0.1, 0.05, 0.95),
}


def answers(n=300, seed=0):
    rng = np.random.RandomState(seed)
    component = rng.choice(3, n, p=WEIGHTS)
    return (rng.random_sample((n, 5)) < P[component]).astype(np.uint8)


@pytest.fixture(scope="module")
def X():
    return answers()


def log_joint(X, weights, probabilities):
    """log p(x, z = k), row by row of the definition."""
    X = np.asarray(X, dtype=float)[:, None]
    with np.errstate(divide="ignore"):
        terms = np.where(X == 1, np.log(probabilities), np.log1p(-probabilities))
        return terms.sum(axis=2) + np.log(weights)


def em_by_hand(X, weights, probabilities, n_iter):
    for _ in range(n_iter):
        joint = log_joint(X, weights, probabilities)
        r = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
        weights, probabilities = r.mean(axis=0), (r.T @ X) / r.sum(axis=0)[:, None]
    return weights, probabilities


def assert_same_bits(one, other):
    for name in ("weights_", "probabilities_", "lower_bounds_"):
        assert_array_equal(getattr(one, name), getattr(other, name))


# Against the formulas


@pytest.mark.parametrize("n_iter", [0, 1, 2, 25])
def test_iterations_follow_the_formulas(X, n_iter):
    mixture = BernoulliMixture(3, **START, tol=0, max_iter=n_iter).fit(X)
    weights, probabilities = em_by_hand(X, *START.values(), n_iter)
    assert_allclose(mixture.weights_, weights, rtol=1e-9)
    assert_allclose(mixture.probabilities_, probabilities, rtol=1e-9)
    joint = log_joint(X, weights, probabilities)
    scores = np.logaddexp.reduce(joint, axis=1)
    assert_allclose(mixture.score_samples(X), scores, rtol=1e-9)
    assert_allclose(mixture.lower_bound_, scores.mean(), rtol=1e-10)
    assert_allclose(mixture.score(X), scores.mean(), rtol=1e-10)
    assert_allclose(mixture.predict_proba(X), np.exp(joint - scores[:, None]), rtol=1e-8)
    assert_array_equal(mixture.predict(X), joint.argmax(axis=1))
    p = 2 + 15
    assert_allclose(mixture.bic(X), -2 * scores.sum() + p * np.log(len(X)))
    assert_allclose(mixture.aic(X), -2 * scores.sum() + 2 * p)
    certainty = (joint.max(axis=1) - scores).sum()
    assert_allclose(mixture.icl(X), mixture.bic(X) - 2 * certainty)
    assert mixture.n_iter_ == len(mixture.lower_bounds_) == n_iter


def test_finds_what_the_rows_were_drawn_from():
    X = answers(20_000)
    mixture = BernoulliMixture(3, n_init=3, tol=1e-8, max_iter=2000, random_state=0).fit(X)
    order = np.argmax(mixture.probabilities_ @ (2 * P.T - 1), axis=0)
    assert sorted(order) == [0, 1, 2]
    assert_allclose(mixture.weights_[order], WEIGHTS, atol=0.05)
    assert_allclose(mixture.probabilities_[order], P, atol=0.06)


def test_one_component_is_the_average(X):
    mixture = BernoulliMixture(1).fit(X)
    assert_allclose(mixture.probabilities_, X.mean(axis=0)[None], rtol=1e-12)
    assert_array_equal(mixture.predict(X), 0)


def test_the_bound_never_falls(X):
    mixture = BernoulliMixture(4, init_params="random", tol=0, max_iter=200, random_state=0)
    assert np.all(np.diff(mixture.fit(X).lower_bounds_) > -1e-12)


# Attributes and input


@pytest.mark.parametrize(
    ("given", "kept"),
    [("f4", "f4"), ("f8", "f8"), ("u1", "f8"), (bool, "f8"), ("i8", "f8"), ("i1", "f8"),
     (">i2", "f8"), ("f2", "f8"), (object, "f8")],
)  # fmt: skip
def test_numbers_of_any_kind(X, given, kept):
    mixture = BernoulliMixture(3, **START, tol=0, max_iter=10).fit(X.astype(given))
    expected = BernoulliMixture(3, **START, tol=0, max_iter=10).fit(X)
    tolerance = 1e-5 if kept == "f4" else 1e-12
    assert mixture.weights_.dtype == mixture.probabilities_.dtype == np.dtype(kept)
    assert mixture.probabilities_.shape == (3, 5)
    assert_allclose(mixture.probabilities_, expected.probabilities_, rtol=tolerance)
    assert_allclose(
        mixture.score_samples(X.astype(given)), expected.score_samples(X), rtol=tolerance
    )
    assert_array_equal(mixture.predict(X.astype(given)), expected.predict(X))


def test_any_kind_of_array_gives_the_same_result(X, tmp_path):
    wide = np.zeros((600, 10), np.uint8)
    wide[::2, ::2] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    np.save(tmp_path / "X.npy", X)
    columns = list("abcde")
    inputs = {
        "fortran": np.asfortranarray(X),
        "strided": wide[::2, ::2],
        "strided bool": wide.astype(bool)[::2, ::2],
        "reversed": X[::-1, ::-1].copy()[::-1, ::-1],
        "read-only": read_only,
        "memmap": np.load(tmp_path / "X.npy", mmap_mode="r"),
        "big-endian": X.astype(">f8"),
        "lists": X.tolist(),
        "pandas": pd.DataFrame(X, columns=columns),
        "pandas bool": pd.DataFrame(X.astype(bool), columns=columns),
        "pandas boolean": pd.DataFrame(X.astype(bool), columns=columns).astype("boolean"),
        "polars": pl.DataFrame(X, schema=columns),
        "polars bool": pl.DataFrame(X.astype(bool), schema=columns),
        "arrow": pa.table(dict(zip(columns, X.T, strict=True))),
        "arrow bool": pa.table(dict(zip(columns, X.astype(bool).T, strict=True))),
    }
    for init_params in INITS:
        settings = {"tol": 0, "max_iter": 10, "init_params": init_params, "random_state": 0}
        expected = BernoulliMixture(3, **settings).fit(X)
        for kind, given in inputs.items():
            before = copy.deepcopy(given)
            mixture = BernoulliMixture(3, **settings).fit(given)
            assert_allclose(
                mixture.probabilities_, expected.probabilities_, rtol=1e-9, atol=1e-12,
                err_msg=kind,
            )  # fmt: skip
            assert_array_equal(mixture.predict(given), expected.predict(X), err_msg=kind)
            assert_array_equal(np.asarray(given), np.asarray(before), err_msg=kind)


def test_names_of_columns(X):
    frame = pd.DataFrame(X, columns=list("abcde"))
    mixture = BernoulliMixture(2, random_state=0).fit(frame)
    assert_array_equal(mixture.feature_names_in_, list("abcde"))
    with pytest.raises(ValueError, match="feature names"):
        mixture.predict(frame[list("edcba")])


# Probabilities of exactly 0 and 1


def test_impossible_rows():
    settings = {"weights_init": [0.7, 0.3], "max_iter": 0}
    mixture = BernoulliMixture(2, probabilities_init=[[0, 0.5, 1], [0, 0.5, 0]], **settings)
    mixture.fit(np.array([[0, 0, 1], [0, 1, 0]]))
    rows = np.array([[1, 0, 1], [0, 0, 1], [0, 1, 0], [1, 1, 0]])
    scores = mixture.score_samples(rows)
    assert_array_equal(scores[[0, 3]], -np.inf)
    assert_allclose(scores[[1, 2]], np.log([0.7 * 0.5, 0.3 * 0.5]))
    proba = mixture.predict_proba(rows)
    assert_allclose(proba[[0, 3]], [[0.7, 0.3]] * 2)
    assert_allclose(proba[[1, 2]], [[1, 0], [0, 1]], atol=1e-30)
    assert mixture.score(rows) == -np.inf
    assert mixture.score(rows, sample_weight=[0, 1, 1, 0]) == pytest.approx(scores[1:3].mean())
    assert_array_equal(mixture.probabilities_, [[0, 0.5, 1], [0, 0.5, 0]])


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_unlikely_rows_are_not_impossible(dtype):
    # Less likely than the floor of one impossible feature, but possible.
    mixture = BernoulliMixture(1, weights_init=[1], probabilities_init=np.full((1, 40), 1e-4))
    X = np.zeros((3, 40), dtype)
    mixture.set_params(max_iter=0).fit(X)
    expected = 40 * np.log(1e-4)
    assert_allclose(mixture.score_samples(np.ones((1, 40), dtype)), expected, rtol=1e-5)


@pytest.mark.parametrize("value", [0, 1])
def test_constant_columns(X, value):
    given = X.copy()
    given[:, 2] = value
    for init_params in INITS:
        mixture = BernoulliMixture(3, init_params=init_params, random_state=0, max_iter=500)
        mixture.fit(given)
        assert_allclose(mixture.probabilities_[:, 2], value, atol=1e-12)
        assert np.isfinite(mixture.lower_bound_)


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("K", [1, 3, 8])
def test_all_rows_the_same(value, K):
    mixture = BernoulliMixture(K, random_state=0, max_iter=500).fit(np.full((8, 3), value))
    assert_allclose(mixture.probabilities_, value, atol=1e-6)
    assert_allclose(mixture.weights_.sum(), 1)
    assert_allclose(mixture.lower_bound_, 0, atol=1e-5)


@pytest.mark.parametrize("init_params", INITS)
def test_as_many_components_as_rows(init_params):
    X = answers(12)
    mixture = BernoulliMixture(12, init_params=init_params, random_state=0, max_iter=2000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StarvedComponentWarning)
        mixture.fit(X)
    assert np.isfinite(mixture.probabilities_).all()
    assert_allclose(mixture.weights_.sum(), 1)
    counts = np.unique(X, axis=0, return_counts=True)[1] / 12
    # No model of these rows is likelier than their own frequencies.
    assert mixture.lower_bound_ <= (counts * np.log(counts)).sum() + 1e-12


def test_one_column():
    mixture = BernoulliMixture(2, random_state=0).fit([[0], [1], [1], [1]])
    assert_allclose(mixture.weights_ @ mixture.probabilities_, [0.75])


# Starts


@pytest.mark.parametrize("init_params", INITS)
def test_all_ways_to_start(X, init_params):
    settings = {"init_params": init_params, "random_state": 0, "max_iter": 2000, "tol": 1e-6}
    mixture = BernoulliMixture(3, **settings).fit(X)
    assert_same_bits(mixture, BernoulliMixture(3, **settings).fit(X))
    assert mixture.lower_bound_ > BernoulliMixture(1).fit(X).lower_bound_
    start = BernoulliMixture(3, init_params=init_params, random_state=0, max_iter=0).fit(X)
    # A probability of 0 or 1 would never move.
    assert np.all((start.probabilities_ > 0) & (start.probabilities_ < 1))
    assert np.all(start.weights_ > 0)


def test_the_best_of_several_starts_is_kept(X):
    settings = {"init_params": "random", "tol": 1e-4, "max_iter": 5000}
    mixture = BernoulliMixture(4, n_init=5, random_state=1, **settings).fit(X)
    scores = [restart.score for restart in mixture.restarts_]
    assert len(set(scores)) == 5
    assert mixture.lower_bound_ == max(scores)
    for restart in mixture.restarts_:
        again = BernoulliMixture(4, random_state=restart.seed, **settings).fit(X)
        assert_repeats(again, restart)


def test_partial_starts(X):
    p = START["probabilities_init"]
    mixture = BernoulliMixture(3, probabilities_init=p, max_iter=0).fit(X)
    nearest = ((X[:, None].astype(float) - p) ** 2).sum(axis=2).argmin(axis=1)
    assert_array_equal(mixture.probabilities_, p)
    assert_allclose(mixture.weights_, np.bincount(nearest, minlength=3) / len(X))
    weights = [0.1, 0.2, 0.7]
    mixture = BernoulliMixture(3, weights_init=weights, max_iter=0, random_state=0).fit(X)
    plain = BernoulliMixture(3, max_iter=0, random_state=0).fit(X)
    assert_allclose(mixture.weights_, weights)
    assert_array_equal(mixture.probabilities_, plain.probabilities_)


@pytest.mark.parametrize("fixed", [("weights",), ("probabilities",), ("weights", "probabilities")])
def test_fixed_groups_stay_and_the_others_move(X, fixed):
    mixture = BernoulliMixture(3, **START, fixed=fixed, tol=0, max_iter=10).fit(X)
    for group in ("weights", "probabilities"):
        same = np.allclose(getattr(mixture, f"{group}_"), START[f"{group}_init"], rtol=1e-12)
        assert same == (group in fixed)
    free = 17 - 2 * ("weights" in fixed) - 15 * ("probabilities" in fixed)
    total = mixture.score_samples(X).sum()
    assert_allclose(mixture.bic(X), -2 * total + free * np.log(len(X)))


@pytest.mark.parametrize("group", ["weights", "probabilities"])
def test_fixed_needs_the_values(X, group):
    with pytest.raises(ValueError, match=f"fixed: '{group}'.*{group}_init"):
        BernoulliMixture(3, fixed=[group]).fit(X)


def test_a_starved_component_keeps_its_parameters(X):
    p = START["probabilities_init"].copy()
    p[2] = [0, 1, 0, 1, 0]
    impossible = np.array([0, 1, 0, 1, 0])
    given = X[np.any(impossible != X, axis=1)]
    assert len(given) < len(X)
    mixture = BernoulliMixture(
        3, weights_init=START["weights_init"], probabilities_init=p, max_iter=2000
    )
    with pytest.warns(StarvedComponentWarning, match=r"\[2\]"):
        mixture.fit(given)
    assert mixture.weights_[2] == 0
    assert_array_equal(mixture.probabilities_[2], p[2])
    assert mixture.restarts_[0].starved == [2]
    assert mixture.score_samples([impossible])[0] > -np.inf


# Runs


def test_a_split_run_is_one_run(X):
    whole = BernoulliMixture(3, tol=0, max_iter=12, random_state=0).fit(X)
    parts = BernoulliMixture(3, tol=0, max_iter=5, warm_start=True, random_state=0).fit(X)
    trace = [*parts.lower_bounds_, *parts.set_params(max_iter=7).fit(X).lower_bounds_]
    assert_array_equal(trace, whole.lower_bounds_)
    assert_array_equal(parts.probabilities_, whole.probabilities_)


def test_a_fit_that_is_cut_short_warns(X):
    with pytest.warns(ConvergenceWarning):
        BernoulliMixture(3, tol=1e-12, max_iter=2, random_state=0).fit(X)


def test_verbose(X, capsys):
    BernoulliMixture(2, verbose=1, verbose_interval=1, tol=0, max_iter=2, random_state=0).fit(X)
    assert capsys.readouterr().out.splitlines() == [
        "Initialization 0",
        "  Iteration 1",
        "  Iteration 2",
        "Initialization did not converge.",
    ]


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_the_same_bits_for_any_number_of_threads(dtype):
    X = answers(5000).astype(dtype)
    weights = np.random.RandomState(0).uniform(0, 2, len(X))
    settings = {**START, "tol": 0, "max_iter": 5}
    one = BernoulliMixture(3, n_threads=1, **settings).fit(X, sample_weight=weights)
    for n_threads in (2, 3, 8):
        other = BernoulliMixture(3, n_threads=n_threads, **settings).fit(X, sample_weight=weights)
        assert_same_bits(one, other)
        assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_weights_repeat_and_delete_rows(X):
    counts = np.random.RandomState(0).poisson(1.0, len(X))
    assert np.any(counts == 0)
    for init_params in INITS:
        settings = {"init_params": init_params, "random_state": 0, "tol": 0, "max_iter": 10}
        with_zeros = BernoulliMixture(3, **settings).fit(X, sample_weight=counts)
        kept = counts > 0
        without = BernoulliMixture(3, **settings).fit(X[kept], sample_weight=counts[kept])
        assert_allclose(with_zeros.probabilities_, without.probabilities_, rtol=1e-8)
    settings = {**START, "tol": 0, "max_iter": 10}
    weighted = BernoulliMixture(3, **settings).fit(X, sample_weight=counts)
    repeated = BernoulliMixture(3, **settings).fit(np.repeat(X, counts, axis=0))
    assert_allclose(weighted.probabilities_, repeated.probabilities_, rtol=1e-9)


def test_attributes_set_by_hand(X):
    mixture = BernoulliMixture(3, random_state=0).fit(X)
    mixture.weights_, mixture.probabilities_ = WEIGHTS, P
    assert_allclose(mixture.score_samples(X), np.logaddexp.reduce(log_joint(X, WEIGHTS, P), axis=1))
    by_hand = BernoulliMixture(3)
    by_hand.weights_, by_hand.probabilities_ = WEIGHTS, P
    assert_array_equal(by_hand.predict(X), log_joint(X, WEIGHTS, P).argmax(axis=1))


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_copies_give_the_same_answers(X, dtype, tmp_path):
    X = X.astype(dtype)
    mixture = BernoulliMixture(3, random_state=0).fit(X)
    joblib.dump(mixture, tmp_path / "mixture.joblib")
    scores = mixture.score_samples(X)
    for copied in (
        pickle.loads(pickle.dumps(mixture)),
        copy.deepcopy(mixture),
        joblib.load(tmp_path / "mixture.joblib"),
    ):
        assert_array_equal(copied.score_samples(X), scores)
    assert not hasattr(clone(mixture), "weights_")


def test_sample(X):
    mixture = BernoulliMixture(3, random_state=0).fit(X)
    drawn, component = mixture.sample(30_000)
    assert drawn.shape == (30_000, 5)
    assert set(np.unique(drawn)) == {0, 1}
    assert_allclose(np.bincount(component) / 30_000, mixture.weights_, atol=0.01)
    for k in range(3):
        assert_allclose(drawn[component == k].mean(axis=0), mixture.probabilities_[k], atol=0.03)
    mixture.fit(drawn)
    assert mixture.predict(mixture.sample(3)[0]).shape == (3,)


def test_a_fit_that_fails_changes_nothing(X):
    mixture = BernoulliMixture(3, random_state=0).fit(X)
    before, scores = pickle.dumps(mixture), mixture.score_samples(X)
    for spoiled in (X[:, :2] + 1, X[:2, :2], np.where(X, np.inf, 0.0)):
        with pytest.raises(ValueError):
            mixture.fit(spoiled)
    assert pickle.dumps(mixture) == before
    assert_array_equal(mixture.score_samples(X), scores)


# Probabilities of exactly 0 and 1


def sure_mixture(p):
    mixture = BernoulliMixture(len(p))
    mixture.weights_ = np.full(len(p), 1 / len(p))
    mixture.probabilities_ = np.array(p, float)
    return mixture


def test_a_component_that_cannot_have_made_a_row_is_out_however_unlikely_the_others():
    # Component 0 fits all features but one, which excludes it.
    p = np.full((2, 784), 0.5)
    p[0] = 0.999
    p[0, 0] = 0
    mixture, row = sure_mixture(p), np.ones((1, 784))
    np.testing.assert_allclose(mixture.score_samples(row), np.log(0.5) + 784 * np.log(0.5))
    assert_array_equal(mixture.predict_proba(row), [[0, 1]])
    assert_array_equal(mixture.predict(row), [1])


def test_a_row_that_no_component_can_have_made():
    mixture = sure_mixture([[0, 0.2], [0, 0.9]])
    mixture.weights_ = np.array([0.7, 0.3])
    rows = np.array([[1, 1], [0, 1]])
    assert_array_equal(np.isneginf(mixture.score_samples(rows)), [True, False])
    np.testing.assert_allclose(mixture.predict_proba(rows)[0], [0.7, 0.3])
    assert mixture.predict(rows)[0] == 0


def test_rows_that_exclude_components_are_the_same_if_sparse():
    mixture = sure_mixture([[1, 1, 0, 0.5, 0.5], [0, 0.5, 1, 1, 1]])
    X = (np.arange(32)[:, None] >> np.arange(5) & 1).astype(np.float64)
    scores = mixture.score_samples(X)
    assert 0 < np.isneginf(scores).sum() < 32
    assert_allclose(mixture.score_samples(sp.csr_array(X)), scores, rtol=1e-12)
    assert_allclose(mixture.predict_proba(sp.csr_array(X)), mixture.predict_proba(X), atol=1e-12)


@pytest.mark.parametrize(("labels", "row"), [(None, 1), ([0, -1, -1], 0), ([1, -1, -1], 1)])
def test_known_probabilities_that_exclude_a_row_are_an_error(labels, row):
    X = np.array([[0, 1], [1, 0], [0, 0]])
    mixture = BernoulliMixture(
        2, probabilities_init=[[0, 0], [0, 0.9]], fixed=("probabilities",), random_state=0
    )
    with pytest.raises(ValueError, match=f"row {row} "):
        mixture.fit(X, labels=labels)
    # A row of weight 0 may be whatever it is.
    if labels is None:
        mixture.fit(X, sample_weight=[1, 0, 1])
