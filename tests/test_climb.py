"""Ridges that EM crawls along, and Newton's steps up them."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from emfast import GaussianMixture, em
from emfast.data import ArraySource, Batch
from emfast.emissions import Bernoulli, Gaussian, Poisson
from emfast.exceptions import (
    DegenerateComponentWarning,
    ImpossibleRowError,
    SingularComponentError,
)
from emfast.inputs.labels import Labels
from emfast.latent import MixtureWeights
from emfast.passes import Model
from emfast.problems.grid import GridProblem
from emfast.starts import climb, restarts


def overlapping(n_rows=40_000, distance=1.6, dtype="float64", seed=0):
    """Rows of two clusters, whose means are so many standard deviations apart."""
    rng = np.random.default_rng(seed)
    members = rng.random(n_rows) < 0.4
    X = rng.normal(size=(n_rows, 2))
    X[members, 0] += distance
    return X.astype(dtype), members


def gaussians(X, covariance_type="diag", latent=None, **known):
    latent = MixtureWeights() if latent is None else latent
    return GridProblem(latent, Gaussian(covariance_type), ArraySource(Batch(X, **known)), 1)


def of_means(problem, means, weights=None):
    """A model of unit variances."""
    K = len(means)
    covariances = problem.emission.structure.of_variances(np.ones(2), K)
    weights = np.full(K, 1 / K) if weights is None else np.array(weights)
    return Model(weights, problem.emission.parameters(np.array(means, float), covariances))


def part_of(problem, n_rows=10_000):
    return problem.on(problem.source.batch.take(np.arange(n_rows)))


def objective(problem, model):
    return problem.objective(problem.estep(model), model)


def maximum(problem, model):
    """What EM reaches if it has all the time it needs."""
    run = em.maximize(problem, model, tol=1e-11, max_iter=20_000, accelerate=True)
    assert run.converged
    return run.objective


def climbed(problem, parts, model):
    """Where the steps end."""
    return places(problem, parts, model)[-1].model


def places(problem, parts, model):
    """Where the steps lead from one model alone."""
    return [place for _, place in climb.side_by_side(problem, parts, [model])]


def ended(generator):
    """What a generator that asks nothing ends with."""
    with pytest.raises(StopIteration) as end:
        next(generator)
    return end.value.value


@pytest.fixture
def passes(monkeypatch):
    """The rows of each pass."""
    seen, estep = [], GridProblem.estep

    def counted(self, model):
        seen.append(self.source.n_rows)
        return estep(self, model)

    monkeypatch.setattr(GridProblem, "estep", counted)
    return seen


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_few_passes_lead_up_a_ridge(covariance_type, passes):
    problem = gaussians(overlapping()[0], covariance_type)
    begin = em.maximize(problem, of_means(problem, [[0, 0], [1, 0]]), tol=0, max_iter=10).model
    best = maximum(problem, begin)
    crawled = em.maximize(problem, begin, tol=0, max_iter=30).objective
    passes.clear()
    found = climbed(problem, [part_of(problem)], begin)
    assert passes.count(40_000) <= 30
    reached = objective(problem, found)
    assert reached > best - 3e-5
    assert best - crawled > 5 * (best - reached)


def test_it_leads_up_in_single_precision():
    problem = gaussians(overlapping(dtype="float32")[0])
    begin = em.maximize(problem, of_means(problem, [[0, 0], [1, 0]]), tol=0, max_iter=10).model
    found = climbed(problem, [part_of(problem)], begin)
    assert objective(problem, found) > maximum(problem, begin) - 2e-5


def test_a_saddle_is_left_upwards():
    """Newton's step would lead back to two components that are the same."""
    problem = gaussians(overlapping(distance=4.0)[0])
    middle, spread = problem.source.batch.X.mean(axis=0), np.array([0.02, 0.0])
    near = of_means(problem, [middle - spread, middle + spread])
    saddle = em.maximize(problem, near, tol=0, max_iter=3).model
    best = maximum(problem, of_means(problem, [[0, 0], [4, 0]]))
    assert objective(problem, saddle) < best - 0.05
    found = climbed(problem, [part_of(problem)], saddle)
    assert objective(problem, found) == pytest.approx(best, abs=1e-5)


def test_at_a_maximum_it_ends_after_one_step(passes):
    problem = gaussians(overlapping()[0])
    begin = of_means(problem, [[0, 0], [1.6, 0]], [0.6, 0.4])
    best = em.maximize(problem, begin, tol=1e-12, max_iter=20_000, accelerate=True)
    passes.clear()
    found = climbed(problem, [part_of(problem)], best.model)
    assert passes.count(40_000) <= 8
    assert objective(problem, found) == pytest.approx(best.objective, abs=1e-10)


@pytest.mark.parametrize("emission", [Bernoulli(), Poisson()], ids=["bernoulli", "poisson"])
def test_other_families_climb_too(emission):
    rng = np.random.default_rng(0)
    truth = np.array([np.linspace(0.2, 0.6, 6), np.linspace(0.6, 0.2, 6)])
    shape = 20_000, 6
    members = rng.integers(2, size=shape[0])
    if isinstance(emission, Bernoulli):
        X = (rng.random(shape) < truth[members]).astype(np.uint8)
    else:
        X = rng.poisson(truth[members]).astype(float)
    problem = GridProblem(MixtureWeights(), emission, ArraySource(Batch(X)), 1)
    begin = Model(np.full(2, 0.5), emission.made(0.4 + 0.3 * (truth - 0.4)))
    crawled = em.maximize(problem, begin, tol=0, max_iter=5).objective
    found = climbed(problem, [part_of(problem)], begin)
    best = maximum(problem, Model(np.full(2, 0.5), emission.made(truth)))
    assert objective(problem, found) > best - 3e-5 > crawled


def test_weights_labels_and_missing_values_count():
    X, members = overlapping()
    rng = np.random.default_rng(1)
    X[rng.random(X.shape) < 0.1] = np.nan
    labels = np.where(rng.random(len(X)) < 0.02, members, -1).astype(np.int32)
    known = {"weights": rng.uniform(0.5, 2, len(X)), "labels": Labels(component=labels)}
    problem = gaussians(X, "full", missing=True, **known)
    begin = em.maximize(problem, of_means(problem, [[0, 0], [1, 0]]), tol=0, max_iter=5).model
    found = climbed(problem, [part_of(problem)], begin)
    assert objective(problem, found) > maximum(problem, begin) - 3e-5


def test_what_is_known_stays():
    X, _ = overlapping()
    problem = gaussians(X, latent=MixtureWeights(fixed=("weights",)))
    begin = of_means(problem, [[0, 0], [1, 0]], [0.7, 0.3])
    found = climbed(problem, [part_of(problem)], begin)
    assert_allclose(found.latent, [0.7, 0.3], rtol=1e-12)
    assert objective(problem, found) > objective(problem, begin)


def test_it_stays_without_parts():
    problem = gaussians(overlapping()[0])
    model = of_means(problem, [[0, 0], [1, 0]])
    assert climbed(problem, [], model) is model


def test_it_keeps_away_from_degenerate_components():
    problem = gaussians(overlapping()[0], "spherical")
    X = problem.source.batch.X
    covariances = problem.emission.structure.of_variances(np.ones(2), 2)
    covariances[1] = 1e-8
    parameters = problem.emission.parameters(np.array([[0.5, 0.0], X[0]]), covariances)
    model = Model(np.array([1 - 1e-4, 1e-4]), parameters)
    assert problem.degenerate(problem.estep(model), model) == [1]
    assert climbed(problem, [part_of(problem)], model) is model


@pytest.mark.parametrize("error", [SingularComponentError("singular", (0,)), ImpossibleRowError()])
@pytest.mark.parametrize("method", ["estep", "mstep"])
def test_where_it_fails_the_model_stays(method, error, monkeypatch):
    problem = gaussians(overlapping()[0])
    model = of_means(problem, [[0, 0], [1, 0]])

    def fail(*_):
        raise error

    part = part_of(problem)
    monkeypatch.setattr(GridProblem, method, fail)
    assert climbed(problem, [part], model) is model


def test_coordinates_out_of_range_are_no_step(monkeypatch):
    problem = gaussians(overlapping()[0])
    model, displaced = of_means(problem, [[0, 0], [1, 0]]), GridProblem.displaced

    def out_of_range(self, displacement, reference):
        """Only changes as small as those that show directions are in range."""
        far = np.abs(displacement).max() > 1e-3
        return None if far else displaced(self, displacement, reference)

    monkeypatch.setattr(GridProblem, "displaced", out_of_range)
    assert climbed(problem, [part_of(problem)], model) is model


def test_a_part_of_more_rows_follows_a_step_that_has_led_down(monkeypatch):
    problem = gaussians(overlapping()[0])
    asked, directions = [], climb._directions

    def of_part(problem, part, place):
        asked.append(part.source.n_rows)
        found = yield from directions(problem, part, place)
        # The first leads far beyond the maximum.
        return found._replace(eigenvalues=0.1 * found.eigenvalues) if len(asked) == 1 else found

    monkeypatch.setattr(climb, "_directions", of_part)
    parts = [part_of(problem, n) for n in (10_000, 20_000)]
    climbed(problem, parts, of_means(problem, [[0, 0], [1.5, 0]], [0.6, 0.4]))
    assert asked[0] == 10_000
    assert set(asked[1:]) == {20_000}


def images(A, asked=None):
    """The product with a matrix, as steps ask for it."""

    def product(v):
        yield from ()
        if asked is not None:
            asked.append(v)
        return A @ v

    return product


def test_directions_divide_a_step_by_a_symmetric_matrix():
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    eigenvalues = np.array([1.0, 0.5, 0.2, 0.1, 0.02, 0.01, -0.05, -0.3])
    A, step = axes * eigenvalues @ axes.T, axes @ np.ones(8)
    directions = ended(climb._arnoldi(images(A), step))
    assert_allclose(directions.vectors @ directions.shares @ directions.basis, step, rtol=1e-8)
    # All but what the tolerance leaves; the modulus of negative eigenvalues.
    found = np.sort(directions.eigenvalues.real)
    assert_allclose(found, np.sort(eigenvalues), atol=1e-6)
    expected = axes / np.maximum(np.abs(eigenvalues), 1 / 50) @ np.ones(8)
    assert_allclose(directions.stretched(50.0), expected, rtol=1e-5)
    # EM's step, not stretched.
    assert_allclose(directions.stretched(1.0), step, rtol=1e-8)


def test_directions_end_where_a_step_is_explained():
    step = np.array([1.0, 2.0, 0.0, 0.0])
    calls = []
    directions = ended(climb._arnoldi(images(0.25 * np.eye(4), calls), step))
    assert len(calls) == 1
    assert_allclose(directions.stretched(100.0), 4 * step)


def test_parts_are_large_and_not_scarce():
    problem = gaussians(np.vstack([overlapping()[0]] * 2))
    parts = [part_of(problem, n) for n in (500, 9_950, 20_000, 30_000)]
    assert climb.parts_for(problem, parts, 2) == parts[1:3]
    assert climb.parts_for(problem, parts[:1], 2) == parts[:1]
    assert climb.parts_for(problem, [part_of(problem, 50)], 2) == []
    assert climb.parts_for(problem, [], 2) == []
    hard = replace(problem, latent=MixtureWeights(assignment="hard"))
    assert climb.parts_for(hard, parts, 2) == []


def three_clusters(n_rows=60_000):
    """Rows of three clusters, the third far from the other two, which overlap."""
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [2.0, 0.0], [8.0, 0.0]])
    return centres[rng.integers(3, size=n_rows)] + rng.normal(size=(n_rows, 2))


def test_side_by_side_each_goes_where_it_goes_alone():
    problem = gaussians(overlapping()[0])
    models = [of_means(problem, [[0, 0], [1, 0]]), of_means(problem, [[0, 0], [1.2, 0.1]])]
    parts = [part_of(problem)]
    found = [[], []]
    for i, place in climb.side_by_side(problem, parts, models):
        found[i].append(place.objective)
    for model, objectives in zip(models, found, strict=True):
        alone = [place.objective for place in places(problem, parts, model)]
        assert_allclose(objectives, alone, rtol=1e-9)
        assert len(alone) > 2


def test_what_several_ask_of_a_part_one_pass_answers(monkeypatch):
    problem, iterate_each = gaussians(overlapping()[0]), climb.iterate_each
    models = [of_means(problem, [[0, 0], [1 + 0.1 * i, 0]]) for i in range(3)]
    asked = []

    def counted(part, models):
        asked.append(len(models))
        return iterate_each(part, models)

    monkeypatch.setattr(climb, "iterate_each", counted)
    parts = [part_of(problem)]
    assert [i for i, _ in climb.side_by_side(problem, parts, models)][:6] == [0, 1, 2] * 2
    # Until the first of them has its directions.
    assert asked[:4] == [3] * 4


def test_the_better_half_goes_on_after_a_step():
    problem = gaussians(overlapping()[0])
    models = [of_means(problem, [[0, 0], [0.6 + 0.2 * i, 0]]) for i in range(6)]
    steps, objectives = [0] * 6, [0.0] * 6
    after_one = {}
    for i, place in climb.side_by_side(problem, [part_of(problem)], models):
        steps[i] += 1
        objectives[i] = place.objective
        if steps[i] == 2:
            after_one[i] = place.objective
    assert len(after_one) == 6
    best = sorted(after_one, key=after_one.get, reverse=True)
    going_on = {i for i in range(6) if steps[i] > 2}
    assert going_on
    assert going_on <= set(best[:3])
    assert sum(n > 3 for n in steps) <= 2


def test_a_part_that_one_cannot_iterate_on_leaves_the_others(monkeypatch):
    problem, iterate_each = gaussians(overlapping()[0]), climb.iterate_each
    models = [of_means(problem, [[0, 0], [1 + 0.1 * i, 0]]) for i in range(2)]

    def first_fails(part, asked):
        found = iterate_each(part, asked)
        return [SingularComponentError("singular", (0,)), *found[1:]] if len(asked) == 2 else found

    monkeypatch.setattr(climb, "iterate_each", first_fails)
    found = [i for i, _ in climb.side_by_side(problem, [part_of(problem)], models)]
    assert found.count(0) == 1
    assert found.count(1) > 2


@pytest.mark.parametrize("n_models", [1, 2])
def test_a_part_on_which_algebra_fails_says_nothing(n_models, monkeypatch):
    problem, mstep = gaussians(overlapping()[0]), GridProblem.mstep
    models = [of_means(problem, [[0, 0], [1 + 0.1 * i, 0]]) for i in range(n_models)]

    def fails(self, statistics, model):
        if self.source.n_rows < 40_000:
            raise np.linalg.LinAlgError
        return mstep(self, statistics, model)

    monkeypatch.setattr(GridProblem, "mstep", fails)
    found = climb.side_by_side(problem, [part_of(problem)], models)
    assert [i for i, _ in found] == [*range(n_models)]


def test_the_lower_one_ends_once_it_gains_too_little():
    """Two components on the far cluster: a local maximum."""
    problem = gaussians(three_clusters(), "spherical")
    parts = [part_of(problem)]
    good = of_means(problem, [[0, 0], [1.5, 0], [8, 0]])
    bad = of_means(problem, [[1, 0], [7, 0], [9, 0]])
    alone = len(places(problem, parts, bad))
    found = [i for i, _ in climb.side_by_side(problem, parts, [bad, good])]
    assert found.count(1) == len(places(problem, parts, good))
    assert 2 <= found.count(0) < alone


def test_rows_that_one_rules_out_leave_the_others(monkeypatch):
    problem, estep = gaussians(overlapping()[0]), GridProblem.estep
    models = [of_means(problem, [[0, 0], [1, 0]]), of_means(problem, [[0, 0], [1.2, 0.1]])]

    def rules_out(self, model):
        if model is models[0]:
            raise ImpossibleRowError()
        return estep(self, model)

    monkeypatch.setattr(GridProblem, "estep", rules_out)
    found = [*climb.side_by_side(problem, [part_of(problem)], models)]
    (place,) = [place for i, place in found if i == 0]
    assert (place.statistics, place.objective) == (None, -np.inf)
    assert [i for i, _ in found].count(1) > 2


def test_an_unsound_model_holds_no_other_back(monkeypatch):
    """Likelihood that a degenerate component owes to few rows is no sign of a higher maximum."""
    problem, faulty = gaussians(overlapping()[0]), GridProblem.faulty
    models = [of_means(problem, [[0, 0], [distance, 0]]) for distance in (1, 2)]
    measured = climb.measured

    def only_the_first_is_sound(self, statistics, model):
        return [1] if model is models[1] else faulty(self, statistics, model)

    def the_other_is_high(problem, model):
        statistics, found = measured(problem, model)
        return statistics, 0.0 if model is models[1] else found

    monkeypatch.setattr(GridProblem, "faulty", only_the_first_is_sound)
    monkeypatch.setattr(climb, "measured", the_other_is_high)
    parts = [part_of(problem)]
    alone = len(places(problem, parts, models[0]))
    found = [i for i, _ in climb.side_by_side(problem, parts, models)]
    assert (found.count(0), found.count(1)) == (alone, 1)
    assert alone > 2


@pytest.mark.parametrize("how", [{"incremental": True}, {"assignment": "stochastic"}])
@pytest.mark.parametrize("n_init", [1, 4])
def test_drivers_of_another_kind_take_an_e_step_of_their_own(how, n_init, monkeypatch):
    X, _ = overlapping(60_000)
    given, maximize = [], em.maximize

    def seen(problem, model, **options):
        if "statistics" in options:
            given.append(options["statistics"])
        return maximize(problem, model, **options)

    monkeypatch.setattr(em, "maximize", seen)
    model = GaussianMixture(2, random_state=0, n_init=n_init, max_iter=3, tol=0, **how)
    model.fit(X)
    assert given == [None]


def test_em_begins_from_what_the_steps_have_seen(monkeypatch):
    """Each model is measured on all rows once."""
    X, _ = overlapping(60_000)
    seen, estep = [], GridProblem.estep

    def measured(self, model):
        if self.source.n_rows == len(X):
            seen.append(model)
        return estep(self, model)

    monkeypatch.setattr(GridProblem, "estep", measured)
    GaussianMixture(2, covariance_type="diag", random_state=0, max_iter=3, tol=0).fit(X)
    assert len({id(model) for model in seen}) == len(seen)
    assert len(seen) > 4


def test_no_step_is_measured_twice(passes):
    """Of one component EM's step is Newton's, whatever the limit."""
    problem = gaussians(overlapping()[0])
    one = em.maximize(problem, of_means(problem, [[0, 0]]), tol=0, max_iter=2).model
    passes.clear()
    climbed(problem, [part_of(problem)], one)
    assert passes.count(40_000) <= 3


def test_a_component_that_a_part_lacks_is_left_to_a_larger_one():
    """Heavy tails: few rows are far out, and of those the part has none."""
    X, _ = overlapping()
    X[-400:] += 1000
    problem = gaussians(X)
    begin = of_means(problem, [[0, 0], [1, 0], [1000, 1000]])
    begin = em.maximize(problem, begin, tol=0, max_iter=10).model
    without, some = part_of(problem), problem.on(problem.source.batch.take(np.arange(0, 40_000, 2)))
    assert climbed(problem, [without], begin) is begin
    found = climbed(problem, [without, some], begin)
    assert objective(problem, found) > maximum(problem, begin) - 3e-5


@pytest.mark.parametrize("seed", [10, 18, 35, 57])
def test_fits_do_not_end_degenerate_for_it(seed, monkeypatch):
    """Whole numbers: the likelihood of a component on one of them has no bound."""
    rng = np.random.default_rng(seed)
    X = rng.poisson(rng.uniform(0.3, 3, 2), (45_000, 2)).astype(float)
    model = GaussianMixture(4, covariance_type="diag", random_state=0)
    assert clone(model).fit(X).restarts_[0].degenerate == []
    # From where the steps lead EM goes on to such components, and is run from before them.
    sound_run = restarts._sound_run
    monkeypatch.setattr(
        restarts,
        "_sound_run",
        lambda problem, run, starter: sound_run(problem, replace(run, before=None), starter),
    )
    with pytest.warns(DegenerateComponentWarning):
        model.fit(X)


@pytest.mark.parametrize("settings", [{}, {"n_init": 4}, {"n_init": 2, "restarts": "full"}])
def test_default_fits_end_at_a_maximum(settings):
    X, _ = overlapping(60_000)
    mixture = GaussianMixture(2, random_state=0, **settings).fit(X)
    score = mixture.score(X)
    mixture.set_params(warm_start=True, n_init=1, tol=1e-11, max_iter=20_000, accelerate=True)
    assert score > mixture.fit(X).score(X) - 3e-5
