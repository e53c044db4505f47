"""Pictures of fitted mixtures, and of how EM comes to them; they need matplotlib.

Every function draws on the given Axes, or on those of a new figure, and returns them.
"""

from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from emfast.annotations import Rows
from emfast.base_mixture import BaseMixture
from emfast.landscape import Landscape, Paths
from emfast.mixture import GaussianMixture
from emfast.restarts import Restart
from emfast.theory import Staircase

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which the colour-blind can tell apart, strongest contrasts first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F6FB0", "#6B6B6B")
# More points than these hide each other.
MAX_POINTS = 20_000

# What a start that was not kept has.
LOST = "#A3A9B0"

# Iterations from which on the first of them would take too little room.
MANY_ITERATIONS = 50

# The parts of the staircase: log-likelihood, lower bound, and what is between them.
TOP, BOUND, GAP = "#1B1F24", COLOURS[0], COLOURS[1]

# Quantile of the objective over a grid of starts below which colours do not tell more.
LOWEST_SHOWN = 0.02


def mixture(model: GaussianMixture, X: Rows, ax: "Axes | None" = None) -> "Axes":
    """Draw two-dimensional data and the Gaussians fitted to it.

    Points have the colours of the components, mixed by their responsibilities. The ellipses are 1
    and 2 standard deviations from the means.

    Parameters
    ----------
    model : GaussianMixture
        Fitted to two features.
    X : array-like of shape (n_samples, 2)
        Of more than 20,000 rows, as many are drawn, evenly spaced.
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        The model has not two features.
    """
    n_features = model._model().emission.means.shape[1]
    if n_features != 2:
        raise ValueError(f"model: found {n_features} feature(s); expected 2 to draw")
    ax = _axes(ax)
    points = np.asarray(X)[:: -(-len(X) // MAX_POINTS)]
    colours = _colours(len(model.weights_))
    _draw_points(ax, model, X, points, colours)
    names = [str(name) for name in getattr(model, "classes_", ())]
    for k, (mean, covariance) in enumerate(zip(model.means_, _covariances(model), strict=True)):
        name = names[k] if k < len(names) else f"component {k}"
        _draw_gaussian(ax, mean, covariance, colours[k], f"{name}, {model.weights_[k]:.1%}")
    _style(ax, model)
    return ax


def _colours(n_components: int) -> np.ndarray:
    """A colour for each component, of shape (n_components, 3)."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    if n_components <= len(COLOURS):
        return np.array([to_rgb(colour) for colour in COLOURS[:n_components]])
    return colormaps["turbo"](np.linspace(0.05, 0.95, n_components))[:, :3]


def _covariances(model: GaussianMixture) -> np.ndarray:
    """Covariances of every type as matrices of shape (n_components, 2, 2)."""
    covariances, K = model.covariances_, len(model.weights_)
    if model.covariance_type == "full":
        return covariances
    if model.covariance_type == "tied":
        return np.broadcast_to(covariances, (K, 2, 2))
    return np.reshape(covariances, (K, -1, 1)) * np.eye(2)


def _draw_points(ax, model: GaussianMixture, X, points: np.ndarray, colours: np.ndarray) -> None:
    # A table keeps its column names, which the model compares with those it was fitted with.
    rows = X.iloc[:: -(-len(X) // MAX_POINTS)] if hasattr(X, "iloc") else points
    ax.scatter(
        *points.T,
        s=float(np.clip(8000 / len(points), 2, 26)),
        c=np.clip(model.predict_proba(rows) @ colours, 0, 1),
        alpha=0.65 if len(points) < 5000 else 0.35,
        linewidths=0,
        rasterized=len(points) > 5000,
        zorder=2,
    )


def _draw_gaussian(ax, mean, covariance, colour: np.ndarray, label: str) -> None:
    """Ellipses of 1 and 2 standard deviations, and the mean."""
    from matplotlib.patches import Ellipse

    variances, axes = np.linalg.eigh(covariance)
    angle = np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
    short, long = 2 * np.sqrt(np.maximum(variances, 0))
    for deviations, alpha in ((2, 0.07), (1, 0.13)):
        ax.add_patch(
            Ellipse(
                mean,
                deviations * long,
                deviations * short,
                angle=angle,
                facecolor=(*colour, alpha),
                edgecolor=(*(0.8 * colour), 0.95),
                linewidth=1.6 if deviations == 1 else 1.1,
                zorder=3,
            )
        )
    ax.plot(
        *mean,
        marker="o",
        markersize=7,
        markerfacecolor=0.8 * colour,
        markeredgecolor="white",
        markeredgewidth=1.5,
        linestyle="none",
        label=label,
        zorder=4,
    )


def _style(ax, model: GaussianMixture) -> None:
    names = getattr(model, "feature_names_in_", ())
    if len(names) == 2:
        ax.set_xlabel(names[0])
        ax.set_ylabel(names[1])
    ax.autoscale_view()
    ax.margins(0.05)
    _plain(ax)
    inside = {"loc": "best"}
    outside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.0}
    where = inside if len(model.weights_) <= 4 else outside
    ax.legend(frameon=False, handletextpad=0.3, **where)


def trace(model: BaseMixture, ax: "Axes | None" = None) -> "Axes":
    """Draw how the objective of every start grew: initialisation matters.

    Parameters
    ----------
    model : fitted mixture
        With its starts in ``restarts_``. The one that was kept stands out; a cross ends those with
        degenerate components, and dotted lines are starts that lost a race, on fewer rows.
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
    check_is_fitted(model, "restarts_")
    runs = [restart for restart in model.restarts_ if restart.lower_bounds]
    if not runs:
        raise ValueError("model: found no iterations in its restarts_; expected some to draw")
    ax = _axes(ax)
    n_rows, longest = max(run.n_rows for run in runs), max(run.n_iter for run in runs)
    for run in sorted(runs, key=lambda run: run.won):
        _draw_run(ax, run, ":" if run.n_rows < n_rows else "-")
    _show_ends(ax, runs)
    if longest > MANY_ITERATIONS:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("iteration")
    ax.set_ylabel("objective (nats a row)")
    _plain(ax)
    named = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    ax.legend(named.values(), named.keys(), frameon=False, loc="lower right")
    return ax


def _draw_run(ax, run: Restart, line: str) -> None:
    """The objective of one start after every iteration, with a mark where it ended."""
    number = np.arange(1, run.n_iter + 1)
    colour, width, above = (COLOURS[0], 2.6, 2) if run.won else (LOST, 1.3, 0)
    ax.plot(number, run.lower_bounds, line, color=colour, linewidth=width, zorder=2 + above)
    ax.plot(
        number[-1:],
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
            _number(run.lower_bounds[-1], 5),
            (number[-1], run.lower_bounds[-1]),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
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


def staircase(steps: Staircase, ax: "Axes | None" = None) -> "Axes":
    """Draw how the two steps of EM raise the lower bound on the log-likelihood in turn.

    The M-step raises the bound by the choice of parameters, and the log-likelihood by more; what is
    between them is the KL divergence, and is shaded. The E-step closes it: the bound touches the
    log-likelihood, which stays. With a prior both include its log-density.

    Parameters
    ----------
    steps : Staircase, from `emfast.theory.staircase`
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes
    """
    ax = _axes(ax)
    tops, bounds = steps.log_likelihoods, steps.lower_bounds
    e_step = np.arange(1, len(tops))
    m_step = e_step - 0.5
    x = [0.0, *np.column_stack([m_step, m_step, e_step, e_step]).ravel(), len(bounds) + 0.4]
    raised = np.column_stack([tops[:-1], bounds, bounds, tops[1:]]).ravel()
    above = np.column_stack([tops[:-1], tops[1:], tops[1:], tops[1:]]).ravel()
    raised, above = ([tops[0], *curve, tops[-1]] for curve in (raised, above))
    ax.fill_between(x, raised, above, color=GAP, alpha=0.3, linewidth=0, label="KL divergence")
    ax.plot(x, above, color=TOP, linewidth=2.4, label="log-likelihood", zorder=4)
    ax.plot(x, raised, color=BOUND, linewidth=2.4, label="lower bound", zorder=5)
    for at, low, high in zip(e_step, bounds, tops[1:], strict=True):
        ax.plot([at, at], [low, high], color=GAP, linewidth=2.4, zorder=6)
    ax.plot([0, *e_step], tops, "o", color=BOUND, markeredgecolor="white", markersize=8, zorder=7)
    _name_steps(ax, steps)
    ax.set_xticks(range(len(tops)))
    ax.set_xlabel("iteration")
    ax.set_ylabel("nats")
    _plain(ax)
    ax.legend(frameon=False, loc="lower right")
    return ax


def _name_steps(ax, steps: Staircase) -> None:
    """Say which riser of the first stairs is which step, where there is room."""
    room = 0.07 * (steps.log_likelihoods[-1] - steps.log_likelihoods[0])
    for number, (low, bound, divergence) in enumerate(
        zip(steps.log_likelihoods[:-1], steps.lower_bounds, steps.kl_divergences, strict=True)
    ):
        for name, x, bottom, height in (
            ("M", number + 0.5, low, bound - low),
            ("E", number + 1.0, bound, divergence),
        ):
            if height > room:
                ax.annotate(
                    name,
                    (x, bottom + height / 2),
                    xytext=(-7 if name == "M" else 7, 0),
                    textcoords="offset points",
                    ha="right" if name == "M" else "left",
                    va="center",
                    color=BOUND if name == "M" else GAP,
                    fontweight="bold",
                )


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
    ax = _axes(ax)
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

    ax = _axes(ax)
    colours = _colours(len(grid.attractors))
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
            label=f"({_number(place[0])}, {_number(place[1])}), objective {_number(objective, 4)}",
            zorder=5,
        )
    _name_plane(ax, grid.group)
    _plain(ax)
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


def _name_plane(ax, group: str, when: str = "") -> None:
    """Axes that are a value of component 0 and the same of component 1."""
    value = {"probabilities": "probability"}.get(group, group.removesuffix("s"))
    ax.set_xlabel(f"{when}{value} of component 0")
    ax.set_ylabel(f"{when}{value} of component 1")
    ax.set_aspect("equal")


def _axes(ax: "Axes | None") -> "Axes":
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(7, 5), layout="constrained")[1]


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def _plain(ax) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="0.92", linewidth=0.8)
    ax.set_axisbelow(True)
