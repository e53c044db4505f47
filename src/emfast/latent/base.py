"""The contract of a latent structure."""

from abc import ABC, abstractmethod
from types import ModuleType
from typing import Any

import numpy as np


class Latent(ABC):
    """p(z): how the components of rows are distributed, with its M-step.

    Attributes
    ----------
    fixed : bool, whether the parameters are known
    """

    fixed: bool

    @abstractmethod
    def kernel(self, parameters: Any, kernels: ModuleType) -> Any:
        """The compiled latent structure with these parameters."""

    @abstractmethod
    def weights(self, parameters: Any) -> np.ndarray:
        """How often each component occurs, of shape (n_components,)."""

    @abstractmethod
    def mstep(self, counts: np.ndarray, parameters: Any) -> Any:
        """The parameters that maximise the expected log p(z); fixed ones stay as they are."""

    @abstractmethod
    def displacement(self, parameters: Any, reference: Any) -> np.ndarray:
        """Unconstrained coordinates, 0 for `reference`: see `Emission.displacement`."""

    @abstractmethod
    def displaced(self, displacement: np.ndarray, reference: Any) -> Any | None:
        """The parameters of these coordinates, or None where they are out of range."""

    @abstractmethod
    def n_parameters(self, n_components: int) -> int:
        """How many free parameters there are."""
