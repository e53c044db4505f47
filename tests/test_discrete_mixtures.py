"""Mixtures of categories and counts: published results, what they take, and what they refuse."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import logsumexp
from sklearn.base import clone

import oracle
from emfast import BernoulliMixture, BinomialMixture, CategoricalMixture, PoissonMixture
from emfast.exceptions import ConvergenceWarning
from emfast.storage.persistence import load, save
from tables import ordered_dictionary

DATA = Path(__file__).parent / "data"
CONVERGED = {"tol": 1e-12, "max_iter": 20_000, "random_state": 0}

# Published results


@pytest.mark.parametrize("storage", [np.asarray, sp.csr_array])
def test_hasselblad(storage):
    X = storage(np.arange(10.0)[:, None])
    deaths = [162, 267, 271, 185, 111, 61, 27, 8, 3, 1]
    mixture = PoissonMixture(
        2, weights_init=[0.4, 0.6], rates_init=[[1.0], [3.0]], tol=0, max_iter=6000
    ).fit(X, sample_weight=deaths)
    assert mixture.lower_bound_ * sum(deaths) == pytest.approx(-1989.945860, abs=1e-5)
    assert_allclose(mixture.weights_[0], 0.35988540, atol=1e-4)
    assert_allclose(mixture.rates_.ravel(), [1.25609510, 2.66340436], atol=1e-4)


@pytest.mark.parametrize("rates", [[[1.0], [3.0]], [[1.0], [2.5]], [[0.5], [5.0]]])
def test_hasselblad_in_few_maps(rates):
    """Every iteration is one pass over the rows, and so is what the start is measured by."""
    deaths = [162, 267, 271, 185, 111, 61, 27, 8, 3, 1]
    start = PoissonMixture(2, weights_init=[0.4, 0.6], rates_init=rates, tol=1e-12, max_iter=149)
    mixture = clone(start).set_params(accelerate=True)
    mixture.fit(np.arange(10)[:, None], sample_weight=deaths)
    assert mixture.converged_
    assert mixture.n_iter_ + 1 <= 150
    total = mixture.lower_bound_ * sum(deaths)
    assert total == pytest.approx(-1989.945860, abs=1e-6)
    with pytest.warns(ConvergenceWarning):
        start.fit(np.arange(10)[:, None], sample_weight=deaths)
    start.set_params(tol=0, max_iter=6000)
    slow = start.fit(np.arange(10)[:, None], sample_weight=deaths)
    assert mixture.lower_bound_ == pytest.approx(slow.lower_bound_, rel=1e-8)
    assert_allclose(mixture.weights_[0], 0.35988540, atol=1e-4)
    assert_allclose(mixture.rates_.ravel(), [1.25609510, 2.66340436], atol=1e-4)


@pytest.fixture(scope="module")
def carcinoma():
    return pd.read_csv(DATA / "carcinoma.csv")


@pytest.mark.parametrize(
    ("K", "log_likelihood", "bic"),
    [(1, -524.464818, None), (2, -317.256837, 706.0739), (3, -293.704979, 697.1357)],
)
@pytest.mark.parametrize("words", [False, True])
def test_carcinoma_as_categories(carcinoma, K, log_likelihood, bic, words):
    X, count = carcinoma.iloc[:, :7], carcinoma["count"]
    if words:
        X = X.replace({0: "no", 1: "yes"})
    mixture = CategoricalMixture(K, n_init=8, **CONVERGED).fit(X, sample_weight=count)
    assert mixture.score(X, sample_weight=count) * 118 == pytest.approx(log_likelihood, abs=1e-5)
    if bic is not None:
        assert mixture.bic(X, sample_weight=count) == pytest.approx(bic, abs=1e-4)
    if K == 3:
        assert_allclose(np.sort(mixture.weights_), [0.181707, 0.373567, 0.444726], atol=1e-4)
        p = np.hstack(mixture.probabilities_)
        assert np.any(p < 1e-9)


def test_categories_of_two_levels_are_bernoulli(carcinoma):
    X, count = carcinoma.iloc[:, :7].to_numpy(), carcinoma["count"]
    p = np.random.default_rng(0).uniform(0.2, 0.8, (2, 7))
    arguments = {"weights_init": [0.3, 0.7], "tol": 0, "max_iter": 20}
    binary = BernoulliMixture(2, probabilities_init=p, **arguments).fit(X, sample_weight=count)
    mixture = CategoricalMixture(
        2, probabilities_init=[np.stack([1 - q, q], 1) for q in p.T], **arguments
    ).fit(X, sample_weight=count)
    coins = BinomialMixture(2, n_trials=1, probabilities_init=p, **arguments)
    coins.fit(X, sample_weight=count)
    assert_allclose(np.stack(mixture.probabilities_)[:, :, 1].T, binary.probabilities_, rtol=1e-10)
    assert_allclose(coins.probabilities_, binary.probabilities_, rtol=1e-10)
    assert_allclose(mixture.lower_bounds_, binary.lower_bounds_, rtol=1e-12)
    assert_allclose(coins.lower_bounds_, binary.lower_bounds_, rtol=1e-12)


# Categories: what there is


@pytest.mark.parametrize(
    ("column", "levels"),
    [
        ([2, 0, 2, 1], [0, 1, 2]),
        ([2.0, 0.0, np.nan, 5.0], [0, 2, 5]),
        (["b", "a", None, "c"], ["a", "b", "c"]),
        (pd.array(["b", pd.NA, "a", "c"], dtype="string"), ["a", "b", "c"]),
        (pd.array([3, pd.NA, 1, 3], dtype="Int64"), [1, 3]),
        (pd.Categorical(["low", "high", None, "low"], ["low", "mid", "high"], ordered=True),
         ["low", "mid", "high"]),
        ([True, False, True, True], [False, True]),
    ],
)  # fmt: skip
def test_levels_of_a_column(column, levels):
    X = pd.DataFrame({"kind": column, "other": [0, 1, 0, 1]})
    mixture = CategoricalMixture(1).fit(X)
    assert_array_equal(mixture.categories_[0], levels)
    present = pd.Series(column).dropna()
    shares = [np.mean(present == level) for level in levels]
    assert_allclose(mixture.probabilities_[0][0], shares, atol=1e-12)
    assert mixture.feature_names_in_.tolist() == ["kind", "other"]


LEVELS = ["low", "mid", "high"]


@pytest.mark.parametrize(
    ("table", "levels"),
    [
        (pl.DataFrame({"kind": ["low", None, "high"]}, {"kind": pl.Enum(LEVELS)}), LEVELS),
        (pa.table({"kind": ordered_dictionary([0, None, 2], LEVELS)}), LEVELS),
        (pa.table({"kind": pa.array(["low", None, "high"]).dictionary_encode()}), ["high", "low"]),
    ],
    ids=["polars Enum", "arrow ordered", "arrow"],
)
def test_levels_of_a_type(table, levels):
    mixture = CategoricalMixture(1).fit(table)
    assert_array_equal(mixture.categories_[0], levels)
    shares = dict(zip(levels, mixture.probabilities_[0][0], strict=True))
    assert shares == pytest.approx({**dict.fromkeys(levels, 0.0), "low": 0.5, "high": 0.5})
    rows = pd.DataFrame({"kind": ["low", None, "high"]})
    assert_array_equal(mixture.score_samples(table), mixture.score_samples(rows))


def test_arrays_and_frames_agree():
    rng = np.random.default_rng(0)
    X = rng.choice(["x", "yy", "z"], (200, 3))
    codes = np.unique(X, return_inverse=True)[1].reshape(X.shape)
    expected = CategoricalMixture(2, random_state=0).fit(codes)
    names = ["a", "b", "c"]
    for given in (
        X,
        X.astype(object),
        X.tolist(),
        pd.DataFrame(X, columns=names),
        pd.DataFrame(X, columns=names).astype("category"),
        pl.DataFrame(X, schema=names),
        codes.astype(float),
        np.asfortranarray(codes),
    ):
        mixture = CategoricalMixture(2, random_state=0).fit(given)
        assert_array_equal(np.stack(mixture.probabilities_), np.stack(expected.probabilities_))
        assert_array_equal(mixture.predict(given), expected.predict(codes))


def test_more_levels_than_a_byte_has():
    rng = np.random.default_rng(0)
    for n_levels in (254, 255, 256, 70_000):
        column = np.concatenate([np.arange(n_levels), rng.integers(0, n_levels, 500)])
        X = np.stack([column, column % 3], axis=1).astype(float)
        X[5, 0] = np.nan
        mixture = CategoricalMixture(1, categories=[np.arange(n_levels), [0, 1, 2]]).fit(X)
        counts = np.bincount(np.delete(column, 5), minlength=n_levels)
        assert_allclose(mixture.probabilities_[0][0], counts / counts.sum(), rtol=1e-12)


def test_given_categories_keep_their_order_and_may_be_absent():
    X = [["b"], ["a"], ["b"]]
    mixture = CategoricalMixture(1, categories=[["c", "b", "a"]]).fit(X)
    assert_allclose(mixture.probabilities_[0], [[0, 2 / 3, 1 / 3]])
    assert mixture.score_samples([["c"]])[0] == -np.inf
    assert_allclose(mixture.predict_proba([["c"]]), [[1.0]])


def test_samples_of_categories_have_their_names():
    X = pd.DataFrame({"colour": ["red", "blue", "red"] * 20, "size": [1, 2, 5] * 20})
    mixture = CategoricalMixture(2, random_state=0).fit(X)
    rows, components = mixture.sample(50)
    assert rows.shape == (50, 2)
    assert components.shape == (50,)
    assert set(rows[:, 0]) <= {"red", "blue"}
    assert set(rows[:, 1]) <= {1, 2, 5}
    mixture.predict(pd.DataFrame(rows, columns=X.columns))


def test_unseen_category_is_named():
    X = pd.DataFrame({"colour": ["red", "blue"] * 5, "size": [1, 2] * 5})
    mixture = CategoricalMixture(2, random_state=0).fit(X)
    for rows, said in (
        ({"colour": ["red", "green"], "size": [1, 2]}, r"'green' in column 0 \('colour'\), row 1"),
        ({"colour": ["red", "red"], "size": [3, 2]}, r"3 in column 1 \('size'\), row 0"),
    ):
        with pytest.raises(ValueError, match=said):
            mixture.predict(pd.DataFrame(rows))
    with pytest.raises(ValueError, match="X: found True in column 0, row 0"):
        CategoricalMixture(1).fit([["a"], ["b"]]).predict(np.array([[True], [False]]))


@pytest.mark.parametrize(
    ("X", "said"),
    [
        ([[0, 1], [-1, 0]], "-1 in column 0, row 1; expected integers from 0 on"),
        ([[0.0, 1.5], [1, 0]], "1.5 in column 1, row 0; expected integers"),
        ([[np.inf, 1.0], [1, 0]], "inf in column 0"),
        ([0, 1, 2], "Reshape your data"),
        (np.zeros((0, 2)), "0 sample"),
        (np.array([["a", None], ["b", None]], object), "every entry of column 1 is missing"),
        (np.array([[1 + 2j, 0], [0, 0]]), "complex"),
        (np.zeros((2, 2), complex), "complex"),
        (np.array([[2**63, 0], [1, 0]], np.uint64), "9223372036854775808 in column 0, row 0"),
        (np.array([["a", 1], [2, 1]], object), "types"),
    ],
)
def test_bad_categories(X, said):
    with pytest.raises((ValueError, TypeError), match=said):
        CategoricalMixture(1).fit(X)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"probabilities_init": [[[0.5, 0.5]] * 2]}, "each of the 2 features"),
        ({"probabilities_init": [[[0.5, 0.5]] * 2, [[0.5, 0.6]] * 2]}, r"\[1\].*sum to 1.1"),
        ({"probabilities_init": [[[0.5, 0.5]] * 2, [[1.5, -0.5]] * 2]}, r"\[1\].*-0.5"),
        ({"probabilities_init": [[[0.5, 0.5]] * 2, [[0.2, 0.3, 0.5]] * 2]}, r"\[1\].*shape"),
        ({"categories": [["a", "b"]]}, "categories: found those of 1 columns; expected 2"),
        ({"fixed": ["probabilities"]}, "probabilities_init is None"),
        ({"fixed": ["rates"]}, "expected names among"),
    ],
)
def test_bad_arguments_of_categories(arguments, said):
    X = np.array([["a", "x"], ["b", "y"], ["a", "y"]])
    with pytest.raises(ValueError, match=said):
        CategoricalMixture(2, **arguments).fit(X)


# Counts


def test_trials_of_every_row_and_every_count():
    rng = np.random.default_rng(0)
    n, p = rng.integers(1, 20, 300), np.array([[0.2, 0.5], [0.7, 0.9]])
    z = rng.integers(0, 2, 300)
    X = rng.binomial(n[:, None], p[z])
    arguments = {"weights_init": [0.5, 0.5], "probabilities_init": p, "tol": 0, "max_iter": 5}
    by_row = BinomialMixture(2, **arguments).fit(X, n_trials=n)
    by_count = BinomialMixture(2, **arguments).fit(X, n_trials=np.tile(n[:, None], 2))
    assert_array_equal(by_row.probabilities_, by_count.probabilities_)

    log_p = [stats.binom.logpmf(X, n[:, None], q).sum(axis=1) for q in by_row.probabilities_]
    joint = np.stack(log_p, 1) + np.log(by_row.weights_)
    assert_allclose(by_row.score_samples(X, n_trials=n), logsumexp(joint, axis=1), rtol=1e-12)
    assert_allclose(by_row.lower_bound_, logsumexp(joint, axis=1).mean(), rtol=1e-12)
    assert_array_equal(by_row.predict(X, n_trials=n), joint.argmax(axis=1))
    shares = by_row.predict_proba(X, n_trials=n)
    assert_allclose(shares, np.exp(joint - logsumexp(joint, axis=1)[:, None]), rtol=1e-9)
    total = logsumexp(joint, axis=1).sum()
    assert by_row.score(X, n_trials=n) * 300 == pytest.approx(total)
    assert by_row.bic(X, n_trials=n) == pytest.approx(-2 * total + 5 * np.log(300))
    assert by_row.aic(X, n_trials=n) == pytest.approx(-2 * total + 10)
    assert by_row.icl(X, n_trials=n) > by_row.bic(X, n_trials=n)
    constant = BinomialMixture(2, n_trials=20, **arguments).fit(X)
    per_row = BinomialMixture(2, **arguments).fit(X, n_trials=np.full(300, 20))
    assert_allclose(per_row.probabilities_, constant.probabilities_, rtol=1e-12)
    assert_array_equal(
        BinomialMixture(2, **arguments).fit_predict(X, n_trials=n), joint.argmax(axis=1)
    )


def test_trials_of_every_column():
    X = np.array([[1, 5], [2, 9], [0, 1]])
    mixture = BinomialMixture(1, n_trials=[2, 10]).fit(X)
    assert_allclose(mixture.probabilities_, [[0.5, 0.5]])
    rows, _ = mixture.sample(100)
    assert np.all(rows <= [2, 10])


@pytest.mark.parametrize(
    ("n_trials", "of_rows", "X", "said"),
    [
        (5, None, [[3], [6]], "6 in row 1, column 0; expected at most n_trials = 5"),
        (None, [5, 7], [[6], [6]], "6 in row 0, column 0; expected at most n_trials = 5"),
        (None, None, [[3], [6]], "n_trials: found None"),
        (2.5, None, [[1], [2]], "n_trials"),
        (-1, None, [[0], [0]], "n_trials: found -1"),
        ([3, 4], None, [[1], [2]], r"n_trials: found shape \(2,\)"),
        (None, [5, 7, 9], [[1], [2]], r"n_trials: found shape \(3,\)"),
        (None, [5, np.nan], [[1], [2]], "n_trials"),
        (5, None, [[-1], [2]], "-1"),
        (5, None, [[0.5], [2]], "0.5"),
        (0, None, [[0], [0]], "n_trials: found 0; expected whole numbers from 1 on"),
        (None, [[5, 0], [4, 0]], [[1, 0], [2, 0]], "every entry of column 1 is missing"),
        (5, None, [1, 2], "X.*2D"),
        (5, None, 1, "X.*2D"),
        (5, None, None, "X: found None"),
        (None, 5, [1, 2], "X.*2D"),
    ],
)
def test_bad_trials(n_trials, of_rows, X, said):
    mixture = BinomialMixture(1, n_trials=n_trials)
    with pytest.raises(ValueError, match=said):
        mixture.fit(X, n_trials=of_rows)
    assert not hasattr(mixture, "weights_")


@pytest.mark.parametrize(("n_trials", "of_rows"), [(5, None), (None, [5, 5])])
def test_counts_of_trials_are_dense(n_trials, of_rows):
    with pytest.raises(TypeError, match="X"):
        BinomialMixture(1, n_trials=n_trials).fit(sp.csr_array([[1.0], [0.0]]), n_trials=of_rows)


@pytest.mark.parametrize("bad", [-1, 0.5, np.inf])
@pytest.mark.parametrize("storage", [np.asarray, sp.csr_array])
def test_bad_counts(bad, storage):
    X = storage(np.array([[1.0, 2.0], [3.0, bad]]))
    with pytest.raises(ValueError, match=r"X"):
        PoissonMixture(1).fit(X)
    if np.isfinite(bad):
        with pytest.raises(ValueError, match=f"{bad:g}(.0)? in row 1, column 1; expected counts"):
            PoissonMixture(1).fit(X)


def test_bad_rates():
    with pytest.raises(ValueError, match="rates_init: found -1"):
        PoissonMixture(1, rates_init=[[-1.0]]).fit([[1], [2]])


def test_rates_of_exactly_zero():
    X = np.array([[0, 5], [0, 7], [4, 0], [6, 0]])
    mixture = PoissonMixture(2, weights_init=[0.5, 0.5], rates_init=[[0, 6], [5, 0]], max_iter=0)
    mixture.fit(X)
    assert_array_equal(mixture.predict(X), [0, 0, 1, 1])
    assert_array_equal(mixture.predict_proba(X), [[1, 0], [1, 0], [0, 1], [0, 1]])
    both = mixture.score_samples([[1, 1], [0, 0]])
    assert both[0] == -np.inf
    assert_allclose(both[1], np.log(0.5 * np.exp(-6) + 0.5 * np.exp(-5)))
    assert_array_equal(mixture.predict_proba([[1, 1]]), [[0.5, 0.5]])
    fitted = PoissonMixture(2, random_state=0).fit(X)
    assert np.sort(fitted.rates_[:, 0])[0] == pytest.approx(0, abs=1e-9)


def test_probabilities_of_exactly_0_and_1():
    X = np.array([[0, 3], [0, 3], [3, 1], [3, 2]])
    mixture = BinomialMixture(
        2,
        n_trials=3,
        weights_init=[0.5, 0.5],
        probabilities_init=[[0, 1], [1, 0.5]],
        max_iter=1,
        tol=0,
    ).fit(X)
    assert_array_equal(mixture.probabilities_, [[0, 1], [1, 0.5]])
    assert mixture.score_samples([[1, 1]])[0] == -np.inf
    assert np.isfinite(mixture.score_samples([[3, 0]])[0])


def test_large_counts_keep_their_digits():
    rng = np.random.default_rng(0)
    X = rng.poisson([[1e6, 2e5]], (500, 2)).astype(float)
    mixture = PoissonMixture(1).fit(X)
    expected = stats.poisson.logpmf(X, X.mean(axis=0)).sum(axis=1)
    assert_allclose(mixture.score_samples(X), expected, rtol=1e-9)
    single = PoissonMixture(1).fit(X.astype(np.float32))
    assert_allclose(single.score_samples(X.astype(np.float32)), expected, rtol=2e-3)


# Sparse rows


@pytest.mark.parametrize("kind", [PoissonMixture, BernoulliMixture])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_sparse_rows_are_rows(kind, dtype):
    rng = np.random.default_rng(0)
    z = rng.integers(0, 3, 400)
    X = rng.poisson(rng.gamma(0.2, 2.0, (3, 60))[z])
    X = (X > 0 if kind is BernoulliMixture else X).astype(dtype)
    start = {"rates_init": rng.gamma(1, 1, (3, 60)) + 0.1} if kind is PoissonMixture else {
        "probabilities_init": rng.uniform(0.1, 0.9, (3, 60))}  # fmt: skip
    arguments = {"weights_init": [0.2, 0.3, 0.5], "tol": 0, "max_iter": 5, **start}
    dense = kind(3, **arguments).fit(X)
    for given in (sp.csr_array(X), sp.csr_matrix(X), sp.csc_array(X), sp.coo_array(X)):
        sparse = kind(3, **arguments).fit(given)
        tolerance = 1e-4 if dtype == "float32" else 1e-9
        assert_allclose(sparse.lower_bounds_, dense.lower_bounds_, rtol=tolerance)
        (name,) = start
        shown = name.replace("_init", "_")
        assert_allclose(getattr(sparse, shown), getattr(dense, shown), rtol=tolerance, atol=1e-7)
        assert_allclose(
            sparse.predict_proba(given), dense.predict_proba(X), rtol=0, atol=100 * tolerance
        )
    assert_array_equal(kind(3, random_state=0).fit(given).predict(given).shape, (400,))


def test_sparse_rows_of_any_form():
    """Entries out of order, twice, or zero."""
    X = np.array([[0, 3.0, 1.0], [2.0, 0, 0], [0, 0, 0]])
    messy = sp.csr_array(([1.0, 1.0, 2.0, 2.0, 0.0], [2, 1, 1, 0, 1], [0, 3, 5, 5]), shape=(3, 3))
    before = messy.data.copy()
    expected = PoissonMixture(1).fit(X)
    mixture = PoissonMixture(1).fit(messy)
    assert_array_equal(messy.data, before)
    assert_allclose(mixture.rates_, expected.rates_)
    assert_allclose(mixture.score_samples(messy), expected.score_samples(X))


def test_sparse_rows_need_no_dense_copy():
    rng = np.random.default_rng(0)
    n, D = 3000, 200_000
    columns = rng.integers(0, D, (n, 20))
    X = sp.csr_array((np.ones(20 * n), columns.ravel(), np.arange(0, 20 * n + 1, 20)), (n, D))
    mixture = PoissonMixture(2, random_state=0, max_iter=3, tol=0).fit(X)
    assert np.isfinite(mixture.lower_bound_)
    assert_allclose(mixture.rates_.T @ mixture.weights_, X.sum(axis=0) / n, atol=1e-12)


# Missing entries


@pytest.mark.parametrize("kind", ["bernoulli", "binomial", "poisson", "categorical"])
def test_missing_entries(kind):
    rng = np.random.default_rng(0)
    mixture = {
        "bernoulli": BernoulliMixture(2, random_state=0),
        "binomial": BinomialMixture(2, n_trials=1, random_state=0),
        "poisson": PoissonMixture(2, random_state=0),
        "categorical": CategoricalMixture(2, random_state=0),
    }[kind]
    X = (rng.uniform(size=(300, 4)) < np.array([[0.9], [0.2]])[rng.integers(0, 2, 300)]).astype(
        float
    )
    X[rng.uniform(size=X.shape) < 0.3] = np.nan
    X[7] = np.nan
    mixture.fit(X)
    # A row of which nothing is known.
    assert_allclose(mixture.predict_proba(X)[7], mixture.weights_, rtol=1e-12)
    assert mixture.score_samples(X)[7] == pytest.approx(0, abs=1e-12)
    for given in (
        pd.DataFrame(X).astype("Float64"),
        np.ma.masked_invalid(X),
        [[None if np.isnan(v) else v for v in row] for row in X],
    ):
        again = clone(mixture).fit(given)
        assert_allclose(again.lower_bounds_, mixture.lower_bounds_, rtol=1e-12)
        assert_allclose(again.predict_proba(given), mixture.predict_proba(X), rtol=1e-12)
    X[:, 2] = np.nan
    with pytest.raises(ValueError, match="every entry of column 2"):
        clone(mixture).fit(X)
    # But such a column can be asked about.
    assert np.isfinite(mixture.score_samples(X)).all()


def test_a_feature_that_no_row_of_a_component_shows_keeps_its_value():
    X = np.array([[0, 0, np.nan], [0, 0, np.nan], [1, 1, 1], [1, 1, 0.0]])
    mixture = BernoulliMixture(
        2,
        weights_init=[0.5, 0.5],
        probabilities_init=[[0.1, 0.1, 0.3], [0.9, 0.9, 0.6]],
        max_iter=3,
        tol=0,
    ).fit(X, labels=[0, 0, 1, 1])
    assert_allclose(mixture.probabilities_, [[0, 0, 0.3], [1, 1, 0.5]])


# Copies and files


def mixtures():
    rng = np.random.default_rng(0)
    counts = rng.poisson([[1, 6]] * 100 + [[8, 2]] * 100).astype(float)
    words = np.where(counts > 3, "many", "few")
    yield PoissonMixture(2, random_state=0), counts
    yield BinomialMixture(2, n_trials=[30, 40], random_state=0), counts
    yield CategoricalMixture(2, random_state=0), words
    yield CategoricalMixture(2, random_state=0), pd.DataFrame({"a": words[:, 0], "b": counts[:, 1]})
    yield CategoricalMixture(2, categories=[["few", "many"]] * 2, random_state=0), words


@pytest.mark.parametrize(("mixture", "X"), list(mixtures()))
def test_copies_and_files_give_the_same_answers(mixture, X, tmp_path):
    mixture.fit(X, labels=["low"] + [None] * 199)
    save(mixture, tmp_path / "model.npz")
    for copy in (pickle.loads(pickle.dumps(mixture)), load(tmp_path / "model.npz")):
        assert_array_equal(copy.predict_proba(X), mixture.predict_proba(X))
        assert_array_equal(copy.score_samples(X), mixture.score_samples(X))
        assert copy.bic(X) == mixture.bic(X)
        assert copy.classes_.tolist() == ["low"]
        copy.set_params(warm_start=True).fit(X)
    assert clone(mixture).fit(X).lower_bound_ <= mixture.lower_bound_ + 1


@pytest.mark.parametrize("by", ["row", "count"])
@pytest.mark.parametrize("kind", ["component", "allowed"])
def test_labels_of_rows_with_trials_of_their_own(by, kind):
    """One iteration with weights, a known component and a prior, by hand."""
    rng = np.random.default_rng(0)
    n_trials = rng.integers(1, 30, (120, 2) if by == "count" else (120, 1))
    n = np.broadcast_to(n_trials, (120, 2))
    X, weights = rng.binomial(n, rng.uniform(size=(120, 1))), rng.uniform(0.2, 2, 120)
    if kind == "component":
        labels = np.where(rng.uniform(size=120) < 0.4, rng.integers(0, 2, 120), -1)
        allowed = oracle.allowed_by(labels, 2)
    else:
        labels = allowed = rng.uniform(size=(120, 2)) < 0.7
        allowed[~allowed.any(axis=1)] = True
    p, given = np.array([[0.2, 0.3], [0.6, 0.5]]), {"n_trials": n_trials.squeeze()}
    mixture = BinomialMixture(
        2, probabilities_init=p, weights_init=[0.4, 0.6], max_iter=1, tol=0,
        fixed={"probabilities": [True, False]}, prior={"probabilities_prior": (2.0, 3.0)},
    ).fit(X, labels=labels, sample_weight=weights, **given)  # fmt: skip

    log_densities = oracle.binomial_log_densities(X, n, p)
    r = weights[:, None] * oracle.respond(log_densities, [0.4, 0.6], allowed)[0]
    moved = (r[:, 1] @ X + 1) / (r[:, 1] @ n + 3)
    assert_allclose(mixture.probabilities_, [p[0], moved], rtol=1e-10)
    assert_allclose(mixture.weights_, r.sum(axis=0) / weights.sum(), rtol=1e-10)
    r, log_likelihoods = oracle.respond(
        oracle.binomial_log_densities(X, n, mixture.probabilities_), mixture.weights_, allowed
    )
    assert_allclose(mixture.predict_proba(X, labels=labels, **given), r, atol=1e-10)
    assert_allclose(mixture.score_samples(X, labels=labels, **given), log_likelihoods, rtol=1e-10)
