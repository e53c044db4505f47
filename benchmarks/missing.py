"""An iteration on rows with missing entries, beside one on complete rows.

    python benchmarks/missing.py [--rows full] [--scale 0.1] [--json FILE]

Entries are missing at random, so that nearly all rows with any differ in which they are, or in a
few patterns. Ratios are to the iteration on the same rows without missing entries, in the same run.
StepMix, if installed, runs the rows of diagonal covariances with entries missing at random: how
many times as long it takes, and how far its log-likelihood after as many M-steps is from emfast's.
"""

import argparse
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np

from emfast import em
from emfast.data import ArraySource, Batch
from emfast.passes import Model
from emfast.problems.grid import GridProblem
from iterations import Times, problem_of, time_iterations
from measure import environment, pin, print_environment, write_json
from peers import stepmix
from progress import progress
from workloads import Workload, add_options

TURNS = 3
FEW = 8
RANDOM = "at random"
STEPMIX_ITER = 3


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
        RANDOM: generator.random(X.shape) < rate,
        "few patterns": few[generator.integers(FEW, size=len(X))],
    }


def cases(row: Row, threads: int) -> dict[str, tuple[GridProblem, Model]]:
    """The problem without missing entries, and with them in several ways, from one start."""
    X = row.workload.rows()
    complete, model = problem_of(row.workload, X, row.workload.start(X), threads)
    problems = {"complete": (complete, model)}
    for name, missing in patterns(X, row.rate).items():
        source = ArraySource(Batch(np.where(missing, np.nan, X), missing=True))
        problems[name] = (replace(complete, source=source), model)
    return problems


def measure(row: Row, threads: int, seconds: float) -> tuple[dict[str, dict], dict | None]:
    """Times of every case, which take turns, and how StepMix does."""
    problems = cases(row, threads)
    times = {name: Times() for name in problems}
    for _ in range(TURNS):
        for name, problem in problems.items():
            time_iterations(*problem, times[name], seconds=seconds / TURNS, least=2)
    summaries = {name: each.summary() for name, each in times.items()}
    for summary in summaries.values():
        summary["ratio"] = summary["least_ms"] / summaries["complete"]["least_ms"]
    return summaries, beside_stepmix(row.workload, *problems[RANDOM], summaries[RANDOM]["least_ms"])


def beside_stepmix(
    workload: Workload, problem: GridProblem, model: Model, least_ms: float
) -> dict[str, float] | None:
    """Its time and log-likelihood from the same start; None if it is not there or has no model."""
    if find_spec("stepmix") is None:
        return None
    X, emission = problem.source.batch.X, model.emission
    start = model.latent, emission.means, emission.covariances
    peer = stepmix(workload, X, start, STEPMIX_ITER, problem.n_threads)
    if peer is None:
        return None
    ours = em.maximize(problem, model, tol=0, max_iter=STEPMIX_ITER).objective
    theirs = 1e3 * min(peer.seconds)
    difference = abs(peer.log_likelihood() - ours) / abs(ours)
    return {"least_ms": theirs, "ratio": theirs / least_ms, "difference": difference}


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
    print("\n| workload | complete ms | at random | few patterns | goal | StepMix | difference |")
    print("|---|---|---|---|---|---|---|")
    with progress(len(wanted)) as step:
        for row in wanted:
            step(str(row))
            workload = replace(row.workload, separation=arguments.separation)
            row = replace(row, workload=workload.scaled(arguments.scale))
            found, peer = measure(row, threads, arguments.seconds)
            results.append(
                {
                    "workload": row.workload.as_dict(),
                    "rate": row.rate,
                    "goal": row.goal,
                    "cases": found,
                    "stepmix": peer,
                }
            )
            ratios = [f"x {found[name]['ratio']:.2f}" for name in found if name != "complete"]
            cells = [str(row), f"{found['complete']['least_ms']:.1f}", *ratios, f"x {row.goal:g}"]
            cells += [f"x {peer['ratio']:.0f}", f"{peer['difference']:.1e}"] if peer else ["-", "-"]
            print("| " + " | ".join(cells) + " |", flush=True)
    write_json(arguments.json, {"kind": "missing", **facts, "rows": results})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
