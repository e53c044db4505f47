"""The rows of the table: data, and a start that every peer goes from."""

from dataclasses import dataclass, replace

import numpy as np

from emfast.datasets import make_gaussian_mixture
from emfast.emissions import Bernoulli, Gaussian
from emfast.emissions.base import Emission
from emfast.emissions.bernoulli import BernoulliParameters
from emfast.problem import Model


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    Attributes
    ----------
    family : {"diag", "full", "tied", "spherical", "bernoulli"}
    n_samples, n_features, n_components : int
    separation : float
        Root mean square distance between two means, in standard deviations of about 1. At 4 the
        components overlap; at 12 hardly any row could come from two of them.
    """

    family: str
    n_samples: int
    n_features: int
    n_components: int
    separation: float = 4.0

    def __str__(self) -> str:
        rows = (
            f"{self.n_samples / 1000:g}k" if self.n_samples < 1e6 else f"{self.n_samples / 1e6:g}M"
        )
        return f"{self.family} {rows} x {self.n_features}, {self.n_components}"

    def scaled(self, scale: float) -> "Workload":
        # With fewer rows covariances are so ill-conditioned that peers cannot agree.
        least = min(self.n_samples, 20 * self.n_components * min(self.n_features, 128))
        return replace(self, n_samples=max(least, round(scale * self.n_samples)))

    def rows(self) -> np.ndarray:
        """Rows of a mixture of as many components."""
        if self.family == "bernoulli":
            return _binary_rows(self.n_samples, self.n_features, self.n_components)
        return make_gaussian_mixture(
            self.n_samples,
            self.n_features,
            self.n_components,
            separation=self.separation,
            random_state=0,
        )[0]

    def start(self, X: np.ndarray) -> tuple[np.ndarray, ...]:
        """Equal weights, and parameters around rows drawn at random."""
        K = self.n_components
        generator = np.random.default_rng(1)
        points = X[generator.choice(len(X), K, replace=False)].astype(np.float64)
        weights = np.full(K, 1 / K)
        if self.family == "bernoulli":
            return weights, 0.25 + 0.5 * points
        variance = X[:10_000].var(axis=0)
        covariances = {
            "diag": np.tile(variance, (K, 1)),
            "spherical": np.full(K, variance.mean()),
            "tied": np.diag(variance),
            "full": np.tile(np.diag(variance), (K, 1, 1)),
        }[self.family]
        return weights, points, covariances

    def emission_and_model(
        self, start: tuple[np.ndarray, ...], reg_covar: float
    ) -> tuple[Emission, Model]:
        """The start as emfast has it."""
        if self.family == "bernoulli":
            return Bernoulli(), Model(start[0], BernoulliParameters(start[1]))
        emission = Gaussian(self.family, reg_covar=reg_covar)
        return emission, Model(start[0], emission.parameters(*start[1:]))


def _binary_rows(n_samples: int, n_features: int, n_components: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    probabilities = generator.beta(0.5, 1.5, (n_components, n_features)).astype(np.float32)
    X = np.empty((n_samples, n_features), np.uint8)
    for start in range(0, n_samples, 4096):
        part = X[start : start + 4096]
        component = generator.integers(n_components, size=len(part))
        part[:] = generator.random(part.shape, np.float32) < probabilities[component]
    return X


GAUSSIAN = (
    Workload("diag", 1_000_000, 16, 16),
    Workload("diag", 200_000, 64, 64),
    Workload("diag", 5_000_000, 1, 2),
    Workload("full", 1_000_000, 8, 8),
    Workload("full", 200_000, 32, 16),
    Workload("full", 100_000, 128, 8),
)
WORKLOADS = (*GAUSSIAN, Workload("bernoulli", 200_000, 784, 10))
