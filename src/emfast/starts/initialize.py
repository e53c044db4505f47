"""Where a run of EM starts.

Rows are assigned to components, and the start is the M-step of the assigned rows: the same closed
form as for labelled data. For many rows a subsample is assigned.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from emfast import em
from emfast.data import Batch
from emfast.emissions.base import Emission
from emfast.exceptions import Failure, SingularComponentError
from emfast.inputs.labels import Labels
from emfast.inputs.rows import as_numbers, take
from emfast.parts.known import components_given
from emfast.passes import Model, expectation
from emfast.problems.grid import GridProblem
from emfast.problems.together import maximize_each
from emfast.starts.kmeans import KMeans, spread, squared_distances

INIT_PARAMS = ("kmeans", "k-means++", "random", "random_from_data", "neighbourhood", "short_em")

# Passes that find the moments of assigned rows, whatever the rows.
MOMENT_PASSES = 3

# What short runs of EM start from: between them they find what k-means never leads to.
SHORT_RUN_PARAMS = ("random_from_data", "k-means++", "neighbourhood", "random")
SHORT_RUN_ITER = 30
SHORT_RUN_TOL = 1e-4

# Iterations that tell starts apart on a subsample, where the best goes on.
TRIAL_ITER = 10

# With fewer rows for each parameter, EM of a simpler emission finds components more often, and EM
# soon fits what only these rows have.
ROWS_PER_PARAMETER = 10

# Rows from which a start is taken, and at least so many for each component and feature.
START_ROWS = 10_000
START_ROWS_PER_MEAN = 20

# Lloyd steps after which EM does better with the time.
LLOYD_STEPS = 5


class Trials(NamedTuple):
    """What is tried, to begin with the best.

    Attributes
    ----------
    kinds : sequence of `INIT_PARAMS`
    share : float, the part of the rows that is enough for it
    """

    kinds: Sequence[str] = ()
    share: float = 1.0


NO_TRIALS = Trials()


def start_size(n_components: int, n_features: int) -> int:
    """How many rows are enough to start from."""
    return max(START_ROWS, START_ROWS_PER_MEAN * n_components * min(n_features, 50))


def start_model(
    problem: GridProblem,
    n_components: int,
    init_params: str,
    given: dict[str, np.ndarray],
    random_state: np.random.RandomState,
    trials: Trials = NO_TRIALS,
    simpler: Emission | None = None,
) -> Model:
    """A model to start from: what is given, and the rest from rows assigned to components.

    Parameters
    ----------
    problem : GridProblem, its rows are those to assign
    n_components : int
    init_params : one of `INIT_PARAMS`
    given : dict of ndarray
        Groups with known starting values, "weights" among them, NaN where a component has none.
        Where the locations of components are given, rows go to the nearest; `init_params` is not
        used. Components whose location is not given are spread over the rows as by k-means++.
    random_state : RandomState
    trials : Trials, optional
        Kinds of starts that are tried by a few iterations of EM; the best goes on. One alone is
        tried only with what is `simpler`.
    simpler : Emission, optional
        What as many starts of the one kind are tried with where nothing is given and rows are few
        for all parameters.

    Returns
    -------
    Model
    """
    located = problem.emission.located(given)
    if not located and init_params == "short_em":
        model = _best_short_run(
            problem, n_components, SHORT_RUN_PARAMS, SHORT_RUN_ITER, random_state
        )
    elif trials.kinds and simpler is not None and not given and is_scarce(problem, n_components):
        # A simpler emission finds components that are clusters, if any.
        trials = trials._replace(kinds=[init_params] * len(trials.kinds))
        model = _start_by_simpler(problem, simpler, n_components, trials, random_state)
    elif not located and len(trials.kinds) > 1:
        model = _best_trial(problem, n_components, trials, random_state)
    else:
        model = assigned_start(problem, n_components, init_params, located, random_state)
    return problem.with_groups(model, given)


def candidates(
    problem: GridProblem,
    n_components: int,
    kinds: Sequence[str],
    random_state: np.random.RandomState,
) -> list[Model]:
    """A model of assigned rows for each of the `kinds` of starts; nothing is given."""
    return [assigned_start(problem, n_components, kind, {}, random_state) for kind in kinds]


def sampled(
    problem: GridProblem, n_rows: int, n_components: int, random_state: np.random.RandomState
) -> GridProblem:
    """The problem on about so many of its rows, of those that count."""
    return problem.on(problem.source.sample(n_rows, n_components, random_state))


def enough_rows(problem: GridProblem, n_components: int) -> int:
    """How many rows are not few for all parameters."""
    n_parameters = problem.emission.n_parameters(n_components, problem.source.n_features)
    return ROWS_PER_PARAMETER * n_parameters


def is_scarce(problem: GridProblem, n_components: int) -> bool:
    """Whether rows are few for all parameters."""
    return problem.source.n_rows < enough_rows(problem, n_components)


def _best_trial(
    problem: GridProblem,
    n_components: int,
    trials: Trials,
    random_state: np.random.RandomState,
) -> Model:
    """The best of short runs on some of the rows."""
    n_rows = int(trials.share * problem.source.n_rows)
    trial = sampled(problem, n_rows, n_components, random_state)
    return _best_short_run(trial, n_components, trials.kinds, TRIAL_ITER, random_state)


def _best_short_run(
    problem: GridProblem,
    n_components: int,
    kinds: Sequence[str],
    max_iter: int,
    random_state: np.random.RandomState,
) -> Model:
    """Where the best of some short runs of EM ends, one from a start of each of the `kinds`.

    References
    ----------
    Biernacki, C., Celeux, G. and Govaert, G. (2003). Choosing starting values for the EM algorithm
    for getting the highest likelihood in multivariate Gaussian mixture models. Computational
    Statistics & Data Analysis 41, 561-575.
    """
    starts, failure = [], None
    for init_params in kinds:
        try:
            starts.append(assigned_start(problem, n_components, init_params, {}, random_state))
        except SingularComponentError as error:
            failure = error
    if not starts:
        raise failure
    traces = maximize_each(problem, starts, tol=SHORT_RUN_TOL, max_iter=max_iter)
    return best_trace(problem, traces).model


def best_trace(
    problem: GridProblem, traces: Sequence[em.Trace[Model] | Failure]
) -> em.Trace[Model]:
    """The best of some runs, if any could end."""
    ended = [trace for trace in traces if isinstance(trace, em.Trace)]
    if not ended:
        raise traces[-1]
    return max(ended, key=lambda trace: problem.merit(trace.statistics, trace.model))


def _start_by_simpler(
    problem: GridProblem,
    simpler: Emission,
    n_components: int,
    trials: Trials,
    random_state: np.random.RandomState,
) -> Model:
    """The model of rows that go where the best short run of a simpler emission sends them.

    Many parameters on few rows fit whatever components they begin with, and never leave them.
    """
    trial = replace(problem, emission=simpler)
    best = _best_trial(trial, n_components, trials, random_state)
    return model_from(problem, n_components, trial.assignments(best), random_state)


def assigned_start(
    problem: GridProblem,
    n_components: int,
    init_params: str,
    located: dict[str, np.ndarray],
    random_state: np.random.RandomState,
) -> Model:
    """The model of rows that are assigned to components."""
    assignment = _assign(problem, n_components, init_params, located, random_state)
    model = model_from(problem, n_components, assignment, random_state)
    labels, n_rows = problem.source.batch.labels, problem.source.n_rows
    if located or not problem.latent.ordered or labels.restricts(n_rows).any():
        return model
    return _numbered_start(problem, n_components, model, random_state)


def _numbered_start(
    problem: GridProblem,
    n_components: int,
    model: Model,
    random_state: np.random.RandomState,
) -> Model:
    """The model of rows in components whose numbers suit the latent structure.

    EM cannot exchange components: states in another order than that of a chain that only goes on
    would keep it. A short run that knows of no order finds what follows what.
    """
    free = replace(problem, latent=problem.latent.unordered())
    trace = em.maximize(free, model, tol=SHORT_RUN_TOL, max_iter=SHORT_RUN_ITER)
    assignment = problem.latent.numbered(free.assignments(trace.model), problem.source.batch)
    return model_from(problem, n_components, assignment, random_state)


def model_from(
    problem: GridProblem,
    n_components: int,
    assignment: np.ndarray,
    random_state: np.random.RandomState,
) -> Model:
    """The M-step of assigned rows; components without any get one."""
    emission, batch = problem.emission, problem.source.batch
    flat = emission.flat_start(batch.X, n_components)
    model = Model(problem.latent.flat_start(n_components), flat)
    model = _model_of_assignment(problem, model, assignment)
    return _reseed_empty(problem, model, assignment, n_components, random_state)


def _assign(
    problem: GridProblem,
    n_components: int,
    init_params: str,
    located: dict[str, np.ndarray],
    random_state: np.random.RandomState,
) -> np.ndarray:
    """The component of every row; labels are kept."""
    batch = problem.source.batch
    # Rows of noise say nothing of the others.
    labels = batch.labels.without_noise(n_components)
    distances = problem.emission.start_distances(
        batch.X, batch.weights, labels, located, n_components, init_params, random_state
    )
    if distances is not None:
        assigned = _least_allowed(distances, labels)
    elif not located and init_params == "random":
        scores = random_state.random_sample((batch.n_rows, n_components))
        assigned = _least_allowed(scores, labels)
    else:
        X, locations = problem.emission.embedded(batch.X, located)
        # Distances are taken about the middle of the rows, wherever that is.
        middle = X.mean(axis=0)
        X = X - middle
        if located or init_params != "neighbourhood" or labels.restricts(batch.n_rows).any():
            nowhere = np.full((n_components, X.shape[1]), np.nan)
            locations = nowhere if locations is None else locations - middle
            weights = batch.row_weights
            centres = _centres(X, weights, labels, locations, init_params, random_state)
            kmeans = KMeans(Batch(X, weights, labels), problem.n_threads)
            if init_params == "kmeans" and not located:
                centres = kmeans.moved(centres, LLOYD_STEPS)
            assigned = kmeans.nearest(centres)
        else:
            scores = _neighbourhood_scores(X, batch.row_weights, n_components, random_state)
            assigned = _least_allowed(scores, labels)
    known = batch.labels.known(batch.n_rows)
    return np.where(known >= 0, known, assigned).astype(np.int32)


def _least_allowed(scores: np.ndarray, labels: Labels) -> np.ndarray:
    """The component of the least score of those that the labels allow."""
    allowed = labels.allows(slice(None), scores.shape)
    return np.where(allowed, scores, np.inf).argmin(axis=1)


def _neighbourhood_scores(
    X: np.ndarray,
    weights: np.ndarray | None,
    n_components: int,
    random_state: np.random.RandomState,
) -> np.ndarray:
    """Less for the component a row goes to: the last has the neighbours of a row drawn at random.

    They are a quarter of an average component; k-means++ draws centres for the others. Columns
    count alike, whatever their units.
    """
    scales = X.std(axis=0)
    X = X / np.where(scales > 0, scales, 1)
    scores = np.full((len(X), n_components), np.inf)
    if n_components > 1:
        centres = spread(X, weights, np.full((n_components - 1, X.shape[1]), np.nan), random_state)
        scores[:, :-1] = squared_distances(X, centres).T
    distances = squared_distances(X, X[random_state.randint(len(X))][None])[0]
    n_nearest = max(1, len(X) // (4 * n_components))
    scores[np.argpartition(distances, n_nearest - 1)[:n_nearest], -1] = -1
    return scores


def _centres(
    X: np.ndarray,
    weights: np.ndarray | None,
    labels: Labels,
    locations: np.ndarray,
    init_params: str,
    random_state: np.random.RandomState,
) -> np.ndarray:
    """The given locations, where there are none (NaN) the means of the labelled rows.

    Components that have neither are placed among the other rows, of those that may be theirs.
    """
    centres = locations.astype(X.dtype)
    restricted = labels.restricts(len(X))
    if not restricted.any():
        if init_params == "random_from_data" and not components_given(centres).any():
            return X[random_state.choice(len(X), len(centres), replace=len(X) < len(centres))]
        return spread(X, weights, centres, random_state)
    weights, known = np.ones(len(X)) if weights is None else weights, labels.known(len(X))
    totals = np.bincount(known[known >= 0], weights[known >= 0], len(centres))
    for k in np.flatnonzero(~components_given(centres) & (totals > 0)):
        centres[k] = np.average(X[known == k], axis=0, weights=weights[known == k])
    others = np.where(known < 0, weights, 0)
    allowed = None
    if np.any(restricted & (known < 0)):
        allowed = labels.allows(slice(None), (len(X), len(centres)))
    return spread(X, others if others.any() else weights, centres, random_state, allowed)


def _model_of_assignment(problem: GridProblem, model: Model, assignment: np.ndarray) -> Model:
    """The M-step of labelled rows.

    Where its moments lose digits, it is taken again about the means it has found, and if need be
    once more with moments as precise as the variances it has found need.
    """
    latent, emission, batch = problem.latent, problem.emission, problem.source.batch
    labelled = replace(batch, labels=Labels(component=assignment))
    for _ in range(MOMENT_PASSES):
        statistics = expectation(latent, emission, model, labelled, problem.n_threads)
        parameters = emission.start(statistics.emission, model.emission)
        model = Model(latent.start(statistics.latent, model.latent), parameters)
        if emission.is_precise(statistics.emission, parameters):
            break
    return model


def _reseed_empty(
    problem: GridProblem,
    model: Model,
    assignment: np.ndarray,
    n_components: int,
    random_state: np.random.RandomState,
) -> Model:
    """Put a component without rows on a row of its own, with the weight of one row.

    It is one that may be of this component, if any may.
    """
    batch = problem.source.batch
    counts = np.bincount(assignment, batch.row_weights, n_components).astype(np.float64)
    empty = np.flatnonzero(counts[:n_components] == 0)
    if empty.size == 0:
        return model
    rows = _rows_for(batch, empty, n_components, random_state)
    healthy = counts[:n_components] > 0
    healthy |= not healthy.any()
    parameters = problem.emission.reseed(
        model.emission, empty, as_numbers(take(batch.X, rows)), healthy
    )
    latent = problem.latent.reseed(model.latent, empty, counts, batch.n_rows)
    return Model(latent, parameters)


def _rows_for(
    batch: Batch, components: np.ndarray, n_components: int, random_state: np.random.RandomState
) -> np.ndarray:
    """A row for each of some components, which its label allows if there is any such row."""
    n_rows, weights = batch.n_rows, batch.row_weights
    odds = None if weights is None else weights / weights.sum()
    rows = random_state.choice(n_rows, components.size, replace=components.size > n_rows, p=odds)
    labels = batch.labels.without_noise(n_components)
    if not labels.restricts(n_rows).any():
        return rows
    weights = np.ones(n_rows) if weights is None else weights
    allowed = labels.allows(slice(None), (n_rows, n_components))[:, components]
    for i, own in enumerate((weights[:, None] * allowed).T):
        if own[rows[i]] == 0 and own.any():
            rows[i] = random_state.choice(n_rows, p=own / own.sum())
    return rows
