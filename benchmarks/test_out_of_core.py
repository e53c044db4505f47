"""The benchmark of rows that are not in memory, on few of them."""

import json
import os
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

import out_of_core

PARTS = {
    "decoding": {"seconds": [3.0, 2.0], "cpu_seconds": [2.5, 1.5]},
    "computing": {"seconds": [0.5, 0.4], "cpu_seconds": [0.9, 0.8]},
    "mapped": {"seconds": [0.6, 0.5], "cpu_seconds": [1.0, 1.0]},
    "streamed": {"seconds": [6.0, 5.5], "cpu_seconds": [9.0, 9.5], "peak_mb": 900.0},
}


def test_limits_and_ratios():
    found = out_of_core.judge(PARTS, 10.0, 2)
    assert found["limits"] == {"decoding": 2.0, "computing": 4.0, "processors": 4.75}
    assert found["streamed_ratio"] == pytest.approx(5.5 / 4.75)
    assert found["mapped_ratio"] == pytest.approx(1.25)
    assert found["streamed_peak_mb"] == 900.0


def test_what_is_above_a_limit_is_named():
    row = {"compression": "none", **out_of_core.judge(PARTS, 10.0, 2)}
    assert out_of_core.complaints(row) == ["none: mapped_ratio is 1.25; at most 1.1"]
    slow = {**row, "streamed_ratio": 1.4, "streamed_peak_mb": 2000.0, "mapped_ratio": float("nan")}
    assert len(out_of_core.complaints(slow)) == 3


def test_files_have_the_same_rows_whatever_the_compression(tmp_path, monkeypatch):
    monkeypatch.setattr(out_of_core, "FILE_ROWS", 1000)
    monkeypatch.setattr(out_of_core, "GROUP_ROWS", 300)
    rows = {}
    for compression in out_of_core.COMPRESSIONS:
        folder = tmp_path / compression
        folder.mkdir()
        paths = out_of_core.write_parquet(folder, 2500, compression, str)
        files = [pq.ParquetFile(path).metadata for path in paths]
        assert [file.num_rows for file in files] == [1000, 1000, 500]
        assert files[0].num_row_groups == 4
        chunk = files[0].row_group(0).column(0)
        assert chunk.compression == {"none": "UNCOMPRESSED", "snappy": "SNAPPY"}[compression]
        rows[compression] = np.vstack([pq.read_table(path).to_pandas() for path in paths])
    assert rows["none"].dtype == np.float32
    assert np.array_equal(rows["none"], rows["snappy"])
    npy = tmp_path / "rows.npy"
    assert out_of_core.write_npy(npy, paths[0]) == 1000
    assert np.array_equal(np.load(npy), rows["none"][:1000])


def test_all_parts_on_few_rows(tmp_path, monkeypatch):
    results = tmp_path / "results.json"
    folder = tmp_path / "files"
    folder.mkdir()
    options = "--quick --rows 3000 --passes 2 --rounds 1 --threads 1"
    options = [*options.split(), "--folder", str(folder), "--json", str(results)]
    monkeypatch.setattr(sys, "argv", ["out_of_core", *options])
    cpus = os.sched_getaffinity(0)
    try:
        assert out_of_core.main() == 0
    finally:
        # Scripts keep their process to as many CPUs as they use threads.
        os.sched_setaffinity(0, cpus)
    assert list(folder.iterdir()) == []
    for row in json.loads(results.read_text())["results"]:
        parts = row["parts"]
        assert parts["decoding"]["rows"] == 3000
        for part in parts.values():
            assert len(part["seconds"]) == len(part["cpu_seconds"]) == 2
        # The same rows and the same start, wherever the rows are.
        found = {parts[name]["log_likelihood"] for name in ("computing", "mapped", "streamed")}
        assert len(found) == 1


def test_too_little_room_is_told_beforehand(tmp_path, monkeypatch, capsys):
    options = ["--rows", str(10**15), "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["out_of_core", *options])
    with pytest.raises(SystemExit):
        out_of_core.main()
    assert "GB free; expected at least" in capsys.readouterr().err
