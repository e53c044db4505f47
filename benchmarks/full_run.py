"""Every measurement and every picture: what stands in the README and in `benchmarks/results`.

    python benchmarks/full_run.py [--output benchmarks/results] [--quick]

About twenty minutes on two cores, on which nothing else should run. `--quick` measures next to
nothing, to see that all of it works.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent

# Name of the file of results: script, options, and options that make it quick.
RUNS = {
    "compare": ("compare.py", [], ["--scale", "0.01", "--repeats", "1"]),
    "compare_separate": (
        "compare.py",
        ["--separation", "12", "--rows", "diag,full"],
        ["--scale", "0.01", "--repeats", "1", "--rows", "diag 5M"],
    ),
    "compare_float32": (
        "compare.py",
        ["--dtype", "float32"],
        ["--scale", "0.01", "--repeats", "1", "--rows", "x 8,x 16"],
    ),
    "roofline": ("roofline.py", [], ["--scale", "0.01", "--seconds", "0.02"]),
    "variants": (
        "variants.py",
        [],
        ["--scale", "0.01", "--seconds", "0.02", "--rows", "diag 1M,full 1M"],
    ),
    "scaling": (
        "scaling.py",
        [],
        ["--work", "1e7", "--max-numbers", "1e6", "--passes", "1", "--seconds", "0.01"],
    ),
    "cluster_model": ("cluster_model.py", [], ["--quick"]),
    "missing": ("missing.py", [], ["--scale", "0.01", "--seconds", "0.02"]),
    "overhead": ("overhead.py", [], ["--iterations", "50"]),
    "dask_overhead": ("dask_overhead.py", [], ["--quick"]),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=HERE / "results", help="a folder")
    parser.add_argument("--quick", action="store_true", help="measure next to nothing")
    arguments = parser.parse_args()
    failed, began = [], time.monotonic()
    for name, (script, options, quick) in RUNS.items():
        command = [script, *options, *(quick if arguments.quick else [])]
        print(f"\n== {' '.join(command)}\n", flush=True)
        path = arguments.output / f"{name}.json"
        run = subprocess.run([sys.executable, HERE / command[0], *command[1:], "--json", path])
        if run.returncode != 0:
            failed.append(name)
    print("\n== pictures\n", flush=True)
    files = [path for name in RUNS if (path := arguments.output / f"{name}.json").exists()]
    if subprocess.run([sys.executable, HERE / "plots.py", *files]).returncode != 0:
        failed.append("pictures")
    print(f"{(time.monotonic() - began) / 60:.1f} minutes")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
