"""Law 2: an integer weight is a repeated row, a zero weight a deleted one, the scale is free."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from families import (
    LABELS,
    Shape,
    all_numbers,
    assert_close,
    assert_close_within,
    estep,
    fit,
    fitted,
    outputs,
    over_families,
    random_labels,
    setting,
    shapes,
    truth,
)

TOLERANCE = {"float64": 1e-8, "float32": 5e-3}


@over_families
@pytest.mark.parametrize("known", LABELS)
@given(shape=shapes(rows=(1, 3, 64, 130, 511)))
def test_integer_weight_is_repeated_row(family, precision, known, shape):
    case = setting(family, precision, shape)
    rng = shape.rng()
    counts = rng.integers(0, 4, shape.n)
    counts[0] = 2
    labels = random_labels(known, rng, shape.n, case.K)
    repeated = np.repeat(np.arange(shape.n), counts)

    weighted = estep(family, case.model, case.X, weights=counts.astype(float), labels=labels)
    long = estep(family, case.model, case.X[repeated], labels=labels.take(repeated))

    origin = family.origin(weighted.emission)
    bounds = truth(
        family, case.model, case.X, origin, weights=counts.astype(float), labels=labels
    ).bounds
    assert_close_within(all_numbers(weighted, family), all_numbers(long, family), bounds)


@over_families
@given(shape=shapes(rows=(2, 3, 64, 130, 511)))
def test_zero_weight_is_deleted_row(family, precision, shape):
    case = setting(family, precision, shape)
    weights = shape.rng().uniform(0.1, 2, shape.n)
    weights[1::2] = 0
    kept = weights > 0

    weighted = estep(family, case.model, case.X, weights=weights)
    without = estep(family, case.model, case.X[kept], weights=weights[kept])

    origin = family.origin(weighted.emission)
    bounds = truth(family, case.model, case.X, origin, weights=weights).bounds
    assert_close_within(all_numbers(weighted, family), all_numbers(without, family), bounds)


@over_families
@given(shape=shapes(), exponent=st.integers(-40, 40))
def test_power_of_two_scales_statistics_exactly(family, precision, shape, exponent):
    """Weights enter everything as a factor; a power of two leaves no rounding to differ by."""
    case = setting(family, precision, shape)
    weights = shape.rng().uniform(0.1, 2, shape.n).astype("float32").astype(float)
    scale = 2.0**exponent

    plain = all_numbers(estep(family, case.model, case.X, weights=weights), family)
    scaled = all_numbers(estep(family, case.model, case.X, weights=weights * scale), family)

    for name, value in scaled.items():
        # Very small products leave the normal range of single precision.
        floor = 1e-30 if precision == "float32" else 1e-290
        np.testing.assert_allclose(value, plain[name] * scale, rtol=0, atol=floor, err_msg=name)


@over_families
def test_weights_do_not_change_what_is_said_of_a_row(family, precision):
    case = setting(family, precision, Shape(130, 4, 3, 0))
    first = outputs(family, case.model, case.X)
    weights = np.full(130, 0.25)
    weights[::3] = 0
    weighted = outputs(family, case.model, case.X, weights=weights)
    np.testing.assert_array_equal(weighted["assignments"], first["assignments"])
    np.testing.assert_array_equal(weighted["log_likelihoods"], first["log_likelihoods"])


# Fits


@over_families
@pytest.mark.parametrize("scale", [1e-3, 7.0, 1e6])
def test_fit_does_not_know_the_scale_of_weights(family, precision, scale):
    case = setting(family, precision, Shape(400, 3, 2, 1))
    weights = np.random.default_rng(2).uniform(0.1, 2, 400)
    results = [
        fit(family, case.X, case.model, sample_weight=w, max_iter=8, tol=0)
        for w in (weights, weights * scale)
    ]
    assert_close(
        fitted(family, results[1], case.model),
        fitted(family, results[0], case.model),
        rtol=TOLERANCE[precision],
        atol=TOLERANCE[precision],
    )
    np.testing.assert_allclose(
        results[1].lower_bounds_, results[0].lower_bounds_, rtol=TOLERANCE[precision] / 10
    )


@over_families
@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_fit_does_not_know_the_scale_of_extreme_weights(family, precision, scale):
    """Weights are given as float64, also where rows are computed in single precision."""
    case = setting(family, precision, Shape(400, 3, 2, 1))
    weights = np.random.default_rng(2).uniform(0.1, 2, 400)
    results = [
        fit(family, case.X, case.model, sample_weight=w, max_iter=4, tol=0)
        for w in (weights, weights * scale)
    ]
    assert_close(
        fitted(family, results[1], case.model),
        fitted(family, results[0], case.model),
        rtol=TOLERANCE[precision],
        atol=TOLERANCE[precision],
    )


@over_families
@pytest.mark.filterwarnings("error")
def test_fit_does_not_know_the_scale_of_the_smallest_weights(family, precision):
    case = setting(family, precision, Shape(400, 3, 2, 1))
    smallest = np.full(400, np.nextafter(0.0, 1.0))
    results = [
        fit(family, case.X, case.model, sample_weight=w, max_iter=4, tol=0)
        for w in (np.ones(400), smallest)
    ]
    assert_close(
        fitted(family, results[1], case.model),
        fitted(family, results[0], case.model),
        rtol=TOLERANCE[precision],
        atol=TOLERANCE[precision],
    )


@over_families
def test_fit_to_repeated_rows(family, precision):
    case = setting(family, precision, Shape(300, 3, 2, 3))
    counts = np.random.default_rng(4).integers(0, 4, 300)
    weighted = fit(family, case.X, case.model, sample_weight=counts, max_iter=8, tol=0)
    repeated = fit(family, np.repeat(case.X, counts, axis=0), case.model, max_iter=8, tol=0)
    assert_close(
        fitted(family, weighted, case.model),
        fitted(family, repeated, case.model),
        rtol=TOLERANCE[precision],
        atol=TOLERANCE[precision],
    )


@over_families
def test_row_of_zero_weight_may_hold_anything(family, precision):
    """Fill values of masked measurements are as large as 1e37; their squares are infinite."""
    case = setting(family, precision, Shape(300, 3, 2, 5))
    X = np.insert(case.X, 7, family.fill[precision], axis=0)
    weights = np.ones(301)
    weights[7] = 0
    with_fill = fit(family, X, case.model, sample_weight=weights, max_iter=4, tol=0)
    without = fit(family, case.X, case.model, max_iter=4, tol=0)
    assert_close(
        fitted(family, with_fill, case.model),
        fitted(family, without, case.model),
        rtol=TOLERANCE[precision],
        atol=TOLERANCE[precision],
    )
