"""Grids of models, compared by information criteria."""

import signal
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from emfast import BayesianLinearRegression, GaussianHMM, GaussianMixture, PoissonMixture, select
from emfast.datasets import load_faithful
from emfast.exceptions import ConvergenceWarning, SelectionInterrupted
from gaussians import blobs


@pytest.fixture
def faithful():
    return load_faithful().data


@pytest.fixture
def mixture():
    return GaussianMixture(n_init=3, tol=1e-4, max_iter=500, random_state=0)


def test_the_least_criterion_is_picked(faithful, mixture):
    grid = {"covariance_type": ["full", "tied", "spherical"], "n_components": range(1, 5)}
    best, table = select(mixture, faithful, grid)
    # What mclust picks among these, with its BIC (of the other sign).
    assert (best.covariance_type, best.n_components) == ("tied", 3)
    assert best.bic(faithful) == pytest.approx(2314.316, abs=0.05)
    assert len(table) == 12
    assert [each.params["n_components"] for each in table[:4]] == [1, 2, 3, 4]
    assert min(table, key=lambda each: each.bic).best
    assert sum(each.best for each in table) == 1
    for each in table:
        alone = clone(mixture).set_params(**each.params).fit(faithful)
        for name in ("bic", "aic", "icl"):
            assert getattr(each, name) == getattr(alone, name)(faithful)
        assert each.log_likelihood == pytest.approx(alone.score(faithful) * 272, rel=1e-12)
        assert (each.n_iter, each.converged) == (alone.n_iter_, alone.converged_)
    with pytest.raises(NotFittedError):
        mixture.predict(faithful)


@pytest.mark.parametrize("criterion", ["bic", "aic", "icl"])
def test_every_criterion(faithful, mixture, criterion):
    grid = {"n_components": np.arange(1, 5)}
    best, table = select(mixture, faithful, grid, criterion)
    assert table.criterion == criterion
    values = [getattr(each, criterion) for each in table]
    assert best.n_components == 1 + int(np.argmin(values))
    assert {"bic": 2, "aic": 4, "icl": 2}[criterion] == best.n_components


def test_grids_in_a_list(faithful, mixture):
    grid = [{"n_components": [2], "covariance_type": ["diag", "full"]}, {"max_iter": [0]}]
    _, table = select(mixture, faithful, grid)
    assert [list(each.params.values()) for each in table] == [[2, "diag"], [2, "full"], [0]]
    assert table.columns()["max_iter"] == [None, None, 0]


def test_weights_and_labels_are_those_of_the_fit(faithful, mixture):
    weights = np.arange(272) % 3
    labels = np.full(272, -1)
    labels[:4] = [1, 0, 1, 0]
    best, table = select(
        mixture, faithful, {"n_components": [2, 3]}, sample_weight=weights, labels=labels
    )
    alone = clone(best).fit(faithful, labels=labels, sample_weight=weights)
    assert_array_equal(best.means_, alone.means_)
    picked = next(each for each in table if each.best)
    assert picked.bic == alone.bic(faithful, sample_weight=weights)


def test_hidden_markov_models():
    rng = np.random.default_rng(0)
    states = np.repeat(rng.integers(0, 2, 40), 10)
    X = rng.normal(4 * states[:, None], 1.0, (400, 2))
    lengths = [100] * 4
    hmm = GaussianHMM(random_state=0)
    best, table = select(hmm, X, {"n_components": range(1, 4)}, "aic", lengths=lengths)
    assert best.n_components == 2
    assert [each.icl for each in table] == [None] * 3
    assert table[1].bic == clone(best).fit(X, lengths).bic(X, lengths)
    with pytest.raises(TypeError, match=r"criterion: found 'icl', and GaussianHMM has \['bic'"):
        select(hmm, X, {"n_components": [1]}, "icl")


def test_a_point_that_fails_is_told_and_the_others_go_on(mixture):
    X = blobs(8)
    best, table = select(mixture, X, {"n_components": [9, 1]})
    assert best.n_components == 1
    assert "n_samples >= n_components" in table[0].error
    assert table[0].bic is None
    assert not table[0].best
    assert "failed: X: Expected" in repr(table)
    with pytest.raises(ValueError, match="grid: all 2 points failed; the last one with: X: Exp"):
        select(mixture, X, {"n_components": [9, 10]})


def test_degenerate_models_lose(mixture):
    rng = np.random.default_rng(2)
    X = np.vstack([rng.normal(size=(60, 2)), np.tile([[0.3, 0.4]], (9, 1))])
    best, table = select(mixture, X, {"n_components": [1, 2]})
    assert table[1].degenerate
    assert table[1].bic < table[0].bic
    assert best.n_components == 1
    assert any("sit on a few rows" in text for text in table[1].warnings)
    assert "degenerate components" in repr(table)


def test_warnings_are_those_of_the_model_that_is_picked(faithful, mixture):
    mixture.set_params(tol=1e-12, max_iter=2, n_init=1)
    with pytest.warns(ConvergenceWarning) as caught:
        select(mixture, faithful, {"n_components": [2, 3, 4]})
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one_cluster = np.random.default_rng(0).normal(size=(200, 2))
        _, table = select(mixture, one_cluster, {"n_components": [1, 4]})
    assert table[0].best
    assert table[1].warnings
    assert not table[1].converged


def test_one_bar_for_all_fits(faithful, mixture, capsys):
    seen = []
    mixture.set_params(progress=True, callback=seen.append)
    best, _ = select(mixture, faithful, {"n_components": [1, 2, 3]})
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    last = err.strip().split("\r")[-1]
    assert "3/3" in last
    assert "log-likelihood" in last
    assert {each.n_starts for each in seen} == {3}
    # What was picked is watched as before.
    assert best.progress
    assert best.callback.__self__ is not None
    best.set_params(max_iter=1, tol=0, n_init=1).fit(faithful)
    assert "1/1" in capsys.readouterr().err


def test_a_callback_ends_one_fit(faithful, mixture):
    mixture.set_params(callback=lambda it: it.model.emission.means.shape[0] == 2)
    _, table = select(mixture, faithful, {"n_components": [1, 2]})
    assert [each.converged for each in table] == [True, False]


@pytest.mark.parametrize("progress", [False, True])
@pytest.mark.parametrize("when", ["before an iteration", "in an iteration"])
def test_an_interrupt_leaves_what_was_fitted(faithful, mixture, monkeypatch, progress, when):
    grid = {"n_components": [1, 2, 3, 4]}
    expected, table = select(mixture, faithful, {"n_components": [1, 2]})

    def interrupt(it):
        if when == "in an iteration" and it.model.emission.means.shape[0] == 3:
            signal.raise_signal(signal.SIGINT)

    if when == "before an iteration":
        fit = GaussianMixture.fit

        def interrupted(self, X):
            return fit(self, X) if self.n_components < 3 else signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(GaussianMixture, "fit", interrupted)
    mixture.set_params(callback=interrupt, progress=progress)
    with pytest.raises(KeyboardInterrupt, match="after 2 of 4 points") as caught:
        select(mixture, faithful, grid)
    assert isinstance(caught.value, SelectionInterrupted)
    best, found = caught.value.selection
    assert repr(found) == repr(table)
    assert_array_equal(best.means_, expected.means_)
    assert best.callback is interrupt
    assert best.progress is progress


def test_an_interrupt_before_there_is_a_model(faithful, mixture):
    mixture.set_params(callback=lambda it: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as caught:
        select(mixture, faithful, {"n_components": [1, 2]})
    assert not isinstance(caught.value, SelectionInterrupted)


def test_table(faithful, mixture):
    _, table = select(mixture, faithful, {"n_components": [1, 2]})
    frame = table.to_frame()
    assert frame["n_components"].tolist() == [1, 2]
    assert frame["best"].tolist() == [False, True]
    lines = repr(table).splitlines()
    assert lines[0].split()[:4] == ["n_components", "n_parameters", "log_likelihood", "bic"]
    assert lines[2].endswith("best")
    assert "2322.19" in lines[2]
    assert len({len(line.removesuffix("  best")) for line in lines}) == 1


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (3, "grid: found 3; expected a mapping"),
        ("full", "grid: found 'full'"),
        ([3], "grid: found 3; expected a mapping"),
        ({"n_components": 3}, "grid: found 3 for 'n_components'; expected a list"),
        ({"covariance_type": "full"}, "grid: found 'full' for 'covariance_type'"),
        ({"n_components": []}, "expected at least one value"),
        ([], "expected at least one value"),
        ({"k": [1]}, "grid: found 'k'; expected arguments of GaussianMixture"),
    ],
)
def test_bad_grids(faithful, mixture, grid, message):
    with pytest.raises(ValueError, match=message):
        select(mixture, faithful, grid)


def test_bad_criteria_and_arguments(faithful, mixture):
    with pytest.raises(ValueError, match="criterion: found 'dic'; expected one of"):
        select(mixture, faithful, {"n_components": [1]}, "dic")
    with pytest.raises(TypeError, match="BayesianLinearRegression has none of them"):
        select(BayesianLinearRegression(), faithful, {"tol": [0.1]})
    with pytest.raises(TypeError, match="lengths"):
        select(mixture, faithful, {"n_components": [1]}, lengths=[272])


def test_other_families():
    X = np.random.default_rng(0).poisson(np.repeat([[1.0], [20.0]], 100, axis=0))
    best, _ = select(PoissonMixture(random_state=0), X, {"n_components": [1, 2, 3]})
    assert best.n_components == 2
