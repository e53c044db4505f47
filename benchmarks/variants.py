"""The rows of the table with every instruction set, precision and number of threads.

    python benchmarks/variants.py [--rows full] [--json FILE]

Each instruction set needs a process of its own (``EMFAST_INSTRUCTION_SET``); they take turns, row
by row. Within a process, precisions and numbers of threads take turns.
"""

import argparse
import json
import os
import subprocess
import sys

import numpy as np
from threadpoolctl import threadpool_limits

import emcore
from iterations import Times, problem_of, time_iterations
from measure import environment, pin, print_environment, write_json
from progress import progress
from workloads import Workload, add_options, chosen

DTYPES = ("float64", "float32")
# Binary rows of double precision where they are not bytes.
REALS = "float64 reals"
TURNS = 3


def inputs(workload: Workload) -> dict[str, np.ndarray]:
    """The rows in each precision: where they are bytes in double precision, as reals, too."""
    rows = {dtype: workload.rows(dtype) for dtype in DTYPES}
    if rows["float64"].dtype != np.float64:
        # Precisions are compared on reals: bytes are an eighth of the memory.
        rows[REALS] = rows["float64"].astype(np.float64)
    return rows


def measure_here(workload: Workload, threads: list[int], seconds: float) -> list[dict]:
    """Times with this process's instruction set."""
    cases = []
    for dtype, X in inputs(workload).items():
        for count in threads:
            problem = problem_of(workload, X, workload.start(X), count)
            case = {"dtype": dtype, "threads": count, "instruction_set": emcore.instruction_set}
            cases.append((case, problem, Times()))
    for _ in range(TURNS):
        for _, problem, times in cases:
            time_iterations(*problem, times, seconds=seconds / TURNS, least=2)
    return [{**case, **times.summary()} for case, _, times in cases]


def measure_elsewhere(
    name: str, workload: Workload, threads: list[int], seconds: float
) -> list[dict]:
    """Times with another instruction set, in a process of its own."""
    request = {**workload.__dict__, "threads": threads, "seconds": seconds}
    variables = {**os.environ, emcore.INSTRUCTION_SET_VARIABLE: name}
    result = subprocess.run(
        [sys.executable, __file__, "--worker", json.dumps(request)],
        env=variables,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(result.stdout)


def worker(request: str) -> int:
    """Measure what `request` says and print it as JSON."""
    workload = json.loads(request)
    threads, seconds = workload.pop("threads"), workload.pop("seconds")
    with threadpool_limits(max(threads)):
        print(json.dumps(measure_here(Workload(**workload), threads, seconds)))
    return 0


def ratios(cases: list[dict]) -> dict[str, float]:
    """What the table tells of one row: how many times as fast one variant is as another.

    Keys are ``"<instruction set> speed"`` relative to the best instruction set, ``"float32 speed"``
    relative to float64, both of reals, and ``"threads <dtype>"``, all threads relative to one.
    """
    sets = list(dict.fromkeys(case["instruction_set"] for case in cases))
    most = max(case["threads"] for case in cases)
    ms = {
        (case["instruction_set"], case["dtype"], case["threads"]): case["least_ms"]
        for case in cases
    }
    best = sets[0]
    found = {
        f"{name} speed": ms[best, "float64", most] / ms[name, "float64", most] for name in sets[1:]
    }
    of_reals = ms.get((best, REALS, most), ms[best, "float64", most])
    found["float32 speed"] = of_reals / ms[best, "float32", most]
    for dtype in DTYPES:
        found[f"threads {dtype}"] = ms[best, dtype, 1] / ms[best, dtype, most]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, 0.0, "0: nothing is left out")
    parser.add_argument("--seconds", type=float, default=1.0, help="for every measurement")
    parser.add_argument("--worker", default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        return worker(arguments.worker)
    workloads = chosen(arguments.rows, arguments.scale, arguments.separation)
    threads = pin(arguments.threads)
    facts = environment(threads)
    print_environment(facts)
    sets = emcore.runnable_instruction_sets()
    counts = sorted({1, threads})
    rows = []
    with progress(len(workloads) * len(sets)) as step:
        for workload in workloads:
            cases = []
            for name in sets:
                step(f"{workload}, {name}")
                cases += measure_elsewhere(name, workload, counts, arguments.seconds)
            rows.append({"workload": workload.as_dict(), "cases": cases, "ratios": ratios(cases)})
            if len(rows) == 1:
                header = ["workload (N x D, K)", f"{sets[0]} ms", *rows[0]["ratios"]]
                print("\n| " + " | ".join(header) + " |")
                print("|" + "---|" * len(header))
            ms = next(
                case["least_ms"]
                for case in cases
                if case["dtype"] == "float64" and case["threads"] == threads
            )
            cells = [str(workload), f"{ms:.1f}", *(f"{v:.2f}" for v in rows[-1]["ratios"].values())]
            print("| " + " | ".join(cells) + " |", flush=True)
    write_json(arguments.json, {"kind": "variants", **facts, "rows": rows})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
