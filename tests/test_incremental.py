"""Incremental EM as people ask for it; its law is in `laws/test_law3_incremental.py`."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from emfast import (
    GaussianHMM,
    GaussianMixture,
    LinearRegressionMixture,
    MixtureClassifier,
    MixtureOfExperts,
    PoissonMixture,
    em,
)
from emfast.data import Batch, Plan, SequenceSource, surveyed
from emfast.datasets import make_gaussian_mixture
from emfast.latent import MixtureWeights
from emfast.problems.grid import GridProblem
from emfast.problems.incremental import BLOCKS, IncrementalProblem, n_blocks
from families import FAMILIES, Shape, emission_of, over_families, problem, random_labels, setting

X, _ = make_gaussian_mixture(6000, 3, 4, separation=2, random_state=1)
START = {"weights_init": "equal", "means_init": X[:4], "covariances_init": [np.eye(3)] * 4}


FAMILY = FAMILIES[0]
CASE = setting(FAMILY, "float64", Shape(300, 3, 2, 0))


def impossible_labels(row):
    """Sets of components, of which a row has none."""
    labels = random_labels("allowed", np.random.default_rng(0), 300, 2)
    labels.allowed[row] = 0
    return labels


def passes(within, **arguments):
    """How many passes lead within so much of the best mean log-likelihood."""
    found = []
    mixture = GaussianMixture(
        4, max_iter=200, tol=0, callback=lambda iteration: found.append(iteration.model), **START,
        **arguments,
    ).fit(X)  # fmt: skip
    scores = np.array([score(mixture, model) for model in found])
    return int((scores.max() - scores > within).sum()), scores.max()


def score(mixture, model):
    mixture._set_model(model, np.dtype(float))
    return mixture.score(X)


def test_fewer_passes_lead_as_far_where_components_overlap():
    batch, incremental = passes(1e-4), passes(1e-4, incremental=True)
    assert abs(batch[1] - incremental[1]) < 1e-3
    assert incremental[0] < 0.7 * batch[0]


@pytest.mark.parametrize("threads", [2, 3])
def test_the_same_bits_for_any_number_of_threads(threads):
    one, many = (
        GaussianMixture(4, max_iter=3, tol=0, incremental=True, n_threads=n, **START).fit(X)
        for n in (1, threads)
    )
    assert_array_equal(many.covariances_, one.covariances_)
    assert_array_equal(many.lower_bounds_, one.lower_bounds_)


def test_the_bound_is_below_the_log_likelihood_and_reaches_it():
    short = GaussianMixture(4, max_iter=2, tol=0, incremental=True, **START).fit(X)
    assert short.lower_bound_ < short.score(X)
    long = GaussianMixture(4, max_iter=1000, tol=1e-9, incremental=True, **START).fit(X)
    assert long.converged_
    assert_allclose(long.lower_bound_, long.score(X), atol=1e-7)


def test_several_starts_share_the_tolerance_of_others():
    mixture = GaussianMixture(
        4, n_init=3, incremental=True, tol=1e-4, max_iter=500, random_state=0
    ).fit(X)
    other = GaussianMixture(4, n_init=3, tol=1e-4, max_iter=500, random_state=0).fit(X)
    assert abs(mixture.score(X) - other.score(X)) < 1e-3
    assert len(mixture.restarts_) == 3


def test_noise_prior_labels_and_weights_go_along():
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(6000) < 0.1, rng.integers(0, 4, 6000), -1)
    weights = rng.uniform(0, 2, 6000)
    arguments = {"noise": True, "prior": {"weight_concentration_prior": 3.0}, "tol": 1e-8,
                 "max_iter": 3000, "weights_init": [0.2] * 4, "means_init": X[:4],
                 "covariances_init": [np.eye(3)] * 4}  # fmt: skip
    fits = [
        GaussianMixture(4, incremental=incremental, **arguments).fit(
            X, labels=labels, sample_weight=weights
        )
        for incremental in (False, True)
    ]
    assert_allclose(fits[1].lower_bound_, fits[0].lower_bound_, atol=1e-6)
    assert_allclose(fits[1].means_, fits[0].means_, atol=1e-2)


def test_collapsed_counts():
    rng = np.random.default_rng(0)
    counts = rng.poisson(np.where(rng.random((20_000, 1)) < 0.5, 1.0, 5.0), (20_000, 2))
    fits = [
        PoissonMixture(2, tol=1e-10, max_iter=1000, incremental=incremental, random_state=0).fit(
            counts
        )
        for incremental in (False, True)
    ]
    assert_allclose(np.sort(fits[1].rates_, axis=0), np.sort(fits[0].rates_, axis=0), rtol=1e-3)


def test_sequences_and_regressions():
    lengths = np.full(60, 100)
    hmm = GaussianHMM(3, incremental=True, random_state=0, max_iter=300, tol=1e-5)
    other = GaussianHMM(3, random_state=0, max_iter=300, tol=1e-5).fit(X, lengths)
    assert abs(hmm.fit(X, lengths).score(X, lengths) - other.score(X, lengths)) / 6000 < 1e-2
    regression = LinearRegressionMixture(2, incremental=True, random_state=0, max_iter=500)
    assert regression.fit(X[:, :2], X[:, 2]).lower_bound_ > -np.inf


@pytest.mark.parametrize("size", [1, 7, 200])
def test_sequences_that_come_in_batches_have_the_same_fit_to_the_bit(size):
    ends = np.concatenate([[0], np.cumsum(np.random.default_rng(0).integers(1, 60, 200))])
    ends = ends[ends <= len(X)]
    sequences = [X[first:end] for first, end in pairwise(ends)]

    class Rows:
        def __iter__(self):
            return (sequences[i : i + size] for i in range(0, len(sequences), size))

    start = {"startprob_init": [0.5, 0.5], "transmat_init": [[0.9, 0.1], [0.2, 0.8]],
             "means_init": X[:2], "covars_init": np.ones((2, 3))}  # fmt: skip
    one, many = (GaussianHMM(2, incremental=True, max_iter=3, tol=0, **start) for _ in range(2))
    one.fit(X[: ends[-1]], np.diff(ends))
    many.fit(Rows())
    assert_array_equal(many.lower_bounds_, one.lower_bounds_)
    assert_array_equal(many.means_, one.means_)
    assert one.summarize(X[: ends[-1]], np.diff(ends)).weight == one.summarize(Rows()).weight


def test_a_warm_start_goes_on():
    mixture = GaussianMixture(4, incremental=True, warm_start=True, tol=0, max_iter=3, **START)
    before = mixture.fit(X).lower_bound_
    assert mixture.fit(X).lower_bounds_[0] > before


def test_inside_a_classifier():
    labels = np.where(X[:, 0] > 0, "a", "b")
    classifier = MixtureClassifier(
        GaussianMixture(incremental=True, random_state=0), components_per_class=2
    )
    assert classifier.fit(X, labels).score(X, labels) > 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"accelerate": True}, "accelerate: found True with incremental=True"),
        ({"assignment": "stochastic"}, "assignment: found 'stochastic' with incremental=True"),
    ],
)
def test_what_it_does_not_go_with(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(2, incremental=True, **arguments).fit(X)


def test_a_gate_has_no_such_argument():
    assert "incremental" not in MixtureOfExperts().get_params()
    with pytest.raises(TypeError, match="do not tell"):
        MixtureOfExperts(2, random_state=0).fit(X[:200, :2], X[:200, 2])._latent() \
            .expected_log_density(None, None)  # fmt: skip


def test_an_impossible_row_is_named_by_its_place_among_all():
    batch = problem(FAMILY, CASE.X, labels=impossible_labels(250))
    with pytest.raises(ValueError, match="row 250 "):
        IncrementalProblem(batch).estep(CASE.model)


def test_blocks_are_as_many_as_shapes_say():
    assert n_blocks(10**6, 100) == BLOCKS
    assert n_blocks(100, 100) == 6
    assert n_blocks(1, 1) == 1
    # 64 components, full, of 200 features: the statistics of a block are 20 MB.
    assert 2 <= n_blocks(10**6, 64 * 200 * 201) < BLOCKS


def test_blocks_of_sequences_are_whole_ones():
    rng = np.random.default_rng(0)
    ends = np.concatenate([[0], np.cumsum(rng.integers(1, 40, 50))])
    weights = rng.uniform(size=50)
    source = SequenceSource(Batch(rng.normal(size=(ends[-1], 2)), weights, sequences=ends))
    blocks = source.blocks(8)
    assert 1 < len(blocks) <= 8
    assert [block.first_row for block in blocks] == [
        0, *np.cumsum([block.n_rows for block in blocks])[:-1]
    ]  # fmt: skip
    assert {block.first_row for block in blocks} <= set(ends)
    assert_array_equal(np.vstack([block.batch.X for block in blocks]), source.batch.X)
    assert_array_equal(np.concatenate([block.batch.weights for block in blocks]), weights)
    lengths = np.concatenate([block.batch.lengths for block in blocks])
    assert_array_equal(lengths, np.diff(ends))


@over_families
@pytest.mark.parametrize("cuts", [[300], [1, 2, 64, 500, 511], [599]])
def test_rows_that_come_in_batches_have_the_same_fit_to_the_bit(family, precision, cuts):
    case = setting(family, precision, Shape(600, 4, 3, 5))
    rng = np.random.default_rng(0)
    weights, labels = rng.uniform(0.1, 2, 600), random_labels("component", rng, 600, 3)
    parts = [
        family.batch(case.X[rows], weights[rows], labels.take(rows))
        for rows in np.split(np.arange(600), cuts)
    ]
    emission = emission_of(family, case.X)
    source = surveyed(lambda survey: iter(parts), Plan(1, 100, 0))
    whole = problem(family, case.X, weights=weights, labels=labels)
    one, many = (
        em.maximize(IncrementalProblem(each), case.model, max_iter=3, tol=0)
        for each in (whole, GridProblem(MixtureWeights(), emission, source, 1))
    )
    assert many.objectives == one.objectives
    for name, values in family.named(one.model.emission).items():
        assert_array_equal(family.named(many.model.emission)[name], values)
