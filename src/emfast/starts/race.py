"""The way of starts to maxima of all rows, alone or in a race.

A start is a model made on a subsample, improved on larger ones, and led up to a maximum of all
rows. In a race the better half goes on after each subsample, to one twice as large, but as many at
least as are to go up. Of those on the last, the best and what is not significantly worse, by
standard errors of the paired difference of the log-likelihoods, go up side by side, each as long as
it may be the best.

Local maxima are left where splitting one component and removing another leads higher. If the last
subsample has many rows, its maxima are nearly those of all rows: a start that is alone leaves those
of the first; the best two of a race those of the second and of the last, only the best where
components do not share rows, and on the last where they share something else; and two go up. If it
has few, what is higher there tells little. Then nothing moves there, a race takes fewer iterations,
and six go up. Maxima of all rows are left instead, by a start that is alone, and by the best two of
a race: moves on part of the rows, or EM on these alone, lead elsewhere, and the steps up from there
to another maximum, which is taken if it is higher.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

import numpy as np

from emfast import em
from emfast.passes import Model
from emfast.problems.grid import GridProblem
from emfast.problems.together import maximize_each
from emfast.starts.climb import parts_for, side_by_side
from emfast.starts.initialize import (
    SHORT_RUN_TOL,
    TRIAL_ITER,
    best_trace,
    enough_rows,
    sampled,
)
from emfast.starts.records import Restart, Run, failure_recorded
from emfast.starts.splits import can_be_moved, moved
from emfast.starts.subsamples import (
    BEGINNING,
    BRIEF_BEGINNING,
    BRIEF_LAST,
    LARGEST,
    LAST,
    THOROUGH,
    Effort,
    improve,
)
from emfast.statistics import Statistics
from emfast.watch import Watch

# Of the starts on a subsample, one in so many goes on to the next.
SURVIVORS = 2

# Once so many subsamples have told the best from the others, they may move; and on the last, fewer
# if components share something, for then moves run one by one.
MOVED_AFTER = 1
SHARING_MOVED_LAST = 1

# So many rows have nearly the maxima of all rows.
TELLING_ROWS = 20_000

# On so many rows maxima of all rows are left; there a removal costs more.
LATE_MOVE_ROWS = 10_000
LATE_REMOVALS = 4

# A sample has about as many rows as are asked for, and may have fewer.
ABOUT = 1.05

# Runs whose objectives, in nats, and whose weights of components differ by less are at one maximum.
ALIKE_SCORES = 3e-4
ALIKE_WEIGHTS = 0.02


class Race(NamedTuple):
    """How starts are told apart.

    Attributes
    ----------
    beginning, last : Effort, of EM on all subsamples but the last, and on that
    n_moved : int, how many of the best leave local maxima of subsamples
    significant : float, by how many standard errors a start is worse that does not go up
    n_finalists : int
        How many go up to maxima of all rows at most; no subsample leaves fewer.
    n_moved_late : int, how many of the best leave these
    """

    beginning: Effort
    last: Effort
    n_moved: int
    significant: float
    n_finalists: int
    n_moved_late: int


BY_SUBSAMPLES = Race(BEGINNING, LAST, n_moved=2, significant=2.0, n_finalists=2, n_moved_late=0)
BY_ALL_ROWS = Race(
    BRIEF_BEGINNING, BRIEF_LAST, n_moved=0, significant=4.0, n_finalists=6, n_moved_late=2
)

# Where components do not share rows, moves are most of what a start costs.
WITHOUT_SHARING = BY_SUBSAMPLES._replace(n_moved=1)


@dataclass(frozen=True)
class Starter:
    """How starts are made and run.

    Attributes
    ----------
    watch : Watch, which knows whether to stop
    subsamples : callable, the nested subsamples that improve a start with a seed, smallest first
    evaluation : callable, rows on which the starts of a race with a seed are compared for the
        record, drawn for nothing else
    trial : callable, part of a subsample, where the starts of a race with a seed are tried
    begin : callable, the models that a start may begin with, made on the first subsample if there
        is one; of a race, where several are tried, on the part of it on which they are
    maximize : callable, EM on all rows from the model of the start of a number, and what they say
        of it if that is known
    refine : callable, the trace of the winner of a number, gone on until less is left to gain
    """

    watch: Watch
    subsamples: Callable[[int], list[GridProblem]]
    evaluation: Callable[[int], GridProblem]
    trial: Callable[[GridProblem, int], GridProblem]
    begin: Callable[[Restart, list[GridProblem], GridProblem | None], list[Model]]
    maximize: Callable[[Model, int, Statistics | None], em.Trace[Model]]
    refine: Callable[[em.Trace[Model], int], em.Trace[Model]]


def finalists(problem: GridProblem, group: list[Run], starter: Starter) -> list[Run]:
    """The starts that are to run on all rows until one can, the best first.

    Parameters
    ----------
    problem : GridProblem, on all rows
    group : list of Run, one alone or those of a race
    starter : Starter
    """
    subsamples = starter.subsamples(group[0].restart.seed)
    stages = subsamples
    if len(group) > 1 and not subsamples:
        # Too few rows to draw from: short runs on all of them.
        stages = [problem.on(problem.source.batch)]
    runs = _begun(group, stages, starter)
    parts = parts_for(problem, subsamples, _n_components(problem, runs)) if runs else []
    way = _alone if len(group) == 1 else _raced
    chosen = way(problem, runs, stages, parts, starter)
    # The others run if these cannot.
    able = [run for run in group if run.restart.error is None]
    return chosen + _best(_others(able, chosen))


def _n_components(problem: GridProblem, runs: list[Run]) -> int:
    return problem.latent.n_components(runs[0].model.latent)


def _alone(
    problem: GridProblem,
    runs: list[Run],
    stages: list[GridProblem],
    parts: list[GridProblem],
    starter: Starter,
) -> list[Run]:
    """One start or none, on every subsample and up."""
    telling = _subsamples_tell(problem, parts)
    if telling and stages:
        _leave_maxima(stages[0], runs)
    for stage in stages:
        _tell(starter, runs, stage)
        _improve(stage, runs, problem.source.n_rows, THOROUGH)
    runs = _lead_up(problem, parts, runs, starter)
    if not telling:
        _leave_late(problem, parts, runs, starter)
    return runs


def _raced(
    problem: GridProblem,
    runs: list[Run],
    stages: list[GridProblem],
    parts: list[GridProblem],
    starter: Starter,
) -> list[Run]:
    """Starts that have come through all subsamples, those first that have gone up from there."""
    race = _race(problem, parts)
    runs = _survivors(problem, runs, stages, race, starter)
    rivals = _not_worse(stages[-1], runs, race.significant)[: race.n_finalists]
    chosen = _lead_up(problem, parts, rivals, starter)
    _leave_late(problem, parts, _distinct(problem, chosen)[: race.n_moved_late], starter)
    return _ranked(chosen) + _others(runs, chosen)


def _race(problem: GridProblem, parts: list[GridProblem]) -> Race:
    if problem.latent.assignment != "soft":
        return WITHOUT_SHARING
    return BY_SUBSAMPLES if _subsamples_tell(problem, parts) else BY_ALL_ROWS


def _subsamples_tell(problem: GridProblem, parts: list[GridProblem]) -> bool:
    """Whether maxima of the largest subsample are nearly those of all rows.

    Or are taken for them, where no steps lead up.
    """
    return not parts or LARGEST * problem.source.n_rows >= TELLING_ROWS


def _survivors(
    problem: GridProblem,
    runs: list[Run],
    stages: list[GridProblem],
    race: Race,
    starter: Starter,
) -> list[Run]:
    """Those that have come through all subsamples, the best first."""
    if len(stages) == 1:
        # Once to tell the best, which are to move.
        stages = [*stages, *stages]
    last = len(stages) - 1
    moving = _moving(problem, race, last)
    for i, stage in enumerate(stages):
        _tell(starter, runs, stage)
        _leave_maxima(stage, runs[: moving.get(i, 0)])
        _improve(stage, runs, problem.source.n_rows, race.last if i == last else race.beginning)
        n_left = max(race.n_finalists, math.ceil(len(runs) / SURVIVORS))
        runs = _distinct(problem, _best(runs))[:n_left]
    return runs


def _moving(problem: GridProblem, race: Race, last: int) -> dict[int, int]:
    """How many of the best leave local maxima on the subsample of a number."""
    on_last = SHARING_MOVED_LAST if problem.emission.shared else race.n_moved
    return {last: min(on_last, race.n_moved), min(MOVED_AFTER, last): race.n_moved}


def _tell(starter: Starter, runs: list[Run], stage: GridProblem) -> None:
    starter.watch.tell(f"{len(runs)} start(s) on {stage.source.n_rows:,} rows")


def _leave_maxima(subsample: GridProblem, runs: list[Run]) -> None:
    """Lead runs from local maxima of a subsample to better ones."""
    for run in runs:
        random_state = np.random.RandomState([run.restart.seed, 2])
        run.model = moved(subsample, run.model, random_state)


def _leave_late(
    problem: GridProblem, parts: list[GridProblem], runs: list[Run], starter: Starter
) -> None:
    """Lead runs from maxima of all rows to better ones, by way of those of part of them."""
    if not runs:
        return
    K = _n_components(problem, runs)
    if not can_be_moved(parts[-1], K):
        return
    random_state = np.random.RandomState([runs[0].restart.seed, 4])
    n_rows = max(LATE_MOVE_ROWS, math.ceil(ABOUT * enough_rows(problem, K)))
    part = sampled(problem, n_rows, K, random_state)
    starter.watch.tell(f"moves on {part.source.n_rows:,} rows")
    for run in runs:
        model = moved(part, run.model, random_state, n_rows, LATE_REMOVALS)
        if model is run.model:
            continue
        rival = replace(run, model=model, statistics=None, restart=replace(run.restart))
        _lead_up(problem, parts, [rival], starter)
        if rival.restart.merit > run.restart.merit:
            run.go_on_from(rival)


def _lead_up(
    problem: GridProblem, parts: list[GridProblem], rivals: list[Run], starter: Starter
) -> list[Run]:
    """Lead runs up to maxima of all rows, each as long as it may be the best; the best first.

    Where no step can be taken several are measured on all rows.
    """
    if not parts and len(rivals) < 2:
        return rivals
    if parts:
        starter.watch.tell(f"Newton's steps on {problem.source.n_rows:,} rows")
    models = [run.model for run in rivals]
    for i, place in side_by_side(problem, parts, models):
        run = rivals[i]
        run.model, run.statistics = place.model, place.statistics
        run.before = None if place.model is models[i] else models[i]
        run.restart.weigh(problem, place.statistics, place.model)
    return _ranked(rivals)


def _ranked(rivals: list[Run]) -> list[Run]:
    """The best first, which alone keeps what is known of all rows."""
    rivals = _best(rivals)
    for run in rivals[1:]:
        run.statistics = None
    return rivals


def _others(runs: list[Run], chosen: list[Run]) -> list[Run]:
    """Those that are not chosen, in their order."""
    numbers = {run.number for run in chosen}
    return [run for run in runs if run.number not in numbers]


def _begun(group: list[Run], subsamples: list[GridProblem], starter: Starter) -> list[Run]:
    """The runs that have begun, each with the better of the models that it may begin with."""
    options, trial = [], None
    if len(group) > 1:
        trial = starter.trial(subsamples[0], group[0].restart.seed)
    for run in group:
        with failure_recorded(run.restart):
            models = starter.begin(run.restart, subsamples, trial)
            options.append((run, models))
            run.model = models[0]
        run.begun = True
    if any(len(models) > 1 for _, models in options):
        _choose(trial, options)
    return [run for run in group if run.restart.error is None]


def _choose(trial: GridProblem, options: list[tuple[Run, list[Model]]]) -> None:
    """Give every run the best of its models after some iterations."""
    each = [model for _, models in options for model in models]
    traces = iter(maximize_each(trial, each, tol=SHORT_RUN_TOL, max_iter=TRIAL_ITER))
    for run, models in options:
        with failure_recorded(run.restart):
            run.model = best_trace(trial, list(islice(traces, len(models)))).model


def _not_worse(subsample: GridProblem, runs: list[Run], significant: float) -> list[Run]:
    """Those of the runs, best first, that are not worse than the first by standard errors."""
    if len(runs) < 2:
        return runs
    best = runs[0]

    def is_worse(run: Run) -> bool:
        if run.restart.merit[0] != best.restart.merit[0]:
            return True
        error = subsample.standard_error(best.model, run.model)
        return best.restart.score - run.restart.score > significant * error

    return [best, *(run for run in runs[1:] if not is_worse(run))]


def _improve(subsample: GridProblem, runs: list[Run], n_rows: int, effort: Effort) -> None:
    """Let every run go on, on a subsample."""
    models = [run.model for run in runs]
    for run, (model, trace) in zip(runs, improve(subsample, models, n_rows, effort), strict=True):
        run.model = model
        if trace is not None:
            run.restart.take(subsample, trace)
        elif len(runs) > 1:
            run.restart.judge(subsample, subsample.estep(model), model)


def _best(runs: list[Run]) -> list[Run]:
    """The runs, best first."""
    return sorted(runs, key=lambda run: run.restart.merit, reverse=True)


def _distinct(problem: GridProblem, runs: list[Run]) -> list[Run]:
    """The runs that no better one has come to the same maximum as, best first."""
    found: list[Run] = []
    for run in runs:
        if not any(_are_alike(problem, run, other) for other in found):
            found.append(run)
    return found


def _are_alike(problem: GridProblem, run: Run, other: Run) -> bool:
    """Whether two runs on the same rows look as if they had come to the same maximum."""
    if run.restart.merit[0] != other.restart.merit[0]:
        return False
    scores = abs(run.restart.score - other.restart.score)
    mine, others = (np.sort(problem.latent.weights(each.model.latent)) for each in (run, other))
    return scores < ALIKE_SCORES and np.abs(mine - others).max() < ALIKE_WEIGHTS
