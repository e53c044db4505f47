"""Classifiers of rows that come in batches: what they are in memory."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import emfast
from batches import Batches, in_batches
from emfast.data import answers
from emfast.data.tables import read_table
from emfast.emissions import Categorical, Gaussian

RNG = np.random.default_rng(0)
N = 900
KIND = RNG.integers(0, 3, N)
X = RNG.normal(size=(N, 2)) + 4 * np.array([[0, 0], [1, 0], [0, 1]])[KIND]
W = RNG.uniform(0.1, 2, N)
W[:20] = 0
NAMES = np.array(["ash", "beech", "cherry"], object)[KIND]
NAMES[RNG.random(N) < 0.7] = None
INTEGERS = np.where(RNG.random(N) < 0.7, -1, 10 + KIND)


def table(y=NAMES):
    return pd.DataFrame(X, columns=["a", "b"]).assign(y=y, w=W)


def made(**options):
    """Whose start is given, so that it does not depend on how rows come."""
    mixture = emfast.GaussianMixture(
        covariance_type="diag",
        means_init=[[0.0, 0], [0, 0.1], [4, 0], [0, 4]],
        covariances_init=np.ones((4, 2)),
        weights_init=[0.25, 0.25, 0.25, None],
        max_iter=4,
        tol=0,
    )
    counts = options.pop("components_per_class", [2, 1, 1])
    return emfast.MixtureClassifier(mixture, components_per_class=counts, **options)


def assert_same(found, whole):
    assert_array_equal(found.classes_, whole.classes_)
    assert found.classes_.dtype == whole.classes_.dtype
    assert_array_equal(found.component_classes_, whole.component_classes_)
    for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
        assert_array_equal(getattr(found.mixture_, name), getattr(whole.mixture_, name))
    assert not hasattr(found.mixture_, "classes_")


@pytest.mark.parametrize("y", [NAMES, INTEGERS, INTEGERS.astype(np.int16)])
def test_classes_of_streams(y):
    whole = made().fit(X, y, sample_weight=W)
    assert_same(made().fit(in_batches(X), y, sample_weight=W), whole)
    frame = table(y)
    arrow = pa.Table.from_pandas(frame, preserve_index=False).to_batches(max_chunksize=123)
    for source in (frame, in_batches(frame), Batches(*arrow)):
        found = made().fit(source, "y", sample_weight="w")
        assert_same(found, whole)
        assert found.feature_names_in_.tolist() == ["a", "b"]
        assert_allclose(found.score(source, "y", "w"), whole.score(X, y, W))
    assert_same(made().fit(in_batches(frame.drop(columns="w")), "y", sample_weight=W), whole)


def test_integers_with_nulls_of_some_batches():
    y = pd.array(np.where(INTEGERS < 0, 10, INTEGERS), "Int64")
    y[600:][INTEGERS[600:] < 0] = pd.NA
    frame = table(y).drop(columns="w")
    arrow = pa.Table.from_pandas(frame, preserve_index=False).to_batches(max_chunksize=100)
    found = made().fit(Batches(*arrow), "y")
    assert found.classes_.tolist() == [10, 11, 12]
    assert found.classes_.dtype.kind == "i"
    assert_array_equal(found.mixture_.means_, made().fit(X, y).mixture_.means_)


def test_noise_and_columns_of_several_kinds():
    kwargs = {"components_per_class": {"ash": 2, "beech": 1, "cherry": 1}}
    whole, parts = (made(**kwargs).set_params(mixture__noise=True) for _ in range(2))
    whole.fit(X, NAMES)
    parts.fit(in_batches(X), NAMES)
    assert_same(parts, whole)
    assert_array_equal(parts.predict_proba(in_batches(X)), whole.predict_proba(X))
    frame = table().assign(level=np.where(KIND == 0, "low", "high"))
    mixture = emfast.Mixture(
        emissions=[("g", Gaussian("diag"), ["a", "b"]), ("c", Categorical(), ["level"])],
        random_state=0,
    )
    mixed = emfast.MixtureClassifier(mixture).fit(in_batches(frame), "y", sample_weight="w")
    assert mixed.score(in_batches(frame), "y") > 0.95


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet"])
def test_answers(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "PART_ROWS", 64)
    model, path = made().fit(X, NAMES), tmp_path / f"found{suffix}"
    source = in_batches(X)
    for rows in (X, source):
        shares, scores = model.predict_proba(X), model.score_samples(X)
        assert model.predict_proba(rows, out=path) is path
        found, names = read_table(path).features()
        assert_array_equal(found, shares)
        assert suffix == ".npy" or names == ["p_ash", "p_beech", "p_cherry"]
        model.score_samples(rows, out=path)
        assert_array_equal(read_table(path).features()[0][:, 0], scores)
        if suffix == ".npy":
            with pytest.raises(ValueError, match="hold numbers"):
                model.predict(rows, out=path)
            continue
        model.predict(rows, out=path)
        assert read_table(path).columns["class"].tolist() == model.predict(X).tolist()
    assert_array_equal(model.predict(source), model.predict(X))


def test_rows_of_dask(tmp_path, here):
    whole, rows = made().fit(X, INTEGERS), here.from_array(X, chunks=(400, 2))
    assert_allclose(made().fit(rows, INTEGERS).mixture_.means_, whole.mixture_.means_)
    assert_array_equal(whole.predict(rows).compute(), whole.predict(X))
    assert_array_equal(whole.predict_proba(rows).compute(), whole.predict_proba(X))
    whole.predict_proba(rows, out=tmp_path / "found.parquet")
    assert list(read_table(tmp_path / "found.parquet").columns) == ["p_10", "p_11", "p_12"]


def test_bad_streams():
    model = made()
    with pytest.raises(ValueError, match="y: found 899 entries"):
        model.fit(in_batches(X), INTEGERS[:-1])
    with pytest.raises(ValueError, match="y: the class of every row of positive weight is missing"):
        model.fit(in_batches(X), np.full(N, -1))
    with pytest.raises(ValueError, match="y: MixtureClassifier requires y"):
        model.fit(in_batches(X), None)
    with pytest.raises(ValueError, match="no column 'z'"):
        model.fit(in_batches(table()), "z")
    with pytest.raises(ValueError, match="y: found 'z'; expected the name of a column"):
        model.fit(table(), "z")
    with pytest.raises(TypeError, match="y: expected values that can be sorted"):
        mixed = NAMES.copy()
        mixed[0] = 3
        model.fit(in_batches(X), mixed)
    with pytest.raises(ValueError, match="class 'ash' has n_samples = 1 of positive weight"):
        rows = np.where(np.arange(9) == 0, "ash", "beech")
        made(components_per_class=[3, 1]).fit(in_batches(X[:9], (3,)), rows)
    assert not hasattr(model, "mixture_")
