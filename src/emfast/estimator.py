"""The one place where validation, start, driver and fitted attributes meet.

`BaseMixture` is the estimator of a mixture without its emission. A subclass names the emission, the
arguments that give its starting values, and the attributes that show its parameters.
"""

import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from emfast import em
from emfast.data import ArraySource, Batch
from emfast.emissions.base import Emission
from emfast.exceptions import (
    ConvergenceWarning,
    SingularComponentError,
    StarvedComponentWarning,
)
from emfast.initialize import INIT_PARAMS, start_model, start_size
from emfast.labels import encode_labels
from emfast.latent.mixture import MixtureWeights
from emfast.problem import MixtureProblem, Model, posterior
from emfast.threads import resolve_threads
from emfast.validation import check_mixture_weights, check_sample_weight

# Rows whose responsibilities are held at a time where only a sum over them is wanted.
CHUNK_ROWS = 65_536


@dataclass
class Restart:
    """How one of the starts went.

    Attributes
    ----------
    seed : int
        ``random_state=seed, n_init=1`` repeats this start.
    n_rows : int
        Rows the start was run on.
    lower_bounds : list of float
        The objective after every iteration, in nats per unit of weight.
    n_iter : int
    converged : bool
    score : float
        The objective of the final model on all rows; -inf where the start failed.
    starved : list of int
        Components that lost all their rows.
    error : str or None
        Why the start failed.
    """

    seed: int
    n_rows: int
    lower_bounds: list[float] = field(default_factory=list)
    n_iter: int = 0
    converged: bool = False
    score: float = -np.inf
    starved: list[int] = field(default_factory=list)
    error: str | None = None


class BaseMixture(DensityMixin, BaseEstimator, metaclass=ABCMeta):
    """A finite mixture fitted by expectation-maximisation."""

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "restarts": [StrOptions({"auto", "full"})],
        "init_params": [StrOptions(set(INIT_PARAMS))],
        "random_state": ["random_state"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "weights_init": ["array-like", None],
        "fixed": [list, tuple, set, frozenset, None],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
    }

    # What a subclass says

    @abstractmethod
    def _emission(self) -> Emission:
        """The emission family that the constructor's arguments describe."""

    @abstractmethod
    def _validate_rows(self, X: Any, *, reset: bool) -> np.ndarray:
        """X as an array that the kernels take, or an error that says what is wrong with it."""

    @abstractmethod
    def _given(self, n_features: int) -> dict[str, np.ndarray]:
        """Starting values of the emission's groups that the user gave, validated."""

    @abstractmethod
    def _attributes(self, parameters: Any) -> dict[str, np.ndarray]:
        """Fitted attributes that show the emission's parameters."""

    @abstractmethod
    def _parameters_of_attributes(self) -> Any:
        """The emission's parameters, from the fitted attributes."""

    def _check_columns(self, X: np.ndarray) -> None:
        """Raise where a column cannot be fitted with these settings."""

    # Fitting

    def fit(self, X, y=None, *, labels=None, sample_weight=None):
        """Fit the mixture by expectation-maximisation.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Computed in its own precision if that is float32 or float64.
        y : ignored
        labels : array-like of shape (n_samples,) or (n_samples, n_components), optional
            What is known of each row's component. Integers are components 0 to K-1 with -1 for
            missing; other values are sorted to components, with None, NaN and pandas.NA missing; a
            boolean array holds the components that each row may have.
        sample_weight : array-like of shape (n_samples,), optional
            How often each row counts: any non-negative numbers.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            The arguments or the data cannot be fitted. Nothing has been changed then.
        SingularComponentError
            All starts ended in singular covariances, which only happens with ``reg_covar=0``.

        Warns
        -----
        ConvergenceWarning
            The best start reached `max_iter` before it converged, and ``tol > 0``.
        StarvedComponentWarning
            A component of the best start lost all its rows.
        """
        self._fit(X, labels, sample_weight)
        return self

    def fit_predict(self, X, y=None, *, labels=None, sample_weight=None):
        """Fit, then give each row's most probable component, its label included.

        Parameters
        ----------
        X, y, labels, sample_weight : see `fit`

        Returns
        -------
        ndarray of shape (n_samples,), int
        """
        problem = self._fit(X, labels, sample_weight)
        batch = problem.source.batch
        unweighted = Batch(batch.X, None, batch.labels)
        return self._posterior(unweighted, assignments=np.empty(batch.n_rows, np.intp))

    def _fit(self, X, labels, sample_weight) -> MixtureProblem:
        before = self.__dict__.copy()
        try:
            self._validate_params()
            problem, given = self._problem(X, labels, sample_weight)
            best, restarts = self._run_starts(problem, given)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        self._set_fitted(problem, best, restarts)
        self._report(restarts)
        return problem

    def _problem(self, X, labels, sample_weight) -> tuple[MixtureProblem, dict[str, np.ndarray]]:
        """The problem and the given starting values, with all there is to validate validated."""
        rows = self._validate_rows(X, reset=True)
        n_rows, n_features = rows.shape
        weights = check_sample_weight(sample_weight, n_rows)
        usable = n_rows if weights is None else int(np.count_nonzero(weights))
        if usable < self.n_components:
            raise ValueError(
                "X: Expected n_samples >= n_components but got "
                f"n_components = {self.n_components}, n_samples = {usable}"
                + (" of positive weight" if usable < n_rows else "")
            )
        encoded = encode_labels(labels, n_rows, self.n_components)
        self._check_columns(rows if usable == n_rows else rows[weights > 0])
        given = self._given(n_features)
        if self.weights_init is not None:
            given["weights"] = check_mixture_weights(self.weights_init, self.n_components)
        emission = self._emission()
        fixed = self._check_fixed(("weights", *emission.groups), given)
        emission.fixed = fixed - {"weights"}
        return (
            MixtureProblem(
                MixtureWeights(fixed="weights" in fixed),
                emission,
                ArraySource(Batch(rows, weights, encoded)),
                resolve_threads(self.n_threads),
            ),
            given,
        )

    def _check_fixed(self, groups: tuple[str, ...], given: dict) -> frozenset[str]:
        fixed = frozenset(self.fixed or ())
        for group in sorted(fixed, key=str):
            if group not in groups:
                raise ValueError(f"fixed: found {group!r}; expected names among {groups}")
            if group not in given:
                raise ValueError(
                    f"fixed: {group!r} needs the known values, but {group}_init is None"
                )
        return fixed

    def _run_starts(self, problem: MixtureProblem, given: dict) -> tuple[em.Trace, list[Restart]]:
        """All starts, the best of them kept."""
        history, model = self._previous(problem) if self.warm_start else ((), None)
        complete = {"weights", *problem.emission.groups} <= given.keys()
        n_init = 1 if model is not None or complete else self.n_init
        best, restarts = None, []
        for number, seed in enumerate(_seeds(self.random_state, n_init)):
            restart = Restart(seed, problem.source.n_rows)
            restarts.append(restart)
            if self.verbose:
                print(f"Initialization {number}")
            try:
                trace = em.maximize(
                    problem,
                    model or self._start(problem, given, complete, seed),
                    tol=self.tol,
                    max_iter=self.max_iter,
                    history=history,
                    observe=self._observe,
                )
            except SingularComponentError as error:
                restart.error = str(error)
                last_error = error
                continue
            restart.lower_bounds = trace.objectives
            restart.n_iter = trace.n_iter
            restart.converged = trace.converged
            restart.score = trace.objective
            restart.starved = np.flatnonzero(trace.model.latent == 0).tolist()
            if best is None or trace.objective > best.objective:
                best = trace
        if best is None:
            raise SingularComponentError(
                f"all {n_init} start(s) failed; in the last one {last_error}", last_error.components
            )
        return best, restarts

    def _start(self, problem: MixtureProblem, given: dict, complete: bool, seed: int) -> Model:
        if complete:
            flat = problem.emission.flat_start(problem.source.batch.X[:1], self.n_components)
            return Model(given["weights"], problem.emission.with_groups(flat, given))
        random_state = check_random_state(seed)
        size = start_size(self.n_components, problem.source.n_features)
        return start_model(
            problem.latent,
            problem.emission,
            problem.source.sample(size, self.n_components, random_state),
            self.n_components,
            self.init_params,
            given,
            random_state,
            problem.n_threads,
        )

    def _previous(self, problem: MixtureProblem) -> tuple[tuple[float, ...], Model | None]:
        """The model of the last fit and the objectives that led to it, if there was one."""
        if not hasattr(self, "converged_"):
            return (), None
        fitted = (len(self.weights_), self._n_features_fitted)
        wanted = (self.n_components, problem.source.n_features)
        if fitted != wanted:
            raise ValueError(
                f"warm_start: the fitted model has (n_components, n_features) = {fitted}; "
                f"expected {wanted}"
            )
        return tuple(self._history[:-1]), self._model()

    def _observe(self, iteration: em.Iteration) -> None:
        if not self.verbose:
            return
        if iteration.number % self.verbose_interval == 0:
            change = f"\t ll change {iteration.gain:.5f}" if self.verbose > 1 else ""
            print(f"  Iteration {iteration.number}{change}")
        if iteration.converged:
            print(f"Initialization converged. Lower bound {iteration.objective:.6f}")

    def _set_fitted(self, problem: MixtureProblem, best: em.Trace, restarts: list[Restart]) -> None:
        dtype = np.dtype(problem.source.dtype)
        self.weights_ = best.model.latent.astype(dtype)
        for name, value in self._attributes(best.model.emission).items():
            setattr(self, name, value.astype(dtype))
        self._exact = best.model
        self._shown = self._shown_now()
        self._n_features_fitted = problem.source.n_features
        self._history = best.history
        self.converged_ = best.converged
        self.n_iter_ = best.n_iter
        self.lower_bound_ = best.objective
        self.lower_bounds_ = np.array(best.objectives)
        self.restarts_ = restarts
        classes = problem.source.batch.labels.classes
        if classes is not None:
            self.classes_ = classes
        elif hasattr(self, "classes_"):
            del self.classes_

    def _report(self, restarts: list[Restart]) -> None:
        winner = max(restarts, key=lambda restart: restart.score)
        if not self.converged_ and self.tol > 0 and self.max_iter > 0:
            warnings.warn(
                f"The best of {len(restarts)} start(s) did not converge in {self.max_iter} "
                f"iterations (tol={self.tol}). Try other starts, or increase max_iter or tol.",
                ConvergenceWarning,
                stacklevel=4,
            )
        if winner.starved:
            warnings.warn(
                f"component(s) {winner.starved} lost all their rows; their weight is 0 and their "
                "other parameters are where they last were",
                StarvedComponentWarning,
                stacklevel=4,
            )

    # The fitted model

    def _shown_now(self) -> tuple:
        """The fitted attributes that show the parameters, as the objects they are now."""
        names = ["weights_", *self._attributes(self._exact.emission)]
        return tuple(getattr(self, name) for name in names)

    def _model(self) -> Model:
        """The fitted model in float64, or what the attributes say if they were set by hand."""
        check_is_fitted(self)
        exact = getattr(self, "_exact", None)
        if exact is not None and all(
            now is then for now, then in zip(self._shown_now(), self._shown, strict=True)
        ):
            return exact
        weights = np.asarray(self.weights_, np.float64)
        return Model(weights, self._parameters_of_attributes())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_")

    def _posterior(self, batch: Batch, **output: np.ndarray) -> np.ndarray:
        """Fill the one array of `output`, named as `problem.posterior` names it, and return it."""
        threads = resolve_threads(self.n_threads)
        posterior(MixtureWeights(), self._emission(), self._model(), batch, threads, **output)
        return next(iter(output.values()))

    def _chunks(self, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, len(rows), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            yield chunk, rows[chunk]

    def _impossible(self, rows: np.ndarray, log_likelihoods: np.ndarray) -> np.ndarray:
        """Indices of rows whose density is exactly zero under every component.

        Kernels keep log-probabilities finite; only rows as unlikely as that need a closer look.
        """
        emission, model = self._emission(), self._model()
        unlikely = np.flatnonzero(log_likelihoods < -90)
        if unlikely.size == 0 or emission.impossible_rows(rows[:1], model.emission) is None:
            return unlikely[:0]
        possible = np.zeros(unlikely.size, bool)
        for chunk, at in self._chunks(unlikely):
            zero = emission.impossible_rows(rows[at], model.emission)
            possible[chunk] = (~zero & (model.latent > 0)).any(axis=1)
        return unlikely[~possible]

    # What people ask of it

    def score_samples(self, X):
        """Log-likelihood of every row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            log p(x) in nats; -inf for a row that no component can produce.
        """
        check_is_fitted(self)
        return self._score_rows(self._validate_rows(X, reset=False))

    def _score_rows(self, rows: np.ndarray) -> np.ndarray:
        scores = self._posterior(Batch(rows), log_likelihoods=np.empty(len(rows)))
        scores[self._impossible(rows, scores)] = -np.inf
        return scores

    def score(self, X, y=None, sample_weight=None):
        """Mean log-likelihood of the rows, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        total, weight = self._total(X, sample_weight)
        return total / weight

    def _total(self, X, sample_weight) -> tuple[float, float]:
        """Weighted log-likelihood of the rows, and the sum of weights."""
        scores = self.score_samples(X)
        weights = check_sample_weight(sample_weight, len(scores))
        if weights is None:
            return float(scores.sum()), float(len(scores))
        return float(scores[weights > 0] @ weights[weights > 0]), float(weights.sum())

    def predict_proba(self, X):
        """Responsibilities: the probability of every component given the row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Rows sum to 1; a row that no component can produce has the mixture's weights.
        """
        check_is_fitted(self)
        rows = self._validate_rows(X, reset=False)
        return self._responsibilities(rows)

    def _responsibilities(self, rows: np.ndarray) -> np.ndarray:
        model = self._model()
        batch = Batch(rows)
        scores = np.empty(len(rows))
        out = np.empty((len(rows), len(model.latent)), batch.dtype)
        threads = resolve_threads(self.n_threads)
        posterior(
            MixtureWeights(),
            self._emission(),
            model,
            batch,
            threads,
            responsibilities=out,
            log_likelihoods=scores,
        )
        impossible = np.union1d(self._impossible(rows, scores), np.flatnonzero(scores == -np.inf))
        out[impossible] = model.latent
        return out

    def predict(self, X):
        """The most probable component of every row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), int
        """
        check_is_fitted(self)
        rows = self._validate_rows(X, reset=False)
        return self._posterior(Batch(rows), assignments=np.empty(len(rows), np.intp))

    def sample(self, n_samples=1):
        """Draw rows from the fitted mixture, component after component.

        Parameters
        ----------
        n_samples : int, default=1

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,), int, the component of every row
        """
        model = self._model()
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples: found {n_samples!r}; expected an integer of at least 1")
        random_state = check_random_state(self.random_state)
        counts = random_state.multinomial(n_samples, model.latent / model.latent.sum())
        emission = self._emission()
        X = np.vstack(
            [
                emission.draw(model.emission, k, count, random_state)
                for k, count in enumerate(counts)
            ]
        )
        return X, np.repeat(np.arange(len(counts)), counts)

    def _n_parameters(self) -> int:
        """Free parameters: fixed groups do not count."""
        fixed = frozenset(self.fixed or ())
        emission = self._emission()
        emission.fixed = fixed - {"weights"}
        latent = MixtureWeights(fixed="weights" in fixed)
        K, D = len(self.weights_), self._model_features()
        return latent.n_parameters(K) + emission.n_parameters(K, D)

    def _model_features(self) -> int:
        shown = next(iter(self._attributes(self._model().emission).values()))
        return shown.shape[1]

    def bic(self, X, *, sample_weight=None):
        """Bayesian information criterion, the lower the better.

        -2 log-likelihood + p log n with p free parameters and n the sum of weights (Schwarz, 1978).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        total, weight = self._total(X, sample_weight)
        return -2 * total + self._n_parameters() * np.log(weight)

    def aic(self, X, *, sample_weight=None):
        """Akaike information criterion, the lower the better: -2 log-likelihood + 2 p.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        return -2 * self._total(X, sample_weight)[0] + 2 * self._n_parameters()

    def icl(self, X, *, sample_weight=None):
        """Integrated completed likelihood, the lower the better.

        BIC - 2 sum of the log-responsibilities of the most probable components: a penalty for rows
        that lie between components (Biernacki, Celeux and Govaert, 2000).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        check_is_fitted(self)
        rows = self._validate_rows(X, reset=False)
        weights = check_sample_weight(sample_weight, len(rows))
        certainty = 0.0
        for chunk, part in self._chunks(rows):
            largest = np.log(self._responsibilities(part).max(axis=1), dtype=np.float64)
            certainty += float(largest.sum() if weights is None else largest @ weights[chunk])
        return self.bic(X, sample_weight=sample_weight) - 2 * certainty


def _seeds(random_state: Any, n_init: int) -> list[int]:
    """A seed for every start; the first is `random_state` itself if that is an integer."""
    generator = check_random_state(random_state)
    seeds = generator.randint(2**31 - 1, size=n_init).tolist()
    if isinstance(random_state, Integral):
        seeds[0] = int(random_state)
    return seeds
