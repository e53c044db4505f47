"""Rows and weights of every kind, and what a fit leaves as it was."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from emfast import GaussianMixture
from gaussians import INITS, PARAMETERS, TYPES, assert_same_bits, assert_same_fit, start_for


def inputs(X, tmp_path):
    wide = np.zeros((2 * len(X), 2 * X.shape[1]))
    wide[::2, ::2] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    np.save(tmp_path / "X.npy", X)
    columns = [f"x{d}" for d in range(X.shape[1])]
    return {
        "fortran": np.asfortranarray(X),
        "strided": wide[::2, ::2],
        "reversed": X[::-1, ::-1].copy()[::-1, ::-1],
        "read-only": read_only,
        "memmap": np.load(tmp_path / "X.npy", mmap_mode="r"),
        "big-endian": X.astype(">f8"),
        "long double": X.astype(np.longdouble),
        "object": X.astype(object),
        "lists": X.tolist(),
        "pandas": pd.DataFrame(X, columns=columns),
        "polars": pl.DataFrame(X, schema=columns),
        "arrow": pa.table(dict(zip(columns, X.T, strict=True))),
    }


@pytest.mark.parametrize("covariance_type", TYPES)
def test_any_kind_of_array_gives_the_same_result(X, covariance_type, tmp_path):
    settings = {"covariance_type": covariance_type, "random_state": 0, "tol": 0, "max_iter": 10}
    expected = GaussianMixture(3, **settings).fit(X)
    scores, labels = expected.score_samples(X), expected.predict(X)
    for kind, given in inputs(X, tmp_path).items():
        before = copy.deepcopy(given)
        mixture = GaussianMixture(3, **settings).fit(given)
        for name in PARAMETERS:
            assert_allclose(
                getattr(mixture, name), getattr(expected, name), rtol=1e-9, atol=1e-12,
                err_msg=kind,
            )  # fmt: skip
        assert_allclose(mixture.score_samples(given), scores, rtol=1e-9, err_msg=kind)
        assert_array_equal(mixture.predict(given), labels, err_msg=kind)
        assert_array_equal(np.asarray(given), np.asarray(before), err_msg=kind)


@pytest.mark.parametrize("make", [
    pd.DataFrame,
    lambda columns: pl.DataFrame(columns),
    lambda columns: pa.table(columns),
], ids=["pandas", "polars", "arrow"])  # fmt: skip
def test_names_of_columns(X, make):
    frame = make({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]})
    mixture = GaussianMixture(2, random_state=0).fit(frame)
    assert_array_equal(mixture.feature_names_in_, ["a", "b", "c"])
    other = make({"a": X[:, 0], "c": X[:, 1], "b": X[:, 2]})
    with pytest.raises(ValueError, match="feature names"):
        mixture.predict(other)


def test_names_of_columns_are_missed_and_forgotten(X):
    mixture = GaussianMixture(2, random_state=0).fit(pd.DataFrame(X, columns=["a", "b", "c"]))
    with pytest.warns(UserWarning, match="feature names"):
        mixture.predict(X)
    mixture.fit(X)
    assert not hasattr(mixture, "feature_names_in_")
    mixture.predict(X)


@pytest.mark.parametrize("dtype", ["i1", "i2", ">i4", "i8", "u1", "u8", "f2", "f4", ">f4", bool])
def test_numbers_of_any_kind(dtype):
    rng = np.random.RandomState(0)
    X = rng.randint(0, 2, (50, 2)) if dtype is bool else rng.poisson([[3, 20]], (50, 2))
    given = X.astype(dtype)
    # To the optimum: in single precision the default tolerance may stop an iteration earlier.
    settings = {"tol": 1e-6, "max_iter": 1000, "random_state": 0}
    mixture = GaussianMixture(2, **settings).fit(given)
    expected = GaussianMixture(2, **settings).fit(X.astype(np.float64))
    single = given.dtype.kind == "f" and given.dtype.itemsize == 4
    tolerance = 1e-3 if single else 1e-12
    assert_allclose(mixture.means_, expected.means_, rtol=tolerance)
    assert mixture.means_.dtype == (np.float32 if single else np.float64)


# Weights


@pytest.mark.parametrize("covariance_type", TYPES)
def test_rows_of_weight_zero_are_deleted_rows(X, covariance_type):
    weights = np.random.RandomState(0).poisson(1.0, len(X)).astype(float)
    assert 0 < np.count_nonzero(weights == 0) < len(X)
    given = X.copy()
    # Wherever they lie.
    given[weights == 0] = 1e4
    for init_params in INITS:
        settings = {
            "covariance_type": covariance_type, "init_params": init_params, "random_state": 0,
            "tol": 0, "max_iter": 10,
        }  # fmt: skip
        with_zeros = GaussianMixture(3, **settings).fit(given, sample_weight=weights)
        kept = weights > 0
        without = GaussianMixture(3, **settings).fit(given[kept], sample_weight=weights[kept])
        assert_same_fit(with_zeros, without, rtol=1e-7, atol=1e-9)
        assert_allclose(with_zeros.lower_bound_, without.lower_bound_, rtol=1e-10)


@pytest.mark.parametrize(("dtype", "far"), [(np.float32, 1e30), (np.float64, 1e200)])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_rows_of_weight_zero_may_hold_a_filler(X, covariance_type, dtype, far):
    # Files mark what is not known by numbers whose squares overflow; weight 0 deletes such rows.
    weights = np.ones(len(X))
    weights[::5] = 0
    given = X.astype(dtype)
    given[::5] = far
    start = start_for(covariance_type)
    settings = {**start, "covariance_type": covariance_type, "tol": 0, "max_iter": 5}
    mixture = GaussianMixture(3, **settings).fit(given, sample_weight=weights)
    without = GaussianMixture(3, **settings).fit(given[weights > 0])
    assert_same_fit(mixture, without, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-300, 1e-40, 0.5, 3, 1e30, 1e150])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_scale_of_the_weights_changes_nothing(X, dtype, scale):
    X = X.astype(dtype)
    weights = np.random.RandomState(0).uniform(0.5, 2, len(X))
    settings = {"random_state": 0, "tol": 0, "max_iter": 10}
    one = GaussianMixture(3, **settings).fit(X, sample_weight=weights)
    scaled = GaussianMixture(3, **settings).fit(X, sample_weight=weights * scale)
    tolerance = 1e-5 if dtype == np.float32 else 1e-9
    assert_same_fit(one, scaled, rtol=tolerance, atol=tolerance)
    assert_allclose(one.lower_bound_, scaled.lower_bound_, rtol=tolerance)


def test_integer_weights_repeat_rows(X):
    counts = np.random.RandomState(0).poisson(1.5, len(X))
    settings = {**start_for("full"), "tol": 0, "max_iter": 10}
    weighted = GaussianMixture(3, **settings).fit(X, sample_weight=counts)
    repeated = GaussianMixture(3, **settings).fit(np.repeat(X, counts, axis=0))
    assert_same_fit(weighted, repeated)
    assert_allclose(
        weighted.bic(X, sample_weight=counts), repeated.bic(np.repeat(X, counts, axis=0))
    )


@pytest.mark.parametrize("make", [list, tuple, pd.Series, pl.Series, pa.array,
                                  lambda w: w.astype(np.float32), lambda w: w.astype(">f8"),
                                  lambda w: np.repeat(w, 2)[::2], lambda w: w.astype(np.int64),
                                  lambda w: pd.array(w.astype(int))])  # fmt: skip
def test_weights_of_any_kind(X, make):
    weights = np.random.RandomState(0).poisson(1.5, len(X)).astype(np.float64)
    expected = GaussianMixture(3, random_state=0).fit(X, sample_weight=weights)
    mixture = GaussianMixture(3, random_state=0).fit(X, sample_weight=make(weights))
    assert_same_bits(mixture, expected)


# What a fit leaves as it was


def test_nothing_given_is_modified(X):
    start = start_for("full")
    given = {
        "X": X.copy(), "weights": np.linspace(0, 2, len(X)), "labels": np.full(len(X), -1),
        **{name: value.copy() for name, value in start.items()},
    }  # fmt: skip
    before = copy.deepcopy(given)
    for array in given.values():
        array.flags.writeable = False
    mixture = GaussianMixture(3, fixed=("means",), **{name: given[name] for name in start})
    mixture.fit(given["X"], labels=given["labels"], sample_weight=given["weights"])
    for call in (mixture.predict, mixture.predict_proba, mixture.score_samples, mixture.icl):
        call(given["X"])
    mixture.bic(given["X"], sample_weight=given["weights"])
    for name, array in given.items():
        assert_array_equal(array, before[name])
    # The attributes are arrays of their own.
    assert not np.shares_memory(mixture.means_, given["means_init"])
    assert not np.shares_memory(mixture.weights_, given["weights_init"])


@pytest.mark.parametrize("spoil", [
    lambda mixture, X: mixture.fit(X[:, 0]),
    lambda mixture, X: mixture.fit(np.where(X > 1, np.inf, X)[:, :2]),
    lambda mixture, X: mixture.fit(X[:, :2], labels=[5] * len(X)),
    lambda mixture, X: mixture.fit(X[:, :2], sample_weight=-np.ones(len(X))),
    lambda mixture, X: mixture.fit_predict(X[:1, :2]),
    lambda mixture, X: mixture.set_params(reg_covar=0).fit(np.repeat(X[:2, :2], 9, axis=0)),
    lambda mixture, X: mixture.set_params(means_init=[[0]]).fit(X[:, :2]),
])  # fmt: skip
def test_a_fit_that_fails_changes_nothing(X, spoil):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    mixture = GaussianMixture(2, random_state=0).fit(frame, labels=["x", *[None] * (len(X) - 1)])
    before = pickle.dumps({k: v for k, v in vars(mixture).items() if k not in mixture.get_params()})
    scores = mixture.score_samples(frame)
    with pytest.raises(ValueError):
        spoil(mixture, X)
    after = pickle.dumps({k: v for k, v in vars(mixture).items() if k not in mixture.get_params()})
    assert after == before
    assert_array_equal(mixture.score_samples(frame), scores)
    assert_array_equal(mixture.feature_names_in_, ["a", "b", "c"])
