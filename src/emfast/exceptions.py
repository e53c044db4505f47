"""Warnings and errors with names of their own."""

from sklearn.exceptions import ConvergenceWarning

__all__ = [
    "ConvergenceWarning",
    "ObjectiveDecreaseWarning",
    "SingularComponentError",
    "StarvedComponentWarning",
]


class ObjectiveDecreaseWarning(RuntimeWarning):
    """An iteration of EM lowered the objective by more than rounding explains."""


class StarvedComponentWarning(UserWarning):
    """A component lost all its rows during the fit; its weight is 0."""


class SingularComponentError(ValueError):
    """The covariance of some components became singular while ``reg_covar=0``.

    Attributes
    ----------
    components : tuple of int
    """

    def __init__(self, message: str, components: tuple[int, ...] = ()):
        super().__init__(message)
        self.components = components
