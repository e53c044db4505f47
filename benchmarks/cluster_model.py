"""How long an iteration takes on 1 to 1000 workers, by what is measured on this machine.

    python benchmarks/cluster_model.py [--cores 16] [--gigabits 10] [--latency 0.25] [--task 1]
                                       [--spread 0.05] [--fan-in 8] [--measure-task] [--quick]
                                       [--json FILE]

Measured: seconds of one core for a row, sizes of messages as `pickle` makes them, the time to pack,
unpack and add statistics, and to make the M-step. Assumed: the network and the scheduler, whose
defaults `docs/scaling.md` gives the sources of. `cluster.py` simulates iterations with these, once
with all rows spread over the workers, and once with as many rows for each of them.
"""

import argparse
import pickle
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from cluster import (
    Cluster,
    Job,
    best_workers,
    closed_form,
    compute_seconds,
    costs_of_a_worker,
    first_to_break,
    simulate,
    usable_cores,
)
from emfast.passes import Expectation
from emfast.threads import SingleThreadedBlas
from iterations import problem_of
from measure import environment, pin, print_environment, write_json
from progress import progress
from scaling import Pool, rows_for
from workloads import Workload

# Workers that curves have points at, and the number of simulations behind each.
WORKERS = [1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000]
DRAWS = 20
# Where all rows, and as many rows for each worker, are the same.
WORKERS_ALIKE = 100


@dataclass(frozen=True)
class Case:
    """What is measured: a family and its size; `rows` is how many all workers have together."""

    family: str
    n_features: int
    n_components: int
    rows: float

    def __str__(self) -> str:
        return f"{self.family} x {self.n_features}, {self.n_components}"


CASES = (
    Case("diag", 16, 16, 1e10),
    Case("diag", 64, 64, 1e9),
    Case("diag", 256, 256, 1e8),
    Case("full", 16, 16, 1e9),
    Case("full", 64, 64, 1e9),
    Case("full", 256, 256, 1e8),
    Case("bernoulli", 784, 10, 1e9),
)
QUICK_CASES = (Case("diag", 4, 2, 1e9), Case("full", 8, 4, 1e8))
# Of the cases, those whose curves are drawn, if they are measured.
DRAWN = ("diag x 16, 16", "diag x 256, 256", "full x 64, 64", "full x 256, 256")


def statistics_numbers(family: str, D: int, K: int) -> int:
    """Numbers in the statistics that a worker sends, 8 bytes each.

    Sums of responsibilities come twice, for the weights and for the emission, and moments with the
    origin that they are taken about. The scatter of tied covariances is known to the client.
    """
    of_components = {
        "diag": 3 * D,
        "spherical": 2 * D + 1,
        "tied": 2 * D,
        "full": 2 * D + D * D,
        "bernoulli": 2 * D,
    }[family]
    return K * (2 + of_components) + (D if family == "bernoulli" else 0)


def parameters_numbers(family: str, D: int, K: int) -> int:
    """Numbers in what the client sends, 8 bytes each: weights, means, covariances, their factors.

    Of tied covariances also the scatter of all rows.
    """
    if family == "bernoulli":
        return K * (1 + D)
    shared = 3 * D * D + 2 * D if family == "tied" else 0
    of_components = {"diag": 2 * D, "spherical": 2, "tied": 0, "full": 2 * D * D}[family]
    return K * (1 + D + of_components) + shared


def sums_numbers(family: str, D: int, K: int) -> int:
    """Numbers in the sums of a block of rows, 8 bytes each; of symmetric matrices the triangle."""
    of_components = {
        "diag": 2 * D,
        "spherical": D + 1,
        "tied": D,
        "full": D + D * (D + 1) // 2,
        "bernoulli": D + 1,
    }[family]
    return 2 + K * (1 + of_components)


def row_bytes(family: str, D: int) -> int:
    """What a row takes in double precision; what is yes or no takes bits, in words of 8 bytes."""
    return 8 * (D // 64 + 1 if family == "bernoulli" else D)


def least_seconds(
    action: Callable[[], object],
    seconds: float,
    least: int = 2,
    clock: Callable[[], float] = time.process_time,
) -> float:
    """The least time of several runs that take about `seconds` together, after a first one.

    Processor time, unless another clock is given: one thread computes, whatever others do.
    """
    action()
    found: list[float] = []
    while len(found) < least or sum(found) < seconds:
        began = clock()
        action()
        found.append(clock() - began)
    return min(found)


def measure_case(case: Case, work: float, seconds: float, dtype: str) -> dict:
    """Sizes of messages, and seconds of one core.

    The time of a row is the slope between two numbers of rows; what is left of the shorter pass is
    of a pass whatever its rows.
    """
    D, K = case.n_features, case.n_components
    n_rows = max(rows_for(case.family, D, K, work, int(8e7)), 16 * max(D, K))
    workload = Workload(case.family, n_rows, D, K, separation=0.0)
    X = Pool([workload]).rows(workload, dtype)
    problem, model = problem_of(workload, X, workload.start(X), 1)
    asked = Expectation(problem.latent, problem.emission, model, 1, problem.constant)
    few = workload.source(X[: n_rows // 4])
    statistics = problem.source.total(asked)
    complete = problem.estep(model)
    message, sent = pickle.dumps(asked, protocol=5), pickle.dumps(statistics, protocol=5)

    def unpack_and_add() -> object:
        return statistics + pickle.loads(sent)

    with SingleThreadedBlas():
        long_pass = least_seconds(lambda: problem.source.total(asked), seconds)
        short_pass = least_seconds(lambda: few.total(asked), seconds)
        row_seconds = (long_pass - short_pass) / (n_rows - few.n_rows)
        pack = least_seconds(lambda: pickle.dumps(asked, protocol=5), seconds / 4)
        of_worker = [
            max(0.0, short_pass - few.n_rows * row_seconds),
            least_seconds(lambda: pickle.loads(message), seconds / 4),
            least_seconds(lambda: pickle.dumps(statistics, protocol=5), seconds / 4),
        ]
        job = Job(
            rows=case.rows,
            row_seconds=row_seconds,
            pass_seconds=sum(of_worker),
            statistics_bytes=len(sent),
            parameters_bytes=len(message),
            pack_seconds=pack,
            add_seconds=least_seconds(unpack_and_add, seconds / 4),
            mstep_seconds=least_seconds(lambda: problem.mstep(complete, model), seconds / 2),
            row_bytes=row_bytes(case.family, D),
            sums_bytes=8 * sums_numbers(case.family, D, K),
        )
    return {
        "name": str(case),
        **asdict(case),
        "job": asdict(job),
        "measured_rows": n_rows,
        "expected_statistics_bytes": 8 * statistics_numbers(case.family, D, K),
        "expected_parameters_bytes": 8 * parameters_numbers(case.family, D, K),
    }


def measure_task(n_tasks: int) -> float:
    """Seconds for each of many tasks of Dask's scheduler that do nothing, on two processes here."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local,
        Client(local) as client,
    ):

        def run() -> None:
            client.gather(client.map(abs, range(n_tasks), pure=False), direct=True)

        return least_seconds(run, 0.0, least=3, clock=time.perf_counter) / n_tasks


def judged(measured: dict, cluster: Cluster) -> dict:
    """A case with what limits the cluster where the client adds, and from how many workers on."""
    job = Job(**measured["job"])
    best = best_workers(job, cluster)
    here = replace(cluster, workers=max(1, round(best)))
    slow = job.mstep_seconds + job.pack_seconds
    return {
        **measured,
        "costs_of_a_worker": costs_of_a_worker(job, cluster),
        "first_to_break": first_to_break(job, cluster),
        "best_workers": best,
        "best_seconds": closed_form(job, here),
        "one_worker_seconds": closed_form(job, replace(cluster, workers=1)),
        "idle_from": idle_from(job, cluster),
        # Where computing takes no longer than what only the client does.
        "mstep_workers": job.rows * job.row_seconds / (cluster.cores * slow),
    }


def idle_from(job: Job, cluster: Cluster) -> int | None:
    """How many workers have so few rows each that some of their cores have none; None if more."""
    for workers in range(1, 10 * WORKERS[-1]):
        if usable_cores(job, replace(cluster, workers=workers)) < cluster.cores:
            return workers
    return None


def curve(measured: dict, cluster: Cluster, weak: bool, draws: int) -> dict:
    """Times over the number of workers: simulated, with the slowest and the memory, and formulas.

    Parameters
    ----------
    weak : bool, whether every worker has as many rows, however many there are
    draws : int, of how much workers are slowed down; the mean is taken
    """
    points = []
    for workers in WORKERS:
        here = replace(cluster, workers=workers)
        job = Job(**measured["job"])
        if weak:
            job = replace(job, rows=job.rows * workers / WORKERS_ALIKE)
        generator = np.random.default_rng(0)
        runs = [simulate(job, here, generator) for _ in range(draws)]
        points.append(
            {
                "workers": workers,
                "seconds": float(np.mean([run.seconds for run in runs])),
                "usable_cores": usable_cores(job, here),
                "compute_seconds": compute_seconds(job, here),
                "slowest_seconds": float(np.mean([run.slowest_seconds for run in runs])),
                "closed_form_seconds": closed_form(job, here),
                "held": max(run.held for run in runs),
            }
        )
    return {
        "case": measured["name"],
        "weak": weak,
        # Of a worker, or of all.
        "rows": measured["rows"] / (WORKERS_ALIKE if weak else 1),
        "fan_in": cluster.fan_in,
        "points": points,
    }


HEADER = (
    "case",
    "rows/s of a core",
    "statistics MB",
    "parameters MB",
    "addition ms",
    "M-step ms",
    "breaks first",
    "workers at best",
    "s there",
    "cores idle from",
)


def print_cases(cases: list[dict]) -> None:
    """A table of what was measured, and what follows."""
    print("\n| " + " | ".join(HEADER) + " |")
    print("|" + "---|" * len(HEADER))
    for case in cases:
        job = case["job"]
        cells = [
            f"{case['name']}, {case['rows']:.0e} rows",
            f"{1 / job['row_seconds']:.3g}",
            f"{job['statistics_bytes'] / 1e6:.3g}",
            f"{job['parameters_bytes'] / 1e6:.3g}",
            f"{1e3 * job['add_seconds']:.3g}",
            f"{1e3 * job['mstep_seconds']:.3g}",
            case["first_to_break"],
            f"{case['best_workers']:.0f}",
            f"{case['best_seconds']:.3g}",
            "-" if case["idle_from"] is None else f"{case['idle_from']} workers",
        ]
        print("| " + " | ".join(cells) + " |")


def print_curves(curves: list[dict]) -> None:
    for each in curves:
        kind = "as many rows a worker" if each["weak"] else "all rows"
        adds = "the client adds" if each["fan_in"] is None else f"workers add {each['fan_in']}"
        print(f"\n{each['case']}, {kind}, {adds}:")
        print("  workers cores         s   compute   slowest   formula  held")
        for point in each["points"]:
            print(
                f"  {point['workers']:>7} {point['usable_cores']:>5} {point['seconds']:>9.3f} "
                f"{point['compute_seconds']:>9.3f} {point['slowest_seconds']:>9.3f} "
                f"{point['closed_form_seconds']:>9.3f} {point['held']:>5}"
            )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=16, help="of a worker")
    parser.add_argument("--gigabits", type=float, default=10.0, help="a second, of every link")
    parser.add_argument("--latency", type=float, default=0.25, help="ms, one way")
    parser.add_argument("--task", type=float, default=1.0, help="ms of the scheduler for a task")
    parser.add_argument("--spread", type=float, default=0.05, help="mean delay of a worker")
    parser.add_argument("--fan-in", type=int, default=8, help="statistics that a worker adds")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument(
        "--measure-task", action="store_true", help="tell what Dask's scheduler takes here, too"
    )
    parser.add_argument("--quick", action="store_true", help="few, small cases and rows")
    parser.add_argument("--json", type=Path, default=None, help="where to write the raw results")
    arguments = parser.parse_args()
    for name in ("cores", "gigabits", "latency", "task"):
        if not getattr(arguments, name) > 0:
            parser.error(f"--{name}: found {getattr(arguments, name)}; expected more than 0")
    if arguments.spread < 0:
        parser.error(f"--spread: found {arguments.spread}; expected at least 0")
    if arguments.fan_in < 2:
        parser.error(f"--fan-in: found {arguments.fan_in}; expected at least 2")
    return arguments


def main() -> int:
    arguments = parse()
    pin(1)
    facts = environment(1)
    print_environment(facts)
    cluster = Cluster(
        workers=1,
        cores=arguments.cores,
        bandwidth=arguments.gigabits * 1e9 / 8,
        latency=1e-3 * arguments.latency,
        task_seconds=1e-3 * arguments.task,
        spread=arguments.spread,
    )
    work, seconds = (1e6, 0.01) if arguments.quick else (2e10, 2.0)
    cases, curves = [], []
    wanted = QUICK_CASES if arguments.quick else CASES
    with progress(len(wanted)) as step:
        for case in wanted:
            step(str(case))
            cases.append(judged(measure_case(case, work, seconds, arguments.dtype), cluster))
    measured_task = (
        measure_task(20 if arguments.quick else 1000) if arguments.measure_task else None
    )
    drawn = [case for case in cases if arguments.quick or case["name"] in DRAWN]
    for case in drawn:
        for weak in (False, True):
            for fan_in in (None, arguments.fan_in):
                here = replace(cluster, fan_in=fan_in)
                curves.append(curve(case, here, weak, DRAWS))
    print_cases(cases)
    print_curves(curves)
    if measured_task is not None:
        print(f"\nDask's scheduler here: {1e3 * measured_task:.3g} ms a task")
    write_json(
        arguments.json,
        {
            "kind": "cluster_model",
            **facts,
            "dtype": arguments.dtype,
            "cluster": asdict(cluster),
            "measured_task_seconds": measured_task,
            "cases": cases,
            "curves": curves,
        },
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
