"""Cases for tests of Markov chains over every emission, and what is run and compared there."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

import chain_oracle
from discrete_families import ProductFamily
from emfast import HMM
from emfast.data import SequenceSource, offsets
from emfast.inputs.labels import Labels
from emfast.latent import MarkovChain
from emfast.latent.markov import ChainParameters
from emfast.passes import Model, expectation, posterior
from emfast.problems.grid import GridProblem
from families import allowed_of, emission_of

# Of posteriors, and of sums relative to the sums of absolute values.
TOLERANCE = {"float64": 1e-9, "float32": 2e-3}


@dataclass
class ChainCase:
    """Sequences with a model that could have made them."""

    family: object
    model: Model
    X: np.ndarray
    lengths: np.ndarray
    states: np.ndarray
    # Of the parameters: a regression has a column more.
    D: int

    @property
    def K(self):
        return len(self.model.latent.startprob)

    @property
    def n(self):
        return len(self.X)

    def slices(self):
        return [slice(first, end) for first, end in pairwise(offsets(self.lengths))]


def random_chain(rng, K, zeros=False):
    """A chain; with `zeros` it has impossible starts and transitions, but a way everywhere."""
    startprob, transmat = rng.dirichlet(np.full(K, 2.0)), rng.dirichlet(np.full(K, 1.5), K)
    if zeros and K > 1:
        startprob[rng.integers(1, K)] = 0
        transmat[(rng.uniform(size=(K, K)) < 0.4) & (np.eye(K, k=1) + np.eye(K) == 0)] = 0
        startprob /= startprob.sum()
        transmat /= transmat.sum(axis=1, keepdims=True)
    return ChainParameters(startprob, transmat)


def walk(rng, chain, length):
    """The states of a sequence."""
    states = [rng.choice(len(chain.startprob), p=chain.startprob)]
    for _ in range(length - 1):
        states.append(rng.choice(len(chain.startprob), p=chain.transmat[states[-1]]))
    return np.array(states)


def chain_case(family, precision, K, D, lengths, seed=0, zeros=False):
    rng = np.random.default_rng(seed)
    chain = random_chain(rng, K, zeros)
    parameters = family.parameters(rng, K, D)
    states = np.concatenate([walk(rng, chain, length) for length in lengths])
    X = family.draw(rng, parameters, states)
    X = X.astype(precision) if X.dtype.kind == "f" else X
    return ChainCase(family, Model(chain, parameters), X, np.array(lengths), states, D)


def ragged(rng, n_sequences, longest):
    """Lengths, some of them 1."""
    lengths = rng.integers(1, longest + 1, n_sequences)
    lengths[rng.uniform(size=n_sequences) < 0.2] = 1
    return lengths


def possible_labels(kind, rng, case):
    """Labels that the states the case was drawn with agree with."""
    if kind == "component":
        known = rng.uniform(size=case.n) < 0.4
        return Labels(component=np.where(known, case.states, -1).astype(np.int32))
    if kind == "allowed":
        allowed = rng.uniform(size=(case.n, case.K)) < 0.6
        allowed[np.arange(case.n), case.states] = True
        return Labels(allowed=allowed.view(np.uint8))
    return Labels()


def batch_of(case, *, weights=None, labels=None, X=None, lengths=None):
    batch = case.family.batch(case.X if X is None else X, None, labels)
    sequences = offsets(case.lengths if lengths is None else lengths)
    return replace(batch, weights=weights, sequences=sequences)


def chain_estep(case, *, assignment="soft", threads=1, regular=1e-3, **changes):
    batch = batch_of(case, **changes)
    emission = emission_of(case.family, case.X, regular)
    return expectation(MarkovChain(assignment=assignment), emission, case.model, batch, threads)


def chain_outputs(case, *, assignment="soft", threads=1, **changes):
    """Responsibilities, assignments and log-likelihoods, and the first impossible row."""
    batch = batch_of(case, **changes)
    arrays = {
        "responsibilities": np.full((batch.n_rows, case.K), np.nan, batch.dtype),
        "assignments": np.full(batch.n_rows, -9, np.intp),
        "log_likelihoods": np.full(batch.n_independent, np.nan),
    }
    latent = MarkovChain(assignment=assignment)
    emission = emission_of(case.family, case.X)
    impossible = posterior(latent, emission, case.model, batch, threads, **arrays)
    return arrays, impossible


def chain_problem(case, *, weights=None, labels=None, assignment="soft", threads=1, regular=1e-3):
    emission = emission_of(case.family, case.X, regular)
    source = SequenceSource(batch_of(case, weights=weights, labels=labels))
    latent = MarkovChain(assignment=assignment, length=float(case.lengths.mean()))
    return GridProblem(latent, emission, source, threads)


def chain_numbers(statistics, family):
    """Statistics as a dict of float64 arrays."""
    return {
        "log_likelihood": np.array(statistics.log_likelihood),
        "weight": np.array(statistics.weight),
        "counts": statistics.counts,
        "starts": statistics.latent.starts,
        "transitions": statistics.latent.transitions,
        **family.statistics(statistics.emission),
    }


def truths(case, *, labels=None, assignment="soft"):
    """What the oracle says of every sequence."""
    family = case.family.under(case.model.emission)
    log_densities = family.log_densities(case.X, case.model.emission)
    allowed = allowed_of(labels or Labels(), case.K)
    of = chain_oracle.forward_backward if assignment == "soft" else chain_oracle.path_truth
    chain = case.model.latent
    return [
        of(
            log_densities[rows],
            chain.startprob,
            chain.transmat,
            None if allowed is None else allowed[rows],
        )
        for rows in case.slices()
    ]


def true_numbers(case, origin, *, weights=None, labels=None, assignment="soft"):
    """The oracle's statistics, and of each the sum of the absolute values it is a sum of."""
    found = truths(case, labels=labels, assignment=assignment)
    w = np.ones(len(found)) if weights is None else weights
    of_rows = np.repeat(w, case.lengths)
    r = np.concatenate([truth.posteriors for truth in found]) * of_rows[:, None]
    family = case.family.under(case.model.emission)
    log_likelihoods = np.array([truth.log_likelihood for truth in found])
    of_chain = {
        "counts": r.sum(axis=0),
        "starts": sum(weight * truth.starts for weight, truth in zip(w, found, strict=True)),
        "transitions": sum(
            weight * truth.transitions for weight, truth in zip(w, found, strict=True)
        ),
    }
    numbers = {
        "log_likelihood": np.array(w @ log_likelihoods),
        "weight": np.array(of_rows.sum()),
        **of_chain,
        **family.true_statistics(case.X, r, origin),
    }
    sizes = {
        "log_likelihood": np.array(w @ (1 + np.abs(log_likelihoods))),
        "weight": np.array(of_rows.sum()),
        **{name: np.full_like(value, of_rows.sum()) for name, value in of_chain.items()},
        **family.magnitudes(case.X, np.tile(of_rows[:, None], case.K), origin),
    }
    return numbers, sizes


def assert_within(actual, expected, sizes, tolerance):
    """|actual - expected| <= tolerance times the size, entry by entry."""
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        error = np.abs(value - expected[name])
        bound = tolerance * sizes[name] + 1e-300
        assert np.all(error <= bound), f"{name}: {value} instead of {expected[name]}"


# Estimators


def hmm_of(family, start, *, regular=1e-3, **arguments):
    """A hidden Markov model that begins with a model, of any family."""
    given = family.arguments(family.named(start.emission))
    if isinstance(family, ProductFamily):
        emission, given = family.estimator(1, regular=regular).emissions, given["emissions_init"]
    else:
        emission = family.emission(regular=regular)
        given = {name.removesuffix("_init"): values for name, values in given.items()}
    return HMM(
        len(start.latent.startprob),
        emission=emission,
        startprob_init=start.latent.startprob,
        transmat_init=start.latent.transmat,
        emission_init=given,
        **{"n_threads": 1, "max_iter": 5, "tol": 0, **arguments},
    )


def shown(family, hmm):
    """The fitted attributes of such a model, by name."""
    chain = {"startprob": hmm.startprob_, "transmat": hmm.transmat_}
    if isinstance(family, ProductFamily):
        return {**chain, **family.named(list(hmm.emission_.values()))}
    return {**chain, **family.named(hmm.emission_)}
