"""Many starts, the best one kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from emfast import em
from emfast.exceptions import SingularComponentError
from emfast.problem import MixtureProblem, Model
from emfast.statistics import starved
from emfast.threads import SingleThreadedBlas


@dataclass
class Restart:
    """How one of the starts went.

    Attributes
    ----------
    seed : int
        ``random_state=seed, n_init=1`` repeats this start.
    n_rows : int
        Rows the start was run on.
    lower_bounds : list of float
        The objective after every iteration, in nats per unit of weight.
    n_iter : int
    converged : bool
    score : float
        The objective of the final model on all rows; -inf where the start failed.
    starved : list of int
        Components that lost all their rows.
    error : str or None
        Why the start failed.
    """

    seed: int
    n_rows: int
    lower_bounds: list[float] = field(default_factory=list)
    n_iter: int = 0
    converged: bool = False
    score: float = -np.inf
    starved: list[int] = field(default_factory=list)
    error: str | None = None


def best_of(
    problem: MixtureProblem,
    seeds: Sequence[int],
    start: Callable[[int], Model],
    *,
    tol: float,
    max_iter: int,
    history: Sequence[float] = (),
    observe: Callable[[int, em.Iteration], None],
) -> tuple[em.Trace[Model], list[Restart]]:
    """Run EM from every start; the trace with the highest objective, and how each start went.

    Parameters
    ----------
    problem : MixtureProblem
    seeds : sequence of int, one for each start
    start : callable, the model that a seed starts from
    tol, max_iter, history : see `em.maximize`
    observe : callable, given the number of the start and each iteration

    Raises
    ------
    SingularComponentError
        Every start ended in singular covariances.
    """
    best, restarts = None, []
    for number, seed in enumerate(seeds):
        restart = Restart(seed, problem.source.n_rows)
        restarts.append(restart)
        try:
            # k-means, too, wants BLAS on one thread, and would give it back before we do.
            with SingleThreadedBlas():
                trace = em.maximize(
                    problem,
                    start(seed),
                    tol=tol,
                    max_iter=max_iter,
                    history=history,
                    observe=lambda iteration, number=number: observe(number, iteration),
                )
        except SingularComponentError as error:
            restart.error = str(error)
            last_error = error
            continue
        restart.lower_bounds = trace.objectives
        restart.n_iter = trace.n_iter
        restart.converged = trace.converged
        restart.score = trace.objective
        restart.starved = np.flatnonzero(starved(trace.statistics.counts)).tolist()
        if best is None or trace.objective > best.objective:
            best = trace
    if best is None:
        raise SingularComponentError(
            f"all {len(seeds)} start(s) failed; in the last one {last_error}",
            last_error.components,
        )
    return best, restarts
