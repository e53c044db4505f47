"""Rows of the table that depend on more than their component: on the row before, or on features."""

from dataclasses import dataclass, replace

import numpy as np

from emfast.data import ArraySource, Batch, SequenceSource
from emfast.emissions import Gaussian, LinearRegression
from emfast.emissions.base import Emission
from emfast.inputs.rows import RowsWithTargets
from emfast.latent import Latent, MarkovChain, MixtureWeights
from emfast.latent.markov import ChainParameters
from emfast.passes import Model
from workloads import REG_COVAR, Workload

# How likely a state is to stay, besides what chance gives it.
PERSISTENCE = 0.7


@dataclass(frozen=True)
class ChainWorkload(Workload):
    """Sequences of equal length under a hidden Markov model with Gaussian emissions.

    Attributes
    ----------
    covariance_type : {"diag", "full"}
    n_sequences : int
    """

    covariance_type: str = "diag"
    n_sequences: int = 1

    @property
    def lengths(self) -> np.ndarray:
        return np.full(self.n_sequences, self.n_samples // self.n_sequences)

    def scaled(self, scale: float) -> "ChainWorkload":
        length = self.n_samples // self.n_sequences
        # Nothing is added to variances, which must not become singular.
        needed = 50 * self.n_features if self.covariance_type == "full" else 500
        least = min(self.n_sequences, -(-needed * self.n_components // length))
        n_sequences = max(least, round(scale * self.n_sequences))
        return replace(self, n_sequences=n_sequences, n_samples=length * n_sequences)

    def start(self, X: np.ndarray) -> tuple[np.ndarray, ...]:
        """Equal first states, persistent states, and parameters around rows drawn at random."""
        K, D = self.n_components, self.n_features
        generator = np.random.default_rng(1)
        means = X[generator.choice(len(X), K, replace=False)].astype(np.float64)
        transitions = generator.dirichlet(np.ones(K), K)
        transitions = (1 - PERSISTENCE) * transitions + PERSISTENCE * np.eye(K)
        variance = X[:10_000].astype(np.float64).var(axis=0)
        covariances = np.tile(variance, (K, 1))
        if self.covariance_type == "full":
            covariances = covariances[:, :, None] * np.eye(D)
        return np.full(K, 1 / K), transitions, means, covariances

    def parts(self, start: tuple[np.ndarray, ...]) -> tuple[Latent, Emission, Model]:
        startprob, transmat, means, covariances = start
        # hmmlearn adds nothing to variances.
        emission = Gaussian(self.covariance_type, reg_covar=0.0)
        chain = ChainParameters(startprob, transmat)
        return MarkovChain(), emission, Model(chain, emission.parameters(means, covariances))

    def source(self, X: np.ndarray) -> ArraySource:
        bounds = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        return SequenceSource(Batch(X, sequences=bounds))


@dataclass(frozen=True)
class RegressionWorkload(Workload):
    """A target that is one of several linear functions of the features, and noise."""

    def rows(self, dtype: str = "float64") -> RowsWithTargets:
        generator = np.random.default_rng(0)
        X = generator.normal(size=(self.n_samples, self.n_features))
        coef = generator.normal(size=(self.n_components, self.n_features))
        component = generator.integers(self.n_components, size=self.n_samples)
        y = np.einsum("nd,nd->n", X, coef[component]) + generator.normal(size=self.n_samples)
        return RowsWithTargets(X.astype(dtype), y.astype(dtype))

    def start(self, X: RowsWithTargets) -> tuple[np.ndarray, ...]:
        """Equal weights, coefficients at random, and the variance of the target."""
        K = self.n_components
        coef = np.random.default_rng(1).normal(size=(K, self.n_features))
        return np.full(K, 1 / K), coef, np.zeros(K), np.full(K, float(X.target[:10_000].var()))

    def parts(self, start: tuple[np.ndarray, ...]) -> tuple[Latent, Emission, Model]:
        weights, coef, intercept, noise_variances = start
        emission = LinearRegression(reg_covar=REG_COVAR)
        given = {"coef": coef, "intercept": intercept, "noise_variances": noise_variances}
        # Rows and target are about 0 already.
        flat = emission.flat_start(np.zeros((2, self.n_features + 1)), self.n_components)
        return MixtureWeights(), emission, Model(weights, emission.with_groups(flat, given))


DEPENDENT = (
    ChainWorkload("hmm diag", 1_000_000, 4, 8, covariance_type="diag", n_sequences=1000),
    ChainWorkload("hmm full", 200_000, 8, 32, covariance_type="full", n_sequences=200),
    RegressionWorkload("regression", 1_000_000, 8, 8),
)
