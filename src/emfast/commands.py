"""The commands of ``emfast``; bad input ends in one line on stderr and exit status 2."""

import os
import sys
import warnings
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np

    from emfast.base_mixture import BaseMixture
    from emfast.tables import Table

# A part of click, which typer depends on or contains.
UsageError = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

BAD_INPUT = 2
INTERRUPTED = 130

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Mixture models by expectation-maximisation, at the speed of the machine.",
)


class Model(StrEnum):
    gaussian = "gaussian"
    bernoulli = "bernoulli"


class Covariance(StrEnum):
    full = "full"
    tied = "tied"
    diag = "diag"
    spherical = "spherical"


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = _show_warning
        try:
            status = app(args=arguments, prog_name="emfast", standalone_mode=False)
        except UsageError as error:
            return _fail(error.format_message())
        except (KeyboardInterrupt, typer.Abort):
            return INTERRUPTED
        except OSError as error:
            return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except (FloatingPointError, ImportError, ValueError) as error:
            return _fail(str(error))
        except MemoryError as error:
            return _fail(f"not enough memory {error}")
    return status if isinstance(status, int) else 0


def _fail(message: str) -> int:
    print(f"emfast: error: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"emfast: warning: {' '.join(str(message).split())}", file=sys.stderr)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        import emfast

        print(f"emfast {emfast.__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def demo(
    output_dir: Annotated[Path, typer.Option(help="Folder of the picture.")] = Path("."),
    rows: Annotated[int, typer.Option(min=1000, help="Rows of the last, large fit.")] = 1_000_000,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: all CPUs.")] = None,
) -> None:
    """Fit Old Faithful, cars and trucks with few labels, and a million rows beside NumPy."""
    from emfast import demo as acts
    from emfast.persistence import check_writable

    check_writable(output_dir / acts.PICTURE)
    acts.run(output_dir, rows, threads)


@app.command()
def info() -> None:
    """Print versions, instruction set, OpenMP runtime and threads."""
    from emfast import show_versions

    show_versions()


@app.command()
def fit(
    file: Annotated[Path, typer.Argument(help="CSV with a header row, .npy or Parquet.")],
    components: Annotated[int, typer.Option(min=1, help="Number of components.")],
    model: Annotated[Model, typer.Option(help="Density of a component.")] = Model.gaussian,
    covariance: Annotated[
        Covariance | None, typer.Option(help="Shape of Gaussian covariances. Default: full.")
    ] = None,
    labels_column: Annotated[
        str | None, typer.Option(help="Column of known components; empty where unknown.")
    ] = None,
    weights_column: Annotated[
        str | None, typer.Option(help="Column that says how often each row counts.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the fitted model here.")] = None,
    n_init: Annotated[int, typer.Option(min=1, help="Starts; the best is kept.")] = 1,
    tol: Annotated[float, typer.Option(min=0, help="Gain that counts as converged.")] = 1e-3,
    max_iter: Annotated[int, typer.Option(min=0, help="Most iterations.")] = 100,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the starts.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: all CPUs.")] = None,
    reg_covar: Annotated[
        float | None, typer.Option(min=0, help="Added to Gaussian variances. Default: 1e-6.")
    ] = None,
) -> None:
    """Fit a mixture to the columns of a table and print it."""
    import numpy as np

    from emfast import persistence, report
    from emfast.tables import read_table

    mixture = _mixture(
        model,
        covariance,
        reg_covar,
        n_components=components,
        tol=tol,
        max_iter=max_iter,
        n_init=n_init,
        random_state=seed,
        n_threads=threads,
    )
    if output is not None:
        _check_output(output, file)
    table = read_table(file)
    X, names, labels, weights = _columns(table, labels_column, weights_column)
    mixture.fit(X, labels=labels, sample_weight=weights)
    report.print_fit(report.console(), mixture, X, names, weights, labelled=labels is not None)
    if output is not None:
        mixture.feature_names_in_ = np.array(names, dtype=object)
        persistence.save(mixture, output)


def _mixture(
    model: Model, covariance: Covariance | None, reg_covar: float | None, **common
) -> "BaseMixture":
    from emfast import BernoulliMixture, GaussianMixture

    if model is Model.gaussian:
        return GaussianMixture(
            covariance_type=(covariance or Covariance.full).value,
            reg_covar=1e-6 if reg_covar is None else reg_covar,
            **common,
        )
    for name, value in (("--covariance", covariance), ("--reg-covar", reg_covar)):
        if value is not None:
            raise ValueError(f"{name} needs --model gaussian; found --model {model.value}")
    return BernoulliMixture(**common)


def _check_output(output: Path, file: Path) -> None:
    from emfast.persistence import check_writable

    check_writable(output)
    if output.exists() and file.exists() and os.path.samefile(output, file):
        raise ValueError(f"--output {output} would replace the data")


def _columns(
    table: "Table", labels_column: str | None, weights_column: str | None
) -> tuple["np.ndarray", list[str], "np.ndarray | None", "np.ndarray | None"]:
    """Features and their names, labels, weights."""
    if labels_column is not None and labels_column == weights_column:
        raise ValueError(
            f"--labels-column and --weights-column are both {labels_column!r}; expected two columns"
        )
    labels = None if labels_column is None else table.labels(labels_column)
    weights = None if weights_column is None else table.numbers(weights_column)
    X, names = table.features(without={labels_column, weights_column})
    return X, names, labels, weights
