"""A latent-variable model and the rows it is fitted to, as a problem for the driver in `em`.

The model is a pair (latent structure, emission) of parameter values; what does not change during a
fit - the families, their fixed groups, the rows - is held here.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from emfast.data import Batch, Source
from emfast.emissions.base import Emission
from emfast.latent.base import Latent
from emfast.latent.mixture import MixtureWeights
from emfast.parts.known import Known
from emfast.passes import Expectation, Model, posterior
from emfast.statistics import Statistics, starved

# How much any coordinate may change in one extrapolation: a factor of about 150 for what has a
# logarithm. Further out densities are so small that their rounding could look like a gain.
FURTHEST = 5.0

# Rows that say where and how broad all rows are, roughly.
ROWS_OF_FLAT_START = 10_000


@dataclass(frozen=True, eq=False)
class GridProblem:
    """Fit (latent structure, emission) to the rows of a source.

    Attributes
    ----------
    latent : Latent
    emission : Emission
    source : Source
    n_threads : int
    unit : float, default=1
        The weight of a row whose weight is 1 in what the user has given.
    """

    latent: Latent
    emission: Emission
    source: Source
    n_threads: int
    unit: float = 1.0

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
        if self.latent.noise is not None:
            # The densities of components count beside that of the noise, and not only among them.
            return None
        source = self.source
        return self.emission.constant(
            source.n_rows, source.n_features, self._flat_total, source.missing
        )

    def _flat_total(self, emission: Emission, block: int | None = None) -> tuple[Statistics, Any]:
        """Statistics of all rows, or one block of their columns, under a flat model, and that.

        It has one component: no start enters.
        """
        source = self.source.plain(block)
        flat = emission.flat_start(source.head(ROWS_OF_FLAT_START), 1)
        model = Model(np.ones(1), flat)
        return source.total(Expectation(MixtureWeights(), emission, model, self.n_threads)), flat

    def estep(self, model: Model) -> Statistics:
        asked = replace(self.asked(model), constant=self.constant)
        return self.emission.complete(self.source.total(asked), model.emission, self.constant)

    def asked(self, model: Model) -> Expectation:
        """The E-step as any rows can be asked for it, without a constant that is left out."""
        return Expectation(self.latent, self.emission, model, self.n_threads)

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
        """The most probable component of every row that its label allows, (n_rows,), int32.

        The rows are in memory.
        """
        batch = self.source.batch
        found = np.empty(batch.n_rows, np.intp)
        posterior(self.latent, self.emission, model, batch, self.n_threads, assignments=found)
        return found.astype(np.int32)

    def standard_error(self, model: Model, other: Model) -> float:
        r"""That of the difference of the mean log-likelihoods of two models, in nats.

        Both see the same rows, which are in memory. With :math:`d_i` the differences of single rows
        or sequences, of weights :math:`w_i` and lengths :math:`n_i`, 1 for rows, the mean is the
        ratio :math:`m = \sum w_i d_i / \sum w_i n_i`, and its error
        :math:`\sqrt{\sum w_i^2 (d_i - m n_i)^2} / \sum w_i n_i` [1]_. Infinite where there is but
        one, which says nothing of others, or where a model rules rows out.

        References
        ----------
        .. [1] Cochran, W. G. (1977). Sampling Techniques, 3rd ed., section 6.3. Wiley.
        """
        batch = self.source.batch
        n = batch.n_independent
        weights = np.ones(n) if batch.weights is None else batch.weights
        lengths = np.ones(n) if batch.sequences is None else batch.lengths
        # Rows of no weight may hold anything.
        counted = weights > 0
        w, lengths = weights[counted], lengths[counted]
        mine, others = (self._log_likelihoods(each)[counted] for each in (model, other))
        if len(w) < 2 or not (np.isfinite(mine).all() and np.isfinite(others).all()):
            return math.inf
        d = mine - others
        total = w @ lengths
        return float(np.linalg.norm(w * (d - w @ d / total * lengths)) / total)

    def _log_likelihoods(self, model: Model) -> np.ndarray:
        """Of every row or sequence, (n_independent,)."""
        batch = self.source.batch
        found = np.empty(batch.n_independent)
        posterior(self.latent, self.emission, model, batch, self.n_threads, log_likelihoods=found)
        return found

    def starved(self, statistics: Statistics, model: Model) -> list[int]:
        """Components of the emission that have lost all their rows."""
        gone = starved(statistics.counts)[: len(self.latent.weights(model.latent))]
        return np.flatnonzero(gone).tolist()

    def degenerate(self, statistics: Statistics, model: Model) -> list[int]:
        """Components that owe their likelihood to a density without bound."""
        return self.emission.degenerate(statistics.emission, model.emission, self.source.n_used)

    def faulty(self, statistics: Statistics, model: Model) -> list[int]:
        """Components that have lost all their rows, or are degenerate."""
        return sorted({*self.starved(statistics, model), *self.degenerate(statistics, model)})

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
