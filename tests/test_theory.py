"""The lower bound of EM: log p = L + KL, whatever the responsibilities."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from numpy.testing import assert_allclose
from scipy.special import xlogy
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture as Peer

import oracle
from emfast import BernoulliMixture, GaussianMixture, elbo, theory
from emfast.problem import Model
from families import (
    LABELS,
    Shape,
    allowed_of,
    another_model,
    fit,
    over_families,
    random_labels,
    setting,
    shapes,
)

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
@over_families
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


@over_families
def test_own_responsibilities_touch_the_log_likelihood(family, precision):
    case = setting(family, precision, Shape(801, 4, 3, 0))
    model = fit(family, case.X, case.model, max_iter=0)
    found = elbo(model, case.X, model.predict_proba(case.X))
    assert_allclose(found.log_likelihood, model.score_samples(case.X).sum(), rtol=1e-13)
    assert_allclose(found.lower_bound, found.log_likelihood, rtol=1e-13)
    assert found.kl_divergence <= 1e-13 * len(case.X)


@over_families
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


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
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
@over_families
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
