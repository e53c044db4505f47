"""The mixture of linear regressions; the algorithms are elsewhere."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
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
    Rows,
    Values,
)
from emfast.estimators.base.regression import BaseRegressionMixture
from emfast.inputs.arguments import check_mixture_weights
from emfast.latent import MixtureWeights
from emfast.parts.known import NOTHING_KNOWN, Known


class LinearRegressionMixture(BaseRegressionMixture):
    r"""Mixture of linear regressions: every row is from one of several lines, planes, ...

    .. math:: p(y | x) = \sum_k \pi_k N(y;\; b_k + x^T w_k,\; \sigma_k^2)

    Parameters
    ----------
    n_components : int, default=1
    tol, max_iter, n_init : see `GaussianMixture`
    init_params : {"short_em", "random_from_data", "k-means++", "neighbourhood", "random", \
"kmeans"}, default="short_em"
        How rows are assigned to components at the start; for many rows, a subsample of them. Every
        component has the rows that are nearest to a regression: on as many rows as it has
        parameters, drawn at random ("random_from_data") or the next ones by the squares of their
        residuals ("k-means++"), or on neighbouring rows ("neighbourhood"). "random" assigns rows at
        random, "kmeans" clusters rows and targets together. "short_em" is the best of short runs of
        EM from the first four kinds; in a race on subsamples, all starts but the first begin as
        these runs do.
    restarts, random_state, n_threads : see `GaussianMixture`
    reg_covar : float, default=1e-6
        Added to the noise variances. With 0, a start with a component that is fitted exactly fails.
    weights_init : array-like of shape (n_components,) or "equal", optional
        This and the next ones may be lists with None for components whose values are not given.
    coef_init : array-like of shape (n_components, n_features), optional
    intercept_init : array-like of shape (n_components,), optional
        With `coef_init`, rows go to the nearest line at the start.
    noise_variances_init : array-like of shape (n_components,), optional
    fixed : collection of {"weights", "coef", "intercept", "noise_variances"}, or mapping of them, \
optional
        What is known: see `GaussianMixture`.
    prior : mapping, optional
        What is absent is flat. "weight_concentration_prior": see `GaussianMixture`.
        "coef_precision_prior", a number or one for each component: coefficients are Gaussian about
        0 with the variance of the noise over this: ridge regression with it as ``alpha``.
        "noise_variance_prior" and "degrees_of_freedom_prior", numbers or one for each component:
        scale and degrees of freedom of inverse Wishart distributions, in one dimension, of the
        noise variances.
    assignment, accelerate, warm_start : see `GaussianMixture`
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianMixture`
    incremental, step_exponent, step_offset : see `GaussianMixture`

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
    coef_ : ndarray of shape (n_components, n_features)
    intercept_ : ndarray of shape (n_components,)
    noise_variances_ : ndarray of shape (n_components,)
    converged_, n_iter_, lower_bound_, lower_bounds_, restarts_, classes_, n_features_in_, \
feature_names_in_ : see `GaussianMixture`

    Notes
    -----
    Where the rows of a component do not tell all its coefficients, because columns depend on each
    other or rows are few, of all that fit equally well it has those of least norm, in units of the
    standard deviations that the columns have in that component.

    A component whose rows are few, or fitted exactly, owes its likelihood to a noise variance that
    only `reg_covar` keeps from 0. It is recognised as *degenerate* as that of a `GaussianMixture`
    is: by a noise variance below 1/100 of that of all other components together, if it has the
    weight of fewer than 3 (n_features + 2) rows, or if its residuals are nothing but rounding.

    References
    ----------
    DeSarbo, W. S. and Cron, W. L. (1988). A maximum likelihood methodology for clusterwise linear
    regression. Journal of Classification 5, 249-282.

    Examples
    --------
    >>> import numpy as np
    >>> from emfast import LinearRegressionMixture
    >>> x = np.arange(10.0)
    >>> y = np.where(x % 2 == 0, 1 + 2 * x, 5 - x) + 0.1 * np.sin(7 * x)
    >>> mixture = LinearRegressionMixture(2, random_state=0).fit(x[:, None], y)
    >>> sorted(mixture.coef_.ravel().round(1).tolist())
    [-1.0, 2.0]
    >>> np.sort(mixture.predict_components([[4.0]]).round(1)).tolist()
    [[1.0, 9.0]]
    """

    _parameter_constraints = {
        **BaseRegressionMixture._parameter_constraints,
        "weights_init": ["array-like", StrOptions({"equal"}), None],
        "coef_init": ["array-like", None],
        "intercept_init": ["array-like", None],
        "noise_variances_init": ["array-like", None],
    }

    weights_: Array
    coef_: Array
    intercept_: Array
    noise_variances_: Array

    def __init__(
        self,
        n_components: int = 1,
        *,
        tol: float = 1e-3,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: InitParams = "short_em",
        restarts: Restarts = "auto",
        random_state: RandomState = None,
        n_threads: int | None = None,
        reg_covar: float = 1e-6,
        weights_init: Values | None = None,
        coef_init: Values | None = None,
        intercept_init: Values | None = None,
        noise_variances_init: Values | None = None,
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
        self.reg_covar = reg_covar
        self.weights_init = weights_init
        self.coef_init = coef_init
        self.intercept_init = intercept_init
        self.noise_variances_init = noise_variances_init
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

    def partial_fit(
        self,
        X: Rows,
        y: Values,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Go on with a batch of rows, which are not needed again: stepwise EM.

        Parameters
        ----------
        X, y, labels, sample_weight : see `fit`

        Returns
        -------
        self : object
            See `GaussianMixture.partial_fit`.
        """
        return self._partial_fit(X, y, labels, sample_weight)

    def _latent(self, fixed: Known = NOTHING_KNOWN, assignment: str = "soft") -> MixtureWeights:
        return MixtureWeights(fixed=fixed, assignment=assignment)

    def _latent_attributes(self, weights: np.ndarray) -> dict[str, Any]:
        return {"weights_": weights}

    def _latent_of_attributes(self) -> np.ndarray:
        return np.asarray(self.weights_, np.float64)

    def _given_of_latent(self) -> dict[str, np.ndarray]:
        if self.weights_init is None:
            return {}
        return {"weights": check_mixture_weights(self.weights_init, int(self.n_components))}

    def _prior_weights(self, covariates: np.ndarray | None) -> np.ndarray:
        return self._model().latent
