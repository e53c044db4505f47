"""What a bug report needs to say."""

import platform
import sys
from importlib.metadata import version

import emcore
from emfast.threads import resolve_threads


def show_versions() -> None:
    """Print versions, instruction set, OpenMP runtime and threads."""
    for name, value in describe().items():
        print(f"{name:>20}: {value}")


def describe() -> dict[str, str]:
    """What `show_versions` prints."""
    facts = {"python": sys.version.split()[0], "platform": platform.platform()}
    for package in ("emfast", "numpy", "scipy", "scikit-learn"):
        facts[package] = version(package)
    facts["instruction set"] = emcore.instruction_set
    facts["instruction sets"] = ", ".join(emcore.runnable_instruction_sets())
    standard = emcore.openmp_version()
    facts["OpenMP"] = f"standard {standard}" if standard else "none, kernels run on one thread"
    facts["OpenMP runtime"] = _openmp_runtime()
    facts["threads"] = str(resolve_threads(None))
    return facts


def _openmp_runtime() -> str:
    """The OpenMP libraries that are loaded now."""
    from threadpoolctl import threadpool_info

    # Loads the kernels, so that their runtime is seen.
    emcore.kernels("float64")
    found = [info for info in threadpool_info() if info["user_api"] == "openmp"]
    return "; ".join(f"{info['prefix']} ({info['filepath']})" for info in found) or "none"
