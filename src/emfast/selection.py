"""Which model: every point of a grid is fitted, and information criteria compare them."""

import inspect
import itertools
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from sklearn.base import clone

from emfast import em
from emfast.annotations import Rows
from emfast.exceptions import SelectionInterrupted
from emfast.watch import Bar

if TYPE_CHECKING:
    import pandas as pd

CRITERIA = ("bic", "aic", "icl")

# Columns of a table besides the parameters.
MEASURES = ("n_parameters", "log_likelihood", *CRITERIA, "n_iter", "converged")
REMARKS = ("degenerate", "error", "best")


@dataclass(frozen=True)
class Candidate:
    """How well a model of one point of the grid fits.

    Attributes
    ----------
    params : dict, the point: arguments of the estimator
    n_parameters : int or None
        Free parameters. This and the next ones are None where the fit failed, and criteria that the
        estimator has not.
    log_likelihood : float or None, of all rows by their weights, in nats
    bic, aic, icl : float or None, the lower the better
    n_iter : int or None
    converged : bool or None
    degenerate : list of int, components that owe their likelihood to few rows
    error : str or None, why the fit failed
    warnings : list of str, what the fit warned of
    best : bool, whether it was picked
    """

    params: dict[str, Any]
    n_parameters: int | None = None
    log_likelihood: float | None = None
    bic: float | None = None
    aic: float | None = None
    icl: float | None = None
    n_iter: int | None = None
    converged: bool | None = None
    degenerate: list[int] = field(default_factory=list)
    error: str | None = None
    warnings: list[str] = field(default_factory=list)
    best: bool = False


class Candidates(Sequence[Candidate]):
    """All models of a selection, in the order of the grid; prints as a table.

    Parameters
    ----------
    candidates : sequence of Candidate
    criterion : {"bic", "aic", "icl"}, the one by which the best was picked
    """

    def __init__(self, candidates: Sequence[Candidate], criterion: str):
        self._candidates = tuple(candidates)
        self.criterion = criterion

    def __len__(self) -> int:
        return len(self._candidates)

    def __getitem__(self, at: Any) -> Any:
        return self._candidates[at]

    def columns(self) -> dict[str, list]:
        """The table by columns: parameters, what was measured, `error` and `best`."""
        names = dict.fromkeys(name for each in self for name in each.params)
        found = {name: [each.params.get(name) for each in self] for name in names}
        for name in (*MEASURES, *REMARKS):
            found[name] = [getattr(each, name) for each in self]
        return found

    def to_frame(self) -> "pd.DataFrame":
        """The table as a data frame of pandas, which has to be installed."""
        import pandas as pd

        return pd.DataFrame(self.columns())

    def cells(self, names: Sequence[str]) -> list[list[str]]:
        """Rows of these columns, as text."""
        columns = self.columns()
        return [[_cell(columns[name][row]) for name in names] for row in range(len(self))]

    def remark(self, row: int) -> str:
        """What else there is to say of a row: that it is the best, or why it is not."""
        candidate = self[row]
        if candidate.error is not None:
            return f"failed: {candidate.error}"
        if candidate.degenerate:
            return f"degenerate components {candidate.degenerate}"
        return "best" if candidate.best else ""

    def shown(self) -> list[str]:
        """The columns that tell something."""
        return [
            name
            for name, values in self.columns().items()
            if name not in REMARKS and any(value is not None for value in values)
        ]

    def __repr__(self) -> str:
        names = self.shown()
        lines = [names, *self.cells(names)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        remarks = ["", *map(self.remark, range(len(self)))]
        padded = [
            [cell.rjust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
        ]
        return "\n".join(
            "  ".join([*line, remark]).rstrip()
            for line, remark in zip(padded, remarks, strict=True)
        )


class Selection(NamedTuple):
    """What `select` returns.

    Attributes
    ----------
    model : the estimator that was picked, fitted
    table : Candidates, how well all of them fit
    """

    model: Any
    table: Candidates


def select(
    estimator: Any,
    X: Rows,
    grid: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    criterion: Literal["bic", "aic", "icl"] = "bic",
    **fit_params: Any,
) -> Selection:
    """Fit a model for every point of a grid, and pick the one of the least criterion.

    Parameters
    ----------
    estimator : mixture, hidden Markov model, or another estimator with the criterion as a method
        Left as it is; what is not in the grid is as it says, so that every point has its `n_init`
        starts. With ``progress=True`` there is one bar, of all fits. Its callback is called in each
        of them, and may end that one. A checkpoint is that of one fit: it must have none.
    X : array-like of shape (n_samples, n_features), as the estimator takes it
    grid : mapping of str to sequence, or sequence of such mappings
        The values of arguments, all combinations of which are fitted, the last one varying fastest:
        ``{"covariance_type": ["full", "diag"], "n_components": range(1, 7)}``.
    criterion : {"bic", "aic", "icl"}, default="bic"
        See the methods of these names. BIC finds how many components there are where rows are many
        (Keribin, Sankhya A 62, 2000), ICL how many clusters, AIC what predicts well.
    **fit_params
        Further arguments of `fit`, as `labels`, `sample_weight`, `lengths` and `y`. Criteria get
        those that they take.

    Returns
    -------
    Selection
        ``model, table = select(...)``: the best model, fitted, and the table of all.

    Raises
    ------
    ValueError
        The grid or the criterion is none, or every point failed. A point that fails otherwise is
        told in the table, and the others go on.
    TypeError
        The estimator has not the criterion, or `fit` not the arguments.
    SelectionInterrupted
        Ctrl-C, a `KeyboardInterrupt`: its ``selection`` is that of the points that were fitted. A
        `KeyboardInterrupt` of its own before there was any model.

    Warns
    -----
    What the fit of the model that is picked warns of. The table tells of the others.

    Notes
    -----
    A model with degenerate components, which owes its likelihood to few rows and would win by it,
    is picked only if all have some: as with starts of one model.

    References
    ----------
    Schwarz, G. (1978). Estimating the dimension of a model. Annals of Statistics 6, 461-464.

    Examples
    --------
    >>> from emfast import GaussianMixture, select
    >>> from emfast.datasets import load_faithful
    >>> grid = {"covariance_type": ["full", "tied"], "n_components": range(1, 5)}
    >>> mixture = GaussianMixture(n_init=3, tol=1e-4, max_iter=500, random_state=0)
    >>> best, table = select(mixture, load_faithful().data, grid)
    >>> best.covariance_type, best.n_components
    ('tied', 3)
    >>> [round(each.bic, 1) for each in table if each.params["n_components"] == 3]
    [2324.2, 2314.3]
    """
    points = _points(grid)
    _check(estimator, points, criterion)
    state = _State(criterion)
    try:
        with _bar(estimator, len(points)) as bar:
            for point in points:
                model = _told(bar, point, clone(estimator).set_params(**point))
                # At once, so that Ctrl-C finds a point in the table and in the best, or in neither.
                state = state.after(model, *_tried(model, X, point, fit_params))
                if bar is not None:
                    bar.step()
    except KeyboardInterrupt:
        if state.model is None:
            raise
        raise SelectionInterrupted(state.selection(estimator), len(points)) from None
    if state.model is None:
        raise ValueError(
            f"grid: all {len(points)} points failed; the last one with: "
            f"{state.candidates[-1].error}"
        )
    for each in state.caught:
        warnings.warn(each.message, each.category, stacklevel=2)
    return state.selection(estimator)


@dataclass(frozen=True)
class _State:
    """What has been tried, the best of it, its model, and what that warned of."""

    criterion: str
    candidates: tuple[Candidate, ...] = ()
    best: Candidate | None = None
    model: Any = None
    caught: Sequence[warnings.WarningMessage] = ()

    def after(
        self, model: Any, candidate: Candidate, caught: Sequence[warnings.WarningMessage]
    ) -> "_State":
        """The state once another model has been tried."""
        state = replace(self, candidates=(*self.candidates, candidate))
        if not _is_better(candidate, self.best, self.criterion):
            return state
        return replace(state, best=candidate, model=model, caught=caught)

    def selection(self, estimator: Any) -> Selection:
        """What to return; the model shows its progress as the estimator does."""
        if getattr(estimator, "progress", False):
            self.model.set_params(progress=True, callback=estimator.callback)
        table = [replace(each, best=each is self.best) for each in self.candidates]
        return Selection(self.model, Candidates(table, self.criterion))


def _points(grid: Any) -> list[dict[str, Any]]:
    """All combinations of arguments, the last one varying fastest."""
    grids = [grid] if isinstance(grid, Mapping) else grid
    if isinstance(grids, str) or not isinstance(grids, Sequence):
        raise ValueError(f"grid: found {grid!r}; expected a mapping of arguments to their values")
    points = []
    for each in grids:
        if not isinstance(each, Mapping):
            raise ValueError(f"grid: found {each!r}; expected a mapping of arguments to values")
        for name, values in each.items():
            if isinstance(values, str) or not (
                isinstance(values, Sequence) or (isinstance(values, np.ndarray) and values.ndim)
            ):
                raise ValueError(f"grid: found {values!r} for {name!r}; expected a list of values")
        combinations = itertools.product(*(_python(values) for values in each.values()))
        points += [dict(zip(each, values, strict=True)) for values in combinations]
    if not points:
        raise ValueError(f"grid: found {grid!r}; expected at least one value of each argument")
    return points


def _python(values: Any) -> list:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _check(estimator: Any, points: list[dict[str, Any]], criterion: str) -> None:
    """Raise where no fit can go well."""
    kind, known = type(estimator).__name__, estimator.get_params()
    for name in (name for point in points for name in point):
        if name not in known:
            raise ValueError(f"grid: found {name!r}; expected arguments of {kind}")
    _check_no_checkpoint(estimator, points)
    if criterion not in CRITERIA:
        raise ValueError(f"criterion: found {criterion!r}; expected one of {CRITERIA}")
    if not hasattr(estimator, criterion):
        has = [name for name in CRITERIA if hasattr(estimator, name)]
        raise TypeError(f"criterion: found {criterion!r}, and {kind} has {has or 'none of them'}")


def _check_no_checkpoint(estimator: Any, points: list[dict[str, Any]]) -> None:
    """Raise where fits would take each other's file for their own."""
    for arguments in (estimator.get_params(), *points):
        for name, value in arguments.items():
            if name.rpartition("__")[2] == "checkpoint" and value is not None:
                raise ValueError(
                    f"{name}: found {os.fspath(value)!r}; expected None, for a checkpoint is that "
                    "of one fit"
                )


@contextmanager
def _bar(estimator: Any, n_fits: int) -> Iterator[Bar | None]:
    """One bar for all fits, if the estimator is to show one."""
    if not getattr(estimator, "progress", False):
        yield None
        return
    bar = Bar(n_fits, unit="fit")
    try:
        yield bar
    finally:
        bar.close()


def _told(bar: Bar | None, point: dict[str, Any], model: Any) -> Any:
    """The model, whose iterations the bar is told of instead of one of its own."""
    if bar is None:
        return model
    bar.describe(", ".join(map(str, point.values())))
    callback = model.callback

    def watched(iteration: em.Iteration) -> bool:
        bar.note(iteration)
        return callback is not None and bool(callback(iteration))

    return model.set_params(progress=False, callback=watched)


def _tried(
    model: Any, X: Any, point: dict[str, Any], fit_params: dict[str, Any]
) -> tuple[Candidate, list[warnings.WarningMessage]]:
    """Fit a model; how well it fits, or why it failed, and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(X, **fit_params)
            found = measured(model, X, fit_params)
        except (ValueError, ArithmeticError) as error:
            found = {"error": " ".join(str(error).split())}
    told = [str(each.message) for each in caught]
    return Candidate(point, warnings=told, **found), caught


def measured(model: Any, X: Any, fit_params: Mapping[str, Any]) -> dict[str, Any]:
    """What a `Candidate` says of a fitted model, by the names it has there."""
    found: dict[str, Any] = {
        name: float(_called(getattr(model, name), X, fit_params))
        for name in CRITERIA
        if hasattr(model, name)
    }
    if hasattr(model, "_n_parameters"):
        found["n_parameters"] = int(model._n_parameters())
        if "aic" in found:
            found["log_likelihood"] = found["n_parameters"] - found["aic"] / 2
    winner = next((start for start in getattr(model, "restarts_", ()) if start.won), None)
    if winner is not None:
        found["degenerate"] = list(winner.degenerate)
    return {**found, "n_iter": int(model.n_iter_), "converged": bool(model.converged_)}


def _called(criterion: Any, X: Any, fit_params: Mapping[str, Any]) -> float:
    """A criterion of the rows, with those arguments of the fit that it takes."""
    takes = inspect.signature(criterion).parameters
    return criterion(X, **{name: value for name, value in fit_params.items() if name in takes})


def _is_better(candidate: Candidate, best: Candidate | None, criterion: str) -> bool:
    def rank(each: Candidate) -> tuple[bool, float]:
        return bool(each.degenerate), getattr(each, criterion)

    value = getattr(candidate, criterion)
    if candidate.error is not None or not np.isfinite(value):
        return False
    return best is None or rank(candidate) < rank(best)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
