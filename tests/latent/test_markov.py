"""The Markov chain as a latent structure: M-step, priors, coordinates, where it tends to."""

from dataclasses import replace

import numpy as np
import pytest

from chains import random_chain, walk
from emfast.data import Batch, offsets
from emfast.latent import MarkovChain
from emfast.latent.markov import (
    ChainParameters,
    ChainStatistics,
    numbers,
    reachable,
    stationary_distribution,
)

K = 3
FLAT = ChainParameters(np.full(K, 1 / K), np.full((K, K), 1 / K))
COUNTS = ChainStatistics(
    np.array([2.0, 1.0, 1.0]), np.array([[6.0, 3.0, 1.0], [0.0, 5.0, 5.0], [2.0, 2.0, 0.0]])
)


def chain_of(startprob, transmat):
    return ChainParameters(np.array(startprob, float), np.array(transmat, float))


LEFT_RIGHT = chain_of([1, 0, 0], [[0.9, 0.1, 0], [0, 0.8, 0.2], [0, 0, 1]])


def test_mstep_divides_counts_by_their_sums():
    model = MarkovChain().mstep(COUNTS, FLAT)
    np.testing.assert_allclose(model.startprob, [0.5, 0.25, 0.25])
    np.testing.assert_allclose(model.transmat, [[0.6, 0.3, 0.1], [0, 0.5, 0.5], [0.5, 0.5, 0]])


def test_state_without_transitions_keeps_its_row():
    transitions = COUNTS.transitions.copy()
    # What rounding leaves of a state that has starved is nothing, too.
    transitions[1], transitions[2] = 0, 1e-20
    model = MarkovChain().mstep(ChainStatistics(COUNTS.starts, transitions), LEFT_RIGHT)
    np.testing.assert_array_equal(model.transmat[1:], LEFT_RIGHT.transmat[1:])
    nothing = ChainStatistics(np.zeros(K), np.zeros((K, K)))
    model = MarkovChain().mstep(nothing, LEFT_RIGHT)
    np.testing.assert_array_equal(model.startprob, LEFT_RIGHT.startprob)
    np.testing.assert_array_equal(model.transmat, LEFT_RIGHT.transmat)


def test_known_parameters_stay():
    model = MarkovChain(fixed={"startprob": True, "transmat": [False, True, False]}).mstep(
        COUNTS, LEFT_RIGHT
    )
    np.testing.assert_array_equal(model.startprob, LEFT_RIGHT.startprob)
    np.testing.assert_array_equal(model.transmat[1], LEFT_RIGHT.transmat[1])
    np.testing.assert_allclose(model.transmat[0], [0.6, 0.3, 0.1])
    model = MarkovChain(fixed=("transmat",)).mstep(COUNTS, LEFT_RIGHT)
    np.testing.assert_array_equal(model.transmat, LEFT_RIGHT.transmat)
    np.testing.assert_allclose(model.startprob, [0.5, 0.25, 0.25])


def with_prior(prior, possible=None):
    latent = MarkovChain(possible=possible)
    latent.prior = latent.checked_prior(prior, K)
    return latent


def test_prior_counts_as_rows_that_nobody_has_seen():
    concentrations = np.arange(1.0, 10.0).reshape(K, K)
    latent = with_prior({"startprob_prior": 2.0, "transmat_prior": concentrations})
    model = latent.mstep(COUNTS, FLAT)
    starts, transitions = COUNTS.starts + 1, COUNTS.transitions + concentrations - 1
    np.testing.assert_allclose(model.startprob, starts / starts.sum())
    np.testing.assert_allclose(model.transmat, transitions / transitions.sum(axis=1)[:, None])
    expected = np.log(model.startprob).sum() + ((concentrations - 1) * np.log(model.transmat)).sum()
    np.testing.assert_allclose(latent.log_prior(model), expected)
    np.testing.assert_allclose(latent.with_prior_times(0.5).log_prior(model), expected / 2)


def test_mode_of_the_posterior_is_a_maximum():
    latent = with_prior({"startprob_prior": 1.5, "transmat_prior": 3.0})
    model = latent.mstep(COUNTS, FLAT)

    def objective(chain):
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = np.nansum(COUNTS.starts * np.log(chain.startprob))
            seen += np.nansum(COUNTS.transitions * np.log(chain.transmat))
        return seen + latent.log_prior(chain)

    rng = np.random.default_rng(0)
    for _ in range(50):
        other = random_chain(rng, K)
        near = chain_of(
            0.9 * model.startprob + 0.1 * other.startprob,
            0.9 * model.transmat + 0.1 * other.transmat,
        )
        assert objective(near) < objective(model)


def test_zeros_that_are_given_stay_zero_whatever_the_prior_says():
    possible = ChainParameters(LEFT_RIGHT.startprob > 0, LEFT_RIGHT.transmat > 0)
    latent = with_prior({"startprob_prior": 5.0, "transmat_prior": 5.0}, possible)
    counts = ChainStatistics(np.array([4.0, 0, 0]), 10 * LEFT_RIGHT.transmat)
    model = latent.mstep(counts, LEFT_RIGHT)
    np.testing.assert_array_equal(model.startprob, [1, 0, 0])
    np.testing.assert_array_equal(model.transmat > 0, LEFT_RIGHT.transmat > 0)
    np.testing.assert_allclose(model.transmat[0], [13 / 18, 5 / 18, 0])
    assert np.isfinite(latent.log_prior(model))


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        ({"startprob_prior": 0.5}, r"prior\['startprob_prior'\]: found 0.5; expected at least 1"),
        ({"transmat_prior": [1.0, 2.0, 3.0]}, r"prior\['transmat_prior'\]: found shape \(3,\)"),
        ({"transmat_prior": np.zeros((3, 3))}, "expected at least 1"),
        ({"startprob_prior": "many"}, "expected real numbers"),
    ],
)
def test_priors_that_have_no_mode_are_refused(prior, said):
    with pytest.raises(ValueError, match=said):
        MarkovChain().checked_prior(prior, K)


def test_prior_that_is_absent_is_flat():
    assert MarkovChain().checked_prior({"mean_prior": 3}, K) is None


def test_coordinates_lead_back():
    rng = np.random.default_rng(0)
    for zeros in (False, True):
        reference = random_chain(rng, 4, zeros)
        other = chain_of(
            rng.dirichlet(np.ones(4)) * (reference.startprob > 0),
            rng.dirichlet(np.ones(4), 4) * (reference.transmat > 0),
        )
        other = chain_of(
            other.startprob / other.startprob.sum(),
            other.transmat / other.transmat.sum(axis=1)[:, None],
        )
        latent = MarkovChain()
        moved = latent.displaced(latent.displacement(other, reference), reference)
        np.testing.assert_allclose(moved.startprob, other.startprob, atol=1e-14)
        np.testing.assert_allclose(moved.transmat, other.transmat, atol=1e-14)
        np.testing.assert_array_equal(latent.displacement(reference, reference), 0)


def test_coordinates_leave_what_is_known_and_what_is_impossible():
    latent = MarkovChain(fixed={"startprob": True, "transmat": [True, False, False]})
    far = np.random.default_rng(0).normal(size=K + K * K)
    moved = latent.displaced(far, LEFT_RIGHT)
    np.testing.assert_array_equal(moved.startprob, LEFT_RIGHT.startprob)
    np.testing.assert_array_equal(moved.transmat[0], LEFT_RIGHT.transmat[0])
    np.testing.assert_array_equal(moved.transmat > 0, LEFT_RIGHT.transmat > 0)
    np.testing.assert_allclose(moved.transmat.sum(axis=1), 1)


def test_coordinates_that_are_out_of_range_are_no_chain():
    with np.errstate(over="ignore"):
        assert MarkovChain().displaced(np.full(K + K * K, 1e4), FLAT) is None
        assert MarkovChain().displaced(np.full(K + K * K, -1e4), FLAT) is None


@pytest.mark.parametrize(
    ("fixed", "possible", "expected"),
    [
        ((), None, 2 + 6),
        (("startprob",), None, 6),
        (("transmat",), None, 2),
        ({"transmat": [True, False, False]}, None, 2 + 4),
        ((), ChainParameters(LEFT_RIGHT.startprob > 0, LEFT_RIGHT.transmat > 0), 2),
        (("startprob", "transmat"), None, 0),
    ],
)
def test_free_parameters(fixed, possible, expected):
    assert MarkovChain(fixed=fixed, possible=possible).n_parameters(K) == expected


def test_start_leaves_nothing_at_zero_but_what_is_known():
    started = MarkovChain().start(COUNTS, FLAT)
    assert np.all(started.transmat > 0)
    np.testing.assert_allclose(started.transmat.sum(axis=1), 1)
    carried = MarkovChain(fixed=("transmat",)).carried_over(COUNTS, LEFT_RIGHT)
    np.testing.assert_array_equal(carried.transmat, LEFT_RIGHT.transmat)
    assert np.all(carried.startprob > 0)


def test_weights_are_shares_of_sequences():
    rng = np.random.default_rng(0)
    length = 20.0
    latent = MarkovChain(length=length)
    visits, n = np.zeros(K), 4000
    for _ in range(n):
        visits += np.bincount(walk(rng, LEFT_RIGHT, rng.geometric(1 / length)), minlength=K)
    weights = latent.weights(LEFT_RIGHT)
    np.testing.assert_allclose(weights.sum(), 1)
    np.testing.assert_allclose(weights, visits / visits.sum(), atol=0.02)
    assert np.all(weights > 0)


def test_weights_of_sequences_of_one_row_are_those_of_the_start():
    chain = random_chain(np.random.default_rng(1), 4)
    np.testing.assert_allclose(MarkovChain(length=1.0).weights(chain), chain.startprob)


# Where a chain tends to


def average_over_time(chain, n=20_000):
    shares, total = chain.startprob, np.zeros(len(chain.startprob))
    for _ in range(n):
        total += shares
        shares = shares @ chain.transmat
    return total / n


@pytest.mark.parametrize(
    "chain",
    [
        random_chain(np.random.default_rng(0), 5),
        LEFT_RIGHT,
        # Periodic; two classes that nothing leaves; one of them reached from a state that is left.
        chain_of([1, 0], [[0, 1], [1, 0]]),
        chain_of([0.3, 0.7], np.eye(2)),
        chain_of(
            [0.5, 0.5, 0, 0, 0],
            [
                [0.2, 0.3, 0.1, 0.4, 0],
                [0.5, 0, 0, 0, 0.5],
                [0, 0, 0.3, 0.7, 0],
                [0, 0, 0.6, 0.4, 0],
                [0, 0, 0, 0, 1],
            ],
        ),
        chain_of([1], [[1]]),
    ],
)
def test_stationary_distribution_is_the_average_over_time(chain):
    found = stationary_distribution(chain.startprob, chain.transmat)
    np.testing.assert_allclose(found @ chain.transmat, found, atol=1e-14)
    np.testing.assert_allclose(found, average_over_time(chain), atol=1e-3)


def test_stationary_distribution_of_a_nearly_reducible_chain_has_all_digits():
    p, q = 1e-14, 3e-14
    found = stationary_distribution(np.ones(2) / 2, np.array([[1 - p, p], [q, 1 - q]]))
    np.testing.assert_allclose(found, [0.75, 0.25], rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "transmat"),
    [
        ("only goes on", np.eye(6) + np.eye(6, k=1)),
        ("skips one", np.eye(6) + np.eye(6, k=1) + np.eye(6, k=2)),
        ("never back", np.triu(np.ones((6, 6)))),
        ("cycle", np.eye(6) + np.roll(np.eye(6), 1, axis=1)),
    ],
)
def test_clusters_get_the_numbers_of_states_that_what_follows_what_tells(name, transmat):
    rng = np.random.default_rng(0)
    possible = ChainParameters(np.arange(6) == 0, transmat > 0)
    for _ in range(10):
        shuffled = rng.permutation(6)
        starts, transitions = np.zeros(6), np.zeros((6, 6))
        starts[shuffled[0]] = 20
        transitions[np.ix_(shuffled, shuffled)] = transmat * rng.integers(3, 9, (6, 6))
        transitions += rng.poisson(0.05, (6, 6)) * 0.1
        states = numbers(starts, transitions, possible)
        np.testing.assert_array_equal(states[shuffled], np.arange(6))


def test_numbers_of_rows_in_sequences():
    """States 0 to 2 in every sequence; what ends one and begins the next is no transition."""
    possible = ChainParameters(np.array([True, False, False]), np.triu(np.ones((3, 3))) > 0)
    latent = MarkovChain(possible=possible)
    assignment = np.array([2, 2, 0, 1, 2, 0, 0, 1, 1, 1, 0], np.int32)
    batch = Batch(np.zeros((11, 1)), sequences=offsets(np.array([4, 5, 2])))
    weighted = replace(batch, weights=np.array([1.0, 1.0, 0.0]))
    assert latent.ordered and not latent.unordered().ordered and not MarkovChain().ordered
    for each in (batch, weighted):
        found = latent.numbered(assignment, each)
        assert found.tolist() == [0, 0, 1, 2, 0, 1, 1, 2, 2, 2, 1]


def test_reachable_states():
    assert reachable(LEFT_RIGHT.startprob, LEFT_RIGHT.transmat).tolist() == [True] * 3
    assert reachable(np.array([0, 1.0, 0]), LEFT_RIGHT.transmat).tolist() == [False, True, True]
