"""What Python costs: the time of an iteration on very few rows, part by part.

    python benchmarks/overhead.py [--samples 200] [--iterations 2000] [--json FILE]

On one thread. The kernel's own time is that of the one call into compiled code.
"""

import argparse
import time
from pathlib import Path
from unittest import mock

import numpy as np

import emcore
from emfast import em
from emfast.threads import SingleThreadedBlas
from iterations import problem_of
from measure import environment, pin, print_environment, write_json
from workloads import FAMILIES, Workload

PARTS = ("iteration", "kernel", "E-step without kernel", "M-step", "driver")


class Timed:
    """A function that keeps the seconds of its calls."""

    def __init__(self, function):
        self.function, self.seconds = function, []

    def __call__(self, *arguments, **options):
        began = time.perf_counter()
        result = self.function(*arguments, **options)
        self.seconds.append(time.perf_counter() - began)
        return result

    def median_us(self) -> float:
        return 1e6 * float(np.median(self.seconds))


class TimedProblem:
    """A problem whose E-steps and M-steps are timed."""

    def __init__(self, problem):
        self.estep, self.mstep = Timed(problem.estep), Timed(problem.mstep)
        self.objective, self.slack, self.rounding = (
            problem.objective,
            problem.slack,
            problem.rounding,
        )


def measure(workload: Workload, n_iter: int) -> dict[str, float]:
    """Microseconds (medians) of an iteration and its parts."""
    X = workload.rows()
    problem, model = problem_of(workload, X, workload.start(X), 1)
    kernels = emcore.kernels(str(problem.source.dtype))
    moments = []

    def run(problem, iterations):
        moments.clear()
        em.maximize(
            problem,
            model,
            tol=0,
            max_iter=iterations,
            observe=lambda iteration: moments.append(time.perf_counter()),
        )
        return 1e6 * float(np.median(np.diff(moments)))

    with SingleThreadedBlas():
        run(problem, 100)
        iteration = run(problem, n_iter)
        timed, kernel = TimedProblem(problem), Timed(kernels.expectation)
        with mock.patch.object(kernels, "expectation", kernel):
            run(timed, n_iter)
    estep, mstep, inside = (part.median_us() for part in (timed.estep, timed.mstep, kernel))
    values = (iteration, inside, estep - inside, mstep, max(0.0, iteration - estep - mstep))
    return dict(zip(PARTS, values, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--features", type=int, default=2)
    parser.add_argument("--components", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--json", type=Path, default=None, help="where to write the raw results")
    arguments = parser.parse_args()
    facts = environment(pin(1))
    print_environment(facts)
    print("\nmicroseconds, medians\n")
    print("| workload (N x D, K) | " + " | ".join(PARTS) + " |")
    print("|" + "---|" * (1 + len(PARTS)))
    rows = []
    for family in FAMILIES:
        shape = (arguments.samples, arguments.features, arguments.components)
        workload = Workload(family, *shape)
        parts = measure(workload, arguments.iterations)
        rows.append({"workload": workload.as_dict(), "us": parts})
        print(f"| {workload} | " + " | ".join(f"{us:.1f}" for us in parts.values()) + " |")
    write_json(arguments.json, {"kind": "overhead", **facts, "rows": rows})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
