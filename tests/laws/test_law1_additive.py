"""Law 1: the statistics of A and B together are the sum of those of A and of B."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emfast.passes import Model
from families import (
    LABELS,
    all_numbers,
    another_model,
    assert_close_within,
    estep,
    over_families,
    random_labels,
    setting,
    shapes,
    truth,
)


@over_families
@pytest.mark.parametrize("known", LABELS)
@given(shape=shapes(rows=(2, 3, 65, 130, 511, 900)), at=st.floats(0, 1))
def test_statistics_of_parts_add_to_those_of_the_whole(family, precision, known, shape, at):
    case = setting(family, precision, shape)
    rng = shape.rng()
    weights = rng.uniform(0, 3, shape.n)
    labels = random_labels(known, rng, shape.n, case.K)
    cut = 1 + int(at * (shape.n - 2))
    parts = np.split(np.arange(shape.n), [cut])

    whole = estep(family, case.model, case.X, weights=weights, labels=labels)
    first, second = (
        estep(family, case.model, case.X[rows], weights=weights[rows], labels=labels.take(rows))
        for rows in parts
    )

    origin = family.origin(whole.emission)
    bounds = truth(family, case.model, case.X, origin, weights=weights, labels=labels).bounds
    assert_close_within(all_numbers(first + second, family), all_numbers(whole, family), bounds)


@over_families
@given(shape=shapes(rows=(3, 130, 511)))
def test_statistics_about_different_origins_add(family, precision, shape):
    """As in incremental EM, where parts of the rows were last seen by older models."""
    case, older = setting(family, precision, shape), another_model(family, shape)
    A, B = np.array_split(case.X, 2)
    first, second = estep(family, case.model, A), estep(family, older, B)

    both = first + second

    origin = family.origin(first.emission)
    assert np.array_equal(family.origin(both.emission), origin)
    of_a = truth(family, case.model, A, origin)
    of_b = truth(family, older, B, origin)
    # The error of B about its own origin is carried along.
    of_b_before = truth(family, older, B, family.origin(second.emission))
    assert_close_within(
        all_numbers(both, family),
        {name: value + of_b.numbers[name] for name, value in of_a.numbers.items()},
        {
            name: value + 4 * (of_b.bounds[name] + of_b_before.bounds[name])
            for name, value in of_a.bounds.items()
        },
    )


@over_families
def test_statistics_of_another_shape_do_not_add(family, precision):
    rng = np.random.default_rng(0)
    statistics = []
    for K, D in ((2, 3), (3, 3), (2, 4)):
        parameters = family.parameters(rng, K, D)
        X = family.draw(rng, parameters, np.zeros(5, int))
        statistics.append(estep(family, Model(np.full(K, 1 / K), parameters), X))
    for other in statistics[1:]:
        with pytest.raises(ValueError, match="do not add"):
            statistics[0] + other
