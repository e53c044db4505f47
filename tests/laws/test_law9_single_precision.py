"""Law 9: float32 is computed in float32 with float64 statistics, and reaches the same optimum."""

import numpy as np
import pytest
from hypothesis import given

import oracle
from emfast import em
from families import (
    FAMILIES,
    GAUSSIANS,
    Shape,
    all_numbers,
    assert_close,
    estep,
    fit,
    fitted,
    over_families,
    problem,
    setting,
    shapes,
)

both_precisions = pytest.mark.parametrize(
    "family",
    [family for family in FAMILIES if "float32" in family.precisions],
    ids=lambda family: family.name,
)
gaussians = pytest.mark.parametrize("family", GAUSSIANS, ids=lambda family: family.name)


@over_families
@given(shape=shapes())
def test_statistics_are_double(family, precision, shape):
    case = setting(family, precision, shape)
    for value in all_numbers(estep(family, case.model, case.X), family).values():
        assert value.dtype == np.float64


@over_families
def test_attributes_have_the_dtype_of_the_rows_and_the_model_stays_double(family, precision):
    case = setting(family, precision, Shape(300, 3, 2, 0))
    estimator = fit(family, case.X, case.model, max_iter=3, tol=0)
    for name, value in fitted(family, estimator, case.model).items():
        assert value.dtype == np.dtype(precision), name
    assert estimator.predict_proba(case.X).dtype == np.dtype(precision)
    model = em.maximize(problem(family, case.X), case.model, max_iter=2, tol=0).model
    assert model.latent.dtype == np.float64
    for value in family.named(model.emission).values():
        assert value.dtype == np.float64


@both_precisions
@pytest.mark.parametrize("seed", range(4))
def test_same_optimum(family, seed):
    case = setting(family, "float32", Shape(2000, 4, 2, seed))
    single, double = (
        fit(family, case.X.astype(precision), case.model, max_iter=60, tol=0)
        for precision in ("float32", "float64")
    )
    assert_close(
        fitted(family, single, case.model),
        fitted(family, double, case.model),
        rtol=5e-3,
        atol=5e-3,
    )
    np.testing.assert_allclose(single.lower_bound_, double.lower_bound_, rtol=2e-6)


@gaussians
@pytest.mark.parametrize("offset", [1e3, 1e4])
def test_offset_costs_no_more_than_the_rows_lost(family, offset):
    """Rows far from the origin, rounded to float32: the same rows in float64 are the truth."""
    case = setting(family, "float64", Shape(2000, 3, 2, 1))
    X = (case.X + offset).astype("float32")
    named = family.named(case.model.emission)
    start = case.model._replace(
        emission=family.emission().parameters(named["means"] + offset, named["covariances"])
    )
    single = fit(family, X, start, max_iter=5, tol=0)
    double = fit(family, X.astype("float64"), start, max_iter=5, tol=0)
    np.testing.assert_allclose(single.covariances_, double.covariances_, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(single.means_, double.means_, rtol=2e-7, atol=2e-3)
    np.testing.assert_allclose(single.lower_bounds_, double.lower_bounds_, rtol=1e-5)


@gaussians
@pytest.mark.parametrize("separation", [30, 1000, 10_000])
def test_separation_does_not_cost_the_variances(family, separation):
    """Clusters many standard deviations apart: E[x^2] - mean^2 would have no digits left."""
    rng = np.random.default_rng(0)
    components = np.repeat([0, 1], 500)
    X = (rng.normal(size=(1000, 2)) + separation * components[:, None]).astype("float32")
    r = (components[:, None] == np.arange(2)).astype(float)
    expected = family.estimate(X, r, regular=0.0)
    estimator = family.estimator(2, regular=0.0, random_state=0, tol=1e-5, n_threads=1).fit(X)
    order = np.argsort(estimator.means_[:, 0])
    covariances = estimator.covariances_
    if family.covariance_type != "tied":
        covariances = covariances[order]
    np.testing.assert_allclose(estimator.means_[order], expected["means"], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(covariances, expected["covariances"], rtol=2e-3, atol=2e-3)


@gaussians
@pytest.mark.parametrize("deviation", [1e-2, 1e-3, 1e-4, 3e-5])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_broad_start_finds_narrow_clusters(family, precision, deviation):
    """The first M-step shrinks the variances by many orders; none of its digits is needed later,
    but it must not end the run."""
    rng = np.random.default_rng(0)
    components = np.repeat([0, 1], 500)
    X = (deviation * rng.normal(size=(1000, 4)) + components[:, None]).astype(precision)
    covariances = {
        "spherical": [0.3, 0.3],
        "diag": np.full((2, 4), 0.3),
        "tied": 0.3 * np.eye(4),
        "full": [0.3 * np.eye(4)] * 2,
    }[family.covariance_type]
    estimator = family.estimator(
        2,
        regular=0.0,
        weights_init=[0.5, 0.5],
        means_init=[[0] * 4, [1] * 4],
        covariances_init=covariances,
        tol=1e-5,
        n_threads=1,
    ).fit(X)
    r = (components[:, None] == np.arange(2)).astype(float)
    expected = oracle.gaussian_covariances(X, r, family.covariance_type)
    tolerance = {"float64": 1e-6, "float32": 5e-3}[precision]
    np.testing.assert_allclose(
        estimator.covariances_, expected, rtol=tolerance, atol=tolerance * deviation**2
    )
