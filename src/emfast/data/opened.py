"""Sources made of others: rows that are decoded once, and some of the columns of a table."""

import os
import weakref
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from emfast.data.cache import Cached, Closed
from emfast.data.portions import Portion, Reader, listed

# What makes a reader of X: see `readers.reader_of`.
Makes = Callable[..., Reader | None]


class Opened(metaclass=ABCMeta):
    """Rows that are read from a source.

    Attributes
    ----------
    source : what `fit` takes that is not in memory
    """

    source: Any

    @abstractmethod
    def reader(self, makes: Makes, apart: Sequence[str]) -> Reader:
        """What reads the rows; columns apart are no features.

        Parameters
        ----------
        makes : callable, makes readers of other sources
        apart : sequence of str
        """

    def _reader(self, makes: Makes, apart: Sequence[str]) -> Reader:
        found = makes(self.source, apart=apart)
        if found is None:
            raise TypeError(
                f"source: found a {type(self.source).__name__}; expected rows that are not in "
                "memory: files, or batches"
            )
        return found


@dataclass(frozen=True)
class SomeColumns(Opened):
    """The features that are named, and of all other columns those that are asked for by name."""

    source: Any
    features: tuple[str, ...]

    def reader(self, makes: Makes, apart: Sequence[str]) -> Reader:
        names = self._reader(makes, ()).names or ()
        for name in self.features:
            if name not in names:
                raise ValueError(f"X: there is no column {name!r}; the columns are {listed(names)}")
        features = {*self.features} - {*apart}
        others = [name for name in names if name not in features and name not in apart]
        return _Only(self._reader(makes, (*apart, *others)), tuple(apart))


@dataclass(frozen=True)
class _Behind:
    """A reader of what another one reads."""

    read: Reader

    @property
    def n_rows(self) -> int | None:
        return self.read.n_rows

    @property
    def names(self) -> tuple[str, ...] | None:
        return self.read.names


@dataclass(frozen=True)
class _Only(_Behind):
    """What a reader reads, with these columns apart and no others."""

    apart: tuple[str, ...]

    def portions(self, batch_rows: int) -> Iterator[Portion]:
        with closing(self.read.portions(batch_rows)) as portions:
            for portion in portions:
                columns = {name: portion.columns[name] for name in self.apart}
                yield replace(portion, columns=columns)


class CachedSource(Closed, Opened):
    """Rows that are decoded once: see `cached`.

    Attributes
    ----------
    source : what it was made of
    """

    def __init__(
        self,
        source: Any,
        folder: str | os.PathLike[str] | None = None,
        limit: int | None = None,
    ):
        self.source, self._folder, self._limit = source, folder, limit
        self._caches: dict[frozenset[str], Cached] = {}

    def reader(self, makes: Makes, apart: Sequence[str]) -> Reader:
        # Columns apart are not cached as features, and may be of any type.
        key = frozenset(apart)
        if key not in self._caches:
            made = self._reader(makes, tuple(apart))
            self._caches[key] = _OneOfSeveral(self, made, self._folder, self._limit)
        return _Named(self._caches[key])

    def close(self) -> None:
        """Remove all files; they are made again if rows are read again."""
        for each in list(self._caches.values()):
            each.close()

    def close_unless_read(self) -> None:
        """Remove the files that no pass reads."""
        for each in list(self._caches.values()):
            each.close_unless_read()

    def __repr__(self) -> str:
        return f"cached({self.source!r})"


class _OneOfSeveral(Cached):
    """A cache of a source that has room for one: it takes the place of those before."""

    def __init__(self, owner: CachedSource, *args: Any):
        super().__init__(*args)
        # A reference would let files live until cycles are looked for.
        self._owner = weakref.ref(owner)

    def _new_writer(self) -> Any:
        owner = self._owner()
        if owner is not None:
            owner.close_unless_read()
        return super()._new_writer()


@dataclass(frozen=True)
class _Named(_Behind):
    """What a cache has, with the names that its columns had."""

    def portions(self, batch_rows: int) -> Iterator[Portion]:
        names = self.names
        with closing(self.read.portions(batch_rows)) as portions:
            for portion in portions:
                yield portion if names is None else _named(portion, names)


def _named(portion: Portion, names: Sequence[str]) -> Portion:
    """The same numbers as a table, whose columns are not copied."""
    import pyarrow as pa

    arrays = [pa.array(column) for column in portion.X.T]
    return replace(portion, X=pa.RecordBatch.from_arrays(arrays, names=list(map(str, names))))


def cached(
    source: Any,
    *,
    folder: str | os.PathLike[str] | None = None,
    limit: int | None = None,
) -> CachedSource:
    """Rows that are decoded in the first pass over them, and in later ones mapped from files.

    It pays where decoding takes longer than computing, as of compressed Parquet, CSV, or batches
    that are computed; for about as much room on disk as the numbers take.

    Parameters
    ----------
    source : what `fit` takes that is not in memory
        Its features are numbers. Columns that stand for labels, weights or targets may be of any
        type.
    folder : path-like, optional
        Where to make the files; by default where temporary files go, which the environment variable
        TMPDIR says. If that is in memory, so are the files.
    limit : int, optional
        Bytes that the files may have; by default half of those that are free there. If that is too
        little, there is a warning, and rows are decoded in every pass.

    Returns
    -------
    source
        Methods of estimators take it for X. Its files are made by the first pass over all rows,
        and again if other columns stand for labels, weights or targets. They are removed at the end
        of a ``with`` block, by its `close`, when it is collected, when a pass that makes them
        fails, and when the interpreter exits.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    TypeError
        When it is read: rows are in memory, or features are no numbers.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import emfast
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "rows.csv"
    >>> X = np.repeat([[0.0, 1.0], [8.0, 9.0]], 50, axis=0) + np.random.default_rng(0).normal(
    ...     size=(100, 2)
    ... )
    >>> np.savetxt(path, X, delimiter=",", header="a,b", comments="")
    >>> with emfast.cached(path) as rows:
    ...     mixture = emfast.GaussianMixture(2, random_state=0).fit(rows)
    ...     print(np.bincount(mixture.predict(rows)))
    [50 50]
    >>> folder.cleanup()
    """
    if folder is not None and not os.path.isdir(folder):
        raise FileNotFoundError(f"folder: there is no folder {os.fspath(folder)}")
    return CachedSource(source, folder, limit)
