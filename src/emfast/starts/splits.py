r"""Out of a local maximum: one component is split in two, and another removed.

EM cannot move a component through a region where it would be worse. Where two components share what
one could do, and another does what needs two, a better maximum is that far away [1]_.

What the log-likelihood loses at most if component k is removed, and the others share its rows,
follows from responsibilities: :math:`-\log(1 - r_{nk})` of every row, on average. The components of
which that is least are removed, each by itself, and short runs of the others tell what is lost once
they have moved. What a split gains is measured, too. Every row is given to a component, which is
drawn with its responsibilities, and a mixture of twice as many components, of which each row may
only have the two that replace its own, is fitted to them: one short run tries all splits. The pairs
that promise most, unless that is far too little, run for some iterations, the best of them for some
more, and the very best is kept if it is better, or if fewer of its components have lost their rows.

References
----------
.. [1] Ueda, N., Nakano, R., Ghahramani, Z. and Hinton, G. E. (2000). SMEM algorithm for mixture
   models. Neural Computation 12, 2109-2128.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from emfast import em
from emfast.exceptions import FAILURES, ImpossibleRowError
from emfast.inputs.labels import Labels
from emfast.passes import Model, posterior
from emfast.problems.grid import GridProblem
from emfast.problems.together import has_plain_components, maximize_each
from emfast.starts.initialize import enough_rows, is_scarce, model_from, sampled
from emfast.starts.subsamples import carried_over

# Rows that are enough to find better maxima, if they are for all parameters.
MOVE_ROWS = 5_000

# A model is better than another if it is by so many standard errors of the difference. Few, for
# what looks better is so more often than not, and all rows of the problem have the last word.
BETTER = 0.25

# How many pairs of a split and a removal are run, and for how many iterations; the best go on.
STAGES = ((4, 4), (2, 12))
MOVE_TOL = 1e-4

# Iterations that tell splits apart.
SPLIT_ITER = 3

# Removals that are tried at most, and the iterations that tell them apart: a removal is made up for
# slowly.
MOST_REMOVALS = 6
REMOVAL_ITER = 5

# A pair that promises less, in nats per unit of weight, is not run: hardly one of those that lead
# higher does, and a third of the others.
LEAST_PROMISE = -0.03

# Lloyd steps that a split begins with.
HALVING_STEPS = 2

# How often at most, and the iterations between.
MOST_MOVES = 10
SETTLE_TOL = 1e-4
SETTLE_ITER = 20


class Removal(NamedTuple):
    """A component removed.

    Attributes
    ----------
    component : int
    model : Model, the others, once they have moved
    loss : float, in nats per unit of weight
    """

    component: int
    model: Model
    loss: float


class Splits(NamedTuple):
    """Every component split in two.

    Attributes
    ----------
    model : Model, components 2k and 2k + 1 replace component k
    gains : ndarray of shape (n_components,), in nats per unit of weight; -inf where it fails
    """

    model: Model
    gains: np.ndarray


def can_be_moved(problem: GridProblem, n_components: int) -> bool:
    """Whether there are three plain components at least, and rows not few for all parameters."""
    return (
        n_components >= 3 and has_plain_components(problem) and not is_scarce(problem, n_components)
    )


def moved(
    problem: GridProblem,
    model: Model,
    random_state: np.random.RandomState,
    n_rows: int = MOVE_ROWS,
    n_removals: int = MOST_REMOVALS,
) -> Model:
    """A model, from a maximum to better ones for as long as they are better.

    Parameters
    ----------
    problem : GridProblem, with rows in memory
    model : Model
    random_state : RandomState
    n_rows : int, on how many of them, if these are not few for all parameters
    n_removals : int, how many removals are tried at most

    Returns
    -------
    Model
        That of more likelihood on the rows of the problem: the one that was given, or where EM and
        moves on some of these rows lead. They lead nowhere if components cannot be moved, or the
        model fails.
    """
    n_components = problem.latent.n_components(model.latent)
    if not can_be_moved(problem, n_components):
        return model
    size = max(n_rows, enough_rows(problem, n_components))
    part = sampled(problem, size, n_components, random_state)
    # Rows of no weight are gone.
    if is_scarce(part, n_components):
        return model
    try:
        best = _settled(part, model)
        for _ in range(MOST_MOVES):
            better = _better(part, best, random_state, n_removals)
            if better is None:
                break
            best = better
        found, _ = carried_over(part, model, best)
        return max(model, found, key=lambda each: _merit(problem, each))
    except FAILURES:
        return model


def _merit(problem: GridProblem, model: Model) -> tuple[bool, float]:
    """See `GridProblem.merit`; that of a model that rules rows out is the least."""
    try:
        return problem.merit(problem.estep(model), model)
    except ImpossibleRowError:
        return False, -np.inf


def _settled(problem: GridProblem, model: Model) -> em.Trace[Model]:
    return em.maximize(problem, model, tol=SETTLE_TOL, max_iter=SETTLE_ITER, accelerate=True)


def _better(
    problem: GridProblem,
    best: em.Trace[Model],
    random_state: np.random.RandomState,
    n_removals: int,
) -> em.Trace[Model] | None:
    """Where the best of some moves leads; None if that is not better."""
    try:
        found = _best_run(problem, _moves(problem, best.model, random_state, n_removals))
        if found is None or not _is_better(problem, found, best):
            return None
        found = _settled(problem, found.model)
    except FAILURES:
        return None
    return found if _faults(problem, found) <= _faults(problem, best) else None


def _best_run(problem: GridProblem, models: list[Model]) -> em.Trace[Model] | None:
    """The best of some runs, of which only the best go on after some iterations."""
    best: list[em.Trace[Model]] = []
    for n_runs, n_iter in STAGES:
        traces = maximize_each(problem, models[:n_runs], tol=MOVE_TOL, max_iter=n_iter)
        ended = [trace for trace in traces if isinstance(trace, em.Trace)]
        best = sorted(ended, key=lambda trace: (_faults(problem, trace), -trace.objective))
        models = [trace.model for trace in best]
    return best[0] if best else None


def _is_better(problem: GridProblem, found: em.Trace[Model], best: em.Trace[Model]) -> bool:
    faults = [_faults(problem, trace) for trace in (found, best)]
    if faults[0] != faults[1]:
        return faults[0] < faults[1]
    gain = found.objective - best.objective
    return gain > 0 and gain > BETTER * problem.standard_error(found.model, best.model)


def _faults(problem: GridProblem, trace: em.Trace[Model]) -> int:
    """How many components have lost all their rows, or are degenerate."""
    return len(problem.faulty(trace.statistics, trace.model))


def _moves(
    problem: GridProblem,
    model: Model,
    random_state: np.random.RandomState,
    n_removals: int,
) -> list[Model]:
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
    objective = np.average(log_likelihoods, weights=batch.weights)
    promising = [
        (promise, split, removal)
        for removal in _removals(problem, model, losses.argsort()[:n_removals], objective)
        for split in range(n_components)
        if split != removal.component
        and (promise := splits.gains[split] - removal.loss) > LEAST_PROMISE
    ]
    promising.sort(key=lambda move: move[0], reverse=True)
    return [
        _move(problem, removal, splits.model, split)
        for _, split, removal in promising[: STAGES[0][0]]
    ]


def _removals(
    problem: GridProblem, model: Model, chosen: np.ndarray, objective: float
) -> list[Removal]:
    """The model without each of the chosen components, where the others can do without it."""
    components, models = [], []
    for k in chosen.tolist():
        rest = np.delete(np.arange(len(model.latent)), k)
        weights = model.latent[rest]
        if weights.sum() > 0:
            components.append(k)
            emission = problem.emission.of_components(model.emission, rest)
            models.append(Model(weights / weights.sum(), emission))
    traces = maximize_each(problem, models, tol=MOVE_TOL, max_iter=REMOVAL_ITER)
    return [
        Removal(k, trace.model, objective - trace.objective)
        for k, trace in zip(components, traces, strict=True)
        if isinstance(trace, em.Trace)
    ]


def _move(problem: GridProblem, removal: Removal, splits: Model, split: int) -> Model:
    """The model without a component, and with another split."""
    emission, model = problem.emission, removal.model
    place = split - (removal.component < split)
    rest = np.delete(np.arange(len(model.latent)), place)
    halves = [2 * split, 2 * split + 1]
    parts = (
        emission.of_components(model.emission, rest),
        emission.of_components(splits.emission, halves),
    )
    shares = splits.latent[halves] / splits.latent[halves].sum()
    weights = np.concatenate([model.latent[rest], model.latent[place] * shares])
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
    failed = halves.faulty(run.statistics, run.model)
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
    order = random_state.permutation(len(X))
    pairs = np.zeros((2, n_groups), np.intp)
    # Of a group, the last point that is written stays.
    pairs[0, groups[order]], pairs[1, groups[order[::-1]]] = order, order[::-1]
    centres = X[pairs]
    for step in range(HALVING_STEPS + 1):
        # Nearer to the second: (x - (a + b) / 2)' (b - a) > 0.
        across = centres[1] - centres[0]
        middles = 0.5 * ((centres[0] + centres[1]) * across).sum(axis=1)
        second = np.einsum("nd,nd->n", X, across[groups]) > middles[groups]
        if step == HALVING_STEPS:
            return second
        labels = groups + n_groups * second
        counts = np.maximum(np.bincount(labels, minlength=2 * n_groups), 1)
        sums = np.stack([np.bincount(labels, x, 2 * n_groups) for x in X.T], axis=1)
        centres = (sums / counts[:, None]).reshape(2, n_groups, -1)
