"""Fits while they run: verbose, the bar, the callback, and Ctrl-C."""

import inspect
import signal
import sys
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import emfast
from emfast import (
    BayesianLinearRegression,
    BernoulliMixture,
    FactorAnalysis,
    GaussianHMM,
    GaussianMixture,
    MixtureClassifier,
    em,
)
from emfast.datasets import make_gaussian_mixture
from emfast.emissions import Gaussian
from emfast.landscape import landscape
from emfast.starts import race
from emfast.starts.records import Restart
from emfast.theory import iterations
from gaussians import blobs

ESTIMATORS = {
    name: kind
    for name, kind in vars(emfast).items()
    if isinstance(kind, type) and hasattr(kind, "fit") and kind is not MixtureClassifier
}
# One of each way that a fit goes.
KINDS = {
    "mixture": GaussianMixture(3, random_state=0, tol=0, max_iter=8),
    "accelerated": GaussianMixture(3, random_state=0, tol=0, max_iter=8, accelerate=True),
    "stochastic": GaussianMixture(3, random_state=0, max_iter=8, assignment="stochastic"),
    "chain": GaussianHMM(2, random_state=0, tol=0, max_iter=8),
    "product": emfast.Mixture(
        2, [("both", Gaussian("diag"), [0, 1])], random_state=0, tol=0, max_iter=8
    ),
    "regression": BayesianLinearRegression(per_feature=True, tol=0, max_iter=8),
    "factors": FactorAnalysis(1, tol=0, max_iter=8, random_state=0),
}


@pytest.fixture
def X():
    return blobs(120)


def data(kind, X):
    """What it is fitted to."""
    if kind == "regression":
        return X, X @ np.ones(X.shape[1]) + np.sin(np.arange(len(X)))
    return (X,)


def objectives(model):
    return model.scores_ if hasattr(model, "scores_") else model.lower_bounds_


def at_iteration(number, what):
    """A callback that does something after one of the iterations."""

    def callback(iteration):
        return what() if iteration.number == number else None

    return callback


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_has_the_arguments(name):
    parameters = inspect.signature(ESTIMATORS[name]).parameters
    found = {each: parameters[each].default for each in ("verbose", "progress", "callback")}
    assert found == {"verbose": 0, "progress": False, "callback": None}
    assert parameters["verbose_interval"].default == 10
    assert "callback" in ESTIMATORS[name].__doc__


@pytest.mark.parametrize(
    ("name", "value"), [("progress", "yes"), ("callback", 3), ("verbose", "loud")]
)
@pytest.mark.parametrize("kind", ["mixture", "chain", "regression", "factors"])
def test_bad_arguments(kind, name, value, X):
    with pytest.raises(ValueError, match=rf"'{name}' parameter"):
        clone(KINDS[kind]).set_params(**{name: value}).fit(*data(kind, X))


# The callback


@pytest.mark.parametrize("kind", KINDS)
def test_the_callback_sees_every_iteration(kind, X):
    seen = []
    model = clone(KINDS[kind]).set_params(callback=seen.append).fit(*data(kind, X))
    assert [each.number for each in seen] == list(range(1, model.n_iter_ + 1))
    factor = len(X) if kind == "regression" else 1
    assert_allclose([factor * each.objective for each in seen], objectives(model), rtol=1e-14)
    assert all(isinstance(each, em.Iteration) for each in seen)
    plain = clone(KINDS[kind]).fit(*data(kind, X))
    assert_array_equal(objectives(plain), objectives(model))


def test_the_callback_sees_all_starts_and_the_refinement(X):
    seen = []
    mixture = GaussianMixture(4, n_init=3, random_state=0, callback=seen.append).fit(X)
    assert [each.start for each in seen if each.number == 1] == [0, 1, 2]
    assert {each.n_starts for each in seen} == {3}
    winner = next(i for i, start in enumerate(mixture.restarts_) if start.won)
    of_winner = [each for each in seen if each.start == winner]
    assert [each.number for each in of_winner] == list(range(1, mixture.n_iter_ + 1))
    assert_array_equal([each.objective for each in of_winner], mixture.lower_bounds_)
    assert [each.converged for each in of_winner].index(True) < len(of_winner) - 1
    assert_array_equal(of_winner[-1].model.emission.means, mixture.means_)


@pytest.mark.parametrize("kind", KINDS)
def test_the_callback_ends_the_fit(kind, X):
    stopping = clone(KINDS[kind]).set_params(callback=at_iteration(3, lambda: True), tol=1e-300)
    model = stopping.fit(*data(kind, X))
    assert (model.n_iter_, model.converged_) == (3, False)
    shorter = clone(KINDS[kind]).set_params(max_iter=3).fit(*data(kind, X))
    assert_array_equal(objectives(model), objectives(shorter))


def test_the_best_so_far_is_kept(X):
    def second_start(iteration):
        return iteration.start == 1 and iteration.number == 1

    # A second start by short runs of EM would begin above where the first has ended.
    options = {
        "n_init": 4,
        "init_params": "random",
        "random_state": 0,
        "tol": 1e-6,
        "max_iter": 500,
    }
    mixture = GaussianMixture(3, callback=second_start, **options).fit(X)
    alone = GaussianMixture(3, **{**options, "n_init": 1}).fit(X)
    assert_array_equal(mixture.means_, alone.means_)
    assert not mixture.converged_
    assert [start.n_iter for start in mixture.restarts_] == [alone.n_iter_, 1, 0, 0]
    assert [start.won for start in mixture.restarts_] == [True, False, False, False]
    assert mixture.restarts_[0].converged
    for never_begun in mixture.restarts_[2:]:
        assert never_begun.error == "the fit was stopped before this start began"
        assert never_begun.score == -np.inf


def test_an_error_in_the_callback_leaves_the_estimator_as_it_was(X):
    def broken(iteration):
        raise RuntimeError("broken")

    mixture = GaussianMixture(2, random_state=0, callback=broken, progress=True)
    with pytest.raises(RuntimeError, match="broken"):
        mixture.fit(X)
    assert not hasattr(mixture, "means_")


def test_models_within_other_tools_are_not_watched(X):
    def never(iteration):
        pytest.fail("was called")

    mixture = GaussianMixture(2, covariance_type="spherical", random_state=0, callback=never)
    mixture.set_params(weights_init="equal", covariances_init=[1, 1], means_init=[[0], [1]])
    assert len(iterations(mixture, X[:, :1], 2)) == 3
    assert landscape(mixture, X[:, :1], [0, 1], [0, 1], n_iter=2).objective.shape == (2, 2)


def test_a_callback_is_not_stored(X, tmp_path):
    mixture = GaussianMixture(2, random_state=0, callback=lambda it: None, progress=True).fit(X)
    mixture.save(tmp_path / "m.npz")
    loaded = emfast.load(tmp_path / "m.npz")
    assert (loaded.callback, loaded.progress) == (None, True)


# Ctrl-C


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["exception", "signal"])
def test_ctrl_c_leaves_the_best_model_so_far(kind, how, X):
    stop = interrupt if how == "exception" else lambda: signal.raise_signal(signal.SIGINT)
    model = clone(KINDS[kind]).set_params(callback=at_iteration(2, stop))
    with pytest.raises(KeyboardInterrupt, match="the best model so far"):
        model.fit(*data(kind, X))
    assert (model.n_iter_, model.converged_) == (2, False)
    shorter = clone(KINDS[kind]).set_params(max_iter=2).fit(*data(kind, X))
    assert_array_equal(objectives(model), objectives(shorter))
    if kind != "factors":
        assert_array_equal(model.predict(X), shorter.predict(X))
    if kind == "mixture":
        assert model.score(X) == pytest.approx(model.lower_bound_)


def test_ctrl_c_within_an_iteration_keeps_the_last_complete_one(X, monkeypatch):
    start = {
        "weights_init": [0.5, 0.5],
        "means_init": X[:2],
        "covariances_init": np.eye(X.shape[1]),
    }
    mixture = GaussianMixture(2, covariance_type="tied", tol=0, max_iter=9, **start)
    calls, mstep = [], Gaussian.mstep

    def impatient(self, *arguments):
        calls.append(1)
        return interrupt() if len(calls) == 5 else mstep(self, *arguments)

    monkeypatch.setattr(Gaussian, "mstep", impatient)
    with pytest.raises(KeyboardInterrupt):
        mixture.fit(X)
    monkeypatch.undo()
    shorter = clone(mixture).set_params(max_iter=4).fit(X)
    assert mixture.n_iter_ == 4
    assert_array_equal(mixture.means_, shorter.means_)
    # It goes on from there.
    mixture.set_params(warm_start=True, max_iter=5).fit(X)
    whole = clone(mixture).set_params(warm_start=False, max_iter=9).fit(X)
    assert_array_equal(mixture.means_, whole.means_)


def test_ctrl_c_in_a_race_measures_the_best_start(monkeypatch):
    X, _ = make_gaussian_mixture(20_000, 2, 3, random_state=0)
    improve = race.improve

    def impatient(*arguments):
        for number, improved in enumerate(improve(*arguments)):
            if number == 3:
                raise KeyboardInterrupt
            yield improved

    monkeypatch.setattr(race, "improve", impatient)
    mixture = GaussianMixture(3, n_init=5, restarts="race", random_state=0)
    with pytest.raises(KeyboardInterrupt):
        mixture.fit(X)
    assert (mixture.n_iter_, mixture.converged_) == (0, False)
    assert mixture.score(X) == pytest.approx(mixture.lower_bound_, rel=1e-12)
    scores = [restart.score for restart in mixture.restarts_[:3]]
    winner = next(i for i, restart in enumerate(mixture.restarts_) if restart.won)
    assert winner in range(3)
    assert mixture.restarts_[winner].n_rows == len(X)
    assert np.isfinite(scores).all()


def test_ctrl_c_before_there_is_a_model_leaves_the_estimator_as_it_was(X, monkeypatch):
    mixture = GaussianMixture(2, random_state=0)
    monkeypatch.setattr(Restart, "take", lambda *arguments: None)
    monkeypatch.setattr(GaussianMixture, "_start", lambda *arguments: interrupt())
    with pytest.raises(KeyboardInterrupt):
        mixture.fit(X)
    with pytest.raises(NotFittedError):
        mixture.predict(X)
    monkeypatch.undo()
    means = mixture.fit(X).means_
    monkeypatch.setattr(GaussianMixture, "_start", lambda *arguments: interrupt())
    with pytest.raises(KeyboardInterrupt):
        mixture.fit(X)
    assert mixture.means_ is means


def test_ctrl_c_while_a_later_start_is_made_keeps_the_earlier(X, monkeypatch):
    begun, start = [], GaussianMixture._start

    def impatient(self, *arguments):
        begun.append(1)
        return interrupt() if len(begun) == 2 else start(self, *arguments)

    monkeypatch.setattr(GaussianMixture, "_start", impatient)
    mixture = GaussianMixture(2, n_init=3, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        mixture.fit(X)
    assert [restart.won for restart in mixture.restarts_] == [True, False, False]
    assert mixture.n_iter_ > 0


def test_ctrl_c_leaves_a_classifier_fitted(X):
    y = np.where(np.arange(len(X)) % 2, X[:, 0] > 0, -1)
    classifier = MixtureClassifier(GaussianMixture(random_state=0, tol=0), components_per_class=2)
    classifier.set_params(mixture__callback=at_iteration(2, interrupt))
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, y)
    assert classifier.mixture_.n_iter_ == 2
    assert classifier.predict(X).shape == (len(X),)


# What is seen


@pytest.mark.parametrize("kind", KINDS)
def test_the_bar_is_on_stderr_and_ends_full(kind, X, capsys):
    model = clone(KINDS[kind]).set_params(progress=True).fit(*data(kind, X))
    out, err = capsys.readouterr()
    assert out == ""
    last = err.strip().split("\r")[-1]
    assert f"{model.n_iter_}/{model.n_iter_}" in last
    assert "100%" in last
    objective = "log evidence" if kind == "regression" else "log-likelihood"
    final = objectives(model)[-1] / (len(X) if kind == "regression" else 1)
    assert f"{objective} {final:.6g}, still to gain " in last


def test_one_bar_for_all_starts(X, capsys):
    mixture = GaussianMixture(3, n_init=3, random_state=0, tol=1e-3, progress=True).fit(X)
    err = capsys.readouterr().err
    n_iter = sum(restart.n_iter for restart in mixture.restarts_)
    assert err.count("\n") == 1
    assert f"{n_iter}/{n_iter}" in err.strip().split("\r")[-1]
    assert "/300 " in err


def test_the_bar_is_closed_where_the_fit_fails(capsys):
    X = np.repeat(np.eye(2), 5, axis=0)
    with pytest.raises(emfast.exceptions.SingularComponentError):
        GaussianMixture(2, reg_covar=0, random_state=0, progress=True).fit(X)
    assert capsys.readouterr().err.endswith("\n")


def test_without_iterations_there_is_nothing_to_show(X, capsys):
    GaussianMixture(2, max_iter=0, random_state=0, progress=True).fit(X)
    assert "nan" not in capsys.readouterr().err


def test_without_tqdm(X, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    mixture = GaussianMixture(2, random_state=0, progress=True)
    with pytest.raises(ImportError, match="progress: found True, and no tqdm"):
        mixture.fit(X)
    assert not hasattr(mixture, "n_features_in_")
    mixture.set_params(progress=False).fit(X)


@pytest.mark.parametrize("kind", ["mixture", "chain", "regression", "factors"])
def test_verbose(kind, X, capsys):
    clone(KINDS[kind]).set_params(verbose=1, verbose_interval=4).fit(*data(kind, X))
    lines = capsys.readouterr().out.splitlines()
    last = "Initialization did not converge."
    assert lines == ["Initialization 0", "  Iteration 4", "  Iteration 8", last]


def test_verbose_beside_a_bar(X, capsys):
    mixture = BernoulliMixture(2, verbose=2, verbose_interval=1, progress=True, random_state=0)
    mixture.fit(X > 0)
    out, err = capsys.readouterr()
    assert next(line for line in out.splitlines() if line) == "Initialization 0"
    assert "ll change" in out
    assert "100%" in err


def test_nobody_is_warned_of_a_fit_that_was_stopped(X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GaussianMixture(2, random_state=0, tol=1e-12, callback=lambda it: True).fit(X)
        FactorAnalysis(1, tol=1e-12, callback=lambda it: True).fit(X)
