"""What ``--model`` names: estimators, the options they take, the columns of a table they need."""

import inspect
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import emfast
from emfast import emissions
from emfast.data.tables import Table, TableError
from emfast.estimators.base.hmm import BaseHMM

# By name, the estimator.
MODELS: dict[str, type] = {
    "gaussian": emfast.GaussianMixture,
    "bernoulli": emfast.BernoulliMixture,
    "categorical": emfast.CategoricalMixture,
    "poisson": emfast.PoissonMixture,
    "binomial": emfast.BinomialMixture,
    "exponential": emfast.ExponentialMixture,
    "mixed": emfast.Mixture,
    "classifier": emfast.MixtureClassifier,
    "gaussian-hmm": emfast.GaussianHMM,
    "bernoulli-hmm": emfast.BernoulliHMM,
    "categorical-hmm": emfast.CategoricalHMM,
    "poisson-hmm": emfast.PoissonHMM,
    "hmm": emfast.HMM,
    "regression": emfast.LinearRegressionMixture,
    "experts": emfast.MixtureOfExperts,
    "bayesian-regression": emfast.BayesianLinearRegression,
    "factor-analysis": emfast.FactorAnalysis,
}

# Those whose columns are of several kinds, with the argument that says which is of what kind.
OF_COLUMNS = {"mixed": "emissions", "hmm": "emission"}
# Those whose columns need not be numbers.
ANY_VALUES = {"categorical", "categorical-hmm", *OF_COLUMNS}
# Those that may have a target of any kind.
EXPERTS = "experts"
# Those that have a target, or classes to learn.
WITH_TARGET = {"classifier", "regression", "experts", "bayesian-regression"}
CLASSIFIER = "classifier"

# More different strings than these are no categories where few of them occur twice.
MOST_LEVELS = 20

EMISSIONS = {
    "gaussian": lambda: emissions.Gaussian("diag"),
    "gaussian-full": lambda: emissions.Gaussian("full"),
    "bernoulli": emissions.Bernoulli,
    "categorical": emissions.Categorical,
    "poisson": emissions.Poisson,
    "binomial": emissions.Binomial,
    "exponential": emissions.Exponential,
}


@dataclass
class Data:
    """What an estimator is fitted to.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features), or a source of rows that are not loaded
    names : list of str, the columns of X
    fit_params : dict, the other arguments of `fit`
    is_streamed : bool, whether X is a source, of which the other arguments are names of columns
    """

    X: Any
    names: list[str]
    fit_params: dict[str, Any] = field(default_factory=dict)
    is_streamed: bool = False


@dataclass
class Roles:
    """Which columns of a table are no features; `columns` are the features, if not all others."""

    labels: str | None = None
    weights: str | None = None
    target: str | None = None
    sequences: str | None = None
    columns: list[str] | None = None

    def named(self) -> dict[str, str]:
        """The columns that have a role, by the option that says so."""
        given = {
            "--labels-column": self.labels,
            "--weights-column": self.weights,
            "--target-column": self.target,
            "--sequence-column": self.sequences,
        }
        found: dict[str, str] = {}
        for option, name in given.items():
            for other, taken in found.items():
                if name == taken:
                    raise ValueError(
                        f"{other} and {option} are both {name!r}; expected two columns"
                    )
            if name is not None:
                found[option] = name
        for name in self.columns or ():
            for option, taken in found.items():
                if name == taken:
                    raise ValueError(f"--columns and {option} both have {name!r}; expected one")
        return found


@dataclass
class Emissions:
    """What ``--emission`` says.

    Attributes
    ----------
    given : list of str
        ``KIND=COLUMN,COLUMN`` for columns of several kinds, and the ``KIND`` of a target.
    trials : int or None, those of binomial counts
    """

    given: list[str]
    trials: int | None = None

    def check(self, model: str) -> bool:
        """Raise where a model has no use for it; whether it uses the trials."""
        if self.given and model not in (*OF_COLUMNS, EXPERTS):
            raise ValueError(f"--emission needs --model {', '.join(OF_COLUMNS)} or {EXPERTS}")
        if model == EXPERTS and len(self.given) > 1:
            raise ValueError(f"--emission: found {self.given}; expected one, that of the target")
        kinds = [self.split(text, model)[0] for text in self.given]
        if "binomial" in kinds and self.trials is None:
            raise ValueError("--emission binomial needs --trials")
        if kinds and "binomial" not in kinds and self.trials is not None:
            raise ValueError(f"--trials needs --emission binomial; found {', '.join(kinds)}")
        return "binomial" in kinds

    def split(self, text: str, model: str) -> tuple[str, list[str]]:
        """Kind and columns."""
        kind, _, columns = text.partition("=")
        if kind not in EMISSIONS or bool(columns) != (model != EXPERTS):
            expected = "KIND" if model == EXPERTS else "KIND=COLUMN,COLUMN"
            raise ValueError(
                f"--emission: found {text!r}; expected {expected} with a kind among "
                f"{', '.join(EMISSIONS)}"
            )
        return kind, split(columns)

    def made(self, kind: str) -> Any:
        return EMISSIONS[kind](self.trials) if kind == "binomial" else EMISSIONS[kind]()


def check_has(model: str, criterion: str) -> None:
    """Raise where there are no numbers of components to select among by a criterion."""

    def has(kind: type) -> bool:
        return hasattr(kind, criterion) and "n_components" in inspect.signature(kind).parameters

    if not has(MODELS[model]):
        able = ", ".join(name for name, kind in MODELS.items() if has(kind))
        raise ValueError(f"select by {criterion} needs --model {able}; found {model}")


@contextmanager
def columns_named(names: list[str]) -> Iterator[None]:
    """What messages call columns by their places has names in the block."""

    def named(found: re.Match[str]) -> str:
        return f"column {names[int(found[1])]!r}"

    try:
        yield
    except (TypeError, ValueError) as error:
        said = re.sub(r"\bcolumn (\d+)\b", named, str(error))
        if not str(error).startswith("X: ") or said == str(error):
            raise
        raise type(error)(said) from error


def estimator(
    model: str, options: Mapping[str, Any], settings: Mapping[str, Any], progress: bool
) -> Any:
    """The estimator that ``--model`` names, with its options.

    Parameters
    ----------
    model : str, a key of `MODELS`
    options : mapping of str to (argument, value)
        By the name of the option, like ``--covariance``; None where it was not given.
    settings : mapping of str to value, further arguments by their names
    progress : bool

    Raises
    ------
    ValueError
        The model has not the argument of an option.
    """
    kind = MODELS[model]
    inner = emfast.GaussianMixture if model == CLASSIFIER else kind
    takes = inspect.signature(inner).parameters
    arguments = {}
    for option, (argument, value) in options.items():
        if value is None:
            continue
        if model == CLASSIFIER and argument == "n_components":
            continue
        if argument not in takes:
            raise ValueError(f"{option} needs --model {_who_takes(argument)}; found {model}")
        arguments[argument] = value
    for name, value in settings.items():
        if name not in takes:
            raise ValueError(f"--set: found {name!r}; expected arguments of {inner.__name__}")
        arguments[name] = value
    if "n_trials" in takes and "n_trials" not in arguments:
        raise ValueError(f"--model {model} needs --trials")
    made = inner(**arguments, progress=progress)
    if model != CLASSIFIER:
        return made
    count = options["--components"][1]
    return kind(made, components_per_class=1 if count is None else count)


def _who_takes(argument: str) -> str:
    """The models with this argument, in words."""
    names = [
        name for name, kind in MODELS.items() if argument in inspect.signature(kind).parameters
    ]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def read(model: str, table: Table, roles: Roles, emission: Emissions) -> Data:
    """Rows and the other arguments of `fit`, from the columns of a table."""
    check_roles(model, roles)
    others = list(roles.named().values())
    for name in others:
        table.column(name)
    part = table if roles.columns is None else table.only(roles.columns)
    data = Data(*_features(model, part, others))
    if roles.labels is not None:
        data.fit_params["labels"] = table.labels(roles.labels)
    if roles.target is not None and (model == CLASSIFIER or "categorical" in emission.given):
        data.fit_params["y"] = table.labels(roles.target)
    elif roles.target is not None:
        missing = bool(emission.given)
        data.fit_params["y"] = table.numbers(roles.target, allow_missing=missing)
    lengths = None
    if is_chain(MODELS[model]):
        lengths = sequence_lengths(table, roles.sequences)
        data.fit_params["lengths"] = lengths
    if roles.weights is not None:
        weights = table.numbers(roles.weights)
        if lengths is not None:
            weights = _of_sequences(weights, lengths, roles.weights)
        data.fit_params["sample_weight"] = weights
    return data


def _features(model: str, table: Table, others: list[str]) -> tuple[np.ndarray, list[str]]:
    if model in ANY_VALUES:
        return table.values(others)
    try:
        return table.features(others)
    except TableError as error:
        raise TableError(
            f"{error}: --columns chooses features, and --model mixed takes those of any kind"
        ) from error


def is_chain(kind: type) -> bool:
    return issubclass(kind, BaseHMM)


def check_roles(model: str, roles: Roles) -> None:
    """Raise where the model lacks a column that it needs, or has one that it has no use for."""
    if model in WITH_TARGET and roles.target is None:
        raise ValueError(f"--model {model} needs --target-column")
    if model not in WITH_TARGET and roles.target is not None:
        raise ValueError(f"--target-column needs --model {' or '.join(sorted(WITH_TARGET))}")
    if roles.sequences is not None and not is_chain(MODELS[model]):
        chains = [name for name, kind in MODELS.items() if is_chain(kind)]
        raise ValueError(f"--sequence-column needs --model {' or '.join(chains)}")
    takes = inspect.signature(MODELS[model].fit).parameters
    if roles.labels is not None and "labels" not in takes:
        raise ValueError(f"--labels-column: found with --model {model}, which has no labels")


def sequence_lengths(table: Table, name: str | None) -> np.ndarray:
    """How many rows each sequence has, whose rows have the same value in a column; else one."""
    if name is None:
        return np.array([table.n_rows])
    values = table.labels(name)
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), np.inf, values)
    begins = np.append(0, 1 + np.flatnonzero(values[1:] != values[:-1]))
    seen: set[Any] = set()
    for row in begins.tolist():
        value = values[row]
        if value in seen:
            raise TableError(
                f"column {name!r}: found {value!s} again in row {row}; expected the rows of a "
                "sequence one after the other"
            )
        seen.add(value)
    return np.diff(np.append(begins, table.n_rows))


def _of_sequences(weights: np.ndarray, lengths: np.ndarray, name: str | None) -> np.ndarray:
    """The weight of each sequence, which all its rows have."""
    first = np.cumsum(lengths) - lengths
    same = weights == np.repeat(weights[first], lengths)
    if not same.all():
        row = int(np.argmin(same))
        raise TableError(
            f"column {name!r}: found {weights[row]:g} in row {row}; expected one weight for all "
            "rows of a sequence"
        )
    return weights[first]


def with_emissions(
    model: str, made: Any, table: Table | None, data: Data, emission: Emissions
) -> None:
    """Tell an estimator what describes its columns, or its target.

    Parameters
    ----------
    model : str, a key of `MODELS`
    made : the estimator, whose argument is set if it has one
    table : Table, whose columns have types; None where emissions are given
    data : Data
    emission : Emissions
        Columns of no kind are not used. Without any, strings are categorical, zeros and ones
        Bernoulli, and other numbers Gaussian.
    """
    if model == EXPERTS and emission.given:
        made.set_params(expert=[("target", emission.made(emission.given[0]), [0])])
    if model not in OF_COLUMNS:
        return
    of_kind: dict[str, list[str]] = {}
    for text in emission.given:
        kind, columns = emission.split(text, model)
        of_kind.setdefault(kind, []).extend(columns)
    if not emission.given:
        for name in data.names:
            kind = _likely_kind(table.column(name))
            of_kind.setdefault(kind, []).append(name)
            if kind == "categorical":
                _warn_of_names(name, table.column(name))
    place = {name: j for j, name in enumerate(data.names)}
    parts = []
    for kind, columns in of_kind.items():
        for name in columns:
            if name not in place:
                raise ValueError(f"--emission: there is no column {name!r} among the features")
        parts.append((kind, emission.made(kind), [place[name] for name in columns]))
    made.set_params(**{OF_COLUMNS[model]: parts})


def _warn_of_names(name: str, values: np.ndarray) -> None:
    """Warn of strings that tell rows apart, which are no categories."""
    present = [value for value in values.tolist() if value is not None]
    n_levels = len(set(present))
    if n_levels > MOST_LEVELS and 2 * n_levels > len(present):
        warnings.warn(
            f"column {name!r} has {n_levels} different strings in {len(present)} cells, such as "
            f"{str(present[0])!r}, and is taken for categories; --columns chooses features",
            stacklevel=2,
        )


def _likely_kind(values: np.ndarray) -> str:
    """What describes values best that nothing else is known of."""
    if values.dtype.kind == "O":
        return "categorical"
    return "bernoulli" if np.isin(values[~np.isnan(values)], (0, 1)).all() else "gaussian"


def split(text: str) -> list[str]:
    """Names that commas separate."""
    return [name.strip() for name in text.split(",") if name.strip()]
