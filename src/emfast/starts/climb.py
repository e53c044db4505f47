r"""Up a ridge by Newton's steps, where EM takes hundreds of iterations.

Near a maximum each iteration :math:`M` of EM multiplies what is left of the way by its Jacobian J,
and crawls where that has an eigenvalue near 1. Newton's step to :math:`M(\theta) = \theta` is

.. math:: (I - J)^{-1} (M(\theta) - \theta).

What stands on the right comes from all rows, J from part of them: it only says how far each
direction is to be stretched, and the fewer its rows, the more steps are needed [1]_. It is never
formed. Arnoldi's iteration asks for its product with some directions, each the difference of two
iterations of EM on that part, and finds the eigenvalues of :math:`I - J` that matter. Where one is
negative, the objective curves upwards, and Newton's step leads back; its modulus leads on [2]_. A
limit of the stretch is lowered after steps that lead down, until none is longer than that of EM.

These steps make a start better, as subsamples do; where they end EM on all rows begins, and tells
whether it has converged. Several starts take them side by side, each as long as it may come to the
highest maximum, and the better half after each step: which one that is no subsample tells where
maxima are almost as high.

References
----------
.. [1] Jordan, M. I., Lee, J. D. and Yang, Y. (2019). Communication-efficient distributed
   statistical inference. Journal of the American Statistical Association 114, 668-681.
.. [2] Dauphin, Y. N., Pascanu, R., Gulcehre, C., Cho, K., Ganguli, S. and Bengio, Y. (2014).
   Identifying and attacking the saddle point problem in high-dimensional non-convex optimization.
   Advances in Neural Information Processing Systems 27, 2933-2941.
"""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from emfast import em
from emfast.acceleration import measured
from emfast.exceptions import FAILURES
from emfast.passes import Model
from emfast.problems.grid import GridProblem
from emfast.problems.together import iterate_each
from emfast.starts.initialize import is_scarce
from emfast.statistics import Statistics

# Steps at most. The last is one that gains less, in nats per unit of weight, or leaves less to gain
# by Aitken's estimate, which on a ridge is often too low.
MOST_STEPS = 15
LEAST_GAIN = 1e-5
LEAST_LEFT = 1e-6

# By how much a direction is stretched at most: in the first step, and in any. The limit is lowered
# by one factor until a step leads up, and raised by the other after it.
LIMIT = 100.0
FURTHEST_LIMIT = 1000.0
LOWERED, RAISED = 0.3, 2.0

# About so many rows, and at most this fraction of all, say how far directions are to be stretched;
# more do after a step that has led down.
PART_ROWS = 10_000
NEARLY = 0.9
LARGEST_PART = 1 / 4

# Directions at most; fewer are enough if no more than this fraction of the step is left to others.
MOST_DIRECTIONS = 20
UNEXPLAINED = 0.1

# One of several ends where it is lower than the highest by more than so many times what its last
# step has gained.
PROMISE = 10.0

# The length of a change of coordinates that shows what an iteration makes of its direction.
PROBE = {"float32": 1e-2, "float64": 1e-4}

# An image that is shorter once known directions are taken out is but rounding.
NO_DIRECTION = 1e-9


class Place(NamedTuple):
    """A model, and what all rows say of it.

    Attributes
    ----------
    model : Model
    statistics : Statistics, or None where they rule it out
    objective : float, -inf where they do
    sound : bool, whether a step may begin or end there: no component is degenerate, or starved
    """

    model: Model
    statistics: Statistics | None
    objective: float
    sound: bool


class Ask(NamedTuple):
    """A question of a path: where an iteration of EM on part of the rows leads from a model."""

    part: GridProblem
    model: Model


class Step(NamedTuple):
    """Where a step has led.

    Attributes
    ----------
    place : Place or None, if it leads nowhere higher
    shortened : bool, whether it led too far at first
    limit : float, of how far the next step may stretch a direction
    """

    place: Place | None
    shortened: bool
    limit: float


class Directions(NamedTuple):
    """The directions that a step consists of: Ritz vectors of I - J in its Krylov space.

    Attributes
    ----------
    eigenvalues : ndarray of shape (n_directions,), real or complex, as what follows
    vectors : ndarray of shape (n_directions, n_directions), in terms of the basis
    shares : ndarray of shape (n_directions,), what of each is in the step of EM
    basis : ndarray of shape (n_directions, n_coordinates)
    """

    eigenvalues: np.ndarray
    vectors: np.ndarray
    shares: np.ndarray
    basis: np.ndarray

    @property
    def reach(self) -> float:
        """The stretch that no direction exceeds, whatever the limit."""
        least = float(np.abs(self.eigenvalues).min())
        return 1 / least if least > 0 else math.inf

    def stretched(self, limit: float) -> np.ndarray:
        """The step with every direction stretched, at most to `limit` times its length."""
        stretch = 1 / np.maximum(np.abs(self.eigenvalues), 1 / limit)
        return (self.vectors @ (self.shares * stretch)).real @ self.basis


# A path, or part of one that asks on its way to a result: see `_next_places`.
Path = Generator[Place | Ask, Model | None, None]
Result = TypeVar("Result")
Asking = Generator[Ask, Model, Result]


def parts_for(
    problem: GridProblem, subsamples: Sequence[GridProblem], n_components: int
) -> list[GridProblem]:
    """The subsamples whose rows say how far a step leads, smallest first.

    There is none if all are few, or little less than all rows, or if rows are not shared by
    components, which then change by leaps.
    """
    if problem.latent.assignment != "soft":
        return []
    large = [part for part in subsamples if part.source.n_rows >= NEARLY * PART_ROWS]
    most = LARGEST_PART * problem.source.n_rows
    return [
        part
        for part in large or subsamples[-1:]
        if part.source.n_rows <= most and not is_scarce(part, n_components)
    ]


def side_by_side(
    problem: GridProblem, parts: Sequence[GridProblem], models: Sequence[Model]
) -> Iterator[tuple[int, Place]]:
    """Where Newton's steps lead from several models, each as long as it may lead highest.

    Parameters
    ----------
    problem : GridProblem, on all rows
    parts : sequence of GridProblem, see `parts_for`; without any no step is taken
    models : sequence of Model, what EM on a subsample has led to

    Yields
    ------
    number : int, of the model
    place : Place
        That of the model itself first; those after it are sound, each with a higher objective.
    """
    paths = {i: _path(problem, parts, model) for i, model in enumerate(models)}
    histories: list[list[float]] = [[] for _ in models]
    while paths:
        for i, place in _next_places(paths):
            if place is None:
                del paths[i]
                continue
            if place.sound:
                histories[i].append(place.objective)
            yield i, place
        paths = {i: paths[i] for i in _promising(histories, list(paths))}


def _promising(histories: Sequence[Sequence[float]], under_way: list[int]) -> list[int]:
    """The paths that may lead above the highest place so far; after a step, the better half."""
    highest = max((history[-1] for history in histories if history), default=-math.inf)
    going_on = [i for i in under_way if _is_promising(histories[i], highest)]
    if max(map(len, histories)) < 2:
        return going_on
    going_on.sort(key=lambda i: histories[i][-1:], reverse=True)
    return going_on[: max(2, math.ceil(len(under_way) / 2))]


def _next_places(paths: dict[int, Path]) -> list[tuple[int, Place | None]]:
    """Where the next step of every path leads; None for one that has ended.

    What paths ask of the same rows is answered together.
    """
    places: dict[int, Place | None] = {}
    answers: dict[int, Model | Exception | None] = dict.fromkeys(paths)
    while answers:
        asked = {}
        for i, answer in answers.items():
            said = _said(paths[i], answer)
            if isinstance(said, Ask):
                asked[i] = said
            else:
                places[i] = said
        answers = _answers(asked)
    return sorted(places.items())


def _said(path: Path, answer: Model | Exception | None) -> Place | Ask | None:
    """What a path says to an answer; None if it ends."""
    try:
        return path.throw(answer) if isinstance(answer, Exception) else path.send(answer)
    except StopIteration:
        return None


def _answers(asked: dict[int, Ask]) -> dict[int, Model | Exception]:
    """What each path has asked for, or the error that is raised there."""
    answers: dict[int, Model | Exception] = {}
    for part in {id(ask.part): ask.part for ask in asked.values()}.values():
        models = {i: ask.model for i, ask in asked.items() if ask.part is part}
        answers.update(zip(models, iterate_each(part, list(models.values())), strict=True))
    return answers


def _is_promising(history: Sequence[float], highest: float) -> bool:
    """Whether steps that have led to these objectives may lead above another one."""
    if len(history) < 2:
        return True
    return highest - history[-1] <= PROMISE * (history[-1] - history[-2])


def _path(problem: GridProblem, parts: Sequence[GridProblem], model: Model) -> Path:
    """The places that Newton's steps lead to from a model, that of the model itself first."""
    parts, limit = list(parts), LIMIT
    place = _place(problem, model)
    yield place
    if not parts or not place.sound:
        return
    history = [place.objective]
    for _ in range(MOST_STEPS):
        step = yield from _step(problem, parts[0], place, limit)
        if step.place is not None:
            place = step.place
            history.append(place.objective)
            yield place
            if not step.shortened and _is_done(history):
                return
        if step.shortened and len(parts) > 1:
            # The next larger one knows better how far to go.
            del parts[0]
        elif step.place is None:
            return
        limit = step.limit


def _is_done(history: Sequence[float]) -> bool:
    """Whether the last of some steps has gained little, or left little to gain."""
    left = em.remaining_gain(history)
    return history[-1] - history[-2] < LEAST_GAIN or (left is not None and left < LEAST_LEFT)


def _place(problem: GridProblem, model: Model) -> Place:
    statistics, objective = measured(problem, model)
    sound = math.isfinite(objective) and not problem.faulty(statistics, model)
    return Place(model, statistics, objective, sound)


def _step(problem: GridProblem, part: GridProblem, place: Place, limit: float) -> Asking[Step]:
    """A step, as far as it leads higher."""
    directions = yield from _directions(problem, part, place)
    if directions is None:
        return Step(None, True, LIMIT)
    # No two limits beyond what directions ask for are two steps.
    first = tried = max(1.0, min(limit, directions.reach))
    while True:
        step = directions.stretched(tried)
        step *= min(1.0, problem.furthest / np.abs(step).max())
        model = problem.displaced(step, place.model)
        found = None if model is None else _place(problem, model)
        if found is not None and found.sound and found.objective > place.objective:
            trusted = limit if tried == first else tried
            return Step(found, tried < first, min(RAISED * trusted, FURTHEST_LIMIT))
        if tried == 1:
            return Step(None, True, LIMIT)
        tried = max(1.0, LOWERED * tried)


def _directions(problem: GridProblem, part: GridProblem, place: Place) -> Asking[Directions | None]:
    """Those of the step from a place, as part of the rows says; None if it cannot say."""
    model, probe = place.model, PROBE[part.source.dtype]

    def after(displacement: np.ndarray) -> Asking[np.ndarray]:
        """Where an iteration on the part leads from there."""
        there = part.displaced(displacement, model)
        if there is None:
            raise np.linalg.LinAlgError
        found = part.displacement((yield Ask(part, there)), model)
        if not np.isfinite(found).all():
            # A component has lost the few rows of the part that it had.
            raise np.linalg.LinAlgError
        return found

    def product(v: np.ndarray) -> Asking[np.ndarray]:
        return v - ((yield from after(probe * v)) - here) / probe

    try:
        ahead = problem.displacement(problem.mstep(place.statistics, model), model)
        if not np.isfinite(ahead).all() or not ahead.any():
            return None
        here = yield from after(np.zeros_like(ahead))
        return (yield from _arnoldi(product, ahead))
    except (*FAILURES, np.linalg.LinAlgError):
        return None


def _arnoldi(
    product: Callable[[np.ndarray], Asking[np.ndarray]], step: np.ndarray
) -> Asking[Directions]:
    r"""Eigenvectors of a matrix in the Krylov space of a step, enough to divide the step by it.

    With an orthonormal basis Q of that space, and the images :math:`A Q_n = Q_{n+1} H`, what is
    left is :math:`\min_y |H y - e_1|` [1]_. A `LinAlgError` where there are none.

    References
    ----------
    .. [1] Saad, Y. (2003). Iterative Methods for Sparse Linear Systems, 2nd ed., section 6.5. SIAM.
    """
    length = np.linalg.norm(step)
    most = min(MOST_DIRECTIONS, step.size)
    basis, H = np.zeros((most + 1, step.size)), np.zeros((most + 1, most))
    basis[0] = step / length
    for n in range(1, most + 1):
        image = yield from product(basis[n - 1])
        # Twice, for what is left after once may be rounding of what was taken.
        for _ in range(2):
            shares = basis[:n] @ image
            image = image - shares @ basis[:n]
            H[:n, n - 1] += shares
        H[n, n - 1] = np.linalg.norm(image)
        first = np.eye(n + 1)[0]
        left = H[: n + 1, :n] @ np.linalg.lstsq(H[: n + 1, :n], first, rcond=None)[0] - first
        if np.linalg.norm(left) < UNEXPLAINED or H[n, n - 1] < NO_DIRECTION:
            break
        basis[n] = image / H[n, n - 1]
    eigenvalues, vectors = np.linalg.eig(H[:n, :n])
    shares = np.linalg.solve(vectors, length * np.eye(n)[0])
    if not np.isfinite(shares).all():
        raise np.linalg.LinAlgError
    return Directions(eigenvalues, vectors, shares, basis[:n])
