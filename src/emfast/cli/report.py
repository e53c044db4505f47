"""Fitted models as tables on a console, and as what JSON can hold."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from emfast.cli import streamed
from emfast.cli.kinds import Data
from emfast.estimators.classifier import MixtureClassifier
from emfast.selection import Candidates, measured

# No line is folded where the output goes to a file or another program.
UNLIMITED_WIDTH = 1_000_000
# What a column of numbers takes at most on a terminal.
NUMBER_WIDTH = 14

# What people call facts about a fit, where it is not their name.
CALLED = {
    "log_likelihood": "log-likelihood",
    "with_labels": "with the labels",
    "log_evidence": "log evidence",
    "bic": "BIC",
    "aic": "AIC",
    "icl": "ICL",
    "n_parameters": "parameters",
    "n_iter": "iterations",
    "r_squared": "R squared",
    "noise_deviation": "noise deviation",
}
# Digits after the point.
DIGITS = {"log_likelihood": 6, "with_labels": 6, "log_evidence": 6, "bic": 4, "aic": 4, "icl": 4}


# Attributes of models with emissions of several kinds, by name.
OF_SEVERAL = ("emissions_", "emission_", "expert_")


class Section(NamedTuple):
    """Rows of a table of parameters; `values` has a column for each component."""

    title: str | None
    names: Sequence[str]
    values: np.ndarray


def console(stderr: bool = False) -> Console:
    """A console that prints names literally and, outside a terminal, folds no line."""
    plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "stderr": stderr}
    found = Console(**plain)
    return found if found.is_terminal else Console(width=UNLIMITED_WIDTH, **plain)


def print_fit(out: Console, model: Any, data: Data) -> None:
    """Print the parameters of a fitted model and how well it fits.

    Parameters
    ----------
    out : Console
    model : fitted estimator
    data : Data, what it was fitted to
    """
    print_parameters(out, model, data.names)
    for name, value in facts(model, data).items():
        out.print(f"{CALLED.get(name, name):<15}  {_said(name, value)}", soft_wrap=True)


def facts(model: Any, data: Data) -> dict[str, Any]:
    """How well a model fits: log-likelihood in nats, criteria, iterations."""
    if isinstance(model, MixtureClassifier):
        accuracy = {"accuracy": model.score(data.X, **data.fit_params)}
        inner = {name: v for name, v in data.fit_params.items() if name == "sample_weight"}
        return {**facts(model.mixture_, Data(data.X, data.names, inner)), **accuracy}
    found = measured(model, data.X, data.fit_params)
    if hasattr(model, "scores_"):
        found["log_evidence"] = float(model.scores_[-1]) if model.n_iter_ else None
        found["noise_deviation"] = float(model.alpha_**-0.5)
    elif "log_likelihood" not in found:
        mean = model.score(data.X, sample_weight=data.fit_params.get("sample_weight"))
        found["log_likelihood"] = mean * _total_weight(data)
    if "labels" in data.fit_params:
        found["with_labels"] = model.lower_bound_ * _total_weight(data)
    target = data.fit_params.get("y")
    if target is not None and _is_of_numbers(model, target):
        found["r_squared"] = model.score(data.X, target)
    order = ("log_likelihood", "log_evidence", "with_labels", "r_squared", "noise_deviation")
    order = (*order, "n_parameters", "bic", "aic", "icl", "n_iter", "converged", "degenerate")
    return {name: found[name] for name in order if found.get(name) not in (None, [])}


def _is_of_numbers(model: Any, target: np.ndarray | str) -> bool:
    """Whether a target, or the column of this name, has numbers and all of them."""
    if isinstance(target, str):
        return getattr(model, "expert", "linear") == "linear"
    return target.dtype.kind in "biuf" and bool(np.isfinite(target).all())


def _total_weight(data: Data) -> float:
    """The weight of all rows, which `lower_bound_` is a mean over."""
    if data.is_streamed:
        return streamed.total_weight(data)
    weights = data.fit_params.get("sample_weight")
    if weights is None:
        return float(len(data.X))
    return float(np.dot(weights, data.fit_params.get("lengths", np.ones(len(weights)))))


def _said(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in DIGITS:
        return f"{value:.{DIGITS[name]}f}"
    return number(value) if isinstance(value, float) else str(value)


def print_parameters(out: Console, model: Any, names: list[str]) -> None:
    """Print weights and means or whatever the model has, a column for each component.

    Tables that are too wide for the terminal are cut into several.
    """
    first, headers, found = parameters(model, names)
    names_of_rows = [name for section in found for name in (section.title or "", *section.names)]
    room = out.width - max(map(len, names_of_rows)) - 4
    per_table = max(1, room // max(NUMBER_WIDTH, 2 + max(map(len, headers))))
    for start in range(0, len(headers), per_table):
        shown = slice(start, start + per_table)
        table = new_table(first, *headers[shown])
        for section in found:
            if section.title is not None:
                table.add_row(section.title, style="dim")
            for name, row in zip(section.names, section.values, strict=True):
                table.add_row(name, *map(number, row[shown]))
            table.add_section()
        out.print(table)


def parameters(model: Any, names: list[str]) -> tuple[str, list[str], list[Section]]:
    """What components are called, one by one, and their parameters."""
    if isinstance(model, MixtureClassifier):
        first, headers, found = parameters(model.mixture_, names)
        classes = model.component_classes_.tolist()
        return first, [f"{k} {name}" for k, name in enumerate(classes)], found
    if hasattr(model, "scores_"):
        deviations = np.sqrt(np.diag(model.sigma_))
        values = np.column_stack([model.coef_, deviations])
        intercept = Section(None, ["intercept"], np.array([[model.intercept_, np.nan]]))
        return "", ["coefficient", "deviation"], [Section(None, names, values), intercept]
    if hasattr(model, "components_"):
        loadings = model.components_.T
        noise = np.broadcast_to(model.noise_variance_, len(names))
        values = np.column_stack([model.mean_, noise, loadings])
        factors = [f"factor {k}" for k in range(loadings.shape[1])]
        return "", ["mean", "noise variance", *factors], [Section(None, names, values)]
    K = int(model.n_components)
    classes = [str(name) for name in getattr(model, "classes_", ())]
    headers = [f"{k} {classes[k]}" if k < len(classes) else str(k) for k in range(K)]
    first = "state" if hasattr(model, "startprob_") else "component"
    return first, headers, [*_of_latent(model, names, headers), *_of_emission(model, names)]


def _of_latent(model: Any, names: list[str], headers: list[str]) -> Iterator[Section]:
    if hasattr(model, "weights_"):
        yield Section(None, ["weight"], model.weights_[None])
    if hasattr(model, "startprob_"):
        yield Section(None, ["start"], model.startprob_[None])
        yield Section("transitions to", headers, model.transmat_.T)
    if hasattr(model, "gate_coef_"):
        values = np.vstack([model.gate_intercept_, model.gate_coef_.T])
        yield Section("gate", ["intercept", *names], values)


def _of_emission(model: Any, names: list[str]) -> Iterator[Section]:
    several = next((vars(model)[name] for name in OF_SEVERAL if name in vars(model)), None)
    if several is None:
        categories = getattr(model, "categories_", None)
        shape = getattr(model, "covariance_type", None)
        yield from _sections(_attributes(model), names, categories, shape)
        return
    for name, emission, columns in model._parts():
        own = [name] if hasattr(model, "gate_coef_") else [names[column] for column in columns]
        values = {each.name: getattr(several[name], each.name) for each in _fields(several[name])}
        shape = getattr(emission, "covariance_type", None)
        yield from _sections(values, own, model.categories_.get(name), shape)


def _fields(value: Any) -> tuple:
    return fields(value) if is_dataclass(value) else ()


def _attributes(model: Any) -> dict[str, np.ndarray]:
    names = ("means", "covariances", "covars", "probabilities", "rates")
    names = (*names, "coef", "intercept", "noise_variances")
    return {name: getattr(model, f"{name}_") for name in names if hasattr(model, f"{name}_")}


def _sections(
    values: dict[str, Any],
    names: list[str],
    categories: Sequence[np.ndarray] | None,
    covariance_type: str | None,
) -> Iterator[Section]:
    """The parameters of one emission."""
    if categories is not None:
        yield from _of_categories(values["probabilities"], names, categories)
        return
    for name in ("means", "probabilities", "rates"):
        if name in values:
            yield Section(name, names, values[name].T)
    if "coef" in values:
        yield Section("coefficients", names, values["coef"].T)
        yield Section(None, ["intercept"], values["intercept"][None])
        yield Section(None, ["noise variance"], values["noise_variances"][None])
    spread = values.get("covariances", values.get("covars"))
    if spread is not None:
        K, D = values["means"].shape
        yield Section("standard deviations", names, _deviations(spread, covariance_type, (K, D)).T)


def _of_categories(
    probabilities: Any, names: list[str], categories: Sequence[np.ndarray]
) -> Iterator[Section]:
    if not isinstance(probabilities, list):
        # Of several columns, one after the other.
        ends = np.cumsum([len(each) for each in categories])[:-1]
        probabilities = np.split(probabilities, ends, axis=1)
    for name, levels, values in zip(names, categories, probabilities, strict=True):
        yield Section(f"probabilities of {name}", [str(level) for level in levels], values.T)


def _deviations(
    covariances: np.ndarray, covariance_type: str | None, shape: tuple[int, int]
) -> np.ndarray:
    """Standard deviations of every feature in every component."""
    if covariance_type in ("full", "tied"):
        covariances = np.diagonal(covariances, axis1=-2, axis2=-1)
    elif covariance_type == "spherical":
        covariances = covariances[:, None]
    return np.sqrt(np.broadcast_to(covariances, shape))


def described(model: Any, data: Data) -> dict[str, Any]:
    """What `print_fit` prints, for JSON."""
    first, headers, found = parameters(model, data.names)
    return {
        "model": type(model).__name__,
        "columns": data.names,
        (first or "value") + "s": headers,
        "parameters": [
            {"of": section.title, **dict(zip(section.names, section.values, strict=True))}
            for section in found
        ],
        **facts(model, data),
    }


def print_selection(out: Console, table: Candidates) -> None:
    """Print what was tried, the best model marked."""
    shown = table.shown()
    headers = [CALLED.get(name, name.removeprefix("n_").replace("_", " ")) for name in shown]
    printed = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        printed.add_column(header, justify="right", no_wrap=True)
    printed.add_column("", no_wrap=True)
    for row, (each, cells) in enumerate(zip(table, table.cells(shown), strict=True)):
        printed.add_row(*cells, table.remark(row), style="bold" if each.best else "")
    out.print(printed)


def new_table(first: str, *others: str) -> Table:
    """A table with names in the first column and numbers in the others."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for header in others:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"
