"""The contract of an emission family.

A family holds what does not change during a fit: the shape of a covariance, which groups are fixed.
Its parameters are small immutable values in human units, component axis first; its statistics are
float64 values of fixed size that add.
"""

from abc import ABC, abstractmethod
from types import ModuleType
from typing import Any

import numpy as np

from emfast.known import NOTHING_KNOWN, Known
from emfast.statistics import Statistics


def refuse_another_kind(statistics: Any, other: Any) -> None:
    """Statistics add only to statistics of the same kind, which both name."""
    if getattr(other, "kind", None) != statistics.kind:
        found = getattr(other, "kind", type(other).__name__)
        raise ValueError(f"statistics of a {statistics.kind} and of a {found} do not add")


class Emission(ABC):
    """p(x | z = k): a family of densities with its M-step.

    Attributes
    ----------
    kind : str
        What it is, in words: models of one kind can stand in for each other.
    groups : tuple of str
        The names of the parameter groups, which can be given and fixed, the locations first.
    shared : tuple of str
        Those whose values all components share; others have the component axis first.
    fixed : Known
        The parameters that the M-step leaves as they are.
    """

    kind: str = ""
    groups: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    fixed: Known = NOTHING_KNOWN

    @abstractmethod
    def kernel(
        self, parameters: Any, weights: np.ndarray, kernels: ModuleType, constant: Any = None
    ) -> Any:
        """The compiled emission with these parameters, of components with these weights.

        With what is `constant` in the statistics of the rows, it may leave that out.
        """

    @abstractmethod
    def statistics(self, flat: np.ndarray, counts: np.ndarray, kernel: Any, parameters: Any) -> Any:
        """Name the numbers that a pass with `kernel` has accumulated."""

    def has_constant(self, n_rows: int, n_features: int) -> bool:
        """Whether statistics contain something whatever the model, and so many rows repay it."""
        return False

    def constant(self, statistics: Any) -> Any:
        """What these statistics of all rows contain whatever the model; None if nothing."""
        return None

    def complete(self, statistics: Statistics, parameters: Any, constant: Any) -> Statistics:
        """Statistics of all rows, with what is `constant` if the kernel has left it out."""
        return statistics

    @abstractmethod
    def mstep(self, statistics: Any, parameters: Any) -> Any:
        """The parameters that maximise the expected log-density; known ones stay as they are."""

    @abstractmethod
    def flat_start(self, X: np.ndarray, n_components: int) -> Any:
        """The same broad density for every component: what is needed to take first statistics."""

    def is_precise(self, statistics: Any, parameters: Any) -> bool:
        """Whether `statistics` have all digits that the `parameters` they have led to need."""
        return True

    def start(self, statistics: Any, parameters: Any) -> Any:
        """Starting values from the statistics of assigned rows."""
        return self.mstep(statistics, parameters)

    @abstractmethod
    def with_groups(self, parameters: Any, given: dict[str, np.ndarray]) -> Any:
        """Replace groups by given values, except where these are NaN."""

    @abstractmethod
    def reseed(
        self, parameters: Any, components: np.ndarray, rows: np.ndarray, healthy: np.ndarray
    ) -> Any:
        """Put empty `components` on given rows, as broad as the `healthy` components together."""

    @abstractmethod
    def shape(self, parameters: Any) -> tuple[int, int]:
        """(n_components, n_features)."""

    @abstractmethod
    def group_size(self, group: str, n_components: int, n_features: int) -> int:
        """How many numbers a group has for one or more components."""

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """How many free parameters there are; known ones do not count."""
        free = {group: self.fixed.n_free(group, n_components) for group in self.groups}
        return sum(self.group_size(group, n, n_features) for group, n in free.items() if n > 0)

    @abstractmethod
    def draw(
        self, parameters: Any, component: int, n_rows: int, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Draw rows from one component."""

    def slack(self, parameters: Any, weights: np.ndarray, epsilon: float) -> float:
        """How much an M-step of this family may lower the objective, by design or by rounding.

        Parameters
        ----------
        parameters : what the M-step has led to
        weights : ndarray of shape (n_components,)
        epsilon : float, machine epsilon of the precision the rows are computed in
        """
        return 0.0

    def degenerate(self, statistics: Any, parameters: Any, n_rows: int) -> list[int]:
        """Components that owe their likelihood to a density without bound.

        Parameters
        ----------
        statistics : what was collected from the rows under `parameters`
        parameters : of the fitted components
        n_rows : int, how many rows `statistics` were collected from

        Returns
        -------
        list of int, empty for a family whose densities are bounded
        """
        return []

    def impossible_rows(self, X: np.ndarray, parameters: Any) -> np.ndarray | None:
        """Which rows have density exactly zero under which component; None where none can have.

        Returns
        -------
        ndarray of shape (n_rows, n_components), bool, or None
        """
        return None
