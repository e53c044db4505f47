"""The hidden Markov models; the algorithms are elsewhere."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from emfast.annotations import (
    Array,
    Callback,
    CovarianceType,
    Fixed,
    InitParams,
    PathName,
    Prior,
    RandomState,
    Restarts,
    Values,
)
from emfast.emissions.base import Emission
from emfast.emissions.bernoulli import Bernoulli
from emfast.emissions.counts import Poisson
from emfast.emissions.gaussian import COVARIANCE_TYPES, Gaussian, GaussianParameters
from emfast.estimators.base.hmm import BaseHMM
from emfast.estimators.base.of_columns import OfOneOrSeveral
from emfast.estimators.base.one_parameter import OneParameter
from emfast.estimators.categorical import OfCategories
from emfast.parts.known import NOTHING_KNOWN, Known


class GaussianHMM(BaseHMM):
    """Hidden Markov model with Gaussian emissions.

    The names of attributes and methods are those of hmmlearn.

    Parameters
    ----------
    n_components : int, default=1
        How many states there are.
    covariance_type : {"diag", "full", "tied", "spherical"}, default="diag"
    tol : float, default=1e-5
        Converged once the last gain of the mean log-likelihood of a row, and Aitken's estimate of
        all gain still to come, are below. 0 runs exactly `max_iter` iterations.
    reg_covar : float, default=1e-6
        Added to the variances. With 0, a start whose covariances become singular fails.
    max_iter : int, default=200
    n_init, init_params, restarts, random_state, n_threads : see `GaussianMixture`
        Rows are assigned to states as if they were independent, and how often one state follows
        another is counted among the rows that have been assigned. Where some starts or transitions
        are impossible, states then get the numbers that these counts suit best. Subsamples have
        whole sequences, and pieces of long ones.
    startprob_init : array-like of shape (n_components,), optional
    transmat_init : array-like of shape (n_components, n_components), optional
        The probabilities of transitions, from the state of the row to that of the column. It may be
        a list with None for states whose row is not given. Probabilities that are exactly 0 here
        and in `startprob_init` stay 0.
    means_init : array-like of shape (n_components, n_features), optional
        It may be a list with None for states that are not given, as may be the next one.
    covars_init : array-like, optional
        In the shape that `covariance_type` says, see ``covars_``.
    fixed : collection of {"startprob", "transmat", "means", "covars"}, or mapping of them, optional
        What is known: it keeps the values given above. A mapping says for a group True, or of which
        states the values are known, ``{"transmat": [True, False]}`` the transitions from the first.
        `bic` and `aic` count free parameters.
    prior : mapping, optional
        What is known of the parameters before any row is seen; EM then finds the mode of the
        posterior. "startprob_prior" (a number or of shape (n_components,)) and "transmat_prior" (a
        number or of shape (n_components, n_components)) are concentrations of Dirichlet
        distributions, at least 1; transitions that are given as 0 have none. "mean_prior",
        "mean_precision_prior", "covariance_prior", "degrees_of_freedom_prior": see
        `GaussianMixture`.
    assignment : {"soft", "hard"}, default="soft"
        "soft" is Baum-Welch. "hard" is Viterbi training: the most probable path of every sequence
        takes its rows as a whole, and what is maximised is the density of rows and path together.
    accelerate : bool, default=False
        Whether every two M-steps are followed by an extrapolation (SQUAREM), which is kept where it
        is better than they are.
    warm_start : bool, default=False
        Go on from the last fit.
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianMixture`
    incremental, step_exponent, step_offset : see `GaussianMixture`

    Attributes
    ----------
    startprob_ : ndarray of shape (n_components,)
    transmat_ : ndarray of shape (n_components, n_components)
        Rows sum to 1.
    means_ : ndarray of shape (n_components, n_features)
    covars_ : ndarray
        Of shape (n_components,) for "spherical", (n_components, n_features) for "diag",
        (n_features, n_features) for "tied", (n_components, n_features, n_features) for "full".
    lower_bound_ : float
        Log-likelihood of the fitted model divided by the number of rows, in nats; with weights, by
        that of all rows with the weights of their sequences. Joint with the labels, and with the
        most probable paths if the assignment is "hard". With a prior its log-density is added to
        the sum over sequences, up to a constant.
    converged_, n_iter_, lower_bounds_, restarts_, classes_, n_features_in_, feature_names_in_ : \
see `GaussianMixture`

    Notes
    -----
    An entry that is NaN is missing: the likelihood of its row is that of the entries that are
    known. A row without any entry says nothing of its state, which the rows about it tell.

    What is fitted is what the methods are asked with: `lengths` say which rows of X are a sequence.
    One sequence may be very long; of its posteriors, `fit` and `score` hold few at a time. A
    `sklearn.pipeline.Pipeline` hands on as `lengths` what its own `fit` and `score` get as y.

    Examples
    --------
    >>> import numpy as np
    >>> from emfast import GaussianHMM
    >>> X = np.array([[0.1], [-0.1], [5.1], [4.9], [5.0], [0.2], [0.0], [-0.1], [5.2], [4.8]])
    >>> hmm = GaussianHMM(2, means_init=[[0.0], [5.0]], random_state=0).fit(X, lengths=[5, 5])
    >>> hmm.predict(X, lengths=[5, 5]).tolist()
    [0, 0, 1, 1, 1, 0, 0, 0, 1, 1]
    >>> hmm.transmat_.round(2).tolist()
    [[0.6, 0.4], [0.0, 1.0]]
    """

    _parameter_constraints = {
        **BaseHMM._parameter_constraints,
        "covariance_type": [StrOptions(set(COVARIANCE_TYPES))],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "means_init": ["array-like", None],
        "covars_init": ["array-like", None],
    }

    _defining_attributes = ("means_", "covars_")

    means_: Array
    covars_: Array

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceType = "diag",
        tol: float = 1e-5,
        reg_covar: float = 1e-6,
        max_iter: int = 200,
        n_init: int = 1,
        init_params: InitParams = "kmeans",
        restarts: Restarts = "auto",
        random_state: RandomState = None,
        n_threads: int | None = None,
        startprob_init: Values | None = None,
        transmat_init: Values | None = None,
        means_init: Values | None = None,
        covars_init: Values | None = None,
        fixed: Fixed | None = None,
        prior: Prior | None = None,
        assignment: Literal["soft", "hard"] = "soft",
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
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.restarts = restarts
        self.random_state = random_state
        self.n_threads = n_threads
        self.startprob_init = startprob_init
        self.transmat_init = transmat_init
        self.means_init = means_init
        self.covars_init = covars_init
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

    def _emission(self, fixed: Known = NOTHING_KNOWN) -> Gaussian:
        return Gaussian(self.covariance_type, reg_covar=self.reg_covar, fixed=fixed)

    def _simpler_emission(self) -> Gaussian | None:
        if self.covariance_type != "full" or self.reg_covar == 0:
            return None
        return Gaussian("diag", reg_covar=self.reg_covar)

    def _named(self, group: str) -> str:
        return "covars" if group == "covariances" else group

    def _argument(self, group: str) -> str:
        return f"{self._named(group)}_init"

    def _attributes(self, parameters: GaussianParameters) -> dict[str, np.ndarray]:
        return {"means_": parameters.means, "covars_": parameters.covariances}

    def _parameters_of_attributes(self) -> GaussianParameters:
        means, covars = (np.array(each, np.float64) for each in (self.means_, self.covars_))
        return self._emission().parameters(means, covars)


class BernoulliHMM(OneParameter, BaseHMM):
    """Hidden Markov model of independent binary features.

    Parameters
    ----------
    n_components : int, default=1
    tol, max_iter, n_init, init_params, restarts, random_state, n_threads : see `GaussianHMM`
    startprob_init, transmat_init : see `GaussianHMM`
    probabilities_init : array-like of shape (n_components, n_features), optional
        It may be a list with None for states that are not given.
    fixed : collection of {"startprob", "transmat", "probabilities"}, or mapping of them, optional
        What is known: see `GaussianHMM`.
    prior : mapping, optional
        "startprob_prior" and "transmat_prior", see `GaussianHMM`, and "probabilities_prior", see
        `BernoulliMixture`.
    assignment, accelerate, warm_start : see `GaussianHMM`
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianHMM`
    incremental, step_exponent, step_offset : see `GaussianHMM`

    Attributes
    ----------
    startprob_, transmat_ : see `GaussianHMM`
    probabilities_ : ndarray of shape (n_components, n_features)
        p(x_d = 1 | state); may be exactly 0 or 1.
    converged_, n_iter_, lower_bound_, lower_bounds_, restarts_, classes_, n_features_in_, \
feature_names_in_ : see `GaussianHMM`

    Examples
    --------
    >>> import numpy as np
    >>> from emfast import BernoulliHMM
    >>> rain = np.array([[1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0]]).T
    >>> hmm = BernoulliHMM(2, probabilities_init=[[0.9], [0.1]], tol=1e-6).fit(rain)
    >>> hmm.predict(rain).tolist()
    [0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1]
    """

    _parameter_constraints = {
        **BaseHMM._parameter_constraints,
        "probabilities_init": ["array-like", None],
    }

    _defining_attributes = ("probabilities_",)

    probabilities_: Array

    def __init__(
        self,
        n_components: int = 1,
        *,
        tol: float = 1e-5,
        max_iter: int = 200,
        n_init: int = 1,
        init_params: InitParams = "kmeans",
        restarts: Restarts = "auto",
        random_state: RandomState = None,
        n_threads: int | None = None,
        startprob_init: Values | None = None,
        transmat_init: Values | None = None,
        probabilities_init: Values | None = None,
        fixed: Fixed | None = None,
        prior: Prior | None = None,
        assignment: Literal["soft", "hard"] = "soft",
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
        self.startprob_init = startprob_init
        self.transmat_init = transmat_init
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


class CategoricalHMM(OfCategories, BaseHMM):
    """Hidden Markov model of independent categorical features.

    Parameters
    ----------
    n_components : int, default=1
    categories : "auto" or list of array-like, default="auto"
        The values of every column: see `CategoricalMixture`.
    tol, max_iter, n_init, init_params, restarts, random_state, n_threads : see `GaussianHMM`
    startprob_init, transmat_init : see `GaussianHMM`
    probabilities_init : list of array-like of shape (n_components, levels), optional
        One for every column, whose rows sum to 1: see `CategoricalMixture`.
    fixed : collection of {"startprob", "transmat", "probabilities"}, or mapping of them, optional
        What is known: see `GaussianHMM`.
    prior : mapping, optional
        "startprob_prior" and "transmat_prior", see `GaussianHMM`, and "probabilities_prior", see
        `CategoricalMixture`.
    assignment, accelerate, warm_start : see `GaussianHMM`
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianHMM`
    incremental, step_exponent, step_offset : see `GaussianHMM`

    Attributes
    ----------
    startprob_, transmat_ : see `GaussianHMM`
    probabilities_ : list of ndarray of shape (n_components, levels)
        For every column p(x_d = category | state); may be exactly 0 or 1.
    categories_ : list of ndarray of shape (levels,)
    converged_, n_iter_, lower_bound_, lower_bounds_, restarts_, classes_, n_features_in_, \
feature_names_in_ : see `GaussianHMM`

    Notes
    -----
    X is an array or a data frame with a column for every feature, as of `CategoricalMixture`.

    Examples
    --------
    >>> from emfast import CategoricalHMM
    >>> days = "walk walk shop walk clean clean shop clean clean walk walk walk".split()
    >>> X = [[day] for day in days]
    >>> labels = ["sunny"] + 3 * [None] + ["rainy"] + 7 * [None]
    >>> hmm = CategoricalHMM(2, random_state=0).fit(X, labels=labels)
    >>> " ".join(hmm.classes_[hmm.predict(X)])
    'sunny sunny sunny sunny rainy rainy rainy rainy rainy sunny sunny sunny'
    """

    _parameter_constraints = {
        **BaseHMM._parameter_constraints,
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
        tol: float = 1e-5,
        max_iter: int = 200,
        n_init: int = 1,
        init_params: InitParams = "kmeans",
        restarts: Restarts = "auto",
        random_state: RandomState = None,
        n_threads: int | None = None,
        startprob_init: Values | None = None,
        transmat_init: Values | None = None,
        probabilities_init: Values | None = None,
        fixed: Fixed | None = None,
        prior: Prior | None = None,
        assignment: Literal["soft", "hard"] = "soft",
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
        self.startprob_init = startprob_init
        self.transmat_init = transmat_init
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


class PoissonHMM(OneParameter, BaseHMM):
    """Hidden Markov model of independent counts without a bound.

    Parameters
    ----------
    n_components : int, default=1
    tol, max_iter, n_init, init_params, restarts, random_state, n_threads : see `GaussianHMM`
    startprob_init, transmat_init : see `GaussianHMM`
    rates_init : array-like of shape (n_components, n_features), optional
        It may be a list with None for states that are not given.
    fixed : collection of {"startprob", "transmat", "rates"}, or mapping of them, optional
        What is known: see `GaussianHMM`.
    prior : mapping, optional
        "startprob_prior" and "transmat_prior", see `GaussianHMM`, and "rates_prior", see
        `PoissonMixture`.
    assignment, accelerate, warm_start : see `GaussianHMM`
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianHMM`
    incremental, step_exponent, step_offset : see `GaussianHMM`

    Attributes
    ----------
    startprob_, transmat_ : see `GaussianHMM`
    rates_ : ndarray of shape (n_components, n_features)
        Mean counts; may be exactly 0.
    converged_, n_iter_, lower_bound_, lower_bounds_, restarts_, classes_, n_features_in_, \
feature_names_in_ : see `GaussianHMM`

    Examples
    --------
    Years with many or few major earthquakes (Zucchini, MacDonald and Langrock, Hidden Markov
    Models for Time Series, 2nd edition, 2016, table 1.1, the first 30 years):

    >>> import numpy as np
    >>> from emfast import PoissonHMM
    >>> counts = [13, 14, 8, 10, 16, 26, 32, 27, 18, 32, 36, 24, 22, 23, 22,
    ...           18, 25, 21, 21, 14, 8, 11, 14, 23, 18, 17, 19, 20, 22, 19]
    >>> hmm = PoissonHMM(2, random_state=0).fit(np.array(counts)[:, None])
    >>> sorted(hmm.rates_.ravel().round().tolist())
    [12.0, 23.0]
    """

    _parameter_constraints = {
        **BaseHMM._parameter_constraints,
        "rates_init": ["array-like", None],
    }

    _defining_attributes = ("rates_",)

    rates_: Array

    def __init__(
        self,
        n_components: int = 1,
        *,
        tol: float = 1e-5,
        max_iter: int = 200,
        n_init: int = 1,
        init_params: InitParams = "kmeans",
        restarts: Restarts = "auto",
        random_state: RandomState = None,
        n_threads: int | None = None,
        startprob_init: Values | None = None,
        transmat_init: Values | None = None,
        rates_init: Values | None = None,
        fixed: Fixed | None = None,
        prior: Prior | None = None,
        assignment: Literal["soft", "hard"] = "soft",
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
        self.startprob_init = startprob_init
        self.transmat_init = transmat_init
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

    def _emission(self, fixed: Known = NOTHING_KNOWN) -> Poisson:
        return Poisson(fixed=fixed)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.input_tags.sparse = True
        return tags


class HMM(OfOneOrSeveral, BaseHMM):
    """Hidden Markov model with any emission.

    Parameters
    ----------
    n_components : int, default=1
    emission : Emission, or list of (name, emission, columns)
        One of those in `emfast.emissions`, which describes all columns of X, or several, which are
        independent given the state, with the columns they describe: see `Mixture`.
    tol, max_iter, n_init, init_params, restarts, random_state, n_threads : see `GaussianHMM`
    startprob_init, transmat_init : see `GaussianHMM`
    emission_init : mapping, optional
        Starting values by the names of groups, as in ``{"rates": ...}``, or of several emissions
        by "name.group".
    fixed : collection of "startprob", "transmat" and the names above, or mapping of them, optional
        What is known: see `GaussianHMM`.
    prior : mapping, optional
        "startprob_prior" and "transmat_prior", see `GaussianHMM`, and that of the emission, or of
        several by "name.", as in "name.mean_prior".
    assignment, accelerate, warm_start : see `GaussianHMM`
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianHMM`
    incremental, step_exponent, step_offset : see `GaussianHMM`

    Attributes
    ----------
    startprob_, transmat_ : see `GaussianHMM`
    emission_ : the fitted parameters, as in ``hmm.emission_.rates``, or of several emissions a dict
        of them by name
    categories_ : dict, by name the categories of categorical columns
    converged_, n_iter_, lower_bound_, lower_bounds_, restarts_, classes_, n_features_in_, \
feature_names_in_ : see `GaussianHMM`

    Examples
    --------
    >>> import numpy as np
    >>> from emfast import HMM
    >>> from emfast.emissions import Exponential, Gaussian, Poisson
    >>> waits = np.random.default_rng(0).exponential(np.repeat([1, 50, 1], 300))[:, None]
    >>> hmm = HMM(2, emission=Exponential(), random_state=0).fit(waits)
    >>> sorted((1 / hmm.emission_.rates).ravel().round().tolist())
    [1.0, 49.0]

    >>> X = np.array([[0.1, 3], [0.2, 2], [0.0, 1], [9.1, 30], [9.3, 35], [8.8, 33]])
    >>> hmm = HMM(2, emission=[("size", Gaussian("diag"), [0]), ("visits", Poisson(), [1])],
    ...           random_state=0).fit(X)
    >>> sorted(hmm.emission_["visits"].rates.ravel().round(1).tolist())
    [2.0, 32.7]
    """

    _parameter_constraints = {
        **BaseHMM._parameter_constraints,
        "emission": [Emission, list, tuple, None],
        "emission_init": [Mapping, None],
    }

    _defining_attributes = ()
    _emissions_argument = "emission"

    emission_: Any
    categories_: dict[str, list[Array]]

    def __init__(
        self,
        n_components: int = 1,
        *,
        emission: Emission | Sequence[tuple[str, Emission, Any]] | None = None,
        tol: float = 1e-5,
        max_iter: int = 200,
        n_init: int = 1,
        init_params: InitParams = "kmeans",
        restarts: Restarts = "auto",
        random_state: RandomState = None,
        n_threads: int | None = None,
        startprob_init: Values | None = None,
        transmat_init: Values | None = None,
        emission_init: Any = None,
        fixed: Fixed | None = None,
        prior: Prior | None = None,
        assignment: Literal["soft", "hard"] = "soft",
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
        self.emission = emission
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.restarts = restarts
        self.random_state = random_state
        self.n_threads = n_threads
        self.startprob_init = startprob_init
        self.transmat_init = transmat_init
        self.emission_init = emission_init
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
