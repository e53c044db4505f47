"""The lower bound of EM: log p = L + KL, whatever the responsibilities."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from numpy.testing import assert_allclose
from scipy.special import xlogy
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture as Peer

import oracle
from emfast import (
    BernoulliMixture,
    BinomialMixture,
    GaussianMixture,
    PoissonMixture,
    elbo,
    theory,
)
from emfast.passes import Model
from families import (
    LABELS,
    Shape,
    allowed_of,
    another_model,
    fit,
    over_densities,
    random_labels,
    setting,
    shapes,
)
from one_iteration import prior_of

over_types = pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])

TOLERANCE = {"float64": 1e-10, "float32": 2e-4}


def random_responsibilities(rng, n, K):
    """Rows that sum to 1, of which many numbers are 0, and some rows one-hot."""
    q = rng.dirichlet(np.full(K, 0.5), n) * (rng.uniform(size=(n, K)) < 0.7)
    q[np.arange(n), rng.integers(0, K, n)] += 0.01
    q /= q.sum(axis=1, keepdims=True)
    hard = rng.uniform(size=n) < 0.2
    q[hard] = np.eye(K)[q[hard].argmax(axis=1)]
    return q


def restricted(q, allowed):
    """The same responsibilities, where labels allow no others."""
    if allowed is None:
        return q
    q = np.where(allowed, q + 0.01, 0.0)
    return q / q.sum(axis=1, keepdims=True)


def true_parts(family, case, q, weights, allowed):
    """Log-likelihood, lower bound and divergence from the formulas, and how large the sums are."""
    joint = family.log_densities(case.X, case.model.emission) + np.log(case.model.latent)
    if allowed is not None:
        joint = np.where(allowed, joint, -np.inf)
    log_likelihoods = np.logaddexp.reduce(joint, axis=1)
    expected = np.where(q > 0, q * np.where(q > 0, joint, 0.0), 0.0).sum(axis=1)
    bounds = expected - xlogy(q, q).sum(axis=1)
    parts = np.array([log_likelihoods, bounds, log_likelihoods - bounds])
    return parts @ weights, np.abs(parts).max(axis=0) @ weights


@pytest.mark.filterwarnings("ignore::emfast.exceptions.StarvedComponentWarning")
@pytest.mark.filterwarnings("ignore::emfast.exceptions.DegenerateComponentWarning")
@pytest.mark.parametrize("kind", LABELS)
@over_densities
@given(shape=shapes(rows=(130, 511)))
def test_parts_are_what_the_formulas_say(family, precision, kind, shape):
    case = setting(family, precision, shape)
    rng = np.random.default_rng([shape.seed, 2])
    labels = random_labels(kind, rng, shape.n, shape.K)
    allowed = allowed_of(labels, shape.K)
    q = restricted(random_responsibilities(rng, shape.n, shape.K), allowed)
    weights = rng.uniform(0.1, 3.0, shape.n)
    known = None if kind == "none" else allowed
    model = fit(family, case.X, case.model, max_iter=0, labels=known)

    found = elbo(model, case.X, q, sample_weight=weights, labels=known)

    expected, size = true_parts(family, case, q, weights, allowed)
    assert_allclose(found, expected, rtol=0, atol=TOLERANCE[precision] * size + 1e-12)
    assert found.kl_divergence >= 0
    total = found.lower_bound + found.kl_divergence
    assert_allclose(total, found.log_likelihood, rtol=0, atol=1e-13 * size)


@pytest.mark.parametrize("kind", LABELS)
@over_densities
def test_own_responsibilities_touch_the_log_likelihood_and_no_others(family, precision, kind):
    case, rng = setting(family, precision, Shape(801, 4, 3, 0)), np.random.default_rng(0)
    allowed = allowed_of(random_labels(kind, rng, 801, 3), 3)
    weights = rng.uniform(0, 2, 801)
    given = {"sample_weight": weights, "labels": allowed}
    model = fit(family, case.X, case.model, max_iter=0, **given)
    own = model.predict_proba(case.X, labels=allowed)
    found = elbo(model, case.X, own, **given)
    scores = model.score_samples(case.X, labels=allowed)
    assert_allclose(found.log_likelihood, scores @ weights, rtol=1e-13)
    assert_allclose(found.lower_bound, found.log_likelihood, rtol=1e-13)
    assert found.kl_divergence <= 1e-13 * len(case.X)
    for share in (1e-3, 0.1, 1.0):
        others = restricted(random_responsibilities(rng, 801, 3), allowed)
        beside = elbo(model, case.X, (1 - share) * own + share * others, **given)
        assert_allclose(beside.log_likelihood, found.log_likelihood, rtol=1e-13)
        assert beside.lower_bound < found.lower_bound
        assert beside.kl_divergence > found.kl_divergence


@over_densities
def test_both_steps_raise_the_bound(family, precision):
    case = setting(family, precision, Shape(801, 3, 3, 1))
    before = fit(family, case.X, another_model(family, Shape(801, 3, 3, 1)), max_iter=0)
    after = fit(
        family, case.X, another_model(family, Shape(801, 3, 3, 1)), max_iter=1, tol=0, regular=0
    )
    q = before.predict_proba(case.X)

    touched, raised = elbo(before, case.X, q), elbo(after, case.X, q)

    assert raised.lower_bound > touched.lower_bound + 1
    assert raised.kl_divergence > 1e-3
    assert raised.log_likelihood > raised.lower_bound
    # No parameters are better for these responsibilities.
    model = after._model()
    weights, emission = model.latent, model.emission
    moved = weights * np.array([1.01, 1.0, 1.0])
    for other in (Model(moved / moved.sum(), emission), Model(weights, family.alike(emission))):
        beside = fit(family, case.X, other, max_iter=0, regular=0)
        assert elbo(beside, case.X, q).lower_bound < raised.lower_bound


@over_types
@pytest.mark.parametrize("far", [10.0, 100.0, 1e4])
def test_responsibilities_that_underflow_keep_their_digits(covariance_type, far):
    rng = np.random.default_rng(0)
    component = rng.integers(0, 3, 500)
    X = rng.standard_normal((500, 2)) + far * component[:, None]
    model = GaussianMixture(3, covariance_type=covariance_type, means_init=[[0, 0], [far] * 2,
                            [2 * far] * 2]).fit(X)  # fmt: skip
    assert (model.predict_proba(X) == 0).mean() > 0.5
    q = np.full((500, 3), 1 / 3)

    found = elbo(model, X, q)

    joint = np.log(model.weights_) + oracle.gaussian_log_densities(
        X, model.means_, model.covariances_, covariance_type
    )
    assert_allclose(found.lower_bound, (joint / 3).sum() + 500 * np.log(3), rtol=1e-9)
    assert_allclose(found.log_likelihood, np.logaddexp.reduce(joint, axis=1).sum(), rtol=1e-9)
    total, rounding = found.lower_bound + found.kl_divergence, 1e-14 * found.kl_divergence
    assert_allclose(total, found.log_likelihood, rtol=0, atol=rounding)


@over_types
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("noise", [True, 1e4])
def test_noise_is_a_component_more(covariance_type, holes, noise):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(300, 2)), rng.uniform(-20, 20, (60, 2))])
    if holes:
        X[rng.uniform(size=X.shape) < 0.2] = np.nan
    labels = np.where(rng.uniform(size=360) < 0.2, np.repeat([0, -2], [300, 60]), -1)
    allowed = np.repeat([[True, True, True]], 360, axis=0)
    allowed[labels >= 0] = [True, False, False]
    allowed[labels == -2] = [False, False, True]
    weights = rng.uniform(0.1, 3, 360)
    given = {"sample_weight": weights, "labels": labels}
    model = GaussianMixture(
        2, covariance_type=covariance_type, noise=noise, random_state=0, max_iter=2, tol=0
    ).fit(X, **given)
    q = restricted(random_responsibilities(rng, 360, 3), allowed)

    found = elbo(model, X, q, **given)

    low, high = model.noise_bounds_
    joint = np.hstack(
        [
            oracle.incomplete_gaussian_log_densities(
                X, model.means_, model.covariances_, covariance_type
            ),
            -(~np.isnan(X) @ np.log(high - low))[:, None],
        ]
    ) + np.log([*model.weights_, model.noise_weight_])
    joint = np.where(allowed, joint, -np.inf)
    bounds = np.where(q > 0, q * np.where(q > 0, joint, 0), 0).sum(axis=1) - xlogy(q, q).sum(axis=1)
    total = np.logaddexp.reduce(joint, axis=1) @ weights
    expected = total, bounds @ weights, total - bounds @ weights
    assert_allclose(found, expected, rtol=1e-10)
    own = model.predict_proba(X, labels=labels)
    assert elbo(model, X, own, **given).kl_divergence < 1e-10
    with pytest.raises(ValueError, match=r"found shape \(360, 2\); expected \(360, 3\)"):
        elbo(model, X, own[:, :2], **given)
    steps = theory.staircase(model, X, 4, **given)
    assert np.all(steps.lower_bounds > steps.log_likelihoods[:-1])
    assert np.all(steps.kl_divergences > 0)


def test_what_a_component_cannot_have_produced():
    X = np.array([[1, 1], [1, 0], [0, 0]], np.uint8)
    model = BernoulliMixture(
        2, probabilities_init=[[1.0, 0.5], [0.2, 0.3]], weights_init=[0.5, 0.5], max_iter=0
    ).fit(X)
    possible = np.array([[0.5, 0.5], [0.0, 1.0], [0.0, 1.0]])
    joint = np.log([[0.25, 0.03], [0.25, 0.07], [1.0, 0.28]])
    found = elbo(model, X, possible)
    bound = joint[0].mean() + joint[1, 1] + joint[2, 1] + np.log(2)
    assert_allclose(found.lower_bound, bound, rtol=1e-12)
    assert_allclose(found.log_likelihood, np.log([0.28, 0.32, 0.28]).sum(), rtol=1e-12)
    found = elbo(model, X, np.full((3, 2), 0.5))
    assert found[1:] == (-np.inf, np.inf)
    assert np.isfinite(found.log_likelihood)


def test_what_a_label_excludes():
    X = np.random.default_rng(0).standard_normal((40, 1))
    labels = np.array(["car", "truck"] * 10 + [None] * 20, object)
    model = GaussianMixture(2, random_state=0, tol=1).fit(X, labels=labels)
    found = elbo(model, X, np.full((40, 2), 0.5), labels=labels)
    assert found[1:] == (-np.inf, np.inf)
    assert_allclose(found.log_likelihood / 40, model.lower_bound_, rtol=1e-12)
    own = model.predict_proba(X)
    own[:20] = np.tile(np.eye(2), (10, 1))
    assert elbo(model, X, own, labels=labels).kl_divergence < 1e-12
    # Names are those of the fit, whichever of them occur.
    trucks = np.array(["truck"] * 40, object)
    found = elbo(model, X, np.tile([0.0, 1.0], (40, 1)), labels=trucks)
    assert found.kl_divergence < 1e-12
    same = elbo(model, X, np.tile([0.0, 1.0], (40, 1)), labels=np.ones(40, int))
    assert same == found


@pytest.mark.parametrize("storage", ["dense", "sparse"])
@pytest.mark.parametrize("estimator", [BernoulliMixture, PoissonMixture])
def test_sparse_rows(estimator, storage):
    rng = np.random.default_rng(0)
    X = (rng.uniform(size=(200, 6)) < 0.2).astype(float)
    q, weights = random_responsibilities(rng, 200, 3), rng.uniform(size=200)
    model = estimator(3, random_state=0, max_iter=3, tol=0).fit(X, sample_weight=weights)
    expected = elbo(model, X, q, sample_weight=weights)
    rows = sp.csr_array(X)
    assert_allclose(elbo(model, rows, q, sample_weight=weights), expected, rtol=1e-12)
    steps = theory.staircase(model, rows, 3, sample_weight=weights)
    dense = theory.staircase(model, X, 3, sample_weight=weights)
    assert_allclose(np.concatenate(steps), np.concatenate(dense), rtol=1e-9)


@pytest.mark.parametrize("by", ["row", "count"])
def test_trials_of_rows(by):
    rng = np.random.default_rng(0)
    n_trials = rng.integers(5, 30, (80, 2) if by == "count" else (80, 1))
    X = rng.binomial(
        np.broadcast_to(n_trials, (80, 2)), np.where(np.arange(80) % 2, 0.2, 0.6)[:, None]
    )
    trials = n_trials if by == "count" else n_trials[:, 0]
    model = BinomialMixture(2, random_state=0).fit(X, n_trials=trials)
    q = random_responsibilities(rng, 80, 2)

    found = elbo(model, X, q, n_trials=trials)

    joint = np.log(model.weights_) + oracle.binomial_log_densities(
        X, n_trials, model.probabilities_
    )
    bound = (q * joint).sum() - xlogy(q, q).sum()
    total = np.logaddexp.reduce(joint, axis=1).sum()
    assert_allclose(found, [total, bound, total - bound], rtol=1e-10)
    steps = theory.staircase(model, X, 4, n_trials=trials)
    assert np.all(steps.lower_bounds > steps.log_likelihoods[:-1])
    with pytest.raises(ValueError, match="n_trials"):
        elbo(model, X, q)
    with pytest.raises(TypeError, match="n_trials: found an argument for GaussianMixture"):
        elbo(GaussianMixture(2, random_state=0).fit(X), X, q, n_trials=trials)


def test_rows_of_weight_zero_are_deleted_rows():
    rng = np.random.default_rng(0)
    X, weights = rng.standard_normal((60, 2)), np.arange(60.0) % 3
    model = GaussianMixture(3, random_state=0).fit(X)
    q = random_responsibilities(rng, 60, 3)
    kept = weights > 0
    expected = elbo(model, X[kept], q[kept], sample_weight=weights[kept])
    q[~kept] = np.nan
    assert_allclose(elbo(model, X, q, sample_weight=weights), expected, rtol=1e-12)


def test_parts_do_not_depend_on_how_rows_are_worked_on(monkeypatch):
    rng = np.random.default_rng(0)
    X, weights = rng.standard_normal((100, 2)), rng.poisson(1.0, 100)
    weights[7:28] = 0
    model = GaussianMixture(3, random_state=0).fit(X)
    q, labels = random_responsibilities(rng, 100, 3), np.full((100, 3), True)
    whole = elbo(model, X, q, sample_weight=weights, labels=labels)
    monkeypatch.setattr(theory, "CHUNK_NUMBERS", 21)
    parts = elbo(model, X, q, sample_weight=weights, labels=labels)
    assert_allclose(parts, whole, rtol=1e-12)
    q[71, 0] = -1
    weights[71] = 1
    with pytest.raises(ValueError, match="row 71"):
        elbo(model, X, q, sample_weight=weights, labels=labels)
    q[71] = 1 / 3
    X[71] = 1e200
    with pytest.raises(ValueError, match="X: row 71 has zero likelihood"):
        elbo(model, X, q, sample_weight=weights)


@pytest.mark.parametrize("make", [
    np.asfortranarray, np.ndarray.tolist, pd.DataFrame, lambda q: q.astype(object),
    lambda q: q.astype(np.float32), lambda q: np.repeat(q, 2, axis=0)[::2],
])  # fmt: skip
def test_responsibilities_of_any_kind(make):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 2))
    model = GaussianMixture(3, random_state=0).fit(X)
    q = random_responsibilities(rng, 50, 3)
    assert_allclose(elbo(model, X, make(q)), elbo(model, X, q), rtol=1e-5)


@pytest.mark.parametrize("dtype", [bool, int, np.uint8])
def test_hard_assignments_are_responsibilities(dtype):
    X = np.random.default_rng(0).standard_normal((50, 2))
    model = GaussianMixture(3, random_state=0).fit(X)
    hard = np.eye(3)[model.predict(X)]
    found = elbo(model, X, hard.astype(dtype))
    assert found == elbo(model, X, hard)
    # The divergence of a one-hot row is minus the logarithm of its responsibility.
    expected = -np.log(model.predict_proba(X).max(axis=1)).sum()
    assert_allclose(found.kl_divergence, expected, rtol=1e-12)


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda q: q[:, :2], r"responsibilities: found shape \(40, 2\); expected \(40, 3\)"),
    (lambda q: q[:39], r"responsibilities: found shape \(39, 3\); expected \(40, 3\)"),
    (lambda q: 2 * q, r"responsibilities: row 0 has the sum \d\.\d+; expected 1"),
    (lambda q: q - 0.5 * (np.arange(40) == 7)[:, None], "responsibilities: found -.* in row 7"),
    (lambda q: np.where(np.eye(40, 3) > 0, np.nan, q), "responsibilities: found nan in row 0"),
    (lambda q: np.where(np.eye(40, 3) > 0, np.inf, q), "responsibilities: found inf in row 0"),
    (lambda q: q.astype(str), "responsibilities: found .*; expected numbers"),
    (lambda q: q.astype(complex), "responsibilities: found complex128; expected numbers"),
    (lambda q: None, "responsibilities: "),
])  # fmt: skip
def test_bad_responsibilities(spoil, message):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 2))
    model = GaussianMixture(3, random_state=0).fit(X)
    with pytest.raises(ValueError, match=message):
        elbo(model, X, spoil(rng.dirichlet(np.ones(3), 40)))


def test_bad_arguments():
    X, q = np.arange(10.0)[:, None], np.full((10, 2), 0.5)
    model = GaussianMixture(2, random_state=0).fit(X)
    with pytest.raises(TypeError, match="model: found GaussianMixture; expected a fitted mixture"):
        elbo(Peer(2).fit(X), X, q)
    with pytest.raises(NotFittedError):
        elbo(GaussianMixture(2), X, q)
    with pytest.raises(ValueError, match="sample_weight"):
        elbo(model, X, q, sample_weight=-np.ones(10))
    with pytest.raises(ValueError, match="labels: numbers are component indices"):
        elbo(model, X, q, labels=np.full(10, 2))
    with pytest.raises(
        ValueError, match="labels: found 'bus' in row 0; expected component indices"
    ):
        elbo(model, X, q, labels=["bus"] * 10)
    with pytest.raises(ValueError, match="X: row 9 has zero likelihood"):
        elbo(model, np.vstack([X[:9], [[1e200]]]), q)
    with pytest.raises(ValueError, match="features"):
        elbo(model, np.zeros((10, 2)), q)


# Step by step


@pytest.mark.parametrize("kind", LABELS)
@over_densities
def test_a_staircase_goes_up(family, precision, kind):
    shape = Shape(801, 3, 3, 2)
    case, other = setting(family, precision, shape), another_model(family, shape)
    rng = np.random.default_rng(2)
    known = None if kind == "none" else allowed_of(random_labels(kind, rng, 801, 3), 3)
    weights = rng.uniform(0.1, 3.0, 801)
    given = {"labels": known, "sample_weight": weights}
    fitted = fit(family, case.X, other, tol=0, max_iter=5, regular=1e-9, **given)

    steps = theory.staircase(fitted, case.X, 5, **given)

    assert [len(part) for part in steps] == [6, 5, 5]
    rounding = (1e-11 if precision == "float64" else 1e-5) * np.abs(steps.log_likelihoods[0])
    assert np.all(steps.lower_bounds > steps.log_likelihoods[:-1] - rounding)
    assert np.all(steps.kl_divergences >= 0)
    assert steps.lower_bounds[0] > steps.log_likelihoods[0] + 1
    assert_allclose(
        steps.lower_bounds + steps.kl_divergences, steps.log_likelihoods[1:], rtol=1e-13
    )
    assert_allclose(
        steps.log_likelihoods[1:] / weights.sum(), fitted.lower_bounds_,
        rtol=1e-12 if precision == "float64" else 1e-5,
    )  # fmt: skip


@over_densities
def test_a_staircase_with_a_prior_goes_up(family, precision):
    """Likelihood and log prior together, which is the objective of the fit."""
    shape = Shape(400, 4, 3, 2)
    case, other = setting(family, precision, shape), another_model(family, shape)
    given = {"sample_weight": np.random.default_rng(2).uniform(0.1, 3.0, 400)}
    prior = {**prior_of(family, 4), "weight_concentration_prior": 20.0}
    fitted = fit(family, case.X, other, tol=0, max_iter=5, regular=0, prior=prior, **given)

    steps = theory.staircase(fitted, case.X, 5, **given)

    rounding = (1e-11 if precision == "float64" else 1e-5) * np.abs(steps.log_likelihoods[0])
    assert np.all(steps.lower_bounds > steps.log_likelihoods[:-1] - rounding)
    assert steps.lower_bounds[0] > steps.log_likelihoods[0] + 1
    assert_allclose(
        steps.lower_bounds + steps.kl_divergences, steps.log_likelihoods[1:], rtol=1e-13
    )
    assert_allclose(
        steps.log_likelihoods[1:] / given["sample_weight"].sum(), fitted.lower_bounds_,
        rtol=1e-12 if precision == "float64" else 1e-5,
    )  # fmt: skip
    # Of one model a prior says nothing.
    scores = fitted.score_samples(case.X) @ given["sample_weight"]
    found = elbo(fitted, case.X, fitted.predict_proba(case.X), **given)
    assert_allclose(found[:2], [scores, scores], rtol=1e-12)
    assert abs(scores / given["sample_weight"].sum() - fitted.lower_bound_) > 1e-3


def test_a_staircase_with_what_is_known_goes_up():
    """Beside labels, a prior, noise, missing entries and acceleration."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(200, 2)), rng.uniform(-20, 20, (40, 2))])
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    mixture = GaussianMixture(
        2, noise=1e5, means_init=[[0.0, 1.0], None], fixed={"means": [True, False]}, reg_covar=0,
        prior={"weight_concentration_prior": 5.0, "covariance_prior": np.eye(2),
               "degrees_of_freedom_prior": 4.0}, accelerate=True, random_state=0,
    )  # fmt: skip
    steps = theory.staircase(mixture, X, 8, labels=np.where(np.arange(240) > 230, -2, -1))
    assert np.all(steps.lower_bounds > steps.log_likelihoods[:-1])
    assert np.all(steps.log_likelihoods[1:] > steps.lower_bounds)


def test_iterations_are_those_of_one_fit():
    X = np.random.default_rng(0).standard_normal((100, 2))
    mixture = GaussianMixture(3, random_state=0)
    models = theory.iterations(mixture, X, 4)
    assert len(models) == 5
    assert not hasattr(mixture, "weights_")
    for n_iter, model in enumerate(models):
        alone = GaussianMixture(3, random_state=0, tol=0, max_iter=n_iter).fit(X)
        np.testing.assert_array_equal(model.means_, alone.means_)
    with pytest.raises(TypeError, match="estimator: found GaussianMixture"):
        theory.iterations(Peer(2), X, 4)
    for bad in (0, -1, 1.5, "2"):
        with pytest.raises(ValueError, match="n_iter: found"):
            theory.staircase(mixture, X, bad)
    with pytest.raises(ValueError, match="estimator: found assignment='hard'; expected 'soft'"):
        theory.staircase(mixture.set_params(assignment="hard"), X)
