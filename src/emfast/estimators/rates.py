"""Mixtures of features with rates: counts without a bound, and waiting times."""

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
from emfast.emissions.counts import Poisson
from emfast.emissions.exponential import Exponential
from emfast.estimators.base.mixture import BaseMixture
from emfast.estimators.base.one_parameter import OneParameterMixture
from emfast.parts.known import NOTHING_KNOWN, Known


class RatesMixture(OneParameterMixture):
    """What mixtures with a rate for every component and feature share."""

    _parameter_constraints = {
        **BaseMixture._parameter_constraints,
        "rates_init": ["array-like", None],
    }

    _defining_attributes = ("rates_",)

    rates_: Array

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
        rates_init: Values | None = None,
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
        self.rates_init = rates_init
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


class PoissonMixture(RatesMixture):
    """Mixture of independent counts without a bound.

    Parameters
    ----------
    n_components : int, default=1
    tol, max_iter, n_init, init_params, restarts, random_state, n_threads : see `GaussianMixture`
    weights_init : array-like of shape (n_components,) or "equal", optional
    rates_init : array-like of shape (n_components, n_features), optional
        As `weights_init`, it may be a list with None for components that are not given.
    fixed : collection of {"weights", "rates"}, or mapping of them, optional
        What is known: see `GaussianMixture`.
    prior : mapping, optional
        "weight_concentration_prior", see `GaussianMixture`, and "rates_prior": (shape, rate) of
        Gamma distributions, a shape of at least 1; numbers or arrays of shape (n_features,) or
        (n_components, n_features).
    assignment, accelerate, warm_start : see `GaussianMixture`
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianMixture`
    incremental, step_exponent, step_offset : see `GaussianMixture`

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
    rates_ : ndarray of shape (n_components, n_features)
        Mean counts; may be exactly 0.
    converged_, n_iter_, lower_bound_, lower_bounds_, restarts_, classes_, n_features_in_, \
feature_names_in_ : see `GaussianMixture`

    Notes
    -----
    X holds counts: whole numbers from 0 on. NaN is missing, and left out of the likelihood of its
    row. A sparse matrix is taken as it is: only counts that are stored cost time.

    Examples
    --------
    >>> import numpy as np
    >>> from emfast import PoissonMixture
    >>> X = np.array([[0, 9], [1, 8], [0, 11], [7, 0], [9, 1], [8, 0]])
    >>> mixture = PoissonMixture(2, random_state=0).fit(X)
    >>> sorted(mixture.rates_[:, 0].round(1).tolist())
    [0.3, 8.0]
    """

    def _emission(self, fixed: Known = NOTHING_KNOWN) -> Poisson:
        return Poisson(fixed=fixed)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class ExponentialMixture(RatesMixture):
    """Mixture of independent waiting times, each exponentially distributed.

    Parameters
    ----------
    n_components : int, default=1
    tol, max_iter, n_init, init_params, restarts, random_state, n_threads : see `GaussianMixture`
    weights_init : array-like of shape (n_components,) or "equal", optional
    rates_init : array-like of shape (n_components, n_features), optional
        Positive. As `weights_init`, it may be a list with None for components that are not given.
    fixed : collection of {"weights", "rates"}, or mapping of them, optional
        What is known: see `GaussianMixture`.
    prior : mapping, optional
        "weight_concentration_prior", see `GaussianMixture`, and "rates_prior": (shape, rate) of
        Gamma distributions as of `PoissonMixture`.
    assignment, accelerate, warm_start : see `GaussianMixture`
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianMixture`
    incremental, step_exponent, step_offset : see `GaussianMixture`

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
    rates_ : ndarray of shape (n_components, n_features)
        One over the mean waiting times, in one over the units of X.
    converged_, n_iter_, lower_bound_, lower_bounds_, restarts_, classes_, n_features_in_, \
feature_names_in_ : see `GaussianMixture`

    Notes
    -----
    X holds numbers from 0 on, of density rate exp(-rate x). NaN is missing, and left out of the
    likelihood of its row. The likelihood has no maximum where rows that are exactly 0 in some
    column can have a component of their own; a start that ends there is degenerate, as
    `GaussianMixture` says, and a prior of positive rate avoids it.

    Examples
    --------
    >>> import numpy as np
    >>> from emfast import ExponentialMixture
    >>> X = np.random.default_rng(0).exponential([[1.0], [50.0]], (2, 1000)).reshape(-1, 1)
    >>> mixture = ExponentialMixture(2, tol=1e-6, random_state=0).fit(X)
    >>> sorted((1 / mixture.rates_).ravel().round().tolist())
    [1.0, 51.0]
    """

    def _emission(self, fixed: Known = NOTHING_KNOWN) -> Exponential:
        return Exponential(fixed=fixed)
