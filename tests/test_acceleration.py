"""Extrapolation: never lower than the EM steps it is made from, and many times sooner there."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings

from emfast import GaussianMixture, PoissonMixture, em
from emfast.acceleration import extrapolation
from emfast.emissions import Bernoulli, Gaussian
from emfast.emissions.bernoulli import BernoulliParameters
from emfast.exceptions import (
    DegenerateComponentWarning,
    ImpossibleRowError,
    SingularComponentError,
    StarvedComponentWarning,
)
from emfast.latent import MixtureWeights
from families import another_model, over_families, problem, setting, shapes, shapes_for_fits

COUNTS = np.array([162, 267, 271, 185, 111, 61, 27, 8, 3, 1])


class Hasselblad:
    """A mixture of two Poisson distributions: deaths a day, Hasselblad (1969).

    Models are (weight of the first, its rate, the rate of the second).
    """

    x = np.arange(len(COUNTS))

    def __init__(self):
        self.passes = 0

    def estep(self, model):
        self.passes += 1
        weight, *rates = model
        log_factorial = np.array([math.lgamma(x + 1) for x in self.x])
        joint = [
            w * np.exp(self.x * np.log(rate) - rate - log_factorial)
            for w, rate in zip((weight, 1 - weight), rates, strict=True)
        ]
        return np.array(joint)

    def mstep(self, joint, model):
        r = COUNTS * joint / joint.sum(axis=0)
        rates = r @ self.x / r.sum(axis=1)
        return r[0].sum() / COUNTS.sum(), *rates

    def objective(self, joint, model):
        return float(COUNTS @ np.log(joint.sum(axis=0)))

    def displacement(self, model, reference):
        return self._free(model) - self._free(reference)

    def displaced(self, displacement, reference):
        odds, *rates = np.exp(self._free(reference) + displacement)
        return odds / (1 + odds), *rates

    def _free(self, model):
        weight, *rates = model
        return np.log([weight / (1 - weight), *rates])


STARTS = [(0.3, 1.0, 2.5), (0.5, 1.0, 3.0), (0.2, 2.0, 2.2), (0.9, 0.5, 5.0)]
HASSELBLAD = (0.35988540, 1.25609510, 2.66340436)


@pytest.mark.parametrize("start", STARTS)
def test_slow_poisson_mixture_in_few_maps(start):
    poisson, slow = Hasselblad(), Hasselblad()
    trace = em.maximize(poisson, start, tol=1e-12, max_iter=150, accelerate=True)
    plain = em.maximize(slow, start, tol=0, max_iter=5000)
    assert trace.converged
    assert poisson.passes <= 150
    assert trace.model == pytest.approx(HASSELBLAD, abs=1e-5)
    assert trace.objective == pytest.approx(-1989.945860, abs=1e-6)
    assert trace.objective == pytest.approx(plain.objective, rel=1e-8)


@pytest.mark.parametrize("start", STARTS)
def test_cycles_end_no_lower_than_the_steps_they_extrapolate(start):
    poisson = Hasselblad()
    trace = em.maximize(poisson, start, tol=0, max_iter=60, accelerate=True)
    assert (np.diff(trace.objectives) > -1e-9).all()
    model, gained = start, 0
    for _ in range(10):
        steps = em.maximize(poisson, model, tol=0, max_iter=2)
        # Two steps, an extrapolation, and where that is lower one step from there.
        ahead = em.maximize(poisson, model, tol=0, max_iter=4, accelerate=True)
        assert ahead.objectives[:2] == steps.objectives
        assert min(ahead.objectives[2:]) >= steps.objective
        gained += ahead.objective > steps.objective + 1e-9
        model = ahead.model
    assert gained > 2


class Astray(Hasselblad):
    """Extrapolations that go nowhere good."""

    def displaced(self, displacement, reference):
        return 0.01, 30.0, 40.0


def test_extrapolation_that_is_lower_is_not_taken():
    start = (0.3, 1.0, 2.5)
    trace = em.maximize(Astray(), start, tol=0, max_iter=12, accelerate=True)
    plain = em.maximize(Hasselblad(), start, tol=0, max_iter=6)
    assert trace.model == plain.model
    steps = [plain.objectives[i : i + 2] for i in (0, 2, 4)]
    assert trace.objectives == [each for a, b in steps for each in (a, b, b, b)]


def test_extrapolation_that_is_impossible_costs_nothing():
    class Nowhere(Hasselblad):
        def displaced(self, displacement, reference):
            return None

    poisson = Nowhere()
    em.maximize(poisson, (0.3, 1.0, 2.5), tol=0, max_iter=9, accelerate=True)
    assert poisson.passes == 1 + 6


@pytest.mark.parametrize("max_iter", range(8))
def test_a_run_may_end_anywhere_in_a_cycle(max_iter):
    start = (0.3, 1.0, 2.5)
    for poisson in (Hasselblad(), Astray()):
        trace = em.maximize(poisson, start, tol=0, max_iter=max_iter, accelerate=True)
        assert trace.n_iter == max_iter
        assert trace.objective == poisson.objective(poisson.estep(trace.model), trace.model)
        np.testing.assert_array_equal(trace.statistics, poisson.estep(trace.model))


def test_passes_are_counted_as_iterations():
    poisson = Hasselblad()
    trace = em.maximize(poisson, (0.3, 1.0, 2.5), tol=0, max_iter=20, accelerate=True)
    assert trace.n_iter == 20
    assert poisson.passes <= 21


def test_a_leap_that_gains_much_is_no_convergence():
    poisson = Hasselblad()
    start = (0.3, 1.0, 2.5)
    best = em.maximize(poisson, start, tol=0, max_iter=5000).objective
    for tol in (1e-2, 1e-3, 1e-4):
        plain = em.maximize(poisson, start, tol=tol, max_iter=5000)
        trace = em.maximize(poisson, start, tol=tol, max_iter=5000, accelerate=True)
        assert trace.converged
        assert best - trace.objective < 20 * max(tol, best - plain.objective)


class Line:
    def displacement(self, model, reference):
        return np.array([model - reference])

    def displaced(self, displacement, reference):
        return reference + displacement[0]


def test_geometric_series_in_one_leap():
    # Steps of 1, 0.99, 0.99 squared, ...
    assert extrapolation(Line(), (0.0, 1.0, 1.99)) == pytest.approx(100)


@pytest.mark.parametrize(("furthest", "found"), [(100, 100), (30, 23.4375), (2, None)])
def test_a_leap_goes_no_further_than_the_problem_allows(furthest, found):
    line = Line()
    line.furthest = furthest
    # Shortened by halves: 100, 75, 43.75, 23.4375, ...
    assert extrapolation(line, (0.0, 1.0, 1.99)) == (found and pytest.approx(found))


@pytest.mark.parametrize("seed", [13, 20, 26, 53, 73, 83])
def test_densities_far_from_all_rows_are_no_gain(seed):
    """A component that has almost starved leapt to where densities are nothing but rounding."""
    rng = np.random.default_rng(seed)
    rng.choice([12, 20, 40])
    X, weights = rng.poisson(4.0, (40, 3)), rng.uniform(0, 2, 40)
    mixture = PoissonMixture(
        3, rates_init=rng.gamma(2.0, 2.0, (3, 3)) + 0.1, weights_init="equal", accelerate=True,
        max_iter=40, tol=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StarvedComponentWarning)
        mixture.fit(X, sample_weight=weights)
    assert mixture.score(X, sample_weight=weights) == pytest.approx(mixture.lower_bound_, rel=1e-9)
    assert np.all(mixture.rates_ < 150 * X.max())


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("seed", range(12))
def test_covariances_beside_noise_stay_in_range(covariance_type, seed):
    """Components that lose their rows to the noise leapt to covariances without an inverse."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 2))
    X[rng.uniform(size=X.shape) < 0.3] = np.nan
    mixture = GaussianMixture(
        2, covariance_type=covariance_type, noise=1e5, accelerate=True, max_iter=30, tol=0,
        random_state=seed,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", StarvedComponentWarning)
        warnings.simplefilter("ignore", DegenerateComponentWarning)
        mixture.fit(X)
    assert mixture.score(X) == pytest.approx(mixture.lower_bound_, rel=1e-9)


@pytest.mark.parametrize("models", [(1.0, 1.0, 1.0), (0.0, 1.0, -1.0), (0.0, 1.0, 2.0)])
def test_nowhere_to_go_from_a_fixed_point_or_where_steps_grow_or_turn(models):
    assert extrapolation(Line(), models) is None


# Coordinates


@over_families
@given(shape=shapes(rows=(7,), components=(1, 2, 3, 5)))
@settings(max_examples=15, deadline=None)
def test_coordinates_lead_back_to_the_model(family, precision, shape):
    case = setting(family, precision, shape)
    on = problem(family, case.X)
    other = another_model(family, shape)
    found = on.displaced(on.displacement(other, case.model), case.model)
    np.testing.assert_allclose(found.latent, other.latent, rtol=1e-12)
    expected = family.named(other.emission)
    for name, value in family.named(found.emission).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(on.displacement(case.model, case.model), 0, atol=1e-12)


@over_families
@given(shape=shapes_for_fits())
@settings(max_examples=10, deadline=None)
def test_objective_never_falls(family, precision, shape):
    case = setting(family, precision, shape)
    on = problem(family, case.X)
    with warnings.catch_warnings():
        # Of a fall by more than rounding and `reg_covar` explain.
        warnings.simplefilter("error")
        trace = em.maximize(on, another_model(family, shape), tol=0, max_iter=30, accelerate=True)
    assert trace.n_iter == 30
    assert trace.objective >= trace.objectives[0] - 1e-3


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_units_do_not_matter(covariance_type):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(300, 3)), 1.5 + rng.normal(size=(200, 3))])
    scales = np.full(3, 1e3) if covariance_type == "spherical" else np.array([1e-3, 1.0, 1e3])
    arguments = {
        "covariance_type": covariance_type,
        "accelerate": True,
        "tol": 0,
        "max_iter": 30,
        "reg_covar": 0,
    }
    start = GaussianMixture(2, covariance_type=covariance_type, max_iter=0, random_state=0).fit(X)
    squares = {
        "full": np.outer(scales, scales),
        "tied": np.outer(scales, scales),
        "diag": scales**2,
        "spherical": scales[0] ** 2,
    }[covariance_type]
    fits = [
        GaussianMixture(
            2,
            weights_init=start.weights_,
            means_init=start.means_ * scale,
            covariances_init=start.covariances_ * square,
            **arguments,
        ).fit(X * scale)
        for scale, square in ((np.ones(3), 1.0), (scales, squares))
    ]
    np.testing.assert_allclose(fits[1].means_ / scales, fits[0].means_, rtol=1e-5, atol=1e-6)
    gains = [np.diff(fit.lower_bounds_) for fit in fits]
    np.testing.assert_allclose(gains[1], gains[0], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("group", ["weights", "means", "covariances"])
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_what_is_known_stays(covariance_type, group):
    rng = np.random.default_rng(1)
    X = np.concatenate([rng.normal(size=(300, 2)), 2 + rng.normal(size=(100, 2))])
    start = GaussianMixture(2, covariance_type=covariance_type, max_iter=1, tol=0).fit(X)
    given = {
        f"{name}_init": getattr(start, f"{name}_") for name in ("weights", "means", "covariances")
    }
    fit = GaussianMixture(
        2, covariance_type=covariance_type, fixed=[group], accelerate=True, tol=0, max_iter=20,
        **given,
    ).fit(X)  # fmt: skip
    known, found = getattr(start, f"{group}_"), getattr(fit, f"{group}_")
    np.testing.assert_allclose(found, known, rtol=1e-14)
    assert (np.diff(fit.lower_bounds_) > -1e-10).all()
    assert fit.lower_bound_ > start.lower_bound_


def test_probabilities_of_0_and_1_stay():
    emission, latent = Bernoulli(), MixtureWeights()
    reference = BernoulliParameters(np.array([[0.0, 1.0, 0.3]]))
    moved = emission.displacement(BernoulliParameters(np.array([[0.0, 1.0, 0.4]])), reference)
    assert moved[:2].tolist() == [0, 0]
    found = emission.displaced(2 * moved, reference)
    assert found.probabilities[0, :2].tolist() == [0, 1]
    assert found.probabilities[0, 2] > 0.4
    # A component that has starved, too, stays where it is.
    weights = np.array([0.0, 0.4, 0.6])
    moved = latent.displacement(np.array([0.0, 0.5, 0.5]), weights)
    assert latent.displaced(moved, weights).tolist() == pytest.approx([0, 0.5, 0.5])


def test_what_is_out_of_range_is_no_model():
    emission = Gaussian("full")
    reference = emission.parameters(np.zeros((1, 2)), np.eye(2)[None])
    with np.errstate(over="ignore", invalid="ignore"):
        assert emission.displaced(np.full(6, np.nan), reference) is None
        assert emission.displaced(np.full(6, 1e4), reference) is None
        assert MixtureWeights().displaced(np.full(2, 1e4), np.array([0.5, 0.5])) is None


class Fragile(Hasselblad):
    """Models far from the start cannot be evaluated, or lead nowhere."""

    def __init__(self, error, where):
        super().__init__()
        self.error, self.where = error, where
        self.ahead = None

    def displaced(self, displacement, reference):
        self.ahead = 0.5, 4.0, 5.0
        return self.ahead

    def estep(self, model):
        if self.where == "estep" and model == self.ahead:
            raise self.error
        return super().estep(model)

    def mstep(self, joint, model):
        if self.where == "mstep" and model == self.ahead:
            raise self.error
        return super().mstep(joint, model)


@pytest.mark.parametrize("where", ["estep", "mstep"])
@pytest.mark.parametrize("error", [SingularComponentError("?"), ImpossibleRowError("?")])
def test_extrapolation_that_cannot_be_used_is_not_taken(error, where):
    start = (0.3, 1.0, 2.5)
    trace = em.maximize(Fragile(error, where), start, tol=0, max_iter=11, accelerate=True)
    n_steps = 8 if where == "estep" else 6
    assert trace.model == em.maximize(Hasselblad(), start, tol=0, max_iter=n_steps).model


# Estimators


def test_fits_end_sooner_at_the_same_optimum():
    rng = np.random.default_rng(2)
    X = np.concatenate([rng.normal(size=(2000, 2)), rng.normal((2.0, 0.0), size=(1000, 2))])
    arguments = {"tol": 1e-9, "max_iter": 5000, "random_state": 0, "means_init": X[[0, -1]]}
    plain = GaussianMixture(2, **arguments).fit(X)
    fast = GaussianMixture(2, accelerate=True, **arguments).fit(X)
    assert plain.converged_
    assert fast.converged_
    assert fast.n_iter_ < plain.n_iter_ / 3
    assert fast.lower_bound_ == pytest.approx(plain.lower_bound_, abs=1e-7)
    np.testing.assert_allclose(fast.means_, plain.means_, atol=1e-2)
    assert len(fast.lower_bounds_) == fast.n_iter_


def test_collapsing_components_do_no_harm():
    X = np.repeat(np.arange(6.0), [1, 2, 3, 3, 2, 1])[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = GaussianMixture(3, accelerate=True, max_iter=300, tol=1e-8, random_state=0).fit(X)
    assert np.isfinite(fit.lower_bound_)
    assert np.isfinite(fit.means_).all()


def test_argument_is_checked():
    with pytest.raises(ValueError, match="accelerate"):
        GaussianMixture(2, accelerate="yes").fit(np.eye(4))


@pytest.mark.parametrize("method", ["displacement", "displaced"])
def test_a_problem_without_coordinates_cannot_be_accelerated(method):
    class Plain:
        def estep(self, model):
            return model

        def mstep(self, statistics, model):
            return model / 2

        def objective(self, statistics, model):
            return -model

    other = {"displacement": "displaced", "displaced": "displacement"}[method]
    setattr(Plain, other, lambda self, model, reference: model - reference)
    with pytest.raises(TypeError, match=f"accelerate: found True, and a Plain.*{method!r}"):
        em.maximize(Plain(), 1.0, accelerate=True)
