"""The laws over emissions behind a gate: p(z) depends on covariates."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emfast import em
from emfast.latent.gate import GateParameters, GatePrior
from emfast.parts.known import Known
from emfast.passes import Model
from families import (
    FEATURES,
    LABELS,
    Shape,
    allowed_of,
    another_model,
    assert_close_within,
    assert_same_bits,
    instruction_set,
    over,
    over_instruction_sets,
    random_labels,
    shapes,
)
from gates import (
    GATED,
    expected_objective,
    gate_parameters,
    gate_truth,
    gated,
    numbers,
)

over_gated = over(GATED)
covariates = st.sampled_from(FEATURES)


@over_instruction_sets
@over_gated
@pytest.mark.parametrize("known", LABELS)
@settings(max_examples=8)
@given(shape=shapes(features=(1, 3)), n_covariates=covariates, weighted=st.booleans())
def test_expectation_is_that_of_the_oracle(
    family, precision, instructions, known, shape, n_covariates, weighted
):
    case = gated(family, precision, shape, n_covariates)
    rng = shape.rng()
    weights = rng.uniform(0, 3, shape.n) if weighted else None
    labels = random_labels(known, rng, shape.n, case.K)
    with instruction_set(instructions):
        statistics = case.estep(weights=weights, labels=labels)
        of_rows = case.outputs(labels=labels)
    true = gate_truth(case, weights=weights, labels=labels)
    assert statistics.impossible_row == -1
    assert_close_within(numbers(statistics), true.numbers, true.bounds)
    assert_close_within(
        {name: of_rows[name] for name in ("responsibilities", "log_likelihoods")},
        {"responsibilities": true.responsibilities, "log_likelihoods": true.log_likelihoods},
        {
            "responsibilities": true.responsibility_bounds,
            "log_likelihoods": true.log_likelihood_bounds,
        },
    )
    allowed = allowed_of(labels, case.K)
    assert allowed is None or allowed[np.arange(shape.n), of_rows["assignments"]].all()


@over_instruction_sets
@over_gated
@pytest.mark.parametrize(
    ("shape", "n_covariates"), [(Shape(400, 2, 3, 0), 70), (Shape(300, 2, 40, 1), 2)]
)
def test_many_covariates_or_components(family, precision, instructions, shape, n_covariates):
    case = gated(family, precision, shape, n_covariates)
    with instruction_set(instructions):
        statistics = case.estep()
    true = gate_truth(case)
    assert_close_within(numbers(statistics), true.numbers, true.bounds)


@over_gated
@given(shape=shapes(rows=(2, 65, 130, 900), features=(1, 3)), n_covariates=covariates)
def test_statistics_add(family, precision, shape, n_covariates):
    case = gated(family, precision, shape, n_covariates)
    weights = shape.rng().uniform(0, 3, shape.n)
    cut = 1 + shape.seed % (shape.n - 1)
    first, second = (
        case.estep(weights=weights[rows], rows=rows) for rows in (slice(cut), slice(cut, None))
    )
    whole = numbers(case.estep(weights=weights))
    assert_close_within(numbers(first + second), whole, gate_truth(case, weights=weights).bounds)


@over_gated
@given(shape=shapes(rows=(3, 64, 130, 511), features=(1, 3)), n_covariates=covariates)
def test_integer_weight_is_repeated_row(family, precision, shape, n_covariates):
    case = gated(family, precision, shape, n_covariates)
    counts = shape.rng().integers(0, 4, shape.n)
    counts[0] = 2
    weights = counts.astype(float)
    repeated = np.repeat(np.arange(shape.n), counts)
    weighted = numbers(case.estep(weights=weights))
    long = numbers(case.estep(rows=repeated))
    assert_close_within(weighted, long, gate_truth(case, weights=weights).bounds)


@over_gated
@pytest.mark.parametrize("n_covariates", [2, 9, 40])
def test_row_of_zero_weight_may_have_any_covariates(family, precision, n_covariates):
    case = gated(family, precision, Shape(300, 2, 3, 0), n_covariates)
    case.covariates[7] = {"float64": 1e200, "float32": 1e36}[precision]
    weights = np.ones(300)
    weights[7] = 0
    kept = np.flatnonzero(weights)
    assert_close_within(
        numbers(case.estep(weights=weights)),
        numbers(case.estep(rows=kept)),
        gate_truth(case, rows=kept).bounds,
    )


@over_instruction_sets
@over_gated
@settings(max_examples=4)
@given(shape=shapes(rows=(65, 1537, 5000), features=(1, 3)), n_covariates=covariates)
def test_same_bits_for_any_threads(family, precision, instructions, shape, n_covariates):
    case = gated(family, precision, shape, n_covariates)
    weights = shape.rng().uniform(0, 2, shape.n)
    with instruction_set(instructions):
        one, of_rows = numbers(case.estep(weights=weights)), case.outputs()
        for threads in (2, 3, 8):
            assert_same_bits(numbers(case.estep(weights=weights, threads=threads)), one)
            assert_same_bits(case.outputs(threads=threads), of_rows)


@over_gated
@given(shape=shapes(features=(1, 3)), n_covariates=covariates)
def test_layout_in_memory_does_not_matter(family, precision, shape, n_covariates):
    case = gated(family, precision, shape, n_covariates)
    given = case.covariates
    wide = np.zeros((2 * len(given), 3 * given.shape[1]), given.dtype)
    wide[::2, ::3] = given
    read_only = given.copy()
    read_only.flags.writeable = False
    expected = numbers(case.estep())
    for other in (np.asfortranarray(given), wide[::2, ::3], given[::-1].copy()[::-1], read_only):
        assert_same_bits(numbers(case.estep(covariates=other)), expected)


# The gate's M-step


@over_gated
@pytest.mark.parametrize("known", LABELS)
@pytest.mark.parametrize("scale", [1.0, 30.0])
@given(
    shape=shapes(rows=(200, 333), features=(1, 3), components=(1, 2, 3, 5)),
    n_covariates=st.sampled_from([1, 2, 5]),
)
def test_objective_never_falls(family, precision, known, scale, shape, n_covariates):
    """From gates that leave most rows no choice, too, where Newton steps lead too far."""
    case = gated(family, precision, shape, n_covariates)
    rng = shape.rng()
    steps = case.problem(
        weights=rng.uniform(0, 2, shape.n), labels=random_labels(known, rng, shape.n, case.K),
        regular=1e-3,
    )  # fmt: skip
    model = Model(
        gate_parameters(rng, case.K, n_covariates, scale), another_model(family, shape).emission
    )
    rounding = {"float64": 1e-12, "float32": 2e-6}[precision]
    objective = steps.objective(steps.estep(model), model)
    for _ in range(8):
        trace = em.maximize(steps, model, tol=0, max_iter=1)
        model, before, objective = trace.model, objective, trace.objective
        fall = family.fall(model.emission, model.latent.shares, 1e-3)
        assert objective >= before - rounding * (1 + abs(objective)) - fall


@pytest.mark.parametrize("precision", [0.0, 0.01, 10.0])
@pytest.mark.parametrize("fixed", [(), ("gate_coef",), ("gate_intercept",)])
@given(
    shape=shapes(rows=(65, 333), features=(1,), components=(2, 3, 5)),
    n_covariates=st.sampled_from([1, 2, 5]),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
)
def test_the_bound_step_never_lowers_what_is_expected(precision, fixed, shape, n_covariates, scale):
    case = gated(GATED[0], "float64", shape, n_covariates)
    rng = shape.rng()
    weights = rng.uniform(0, 3, shape.n)
    latent = case.latent
    latent.fixed, latent.prior = Known(fixed), GatePrior(np.array(precision))
    theta = gate_parameters(rng, case.K, n_covariates, scale)
    statistics = case.estep(Model(theta, case.model.emission), weights=weights)
    r = case.outputs(Model(theta, case.model.emission))["responsibilities"]
    before = expected_objective(case, theta, r, weights, precision)
    newton = latent.mstep(statistics.latent, theta)
    steps = [newton]
    for attempt in (1, 2, 3, 4):
        steps.append(latent.retreat(statistics.latent, theta, steps[-1], attempt))
    assert latent.retreat(statistics.latent, theta, steps[-1], 5) is None
    for halved in range(1, 4):
        np.testing.assert_allclose(
            steps[halved].coef - theta.coef,
            (newton.coef - theta.coef) / 2**halved,
            atol=1e-9 * (1 + np.abs(newton.coef).max()),
        )
    bound = steps[4]
    gained = expected_objective(case, bound, r, weights, precision) - before
    assert gained >= -1e-10 * (1 + abs(before))
    for group, name in (("gate_coef", "coef"), ("gate_intercept", "intercept")):
        if group in fixed:
            for step in steps:
                np.testing.assert_array_equal(getattr(step, name), getattr(theta, name))


@given(
    shape=shapes(rows=(65, 333), features=(1,), components=(2, 3, 5)),
    n_covariates=st.sampled_from([1, 2, 5]),
)
def test_gradient_and_hessian_are_those_of_finite_differences(shape, n_covariates):
    """Of the expected log p(z | x), where r stays what it is."""
    case = gated(GATED[0], "float64", shape, n_covariates)
    weights = shape.rng().uniform(0, 3, shape.n)
    labels = random_labels("component", shape.rng(), shape.n, case.K)
    labels.component[:] = case.components
    r = np.eye(case.K)[case.components]
    theta, emission, _ = case.model
    K, M = case.K, n_covariates + 1

    def at(step):
        """The gate this far away in coordinates about the location, in units."""
        step = step.reshape(K, M)
        coef = theta.coef + step[:, 1:] / case.latent.scale
        levels = theta.intercept + theta.coef @ case.latent.location + step[:, 0]
        return GateParameters(coef, levels - coef @ case.latent.location, theta.shares)

    def gradient(step):
        return case.estep(Model(at(step), emission), weights=weights, labels=labels).latent.gradient

    h = 1e-5
    steps = h * np.eye(K * M)
    objectives = [
        [expected_objective(case, at(sign * step), r, weights, 0.0) for sign in (1, -1)]
        for step in steps
    ]
    differences = np.array([(up - down) / (2 * h) for up, down in objectives])
    scale = shape.n * 3
    np.testing.assert_allclose(
        gradient(np.zeros(K * M)).ravel(), differences, rtol=1e-6, atol=1e-7 * scale
    )
    statistics = case.estep(weights=weights, labels=labels).latent
    hessian = statistics.hessian().transpose(0, 2, 1, 3).reshape(K * M, K * M)
    second = np.array([(gradient(-step) - gradient(step)).ravel() / (2 * h) for step in steps])
    np.testing.assert_allclose(hessian, second, rtol=1e-6, atol=1e-7 * scale)


@over_gated
def test_fisher_identity(family, precision):
    """The gradient that the E-step collects is that of the log-likelihood."""
    if precision == "float32":
        precision, h, tolerance = "float32", 1e-2, 2e-2
    else:
        h, tolerance = 1e-5, 1e-6
    case = gated(family, precision, Shape(200, 2, 3, 0), 2)
    found = case.estep().latent.gradient
    theta = case.model.latent
    for k in range(3):
        for d in range(2):
            step = np.zeros((3, 2))
            step[k, d] = h / case.latent.scale[d]
            values = []
            for sign in (1, -1):
                coef = theta.coef + sign * step
                levels = theta.intercept + theta.coef @ case.latent.location
                moved = replace(theta, coef=coef, intercept=levels - coef @ case.latent.location)
                values.append(case.estep(Model(moved, case.model.emission)).log_likelihood)
            slope = (values[0] - values[1]) / (2 * h)
            np.testing.assert_allclose(found[k, d + 1], slope, rtol=tolerance, atol=200 * tolerance)


@over_gated
def test_acceleration_has_coordinates_that_are_inverse_to_each_other(family, precision):
    case = gated(family, precision, Shape(200, 2, 3, 0), 2)
    other = gate_parameters(np.random.default_rng(1), 3, 2)
    latent, reference = case.latent, case.model.latent
    moved = latent.displaced(latent.displacement(other, reference), reference)
    x = case.covariates.astype(float)
    np.testing.assert_allclose(moved.probabilities(x), other.probabilities(x), rtol=1e-9)
    assert not latent.displacement(reference, reference).any()
