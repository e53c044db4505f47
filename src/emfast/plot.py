"""Pictures of fitted mixtures; they need matplotlib."""

from typing import TYPE_CHECKING

import numpy as np

from emfast.mixture import GaussianMixture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which the colour-blind can tell apart, strongest contrasts first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F6FB0", "#6B6B6B")
# More points than these hide each other.
MAX_POINTS = 20_000


def mixture(model: GaussianMixture, X, ax: "Axes | None" = None) -> "Axes":
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
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots(figsize=(7, 5), layout="constrained")[1]
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
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="0.92", linewidth=0.8)
    ax.set_axisbelow(True)
    inside = {"loc": "best"}
    outside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.0}
    where = inside if len(model.weights_) <= 4 else outside
    ax.legend(frameon=False, handletextpad=0.3, **where)
