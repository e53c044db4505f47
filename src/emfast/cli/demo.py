"""``emfast demo``: three fits, each computed as it is shown."""

import time
from collections.abc import Callable
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from threadpoolctl import threadpool_limits

from emfast.baseline import numpy_em
from emfast.cli import report
from emfast.cli.kinds import Data
from emfast.datasets import load_faithful, make_cars_and_trucks, make_gaussian_mixture
from emfast.estimators.mixture import GaussianMixture
from emfast.threads import resolve_threads

PICTURE = "faithful.png"
N_FEATURES = 16
N_COMPONENTS = 16
N_ITER = 10


def run(output_dir: Path, n_rows: int, n_threads: int | None) -> None:
    """Run the whole demonstration.

    Parameters
    ----------
    output_dir : Path, an existing folder
    n_rows : int, rows of the last fit
    n_threads : int or None
    """
    out = report.console()
    old_faithful(out, output_dir, n_threads)
    cars_and_trucks(out, n_threads)
    beside_numpy(out, n_rows, n_threads)


def old_faithful(out: Console, output_dir: Path, n_threads: int | None) -> None:
    """Two Gaussians with full covariances on the 272 eruptions."""
    faithful = load_faithful()
    X, names = faithful.data, list(faithful.columns)
    _title(out, "Old Faithful: two Gaussians with full covariances")
    mixture = GaussianMixture(2, tol=1e-9, max_iter=1000, random_state=0, n_threads=n_threads)
    mixture.fit(X)
    report.print_fit(out, mixture, Data(X, names))
    if find_spec("matplotlib") is None:
        out.print('no picture: matplotlib is missing, pip install "emfast[plot]"')
        return
    path = output_dir / PICTURE
    _draw(mixture, X, names, path)
    out.print(f"picture          {path}", soft_wrap=True)


def _draw(mixture: GaussianMixture, X: np.ndarray, names: list[str], path: Path) -> None:
    from matplotlib.figure import Figure

    from emfast import plot

    figure = Figure(figsize=(7, 5), layout="constrained")
    ax = plot.mixture(mixture, X, figure.subplots())
    ax.set_xlabel(f"{names[0]} (minutes)")
    ax.set_ylabel(f"{names[1]} (minutes)")
    ax.set_title("Old Faithful", loc="left")
    figure.savefig(path, dpi=150)


def cars_and_trucks(out: Console, n_threads: int | None) -> None:
    """Two means to find; weights and standard deviations are known, and few of the labels."""
    X, labels = make_cars_and_trucks(random_state=0)
    _title(out, "Cars and trucks: 100 labelled and 1000 unlabelled rows, only the means unknown")
    mixture = GaussianMixture(
        2,
        covariance_type="spherical",
        weights_init=[0.6, 0.4],
        covariances_init=[1.0, 4.0],
        fixed=("weights", "covariances"),
        tol=1e-9,
        max_iter=1000,
        n_init=10,
        random_state=0,
        n_threads=n_threads,
    )
    table = report.new_table("means", "car", "truck", "log-likelihood a row", "iterations")
    table.add_row("true", "5", "10", "", "")
    for name, known in (("with the labels", labels), ("without labels", None)):
        mixture.fit(X, labels=known)
        means = [report.number(mean) for mean in mixture.means_[:, 0]]
        table.add_row(name, *means, report.number(mixture.score(X)), str(mixture.n_iter_))
    out.print(table)


def beside_numpy(out: Console, n_rows: int, n_threads: int | None) -> None:
    """The same iterations from the same start, by the NumPy baseline and by the kernels."""
    threads = resolve_threads(n_threads)
    _title(
        out,
        f"{n_rows:,} x {N_FEATURES} rows, {N_COMPONENTS} Gaussians with diagonal covariances: "
        f"{N_ITER} iterations on {threads} thread(s)",
    )
    X, _ = make_gaussian_mixture(n_rows, N_FEATURES, N_COMPONENTS, random_state=0)
    start = _start(X)
    with _progress() as watch:
        numpy_seconds, numpy_objective = _time_numpy(X, start, threads, watch("NumPy"))
        seconds, objective = _time_emfast(X, start, threads, watch("emfast"))
    table = report.new_table("", "seconds", "ms an iteration", "log-likelihood a row")
    for name, took, reached in (
        ("NumPy", numpy_seconds, numpy_objective),
        ("emfast", seconds, objective),
    ):
        table.add_row(name, f"{took:.3f}", f"{1000 * took / N_ITER:.1f}", f"{reached:.9f}")
    out.print(table)
    out.print(f"emfast is {numpy_seconds / seconds:.1f} times as fast as NumPy")


def _start(X: np.ndarray) -> dict[str, np.ndarray]:
    """Rows as means, with the variances of all rows."""
    rows = np.random.default_rng(0).choice(len(X), N_COMPONENTS, replace=False)
    return {
        "weights": np.full(N_COMPONENTS, 1 / N_COMPONENTS),
        "means": X[rows],
        "covariances": np.tile(X[:10_000].var(axis=0), (N_COMPONENTS, 1)),
    }


def _time_numpy(X, start, threads, on_iteration) -> tuple[float, float]:
    began = time.perf_counter()
    with threadpool_limits(threads, user_api="blas"):
        _, objective = numpy_em(
            X, **start, covariance_type="diag", n_iter=N_ITER, on_iteration=on_iteration
        )
    return time.perf_counter() - began, objective


def _time_emfast(X, start, threads, on_iteration) -> tuple[float, float]:
    mixture = GaussianMixture(
        N_COMPONENTS,
        covariance_type="diag",
        tol=0,
        max_iter=N_ITER,
        n_threads=threads,
        callback=lambda iteration: on_iteration(iteration.number, iteration.objective),
        **{f"{group}_init": values for group, values in start.items()},
    )
    began = time.perf_counter()
    mixture.fit(X)
    return time.perf_counter() - began, mixture.lower_bound_


@contextmanager
def _progress():
    """Gives a function that adds a bar and returns what each iteration is to call."""
    err = report.console(stderr=True)
    columns = (TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=err, disable=not err.is_terminal) as bars:

        def watch(name: str) -> Callable[[int, float], None]:
            task = bars.add_task(name, total=N_ITER)
            return lambda number, objective: bars.update(task, completed=number)

        yield watch


def _title(out: Console, text: str) -> None:
    out.print(f"\n{text}", style="bold", soft_wrap=True)
