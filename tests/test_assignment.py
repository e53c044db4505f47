"""What the E-step makes of responsibilities: soft, hard and stochastic assignment."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.cluster import KMeans

import emcore
import oracle
from emfast import BernoulliMixture, GaussianMixture, em
from emfast.data import Plan, surveyed
from emfast.exceptions import ConvergenceWarning
from emfast.latent import MixtureWeights
from emfast.storage import persistence
from families import (
    LABELS,
    Shape,
    all_numbers,
    allowed_of,
    another_model,
    assert_same_bits,
    fit,
    fitted,
    instruction_set,
    over_families,
    over_instruction_sets,
    problem,
    random_labels,
    setting,
)

# Of 1 + |objective|, as for law 3.
ROUNDING = {"float64": 1e-12, "float32": 2e-6}


def assigned(family, X, assignment, *, seed=0, **arguments):
    steps = problem(family, X, **arguments)
    return replace(steps, latent=MixtureWeights(assignment=assignment, seed=seed))


def joint_log_densities(family, case, model):
    return family.log_densities(case.X, model.emission) + np.log(model.latent)


# Hard


@over_instruction_sets
@over_families
@pytest.mark.parametrize("K", [1, 2, 3, 5])
@pytest.mark.parametrize("known", LABELS)
def test_hard_estep_is_that_of_the_oracle(family, precision, known, K, instructions):
    shape = Shape(700, 3, K, 7)
    case = setting(family, precision, shape)
    model, rng = another_model(family, shape), shape.rng()
    weights = rng.integers(0, 3, shape.n).astype(float)
    labels = random_labels(known, rng, shape.n, K)
    joint = joint_log_densities(family, case, model)
    allowed = allowed_of(labels, K)
    if allowed is not None:
        joint = np.where(allowed, joint, -np.inf)
    best = joint.argmax(axis=1)
    gaps = np.sort(joint, axis=1)
    # Rows that rounding may send to either of two components.
    close = K > 1 and (gaps[:, -1] - gaps[:, -2] < 1e-4)
    weights[close] = 0
    with instruction_set(instructions):
        steps = assigned(family, case.X, "hard", weights=weights, labels=labels)
        statistics = steps.estep(model)
    r = weights[:, None] * (best[:, None] == np.arange(K))
    assert_array_equal(statistics.counts, r.sum(axis=0))
    assert_allclose(statistics.log_likelihood, joint.max(axis=1) @ weights,
                    rtol=1e-10 if precision == "float64" else 1e-5)  # fmt: skip
    family = family.under(model.emission)
    expected = family.true_statistics(case.X, r, family.origin(statistics.emission))
    scale = family.magnitudes(case.X, r, family.origin(statistics.emission))
    for name, value in family.statistics(statistics.emission).items():
        eps = np.finfo(precision).eps
        assert np.all(abs(value - expected[name]) <= 100 * eps * (scale[name] + 1)), name


@over_families
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("known", LABELS)
def test_classification_likelihood_never_falls(family, precision, known, seed):
    shape = Shape(333, 3, 3, seed)
    case, rng = setting(family, precision, shape), Shape(333, 3, 3, seed).rng()
    steps = assigned(
        family, case.X, "hard", weights=rng.uniform(0, 2, 333),
        labels=random_labels(known, rng, 333, 3), regular=1e-6,
    )  # fmt: skip
    trace = em.maximize(steps, another_model(family, shape), tol=0, max_iter=12)
    falls = -np.diff(trace.objectives)
    rounding = ROUNDING[precision] * (1 + np.abs(trace.objectives[1:]))
    fall = family.fall(trace.model.emission, trace.model.latent, 1e-6)
    assert np.all(falls <= rounding + 3 * fall)


def test_ties_go_to_the_first_component():
    X = np.array([[-1.0], [0.0], [0.0], [1.0]])
    mixture = GaussianMixture(
        2, means_init=[[-1.0], [1.0]], covariances_init=[1.0, 1.0], covariance_type="spherical",
        weights_init="equal", fixed=("weights", "covariances"), assignment="hard", max_iter=1,
        tol=0,
    ).fit(X)  # fmt: skip
    assert_allclose(mixture.means_, [[-1 / 3], [1]], atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("K", [2, 3, 8])
@pytest.mark.parametrize("D", [1, 2, 7])
def test_fixed_equal_weights_and_spherical_covariances_are_k_means(D, K, dtype):
    """Law 10."""
    rng = np.random.default_rng([D, K])
    X = (rng.normal(size=(1500, D)) + 3 * rng.integers(0, 3, (1500, 1))).astype(dtype)
    centres = X[rng.choice(1500, K, replace=False)]
    kmeans = KMeans(K, init=centres, n_init=1, tol=0, max_iter=300, algorithm="lloyd").fit(X)
    hard = GaussianMixture(
        K, covariance_type="spherical", weights_init="equal", means_init=centres,
        covariances_init=np.full(K, 2.0), fixed=("weights", "covariances"), assignment="hard",
        tol=0, max_iter=kmeans.n_iter_ + 2,
    )  # fmt: skip
    assert_array_equal(hard.fit_predict(X), kmeans.labels_)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    assert_allclose(hard.means_, kmeans.cluster_centers_, rtol=tolerance, atol=tolerance)
    # The objective is the inertia, but for constants.
    constant = -0.5 * D * np.log(2 * np.pi * 2.0) - np.log(K)
    assert_allclose(hard.lower_bound_, constant - kmeans.inertia_ / 1500 / 4, rtol=1e-5)


def test_classification_em_of_binary_features():
    """Two kinds of rows that soft assignment mixes: by hand, row by row."""
    X = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1], [1, 1, 1]])
    p = np.array([[0.8, 0.6, 0.2], [0.3, 0.4, 0.9]])
    w = np.array([0.5, 0.5])
    for _ in range(3):
        z = (oracle.bernoulli_log_densities(X, p) + np.log(w)).argmax(axis=1)
        w = np.bincount(z, minlength=2) / 5
        p = np.stack([X[z == k].mean(axis=0) for k in range(2)])
    mixture = BernoulliMixture(
        2, probabilities_init=[[0.8, 0.6, 0.2], [0.3, 0.4, 0.9]], weights_init="equal",
        assignment="hard", tol=0, max_iter=3,
    ).fit(X)  # fmt: skip
    assert_allclose(mixture.probabilities_, p, rtol=1e-14)
    assert_allclose(mixture.weights_, w)
    z = (oracle.bernoulli_log_densities(X, p) + np.log(w)).max(axis=1)
    assert_allclose(mixture.lower_bound_, z.mean())
    # Predictions are those of the mixture.
    assert_allclose(mixture.predict_proba(X).sum(axis=1), 1)
    assert mixture.score(X) >= mixture.lower_bound_


def test_hard_fit_converges_and_keeps_labels():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)) + 4 * rng.integers(0, 3, (400, 1))
    labels = np.full(400, -1)
    labels[:20] = np.arange(20) % 3
    mixture = GaussianMixture(3, assignment="hard", random_state=0).fit(X, labels=labels)
    assert mixture.converged_
    assert mixture.n_iter_ < 100
    z = mixture.predict_proba(X, labels=labels).argmax(axis=1)
    joint = mixture.score_samples(X, labels=z).mean()
    assert_allclose(mixture.lower_bound_, joint, rtol=1e-12)
    starts = GaussianMixture(3, assignment="hard", n_init=4, random_state=0).fit(X)
    assert starts.lower_bound_ == max(restart.score for restart in starts.restarts_)


# Stochastic


def test_the_generator_is_splitmix64():
    # Outputs for seed 1234567 of the reference implementation in C (Vigna, 2015).
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423,
                4593380528125082431, 16408922859458223821]  # fmt: skip
    golden, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    outputs = []
    for n in range(5):
        z = 1234567 + (n + 1) * golden & mask
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        outputs.append(z ^ (z >> 31))
    assert outputs == expected


@over_instruction_sets
@over_families
def test_draws_follow_responsibilities_and_numbers_of_the_row(family, precision, instructions):
    shape = Shape(900, 3, 4, 3)
    case = setting(family, precision, shape)
    weights = np.ones(900)
    weights[::7] = 0
    model = another_model(family, shape)._replace(iteration=5)
    r, log_likelihoods = oracle.respond(family.log_densities(case.X, model.emission), model.latent)
    z, clear = oracle.drawn(r, 11, 5, case.X.dtype)
    weights[~clear] = 0
    with instruction_set(instructions):
        steps = assigned(family, case.X, "stochastic", seed=11, weights=weights)
        statistics = steps.estep(model)
    one_hot = weights[:, None] * (z[:, None] == np.arange(4))
    assert_array_equal(statistics.counts, one_hot.sum(axis=0))
    # The objective is the likelihood, whatever was drawn.
    assert_allclose(statistics.log_likelihood, weights @ log_likelihoods,
                    rtol=1e-10 if precision == "float64" else 1e-5)  # fmt: skip
    family = family.under(model.emission)
    expected = family.true_statistics(case.X, one_hot, family.origin(statistics.emission))
    scale = family.magnitudes(case.X, one_hot, family.origin(statistics.emission))
    for name, value in family.statistics(statistics.emission).items():
        eps = np.finfo(precision).eps
        assert np.all(abs(value - expected[name]) <= 100 * eps * (scale[name] + 1)), name


@over_families
def test_draws_are_the_same_for_any_threads(family, precision):
    case = setting(family, precision, Shape(5000, 3, 3, 1))
    for seed in (0, 1):
        one, *others = [
            all_numbers(
                assigned(family, case.X, "stochastic", seed=seed, threads=threads).estep(
                    case.model
                ),
                family,
            )
            for threads in (1, 2, 3, 8)
        ]
        for other in others:
            assert_same_bits(other, one)


@over_families
def test_draws_are_the_same_for_any_batches(family, precision):
    """Rows in several batches: numbers are those of the row in the source."""
    case = setting(family, precision, Shape(1000, 3, 3, 1))
    whole = assigned(family, case.X, "stochastic", seed=3)

    batches = [
        whole.source.batch.part(start, min(start + 130, 1000)) for start in range(0, 1000, 130)
    ]
    parts = replace(whole, source=surveyed(lambda survey: iter(batches), Plan(1, 100, 0)))
    assert_array_equal(parts.estep(case.model).counts, whole.estep(case.model).counts)


def test_draws_differ_by_seed_and_iteration():
    X = np.zeros((4000, 1))
    emission_of = GaussianMixture(2, covariance_type="diag")._emission()
    parameters = emission_of.parameters(np.zeros((2, 1)), np.ones((2, 1)))
    kernels = emcore.kernels("float64")
    counts = set()
    for seed in range(3):
        for iteration in range(3):
            partial = np.zeros((1, 2 + 2 + 4))
            kernels.expectation(
                kernels.MixtureWeights(
                    np.log([0.3, 0.7]), assignment="stochastic", seed=seed, iteration=iteration
                ),
                emission_of.kernel(parameters, np.full(2, 0.5), kernels),
                X, partial, 4032, 1,
            )  # fmt: skip
            assert partial[0, 2] + partial[0, 3] == 4000
            assert abs(partial[0, 2] - 1200) < 4 * np.sqrt(4000 * 0.3 * 0.7)
            counts.add(partial[0, 2])
    assert len(counts) > 5


@pytest.mark.filterwarnings("ignore::emfast.exceptions.DegenerateComponentWarning")
@over_families
def test_stochastic_fits_repeat_and_go_on(family, precision):
    case = setting(family, precision, Shape(600, 3, 3, 0))
    start = another_model(family, Shape(600, 3, 3, 0))
    arguments = {"assignment": "stochastic", "tol": 1e-3}

    def run(**others):
        return fit(family, case.X, start, **{**arguments, **others})

    whole = run(random_state=4, max_iter=10)
    assert whole.n_iter_ == 10
    again = fitted(family, run(random_state=4, max_iter=10, n_threads=3), start)
    assert_same_bits(again, fitted(family, whole, start))
    other = run(random_state=5, max_iter=10)
    assert not np.array_equal(other.lower_bounds_, whole.lower_bounds_)
    # Draws go on where those of an earlier fit ended.
    parts = run(random_state=4, max_iter=6, warm_start=True)
    parts.set_params(max_iter=4).fit(case.X)
    assert_same_bits(fitted(family, parts, start), fitted(family, whole, start))
    # The objective is the likelihood.
    assert_allclose(whole.score(case.X), whole.lower_bound_, rtol=1e-5)


def test_stochastic_fit_ends_without_warnings():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2)) + 5 * rng.integers(0, 2, (500, 1))
    mixture = GaussianMixture(2, assignment="stochastic", random_state=0, max_iter=30, n_init=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixture.fit(X)
    assert mixture.n_iter_ == 30
    assert not mixture.converged_
    soft = GaussianMixture(2, random_state=0).fit(X)
    assert_allclose(np.sort(mixture.means_, axis=0), np.sort(soft.means_, axis=0), atol=0.2)
    with pytest.warns(ConvergenceWarning):
        GaussianMixture(2, assignment="hard", random_state=0, max_iter=1, tol=1e-9).fit(
            X + rng.normal(scale=2, size=X.shape)
        )


def test_stochastic_assignment_leaves_a_saddle():
    """Components that begin alike stay alike without draws."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 1)) + 8 * rng.integers(0, 2, (400, 1))
    start = {"means_init": [[4.0], [4.0]], "covariances_init": [[[9.0]], [[9.0]]]}
    arguments = {"weights_init": "equal", "tol": 0, "max_iter": 200, "random_state": 0, **start}
    soft = GaussianMixture(2, **arguments).fit(X)
    assert_allclose(soft.means_[0], soft.means_[1], atol=1e-3)
    drawn = GaussianMixture(2, assignment="stochastic", **arguments).fit(X)
    assert drawn.lower_bound_ > soft.lower_bound_ + 0.3
    assert_allclose(np.sort(drawn.means_.ravel()), [0, 8], atol=0.3)


@pytest.mark.parametrize("assignment", ["hard", "stochastic"])
def test_many_rows(assignment):
    """Through subsamples and a race."""
    rng = np.random.default_rng(0)
    z = rng.integers(0, 3, 60_000)
    X = rng.normal(size=(60_000, 2)) + 6 * np.array([[0, 0], [1, 0], [0, 1]])[z]
    mixture = GaussianMixture(3, assignment=assignment, n_init=3, random_state=0, max_iter=20)
    mixture.fit(X)
    order = np.lexsort((mixture.means_[:, 1].round(), mixture.means_[:, 0].round()))
    assert_allclose(mixture.means_[order], [[0, 0], [0, 6], [6, 0]], atol=0.1)
    assert [restart.won for restart in mixture.restarts_].count(True) == 1


# As an argument


def test_survives_clone_and_a_file(tmp_path):
    X = np.random.default_rng(0).normal(size=(100, 2))
    mixture = GaussianMixture(2, assignment="stochastic", random_state=0, max_iter=5)
    assert clone(mixture).fit(X).lower_bound_ == mixture.fit(X).lower_bound_
    persistence.save(mixture, tmp_path / "stochastic.npz")
    loaded = persistence.load(tmp_path / "stochastic.npz")
    assert loaded.assignment == "stochastic"
    assert_array_equal(loaded.predict_proba(X), mixture.predict_proba(X))


@pytest.mark.parametrize("value", ["harder", None, True])
def test_bad_assignment(value):
    with pytest.raises(ValueError, match="assignment"):
        GaussianMixture(2, assignment=value).fit(np.zeros((3, 1)))
    with pytest.raises((TypeError, ValueError)):
        emcore.kernels("float64").MixtureWeights(np.zeros(2), assignment=str(value))
