"""Pictures that the command line draws into files."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from emfast.cli.kinds import Data
from emfast.estimators.base.hmm import BaseHMM
from emfast.estimators.mixture import GaussianMixture
from emfast.estimators.rates import RatesMixture
from emfast.selection import Selection

SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".webp")


def check(path: Path) -> None:
    """Raise where no picture can be drawn there."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"--plot {path}: expected a name that ends in {', '.join(SUFFIXES)}")
    if find_spec("matplotlib") is None:
        raise ImportError("--plot needs matplotlib: pip install 'emfast[plot]'")


def draw_fit(model: Any, data: Data, path: Path) -> None:
    """The data and the model where that can be drawn, else how the fit went.

    Parameters
    ----------
    model : fitted estimator
    data : Data
    path : Path
    """
    from emfast import plot

    n_features = data.X.shape[1]
    with _Picture(path) as ax:
        if isinstance(model, BaseHMM) and data.X.dtype.kind in "biuf":
            plot.states(model, data.X, data.fit_params["lengths"], ax=ax)
            ax.set_ylabel(data.names[0])
        elif isinstance(model, GaussianMixture | RatesMixture) and n_features <= _drawable(model):
            plot.mixture(model, data.X, ax)
            ax.set_xlabel(data.names[0])
            if n_features == 2:
                ax.set_ylabel(data.names[1])
        else:
            plot.trace(model, ax)


def _drawable(model: Any) -> int:
    """How many features of a mixture can be drawn."""
    return 2 if isinstance(model, GaussianMixture) else 1


def draw_selection(found: Selection, path: Path) -> None:
    """How the criterion depends on what was tried."""
    from emfast import plot

    with _Picture(path) as ax:
        plot.selection(found, ax)


class _Picture:
    """Axes of a figure that is written in the end."""

    def __init__(self, path: Path):
        from matplotlib.figure import Figure

        self._path = path
        self._figure = Figure(figsize=(7, 5), layout="constrained")

    def __enter__(self):
        return self._figure.subplots()

    def __exit__(self, kind, *error: object) -> None:
        if kind is None:
            self._figure.savefig(self._path, dpi=150)
