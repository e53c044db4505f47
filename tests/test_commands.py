"""The commands that read models and write tables, and every model on the command line."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("typer")
pytest.importorskip("rich")

import emfast
from emfast import GaussianMixture, Mixture, MixtureOfExperts, cli
from emfast.cli import commands, kinds
from emfast.cli.writing import plain, write_table
from emfast.data.tables import read_table
from emfast.emissions import Bernoulli, Binomial, Categorical, Exponential, Gaussian, Poisson


@pytest.fixture
def people():
    """Two kinds of people, in six sequences; missing cells, strings and few labels."""
    rng = np.random.default_rng(0)
    z = np.repeat(rng.integers(0, 2, 30), 10)
    frame = pd.DataFrame(
        {
            "height": rng.normal(165 + 20 * z, 4),
            "weight": rng.normal(60 + 20 * z, 4),
            "visits": rng.poisson(2 + 10 * z),
            "passed": rng.binomial(9, 0.2 + 0.6 * z),
            "waited": rng.exponential(1 + 9 * z),
            "town": np.where(rng.random(300) < 0.1 + 0.8 * z, "Ulm", "Bonn"),
            "yes": (rng.random(300) < 0.1 + 0.8 * z).astype(int),
            "kind": np.where(rng.random(300) < 0.2, np.where(z, "tall", "small"), None),
            "day": np.repeat(["mo", "tu", "we", "th", "fr", "sa"], 50),
            "times": np.repeat([1, 2, 1, 3, 1, 1], 50),
        }
    )
    frame["price"] = 2 * frame["height"] + np.where(z, 30, -30) + rng.normal(0, 2, 300)
    frame.loc[::17, "town"] = None
    return frame


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, people):
    """Runs ``emfast`` in a folder with people.csv; the status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    people.to_csv("people.csv", index=False)

    def call(*arguments):
        status = cli.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return call


def runs(run, *arguments):
    """What it prints, where that goes well."""
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    return out


TWO = ["--components", 2, "--seed", 0]
SEQUENCES = ["--sequence-column", "day"]
PRICE = ["--target-column", "price"]
# Its features, and what else it needs.
MODELS = {
    "gaussian": ("height,weight", TWO),
    "bernoulli": ("yes", TWO),
    "categorical": ("town,yes", TWO),
    "poisson": ("visits", TWO),
    "binomial": ("passed", [*TWO, "--trials", 9]),
    "exponential": ("waited", TWO),
    "mixed": ("height,town,yes", TWO),
    "classifier": ("height,weight", ["--components", 1, "--target-column", "kind"]),
    "gaussian-hmm": ("height,weight", [*TWO, *SEQUENCES]),
    "bernoulli-hmm": ("yes", [*TWO, *SEQUENCES]),
    "categorical-hmm": ("town", [*TWO, *SEQUENCES]),
    "poisson-hmm": ("visits", [*TWO, *SEQUENCES]),
    "hmm": ("visits,town", [*TWO, *SEQUENCES, "--emission", "poisson=visits"]),
    "regression": ("height", [*TWO, *PRICE]),
    "experts": ("height,weight", [*TWO, *PRICE]),
    "bayesian-regression": ("height,weight", PRICE),
    "factor-analysis": ("height,weight,price", ["--components", 1]),
}


def test_every_model_is_there():
    assert list(MODELS) == list(kinds.MODELS) == [model.value for model in commands.Model]
    named = {getattr(emfast, name) for name in emfast.__all__}
    estimators = {kind for kind in named if isinstance(kind, type) and hasattr(kind, "fit")}
    assert set(kinds.MODELS.values()) == estimators


@pytest.mark.parametrize("name", MODELS)
def test_fit_prints_what_the_estimator_finds(run, name, people):
    columns, options = MODELS[name]
    arguments = ["fit", "people.csv", "--model", name, "--columns", columns, *options]
    said = json.loads(runs(run, *arguments, "--json"))
    assert said["model"] == kinds.MODELS[name].__name__
    assert said["columns"] == columns.split(",")
    assert said["converged"]
    text = runs(run, *arguments)
    assert "iterations" in text
    for row in said["parameters"]:
        for key, values in row.items():
            assert key == "of" or key in text
            assert key == "of" or all(f"{v:.6g}" in text for v in values if v is not None)
    if "bic" in said:
        assert f"{said['bic']:.4f}" in text
    if "accuracy" in said:
        assert said["accuracy"] > 0.98
    if "r_squared" in said:
        assert said["r_squared"] > 0.5


def test_the_numbers_are_those_of_python(run, people):
    columns = ["height", "weight"]
    said = json.loads(
        runs(run, "fit", "people.csv", "--columns", ",".join(columns), *TWO, "--json")
    )
    mixture = GaussianMixture(2, random_state=0).fit(people[columns].to_numpy())
    means = next(row for row in said["parameters"] if row["of"] == "means")
    assert_allclose([means["height"], means["weight"]], mixture.means_.T, rtol=1e-9)
    spread = next(row for row in said["parameters"] if row["of"] == "standard deviations")
    assert_allclose(spread["height"], np.sqrt(mixture.covariances_[:, 0, 0]), rtol=1e-9)
    for criterion in ("bic", "aic", "icl"):
        expected = getattr(mixture, criterion)(people[columns].to_numpy())
        assert said[criterion] == pytest.approx(expected)


@pytest.mark.parametrize("name", MODELS)
def test_predict_and_sample(run, name, people):
    columns, options = MODELS[name]
    runs(run, "fit", "people.csv", "--model", name, "--columns", columns, *options, "--output", "m")
    model = emfast.load("m")
    assert model.feature_names_in_.tolist() == columns.split(",")
    assert type(model) is kinds.MODELS[name]
    sequences = SEQUENCES if "hmm" in name else []
    runs(run, "predict", "m", "people.csv", *sequences, "--output", "found.csv")
    found = pd.read_csv("found.csv")
    assert len(found) == 300
    if name not in ("regression", "experts", "bayesian-regression", "factor-analysis"):
        shares = json.loads(
            runs(run, "predict", "m", "people.csv", *sequences, "--proba", "--json")
        )
        assert_allclose([sum(v for k, v in row.items() if k[0] == "p") for row in shares], 1)
        assert next(iter(shares[0])) == found.columns[0]
    if name == "bayesian-regression":
        status, _, err = run("sample", "m", "--rows", 3)
        assert (status, "draws no rows" in err) == (1, True)
        return
    of_target = name in ("regression", "experts")
    drawing = ["--data", "people.csv"] if of_target else ["--rows", 300]
    drawn = runs(run, "sample", "m", *drawing, "--seed", 3)
    assert drawn == runs(run, "sample", "m", *drawing, "--seed", 3)
    assert drawn.splitlines()[0].startswith(columns)
    assert drawn.count("\n") == 301
    assert drawn != runs(run, "sample", "m", *drawing, "--seed", 4)


def test_predict_finds_columns_by_their_names(run, people, tmp_path):
    runs(run, "fit", "people.csv", "--columns", "height,weight", *TWO, "--output", "m")
    people[["weight", "town", "height"]].to_parquet("other.parquet")
    out = runs(run, "predict", "m", "other.parquet", "--scores")
    expected = GaussianMixture(2, random_state=0).fit(people[["height", "weight"]].to_numpy())
    header, *lines = out.splitlines()
    assert header == "component,log_likelihood"
    rows = np.array([line.split(",") for line in lines], float)
    X = people[["height", "weight"]].to_numpy()
    assert_array_equal(rows[:, 0], expected.predict(X))
    assert_allclose(rows[:, 1], expected.score_samples(X), rtol=1e-9)
    people[["weight"]].to_csv("few.csv", index=False)
    status, _, err = run("predict", "m", "few.csv")
    assert status == 1
    assert "there is no column 'height'" in err


def test_names_of_rows_are_no_categories(run, people):
    people.assign(name=[f"person {i}" for i in range(300)]).to_csv("named.csv", index=False)
    arguments = ["--model", "mixed", *TWO, "--columns", "height,town,name", "--max-iter", 3]
    status, out, err = run("fit", "named.csv", *arguments)
    assert status == 0
    assert (
        "emfast: warning: column 'name' has 300 different strings in 300 cells, such as 'p" in err
    )
    assert "'town'" not in err
    assert "probabilities of name" in out


def test_labels_have_names(run):
    runs(
        run, "fit", "people.csv", "--columns", "height", *TWO, "--labels-column", "kind",
        "--output", "m",
    )  # fmt: skip
    header, *rows = runs(run, "predict", "m", "people.csv").splitlines()
    assert header == "component,class"
    assert set(rows) == {"0,small", "1,tall"}


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet", ".arrow", ".feather"])
def test_formats_in_and_out(run, people, suffix):
    columns = ["height", "weight"]
    name = f"data{suffix}"
    write_table({name: people[name].to_numpy() for name in columns}, name)
    assert_array_equal(read_table(name).features()[0], people[columns].to_numpy())
    runs(run, "fit", name, *TWO, "--output", "m")
    assert runs(run, "predict", "m", name, "--output", f"found{suffix}") == ""
    found = read_table(f"found{suffix}").features()[0].ravel()
    assert_array_equal(found, GaussianMixture(2, random_state=0).fit_predict(people[columns]))


def test_strings_and_missing_cells_are_written(tmp_path):
    columns = {
        "a": np.array(["x", None, 'y "z", u'], object),
        "b": np.array([1.5, np.nan, -2]),
        "c": np.arange(3),
    }
    for suffix in (".csv", ".parquet", ".arrow"):
        write_table(columns, tmp_path / f"t{suffix}")
        table = read_table(tmp_path / f"t{suffix}")
        assert table.labels("a").tolist() == ["x", None, 'y "z", u']
        assert_array_equal(table.columns["b"], columns["b"])
        assert_array_equal(table.columns["c"], columns["c"])
    with pytest.raises(ValueError, match=r"column 'a': .npy files hold numbers"):
        write_table(columns, tmp_path / "t.npy")
    with pytest.raises(ValueError, match=r"t.xls: expected a name that ends in one of .csv"):
        write_table(columns, tmp_path / "t.xls")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.arrow", "t.csv", "t.parquet"]


def test_arrow_streams_and_damaged_files(tmp_path):
    import pyarrow as pa

    table = pa.table({"a": [1.0, 2.0], "b": [3, 4]})
    with pa.ipc.new_stream(tmp_path / "s.arrow", table.schema) as writer:
        writer.write_table(table)
    assert read_table(tmp_path / "s.arrow").features()[0].tolist() == [[1, 3], [2, 4]]
    (tmp_path / "d.arrow").write_bytes(b"ARROW1\0\0nothing")
    with pytest.raises(ValueError, match=r"d.arrow: not a readable Arrow file"):
        read_table(tmp_path / "d.arrow")


def test_what_json_has_no_word_for():
    value = {"a": np.array([1.0, np.nan]), 2: (np.float32(np.inf), None, np.bool_(True)), "c": {1}}
    assert plain(value) == {"a": [1.0, None], "2": [None, None, True], "c": "{1}"}


# Which model


def test_select(run, people):
    arguments = ["select", "people.csv", "--columns", "height,weight", "--components", "1-2,4"]
    out = runs(run, *arguments, "--seed", 0, "--output", "m", "--plot", "s.png")
    model = emfast.load("m")
    said = json.loads(runs(run, *arguments, "--seed", 0, "--json"))
    assert said["criterion"] == "bic"
    assert len(said["candidates"]) == 12
    best = min(said["candidates"], key=lambda each: each["bic"])
    assert best["best"]
    assert (model.covariance_type, model.n_components) == (
        best["covariance_type"], best["n_components"],
    )  # fmt: skip
    line = next(line for line in out.splitlines() if "best" in line)
    assert f"{best['bic']:.2f}" in line
    with open("s.png", "rb") as file:
        assert file.read(4) == b"\x89PNG"


def test_select_among_hidden_markov_models(run):
    arguments = ["--columns", "visits", "--model", "poisson-hmm", *SEQUENCES, "--seed", 0]
    out = runs(run, "select", "people.csv", *arguments, "--components", "1-2", "--criterion", "aic")
    assert "ICL" not in out
    assert out.rstrip().splitlines()[-1].split()[0] == "2"
    assert "best" in out.rstrip().splitlines()[-1]
    status, _, err = run("select", "people.csv", *arguments, "--criterion", "icl")
    assert status == 1
    assert "select by icl needs --model gaussian, " in err


def test_select_tells_of_points_that_fail(run):
    status, out, err = run(
        "select", "people.csv", "--columns", "height", "--components", "1,301", "--seed", 0,
        "--covariance", "full,diag", "--threads", 1, "--n-init", 2,
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert out.count("failed: X: Expected") == 2


# What else


@pytest.mark.parametrize("name", ["gaussian", "poisson", "gaussian-hmm", "mixed", "classifier"])
def test_plot(run, name):
    pytest.importorskip("matplotlib")
    columns, options = MODELS[name]
    arguments = ["--model", name, "--columns", columns, *options, "--plot", "p.png"]
    runs(run, "fit", "people.csv", *arguments)
    with open("p.png", "rb") as file:
        assert file.read(4) == b"\x89PNG"


def test_without_matplotlib(run, monkeypatch):
    monkeypatch.setattr("emfast.cli.pictures.find_spec", lambda name: None)
    status, out, err = run("fit", "people.csv", *TWO, "--plot", "p.png")
    assert (status, out) == (1, "")
    assert "--plot needs matplotlib: pip install 'emfast[plot]'" in err


def test_progress_and_settings(run):
    arguments = ["fit", "people.csv", "--columns", "height", *TWO]
    status, out, err = run(*arguments, "--progress", "--set", "tol=1e-5", "--set", "noise=true")
    assert status == 0
    assert "log-likelihood" in err
    assert "100%" in err
    assert "component" in out
    status, out, err = run("select", "people.csv", "--columns", "height", "--progress")
    assert "24/24" in err
    fixed = '{"means": [true, false]}'
    said = runs(
        run, *arguments, "--set", "means_init=[[150], [180]]", "--set", f"fixed={fixed}", "--json",
    )  # fmt: skip
    assert json.loads(said)["parameters"][1]["height"][0] == 150


def test_emissions_may_be_named(run):
    runs(
        run, "fit", "people.csv", "--model", "mixed", *TWO, "--columns", "height,weight,visits",
        "--emission", "gaussian-full=height, weight", "--emission", "poisson=visits",
        "--output", "m",
    )  # fmt: skip
    model = emfast.load("m")
    assert list(model.emissions_) == ["gaussian-full", "poisson"]
    assert model.emissions_["gaussian-full"].covariances.shape == (2, 2, 2)


def test_ctrl_c_in_a_fit_keeps_the_best_so_far(run, monkeypatch):
    maximize = emfast.em.maximize

    def impatient(*arguments, observe=None, **options):
        if observe is not None:
            options["observe"] = lambda it: signal.raise_signal(signal.SIGINT)
        return maximize(*arguments, **options)

    monkeypatch.setattr(emfast.em, "maximize", impatient)
    arguments = ["fit", "people.csv", "--columns", "height", *TWO, "--output", "m", "--progress"]
    status, out, err = run(*arguments)
    assert status == commands.INTERRUPTED
    assert "interrupted; this is the best model so far" in err
    assert "converged        no" in out
    assert emfast.load("m").n_iter_ == 1


def test_the_same_command_goes_on_from_its_checkpoint(run, monkeypatch):
    maximize = emfast.em.maximize

    def impatient(*arguments, **options):
        if options.get("keep") is not None:
            options["observe"] = lambda it: it.number == 3 and signal.raise_signal(signal.SIGINT)
        return maximize(*arguments, **options)

    arguments = [
        "fit", "people.csv", "--columns", "height,weight", *TWO, "--tol", "0", "--max-iter", "9",
        "--output", "m",
    ]  # fmt: skip
    runs(run, *arguments, "--seed", "0")
    whole = emfast.load("m")
    arguments += ["--seed", "0", "--checkpoint", "state.npz"]
    with monkeypatch.context() as patch:
        patch.setattr(emfast.em, "maximize", impatient)
        assert run(*arguments)[0] == commands.INTERRUPTED
    assert os.path.exists("state.npz")
    assert emfast.load("m").n_iter_ == 3
    status, _, err = run(*arguments[:-3], "1", *arguments[-2:])
    assert status == commands.BAD_INPUT
    assert "checkpoint: state.npz: found a fit with random_state=0; expected 1" in err
    runs(run, *arguments)
    again = emfast.load("m")
    assert again.n_iter_ == 9
    assert_array_equal(again.lower_bounds_, whole.lower_bounds_)
    assert_array_equal(again.means_, whole.means_)
    assert not os.path.exists("state.npz")


def test_a_checkpoint_is_not_where_the_model_goes(run):
    arguments = ["fit", "people.csv", "--columns", "height", *TWO, "--output", "m"]
    status, _, err = run(*arguments, "--checkpoint", "./m")
    assert status == commands.BAD_INPUT
    assert "--checkpoint and --output are the same file" in err


@pytest.mark.parametrize("first", [False, True])
def test_ctrl_c_in_select_keeps_what_is_fitted(run, monkeypatch, first):
    fit = GaussianMixture.fit

    def impatient(self, X):
        stop = first or self.n_components == 3
        return signal.raise_signal(signal.SIGINT) if stop else fit(self, X)

    monkeypatch.setattr(GaussianMixture, "fit", impatient)
    arguments = ["--columns", "height", "--covariance", "full", "--seed", 0, "--output", "m"]
    status, out, err = run("select", "people.csv", *arguments, "--plot", "p.png")
    assert status == commands.INTERRUPTED
    if first:
        assert (out, err) == ("", "")
        assert not os.path.exists("m")
        return
    assert err == "emfast: interrupted; these 2 are fitted\n"
    assert len([line for line in out.splitlines() if line.strip().startswith("full")]) == 2
    assert emfast.load("m").n_components == 2
    assert os.path.getsize("p.png") > 5000


def test_counts_out_of_some_trials_among_other_columns(run, people):
    runs(
        run, "fit", "people.csv", "--model", "mixed", *TWO, "--emission", "gaussian=height",
        "--emission", "binomial=passed", "--trials", 9, "--output", "m",
    )  # fmt: skip
    parts = [("gaussian", Gaussian("diag"), [0]), ("binomial", Binomial(9), [1])]
    expected = Mixture(2, parts, random_state=0).fit(people[["height", "passed"]].to_numpy())
    found = emfast.load("m").emissions_["binomial"].probabilities
    assert_allclose(found, expected.emissions_["binomial"].probabilities)


@pytest.mark.parametrize(
    ("kind", "target", "emission"),
    [
        ("gaussian", "weight", Gaussian("diag")),
        ("bernoulli", "yes", Bernoulli()),
        ("categorical", "town", Categorical()),
        ("poisson", "visits", Poisson()),
        ("binomial", "passed", Binomial(9)),
        ("exponential", "waited", Exponential()),
    ],
)
def test_experts_of_every_kind(run, people, kind, target, emission):
    trials = ["--trials", 9] if kind == "binomial" else []
    arguments = [
        "--columns",
        "height",
        "--target-column",
        target,
        *TWO,
        "--emission",
        kind,
        *trials,
    ]
    said = runs(run, "fit", "people.csv", "--model", "experts", *arguments, "--output", "m")
    assert "target" in said
    assert ("R squared" in said) == (kind != "categorical")
    X, y = people[["height"]].to_numpy(), people[target].to_numpy()
    expected = MixtureOfExperts(2, expert=[("target", emission, [0])], random_state=0).fit(X, y)
    assert f"{expected.bic(X, y):.4f}" in said
    runs(run, "predict", "m", "people.csv", "--output", "found.csv")
    found = pd.read_csv("found.csv")["prediction"].to_numpy()
    if kind == "categorical":
        assert_array_equal(found, expected.predict(X))
    else:
        assert_allclose(found, expected.predict(X))
    runs(run, "sample", "m", "--data", "people.csv", "--seed", 1, "--output", "drawn.csv")
    drawn = pd.read_csv("drawn.csv")["target"]
    assert_array_equal(drawn, expected.set_params(random_state=1).sample(X)[0])


def test_weights_of_sequences(run, people):
    arguments = ["--model", "gaussian-hmm", "--columns", "height", *TWO, *SEQUENCES]
    runs(run, "fit", "people.csv", *arguments, "--weights-column", "times", "--output", "m")
    expected = emfast.GaussianHMM(2, random_state=0).fit(
        people[["height"]].to_numpy(), [50] * 6, sample_weight=[1, 2, 1, 3, 1, 1]
    )
    assert_array_equal(emfast.load("m").means_, expected.means_)


BAD = {
    "target missing": (["--model", "regression"], "--model regression needs --target-column"),
    "target of a mixture": (PRICE, "--target-column needs --model bayesian-regression or"),
    "sequences of a mixture": (SEQUENCES, "--sequence-column needs --model gaussian-hmm or"),
    "labels of factors": (
        ["--model", "factor-analysis", "--labels-column", "kind"], "which has no labels",
    ),
    "sequences apart": (
        ["--model", "gaussian-hmm", "--sequence-column", "kind"],
        "expected the rows of a sequence one after the other",
    ),
    "weights differ": (
        ["--model", "gaussian-hmm", *SEQUENCES, "--weights-column", "visits"],
        "expected one weight for all rows of a sequence",
    ),
    "no such column": (["--columns", "height,age"], "there is no column 'age'"),
    "column twice": (["--labels-column", "height"], "--columns and --labels-column both have"),
    "role twice": (
        ["--labels-column", "kind", "--target-column", "kind"],
        "--labels-column and --target-column are both 'kind'",
    ),
    "trials": (["--trials", 3], "--trials needs --model binomial; found gaussian"),
    "strings": (["--columns", "town"], "column 'town': found '"),
    "no trials": (["--model", "binomial"], "--model binomial needs --trials"),
    "emission of a mixture": (["--emission", "poisson=visits"], "--emission needs --model mixed"),
    "emission without trials": (
        ["--model", "mixed", "--emission", "binomial=height"], "--emission binomial needs --trials",
    ),
    "trials of other emissions": (
        ["--model", "mixed", "--emission", "gaussian=height", "--trials", 3],
        "--trials needs --emission binomial; found gaussian",
    ),
    "experts of two kinds": (
        ["--model", "experts", *PRICE, "--emission", "poisson", "--emission", "gaussian"],
        "--emission: found ['poisson', 'gaussian']; expected one, that of the target",
    ),
    "experts of columns": (
        ["--model", "experts", *PRICE, "--emission", "poisson=height"],
        "--emission: found 'poisson=height'; expected KIND with a kind among",
    ),
    "a column by its name": (["--model", "poisson"], "row 0, column 'height'; expected counts"),
    "emission unknown": (["--model", "mixed", "--emission", "x=visits"], "--emission: found 'x=v"),
    "emission of nothing": (["--model", "mixed", "--emission", "poisson="], "--emission: found"),
    "emission of no feature": (
        ["--model", "mixed", "--emission", "poisson=visits"], "no column 'visits' among",
    ),
    "setting unknown": (["--set", "tolerance=1"], "--set: found 'tolerance'; expected arguments"),
    "setting without value": (["--set", "tol"], "--set: found 'tol'; expected NAME=VALUE"),
    "picture": (["--plot", "p.doc"], "--plot p.doc: expected a name that ends in .png"),
    "picture over data": (["--plot", "people.csv"], "--plot people.csv would replace the data"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_fits_are_one_line_and_status_1(run, case):
    arguments, message = BAD[case]
    columns = [] if "--columns" in arguments else ["--columns", "height,weight"]
    status, out, err = run("fit", "people.csv", *columns, *TWO, *arguments)
    assert (status, out) == (1, "")
    assert err.startswith("emfast: error: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["fit", "people.csv"], 2, "'--components': is missing"),
        (["select", "people.csv", "--components", "3-1"], 2, "'--components': found '3-1'"),
        (["select", "people.csv", "--components", "0"], 2, "'--components': found '0'"),
        (["select", "people.csv", "--covariance", "round"], 2, "'--covariance': found 'round'"),
        (["select", "people.csv", "--criterion", "dic"], 2, "'dic' is not one of"),
        (
            ["select", "people.csv", "--model", "classifier", "--target-column", "kind"],
            1,
            "select by bic needs --model gaussian, ",
        ),
        (
            ["select", "people.csv", "--model", "bayesian-regression", *PRICE],
            1,
            "found bayesian-regression",
        ),
        (["predict", "m"], 2, "Missing argument"),
        (["predict", "no.npz", "people.csv"], 1, "no.npz: No such file"),
        (["predict", "people.csv", "people.csv"], 1, "not an emfast model"),
        (
            ["predict", "m", "people.csv", "--output", "x.doc"],
            1,
            "x.doc: expected a name that ends",
        ),
        (["predict", "m", "people.csv", *SEQUENCES], 1, "needs a hidden Markov model"),
        (["sample", "m"], 1, "--rows is missing"),
        (["sample", "m", "--rows", "0"], 2, "--rows"),
        (["sample", "m", "--rows", "3", "--data", "people.csv"], 1, "--data needs a regression"),
    ],
)
def test_bad_command_lines_are_one_line(run, arguments, status, message):
    runs(run, "fit", "people.csv", "--columns", "height", *TWO, "--output", "m")
    found, out, err = run(*arguments)
    assert (found, out) == (status, "")
    assert message in err
    assert err.count("\n") == 1


def test_what_a_regression_has_not(run):
    runs(
        run, "fit", "people.csv", "--columns", "height", *TWO, "--model", "regression", *PRICE,
        "--output", "m",
    )  # fmt: skip
    for arguments, message in (
        (["predict", "m", "people.csv", "--scores"], "has no likelihood of rows alone"),
        (["sample", "m"], "--data is missing"),
        (["sample", "m", "--rows", 3, "--data", "people.csv"], "--rows: a regression draws"),
    ):
        status, _, err = run(*arguments)
        assert status == 1
        assert message in err


def test_info_as_json(run):
    assert json.loads(runs(run, "info", "--json"))["emfast"] == emfast.__version__


def test_shell_completion(tmp_path):
    code = "import sys; from emfast.cli import main; sys.exit(main())"
    environment = {
        **os.environ,
        "_EMFAST_COMPLETE": "complete_bash",
        "COMP_WORDS": "emfast se",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["select"]
    assert done.stderr == ""
