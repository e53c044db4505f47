"""Every kernel against the best NumPy one can write, an iteration each.

    pytest benchmarks

`compare.py` prints the table; these cases are for pytest-benchmark's comparisons and histories.
"""

import pytest

from emfast.baseline import numpy_em, numpy_em_bernoulli
from emfast.threads import resolve_threads
from iterations import problem_of
from workloads import Workload

WORKLOADS = [
    Workload("spherical", 100_000, 16, 16),
    Workload("diag", 100_000, 16, 16),
    Workload("tied", 50_000, 32, 16),
    Workload("full", 100_000, 8, 8),
    Workload("full", 10_000, 64, 8),
    Workload("bernoulli", 20_000, 256, 10),
]


@pytest.fixture(params=WORKLOADS, ids=str, scope="module")
def workload(request):
    X = request.param.rows()
    return request.param, X, request.param.start(X)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_emfast(benchmark, workload, dtype):
    workload, X, start = workload
    benchmark.group = str(workload)
    problem, model = problem_of(workload, X.astype(dtype), start, resolve_threads(None))

    def iteration():
        return problem.mstep(problem.estep(model), model)

    benchmark(iteration)


def test_numpy(benchmark, workload):
    workload, X, start = workload
    benchmark.group = str(workload)
    if workload.family == "bernoulli":
        X = X.astype("float64")
        benchmark(numpy_em_bernoulli, X, *start, 0)
    else:
        benchmark(numpy_em, X, *start, workload.family, 0)
