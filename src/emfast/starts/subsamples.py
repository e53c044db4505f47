"""Nested subsamples of many rows, on which a start gets most of its way at little cost.

EM on a subsample ends so near to where EM on all rows ends that all rows need but a few iterations.
Each subsample holds the next smaller one, and is several times as large.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from emfast import em
from emfast.exceptions import FAILURES, Failure
from emfast.passes import Model
from emfast.problems.grid import GridProblem
from emfast.problems.together import maximize_each, runs_together
from emfast.starts.initialize import is_scarce, start_size

# The largest subsample is this fraction of the rows, and the next smaller ones about a quarter of
# the one before.
LARGEST = 1 / 8
RATIO = 4

# In a race some of the starts go on from each.
RACE_RATIO = 2

# A subsample saves nothing where it is more than this fraction of the rows.
WORTHWHILE = 1 / 4

# Starts in a race take turns on fewer rows than a single one, if components have some to spare.
RACE_ROWS = 2_500
RACE_ROWS_PER_MEAN = 60
RACE_SHARE = 1 / 40

# Most iterations on a subsample, however few its rows.
MAX_ITER = 100


class Effort(NamedTuple):
    """When EM on a subsample ends.

    Attributes
    ----------
    tol : float, see `em.maximize`
    passes : float, what all iterations together may cost, in passes over all rows
    n_iter : int, as many are allowed whatever they cost
    n_scarce : int, most iterations where rows are few for all parameters
    n_together : int
        Iterations of several models of plain components, which cost little more than one does; 0
        where each is to run alone, which can be accelerated.
    """

    tol: float
    passes: float
    n_iter: int
    n_scarce: int = MAX_ITER
    n_together: int = 0


# What is left to gain on a subsample is soon less than what its rows differ from all rows. Plateaus
# are left more often than with the tolerance of a user who counts iterations on all rows.
# Where rows are few for all parameters, a start only takes shape.
THOROUGH = Effort(1e-4, 1.0, 15, n_scarce=2)

# The starts of a race. Iterations are few until the last subsample. Those come near to its maximum,
# from which that of all rows is as near as sampling makes it; so few runs may cost two passes each.
# Where rows are few for all parameters, one tells which is the best.
BEGINNING = Effort(1e-4, 0.0, 10, n_scarce=3, n_together=20)
LAST = Effort(1e-5, 2.0, 15, n_scarce=1)

# The same where few rows tell little, and maxima of all rows more.
BRIEF_BEGINNING = BEGINNING._replace(n_together=10)
BRIEF_LAST = LAST._replace(tol=1e-4, passes=1.0, n_iter=8)


def sizes(n_rows: int, n_components: int, n_features: int, n_starts: int = 1) -> list[int]:
    """How many rows the subsamples have, smallest first; none where there are few rows."""
    smallest = start_size(n_components, n_features)
    if n_starts > 1:
        least = max(RACE_ROWS, RACE_ROWS_PER_MEAN * n_components * min(n_features, 50))
        smallest = min(smallest, max(least, int(RACE_SHARE * n_rows / n_starts)))
    if smallest > WORTHWHILE * n_rows:
        return []
    largest = max(smallest, int(LARGEST * n_rows))
    steps = round(math.log(largest / smallest, RATIO if n_starts == 1 else RACE_RATIO))
    if steps == 0:
        return [smallest]
    return [round(smallest * (largest / smallest) ** (i / steps)) for i in range(steps + 1)]


def nested(
    problem: GridProblem,
    rows: list[int],
    n_components: int,
    random_state: np.random.RandomState,
) -> list[GridProblem]:
    """The problem on subsamples of about so many rows, each drawn from the next larger one."""
    problems, source = [], problem.source
    for size in reversed(rows):
        source = source.of(source.sample(size, n_components, random_state))
        problems.append(problem.on(source.batch))
    return problems[::-1]


def trial_size(n_rows: int, all_rows: int) -> int:
    """On how many of the rows of a subsample the starts of a race are tried."""
    return max(RACE_ROWS // 2, min(n_rows // 2, int(RACE_SHARE * all_rows)))


Improved = tuple[Model, em.Trace[Model] | None]


def improve(
    problem: GridProblem, models: Sequence[Model], all_rows: int, effort: Effort
) -> Iterator[Improved]:
    """Run EM from each of several models on a subsample.

    Parameters
    ----------
    problem : GridProblem, on the subsample
    models : where to start
    all_rows : int, how many rows there are in all
    effort : Effort

    Yields
    ------
    model : Model
        Where to go on with more rows; the one that was given, if the subsample lost a component or
        cannot carry it.
    trace : Trace or None, where the model is the one that was given
    """
    if not models:
        return
    scarce = is_scarce(problem, problem.emission.shape(models[0].emission)[0])
    if effort.n_together and not scarce and runs_together(problem, models):
        traces = maximize_each(problem, models, tol=effort.tol, max_iter=effort.n_together)
        for model, trace in zip(models, traces, strict=True):
            yield carried_over(problem, model, trace)
        return
    affordable = int(effort.passes * all_rows / problem.source.n_rows)
    max_iter = min(MAX_ITER, max(effort.n_iter, affordable))
    if scarce:
        max_iter = min(max_iter, effort.n_scarce)
    for model in models:
        yield _improve_one(problem, model, effort.tol, max_iter)


def _improve_one(problem: GridProblem, model: Model, tol: float, max_iter: int) -> Improved:
    try:
        trace = em.maximize(problem, model, tol=tol, max_iter=max_iter, accelerate=True)
    except FAILURES:
        return model, None
    return carried_over(problem, model, trace)


def carried_over(problem: GridProblem, model: Model, trace: em.Trace[Model] | Failure) -> Improved:
    """Where EM goes on with more rows after a run on a subsample from a model: see `improve`."""
    if not isinstance(trace, em.Trace):
        return model, None
    statistics = trace.statistics
    if problem.faulty(statistics, trace.model):
        return model, None
    # More rows have values that these lack.
    parameters = problem.emission.start(statistics.emission, trace.model.emission)
    latent = problem.latent.carried_over(statistics.latent, trace.model.latent)
    return Model(latent, parameters), trace
