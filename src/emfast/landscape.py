"""Where EM goes from a grid of starts: for mixtures of two components in one column.

The two initial values - means, probabilities or rates - span a plane, in which one can look at what
a fit makes of every start.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import copy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from emfast.annotations import Rows, Values
from emfast.estimators.base.mixture import BaseMixture
from emfast.exceptions import (
    DegenerateComponentWarning,
    SingularComponentError,
    StarvedComponentWarning,
)
from emfast.inputs.labels import encode_labels
from emfast.theory import check_mixture, check_n_iter, iterations

# When a path has arrived: the gain that is left to a row, in nats, and the most iterations.
ARRIVED = 1e-10
LIMIT_ITER = 10_000

# Limits are one where they differ by less than this fraction of the grid.
SAME = 1e-2


class Landscape(NamedTuple):
    """What EM makes of a grid of starts.

    Attributes
    ----------
    group : str, what the values are: "means", "probabilities" or "rates"
    first, second : ndarray of shape (n_first,) and (n_second,)
        Initial values of component 0 and of component 1.
    objective : ndarray of shape (n_second, n_first)
        Mean objective after `n_iter` iterations, in nats; nan where the fit failed.
    n_iter : int
    """

    group: str
    first: np.ndarray
    second: np.ndarray
    objective: np.ndarray
    n_iter: int


class Paths(NamedTuple):
    """Where EM goes from a grid of starts.

    Attributes
    ----------
    group : str, what the values are: "means", "probabilities" or "rates"
    positions : ndarray of shape (n_second, n_first, n_iter + 1, 2)
        Both values at the start and after every iteration; nan once a fit has failed.
    attractors : ndarray of shape (n_attractors, 2)
        Where paths lead to in the end, the highest objective first.
    objectives : ndarray of shape (n_attractors,), the mean objective there, in nats
    leads_to : ndarray of shape (n_second, n_first)
        Which attractor each path leads to, or -1 where the fit failed.
    """

    group: str
    positions: np.ndarray
    attractors: np.ndarray
    objectives: np.ndarray
    leads_to: np.ndarray


def landscape(
    estimator: BaseMixture,
    X: Rows,
    first: ArrayLike,
    second: ArrayLike,
    *,
    n_iter: int = 10,
    sample_weight: ArrayLike | None = None,
    labels: Values | None = None,
) -> Landscape:
    """The objective that a mixture of two components in one column reaches from a grid of starts.

    Parameters
    ----------
    estimator : mixture of two components
        What is known, and the starting values of all but the grid's group. It is left as it is.
    X : array-like of shape (n_samples, 1)
    first, second : array-like of shape (n_first,) and (n_second,)
        Initial means (probabilities, rates) of component 0 and of component 1.
    n_iter : int, default=10
        0 gives the objective of the starts themselves.
    sample_weight, labels : see `fit`

    Returns
    -------
    Landscape

    Raises
    ------
    TypeError, ValueError
        The estimator is no mixture of two components, X has not one column, or an argument is bad.
    """
    check_n_iter(n_iter, 0)
    group, first, second = _checked(estimator, X, first, second)
    labels = _encoded(labels, X, estimator)
    objective = np.full((second.size, first.size), np.nan)
    for place, mixture in _starts(estimator, group, first, second):
        mixture.set_params(tol=0, max_iter=n_iter, warm_start=False)
        with _one_start_may_fail():
            mixture.fit(X, labels=labels, sample_weight=sample_weight)
            objective[place] = mixture.lower_bound_
    return Landscape(group, first, second, objective, n_iter)


def paths(
    estimator: BaseMixture,
    X: Rows,
    first: ArrayLike,
    second: ArrayLike,
    *,
    n_iter: int = 10,
    sample_weight: ArrayLike | None = None,
    labels: Values | None = None,
) -> Paths:
    """Where EM goes from a grid of starts, and where it ends.

    Parameters
    ----------
    estimator, X, first, second, sample_weight, labels : see `landscape`
    n_iter : int, default=10
        How many iterations the paths show; attractors are where they lead to with more.

    Returns
    -------
    Paths

    Raises
    ------
    TypeError, ValueError
        See `landscape`.
    """
    check_n_iter(n_iter, 1)
    group, first, second = _checked(estimator, X, first, second)
    if estimator.assignment == "stochastic":
        raise ValueError(
            "estimator: found assignment='stochastic'; expected 'soft' or 'hard', with which paths "
            "have an end"
        )
    positions = np.full((second.size, first.size, n_iter + 1, 2), np.nan)
    limits = np.full((second.size, first.size, 3), np.nan)
    given = {"sample_weight": sample_weight, "labels": _encoded(labels, X, estimator)}
    for place, mixture in _starts(estimator, group, first, second):
        with _one_start_may_fail():
            models = iterations(mixture, X, n_iter, **given)
            positions[place] = [_values(model, group) for model in models]
            last = copy(models[-1]).set_params(tol=ARRIVED, max_iter=LIMIT_ITER, warm_start=True)
            last.fit(X, **given)
            limits[place] = *_values(last, group), last.lower_bound_
    span = max(np.ptp(first), np.ptp(second))
    return Paths(group, positions, *_distinct(limits, SAME * span))


def _checked(estimator: Any, X: Any, first: Any, second: Any) -> tuple[str, np.ndarray, np.ndarray]:
    """The group whose initial values are varied, and both axes of the grid."""
    check_mixture(estimator)
    if estimator.n_components != 2:
        raise ValueError(
            f"estimator: found n_components={estimator.n_components}; expected 2, the initial "
            "values of which are the axes of the grid"
        )
    if len(np.shape(X)) != 2 or np.shape(X)[1] != 1:
        raise ValueError(f"X: found shape {np.shape(X)}; expected (n_samples, 1), one column")
    axes = []
    for name, values in (("first", first), ("second", second)):
        axis = np.asarray(values, dtype=np.float64)
        if axis.ndim != 1 or axis.size < 2 or not np.isfinite(axis).all():
            raise ValueError(f"{name}: found {values!r}; expected a sequence of at least 2 numbers")
        axes.append(axis)
    return estimator._emission().groups[0], *axes


def _encoded(labels: Any, X: Any, estimator: BaseMixture) -> np.ndarray | None:
    """Labels that are encoded once, for many fits."""
    known = encode_labels(labels, np.shape(X)[0], 2, noise=estimator._has_noise)
    if known.component is None:
        return None if known.allowed is None else known.allowed.astype(bool)
    return np.where(known.component == 2, -2, known.component)


def _starts(
    estimator: BaseMixture, group: str, first: np.ndarray, second: np.ndarray
) -> Iterator[tuple[tuple[int, int], BaseMixture]]:
    """A mixture for every place of the grid, with its initial values, and nobody to watch it."""
    estimator = clone(estimator).set_params(progress=False, callback=None, checkpoint=None)
    for i, b in enumerate(second):
        for j, a in enumerate(first):
            yield (i, j), clone(estimator).set_params(**{f"{group}_init": [[a], [b]]})


def _values(model: BaseMixture, group: str) -> np.ndarray:
    return getattr(model, f"{group}_")[:, 0]


@contextmanager
def _one_start_may_fail() -> Iterator[None]:
    """Starts that lead to degenerate components are part of the picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateComponentWarning)
        warnings.simplefilter("ignore", StarvedComponentWarning)
        with suppress(SingularComponentError):
            yield


def _distinct(limits: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Limits (two values and an objective) that differ, best first, and which one each is."""
    leads_to = np.full(limits.shape[:2], -1)
    attractors, objectives = [], []
    while (left := (leads_to < 0) & ~np.isnan(limits[..., 2])).any():
        best = np.unravel_index(np.where(left, limits[..., 2], -np.inf).argmax(), left.shape)
        distances = np.abs(limits[..., :2] - limits[best][:2]).max(axis=-1)
        leads_to[left & (distances <= tolerance)] = len(attractors)
        attractors.append(limits[best][:2])
        objectives.append(limits[best][2])
    return np.reshape(attractors, (-1, 2)), np.array(objectives), leads_to
