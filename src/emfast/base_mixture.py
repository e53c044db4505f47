"""`BaseMixture`: the estimator of a mixture without its emission."""

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import StrOptions

from emfast import em
from emfast.annotations import Array, Rows, Values
from emfast.arguments import check_enough_rows, check_mixture_weights, check_sample_weight
from emfast.columns import columns_apart
from emfast.data import ArraySource, Batch, Source
from emfast.emissions.base import Emission
from emfast.estimator import EMEstimator
from emfast.features import MixtureOfFeatures
from emfast.latent.mixture import noise_bounds
from emfast.problem import GridProblem
from emfast.repeats import collapsed
from emfast.restarts import Restart
from emfast.stored import RANGES, Maybe, Numbers


class BaseMixture(EMEstimator, MixtureOfFeatures):
    """A finite mixture fitted by expectation-maximisation."""

    _parameter_constraints: dict = {
        **EMEstimator._parameter_constraints,
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
        self._fit(X, labels, sample_weight)
        return self._assignments(X, labels)

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

    def _init_params(self, number: int, subsampled: bool) -> str:
        if number == 0 and self.init_params == "kmeans" and self._has_noise:
            # Outliers would be clusters of their own.
            return "neighbourhood" if subsampled else "short_em"
        return super()._init_params(number, subsampled)

    def _set_fitted(self, problem: GridProblem, best: em.Trace, restarts: list[Restart]) -> None:
        super()._set_fitted(problem, best, restarts)
        if not self._has_noise:
            self.__dict__.pop("noise_weight_", None)
            self.__dict__.pop("noise_bounds_", None)
