"""Law 8: a shift by 1e8 or a rescaling by 1e+-6 changes a fit only as algebra says.

For Bernoulli features the algebra is that of exchanging yes and no.
"""

import numpy as np
import pytest
from hypothesis import given

from emfast.passes import Model
from families import FAMILIES, GAUSSIANS, assert_close, fit, fitted, setting, shapes_for_fits

changes = pytest.mark.parametrize(
    ("family", "number", "precision"),
    [
        pytest.param(family, number, precision, id=f"{family.name}-{change.name}-{precision}")
        for family in FAMILIES
        for number, change in enumerate(family.changes(np.random.default_rng(0), 2))
        for precision in change.precisions
    ],
)
TOLERANCE = {"float64": 1e-6, "float32": 1e-2}


@changes
@given(shape=shapes_for_fits())
def test_fit_changes_as_algebra_says(family, number, precision, shape):
    case = setting(family, precision, shape)
    # On a grid that leaves the shifted numbers exact.
    X = (np.round(case.X * 2.0**14) / 2.0**14).astype(case.X.dtype)
    change = list(family.changes(shape.rng(), shape.D))[number]
    start = case.model
    moved_start = Model(start.latent, family.of(change.parameters(family.named(start.emission))))
    arguments = {"regular": 0.0, "max_iter": 4, "tol": 0}
    plain = fit(family, X, start, **arguments)
    moved = fit(family, change.rows(X), moved_start, **arguments)

    tolerance = TOLERANCE[precision]
    after = {name: value.astype(float) for name, value in fitted(family, moved, start).items()}
    weights = after.pop("weights")
    expected = fitted(family, plain, start)
    np.testing.assert_allclose(weights, expected.pop("weights"), atol=tolerance)
    assert_close(change.back(after), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        moved.lower_bounds_ - change.log_likelihood(X),
        plain.lower_bounds_,
        rtol=0,
        atol=tolerance,
    )
    np.testing.assert_allclose(
        moved.predict_proba(change.rows(X)), plain.predict_proba(X), rtol=0, atol=5 * tolerance
    )


@pytest.mark.parametrize("family", GAUSSIANS, ids=lambda family: family.name)
def test_separation_in_one_column_does_not_decide_what_is_singular_in_another(family):
    """Means 4000 standard deviations apart, in columns of very different units."""
    rng = np.random.default_rng(0)
    components = np.repeat([0, 1], 200)
    X = rng.normal(size=(400, 2)) + 4000.0 * components[:, None]
    scales = np.array([1e6, 1e6]) if family.covariance_type == "spherical" else [1e6, 1e-6]
    arguments = {"regular": 0.0, "random_state": 0, "max_iter": 3, "tol": 0, "n_threads": 1}
    plain = family.estimator(2, **arguments).fit(X, labels=components)
    scaled = family.estimator(2, **arguments).fit(X * scales, labels=components)
    np.testing.assert_allclose(scaled.means_ / scales, plain.means_, rtol=1e-9)
    np.testing.assert_allclose(
        scaled.lower_bound_ + np.log(scales).sum(), plain.lower_bound_, rtol=0, atol=1e-6
    )
