"""The compiled core of emfast: one pass over rows, for every instruction set and precision.

`kernels(dtype)` is the module whose `expectation` runs the pass. Its emissions (`LinearForms`,
`SphericalGaussian`, `DiagGaussian`, `TiedGaussian`, `FullGaussian`, `Bernoulli`,
`LinearRegression`, and for rows with missing entries `IncompleteDiagGaussian`,
`IncompleteTiedGaussian`, `IncompleteFullGaussian`) and latent structures (`MixtureWeights`,
`SideBySide`, `Gate`, and `MarkovChain`, whose pass is `expectation_of_sequences`) carry the
parameters. There is no policy here: arguments are arrays that fit together, and the caller says how
many threads to use.

The instruction set is the best that this processor runs. The environment variable
``EMFAST_INSTRUCTION_SET`` overrides the choice, for tests and bug reports.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

# Rounds for which a thread of libgomp waits for the next pass before it sleeps, some 0.1 to 0.5 ms:
# enough from one iteration to the next. By default it is thirty times as many, which it takes from
# whoever reads the next rows, or from other processes.
PATIENCE = {"GOMP_SPINCOUNT": "10000"}

# What users say of it themselves.
WAITING_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@contextmanager
def _patience() -> Iterator[None]:
    """An environment that tells OpenMP how long to wait, which it reads where it is loaded."""
    if any(name in os.environ for name in WAITING_VARIABLES):
        yield
        return
    os.environ.update(PATIENCE)
    try:
        yield
    finally:
        for name in PATIENCE:
            del os.environ[name]


with _patience():
    from emcore import _runtime

if TYPE_CHECKING:
    from emcore._kernels import Kernels

__all__ = [
    "INSTRUCTION_SETS",
    "INSTRUCTION_SET_VARIABLE",
    "instruction_set",
    "kernels",
    "openmp_version",
    "runnable_instruction_sets",
    "usable_threads",
]

INSTRUCTION_SET_VARIABLE = "EMFAST_INSTRUCTION_SET"

# Best first, with the x86-64 microarchitecture level that each needs.
INSTRUCTION_SETS = {"x86_64_v4": 4, "x86_64_v3": 3, "x86_64_v2": 2, "plain": 0}


def runnable_instruction_sets() -> list[str]:
    """Instruction sets that were built and that this processor runs, best first."""
    level = _runtime.cpu_level()
    return [
        name
        for name, needs in INSTRUCTION_SETS.items()
        if needs <= level and find_spec(f"emcore._{name}_float64") is not None
    ]


def _choose_instruction_set() -> str:
    runnable = runnable_instruction_sets()
    if not runnable:
        raise ImportError(
            f"emcore: none of {list(INSTRUCTION_SETS)} is both built and run by this processor"
        )
    wanted = os.environ.get(INSTRUCTION_SET_VARIABLE)
    if not wanted:
        return runnable[0]
    if wanted not in runnable:
        raise ImportError(
            f"{INSTRUCTION_SET_VARIABLE}={wanted!r}: expected one of {runnable}, "
            "which are built and which this processor runs"
        )
    return wanted


def __getattr__(name: str) -> str:
    """`instruction_set`, chosen where it is first needed: an importer can tell what was wrong."""
    if name != "instruction_set":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return str(globals().setdefault(name, _choose_instruction_set()))


def kernels(dtype: object) -> "Kernels":
    """The kernels that compute in `dtype`, "float32" or "float64"."""
    build = import_module(f"emcore._{sys.modules[__name__].instruction_set}_{dtype}")
    return cast("Kernels", build)


def openmp_version() -> int:
    """Date (yyyymm) of the OpenMP standard the kernels were compiled for; 0 without OpenMP."""
    return _runtime.openmp_version()


_in_forked_child = False


def _after_fork_in_child() -> None:
    global _in_forked_child
    _in_forked_child = True


# libgomp's threads do not survive a fork, and its next parallel region would wait for them forever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def usable_threads(wanted: int | None = None) -> int:
    """Threads to use: `wanted`, else what OpenMP would start; 1 in a forked child."""
    if _in_forked_child:
        return 1
    return _runtime.openmp_max_threads() if wanted is None else wanted
