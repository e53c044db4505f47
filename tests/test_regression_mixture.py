"""Mixtures of linear regressions: what only they have; the laws have the rest."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression, Ridge

from emfast import HMM, LinearRegressionMixture, Mixture
from emfast.emissions import Gaussian
from emfast.emissions import LinearRegression as Regression
from emfast.exceptions import (
    ConvergenceWarning,
    DegenerateComponentWarning,
    SingularComponentError,
)

CO2 = np.genfromtxt(
    Path(__file__).parent / "data" / "co2.csv", delimiter=",", skip_header=1, usecols=(0, 1)
)


def lines(seed, n=300, D=1, K=2, noise=0.3):
    """Rows on crossing lines, with the components they are of."""
    rng = np.random.default_rng(seed)
    X, coef = rng.normal(size=(n, D)), 2 * rng.normal(size=(K, D))
    components = rng.integers(K, size=n)
    y = (X * coef[components]).sum(axis=1) + noise * rng.normal(size=n)
    return X, y, coef, components


def start_of(coef, noise=0.3):
    K = len(coef)
    return {
        "weights_init": "equal", "coef_init": coef, "intercept_init": np.zeros(K),
        "noise_variances_init": np.full(K, noise**2),
    }  # fmt: skip


def total_log_likelihood(X, y, weights, coef, intercept, variances):
    """Straight from the formula."""
    e = y[:, None] - X @ np.transpose(coef) - intercept
    terms = np.log(weights) - 0.5 * (np.log(2 * np.pi * variances) + e**2 / variances)
    return np.logaddexp.reduce(terms, axis=1).sum()


def test_co2_of_nations():
    """Nations whose emissions depend on income, or do not (Hurn, Justel and Robert, 2003)."""
    X, y = CO2[:, :1], CO2[:, 1]
    mixture = LinearRegressionMixture(
        2, weights_init=[0.25, 0.75], coef_init=[[-1], [1]], intercept_init=[8, 1],
        noise_variances_init=[4, 1], reg_covar=0, tol=1e-10, max_iter=2000,
    ).fit(X, y)  # fmt: skip
    assert_allclose(mixture.score_samples(X, y).sum(), -66.939768, atol=1e-5)
    assert_allclose(mixture.weights_, [0.754922, 0.245078], atol=1e-4)
    assert_allclose(mixture.intercept_, [8.678972, 1.415144], atol=1e-4)
    assert_allclose(mixture.coef_.ravel(), [-0.023343, 0.676596], atol=1e-4)
    assert_allclose(np.sqrt(mixture.noise_variances_), [2.049318, 0.809388], atol=1e-4)


@pytest.mark.parametrize("D", [1, 3])
def test_one_component_is_least_squares(D):
    X, y, _, _ = lines(0, D=D)
    weights = np.random.default_rng(0).uniform(0, 2, len(y))
    mixture = LinearRegressionMixture(reg_covar=0).fit(X, y, sample_weight=weights)
    expected = LinearRegression().fit(X, y, sample_weight=weights)
    assert_allclose(mixture.coef_[0], expected.coef_, rtol=1e-10)
    assert_allclose(mixture.intercept_[0], expected.intercept_, rtol=1e-10)
    residuals = y - expected.predict(X)
    assert_allclose(mixture.noise_variances_, np.average(residuals**2, weights=weights))
    assert_allclose(mixture.predict(X), expected.predict(X))
    assert_allclose(mixture.score(X, y), expected.score(X, y))


def test_one_component_with_a_prior_is_ridge_regression():
    X, y, _, _ = lines(0, D=3)
    mixture = LinearRegressionMixture(prior={"coef_precision_prior": 50.0}, tol=1e-12).fit(X, y)
    expected = Ridge(alpha=50.0).fit(X, y)
    assert_allclose(mixture.coef_[0], expected.coef_, rtol=1e-9)
    assert_allclose(mixture.intercept_[0], expected.intercept_, rtol=1e-9)


def test_prior_of_the_noise_is_the_mode():
    X, y, _, _ = lines(0)
    prior = {"noise_variance_prior": 30.0, "degrees_of_freedom_prior": 5.0}
    mixture = LinearRegressionMixture(prior=prior, reg_covar=0).fit(X, y)
    squares = ((y - mixture.predict(X)) ** 2).sum()
    assert_allclose(mixture.noise_variances_, (squares + 30) / (len(y) + 5 + 2))


# Starts


@pytest.mark.parametrize(("n", "D", "K"), [(300, 1, 2), (300, 1, 3), (500, 5, 2), (500, 5, 4)])
def test_crossing_lines_are_found(n, D, K):
    found = {1: 0, 10: 0}
    for seed in range(10):
        X, y, coef, _ = lines(seed, n, D, K)
        arguments = {"tol": 1e-5, "max_iter": 500, "n_threads": 1}
        best = LinearRegressionMixture(K, **start_of(coef), **arguments).fit(X, y).lower_bound_
        for n_init in found:
            mixture = LinearRegressionMixture(K, n_init=n_init, random_state=seed, **arguments)
            found[n_init] += mixture.fit(X, y).lower_bound_ > best - 1e-2
    assert found[1] >= 8
    assert found[10] >= 9


def test_crossing_lines_are_found_among_many_rows():
    X, y, coef, _ = lines(3, 60_000, 2, 3)
    mixture = LinearRegressionMixture(3, random_state=0, n_init=3).fit(X, y)
    order = np.argsort(mixture.coef_[:, 0])
    assert_allclose(mixture.coef_[order], coef[np.argsort(coef[:, 0])], atol=0.02)
    assert mixture.restarts_[0].n_rows > 0


@pytest.mark.parametrize(
    "init_params",
    ["short_em", "kmeans", "k-means++", "random", "random_from_data", "neighbourhood"],
)
def test_every_kind_of_start_keeps_labels(init_params):
    X, _, _, components = lines(1, K=3)
    coef = np.array([[-3.0], [0.0], [3.0]])
    y = (X * coef[components]).sum(axis=1) + 0.3 * np.random.default_rng(9).normal(size=300)
    labels = np.where(np.arange(len(y)) % 10 == 0, components, -1)
    mixture = LinearRegressionMixture(3, init_params=init_params, random_state=0, max_iter=500).fit(
        X, y, labels=labels
    )
    assert_allclose(mixture.coef_, coef, atol=0.3)


def test_rows_go_to_the_nearest_of_given_lines():
    X, y, coef, _ = lines(2)
    mixture = LinearRegressionMixture(
        2, coef_init=coef, intercept_init=[0, 0], max_iter=0, random_state=0
    ).fit(X, y)
    nearest = np.abs(y[:, None] - X @ coef.T).argmin(axis=1)
    assert_allclose(mixture.weights_, np.bincount(nearest) / len(y))
    # Given values stay, and the noise is that about the lines of the assigned rows.
    assert_array_equal(mixture.coef_, coef)


def test_a_line_that_is_given_and_one_that_is_not():
    X, y, coef, _ = lines(2)
    mixture = LinearRegressionMixture(
        2, coef_init=[coef[0], None], intercept_init=[0, None], random_state=0, max_iter=300,
        fixed={"coef": [True, False], "intercept": [True, False]},
    ).fit(X, y)  # fmt: skip
    assert_array_equal(mixture.coef_[0], coef[0])
    assert mixture.intercept_[0] == 0
    assert_allclose(mixture.coef_[1], coef[1], atol=0.2)


# Rows that do not tell all


def test_columns_that_depend_on_each_other_share_what_they_explain():
    X, y, _, _ = lines(0)
    doubled = np.column_stack([X, 3 * X, np.ones(len(X))])
    plain = LinearRegressionMixture(2, random_state=0, tol=1e-8, max_iter=500).fit(X, y)
    mixture = LinearRegressionMixture(2, random_state=0, tol=1e-8, max_iter=500).fit(doubled, y)
    assert_allclose(mixture.lower_bound_, plain.lower_bound_, atol=1e-6)
    # Equal in standard deviations, and nothing by the constant.
    assert_allclose(mixture.coef_[:, 0], 3 * mixture.coef_[:, 1], rtol=1e-6)
    assert_allclose(mixture.coef_[:, 2], 0, atol=1e-9)
    assert_allclose(np.sort(mixture.coef_ @ [1, 3, 0]), np.sort(plain.coef_[:, 0]), rtol=1e-4)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_fewer_rows_than_columns(precision):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(6, 10)).astype(precision), rng.normal(size=6).astype(precision)
    mixture = LinearRegressionMixture(tol=1e-6).fit(X, y)
    X, y = X.astype(float), y.astype(float)
    z, target = X - X.mean(axis=0), y - y.mean()
    scales = z.std(axis=0)
    expected = np.linalg.lstsq(z / scales, target, rcond=1e-6)[0] / scales
    assert_allclose(mixture.coef_[0], expected, rtol=1e-3, atol=1e-4)
    assert mixture.coef_.dtype == precision


@pytest.mark.parametrize(("precision", "noise"), [("float64", 1e-7), ("float32", 1e-2)])
def test_noise_that_is_small_beside_the_signal_keeps_its_digits(precision, noise):
    """The sums are of residuals: in y'y - y'X w nothing of it would be left."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3))
    component = np.arange(2000) % 2
    coef = np.array([[300.0, 20.0, 1.0], [-100.0, 0.0, 50.0]])[component]
    y = (X * coef).sum(axis=1) + noise * rng.normal(size=2000)
    X, y = X.astype(precision), y.astype(precision)
    mixture = LinearRegressionMixture(2, random_state=0, reg_covar=0).fit(X, y)
    order = np.argsort(mixture.coef_[:, 0])[::-1]
    expected = []
    for k in range(2):
        rows = component == k
        fit = LinearRegression().fit(X[rows].astype(float), y[rows].astype(float))
        expected.append(((y[rows] - fit.predict(X[rows])) ** 2).mean())
    tolerance = {"float64": 1e-6, "float32": 2e-2}[precision]
    assert_allclose(mixture.noise_variances_[order], expected, rtol=tolerance)


def test_a_component_that_is_fitted_exactly_is_an_error_without_regularisation():
    X = np.arange(20.0)[:, None]
    with pytest.raises(SingularComponentError, match="fitted exactly"):
        LinearRegressionMixture(reg_covar=0).fit(X, 3 * X[:, 0] + 1)
    mixture = LinearRegressionMixture(reg_covar=1e-6).fit(X, 3 * X[:, 0] + 1)
    assert_allclose(mixture.coef_, [[3]], rtol=1e-9)
    assert_allclose(mixture.noise_variances_, 1e-6, rtol=1e-6)


def test_components_that_are_fitted_exactly_or_few_are_degenerate():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 1)), rng.normal(size=60)
    y[:3] = 2 * X[:3, 0] + 1e-3 * y[:3]
    labels = np.where(np.arange(60) < 3, 1, 0)
    with pytest.warns(DegenerateComponentWarning):
        mixture = LinearRegressionMixture(2, random_state=0).fit(X, y, labels=labels)
    assert mixture.restarts_[0].degenerate == [1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tight = np.where(np.arange(60) % 2, X[:, 0] + 1e-3 * y, y)
        LinearRegressionMixture(2, random_state=0).fit(X, tight, labels=np.arange(60) % 2)


# What it says


def test_predictions_are_what_the_formulas_say():
    X, y, _, _ = lines(0, D=2, K=3)
    mixture = LinearRegressionMixture(3, random_state=0, max_iter=300).fit(X, y)
    means = X @ mixture.coef_.T + mixture.intercept_
    assert_allclose(mixture.predict_components(X), means)
    assert_allclose(mixture.predict(X), means @ mixture.weights_)
    assert_allclose(mixture.predict_proba(X), np.tile(mixture.weights_, (len(X), 1)))
    parameters = mixture.weights_, mixture.coef_, mixture.intercept_, mixture.noise_variances_
    total = total_log_likelihood(X, y, *parameters)
    assert_allclose(mixture.score_samples(X, y).sum(), total)
    assert_allclose(mixture.lower_bound_, total / len(y))
    n_parameters = 2 + 3 * (2 + 1 + 1)
    assert_allclose(mixture.bic(X, y), -2 * total + n_parameters * np.log(len(y)))
    assert_allclose(mixture.aic(X, y), -2 * total + 2 * n_parameters)
    e = y[:, None] - means
    joint = mixture.weights_ * np.exp(-0.5 * e**2 / mixture.noise_variances_)
    joint /= np.sqrt(mixture.noise_variances_)
    assert_allclose(
        mixture.predict_proba(X, y), joint / joint.sum(axis=1, keepdims=True), atol=1e-9
    )
    weights = np.arange(len(y)) % 3
    assert_allclose(
        mixture.aic(X, y, sample_weight=weights),
        -2 * weights @ mixture.score_samples(X, y) + 2 * n_parameters,
    )


def test_score_is_that_of_scikit_learn():
    X, y, _, _ = lines(0)
    mixture = LinearRegressionMixture(2, random_state=0).fit(X, y)
    residual = ((y - mixture.predict(X)) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert_allclose(mixture.score(X, y), 1 - residual)


def test_labels_say_what_is_known_of_rows():
    X, y, _, components = lines(0)
    names = np.where(components == 1, "up", "down").astype(object)
    names[::3] = None
    mixture = LinearRegressionMixture(2, random_state=0).fit(X, y, labels=names)
    assert_array_equal(mixture.classes_, ["down", "up"])
    r = mixture.predict_proba(X, y, labels=["up"] * len(y))
    assert_array_equal(r, np.tile([0.0, 1.0], (len(y), 1)))
    joint = mixture.score_samples(X, y, labels=names)
    assert np.all(joint <= mixture.score_samples(X, y) + 1e-12)
    with pytest.raises(ValueError, match="labels: found labels without y"):
        mixture.predict_proba(X, labels=names)


def test_a_component_that_only_masks_allow_is_found():
    X, y, coef, components = lines(4, K=3)
    allowed = np.ones((len(y), 3), bool)
    allowed[components == 0, 1:] = False
    allowed[components != 0, 0] = False
    mixture = LinearRegressionMixture(3, random_state=0, n_init=4, max_iter=300)
    mixture.fit(X, y, labels=allowed)
    assert_allclose(mixture.coef_[0], coef[0], atol=0.2)


def test_drawn_targets_are_those_of_the_model():
    X, y, _, _ = lines(0, n=200)
    mixture = LinearRegressionMixture(2, random_state=0, max_iter=300).fit(X, y)
    many = np.repeat(X, 200, axis=0)
    drawn, components = mixture.sample(many)
    assert_allclose(np.bincount(components) / len(many), mixture.weights_, atol=0.01)
    residuals = drawn - mixture.predict_components(many)[np.arange(len(many)), components]
    for k in range(2):
        own = residuals[components == k]
        assert_allclose(own.var(), mixture.noise_variances_[k], rtol=0.05)
        assert abs(own.mean()) < 0.02
    assert_array_equal(mixture.sample(many)[0], drawn)


def test_warm_start_goes_on():
    X, y, _, _ = lines(0)
    mixture = LinearRegressionMixture(2, random_state=0, warm_start=True, max_iter=3, tol=0)
    first = mixture.fit(X, y).lower_bound_
    second = mixture.fit(X, y)
    straight = LinearRegressionMixture(2, random_state=0, max_iter=6, tol=0).fit(X, y)
    assert second.lower_bound_ > first
    assert_array_equal(second.coef_, straight.coef_)


def test_attributes_changed_by_hand_are_the_model():
    X, y, _, _ = lines(0)
    mixture = LinearRegressionMixture(2, random_state=0).fit(X, y)
    before = mixture.predict(X)
    mixture.intercept_ = mixture.intercept_ + 1
    assert_allclose(mixture.predict(X), before + 1)


# Standard errors


def second_derivatives(function, at, steps):
    """Less the Hessian, by central differences."""
    n = len(at)
    hessian = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            total = 0.0
            for a in (1, -1):
                for b in (1, -1):
                    moved = at.copy()
                    moved[i] += a * steps[i]
                    moved[j] += b * steps[j]
                    total += a * b * function(moved)
            hessian[i, j] = total / (4 * steps[i] * steps[j])
    return -hessian


@pytest.mark.parametrize("prior", [None, "all"])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_standard_errors_are_those_of_the_second_derivatives(prior, shift):
    X, y, _, _ = lines(5, n=150, D=2, noise=1.0)
    weights = np.random.default_rng(0).integers(1, 4, 150).astype(float)
    given = None
    if prior:
        given = {"coef_precision_prior": 5.0, "noise_variance_prior": 3.0,
                 "degrees_of_freedom_prior": 4.0, "weight_concentration_prior": 3.0}  # fmt: skip
    mixture = LinearRegressionMixture(
        2, random_state=0, reg_covar=0, tol=1e-13, max_iter=5000, prior=given
    ).fit(X + shift, y, sample_weight=weights)
    errors = mixture.standard_errors(X + shift, y, sample_weight=weights)

    def objective(theta):
        """At parameters about the shift: numbers that do not cancel."""
        w = np.array([theta[0], 1 - theta[0]])
        coef, levels, variances = theta[1:5].reshape(2, 2), theta[5:7], theta[7:9]
        e = y[:, None] - X @ coef.T - levels
        terms = np.log(w) - 0.5 * (np.log(2 * np.pi * variances) + e**2 / variances)
        total = weights @ np.logaddexp.reduce(terms, axis=1)
        if prior:
            total += 2 * np.log(w).sum()
            squares = 5 * (coef**2).sum(axis=1) + 3
            total -= 0.5 * (squares / variances + (2 + 4 + 2) * np.log(variances)).sum()
        return total

    levels = mixture.intercept_ + mixture.coef_ @ [shift, shift]
    theta = np.concatenate(
        [mixture.weights_[:1], mixture.coef_.ravel(), levels, mixture.noise_variances_]
    )
    covariance = np.linalg.inv(second_derivatives(objective, theta, np.full(9, 1e-3)))
    expected = np.sqrt(np.diag(covariance))
    assert_allclose(errors["weights"], expected[[0, 0]], rtol=1e-4)
    assert_allclose(errors["coef"].ravel(), expected[1:5], rtol=1e-4)
    assert_allclose(errors["noise_variances"], expected[7:], rtol=1e-4)
    change = np.zeros((2, 9))
    for k in range(2):
        change[k, 1 + 2 * k : 3 + 2 * k], change[k, 5 + k] = -shift, 1
    intercepts = np.sqrt(np.diag(change @ covariance @ change.T))
    assert_allclose(errors["intercept"], intercepts, rtol=1e-4)


def test_standard_errors_of_one_component_are_those_of_least_squares():
    X, y, _, _ = lines(0, D=3)
    mixture = LinearRegressionMixture(reg_covar=0, tol=1e-12).fit(X, y)
    errors = mixture.standard_errors(X, y)
    design = np.column_stack([X, np.ones(len(X))])
    variance = mixture.noise_variances_[0]
    expected = np.sqrt(np.diag(variance * np.linalg.inv(design.T @ design)))
    assert_allclose(errors["coef"][0], expected[:3], rtol=1e-8)
    assert_allclose(errors["intercept"], expected[3:], rtol=1e-8)
    assert_allclose(errors["noise_variances"], variance * np.sqrt(2 / len(X)), rtol=1e-8)
    assert_allclose(errors["weights"], 0)


def test_what_is_known_has_no_standard_error():
    X, y, coef, _ = lines(5, n=150, noise=1.0)
    mixture = LinearRegressionMixture(
        2, fixed={"intercept": True, "noise_variances": [True, False], "weights": True},
        **start_of(coef, 1.0), tol=1e-10, max_iter=1000,
    ).fit(X, y)  # fmt: skip
    errors = mixture.standard_errors(X, y)
    assert_array_equal(errors["intercept"], [0, 0])
    assert_array_equal(errors["weights"], [0, 0])
    assert errors["noise_variances"][0] == 0 < errors["noise_variances"][1]

    def objective(theta):
        variances = np.array([1.0, theta[2]])
        return total_log_likelihood(X, y, [0.5, 0.5], theta[:2, None], 0.0, variances)

    theta = np.append(mixture.coef_.ravel(), mixture.noise_variances_[1])
    expected = np.sqrt(np.diag(np.linalg.inv(second_derivatives(objective, theta, [1e-3] * 3))))
    assert_allclose(errors["coef"].ravel(), expected[:2], rtol=1e-4)
    assert_allclose(errors["noise_variances"][1], expected[2], rtol=1e-4)


def test_standard_errors_cover_the_truth():
    inside = []
    for seed in range(60):
        X, _, _, components = lines(100 + seed, n=400)
        coef = np.array([[-1.0], [2.0]])
        y = (X * coef[components]).sum(axis=1) + 0.5 * np.random.default_rng(seed).normal(size=400)
        mixture = LinearRegressionMixture(2, **start_of(coef, 0.5), tol=1e-8, max_iter=500)
        errors = mixture.fit(X, y).standard_errors(X, y)
        inside.extend(np.abs(mixture.coef_ - coef).ravel() < 1.96 * errors["coef"].ravel())
    assert 0.89 < np.mean(inside) < 0.99


def test_rows_that_do_not_tell_all_have_no_standard_errors():
    X, y, _, _ = lines(0)
    mixture = LinearRegressionMixture(random_state=0).fit(np.column_stack([X, X]), y)
    with pytest.raises(ValueError, match="not positive definite"):
        mixture.standard_errors(np.column_stack([X, X]), y)


# Bad input


X, Y, _, _ = lines(0, n=30)


def changed(array, row, value):
    array = array.copy()
    array[row] = value
    return array


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (X, None, "requires y to be passed"),
        (X, Y[:-1], "y: found 29 targets; expected 30"),
        (X, changed(Y, 3, np.nan), "y: Input y contains NaN: found nan in row 3"),
        (X, changed(Y, 3, -np.inf), "y: Input y contains infinity: found -inf in row 3"),
        (changed(X, 4, np.nan), Y, "X.*contains NaN"),
        (changed(X, 4, np.inf), Y, "X.*infinity"),
        (X, np.full((30, 2), 1.0), "y: expected a number for each row"),
        (X, ["a"] * 30, "y: expected a number for each row"),
        (X, Y + 1j, "y: "),
        (X[:, :0], Y, "X: .*0 feature"),
        (X[:1], Y[:1], "n_samples >= n_components|n_samples = 1"),
        (X, changed(Y, 3, 1e200), "y: found 1e\\+200; expected numbers below 1e\\+140"),
        (changed(X, 3, 1e200), Y, "X: found 1e\\+200"),
        (
            X.astype("float32"),
            changed(Y, 3, 1e30),
            "y: found 1e\\+30; expected numbers below 1e\\+16",
        ),
    ],
)
def test_bad_input_is_named_and_changes_nothing(X, y, message):
    mixture = LinearRegressionMixture(2, random_state=0)
    before = dict(vars(mixture))
    with pytest.raises((ValueError, TypeError), match=message):
        mixture.fit(X, y)
    assert vars(mixture) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coef_init": [[1.0]]}, r"coef_init: found shape \(1, 1\); expected \(2, 1\)"),
        ({"intercept_init": [[1.0, 2.0]]}, r"intercept_init: found shape \(1, 2\)"),
        ({"noise_variances_init": [1.0, 0.0]}, "noise_variances_init: found 0.0"),
        ({"fixed": ["coef"]}, "fixed: 'coef' needs the known values, but coef_init is None"),
        ({"fixed": ["means"]}, "fixed: found 'means'"),
        ({"prior": {"mean_prior": 0}}, "prior: found 'mean_prior'"),
        ({"prior": {"coef_precision_prior": -1}}, "coef_precision_prior.*expected positive"),
        ({"prior": {"coef_precision_prior": [1, 2, 3]}}, "coef_precision_prior"),
        ({"reg_covar": -1}, "reg_covar"),
        ({"init_params": "lines"}, "init_params"),
        ({"weights_init": [0.5, 0.6]}, "weights_init: found a sum of 1.1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LinearRegressionMixture(2, **arguments).fit(X, Y)


def test_constant_targets_need_regularisation():
    with pytest.raises(ValueError, match=r"y: all targets are 2\.0"):
        LinearRegressionMixture(reg_covar=0).fit(X, np.full(30, 2.0))
    mixture = LinearRegressionMixture().fit(X, np.full(30, 2.0))
    assert_allclose(mixture.predict(X), 2.0)


def test_rows_of_another_width_are_refused():
    mixture = LinearRegressionMixture(2, random_state=0).fit(X, Y)
    for call in (mixture.predict, mixture.predict_components, mixture.sample):
        with pytest.raises(ValueError, match="features"):
            call(np.ones((3, 2)))
    with pytest.raises(ValueError, match="features"):
        mixture.score_samples(np.ones((3, 2)), np.ones(3))


def test_unconverged_fits_warn():
    with pytest.warns(ConvergenceWarning):
        LinearRegressionMixture(2, random_state=0, max_iter=1, tol=1e-9).fit(X, Y)


def test_a_regression_is_an_emission_of_a_mixture_of_several_kinds():
    """The last of its columns is the target."""
    X, y, coef, components = lines(0)
    rng = np.random.default_rng(0)
    table = np.column_stack([X, y, 4.0 * components + rng.normal(size=len(y))])
    mixture = Mixture(
        2, [("line", Regression(), [0, 1]), ("place", Gaussian("diag"), [2])], random_state=0
    ).fit(table)
    order = np.argsort(mixture.emissions_["place"].means[:, 0])
    assert_allclose(mixture.emissions_["line"].coef[order], coef, atol=0.1)
    with pytest.raises(ValueError, match="says nothing of how its columns are distributed"):
        mixture.sample()


def test_a_regression_that_switches_with_the_state_of_a_chain():
    X, _, _, _ = lines(0, n=400)
    states = np.arange(400) // 40 % 2
    y = np.where(states, 5 - 2 * X[:, 0], 1 + X[:, 0]) + 0.1 * np.random.default_rng(1).normal(
        size=400
    )
    table = np.column_stack([X, y])
    hmm = HMM(2, emission=Regression(), random_state=0).fit(table)
    order = np.argsort(hmm.emission_.intercept)
    assert_allclose(hmm.emission_.coef[order], [[1], [-2]], atol=0.05)
    assert_allclose(hmm.emission_.intercept[order], [1, 5], atol=0.05)
    assert (np.argsort(order)[hmm.predict(table)] == states).mean() > 0.98
    assert np.all(np.diag(hmm.transmat_) > 0.9)
