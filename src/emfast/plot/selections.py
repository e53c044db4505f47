"""How a criterion depends on what was tried."""

import itertools
from typing import TYPE_CHECKING

import numpy as np

from emfast.plot.axes import TOP, colours_of, legend, new_axes, number, plain, whole_numbers
from emfast.selection import Candidate, Candidates, Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A difference of criteria that is strong evidence (Kass and Raftery, Journal of the American
# Statistical Association 90, 1995), and the range over that of the better half that hides it.
DIFFERENCE = 10.0
CROWDED = 6


def selection(table: Candidates | Selection, ax: "Axes | None" = None) -> "Axes":
    """Draw how a criterion depends on the number of components, the lower the better.

    Parameters
    ----------
    table : Candidates or Selection, from `emfast.select`
        There is a line for each combination of what else is in the grid. The ring is what was
        picked; crosses are models with degenerate components. Fits that failed are left out.
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes
    """
    table = table.table if isinstance(table, Selection) else table
    ax = new_axes(ax)
    along = _along(table)
    lines: dict[str, list[Candidate]] = {}
    for each in table:
        if each.error is None:
            rest = (str(value) for name, value in each.params.items() if name != along)
            lines.setdefault(", ".join(rest), []).append(each)
    markers = itertools.cycle("os^Dv<>p")
    for colour, marker, (name, each) in zip(
        colours_of(len(lines)), markers, lines.items(), strict=False
    ):
        _draw_line(
            ax, each, table.criterion, along, color=colour, marker=marker, label=name or None
        )
    _show_pick(ax, table, along)
    ax.set_xlabel("components" if along == "n_components" else along)
    ax.set_ylabel(f"{table.criterion.upper()} (the lower the better)")
    plain(ax)
    if len(lines) > 1:
        legend(ax)
    return ax


def _along(table: Candidates) -> str:
    """The argument that a selection is drawn along: the components, or else the first."""
    names = list(table.columns())
    return "n_components" if "n_components" in names else names[0]


def _place(candidate: Candidate, along: str) -> float | str:
    """Where a candidate is along the axis: at its number, or what else it has, in words."""
    value = candidate.params.get(along)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _draw_line(ax, line: list[Candidate], criterion: str, along: str, **style) -> None:
    x = [_place(each, along) for each in line]
    y = [getattr(each, criterion) for each in line]
    ax.plot(x, y, linewidth=1.8, markersize=6, markeredgecolor="white", zorder=3, **style)
    for each in line:
        if each.degenerate:
            place = _place(each, along), getattr(each, criterion)
            ax.plot(*place, "X", color=style["color"], markersize=11, zorder=4)


def _show_pick(ax, table: Candidates, along: str) -> None:
    best = next(each for each in table if each.best)
    x, y = _place(best, along), getattr(best, table.criterion)
    ax.plot(x, y, "o", markersize=15, markerfacecolor="none", markeredgecolor=TOP, zorder=5)
    text = number(y, 6)
    ax.annotate(text, (x, y), xytext=(0, -20), textcoords="offset points", ha="center", zorder=6)
    if isinstance(x, int):
        whole_numbers(ax)
    values = [getattr(each, table.criterion) for each in table if each.error is None]
    _spread(ax, np.array(values), y)


def _spread(ax, values: np.ndarray, best: float) -> None:
    """Show how far values are from the best, where far ones would hide how near others are."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    range_ = values.max() - best
    if range_ <= CROWDED * max(np.median(values) - best, DIFFERENCE):
        ax.margins(y=0.12)
        return
    ax.set_yscale(
        "function",
        functions=(
            lambda y: np.arcsinh((np.asarray(y) - best) / DIFFERENCE),
            lambda t: best + DIFFERENCE * np.sinh(t),
        ),
    )
    steps = DIFFERENCE * 10.0 ** np.arange(np.ceil(np.log10(range_ / DIFFERENCE)))
    ax.yaxis.set_major_locator(FixedLocator([best, *(best + steps)]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FixedFormatter(["best", *(f"+{step:g}" for step in steps)]))
    lowest = min(values.min(), best)
    ax.set_ylim(lowest - 0.8 * DIFFERENCE, values.max() + 0.3 * range_)
