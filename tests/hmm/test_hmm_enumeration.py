"""The E-step of a Markov chain beside the sum over all paths, for every emission."""

import numpy as np
import pytest

import chain_oracle
from chains import (
    TOLERANCE,
    assert_within,
    chain_case,
    chain_estep,
    chain_numbers,
    chain_outputs,
    possible_labels,
    true_numbers,
    truths,
)
from families import (
    LABELS,
    allowed_of,
    instruction_set,
    over_families,
    over_instruction_sets,
)

LENGTHS = (5, 1, 4, 2)


@pytest.mark.parametrize("known", LABELS)
@pytest.mark.parametrize("zeros", [False, True])
def test_recursions_of_the_oracle_are_sums_over_paths(zeros, known):
    rng = np.random.default_rng(0)
    log_densities = rng.normal(scale=4, size=(6, 3))
    allowed = None
    if known != "none":
        allowed = rng.uniform(size=(6, 3)) < 0.6
        allowed[:, 1] = True
    startprob, transmat = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 3)
    if zeros:
        startprob, transmat[0, 2], transmat[2, 0] = np.array([0.4, 0.6, 0.0]), 0, 0
        transmat /= transmat.sum(axis=1, keepdims=True)
    arguments = log_densities, startprob, transmat, allowed
    slow, fast = chain_oracle.by_enumeration(*arguments), chain_oracle.forward_backward(*arguments)
    for name, value in vars(slow).items():
        np.testing.assert_allclose(getattr(fast, name), value, atol=1e-12, err_msg=name)
    path, joint = chain_oracle.best_path(*arguments)
    found = chain_oracle.viterbi(*arguments)
    np.testing.assert_array_equal(found[0], path)
    np.testing.assert_allclose(found[1], joint)


@over_families
@pytest.mark.parametrize("known", LABELS)
@pytest.mark.parametrize("zeros", [False, True])
def test_expectation_is_the_sum_over_paths(family, precision, known, zeros):
    case = chain_case(family, precision, 3, 2, LENGTHS, seed=4, zeros=zeros)
    rng = np.random.default_rng(5)
    labels, weights = possible_labels(known, rng, case), rng.uniform(0, 2, len(LENGTHS))

    statistics = chain_estep(case, weights=weights, labels=labels)
    assert statistics.impossible_row == -1

    origin = family.origin(statistics.emission)
    expected, sizes = true_numbers(case, origin, weights=weights, labels=labels)
    assert_within(chain_numbers(statistics, family), expected, sizes, TOLERANCE[precision])


@over_families
@pytest.mark.parametrize("known", LABELS)
def test_posteriors_and_paths_are_those_of_all_paths(family, precision, known):
    case = chain_case(family, precision, 3, 2, LENGTHS, seed=1, zeros=True)
    labels = possible_labels(known, np.random.default_rng(6), case)
    tolerance = TOLERANCE[precision]

    soft, impossible = chain_outputs(case, labels=labels)
    hard, _ = chain_outputs(case, labels=labels, assignment="hard")

    assert impossible == -1
    log_densities = family.under(case.model.emission).log_densities(case.X, case.model.emission)
    allowed = allowed_of(labels, case.K)
    chain = case.model.latent
    for s, rows in enumerate(case.slices()):
        own = None if allowed is None else allowed[rows]
        arguments = log_densities[rows], chain.startprob, chain.transmat, own
        truth = chain_oracle.by_enumeration(*arguments)
        path, joint = chain_oracle.best_path(*arguments)
        np.testing.assert_allclose(soft["responsibilities"][rows], truth.posteriors, atol=tolerance)
        np.testing.assert_allclose(
            soft["log_likelihoods"][s], truth.log_likelihood, rtol=tolerance, atol=tolerance
        )
        np.testing.assert_array_equal(hard["assignments"][rows], path)
        np.testing.assert_array_equal(hard["responsibilities"][rows], np.eye(case.K)[path])
        np.testing.assert_allclose(
            hard["log_likelihoods"][s], joint, rtol=tolerance, atol=tolerance
        )


@over_families
@over_instruction_sets
@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_many_sequences_are_as_the_oracle_says(family, precision, instructions, assignment):
    rng = np.random.default_rng(7)
    lengths = rng.integers(1, 60, 20)
    case = chain_case(family, precision, 4, 3, lengths, seed=7, zeros=True)
    weights = rng.uniform(0, 2, len(lengths))
    with instruction_set(instructions):
        statistics = chain_estep(case, weights=weights, assignment=assignment, threads=2)
        outputs, _ = chain_outputs(case, assignment=assignment)
    origin = family.origin(statistics.emission)
    expected, sizes = true_numbers(case, origin, weights=weights, assignment=assignment)
    assert_within(chain_numbers(statistics, family), expected, sizes, TOLERANCE[precision])
    posteriors = np.concatenate([truth.posteriors for truth in truths(case, assignment=assignment)])
    np.testing.assert_allclose(outputs["responsibilities"], posteriors, atol=TOLERANCE[precision])
