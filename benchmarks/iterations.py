"""emfast's own iterations, timed part by part."""

import time
from dataclasses import dataclass, field

import numpy as np

from emfast.passes import Model
from emfast.problems.grid import GridProblem
from emfast.threads import SingleThreadedBlas
from workloads import Workload


@dataclass
class Times:
    """Seconds of the E-steps and M-steps of a run."""

    estep: list[float] = field(default_factory=list)
    mstep: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """Milliseconds: least and median of an iteration, and of the M-step the least."""
        total = 1e3 * np.add(self.estep, self.mstep)
        return {
            "least_ms": float(total.min()),
            "median_ms": float(np.median(total)),
            "mstep_ms": 1e3 * min(self.mstep),
            "repeats": len(total),
        }


def problem_of(
    workload: Workload, X: np.ndarray, start: tuple[np.ndarray, ...], n_threads: int
) -> tuple[GridProblem, Model]:
    """A workload as the driver takes it."""
    latent, emission, model = workload.parts(start)
    return GridProblem(latent, emission, workload.source(X), n_threads), model


def time_iterations(
    problem: GridProblem, model: Model, times: Times, *, seconds: float, least: int = 3
) -> Times:
    """Repeat one iteration from `model` for about `seconds`, at least `least` times.

    The first, which warms caches and thread pools up, is not counted.
    """
    deadline = time.perf_counter() + seconds
    with SingleThreadedBlas():
        _iteration(problem, model, Times())
        count = 0
        while count < least or time.perf_counter() < deadline:
            _iteration(problem, model, times)
            count += 1
    return times


def _iteration(problem: GridProblem, model: Model, times: Times) -> None:
    began = time.perf_counter()
    statistics = problem.estep(model)
    between = time.perf_counter()
    problem.mstep(statistics, model)
    times.mstep.append(time.perf_counter() - between)
    times.estep.append(between - began)
