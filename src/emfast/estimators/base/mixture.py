"""`BaseMixture`: the estimator of a mixture without its emission."""

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import StrOptions

from emfast import em
from emfast.annotations import Array, Rows, Values
from emfast.data import ArraySource, Batch, Source, summed_with_dask
from emfast.emissions.base import Emission
from emfast.estimators.base.features import MixtureOfFeatures
from emfast.estimators.base.online import TakesStatistics
from emfast.estimators.base.repeats import collapsed
from emfast.inputs.arguments import check_enough_rows, check_mixture_weights, check_sample_weight
from emfast.inputs.columns import columns_apart
from emfast.latent.mixture import noise_bounds
from emfast.problems.grid import GridProblem
from emfast.starts.records import Restart
from emfast.statistics import Statistics
from emfast.storage.stored import RANGES, Maybe, Numbers


class BaseMixture(TakesStatistics, MixtureOfFeatures):
    """A finite mixture fitted by expectation-maximisation."""

    _parameter_constraints: dict = {
        **TakesStatistics._parameter_constraints,
        "weights_init": ["array-like", StrOptions({"equal"}), None],
    }

    _stored = {"noise_bounds_": Maybe(Numbers(2, "n_features_in_", rule=RANGES))}

    def _take_state(self, state: dict[str, Any]) -> None:
        if self._has_noise != ("noise_bounds_" in state):
            raise ValueError(f"noise_bounds_: expected them with noise only; noise={self.noise!r}")
        super()._take_state(state)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(
        self,
        X: Rows,
        y: Any = None,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit the mixture by expectation-maximisation.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A Dask array or data frame is fitted on the workers of the current client, if any.
            Computed in its own precision if that is float32 or float64.
            Or a source of rows that do not fit into memory, in files for instance: see
            `docs/large-data.md`.
        y : ignored
        labels : array-like of shape (n_samples,) or (n_samples, n_components), optional
            What is known of each row's component, or the name of the column of X that it is.
            Integers are components 0 to K-1 with -1 for
            missing; other values are sorted to components, with None, NaN and pandas.NA missing; a
            boolean array holds the components that each row may have.
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
            All starts ended in singular covariances, which only happens with ``reg_covar=0``.

        Warns
        -----
        ConvergenceWarning
            The best start reached `max_iter` before it converged, and ``tol > 0``.
        StarvedComponentWarning
            A component of the best start lost all its rows.
        DegenerateComponentWarning
            Every start ended with a component that owes its likelihood to few rows, or to rows
            that do not vary.
        """
        self._fit(X, labels, sample_weight)
        return self

    def fit_predict(
        self,
        X: Rows,
        y: Any = None,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Array:
        """Fit, then give each row's most probable component, its label included.

        Parameters
        ----------
        X, y, labels, sample_weight : see `fit`

        Returns
        -------
        ndarray of shape (n_samples,), int
        """
        source = self._fit(X, labels, sample_weight).source
        if isinstance(source, ArraySource) and source.batch.numbers is None:
            # All rows as they have been validated, and not the different ones alone.
            return self._assignments(source.batch)
        return self._predicted(X, labels, sample_weight)

    def partial_fit(
        self,
        X: Rows,
        y: Any = None,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Go on with a batch of rows, which are not needed again: stepwise EM.

        The first call makes a start of its rows as `fit` does, or takes the given one. Every call
        mixes the sufficient statistics of its rows into those of the rows before, as
        `step_exponent` and `step_offset` say, and takes an M-step, for which a prior counts beside
        all rows that there have been. After `fit`, or `update`, it goes on from there.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The first call needs at least `n_components` rows, and does better with many more.
        y : ignored
        labels : array-like of shape (n_samples,) or (n_samples, n_components), optional
            As in `fit`. Names are those of the first call.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self : object
            ``n_iter_`` is one more. ``lower_bound_``, and the last of ``lower_bounds_``, is the
            running mean of what batches scored before they were learned from, log prior included:
            it may fall. ``converged_`` is False.

        Raises
        ------
        ValueError, TypeError
            The arguments or the data cannot be fitted; among others names of labels that the first
            call had not, or another `n_components`. Nothing has been changed then.
        SingularComponentError
            Covariances became singular, which only happens with ``reg_covar=0``.

        Notes
        -----
        With `noise` its box is that of the rows of the first call. `save`, pickle and joblib keep
        what is needed to go on.

        References
        ----------
        Cappé, O. and Moulines, E. (2009). On-line expectation-maximization algorithm for latent
        data models. Journal of the Royal Statistical Society B 71, 593-613.
        """
        return self._partial_fit(X, labels, sample_weight)

    @summed_with_dask
    def summarize(
        self,
        X: Rows,
        y: Any = None,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Statistics:
        """Expected sufficient statistics of rows under the fitted model: one E-step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        labels, sample_weight : see `fit`; names of labels are those in ``classes_``

        Returns
        -------
        Statistics
            They add to those of other rows, and `update` takes those of all rows together.

        Raises
        ------
        ValueError, TypeError
            Bad rows, labels or weights; a row that no component can have produced.
        sklearn.exceptions.NotFittedError
        """
        return self._summarized(X, labels, sample_weight)

    def _observed(self, X: Any, labels: Any, sample_weight: Any) -> Batch | Source:
        rows = self._stream(X, labels, sample_weight)
        if rows is None:
            rows = self._in_memory(X, labels, sample_weight)
        if self._has_noise:
            whole = (rows.X, rows.weights) if isinstance(rows, Batch) else rows.extremes
            self.noise_bounds_ = noise_bounds(self.noise, *whole)
        return rows

    def _in_memory(self, X: Any, labels: Any, sample_weight: Any) -> Batch:
        X, labels, sample_weight = columns_apart(X, labels=labels, sample_weight=sample_weight)
        batch = self._validate_rows(X, reset=True)
        weights = check_sample_weight(sample_weight, batch.n_rows)
        batch = replace(batch, weights=weights, labels=self._labels_of(labels, batch.n_rows, None))
        check_enough_rows(batch.n_rows, batch.n_used, int(self.n_components))
        return batch

    def _source(self, batch: Batch, emission: Emission) -> ArraySource:
        if emission.discrete and self.assignment != "stochastic":
            batch = collapsed(batch)
        return ArraySource(batch)

    def _given_of_latent(self) -> dict[str, np.ndarray]:
        if self.weights_init is None:
            return {}
        K = int(self.n_components)
        return {"weights": check_mixture_weights(self.weights_init, K, self._has_noise)}

    def _first_init_params(self, subsampled: bool) -> str:
        if self.init_params == "kmeans" and self._has_noise:
            # Outliers would be clusters of their own.
            return "neighbourhood" if subsampled else "short_em"
        return super()._first_init_params(subsampled)

    def _set_fitted(self, problem: GridProblem, best: em.Trace, restarts: list[Restart]) -> None:
        super()._set_fitted(problem, best, restarts)
        if not self._has_noise:
            self.__dict__.pop("noise_weight_", None)
            self.__dict__.pop("noise_bounds_", None)
