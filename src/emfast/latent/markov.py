r"""A Markov chain of states: the latent structure of a hidden Markov model.

.. math:: p(z_1, ..., z_T) = \pi_{z_1} \prod_{t=2}^T A_{z_{t-1} z_t}

The M-step divides expected counts, :math:`\pi_k = N_k / \sum_j N_j` of starts and :math:`A_{ij} =
N_{ij} / \sum_l N_{il}` of transitions (Rabiner 1989, eqs. 40a and 40b). A probability of exactly 0
stays 0, for what it would lead to is never expected.

References
----------
Baum, L. E., Petrie, T., Soules, G. and Weiss, N. (1970). A maximization technique occurring in the
statistical analysis of probabilistic functions of Markov chains. Annals of Mathematical Statistics
41, 164-171.
Grassmann, W. K., Taksar, M. I. and Heyman, D. P. (1985). Regenerative analysis and steady state
distributions for Markov chains. Operations Research 33, 1107-1116.
Rabiner, L. R. (1989). A tutorial on hidden Markov models and selected applications in speech
recognition. Proceedings of the IEEE 77, 257-286.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components

from emfast.data import Batch
from emfast.latent.base import Latent
from emfast.parts.known import Known, filled
from emfast.parts.logarithms import log_above_floor, log_ratios
from emfast.parts.priors import Dirichlet, Prior, check_concentrations
from emfast.statistics import starved
from emfast.storage.stored import DISTRIBUTIONS, NOT_NEGATIVE, Numbers, Record

# Rows of a sequence whose length nobody has told.
TYPICAL_LENGTH = 1000.0

# How often every state is moved to every other place, at most.
SWEEPS = 3

# How far probabilities are moved towards equal ones: those of a start, which is a guess, and those
# that EM has found on some of the rows, where others may have transitions that these lack.
START_SHRINKAGE = 0.05
CARRIED_SHRINKAGE = 0.001


@dataclass(frozen=True, eq=False)
class ChainParameters:
    """How a sequence begins and goes on.

    Attributes
    ----------
    startprob : ndarray of shape (K,), probabilities of the first state
    transmat : ndarray of shape (K, K), from the state of the row to that of the column; rows sum
        to 1
    """

    startprob: np.ndarray
    transmat: np.ndarray


@dataclass(frozen=True, eq=False)
class ChainStatistics:
    """Expected counts; they add.

    Attributes
    ----------
    starts : ndarray of shape (K,)
    transitions : ndarray of shape (K, K)
    """

    starts: np.ndarray
    transitions: np.ndarray

    def __add__(self, other: "ChainStatistics") -> "ChainStatistics":
        return ChainStatistics(self.starts + other.starts, self.transitions + other.transitions)

    def __mul__(self, factor: float) -> "ChainStatistics":
        return ChainStatistics(factor * self.starts, factor * self.transitions)

    @staticmethod
    def stored(K: int, D: int, told: dict[str, Any]) -> dict[str, Any]:
        return {
            "starts": Numbers(K, rule=NOT_NEGATIVE),
            "transitions": Numbers(K, K, rule=NOT_NEGATIVE),
        }


@dataclass(frozen=True, eq=False)
class ChainPrior(Prior):
    """Starts and transitions that nobody has seen, concentrations less 1."""

    starts: np.ndarray
    transitions: np.ndarray

    def log_density(self, parameters: ChainParameters) -> float:
        starts = Dirichlet(self.starts).log_density(parameters.startprob)
        return starts + Dirichlet(self.transitions).log_density(parameters.transmat)


class MarkovChain(Latent):
    """p(z_1 = k) = startprob[k], p(z_t = j | z_{t-1} = i) = transmat[i, j] in every sequence.

    Parameters
    ----------
    fixed : collection or mapping of "startprob" and "transmat", see `known.Known`
        Of "transmat" single rows may be known.
    assignment : {"soft", "hard"}, default="soft"
        Whether the E-step takes the posterior distribution of all paths, or the most probable path
        (Viterbi training), whose joint density with the rows is then the objective.
    possible : ChainParameters of bool, optional
        What a prior takes for possible; all by default.
    length : float, default=1000
        The mean length of sequences, which says how often states occur.
    anywhere : bool, default=False
        Whether what is given are pieces that begin anywhere in a sequence, in states as they occur.
    """

    groups = ("startprob", "transmat")
    shared = ("startprob",)
    prior_names = ("startprob_prior", "transmat_prior")
    everywhere = "in every state that its label, the rows before it and the transitions allow"

    def __init__(
        self,
        *,
        fixed=(),
        assignment="soft",
        possible: ChainParameters | None = None,
        length: float = TYPICAL_LENGTH,
        anywhere: bool = False,
    ):
        self.fixed = Known(fixed)
        self.assignment = assignment
        self.possible = possible
        self.length = length
        self.anywhere = anywhere

    def kernel(
        self,
        parameters: ChainParameters,
        kernels: ModuleType,
        batch: Batch,
        iteration: int = 0,
        first_row: int = 0,
    ) -> Any:
        first = self.weights(parameters) if self.anywhere else parameters.startprob
        return kernels.MarkovChain(
            np.ascontiguousarray(first),
            np.ascontiguousarray(parameters.transmat),
            assignment=self.assignment,
        )

    def statistics(self, counts: np.ndarray, flat: np.ndarray) -> ChainStatistics:
        K = len(counts)
        return ChainStatistics(flat[:K].copy(), flat[K:].reshape(K, K).copy())

    def n_components(self, parameters: ChainParameters) -> int:
        return len(parameters.startprob)

    def stored(self, n_components: int) -> Record:
        K = n_components
        return Record(
            ChainParameters,
            startprob=Numbers(K, rule=DISTRIBUTIONS),
            transmat=Numbers(K, K, rule=DISTRIBUTIONS),
        )

    def weights(self, parameters: ChainParameters) -> np.ndarray:
        r"""The expected share of every state in a sequence.

        Of sequences of geometric length with mean :math:`1 / (1 - \gamma)` it is :math:`(1 -
        \gamma) \pi (I - \gamma A)^{-1}`, which exists whatever states the chain never leaves.
        """
        gamma = 1 - 1 / max(self.length, 1.0)
        K = len(parameters.startprob)
        shares = np.linalg.solve(np.eye(K) - gamma * parameters.transmat.T, parameters.startprob)
        shares = np.maximum(shares, 0.0)
        return shares / shares.sum()

    def flat_start(self, n_components: int) -> ChainParameters:
        K = n_components
        return ChainParameters(np.full(K, 1 / K), np.full((K, K), 1 / K))

    @property
    def ordered(self) -> bool:
        possible = self.possible
        return possible is not None and not (possible.startprob.all() and possible.transmat.all())

    def unordered(self) -> "MarkovChain":
        """Any transitions, of all paths: the best path stays near the start."""
        return MarkovChain(length=self.length, anywhere=self.anywhere)

    def numbered(self, assignment: np.ndarray, batch: Batch) -> np.ndarray:
        """Numbers under which the fewest starts and transitions are impossible."""
        K, first = len(self.possible.startprob), batch.sequences[:-1]
        weights = np.ones(batch.n_rows) if batch.weights is None else batch.row_weights.copy()
        starts = np.bincount(assignment[first], weights[first], K)
        # Nothing leads to the first row of a sequence.
        weights[first] = 0
        pairs = assignment[:-1].astype(np.intp) * K + assignment[1:]
        transitions = np.bincount(pairs, weights[1:], K * K).reshape(K, K)
        return numbers(starts, transitions, self.possible)[assignment].astype(assignment.dtype)

    def start(self, statistics: ChainStatistics, parameters: ChainParameters) -> ChainParameters:
        """The M-step, moved towards equal probabilities: one of 0 would never move again."""
        return self._shrunk(statistics, parameters, START_SHRINKAGE)

    def carried_over(
        self, statistics: ChainStatistics, parameters: ChainParameters
    ) -> ChainParameters:
        return self._shrunk(statistics, parameters, CARRIED_SHRINKAGE)

    def _shrunk(
        self, statistics: ChainStatistics, before: ChainParameters, s: float
    ) -> ChainParameters:
        estimate = self.mstep(statistics, before)
        equal = s / len(estimate.startprob)
        shrunk = ChainParameters(
            (1 - s) * estimate.startprob + equal, (1 - s) * estimate.transmat + equal
        )
        return self._kept(shrunk, before)

    def _kept(self, estimate: ChainParameters, before: ChainParameters) -> ChainParameters:
        """The estimate, but what is known as it was."""
        return ChainParameters(
            self.fixed.keep("startprob", estimate.startprob, before.startprob),
            self.fixed.keep("transmat", estimate.transmat, before.transmat),
        )

    def mstep(self, statistics: ChainStatistics, parameters: ChainParameters) -> ChainParameters:
        """Expected counts, and those of the prior, divided by their sums.

        A state that no transition is expected from keeps the probabilities it had.
        """
        starts, transitions = statistics.starts, statistics.transitions
        # What is left of a state that has starved is rounding.
        gone = starved(transitions.sum(axis=1))
        if np.count_nonzero(gone):
            transitions = np.where(gone[:, None], 0.0, transitions)
        if self.prior is not None:
            starts = starts + self.prior.starts
            transitions = transitions + self.prior.transitions
        return self._kept(
            ChainParameters(
                _normalised(starts[None], parameters.startprob[None])[0],
                _normalised(transitions, parameters.transmat),
            ),
            parameters,
        )

    def expected_log_density(
        self, statistics: ChainStatistics, parameters: ChainParameters
    ) -> float:
        starts = statistics.starts * log_above_floor(parameters.startprob)
        transitions = statistics.transitions * log_above_floor(parameters.transmat)
        return float(starts.sum() + transitions.sum())

    def checked_prior(self, prior: dict[str, Any], n_components: int) -> ChainPrior | None:
        if not any(name in prior for name in self.prior_names):
            return None
        K = n_components
        counts = []
        for name, shape in zip(self.prior_names, ((K,), (K, K)), strict=True):
            concentrations = prior.get(name, 1.0)
            less_one = check_concentrations(f"prior[{name!r}]", concentrations, (), shape)
            counts.append(np.broadcast_to(less_one, shape))
        if self.possible is not None:
            counts[0] = counts[0] * self.possible.startprob
            counts[1] = counts[1] * self.possible.transmat
        return ChainPrior(*counts)

    def log_prior(self, parameters: ChainParameters) -> float:
        return 0.0 if self.prior is None else self.prior.log_density(parameters)

    def with_groups(
        self, parameters: ChainParameters, given: dict[str, np.ndarray]
    ) -> ChainParameters:
        return ChainParameters(
            filled(given.get("startprob"), parameters.startprob),
            filled(given.get("transmat"), parameters.transmat),
        )

    def displacement(self, parameters: ChainParameters, reference: ChainParameters) -> np.ndarray:
        """Logarithms of ratios, 0 for what is known or impossible."""
        starts = log_ratios(parameters.startprob, reference.startprob)
        transitions = log_ratios(parameters.transmat, reference.transmat)
        return np.concatenate([starts, transitions.ravel()])

    def displaced(
        self, displacement: np.ndarray, reference: ChainParameters
    ) -> ChainParameters | None:
        K = len(reference.startprob)
        starts = reference.startprob * np.exp(displacement[:K])
        transitions = reference.transmat * np.exp(displacement[K:].reshape(K, K))
        totals = np.append(transitions.sum(axis=1), starts.sum())
        if not np.all((totals > 0) & (totals < np.inf)):
            return None
        moved = ChainParameters(starts / totals[-1], transitions / totals[:-1, None])
        return self._kept(moved, reference)

    def n_parameters(self, n_components: int) -> int:
        """Probabilities that are possible and not known, less one for every sum."""
        K = n_components
        starts, transitions = K, np.full(K, K)
        if self.possible is not None:
            starts = np.count_nonzero(self.possible.startprob)
            transitions = np.count_nonzero(self.possible.transmat, axis=1)
        free = ~self.fixed.of("transmat", K)
        return int((transitions - 1)[free].sum()) + (
            0 if "startprob" in self.fixed else int(starts) - 1
        )


def _normalised(counts: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Rows of counts divided by their sums; what was `before` where these are 0."""
    totals = counts.sum(axis=1, keepdims=True)
    if np.count_nonzero(totals) == len(totals):
        return counts / totals
    return np.where(totals > 0, counts / np.where(totals > 0, totals, 1.0), before)


def numbers(starts: np.ndarray, transitions: np.ndarray, possible: ChainParameters) -> np.ndarray:
    """The states of a chain that clusters are, (K,), by what follows what.

    Of the counts, as few as possible are of what is impossible: from the best of some guesses,
    clusters move to another place, or change places, as long as this helps.
    """
    K = len(starts)
    no_start, no_way = ~possible.startprob, ~possible.transmat

    def wrong(order: np.ndarray) -> float:
        return starts[order] @ no_start + transitions[np.ix_(order, order)].sum(where=no_way)

    guesses = [np.arange(K), *(_guess(starts, transitions, possible, first) for first in range(K))]
    order = min(guesses, key=wrong)
    best = wrong(order)
    for _ in range(SWEEPS):
        before = best
        for i, j in np.ndindex(K, K) if best > 0 else ():
            moved = np.insert(np.delete(order, i), j, order[i])
            exchanged = order.copy()
            exchanged[[i, j]] = order[[j, i]]
            for other in (moved, exchanged):
                count = wrong(other)
                if count < best:
                    order, best = other, count
        if best == before:
            break
    return order.argsort()


def _guess(
    starts: np.ndarray, transitions: np.ndarray, possible: ChainParameters, first: int
) -> np.ndarray:
    """The cluster that every state is, (K,), if the cluster `first` is where sequences begin.

    One state after the other, along the ways between them, gets what its neighbours say.
    """
    K = len(starts)
    sign = np.where(possible.transmat, 1.0, -1.0)
    of_start = np.where(possible.startprob, starts[:, None], -starts[:, None])
    states, clusters = [int(possible.startprob.argmax())], [first]
    while len(states) < K:
        ways = possible.transmat[states].sum(axis=0)
        ways[states] = -1
        state = int(ways.argmax())
        said = of_start[:, state] + transitions[clusters].T @ sign[states, state]
        said += transitions[:, clusters] @ sign[state, states]
        said[clusters] = -np.inf
        states.append(state)
        clusters.append(int(said.argmax()))
    return np.array(clusters)[np.argsort(states)]


def reachable(startprob: np.ndarray, transmat: np.ndarray) -> np.ndarray:
    """Which states a sequence can ever be in, (K,), bool."""
    reached = startprob > 0
    while True:
        further = reached | (transmat[reached] > 0).any(axis=0)
        if further.sum() == reached.sum():
            return reached
        reached = further


def stationary_distribution(startprob: np.ndarray, transmat: np.ndarray) -> np.ndarray:
    """How often a sequence without end is in each state, (K,).

    A chain that is irreducible forgets its start. Another one ends in one of the classes of states
    that it never leaves, each with the probability that it gets there.
    """
    K = len(startprob)
    n_classes, of_state = connected_components(transmat > 0, directed=True, connection="strong")
    shares = np.zeros(K)
    closed = [
        members
        for members in (np.flatnonzero(of_state == c) for c in range(n_classes))
        if not np.delete(transmat[members], members, axis=1).any()
    ]
    passing = np.setdiff1d(np.arange(K), np.concatenate(closed))
    # Expected visits of the states that are left for good: v = start + v A.
    among = transmat[np.ix_(passing, passing)]
    visits = np.linalg.solve(np.eye(len(passing)) - among.T, startprob[passing])
    for members in closed:
        arrived = startprob[members].sum() + (visits @ transmat[np.ix_(passing, members)]).sum()
        shares[members] = arrived * _of_irreducible(transmat[np.ix_(members, members)])
    return shares / shares.sum()


def _of_irreducible(transmat: np.ndarray) -> np.ndarray:
    """The stationary distribution of an irreducible chain, without a subtraction.

    States are taken out one after the other, the last first; transitions over them are as those
    between the others (Grassmann, Taksar and Heyman 1985).
    """
    A = transmat.copy()
    for last in range(len(A) - 1, 0, -1):
        A[:last, last] /= A[last, :last].sum()
        A[:last, :last] += np.outer(A[:last, last], A[last, :last])
    shares = np.ones(len(A))
    for state in range(1, len(A)):
        shares[state] = shares[:state] @ A[:state, state]
    return shares / shares.sum()
