"""The mixture of experts; the algorithms are elsewhere."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import StrOptions

from emfast.arguments import check_array_of
from emfast.base_regression import BaseRegressionMixture
from emfast.data import Batch
from emfast.emissions.base import Emission
from emfast.emissions.categorical import Categorical
from emfast.emissions.product import Product
from emfast.known import NOTHING_KNOWN, Known
from emfast.latent import Gate
from emfast.latent.gate import GateParameters
from emfast.problem import conditional_means
from emfast.rows import in_precision
from emfast.threads import resolve_threads
from emfast.validation import (
    Block,
    check_columns,
    check_rows,
    check_squares,
    column_called,
    location_and_scale,
)

LINEAR = "linear"


class MixtureOfExperts(BaseRegressionMixture):
    r"""Mixture of experts: a gate tells by the features which of several explains the target.

    .. math:: p(y | x) = \sum_k p(z = k | x)\, p(y | x, k), \qquad
        p(z = k | x) \propto \exp(b_k + x^T v_k)

    Parameters
    ----------
    n_components : int, default=1
    expert : "linear" or Emission, default="linear"
        "linear": every expert is a linear regression on the features. One of `emfast.emissions`:
        experts are components of this kind, and y, of shape (n_samples,) or (n_samples, n_targets),
        is the data; the features are *concomitant variables*, which only tell how probable
        components are. A `Product` takes its blocks of columns from left to right.
    tol, max_iter, n_init : see `GaussianMixture`
    init_params : see `LinearRegressionMixture`, and for other experts `GaussianMixture`
    restarts, random_state, n_threads : see `GaussianMixture`
    reg_covar : float, default=1e-6
        Added to the noise variances of linear experts.
    gate_coef_init : array-like of shape (n_components, n_features), optional
    gate_intercept_init : array-like of shape (n_components,), optional
    coef_init, intercept_init, noise_variances_init : see `LinearRegressionMixture`
    experts_init : mapping, optional
        Starting values of other experts by their groups of parameters, as in ``{"means": ...}``.
    fixed : collection of {"gate_coef", "gate_intercept", "coef", "intercept", "noise_variances"}, \
or mapping of them, optional
        What is known: see `GaussianMixture`; of the gate only as a whole. Other experts have their
        own groups.
    prior : mapping, optional
        "gate_coef_precision_prior", by default 0.01: the coefficients of the gate, for features in
        their standard deviations (``gate_scale_``), are Gaussian about 0 with this precision.
        Intercepts are free. Those of experts: see `LinearRegressionMixture`, or the mixtures of
        these emissions.
    assignment, accelerate, warm_start, verbose, verbose_interval : see `GaussianMixture`

    Attributes
    ----------
    gate_coef_ : ndarray of shape (n_components, n_features)
        They sum to 0 over components, unless they are known.
    gate_intercept_ : ndarray of shape (n_components,)
    gate_location_, gate_scale_ : ndarray of shape (n_features,)
        Means and standard deviations of the features, over the rows of positive weight.
    coef_, intercept_, noise_variances_ : see `LinearRegressionMixture`, if experts are linear
    experts_ : the parameters of other experts
        Under the names they have in mixtures, as in ``experts_.means``; of a `Product` a dict of
        these.
    categories_ : dict of ndarray, by the position of a column of y, of `Categorical` experts
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

    _parameter_constraints = {
        **BaseRegressionMixture._parameter_constraints,
        "expert": [StrOptions({LINEAR}), Emission],
        "gate_coef_init": ["array-like", None],
        "gate_intercept_init": ["array-like", None],
        "coef_init": ["array-like", None],
        "intercept_init": ["array-like", None],
        "noise_variances_init": ["array-like", None],
        "experts_init": [Mapping, None],
    }

    def __init__(
        self,
        n_components=1,
        *,
        expert=LINEAR,
        tol=1e-3,
        max_iter=100,
        n_init=1,
        init_params="short_em",
        restarts="auto",
        random_state=None,
        n_threads=None,
        reg_covar=1e-6,
        gate_coef_init=None,
        gate_intercept_init=None,
        coef_init=None,
        intercept_init=None,
        noise_variances_init=None,
        experts_init=None,
        fixed=None,
        prior=None,
        assignment="soft",
        accelerate=False,
        warm_start=False,
        verbose=0,
        verbose_interval=10,
    ):
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
        self.experts_init = experts_init
        self.fixed = fixed
        self.prior = prior
        self.assignment = assignment
        self.accelerate = accelerate
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    # The gate

    def _latent(self, fixed: Known = NOTHING_KNOWN, assignment: str = "soft") -> Gate:
        return Gate(self.gate_location_, self.gate_scale_, fixed=fixed, assignment=assignment)

    def _kind(self) -> str:
        return f"{super()._kind()} behind a gate"

    def _observed(self, X: Any, y: Any, labels: Any, sample_weight: Any) -> Batch:
        batch = super()._observed(X, y, labels, sample_weight)
        check_squares(batch.covariates, batch.weights)
        self.gate_location_, self.gate_scale_ = location_and_scale(batch.covariates, batch.weights)
        return batch

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
    def _defining_attributes(self) -> tuple[str, ...]:
        return super()._defining_attributes if self._is_linear else ()

    def _emission(self, fixed: Known = NOTHING_KNOWN) -> Emission:
        if self._is_linear:
            return super()._emission(fixed)
        expert = getattr(self, "_bound_expert", self.expert)
        if isinstance(expert, Product):
            parts = map(copy, expert.parts)
            return Product(dict(zip(expert.names, parts, strict=True)), expert.widths, fixed=fixed)
        emission = copy(expert)
        emission.fixed = fixed
        return emission

    def _validated_pair(self, X: Any, y: Any, *, reset: bool) -> Batch:
        if self._is_linear:
            return super()._validated_pair(X, y, reset=reset)
        features, _ = check_rows(self, X, [np.float64, np.float32], reset=reset)
        rows, missing = self._validated_data(y, reset)
        if len(rows) != len(features):
            raise ValueError(
                f"y: found {len(rows)} rows; expected {len(features)}: X and y have inconsistent "
                "numbers of samples"
            )
        floats = rows.dtype if rows.dtype.kind == "f" else np.dtype(np.float64)
        dtype = np.result_type(features.dtype, floats)
        covariates = features.astype(dtype, copy=False)
        return Batch(in_precision(rows, dtype), missing=missing, covariates=covariates)

    def _validated_data(self, y: Any, reset: bool) -> tuple[Any, bool | tuple[bool, ...]]:
        """y as the experts take it, and whether entries are missing."""
        with messages_about_y():
            y, is_flat = _table(y)
            y = check_columns(Block(), y, reset=True)
            if reset:
                self._set_targets(y.shape[1], is_flat, _categories(self.expert, y))
            if y.shape[1] != self.n_targets_:
                raise ValueError(
                    f"X: found {y.shape[1]} columns; expected {self.n_targets_}, as in the fit"
                )
            columns = [own for _, own in _blocks(self._bound_expert, self.n_targets_)]
            blocks = [Block(columns=own) for own in columns]
            parts = [_safe_indexing(y, own, axis=1) for own in columns]
            if isinstance(self._bound_expert, Product):
                return self._bound_expert.validated(blocks, parts, reset=True)
            return self._bound_expert.validated(blocks[0], parts[0], reset=True)

    def _set_targets(
        self, n_targets: int, is_flat: bool, categories: dict[int, np.ndarray]
    ) -> None:
        """Bind the experts to columns of y, with the categories that have been learned."""
        self.n_targets_, self._is_flat, self.categories_ = n_targets, is_flat, categories
        self._bound_expert = _bound(self.expert, n_targets, categories)

    def _problem(self, batch: Batch) -> tuple[Any, dict[str, np.ndarray]]:
        if self._is_linear:
            return super()._problem(batch)
        with messages_about_y():
            return super()._problem(batch)

    def _called(self, column: int) -> str:
        return super()._called(column) if self._is_linear else f"column {column}"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = not self._is_linear
        tags.regressor_tags.poor_score = not self._is_linear
        return tags

    def _known(self) -> Known:
        own = {} if self._is_linear else self.expert.fixed
        return Known({**own, **super()._known()})

    def _given(self, n_features: int) -> dict[str, np.ndarray]:
        for name in ("coef_init", "intercept_init", "noise_variances_init"):
            if not self._is_linear and getattr(self, name) is not None:
                raise ValueError(f"{name}: expected None, for experts are not linear")
        if self._is_linear and self.experts_init is not None:
            raise ValueError("experts_init: expected None, for experts are linear: see coef_init")
        if self._is_linear:
            return super()._given(n_features)
        emission, K, given = self._emission(), int(self.n_components), {}
        for group, values in (self.experts_init or {}).items():
            if group not in emission.groups:
                raise ValueError(
                    f"experts_init: found {group!r}; expected names among {emission.groups}"
                )
            given[group] = emission.checked(self._argument(group), group, values, K, n_features)
        return given

    def _argument(self, group: str) -> str:
        if self._is_linear or group in Gate.groups:
            return super()._argument(group)
        return f"experts_init[{group!r}]"

    def _attributes(self, parameters: Any) -> dict[str, Any]:
        if self._is_linear:
            return super()._attributes(parameters)
        if isinstance(self._bound_expert, Product):
            return {"experts_": dict(zip(self._bound_expert.names, parameters, strict=True))}
        return {"experts_": parameters}

    def _parameters_of_attributes(self) -> Any:
        if self._is_linear:
            return super()._parameters_of_attributes()
        return self._float64_model.emission

    def predict(self, X):
        """The mean of the target: those of the experts, weighted by the gate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_targets) if y was
            Of `Categorical` experts the most probable category.
        """
        if self._is_linear:
            return super().predict(X)
        X = self._features(X)
        parts = [self._estimates(self._prior_weights(rows)) for _, rows in self._chunks(X)]
        found = np.vstack(parts)
        return found[:, 0] if self._is_flat else found

    def predict_components(self, X):
        """The mean of the target by every expert.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components), or (n_samples, n_components, n_targets) where y \
had n_targets columns
            The same for every row, if experts are not linear.
        """
        if self._is_linear:
            return super().predict_components(X)
        found = self._estimates(np.eye(int(self.n_components)))
        found = found[:, 0] if self._is_flat else found
        return np.repeat(found[None], len(self._features(X)), axis=0)

    def _estimates(self, responsibilities: np.ndarray) -> np.ndarray:
        """What targets are expected to be where components have these probabilities."""
        nothing = np.full((len(responsibilities), self.n_targets_), None, object)
        rows, _ = self._validated_data(nothing, reset=False)
        columns = [None] * self.n_targets_
        means = partial(conditional_means, n_threads=resolve_threads(self.n_threads))
        model = self._model()
        for column, _, values in self._emission().estimated(
            model.emission, rows, responsibilities, means
        ):
            names = self.categories_.get(column)
            columns[column] = values if names is None else names[values.astype(np.intp)]
        return np.column_stack(columns)

    def _drawn(
        self, X: np.ndarray, components: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        if self._is_linear:
            return super()._drawn(X, components, random_state)
        emission, parameters = self._emission(), self._model().emission
        drawn = [
            np.hstack(emission.draw(parameters, k, n, random_state))
            if isinstance(emission, Product)
            else emission.draw(parameters, k, n, random_state)
            for k, n in enumerate(np.bincount(components, minlength=int(self.n_components)))
        ]
        # Component after component, and then every row where it belongs.
        rows = np.vstack(drawn)[np.argsort(np.argsort(components, kind="stable"), kind="stable")]
        columns = [
            rows[:, column] if names is None else names[rows[:, column].astype(np.intp)]
            for column, names in ((at, self.categories_.get(at)) for at in range(rows.shape[1]))
        ]
        return columns[0] if self._is_flat else np.column_stack(columns)

    def standard_errors(self, X, y, *, labels=None, sample_weight=None):
        """Standard errors of linear experts: see `LinearRegressionMixture.standard_errors`."""
        if not self._is_linear:
            raise ValueError("standard_errors: expected linear experts")
        return super().standard_errors(X, y, labels=labels, sample_weight=sample_weight)


def _table(y: Any) -> tuple[Any, bool]:
    """y with two dimensions, and whether it had but one."""
    if hasattr(y, "to_frame"):
        return y.to_frame(), True
    if hasattr(y, "columns") or y is None:
        return y, False
    if isinstance(y, list | tuple):
        is_flat = np.ndim(y) == 1
        return ([[value] for value in y] if is_flat else y), is_flat
    y = np.asarray(y)
    return (y[:, None] if y.ndim == 1 else y), y.ndim == 1


def _blocks(expert: Emission, n_columns: int) -> list[tuple[Emission, list[int]]]:
    """The parts of a product, or the expert itself, and the columns of each."""
    if not isinstance(expert, Product):
        return [(expert, list(range(n_columns)))]
    if sum(expert.widths) != n_columns:
        raise ValueError(
            f"X: found {n_columns} columns; expected {sum(expert.widths)}, as the product is wide"
        )
    ends = np.cumsum(expert.widths).tolist()
    blocks = (list(range(end - n, end)) for end, n in zip(ends, expert.widths, strict=True))
    return list(zip(expert.parts, blocks, strict=True))


def _categories(expert: Emission, y: Any) -> dict[int, np.ndarray]:
    """What categorical columns have, by their positions."""
    categories = {}
    for part, columns in _blocks(expert, y.shape[1]):
        if isinstance(part, Categorical):
            own = _safe_indexing(y, columns, axis=1)
            learned = part.learn(own, partial(column_called, Block(columns=columns)))[2]
            categories.update(zip(columns, learned.categories, strict=True))
    return categories


def _bound(expert: Emission, n_columns: int, categories: dict[int, np.ndarray]) -> Emission:
    """The experts with the categories of their columns."""
    parts = [
        Categorical([categories[column] for column in columns])
        if isinstance(part, Categorical)
        else part
        for part, columns in _blocks(expert, n_columns)
    ]
    if not isinstance(expert, Product):
        return parts[0]
    return Product(dict(zip(expert.names, map(copy, parts), strict=True)), expert.widths)


@contextmanager
def messages_about_y() -> Iterator[None]:
    """Rows of y are what messages call X."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if not str(error).startswith("X: "):
            raise
        raise type(error)(f"y: {str(error)[3:]}") from error
