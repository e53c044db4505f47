"""Law 11: a fit does not know how its rows come, to the bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emfast import em
from emfast.data import Plan, surveyed
from emfast.latent import MixtureWeights
from emfast.problems.grid import GridProblem
from families import (
    FAMILIES,
    Shape,
    all_numbers,
    emission_of,
    over_families,
    problem,
    random_labels,
    setting,
    shapes,
)


def stream(family, X, weights, labels, cuts):
    """The rows as a source of several batches."""
    parts = [
        family.batch(X[rows], weights[rows], labels.take(rows))
        for rows in np.split(np.arange(len(X)), cuts)
        if rows.size
    ]
    return surveyed(lambda survey: iter(parts), Plan(1, 100, 0))


def both(family, precision, shape, cuts):
    case = setting(family, precision, shape)
    rng = shape.rng()
    weights = rng.uniform(0.1, 2, shape.n)
    labels = random_labels(("none", "component", "allowed")[shape.seed % 3], rng, shape.n, case.K)
    whole = problem(family, case.X, weights=weights, labels=labels)
    source = stream(family, case.X, weights, labels, cuts)
    emission = emission_of(family, case.X)
    parts = GridProblem(MixtureWeights(), emission, source, 1)
    return case, whole, parts


@over_families
@given(shape=shapes(rows=(17, 130, 900)), cuts=st.lists(st.integers(1, 900), max_size=5))
def test_batches_of_any_size_have_the_same_statistics(family, precision, shape, cuts):
    cuts = sorted(cut for cut in cuts if cut < shape.n)
    case, whole, parts = both(family, precision, shape, cuts)
    expected, actual = whole.estep(case.model), parts.estep(case.model)
    for name, values in all_numbers(expected, family).items():
        np.testing.assert_array_equal(all_numbers(actual, family)[name], values)


@over_families
@pytest.mark.parametrize("cuts", [[300], [1, 2, 64, 500, 511]])
def test_batches_of_any_size_have_the_same_fit(family, precision, cuts):
    case, whole, parts = both(family, precision, Shape(600, 4, 3, 5), cuts)
    one, many = (em.maximize(each, case.model, max_iter=8, tol=0) for each in (whole, parts))
    np.testing.assert_array_equal(many.model.latent, one.model.latent)
    for name, values in family.named(one.model.emission).items():
        np.testing.assert_array_equal(family.named(many.model.emission)[name], values)
    assert many.objectives == one.objectives


def test_impossible_row_of_a_later_batch_is_named_by_its_place_in_all_rows():
    family, rng = FAMILIES[0], np.random.default_rng(0)
    case = setting(family, "float64", Shape(300, 3, 2, 0))
    labels = random_labels("allowed", rng, 300, 2)
    labels.allowed[250] = 0
    source = stream(family, case.X, rng.uniform(1, 2, 300), labels, [100, 200])
    steps = GridProblem(MixtureWeights(), family.emission(), source, 1)
    with pytest.raises(ValueError, match="row 250 "):
        steps.estep(case.model)
