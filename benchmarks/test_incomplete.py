"""Iterations on rows with missing entries: what is missing, and what is told."""

import json
import sys

import numpy as np
import pytest

import missing
from missing import FEW, ROWS, patterns


def test_rows_of_one_kind_differ_in_what_is_missing_and_of_the_other_do_not():
    found = patterns(np.zeros((2000, 32)), 0.05)
    for name, entries in found.items():
        assert abs(entries.mean() - 0.05) < 0.03, name
    counts = {name: len(np.unique(entries, axis=0)) for name, entries in found.items()}
    assert counts["at random"] > 500
    assert counts["few patterns"] <= FEW


def test_results_are_told_and_written(monkeypatch, tmp_path, capsys):
    path = tmp_path / "missing.json"
    options = ["--rows", "diag", "--scale", "0.01", "--seconds", "0.01", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["missing.py", *options])
    assert missing.main() == 0
    results = json.loads(path.read_text())
    assert results["kind"] == "missing"
    (row,) = results["rows"]
    assert row["rate"] == ROWS[0].rate
    assert row["cases"]["complete"]["ratio"] == 1
    assert all(case["ratio"] > 0 for case in row["cases"].values())
    assert "10 % missing" in capsys.readouterr().out


def test_rows_that_are_not_there(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["missing.py", "--rows", "nothing like it"])
    with pytest.raises(SystemExit, match="nothing like it"):
        missing.main()
