"""Wrong arguments and data: every error names the argument, what was found and what is expected.

Nothing is modified by a call that fails, neither the estimator nor what was given.
"""

import copy
import pickle
import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from emfast import BernoulliMixture, ExponentialMixture, GaussianMixture, PoissonMixture
from emfast.exceptions import SingularComponentError

TYPES = ("full", "tied", "diag", "spherical")
EYES = {"full": [np.eye(2)] * 2, "tied": np.eye(2), "diag": np.ones((2, 2)), "spherical": [1, 1]}


def rows(n=20):
    rng = np.random.RandomState(0)
    return rng.standard_normal((n, 2)) + 4.0 * (np.arange(n) % 2)[:, None]


X = rows()
BITS = (X > 2).astype(np.uint8)
COUNTS = np.floor(np.abs(X))
ESTIMATORS = {
    GaussianMixture: X,
    BernoulliMixture: BITS,
    PoissonMixture: COUNTS,
    ExponentialMixture: np.abs(X),
}
# Those that take sparse rows.
SPARSE = (BernoulliMixture, PoissonMixture)
both = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda cls: cls.__name__)


def replaced(value, dtype=None, row=3, column=1):
    """X with one entry replaced."""
    changed = X.astype(dtype or X.dtype)
    changed[row, column] = value
    return changed


def refuses(call, *said, error=(ValueError, TypeError, FileNotFoundError)):
    """`call` raises one clear error that says all of `said`."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    for pattern in said:
        assert re.search(pattern, message), f"{pattern!r} is not in {message!r}"
    # Arithmetic errors are not how wrong input is told.
    assert not isinstance(caught.value, ArithmeticError | AttributeError)
    return message


def fitted_state(mixture):
    state = {name: value for name, value in vars(mixture).items()
             if name not in mixture.get_params()}  # fmt: skip
    return pickle.dumps(state)


def refuses_fit(mixture, given, *said, labels=None, sample_weight=None):
    """`fit` and `fit_predict` refuse, unfitted or fitted, and leave all as it was."""
    before = copy.deepcopy((given, labels, sample_weight))
    for call in (mixture.fit, mixture.fit_predict):
        refuses(lambda: call(given, labels=labels, sample_weight=sample_weight), *said)  # noqa: B023
        assert vars(mixture).keys() == mixture.get_params().keys()
    parameters = mixture.get_params()
    fitted = type(mixture)(2, random_state=0).fit(ESTIMATORS[type(mixture)])
    fitted.set_params(**parameters)
    state = fitted_state(fitted)
    refuses(lambda: fitted.fit(given, labels=labels, sample_weight=sample_weight), *said)
    assert fitted_state(fitted) == state
    for now, then in zip((given, labels, sample_weight), before, strict=True):
        assert type(now) is type(then)
        if isinstance(now, np.ndarray):
            assert_array_equal(now, then)
        elif not hasattr(now, "shape"):
            assert repr(now) == repr(then)


# X


BAD_X = {
    "no rows": (np.empty((0, 2)), r"0 sample|\(0, 2\)"),
    "no columns": (np.empty((5, 0)), r"0 feature|\(5, 0\)"),
    "one dimension": (np.ones(5), r"1D|\(5,\)"),
    "no dimension": (3.0, r"scalar|\(\)"),
    "three dimensions": (np.ones((2, 2, 2)), r"\b3\b"),
    "list of numbers": ([1.0, 2.0, 3.0], r"1D|\(3,\)"),
    "ragged list": ([[1.0, 2.0], [3.0]], r"inhomogeneous|length"),
    "None": (None, "None|scalar"),
    "string": ("abc", "abc"),
    "strings": (np.array([["a", "b"]] * 5), "'?a'?"),
    "objects": (np.array([[1, "x"]] * 5, object), "'?x'?"),
    "dicts": (np.array([[{}, {}]] * 5, object), "dict"),
    "dict": ({"a": [1, 2, 3]}, "dict"),
    "complex": (X + 1j, "[Cc]omplex"),
    "dates": (np.full((5, 2), "2020-01-01", "M8[D]"), "datetime"),
    "durations": (np.full((5, 2), 3, "m8[D]"), "timedelta"),
    "column of strings": (pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]}), "'?x'?|'?b'?"),
    "column of dates": (
        pd.DataFrame({"a": [1.0, 2], "b": pd.to_datetime(["2020", "2021"])}),
        r"(?i)date",
    ),
    "sparse": (sp.csr_array(BITS), "[Ss]parse"),
    "sparse matrix": (sp.csc_matrix(BITS), "[Ss]parse"),
    "infinity": (replaced(np.inf), "inf"),
    "negative infinity": (replaced(-np.inf), "inf"),
    "infinity in float32": (replaced(np.inf, np.float32), "inf"),
    "too large for float64": (replaced(np.longdouble("1e4000"), np.longdouble), "inf"),
}  # fmt: skip


over_bad_rows = pytest.mark.parametrize(
    ("estimator", "name"),
    [
        pytest.param(estimator, name, id=f"{name}-{estimator.__name__}")
        for estimator in ESTIMATORS
        for name in BAD_X
        if estimator not in SPARSE or not name.startswith("sparse")
    ],
)


@over_bad_rows
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_bad_rows(estimator, name):
    given, found = BAD_X[name]
    refuses_fit(estimator(2), given, r"\bX\b", found)


@pytest.mark.parametrize("unit", ["datetime64[D]", "datetime64[us]", "timedelta64[s]"])
def test_times_are_no_numbers(unit):
    pa, pl = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
    table = pa.table({"a": np.arange(9.0), "b": np.arange(9).astype(unit)})
    for made in (table, pl.from_arrow(table), np.arange(18).reshape(9, 2).astype(unit)):
        for given in (made, lambda made=made: [made]):
            with pytest.raises(TypeError, match=r"X: found values of type .*; expected numbers"):
                GaussianMixture(1).fit(given)


@over_bad_rows
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
def test_bad_rows_after_the_fit(estimator, name):
    given, found = BAD_X[name]
    mixture = estimator(2, random_state=0).fit(ESTIMATORS[estimator])
    state = fitted_state(mixture)
    for call in (mixture.predict, mixture.predict_proba, mixture.score_samples, mixture.score,
                 mixture.bic, mixture.aic, mixture.icl, mixture.impute):  # fmt: skip
        refuses(lambda: call(given), r"\bX\b", found)  # noqa: B023
    assert fitted_state(mixture) == state


@both
@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score", "bic",
                                    "aic", "icl", "impute"])  # fmt: skip
def test_before_the_fit(estimator, method):
    with pytest.raises(NotFittedError, match="not fitted"):
        getattr(estimator(2), method)(ESTIMATORS[estimator])
    for call in (
        lambda mixture: mixture.sample(),
        lambda mixture: mixture.marginal(0),
        lambda mixture: mixture.conditional({0: 1}),
    ):
        with pytest.raises(NotFittedError, match="not fitted"):
            call(estimator(2))


@both
@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score", "bic",
                                    "aic", "icl", "impute"])  # fmt: skip
@pytest.mark.parametrize("D", [1, 3])
def test_another_number_of_columns(estimator, method, D):
    given = ESTIMATORS[estimator]
    mixture = estimator(2, random_state=0).fit(given)
    wrong = np.hstack([given, given])[:, :D]
    refuses(lambda: getattr(mixture, method)(wrong), r"\bX\b", str(D), "2 features")


@pytest.mark.parametrize("D", [1, 3])
def test_another_number_of_columns_than_attributes_set_by_hand(D):
    mixture = GaussianMixture(2, covariance_type="diag")
    mixture.weights_, mixture.means_ = np.full(2, 0.5), np.zeros((2, 2))
    mixture.covariances_ = mixture.precisions_cholesky_ = np.ones((2, 2))
    refuses(lambda: mixture.predict(np.zeros((3, D))), r"\bX\b", f"{D} features", "2 features")


BAD_GIVEN = {
    "no mapping": ([0], TypeError, "mapping"),
    "nothing": ({}, ValueError, "no columns"),
    "everything": ({0: 1, 1: 1}, ValueError, "every column"),
    "twice": ({0: 1, -2: 1}, ValueError, "column 0 twice"),
    "no such column": ({2: 1}, ValueError, "position 2"),
    "a name": ({"age": 1}, ValueError, "'age'.*without names"),
    "a mask": ({True: 1}, TypeError, "names or positions"),
    "None": ({0: None}, ValueError, "None for 0"),
    "NaN": ({0: np.nan}, ValueError, "nan for 0"),
    "infinity": ({0: np.inf}, ValueError, "inf for 0"),
    "two values": ({0: [1, 2]}, TypeError, r"\[1, 2\] for 0"),
    "a string": ({0: "x"}, ValueError, "x"),
    "a date": ({0: np.datetime64("2020-01-01")}, TypeError, "2020.*expected one number or level"),
    "a dict": ({0: {}}, TypeError, "expected one number or level"),
}


@both
@pytest.mark.parametrize("name", BAD_GIVEN)
def test_values_that_cannot_be_given(estimator, name):
    given, error, said = BAD_GIVEN[name]
    mixture = estimator(2, random_state=0).fit(ESTIMATORS[estimator])
    state = fitted_state(mixture)
    refuses(lambda: mixture.conditional(given), "^given: ", said, error=error)
    assert fitted_state(mixture) == state


@both
@pytest.mark.parametrize("value", [-1, 0.5, 2])
def test_values_that_no_row_has(estimator, value):
    mixture = estimator(2, random_state=0).fit(ESTIMATORS[estimator])
    wrong = {
        GaussianMixture: (),
        BernoulliMixture: (-1, 0.5, 2),
        PoissonMixture: (-1, 0.5),
        ExponentialMixture: (-1,),
    }[estimator]
    if value in wrong:
        refuses(lambda: mixture.conditional({1: value}), "^given: ", f"{value}.*column 1; expected")
    else:
        assert mixture.conditional({1: value}).n_features_in_ == 1


@both
@pytest.mark.parametrize(("K", "n"), [(2, 1), (5, 4), (1000, 20)])
def test_fewer_rows_than_components(estimator, K, n):
    given = ESTIMATORS[estimator][:n]
    refuses_fit(estimator(K), given, r"\bX\b", rf"\b{K}\b", rf"\b{n}\b")


@both
def test_fewer_rows_that_count_than_components(estimator):
    weights = np.zeros(20)
    weights[[3, 8]] = 1
    refuses_fit(
        estimator(3), ESTIMATORS[estimator], r"\bX\b", r"\b3\b", r"\b2\b", sample_weight=weights
    )


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("offset", [0.0, 7.5, 1e8])
def test_constant_columns_without_a_floor(covariance_type, offset):
    given = np.column_stack([X, np.full(20, offset)])
    mixture = GaussianMixture(2, covariance_type=covariance_type, reg_covar=0)
    refuses_fit(mixture, given, r"\bX\b", "column 2", "constant", "reg_covar")


def test_a_column_that_is_constant_where_rows_count():
    given = X.copy()
    given[::2, 0] = 3.0
    weights = np.tile([1.0, 0.0], 10)
    refuses_fit(
        GaussianMixture(2, reg_covar=0), given, r"\bX\b", "column 0", "constant",
        sample_weight=weights,
    )  # fmt: skip


def test_a_constant_column_and_known_covariances():
    # No variance is estimated then.
    given = np.column_stack([X[:, 0], np.ones(20)])
    mixture = GaussianMixture(
        2, reg_covar=0, covariances_init=EYES["full"], fixed=("covariances",), random_state=0
    ).fit(given)
    assert np.isfinite(mixture.lower_bound_)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize(("dtype", "scale"), [("f8", 1e300), ("f8", 1e160), ("f4", 1e35)])
@pytest.mark.parametrize("reg_covar", [0, 1e-6])
def test_numbers_whose_squares_overflow(covariance_type, dtype, scale, reg_covar):
    # An answer in numbers, or one clear error; advice about reg_covar would be wrong here.
    given = (X * scale).astype(dtype)
    mixture = GaussianMixture(
        2, covariance_type=covariance_type, reg_covar=reg_covar, random_state=0
    )
    try:
        mixture.fit(given)
    except ValueError as error:
        assert not isinstance(error, SingularComponentError)
        assert re.search(r"\bX\b", str(error))
        assert not hasattr(mixture, "means_")
    else:
        for name in ("weights_", "means_", "covariances_", "precisions_", "lower_bound_"):
            assert np.isfinite(getattr(mixture, name)).all()
        assert np.isfinite(mixture.score_samples(given)).all()


def test_numbers_that_overflow_do_not_become_nan_in_predictions():
    mixture = GaussianMixture(2, random_state=0).fit(X)
    for value in (1e154, 1e200, 1.7e308):
        far = np.array([[value, -value], [value, value]])
        assert not np.isnan(mixture.score_samples(far)).any()
        assert not np.isnan(mixture.predict_proba(far)).any()
        assert set(mixture.predict(far)) <= {0, 1}


@pytest.mark.parametrize("dtype", ["i8", "u1", "f4", "f8", object])
@pytest.mark.parametrize("value", [2, 3])
def test_rows_that_are_not_binary(dtype, value):
    given = BITS.astype(dtype)
    given[4, 1] = value
    refuses_fit(
        BernoulliMixture(2), given, r"\bX\b", rf"\b{value}\b", "row 4", "column 1", "0 and 1"
    )
    mixture = BernoulliMixture(2, random_state=0).fit(BITS)
    for call in (mixture.predict, mixture.score_samples, mixture.predict_proba, mixture.bic):
        refuses(lambda: call(given), r"\bX\b", "row 4", "0 and 1")  # noqa: B023


@pytest.mark.parametrize("value", [0.5, -1.0, 1e-9, 1 + 1e-9])
def test_numbers_near_0_and_1_are_not_binary(value):
    given = BITS.astype(float)
    given[-1, 0] = value
    refuses_fit(BernoulliMixture(2), given, r"\bX\b", re.escape(repr(value)), "row 19", "0 and 1")


def test_negative_zero_is_zero():
    given = np.where(BITS, 1.0, -0.0)
    plain = BernoulliMixture(2, random_state=0).fit(BITS.astype(float))
    assert_array_equal(
        BernoulliMixture(2, random_state=0).fit(given).probabilities_, plain.probabilities_
    )


# sample_weight


BAD_WEIGHTS = {
    "too few": (np.ones(19), r"\(19,\)", r"20"),
    "too many": (np.ones(21), r"\(21,\)", r"20"),
    "none": ([], r"\(0,\)", r"20"),
    "a column": (np.ones((20, 1)), r"\(20, 1\)", r"20"),
    "one number": (2.0, r"\(\)", r"20"),
    "negative": (np.where(np.arange(20) == 4, -0.5, 1), r"-0\.5", "row 4"),
    "all zero": (np.zeros(20), "zero", "positive"),
    "NaN": (np.where(np.arange(20) == 4, np.nan, 1), "nan", "finite"),
    "infinity": (np.where(np.arange(20) == 4, np.inf, 1), "inf", "finite"),
    "None among them": ([None, *[1.0] * 19], r"nan|None", "finite|number"),
    "names": (["a"] * 20, "a", "number"),
    "digits": (["1"] * 20, "1|str", "number"),
    "complex": (np.full(20, 1 + 1j), "complex|1j", "number|real"),
    "list of complex": ([1 + 1j] * 20, "complex|1j", "number|real"),
    "dates": (np.full(20, "2020-01-01", "M8[D]"), "date|2020", "number"),
    "dicts": ([{}] * 20, "dict", "number"),
    "sparse": (sp.csr_array(np.ones((20, 1))), "", "number|sparse|dense"),
    "a sum that overflows": (np.full(20, 1e308), r"inf|sum|large|1e\+308", ""),
}


@both
@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_bad_weights(estimator, name):
    weights, found, expected = BAD_WEIGHTS[name]
    refuses_fit(
        estimator(2), ESTIMATORS[estimator], r"\bsample_weight\b", found, expected,
        sample_weight=weights,
    )  # fmt: skip


@both
@pytest.mark.parametrize("name", ["too few", "negative", "all zero", "NaN", "names"])
def test_bad_weights_after_the_fit(estimator, name):
    weights, found, expected = BAD_WEIGHTS[name]
    given = ESTIMATORS[estimator]
    mixture = estimator(2, random_state=0).fit(given)
    for call in (mixture.score, mixture.bic, mixture.aic, mixture.icl):
        refuses(
            lambda: call(given, sample_weight=weights),  # noqa: B023
            r"\bsample_weight\b", found, expected,
        )  # fmt: skip


# Parameters


BAD_PARAMETERS = {
    "n_threads": [0, -1, 1.5, "2"],
    "n_components": [0, -1, 1.5, "2", None, [2]],
    "tol": [-1e-3, np.nan, np.inf, "small", None],
    "max_iter": [-1, 1.5, "10", None],
    "n_init": [0, 2.5, None],
    "init_params": ["k-medoids", None, 3],
    "restarts": ["races", "some", None],
    "random_state": ["seed", 1.5, -1],
    "warm_start": ["yes", 2],
    "verbose": [-1, "loud"],
    "verbose_interval": [0, 1.5],
    "fixed": ["weights", 3, True],
    "weights_init": [3, "abc"],
}


@both
@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in BAD_PARAMETERS.items() for value in values],
)
def test_bad_parameters(estimator, name, value):
    refuses_fit(
        estimator(**{"n_components": 2, name: value}), ESTIMATORS[estimator],
        rf"\b{name}\b", re.escape(repr(value).strip("'[]")),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("covariance_type", "round"),
        ("covariance_type", None),
        ("reg_covar", -1e-9),
        ("reg_covar", np.nan),
        ("reg_covar", np.inf),
        ("reg_covar", "small"),
        ("means_init", 3),
        ("covariances_init", "abc"),
        ("precisions_init", 1.0),
    ],
)
def test_bad_parameters_of_gaussians(name, value):
    refuses_fit(
        GaussianMixture(**{"n_components": 2, name: value}), X,
        rf"\b{name}\b", re.escape(repr(value).strip("'")),
    )  # fmt: skip


@both
def test_a_boolean_number_of_components(estimator):
    # scikit-learn takes True for 1. Either that, or an error that says so.
    given = ESTIMATORS[estimator]
    try:
        mixture = estimator(True).fit(given)
    except (ValueError, TypeError) as error:
        assert "n_components" in str(error)
    else:
        assert_array_equal(mixture.weights_, [1])


@both
@pytest.mark.parametrize(
    ("fixed", "found"),
    [
        (["weight"], "'weight'"),
        (("weights", "rates"), "'rates'"),
        ([1], "1"),
        ([None], "None"),
        ([["weights"]], r"\['weights'\]|list"),
        ({"weights": [True]}, r"\[True\].*'weights'"),
        ({"weights": [1, 0]}, r"\[1, 0\].*'weights'"),
        ({"weights": "all"}, "'all'"),
        ({"rates": True}, "'rates'"),
    ],
)
def test_bad_names_of_fixed_groups(estimator, fixed, found):
    given = ESTIMATORS[estimator]
    mixture = estimator(2, weights_init=[0.5, 0.5], fixed=fixed)
    refuses_fit(mixture, given, r"\bfixed\b", found)


BAD_WEIGHTS_INIT = [
    ([0.5, 0.6], "1.1", "1"),
    ([0.4, 0.4], "0.8", "1"),
    ([0, 0], "0", "1"),
    ([-0.5, 1.5], r"-0\.5", "negative"),
    ([np.nan, 1], "nan", "finite"),
    ([np.inf, 1], "inf", "finite"),
    ([1.0], r"\(1,\)", r"\(2,\)"),
    ([[0.5, 0.5]], r"\(1, 2\)", r"\(2,\)"),
    ([0.2, 0.3, 0.5], r"\(3,\)", r"\(2,\)"),
    (["a", "b"], "a", "number"),
    (np.array([0.5, 0.5]) + 0.1j, "complex|j", "number|real"),
]


@both
@pytest.mark.parametrize(("value", "found", "expected"), BAD_WEIGHTS_INIT)
def test_bad_weights_init(estimator, value, found, expected):
    refuses_fit(
        estimator(2, weights_init=value), ESTIMATORS[estimator],
        r"\bweights_init\b", found, expected,
    )  # fmt: skip


BAD_LOCATIONS = [
    ([[1, 0]], r"\(1, 2\)", r"\(2, 2\)"),
    ([1, 0], r"\(2,\)", r"\(2, 2\)"),
    (np.zeros((2, 3)), r"\(2, 3\)", r"\(2, 2\)"),
    (np.zeros((2, 2, 1)), r"\(2, 2, 1\)", r"\(2, 2\)"),
    ([[0, np.nan], [1, 1]], "nan", "finite"),
    ([[0, np.inf], [1, 1]], "inf", "finite"),
    ([["a", "b"], ["c", "d"]], "a", "number"),
    ([[0], [1, 1]], "", "number|shape"),
    (np.zeros((2, 2)) + 1j, "complex|j", "number|real"),
]


@pytest.mark.parametrize(("value", "found", "expected"), BAD_LOCATIONS)
def test_bad_means_init(value, found, expected):
    refuses_fit(GaussianMixture(2, means_init=value), X, r"\bmeans_init\b", found, expected)


@pytest.mark.parametrize(
    ("value", "found", "expected"),
    [
        *BAD_LOCATIONS,
        ([[0, 1.5], [1, 1]], r"1\.5", "between 0 and 1"),
        ([[0, -0.1], [1, 1]], r"-0\.1", "between 0 and 1"),
    ],
)
def test_bad_probabilities_init(value, found, expected):
    mixture = BernoulliMixture(2, probabilities_init=value)
    refuses_fit(mixture, BITS, r"\bprobabilities_init\b", found, expected)


@pytest.mark.parametrize("name", ["covariances_init", "precisions_init"])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_matrices_of_the_wrong_shape(covariance_type, name):
    for other in TYPES:
        value = np.asarray(EYES[other], dtype=float)
        if value.shape == np.shape(EYES[covariance_type]):
            continue
        refuses_fit(
            GaussianMixture(2, covariance_type=covariance_type, **{name: value}), X,
            rf"\b{name}\b", re.escape(str(value.shape)), covariance_type,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["covariances_init", "precisions_init"])
@pytest.mark.parametrize(
    ("covariance_type", "value", "found", "expected"),
    [
        ("full", [np.eye(2), -np.eye(2)], "-1", "positive"),
        ("full", [np.eye(2), np.ones((2, 2))], "0|e-1", "positive"),
        ("full", [np.eye(2), np.zeros((2, 2))], "0", "positive"),
        ("full", [[[1, 2], [2, 1]], np.eye(2)], "-1", "positive"),
        ("full", [np.eye(2), [[1, 0.5], [0, 1]]], "symmetric", "symmetric"),
        ("full", [np.eye(2), [[1, np.nan], [np.nan, 1]]], "nan", "finite"),
        ("tied", [[1, 2], [2, 1]], "-1", "positive"),
        ("tied", [[1, 0.5], [0, 1]], "symmetric", "symmetric"),
        ("diag", [[1, 1], [1, 0]], "0", "positive"),
        ("diag", [[1, 1], [1, -2]], "-2", "positive"),
        ("spherical", [1, 0], "0", "positive"),
        ("spherical", [1, -3], "-3", "positive"),
        ("spherical", [1, np.inf], "inf", "finite"),
    ],
)
def test_matrices_that_are_not_positive_definite(name, covariance_type, value, found, expected):
    mixture = GaussianMixture(2, covariance_type=covariance_type, **{name: value})
    refuses_fit(mixture, X, rf"\b{name}\b", found, expected)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_both_covariances_and_precisions(covariance_type):
    value = EYES[covariance_type]
    mixture = GaussianMixture(
        2, covariance_type=covariance_type, covariances_init=value, precisions_init=value
    )
    refuses_fit(mixture, X, "covariances_init", "precisions_init", "both")


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("scale", [1e-20, 1e150])
def test_known_covariances_of_any_scale(covariance_type, scale):
    value = np.asarray(EYES[covariance_type]) * scale
    mixture = GaussianMixture(
        2, covariance_type=covariance_type, weights_init=[0.5, 0.5], means_init=[X[0], X[1]],
        covariances_init=value, max_iter=0,
    ).fit(X[:2])  # fmt: skip
    np.testing.assert_allclose(mixture.covariances_, value)
    np.testing.assert_allclose(mixture.precisions_, np.asarray(EYES[covariance_type]) / scale)
    # Each row is the mean of one component; the other one is far away or as likely.
    nearby = 0.5 if scale < 1 else 1.0
    expected = np.log(nearby) - np.log(2 * np.pi) - np.log(scale)
    assert mixture.lower_bound_ == pytest.approx(expected)


# Labels: more of them in test_labels.py


@both
@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([0] * 19, r"\(19,\)"),
        ([2] * 20, "2"),
        (["a", "b", "c", *["a"] * 17], "3 classes"),
        (np.zeros((20, 2), bool), "row 0"),
        (np.ones((20, 3), bool), r"\(20, 3\)"),
        (["a", 1, None, *["a"] * 17], "int"),
        ([{}] * 20, "dict"),
    ],
)
def test_bad_labels(estimator, labels, found):
    refuses_fit(estimator(2), ESTIMATORS[estimator], r"\blabels\b", found, labels=labels)


@both
def test_everything_is_validated_before_any_work(estimator, monkeypatch):
    """Wrong labels, weights and starting values are found before the first pass over the rows."""
    import emfast.passes
    import emfast.starts.initialize

    def work(*args, **kwargs):
        raise AssertionError("work was done")

    monkeypatch.setattr(emfast.passes.Expectation, "sums", work)
    monkeypatch.setattr(emfast.starts.initialize, "KMeans", work)
    given = ESTIMATORS[estimator]
    with pytest.raises(AssertionError, match="work was done"):
        estimator(2).fit(given)
    for settings, arguments in (
        ({}, {"labels": [5] * 20}),
        ({}, {"sample_weight": np.zeros(20)}),
        ({"weights_init": [1, 1]}, {}),
        ({"fixed": ("weights",)}, {}),
        ({"n_threads": 0}, {}),
    ):
        with pytest.raises(ValueError):
            estimator(2, **settings).fit(given, **arguments)
