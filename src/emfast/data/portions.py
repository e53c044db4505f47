"""Portions of a source, and what all portions of one source have in common."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from emfast.inputs.optional import instance_of

# Names that messages tell.
MOST_NAMES = 10


@dataclass(frozen=True)
class Portion:
    """Some rows of a source, one after the other, as they were read.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features), pyarrow.RecordBatch, pandas.DataFrame, sparse matrix
        or array, or list of sequences, which are ndarrays of shape (n_rows_of_sequence, n_features)
        The features only.
    where : str, what messages call it: "part-3.parquet, batch 7"
    columns : dict of str to ndarray, pyarrow.Array or pandas.Categorical of shape (n_rows,)
        The columns that were asked for by name; for sequences they may have one entry a sequence.
    """

    X: Any
    where: str
    columns: dict[str, Any] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        return sum(map(len, self.X)) if isinstance(self.X, list) else self.X.shape[0]


class Reader(Protocol):
    """What rows are read from, in portions, as often as needed.

    Attributes
    ----------
    n_rows : int, or None if that is not known without reading all
    names : tuple of str of length n_features, or None where features have no names
    """

    @property
    def n_rows(self) -> int | None: ...

    @property
    def names(self) -> tuple[str, ...] | None: ...

    def portions(self, batch_rows: int) -> Iterator[Portion]:
        """All rows in their order, from the first on in every call, in portions of up to so many.

        Files are open until the iterator is exhausted or closed.
        """


def is_record_batch(X: Any) -> bool:
    return instance_of(X, "pyarrow", "RecordBatch")


def is_of_dask(X: Any) -> bool:
    """Whether Dask has it: a collection, or a list of what is delayed or in the future."""
    if isinstance(X, list | tuple) and X:
        X = X[0]
    return type(X).__module__.split(".")[0] in ("dask", "distributed")


def check_apart(apart: Sequence[str], names: Sequence[str] | None, where: str) -> tuple[str, ...]:
    """The names of the features: all columns but those apart.

    Raises
    ------
    ValueError
        There is no column of that name, or no other one.
    """
    if names is None:
        raise ValueError(
            f"X: {where}: there is no column {apart[0]!r}, for the columns have no names; expected "
            "a table, or labels and weights as arrays"
        )
    for name in apart:
        if name not in names:
            raise ValueError(
                f"X: {where}: there is no column {name!r}; the columns are {listed(names)}"
            )
    features = tuple(name for name in names if name not in set(apart))
    if not features:
        raise ValueError(f"X: {where}: no columns are left to be features")
    return features


def listed(names: Sequence[str]) -> str:
    """The first of the names."""
    shown = ", ".join(map(str, names[:MOST_NAMES]))
    return f"{shown}, ... ({len(names)})" if len(names) > MOST_NAMES else shown


def portions_of(batch: Any, where: str, apart: Sequence[str], most: int) -> Iterator[Portion]:
    """A batch, whatever it is, as portions of up to `most` rows.

    Parameters
    ----------
    batch : array, pandas, polars or pyarrow table, sparse matrix, or list of rows or sequences
        Or a tuple of one of them and a dict with columns of its rows.
    where : str, what messages call it
    apart : sequence of str
        Columns that are no features: of the dict if it has them, else of the table.
    most : int

    Raises
    ------
    ValueError
        It is not two-dimensional, or misses a column.
    TypeError
        It is none of these.
    """
    given: dict[str, Any] = {}
    if isinstance(batch, tuple) and len(batch) == 2 and isinstance(batch[1], Mapping):
        batch, beside = batch
        given = {name: _as_column(beside[name]) for name in apart if name in beside}
    X = _as_rows(batch, where)
    if is_record_batch(X) or instance_of(X, "pyarrow", "Table"):
        yield from _of_arrow(X, where, apart, given, most)
        return
    if instance_of(X, "pandas", "DataFrame"):
        X, given = _of_pandas(X, where, apart, given)
    elif len(given) < len(apart):
        check_apart([name for name in apart if name not in given], None, where)
    _check_lengths(X, given, where)
    if isinstance(X, list) or X.shape[0] <= most:
        yield Portion(X, where, given)
        return
    for start in range(0, X.shape[0], most):
        rows = slice(start, start + most)
        part = X.iloc[rows] if hasattr(X, "iloc") else X[rows]
        yield Portion(part, where, {name: values[rows] for name, values in given.items()})


def _as_rows(X: Any, where: str) -> Any:
    """A batch as one of the types that `portions_of` tells apart."""
    if isinstance(X, np.ndarray):
        return _two_dimensional(_as_array(X), where)
    if is_record_batch(X) or instance_of(X, "pyarrow", "Table"):
        return X
    if instance_of(X, "polars", "DataFrame"):
        return of_polars(X)
    if sp.issparse(X):
        return sp.csr_array(X)
    if instance_of(X, "pandas", "DataFrame"):
        return X
    if isinstance(X, list | tuple) and X and all(np.ndim(rows) == 2 for rows in X):
        return [_as_array(rows) for rows in X]
    if isinstance(X, list | tuple) or hasattr(X, "__array__"):
        try:
            return _two_dimensional(np.asarray(X), where)
        except ValueError as error:
            raise ValueError(f"X: {where}: expected as many entries in every row") from error
    raise TypeError(
        f"X: {where}: found a {type(X).__name__}; expected arrays, data frames or record batches"
    )


def _as_array(X: Any) -> np.ndarray:
    """An array of no other class; entries that are masked are NaN, or None among objects.

    What may be masked has one type, whether any entry is or not: batches of one source are alike.
    """
    if not isinstance(X, np.ma.MaskedArray):
        return np.asarray(X)
    if X.dtype.kind in "biuf":
        return X.astype(X.dtype if X.dtype.kind == "f" else np.float64).filled(np.nan)
    return X.astype(object).filled(None)


def _two_dimensional(X: np.ndarray, where: str) -> np.ndarray:
    if X.ndim != 2:
        raise ValueError(f"X: {where}: found an array of shape {X.shape}; expected two dimensions")
    return X


def of_polars(frame: Any) -> Any:
    """A polars frame as an Arrow table, whose numbers are not copied."""
    needs_pyarrow("polars")
    return frame.to_arrow()


def needs_pyarrow(what: str) -> None:
    """Raise where pyarrow, which reads that, is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(f"X: {what} needs pyarrow: pip install 'emfast[arrow]'") from error


def _split(
    names: Sequence[str], where: str, apart: Sequence[str], given: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """The features of a table, and its columns apart that are not given beside it."""
    wanted = [name for name in apart if name not in given]
    features = check_apart(wanted, names, where)
    return [name for name in features if name not in given], wanted


def _of_arrow(
    X: Any, where: str, apart: Sequence[str], given: dict[str, Any], most: int
) -> Iterator[Portion]:
    features, wanted = _split(X.schema.names, where, apart, given)
    _check_lengths(X, given, where)
    start = 0
    for batch in _record_batches(X, most):
        rows = slice(start, start + batch.num_rows)
        columns = {name: values[rows] for name, values in given.items()}
        columns |= {name: batch.column(name) for name in wanted}
        yield Portion(batch.select(features) if apart else batch, where, columns)
        start = rows.stop


def _record_batches(X: Any, most: int) -> Iterator[Any]:
    """Pieces of a table or record batch, none of which is a copy."""
    if is_record_batch(X):
        for start in range(0, X.num_rows, most):
            yield X.slice(start, most)
    else:
        yield from X.to_batches(max_chunksize=most)


def _of_pandas(
    X: Any, where: str, apart: Sequence[str], given: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    if not apart:
        return X, given
    features, wanted = _split(list(X.columns), where, apart, given)
    return X[features], given | {name: _as_column(X[name]) for name in wanted}


def _as_column(values: Any) -> Any:
    if instance_of(values, "pyarrow", "Array") or isinstance(values, np.ndarray):
        return values
    if instance_of(getattr(values, "dtype", None), "pandas", "CategoricalDtype"):
        # The order of its categories says something.
        return values.array
    if instance_of(values, "pyarrow", "ChunkedArray"):
        return values.combine_chunks()
    return np.asarray(values)


def _check_lengths(X: Any, columns: Mapping[str, Any], where: str) -> None:
    """Raise where a column does not have an entry for every row, or every sequence."""
    n_rows = Portion(X, where).n_rows
    right = {n_rows, len(X)} if isinstance(X, list) else {n_rows}
    for name, values in columns.items():
        if len(values) not in right:
            raise ValueError(
                f"X: {where}: found {len(values)} entries of {name!r}; expected one for each of "
                f"{n_rows} rows"
            )


@dataclass(frozen=True)
class Form:
    """What is the same for all rows of a source.

    Attributes
    ----------
    kind : str, of the container of rows
    width : int, how many features there are
    names : tuple of str, or None where they have no names
    types : tuple of str, one for each feature, or one for all
    """

    kind: str
    width: int
    names: tuple[str, ...] | None
    types: tuple[str, ...]

    def unlike(self, expected: "Form") -> str | None:
        """What is found and what is expected, if these are not the same."""
        if self == expected:
            return None
        if self.names is not None and expected.names is not None and self.names != expected.names:
            return _other_names(self.names, expected.names)
        if self.width != expected.width:
            return f"found {self.width} columns; expected {expected.width}"
        if self.kind != expected.kind or len(self.types) != len(expected.types):
            return f"found {self.kind}; expected {expected.kind}"
        for column, (found, right) in enumerate(zip(self.types, expected.types, strict=True)):
            if found != right:
                name = "" if self.names is None else f" in column {self.names[column]!r}"
                return f"found {found}{name}; expected {right}"
        return f"found names {self.names}; expected {expected.names}"


def _other_names(found: tuple[str, ...], expected: tuple[str, ...]) -> str:
    missing = [name for name in expected if name not in found]
    more = [name for name in found if name not in expected]
    if missing:
        return f"found no column {missing[0]!r} among {listed(found)}; expected {listed(expected)}"
    if more:
        return f"found also a column {more[0]!r}; expected {listed(expected)}"
    return f"found the columns {listed(found)}; expected them in the order {listed(expected)}"


def form_of(X: Any) -> Form:
    """The form of the rows of a portion."""
    if is_record_batch(X):
        names = tuple(X.schema.names)
        return Form("a table", len(names), names, tuple(map(arrow_type, X.schema.types)))
    if hasattr(X, "dtypes"):
        names = tuple(X.columns)
        return Form("a data frame", len(names), names, tuple(map(str, X.dtypes)))
    if isinstance(X, list):
        widths, types = {rows.shape[1] for rows in X}, {str(rows.dtype) for rows in X}
        if len(widths) > 1 or len(types) > 1:
            many = sorted(map(str, widths if len(widths) > 1 else types))
            raise ValueError(f"found sequences of {' and '.join(many)} columns; expected as many")
        # A batch of one sequence may come as its rows.
        return Form("an array", widths.pop(), None, (types.pop(),))
    kind = "sparse rows" if sp.issparse(X) else "an array"
    return Form(kind, X.shape[1], None, (_array_type(X.dtype),))


def arrow_type(of_column: Any) -> str:
    """The type of a column, the same for all ways to encode it."""
    import pyarrow as pa

    if pa.types.is_dictionary(of_column):
        of_column = of_column.value_type
    name = str(of_column)
    return "string" if name in ("large_string", "string_view") else name


def _array_type(dtype: np.dtype) -> str:
    return {"U": "strings", "S": "bytes", "O": "objects"}.get(dtype.kind, str(dtype))


def column_kind(values: Any) -> str | None:
    """Whether a column has numbers or something else; None for a column without values.

    Missing entries make floats of integers, so that numbers may be of any type.
    """
    if isinstance(values, np.ndarray):
        return "numbers" if values.dtype.kind in "biuf" else _array_type(values.dtype)
    if not hasattr(values, "type"):
        return "categories"
    import pyarrow as pa

    kind = values.type
    if pa.types.is_null(kind):
        return None
    types = pa.types
    numbers = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    return "numbers" if any(is_one(kind) for is_one in numbers) else arrow_type(kind)
