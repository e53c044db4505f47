"""A latent-variable model and the rows it is fitted to, as a problem for the driver in `em`.

The model is a pair (latent structure, emission) of parameter values; what does not change during a
fit - the families, their fixed groups, the rows - is held here.
"""

import math
import operator
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, ClassVar, NamedTuple

import numpy as np

import emcore
from emfast.data import ArraySource, Batch
from emfast.emissions.base import Emission
from emfast.exceptions import ImpossibleRowError
from emfast.known import Known
from emfast.labels import NOTHING_KNOWN
from emfast.latent.base import Latent
from emfast.latent.mixture import MixtureWeights
from emfast.rows import for_kernels
from emfast.statistics import Statistics, starved

# How much any coordinate may change in one extrapolation: a factor of about 150 for what has a
# logarithm. Further out densities are so small that their rounding could look like a gain.
FURTHEST = 5.0

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
    latent_kernel = latent.kernel(model.latent, kernels, batch, model.iteration, first_row)
    weights = latent.weights(model.latent)
    emission_kernel = emission.kernel(
        model.emission, weights, kernels, constant, batch.missing, batch.storage
    )
    partial, impossible = _pass_over(kernels, latent_kernel, emission_kernel, batch, n_threads)
    ends = np.cumsum([2, latent_kernel.n_components, latent_kernel.statistics_size])
    _, counts, of_latent, of_emission = np.split(partial, ends)
    own = counts[: emission_kernel.n_components]
    return Statistics(
        partial[0],
        partial[1],
        counts,
        latent.statistics(counts, of_latent),
        emission.statistics(of_emission, own, emission_kernel, model.emission),
        impossible,
    )


def posterior(
    latent: Latent,
    emission: Emission,
    model: Model,
    batch: Batch,
    n_threads: int,
    **outputs: np.ndarray,
) -> int:
    """Write ``responsibilities``, ``assignments`` or ``log_likelihoods`` of every row, as named.

    The weights of the rows do not enter: they say how often a row counts, not what is known of it.
    Of sequences there is one log-likelihood each.

    Returns
    -------
    int
        The first row of zero likelihood, or -1.
    """
    kernels = emcore.kernels(batch.dtype)
    return _pass_over(
        kernels,
        latent.kernel(model.latent, kernels, batch),
        emission.kernel(
            model.emission,
            latent.weights(model.latent),
            kernels,
            missing=batch.missing,
            storage=batch.storage,
        ),
        replace(batch, weights=None),
        n_threads,
        accumulate=False,
        **outputs,
    )[1]


def conditional_means(
    emission: Emission,
    parameters: Any,
    X: np.ndarray,
    responsibilities: np.ndarray,
    n_threads: int,
) -> np.ndarray:
    """Rows with what is expected of their missing entries, given the rest and the responsibilities.

    Parameters
    ----------
    emission : Emission of real features
    parameters : its parameters
    X : ndarray of shape (n_rows, n_features), float32 or float64, NaN where an entry is missing
    responsibilities : ndarray of shape (n_rows, n_components), of the same dtype
    n_threads : int

    Returns
    -------
    ndarray of the shape and dtype of X
    """
    batch = Batch(X, missing=True)
    kernels, K = emcore.kernels(batch.dtype), responsibilities.shape[1]
    imputed = np.array(X, order="C")
    _pass_over(
        kernels,
        kernels.Responsibilities(np.ascontiguousarray(responsibilities)),
        emission.kernel(parameters, np.full(K, 1 / K), kernels, missing=True),
        batch,
        n_threads,
        accumulate=False,
        imputed=imputed,
    )
    return imputed


def _pass_over(kernels, latent, emission, batch, n_threads, **options):
    if batch.sequences is None:
        run = kernels.expectation
        shares = kernels.block_rows(latent, emission, batch.n_rows)
        n_blocks = -(-batch.n_rows // shares)
    else:
        run = kernels.expectation_of_sequences
        shares = kernels.SequencePlan(latent, emission, batch.sequences)
        n_blocks = shares.n_blocks
    partial = np.zeros((n_blocks, kernels.partial_size(latent, emission)))
    impossible = run(
        latent,
        emission,
        for_kernels(batch.X),
        partial,
        shares,
        n_threads,
        weights=batch.weights,
        component=batch.labels.component,
        allowed=batch.labels.allowed,
        **options,
    )
    return partial[0].copy(), impossible


@dataclass(frozen=True, eq=False)
class GridProblem:
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

    furthest: ClassVar[float] = FURTHEST

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
        """What the statistics of the rows contain whatever the model, as the emission says."""
        missing = np.any([batch.missing for batch in self.source], axis=0)
        if self.latent.noise is not None:
            # The densities of components count beside that of the noise, and not only among them.
            return None
        return self.emission.constant(
            self.source.n_rows, self.source.n_features, self._flat_total, missing
        )

    def _flat_total(self, emission: Emission, block: int | None = None) -> tuple[Statistics, Any]:
        """Statistics of all rows, or one block of their columns, under a flat model, and that.

        It has one component: no start enters.
        """
        batch = next(iter(self.source)).as_rows()
        counted = np.arange(min(batch.n_rows, ROWS_OF_FLAT_START))
        if batch.weights is not None:
            counted = np.flatnonzero(batch.weights)
        rows = batch.X if block is None else batch.X.parts[block]
        flat = emission.flat_start(rows[counted[:ROWS_OF_FLAT_START]], 1)
        parts = (each if block is None else each.of_block(block) for each in self.source)
        model = Model(np.ones(1), flat)
        totals = (
            expectation(
                MixtureWeights(),
                emission,
                model,
                replace(part.as_rows(), labels=NOTHING_KNOWN),
                self.n_threads,
            )
            for part in parts
        )
        return reduce(operator.add, totals), flat

    def estep(self, model: Model) -> Statistics:
        total, n_rows = None, 0
        for batch in self.source:
            statistics = expectation(
                self.latent, self.emission, model, batch, self.n_threads, self.constant, n_rows
            )
            if statistics.impossible_row >= 0:
                row = n_rows + batch.number(statistics.impossible_row)
                raise ImpossibleRowError(
                    f"X: row {row} has zero likelihood {self.latent.everywhere}; check the row, "
                    "its label, the start"
                )
            total = statistics if total is None else total + statistics
            n_rows += batch.n_rows
        return self.emission.complete(total, model.emission, self.constant)

    def mstep(self, statistics: Statistics, model: Model) -> Model:
        return Model(
            self.latent.mstep(statistics.latent, model.latent),
            self.emission.mstep(statistics.emission, model.emission),
            model.iteration + 1,
        )

    def retreat(
        self, statistics: Statistics, model: Model, proposal: Model, attempt: int
    ) -> Model | None:
        """What to try in place of a proposal that has lowered the objective; None for nothing."""
        if self.latent.draws:
            # They lower it wherever the proposal leads.
            return None
        latent = self.latent.retreat(statistics.latent, model.latent, proposal.latent, attempt)
        return None if latent is None else proposal._replace(latent=latent)

    def displacement(self, model: Model, reference: Model) -> np.ndarray:
        """Unconstrained coordinates of a model, 0 for `reference`; what is known has none."""
        return np.concatenate(
            [
                self.latent.displacement(model.latent, reference.latent),
                self.emission.displacement(model.emission, reference.emission),
            ]
        )

    def displaced(self, displacement: np.ndarray, reference: Model) -> Model | None:
        """The model of these coordinates, or None where they are out of range."""
        n = self.latent.displacement(reference.latent, reference.latent).size
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            latent = self.latent.displaced(displacement[:n], reference.latent)
            emission = self.emission.displaced(displacement[n:], reference.emission)
        return None if latent is None or emission is None else Model(latent, emission)

    def objective(self, statistics: Statistics, model: Model) -> float:
        """Log-likelihood and log prior in nats, per unit of weight."""
        log_prior = self.latent.log_prior(model.latent) + self.emission.log_prior(model.emission)
        return float((statistics.log_likelihood + log_prior) / statistics.weight)

    def assignments(self, model: Model) -> np.ndarray:
        """The most probable component of every row that its label allows, (n_rows,), int32."""
        parts = []
        for batch in self.source:
            found = np.empty(batch.n_rows, np.intp)
            posterior(self.latent, self.emission, model, batch, self.n_threads, assignments=found)
            parts.append(found.astype(np.int32))
        return np.concatenate(parts)

    def starved(self, statistics: Statistics, model: Model) -> list[int]:
        """Components of the emission that have lost all their rows."""
        gone = starved(statistics.counts)[: len(self.latent.weights(model.latent))]
        return np.flatnonzero(gone).tolist()

    def degenerate(self, statistics: Statistics, model: Model) -> list[int]:
        """Components that owe their likelihood to a density without bound."""
        return self.emission.degenerate(statistics.emission, model.emission, self.source.n_used)

    def merit(self, statistics: Statistics, model: Model) -> tuple[bool, float]:
        """What the best of several models has most of: no degenerate component, the objective."""
        return not self.degenerate(statistics, model), self.objective(statistics, model)

    def on(self, batch: Batch) -> "GridProblem":
        """The same model and some of the rows, to start from.

        Nothing is drawn, and the prior counts as these rows do among all.
        """
        source = self.source.of(batch)
        changed = replace(self, source=source, latent=self.latent.with_draws(None))
        return changed.with_prior_times(source.weight / self.source.weight)

    def with_prior_times(self, factor: float) -> "GridProblem":
        """The same, with a prior that counts `factor` times as much."""
        latent, emission = (part.with_prior_times(factor) for part in (self.latent, self.emission))
        return replace(self, latent=latent, emission=emission)

    def with_draws(self, seed: int) -> "GridProblem":
        """The same, with draws of this seed if it makes any."""
        return replace(self, latent=self.latent.with_draws(seed)) if self.latent.draws else self

    def slack(self, model: Model) -> float:
        """How much one iteration that led to `model` may have lowered the objective."""
        if self.latent.draws:
            return math.inf
        epsilon = float(np.finfo(self.source.dtype).eps)
        weight = self.source.weight
        counts = self.latent.weights(model.latent) * weight
        return self.emission.slack(model.emission, counts, epsilon) / weight
