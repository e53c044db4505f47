"""How many threads a pass over the rows uses."""

import os
import threading
from contextlib import AbstractContextManager
from functools import lru_cache

import joblib
from threadpoolctl import ThreadpoolController

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
    return max(1, min(openmp, joblib.cpu_count()))


class SingleThreadedBlas:
    """Keep BLAS to one thread: M-steps are small, and its threads would fight with the kernels'.

    The limit holds for the whole process. Fits that overlap in time share one, which the last to
    leave takes back.
    """

    _lock = threading.Lock()
    _users = 0
    _limit: AbstractContextManager

    def __enter__(self) -> None:
        cls = type(self)
        with cls._lock:
            if cls._users == 0:
                cls._limit = _controller().limit(limits=1, user_api="blas")
                cls._limit.__enter__()
            cls._users += 1

    def __exit__(self, *error: object) -> None:
        cls = type(self)
        with cls._lock:
            cls._users -= 1
            if cls._users == 0:
                cls._limit.__exit__(None, None, None)


def limited_openmp(n_threads: int) -> AbstractContextManager:
    """Keep other libraries' OpenMP to `n_threads`: in a forked child, more than one would hang."""
    return _controller().limit(limits=n_threads, user_api="openmp")


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
