"""A fit while it runs: what people see of it, and how they end it.

This is around the driver, and in no model: every iteration of `em.maximize` is told to a `Watch`.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from numbers import Integral
from time import perf_counter
from typing import Any

from sklearn.utils._param_validation import Interval

from emfast import em
from emfast.exceptions import Interrupted, SingularComponentError
from emfast.storage.checkpoint import Checkpoint

# What estimators that are watched take as arguments.
WATCH_CONSTRAINTS: dict = {
    "verbose": ["verbose"],
    "verbose_interval": [Interval(Integral, 1, None, closed="left")],
    "progress": ["boolean"],
    "callback": [callable, None],
    "checkpoint": [str, os.PathLike, None],
}


class Watch:
    """Prints, shows a bar, calls back, keeps a checkpoint, and knows whether the fit was stopped.

    Parameters
    ----------
    estimator : estimator with the arguments in `WATCH_CONSTRAINTS`, and `max_iter`
    n_starts : int, of how many starts the best is kept
    n_runs : int, optional
        How many of them run on all rows; all by default.
    objective : str, what the bar calls the objective
    checkpoint : Checkpoint, optional
        Its file is gone if the fit comes to an end, and stays if that is stopped.

    Attributes
    ----------
    stopped : bool
        Whether the callback, or Ctrl-C, has ended the fit.
    """

    def __init__(
        self,
        estimator: Any,
        n_starts: int = 1,
        n_runs: int | None = None,
        objective: str = "log-likelihood",
        checkpoint: Checkpoint | None = None,
    ):
        self.stopped = False
        self._interrupted = False
        self._verbose, self._interval = estimator.verbose, estimator.verbose_interval
        self._callback: Callable[[em.Iteration], object] | None = estimator.callback
        self._n_starts, self._max_iter = n_starts, int(estimator.max_iter)
        self._n_runs = n_starts if n_runs is None else n_runs
        self._checkpoint = checkpoint
        # When the run under way began, and when its time was last told.
        self._begun = self._asked = perf_counter()
        self._bar = None
        if estimator.progress:
            self._bar = Bar(self._n_runs * self._max_iter, objective)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
        # No start would go better another time.
        ended = (kind is None and not self.stopped) or kind is SingularComponentError
        if ended and self._checkpoint is not None:
            self._checkpoint.remove()

    def maximize(
        self, problem: Any, model: Any, start: int = 0, *, max_iter: int, done: int = 0, **options
    ) -> em.Trace:
        """`em.maximize`, watched. Ctrl-C ends it as the callback does.

        Parameters
        ----------
        problem, model, max_iter, **options : see `em.maximize`
        start : int, the number of the start that has led to `model`
        done : int, iterations of it that an earlier run has done
        """
        state = None
        if self._checkpoint is not None:
            state = self._checkpoint.state(start, done)
            options |= {"keep": partial(self._checkpoint.keep, start, done), "state": state}
        if self._bar is not None:
            here = max_iter - (0 if state is None else len(state.objectives))
            runs_left = max(0, self._n_runs - 1 - start)
            self._bar.expect(here + runs_left * self._max_iter)
        watched = self._verbose or self._bar is not None or self._callback is not None
        observe = partial(self._see, start, done) if watched else None
        self._begun = self._asked = perf_counter()
        try:
            trace = em.maximize(problem, model, max_iter=max_iter, observe=observe, **options)
        except Interrupted as interrupt:
            self._interrupted = True
            trace = interrupt.trace
        self.stopped = self.stopped or trace.stopped
        if self.stopped and self._checkpoint is not None:
            self._checkpoint.write()
        return trace

    def leave(self, model: Any) -> None:
        """Tell the checkpoint which model a fit that was stopped has left."""
        if self.stopped and self._checkpoint is not None:
            self._checkpoint.leave(model)

    def tell(self, text: str) -> None:
        """Say what goes on before there are iterations on all rows."""
        if self._bar is not None:
            self._bar.describe(text)

    def interrupt(self) -> None:
        """Take note of Ctrl-C elsewhere than in an iteration on all rows."""
        self.stopped = self._interrupted = True

    def raise_interrupt(self) -> None:
        """Raise the `KeyboardInterrupt` that ended the fit, now that its model has been kept."""
        if self._interrupted:
            raise KeyboardInterrupt("the fit was stopped, and has the best model so far")

    def _see(self, start: int, done: int, iteration: em.Iteration) -> bool:
        """Tell of an iteration; whether to stop after it."""
        iteration = replace(
            iteration, number=done + iteration.number, start=start, n_starts=self._n_starts
        )
        if self._verbose:
            self._print(iteration)
        if self._bar is not None:
            self._bar.show(iteration)
        return self._callback is not None and bool(self._callback(iteration))

    def _print(self, iteration: em.Iteration) -> None:
        """Print progress as scikit-learn's mixtures do."""
        say = print if self._bar is None else self._bar.write
        if iteration.number == 1:
            say(f"Initialization {iteration.start}")
        details = self._verbose > 1
        if iteration.number % self._interval == 0:
            told = f"\t time lapse {self._lapse():.5f}s\t ll change {iteration.gain:.5f}"
            say(f"  Iteration {iteration.number}{told if details else ''}")
        if iteration.converged or iteration.number == self._max_iter:
            how = "converged" if iteration.converged else "did not converge"
            lapse = f" time lapse {perf_counter() - self._begun:.5f}s"
            told = f"{lapse}\t lower bound {iteration.objective:.5f}."
            say(f"Initialization {how}.{told if details else ''}")

    def _lapse(self) -> float:
        """Seconds since this was asked before, or since the run began."""
        before, self._asked = self._asked, perf_counter()
        return self._asked - before


class Bar:
    """A bar of `tqdm`, of as many iterations as there may be.

    Raises
    ------
    ImportError
        There is no tqdm.
    """

    def __init__(self, total: int, objective: str = "log-likelihood", unit: str = "it"):
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError(
                "progress: found True, and no tqdm, which draws the bar; pip install tqdm"
            ) from error
        self._objective = objective
        self._bar = tqdm(total=total, desc="start", unit=unit)

    def expect(self, further: int) -> None:
        """How much is still to come at most."""
        self._bar.total = self._bar.n + further

    def describe(self, text: str) -> None:
        self._bar.set_description(text)

    def show(self, iteration: em.Iteration) -> None:
        """One iteration more."""
        which = f"start {iteration.start + 1} of {iteration.n_starts}"
        self._bar.set_description("EM" if iteration.n_starts == 1 else which, refresh=False)
        self.note(iteration)
        self._bar.update()

    def note(self, iteration: em.Iteration) -> None:
        """Show objective and gain without a step of the bar."""
        left = iteration.remaining_gain
        shown = "?" if left is None else f"{left:.1e}"
        self._bar.set_postfix_str(
            f"{self._objective} {iteration.objective:.6g}, still to gain {shown}", refresh=False
        )

    def step(self) -> None:
        self._bar.update()

    def write(self, line: str) -> None:
        self._bar.write(line)

    def close(self) -> None:
        """Leave the bar as it is, full if nothing is still to come."""
        self._bar.total = self._bar.n
        self._bar.refresh()
        self._bar.close()
