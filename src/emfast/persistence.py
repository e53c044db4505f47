"""Fitted models as files: NumPy arrays with a JSON header, never pickle.

A file is an ``.npz`` archive. Its entry ``header`` is JSON in UTF-8, as bytes; its other entries
are the parameters of the model in float64 and, named ``parameter.<name>``, those arguments of the
constructor that are arrays. Reading one executes nothing: only the classes below are made, only
their own arguments and attributes are set, and every array is checked against the others.

A `RandomState` among the arguments is a stream and not a value: it is stored as None. So is a
callback, which is code.
"""

import json
import os
import secrets
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from emfast.categorical import CategoricalMixture, OfCategories
from emfast.decoding import FittedHMM
from emfast.emissions import (
    Bernoulli,
    Binomial,
    Categorical,
    Exponential,
    Gaussian,
    LinearRegression,
    Poisson,
    Product,
)
from emfast.emissions.base import Emission
from emfast.emissions.bernoulli import BernoulliParameters
from emfast.emissions.categorical import CategoricalParameters
from emfast.emissions.counts import BinomialParameters, PoissonParameters
from emfast.emissions.exponential import ExponentialParameters
from emfast.emissions.gaussian import GaussianParameters
from emfast.emissions.linear import RateEmission
from emfast.emissions.product import ProductParameters
from emfast.emissions.regression import RegressionParameters
from emfast.estimator import EMEstimator
from emfast.experts import MixtureOfExperts
from emfast.hmm import HMM, BernoulliHMM, CategoricalHMM, GaussianHMM, PoissonHMM
from emfast.latent.gate import GateParameters
from emfast.latent.markov import ChainParameters
from emfast.mixed import Mixture
from emfast.mixture import GaussianMixture
from emfast.of_columns import OfColumns
from emfast.probabilities import BernoulliMixture, BinomialMixture
from emfast.problem import Model
from emfast.rates import ExponentialMixture, PoissonMixture
from emfast.regression import LinearRegressionMixture
from emfast.restarts import Restart

FORMAT = "emfast"
FORMAT_VERSION = 1
# The classes that are stored.
CLASSES: dict[str, type[EMEstimator]] = {
    kind.__name__: kind
    for kind in (
        GaussianMixture,
        BernoulliMixture,
        CategoricalMixture,
        PoissonMixture,
        BinomialMixture,
        ExponentialMixture,
        Mixture,
        LinearRegressionMixture,
        MixtureOfExperts,
        GaussianHMM,
        BernoulliHMM,
        CategoricalHMM,
        PoissonHMM,
        HMM,
    )
}
# The parameters of emissions, and the arguments that emissions are made with.
EMISSIONS: dict[type[Emission], tuple[type, tuple[str, ...]]] = {
    Gaussian: (GaussianParameters, ("covariance_type", "reg_covar", "fixed")),
    Bernoulli: (BernoulliParameters, ("fixed",)),
    Categorical: (CategoricalParameters, ("categories", "fixed")),
    Poisson: (PoissonParameters, ("fixed",)),
    Binomial: (BinomialParameters, ("n_trials", "fixed")),
    Exponential: (ExponentialParameters, ("fixed",)),
    LinearRegression: (RegressionParameters, ("reg_covar", "fixed")),
}

# Fitted attributes that are plain values.
SCALARS = {"converged_": bool, "n_iter_": int, "lower_bound_": float, "n_features_in_": int}


def save(estimator: EMEstimator, path: str | os.PathLike) -> None:
    """Write a fitted model to a file.

    The file appears as a whole or not at all; one of that name is replaced.

    Parameters
    ----------
    estimator : one of the mixtures, hidden Markov models or regressions of the package
    path : str or path-like
        Taken as it is: no extension is added.

    Raises
    ------
    TypeError
        An estimator of another class, or arguments or class names that cannot be stored.
    ValueError
        The parameters are not those of a model, or of another one than the arguments describe.
    sklearn.exceptions.NotFittedError
    OSError
        The file cannot be written. There is none then, or still the old one.
    """
    entries = _entries(estimator)
    target = check_writable(path)
    temporary = target.with_name(f".emfast-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            np.savez(file, **entries)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(path: str | os.PathLike) -> EMEstimator:
    """Read a fitted model that `save` has written.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    the estimator
        Predicts the same bits as the one saved. Tuples and sets among the constructor's arguments
        have become lists, and mappings dicts.

    Raises
    ------
    ValueError
        The file is damaged, of another kind, or of a newer format.
    OSError
        The file cannot be read.
    """
    with open(path, "rb") as file:
        header, arrays = _read(file, path)
        if header["format_version"] > FORMAT_VERSION:
            raise ValueError(
                f"{path}: written in format version {header['format_version']}; this emfast reads "
                f"up to {FORMAT_VERSION}, a newer one is needed"
            )
        try:
            return _estimator(header, arrays)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not a valid emfast model ({_line(error)})") from error


def check_writable(path: str | os.PathLike) -> Path:
    """The file that writing to `path` would replace or make.

    Raises
    ------
    OSError
        It cannot be written, and why.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; expected the name of a file")
    if target.exists() and not target.is_file():
        raise FileExistsError(f"{path}: is not a regular file and would be replaced")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {target.parent}")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{path}: the folder {target.parent} cannot be written to")
    return target


# Writing


def _entries(estimator: EMEstimator) -> dict[str, np.ndarray]:
    """The entries of the archive."""
    name = type(estimator).__name__
    if CLASSES.get(name) is not type(estimator):
        raise TypeError(f"cannot store {type(estimator)!r}; expected one of {sorted(CLASSES)}")
    arrays = _arrays(estimator)
    parameters = {}
    for key, value in estimator.get_params(deep=False).items():
        if key == "callback":
            # Code is not stored.
            parameters[key] = None
        elif _has_parts(estimator) and key == estimator._emissions_argument:
            parameters[key] = _described_emissions(estimator)
        elif hasattr(value, "__array__") and np.ndim(value) > 0:
            arrays[f"parameter.{key}"] = _numbers(key, value)
        else:
            parameters[key] = _plain(key, value)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "class": name,
        "parameters": parameters,
        "dtype": _main_attribute(estimator).dtype.name,
        "attributes": _described(estimator),
    }
    text = json.dumps(header, allow_nan=False, default=_python_number).encode()
    return {"header": np.frombuffer(text, np.uint8), **arrays}


def _arrays(estimator: EMEstimator) -> dict[str, np.ndarray]:
    """The parameters of the model, which have to be those of the estimator's arguments."""
    model = estimator._model()
    kind = estimator._kind()
    if getattr(estimator, "_fitted_kind", kind) != kind:
        raise ValueError(
            f"cannot store a model that was fitted as {estimator._fitted_kind} and whose arguments "
            f"have been changed to {kind} since"
        )
    arrays = {**_named_latent(model.latent), **_named(estimator._emission(), model.emission)}
    _checked_model(estimator, arrays)
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _named_latent(parameters: np.ndarray | ChainParameters | GateParameters) -> dict[str, Any]:
    """The arrays of the parameters of a latent structure."""
    if isinstance(parameters, np.ndarray):
        return {"weights": parameters}
    prefix = "gate." if isinstance(parameters, GateParameters) else ""
    return {f"{prefix}{name}": array for name, array in vars(parameters).items()}


def _named(emission: Emission, parameters: Any, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of an emission's parameters, those of a product after the names of its parts."""
    if isinstance(emission, Product):
        parts = zip(emission.names, emission.parts, parameters, strict=True)
        return {
            key: array
            for name, part, own in parts
            for key, array in _named(part, own, f"{prefix}{name}.").items()
        }
    return {f"{prefix}{name}": array for name, array in vars(parameters).items()}


def _is_chain(estimator: EMEstimator) -> bool:
    return isinstance(estimator, FittedHMM)


def _has_parts(estimator: EMEstimator) -> bool:
    """Whether an argument says which emission describes which columns."""
    return isinstance(estimator, OfColumns) and estimator._has_parts


def _main_attribute(estimator: EMEstimator) -> np.ndarray:
    if isinstance(estimator, MixtureOfExperts):
        return estimator.gate_coef_
    return estimator.startprob_ if _is_chain(estimator) else estimator.weights_


def _described_emissions(estimator: OfColumns) -> list[dict[str, Any]] | dict[str, Any]:
    """What says which emission describes which columns, as JSON can hold it.

    There are positions for callables. One emission of all columns is by itself.
    """
    described = []
    pairs = zip(estimator._checked_emissions(), estimator._parts(), strict=True)
    for (name, emission, columns), (_, _, positions) in pairs:
        _, arguments = EMISSIONS[type(emission)]
        columns = positions if callable(columns) else columns
        if isinstance(columns, slice):
            columns = {"slice": [columns.start, columns.stop, columns.step]}
        described.append(
            {
                "name": name,
                "class": type(emission).__name__,
                "arguments": {key: _plain(name, getattr(emission, key)) for key in arguments},
                "columns": _plain(name, columns),
            }
        )
    return described if _is_listed(estimator) else described[0]


def _is_listed(estimator: OfColumns) -> bool:
    return isinstance(getattr(estimator, estimator._emissions_argument), list | tuple)


def _described_values(values: np.ndarray) -> dict[str, Any]:
    """Names of classes or categories."""
    return {
        "dtype": values.dtype.str,
        "values": [_plain("classes_", value, classes=True) for value in values.tolist()],
    }


def _described(estimator: EMEstimator) -> dict[str, Any]:
    """Fitted attributes besides the parameters, as JSON can hold them."""
    attributes: dict[str, Any] = {
        name: kind(getattr(estimator, name))
        for name, kind in SCALARS.items()
        if hasattr(estimator, name)
    }
    if hasattr(estimator, "lower_bounds_"):
        attributes["lower_bounds_"] = estimator.lower_bounds_.tolist()
        attributes["history"] = list(estimator._history)
        attributes["restarts_"] = [_restart_as_dict(restart) for restart in estimator.restarts_]
    if hasattr(estimator, "noise_bounds_"):
        attributes["noise_bounds_"] = estimator.noise_bounds_.tolist()
    if hasattr(estimator, "feature_names_in_"):
        attributes["feature_names_in_"] = [str(name) for name in estimator.feature_names_in_]
    if hasattr(estimator, "classes_"):
        attributes["classes_"] = _described_values(estimator.classes_)
    if isinstance(estimator, OfCategories):
        attributes["categories_"] = [_described_values(each) for each in estimator.categories_]
    if isinstance(estimator, MixtureOfExperts):
        for name in ("gate_location_", "gate_scale_"):
            attributes[name] = getattr(estimator, name).tolist()
        if _has_parts(estimator):
            attributes["targets"] = estimator._described_targets()
    if _has_parts(estimator):
        attributes["columns"] = [columns for _, _, columns in estimator._parts()]
        attributes["categories_"] = {
            name: [_described_values(each) for each in categories]
            for name, categories in estimator.categories_.items()
        }
    return attributes


def _python_number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"cannot store {value!r} of {type(value)}")


def _restart_as_dict(restart: Restart) -> dict[str, Any]:
    """JSON has no infinity: the score of a failed start is null."""
    values = asdict(restart)
    if not np.isfinite(restart.score):
        values["score"] = None
    return values


def _numbers(name: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: cannot store an array of {array.dtype}; expected numbers")
    return array


def _plain(name: str, value: Any, classes: bool = False) -> Any:
    """The value as JSON has it."""
    if isinstance(value, np.random.RandomState):
        return None
    if hasattr(value, "__array__") and np.ndim(value) == 0:
        value = np.asarray(value).item()
    if isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and np.isfinite(value):
        return float(value)
    if not classes:
        if value is None:
            return value
        if isinstance(value, list | tuple):
            return [_plain(name, item) for item in value]
        if isinstance(value, set | frozenset):
            return sorted(_plain(name, item) for item in value)
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {key: _plain(name, item) for key, item in value.items()}
        if hasattr(value, "__array__"):
            return _plain(name, np.asarray(value).tolist())
    expected = (
        "strings or numbers" if classes else "None, strings, numbers, lists, mappings or arrays"
    )
    raise TypeError(f"{name}: cannot store {value!r} of {type(value)}; expected {expected}")


# Reading


def _read(file: BinaryIO, path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of an archive, or an error that names the file."""
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{path}: not an emfast model, or a damaged one: no .npz archive")
    file.seek(0)
    try:
        _check_stored(file)
        with np.load(file, allow_pickle=False) as archive:
            header = json.loads(archive["header"].tobytes()) if "header" in archive else {}
            ours = isinstance(header, dict) and header.get("format") == FORMAT
            arrays = {name: archive[name] for name in archive.files if ours}
    except Exception as error:
        # Whatever zipfile, zlib, NumPy and json raise for damaged bytes; the list is long and open.
        raise ValueError(f"{path}: a damaged file ({_line(error)})") from error
    if not ours:
        raise ValueError(f"{path}: an .npz archive, but not an emfast model")
    if type(header.get("format_version")) is not int or header["format_version"] < 1:
        raise ValueError(f"{path}: not a valid emfast model (no format version)")
    return header, arrays


def _check_stored(file: BinaryIO) -> None:
    """Entries that are stored as they are cannot unpack to more than the file holds."""
    with zipfile.ZipFile(file) as archive:
        packed = [info.filename for info in archive.infolist() if info.compress_type]
    if packed:
        raise ValueError(f"{packed[0]} is compressed; expected entries as they are")
    file.seek(0)


def _line(error: Exception) -> str:
    """The error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _estimator(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> EMEstimator:
    name = header["class"]
    if name not in CLASSES:
        raise ValueError(f"class {name!r}; expected one of {sorted(CLASSES)}")
    kind = CLASSES[name]
    given = [key.removeprefix("parameter.") for key in arrays if key.startswith("parameter.")]
    parameters = {**header["parameters"], **{key: arrays[f"parameter.{key}"] for key in given}}
    unknown = sorted(parameters.keys() - set(kind._get_param_names()))
    if unknown:
        raise ValueError(f"unknown parameters {unknown}")
    if issubclass(kind, OfColumns):
        argument = kind._emissions_argument
        parameters[argument] = _emissions(parameters[argument])
    estimator = kind(**parameters)
    # covariance_type decides on the shapes below.
    estimator._validate_params()
    dtype = header["dtype"]
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype {dtype!r}; expected float32 or float64")
    _set_described(estimator, header["attributes"])
    estimator._set_model(_checked_model(estimator, arrays), np.dtype(dtype))
    return estimator


def _emissions(described: Any) -> Any:
    """What says which emission describes which columns."""
    if isinstance(described, str):
        return described
    if isinstance(described, dict):
        return _emission(**described)[1]
    return [_emission(**each) for each in described]


def _emission(**described: Any) -> tuple[str, Emission, Any]:
    """One of the tuples (name, emission, columns)."""
    kinds = {kind.__name__: kind for kind in EMISSIONS}
    kind = kinds[described["class"]]
    columns = described["columns"]
    if isinstance(columns, dict):
        columns = slice(*columns["slice"])
    return described["name"], kind(**described["arguments"]), columns


def _checked_model(estimator: EMEstimator, arrays: dict[str, np.ndarray]) -> Model:
    """The model, of parameters whose shapes agree, for the kernels trust them."""
    if _is_chain(estimator):
        return _checked_chain(estimator, arrays)
    if isinstance(estimator, MixtureOfExperts):
        gate = _checked_gate(estimator, arrays)
        return Model(gate, _parameters(estimator._emission(), arrays, "", len(gate.shares)))
    weights = _checked_weights("weights", arrays)
    K = len(weights) - getattr(estimator, "_has_noise", False)
    return Model(weights, _parameters(estimator._emission(), arrays, "", K))


def _checked_weights(name: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    weights = arrays[name]
    if weights.ndim != 1:
        raise ValueError(f"{name} of {weights.shape}")
    weights = _checked(name, weights, (len(weights),))
    if np.any(weights < 0):
        raise ValueError(f"{name} are negative")
    return weights


def _checked_gate(estimator: MixtureOfExperts, arrays: dict[str, np.ndarray]) -> GateParameters:
    shares = _checked_weights("gate.shares", arrays)
    K, C = len(shares), estimator.n_features_in_
    if estimator.gate_location_.shape != (C,) or estimator.gate_scale_.shape != (C,):
        raise ValueError(f"gate_location_ or gate_scale_ is not of {C} features")
    coef = _checked("gate.coef", arrays["gate.coef"], (K, C))
    return GateParameters(coef, _checked("gate.intercept", arrays["gate.intercept"], (K,)), shares)


def _checked_chain(estimator: EMEstimator, arrays: dict[str, np.ndarray]) -> Model:
    K = len(np.atleast_1d(arrays["startprob"]))
    chain = ChainParameters(
        _checked("startprob", arrays["startprob"], (K,)),
        _checked("transmat", arrays["transmat"], (K, K)),
    )
    for name, probabilities in vars(chain).items():
        if np.any(probabilities < 0) or np.any(abs(probabilities.sum(axis=-1) - 1) > 1e-6):
            raise ValueError(f"{name} are no probabilities that sum to 1")
    return Model(chain, _parameters(estimator._emission(), arrays, "", K))


def _parameters(emission: Emission, arrays: dict[str, np.ndarray], prefix: str, K: int) -> Any:
    if isinstance(emission, Product):
        return ProductParameters(
            _parameters(part, arrays, f"{prefix}{name}.", K)
            for name, part in zip(emission.names, emission.parts, strict=True)
        )
    located = arrays[prefix + emission.groups[0]]
    if located.ndim != 2:
        raise ValueError(f"{prefix}{emission.groups[0]} of {located.shape}")
    values = {
        name: _checked(prefix + name, arrays[prefix + name], shape)
        for name, shape in _shapes(emission, K, located.shape[1]).items()
    }
    if "factors" in values and not np.all(_scales(values["factors"], emission) > 0):
        raise ValueError("factors of the precisions are not positive")
    if "noise_variances" in values and not np.all(values["noise_variances"] > 0):
        raise ValueError(f"{prefix}noise_variances are not positive")
    if "probabilities" in values and np.any(abs(values["probabilities"] - 0.5) > 0.5):
        raise ValueError("probabilities are not between 0 and 1")
    if isinstance(emission, RateEmission):
        emission.checked(f"{prefix}rates", "rates", values["rates"], *values["rates"].shape)
    if isinstance(emission, Categorical):
        values["levels"] = emission.levels
    return EMISSIONS[type(emission)][0](**values)


def _checked(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.dtype != np.float64 or array.shape != shape or array.size == 0:
        raise ValueError(
            f"{name} is {array.dtype} of shape {array.shape}; expected float64 of {shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite")
    return np.ascontiguousarray(array)


def _scales(factors: np.ndarray, emission: Gaussian) -> np.ndarray:
    """What a precision's factor must have positive."""
    if emission.covariance_type in ("diag", "spherical"):
        return factors
    return np.diagonal(factors, axis1=-2, axis2=-1)


def _shapes(emission: Emission, K: int, D: int) -> dict[str, tuple[int, ...]]:
    """The shapes of parameters of K components, the first of which has D columns."""
    if isinstance(emission, Gaussian):
        shapes = {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}
        shape = shapes[emission.covariance_type]
        return {"means": (K, D), "covariances": shape, "factors": shape}
    if isinstance(emission, LinearRegression):
        noise = {"intercept": (K,), "noise_variances": (K,)}
        return {"coef": (K, D), **noise, "centre": (D + 1,), "spread": (D,)}
    if isinstance(emission, Categorical):
        return {"probabilities": (K, int(emission.levels.sum()))}
    return {emission.groups[0]: (K, D)}


def _set_described(estimator: EMEstimator, attributes: dict[str, Any]) -> None:
    for name, kind in SCALARS.items():
        if name in attributes:
            setattr(estimator, name, kind(attributes[name]))
    if "lower_bounds_" in attributes:
        estimator.lower_bounds_ = np.array(attributes["lower_bounds_"], np.float64)
        estimator._history = [float(objective) for objective in attributes["history"]]
        estimator.restarts_ = [_restart(values) for values in attributes["restarts_"]]
    if "noise_bounds_" in attributes:
        bounds = np.array(attributes["noise_bounds_"], np.float64)
        if bounds.ndim != 2 or len(bounds) != 2 or not np.all(bounds[0] < bounds[1]):
            raise ValueError(f"noise_bounds_ of {bounds.shape}, or not least before largest")
        estimator.noise_bounds_ = bounds
    if "feature_names_in_" in attributes:
        estimator.feature_names_in_ = _objects([str(n) for n in attributes["feature_names_in_"]])
    if "classes_" in attributes:
        estimator.classes_ = _classes(**attributes["classes_"])
    if isinstance(estimator, OfCategories):
        estimator.categories_ = [_classes(**each) for each in attributes["categories_"]]
    if isinstance(estimator, MixtureOfExperts):
        for name in ("gate_location_", "gate_scale_"):
            setattr(estimator, name, np.array(attributes[name], np.float64))
        if _has_parts(estimator):
            estimator._set_targets(**attributes["targets"])
    if _has_parts(estimator):
        estimator.categories_ = {
            name: [_classes(**each) for each in categories]
            for name, categories in attributes["categories_"].items()
        }
        estimator._set_parts(attributes["columns"])


def _restart(values: dict[str, Any]) -> Restart:
    restart = Restart(**{f.name: values[f.name] for f in fields(Restart) if f.name in values})
    if restart.score is None:
        restart.score = -np.inf
    return restart


def _classes(dtype: str, values: list) -> np.ndarray:
    if np.dtype(dtype).kind == "O":
        return _objects(values)
    if np.dtype(dtype).kind not in "Ubiuf":
        raise ValueError(f"classes_ of dtype {dtype!r}")
    # A string type as long as the strings are, whatever the file says.
    return np.array(values, str if np.dtype(dtype).kind == "U" else dtype)


def _objects(values: list) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array
