"""Bayesian linear regression; the algorithm is in `evidence`."""

from collections.abc import Iterator
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from emfast import em
from emfast.annotations import Array, Callback, PathName, Rows, Values
from emfast.data import Batch, lazy_with_dask, observe, read_ahead
from emfast.data.sums import Tree
from emfast.estimators.base.fitting import unchanged_by_failure, warn_unless_converged
from emfast.estimators.base.scores import PredictsTargets
from emfast.estimators.base.tally import Tally
from emfast.inputs.arguments import check_array_of, check_sample_weight
from emfast.inputs.columns import columns_apart
from emfast.inputs.rows import RowsWithTargets
from emfast.inputs.targets import check_regression
from emfast.inputs.validation import CHUNK_ROWS, check_rows
from emfast.problems.evidence import (
    EvidenceProblem,
    Hyperparameters,
    PrecisionPerFeature,
    Predictor,
    SharedPrecision,
    Squares,
)
from emfast.problems.moments import JointMoments, joint_moments
from emfast.storage.checkpoint import Checkpoint, digest
from emfast.storage.stored import (
    NO_NEGATIVE_DIAGONALS,
    NOT_NEGATIVE,
    POSITIVE,
    Number,
    Numbers,
    Precision,
    Record,
    Storable,
    Whole,
)
from emfast.threads import SingleThreadedBlas, resolve_threads
from emfast.watch import WATCH_CONSTRAINTS, Watch

EPSILON = float(np.finfo(np.float64).eps)

# Deviations of equal targets from their mean, in units of machine epsilon times the mean.
ROUNDING = 8


class BayesianLinearRegression(PredictsTargets, Storable, BaseEstimator):
    r"""Linear regression whose regularisation is estimated by expectation-maximisation.

    .. math::
        y = b + X \beta + \varepsilon, \qquad \varepsilon \sim N(0, 1 / \alpha), \qquad
        \beta_j \sim N(0, 1 / \lambda_j).

    The weights :math:`\beta` are the latent variable; EM finds the precisions :math:`\alpha` and
    :math:`\lambda` that maximise the evidence, which is the likelihood with the weights integrated
    out (MacKay, Bayesian interpolation, 1992; Bishop, Pattern Recognition and Machine Learning,
    2006, sections 3.5 and 9.3.4). This is what scikit-learn's `BayesianRidge` has at its fixed
    point with flat hyperpriors, ``alpha_1 = alpha_2 = lambda_1 = lambda_2 = 0``.

    It is no sum over rows: the fit reads the rows once, for their scatter and their products with
    the target, and no iteration depends on their number.

    Parameters
    ----------
    per_feature : bool, default=False
        Whether every feature has a precision of its own (automatic relevance determination)
        instead of one that all share. Features that tell nothing are pruned then: see Notes.
    fit_intercept : bool, default=True
        Whether there is an intercept b. It has no prior, and where the features have their means it
        is the mean of the targets.
    tol : float, default=1e-14
        Converged once the last gain of the log evidence over the sum of weights, and Aitken's
        estimate of all gain still to come, are below. Near its maximum the evidence is flat: the
        relative error of the precisions is about the root of what is left of it. 0 runs exactly
        `max_iter` iterations.
    max_iter : int, default=1000
        Most iterations, each of which is an M-step or an extrapolation; 0 returns the start.
    alpha_init : float, optional
        Precision of the noise at the start; by default that of the targets.
    lambda_init : float or array-like of shape (n_features,), optional
        Precisions of the weights at the start, an array only with `per_feature`. By default such
        that the weights are expected to explain as much as the noise.
    accelerate : bool, default=True
        Whether every two M-steps are followed by an extrapolation (SQUAREM), which is kept where it
        is better than they are: where EM is slow, iterations are many times fewer.
    warm_start : bool, default=False
        Go on from the precisions of the last fit.
    n_threads : int or None, default=None
        None takes ``OMP_NUM_THREADS``, else the CPUs this process may use. Results do not depend
        on it.
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianMixture`

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,), posterior mean of the weights
    intercept_ : float
    alpha_ : float, precision of the noise
    lambda_ : float, or ndarray of shape (n_features,) with `per_feature`
        Precisions of the weights; infinite for those that are 0 for sure.
    sigma_ : ndarray of shape (n_features, n_features), posterior covariance of the weights
    scores_ : ndarray of shape (n_iter_,)
        Log evidence after every iteration, in nats; the last one is that of the fitted model.
    n_iter_ : int
    converged_ : bool
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    Notes
    -----
    *Precisions that tend to infinity.* Where the evidence is highest with a weight of 0, its
    precision grows without end, as slowly as the number of iterations. With `per_feature` such a
    feature is pruned, for good: once the data tell less than a tenth of its weight, and if the
    evidence grows all the way to an infinite precision while those of the other features stay as
    they are. A column that does not vary is pruned from the start. Without `per_feature` all
    weights become 0 together if no evidence is higher.

    Where X explains y exactly, `alpha_` tends to infinity. It is at most 1 / (1000 epsilon var(y))
    with the machine epsilon of X: smaller residuals cannot be told from sums of products, which
    keep about half of the digits that the rows have.

    Weights of rows count as repetitions: the evidence is that of as many rows as they sum to.

    Columns of X may be collinear, and more than rows.

    Examples
    --------
    >>> import numpy as np
    >>> from emfast import BayesianLinearRegression
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3))
    >>> y = 2 * X[:, 0] + 1 + rng.normal(scale=0.5, size=200)
    >>> regression = BayesianLinearRegression(per_feature=True).fit(X, y)
    >>> abs(regression.coef_).round(1).tolist()
    [2.0, 0.0, 0.0]
    >>> round(float(regression.alpha_ ** -0.5), 1)
    0.5
    >>> mean, deviation = regression.predict(X[:1], return_std=True)
    """

    _parameter_constraints: dict = {
        "per_feature": ["boolean"],
        "fit_intercept": ["boolean"],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "alpha_init": [Interval(Real, 0.0, None, closed="neither"), None],
        "lambda_init": [Interval(Real, 0.0, None, closed="neither"), "array-like", None],
        "accelerate": ["boolean"],
        "warm_start": ["boolean"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        **WATCH_CONSTRAINTS,
    }

    _stored = {
        "dtype": Precision(),
        "_model": Record(
            Hyperparameters,
            alpha=Number(POSITIVE),
            variances=Numbers("number of precisions", rule=NOT_NEGATIVE),
        ),
        "_predictor": Record(
            Predictor,
            centre=Numbers("n_features_in_"),
            middle=Number(),
            coef=Numbers("n_features_in_"),
            covariance=Numbers("n_features_in_", "n_features_in_", rule=NO_NEGATIVE_DIAGONALS),
        ),
        "n_iter_": Whole(),
        "converged_": bool,
        "scores_": Numbers("n_iter_"),
    }

    coef_: Array
    intercept_: float
    alpha_: float
    lambda_: float | Array
    sigma_: Array
    scores_: Array
    n_iter_: int
    converged_: bool
    n_features_in_: int
    feature_names_in_: Array

    def __init__(
        self,
        *,
        per_feature: bool = False,
        fit_intercept: bool = True,
        tol: float = 1e-14,
        max_iter: int = 1000,
        alpha_init: float | None = None,
        lambda_init: float | ArrayLike | None = None,
        accelerate: bool = True,
        warm_start: bool = False,
        n_threads: int | None = None,
        verbose: int = 0,
        verbose_interval: int = 10,
        progress: bool = False,
        callback: Callback | None = None,
        checkpoint: PathName | None = None,
    ) -> None:
        self.per_feature = per_feature
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.alpha_init = alpha_init
        self.lambda_init = lambda_init
        self.accelerate = accelerate
        self.warm_start = warm_start
        self.n_threads = n_threads
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.progress = progress
        self.callback = callback
        self.checkpoint = checkpoint

    def fit(self, X: Rows, y: Values, sample_weight: ArrayLike | None = None) -> Self:
        """Estimate the precisions, and the weights given them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Read once, in its own precision if that is float32 or float64.
            Or a source of rows that do not fit into memory, in files for instance: see
            `docs/large-data.md`.
        y : array-like of shape (n_samples,), or the name of a column of X
        sample_weight : array-like of shape (n_samples,), or the name of a column, optional
            How often each row counts: any non-negative numbers.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            The arguments or the data cannot be fitted, for instance because y does not vary: then
            no finite precision of the noise is best. Nothing has been changed then.

        Warns
        -----
        ConvergenceWarning
            `max_iter` was reached before convergence, and ``tol > 0``.
        """
        with unchanged_by_failure(self), SingleThreadedBlas():
            self._validate_params()
            tally = Tally(kept=self.checkpoint is not None)
            moments = self._moments(X, y, sample_weight, tally)
            if not self.fit_intercept:
                moments = moments.about_zero()
            self._check_varies(moments, tally.n_rows)
            squares = Squares.of(moments, float(np.finfo(tally.dtype).eps))
            problem = (PrecisionPerFeature if self.per_feature else SharedPrecision)(squares)
            start = self._start(problem, self.n_features_in_)
            checkpoint = self._checkpoint(tally)
            with Watch(self, objective="log evidence", checkpoint=checkpoint) as watch:
                trace = watch.maximize(
                    problem,
                    start,
                    tol=self.tol,
                    max_iter=self.max_iter,
                    accelerate=self.accelerate,
                )
            self._set_fitted(problem, trace, moments, tally.dtype)
            watch.leave(self._model)
        watch.raise_interrupt()
        warn_unless_converged(trace, self.tol, self.max_iter)
        return self

    def _moments(self, X: Any, y: Any, sample_weight: Any, tally: Tally) -> JointMoments:
        """All that the fit knows of the rows, which pass by once."""
        observer = observe(self, X, None, sample_weight, y=y)
        if observer is None:
            X, y, sample_weight = columns_apart(X, y=y, sample_weight=sample_weight)
            batches = self._in_memory(X, y, sample_weight)
        else:
            batches = read_ahead(observer.learned().batches())
        total, threads = Tree(), resolve_threads(self.n_threads)
        for batch in tally.over(batches):
            rows = batch.X
            total.add(joint_moments(rows.features, rows.target, batch.weights, threads))
        return total.total()

    _takes_columns = True

    def _portion(self, X: Any, y: Any = None, *, reset: bool = False) -> Batch:
        return Batch(RowsWithTargets(*check_regression(self, X, y, reset=reset)))

    def _in_memory(self, X: Any, y: Any, sample_weight: Any) -> Iterator[Batch]:
        batch = self._portion(X, y, reset=True)
        yield replace(batch, weights=check_sample_weight(sample_weight, batch.n_rows))

    def _checkpoint(self, tally: Tally) -> Checkpoint | None:
        """The file of the fit, if there is to be one."""
        if self.checkpoint is None:
            return None
        start = digest(self._model) if self.warm_start and hasattr(self, "_model") else None
        told = {**tally.told(), "n_features": self.n_features_in_, "start": start}
        checkpoint = Checkpoint(self, told, self._stored["_model"], {})
        checkpoint.read(dict)
        checkpoint.begin(dict)
        return checkpoint

    def _check_varies(self, moments: JointMoments, n_rows: int) -> None:
        # Deviations from the mean of equal numbers are of the size of its rounding.
        rounding = (ROUNDING * EPSILON * moments.target_mean) ** 2 * moments.rows.weight
        if moments.target_scatter > rounding:
            return
        if self.fit_intercept:
            raise ValueError(
                f"y: found {moments.target_mean:g} in every row of positive weight (n_samples = "
                f"{n_rows}); expected targets that vary, for otherwise the precision of the "
                "noise is infinite"
            )
        raise ValueError("y: found 0 in every row of positive weight; expected other targets")

    def _start(self, problem: EvidenceProblem, n_features: int) -> Hyperparameters:
        start = problem.start()
        if self.warm_start and hasattr(self, "_model"):
            return self._previous(start)
        if self.alpha_init is not None:
            start = start._replace(
                alpha=min(float(self.alpha_init), 1 / problem.squares.least_noise)
            )
        if self.lambda_init is not None:
            variances = 1 / self._checked_precisions(n_features)
            start = start._replace(variances=np.where(start.variances > 0, variances, 0.0))
        return start

    def _checked_precisions(self, n_features: int) -> np.ndarray:
        if isinstance(self.lambda_init, Real):
            return np.array([float(self.lambda_init)])
        if not self.per_feature:
            raise ValueError(
                "lambda_init: found an array with per_feature=False; expected a number, for "
                "features share one precision"
            )
        precisions = check_array_of("lambda_init", self.lambda_init, (n_features,), "(n_features,)")
        if np.any(precisions <= 0):
            raise ValueError(f"lambda_init: found {precisions.min()}; expected positive numbers")
        return precisions

    def _previous(self, start: Hyperparameters) -> Hyperparameters:
        """The precisions of the last fit; a feature that was pruned has another chance."""
        last = self._model
        if last.variances.shape != start.variances.shape:
            raise ValueError(
                f"warm_start: the last fit has {last.variances.size} precision(s) of weights; "
                f"expected {start.variances.size}"
            )
        there = (last.variances > 0) & (start.variances > 0)
        return last._replace(variances=np.where(there, last.variances, start.variances))

    def _set_fitted(
        self,
        problem: EvidenceProblem,
        trace: em.Trace,
        moments: JointMoments,
        dtype: np.dtype,
    ) -> None:
        coef, covariance = problem.weights(trace.model)
        predictor = Predictor(moments.rows.mean, float(moments.target_mean), coef, covariance)
        self._set_model(trace.model, predictor, dtype)
        self.scores_ = np.array(trace.objectives) * moments.rows.weight
        self.n_iter_ = trace.n_iter
        self.converged_ = trace.converged and not trace.stopped

    def _set_model(self, model: Hyperparameters, predictor: Predictor, dtype: np.dtype) -> None:
        """Keep the model in float64 and show it as fitted attributes of `dtype`."""
        self._model, self._predictor = model, predictor
        with np.errstate(divide="ignore"):
            precisions = 1 / model.variances
        self.alpha_ = float(model.alpha)
        self.lambda_ = precisions.astype(dtype) if self.per_feature else float(precisions[0])
        self.coef_ = predictor.coef.astype(dtype)
        self.intercept_ = float(predictor.middle - predictor.centre @ predictor.coef)
        self.sigma_ = predictor.covariance.astype(dtype)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "dtype": self.coef_.dtype.name}

    def _take_state(self, state: dict[str, Any]) -> None:
        model, predictor = state.pop("_model"), state.pop("_predictor")
        n_precisions = state["n_features_in_"] if self.per_feature else 1
        if len(model.variances) != n_precisions:
            raise ValueError(
                f"variances: found {len(model.variances)}; expected {n_precisions}, for "
                f"per_feature={self.per_feature}"
            )
        self._set_model(model, predictor, state.pop("dtype"))
        super()._take_state(state)

    @overload
    def predict(
        self, X: Rows, return_std: Literal[False] = False, *, out: None = None
    ) -> Array: ...
    @overload
    def predict(
        self, X: Rows, return_std: Literal[True], *, out: None = None
    ) -> tuple[Array, Array]: ...
    @overload
    def predict(self, X: Rows, return_std: bool = False, *, out: PathName) -> PathName: ...
    def predict(
        self, X: Rows, return_std: bool = False, *, out: PathName | None = None
    ) -> Array | tuple[Array, Array] | PathName:
        """Mean of the predictive distribution of every row, and its standard deviation.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        return_std : bool, default=False
        out : path-like, optional
            A file to write instead, row by row as they come: see `GaussianMixture.score_samples`.
            Its columns are "prediction", and "deviation" with `return_std`.

        Returns
        -------
        y_mean : ndarray of shape (n_samples,), of the precision of X; or `out`
        y_std : ndarray of shape (n_samples,), only with `return_std`
            Root of the variance of the noise and of the weights together,
            1 / alpha + (x - mean)' Sigma (x - mean). The intercept counts as known.
        """
        if not return_std:
            return self._predicted(X, out=out)
        names = ("prediction", "deviation")
        found = self._answered_by_features(self._means_and_deviations, out, names, X)
        return tuple(np.ascontiguousarray(found.T)) if out is None else found

    @lazy_with_dask(names="prediction")
    def _predicted(self, X: Any, *, out: Any = None) -> Any:
        return self._answered_by_features(self._means, out, "prediction", X)

    def _features(self, X: Any) -> np.ndarray:
        return check_rows(self, X, [np.float64, np.float32], reset=False)[0]

    def _means(self, X: np.ndarray) -> np.ndarray:
        means = np.empty(len(X), X.dtype)
        for part, distances in self._distances(X):
            means[part] = self._predictor.middle + distances @ self._predictor.coef
        return means

    def _means_and_deviations(self, X: np.ndarray) -> np.ndarray:
        found = np.empty((len(X), 2), X.dtype)
        found[:, 0] = self._means(X)
        for part, distances in self._distances(X):
            variances = ((distances @ self._predictor.covariance) * distances).sum(axis=1)
            found[part, 1] = np.sqrt(1 / self._model.alpha + variances)
        return found

    def _distances(self, X: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Slices of rows, and these less the mean."""
        for start in range(0, len(X), CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            yield part, np.asarray(X[part]) - self._predictor.centre
