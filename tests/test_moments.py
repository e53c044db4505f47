"""Mean and scatter of rows, and of rows with a target."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from emfast.problems import moments as module
from emfast.problems.moments import joint_moments, moments

PRECISIONS = {"float64": 1e-11, "float32": 2e-6}
precisions = pytest.mark.parametrize("dtype", PRECISIONS)


def case(dtype, n=3000, D=5, shift=0.0):
    rng = np.random.default_rng(0)
    X = (shift + rng.normal(size=(n, D)) @ rng.normal(size=(D, D))).astype(dtype)
    X[:, 2] = 0.1
    y = X.astype(float) @ np.arange(D) + rng.normal(size=n)
    return X, y, rng.integers(0, 4, n).astype(float)


def truth(X, y, w):
    """The same by sums that do not round."""
    X = X.astype(float)
    mean = np.array([math.fsum(w * column) for column in X.T]) / w.sum()
    middle = math.fsum(w * y) / w.sum()
    Z, r = X - mean, y - middle
    return mean, (Z.T * w) @ Z, middle, math.fsum(w * r**2), Z.T @ (w * r)


def assert_near(actual, expected, tolerance):
    assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@precisions
@pytest.mark.parametrize("shift", [0.0, 1e4, 1e8])
@pytest.mark.parametrize("weighted", [True, False])
def test_they_are_those_of_exact_sums(dtype, shift, weighted):
    if dtype == "float32" and shift == 1e8:
        # Where float32 has no digits after the point.
        shift = 1e2
    X, y, w = case(dtype, shift=shift)
    w = w if weighted else None
    found = joint_moments(X, y, w, 2)
    mean, scatter, middle, target_scatter, cross = truth(X, y, np.ones(len(X)) if w is None else w)
    tolerance = PRECISIONS[dtype]
    rounding = np.finfo(dtype).eps * np.abs(X).max()
    assert_allclose(found.rows.mean, mean, rtol=0, atol=rounding)
    assert_near(found.rows.scatter, scatter, tolerance)
    assert_near(found.cross, cross, tolerance)
    assert_allclose(found.target_mean, middle, rtol=1e-13)
    assert_allclose(found.target_scatter, target_scatter, rtol=1e-11)
    assert_array_equal(found.rows.scatter[2], np.zeros(5))
    alone = moments(X, w, 2)
    assert_near(alone.scatter, scatter, tolerance)


@precisions
def test_the_same_bits_for_any_number_of_threads_and_any_chunks_of_the_same_rows(dtype):
    X, y, w = case(dtype, n=40_000)
    one = joint_moments(X, y, w, 1)
    for n_threads in (2, 3, 8):
        other = joint_moments(X, y, w, n_threads)
        assert_array_equal(one.rows.scatter, other.rows.scatter)
        assert_array_equal(one.cross, other.cross)


@precisions
def test_chunks_and_strides_change_nothing_but_rounding(dtype, monkeypatch):
    X, y, w = case(dtype)
    whole = joint_moments(X, y, w, 1)
    monkeypatch.setattr(module, "CHUNK_ROWS", 700)
    for rows in (X, np.asfortranarray(X), X[::-1][::-1], np.repeat(X, 2, axis=1)[:, ::2]):
        parts = joint_moments(rows, y, w, 1)
        assert_near(parts.rows.scatter, whole.rows.scatter, PRECISIONS[dtype])
        assert_near(parts.cross, whole.cross, PRECISIONS[dtype])
        assert_allclose(parts.target_scatter, whole.target_scatter, rtol=1e-13)


@precisions
def test_a_row_of_no_weight_does_not_matter_whatever_it_holds(dtype):
    X, y, w = case(dtype)
    other_rows, other_targets = X.copy(), y.copy()
    other_rows[w == 0], other_targets[w == 0] = 1e10, -1e10
    one, other = joint_moments(X, y, w, 1), joint_moments(other_rows, other_targets, w, 1)
    assert_array_equal(one.rows.scatter, other.rows.scatter)
    assert_array_equal(one.cross, other.cross)


@pytest.mark.parametrize("power", [-400, 400])
@precisions
def test_weights_of_any_size(dtype, power):
    X, y, w = case(dtype)
    one, other = joint_moments(X, y, w, 1), joint_moments(X, y, w * 2.0**power, 1)
    assert_allclose(other.rows.scatter, one.rows.scatter * 2.0**power, rtol=1e-12)
    assert_allclose(other.cross, one.cross * 2.0**power, rtol=1e-12)
    assert other.rows.weight == one.rows.weight * 2.0**power


def test_rows_that_tell_nothing_of_the_others_are_no_trouble():
    """All that are looked at first are alike, and far from the others."""
    n = 100 * module.SAMPLE_ROWS
    rng = np.random.default_rng(0)
    X = 1e9 + rng.normal(size=(n, 2))
    looked_at = np.linspace(0, n - 1, module.SAMPLE_ROWS).astype(int)
    w = np.ones(n)
    X[looked_at], w[looked_at] = 0.0, 1e-30
    _, scatter, *_ = truth(X, X[:, 0], w)
    assert_near(moments(X, w, 1).scatter, scatter, 1e-6)


def test_they_add():
    X, _, w = case("float64")
    whole = moments(X, w, 1)
    for cut in (1, 1000):
        both = moments(X[:cut], w[:cut] + 1, 1) + moments(X[cut:], w[cut:], 1)
        added = moments(X, np.where(np.arange(len(X)) < cut, w + 1, w), 1)
        assert_allclose(both.mean, added.mean, rtol=1e-12)
        assert_near(both.scatter, added.scatter, 1e-12)
    assert whole.weight == w.sum()


def test_one_row():
    found = joint_moments(np.array([[2.0, 3.0]]), np.array([7.0]), None, 1)
    assert_array_equal(found.rows.mean, [2, 3])
    assert_array_equal(found.rows.scatter, np.zeros((2, 2)))
    assert_array_equal(found.cross, [0, 0])
    assert (found.target_mean, found.target_scatter) == (7.0, 0.0)


def test_sums_of_products_about_zero():
    X, y, w = case("float64")
    found = joint_moments(X, y, w, 1).about_zero()
    assert_allclose(found.rows.scatter, (X.T * w) @ X, rtol=1e-10)
    assert_allclose(found.cross, X.T @ (w * y), rtol=1e-10)
    assert_allclose(found.target_scatter, w @ y**2, rtol=1e-12)


def test_read_only_memory_maps(tmp_path):
    X, _, w = case("float64")
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_array_equal(moments(mapped, w, 2).scatter, moments(X, w, 2).scatter)
