"""How the objective of every start grew."""

from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from emfast.plot.axes import COLOURS, LOST, new_axes, number, plain, whole_numbers
from emfast.starts.records import Restart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Iterations from which on the first of them would take too little room.
MANY_ITERATIONS = 50


def trace(model, ax: "Axes | None" = None) -> "Axes":
    """Draw how the objective of every start grew: initialisation matters.

    Parameters
    ----------
    model : fitted estimator
        With its starts in ``restarts_``, if it has several. The one that was kept stands out; a
        cross ends those with degenerate components, and dotted lines are starts that lost a race,
        on fewer rows.
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        No start ran for an iteration.
    """
    check_is_fitted(model)
    model = getattr(model, "mixture_", model)
    runs = [restart for restart in _starts(model) if restart.lower_bounds]
    if not runs:
        raise ValueError("model: found no iterations in its restarts_; expected some to draw")
    ax = new_axes(ax)
    n_rows, longest = max(run.n_rows for run in runs), max(run.n_iter for run in runs)
    for run in sorted(runs, key=lambda run: run.won):
        _draw_run(ax, run, ":" if run.n_rows < n_rows else "-")
    _show_ends(ax, runs)
    if longest > MANY_ITERATIONS:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
    else:
        whole_numbers(ax)
    ax.yaxis.get_major_formatter().set_useOffset(False)
    ax.set_xlabel("iteration")
    ax.set_ylabel("log evidence (nats)" if hasattr(model, "scores_") else "objective (nats a row)")
    plain(ax)
    if len(runs) == 1:
        return ax
    named = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    ax.legend(named.values(), named.keys(), frameon=False, loc="lower right")
    return ax


def _starts(model) -> list[Restart]:
    """How the starts went; of estimators that keep but the best, how that did."""
    if hasattr(model, "restarts_"):
        return model.restarts_
    mean = getattr(model, "lower_bounds_", getattr(model, "scores_", np.empty(0)))
    return [Restart(0, lower_bounds=mean.tolist(), n_iter=model.n_iter_, won=True)]


def _draw_run(ax, run: Restart, line: str) -> None:
    """The objective of one start after every iteration, with a mark where it ended."""
    iterations = np.arange(1, run.n_iter + 1)
    colour, width, above = (COLOURS[0], 2.6, 2) if run.won else (LOST, 1.3, 0)
    ax.plot(iterations, run.lower_bounds, line, color=colour, linewidth=width, zorder=2 + above)
    ax.plot(
        iterations[-1:],
        run.lower_bounds[-1:],
        "X" if run.degenerate else "o",
        color=COLOURS[1] if run.degenerate and not run.won else colour,
        markersize=9 if run.won else 7,
        markeredgecolor="white",
        label="kept" if run.won else "degenerate" if run.degenerate else "other starts",
        zorder=3 + above,
    )
    if run.won:
        ax.annotate(
            number(run.lower_bounds[-1], 5),
            (iterations[-1], run.lower_bounds[-1]),
            xytext=(4, 9),
            textcoords="offset points",
            ha="right",
            color=colour,
            zorder=6,
        )


def _show_ends(ax, runs: list[Restart]) -> None:
    """Show where curves end, if they come from so far below that their ends seem one."""
    ends = [run.lower_bounds[-1] for run in runs]
    top, spread = max(ends), np.ptp(ends)
    lowest = min(min(run.lower_bounds) for run in runs)
    if spread > 0.02 * (top - lowest):
        lowest = max(lowest, min(ends) - 2 * spread)
    room = 0.05 * (top - lowest) or 1.0
    ax.set_ylim(lowest - room, top + 2 * room)
