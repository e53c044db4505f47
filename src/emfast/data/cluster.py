"""The workers of a Dask cluster, and things that are on them, one for each partition."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

import dask
import distributed
from distributed.client import ClosedClientError
from distributed.comm import CommClosedError

# To ask where things are may take this part of the time, so that it costs nothing to speak of.
SHARE_OF_LOOKING = 1 / 50

# What the client would rather say of large models and labels, which have to travel all the same.
QUIET = {"distributed.admin.large-graph-warning-threshold": "1 TiB"}


def current_client() -> Any:
    """The client that Dask would use here, or None."""
    try:
        return distributed.Client.current()
    except ValueError:
        return None


class Cluster:
    """What is asked of a client, with errors that people understand.

    Parameters
    ----------
    client : distributed.Client

    Raises
    ------
    RuntimeError
        Here and in all methods: the client was closed, or the cluster is gone.
    """

    def __init__(self, client: Any):
        if client.asynchronous:
            raise RuntimeError(
                "Dask: found an asynchronous client; expected one that waits: "
                "Client(..., asynchronous=False)"
            )
        self._client = client

    @contextmanager
    def _told(self) -> Iterator[None]:
        if self._client.status != "running":
            raise RuntimeError(
                f"Dask: found the client {self._client.status}; expected it to run until the fit "
                "has ended"
            )
        try:
            with dask.config.set(QUIET):
                yield
        except distributed.KilledWorker as error:
            raise RuntimeError(
                "Dask: several workers died one after the other in the same task, probably for "
                f"lack of memory; smaller partitions or larger workers help ({error})"
            ) from error
        except (CancelledError, ClosedClientError, CommClosedError) as error:
            raise RuntimeError(
                "Dask: a result was cancelled: the client was closed, the cluster is gone, or with "
                f"a worker went the only copy of data that nothing can compute again ({error})"
            ) from error

    def hold(self, value: Any) -> Any:
        """A future of a value that travels to the workers once, however many tasks take it."""
        return self.submit(_itself, value)

    def submit(self, task: Callable, *args: Any, worker: str | None = None) -> Any:
        """The future of what a task returns, on a worker as long as that is there."""
        with self._told():
            return self._client.submit(task, *args, pure=False, **_at(worker))

    def compute(self, delayed: Sequence[Any], *, spread: bool) -> list[Any]:
        """Futures of delayed values.

        Parameters
        ----------
        spread : bool
            Whether neighbours go to the same worker, and as many to each as it has threads;
            otherwise they go to what they are computed from.
        """
        with self._told():
            threads = sorted(self._client.nthreads().items())
            if not spread or len(threads) == 1:
                return self._client.compute(delayed)
            futures: list[Any] = []
            total, before = sum(n for _, n in threads), 0
            for worker, n in threads:
                before += n
                part = delayed[len(futures) : round(len(delayed) * before / total)]
                futures += self._client.compute(part, **_at(worker)) if part else []
            # Where there is no worker yet.
            return futures + self._client.compute(delayed[len(futures) :])

    def loosen(self, futures: Sequence[Any]) -> None:
        """Let things, and what they are computed from, be computed by any worker if they are lost.

        Where all workers die at once, Dask would wait for those that tasks were meant for.
        """

        def any_worker(keys: Sequence[Any], dask_scheduler: Any) -> None:
            # Within a method, so that it travels as it is: the scheduler needs no emfast.
            tasks = [dask_scheduler.tasks[key] for key in keys if key in dask_scheduler.tasks]
            seen = set(tasks)
            while tasks:
                task = tasks.pop()
                if task.worker_restrictions and task.loose_restrictions:
                    dask_scheduler.set_restrictions(worker={task.key: None})
                further = task.dependencies - seen
                seen |= further
                tasks.extend(further)

        with self._told():
            self._client.run_on_scheduler(any_worker, [future.key for future in futures])

    def gather(self, futures: Any) -> Any:
        """What there is in futures; where a task has failed, its error."""
        with self._told():
            return self._client.gather(futures)

    def wait(self, futures: Sequence[Any]) -> None:
        """Until they are there, or have failed."""
        with self._told():
            distributed.wait(futures)

    def holders(self, futures: Sequence[Any]) -> list[Sequence[str]]:
        """For every future the workers that have it."""
        with self._told():
            found = self._client.who_has(futures)
        return [found.get(future.key, found.get(str(future.key), ())) for future in futures]

    def workers(self) -> list[str]:
        with self._told():
            return sorted(self._client.nthreads())


def _at(worker: str | None) -> dict[str, Any]:
    """Options for what should be done by a worker, or by any other if that one is gone."""
    return {} if worker is None else {"workers": [worker], "allow_other_workers": True}


def _itself(value: Any) -> Any:
    return value


class Spread:
    """Things on the workers of a cluster, in an order of their own.

    Parameters
    ----------
    cluster : Cluster
    futures : list of Future
    """

    def __init__(self, cluster: Cluster, futures: list[Any]):
        self.cluster, self.futures = cluster, futures
        self._places: list[tuple[str | None, list[int]]] = []
        self._looked, self._cost = 0.0, 0.0

    def __len__(self) -> int:
        return len(self.futures)

    def only(self, which: Sequence[int]) -> "Spread":
        """Some of them."""
        return Spread(self.cluster, [self.futures[i] for i in which])

    def run(self, task: Callable, *args: Any, each: Sequence[Any] | None = None) -> list[Any]:
        """What a task returns on every worker that has some of the things.

        Parameters
        ----------
        task : function of a list of (place, thing, what `each` has for it) and of `args`
        *args : values, or futures of them
        each : sequence, optional, something for every thing
        """
        # Dask lets tasks go to where their things are.
        asked = [
            self.cluster.submit(
                _run,
                task,
                which,
                [self.futures[i] for i in which],
                None if each is None else [each[i] for i in which],
                *args,
            )
            for _, which in self.places()
        ]
        found = self.cluster.gather(asked)
        if any(
            where != worker for (where, _), (worker, _) in zip(found, self._places, strict=True)
        ):
            self._places = []
        return [answer for _, answer in found]

    def map(self, task: Callable, *args: Any, each: Sequence[Any]) -> "Spread":
        """Other things, made of these where they are: `task` of a thing, of its own, of `args`."""
        where = {i: worker for worker, which in self.places() for i in which}
        made = [
            self.cluster.submit(task, future, own, *args, worker=where[i])
            for i, (future, own) in enumerate(zip(self.futures, each, strict=True))
        ]
        self.cluster.wait(made)
        self.cluster.loosen(made)
        return Spread(self.cluster, made)

    def places(self) -> list[tuple[str | None, list[int]]]:
        """Workers, and which things they have, each of which is named once."""
        now = time.perf_counter()
        if not self._places or (now - self._looked) * SHARE_OF_LOOKING > self._cost:
            self.cluster.wait(self.futures)
            began = time.perf_counter()
            self._places = self._found()
            self._looked = time.perf_counter()
            self._cost = self._looked - began
        return self._places

    def _found(self) -> list[tuple[str | None, list[int]]]:
        found: dict[str | None, list[int]] = {}
        others: list[str] | None = None
        for i, holders in enumerate(self.cluster.holders(self.futures)):
            if not holders:
                # Its worker is gone.
                others = self.cluster.workers() if others is None else others
                holders = others
            least = min(
                sorted(holders), key=lambda worker: len(found.get(worker, ())), default=None
            )
            found.setdefault(least, []).append(i)
        return sorted(found.items(), key=lambda item: item[1])


def _run(
    task: Callable, which: list[int], things: list[Any], each: list[Any] | None, *args: Any
) -> tuple[str, Any]:
    """What a task returns, and the worker that it runs on."""
    own = [None] * len(which) if each is None else each
    answer = task(list(zip(which, things, own, strict=True)), *args)
    return distributed.get_worker().address, answer


def threads_here() -> int:
    """How many threads this worker has."""
    return int(distributed.get_worker().state.nthreads)
