"""Law 5: all instruction sets agree with the slow oracle, and so with each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import emcore
import oracle
from families import (
    GAUSSIANS,
    LABELS,
    Shape,
    all_numbers,
    allowed_of,
    another_model,
    assert_close,
    assert_close_within,
    estep,
    fit,
    fitted,
    instruction_set,
    outputs,
    over_families,
    over_instruction_sets,
    problem,
    random_labels,
    setting,
    shapes,
    truth,
)


@over_instruction_sets
@over_families
@pytest.mark.parametrize("known", LABELS)
@settings(max_examples=8)
@given(shape=shapes(), weighted=st.booleans())
def test_expectation(family, precision, instructions, known, shape, weighted):
    case = setting(family, precision, shape)
    rng = shape.rng()
    weights = rng.uniform(0, 3, shape.n) if weighted else None
    labels = random_labels(known, rng, shape.n, case.K)
    with instruction_set(instructions):
        statistics = estep(family, case.model, case.X, weights=weights, labels=labels)
        of_rows = outputs(family, case.model, case.X, labels=labels)

    origin = family.origin(statistics.emission)
    true = truth(family, case.model, case.X, origin, weights=weights, labels=labels)
    assert statistics.impossible_row == -1
    assert_close_within(all_numbers(statistics, family), true.numbers, true.bounds)
    assert_close_within(
        {name: of_rows[name] for name in ("responsibilities", "log_likelihoods")},
        {"responsibilities": true.responsibilities, "log_likelihoods": true.log_likelihoods},
        {
            "responsibilities": true.responsibility_bounds,
            "log_likelihoods": true.log_likelihood_bounds + 1e-15 * np.abs(true.log_likelihoods),
        },
    )
    rows = np.arange(shape.n)
    chosen = true.responsibilities[rows, of_rows["assignments"]]
    largest = true.responsibilities.max(axis=1)
    assert np.all(chosen >= largest - 2 * true.responsibility_bounds.max(axis=1))
    allowed = allowed_of(labels, case.K)
    assert allowed is None or allowed[rows, of_rows["assignments"]].all()


@over_instruction_sets
@over_families
@pytest.mark.parametrize("shape", [Shape(400, 70, 9, 0), Shape(130, 2, 100, 1)], ids=str)
def test_expectation_of_many_features_or_components(family, precision, instructions, shape):
    """Tiles have fewer rows there, and features go in several blocks."""
    case = setting(family, precision, shape)
    with instruction_set(instructions):
        statistics = estep(family, case.model, case.X)
    true = truth(family, case.model, case.X, family.origin(statistics.emission))
    assert_close_within(all_numbers(statistics, family), true.numbers, true.bounds)


@over_instruction_sets
@over_families
@settings(max_examples=8)
@given(shape=shapes(rows=(127, 511, 1537)), unrelated=st.booleans())
def test_maximisation(family, precision, instructions, shape, unrelated):
    """An E-step and an M-step, from the model that made the rows and from another."""
    case = setting(family, precision, shape)
    model = another_model(family, shape) if unrelated else case.model
    steps = problem(family, case.X)
    with instruction_set(instructions):
        after = steps.mstep(steps.estep(model), model)

    r, _ = oracle.respond(family.log_densities(case.X, model.emission), model.latent)
    # Where a component has next to nothing, what it has is rounding.
    substantial = r.sum(axis=0) > {"float64": 1e-4, "float32": 1}[precision]
    tolerance = {"float64": 1e-8, "float32": 2e-3}[precision]
    np.testing.assert_allclose(
        after.latent, oracle.mixture_weights(r), rtol=tolerance, atol=tolerance / 100
    )
    # Far responsibilities of an unrelated model are exponentials of large numbers.
    scale = 1 + np.max(np.abs(family.log_densities(case.X, model.emission)))
    for name, value in family.under(model.emission).estimate(case.X, r).items():
        rows = slice(None) if name in family.shared else substantial
        np.testing.assert_allclose(
            family.named(after.emission)[name][rows],
            value[rows],
            rtol=tolerance,
            atol=tolerance * scale / 10,
            err_msg=name,
        )


@over_families
def test_instruction_sets_reach_the_same_fit(family, precision):
    case = setting(family, precision, Shape(1500, 5, 3, 0))
    results = {}
    for name in emcore.runnable_instruction_sets():
        with instruction_set(name):
            results[name] = fit(family, case.X, case.model, max_iter=30, tol=0)
    expected = results.pop(emcore.instruction_set)
    tolerance = {"float64": 1e-9, "float32": 2e-2}[precision]
    for other in results.values():
        assert_close(
            fitted(family, other, case.model),
            fitted(family, expected, case.model),
            rtol=tolerance,
            atol=tolerance,
        )
        np.testing.assert_allclose(
            other.lower_bounds_,
            expected.lower_bounds_,
            rtol={"float64": 1e-11, "float32": 1e-5}[precision],
        )


@pytest.mark.parametrize("family", GAUSSIANS, ids=lambda family: family.name)
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_log_densities_against_sixty_digits(family, offset):
    """The oracle itself, and the kernels far from the origin, against exact arithmetic."""
    shape = Shape(12, 4, 2, 7)
    case = setting(family, "float64", shape)
    means = case.model.emission.means + offset
    covariances = case.model.emission.covariances
    model = case.model._replace(emission=family.emission().parameters(means, covariances))
    X = case.X + offset
    exact = np.array(
        [
            [
                oracle.exact_gaussian_log_density(
                    x,
                    means[k],
                    oracle.covariance_of(covariances, family.covariance_type, k, shape.D),
                )
                for k in range(shape.K)
            ]
            for x in X
        ]
    )
    # Only differences of rows and means enter the oracle, and those are exact.
    np.testing.assert_allclose(family.log_densities(X, model.emission), exact, rtol=1e-12)
    _, expected = oracle.respond(exact, model.latent)
    np.testing.assert_allclose(outputs(family, model, X)["log_likelihoods"], expected, rtol=1e-12)
