"""Batch after batch: `partial_fit`."""

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import emfast
from emfast import (
    BernoulliMixture,
    BinomialMixture,
    CategoricalMixture,
    ExponentialMixture,
    GaussianHMM,
    GaussianMixture,
    LinearRegressionMixture,
    Mixture,
    MixtureOfExperts,
    PoissonMixture,
)
from emfast.datasets import make_gaussian_mixture
from emfast.emissions import Bernoulli, Gaussian
from fitted_estimators import CASES, assert_alike

pytestmark = pytest.mark.filterwarnings("ignore::emfast.exceptions.DegenerateComponentWarning")

X, _ = make_gaussian_mixture(4000, 3, 3, separation=3, random_state=1)
BATCHES = np.array_split(X, 20)


def learned(mixture, batches, **arguments):
    for batch in batches:
        mixture.partial_fit(batch, **arguments)
    return mixture


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_a_sweep_leads_near_the_optimum_of_all_rows_and_two_nearer(covariance_type):
    rows, _ = make_gaussian_mixture(200_000, 3, 4, separation=3, random_state=0)
    batches = np.array_split(rows, 100)
    arguments = {"covariance_type": covariance_type, "random_state": 0}
    best = GaussianMixture(4, tol=1e-6, max_iter=500, **arguments).fit(rows).score(rows)
    mixture = learned(GaussianMixture(4, **arguments), batches)
    after_one = best - mixture.score(rows)
    learned(mixture, batches)
    after_two = best - mixture.score(rows)
    assert 0 < after_two < after_one < 5e-3
    assert mixture.n_iter_ == len(mixture.lower_bounds_) == 200


def test_a_step_is_what_the_formula_says():
    given = {"weights_init": [0.5, 0.5], "rates_init": [[2.0], [6.0]], "fixed": ["weights"]}
    rng = np.random.default_rng(0)
    batches = [rng.poisson(4, (n, 1)) for n in (50, 80, 20)]
    mixture = PoissonMixture(2, step_exponent=0.7, step_offset=3.0, **given)
    sums, rates = None, np.array([2.0, 6.0])
    for t, batch in enumerate(batches):
        r = np.exp(batch * np.log(rates) - rates)
        r /= r.sum(axis=1, keepdims=True)
        taken = np.stack([(r * batch).mean(axis=0), r.mean(axis=0)])
        step = 1.0 if t == 0 else (t + 3.0) ** -0.7
        sums = taken if t == 0 else (1 - step) * sums + step * taken
        rates = sums[0] / sums[1]
        assert_allclose(mixture.partial_fit(batch).rates_.ravel(), rates, rtol=1e-12)
        assert mixture.n_iter_ == t + 1 and not mixture.converged_


def test_a_prior_counts_beside_all_rows_that_there_have_been():
    given = {"weights_init": [1.0], "means_init": [[0.0]], "covariances_init": [[[1.0]]]}
    prior = {"mean_prior": [10.0], "mean_precision_prior": 100.0}
    mixture = GaussianMixture(1, prior=prior, step_exponent=1.0, step_offset=1.0, **given)
    # With these steps the statistics are averages over all batches.
    rows = np.random.default_rng(0).normal(size=(400, 1))
    for n, batch in enumerate(np.split(rows, 4), 1):
        mean = (rows[: 100 * n].sum() + 1000) / (100 * n + 100)
        assert_allclose(mixture.partial_fit(batch).means_, [[mean]], rtol=1e-12)


def test_after_a_fit_it_goes_on_from_there():
    mixture = GaussianMixture(3, random_state=0, tol=1e-8, max_iter=1000).fit(X)
    before = mixture.means_
    mixture.partial_fit(X[:200])
    # The fit counts as twenty calls.
    distance = np.abs(mixture.means_ - before).max()
    assert 0 < distance < 0.2
    jumped = GaussianMixture(
        3, means_init=before, weights_init=mixture.weights_, covariances_init=mixture.covariances_
    ).partial_fit(X[:200])
    assert distance < 0.5 * np.abs(jumped.means_ - before).max()
    # Where nothing is new, nothing moves.
    again = GaussianMixture(3, random_state=0, tol=1e-10, max_iter=3000).fit(X)
    assert_allclose(copy.deepcopy(again).partial_fit(X).means_, again.means_, atol=1e-4)


def test_after_an_update_and_of_a_derived_model():
    mixture = GaussianMixture(3, random_state=0).fit(X)
    mixture.update(mixture.summarize(X))
    mixture.partial_fit(X[:100])
    assert mixture.score(X) > -7
    part = mixture.marginal([0, 1])
    assert part.partial_fit(X[:, :2]).n_iter_ == 1
    changed = copy.deepcopy(mixture)
    changed.means_ = changed.means_ + 0.5
    fresh = copy.deepcopy(changed)
    del fresh._statistics, fresh._calls
    assert_array_equal(changed.partial_fit(X).means_, fresh.partial_fit(X).means_)


def test_an_incremental_fit_can_be_gone_on_from():
    mixture = GaussianMixture(3, random_state=0, incremental=True).fit(X)
    assert type(mixture._statistics) is emfast.Statistics
    assert np.isfinite(mixture.partial_fit(X[:100]).score(X))


WAYS = {
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "joblib": lambda model, path: (joblib.dump(model, path), joblib.load(path))[1],
    "file": lambda model, path: (model.save(path), emfast.load(path))[1],
    "deepcopy": lambda model, path: copy.deepcopy(model),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [name for name in CASES if hasattr(CASES[name].estimator,
                                                                     "partial_fit")])  # fmt: skip
def test_it_goes_on_from_what_was_kept(name, way, tmp_path):
    case = CASES[name]
    model = clone(case.estimator)
    data = [case.X] if case.y is None else [case.X, case.y]
    model.partial_fit(*data, **case.given)
    model.partial_fit(*data, **case.given)
    again = WAYS[way](model, tmp_path / "model")
    assert_alike(again, model)
    for each in (model, again):
        each.partial_fit(*data, **case.given)
    assert_alike(again, model)


def test_a_clone_begins_anew():
    mixture = learned(GaussianMixture(3, random_state=0), BATCHES[:3])
    assert not hasattr(clone(mixture), "_statistics")


def test_labels_keep_the_names_of_the_first_call():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 600)
    rows = rng.normal(size=(600, 2)) + 5 * truth[:, None]
    names = np.where(rng.random(600) < 0.3, np.array(["lo", "hi"])[truth], None)
    mixture = GaussianMixture(2, random_state=0).partial_fit(rows[:200], labels=names[:200])
    assert mixture.classes_.tolist() == ["hi", "lo"]
    mixture.partial_fit(rows[200:], labels=names[200:])
    assert_allclose(mixture.means_, [[5, 5], [0, 0]], atol=0.4)
    before = pickle.dumps(mixture)
    with pytest.raises(ValueError, match=r"found 'mid' in row 0; expected the names .*'hi', 'lo'"):
        mixture.partial_fit(rows[:1], labels=["mid"])
    assert pickle.dumps(mixture) == before


@pytest.mark.parametrize("size", [1, 2, 5, 10])
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_batches_of_few_rows_have_regular_covariances(size, covariance_type):
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0)
    mixture.partial_fit(X[: 3 if size < 3 else size])
    for batch in np.array_split(X[10:400], 390 // size):
        mixture.partial_fit(batch)
        assert np.isfinite(mixture.lower_bound_)
        assert np.isfinite(mixture.precisions_).all() and np.isfinite(mixture.means_).all()


def test_many_rows_first_and_then_one_at_a_time():
    mixture = GaussianMixture(3, random_state=0).partial_fit(X[:2000])
    for row in X[2000:2300]:
        mixture.partial_fit(row[None])
    assert GaussianMixture(3, random_state=0).fit(X).score(X) - mixture.score(X) < 0.5


def test_rows_far_from_the_origin_and_float32():
    far = learned(GaussianMixture(3, random_state=0), [batch + 1e6 for batch in BATCHES])
    near = learned(GaussianMixture(3, random_state=0), BATCHES)
    assert_allclose(far.covariances_, near.covariances_, rtol=1e-3, atol=1e-3)
    single = learned(GaussianMixture(3, random_state=0), [b.astype(np.float32) for b in BATCHES])
    assert single.means_.dtype == np.float32
    assert_allclose(single.score(X), near.score(X), atol=1e-3)


def test_noise_missing_entries_and_weights():
    rng = np.random.default_rng(0)
    rows = np.where(rng.random(X.shape) < 0.1, np.nan, X)
    mixture = GaussianMixture(3, random_state=0, noise=True)
    for batch in np.array_split(rows, 20):
        mixture.partial_fit(batch, sample_weight=rng.uniform(0, 2, len(batch)))
    best = GaussianMixture(3, random_state=0, noise=True).fit(rows)
    assert abs(mixture.score(rows) - best.score(rows)) < 0.05


def test_draws_are_others_in_every_call():
    mixture = GaussianMixture(3, assignment="stochastic", random_state=0)
    learned(mixture, [X[:500]] * 4)
    assert len(set(mixture.lower_bounds_)) == 4


def mixed():
    return Mixture(3, [("size", Gaussian("diag"), [0, 1]), ("yes", Bernoulli(), [2])],
                   random_state=0)  # fmt: skip


@pytest.mark.parametrize(
    ("mixture", "rows"),
    [
        (BernoulliMixture(3, random_state=0), X > 0),
        (CategoricalMixture(3, random_state=0), (X > 0).astype(int)),
        (PoissonMixture(3, random_state=0), np.floor(np.abs(X))),
        (BinomialMixture(3, n_trials=40, random_state=0), np.floor(np.abs(X)) % 40),
        (ExponentialMixture(3, random_state=0), np.abs(X)),
        (mixed(), np.column_stack([X[:, :2], X[:, 2] > 0])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_mixture_learns(mixture, rows):
    batches = np.array_split(rows, 10)
    model = learned(clone(mixture), batches)
    best = clone(mixture).fit(rows)
    assert best.score(rows) - model.score(rows) < 0.05


def test_trials_of_every_row():
    rng = np.random.default_rng(0)
    trials = rng.integers(1, 30, 600)
    counts = rng.binomial(trials, np.where(rng.random(600) < 0.5, 0.2, 0.8))[:, None]
    mixture = BinomialMixture(2, random_state=0)
    for some in np.array_split(np.arange(600), 4):
        mixture.partial_fit(counts[some], n_trials=trials[some])
    assert_allclose(np.sort(mixture.probabilities_.ravel()), [0.2, 0.8], atol=0.05)
    statistics = mixture.summarize(counts, n_trials=trials)
    assert mixture.update(statistics).n_iter_ == 5


def test_sequences_and_targets():
    lengths = np.full(20, 20)
    hmm = GaussianHMM(3, random_state=0)
    for batch in np.array_split(X, 10):
        hmm.partial_fit(batch, lengths, sample_weight=np.ones(20))
    best = GaussianHMM(3, random_state=0).fit(X, np.full(200, 20))
    assert abs(hmm.score(X) - best.score(X)) / len(X) < 0.05
    regression = LinearRegressionMixture(2, random_state=0)
    sign = np.where(np.random.default_rng(0).random(4000) < 0.5, 1.0, -1.0)
    y = sign * X[:, 0] + 0.1 * X[:, 1]
    for some in np.array_split(np.arange(4000), 10):
        regression.partial_fit(X[some], y[some])
    assert_allclose(np.sort(regression.coef_[:, 0]), [-1, 1], atol=0.02)


def test_experts_have_statistics_but_no_batches():
    assert hasattr(MixtureOfExperts(), "summarize")
    assert not hasattr(MixtureOfExperts(), "partial_fit")


def test_nothing_is_changed_where_it_fails():
    mixture = GaussianMixture(3, random_state=0)
    with pytest.raises(ValueError, match="n_components = 3, n_samples = 2"):
        mixture.partial_fit(X[:2])
    assert not hasattr(mixture, "means_") and not hasattr(mixture, "n_features_in_")
    table = pd.DataFrame(X[:500], columns=["a", "b", "c"])
    mixture.partial_fit(table)
    before = pickle.dumps(mixture)
    for wrong, message in (
        (table[["a", "b"]], "feature names should match"),
        (table.rename(columns={"a": "z"}), "feature names should match"),
        (table.assign(a=np.inf), "infinity"),
    ):
        with pytest.raises(ValueError, match=message):
            mixture.partial_fit(wrong)
        assert pickle.dumps(mixture) == before
    with pytest.raises(ValueError, match="step_exponent"):
        mixture.set_params(step_exponent=0.4).partial_fit(table)


def test_another_number_of_components_is_refused():
    for model in (GaussianMixture(3, random_state=0), GaussianHMM(3, random_state=0)):
        model.partial_fit(X[:1000]).set_params(n_components=2)
        for go_on, given in ((model.partial_fit, X), (model.update, model.summarize(X))):
            with pytest.raises(ValueError, match="n_components: found 2, and a model of 3;"):
                go_on(given)
        assert model.n_iter_ == 1


def test_arguments_are_those_that_were_given():
    mixture = GaussianMixture(3, max_iter=7, accelerate=True, verbose=0, warm_start=True,
                              incremental=False)  # fmt: skip
    before = mixture.get_params()
    assert mixture.partial_fit(X).get_params() == before
    assert mixture.n_iter_ == 1


def test_rows_that_come_in_batches():
    class Rows:
        def __iter__(self):
            return iter(BATCHES)

    mixture = GaussianMixture(3, random_state=0).partial_fit(Rows()).partial_fit(Rows())
    other = GaussianMixture(3, random_state=0).partial_fit(X).partial_fit(X)
    assert_allclose(mixture.score(X), other.score(X), atol=1e-2)
