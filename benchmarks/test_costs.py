"""Counted costs, the data they are counted for, and the measured peak."""

import ctypes

import numpy as np
import pytest

import emcore
import peak
from costs import cost, multiply_adds
from emfast.passes import posterior
from iterations import problem_of
from workloads import FAMILIES, Workload


def products_of_loops(family, D, K):
    """Multiply-adds of one row, by running through the loops."""
    count = 0
    for _ in range(K):
        for i in range(D):
            if family == "full":
                # Row i of P x and of the scatter matrix; its square, and the sum of x.
                count += 2 * (i + 1) + 2
            elif family == "diag":
                # Scale and centre, square; sums of x and of its square.
                count += 4
            else:
                count += 2
    return count + (D + K if family == "spherical" else 0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("D", "K"), [(1, 1), (3, 2), (8, 5)])
def test_multiply_adds_are_those_of_the_loops(family, D, K):
    assert multiply_adds(family, D, K) == products_of_loops(family, D, K)


def test_cost_of_all_rows():
    counted = cost(Workload("diag", 1000, 16, 4), itemsize=4)
    assert counted.flops == 2 * 1000 * 4 * 16 * 4
    assert counted.bytes == 1000 * 16 * 4
    assert counted.exponentials == 4000
    assert counted.seconds(1e6, 1e12) == pytest.approx(counted.flops / 1e6)
    assert counted.seconds(1e12, 1e3) == pytest.approx(counted.bytes / 1e3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("D", [1, 128])
def test_no_responsibility_is_negligible_at_separation_0(family, D):
    K = 8
    workload = Workload(family, 3000, D, K, separation=0.0)
    X = workload.rows()
    problem, model = problem_of(workload, X, workload.start(X), 1)
    responsibilities = np.empty((len(X), K))
    posterior(
        problem.latent,
        problem.emission,
        model,
        problem.source.batch,
        1,
        responsibilities=responsibilities,
    )
    assert responsibilities.min() > 1e-6


@pytest.mark.parametrize("name", emcore.runnable_instruction_sets())
def test_peak_of_every_instruction_set_is_measured(name):
    rates = {dtype: peak.flops_per_second(dtype, 1, name, seconds=0.01) for dtype in peak.REAL}
    # No processor makes fewer operations than one in a microsecond, nor more than 10^13 on a core.
    assert all(1e6 < rate < 1e13 for rate in rates.values())


def test_reading_is_measured():
    assert 1e6 < peak.bytes_per_second(1, 2**22) < 1e13


def test_missing_compiler_is_named(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(SystemExit, match=r"found no compiler 'no-such-compiler'.*variable CC"):
        peak.compiler()


def test_failing_compiler_tells_what_it_said(monkeypatch, tmp_path):
    broken = tmp_path / "peak.c"
    broken.write_text("#error this is not a program\n")
    monkeypatch.setattr(peak, "SOURCE", broken)
    monkeypatch.setattr(ctypes, "CDLL", None)
    with pytest.raises(SystemExit, match="this is not a program"):
        peak._library.__wrapped__("plain", "float64")
