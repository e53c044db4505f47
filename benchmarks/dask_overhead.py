"""What Dask costs: the time of an iteration on a cluster beyond that of the workers' passes.

    python benchmarks/dask_overhead.py [--workers 2] [--partitions 64] [--quick] [--json FILE]

On a local cluster of processes with one thread each. A pass is timed on its worker, on all its
partitions, and an iteration waits for the slowest worker. Fails above 60 ms.
"""

import argparse
import time
from pathlib import Path

import dask.array as da
import distributed
import numpy as np

from emfast import GaussianMixture
from emfast.data import distributed as on_workers
from measure import environment, print_environment, write_json

MOST_MS = 60.0


class Watched:
    """Keeps what the last pass asked of which batches, and what its workers said they took."""

    def __init__(self):
        self.asked = None
        self._total = on_workers.Asked.total

    def __enter__(self) -> "Watched":
        def total(partitions, view, asked):
            self.asked = partitions, view, asked
            return self._total(partitions, view, asked)

        on_workers.Asked.total = total
        return self

    def __exit__(self, *error: object) -> None:
        on_workers.Asked.total = self._total


def timed_pass(things, view, asked, repeats):
    """The median time of the pass of a worker, in seconds."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        on_workers.pass_over(things, view, asked, asked.constant)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


def rows_of(n_rows: int, n_partitions: int, n_features: int, n_components: int) -> da.Array:
    """Rows that workers make themselves."""

    def part(block_info=None):
        (first, _), (end, _) = zip(*block_info[None]["array-location"], strict=True)
        rng = np.random.default_rng(first)
        centres = 4 * rng.integers(n_components, size=(end - first, 1))
        return rng.normal(size=(end - first, n_features)) + centres

    sizes = (tuple(map(len, np.array_split(np.arange(n_rows), n_partitions))), (n_features,))
    return da.map_blocks(part, chunks=sizes, dtype=np.float64, meta=np.empty((0, 0)))


def measure(client, arguments) -> dict[str, float]:
    """Milliseconds of an iteration, of the slowest worker's pass, and of the rest; medians."""
    K, D = arguments.components, arguments.features
    rows = rows_of(arguments.rows, arguments.partitions, D, K).persist()
    distributed.wait(rows)
    moments: list[float] = []
    mixture = GaussianMixture(
        K,
        means_init=np.arange(K)[:, None] * np.full(D, 4.0),
        covariances_init=[np.eye(D)] * K,
        weights_init="equal",
        max_iter=arguments.iterations,
        tol=0,
        callback=lambda iteration: moments.append(time.perf_counter()),
    )
    with Watched() as watched:
        mixture.fit(rows)
        partitions, view, asked = watched.asked
        first_rows = partitions.first_rows
        passes = partitions.batches.run(timed_pass, view, asked, 10, each=first_rows)
    iteration, compute = 1e3 * float(np.median(np.diff(moments))), 1e3 * max(passes)
    return {"iteration": iteration, "compute": compute, "overhead": iteration - compute}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--partitions", type=int, default=64)
    parser.add_argument("--rows", type=int, default=640_000)
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("--components", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="few rows and iterations")
    parser.add_argument("--json", type=Path, default=None, help="where to write the raw results")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.iterations = 6400, 10
    facts = environment(arguments.workers)
    print_environment(facts)
    with (
        distributed.LocalCluster(
            n_workers=arguments.workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        found = measure(client, arguments)
    print(
        f"{arguments.workers} workers, {arguments.partitions} partitions, "
        f"{arguments.rows:,} x {arguments.features} rows, {arguments.components} components"
    )
    for name, milliseconds in found.items():
        print(f"{name:<10} {milliseconds:8.1f} ms")
    settings = {name: getattr(arguments, name) for name in ("workers", "partitions", "rows")}
    results = {"kind": "dask_overhead", **facts, "rows": [{**settings, "ms": found}]}
    write_json(arguments.json, results)
    if found["overhead"] > MOST_MS:
        print(f"FAILED: more than {MOST_MS:.0f} ms beyond compute")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
