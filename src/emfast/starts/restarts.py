"""Many starts, the best one kept.

Each start is led to a maximum of all rows, and runs on these; or all race, and the best of them
alone does (`race.finalists`).
"""

from dataclasses import replace

from emfast import em
from emfast.acceleration import measured
from emfast.exceptions import Failure, SingularComponentError
from emfast.passes import Model
from emfast.problems.grid import GridProblem
from emfast.starts.initialize import best_trace
from emfast.starts.race import Starter, finalists
from emfast.starts.records import Run, Starts, failure_recorded


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
                starts.finalists = finalists(problem, group, starter)
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
    with failure_recorded(run.restart):
        run.trace = em.maximize(problem, run.model, max_iter=0)
        run.restart.take(problem, run.trace)
        return run
    return None


def _how_far(run: Run) -> tuple[bool, int, tuple[bool, float]]:
    """What the best of starts has most of, where these have come to different subsamples."""
    return bool(run.restart.lower_bounds), run.restart.n_rows, run.restart.merit


def _run_one(problem: GridProblem, finalists: list[Run], starter: Starter) -> None:
    """Run the first on all rows that can."""
    while finalists:
        run = finalists[0]
        with failure_recorded(run.restart):
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
