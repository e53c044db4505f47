"""Mixtures of features with probabilities: yes or no, and successes out of some trials."""

from collections.abc import Mapping
from copy import copy
from numbers import Integral
from typing import Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emfast.annotations import (
    Array,
    Assignment,
    Callback,
    Fixed,
    InitParams,
    PathName,
    Prior,
    RandomState,
    Restarts,
    Rows,
    Values,
)
from emfast.data import Batch
from emfast.emissions.bernoulli import Bernoulli
from emfast.emissions.counts import Binomial
from emfast.estimators.base.mixture import BaseMixture
from emfast.estimators.base.one_parameter import OneParameterMixture
from emfast.inputs.arguments import check_trials
from emfast.inputs.columns import column_values
from emfast.inputs.rows import RowsWithTrials
from emfast.inputs.validation import check_counts, check_within_trials
from emfast.parts.known import NOTHING_KNOWN, Known
from emfast.statistics import Statistics


class BernoulliMixture(OneParameterMixture):
    """Mixture of independent binary features: latent class analysis of yes/no items.

    Parameters
    ----------
    n_components : int, default=1
    tol, max_iter, n_init, init_params, restarts, random_state, n_threads : see `GaussianMixture`
    weights_init : array-like of shape (n_components,) or "equal", optional
    probabilities_init : array-like of shape (n_components, n_features), optional
        As `weights_init`, it may be a list with None for components that are not given.
    fixed : collection of {"weights", "probabilities"}, or mapping of them, optional
        What is known: see `GaussianMixture`.
    prior : mapping, optional
        "weight_concentration_prior", see `GaussianMixture`, and "probabilities_prior": (a, b) of
        Beta distributions, numbers of at least 1 or arrays of shape (n_features,) or
        (n_components, n_features).
    assignment, accelerate, warm_start : see `GaussianMixture`
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianMixture`
    incremental, step_exponent, step_offset : see `GaussianMixture`

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
    probabilities_ : ndarray of shape (n_components, n_features)
        p(x_d = 1 | component); may be exactly 0 or 1.
    converged_, n_iter_, lower_bound_, lower_bounds_, restarts_, classes_, n_features_in_, \
feature_names_in_ : see `GaussianMixture`

    Examples
    --------
    >>> import numpy as np
    >>> from emfast import BernoulliMixture
    >>> X = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1], [0, 0, 1, 1]])
    >>> mixture = BernoulliMixture(2, random_state=0).fit(X)
    >>> labels = mixture.predict(X)
    >>> bool(labels[0] == labels[1] != labels[2] == labels[3])
    True
    """

    _parameter_constraints = {
        **BaseMixture._parameter_constraints,
        "probabilities_init": ["array-like", None],
    }

    _defining_attributes = ("probabilities_",)

    probabilities_: Array

    def __init__(
        self,
        n_components: int = 1,
        *,
        tol: float = 1e-3,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: InitParams = "kmeans",
        restarts: Restarts = "auto",
        random_state: RandomState = None,
        n_threads: int | None = None,
        weights_init: Values | None = None,
        probabilities_init: Values | None = None,
        fixed: Fixed | None = None,
        prior: Prior | None = None,
        assignment: Assignment = "soft",
        accelerate: bool = False,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        progress: bool = False,
        callback: Callback | None = None,
        checkpoint: PathName | None = None,
        incremental: bool = False,
        step_exponent: float = 0.6,
        step_offset: float = 2.0,
    ) -> None:
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.restarts = restarts
        self.random_state = random_state
        self.n_threads = n_threads
        self.weights_init = weights_init
        self.probabilities_init = probabilities_init
        self.fixed = fixed
        self.prior = prior
        self.assignment = assignment
        self.accelerate = accelerate
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.progress = progress
        self.callback = callback
        self.checkpoint = checkpoint
        self.incremental = incremental
        self.step_exponent = step_exponent
        self.step_offset = step_offset

    def _emission(self, fixed: Known = NOTHING_KNOWN) -> Bernoulli:
        return Bernoulli(fixed=fixed)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class OutOf(NamedTuple):
    """Counts with the numbers of trials they are out of, one a row or one an entry."""

    X: Any
    n_trials: Any


class BinomialMixture(OneParameterMixture):
    """Mixture of independent counts of successes out of known numbers of trials.

    Parameters
    ----------
    n_components : int, default=1
    n_trials : int or array-like of shape (n_features,), optional
        Trials of every row. Where they differ between rows, they are an argument of `fit` and of
        the other methods that take X instead.
    tol, max_iter, n_init, init_params, restarts, random_state, n_threads : see `GaussianMixture`
    weights_init : array-like of shape (n_components,) or "equal", optional
    probabilities_init : array-like of shape (n_components, n_features), optional
        As `weights_init`, it may be a list with None for components that are not given.
    fixed : collection of {"weights", "probabilities"}, or mapping of them, optional
        What is known: see `GaussianMixture`.
    prior : mapping, optional
        "weight_concentration_prior", see `GaussianMixture`, and "probabilities_prior": (a, b) of
        Beta distributions as of `BernoulliMixture`.
    assignment, accelerate, warm_start : see `GaussianMixture`
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianMixture`
    incremental, step_exponent, step_offset : see `GaussianMixture`

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
    probabilities_ : ndarray of shape (n_components, n_features)
        Of success in one trial; may be exactly 0 or 1.
    converged_, n_iter_, lower_bound_, lower_bounds_, restarts_, classes_, n_features_in_, \
feature_names_in_ : see `GaussianMixture`

    Notes
    -----
    X holds counts: whole numbers from 0 to the number of trials. NaN is missing, and left out of
    the likelihood of its row. Log-likelihoods include the binomial coefficients.

    Examples
    --------
    Five times ten tosses of one of two coins (Do and Batzoglou, 2008):

    >>> from emfast import BinomialMixture
    >>> heads = [[5], [9], [8], [4], [7]]
    >>> coins = BinomialMixture(
    ...     2, n_trials=10, weights_init="equal", probabilities_init=[[0.6], [0.5]],
    ...     fixed=["weights"], max_iter=10, tol=0
    ... ).fit(heads)
    >>> coins.probabilities_.round(4).ravel().tolist()
    [0.7967, 0.5197]
    """

    _parameter_constraints = {
        **BaseMixture._parameter_constraints,
        "n_trials": ["array-like", Integral, None],
        "probabilities_init": ["array-like", None],
    }

    _defining_attributes = ("probabilities_",)

    probabilities_: Array

    def __init__(
        self,
        n_components: int = 1,
        *,
        n_trials: ArrayLike | None = None,
        tol: float = 1e-3,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: InitParams = "kmeans",
        restarts: Restarts = "auto",
        random_state: RandomState = None,
        n_threads: int | None = None,
        weights_init: Values | None = None,
        probabilities_init: Values | None = None,
        fixed: Fixed | None = None,
        prior: Prior | None = None,
        assignment: Assignment = "soft",
        accelerate: bool = False,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        progress: bool = False,
        callback: Callback | None = None,
        checkpoint: PathName | None = None,
        incremental: bool = False,
        step_exponent: float = 0.6,
        step_offset: float = 2.0,
    ) -> None:
        self.n_components = n_components
        self.n_trials = n_trials
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.restarts = restarts
        self.random_state = random_state
        self.n_threads = n_threads
        self.weights_init = weights_init
        self.probabilities_init = probabilities_init
        self.fixed = fixed
        self.prior = prior
        self.assignment = assignment
        self.accelerate = accelerate
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.progress = progress
        self.callback = callback
        self.checkpoint = checkpoint
        self.incremental = incremental
        self.step_exponent = step_exponent
        self.step_offset = step_offset

    def fit(
        self,
        X: Rows,
        y: Any = None,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
        n_trials: ArrayLike | None = None,
    ) -> Self:
        """Fit the mixture by expectation-maximisation.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y, labels, sample_weight : see `GaussianMixture.fit`
        n_trials : array-like of shape (n_samples,) or (n_samples, n_features), optional
            Trials of every row, or of every count, instead of those of the constructor.

        Returns
        -------
        self : object
        """
        return super().fit(out_of(X, n_trials), labels=labels, sample_weight=sample_weight)

    def fit_predict(
        self,
        X: Rows,
        y: Any = None,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
        n_trials: ArrayLike | None = None,
    ) -> Array:
        """Fit, then give each row's most probable component, its label included: see `fit`."""
        rows = out_of(X, n_trials)
        return super().fit_predict(rows, labels=labels, sample_weight=sample_weight)

    def partial_fit(
        self,
        X: Rows,
        y: Any = None,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
        n_trials: ArrayLike | None = None,
    ) -> Self:
        """Go on with a batch of rows: see `GaussianMixture.partial_fit`; `n_trials` as in `fit`."""
        rows = out_of(X, n_trials)
        return super().partial_fit(rows, labels=labels, sample_weight=sample_weight)

    def summarize(
        self,
        X: Rows,
        y: Any = None,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
        n_trials: ArrayLike | None = None,
    ) -> Statistics:
        """Expected statistics: see `GaussianMixture.summarize`; `n_trials` as in `fit`."""
        rows = out_of(X, n_trials)
        return super().summarize(rows, labels=labels, sample_weight=sample_weight)

    @overload
    def score_samples(
        self,
        X: Rows,
        *,
        labels: Values | None = None,
        n_trials: ArrayLike | None = None,
        out: None = None,
    ) -> NDArray[np.float64]: ...
    @overload
    def score_samples(
        self,
        X: Rows,
        *,
        labels: Values | None = None,
        n_trials: ArrayLike | None = None,
        out: PathName,
    ) -> PathName: ...
    def score_samples(
        self,
        X: Rows,
        *,
        labels: Values | None = None,
        n_trials: ArrayLike | None = None,
        out: PathName | None = None,
    ) -> NDArray[np.float64] | PathName:
        """Log-likelihood of every row; `n_trials` as in `fit`."""
        return super().score_samples(out_of(X, n_trials), labels=labels, out=out)

    def score(
        self,
        X: Rows,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        labels: Values | None = None,
        n_trials: ArrayLike | None = None,
    ) -> float:
        """Mean log-likelihood of the rows, in nats; `n_trials` as in `fit`."""
        rows = out_of(X, n_trials)
        return super().score(rows, sample_weight=sample_weight, labels=labels)

    @overload
    def predict_proba(
        self,
        X: Rows,
        *,
        labels: Values | None = None,
        n_trials: ArrayLike | None = None,
        out: None = None,
    ) -> Array: ...
    @overload
    def predict_proba(
        self,
        X: Rows,
        *,
        labels: Values | None = None,
        n_trials: ArrayLike | None = None,
        out: PathName,
    ) -> PathName: ...
    def predict_proba(
        self,
        X: Rows,
        *,
        labels: Values | None = None,
        n_trials: ArrayLike | None = None,
        out: PathName | None = None,
    ) -> Array | PathName:
        """The probability of every component given the row; `n_trials` as in `fit`."""
        return super().predict_proba(out_of(X, n_trials), labels=labels, out=out)

    @overload
    def predict(self, X: Rows, *, n_trials: ArrayLike | None = None, out: None = None) -> Array: ...
    @overload
    def predict(self, X: Rows, *, n_trials: ArrayLike | None = None, out: PathName) -> PathName: ...
    def predict(
        self, X: Rows, *, n_trials: ArrayLike | None = None, out: PathName | None = None
    ) -> Array | PathName:
        """The most probable component of every row; `n_trials` as in `fit`."""
        return super().predict(out_of(X, n_trials), out=out)

    def bic(
        self, X: Rows, *, sample_weight: ArrayLike | None = None, n_trials: ArrayLike | None = None
    ) -> float:
        """Bayesian information criterion, the lower the better; `n_trials` as in `fit`."""
        return super().bic(out_of(X, n_trials), sample_weight=sample_weight)

    def aic(
        self, X: Rows, *, sample_weight: ArrayLike | None = None, n_trials: ArrayLike | None = None
    ) -> float:
        """Akaike information criterion, the lower the better; `n_trials` as in `fit`."""
        return super().aic(out_of(X, n_trials), sample_weight=sample_weight)

    def icl(
        self, X: Rows, *, sample_weight: ArrayLike | None = None, n_trials: ArrayLike | None = None
    ) -> float:
        """Integrated completed likelihood, the lower the better; `n_trials` as in `fit`."""
        return super().icl(out_of(X, n_trials), sample_weight=sample_weight)

    def impute(
        self, X: Rows, *, labels: Values | None = None, n_trials: ArrayLike | None = None
    ) -> Any:
        """X with the mean of every missing count; `n_trials` as in `fit`, missing counts included.

        Parameters
        ----------
        X, labels : see `PoissonMixture.impute`
        n_trials : array-like of shape (n_samples,) or (n_samples, n_features), optional

        Returns
        -------
        array or table, as X is, of shape (n_samples, n_features)
        """
        return super().impute(out_of(X, n_trials), labels=labels)

    def conditional(self, given: Mapping[Any, Any], *, n_trials: ArrayLike | None = None) -> Self:
        """The mixture of the other features, where some have known counts.

        Parameters
        ----------
        given : mapping of column to count
        n_trials : int or array-like of shape (n_given,), optional
            Trials that the given counts are out of, in their order, instead of those of the
            constructor.

        Returns
        -------
        BinomialMixture
            See `PoissonMixture.conditional`.
        """
        if n_trials is None:
            return super().conditional(given)
        n_columns = self._n_columns()
        positions, _ = column_values("given", given, n_columns, self._feature_names())
        trials = np.ones(n_columns) * (1 if self.n_trials is None else self.n_trials)
        trials[positions] = check_trials(n_trials, None, len(positions))
        asked = copy(self)
        asked.n_trials = trials
        mixture = super(BinomialMixture, asked).conditional(given)
        if np.ndim(self.n_trials) == 0:
            mixture.n_trials = self.n_trials
        return mixture

    def _settable(self, X: Any, batch: Batch) -> Any:
        return super()._settable(X.X if isinstance(X, OutOf) else X, batch)

    def _tell_of_columns(self, mixture: "BinomialMixture", own: np.ndarray) -> None:
        mixture.n_trials = self._emission().of_columns(own).n_trials

    def _emission(self, fixed: Known = NOTHING_KNOWN) -> Binomial:
        return Binomial(self.n_trials, fixed=fixed)

    def _validate_rows(self, X: Any, *, reset: bool) -> Batch:
        if isinstance(X, OutOf):
            return self._with_trials(*X, reset=reset)
        return super()._validate_rows(X, reset=reset)

    def _with_trials(self, X: Any, n_trials: Any, *, reset: bool) -> Batch:
        """Rows with trials of their own; a count is missing where there are none."""
        counts, missing = check_counts(self, X, reset=reset)
        asked = trials = check_trials(n_trials, *counts.shape)
        check_within_trials(self, counts, trials)
        if missing:
            trials = np.where(np.isnan(counts), 0, trials)
            counts = np.where(np.isnan(counts), 0, counts)
        both = np.hstack(
            [counts, trials.astype(counts.dtype if counts.dtype.kind == "f" else np.float64)]
        )
        return Batch(RowsWithTrials(both, asked), missing=bool((trials == 0).any()))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


def out_of(X: Any, n_trials: Any) -> Any:
    """Rows with the trials that their counts are out of, if these are given."""
    return X if n_trials is None else OutOf(X, n_trials)
