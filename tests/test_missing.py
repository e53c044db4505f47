"""Gaussian mixtures of rows with missing entries."""

import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import emcore
import oracle
from emfast import GaussianMixture
from emfast.data import ArraySource, Batch
from emfast.emissions import Gaussian
from emfast.inputs.labels import Labels
from emfast.latent import MixtureWeights
from emfast.passes import Model, expectation, posterior
from emfast.problems.grid import GridProblem
from emfast.storage.persistence import load, save
from families import GaussianFamily, instruction_set

TYPES = ("full", "tied", "diag", "spherical")
over_types = pytest.mark.parametrize("covariance_type", TYPES)
matrices = pytest.mark.parametrize("covariance_type", TYPES[:2])
variances = pytest.mark.parametrize("covariance_type", TYPES[2:])


# Which entries are missing


def at_random(rng, shape, rate=0.3):
    return rng.uniform(size=shape) < rate


def few_patterns(rng, shape):
    patterns = at_random(rng, (5, shape[1]), 0.4)
    patterns[0] = False
    return patterns[rng.integers(5, size=shape[0])]


def some_rows(rng, shape):
    """Whole tiles are complete, others have complete rows between."""
    missing = at_random(rng, shape)
    missing[rng.uniform(size=shape[0]) < 0.5] = False
    missing[200:] = False
    return missing


def some_rows_entirely(rng, shape):
    missing = at_random(rng, shape, 0.1)
    missing[:: max(2, shape[0] // 7)] = True
    return missing


PATTERNS = {
    "nothing": lambda rng, shape: np.zeros(shape, bool),
    "few": lambda rng, shape: at_random(rng, shape, 0.05),
    "half": lambda rng, shape: at_random(rng, shape, 0.5),
    "most": lambda rng, shape: at_random(rng, shape, 0.9),
    "few patterns": few_patterns,
    "some rows": some_rows,
    "some rows entirely": some_rows_entirely,
    "all": lambda rng, shape: np.ones(shape, bool),
}


def case_of(covariance_type, n, D, K, patterns, *, spread=1.0, seed=0, dtype="float64"):
    """A model, and rows drawn from it with missing entries."""
    rng = np.random.default_rng(seed)
    family = GaussianFamily(covariance_type)
    drawn = family.parameters(rng, K, D)
    parameters = family.emission().parameters(spread * drawn.means, drawn.covariances)
    weights = rng.dirichlet(np.full(K, 5.0))
    X = family.draw(rng, parameters, rng.choice(K, n, p=weights))
    X[PATTERNS[patterns](rng, X.shape)] = np.nan
    return Model(weights, parameters), X.astype(dtype), rng.uniform(0, 2, n)


def truth(covariance_type, model, X, weights, origin):
    """The oracle's responsibilities, log-likelihoods and statistics."""
    parameters = model.emission
    log_densities = oracle.incomplete_gaussian_log_densities(
        X, parameters.means, parameters.covariances, covariance_type
    )
    r, log_likelihoods = oracle.respond(log_densities, model.latent)
    weighted = r * weights[:, None]
    if covariance_type in ("diag", "spherical"):
        first, second, known = oracle.known_moments(X, weighted, origin)
        second = second.sum(axis=1) if covariance_type == "spherical" else second
        return r, log_likelihoods, {"first": first, "second": second, "known": known}
    first, second = oracle.expected_moments(
        X, weighted, origin, parameters.means, parameters.covariances, covariance_type
    )
    second = second.sum(axis=0) if covariance_type == "tied" else second
    return r, log_likelihoods, {"first": first, "second": second}


def run(covariance_type, model, X, weights, threads=1, missing=True):
    emission = Gaussian(covariance_type)
    batch = Batch(X, weights, missing=missing)
    out = {
        "responsibilities": np.empty((len(X), len(model.latent)), X.dtype),
        "log_likelihoods": np.empty(len(X)),
    }
    posterior(MixtureWeights(), emission, model, batch, threads, **out)
    return expectation(MixtureWeights(), emission, model, batch, threads), out


def assert_near(actual, expected, tolerance, name=""):
    """Within `tolerance` of the largest magnitude."""
    size = max(1.0, np.abs(expected).max(initial=0))
    assert_allclose(actual, expected, rtol=0, atol=tolerance * size, err_msg=name)


# The E-step


@over_types
@pytest.mark.parametrize("patterns", PATTERNS)
@pytest.mark.parametrize(("D", "K"), [(1, 1), (2, 3), (3, 9), (5, 2), (9, 17), (33, 3)])
@pytest.mark.parametrize("spread", [1.0, 300.0])
def test_expectation_is_that_of_the_oracle(covariance_type, patterns, D, K, spread):
    """Components that overlap, and so far apart that moments are taken about the means."""
    model, X, weights = case_of(covariance_type, 300, D, K, patterns, spread=spread)
    statistics, out = run(covariance_type, model, X, weights)
    r, log_likelihoods, moments = truth(
        covariance_type, model, X, weights, statistics.emission.origin
    )
    assert_near(out["responsibilities"], r, 1e-12)
    assert_allclose(out["log_likelihoods"], log_likelihoods, rtol=1e-10, atol=1e-10)
    assert_allclose(statistics.log_likelihood, weights @ log_likelihoods, rtol=1e-10, atol=1e-10)
    for name, value in moments.items():
        assert_near(getattr(statistics.emission, name), value, 1e-12 * (9 + spread), name)


@pytest.mark.parametrize("instructions", emcore.runnable_instruction_sets())
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@over_types
@pytest.mark.parametrize("patterns", ["few", "half", "few patterns", "some rows entirely"])
def test_instruction_sets_and_precisions_agree(instructions, dtype, covariance_type, patterns):
    tolerance = {"float64": 1e-11, "float32": 2e-4}[dtype]
    for D, K in ((3, 2), (17, 5)):
        model, X, weights = case_of(covariance_type, 300, D, K, patterns, dtype=dtype)
        with instruction_set(instructions):
            statistics, out = run(covariance_type, model, X, weights)
        r, log_likelihoods, moments = truth(
            covariance_type, model, X, weights, statistics.emission.origin
        )
        assert_near(out["responsibilities"], r, tolerance)
        assert_near(out["log_likelihoods"], log_likelihoods, tolerance)
        for name, value in moments.items():
            assert_near(getattr(statistics.emission, name), value, tolerance, name)


@matrices
@pytest.mark.parametrize("patterns", ["few", "half", "most"])
@pytest.mark.parametrize("condition", [1e4, 1e8])
def test_ill_conditioned_covariances(covariance_type, patterns, condition):
    """L_mm is then as ill-conditioned; the log-likelihood has eight digits all the same."""
    rng = np.random.default_rng(0)
    D, K = 12, 3
    Q = np.linalg.qr(rng.normal(size=(K, D, D)))[0]
    covariances = (Q * np.geomspace(1, 1 / condition, D)) @ np.swapaxes(Q, 1, 2)
    covariances = (covariances + np.swapaxes(covariances, 1, 2)) / 2
    if covariance_type == "tied":
        covariances = covariances[0]
    model, X, weights = case_of(covariance_type, 200, D, K, patterns)
    parameters = Gaussian(covariance_type).parameters(model.emission.means, covariances)
    model = Model(model.latent, parameters)
    missing = np.isnan(X)
    X = GaussianFamily(covariance_type).draw(rng, parameters, rng.integers(K, size=200))
    X[missing] = np.nan
    statistics, out = run(covariance_type, model, X, weights)
    r, log_likelihoods, moments = truth(
        covariance_type, model, X, weights, statistics.emission.origin
    )
    assert_near(out["responsibilities"], r, 1e-8)
    assert_allclose(out["log_likelihoods"], log_likelihoods, rtol=1e-8, atol=1e-8)
    for name, value in moments.items():
        assert_near(getattr(statistics.emission, name), value, 1e-10, name)


@over_types
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_complete_rows_through_the_path_of_missing_ones(covariance_type, dtype):
    for D, K in ((1, 2), (4, 3), (18, 5), (70, 3)):
        for spread in (1.0, 300.0):
            model, X, weights = case_of(
                covariance_type, 500, D, K, "nothing", spread=spread, dtype=dtype
            )
            plain, of_rows = run(covariance_type, model, X, weights, missing=False)
            other, of_others = run(covariance_type, model, X, weights, missing=True)
            tolerance = {"float64": 1e-11, "float32": 5e-4}[dtype]
            for name, value in of_rows.items():
                assert_near(of_others[name], value, tolerance, name)
            moved = other.emission.moved_to(plain.emission.origin)
            assert_near(moved.first, plain.emission.first, tolerance * spread)
            assert_near(moved.second, plain.emission.second, tolerance * spread)


@over_types
@pytest.mark.parametrize("patterns", ["few", "half", "few patterns"])
def test_same_bits_for_any_threads(covariance_type, patterns):
    model, X, weights = case_of(covariance_type, 5000, 9, 3, patterns)
    one, of_rows = run(covariance_type, model, X, weights)
    for threads in (2, 3, 8):
        many, of_many = run(covariance_type, model, X, weights, threads)
        assert one.log_likelihood == many.log_likelihood
        for name in ("first", "second", "known"):
            assert_array_equal(getattr(one.emission, name), getattr(many.emission, name))
        for name, value in of_rows.items():
            assert_array_equal(value, of_many[name])


@over_types
def test_batches_with_and_without_missing_entries_add(covariance_type):
    model, X, weights = case_of(covariance_type, 400, 5, 3, "half")
    X[:150] = case_of(covariance_type, 400, 5, 3, "nothing")[1][:150]
    whole, _ = run(covariance_type, model, X, weights)
    first, _ = run(covariance_type, model, X[:150], weights[:150], missing=False)
    rest, _ = run(covariance_type, model, X[150:], weights[150:])
    both = first + rest
    assert_allclose(both.log_likelihood, whole.log_likelihood)
    moved = both.emission.moved_to(whole.emission.origin)
    assert_near(moved.first, whole.emission.first, 1e-12)
    assert_near(moved.second, whole.emission.second, 1e-12)
    assert_allclose(moved.entries, whole.emission.entries + np.zeros_like(moved.entries))


@over_types
def test_rows_of_weight_zero_do_not_count(covariance_type):
    model, X, weights = case_of(covariance_type, 300, 4, 3, "half")
    weights[::3] = 0
    counted, _ = run(covariance_type, model, X[weights > 0], weights[weights > 0])
    X[::3] = np.nan
    X[::6] = 1e300
    all_rows, _ = run(covariance_type, model, X, weights)
    assert_allclose(all_rows.log_likelihood, counted.log_likelihood)
    assert_near(all_rows.emission.first, counted.emission.first, 1e-12)
    assert_near(all_rows.emission.second, counted.emission.second, 1e-12)


# EM


@over_types
@pytest.mark.parametrize("patterns", ["few", "half", "few patterns", "some rows entirely"])
def test_monotone_without_regularisation(covariance_type, patterns):
    model, X, _ = case_of(covariance_type, 400, 4, 3, patterns, seed=1)
    fitted = fit_from(model, covariance_type, X, max_iter=30, tol=0, reg_covar=0)
    assert np.all(np.diff(fitted.lower_bounds_) > -1e-11)
    assert_allclose(fitted.score(X), fitted.lower_bound_)


def fit_from(model, covariance_type, X, *, labels=None, **arguments):
    given = {"means_init": model.emission.means, "covariances_init": model.emission.covariances}
    mixture = GaussianMixture(
        len(model.latent),
        covariance_type=covariance_type,
        weights_init=model.latent,
        **given,
        **arguments,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The best of 1 start")
        return mixture.fit(X, labels=labels)


@over_types
@pytest.mark.parametrize("patterns", ["half", "few patterns", "some rows entirely"])
def test_monotone_with_a_prior(covariance_type, patterns):
    model, X, _ = case_of(covariance_type, 200, 4, 3, patterns, seed=1)
    scale = {"diag": np.ones(4), "spherical": 1.0}.get(covariance_type, np.eye(4))
    prior = {
        "weight_concentration_prior": 2.0,
        "mean_prior": np.zeros(4),
        "mean_precision_prior": 0.5,
        "covariance_prior": scale,
        "degrees_of_freedom_prior": 8.0,
    }
    fitted = fit_from(model, covariance_type, X, max_iter=30, tol=0, reg_covar=0, prior=prior)
    assert np.all(np.diff(fitted.lower_bounds_) > -1e-11)
    assert fitted.score(X) != fitted.lower_bound_


@matrices
def test_accelerated_fit_reaches_the_same_maximum(covariance_type):
    model, X, _ = case_of(covariance_type, 300, 3, 2, "half", seed=2)
    arguments = {"reg_covar": 0, "tol": 1e-11, "max_iter": 5000}
    plain = fit_from(model, covariance_type, X, **arguments)
    fast = fit_from(model, covariance_type, X, accelerate=True, **arguments)
    assert_allclose(fast.lower_bound_, plain.lower_bound_, rtol=1e-8)
    assert_allclose(fast.means_, plain.means_, atol=1e-3)
    assert fast.n_iter_ < plain.n_iter_


@pytest.mark.parametrize("assignment", ["hard", "stochastic"])
@over_types
def test_rows_go_to_one_component_as_a_whole(covariance_type, assignment):
    model, X, _ = case_of(covariance_type, 300, 3, 2, "few", seed=2)
    fitted = fit_from(model, covariance_type, X, assignment=assignment, max_iter=20, tol=0)
    assert np.isfinite(fitted.lower_bounds_).all()
    if assignment == "hard":
        assert np.all(np.diff(fitted.lower_bounds_) > -1e-5)


@variances
def test_independent_features_have_means_of_what_is_known(covariance_type):
    _, X, _ = case_of(covariance_type, 300, 4, 2, "half")
    fitted = GaussianMixture(covariance_type=covariance_type, reg_covar=0).fit(X)
    assert_allclose(fitted.means_[0], np.nanmean(X, axis=0))
    squares = (X - fitted.means_) ** 2
    if covariance_type == "diag":
        assert_allclose(fitted.covariances_[0], np.nanmean(squares, axis=0))
    else:
        assert_allclose(fitted.covariances_[0], np.nanmean(squares))


@matrices
def test_monotone_pattern_has_a_closed_form(covariance_type):
    """x_1 is always known, x_2 not: regression of x_2 on x_1 (Anderson, JASA 52, 1957, 200-203)."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2)) @ np.array([[1.0, 0.8], [0.0, 0.5]]) + [3.0, -2.0]
    X[X[:, 0] > 3.3, 1] = np.nan
    known = ~np.isnan(X[:, 1])
    x, y = X[known].T
    slope = np.cov(x, y, bias=True)[0, 1] / x.var()
    mean = X[:, 0].mean()
    expected_mean = [mean, y.mean() + slope * (mean - x.mean())]
    covariance = slope * X[:, 0].var()
    residual = np.var(y - slope * x)
    expected = [[X[:, 0].var(), covariance], [covariance, residual + slope * covariance]]

    fitted = GaussianMixture(
        covariance_type=covariance_type, reg_covar=0, tol=1e-14, max_iter=2000
    ).fit(X)
    assert_allclose(fitted.means_[0], expected_mean, rtol=1e-6)
    found = fitted.covariances_[0] if covariance_type == "full" else fitted.covariances_
    assert_allclose(found, expected, rtol=1e-5)


MURRAY = np.array(
    [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    + [(2, np.nan)] * 2
    + [(-2, np.nan)] * 2
    + [(np.nan, 2)] * 2
    + [(np.nan, -2)] * 2
)


@matrices
@pytest.mark.parametrize("correlation", [0.5, -0.5, 0.0])
def test_two_maxima_and_a_saddle(covariance_type, correlation):
    """Murray (discussion of Dempster, Laird and Rubin, JRSS B 39, 1977, 27-28)."""
    start = np.array([[1.0, 0.2 * np.sign(correlation)], [0.2 * np.sign(correlation), 1.0]])
    fitted = GaussianMixture(
        covariance_type=covariance_type,
        reg_covar=0,
        tol=1e-15,
        max_iter=5000,
        weights_init=[1],
        means_init=[[0, 0]],
        covariances_init=start[None] if covariance_type == "full" else start,
    ).fit(MURRAY)
    found = fitted.covariances_.reshape(2, 2)
    assert_allclose(fitted.means_, 0, atol=1e-8)
    if correlation == 0:
        assert_allclose(found, 2.5 * np.eye(2), atol=1e-6)
        assert_allclose(12 * fitted.lower_bound_, -30.03334239, rtol=1e-9)
    else:
        variance = 8 / 3
        assert_allclose(np.diag(found), variance, rtol=1e-5)
        assert_allclose(found[0, 1] / variance, correlation, rtol=1e-5)
        assert_allclose(12 * fitted.lower_bound_, -29.97428641, rtol=1e-9)


@over_types
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [400, 60_000])
def test_fit_finds_the_components(covariance_type, dtype, n):
    """On all rows, and by subsamples of many."""
    rng = np.random.default_rng(0)
    components = rng.integers(3, size=n)
    X = (rng.normal(size=(n, 4)) + 8.0 * np.eye(3, 4)[components]).astype(dtype)
    X[rng.uniform(size=X.shape) < 0.15] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0, n_init=2).fit(
            X
        )
    order = np.argmax(mixture.means_[:, :3], axis=0)
    assert_allclose(mixture.means_[order], 8.0 * np.eye(3, 4), atol=8 / np.sqrt(n))
    assert_allclose(mixture.weights_, 1 / 3, atol=2 / np.sqrt(n))
    clear = np.isnan(X[:, :3]).sum(axis=1) == 0
    assert np.mean(np.argsort(order)[mixture.predict(X[clear])] == components[clear]) > 0.98
    assert mixture.means_.dtype == dtype


@over_types
def test_far_from_the_origin(covariance_type):
    model, X, _ = case_of(covariance_type, 500, 3, 2, "half")
    X = np.round(X * 2.0**14) / 2.0**14
    plain = fit_from(model, covariance_type, X, max_iter=5, tol=0)
    far = Model(
        model.latent,
        Gaussian(covariance_type).parameters(
            model.emission.means + 1e8, model.emission.covariances
        ),
    )
    moved = fit_from(far, covariance_type, X + 1e8, max_iter=5, tol=0)
    assert_allclose(moved.means_ - 1e8, plain.means_, atol=1e-6)
    assert_allclose(moved.covariances_, plain.covariances_, rtol=1e-6, atol=1e-6)
    assert_allclose(moved.lower_bounds_, plain.lower_bounds_, atol=1e-7)


@over_types
def test_labels_join_with_missing_entries(covariance_type):
    model, X, weights = case_of(covariance_type, 300, 3, 3, "half")
    component = np.random.default_rng(1).integers(-1, 3, 300).astype(np.int32)
    problem = GridProblem(
        MixtureWeights(),
        Gaussian(covariance_type),
        ArraySource(Batch(X, weights, Labels(component=component), missing=True)),
        1,
    )
    log_densities = oracle.incomplete_gaussian_log_densities(
        X, model.emission.means, model.emission.covariances, covariance_type
    )
    r, log_likelihoods = oracle.respond(
        log_densities, model.latent, oracle.allowed_by(component, 3)
    )
    statistics = problem.estep(model)
    assert_allclose(statistics.log_likelihood, weights @ log_likelihoods)
    assert_allclose(statistics.counts, weights @ r)


@variances
def test_feature_that_no_row_of_a_component_has(covariance_type):
    """It keeps what the start says: whatever it is, the likelihood is the same."""
    rng = np.random.default_rng(0)
    components = np.repeat([0, 1], 100)
    X = rng.normal(size=(200, 3)) + 5.0 * components[:, None]
    X[components == 1, 2] = np.nan
    model, _, _ = case_of(covariance_type, 10, 3, 2, "nothing")
    fitted = fit_from(model, covariance_type, X, labels=components, max_iter=3, tol=0)
    assert fitted.means_[1, 2] == model.emission.means[1, 2]
    assert_allclose(fitted.means_[1, :2], X[100:, :2].mean(axis=0))
    assert_allclose(fitted.means_[0], X[:100].mean(axis=0))
    if covariance_type == "diag":
        assert fitted.covariances_[1, 2] == model.emission.covariances[1, 2]
    by_itself = GaussianMixture(2, covariance_type=covariance_type, random_state=0)
    by_itself.fit(X, labels=components)
    assert_allclose(by_itself.means_[1, 2], X[:100, 2].mean())


@over_types
def test_rows_that_are_missing_entirely(covariance_type):
    model, X, _ = case_of(covariance_type, 200, 4, 3, "half")
    X[np.isnan(X).all(axis=1)] = 0.5
    empty = np.full((50, 4), np.nan)
    fitted = fit_from(model, covariance_type, X, max_iter=4, tol=0)
    assert_allclose(fitted.predict_proba(empty), np.tile(fitted.weights_, (50, 1)), rtol=1e-14)
    assert_allclose(fitted.score_samples(empty), 0, atol=1e-15)
    assert_array_equal(fitted.predict(empty), fitted.weights_.argmax())
    assert_allclose(fitted.impute(empty), np.tile(fitted.weights_ @ fitted.means_, (50, 1)))
    # What is known of a mixture does not come from rows of which nothing is.
    statistics, _ = run(covariance_type, model, X, np.ones(200))
    more, _ = run(covariance_type, model, np.vstack([X, empty]), np.ones(250))
    assert_allclose(more.log_likelihood, statistics.log_likelihood)
    emission = Gaussian(covariance_type)
    once, then = (emission.mstep(each.emission, model.emission) for each in (statistics, more))
    if covariance_type in ("diag", "spherical"):
        assert_allclose(then.means, once.means)
        assert_allclose(then.covariances, once.covariances)


def test_component_on_few_values_of_a_feature_is_degenerate():
    """Three rows have the feature, and all but agree in it."""
    rng = np.random.default_rng(0)
    components = np.repeat([0, 1], 200)
    X = rng.normal(size=(400, 2)) + 20.0 * components[:, None]
    X[203:, 1] = np.nan
    X[200:203, 1] = 20 + 1e-7 * np.arange(3)
    mixture = GaussianMixture(2, covariance_type="diag", random_state=0, reg_covar=1e-9)
    with pytest.warns(UserWarning, match="few rows"):
        mixture.fit(X, labels=components)
    assert mixture.restarts_[0].degenerate == [1]


@over_types
def test_a_column_that_is_rarely_known(covariance_type):
    """Subsamples of many rows have it too."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100_000, 3)) + 6.0 * rng.integers(2, size=100_000)[:, None]
    X[:, 2] += 1e6
    X[rng.permutation(100_000)[60:], 2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixture = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    assert_allclose(mixture.means_[:, :2].sum(axis=0), 6, atol=0.1)
    assert np.all(np.abs(mixture.means_[:, 2] - 1e6 - 3) < 8)


# What is given


def test_missing_entries_of_any_kind():
    frame = pd.DataFrame(
        {"a": [1.0, 2.0, np.nan, 4.0, 8.0], "b": [2, None, 3, 1, 5], "c": [1, 2, 1, 2, 2]}
    )
    X = frame.to_numpy(np.float64)
    integers = np.ma.MaskedArray(np.nan_to_num(X, nan=7).astype(int), mask=np.isnan(X))
    expected = GaussianMixture(random_state=0).fit(X)
    for given in (
        frame,
        frame.convert_dtypes(),
        frame.astype(object).where(frame.notna(), None),
        X.tolist(),
        np.where(np.isnan(X), None, X),
        np.ma.masked_invalid(X),
        integers,
        np.asfortranarray(X),
        pl.from_pandas(frame, nan_to_null=True),
        pa.Table.from_pandas(frame),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = GaussianMixture(random_state=0).fit(given)
        assert_array_equal(found.means_, expected.means_, err_msg=str(type(given)))
        assert_array_equal(found.covariances_, expected.covariances_)
        assert_array_equal(found.score_samples(given), expected.score_samples(X))


def test_a_mask_without_masked_entries_is_no_mask():
    X = np.random.default_rng(0).normal(size=(20, 2))
    expected = GaussianMixture(random_state=0).fit(X)
    found = GaussianMixture(random_state=0).fit(np.ma.MaskedArray(X))
    assert_array_equal(found.covariances_, expected.covariances_)


@over_types
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_is_an_error_beside_missing_entries(covariance_type, value):
    X = np.random.default_rng(0).normal(size=(100, 2))
    X[3, 0], X[7, 1] = np.nan, value
    mixture = GaussianMixture(2, covariance_type=covariance_type, random_state=0)
    with pytest.raises(ValueError, match=r"X.*infinity"):
        mixture.fit(X)
    mixture.fit(np.where(np.isinf(X), 0, X))
    for call in (mixture.predict, mixture.score_samples, mixture.impute):
        with pytest.raises(ValueError, match=r"X.*infinity"):
            call(X)


@over_types
def test_column_that_is_missing_entirely(covariance_type):
    X = np.random.default_rng(0).normal(size=(20, 3))
    X[:, 1] = np.nan
    mixture = GaussianMixture(2, covariance_type=covariance_type)
    with pytest.raises(ValueError, match="X: every entry of column 1 is missing"):
        mixture.fit(X)
    with pytest.raises(ValueError, match=r"column 1 .'height'."):
        mixture.fit(pd.DataFrame(X, columns=["age", "height", "weight"]))
    assert not hasattr(mixture, "n_features_in_")
    X[4, 1] = 1.0
    weights = np.ones(20)
    weights[4] = 0
    with pytest.raises(ValueError, match="column 1 "):
        mixture.fit(X, sample_weight=weights)


def test_large_numbers_beside_missing_entries():
    X = np.random.default_rng(0).normal(size=(20, 2))
    X[3, 0], X[5, 1] = np.nan, 1e200
    with pytest.raises(ValueError, match=r"X: found 1e\+200"):
        GaussianMixture(2).fit(X)


def test_constant_column_beside_missing_entries():
    X = np.random.default_rng(0).normal(size=(20, 2))
    X[:, 1] = 2.5
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="column 1 is constant"):
        GaussianMixture(2, reg_covar=0).fit(X)


def test_mixtures_say_that_entries_may_be_missing():
    assert GaussianMixture().__sklearn_tags__().input_tags.allow_nan


# Imputation, and mixtures of some of the features


@pytest.fixture(params=TYPES)
def fitted(request):
    model, X, _ = case_of(request.param, 400, 5, 3, "half", seed=3)
    frame = pd.DataFrame(X, columns=list("abcde"))
    return fit_from(model, request.param, frame, max_iter=5, tol=0), X


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_imputed_entries_are_conditional_means(fitted, dtype):
    mixture, X = fitted
    X = X.astype(dtype)
    before = X.copy()
    imputed = mixture.impute(X)
    r = mixture.predict_proba(X)
    expected = np.zeros_like(X)
    for k in range(3):
        covariance = oracle.covariance_of(mixture.covariances_, mixture.covariance_type, k, 5)
        expected += r[:, k, None] * oracle.conditional(X, mixture.means_[k], covariance)[0]
    tolerance = {"float64": 1e-12, "float32": 1e-4}[dtype]
    assert_allclose(imputed, expected, rtol=tolerance, atol=tolerance)
    assert imputed.dtype == dtype
    known = ~np.isnan(X)
    assert_array_equal(imputed[known], X[known])
    assert_array_equal(X, before)
    complete = mixture.impute(imputed)
    assert_array_equal(complete, imputed)
    assert complete is not imputed


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize(
    "columns",
    [
        "c",
        2,
        -3,
        ["e", "b"],
        [4, 1, 0],
        np.array([3]),
        slice(1, 4),
        [False, True, False, True, True],
    ],
)
def test_marginal_is_the_density_of_what_is_known(fitted, columns):
    mixture, X = fitted
    marginal = mixture.marginal(columns)
    names = np.array(list("abcde"))
    if isinstance(columns, slice) or np.asarray(columns).dtype == bool:
        at = np.arange(5)[columns]
    else:
        at = np.array([np.flatnonzero(names == c)[0] if isinstance(c, str) else c
                       for c in np.atleast_1d(columns).tolist()])  # fmt: skip
    X = np.nan_to_num(X)
    hidden = np.full_like(X, np.nan)
    hidden[:, at] = X[:, at]
    assert_allclose(marginal.score_samples(X[:, at]), mixture.score_samples(hidden), rtol=1e-10)
    assert_allclose(marginal.predict_proba(X[:, at]), mixture.predict_proba(hidden), atol=1e-12)
    assert_array_equal(marginal.feature_names_in_, names[at])
    assert marginal.n_features_in_ == len(at)
    assert marginal.sample(3)[0].shape == (3, len(at))
    assert type(marginal) is GaussianMixture


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("given", [{"c": 0.5}, {0: 1.0, "e": -1.0}, {3: 2, -1: 0, 1: 1, 0: 0.1}])
def test_conditional_times_marginal_is_joint(fitted, given):
    mixture, X = fitted
    conditional = mixture.conditional(given)
    at = [("abcde".index(c) if isinstance(c, str) else c % 5) for c in given]
    rest = np.setdiff1d(np.arange(5), at)
    X = np.nan_to_num(X[:50])
    X[:, at] = list(given.values())
    known = np.full_like(X, np.nan)
    known[:, at] = X[:, at]
    assert_allclose(
        conditional.score_samples(X[:, rest]) + mixture.score_samples(known),
        mixture.score_samples(X),
        rtol=1e-9,
    )
    assert_allclose(conditional.predict_proba(X[:, rest]), mixture.predict_proba(X), atol=1e-10)
    # The mean of the conditional mixture is what is imputed.
    assert_allclose(mixture.impute(known[:1])[0, rest], conditional.weights_ @ conditional.means_)
    assert_array_equal(conditional.feature_names_in_, np.array(list("abcde"))[rest])
    assert conditional.n_components == 3


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_mixtures_of_some_features_are_models_like_others(fitted, tmp_path):
    mixture, X = fitted
    part = mixture.conditional({"a": 0.3}).marginal(["e", "c"])
    rows = np.nan_to_num(X[:, [4, 2]])
    save(part, tmp_path / "part")
    assert_array_equal(load(tmp_path / "part").score_samples(rows), part.score_samples(rows))
    assert part.bic(rows) > -np.inf
    refitted = part.set_params(max_iter=2, tol=0).fit(rows)
    assert refitted.means_.shape == (3, 2)


def test_conditional_far_from_every_component():
    mixture = GaussianMixture(2, random_state=0).fit(np.random.default_rng(0).normal(size=(50, 3)))
    conditional = mixture.conditional({0: 1e6})
    assert_allclose(conditional.weights_.sum(), 1)
    assert np.isfinite(conditional.means_).all()


BAD_COLUMNS = {
    "no such name": ("z", ValueError, "'z'.*'a'"),
    "no such position": (5, ValueError, "5.*-5 to 4"),
    "negative": (-6, ValueError, "-6"),
    "none": ([], ValueError, "no columns"),
    "twice": (["a", 0], ValueError, "column 0 twice"),
    "a number": (1.5, TypeError, "1.5"),
    "None": (None, TypeError, "None"),
    "numbers": ([1.5], TypeError, "1.5"),
    "a short mask": ([True, False], ValueError, r"\(2,\).*\(5,\)"),
}


@pytest.mark.parametrize("name", BAD_COLUMNS)
def test_bad_columns(fitted, name):
    columns, error, found = BAD_COLUMNS[name]
    with pytest.raises(error, match=f"columns: .*{found}"):
        fitted[0].marginal(columns)


BAD_GIVEN = {
    "no mapping": ([("a", 1)], TypeError, "mapping"),
    "nothing": ({}, ValueError, "no columns"),
    "everything": (dict.fromkeys("abcde", 0.0), ValueError, "every column"),
    "no such name": ({"z": 1.0}, ValueError, "'z'"),
    "NaN": ({"a": np.nan}, ValueError, "nan.*finite"),
    "infinity": ({"a": np.inf}, ValueError, "inf.*finite"),
    "a string": ({"a": "b"}, ValueError, "b"),
    "twice": ({"a": 1.0, 0: 1.0}, ValueError, "twice"),
}


@pytest.mark.parametrize("name", BAD_GIVEN)
def test_bad_values(fitted, name):
    given, error, found = BAD_GIVEN[name]
    with pytest.raises(error, match=re.compile(f"given: .*{found}", re.DOTALL)):
        fitted[0].conditional(given)


def test_names_where_there_are_none():
    mixture = GaussianMixture().fit(np.random.default_rng(0).normal(size=(20, 3)))
    with pytest.raises(ValueError, match="without names"):
        mixture.marginal("a")
    assert not hasattr(mixture.marginal([0]), "feature_names_in_")
