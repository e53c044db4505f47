"""Many starts, the best one kept.

A start is a model made on a subsample, led out of local maxima where splitting one component and
removing another leads higher, improved on larger subsamples, led up to the maximum of all rows, and
run on these. Either every start goes all the way, or they race: after each subsample the better
half goes on to one twice as large, two at least; after the first and before the last the best two
leave local maxima, before the last only one if components share something. Of those on the last,
the best and the next, if it is not significantly worse (by two standard errors of the paired
difference of their log-likelihoods), go up to maxima of all rows, each as long as it may come to
the higher one; the better alone runs on them.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from emfast import em
from emfast.acceleration import measured
from emfast.exceptions import Failure, SingularComponentError
from emfast.passes import Model
from emfast.problems.grid import GridProblem
from emfast.problems.together import maximize_each
from emfast.starts.climb import parts_for, side_by_side
from emfast.starts.initialize import SHORT_RUN_TOL, TRIAL_ITER, best_trace
from emfast.starts.records import Restart, Run, Starts
from emfast.starts.splits import moved
from emfast.starts.subsamples import (
    BEGINNING,
    LAST,
    THOROUGH,
    Effort,
    improve,
)
from emfast.statistics import Statistics
from emfast.watch import Watch

# Of the starts on a subsample, one in so many goes on to the next, but at least so many; at most as
# many go up to maxima of all rows.
SURVIVORS = 2
FINALISTS = 2

# So many of the best leave local maxima, once so many subsamples have told them from the others,
# and again on the last; there fewer if components share something, for then moves run one by one.
MOVED = 2
MOVED_AFTER = 1
SHARING_MOVED_LAST = 1

# A start is worse than another if it is by so many standard errors of the difference.
SIGNIFICANT = 2.0

# Runs whose objectives, in nats, and whose weights of components differ by less are at one maximum.
ALIKE_SCORES = 3e-4
ALIKE_WEIGHTS = 0.02


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


def best_of(problem: GridProblem, starts: Starts, starter: Starter) -> em.Trace[Model]:
    """Run the starts; the trace of the best, or of the best until the fit is stopped.

    Parameters
    ----------
    problem : GridProblem
    starts : Starts, whose records say how each begins, and are told how it went
        Those that a checkpoint has kept go on from there.
    starter : Starter

    Raises
    ------
    SingularComponentError
        Every start ended in singular covariances.
    KeyboardInterrupt
        Ctrl-C before there was any model.
    """
    runs = starts.runs
    try:
        for group in starts.groups[starts.n_done :]:
            if starts.finalists is None:
                starts.finalists = _finalists(problem, group, starter)
            _run_one(problem, starts.finalists, starter)
            starts.winner = _better(starts.winner, group)
            starts.finalists, starts.n_done = None, starts.n_done + 1
            if starter.watch.stopped:
                break
    except KeyboardInterrupt:
        # Of iterations on all rows the watch takes care.
        starter.watch.interrupt()
        starts.winner = starts.winner or _measured(problem, runs)
        if starts.winner is None:
            raise
    winner = starts.winner
    if winner is None:
        last = runs[-1].restart
        raise SingularComponentError(
            f"all {len(runs)} start(s) failed; in the last one {last.error}",
            tuple(last.singular),
        )
    if len(runs) > 1 and not starter.watch.stopped:
        winner.trace = _refined(problem, winner.trace, winner, starter)
    if starts.race and not starter.watch.stopped:
        _score(starter.evaluation(runs[0].restart.seed), runs)
    if starter.watch.stopped:
        winner.trace = replace(winner.trace, stopped=True)
        for run in runs:
            if not run.begun:
                run.restart.error = "the fit was stopped before this start began"
    winner.restart.won = True
    return winner.trace


def _better(winner: Run | None, group: list[Run]) -> Run | None:
    """The best of the winner so far and those of a group that have run on all rows."""
    run_on_all = [run for run in (winner, *group) if run is not None and run.trace is not None]
    best = max(run_on_all, key=lambda run: run.restart.merit, default=None)
    for run in run_on_all:
        if run is not best:
            run.trace = None
    return best


def _measured(problem: GridProblem, runs: list[Run]) -> Run | None:
    """The best of starts that have seen but part of the rows, measured on all of them."""
    begun = [run for run in runs if run.model is not None and run.restart.error is None]
    if not begun:
        return None
    run = max(begun, key=_how_far)
    with _failure_recorded(run.restart):
        run.trace = em.maximize(problem, run.model, max_iter=0)
        run.restart.take(problem, run.trace)
        return run
    return None


def _how_far(run: Run) -> tuple[bool, int, tuple[bool, float]]:
    """What the best of starts has most of, where these have come to different subsamples."""
    return bool(run.restart.lower_bounds), run.restart.n_rows, run.restart.merit


def _finalists(problem: GridProblem, group: list[Run], starter: Starter) -> list[Run]:
    """The starts that are to run on all rows until one can, the best first."""
    subsamples = starter.subsamples(group[0].restart.seed)
    runs, last = _survivors(problem, group, subsamples, starter)
    rivals = runs if len(runs) < 2 else _not_worse(last, runs)[:FINALISTS]
    chosen = _lead_up(problem, subsamples, rivals, starter)
    chosen += _others(runs, chosen)
    # The others run if these cannot.
    able = [run for run in group if run.restart.error is None]
    return chosen + _best(_others(able, chosen))


def _survivors(
    problem: GridProblem, group: list[Run], subsamples: list[GridProblem], starter: Starter
) -> tuple[list[Run], GridProblem | None]:
    """Those of a group that have come through all subsamples, the best first; the last of these."""
    race, stages = len(group) > 1, subsamples
    if race and not stages:
        # Too few rows to draw from: short runs on all of them.
        stages = [problem.on(problem.source.batch)]
    runs = _begun(group, stages, starter)
    if race and len(stages) == 1:
        # Once to tell the best, which are to move.
        stages = [*stages, *stages]
    last = len(stages) - 1
    moving = _moving(problem, last) if race else {0: 1}
    for i, stage in enumerate(stages):
        starter.watch.tell(f"{len(runs)} start(s) on {stage.source.n_rows:,} rows")
        for run in runs[: moving.get(i, 0)]:
            random_state = np.random.RandomState([run.restart.seed, 2])
            run.model = moved(stage, run.model, random_state)
        effort = _effort(i, len(stages)) if race else THOROUGH
        _improve(stage, runs, problem.source.n_rows, effort)
        runs = _distinct(problem, _best(runs))[: max(FINALISTS, math.ceil(len(runs) / SURVIVORS))]
    return runs, stages[-1] if stages else None


def _moving(problem: GridProblem, last: int) -> dict[int, int]:
    """How many of the best leave local maxima on the subsample of a number."""
    return {
        last: SHARING_MOVED_LAST if problem.emission.shared else MOVED,
        min(MOVED_AFTER, last): MOVED,
    }


def _lead_up(
    problem: GridProblem, subsamples: list[GridProblem], rivals: list[Run], starter: Starter
) -> list[Run]:
    """Lead runs up to maxima of all rows, each as long as it may be the best; the best first.

    Where no step can be taken several are measured on all rows.
    """
    if not rivals:
        return []
    models = [run.model for run in rivals]
    parts = parts_for(problem, subsamples, problem.latent.n_components(models[0].latent))
    if not parts and len(rivals) == 1:
        return rivals
    if parts:
        starter.watch.tell(f"Newton's steps on {problem.source.n_rows:,} rows")
    for i, place in side_by_side(problem, parts, models):
        run = rivals[i]
        run.model, run.statistics = place.model, place.statistics
        run.before = None if place.model is models[i] else models[i]
        run.restart.weigh(problem, place.statistics, place.model)
    best, *others = _best(rivals)
    for run in others:
        run.statistics = None
    return [best, *others]


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
        with _failure_recorded(run.restart):
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
        with _failure_recorded(run.restart):
            run.model = best_trace(trial, list(islice(traces, len(models)))).model


def _effort(number: int, n_subsamples: int) -> Effort:
    """How long starts that race run on the subsample of a number."""
    return LAST if 0 < number == n_subsamples - 1 else BEGINNING


def _not_worse(subsample: GridProblem, runs: list[Run]) -> list[Run]:
    """Those of the runs, best first, that are not significantly worse than the first."""
    best = runs[0]

    def is_worse(run: Run) -> bool:
        if run.restart.merit[0] != best.restart.merit[0]:
            return True
        error = subsample.standard_error(best.model, run.model)
        return best.restart.score - run.restart.score > SIGNIFICANT * error

    return [best, *(run for run in runs[1:] if not is_worse(run))]


def _run_one(problem: GridProblem, finalists: list[Run], starter: Starter) -> None:
    """Run the first on all rows that can."""
    while finalists:
        run = finalists[0]
        with _failure_recorded(run.restart):
            run.trace = _sound_run(problem, run, starter)
            run.model, run.before, run.statistics = run.trace.model, None, None
            run.restart.take(problem, run.trace)
            run.restart.converged = run.trace.converged
            return
        del finalists[0]


def _sound_run(problem: GridProblem, run: Run, starter: Starter) -> em.Trace[Model]:
    """EM on all rows; from before Newton's steps if from there it ends better.

    They may have led to where the likelihood has no bound, and components become degenerate.
    """
    traces: list[em.Trace[Model] | Failure] = []
    # A checkpoint knows the first model by the state of its run.
    begun = [(run.model, run.statistics)]
    if run.before is not None:
        begun.append((run.before, None))
    for model, statistics in begun:
        try:
            trace = starter.maximize(model, run.number, statistics)
        except SingularComponentError as error:
            traces.append(error)
            continue
        traces.append(trace)
        if trace.stopped or not problem.faulty(trace.statistics, trace.model):
            break
    return best_trace(problem, traces)


def _refined(
    problem: GridProblem, trace: em.Trace[Model], winner: Run, starter: Starter
) -> em.Trace[Model]:
    """The trace of the winner, refined, unless EM goes where components are degenerate."""
    try:
        refined = starter.refine(trace, winner.number)
    except SingularComponentError:
        return trace
    merits = [problem.merit(each.statistics, each.model) for each in (trace, refined)]
    if merits[1] < merits[0]:
        return trace
    winner.model = refined.model
    winner.restart.take(problem, refined)
    return refined


def _score(evaluation: GridProblem, runs: list[Run]) -> None:
    """Score every start on the same rows, which none of them has chosen."""
    for run in runs:
        if run.restart.error is None:
            _, run.restart.score = measured(evaluation, run.model)


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


@contextmanager
def _failure_recorded(restart: Restart) -> Iterator[None]:
    """A start that ends in singular covariances fails alone."""
    try:
        yield
    except SingularComponentError as error:
        restart.error, restart.singular = str(error), list(error.components)
        restart.score = -np.inf
