"""How the time of an iteration grows with rows, components, features and threads.

    python benchmarks/scaling.py [--axes rows,components,features,threads] [--families diag,full]
                                 [--work 2e10] [--json FILE]

Every point is as many rows as make about `--work` operations, so that each takes as long as any
other; along the axis of rows, their number is what it is. Components overlap completely: no row is
left out of any sum.
"""

import argparse
from pathlib import Path

import numpy as np

from costs import multiply_adds
from iterations import Times, problem_of, time_iterations
from measure import environment, pin, print_environment, write_json
from peak import highest, measured_peaks
from progress import progress
from workloads import FAMILIES, Workload

AXES = {
    "rows": [10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000],
    "components": [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256],
    "features": [1, 2, 3, 4, 6, 8, 12, 16, 24, 31, 32, 33, 48, 64, 96, 128, 192, 256],
    "threads": [1, 2, 3, 4, 6, 8, 12, 16, 24, 32],
}
# Features and components where they are not what varies.
ALONG_ROWS = (8, 8)
ALONG_COMPONENTS = {"full": 8}
FEATURES = 16
COMPONENTS = 8
ALONG_THREADS = {
    "diag": (64, 64),
    "full": (32, 16),
    "tied": (64, 16),
    "spherical": (16, 16),
    "bernoulli": (784, 10),
}
# What an exp, a maximum and a sum cost beside multiply-adds, to choose the number of rows.
OPERATIONS_OF_A_RESPONSIBILITY = 40


def rows_for(family: str, D: int, K: int, work: float, max_numbers: int) -> int:
    """As many rows as make about `work` operations, but no more numbers than `max_numbers`."""
    per_row = 2 * multiply_adds(family, D, K) + OPERATIONS_OF_A_RESPONSIBILITY * K
    # Fewer rows than components or features would leave no covariance regular.
    return max(4 * max(D, K), min(int(work / per_row), max_numbers // D))


def points(axis: str, family: str, work: float, max_numbers: int, max_threads: int) -> list[tuple]:
    """(workload, threads) of every point of a curve."""
    values, found = AXES[axis], []
    if axis == "threads":
        values = sorted({value for value in values if value < max_threads} | {max_threads})
    for value in values:
        D, K, threads = FEATURES, COMPONENTS, max_threads
        if axis == "rows":
            D, K = ALONG_ROWS
            if value * D > max_numbers:
                continue
        elif axis == "components":
            D, K = ALONG_COMPONENTS.get(family, FEATURES), value
        elif axis == "features":
            D = value
        else:
            (D, K), threads = ALONG_THREADS[family], value
        N = value if axis == "rows" else rows_for(family, D, K, work, max_numbers)
        found.append((Workload(family, N, D, K, separation=0.0), threads))
    return found


class Pool:
    """Numbers that all `workloads` take their rows from, so that none waits for its data."""

    def __init__(self, workloads: list[Workload]):
        size = max(workload.n_samples * workload.n_features for workload in workloads)
        generator = np.random.default_rng(0)
        self.normal = generator.standard_normal(size)
        self.binary = (generator.integers(0, 4, size, np.uint8) == 0).view(np.uint8)
        self.of_dtype = {"float64": self.normal}

    def rows(self, workload: Workload, dtype: str) -> np.ndarray:
        if dtype not in self.of_dtype:
            self.of_dtype[dtype] = self.normal.astype(dtype)
        numbers = self.binary if workload.family == "bernoulli" else self.of_dtype[dtype]
        shape = (workload.n_samples, workload.n_features)
        return numbers[: shape[0] * shape[1]].reshape(shape)


def measure_curves(curves: list[dict], pool: Pool, dtype: str, passes: int, seconds: float) -> None:
    """Fill in the times of all points; several passes, so that a disturbance is of one only."""
    steps = passes * sum(len(curve["points"]) for curve in curves)
    with progress(steps) as step:
        for _ in range(passes):
            for curve in curves:
                for point in curve["points"]:
                    workload, threads = point["workload"], point["threads"]
                    step(f"{curve['axis']}: {workload}, {threads} threads")
                    X = pool.rows(workload, dtype)
                    problem, model = problem_of(workload, X, workload.start(X), threads)
                    time_iterations(problem, model, point["times"], seconds=seconds, least=2)


def plain(point: dict, axis: str) -> dict:
    """A point as it stands in the file of results."""
    workload, threads = point["workload"], point["threads"]
    counted = (
        2.0
        * workload.n_samples
        * multiply_adds(workload.family, workload.n_features, workload.n_components)
    )
    value = {
        "rows": workload.n_samples,
        "components": workload.n_components,
        "features": workload.n_features,
        "threads": threads,
    }
    return {
        "value": value[axis],
        "workload": workload.as_dict(),
        "threads": threads,
        "flops": counted,
        **point["times"].summary(),
    }


def print_curve(curve: dict) -> None:
    print(f"\n{curve['axis']}, {curve['family']}:")
    print(f"  {curve['axis']:>10} {'rows':>9} {'ms':>9} {'M-step':>7} {'ns/row':>10} {'GF/s':>6}")
    for point in curve["points"]:
        N, ms = point["workload"]["n_samples"], point["least_ms"]
        print(
            f"  {point['value']:>10} {N:>9} {ms:>9.3f} {point['mstep_ms']:>7.3f} "
            f"{1e6 * ms / N:>10.3f} {point['flops'] / ms / 1e6:>6.1f}"
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axes", default=",".join(AXES), help="comma-separated")
    parser.add_argument("--families", default=",".join(FAMILIES), help="comma-separated")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--work", type=float, default=2e10, help="operations of an iteration")
    parser.add_argument("--max-numbers", type=float, default=8e7, help="in the data at most")
    parser.add_argument("--passes", type=int, default=2, help="over all points")
    parser.add_argument("--seconds", type=float, default=0.3, help="of a point in a pass")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", type=Path, default=None, help="where to write the raw results")
    arguments = parser.parse_args()
    for name, known in (("axes", AXES), ("families", FAMILIES)):
        found = getattr(arguments, name).split(",")
        if not set(found) <= set(known):
            parser.error(f"--{name}: found {','.join(found)!r}; expected some of {list(known)}")
        setattr(arguments, name, found)
    least = AXES["rows"][0] * ALONG_ROWS[0]
    if arguments.max_numbers < least:
        parser.error(f"--max-numbers: found {arguments.max_numbers:g}; expected at least {least}")
    return arguments


def main() -> int:
    arguments = parse()
    threads = pin(arguments.threads)
    facts = environment(threads)
    print_environment(facts)
    max_numbers = int(arguments.max_numbers)
    curves = []
    for axis in arguments.axes:
        for family in arguments.families:
            found = points(axis, family, arguments.work, max_numbers, threads)
            listed = [{"workload": row, "threads": n, "times": Times()} for row, n in found]
            curves.append({"axis": axis, "family": family, "points": listed})
    before = measured_peaks([arguments.dtype], threads)
    pool = Pool([point["workload"] for curve in curves for point in curve["points"]])
    measure_curves(curves, pool, arguments.dtype, arguments.passes, arguments.seconds)
    peaks = highest(before, measured_peaks([arguments.dtype], threads))
    for curve in curves:
        curve["points"] = [plain(point, curve["axis"]) for point in curve["points"]]
        print_curve(curve)
    write_json(
        arguments.json,
        {
            "kind": "scaling",
            **facts,
            "dtype": arguments.dtype,
            "peaks": peaks,
            "curves": curves,
        },
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
