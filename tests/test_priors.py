"""Priors: modes against closed forms and SciPy's densities, and the laws with a prior."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import clone

from emfast import (
    BernoulliMixture,
    BinomialMixture,
    CategoricalMixture,
    ExponentialMixture,
    GaussianMixture,
    Mixture,
    PoissonMixture,
)
from emfast.emissions import Gaussian, Poisson
from emfast.exceptions import SingularComponentError
from emfast.storage import persistence

TYPES = ("full", "tied", "diag", "spherical")
D = 3
POINT = np.array([1.0, -1.0, 0.5])
SCALES = {
    "full": np.diag([3.0, 2.0, 1.0]) + 0.5,
    "tied": np.diag([3.0, 2.0, 1.0]) + 0.5,
    "diag": np.array([3.0, 2.0, 1.0]),
    "spherical": 2.5,
}


def gaussian_prior(covariance_type, **others):
    return {
        "mean_prior": POINT, "mean_precision_prior": 4.0, "degrees_of_freedom_prior": 7.0,
        "covariance_prior": SCALES[covariance_type], **others,
    }  # fmt: skip


def log_gaussian_prior(mixture, covariance_type):
    """By SciPy, of the parameters of all components."""
    total = 0.0
    for k, mean in enumerate(mixture.means_):
        covariance = mixture.covariances_ if covariance_type == "tied" else mixture.covariances_[k]
        if covariance_type in ("diag", "spherical"):
            variances = np.atleast_1d(covariance)
            scales = np.atleast_1d(SCALES[covariance_type])
            total += stats.invgamma(7.0 / 2, scale=scales / 2).logpdf(variances).sum()
            covariance = np.diag(np.broadcast_to(variances, D))
        elif covariance_type == "full" or k == 0:
            total += stats.invwishart(7.0, SCALES[covariance_type]).logpdf(covariance)
        total += stats.multivariate_normal(POINT, covariance / 4.0).logpdf(mean)
    return total


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, D)) * [1, 2, 0.5] + rng.integers(0, 2, (60, 1)) * 3


def one(covariance_type, X, prior, **arguments):
    return GaussianMixture(
        1, covariance_type=covariance_type, reg_covar=0, prior=prior, tol=0, max_iter=1, **arguments
    ).fit(X)


# Closed forms of one component


@pytest.mark.parametrize("covariance_type", TYPES)
def test_mode_of_one_gaussian(X, covariance_type):
    """Fraley and Raftery (2007), tables 1 and 2; "full" is Murphy (2012), eqs. 11.46 to 11.48."""
    fitted = one(covariance_type, X, gaussian_prior(covariance_type))
    n, mean = len(X), X.mean(axis=0)
    assert_allclose(fitted.means_[0], (4 * POINT + n * mean) / (n + 4), rtol=1e-12)
    scatter = (X - mean).T @ (X - mean) + 4 * n / (n + 4) * np.outer(mean - POINT, mean - POINT)
    scale = SCALES[covariance_type]
    expected = {
        "full": (scale + scatter)[None] / (7 + n + D + 2) if np.ndim(scale) == 2 else None,
        "tied": (scale + scatter) / (7 + n + D + 1 + 1) if np.ndim(scale) == 2 else None,
        "diag": (scale + np.diag(scatter))[None] / (7 + n + 3),
        "spherical": np.array([(scale + np.trace(scatter)) / (7 + (n + 1) * D + 2)]),
    }[covariance_type]
    assert_allclose(fitted.covariances_, expected, rtol=1e-10)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_parts_of_a_gaussian_prior_may_be_flat(X, covariance_type):
    n, mean = len(X), X.mean(axis=0)
    prior = gaussian_prior(covariance_type)
    means_only = one(covariance_type, X, {name: prior[name] for name in list(prior)[:2]})
    assert_allclose(means_only.means_[0], (4 * POINT + n * mean) / (n + 4), rtol=1e-12)
    free = one(covariance_type, X, None)
    for names in (["covariance_prior"], ["covariance_prior", "degrees_of_freedom_prior"],
                  ["degrees_of_freedom_prior"]):  # fmt: skip
        fitted = one(covariance_type, X, {name: prior[name] for name in names})
        assert_allclose(fitted.means_, free.means_, rtol=1e-12)
        assert not np.allclose(fitted.covariances_, free.covariances_)
    # The scale alone is added to the scatter.
    fitted = one(covariance_type, X, {"covariance_prior": prior["covariance_prior"]})
    added = fitted.covariances_ - free.covariances_
    rows = n * D if covariance_type == "spherical" else n
    assert_allclose(np.squeeze(added), SCALES[covariance_type] / np.array(rows), rtol=1e-9)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("known", ["means", "covariances"])
def test_mode_beside_what_is_known(X, covariance_type, known):
    """The free group is at the mode given the other: no small change of it is better."""
    shapes = {"full": np.eye(D)[None], "tied": np.eye(D), "diag": np.ones((1, D)),
              "spherical": np.ones(1)}  # fmt: skip
    fitted = one(
        covariance_type, X, gaussian_prior(covariance_type), means_init=[[0.0] * D],
        covariances_init=shapes[covariance_type] * 1.5, fixed=[known],
    )  # fmt: skip
    assert_is_mode(fitted, X, covariance_type, moved=[known == "covariances", known == "means"])


def assert_is_mode(fitted, X, covariance_type, moved=(True, True)):
    rng = np.random.default_rng(1)
    best = posterior(fitted, X, covariance_type)
    for _ in range(40):
        other = clone(fitted)
        factor = np.exp(rng.normal(scale=1e-2))
        other.weights_ = fitted.weights_
        other.means_ = fitted.means_ + moved[0] * rng.normal(scale=1e-2, size=fitted.means_.shape)
        other.covariances_ = fitted.covariances_ * (factor if moved[1] else 1.0)
        if moved[1] and covariance_type in ("full", "tied"):
            noise = rng.normal(scale=1e-2, size=(D, D))
            other.covariances_ = other.covariances_ + noise @ noise.T
        assert posterior(other, X, covariance_type) <= best + 1e-9 * abs(best)


def posterior(mixture, X, covariance_type):
    densities = []
    for k, mean in enumerate(mixture.means_):
        covariance = mixture.covariances_ if covariance_type == "tied" else mixture.covariances_[k]
        if covariance_type in ("diag", "spherical"):
            covariance = np.diag(np.broadcast_to(covariance, D))
        densities.append(stats.multivariate_normal(mean, covariance).logpdf(X))
    joint = np.stack(densities, axis=1) + np.log(mixture.weights_)
    return np.logaddexp.reduce(joint, axis=1).sum() + log_gaussian_prior(mixture, covariance_type)


# The objective


@pytest.mark.parametrize("covariance_type", TYPES)
def test_bound_is_likelihood_and_log_prior_up_to_a_constant(X, covariance_type):
    arguments = {
        "covariance_type": covariance_type, "reg_covar": 0, "random_state": 0, "tol": 0,
        "prior": gaussian_prior(covariance_type, weight_concentration_prior=[2.0, 5.0]),
    }  # fmt: skip
    constants = []
    for max_iter in (1, 2, 30):
        mixture = GaussianMixture(2, max_iter=max_iter, **arguments).fit(X)
        log_prior = log_gaussian_prior(mixture, covariance_type)
        log_prior += stats.dirichlet([2.0, 5.0]).logpdf(mixture.weights_)
        constants.append(60 * (mixture.lower_bound_ - mixture.score(X)) - log_prior)
        assert_array_equal(mixture.lower_bounds_[-1], mixture.lower_bound_)
    assert_allclose(constants, constants[0], rtol=1e-9)
    assert np.all(np.diff(mixture.lower_bounds_) > -1e-12)
    weights = mixture.predict_proba(X).sum(axis=0) + np.array([1, 4])
    assert_allclose(mixture.weights_, weights / weights.sum(), atol=1e-4)


def discrete(rng, n=80):
    """Estimators with data, a prior, and its log-density by SciPy."""
    flags = rng.integers(0, 2, (n, 2))
    counts = rng.poisson([2.0, 5.0], (n, 2))
    codes = rng.integers(0, 3, (n, 2))
    return {
        "bernoulli": (
            BernoulliMixture, {}, flags, {"probabilities_prior": (2.0, 3.0)},
            lambda m: stats.beta(2, 3).logpdf(m.probabilities_).sum(),
            lambda X: (X.sum(axis=0) + 1) / (n + 3), "probabilities_",
        ),
        "binomial": (
            BinomialMixture, {"n_trials": 30}, np.minimum(counts, 30),
            {"probabilities_prior": ([2.0, 4.0], 3.0)},
            lambda m: stats.beta([2, 4], 3).logpdf(m.probabilities_).sum(),
            lambda X: (X.sum(axis=0) + np.array([1, 3])) / (30 * n + np.array([3, 5])),
            "probabilities_",
        ),
        "poisson": (
            PoissonMixture, {}, counts, {"rates_prior": (3.0, 0.5)},
            lambda m: stats.gamma(3, scale=2).logpdf(m.rates_).sum(),
            lambda X: (X.sum(axis=0) + 2) / (n + 0.5), "rates_",
        ),
        "exponential": (
            ExponentialMixture, {}, counts + 0.5, {"rates_prior": (3.0, 0.5)},
            lambda m: stats.gamma(3, scale=2).logpdf(m.rates_).sum(),
            lambda X: (n + 2) / (X.sum(axis=0) + 0.5), "rates_",
        ),
        "categorical": (
            CategoricalMixture, {}, codes, {"probabilities_prior": [2.5, [1.0, 2.0, 4.0]]},
            lambda m: sum(
                stats.dirichlet(alpha).logpdf(p)
                for of_feature, alpha in zip(m.probabilities_, ([2.5] * 3, [1, 2, 4]), strict=True)
                for p in of_feature
            ),
            lambda X: np.stack([
                (np.bincount(X[:, d], minlength=3) + less) / (n + np.sum(less))
                for d, less in enumerate(([1.5] * 3, [0.0, 1.0, 3.0]))
            ]), "probabilities_",
        ),
    }  # fmt: skip


DISCRETE = discrete(np.random.default_rng(0))


@pytest.mark.parametrize("name", DISCRETE)
def test_mode_of_one_discrete_component(name):
    estimator, arguments, X, prior, _, mode, attribute = DISCRETE[name]
    fitted = estimator(1, prior=prior, tol=0, max_iter=1, **arguments).fit(X)
    assert_allclose(np.squeeze(getattr(fitted, attribute)), mode(X), rtol=1e-10)


@pytest.mark.parametrize("name", DISCRETE)
def test_bound_of_discrete_mixtures(name):
    estimator, arguments, X, prior, log_density, *_ = DISCRETE[name]
    constants = []
    for max_iter in (1, 3, 30):
        mixture = estimator(
            2, prior=prior, tol=0, max_iter=max_iter, random_state=0, **arguments
        ).fit(X)
        constants.append(80 * (mixture.lower_bound_ - mixture.score(X)) - log_density(mixture))
    assert_allclose(constants, constants[0], rtol=1e-8)
    assert np.all(np.diff(mixture.lower_bounds_) > -1e-11)


def all_models(X):
    for covariance_type in TYPES:
        yield (
            GaussianMixture,
            {"covariance_type": covariance_type, "reg_covar": 0},
            X,
            (gaussian_prior(covariance_type)),
        )
    for estimator, arguments, rows, prior, *_ in DISCRETE.values():
        yield estimator, arguments, rows, prior


@pytest.mark.parametrize("number", range(len(TYPES) + len(DISCRETE)))
@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_objective_never_falls(X, number, assignment):
    estimator, arguments, rows, prior = list(all_models(X))[number]
    prior = {**prior, "weight_concentration_prior": 3.0}
    rng = np.random.default_rng(0)
    labels = np.where(rng.uniform(size=len(rows)) < 0.2, rng.integers(0, 3, len(rows)), -1)
    for seed in range(3):
        mixture = estimator(
            3, prior=prior, assignment=assignment, tol=0, max_iter=25, random_state=seed,
            init_params="random", **arguments,
        ).fit(rows, labels=labels, sample_weight=rng.uniform(0, 2, len(rows)))  # fmt: skip
        assert np.all(np.diff(mixture.lower_bounds_) > -1e-11)


@pytest.mark.parametrize("number", range(len(TYPES) + len(DISCRETE)))
def test_fixed_points_are_modes_for_any_weight_of_the_rows(X, number):
    """Rows of weight 2 are rows twice over, prior or not; of tiny weight they leave the prior."""
    estimator, arguments, rows, prior = list(all_models(X))[number]
    prior = {**prior, "weight_concentration_prior": 3.0}

    def fitted(rows, weights=None):
        mixture = estimator(1, prior=prior, tol=0, max_iter=2, **arguments)
        mixture.fit(rows, sample_weight=weights)
        name = mixture._defining_attributes[0]
        return mixture.lower_bound_, np.concatenate([np.ravel(a) for a in getattr(mixture, name)])

    twice, repeated = fitted(rows, np.full(len(rows), 2.0)), fitted(np.concatenate([rows, rows]))
    assert_allclose(twice[0], repeated[0], rtol=1e-12)
    assert_allclose(twice[1], repeated[1], rtol=1e-12)
    # Weights so small or large are scaled inside.
    few, none = fitted(rows, np.full(len(rows), 1e-9)), fitted(rows, np.full(len(rows), 1e-12))
    assert_allclose(few[1], none[1], rtol=1e-4, atol=1e-6)
    assert not np.allclose(few[1], twice[1], rtol=1e-2)
    many = fitted(rows, np.full(len(rows), 1e12))
    flat = estimator(1, tol=0, max_iter=2, **arguments).fit(rows)
    ravelled = np.ravel(np.concatenate([np.ravel(a) for a in getattr(
        flat, flat._defining_attributes[0])]))  # fmt: skip
    assert_allclose(many[1], ravelled, rtol=1e-8)


@pytest.mark.parametrize("name", DISCRETE)
def test_flat_priors_are_maximum_likelihood(name):
    estimator, arguments, X, prior, *_ = DISCRETE[name]
    flat = {key: {"rates_prior": (1.0, 0.0)}.get(key, 1.0) for key in prior}
    if name in ("bernoulli", "binomial"):
        flat = {"probabilities_prior": (1.0, 1.0)}
    flat["weight_concentration_prior"] = 1.0
    fits = [
        estimator(2, prior=each, random_state=0, tol=0, max_iter=10, **arguments).fit(X)
        for each in (None, {}, flat, dict.fromkeys(flat))
    ]
    for other in fits[1:]:
        assert_array_equal(other.lower_bounds_, fits[0].lower_bounds_)
        assert_array_equal(other.weights_, fits[0].weights_)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_flat_priors_of_gaussians_are_maximum_likelihood(X, covariance_type):
    fits = [
        GaussianMixture(2, covariance_type=covariance_type, prior=prior, random_state=0).fit(X)
        for prior in (None, {}, {"weight_concentration_prior": [1.0, 1.0]}, {"mean_prior": None})
    ]
    for other in fits[1:]:
        assert_array_equal(other.lower_bounds_, fits[0].lower_bounds_)
        assert_array_equal(other.covariances_, fits[0].covariances_)


# What a prior is for


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_a_prior_rescues_a_component_that_collapses(covariance_type):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(100, 2)), np.tile([9.0, 9.0], (5, 1))])
    labels = np.repeat([-1, 1], [100, 5])
    arguments = {"covariance_type": covariance_type, "reg_covar": 0, "random_state": 0}
    with pytest.raises(SingularComponentError):
        GaussianMixture(2, **arguments).fit(X, labels=labels)
    scale = {"full": np.eye(2), "diag": np.ones(2), "spherical": 1.0}[covariance_type]
    for prior in ({"covariance_prior": scale},
                  {"covariance_prior": scale, "degrees_of_freedom_prior": 4.0}):  # fmt: skip
        mixture = GaussianMixture(2, prior=prior, **arguments).fit(X, labels=labels)
        assert_allclose(mixture.means_[1], [9, 9], atol=1e-6)
        assert np.all(np.diff(mixture.lower_bounds_) > -1e-12)
        n = 5 if covariance_type != "spherical" else 10
        counts = {"full": 4 + 3, "diag": 4 + 2, "spherical": 4 + 2}[covariance_type]
        expected = scale / (n + counts * (len(prior) == 2))
        assert_allclose(mixture.covariances_[1], expected, rtol=1e-4, atol=1e-10)
        assert mixture.restarts_[0].degenerate == []


def test_a_constant_column_is_no_error_with_a_prior():
    X = np.stack([np.arange(20.0), np.ones(20)], axis=1)
    with pytest.raises(ValueError, match="column 1 is constant"):
        GaussianMixture(1, reg_covar=0).fit(X)
    prior = {"covariance_prior": np.eye(2)}
    mixture = GaussianMixture(1, reg_covar=0, prior=prior).fit(X)
    assert_allclose(mixture.covariances_[0, 1, 1], 1 / 20)


@pytest.mark.filterwarnings("ignore::emfast.exceptions.StarvedComponentWarning")
def test_a_component_without_rows_is_at_the_mode_of_its_prior(X):
    mask = np.tile([True, False], (60, 1))
    mixture = GaussianMixture(
        2, prior=gaussian_prior("full", weight_concentration_prior=3.0), random_state=0
    ).fit(X, labels=mask)
    assert_allclose(mixture.means_[1], POINT)
    assert_allclose(mixture.covariances_[1], SCALES["full"] / (7 + D + 2), atol=1e-5)
    assert_allclose(mixture.weights_, [62 / 64, 2 / 64])


def test_priors_of_single_components(X):
    """Means known roughly by component say which is which."""
    prior = {"mean_prior": [[3.0] * 3, [0.0] * 3], "mean_precision_prior": [10.0, 20.0]}
    mixture = GaussianMixture(
        2, covariance_type="diag", prior=prior, random_state=0, tol=0, max_iter=200
    ).fit(X)
    r = mixture.predict_proba(X)
    n = r.sum(axis=0)[:, None]
    strengths = np.array([[10.0], [20.0]])
    expected = (r.T @ X + strengths * prior["mean_prior"]) / (n + strengths)
    assert_allclose(mixture.means_, expected, rtol=1e-6)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_missing_entries_with_a_prior(X, covariance_type):
    rng = np.random.default_rng(0)
    holes = np.where(rng.uniform(size=X.shape) < 0.2, np.nan, X)
    mixture = GaussianMixture(
        2, covariance_type=covariance_type, prior=gaussian_prior(covariance_type), reg_covar=0,
        tol=0, max_iter=40, random_state=0,
    ).fit(holes)  # fmt: skip
    assert np.all(np.diff(mixture.lower_bounds_) > -1e-11)
    # A feature that no row of a component has is what the prior says.
    holes[:30, 2] = np.nan
    labels = np.repeat([0, 1], 30)
    mixture.set_params(max_iter=300).fit(holes, labels=labels)
    assert_allclose(mixture.means_[0, 2], POINT[2], atol=2.0)


# Many rows


@pytest.mark.parametrize("n_init", [1, 3])
def test_subsamples_weigh_the_prior_by_their_share(n_init):
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, 60_000)
    X = rng.normal(size=(60_000, 1)) + 6 * z[:, None]
    prior = {"mean_prior": [3.0], "mean_precision_prior": 3_000.0}
    mixture = GaussianMixture(2, prior=prior, n_init=n_init, random_state=0, tol=1e-7).fit(X)
    # On a subsample of as many rows as the prior, the same prior would take the means halfway.
    assert_allclose(np.sort(mixture.means_.ravel()), [3 / 11, 63 / 11], atol=0.1)
    assert mixture.n_iter_ < 30
    problem, _ = mixture._problem(mixture._observed(X, None, None))
    part = problem.on(problem.source.sample(6000, 2, np.random.RandomState(0)))
    assert_allclose(part.emission.prior.strengths, 300, rtol=0.1)
    model = mixture._model()
    objectives = [each.objective(each.estep(model), model) for each in (problem, part)]
    assert_allclose(objectives[1], objectives[0], rtol=0.01)


# Products


@pytest.mark.filterwarnings("ignore::emfast.exceptions.DegenerateComponentWarning")
def test_priors_of_blocks_of_columns():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(50, 2)), rng.poisson(3.0, 50)])
    prior = {
        "size.mean_prior": [1.0, 1.0], "size.mean_precision_prior": 5.0, "n.rates_prior": (3.0, 2.0)
    }  # fmt: skip
    emissions = [("size", Gaussian("diag"), [0, 1]), ("n", Poisson(), [2])]
    mixture = Mixture(1, emissions=emissions, prior=prior, tol=0, max_iter=1).fit(X)
    assert_allclose(mixture.emissions_["size"].means[0], (X[:, :2].sum(axis=0) + 5) / 55)
    assert_allclose(mixture.emissions_["n"].rates, (X[:, 2].sum() + 2) / 52)
    mixture = Mixture(2, emissions=emissions, prior=prior, tol=0, max_iter=30, random_state=0).fit(
        X
    )
    assert np.all(np.diff(mixture.lower_bounds_) > -1e-11)
    with pytest.raises(ValueError, match=r"prior: found .mean_prior.*size\.mean_prior"):
        Mixture(1, emissions=emissions, prior={"mean_prior": [1.0, 1.0]}).fit(X)


# As an argument


def test_survives_clone_and_a_file(tmp_path, X):
    mixture = GaussianMixture(2, prior=gaussian_prior("full"), random_state=0)
    assert clone(mixture).fit(X).lower_bound_ == mixture.fit(X).lower_bound_
    persistence.save(mixture, tmp_path / "prior.npz")
    loaded = persistence.load(tmp_path / "prior.npz")
    assert loaded.score(X) == mixture.score(X)
    assert loaded.fit(X).lower_bound_ == mixture.lower_bound_


BAD = [
    ({"weights": 1.0}, r"prior: found 'weights'.*'weight_concentration_prior'"),
    ({"weight_concentration_prior": 0.5}, r"weight_concentration_prior.*0\.5.*at least 1.*no mode"),
    ({"weight_concentration_prior": [1.0, 2.0, 3.0]}, r"\(3,\).*\(2,\)"),
    ({"weight_concentration_prior": "flat"}, "weight_concentration_prior"),
    ({"weight_concentration_prior": np.nan}, "finite"),
    ({"mean_prior": [0.0] * 3}, "'mean_prior' alone.*'mean_precision_prior'"),
    ({"mean_precision_prior": 1.0}, "'mean_precision_prior' alone"),
    ({"mean_prior": [0.0] * 2, "mean_precision_prior": 1.0}, r"mean_prior'\]: found shape \(2,\)"),
    ({"mean_prior": [0.0] * 3, "mean_precision_prior": 0.0}, "mean_precision_prior.*positive"),
    ({"mean_prior": [0.0] * 3, "mean_precision_prior": [1.0]}, r"\(1,\).*\(2,\)"),
    ({"covariance_prior": -np.eye(3)}, "covariance_prior.*positive-definite"),
    ({"covariance_prior": np.ones(3)}, r"covariance_prior.*\(3,\).*\(3, 3\)"),
    ({"degrees_of_freedom_prior": 2.0}, "degrees_of_freedom_prior.*found 2; expected more than 2"),
    ({"degrees_of_freedom_prior": [4.0, 4.0]}, r"degrees_of_freedom_prior.*shape \(2,\)"),
    ([1.0], "prior"),
]


@pytest.mark.parametrize(("prior", "message"), BAD)
def test_bad_priors_of_gaussians(X, prior, message):
    mixture = GaussianMixture(2, prior=prior)
    with pytest.raises(ValueError, match=message):
        mixture.fit(X)
    assert not hasattr(mixture, "means_")


@pytest.mark.parametrize("covariance_type", ["diag", "spherical"])
def test_bad_scales_of_variances(X, covariance_type):
    for scale in (np.eye(3), [1.0, -1.0, 1.0], -1.0, "wide", {1.0}):
        mixture = GaussianMixture(
            2, covariance_type=covariance_type, prior={"covariance_prior": scale}
        )
        with pytest.raises(ValueError, match="covariance_prior"):
            mixture.fit(X)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bernoulli", (0.5, 1.0), r"probabilities_prior'\], a: found 0\.5.*no mode"),
        ("bernoulli", 2.0, r"found 2\.0; expected a pair \(a, b\)"),
        ("bernoulli", ([1.0, 2.0, 3.0], 1.0), r"\(3,\)"),
        ("binomial", (1.0, 0.0), "b: found 0; expected at least 1"),
        ("poisson", (2.0, -1.0), "rate: found -1; expected no negatives"),
        ("poisson", (0.5, 1.0), "shape: found 0.5"),
        ("categorical", 0.5, r"found 0\.5; expected at least 1"),
        ("categorical", [1.0], "each of the 2 features"),
        ("categorical", [1.0, [1.0, 2.0]], r"\[1\]: found shape \(2,\)"),
        ("categorical", "flat", "found 'flat'"),
        ("bernoulli", {"a": 1.0, "b": 2.0}, r"found \{'a'.*expected a pair \(a, b\)"),
        ("binomial", {1.0, 2.0}, r"found \{1.*expected a pair \(a, b\)"),
        ("poisson", {"shape": 1.0, "rate": 2.0}, r"expected a pair \(shape, rate\)"),
        ("exponential", (1.0, np.ones((2, 3))), r"rate: found shape \(2, 3\)"),
        ("exponential", (np.nan, 1.0), "shape: found nan"),
        ("categorical", {0: 1.0, 1: 2.0}, "each of the 2 features"),
    ],
)
def test_bad_priors_of_discrete_mixtures(name, value, message):
    estimator, arguments, X, prior, *_ = DISCRETE[name]
    (key,) = prior
    with pytest.raises(ValueError, match=message):
        estimator(2, prior={key: value}, **arguments).fit(X)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ({"size.mean_prior": [0.0, 0.0], "size.mean_precision_prior": 1.0},
         r"prior of 'size': prior\['mean_prior'\]: found shape \(2,\); expected \(2, 1\)"),
        ({"size.mean_prior": [0.0]}, "prior of 'size': prior: found 'mean_prior' alone"),
        ({"visits.rates_prior": 2.0}, r"prior of 'visits': .*a pair \(shape, rate\)"),
        ({"mean_prior": [0.0]}, "prior: found 'mean_prior'; expected names among"),
        ({"other.mean_prior": [0.0]}, "prior: found 'other.mean_prior'"),
    ],
)  # fmt: skip
def test_bad_priors_of_blocks_of_columns(X, prior, message):
    emissions = [("size", Gaussian("diag"), [0]), ("visits", Poisson(), [1])]
    with pytest.raises(ValueError, match=message):
        Mixture(2, emissions, prior=prior).fit(np.column_stack([X[:, 0], np.arange(len(X))]))


def test_score_has_no_prior(X):
    mixture = GaussianMixture(2, prior=gaussian_prior("full"), random_state=0).fit(X)
    assert mixture.score(X) != mixture.lower_bound_
    free = GaussianMixture(2, random_state=0).fit(X)
    assert mixture.bic(X) > free.bic(X)
    assert mixture._n_parameters() == free._n_parameters()
