"""Labels that are partly missing, in all the forms they come in."""

import datetime
import decimal
import re
from contextlib import nullcontext

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal

from emfast import BernoulliMixture, GaussianMixture
from emfast.inputs.labels import NOTHING_KNOWN, encode_labels
from repeats import assert_repeats
from tables import ordered_dictionary

TYPES = ("full", "tied", "diag", "spherical")
NAN = float("nan")


def rows(n=60, D=2, seed=0):
    """Rows of three clusters that overlap, and the cluster of each."""
    rng = np.random.RandomState(seed)
    component = np.arange(n) % 3
    return rng.standard_normal((n, D)) + 2.0 * component[:, None], component


@pytest.fixture(scope="module")
def data():
    return rows()


def assert_same_fit(one, other):
    for name in ("weights_", "means_", "covariances_"):
        assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-12)


# Forms. Components of three rows of K = 3, and the classes.

INDICES = {
    "list of ints": [1, -1, 0],
    "int64": np.array([1, -1, 0]),
    "int8": np.array([1, -1, 0], np.int8),
    "big-endian": np.array([1, -1, 0], ">i4"),
    "strided": np.array([1, 9, -1, 9, 0, 9])[::2],
    "floats with NaN": [1.0, NAN, 0.0],
    "floats with -1": [1.0, -1.0, 0.0],
    "float32 with NaN": np.array([1, NAN, 0], np.float32),
    "ints with None": [1, None, 0],
    "ints with NaN": np.array([1, NAN, 0], object),
    "objects with pd.NA": np.array([1, pd.NA, 0], object),
    "objects of float32": np.array([np.float32(1), None, np.float32(0)], object),
    "objects of int16": np.array([np.int16(1), None, np.int16(0)], object),
    "tuple": (1, -1, 0),
    "pandas int": pd.Series([1, -1, 0], index=[5, 7, 9]),
    "pandas float": pd.Series([1, None, 0], index=[5, 7, 9]),
    "pandas Int64": pd.Series([1, pd.NA, 0], dtype="Int64"),
    "pandas Int8 array": pd.array([1, pd.NA, 0], dtype="Int8"),
    "pandas Float64": pd.Series([1, pd.NA, 0], dtype="Float64"),
    "pandas arrow": pd.Series([1, None, 0], dtype="int64[pyarrow]"),
    "pandas object": pd.Series([1, None, 0], dtype=object),
    "polars": pl.Series([1, None, 0]),
    "polars float": pl.Series([1.0, NAN, 0.0]),
    "arrow": pa.array([1, None, 0]),
    "arrow chunks": pa.chunked_array([[1], [None, 0]]),
}

NAMES = {
    "list": ["b", None, "a"],
    "list with NaN": ["b", NAN, "a"],
    "list with pd.NA": ["b", pd.NA, "a"],
    "tuple with NaN": ("b", NAN, "a"),
    "objects with NaN": np.array(["b", NAN, "a"], object),
    "objects with None": np.array(["b", None, "a"], object),
    "numpy string dtype": np.array(["b", NAN, "a"], np.dtypes.StringDType(na_object=NAN)),
    "pandas object": pd.Series(["b", None, "a"], dtype=object, index=[5, 7, 9]),
    "pandas str": pd.Series(["b", None, "a"], dtype="str"),
    "pandas string": pd.Series(["b", pd.NA, "a"], dtype="string"),
    "pandas string array": pd.array(["b", pd.NA, "a"], dtype="string"),
    "pandas arrow string": pd.Series(["b", None, "a"], dtype="string[pyarrow]"),
    "pandas index": pd.Index(["b", None, "a"]),
    "masked": np.ma.masked_array(["b", "c", "a"], mask=[False, True, False]),
    "polars": pl.Series(["b", None, "a"]),
    "arrow": pa.array(["b", None, "a"]),
    "arrow large": pa.array(["b", None, "a"], pa.large_string()),
    "arrow dictionary": pa.array(["b", None, "a"]).dictionary_encode(),
    "arrow dictionary chunks": pa.chunked_array(
        [pa.array(part).dictionary_encode() for part in (["b", None], ["a"])]
    ),
    "arrow chunks": pa.chunked_array([["b"], [None, "a"]]),
    "pandas category": pd.Series(["b", None, "a"], dtype="category"),
    "pandas Categorical": pd.Categorical(["b", None, "a"]),
    "pandas CategoricalIndex": pd.CategoricalIndex(["b", None, "a"]),
    "polars Categorical": pl.Series(["b", None, "a"], dtype=pl.Categorical),
    "polars Enum": pl.Series(["b", None, "a"], dtype=pl.Enum(["a", "b"])),
}


@pytest.mark.parametrize("form", INDICES)
def test_component_indices(form):
    encoded = encode_labels(INDICES[form], 3, 3)
    assert_array_equal(encoded.component, [1, -1, 0])
    assert encoded.classes is None
    assert encoded.allowed is None


def test_of_how_many_rows_there_are_labels():
    assert NOTHING_KNOWN.n_rows is None
    assert encode_labels([1, -1, 0], 3, 3).n_rows == 3
    assert encode_labels(np.ones((4, 3), bool), 4, 3).n_rows == 4


@pytest.mark.parametrize("form", NAMES)
def test_names(form):
    encoded = encode_labels(NAMES[form], 3, 3)
    assert_array_equal(encoded.component, [1, -1, 0])
    assert list(encoded.classes) == ["a", "b"]


@pytest.mark.parametrize(
    ("labels", "component", "classes"),
    [
        (["", None, "a", ""], [0, -1, 1, 0], ["", "a"]),
        (["", NAN, "a", ""], [0, -1, 1, 0], ["", "a"]),
        (np.array(["", "a", "b", ""]), [0, 1, 2, 0], ["", "a", "b"]),
        (["nan", None, "None", "a"], [2, -1, 0, 1], ["None", "a", "nan"]),
        (["10", None, "9", "-1"], [1, -1, 2, 0], ["-1", "10", "9"]),
        ([True, False, True, True], [1, 0, 1, 1], [False, True]),
        (np.array([True, False, True, True]), [1, 0, 1, 1], [False, True]),
        ([True, None, False, True], [1, -1, 0, 1], [False, True]),
        (pl.Series([True, None, False, True]), [1, -1, 0, 1], [False, True]),
        (pd.array([True, pd.NA, False, True]), [1, -1, 0, 1], [False, True]),
        ([b"y", None, b"x", b"y"], [1, -1, 0, 1], [b"x", b"y"]),
        ([decimal.Decimal(5), None, decimal.Decimal(2), None], [1, -1, 0, -1], [2, 5]),
        (["ß", "Z", "a", None], [2, 0, 1, -1], ["Z", "a", "ß"]),
    ],
)
def test_names_of_other_kinds(labels, component, classes):
    encoded = encode_labels(labels, 4, 3)
    assert_array_equal(encoded.component, component)
    assert list(encoded.classes) == classes


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["2020-01-02", "NaT", "2020-01-01"], "M8[D]"),
        pd.Series(pd.to_datetime(["2020-01-02", None, "2020-01-01"])),
        [datetime.date(2020, 1, 2), None, datetime.date(2020, 1, 1)],
        pl.Series([datetime.date(2020, 1, 2), None, datetime.date(2020, 1, 1)]),
        pd.Series(pd.PeriodIndex(["2020-01", None, "2019-12"], freq="M")),
        np.array([2, "NaT", 1], "m8[D]"),
    ],
)
def test_times_are_names_too(labels):
    encoded = encode_labels(labels, 3, 2)
    assert_array_equal(encoded.component, [1, -1, 0])
    assert len(encoded.classes) == 2


@pytest.mark.parametrize(
    "labels",
    [
        pd.Categorical(["low", None, "high"], categories=["low", "mid", "high"], ordered=True),
        pd.Series(["low", None, "high"]).astype(pd.CategoricalDtype(["low", "mid", "high"])),
        pl.Series(["low", None, "high"], dtype=pl.Enum(["low", "mid", "high"])),
        ordered_dictionary([0, None, 2], ["low", "mid", "high"]),
        pa.chunked_array([ordered_dictionary([0, None, 2], ["low", "mid", "high"])]),
    ],
    ids=["ordered", "unordered", "polars Enum", "arrow", "arrow chunks"],
)
def test_a_categorical_keeps_its_order(labels):
    encoded = encode_labels(labels, 3, 4)
    assert_array_equal(encoded.component, [0, -1, 2])
    assert list(encoded.classes) == ["low", "mid", "high"]


def test_a_categorical_of_integers_holds_names():
    encoded = encode_labels(pd.Categorical([7, None, 5], categories=[7, 5]), 3, 2)
    assert_array_equal(encoded.component, [0, -1, 1])
    assert list(encoded.classes) == [7, 5]


@pytest.mark.parametrize(
    "labels",
    [
        [None] * 3,
        [NAN] * 3,
        [-1] * 3,
        pd.Series([pd.NA] * 3),
        pd.Series([None] * 3, dtype="string"),
        pl.Series([None] * 3, dtype=pl.Int64),
        pa.nulls(3),
    ],
)
def test_nothing_known(labels):
    encoded = encode_labels(labels, 3, 2)
    assert_array_equal(encoded.component, [-1] * 3)
    assert encoded.classes is None


@pytest.mark.parametrize(
    "make",
    [
        np.array,
        np.asfortranarray,
        lambda mask: mask.tolist(),
        pd.DataFrame,
        lambda mask: pd.DataFrame(mask).astype("boolean"),
        lambda mask: pl.DataFrame(mask),
        lambda mask: np.repeat(mask, 2, axis=1)[:, ::2],
    ],
    ids=["array", "fortran", "lists", "pandas", "pandas boolean", "polars", "strided"],
)
def test_masks(make):
    mask = np.array([[True, False, True], [True, True, True], [False, True, False]])
    encoded = encode_labels(make(mask), 3, 3)
    assert_array_equal(encoded.allowed, mask)
    assert encoded.component is None
    assert encoded.classes is None


@given(st.lists(st.one_of(st.none(), st.sampled_from("abcd")), min_size=1))
@settings(max_examples=50, deadline=None)
def test_names_are_sorted_to_components(labels):
    encoded = encode_labels(labels, len(labels), 4)
    classes = sorted({label for label in labels if label is not None})
    expected = [-1 if label is None else classes.index(label) for label in labels]
    assert_array_equal(encoded.component, expected)
    assert list(encoded.classes if encoded.classes is not None else []) == classes


# Labels that cannot be right


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([0, 1], "(2,)"),
        ([0, 1, 0, 1], "(4,)"),
        ([], "(0,)"),
        (0, "()"),
        ("abc", "'abc'"),
        ({0, 1}, "()"),
        ([0, 2, 1], "2"),
        ([0, -2, 1], "-2"),
        ([0, 0.5, 1], "0.5"),
        ([0, np.inf, 1], "inf"),
        ([0, 2**70, 1], str(2**70)),
        (["a", "b", "c"], "3"),
        (pd.Categorical(["a", None, "b"], categories=["a", "b", "c"]), "3"),
        (np.ones((3, 2), int), "int64"),
        (np.ones((3, 3), bool), "(3, 3)"),
        (np.ones((2, 2), bool), "(2, 2)"),
        (np.ones((3, 1), bool), "(3, 1)"),
        (np.ones((3, 2, 1), bool), "(3, 2, 1)"),
        (np.array([[True, False], [False, False], [True, True]]), "row 1"),
        ([["a"], ["b"], ["a"]], "(3, 1)"),
    ],
)
def test_labels_that_cannot_be_right(labels, found):
    X = rows(3)[0]
    before = repr(labels)
    mixture = GaussianMixture(2)
    with pytest.raises(ValueError, match=r"\blabels\b.*(expected|must be|missing)") as caught:
        mixture.fit(X, labels=labels)
    assert re.search(re.escape(found), str(caught.value))
    assert repr(labels) == before
    assert vars(mixture).keys() == mixture.get_params().keys()


@pytest.mark.parametrize(
    "labels",
    [
        ["a", 1, None],
        [{}, None, None],
        [{1: 2}, {}, None],
        np.array([[1], None, [2, 3]], object),
        [[1], [1, 2], [3]],
        [1j, 0, 1],
        [object(), object(), None],
        [("a", 1), ("b", 2), None],
    ],
    ids=["mixed", "dict", "dicts", "lists", "ragged", "complex", "objects", "tuples"],
)
def test_values_that_are_no_labels(labels):
    with pytest.raises((TypeError, ValueError), match=r"\blabels\b"):
        GaussianMixture(2).fit(rows(3)[0], labels=labels)


def test_a_row_with_no_possible_component_is_named(data):
    X, _ = data
    labels = np.full(60, -1)
    labels[7] = 1
    mixture = GaussianMixture(
        2, weights_init=[1, 0], means_init=X[:2], covariances_init=[np.eye(2)] * 2,
        fixed=("weights",),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"row 7\b"):
        mixture.fit(X, labels=labels)
    assert not hasattr(mixture, "weights_")
    # A row that does not count may have any label.
    weights = np.ones(60)
    weights[7] = 0
    with pytest.warns(UserWarning, match="lost all their rows"):
        mixture.fit(X, labels=labels, sample_weight=weights)


# What labels do


@pytest.mark.parametrize("covariance_type", TYPES)
def test_every_row_labelled_is_the_closed_form(data, covariance_type):
    X, component = data
    mixture = GaussianMixture(3, covariance_type=covariance_type, reg_covar=0, max_iter=1, tol=0)
    mixture.fit(X, labels=component)
    groups = [X[component == k] for k in range(3)]
    scatters = np.array([np.cov(group.T, ddof=0) for group in groups])
    expected = {
        "full": scatters,
        "tied": scatters.mean(axis=0),
        "diag": np.array([np.diag(scatter) for scatter in scatters]),
        "spherical": np.array([np.diag(scatter).mean() for scatter in scatters]),
    }[covariance_type]
    assert_allclose(mixture.weights_, [1 / 3] * 3)
    assert_allclose(mixture.means_, [group.mean(axis=0) for group in groups])
    assert_allclose(mixture.covariances_, expected)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_every_row_labelled_needs_one_step_from_anywhere(data, covariance_type):
    X, component = data
    settings = {"covariance_type": covariance_type, "reg_covar": 0, "tol": 0}
    far = GaussianMixture(3, means_init=X[:3] + 5, max_iter=1, **settings)
    near = GaussianMixture(3, max_iter=5, **settings)
    assert_same_fit(far.fit(X, labels=component), near.fit(X, labels=component))
    # Nothing is left to gain, which the second iteration shows.
    converging = GaussianMixture(3, **{**settings, "tol": 1e-9}).fit(X, labels=component)
    assert converging.converged_
    assert converging.n_iter_ <= 2


def test_every_row_labelled_bernoulli():
    rng = np.random.RandomState(0)
    X, component = rng.randint(0, 2, (60, 4)), np.arange(60) % 2
    mixture = BernoulliMixture(2, max_iter=1, tol=0).fit(X, labels=component)
    expected = [X[component == k].mean(axis=0) for k in range(2)]
    assert_allclose(mixture.probabilities_, expected, rtol=1e-12)
    assert_allclose(mixture.weights_, 0.5)


def test_no_row_labelled_is_the_plain_model(data):
    X, _ = data
    plain = GaussianMixture(3, random_state=0, tol=0, max_iter=10).fit(X)
    for nothing in ([-1] * 60, [None] * 60, np.ones((60, 3), bool)):
        mixture = GaussianMixture(3, random_state=0, tol=0, max_iter=10).fit(X, labels=nothing)
        assert_same_fit(mixture, plain)
        assert_allclose(mixture.lower_bounds_, plain.lower_bounds_, rtol=1e-12)


def test_all_forms_of_the_same_labels_give_the_same_fit(data):
    X, component = data
    known = np.where(np.arange(60) % 4 == 0, component, -1)
    mask = np.where(known[:, None] >= 0, np.arange(3) == known[:, None], True)
    names = [None if k < 0 else "abc"[k] for k in known]
    settings = {"random_state": 0, "tol": 0, "max_iter": 10}
    expected = GaussianMixture(3, **settings).fit(X, labels=known)
    for labels in (mask, names, pd.Series(names, dtype="category"), pl.Series(names)):
        assert_same_fit(GaussianMixture(3, **settings).fit(X, labels=labels), expected)


def test_labels_restrict_the_estep(data):
    X, component = data
    labels = np.where(np.arange(60) % 3 == 0, component, -1)
    means, weights = X[:3] + 0.1, np.array([0.2, 0.3, 0.5])
    mixture = GaussianMixture(
        3, weights_init=weights, means_init=means, covariances_init=[np.eye(2)] * 3,
        fixed=("covariances",), tol=0, max_iter=1,
    ).fit(X, labels=labels)  # fmt: skip
    densities = np.stack(
        [w * multivariate_normal(m).pdf(X) for w, m in zip(weights, means, strict=True)], axis=1
    )
    densities[labels >= 0] *= np.eye(3)[labels[labels >= 0]]
    r = densities / densities.sum(axis=1, keepdims=True)
    assert_allclose(mixture.weights_, r.mean(axis=0))
    assert_allclose(mixture.means_, r.T @ X / r.sum(axis=0)[:, None])
    # The bound of the start is joint for labelled rows.
    mixture.set_params(max_iter=0).fit(X, labels=labels)
    assert_allclose(mixture.lower_bound_, np.log(densities.sum(axis=1)).mean())


def test_masks_restrict_the_estep(data):
    X, _ = data
    mask = np.random.RandomState(0).random_sample((60, 3)) < 0.6
    mask[~mask.any(axis=1)] = True
    mixture = GaussianMixture(3, random_state=0).fit(X, labels=mask)
    predicted = mixture.fit_predict(X, labels=mask)
    assert np.all(mask[np.arange(60), predicted])
    log_densities = np.stack(
        [
            np.log(weight) + multivariate_normal(mean, covariance).logpdf(X)
            for weight, mean, covariance in zip(
                mixture.weights_, mixture.means_, mixture.covariances_, strict=True
            )
        ],
        axis=1,
    )
    joint = np.logaddexp.reduce(np.where(mask, log_densities, -np.inf), axis=1)
    assert_allclose(mixture.lower_bound_, joint.mean(), rtol=1e-9)


def test_a_few_labels_name_the_components(data):
    X, component = data
    X = X + 3.0 * component[:, None]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        labels = np.full(60, -1)
        labels[:3] = order
        for init_params in ("kmeans", "k-means++", "random_from_data"):
            mixture = GaussianMixture(3, init_params=init_params, random_state=0)
            mixture.fit(X, labels=labels)
            assert_array_equal(mixture.predict(X), np.array(order)[component])


def test_classes(data):
    X, component = data
    names = np.array(["car", "truck", "bus"], object)[component]
    names[3:] = None
    mixture = GaussianMixture(3, random_state=0).fit(X, labels=names)
    assert_array_equal(mixture.classes_, ["bus", "car", "truck"])
    predicted = mixture.predict(X)
    assert predicted.dtype.kind == "i"
    assert set(predicted) == {0, 1, 2}
    assert mixture.fit_predict(X, labels=names)[:3].tolist() == [1, 2, 0]
    # Labels that are indices have no names, and a later fit without names has none.
    mixture.fit(X, labels=component)
    assert not hasattr(mixture, "classes_")
    mixture.fit(X, labels=names)
    assert hasattr(mixture, "classes_")
    mixture.fit(X)
    assert not hasattr(mixture, "classes_")


def test_components_without_a_name(data):
    X, component = data
    X = X + 3.0 * component[:, None]
    labels = [None] * 60
    labels[2], labels[1] = "far", "middle"
    for init_params in ("kmeans", "k-means++", "random_from_data"):
        mixture = GaussianMixture(3, init_params=init_params, random_state=0)
        mixture.fit(X, labels=labels)
        assert_array_equal(mixture.classes_, ["far", "middle"])
        assert_array_equal(mixture.predict(X), np.array([2, 1, 0])[component])


@pytest.mark.parametrize("K", [3, 4, 6])
def test_more_components_than_classes_with_every_row_labelled(data, K):
    # Components that no row may have: nothing can be told of them but a weight of 0.
    X, component = data
    with pytest.warns(UserWarning, match="lost all their rows") if K > 3 else nullcontext():
        mixture = GaussianMixture(K, random_state=0, reg_covar=0).fit(X, labels=component)
    assert_allclose(mixture.weights_[:3], [1 / 3] * 3)
    assert_array_equal(mixture.weights_[3:], 0)
    assert_allclose(mixture.means_[0], X[component == 0].mean(axis=0))
    assert np.isfinite(mixture.means_).all()


def test_fit_predict_keeps_labels(data):
    X, component = data
    wrong = np.full(60, -1)
    wrong[:10] = (component[:10] + 1) % 3
    predicted = GaussianMixture(3, random_state=0).fit_predict(X, labels=wrong)
    assert_array_equal(predicted[:10], wrong[:10])


# Labels together with the rest


def test_labels_and_weights(data):
    X, component = data
    labels = np.where(np.arange(60) % 2, component, -1)
    counts = np.random.RandomState(1).poisson(1.5, 60)
    start = {"means_init": X[:3], "weights_init": [0.2, 0.3, 0.5],
             "covariances_init": [np.eye(2)] * 3}  # fmt: skip
    settings = {**start, "tol": 0, "max_iter": 10}
    weighted = GaussianMixture(3, **settings).fit(X, labels=labels, sample_weight=counts)
    repeated = GaussianMixture(3, **settings).fit(
        np.repeat(X, counts, axis=0), labels=np.repeat(labels, counts)
    )
    for name in ("weights_", "means_", "covariances_"):
        assert_allclose(getattr(weighted, name), getattr(repeated, name), rtol=1e-9)
    assert_allclose(weighted.lower_bounds_, repeated.lower_bounds_, rtol=1e-10)


def test_labels_of_rows_that_do_not_count(data):
    X, component = data
    labels = component.copy()
    weights = np.ones(60)
    weights[::2] = 0
    labels[::2] = (labels[::2] + 1) % 3
    for init_params in ("kmeans", "k-means++", "random", "random_from_data"):
        settings = {"random_state": 0, "init_params": init_params, "tol": 0, "max_iter": 5}
        partly = GaussianMixture(3, **settings).fit(X, labels=labels, sample_weight=weights)
        kept = GaussianMixture(3, **settings).fit(X[1::2], labels=labels[1::2])
        for name in ("weights_", "means_", "covariances_"):
            assert_allclose(getattr(partly, name), getattr(kept, name), rtol=1e-9)


@pytest.mark.parametrize("group", ["weights", "means", "covariances"])
def test_labels_and_fixed_groups(data, group):
    X, component = data
    known = {"weights": [0.5, 0.3, 0.2], "means": [[0.0, 0], [2, 2], [4, 4]],
             "covariances": [np.eye(2)] * 3}[group]  # fmt: skip
    mixture = GaussianMixture(3, **{f"{group}_init": known}, fixed=(group,), random_state=0)
    mixture.fit(X, labels=component)
    assert_allclose(getattr(mixture, f"{group}_"), known, rtol=1e-12)
    if group != "means":
        expected = [X[component == k].mean(axis=0) for k in range(3)]
        assert_allclose(mixture.means_, expected)
    if group != "weights":
        assert_allclose(mixture.weights_, [1 / 3] * 3)


def test_labels_and_several_starts(data):
    X, component = data
    labels = np.where(np.arange(60) < 3, component, -1)
    mixture = GaussianMixture(4, n_init=4, init_params="random_from_data", max_iter=1000,
                              random_state=0).fit(X, labels=labels)  # fmt: skip
    assert mixture.lower_bound_ == max(restart.score for restart in mixture.restarts_)
    for restart in mixture.restarts_:
        again = GaussianMixture(4, init_params="random_from_data", max_iter=1000,
                                random_state=restart.seed).fit(X, labels=labels)  # fmt: skip
        assert_repeats(again, restart)


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
def test_a_start_on_a_subsample_keeps_rare_labels(init_params):
    # Three labelled rows among more than a start looks at.
    X, component = rows(45_000)
    X = X + 3.0 * component[:, None]
    labels = np.full(45_000, -1)
    labels[[40_002, 40_003, 40_004]] = [2, 1, 0]
    assert_array_equal(component[[40_002, 40_003, 40_004]], [0, 1, 2])
    start = GaussianMixture(3, init_params=init_params, max_iter=0, random_state=0)
    start.fit(X, labels=labels)
    assert np.isfinite(start.lower_bound_)
    if init_params != "random":
        order = np.argsort(start.means_[:, 0])
        assert_array_equal(order, [2, 1, 0])


def test_warm_start_with_more_labels(data):
    X, component = data
    labels = np.where(np.arange(60) < 3, component, -1)
    mixture = GaussianMixture(3, warm_start=True, random_state=0, tol=0, max_iter=3)
    mixture.fit(X, labels=labels)
    mixture.fit(X, labels=component)
    closed = GaussianMixture(3, random_state=0).fit(X, labels=component)
    assert_allclose(mixture.means_, closed.means_, rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_for_any_number_of_threads(dtype):
    X, component = rows(5000)
    X = X.astype(dtype)
    labels = np.where(np.arange(5000) % 7 == 0, component, -1)
    mask = np.random.RandomState(0).random_sample((5000, 3)) < 0.7
    mask[~mask.any(axis=1)] = True
    start = {"means_init": X[:3], "weights_init": [0.2, 0.3, 0.5],
             "covariances_init": [np.eye(2)] * 3}  # fmt: skip
    for given_labels in (labels, mask):
        fits = [
            GaussianMixture(3, **start, tol=0, max_iter=5, n_threads=n).fit(X, labels=given_labels)
            for n in (1, 2, 3, 8)
        ]
        for other in fits[1:]:
            assert_array_equal(other.means_, fits[0].means_)
            assert_array_equal(other.lower_bounds_, fits[0].lower_bounds_)


def test_labels_are_not_modified(data):
    X, component = data
    for labels in (component.copy(), np.eye(3, dtype=bool)[component], component.astype(float),
                   np.array(["a", "b", "c"], object)[component]):  # fmt: skip
        before = labels.copy()
        labels.flags.writeable = False
        GaussianMixture(3, random_state=0).fit(X, labels=labels)
        assert_array_equal(labels, before)


# Of rows that a fitted model is asked about


def joint(model, X):
    """log p(z) p(x | z), (n, K), by SciPy."""
    return np.stack(
        [
            np.log(w) + multivariate_normal(m, c).logpdf(X)
            for w, m, c in zip(model.weights_, model.means_, model.covariances_, strict=True)
        ],
        axis=1,
    )


@pytest.fixture(scope="module")
def named(data):
    X, component = data
    labels = np.where(np.arange(60) < 20, np.array(["a", "b", "c"])[component], None)
    return GaussianMixture(3, random_state=0).fit(X, labels=labels)


def test_scores_are_joint_with_the_label(named, data):
    X, component = data
    known = np.where(np.arange(60) % 2, component, -1)
    expected = np.where(
        known >= 0, joint(named, X)[np.arange(60), component], named.score_samples(X)
    )
    assert_allclose(named.score_samples(X, labels=known), expected, rtol=1e-10)
    weights = np.arange(60.0)
    assert_allclose(named.score(X, labels=known), expected.mean())
    assert_allclose(
        named.score(X, sample_weight=weights, labels=known), expected @ weights / weights.sum()
    )
    mask = (known < 0)[:, None] | (known[:, None] == np.arange(3))
    assert_array_equal(named.score_samples(X, labels=mask), named.score_samples(X, labels=known))


def test_score_with_the_labels_of_the_fit_is_the_bound(data):
    X, component = data
    known = np.where(np.arange(60) % 4, -1, component)
    weights = np.linspace(0, 2, 60)
    mixture = GaussianMixture(3, random_state=0).fit(X, labels=known, sample_weight=weights)
    score = mixture.score(X, labels=known, sample_weight=weights)
    assert score == pytest.approx(mixture.lower_bound_, rel=1e-12)
    assert mixture.score(X, sample_weight=weights) > score


def test_responsibilities_are_those_of_the_allowed_components(named, data):
    X, _ = data
    free = named.predict_proba(X)
    mask = np.ones((60, 3), bool)
    mask[::2, 0] = False
    mask[::3, 2] = False
    expected = np.where(mask, free, 0)
    expected /= expected.sum(axis=1, keepdims=True)
    assert_allclose(named.predict_proba(X, labels=mask), expected, rtol=1e-9, atol=1e-14)
    one = named.predict_proba(X[:3], labels=[1, -1, 2])
    assert_array_equal(one[[0, 2]], [[0, 1, 0], [0, 0, 1]])
    assert_array_equal(one[1], free[1])


@pytest.mark.parametrize("form", [np.array, list, pd.Series, pd.Categorical, pl.Series, pa.array])
def test_names_are_those_of_the_fit(named, data, form):
    # Sorted afresh, "b" and "c" would be components 0 and 1.
    X = data[0][:4]
    labels = ["c", "b", "c", "b"]
    assert_array_equal(named.predict_proba(X, labels=form(labels)).argmax(axis=1), [2, 1, 2, 1])


def test_categories_that_are_numbers_are_names_of_the_fit(data):
    X, component = data
    labels = pd.Categorical(10 * component + 10)
    mixture = GaussianMixture(3, random_state=0).fit(X, labels=labels)
    few = pd.Categorical([30, 10])
    assert_array_equal(mixture.predict_proba(X[:2], labels=few), [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("method", ["score", "score_samples", "predict_proba"])
def test_bad_labels_of_a_fitted_model(named, data, method):
    X = data[0][:2]
    ask = getattr(named, method)
    for labels, message in (
        (["a", "d"], r"found 'd' in row 1.*\['a', 'b', 'c'\]"),
        ([0, 3], "found 3 in row 1"),
        ([0], r"shape \(1,\)"),
        ([[True] * 3, [False] * 3], "row 1 allows no component"),
        ([[True] * 2] * 2, r"\(2, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            ask(X, labels=labels)
    unnamed = GaussianMixture(2, random_state=0).fit(data[0])
    with pytest.raises(ValueError, match=r"found 'a' in row 0.*no names"):
        getattr(unnamed, method)(X, labels=["a", None])


@pytest.mark.filterwarnings("ignore::emfast.exceptions.StarvedComponentWarning")
@pytest.mark.parametrize("method", ["score", "score_samples", "predict_proba"])
def test_rows_that_their_label_excludes_are_named(method):
    mixture = BernoulliMixture(
        3, probabilities_init=[[1.0, 0.5], [0.0, 0.5], [0.5, 0.5]], weights_init=[0.5, 0.5, 0.0],
        max_iter=0,
    ).fit([[1, 0], [0, 1], [1, 1]])  # fmt: skip
    X = [[1, 0], [0, 0], [1, 1]]
    ask = getattr(mixture, method)
    ask(X, labels=[0, 1, -1])
    for labels in ([0, 0, -1], [[True] * 3, [True, False, True], [True] * 3]):
        with pytest.raises(ValueError, match="labels: row 1 has zero likelihood"):
            ask(X, labels=labels)
    # A component of weight 0 has produced no row.
    with pytest.raises(ValueError, match="labels: row 2 has zero likelihood"):
        ask(X, labels=[0, 1, 2])


def test_rows_without_label_may_be_impossible_and_rows_without_weight_contradictory():
    mixture = BernoulliMixture(1, probabilities_init=[[1.0]], max_iter=0).fit([[1]])
    X = [[0], [1]]
    assert_array_equal(mixture.score_samples(X, labels=[-1, 0]), [-np.inf, 0])
    assert_array_equal(mixture.predict_proba(X, labels=[-1, 0]), [[1], [1]])
    assert mixture.score(X, labels=[0, 0], sample_weight=[0, 1]) == 0
