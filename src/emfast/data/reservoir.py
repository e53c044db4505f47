"""A sample of rows that are seen once, whose number nobody knows before the end.

Every row, or sequence, has a key that depends on a seed and on its place alone, and the sample has
those of the least keys (bottom-k sampling). So it does not matter how the rows come, and samples of
parts make up that of the whole (Cohen and Kaplan, 2007).

References
----------
Cohen, E. and Kaplan, H. (2007). Summarizing data using bottom-k sketches. Proceedings of the 26th
ACM Symposium on Principles of Distributed Computing, 225-234.
Steele, G. L., Lea, D. and Flood, C. H. (2014). Fast splittable pseudorandom number generators.
Proceedings of OOPSLA 2014, 453-472.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from emfast.data.batch import Batch, joined


def random_keys(seed: int, places: np.ndarray) -> np.ndarray:
    """Keys of things at these places, (n,), uint64: SplitMix64 of (seed, place)."""
    with np.errstate(over="ignore"):
        keys = (places.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        keys += np.uint64(seed % 2**64) * np.uint64(0xD1342543DE82EF95)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            keys ^= keys >> np.uint64(shift)
            keys *= np.uint64(factor)
        return keys ^ (keys >> np.uint64(31))


LARGEST_KEY = 2**64 - 1

# How much more than its share a part of the rows keeps, where all of them are to have the least
# keys of all.
SPARE = 1.25
SPARE_ROWS = 40


@dataclass
class Pool:
    """The rows, or sequences, of the least keys, as many as make up `capacity` rows.

    Attributes
    ----------
    seen, seen_rows : int, how many there have been, and rows of all these
    longest : int, rows of the longest of these
    threshold : int, the largest key that is worth keeping
    """

    capacity: int
    seen: int = 0
    seen_rows: int = 0
    longest: int = 1
    threshold: int = LARGEST_KEY
    _keys: list[np.ndarray] = field(default_factory=list)
    _places: list[np.ndarray] = field(default_factory=list)
    _batches: list[Batch] = field(default_factory=list)
    _n_rows: int = 0

    def add(self, batch: Batch, which: np.ndarray, keys: np.ndarray, places: np.ndarray) -> None:
        """Those of a batch that are named by `which`, with the keys and places of all."""
        self.seen += which.size
        if batch.sequences is None:
            self.seen_rows += which.size
        else:
            lengths = batch.lengths[which]
            self.seen_rows += int(lengths.sum())
            self.longest = max(self.longest, int(lengths.max(initial=1)))
        which = which[keys[which] <= np.uint64(self.threshold)]
        if which.size:
            taken = _taken(batch, which)
            self._keep(keys[which], places[which], taken)

    def __add__(self, other: "Pool") -> "Pool":
        pool = Pool(self.capacity, self.seen + other.seen, self.seen_rows + other.seen_rows)
        pool.longest = max(self.longest, other.longest)
        for each in (self, other):
            for keys, places, batch in zip(each._keys, each._places, each._batches, strict=True):
                pool._keep(keys, places, batch)
        return pool

    def _keep(self, keys: np.ndarray, places: np.ndarray, batch: Batch) -> None:
        self._keys.append(keys)
        self._places.append(places)
        self._batches.append(batch)
        self._n_rows += batch.n_rows
        if self._n_rows > 2 * self.capacity:
            self._drop()

    def _drop(self) -> None:
        """Leave what is above capacity."""
        if self._n_rows <= self.capacity:
            return
        keys = np.concatenate(self._keys)
        sizes = [
            np.ones(len(own), np.intp) if batch.sequences is None else batch.lengths
            for own, batch in zip(self._keys, self._batches, strict=True)
        ]
        self.threshold = int(_least_keys(keys, np.concatenate(sizes), self.capacity))
        parts = zip(self._keys, self._places, self._batches, strict=True)
        self._keys, self._places, self._batches, self._n_rows = [], [], [], 0
        for own, places, batch in parts:
            which = np.flatnonzero(own <= np.uint64(self.threshold))
            if which.size:
                self._keys.append(own[which])
                self._places.append(places[which])
                self._batches.append(_taken(batch, which))
                self._n_rows += self._batches[-1].n_rows

    def worth_keeping(self, capacity: int) -> int:
        """A threshold above the keys that are to be kept of all that has been seen."""
        return key_of_share(capacity, self.seen_rows, self.longest)

    def content(self) -> tuple[np.ndarray, Batch] | None:
        """Places, in order, and what is there; None where there is nothing."""
        self._drop()
        if not self._batches:
            return None
        places, batch = np.concatenate(self._places), joined(self._batches)
        if np.all(places[:-1] < places[1:]):
            return places, batch
        order = np.argsort(places)
        return places[order], _taken(batch, order)


def key_of_share(n_kept: int, n_rows: int, longest: int = 1) -> int:
    """A key that is above those of so many of all rows, and of hardly more.

    Rows may be in sequences, each of which has one key; the longest has so many.
    """
    share = (SPARE * n_kept + SPARE_ROWS * longest) / max(1, n_rows)
    return min(LARGEST_KEY, int(share * LARGEST_KEY))


def _least_keys(keys: np.ndarray, sizes: np.ndarray, capacity: int) -> np.uint64:
    """The largest key of those that come first and make up so many rows."""
    if sizes.max() == 1:
        return np.partition(keys, capacity - 1)[capacity - 1]
    order = np.argsort(keys)
    last = np.searchsorted(np.cumsum(sizes[order]), capacity)
    return keys[order[min(last, len(order) - 1)]]


def _taken(batch: Batch, which: np.ndarray) -> Batch:
    taken = batch.take(which) if batch.sequences is None else batch.of_sequences(which)
    return replace(taken, numbers=None)


def _of_group(capacity: int, n_groups: int) -> int:
    """How many rows of a sample are those of one group of labels, besides what comes by chance."""
    return max(1, capacity // (2 * max(1, n_groups)))


class Reservoir:
    """A sample of the rows of positive weight; more of those whose labels exclude components.

    Labelled rows are few and precious: up to half the sample is theirs, the same number for every
    group of labels, besides those that come by chance. Their weights make up for it.

    Parameters
    ----------
    capacity : int, rows
    n_groups : int, how many groups of labels there are
    seed : int
    thresholds : sequence of int, optional
        Keys above which nothing is kept, for all rows and for every group of labels. With the
        `thresholds` of a reservoir that has seen all rows, parts of them keep little more than
        what the sample of all needs.
    """

    def __init__(
        self, capacity: int, n_groups: int, seed: int, thresholds: Sequence[int] | None = None
    ):
        self._seed = seed
        self._all = Pool(capacity)
        self._groups = [Pool(_of_group(capacity, n_groups)) for _ in range(n_groups)]
        if thresholds is not None:
            for pool, threshold in zip(self._pools, thresholds, strict=True):
                pool.threshold = threshold

    @property
    def _pools(self) -> tuple[Pool, ...]:
        return (self._all, *self._groups)

    def thresholds(self, capacity: int) -> list[int]:
        """What parts of all rows that this has seen should keep for a sample of so many."""
        of_group = _of_group(capacity, len(self._groups))
        sizes = [capacity, *[of_group] * len(self._groups)]
        return [pool.worth_keeping(size) for pool, size in zip(self._pools, sizes, strict=True)]

    def add(self, batch: Batch, first: int) -> None:
        """Rows, or sequences, the first of which is at this place."""
        places = np.arange(first, first + batch.n_independent)
        keys = random_keys(self._seed, places)
        used = np.ones(len(places), bool) if batch.weights is None else batch.weights > 0
        self._all.add(batch, np.flatnonzero(used), keys, places)
        if batch.labels.nothing_known:
            return
        groups = batch.labels.groups(batch.n_rows)
        for k, pool in enumerate(self._groups):
            mine = groups == k
            if batch.sequences is not None:
                mine = np.add.reduceat(mine, batch.sequences[:-1]) > 0
            pool.add(batch, np.flatnonzero(mine & used), keys, places)

    def __add__(self, other: "Reservoir") -> "Reservoir":
        total = Reservoir(self._all.capacity, 0, self._seed)
        total._all = self._all + other._all
        total._groups = [mine + its for mine, its in zip(self._groups, other._groups, strict=True)]
        return total

    def content(self) -> Batch:
        """The sample, in the order of places."""
        parts = [pool.content() for pool in self._pools]
        found = [part for part in parts if part is not None]
        places = np.concatenate([each for each, _ in found])
        batch = joined([each for _, each in found])
        unique, at = np.unique(places, return_index=True)
        chosen = _taken(batch, at)
        if len(found) == 1:
            return chosen
        # The probability that neither chance nor its group has chosen it.
        spared = np.full(len(unique), 1 - len(found[0][0]) / self._all.seen)
        chance = 1 - spared[0]
        for pool, part in zip(self._groups, parts[1:], strict=True):
            if part is not None:
                spared[np.isin(unique, part[0])] *= 1 - len(part[0]) / pool.seen
        factors = np.where(spared < 1, chance / (1 - spared), 1.0)
        weights = factors if chosen.weights is None else factors * chosen.weights
        return replace(chosen, weights=weights)
