"""A background component: uniform over a box, beside the Gaussians."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import emcore
import oracle
from emfast import GaussianMixture
from emfast.exceptions import StarvedComponentWarning
from emfast.storage import persistence
from families import (
    GaussianFamily,
    IncompleteGaussianFamily,
    instruction_set,
    over_instruction_sets,
)
from one_iteration import OF_WEIGHTS, maximised, prior_of, responsibilities

TYPES = ("full", "tied", "diag", "spherical")


def clusters_in_noise(rng, n=600, share=0.15):
    """Two clusters, and rows that are anywhere."""
    z = rng.choice(3, n, p=[(1 - share) / 2, (1 - share) / 2, share])
    X = rng.normal(size=(n, 2)) + np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 0.0]])[z]
    X[z == 2] = rng.uniform([-20, -20], [26, 20], (np.count_nonzero(z == 2), 2))
    return X, z


@pytest.fixture(scope="module")
def data():
    return clusters_in_noise(np.random.default_rng(0))


def joint(mixture, X, volume_of_missing=None):
    """log p(z) p(x | z), (n, K + 1), by the oracle."""
    low, high = mixture.noise_bounds_
    log_densities = oracle.gaussian_log_densities(
        X, mixture.means_, mixture.covariances_, mixture.covariance_type
    )
    background = np.full((len(X), 1), -np.log(high - low).sum())
    weights = np.append(mixture.weights_, mixture.noise_weight_)
    return np.hstack([log_densities, background]) + np.log(weights)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_outliers_do_not_pull(data, covariance_type):
    X, z = data
    arguments = {"covariance_type": covariance_type, "random_state": 0, "n_init": 3, "tol": 1e-6}
    mixture = GaussianMixture(2, noise=True, **arguments).fit(X)
    order = mixture.means_[:, 0].argsort()
    assert_allclose(mixture.means_[order], [[0, 0], [6, 0]], atol=0.25)
    assert_allclose(mixture.noise_weight_, np.mean(z == 2), atol=0.04)
    assert_allclose(mixture.weights_.sum() + mixture.noise_weight_, 1)
    assert mixture.bic(X) < GaussianMixture(2, **arguments).fit(X).bic(X)
    # Rows far from both clusters are noise, others are not.
    predicted = mixture.predict(X)
    assert set(predicted) == {-1, 0, 1}
    far = np.abs(X - [3, 0]).max(axis=1) > 9
    assert np.all(predicted[far] == -1)
    assert np.mean((predicted == -1) == (z == 2)) > 0.95
    assert_array_equal(mixture.predict([[100.0, 100.0]]), [-1])
    assert_array_equal(mixture.fit_predict(X), predicted)


@over_instruction_sets
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("K", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_responsibilities_are_those_of_the_oracle(data, covariance_type, K, dtype, instructions):
    X = data[0].astype(dtype)
    with instruction_set(instructions):
        mixture = GaussianMixture(
            K, covariance_type=covariance_type, noise=True, random_state=0, max_iter=3, tol=0
        ).fit(X)
        r, scores = mixture.predict_proba(X), mixture.score_samples(X)
    a = joint(mixture, X.astype(float))
    largest = a.max(axis=1, keepdims=True)
    log_likelihoods = largest[:, 0] + np.log(np.exp(a - largest).sum(axis=1))
    tolerance = 1e-9 if dtype == np.float64 else 2e-3
    assert r.shape == (len(X), K + 1)
    assert_allclose(r, np.exp(a - log_likelihoods[:, None]), atol=tolerance)
    assert_allclose(scores, log_likelihoods, rtol=tolerance)
    assert_array_equal(mixture.predict(X), np.where(r.argmax(axis=1) == K, -1, r.argmax(axis=1)))
    assert_allclose(mixture.score(X), mixture.lower_bound_, rtol=1e-6)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_m_step_by_hand(data, covariance_type):
    X = data[0]
    arguments = {
        "covariance_type": covariance_type, "noise": True, "weights_init": [0.5, 0.3],
        "means_init": [[0.0, 1.0], [5.0, 0.0]], "reg_covar": 0, "tol": 0,
        "covariances_init": {"full": [np.eye(2)] * 2, "tied": np.eye(2), "diag": np.ones((2, 2)),
                             "spherical": [1, 1]}[covariance_type],
    }  # fmt: skip
    start = GaussianMixture(2, max_iter=0, **arguments).fit(X)
    assert_allclose(start.noise_weight_, 0.2)
    r = start.predict_proba(X)
    moved = GaussianMixture(2, max_iter=1, **arguments).fit(X)
    assert_allclose(moved.weights_, r.mean(axis=0)[:2])
    assert_allclose(moved.noise_weight_, r.mean(axis=0)[2])
    assert_allclose(moved.means_, oracle.weighted_means(X, r[:, :2]), rtol=1e-9)
    assert_allclose(
        moved.covariances_, oracle.gaussian_covariances(X, r[:, :2], covariance_type), rtol=1e-8
    )


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_objective_never_falls(data, covariance_type, assignment):
    X, z = data
    rng = np.random.default_rng(0)
    labels = np.where(rng.uniform(size=len(X)) < 0.1, np.where(z == 2, -2, z), -1)
    mixture = GaussianMixture(
        2, covariance_type=covariance_type, noise=True, assignment=assignment, random_state=0,
        tol=0, max_iter=30, prior={"weight_concentration_prior": 2.0},
    ).fit(X, labels=labels, sample_weight=rng.uniform(0, 2, len(X)))  # fmt: skip
    assert np.all(np.diff(mixture.lower_bounds_) > -1e-6)


@pytest.mark.filterwarnings("ignore::emfast.exceptions.StarvedComponentWarning")
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("assignment", ["soft", "hard", "stochastic"])
def test_same_bits_for_any_threads(covariance_type, assignment):
    X, _ = clusters_in_noise(np.random.default_rng(1), 6000)
    fits = [
        GaussianMixture(
            3, covariance_type=covariance_type, noise=True, assignment=assignment, random_state=0,
            n_threads=threads, max_iter=5, tol=0,
            init_params="k-means++",
        ).fit(X)
        for threads in (1, 3)
    ]  # fmt: skip
    assert_array_equal(fits[0].lower_bounds_, fits[1].lower_bounds_)
    assert_array_equal(fits[0].means_, fits[1].means_)


def test_weights_are_repetitions(data):
    X = data[0]
    times = np.random.default_rng(0).integers(0, 3, len(X))
    times[[X[:, 0].argmin(), X[:, 0].argmax(), X[:, 1].argmin(), X[:, 1].argmax()]] = 1
    arguments = {
        "means_init": [[0.0, 1.0], [5.0, 0.0]], "covariances_init": [np.eye(2)] * 2,
        "weights_init": [0.5, 0.3], "noise": True, "tol": 0, "max_iter": 5,
    }  # fmt: skip
    weighted = GaussianMixture(2, **arguments).fit(X, sample_weight=times)
    repeated = GaussianMixture(2, **arguments).fit(np.repeat(X, times, axis=0))
    assert_allclose(weighted.means_, repeated.means_, rtol=1e-9)
    assert_allclose(weighted.noise_weight_, repeated.noise_weight_, rtol=1e-9)
    # Rows of no weight are no part of the box.
    far = np.vstack([X, [[1e6, 1e6]]])
    without = GaussianMixture(2, **arguments).fit(far, sample_weight=np.append(times, 0))
    assert_array_equal(without.noise_bounds_, weighted.noise_bounds_)


# The box


def test_a_volume_scales_the_box(data):
    X = data[0]
    box = GaussianMixture(2, noise=True, random_state=0).fit(X)
    assert_array_equal(box.noise_bounds_, [X.min(axis=0), X.max(axis=0)])
    volume = np.prod(X.max(axis=0) - X.min(axis=0))
    same = GaussianMixture(2, noise=volume, random_state=0).fit(X)
    assert_allclose(same.noise_bounds_, box.noise_bounds_)
    assert_allclose(same.lower_bound_, box.lower_bound_)
    larger = GaussianMixture(2, noise=volume * 100, random_state=0).fit(X)
    low, high = larger.noise_bounds_
    assert_allclose(np.prod(high - low), 100 * volume)
    assert_allclose(high + low, X.max(axis=0) + X.min(axis=0))
    assert larger.noise_weight_ < box.noise_weight_
    # 1 is a volume, and not True.
    assert np.prod(np.subtract(*GaussianMixture(noise=1).fit(X).noise_bounds_)) == pytest.approx(1)


def test_a_box_without_volume():
    X = np.column_stack([np.arange(20.0), np.full(20, 3.0)])
    with pytest.raises(ValueError, match=r"noise: column 1 of X is constant \(3.0\)"):
        GaussianMixture(noise=True).fit(X)
    mixture = GaussianMixture(noise=50.0).fit(X)
    low, high = mixture.noise_bounds_
    assert np.prod(high - low) == pytest.approx(50)


@pytest.mark.parametrize("shift", [1.0, 1e8])
def test_a_box_that_rounding_would_change(data, shift):
    with pytest.raises(ValueError, match=r"noise: found the volume 1e-40; .* in column 0 of X"):
        GaussianMixture(noise=1e-40).fit(data[0] + shift)


@pytest.mark.parametrize("noise", [0, -1.0, "yes", None, np.inf, np.nan])
def test_bad_noise(data, noise):
    mixture = GaussianMixture(2, noise=noise)
    with pytest.raises(ValueError, match="noise"):
        mixture.fit(data[0])
    assert not hasattr(mixture, "means_")


# With all the rest


def test_labels_of_noise(data):
    X, z = data
    truth = np.where(z == 2, -2, z)
    mixture = GaussianMixture(2, noise=True, max_iter=1, tol=0, reg_covar=0, random_state=0)
    mixture.fit(X, labels=truth)
    shares = np.bincount(z) / len(z)
    assert_allclose([*mixture.weights_, mixture.noise_weight_], shares)
    assert_allclose(mixture.means_, [X[z == 0].mean(axis=0), X[z == 1].mean(axis=0)])
    assert_array_equal(mixture.fit_predict(X, labels=truth), np.where(z == 2, -1, z))
    scores = joint(mixture, X)[np.arange(len(X)), z]
    assert_allclose(mixture.score_samples(X, labels=truth), scores, rtol=1e-9)
    assert_allclose(mixture.lower_bound_, scores.mean())
    mask = z[:, None] == np.arange(3)
    assert_array_equal(mixture.predict_proba(X, labels=mask), mask)
    few = np.where(np.arange(len(X)) < 90, truth, -1)
    for init_params in ("kmeans", "random", "neighbourhood", "random_from_data", "short_em"):
        some = GaussianMixture(2, noise=True, init_params=init_params, random_state=0, tol=1e-5)
        assert_allclose(some.fit(X, labels=few).means_, [[0, 0], [6, 0]], atol=0.3)
    names = np.where(few >= 0, np.array(["a", "b", ""])[few], None)
    named = GaussianMixture(2, noise=True, random_state=0).fit(X, labels=names)
    assert_array_equal(named.classes_, ["a", "b"])
    for labels, message in (
        (np.full(len(X), -3), "-2 for noise; found -3"),
        (np.full(len(X), 2), "found 2"),
        (mask[:, :2], r"\(600, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            GaussianMixture(2, noise=True).fit(X, labels=labels)
    with pytest.raises(ValueError, match="found -2"):
        GaussianMixture(2).fit(X, labels=truth)


def test_criteria_count_one_parameter_more(data):
    X = data[0]
    for covariance_type in TYPES:
        plain = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
        noisy = clone(plain).set_params(noise=True).fit(X)
        assert noisy._n_parameters() == plain._n_parameters() + 1
        assert_allclose(
            noisy.bic(X), -2 * noisy.score_samples(X).sum() + noisy._n_parameters() * np.log(len(X))
        )
        assert noisy.icl(X) > noisy.bic(X)


def test_known_weights(data):
    X = data[0]
    arguments = {"noise": True, "random_state": 0}
    mixture = GaussianMixture(2, weights_init=[0.4, 0.5], fixed=["weights"], **arguments).fit(X)
    assert_allclose([*mixture.weights_, mixture.noise_weight_], [0.4, 0.5, 0.1])
    assert mixture._n_parameters() == 10
    mixture = GaussianMixture(
        2, weights_init=[0.4, None], fixed={"weights": [True, False]}, **arguments
    ).fit(X)
    assert mixture.weights_[0] == pytest.approx(0.4)
    assert mixture._n_parameters() == 11
    assert_allclose(mixture.weights_.sum() + mixture.noise_weight_, 1)
    for weights, message in (
        ([0.5, 0.5], "found a sum of 1.0; expected less than 1, for the noise"),
        ("equal", "weights_init: found 'equal'.*noise"),
    ):
        with pytest.raises(ValueError, match=message):
            GaussianMixture(2, weights_init=weights, **arguments).fit(X)


def test_samples(data):
    X = data[0]
    mixture = GaussianMixture(2, noise=True, random_state=0, n_init=3).fit(X)
    drawn, z = mixture.sample(4000)
    assert set(z) == {-1, 0, 1}
    assert_allclose(np.mean(z == -1), mixture.noise_weight_, atol=0.02)
    low, high = mixture.noise_bounds_
    assert np.all((drawn[z == -1] >= low) & (drawn[z == -1] <= high))
    assert_allclose(drawn[z == -1].mean(axis=0), (low + high) / 2, atol=2.0)
    assert_allclose(drawn[z == 0].mean(axis=0), mixture.means_[0], atol=0.2)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_missing_entries(data, covariance_type):
    """A row's density under noise is that of what is known of it."""
    X = data[0].copy()
    rng = np.random.default_rng(2)
    mixture = GaussianMixture(2, covariance_type=covariance_type, noise=True, random_state=0).fit(X)
    holes = X.copy()
    holes[::3, 0] = np.nan
    holes[1::9] = np.nan
    marginal = mixture.marginal([1])
    assert_allclose(
        mixture.score_samples(holes[::3]), marginal.score_samples(X[::3, 1:]), rtol=1e-9
    )
    assert_allclose(
        mixture.predict_proba(holes[::3]), marginal.predict_proba(X[::3, 1:]), atol=1e-9
    )
    weights = np.append(mixture.weights_, mixture.noise_weight_)
    assert_allclose(mixture.predict_proba(holes[1::9]), np.tile(weights, (len(X[1::9]), 1)))
    assert_allclose(mixture.score_samples(holes[1::9]), 0, atol=1e-12)
    # Imputed: the mean over components, noise among them.
    given = mixture.conditional({1: holes[0, 1]})
    own = np.append(given.weights_, given.noise_weight_)
    means = np.append(given.means_, given.noise_bounds_.mean())
    assert_allclose(mixture.impute(holes[:1]), [[own @ means, holes[0, 1]]])
    fitted = GaussianMixture(
        2, covariance_type=covariance_type, noise=True, random_state=0, tol=0, max_iter=20
    ).fit(np.where(rng.uniform(size=X.shape) < 0.1, np.nan, X))
    assert np.all(np.diff(fitted.lower_bounds_) > -1e-6)


def test_many_rows():
    """Through subsamples and a race."""
    X, z = clusters_in_noise(np.random.default_rng(3), 60_000)
    mixture = GaussianMixture(2, noise=True, n_init=3, random_state=0).fit(X)
    assert_allclose(mixture.means_[mixture.means_[:, 0].argsort()], [[0, 0], [6, 0]], atol=0.1)
    assert_allclose(mixture.noise_weight_, np.mean(z == 2), atol=0.02)


def test_noise_may_starve():
    """Without outliers its weight goes towards 0, and nothing is said of it."""
    X = np.random.default_rng(0).uniform(size=(50, 1)) + np.repeat([0.0, 1e3], 25)[:, None]
    mixture = GaussianMixture(2, noise=True, random_state=0).fit(X)
    assert mixture.noise_weight_ < 0.01
    mask = np.tile([True, True, False], (50, 1))
    mixture.fit(X, labels=mask)
    assert mixture.noise_weight_ == 0
    assert_array_equal(mixture.predict_proba(X)[:, 2], 0)


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_every_row_may_be_noise(covariance_type, holes):
    X = np.random.default_rng(0).normal(size=(50, 2))
    if holes:
        X[::3, 0] = np.nan
    mixture = GaussianMixture(
        2, covariance_type=covariance_type, noise=True, random_state=0, max_iter=3, tol=0
    )
    start = clone(mixture).set_params(max_iter=0)
    for each in (start, mixture):
        # And of nothing else.
        with pytest.warns(StarvedComponentWarning, match=r"\[0, 1\] lost all their rows"):
            each.fit(X, labels=np.full(50, -2))
    assert mixture.noise_weight_ == 1
    assert_array_equal(mixture.weights_, 0)
    assert_array_equal(mixture.means_, start.means_)
    assert_array_equal(mixture.covariances_, start.covariances_)
    assert_array_equal(mixture.predict(X), -1)


def test_warm_start_clone_and_file(data, tmp_path):
    X = data[0]
    mixture = GaussianMixture(2, noise=True, random_state=0, max_iter=3, tol=0, warm_start=True)
    whole = clone(mixture).set_params(max_iter=6).fit(X)
    mixture.fit(X).fit(X)
    assert_allclose(mixture.means_, whole.means_, rtol=1e-9)
    persistence.save(mixture, tmp_path / "noise.npz")
    loaded = persistence.load(tmp_path / "noise.npz")
    assert_array_equal(loaded.predict_proba(X), mixture.predict_proba(X))
    assert loaded.noise_weight_ == mixture.noise_weight_
    # Attributes changed by hand are the model.
    loaded.noise_weight_ = 0.0
    assert_array_equal(loaded.predict_proba(X)[:, 2], 0)
    with pytest.raises(ValueError, match="fit it again"):
        mixture.set_params(noise=False).predict(X)
    mixture.set_params(warm_start=False).fit(X)
    assert not hasattr(mixture, "noise_weight_")
    assert not hasattr(mixture, "noise_bounds_")


def test_kernel_refuses_what_does_not_belong_together():
    kernels = emcore.kernels("float64")
    emission = GaussianMixture(covariance_type="diag")._emission()
    parameters = emission.parameters(np.zeros((2, 1)), np.ones((2, 1)))
    kernel = emission.kernel(parameters, np.ones(2) / 2, kernels)

    def run(latent):
        K = latent.n_components
        kernels.expectation(
            latent, kernel, np.zeros((5, 1)), np.zeros((1, 2 + K + kernel.statistics_size)), 64, 1
        )

    run(kernels.MixtureWeights(np.zeros(2)))
    run(kernels.MixtureWeights(np.zeros(3), background=-1.0))
    for latent in (
        kernels.MixtureWeights(np.zeros(3)),
        kernels.MixtureWeights(np.zeros(2), background=-1.0),
        kernels.MixtureWeights(np.zeros(3), background=-1.0, background_of_rows=np.zeros(4)),
    ):
        with pytest.raises(ValueError, match="shapes"):
            run(latent)
    with pytest.raises(ValueError, match="shapes"):
        kernels.MixtureWeights(np.zeros(1), background=-1.0)


# One iteration by hand, with all that may be known besides

K = 2
FIRST = np.array([True, False])
COMBINATIONS = {
    "labels": {},
    "volume": {"noise": 5e3},
    "known components": {"known": {"means": FIRST, "weights": FIRST}},
    "prior": {"prior": True},
    "hard": {"assignment": "hard"},
    "stochastic": {"assignment": "stochastic"},
    "accelerated": {"accelerate": True, "prior": True},
    "everything": {"noise": 5e3, "known": {"means": FIRST, "weights": FIRST}, "prior": True},
    "everything, hard": {
        "noise": 5e3, "known": {"means": FIRST, "weights": FIRST}, "prior": True,
        "assignment": "hard",
    },
}  # fmt: skip

over_combinations = pytest.mark.parametrize("combination", COMBINATIONS)
over_rows = pytest.mark.parametrize("holes", [False, True], ids=["complete", "holes"])
over_precisions = pytest.mark.parametrize("dtype", [np.float64, np.float32])


class Case:
    """Rows with weights, labels of which some are noise, and the start of a fit."""

    def __init__(self, covariance_type, combination, dtype, holes, kind="component"):
        rng = np.random.default_rng(5)
        of = COMBINATIONS[combination]
        of_family = IncompleteGaussianFamily if holes else GaussianFamily
        self.family = of_family(covariance_type)
        X, z = clusters_in_noise(rng, 400)
        if holes:
            X[rng.uniform(size=X.shape) < 0.15] = np.nan
        self.X = X.astype(dtype)
        self.noise, self.known = of.get("noise", True), of.get("known", {})
        self.prior, self.accelerate = of.get("prior", False), of.get("accelerate", False)
        self.assignment = of.get("assignment", "soft")
        if kind == "component":
            self.labels = np.where(rng.uniform(size=400) < 0.2, np.where(z == K, -2, z), -1)
            known = np.where(self.labels == -2, K, self.labels)
            self.allowed = oracle.allowed_by(known, K + 1)
        else:
            self.allowed = rng.uniform(size=(400, K + 1)) < 0.7
            self.allowed[np.arange(400), z] = True
            self.labels = self.allowed
        self.named = {
            "means": np.array([[0.0, 1.0], [5.0, 0.0]]),
            "covariances": {
                "full": np.stack([np.eye(2) * 2, np.eye(2) + 0.5]), "tied": np.eye(2) + 0.3,
                "diag": np.array([[1.0, 2.0], [3.0, 1.0]]), "spherical": np.array([1.0, 2.0]),
            }[covariance_type],
            "weights": np.array([0.5, 0.3, 0.2]),
        }  # fmt: skip
        r, _ = oracle.respond(self.log_densities(self.named, self.box()),
                              self.named["weights"], self.allowed)  # fmt: skip
        self.r, clear = responsibilities(r, self.assignment, self.X.dtype)
        self.weights = rng.uniform(0.5, 2, 400) * clear

    def box(self):
        used = self.X[self.weights > 0] if hasattr(self, "weights") else self.X
        low, high = np.nanmin(used, axis=0).astype(float), np.nanmax(used, axis=0).astype(float)
        if self.noise is True:
            return low, high
        factor = np.sqrt(self.noise / np.prod(high - low))
        middle, half = (low + high) / 2, factor * (high - low) / 2
        return middle - half, middle + half

    def log_densities(self, named, box):
        own = oracle.incomplete_gaussian_log_densities(
            self.X, named["means"], named["covariances"], self.family.covariance_type
        )
        background = -(~np.isnan(self.X) @ np.log(box[1] - box[0]))
        return np.hstack([own, background[:, None]])

    def expected(self):
        """The parameters after one iteration."""
        r = self.r * self.weights[:, None]
        own = {**self.named, "weights": self.named["weights"][:K]}
        self.family.given = self.family.emission().parameters(own["means"], own["covariances"])
        named = maximised(
            self.family, self.X, r[:, :K], own, known=self.known, prior=self.prior
        )  # fmt: skip
        counts = r.sum(axis=0) + self.prior * (OF_WEIGHTS - 1)
        if self.known:
            counts[0] = 0
            named["weights"] = 0.5 * counts / counts.sum() + 0.5 * (np.arange(K + 1) == 0)
        else:
            named["weights"] = counts / counts.sum()
        return named

    def fit(self, max_iter):
        prior = {**prior_of(self.family, 2), "weight_concentration_prior": OF_WEIGHTS}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return GaussianMixture(
                K, covariance_type=self.family.covariance_type, noise=self.noise, reg_covar=0,
                tol=0, max_iter=max_iter, means_init=self.named["means"],
                covariances_init=self.named["covariances"], weights_init=[0.5, 0.3],
                fixed=self.known or None, prior=prior if self.prior else None,
                assignment=self.assignment, accelerate=self.accelerate, random_state=0,
            ).fit(self.X, labels=self.labels, sample_weight=self.weights)  # fmt: skip


@over_combinations
@over_rows
@over_precisions
@pytest.mark.parametrize("kind", ["component", "allowed"])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_one_iteration_is_that_of_the_oracle(covariance_type, kind, dtype, holes, combination):
    case = Case(covariance_type, combination, dtype, holes, kind)
    mixture = case.fit(1)
    found = {"means": mixture.means_, "covariances": mixture.covariances_,
             "weights": np.append(mixture.weights_, mixture.noise_weight_)}  # fmt: skip
    tolerance = 1e-9 if dtype == np.float64 else 1e-3
    for name, value in case.expected().items():
        assert_allclose(found[name], value, rtol=tolerance, atol=tolerance, err_msg=name)
    # What is said of rows is joint with their labels.
    model = mixture._model()
    named = {"means": model.emission.means, "covariances": model.emission.covariances}
    r, log_likelihoods = oracle.respond(
        case.log_densities(named, mixture.noise_bounds_), model.latent, case.allowed
    )
    assert_allclose(mixture.predict_proba(case.X, labels=case.labels), r, atol=tolerance)
    assert_allclose(
        mixture.score_samples(case.X, labels=case.labels), log_likelihoods, rtol=tolerance,
        atol=tolerance,
    )  # fmt: skip


@pytest.mark.parametrize("combination", [name for name in COMBINATIONS if name != "stochastic"])
@over_rows
@over_precisions
@pytest.mark.parametrize("covariance_type", TYPES)
def test_objective_never_falls_whatever_is_known(covariance_type, dtype, holes, combination):
    mixture = Case(covariance_type, combination, dtype, holes).fit(25)
    rounding = {np.float64: 1e-11, np.float32: 1e-5}[dtype] * np.abs(mixture.lower_bound_)
    assert np.all(np.diff(mixture.lower_bounds_) > -rounding)
    assert mixture.lower_bound_ > mixture.lower_bounds_[0]


def blobs_among_outliers(n, n_outliers, box):
    rng = np.random.default_rng(5)
    blobs = [rng.normal(centre, 1, (n, 2)) for centre in (0, 5)]
    return np.vstack([*blobs, rng.uniform(-box, box, (n_outliers, 2))])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("n", "n_outliers", "box"), [(500, 30, 60), (500, 200, 30), (40_000, 4000, 60)]
)
def test_one_start_leaves_outliers_to_noise(n, n_outliers, box, seed):
    X = blobs_among_outliers(n, n_outliers, box)
    mixture = GaussianMixture(2, noise=True, random_state=seed).fit(X)
    assert_allclose(mixture.means_[mixture.means_[:, 0].argsort()], [[0, 0], [5, 5]], atol=0.25)
    assert_allclose(mixture.noise_weight_, n_outliers / len(X), rtol=0.15)
