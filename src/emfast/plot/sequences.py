"""Sequences over time, and the states that they pass through."""

from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from emfast.annotations import Rows, Values
from emfast.estimators.base.hmm import BaseHMM
from emfast.plot.axes import TOP, colours_of, new_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def states(
    model: BaseHMM,
    X: Rows,
    lengths: Values | None = None,
    column: int = 0,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a column over time, on the colours of the states of the most probable path.

    Parameters
    ----------
    model : fitted hidden Markov model
    X : array-like of shape (n_samples, n_features), of numbers in the column
    lengths : array-like of shape (n_sequences,), optional
        As in `fit`: where a sequence ends there is a line.
    column : int, default=0
        Which column of X to draw.
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        There is no such column.
    """
    check_is_fitted(model)
    path = model.predict(X, lengths)
    rows = np.asarray(X)
    if not 0 <= column < rows.shape[1]:
        raise ValueError(f"column: found {column}; expected 0 to {rows.shape[1] - 1}")
    values = rows[:, column].astype(np.float64)
    ax = new_axes(ax)
    colours, classes = colours_of(model.n_components), getattr(model, "classes_", ())
    named: dict[int, str] = {}
    for first, last in _stretches(path, lengths):
        k = int(path[first])
        label = None
        if k not in named:
            label = named[k] = str(classes[k]) if k < len(classes) else f"state {k}"
        style = {"color": colours[k], "alpha": 0.3, "linewidth": 0, "zorder": 1}
        ax.axvspan(first - 0.5, last + 0.5, label=label, **style)
    ends = np.cumsum(lengths)[:-1] if lengths is not None else []
    for end in ends:
        ax.axvline(end - 0.5, color=TOP, linewidth=0.8, linestyle=":", zorder=2)
    broken = np.insert(values, ends, np.nan) if len(ends) else values
    times = np.insert(np.arange(len(values), dtype=float), ends, np.nan) if len(ends) else None
    few = len(values) <= 400
    ax.plot(
        np.arange(len(values)) if times is None else times, broken, color=TOP, linewidth=0.9,
        marker="." if few else None, markersize=4, zorder=3,
    )  # fmt: skip
    ax.set_xlim(-0.5, len(values) - 0.5)
    names = getattr(model, "feature_names_in_", ())
    ax.set_xlabel("row")
    ax.set_ylabel(names[column] if len(names) else f"column {column}")
    plain(ax)
    ax.grid(visible=False, axis="x")
    handles = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    order = [name for _, name in sorted(named.items())]
    ax.legend(
        [handles[name] for name in order], order,
        frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=6,
    )  # fmt: skip
    return ax


def _stretches(path: np.ndarray, lengths) -> list[tuple[int, int]]:
    """First and last rows of the stretches that stay in one state of one sequence."""
    begins = np.flatnonzero(np.diff(path, prepend=-1))
    if lengths is not None:
        begins = np.union1d(begins, np.cumsum([0, *lengths])[:-1])
    return list(zip(begins.tolist(), [*(begins[1:] - 1).tolist(), len(path) - 1], strict=True))
