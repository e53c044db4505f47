"""The slow truth: mixtures in plain NumPy, straight from the formulas.

One density at a time, float64 (sums in long double), nothing shared with the package. Parameters
are in human units: means, covariances of the shape that the covariance type says, probabilities.
"""

import mpmath
import numpy as np
from scipy.special import gammaln

LOG_FLOOR = -100.0  # log p and log(1 - p) of a Bernoulli feature are clipped there


# Densities


def gaussian_log_density(X, mean, covariance):
    """log N(x | mean, covariance) of every row; covariance is (D, D)."""
    X = np.asarray(X, np.float64)
    cholesky = np.linalg.cholesky(covariance)
    whitened = np.linalg.solve(cholesky, (X - mean).T)
    log_determinant = 2 * np.log(np.diag(cholesky)).sum()
    return -0.5 * (len(mean) * np.log(2 * np.pi) + log_determinant + (whitened**2).sum(axis=0))


def covariance_of(covariances, covariance_type, k, n_features):
    """The (D, D) covariance of component k."""
    if covariance_type == "spherical":
        return np.eye(n_features) * covariances[k]
    if covariance_type == "diag":
        return np.diag(covariances[k])
    if covariance_type == "tied":
        return np.asarray(covariances)
    return np.asarray(covariances[k])


def gaussian_log_densities(X, means, covariances, covariance_type):
    """(n, K) log-densities."""
    K, D = np.shape(means)
    columns = [
        gaussian_log_density(X, means[k], covariance_of(covariances, covariance_type, k, D))
        for k in range(K)
    ]
    return np.stack(columns, axis=1)


def patterns_of(X):
    """Which features a row has, (D,), and which rows have just these; for all there are."""
    patterns, of_row = np.unique(~np.isnan(X), axis=0, return_inverse=True)
    for i, known in enumerate(patterns):
        yield known, np.flatnonzero(of_row.ravel() == i)


def incomplete_gaussian_log_densities(X, means, covariances, covariance_type):
    """(n, K) log-densities of what is known of every row; 0 where nothing is."""
    X = np.asarray(X, np.float64)
    K, D = np.shape(means)
    out = np.zeros((len(X), K))
    for o, rows in patterns_of(X):
        for k in range(K if o.any() else 0):
            covariance = covariance_of(covariances, covariance_type, k, D)[np.ix_(o, o)]
            out[rows, k] = gaussian_log_density(X[np.ix_(rows, o)], means[k][o], covariance)
    return out


def conditional(X, mean, covariance):
    """Means (n, D) and covariances (n, D, D) of Gaussian rows given what is known of them."""
    filled = np.array(X, np.float64)
    spread = np.zeros((len(X), len(mean), len(mean)))
    for o, rows in patterns_of(X):
        m = ~o
        slopes = np.linalg.solve(covariance[np.ix_(o, o)], covariance[np.ix_(o, m)])
        filled[np.ix_(rows, m)] = mean[m] + (filled[np.ix_(rows, o)] - mean[o]) @ slopes
        spread[np.ix_(rows, m, m)] = covariance[np.ix_(m, m)] - covariance[np.ix_(m, o)] @ slopes
    return filled, spread


def bernoulli_log_densities(X, probabilities):
    """(n, K) log-densities, logarithms clipped at -100; missing features (NaN) are left out."""
    X = np.asarray(X, np.float64)
    columns = []
    for p in np.asarray(probabilities):
        with np.errstate(divide="ignore"):
            log_one = np.maximum(np.log(p), LOG_FLOOR)
            log_zero = np.maximum(np.log1p(-p), LOG_FLOOR)
        terms = np.where(X == 1, log_one, log_zero)
        columns.append(np.where(np.isnan(X), 0, terms).sum(axis=1))
    return np.stack(columns, axis=1)


def poisson_log_densities(X, rates):
    """(n, K) log-densities, log rates clipped at -100; missing counts (NaN) are left out."""
    X = np.asarray(X, np.float64)
    there = ~np.isnan(X)
    x = np.where(there, X, 0)
    columns = []
    for rate in np.asarray(rates, np.float64):
        with np.errstate(divide="ignore"):
            log_rate = np.maximum(np.log(rate), LOG_FLOOR)
        terms = x * log_rate - rate - gammaln(x + 1)
        columns.append(np.where(there, terms, 0).sum(axis=1))
    return np.stack(columns, axis=1)


def exponential_log_densities(X, rates):
    """(n, K) log-densities; missing waiting times (NaN) are left out."""
    X = np.asarray(X, np.float64)
    columns = []
    for rate in np.asarray(rates, np.float64):
        terms = np.log(rate) - rate * X
        columns.append(np.where(np.isnan(X), 0, terms).sum(axis=1))
    return np.stack(columns, axis=1)


def binomial_log_densities(X, n_trials, probabilities):
    """(n, K) log-densities, logarithms clipped at -100; missing counts (NaN) are left out."""
    X = np.asarray(X, np.float64)
    there = ~np.isnan(X)
    x = np.where(there, X, 0)
    n = np.broadcast_to(np.asarray(n_trials, np.float64), X.shape)
    log_choices = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1)
    columns = []
    for p in np.asarray(probabilities, np.float64):
        with np.errstate(divide="ignore"):
            log_p = np.maximum(np.log(p), LOG_FLOOR)
            log_q = np.maximum(np.log1p(-p), LOG_FLOOR)
        terms = log_choices + x * log_p + (n - x) * log_q
        columns.append(np.where(there, terms, 0).sum(axis=1))
    return np.stack(columns, axis=1)


def categorical_log_densities(X, probabilities):
    """(n, K) log-densities, clipped at -100; probabilities are a (K, levels) array a column."""
    X = np.asarray(X, np.float64)
    total = 0.0
    for codes, p in zip(X.T, probabilities, strict=True):
        with np.errstate(divide="ignore"):
            log_p = np.maximum(np.log(p), LOG_FLOOR)
        there = ~np.isnan(codes)
        at = np.where(there, codes, 0).astype(int)
        total = total + np.where(there, log_p[:, at], 0).T
    return total


def exact_gaussian_log_density(x, mean, covariance, digits=60):
    """log N(x | mean, covariance) of one row, in as many digits as asked."""
    with mpmath.workdps(digits):
        covariance = mpmath.matrix(np.asarray(covariance).tolist())
        shift = mpmath.matrix(
            [mpmath.mpf(float(a)) - mpmath.mpf(float(b)) for a, b in zip(x, mean, strict=True)]
        )
        distance = (shift.T * mpmath.inverse(covariance) * shift)[0]
        constant = len(mean) * mpmath.log(2 * mpmath.pi) + mpmath.log(mpmath.det(covariance))
        return float(-(constant + distance) / 2)


# E-step


def allowed_by(component, K):
    """A component index per row, -1 where missing, as a boolean (n, K) array."""
    component = np.asarray(component)
    return (component[:, None] < 0) | (component[:, None] == np.arange(K))


def respond(log_densities, mixture_weights, allowed=None):
    """(responsibilities, log-likelihoods) of every row.

    A component that is not allowed has probability zero: the log-likelihood of a labelled row is
    joint with its label. A row that nothing allows has responsibilities of zero and -inf.
    """
    with np.errstate(divide="ignore"):
        joint = log_densities + np.log(mixture_weights)
    if allowed is not None:
        joint = np.where(allowed, joint, -np.inf)
    largest = joint.max(axis=1, keepdims=True)
    possible = np.isfinite(largest[:, 0])
    terms = np.exp(joint - np.where(possible[:, None], largest, 0.0))
    totals = terms.sum(axis=1)
    log_likelihoods = np.full(len(joint), -np.inf)
    log_likelihoods[possible] = largest[possible, 0] + np.log(totals[possible])
    responsibilities = np.zeros_like(terms)
    responsibilities[possible] = terms[possible] / totals[possible, None]
    return responsibilities, log_likelihoods


def uniforms(seed, iteration, n):
    """SplitMix64 in integers of Python: output n of the generator seeded by seed and iteration."""
    golden, mask = 0x9E3779B97F4A7C15, 2**64 - 1

    def mixed(z):
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    key = mixed(mixed(seed + golden & mask) + (iteration + 1) * golden & mask)
    return np.array([mixed(key + (row + 1) * golden & mask) for row in range(n)], np.uint64)


def drawn(r, seed, iteration, dtype):
    """The component drawn for every row, and whether rounding cannot make it another.

    Rows of float32 have numbers of 23 bits, others of 52.
    """
    bits = 23 if dtype == np.float32 else 52
    u = (uniforms(seed, iteration, len(r)) >> np.uint64(64 - bits)) / 2.0**bits
    cumulated = r.cumsum(axis=1)
    # Nor is a component drawn that has nothing.
    last = r.shape[1] - 1 - (r[:, ::-1] > 0).argmax(axis=1)
    z = np.minimum((cumulated <= u[:, None]).sum(axis=1), last)
    return z, np.abs(cumulated - u[:, None]).min(axis=1) >= 1e-4


# Sufficient statistics: r holds weighted responsibilities


def weighted_sums(X, r):
    """sum_n r_nk x_n, (K, D)."""
    return (np.asarray(r, np.longdouble).T @ np.asarray(X, np.longdouble)).astype(np.float64)


def normalised_by_feature(values, levels):
    """Numbers for every level, (K, sum of levels), over their sums over the levels of a feature."""
    parts = np.split(values, np.cumsum(levels)[:-1], axis=1)
    return np.hstack([part / part.sum(axis=1, keepdims=True) for part in parts])


def first_moments(X, r, origins):
    """sum_n r_nk (x_n - origin_k), (K, D)."""
    X, r = np.asarray(X, np.longdouble), np.asarray(r, np.longdouble)
    return np.stack(
        [(r[:, k, None] * (X - origins[k])).sum(axis=0) for k in range(r.shape[1])]
    ).astype(np.float64)


def second_moments(X, r, origins):
    """sum_n r_nk (x_n - origin_k) (x_n - origin_k)', (K, D, D)."""
    X, r = np.asarray(X, np.longdouble), np.asarray(r, np.longdouble)
    moments = []
    for k in range(r.shape[1]):
        z = X - origins[k]
        moments.append((r[:, k, None] * z).T @ z)
    return np.stack(moments).astype(np.float64)


def expected_moments(X, r, origins, means, covariances, covariance_type):
    """First (K, D) and second moments (K, D, D) as expected given what is known of the rows."""
    K, D = np.shape(means)
    first, second = [], []
    for k in range(K):
        covariance = covariance_of(covariances, covariance_type, k, D)
        filled, spread = conditional(X, means[k], covariance)
        z = filled - origins[k]
        first.append(r[:, k] @ z)
        second.append((r[:, k, None] * z).T @ z + np.tensordot(r[:, k], spread, 1))
    return np.stack(first), np.stack(second)


def known_moments(X, r, origins):
    """Of every feature over the rows that have it: moments (K, D), and sums of responsibilities."""
    known = ~np.isnan(X)
    first, second = np.zeros((2, r.shape[1], X.shape[1]))
    for k in range(r.shape[1]):
        z = np.where(known, np.asarray(X, np.longdouble) - origins[k], 0)
        first[k] = (r[:, k, None] * z).sum(axis=0)
        second[k] = (r[:, k, None] * z * z).sum(axis=0)
    return first, second, r.T @ known


# M-step


def mixture_weights(r):
    return r.sum(axis=0) / r.sum()


def weighted_means(X, r):
    X, r = np.asarray(X, np.longdouble), np.asarray(r, np.longdouble)
    return ((r.T @ X) / r.sum(axis=0)[:, None]).astype(np.float64)


def gaussian_covariances(X, r, covariance_type, reg_covar=0.0, means=None):
    """Covariances about the weighted means, or about known ones."""
    means = weighted_means(X, r) if means is None else means
    scatter = second_moments(X, r, means)
    counts = r.sum(axis=0)
    D = scatter.shape[-1]
    if covariance_type == "full":
        return scatter / counts[:, None, None] + reg_covar * np.eye(D)
    if covariance_type == "tied":
        return scatter.sum(axis=0) / counts.sum() + reg_covar * np.eye(D)
    variances = np.diagonal(scatter, axis1=1, axis2=2) / counts[:, None]
    if covariance_type == "diag":
        return variances + reg_covar
    return variances.mean(axis=1) + reg_covar


# Linear regressions; the last column of X is the target


def regression_log_densities(X, coef, intercept, noise_variances):
    X = np.asarray(X, np.float64)
    columns = []
    for w, b, variance in zip(coef, intercept, noise_variances, strict=True):
        e = X[:, -1] - X[:, :-1] @ w - b
        columns.append(-0.5 * (np.log(2 * np.pi * variance) + e**2 / variance))
    return np.stack(columns, axis=1)


def regression_sums(X, r, origin, size):
    """Sums of r u u', r e u and r e^2 about an origin (centre, level, coefficients), by components.

    `size` is the identity, or the absolute value of all that is added up.
    """
    X = np.asarray(X, np.float64)
    C = X.shape[1] - 1
    design, residuals, squares = [], [], []
    for k, (centre, level, coef) in enumerate(
        (own[: C + 1], own[C + 1], own[C + 2 :]) for own in origin
    ):
        z = X - centre
        u = size(np.column_stack([np.ones(len(X)), z[:, :-1]]))
        e = size(z[:, -1]) + size(-level) + size(-z[:, :-1] * coef).sum(axis=1)
        design.append((r[:, k, None] * u).T @ u)
        residuals.append((r[:, k] * e) @ u)
        squares.append(r[:, k] @ e**2)
    return {
        "design": np.array(design), "residuals": np.array(residuals), "squares": np.array(squares)
    }  # fmt: skip


def regression_estimate(X, r, regular):
    """Weighted least squares by an orthogonal factorisation."""
    X = np.asarray(X, np.float64)
    coef, intercept, variances = [], [], []
    for own in r.T:
        origin = np.average(X, axis=0, weights=own)
        z = X - origin
        roots = np.sqrt(own)
        # Of least norm in standard deviations of the columns, where rows are too few.
        scales = np.sqrt(np.average(z[:, :-1] ** 2, axis=0, weights=own))
        design = roots[:, None] * z[:, :-1] / scales
        w = np.linalg.lstsq(design, roots * z[:, -1], rcond=1e-6)[0] / scales
        e = z[:, -1] - z[:, :-1] @ w
        coef.append(w)
        intercept.append(origin[-1] - origin[:-1] @ w)
        variances.append(np.average(e**2, weights=own) + regular)
    return {
        "coef": np.array(coef), "intercept": np.array(intercept),
        "noise_variances": np.array(variances),
    }  # fmt: skip


# Gates


def softmax(forms):
    terms = np.exp(forms - forms.max(axis=1, keepdims=True))
    return terms / terms.sum(axis=1, keepdims=True)
