"""How many passes over the rows EM needs: after all rows, after blocks, after batches.

    python benchmarks/online.py [--rows 200000] [--tol 1e-4] [--quick] [--json FILE]

From the same start, how often every row is read until the mean log-likelihood of all rows is within
`tol` nats of the best that any of the ways has come to: by EM, by SQUAREM (`accelerate=True`; an
extrapolation that is not kept is a pass, too), by incremental EM (`incremental=True`), and by
sweeps of `partial_fit` over a hundred batches. A dash is where it does not come so near within
`MOST` passes, or ends in another maximum. Components overlap, or are separate, or between. The pass
that takes the first statistics counts; the one that scores does not.

Seconds are those of the passes that lead there, without scoring, on whatever else the machine did.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from emfast import GaussianMixture, PoissonMixture
from emfast.datasets import make_gaussian_mixture
from emfast.em import Iteration
from measure import machine, write_json
from progress import progress

# Passes after which nobody waits any longer.
MOST = 400
BATCHES = 100
N_WORKLOADS = 7
WAYS = ("batch", "accelerated", "incremental", "partial_fit")


def workloads(n_rows: int) -> Iterator[tuple[str, np.ndarray, Any]]:
    """By name rows, and an estimator with a start that is given as a whole."""
    for separation, name in ((2, "overlapping"), (4, "between"), (10, "separate")):
        for kind, K, D in (("diag", 8, 8), ("full", 4, 4)):
            X, _ = make_gaussian_mixture(n_rows, D, K, separation=separation, random_state=1)
            start = GaussianMixture(K, covariance_type=kind, random_state=0, max_iter=0).fit(X)
            given = {
                "weights_init": "equal",
                "means_init": X[:K],
                "covariances_init": start.covariances_.mean(axis=0)[None].repeat(K, axis=0),
            }
            yield f"{kind} {K} {name}", X, GaussianMixture(K, covariance_type=kind, **given)
    rng = np.random.default_rng(0)
    rates = rng.gamma(4.0, 1.0, (6, 5))
    counts = rng.poisson(rates[rng.integers(0, 6, n_rows)]).astype(float)
    given = {"weights_init": "equal", "rates_init": counts[:6] + 1.0}
    yield "poisson 6 overlapping", counts, PoissonMixture(6, **given)


def path_of(way: str, X: np.ndarray, estimator: Any) -> tuple[list[float], list[float]]:
    """After every pass the mean log-likelihood of all rows, and the seconds so far."""
    arguments = {"tol": 0.0, "max_iter": MOST}
    scores: list[float] = []
    seconds: list[float] = []
    model = type(estimator)(**{**estimator.get_params(), **arguments})
    scorer = type(estimator)(**{**estimator.get_params(), "max_iter": 0}).fit(X)
    clock = Clock()

    def see(iteration: Iteration) -> bool:
        clock.stop()
        scorer._set_model(iteration.model, np.dtype(float))
        scores.append(scorer.score(X))
        seconds.append(clock.seconds)
        clock.go_on()
        return len(scores) > 20 and scores[-1] - scores[-11] < 1e-8

    if way == "partial_fit":
        batches = np.array_split(X, BATCHES)
        while len(scores) < MOST // 4:
            for batch in batches:
                model.partial_fit(batch)
            clock.stop()
            scores.append(model.score(X))
            seconds.append(clock.seconds)
            clock.go_on()
        return scores, seconds
    model.set_params(
        callback=see, accelerate=way == "accelerated", incremental=way == "incremental"
    )
    model.fit(X)
    return scores, seconds


class Clock:
    """Seconds that go by while it runs."""

    def __init__(self) -> None:
        self.seconds, self._began = 0.0, time.perf_counter()

    def stop(self) -> None:
        self.seconds += time.perf_counter() - self._began

    def go_on(self) -> None:
        self._began = time.perf_counter()


def passes(scores: list[float], best: float, tol: float, first: int) -> int | None:
    """How many lead within `tol`, `first` of them before the first score."""
    near = np.flatnonzero(best - np.array(scores) < tol)
    return int(near[0]) + 1 + first if near.size else None


def compare(n_rows: int, tol: float, step: Callable[[str], None]) -> list[dict[str, Any]]:
    """For every workload passes and seconds of every way."""
    found = []
    for name, X, estimator in workloads(n_rows):
        paths = {}
        for way in WAYS:
            step(f"{name} {way}")
            paths[way] = path_of(way, X, estimator)
        best = max(max(scores) for scores, _ in paths.values())
        row: dict[str, Any] = {"workload": name, "best": best}
        for way, (scores, seconds) in paths.items():
            # The first statistics are a pass by themselves, but for batches that come only once.
            n = passes(scores, best, tol, first=int(way != "partial_fit"))
            row[way] = n
            at = None if n is None else n - 1 - int(way != "partial_fit")
            row[f"{way}_seconds"] = None if at is None else seconds[at]
            row[f"{way}_final"] = scores[-1]
        found.append(row)
    return found


def table(found: list[dict[str, Any]]) -> str:
    lines = [f"| passes | {' | '.join(WAYS)} | log-likelihood |", "|---" * (len(WAYS) + 2) + "|"]
    for row in found:
        cells = [
            "-" if row[way] is None else f"{row[way]} ({row[f'{way}_seconds']:.2f} s)"
            for way in WAYS
        ]
        lines.append(f"| {row['workload']} | {' | '.join(cells)} | {row['best']:.5f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--quick", action="store_true", help="few rows")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    n_rows = 10_000 if options.quick else options.rows
    print(machine())
    with progress(N_WORKLOADS * len(WAYS)) as step:
        found = compare(n_rows, options.tol, step)
    print(table(found))
    settings = {"n_rows": n_rows, "tol": options.tol, "batches": BATCHES}
    write_json(options.json, {"machine": machine(), "settings": settings, "results": found})


if __name__ == "__main__":
    main()
