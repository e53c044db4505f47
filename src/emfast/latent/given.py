"""Responsibilities that are given: a latent structure that has nothing to infer."""

from types import ModuleType
from typing import Any

import numpy as np

from emfast.data import Batch
from emfast.latent.mixture import MixtureWeights


class GivenResponsibilities(MixtureWeights):
    """Components whose responsibilities are what the model says, whatever the rows are.

    One pass then sums what an emission knows of rows by weights of any kind. Its parameters are
    the responsibilities, of shape (n_rows, n_components), of the precision of the rows; they are
    those of the rows of one batch, and need not sum to 1.
    """

    def kernel(
        self,
        responsibilities: np.ndarray,
        kernels: ModuleType,
        batch: Batch,
        iteration: int = 0,
        first_row: int = 0,
    ) -> Any:
        return kernels.Responsibilities(responsibilities)

    def n_components(self, responsibilities: np.ndarray) -> int:
        return responsibilities.shape[1]

    def weights(self, responsibilities: np.ndarray) -> np.ndarray:
        K = self.n_components(responsibilities)
        return np.full(K, 1 / K)
