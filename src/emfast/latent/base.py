"""The contract of a latent structure."""

from abc import abstractmethod
from copy import copy
from types import ModuleType
from typing import Any

import numpy as np

from emfast.data import Batch
from emfast.parts.contract import Part
from emfast.parts.known import Known
from emfast.storage.stored import Kept


class Latent(Part):
    """p(z): how the components of rows are distributed, with its M-step.

    Attributes
    ----------
    groups, fixed, prior, prior_names : see `Part`
    shared : tuple of str
        Groups that are known as a whole or not at all.
    noise : ndarray of shape (2, n_features) or None
        The bounds of a component that the emission does not know of; None if there is none.
    everywhere : str
        How messages say that no component can have produced a row.
    """

    shared: tuple[str, ...] = ()
    noise: np.ndarray | None = None
    everywhere: str = "under every component that its label allows"

    @property
    def draws(self) -> bool:
        """Whether the E-step draws, so that the objective may fall."""
        return False

    def with_draws(self, seed: int | None) -> "Latent":
        """The same, with draws of this seed, or None for expectations in their place."""
        return self

    @abstractmethod
    def kernel(
        self,
        parameters: Any,
        kernels: ModuleType,
        batch: Batch,
        iteration: int = 0,
        first_row: int = 0,
    ) -> Any:
        """The compiled latent structure with these parameters, for the rows from `first_row` on.

        Draws, if it makes any, depend on the iteration and on the index of the row.
        """

    def statistics(self, counts: np.ndarray, flat: np.ndarray) -> Any:
        """Name the sums of responsibilities, and what else a pass has accumulated; they add."""
        return counts

    @abstractmethod
    def n_components(self, parameters: Any) -> int:
        """How many values the latent variable has, those of which no emission knows among them."""

    @abstractmethod
    def stored(self, n_components: int) -> Kept:
        """What the parameters have to be that a file keeps of so many components."""

    @abstractmethod
    def weights(self, parameters: Any) -> np.ndarray:
        """How often each component of the emission occurs, of shape (n_components,)."""

    @abstractmethod
    def flat_start(self, n_components: int) -> Any:
        """Parameters that prefer no component."""

    @abstractmethod
    def start(self, statistics: Any, parameters: Any) -> Any:
        """Starting values from the statistics of assigned rows."""

    @property
    def ordered(self) -> bool:
        """Whether it matters which component has which number, before any has parameters."""
        return False

    def unordered(self) -> "Latent":
        """The same, but for what is known of components by their numbers."""
        return self

    def numbered(self, assignment: np.ndarray, batch: Batch) -> np.ndarray:
        """An assignment of rows, (n_rows,), with the numbers that components should have."""
        return assignment

    def reseed(
        self, parameters: Any, components: np.ndarray, counts: np.ndarray, n_rows: int
    ) -> Any:
        """Let empty `components` occur as often as one row, beside `counts` of `n_rows`."""
        return parameters

    @abstractmethod
    def mstep(self, statistics: Any, parameters: Any) -> Any:
        """The parameters that maximise the expected log p(z) and the log prior.

        Known ones stay as they are.
        """

    def retreat(self, statistics: Any, parameters: Any, proposal: Any, attempt: int) -> Any | None:
        """What to try where an M-step from `parameters` has lowered the objective.

        Only asked of a structure whose M-step is no exact maximum; there, the last of some attempts
        must be one that cannot lower the expected log p(z).

        Parameters
        ----------
        statistics, parameters : what the M-step was made of
        proposal : what has been tried last
        attempt : int, from 1 on

        Returns
        -------
        parameters, or None where there is nothing else to try
        """
        return None

    def carried_over(self, statistics: Any, parameters: Any) -> Any:
        """Where EM goes on with more rows than those that the statistics are of."""
        return self.mstep(statistics, parameters)

    def checked_prior(self, prior: dict[str, Any], n_components: int) -> Any:
        """The prior that the user describes by some of `prior_names`, among others; or None."""
        return None

    @abstractmethod
    def n_parameters(self, n_components: int) -> int:
        """How many free parameters there are."""


class Independent(Latent):
    """Latent variables that are independent of each other.

    Parameters
    ----------
    fixed : collection or mapping of the groups, see `known.Known`
    assignment : {"soft", "hard", "stochastic"}, default="soft"
        Whether the E-step gives rows to components by their responsibilities, as a whole to the
        most probable one, or as a whole to one that is drawn.
    seed : int, default=0
        Of the draws.
    """

    def __init__(self, *, fixed=(), assignment="soft", seed=0):
        self.fixed = Known(fixed)
        self.assignment = assignment
        self.seed = seed

    @property
    def draws(self) -> bool:
        return self.assignment == "stochastic"

    def with_draws(self, seed: int | None) -> "Independent":
        if not self.draws:
            return self
        changed = copy(self)
        changed.assignment = "soft" if seed is None else "stochastic"
        changed.seed = seed or 0
        return changed
