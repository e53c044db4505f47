"""Results of every script, drawn from the files they write."""

import json
import os
import sys

import pytest

import cluster_model
import compare
import overhead
import plots
import roofline
import scaling
import variants
from workloads import Workload

SCRIPTS = {
    "compare": (compare, ["--peers", "emfast,numpy", "--repeats", "1"]),
    "roofline": (roofline, ["--seconds", "0.01"]),
    "variants": (variants, ["--seconds", "0.01"]),
    "scaling": (
        scaling,
        ["--work", "1e5", "--max-numbers", "1e5", "--passes", "1", "--seconds", "0"],
    ),
    "cluster_model": (cluster_model, ["--quick"]),
}


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a script on small rows; the path of its file of results."""
    monkeypatch.setattr(scaling, "AXES", {**scaling.AXES, "components": [2], "features": [1, 2]})
    small = [Workload("diag", 400, 3, 2), Workload("bernoulli", 400, 3, 2)]

    def run(script, options):
        path = tmp_path / "results.json"
        if hasattr(script, "chosen"):
            monkeypatch.setattr(script, "chosen", lambda *arguments: small)
        monkeypatch.setattr(sys, "argv", [script.__name__, *options, "--json", str(path)])
        assert script.main() == 0
        return path

    # Scripts keep their process to as many CPUs as they use threads.
    cpus = os.sched_getaffinity(0)
    yield run
    os.sched_setaffinity(0, cpus)


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_picture_of_every_kind(run, kind):
    path = run(*SCRIPTS[kind])
    assert json.loads(path.read_text())["kind"] == kind
    picture = plots.draw(path)
    assert picture == path.with_suffix(".png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_kind_without_picture_draws_nothing(run):
    path = run(overhead, ["--iterations", "20"])
    results = json.loads(path.read_text())
    assert plots.draw(path) is None
    for row in results["rows"]:
        assert set(row["us"]) == set(overhead.PARTS)
        assert 0 < row["us"]["kernel"] < row["us"]["iteration"]


def test_ratios_of_variants():
    ms = {("a", "float64", 1): 20.0, ("a", "float64", 2): 10.0, ("a", "float32", 1): 12.0}
    ms |= {("a", "float32", 2): 5.0, ("b", "float64", 1): 50.0, ("b", "float64", 2): 25.0}
    cases = [
        {"instruction_set": name, "dtype": dtype, "threads": threads, "least_ms": value}
        for (name, dtype, threads), value in ms.items()
    ]
    assert variants.ratios(cases) == {
        "b speed": 0.4,
        "float32 speed": 2.0,
        "threads float64": 2.0,
        "threads float32": 2.4,
    }


def test_points_make_about_the_same_work():
    for axis in ("components", "features"):
        for family in ("diag", "full"):
            for workload, _ in scaling.points(axis, family, 1e10, 10**10, 2):
                operations = 2 * scaling.multiply_adds(
                    family, workload.n_features, workload.n_components
                )
                work = workload.n_samples * (
                    operations + scaling.OPERATIONS_OF_A_RESPONSIBILITY * workload.n_components
                )
                assert work == pytest.approx(1e10, rel=0.01)
