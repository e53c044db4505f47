"""The commands of ``emfast``.

What goes wrong ends in one line on stderr. The exit status is 0, 1 where the data or the arguments
are wrong, 2 where the command line is none, and 130 after Ctrl-C.
"""

import json
import sys
import warnings
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from emfast.cli.kinds import Data
    from emfast.selection import Selection

# A part of click, which typer depends on or contains.
UsageError = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

BAD_INPUT, BAD_USAGE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Latent-variable models by expectation-maximisation, at the speed of the machine.",
)


class Model(StrEnum):
    gaussian = "gaussian"
    bernoulli = "bernoulli"
    categorical = "categorical"
    poisson = "poisson"
    binomial = "binomial"
    exponential = "exponential"
    mixed = "mixed"
    classifier = "classifier"
    gaussian_hmm = "gaussian-hmm"
    bernoulli_hmm = "bernoulli-hmm"
    categorical_hmm = "categorical-hmm"
    poisson_hmm = "poisson-hmm"
    hmm = "hmm"
    regression = "regression"
    experts = "experts"
    bayesian_regression = "bayesian-regression"
    factor_analysis = "factor-analysis"


class Covariance(StrEnum):
    full = "full"
    tied = "tied"
    diag = "diag"
    spherical = "spherical"


class Criterion(StrEnum):
    bic = "bic"
    aic = "aic"
    icl = "icl"


# Arguments and options that commands share.

DataFile = Annotated[
    Path,
    typer.Argument(
        help="CSV with a header row, .npy, Parquet or Arrow (Feather); or a folder of them, or a "
        "pattern in quotes, like 'part-*.parquet'."
    ),
]
ModelFile = Annotated[Path, typer.Argument(help="What fit or select wrote with --output.")]
ModelOption = Annotated[Model, typer.Option("--model", help="What is fitted.")]
Columns = Annotated[
    str | None, typer.Option(help="Features, separated by commas. Default: all other columns.")
]
LabelsColumn = Annotated[
    str | None, typer.Option(help="Column of known components; empty where unknown.")
]
WeightsColumn = Annotated[
    str | None, typer.Option(help="Column that says how often each row counts.")
]
TargetColumn = Annotated[
    str | None, typer.Option(help="Column to explain: of a regression, or the class.")
]
SequenceColumn = Annotated[
    str | None, typer.Option(help="Column that tells which rows are one sequence, for HMMs.")
]
Emission = Annotated[
    list[str] | None,
    typer.Option(
        help="KIND=COLUMN,COLUMN for models mixed and hmm; several times. Default: by their "
        "values. For experts the KIND of the target; default: linear."
    ),
]
Inits = Annotated[int | None, typer.Option(min=1, help="Starts; the best is kept.")]
Tol = Annotated[float | None, typer.Option(min=0, help="Gain that counts as converged.")]
MaxIter = Annotated[int | None, typer.Option(min=0, help="Most iterations.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of what is drawn.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Default: all CPUs.")]
RegCovar = Annotated[
    float | None, typer.Option(min=0, help="Added to Gaussian variances. Default: 1e-6.")
]
Trials = Annotated[int | None, typer.Option(min=1, help="Trials of binomial counts.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=JSON, another argument of the estimator; several times."),
]
Stream = Annotated[
    bool | None,
    typer.Option(
        "--stream/--no-stream",
        help="Read rows in batches, in every pass, and never load them all. Default: for folders, "
        "patterns, and CSV, Parquet and Arrow files above 1 GiB.",
    ),
]
PlotFile = Annotated[Path | None, typer.Option("--plot", help="Draw a picture here.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Progress = Annotated[
    bool | None, typer.Option(help="A bar on stderr. Default: if that is a terminal.")
]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = _show_warning
        try:
            status = app(args=arguments, prog_name="emfast", standalone_mode=False)
        except UsageError as error:
            return _fail(error.format_message(), BAD_USAGE)
        except (KeyboardInterrupt, typer.Abort):
            return INTERRUPTED
        except OSError as error:
            return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except (ArithmeticError, ImportError, TypeError, ValueError) as error:
            return _fail(str(error))
        except MemoryError as error:
            return _fail(f"not enough memory {error}")
    return status if isinstance(status, int) else 0


def _fail(message: str, status: int = BAD_INPUT) -> int:
    print(f"emfast: error: {' '.join(message.split())}", file=sys.stderr)
    return status


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
    threads: Threads = None,
) -> None:
    """Fit Old Faithful, cars and trucks with few labels, and a million rows beside NumPy."""
    from emfast.cli import demo as acts
    from emfast.storage.archive import check_writable

    check_writable(output_dir / acts.PICTURE)
    acts.run(output_dir, rows, threads)


@app.command()
def info(as_json: AsJson = False) -> None:
    """Print versions, instruction set, OpenMP runtime and threads."""
    from emfast import versions
    from emfast.cli.writing import write_json

    if as_json:
        write_json(versions.describe(), sys.stdout)
    else:
        versions.show_versions()


@app.command()
def fit(
    file: DataFile,
    components: Annotated[
        int | None, typer.Option(min=1, help="Components, states, factors; of a class.")
    ] = None,
    model: ModelOption = Model.gaussian,
    covariance: Annotated[
        Covariance | None, typer.Option(help="Shape of Gaussian covariances.")
    ] = None,
    columns: Columns = None,
    labels_column: LabelsColumn = None,
    weights_column: WeightsColumn = None,
    target_column: TargetColumn = None,
    sequence_column: SequenceColumn = None,
    emission: Emission = None,
    output: Annotated[Path | None, typer.Option(help="Write the fitted model here.")] = None,
    plot: PlotFile = None,
    n_init: Inits = None,
    tol: Tol = None,
    max_iter: MaxIter = None,
    seed: Seed = None,
    threads: Threads = None,
    reg_covar: RegCovar = None,
    trials: Trials = None,
    settings: Settings = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Keep the state here while it runs; the same command goes on from it."),
    ] = None,
    stream: Stream = None,
    progress: Progress = None,
    as_json: AsJson = False,
) -> int:
    """Fit a model to the columns of a table and print it; Ctrl-C ends with the best so far."""
    from emfast.cli import pictures, report
    from emfast.cli.writing import write_json

    if components is None and model is not Model.bayesian_regression:
        raise typer.BadParameter("is missing", param_hint="'--components'")
    options = {
        "--components": ("n_components", components),
        "--covariance": ("covariance_type", covariance and covariance.value),
        "--checkpoint": ("checkpoint", checkpoint and str(checkpoint)),
        **_options(n_init, tol, max_iter, seed, threads, reg_covar, trials),
    }
    roles = _roles(labels_column, weights_column, target_column, sequence_column, columns)
    _check_outputs(file, output, plot)
    if plot is not None and _is_streamed(file, stream, model):
        raise ValueError("--plot needs rows in memory: one file, and --no-stream")
    if checkpoint is not None and output is not None and checkpoint.resolve() == output.resolve():
        raise ValueError("--checkpoint and --output are the same file; expected two")
    made, data = _prepared(file, model, options, settings, progress, roles, emission, stream)
    interrupted = _interrupted(made, data)
    if as_json:
        write_json(report.described(made, data), sys.stdout)
    else:
        report.print_fit(report.console(), made, data)
    _save(made, data, output)
    if plot is not None:
        pictures.draw_fit(made, data, plot)
    return INTERRUPTED if interrupted else 0


@app.command()
def select(
    file: DataFile,
    components: Annotated[str, typer.Option(help="Numbers to try, like 1-6 or 1,2,4.")] = "1-6",
    covariance: Annotated[
        str | None, typer.Option(help="Shapes to try, separated by commas. Default: all.")
    ] = None,
    criterion: Annotated[Criterion, typer.Option(help="The least is picked.")] = Criterion.bic,
    model: ModelOption = Model.gaussian,
    columns: Columns = None,
    labels_column: LabelsColumn = None,
    weights_column: WeightsColumn = None,
    target_column: TargetColumn = None,
    sequence_column: SequenceColumn = None,
    emission: Emission = None,
    output: Annotated[Path | None, typer.Option(help="Write the best model here.")] = None,
    plot: PlotFile = None,
    n_init: Inits = None,
    tol: Tol = None,
    max_iter: MaxIter = None,
    seed: Seed = None,
    threads: Threads = None,
    reg_covar: RegCovar = None,
    trials: Trials = None,
    settings: Settings = None,
    stream: Stream = None,
    progress: Progress = None,
    as_json: AsJson = False,
) -> int:
    """Fit a model for every number of components and shape, and pick one by a criterion.

    Ctrl-C ends with those that are fitted.
    """
    from emfast.cli import kinds, pictures, report
    from emfast.cli.writing import records, write_json

    kinds.check_has(model.value, criterion.value)
    shapes = _shapes(covariance)
    options = {
        "--covariance": ("covariance_type", shapes[0] if covariance else None),
        **_options(n_init, tol, max_iter, seed, threads, reg_covar, trials),
    }
    numbers = _numbers("--components", components)
    roles = _roles(labels_column, weights_column, target_column, sequence_column, columns)
    _check_outputs(file, output, plot)
    made, data = _prepared(file, model, options, settings, progress, roles, emission, stream)
    shaped = "covariance_type" in made.get_params(deep=False)
    grid = {"covariance_type": shapes} if shaped else {}
    grid["n_components"] = numbers
    found, interrupted = _selected(made, data, grid, criterion.value)
    if as_json:
        tried = records(found.table.columns())
        write_json({"criterion": criterion.value, "candidates": tried}, sys.stdout)
    else:
        report.print_selection(report.console(), found.table)
    _save(found.model, data, output)
    if plot is not None:
        pictures.draw_selection(found, plot)
    return INTERRUPTED if interrupted else 0


@app.command()
def predict(
    model: ModelFile,
    file: DataFile,
    sequence_column: SequenceColumn = None,
    probabilities: Annotated[
        bool, typer.Option("--proba", help="Add the probability of every component.")
    ] = False,
    scores: Annotated[
        bool, typer.Option("--scores", help="Add the log-likelihood of every row, in nats.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help=".csv, .npy, .parquet or .arrow. Default: CSV on stdout.")
    ] = None,
    plot: PlotFile = None,
    threads: Threads = None,
    stream: Stream = None,
    as_json: AsJson = False,
) -> None:
    """Tell the component, class, state, factors or target of every row of a table."""
    from emfast.cli import pictures, predictions, streamed
    from emfast.data.tables import read_table

    _check_outputs(file, output, plot, table=True)
    fitted, names = _load(model, threads)
    if streamed.is_streamed(file, stream, type(fitted)):
        for option, given in (("--plot", plot), ("--json", as_json)):
            if given:
                raise ValueError(f"{option} needs rows in memory: one file, and --no-stream")
        if sequence_column is not None:
            raise ValueError("--sequence-column needs a hidden Markov model")
        _write_parts(streamed.answers(fitted, names, file, probabilities, scores), output)
        return
    data = predictions.rows_for(fitted, names, read_table(file), sequence_column)
    found = predictions.predicted(fitted, data, probabilities, scores)
    _write(found, output, as_json)
    if plot is not None:
        pictures.draw_fit(fitted, data, plot)


@app.command()
def sample(
    model: ModelFile,
    rows: Annotated[int | None, typer.Option(min=1, help="How many rows to draw.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Features of which a regression draws the target.")
    ] = None,
    seed: Seed = None,
    output: Annotated[
        Path | None, typer.Option(help=".csv, .npy, .parquet or .arrow. Default: CSV on stdout.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw rows from a fitted model, with their components; of an HMM one sequence."""
    from emfast.cli import predictions
    from emfast.data.tables import read_table

    _check_outputs(data, output, None, table=True)
    fitted, names = _load(model, None)
    table = None if data is None else read_table(data)
    _write(predictions.sampled(fitted, names, rows, seed, table), output, as_json)


# What they share


def _options(n_init, tol, max_iter, seed, threads, reg_covar, trials) -> dict[str, tuple[str, Any]]:
    return {
        "--n-init": ("n_init", n_init),
        "--tol": ("tol", tol),
        "--max-iter": ("max_iter", max_iter),
        "--seed": ("random_state", seed),
        "--threads": ("n_threads", threads),
        "--reg-covar": ("reg_covar", reg_covar),
        "--trials": ("n_trials", trials),
    }


def _roles(labels, weights, target, sequences, columns: str | None):
    from emfast.cli.kinds import Roles, split

    roles = Roles(labels, weights, target, sequences, None if columns is None else split(columns))
    roles.named()
    return roles


def _prepared(
    file: Path, model: Model, options, settings, progress, roles, emission, stream
) -> tuple[Any, "Data"]:
    """The estimator, and the data that it is to be fitted to."""
    from emfast.cli import kinds, streamed
    from emfast.data.tables import read_table

    shown = sys.stderr.isatty() if progress is None else progress
    described = kinds.Emissions(emission or [], options["--trials"][1])
    if described.check(model.value):
        options = {name: given for name, given in options.items() if name != "--trials"}
    made = kinds.estimator(model.value, options, _settings(settings), shown)
    if _is_streamed(file, stream, model):
        data = streamed.to_fit(model.value, file, roles, described)
        kinds.with_emissions(model.value, made, None, data, described)
        return made, data
    table = read_table(file)
    data = kinds.read(model.value, table, roles, described)
    kinds.with_emissions(model.value, made, table, data, described)
    return made, data


def _is_streamed(file: Path, stream: bool | None, model: Model) -> bool:
    from emfast.cli import kinds, streamed

    return streamed.is_streamed(file, stream, kinds.MODELS[model.value])


def _interrupted(made: Any, data: "Data") -> bool:
    """Fit; whether Ctrl-C has ended that, and left a model."""
    from emfast.cli.kinds import columns_named

    try:
        with columns_named(data.names):
            made.fit(data.X, **data.fit_params)
    except KeyboardInterrupt:
        if not hasattr(made, "n_features_in_"):
            raise
        print("emfast: interrupted; this is the best model so far", file=sys.stderr)
        return True
    return False


def _selected(made: Any, data: "Data", grid: dict, criterion: str) -> tuple["Selection", bool]:
    """Select; and whether Ctrl-C has ended that, and left some models."""
    from emfast.cli.kinds import columns_named
    from emfast.exceptions import SelectionInterrupted
    from emfast.selection import select

    try:
        with columns_named(data.names):
            return select(made, data.X, grid, criterion, **data.fit_params), False
    except SelectionInterrupted as interrupt:
        found = interrupt.selection
        print(f"emfast: interrupted; these {len(found.table)} are fitted", file=sys.stderr)
        return found, True


def _settings(given: list[str] | None) -> dict[str, Any]:
    """Arguments of the estimator by their names; what is not JSON is a string."""
    found = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set: found {text!r}; expected NAME=VALUE")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def _numbers(option: str, text: str) -> list[int]:
    """Numbers like 1-3,6."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            numbers = range(int(first), int(last if dash else first) + 1)
        except ValueError:
            numbers = range(0)
        if not numbers or numbers[0] < 1:
            message = f"found {text!r}; expected numbers like 1-6 or 1,2,4"
            raise typer.BadParameter(message, param_hint=f"'{option}'")
        found += numbers
    return found


def _shapes(text: str | None) -> list[str]:
    """Shapes of covariances, which commas separate."""
    known = [each.value for each in Covariance]
    if text is None or text == "all":
        return known
    found = [part.strip() for part in text.split(",")]
    for part in found:
        if part not in known:
            message = f"found {part!r}; expected some of {', '.join(known)}, or all"
            raise typer.BadParameter(message, param_hint="'--covariance'")
    return found


def _check_outputs(
    file: Path | None, output: Path | None, plot: Path | None, table: bool = False
) -> None:
    """Raise where what is to be written cannot be, before anything is done."""
    from emfast.cli import pictures
    from emfast.cli.writing import check_suffix
    from emfast.storage.archive import check_writable

    for option, path in (("--output", output), ("--plot", plot)):
        if path is None:
            continue
        check_writable(path)
        if file is not None and path.exists() and any(map(path.samefile, _existing(file))):
            raise ValueError(f"{option} {path} would replace the data")
    if table and output is not None:
        check_suffix(output)
    if plot is not None:
        pictures.check(plot)


def _existing(file: Path) -> list[str]:
    """The files that a name stands for; none if there are none, which others tell of."""
    from emfast.data.files import paths_of

    try:
        return paths_of(file)
    except OSError:
        return []


def _save(model: Any, data: "Data", output: Path | None) -> None:
    if output is None:
        return
    import numpy as np

    model.feature_names_in_ = np.array(data.names, dtype=object)
    model.save(output)
    del model.feature_names_in_


def _load(path: Path, threads: int | None) -> tuple[Any, list[str]]:
    """A fitted model, and the names of its columns, which rows without names do not have."""
    import emfast

    model = emfast.load(path)
    names = model.__dict__.pop("feature_names_in_", None)
    # Of a classifier that was fitted to a table.
    vars(getattr(model, "mixture_", model)).pop("feature_names_in_", None)
    if threads is not None:
        model.set_params(n_threads=threads)
    if names is None:
        names = [f"x{j}" for j in range(model.n_features_in_)]
    return model, [str(name) for name in names]


def _write(columns, output: Path | None, as_json: bool) -> None:
    from emfast.cli.writing import records, write_csv, write_json, write_table

    if output is not None:
        write_table(columns, output)
    if as_json:
        write_json(records(columns), sys.stdout)
    elif output is None:
        write_csv(columns, sys.stdout)


def _write_parts(parts, output: Path | None) -> None:
    """Write some rows at a time."""
    from emfast.data.writers import CsvRows, writer_to

    if output is None:
        rows = CsvRows(sys.stdout)
        for columns in parts:
            rows.write(columns)
        return
    with writer_to(output) as writer:
        for columns in parts:
            writer.write(columns)
