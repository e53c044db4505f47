r"""Extrapolation of EM: SQUAREM, squared iterative methods.

Two EM steps lead from :math:`\theta_0` over :math:`\theta_1` to :math:`\theta_2`. With
:math:`r = \theta_1 - \theta_0` and :math:`v = (\theta_2 - \theta_1) - r`, the extrapolation is

.. math:: \theta_0 - 2 \alpha r + \alpha^2 v, \qquad \alpha = -|r| / |v|,

which is :math:`\theta_2` for :math:`\alpha = -1`. It is shortened where it leads further than the
problem allows. Coordinates are a model's displacement from :math:`\theta_0`, unconstrained and free
of units: see `Part.displacement`.

An extrapolation is kept if its objective is above that of :math:`\theta_2`. Where it is below, it
may have left the ridge that EM climbs, to which one EM step leads back: that decides.

References
----------
Varadhan, R. and Roland, C. (2008). Simple and globally convergent methods for accelerating the
convergence of any EM algorithm. Scandinavian Journal of Statistics 35, 335-353.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from emfast.exceptions import FAILURES

Model = TypeVar("Model")

# EM steps that an extrapolation is made from.
STEPS = 2


class Space(Protocol[Model]):
    """What extrapolation needs to know of a problem, besides its E-step, M-step and objective.

    And, where no coordinate may change by more than so much, ``furthest``.
    """

    def displacement(self, model: Model, reference: Model) -> np.ndarray:
        """Unconstrained coordinates of `model`, 0 for `reference`; not finite where it has none."""

    def displaced(self, displacement: np.ndarray, reference: Model) -> Model | None:
        """The model of these coordinates; None where they are out of range."""


class Cycle(NamedTuple):
    """How far `Squarem` has come between two extrapolations.

    Attributes
    ----------
    path : list of models, where the EM steps since the last extrapolation have led
    ahead : model or None, an extrapolation that is still to be made up for
    gain : float, what the last extrapolation has gained
    """

    path: list[Any]
    ahead: Any
    gain: float


class Squarem(Generic[Model]):
    """Iterations of which two are EM steps, and the next is an extrapolation of these.

    Parameters
    ----------
    problem : a problem of the driver that is a `Space`
    step : callable, takes (problem, trace) one EM step on

    Raises
    ------
    TypeError
        The problem has not the methods of a `Space`.
    """

    def __init__(self, problem: Any, step: Callable[[Any, Any], None]) -> None:
        for method in ("displacement", "displaced"):
            if not callable(getattr(problem, method, None)):
                raise TypeError(
                    f"accelerate: found True, and a {type(problem).__name__} without the method "
                    f"{method!r}; expected the methods of emfast.acceleration.Space"
                )
        self._problem = problem
        self._step = step
        self._path: list[Model] = []
        self._ahead: tuple[Model, Any] | None = None
        self._gain = 0.0

    @property
    def cycle(self) -> Cycle:
        """How far it has come, all of which `go_on` needs."""
        ahead = None if self._ahead is None else self._ahead[0]
        return Cycle(list(self._path), ahead, self._gain)

    def go_on(self, cycle: Cycle) -> None:
        """Be where another one was."""
        self._path, self._gain = list(cycle.path), cycle.gain
        if cycle.ahead is not None:
            self._ahead = cycle.ahead, self._problem.estep(cycle.ahead)

    def advance(self, trace: Any, tol: float) -> bool:
        """Take `trace` one iteration on; whether it can tell convergence within `tol` by then."""
        if self._ahead is not None:
            self._come_back(trace, *self._ahead)
            return False
        if len(self._path) > STEPS:
            self._leap(trace)
            return False
        self._path = self._path or [trace.model]
        self._step(self._problem, trace)
        self._path.append(trace.model)
        # The first step after a leap says little of what others have yet to gain.
        return len(self._path) > STEPS and self._gain < tol

    def _leap(self, trace: Any) -> None:
        """Go where the last two steps lead, or stay."""
        path, self._path, self._gain = self._path, [], 0.0
        model = extrapolation(self._problem, path)
        statistics, objective = measured(self._problem, model)
        if objective > trace.objective:
            self._accept(trace, model, statistics, objective)
        elif math.isfinite(objective):
            self._ahead = model, statistics

    def _come_back(self, trace: Any, ahead: Model, statistics: Any) -> None:
        """Go on with an EM step from where the last leap has led to, if that makes up for it."""
        self._ahead = None
        with suppress(*FAILURES):
            model = self._problem.mstep(statistics, ahead)
            statistics, objective = measured(self._problem, model)
            if objective > trace.objective:
                self._accept(trace, model, statistics, objective)

    def _accept(self, trace: Any, model: Model, statistics: Any, objective: float) -> None:
        self._gain = objective - trace.objective
        # What earlier steps have gained says nothing of the steps from here.
        trace.move(model, statistics, objective, ())


def measured(problem: Any, model: Model | None) -> tuple[Any, float]:
    """Statistics and objective of a model; -inf where it is none that rows can come from."""
    if model is not None:
        with suppress(*FAILURES):
            statistics = problem.estep(model)
            return statistics, float(problem.objective(statistics, model))
    return None, -math.inf


def extrapolation(space: Space[Model], models: Sequence[Model]) -> Model | None:
    """The model that three in a row lead to, or None where they lead nowhere further."""
    start, middle, end = models
    r = space.displacement(middle, start)
    with np.errstate(invalid="ignore"):
        v = space.displacement(end, start) - 2 * r
    norms = float(np.linalg.norm(r)), float(np.linalg.norm(v))
    if not np.isfinite(norms).all() or norms[1] == 0 or norms[0] <= norms[1]:
        return None
    length = norms[0] / norms[1]
    furthest = getattr(space, "furthest", math.inf)
    while np.abs(2 * length * r + length**2 * v).max() > furthest:
        length /= 2
        if length <= 1:
            return None
    return space.displaced(2 * length * r + length**2 * v, start)
