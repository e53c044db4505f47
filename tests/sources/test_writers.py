import os

import numpy as np
import pytest

from emfast.cli.writing import write_table
from emfast.data import writers
from emfast.data.tables import TableError, read_table
from emfast.data.writers import writer_to

SUFFIXES = [".csv", ".npy", ".parquet", ".arrow", ".feather"]
X = np.random.RandomState(0).standard_normal((50, 3))


@pytest.fixture(params=SUFFIXES)
def path(request, tmp_path):
    if request.param not in (".csv", ".npy"):
        pytest.importorskip("pyarrow")
    return tmp_path / f"table{request.param}"


def in_pieces(writer, rows=X):
    for start in range(0, len(rows), 7):
        writer.write(rows[start : start + 7])


def test_pieces_are_one_table(path):
    with writer_to(path) as writer:
        in_pieces(writer)
        assert writer.n_rows == 50
        assert not path.exists()
    found, names = read_table(path).features()
    np.testing.assert_array_equal(found, X)
    assert names == ["x0", "x1", "x2"]
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_pieces_are_the_same_file_as_the_whole(path):
    columns = {"x0": X[:, 0], "x1": X[:, 1], "x2": X[:, 2]}
    with writer_to(path) as writer:
        in_pieces(writer)
    in_parts = path.read_bytes()
    write_table(columns, path)
    assert path.read_bytes() == in_parts


@pytest.mark.parametrize("group", [1, 10, 20])
def test_rows_are_written_when_there_are_enough(path, group, monkeypatch):
    monkeypatch.setattr(writers, "GROUP_ROWS", group)
    with writer_to(path) as writer:
        in_pieces(writer)
    np.testing.assert_array_equal(read_table(path).features()[0], X)


def test_names_and_arrays_of_one_dimension(path):
    with writer_to(path, ["component"]) as writer:
        in_pieces(writer, np.arange(20))
    table = read_table(path)
    assert list(table.columns) == (["x0"] if path.suffix == ".npy" else ["component"])
    assert next(iter(table.columns.values())).tolist() == list(range(20))
    if path.suffix == ".npy":
        assert np.load(path).shape == (20,)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "bool"])
def test_npy_keeps_types(tmp_path, dtype):
    path = tmp_path / "x.npy"
    with writer_to(path) as writer:
        in_pieces(writer, (X * 3).astype(dtype))
    found = np.load(path)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, (X * 3).astype(dtype))
    np.testing.assert_array_equal(np.load(path, mmap_mode="r"), found)


def test_objects_whose_type_shows_late(path, monkeypatch):
    monkeypatch.setattr(writers, "GROUP_ROWS", 2)
    pieces = [{"n": np.arange(2), "class": np.array([None, None])} for _ in range(3)]
    pieces += [{"n": np.arange(2), "class": np.array(["car", None], object)}, pieces[0]]
    if path.suffix == ".npy":
        with pytest.raises(TableError, match=r"column 'class': \.npy files hold numbers"):
            write_pieces(path, pieces)
        return
    write_pieces(path, pieces)
    assert read_table(path).columns["class"].tolist() == [None] * 6 + ["car"] + [None] * 3


def write_pieces(path, pieces):
    with writer_to(path) as writer:
        for piece in pieces:
            writer.write(piece)


@pytest.mark.parametrize(
    "second, message",
    [
        (X[:, :2], r"found 2 columns; expected 3"),
        ({"a": X[:, 0]}, r"found columns \('a',\); expected \('x0', 'x1', 'x2'\) as before"),
        ({"x0": X[:1, 0], "x1": X[:, 1], "x2": X[:, 2]}, r"found columns of \[1, 50\] rows"),
        (X[None], r"found an array of shape \(1, 50, 3\)"),
    ],
)
def test_pieces_that_do_not_fit(path, second, message):
    with pytest.raises(TableError, match=message):
        write_pieces(path, [X, second])
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".arrow"])
def test_types_that_change(tmp_path, suffix, monkeypatch):
    if suffix != ".npy":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(writers, "GROUP_ROWS", 2)
    numbers = np.arange(4)
    other = numbers.astype(float) if suffix == ".npy" else np.array(["a", "b"], object)
    with pytest.raises(TableError, match=r"found .*; expected int64 as before|of other types than"):
        write_pieces(tmp_path / f"x{suffix}", [{"a": numbers}, {"a": other}])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("written", [0, 1])
def test_nothing_is_left_after_failures(path, error, written):
    path.write_text("before")
    with pytest.raises(error), writer_to(path) as writer:
        for _ in range(written):
            writer.write(X)
        raise error
    assert path.read_text() == "before"
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_nothing_written(path):
    with pytest.raises(TableError, match="found no rows to write"), writer_to(path):
        pass
    assert list(path.parent.iterdir()) == []


def test_errors_before_anything_is_written(tmp_path):
    with pytest.raises(TableError, match=r"x\.txt: expected a name that ends in one of \.csv"):
        writer_to(tmp_path / "x.txt").__enter__()
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        writer_to(tmp_path / "none" / "x.csv").__enter__()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet", ".arrow"])
def test_a_disk_that_is_full(tmp_path, suffix, monkeypatch):
    made = writers.WRITERS[suffix]
    rows = np.random.RandomState(0).standard_normal((20000, 3))
    monkeypatch.setattr(writers, "GROUP_ROWS", 2)
    monkeypatch.setitem(
        writers.WRITERS, suffix, lambda path, names: made(os.path.realpath("/dev/full"), names)
    )
    with pytest.raises(OSError, match=r"No space left|\d requested and"):
        write_pieces(tmp_path / f"x{suffix}", [rows])
    assert list(tmp_path.iterdir()) == []
