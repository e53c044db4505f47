"""Law 3 of incremental EM: a sweep over blocks of rows never lowers the bound."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chains import chain_case, chain_problem, possible_labels, ragged, random_chain
from emfast import em
from emfast.inputs.labels import Labels
from emfast.latent import MixtureWeights
from emfast.parts.known import Known
from emfast.passes import Model
from emfast.problems import incremental
from emfast.problems.incremental import IncrementalProblem
from families import (
    FAMILIES,
    LABELS,
    Shape,
    another_model,
    assert_same_bits,
    over,
    over_families,
    problem,
    random_labels,
    setting,
    shapes_for_fits,
)

ROUNDING = {"float64": 1e-12, "float32": 4e-6}
SHAPE = Shape(600, 2, 2, 5)

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture(scope="module")
def small_blocks():
    """Blocks as of many rows: not less than they are, and of any size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental, "LEAST_ROWS", 8)
        yield


def blocks_of(steps):
    return len(steps._blocks)


@over_families
@pytest.mark.parametrize("regular", [1e-6, 1e-2])
@pytest.mark.parametrize("known", LABELS)
@settings(max_examples=4)
@given(shape=shapes_for_fits())
def test_no_sweep_lowers_the_bound_which_is_one(family, precision, known, regular, shape):
    case = setting(family, precision, shape)
    rng = shape.rng()
    batch = problem(
        family,
        case.X,
        weights=rng.uniform(0, 2, shape.n),
        labels=random_labels(known, rng, shape.n, case.K),
        regular=regular,
    )
    steps = IncrementalProblem(batch)
    model = another_model(family, shape)
    statistics = steps.estep(model)
    objective = steps.objective(statistics, model)
    rounding = ROUNDING[precision]
    # A visit of all blocks is an E-step of all rows.
    exact = batch.objective(batch.estep(model), model)
    np.testing.assert_allclose(objective, exact, rtol=10 * rounding, atol=10 * rounding)
    for _ in range(4):
        model = steps.mstep(statistics, model)
        statistics = steps.estep(model)
        before, objective = objective, steps.objective(statistics, model)
        allowed = rounding * (1 + abs(objective))
        slack = (blocks_of(steps) + 1) * family.fall(model.emission, model.latent, regular)
        assert objective >= before - allowed - slack
        exact = batch.objective(batch.estep(model), model)
        assert objective <= exact + 10 * allowed
    assert blocks_of(steps) > 20


@over_families
@settings(max_examples=3)
@given(shape=shapes_for_fits(), hard=st.booleans())
def test_known_groups_stay_and_hard_assignment_climbs(family, precision, shape, hard):
    case, start = setting(family, precision, shape), another_model(family, shape)
    latent = MixtureWeights(assignment="hard" if hard else "soft")
    for group in ("weights", *family.named(start.emission)):
        batch = replace(problem(family, case.X), latent=latent)
        if group == "weights":
            own = MixtureWeights(fixed={"weights"}, assignment=latent.assignment)
            batch = replace(batch, latent=own)
        else:
            batch.emission.fixed = Known({group})
        # A fall beyond what the slack explains is a warning, which is an error here.
        model = em.maximize(IncrementalProblem(batch), start, tol=0, max_iter=3).model
        known = {"weights": model.latent, **family.named(model.emission)}[group]
        before = {"weights": start.latent, **family.named(start.emission)}[group]
        np.testing.assert_array_equal(known, before, err_msg=group)


@over_families
@pytest.mark.parametrize("assignment", ["soft", "hard"])
@pytest.mark.parametrize("known", LABELS)
def test_sequences(family, precision, assignment, known):
    rng = np.random.default_rng(3)
    case = chain_case(family, precision, 3, 2, ragged(rng, 60, 12), seed=4)
    weights, labels = rng.uniform(0.1, 2, 60), possible_labels(known, rng, case)
    batch = chain_problem(case, weights=weights, labels=labels, assignment=assignment)
    steps = IncrementalProblem(batch)
    trace = em.maximize(steps, case.model, tol=0, max_iter=4)
    allowed = ROUNDING[precision] * (1 + np.abs(trace.objectives))
    shares = batch.latent.weights(trace.model.latent)
    slack = (blocks_of(steps) + 1) * family.fall(trace.model.emission, shares, 1e-3)
    assert np.all(np.diff(trace.objectives) >= -allowed[1:] - slack)
    exact = batch.objective(batch.estep(trace.model), trace.model)
    assert trace.objective <= exact + 10 * allowed[-1]
    assert blocks_of(steps) > 20


def expected(steps, statistics, model):
    """Q of a model, by the latent structure and the emission."""
    return steps.latent.expected_log_density(
        statistics.latent, model.latent
    ) + steps.emission.expected_log_density(statistics.emission, model.emission)


def assert_differs_by_a_constant(steps, models, precision):
    """Log-likelihoods of rows whose components are known, and Q, whatever its statistics are of."""
    statistics = [steps.estep(model) for model in models]
    gaps = [
        [theirs.log_likelihood - expected(steps, of, model) for of in statistics]
        for theirs, model in zip(statistics, models, strict=True)
    ]
    size = max(abs(of.log_likelihood) for of in statistics)
    assert np.ptp(gaps) <= {"float64": 1e-10, "float32": 3e-5}[precision] * size


# Elsewhere there is more that is not known than components.
with_known_moments = over([family for family in FAMILIES if family.closed_form])


@with_known_moments
@given(shape=shapes_for_fits())
@settings(max_examples=5)
def test_what_is_expected_of_labelled_rows_is_their_log_likelihood(family, precision, shape):
    case, rng = setting(family, precision, shape), shape.rng()
    labels = Labels(component=case.components.astype(np.int32))
    steps = problem(family, case.X, weights=rng.uniform(0, 2, shape.n), labels=labels)
    assert_differs_by_a_constant(steps, [case.model, another_model(family, shape)], precision)


@with_known_moments
def test_so_it_is_of_labelled_sequences(family, precision):
    rng = np.random.default_rng(3)
    case = chain_case(family, precision, 3, 2, ragged(rng, 60, 12), seed=4)
    labels = Labels(component=case.states.astype(np.int32))
    steps = chain_problem(case, weights=rng.uniform(0, 2, 60), labels=labels)
    other = Model(random_chain(rng, 3), family.parameters(rng, 3, 2))
    assert_differs_by_a_constant(steps, [case.model, other], precision)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_where_it_ends_the_bound_is_the_log_likelihood(family):
    """And no M-step of all rows leads further."""
    case = setting(family, "float64" if "float64" in family.precisions else "float32", SHAPE)
    batch = problem(family, case.X, regular=1e-9)
    trace = em.maximize(IncrementalProblem(batch), case.model, tol=1e-13, max_iter=3000)
    assert trace.converged
    statistics = batch.estep(trace.model)
    exact = batch.objective(statistics, trace.model)
    np.testing.assert_allclose(trace.objective, exact, atol=1e-9)
    further = batch.mstep(statistics, trace.model)
    gained = batch.objective(batch.estep(further), further) - exact
    assert abs(gained) < 1e-9


@over_families
@given(shape=shapes_for_fits())
@settings(max_examples=2)
def test_same_bits_for_any_threads(family, precision, shape):
    case, start = setting(family, precision, shape), another_model(family, shape)
    found = []
    for threads in (1, 2, 3, 8):
        steps = IncrementalProblem(problem(family, case.X, threads=threads))
        trace = em.maximize(steps, start, tol=0, max_iter=2)
        named = {**family.named(trace.model.emission), "weights": trace.model.latent}
        found.append({**named, "objectives": np.array(trace.objectives)})
    for other in found[1:]:
        assert_same_bits(other, found[0])
