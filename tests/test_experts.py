"""Mixtures of experts, and other emissions behind a gate; the laws are in `laws/test_gates.py`."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler

import oracle
from emfast import GaussianMixture, LinearRegressionMixture, MixtureOfExperts
from emfast.emissions import (
    Bernoulli,
    Binomial,
    Categorical,
    Exponential,
    Gaussian,
    Poisson,
    Product,
)
from emfast.exceptions import ConvergenceWarning
from emfast.latent import Gate
from test_regression_mixture import second_derivatives


def regimes(seed, n=500, D=2, noise=0.2, steepness=3.0):
    """Two linear regimes, which the first feature tells apart but not sharply."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, D))
    components = (rng.uniform(size=n) < 1 / (1 + np.exp(-steepness * X[:, 0]))).astype(int)
    coef = np.array([[1.0] * D, [-2.0] * D])
    y = (X * coef[components]).sum(axis=1) + 3 * components + noise * rng.normal(size=n)
    return X, y, components


CONVERGED = {"random_state": 0, "tol": 1e-9, "max_iter": 3000}


# The gate


@pytest.mark.parametrize("precision", [0.01, 1.0, 30.0])
def test_two_labelled_components_are_a_logistic_regression(precision):
    X, y, components = regimes(0)
    X = X * [10.0, 0.1] + [5.0, -7.0]
    experts = MixtureOfExperts(2, prior={"gate_coef_precision_prior": precision}, **CONVERGED)
    experts.fit(X, y, labels=components)
    scaler = StandardScaler().fit(X)
    logistic = LogisticRegression(C=2 / precision, tol=1e-12, max_iter=10_000)
    logistic.fit(scaler.transform(X), components)
    assert_allclose(
        experts.predict_proba(X), logistic.predict_proba(scaler.transform(X)), atol=1e-5
    )
    found = (experts.gate_coef_[1] - experts.gate_coef_[0]) * scaler.scale_
    assert_allclose(found, logistic.coef_[0], rtol=1e-4)


def test_several_labelled_components_are_a_multinomial_regression():
    rng = np.random.default_rng(0)
    X, z = rng.normal(size=(400, 3)), rng.integers(4, size=400)
    X[z == 2] += 0.7
    X[z == 3, 1] -= 1.0
    weights = rng.uniform(0.5, 2, 400)
    experts = MixtureOfExperts(4, prior={"gate_coef_precision_prior": 2.0}, **CONVERGED)
    experts.fit(X, rng.normal(size=400), labels=z, sample_weight=weights)
    scaler = StandardScaler().fit(X, sample_weight=weights)
    logistic = LogisticRegression(C=0.5, tol=1e-12, max_iter=10_000)
    logistic.fit(scaler.transform(X), z, sample_weight=weights)
    assert_allclose(
        experts.predict_proba(X), logistic.predict_proba(scaler.transform(X)), atol=1e-5
    )
    assert_allclose(experts.gate_coef_ * scaler.scale_, logistic.coef_, atol=1e-4)
    assert_allclose(experts.gate_coef_.sum(axis=0), 0, atol=1e-9)
    assert_allclose(
        (experts.gate_intercept_ + experts.gate_coef_ @ scaler.mean_).sum(), 0, atol=1e-9
    )


def test_the_prior_is_part_of_the_objective():
    X, y, _ = regimes(0)
    experts = MixtureOfExperts(2, prior={"gate_coef_precision_prior": 5.0}, **CONVERGED).fit(X, y)
    penalty = 2.5 * ((experts.gate_coef_ * experts.gate_scale_) ** 2).sum()
    total = experts.score_samples(X, y).sum() - penalty
    assert_allclose(experts.lower_bound_, total / len(y), rtol=1e-9)
    assert_allclose(experts.gate_location_, X.mean(axis=0))
    assert_allclose(experts.gate_scale_, X.std(axis=0))


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_separable_data_do_not_blow_up(accelerate, assignment):
    x = np.concatenate([np.linspace(-2, -1, 50), np.linspace(1, 2, 50)])
    y = np.where(x < 0, 5.0 - x, x) + 1e-2 * np.sin(37 * x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        experts = MixtureOfExperts(
            2, accelerate=accelerate, assignment=assignment, **CONVERGED
        ).fit(x[:, None], y)
    assert experts.converged_
    assert np.abs(experts.gate_coef_ * experts.gate_scale_).max() < 30
    assert np.all(np.diff(experts.lower_bounds_) > -1e-11)
    assert_allclose(experts.predict_proba(x[:, None]).max(axis=1), 1, atol=1e-2)
    assert_allclose(np.sort(experts.coef_.ravel()), [-1, 1], atol=0.02)


def test_without_a_prior_separable_data_climb_for_as_long_as_they_may():
    x = np.concatenate([np.linspace(-2, -1, 50), np.linspace(1, 2, 50)])
    y = np.where(x < 0, 5.0, 0.0) + 1e-2 * np.sin(37 * x)
    prior = {"gate_coef_precision_prior": 0.0}
    experts = MixtureOfExperts(2, prior=prior, random_state=0, tol=0, max_iter=60)
    experts.fit(x[:, None], y)
    assert np.isfinite(experts.gate_coef_).all()
    assert np.all(np.diff(experts.lower_bounds_) > -1e-11)


def wrong_gate(scale):
    return {"gate_coef_init": [[scale, 0.0], [-scale, 0.0]], "gate_intercept_init": [0.0, 0.0]}


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("scale", [3.0, 10.0, 100.0])
def test_steps_that_lead_too_far_are_halved_or_bounded(monkeypatch, scale, accelerate):
    """A gate that is sure of the opposite of its labels: the Hessian tells little of the way."""
    X, y, components = regimes(0)
    attempts, own = [], Gate.retreat

    def retreat(self, statistics, parameters, proposal, attempt):
        attempts.append(attempt)
        return own(self, statistics, parameters, proposal, attempt)

    monkeypatch.setattr(Gate, "retreat", retreat)
    arguments = {"tol": 1e-9, "max_iter": 3000, "accelerate": accelerate}
    experts = MixtureOfExperts(
        2, coef_init=[[1, 1], [-2, -2]], intercept_init=[0, 3], noise_variances_init=[0.04, 0.04],
        **wrong_gate(scale), **arguments,
    ).fit(X, y, labels=components)  # fmt: skip
    plain = MixtureOfExperts(2, random_state=0, **arguments).fit(X, y, labels=components)
    assert np.all(np.diff(experts.lower_bounds_) >= -1e-11)
    assert_allclose(experts.lower_bound_, plain.lower_bound_, atol=1e-8)
    assert_allclose(experts.gate_coef_, plain.gate_coef_, atol=1e-3)
    assert 1 in attempts
    assert 4 in attempts or scale < 5


@pytest.mark.parametrize("seed", [34, 58])
def test_noise_near_reg_covar_hides_no_step_that_leads_too_far(seed):
    """There `reg_covar` may cost half a nat a row, which is no leave for the gate."""
    rng = np.random.default_rng(seed)
    x = rng.standard_t(1.5, size=(150, 2))
    is_first = rng.random(150) < expit(3 * rng.normal() * x[:, 0])
    y = np.where(is_first, 1 + x[:, 0], -1) + 1e-4 * rng.normal(size=150)
    experts = MixtureOfExperts(
        2, coef_init=[[1, 0], [0, 0]], intercept_init=[1, -1], noise_variances_init=[1e-6, 1e-6],
        gate_coef_init=3 * rng.normal(size=(2, 2)), gate_intercept_init=[0, 0],
        prior={"gate_coef_precision_prior": 0}, tol=0, max_iter=40,
    ).fit(x, y)  # fmt: skip
    assert np.all(np.diff(experts.lower_bounds_) >= -1e-4)


def test_without_retreat_the_objective_falls(monkeypatch):
    X, y, components = regimes(0)
    monkeypatch.setattr(Gate, "retreat", lambda *arguments: None)
    experts = MixtureOfExperts(
        2, coef_init=[[1, 1], [-2, -2]], intercept_init=[0, 3], noise_variances_init=[0.04, 0.04],
        **wrong_gate(10.0), max_iter=3, tol=0,
    )  # fmt: skip
    with pytest.warns(match="lowered the objective"):
        experts.fit(X, y, labels=components)


def test_units_and_place_of_features_do_not_matter():
    X, y, _ = regimes(1)
    moved = X * [1e6, 1e-6] + [1e6, 1.0]
    arguments = {"random_state": 0, "tol": 0, "max_iter": 12}
    plain, other = (
        MixtureOfExperts(2, reg_covar=0, **arguments).fit(each, y) for each in (X, moved)
    )
    assert_allclose(other.lower_bounds_, plain.lower_bounds_, rtol=1e-8)
    assert_allclose(other.gate_coef_ * [1e6, 1e-6], plain.gate_coef_, rtol=1e-5, atol=1e-7)
    assert_allclose(other.predict_proba(moved), plain.predict_proba(X), atol=1e-6)


def test_far_from_the_origin():
    X, y, _ = regimes(1)
    X = np.round(X * 2**14) / 2**14
    arguments = {"random_state": 0, "tol": 0, "max_iter": 12, "reg_covar": 0}
    plain, other = (MixtureOfExperts(2, **arguments).fit(each, y) for each in (X, X + 1e8))
    assert_allclose(other.lower_bounds_, plain.lower_bounds_, atol=1e-6)
    assert_allclose(other.gate_coef_, plain.gate_coef_, atol=1e-6)
    assert_allclose(other.predict_proba(X + 1e8), plain.predict_proba(X), atol=1e-5)


def test_single_precision_finds_the_same():
    X, y, _ = regimes(2)
    single, double = (
        MixtureOfExperts(2, random_state=0, tol=0, max_iter=50).fit(X.astype(each), y.astype(each))
        for each in ("float32", "float64")
    )
    assert single.gate_coef_.dtype == single.predict(X.astype("float32")).dtype == np.float32
    assert_allclose(single.gate_coef_, double.gate_coef_, rtol=5e-3)
    assert_allclose(single.coef_, double.coef_, rtol=1e-3)
    assert_allclose(single.lower_bound_, double.lower_bound_, rtol=1e-5)


def test_features_that_depend_on_each_other_share_the_coefficients():
    X, y, _ = regimes(0, D=1)
    doubled = np.column_stack([X, 5 * X, np.ones(len(X))])
    experts = MixtureOfExperts(2, **CONVERGED).fit(doubled, y)
    assert_allclose(experts.gate_coef_[:, 0], 5 * experts.gate_coef_[:, 1], rtol=1e-6)
    assert_allclose(experts.gate_coef_[:, 2], 0, atol=1e-9)
    assert_allclose(experts.coef_[:, 0], 5 * experts.coef_[:, 1], rtol=1e-6)


@pytest.mark.parametrize("fixed", ["gate_coef", "gate_intercept"])
def test_a_known_part_of_the_gate_stays(fixed):
    X, y, components = regimes(0)
    X = X + np.array([3.0, -1.0])
    given = {"gate_coef_init": [[-1.0, 0.5], [1.0, 0.0]], "gate_intercept_init": [-2.0, 1.0]}
    experts = MixtureOfExperts(2, **given, fixed=[fixed], **CONVERGED).fit(X, y, labels=components)
    assert_array_equal(getattr(experts, f"{fixed}_"), given[f"{fixed}_init"])
    # The other part is where the gradient is 0.
    residual = (components[:, None] == [0, 1]) - experts.predict_proba(X)
    if fixed == "gate_coef":
        assert_allclose(residual.sum(axis=0), 0, atol=1e-3)
    else:
        penalty = 0.01 * experts.gate_coef_ * experts.gate_scale_**2
        assert_allclose(residual.T @ X, penalty, atol=2e-2)
    free = MixtureOfExperts(2, **CONVERGED).fit(X, y, labels=components)
    assert free.lower_bound_ > experts.lower_bound_
    assert free._n_parameters() - experts._n_parameters() == (2 if fixed == "gate_coef" else 1)


# Experts


def test_two_regimes_are_found():
    X, y, components = regimes(3, n=2000)
    experts = MixtureOfExperts(2, random_state=0, max_iter=500).fit(X, y)
    order = np.argsort(experts.intercept_)
    assert_allclose(experts.coef_[order], [[1, 1], [-2, -2]], atol=0.05)
    assert_allclose(experts.intercept_[order], [0, 3], atol=0.05)
    gate = experts.gate_coef_[order]
    assert_allclose(gate[1] - gate[0], [3, 0], atol=0.4)
    right = experts.predict_proba(X, y).argmax(axis=1) == np.argsort(order)[components]
    assert right.mean() > 0.9
    assert experts.score(X, y) > LinearRegressionMixture(2, random_state=0).fit(X, y).score(X, y)


def test_many_rows_are_started_on_subsamples():
    X, y, _ = regimes(4, n=60_000)
    experts = MixtureOfExperts(2, random_state=0, n_init=2, max_iter=200).fit(X, y)
    order = np.argsort(experts.intercept_)
    assert_allclose(experts.coef_[order], [[1, 1], [-2, -2]], atol=0.01)
    labels = np.full(len(y), -1)
    labels[:50] = 0
    MixtureOfExperts(2, random_state=0, tol=1e-2).fit(X, y, labels=labels)


def test_one_expert_is_least_squares():
    X, y, _ = regimes(0)
    experts = MixtureOfExperts(reg_covar=0).fit(X, y)
    expected = LinearRegression().fit(X, y)
    assert_allclose(experts.coef_[0], expected.coef_)
    assert_allclose(experts.predict(X), expected.predict(X))
    assert_array_equal(experts.gate_coef_, [[0, 0]])
    assert_array_equal(experts.predict_proba(X), np.ones((len(X), 1)))


def test_a_gate_of_features_that_tell_nothing_is_a_mixture():
    """With constant features the probabilities are the weights of a mixture."""
    X, _, _ = regimes(0)
    constant = np.ones((len(X), 1))
    experts = MixtureOfExperts(2, expert=Gaussian("full"), **CONVERGED).fit(constant, X)
    parameters = experts.expert_
    mixture = GaussianMixture(
        2, weights_init=experts.predict_proba(constant[:1])[0], means_init=parameters.means,
        covariances_init=parameters.covariances, tol=1e-9, max_iter=3000,
    ).fit(X)  # fmt: skip
    assert_allclose(experts.score_samples(constant, X), mixture.score_samples(X), atol=1e-4)


def test_predictions_are_what_the_formulas_say():
    X, y, _ = regimes(0)
    experts = MixtureOfExperts(3, random_state=0, max_iter=500, tol=1e-4).fit(X, y)
    p = oracle.softmax(X @ experts.gate_coef_.T + experts.gate_intercept_)
    means = X @ experts.coef_.T + experts.intercept_
    assert_allclose(experts.predict_proba(X), p, atol=1e-12)
    assert_allclose(experts.predict_components(X), means)
    assert_allclose(experts.predict(X), (p * means).sum(axis=1))
    variances = experts.noise_variances_
    e = y[:, None] - means
    densities = np.log(p) - 0.5 * (np.log(2 * np.pi * variances) + e**2 / variances)
    scores = np.logaddexp.reduce(densities, axis=1)
    assert_allclose(experts.score_samples(X, y), scores, rtol=1e-9)
    assert_allclose(experts.predict_proba(X, y), np.exp(densities - scores[:, None]), atol=1e-9)
    n_parameters = 2 * 3 + 3 * (2 + 1 + 1)
    assert_allclose(experts.bic(X, y), -2 * scores.sum() + n_parameters * np.log(len(y)))
    drawn, components = experts.sample(np.repeat(X[:20], 5000, axis=0))
    shares = (components.reshape(20, 5000)[:, :, None] == np.arange(3)).mean(axis=1)
    assert_allclose(shares, p[:20], atol=0.03)
    assert_allclose(drawn.reshape(20, 5000).mean(axis=1), experts.predict(X[:20]), atol=0.15)


def test_integer_weights_are_repeated_rows():
    X, y, components = regimes(0)
    counts = np.random.default_rng(0).integers(0, 3, len(y))
    labels = np.where(np.arange(len(y)) % 3 == 0, components, -1)
    given = {"coef_init": [[1, 1], [-2, -2]], "intercept_init": [0, 3], "tol": 0, "max_iter": 8}
    given |= {"noise_variances_init": [1, 1], **wrong_gate(0.0)}
    weighted = MixtureOfExperts(2, **given).fit(X, y, sample_weight=counts, labels=labels)
    repeated = MixtureOfExperts(2, **given).fit(
        np.repeat(X, counts, axis=0), np.repeat(y, counts), labels=np.repeat(labels, counts)
    )
    assert_allclose(weighted.gate_coef_, repeated.gate_coef_, rtol=1e-8)
    assert_allclose(weighted.lower_bounds_, repeated.lower_bounds_, rtol=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("start", [{}, {"coef_init": [[1, 1], [-2, -2]], "intercept_init": [0, 3]}])
def test_a_row_of_zero_weight_may_hold_anything(start):
    X, y, _ = regimes(0)
    wrong, target, weights = X.copy(), y.copy(), np.ones(len(y))
    wrong[0], target[0], weights[0] = 1e200, -1e130, 0.0
    given = {"random_state": 0, "max_iter": 500, "tol": 1e-9, **start}
    if start:
        given |= {"noise_variances_init": [1, 1], **wrong_gate(0.0)}
    with_wrong = MixtureOfExperts(2, **given).fit(wrong, target, sample_weight=weights)
    without = MixtureOfExperts(2, **given).fit(X[1:], y[1:])
    assert_allclose(with_wrong.gate_location_, X[1:].mean(axis=0), rtol=1e-9)
    assert_allclose(with_wrong.lower_bound_, without.lower_bound_, atol=1e-6)


def test_acceleration_finds_the_same_sooner():
    X, y, _ = regimes(5, noise=1.5, steepness=1.0)
    plain, fast = (
        MixtureOfExperts(2, random_state=0, tol=1e-9, max_iter=5000, accelerate=each).fit(X, y)
        for each in (False, True)
    )
    assert fast.lower_bound_ > plain.lower_bound_ - 1e-6
    assert fast.n_iter_ < plain.n_iter_
    assert np.all(np.diff(fast.lower_bounds_) > -1e-11)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_stochastic_assignment_draws_the_same_for_any_threads():
    X, y, _ = regimes(0, n=3000)
    fits = [
        MixtureOfExperts(
            2, assignment="stochastic", random_state=0, max_iter=20, n_threads=threads
        ).fit(X, y)
        for threads in (1, 3)
    ]
    assert_array_equal(fits[0].gate_coef_, fits[1].gate_coef_)
    assert_allclose(np.sort(fits[0].intercept_), [0, 3], atol=0.2)


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_standard_errors_are_those_of_the_second_derivatives(shift):
    X, y, _ = regimes(6, n=250, noise=1.0, steepness=1.5)
    experts = MixtureOfExperts(
        2, random_state=0, reg_covar=0, tol=1e-13, max_iter=20_000, accelerate=True,
        prior={"gate_coef_precision_prior": 0.5},
    ).fit(X + shift, y)  # fmt: skip
    errors = experts.standard_errors(X + shift, y)
    scale = experts.gate_scale_

    def objective(theta):
        """The first linear form is less the second: the prior has it so."""
        v = np.array([theta[1:3], -theta[1:3]])
        forms = X @ v.T + [theta[0], -theta[0]]
        log_p = forms - np.logaddexp.reduce(forms, axis=1, keepdims=True)
        coef, levels, variances = theta[3:7].reshape(2, 2), theta[7:9], theta[9:11]
        e = y[:, None] - X @ coef.T - levels
        terms = log_p - 0.5 * (np.log(2 * np.pi * variances) + e**2 / variances)
        return np.logaddexp.reduce(terms, axis=1).sum() - 0.25 * ((v * scale) ** 2).sum()

    shifts = np.array([shift, shift])
    theta = np.concatenate([
        experts.gate_intercept_[:1] + experts.gate_coef_[0] @ shifts, experts.gate_coef_[0],
        experts.coef_.ravel(), experts.intercept_ + experts.coef_ @ shifts,
        experts.noise_variances_,
    ])  # fmt: skip
    covariance = np.linalg.inv(second_derivatives(objective, theta, np.full(11, 1e-3)))
    expected = np.sqrt(np.diag(covariance))
    assert_allclose(errors["gate_coef"], [expected[1:3]] * 2, rtol=2e-3)
    assert_allclose(errors["coef"].ravel(), expected[3:7], rtol=2e-3)
    assert_allclose(errors["noise_variances"], expected[9:], rtol=2e-3)
    change = np.zeros(11)
    change[0], change[1:3] = 1, -shifts
    intercept = np.sqrt(change @ covariance @ change)
    assert_allclose(errors["gate_intercept"], [intercept] * 2, rtol=2e-3)


# Other emissions


def concomitant(seed, n=600):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 1))
    z = (rng.uniform(size=n) < 1 / (1 + np.exp(-2 * X[:, 0]))).astype(int)
    return X, z, rng


def test_membership_of_gaussian_components_is_predicted():
    X, z, rng = concomitant(0)
    Y = rng.normal(size=(600, 2)) + 3 * z[:, None]
    experts = MixtureOfExperts(2, expert=Gaussian("full"), random_state=0, max_iter=300)
    experts.fit(X, Y)
    order = np.argsort(experts.expert_.means[:, 0])
    assert_allclose(experts.expert_.means[order], [[0, 0], [3, 3]], atol=0.2)
    slope = np.diff(experts.gate_coef_[order, 0])
    assert_allclose(slope, 2, atol=0.6)
    assert experts.predict(X).shape == (600, 2)
    p = experts.predict_proba(X)
    assert_allclose(experts.predict(X), p @ experts.expert_.means)
    assert_allclose(experts.predict_components(X[:2]), [experts.expert_.means] * 2)
    assert experts.score(X, Y) > 0.2


KINDS = [
    (Gaussian("diag"), lambda rng, z: rng.normal(size=(len(z), 2)) + 4 * z[:, None]),
    (Gaussian("tied"), lambda rng, z: rng.normal(size=(len(z), 2)) + 4 * z[:, None]),
    (Bernoulli(), lambda rng, z: rng.uniform(size=(len(z), 5)) < 0.1 + 0.8 * z[:, None]),
    (Poisson(), lambda rng, z: rng.poisson(1 + 6 * z[:, None], (len(z), 2))),
    (Binomial(n_trials=8), lambda rng, z: rng.binomial(8, 0.1 + 0.8 * z[:, None], (len(z), 2))),
    (Exponential(), lambda rng, z: rng.exponential(1 + 40.0 * z[:, None], (len(z), 2))),
    (
        Categorical(),
        lambda rng, z: np.array(["a", "b"])[(rng.uniform(size=(len(z), 4)) < 0.1) ^ z[:, None]],
    ),
    (
        [
            ("size", Gaussian("diag"), [0]), ("town", Categorical(), [1, 2]),
            ("visits", Poisson(), [3]),
        ],
        lambda rng, z: np.column_stack([
            rng.normal(size=len(z)) + 3 * z, rng.integers(2, size=len(z)) * 0 + z,
            rng.integers(3, size=len(z)), rng.poisson(1 + 3 * z),
        ]),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("expert", "draw"), KINDS, ids=lambda each: getattr(each, "kind", ""))
def test_any_emission_is_an_expert(expert, draw):
    X, z, rng = concomitant(1)
    Y = draw(rng, z)
    experts = MixtureOfExperts(2, expert=expert, random_state=0, max_iter=500, n_init=2).fit(X, Y)
    p = experts.predict_proba(X, Y)
    agree = (p.argmax(axis=1) == z).mean()
    assert max(agree, 1 - agree) > 0.93
    assert np.all(np.diff(experts.lower_bounds_) > -1e-6)
    slope = np.abs(np.diff(experts.gate_coef_[:, 0]))
    assert_allclose(slope, 2, atol=0.7)
    drawn, _ = experts.sample(X)
    assert drawn.shape == Y.shape
    assert experts.predict(X).shape == Y.shape
    assert np.isfinite(experts.score_samples(X, drawn)).all()
    labelled = MixtureOfExperts(2, expert=expert, max_iter=50).fit(X, Y, labels=z)
    assert (labelled.predict_proba(X, Y).argmax(axis=1) == z).mean() > 0.93


def test_missing_entries_of_targets_are_left_out():
    X, z, rng = concomitant(2)
    Y = rng.normal(size=(600, 2)) + 4 * z[:, None]
    Y[rng.uniform(size=Y.shape) < 0.3] = np.nan
    experts = MixtureOfExperts(2, expert=Gaussian("full"), random_state=0, max_iter=300).fit(X, Y)
    assert_allclose(np.sort(experts.expert_.means[:, 0]), [0, 4], atol=0.3)
    nothing = np.full((1, 2), np.nan)
    assert_allclose(experts.predict_proba(X[:1], nothing), experts.predict_proba(X[:1]), atol=1e-9)
    assert_allclose(experts.score_samples(X[:1], nothing), 0, atol=1e-9)


def test_one_target_may_be_flat():
    X, z, rng = concomitant(3)
    y = rng.normal(size=600) + 5 * z
    flat, column = (
        MixtureOfExperts(2, expert=Gaussian("diag"), random_state=0).fit(X, each)
        for each in (y, y[:, None])
    )
    assert_array_equal(flat.gate_coef_, column.gate_coef_)
    assert flat.predict(X).shape == flat.sample(X)[0].shape == (600,)
    assert column.predict(X).shape == column.sample(X)[0].shape == (600, 1)
    assert flat.predict_components(X).shape == (600, 2)
    assert column.predict_components(X).shape == (600, 2, 1)


def test_rows_that_only_some_components_can_produce():
    X = np.linspace(-1, 1, 40)[:, None]
    Y = np.where(X > 0, [[1, 1, 0]], [[0, 0, 1]])
    experts = MixtureOfExperts(2, expert=Bernoulli(), random_state=0, tol=1e-8).fit(X, Y)
    assert set(experts.expert_.probabilities.ravel()) == {0, 1}
    impossible = np.array([[1, 0, 0]])
    assert experts.score_samples(X[:1], impossible)[0] == -np.inf
    assert_allclose(
        experts.predict_proba(X[:1], impossible), experts.predict_proba(X[:1]), atol=1e-6
    )
    assert_allclose(experts.predict_proba(X, Y).max(axis=1), 1)


def test_starting_values_and_priors_of_other_experts():
    X, z, rng = concomitant(4)
    Y = rng.normal(size=(600, 1)) + 5 * z[:, None]
    experts = MixtureOfExperts(
        2, expert=Gaussian("diag"), expert_init={"means": [[5.0], [0.0]]},
        fixed=["means"], prior={"covariance_prior": [1.0], "degrees_of_freedom_prior": 3.0},
        max_iter=300,
    ).fit(X, Y)  # fmt: skip
    assert_array_equal(experts.expert_.means, [[5], [0]])
    assert experts.gate_coef_[0, 0] > experts.gate_coef_[1, 0]


# Bad input

X, Y, _ = regimes(0, n=40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"expert": "quadratic"}, "expert"),
        ({"gate_coef_init": [[1.0, 2.0]]}, r"gate_coef_init: found shape \(1, 2\)"),
        ({"gate_intercept_init": [1.0]}, "gate_intercept_init: found shape"),
        ({"fixed": ["gate_coef"]}, "fixed: 'gate_coef' needs the known values, but gate_coef_init"),
        ({"fixed": {"gate_intercept": [True, False]}, "gate_intercept_init": [0, 0]},
         "'gate_intercept', which all components share"),
        ({"fixed": ["weights"]}, "fixed: found 'weights'"),
        ({"prior": {"gate_coef_precision_prior": -1.0}}, "gate_coef_precision_prior.*negative"),
        ({"prior": {"weight_concentration_prior": 1.0}}, "found 'weight_concentration_prior'"),
        ({"expert_init": {"means": [1, 2]}}, "expert_init: .* expected None, for"),
        ({"expert": Gaussian(), "coef_init": [[1], [2]]}, "coef_init: .* expected None, for"),
        ({"expert": Gaussian(), "expert_init": {"rates": 1}}, "expert_init: found 'rates'"),
        ({"expert": [("a", Gaussian(), [0]), ("b", Poisson(), [1])]}, "expert: columns of 'b'"),
        ({"expert": [("a", Gaussian(), [0]), ("gate_coef", Poisson(), [1])]}, "'gate_coef'"),
        ({"expert": [Gaussian()]}, r"expected tuples \(name, emission, columns\)"),
        ({"expert": Product({"a": Gaussian()}, [1])}, "expected one of emfast.emissions but"),
        ({"expert": Poisson()}, "y: found .* expected counts"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named_and_change_nothing(arguments, message):
    experts = MixtureOfExperts(2, **arguments)
    before = dict(vars(experts))
    with pytest.raises(ValueError, match=message):
        experts.fit(X, Y)
    assert vars(experts) == before


@pytest.mark.parametrize("expert", ["linear", Gaussian("diag")])
@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (X, None, "requires y to be passed"),
        (X, Y[1:], "inconsistent numbers of samples"),
        (np.where(X > 2, np.nan, X), Y, "NaN"),
        (np.where(X > 2, np.inf, X), Y, "infinity"),
        (X, np.where(Y > 3, np.inf, Y), "y: .*infinity"),
        (X, ["a"] * 40, "y: "),
        (1e200 * X, Y, "X: found .*e\\+200"),
    ],
)
def test_bad_input_is_named(expert, X, y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        MixtureOfExperts(2, expert=expert).fit(X, y)


def test_other_numbers_of_targets_and_features_are_refused():
    experts = MixtureOfExperts(2, expert=Gaussian("diag"), random_state=0, tol=0.1)
    experts.fit(X, np.column_stack([Y, Y**2]))
    with pytest.raises(ValueError, match="y: found 1 columns; expected 2"):
        experts.score_samples(X, Y)
    with pytest.raises(ValueError, match="features"):
        experts.predict(X[:, :1])
    with pytest.raises(ValueError, match="expected linear experts"):
        experts.standard_errors(X, np.column_stack([Y, Y**2]))


def test_unconverged_fits_warn():
    with pytest.warns(ConvergenceWarning):
        MixtureOfExperts(2, random_state=0, max_iter=1, tol=1e-9).fit(X, Y)


@pytest.mark.parametrize("expert", ["linear", Gaussian("diag")])
def test_what_is_said_of_a_row_does_not_depend_on_others(expert):
    """As scikit-learn's checks have it, which know of no method that takes y."""
    X, y, _ = regimes(0, n=200)
    experts = MixtureOfExperts(2, expert=expert, random_state=0, max_iter=500).fit(X, y)
    order = np.random.default_rng(0).permutation(200)

    def said(rows):
        return [
            experts.predict(X[rows]),
            experts.predict_components(X[rows]),
            experts.predict_proba(X[rows]),
            experts.predict_proba(X[rows], y[rows]),
            experts.score_samples(X[rows], y[rows]),
        ]

    parts = [said(rows) for rows in np.array_split(order, [1, 70, 130])]
    for expected, *others in zip(said(np.arange(200)), *parts, strict=True):
        assert_allclose(np.concatenate(others), expected[order], rtol=1e-12, atol=1e-12)
