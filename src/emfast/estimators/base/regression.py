"""`BaseRegressionMixture`: mixtures of a target given the features of its row."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from numbers import Real
from typing import Any, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from emfast.annotations import Array, PathName, Rows, Values
from emfast.data import Batch, Source, lazy_with_dask, observe, read_ahead, summed_with_dask
from emfast.emissions.regression import LinearRegression, RegressionParameters
from emfast.estimators.base.inference import RowPosteriors
from emfast.estimators.base.information import standard_errors
from emfast.estimators.base.online import TakesStatistics
from emfast.estimators.base.scores import PredictsTargets
from emfast.inputs.arguments import check_enough_rows, check_sample_weight
from emfast.inputs.columns import columns_apart
from emfast.inputs.rows import RowsWithTargets
from emfast.inputs.targets import check_target
from emfast.inputs.validation import check_rows
from emfast.parts.known import NOTHING_KNOWN, Known
from emfast.statistics import Statistics


class BaseRegressionMixture(PredictsTargets, RowPosteriors, TakesStatistics):
    """A mixture of linear regressions without its latent structure."""

    _parameter_constraints: dict = {
        **TakesStatistics._parameter_constraints,
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
    }

    _defining_attributes = ("coef_", "intercept_", "noise_variances_")

    def fit(
        self,
        X: Rows,
        y: Values,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit by expectation-maximisation.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A Dask array or data frame is fitted on the workers of the current client, if any.
            Computed in its own precision if that is float32 or float64.
            Or a source of rows that do not fit into memory, in files for instance: see
            `docs/large-data.md`.
        y : array-like of shape (n_samples,), or the name of a column of X, what is to be explained
        labels : array-like of shape (n_samples,) or (n_samples, n_components), optional
            What is known of each row's component: see `GaussianMixture.fit`.
        sample_weight : array-like of shape (n_samples,), or the name of a column of X, optional
            How often each row counts: any non-negative numbers.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            The arguments or the data cannot be fitted. Nothing has been changed then.
        SingularComponentError
            All starts ended with a component that is fitted exactly, which only happens with
            ``reg_covar=0``.

        Warns
        -----
        ConvergenceWarning, StarvedComponentWarning, DegenerateComponentWarning
            See `GaussianMixture.fit`.
        """
        self._fit(X, y, labels, sample_weight)
        return self

    @summed_with_dask
    def summarize(
        self,
        X: Rows,
        y: Values,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Statistics:
        """Expected sufficient statistics of rows under the fitted model: one E-step.

        Parameters
        ----------
        X, y, labels, sample_weight : see `fit`

        Returns
        -------
        Statistics
            See `GaussianMixture.summarize`.
        """
        return self._summarized(X, y, labels, sample_weight)

    def _observed(self, X: Any, y: Any, labels: Any, sample_weight: Any) -> Batch | Source:
        if y is None:
            raise ValueError(
                f"y: found None; expected a target for each row, for {type(self).__name__} "
                "requires y to be passed, but the target y is None"
            )
        stream = self._stream(X, labels, sample_weight, y)
        if stream is not None:
            return stream
        X, y, labels, sample_weight = columns_apart(
            X, y=y, labels=labels, sample_weight=sample_weight
        )
        batch = self._validated_pair(X, y, reset=True)
        weights = check_sample_weight(sample_weight, batch.n_rows)
        known = self._labels_of(labels, batch.n_rows, None)
        batch = replace(batch, weights=weights, labels=known)
        check_enough_rows(batch.n_rows, batch.n_used, int(self.n_components))
        return batch

    _takes_columns = False

    def _portion(self, X: Any, y: Any = None, *, reset: bool = False) -> Batch:
        return self._validated_pair(X, y, reset=reset)

    def _validated_pair(self, X: Any, y: Any, *, reset: bool) -> Batch:
        """X and y as rows that the kernels take."""
        features, _ = check_rows(self, X, [np.float64, np.float32], reset=reset)
        target = check_target(y, len(features))
        with np.errstate(over="ignore"):
            rows = RowsWithTargets(features, target.astype(features.dtype, copy=False))
        return Batch(rows, covariates=features)

    def _emission(self, fixed: Known = NOTHING_KNOWN) -> LinearRegression:
        return LinearRegression(reg_covar=self.reg_covar, fixed=fixed)

    def _attributes(self, parameters: RegressionParameters) -> dict[str, np.ndarray]:
        return {
            "coef_": parameters.coef,
            "intercept_": parameters.intercept,
            "noise_variances_": parameters.noise_variances,
        }

    def _parameters_of_attributes(self) -> RegressionParameters:
        names = ("coef", "intercept", "noise_variances")
        values = {name: np.array(getattr(self, f"{name}_"), np.float64) for name in names}
        return replace(self._float64_model.emission, **values)

    def _n_columns_of_emission(self) -> int:
        """The target is one, too."""
        return self.n_features_in_ + 1

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_float64_model")

    # What people ask of it

    def _features(self, X: Any) -> np.ndarray:
        """X as the fitted model takes it."""
        check_is_fitted(self)
        return check_rows(self, X, [np.float64, np.float32], reset=False)[0]

    def _batches(
        self, X: Any, y: Any, labels: Any = None, sample_weight: Any = None
    ) -> Iterator[Batch]:
        """The rows, in one batch where they are in memory, with what is known of them."""
        check_is_fitted(self)
        observer = observe(self, X, labels, sample_weight, self._names_of_components(), y)
        if observer is None:
            X, y, labels, sample_weight = columns_apart(
                X, y=y, labels=labels, sample_weight=sample_weight
            )
            return iter([self._weighted(self._batch(X, y, labels), sample_weight)])
        return read_ahead(observer.batches())

    def _batch(self, X: Any, y: Any, labels: Any = None) -> Batch:
        """Rows that the fitted model can be asked about, with what is known of them."""
        check_is_fitted(self)
        batch = self._validated_pair(X, y, reset=False)
        known = self._labels_of(labels, batch.n_rows, self._names_of_components())
        return replace(batch, labels=known)

    @abstractmethod
    def _prior_weights(self, covariates: np.ndarray | None) -> np.ndarray:
        """How probable components are given the features alone."""

    @overload
    def predict(self, X: Rows, *, out: None = None) -> Array: ...
    @overload
    def predict(self, X: Rows, *, out: PathName) -> PathName: ...
    @lazy_with_dask(names="prediction")
    def predict(self, X: Rows, *, out: PathName | None = None) -> Array | PathName:
        """The mean of the target: those of the components, weighted by how probable they are.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        out : path-like, optional
            A file to write instead, row by row as they come: see `GaussianMixture.score_samples`.

        Returns
        -------
        ndarray of shape (n_samples,), or `out`, whose column is "prediction"
        """
        return self._answered_by_features(self._means, out, "prediction", X)

    def _means(self, X: np.ndarray) -> Array:
        means = np.empty(len(X), X.dtype)
        parameters = self._model().emission
        for chunk, rows in self._chunks(X):
            means[chunk] = (self._prior_weights(rows) * parameters.means(rows)).sum(axis=1)
        return means

    @lazy_with_dask(width=lambda self: self.n_components)
    def predict_components(self, X: Rows) -> Array:
        """The mean of the target in every component.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components)
        """
        return self._answered_by_features(self._means_of_components, None, "", X)

    def _means_of_components(self, X: np.ndarray) -> Array:
        return self._model().emission.means(X).astype(X.dtype, copy=False)

    @overload
    def predict_proba(
        self,
        X: Rows,
        y: Values | None = None,
        *,
        labels: Values | None = None,
        out: None = None,
    ) -> Array: ...
    @overload
    def predict_proba(
        self,
        X: Rows,
        y: Values | None = None,
        *,
        labels: Values | None = None,
        out: PathName,
    ) -> PathName: ...
    @lazy_with_dask(width=lambda self: self.n_components, names="p")
    def predict_proba(
        self,
        X: Rows,
        y: Values | None = None,
        *,
        labels: Values | None = None,
        out: PathName | None = None,
    ) -> Array | PathName:
        """The probability of every component.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), optional
            With the target the responsibilities p(z | x, y); without it p(z | x).
        labels : array-like of shape (n_samples,) or (n_samples, n_components), optional
            What is known of each row's component, as in `fit`, where y is given.
        out : see `predict`

        Returns
        -------
        ndarray of shape (n_samples, n_components), or `out`, whose columns are "p0", "p1", ...
            Rows sum to 1.
        """
        if y is not None:
            return self._answered(self._responsibilities, out, "p", X, y, labels)
        if labels is not None:
            raise ValueError("labels: found labels without y; expected both, or neither")
        return self._answered_by_features(self._shares, out, "p", X)

    def _shares(self, X: np.ndarray) -> np.ndarray:
        """How probable components are given the features alone, for every row."""
        weights = np.empty((len(X), int(self.n_components)), X.dtype)
        for chunk, rows in self._chunks(X):
            weights[chunk] = self._prior_weights(rows)
        return weights

    @overload
    def score_samples(
        self, X: Rows, y: Values, *, labels: Values | None = None, out: None = None
    ) -> NDArray[np.float64]: ...
    @overload
    def score_samples(
        self, X: Rows, y: Values, *, labels: Values | None = None, out: PathName
    ) -> PathName: ...
    @lazy_with_dask(np.float64, names="log_likelihood")
    def score_samples(
        self, X: Rows, y: Values, *, labels: Values | None = None, out: PathName | None = None
    ) -> NDArray[np.float64] | PathName:
        """Log-likelihood log p(y | x) of every row, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        labels : array-like of shape (n_samples,) or (n_samples, n_components), optional
            What is known of each row's component, as in `fit`.
        out : see `predict`

        Returns
        -------
        ndarray of shape (n_samples,), or `out`, whose column is "log_likelihood"
            Joint with the label where there is one.
        """
        return self._answered(self._log_likelihoods, out, "log_likelihood", X, y, labels)

    @summed_with_dask
    def _total(self, X: Any, y: Any, sample_weight: Any) -> tuple[float, float]:
        return self._totals(self._batches(X, y, None, sample_weight))

    def bic(self, X: Rows, y: Values, *, sample_weight: ArrayLike | None = None) -> float:
        """Bayesian information criterion, the lower the better.

        -2 log-likelihood + p log n with p free parameters and n the sum of weights (Schwarz, 1978).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        return self._bic_of(*self._total(X, y, sample_weight))

    def aic(self, X: Rows, y: Values, *, sample_weight: ArrayLike | None = None) -> float:
        """Akaike information criterion, the lower the better: -2 log-likelihood + 2 p.

        Parameters
        ----------
        X, y, sample_weight : see `bic`

        Returns
        -------
        float
        """
        return self._aic_of(*self._total(X, y, sample_weight))

    def sample(self, X: Rows) -> Array:
        """Draw a target for every row from the fitted model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        components : ndarray of shape (n_samples,), int
        """
        X = self._features(X)
        random_state = check_random_state(self.random_state)
        weights = np.broadcast_to(self._prior_weights(X), (len(X), int(self.n_components)))
        drawn = random_state.random_sample(len(X))[:, None] * weights.sum(axis=1, keepdims=True)
        components = (weights.cumsum(axis=1) <= drawn).sum(axis=1)
        return self._drawn(X, components, random_state), components

    def _drawn(
        self, X: np.ndarray, components: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        parameters = self._model().emission
        return self._emission().draw_given(parameters, X, components, random_state)

    def standard_errors(
        self,
        X: Rows,
        y: Values,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> dict[str, Array]:
        """Standard errors of the parameters, from the observed information.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), the rows it was fitted to
        y : array-like of shape (n_samples,)
        labels, sample_weight : see `fit`

        Returns
        -------
        dict of ndarray
            By the names of parameters, as in `fixed`, in their shapes; 0 for what is known.

        Raises
        ------
        ValueError
            The information is not positive definite: the fit has not converged, or the rows do not
            tell all parameters.

        Notes
        -----
        They are the roots of the diagonal of the inverse of the observed information, which is by
        Louis' identity that of the complete data less what is missing of it,

        .. math:: I = E[-\\nabla^2 \\log p(y, z | x)] - \\mathrm{Cov}[\\nabla \\log p(y, z | x)]

        where expectation and covariance are over z given the data (Louis, Journal of the Royal
        Statistical Society B 44, 1982, 226-233). It is exact, and takes no more than one pass; a
        prior is included. `sample_weight` are taken as repetitions of rows.
        """
        batch = self._batch(X, y, labels)
        weights = check_sample_weight(sample_weight, batch.n_rows)
        known = self._known()
        latent, emission = self._latent(known), self._emission(known)
        self._set_prior(latent, emission, batch.X.shape[1])
        # The weights say how often rows count, and not what is known of them.
        posteriors = (
            (rows, self._responsibilities(batch.take(np.arange(len(batch.X))[rows])))
            for rows, _ in self._chunks(batch.X)
        )
        observed = replace(batch, weights=weights)
        return standard_errors(latent, emission, self._model(), observed, posteriors)
