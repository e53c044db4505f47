"""Classification by mixtures: every class is one, and rows whose class is missing help."""

from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import _num_samples, check_is_fitted

from emfast.annotations import Array, PathName, Rows, Values
from emfast.data import Batch, Labelled, lazy_with_dask, observe, read_ahead
from emfast.estimators.base.inference import FittedMixture
from emfast.estimators.base.mixture import BaseMixture
from emfast.estimators.base.of_columns import OfColumns
from emfast.estimators.base.sources import NO_CLASSES
from emfast.estimators.mixture import GaussianMixture
from emfast.inputs.arguments import check_sample_weight
from emfast.inputs.classes import Classes, one_dimensional
from emfast.inputs.columns import columns_apart
from emfast.storage.stored import ListOf, Names, Storable, Whole


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
            Or a source of rows that do not fit into memory, in files for instance: see
            `docs/large-data.md`.
        y : array-like of shape (n_samples,), or the name of a column of X
            The class of every row: numbers, booleans or strings; `missing_label`, None, NaN, NaT or
            NA where it is missing.
        sample_weight : array-like of shape (n_samples,), or the name of a column, optional
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
        found = Classes(self.missing_label)
        observer = observe(mixture, X, None, sample_weight, y=y)
        if observer is None:
            X, y, sample_weight = columns_apart(X, y=y, sample_weight=sample_weight)
            n_rows = _n_rows(X)
            found.add(y, n_rows, check_sample_weight(sample_weight, n_rows))
        else:
            for portion, of_rows, weights in read_ahead(observer.known()):
                found.add(of_rows, portion.n_rows, weights)
        classes, n_own = found.found()
        counts = self._counts(classes)
        _check_enough_rows(classes, n_own, found.n_missing, counts)
        class_of = np.repeat(np.arange(len(classes)), counts)
        mixture.set_params(n_components=len(class_of))
        if bool(getattr(mixture, "noise", False)):
            class_of = np.append(class_of, len(classes))

        def allowed(y: Any, n_rows: int) -> np.ndarray:
            codes = found.codes(y, n_rows, classes)
            return (codes[:, None] < 0) | (codes[:, None] == class_of)

        if observer is None:
            labels: Any = allowed(y, n_rows)
        else:
            X, labels = observer.with_labels(allowed), Labelled.labels
            sample_weight = None if sample_weight is None else Labelled.weights
        try:
            mixture.fit(X, labels=labels, sample_weight=sample_weight)
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

    _keeps_portions = False

    @overload
    def predict(self, X: Rows, *, out: None = None) -> Array: ...
    @overload
    def predict(self, X: Rows, *, out: PathName) -> PathName: ...
    @lazy_with_dask(lambda self: self.classes_.dtype, names="class")
    def predict(self, X: Rows, *, out: PathName | None = None) -> Array | PathName:
        """The most probable class of every row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        out : path-like, optional
            A file to write instead, row by row as they come: see `GaussianMixture.score_samples`.

        Returns
        -------
        ndarray of shape (n_samples,), of classes; or `out`, whose column is "class"
        """
        check_is_fitted(self)
        return self.mixture_._answered(self._classes, out, "class", X)

    @overload
    def predict_proba(self, X: Rows, *, out: None = None) -> Array: ...
    @overload
    def predict_proba(self, X: Rows, *, out: PathName) -> PathName: ...
    @lazy_with_dask(
        width=lambda self: len(self.classes_), names=lambda self: self._names_of_shares()
    )
    def predict_proba(self, X: Rows, *, out: PathName | None = None) -> Array | PathName:
        """The probability of every class given the row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        out : see `predict`

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or `out`, whose columns are "p_" and the class
            In the order of `classes_`; rows sum to 1. A row that no component can produce has the
            probabilities of the classes before any row is seen.
        """
        check_is_fitted(self)
        return self.mixture_._answered(self._shares, out, self._names_of_shares(), X)

    def _names_of_shares(self) -> list[str]:
        return [f"p_{name}" for name in self.classes_]

    def _classes(self, batch: Batch) -> np.ndarray:
        return self.classes_[self._shares(batch).argmax(axis=1)]

    def _shares(self, batch: Batch) -> np.ndarray:
        shares = self.mixture_._responsibilities(batch)
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
        check_is_fitted(self)
        observer = observe(self.mixture_, X, None, sample_weight, NO_CLASSES, y)
        if observer is not None:
            return self._accuracy(read_ahead(observer.targets()))
        X, y, sample_weight = columns_apart(X, y=y, sample_weight=sample_weight)
        weights = check_sample_weight(sample_weight, _n_rows(X))
        return self._accuracy(iter([(X, y, weights)]))

    def _accuracy(self, parts: Iterator[tuple[Any, Any, np.ndarray | None]]) -> float:
        """The share of rows of known class whose class is what is predicted."""
        found, right, total = Classes(self.missing_label), 0.0, 0.0
        for rows, y, weights in parts:
            predicted = self.predict(rows)
            found.add(y, len(predicted), weights)
            values = one_dimensional(y, len(predicted), warn=False)
            known = ~found.missing(values)
            w = np.ones(len(values)) if weights is None else weights
            right += float(w[known] @ (values[known] == predicted[known]))
            total += float(w[known].sum())
        found.found()
        return right / total

    @overload
    def score_samples(self, X: Rows, *, out: None = None) -> NDArray[np.float64]: ...
    @overload
    def score_samples(self, X: Rows, *, out: PathName) -> PathName: ...
    def score_samples(
        self, X: Rows, *, out: PathName | None = None
    ) -> NDArray[np.float64] | PathName:
        """Log-likelihood of every row, whatever its class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        out : see `predict`

        Returns
        -------
        ndarray of shape (n_samples,), log p(x) in nats; or `out`, whose column is "log_likelihood"
        """
        check_is_fitted(self)
        return self.mixture_.score_samples(X, out=out)

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


def _check_enough_rows(
    classes: np.ndarray, n_own: np.ndarray, n_missing: int, counts: np.ndarray
) -> None:
    """Raise where a class has more components than rows that may be of it."""
    for name, own, count in zip(classes.tolist(), n_own.tolist(), counts.tolist(), strict=True):
        if own + n_missing < count:
            raise ValueError(
                f"y: class {name!r} has n_samples = {own} of positive weight, and the class of "
                f"{n_missing} is missing; expected at least as many as it has components, {count}"
            )
