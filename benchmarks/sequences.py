"""Rows of the table whose rows are sequences, or have targets."""

from dataclasses import dataclass, replace

import numpy as np

from emfast.data import ArraySource, Batch, SequenceSource
from emfast.emissions import Gaussian
from emfast.emissions.base import Emission
from emfast.latent import MarkovChain
from emfast.latent.base import Latent
from emfast.latent.markov import ChainParameters
from emfast.problem import Model
from workloads import Workload

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
        n_sequences = max(1, round(scale * self.n_sequences))
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


CHAINS = (
    ChainWorkload("hmm diag", 1_000_000, 4, 8, covariance_type="diag", n_sequences=1000),
    ChainWorkload("hmm full", 200_000, 8, 32, covariance_type="full", n_sequences=200),
)
