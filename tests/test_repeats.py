"""Repeated discrete rows count with their weights, and nothing else changes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from emfast import (
    BernoulliMixture,
    BinomialMixture,
    CategoricalMixture,
    GaussianMixture,
    Mixture,
    PoissonMixture,
)
from emfast.data import Batch
from emfast.emissions import Categorical, Poisson
from emfast.estimators.base import repeats
from emfast.estimators.base.repeats import collapsed
from emfast.inputs.labels import Labels
from emfast.inputs.rows import Blocks, RowsWithTrials

N = 20_000


def answers(dtype=np.uint8, missing=False, D=6, seed=0):
    rng = np.random.default_rng(seed)
    X = (rng.uniform(size=(N, D)) < np.array([[0.9], [0.2]])[rng.integers(0, 2, N)]).astype(dtype)
    if missing:
        X[rng.uniform(size=X.shape) < 0.1] = np.nan
    return X


def expanded(batch):
    """Different rows with their total weights, as a dict."""
    rows = batch.X.both if isinstance(batch.X, RowsWithTrials) else batch.X
    if isinstance(rows, Blocks):
        rows = np.hstack([part.astype(float) for part in rows.parts])
    known = [np.zeros((len(rows), 0))]
    if batch.labels.component is not None:
        known.append(batch.labels.component[:, None])
    if batch.labels.allowed is not None:
        known.append(batch.labels.allowed)
    weights = np.ones(len(rows)) if batch.weights is None else batch.weights
    totals = {}
    for row, weight in zip(np.hstack([rows, *known]), weights, strict=True):
        key = tuple(np.nan_to_num(row, nan=-9.0).tolist())
        totals[key] = totals.get(key, 0) + weight
    return {key: total for key, total in totals.items() if total > 0}


@pytest.mark.parametrize("known", ["nothing", "component", "allowed"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "blocks", "trials"])
def test_the_same_rows_with_the_same_weights(dtype, weighted, known):
    rng = np.random.default_rng(1)
    whole = dtype in ("blocks", "trials")
    X = answers(np.uint8 if whole else dtype, dtype.startswith("float"), D=3)
    if dtype == "blocks":
        X = Blocks((X[:, :2], X[:, 2:].astype(float)))
    elif dtype == "trials":
        X = RowsWithTrials(X.astype(float))
    labels = Labels(
        component=rng.integers(-1, 2, N).astype(np.int32) if known == "component" else None,
        allowed=rng.integers(0, 2, (N, 3)).astype(np.uint8) if known == "allowed" else None,
    )
    weights = rng.integers(0, 3, N).astype(float) if weighted else None
    batch = Batch(X, weights, labels)
    few = collapsed(batch)
    assert few.n_rows < N / 2
    assert expanded(few) == expanded(batch)
    assert len(expanded(few)) == few.n_rows
    assert few.numbers.max() < N
    original = batch.take(few.numbers)
    assert expanded(Batch(original.X, few.weights, original.labels)) == expanded(few)


def test_many_columns_and_large_numbers():
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 2**31, (50, 40)).astype(np.uint32)
    X = patterns[rng.integers(0, 50, N)]
    few = collapsed(Batch(X))
    assert few.n_rows == 50
    assert expanded(few) == expanded(Batch(X))


def test_rows_that_differ_are_left_alone():
    X = np.random.default_rng(0).integers(0, 2, (N, 60)).astype(np.uint8)
    batch = Batch(X)
    assert collapsed(batch) is batch
    small = Batch(answers()[: repeats.MANY_ROWS - 1])
    assert collapsed(small) is small


def test_rows_whose_sample_misleads_are_left_alone():
    X = np.random.default_rng(0).integers(0, 2, (N, 60)).astype(np.uint8)
    X[np.linspace(0, N - 1, repeats.SAMPLE).astype(int)] = 0
    batch = Batch(X)
    assert collapsed(batch) is batch


def mixtures():
    yield BernoulliMixture(2), answers()
    yield BernoulliMixture(2), answers(float, missing=True)
    yield CategoricalMixture(2), answers().astype(str)
    yield PoissonMixture(2), 3 * answers()
    yield BinomialMixture(2, n_trials=3), 2 * answers()
    yield Mixture(2, [("a", Categorical(), [0, 1, 2]), ("b", Poisson(), [3, 4, 5])]), answers()


@pytest.mark.parametrize(("mixture", "X"), list(mixtures()))
@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_fits_are_the_same(monkeypatch, mixture, X, assignment):
    labels = np.full(N, -1)
    labels[:200] = np.arange(200) % 2
    weights = np.random.default_rng(0).uniform(0.5, 2, N)
    mixture.set_params(random_state=0, tol=0, max_iter=4, assignment=assignment)
    mixture.set_params(init_params="kmeans", weights_init=[0.4, 0.6])
    few = mixture.fit_predict(X, labels=labels, sample_weight=weights)
    assert few.shape == (N,)
    assert_array_equal(few[:200], labels[:200])
    assert mixture.restarts_[0].n_rows < N / 2
    start = {"weights_init": mixture.weights_}
    if hasattr(mixture, "probabilities_"):
        start["probabilities_init"] = mixture.probabilities_
    elif hasattr(mixture, "rates_"):
        start["rates_init"] = mixture.rates_
    else:
        p = mixture.emissions_["a"].by_feature
        start["emissions_init"] = {"a.probabilities": p, "b.rates": mixture.emissions_["b"].rates}
    mixture.set_params(**start)
    bounds = []
    for many in (repeats.MANY_ROWS, N + 1):
        monkeypatch.setattr(repeats, "MANY_ROWS", many)
        predicted = mixture.fit_predict(X, labels=labels, sample_weight=weights)
        bounds.append(mixture.lower_bounds_)
        assert mixture.restarts_[0].n_rows == N if many > N else mixture.restarts_[0].n_rows < N
    assert_allclose(bounds[0], bounds[1], rtol=1e-9)
    assert np.mean(predicted == few) > 0.99


def test_messages_name_rows_as_they_were_given():
    X = answers()
    X[:, 0] = 0
    X[N - 7, 0] = 1
    with pytest.raises(ValueError, match=f"row {N - 7} "):
        BernoulliMixture(
            2,
            probabilities_init=[[0] + [0.5] * 5] * 2,
            fixed=["probabilities"],
        ).fit(X)


def test_numbers_are_not_collapsed():
    X = np.round(np.random.default_rng(0).normal(size=(N, 1)))
    mixture = GaussianMixture(2, random_state=0, n_init=1, max_iter=2, tol=0).fit(X)
    assert mixture.restarts_[0].n_rows == N
