from decimal import Decimal

import numpy as np
import pytest

from emfast.data import tables
from emfast.data.tables import MISSING, TableError, read_table

READERS = {"pyarrow": (), "pandas": ("pyarrow",), "csv": ("pyarrow", "pandas")}


@pytest.fixture(params=READERS)
def reader(request, monkeypatch):
    """Every way to read CSV, by hiding the packages that come before."""
    if request.param != "csv":
        pytest.importorskip(request.param)
    found = tables.find_spec
    hidden = READERS[request.param]
    monkeypatch.setattr(tables, "find_spec", lambda n: None if n in hidden else found(n))
    return request.param


@pytest.fixture
def write(tmp_path):
    def write(text, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_csv(reader, write):
    table = read_table(write("a,b,type\n1,2.5,car\n3,4e1,\n5,-6,truck\n"))
    X, names = table.features(without=["type"])
    assert names == ["a", "b"]
    assert X.dtype == np.float64
    assert X.tolist() == [[1, 2.5], [3, 40], [5, -6]]
    assert table.labels("type").tolist() == ["car", None, "truck"]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffa,type\n1,car\n2,\n",
        "a, type\n1, car\n2,\n",
        '"a","type"\r\n 1 , car \r\n2 ,  \r\n',
        '"a","type"\n1,"car"\n2,""\n',
        "a,type\n1,car\n2,NA",
    ],
    ids=["BOM", "spaces", "spaces, quotes and CRLF", "quotes", "no end of line"],
)
def test_csv_as_people_write_it(reader, write, text):
    table = read_table(write(text))
    assert list(table.columns) == ["a", "type"]
    assert table.features(without=["type"])[0].tolist() == [[1], [2]]
    assert table.labels("type").tolist() == ["car", None]


def test_csv_labels_that_are_numbers(reader, write):
    table = read_table(write("a,k,e\n1,0,\n2,,\n3,1,\n"))
    labels = table.labels("k")
    assert labels.dtype.kind == "f"
    np.testing.assert_array_equal(labels, [0, np.nan, 1])
    assert np.isnan(table.labels("e").astype(float)).all()


def test_csv_booleans(reader, write):
    X, _ = read_table(write("a,b\ntrue,false\nfalse,false\n")).features()
    assert X.dtype == bool
    assert X.tolist() == [[True, False], [False, False]]


def test_csv_with_a_blank_line_and_one_row(reader, write):
    assert read_table(write("a,b\n1,2\n\n")).features()[0].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the first line is empty"),
        ("a,b\n", "the table has no rows"),
        ("a,a\n1,2\n", "there are 2 columns 'a'"),
        ("1.5,2\n3,4\n", "the first line has numbers only"),
        ("a,b\n1,2\n1,2,3\n", "not a readable CSV file|line 3 has 3 cells"),
    ],
)
def test_csv_that_is_no_table(reader, write, text, message):
    path = write(text)
    with pytest.raises(TableError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_csv_in_another_encoding(reader, write):
    with pytest.raises(TableError, match="not a readable CSV file"):
        read_table(write("a,straße\n1,2\n", encoding="latin-1"))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("oops", "column 'b': found 'oops' in row 2; expected numbers"),
        ("inf", "column 'b': found inf in row 2; expected finite numbers"),
    ],
)
def test_csv_cells_that_are_no_numbers(reader, write, cell, message):
    table = read_table(write(f"a,b\n1,2\n3,4\n5,{cell}\n7,8\n"))
    with pytest.raises(TableError, match=message):
        table.features()
    assert table.features(without=["b"])[0].tolist() == [[1], [3], [5], [7]]


def test_csv_cells_that_are_missing(reader, write):
    table = read_table(write("a,b\n1,2\n3,\n5,NA\n7,8\n"))
    np.testing.assert_array_equal(table.features()[0][:, 1], [2, np.nan, np.nan, 8])
    with pytest.raises(TableError, match="'b': found a missing value in row 1; expected finite"):
        table.numbers("b")


@pytest.mark.parametrize("cell", MISSING)
def test_spellings_of_a_missing_cell(reader, write, cell):
    table = read_table(write(f"a,b,c\n1,x,2\n2,{cell},{cell}\n4,y,8\n"))
    assert table.labels("b").tolist() == ["x", None, "y"]
    np.testing.assert_array_equal(table.numbers("c", allow_missing=True), [2, np.nan, 8])


def test_missing_among_strings(reader, write):
    table = read_table(write("a,b\n1,\n2,x\n"))
    with pytest.raises(TableError, match="found 'x' in row 1"):
        table.features()


def test_dates_are_no_numbers(reader, write):
    table = read_table(write("a,d\n1,2020-01-02\n"))
    with pytest.raises(TableError, match="column 'd': found '2020-01-02' in row 0"):
        table.features()
    assert table.labels("d").tolist() == ["2020-01-02"]


def test_unknown_columns_and_no_features(reader, write):
    table = read_table(write("a,b\n1,2\n"))
    with pytest.raises(TableError, match="there is no column 'c'; the columns are a, b"):
        table.numbers("c")
    with pytest.raises(TableError, match="there is no column 'c'"):
        table.labels("c")
    with pytest.raises(TableError, match="no columns are left"):
        table.features(without=["a", "b"])


# .npy


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, bool, np.int64, ">f8"])
def test_npy(tmp_path, dtype):
    X = (np.arange(12).reshape(4, 3) % 2).astype(dtype)
    np.save(tmp_path / "x.npy", X)
    found, names = read_table(tmp_path / "x.npy").features()
    assert names == ["x0", "x1", "x2"]
    assert found.dtype == dtype
    assert np.array_equal(found, X)


def test_npy_without_extension_and_without_a_column(tmp_path):
    X = np.arange(6.0).reshape(2, 3)
    with open(tmp_path / "x", "wb") as file:
        np.save(file, X)
    table = read_table(tmp_path / "x")
    assert table.features(without=["x1"])[0].tolist() == [[0, 2], [3, 5]]
    assert table.numbers("x1").tolist() == [1, 4]


def test_npy_of_one_dimension_is_a_column(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(3.0))
    X, names = read_table(tmp_path / "x.npy").features()
    assert (X.tolist(), names) == ([[0.0], [1.0], [2.0]], ["x0"])


def test_large_npy_is_mapped(tmp_path):
    X = np.zeros((tables.MAPPED_SIZE // 8, 2))
    np.save(tmp_path / "x.npy", X)
    assert isinstance(read_table(tmp_path / "x.npy").features()[0], np.memmap)
    X[-1, 1] = np.nan
    np.save(tmp_path / "x.npy", X)
    assert isinstance(read_table(tmp_path / "x.npy").features()[0], np.memmap)
    X[-1, 1] = np.inf
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(TableError, match=f"'x1': found inf in row {len(X) - 1}"):
        read_table(tmp_path / "x.npy").features()


def test_structured_npy(tmp_path):
    rows = np.array([(1.5, 2, "car"), (3.5, 4, "")], [("a", "f8"), ("b", "i4"), ("type", "U5")])
    np.save(tmp_path / "x.npy", rows)
    table = read_table(tmp_path / "x.npy")
    assert table.features(without=["type"])[0].tolist() == [[1.5, 2], [3.5, 4]]
    assert table.labels("type").tolist() == ["car", None]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(()), r"shape \(\); expected two dimensions"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\); expected two dimensions"),
        (np.array([[1, "a"]], object), "not a readable .npy file"),
        (np.array([["a"]]), "an array of <U1; expected numbers"),
        (np.zeros((2, 2), complex), "an array of complex128; expected numbers"),
        (np.zeros((0, 2)), "no rows"),
        (np.zeros((2, 0)), "no columns"),
    ],
)
def test_npy_that_is_no_table(tmp_path, array, message):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(TableError, match=message):
        read_table(tmp_path / "x.npy").features()


@pytest.mark.parametrize("n_rows", [10, tables.MAPPED_SIZE // 8])
def test_damaged_npy(tmp_path, n_rows):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((n_rows, 2)))
    whole = path.read_bytes()
    for length in (3, 9, 50, len(whole) - 5):
        path.write_bytes(whole[:length])
        with pytest.raises(TableError, match=r"x\.npy: not a"):
            read_table(path)


def test_binary_files_are_no_tables(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(TableError, match=r"neither text nor \.npy, Parquet or Arrow"):
        read_table(path)
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "missing.csv")


# Parquet


def write_parquet(path, **columns):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    return path


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    path = write_parquet(
        tmp_path / "x.parquet",
        a=[1.5, 2.5],
        n=[1, 2],
        d=pa.array([Decimal("1.00"), Decimal("2.00")]),
        coded=pa.array([3, 4]).dictionary_encode(),
        type=pa.array(["car", None]).dictionary_encode(),
        k=pa.array([1, None]),
    )
    table = read_table(path)
    X, names = table.features(without=["type", "k"])
    assert names == ["a", "n", "d", "coded"]
    assert X.tolist() == [[1.5, 1, 1, 3], [2.5, 2, 2, 4]]
    assert table.labels("type").tolist() == ["car", None]
    np.testing.assert_array_equal(table.labels("k"), [1, np.nan])


def test_parquet_keeps_float32_and_is_told_by_its_content(tmp_path):
    path = write_parquet(tmp_path / "x", a=np.zeros(2, np.float32))
    assert read_table(path).features()[0].dtype == np.float32


def test_parquet_columns_that_are_no_numbers(tmp_path):
    table = read_table(
        write_parquet(tmp_path / "x.parquet", s=["1", "2"], l=[[1], [2]], b=[True, None])
    )
    with pytest.raises(TableError, match="column 's': found '1' in row 0; expected numbers"):
        table.numbers("s")
    with pytest.raises(TableError, match=r"column 'l': found '\[1\]' in row 0"):
        table.numbers("l")
    with pytest.raises(TableError, match="column 'b': found a missing value in row 1"):
        table.numbers("b")


def test_damaged_parquet(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", a=[1.0, 2.0])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TableError, match="not a readable Parquet file"):
        read_table(path)


def test_parquet_needs_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(TableError, match=r"needs pyarrow: pip install 'emfast\[arrow\]'"):
        read_table(path)


def test_a_quote_that_is_not_closed(tmp_path):
    path = tmp_path / "open.csv"
    path.write_text('a,type\n1,x\n1.5,"x\n2,y\n3,y\n')
    with pytest.raises(TableError, match="quotes"):
        read_table(path)
