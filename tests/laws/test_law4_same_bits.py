"""Law 4: the same bits for any number of threads, and for any layout of the same rows in memory."""

import numpy as np
import pytest
from hypothesis import given, settings

from families import (
    LABELS,
    Shape,
    all_numbers,
    assert_same_bits,
    estep,
    fit,
    fitted,
    instruction_set,
    outputs,
    over_families,
    over_instruction_sets,
    random_labels,
    setting,
    shapes,
)

THREADS = (2, 3, 8)


@over_instruction_sets
@over_families
@settings(max_examples=5)
@given(shape=shapes(rows=(65, 1537, 2500, 5000)))
def test_expectation_has_the_same_bits_for_any_threads(family, precision, instructions, shape):
    case = setting(family, precision, shape)
    rng = shape.rng()
    weights = rng.uniform(0, 2, shape.n)
    labels = random_labels(LABELS[shape.seed % 3], rng, shape.n, case.K)
    with instruction_set(instructions):
        one = estep(family, case.model, case.X, weights=weights, labels=labels)
        of_rows = outputs(family, case.model, case.X, labels=labels)
        for threads in THREADS:
            many = estep(
                family, case.model, case.X, weights=weights, labels=labels, threads=threads
            )
            assert_same_bits(all_numbers(many, family), all_numbers(one, family))
            assert_same_bits(
                outputs(family, case.model, case.X, labels=labels, threads=threads), of_rows
            )


@over_families
def test_blocks_of_several_tiles_have_the_same_bits_for_any_threads(family, precision):
    """More than 64 tiles of at most 768 rows: a block is then more than one."""
    case = setting(family, precision, Shape(64 * 768 * 2 + 777, 3, 3, 0))
    one = all_numbers(estep(family, case.model, case.X), family)
    for threads in THREADS:
        many = all_numbers(estep(family, case.model, case.X, threads=threads), family)
        assert_same_bits(many, one)


@over_families
@pytest.mark.parametrize("init_params", ["kmeans", "random_from_data"])
def test_fit_has_the_same_bits_for_any_threads(family, precision, init_params):
    case = setting(family, precision, Shape(3000, 5, 3, 1))
    results = []
    for threads in (1, *THREADS):
        estimator = family.estimator(
            3, init_params=init_params, random_state=0, tol=1e-2, max_iter=1000, n_threads=threads
        )
        estimator.fit(case.X)
        results.append({"bounds": estimator.lower_bounds_, **fitted(family, estimator, case.model)})
    for other in results[1:]:
        assert_same_bits(other, results[0])


@over_families
def test_fit_from_a_model_has_the_same_bits_for_any_threads(family, precision):
    case = setting(family, precision, Shape(3000, 5, 3, 1))
    results = [
        fit(family, case.X, case.model, max_iter=5, tol=0, n_threads=threads)
        for threads in (1, *THREADS)
    ]
    for other in results[1:]:
        assert_same_bits(fitted(family, other, case.model), fitted(family, results[0], case.model))


@over_families
@given(shape=shapes())
def test_layout_in_memory_does_not_matter(family, precision, shape):
    case = setting(family, precision, shape)
    n, D = case.X.shape
    wide = np.zeros((2 * n, 3 * D), case.X.dtype)
    wide[::2, ::3] = case.X
    reversed_rows = np.ascontiguousarray(case.X[::-1])[::-1]
    reversed_columns = np.ascontiguousarray(case.X[:, ::-1])[:, ::-1]
    read_only = case.X.copy()
    read_only.flags.writeable = False
    expected = all_numbers(estep(family, case.model, np.ascontiguousarray(case.X)), family)
    for X in (
        np.asfortranarray(case.X),
        wide[::2, ::3],
        np.asfortranarray(wide)[::2, ::3],
        reversed_rows,
        reversed_columns,
        read_only,
    ):
        np.testing.assert_array_equal(X, case.X)
        assert_same_bits(all_numbers(estep(family, case.model, X), family), expected)
