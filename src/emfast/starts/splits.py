r"""Out of a local maximum: one component is split in two, and another removed.

EM cannot move a component through a region where it would be worse. Where two components share what
one could do, and another does what needs two, a better maximum is that far away [1]_.

What the log-likelihood loses if component k is removed, and the others share its rows, follows
from responsibilities: :math:`-\log(1 - r_{nk})` of every row, on average. What a split gains is
measured. Every row is given to a component, which is drawn with its responsibilities, and a mixture
of twice as many components, of which each row may only have the two that replace its own, is fitted
to them: one short run tries all splits. The pairs that promise most run for some iterations, and
the best is kept if it is significantly better.

References
----------
.. [1] Ueda, N., Nakano, R., Ghahramani, Z. and Hinton, G. E. (2000). SMEM algorithm for mixture
   models. Neural Computation 12, 2109-2128.
"""

import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from emfast import em
from emfast.exceptions import (
    ImpossibleRowError,
    ObjectiveDecreaseWarning,
    SingularComponentError,
)
from emfast.inputs.labels import Labels
from emfast.passes import Model, posterior
from emfast.problems.grid import GridProblem
from emfast.problems.together import has_plain_components, maximize_each
from emfast.starts.initialize import is_scarce, model_from

# A model is better than another if it is by so many standard errors of the difference.
BETTER = 1.0

# Pairs of a split and a removal that are run, and how long: enough to rank them.
TRIED = 4
MOVE_TOL = 1e-4
MOVE_ITER = 8

# Iterations that tell splits apart.
SPLIT_ITER = 3

# Lloyd steps that a split begins with.
HALVING_STEPS = 2

# How often at most, and the iterations between.
MOST_MOVES = 4
SETTLE_TOL = 1e-4
SETTLE_ITER = 20


class Splits(NamedTuple):
    """Every component split in two.

    Attributes
    ----------
    model : Model, components 2k and 2k + 1 replace component k
    gains : ndarray of shape (n_components,), in nats per unit of weight; -inf where it fails
    """

    model: Model
    gains: np.ndarray


def moved(
    problem: GridProblem, model: Model, random_state: np.random.RandomState
) -> em.Trace[Model] | None:
    """A model, from a maximum to better ones for as long as they are significantly better.

    Parameters
    ----------
    problem : GridProblem, with rows in memory
    model : Model
    random_state : RandomState

    Returns
    -------
    Trace or None
        None where components are not plain, or rows are few for all parameters, or where the model
        that was given fails.
    """
    n_components = problem.latent.n_components(model.latent)
    if n_components < 3 or not has_plain_components(problem) or is_scarce(problem, n_components):
        return None
    problem = _of_counted_rows(problem)
    with warnings.catch_warnings():
        # Trials, which are compared by where they end.
        warnings.simplefilter("ignore", ObjectiveDecreaseWarning)
        try:
            best = _settled(problem, model)
        except (ImpossibleRowError, SingularComponentError):
            return None
        for _ in range(MOST_MOVES):
            better = _better(problem, best, random_state)
            if better is None:
                break
            best = better
    return best


def _of_counted_rows(problem: GridProblem) -> GridProblem:
    """The problem on the rows of positive weight; others may hold anything."""
    weights = problem.source.batch.weights
    if weights is None or (weights > 0).all():
        return problem
    return problem.on(problem.source.batch.take(np.flatnonzero(weights > 0)))


def _settled(problem: GridProblem, model: Model) -> em.Trace[Model]:
    return em.maximize(problem, model, tol=SETTLE_TOL, max_iter=SETTLE_ITER, accelerate=True)


def _better(
    problem: GridProblem, best: em.Trace[Model], random_state: np.random.RandomState
) -> em.Trace[Model] | None:
    """Where the best of some moves leads; None if that is not significantly better."""
    try:
        moves = _moves(problem, best.model, random_state)
        traces = maximize_each(problem, moves, tol=MOVE_TOL, max_iter=MOVE_ITER)
        ended = [trace for trace in traces if isinstance(trace, em.Trace)]
        sound = [trace for trace in ended if problem.is_sound(trace.statistics, trace.model)]
        found = max(sound, key=lambda trace: trace.objective, default=None)
        if found is None or not _is_better(problem, found, best):
            return None
        found = _settled(problem, found.model)
    except (ImpossibleRowError, SingularComponentError):
        return None
    return found if problem.is_sound(found.statistics, found.model) else None


def _is_better(problem: GridProblem, found: em.Trace[Model], best: em.Trace[Model]) -> bool:
    gain = found.objective - best.objective
    return gain > 0 and gain > BETTER * problem.standard_error(found.model, best.model)


def _moves(problem: GridProblem, model: Model, random_state: np.random.RandomState) -> list[Model]:
    """The moves that promise most, the best first."""
    batch, n_components = problem.source.batch, len(model.latent)
    responsibilities = np.empty((batch.n_rows, n_components), batch.dtype)
    log_likelihoods = np.empty(batch.n_rows)
    posterior(
        problem.latent, problem.emission, model, batch, problem.n_threads,
        responsibilities=responsibilities, log_likelihoods=log_likelihoods,
    )  # fmt: skip
    splits = _splits(problem, responsibilities.astype(float), log_likelihoods, random_state)
    # Where one component explains a row alone, rounding hides how much worse the others do.
    others = np.maximum(1 - responsibilities, np.finfo(batch.dtype).eps)
    losses = -np.average(np.log(others), axis=0, weights=batch.weights)
    promises = splits.gains[:, None] - losses
    np.fill_diagonal(promises, -np.inf)
    order = promises.ravel().argsort()[: -TRIED - 1 : -1]
    return [
        _move(problem, model, splits.model, pair // n_components, pair % n_components)
        for pair in order[np.isfinite(promises.ravel()[order])].tolist()
    ]


def _move(problem: GridProblem, model: Model, splits: Model, split: int, removed: int) -> Model:
    """The model with one component split, and another removed."""
    emission, n_components = problem.emission, len(model.latent)
    rest = np.delete(np.arange(n_components), [split, removed])
    halves = [2 * split, 2 * split + 1]
    parts = (
        emission.of_components(model.emission, rest),
        emission.of_components(splits.emission, halves),
    )
    shares = splits.latent[halves] / splits.latent[halves].sum()
    weights = np.concatenate([model.latent[rest], model.latent[split] * shares])
    return Model(weights / weights.sum(), emission.joined(parts))


def _splits(
    problem: GridProblem,
    responsibilities: np.ndarray,
    log_likelihoods: np.ndarray,
    random_state: np.random.RandomState,
) -> Splits:
    """All components split, each by rows that are drawn for it."""
    batch, (n_rows, n_components) = problem.source.batch, responsibilities.shape
    drawn = _drawn(responsibilities, random_state)
    allowed = np.zeros((n_rows, 2 * n_components), np.uint8)
    rows = np.arange(n_rows)
    allowed[rows, 2 * drawn] = allowed[rows, 2 * drawn + 1] = 1
    halves = problem.on(replace(batch, labels=Labels(allowed=allowed)))
    X, _ = problem.emission.embedded(batch.X, {})
    second = _halved(X - X.mean(axis=0), drawn, n_components, random_state)
    start = model_from(
        halves, 2 * n_components, (2 * drawn + second).astype(np.int32), random_state
    )
    run = em.maximize(halves, start, tol=MOVE_TOL, max_iter=SPLIT_ITER)
    after = np.empty(n_rows)
    posterior(
        halves.latent, halves.emission, run.model, halves.source.batch, problem.n_threads,
        log_likelihoods=after,
    )  # fmt: skip
    with np.errstate(divide="ignore"):
        before = log_likelihoods + np.log(responsibilities[rows, drawn])
    weights = np.ones(n_rows) if batch.weights is None else batch.weights
    gains = np.bincount(drawn, weights * (after - before), n_components) / weights.sum()
    failed = halves.starved(run.statistics, run.model) + halves.degenerate(
        run.statistics, run.model
    )
    gains[[k // 2 for k in failed]] = -np.inf
    gains[~np.isfinite(gains)] = -np.inf
    return Splits(run.model, gains)


def _drawn(responsibilities: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
    """A component for every row, drawn with its responsibilities, (n_rows,)."""
    cumulated = responsibilities.cumsum(axis=1)
    u = random_state.random_sample((len(cumulated), 1)) * cumulated[:, -1:]
    return (cumulated[:, :-1] <= u).sum(axis=1)


def _halved(
    X: np.ndarray, groups: np.ndarray, n_groups: int, random_state: np.random.RandomState
) -> np.ndarray:
    """Which points, about their middle, belong to the second of two halves of their group, bool.

    Two of its points are drawn, and some Lloyd steps taken.
    """
    order = np.lexsort((random_state.random_sample(len(X)), groups))
    firsts = np.searchsorted(groups[order], np.arange(n_groups))
    lasts = np.searchsorted(groups[order], np.arange(n_groups), side="right") - 1
    pairs = order[np.minimum([firsts, lasts], len(X) - 1)]
    centres, rows = X[pairs], np.arange(len(X))
    for step in range(HALVING_STEPS + 1):
        # Nearer to the second: (x - (a + b) / 2)' (b - a) > 0.
        across = centres[1] - centres[0]
        middles = 0.5 * ((centres[0] + centres[1]) * across).sum(axis=1)
        second = (X @ across.T)[rows, groups] > middles[groups]
        if step == HALVING_STEPS:
            return second
        labels = groups + n_groups * second
        counts = np.maximum(np.bincount(labels, minlength=2 * n_groups), 1)
        sums = np.stack([np.bincount(labels, x, 2 * n_groups) for x in X.T], axis=1)
        centres = (sums / counts[:, None]).reshape(2, n_groups, -1)
