"""What EM makes of a grid of starts: objectives, and where paths lead."""

from typing import TYPE_CHECKING

import numpy as np

from emfast.landscape import Landscape, Paths
from emfast.plot.axes import colours_of, new_axes, number, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Quantile of the objective over a grid of starts below which colours do not tell more.
LOWEST_SHOWN = 0.02


def landscape(grid: Landscape, ax: "Axes | None" = None) -> "Axes":
    """Draw the objective that EM reaches from a grid of starts.

    Parameters
    ----------
    grid : Landscape, from `emfast.landscape.landscape`
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax)
    objective = np.ma.masked_invalid(grid.objective)
    levels = _levels(objective)
    plane, style = (grid.first, grid.second, objective), {"cmap": _surface(), "zorder": 1}
    if grid.n_iter == 0:
        # A smooth function of the start; later it jumps where another attractor begins to draw.
        drawn = ax.contourf(*plane, levels, extend="min", **style)
        contours(grid, ax)
    else:
        drawn = ax.pcolormesh(*plane, vmin=levels[0], vmax=objective.max(), **style)
    plural = "" if grid.n_iter == 1 else "s"
    when = f"after {grid.n_iter} iteration{plural}" if grid.n_iter else "of the start"
    bar = ax.figure.colorbar(drawn, ax=ax, label=f"objective {when} (nats a row)", pad=0.02)
    ticks = _round_numbers(7, objective, levels[0])
    bar.set_ticks(ticks[ticks <= objective.max()])
    bar.outline.set_visible(False)
    _name_plane(ax, grid.group, "initial ")
    ax.spines[:].set_visible(False)
    return ax


def contours(grid: Landscape, ax: "Axes", colour: str = "white") -> "Axes":
    """Draw lines of equal objective over another picture of the same grid of starts.

    Parameters
    ----------
    grid : Landscape, from `emfast.landscape.landscape`
    ax : matplotlib Axes
    colour : str, default="white"

    Returns
    -------
    matplotlib Axes
    """
    objective = np.ma.masked_invalid(grid.objective)
    levels = _levels(objective)
    # The closer, the higher: hills beside the highest would not show.
    depth = np.linspace(1.0, 0.1, 18) ** 2
    ax.contour(
        grid.first,
        grid.second,
        objective,
        objective.max() - depth * (objective.max() - levels[0]),
        colors=colour,
        linewidths=0.7,
        linestyles="solid",
        alpha=0.6,
        zorder=2,
    )
    return ax


def _levels(objective: np.ma.MaskedArray) -> np.ndarray:
    """Between which colours change; they begin where there is more to see."""
    return _round_numbers(36, objective, np.quantile(objective.compressed(), LOWEST_SHOWN))


def _round_numbers(at_most: int, objective: np.ma.MaskedArray, lowest: float) -> np.ndarray:
    from matplotlib.ticker import MaxNLocator

    numbers = MaxNLocator(at_most).tick_values(lowest, objective.max())
    return numbers[numbers >= lowest - 1e-9 * abs(lowest)]


def _surface():
    """Colours from the low, which are dark, to the high."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["YlGnBu_r"](np.linspace(0.22, 1.0, 256)))


def attractors(grid: Paths, ax: "Axes | None" = None) -> "Axes":
    """Draw where EM goes from a grid of starts, and what it is attracted by.

    Lines are paths from their start to the dot where they are after so many iterations, in the
    colour of the attractor, a star, that they lead to.

    Parameters
    ----------
    grid : Paths, from `emfast.landscape.paths`
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes
    """
    from matplotlib.collections import LineCollection

    ax = new_axes(ax)
    colours = colours_of(len(grid.attractors))
    for k, (place, objective) in enumerate(zip(grid.attractors, grid.objectives, strict=True)):
        of_k = grid.positions[grid.leads_to == k]
        ax.add_collection(LineCollection(of_k, colors=[colours[k]], alpha=0.45, linewidths=0.8))
        ax.plot(*of_k[:, 0].T, ".", color=colours[k], alpha=0.5, markersize=3, zorder=3)
        ax.plot(*of_k[:, -1].T, "o", color=colours[k], alpha=0.7, markersize=4, zorder=4)
        ax.plot(
            *place,
            "*",
            color=colours[k],
            markersize=20,
            markeredgecolor="white",
            markeredgewidth=1.4,
            linestyle="none",
            label=f"({number(place[0])}, {number(place[1])}), objective {number(objective, 4)}",
            zorder=5,
        )
    _name_plane(ax, grid.group)
    plain(ax)
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


def _name_plane(ax, group: str, when: str = "") -> None:
    """Axes that are a value of component 0 and the same of component 1."""
    value = {"probabilities": "probability"}.get(group, group.removesuffix("s"))
    ax.set_xlabel(f"{when}{value} of component 0")
    ax.set_ylabel(f"{when}{value} of component 1")
    ax.set_aspect("equal")
