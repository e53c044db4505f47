"""Mixtures of columns of several kinds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

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
    Values,
)
from emfast.data import Batch
from emfast.emissions.base import Emission
from emfast.emissions.categorical import Categorical
from emfast.estimators.base.mixture import BaseMixture
from emfast.estimators.base.of_columns import OfColumns
from emfast.inputs.validation import check_columns


class Mixture(OfColumns, BaseMixture):
    """Mixture of columns of several kinds, which are independent given the component.

    Parameters
    ----------
    n_components : int, default=1
    emissions : list of (name, emission, columns)
        Which emission, one of those in `emfast.emissions`, describes which columns: their names,
        positions, a slice, a list, a boolean mask or a callable that is given X and returns one of
        these, as in `sklearn.compose.ColumnTransformer`. Columns that are not named are not used,
        nor is an emission whose callable returns no columns.
    tol, max_iter, n_init, init_params, restarts, random_state, n_threads : see `GaussianMixture`
    weights_init : array-like of shape (n_components,) or "equal", optional
    emissions_init : mapping, optional
        Starting values by "name.group", as in ``{"size.means": ...}``.
    fixed : collection of "weights" and "name.group", or mapping of them, optional
        What is known: see `GaussianMixture`.
    prior : mapping, optional
        "weight_concentration_prior", see `GaussianMixture`, and those of the emissions by the names
        they have in mixtures of their own, as in "name.mean_prior".
    assignment, accelerate, warm_start : see `GaussianMixture`
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianMixture`
    incremental, step_exponent, step_offset : see `GaussianMixture`

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
    emissions_ : dict
        By name the fitted parameters, under the names they have in the mixtures of one emission, as
        in ``mixture.emissions_["size"].means``.
    categories_ : dict, by name the categories of categorical columns
    converged_, n_iter_, lower_bound_, lower_bounds_, restarts_, classes_, n_features_in_, \
feature_names_in_ : see `GaussianMixture`

    Notes
    -----
    X is an array, a data frame or a sparse matrix. Of a sparse matrix the columns of `Bernoulli`
    and `Poisson` emissions stay sparse, and only what is stored there costs time; those of other
    emissions are made dense.

    Examples
    --------
    >>> import pandas as pd
    >>> from emfast import Mixture
    >>> from emfast.emissions import Categorical, Gaussian
    >>> cars = pd.DataFrame({
    ...     "length": [4.1, 4.0, 4.2, 9.9, 10.3, 9.6],
    ...     "weight": [1.2, 1.1, 1.4, 8.0, 9.0, 7.0],
    ...     "fuel": ["petrol", "petrol", "diesel", "diesel", "diesel", "diesel"],
    ... })
    >>> mixture = Mixture(2, [
    ...     ("size", Gaussian("diag"), ["length", "weight"]),
    ...     ("fuel", Categorical(), ["fuel"]),
    ... ], random_state=0).fit(cars)
    >>> sorted(mixture.emissions_["size"].means[:, 0].round(1).tolist())
    [4.1, 9.9]
    """

    _parameter_constraints = {
        **BaseMixture._parameter_constraints,
        "emissions": [list, tuple],
        "emissions_init": [Mapping, None],
    }

    _defining_attributes = ()

    emissions_: dict[str, Any]
    categories_: dict[str, list[Array]]

    def __init__(
        self,
        n_components: int = 1,
        emissions: Sequence[tuple[str, Emission, Any]] = (),
        *,
        tol: float = 1e-3,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: InitParams = "kmeans",
        restarts: Restarts = "auto",
        random_state: RandomState = None,
        n_threads: int | None = None,
        weights_init: Values | None = None,
        emissions_init: Mapping[str, Any] | None = None,
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
        self.emissions = emissions
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.restarts = restarts
        self.random_state = random_state
        self.n_threads = n_threads
        self.weights_init = weights_init
        self.emissions_init = emissions_init
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

    def _n_columns(self) -> int:
        check_is_fitted(self)
        return self.n_features_in_

    def _settable(self, X: Any, batch: Batch) -> Any:
        return check_columns(self, X, reset=False, accept_sparse=True)

    def _tell_of_columns(self, mixture: "Mixture", own: np.ndarray) -> None:
        """The parts that have any of these columns, which keep their order there."""
        given = {name: emission for name, emission, _ in self._checked_emissions()}
        described = self._described_columns()
        place = {int(column): at for at, column in enumerate(described[own])}
        names = getattr(mixture, "feature_names_in_", None)
        of_parts = self._emission().of_parts(own)
        mixture.emissions, mixture.categories_, mixture._bound_parts = [], {}, []
        for (name, emission, columns), of_part in zip(self._parts(), of_parts, strict=True):
            if of_part.size:
                at = [place[columns[column]] for column in of_part]
                called = at if names is None else names[at].tolist()
                bound = emission.of_columns(of_part)
                mixture.emissions.append((name, given[name].of_columns(of_part), called))
                mixture._bound_parts.append((name, bound, at))
                if isinstance(bound, Categorical):
                    mixture.categories_[name] = bound.categories
