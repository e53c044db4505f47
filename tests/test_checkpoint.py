"""Checkpoints: fits that are killed and go on, files that are not theirs, disks that are full."""

import errno
import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

import emfast
from emfast import (
    BayesianLinearRegression,
    BernoulliMixture,
    FactorAnalysis,
    GaussianHMM,
    GaussianMixture,
    LinearRegressionMixture,
    MixtureClassifier,
    MixtureOfExperts,
    em,
)
from emfast.exceptions import CheckpointWarning
from emfast.storage import archive, checkpoint
from fitted_estimators import CASES, NUMBERS, TARGET
from gaussians import blobs
from killed_fits import KILLED, result

SHORT = {"tol": 0, "max_iter": 11}
MIXTURE = GaussianMixture(3, random_state=0, tol=0, max_iter=12, n_init=2)


@pytest.fixture
def X():
    return blobs(150)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.npz"


@pytest.fixture
def every_iteration(monkeypatch):
    """Write the file after every iteration; none of these tests pulls the plug."""
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", 1e9)
    monkeypatch.setattr(archive.os, "fsync", lambda file: None)


class Killed(BaseException):
    """What ends a fit without any care for it."""


def after(number):
    """A callback that ends the fit after so many iterations, of whatever start."""
    seen = []

    def callback(iteration):
        seen.append(iteration)
        if len(seen) == number:
            raise Killed

    callback.seen = seen
    return callback


def fit(model, *data, **given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", emfast.exceptions.ConvergenceWarning)
        warnings.simplefilter("ignore", emfast.exceptions.DegenerateComponentWarning)
        return model.fit(*data, **given)


def fit_in_pieces(model, path, pieces, *data, **given):
    """Fit, killed after so many iterations each time; the model and the number of attempts."""
    prefix = "mixture__" if isinstance(model, MixtureClassifier) else ""
    for attempt in range(1, 500):
        again = clone(model).set_params(
            **{f"{prefix}checkpoint": path, f"{prefix}callback": after(pieces)}
        )
        try:
            return fit(again, *data, **given), attempt
        except Killed:
            assert path.exists()
    raise AssertionError("no attempt has come to the end")


def killed_file(model, path, *data, number=3, **given):
    """The file that a fit leaves which is killed after so many iterations."""
    with pytest.raises(Killed):
        fit(clone(model).set_params(checkpoint=path, callback=after(number)), *data, **given)
    return path


# To the bit


@pytest.mark.parametrize("name", CASES)
def test_every_estimator_goes_on_to_the_same_bits(name, path, every_iteration):
    case = CASES[name]
    model = clone(case.estimator)
    prefix = "mixture__" if isinstance(model, MixtureClassifier) else ""
    changes = {"tol": 0, "max_iter": 7}
    if "n_init" in model.get_params():
        changes["n_init"] = 2
    model.set_params(**{prefix + key: value for key, value in changes.items()})
    data = [case.X] if case.y is None else [case.X, case.y]
    whole = fit(clone(model), *data, **case.given)
    pieces, attempts = fit_in_pieces(model, path, 3, *data, **case.given)
    assert attempts > 2
    assert result(pieces) == result(whole)
    assert os.listdir(path.parent) == []


VARIANTS = {
    "accelerated": GaussianMixture(4, accelerate=True, tol=1e-9, max_iter=60, random_state=1),
    "stochastic": GaussianMixture(3, assignment="stochastic", max_iter=11, random_state=2),
    "hard": GaussianMixture(3, assignment="hard", n_init=3, random_state=0),
    "refined": GaussianMixture(4, n_init=4, tol=1e-4, max_iter=300, random_state=0),
    "race": GaussianMixture(4, n_init=6, restarts="race", tol=1e-5, max_iter=99, random_state=3),
    "tied": GaussianMixture(3, covariance_type="tied", n_init=2, random_state=0, tol=1e-6),
    "noise": GaussianMixture(3, noise=True, n_init=2, random_state=0, tol=1e-6),
    "singular": GaussianMixture(6, reg_covar=0, n_init=6, random_state=3, tol=1e-6, max_iter=30),
    "given": GaussianMixture(
        2, means_init=[[0.0] * 3, [1.0, 5.0, 1.0]], covariances_init=[np.eye(3)] * 2,
        weights_init="equal", tol=1e-9, random_state=0,
    ),
    "chain": GaussianHMM(3, n_init=2, accelerate=True, tol=1e-7, random_state=0),
    "incremental": GaussianMixture(3, incremental=True, n_init=3, tol=1e-7, random_state=0),
    "incremental tied with noise": GaussianMixture(
        3, covariance_type="tied", noise=True, incremental=True, tol=0, max_iter=25, random_state=0
    ),
    "incremental chain": GaussianHMM(3, incremental=True, max_iter=9, random_state=0),
    "factors": FactorAnalysis(1, n_init=4, tol=1e-12, random_state=0, accelerate=False),
    "given factors": FactorAnalysis(2, components_init=[[1, 0.5, 0.1], [0.2, 0.1, 1]], max_iter=9),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("pieces", [1, 4])
def test_every_way_of_a_fit_goes_on_to_the_same_bits(name, pieces, path, X, every_iteration):
    if name == "singular":
        # Components that fall on equal rows end some of the starts.
        X = np.concatenate([X[:60], np.repeat(X[:1], 4, axis=0)])
    whole = fit(clone(VARIANTS[name]), X)
    found, attempts = fit_in_pieces(VARIANTS[name], path, pieces, X)
    assert attempts > 1
    assert result(found) == result(whole)
    if name == "singular":
        assert {start.error is None for start in whole.restarts_} == {True, False}
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("per_feature", [False, True])
def test_regressions_go_on_to_the_same_bits(per_feature, path, every_iteration):
    for model in (
        BayesianLinearRegression(per_feature=per_feature, **SHORT),
        LinearRegressionMixture(2, random_state=0, n_init=2, accelerate=per_feature, **SHORT),
        MixtureOfExperts(2, random_state=0, accelerate=per_feature, **SHORT),
    ):
        whole = fit(clone(model), NUMBERS, TARGET)
        found, attempts = fit_in_pieces(model, path, 2, NUMBERS, TARGET)
        assert attempts > 2
        assert result(found) == result(whole)


@pytest.mark.parametrize("accelerate", [False, True])
def test_rows_in_batches_go_on_in_other_batches(accelerate, path, X, every_iteration):
    class Batches:
        def __init__(self, n_rows):
            self.n_rows = n_rows

        def __iter__(self):
            return (X[i : i + self.n_rows] for i in range(0, len(X), self.n_rows))

    model = GaussianMixture(3, random_state=0, n_init=2, accelerate=accelerate, **SHORT)
    whole = fit(clone(model), X)
    killed_file(model, path, Batches(64), number=3)
    killed_file(model, path, Batches(17), number=10)
    found = fit(clone(model).set_params(checkpoint=path), Batches(50))
    assert result(found) == result(whole)
    killed_file(model, path, Batches(64))
    X[3] += 1
    with pytest.raises(ValueError, match="other rows, labels or weights"):
        clone(model).set_params(checkpoint=path).fit(Batches(64))


def test_subsamples_of_many_rows_are_not_looked_at_again(path, every_iteration, monkeypatch):
    X = blobs(41_000)
    model = GaussianMixture(3, covariance_type="diag", n_init=2, random_state=0, tol=1e-7)
    whole = fit(clone(model), X)
    killed_file(model, path, X, number=1)

    def never(*arguments):
        raise AssertionError("the start under way began anew")

    began = []
    begin = GaussianMixture._start
    monkeypatch.setattr(
        GaussianMixture, "_start", lambda self, *rest: began.append(rest) or begin(self, *rest)
    )
    assert result(fit(clone(model).set_params(checkpoint=path), X)) == result(whole)
    assert len(began) == 1


def test_a_race_does_not_begin_anew(path, X, every_iteration, monkeypatch):
    killed_file(VARIANTS["race"], path, X)
    monkeypatch.setattr(GaussianMixture, "_start", lambda *arguments: 1 / 0)
    found = fit(clone(VARIANTS["race"]).set_params(checkpoint=path), X)
    assert sum(start.won for start in found.restarts_) == 1


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(5)])
def test_seeds_are_those_of_the_killed_fit(random_state, path, X, every_iteration):
    model = clone(MIXTURE).set_params(random_state=random_state, n_init=4)
    killed_file(model, path, X, number=14)
    header, _ = archive.read(path)
    kept = header["checkpoint"]["kept"]["named"]["runs"]
    seeds = [run["named"]["restart"]["named"]["seed"] for run in kept]
    found = fit(model.set_params(checkpoint=path), X)
    assert [start.seed for start in found.restarts_] == seeds
    again = fit(clone(model).set_params(random_state=seeds[1], n_init=1, checkpoint=None), X)
    assert found.restarts_[1].init_params == "short_em"
    again = fit(again.set_params(init_params="short_em"), X)
    assert again.restarts_[0].lower_bounds == found.restarts_[1].lower_bounds


def test_draws_of_factors_are_those_of_the_killed_fit(path, X, every_iteration):
    model = FactorAnalysis(1, n_init=4, tol=0, max_iter=5)
    killed_file(model, path, X, number=7)
    header, _ = archive.read(path)
    seed = header["checkpoint"]["kept"]["named"]["seed"]
    found = fit(clone(model).set_params(checkpoint=path), X)
    assert result(found) == result(fit(clone(model).set_params(random_state=seed), X))


def test_killed_processes_go_on_to_the_same_bits():
    script = Path(__file__).parent / "killed_fits.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == set(KILLED)
    for name, each in told.items():
        assert each["found"] == each["expected"], name
        assert each["left"] == [], name
        assert each["kills"] >= 3, name
        assert each["resumed"] > 0, name


# The driver


@pytest.mark.parametrize("accelerate", [False, True])
def test_a_run_goes_on_from_every_state(accelerate):
    class Problem:
        """Slow, and overshooting where it is accelerated."""

        def estep(self, model):
            return np.tanh(model)

        def mstep(self, statistics, model):
            return 0.9 * model + 0.1 * statistics

        def objective(self, statistics, model):
            return -float(np.log(np.cosh(model)).sum())

        def displacement(self, model, reference):
            return model - reference

        def displaced(self, displacement, reference):
            return reference + displacement

    states = []
    options = {"tol": 1e-9, "max_iter": 80, "accelerate": accelerate}
    start = np.array([3.0, -0.5, 1.5])
    whole = em.maximize(Problem(), start, keep=states.append, **options)
    assert len(states) == whole.n_iter + 1
    assert [len(state.objectives) for state in states] == list(range(whole.n_iter + 1))
    if accelerate:
        assert any(state.cycle.path for state in states)
    for state in states:
        again = em.maximize(Problem(), None, state=state, **options)
        assert again.objectives == whole.objectives
        assert again.history == whole.history
        assert again.converged == whole.converged
        assert_array_equal(again.model, whole.model)


# When it is written


def test_the_file_is_there_from_the_beginning_and_gone_at_the_end(path, X):
    seen = []
    model = clone(MIXTURE).set_params(
        checkpoint=path, callback=lambda iteration: seen.append(os.listdir(path.parent))
    )
    fit(model, X)
    assert len(seen) == 24
    assert all(names == ["fit.npz"] for names in seen)
    assert os.listdir(path.parent) == []
    assert result(model) == result(fit(clone(MIXTURE), X))


@pytest.mark.parametrize(
    ("seconds", "interval", "share", "expected"),
    [(0.3, 1.0, 1e9, 2), (2.0, 1.0, 1e9, 11), (2.0, 1.0, 1e-9, 0)],
)
def test_writing_takes_little_of_the_time(seconds, interval, share, expected, path, X, monkeypatch):
    now = [0.0]

    def clock():
        return now[0]

    def write(*arguments):
        now[0] += 0.01
        written.append(now[0])

    written = []
    monkeypatch.setattr(checkpoint.time, "perf_counter", clock)
    monkeypatch.setattr(checkpoint.archive, "write", write)
    monkeypatch.setattr(checkpoint, "INTERVAL", interval)
    monkeypatch.setattr(checkpoint, "SHARE", share)

    def pass_time(iteration):
        now[0] += seconds

    model = clone(MIXTURE).set_params(n_init=1, checkpoint=path, callback=pass_time)
    fit(model, X)
    # One more as it begins; the state after an iteration is kept before the callback is called.
    assert len(written) == 1 + expected


def test_by_default_quick_fits_write_once(path, X, monkeypatch):
    written = []
    write = archive.write
    monkeypatch.setattr(archive, "write", lambda *arguments: written.append(1) or write(*arguments))
    fit(clone(MIXTURE).set_params(checkpoint=path), X)
    assert len(written) <= 3


# Stopped, and gone on with


@pytest.mark.parametrize("how", ["callback", "Ctrl-C"])
def test_a_stopped_fit_goes_on_by_the_same_call(how, path, X):
    def stop(iteration):
        if (iteration.start, iteration.number) == (1, 5):
            if how == "Ctrl-C":
                raise KeyboardInterrupt
            return True
        return False

    model = clone(MIXTURE).set_params(checkpoint=path, callback=stop)
    if how == "Ctrl-C":
        with pytest.raises(KeyboardInterrupt):
            model.fit(X)
    else:
        model.fit(X)
    assert path.exists()
    assert not model.converged_
    assert [start.n_iter for start in model.restarts_] == [12, 5]
    fit(model, X)
    assert result(model) == result(fit(clone(MIXTURE), X))
    assert len(model.lower_bounds_) == model.n_iter_ == 12
    assert os.listdir(path.parent) == []


def test_ctrl_c_between_runs_keeps_what_was_written(path, X, monkeypatch):
    begin, began = GaussianMixture._start, []

    def second(self, *arguments):
        began.append(arguments)
        if len(began) == 2:
            raise KeyboardInterrupt
        return begin(self, *arguments)

    monkeypatch.setattr(GaussianMixture, "_start", second)
    model = clone(MIXTURE).set_params(checkpoint=path)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert path.exists()
    assert result(fit(model, X)) == result(fit(clone(MIXTURE), X))


def test_a_warm_start_goes_on_from_its_file(path, X, every_iteration):
    first = fit(GaussianMixture(3, random_state=0, tol=0, max_iter=2), X)
    first.set_params(warm_start=True, max_iter=9)

    def copy():
        again = fit(clone(first).set_params(max_iter=2, warm_start=False), X)
        return again.set_params(warm_start=True, max_iter=9, checkpoint=path)

    for _ in range(2):
        with pytest.raises(Killed):
            fit(copy().set_params(callback=after(3)), X)
    assert result(fit(copy(), X)) == result(fit(first, X))
    with pytest.raises(Killed):
        fit(copy().set_params(callback=after(3)), X)
    other = copy()
    other.means_ = other.means_ + 1
    with pytest.raises(ValueError, match=r"checkpoint: .*went on from another model"):
        other.fit(X)


def test_a_stopped_warm_start_goes_on_from_the_model_it_has(path, X):
    options = {"tol": 0, "random_state": 0, "warm_start": True, "checkpoint": path}
    mixture = GaussianMixture(3, max_iter=9, n_init=3, **options)
    factors = FactorAnalysis(1, max_iter=9, n_init=2, **options)
    for model in (mixture, factors):
        stop = lambda iteration: (iteration.start, iteration.number) == (1, 5)  # noqa: E731
        model.set_params(callback=stop).fit(X)
        assert path.exists()
        objective = model.lower_bound_
        fit(model.set_params(callback=None), X)
        assert model.n_iter_ == len(model.lower_bounds_) == 9
        assert model.lower_bounds_[0] >= objective - 1e-12
        assert os.listdir(path.parent) == []


def test_another_process_goes_on_with_a_stopped_warm_start(path, X):
    options = {"tol": 0, "random_state": 0, "warm_start": True}
    first = fit(GaussianMixture(3, max_iter=3, **options), X)
    first.save(path.with_name("first"))
    model = emfast.load(path.with_name("first")).set_params(max_iter=9, checkpoint=path)
    model.set_params(callback=lambda iteration: iteration.number == 4).fit(X)
    again = emfast.load(path.with_name("first")).set_params(max_iter=9, checkpoint=path)
    assert result(fit(again, X)) == result(fit(first.set_params(max_iter=9), X))


# Files that are not of the fit


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_components": 4}, r"n_components=3; expected 4, as in this call; remove the file"),
        ({"max_iter": 13}, "max_iter=12; expected 13"),
        ({"random_state": 1}, "random_state=0; expected 1"),
        ({"prior": {"weight_concentration_prior": 2.0}}, "another prior"),
        ({"covariance_type": "diag"}, "covariance_type='full'; expected 'diag'"),
    ],
)
def test_other_arguments(changes, said, path, X):
    killed_file(MIXTURE, path, X)
    before = path.read_bytes()
    model = clone(MIXTURE).set_params(checkpoint=path, **changes)
    with pytest.raises(ValueError, match=rf"checkpoint: .*fit\.npz: found a fit with {said}"):
        model.fit(X)
    assert not hasattr(model, "means_")
    assert path.read_bytes() == before


def test_arguments_that_change_nothing(path, X):
    killed_file(MIXTURE, path, X)
    model = clone(MIXTURE).set_params(
        checkpoint=str(path), n_threads=2, verbose_interval=3, callback=lambda iteration: None
    )
    assert result(fit(model, X)) == result(fit(clone(MIXTURE), X))


def test_another_class(path, X):
    killed_file(MIXTURE, path, X)
    with pytest.raises(ValueError, match="found a fit of GaussianMixture; expected one of Bern"):
        BernoulliMixture(3, checkpoint=path).fit((X > 0).astype(float))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda X: X[:-1], "n_rows=150; expected 149"),
        (lambda X: X[:, :1], "n_features=3; expected 1"),
        (lambda X: X.astype(np.float32), "dtype='float64'; expected 'float32'"),
        (lambda X: X + 1e-9, "other rows, labels or weights"),
        (lambda X: X[::-1], "other rows, labels or weights"),
    ],
)
def test_other_rows(change, said, path, X):
    killed_file(MIXTURE, path, X)
    with pytest.raises(ValueError, match=f"checkpoint: .*{said}"):
        clone(MIXTURE).set_params(checkpoint=path).fit(change(X))


def test_other_weights_and_labels(path, X):
    killed_file(MIXTURE, path, X, sample_weight=np.ones(150))
    model = clone(MIXTURE).set_params(checkpoint=path)
    with pytest.raises(ValueError, match="other rows, labels or weights"):
        model.fit(X, sample_weight=np.repeat([0.5, 1.5], 75))
    with pytest.raises(ValueError, match="other rows, labels or weights"):
        model.fit(X, labels=[0] + [-1] * 149, sample_weight=np.ones(150))


def test_rows_that_no_digest_has_seen(path, every_iteration, monkeypatch):
    monkeypatch.setattr(checkpoint, "ROWS_OF_DIGEST", 10)
    X = blobs(150)
    killed_file(MIXTURE, path, X, number=14)
    X[7] += 3
    with pytest.raises(ValueError, match="found a fit of other rows, on which its model has the"):
        clone(MIXTURE).set_params(checkpoint=path).fit(X)


def test_other_regressions_and_factors(path, every_iteration):
    regression = BayesianLinearRegression(tol=0, max_iter=9)
    killed_file(regression, path, NUMBERS, TARGET)
    with pytest.raises(ValueError, match="other rows, labels or weights"):
        clone(regression).set_params(checkpoint=path).fit(NUMBERS, 2 * TARGET)
    os.unlink(path)
    killed_file(FactorAnalysis(1, tol=0, max_iter=9), path, NUMBERS)
    with pytest.raises(ValueError, match="noise='diagonal'; expected 'isotropic'"):
        FactorAnalysis(1, tol=0, max_iter=9, noise="isotropic", checkpoint=path).fit(NUMBERS)


def test_saved_models_and_other_files(path, X):
    model = fit(clone(MIXTURE), X)
    model.save(path)
    with pytest.raises(ValueError, match="found a saved model; expected the checkpoint of a fit"):
        clone(MIXTURE).set_params(checkpoint=path).fit(X)
    path.write_text("1,2\n3,4\n")
    with pytest.raises(ValueError, match=r"checkpoint: .*no \.npz archive; expected the checkp"):
        clone(MIXTURE).set_params(checkpoint=path).fit(X)
    assert path.read_text() == "1,2\n3,4\n"


def test_checkpoints_are_no_models(path, X):
    killed_file(MIXTURE, path, X)
    with pytest.raises(ValueError, match="the checkpoint of a fit; expected a saved model"):
        emfast.load(path)


def test_damaged_files(path, X, every_iteration):
    content = killed_file(MIXTURE, path, X).read_bytes()
    rng = np.random.default_rng(0)
    cut = [content[: int(n)] for n in rng.integers(0, len(content), 40)]
    flipped = []
    for place in rng.integers(0, len(content), 80):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        flipped.append(bytes(damaged))
    model = clone(MIXTURE).set_params(checkpoint=path, callback=after(1))
    outcomes = []
    for damaged in (*cut, *flipped):
        path.write_bytes(damaged)
        try:
            model.fit(X)
        except ValueError as error:
            assert str(error).startswith("checkpoint: ")
            assert path.read_bytes() == damaged
            outcomes.append(True)
        except Killed:
            # A bit that nobody reads.
            outcomes.append(False)
    assert all(outcomes[:40])
    assert np.mean(outcomes) > 0.9


def changed(path, change):
    """Write the file again with something else in its header."""
    header, arrays = archive.read(path)
    change(header)
    archive.write(path, header, arrays)


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept.pop("runs"),
        lambda kept: kept["runs"].pop(),
        lambda kept: kept.update(n_done=-1),
        lambda kept: kept.update(finalists=[7]),
        lambda kept: kept.update(more=1),
        lambda kept: kept["current"]["named"].update(start=1),
        lambda kept: kept["current"]["named"]["state"]["named"].update(history=[]),
        lambda kept: kept["current"]["named"]["state"]["named"].update(objectives=["x"]),
    ],
)
def test_files_that_say_what_cannot_be(change, path, X, every_iteration):
    killed_file(MIXTURE, path, X)
    changed(path, lambda header: change(header["checkpoint"]["kept"]["named"]))
    with pytest.raises(ValueError, match=r"checkpoint: .*a damaged file"):
        clone(MIXTURE).set_params(checkpoint=path).fit(X)


def test_newer_files(path, X, monkeypatch):
    monkeypatch.setattr(archive, "FORMAT_VERSION", 99)
    killed_file(MIXTURE, path, X)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"checkpoint: .*format version 99; .*a newer one is nee"):
        clone(MIXTURE).set_params(checkpoint=path).fit(X)


# What cannot be written


def fails(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("model", [MIXTURE, FactorAnalysis(1, tol=0, max_iter=9)])
def test_a_full_disk_is_told_once(model, path, X, every_iteration, monkeypatch):
    monkeypatch.setattr(archive.os, "fsync", fails)
    with pytest.warns(CheckpointWarning, match="cannot be written .*No space left") as caught:
        found = fit(clone(model).set_params(checkpoint=path), X)
    assert len(caught) == 1
    assert result(found) == result(fit(clone(model), X))
    assert os.listdir(path.parent) == []


def test_a_disk_that_has_space_again(path, X, every_iteration, monkeypatch):
    calls = []

    def fsync(*arguments):
        calls.append(1)
        if 3 <= len(calls) < 6:
            fails()

    monkeypatch.setattr(archive.os, "fsync", fsync)
    model = clone(MIXTURE).set_params(checkpoint=path, callback=after(9))
    with pytest.warns(CheckpointWarning) as caught, pytest.raises(Killed):
        model.fit(X)
    assert len(caught) == 1
    assert os.listdir(path.parent) == ["fit.npz"]
    again = fit(clone(MIXTURE).set_params(checkpoint=path), X)
    assert result(again) == result(fit(clone(MIXTURE), X))


def test_a_file_size_that_the_system_refuses(tmp_path):
    code = """
import resource, sys, warnings
import numpy as np
from emfast import GaussianMixture
from emfast.storage import checkpoint
checkpoint.INTERVAL = 0.0
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
X = np.random.RandomState(0).normal(size=(100, 2))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    GaussianMixture(2, tol=0, max_iter=9, checkpoint=sys.argv[1]).fit(X)
print([each.category.__name__ for each in caught])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "fit.npz")],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout.strip() == "['CheckpointWarning']", done.stderr
    assert os.listdir(tmp_path) == []


def test_paths_that_cannot_be(tmp_path, X, every_iteration):
    (tmp_path / "file").write_text("")
    for path, said in (
        (tmp_path / "none" / "fit.npz", "there is no folder"),
        (tmp_path, "directory"),
        (tmp_path / "file" / "fit.npz", "Not a directory"),
    ):
        with pytest.warns(CheckpointWarning, match=f"{said}.*the fit goes on") as caught:
            fit(clone(MIXTURE).set_params(checkpoint=path), X)
        assert len(caught) == 1
    assert sorted(os.listdir(tmp_path)) == ["file"]


def test_a_file_that_cannot_be_read_stays(path, X, monkeypatch):
    content = killed_file(MIXTURE, path, X).read_bytes()

    def read(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(archive, "read", read)
    with pytest.warns(CheckpointWarning, match="cannot be read .*Permission denied"):
        fit(clone(MIXTURE).set_params(checkpoint=path), X)
    assert path.read_bytes() == content


def test_what_killed_processes_leave_behind_is_removed(path, X):
    other = archive._temporary(path.with_name("other.npz"), "0" * 16)
    for name in (archive._temporary(path, "0" * 16), other):
        path.with_name(name).write_bytes(b"half")
    fit(clone(MIXTURE).set_params(checkpoint=path), X)
    assert os.listdir(path.parent) == [other]


def test_a_fit_of_which_every_start_fails_leaves_no_file(path):
    X = np.repeat([[0.0, 1.0], [5.0, 5.0]], 4, axis=0)
    with pytest.raises(emfast.exceptions.SingularComponentError):
        GaussianMixture(2, reg_covar=0, random_state=0, checkpoint=path).fit(X)
    assert os.listdir(path.parent) == []


# Around it


def test_saved_models_keep_no_path(path, X, tmp_path):
    model = fit(clone(MIXTURE).set_params(checkpoint=path), X)
    model.save(tmp_path / "model.npz")
    assert emfast.load(tmp_path / "model.npz").checkpoint is None
    assert model.checkpoint == path


def test_grids_take_none(path, X):
    with pytest.raises(ValueError, match=r"checkpoint: found .*fit\.npz.*; expected None"):
        emfast.select(clone(MIXTURE).set_params(checkpoint=path), X, {"n_components": [1, 2]})
    with pytest.raises(ValueError, match=r"checkpoint: found .*; expected None"):
        emfast.select(MIXTURE, X, {"checkpoint": [str(path)]})


def test_a_relative_path_stays_where_it_was(
    path, X, monkeypatch, tmp_path_factory, every_iteration
):
    monkeypatch.chdir(path.parent)
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def move(iteration):
        os.chdir(elsewhere)
        if iteration.number == 5:
            raise Killed

    with pytest.raises(Killed):
        clone(MIXTURE).set_params(checkpoint="fit.npz", callback=move).fit(X)
    assert os.listdir(path.parent) == ["fit.npz"]
    assert os.listdir(elsewhere) == []


def test_models_under_way_are_stored_as_they_lie_in_memory(X):
    """The order of sums, and with it the last bit, may depend on strides."""
    seen = []

    def look(value):
        if isinstance(value, np.ndarray):
            assert value.flags.c_contiguous
            seen.append(value)
        elif hasattr(value, "_asdict"):
            look(list(value._asdict().values()))
        elif isinstance(value, list | tuple):
            for each in value:
                look(each)
        elif hasattr(value, "__dict__"):
            look(list(vars(value).values()))

    for case in CASES.values():
        prefix = "mixture__" if isinstance(case.estimator, MixtureClassifier) else ""
        options = {f"{prefix}callback": lambda iteration: look(iteration.model)}
        replace(case, estimator=clone(case.estimator).set_params(**options)).fitted()
    assert seen
