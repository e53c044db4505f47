"""The command line: tables on stdout; for bad input one line on stderr, and status 1 or 2."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

import emfast
from emfast import BernoulliMixture, GaussianMixture
from emfast.cli import commands, console
from emfast.storage import persistence


@pytest.fixture
def emfast_fit(tmp_path, monkeypatch, capsys):
    """Runs ``emfast fit`` in a folder of its own; the status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = console.main(["fit", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def X():
    generator = np.random.default_rng(0)
    return np.vstack([generator.normal(0, 1, (60, 2)), generator.normal(7, 1, (40, 2))])


def write_csv(path, header, *columns):
    rows = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path.name


@pytest.fixture
def good(tmp_path, X):
    return write_csv(tmp_path / "good.csv", "length,height", *X.T.tolist())


def value_of(name, out):
    return re.search(rf"^{name} +(\S+)$", out, re.MULTILINE).group(1)


def test_fit(emfast_fit, good, X):
    status, out, err = emfast_fit(good, "--components", 2, "--seed", 0)
    assert (status, err) == (0, "")
    mixture = GaussianMixture(2, random_state=0).fit(X)
    for values in (mixture.weights_, *mixture.means_):
        assert all(f"{value:.6g}" in out for value in values)
    assert "length" in out
    assert "height" in out
    assert float(value_of("log-likelihood", out)) == pytest.approx(mixture.score(X) * 100)
    assert float(value_of("BIC", out)) == pytest.approx(mixture.bic(X), abs=1e-3)
    assert value_of("iterations", out) == str(mixture.n_iter_)
    assert value_of("converged", out) == "yes"


def test_every_option_of_a_fit(emfast_fit, tmp_path, X):
    labels = ["car"] * 3 + [""] * 57 + ["truck"] + [""] * 39
    weights = (np.arange(100) % 3).tolist()
    name = write_csv(tmp_path / "t.csv", "a,b,type,w", *X.T.tolist(), labels, weights)
    options = "--components 3 --covariance diag --labels-column type --weights-column w --n-init 2"
    more = "--tol 1e-4 --max-iter 500 --seed 1 --threads 1 --reg-covar 1e-3 --output m.npz"
    status, out, err = emfast_fit(name, *options.split(), *more.split())
    assert (status, err) == (0, "")
    assert "0 car" in out
    assert "1 truck" in out
    assert "with the labels" in out
    mixture = persistence.load(tmp_path / "m.npz")
    assert mixture.classes_.tolist() == ["car", "truck"]
    chosen = mixture.get_params()
    assert chosen["covariance_type"] == "diag"
    assert (chosen["n_init"], chosen["tol"], chosen["max_iter"]) == (2, 1e-4, 500)
    assert (chosen["random_state"], chosen["n_threads"], chosen["reg_covar"]) == (1, 1, 1e-3)
    expected = GaussianMixture(**chosen).fit(
        X, labels=[label or None for label in labels], sample_weight=weights
    )
    assert np.array_equal(mixture.means_, expected.means_)
    total = expected.score(X, sample_weight=weights) * np.sum(weights)
    assert float(value_of("log-likelihood", out)) == pytest.approx(total)


def test_bernoulli(emfast_fit, tmp_path):
    X = np.random.default_rng(0).random((200, 3)) < 0.3
    np.save(tmp_path / "b.npy", X)
    arguments = ("b.npy", "--components", 2, "--model", "bernoulli", "--output", "m", "--seed", 0)
    status, out, _ = emfast_fit(*arguments)
    assert status == 0
    assert "probabilities" in out
    mixture = persistence.load(tmp_path / "m")
    assert isinstance(mixture, BernoulliMixture)
    assert all(f"{p:.6g}" in out for p in mixture.probabilities_.ravel())


def test_many_components_and_features_stay_whole(emfast_fit, tmp_path):
    X = np.random.default_rng(0).normal(size=(200, 30))
    np.save(tmp_path / "x.npy", X)
    _, out, _ = emfast_fit(
        "x.npy", "--components", 20, "--covariance", "spherical", "--output", "m", "--tol", 1
    )
    mixture = persistence.load(tmp_path / "m")
    assert all(f"{mean:.6g}" in out for mean in mixture.means_.ravel())


def test_names_are_printed_literally(emfast_fit, tmp_path, X):
    name = write_csv(tmp_path / "x.csv", "[red]a,:smile:", *X.T.tolist())
    _, out, _ = emfast_fit(name, "--components", 1)
    assert "[red]a" in out
    assert ":smile:" in out


def test_warnings_are_one_line_on_stderr(emfast_fit, good):
    status, out, err = emfast_fit(
        good, "--components", 3, "--max-iter", 1, "--tol", 1e-12, "--seed", 0
    )
    assert status == 0
    assert value_of("converged", out) == "no"
    assert err.startswith("emfast: warning: ")
    assert err.count("\n") == 1


BAD = {
    "no file": (["missing.csv"], "missing.csv: No such file"),
    "a folder": ([".", "--no-stream"], "several files; expected one"),
    "K too large": (["good.csv", "--components", "101"], "n_samples = 100"),
    "K zero": (["good.csv", "--components", "0"], "--components"),
    "K no number": (["good.csv", "--components", "two"], "--components"),
    "covariance": (["good.csv", "--covariance", "round"], "'round' is not one of"),
    "model": (["good.csv", "--model", "weibull"], "'weibull' is not one of"),
    "labels column": (["good.csv", "--labels-column", "x"], "there is no column 'x'"),
    "weights column": (["good.csv", "--weights-column", "x"], "there is no column 'x'"),
    "all columns used": (["good.csv", "--weights-column", "length"], "found -"),
    "one column twice": (
        ["good.csv", "--weights-column", "length", "--labels-column", "length"],
        "both 'length'",
    ),
    "labels no integers": (["good.csv", "--labels-column", "length"], "labels: "),
    "not binary": (["good.csv", "--model", "bernoulli"], "expected only 0 and 1"),
    "covariance of Bernoulli": (
        ["good.csv", "--model", "bernoulli", "--covariance", "full"],
        "--covariance needs --model gaussian",
    ),
    "reg_covar of Bernoulli": (
        ["good.csv", "--model", "bernoulli", "--reg-covar", "1"],
        "--reg-covar needs --model gaussian",
    ),
    "tol": (["good.csv", "--tol", "-1"], "--tol"),
    "tol NaN": (["good.csv", "--tol", "nan"], "tol"),
    "n_init": (["good.csv", "--n-init", "0"], "--n-init"),
    "max_iter": (["good.csv", "--max-iter", "-1"], "--max-iter"),
    "seed": (["good.csv", "--seed", "99999999999"], "random_state"),
    "threads": (["good.csv", "--threads", "0"], "--threads"),
    "reg_covar": (["good.csv", "--reg-covar", "inf"], "reg_covar"),
    "unknown option": (["good.csv", "--nope"], "--nope"),
    "output folder": (["good.csv", "--output", "no/m.npz"], "there is no folder"),
    "output is a folder": (["good.csv", "--output", "."], "is a folder"),
    "output is the data": (["good.csv", "--output", "good.csv"], "would replace the data"),
}


# Where the command line itself is wrong, whatever the data.
BAD_USAGE = (
    "K zero",
    "K no number",
    "covariance",
    "model",
    "tol",
    "tol NaN",
    "n_init",
    "max_iter",
    "threads",
    "unknown option",
)


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_a_status(emfast_fit, good, case):
    arguments, message = BAD[case]
    components = [] if "--components" in arguments else ["--components", "2"]
    status, out, err = emfast_fit(*arguments, *components)
    assert status == (2 if case in BAD_USAGE else 1)
    assert out == ""
    assert err.startswith("emfast: error: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("cell", "message"),
    [("oops", "column 'b': found 'oops' in row 1"), ("inf", "found inf in row 1")],
)
def test_bad_cells(emfast_fit, tmp_path, cell, message):
    write_csv(tmp_path / "x.csv", "a,b", [1, 2, 3], [4, cell, 6])
    status, out, err = emfast_fit("x.csv", "--components", 1)
    assert (status, out) == (1, "")
    assert message in err


def test_missing_cells(emfast_fit, tmp_path):
    write_csv(tmp_path / "x.csv", "a,b", [1, 2, 3, 5], [4, "", 6, 9])
    status, out, _ = emfast_fit("x.csv", "--components", 1)
    assert status == 0
    assert "2.75" in out
    write_csv(tmp_path / "x.csv", "a,w", [1, 2, 3], [1, "", 1])
    status, _, err = emfast_fit("x.csv", "--components", 1, "--weights-column", "w")
    assert status == 1
    assert "column 'w': found a missing value in row 1" in err


def test_negative_weights_and_too_many_classes(emfast_fit, tmp_path):
    write_csv(tmp_path / "x.csv", "a,w,type", [1, 2, 3], [1, -1, 1], ["x", "y", "z"])
    without_type = ["--components", 2, "--labels-column", "type"]
    status, _, err = emfast_fit("x.csv", *without_type)
    assert status == 1
    assert "found 3 classes" in err
    write_csv(tmp_path / "x.csv", "a,w", [1, 2, 3], [1, -1, 1])
    status, _, err = emfast_fit("x.csv", "--components", 2, "--weights-column", "w")
    assert status == 1
    assert "found -1.0 in row 1" in err


def test_the_output_is_checked_before_the_data_is_read(emfast_fit, monkeypatch, good):
    monkeypatch.setattr("emfast.data.tables.read_table", lambda path: pytest.fail("was read"))
    status, _, err = emfast_fit(good, "--components", 2, "--output", "no/m.npz")
    assert status == 1
    assert "there is no folder" in err


def test_an_interrupt_is_quiet(emfast_fit, monkeypatch, good):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("emfast.data.tables.read_table", interrupt)
    assert emfast_fit(good, "--components", 2)[:2] == (commands.INTERRUPTED, "")


def test_an_interrupt_before_there_is_a_command_is_quiet(monkeypatch, capsys):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "run", interrupt)
    assert console.main(["info"]) == commands.INTERRUPTED
    assert capsys.readouterr() == ("", "")


def test_missing_arguments(capsys):
    assert console.main(["fit"]) == 2
    assert console.main(["frobnicate"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.startswith("emfast: error: ") for line in err.splitlines()] == [True, True]


def test_help_version_and_info(capsys):
    assert console.main([]) == 0
    assert "Usage" in capsys.readouterr().out
    assert console.main(["fit", "--help"]) == 0
    assert "--components" in capsys.readouterr().out
    assert console.main(["--version"]) == 0
    assert capsys.readouterr().out == f"emfast {emfast.__version__}\n"
    assert console.main(["info"]) == 0
    assert "instruction set" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_typer_or_rich(monkeypatch, capsys, missing):
    found = console.find_spec
    monkeypatch.setattr(console, "find_spec", lambda name: None if name == missing else found(name))
    assert console.main(["info"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert 'pip install "emfast[cli]"' in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["info"], ["fit", "good.csv", "--components", "1"]])
def test_a_wrong_instruction_set_is_one_line(tmp_path, good, arguments):
    script = f"from emfast.cli import main; raise SystemExit(main({arguments}))"
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"EMFAST_INSTRUCTION_SET": "x86_64_v9"},
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("emfast: error: EMFAST_INSTRUCTION_SET='x86_64_v9'")
    assert result.stderr.count("\n") == 1


def test_as_a_program_with_pipes(tmp_path, good):
    code = "import sys; from emfast.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "fit", good, "--components"]
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300}
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([*command, "2"], env=environment, **options)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
    failed = subprocess.run([*command, "500"], env=environment, **options)
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.count("\n") == 1
