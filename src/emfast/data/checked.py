"""Checks that hold for whatever rows are read from."""

from collections.abc import Iterator
from contextlib import closing

from emfast.data.portions import Form, Portion, Reader, column_kind, form_of


class Checked:
    """A reader whose portions are alike in every pass; portions without rows are left out.

    Attributes
    ----------
    n_rows, names : see `Reader`
        `n_rows` is known after one pass.

    Parameters
    ----------
    reader : Reader

    Raises
    ------
    ValueError
        From `portions`: the number of features, their names or types are not those of the first
        portion there ever was; there are no rows, or not as many as in the first pass.
    """

    def __init__(self, reader: Reader):
        self.reader = reader
        self._form: Form | None = None
        self._kinds: dict[str, str] = {}
        self._first = ""
        self._n_rows: int | None = None

    @property
    def n_rows(self) -> int | None:
        return self.reader.n_rows if self._n_rows is None else self._n_rows

    @property
    def names(self) -> tuple[str, ...] | None:
        return self.reader.names

    def portions(self, batch_rows: int) -> Iterator[Portion]:
        n_rows, where = 0, "before batch 0"
        with closing(self.reader.portions(batch_rows)) as portions:
            for portion in portions:
                if portion.n_rows == 0:
                    continue
                self._check(portion)
                n_rows, where = n_rows + portion.n_rows, portion.where
                if self.n_rows is not None and n_rows > self.n_rows:
                    raise ValueError(
                        f"X: {where}: found more than {self.n_rows} rows; expected {self.n_rows}"
                        f"{self._as_before()}"
                    )
                yield portion
        if n_rows == 0 and not self.n_rows:
            raise ValueError("X: found no batch with rows; expected 1 row at least")
        if self.n_rows is not None and n_rows != self.n_rows:
            raise ValueError(
                f"X: {where}: found the end after {n_rows} rows; expected {self.n_rows}"
                f"{self._as_before()}"
            )
        self._n_rows = n_rows

    def _as_before(self) -> str:
        return " in all" if self._n_rows is None else " as in the first pass"

    def _check(self, portion: Portion) -> None:
        try:
            form = form_of(portion.X)
        except ValueError as error:
            raise ValueError(f"X: {portion.where}: {error}") from error
        if self._form is None:
            self._form, self._first = form, portion.where
        elif (difference := form.unlike(self._form)) is not None:
            raise ValueError(f"X: {portion.where}: {difference}, as in {self._first}")
        for name, values in portion.columns.items():
            kind = column_kind(values)
            expected = self._kinds.setdefault(name, kind) if kind else None
            if kind != expected and kind:
                raise ValueError(
                    f"X: {portion.where}: found {kind} in column {name!r}; expected {expected} as "
                    f"in {self._first}"
                )
