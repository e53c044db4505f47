"""Bayesian linear regression: precisions by EM."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.linear_model import ARDRegression, BayesianRidge
from sklearn.utils.estimator_checks import parametrize_with_checks

from emfast import BayesianLinearRegression

FLAT = {"alpha_1": 0, "alpha_2": 0, "lambda_1": 0, "lambda_2": 0}
both_kinds = pytest.mark.parametrize("per_feature", [False, True])
accelerated = pytest.mark.parametrize("accelerate", [False, True])
with_or_without_intercept = pytest.mark.parametrize("fit_intercept", [False, True])


def data(n=80, D=6, noise=1.0, seed=0, used=3):
    """Rows, of whose features the first few matter, and weights of rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, D)) + 2
    y = X[:, :used] @ rng.normal(size=used) + 3 + noise * rng.normal(size=n)
    return X, y, rng.integers(0, 4, n).astype(float)


def collinear(n=200):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 3)) @ rng.normal(size=(3, 7))
    return X, X @ np.ones(7) + rng.normal(size=n), rng.uniform(0, 2, n)


def more_features_than_rows():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 60))
    return X, X[:, 0] + rng.normal(size=30), rng.uniform(0.5, 2, 30)


CASES = {
    "few features": data(),
    "many features": data(100, 40, 2.0),
    "little noise": data(noise=1e-3),
    "collinear": collinear(),
    "D > N": more_features_than_rows(),
    "diabetes": (*load_diabetes(return_X_y=True), np.random.default_rng(0).uniform(0, 2, 442)),
    # Of a flat evidence: the scales of the columns differ by five orders of magnitude.
    "breast cancer": (
        *load_breast_cancer(return_X_y=True),
        np.random.default_rng(0).uniform(0, 2, 569),
    ),
}
over_cases = pytest.mark.parametrize("case", CASES)


def oracle(X, y, w, alpha, precisions, fit_intercept):
    """Posterior, evidence and M-step by the textbook, on repeated rows with explicit inverses."""
    X, y = np.repeat(X, w.astype(int), axis=0), np.repeat(y, w.astype(int))
    if fit_intercept:
        X, y = X - X.mean(axis=0), y - y.mean()
    n, D = X.shape
    precisions = np.broadcast_to(precisions, D)
    covariance = np.linalg.inv(alpha * X.T @ X + np.diag(precisions))
    mean = alpha * covariance @ X.T @ y
    C = np.eye(n) / alpha + (X / precisions) @ X.T
    evidence = -0.5 * (n * np.log(2 * np.pi) + np.linalg.slogdet(C)[1] + y @ np.linalg.solve(C, y))
    noise = ((y - X @ mean) ** 2).sum() + np.trace(X.T @ X @ covariance)
    return mean, covariance, evidence, n / noise, 1 / (mean**2 + np.diag(covariance))


# Agreement with others


@over_cases
@with_or_without_intercept
@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_bayesian_ridge(case, fit_intercept, weighted):
    X, y, w = CASES[case]
    w = w if weighted else None
    peer = BayesianRidge(
        **FLAT, tol=1e-13, max_iter=20_000, compute_score=True, fit_intercept=fit_intercept
    ).fit(X, y, sample_weight=w)
    ours = BayesianLinearRegression(fit_intercept=fit_intercept).fit(X, y, sample_weight=w)
    assert ours.converged_
    assert_allclose(ours.alpha_, peer.alpha_, rtol=1e-5)
    assert_allclose(ours.lambda_, peer.lambda_, rtol=1e-5)
    size = np.abs(peer.coef_).max()
    assert_allclose(ours.coef_, peer.coef_, rtol=0, atol=1e-5 * size)
    assert_allclose(ours.intercept_, peer.intercept_, rtol=1e-5, atol=1e-5)
    assert_allclose(ours.sigma_, peer.sigma_, rtol=0, atol=1e-5 * np.abs(peer.sigma_).max())
    assert_allclose(ours.scores_[-1], peer.scores_[-1], rtol=1e-7, atol=1e-7)
    for found, expected in zip(
        ours.predict(X, return_std=True), peer.predict(X, return_std=True), strict=True
    ):
        assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(y).max())
    assert ours.score(X, y) == pytest.approx(peer.score(X, y), abs=1e-6)


def test_agrees_with_automatic_relevance_determination_of_scikit_learn():
    X, y, _ = data(100, 30)
    peer = ARDRegression(**FLAT, tol=1e-9, max_iter=10_000, threshold_lambda=1e6).fit(X, y)
    ours = BayesianLinearRegression(per_feature=True).fit(X, y)
    pruned = np.isinf(ours.lambda_)
    assert pruned.sum() > 10
    assert_array_equal(pruned, peer.lambda_ > 1e6)
    assert_allclose(ours.lambda_[~pruned], peer.lambda_[~pruned], rtol=1e-4)
    assert_allclose(ours.alpha_, peer.alpha_, rtol=1e-6)
    assert_allclose(ours.coef_, peer.coef_, atol=1e-6)
    assert_array_equal(ours.coef_[pruned], np.zeros(pruned.sum()))
    assert_array_equal(ours.sigma_[pruned], np.zeros((pruned.sum(), 30)))


# The algorithm, step by step


@both_kinds
@with_or_without_intercept
def test_one_iteration_is_that_of_the_oracle(per_feature, fit_intercept):
    X, y, w = data()
    precisions = np.arange(1.0, 7) if per_feature else 2.0
    start = BayesianLinearRegression(
        per_feature=per_feature,
        fit_intercept=fit_intercept,
        alpha_init=0.7,
        lambda_init=precisions,
        max_iter=0,
    ).fit(X, y, w)
    mean, covariance, _, alpha, updated = oracle(X, y, w, 0.7, precisions, fit_intercept)
    assert_allclose(start.coef_, mean, rtol=1e-9)
    assert_allclose(start.sigma_, covariance, rtol=0, atol=1e-10 * covariance.max())
    assert (start.alpha_, start.n_iter_, start.converged_) == (0.7, 0, False)
    assert_allclose(start.lambda_, precisions, rtol=1e-14)
    assert start.scores_.shape == (0,)
    one = clone(start).set_params(max_iter=1, tol=0, accelerate=False).fit(X, y, w)
    updated = updated if per_feature else 1 / (1 / updated).mean()
    assert_allclose(one.alpha_, alpha, rtol=1e-9)
    assert_allclose(one.lambda_, updated, rtol=1e-9)
    assert_allclose(one.scores_, [oracle(X, y, w, alpha, updated, fit_intercept)[2]], rtol=1e-9)


@over_cases
@both_kinds
@accelerated
def test_the_evidence_never_falls(case, per_feature, accelerate):
    X, y, w = CASES[case]
    regression = BayesianLinearRegression(
        per_feature=per_feature, accelerate=accelerate, tol=0, max_iter=60
    ).fit(X, y, w)
    assert regression.n_iter_ == len(regression.scores_) == 60
    gains = np.diff(regression.scores_)
    assert gains.min() >= -1e-11 * np.abs(regression.scores_).max()


@pytest.mark.parametrize("case", ["few features", "many features"])
@with_or_without_intercept
def test_a_fit_ends_at_a_maximum_of_the_evidence(case, fit_intercept):
    X, y, w = CASES[case]
    w = np.ceil(w)
    regression = BayesianLinearRegression(per_feature=True, fit_intercept=fit_intercept).fit(
        X, y, w
    )
    alpha, precisions = regression.alpha_, np.minimum(regression.lambda_, 1e12)
    best = oracle(X, y, w, alpha, precisions, fit_intercept)[2]
    assert_allclose(regression.scores_[-1], best, rtol=1e-8)
    for factor in (0.9, 1.1):
        assert oracle(X, y, w, factor * alpha, precisions, fit_intercept)[2] < best
        for j in range(X.shape[1]):
            other = precisions.copy()
            # From 0 for sure to a deviation that is small beside that of a coefficient.
            other[j] = (
                1e4 * alpha * w.sum() if np.isinf(regression.lambda_[j]) else factor * other[j]
            )
            assert oracle(X, y, w, alpha, other, fit_intercept)[2] <= best + 1e-7


def test_accelerated_and_plain_fits_end_alike():
    X, y, _ = CASES["many features"]
    for per_feature, tolerance in ((False, 1e-5), (True, 1e-2)):
        regression = BayesianLinearRegression(per_feature=per_feature, max_iter=100_000)
        fast = clone(regression).fit(X, y)
        plain = clone(regression).set_params(accelerate=False).fit(X, y)
        assert fast.n_iter_ < plain.n_iter_
        assert_allclose(fast.coef_, plain.coef_, atol=tolerance)
        assert_allclose(fast.scores_[-1], plain.scores_[-1], atol=1e-5)


# Precisions that tend to infinity


def test_targets_that_are_noise_leave_no_weights():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(500, 8)), rng.normal(size=500)
    regression = BayesianLinearRegression().fit(X, y)
    assert regression.converged_
    assert regression.lambda_ == np.inf
    assert_array_equal(regression.coef_, np.zeros(8))
    assert_array_equal(regression.sigma_, np.zeros((8, 8)))
    assert_allclose(regression.alpha_, 1 / y.var())
    assert_allclose(regression.intercept_, y.mean())
    assert_allclose(regression.scores_[-1], -250 * (np.log(2 * np.pi * y.var()) + 1))


def test_all_features_may_be_pruned():
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(500, 3)), rng.normal(size=500)
    regression = BayesianLinearRegression(per_feature=True).fit(X, 5 + y)
    mean, deviation = regression.predict(X, return_std=True)
    found = np.isinf(regression.lambda_)
    assert found.any()
    assert_array_equal(regression.coef_[found], 0)
    if found.all():
        assert_allclose(mean, np.full(500, 5 + y.mean()))
        assert_allclose(deviation, np.full(500, y.std()))


def test_of_two_equal_columns_one_is_enough():
    X, y, _ = data(200, 3)
    twice = np.column_stack([X, X[:, 0]])
    once = BayesianLinearRegression(per_feature=True).fit(X, y)
    regression = BayesianLinearRegression(per_feature=True).fit(twice, y)
    assert_allclose(regression.predict(twice), once.predict(X), atol=1e-3)
    assert regression.scores_[-1] >= once.scores_[-1] - 1e-6


@both_kinds
def test_constant_columns_have_no_weight(per_feature):
    X, y, w = data()
    constant = np.column_stack([X, np.full(len(X), 0.1)])
    regression = BayesianLinearRegression(per_feature=per_feature)
    without = clone(regression).fit(X, y, w)
    found = clone(regression).fit(constant, y, w)
    assert found.coef_[-1] == 0
    assert_allclose(found.coef_[:-1], without.coef_, rtol=1e-9, atol=1e-12)
    if per_feature:
        assert found.lambda_[-1] == np.inf
    only = clone(regression).fit(constant[:, -1:], y)
    assert_array_equal(only.coef_, [0])
    assert_allclose(only.predict(constant[:1, -1:]), [y.mean()])


@both_kinds
def test_targets_without_noise(per_feature):
    X, *_ = data()
    y = X[:, 0] - 2 * X[:, 1] + 7
    regression = BayesianLinearRegression(per_feature=per_feature).fit(X, y)
    assert_allclose(regression.coef_, [1, -2, 0, 0, 0, 0], atol=1e-6)
    assert_allclose(regression.intercept_, 7, atol=1e-5)
    largest = 1 / (1000 * np.finfo(float).eps * y.var())
    assert 1e-3 * largest < regression.alpha_ <= largest * (1 + 1e-12)


def test_more_features_than_rows_explain_all():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 60))
    y = X[:, :3].sum(axis=1) + 0.1 * rng.normal(size=30)
    regression = BayesianLinearRegression().fit(X, y)
    assert regression.converged_
    assert_allclose(regression.predict(X), y, atol=1e-4)
    assert np.isfinite(regression.sigma_).all()


# Laws


@both_kinds
def test_weights_are_repetitions(per_feature):
    X, y, w = data()
    regression = BayesianLinearRegression(per_feature=per_feature, tol=0, max_iter=12)
    weighted = clone(regression).fit(X, y, w)
    repeated = clone(regression).fit(np.repeat(X, w.astype(int), 0), np.repeat(y, w.astype(int)))
    kept = clone(regression).fit(X[w > 0], y[w > 0], w[w > 0])
    for other in (repeated, kept):
        assert_allclose(weighted.coef_, other.coef_, rtol=1e-8, atol=1e-10)
        assert_allclose(weighted.alpha_, other.alpha_, rtol=1e-9)
        assert_allclose(weighted.scores_, other.scores_, rtol=1e-10)


@both_kinds
def test_rescaled_and_shifted_data(per_feature):
    """Rescaled columns keep their fit where each has a precision of its own."""
    X, y, w = data()
    rng = np.random.default_rng(0)
    scales = 10.0 ** rng.integers(-6, 7, 6) if per_feature else np.full(6, 1e-6)
    regression = BayesianLinearRegression(per_feature=per_feature)
    plain = clone(regression).fit(X, y, w)
    scaled = clone(regression).fit(X * scales, 1e6 * y, w)
    assert_allclose(scaled.coef_ * scales / 1e6, plain.coef_, rtol=1e-5, atol=1e-8)
    assert_allclose(scaled.alpha_ * 1e12, plain.alpha_, rtol=1e-6)
    shift = w.sum() * np.log(1e6)
    assert_allclose(scaled.scores_[-1], plain.scores_[-1] - shift, rtol=1e-8)
    shifted = clone(regression).fit(X + 1e8, y - 1e8, w)
    assert_allclose(shifted.coef_, plain.coef_, rtol=1e-5, atol=1e-7)
    assert_allclose(shifted.alpha_, plain.alpha_, rtol=1e-6)
    means = shifted.predict(X + 1e8)
    assert_allclose(means + 1e8, plain.predict(X), atol=1e-5)


@both_kinds
def test_the_same_bits_for_any_number_of_threads(per_feature):
    X, y, w = data(20_000, 9)
    fits = [
        BayesianLinearRegression(per_feature=per_feature, n_threads=n).fit(X, y, w)
        for n in (1, 2, 3, 8)
    ]
    for other in fits[1:]:
        for name in ("coef_", "sigma_", "alpha_", "lambda_", "scores_"):
            assert_array_equal(getattr(fits[0], name), getattr(other, name))


@both_kinds
def test_float32(per_feature):
    X, y, w = data(500)
    X = X.astype(np.float32)
    regression = BayesianLinearRegression(per_feature=per_feature)
    single, double = regression.fit(X, y, w), clone(regression).fit(X.astype(float), y, w)
    assert single.coef_.dtype == single.sigma_.dtype == np.float32
    assert single.predict(X).dtype == np.float32
    assert_allclose(single.coef_, double.coef_, rtol=1e-4, atol=1e-5)
    assert_allclose(single.alpha_, double.alpha_, rtol=1e-5)
    assert_allclose(single.scores_[-1], double.scores_[-1], rtol=1e-5)


def test_read_only_memory_maps_and_columns_that_are_adjacent(tmp_path):
    X, y, w = data()
    np.save(tmp_path / "X.npy", X)
    expected = BayesianLinearRegression().fit(X, y, w)
    for rows in (np.load(tmp_path / "X.npy", mmap_mode="r"), np.asfortranarray(X)):
        found = BayesianLinearRegression().fit(rows, y, w)
        assert_allclose(found.coef_, expected.coef_, rtol=1e-12)


# Use


def test_deviations_of_predictions():
    X, y, _ = data()
    regression = BayesianLinearRegression().fit(X, y)
    new = np.array([[0.0] * 6, [10.0] * 6])
    mean, deviation = regression.predict(new, return_std=True)
    distances = new - X.mean(axis=0)
    variances = 1 / regression.alpha_ + np.diag(distances @ regression.sigma_ @ distances.T)
    assert_allclose(deviation, np.sqrt(variances), rtol=1e-10)
    assert_allclose(mean, new @ regression.coef_ + regression.intercept_, rtol=1e-10)


def test_data_frames_give_names():
    X, y, _ = data()
    frame = pd.DataFrame(X, columns=list("abcdef"))
    regression = BayesianLinearRegression().fit(frame, pd.Series(y))
    assert regression.feature_names_in_.tolist() == list("abcdef")
    expected = BayesianLinearRegression().fit(X, y).predict(X)
    assert_allclose(regression.predict(frame), expected, rtol=1e-12)


def test_warm_starts_go_on():
    X, y, _ = CASES["many features"]
    part = BayesianLinearRegression(max_iter=3, tol=0, accelerate=False, warm_start=True)
    whole = BayesianLinearRegression(max_iter=6, tol=0, accelerate=False).fit(X, y)
    part.fit(X, y).fit(X, y)
    assert_allclose(part.scores_, whole.scores_[3:], rtol=1e-13)
    with pytest.raises(ValueError, match=r"warm_start: .*expected 40"):
        part.set_params(per_feature=True).fit(X, y)


def test_a_fit_that_does_not_converge_warns():
    X, y, _ = data()
    with pytest.warns(ConvergenceWarning, match="did not converge in 2 iterations"):
        BayesianLinearRegression(max_iter=2).fit(X, y)
    BayesianLinearRegression(max_iter=2, tol=0).fit(X, y)


# Bad input


X, y, w = data(10, 2, used=2)
BAD = {
    "y is missing": ({}, (X, None), "y: found None"),
    "y is too short": ({}, (X, y[:-1]), "y: found 9 targets; expected 10"),
    "NaN in y": ({}, (X, np.where(np.arange(10) == 3, np.nan, y)), "y: .*NaN.* in row 3"),
    "infinite y": ({}, (X, np.where(np.arange(10) == 3, np.inf, y)), "y: .*infinity.* in row 3"),
    "words in y": ({}, (X, ["a"] * 10), "y: expected a number"),
    "complex y": ({}, (X, y + 1j), "y: expected a number"),
    "two targets": ({}, (X, np.column_stack([y, y])), "y: "),
    "huge y": ({}, (X, 1e150 * y), "y: found .*expected numbers below"),
    "constant y": ({}, (X, np.full(10, 0.1)), "y: found 0.1 in every row of positive weight"),
    "one row": ({}, (X[:1], y[:1]), "y: found .*n_samples = 1"),
    "zero y": ({"fit_intercept": False}, (X, np.zeros(10)), "y: found 0 in every row"),
    "NaN in X": ({}, (np.where(np.eye(10, 2) == 1, np.nan, X), y), "X contains NaN"),
    "huge X": ({}, (1e200 * X, y), "X: found .*expected numbers below"),
    "one-dimensional X": ({}, (y, y), "X"),
    "no X": ({}, (None, y), "X: found None"),
    "negative weights": ({}, (X, y, -np.ones(10)), "sample_weight: found -1"),
    "no weight": ({}, (X, y, np.zeros(10)), "sample_weight: all weights are zero"),
    "weights of another length": ({}, (X, y, np.ones(3)), "sample_weight: found shape"),
    "precisions for features that share one": (
        {"lambda_init": [1, 2]},
        (X, y),
        "lambda_init: found an array",
    ),
    "precisions of another shape": (
        {"lambda_init": [1, 2, 3], "per_feature": True},
        (X, y),
        "lambda_init: found shape",
    ),
    "negative precisions": (
        {"lambda_init": [1, -2], "per_feature": True},
        (X, y),
        "lambda_init: found -2",
    ),
    "negative tolerance": ({"tol": -1}, (X, y), "tol"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_and_changes_nothing(name):
    arguments, args, message = BAD[name]
    fitted = BayesianLinearRegression().fit(X, y)
    before = dict(fitted.__dict__)
    fitted.set_params(**arguments)
    with pytest.raises(ValueError, match=message):
        fitted.fit(*args)
    assert {**fitted.__dict__, **{name: before[name] for name in arguments}} == before


def test_a_column_of_targets_is_taken_as_flat_with_a_warning():
    with pytest.warns(DataConversionWarning):
        found = BayesianLinearRegression().fit(X, y[:, None])
    assert_array_equal(found.coef_, BayesianLinearRegression().fit(X, y).coef_)


def test_integers_and_objects_are_numbers():
    whole = np.round(10 * X).astype(int)
    expected = BayesianLinearRegression().fit(whole.astype(float), np.round(y)).coef_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = BayesianLinearRegression().fit(whole, list(np.round(y).astype(object))).coef_
    assert_array_equal(found, expected)


@parametrize_with_checks(
    [
        BayesianLinearRegression(),
        BayesianLinearRegression(per_feature=True),
        BayesianLinearRegression(fit_intercept=False, accelerate=False),
    ]
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)
