"""Warnings and errors with names of their own."""

from typing import Any

from sklearn.exceptions import ConvergenceWarning

__all__ = [
    "CheckpointWarning",
    "ConvergenceWarning",
    "DegenerateComponentWarning",
    "Interrupted",
    "ObjectiveDecreaseWarning",
    "SelectionInterrupted",
    "SingularComponentError",
    "StarvedComponentWarning",
]


class ObjectiveDecreaseWarning(RuntimeWarning):
    """An iteration of EM lowered the objective by more than rounding explains."""


class CheckpointWarning(UserWarning):
    """The checkpoint of a fit could not be written, read or removed; the fit goes on."""


class StarvedComponentWarning(UserWarning):
    """A component lost all its rows during the fit; its weight is 0."""


class DegenerateComponentWarning(UserWarning):
    """A component sits on a few rows, or on rows that do not vary, and owes its likelihood to it.

    Every start ended so; otherwise one that did not would have been kept.
    """


class SingularComponentError(ValueError):
    """The covariance of some components became singular while ``reg_covar=0``.

    Attributes
    ----------
    components : tuple of int
    """

    def __init__(self, message: str, components: tuple[int, ...] = ()):
        super().__init__(message)
        self.components = components


class ImpossibleRowError(ValueError):
    """A row has zero likelihood under every component that its label allows."""


# Why a run could not end.
FAILURES = (ImpossibleRowError, SingularComponentError)
Failure = ImpossibleRowError | SingularComponentError


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a run of EM.

    Attributes
    ----------
    trace : emfast.em.Trace
        How the run went until then: its model is that of the last iteration that was completed.
    """

    def __init__(self, trace: Any):
        super().__init__(f"after {trace.n_iter} iterations of EM")
        self.trace = trace


class SelectionInterrupted(KeyboardInterrupt):
    """Ctrl-C in `emfast.select`, once a model had been fitted.

    Attributes
    ----------
    selection : emfast.selection.Selection
        The best of the models that had been fitted by then, and the table of all of these.
    """

    def __init__(self, selection: Any, n_points: int):
        tried = len(selection.table)
        super().__init__(
            f"after {tried} of {n_points} points of the grid; the attribute `selection` has the "
            "best of these, and their table"
        )
        self.selection = selection
