"""Classification by mixtures: every class is one, and rows whose class is missing help."""

import warnings
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples, check_is_fitted

from emfast.annotations import Array, Rows, Values
from emfast.arguments import check_sample_weight
from emfast.base_mixture import BaseMixture
from emfast.inference import FittedMixture
from emfast.labels import are_integers, as_array, is_missing, missing_entries, sorted_classes
from emfast.mixture import GaussianMixture
from emfast.of_columns import OfColumns
from emfast.stored import ListOf, Names, Storable, Whole


class MixtureClassifier(Storable, ClassifierMixin, BaseEstimator):
    r"""Classifier whose classes are mixtures, fitted together, with or without the class of a row.

    One mixture is fitted to all rows. Each class c has components of its own, C_c; a row of known
    class may have these only, any other row all of them, and the posterior is

    .. math:: p(c \mid x) = \sum_{k \in C_c} p(z = k \mid x).

    EM maximises the joint likelihood of the rows and of the classes that are known. With one
    component for each class and no class missing it is the closed form of quadratic ("full"),
    linear ("tied") or naive Bayes ("diag") discriminant analysis with maximum-likelihood estimates;
    several make mixture discriminant analysis (Hastie and Tibshirani, 1996), and rows without class
    make it semi-supervised (Miller and Uyar, 1997).

    Parameters
    ----------
    mixture : mixture of the package, default=None
        How rows are distributed: `GaussianMixture`, `Mixture`, ...; None is ``GaussianMixture()``.
        A clone is fitted, whose `n_components` is the number of all components together. All other
        arguments mean what they mean there, starts, `fixed` and `prior` among them; where they say
        something of each component, those of the first class come first. Noise is of no class:
        posteriors are given that a row is none, and rows of known class are none.
    components_per_class : int, array-like of shape (n_classes,) or mapping, default=1
        How many components a class has: the same number for all, one for each in the order of
        `classes_`, or by class.
    missing_label : object, default=-1
        What says in `y` that a class is missing. None, NaN, NaT and NA always do. If -1 is a class,
        say ``missing_label=None``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted; those that rows of positive weight have.
    mixture_ : the mixture, fitted
    component_classes_ : ndarray of shape (n_components,), the class of each of its components
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,), where X had names

    References
    ----------
    Hastie, T. and Tibshirani, R. (1996). Discriminant analysis by Gaussian mixtures. Journal of the
    Royal Statistical Society B 58, 155-176.
    Miller, D. J. and Uyar, H. S. (1997). A mixture of experts classifier with learning based on
    both labelled and unlabelled data. Advances in Neural Information Processing Systems 9, 571-577.

    Examples
    --------
    Classes on opposite corners, most of them unknown:

    >>> import numpy as np
    >>> from emfast import GaussianMixture, MixtureClassifier
    >>> corners = np.array([[0, 0], [5, 5], [0, 5], [5, 0]])
    >>> X = np.repeat(corners, 50, axis=0) + np.random.default_rng(0).normal(size=(200, 2))
    >>> y = np.full(200, None)
    >>> y[::10] = np.repeat(["even", "odd"], 10)
    >>> mixture = GaussianMixture(covariance_type="spherical", random_state=0)
    >>> classifier = MixtureClassifier(mixture, components_per_class=2).fit(X, y)
    >>> classifier.predict(corners).tolist()
    ['even', 'even', 'odd', 'odd']
    """

    _parameter_constraints: dict = {
        "mixture": [HasMethods(["fit", "predict_proba", "score_samples", "set_params"]), None],
        "components_per_class": [Interval(Integral, 1, None, closed="left"), "array-like", Mapping],
        "missing_label": "no_validation",
    }

    _stored = {"classes_": Names(), "counts": ListOf(Whole(1)), "mixture_": BaseMixture}

    classes_: Array
    mixture_: Any
    component_classes_: Array
    n_features_in_: int
    feature_names_in_: Array

    def __init__(
        self,
        mixture: FittedMixture | None = None,
        components_per_class: ArrayLike | Mapping[Any, int] = 1,
        missing_label: Any = -1,
    ) -> None:
        self.mixture = mixture
        self.components_per_class = components_per_class
        self.missing_label = missing_label

    def set_params(self, **params: Any) -> Self:
        """Set arguments, those of the mixture by ``mixture__<argument>``.

        Parameters
        ----------
        **params : dict

        Returns
        -------
        self : object
        """
        nested = any(name.startswith("mixture__") for name in params)
        if nested and params.get("mixture", self.mixture) is None:
            params["mixture"] = GaussianMixture()
        return super().set_params(**params)

    def fit(self, X: Rows, y: Values, *, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the mixture of all classes by expectation-maximisation.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), as the mixture takes it
        y : array-like of shape (n_samples,)
            The class of every row: numbers, booleans or strings; `missing_label`, None, NaN, NaT or
            NA where it is missing.
        sample_weight : array-like of shape (n_samples,), optional
            How often each row counts: any non-negative numbers.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            No class is known, a class has more components than rows that may be of it, or what the
            mixture raises. Nothing has been changed then.

        Warns
        -----
        What the mixture warns of.
        """
        self._validate_params()
        mixture = self._new_mixture()
        n_rows = _n_rows(X)
        weights = check_sample_weight(sample_weight, n_rows)
        counted = np.ones(n_rows, bool) if weights is None else weights > 0
        classes, codes = self._encoded(y, n_rows, counted)
        counts = self._counts(classes)
        _check_enough_rows(classes, codes[counted], counts)
        class_of = np.repeat(np.arange(len(classes)), counts)
        mixture.set_params(n_components=len(class_of))
        if bool(getattr(mixture, "noise", False)):
            class_of = np.append(class_of, len(classes))
        allowed = (codes[:, None] < 0) | (codes[:, None] == class_of)
        try:
            mixture.fit(X, labels=allowed, sample_weight=sample_weight)
        except KeyboardInterrupt:
            # It has the best model so far, if there was one.
            if hasattr(mixture, "converged_"):
                self._set_fitted(mixture, classes, counts)
            raise
        self._set_fitted(mixture, classes, counts)
        return self

    def _set_fitted(self, mixture: Any, classes: np.ndarray, counts: np.ndarray) -> None:
        self.classes_, self.mixture_ = classes, mixture
        self.component_classes_ = np.repeat(classes, counts)
        self.n_features_in_ = mixture.n_features_in_
        self.__dict__.pop("feature_names_in_", None)
        if hasattr(mixture, "feature_names_in_"):
            self.feature_names_in_ = mixture.feature_names_in_

    def predict(self, X: Rows) -> Array:
        """The most probable class of every row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), of classes
        """
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def predict_proba(self, X: Rows) -> Array:
        """The probability of every class given the row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; rows sum to 1. A row that no component can produce has the
            probabilities of the classes before any row is seen.
        """
        check_is_fitted(self)
        shares = self.mixture_.predict_proba(X)
        K = len(self.component_classes_)
        of_class = self._sums(shares[:, :K])
        if shares.shape[1] == K:
            return of_class
        total = of_class.sum(axis=1, keepdims=True)
        priors = self._sums(self.mixture_.weights_[None])
        of_class = np.where(total > 0, of_class, priors)
        return of_class / of_class.sum(axis=1, keepdims=True)

    def predict_log_proba(self, X: Rows) -> Array:
        """Logarithms of `predict_proba`, -inf where that is 0.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), in nats
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def score(self, X: Rows, y: Values, sample_weight: ArrayLike | None = None) -> float:
        """How often the class predicted is right, among rows whose class is not missing.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), as in `fit`
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float, the accuracy

        Raises
        ------
        ValueError
            Every class is missing.
        """
        # Takes longer to import than all of emfast.
        from sklearn.metrics import accuracy_score

        predicted = self.predict(X)
        weights = check_sample_weight(sample_weight, len(predicted))
        counted = np.ones(len(predicted), bool) if weights is None else weights > 0
        classes, codes = self._encoded(y, len(predicted), counted)
        known = codes >= 0
        if weights is not None:
            weights = weights[known]
        return float(accuracy_score(classes[codes[known]], predicted[known], sample_weight=weights))

    def score_samples(self, X: Rows) -> NDArray[np.float64]:
        """Log-likelihood of every row, whatever its class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), log p(x) in nats
        """
        check_is_fitted(self)
        return self.mixture_.score_samples(X)

    def sample(self, n_samples: int = 1) -> tuple[Array, Array]:
        """Draw rows with their classes, component after component.

        Parameters
        ----------
        n_samples : int, default=1

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,), the class of every row, None for noise
        """
        check_is_fitted(self)
        X, components = self.mixture_.sample(n_samples)
        noise = components < 0
        if not noise.any():
            return X, self.component_classes_[components]
        return X, np.where(noise, None, self.component_classes_[components].astype(object))

    def _arguments(self) -> dict[str, Any]:
        """Columns that a callable has found in the fit stand in for it, as in a mixture."""
        arguments = super()._arguments()
        if isinstance(self.mixture, OfColumns) and hasattr(self, "mixture_"):
            arguments["mixture"] = clone(self.mixture)
            arguments["mixture"]._bound_parts = self.mixture_._parts()
        return arguments

    def _state(self) -> dict[str, Any]:
        names, counts = np.unique(self.component_classes_, return_counts=True)
        if not np.array_equal(np.repeat(names, counts), self.component_classes_):
            raise ValueError("component_classes_: found another order than that of the classes")
        return {**super()._state(), "counts": counts.tolist()}

    def _take_state(self, state: dict[str, Any]) -> None:
        classes, counts, mixture = state["classes_"], state.pop("counts"), state["mixture_"]
        check_is_fitted(mixture)
        if len(counts) != len(classes) or sum(counts) != mixture.n_components:
            raise ValueError(
                f"counts: found {counts}; expected those of {len(classes)} classes that have "
                f"{mixture.n_components} components"
            )
        if np.any(classes[1:] <= classes[:-1]):
            raise ValueError(f"classes_: found {classes}; expected them sorted")
        if mixture.n_features_in_ != state["n_features_in_"]:
            raise ValueError("n_features_in_: found another number than that of the mixture")
        super()._take_state(state)
        self.component_classes_ = np.repeat(classes, counts)

    def _new_mixture(self) -> Any:
        """The mixture to fit."""
        if self.mixture is None:
            return GaussianMixture()
        if not isinstance(self.mixture, BaseMixture):
            raise TypeError(f"mixture: found {self.mixture!r}; expected a mixture of emfast")
        return clone(self.mixture)

    def _encoded(self, y: Any, n_rows: int, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The classes of rows that are `counted`, sorted, and the index of every row's or -1."""
        values = _one_dimensional(y, n_rows)
        known = counted & ~self._missing(values)
        if not known.any():
            raise ValueError(
                "y: the class of every row of positive weight is missing (None, NaN or "
                f"missing_label={self.missing_label!r}); expected at least one class"
            )
        codes = np.full(n_rows, -1)
        if values.dtype.kind == "O":
            names = sorted_classes(values[known], "y")
            of_name = {name: code for code, name in enumerate(names.tolist())}
            codes[known] = [of_name[value] for value in values[known].tolist()]
            classes = np.array(names.tolist())
        else:
            classes, codes[known] = np.unique(values[known], return_inverse=True)
            if classes.dtype.kind == "f" and are_integers(y):
                classes = _as_integers(classes)
        if classes.dtype.kind == "f" and not np.isfinite(classes).all():
            raise ValueError("y: found infinity; expected classes")
        check_classification_targets(classes[codes[known]])
        return classes, codes

    def _missing(self, values: np.ndarray) -> np.ndarray:
        """Which entries of `y` say that the class is missing, (n_rows,), bool."""
        missing, label = missing_entries(values), self.missing_label
        if is_missing(label):
            return missing
        if values.dtype.kind == "O":
            known = np.flatnonzero(~missing)
            missing[known] = [bool(value == label) for value in values[known]]
            return missing
        kinds = (
            "US" if isinstance(label, str | bytes) else "biuf" if isinstance(label, Real) else ""
        )
        return missing | (values == label) if values.dtype.kind in kinds else missing

    def _counts(self, classes: np.ndarray) -> np.ndarray:
        """How many components each class has."""
        given, names = self.components_per_class, classes.tolist()
        if isinstance(given, Integral):
            return np.full(len(names), int(given))
        if isinstance(given, Mapping):
            if set(given) != set(names):
                raise ValueError(
                    f"components_per_class: found {dict(given)}; expected a number for each of the "
                    f"classes {names}, and no others"
                )
            given = [given[name] for name in names]
        if len(given) != len(names):
            raise ValueError(
                f"components_per_class: found {len(given)} numbers; expected one for each of the "
                f"{len(names)} classes {names}"
            )
        for count in given:
            if not isinstance(count, Integral) or count < 1:
                raise ValueError(
                    f"components_per_class: found {count!r}; expected integers of at least 1"
                )
        return np.array(given, int)

    def _sums(self, shares: np.ndarray) -> np.ndarray:
        """Sums over the components of every class, (n_rows, n_classes)."""
        first = np.searchsorted(self.component_classes_, self.classes_)
        return np.add.reduceat(shares, first, axis=1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        mixture = GaussianMixture() if self.mixture is None else self.mixture
        if isinstance(mixture, BaseEstimator):
            tags.input_tags = get_tags(mixture).input_tags
        return tags


def _n_rows(X: Any) -> int:
    try:
        return _num_samples(X)
    except TypeError as error:
        raise TypeError(f"X: {error}") from error


def _one_dimensional(y: Any, n_rows: int) -> np.ndarray:
    """y as an array with an entry for every row, its missing ones still what they were."""
    if y is None:
        raise ValueError(
            "y: MixtureClassifier requires y to be passed, but the target y is None; expected a "
            "class for each row, missing for some"
        )
    values = as_array(y, "y")
    if values.ndim == 2 and values.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of "
            "y to (n_samples,), for example using ravel().",
            DataConversionWarning,
            stacklevel=4,
        )
        values = values[:, 0]
    if values.shape != (n_rows,):
        raise ValueError(
            f"y: found shape {values.shape}; expected ({n_rows},), a class for each row of X"
        )
    return values


def _as_integers(classes: np.ndarray) -> np.ndarray:
    """Integers that missing ones beside them have made floats."""
    if abs(classes).max() >= 2.0**53:
        raise ValueError(
            "y: found integers beyond 2^53 beside missing ones, which floats would confuse; "
            "expected smaller ones, or strings"
        )
    return classes.astype(np.int64)


def _check_enough_rows(classes: np.ndarray, codes: np.ndarray, counts: np.ndarray) -> None:
    """Raise where a class has more components than rows that may be of it."""
    n_own = np.bincount(codes[codes >= 0], minlength=len(classes))
    n_missing = int((codes < 0).sum())
    for name, own, count in zip(classes.tolist(), n_own.tolist(), counts.tolist(), strict=True):
        if own + n_missing < count:
            raise ValueError(
                f"y: class {name!r} has n_samples = {own} of positive weight, and the class of "
                f"{n_missing} is missing; expected at least as many as it has components, {count}"
            )
