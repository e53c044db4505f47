"""Mixtures of columns of several kinds in a sparse matrix."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from emfast import CategoricalMixture, GaussianMixture, Mixture
from emfast.emissions import Bernoulli, Binomial, Categorical, Exponential, Gaussian, Poisson
from emfast.storage.persistence import load, save

EMISSIONS = [
    ("words", Poisson(), slice(2, 42)),
    ("size", Gaussian("full"), [1, 0]),
    ("tags", Bernoulli(), slice(42, 72)),
    ("kind", Categorical(), [72]),
    ("wins", Binomial(4), [73]),
    ("wait", Exponential(), [74]),
]
STORAGE = ("sparse", "dense", "sparse", "dense", "dense", "dense")


@pytest.fixture
def rows():
    """Rows of two components, and which."""
    rng = np.random.default_rng(0)
    n = 400
    z = rng.integers(0, 2, n)
    blocks = [
        rng.normal(size=(n, 2)) + 4.0 * z[:, None],
        rng.poisson(rng.gamma(0.3, 2.0, (2, 40))[z]),
        rng.uniform(size=(n, 30)) < np.array([0.05, 0.3])[z][:, None],
        rng.integers(0, 3, (n, 1)),
        rng.binomial(4, np.array([[0.1], [0.6]])[z]),
        rng.exponential(np.array([[1.0], [9.0]])[z]),
    ]
    return np.hstack(blocks), z


@pytest.mark.parametrize("storage", [sp.csr_array, sp.csr_matrix, sp.csc_array, sp.coo_array])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sparse_rows_are_rows(rows, storage, dtype):
    X, z = rows
    X = X.astype(dtype)
    given = storage(X)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(X))
    labels = np.where(np.arange(len(X)) % 3, -1, z)
    arguments = {"random_state": 0, "tol": 0, "max_iter": 4}
    dense, sparse = (
        Mixture(2, EMISSIONS, **arguments).fit(each, labels=labels, sample_weight=weights)
        for each in (X, given)
    )
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    assert sparse._rows(given).storage == STORAGE
    assert_allclose(sparse.lower_bounds_, dense.lower_bounds_, rtol=tolerance)
    assert_allclose(sparse.predict_proba(given), dense.predict_proba(X), atol=10 * tolerance)
    assert_allclose(sparse.predict_proba(X), dense.predict_proba(given), atol=10 * tolerance)
    assert_allclose(sparse.score_samples(given), dense.score_samples(X), rtol=10 * tolerance)
    for name, emission, _ in EMISSIONS:
        for group in emission.groups:
            found, expected = (getattr(each.emissions_[name], group) for each in (sparse, dense))
            assert_allclose(found, expected, rtol=100 * tolerance, atol=tolerance)


def test_fits_from_scratch_find_the_components(rows, tmp_path):
    X, z = rows
    given = sp.csr_array(X)
    mixture = Mixture(2, EMISSIONS, random_state=0).fit(given)
    found = mixture.predict(given)
    assert np.mean(found == z) in (0, 1)
    save(mixture, tmp_path / "model")
    assert_array_equal(load(tmp_path / "model").predict_proba(given), mixture.predict_proba(given))
    assert mixture.sample(5)[0].shape == (5, 75)
    alone = [
        Mixture(2, EMISSIONS, random_state=0, n_threads=n, max_iter=3, tol=0).fit(given)
        for n in (1, 3)
    ]
    assert_array_equal(alone[0].lower_bounds_, alone[1].lower_bounds_)
    counts = Mixture(2, [EMISSIONS[0]], random_state=0).fit(given)
    assert counts._rows(given).storage == ("sparse",)


def test_missing_entries_of_dense_blocks(rows):
    """NaN that is stored is missing, and the only thing that is imputed."""
    X, _ = rows
    X[::7, 0] = X[::5, 72] = X[3, 73] = X[4, 74] = np.nan
    given = sp.csr_array(X)
    mixture = Mixture(2, EMISSIONS, random_state=0).fit(given)
    dense = Mixture(2, EMISSIONS, random_state=0).fit(X)
    assert_allclose(mixture.lower_bounds_, dense.lower_bounds_, rtol=1e-9)
    before = given.copy()
    imputed = mixture.impute(given)
    assert isinstance(imputed, sp.csr_array)
    assert_array_equal(given.data, before.data)
    assert not np.isnan(imputed.data).any()
    assert_allclose(imputed.toarray(), mixture.impute(X), rtol=1e-9)
    known = ~np.isnan(X)
    assert_array_equal(imputed.toarray()[known], X[known])


def test_mixtures_of_some_columns(rows):
    X, _ = rows
    given = sp.csr_array(X)
    mixture = Mixture(2, EMISSIONS, random_state=0).fit(given)
    conditional = mixture.conditional({0: X[0, 0], 5: X[0, 5], 72: X[0, 72]})
    rest = np.setdiff1d(range(75), [0, 5, 72])
    row = np.full((1, 75), np.nan)
    row[0, [0, 5, 72]] = X[0, [0, 5, 72]]
    assert_allclose(
        conditional.score_samples(given[:1][:, rest]) + mixture.score_samples(row),
        mixture.score_samples(given[:1]),
        rtol=1e-12,
    )
    marginal = mixture.marginal(slice(2, 42))
    assert_allclose(marginal.score(given[:, 2:42]), marginal.score(X[:, 2:42]))


def test_sparse_blocks_stay_sparse():
    rng = np.random.default_rng(0)
    n, D = 3000, 200_000
    columns = rng.integers(0, D, (n, 20))
    words = sp.csr_array((np.ones(20 * n), columns.ravel(), np.arange(0, 20 * n + 1, 20)), (n, D))
    numbers = rng.normal(size=(n, 2))
    numbers[::9, 0] = np.nan
    X = sp.hstack([sp.csr_array(numbers), words]).tocsr()
    mixture = Mixture(
        1,
        [("numbers", Gaussian("full"), [0, 1]), ("words", Poisson(), slice(2, None))],
        random_state=0,
        max_iter=2,
        tol=0,
    )
    tracemalloc.start()
    mixture.fit(X)
    imputed = mixture.impute(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Dense rows would take 4.8 GB.
    assert peak < 5e8
    assert_array_equal(imputed[:, 2:].data, X[:, 2:].data)
    assert_allclose(mixture.emissions_["words"].rates[0], words.sum(axis=0) / n, atol=1e-12)


BAD = {
    "missing count": ((3, 5, np.nan), "nan in row 3, column 5; expected finite"),
    "missing tag": ((3, 50, np.nan), "nan in row 3, column 50; expected finite"),
    "infinite count": ((3, 5, np.inf), "inf in row 3, column 5; expected finite"),
    "infinite number": ((3, 1, np.inf), "inf in row 3, column 1; expected no infinity"),
    "negative count": ((3, 5, -1), "-1 in row 3, column 5; expected counts"),
    "half a count": ((3, 5, 0.5), "0.5 in row 3, column 5; expected counts"),
    "not binary": ((3, 50, 2), "2 in row 3, column 50; expected only 0 and 1"),
    "negative level": ((3, 72, -1), "-1.0 in column 72, row 3; expected integers from 0"),
    "above the trials": ((3, 73, 5), "5 in row 3, column 73; expected at most n_trials"),
    "negative time": ((3, 74, -1), "-1.0 in row 3, column 74; expected waiting times"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_entries(rows, name):
    (row, column, value), said = BAD[name]
    X, _ = rows
    fitted = Mixture(2, EMISSIONS, random_state=0).fit(X)
    X[row, column] = value
    for call in (Mixture(2, EMISSIONS).fit, fitted.predict, fitted.impute):
        with pytest.raises(ValueError, match=f"X: found {said}"):
            call(sp.csr_array(X))


def test_bad_arguments(rows):
    X = sp.csr_array(rows[0])
    with pytest.raises(ValueError, match="columns of 'a'"):
        Mixture(2, [("a", Poisson(), ["height"])]).fit(X)
    with pytest.raises(ValueError, match="X"):
        Mixture(2, EMISSIONS, random_state=0).fit(X).predict(X[:, :70])
    for estimator in (GaussianMixture(2), CategoricalMixture(2)):
        with pytest.raises(TypeError, match=r"[Ss]parse.*X|X.*sparse"):
            estimator.fit(X)
