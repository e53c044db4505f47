"""Portions of a source as batches, with what is known of their rows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emfast.arguments import check_sample_weight
from emfast.data.batch import Batch
from emfast.data.columnar import column_rows
from emfast.data.portions import Portion, Reader, is_record_batch
from emfast.data.readers import reader_of
from emfast.data.survey import Survey
from emfast.labels import NOTHING_KNOWN, Labels, label_names, sorted_classes

# What a portion is to have.
PORTION_BYTES = 1 << 26
PORTION_ROWS = 1 << 17


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
    given = {"labels": labels, "sample_weight": sample_weight, "y": y}
    columns = {name: value for name, value in given.items() if isinstance(value, str)}
    reader = reader_of(X, apart=tuple(dict.fromkeys(columns.values())))
    if reader is None:
        return None
    known = NOTHING_KNOWN
    if labels is not None and "labels" not in columns:
        known = estimator._labels_of(labels, len(labels), classes)
    values = {
        name: np.asarray(value)
        for name, value in given.items()
        if value is not None and name != "labels" and name not in columns
    }
    return Observer(
        estimator,
        reader,
        columns,
        known,
        values,
        classes if known.classes is None else known.classes,
    )


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
        for portion in self.portions():
            names = label_names(portion.columns[self.columns["labels"]])
            if names is None:
                break
            found.append(names)
        if not found:
            return self
        classes = found[0]
        if any(not np.array_equal(names, classes) for names in found):
            classes = sorted_classes(np.concatenate([names.astype(object) for names in found]))
        return replace(self, classes=classes)

    def batches(self, survey: Survey | None = None) -> Iterator[Batch]:
        """All rows; after a survey without looking for what it would have found."""
        first_row, portions = 0, self.portions()
        try:
            for portion in portions:
                batch = self.batch(portion, first_row, survey)
                first_row += batch.n_rows
                yield batch
        finally:
            portions.close()
        self._check_lengths(first_row)

    def portions(self) -> Iterator[Portion]:
        names = self.reader.names
        n_rows = PORTION_ROWS if names is None else PORTION_BYTES // (4 * len(names))
        return self.reader.portions(max(1, n_rows))

    def batch(
        self, portion: Portion, first_row: int, survey: Survey | None = None, *, reset: bool = False
    ) -> Batch:
        """A portion whose first row is this one of all.

        Raises
        ------
        ValueError, TypeError
            What is wrong with it, and which it is.
        """
        try:
            batch = self._rows(portion, survey, reset)
            rows = slice(first_row, first_row + batch.n_rows)
            return replace(
                batch, labels=self._labels(portion, rows), weights=self._weights(portion, rows)
            )
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{error} (in {portion.where})") from error

    def _rows(self, portion: Portion, survey: Survey | None, reset: bool) -> Batch:
        X = portion.X
        if is_record_batch(X):
            X = self._of_table(X)
        if survey is not None and self.estimator._takes_again(X):
            return Batch(X, missing=survey.missing)
        y = self._of("y", portion, slice(0, portion.n_rows))
        return self.estimator._portion(X, y, reset=reset)

    def _of_table(self, X: Any) -> Any:
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
        if values is not None and len(values) < rows.stop:
            raise ValueError(
                f"{argument}: found {len(values)} entries; expected one for each row, and there "
                f"are {rows.stop} rows at least"
            )
        return None if values is None else values[rows]

    def _weights(self, portion: Portion, rows: slice) -> np.ndarray | None:
        weights = self._of("sample_weight", portion, rows)
        return check_sample_weight(weights, rows.stop - rows.start, some=False)

    def _labels(self, portion: Portion, rows: slice) -> Labels:
        if "labels" not in self.columns:
            return self.labels.take(rows)
        values = portion.columns[self.columns["labels"]]
        return self.estimator._labels_of(values, rows.stop - rows.start, self.classes)

    def _check_lengths(self, n_rows: int) -> None:
        lengths = {name: len(values) for name, values in self.values.items()}
        for known in (self.labels.component, self.labels.allowed):
            if known is not None:
                lengths["labels"] = len(known)
        for name, length in lengths.items():
            if length != n_rows:
                raise ValueError(
                    f"{name}: found {length} entries; expected one for each of {n_rows} rows"
                )
