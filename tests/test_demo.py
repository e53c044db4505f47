"""The demonstration, on few rows: what it prints is computed."""

import re

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

from emfast import cli
from emfast.cli import demo


def test_demo(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert cli.main(["demo", "--output-dir", str(tmp_path), "--rows", "5000"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    # Old Faithful's values, as published.
    for value in ("0.355873", "0.644127", "2.03639", "54.4785", "4.28966", "79.9681"):
        assert value in out
    assert "-1130.263960" in out
    assert "2322.19" in out
    assert (tmp_path / demo.PICTURE).read_bytes().startswith(b"\x89PNG")


def test_cars_and_trucks_are_found(tmp_path, capsys):
    cli.main(["demo", "--output-dir", str(tmp_path), "--rows", "1000"])
    out = capsys.readouterr().out
    for line in ("with the labels", "without labels"):
        car, truck = map(float, re.search(rf"{line} +(\S+) +(\S+)", out).groups())
        assert car == pytest.approx(5, abs=0.15)
        assert truck == pytest.approx(10, abs=0.3)


def test_both_programs_reach_the_same_log_likelihood(tmp_path, capsys):
    arguments = ["demo", "--output-dir", str(tmp_path), "--rows", "20000", "--threads", "1"]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "20,000 x 16 rows" in out
    assert "10 iterations on 1 thread(s)" in out
    numbers = {
        name: [float(value) for value in re.search(rf" {name} +(\S+) +(\S+) +(\S+)", out).groups()]
        for name in ("NumPy", "emfast")
    }
    assert numbers["NumPy"][2] == pytest.approx(numbers["emfast"][2], rel=1e-8)
    ratio = float(re.search(r"emfast is (\S+) times as fast", out).group(1))
    assert ratio == pytest.approx(numbers["NumPy"][0] / numbers["emfast"][0], rel=0.25, abs=0.1)


def test_without_matplotlib(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert cli.main(["demo", "--output-dir", str(tmp_path), "--rows", "1000"]) == 0
    assert "no picture: matplotlib is missing" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["--rows", "5"], "--rows", 2),
        (["--threads", "0"], "--threads", 2),
        (["--output-dir", "/no/such/folder"], "there is no folder", 1),
    ],
)
def test_bad_arguments(arguments, message, status, capsys):
    assert cli.main(["demo", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("emfast: error: ")
    assert err.count("\n") == 1
