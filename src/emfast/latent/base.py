"""The contract of a latent structure."""

from abc import ABC, abstractmethod
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
    """

    groups: tuple[str, ...] = ()
    fixed: Known = NOTHING_KNOWN

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
        """The parameters that maximise the expected log p(z); known ones stay as they are."""

    @abstractmethod
    def with_groups(self, parameters: Any, given: dict[str, np.ndarray]) -> Any:
        """Replace groups by given values, except where these are NaN."""

    @abstractmethod
    def n_parameters(self, n_components: int) -> int:
        """How many free parameters there are."""
