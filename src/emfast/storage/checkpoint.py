"""The state of a fit in a file, from which the same call goes on where a process has ended.

This is around the driver, and in no model, as `watch` is. A file has what the run under way needs
to go on (`em.State`), what the starts before it have come to, which their owner tells, and of which
fit all that is: its arguments and its rows. It is an archive of arrays and JSON, see `persistence`.
"""

import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp

from emfast import em
from emfast.acceleration import Cycle
from emfast.exceptions import CheckpointWarning
from emfast.storage import archive, persistence
from emfast.storage.archive import Arrays
from emfast.storage.stored import Kept, ListOf, OrNone, Record, Whole, checked_all
from emfast.storage.stored_statistics import StoredStatistics

# The file is written after an iteration if so many seconds have passed since it was last written,
# and that has taken no more than this fraction of them.
INTERVAL = 1.0
SHARE = 1 / 20

# Arguments that change nothing of what a fit comes to.
NOT_OF_THE_FIT = (
    "n_threads",
    "verbose",
    "verbose_interval",
    "progress",
    "callback",
    "checkpoint",
)

# Rows of an array, evenly spread, that tell it from others.
ROWS_OF_DIGEST = 10_000

# By how much an objective differs at most, in units of 1 + its size, where another instruction set
# adds up the same rows.
ROUNDING = {"float64": 1e-9, "float32": 1e-5}

# What has changed where these have, of which people have but a digest.
DIGESTS = {
    "digest": "of other rows, labels or weights",
    "start": "that went on from another model (warm_start)",
}

HOW_TO_GO_ON = "remove the file to begin anew, or name another"

Standing = TypeVar("Standing")


@dataclass(frozen=True)
class Current:
    """The run under way.

    Attributes
    ----------
    start : int, the number of the start that it is of
    done : int, iterations of that start in an earlier run, which this one goes on from
    state : em.State, where it has come to
    """

    start: int
    done: int
    state: em.State


def kind_of_state(model: Kept) -> Record:
    """What a stored `em.State` has to be, whose models have to be of a kind."""
    cycle = Record(Cycle, path=ListOf(model), ahead=OrNone(model), gain=float)
    return Record(
        em.State,
        model=model,
        objectives=list[float],
        history=ListOf(float, least=1),
        converged=bool,
        cycle=OrNone(cycle),
        carried=OrNone(ListOf(StoredStatistics())),
    )


class Checkpoint:
    """The file of one fit.

    Parameters
    ----------
    estimator : estimator with the argument `checkpoint`, which is a path
    rows : dict of str to JSON value
        What tells the rows, and all that is known of them, from others.
    model : Kept, what models under way have to be
    standing : dict, what each of the values has to be that their owner keeps: see `begin`
    """

    def __init__(
        self,
        estimator: Any,
        rows: dict[str, Any],
        model: Kept,
        standing: Mapping[str, Any],
    ):
        self._name = os.fspath(estimator.checkpoint)
        # Wherever the process goes meanwhile.
        self._path = os.path.abspath(self._name)
        self._fit = {
            "class": type(estimator).__name__,
            "arguments": _arguments_of(estimator),
            "rows": rows,
        }
        current = Record(Current, start=Whole(), done=Whole(), state=kind_of_state(model))
        self._kinds = {**standing, "current": OrNone(current)}
        self._rounding = ROUNDING.get(rows.get("dtype", ""), ROUNDING["float64"])
        self._standing: Callable[[], dict[str, Any]] = dict
        self._current: Current | None = None
        self._resumed: Current | None = None
        self._written: Current | None = None
        self._is_there = self._is_off = self._warned = False
        self._content: tuple[dict[str, Any], Arrays] | None = None
        self._last, self._spent = time.perf_counter(), 0.0

    # What an earlier process has left

    def read(self, restored: Callable[[dict[str, Any]], Standing]) -> Standing | None:
        """What the file keeps of this fit; None where there is no file.

        Nor has a warm start use for that of a fit which was stopped, and left the model it has.

        Parameters
        ----------
        restored : callable, makes something of the values that `begin` was told of

        Raises
        ------
        ValueError
            The file is damaged, or none of a fit, or of another one.

        Warns
        -----
        CheckpointWarning
            There is something that cannot be read, and that is not written to.
        """
        try:
            header, arrays = archive.read(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._is_off = True
            self._warn("read", error)
            return None
        except ValueError as error:
            raise ValueError(
                f"checkpoint: {error}; expected the checkpoint of a fit, or no file; {HOW_TO_GO_ON}"
            ) from error
        if "checkpoint" not in header:
            raise ValueError(
                f"checkpoint: {self._name}: found a saved model; expected the checkpoint of a fit, "
                "or no file; name another"
            )
        try:
            content = header.pop("checkpoint")
            if content["left"] is not None and content["left"] == self._fit["rows"].get("start"):
                return None
            self._check_fit(content["fit"])
            kept = persistence.decode(content["kept"], arrays)
            if header or arrays:
                raise ValueError(f"unknown entries {sorted([*header, *arrays])}")
            kept = checked_all(self._kinds, kept, {})
            self._current = self._resumed = self._written = kept.pop("current")
            standing = restored(kept)
        except _OtherFitError:
            raise
        except Exception as error:
            # Whatever the file says has been tried; the list of errors is open.
            raise self._damaged(archive.in_one_line(error)) from error
        self._is_there = True
        return standing

    def _damaged(self, why: str) -> ValueError:
        return ValueError(f"checkpoint: {self._name}: a damaged file ({why}); {HOW_TO_GO_ON}")

    def _check_fit(self, found: dict[str, Any]) -> None:
        """Raise where the file is of another fit."""
        if found["class"] != self._fit["class"]:
            raise self._of_another_fit("", found["class"], self._fit["class"])
        for group in ("arguments", "rows"):
            for name, expected in self._fit[group].items():
                if found[group].get(name) != expected:
                    raise self._of_another_fit(name, found[group].get(name), expected)

    def _of_another_fit(self, name: str, found: Any, expected: Any) -> ValueError:
        if name in DIGESTS:
            said = f"found a fit {DIGESTS[name]}; expected that of this call"
        elif isinstance(found, dict) or isinstance(expected, dict):
            said = f"found a fit with another {name}; expected that of this call"
        elif name:
            said = f"found a fit with {name}={found!r}; expected {expected!r}, as in this call"
        else:
            said = f"found a fit of {found}; expected one of {expected}"
        return _OtherFitError(f"checkpoint: {self._name}: {said}; {HOW_TO_GO_ON}")

    def _check_objective(self, found: float, expected: float) -> None:
        """Raise where a model has not the objective that it had on the rows of the file's fit."""
        if not abs(found - expected) <= self._rounding * (1 + abs(expected)):
            raise _OtherFitError(
                f"checkpoint: {self._name}: found a fit of other rows, on which its model has the "
                f"objective {expected:.9g}; it has {found:.9g} on these; {HOW_TO_GO_ON}"
            )

    def trace(self, problem: Any, state: em.State) -> em.Trace:
        """The run that has ended in a state."""
        ended = em.maximize(problem, None, max_iter=len(state.objectives), state=state)
        self._check_objective(ended.objective, state.objective)
        return ended

    def state(self, start: int, done: int) -> em.State | None:
        """Where the run of a start goes on; None if it has not begun."""
        if self._resumed is None:
            return None
        if (self._resumed.start, self._resumed.done) != (start, done):
            raise self._damaged("the run under way is not the one that its starts wait for")
        return self._resumed.state

    # What this one leaves

    def begin(self, standing: Callable[[], dict[str, Any]]) -> None:
        """The fit begins, or goes on.

        Parameters
        ----------
        standing : callable, tells values by their names: what has been done besides the run under
            way
        """
        self._standing = standing
        if not self._is_off:
            archive.remove_temporaries(self._path)
            if not self._is_there:
                self.write()

    def keep(self, start: int, done: int, state: em.State) -> None:
        """Take note of where the run under way has come to, and write that if it is time."""
        if self._resumed is not None:
            self._check_objective(state.objective, self._resumed.state.objective)
            self._resumed = None
        self._current = Current(start, done, state)
        since = time.perf_counter() - self._last
        if since >= INTERVAL and self._spent <= SHARE * since:
            self.write()

    def write(self) -> None:
        """Write the file, unless it has the same."""
        if self._is_off or (self._is_there and self._written is self._current):
            return
        began = time.perf_counter()
        arrays: Arrays = {}
        kept = {**self._standing(), "current": self._current}
        content = {
            "fit": self._fit,
            "kept": persistence.encode(kept, "kept", arrays, fitted=False),
            "left": None,
        }
        self._put(content, arrays)
        self._last = time.perf_counter()
        self._spent = self._last - began

    def leave(self, model: Any) -> None:
        """The fit was stopped, and its estimator has this model.

        A warm start goes on from that. The file is for processes that have not got it.
        """
        if self._content is not None and self._fit["arguments"].get("warm_start"):
            content, arrays = self._content
            self._put({**content, "left": digest(model)}, arrays)

    def _put(self, content: dict[str, Any], arrays: Arrays) -> None:
        try:
            archive.write(self._path, {"checkpoint": content}, arrays)
        except OSError as error:
            self._warn("written", error)
        else:
            self._is_there, self._written = True, self._current
            self._content = content, arrays

    def remove(self) -> None:
        """The fit has come to its end: leave nothing behind."""
        if self._is_off:
            return
        try:
            archive.remove_temporaries(self._path)
            if self._is_there:
                os.unlink(os.path.realpath(self._path))
        except FileNotFoundError:
            pass
        except OSError as error:
            self._warn("removed", error)

    def _warn(self, what: str, error: OSError) -> None:
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f"checkpoint: {self._name} cannot be {what} ({error}); the fit goes on, and later "
            "failures of this kind are not told",
            CheckpointWarning,
            stacklevel=2,
        )


class _OtherFitError(ValueError):
    """The file is that of another fit."""


# What a fit is told by


def _arguments_of(estimator: Any) -> dict[str, Any]:
    """The arguments on which it depends what a fit comes to, as JSON."""
    arguments = estimator.get_params(deep=False)
    return {name: _told(value) for name, value in arguments.items() if name not in NOT_OF_THE_FIT}


def _told(value: Any) -> Any:
    """A value as JSON: as it is if that is short, or a digest of it."""
    arrays: Arrays = {}
    try:
        encoded = persistence.encode(value, "value", arrays, fitted=False)
    except TypeError:
        # What no file can keep.
        return {"type": type(value).__name__}
    if isinstance(encoded, list | dict):
        return {"digest": digest(encoded, arrays)}
    return encoded


def of_source(source: Any) -> dict[str, Any]:
    """What tells the rows of a source from others, as JSON."""
    return {
        "n_rows": int(source.n_rows),
        "n_features": int(source.n_features),
        "dtype": str(source.dtype),
        # Sums over batches differ in what the batches are.
        "weight": f"{source.weight:.12g}",
        "digest": digest(source.sketch),
    }


def of_arrays(X: np.ndarray, *others: Any) -> dict[str, Any]:
    """What tells rows, and what else is known of them, from others, as JSON."""
    n_rows, n_features = X.shape
    return {
        "n_rows": n_rows,
        "n_features": n_features,
        "dtype": str(X.dtype),
        "digest": digest(X, *others),
    }


def digest(*values: Any) -> str:
    """A short name of values: arrays by some of their rows, and what is made of arrays."""
    found = blake2b(digest_size=16)
    for value in values:
        _feed(found, value)
    return found.hexdigest()


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        found.update(f"{value.dtype} {value.shape}".encode())
        some = value[:: max(1, len(value) // ROWS_OF_DIGEST)] if value.ndim else value
        if some.dtype.kind == "O":
            found.update(repr(some.tolist()).encode())
        else:
            found.update(np.ascontiguousarray(some).tobytes())
    elif sp.issparse(value):
        _feed(found, (value.data, value.indices, value.indptr))
    elif is_dataclass(value) and not isinstance(value, type):
        _feed(found, {each.name: getattr(value, each.name) for each in fields(value)})
    elif isinstance(value, Mapping):
        for name, each in value.items():
            _feed(found, (name, each))
    elif isinstance(value, list | tuple):
        found.update(f"{len(value)} items".encode())
        for each in value:
            _feed(found, each)
    elif value is None or isinstance(value, str | int | float | np.generic):
        found.update(f"{value!r};".encode())
    else:
        found.update(type(value).__name__.encode())
        _feed(found, _attributes(value))


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object that it did not compute from others."""
    return {
        name: each
        for name, each in getattr(value, "__dict__", {}).items()
        if not isinstance(getattr(type(value), name, None), cached_property)
    }
