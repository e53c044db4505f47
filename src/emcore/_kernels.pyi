"""What every build of kernels.pxi has; there is no module of this name.

`emcore.kernels` gives the build, which `Kernels` describes. Arrays are C-contiguous and of the type
that is said here; `Real` is of the build's precision.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from emcore import _kernels as build

Doubles = NDArray[np.float64]
Real = NDArray[np.float32] | NDArray[np.float64]
# An array, a tuple of blocks of columns for a `Product`, or an object with sparse rows.
Rows = Any

class Emission:
    @property
    def dtype(self) -> str: ...
    @property
    def n_components(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def n_columns(self) -> int: ...
    @property
    def run_length(self) -> int: ...
    @property
    def n_terms(self) -> int: ...
    @property
    def statistics_size(self) -> int: ...
    @property
    def scratch_per_row(self) -> int: ...
    @property
    def component_vectors(self) -> int: ...
    @property
    def about_centre(self) -> bool: ...
    @property
    def form(self) -> str | None: ...
    def centre_values(self) -> list[float]: ...

class Product(Emission):
    @property
    def first(self) -> Emission: ...
    @property
    def rest(self) -> Emission: ...
    def __init__(self, first: Emission, rest: Emission) -> None: ...

class LinearForms(Emission):
    def __init__(self, centre: Doubles, weights: Doubles, constants: Doubles) -> None: ...

class Counts(LinearForms):
    @property
    def paired(self) -> bool: ...
    def __init__(
        self,
        centre: Doubles,
        weights: Doubles,
        constants: Doubles,
        base: Doubles | None = None,
        base_constant: float = 0,
        trials: Doubles | None = None,
        paired: bool = False,
    ) -> None: ...

class Entries(Emission):
    @property
    def stride(self) -> int: ...
    @property
    def n_slots(self) -> int: ...
    def by_slot(self, sums: Doubles) -> Doubles: ...

class Categorical(Entries):
    def __init__(self, levels: NDArray[np.int64], log_probabilities: Doubles) -> None: ...

class SparseForms(Entries):
    def __init__(
        self,
        weights: Doubles,
        constants: Doubles,
        base: Doubles | None = None,
        base_constant: float = 0,
    ) -> None: ...

class Bernoulli(Emission):
    def __init__(
        self, reference: Doubles, logits: Doubles, constants: Doubles, may_miss: bool = False
    ) -> None: ...

class SphericalGaussian(Emission):
    def __init__(
        self, centre: Doubles, means: Doubles, scales: Doubles, constants: Doubles
    ) -> None: ...

class DiagGaussian(Emission):
    def __init__(
        self, centre: Doubles, means: Doubles, scales: Doubles, constants: Doubles
    ) -> None: ...

class FullGaussian(Emission):
    def __init__(
        self, centre: Doubles, means: Doubles, factors: Doubles, constants: Doubles
    ) -> None: ...
    def moments(self, sums: Doubles, first: Doubles, second: Doubles) -> None: ...

class TiedGaussian(Emission):
    def __init__(
        self, centre: Doubles, means: Doubles, factor: Doubles, constant: float
    ) -> None: ...

class IncompleteDiagGaussian(Emission):
    def __init__(self, centre: Doubles, means: Doubles, scales: Doubles) -> None: ...

class IncompleteFullGaussian(FullGaussian):
    def __init__(
        self,
        centre: Doubles,
        means: Doubles,
        factors: Doubles,
        constants: Doubles,
        precisions: Doubles,
        covariances: Doubles,
    ) -> None: ...

class IncompleteTiedGaussian(TiedGaussian):
    def __init__(
        self,
        centre: Doubles,
        means: Doubles,
        factor: Doubles,
        constant: float,
        precision: Doubles,
        covariance: Doubles,
        forms: Doubles,
    ) -> None: ...

class LinearRegression(Emission):
    def __init__(
        self,
        centre: Doubles,
        coef: Doubles,
        levels: Doubles,
        scales: Doubles,
        constants: Doubles,
    ) -> None: ...

class Latent:
    @property
    def n_components(self) -> int: ...
    @property
    def n_uniform(self) -> int: ...
    @property
    def statistics_size(self) -> int: ...

class MixtureWeights(Latent):
    def __init__(
        self,
        log_weights: Doubles,
        *,
        assignment: Literal["soft", "hard", "stochastic"] = "soft",
        seed: int = 0,
        iteration: int = 0,
        first_row: int = 0,
        background: float | None = None,
        background_of_rows: Doubles | None = None,
    ) -> None: ...

class Gate(MixtureWeights):
    def __init__(
        self,
        covariates: Real,
        centre: Doubles,
        coef: Doubles,
        levels: Doubles,
        *,
        assignment: Literal["soft", "hard", "stochastic"] = "soft",
        seed: int = 0,
        iteration: int = 0,
        first_row: int = 0,
    ) -> None: ...

class SideBySide(MixtureWeights):
    @property
    def n_mixtures(self) -> int: ...
    def __init__(
        self,
        log_weights: Doubles,
        n_mixtures: int,
        *,
        assignment: Literal["soft", "hard"] = "soft",
    ) -> None: ...

class Responsibilities(Latent):
    def __init__(self, values: Real) -> None: ...

class MarkovChain(Latent):
    def __init__(
        self, start: Doubles, transitions: Doubles, *, assignment: Literal["soft", "hard"] = "soft"
    ) -> None: ...

class SequencePlan:
    @property
    def n_rows(self) -> int: ...
    @property
    def n_sequences(self) -> int: ...
    @property
    def n_groups(self) -> int: ...
    @property
    def n_blocks(self) -> int: ...
    @property
    def tile_rows(self) -> int: ...
    @property
    def piece_rows(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    def __init__(
        self, latent: MarkovChain, emission: Emission, starts: NDArray[np.int64]
    ) -> None: ...
    @property
    def first_sequences(self) -> Sequence[int]: ...
    def part(self, first: int, stop: int) -> SequencePlan: ...

class Kernels(Protocol):
    DTYPE: str
    LARGEST_SQUARED_DISTANCE: float

    Emission: type[build.Emission]
    Product: type[build.Product]
    LinearForms: type[build.LinearForms]
    Counts: type[build.Counts]
    Entries: type[build.Entries]
    Categorical: type[build.Categorical]
    SparseForms: type[build.SparseForms]
    Bernoulli: type[build.Bernoulli]
    SphericalGaussian: type[build.SphericalGaussian]
    DiagGaussian: type[build.DiagGaussian]
    FullGaussian: type[build.FullGaussian]
    TiedGaussian: type[build.TiedGaussian]
    IncompleteDiagGaussian: type[build.IncompleteDiagGaussian]
    IncompleteFullGaussian: type[build.IncompleteFullGaussian]
    IncompleteTiedGaussian: type[build.IncompleteTiedGaussian]
    LinearRegression: type[build.LinearRegression]
    Latent: type[build.Latent]
    MixtureWeights: type[build.MixtureWeights]
    Gate: type[build.Gate]
    SideBySide: type[build.SideBySide]
    Responsibilities: type[build.Responsibilities]
    MarkovChain: type[build.MarkovChain]
    SequencePlan: type[build.SequencePlan]

    def tile_rows(self, emission: build.Emission) -> int: ...
    def partial_size(self, latent: build.Latent, emission: build.Emission) -> int: ...
    def block_rows(self, latent: build.Latent, emission: build.Emission, n_rows: int) -> int: ...
    def expectation(
        self,
        latent: build.Latent,
        emission: build.Emission,
        rows: Rows,
        partial: Doubles,
        block_rows: int,
        n_threads: int,
        *,
        weights: Doubles | None = None,
        component: NDArray[np.int32] | None = None,
        allowed: NDArray[np.uint8] | None = None,
        accumulate: bool = True,
        responsibilities: Real | None = None,
        assignments: NDArray[np.intp] | None = None,
        log_likelihoods: Doubles | None = None,
        imputed: Real | None = None,
        head_rows: int = 0,
        merged: bool = True,
    ) -> int: ...
    def expectation_of_sequences(
        self,
        latent: build.MarkovChain,
        emission: build.Emission,
        rows: Rows,
        partial: Doubles,
        plan: build.SequencePlan,
        n_threads: int,
        *,
        weights: Doubles | None = None,
        component: NDArray[np.int32] | None = None,
        allowed: NDArray[np.uint8] | None = None,
        accumulate: bool = True,
        responsibilities: Real | None = None,
        assignments: NDArray[np.intp] | None = None,
        log_likelihoods: Doubles | None = None,
        merged: bool = True,
    ) -> int: ...
    def lane_exp(self, values: Real, out: Real) -> None: ...
    def lane_log(self, values: Real, out: Real) -> None: ...
