"""Rows that are in partitions of Dask, on the workers of a cluster or still to be computed.

Without a client rows are a stream: one partition after the other is computed here, in every pass.
With one they stay where they are. Every partition becomes a batch on its worker, which the cluster
computes again if that worker is lost. In every pass the model travels out once, each worker goes
over its partitions, and what is back are the sums over them: the complete nodes of the binary tree
over all partitions, which `sums.Nodes` adds to the same bits wherever partitions were.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from operator import itemgetter
from typing import Any

import numpy as np
import scipy.sparse as sp

from emfast.data.batch import Batch, joined
from emfast.data.cluster import Cluster, Spread, current_client, threads_here
from emfast.data.observer import START, Observer, Place, known_of_rows
from emfast.data.partitions import (
    PartitionedRows,
    Partitions,
    nth_piece,
    partitions_of,
    sizes,
)
from emfast.data.portions import Portion, is_of_dask, is_record_batch
from emfast.data.reservoir import Reservoir
from emfast.data.source import sequence_cuts
from emfast.data.stream import SurveyedSource
from emfast.data.sums import Nodes, added
from emfast.data.survey import HEAD_ROWS, Plan, Survey, capacity_of, head_of, survey_of
from emfast.inputs.labels import NOTHING_KNOWN, Labels, label_names

# A partition has its sequences, or rows, at places from the multiple of this on in the sample.
PLACES = 1 << 40

# Values of a column that may be levels; with more nobody would fit probabilities.
MOST_LEVELS = 10_000


def partitioned(X: Any, given: Mapping[str, Any]) -> tuple[PartitionedRows, dict[str, str]]:
    """Rows of Dask with what else has partitions, and by argument the columns that it is.

    Parameters
    ----------
    X : see `partitions.partitions_of`
    given : dict, by argument a collection of Dask, the name of a column of X, or what is in memory

    Raises
    ------
    ValueError, TypeError
        See `partitions.partitions_of`.
    RuntimeError
        Its data are on a cluster whose client has been closed.
    """
    rows = partitions_of(X, "X")
    columns = {name: value for name, value in given.items() if isinstance(value, str)}
    beside = {
        name: partitions_of(value, name, rows) for name, value in given.items() if is_of_dask(value)
    }
    _refuse_closed([rows, *beside.values()])
    apart = tuple(dict.fromkeys(columns.values()))
    # No column of a table has such a name by chance.
    called = {name: f"the argument {name}" for name in beside}
    named = {called[name]: partitions for name, partitions in beside.items()}
    return PartitionedRows(rows, named, apart), {**columns, **called}


def _refuse_closed(arguments: Sequence[Partitions]) -> None:
    for partitions in arguments:
        for future in partitions.futures[:1]:
            client = getattr(future, "client", None)
            status = "closed" if client is None else client.status
            if status != "running" or current_client() is None:
                raise RuntimeError(
                    f"Dask: the data are on a cluster, and its client is {status}; expected a "
                    "client of this cluster that runs"
                )


def dask_observer(
    estimator: Any, X: Any, given: Mapping[str, Any], classes: np.ndarray | None
) -> Observer:
    """An observer of rows of Dask; see `observer.observe`."""
    rows, columns = partitioned(X, given)
    known = known_of_rows(estimator, dict(given), columns, classes)
    client = current_client()
    if client is None:
        return Observer(estimator, rows, columns, *known)
    cluster = Cluster(client)
    everything = (rows.X, *rows.beside.values())
    is_there = any(partitions.futures for partitions in everything)
    portions = Spread(cluster, cluster.compute(rows.delayed(), spread=not is_there))
    return ClusterObserver(estimator, Reach(portions, rows.names, rows.n_rows), columns, *known)


@dataclass(frozen=True)
class Reach:
    """Portions on the workers of a cluster, as a `portions.Reader`: what is read comes here.

    Attributes
    ----------
    spread : Spread of lists of Portion
    names, n_rows : see `portions.Reader`
    """

    spread: Spread
    names: tuple[str, ...] | None
    n_rows: int | None

    def portions(self, batch_rows: int) -> Iterator[Portion]:
        cluster = self.spread.cluster
        for future in self.spread.futures:
            n = 0
            while True:
                portion = cluster.gather(cluster.submit(nth_piece, future, batch_rows, n))
                if portion is None:
                    break
                yield portion
                n += 1


@dataclass(frozen=True)
class Levels:
    """Of the portions that a reach has the rows that show what levels columns have; a Reader."""

    reach: Reach

    @property
    def names(self) -> tuple[str, ...] | None:
        return self.reach.names

    @property
    def n_rows(self) -> None:
        return None

    def portions(self, batch_rows: int) -> Iterator[Portion]:
        spread = self.reach.spread
        # Most of those who ask need no more than the first.
        yield from spread.cluster.gather(spread.cluster.submit(with_levels, spread.futures[0]))
        if len(spread) > 1:
            rest = spread.only(range(1, len(spread)))
            for portions in in_order(rest.run(_of_each, with_levels)):
                yield from portions


@dataclass(frozen=True)
class ClusterObserver(Observer):
    """An observer of rows on the workers of a cluster; see `observer.Observer`."""

    reader: Any

    def each(self, ask: Callable[[Any], object]) -> None:
        """Ask something about levels: of all other rows few come here."""
        super(ClusterObserver, replace(self, reader=Levels(self.reader))).each(ask)

    def _label_names(self) -> Iterator[np.ndarray | None]:
        called = self.columns["labels"]
        for names in in_order(self.reader.spread.run(_of_each, names_in, called)):
            yield from names

    def source(self, plan: Plan) -> SurveyedSource:
        spread = self.reader.spread
        observer = Observer(bare(self.estimator), None, self.columns, NOTHING_KNOWN, {})
        held = spread.cluster.hold(replace(observer, classes=self.classes))
        batches = spread.map(batch_of, held, each=self._in_memory())
        return surveyed_on_workers(batches, plan, self.classes)

    def _in_memory(self) -> list[tuple[Labels, dict[str, np.ndarray]] | None]:
        """What there is in memory for the rows of every partition."""
        spread = self.reader.spread
        if self.labels.nothing_known and not self.values:
            return [None] * len(spread)
        found = in_order(spread.run(_of_each, sizes))
        rows, things = (np.cumsum([0, *each]) for each in zip(*found, strict=True))
        of_sequences = self.estimator._keeps_portions
        self.check_lengths(Place(int(rows[-1]), int(things[-1]) if of_sequences else 0))
        own = []
        for i in range(len(spread)):
            of_rows = slice(rows[i], rows[i + 1])
            of_things = slice(things[i], things[i + 1]) if of_sequences else of_rows
            values = {
                name: values[of_things if name == "sample_weight" else of_rows]
                for name, values in self.values.items()
            }
            own.append((self.labels.take(of_rows), values))
        return own


def bare(estimator: Any) -> Any:
    """An estimator that knows what rows it takes, and none of those who watch its fit."""
    worker = copy(estimator)
    for name, nothing in (("callback", None), ("progress", False), ("checkpoint", None)):
        if hasattr(worker, name):
            setattr(worker, name, nothing)
    return worker


def in_order(found: list[list[tuple[int, Any]]]) -> list[Any]:
    """What all workers have found, in the order of partitions."""
    return [each for _, each in sorted(chain.from_iterable(found), key=itemgetter(0))]


# What workers do. Things are the partitions that one has, each with its place.

Things = list[tuple[int, Any, Any]]


def _of_each(things: Things, find: Callable, *args: Any) -> list[tuple[int, Any]]:
    """What a function finds in every thing, with its place."""
    return [(place, find(thing, *args)) for place, thing, _ in things]


def names_in(portions: list[Portion], called: str) -> list[np.ndarray | None]:
    return [label_names(portion.columns[called]) for portion in portions]


def with_levels(portions: list[Portion]) -> list[Portion]:
    """Portions of the rows that have a value as the first, in any of their columns."""
    return [replace(portion, X=rows_with_levels(portion.X), columns={}) for portion in portions]


def rows_with_levels(X: Any) -> Any:
    """The rows that have a value as the first, in any column that has few."""
    if isinstance(X, list):
        X = np.concatenate(X)
    if sp.issparse(X):
        return X
    if is_record_batch(X):
        return X.take(rows_of_first_values(X.columns))
    if hasattr(X, "iloc"):
        return X.iloc[rows_of_first_values([X.iloc[:, i] for i in range(X.shape[1])])]
    return X[rows_of_first_values(X.T)]


def rows_of_first_values(columns: Iterable[Any]) -> np.ndarray:
    found = [np.zeros(1, np.intp)]
    for column in columns:
        values = np.asarray(column)
        if values.dtype.kind in "biuf":
            first = np.unique(values, return_index=True)[1]
        else:
            rows: dict[Any, int] = {}
            for row, value in enumerate(values.tolist()):
                rows.setdefault(value, row)
            first = np.array(list(rows.values()), np.intp)
        if len(first) <= MOST_LEVELS:
            found.append(first)
    return np.unique(np.concatenate(found))


def batch_of(
    portions: list[Portion],
    own: tuple[Labels, dict[str, np.ndarray]] | None,
    observer: Observer,
) -> Batch | None:
    """A partition as a batch, with what was in memory for its rows; None if it is empty."""
    if own is not None:
        observer = replace(observer, labels=own[0], values=own[1])
    batches, place = [], START
    for portion in portions:
        if portion.n_rows:
            batches.append(observer.batch(portion, place))
            place = place.after(batches[-1])
    if not batches:
        return None
    return batches[0] if len(batches) == 1 else joined(batches)


def facts_of(batch: Batch | None, plan: Plan, place: int) -> Survey | None:
    """What is known of a batch, without any of its rows."""
    if batch is None:
        return None
    kept = Reservoir(1, plan.n_groups, plan.seed, [0] * (plan.n_groups + 1))
    kept.add(batch, place)
    return survey_of(batch, kept, head_rows=0)


def _facts(things: Things, plan: Plan) -> list[tuple[int, Survey | None]]:
    return [(i, facts_of(batch, plan, i * PLACES)) for i, batch, _ in things]


def _samples(
    things: Things, plan: Plan, capacity: int, thresholds: list[int]
) -> list[tuple[int, tuple[Reservoir, Batch | None]]]:
    """What batches add to the sample, and to the first rows of all."""
    found = []
    for place, batch, (partition, head_rows) in things:
        kept = Reservoir(capacity, plan.n_groups, plan.seed, thresholds)
        kept.add(batch, partition * PLACES)
        found.append((place, (kept, head_of(batch, head_rows))))
    return found


def surveyed_on_workers(batches: Spread, plan: Plan, classes: np.ndarray | None) -> "ClusterSource":
    """A source of these batches, once gone over where they are.

    Raises
    ------
    ValueError
        There are no rows, or batches differ in kind.
    """
    facts = in_order(batches.run(_facts, plan))
    there = [i for i, fact in enumerate(facts) if fact is not None]
    if not there:
        raise ValueError("X: found no row in any partition; expected 1 row at least")
    batches, found = batches.only(there), [facts[i] for i in there]
    for i, fact in zip(there, found, strict=True):
        if fact.kind != found[0].kind:
            raise ValueError(
                f"X: found rows of (n_features, dtype, storage) = {fact.kind} in partition {i}, "
                f"and of {found[0].kind} in partition {there[0]}; expected partitions of one kind"
            )
    capacity = capacity_of(plan, found[0].row_bytes)
    thresholds = added([fact.kept for fact in found]).thresholds(capacity)
    before = np.cumsum([0, *(fact.n_used for fact in found)])
    heads = np.clip(HEAD_ROWS - before[:-1], 0, None).tolist()
    samples = in_order(
        batches.run(_samples, plan, capacity, thresholds, each=list(zip(there, heads, strict=True)))
    )
    survey = added(
        [
            replace(fact, kept=kept, head=head)
            for fact, (kept, head) in zip(found, samples, strict=True)
        ]
    )
    first_rows = np.cumsum([0, *(fact.n_rows for fact in found[:-1])]).tolist()
    return ClusterSource(Asked(batches, first_rows), survey, classes)


@dataclass(frozen=True)
class View:
    """How a pass sees the rows of a batch.

    Attributes
    ----------
    missing : see `Batch`, of all rows
    factor : float, what weights are multiplied by
    plain : bool, whether they are rows of which nothing else is known
    block : int or None, the only one of their blocks of columns
    """

    missing: bool | tuple[bool, ...]
    factor: float = 1.0
    plain: bool = False
    block: int | None = None

    def of(self, batch: Batch) -> Batch:
        weights = batch.weights
        if weights is not None and self.factor != 1:
            weights = weights * self.factor
        batch = replace(batch, weights=weights, missing=self.missing)
        if self.plain:
            batch = replace(batch.as_rows(), labels=NOTHING_KNOWN)
        return batch if self.block is None else batch.of_block(self.block)


def pass_over(things: Things, view: View, asked: Any, constant: Any) -> Nodes:
    """What is asked of the rows that a worker has, as sums over partitions."""
    asked, nodes = replace(asked, n_threads=threads_here(), constant=constant), Nodes()
    for place, batch, first_row in things:
        nodes.add(place, asked.of(view.of(batch), first_row))
    return nodes


class Asked:
    """Batches on workers, and passes over them.

    Parameters
    ----------
    batches : Spread of Batch, which have rows
    first_rows : list of int, where each begins among all rows
    """

    def __init__(self, batches: Spread, first_rows: list[int]):
        self.batches, self.first_rows = batches, first_rows
        # What is constant during a fit travels once.
        self._constant: tuple[Any, Any] = (None, None)

    def part(self, first: int, end: int) -> "Asked":
        """The batches of these places."""
        return Asked(self.batches.only(range(first, end)), self.first_rows[first:end])

    def total(self, view: View, asked: Any) -> Any:
        """What is asked of all rows, as `passes.Expectation` is."""
        cluster = self.batches.cluster
        if asked.constant is not self._constant[0]:
            self._constant = asked.constant, cluster.hold(asked.constant)
        held = cluster.hold(replace(asked, constant=None))
        found = self.batches.run(pass_over, view, held, self._constant[1], each=self.first_rows)
        return sum(found[1:], start=found[0]).total()


class ClusterSource(SurveyedSource):
    """Rows on the workers of a cluster; see `Source`.

    Parameters
    ----------
    asked : Asked
    survey, classes : see `SurveyedSource`
    """

    def __init__(self, asked: Asked, survey: Survey, classes: np.ndarray | None = None):
        super().__init__(survey, classes)
        self._asked = asked

    @property
    def view(self) -> View:
        return View(self.missing, self._factor)

    def batches(self) -> Iterator[Batch]:
        """All batches, which come here one after the other: no pass of a fit needs that."""
        batches = self._asked.batches
        for future in batches.futures:
            yield self.view.of(batches.cluster.gather(future))

    def total(self, asked: Any) -> Any:
        return self._asked.total(self.view, asked)

    def blocks(self, n_blocks: int) -> "list[PartitionBlock]":
        """Neighbouring partitions in blocks of about as many rows."""
        cuts = sequence_cuts(np.array([*self._asked.first_rows, self.n_rows]), n_blocks)
        return [
            PartitionBlock(self._asked.part(first, end), self.view) for first, end in pairwise(cuts)
        ]

    def plain(self, block: int | None = None) -> "PlainPartitions":
        return PlainPartitions(self, self._asked, block)


class PlainPartitions:
    """The rows of a source, or a block of their columns, and nothing else that is known of them."""

    def __init__(self, source: ClusterSource, asked: Asked, block: int | None):
        self._source, self._asked = source, asked
        self._view = replace(source.view, plain=True, block=block)

    def head(self, n_rows: int) -> Any:
        rows = self._source.head(n_rows)
        return rows if self._view.block is None else rows.parts[self._view.block]

    def total(self, asked: Any) -> Any:
        return self._asked.total(self._view, asked)


class PartitionBlock:
    """Some of the partitions of a source."""

    def __init__(self, asked: Asked, view: View):
        self._asked, self._view = asked, view
        self.first_row = asked.first_rows[0]

    def total(self, asked: Any) -> Any:
        return self._asked.total(self._view, asked)
