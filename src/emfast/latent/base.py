"""The contract of a latent structure."""

from abc import abstractmethod
from types import ModuleType
from typing import Any

import numpy as np

from emfast.data import Batch
from emfast.part import Part


class Latent(Part):
    """p(z): how the components of rows are distributed, with its M-step.

    Attributes
    ----------
    groups, fixed, prior, prior_names : see `Part`
    noise : ndarray of shape (2, n_features) or None
        The bounds of a component that the emission does not know of; None if there is none.
    """

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

    @abstractmethod
    def n_parameters(self, n_components: int) -> int:
        """How many free parameters there are."""
