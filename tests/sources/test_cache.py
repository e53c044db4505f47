import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest

import emfast
from emfast.data import cache
from emfast.data.cache import Cached
from emfast.data.readers import reader_of

N, D = 1000, 3
X = np.random.RandomState(0).standard_normal((N, D)).astype(np.float32)
Y = np.arange(N) % 4


class Counted:
    """Batches, and how often they were asked for."""

    def __init__(self, X=X, columns=None, fail_at=None, error=ValueError):
        self.X, self.columns, self.passes = X, columns or {}, 0
        self.fail_at, self.error = fail_at, error

    def __iter__(self):
        self.passes += 1
        for start in range(0, len(self.X), 100):
            if start == self.fail_at:
                raise self.error("there")
            rows = slice(start, start + 100)
            yield self.X[rows], {name: values[rows] for name, values in self.columns.items()}


def cached(source, folder, *, apart=(), **settings):
    return Cached(reader_of(source, apart=apart), folder, **settings)


def all_rows(reader, batch_rows=100):
    return np.concatenate([portion.X for portion in reader.portions(batch_rows)])


def test_later_passes_read_files(tmp_path):
    source = Counted(columns={"y": Y, "name": Y.astype(str)})
    with cached(source, tmp_path, apart=["y", "name"]) as reader:
        passes = [list(reader.portions(100)) for _ in range(3)]
        assert source.passes == 1
        assert reader.n_rows == N
        assert os.path.dirname(reader.folder) == str(tmp_path)
        for portions in passes:
            for portion in portions:
                assert isinstance(portion.X, np.memmap)
                assert portion.X.flags.f_contiguous and not portion.X.flags.owndata
            assert [portion.where for portion in portions] == [f"batch {b}" for b in range(10)]
            np.testing.assert_array_equal(np.concatenate([each.X for each in portions]), X)
            assert np.concatenate([each.columns["y"] for each in portions]).tolist() == Y.tolist()
            assert portions[3].columns["name"][1] == str(Y[301])
    assert os.listdir(tmp_path) == []
    # A map outlives its file.
    np.testing.assert_array_equal(passes[2][9].X, X[900:])


def test_files_hold_columns(tmp_path):
    with cached(Counted(), tmp_path) as reader:
        list(reader.portions(100))
        path = os.path.join(reader.folder, "4.features")
        np.testing.assert_array_equal(np.fromfile(path, np.float32).reshape(D, 100), X[400:500].T)


@pytest.mark.parametrize("batch_rows", [30, 100, 10**6])
def test_other_sizes_of_batches(tmp_path, batch_rows):
    source = Counted(columns={"y": Y})
    with cached(source, tmp_path, apart=["y"]) as reader:
        list(reader.portions(100))
        portions = list(reader.portions(batch_rows))
        assert max(portion.n_rows for portion in portions) == min(batch_rows, 100)
        np.testing.assert_array_equal(np.concatenate([each.X for each in portions]), X)
        assert np.concatenate([each.columns["y"] for each in portions]).tolist() == Y.tolist()
        assert source.passes == 1


@pytest.mark.parametrize(
    "given, dtype",
    [
        (X, "float32"),
        (X.astype(float), "float64"),
        (X > 0, "bool"),
        ((X > 0).astype(np.uint8), "uint8"),
        ((X * 9).astype(np.int64), "float64"),
    ],
)
def test_types(tmp_path, given, dtype):
    with cached(Counted(given), tmp_path) as reader:
        for _ in range(2):
            rows = all_rows(reader)
            assert rows.dtype == dtype
            np.testing.assert_array_equal(rows, given)


def test_tables_with_missing_entries(tmp_path):
    pa = pytest.importorskip("pyarrow")
    tables = [
        pa.table({"a": pa.array([1, None]), "b": [1.5, 2], "c": [True, None], "d": pa.nulls(2)}),
        pa.table({"a": [3, 4], "b": pa.array([None, 2.0]), "c": [True, False], "d": pa.nulls(2)}),
    ]
    nan = np.nan
    expected = [[1, 1.5, 1, nan], [nan, 2, nan, nan], [3, nan, 1, nan], [4, 2, 0, nan]]
    with Cached(reader_of(lambda: tables), tmp_path) as reader:
        for _ in range(2):
            np.testing.assert_array_equal(all_rows(reader), expected)
        assert reader.names == ("a", "b", "c", "d")


def test_single_precision_of_tables_stays(tmp_path):
    pa = pytest.importorskip("pyarrow")
    columns = {name: pa.array([1.5, None], pa.float32()) for name in "ab"}
    with Cached(reader_of(lambda: [pa.table(columns)]), tmp_path) as reader:
        rows = all_rows(reader)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, [[1.5, 1.5], [np.nan, np.nan]])


@pytest.mark.parametrize("given", [X.astype(str), X.astype(object)])
def test_features_that_are_no_numbers(tmp_path, given):
    reader = cached(Counted(given), tmp_path)
    with pytest.raises(TypeError, match=r"X: batch 0: found .*; expected numbers in an array"):
        all_rows(reader)
    assert os.listdir(tmp_path) == []


def test_a_column_of_strings(tmp_path):
    pa = pytest.importorskip("pyarrow")
    reader = Cached(reader_of(lambda: [pa.table({"a": ["x"]})]), tmp_path)
    with pytest.raises(TypeError, match=r"X: batch 0: found string in column 'a'; expected number"):
        all_rows(reader)


# No room


@pytest.mark.parametrize("limit", [0, 1199, N * D * 4 - 1])
def test_a_limit_that_is_too_low(tmp_path, limit):
    source = Counted()
    reader = cached(source, tmp_path, limit=limit)
    with pytest.warns(RuntimeWarning, match=rf"no cache .*limit is {limit}; every pass decodes"):
        np.testing.assert_array_equal(all_rows(reader), X)
    assert os.listdir(tmp_path) == []
    # Once.
    np.testing.assert_array_equal(all_rows(reader), X)
    assert source.passes == 2


def test_a_limit_that_is_enough(tmp_path):
    with cached(Counted(), tmp_path, limit=N * D * 4) as reader:
        all_rows(reader)
        sizes = [os.path.getsize(os.path.join(reader.folder, n)) for n in os.listdir(reader.folder)]
        assert sum(sizes) == N * D * 4


def test_what_is_known_not_to_fit_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(cache.tempfile, "mkdtemp", lambda **_: pytest.fail("made a folder"))
    path = tmp_path / "x.npy"
    np.save(path, X)
    with pytest.warns(RuntimeWarning, match=f"{N * D * 4} bytes or more are needed"):
        all_rows(Cached(reader_of(path), tmp_path, limit=N * D * 4 - 1))


def test_a_file_system_that_is_full(tmp_path, monkeypatch):
    left = iter([10**9, 10**9, 10**9, 1300, 100])
    usage = type("Usage", (), {})

    def disk_usage(folder):
        found = usage()
        found.free = next(left)
        return found

    monkeypatch.setattr(cache.shutil, "disk_usage", disk_usage)
    with pytest.warns(RuntimeWarning, match="1200 bytes or more are needed, and 100 are free"):
        np.testing.assert_array_equal(all_rows(cached(Counted(), tmp_path)), X)
    assert os.listdir(tmp_path) == []


def test_by_default_half_of_what_is_free_may_be_taken(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 2400})
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: usage)
    with pytest.warns(RuntimeWarning, match="1300 bytes or more are needed|2400 .* limit is 1200"):
        all_rows(cached(Counted(), tmp_path))


def test_a_folder_that_cannot_be_written_to(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder: there is no folder"):
        cached(Counted(), tmp_path / "none")


# Files are gone


def test_a_first_pass_that_is_not_completed(tmp_path):
    source = Counted()
    with cached(source, tmp_path) as reader:
        with closing(reader.portions(100)) as portions:
            next(portions)
            next(portions)
            assert len(os.listdir(reader.folder)) == 2
        assert os.listdir(tmp_path) == []
        for _ in range(2):
            np.testing.assert_array_equal(all_rows(reader), X)
        assert source.passes == 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_files_are_gone_after_failures(tmp_path, error):
    reader = cached(Counted(fail_at=500, error=error), tmp_path)
    with pytest.raises(error, match="there"):
        all_rows(reader)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_files_are_gone_after_failures_of_others(tmp_path, error):
    with pytest.raises(error), cached(Counted(), tmp_path) as reader:
        all_rows(reader)
        for _ in reader.portions(100):
            raise error("here")
    assert os.listdir(tmp_path) == []


def test_files_are_gone_with_the_reader(tmp_path):
    reader = cached(Counted(), tmp_path)
    all_rows(reader)
    assert len(os.listdir(tmp_path)) == 1
    del reader
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("end", ["", "raise ValueError", "os.kill(os.getpid(), signal.SIGINT)"])
def test_files_are_gone_when_the_interpreter_exits(tmp_path, end):
    code = f"""
import os, signal, sys
import numpy as np
from emfast.data.cache import Cached
from emfast.data.readers import reader_of
reader = Cached(reader_of(lambda: [np.ones((3, 2))]))
list(reader.portions(10))
print(len(os.listdir({str(tmp_path)!r})), flush=True)
if os.fork() == 0:
    sys.exit()
os.wait()
list(reader.portions(10))
{end}
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert found.stdout.split() == ["1"], found.stderr
    assert (found.returncode == 0) == (end == ""), found.stderr
    assert os.listdir(tmp_path) == []


def test_a_cache_that_is_closed_decodes_again(tmp_path):
    source = Counted()
    reader = cached(source, tmp_path)
    all_rows(reader)
    reader.close()
    reader.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(all_rows(reader), X)
    assert source.passes == 2
    reader.close()


# Several passes at a time


def test_of_passes_at_a_time_the_last_one_writes(tmp_path):
    source = Counted()
    with cached(source, tmp_path) as reader, warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = (reader.portions(100) for _ in range(2))
        rows = [next(first).X, next(first).X]
        others = [next(second).X]
        assert len(os.listdir(tmp_path)) == 1
        rows += [portion.X for portion in first]
        others += [portion.X for portion in second]
        np.testing.assert_array_equal(np.concatenate(rows), X)
        np.testing.assert_array_equal(np.concatenate(others), X)
        np.testing.assert_array_equal(all_rows(reader), X)
        assert source.passes == 2
    assert os.listdir(tmp_path) == []


def test_a_pass_that_somebody_holds_on_to_is_in_nobodys_way(tmp_path):
    source = Counted()
    with cached(source, tmp_path) as reader:
        held = reader.portions(100)
        next(held)
        for _ in range(2):
            np.testing.assert_array_equal(all_rows(reader), X)
        assert source.passes == 2
        held.close()
        np.testing.assert_array_equal(all_rows(reader), X)
        assert source.passes == 2


def test_fits_at_a_time(tmp_path):
    def fit(columns):
        given = {"labels": "y"} if columns else {}
        return emfast.GaussianMixture(2, max_iter=3, tol=0, random_state=0).fit(rows, **given)

    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abc")).assign(y=np.where(Y > 2, 1, -1))
    frame.to_csv(tmp_path / "rows.csv", index=False)
    with emfast.cached(tmp_path / "rows.csv", folder=tmp_path) as rows:
        expected = [fit(columns).means_ for columns in (True, False)]
        rows.close()
        with ThreadPoolExecutor(4) as threads:
            for i, model in enumerate(threads.map(fit, [True, False] * 6)):
                np.testing.assert_array_equal(model.means_, expected[i % 2])
    assert os.listdir(tmp_path) == ["rows.csv"]
