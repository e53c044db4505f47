"""`BaseHMM`: the estimator of a hidden Markov model without its emission."""

from copy import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import StrOptions

from emfast.annotations import Rows, Values
from emfast.data import Batch, SequenceSource, Source, summed_with_dask
from emfast.emissions.base import Emission
from emfast.estimators.base.decoding import FittedHMM
from emfast.estimators.base.online import TakesStatistics
from emfast.inputs.arguments import (
    check_enough_rows,
    check_lengths,
    check_sample_weight,
    check_startprob,
    check_transmat,
    refuse_lengths,
)
from emfast.inputs.columns import columns_apart
from emfast.inputs.labels import encode_labels
from emfast.latent.base import Latent
from emfast.latent.markov import ChainParameters, MarkovChain, reachable
from emfast.parts.known import NOTHING_KNOWN, Known
from emfast.problems.grid import GridProblem
from emfast.statistics import Statistics


class BaseHMM(TakesStatistics, FittedHMM):
    """A hidden Markov model fitted by expectation-maximisation."""

    _parameter_constraints: dict = {
        **TakesStatistics._parameter_constraints,
        "assignment": [StrOptions({"soft", "hard"})],
        "startprob_init": ["array-like", None],
        "transmat_init": ["array-like", None],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(
        self,
        X: Rows,
        lengths: ArrayLike | None = None,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit the hidden Markov model by expectation-maximisation (Baum-Welch).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows of all sequences, one sequence after the other. Computed in its own precision
            if that is float32 or float64. Or a source of sequences that do not fit into memory: see
            `docs/large-data.md`. Of a Dask bag every element is a sequence, an array of two
            dimensions; it is fitted on the workers of the current client, if any.
        lengths : array-like of shape (n_sequences,), optional
            How many rows the sequences have, which add up to n_samples; one with all by default.
        labels : array-like of shape (n_samples,) or (n_samples, n_components), optional
            What is known of each row's state. Integers are states 0 to K-1 with -1 for missing;
            other values are sorted to states, with None, NaN and pandas.NA missing; a boolean array
            holds the states that each row may have.
        sample_weight : array-like of shape (n_sequences,), optional
            How often each sequence counts: any non-negative numbers.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            The arguments or the data cannot be fitted; among others labels that no path can have.
            Nothing has been changed then.
        SingularComponentError
            All starts ended in singular covariances, which only happens with ``reg_covar=0``.

        Warns
        -----
        ConvergenceWarning
            The best start reached `max_iter` before it converged, and ``tol > 0``.
        StarvedComponentWarning
            A state of the best start lost all its rows.
        DegenerateComponentWarning
            Every start ended with a state that owes its likelihood to few rows, or to rows that do
            not vary.
        """
        self._fit(X, lengths, labels, sample_weight)
        return self

    def partial_fit(
        self,
        X: Rows,
        lengths: ArrayLike | None = None,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Go on with a batch of whole sequences, which are not needed again: stepwise EM.

        Parameters
        ----------
        X, lengths, labels, sample_weight : see `fit`

        Returns
        -------
        self : object
            See `GaussianMixture.partial_fit`.
        """
        return self._partial_fit(X, lengths, labels, sample_weight)

    @summed_with_dask
    def summarize(
        self,
        X: Rows,
        lengths: ArrayLike | None = None,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Statistics:
        """Expected sufficient statistics of whole sequences under the fitted model: one E-step.

        Parameters
        ----------
        X, lengths, labels, sample_weight : see `fit`

        Returns
        -------
        Statistics
            See `GaussianMixture.summarize`.
        """
        return self._summarized(X, lengths, labels, sample_weight)

    def _observed(self, X: Any, lengths: Any, labels: Any, sample_weight: Any) -> Batch | Source:
        stream = self._stream(X, labels, sample_weight)
        if stream is not None:
            refuse_lengths(lengths)
            stream.cut = self._may_be_cut
            return stream
        X, labels = columns_apart(X, labels=labels)
        batch = self._validate_rows(X, reset=True)
        sequences = check_lengths(lengths, batch.n_rows)
        weights = check_sample_weight(sample_weight, len(sequences) - 1, "sequence")
        known = encode_labels(labels, batch.n_rows, int(self.n_components))
        batch = replace(batch, weights=weights, labels=known, sequences=sequences)
        check_enough_rows(batch.n_rows, batch.n_used, int(self.n_components))
        return batch

    def _source(self, batch: Batch, emission: Emission) -> SequenceSource:
        return SequenceSource(batch, cut=self._may_be_cut)

    @property
    def _may_be_cut(self) -> bool:
        """Whether a piece of a sequence may begin in any state that it can begin in."""
        given = self._given_of_latent().get("startprob")
        return given is None or bool(np.all(given > 0))

    def _latent(self, fixed: Known = NOTHING_KNOWN, assignment: str = "soft") -> MarkovChain:
        given, K = self._given_of_latent(), int(self.n_components)
        possible = None
        if given:
            possible = ChainParameters(
                given.get("startprob", np.ones(K)) != 0, given.get("transmat", np.ones((K, K))) != 0
            )
        return MarkovChain(fixed=fixed, assignment=assignment, possible=possible)

    def _latent_of(self, source: Source, fixed: Known) -> Latent:
        latent = self._latent(fixed, self.assignment)
        latent.length = source.n_rows / source.n_sequences
        return latent

    def _evaluation(self, problem: GridProblem, rows: list[int], seed: int) -> GridProblem:
        evaluation = super()._evaluation(problem, rows, seed)
        if evaluation is problem or not problem.source.cut:
            return evaluation
        latent = copy(evaluation.latent)
        latent.anywhere = True
        return replace(evaluation, latent=latent)

    def _given_of_latent(self) -> dict[str, np.ndarray]:
        K, given = int(self.n_components), {}
        if self.startprob_init is not None:
            given["startprob"] = check_startprob(self.startprob_init, K)
        if self.transmat_init is not None:
            given["transmat"] = check_transmat(self.transmat_init, K)
        if len(given) == 2:
            # What is not given is possible.
            ways = np.where(np.isnan(given["transmat"]), 1.0, given["transmat"])
            reached = reachable(given["startprob"], ways)
            if not reached.all():
                raise ValueError(
                    f"transmat_init: found no way to state {reached.argmin()}, which "
                    "startprob_init gives the probability 0, too; expected states that some "
                    "sequence can reach"
                )
        return given
