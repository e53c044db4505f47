"""Sequences that are long, and states that are far apart: what scaled numbers could lose."""

import tracemalloc

import numpy as np
import pytest

import chain_oracle
from emfast import GaussianHMM, GaussianMixture


def given(means, transmat, startprob=None, *, deviation=1.0, **arguments):
    means = np.asarray(means, float).reshape(len(means), -1)
    return GaussianHMM(
        len(means),
        startprob_init=np.full(len(means), 1 / len(means)) if startprob is None else startprob,
        transmat_init=transmat,
        means_init=means,
        covars_init=np.full(means.shape, deviation**2),
        **{"max_iter": 0, **arguments},
    )


def log_densities(X, means, deviation=1.0):
    z = (X[:, None, 0] - np.asarray(means, float)) / deviation
    return -0.5 * (z**2 + np.log(2 * np.pi * deviation**2))


def test_one_sequence_of_many_steps_is_as_the_recursions_say():
    """It is recomputed in pieces, whose ends no number may betray."""
    n = 200_000
    rng = np.random.default_rng(0)
    states = np.cumsum(rng.uniform(size=n) < 0.02) % 3
    means, transmat = [0.0, 1.0, 3.0], np.array([[0.98, 0.02, 0], [0, 0.98, 0.02], [0.02, 0, 0.98]])
    X = np.array(means)[states][:, None] + rng.normal(size=(n, 1))
    hmm = given(means, transmat).fit(X)

    truth = chain_oracle.forward_backward(log_densities(X, means), np.full(3, 1 / 3), transmat)
    total, posteriors = hmm.score_samples(X)
    np.testing.assert_allclose(total, truth.log_likelihood, rtol=1e-11)
    np.testing.assert_allclose(posteriors, truth.posteriors, atol=1e-8)
    path, joint = chain_oracle.viterbi(log_densities(X, means), np.full(3, 1 / 3), transmat)
    found = hmm.decode(X)
    np.testing.assert_allclose(found[0], joint, rtol=1e-11)
    np.testing.assert_array_equal(found[1], path)
    hmm.set_params(max_iter=1, tol=0).fit(X)
    transitions = truth.transitions / truth.transitions.sum(axis=1)[:, None]
    np.testing.assert_allclose(hmm.transmat_, transitions, rtol=1e-8)
    np.testing.assert_array_equal(hmm.transmat_ == 0, transmat == 0)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("distance", [10.0, 60.0, 300.0])
def test_states_that_are_far_apart_lose_no_path(precision, distance):
    """Densities of a row differ by exp(-d^2 / 2), far below the smallest number."""
    rng = np.random.default_rng(0)
    states = np.array([0] * 5 + [1] * 5 + [2] * 5)
    means = distance * np.arange(3)
    X = (means[states][:, None] + rng.normal(size=(15, 1))).astype(precision)
    # The first row is of a state that no sequence begins in, and rows skip states: every path has
    # rows that are far from the means of its states.
    X[0] = means[2]
    X[7] = means[0]
    startprob = np.array([1.0, 0, 0])
    left_right = np.array([[0.8, 0.2, 0], [0, 0.8, 0.2], [0, 0, 1.0]])
    hmm = given(means, left_right, startprob).fit(X)
    truth = chain_oracle.forward_backward(
        log_densities(X.astype(float), means), startprob, left_right
    )
    total, posteriors = hmm.score_samples(X)
    tolerance = {"float64": 1e-10, "float32": 1e-5}[precision]
    np.testing.assert_allclose(total, truth.log_likelihood, rtol=tolerance)
    atol = {"float64": 1e-6, "float32": 2e-2}[precision]
    np.testing.assert_allclose(posteriors, truth.posteriors, atol=atol)
    path, joint = chain_oracle.viterbi(log_densities(X.astype(float), means), startprob, left_right)
    found = hmm.decode(X)
    np.testing.assert_allclose(found[0], joint, rtol=tolerance)
    np.testing.assert_array_equal(found[1], path)


def test_cycle_whose_rows_are_one_step_ahead():
    """Every path is wrong in every row, by 60 standard deviations or more."""
    means, n = 60.0 * np.arange(3), 400
    cycle = np.roll(np.eye(3), 1, axis=1)
    X = means[(np.arange(n) + 1) % 3][:, None]
    hmm = given(means, cycle, [1.0, 0, 0]).fit(X)
    path = np.arange(n) % 3
    expected = log_densities(X, means)[np.arange(n), path].sum()
    np.testing.assert_allclose(hmm.score(X), expected, rtol=1e-12)
    np.testing.assert_array_equal(hmm.predict(X), path)
    np.testing.assert_array_equal(hmm.predict_proba(X), np.eye(3)[path])


def test_transition_that_is_hardly_possible_is_taken_where_it_has_to_be():
    transmat = np.array([[1 - 1e-300, 1e-300], [0.0, 1.0]])
    X = np.r_[np.zeros(50), np.full(50, 100.0)][:, None]
    hmm = given([0.0, 100.0], transmat, [1.0, 0.0]).fit(X)
    truth = chain_oracle.forward_backward(
        log_densities(X, [0.0, 100.0]), np.array([1.0, 0.0]), transmat
    )
    np.testing.assert_allclose(hmm.score(X), truth.log_likelihood, rtol=1e-12)
    np.testing.assert_array_equal(hmm.predict(X), np.repeat([0, 1], 50))
    hmm.set_params(max_iter=1, tol=0).fit(X)
    np.testing.assert_allclose(hmm.transmat_, [[49 / 50, 1 / 50], [0, 1]], rtol=1e-9)


def test_many_sequences_of_one_row_are_a_mixture():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 1)) + 4 * rng.integers(0, 2, (5000, 1))
    hmm = given([0.0, 4.0], np.full((2, 2), 0.5), max_iter=20, tol=0).fit(X, np.ones(5000, int))
    mixture = GaussianMixture(
        2,
        covariance_type="diag",
        weights_init=[0.5, 0.5],
        means_init=[[0.0], [4.0]],
        covariances_init=[[1.0], [1.0]],
        max_iter=20,
        tol=0,
    ).fit(X)
    np.testing.assert_allclose(hmm.startprob_, mixture.weights_, rtol=1e-9)
    np.testing.assert_allclose(hmm.means_, mixture.means_, rtol=1e-9)
    np.testing.assert_allclose(hmm.lower_bounds_, mixture.lower_bounds_, rtol=1e-11)
    # Nobody has seen a transition.
    np.testing.assert_array_equal(hmm.transmat_, 0.5)


def test_order_of_sequences_does_not_matter_and_that_of_rows_does():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 50, 30)
    X = np.cumsum(rng.normal(size=(lengths.sum(), 1)), axis=0)
    hmm = given([-5.0, 5.0], [[0.9, 0.1], [0.1, 0.9]]).fit(X)
    parts = np.split(X, np.cumsum(lengths)[:-1])
    order = rng.permutation(30)
    shuffled = np.concatenate([parts[i] for i in order])
    np.testing.assert_allclose(hmm.score(shuffled, lengths[order]), hmm.score(X, lengths))
    assert hmm.score(rng.permutation(X)) < hmm.score(X) - 1


def test_no_posteriors_of_all_rows_are_held():
    n, K = 400_000, 16
    X = np.random.default_rng(0).normal(size=(n, 1))
    hmm = given(np.linspace(-2, 2, K), np.full((K, K), 1 / K), max_iter=1, tol=0)
    tracemalloc.start()
    try:
        hmm.fit(X).score(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < n * K * 8 / 4
