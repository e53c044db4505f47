"""Axes, colours and words that all pictures share."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which the colour-blind can tell apart, strongest contrasts first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F6FB0", "#6B6B6B")

# What is not the point, such as a start that was not kept, and what all the rest adds up to.
LOST, TOP = "#A3A9B0", "#1B1F24"


def new_axes(ax: "Axes | None") -> "Axes":
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(7, 5), layout="constrained")[1]


def colours_of(n_components: int) -> np.ndarray:
    """A colour for each component, of shape (n_components, 3)."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    if n_components <= len(COLOURS):
        return np.array([to_rgb(colour) for colour in COLOURS[:n_components]])
    return colormaps["turbo"](np.linspace(0.05, 0.95, n_components))[:, :3]


def number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def plain(ax) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="0.92", linewidth=0.8)
    ax.set_axisbelow(True)


def legend(ax) -> None:
    """What is drawn: inside where there is room, else beside it."""
    outside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.0}
    few = len(ax.get_legend_handles_labels()[1]) <= 4
    ax.legend(frameon=False, handletextpad=0.5, **({"loc": "best"} if few else outside))


def whole_numbers(ax) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
