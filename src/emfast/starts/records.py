"""What is known of starts: how each has gone, and how far all have come."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emfast import em
from emfast.exceptions import SingularComponentError
from emfast.passes import Model
from emfast.problems.grid import GridProblem
from emfast.statistics import Statistics
from emfast.storage.checkpoint import kind_of_state
from emfast.storage.stored import Kept, ListOf, OrNone, Record, Whole


@dataclass
class Restart:
    """How one of the starts went.

    Attributes
    ----------
    seed : int
    init_params : str
        ``random_state=seed, init_params=init_params, n_init=1`` repeats this start, unless it was
        in a race, where starts share their subsamples. Only the winner goes on beyond `tol`.
    n_rows : int
        Rows of the last run of EM from this start; fewer than all if it lost a race.
    lower_bounds : list of float
        The objective after every iteration of that run, in nats per unit of weight.
    n_iter : int
    converged : bool
        Whether it came within `tol`.
    score : float
        The objective of the final model on rows that are the same for all starts: all rows, or in
        a race some that are drawn for this alone, unless the fit was stopped. -inf where the start
        failed, or has come to a model that cannot have produced these rows.
    starved : list of int
        Components that lost all their rows.
    degenerate : list of int
        Components that owe their likelihood to few rows, or to rows that do not vary.
    error : str or None
        Why the start failed, or never began.
    singular : list of int
        Components whose covariances became singular, which is why it failed.
    won : bool
        Whether the fitted model is this one.
    """

    seed: int
    init_params: str = "kmeans"
    n_rows: int = 0
    lower_bounds: list[float] = field(default_factory=list)
    n_iter: int = 0
    converged: bool = False
    score: float = -np.inf
    starved: list[int] = field(default_factory=list)
    degenerate: list[int] = field(default_factory=list)
    error: str | None = None
    singular: list[int] = field(default_factory=list)
    won: bool = field(default=False, compare=False)

    def take(self, problem: GridProblem, trace: em.Trace) -> None:
        """Record a run of EM on the rows of `problem`."""
        self.lower_bounds = trace.objectives
        self.n_iter = trace.n_iter
        self.judge(problem, trace.statistics, trace.model)

    def judge(self, problem: GridProblem, statistics: Statistics, model: Model) -> None:
        """Record how good a model is, by its statistics of the rows that EM has run on."""
        self.n_rows = problem.source.n_rows
        self.weigh(problem, statistics, model)

    def weigh(self, problem: GridProblem, statistics: Statistics | None, model: Model) -> None:
        """The same by statistics of other rows, which are None where they rule the model out."""
        if statistics is None:
            self.score = -np.inf
            return
        self.score = problem.objective(statistics, model)
        self.starved = problem.starved(statistics, model)
        self.degenerate = problem.degenerate(statistics, model)

    @property
    def merit(self) -> tuple[bool, float]:
        """What the best start has most of: no degenerate component, then the score."""
        return not self.degenerate, self.score


@contextmanager
def failure_recorded(restart: Restart) -> Iterator[None]:
    """A start that ends in singular covariances fails alone."""
    try:
        yield
    except SingularComponentError as error:
        restart.error, restart.singular = str(error), list(error.components)
        restart.score = -np.inf


@dataclass
class Run:
    """A start under way: its record and number, the model it has come to, its run on all rows.

    And the model `before` Newton's steps, if they have led to the one it has come to; the
    `statistics` of all rows under that, if they are known.
    """

    restart: Restart
    number: int
    model: Model | None = None
    begun: bool = False
    before: Model | None = None
    statistics: Statistics | None = None
    trace: em.Trace[Model] | None = None

    def go_on_from(self, other: "Run") -> None:
        """Be where another one has come to."""
        self.restart, self.model = other.restart, other.model
        self.before, self.statistics = other.before, other.statistics


@dataclass
class Starts:
    """What all starts have come to.

    Attributes
    ----------
    runs : list of Run
    race : bool
        Whether only the best go on after each subsample, instead of every start.
    n_done : int, how many of the groups have run on all rows
    finalists : list of Run, or None
        Those of the group under way that are to run on all rows, the best first, until one can.
        None as long as there is none to be chosen.
    winner : Run or None, the best of those that have run on all rows
    """

    runs: list[Run]
    race: bool
    n_done: int = 0
    finalists: list[Run] | None = None
    winner: Run | None = None

    @property
    def restarts(self) -> list[Restart]:
        return [run.restart for run in self.runs]

    @property
    def groups(self) -> list[list[Run]]:
        """Those starts that race, or each alone."""
        return [self.runs] if self.race else [[run] for run in self.runs]

    def kept(self) -> dict[str, Any]:
        """What a checkpoint keeps of them."""
        runs = [
            # Without a race nothing is asked of starts that have not won.
            {
                "restart": run.restart,
                "number": run.number,
                "model": run.model if self.race else None,
                "begun": run.begun,
                "before": run.before,
            }
            for run in self.runs
        ]
        finalists = None if self.finalists is None else [run.number for run in self.finalists]
        winner = self.winner
        return {
            "runs": runs,
            "n_done": self.n_done,
            "finalists": finalists,
            "winner": None if winner is None else winner.number,
            "best": None if winner is None else em.State.of(winner.trace),
        }

    @staticmethod
    def kinds(model: Kept) -> dict[str, Any]:
        """What each of the values in `kept` has to be, whose models have to be of a kind."""
        run = Record(
            Run, restart=Restart, number=int, model=OrNone(model), begun=bool, before=OrNone(model)
        )
        return {
            "runs": ListOf(run),
            "n_done": Whole(),
            "finalists": OrNone(list[int]),
            "winner": int | None,
            "best": OrNone(kind_of_state(model)),
        }

    def restore(self, kept: dict[str, Any]) -> em.State[Model] | None:
        """Go on from what was kept; the state that the winner's run has ended in."""
        if len(kept["runs"]) != len(self.runs):
            raise ValueError(f"found {len(kept['runs'])} starts; expected {len(self.runs)}")
        self.runs, self.n_done = kept["runs"], kept["n_done"]
        if kept["finalists"] is not None:
            self.finalists = [self.runs[number] for number in kept["finalists"]]
        if kept["winner"] is not None:
            self.winner = self.runs[kept["winner"]]
        return kept["best"]
