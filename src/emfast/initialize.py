"""Where a run of EM starts.

Rows are assigned to components, and the start is the M-step of the assigned rows: the same closed
form as for labelled data. For many rows a subsample is assigned.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn import config_context
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning

from emfast import em
from emfast.data import Batch
from emfast.emissions.base import Emission
from emfast.exceptions import SingularComponentError
from emfast.known import components_given
from emfast.labels import Labels
from emfast.problem import MixtureProblem, Model, expectation, posterior
from emfast.threads import limited_openmp

INIT_PARAMS = ("kmeans", "k-means++", "random", "random_from_data", "neighbourhood", "short_em")

# Passes that find the moments of assigned rows, whatever the rows.
MOMENT_PASSES = 3

# What short runs of EM start from: between them they find what k-means never leads to.
SHORT_RUN_PARAMS = ("random_from_data", "k-means++", "neighbourhood", "random")
SHORT_RUN_ITER = 30
SHORT_RUN_TOL = 1e-4

# Iterations that tell starts of one kind apart on a subsample, where the best goes on.
TRIAL_ITER = 10

# With fewer rows for each parameter, EM of a simpler emission finds components more often.
ROWS_PER_PARAMETER = 10

# Rows from which a start is taken, and at least so many for each component and feature.
START_ROWS = 10_000
START_ROWS_PER_MEAN = 20

# Lloyd steps after which EM does better with the time.
LLOYD_STEPS = 10


def start_size(n_components: int, n_features: int) -> int:
    """How many rows are enough to start from."""
    return max(START_ROWS, START_ROWS_PER_MEAN * n_components * min(n_features, 50))


def start_model(
    problem: MixtureProblem,
    n_components: int,
    init_params: str,
    given: dict[str, np.ndarray],
    random_state: np.random.RandomState,
    n_trials: int = 0,
    simpler: Emission | None = None,
) -> Model:
    """A model to start from: what is given, and the rest from rows assigned to components.

    Parameters
    ----------
    problem : MixtureProblem, its rows are those to assign
    n_components : int
    init_params : one of `INIT_PARAMS`
    given : dict of ndarray
        Groups with known starting values, "weights" among them, NaN where a component has none.
        Where the locations of components are given, rows go to the nearest; `init_params` is not
        used. Components whose location is not given are spread over the rows as by k-means++.
    random_state : RandomState
    n_trials : int, default=0
        How many starts of this kind are tried by a few iterations of EM; the best goes on. One is
        tried only with what is `simpler`.
    simpler : Emission, optional
        What starts are tried with where nothing is given and rows are few for all parameters.

    Returns
    -------
    Model
    """
    locations = given.get(problem.emission.groups[0])
    n_rows, n_features = problem.source.n_rows, problem.source.n_features
    scarce = n_rows < ROWS_PER_PARAMETER * problem.emission.n_parameters(n_components, n_features)
    if locations is None and init_params == "short_em":
        model = _best_short_run(
            problem, n_components, SHORT_RUN_PARAMS, SHORT_RUN_ITER, random_state
        )
    elif simpler is not None and scarce and not given:
        kinds = [init_params] * n_trials
        model = _start_by_simpler(problem, simpler, n_components, kinds, random_state)
    elif locations is None and n_trials > 1:
        kinds = [init_params] * n_trials
        model = _best_short_run(problem, n_components, kinds, TRIAL_ITER, random_state)
    else:
        model = _assigned_start(problem, n_components, init_params, locations, random_state)
    return problem.with_groups(model, given)


def _best_short_run(
    problem: MixtureProblem,
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
    best, found = None, None
    for init_params in kinds:
        try:
            start = _assigned_start(problem, n_components, init_params, None, random_state)
            trace = em.maximize(problem, start, tol=SHORT_RUN_TOL, max_iter=max_iter)
        except SingularComponentError as error:
            failure = error
            continue
        merit = problem.merit(trace.statistics, trace.model)
        if best is None or merit > best:
            best, found = merit, trace.model
    if found is None:
        raise failure
    return found


def _start_by_simpler(
    problem: MixtureProblem,
    simpler: Emission,
    n_components: int,
    kinds: Sequence[str],
    random_state: np.random.RandomState,
) -> Model:
    """The model of rows that go where the best short run of a simpler emission sends them.

    Many parameters on few rows fit whatever components they begin with, and never leave them.
    """
    trial = replace(problem, emission=simpler)
    best = _best_short_run(trial, n_components, kinds, TRIAL_ITER, random_state)
    batch = problem.source.batch
    assignment = np.empty(batch.n_rows, np.intp)
    posterior(trial.latent, simpler, best, batch, trial.n_threads, assignments=assignment)
    return _model_from(problem, n_components, assignment.astype(np.int32), random_state)


def _assigned_start(
    problem: MixtureProblem,
    n_components: int,
    init_params: str,
    locations: np.ndarray | None,
    random_state: np.random.RandomState,
) -> Model:
    """The model of rows that are assigned to components."""
    assignment = _assign(problem.source.batch, n_components, init_params, locations, random_state)
    return _model_from(problem, n_components, assignment, random_state)


def _model_from(
    problem: MixtureProblem,
    n_components: int,
    assignment: np.ndarray,
    random_state: np.random.RandomState,
) -> Model:
    """The M-step of assigned rows; components without any get one."""
    emission, batch = problem.emission, problem.source.batch
    flat = emission.flat_start(batch.X, n_components)
    model = Model(np.full(n_components, 1 / n_components), flat)
    model = _model_of_assignment(problem, model, assignment)
    return _reseed_empty(model, emission, batch, assignment, n_components, random_state)


def _assign(
    batch: Batch,
    n_components: int,
    init_params: str,
    locations: np.ndarray | None,
    random_state: np.random.RandomState,
) -> np.ndarray:
    """The component of every row; labels are kept."""
    known = batch.labels.known(batch.n_rows)
    if locations is None and init_params == "random":
        scores = random_state.random_sample((batch.n_rows, n_components))
    else:
        X = np.asarray(batch.X, dtype=batch.dtype)
        # Distances are taken about the middle of the rows, wherever that is.
        middle = X.mean(axis=0)
        X = X - middle
        if locations is not None:
            centres = _centres(X, batch.weights, known, locations - middle, random_state)
            scores = _squared_distances(X, centres)
        elif init_params == "neighbourhood" and not np.any(known >= 0):
            scores = _neighbourhood_scores(X, batch.weights, n_components, random_state)
        else:
            centres = _locations(X, batch.weights, known, n_components, init_params, random_state)
            scores = _squared_distances(X, centres)
    if batch.labels.allowed is not None:
        scores = np.where(batch.labels.allowed, scores, np.inf)
    return np.where(known >= 0, known, scores.argmin(axis=1)).astype(np.int32)


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
        centres, _ = kmeans_plusplus(
            X, n_components - 1, sample_weight=weights, random_state=random_state, n_local_trials=1
        )
        scores[:, :-1] = _squared_distances(X, centres)
    distances = _squared_distances(X, X[random_state.randint(len(X))][None])[:, 0]
    n_nearest = max(1, len(X) // (4 * n_components))
    scores[np.argpartition(distances, n_nearest - 1)[:n_nearest], -1] = -1
    return scores


def _locations(
    X: np.ndarray,
    weights: np.ndarray | None,
    known: np.ndarray,
    n_components: int,
    init_params: str,
    random_state: np.random.RandomState,
) -> np.ndarray:
    """A point for every component."""
    if np.any(known >= 0):
        nowhere = np.full((n_components, X.shape[1]), np.nan)
        centres = _centres(X, weights, known, nowhere, random_state)
    elif init_params == "random_from_data":
        centres = X[random_state.choice(len(X), n_components, replace=False)]
    elif init_params != "kmeans":
        centres, _ = kmeans_plusplus(
            X, n_components, sample_weight=weights, random_state=random_state
        )
    else:
        centres = "k-means++"
    if init_params != "kmeans":
        return centres
    # With more threads, sums would be in the order in which they arrive.
    checked = config_context(assume_finite=True, skip_parameter_validation=True)
    with warnings.catch_warnings(), limited_openmp(1), checked:
        # Clusters that stay empty are seen to later.
        warnings.simplefilter("ignore", ConvergenceWarning)
        kmeans = KMeans(
            n_components,
            init=centres,
            n_init=1,
            max_iter=LLOYD_STEPS,
            random_state=random_state,
        )
        return kmeans.fit(X, sample_weight=weights).cluster_centers_


def _centres(
    X: np.ndarray,
    weights: np.ndarray | None,
    known: np.ndarray,
    locations: np.ndarray,
    random_state: np.random.RandomState,
) -> np.ndarray:
    """The given locations, where there are none (NaN) the means of the labelled rows.

    Components that have neither are spread over the other rows. They are drawn one by one with
    probability proportional to the squared distance from the nearest centre so far, as k-means++
    does (Arthur and Vassilvitskii, 2007).
    """
    placed = components_given(locations)
    if placed.all():
        return locations
    weights = np.ones(len(X)) if weights is None else weights
    centres = np.where(placed[:, None], locations, 0).astype(X.dtype)
    totals = np.bincount(known[known >= 0], weights[known >= 0], len(centres))
    for k in np.flatnonzero(~placed & (totals > 0)):
        centres[k] = np.average(X[known == k], axis=0, weights=weights[known == k])
        placed[k] = True
    candidates = np.flatnonzero((known < 0) & (weights > 0))
    if candidates.size == 0:
        candidates = np.flatnonzero(weights > 0)
    for k in np.flatnonzero(~placed):
        nearest = (
            _squared_distances(X[candidates], centres[placed]).min(axis=1) * weights[candidates]
        )
        total = nearest.sum()
        odds = nearest / total if total > 0 else None
        centres[k] = X[random_state.choice(candidates, p=odds)]
        placed[k] = True
    return centres


def _squared_distances(X: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances of rows to centres."""
    squares = (X**2).sum(axis=1)[:, None] - 2 * X @ centres.T + (centres**2).sum(axis=1)
    return np.maximum(squares, 0)


def _model_of_assignment(problem: MixtureProblem, model: Model, assignment: np.ndarray) -> Model:
    """The M-step of labelled rows.

    Where its moments lose digits, it is taken again about the means it has found, and if need be
    once more with moments as precise as the variances it has found need.
    """
    latent, emission, batch = problem.latent, problem.emission, problem.source.batch
    labelled = Batch(batch.X, batch.weights, Labels(component=assignment))
    for _ in range(MOMENT_PASSES):
        statistics = expectation(latent, emission, model, labelled, problem.n_threads)
        parameters = emission.start(statistics.emission, model.emission)
        model = Model(latent.mstep(statistics.counts, model.latent), parameters)
        if emission.is_precise(statistics.emission, parameters):
            break
    return model


def _reseed_empty(
    model: Model,
    emission: Emission,
    batch: Batch,
    assignment: np.ndarray,
    n_components: int,
    random_state: np.random.RandomState,
) -> Model:
    """Put a component without rows on a row of its own, with the weight of one row."""
    counts = np.bincount(assignment, batch.weights, n_components)
    empty = np.flatnonzero(counts == 0)
    if empty.size == 0:
        return model
    odds = None if batch.weights is None else batch.weights / batch.weights.sum()
    rows = random_state.choice(batch.n_rows, empty.size, replace=empty.size > batch.n_rows, p=odds)
    weights = counts / counts.sum()
    weights[empty] = 1 / batch.n_rows
    parameters = emission.reseed(
        model.emission, empty, np.asarray(batch.X[rows], np.float64), counts > 0
    )
    return Model(weights / weights.sum(), parameters)
