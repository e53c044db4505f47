"""What this machine can do at most, measured: multiply-adds per second, bytes read per second.

    python benchmarks/peak.py [--threads 2]

``peak.c`` is compiled by the system's C compiler (``CC``, else ``cc``) for every instruction set
that the kernels are built for. SSE4.2 has no fused multiply-add: its peak is that of products and
sums in pairs.
"""

import argparse
import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from functools import lru_cache
from pathlib import Path

import emcore
from measure import environment, pin, print_environment

SOURCE = Path(__file__).with_name("peak.c")
READ_BYTES = 2**29
FLAGS = {
    "x86_64_v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    "x86_64_v3": ["-march=x86-64-v3"],
    "x86_64_v2": ["-march=x86-64-v2"],
    "plain": ["-march=native"],
}
REAL = {"float64": "double", "float32": "float"}


def compiler() -> str:
    """The C compiler; an error says how to name one."""
    wanted = os.environ.get("CC", "cc")
    if shutil.which(wanted.split()[0]) is None:
        raise SystemExit(
            f"the peak of this machine is measured by a C program: found no compiler {wanted!r}; "
            "expected one on PATH, or named by the environment variable CC"
        )
    return wanted


@lru_cache
def _library(instruction_set: str, dtype: str) -> ctypes.CDLL:
    flags = ["-O3", "-ffp-contract=fast", "-fopenmp", "-shared", "-fPIC", *FLAGS[instruction_set]]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "peak.so"
        command = [*compiler().split(), *flags, f"-DREAL={REAL[dtype]}", str(SOURCE), "-o", target]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, command))} failed:\n{result.stderr}")
        # The file may go once it is loaded.
        library = ctypes.CDLL(str(target))
    library.multiply_add_rate.restype = library.read_rate.restype = ctypes.c_double
    library.multiply_add_rate.argtypes = [ctypes.c_int, ctypes.c_int64]
    library.read_rate.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int]
    return library


def flops_per_second(
    dtype: str, threads: int, instruction_set: str = emcore.instruction_set, seconds: float = 0.4
) -> float:
    """Most floating-point operations per second, a fused multiply-add being two.

    Parameters
    ----------
    dtype : {"float64", "float32"}
    threads : int
    instruction_set : str, one of `emcore.INSTRUCTION_SETS`
    seconds : float, how long to try; the best of ten runs counts
    """
    run = _library(instruction_set, dtype).multiply_add_rate
    rounds = 100_000
    run(threads, rounds)  # wakes the threads
    began = time.perf_counter()
    run(threads, rounds)
    rounds = max(rounds, int(rounds * seconds / 10 / (time.perf_counter() - began)))
    return max(run(threads, rounds) for _ in range(10))


def bytes_per_second(threads: int, n_bytes: int = READ_BYTES) -> float:
    """Most bytes per second read from memory, of an array far larger than caches."""
    rate = _library(emcore.instruction_set, "float64").read_rate(threads, n_bytes, 5)
    if rate == 0:
        raise MemoryError(f"no {n_bytes / 2**20:.0f} MiB to measure the reading of memory with")
    return rate


def measured_peaks(dtypes: list[str], threads: int) -> dict[str, float]:
    """Operations per second by precision, and ``read``, bytes per second."""
    rates = {dtype: flops_per_second(dtype, threads) for dtype in dtypes}
    return {**rates, "read": bytes_per_second(threads)}


def highest(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Of peaks measured before and after a run.

    The clock may change meanwhile, and the higher peak is the stricter judge.
    """
    return {name: max(before[name], after[name]) for name in before}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=None)
    threads = pin(parser.parse_args().threads)
    print_environment(environment(threads))
    counts = sorted({1, threads})
    print("\n| | " + " | ".join(f"{count} thread(s)" for count in counts) + " |")
    print("|" + "---|" * (1 + len(counts)))
    for name in emcore.runnable_instruction_sets():
        for dtype in REAL:
            rates = [flops_per_second(dtype, count, name) / 1e9 for count in counts]
            cells = " | ".join(f"{rate:.0f} GF/s" for rate in rates)
            print(f"| {name} {dtype} | {cells} |", flush=True)
    rates = [bytes_per_second(count) / 1e9 for count in counts]
    print("| read | " + " | ".join(f"{rate:.1f} GB/s" for rate in rates) + " |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
