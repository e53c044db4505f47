"""Pictures of fitted mixtures, and of how EM comes to them; they need matplotlib.

Every function draws on the given Axes, or on those of a new figure, and returns them.
"""

import itertools
import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from emfast.annotations import Rows, Values
from emfast.base_hmm import BaseHMM
from emfast.base_mixture import BaseMixture
from emfast.landscape import Landscape, Paths
from emfast.mixture import GaussianMixture
from emfast.rates import ExponentialMixture, PoissonMixture, RatesMixture
from emfast.restarts import Restart
from emfast.selection import Candidate, Candidates, Selection
from emfast.theory import Staircase

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which the colour-blind can tell apart, strongest contrasts first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F6FB0", "#6B6B6B")
# More points than these hide each other.
MAX_POINTS = 20_000

# A line of equal density a bit, so many of them, from so many points along either axis.
DENSITY_LEVELS = 7
DENSITY_POINTS = 150

# A difference of criteria that is strong evidence (Kass and Raftery, Journal of the American
# Statistical Association 90, 1995), and the range over that of the better half that hides it.
DIFFERENCE = 10.0
CROWDED = 6

# What a start that was not kept has.
LOST = "#A3A9B0"

# Iterations from which on the first of them would take too little room.
MANY_ITERATIONS = 50

# The parts of the staircase: log-likelihood, lower bound, and what is between them.
TOP, BOUND, GAP = "#1B1F24", COLOURS[0], COLOURS[1]

# Quantile of the objective over a grid of starts below which colours do not tell more.
LOWEST_SHOWN = 0.02


def mixture(model: BaseMixture, X: Rows, ax: "Axes | None" = None) -> "Axes":
    """Draw data in one or two columns, and the mixture fitted to it.

    One column: a histogram of the data, the density of the mixture, and what the components add to
    it. Two columns, for Gaussians: points in the colours of the components, mixed by their
    responsibilities, over lines of equal density, each of half the density of the next; the
    ellipses are 1 and 2 standard deviations from the means.

    Parameters
    ----------
    model : fitted mixture of one column of numbers, or GaussianMixture of two
    X : array-like of shape (n_samples, 1) or (n_samples, 2)
        Of more than 20,000 rows, as many points are drawn, evenly spaced.
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        The model has other features.
    """
    check_is_fitted(model)
    n_features = model.n_features_in_
    drawable = (1, 2) if isinstance(model, GaussianMixture) else (1,)
    if n_features not in drawable or not isinstance(model, GaussianMixture | RatesMixture):
        expected = "1 or 2 of a GaussianMixture, or 1 of a Poisson or exponential one"
        raise ValueError(f"model: found {n_features} feature(s); expected {expected}, to draw")
    ax = _axes(ax)
    colours = _colours(len(model.weights_))
    if n_features == 1:
        _draw_histogram(ax, model, np.asarray(X, np.float64).ravel(), colours)
    else:
        _draw_plane(ax, model, X, colours)
    _style(ax, model)
    return ax


def _names(model: BaseMixture) -> list[str]:
    """What components are called, and how much they weigh."""
    classes = [str(name) for name in getattr(model, "classes_", ())]
    names = [
        classes[k] if k < len(classes) else f"component {k}" for k in range(len(model.weights_))
    ]
    return [f"{name}, {weight:.1%}" for name, weight in zip(names, model.weights_, strict=True)]


def _draw_histogram(ax, model: BaseMixture, x: np.ndarray, colours: np.ndarray) -> None:
    """A histogram of one column, the density of the mixture, and those of the components."""
    x = x[~np.isnan(x)]
    counts = isinstance(model, PoissonMixture)
    at, edges = _places(x, counts)
    ax.hist(x, edges, density=True, color=LOST, alpha=0.45, linewidth=0, label="data", zorder=1)
    rows = at[:, None]
    with warnings.catch_warnings():
        # Of columns without names.
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        density, shares = np.exp(model.score_samples(rows)), model.predict_proba(rows)
    line = {"marker": "o", "markersize": 4} if counts and len(at) < MANY_ITERATIONS else {}
    for k, name in enumerate(_names(model)):
        part = density * shares[:, k]
        ax.fill_between(at, part, color=colours[k], alpha=0.18, linewidth=0, zorder=2)
        ax.plot(at, part, color=colours[k], linewidth=1.8, label=name, zorder=3, **line)
    ax.plot(at, density, color=TOP, linewidth=1.2, linestyle="--", label="mixture", zorder=4)
    ax.set_ylabel("probability" if counts else "density")
    if isinstance(model, ExponentialMixture):
        # Of which every component is a straight line then.
        bar = edges[1] - edges[0]
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.3 / (len(x) * bar))


def _places(x: np.ndarray, counts: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where a density is evaluated, and the edges of the bars."""
    low, high = float(x.min()), float(x.max())
    if counts:
        step = max(1, int(-(-(high - low) // 200)))
        return np.arange(low, high + 1), np.arange(low - 0.5, high + 1 + step, step)
    room = 0.05 * (high - low) or 1.0
    bars = int(np.clip(2 * len(x) ** (1 / 3) * 2, 10, 100))
    at = np.unique(np.append(np.linspace(low - room, high + room, 800), [low, high]))
    return at[at >= 0] if low >= 0 and low - room < 0 else at, np.linspace(low, high, bars + 1)


def _draw_plane(ax, model: GaussianMixture, X, colours: np.ndarray) -> None:
    """Points, lines of equal density, and ellipses."""
    points = np.asarray(X, np.float64)[:: -(-len(X) // MAX_POINTS)]
    _draw_points(ax, model, X, points, colours)
    for k, name in enumerate(_names(model)):
        _draw_gaussian(ax, model.means_[k], _covariances(model)[k], colours[k], name)
    if hasattr(model, "noise_weight_"):
        name = f"noise, {model.noise_weight_:.1%}"
        ax.plot([], [], "o", color=LOST, markersize=5, label=name)
    ax.autoscale_view()
    ax.margins(0.05)
    _draw_density(ax, model)


def _draw_density(ax, model: GaussianMixture) -> None:
    """Lines of equal density, each of half the density of the next, over the whole picture."""
    x, y = (np.linspace(*limits, DENSITY_POINTS) for limits in (ax.get_xlim(), ax.get_ylim()))
    rows = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        bits = model.score_samples(rows).reshape(len(y), len(x)) / np.log(2)
    levels = bits.max() - np.arange(DENSITY_LEVELS, 0, -1)
    ax.contour(
        x, y, bits, levels, colors="0.55", linewidths=0.6, linestyles="solid", alpha=0.7, zorder=1
    )
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])


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
    from matplotlib.colors import to_rgb

    # A table keeps its column names, which the model compares with those it was fitted with.
    shares = np.vstack([colours, to_rgb(LOST)]) if hasattr(model, "noise_weight_") else colours
    rows = X.iloc[:: -(-len(X) // MAX_POINTS)] if hasattr(X, "iloc") else points
    ax.scatter(
        *points.T,
        s=float(np.clip(8000 / len(points), 2, 26)),
        c=np.clip(model.predict_proba(rows) @ shares, 0, 1),
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


def _style(ax, model: BaseMixture) -> None:
    names = getattr(model, "feature_names_in_", ())
    for name, label in zip(names, (ax.set_xlabel, ax.set_ylabel), strict=False):
        label(name)
    _plain(ax)
    _legend(ax)


def _legend(ax) -> None:
    """What is drawn: inside where there is room, else beside it."""
    outside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.0}
    few = len(ax.get_legend_handles_labels()[1]) <= 4
    ax.legend(frameon=False, handletextpad=0.5, **({"loc": "best"} if few else outside))


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
    runs = [restart for restart in _starts(model) if restart.lower_bounds]
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
    else:
        _whole_numbers(ax)
    ax.yaxis.get_major_formatter().set_useOffset(False)
    ax.set_xlabel("iteration")
    ax.set_ylabel("log evidence (nats)" if hasattr(model, "scores_") else "objective (nats a row)")
    _plain(ax)
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
    ax = _axes(ax)
    along = _along(table)
    lines: dict[str, list[Candidate]] = {}
    for each in table:
        if each.error is None:
            rest = (str(value) for name, value in each.params.items() if name != along)
            lines.setdefault(", ".join(rest), []).append(each)
    markers = itertools.cycle("os^Dv<>p")
    for colour, marker, (name, each) in zip(
        _colours(len(lines)), markers, lines.items(), strict=False
    ):
        _draw_line(
            ax, each, table.criterion, along, color=colour, marker=marker, label=name or None
        )
    _show_pick(ax, table, along)
    ax.set_xlabel("components" if along == "n_components" else along)
    ax.set_ylabel(f"{table.criterion.upper()} (the lower the better)")
    _plain(ax)
    if len(lines) > 1:
        _legend(ax)
    return ax


def _along(table: Candidates) -> str:
    """The argument that a selection is drawn along: the components, or else the first."""
    names = list(table.columns())
    return "n_components" if "n_components" in names else names[0]


def _draw_line(ax, line: list[Candidate], criterion: str, along: str, **style) -> None:
    x = [each.params.get(along) for each in line]
    y = [getattr(each, criterion) for each in line]
    ax.plot(x, y, linewidth=1.8, markersize=6, markeredgecolor="white", zorder=3, **style)
    for each in line:
        if each.degenerate:
            place = each.params.get(along), getattr(each, criterion)
            ax.plot(*place, "X", color=style["color"], markersize=11, zorder=4)


def _show_pick(ax, table: Candidates, along: str) -> None:
    best = next(each for each in table if each.best)
    x, y = best.params.get(along), getattr(best, table.criterion)
    ax.plot(x, y, "o", markersize=15, markerfacecolor="none", markeredgecolor=TOP, zorder=5)
    text = _number(y, 6)
    ax.annotate(text, (x, y), xytext=(0, -20), textcoords="offset points", ha="center", zorder=6)
    if isinstance(x, int):
        _whole_numbers(ax)
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


def _whole_numbers(ax) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


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
    """
    check_is_fitted(model)
    path = model.predict(X, lengths)
    values = np.asarray(X)[:, column].astype(np.float64)
    ax = _axes(ax)
    colours, classes = _colours(model.n_components), getattr(model, "classes_", ())
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
    _plain(ax)
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
