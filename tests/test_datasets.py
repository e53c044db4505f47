import numpy as np
import pytest

from emfast.datasets import load_faithful, make_cars_and_trucks, make_gaussian_mixture


def test_faithful():
    faithful = load_faithful()
    assert faithful.data.shape == (272, 2)
    assert faithful.data.dtype == np.float64
    assert faithful.columns == ("eruptions", "waiting")
    np.testing.assert_allclose(faithful.data.mean(axis=0), [3.487783, 70.897059], atol=1e-6)


def test_cars_and_trucks():
    X, labels = make_cars_and_trucks(100, 100_000, random_state=0)
    assert X.shape == (100_100, 1)
    assert labels[:100].tolist() == ["car"] * 50 + ["truck"] * 50
    assert set(labels[100:]) == {None}
    assert abs(X[:50].mean() - 5) < 0.5
    assert abs(X[50:100].mean() - 10) < 1
    np.testing.assert_allclose(X[100:].mean(), 0.6 * 5 + 0.4 * 10, atol=0.05)
    np.testing.assert_allclose(X[100:].var(), 0.6 * 1 + 0.4 * 4 + 0.24 * 25, rtol=0.02)


def test_cars_and_trucks_repeat_for_a_seed():
    X, labels = make_cars_and_trucks(7, 5, random_state=3)
    again, labels_again = make_cars_and_trucks(7, 5, random_state=3)
    assert np.array_equal(X, again)
    assert labels.tolist() == labels_again.tolist() == ["car"] * 3 + ["truck"] * 4 + [None] * 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaussian_mixture(dtype):
    X, components = make_gaussian_mixture(50_000, 12, 3, random_state=0, dtype=dtype)
    assert X.shape == (50_000, 12)
    assert X.dtype == dtype
    assert components.shape == (50_000,)
    assert set(components.tolist()) == {0, 1, 2}
    for k in range(3):
        deviations = X[components == k].std(axis=0)
        assert np.all((deviations > 0.48) & (deviations < 1.53))


def test_gaussian_mixture_is_as_separate_as_asked():
    X, components = make_gaussian_mixture(100_000, 20, 50, separation=6.0, random_state=1)
    means = np.array([X[components == k].mean(axis=0) for k in range(50)])
    squares = ((means[:, None] - means) ** 2).sum(axis=-1)
    assert np.sqrt(squares[np.triu_indices(50, 1)].mean()) == pytest.approx(6.0, rel=0.1)


def test_gaussian_mixture_repeats_for_a_seed():
    X, components = make_gaussian_mixture(1000, 3, 2, random_state=5)
    again, components_again = make_gaussian_mixture(1000, 3, 2, random_state=5)
    assert np.array_equal(X, again)
    assert np.array_equal(components, components_again)
