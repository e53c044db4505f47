"""The comparison: peers that agree, that are missing, that fail, that are wrong."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

import compare
import peers
from dependent import ChainWorkload, RegressionWorkload
from peers import PEERS, Outcome, Peer, PeerFailure
from workloads import FAMILIES, Workload


def row_of(workload, names, dtype="float64"):
    results = compare.measure(workload, names, n_iter=3, repeats=1, threads=1, dtype=dtype)
    return compare.judge(workload, results, dtype)


def run_main(monkeypatch, tmp_path, *options):
    """Exit status and results of the command on one small row."""
    path = tmp_path / "results" / "compare.json"
    small = [Workload("diag", 400, 3, 2)]
    monkeypatch.setattr(compare, "chosen", lambda *arguments: small)
    monkeypatch.setattr(
        sys, "argv", ["compare.py", "--repeats", "1", "--json", str(path), *options]
    )
    return compare.main(), json.loads(path.read_text())


def peer_off_by(relative):
    """A peer that computes as NumPy does, and then adds to the log-likelihood."""

    def run(*arguments):
        seconds, log_likelihood = peers.numpy(*arguments)
        return Outcome(seconds, lambda: log_likelihood() * (1 + relative))

    return run


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("family", FAMILIES)
def test_exact_peers_agree_for_every_family(family, dtype):
    workload = Workload(family, 2000, 5, 3)
    row = row_of(workload, ["emfast", "numpy", "sklearn"], dtype)
    assert not row["void"]
    assert row["spread"] <= compare.AGREEMENT[dtype]
    expected = {"emfast", "numpy"} if family == "bernoulli" else {"emfast", "numpy", "sklearn"}
    assert set(row["results"]) == expected


def test_regressions_agree_with_numpy():
    workload = RegressionWorkload("regression", 3000, 4, 3)
    row = row_of(workload, ["emfast", "numpy", "sklearn"])
    assert not row["void"]
    assert set(row["results"]) == {"emfast", "numpy"}


@pytest.mark.parametrize("covariance_type", ["diag", "full"])
def test_sequences_are_scaled_and_run(covariance_type):
    workload = ChainWorkload("hmm", 9000, 2, 3, covariance_type=covariance_type, n_sequences=90)
    smaller = workload.scaled(0.2)
    assert (smaller.n_samples, smaller.n_sequences) == (1800, 18)
    assert workload.scaled(0.0001).n_sequences == {"full": 3, "diag": 15}[covariance_type]
    results = row_of(smaller, ["emfast", "numpy", "sklearn"])["results"]
    assert set(results) == {"emfast"}
    assert np.isfinite(results["emfast"]["log_likelihood"])


def test_times_are_of_single_iterations():
    row = row_of(Workload("diag", 500, 2, 2), ["emfast", "numpy", "sklearn"])
    # Of three iterations, the first is told apart from the start by scikit-learn's loop alone.
    assert {peer: len(result["ms"]) for peer, result in row["results"].items()} == {
        "emfast": 2,
        "numpy": 2,
        "sklearn": 3,
    }


def test_wrong_peer_voids_the_row_and_fails_the_command(monkeypatch, tmp_path, capsys):
    wrong = Peer(peer_off_by(1e-7), "numpy")
    monkeypatch.setitem(PEERS, "numpy", wrong)
    status, results = run_main(monkeypatch, tmp_path, "--peers", "emfast,numpy")
    assert status == 1
    assert results["rows"][0]["void"]
    printed = capsys.readouterr()
    assert "void" in printed.out
    assert "diag 400 x 3, 2: log-likelihoods differ by 1.0e-07" in printed.err


def test_a_log_likelihood_that_is_not_a_number_voids_the_row(monkeypatch):
    monkeypatch.setitem(PEERS, "numpy", Peer(peer_off_by(np.nan), "numpy"))
    assert row_of(Workload("diag", 400, 3, 2), ["emfast", "numpy"])["void"]


def test_deviation_of_an_inexact_peer_is_told_and_voids_nothing(monkeypatch):
    other = Peer(peer_off_by(1e-4), "numpy", exact=False)
    monkeypatch.setitem(PEERS, "other", other)
    row = row_of(Workload("diag", 400, 3, 2), ["emfast", "other"])
    assert not row["void"]
    # The log-likelihood is negative: further below it is lower.
    assert row["results"]["other"]["deviation"] == pytest.approx(-1e-4, rel=1e-3)
    assert "-1e-04" in compare.line(row, ["emfast", "other"])


def test_missing_peer_is_named_and_skipped(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(PEERS, "daal4py", replace(PEERS["daal4py"], module="no_such_module"))
    status, results = run_main(monkeypatch, tmp_path, "--peers", "emfast,numpy,daal4py")
    assert status == 0
    assert results["missing"] == ["daal4py"]
    assert set(results["rows"][0]["results"]) == {"emfast", "numpy"}
    assert "daal4py: not installed, skipped" in capsys.readouterr().out


@pytest.mark.parametrize("when", ["run", "score"])
def test_peer_that_fails_is_named_and_leaves_the_others(monkeypatch, tmp_path, capsys, when):
    def fail(*arguments):
        raise PeerFailure("it is singular")

    def run(*arguments):
        return fail() if when == "run" else Outcome([1.0], fail)

    monkeypatch.setitem(PEERS, "other", Peer(run, "numpy", exact=False))
    status, results = run_main(monkeypatch, tmp_path, "--peers", "other,emfast,numpy")
    assert status == 0
    assert results["rows"][0]["results"]["other"] == {"failure": "it is singular"}
    printed = capsys.readouterr()
    assert "diag 400 x 3, 2: other: it is singular" in printed.err
    rows = [line for line in printed.out.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1


def test_unknown_peer_is_an_error_that_lists_the_known(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_main(monkeypatch, tmp_path, "--peers", "emfast,nobody")
    assert "found ['nobody']; expected names among ['emfast'" in capsys.readouterr().err
