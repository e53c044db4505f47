"""Expectation-maximisation: one loop for every model.

A *problem* is anything with three methods::

    statistics = problem.estep(model)
    model      = problem.mstep(statistics, model)
    objective  = problem.objective(statistics, model)

and, where its M-step is not exact, ``slack(model)`` and ``rounding``, which say how much an
iteration may lower the objective without a warning; where an M-step may lead too far, as a Newton
step does (generalised EM), ``retreat(statistics, model, proposal, attempt)``, which says what to
try instead of a proposal that has lowered the objective, and of all that was tried the best is
kept; and, to be accelerated, the two methods of `acceleration.Space`. A model may be anything, a
number or an array or a dataclass, and so may its statistics, which are only handed on.
``docs/write-a-model.md`` writes some.

`maximize` alternates them. The objective it records always belongs to the model it returns: each
iteration is an M-step followed by the E-step that measures it, or an extrapolation of the last two
followed by its E-step.

References
----------
Dempster, A. P., Laird, N. M. and Rubin, D. B. (1977). Maximum likelihood from incomplete data via
the EM algorithm. Journal of the Royal Statistical Society B 39, 1-38.
Lange, K. (1995). A gradient algorithm locally equivalent to the EM algorithm. Journal of the Royal
Statistical Society B 57, 425-437.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from emfast.acceleration import Cycle, Squarem
from emfast.exceptions import Interrupted, ObjectiveDecreaseWarning

Model = TypeVar("Model")


class Problem(Protocol[Model]):
    """What `maximize` needs to know of a model and its data."""

    def estep(self, model: Model) -> Any:
        """Expected sufficient statistics of the data under `model`."""

    def mstep(self, statistics: Any, model: Model) -> Model:
        """A new model, which maximises the expected complete-data objective.

        Neither the statistics nor the old model are changed: both are still needed.
        """

    def objective(self, statistics: Any, model: Model) -> float:
        """The objective of the model that `statistics` were computed with, to be maximised."""


@dataclass(frozen=True)
class Iteration:
    """What an observer sees after each iteration.

    Attributes
    ----------
    number : int, of the iteration, from 1 on
    objective : float, of `model`: for estimators in nats, the mean over rows
    gain : float, by which it is above that of the iteration before
    converged : bool
    remaining_gain : float or None, Aitken's estimate of all gain still to come: see the function
    model : what the driver has come to, not to be changed: for mixtures and hidden Markov models
        ``model.latent`` and ``model.emission``, in float64
    start, n_starts : int, which of how many starts this is, from 0 on; estimators have several
    """

    number: int
    objective: float
    gain: float
    converged: bool
    remaining_gain: float | None = None
    model: Any = field(default=None, repr=False, compare=False)
    start: int = 0
    n_starts: int = 1


@dataclass
class Trace(Generic[Model]):
    """How a run went.

    Attributes
    ----------
    model : the last model
    objective : float, the objective of `model`
    objectives : list of float, the objective after every iteration
    converged : bool
    history : list of float, at most the last two objectives, from which a later run goes on
    statistics : the expected sufficient statistics under `model`
    stopped : bool
        Whether the observer, or Ctrl-C, ended the run.
    """

    model: Model
    objective: float
    statistics: Any
    objectives: list[float] = field(default_factory=list)
    converged: bool = False
    history: list[float] = field(default_factory=list)
    stopped: bool = False

    @property
    def n_iter(self) -> int:
        return len(self.objectives)

    def move(
        self, model: Model, statistics: Any, objective: float, history: Sequence[float]
    ) -> None:
        """Go on to another model, and to the objectives that led to it."""
        # No call comes between, so that Ctrl-C finds all of the one model or of the other.
        self.model, self.statistics, self.objective = model, statistics, objective
        self.history = [*history, objective]


@dataclass(frozen=True)
class State(Generic[Model]):
    """Where a run has come to: all that `maximize` needs to go on from there as if it never ended.

    What is not here follows from the model: its statistics are those of another E-step.

    Attributes
    ----------
    model : the last model
    objectives : list of float, the objective after every iteration
    history : list of float, at most the last three objectives, that of `model` last
    converged : bool
    cycle : Cycle or None, how far an accelerated run is from its next extrapolation
    carried : list or None
        What statistics of several models, those of parts of the rows, have as their ``carried``,
        for no E-step would give it: the problem takes it up by its ``go_on(model, carried)``.
    """

    model: Model
    objectives: list[float]
    history: list[float]
    converged: bool = False
    cycle: Cycle | None = None
    carried: list[Any] | None = None

    @property
    def objective(self) -> float:
        """That of the model."""
        return self.history[-1]

    @classmethod
    def of(cls, trace: Trace[Model], squarem: Squarem | None = None) -> "State[Model]":
        """That of a run, which may go on and leave it as it is."""
        cycle = None if squarem is None else squarem.cycle
        carried = getattr(trace.statistics, "carried", None)
        objectives, history = list(trace.objectives), list(trace.history)
        return cls(trace.model, objectives, history, trace.converged, cycle, carried)


def remaining_gain(history: Sequence[float]) -> float | None:
    r"""Aitken's estimate of all gain still to come, from the last three objectives.

    With gains :math:`g_t = l_t - l_{t-1}` that shrink geometrically by :math:`a = g_t / g_{t-1}`,
    the objective tends to :math:`l_t + g_t a / (1 - a)`.

    Returns
    -------
    float or None
        None with fewer than three objectives, or where the ratio lies outside (0, 1).
    """
    if len(history) < 3:
        return None
    before, last = history[-2] - history[-3], history[-1] - history[-2]
    if before == 0 or not 0 < last / before < 1:
        return None
    ratio = last / before
    return last * ratio / (1 - ratio)


def has_converged(history: Sequence[float], tol: float) -> bool:
    """Whether the last gain and the estimated gain still to come are both below `tol`.

    A fall of the objective, which only `reg_covar` or rounding explains, is no sign of convergence
    unless it is below `tol` too.
    """
    if tol == 0 or len(history) < 2 or not abs(history[-1] - history[-2]) < tol:
        return False
    remaining = remaining_gain(history)
    return remaining is None or remaining < tol


def maximize(
    problem: Problem[Model],
    model: Model,
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    history: Sequence[float] = (),
    observe: Callable[[Iteration], object] | None = None,
    accelerate: bool = False,
    keep: Callable[[State[Model]], object] | None = None,
    state: State[Model] | None = None,
    statistics: Any = None,
) -> Trace[Model]:
    """Run EM from `model` until convergence or `max_iter` iterations.

    Parameters
    ----------
    problem : Problem
    model : where to start
    tol : float, default=1e-3
        Converged once the last gain of the objective and Aitken's estimate of the gain still to
        come are both below. 0 runs exactly `max_iter` iterations.
    max_iter : int, default=100
        Most iterations, each of which is an M-step or an extrapolation; there is one E-step more,
        and one for every proposal that the problem retreats from.
    history : sequence of float, default=()
        Objectives of an earlier run that led to `model`, without that of `model` itself.
    observe : callable, optional
        Called with an `Iteration` after each. If it returns something true, the run ends there.
    accelerate : bool, default=False
        Extrapolate every two M-steps (see `acceleration`), and keep what that leads to if it is
        higher. Convergence is tested after the second of them.
    keep : callable, optional
        Called with a `State` before the first iteration and after each.
    state : State, optional
        What `keep` was given in an earlier call with the same arguments: the run goes on from
        there and ends as that one would have, to the bit. `model`, `history` and `statistics` are
        not used then.
    statistics : optional
        What the problem's E-step says of `model`, if that is known.

    Returns
    -------
    Trace
        Nothing warns of `max_iter`: its `converged` tells.

    Raises
    ------
    ValueError
        The objective is not a number, or infinite.
    TypeError
        `accelerate`, and the problem has not the methods of `acceleration.Space`.
    Interrupted
        Ctrl-C, a `KeyboardInterrupt`: its ``trace`` is that of all iterations that were completed.

    Warns
    -----
    ObjectiveDecreaseWarning
        An iteration lowered the objective by more than rounding and by more than the problem's
        ``slack(model)`` allows.

    Examples
    --------
    Five series of ten tosses, each of a fair coin or, as often, of one that shows heads with a
    probability p that is not known:

    >>> import numpy as np
    >>> from emfast import em
    >>> heads = np.array([5, 9, 8, 4, 7])
    >>> class Coins:
    ...     def estep(self, p):
    ...         fair, biased = 0.5**10, p**heads * (1 - p) ** (10 - heads)
    ...         return biased / (fair + biased), np.log((fair + biased) / 2).sum()
    ...     def mstep(self, statistics, p):
    ...         return heads @ statistics[0] / (10 * statistics[0].sum())
    ...     def objective(self, statistics, p):
    ...         return statistics[1]
    >>> trace = em.maximize(Coins(), 0.6, tol=1e-9)
    >>> trace.converged, round(float(trace.model), 3)
    (True, 0.796)
    """
    if state is not None:
        model, history = state.model, state.history[:-1]
        if state.carried is not None:
            problem.go_on(model, state.carried)
    if statistics is None or state is not None:
        statistics = problem.estep(model)
    trace = Trace(model, finite(problem.objective(statistics, model)), statistics)
    trace.history = [*history[-2:], trace.objective]
    squarem = Squarem(problem, _step) if accelerate else None
    if state is not None:
        trace.objectives, trace.converged = list(state.objectives), state.converged
        if squarem is not None and state.cycle is not None:
            squarem.go_on(state.cycle)
    n_iter, before = trace.n_iter, trace.objective
    try:
        if keep is not None:
            keep(State.of(trace, squarem))
        while trace.n_iter < max_iter and not (trace.converged or trace.stopped):
            n_iter, before, settled = trace.n_iter, trace.objective, True
            if squarem is None:
                _step(problem, trace)
            else:
                settled = squarem.advance(trace, tol)
            trace.converged = settled and has_converged(trace.history, tol)
            trace.objectives.append(trace.objective)
            if keep is not None:
                keep(State.of(trace, squarem))
            if observe is not None and observe(_seen(trace, before)):
                trace.stopped = True
    except KeyboardInterrupt:
        if trace.n_iter == n_iter and trace.objective != before:
            trace.objectives.append(trace.objective)
        trace.stopped = True
        raise Interrupted(trace) from None
    return trace


def _seen(trace: Trace[Model], before: float) -> Iteration:
    return Iteration(
        trace.n_iter,
        trace.objective,
        trace.objective - before,
        trace.converged,
        remaining_gain(trace.history),
        trace.model,
    )


def _step(problem: Problem[Model], trace: Trace[Model]) -> None:
    """One M-step, and the E-step that measures it; again where the problem retreats from it."""
    retreat = getattr(problem, "retreat", None)
    proposal, attempt = problem.mstep(trace.statistics, trace.model), 0
    best: tuple[float, Model, Any] | None = None
    while proposal is not None:
        statistics = problem.estep(proposal)
        objective = problem.objective(statistics, proposal)
        is_best = best is None or _rank(objective) > _rank(best[0])
        if is_best:
            best = objective, proposal, statistics
        attempt, tried, proposal = attempt + 1, proposal, None
        # What the slack explains may be a step that led too far all the same: then less is better.
        if retreat and _fall(problem, trace, objective, None if is_best else tried):
            proposal = retreat(trace.statistics, trace.model, tried, attempt)
    objective, model, statistics = best
    objective, fall = finite(objective), _fall(problem, trace, objective, model)
    if fall:
        warnings.warn(
            f"iteration {trace.n_iter + 1} lowered the objective by {fall:.3g} to {objective:.6g}",
            ObjectiveDecreaseWarning,
            stacklevel=3,
        )
    trace.move(model, statistics, objective, trace.history[-2:])


def _rank(objective: float) -> float:
    return objective if math.isfinite(objective) else -math.inf


def finite(objective: float) -> float:
    if not math.isfinite(objective):
        raise ValueError(
            f"the objective became {objective}: the data or parameters span more than "
            "floating-point numbers can; rescale the data"
        )
    return float(objective)


def _fall(
    problem: Problem[Model], trace: Trace[Model], objective: float, model: Model | None = None
) -> float:
    """By how much the objective has fallen, if rounding (and a model's slack) do not explain it."""
    if not math.isfinite(objective):
        return math.inf
    explained = getattr(problem, "rounding", 1e-11) * (1 + abs(objective))
    fall = trace.objective - objective
    if model is not None and fall > explained and hasattr(problem, "slack"):
        explained += problem.slack(model)
    return 0.0 if fall <= explained else fall
