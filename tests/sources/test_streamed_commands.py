"""The command line reads what it does not load, and says the same of it."""

import json
import os
import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

pytest.importorskip("typer")
pytest.importorskip("rich")

import emfast
from emfast import cli
from emfast.cli import streamed
from emfast.data import observer
from emfast.data.tables import read_table

RNG = np.random.default_rng(0)
N = 600
Z = np.arange(N) % 3 == 0
FRAME = pd.DataFrame(
    {
        "town": np.where(RNG.random(N) < 0.1 + 0.8 * Z, "Ulm", "Bonn"),
        "height": RNG.normal(165 + 20 * Z, 4),
        "kind": np.where(RNG.random(N) < 0.2, np.where(Z, "tall", "small"), None),
        "weight": RNG.normal(60 + 20 * Z, 4),
        "times": RNG.integers(1, 4, N),
        "visits": RNG.poisson(2 + 10 * Z),
    }
)
FRAME["price"] = 2 * FRAME["height"] + np.where(Z, 30, -30) + RNG.normal(0, 2, N)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs ``emfast`` in a folder with rows in one file and in three."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(observer, "PORTION_BYTES", 4 * 7 * 90)
    FRAME.to_csv("all.csv", index=False)
    os.mkdir("parts")
    for i, rows in enumerate(np.array_split(np.arange(N), 3)):
        FRAME.iloc[rows].to_parquet(f"parts/{i}.parquet", index=False)

    def call(*arguments):
        status = cli.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return call


def runs(run, *arguments):
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    return out


TWO = ["--components", 2, "--seed", 0, "--tol", 1e-9, "--max-iter", 500]
# Features, and other options.
MODELS = {
    "gaussian": ("height,weight", TWO),
    "labels and weights": (
        "height,weight",
        [*TWO, "--labels-column", "kind", "--weights-column", "times"],
    ),
    "poisson": ("visits", [*TWO, "--model", "poisson"]),
    "categorical": ("town", ["--components", 1, "--model", "categorical"]),
    "mixed": (
        "town,visits",
        [
            *TWO,
            *("--model", "mixed"),
            "--emission",
            "poisson=visits",
            "--emission",
            "categorical=town",
        ],
    ),
    "classifier": (
        "height,weight",
        ["--components", 1, "--model", "classifier", "--target-column", "kind"],
    ),
    "regression": ("height", [*TWO, "--model", "regression", "--target-column", "price"]),
    "bayesian": (
        "height,weight",
        ["--model", "bayesian-regression", "--target-column", "price", "--weights-column", "times"],
    ),
    "factors": (
        "height,weight,price",
        ["--components", 1, "--model", "factor-analysis", "--weights-column", "times"],
    ),
}


@pytest.mark.parametrize("columns, options", MODELS.values(), ids=MODELS)
def test_fit_and_predict(run, columns, options):
    arguments = ["--columns", columns, *options, "--json", "--output"]
    whole = json.loads(runs(run, "fit", "all.csv", *arguments, "whole.npz"))
    for source in (["parts"], ["parts/*.parquet"], ["all.csv", "--stream"]):
        found = json.loads(runs(run, "fit", *source, *arguments, "model.npz"))
        assert found.keys() == whole.keys()
        assert found["columns"] == whole["columns"]
        for name in (
            "log_likelihood",
            "bic",
            "with_labels",
            "r_squared",
            "log_evidence",
            "accuracy",
        ):
            if name in whole:
                assert found[name] == pytest.approx(whole[name], rel=1e-5), name
    extra = ["--scores"] if "bayesian" not in options and "--target-column" not in options else []
    for suffix in (".csv", ".parquet"):
        runs(run, "predict", "whole.npz", "all.csv", *extra, "--output", f"whole{suffix}")
        runs(run, "predict", "whole.npz", "parts", *extra, "--output", f"found{suffix}")
        expected, said = read_table(f"whole{suffix}"), read_table(f"found{suffix}")
        assert list(expected.columns) == list(said.columns)
        for name, values in expected.columns.items():
            if values.dtype.kind == "O":
                assert said.columns[name].tolist() == values.tolist()
            else:
                assert_allclose(said.columns[name], values, rtol=1e-12)
    said = runs(run, "predict", "model.npz", "parts")
    assert said == runs(run, "predict", "model.npz", "all.csv")


def test_select(run):
    arguments = ["--columns", "height,weight", "--components", "1-3", "--covariance", "full,tied"]
    arguments += ["--seed", 0, "--json"]
    whole = json.loads(runs(run, "select", "all.csv", *arguments))
    found = json.loads(runs(run, "select", "parts", *arguments))
    best = [
        next(each["n_components"] for each in said["candidates"] if each["best"])
        for said in (whole, found)
    ]
    assert best == [2, 2]


def test_npy(run):
    np.save("parts.npy", FRAME[["height", "weight"]].to_numpy())
    os.mkdir("arrays")
    for i, rows in enumerate(np.split(np.load("parts.npy"), 3)):
        np.save(f"arrays/{i}.npy", rows)
    runs(run, "fit", "arrays", *TWO, "--output", "model.npz")
    assert "x1" in runs(run, "fit", "arrays", *TWO)
    runs(run, "predict", "model.npz", "arrays", "--proba", "--output", "found.npy")
    model = emfast.load("model.npz")
    rows = pd.DataFrame(np.load("parts.npy"), columns=["x0", "x1"])
    assert_allclose(np.load("found.npy")[:, 1:], model.predict_proba(rows))
    status, _, err = run("fit", "arrays", *TWO, "--weights-column", "x0")
    assert status == 1
    assert "have no names" in err


def test_large_files_are_streamed_unless_that_is_refused(run, monkeypatch):
    runs(run, "fit", "all.csv", "--columns", "height", *TWO, "--output", "model.npz")
    monkeypatch.setattr(streamed, "LARGE", 100)
    assert run("predict", "model.npz", "all.csv", "--json")[0] == 1
    assert runs(run, "predict", "model.npz", "all.csv", "--json", "--no-stream")
    monkeypatch.setattr("emfast.data.tables.read_table", None)
    assert runs(run, "predict", "model.npz", "all.csv").count("\n") == N + 1


BAD = {
    "no file": (["fit", "parts/*.csv", *TWO], "no file matches"),
    "no stream": (["fit", "parts", *TWO, "--no-stream"], "expected one"),
    "strings": (["fit", "parts", *TWO, "--columns", "height,town"], "'town'"),
    "column": (["fit", "parts", *TWO, "--columns", "height,depth"], "no column 'depth'"),
    "label": (["fit", "parts", *TWO, "--labels-column", "depth"], "no column 'depth'"),
    "mixed": (["fit", "parts", *TWO, "--model", "mixed"], "needs --emission"),
    "chain": (["fit", "parts", *TWO, "--model", "gaussian-hmm"], "rows of a sequence"),
    "plot": (["fit", "parts", *TWO, "--columns", "height", "--plot", "a.png"], "--plot needs rows"),
    "json": (["predict", "model.npz", "parts", "--json"], "--json needs rows in memory"),
    "proba": (["predict", "factors.npz", "parts", "--proba"], "has no probabilities"),
    "suffix": (["predict", "model.npz", "parts", "--output", "a.txt"], "expected a name"),
    "replaced": (
        ["predict", "model.npz", "parts", "--output", "parts/1.parquet"],
        "would replace the data",
    ),
    "missing": (["predict", "model.npz", "others"], "no column 'height'"),
    "damaged": (["fit", "damaged", *TWO, "--columns", "height"], "damaged/1.parquet"),
}


@pytest.mark.parametrize("arguments, said", BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_nothing_is_written(run, arguments, said):
    runs(run, "fit", "all.csv", "--columns", "height", *TWO, "--output", "model.npz")
    factors = ["--components", 1, "--model", "factor-analysis", "--columns", "height,weight"]
    runs(run, "fit", "all.csv", *factors, "--output", "factors.npz")
    for folder in ("others", "damaged"):
        os.mkdir(folder)
    FRAME[["weight", "price"]].to_parquet("others/0.parquet")
    FRAME.to_parquet("damaged/0.parquet")
    with open("damaged/0.parquet", "rb") as whole, open("damaged/1.parquet", "wb") as file:
        file.write(whole.read()[:-100])
    before = sorted(os.listdir())
    status, out, err = run(*arguments)
    assert status == 1
    assert out == ""
    assert re.fullmatch(r"emfast: error: .*\n", err)
    assert said in err
    assert sorted(os.listdir()) == before
