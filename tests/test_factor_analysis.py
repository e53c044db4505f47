"""Factor analysis and probabilistic principal components, by EM."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.decomposition import FactorAnalysis as Peer
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from emfast import FactorAnalysis, GaussianMixture, select
from emfast.problems import factors as module

both_kinds = pytest.mark.parametrize("noise", ["diagonal", "isotropic"])
accelerated = pytest.mark.parametrize("accelerate", [False, True])


def data(n=300, D=6, K=2, missing=0.0, seed=3):
    rng = np.random.default_rng(seed)
    X = 5 + rng.normal(size=(n, K)) @ rng.normal(size=(K, D))
    X += rng.normal(size=(n, D)) * rng.uniform(0.5, 1.5, D)
    X[rng.uniform(size=X.shape) < missing] = np.nan
    return X


def of_few_patterns(n=400, D=6):
    """Rows with one of four patterns of missing entries, of which one is complete, one all."""
    rng = np.random.default_rng(1)
    patterns = rng.uniform(size=(4, D)) < 0.4
    patterns[0], patterns[1] = False, True
    X = data(n, D)
    X[patterns[rng.choice(4, n, p=[0.5, 0.05, 0.4, 0.05])]] = np.nan
    return X


def digits():
    X = load_digits().data
    return X[:, X.std(axis=0) > 5]


INCOMPLETE = {"many patterns": data(missing=0.2), "few patterns": of_few_patterns()}
incomplete = pytest.mark.parametrize("rows", INCOMPLETE)


def log_densities(X, mean, covariance):
    """log p of what is known of every row, by the marginal distribution of just that."""
    scores = np.zeros(len(X))
    for n, x in enumerate(X):
        o = ~np.isnan(x)
        if o.any():
            scores[n] = multivariate_normal.logpdf(x[o], mean[o], covariance[np.ix_(o, o)])
    return scores


def oracle_step(X, w, mean, W, noise, isotropic):
    """One iteration, row by row: E-step by the joint normal distribution, M-step by regressions.

    Then factors of the mean and covariance that were found become standard normal ones.
    """
    (D, K) = W.shape
    products, cross = np.zeros((D, K + 1, K + 1)), np.zeros((D, K + 1))
    squares, counts, every = np.zeros(D), np.zeros(D), np.zeros((K + 1, K + 1))
    for x, weight in zip(X, w, strict=True):
        o = np.flatnonzero(~np.isnan(x))
        if not o.size:
            continue
        slopes = W[o].T @ np.linalg.inv(W[o] @ W[o].T + np.diag(noise[o]))
        z = np.append(slopes @ (x - mean)[o], 1.0)
        second = np.outer(z, z)
        second[:K, :K] += np.eye(K) - slopes @ W[o]
        every += weight * second
        for d in o:
            products[d] += weight * second
            cross[d] += weight * x[d] * z
            squares[d] += weight * x[d] ** 2
            counts[d] += weight
    slopes = np.array([np.linalg.solve(products[d], cross[d]) for d in range(D)])
    left = squares - (slopes * cross).sum(axis=1)
    left = np.full(D, left.sum() / counts.sum()) if isotropic else left / counts
    nu, R = every[K, :K] / every[K, K], every[:K, :K] / every[K, K]
    root = np.linalg.cholesky(R - np.outer(nu, nu))
    mean, W = slopes[:, K] + slopes[:, :K] @ nu, slopes[:, :K] @ root
    return (mean, W, left) if isotropic or np.isnan(X).any() else oracle_climb(X, w, left, K)


def oracle_climb(X, w, noise, K):
    """Conditional maxima of the likelihood of complete rows, by a search for each variance."""
    mean = np.average(X, axis=0, weights=w)
    S = np.cov(X.T, aweights=w, bias=True)
    values, vectors = np.linalg.eig(S / noise[:, None])
    order = np.argsort(values)[::-1][:K]
    # Psi^-1 S v = l v with v' Psi v = 1 are loadings Psi v (l - 1)^1/2.
    vectors = vectors[:, order] / np.sqrt((noise[:, None] * vectors[:, order] ** 2).sum(axis=0))
    W = noise[:, None] * vectors * np.sqrt(values[order] - 1)
    noise = noise.copy()

    def deviance(log_variance, d):
        trial = noise.copy()
        trial[d] = np.exp(log_variance)
        C = W @ W.T + np.diag(trial)
        return np.linalg.slogdet(C)[1] + np.trace(np.linalg.solve(C, S))

    for d in range(len(noise)):
        bounds = np.log(S[d, d]) + np.array([-8, 1])
        found = minimize_scalar(
            deviance, args=(d,), bounds=bounds, method="bounded", options={"xatol": 1e-10}
        )
        noise[d] = np.exp(found.x)
    return mean, W, noise


# Agreement with others


@pytest.mark.parametrize(("X", "K"), [(data(), 2), (data(500, 12, 3), 3), (digits()[:200], 5)])
def test_agrees_with_factor_analysis_of_scikit_learn(X, K):
    peer = Peer(K, tol=1e-8, max_iter=5000, svd_method="lapack").fit(X)
    ours = FactorAnalysis(K).fit(X)
    assert ours.converged_
    assert ours.score(X) == pytest.approx(peer.score(X), abs=1e-6)
    assert ours.loglike_[-1] / len(X) == pytest.approx(peer.score(X), abs=1e-6)
    size = np.abs(peer.get_covariance()).max()
    assert_allclose(ours.get_covariance(), peer.get_covariance(), rtol=0, atol=1e-4 * size)
    assert_allclose(ours.score_samples(X), peer.score_samples(X), rtol=0, atol=2e-2)
    assert_allclose(ours.mean_, peer.mean_, rtol=1e-12)


@pytest.mark.parametrize(("X", "K"), [(data(), 2), (data(30_000, 12, 3), 3), (digits(), 5)])
@pytest.mark.parametrize("start", ["principal", "random"])
def test_isotropic_noise_agrees_with_principal_components(X, K, start):
    n, D = X.shape
    rng = np.random.default_rng(0)
    given = {} if start == "principal" else {"components_init": rng.normal(size=(K, D))}
    peer = PCA(K, svd_solver="full").fit(X)
    ours = FactorAnalysis(K, noise="isotropic", tol=1e-10, **given).fit(X)
    assert ours.converged_
    # Its variances are over n - 1, which are not quite of the highest likelihood.
    factor = (n - 1) / n
    covariance = factor * peer.get_covariance()
    tolerance = 1e-8 if start == "principal" else 1e-3
    assert_allclose(ours.get_covariance(), covariance, atol=tolerance * np.abs(covariance).max())
    assert_allclose(ours.noise_variance_, factor * peer.noise_variance_, rtol=tolerance)
    # The closed form, Tipping and Bishop, 1999, eq. 8 at the maximum.
    values = factor * np.append(peer.explained_variance_, np.full(D - K, peer.noise_variance_))
    best = -0.5 * (D * np.log(2 * np.pi) + np.log(values).sum() + D)
    assert ours.lower_bound_ == pytest.approx(best, abs=1e-8)
    assert ours.score(X) == pytest.approx(best, abs=1e-8)
    assert 0 <= ours.score(X) - peer.score(X) < D * (1 - factor) ** 2
    axes = (
        peer.components_
        * np.sqrt(factor * (peer.explained_variance_ - peer.noise_variance_))[:, None]
    )
    signs = np.sign((axes * ours.components_).sum(axis=1))[:, None]
    assert_allclose(ours.components_, signs * axes, atol=0.01 * np.abs(axes).max())


# The algorithm, step by step


@both_kinds
@pytest.mark.parametrize("rows", ["complete", *INCOMPLETE])
def test_one_iteration_is_that_of_the_oracle(noise, rows):
    X = data() if rows == "complete" else INCOMPLETE[rows]
    rng = np.random.default_rng(0)
    w = rng.integers(0, 3, len(X)).astype(float)
    W = rng.normal(size=(6, 2))
    psi = rng.uniform(0.5, 2, 6) if noise == "diagonal" else np.full(6, 0.7)
    start = FactorAnalysis(
        2,
        noise=noise,
        components_init=W.T,
        noise_variance_init=psi if noise == "diagonal" else 0.7,
        max_iter=0,
        accelerate=False,
    ).fit(X, sample_weight=w)
    assert_allclose(start.get_covariance(), W @ W.T + np.diag(psi), rtol=1e-12)
    assert (start.n_iter_, start.converged_) == (0, False)
    mean, W, psi = oracle_step(X, w, start.mean_, W, psi, noise == "isotropic")
    one = clone(start).set_params(max_iter=1, tol=0).fit(X, sample_weight=w)
    assert_allclose(one.mean_, mean, rtol=1e-10)
    # A search finds a maximum to half of the digits.
    tolerance = 1e-6 if rows == "complete" and noise == "diagonal" else 1e-9
    assert_allclose(one.get_covariance(), W @ W.T + np.diag(psi), rtol=tolerance, atol=tolerance)
    assert_allclose(one.noise_variance_, psi if noise == "diagonal" else psi[0], rtol=tolerance)
    expected = np.average(log_densities(X, mean, W @ W.T + np.diag(psi)), weights=w)
    assert_allclose(one.lower_bounds_, [expected], rtol=1e-9)


@both_kinds
@accelerated
@pytest.mark.parametrize("rows", ["complete", *INCOMPLETE])
def test_the_likelihood_never_falls(noise, accelerate, rows):
    X = data() if rows == "complete" else INCOMPLETE[rows]
    analysis = FactorAnalysis(
        2, noise=noise, accelerate=accelerate, tol=0, max_iter=80, noise_variance_init=1.0
    ).fit(X)
    assert analysis.n_iter_ == len(analysis.lower_bounds_) == 80
    assert np.diff(analysis.lower_bounds_).min() >= -1e-11
    assert analysis.lower_bound_ == analysis.lower_bounds_[-1]
    assert analysis.lower_bound_ == pytest.approx(analysis.score(X), rel=1e-12)


@both_kinds
@incomplete
def test_a_fit_ends_at_a_maximum_of_the_likelihood(noise, rows):
    X = INCOMPLETE[rows]
    analysis = FactorAnalysis(2, noise=noise, tol=1e-11).fit(X)
    W, psi = analysis.components_.T, np.broadcast_to(analysis.noise_variance_, 6)

    def score(mean, W, psi):
        return log_densities(X, mean, W @ W.T + np.diag(psi)).mean()

    best = score(analysis.mean_, W, psi)
    assert analysis.score(X) == pytest.approx(best, rel=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(20):
        step = 1e-2 * rng.normal(size=(6, 4))
        ratio = step[:, 3] if noise == "diagonal" else step[0, 3]
        other = score(analysis.mean_ + step[:, 0], W + step[:, 1:3], psi * np.exp(ratio))
        assert other < best
    step = 1e-4 * rng.normal(size=(6, 2))
    slope = score(analysis.mean_, W + step, psi) - score(analysis.mean_, W - step, psi)
    assert abs(slope) < 1e-4 * np.linalg.norm(step)


def test_accelerated_and_plain_fits_end_alike():
    X = data(missing=0.1)
    plain = FactorAnalysis(2, accelerate=False, tol=1e-11, max_iter=20_000).fit(X)
    fast = FactorAnalysis(2, tol=1e-11).fit(X)
    assert fast.n_iter_ < plain.n_iter_
    assert fast.lower_bound_ == pytest.approx(plain.lower_bound_, abs=1e-8)
    assert_allclose(fast.get_covariance(), plain.get_covariance(), atol=1e-3)


# Missing entries


@incomplete
def test_what_is_known_of_incomplete_rows(rows):
    X = INCOMPLETE[rows]
    analysis = FactorAnalysis(2).fit(X)
    mean, C, W = analysis.mean_, analysis.get_covariance(), analysis.components_.T
    assert_allclose(analysis.score_samples(X), log_densities(X, mean, C), rtol=1e-10)
    transformed, imputed = analysis.transform(X), analysis.impute(X)
    assert_array_equal(imputed[~np.isnan(X)], X[~np.isnan(X)])
    for n in range(0, len(X), 7):
        o = ~np.isnan(X[n])
        forms = np.linalg.solve(C[np.ix_(o, o)], (X[n] - mean)[o]) if o.any() else np.empty(0)
        assert_allclose(transformed[n], W[o].T @ forms, atol=1e-10)
        assert_allclose(imputed[n], np.where(o, X[n], mean + C[:, o] @ forms), rtol=1e-10)


def test_rows_of_few_patterns_are_not_needed_one_by_one(monkeypatch):
    X = of_few_patterns(2000)
    w = np.random.default_rng(0).uniform(0, 2, len(X))
    summed = module.points_of(X, w, True, 1)
    assert len(summed.rows) <= 2 * 6 * len(summed.masks) < len(X) / 10
    fit = FactorAnalysis(2, tol=0, max_iter=20, accelerate=False)
    expected = clone(fit).fit(X, sample_weight=w)
    monkeypatch.setattr(module, "MOST_ROWS", 10_000)
    monkeypatch.setattr(module, "HELD", 500)
    one_by_one = module.points_of(X, w, True, 1)
    assert len(one_by_one.rows) == np.count_nonzero(~np.isnan(X).all(axis=1))
    found = clone(fit).fit(X, sample_weight=w)
    assert_allclose(found.lower_bounds_, expected.lower_bounds_, rtol=1e-12)
    assert_allclose(found.get_covariance(), expected.get_covariance(), rtol=1e-9)


@pytest.mark.parametrize("chunk_rows", [50, 65_536])
def test_points_that_stand_for_rows_have_their_moments(monkeypatch, chunk_rows):
    monkeypatch.setattr(module, "CHUNK_ROWS", chunk_rows)
    X = of_few_patterns()
    w = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    points = module.points_of(X, w, True, 2)
    known = ~np.isnan(X) & (w > 0)[:, None]
    assert points.weight == w.sum()
    assert_allclose(points.weights_of_features, known.T @ w)
    for first, last, mask in zip(points.starts[:-1], points.starts[1:], points.masks, strict=True):
        o = mask.astype(bool)
        rows = np.all(known == o, axis=1)
        expected = products(X[rows][:, o], w[rows])
        found = products(points.rows[first:last, o], points.weights[first:last])
        assert_allclose(found, expected, rtol=1e-10)


def products(rows, w):
    """Sums of w (1, x) (1, x)'."""
    rows = np.column_stack([np.ones(len(rows)), rows])
    return (rows.T * w) @ rows


@both_kinds
def test_complete_rows_through_the_path_of_missing_ones(noise):
    X = data()
    with_empty_row = np.vstack([X, np.full((1, 6), np.nan)])
    fit = FactorAnalysis(2, noise=noise, tol=0, max_iter=20)
    plain, other = clone(fit).fit(X), clone(fit).fit(with_empty_row)
    assert_allclose(other.get_covariance(), plain.get_covariance(), rtol=1e-9)
    assert_allclose(other.loglike_, plain.loglike_, rtol=1e-11)
    assert other.score_samples(with_empty_row)[-1] == 0
    assert_allclose(other.transform(with_empty_row)[-1], [0, 0], atol=1e-15)
    assert_allclose(other.impute(with_empty_row)[-1], other.mean_)


def test_tables_are_filled_in_as_they_are():
    frame = pd.DataFrame(data(missing=0.1), columns=list("abcdef"))
    analysis = FactorAnalysis(2).fit(frame)
    imputed = analysis.impute(frame)
    assert list(imputed.columns) == list("abcdef")
    assert_allclose(
        imputed.to_numpy(),
        FactorAnalysis(2).fit(frame.to_numpy()).impute(frame.to_numpy()),
        rtol=1e-6,
    )
    assert not imputed.isna().any().any()
    assert analysis.get_feature_names_out().tolist() == ["factoranalysis0", "factoranalysis1"]


# Laws


@both_kinds
@pytest.mark.parametrize("rows", ["complete", *INCOMPLETE])
def test_weights_are_repetitions(noise, rows):
    X = data() if rows == "complete" else INCOMPLETE[rows]
    w = np.random.default_rng(0).integers(0, 4, len(X))
    fit = FactorAnalysis(2, noise=noise, tol=0, max_iter=15)
    weighted = clone(fit).fit(X, sample_weight=w)
    scaled = clone(fit).fit(X, sample_weight=1e-3 * w)
    repeated = clone(fit).fit(np.repeat(X, w, axis=0))
    kept = clone(fit).fit(X[w > 0], sample_weight=w[w > 0])
    for other in (repeated, kept, scaled):
        assert_allclose(other.lower_bounds_, weighted.lower_bounds_, rtol=1e-10)
        assert_allclose(other.get_covariance(), weighted.get_covariance(), rtol=1e-7)
        assert_allclose(other.mean_, weighted.mean_, rtol=1e-9)
    assert_allclose(weighted.loglike_, repeated.loglike_, rtol=1e-10)
    score = weighted.score(X, sample_weight=w)
    assert score == pytest.approx(weighted.lower_bound_, rel=1e-11)


@both_kinds
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_rescaled_and_shifted_data(noise, missing):
    X = data(missing=missing)
    rng = np.random.default_rng(0)
    scales = 10.0 ** rng.integers(-6, 7, 6) if noise == "diagonal" else np.full(6, 1e6)
    fit = FactorAnalysis(2, noise=noise)
    plain, scaled, shifted = clone(fit).fit(X), clone(fit).fit(X * scales), clone(fit).fit(X + 1e8)
    covariance = plain.get_covariance()
    assert_allclose(scaled.get_covariance() / np.outer(scales, scales), covariance, atol=1e-4)
    known = (~np.isnan(X)).mean(axis=0)
    assert_allclose(scaled.lower_bound_, plain.lower_bound_ - known @ np.log(scales), atol=1e-7)
    assert_allclose(shifted.get_covariance(), covariance, atol=1e-4)
    assert_allclose(shifted.lower_bound_, plain.lower_bound_, atol=1e-7)
    assert_allclose(shifted.mean_ - 1e8, plain.mean_, atol=1e-5)


@pytest.mark.parametrize("rows", ["complete", *INCOMPLETE])
def test_the_same_bits_for_any_number_of_threads(rows):
    X = data(20_000) if rows == "complete" else np.repeat(INCOMPLETE[rows], 30, axis=0)
    fits = [FactorAnalysis(2, max_iter=10, tol=0, n_threads=n).fit(X) for n in (1, 2, 3, 8)]
    for other in fits[1:]:
        for name in ("components_", "noise_variance_", "mean_", "lower_bounds_"):
            assert_array_equal(getattr(fits[0], name), getattr(other, name))


@both_kinds
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_float32(noise, missing):
    X = data(missing=missing).astype(np.float32)
    fit = FactorAnalysis(2, noise=noise)
    single, double = clone(fit).fit(X), clone(fit).fit(X.astype(float))
    for name in ("mean_", "components_"):
        assert getattr(single, name).dtype == np.float32
        assert_allclose(getattr(single, name), getattr(double, name), atol=1e-3)
    assert single.transform(X).dtype == single.get_covariance().dtype == np.float32
    assert single.lower_bound_ == pytest.approx(double.lower_bound_, abs=1e-5)


def test_read_only_memory_maps_and_columns_that_are_adjacent(tmp_path):
    X = data()
    np.save(tmp_path / "X.npy", X)
    expected = FactorAnalysis(2).fit(X)
    for rows in (np.load(tmp_path / "X.npy", mmap_mode="r"), np.asfortranarray(X)):
        assert_allclose(FactorAnalysis(2).fit(rows).components_, expected.components_, rtol=1e-6)


# Use


def test_precision_and_samples():
    analysis = FactorAnalysis(2, random_state=0).fit(data())
    covariance = analysis.get_covariance()
    assert_allclose(analysis.get_precision() @ covariance, np.eye(6), atol=1e-12)
    sample = analysis.sample(100_000)
    assert_allclose(sample.mean(axis=0), analysis.mean_, atol=0.05)
    assert_allclose(np.cov(sample.T), covariance, atol=0.1)
    assert_array_equal(analysis.sample(3), analysis.sample(3))
    with pytest.raises(ValueError, match="n_samples: found 0"):
        analysis.sample(0)


@both_kinds
@pytest.mark.parametrize(("D", "K"), [(6, 1), (6, 2), (6, 3), (6, 5), (4, 2), (4, 4)])
def test_criteria_count_what_changes_the_covariance(noise, D, K):
    X, weights = data(60, D), np.arange(60) % 3
    analysis = FactorAnalysis(K, noise=noise, max_iter=3, tol=0).fit(X, sample_weight=weights)
    # The rank of what a small change of loadings and noise does to the covariance.
    rng = np.random.default_rng(0)
    W = rng.normal(size=(D, K))
    changes = []
    for _ in range(D * K + D + 5):
        dW = rng.normal(size=(D, K))
        dnoise = rng.normal(size=D if noise == "diagonal" else 1)
        changes.append((dW @ W.T + W @ dW.T + dnoise * np.eye(D))[np.triu_indices(D)])
    p = D + np.linalg.matrix_rank(np.array(changes))
    total = weights @ analysis.score_samples(X)
    assert analysis.aic(X, sample_weight=weights) == pytest.approx(2 * p - 2 * total, rel=1e-12)
    bic = analysis.bic(X, sample_weight=weights)
    assert bic == pytest.approx(p * np.log(weights.sum()) - 2 * total, rel=1e-12)
    assert bic == pytest.approx(analysis.bic(np.repeat(X, weights, axis=0)), rel=1e-12)


def test_as_many_factors_as_features_have_the_criteria_of_a_gaussian():
    X = data(300, 4)
    analysis, gaussian = FactorAnalysis(4).fit(X), GaussianMixture(reg_covar=0).fit(X)
    assert analysis.bic(X) == pytest.approx(gaussian.bic(X), rel=1e-6)
    assert analysis.aic(X) == pytest.approx(gaussian.aic(X), rel=1e-6)


@both_kinds
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_criteria_find_how_many_factors_there_are(noise, missing):
    X = data(1500, 8, 3, missing)
    if noise == "isotropic":
        X = X + np.random.default_rng(0).normal(size=(1500, 8)) * 3
    best, table = select(FactorAnalysis(noise=noise), X, {"n_components": range(1, 6)})
    assert best.n_components == 3
    assert [each.error for each in table] == [None] * 5
    assert min(table, key=lambda each: each.bic).best


def test_factors_are_in_order_and_have_signs():
    analysis = FactorAnalysis(3).fit(data(K=3))
    W = analysis.components_.T
    products = W.T @ (W / analysis.noise_variance_[:, None])
    assert_allclose(products - np.diag(np.diag(products)), 0, atol=1e-10 * products.max())
    assert np.all(np.diff(np.diag(products)) < 0)


def test_more_starts_are_no_worse():
    X = data(100, 8, 3)
    one = FactorAnalysis(3, random_state=0).fit(X)
    several = FactorAnalysis(3, n_init=4, random_state=0).fit(X)
    assert several.lower_bound_ >= one.lower_bound_ - 1e-7


@both_kinds
def test_warm_starts_go_on(noise):
    X = data(missing=0.1)
    part = FactorAnalysis(2, noise=noise, max_iter=3, tol=0, accelerate=False, warm_start=True)
    whole = clone(part).set_params(max_iter=6).fit(X)
    part.fit(X).fit(X)
    assert_allclose(part.lower_bounds_, whole.lower_bounds_[3:], rtol=1e-12)
    with pytest.raises(ValueError, match=r"warm_start: .*expected \(6, 3\)"):
        part.set_params(n_components=3).fit(X)


def test_a_fit_that_does_not_converge_warns():
    with pytest.warns(ConvergenceWarning, match="did not converge in 2 iterations"):
        FactorAnalysis(2, max_iter=2).fit(data())
    FactorAnalysis(2, max_iter=2, tol=0).fit(data())


# Degenerate data


@pytest.mark.parametrize("D", [40, 5])
def test_variances_of_noise_are_bounded_where_the_likelihood_is_not(D):
    X = data(12, D, 2)
    analysis = FactorAnalysis(4, tol=1e-5, max_iter=5000).fit(X)
    assert np.isfinite(analysis.lower_bound_)
    assert np.all(analysis.noise_variance_ >= 0.999e-8 * X.var(axis=0))
    assert np.diff(analysis.lower_bounds_).min() >= -1e-8


def test_isotropic_noise_of_more_features_than_rows():
    X = data(12, 40, 2)
    analysis = FactorAnalysis(3, noise="isotropic").fit(X)
    peer = PCA(3, svd_solver="full").fit(X)
    values = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    assert_allclose(analysis.noise_variance_, values[3:].mean(), rtol=1e-8)
    assert analysis.score(X) > peer.score(X)


def test_isotropic_noise_of_rows_in_a_plane():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2)) @ rng.normal(size=(2, 5))
    analysis = FactorAnalysis(2, noise="isotropic", tol=1e-5).fit(X)
    assert_allclose(analysis.noise_variance_, 1e-8 * X.var(axis=0).mean(), rtol=1e-3)


def test_diagonal_noise_of_rows_in_a_plane():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2)) @ rng.normal(size=(2, 5))
    start = FactorAnalysis(2, max_iter=0, tol=0).fit(X)
    analysis = FactorAnalysis(2).fit(X)
    for each in (start, analysis):
        assert np.all(each.noise_variance_ >= 0.999e-8 * X.var(axis=0))
    assert analysis.lower_bound_ >= start.lower_bound_ - 1e-8
    assert np.diff(analysis.lower_bounds_).min(initial=0) >= -1e-8


def test_as_many_factors_as_features():
    X = data()
    analysis = FactorAnalysis(6, noise="isotropic").fit(X)
    assert_allclose(analysis.get_covariance(), np.cov(X.T, bias=True), atol=1e-6)


def test_constant_columns_with_isotropic_noise():
    X = np.column_stack([data(), np.full(300, 0.1)])
    analysis = FactorAnalysis(2, noise="isotropic").fit(X)
    assert_allclose(analysis.mean_[-1], 0.1)
    assert_allclose(analysis.components_[:, -1], [0, 0], atol=1e-12)


X = data(20, 3)
NAN = np.where([0, 1, 0], np.nan, X)
BAD = {
    "a constant column": ({}, (np.where([0, 1, 0], 0.1, X),), r"X: column 1 is constant \(0.1\)"),
    "a column of zeros": ({}, (X * [1, 1, 0],), r"X: column 2 is constant \(0\)"),
    "nothing varies": ({"noise": "isotropic"}, (np.ones((5, 2)),), "X: column 0 is constant"),
    "one row": ({}, (X[:1],), "X: found n_samples = 1"),
    "one row of weight": ({}, (X, None, np.eye(20)[0]), "X: found n_samples = 1"),
    "a column that is missing": ({}, (NAN,), "X: every entry of column 1 is missing"),
    "infinity": (
        {},
        (np.where(np.eye(20, 3, -1) == 1, np.inf, X),),
        "X: found inf in row 1, column 0",
    ),
    "huge numbers": ({}, (1e200 * X,), "X: found .*expected numbers below"),
    "one dimension": ({}, (X[0],), "X"),
    "nothing": ({}, (None,), "X: found None"),
    "too many factors": ({"n_components": 4}, (X,), "n_components: found 4; expected at most 3"),
    "no factor": ({"n_components": 0}, (X,), "n_components"),
    "another noise": ({"noise": "full"}, (X,), "noise"),
    "loadings of another shape": (
        {"components_init": np.ones((3, 1))},
        (X,),
        "components_init: found shape",
    ),
    "variances of another shape": (
        {"noise_variance_init": [1, 2]},
        (X,),
        "noise_variance_init: found shape",
    ),
    "negative variances": (
        {"noise_variance_init": [1, 2, -3]},
        (X,),
        "noise_variance_init: found -3",
    ),
    "variances for isotropic noise": (
        {"noise": "isotropic", "noise_variance_init": [1, 2, 3]},
        (X,),
        "noise_variance_init: found an array",
    ),
    "negative weights": ({}, (X, None, -np.ones(20)), "sample_weight: found -1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_and_changes_nothing(name):
    arguments, (rows, *others), message = BAD[name]
    fitted = FactorAnalysis(tol=1e-3).fit(X)
    before = dict(fitted.__dict__)
    fitted.set_params(**arguments)
    with pytest.raises(ValueError, match=message):
        fitted.fit(rows, sample_weight=others[1] if others else None)
    assert {**fitted.__dict__, **{name: before[name] for name in arguments}} == before


def test_a_column_that_varies_only_in_rows_without_weight_is_constant():
    rows = np.vstack([np.where([0, 1, 0], 0.1, X), [[9.0, 9.0, 9.0]]])
    with pytest.raises(ValueError, match="X: column 1 is constant"):
        FactorAnalysis().fit(rows, sample_weight=[1.0] * 20 + [0.0])


def test_rows_to_transform_must_have_the_same_features():
    with pytest.raises(ValueError, match="X has 2 features, but FactorAnalysis is expecting 3"):
        FactorAnalysis(tol=1e-3).fit(X).transform(X[:, :2])


@parametrize_with_checks(
    [
        FactorAnalysis(),
        FactorAnalysis(accelerate=False),
        FactorAnalysis(2, noise="isotropic"),
    ],
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)
