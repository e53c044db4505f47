"""Parameters that are known: groups, single components, and starts that are given for some."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import oracle
from emfast import BernoulliMixture, GaussianMixture, em
from emfast.datasets import make_cars_and_trucks
from emfast.latent import MixtureWeights
from emfast.parts.known import Known
from emfast.storage import persistence
from families import (
    Shape,
    another_model,
    fit,
    fitted,
    over_families,
    problem,
    setting,
)

FIRST = [True, False, False]


def component_groups(family, model):
    return [name for name in family.named(model.emission) if name not in family.shared]


# One M-step


@over_families
@pytest.mark.parametrize("seed", range(3))
def test_mstep_moves_only_components_that_are_not_known(family, precision, seed):
    case = setting(family, precision, Shape(400, 3, 3, seed))
    start = another_model(family, Shape(400, 3, 3, seed))
    free = problem(family, case.X)
    statistics = free.estep(start)
    moved = family.named(free.mstep(statistics, start).emission)
    before = family.named(start.emission)
    for group in component_groups(family, start):
        steps = problem(family, case.X)
        steps.emission.fixed = Known({group: np.array(FIRST)})
        after = family.named(steps.mstep(statistics, start).emission)
        assert_array_equal(after[group][0], before[group][0])
        assert_array_equal(after[group][1:], moved[group][1:])


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical", "tied"])
def test_covariances_are_about_the_means_that_are_known(covariance_type):
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(200, 2)), np.arange(200) % 2
    known = [[1.0, -1.0], None]
    mixture = GaussianMixture(
        2, covariance_type=covariance_type, means_init=known, fixed={"means": [True, False]},
        reg_covar=0, tol=0, max_iter=1,
    ).fit(X, labels=labels)  # fmt: skip
    r = (labels[:, None] == np.arange(2)).astype(float)
    means = np.array([[1.0, -1.0], X[labels == 1].mean(axis=0)])
    assert_allclose(mixture.means_, means, rtol=1e-12)
    expected = oracle.gaussian_covariances(X, r, covariance_type, means=means)
    assert_allclose(mixture.covariances_, expected, rtol=1e-10)


def test_free_weights_share_what_the_known_ones_leave():
    counts, weights = np.array([1.0, 2.0, 3.0, 6.0]), np.array([0.4, 0.3, 0.1, 0.2])
    latent = MixtureWeights(fixed={"weights": [True, False, False, False]})
    moved = latent.mstep(counts, weights)
    assert_allclose(moved, [0.4, *(0.6 * counts[1:] / 11)], rtol=1e-15)
    assert latent.n_parameters(4) == 2
    # No weight is free alone.
    latent = MixtureWeights(fixed={"weights": [True, True, True, False]})
    assert_allclose(latent.mstep(counts, weights), weights)
    assert latent.n_parameters(4) == 0
    # Of several weightings the free ones that are best are those above.
    rng = np.random.default_rng(0)
    others = np.concatenate(
        [np.full((1000, 1), 0.4), 0.6 * rng.dirichlet(np.ones(3), 1000)], axis=1
    )
    assert (np.log(others) @ counts).max() <= np.log(moved) @ counts


def test_free_weights_without_rows_stay():
    latent = MixtureWeights(fixed={"weights": [True, False, False]})
    weights = np.array([0.5, 0.2, 0.3])
    assert_array_equal(latent.mstep(np.array([9.0, 0, 0]), weights), weights)
    assert_allclose(latent.mstep(np.array([9.0, 1, 0]), weights), [0.5, 0.5, 0])


# Fits


@over_families
@pytest.mark.parametrize("seed", range(2))
def test_known_components_stay_and_the_objective_never_falls(family, precision, seed):
    case = setting(family, precision, Shape(500, 3, 3, seed))
    start = another_model(family, Shape(500, 3, 3, seed))
    for group in ("weights", *component_groups(family, start)):
        estimator = fit(family, case.X, start, fixed={group: FIRST}, max_iter=8, tol=0)
        before = {"weights": start.latent, **family.named(start.emission)}
        after = fitted(family, estimator, start)
        expected = before[group][0].astype(after[group].dtype)
        # Weights, and probabilities of levels, are divided by their sum.
        assert_allclose(after[group][0], expected, rtol=1e-15)
        assert not np.allclose(after[group][1:], before[group][1:])
        slack = {"float64": 1e-11, "float32": 1e-5}[precision] + 1e-3 * 3
        assert np.all(np.diff(estimator.lower_bounds_) > -slack)
        assert_allclose(after["weights"].sum(), 1, rtol=1e-6)


@over_families
def test_criteria_count_what_is_free(family, precision):
    case = setting(family, precision, Shape(300, 3, 3, 0))
    X = case.X
    everything = fit(family, X, case.model, max_iter=1, tol=0)
    total = everything._n_parameters()
    for group in component_groups(family, case.model):
        size = np.size(family.named(case.model.emission)[group][0])
        if size == 9 and group == "covariances":
            size = 6  # symmetric
        if group == "levels.probabilities":
            size -= 1  # probabilities sum to 1
        if family.name.startswith("categorical"):
            size -= 3
        estimator = fit(family, X, case.model, fixed={group: FIRST}, max_iter=1, tol=0)
        assert estimator._n_parameters() == total - size
        likelihood = estimator.score_samples(X).sum()
        assert_allclose(estimator.bic(X), -2 * likelihood + (total - size) * np.log(300))
        assert_allclose(estimator.aic(X), -2 * likelihood + 2 * (total - size))
    estimator = fit(family, X, case.model, fixed={"weights": FIRST}, max_iter=1, tol=0)
    assert estimator._n_parameters() == total - 1


@pytest.mark.filterwarnings("ignore::emfast.exceptions.DegenerateComponentWarning")
@over_families
def test_true_and_every_component_are_the_whole_group(family, precision):
    case = setting(family, precision, Shape(300, 3, 3, 0))
    start = another_model(family, Shape(300, 3, 3, 0))
    for group in ("weights", *component_groups(family, start)):
        fits = [
            fit(family, case.X, start, fixed=fixed, max_iter=4, tol=0)
            for fixed in ([group], {group: True}, {group: np.ones(3, bool)})
        ]
        for other in fits[1:]:
            assert_array_equal(other.lower_bounds_, fits[0].lower_bounds_)
        nothing = fit(family, case.X, start, fixed={group: np.zeros(3, bool)}, max_iter=4, tol=0)
        free = fit(family, case.X, start, max_iter=4, tol=0)
        assert_array_equal(nothing.lower_bounds_, free.lower_bounds_)


def test_cars_and_trucks_with_known_weights_and_variances_is_two_lines():
    X, labels = make_cars_and_trucks(random_state=0)
    mixture = GaussianMixture(2, covariance_type="spherical", fixed=("weights", "covariances"),
                              weights_init=[0.6, 0.4], covariances_init=[1, 4])  # fmt: skip
    mixture.fit(X, labels=labels)
    assert_allclose(mixture.means_, [[5], [10]], atol=0.1)
    assert_array_equal(mixture.weights_, [0.6, 0.4])
    assert_array_equal(mixture.covariances_, [1, 4])


def test_equal_weights():
    X, _ = make_cars_and_trucks(random_state=0)
    mixture = GaussianMixture(3, weights_init="equal", fixed=("weights",), random_state=0).fit(X)
    assert_array_equal(mixture.weights_, np.full(3, 1 / 3))
    assert mixture._n_parameters() == 6
    mixture = GaussianMixture(3, weights_init="equal", random_state=0).fit(X)
    assert not np.allclose(mixture.weights_, 1 / 3)


def test_a_very_narrow_known_component_stays_to_the_bit():
    """Its variance is below what rounding can tell from 0 among components so far apart."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(200, 1)), 1e6 + rng.normal(size=(200, 1))])
    for regular in (0, 1e-6):
        mixture = GaussianMixture(
            2, means_init=[[0.0], [1e6]], covariances_init=[[[1e-18]], [[1.0]]],
            fixed={"covariances": [True, False]}, reg_covar=regular, max_iter=3, tol=0,
        ).fit(X, labels=np.repeat([0, -1], 200))  # fmt: skip
        assert mixture.covariances_[0, 0, 0] == 1e-18
        assert_allclose(mixture.covariances_[1], np.var(X[200:]), rtol=1e-2)


def test_warm_start_keeps_known_components():
    X, _ = make_cars_and_trucks(random_state=0)
    mixture = GaussianMixture(
        2, means_init=[[5.0], None], fixed={"means": [True, False]}, warm_start=True,
        random_state=0, max_iter=3, tol=0,
    ).fit(X)  # fmt: skip
    mixture.set_params(means_init=[[4.5], None]).fit(X)
    assert mixture.means_[0, 0] == 4.5
    assert abs(mixture.means_[1, 0] - 10) < 1


# Starts that are given for some components


def test_components_that_are_not_given_find_what_is_left():
    X, _ = make_cars_and_trucks(random_state=0)
    mixture = GaussianMixture(
        2, means_init=[None, [5.0]], weights_init=[None, 0.6], precisions_init=[None, [[1.0]]],
        fixed={name: [False, True] for name in ("means", "weights", "covariances")},
        random_state=0,
    ).fit(X)  # fmt: skip
    assert mixture.means_[1, 0] == 5
    assert_allclose(mixture.weights_, [0.4, 0.6])
    assert_allclose(mixture.covariances_[:, 0, 0], [4, 1], rtol=0.2)
    assert_allclose(mixture.means_[0], 10, atol=0.3)


def test_what_is_given_is_where_em_begins():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    start = GaussianMixture(
        3, means_init=[None, [1.0, 2.0], None], covariances_init=[None, None, np.eye(2) * 7],
        weights_init=[0.2, None, None], max_iter=0, random_state=0,
    ).fit(X)  # fmt: skip
    assert_array_equal(start.means_[1], [1, 2])
    assert_allclose(start.covariances_[2], np.eye(2) * 7)
    assert start.weights_[0] == 0.2
    assert_allclose(start.weights_.sum(), 1)
    nowhere = start.means_[[0, 2]]
    assert len(np.unique(np.vstack([nowhere, [[1, 2]]]), axis=0)) == 3


def test_a_labelled_component_that_is_not_given_begins_at_its_rows():
    X = np.array([[0.0], [0.2], [5.0], [5.2], [9.0], [9.1]])
    start = GaussianMixture(
        3, means_init=[[9.0], None, None], max_iter=0, random_state=0
    ).fit(X, labels=[-1, -1, -1, 2, -1, -1])  # fmt: skip
    assert_allclose(start.means_, [[9.0], [0.1], [5.1]])


def test_a_bernoulli_component_that_is_known():
    rng = np.random.default_rng(0)
    p = np.array([[0.9, 0.8, 0.1, 0.2], [0.1, 0.3, 0.9, 0.6]])
    z = rng.integers(0, 2, 3000)
    X = (rng.uniform(size=(3000, 4)) < p[z]).astype(np.uint8)
    mixture = BernoulliMixture(
        2, probabilities_init=[None, p[1].tolist()], fixed={"probabilities": [False, True]},
        random_state=0,
    ).fit(X)  # fmt: skip
    assert_array_equal(mixture.probabilities_[1], p[1])
    assert_allclose(mixture.probabilities_[0], p[0], atol=0.05)


def test_a_component_known_to_be_impossible_for_its_labelled_row():
    mixture = BernoulliMixture(
        2, probabilities_init=[[0.0, 0.5], None], fixed={"probabilities": [True, False]}
    )
    X = [[1, 0], [1, 1], [0, 1], [0, 0]]
    assert mixture.fit(X, labels=[1, -1, -1, -1]).probabilities_[0, 0] == 0
    with pytest.raises(ValueError, match=r"row 1 .*zero likelihood"):
        mixture.fit(X, labels=[-1, 0, -1, -1])


# As arguments


def test_survives_clone_and_a_file(tmp_path):
    X, _ = make_cars_and_trucks(random_state=0)
    mixture = GaussianMixture(
        2, means_init=[[5.0], None], weights_init="equal", random_state=0,
        fixed={"means": np.array([True, False]), "weights": True},
    )  # fmt: skip
    twin = clone(mixture)
    assert_array_equal(twin.fit(X).means_, mixture.fit(X).means_)
    persistence.save(mixture, tmp_path / "known.npz")
    loaded = persistence.load(tmp_path / "known.npz")
    assert loaded.fixed["means"].tolist() == [True, False]
    assert loaded.fixed["weights"] is True
    assert loaded.means_init == [[5.0], None]
    assert loaded.bic(X) == mixture.bic(X)
    assert_array_equal(loaded.fit(X).means_, mixture.means_)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fixed": {"means": FIRST}}, r"fixed: 'means'.*means_init is None"),
        ({"fixed": {"means": FIRST}, "means_init": [None, [1], [2]]},
         r"fixed: 'means' of component 0.*means_init has None"),
        ({"fixed": ("means",), "means_init": [[1], None, [2]]}, r"'means' of component 1"),
        ({"fixed": {"means": [True, False]}}, r"fixed: found \[True, False\] for 'means'.*3 comp"),
        ({"fixed": {"means": "all"}}, r"fixed: found 'all' for 'means'"),
        ({"fixed": {"means": [1, 0, 0]}}, r"fixed: found \[1, 0, 0\]"),
        ({"fixed": {"rates": True}}, "fixed: found 'rates'"),
        ({"fixed": {"covariances": FIRST}, "covariance_type": "tied", "covariances_init": [[1]]},
         "fixed: .*'covariances', which all components share"),
        ({"means_init": [None, None, None]}, "means_init: found None for every component"),
        ({"means_init": [[1], None]}, r"means_init: found shape \(2, 1\)"),
        ({"means_init": [[1], None, [np.nan]]}, "means_init: found nan"),
        ({"covariances_init": [None, [[1]], [[-1]]]}, r"covariances_init\[2\].*eigenvalue -1"),
        ({"covariances_init": [None], "covariance_type": "tied"}, "covariances_init"),
        ({"weights_init": [0.5, None, 0.5]}, "weights_init: found a sum of 1.0; expected less"),
        ({"weights_init": [-0.5, None, 0.5]}, "weights_init: found -0.5"),
        ({"weights_init": "same"}, "weights_init"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments, message):
    X = np.arange(12.0)[:, None]
    mixture = GaussianMixture(3, **arguments)
    with pytest.raises(ValueError, match=message):
        mixture.fit(X)
    assert not hasattr(mixture, "means_")


def test_known_parameters_in_the_driver():
    """As arguments of the emission itself."""
    from emfast.data import ArraySource, Batch
    from emfast.emissions import Gaussian
    from emfast.passes import Model
    from emfast.problems.grid import GridProblem

    X = np.concatenate([np.full(10, -1.0), np.arange(10.0)])[:, None]
    emission = Gaussian("diag", fixed={"means": [True, False]})
    start = Model(np.full(2, 0.5), emission.parameters(np.array([[-1.0], [3.0]]), np.ones((2, 1))))
    steps = GridProblem(MixtureWeights(), emission, ArraySource(Batch(X)), 1)
    model = em.maximize(steps, start, max_iter=5, tol=0).model
    assert model.emission.means[0] == -1
    assert model.emission.means[1] != 3
