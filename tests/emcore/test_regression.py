"""The kernel of linear regressions, with as many columns as it is blocked by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from families import (
    Shape,
    all_numbers,
    assert_close_within,
    assert_same_bits,
    estep,
    instruction_set,
    over,
    over_instruction_sets,
    problem,
    setting,
    shapes,
    truth,
)
from regressions import RegressionFamily

WIDE = [RegressionFamily(storage, 1000) for storage in ("one array", "two arrays")]
over_wide = over(WIDE)


@over_instruction_sets
@over_wide
@settings(max_examples=25)
@given(shape=shapes(), weighted=st.booleans())
def test_expectation_is_that_of_the_oracle(family, precision, instructions, shape, weighted):
    case = setting(family, precision, shape)
    weights = shape.rng().uniform(0, 3, shape.n) if weighted else None
    if weighted:
        weights[::3] = 0
    with instruction_set(instructions):
        statistics = estep(family, case.model, case.X, weights=weights)
    true = truth(family, case.model, case.X, family.origin(statistics.emission), weights=weights)
    assert_close_within(all_numbers(statistics, family), true.numbers, true.bounds)


@over_instruction_sets
@over_wide
@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("D", [1, 2, 7, 8, 9, 16, 31, 70, 130])
def test_most_responsibilities_may_be_negligible(family, precision, instructions, separate, D):
    """Rows are looked up then, for sums whose weights are positive only."""
    case = setting(family, precision, Shape(300, D, 8, D))
    if separate:
        case.model.emission.intercept[:] = 1000.0 * np.arange(8)
        case = setting_of(family, precision, case.model, 300)
    with instruction_set(instructions):
        statistics = estep(family, case.model, case.X)
    true = truth(family, case.model, case.X, family.origin(statistics.emission))
    assert_close_within(all_numbers(statistics, family), true.numbers, true.bounds)


def setting_of(family, precision, model, n):
    case = setting(family, precision, Shape(n, model.emission.coef.shape[1], 8, 0))
    case.model = model
    X = family.draw(np.random.default_rng(1), model.emission, np.arange(n) % 8)
    case.X = X.astype(precision)
    return case


@pytest.mark.parametrize("precision", ["float64", "float32"])
@given(shape=shapes())
def test_one_array_and_two_have_the_same_bits(precision, shape):
    case = setting(WIDE[0], precision, shape)
    one, two = (all_numbers(estep(family, case.model, case.X), family) for family in WIDE)
    assert_same_bits(one, two)


@pytest.mark.parametrize("step", [2, -1])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_targets_of_any_stride(precision, step):
    family = WIDE[1]
    case = setting(family, precision, Shape(300, 5, 3, 0))
    wide = np.zeros((300 * abs(step), 6), precision)
    view = wide[::step][:300]
    view[:] = case.X
    view.flags.writeable = False
    expected = all_numbers(estep(family, case.model, case.X), family)
    assert_same_bits(all_numbers(estep(family, case.model, view), family), expected)


def test_arrays_that_do_not_belong_together_are_refused():
    family = WIDE[1]
    case = setting(family, "float64", Shape(300, 5, 3, 0))
    for wrong in (case.X[:, :-1], case.X[:, [*range(6), 0]]):
        with pytest.raises(ValueError, match="emcore"):
            problem(family, wrong).estep(case.model)
    batch = family.batch(case.X)
    batch.X.target = batch.X.target[:-1]
    with pytest.raises(ValueError, match="emcore"):
        from emfast.latent import MixtureWeights
        from emfast.passes import expectation

        expectation(MixtureWeights(), family.emission(), case.model, batch, 1)
