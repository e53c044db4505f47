"""The rows of the table: data, and a start that every peer goes from."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from emfast.data import ArraySource, Batch
from emfast.datasets import make_gaussian_mixture
from emfast.emissions import Bernoulli, Gaussian
from emfast.emissions.base import Emission
from emfast.emissions.bernoulli import BernoulliParameters
from emfast.latent import Latent, MixtureWeights
from emfast.passes import Model

FAMILIES = ("diag", "full", "tied", "spherical", "bernoulli")
REG_COVAR = 1e-6
# Of rows from their mean, when components are to start on top of each other.
CLOSE = 0.05


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    Attributes
    ----------
    family : {"diag", "full", "tied", "spherical", "bernoulli"}
    n_samples, n_features, n_components : int
    separation : float
        Root mean square distance between two means, in standard deviations of about 1. At 4 the
        components overlap; at 12 hardly any row could come from two of them. At 0 the rows come
        from one distribution and the start is so narrow that no responsibility is negligible.
    """

    family: str
    n_samples: int
    n_features: int
    n_components: int
    separation: float = 4.0

    def __str__(self) -> str:
        N = self.n_samples
        rows = f"{N / 1e6:g}M" if N >= 1e6 else f"{N / 1000:g}k" if N >= 1000 else str(N)
        return f"{self.family} {rows} x {self.n_features}, {self.n_components}"

    def as_dict(self) -> dict:
        """The attributes, and the name, for files of results."""
        return {"name": str(self), **asdict(self)}

    def scaled(self, scale: float) -> "Workload":
        """As many rows times `scale`, but so many that every component has enough."""
        # With fewer rows covariances are so ill-conditioned that peers cannot agree.
        needed = 50 * self.n_features if self.family == "full" else 500
        least = min(self.n_samples, needed * self.n_components)
        return replace(self, n_samples=max(least, round(scale * self.n_samples)))

    def rows(self, dtype: str = "float64") -> np.ndarray:
        """Rows of a mixture of as many components, or of one where the separation is 0.

        In double precision, binary rows are uint8, which the kernels read as they are.
        """
        components = self.n_components if self.separation > 0 else 1
        if self.family == "bernoulli":
            X = _binary_rows(self.n_samples, self.n_features, components)
            return X if dtype == "float64" else X.astype(dtype)
        X = make_gaussian_mixture(
            self.n_samples,
            self.n_features,
            components,
            separation=self.separation,
            random_state=0,
        )[0]
        return X.astype(dtype, copy=False)

    def start(self, X: np.ndarray) -> tuple[np.ndarray, ...]:
        """Equal weights, and parameters around rows drawn at random."""
        K = self.n_components
        generator = np.random.default_rng(1)
        points = X[generator.choice(len(X), K, replace=False)].astype(np.float64)
        sample = X[:10_000].astype(np.float64)
        if self.separation == 0:
            centre = sample.mean(axis=0)
            points = centre + CLOSE * (points - centre)
        weights = np.full(K, 1 / K)
        if self.family == "bernoulli":
            return weights, 0.25 + 0.5 * points
        variance = sample.var(axis=0)
        covariances = {
            "diag": np.tile(variance, (K, 1)),
            "spherical": np.full(K, variance.mean()),
            "tied": np.diag(variance),
            "full": np.tile(np.diag(variance), (K, 1, 1)),
        }[self.family]
        return weights, points, covariances

    def parts(self, start: tuple[np.ndarray, ...]) -> tuple[Latent, Emission, Model]:
        """The families and the start as emfast has them."""
        latent = MixtureWeights()
        if self.family == "bernoulli":
            return latent, Bernoulli(), Model(start[0], BernoulliParameters(start[1]))
        emission = Gaussian(self.family, reg_covar=REG_COVAR)
        return latent, emission, Model(start[0], emission.parameters(*start[1:]))

    def source(self, X: np.ndarray) -> ArraySource:
        """The rows as emfast has them."""
        return ArraySource(Batch(X))


def _binary_rows(n_samples: int, n_features: int, n_components: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    probabilities = generator.beta(0.5, 1.5, (n_components, n_features)).astype(np.float32)
    X = np.empty((n_samples, n_features), np.uint8)
    for start in range(0, n_samples, 4096):
        part = X[start : start + 4096]
        component = generator.integers(n_components, size=len(part))
        part[:] = generator.random(part.shape, np.float32) < probabilities[component]
    return X


WORKLOADS = (
    Workload("diag", 1_000_000, 16, 16),
    Workload("diag", 200_000, 64, 64),
    Workload("diag", 5_000_000, 1, 2),
    Workload("full", 1_000_000, 8, 8),
    Workload("full", 200_000, 32, 16),
    Workload("full", 100_000, 128, 8),
    Workload("tied", 200_000, 64, 16),
    Workload("spherical", 1_000_000, 16, 16),
    Workload("bernoulli", 200_000, 784, 10),
)


def chosen(
    filters: str,
    scale: float = 1.0,
    separation: float = 4.0,
    among: Sequence[Workload] = WORKLOADS,
) -> list[Workload]:
    """Rows of the table whose name contains one of the comma-separated `filters`, scaled."""
    found = [
        replace(workload, separation=separation).scaled(scale)
        for workload in among
        if any(part in str(workload) for part in filters.split(","))
    ]
    if not found:
        raise SystemExit(
            f"--rows: found {filters!r}; expected parts of {[str(row) for row in among]}"
        )
    return found


def add_options(parser: argparse.ArgumentParser, separation: float, meaning: str) -> None:
    """What every script that goes over rows of the table can be told."""
    parser.add_argument(
        "--rows", default="", help="only workloads whose name contains one of these"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the rows of the data")
    parser.add_argument("--separation", type=float, default=separation, help=meaning)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", type=Path, default=None, help="where to write the raw results")
