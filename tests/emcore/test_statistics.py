"""Sufficient statistics as values: moving the origin, adding, refusing to add."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from emfast.emissions.gaussian import COVARIANCE_TYPES
from emfast.parts.known import Known
from emfast.passes import Model
from families import (
    FAMILIES,
    GaussianFamily,
    Shape,
    assert_close_within,
    estep,
    setting,
    shapes,
)

over_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


def about(family, X, r, origin):
    """The oracle's statistics in the package's form, of which a pass makes the pattern."""
    K, D = origin.shape
    model = Model(np.full(K, 1 / K), family.parameters(np.random.default_rng(0), K, D))
    pattern = estep(family, model, X).emission
    true = family.true_statistics(X, r, origin)
    return replace(pattern, counts=r.sum(axis=0), origin=origin, **true)


@over_types
@given(shape=shapes(rows=(1, 2, 40)), distance=st.sampled_from([0.0, 1.0, 1e4]))
def test_moving_the_origin_is_algebra(covariance_type, shape, distance):
    family = GaussianFamily(covariance_type)
    rng = shape.rng()
    X, r = rng.normal(size=(shape.n, shape.D)), rng.uniform(size=(shape.n, shape.K))
    origins = rng.normal(size=(2, shape.K, shape.D))
    origins[1] += distance
    first, second = (about(family, X, r, origin) for origin in origins)

    moved = first.moved_to(origins[1])

    np.testing.assert_array_equal(moved.origin, origins[1])
    np.testing.assert_array_equal(moved.counts, first.counts)
    before, after = (family.magnitudes(X, r, origin) for origin in origins)
    assert_close_within(
        family.statistics(moved),
        family.statistics(second),
        {name: 1e-13 * (value + before[name]) for name, value in after.items()},
    )


@over_types
def test_moving_there_and_back(covariance_type):
    family = GaussianFamily(covariance_type)
    rng = np.random.default_rng(0)
    X, r = rng.normal(size=(50, 3)), rng.uniform(size=(50, 2))
    origin = np.tile(rng.normal(size=3), (2, 1))
    statistics = about(family, X, r, origin)
    back = statistics.moved_to(origin + 3).moved_to(origin)
    np.testing.assert_allclose(back.first, statistics.first, atol=1e-12)
    np.testing.assert_allclose(back.second, statistics.second, atol=1e-11)


@over_types
def test_moving_changes_nothing_in_place(covariance_type):
    family = GaussianFamily(covariance_type)
    rng = np.random.default_rng(0)
    X, r = rng.normal(size=(50, 3)), rng.uniform(size=(50, 2))
    statistics = about(family, X, r, np.zeros((2, 3)))
    before = [np.copy(each) for each in (statistics.first, statistics.second, statistics.origin)]
    statistics.moved_to(np.ones((2, 3)))
    statistics + about(family, X, r, np.ones((2, 3)))
    after = (statistics.first, statistics.second, statistics.origin)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@over_types
@given(shape=shapes(rows=(2, 41)))
def test_sum_lives_at_the_origin_of_the_left(covariance_type, shape):
    family = GaussianFamily(covariance_type)
    rng = shape.rng()
    X, r = rng.normal(size=(shape.n, shape.D)), rng.uniform(size=(shape.n, shape.K))
    origins = rng.normal(size=(2, shape.K, shape.D))
    half = shape.n // 2
    both = about(family, X[:half], r[:half], origins[0]) + about(
        family, X[half:], r[half:], origins[1]
    )
    expected = about(family, X, r, origins[0])
    np.testing.assert_array_equal(both.origin, origins[0])
    np.testing.assert_allclose(both.counts, expected.counts)
    sizes = family.magnitudes(X, r, origins[0])
    bounds = {name: 1e-12 * (1 + value) for name, value in sizes.items()}
    assert_close_within(family.statistics(both), family.statistics(expected), bounds)


def test_references_of_bernoulli_features_may_differ():
    rng = np.random.default_rng(0)
    X, r = (rng.uniform(size=(60, 4)) < 0.5).astype(float), rng.uniform(size=(60, 2))
    case = setting(FAMILIES[4], "float64", Shape(60, 4, 2, 0))
    pattern = estep(FAMILIES[4], case.model, case.X).emission
    references = np.array([[0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
    parts = [
        replace(
            pattern,
            trials=np.tile(r[rows].sum(axis=0)[:, None], 4),
            reference=reference,
            first=oracle.first_moments(X[rows], r[rows], np.tile(reference, (2, 1))),
        )
        for rows, reference in zip((slice(0, 20), slice(20, 60)), references, strict=True)
    ]
    both = parts[0] + parts[1]
    np.testing.assert_array_equal(both.reference, references[0])
    np.testing.assert_allclose(
        both.first, oracle.first_moments(X, r, np.tile(references[0], (2, 1))), atol=1e-12
    )


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param(left, right, id=f"{left.name}-{right.name}")
        for left, right in permutations(FAMILIES[:5], 2)
    ],
)
def test_other_kinds_do_not_add(left, right):
    statistics = []
    for family in (left, right):
        case = setting(family, "float64", Shape(20, 3, 2, 0))
        statistics.append(estep(family, case.model, case.X))
    with pytest.raises((TypeError, ValueError)):
        statistics[0] + statistics[1]
    with pytest.raises((TypeError, ValueError)):
        statistics[0].emission + statistics[1].emission


@over_types
def test_known_means_are_what_covariances_are_taken_about(covariance_type):
    family = GaussianFamily(covariance_type)
    case = setting(family, "float64", Shape(200, 3, 2, 1))
    emission = family.emission(regular=0.0)
    emission.fixed = Known({"means"})
    statistics = estep(family, case.model, case.X)
    after = emission.mstep(statistics.emission, case.model.emission)
    r, _ = oracle.respond(family.log_densities(case.X, case.model.emission), case.model.latent)
    means = case.model.emission.means
    np.testing.assert_array_equal(after.means, means)
    np.testing.assert_allclose(
        after.covariances,
        oracle.gaussian_covariances(case.X, r, covariance_type, means=means),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize("covariance_type", ["spherical", "diag", "full"])
def test_separation_does_not_cost_digits_in_double(covariance_type):
    """Moments about the means of the model, when these are many deviations apart."""
    family = GaussianFamily(covariance_type)
    _separated(family, 1e6, 1e-9)


@pytest.mark.parametrize(("separation", "tolerance"), [(1e3, 1e-8), (1e4, 1e-6), (1e6, 1e-6)])
def test_separation_of_a_shared_covariance(separation, tolerance):
    """5e-7 is what 1e4 deviations cost where the scatter is taken about one point; beyond, it has
    to be taken about the means."""
    _separated(GaussianFamily("tied"), separation, tolerance)


def _separated(family, separation, tolerance):
    rng = np.random.default_rng(0)
    components = np.repeat([0, 1, 2], 200)
    X = rng.normal(size=(600, 3)) + separation * components[:, None]
    r = (components[:, None] == np.arange(3)).astype(float)
    expected = family.estimate(X, r, regular=0.0)
    emission = family.emission(regular=0.0)
    parameters = emission.parameters(expected["means"], expected["covariances"])
    model = Model(np.full(3, 1 / 3), parameters)
    after = emission.mstep(estep(family, model, X).emission, parameters)
    np.testing.assert_allclose(
        after.covariances, expected["covariances"], rtol=tolerance, atol=tolerance
    )
    np.testing.assert_allclose(after.means, expected["means"], rtol=1e-12, atol=1e-9)
