"""Portions of a source as batches, with what is known of their rows."""

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from emfast.data.batch import Batch
from emfast.data.mapped import is_used_where_it_is
from emfast.data.portions import Portion, Reader, is_of_dask, is_record_batch
from emfast.data.readers import reader_of
from emfast.data.stream import SurveyedSource, surveyed
from emfast.data.survey import Plan, Survey
from emfast.inputs.arguments import check_sample_weight, check_some_weight
from emfast.inputs.columnar import column_rows
from emfast.inputs.labels import NOTHING_KNOWN, Labels, label_names, sorted_classes

# What a portion of numbers in single precision is to have, and where nobody knows how many columns
# there are.
PORTION_BYTES = 1 << 25
PORTION_ROWS = 1 << 15


def rows_of_a_portion(n_features: int) -> int:
    """How many rows a portion is to have at most; 0 if nobody knows how many features there are."""
    return max(1, PORTION_BYTES // (4 * n_features)) if n_features else PORTION_ROWS


@contextmanager
def told_where(where: str) -> Iterator[None]:
    """Errors of the block tell which portion they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{error} (in {where})") from error


def _check_reaches(argument: str, length: int, stop: int) -> None:
    if length < stop:
        raise ValueError(
            f"{argument}: found {length} entries; expected one for each row, of which there are "
            f"{stop} at least"
        )


class Place(NamedTuple):
    """Where a portion begins: its first row, and its first sequence if it has sequences."""

    row: int
    sequence: int

    def after(self, batch: Batch) -> "Place":
        """Where the next one does."""
        n = 0 if batch.sequences is None else batch.n_independent
        return Place(self.row + batch.n_rows, self.sequence + n)


START = Place(0, 0)


def check_length(argument: str, length: int, end: Place) -> None:
    """Raise where an argument has not as many entries as there are rows, or weights sequences."""
    of_sequences = argument == "sample_weight" and end.sequence > 0
    n, unit = (end.sequence, "sequences") if of_sequences else (end.row, "rows")
    if length != n:
        raise ValueError(f"{argument}: found {length} entries; expected one for each of {n} {unit}")


def observe(
    estimator: Any,
    X: Any,
    labels: Any,
    sample_weight: Any,
    classes: np.ndarray | None = None,
    y: Any = None,
) -> "Observer | None":
    """An observer of rows that come in portions; None where they are in memory.

    Parameters
    ----------
    estimator : FittedModel
    X : see `readers.reader_of`
    labels, sample_weight, y : as in `fit`, or the name of a column
    classes : ndarray of shape (n_classes,), optional, names that components have already
    """
    if is_used_where_it_is(X):
        return None
    given = {"labels": labels, "sample_weight": sample_weight, "y": y}
    if is_of_dask(X):
        from emfast.data.distributed import dask_observer

        return dask_observer(estimator, X, given, classes)
    columns = {name: value for name, value in given.items() if isinstance(value, str)}
    apart = tuple(dict.fromkeys(columns.values()))
    reader = reader_of(X, apart=apart)
    if reader is None:
        return None
    if classes is not None and reader.names is not None:
        # What was fitted has its columns, whatever there is beside them.
        expected = set(getattr(estimator, "feature_names_in_", reader.names))
        others = [name for name in reader.names if name not in expected]
        if others and len(others) < len(reader.names):
            reader = reader_of(X, apart=(*apart, *others))
    return Observer(estimator, reader, columns, *known_of_rows(estimator, given, columns, classes))


def known_of_rows(
    estimator: Any, given: dict[str, Any], columns: dict[str, str], classes: np.ndarray | None
) -> tuple[Labels, dict[str, np.ndarray], np.ndarray | None]:
    """What is in memory for every row, and the names of components: see `Observer`.

    Parameters
    ----------
    given : dict, by argument what people gave
    columns : dict, by argument the columns that it is instead
    """
    labels, known = given["labels"], NOTHING_KNOWN
    if labels is not None and "labels" not in columns:
        known = estimator._labels_of(labels, len(labels), classes)
    values = {
        name: np.asarray(value)
        for name, value in given.items()
        if value is not None and name != "labels" and name not in columns
    }
    return known, values, classes if known.classes is None else known.classes


@dataclass(frozen=True)
class Observer:
    """What a fit, or a question to a fitted model, knows of the rows of a source.

    Attributes
    ----------
    estimator : FittedModel, which says what rows it takes
    reader : Reader
    columns : dict of str to str, by argument ("labels", "sample_weight", "y") the columns they are
    labels : Labels of all rows; nothing where they come as a column
    values : dict of str to ndarray, by argument what else there is for every row
    classes : ndarray or None, names of components
    """

    estimator: Any
    reader: Reader
    columns: dict[str, str]
    labels: Labels
    values: dict[str, np.ndarray]
    classes: np.ndarray | None = None

    def learned(self) -> "Observer":
        """What has to be seen of all rows before any of them is a batch.

        The estimator learns what columns there are, and the names of components are looked for.
        """
        self.estimator._learn(self)
        if "labels" not in self.columns:
            return self
        found = []
        for names in self._label_names():
            if names is None:
                return self
            if len(names):
                found.append(names)
        if not found:
            return self
        classes = found[0]
        if any(not np.array_equal(names, classes) for names in found):
            classes = sorted_classes(np.concatenate([names.astype(object) for names in found]))
        return replace(self, classes=classes)

    def _label_names(self) -> Iterator[np.ndarray | None]:
        """The different names among the labels of every portion; None where they are no names."""
        for portion in self.portions():
            yield label_names(portion.columns[self.columns["labels"]])

    def source(self, plan: Plan) -> SurveyedSource:
        """The rows as a fit goes over them, surveyed according to plan."""
        # Of rows without weight nobody knows how many there are.
        weighted = "sample_weight" in {*self.columns, *self.values}
        plan = replace(plan, n_rows=None if weighted else self.reader.n_rows)
        return surveyed(self.batches, plan, self.classes)

    def batches(self, survey: Survey | None = None) -> Iterator[Batch]:
        """All rows; after a survey without looking for what it would have found."""
        first, used = START, False
        with closing(self.portions()) as portions:
            for portion in portions:
                batch = self.batch(portion, first, survey)
                first = first.after(batch)
                used = used or batch.n_used > 0
                yield batch
        self.check_lengths(first)
        check_some_weight(used)

    @property
    def _portion_rows(self) -> int:
        """How many rows a portion is to have at most."""
        if self.estimator._keeps_portions:
            return sys.maxsize
        names = self.reader.names
        width = getattr(self.estimator, "n_features_in_", 0) if names is None else len(names)
        return rows_of_a_portion(width)

    def portions(self) -> Generator[Portion, None, None]:
        """All portions that have rows."""
        with closing(self.reader.portions(self._portion_rows)) as portions:
            yield from (portion for portion in portions if portion.n_rows)

    def tables(self) -> Iterator[Any]:
        """The features of all rows, in arrays or tables."""
        with closing(self.portions()) as portions:
            for portion in portions:
                yield self._table(portion)

    def targets(self) -> Iterator[tuple[Any, Any, np.ndarray | None]]:
        """The features of all rows, with what `y` is for them and their weights."""
        for portion, y, weights in self.known():
            yield self._table(portion), y, weights

    def known(self) -> Iterator[tuple[Portion, Any, np.ndarray | None]]:
        """All portions of independent rows, with what `y` is for them and their weights."""
        first = 0
        with closing(self.portions()) as portions:
            for portion in portions:
                rows = slice(first, first + portion.n_rows)
                with told_where(portion.where):
                    y = self._of("y", portion, rows)
                    weights = self._of("sample_weight", portion, rows)
                    weights = check_sample_weight(weights, portion.n_rows, some=False)
                yield portion, y, weights
                first = rows.stop
        self.check_lengths(Place(first, 0))

    def with_labels(self, made: Callable[[Any, int], np.ndarray]) -> "Labelled":
        """The rows as a source, with labels that are made of `y`.

        Parameters
        ----------
        made : callable, (y of some rows, how many there are) -> their labels
        """
        return Labelled(self, made)

    def each(self, ask: Callable[[Any], object]) -> None:
        """Ask something about all tables, one after the other, until there is no more to ask.

        Parameters
        ----------
        ask : callable, which returns whether to go on; its errors tell which portion it was
        """
        with closing(self.portions()) as portions:
            for portion in portions:
                with told_where(portion.where):
                    if not ask(self._table(portion)):
                        return

    def batch(
        self,
        portion: Portion,
        first: "Place",
        survey: Survey | None = None,
        *,
        reset: bool = False,
    ) -> Batch:
        """A portion that has its place among all rows.

        Raises
        ------
        ValueError, TypeError
            What is wrong with it, and which it is.
        """
        with told_where(portion.where):
            batch = self._rows(portion, first, survey, reset)
            return replace(
                batch,
                labels=self._labels(portion, first, batch),
                weights=self._weights(portion, first, batch),
            )

    def _rows(self, portion: Portion, first: "Place", survey: Survey | None, reset: bool) -> Batch:
        X = self._of_columns(portion.X)
        if survey is not None and self.estimator._takes_again(X):
            return Batch(X, missing=survey.missing)
        y = self._of("y", portion, slice(first.row, first.row + portion.n_rows))
        return self.estimator._portion(X, y, reset=reset)

    def _table(self, portion: Portion) -> Any:
        """The features of a portion, whose rows may be in several sequences."""
        X = self._of_columns(portion.X)
        return np.concatenate(X) if isinstance(X, list) else X

    def _of_columns(self, X: Any) -> Any:
        """A record batch as rows or as a table, whichever the estimator takes."""
        if not is_record_batch(X):
            return X
        if self.estimator._takes_columns:
            rows = column_rows(X)
            if rows is not None:
                return rows
        import pyarrow

        return pyarrow.Table.from_batches([X])

    def _of(self, argument: str, portion: Portion, rows: slice) -> Any:
        """What an argument has for these rows; None if it is not given."""
        if argument in self.columns:
            return portion.columns[self.columns[argument]]
        values = self.values.get(argument)
        if values is None:
            return None
        _check_reaches(argument, len(values), rows.stop)
        return values[rows]

    def _weights(self, portion: Portion, first: "Place", batch: Batch) -> np.ndarray | None:
        n, unit, start = batch.n_rows, "row", first.row
        if batch.sequences is not None:
            n, unit, start = batch.n_independent, "sequence", first.sequence
        weights = self._of("sample_weight", portion, slice(start, start + n))
        return check_sample_weight(weights, n, unit, some=False)

    def _labels(self, portion: Portion, first: "Place", batch: Batch) -> Labels:
        if "labels" not in self.columns:
            rows = slice(first.row, first.row + batch.n_rows)
            if self.labels.n_rows is not None:
                _check_reaches("labels", self.labels.n_rows, rows.stop)
            return self.labels.take(rows)
        values = portion.columns[self.columns["labels"]]
        return self.estimator._labels_of(values, batch.n_rows, self.classes)

    def check_lengths(self, end: "Place") -> None:
        """Raise where what is in memory has not as many entries as there are rows."""
        lengths = {name: len(values) for name, values in self.values.items()}
        if self.labels.n_rows is not None:
            lengths["labels"] = self.labels.n_rows
        for name, length in lengths.items():
            check_length(name, length, end)


@dataclass(frozen=True)
class Labelled:
    """Rows with columns of labels and, if they have them, weights; see `Observer.with_labels`."""

    observer: Observer
    made: Callable[[Any, int], np.ndarray]

    # No column of a table has such a name by chance.
    labels = "what is known of components"
    weights = "how often a row counts"

    def __iter__(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        for portion, y, weights in self.observer.known():
            beside = {self.labels: self.made(y, portion.n_rows)}
            if weights is not None:
                beside[self.weights] = weights
            yield portion.X, beside
