"""One iteration of EM on a cluster: event by event, and in closed form.

A client sends the parameters to all workers, a scheduler hands out one task for each of them, every
worker goes over its rows, their statistics come back and are added in a binary tree, and the client
makes the M-step. Links, the scheduler and the processor of the client do one thing after the other,
first come first served. `docs/scaling.md` has the formulas.
"""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Job:
    """What one iteration takes, whatever the cluster.

    Attributes
    ----------
    rows : float
    row_seconds : float, of one core for one row
    pass_seconds : float, of a worker whatever its rows: unpacking parameters, packing statistics
    statistics_bytes, parameters_bytes : float, of one message
    pack_seconds : float, of the client to pack the parameters
    add_seconds : float, to unpack the statistics of one worker and to add them to others
    mstep_seconds : float
    row_bytes, sums_bytes : float
        Of a row, and of the sums of one of the blocks of rows that a worker's cores compute; 0 for
        blocks that are never too large.
    """

    rows: float
    row_seconds: float
    pass_seconds: float
    statistics_bytes: float
    parameters_bytes: float
    pack_seconds: float
    add_seconds: float
    mstep_seconds: float
    row_bytes: float = 0.0
    sums_bytes: float = 0.0


@dataclass(frozen=True)
class Cluster:
    """What the model assumes of a cluster.

    Attributes
    ----------
    workers : int
    cores : int, of a worker, all of which go over its rows
    bandwidth : float, bytes a second of every link, in either direction
    latency : float, seconds from one machine to another
    task_seconds : float, of the scheduler for a task
    spread : float
        Of workers: each takes 1 + spread E times as long, where E is exponential with mean 1.
    fan_in : int or None
        Statistics of so many workers are added on one of them, and so on, and parameters travel
        from worker to worker; None: the client sends to every worker, and adds up all alone.
    """

    workers: int
    cores: int = 16
    bandwidth: float = 1.25e9
    latency: float = 0.25e-3
    task_seconds: float = 1e-3
    spread: float = 0.0
    fan_in: int | None = None

    def send_seconds(self, size: float) -> float:
        """Of a link, for so many bytes."""
        return size / self.bandwidth

    @property
    def levels(self) -> int:
        """Of the tree of workers."""
        levels, reached = 0, 1
        while reached < self.workers:
            levels, reached = levels + 1, reached * self.fan_in
        return levels


@dataclass(frozen=True)
class Outcome:
    """One simulated iteration.

    Attributes
    ----------
    seconds : float
    slowest_seconds : float, what the slowest worker took to compute
    held : int, statistics that the client had at most
    """

    seconds: float
    slowest_seconds: float
    held: int


def usable_cores(job: Job, cluster: Cluster) -> int:
    """Cores of a worker that have a block of rows to compute.

    Blocks are as many as `block_rows` of the kernels makes them: 64 if their sums take no more than
    32 MiB, or an eighth of what the rows take, together; more where a block would be larger than
    4 MiB and than sixteen times its sums.
    """
    if job.sums_bytes == 0:
        return cluster.cores
    bytes_of_rows = job.rows / cluster.workers * job.row_bytes
    by_sums = min(64, max(2**25, bytes_of_rows / 8) // job.sums_bytes)
    by_rows = math.ceil(bytes_of_rows / max(2**22, 16 * job.sums_bytes))
    return int(max(1, min(cluster.cores, max(by_sums, by_rows))))


def compute_seconds(job: Job, cluster: Cluster) -> float:
    """Of a worker that is not slowed down."""
    rows = job.rows / cluster.workers
    return job.pass_seconds + rows * job.row_seconds / usable_cores(job, cluster)


def costs_of_a_worker(job: Job, cluster: Cluster) -> dict[str, float]:
    """Seconds that each worker more costs the client or the scheduler, where the client adds."""
    return {
        "scheduler": cluster.task_seconds,
        "parameters": cluster.send_seconds(job.parameters_bytes),
        "statistics": cluster.send_seconds(job.statistics_bytes),
        "additions": job.add_seconds,
    }


def first_to_break(job: Job, cluster: Cluster) -> str:
    """What stops the cluster from growing first, where the client adds."""
    costs = costs_of_a_worker(job, cluster)
    return max(costs, key=costs.get)


def best_workers(job: Job, cluster: Cluster) -> float:
    """So many that computing takes as long as what is done for one worker after the other.

    With a / W + b W seconds for W workers, this is also where the time is least: sqrt(a / b). All
    cores are taken to be busy.
    """
    cost = max(costs_of_a_worker(job, cluster).values())
    return math.sqrt(job.rows * job.row_seconds / (cluster.cores * cost))


def closed_form(job: Job, cluster: Cluster) -> float:
    """Seconds of an iteration; of the slowest worker, the expected time.

    The largest of W exponential delays is H_W = 1 + 1/2 + ... + 1/W on average. Of what runs at the
    same time the longest counts, so that this is never much less than what is simulated.
    """
    W, latency = cluster.workers, cluster.latency
    task = cluster.task_seconds
    p = cluster.send_seconds(job.parameters_bytes)
    s, a = cluster.send_seconds(job.statistics_bytes), job.add_seconds
    harmonic = sum(1 / i for i in range(1, W + 1))
    compute = compute_seconds(job, cluster) * (1 + cluster.spread * harmonic)
    ends = job.pack_seconds + job.mstep_seconds
    if cluster.fan_in is None:
        m = max(p, task)
        queue = (W - 1) * max(m, s, a)
        levels = math.ceil(math.log2(W))
        return ends + latency + m + compute + queue + s + latency + levels * a
    start = max(math.ceil(math.log2(W + 1)) * (p + latency), W * task + latency)
    others, levels = cluster.fan_in - 1, cluster.levels
    # What is left for the highest level, at which few may come together.
    last = -(-W // cluster.fan_in ** (levels - 1)) - 1 if levels else 0
    added = max(0, levels - 1) * others + last
    through_tree = start + compute + levels * (task + 3 * latency) + added * (s + a)
    n_tasks = W + math.ceil((W - 1) / others)
    through_scheduler = n_tasks * task + 2 * latency + last * (s + a)
    return ends + max(through_tree, through_scheduler) + s + latency


def simulate(job: Job, cluster: Cluster, generator: np.random.Generator | None = None) -> Outcome:
    """One iteration, event by event; `generator` draws how much workers are slowed down."""
    delays = np.zeros(cluster.workers)
    if cluster.spread > 0:
        delays = cluster.spread * generator.exponential(size=cluster.workers)
    seconds = compute_seconds(job, cluster) * (1 + delays)
    kind = ClientAdds if cluster.fan_in is None else WorkersAdd
    iteration = kind(job, cluster, seconds)
    iteration.run()
    return Outcome(iteration.ended, float(seconds.max()), iteration.most_held)


@dataclass
class Events:
    """What happens when, in order; at the same time, in the order in which it was said."""

    now: float = 0.0
    _heap: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _said: int = 0

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + seconds, self._said, action))
        self._said += 1

    def run(self) -> None:
        while self._heap:
            self.now, _, action = heapq.heappop(self._heap)
            action()


@dataclass
class Server:
    """A link, a scheduler or a processor: does one thing after the other, as they come."""

    events: Events
    free: float = 0.0

    def serve(self, seconds: float, then: Callable[[], None], later: float = 0.0) -> None:
        """Do something that takes so long; `then` happens `later` than its end."""
        self.free = max(self.free, self.events.now) + seconds
        self.events.after(self.free - self.events.now + later, then)


class ClientAdds:
    """An iteration in which the client sends to every worker and adds up the statistics of all."""

    def __init__(self, job: Job, cluster: Cluster, seconds: np.ndarray):
        self.job, self.cluster, self.seconds = job, cluster, seconds
        self.events = Events()
        self.out, self.into, self.processor, self.scheduler = (
            Server(self.events) for _ in range(4)
        )
        self.has = [0] * cluster.workers
        self.waiting: set[tuple[int, int]] = set()
        self.held = self.most_held = 0
        self.ended = math.nan

    def run(self) -> None:
        self.events.after(self.job.pack_seconds, self.hand_out)
        self.events.run()

    def hand_out(self) -> None:
        for worker in range(self.cluster.workers):
            self.scheduler.serve(
                self.cluster.task_seconds, lambda i=worker: self.arrived(i), self.cluster.latency
            )
        self.send_parameters()

    def send_parameters(self) -> None:
        size = self.cluster.send_seconds(self.job.parameters_bytes)
        for worker in range(self.cluster.workers):
            self.out.serve(size, lambda i=worker: self.arrived(i), self.cluster.latency)

    def arrived(self, worker: int) -> None:
        """Its task, or the parameters: it begins when it has both."""
        self.has[worker] += 1
        if self.has[worker] == 2:
            self.events.after(self.seconds[worker], lambda: self.computed(worker))

    def computed(self, worker: int) -> None:
        size = self.cluster.send_seconds(self.job.statistics_bytes)
        self.into.serve(size, lambda: self.received(worker), self.cluster.latency)

    def received(self, worker: int) -> None:
        self.held += 1
        self.most_held = max(self.most_held, self.held)
        self.offer(0, worker)

    def offer(self, level: int, place: int) -> None:
        """A sum of the fixed tree, which is added to its neighbour as soon as that is there."""
        last = -(-self.cluster.workers // 2**level) - 1
        neighbour = place ^ 1
        if last == 0:
            self.events.after(self.job.mstep_seconds, self.end)
        elif neighbour > last:
            self.offer(level + 1, place // 2)
        elif (level, neighbour) in self.waiting:
            self.processor.serve(self.job.add_seconds, lambda: self.added(level + 1, place // 2))
        else:
            self.waiting.add((level, place))

    def added(self, level: int, place: int) -> None:
        self.held -= 1
        self.offer(level, place)

    def end(self) -> None:
        self.ended = self.events.now


class WorkersAdd(ClientAdds):
    """An iteration in which workers pass parameters on and add up statistics in a tree.

    An addition of `fan_in` statistics is a task, too: the scheduler is told that they are there,
    and tells one of their workers, which gets the others over its link and adds them.
    """

    def __init__(self, job: Job, cluster: Cluster, seconds: np.ndarray):
        super().__init__(job, cluster, seconds)
        self.links = [Server(self.events) for _ in range(cluster.workers)]
        self.ready: dict[tuple[int, int], int] = {}

    def send_parameters(self) -> None:
        self.asked = 0
        self.pass_on()

    def pass_on(self) -> None:
        """Whoever has the parameters sends them to one that lacks them, until that has them."""
        worker = self.asked
        if worker == self.cluster.workers:
            return
        self.asked += 1
        seconds = self.cluster.send_seconds(self.job.parameters_bytes) + self.cluster.latency

        def passed() -> None:
            self.arrived(worker)
            self.pass_on()
            self.pass_on()

        self.events.after(seconds, passed)

    def computed(self, worker: int) -> None:
        self.there(0, worker)

    def there(self, level: int, place: int) -> None:
        """A sum is on the worker that made it."""
        cluster, group = self.cluster, (level + 1, place // self.cluster.fan_in)
        n_sums = -(-cluster.workers // cluster.fan_in**level)
        if n_sums == 1:
            size = cluster.send_seconds(self.job.statistics_bytes)
            self.into.serve(size, self.arrived_at_client, cluster.latency)
            return
        self.ready[group] = self.ready.get(group, 0) + 1
        n_members = min(cluster.fan_in, n_sums - group[1] * cluster.fan_in)
        if self.ready[group] < n_members:
            return
        if n_members == 1:
            self.there(*group)
            return
        self.events.after(
            cluster.latency,
            lambda: self.scheduler.serve(
                cluster.task_seconds, lambda: self.get(group, n_members - 1), cluster.latency
            ),
        )

    def get(self, group: tuple[int, int], n_others: int) -> None:
        level, place = group
        size = self.cluster.send_seconds(self.job.statistics_bytes)
        adding = n_others * self.job.add_seconds
        self.links[place * self.cluster.fan_in**level].serve(
            n_others * size, lambda: self.there(level, place), self.cluster.latency + adding
        )

    def arrived_at_client(self) -> None:
        self.most_held = 1
        self.events.after(self.job.mstep_seconds, self.end)
