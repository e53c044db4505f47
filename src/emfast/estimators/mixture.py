"""The Gaussian mixture; the algorithms are elsewhere."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from emfast.annotations import (
    Array,
    Assignment,
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
from emfast.emissions.gaussian import COVARIANCE_TYPES, Gaussian, GaussianParameters
from emfast.estimators.base.mixture import BaseMixture
from emfast.inputs.arguments import (
    check_array_of,
    check_of_components,
    check_positive_definite,
    inverse,
)
from emfast.parts.known import NOTHING_KNOWN, Known
from emfast.storage.exchange import from_sklearn, to_sklearn


class GaussianMixture(BaseMixture):
    """Gaussian mixture.

    The parameters that scikit-learn's estimator has mean the same here.

    Parameters
    ----------
    n_components : int, default=1
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
    tol : float, default=1e-3
        Converged once the last gain of the mean log-likelihood, and Aitken's estimate of all gain
        still to come, are below. 0 runs exactly `max_iter` iterations. Once it has converged, the
        best of several starts goes on until a hundredth of `tol` is left, within `max_iter`; above
        50,000 rows until a twentieth is left, for ten iterations at most.
    reg_covar : float, default=1e-6
        Added to the variances. With 0, a start whose covariances become singular fails.
    max_iter : int, default=100
        Most iterations, each of which is an M-step or an extrapolation; 0 returns the start. Of
        many rows that is what subsamples lead to, and some of Newton's steps on all rows, which end
        near a maximum where EM would crawl.
    n_init : int, default=1
        Starts, of which the best is kept: one without degenerate components (see Notes) before one
        with them, then the one of the highest likelihood. A complete given start is run once.
    init_params : {"kmeans", "k-means++", "random", "random_from_data", "neighbourhood", \
"short_em"}, default="kmeans"
        How rows are assigned to components at the start; for many rows, a subsample of them.
        On a subsample the best of several after a few iterations of EM goes on, of this kind, or
        for "kmeans" half of them "random_from_data". "neighbourhood" gives one component the rows
        nearest to one drawn at random, and the others those nearest to k-means++ centres;
        "short_em" is the best of four short runs of EM, from the other kinds but "kmeans". Of
        several "kmeans" starts, all but the first are "short_em", because k-means tends to lead to
        the same maximum every time; with many rows k-means takes turns with "k-means++" and
        "random_from_data". With `noise` the first is not k-means either, which takes outliers for
        clusters, but "short_em", or with many rows "neighbourhood". Of several "short_em" starts in
        a race on subsamples, all but the first begin as its runs do, for the race is short runs.
    restarts : {"auto", "full", "race"}, default="auto"
        How starts share the work. "full" runs each on all rows. In a "race" all run on a subsample,
        the better half goes on to one twice as large, and so on up to an eighth of the rows; the
        best, and some that are not significantly worse there, go up to maxima of all rows by
        Newton's steps, and the winner alone runs on them, so that ten starts cost two to three
        times what one does. "auto" is "full" up to 50,000 rows and "race" above. Starts with given
        values that EM may change do not race.

        Starts of many rows leave local maxima where splitting one component and removing another
        leads higher, if nothing is known of any component, there are three at least, and rows are
        not few for all parameters. Where an eighth of the rows is 20,000 or more, these are maxima
        of a subsample: one start leaves those of the first, and the best two of a race those of the
        second and of the last, only one there if components share covariances. Elsewhere they are
        those of all rows, which one start leaves, or the best two of a race. Where `assignment` is
        not "soft" they always are maxima of subsamples, and the best one of a race leaves them.
    random_state : int, RandomState instance or None, default=None
    n_threads : int or None, default=None
        None takes ``OMP_NUM_THREADS``, else the CPUs this process may use. Results do not depend
        on it.
    weights_init : array-like of shape (n_components,) or "equal", optional
        "equal" are the same for all components. This and the next ones may be lists with None for
        components whose values are not given: these begin as without it, and share the weight that
        the others leave.
    means_init : array-like of shape (n_components, n_features), optional
    precisions_init, covariances_init : array-like, optional
        At most one of them, in the shape that `covariance_type` says: (n_components, n_features,
        n_features), (n_features, n_features), (n_components, n_features) or (n_components,).
    fixed : collection of {"weights", "means", "covariances"}, or mapping of them, optional
        What is known: it keeps the values given above. A mapping says for a group True, or which
        components' values are known: ``{"means": [True, False], "weights": True}``. Free weights
        share what the known ones leave. `bic` and `aic` count free parameters.
    prior : mapping, optional
        What is known of the parameters before any row is seen; EM then finds the mode of the
        posterior. What is absent is flat. "weight_concentration_prior" (a number or one for each
        component, at least 1) is the concentration of a Dirichlet distribution of the weights.
        "mean_prior" (of shape (n_features,) or (n_components, n_features)) counts as
        "mean_precision_prior" (a number or one for each component) rows there.
        "covariance_prior" and "degrees_of_freedom_prior" are scale and degrees of freedom of an
        inverse Wishart distribution, in one dimension for every variance of "diag" and "spherical";
        the scale is of shape (n_features, n_features) for "full" and "tied", (n_features,) or ().
    assignment : {"soft", "hard", "stochastic"}, default="soft"
        What the E-step makes of the responsibilities of a row. "soft": all components take part by
        them. "hard": the most probable component takes the row as a whole (classification EM; the
        first one of several), which maximises the classification likelihood; with fixed equal
        weights and fixed equal "spherical" covariances this is k-means. "stochastic": a component
        drawn with these probabilities takes it, so that EM leaves saddles and poor maxima; it runs
        for `max_iter` iterations, whatever `tol` says, and draws the same for any number of
        threads. Predictions and scores are those of the mixture, whatever it was fitted by.
    accelerate : bool, default=False
        Whether every two M-steps are followed by an extrapolation (SQUAREM), which is kept where it
        is better than they are: where EM is slow, iterations are many times fewer.
    noise : bool or float, default=False
        Add a component that is uniform over the bounding box of the rows, so that rows far from all
        others do not pull at components (Fraley and Raftery, Journal of the American Statistical
        Association 97, 2002, section 5). A number is the volume of the box, which is then scaled.
        Its density is taken to be the same beyond the box. It has index -1 in what `predict` and
        `sample` return, and -2 in integer `labels`; a boolean array of labels, and `predict_proba`,
        have a column more for it, the last. What `weights_init` leaves is its weight.
    warm_start : bool, default=False
        Go on from the last fit.
    verbose : int, default=0
        1 prints that a start begins, every `verbose_interval`-th iteration of it, and whether it
        has converged; 2 prints times and gains, too.
    verbose_interval : int, default=10
    progress : bool, default=False
        Show a bar on stderr, with the iterations of all starts on all rows, the mean log-likelihood
        in nats, and Aitken's estimate of what is still to be gained.
    callback : callable, optional
        Called after every iteration on all rows with an `emfast.em.Iteration`: its number, that of
        its start, the objective, what it has gained and what is still to be gained, and the model.
        If it returns True the fit ends there, all starts included: the best model so far is kept,
        and ``converged_`` is False. Nothing warns of it. Ctrl-C does the same, and its
        `KeyboardInterrupt` is raised after that.
    checkpoint : path, optional
        A file that keeps the state of a long fit: all starts, seeds, the iteration. It is written
        as the fit begins, and while it iterates on all rows, once a second at most and for a
        twentieth of the time. Where the process has been killed the same call goes on from there,
        and ends with the same bits. So it does after Ctrl-C or the callback have ended the fit:
        iterations count on, unless `warm_start` goes on from the model that was left. A fit that
        comes to its end removes the file. A file that is damaged, or of a fit with other arguments
        or rows, is a ValueError; `n_threads` and what shows progress may differ. One that cannot be
        read or written is told of once (`CheckpointWarning`), and the fit goes on. A file is that
        of one fit: `emfast.select` takes none.
    incremental : bool, default=False
        Take an M-step after each of up to 32 blocks of rows, instead of after all (Neal and Hinton,
        1998): fewer passes lead as far. One iteration is one pass over all blocks. It never lowers
        a bound of the mean log-likelihood, which ``lower_bounds_`` and ``lower_bound_`` then are,
        and which is the log-likelihood where the fit converges. The statistics of all blocks are in
        memory. Not with `accelerate`, nor with "stochastic" assignment.
    step_exponent, step_offset : float, default=0.6 and 2
        By how much the t-th call of `partial_fit`, t = 0, 1, ..., moves the sufficient statistics
        towards those of its rows: (t + step_offset) ** -step_exponent, at most 1 (Cappé and
        Moulines, 2009). The first call has nothing to move. A `fit` before counts as many calls as
        it has seen rows of the next one.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
    means_ : ndarray of shape (n_components, n_features)
    covariances_, precisions_ : ndarray, in the shape that `covariance_type` says
    precisions_cholesky_ : ndarray
        Upper-triangular C with C C^T the precision; square roots of the precisions for "diag" and
        "spherical".
    noise_weight_ : float, with `noise`; `weights_` and it sum to 1
    noise_bounds_ : ndarray of shape (2, n_features), with `noise`, least and largest values
    converged_ : bool
        Whether the best start came within `tol`, and the fit was not stopped.
    n_iter_ : int
        Iterations of the best start on all rows, those beyond `tol` included.
    lower_bound_ : float
        Mean log-likelihood of the fitted model, in nats; joint with the label for labelled rows,
        and with the component for all rows if the assignment is "hard". With a prior its
        log-density is added to the sum over rows, up to a constant.
    lower_bounds_ : ndarray of shape (n_iter_,), the same after every iteration
    restarts_ : list of Restart
        How every start went: its seed and `init_params`, with which it can be repeated, its trace,
        whether it converged, on how many rows it ran, its degenerate components, and its score,
        which is the mean log-likelihood on rows that are the same for all starts: all rows, or in a
        race some that are drawn for this alone.
    classes_ : ndarray, the names of the first components, where labels were names
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    Notes
    -----
    With many rows (40,000, or more where there are many components and features) a start is
    improved on nested subsamples, of 10,000 rows to an eighth of all. From there Newton's steps on
    all rows, stretched as EM on a subsample says, lead near to a maximum, unless components would
    become degenerate. `max_iter`, `tol` and `lower_bounds_` are about the iterations after that.
    Where the smallest subsample has fewer than ten rows for each parameter of "full" covariances,
    starts on it are tried with diagonal ones. EM begins at given values on all rows, unless they
    are `fixed`.

    An entry that is NaN is missing: the likelihood of its row is that of the entries that are
    known. A feature that no row of a component has keeps the mean and variance it starts with,
    where nothing else tells them ("diag", "spherical"). A row without any entry has the weights as
    responsibilities and the log-likelihood 0.

    The likelihood of a Gaussian mixture has no maximum: a component on a few equal rows, or on rows
    that do not vary in some direction, gains without end as its variance there tends to zero, and
    only `reg_covar` stops it. Such a component is *degenerate*. It is recognised by a variance, in
    some direction (of some column, for "diag"), below 1/100 of that within all other components
    together, if it has the weight of fewer than 3 (n_features + 1) rows (6 for "diag" and
    "spherical"), or if its rows do not vary in that direction at all. Neither the units of the
    columns nor columns in which no component varies matter, and a tight component of many different
    rows is not degenerate. A fit warns (`DegenerateComponentWarning`) if every start ended with
    such a component.

    Examples
    --------
    >>> import numpy as np
    >>> from emfast import GaussianMixture
    >>> X = np.array([[1.0], [1.2], [0.8], [9.0], [9.3], [8.7]])
    >>> mixture = GaussianMixture(2, random_state=0).fit(X)
    >>> sorted(mixture.means_.round(2).ravel().tolist())
    [1.0, 9.0]

    Two labelled rows are enough to say which component is which:

    >>> labels = ["truck", None, None, "car", None, None]
    >>> mixture = GaussianMixture(2, random_state=0).fit(X, labels=labels)
    >>> mixture.classes_[mixture.predict([[1.1]])].item()
    'truck'

    Weights and variances that are known, so that EM has but the means to find:

    >>> from emfast.datasets import make_cars_and_trucks
    >>> X, labels = make_cars_and_trucks(random_state=0)
    >>> mixture = GaussianMixture(2, covariance_type="spherical", fixed=("weights", "covariances"),
    ...                           weights_init=[0.6, 0.4], covariances_init=[1, 4])
    >>> mixture.fit(X, labels=labels).means_.round(2).ravel().tolist()
    [5.05, 9.98]
    """

    _parameter_constraints = {
        **BaseMixture._parameter_constraints,
        "covariance_type": [StrOptions(set(COVARIANCE_TYPES))],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
        "covariances_init": ["array-like", None],
        "noise": ["boolean", Interval(Real, 0.0, None, closed="neither")],
    }

    _defining_attributes = ("means_", "precisions_cholesky_")

    means_: Array
    covariances_: Array
    precisions_: Array
    precisions_cholesky_: Array

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceType = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: InitParams = "kmeans",
        restarts: Restarts = "auto",
        random_state: RandomState = None,
        n_threads: int | None = None,
        weights_init: Values | None = None,
        means_init: Values | None = None,
        precisions_init: Values | None = None,
        covariances_init: Values | None = None,
        fixed: Fixed | None = None,
        prior: Prior | None = None,
        assignment: Assignment = "soft",
        accelerate: bool = False,
        noise: bool | float = False,
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
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.covariances_init = covariances_init
        self.fixed = fixed
        self.prior = prior
        self.assignment = assignment
        self.accelerate = accelerate
        self.noise = noise
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.progress = progress
        self.callback = callback
        self.checkpoint = checkpoint
        self.incremental = incremental
        self.step_exponent = step_exponent
        self.step_offset = step_offset

    def to_sklearn(self):
        """The fitted mixture as scikit-learn's estimator.

        Returns
        -------
        sklearn.mixture.GaussianMixture
            Fitted, with the arguments that it has too; ways to begin that it does not know become
            "kmeans". It scores and predicts as this one does, but for missing entries and labels,
            which it does not know of.

        Raises
        ------
        ValueError
            The mixture has `noise`.
        sklearn.exceptions.NotFittedError

        Examples
        --------
        >>> import numpy as np
        >>> from emfast import GaussianMixture
        >>> X = np.array([[1.0], [1.2], [0.8], [9.0], [9.3], [8.7]])
        >>> mixture = GaussianMixture(2, random_state=0).fit(X)
        >>> bool(np.isclose(mixture.to_sklearn().score(X), mixture.score(X)))
        True
        """
        return to_sklearn(self)

    @classmethod
    def from_sklearn(cls, mixture):
        """A fitted mixture of scikit-learn as this estimator, with the same arguments.

        Parameters
        ----------
        mixture : sklearn.mixture.GaussianMixture, fitted

        Returns
        -------
        GaussianMixture
            Fitted; `restarts_` is empty.

        Raises
        ------
        TypeError
            Something else.
        sklearn.exceptions.NotFittedError
        """
        return from_sklearn(cls, mixture)

    def _emission(self, fixed: Known = NOTHING_KNOWN) -> Gaussian:
        return Gaussian(self.covariance_type, reg_covar=self.reg_covar, fixed=fixed)

    def _simpler_emission(self) -> Gaussian | None:
        if self.covariance_type != "full" or self.reg_covar == 0:
            return None
        return Gaussian("diag", reg_covar=self.reg_covar)

    def _given(self, n_features: int) -> dict[str, np.ndarray]:
        K, D = self.n_components, n_features
        given = {}
        if self.means_init is not None:
            given["means"] = check_of_components(
                "means_init",
                self.means_init,
                lambda name, means: check_array_of(
                    name, means, (K, D), "(n_components, n_features)"
                ),
            )
        if self.covariances_init is not None and self.precisions_init is not None:
            raise ValueError(
                "covariances_init and precisions_init: found both; expected at most one of them"
            )

        def covariances(name: str, values: Any) -> np.ndarray:
            values = check_positive_definite(name, values, self.covariance_type, K, D)
            if name == "covariances_init":
                return values
            diagonal = self.covariance_type in ("diag", "spherical")
            return 1 / values if diagonal else inverse(values)

        for name in ("covariances_init", "precisions_init"):
            values = getattr(self, name)
            if values is not None and self.covariance_type == "tied":
                given["covariances"] = covariances(name, values)
            elif values is not None:
                given["covariances"] = check_of_components(name, values, covariances)
        return given

    def _attributes(self, parameters: GaussianParameters) -> dict[str, np.ndarray]:
        factors = parameters.factors
        if self.covariance_type in ("full", "tied"):
            factors = np.swapaxes(factors, -1, -2)
        return {
            "means_": parameters.means,
            "covariances_": parameters.covariances,
            "precisions_cholesky_": factors,
            "precisions_": self._emission().precisions(parameters),
        }

    def _parameters_of_attributes(self) -> GaussianParameters:
        factors = np.asarray(self.precisions_cholesky_, np.float64)
        if self.covariance_type in ("full", "tied"):
            factors = np.ascontiguousarray(np.swapaxes(factors, -1, -2))
        return self._emission().of_factors(np.array(self.means_, np.float64), factors)
