"""Law 11, as far as there are batches yet: a fit does not know how its rows come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emfast import em
from emfast.latent import MixtureWeights
from emfast.problem import GridProblem
from families import (
    FAMILIES,
    Shape,
    all_numbers,
    assert_close,
    assert_close_within,
    emission_of,
    over_families,
    problem,
    random_labels,
    setting,
    shapes,
    truth,
)


class Batches:
    """A source of several batches."""

    def __init__(self, family, X, weights, labels, cuts):
        self.n_rows, self.n_features = X.shape
        self.weight = weights.sum()
        self.dtype = family.batch(X).dtype
        self.parts = [
            family.batch(X[rows], weights[rows], labels.take(rows))
            for rows in np.split(np.arange(len(X)), cuts)
            if rows.size
        ]

    def __iter__(self):
        return iter(self.parts)


def both(family, precision, shape, cuts):
    case = setting(family, precision, shape)
    rng = shape.rng()
    weights = rng.uniform(0.1, 2, shape.n)
    labels = random_labels(("none", "component", "allowed")[shape.seed % 3], rng, shape.n, case.K)
    whole = problem(family, case.X, weights=weights, labels=labels)
    source = Batches(family, case.X, weights, labels, cuts)
    emission = emission_of(family, case.X)
    parts = GridProblem(MixtureWeights(), emission, source, 1)
    return case, whole, parts, weights, labels


@over_families
@given(shape=shapes(rows=(17, 130, 900)), cuts=st.lists(st.integers(1, 900), max_size=5))
def test_batches_of_any_size_have_the_same_statistics(family, precision, shape, cuts):
    cuts = sorted(cut for cut in cuts if cut < shape.n)
    case, whole, parts, weights, labels = both(family, precision, shape, cuts)
    expected, actual = whole.estep(case.model), parts.estep(case.model)
    origin = family.origin(expected.emission)
    bounds = truth(family, case.model, case.X, origin, weights=weights, labels=labels).bounds
    assert_close_within(all_numbers(actual, family), all_numbers(expected, family), bounds)


@over_families
@pytest.mark.parametrize("cuts", [[300], [1, 2, 64, 500, 511]])
def test_batches_of_any_size_have_the_same_fit(family, precision, cuts):
    case, whole, parts, _, _ = both(family, precision, Shape(600, 4, 3, 5), cuts)
    one, many = (em.maximize(each, case.model, max_iter=8, tol=0) for each in (whole, parts))
    tolerance = {"float64": 1e-10, "float32": 1e-3}[precision]
    assert_close(
        {"latent": many.model.latent, **family.named(many.model.emission)},
        {"latent": one.model.latent, **family.named(one.model.emission)},
        rtol=tolerance,
        atol=tolerance,
    )
    np.testing.assert_allclose(many.objectives, one.objectives, rtol=tolerance)


def test_impossible_row_of_a_later_batch_is_named_by_its_place_in_all_rows():
    family, rng = FAMILIES[0], np.random.default_rng(0)
    case = setting(family, "float64", Shape(300, 3, 2, 0))
    labels = random_labels("allowed", rng, 300, 2)
    labels.allowed[250] = 0
    source = Batches(family, case.X, rng.uniform(1, 2, 300), labels, [100, 200])
    steps = GridProblem(MixtureWeights(), family.emission(), source, 1)
    with pytest.raises(ValueError, match="row 250 "):
        steps.estep(case.model)
