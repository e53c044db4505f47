"""What a hidden Markov model says of a sequence, slowly: by all paths, and in logarithms.

Every function takes the log-densities of one sequence, (T, K), the chain (startprob, transmat), and
which states are allowed, (T, K), bool.
"""

import itertools
from dataclasses import dataclass

import numpy as np


@dataclass
class Truth:
    """What is expected of the states of one sequence.

    Attributes
    ----------
    log_likelihood : float
    posteriors : ndarray of shape (T, K)
    starts : ndarray of shape (K,)
    transitions : ndarray of shape (K, K), expected counts
    """

    log_likelihood: float
    posteriors: np.ndarray
    starts: np.ndarray
    transitions: np.ndarray


def _logs(log_densities, startprob, transmat, allowed):
    log_b = np.array(log_densities, np.float64)
    if allowed is not None:
        log_b[~allowed] = -np.inf
    with np.errstate(divide="ignore"):
        return log_b, np.log(startprob), np.log(transmat)


def log_sum(a, axis=None):
    """log sum exp; several times as fast as SciPy's for few numbers."""
    largest = np.max(a, axis=axis, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(a - largest).sum(axis=axis)) + largest.squeeze(axis)


def all_paths(log_densities, startprob, transmat, allowed=None):
    """Every path, (K^T, T), with the logarithm of its joint density with the rows."""
    log_b, log_start, log_transmat = _logs(log_densities, startprob, transmat, allowed)
    T, K = log_b.shape
    paths = np.array(list(itertools.product(range(K), repeat=T)))
    joint = log_start[paths[:, 0]] + log_b[np.arange(T), paths].sum(axis=1)
    return paths, joint + log_transmat[paths[:, :-1], paths[:, 1:]].sum(axis=1)


def of_paths(paths, weights, K):
    """Posteriors, starts and transitions of paths with probabilities."""
    T = paths.shape[1]
    posteriors, transitions = np.zeros((T, K)), np.zeros((K, K))
    for path, weight in zip(paths, weights, strict=True):
        posteriors[np.arange(T), path] += weight
        np.add.at(transitions, (path[:-1], path[1:]), weight)
    return posteriors, posteriors[0].copy(), transitions


def by_enumeration(log_densities, startprob, transmat, allowed=None):
    """`Truth` by the sum over all paths."""
    paths, joint = all_paths(log_densities, startprob, transmat, allowed)
    total = log_sum(joint)
    return Truth(total, *of_paths(paths, np.exp(joint - total), len(startprob)))


def best_path(log_densities, startprob, transmat, allowed=None):
    """The best of all paths, and the logarithm of its joint density with the rows."""
    paths, joint = all_paths(log_densities, startprob, transmat, allowed)
    return paths[joint.argmax()], joint.max()


def forward_backward(log_densities, startprob, transmat, allowed=None):
    """`Truth` by the forward-backward recursions in logarithms."""
    log_b, log_start, log_transmat = _logs(log_densities, startprob, transmat, allowed)
    T, K = log_b.shape
    forward, backward = np.empty((T, K)), np.zeros((T, K))
    forward[0] = log_start + log_b[0]
    for t in range(1, T):
        forward[t] = log_sum(forward[t - 1][:, None] + log_transmat, axis=0) + log_b[t]
    for t in range(T - 2, -1, -1):
        backward[t] = log_sum(log_transmat + log_b[t + 1] + backward[t + 1], axis=1)
    # Logarithms of long sequences are large, and lose digits: every step is normalised by itself.
    joint = forward + backward
    posteriors = np.exp(joint - log_sum(joint, axis=1)[:, None])
    transitions = np.zeros((K, K))
    for t in range(1, T):
        joint = forward[t - 1][:, None] + log_transmat + log_b[t] + backward[t]
        transitions += np.exp(joint - log_sum(joint))
    return Truth(log_sum(forward[-1]), posteriors, posteriors[0].copy(), transitions)


def viterbi(log_densities, startprob, transmat, allowed=None):
    """The best path by dynamic programming, and the logarithm of its joint density."""
    log_b, log_start, log_transmat = _logs(log_densities, startprob, transmat, allowed)
    T, K = log_b.shape
    best, came_from = log_start + log_b[0], np.zeros((T, K), int)
    for t in range(1, T):
        through = best[:, None] + log_transmat
        came_from[t] = through.argmax(axis=0)
        best = through.max(axis=0) + log_b[t]
    path = [int(best.argmax())]
    for t in range(T - 1, 0, -1):
        path.append(came_from[t, path[-1]])
    return np.array(path[::-1]), best.max()


def path_truth(log_densities, startprob, transmat, allowed=None):
    """`Truth` where the best path is taken for the only one: what hard assignment expects."""
    path, joint = viterbi(log_densities, startprob, transmat, allowed)
    return Truth(joint, *of_paths(path[None], [1.0], len(startprob)))
