"""How near emfast's kernels come to what this machine can do at most.

    python benchmarks/roofline.py [--rows full] [--dtypes float64,float32] [--json FILE]

For every row of the table: multiply-adds and bytes by the algebra (`costs.py`), the time they take
at the rates that `peak.py` measures, the time of an iteration, and the fraction of the peak. The
components overlap completely, so that no row is left out of any sum.
"""

import argparse

from costs import Cost, cost
from iterations import Times, problem_of, time_iterations
from measure import environment, pin, print_environment, write_json
from peak import REAL, highest, measured_peaks
from progress import progress
from workloads import Workload, add_options, chosen

HEADER = (
    "workload (N x D, K)",
    "GFLOP",
    "GB",
    "FLOP/B",
    "exps",
    "limit ms",
    "ms",
    "of which M-step",
    "GF/s",
    "of FMA peak",
)


def measure_row(workload: Workload, dtype: str, threads: int, seconds: float) -> dict:
    """Counts and times of one workload."""
    X = workload.rows(dtype)
    problem, model = problem_of(workload, X, workload.start(X), threads)
    counted = cost(workload, X.itemsize)
    times = time_iterations(problem, model, Times(), seconds=seconds).summary()
    return {
        "workload": workload.as_dict(),
        "input": str(X.dtype),
        **counted._asdict(),
        "intensity": counted.intensity,
        **times,
        "flops_per_second": counted.flops / times["least_ms"] * 1e3,
    }


def compare_to(peaks: dict[str, float], dtype: str, row: dict) -> dict:
    """`row` with its time at the limit and its fraction of the peak."""
    counted = Cost(*(row[field] for field in Cost._fields))
    return {
        **row,
        "limit_ms": 1e3 * counted.seconds(peaks[dtype], peaks["read"]),
        "fraction_of_peak": row["flops_per_second"] / peaks[dtype],
    }


def cells(row: dict) -> list[str]:
    """Of one line of the table."""
    return [
        row["workload"]["name"],
        f"{row['flops'] / 1e9:.2f}",
        f"{row['bytes'] / 1e9:.3f}",
        f"{row['intensity']:.1f}",
        f"{row['exponentials'] / 1e6:.1f}M",
        f"{row['limit_ms']:.1f}",
        f"{row['least_ms']:.1f} ({row['median_ms']:.1f})",
        f"{row['mstep_ms']:.1f}",
        f"{row['flops_per_second'] / 1e9:.0f}",
        f"{100 * row['fraction_of_peak']:.0f} %",
    ]


def print_table(peaks: dict[str, float], dtype: str, rows: list[dict]) -> None:
    print(f"\n{dtype}: peak {peaks[dtype] / 1e9:.0f} GF/s, read {peaks['read'] / 1e9:.1f} GB/s\n")
    print("| " + " | ".join(HEADER) + " |")
    print("|" + "---|" * len(HEADER))
    for row in rows:
        print("| " + " | ".join(cells(row)) + " |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, 0.0, "0: nothing is left out")
    parser.add_argument("--dtypes", default="float64,float32")
    parser.add_argument("--seconds", type=float, default=2.0, help="for every measurement")
    arguments = parser.parse_args()
    dtypes = arguments.dtypes.split(",")
    if not set(dtypes) <= set(REAL):
        parser.error(f"--dtypes: found {arguments.dtypes!r}; expected some of {list(REAL)}")
    workloads = chosen(arguments.rows, arguments.scale, arguments.separation)
    threads = pin(arguments.threads)
    facts = environment(threads)
    print_environment(facts)
    measured = {dtype: [] for dtype in dtypes}
    with progress(2 + len(workloads) * len(dtypes)) as step:
        step("peak")
        before = measured_peaks(dtypes, threads)
        for dtype in dtypes:
            for workload in workloads:
                step(f"{workload} {dtype}")
                row = measure_row(workload, dtype, threads, arguments.seconds)
                measured[dtype].append(row)
        step("peak")
        after = measured_peaks(dtypes, threads)
    peaks = highest(before, after)
    rows = {dtype: [compare_to(peaks, dtype, row) for row in measured[dtype]] for dtype in dtypes}
    for dtype in dtypes:
        print_table(peaks, dtype, rows[dtype])
    write_json(
        arguments.json,
        {
            "kind": "roofline",
            **facts,
            "peaks": peaks,
            "before": before,
            "after": after,
            "rows": rows,
        },
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
