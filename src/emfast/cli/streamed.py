"""Rows that the command line does not load: they are read in batches, in every pass."""

import glob
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from emfast.cli.kinds import OF_COLUMNS, Data, Emissions, Roles, check_roles, is_chain
from emfast.cli.predictions import Columns, predicted, rows_for
from emfast.data import SomeColumns, read_ahead
from emfast.data.observer import rows_of_a_portion, told_where
from emfast.data.readers import reader_of
from emfast.data.tables import table_of
from emfast.estimators.base.hmm import BaseHMM
from emfast.inputs.arguments import check_sample_weight

# Bytes of a file above which it is streamed if nothing is said.
LARGE = 2**30


def is_streamed(file: Path, asked: bool | None, model: type) -> bool:
    """Whether the rows of a file, or of files, are read in batches.

    Parameters
    ----------
    file : Path of a file or a folder, or a pattern
    asked : bool or None, what ``--stream`` says
    model : type of the estimator

    Raises
    ------
    ValueError
        They have to be, and cannot.
    """
    several = file.is_dir() or (not file.exists() and glob.has_magic(str(file)))
    if asked is False and several:
        raise ValueError(f"--no-stream: {file} is several files; expected one")
    if is_chain(model) and (asked or several):
        raise ValueError(
            "--stream: the rows of a sequence have to be in memory; expected one file and "
            "--no-stream for hidden Markov models"
        )
    if asked is not None or several or is_chain(model):
        return bool(asked) or several
    # What is mapped into memory is not loaded anyway.
    is_mapped = file.suffix == ".npy"
    is_large = file.is_file() and os.path.getsize(file) > LARGE
    return is_large and not is_mapped and find_spec("pyarrow") is not None


def to_fit(model: str, file: Path, roles: Roles, emission: Emissions) -> Data:
    """Rows and the other arguments of `fit`, which are names of columns.

    Raises
    ------
    ValueError
        The model needs to see the values of columns, columns have no names, or are missing.
    OSError, ImportError
        See `readers.reader_of`.
    """
    check_roles(model, roles)
    if model in OF_COLUMNS and not emission.given:
        raise ValueError(f"--stream: --model {model} needs --emission, or --no-stream")
    given = {"labels": roles.labels, "y": roles.target, "sample_weight": roles.weights}
    fit_params = {name: column for name, column in given.items() if column is not None}
    names = _names(file)
    if names is None:
        if fit_params or roles.columns is not None:
            raise ValueError(
                f"--stream: the columns of {file} have no names; expected Parquet, Arrow or CSV"
            )
        first = next(reader_of(str(file)).portions(1))
        return Data(str(file), [f"x{j}" for j in range(first.X.shape[1])], is_streamed=True)
    apart = set(fit_params.values())
    wanted = [name for name in names if name not in apart]
    if roles.columns is not None:
        wanted = roles.columns
    source = SomeColumns(str(file), tuple(wanted))
    found = [name for name in names if name in set(wanted)]
    # Tells of columns that are missing.
    reader_of(source, apart=tuple(apart))
    return Data(source, found, fit_params, is_streamed=True)


def _names(file: Path) -> tuple[str, ...] | None:
    return reader_of(str(file)).names


def total_weight(data: Data) -> float:
    """The weight of all rows."""
    column = data.fit_params.get("sample_weight")
    apart = () if column is None else (column,)
    total = 0.0
    portions = reader_of(data.X, apart=apart).portions(rows_of_a_portion(len(data.names)))
    for portion in read_ahead(portions):
        weights = None if column is None else portion.columns[column]
        weights = check_sample_weight(weights, portion.n_rows, some=False)
        total += portion.n_rows if weights is None else float(weights.sum())
    return total


def answers(
    model: Any, names: list[str], file: Path, probabilities: bool, scores: bool
) -> Iterator[Columns]:
    """What `predictions.predicted` says of some rows at a time.

    Raises
    ------
    ValueError
        A column is missing, or is not what the model takes; which file it is in.
    """
    if isinstance(model, BaseHMM):
        raise ValueError("--stream: the rows of a sequence have to be in memory")
    source = str(file) if _names(file) is None else SomeColumns(str(file), tuple(names))
    portions = reader_of(source).portions(rows_of_a_portion(len(names)))
    for portion in read_ahead(portions):
        with told_where(portion.where):
            data = rows_for(model, names, table_of(portion.X))
            found = predicted(model, data, probabilities, scores)
        yield found
