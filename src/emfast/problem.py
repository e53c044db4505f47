"""A latent-variable model and the rows it is fitted to, as a problem for the driver in `em`.

The model is a pair (latent structure, emission) of parameter values; what does not change during a
fit - the families, their fixed groups, the rows - is held here.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

import emcore
from emfast.data import ArraySource, Batch
from emfast.emissions.base import Emission
from emfast.known import Known
from emfast.labels import NOTHING_KNOWN
from emfast.latent.base import Latent
from emfast.latent.mixture import MixtureWeights
from emfast.statistics import Statistics

# Rows that say where and how broad all rows are, roughly.
ROWS_OF_FLAT_START = 10_000


class Model(NamedTuple):
    """Parameters of the latent structure and of the emission, and how many M-steps led to them."""

    latent: Any
    emission: Any
    iteration: int = 0


def expectation(
    latent: Latent,
    emission: Emission,
    model: Model,
    batch: Batch,
    n_threads: int,
    constant: Any = None,
    first_row: int = 0,
) -> Statistics:
    """The E-step on one batch, whose first row is `first_row` of the source.

    It is without what is `constant`, if the emission can leave it out.
    """
    kernels = emcore.kernels(batch.dtype)
    latent_kernel = latent.kernel(model.latent, kernels, model.iteration, first_row)
    weights = latent.weights(model.latent)
    emission_kernel = emission.kernel(model.emission, weights, kernels, constant)
    partial, impossible = _pass_over(kernels, latent_kernel, emission_kernel, batch, n_threads)
    K = latent_kernel.n_components
    return Statistics(
        partial[0],
        partial[1],
        partial[2 : 2 + K],
        emission.statistics(partial[2 + K :], partial[2 : 2 + K], emission_kernel, model.emission),
        impossible,
    )


def posterior(
    latent: Latent,
    emission: Emission,
    model: Model,
    batch: Batch,
    n_threads: int,
    **outputs: np.ndarray,
) -> None:
    """Write ``responsibilities``, ``assignments`` or ``log_likelihoods`` of every row, as named.

    The weights of the rows do not enter: they say how often a row counts, not what is known of it.
    """
    kernels = emcore.kernels(batch.dtype)
    _pass_over(
        kernels,
        latent.kernel(model.latent, kernels),
        emission.kernel(model.emission, latent.weights(model.latent), kernels),
        replace(batch, weights=None),
        n_threads,
        accumulate=False,
        **outputs,
    )


def _pass_over(kernels, latent, emission, batch, n_threads, **options):
    block_rows = kernels.block_rows(emission, batch.n_rows)
    n_blocks = -(-batch.n_rows // block_rows)
    partial = np.zeros((n_blocks, 2 + latent.n_components + emission.statistics_size))
    impossible = kernels.expectation(
        latent,
        emission,
        batch.X,
        partial,
        block_rows,
        n_threads,
        weights=batch.weights,
        component=batch.labels.component,
        allowed=batch.labels.allowed,
        **options,
    )
    return partial[0].copy(), impossible


@dataclass(frozen=True, eq=False)
class MixtureProblem:
    """Fit (latent structure, emission) to the rows of a source.

    Attributes
    ----------
    latent : Latent
    emission : Emission
    source : ArraySource
    n_threads : int
    """

    latent: Latent
    emission: Emission
    source: ArraySource
    n_threads: int

    @property
    def rounding(self) -> float:
        """Relative decrease of the objective that rounding explains."""
        return 1e-5 if self.source.dtype == "float32" else 1e-11

    @property
    def fixed(self) -> Known:
        """The parameters that are known."""
        return Known({**self.latent.fixed, **self.emission.fixed})

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of all groups of parameters."""
        return (*self.latent.groups, *self.emission.groups)

    def with_groups(self, model: Model, given: dict[str, np.ndarray]) -> Model:
        """Replace groups by given values, except where these are NaN."""
        return model._replace(
            latent=self.latent.with_groups(model.latent, given),
            emission=self.emission.with_groups(model.emission, given),
        )

    @cached_property
    def constant(self) -> Any:
        """What the statistics of the rows contain whatever the model, as the emission says.

        Collected in a pass of its own, with one component: no start enters.
        """
        if not self.emission.has_constant(self.source.n_rows, self.source.n_features):
            return None
        batch = next(iter(self.source))
        counted = np.arange(min(batch.n_rows, ROWS_OF_FLAT_START))
        if batch.weights is not None:
            counted = np.flatnonzero(batch.weights)
        some_rows = batch.X[counted[:ROWS_OF_FLAT_START]]
        flat = Model(np.ones(1), self.emission.flat_start(some_rows, 1))
        return self.emission.constant(self._total(MixtureWeights(), flat, labelled=False).emission)

    def estep(self, model: Model) -> Statistics:
        total = self._total(self.latent, model, self.constant)
        return self.emission.complete(total, model.emission, self.constant)

    def _total(
        self, latent: Latent, model: Model, constant: Any = None, labelled: bool = True
    ) -> Statistics:
        total, n_rows = None, 0
        for batch in self.source:
            if not labelled:
                batch = replace(batch, labels=NOTHING_KNOWN)
            statistics = expectation(
                latent, self.emission, model, batch, self.n_threads, constant, n_rows
            )
            if statistics.impossible_row >= 0:
                raise ValueError(
                    f"X: row {n_rows + statistics.impossible_row} has zero likelihood under "
                    "every component that its label allows; check the row, its label, the start"
                )
            total = statistics if total is None else total + statistics
            n_rows += batch.n_rows
        return total

    def mstep(self, statistics: Statistics, model: Model) -> Model:
        return Model(
            self.latent.mstep(statistics.counts, model.latent),
            self.emission.mstep(statistics.emission, model.emission),
            model.iteration + 1,
        )

    def objective(self, statistics: Statistics, model: Model) -> float:
        """Log-likelihood in nats per unit of weight."""
        return float(statistics.log_likelihood / statistics.weight)

    def degenerate(self, statistics: Statistics, model: Model) -> list[int]:
        """Components that owe their likelihood to a density without bound."""
        return self.emission.degenerate(statistics.emission, model.emission, self.source.n_used)

    def merit(self, statistics: Statistics, model: Model) -> tuple[bool, float]:
        """What the best of several models has most of: no degenerate component, the objective."""
        return not self.degenerate(statistics, model), self.objective(statistics, model)

    def on(self, batch: Batch) -> "MixtureProblem":
        """The same model and other rows, to start from: nothing is drawn."""
        return replace(self, source=ArraySource(batch), latent=self.latent.with_draws(None))

    def with_draws(self, seed: int) -> "MixtureProblem":
        """The same, with draws of this seed if it makes any."""
        return replace(self, latent=self.latent.with_draws(seed)) if self.latent.draws else self

    def slack(self, model: Model) -> float:
        """How much one iteration that led to `model` may have lowered the objective."""
        if self.latent.draws:
            return math.inf
        epsilon = float(np.finfo(self.source.dtype).eps)
        return self.emission.slack(model.emission, self.latent.weights(model.latent), epsilon)
