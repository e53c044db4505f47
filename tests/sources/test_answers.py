"""Answers that are written to a file: those that come in memory, and nothing where that fails."""

import os

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

import emfast
from batches import Batches
from emfast.data import answers
from emfast.data.tables import read_table

SUFFIXES = [".csv", ".npy", ".parquet", ".arrow", ".feather"]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(1000, 3)) + 4 * (np.arange(1000) % 3 == 0)[:, None]
Y = np.where(X[:, 0] > 2, X[:, 1], -X[:, 2]) + 0.1 * RNG.normal(size=1000)
LENGTHS = [300, 1, 99, 600]


SOURCE = Batches(X[:10], X[10:700], X[700:])
SEQUENCES = Batches(*np.split(X, np.cumsum(LENGTHS)[:-1]))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(answers, "PART_ROWS", 64)


def mixture(**options):
    return emfast.GaussianMixture(3, random_state=0, max_iter=5, tol=0, **options).fit(X)


def regression():
    return emfast.LinearRegressionMixture(2, random_state=0, max_iter=5, tol=0).fit(X, Y)


def chain():
    model = emfast.GaussianHMM(3, random_state=0, max_iter=5, tol=0)
    return model.fit(X, LENGTHS)


def experts(expert="linear", y=Y):
    return emfast.MixtureOfExperts(2, expert=expert, random_state=0, max_iter=3, tol=0).fit(X, y)


def columns_of(path):
    return read_table(path).columns


def assert_written(path, expected, names):
    """The file has the same numbers as the array."""
    if path.suffix == ".npy":
        assert_array_equal(np.load(path), expected)
        assert np.load(path).dtype == expected.dtype
        return
    columns = columns_of(path)
    assert list(columns) == names
    expected = expected[:, None] if expected.ndim == 1 else expected
    for found, right in zip(columns.values(), expected.T, strict=True):
        assert_array_equal(found.astype(right.dtype), right)
    if path.suffix == ".parquet":
        assert {values.dtype for values in columns.values()} == {expected.dtype}
    assert os.listdir(path.parent) == [path.name]


P3 = ["p0", "p1", "p2"]
ASKED = {
    "component": (mixture, "predict", (), SOURCE, ["component"]),
    "noise": (lambda: mixture(noise=True), "predict", (), SOURCE, ["component"]),
    "shares": (mixture, "predict_proba", (), SOURCE, P3),
    "likelihoods": (mixture, "score_samples", (), SOURCE, ["log_likelihood"]),
    "states": (chain, "predict", (LENGTHS,), SEQUENCES, ["state"]),
    "posteriors": (chain, "predict_proba", (LENGTHS,), SEQUENCES, P3),
    "prediction": (regression, "predict", (), SOURCE, ["prediction"]),
    "prior shares": (regression, "predict_proba", (), SOURCE, ["p0", "p1"]),
    "gate": (experts, "predict_proba", (), SOURCE, ["p0", "p1"]),
    "experts": (experts, "predict", (), SOURCE, ["prediction"]),
    "several targets": (
        lambda: experts(emfast.emissions.Gaussian("diag"), np.column_stack([Y, -Y])),
        *("predict", (), SOURCE, ["prediction0", "prediction1"]),
    ),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("made, method, others, source, names", ASKED.values(), ids=ASKED)
def test_files_hold_what_is_said_in_memory(made, method, others, source, names, suffix, tmp_path):
    ask, path = getattr(made(), method), tmp_path / f"found{suffix}"
    expected = ask(X, *others)
    assert_array_equal(ask(source), expected)
    assert ask(X, *others, out=path) is path
    assert_written(path, expected, names)
    assert ask(source, out=str(path)) == str(path)
    assert_written(path, expected, names)


def test_targets_labels_and_trials(tmp_path):
    path, model = tmp_path / "found.npy", regression()
    labels = np.where(np.arange(1000) % 7 == 0, 1, -1)
    frame = pd.DataFrame(X).assign(y=Y, label=labels)
    frame.columns = ["a", "b", "c", "y", "label"]
    model = emfast.LinearRegressionMixture(2, random_state=0, max_iter=3, tol=0)
    model.fit(frame.drop(columns="label"), "y")
    source = Batches(frame[:200], frame[200:])
    for method in ("predict_proba", "score_samples"):
        ask = getattr(model, method)
        expected = ask(frame[["a", "b", "c"]], Y, labels=labels)
        ask(frame, "y", labels="label", out=path)
        assert_array_equal(np.load(path), expected)
        ask(source, "y", labels="label", out=path)
        assert_array_equal(np.load(path), expected)
    counts, trials = RNG.integers(0, 5, (300, 2)), RNG.integers(5, 9, (300, 2))
    binomial = emfast.BinomialMixture(2, n_trials=9, random_state=0, max_iter=3, tol=0).fit(counts)
    for method in ("predict", "predict_proba", "score_samples"):
        ask = getattr(binomial, method)
        ask(counts, n_trials=trials, out=path)
        assert_array_equal(np.load(path), ask(counts, n_trials=trials))


def test_categories_that_are_targets(tmp_path):
    kinds = np.where(X[:, 0] > 2, "high", "low")
    model, path = experts(emfast.emissions.Categorical(), kinds), tmp_path / "found.parquet"
    expected = model.predict(X)
    model.predict(SOURCE, out=path)
    assert columns_of(path)["prediction"].tolist() == expected.tolist()


BAD = {
    "suffix": (
        lambda folder: folder / "found.txt",
        ValueError,
        "out: .*found.txt: expected a name",
    ),
    "number": (lambda folder: 3, TypeError, "out: found 3; expected the name of a file"),
    "no folder": (lambda folder: folder / "nowhere" / "found.npy", OSError, "no folder"),
    "folder": (lambda folder: folder / "taken.npy", OSError, "is a folder"),
}


class Untouched:
    """A source that must not be read."""

    def __iter__(self):
        raise AssertionError("rows were asked for")


@pytest.mark.parametrize("out, error, said", BAD.values(), ids=BAD)
def test_files_that_cannot_be_written_are_refused_before_rows_are_read(out, error, said, tmp_path):
    (tmp_path / "taken.npy").mkdir()
    models = {mixture(): ["predict", "predict_proba", "score_samples"], chain(): ["predict"]}
    models[regression()] = ["predict", "predict_proba"]
    for model, methods in models.items():
        for method in methods:
            with pytest.raises(error, match=said):
                getattr(model, method)(Untouched(), out=out(tmp_path))
    assert os.listdir(tmp_path) == ["taken.npy"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_nothing_is_left_after_failures(error, tmp_path):
    class Failing:
        def __iter__(self):
            yield X[:500]
            raise error("in the middle")

    path = tmp_path / "found.parquet"
    path.write_bytes(b"as it was")
    with pytest.raises(error, match="in the middle"):
        mixture().predict_proba(Failing(), out=path)
    assert path.read_bytes() == b"as it was"
    assert os.listdir(tmp_path) == ["found.parquet"]


def test_rows_are_not_replaced_by_answers(tmp_path):
    path, model = tmp_path / "rows.npy", mixture()
    np.save(path, X)
    for source in (path, str(tmp_path), [path], str(tmp_path / "*.npy"), np.load(path, "r")):
        with pytest.raises(ValueError, match=r"out: .* would replace rows of X"):
            model.predict(source, out=path)
    assert_array_equal(np.load(path), X)


def test_contradictions_tell_the_row_among_all():
    model = emfast.BernoulliMixture(
        2, weights_init=[0.5, 0.5], probabilities_init=[[1.0], [0.0]], max_iter=0
    ).fit(np.array([[1], [0]] * 50))
    rows, labels = np.array([[1.0], [0.0]] * 50), np.full(100, -1)
    labels[70] = 1
    for source in (rows, Batches(rows[:64], rows[64:])):
        with pytest.raises(ValueError, match="labels: row 70 has zero likelihood"):
            model.score_samples(source, labels=labels)


def test_answers_are_not_held(tmp_path, monkeypatch):
    """Of the rows of a batch, some at a time are answered for."""
    most = 0
    model = mixture()
    of_batch = model._responsibilities

    def counted(batch):
        nonlocal most
        most = max(most, batch.n_rows)
        return of_batch(batch)

    monkeypatch.setattr(model, "_responsibilities", counted)
    for source in (X, SOURCE):
        model.predict_proba(source, out=tmp_path / "found.npy")
    assert most <= 64


def test_rows_of_dask(tmp_path, here):
    rows, path = here.from_array(X, chunks=(300, 3)), tmp_path / "found.parquet"
    for made, method, names in (
        (mixture, "predict", ["component"]),
        (mixture, "predict_proba", P3),
        (regression, "predict", ["prediction"]),
    ):
        ask = getattr(made(), method)
        assert ask(rows, out=path) is path
        assert_written(path, ask(X), names)
    with pytest.raises(ValueError, match=r"out: .*expected a name"):
        mixture().predict(rows, out=tmp_path / "found.txt")
