"""The contract of an emission family.

A family holds what does not change during a fit: the shape of a covariance, which groups are fixed.
Its parameters are small immutable values in human units, component axis first; its statistics are
float64 values of fixed size that add.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import fields, replace
from inspect import signature
from types import ModuleType
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from emfast.inputs.labels import Labels
from emfast.inputs.rows import SparseRows, as_points
from emfast.parts.contract import Part
from emfast.parts.known import NOTHING_KNOWN
from emfast.statistics import Statistics
from emfast.storage.stored import Kept


def refuse_another_kind(statistics: Any, other: Any) -> None:
    """Statistics add only to statistics of the same kind, which both name."""
    if getattr(other, "kind", None) != statistics.kind:
        found = getattr(other, "kind", type(other).__name__)
        raise ValueError(f"statistics of a {statistics.kind} and of a {found} do not add")


# Statistics of all rows under a flat model, and its parameters: see `Emission.constant`.
FlatTotal = Callable[..., tuple[Statistics, Any]]

# By the compiled emission: see `problem.conditional_means`.
ConditionalMeans = Callable[["Emission", Any, np.ndarray, np.ndarray], np.ndarray]


class Emission(Part):
    """p(x | z = k): a family of densities with its M-step.

    Attributes
    ----------
    kind : str
        What it is, in words: models of one kind can stand in for each other.
    groups, fixed, prior, prior_names : see `Part`; locations are the first group
    shared : tuple of str
        Groups whose values all components share; others have the component axis first.
    discrete : bool
        Whether rows are likely to be repeated, because entries have few values.
    has_units : bool
        Whether columns are in units of their own, so that their variances do not compare.
    takes_sparse : bool
        Whether rows may be sparse.
    takes_numbers : bool
        Whether rows are finite reals or missing, and nothing has to be made of them.
    separable : bool
        Whether parameters can be taken apart by components, and put together: see `joined`.
    """

    kind: str = ""
    shared: tuple[str, ...] = ()
    discrete: bool = False
    has_units: bool = False
    takes_sparse: bool = False
    takes_numbers: bool = False
    separable: bool = False

    def __repr__(self) -> str:
        """The call that makes one like it, without arguments that are as by default."""
        shown = []
        for name, parameter in signature(type(self)).parameters.items():
            value = getattr(self, name, parameter.default)
            if name == "fixed":
                value = dict(value) or parameter.default
            if repr(value) != repr(parameter.default):
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    @abstractmethod
    def validated(
        self, estimator: BaseEstimator, X: Any, *, reset: bool
    ) -> tuple[Any, bool | tuple[bool, ...]]:
        """X as rows that the kernel takes, and whether entries are missing; see `validation`."""

    def check_columns(
        self, X: Any, weights: np.ndarray | None, called: Callable[[int], str]
    ) -> None:
        """Raise where a column of the rows of positive weight cannot be fitted.

        `called` is how messages call the columns.
        """

    @abstractmethod
    def checked(self, name: str, group: str, values: Any, K: int, D: int) -> np.ndarray:
        """Values that the user gave for a group of parameters, by the name of an argument."""

    @abstractmethod
    def kernel(
        self,
        parameters: Any,
        weights: np.ndarray,
        kernels: ModuleType,
        constant: Any = None,
        missing: bool = False,
        storage: str = "dense",
    ) -> Any:
        """The compiled emission with these parameters, of components with these weights.

        With what is `constant` in the statistics of the rows, it may leave that out. Where entries
        of rows may be `missing`, it leaves out their factors of the density. Rows are stored as
        `rows.storage` says.
        """

    @abstractmethod
    def statistics(self, flat: np.ndarray, counts: np.ndarray, kernel: Any, parameters: Any) -> Any:
        """Name the numbers that a pass with `kernel` has accumulated."""

    def constant(self, n_rows: int, n_features: int, flat_total: FlatTotal, missing: bool) -> Any:
        """What the statistics of all rows contain whatever the model.

        None if nothing, or if so many rows do not repay it.

        Parameters
        ----------
        n_rows, n_features : int
        flat_total : callable, of an emission and, of several blocks of columns, the one it reads
            Statistics of all rows under a flat model of one component, and its parameters.
        missing : bool, whether entries of rows may be missing
        """
        return None

    def complete(self, statistics: Statistics, parameters: Any, constant: Any) -> Statistics:
        """Statistics of all rows, with what is `constant` if the kernel has left it out."""
        return statistics

    @abstractmethod
    def mstep(self, statistics: Any, parameters: Any) -> Any:
        """The parameters that maximise the expected log-density and the log prior.

        Known ones stay as they are.
        """

    @abstractmethod
    def expected_log_density(self, statistics: Any, parameters: Any) -> float: ...

    def checked_prior(self, prior: dict[str, Any], n_components: int, n_features: int) -> Any:
        """The prior that the user describes by some of `prior_names`, among others; or None."""
        return None

    @abstractmethod
    def flat_start(self, X: np.ndarray, n_components: int) -> Any:
        """The same broad density for every component: what is needed to take first statistics."""

    def is_precise(self, statistics: Any, parameters: Any) -> bool:
        """Whether `statistics` have all digits that the `parameters` they have led to need."""
        return True

    def start(self, statistics: Any, parameters: Any) -> Any:
        """Starting values from the statistics of assigned rows."""
        return self.mstep(statistics, parameters)

    def missing_entries(self, X: Any) -> np.ndarray:
        """Which entries of some dense rows are missing, of the shape of the rows."""
        return np.isnan(X) if X.dtype.kind == "f" else np.zeros(X.shape, bool)

    def incomplete_rows(self, X: Any) -> np.ndarray:
        """Which rows have a missing entry, (n_rows,), bool; none of those that are sparse."""
        if isinstance(X, SparseRows):
            return np.zeros(len(X), bool)
        return self.missing_entries(X).any(axis=1)

    def unseen_columns(self, X: Any) -> np.ndarray:
        """Which columns are missing in all of some rows, (n_features,), bool."""
        if isinstance(X, SparseRows):
            return np.zeros(X.shape[1], bool)
        return self.missing_entries(X).all(axis=0)

    def located(self, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The given values that say where components are."""
        return {group: given[group] for group in self.groups[:1] if group in given}

    def embedded(
        self, X: Any, located: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows as points, (n_rows, any), whose distances say which rows are alike.

        Means of the columns stand in for what is missing.

        Returns
        -------
        points : ndarray of shape (n_rows, any)
        locations : ndarray of shape (n_components, any) or None
            Where rows of the components that are `located` lie among them.
        """
        return as_points(X), located.get(self.groups[0])

    def start_distances(
        self,
        X: Any,
        weights: np.ndarray | None,
        labels: Labels,
        located: dict[str, np.ndarray],
        n_components: int,
        init_params: str,
        random_state: np.random.RandomState,
    ) -> np.ndarray | None:
        """How far rows are from components that a start draws, where points do not tell.

        Parameters
        ----------
        X, weights : the rows
        labels : Labels, what is known of the components of rows
        located : dict of ndarray, given values that say where components are, NaN where none
        n_components : int
        init_params : how components are drawn
        random_state : RandomState

        Returns
        -------
        ndarray of shape (n_rows, n_components), or None for distances between embedded points
        """
        return None

    @abstractmethod
    def reseed(
        self, parameters: Any, components: np.ndarray, rows: np.ndarray, healthy: np.ndarray
    ) -> Any:
        """Put empty `components` on given rows, as broad as the `healthy` components together."""

    def arguments(self) -> dict[str, Any]:
        """What the constructor makes the same family of."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    @abstractmethod
    def stored(self, n_components: int, n_features: int) -> Kept:
        """What the parameters have to be that a file keeps of so many components and features."""

    @abstractmethod
    def shape(self, parameters: Any) -> tuple[int, int]:
        """(n_components, n_features)."""

    def of_components(self, parameters: Any, chosen: np.ndarray | slice) -> Any:
        """Parameters of some of the components; what is shared stays as it is."""
        return replace(
            parameters,
            **{each.name: getattr(parameters, each.name)[chosen] for each in fields(parameters)},
        )

    def joined(self, models: Sequence[Any]) -> Any:
        """Parameters of the components of all models in turn; what is shared is the first's."""
        names = [each.name for each in fields(models[0])]
        joined = {name: np.concatenate([getattr(each, name) for each in models]) for name in names}
        return replace(models[0], **joined)

    @abstractmethod
    def group_size(self, group: str, n_components: int, n_features: int) -> int:
        """How many numbers a group has for one or more components."""

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """How many free parameters there are; known ones do not count."""
        free = {group: self.fixed.n_free(group, n_components) for group in self.groups}
        return sum(self.group_size(group, n, n_features) for group, n in free.items() if n > 0)

    def of_columns(self, columns: np.ndarray) -> "Emission":
        """The same family of some of the features, of which nothing is known."""
        changed = copy(self)
        changed.fixed, changed.prior = NOTHING_KNOWN, None
        return changed

    @abstractmethod
    def marginal(self, parameters: Any, columns: np.ndarray) -> Any:
        """Parameters of some of the features, by position, whatever the others are."""

    def conditional(self, parameters: Any, known: np.ndarray, X: Any) -> Any:
        """Parameters of the features that are not `known`, (D,), given those that are.

        What is known does not matter where features are independent.

        Parameters
        ----------
        X : a row as the kernel takes it
        """
        return self.marginal(parameters, np.flatnonzero(~known))

    def estimates(
        self,
        parameters: Any,
        X: Any,
        responsibilities: np.ndarray,
        conditional_means: ConditionalMeans,
    ) -> np.ndarray:
        """What to put where entries of rows are missing, given the components' responsibilities.

        The mean of numbers and counts, by the compiled emission unless a family says it here, and
        the most probable level: see `MixtureOfFeatures.impute`.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
        """
        return conditional_means(self, parameters, X, responsibilities)

    def estimated(
        self,
        parameters: Any,
        X: Any,
        responsibilities: np.ndarray,
        conditional_means: ConditionalMeans,
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """For every column with missing entries its position, their rows, and their estimates."""
        if self.incomplete_rows(X).any():
            missing = self.missing_entries(X)
            values = self.estimates(parameters, X, responsibilities, conditional_means)
            for column in np.flatnonzero(missing.any(axis=0)).tolist():
                rows = np.flatnonzero(missing[:, column])
                yield column, rows, values[rows, column]

    @abstractmethod
    def draw(
        self, parameters: Any, component: int, n_rows: int, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Draw rows from one component."""

    def slack(self, parameters: Any, counts: np.ndarray, epsilon: float) -> float:
        """How much an M-step of this family may lower log-likelihood and log prior together.

        By design or by rounding.

        Parameters
        ----------
        parameters : what the M-step has led to
        counts : ndarray of shape (n_components,), sums of responsibilities
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
