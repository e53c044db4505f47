"""Fitted mixtures as tables on a console."""

from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from emfast.base_mixture import BaseMixture

# No line is folded where the output goes to a file or another program.
UNLIMITED_WIDTH = 1_000_000
# What a column of numbers takes at most on a terminal.
NUMBER_WIDTH = 14


def console(stderr: bool = False) -> Console:
    """A console that prints names literally and, outside a terminal, folds no line."""
    plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "stderr": stderr}
    found = Console(**plain)
    return found if found.is_terminal else Console(width=UNLIMITED_WIDTH, **plain)


def print_fit(
    out: Console,
    mixture: BaseMixture,
    X: np.ndarray,
    names: list[str],
    weights: np.ndarray | None = None,
    labelled: bool = False,
) -> None:
    """Print the parameters of a fitted mixture and how well it fits.

    Parameters
    ----------
    out : Console
    mixture : GaussianMixture or BernoulliMixture
    X : ndarray of shape (n_samples, n_features), the rows it was fitted to
    names : list of str, the names of the features
    weights : ndarray of shape (n_samples,), optional
    labelled : bool, whether rows had labels
    """
    print_parameters(out, mixture, names)
    total = len(X) if weights is None else float(np.sum(weights))
    facts = {"log-likelihood": f"{mixture.score(X, sample_weight=weights) * total:.6f}"}
    if labelled:
        facts["with the labels"] = f"{mixture.lower_bound_ * total:.6f}"
    facts["BIC"] = f"{mixture.bic(X, sample_weight=weights):.4f}"
    facts["iterations"] = str(mixture.n_iter_)
    facts["converged"] = "yes" if mixture.converged_ else "no"
    for name, value in facts.items():
        out.print(f"{name:<15}  {value}", soft_wrap=True)


def print_parameters(out: Console, mixture: BaseMixture, names: list[str]) -> None:
    """Print weights and means or probabilities, a column for each component.

    Tables that are too wide for the terminal are cut into several.
    """
    kind = "means" if hasattr(mixture, "means_") else "probabilities"
    values = getattr(mixture, f"{kind}_")
    K = len(mixture.weights_)
    classes = [str(name) for name in getattr(mixture, "classes_", ())]
    headers = [f"{k} {classes[k]}" if k < len(classes) else str(k) for k in range(K)]
    room = out.width - max(map(len, [*names, kind])) - 4
    per_table = max(1, room // max(NUMBER_WIDTH, 2 + max(map(len, headers))))
    for first in range(0, K, per_table):
        shown = range(first, min(first + per_table, K))
        table = new_table("component", *(headers[k] for k in shown))
        table.add_row("weight", *(number(mixture.weights_[k]) for k in shown), end_section=True)
        table.add_row(kind, style="dim")
        for name, row in zip(names, values.T, strict=True):
            table.add_row(name, *(number(row[k]) for k in shown))
        out.print(table)


def new_table(first: str, *others: str) -> Table:
    """A table with names in the first column and numbers in the others."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for header in others:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def number(value: float) -> str:
    return f"{value:.6g}"
