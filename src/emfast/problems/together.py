"""Several models of the same rows, which EM improves together.

One pass over the rows, and one M-step, serve all of them: where rows are few, an iteration costs
what Python does, however many models there are. Each goes the way it would go alone.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from emfast import em
from emfast.exceptions import FAILURES, Failure
from emfast.latent.mixture import MixtureWeights
from emfast.latent.side_by_side import SideBySide
from emfast.passes import Model
from emfast.problems.grid import GridProblem
from emfast.statistics import Statistics


def has_plain_components(problem: GridProblem) -> bool:
    """Whether components can be exchanged between models: nothing is known of any by its number.

    They are those of a mixture whose weights are the same for all rows, without noise or a prior.
    """
    latent, emission = problem.latent, problem.emission
    return (
        type(latent) is MixtureWeights
        and latent.noise is None
        and latent.prior is None
        and emission.separable
        and emission.prior is None
        and not problem.fixed
        and problem.source.batch.labels.nothing_known
    )


def runs_together(problem: GridProblem, models: Sequence[Model]) -> bool:
    """Whether several models can be improved together: their components share nothing."""
    return len(models) > 1 and has_plain_components(problem) and not problem.emission.shared


class Together:
    """Several models side by side, as a problem of the driver.

    Parameters
    ----------
    problem : GridProblem, of one of them; it has plain components, and rows in memory
    """

    def __init__(self, problem: GridProblem) -> None:
        self._own = problem
        self._all = replace(problem, latent=SideBySide(assignment=problem.latent.assignment))
        self.mstep = self._all.mstep
        self.slack, self.rounding = self._all.slack, self._all.rounding
        # Of every model after every iteration.
        self.objectives: list[np.ndarray] = []

    def joined(self, models: Sequence[Model]) -> Model:
        """The models as one."""
        weights = np.array([model.latent for model in models])
        return Model(weights, self._own.emission.joined([model.emission for model in models]))

    def apart(self, model: Model) -> list[Model]:
        """Each of the models again."""
        taken, K = self._own.emission.of_components, model.latent.shape[1]
        return [
            Model(weights, taken(model.emission, slice(i * K, i * K + K)), model.iteration)
            for i, weights in enumerate(model.latent)
        ]

    def estep(self, model: Model) -> Statistics:
        """Nothing is left out as constant, of which every model would have its share."""
        return self._all.source.total(self._all.asked(model))

    def objective(self, statistics: Statistics, model: Model) -> float:
        """The mean of theirs."""
        self.objectives.append(statistics.latent.log_likelihoods / statistics.weight)
        return float(self.objectives[-1].mean())


def maximize_each(
    problem: GridProblem, models: Sequence[Model], *, tol: float, max_iter: int
) -> list[em.Trace[Model] | Failure]:
    """Run EM from each of several models; the trace of each, or why it ended.

    Together, if components are plain and share nothing: all end when the mean of their gains is
    below `tol`.
    """
    if runs_together(problem, models):
        try:
            return _together(problem, models, tol, max_iter)
        except FAILURES:
            # One of them has failed: which, and how the others go on, they tell alone.
            pass
    return [_alone(problem, model, tol, max_iter) for model in models]


def iterate_each(problem: GridProblem, models: Sequence[Model]) -> list[Model | Exception]:
    """Take one iteration of EM from each of several models; the model after it, or why it failed.

    Together, if components are plain and share nothing. Where a model is far from the rows, algebra
    may fail, too.
    """
    if runs_together(problem, models):
        together = Together(problem)
        joined = together.joined(models)
        with suppress(*FAILURES, np.linalg.LinAlgError):
            return together.apart(together.mstep(together.estep(joined), joined))
    return [_iterated(problem, model) for model in models]


def _iterated(problem: GridProblem, model: Model) -> Model | Exception:
    try:
        return problem.mstep(problem.estep(model), model)
    except (*FAILURES, np.linalg.LinAlgError) as error:
        return error


def _together(
    problem: GridProblem, models: Sequence[Model], tol: float, max_iter: int
) -> list[em.Trace[Model]]:
    together = Together(problem)
    run = em.maximize(together, together.joined(models), tol=tol, max_iter=max_iter)
    objectives = np.array(together.objectives).T
    return [
        _trace(problem, model, own[1:].tolist(), run.converged)
        for model, own in zip(together.apart(run.model), objectives, strict=True)
    ]


def _trace(
    problem: GridProblem, model: Model, objectives: list[float], converged: bool
) -> em.Trace[Model]:
    statistics: Any = problem.estep(model)
    objective = problem.objective(statistics, model)
    return em.Trace(model, objective, statistics, objectives, converged, [objective])


def _alone(
    problem: GridProblem, model: Model, tol: float, max_iter: int
) -> em.Trace[Model] | Failure:
    try:
        return em.maximize(problem, model, tol=tol, max_iter=max_iter)
    except FAILURES as error:
        return error
