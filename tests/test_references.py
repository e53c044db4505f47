"""Published results that a correct implementation reproduces.

Log-likelihoods are those at convergence, to 1e-5; parameters to 1e-4.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal, norm
from sklearn.datasets import load_iris

from emfast import BernoulliMixture, GaussianMixture

DATA = Path(__file__).parent / "data"

# Far below the accuracy of the references. The floor under the variances is off: its effect on the
# log-likelihood of Old Faithful is larger than 1e-5.
CONVERGED = {"tol": 1e-12, "max_iter": 10_000, "random_state": 0}
GAUSSIAN = {**CONVERGED, "reg_covar": 0.0}


@pytest.fixture(scope="module")
def faithful():
    return np.loadtxt(DATA / "faithful.csv", delimiter=",", skiprows=1)


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def carcinoma():
    table = np.loadtxt(DATA / "carcinoma.csv", delimiter=",", skiprows=1, dtype=int)
    return table[:, :7], table[:, 7]


def total(mixture, X):
    return mixture.score_samples(X).sum()


def by_first_mean(mixture):
    return np.argsort(mixture.means_[:, 0])


# Old Faithful


def test_the_data_are_whole(faithful, carcinoma):
    assert faithful.shape == (272, 2)
    assert_allclose(faithful.mean(axis=0), [3.487783, 70.897059], atol=1e-6)
    assert carcinoma[0].shape[1] == 7
    assert carcinoma[1].sum() == 118


@pytest.mark.parametrize(
    ("covariance_type", "K", "log_likelihood", "p"),
    [
        ("full", 2, -1130.263960, 11),
        ("tied", 3, -1126.315928, 11),
        ("tied", 2, -1140.186759, 8),
        ("diag", 2, -1147.806353, 9),
        ("spherical", 2, -1709.529282, 7),
    ],
)
def test_old_faithful(faithful, covariance_type, K, log_likelihood, p):
    mixture = GaussianMixture(K, covariance_type=covariance_type, n_init=5, **GAUSSIAN)
    mixture.fit(faithful)
    assert total(mixture, faithful) == pytest.approx(log_likelihood, abs=1e-5)
    assert mixture.lower_bound_ * 272 == pytest.approx(log_likelihood, abs=1e-5)
    assert mixture.bic(faithful) == pytest.approx(-2 * log_likelihood + p * np.log(272), abs=3e-5)
    assert mixture.aic(faithful) == pytest.approx(-2 * log_likelihood + 2 * p, abs=3e-5)
    assert mixture.converged_


def test_old_faithful_full_parameters(faithful):
    mixture = GaussianMixture(2, **GAUSSIAN).fit(faithful)
    order = by_first_mean(mixture)
    assert_allclose(mixture.weights_[order], [0.355873, 0.644127], atol=1e-4)
    assert_allclose(
        mixture.means_[order], [[2.036388, 54.478516], [4.289662, 79.968115]], atol=1e-4
    )
    assert_allclose(
        mixture.covariances_[order],
        [
            [[0.069168, 0.435168], [0.435168, 33.697282]],
            [[0.169968, 0.940609], [0.940609, 36.046211]],
        ],
        atol=1e-4,
    )


def test_old_faithful_tied_parameters(faithful):
    mixture = GaussianMixture(2, covariance_type="tied", **GAUSSIAN).fit(faithful)
    order = by_first_mean(mixture)
    assert_allclose(
        mixture.means_[order], [[2.046195, 54.596514], [4.296032, 80.036218]], atol=1e-4
    )
    mixture = GaussianMixture(3, covariance_type="tied", n_init=5, **GAUSSIAN).fit(faithful)
    assert_allclose(np.sort(mixture.weights_), [0.168605, 0.356378, 0.475017], atol=1e-4)


def test_old_faithful_waiting_equal_variance(faithful):
    # In one dimension a tied full matrix is the equal variance of the reference.
    waiting = faithful[:, 1:]
    mixture = GaussianMixture(2, covariance_type="tied", **GAUSSIAN).fit(waiting)
    order = by_first_mean(mixture)
    assert total(mixture, waiting) == pytest.approx(-1034.001760, abs=1e-5)
    assert mixture.bic(waiting) == pytest.approx(2 * 1034.001760 + 4 * np.log(272), abs=3e-5)
    assert_allclose(mixture.weights_[order], [0.36085, 0.63915], atol=1e-4)
    assert_allclose(mixture.means_[order, 0], [54.61364, 80.09031], atol=1e-4)
    assert np.sqrt(mixture.covariances_.item()) == pytest.approx(5.869089, abs=1e-4)


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_old_faithful_waiting(faithful, covariance_type):
    # These three are the same model in one dimension.
    waiting = faithful[:, 1:]
    mixture = GaussianMixture(2, covariance_type=covariance_type, **GAUSSIAN).fit(waiting)
    order = by_first_mean(mixture)
    assert total(mixture, waiting) == pytest.approx(-1034.001750, abs=1e-5)
    assert mixture.bic(waiting) == pytest.approx(2 * 1034.001750 + 5 * np.log(272), abs=3e-5)
    deviations = np.sqrt(mixture.covariances_.reshape(2)[order])
    assert_allclose(deviations, [5.871221, 5.867733], atol=1e-4)


# Iris


@pytest.mark.parametrize(
    ("covariance_type", "K", "log_likelihood"),
    [
        ("full", 2, -214.354704),
        ("full", 3, -180.185477),
        ("tied", 3, -256.354043),
        ("spherical", 3, -384.314095),
        ("diag", 2, -386.185347),
    ],
)
def test_iris(iris, covariance_type, K, log_likelihood):
    X, _ = iris
    mixture = GaussianMixture(K, covariance_type=covariance_type, n_init=3, **GAUSSIAN).fit(X)
    assert total(mixture, X) == pytest.approx(log_likelihood, abs=1e-5)


def test_iris_diag_from_diverse_starts(iris):
    # The clusters of k-means all lead to a lower maximum (-307.181).
    X, _ = iris
    mixture = GaussianMixture(
        3, covariance_type="diag", init_params="random_from_data", n_init=40, **GAUSSIAN
    ).fit(X)
    assert total(mixture, X) == pytest.approx(-306.860461, abs=1e-5)


def test_iris_full_bic_and_weights(iris):
    X, _ = iris
    mixture = GaussianMixture(3, n_init=3, **GAUSSIAN).fit(X)
    assert mixture.bic(X) == pytest.approx(580.8389, abs=1e-4)
    order = by_first_mean(mixture)
    assert_allclose(mixture.weights_[order], [0.333333, 0.299193, 0.367473], atol=1e-4)


def test_iris_k_means(iris):
    """Hard assignment with equal weights and variances, whose objective is the inertia."""
    X, _ = iris
    mixture = GaussianMixture(
        3, covariance_type="spherical", weights_init="equal", covariances_init=[1, 1, 1],
        fixed=("weights", "covariances"), assignment="hard", n_init=5, **CONVERGED,
    )  # fmt: skip
    z = mixture.fit_predict(X)
    assert ((X - mixture.means_[z]) ** 2).sum() == pytest.approx(78.851441, abs=1e-5)
    constant = -2 * np.log(2 * np.pi) - np.log(3)
    assert mixture.lower_bound_ == pytest.approx(constant - 78.851441 / 300, abs=1e-8)


def test_iris_all_labels_known(iris):
    X, species = iris
    mixture = GaussianMixture(3, **GAUSSIAN).fit(X, labels=species)
    assert mixture.lower_bound_ * 150 == pytest.approx(-188.375555, abs=1e-5)
    assert total(mixture, X) == pytest.approx(-182.920849, abs=1e-5)


# Carcinoma: latent classes, rows with repetitions


@pytest.mark.parametrize(
    ("K", "log_likelihood", "bic"),
    [
        (1, -524.464818, None),
        (2, -317.256837, 706.0739),
        (3, -293.704979, 697.1357),
        (4, -289.285853, None),
    ],
)
def test_carcinoma(carcinoma, K, log_likelihood, bic):
    X, count = carcinoma
    mixture = BernoulliMixture(K, n_init=20, **CONVERGED).fit(X, sample_weight=count)
    assert mixture.score(X, sample_weight=count) * 118 == pytest.approx(log_likelihood, abs=1e-5)
    if bic is not None:
        assert mixture.bic(X, sample_weight=count) == pytest.approx(bic, abs=1e-4)
    repeated = np.repeat(X, count, axis=0)
    assert total(mixture, repeated) == pytest.approx(log_likelihood, abs=1e-5)


def test_carcinoma_three_classes(carcinoma):
    X, count = carcinoma
    mixture = BernoulliMixture(3, n_init=10, **CONVERGED).fit(X, sample_weight=count)
    assert_allclose(np.sort(mixture.weights_), [0.181707, 0.373567, 0.444726], atol=1e-4)
    # Two pathologists never see carcinoma where one class has none, others always where it has.
    assert_allclose(mixture.probabilities_.min(), 0, atol=1e-12)
    assert_allclose(mixture.probabilities_.max(), 1, atol=1e-12)
    assert np.isfinite(mixture.predict_proba(X)).all()


# Cars and trucks: known weights and deviations, two means to find

CAR, TRUCK = 5.0, 10.0
WEIGHTS, VARIANCES = np.array([0.6, 0.4]), np.array([1.0, 4.0])
KNOWN = {
    "covariance_type": "spherical",
    "weights_init": WEIGHTS,
    "covariances_init": VARIANCES,
    "fixed": ("weights", "covariances"),
}
STARTS = [(float(car), float(truck)) for car in range(1, 15, 2) for truck in range(1, 15, 2)]


@pytest.fixture(scope="module")
def vehicles():
    """Lengths of 50 cars, 50 trucks and 1000 vehicles of unknown type, with their labels."""
    rng = np.random.RandomState(20)
    is_truck = rng.random_sample(1000) < WEIGHTS[1]
    unknown = np.where(is_truck, rng.normal(TRUCK, 2.0, 1000), rng.normal(CAR, 1.0, 1000))
    known = np.concatenate([rng.normal(CAR, 1.0, 50), rng.normal(TRUCK, 2.0, 50)])
    labels = np.concatenate([np.repeat([0, 1], 50), np.full(1000, -1)])
    return np.concatenate([known, unknown])[:, None], labels


def means_after(max_iter, X, labels, start):
    mixture = GaussianMixture(
        2, **KNOWN, means_init=np.reshape(start, (2, 1)), tol=0, max_iter=max_iter
    )
    return mixture.fit(X, labels=labels).means_[:, 0]


def means_by_hand(n_iter, X, labels, start):
    """EM for the two means, written out: a labelled row counts 1, another its responsibility."""
    means = np.array(start, dtype=float)
    for _ in range(n_iter):
        densities = WEIGHTS * norm.pdf(X, means, np.sqrt(VARIANCES))
        counts = densities / densities.sum(axis=1, keepdims=True)
        if labels is not None:
            counts[labels >= 0] = np.eye(2)[labels[labels >= 0]]
        means = (counts * X).sum(axis=0) / counts.sum(axis=0)
    return means


def distances(ends, target):
    return np.abs(np.asarray(ends) - target).max(axis=1)


def log_likelihood_at(X, labels, means):
    mixture = GaussianMixture(2, **KNOWN, means_init=np.reshape(means, (2, 1)), max_iter=0)
    return mixture.fit(X, labels=labels).lower_bound_


def test_cars_and_trucks_means_are_weighted_averages(vehicles):
    X, labels = vehicles
    for start in [(4.0, 8.0), (9.0, 6.0)]:
        for n_iter in (1, 2, 10):
            assert_allclose(
                means_after(n_iter, X, labels, start),
                means_by_hand(n_iter, X, labels, start),
                rtol=1e-12,
            )


def test_cars_and_trucks_has_two_attractors(vehicles):
    # One is the truth; in the other the narrow component sits on the trucks.
    X, labels = vehicles
    ends = np.array([means_after(150, X, labels, start) for start in STARTS])
    truth = means_by_hand(1000, X, labels, (CAR, TRUCK))
    swapped = means_by_hand(1000, X, labels, (TRUCK, CAR))
    assert distances([truth], (5.0, 10.0)) < 0.1
    assert distances([swapped], (9.7, 5.7)) < 0.25
    at_truth, at_swapped = distances(ends, truth) < 1e-6, distances(ends, swapped) < 1e-6
    assert np.all(at_truth | at_swapped)
    assert at_truth.sum() > at_swapped.sum() > 5
    assert log_likelihood_at(X, labels, truth) > log_likelihood_at(X, labels, swapped) + 0.1


def test_cars_and_trucks_is_close_after_five_iterations(vehicles):
    X, labels = vehicles
    attractors = [means_by_hand(1000, X, labels, s) for s in [(CAR, TRUCK), (TRUCK, CAR)]]
    ends = [means_after(5, X, labels, start) for start in STARTS]
    close = np.min([distances(ends, attractor) for attractor in attractors], axis=0) < 0.1
    assert close.mean() > 0.5
    to_truth = [start for start in STARTS if start[0] < start[1]]
    ends = [means_after(5, X, labels, start) for start in to_truth]
    assert np.mean(distances(ends, attractors[0]) < 0.1) > 0.75


def test_cars_and_trucks_without_labels(vehicles):
    # No label holds the swapped solution back, which then lies further out.
    X = vehicles[0][100:]
    truth = means_by_hand(1000, X, None, (CAR, TRUCK))
    swapped = means_by_hand(1000, X, None, (TRUCK, CAR))
    assert distances([truth], (5.0, 10.0)) < 0.1
    assert swapped[0] > TRUCK > CAR + 1 > swapped[1]
    ends = np.array([means_after(150, X, None, start) for start in STARTS])
    at_truth, at_swapped = distances(ends, truth) < 1e-6, distances(ends, swapped) < 1e-6
    assert np.all(at_truth | at_swapped)
    assert min(at_truth.sum(), at_swapped.sum()) > 5


def test_cars_and_trucks_as_many_labels_as_unknown_rows_leave_one_attractor(vehicles):
    X, labels = vehicles[0][:300], vehicles[1][:300]
    truth = means_by_hand(1000, X, labels, (CAR, TRUCK))
    assert distances([truth], (5.0, 10.0)) < 0.25
    ends = [means_after(150, X, labels, start) for start in STARTS]
    assert_allclose(ends, np.tile(truth, (len(STARTS), 1)), atol=1e-6)


def test_cars_and_trucks_with_free_weights_and_deviations_has_one_attractor(vehicles):
    X, labels = vehicles
    ends = []
    for start in STARTS:
        mixture = GaussianMixture(
            2,
            covariance_type="spherical",
            weights_init=WEIGHTS,
            covariances_init=VARIANCES,
            means_init=np.reshape(start, (2, 1)),
            tol=1e-12,
            max_iter=2000,
        ).fit(X, labels=labels)
        ends.append([*mixture.weights_, *mixture.means_[:, 0], *mixture.covariances_])
    assert_allclose(ends, np.tile(ends[0], (len(ends), 1)), rtol=1e-4)
    assert_allclose(ends[0], [0.6, 0.4, CAR, TRUCK, 1.0, 4.0], rtol=0.15)


def test_all_labels_known_matches_scipy(iris):
    # An independent evaluation of both densities at the closed-form estimates.
    X, species = iris
    weights = np.bincount(species) / 150
    densities = np.stack(
        [
            multivariate_normal(
                X[species == k].mean(axis=0), np.cov(X[species == k].T, ddof=0)
            ).logpdf(X)
            for k in range(3)
        ],
        axis=1,
    ) + np.log(weights)
    mixture = GaussianMixture(3, **GAUSSIAN).fit(X, labels=species)
    assert_allclose(
        mixture.score_samples(X), np.logaddexp.reduce(densities, axis=1), rtol=1e-9, atol=1e-9
    )
    joint = densities[np.arange(150), species].mean()
    assert mixture.lower_bound_ == pytest.approx(joint, rel=1e-10)
