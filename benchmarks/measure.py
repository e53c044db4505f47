"""Peak memory, threads, and what machine this is."""

import json
import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

import emcore
from emfast.threads import resolve_threads

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
CPU_TIMES = Path("/proc/stat")
# Of the CPUs, what housekeeping of the system may keep busy.
QUIET = 0.1
# Longer than threads without work stay awake.
SPIN_SECONDS = 0.2
PACKAGES = ("emfast", "numpy", "scipy", "scikit-learn", "scikit-learn-intelex")


class PeakMemory:
    """MiB that the process needed at most inside the block beyond what it had at its start.

    ``extra`` is None where the system does not tell (it needs Linux).
    """

    extra: float | None = None

    def __enter__(self) -> "PeakMemory":
        self.supported = CLEAR_REFS.exists()
        if self.supported:
            # 5 resets the high-water mark of the resident set.
            CLEAR_REFS.write_text("5")
            self.before = status_mib("VmRSS")
        return self

    def __exit__(self, *error: object) -> None:
        if self.supported:
            self.extra = max(0.0, status_mib("VmHWM") - self.before)


def status_mib(field: str) -> float:
    """What Linux tells of the memory of this process: VmRSS, VmHWM."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"{STATUS} has no field {field}")


def machine() -> str:
    """Processor, cores and instruction set, in a line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        facts = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        facts = {name.strip(): value.strip() for name, value in facts.items()}
        model = facts.get("model name", model)
        if "cpu family" in facts:
            model += f" (family {facts['cpu family']}, model {facts.get('model', '?')})"
    return f"{model}, {os.cpu_count()} cores, {emcore.instruction_set}"


def pin(n_threads: int | None) -> int:
    """Keep this process to as many CPUs as it has threads; returns the number of threads.

    Single threads are not bound to single CPUs: the threads of BLAS and TBB would inherit the CPU
    of the thread that starts them.
    """
    threads = resolve_threads(n_threads)
    if hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cpus[:threads])
    return threads


def settle() -> None:
    """Wait until the threads that other libraries keep awake after their work have gone to sleep.

    OpenBLAS's spin for a tenth of a second, on CPUs that whatever is measured next needs.
    """
    time.sleep(SPIN_SECONDS)


def busy_cpus(seconds: float = 0.3) -> float | None:
    """CPUs that others keep busy; None where the system does not tell (it needs Linux)."""
    if not CPU_TIMES.exists():
        return None
    before, began = _busy_ticks(), time.monotonic()
    time.sleep(seconds)
    ticks = _busy_ticks() - before
    return ticks / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)


def _busy_ticks() -> int:
    """Clock ticks in user, nice and system mode, of all CPUs together."""
    return sum(map(int, CPU_TIMES.read_text().split(maxsplit=4)[1:4]))


def environment(threads: int) -> dict:
    """Machine, versions and threads, as they stand in every file of results."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    # Loads the kernels, so that their OpenMP runtime is seen.
    emcore.kernels("float64")
    pools = sorted({f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info()})
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "instruction_set": emcore.instruction_set,
        "threads": threads,
        "cpus": cpus,
        "pools": pools,
        "busy_cpus": busy_cpus(),
        "versions": {"python": platform.python_version(), **installed_versions()},
    }


def installed_versions() -> dict[str, str]:
    """Versions of emfast and of the peers that are here."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def print_environment(facts: dict) -> None:
    """Print `environment`, and whether others disturb what is measured."""
    cpus = ", ".join(map(str, facts["cpus"])) or "any"
    print(facts["machine"])
    print(f"{facts['threads']} threads on CPUs {cpus}; {', '.join(facts['pools'])}")
    print(", ".join(f"{name} {number}" for name, number in facts["versions"].items()))
    if not is_quiet(facts):
        print(f"NOT QUIET: other processes keep {facts['busy_cpus']:.1f} CPUs busy")
    sys.stdout.flush()


def is_quiet(facts: dict) -> bool:
    """Whether nothing else ran when `environment` was taken, as far as is known."""
    return facts["busy_cpus"] is None or facts["busy_cpus"] <= QUIET


def write_json(path: Path | None, results: dict) -> None:
    """Write a file of results, if one is wanted."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1, default=_plain) + "\n")


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a file of results")
