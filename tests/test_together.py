"""Several models side by side: each goes the way it would go alone."""

from dataclasses import replace

import numpy as np
import pytest

import emcore
from emfast import em
from emfast.emissions import Gaussian
from emfast.exceptions import SingularComponentError
from emfast.inputs.labels import Labels
from emfast.latent import MixtureWeights
from emfast.parts.priors import Dirichlet
from emfast.passes import Model
from emfast.problems.together import (
    Together,
    has_plain_components,
    iterate_each,
    maximize_each,
    runs_together,
)
from emfast.starts.initialize import assigned_start
from families import FAMILIES, GaussianFamily, Shape, instruction_set, problem, setting

SEPARATE = [
    family for family in FAMILIES if family.emission().separable and not family.emission().shared
]
TOLERANCE = {"float64": 1e-10, "float32": 1e-3}
over_separate = pytest.mark.parametrize("family", SEPARATE, ids=lambda family: family.name)
over_precisions = pytest.mark.parametrize("precision", ["float64", "float32"])


def several(family, precision, K, n_models=3, n=400):
    """A problem, and models that rows drawn at random have led to."""
    case = setting(family, precision, Shape(n, 3, K, 1))
    own = problem(family, case.X)
    models = [
        assigned_start(own, K, "random", {}, np.random.RandomState(seed))
        for seed in range(n_models)
    ]
    return own, models


def test_there_are_families_to_test():
    assert len(SEPARATE) >= 5


@pytest.mark.parametrize("instructions", emcore.runnable_instruction_sets())
@over_separate
@over_precisions
@pytest.mark.parametrize("K", [1, 2, 5])
def test_a_pass_of_several_models_is_a_pass_of_each(family, precision, instructions, K):
    if precision not in family.precisions:
        precision = family.precisions[0]
    own, models = several(family, precision, K)
    with instruction_set(instructions):
        together = Together(own)
        statistics = together.estep(together.joined(models))
        each = [own.estep(model) for model in models]
        next_models = together.apart(together.mstep(statistics, together.joined(models)))
        alone = [own.mstep(one, model) for one, model in zip(each, models, strict=True)]
    tolerance = TOLERANCE[precision]
    counts = np.array([one.counts for one in each])
    np.testing.assert_allclose(statistics.latent.counts, counts, rtol=tolerance, atol=tolerance)
    for one, other in zip(next_models, alone, strict=True):
        np.testing.assert_allclose(one.latent, other.latent, rtol=tolerance)
        for name, value in vars(one.emission).items():
            expected = getattr(other.emission, name)
            np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance)


@over_separate
@pytest.mark.parametrize("assignment", ["soft", "hard"])
@pytest.mark.parametrize("weighted", [False, True])
def test_runs_together_end_where_runs_alone_do(family, assignment, weighted):
    own, models = several(family, family.precisions[0], 3)
    batch = own.source.batch
    if weighted:
        weights = np.random.default_rng(0).uniform(size=batch.n_rows)
        batch = replace(batch, weights=weights)
    own = replace(own, latent=MixtureWeights(assignment=assignment), source=own.source.of(batch))
    assert runs_together(own, models)
    tolerance = TOLERANCE[own.source.dtype]
    traces = maximize_each(own, models, tol=0, max_iter=6)
    for model, trace in zip(models, traces, strict=True):
        alone = em.maximize(own, model, tol=0, max_iter=6)
        assert trace.n_iter == 6
        assert trace.objective == pytest.approx(alone.objective, rel=tolerance, abs=tolerance)
        # Together nothing is left out as constant, which does not depend on the model.
        differences = np.subtract(trace.objectives, alone.objectives)
        np.testing.assert_allclose(np.diff(differences), 0, atol=100 * tolerance)


def test_what_covariances_are_shared_runs_alone():
    own, models = several(GaussianFamily("tied"), "float64", 3)
    assert has_plain_components(own)
    assert not runs_together(own, models)
    traces = maximize_each(own, models, tol=0, max_iter=3)
    expected = [em.maximize(own, model, tol=0, max_iter=3).objective for model in models]
    assert [trace.objective for trace in traces] == expected


def one_that_fails(variance):
    """A problem, a model that ends in singular covariances, and one that does not."""
    X = np.random.default_rng(0).normal(size=(200, 3))
    X[:50] = 4.0
    own, (model, *_) = several(GaussianFamily("diag"), "float64", 2, n_models=1)
    batch = replace(own.source.batch, X=X)
    own = replace(own, source=own.source.of(batch), emission=Gaussian("diag", reg_covar=0))
    singular = own.emission.parameters(np.array([[4.0] * 3, [0.0] * 3]), np.full((2, 3), variance))
    return own, Model(np.full(2, 0.5), singular), model


def test_a_model_that_fails_fails_alone():
    own, singular, model = one_that_fails(1e-3)
    failed, fine = maximize_each(own, [singular, model], tol=0, max_iter=5)
    assert isinstance(failed, SingularComponentError)
    assert fine.objective == em.maximize(own, model, tol=0, max_iter=5).objective


@over_separate
def test_an_iteration_of_several_is_one_of_each(family):
    own, models = several(family, family.precisions[0], 3)
    tolerance = TOLERANCE[own.source.dtype]
    for found, model in zip(iterate_each(own, models), models, strict=True):
        expected = own.mstep(own.estep(model), model)
        np.testing.assert_allclose(found.latent, expected.latent, rtol=tolerance)
        for name, value in vars(found.emission).items():
            other = getattr(expected.emission, name)
            np.testing.assert_allclose(value, other, rtol=tolerance, atol=tolerance)


def test_an_iteration_that_fails_fails_alone():
    own, singular, model = one_that_fails(1e-30)
    failed, fine = iterate_each(own, [singular, model])
    assert isinstance(failed, SingularComponentError)
    np.testing.assert_array_equal(fine.latent, own.mstep(own.estep(model), model).latent)


def test_components_that_something_is_known_of_are_not_plain():
    own, _ = several(GaussianFamily("full"), "float64", 2)
    assert has_plain_components(own)
    labels = Labels(component=np.full(own.source.n_rows, -1, np.int32))
    labelled = own.source.of(replace(own.source.batch, labels=labels))
    prior = MixtureWeights()
    prior.prior = Dirichlet(np.ones(2))
    noise = MixtureWeights(noise=np.array([[-9.0] * 3, [9.0] * 3]))
    for changed in (
        {"source": labelled},
        {"latent": prior},
        {"latent": noise},
        {"latent": MixtureWeights(fixed=("weights",))},
        {"emission": Gaussian("full", fixed=("means",))},
    ):
        assert not has_plain_components(replace(own, **changed)), changed


@pytest.mark.parametrize("impossible", [0, 1])
def test_a_row_that_is_impossible_in_any_model(impossible):
    own, models = several(GaussianFamily("diag"), "float64", 1, n_models=2)
    models[impossible] = models[impossible]._replace(latent=np.zeros(1))
    together = Together(own)
    with pytest.raises(ValueError, match="row 0 has zero likelihood"):
        together.estep(together.joined(models))


def test_mixtures_of_unequal_size_are_refused():
    kernels = emcore.kernels("float64")
    for n_mixtures in (0, 2, -1):
        with pytest.raises(ValueError, match="emcore"):
            kernels.SideBySide(np.zeros(3), n_mixtures)
