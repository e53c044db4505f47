"""What people ask of a fitted hidden Markov model: scores, posteriors, paths, criteria, samples."""

from bisect import bisect_right
from collections.abc import Collection, Iterator
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from emfast.annotations import Array, PathName, RandomState, Rows, Values
from emfast.data import (
    Batch,
    is_of_dask,
    lazy_with_dask,
    observe,
    offsets,
    read_ahead,
    rows_of,
    summed_with_dask,
)
from emfast.estimators.base.fitted import FittedModel
from emfast.inputs.arguments import check_lengths, check_sample_weight, refuse_lengths
from emfast.inputs.columns import columns_apart
from emfast.inputs.labels import Labels, encode_labels
from emfast.latent.markov import ChainParameters, MarkovChain, stationary_distribution
from emfast.passes import posterior
from emfast.threads import resolve_threads

ALGORITHMS = ("viterbi", "map")


class FittedHMM(FittedModel):
    """The methods of a hidden Markov model that need no fitting, once it has its parameters."""

    startprob_: Array
    transmat_: Array

    _keeps_portions, _takes_columns = True, False

    def _latent_attributes(self, parameters: ChainParameters) -> dict[str, Any]:
        return {"startprob_": parameters.startprob, "transmat_": parameters.transmat}

    def _latent_of_attributes(self) -> ChainParameters:
        startprob = np.asarray(self.startprob_, np.float64)
        return ChainParameters(startprob, np.asarray(self.transmat_, np.float64))

    def _as_columns(self, drawn: list[Any]) -> np.ndarray:
        """What was drawn from each state, as rows of X."""
        return np.vstack(drawn)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "startprob_")

    def _batch(self, X: Any, lengths: Any, labels: Any) -> Batch:
        """Sequences that the fitted model can be asked about, with what is known of their rows."""
        batch = self._rows(X)
        sequences = check_lengths(lengths, batch.n_rows)
        classes = self._names_of_components()
        known = encode_labels(labels, batch.n_rows, len(self.startprob_), classes)
        return replace(batch, sequences=sequences, labels=known)

    def _batches(
        self, X: Any, lengths: Any, labels: Any, sample_weight: Any = None
    ) -> Iterator[Batch]:
        """The sequences of X, in one batch where they are in memory."""
        check_is_fitted(self)
        observer = observe(self, X, labels, sample_weight, self._names_of_components())
        if observer is not None:
            refuse_lengths(lengths)
            return read_ahead(observer.batches())
        X, labels = columns_apart(X, labels=labels)
        batch = self._batch(X, lengths, labels)
        weights = check_sample_weight(sample_weight, batch.n_independent, "sequence")
        return iter([replace(batch, weights=weights)])

    def _portion(self, X: Any, y: Any = None, *, reset: bool = False) -> Batch:
        if isinstance(X, np.ndarray):
            X = [X]
        if not isinstance(X, list):
            raise TypeError(
                f"X: found a {type(X).__name__}, whose rows are no sequences; expected batches "
                "that are sequences, arrays of two dimensions, or lists of them"
            )
        X = [rows for rows in X if len(rows)]
        batch = self._validate_rows(np.concatenate(X), reset=reset)
        return replace(batch, sequences=offsets(np.array([len(rows) for rows in X])))

    def _outputs(
        self, batch: Batch, *wanted: str, assignment: str = "soft"
    ) -> dict[str, np.ndarray]:
        """The outputs of `problem.posterior` that are named, and the log-likelihoods.

        Kernels keep log-densities finite, so a state that cannot have produced a row is excluded
        here. A sequence that no path can have produced has likelihood 0, and the shares of the
        states as posteriors.
        """
        needed = {*wanted, "log_likelihoods"}
        out = self._pass(batch, needed, assignment)
        which = self._with_zeros(batch)
        if which.size:
            part = self._restricted(batch, which)
            rows = rows_of(batch.sequences[:-1][which], batch.lengths[which])
            for name, values in self._pass(part, needed, assignment).items():
                out[name][which if name == "log_likelihoods" else rows] = values
        impossible = np.flatnonzero(out["log_likelihoods"] == -np.inf)
        if impossible.size:
            self._refuse_contradictions(batch, impossible)
            self._no_path(batch, impossible, out)
        return out

    def _with_zeros(self, batch: Batch) -> np.ndarray:
        """The sequences with a row of density exactly 0 in some state."""
        emission, parameters = self._emission(), self._model().emission
        found = []
        for chunk, rows in self._chunks(batch.X):
            zero = emission.impossible_rows(rows, parameters)
            if zero is None:
                break
            found.append(chunk.start + np.flatnonzero(zero.any(axis=1)))
        if not found:
            return np.empty(0, np.intp)
        rows = np.concatenate(found)
        return np.unique(np.searchsorted(batch.sequences, rows, side="right") - 1)

    def _restricted(self, batch: Batch, which: np.ndarray) -> Batch:
        """Some of the sequences, whose labels allow no state that cannot have produced a row."""
        emission, parameters = self._emission(), self._model().emission
        part = batch.of_sequences(which)
        allowed = np.empty((part.n_rows, len(self.startprob_)), np.uint8)
        for chunk, rows in self._chunks(part.X):
            own = part.labels.allows(chunk, allowed[chunk].shape)
            zero = emission.impossible_rows(rows, parameters)
            allowed[chunk] = own if zero is None else own & ~zero
        return replace(part, labels=Labels(allowed=allowed))

    def _refuse_contradictions(self, batch: Batch, impossible: np.ndarray) -> None:
        """Raise where a sequence of positive weight and its labels exclude each other."""
        if batch.labels.nothing_known:
            return
        labelled = np.flatnonzero(batch.labels.restricts(batch.n_rows))
        sequences = np.searchsorted(batch.sequences, labelled, side="right") - 1
        contradictory = np.intersect1d(impossible, sequences)
        if batch.weights is not None:
            contradictory = contradictory[batch.weights[contradictory] > 0]
        if contradictory.size == 0:
            return
        part = self._restricted(batch, contradictory[:1])
        threads, latent = resolve_threads(self.n_threads), self._latent()
        nothing = {"log_likelihoods": np.empty(1)}
        row = posterior(latent, self._emission(), self._model(), part, threads, **nothing)
        raise ValueError(
            f"labels: row {batch.number(batch.sequences[contradictory[0]] + row)} has zero "
            f"likelihood {MarkovChain.everywhere}"
        )

    def _no_path(self, batch: Batch, impossible: np.ndarray, out: dict[str, np.ndarray]) -> None:
        """What is said of sequences that no path can have produced."""
        rows = rows_of(batch.sequences[:-1][impossible], batch.lengths[impossible])
        shares = self._latent().weights(self._model().latent)
        for name, value in (("responsibilities", shares), ("assignments", shares.argmax())):
            if name in out:
                out[name][rows] = value

    # What people ask of it

    def score(
        self,
        X: Rows,
        lengths: ArrayLike | None = None,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Total log-likelihood of the sequences, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        lengths : array-like of shape (n_sequences,), optional
            How many rows of X the sequences have, which follow each other; one with all by default.
        labels : array-like of shape (n_samples,) or (n_samples, n_components), optional
            What is known of the state of each row, as in `fit`; names are those in ``classes_``.
        sample_weight : array-like of shape (n_sequences,), optional

        Returns
        -------
        float
            log p(X), joint with the labels where there are any: the log of the sum over the paths
            that they allow. -inf for a sequence without labels that no path can produce.

        Raises
        ------
        ValueError
            A sequence has zero likelihood under every path that its labels allow.
        """
        return self._total(X, lengths, sample_weight, labels)[0]

    @summed_with_dask
    def _total(self, X, lengths, sample_weight, labels=None) -> tuple[float, float]:
        """Weighted log-likelihood of the sequences, and the sum of the weights of all rows."""
        total = weight = 0.0
        for batch in self._batches(X, lengths, labels, sample_weight):
            scores, weights = self._outputs(batch)["log_likelihoods"], batch.weights
            if weights is None:
                total, weight = total + float(scores.sum()), weight + batch.n_rows
            else:
                used = weights > 0
                total += float(scores[used] @ weights[used])
                weight += float(batch.lengths @ weights)
        return total, weight

    def score_samples(
        self, X: Rows, lengths: ArrayLike | None = None, *, labels: Values | None = None
    ) -> tuple[float, Array]:
        """Total log-likelihood, and the posterior probability of every state in every row.

        Parameters
        ----------
        X, lengths, labels : see `score`

        Returns
        -------
        log_prob : float, see `score`
        posteriors : ndarray of shape (n_samples, n_components)
            p(z_t = k | x_1, ..., x_T), given all rows of the sequence and their labels. Rows sum to
            1. A sequence without labels that no path can produce has the shares of the states.
        """
        if is_of_dask(X):
            refuse_lengths(lengths)
            return self.score(X, labels=labels), self.predict_proba(X, labels=labels)
        return self._sum_and_rows(X, lengths, labels, "responsibilities")

    def _sum_and_rows(
        self, X: Any, lengths: Any, labels: Any, wanted: str, assignment: str = "soft"
    ) -> tuple[float, Array]:
        """The total log-likelihood, and an output of `_outputs` for every row."""
        log_prob = 0.0

        def told(batch: Batch) -> np.ndarray:
            nonlocal log_prob
            found = self._outputs(batch, wanted, assignment=assignment)
            log_prob += float(found["log_likelihoods"].sum())
            return found[wanted]

        rows = self._answered(told, None, wanted, X, lengths, labels)
        return log_prob, rows

    @overload
    def predict_proba(
        self,
        X: Rows,
        lengths: ArrayLike | None = None,
        *,
        labels: Values | None = None,
        out: None = None,
    ) -> Array: ...
    @overload
    def predict_proba(
        self,
        X: Rows,
        lengths: ArrayLike | None = None,
        *,
        labels: Values | None = None,
        out: PathName,
    ) -> PathName: ...
    @lazy_with_dask(width=lambda self: len(self.startprob_), names="p")
    def predict_proba(
        self,
        X: Rows,
        lengths: ArrayLike | None = None,
        *,
        labels: Values | None = None,
        out: PathName | None = None,
    ) -> Array | PathName:
        """The posterior probability of every state in every row: see `score_samples`.

        Parameters
        ----------
        X, lengths, labels : see `score`
        out : path-like, optional
            A file to write instead, sequence by sequence as they come: see
            `GaussianMixture.score_samples`.

        Returns
        -------
        ndarray of shape (n_samples, n_components), or `out`, whose columns are "p0", "p1", ...
        """
        return self._answered(
            lambda batch: self._outputs(batch, "responsibilities")["responsibilities"],
            *(out, "p", X, lengths, labels),
        )

    def decode(
        self,
        X: Rows,
        lengths: ArrayLike | None = None,
        algorithm: Literal["viterbi", "map"] | None = None,
        *,
        labels: Values | None = None,
    ) -> tuple[float, Array]:
        """The most probable states.

        Parameters
        ----------
        X, lengths : see `score`
        algorithm : {"viterbi", "map"}, optional
            "viterbi", the default, is the most probable path of every sequence (Viterbi 1967),
            "map" the most probable state of every row by itself; transitions between these may be
            impossible.
        labels : see `score`

        Returns
        -------
        log_prob : float
            With "viterbi" log p(X, path) in nats, summed over the sequences. With "map", as in
            hmmlearn, the sum of the posteriors of these states: how many are expected to be right.
        states : ndarray of shape (n_samples,), int
        """
        algorithm = "viterbi" if algorithm is None else algorithm
        if algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm: found {algorithm!r}; expected one of {ALGORITHMS}")
        if algorithm == "viterbi" and is_of_dask(X):
            (total,) = self._log_prob_of_paths(X, lengths, labels=labels)
            return total, self.predict(X, lengths, labels=labels)
        if algorithm == "viterbi":
            return self._sum_and_rows(X, lengths, labels, "assignments", "hard")
        posteriors = self.predict_proba(X, lengths, labels=labels)
        expected = float(posteriors.max(axis=1).sum(dtype=np.float64))
        return expected, posteriors.argmax(axis=1)

    @summed_with_dask
    def _log_prob_of_paths(self, X: Any, lengths: Any = None, *, labels: Any) -> tuple[float]:
        return (self.decode(X, lengths, labels=labels)[0],)

    @overload
    def predict(
        self,
        X: Rows,
        lengths: ArrayLike | None = None,
        *,
        labels: Values | None = None,
        out: None = None,
    ) -> Array: ...
    @overload
    def predict(
        self,
        X: Rows,
        lengths: ArrayLike | None = None,
        *,
        labels: Values | None = None,
        out: PathName,
    ) -> PathName: ...
    @lazy_with_dask(np.intp, names="state")
    def predict(
        self,
        X: Rows,
        lengths: ArrayLike | None = None,
        *,
        labels: Values | None = None,
        out: PathName | None = None,
    ) -> Array | PathName:
        """The states of the most probable path of every sequence.

        Parameters
        ----------
        X, lengths, labels : see `score`
        out : see `predict_proba`

        Returns
        -------
        ndarray of shape (n_samples,), int, or `out`, whose column is "state"
        """
        return self._answered(
            lambda batch: self._outputs(batch, "assignments", assignment="hard")["assignments"],
            *(out, "state", X, lengths, labels),
        )

    def sample(
        self, n_samples: int = 1, random_state: RandomState = None, currstate: int | None = None
    ) -> tuple[Array, Array]:
        """Draw one sequence.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None
            None takes that of the constructor.
        currstate : int, optional
            The state of the first row; drawn from ``startprob_`` by default.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        states : ndarray of shape (n_samples,), int
        """
        model, emission = self._model(), self._emission()
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples: found {n_samples!r}; expected an integer of at least 1")
        K = len(model.latent.startprob)
        if currstate is not None and not (isinstance(currstate, Integral) and 0 <= currstate < K):
            raise ValueError(f"currstate: found {currstate!r}; expected a state from 0 to {K - 1}")
        generator = check_random_state(self.random_state if random_state is None else random_state)
        states = _drawn_path(model.latent, int(n_samples), generator, currstate)
        counts = np.bincount(states, minlength=K)
        drawn = self._as_columns(
            [emission.draw(model.emission, k, counts[k], generator) for k in range(K)]
        )
        X = np.empty_like(drawn)
        X[np.argsort(states, kind="stable")] = drawn
        return X, states

    def get_stationary_distribution(self) -> NDArray[np.float64]:
        """How often a sequence without end is in each state.

        Returns
        -------
        ndarray of shape (n_components,)
            The left eigenvector of ``transmat_`` of eigenvalue 1 that sums to 1. Where there are
            several, because there are several classes of states that the chain never leaves, the
            one that the chain tends to from ``startprob_``, on the average over time.
        """
        chain = self._model().latent
        return stationary_distribution(chain.startprob, chain.transmat)

    def bic(
        self, X: Rows, lengths: ArrayLike | None = None, *, sample_weight: ArrayLike | None = None
    ) -> float:
        """Bayesian information criterion, the lower the better.

        -2 log-likelihood + p log n with p free parameters and n the number of rows, each with the
        weight of its sequence (Schwarz, 1978).

        Parameters
        ----------
        X, lengths : see `score`
        sample_weight : array-like of shape (n_sequences,), optional

        Returns
        -------
        float
        """
        total, weight = self._total(X, lengths, sample_weight)
        return -2 * total + self._n_parameters() * np.log(weight)

    def aic(
        self, X: Rows, lengths: ArrayLike | None = None, *, sample_weight: ArrayLike | None = None
    ) -> float:
        """Akaike information criterion, the lower the better: -2 log-likelihood + 2 p.

        Parameters
        ----------
        X, lengths : see `score`
        sample_weight : array-like of shape (n_sequences,), optional

        Returns
        -------
        float
        """
        return -2 * self._total(X, lengths, sample_weight)[0] + 2 * self._n_parameters()


def _drawn_path(
    chain: ChainParameters,
    n_rows: int,
    random_state: np.random.RandomState,
    first: int | None,
) -> np.ndarray:
    """States of a sequence, (n_rows,)."""
    uniforms = random_state.random_sample(n_rows).tolist()
    ends = _ends(chain.transmat)
    state = _drawn(_ends(chain.startprob[None])[0], uniforms[0]) if first is None else int(first)
    states = [state]
    for uniform in uniforms[1:]:
        state = _drawn(ends[state], uniform)
        states.append(state)
    return np.array(states, np.intp)


def _ends(probabilities: np.ndarray) -> list[list[float]]:
    """Cumulative probabilities, the last that grow exactly 1, for no uniform is larger."""
    ends = np.cumsum(probabilities, axis=1)
    return (ends / ends[:, -1:]).tolist()


def _drawn(ends: Collection[float], uniform: float) -> int:
    return bisect_right(ends, uniform)
