"""A fitted model: its parameters, the attributes that show them, and passes over rows with it."""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import is_dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from emfast.annotations import Array
from emfast.data import Batch, Names, check_out, gathered, in_parts
from emfast.emissions.base import Emission
from emfast.estimators.base.sources import NO_CLASSES, TakesSources
from emfast.inputs.labels import Labels, encode_labels
from emfast.inputs.rows import ColumnRows
from emfast.latent import Latent
from emfast.parts.known import NOTHING_KNOWN, Known, check_fixed
from emfast.passes import Model, posterior
from emfast.storage.stored import Precision, Record, Storable, Whole
from emfast.threads import resolve_threads

# Rows whose responsibilities are held at a time where only a sum over them is wanted.
CHUNK_ROWS = 65_536


class FittedModel(TakesSources, Storable, BaseEstimator, metaclass=ABCMeta):
    """What estimators of (latent structure, emission) need once there are parameters."""

    n_features_in_: int
    feature_names_in_: Array
    classes_: Array

    # Whether there is a component that the emission does not know of.
    _has_noise: bool = False

    # The fitted attributes that tell the whole model.
    _defining_attributes: tuple[str, ...] = ()

    # What the model has to be, its latent structure and its emission say.
    _stored = {"dtype": Precision(), "model": dict}

    @abstractmethod
    def _emission(self, fixed: Known = NOTHING_KNOWN) -> Emission:
        """The emission family that the constructor's arguments describe."""

    @abstractmethod
    def _latent(self, fixed: Known = NOTHING_KNOWN, assignment: str = "soft") -> Latent:
        """The latent structure that the constructor's arguments describe."""

    def _kind(self) -> str:
        """What was fitted, in words."""
        return self._emission().kind

    def _known(self) -> Known:
        """The parameters that the argument `fixed` says are known."""
        latent, emission = self._latent(), self._emission()
        groups = {self._named(group): group for group in (*latent.groups, *emission.groups)}
        shared = [self._named(group) for group in (*latent.shared, *emission.shared)]
        known = check_fixed(self.fixed, tuple(groups), shared, int(self.n_components))
        return Known({groups[name]: which for name, which in known.items()})

    def _named(self, group: str) -> str:
        """How people call a group of parameters."""
        return group

    def _validate_rows(self, X: Any, *, reset: bool) -> Batch:
        """X as rows that the kernels take, or an error that says what is wrong with it."""
        rows, missing = self._emission().validated(self, X, reset=reset)
        return Batch(rows, missing=missing)

    def _names_of_components(self) -> np.ndarray:
        """Names that the first components have got in the fit, if any."""
        return getattr(self, "classes_", NO_CLASSES)

    @abstractmethod
    def _batches(self, *data: Any) -> Iterator[Batch]:
        """What `fit` takes, as batches that the fitted model can be asked about."""

    def _answered(
        self, answer: Callable[[Batch], np.ndarray], out: Any, names: Names, *data: Any
    ) -> Any:
        """What is said of all rows that `_batches` takes: see `gathered`."""
        check_out(out, data[0])
        batches = in_parts(self._batches(*data), out)
        return gathered((answer(batch) for batch in batches), out, names)

    def _portion(self, X: Any, y: Any = None, *, reset: bool = False) -> Batch:
        """Some rows of a source as the kernels take them."""
        return self._validate_rows(X, reset=reset)

    @property
    def _takes_columns(self) -> bool:
        return self._emission().takes_numbers

    def _takes_again(self, X: Any) -> bool:
        is_ready = isinstance(X, np.ndarray | ColumnRows) and X.dtype in (np.float32, np.float64)
        return self._takes_columns and is_ready

    def _labels_of(self, labels: Any, n_rows: int, classes: np.ndarray | None) -> Labels:
        """What labels say of so many rows, by the names in `classes` if there are any yet."""
        K = int(self.n_components)
        return encode_labels(labels, n_rows, K, classes, noise=self._has_noise)

    @abstractmethod
    def _attributes(self, parameters: Any) -> dict[str, np.ndarray]:
        """Fitted attributes that show the emission's parameters."""

    @abstractmethod
    def _parameters_of_attributes(self) -> Any:
        """The emission's parameters, from the attributes in `_defining_attributes`."""

    @abstractmethod
    def _latent_attributes(self, parameters: Any) -> dict[str, Any]:
        """Fitted attributes that show the parameters of the latent structure."""

    @abstractmethod
    def _latent_of_attributes(self) -> Any:
        """The parameters of the latent structure, from its attributes."""

    def _set_model(self, model: Model, dtype: np.dtype) -> None:
        """Keep the model in float64 and show it as fitted attributes of `dtype`."""
        of_latent = self._latent_attributes(model.latent)
        for name, value in {**of_latent, **self._attributes(model.emission)}.items():
            setattr(self, name, as_shown(value, dtype))
        self._float64_model = model
        self._fitted_kind = self._kind()
        defining = {*of_latent, *self._defining_attributes}
        self._published = {name: as_shown(getattr(self, name), dtype) for name in defining}

    def _state(self) -> dict[str, Any]:
        model = self._model()
        kind = self._kind()
        if getattr(self, "_fitted_kind", kind) != kind:
            raise ValueError(
                f"cannot store a model that was fitted as {self._fitted_kind} and whose arguments "
                f"have been changed to {kind} since"
            )
        return {**super()._state(), "dtype": self._shown_dtype(model).name, "model": model}

    def _shown_dtype(self, model: Model) -> np.dtype:
        """The type of floats that attributes have."""
        shown = np.asarray(getattr(self, next(iter(self._latent_attributes(model.latent)))))
        return np.dtype(np.float32 if shown.dtype == np.float32 else np.float64)

    def _take_state(self, state: dict[str, Any]) -> None:
        model, dtype = state.pop("model"), state.pop("dtype")
        super()._take_state(state)
        K, D = int(self.n_components), self._n_columns_of_emission()
        latent, emission = self._latent().stored(K), self._emission().stored(K, D)
        stored = Record(Model, latent=latent, emission=emission, iteration=Whole())
        self._set_model(stored.checked("model", model, {}), dtype)
        self._known()

    def _n_columns_of_emission(self) -> int:
        """How many columns the emission describes."""
        return self.n_features_in_

    @classmethod
    @lru_cache
    def _get_param_names(cls) -> list[str]:
        # scikit-learn inspects the constructor on every call, which takes as long as an iteration.
        return super()._get_param_names()

    def _model(self) -> Model:
        """The fitted model in float64, or what the attributes say if they were changed by hand."""
        check_is_fitted(self)
        shown = getattr(self, "_published", None)
        if shown is not None and all(
            are_equal(getattr(self, name), value) for name, value in shown.items()
        ):
            if self._kind() != self._fitted_kind:
                raise ValueError(
                    f"{type(self).__name__}: its arguments changed to {self._kind()} "
                    f"since it was fitted as {self._fitted_kind}; fit it again"
                )
            return self._float64_model
        return Model(self._latent_of_attributes(), self._parameters_of_attributes())

    def _rows(self, X: Any) -> Batch:
        """X as rows that the fitted model can be asked about."""
        check_is_fitted(self)
        batch = self._validate_rows(X, reset=False)
        found = batch.X.shape[1]
        n_features = self._emission().shape(self._model().emission)[1]
        if found != n_features:
            raise ValueError(f"X: found {found} features; expected {n_features} features")
        return batch

    def _pass(
        self, batch: Batch, wanted: Collection[str], assignment: str = "soft"
    ) -> dict[str, np.ndarray]:
        """The outputs of `problem.posterior` that are named."""
        latent, model = self._latent(assignment=assignment), self._model()
        shapes = {
            "responsibilities": (
                (batch.n_rows, latent.n_components(model.latent)),
                batch.dtype,
            ),
            "assignments": (batch.n_rows, np.intp),
            "log_likelihoods": (batch.n_independent, np.float64),
        }
        out = {name: np.empty(*shapes[name]) for name in wanted}
        threads = resolve_threads(self.n_threads)
        posterior(latent, self._emission(), model, batch, threads, **out)
        return out

    def _chunks(self, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, len(rows), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            yield chunk, rows[chunk]

    def _n_parameters(self) -> int:
        """Free parameters: known ones do not count."""
        fixed = self._known()
        latent, emission = self._latent(fixed), self._emission(fixed)
        K, D = emission.shape(self._model().emission)
        return latent.n_parameters(K) + emission.n_parameters(K, D)


def as_shown(value: Any, dtype: np.dtype) -> Any:
    """A copy of an array, or of all in a list, tuple or mapping, of `dtype` if they are real."""
    if isinstance(value, float):
        return value
    if isinstance(value, np.ndarray):
        return value.astype(dtype if value.dtype.kind == "f" else value.dtype)
    if isinstance(value, Mapping):
        return {name: as_shown(each, dtype) for name, each in value.items()}
    if is_dataclass(value):
        return replace(value, **as_shown(vars(value), dtype))
    return [as_shown(each, dtype) for each in value]


def are_equal(value: Any, other: Any) -> bool:
    """Whether two arrays, or lists of them, are equal."""
    if isinstance(other, list):
        return len(value) == len(other) and all(map(are_equal, value, other))
    return np.array_equal(value, other)
