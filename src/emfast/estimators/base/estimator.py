"""The one place where validation, start, driver and fitted attributes meet.

`EMEstimator` is an estimator without its model. A subclass names the emission and the latent
structure, the arguments that give their starting values, and the attributes that show their
parameters, and says how rows and what is known of them become a `Batch`.
"""

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import cycle, islice
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from emfast import em
from emfast.annotations import Array
from emfast.data import ArraySource, Batch, Plan, Source, SurveyedSource, observe
from emfast.emissions.base import Emission
from emfast.estimators.base.fitted import FittedModel
from emfast.estimators.base.fitting import unchanged_by_failure
from emfast.exceptions import (
    ConvergenceWarning,
    DegenerateComponentWarning,
    ImpossibleRowError,
    StarvedComponentWarning,
)
from emfast.inputs.arguments import check_enough_rows
from emfast.inputs.validation import check_observed, column_called
from emfast.latent import Latent
from emfast.parts.known import Known, check_known_values, given_as_a_whole
from emfast.passes import Model
from emfast.problems.grid import GridProblem
from emfast.problems.incremental import IncrementalProblem, check_incremental
from emfast.problems.together import has_plain_components
from emfast.starts.initialize import (
    INIT_PARAMS,
    NO_TRIALS,
    SHORT_RUN_PARAMS,
    Trials,
    candidates,
    is_scarce,
    sampled,
    start_model,
    start_size,
)
from emfast.starts.race import Starter
from emfast.starts.records import Restart, Run, Starts
from emfast.starts.restarts import best_of
from emfast.starts.splits import can_be_moved
from emfast.starts.subsamples import nested, sizes, trial_size
from emfast.statistics import Statistics
from emfast.storage.checkpoint import Checkpoint, digest, of_source
from emfast.storage.stored import Maybe, Names, Numbers, Record, Whole
from emfast.threads import SingleThreadedBlas, resolve_threads
from emfast.watch import WATCH_CONSTRAINTS, Watch

# Rows above which starts race.
RACE_ABOVE = 50_000

# The best of several starts goes on until this fraction of `tol` is left. Where rows are many, it
# may be more, and iterations are so few that a race costs about three times what one start does.
REFINEMENT = 0.01
REFINEMENT_OF_MANY = 0.05
REFINEMENT_ITER = 10

# What is tried on part of the first subsample besides the way a start is to begin: k-means finds
# clusters, and rows drawn at random the components of one cluster. Few where components are to be
# moved, which finds more. In a race the starts differ anyway: one other is tried, or none where
# that costs much, or where rows are few for all parameters, and a start only takes shape.
TRIALS = Trials(("random_from_data", "kmeans") * 3 + ("random_from_data",), 1 / 3)
FEW_TRIALS = Trials(("random_from_data", "kmeans"), 1 / 3)
RACE_TRIALS = Trials(("random_from_data",), 1 / 2)

# How starts after the first begin on subsamples of many rows, in turn.
LATER_PARAMS = ("k-means++", "kmeans", "random_from_data", "kmeans", "kmeans")


class EMEstimator(FittedModel):
    """An estimator fitted by expectation-maximisation."""

    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: Array
    restarts_: list[Restart]

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "restarts": [StrOptions({"auto", "full", "race"})],
        "init_params": [StrOptions(set(INIT_PARAMS))],
        "random_state": ["random_state"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "fixed": [list, tuple, set, frozenset, Mapping, None],
        "prior": [Mapping, None],
        "assignment": [StrOptions({"soft", "hard", "stochastic"})],
        "accelerate": ["boolean"],
        "warm_start": ["boolean"],
        "incremental": ["boolean"],
        "step_exponent": [Interval(Real, 0.5, 1.0, closed="right")],
        "step_offset": [Interval(Real, 0.0, None, closed="left")],
        **WATCH_CONSTRAINTS,
    }

    # All about the fit, which models that were derived from others have not; none or all.
    _stored = {
        "n_iter_": Maybe(Whole()),
        "converged_": Maybe(bool, beside="n_iter_"),
        "lower_bound_": Maybe(float, beside="n_iter_"),
        # A model of scikit-learn's may have none.
        "lower_bounds_": Maybe(Numbers("any number"), beside="n_iter_"),
        "_history": Maybe(list[float], beside="n_iter_"),
        "restarts_": Maybe(list[Restart], beside="n_iter_"),
        "classes_": Maybe(Names(most="n_components")),
    }

    def _given(self, n_features: int) -> dict[str, np.ndarray]:
        """Starting values of the emission's groups that the user gave, validated."""
        emission, K = self._emission(), int(self.n_components)
        values = {group: getattr(self, self._argument(group)) for group in emission.groups}
        return {
            group: emission.checked(self._argument(group), group, value, K, n_features)
            for group, value in values.items()
            if value is not None
        }

    def _given_of_latent(self) -> dict[str, np.ndarray]:
        """Starting values of the latent structure's groups that the user gave, validated."""
        return {}

    def _argument(self, group: str) -> str:
        """How the argument is called that gives the starting values of a group."""
        return f"{group}_init"

    def _simpler_emission(self) -> Emission | None:
        """What a start may be looked for with, where rows are few for all parameters."""
        return None

    def _fit(self, *data: Any) -> GridProblem:
        """Fit to what `_observed` takes; nothing is changed where that fails.

        Ctrl-C leaves the best model so far, once there is one, and is raised then.
        """
        with unchanged_by_failure(self), SingleThreadedBlas():
            self._validate_params()
            problem, given = self._problem(self._observed(*data))
            self._check_possible(problem, given)
            best, restarts, watch = self._run_starts(problem, given)
            self._set_fitted(problem, best, restarts)
            watch.leave(best.model)
        watch.raise_interrupt()
        self._report(best, restarts)
        return problem

    @abstractmethod
    def _observed(self, *data: Any) -> Batch | Source:
        """The arguments of `fit` as rows with what is known of them, or what is wrong with them."""

    def _stream(
        self, X: Any, labels: Any, sample_weight: Any, y: Any = None
    ) -> SurveyedSource | None:
        """Rows that come in batches, once gone over; None where they are in memory."""
        observer = observe(self, X, labels, sample_weight, y=y)
        if observer is None:
            return None
        observer, K = observer.learned(), int(self.n_components)
        if not hasattr(self, "n_features_in_"):
            raise ValueError("X: found no batch with rows; expected 1 row at least")
        # Of nothing given the same sample, too: a fit may go on in another process.
        seed = 0 if self.random_state is None else self.random_state
        if not isinstance(seed, Integral):
            seed = copy(seed).randint(2**31 - 1)
        plan = Plan(K, start_size(K, self.n_features_in_), int(seed))
        source = observer.source(plan)
        check_enough_rows(source.n_rows, source.n_used, K)
        return source

    def _problem(self, observed: Batch | Source) -> tuple[GridProblem, dict[str, np.ndarray]]:
        """The problem and the given starting values, with the arguments validated."""
        if self.accelerate and self.assignment == "stochastic":
            raise ValueError(
                "accelerate: found True with assignment='stochastic'; expected False, for draws "
                "cannot be extrapolated"
            )
        if self._is_incremental:
            check_incremental(self.accelerate, self.assignment)
        fixed = self._known()
        emission = self._emission(fixed)
        source = observed
        if isinstance(observed, Batch):
            source = self._source(observed, emission)
        n_features = source.n_features
        if np.any(source.missing):
            check_observed(*source.extremes, emission.unseen_columns, self._called)
        latent = self._latent_of(source, fixed)
        self._set_prior(latent, emission, n_features)
        emission.check_columns(*source.extremes, self._called)
        given = {**self._given(n_features), **self._given_of_latent()}
        check_known_values(fixed, given, int(self.n_components), self._argument, self._named)
        source, factor = source.near_one()
        problem = GridProblem(latent, emission, source, resolve_threads(self.n_threads))
        if factor != 1:
            problem = replace(problem, unit=factor).with_prior_times(factor)
        return problem, given

    def _latent_of(self, source: Source, fixed: Known) -> Latent:
        """The latent structure of the rows to fit."""
        return self._latent(fixed, self.assignment)

    def _source(self, batch: Batch, emission: Emission) -> ArraySource:
        """Where the driver gets rows from that are in memory."""
        return ArraySource(batch)

    def _called(self, column: int) -> str:
        """How messages call a column of the rows."""
        return column_called(self, column)

    def _set_prior(self, latent: Latent, emission: Emission, n_features: int) -> None:
        names = (*latent.prior_names, *emission.prior_names)
        for name in self.prior or ():
            if name not in names:
                raise ValueError(f"prior: found {name!r}; expected names among {names}")
        prior = {name: value for name, value in (self.prior or {}).items() if value is not None}
        latent.prior = latent.checked_prior(prior, int(self.n_components))
        emission.prior = emission.checked_prior(prior, int(self.n_components), n_features)

    def _log_prior(self) -> float:
        """Log-density of the prior at the fitted parameters in nats, up to a constant."""
        latent, emission, model = self._latent(), self._emission(), self._model()
        self._set_prior(latent, emission, emission.shape(model.emission)[1])
        return latent.log_prior(model.latent) + emission.log_prior(model.emission)

    def _check_possible(self, problem: GridProblem, given: dict) -> None:
        """Raise where known parameters leave a row no component that its label allows."""
        emission, K = problem.emission, int(self.n_components)
        known = np.all([emission.fixed.of(group, K) for group in emission.groups], axis=0)
        if not known.any():
            return
        parameters, first_row = self._given_model(problem, given).emission, 0
        if emission.impossible_rows(problem.source.head(1), parameters) is None:
            return
        for batch in problem.source.batches():
            for chunk, rows in self._chunks(batch.X):
                zero = emission.impossible_rows(rows, parameters)
                possible = ~(zero & known) & batch.labels.allows(chunk, zero.shape)
                impossible = ~possible.any(axis=1)
                if batch.row_weights is not None:
                    impossible &= batch.row_weights[chunk] > 0
                if impossible.any():
                    row = first_row + batch.number(chunk.start + impossible.argmax())
                    raise ImpossibleRowError(
                        f"X: row {row} has zero likelihood under every "
                        "component that its label allows, by the known probabilities"
                    )
            first_row += batch.n_rows

    def _given_model(self, problem: GridProblem, given: dict) -> Model:
        """The model whose emission is given as a whole, with equal weights unless they are too."""
        K = int(self.n_components)
        flat = problem.emission.flat_start(problem.source.head(1), K)
        return problem.with_groups(Model(problem.latent.flat_start(K), flat), given)

    def _run_starts(
        self, problem: GridProblem, given: dict
    ) -> tuple[em.Trace, list[Restart], Watch]:
        """All starts; one where the start is given as a whole or goes on from the last fit."""
        history, model = self._previous(problem, given) if self.warm_start else ((), None)
        if model is None and given_as_a_whole(problem.groups, given):
            model = self._given_model(problem, given)
        # Elsewhere EM on a subsample would leave what is given before any row but its own is seen.
        subsampled = model is None and problem.fixed.covers(given)
        n_init = self.n_init if model is None else 1
        race = subsampled and n_init > 1 and self._races(problem.source.n_rows)
        rows = self._subsample_sizes(problem, n_init if race else 1) if subsampled else []
        K, kinds = int(self.n_components), self._init_params(n_init, bool(rows), race)
        seeds = _seeds(self.random_state, n_init)
        runs = [
            Run(Restart(seed, init_params, problem.source.n_rows), number)
            for number, (seed, init_params) in enumerate(zip(seeds, kinds, strict=True))
        ]
        starts = Starts(runs, race)
        checkpoint = self._checkpoint(problem, starts, model)
        watch = Watch(self, n_init, 1 if race else n_init, checkpoint=checkpoint)
        starter = Starter(
            watch,
            lambda seed: nested(problem, rows, K, np.random.RandomState(seed)) if rows else [],
            lambda seed: self._evaluation(problem, rows, seed),
            lambda first, seed: sampled(
                first,
                trial_size(first.source.n_rows, problem.source.n_rows),
                K,
                np.random.RandomState([seed, 3]),
            ),
            lambda restart, subsamples, trial: (
                self._start(problem, given, restart, subsamples, trial)
                if model is None
                else [model]
            ),
            lambda model, number, statistics: watch.maximize(
                self._driven(problem.with_draws(starts.restarts[number].seed)),
                model,
                number,
                tol=self._tol,
                max_iter=self.max_iter,
                history=history,
                accelerate=self.accelerate,
                statistics=self._as_driven(problem, statistics),
            ),
            lambda trace, number: self._refine(problem, trace, number, watch),
        )
        with watch:
            best = best_of(problem, starts, starter)
        return best, starts.restarts, watch

    def _checkpoint(
        self, problem: GridProblem, starts: Starts, last: Model | None
    ) -> Checkpoint | None:
        """The file of the fit if there is to be one; the starts then go on from what it keeps."""
        if self.checkpoint is None:
            return None
        K, source = int(self.n_components), problem.source
        model = Record(
            Model,
            latent=problem.latent.stored(K),
            emission=problem.emission.stored(K, source.n_features),
            iteration=Whole(),
        )
        rows = {**of_source(source), "start": None if last is None else digest(last)}
        checkpoint = Checkpoint(self, rows, model, starts.kinds(model))
        best = checkpoint.read(starts.restore)
        if best is not None:
            winner = starts.winner
            driven = self._driven(problem.with_draws(winner.restart.seed))
            winner.trace = checkpoint.trace(driven, best)
            winner.model = winner.trace.model
        checkpoint.begin(starts.kept)
        return checkpoint

    def _subsample_sizes(self, problem: GridProblem, n_starts: int) -> list[int]:
        """How many rows the subsamples have that starts are improved on; see `sizes`."""
        source = problem.source
        wanted = sizes(source.n_rows, int(self.n_components), source.n_features, n_starts)
        return sorted({min(size, source.n_kept) for size in wanted})

    @property
    def _is_incremental(self) -> bool:
        """Whether M-steps come after blocks of rows; not every estimator has the argument."""
        return bool(getattr(self, "incremental", False))

    def _driven(self, problem: GridProblem) -> GridProblem | IncrementalProblem:
        """The problem as the driver iterates on all rows."""
        return IncrementalProblem(problem) if self._is_incremental else problem

    def _as_driven(self, problem: GridProblem, statistics: Statistics | None) -> Statistics | None:
        """What the problem's E-step has said of a model, if it is what the driver would hear."""
        return None if self._is_incremental or problem.latent.draws else statistics

    @property
    def _tol(self) -> float:
        """What the gain is compared with; where rows are drawn it says nothing."""
        return 0.0 if self.assignment == "stochastic" else self.tol

    def _races(self, n_rows: int) -> bool:
        return self.restarts == "race" or (self.restarts == "auto" and n_rows > RACE_ABOVE)

    def _init_params(self, n_init: int, subsampled: bool, race: bool) -> list[str]:
        """How each start begins."""
        first = self._first_init_params(subsampled)
        later = cycle(self._later_init_params(subsampled, race))
        return [first, *islice(later, n_init - 1)]

    def _first_init_params(self, subsampled: bool) -> str:
        return self.init_params

    def _later_init_params(self, subsampled: bool, race: bool) -> Sequence[str]:
        """How the others begin, in turn; they differ in kind where the first is k-means."""
        if self.init_params == "kmeans":
            return LATER_PARAMS if subsampled else ["short_em"]
        if self.init_params == "short_em" and race and subsampled:
            # The race is a short run of each.
            return SHORT_RUN_PARAMS
        return [self.init_params]

    def _start(
        self,
        problem: GridProblem,
        given: dict,
        restart: Restart,
        subsamples: list[GridProblem],
        trial: GridProblem | None,
    ) -> list[Model]:
        """The models that a start may begin with; of a race, where they are tried."""
        random_state, n_components = check_random_state(restart.seed), int(self.n_components)
        trials = NO_TRIALS
        if subsamples:
            problem = subsamples[0]
            trials = self._trials(problem, restart.init_params, trial is not None)
            # "short_em" has trials of its own.
            several = trial is not None and len(trials.kinds) > 1
            several = several and "short_em" not in trials.kinds
            if several and not given and has_plain_components(problem):
                return candidates(trial, n_components, trials.kinds, random_state)
        else:
            size = start_size(n_components, problem.source.n_features)
            problem = sampled(problem, size, n_components, random_state)
        model = start_model(
            problem,
            n_components,
            restart.init_params,
            given,
            random_state,
            trials,
            self._simpler_emission(),
        )
        return [model]

    def _trials(self, first: GridProblem, init_params: str, race: bool) -> Trials:
        """What is tried for each start, on the first subsample."""
        K = int(self.n_components)
        if race:
            # Components that share parameters do not run side by side.
            costly = is_scarce(first, K) or first.emission.shared
            enough = costly or self.init_params == "short_em"
            others, share = NO_TRIALS if enough else RACE_TRIALS
        else:
            others, share = FEW_TRIALS if can_be_moved(first, K) else TRIALS
        if (self.init_params if race else init_params) != "kmeans":
            others = [init_params] * len(others)
        return Trials((init_params, *others), share)

    def _refine(self, problem: GridProblem, trace: em.Trace, number: int, watch: Watch) -> em.Trace:
        """Go on from where a start has converged, within `max_iter`, to a finer tolerance."""
        tol, max_iter = REFINEMENT * self.tol, self.max_iter - trace.n_iter
        if problem.source.n_rows > RACE_ABOVE:
            tol, max_iter = REFINEMENT_OF_MANY * self.tol, min(max_iter, REFINEMENT_ITER)
        if not trace.converged or max_iter == 0 or em.has_converged(trace.history, tol):
            return trace
        further = watch.maximize(
            self._driven(problem),
            trace.model,
            number,
            tol=tol,
            max_iter=max_iter,
            done=trace.n_iter,
            history=trace.history[:-1],
            accelerate=not self._is_incremental,
        )
        return replace(
            further, objectives=trace.objectives + further.objectives, converged=trace.converged
        )

    def _evaluation(self, problem: GridProblem, rows: list[int], seed: int) -> GridProblem:
        """As many rows as the starts of a race begin with, but others; all where these are few."""
        if not rows:
            return problem
        random_state = np.random.RandomState([seed, 1])
        return sampled(problem, rows[0], int(self.n_components), random_state)

    def _previous(
        self, problem: GridProblem, given: dict
    ) -> tuple[tuple[float, ...], Model | None]:
        """The model of the last fit and the objectives that led to it, if there was one."""
        if not hasattr(self, "converged_"):
            return (), None
        shape = problem.emission.shape(self._float64_model.emission)
        fitted = (self._fitted_kind, *shape)
        wanted = (self._kind(), self.n_components, problem.source.n_features)
        if fitted != wanted:
            raise ValueError(
                f"warm_start: the last fit was of (emission, n_components, n_features) = {fitted}; "
                f"expected {wanted}"
            )
        model = problem.with_groups(self._model(), problem.fixed.only(given))
        return tuple(self._history[:-1]), model

    def _set_fitted(self, problem: GridProblem, best: em.Trace, restarts: list[Restart]) -> None:
        dtype = np.dtype(problem.source.dtype)
        self._set_model(best.model, dtype)
        self._history = best.history
        self.converged_ = best.converged and not best.stopped
        self.n_iter_ = best.n_iter
        self.lower_bound_ = best.objective
        self.lower_bounds_ = np.array(best.objectives)
        self.restarts_ = restarts
        classes = problem.source.classes
        if classes is not None:
            self.classes_ = classes
        elif hasattr(self, "classes_"):
            del self.classes_

    def _report(self, best: em.Trace, restarts: list[Restart]) -> None:
        winner = next(restart for restart in restarts if restart.won)
        if not (self.converged_ or best.stopped) and self._tol > 0 and self.max_iter > 0:
            warnings.warn(
                f"The best of {len(restarts)} start(s) did not converge in {self.max_iter} "
                f"iterations (tol={self.tol}). Try other starts, or increase max_iter or tol.",
                ConvergenceWarning,
                stacklevel=4,
            )
        if winner.starved:
            warnings.warn(
                f"component(s) {winner.starved} lost all their rows; their parameters are where "
                "they last were, and their weight is 0, unless these are fixed or have a prior",
                StarvedComponentWarning,
                stacklevel=4,
            )
        if winner.degenerate:
            warnings.warn(
                f"component(s) {winner.degenerate} sit on a few rows, or on rows that do not vary, "
                "and owe their likelihood to it; fewer components, a prior, more starts (n_init), "
                "or for Gaussians a simpler covariance_type or a larger reg_covar avoid it",
                DegenerateComponentWarning,
                stacklevel=4,
            )


def _seeds(random_state: Any, n_init: int) -> list[int]:
    """A seed for every start; the first is `random_state` itself if that is an integer."""
    if isinstance(random_state, Integral) and n_init == 1:
        return [int(random_state)]
    generator = check_random_state(random_state)
    seeds = generator.randint(2**31 - 1, size=n_init).tolist()
    if isinstance(random_state, Integral):
        seeds[0] = int(random_state)
    return seeds
