"""The NumPy baseline against a slow direct computation and against the kernels."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from emfast import BernoulliMixture, GaussianMixture, baseline
from emfast.baseline import numpy_em, numpy_em_bernoulli, numpy_em_regression
from emfast.datasets import make_gaussian_mixture

COVARIANCE_TYPES = ["full", "tied", "diag", "spherical"]
K = 3


def start(X, covariance_type):
    variances = X.var(axis=0)
    covariances = {
        "full": np.tile(np.diag(variances), (K, 1, 1)),
        "tied": np.diag(variances),
        "diag": np.tile(variances, (K, 1)),
        "spherical": np.full(K, variances.mean()),
    }
    return np.array([0.2, 0.3, 0.5]), X[:K].copy(), covariances[covariance_type]


def matrices(covariances, covariance_type, D):
    if covariance_type == "full":
        return covariances
    if covariance_type == "tied":
        return np.tile(covariances, (K, 1, 1))
    return np.reshape(covariances, (K, -1, 1)) * np.eye(D)


def shaped(scatters, counts, covariance_type, reg_covar):
    """Covariances of one type from a scatter matrix for each component."""
    D = scatters.shape[1]
    if covariance_type == "tied":
        return scatters.sum(axis=0) / counts.sum() + reg_covar * np.eye(D)
    full = scatters / counts[:, None, None]
    if covariance_type == "full":
        return full + reg_covar * np.eye(D)
    diagonals = np.diagonal(full, axis1=1, axis2=2)
    return (diagonals if covariance_type == "diag" else diagonals.mean(axis=1)) + reg_covar


def slow_log_densities(X, weights, means, covariances, covariance_type):
    normals = zip(means, matrices(covariances, covariance_type, X.shape[1]), strict=True)
    columns = [multivariate_normal(mean, covariance).logpdf(X) for mean, covariance in normals]
    return np.column_stack(columns) + np.log(weights)


def slow_em(X, weights, means, covariances, covariance_type, n_iter, reg_covar):
    for _ in range(n_iter):
        logs = slow_log_densities(X, weights, means, covariances, covariance_type)
        r = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
        counts = r.sum(axis=0)
        weights, means = counts / len(X), r.T @ X / counts[:, None]
        scatters = np.array([(r[:, k, None] * (X - means[k])).T @ (X - means[k]) for k in range(K)])
        covariances = shaped(scatters, counts, covariance_type, reg_covar)
    logs = slow_log_densities(X, weights, means, covariances, covariance_type)
    return weights, means, covariances, logsumexp(logs, axis=1).mean()


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_features", [1, 3, baseline.MAX_QUADRATIC + 2])
def test_equals_the_direct_computation(covariance_type, n_features):
    X, _ = make_gaussian_mixture(1200, n_features, K, random_state=0)
    given = start(X, covariance_type)
    found, log_likelihood = numpy_em(X, *given, covariance_type, 5, reg_covar=1e-3)
    *expected, expected_log_likelihood = slow_em(X, *given, covariance_type, 5, 1e-3)
    assert log_likelihood == pytest.approx(expected_log_likelihood, rel=1e-12)
    for value, truth in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, truth, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_equals_the_kernels(covariance_type):
    # More rows than a block holds, and a last block that is not full.
    X, _ = make_gaussian_mixture(40_001, 4, K, random_state=1)
    weights, means, covariances = start(X, covariance_type)
    found, log_likelihood = numpy_em(X, weights, means, covariances, covariance_type, 8)
    mixture = GaussianMixture(
        K,
        covariance_type=covariance_type,
        tol=0,
        max_iter=8,
        weights_init=weights,
        means_init=means,
        covariances_init=covariances,
    ).fit(X)
    assert log_likelihood == pytest.approx(mixture.lower_bound_, rel=1e-8)
    for value, name in zip(found, ("weights_", "means_", "covariances_"), strict=True):
        np.testing.assert_allclose(value, getattr(mixture, name), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, bool])
def test_bernoulli_equals_the_kernels(dtype):
    generator = np.random.default_rng(0)
    X = (generator.random((3001, 20)) < generator.uniform(0.1, 0.9, 20)).astype(dtype)
    weights, p = np.full(K, 1 / K), generator.uniform(0.2, 0.8, (K, 20))
    found, log_likelihood = numpy_em_bernoulli(X, weights, p, 6)
    mixture = BernoulliMixture(
        K, tol=0, max_iter=6, weights_init=weights, probabilities_init=p
    ).fit(X)
    tolerance = 1e-4 if dtype == np.float32 else 1e-8
    assert log_likelihood == pytest.approx(mixture.lower_bound_, rel=tolerance)
    np.testing.assert_allclose(found.probabilities, mixture.probabilities_, atol=tolerance)


def test_bernoulli_equals_the_direct_computation():
    generator = np.random.default_rng(1)
    X = (generator.random((500, 6)) < 0.4).astype(float)
    p, weights = generator.uniform(0.2, 0.8, (K, 6)), np.array([0.2, 0.3, 0.5])
    logs = np.log(weights) + X @ np.log(p).T + (1 - X) @ np.log(1 - p).T
    r = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
    found, log_likelihood = numpy_em_bernoulli(X, weights, p, 0)
    assert log_likelihood == pytest.approx(logsumexp(logs, axis=1).mean(), rel=1e-12)
    found, _ = numpy_em_bernoulli(X, weights, p, 1)
    np.testing.assert_allclose(found.weights, r.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.probabilities, r.T @ X / r.sum(axis=0)[:, None], rtol=1e-12)


def test_tells_of_every_iteration_and_owns_its_log_likelihood():
    X, _ = make_gaussian_mixture(500, 2, K, random_state=2)
    seen = []
    given = start(X, "full")
    found, last = numpy_em(X, *given, "full", 4, on_iteration=lambda *args: seen.append(args))
    assert [number for number, _ in seen] == [1, 2, 3, 4]
    assert seen[-1][1] == last
    assert numpy_em(X, *found, "full", 0)[1] == pytest.approx(last, rel=1e-14)


def test_float32_is_computed_in_float32():
    X, _ = make_gaussian_mixture(5000, 3, K, random_state=4)
    given = start(X, "full")
    expected = numpy_em(X, *given, "full", 3)[1]
    single = numpy_em(X.astype(np.float32), *given, "full", 3)[1]
    assert single == pytest.approx(expected, rel=1e-5)
    assert single != expected


def test_regressions_agree_with_weighted_least_squares():
    rng = np.random.default_rng(0)
    X = rng.normal([3.0, -100.0], size=(300, 2))
    slopes, z = np.array([[1.0, 2.0], [-1.0, 0.5]]), rng.integers(2, size=300)
    y = (X * slopes[z]).sum(axis=1) + 5.0 * z + 0.3 * rng.normal(size=300)
    start = np.array([0.4, 0.6]), slopes + 0.1, np.array([0.0, 1.0]), np.array([1.0, 2.0])
    weights, coef, intercept, variances = (values.copy() for values in start)
    design = np.column_stack([np.ones(300), X])
    for _ in range(4):
        residuals = y[:, None] - X @ coef.T - intercept
        logs = np.log(weights) - 0.5 * (np.log(2 * np.pi * variances) + residuals**2 / variances)
        r = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
        weights = r.mean(axis=0)
        for k in range(2):
            root = np.sqrt(r[:, k])
            solution = np.linalg.lstsq(root[:, None] * design, root * y, rcond=None)[0]
            intercept[k], coef[k] = solution[0], solution[1:]
            variances[k] = np.average((y - design @ solution) ** 2, weights=r[:, k]) + 1e-3
    residuals = y[:, None] - X @ coef.T - intercept
    logs = np.log(weights) - 0.5 * (np.log(2 * np.pi * variances) + residuals**2 / variances)
    found, log_likelihood = numpy_em_regression(X, y, *start, 4, reg_covar=1e-3)
    for actual, expected in zip(found, (weights, coef, intercept, variances), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-6)
    np.testing.assert_allclose(log_likelihood, logsumexp(logs, axis=1).mean(), rtol=1e-9)
