"""Law 6: labels only restrict. All of them make the closed-form estimate, none the plain model."""

import numpy as np
import pytest
from hypothesis import given

import oracle
from emfast.inputs.labels import Labels
from families import (
    FAMILIES,
    Shape,
    all_numbers,
    another_model,
    assert_same_bits,
    estep,
    fit,
    fitted,
    outputs,
    over_families,
    problem,
    random_labels,
    setting,
    shapes,
)

TOLERANCE = {"float64": 1e-9, "float32": 1e-4}


def every_component_once(components, K):
    components = components.astype(np.int32)
    components[:K] = np.arange(K)
    return components


@over_families
@given(shape=shapes(rows=(127, 511, 769)))
def test_every_row_labelled_is_the_closed_form(family, precision, shape):
    case = setting(family, precision, shape)
    components = every_component_once(case.components, case.K)
    steps = problem(family, case.X, labels=Labels(component=components))
    start = another_model(family, shape)

    model = steps.mstep(steps.estep(start), start)

    r = (components[:, None] == np.arange(case.K)).astype(float)
    tolerance = TOLERANCE[precision]
    np.testing.assert_allclose(model.latent, oracle.mixture_weights(r), rtol=tolerance)
    for name, value in family.under(start.emission).estimate(case.X, r).items():
        # Moments about the means of `start`, a few units away, lose as many digits as that costs.
        np.testing.assert_allclose(
            family.named(model.emission)[name],
            value,
            rtol=tolerance,
            atol=50 * tolerance,
            err_msg=name,
        )


@pytest.mark.parametrize(
    ("family", "precision"),
    [
        pytest.param(family, precision, id=f"{family.name}-{precision}")
        for family in FAMILIES
        for precision in family.precisions
        if family.closed_form
    ],
)
def test_every_row_labelled_fits_in_one_iteration(family, precision):
    case = setting(family, precision, Shape(300, 4, 3, 0))
    components = every_component_once(case.components, 3)
    estimator = family.estimator(3, max_iter=1, tol=0, random_state=0, n_threads=1)
    estimator.fit(case.X, labels=components)

    r = (components[:, None] == np.arange(3)).astype(float)
    names = np.array(["a", "b", "c"])
    by_name = family.estimator(3, max_iter=1, tol=0, random_state=0, n_threads=1)
    by_name.fit(case.X, labels=names[components])
    found, found_by_name = (fitted(family, each, case.model) for each in (estimator, by_name))
    for name, value in {**family.estimate(case.X, r), "weights": r.mean(axis=0)}.items():
        actual = found[name]
        np.testing.assert_allclose(actual, value, rtol=1e-5, atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(found_by_name[name], actual)
    np.testing.assert_array_equal(by_name.classes_, names)
    # The bound is joint with the labels.
    found = {name: value.astype(float) for name, value in found.items()}
    log_densities = family.log_densities(case.X, family.of(found))
    joint = (np.log(estimator.weights_) + log_densities)[np.arange(300), components]
    np.testing.assert_allclose(estimator.lower_bound_, joint.mean(), rtol=1e-5)


@over_families
@given(shape=shapes())
def test_no_row_labelled_is_the_plain_model(family, precision, shape):
    case = setting(family, precision, shape)
    plain = all_numbers(estep(family, case.model, case.X), family)
    rows = outputs(family, case.model, case.X)
    for labels in (
        Labels(component=np.full(shape.n, -1, np.int32)),
        Labels(allowed=np.ones((shape.n, case.K), np.uint8)),
    ):
        labelled = estep(family, case.model, case.X, labels=labels)
        assert_same_bits(all_numbers(labelled, family), plain)
        assert_same_bits(outputs(family, case.model, case.X, labels=labels), rows)


@over_families
@given(shape=shapes())
def test_one_component_allowed_is_that_label(family, precision, shape):
    case = setting(family, precision, shape)
    components = shape.rng().integers(-1, case.K, shape.n).astype(np.int32)
    allowed = oracle.allowed_by(components, case.K).view(np.uint8)
    by_component = estep(family, case.model, case.X, labels=Labels(component=components))
    by_set = estep(family, case.model, case.X, labels=Labels(allowed=allowed))
    assert_same_bits(all_numbers(by_set, family), all_numbers(by_component, family))


@over_families
@given(shape=shapes())
def test_a_set_only_restricts(family, precision, shape):
    """Responsibilities are the plain ones, restricted and normalised again; excluded ones are 0."""
    case = setting(family, precision, shape)
    labels = random_labels("allowed", shape.rng(), shape.n, case.K)
    allowed = labels.allowed.astype(bool)
    free = outputs(family, case.model, case.X)
    bound = outputs(family, case.model, case.X, labels=labels)
    eps = np.finfo(precision).eps

    assert np.all(bound["responsibilities"][~allowed] == 0)
    mass = np.where(allowed, free["responsibilities"], 0).sum(axis=1, keepdims=True)
    known = mass[:, 0] > 1e-3
    np.testing.assert_allclose(
        bound["responsibilities"][known],
        (np.where(allowed, free["responsibilities"], 0) / np.where(mass > 0, mass, 1))[known],
        rtol=0,
        atol=1e5 * eps,
    )
    np.testing.assert_allclose(
        bound["log_likelihoods"][known],
        (free["log_likelihoods"] + np.log(np.where(mass > 0, mass, 1))[:, 0])[known],
        rtol=1e2 * eps,
        atol=1e5 * eps,
    )
    assert np.all(bound["log_likelihoods"] <= free["log_likelihoods"] + 1e4 * eps)


@over_families
@pytest.mark.parametrize("seed", range(3))
def test_fit_with_missing_labels_only_is_the_plain_fit(family, precision, seed):
    case = setting(family, precision, Shape(300, 3, 2, seed))
    start = case.model
    plain = fitted(family, fit(family, case.X, start, max_iter=5, tol=0), start)
    for missing in ([None] * 300, np.full(300, -1), np.full(300, np.nan), np.ones((300, 2), bool)):
        labelled = fit(family, case.X, start, labels=missing, max_iter=5, tol=0)
        assert_same_bits(fitted(family, labelled, start), plain)


@over_families
@given(shape=shapes(rows=(511, 769), components=(2, 3, 5)))
def test_component_that_no_label_allows_keeps_its_parameters(family, precision, shape):
    """It has starved: its weight goes to 0, and the others fit as if it were not there."""
    case = setting(family, precision, shape)
    allowed = np.ones((shape.n, case.K), np.uint8)
    allowed[:, 0] = 0
    steps = problem(family, case.X, labels=Labels(allowed=allowed))
    model = case.model
    for _ in range(3):
        model = steps.mstep(steps.estep(model), model)
    assert model.latent[0] == 0
    np.testing.assert_allclose(model.latent.sum(), 1)
    for name, value in family.named(model.emission).items():
        assert np.all(np.isfinite(value))
        if name not in family.shared:
            np.testing.assert_array_equal(value[0], family.named(case.model.emission)[name][0])


@over_families
@given(shape=shapes(rows=(3, 64, 130)))
def test_row_that_nothing_allows_is_named(family, precision, shape):
    case = setting(family, precision, shape)
    allowed = np.ones((shape.n, case.K), np.uint8)
    rows = np.unique(shape.rng().integers(0, shape.n, 3))
    allowed[rows] = 0
    labels = Labels(allowed=allowed)
    assert estep(family, case.model, case.X, labels=labels).impossible_row == rows[0]
    with pytest.raises(ValueError, match=f"row {rows[0]} "):
        problem(family, case.X, labels=labels).estep(case.model)

    of_rows = outputs(family, case.model, case.X, labels=labels)
    possible = np.setdiff1d(np.arange(shape.n), rows)
    assert np.all(of_rows["log_likelihoods"][rows] == -np.inf)
    assert np.all(of_rows["responsibilities"][rows] == 0)
    assert np.all(np.isfinite(of_rows["log_likelihoods"][possible]))

    weights = np.ones(shape.n)
    weights[rows] = 0
    assert estep(family, case.model, case.X, labels=labels, weights=weights).impossible_row == -1
