"""A model, and one pass over rows with it.

An `Expectation` is asked of a source of rows, which gives it all rows in one batch, or one batch of
a stream after the other; the sums are the same to the bit. They are taken of blocks of rows that
depend on the shapes alone, and added in a fixed binary tree.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np

import emcore
from emfast.data.batch import Batch
from emfast.data.cuts import Listed, Multiples, Places, cut_again
from emfast.data.sums import Tree
from emfast.emissions.base import Emission
from emfast.exceptions import ImpossibleRowError
from emfast.inputs.rows import for_kernels
from emfast.latent.base import Latent
from emfast.statistics import Statistics


class Model(NamedTuple):
    """Parameters of the latent structure and of the emission, and how many M-steps led to them."""

    latent: Any
    emission: Any
    iteration: int = 0


class Stream(Protocol):
    """Rows that come in batches.

    Attributes
    ----------
    n_rows, row_bytes : int, rows, and what one of them takes, roughly
    sequences : ndarray of shape (n_sequences + 1,) or None, see `Batch`
    first_row : int, the place of the first row among all
    """

    n_rows: int
    row_bytes: int
    first_row: int
    sequences: np.ndarray | None

    def batches(self) -> Iterator[Batch]:
        """All batches from the first on, which know what may be missing in any of them."""


@dataclass(frozen=True, eq=False)
class Expectation:
    """The E-step with a model, as it is asked of a source of rows.

    It is without what is `constant`, if the emission can leave it out.
    """

    latent: Latent
    emission: Emission
    model: Model
    n_threads: int
    constant: Any = None

    def of(self, batch: Batch, first_row: int = 0) -> Statistics:
        """The statistics of rows that are all in one batch, from `first_row` of all on."""
        statistics = self.sums(batch, first_row)
        self._refuse(statistics.impossible_row, batch, first_row)
        return statistics

    def sums(self, batch: Batch, first_row: int = 0) -> Statistics:
        """The same, of rows whatever their likelihood."""
        kernels = emcore.kernels(batch.dtype)
        latent, emission = self._compiled(kernels, batch, first_row)
        partial, impossible = _pass_over(kernels, latent, emission, batch, self.n_threads)
        return self._named(partial[0].copy(), latent, emission, impossible)

    def of_stream(self, stream: Stream) -> Statistics:
        """The statistics of rows that come in batches, of which some are in memory at a time."""
        batches = stream.batches()
        first = next(batches)
        kernels = emcore.kernels(first.dtype)
        compiled = latent, emission = self._compiled(kernels, first)
        of_rows = stream.sequences is None
        blocks = (BlocksOfRows if of_rows else BlocksOfSequences)(kernels, *compiled, stream)
        first_row = stream.first_row
        batches = cut_again(chain([first], batches), blocks.places, stream.row_bytes)
        for batch in batches:
            latent = self._compiled_latent(kernels, batch, first_row)
            self._refuse(blocks.add(latent, emission, batch, self.n_threads), batch, first_row)
            first_row += batch.n_rows
        return self._named(blocks.total(), latent, emission)

    def _compiled(self, kernels: ModuleType, batch: Batch, first_row: int = 0) -> tuple[Any, Any]:
        """The model as the kernels take it for such rows."""
        emission = self.emission.kernel(
            self.model.emission,
            self.latent.weights(self.model.latent),
            kernels,
            self.constant,
            batch.missing,
            batch.storage,
        )
        return self._compiled_latent(kernels, batch, first_row), emission

    def _compiled_latent(self, kernels: ModuleType, batch: Batch, first_row: int = 0) -> Any:
        return self.latent.kernel(
            self.model.latent, kernels, batch, self.model.iteration, first_row
        )

    def _refuse(self, impossible: int, batch: Batch, first_row: int = 0) -> None:
        if impossible >= 0:
            raise ImpossibleRowError(
                f"X: row {first_row + batch.number(impossible)} has zero likelihood "
                f"{self.latent.everywhere}; check the row, its label, the start"
            )

    def _named(
        self, flat: np.ndarray, latent: Any, emission: Any, impossible: int = -1
    ) -> Statistics:
        """Numbers that a pass has accumulated, as statistics."""
        end_of_counts = 2 + latent.n_components
        end_of_latent = end_of_counts + latent.statistics_size
        counts, of_latent = flat[2:end_of_counts], flat[end_of_counts:end_of_latent]
        own = counts[: emission.n_components]
        return Statistics(
            float(flat[0]),
            float(flat[1]),
            counts,
            self.latent.statistics(counts, of_latent),
            self.emission.statistics(flat[end_of_latent:], own, emission, self.model.emission),
            impossible,
        )


def expectation(
    latent: Latent, emission: Emission, model: Model, batch: Batch, n_threads: int
) -> Statistics:
    """The E-step on rows whatever their likelihood: see `Expectation.sums`."""
    return Expectation(latent, emission, model, n_threads).sums(batch)


class BlocksOfRows:
    """Sums over blocks of the rows of a stream: a batch may end within a block.

    Attributes
    ----------
    places : Places, where batches must begin
    """

    def __init__(self, kernels: ModuleType, latent: Any, emission: Any, stream: Stream):
        self.places: Places = Multiples(kernels.tile_rows(emission))
        self._kernels, self._sums = kernels, Tree()
        self._block = kernels.block_rows(latent, emission, stream.n_rows)
        # What the block that has begun has come to, and the rows that it lacks.
        self._begun: np.ndarray | None = None
        self._lacks = 0

    def add(self, latent: Any, emission: Any, batch: Batch, n_threads: int) -> int:
        """The batch that comes next; its first row that is impossible, or -1."""
        n = batch.n_rows - min(self._lacks, batch.n_rows)
        size = self._kernels.partial_size(latent, emission)
        partial = np.zeros((-(-n // self._block) + (self._lacks > 0), size))
        if self._lacks:
            partial[0] = self._begun
        impossible = _run(
            self._kernels.expectation, latent, emission, batch, partial, self._block, n_threads,
            head_rows=self._lacks, merged=False,
        )  # fmt: skip
        self._lacks = -n % self._block if n else self._lacks - batch.n_rows
        finished = partial[:-1] if self._lacks else partial
        for sums in finished:
            self._sums.add(sums.copy())
        self._begun = partial[-1].copy() if self._lacks else None
        return impossible

    def total(self) -> np.ndarray:
        if self._begun is not None:
            self._sums.add(self._begun)
        return self._sums.total()


class BlocksOfSequences:
    """Sums over blocks of the sequences of a stream; see `BlocksOfRows`."""

    def __init__(self, kernels: ModuleType, latent: Any, emission: Any, stream: Stream):
        self._kernels, self._sums = kernels, Tree()
        self._plan = kernels.SequencePlan(latent, emission, stream.sequences)
        self._firsts = np.asarray(self._plan.first_sequences)
        self.places: Places = Listed(self._firsts)
        self._done = 0

    def add(self, latent: Any, emission: Any, batch: Batch, n_threads: int) -> int:
        first = self._done
        self._done = int(np.searchsorted(self._firsts, self._firsts[first] + batch.n_independent))
        plan = self._plan.part(first, self._done)
        partial = np.zeros((plan.n_blocks, self._kernels.partial_size(latent, emission)))
        impossible = _run(
            self._kernels.expectation_of_sequences, latent, emission, batch, partial, plan,
            n_threads, merged=False,
        )  # fmt: skip
        for sums in partial:
            self._sums.add(sums.copy())
        return impossible

    def total(self) -> np.ndarray:
        return self._sums.total()


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
    # Nothing is drawn by the number of M-steps.
    asked = Expectation(latent, emission, model._replace(iteration=0), n_threads)
    compiled = asked._compiled(kernels, batch)
    rows = replace(batch, weights=None)
    return _pass_over(kernels, *compiled, rows, n_threads, accumulate=False, **outputs)[1]


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
    """The sums over all blocks of a batch, in the first row, and its first impossible row or -1."""
    if batch.sequences is None:
        run = kernels.expectation
        shares = kernels.block_rows(latent, emission, batch.n_rows)
        n_blocks = -(-batch.n_rows // shares)
    else:
        run = kernels.expectation_of_sequences
        shares = kernels.SequencePlan(latent, emission, batch.sequences)
        n_blocks = shares.n_blocks
    partial = np.zeros((n_blocks, kernels.partial_size(latent, emission)))
    return partial, _run(run, latent, emission, batch, partial, shares, n_threads, **options)


def _run(run, latent, emission, batch, partial, shares, n_threads, **options):
    return run(
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
