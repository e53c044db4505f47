"""Warnings and errors with names of their own."""

from sklearn.exceptions import ConvergenceWarning

__all__ = [
    "ConvergenceWarning",
    "DegenerateComponentWarning",
    "ObjectiveDecreaseWarning",
    "SingularComponentError",
    "StarvedComponentWarning",
]


class ObjectiveDecreaseWarning(RuntimeWarning):
    """An iteration of EM lowered the objective by more than rounding explains."""


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
