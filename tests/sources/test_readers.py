import contextlib
import os
import subprocess
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pytest
import scipy.sparse as sp

from emfast.data.readers import Checked, Portion, reader_of

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
ds = pytest.importorskip("pyarrow.dataset")
pl = pytest.importorskip("polars")
pd = pytest.importorskip("pandas")
zarr = pytest.importorskip("zarr")

N, D = 1000, 3
X = np.random.RandomState(0).standard_normal((N, D)).astype(np.float32)
Y = np.arange(N) % 4
NAMES = ("a", "b", "c")


def table(first=0, last=N, **more):
    columns = {name: X[first:last, j] for j, name in enumerate(NAMES)}
    return pa.table({**columns, "y": Y[first:last], **more})


def batches(rows=300):
    return [X[start : start + rows] for start in range(0, N, rows)]


def write_parquet(path, first=0, last=N, group=128, **more):
    pq.write_table(table(first, last, **more), path, row_group_size=group)
    return str(path)


def write_arrow(path, first=0, last=N, compression="uncompressed"):
    from pyarrow import feather

    feather.write_feather(table(first, last), str(path), compression=compression, chunksize=100)
    return str(path)


def write_csv(path, first=0, last=N):
    frame = table(first, last).to_pandas()
    frame.to_csv(path, index=False)
    return str(path)


def write_stream(path):
    with pa.ipc.new_stream(str(path), table().schema) as sink:
        sink.write_table(table(), max_chunksize=90)
    return str(path)


def write_npy(path, first=0, last=N):
    np.save(path, X[first:last])
    return str(path)


def in_parts(write, folder, suffix):
    folder.mkdir()
    for part, first in enumerate(range(0, N, 400)):
        write(folder / f"part-{part}{suffix}", first, min(first + 400, N))
    return str(folder)


class Again:
    """Batches of any kind, as often as one likes."""

    def __init__(self, made):
        self.made = made

    def __iter__(self):
        yield from self.made


def zarr_of(tmp_path, chunks):
    array = zarr.create_array(str(tmp_path / "x.zarr"), shape=X.shape, chunks=chunks, dtype="f4")
    array[:] = X
    return array


WITH_NAMES = {
    "Parquet": lambda p: write_parquet(p / "x.parquet"),
    "Parquet in one row group": lambda p: write_parquet(p / "x.parquet", group=N),
    "a path": lambda p: p / os.path.basename(write_parquet(p / "x.parquet")),
    "a folder": lambda p: in_parts(write_parquet, p / "parts", ".parquet"),
    "a pattern": lambda p: in_parts(write_parquet, p / "parts", ".parquet") + "/part-*.parquet",
    "a list": lambda p: [
        write_parquet(p / "1.parquet", 0, 500),
        write_parquet(p / "0.parquet", 500, N),
    ],
    "Arrow": lambda p: write_arrow(p / "x.arrow"),
    "Feather": lambda p: write_arrow(p / "x.feather", compression="lz4"),
    "a stream": lambda p: write_stream(p / "x.arrow"),
    "CSV": lambda p: write_csv(p / "x.csv"),
    "CSV in parts": lambda p: in_parts(write_csv, p / "parts", ".csv"),
    "LazyFrame": lambda p: pl.scan_parquet(write_parquet(p / "x.parquet")),
    "LazyFrame in memory": lambda p: pl.from_arrow(table()).lazy().filter(pl.col("y") >= 0),
    "Dataset": lambda p: ds.dataset(in_parts(write_parquet, p / "parts", ".parquet")),
    "Dataset in memory": lambda p: ds.dataset(table()),
    "RecordBatchReader": lambda p: make_reader,
    "record batches": lambda p: Again(table().to_batches(max_chunksize=70)),
    "Tables": lambda p: Again([table(0, 600), table(600)]),
    "pandas": lambda p: Again([table(0, 600).to_pandas(), table(600).to_pandas()]),
    "polars": lambda p: Again([pl.from_arrow(table(0, 600)), pl.from_arrow(table(600))]),
    "tuples of frames": lambda p: Again([(table(0, 600), {"y": Y[:600]}), table(600)]),
}


def make_reader():
    return table().to_reader(max_chunksize=70)


def make_batches():
    yield from zip(batches(), [{"y": Y[at : at + 300]} for at in range(0, N, 300)], strict=True)


WITHOUT_NAMES = {
    "memmap": lambda p: np.load(write_npy(p / "x.npy"), mmap_mode="r"),
    "a part of a memmap": lambda p: np.load(write_npy(p / "x.npy"), mmap_mode="r")[:, :],
    ".npy": lambda p: write_npy(p / "x.npy"),
    ".npy in parts": lambda p: in_parts(write_npy, p / "parts", ".npy"),
    "zarr": lambda p: zarr_of(p, (64, 2)),
    "zarr in one chunk": lambda p: zarr_of(p, (N, D)),
    "arrays": lambda p: Again(batches()),
    "a callable": lambda p: batches,
    "a generator function": lambda p: make_batches,
    "lists": lambda p: Again([batch.tolist() for batch in batches()]),
    "sparse": lambda p: Again([sp.csr_array(batch) for batch in batches()]),
}


def rows_of(portion):
    rows = portion.X
    if isinstance(rows, pa.RecordBatch):
        assert rows.schema.names == list(NAMES)
        return np.column_stack([column.to_numpy() for column in rows.columns])
    return rows.toarray() if sp.issparse(rows) else np.asarray(rows)


def all_rows(reader, batch_rows):
    portions = list(reader.portions(batch_rows))
    assert all(portion.n_rows <= batch_rows for portion in portions)
    return np.concatenate([rows_of(portion) for portion in portions]), portions


@pytest.mark.parametrize("batch_rows", [64, 1000, 10**6])
@pytest.mark.parametrize("kind", WITH_NAMES)
def test_tables(tmp_path, kind, batch_rows):
    reader = reader_of(WITH_NAMES[kind](tmp_path), apart=["y"])
    assert reader.names == NAMES
    for _ in range(2):
        rows, portions = all_rows(reader, batch_rows)
        np.testing.assert_array_equal(rows.astype(np.float32), X)
        assert np.concatenate([each.columns["y"] for each in portions]).tolist() == Y.tolist()
    assert reader.n_rows == N


@pytest.mark.parametrize("batch_rows", [64, 1000, 10**6])
@pytest.mark.parametrize("kind", WITHOUT_NAMES)
def test_arrays(tmp_path, kind, batch_rows):
    reader = reader_of(WITHOUT_NAMES[kind](tmp_path))
    assert reader.names is None
    for _ in range(2):
        np.testing.assert_array_equal(all_rows(reader, batch_rows)[0].astype(np.float32), X)
    assert reader.n_rows == N


def test_columns_beside_arrays():
    _, portions = all_rows(reader_of(make_batches, apart=["y"]), 100)
    assert np.concatenate([each.columns["y"] for each in portions]).tolist() == Y.tolist()


def test_sequences():
    made = Again([([X[:10], X[10:30]], {"w": [1.0, 2.0]}), ([X[30:100]], {"w": [3.0]})])
    portions = list(reader_of(made, apart=["w"]).portions(20))
    assert [[len(rows) for rows in portion.X] for portion in portions] == [[10, 20], [70]]
    assert [portion.n_rows for portion in portions] == [30, 70]
    assert portions[0].columns["w"].tolist() == [1, 2]


def test_parquet_comes_in_as_many_rows_as_asked_for(tmp_path):
    reader = reader_of(write_parquet(tmp_path / "x.parquet"))
    assert [portion.n_rows for portion in reader.portions(400)] == [400, 400, 200]


def test_number_of_rows_that_is_known_before(tmp_path):
    for source in ("Parquet", "a folder", "Arrow"):
        (tmp_path / source).mkdir()
        assert reader_of(WITH_NAMES[source](tmp_path / source)).n_rows == N
    assert reader_of(write_csv(tmp_path / "x.csv")).n_rows is None


@pytest.mark.parametrize(
    "made",
    [
        lambda: X,
        lambda: X.tolist(),
        lambda: pd.DataFrame(X),
        lambda: pl.DataFrame(X),
        lambda: table(),
        lambda: table().to_batches()[0],
        lambda: sp.csr_array(X),
        lambda: [X, X],
        lambda: [],
        lambda: None,
        lambda: {"a": 1},
        lambda: np.ma.masked_array(X),
    ],
)
def test_what_is_in_memory_is_not_read(made):
    assert reader_of(made()) is None


def test_what_is_computed_from_a_memmap_is_in_memory(tmp_path):
    mapped = np.load(write_npy(tmp_path / "x.npy"), mmap_mode="r")
    in_memory = np.array(mapped, subok=True)
    assert type(in_memory) is np.memmap
    assert reader_of(in_memory) is None
    assert reader_of(mapped).n_rows == N


def test_asking_for_names_begins_no_other_pass():
    begun, ended = [], []

    def make():
        begun.append(1)
        try:
            yield from table().to_batches(max_chunksize=300)
        finally:
            ended.append(1)

    reader = reader_of(make, apart=["y"])
    assert reader.names == reader.names == NAMES
    assert (len(begun), len(ended)) == (1, 0)
    np.testing.assert_array_equal(all_rows(reader, 100)[0], X)
    assert (len(begun), len(ended)) == (1, 1)
    np.testing.assert_array_equal(all_rows(reader, 100)[0], X)
    assert reader.names == NAMES
    assert (len(begun), len(ended)) == (2, 2)


def test_all_rows_of_a_batch_at_once(tmp_path):
    for kind, made in (WITH_NAMES | WITHOUT_NAMES).items():
        (tmp_path / kind).mkdir()
        reader = reader_of(made(tmp_path / kind))
        assert sum(portion.n_rows for portion in reader.portions(sys.maxsize)) == N


# Errors


@pytest.mark.parametrize(
    "made", [lambda: iter(batches()), make_batches, make_reader, lambda: map(abs, batches())]
)
def test_what_can_be_read_only_once(made):
    with pytest.raises(TypeError, match=r"only once; expected a callable .* fresh one"):
        reader_of(made())


@pytest.mark.parametrize("kind", WITH_NAMES)
def test_unknown_columns(tmp_path, kind):
    with pytest.raises(ValueError, match=r"no column 'z'; the columns are a, b, c, y"):
        list(reader_of(WITH_NAMES[kind](tmp_path), apart=["z"]).portions(100))


@pytest.mark.parametrize("kind", WITHOUT_NAMES)
def test_columns_without_names(tmp_path, kind):
    with pytest.raises(ValueError, match=r"no column 'z', for the columns have no names"):
        list(reader_of(WITHOUT_NAMES[kind](tmp_path), apart=["z"]).portions(100))


def test_no_features_are_left(tmp_path):
    with pytest.raises(ValueError, match="no columns are left to be features"):
        reader_of(write_parquet(tmp_path / "x.parquet"), apart=[*NAMES, "y"])


@pytest.mark.parametrize(
    "batch, message",
    [
        (X[:5, :2], r"batch 2: found 2 columns; expected 3, as in batch 0"),
        (X[:5].astype(float), r"batch 2: found float64; expected float32, as in batch 0"),
        (sp.csr_array(X[:5]), r"batch 2: found sparse rows; expected an array"),
        (X[0], r"batch 2: found an array of shape \(3,\); expected two dimensions"),
        ([[1, 2], [3]], r"batch 2: expected as many entries in every row"),
    ],
)
def test_batches_unlike_the_first(batch, message):
    with pytest.raises(ValueError, match=message):
        list(reader_of(Again([X[:9], X[9:18], batch])).portions(100))


@pytest.mark.parametrize(
    "other, message",
    [
        (table(0, 5).drop_columns("b"), r"batch 1: found no column 'b' among a, c, y; expected a"),
        (table(0, 5, z=Y[:5]), r"batch 1: found also a column 'z'; expected a, b, c, y"),
        (table(0, 5).select(["b", "a", "c", "y"]), r"in the order a, b, c, y, as in batch 0"),
        (
            table(0, 5).set_column(1, "b", pa.array(["x"] * 5)),
            r"batch 1: found string in column 'b'; expected float",
        ),
    ],
)
def test_tables_unlike_the_first(other, message):
    with pytest.raises(ValueError, match=message):
        list(reader_of(Again([table(0, 9), other])).portions(100))


def test_batches_that_are_no_rows():
    with pytest.raises(TypeError, match=r"batch 0: found a str; expected arrays, data frames"):
        list(reader_of(Again(["no"])).portions(100))
    with pytest.raises(TypeError, match=r"the callable returned a ndarray; expected an iterable"):
        list(reader_of(lambda: X).portions(100))


@pytest.mark.parametrize("made", [Again, lambda parts: lambda: parts])
def test_no_rows(made):
    for nothing in ([], [X[:0]]):
        with pytest.raises(ValueError, match="found no batch with rows; expected 1 row at least"):
            list(reader_of(made(nothing)).portions(100))


def test_labels_shorter_than_the_rows():
    source = Again([(X[:9], {"y": Y[:9]}), (X[9:18], {"y": Y[9:17]})])
    with pytest.raises(ValueError, match=r"batch 1: found 8 entries of 'y'; expected .* 9 rows"):
        list(reader_of(source, apart=["y"]).portions(100))


def test_labels_that_become_something_else():
    source = Again([(X[:9], {"y": Y[:9]}), (X[9:18], {"y": Y[9:18].astype(str)})])
    with pytest.raises(ValueError, match=r"batch 1: found strings in column 'y'; expected numbers"):
        list(reader_of(source, apart=["y"]).portions(100))


@pytest.mark.parametrize(
    "second, message",
    [
        (batches()[:-1], r"batch 2: found the end after 900 rows; expected 1000 as in the first"),
        ([*batches(), X[:1]], r"batch 4: found more than 1000 rows; expected 1000 as in the first"),
        ([], r"before batch 0: found the end after 0 rows"),
        ([batch[:, :2] for batch in batches()], r"batch 0: found 2 columns; expected 3"),
    ],
)
def test_passes_unlike_the_first(second, message):
    passes = iter([batches(), second])
    reader = reader_of(lambda: next(passes))
    list(reader.portions(400))
    with pytest.raises(ValueError, match=message):
        list(reader.portions(400))


def test_a_callable_that_returns_the_same_iterator():
    once = iter(batches())
    reader = reader_of(lambda: once)
    list(reader.portions(400))
    with pytest.raises(ValueError, match="returned the same list_iterator again"):
        list(reader.portions(400))


@pytest.mark.parametrize("beside", [False, True])
def test_a_batch_that_is_written_over(beside):
    def refilled():
        buffer = np.empty((100, D))
        for start in range(0, N, 100):
            buffer[:] = X[start : start + 100]
            yield (buffer, {}) if beside else buffer

    with pytest.raises(ValueError, match="batch 0: the array has been changed since it was given"):
        list(reader_of(refilled).portions(40))
    # Nothing is wrong with the same batch once more.
    assert len(all_rows(reader_of(lambda: [X, X]), 300)[0]) == 2 * N


def test_a_pass_that_is_not_completed_says_nothing_of_the_length():
    reader = reader_of(batches)
    with closing(reader.portions(100)) as portions:
        next(portions)
    assert reader.n_rows is None
    assert len(all_rows(reader, 100)[0]) == N


# Files


def test_files_that_are_not_there(tmp_path):
    for name in ("none.parquet", "none-*.parquet"):
        with pytest.raises(FileNotFoundError, match=f"X: .*{name[:4]}"):
            reader_of(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"no file whose name ends in one of \.parquet"):
        reader_of(tmp_path)
    (tmp_path / "year=2001").mkdir()
    with pytest.raises(FileNotFoundError, match=r"folders pass a pyarrow\.dataset\.Dataset"):
        reader_of(tmp_path)


def test_other_files_of_a_folder(tmp_path):
    folder = in_parts(write_parquet, tmp_path / "parts", ".parquet")
    for name in ("_SUCCESS", ".part-0.crc", "_extra.parquet", "readme.txt"):
        (tmp_path / "parts" / name).write_text("?")
    assert reader_of(folder).n_rows == N


@pytest.mark.parametrize("write, suffix", [(write_parquet, ".parquet"), (write_npy, ".npy")])
def test_files_that_vanish(tmp_path, write, suffix):
    reader = reader_of(in_parts(write, tmp_path / "parts", suffix))
    list(reader.portions(100))
    (tmp_path / "parts" / f"part-1{suffix}").unlink()
    with pytest.raises(FileNotFoundError, match=rf"part-1{suffix}: there was a file, and there is"):
        list(reader.portions(100))


@pytest.mark.parametrize(
    "write, suffix", [(write_parquet, ".parquet"), (write_npy, ".npy"), (write_arrow, ".arrow")]
)
def test_files_that_change_their_length(tmp_path, write, suffix):
    reader = reader_of(in_parts(write, tmp_path / "parts", suffix))
    list(reader.portions(100))
    write(tmp_path / "parts" / f"part-1{suffix}", 0, 10)
    with pytest.raises(ValueError, match=rf"part-1{suffix}: found 10 rows; expected 400"):
        list(reader.portions(100))


def test_csv_that_changes_its_length(tmp_path):
    reader = reader_of(in_parts(write_csv, tmp_path / "parts", ".csv"))
    list(reader.portions(100))
    write_csv(tmp_path / "parts" / "part-2.csv", 0, 10)
    with pytest.raises(ValueError, match=r"part-2.csv, batch 0: found the end after 810 rows"):
        list(reader.portions(100))


KINDS = {"parquet": write_parquet, "arrow": write_arrow, "csv": write_csv, "npy": write_npy}


@pytest.mark.parametrize("kind", ["parquet", "arrow", "npy"])
def test_truncated_files(tmp_path, kind):
    folder = tmp_path / "parts"
    in_parts(KINDS[kind], folder, f".{kind}")
    path = folder / f"part-1.{kind}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"X: .*part-1.{kind}: not a readable"):
        reader_of(str(folder))


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_files_that_are_damaged_in_the_middle(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    if kind == "parquet":
        write_parquet(path)
        damage = b"\xff" * 20
    else:
        write_arrow(path, compression="zstd")
        damage = bytes(1000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if kind == "parquet":
        # Where there is no checksum, only what says how long things are tells of damage.
        middle = pq.read_metadata(path).row_group(3).column(1).dictionary_page_offset
    content[middle : middle + len(damage)] = damage
    path.write_bytes(content)
    reader = reader_of(path)
    with pytest.raises(ValueError, match=rf"x.{kind}, batch \d+: cannot be read"):
        list(reader.portions(100))


def test_a_memmap_whose_file_is_cut_short(tmp_path):
    path = write_npy(tmp_path / "x.npy")
    reader = reader_of(np.load(path, mmap_mode="r")[:, 1:])
    os.truncate(path, 1000)
    with pytest.raises(ValueError, match=r"x.npy: found 1000 bytes; expected 12128"):
        list(reader.portions(100))


@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv"])
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.drop_columns("b"), r"1\.\w+: found no column 'b' among a, c, y; .*as in .*0"),
        (lambda t: t.append_column("z", t["y"]), r"1\.\w+: found also a column 'z'"),
    ],
)
def test_files_with_other_columns(tmp_path, kind, change, message):
    for part, t in enumerate([table(0, 100), change(table(100, 200))]):
        path = tmp_path / f"part-{part}.{kind}"
        if kind == "csv":
            t.to_pandas().to_csv(path, index=False)
        elif kind == "arrow":
            with pa.ipc.new_file(str(path), t.schema) as sink:
                sink.write_table(t)
        else:
            pq.write_table(t, path)
    with pytest.raises(ValueError, match=message):
        reader_of(str(tmp_path))


def test_files_with_other_types(tmp_path):
    write_parquet(tmp_path / "0.parquet")
    doubles = table().set_column(1, "b", table()["b"].cast("float64"))
    pq.write_table(doubles, tmp_path / "1.parquet")
    with pytest.raises(ValueError, match=r"1.parquet: found double in column 'b'; expected float"):
        reader_of(tmp_path)


def test_files_with_columns_in_another_order(tmp_path):
    write_parquet(tmp_path / "0.parquet", 0, 600)
    pq.write_table(table(600).select(["y", "c", "a", "b"]), tmp_path / "1.parquet")
    np.testing.assert_array_equal(all_rows(reader_of(tmp_path, apart=["y"]), 100)[0], X)


def test_files_of_two_kinds(tmp_path):
    write_parquet(tmp_path / "0.parquet")
    write_csv(tmp_path / "1.csv")
    with pytest.raises(ValueError, match=r"found parquet in .*0.parquet and csv in .*1.csv"):
        reader_of(tmp_path)


def test_npy_files_that_are_no_tables(tmp_path):
    np.save(tmp_path / "x.npy", X[0])
    with pytest.raises(ValueError, match=r"x.npy: found float32 of shape \(3,\)"):
        reader_of(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", X)
    with pytest.raises(ValueError, match=r"x.npz: neither text nor \.npy"):
        reader_of(tmp_path / "x.npz")


def test_a_dataset_of_files_with_other_columns(tmp_path):
    write_parquet(tmp_path / "0.parquet")
    pq.write_table(table().drop_columns("b"), tmp_path / "1.parquet")
    with pytest.raises(ValueError, match=r"1.parquet: found no column 'b'"):
        reader_of(ds.dataset(tmp_path))


def test_a_dataset_with_partitions_and_a_filter(tmp_path):
    ds.write_dataset(table(), tmp_path, format="parquet", partitioning=["y"])
    dataset = ds.dataset(tmp_path, partitioning=["y"]).filter(ds.field("y") > 1)
    reader = reader_of(dataset, apart=["y"])
    rows, portions = all_rows(reader, 100)
    np.testing.assert_array_equal(rows, np.concatenate([X[Y == 2], X[Y == 3]]))
    assert portions[0].where.endswith("part-0.parquet, batch 0")


def test_a_dataset_whose_file_vanishes(tmp_path):
    reader = reader_of(ds.dataset(in_parts(write_parquet, tmp_path / "parts", ".parquet")))
    (tmp_path / "parts" / "part-1.parquet").unlink()
    with pytest.raises(ValueError, match=r"cannot be read .*part-1.parquet"):
        list(reader.portions(10**6))


def test_a_lazy_frame_whose_file_vanishes(tmp_path):
    reader = reader_of(pl.scan_parquet(write_parquet(tmp_path / "x.parquet")))
    (tmp_path / "x.parquet").unlink()
    with pytest.raises(ValueError, match=r"polars says: .*x.parquet"):
        list(reader.portions(100))


def test_zarr_that_is_damaged(tmp_path):
    array = zarr_of(tmp_path, (100, D))
    chunk = tmp_path / "x.zarr" / "c" / "5" / "0"
    chunk.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"batch 5: rows from 500 on cannot be read"):
        list(reader_of(array).portions(100))


def test_zarr_of_one_dimension():
    with pytest.raises(ValueError, match=r"found a zarr array of shape \(5,\)"):
        reader_of(zarr.zeros(5))


# CSV


@pytest.fixture
def small_blocks(monkeypatch):
    from emfast.data import files

    monkeypatch.setattr(files, "CSV_BLOCK", 2000)


def test_integers_of_csv_that_become_numbers(tmp_path, small_blocks):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,2\n" * 1000 + "1.5,NA\n")
    rows = np.concatenate(
        [np.column_stack([c.to_numpy(False) for c in p.X]) for p in reader_of(path).portions(99)]
    )
    assert rows.shape == (1001, 2)
    assert rows[-1, 0] == 1.5 and np.isnan(rows[-1, 1])


def test_csv_whose_types_change(tmp_path, small_blocks):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,2\n" * 2000 + "1,car\n")
    with pytest.raises(ValueError, match=r"x.csv, batch [34]: cannot be read .*'car'"):
        list(reader_of(path).portions(10**6))


def test_csv_of_files_whose_types_change(tmp_path):
    (tmp_path / "0.csv").write_text("a,b\n1,2\n")
    (tmp_path / "1.csv").write_text("a,b\n1,car\n")
    with pytest.raises(ValueError, match=r"1.csv, batch 0: cannot be read .*'car'"):
        list(reader_of(tmp_path).portions(10**6))


def test_csv_whose_rows_are_too_short(tmp_path, small_blocks):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,2\n" * 2000 + "1\n")
    with pytest.raises(ValueError, match=r"x.csv, batch [34]: cannot be read .*columns"):
        list(reader_of(path).portions(10**6))


def test_csv_with_a_quote_that_is_not_closed(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('a,b\n1,2\n3,"4\n5,6\n')
    with pytest.raises(ValueError, match=r"x.csv: not a readable|x.csv, batch 0: .*1 quotes"):
        list(reader_of(path).portions(100))


def test_csv_without_rows(tmp_path):
    (tmp_path / "0.csv").write_text("a,b\n1,2\n")
    (tmp_path / "1.csv").write_text("a,b\n")
    (tmp_path / "2.csv").write_text("a,b\n3,4\n")
    portions = list(reader_of(tmp_path).portions(10))
    assert [portion.X.to_pydict() for portion in portions] == [
        {"a": [1], "b": [2]},
        {"a": [3], "b": [4]},
    ]
    with pytest.raises(ValueError, match="found no batch with rows; expected 1 row at least"):
        list(reader_of(tmp_path / "1.csv").portions(10))
    (tmp_path / "3.csv").write_text("")
    with pytest.raises(ValueError, match=r"3.csv: the file is empty"):
        reader_of(tmp_path)


def test_csv_as_people_write_it(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('\ufeffa, type\r\n 1 , car \r\n2,  \r\n3,"tr\nuck"\r\n', encoding="utf-8")
    portion = next(reader_of(path, apart=["type"]).portions(100))
    assert portion.X.to_pydict() == {"a": [1, 2, 3]}
    assert portion.columns["type"].to_pylist() == ["car", None, "tr\nuck"]


# Memory, files and threads


def open_files(folder):
    """Files there that this process has open, or maps."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    with open("/proc/self/maps") as maps:
        found += [line.split()[-1] for line in maps]
    return sorted(name for name in found if name.startswith(str(folder)))


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="counts the files of Linux")
@pytest.mark.parametrize("kind", WITH_NAMES | WITHOUT_NAMES)
def test_closing_early_closes_files(tmp_path, kind):
    reader = reader_of((WITH_NAMES | WITHOUT_NAMES)[kind](tmp_path))
    before = set(open_files(tmp_path))
    threads = {thread.name for thread in threading.enumerate()}
    portions = reader.portions(50)
    next(portions)
    portions.close()
    # What pyarrow decodes ahead is let go of by another thread.
    deadline = time.monotonic() + 10
    while not before.issuperset(open_files(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert before.issuperset(open_files(tmp_path))
    more = {thread.name for thread in threading.enumerate()} - threads
    # zarr has threads of its own, for all arrays.
    assert all(name.startswith(("zarr", "asyncio")) for name in more)
    assert sum(portion.n_rows for portion in reader.portions(500)) == N


PEAK = """
import re, sys
import numpy, pyarrow.dataset, pyarrow.csv, pyarrow.parquet
if sys.argv[2] in ("polars", "zarr"): __import__(sys.argv[2])
from emfast.data.readers import reader_of
source = {
    "path": lambda path: path,
    "dataset": pyarrow.dataset.dataset,
    "polars": lambda path: sys.modules["polars"].scan_parquet(path),
    "zarr": lambda path: sys.modules["zarr"].open_array(path, mode="r"),
}[sys.argv[2]](sys.argv[1])
# What `resource` tells includes the process that has started this one.
peak = lambda: int(re.search("VmHWM: +(.*) kB", open("/proc/self/status").read().expandtabs())[1])
before = peak()
portions = reader_of(source).portions(2**16)
if len(sys.argv) > 3: portions = list(portions)
print(sum(portion.n_rows for portion in portions))
print((peak() - before) // 1024)
"""


def write_much(path, kind):
    """5,000,000 x 16 float32, which are 320 MB; as CSV, 1,500,000 rows of 250 MB."""
    rows, n_parts = 2**16, 76 if kind != "csv" else 23
    part = np.random.RandomState(0).standard_normal((16, rows)).astype(np.float32)
    names = [f"x{j}" for j in range(16)]
    if kind == "zarr":
        out = zarr.create_array(path, shape=(rows * n_parts, 16), chunks=(rows, 16), dtype="f4")
        for first in range(0, rows * n_parts, rows):
            out[first : first + rows] = part.T
        return rows * n_parts
    schema = pa.schema([(name, pa.float32()) for name in names])
    made = pq.ParquetWriter if kind == "parquet" else pytest.importorskip("pyarrow.csv").CSVWriter
    with made(path, schema) as sink:
        for _ in range(n_parts):
            sink.write_table(pa.table(list(part), names=names))
    return rows * n_parts


def peak_of(*arguments):
    """How many rows are read, and how many MB that needs at most."""
    found = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True, check=True
    )
    return [int(number) for number in found.stdout.split()]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="asks Linux for the peak")
@pytest.mark.parametrize(
    "kind, ways",
    [("parquet", ["path", "dataset", "polars"]), ("csv", ["path"]), ("zarr", ["zarr"])],
)
def test_memory_is_bounded(tmp_path, kind, ways):
    path = str(tmp_path / f"x.{kind}")
    n_rows = write_much(path, kind)
    for way in ways:
        found, peak = peak_of(path, way)
        assert found == n_rows
        assert peak < 160
    if kind == "parquet":
        assert peak_of(path, "path", "all at once")[1] > 320


def test_nothing_optional_is_imported():
    # Some of them are imported by scikit-learn.
    code = (
        "import sys, numpy, sklearn.utils; before = set(sys.modules);"
        "from emfast.data.readers import reader_of;"
        "assert reader_of(numpy.ones((3, 2))) is None;"
        "new = {'pandas', 'pyarrow', 'polars', 'zarr'} & set(sys.modules) - before;"
        "assert not new, new"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_packages_that_are_missing(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "x.parquet")
    frame = pl.LazyFrame({"a": [1.0]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"x.parquet needs pyarrow: pip install 'emfast\[arrow\]"):
        reader_of(path)
    with pytest.raises(ImportError, match=r"a polars.LazyFrame needs pyarrow"):
        reader_of(frame)


def test_checks_hold_for_any_reader():
    class Odd:
        n_rows, names = 5, None

        def portions(self, batch_rows):
            yield Portion(X[:3], "there")

    with pytest.raises(ValueError, match="there: found the end after 3 rows; expected 5 in all"):
        list(Checked(Odd()).portions(10))
