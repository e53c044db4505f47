"""Categories: what models of them share, and mixtures of them."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from sklearn.utils._param_validation import StrOptions

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
from emfast.data import Batch, Observer
from emfast.emissions.categorical import Categorical, CategoricalParameters
from emfast.estimators.base.fitted import FittedModel
from emfast.estimators.base.mixture import BaseMixture
from emfast.inputs.levels import decode_levels
from emfast.inputs.validation import check_columns, column_called
from emfast.parts.known import NOTHING_KNOWN, Known
from emfast.storage.stored import ListOf, Names


class OfCategories(FittedModel):
    """What models of categorical features share, with the argument `categories`."""

    categories: Any

    _stored = {"categories_": ListOf(Names())}

    def _emission(self, fixed: Known = NOTHING_KNOWN) -> Categorical:
        return Categorical(getattr(self, "categories_", self.categories), fixed=fixed)

    def _validate_rows(self, X: Any, *, reset: bool) -> Batch:
        if not reset:
            return super()._validate_rows(X, reset=False)
        X = check_columns(self, X, reset=True)
        called = partial(column_called, self)
        codes, missing, emission = Categorical(self.categories).learn(X, called)
        self.categories_ = emission.categories
        return Batch(codes, missing=missing)

    def _learn(self, observer: Observer) -> None:
        found: list[Categorical] = []

        def learn(table: Any) -> bool:
            X = check_columns(self, table, reset=not found)
            learned = Categorical(self.categories).learn(X, partial(column_called, self))[2]
            found[:] = [found[0].with_levels_of(learned) if found else learned]
            return isinstance(self.categories, str)

        observer.each(learn)
        if found:
            self.categories_ = found[0].categories

    def _as_columns(self, drawn: list[np.ndarray]) -> np.ndarray:
        return decode_levels(np.vstack(drawn), self.categories_)

    def _attributes(self, parameters: CategoricalParameters) -> dict[str, Any]:
        return {"probabilities_": parameters.by_feature}

    def _parameters_of_attributes(self) -> CategoricalParameters:
        p = np.hstack([np.asarray(each, np.float64) for each in self.probabilities_])
        return CategoricalParameters(p, self._emission().levels)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


class CategoricalMixture(OfCategories, BaseMixture):
    """Mixture of independent categorical features: latent class analysis.

    Parameters
    ----------
    n_components : int, default=1
    categories : "auto" or list of array-like, default="auto"
        The values of every column. "auto" takes those of the data, sorted, or for columns of a
        categorical dtype its categories in their order.
    tol, max_iter, n_init, init_params, restarts, random_state, n_threads : see `GaussianMixture`
    weights_init : array-like of shape (n_components,) or "equal", optional
    probabilities_init : list of array-like of shape (n_components, levels), optional
        One for every column, whose rows sum to 1. Each may be a list with None for components that
        are not given.
    fixed : collection of {"weights", "probabilities"}, or mapping of them, optional
        What is known: see `GaussianMixture`.
    prior : mapping, optional
        "weight_concentration_prior", see `GaussianMixture`, and "probabilities_prior": the
        concentration of Dirichlet distributions of the levels, at least 1; a number, or for every
        feature a number or an array of shape (levels,).
    assignment, accelerate, warm_start : see `GaussianMixture`
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianMixture`
    incremental, step_exponent, step_offset : see `GaussianMixture`

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
    probabilities_ : list of ndarray of shape (n_components, levels)
        For every column p(x_d = category | component); may be exactly 0 or 1.
    categories_ : list of ndarray of shape (levels,)
    converged_, n_iter_, lower_bound_, lower_bounds_, restarts_, classes_, n_features_in_, \
feature_names_in_ : see `GaussianMixture`

    Notes
    -----
    X is an array or a data frame with a column for every feature: integers from 0 on, strings,
    booleans or a categorical dtype. None, NaN and pandas.NA are missing, and left out of the
    likelihood of their row. A value that was not among the data that were fitted is an error.

    Examples
    --------
    >>> from emfast import CategoricalMixture
    >>> X = [["red", "round"], ["red", "round"], ["blue", "flat"], ["blue", None]]
    >>> mixture = CategoricalMixture(2, random_state=0).fit(X)
    >>> [categories.tolist() for categories in mixture.categories_]
    [['blue', 'red'], ['flat', 'round']]
    >>> labels = mixture.predict(X)
    >>> bool(labels[0] == labels[1] != labels[2] == labels[3])
    True
    """

    _parameter_constraints = {
        **BaseMixture._parameter_constraints,
        "categories": [StrOptions({"auto"}), list, tuple],
        "probabilities_init": [list, tuple, None],
    }

    _defining_attributes = ("probabilities_",)

    probabilities_: list[Array]
    categories_: list[Array]

    def __init__(
        self,
        n_components: int = 1,
        *,
        categories: Literal["auto"] | Sequence[Values] = "auto",
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
        self.categories = categories
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

    def _settable(self, X: Any, batch: Batch) -> Any:
        return check_columns(self, X, reset=False)

    def _decoded(self, column: int, values: np.ndarray) -> np.ndarray:
        return self.categories_[column][values]

    def _tell_of_columns(self, mixture: "CategoricalMixture", own: np.ndarray) -> None:
        mixture.categories = Categorical(self.categories).of_columns(own).categories
        mixture.categories_ = Categorical(self.categories_).of_columns(own).categories
