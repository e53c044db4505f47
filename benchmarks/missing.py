"""An iteration on rows with missing entries, beside one on complete rows.

    python benchmarks/missing.py [--rows full] [--scale 0.1] [--json FILE]

Entries are missing at random, so that nearly all rows with any differ in which they are, or in a
few patterns. Ratios are to the iteration on the same rows without missing entries, in the same run.
"""

import argparse
from dataclasses import dataclass, replace

import numpy as np

from emfast.data import ArraySource, Batch
from emfast.problem import MixtureProblem, Model
from iterations import Times, problem_of, time_iterations
from measure import environment, pin, print_environment, write_json
from progress import progress
from workloads import Workload, add_options

TURNS = 3
FEW = 8


@dataclass(frozen=True)
class Row:
    """A workload, how much of it is missing, and how much longer an iteration may then take."""

    workload: Workload
    rate: float
    goal: float

    def __str__(self) -> str:
        return f"{self.workload}, {100 * self.rate:g} % missing"


ROWS = (
    Row(Workload("diag", 100_000, 16, 16), 0.1, 2.5),
    Row(Workload("spherical", 100_000, 16, 16), 0.1, 2.5),
    Row(Workload("full", 200_000, 32, 16), 0.05, 6.0),
    Row(Workload("tied", 200_000, 32, 16), 0.05, 6.0),
)


def patterns(X: np.ndarray, rate: float) -> dict[str, np.ndarray]:
    """Which entries are missing, by name."""
    generator = np.random.default_rng(2)
    few = generator.random((FEW, X.shape[1])) < rate
    return {
        "at random": generator.random(X.shape) < rate,
        "few patterns": few[generator.integers(FEW, size=len(X))],
    }


def cases(row: Row, threads: int) -> dict[str, tuple[MixtureProblem, Model]]:
    """The problem without missing entries, and with them in several ways, from one start."""
    X = row.workload.rows()
    complete, model = problem_of(row.workload, X, row.workload.start(X), threads)
    problems = {"complete": (complete, model)}
    for name, missing in patterns(X, row.rate).items():
        source = ArraySource(Batch(np.where(missing, np.nan, X), missing=True))
        problems[name] = (replace(complete, source=source), model)
    return problems


def measure(row: Row, threads: int, seconds: float) -> dict[str, dict]:
    """Times of every case; cases take turns."""
    problems = cases(row, threads)
    times = {name: Times() for name in problems}
    for _ in range(TURNS):
        for name, problem in problems.items():
            time_iterations(*problem, times[name], seconds=seconds / TURNS, least=2)
    summaries = {name: each.summary() for name, each in times.items()}
    for summary in summaries.values():
        summary["ratio"] = summary["least_ms"] / summaries["complete"]["least_ms"]
    return summaries


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, 4.0, "root mean square distance between two means")
    parser.add_argument("--seconds", type=float, default=2.0, help="for every measurement")
    arguments = parser.parse_args()
    threads = pin(arguments.threads)
    facts = environment(threads)
    print_environment(facts)
    wanted = [row for row in ROWS if any(part in str(row) for part in arguments.rows.split(","))]
    if not wanted:
        raise SystemExit(
            f"--rows: found {arguments.rows!r}; expected parts of {[str(row) for row in ROWS]}"
        )
    results = []
    print("\n| workload | complete ms | at random | few patterns | goal |\n|---|---|---|---|---|")
    with progress(len(wanted)) as step:
        for row in wanted:
            step(str(row))
            workload = replace(row.workload, separation=arguments.separation)
            row = replace(row, workload=workload.scaled(arguments.scale))
            found = measure(row, threads, arguments.seconds)
            results.append(
                {
                    "workload": row.workload.as_dict(),
                    "rate": row.rate,
                    "goal": row.goal,
                    "cases": found,
                }
            )
            ratios = [f"x {found[name]['ratio']:.2f}" for name in found if name != "complete"]
            cells = [str(row), f"{found['complete']['least_ms']:.1f}", *ratios, f"x {row.goal:g}"]
            print("| " + " | ".join(cells) + " |", flush=True)
    write_json(arguments.json, {"kind": "missing", **facts, "rows": results})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
