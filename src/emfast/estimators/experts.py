"""The mixture of experts; the algorithms are elsewhere."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, overload

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
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
from emfast.data import Batch, Observer, Source
from emfast.emissions.base import Emission
from emfast.estimators.base.fitted import FittedModel
from emfast.estimators.base.of_columns import OfOneOrSeveral
from emfast.estimators.base.regression import BaseRegressionMixture
from emfast.inputs.arguments import check_array_of
from emfast.inputs.rows import in_precision
from emfast.inputs.validation import check_rows, check_squares, location_and_scale
from emfast.latent import Gate
from emfast.latent.gate import GateParameters
from emfast.parts.known import NOTHING_KNOWN, Known
from emfast.passes import conditional_means
from emfast.storage.stored import POSITIVE, Maybe, Numbers, Record, Storable
from emfast.threads import resolve_threads

LINES = ("coef_init", "intercept_init", "noise_variances_init")

LINEAR = "linear"


class MixtureOfExperts(OfOneOrSeveral, BaseRegressionMixture):
    r"""Mixture of experts: a gate tells by the features which of several explains the target.

    .. math:: p(y | x) = \sum_k p(z = k | x)\, p(y | x, k), \qquad
        p(z = k | x) \propto \exp(b_k + x^T v_k)

    Parameters
    ----------
    n_components : int, default=1
    expert : "linear", Emission, or list of (name, emission, columns), default="linear"
        "linear": every expert is a linear regression on the features. Otherwise experts are
        components as of a mixture, and y, of shape (n_samples,) or (n_samples, n_targets), is the
        data; the features are *concomitant variables*, which only tell how probable components
        are. One of `emfast.emissions` describes all columns of y, or several, which are independent
        given the component, describe some columns each: see `Mixture`.
    tol, max_iter, n_init : see `GaussianMixture`
    init_params : see `LinearRegressionMixture`, and for other experts `GaussianMixture`
    restarts, random_state, n_threads : see `GaussianMixture`
    reg_covar : float, default=1e-6
        Added to the noise variances of linear experts.
    gate_coef_init : array-like of shape (n_components, n_features), optional
    gate_intercept_init : array-like of shape (n_components,), optional
    coef_init, intercept_init, noise_variances_init : see `LinearRegressionMixture`
    expert_init : mapping, optional
        Starting values of other experts by their groups of parameters, as in ``{"means": ...}``, or
        of several emissions by "name.group".
    fixed : collection of {"gate_coef", "gate_intercept", "coef", "intercept", "noise_variances"}, \
or mapping of them, optional
        What is known: see `GaussianMixture`; of the gate only as a whole. Other experts have their
        own groups.
    prior : mapping, optional
        "gate_coef_precision_prior", by default 0.01: the coefficients of the gate, for features in
        their standard deviations (``gate_scale_``), are Gaussian about 0 with this precision.
        Intercepts are free. Those of experts: see `LinearRegressionMixture`, or the mixtures of
        these emissions.
    assignment, accelerate, warm_start : see `GaussianMixture`
    verbose, verbose_interval, progress, callback, checkpoint : see `GaussianMixture`

    Attributes
    ----------
    gate_coef_ : ndarray of shape (n_components, n_features)
        They sum to 0 over components, unless they are known.
    gate_intercept_ : ndarray of shape (n_components,)
    gate_location_, gate_scale_ : ndarray of shape (n_features,)
        Means and standard deviations of the features, over the rows of positive weight.
    coef_, intercept_, noise_variances_ : see `LinearRegressionMixture`, if experts are linear
    expert_ : the parameters of other experts, as in ``expert_.means``, or of several emissions a \
dict of them by name
    categories_ : dict, by name the categories of categorical columns; one emission is "expert"
    converged_, n_iter_, lower_bound_, lower_bounds_, restarts_, classes_, n_features_in_, \
feature_names_in_ : see `GaussianMixture`

    Notes
    -----
    The M-step of the gate is one step of iteratively reweighted least squares (Newton), from
    gradient and Hessian that the E-step collects: generalised EM. Where it has lowered the
    objective it is halved, and after three times replaced by a step with Boehning's bound on the
    Hessian, which cannot. The M-step of the experts is exact.

    Where features separate components, coefficients of the gate would grow without end; the prior
    bounds them. That of two components is the logistic regression of scikit-learn on standardised
    features with ``C`` twice one over the precision, which is then that of the difference of their
    coefficients.

    References
    ----------
    Jordan, M. I. and Jacobs, R. A. (1994). Hierarchical mixtures of experts and the EM algorithm.
    Neural Computation 6, 181-214.
    Boehning, D. (1992). Multinomial logistic regression algorithm. Annals of the Institute of
    Statistical Mathematics 44, 197-200.
    Dayton, C. M. and Macready, G. B. (1988). Concomitant-variable latent-class models. Journal of
    the American Statistical Association 83, 173-178.

    Examples
    --------
    >>> import numpy as np
    >>> from emfast import MixtureOfExperts
    >>> x = np.linspace(-3, 3, 61)
    >>> y = np.abs(x) + 0.01 * np.sin(50 * x)
    >>> experts = MixtureOfExperts(2, random_state=0).fit(x[:, None], y)
    >>> sorted(experts.coef_.ravel().round(1).tolist())
    [-1.0, 1.0]
    >>> experts.predict([[-2.0], [2.5]]).round(1).tolist()
    [2.0, 2.5]

    Classes of people by what they answer, the probabilities of which depend on their age:

    >>> from emfast.emissions import Bernoulli
    >>> age = np.repeat([20.0, 30.0, 60.0, 70.0], 5)[:, None]
    >>> answers = np.repeat([[1, 1, 0], [0, 0, 1]], 10, axis=0)
    >>> classes = MixtureOfExperts(2, expert=Bernoulli(), random_state=0).fit(age, answers)
    >>> classes.predict([[25.0], [65.0]]).round(1).tolist()
    [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """

    _emissions_argument = "expert"
    _stored = {
        "gate_location_": Numbers("n_features_in_"),
        "gate_scale_": Numbers("n_features_in_", rule=POSITIVE),
        "targets": Maybe(Record(dict, is_flat=bool, **Storable._stored)),
    }
    _parameter_constraints = {
        **BaseRegressionMixture._parameter_constraints,
        "expert": [StrOptions({LINEAR}), Emission, list, tuple],
        "gate_coef_init": ["array-like", None],
        "gate_intercept_init": ["array-like", None],
        "coef_init": ["array-like", None],
        "intercept_init": ["array-like", None],
        "noise_variances_init": ["array-like", None],
        "expert_init": [Mapping, None],
    }

    gate_coef_: Array
    gate_intercept_: Array
    gate_location_: Array
    gate_scale_: Array
    coef_: Array
    intercept_: Array
    noise_variances_: Array
    expert_: Any
    categories_: dict[str, list[Array]]

    def __init__(
        self,
        n_components: int = 1,
        *,
        expert: Any = LINEAR,
        tol: float = 1e-3,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: InitParams = "short_em",
        restarts: Restarts = "auto",
        random_state: RandomState = None,
        n_threads: int | None = None,
        reg_covar: float = 1e-6,
        gate_coef_init: Values | None = None,
        gate_intercept_init: Values | None = None,
        coef_init: Values | None = None,
        intercept_init: Values | None = None,
        noise_variances_init: Values | None = None,
        expert_init: Mapping[str, Any] | None = None,
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
    ) -> None:
        self.n_components = n_components
        self.expert = expert
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.restarts = restarts
        self.random_state = random_state
        self.n_threads = n_threads
        self.reg_covar = reg_covar
        self.gate_coef_init = gate_coef_init
        self.gate_intercept_init = gate_intercept_init
        self.coef_init = coef_init
        self.intercept_init = intercept_init
        self.noise_variances_init = noise_variances_init
        self.expert_init = expert_init
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

    # The gate

    def _latent(self, fixed: Known = NOTHING_KNOWN, assignment: str = "soft") -> Gate:
        # Not known before the features are, nor needed to tell what there is of a gate.
        place = (getattr(self, f"gate_{name}_", np.zeros(0)) for name in ("location", "scale"))
        return Gate(*place, fixed=fixed, assignment=assignment)

    def _kind(self) -> str:
        return f"{super()._kind()} behind a gate"

    def _observed(self, X: Any, y: Any, labels: Any, sample_weight: Any) -> Batch | Source:
        rows = super()._observed(X, y, labels, sample_weight)
        # Of a stream, a sample tells what the covariates are measured in.
        batch = rows if isinstance(rows, Batch) else rows.kept
        check_squares(batch.covariates, batch.weights)
        self.gate_location_, self.gate_scale_ = location_and_scale(batch.covariates, batch.weights)
        return rows

    def _latent_attributes(self, parameters: GateParameters) -> dict[str, Any]:
        return {"gate_coef_": parameters.coef, "gate_intercept_": parameters.intercept}

    def _latent_of_attributes(self) -> GateParameters:
        return replace(
            self._float64_model.latent,
            coef=np.array(self.gate_coef_, np.float64),
            intercept=np.array(self.gate_intercept_, np.float64),
        )

    def _given_of_latent(self) -> dict[str, np.ndarray]:
        K, given = int(self.n_components), {}
        for group, shape, meaning in (
            ("gate_coef", (K, self.n_features_in_), "(n_components, n_features)"),
            ("gate_intercept", (K,), "(n_components,)"),
        ):
            values = getattr(self, f"{group}_init")
            if values is not None:
                given[group] = check_array_of(f"{group}_init", values, shape, meaning)
        return given

    def _prior_weights(self, covariates: np.ndarray | None) -> np.ndarray:
        return self._model().latent.probabilities(covariates.astype(np.float64, copy=False))

    # The experts

    @property
    def _is_linear(self) -> bool:
        return isinstance(self.expert, str)

    @property
    def _has_parts(self) -> bool:
        return not self._is_linear

    @property
    def _defining_attributes(self) -> tuple[str, ...]:
        return BaseRegressionMixture._defining_attributes if self._is_linear else ()

    @property
    def _table(self) -> BaseEstimator:
        """What knows names and number of the columns of y, as an estimator does those of X."""
        return getattr(self, "_targets", BaseEstimator())

    def _emission(self, fixed: Known = NOTHING_KNOWN) -> Emission:
        if self._is_linear:
            return BaseRegressionMixture._emission(self, fixed)
        return super()._emission(fixed)

    def _known(self) -> Known:
        return BaseRegressionMixture._known(self) if self._is_linear else super()._known()

    def _learn(self, observer: Observer) -> None:
        # Experts learn of y, with the first rows.
        FittedModel._learn(self, observer)

    def _validated_pair(self, X: Any, y: Any, *, reset: bool) -> Batch:
        if self._is_linear:
            return super()._validated_pair(X, y, reset=reset)
        features, _ = check_rows(self, X, [np.float64, np.float32], reset=reset)
        with _messages_about_y():
            batch = self._validated_targets(y, reset)
        if batch.n_rows != len(features):
            raise ValueError(
                f"y: found {batch.n_rows} rows; expected {len(features)}: X and y have "
                "inconsistent numbers of samples"
            )
        dtype = np.result_type(features.dtype, batch.dtype)
        covariates = features.astype(dtype, copy=False)
        return replace(batch, X=in_precision(batch.X, dtype), covariates=covariates)

    def _validated_targets(self, y: Any, reset: bool) -> Batch:
        """y as the experts take it."""
        y, is_flat = _with_two_dimensions(y)
        if reset:
            self._targets, self._is_flat = BaseEstimator(), is_flat
        else:
            n_columns, expected = np.shape(y)[1], self._targets.n_features_in_
            if n_columns != expected:
                raise ValueError(
                    f"X: found {n_columns} columns; expected {expected}, as in the fit"
                )
        return self._validate_rows(y, reset=reset)

    def _state(self) -> dict[str, Any]:
        if self._is_linear:
            return super()._state()
        known = vars(self._targets)
        of_table = {name: known[name] for name in Storable._stored if name in known}
        return {**super()._state(), "targets": {"is_flat": self._is_flat, **of_table}}

    def _take_state(self, state: dict[str, Any]) -> None:
        targets = state.pop("targets", None)
        if self._is_linear != (targets is None):
            raise ValueError("targets: expected them where experts are not linear")
        if targets is not None:
            self._targets, self._is_flat = BaseEstimator(), targets.pop("is_flat")
            vars(self._targets).update(targets)
        super()._take_state(state)

    def _n_columns_of_emission(self) -> int:
        if self._is_linear:
            return BaseRegressionMixture._n_columns_of_emission(self)
        return super()._n_columns_of_emission()

    def _problem(self, observed: Batch | Source) -> tuple[Any, dict[str, np.ndarray]]:
        if self._is_linear:
            return super()._problem(observed)
        with _messages_about_y():
            return super()._problem(observed)

    def _given(self, n_features: int) -> dict[str, np.ndarray]:
        others = ("expert_init",) if self._is_linear else LINES
        for name in others:
            if getattr(self, name) is not None:
                kind = "linear" if self._is_linear else "not linear"
                raise ValueError(f"{name}: found values; expected None, for experts are {kind}")
        if self._is_linear:
            return BaseRegressionMixture._given(self, n_features)
        return super()._given(n_features)

    def _argument(self, group: str) -> str:
        return f"{group}_init" if self._is_linear else super()._argument(group)

    def _attributes(self, parameters: Any) -> dict[str, Any]:
        if self._is_linear:
            return BaseRegressionMixture._attributes(self, parameters)
        return super()._attributes(parameters)

    def _parameters_of_attributes(self) -> Any:
        if self._is_linear:
            return BaseRegressionMixture._parameters_of_attributes(self)
        return super()._parameters_of_attributes()

    def _called(self, column: int) -> str:
        return f"column {column}" if self._is_linear else super()._called(column)

    def __sklearn_tags__(self):
        tags = BaseRegressionMixture.__sklearn_tags__(self)
        tags.target_tags.multi_output = not self._is_linear
        tags.regressor_tags.poor_score = not self._is_linear
        return tags

    @overload
    def predict(self, X: Rows, *, out: None = None) -> Array: ...
    @overload
    def predict(self, X: Rows, *, out: PathName) -> PathName: ...
    def predict(self, X: Rows, *, out: PathName | None = None) -> Array | PathName:
        """The mean of the target: those of the experts, weighted by the gate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        out : see `LinearRegressionMixture.predict`

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_targets) if y was
            Of `Categorical` experts the most probable category. Or `out`, whose columns are then
            "prediction0", "prediction1", ...
        """
        return super().predict(X, out=out)

    def _means(self, X: np.ndarray) -> Array:
        if self._is_linear:
            return super()._means(X)
        parts = [self._estimates(self._prior_weights(rows)) for _, rows in self._chunks(X)]
        return np.concatenate(parts)

    def predict_components(self, X: Rows) -> Array:
        """The mean of the target by every expert.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components), or (n_samples, n_components, n_targets) if y \
had columns
            The same for every row, if experts are not linear.
        """
        return super().predict_components(X)

    def _means_of_components(self, X: np.ndarray) -> Array:
        if self._is_linear:
            return super()._means_of_components(X)
        found = self._estimates(np.eye(int(self.n_components)))
        return np.repeat(found[None], len(X), axis=0)

    def _estimates(self, responsibilities: np.ndarray) -> np.ndarray:
        """What targets are expected to be where components have these probabilities."""
        n, emission = len(responsibilities), self._emission()
        nothing = np.full((n, self._targets.n_features_in_), None, object)
        means = partial(conditional_means, n_threads=resolve_threads(self.n_threads))
        described = self._described_columns()
        blocks = [
            (self._decoded(column, values)[:, None], [int(described[column])])
            for column, _, values in emission.estimated(
                self._model().emission, self._validated_rows(nothing).X, responsibilities, means
            )
        ]
        return self._as_given(self._assembled(blocks))

    def _as_given(self, table: np.ndarray) -> np.ndarray:
        """A table of targets with as many dimensions as y had."""
        return table[:, 0] if self._is_flat else table

    def _drawn(
        self, X: np.ndarray, components: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        if self._is_linear:
            return super()._drawn(X, components, random_state)
        emission, parameters = self._emission(), self._model().emission
        counts = np.bincount(components, minlength=int(self.n_components))
        table = self._as_columns(
            [emission.draw(parameters, k, n, random_state) for k, n in enumerate(counts)]
        )
        # Component after component, and then every row where it belongs.
        found = np.empty_like(table)
        found[np.argsort(components, kind="stable")] = table
        return self._as_given(found)

    def standard_errors(
        self,
        X: Rows,
        y: Values,
        *,
        labels: Values | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> dict[str, Array]:
        """Standard errors of linear experts: see `LinearRegressionMixture.standard_errors`."""
        if not self._is_linear:
            raise ValueError("standard_errors: expected linear experts")
        return super().standard_errors(X, y, labels=labels, sample_weight=sample_weight)


def _with_two_dimensions(y: Any) -> tuple[Any, bool]:
    """y as a table, and whether it had but one dimension."""
    if hasattr(y, "to_frame"):
        return y.to_frame(), True
    if hasattr(y, "columns") or sp.issparse(y):
        return y, False
    if isinstance(y, list | tuple):
        is_flat = np.ndim(y) == 1
        return ([[value] for value in y] if is_flat else y), is_flat
    y = np.asarray(y)
    return (y[:, None] if y.ndim == 1 else y), y.ndim == 1


@contextmanager
def _messages_about_y() -> Iterator[None]:
    """What messages call X are rows of y."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if not str(error).startswith("X: "):
            raise
        raise type(error)(f"y: {str(error)[3:]}") from error
