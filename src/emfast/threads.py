"""How many threads a pass over the rows uses."""

import os
import threading
from functools import lru_cache

import joblib
from threadpoolctl import LibController, ThreadpoolController

from emcore import usable_threads

# More than any pass over rows can use.
MAX_THREADS = 1024


def resolve_threads(n_threads: int | None) -> int:
    """`n_threads` if given, else ``OMP_NUM_THREADS``, else the CPUs this process may use.

    The last counts affinity and cgroup limits, and a limit set by `threadpoolctl`. In a forked
    child it is always 1, because OpenMP's threads do not survive a fork.
    """
    if n_threads is not None:
        return usable_threads(min(n_threads, MAX_THREADS))
    openmp = usable_threads()
    if os.environ.get("OMP_NUM_THREADS"):
        return openmp
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return max(1, min(openmp, _usable_cpus(len(affinity), os.environ.get("LOKY_MAX_CPU_COUNT"))))


@lru_cache(maxsize=8)
def _usable_cpus(affinity: int, wanted: str | None) -> int:
    # What may change while a process runs are the arguments. The rest of what joblib looks at is in
    # files of the cgroup, and reading those takes longer than an iteration on few rows.
    return joblib.cpu_count()


class SingleThreadedBlas:
    """Keep BLAS to one thread: M-steps are small, and its threads would fight with the kernels'.

    For a tenth of a second after a product they wait awake, and two threads of a kernel share what
    CPU they leave, which makes a pass over few rows take several times as long as one thread would.

    The limit holds for the whole process. Fits that overlap in time share one, which the last to
    leave takes back.
    """

    _lock = threading.Lock()
    _users = 0
    _before: list[tuple[LibController, int]]

    def __enter__(self) -> None:
        cls = type(self)
        with cls._lock:
            if cls._users == 0:
                cls._before = _limit(1)
            cls._users += 1

    def __exit__(self, *error: object) -> None:
        cls = type(self)
        with cls._lock:
            cls._users -= 1
            if cls._users == 0:
                _restore(cls._before)


# `ThreadpoolController.limit` does the same, and asks every library for all there is to know.


def _limit(n_threads: int) -> list[tuple[LibController, int]]:
    """Set the threads of every BLAS; what they were before."""
    before = [(library, library.get_num_threads()) for library in _libraries()]
    for library, _ in before:
        library.set_num_threads(n_threads)
    return before


def _restore(before: list[tuple[LibController, int]]) -> None:
    for library, n_threads in before:
        library.set_num_threads(n_threads)


@lru_cache(maxsize=1)
def _libraries() -> list[LibController]:
    return ThreadpoolController().select(user_api="blas").lib_controllers
