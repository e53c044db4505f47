"""Data in one or two columns, and the mixture fitted to it."""

import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from emfast.annotations import Rows
from emfast.estimators.base.mixture import BaseMixture
from emfast.estimators.mixture import GaussianMixture
from emfast.estimators.rates import ExponentialMixture, PoissonMixture, RatesMixture
from emfast.plot.axes import LOST, TOP, colours_of, legend, new_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More points than these hide each other.
MAX_POINTS = 20_000

# More counts than these have no room for a mark each.
MOST_MARKS = 50

# A line of equal density a bit, so many of them, from so many points along either axis.
DENSITY_LEVELS = 7
DENSITY_POINTS = 150


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
        The model has other features than can be drawn, or than X, or X has nothing to draw.
    """
    check_is_fitted(model)
    n_features = model.n_features_in_
    drawable = (1, 2) if isinstance(model, GaussianMixture) else (1,)
    if n_features not in drawable or not isinstance(model, GaussianMixture | RatesMixture):
        expected = "1 or 2 of a GaussianMixture, or 1 of a Poisson or exponential one"
        raise ValueError(f"model: found {n_features} feature(s); expected {expected}, to draw")
    # A table keeps its column names, which the model compares with those it was fitted with.
    step = -(-len(X) // MAX_POINTS) if n_features == 2 else 1
    rows = _safe_indexing(X, np.arange(0, len(X), step))
    points = np.asarray(rows, np.float64).reshape(len(rows), -1)
    if points.shape[1] != n_features:
        raise ValueError(f"X: found {points.shape[1]} feature(s); the model has {n_features}")
    if np.isnan(points).all():
        raise ValueError("X: every entry is missing; expected some to draw")
    ax = new_axes(ax)
    colours = colours_of(len(model.weights_))
    if n_features == 1:
        _draw_histogram(ax, model, points.ravel(), colours)
    else:
        _draw_plane(ax, model, rows, points, colours)
    _style(ax, model)
    return ax


def _names(model: BaseMixture) -> list[str]:
    """What components are called, and how much they weigh."""
    classes = [str(name) for name in getattr(model, "classes_", ())]
    names = [
        classes[k] if k < len(classes) else f"component {k}" for k in range(len(model.weights_))
    ]
    return [f"{name}, {weight:.1%}" for name, weight in zip(names, model.weights_, strict=True)]


def _noise(model: BaseMixture) -> str:
    return f"noise, {model.noise_weight_:.1%}"


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
    line = {"marker": "o", "markersize": 4} if counts and len(at) < MOST_MARKS else {}
    for k, name in enumerate(_names(model)):
        part = density * shares[:, k]
        ax.fill_between(at, part, color=colours[k], alpha=0.18, linewidth=0, zorder=2)
        ax.plot(at, part, color=colours[k], linewidth=1.8, label=name, zorder=3, **line)
    if hasattr(model, "noise_weight_"):
        ax.plot(at, density * shares[:, -1], color=LOST, linewidth=1.8, label=_noise(model))
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
    edges = np.linspace(low, high, bars + 1) if low < high else np.array([low - 0.5, low + 0.5])
    return at[at >= 0] if low >= 0 and low - room < 0 else at, edges


def _draw_plane(ax, model: GaussianMixture, rows, points, colours: np.ndarray) -> None:
    """Points, lines of equal density, and ellipses."""
    _draw_points(ax, model, rows, points, colours)
    for k, name in enumerate(_names(model)):
        _draw_gaussian(ax, model.means_[k], _covariances(model)[k], colours[k], name)
    if hasattr(model, "noise_weight_"):
        ax.plot([], [], "o", color=LOST, markersize=5, label=_noise(model))
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


def _covariances(model: GaussianMixture) -> np.ndarray:
    """Covariances of every type as matrices of shape (n_components, 2, 2)."""
    covariances, K = model.covariances_, len(model.weights_)
    if model.covariance_type == "full":
        return covariances
    if model.covariance_type == "tied":
        return np.broadcast_to(covariances, (K, 2, 2))
    return np.reshape(covariances, (K, -1, 1)) * np.eye(2)


def _draw_points(ax, model: GaussianMixture, rows, points: np.ndarray, colours: np.ndarray) -> None:
    from matplotlib.colors import to_rgb

    shares = np.vstack([colours, to_rgb(LOST)]) if hasattr(model, "noise_weight_") else colours
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
    plain(ax)
    legend(ax)
