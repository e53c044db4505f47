"""Factor analysis and probabilistic principal components; the algorithm is in `factors`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from emfast import em
from emfast.annotations import Array, Callback, PathName, RandomState, Rows
from emfast.data import Batch, lazy_with_dask, observe, read_ahead, summed_with_dask
from emfast.estimators.base.criteria import InformationCriteria
from emfast.estimators.base.fitting import unchanged_by_failure, warn_unless_converged
from emfast.estimators.base.sources import NO_CLASSES, TakesFeatures
from emfast.estimators.base.tally import Tally
from emfast.inputs.arguments import check_array_of, check_sample_weight
from emfast.inputs.columns import columns_apart
from emfast.inputs.filling import filled, settable
from emfast.inputs.validation import check_rows, column_called, refuse_unseen
from emfast.problems.factors import FactorProblem, Factors, GivenRows, Patterns
from emfast.storage.checkpoint import Checkpoint, digest, kind_of_state
from emfast.storage.stored import (
    POSITIVE,
    Kept,
    Numbers,
    OrNone,
    Precision,
    Record,
    Storable,
    Whole,
)
from emfast.threads import SingleThreadedBlas, resolve_threads
from emfast.watch import WATCH_CONSTRAINTS, Watch

# Variances that are nothing but rounding of the mean, as deviations in units of machine epsilon.
ROUNDING = 8

# Rows times factors times factors that are held at a time.
HELD = 2**21


@dataclass
class Starts:
    """What all starts have come to.

    Attributes
    ----------
    seed : int, of what is drawn for all of them
    n_done : int
    best : em.Trace or None, the run of the best of those
    """

    seed: int
    n_done: int = 0
    best: em.Trace[Factors] | None = None

    def take(self, trace: em.Trace[Factors]) -> None:
        """One more has ended."""
        if self.best is None or trace.objective > self.best.objective:
            self.best = trace
        self.n_done += 1

    def kept(self) -> dict[str, Any]:
        """What a checkpoint keeps of them."""
        best = None if self.best is None else em.State.of(self.best)
        return {"seed": self.seed, "n_done": self.n_done, "best": best}

    @staticmethod
    def kinds(model: Kept) -> dict[str, Any]:
        """What each of the values in `kept` has to be, whose models have to be of a kind."""
        return {"seed": Whole(), "n_done": Whole(), "best": OrNone(kind_of_state(model))}

    def restore(self, kept: dict[str, Any]) -> em.State[Factors] | None:
        """Go on from what was kept; the state that the best run has ended in."""
        self.seed, self.n_done = kept["seed"], kept["n_done"]
        return kept["best"]


class FactorAnalysis(
    TakesFeatures,
    InformationCriteria,
    Storable,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    r"""Factor analysis and probabilistic principal components, by expectation-maximisation.

    .. math::
        x = \mu + W z + \varepsilon, \qquad z \sim N(0, I), \qquad \varepsilon \sim N(0, \Psi).

    The factors z are the latent variable; x is normal with the covariance
    :math:`W W^T + \Psi`. With diagonal noise this is factor analysis (Rubin and Thayer, 1982), with
    isotropic noise :math:`\Psi = \sigma^2 I` probabilistic principal component analysis (Tipping
    and Bishop, 1999).

    It is no sum over rows: the fit reads the rows once, for their mean and scatter, and no
    iteration depends on their number. Entries that are NaN are missing, and the likelihood of their
    row is that of the entries that are known: then weight, mean and scatter are those of every
    pattern of missing features, or the rows themselves where few share one. That is all that is
    held of rows that come in batches.

    Parameters
    ----------
    n_components : int, default=1
        Factors, at most as many as there are features.
    noise : {"diagonal", "isotropic"}, default="diagonal"
        Whether every feature has a noise variance of its own, or all have the same.
    tol : float, default=1e-8
        Converged once the last gain of the mean log-likelihood, and Aitken's estimate of all gain
        still to come, are below. 0 runs exactly `max_iter` iterations.
    max_iter : int, default=1000
        Most iterations, each of which is an M-step or an extrapolation; 0 returns the start.
    n_init : int, default=1
        Starts, of which the one of the highest likelihood is kept. The first is from principal
        components, of the correlations for diagonal noise; the others are drawn at random. A given
        start is run once.
    random_state : int, RandomState instance or None, default=None
        For the starts after the first, and for `sample`.
    components_init : array-like of shape (n_components, n_features), optional
        Loadings at the start.
    noise_variance_init : float or array-like of shape (n_features,), optional
        Variances of the noise at the start, an array only for diagonal noise.
    accelerate : bool, default=True
        Whether every two M-steps are followed by an extrapolation (SQUAREM), which is kept where it
        is better than they are: where EM is slow, iterations are many times fewer.
    warm_start : bool, default=False
        Go on from the last fit.
    n_threads : int or None, default=None
        None takes ``OMP_NUM_THREADS``, else the CPUs this process may use. Results do not depend
        on it.
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianMixture`

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The loadings W'. Only their span is determined: these have W' Psi^-1 W diagonal, largest
        first, and the largest loading of each is positive. For isotropic noise and complete rows
        they are principal axes, scaled.
    noise_variance_ : ndarray of shape (n_features,), or float for isotropic noise
        At least 1e-8 of the variance of the feature.
    mean_ : ndarray of shape (n_features,)
    lower_bound_ : float
        Mean log-likelihood of the rows in nats, of the entries that are known.
    lower_bounds_ : ndarray of shape (n_iter_,), the same after every iteration
    loglike_ : ndarray of shape (n_iter_,), the same summed over rows, by their weights
    n_iter_ : int, iterations of the best start
    converged_ : bool
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    Notes
    -----
    The cost of an iteration grows as D^3 for D features of complete rows, as P D^2 K for P patterns
    of missing features and K factors, and as N D K^2 where all N rows have different ones.

    The likelihood of factor analysis may be highest with no noise in some feature (a Heywood case),
    or without any bound where features are more than rows; what keeps variances from 0 is that they
    are at least 1e-8 of those of the features. Complete rows lead there in few iterations: with
    diagonal noise, the M-step is followed by conditional maximisations of the likelihood itself
    (ECME, Liu and Rubin, 1994). Rows with missing entries may need very many.

    Examples
    --------
    >>> import numpy as np
    >>> from emfast import FactorAnalysis
    >>> rng = np.random.default_rng(0)
    >>> talent = rng.normal(size=(500, 1))
    >>> X = talent @ [[2.0, 1.0, -1.0]] + rng.normal(size=(500, 3)) * [1.0, 0.5, 2.0]
    >>> X[::5, 2] = np.nan
    >>> analysis = FactorAnalysis().fit(X)
    >>> analysis.components_.round(0).tolist()
    [[2.0, 1.0, -1.0]]
    >>> analysis.transform(X).shape
    (500, 1)
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "noise": [StrOptions({"diagonal", "isotropic"})],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "components_init": ["array-like", None],
        "noise_variance_init": [Interval(Real, 0.0, None, closed="neither"), "array-like", None],
        "accelerate": ["boolean"],
        "warm_start": ["boolean"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        **WATCH_CONSTRAINTS,
    }

    _stored = {
        "dtype": Precision(),
        "_model": Record(
            Factors,
            mean=Numbers("n_features_in_"),
            loadings=Numbers("n_features_in_", "n_components"),
            noise=Numbers("n_features_in_", rule=POSITIVE),
        ),
        "n_iter_": Whole(),
        "converged_": bool,
        "lower_bound_": float,
        "lower_bounds_": Numbers("n_iter_"),
        "loglike_": Numbers("n_iter_"),
    }

    components_: Array
    noise_variance_: float | Array
    mean_: Array
    lower_bound_: float
    lower_bounds_: Array
    loglike_: Array
    n_iter_: int
    converged_: bool
    n_features_in_: int
    feature_names_in_: Array

    def __init__(
        self,
        n_components: int = 1,
        *,
        noise: Literal["diagonal", "isotropic"] = "diagonal",
        tol: float = 1e-8,
        max_iter: int = 1000,
        n_init: int = 1,
        random_state: RandomState = None,
        components_init: ArrayLike | None = None,
        noise_variance_init: ArrayLike | None = None,
        accelerate: bool = True,
        warm_start: bool = False,
        n_threads: int | None = None,
        verbose: int = 0,
        verbose_interval: int = 10,
        progress: bool = False,
        callback: Callback | None = None,
        checkpoint: PathName | None = None,
    ) -> None:
        self.n_components = n_components
        self.noise = noise
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.random_state = random_state
        self.components_init = components_init
        self.noise_variance_init = noise_variance_init
        self.accelerate = accelerate
        self.warm_start = warm_start
        self.n_threads = n_threads
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.progress = progress
        self.callback = callback
        self.checkpoint = checkpoint

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def fit(self, X: Rows, y: Any = None, *, sample_weight: ArrayLike | None = None) -> Self:
        """Estimate mean, loadings and noise.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN where an entry is missing. Read once, in its own precision if that is float32 or
            float64. Or a source of rows that do not fit into memory, in files for instance: see
            `docs/large-data.md`.
        y : ignored
        sample_weight : array-like of shape (n_samples,), or the name of a column, optional
            How often each row counts: any non-negative numbers.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            The arguments or the data cannot be fitted, for instance because a column does not vary
            and would have noise of variance 0. Nothing has been changed then.

        Warns
        -----
        ConvergenceWarning
            The best start reached `max_iter` before it converged, and ``tol > 0``.
        """
        with unchanged_by_failure(self), SingleThreadedBlas():
            self._validate_params()
            tally = Tally(kept=self.checkpoint is not None)
            problem = self._problem(X, sample_weight, tally)
            best, watch = self._run_starts(problem, tally)
            self._set_fitted(problem, best, tally.dtype)
            watch.leave(self._model)
        watch.raise_interrupt()
        warn_unless_converged(best, self.tol, self.max_iter)
        return self

    def _run_starts(self, problem: FactorProblem, tally: Tally) -> tuple[em.Trace, Watch]:
        """The trace of the best of all starts, or of those until the fit is stopped."""
        n_starts = 1 if self._is_given else int(self.n_init)
        starts = Starts(_seed(self.random_state) if n_starts > 1 else 0)
        checkpoint = self._checkpoint(problem, tally, starts)
        with Watch(self, n_starts, checkpoint=checkpoint) as watch:
            for number, start in enumerate(self._starts(problem, starts.seed)):
                if number < starts.n_done:
                    # Draws are those of one stream.
                    continue
                options = {"tol": self.tol, "accelerate": self.accelerate}
                starts.take(
                    watch.maximize(problem, start, number, max_iter=self.max_iter, **options)
                )
                if watch.stopped:
                    break
        return replace(starts.best, stopped=watch.stopped), watch

    def _checkpoint(
        self,
        problem: FactorProblem,
        tally: Tally,
        starts: "Starts",
    ) -> Checkpoint | None:
        """The file of the fit if there is to be one; the starts then go on from what it keeps."""
        if self.checkpoint is None:
            return None
        last = digest(self._model) if self.warm_start and hasattr(self, "_model") else None
        model = self._stored["_model"]
        told = {**tally.told(), "n_features": self.n_features_in_, "start": last}
        checkpoint = Checkpoint(self, told, model, starts.kinds(model))
        best = checkpoint.read(starts.restore)
        if best is not None:
            starts.best = checkpoint.trace(problem, best)
        checkpoint.begin(starts.kept)
        return checkpoint

    @property
    def _is_given(self) -> bool:
        """Whether there is one start, that of the arguments or of the last fit."""
        given = self.components_init is not None or self.noise_variance_init is not None
        return given or (self.warm_start and hasattr(self, "_model"))

    def _problem(self, X: Any, sample_weight: Any, tally: Tally) -> FactorProblem:
        """The problem of the rows, which pass by once."""
        patterns = None
        for batch in tally.over(self._observed(X, sample_weight)):
            if patterns is None:
                self._check_enough_features()
                patterns = Patterns(self.n_features_in_, resolve_threads(self.n_threads))
            patterns.add(batch.X, batch.weights, bool(batch.missing))
        if tally.n_used < 2:
            raise ValueError(
                f"X: found n_samples = {tally.n_used} of positive weight; expected at least 2, for "
                "otherwise nothing varies"
            )
        refuse_unseen(~patterns.seen, lambda column: column_called(self, column))
        points = patterns.points()
        self._check_varies(*points.spread(), tally.dtype)
        return FactorProblem(points, self.noise == "isotropic")

    def _check_enough_features(self) -> None:
        if self.n_components > self.n_features_in_:
            raise ValueError(
                f"n_components: found {self.n_components}; expected at most {self.n_features_in_}, "
                "the number of features"
            )

    def _observed(self, X: Any, sample_weight: Any) -> Iterator[Batch]:
        """The rows to fit, in one batch where they are in memory."""
        observer = observe(self, X, None, sample_weight)
        if observer is not None:
            return read_ahead(observer.learned().batches())
        return self._in_memory(X, sample_weight, reset=True)

    def _batches(self, X: Any, sample_weight: Any) -> Iterator[Batch]:
        """Rows that the fitted model can be asked about."""
        check_is_fitted(self)
        observer = observe(self, X, None, sample_weight, NO_CLASSES)
        if observer is not None:
            return read_ahead(observer.batches())
        return self._in_memory(X, sample_weight, reset=False)

    def _in_memory(self, X: Any, sample_weight: Any, *, reset: bool) -> Iterator[Batch]:
        X, sample_weight = columns_apart(X, sample_weight=sample_weight)
        batch = self._portion(X, reset=reset)
        yield replace(batch, weights=check_sample_weight(sample_weight, batch.n_rows))

    _takes_columns = True

    def _portion(self, X: Any, y: Any = None, *, reset: bool = False) -> Batch:
        rows, missing = check_rows(
            self, X, [np.float64, np.float32], reset=reset, allow_missing=True
        )
        return Batch(rows, missing=missing)

    def _check_varies(self, means: np.ndarray, variances: np.ndarray, dtype: np.dtype) -> None:
        constant = variances <= (ROUNDING * np.finfo(np.float64).eps * means) ** 2
        if self.noise == "isotropic" and not constant.all():
            return
        if constant.any():
            column = int(constant.argmax())
            raise ValueError(
                f"X: {column_called(self, column)} is constant ({means[column]:g}), so that the "
                "variance of its noise would be 0; expected columns that vary"
            )

    def _starts(self, problem: FactorProblem, seed: int) -> Iterator[Factors]:
        K, D = int(self.n_components), len(problem.scales)
        if self.warm_start and hasattr(self, "_model"):
            if self._model.loadings.shape != (D, K):
                raise ValueError(
                    "warm_start: the last fit was of (n_features, n_components) = "
                    f"{self._model.loadings.shape}; expected {(D, K)}"
                )
            yield problem.bounded(self._model.without_units(problem.centre, problem.scales))
            return
        if self._is_given:
            yield self._given_start(problem)
            return
        yield problem.principal_start(K)
        random_state = np.random.RandomState(seed)
        for _ in range(self.n_init - 1):
            yield problem.random_start(K, random_state)

    def _given_start(self, problem: FactorProblem) -> Factors:
        """Values that are given, and for the others those from principal components."""
        K, D = int(self.n_components), len(problem.scales)
        start = problem.principal_start(K).in_units(problem.centre, problem.scales)
        loadings, noise = start.loadings, start.noise
        if self.components_init is not None:
            shape = "(n_components, n_features)"
            loadings = check_array_of(
                "components_init", self.components_init, (K, D), shape
            ).T.copy()
        if self.noise_variance_init is not None:
            noise = self._checked_noise(D)
        start = Factors(start.mean, loadings, noise)
        return problem.bounded(start.without_units(problem.centre, problem.scales))

    def _checked_noise(self, n_features: int) -> np.ndarray:
        name, value = "noise_variance_init", self.noise_variance_init
        if isinstance(value, Real):
            return np.full(n_features, float(value))
        if self.noise == "isotropic":
            raise ValueError(f"{name}: found an array; expected a number for isotropic noise")
        noise = check_array_of(name, value, (n_features,), "(n_features,)")
        if np.any(noise <= 0):
            raise ValueError(f"{name}: found {noise.min()}; expected positive numbers")
        return noise

    def _set_fitted(self, problem: FactorProblem, trace: em.Trace, dtype: np.dtype) -> None:
        # In standard deviations: there, rounding treats features alike.
        self._set_model(trace.model.in_order().in_units(problem.centre, problem.scales), dtype)
        self.lower_bound_ = trace.objective
        self.lower_bounds_ = np.array(trace.objectives)
        self.loglike_ = self.lower_bounds_ * problem.points.weight
        self.n_iter_ = trace.n_iter
        self.converged_ = trace.converged and not trace.stopped

    def _set_model(self, model: Factors, dtype: np.dtype) -> None:
        """Keep the model in float64 and show it as fitted attributes of `dtype`."""
        self._model = model
        self.mean_ = model.mean.astype(dtype)
        self.components_ = np.ascontiguousarray(model.loadings.T, dtype)
        self.noise_variance_ = model.noise.astype(dtype)
        if self.noise == "isotropic":
            self.noise_variance_ = float(model.noise[0])

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "dtype": self.mean_.dtype.name}

    def _take_state(self, state: dict[str, Any]) -> None:
        self._set_model(state.pop("_model"), state.pop("dtype"))
        super()._take_state(state)

    @property
    def _n_features_out(self) -> int:
        return self._model.loadings.shape[1]

    def _features(self, X: Any) -> np.ndarray:
        return np.asarray(self._portion(X).X)

    def _given(self, rows: np.ndarray) -> Iterator[tuple[slice, GivenRows]]:
        """Slices of rows, and what is known of their factors."""
        step = max(1, HELD // max(self._model.loadings.shape[1] ** 2, rows.shape[1]))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            yield part, self._model.given(rows[part])

    @overload
    def transform(self, X: Rows, *, out: None = None) -> Array: ...
    @overload
    def transform(self, X: Rows, *, out: PathName) -> PathName: ...
    @lazy_with_dask(width=lambda self: self._n_features_out, names="factor")
    def transform(self, X: Rows, *, out: PathName | None = None) -> Array | PathName:
        """Expected factors of every row, given its entries that are known.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        out : path-like, optional
            A file to write instead, row by row as they come: see `GaussianMixture.score_samples`.

        Returns
        -------
        ndarray of shape (n_samples, n_components), of the precision of X; or `out`, whose columns \
are "factor0", "factor1", ...
        """
        return self._answered_by_features(self._factors, out, "factor", X)

    def _factors(self, rows: np.ndarray) -> np.ndarray:
        factors = np.empty((len(rows), self._n_features_out), rows.dtype)
        for part, given in self._given(rows):
            factors[part] = given.means
        return factors

    @overload
    def score_samples(self, X: Rows, *, out: None = None) -> NDArray[np.float64]: ...
    @overload
    def score_samples(self, X: Rows, *, out: PathName) -> PathName: ...
    @lazy_with_dask(np.float64, names="log_likelihood")
    def score_samples(
        self, X: Rows, *, out: PathName | None = None
    ) -> NDArray[np.float64] | PathName:
        """Log-likelihood of every row, of the entries that are known.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        out : see `transform`

        Returns
        -------
        ndarray of shape (n_samples,), float64, in nats; or `out`, whose column is "log_likelihood"
        """
        return self._answered_by_features(self._scores, out, "log_likelihood", X)

    def _log_likelihoods(self, batch: Batch) -> NDArray[np.float64]:
        return self._scores(np.asarray(batch.X))

    def _scores(self, rows: np.ndarray) -> NDArray[np.float64]:
        scores = np.empty(len(rows))
        for part, given in self._given(rows):
            scores[part] = given.log_likelihoods
        return scores

    def score(self, X: Rows, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
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
        log_likelihood, weight = self._total(X, sample_weight)
        return log_likelihood / weight

    def bic(self, X: Rows, *, sample_weight: ArrayLike | None = None) -> float:
        """Bayesian information criterion of the rows; the lower the better.

        ``-2 log L + p log n`` for p free parameters and n, the sum of the weights of all rows
        (Schwarz, Annals of Statistics 6, 1978). Free are the mean, the noise, and D K - K (K - 1) /
        2 loadings, for factors may be rotated: together with the noise at most D (D + 1) / 2, those
        of any covariance.

        Parameters
        ----------
        X, sample_weight : see `score`

        Returns
        -------
        float
        """
        return self._bic_of(*self._total(X, sample_weight))

    def aic(self, X: Rows, *, sample_weight: ArrayLike | None = None) -> float:
        """Akaike information criterion of the rows, ``-2 log L + 2 p``; the lower the better.

        Parameters
        ----------
        X, sample_weight : see `score`

        Returns
        -------
        float
        """
        return self._aic_of(*self._total(X, sample_weight))

    @summed_with_dask
    def _total(self, X: Any, sample_weight: Any) -> tuple[float, float]:
        """Log-likelihood of all rows in nats, by their weights, and the sum of these."""
        return self._totals(self._batches(X, sample_weight))

    def _n_parameters(self) -> int:
        D, K = self._model.loadings.shape
        noise = D if self.noise == "diagonal" else 1
        return D + min(D * K - K * (K - 1) // 2 + noise, D * (D + 1) // 2)

    def impute(self, X: Rows) -> Any:
        """X with the expectation of every missing entry, given those of its row that are known.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN, None or NA where an entry is missing.

        Returns
        -------
        array or table, as X is, of shape (n_samples, n_features)
            A copy of X. What is not missing is as it was.
        """
        check_is_fitted(self)
        rows = self._features(X)
        missing = np.isnan(rows)
        expected = np.empty(np.count_nonzero(missing))
        at = 0
        for part, given in self._given(rows):
            values = (self._model.mean + given.means @ self._model.loadings.T)[missing[part]]
            expected[at : at + len(values)] = values
            at += len(values)
        row, column = np.nonzero(missing)
        fills = {
            int(d): (row[column == d], expected[column == d]) for d in np.unique(column).tolist()
        }
        return filled(settable(X, rows), fills)

    def get_covariance(self) -> Array:
        """Covariance of the rows under the fitted model, W W' + Psi.

        Returns
        -------
        ndarray of shape (n_features, n_features)
        """
        check_is_fitted(self)
        loadings = self._model.loadings
        covariance = loadings @ loadings.T + np.diag(self._model.noise)
        return covariance.astype(self.mean_.dtype)

    def get_precision(self) -> Array:
        """Inverse of the covariance: Psi^-1 - Psi^-1 W (I + W' Psi^-1 W)^-1 W' Psi^-1.

        Returns
        -------
        ndarray of shape (n_features, n_features)
        """
        check_is_fitted(self)
        loadings, noise = self._model.loadings, self._model.noise
        scaled = loadings / noise[:, None]
        inner = np.eye(loadings.shape[1]) + loadings.T @ scaled
        precision = np.diag(1 / noise) - scaled @ np.linalg.solve(inner, scaled.T)
        return ((precision + precision.T) / 2).astype(self.mean_.dtype)

    def sample(self, n_samples: int = 1) -> Array:
        """Draw rows from the fitted model.

        Parameters
        ----------
        n_samples : int, default=1

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples: found {n_samples!r}; expected an integer of at least 1")
        model, random_state = self._model, check_random_state(self.random_state)
        factors = random_state.standard_normal((n_samples, model.loadings.shape[1]))
        noise = random_state.standard_normal((n_samples, len(model.mean)))
        return model.mean + factors @ model.loadings.T + noise * np.sqrt(model.noise)


def _seed(random_state: Any) -> int:
    """What all draws follow from."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
