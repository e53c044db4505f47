"""Law 3: the objective never falls beyond rounding and the known effect of `reg_covar`."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from emfast import em
from emfast.latent import MixtureWeights
from emfast.parts.known import Known
from families import (
    LABELS,
    another_model,
    over_families,
    problem,
    random_labels,
    setting,
    shapes_for_fits,
)

# Of 1 + |objective|: a mean of log-densities, each with the rounding of its D terms.
ROUNDING = {"float64": 1e-12, "float32": 2e-6}


@over_families
@pytest.mark.parametrize("regular", [1e-6, 1e-2])
@pytest.mark.parametrize("known", LABELS)
@given(shape=shapes_for_fits())
def test_objective_never_falls(family, precision, known, regular, shape):
    case = setting(family, precision, shape)
    rng = shape.rng()
    steps = problem(
        family,
        case.X,
        weights=rng.uniform(0, 2, shape.n),
        labels=random_labels(known, rng, shape.n, case.K),
        regular=regular,
    )
    model = another_model(family, shape)
    statistics = steps.estep(model)
    objective = steps.objective(statistics, model)
    for _ in range(8):
        model = steps.mstep(statistics, model)
        statistics = steps.estep(model)
        before, objective = objective, steps.objective(statistics, model)
        allowed = ROUNDING[precision] * (1 + abs(objective))
        allowed += family.fall(model.emission, model.latent, regular)
        assert objective >= before - allowed


@over_families
@given(shape=shapes_for_fits())
def test_objective_never_falls_with_known_groups_and_these_stay(family, precision, shape):
    case, start = setting(family, precision, shape), another_model(family, shape)
    for group in ("weights", *family.named(start.emission)):
        steps = problem(family, case.X)
        if group == "weights":
            steps = replace(steps, latent=MixtureWeights(fixed={"weights"}))
        else:
            steps.emission.fixed = Known({group})
        models = [start]
        trace = em.maximize(steps, start, tol=0, max_iter=5)
        for _ in range(5):
            models.append(steps.mstep(steps.estep(models[-1]), models[-1]))
        known = {"weights": models[-1].latent, **family.named(models[-1].emission)}[group]
        before = {"weights": start.latent, **family.named(start.emission)}[group]
        np.testing.assert_array_equal(known, before, err_msg=group)
        falls = -np.diff(trace.objectives)
        allowed = [
            ROUNDING[precision] * (1 + abs(objective))
            + family.fall(model.emission, model.latent, 1e-3)
            for objective, model in zip(trace.objectives[1:], models[2:], strict=True)
        ]
        assert np.all(falls <= allowed), group


@over_families
@given(shape=shapes_for_fits())
def test_slack_is_no_more_than_the_law_allows(family, precision, shape):
    """The driver warns of a fall beyond the problem's slack: too large a slack would hide one."""
    case = setting(family, precision, shape)
    # Large, so that what rounding may add is small beside it.
    steps = problem(family, case.X, regular=1.0)
    allowed = family.fall(case.model.emission, case.model.latent, 1.0)
    tolerance = {"float64": 1e-9, "float32": 1e-2}[precision]
    np.testing.assert_allclose(steps.slack(case.model), allowed, rtol=tolerance, atol=0)
