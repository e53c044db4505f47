"""Rows that are decoded once, for any method that takes rows."""

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

import emfast
from emfast.data import SomeColumns

RNG = np.random.default_rng(0)
N = 3000
X = RNG.normal(size=(N, 3)) + 3 * (np.arange(N) < 1000)[:, None]
Y = X @ [1.0, 2, 3] + RNG.normal(size=N)
KIND = np.where(RNG.random(N) < 0.1, np.where(np.arange(N) < 1000, "up", "down"), None)


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    for part, rows in enumerate(np.array_split(np.arange(N), 3)):
        columns = dict(zip("abc", X[rows].astype(np.float32).T, strict=True))
        table = pa.table({**columns, "y": Y[rows], "kind": KIND[rows]})
        pq.write_table(table, folder / f"{part}.parquet")
    return folder


@pytest.fixture
def room(tmp_path):
    folder = tmp_path / "room"
    folder.mkdir()
    return folder


def started():
    return emfast.GaussianMixture(
        2,
        covariance_type="diag",
        means_init=[[0.0] * 3, [3.0] * 3],
        covariances_init=np.ones((2, 3)),
        weights_init=[0.5, 0.5],
        max_iter=3,
        tol=0,
    )


def test_what_is_cached_is_what_was_decoded(paths, room):
    columns = SomeColumns(str(paths), ("a", "b", "c"))
    whole = started().fit(columns, labels="kind")
    with emfast.cached(columns, folder=room) as rows:
        found = started().fit(rows, labels="kind")
        files = [file for _, _, names in os.walk(room) for file in names]
        assert sum(os.path.getsize(next(room.glob(f"*/{name}"))) for name in files) == N * 3 * 4
        for file in paths.iterdir():
            file.write_bytes(b"nobody reads this")
        assert_array_equal(started().fit(rows, labels="kind").means_, found.means_)
    assert_array_equal(found.means_, whole.means_)
    assert found.means_.dtype == np.float32
    assert found.feature_names_in_.tolist() == ["a", "b", "c"]
    assert found.classes_.tolist() == ["down", "up"]
    assert os.listdir(room) == []


def test_other_columns_apart_take_the_place_of_those_before(paths, room):
    columns = SomeColumns(str(paths), ("a", "b", "c"))
    with emfast.cached(columns, folder=room) as rows:
        started().fit(rows)
        model = emfast.BayesianLinearRegression().fit(rows, "y")
        assert len(os.listdir(room)) == 1
        assert model.score(rows, "y") > 0.9
        assert started().fit(rows).predict(rows).shape == (N,)
        assert len(os.listdir(room)) == 1
    assert os.listdir(room) == []


def test_arrays_and_answers(room, tmp_path):
    with emfast.cached(lambda: iter(np.array_split(X, 4)), folder=room) as rows:
        model = started().fit(rows)
        assert_array_equal(model.means_, started().fit(X).means_)
        assert_array_equal(model.predict(rows), model.predict(X))
        model.predict_proba(rows, out=tmp_path / "found.npy")
        assert_array_equal(np.load(tmp_path / "found.npy"), model.predict_proba(X))


def test_files_are_gone_after_failures(room):
    class Failing:
        error: type = OSError

        def __iter__(self):
            yield X[:2000]
            raise self.error("in the middle")

    source = Failing()
    rows = emfast.cached(source, folder=room)
    for Failing.error in (OSError, KeyboardInterrupt):
        with pytest.raises(Failing.error, match="in the middle"):
            started().fit(rows)
        assert os.listdir(room) == []
    rows = emfast.cached(lambda: iter([X]), folder=room)
    started().fit(rows)
    assert len(os.listdir(room)) == 1
    del rows
    assert os.listdir(room) == []


def test_files_are_gone_when_the_interpreter_exits(room):
    code = f"""
import numpy as np, os, emfast
rows = emfast.cached(lambda: iter([np.arange(20.0)[:, None]]), folder={str(room)!r})
emfast.GaussianMixture(1).fit(rows)
assert os.listdir({str(room)!r})
raise KeyboardInterrupt
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert "KeyboardInterrupt" in done.stderr and "AssertionError" not in done.stderr
    assert os.listdir(room) == []


def test_too_little_room(room):
    rows = emfast.cached(lambda: iter([X]), folder=room, limit=100)
    with pytest.warns(RuntimeWarning, match="the limit is 100"):
        model = started().fit(rows)
    assert_array_equal(model.means_, started().fit(X).means_)
    assert os.listdir(room) == []


def test_what_cannot_be_cached(paths, room, tmp_path):
    with pytest.raises(FileNotFoundError, match="folder: there is no folder"):
        emfast.cached(str(paths), folder=tmp_path / "nowhere")
    with pytest.raises(TypeError, match="source: found a ndarray; expected rows that are not in"):
        started().fit(emfast.cached(X, folder=room))
    with pytest.raises(TypeError, match="in column 'kind'; expected numbers to cache"):
        started().fit(emfast.cached(str(paths), folder=room))
    with pytest.raises(FileNotFoundError, match="no file matches"):
        started().fit(emfast.cached(str(tmp_path / "*.csv"), folder=room))
    assert os.listdir(room) == []


# Some columns of a table


def test_some_columns(paths):
    model = started().fit(SomeColumns(str(paths), ("b", "c", "a")))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert model.n_features_in_ == 3
    with pytest.raises(ValueError, match="no column 'z'"):
        started().fit(SomeColumns(str(paths), ("a", "b")), labels="z")
