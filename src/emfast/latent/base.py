"""The contract of a latent structure."""

from abc import ABC, abstractmethod
from copy import copy
from types import ModuleType
from typing import Any

import numpy as np

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
    """

    groups: tuple[str, ...] = ()
    fixed: Known = NOTHING_KNOWN
    prior: Any = None
    prior_names: tuple[str, ...] = ()

    @property
    def draws(self) -> bool:
        """Whether the E-step draws, so that the objective may fall."""
        return False

    def with_draws(self, seed: int | None) -> "Latent":
        """The same, with draws of this seed, or None for expectations in their place."""
        return self

    @abstractmethod
    def kernel(
        self, parameters: Any, kernels: ModuleType, iteration: int = 0, first_row: int = 0
    ) -> Any:
        """The compiled latent structure with these parameters, for rows from `first_row` on.

        Draws, if it makes any, depend on the iteration and on the index of the row.
        """

    @abstractmethod
    def weights(self, parameters: Any) -> np.ndarray:
        """How often each component occurs, of shape (n_components,)."""

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
    def n_parameters(self, n_components: int) -> int:
        """How many free parameters there are."""
