"""Local maxima that EM cannot leave, and where splits and removals lead from them."""

import itertools
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from emfast import GaussianMixture, em
from emfast.data import ArraySource, Batch
from emfast.emissions import Bernoulli, Gaussian, Poisson
from emfast.exceptions import SingularComponentError
from emfast.inputs.labels import Labels
from emfast.latent import MixtureWeights
from emfast.passes import Model
from emfast.problems.grid import GridProblem
from emfast.starts import splits

CENTRES = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0], [6.0, 6.0]])


def clusters(n_rows, dtype="float64"):
    """Rows of four clusters, and the cluster of each."""
    rng = np.random.default_rng(0)
    members = rng.integers(4, size=n_rows)
    return (CENTRES[members] + rng.normal(size=(n_rows, 2))).astype(dtype), members


def gaussians(covariance_type, X, weights=None):
    emission = Gaussian(covariance_type)
    return GridProblem(MixtureWeights(), emission, ArraySource(Batch(X, weights)), 1)


def at(problem, means):
    """Where EM ends from Gaussians of variance 1 with these means."""
    covariances = problem.emission.structure.of_variances(np.ones(2), len(means))
    parameters = problem.emission.parameters(np.array(means, float), covariances)
    model = Model(np.full(len(means), 1 / len(means)), parameters)
    return em.maximize(problem, model, tol=1e-7, max_iter=200)


# One component has two clusters, and two components share one.
STUCK = ((-0.5, 0.0), (0.5, 0.0), (0.0, 6.0), (6.0, 3.0))


def moved(problem, model, seed=0):
    return splits.moved(problem, model, np.random.RandomState(seed))


def reached(problem, model):
    """What EM reaches on all rows from a model; moves have seen some of them."""
    return em.maximize(problem, model, tol=1e-7, max_iter=200).objective


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_a_local_maximum_is_left(covariance_type, seed):
    problem = gaussians(covariance_type, clusters(4000)[0])
    stuck, best = at(problem, STUCK), at(problem, CENTRES)
    assert stuck.objective < best.objective - 0.1
    found = moved(problem, stuck.model, seed)
    assert reached(problem, found) == pytest.approx(best.objective, abs=1e-4)


def test_it_is_left_in_single_precision():
    problem = gaussians("diag", clusters(4000, "float32")[0])
    found = moved(problem, at(problem, STUCK).model)
    best = at(problem, CENTRES)
    assert reached(problem, found) == pytest.approx(best.objective, abs=1e-3)


def test_the_best_maximum_is_not_left():
    problem = gaussians("diag", clusters(4000)[0])
    best = at(problem, CENTRES)
    found = moved(problem, best.model)
    assert reached(problem, found) == pytest.approx(best.objective, abs=1e-6)
    distances = np.abs(found.emission.means - best.model.emission.means)
    assert distances.max() < 1e-2


def test_two_moves_follow_each_other():
    rng = np.random.default_rng(1)
    centres = 8.0 * np.array([[x, y] for x in range(3) for y in range(2)])
    X = centres[rng.integers(6, size=6000)] + rng.normal(size=(6000, 2))
    problem = gaussians("full", X)
    # Two clusters have two components each, and two components two clusters each.
    means = [[-0.5, 0], [0.5, 0], [-0.5, 8], [0.5, 8], [8, 4], [16, 4]]
    stuck, best = at(problem, means), at(problem, centres)
    assert stuck.objective < best.objective - 0.1
    found = moved(problem, stuck.model)
    assert reached(problem, found) == pytest.approx(best.objective, abs=1e-4)


def test_rows_of_no_weight_may_hold_anything():
    X, _ = clusters(4000)
    weights = np.ones(5000)
    weights[4000:] = 0
    far = np.full((1000, 2), 1e200)
    problem = gaussians("diag", np.vstack([X, far]), weights)
    alone = gaussians("diag", X)
    found = moved(problem, at(alone, STUCK).model)
    assert reached(alone, found) == pytest.approx(at(alone, CENTRES).objective, abs=1e-4)


def test_weights_count_as_repeated_rows_do():
    X, members = clusters(4000)
    # The cluster that two components share is hardly there: one of them is worth more elsewhere.
    weights = np.where(members == 0, 0.01, 1.0)
    problem = gaussians("diag", X, weights)
    best = at(problem, CENTRES)
    found = moved(problem, at(problem, STUCK).model)
    assert reached(problem, found) > best.objective - 1e-4


@pytest.mark.parametrize("family", ["bernoulli", "poisson"])
def test_other_families_move_too(family):
    rng = np.random.default_rng(0)
    members = rng.integers(4, size=6000)
    # Every cluster has features of its own.
    high = np.kron(np.eye(4), np.ones((1, 6)))
    if family == "bernoulli":
        emission, truth = Bernoulli(), 0.1 + 0.8 * high
        X = (rng.random((6000, 24)) < truth[members]).astype(np.uint8)
    else:
        emission, truth = Poisson(), 0.5 + 4 * high
        X = rng.poisson(truth[members]).astype(float)
    problem = GridProblem(MixtureWeights(), emission, ArraySource(Batch(X)), 1)

    def run(values):
        model = Model(np.full(4, 0.25), emission.made(values))
        return em.maximize(problem, model, tol=1e-7, max_iter=200)

    shared = truth[[0, 0, 1, 2]].copy()
    shared[0, 0] += 0.05
    shared[3] = 0.5 * (truth[2] + truth[3])
    stuck, best = run(shared), run(truth)
    assert stuck.objective < best.objective - 0.1
    found = moved(problem, stuck.model)
    assert reached(problem, found) == pytest.approx(best.objective, abs=1e-4)


def test_what_is_known_of_components_forbids_moves():
    X, members = clusters(4000)
    problem = gaussians("diag", X)
    model = at(problem, STUCK).model
    labels = Labels(component=np.where(members == 0, 0, -1).astype(np.int32))
    labelled = problem.source.of(Batch(X, labels=labels))
    assert moved(replace(problem, source=labelled), model) is model
    fixed = replace(problem, emission=Gaussian("diag", fixed=("means",)))
    assert moved(fixed, model) is model


def test_two_components_and_few_rows_do_not_move():
    problem = gaussians("full", clusters(4000)[0])
    two = at(problem, CENTRES[:2])
    assert moved(problem, two.model) is two.model
    few = gaussians("full", clusters(100)[0])
    model = at(few, STUCK).model
    assert moved(few, model) is model


def test_rows_in_a_pattern_do_not_mislead():
    """Every second row of these is of two clusters only."""
    X = CENTRES[np.arange(20_000) % 4] + np.random.default_rng(0).normal(size=(20_000, 2))
    problem = gaussians("diag", X)
    found = moved(problem, at(problem, STUCK).model)
    assert reached(problem, found) == pytest.approx(at(problem, CENTRES).objective, abs=1e-3)


def test_all_rows_have_the_last_word(monkeypatch):
    """What is better on those that are drawn may be worse."""
    problem = gaussians("diag", clusters(20_000)[0])
    best, stuck = at(problem, CENTRES).model, at(problem, STUCK)
    monkeypatch.setattr(splits, "_better", lambda *_: stuck)
    assert moved(problem, best) is best


def test_pairs_that_promise_far_too_little_are_not_run(monkeypatch):
    problem = gaussians("diag", clusters(4000)[0])
    stuck = at(problem, STUCK)
    assert splits._better(problem, stuck, np.random.RandomState(0), 6) is not None
    monkeypatch.setattr(splits, "LEAST_PROMISE", 10.0)
    assert splits._moves(problem, stuck.model, np.random.RandomState(0), 6) == []
    assert splits._better(problem, stuck, np.random.RandomState(0), 6) is None


@pytest.mark.parametrize("where", ["_settled", "_better", "carried_over"])
def test_what_fails_leaves_the_model_as_it_is(where, monkeypatch):
    problem = gaussians("diag", clusters(4000)[0])
    model = at(problem, STUCK).model

    def fail(*_):
        raise SingularComponentError("singular", (0,))

    monkeypatch.setattr(splits, where, fail)
    assert moved(problem, model) is model


def test_components_on_few_rows_are_moved_where_they_explain_more():
    X, _ = clusters(4000)
    problem = gaussians("spherical", X)
    # Two components have two rows each, and two have two clusters each.
    means = np.array([X[0], X[1], [0.0, 3.0], [6.0, 3.0]])
    covariances = problem.emission.structure.of_variances(np.full(2, 4.0), 4)
    covariances[:2] = 1e-4
    model = Model(
        np.array([5e-4, 5e-4, 0.4995, 0.4995]), problem.emission.parameters(means, covariances)
    )
    assert problem.degenerate(problem.estep(model), model) == [0, 1]
    found = moved(problem, model)
    assert reached(problem, found) == pytest.approx(at(problem, CENTRES).objective, abs=1e-3)


def test_fits_at_once_leave_the_filters_of_warnings_alone():
    X = np.vstack([clusters(4000)[0] for _ in range(12)])
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: GaussianMixture(4, random_state=seed).fit(X), range(8)))
    assert warnings.filters == before


def test_what_a_removal_loses_is_measured_once_the_others_have_moved():
    problem = gaussians("diag", clusters(4000)[0])
    # Each of two components has half of a cluster, as if the other were nowhere near.
    halves = problem.emission.parameters(
        np.array([[-0.8, 0], [0.8, 0], [0, 6], [6, 3]]),
        np.array([[0.4, 1], [0.4, 1], [1, 1], [1, 10]]),
    )
    model = Model(np.full(4, 0.25), halves)
    objective = em.maximize(problem, model, max_iter=0).objective
    removals = splits._removals(problem, model, np.arange(4), objective)
    assert [removal.component for removal in removals] == [0, 1, 2, 3]
    for removal in removals:
        rest = np.delete(np.arange(4), removal.component)
        weights = model.latent[rest] / model.latent[rest].sum()
        kept = Model(weights, problem.emission.of_components(halves, rest))
        unmoved = objective - em.maximize(problem, kept, max_iter=0).objective
        assert removal.loss < unmoved
        assert len(removal.model.latent) == 3
    # One of the two can do what both did, and nearly at once.
    assert max(removals[k].loss for k in (0, 1)) < 0.01


@pytest.mark.parametrize(("split", "removed"), list(itertools.permutations(range(4), 2)))
def test_a_move_removes_one_component_and_splits_another(split, removed):
    problem = gaussians("diag", clusters(400)[0])

    def model_of(means, weights):
        variances = np.ones((len(means), 2))
        return Model(np.array(weights), problem.emission.parameters(np.array(means), variances))

    weights = np.array([0.1, 0.2, 0.3, 0.4])
    rest = np.delete(np.arange(4), removed)
    others = model_of(CENTRES[rest], weights[rest] / weights[rest].sum())
    halves = model_of(np.repeat(CENTRES, 2, axis=0) + [[0, -1], [0, 1]] * 4, [0.05, 0.2] * 4)
    found = splits._move(problem, splits.Removal(removed, others, 0.0), halves, split)
    neither = np.delete(np.arange(4), [split, removed])
    expected = [*CENTRES[neither], CENTRES[split] + [0, -1], CENTRES[split] + [0, 1]]
    np.testing.assert_array_equal(found.emission.means, expected)
    parts = [*weights[neither], 0.2 * weights[split], 0.8 * weights[split]]
    np.testing.assert_allclose(found.latent, np.array(parts) / weights[rest].sum())


def test_a_removal_that_rules_rows_out_fails_alone():
    """Nobody else can explain rows whose squares no number can hold."""
    X, _ = clusters(4000)
    X[-400:] = 1e170
    problem = gaussians("spherical", X)
    means = np.vstack([CENTRES[:3], [[1e170, 1e170]]])
    model = Model(np.full(4, 0.25), problem.emission.parameters(means, np.ones(4)))
    removals = splits._removals(problem, model, np.arange(4), 0.0)
    assert [removal.component for removal in removals] == [0, 1, 2]
