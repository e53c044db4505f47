"""The contract of a latent structure."""

from abc import ABC, abstractmethod
from copy import copy
from types import ModuleType
from typing import Any

import numpy as np

from emfast.data import Batch
from emfast.known import NOTHING_KNOWN, Known


class Latent(ABC):
    """p(z): how the components of rows are distributed, with its M-step.

    Attributes
    ----------
    groups : tuple of str
        The names of the parameter groups, which can be given and fixed.
    fixed : Known
        The parameters that the M-step leaves as they are.
    prior : Prior or None
        What is known of the parameters before any row is seen; None if it is flat.
    prior_names : tuple of str
        How the parts of a prior are called.
    noise : ndarray of shape (2, n_features) or None
        The bounds of a component that the emission does not know of; None if there is none.
    """

    groups: tuple[str, ...] = ()
    fixed: Known = NOTHING_KNOWN
    prior: Any = None
    prior_names: tuple[str, ...] = ()
    noise: np.ndarray | None = None

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

    @abstractmethod
    def weights(self, parameters: Any) -> np.ndarray:
        """How often each component of the emission occurs, of shape (n_components,)."""

    @abstractmethod
    def flat_start(self, n_components: int) -> Any:
        """Parameters that prefer no component."""

    @abstractmethod
    def start(self, counts: np.ndarray, parameters: Any) -> Any:
        """Starting values from how many rows are assigned to each component."""

    @abstractmethod
    def mstep(self, counts: np.ndarray, parameters: Any) -> Any:
        """The parameters that maximise the expected log p(z) and the log prior.

        Known ones stay as they are.
        """

    def checked_prior(self, prior: dict[str, Any], n_components: int) -> Any:
        """The prior that the user describes by some of `prior_names`, among others; or None."""
        return None

    def log_prior(self, parameters: Any) -> float:
        """The log-density of the prior in nats, up to a constant."""
        return 0.0

    def with_prior_times(self, factor: float) -> "Latent":
        """The same, with a prior that counts `factor` times as much."""
        if self.prior is None:
            return self
        changed = copy(self)
        changed.prior = self.prior.times(factor)
        return changed

    @abstractmethod
    def with_groups(self, parameters: Any, given: dict[str, np.ndarray]) -> Any:
        """Replace groups by given values, except where these are NaN."""

    @abstractmethod
    def displacement(self, parameters: Any, reference: Any) -> np.ndarray:
        """Unconstrained coordinates, 0 for `reference`: see `Emission.displacement`."""

    @abstractmethod
    def displaced(self, displacement: np.ndarray, reference: Any) -> Any | None:
        """The parameters of these coordinates, or None where they are out of range."""

    @abstractmethod
    def n_parameters(self, n_components: int) -> int:
        """How many free parameters there are."""
