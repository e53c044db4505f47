r"""What EM does, in numbers: the lower bound that both of its steps raise.

For any responsibilities :math:`q_{nk}` and rows of weights :math:`w_n`,

.. math::
    \log p(X) = \underbrace{\sum_{nk} w_n q_{nk} \log \frac{p(x_n, k)}{q_{nk}}}_{L(q, \theta)}
              + \underbrace{\sum_{nk} w_n q_{nk} \log \frac{q_{nk}}{p(k | x_n)}}_{KL(q, \theta)}

(Bishop, Pattern Recognition and Machine Learning, 2006, eqs. 9.70 to 9.72). KL is never negative,
so that L is a lower bound. The E-step raises it by the choice of q, until KL is 0 and the bound
touches the log-likelihood; the M-step raises it by the choice of the parameters, and takes the
log-likelihood along.
"""

from copy import copy
from dataclasses import replace
from itertools import pairwise
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy
from sklearn.base import clone

from emfast.annotations import Rows, Values
from emfast.data import Batch
from emfast.estimators.base.inference import FittedMixture
from emfast.estimators.base.mixture import BaseMixture
from emfast.estimators.probabilities import BinomialMixture, out_of
from emfast.inputs.arguments import check_sample_weight
from emfast.inputs.labels import Labels

# Numbers of responsibilities that are worked on at a time.
CHUNK_NUMBERS = 2**20

# What a row of responsibilities may be off a sum of 1: rounding, in single precision.
ROUNDING = 1e-5


class Elbo(NamedTuple):
    """The log-likelihood as a lower bound and what it lacks; totals over rows, in nats.

    Attributes
    ----------
    log_likelihood : float, log p(X)
    lower_bound : float, L
    kl_divergence : float, KL
    """

    log_likelihood: float
    lower_bound: float
    kl_divergence: float


def elbo(
    model: FittedMixture,
    X: Rows,
    responsibilities: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    labels: Values | None = None,
    n_trials: ArrayLike | None = None,
) -> Elbo:
    r"""Split the log-likelihood of a fitted mixture into lower bound and KL divergence.

    :math:`\log p(X) = L + KL`, with :math:`L = \sum_{nk} w_n q_{nk} \log(p(x_n, k) / q_{nk})` and
    :math:`KL = \sum_{nk} w_n q_{nk} \log(q_{nk} / p(k | x_n))`, where q are the `responsibilities`,
    whatever they come from. KL is 0 where they are the model's own.

    Parameters
    ----------
    model : fitted mixture
    X : array-like of shape (n_samples, n_features)
    responsibilities : array-like of shape (n_samples, n_components)
        Rows of probabilities; zeros are fine. With noise one column more, the last.
    sample_weight : array-like of shape (n_samples,), optional
    labels : array-like of shape (n_samples,) or (n_samples, n_components), optional
        As in `fit`. The likelihood is joint with the label then.
    n_trials : array-like of shape (n_samples,) or (n_samples, n_features), optional
        As in `BinomialMixture.fit`.

    Returns
    -------
    Elbo
        ``log_likelihood``, ``lower_bound`` and ``kl_divergence``, weighted sums over rows in nats.
        The bound is -inf, and the divergence inf, where responsibilities go to a component that
        cannot have produced the row. As in `score`, a prior does not enter: what EM climbs then is
        the sum of the bound and the log prior, which `staircase` shows.

    Raises
    ------
    TypeError
        The model is no mixture, or has no trials.
    ValueError
        Bad rows, weights or labels; responsibilities of another shape, negative, not finite or not
        summing to 1; a row that no component can have produced, of which there is no posterior.

    References
    ----------
    Neal, R. M. and Hinton, G. E. (1998). A view of the EM algorithm that justifies incremental,
    sparse, and other variants. In Learning in Graphical Models, 355-368.

    Examples
    --------
    >>> import numpy as np
    >>> import emfast
    >>> X = np.array([[0.0], [1.0], [4.0], [6.0]])
    >>> model = emfast.GaussianMixture(2, random_state=0).fit(X)
    >>> guess = np.full((4, 2), 0.5)
    >>> total, bound, divergence = emfast.elbo(model, X, guess)
    >>> bool(np.isclose(total, bound + divergence) and divergence > 0)
    True
    >>> own = emfast.elbo(model, X, model.predict_proba(X))
    >>> bool(np.isclose(own.lower_bound, total) and own.kl_divergence < 1e-12)
    True
    """
    if not isinstance(model, FittedMixture):
        raise TypeError(f"model: found {type(model).__name__}; expected a fitted mixture")
    batch = model._batch(with_trials(model, X, n_trials), labels)
    n_rows, n_components = batch.n_rows, len(model._model().latent)
    weights = check_sample_weight(sample_weight, n_rows)
    batch = replace(batch, weights=weights, numbers=np.arange(n_rows))
    q = _as_table(responsibilities, (n_rows, n_components))
    used = batch.numbers if weights is None else np.flatnonzero(weights)
    step = max(1, CHUNK_NUMBERS // n_components)
    totals = np.zeros(3)
    for start in range(0, used.size, step):
        rows = used[start : start + step]
        totals += _parts(model, batch.take(rows), _probabilities(q[rows], rows))
    log_likelihood, lower_bound, divergence = totals.tolist()
    # Below 0 by rounding alone.
    return Elbo(log_likelihood, lower_bound, max(0.0, divergence))


def _as_table(responsibilities: Any, shape: tuple[int, int]) -> np.ndarray:
    """Responsibilities as numbers of the right shape, not copied if they are an array already."""
    table = np.asarray(responsibilities)
    if table.dtype.kind == "O":
        table = table.astype(np.float64)
    if table.dtype.kind not in "biuf":
        raise ValueError(f"responsibilities: found {table.dtype}; expected numbers")
    if table.shape != shape:
        raise ValueError(
            f"responsibilities: found shape {table.shape}; expected {shape}, "
            "(n_samples, n_components)"
        )
    return table


def _probabilities(q: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Rows of float64 that sum to 1; `numbers` are those of the rows, for messages."""
    q = q.astype(np.float64)
    wrong = ~(np.isfinite(q) & (q >= 0)).all(axis=1)
    if wrong.any():
        row = wrong.argmax()
        value = q[row][~(np.isfinite(q[row]) & (q[row] >= 0))][0]
        raise ValueError(
            f"responsibilities: found {value} in row {numbers[row]}; expected numbers from 0 to 1"
        )
    sums = q.sum(axis=1, keepdims=True)
    wrong = np.abs(sums - 1) > ROUNDING
    if wrong.any():
        row = wrong.argmax()
        raise ValueError(
            f"responsibilities: row {numbers[row]} has the sum {sums[row, 0]}; expected 1"
        )
    return q / sums


def _parts(model: FittedMixture, batch: Batch, q: np.ndarray) -> np.ndarray:
    """Weighted sums of log p(x), L and KL."""
    r, log_likelihoods = model._posterior(batch, "responsibilities", "log_likelihoods")
    impossible = log_likelihoods == -np.inf
    if impossible.any():
        raise ValueError(
            f"X: row {batch.number(impossible.argmax())} has zero likelihood under every "
            "component; expected rows that have a posterior"
        )
    log_r = _log_posterior(model, batch, r, q > 0, log_likelihoods)
    # No responsibility times minus infinity is nothing.
    divergences = (xlogy(q, q) - q * np.where(q > 0, log_r, 0.0)).sum(axis=1)
    parts = np.stack([log_likelihoods, log_likelihoods - divergences, divergences])
    return parts.sum(axis=1) if batch.weights is None else parts @ batch.weights


def _log_posterior(
    model: FittedMixture,
    batch: Batch,
    r: np.ndarray,
    wanted: np.ndarray,
    log_likelihoods: np.ndarray,
) -> np.ndarray:
    """log p(k | x), where `wanted` also of responsibilities `r` that are lost beside the largest.

    The likelihood of a row joint with the label k is p(x, k), of which no digits are lost.
    """
    r = r.astype(np.float64)
    with np.errstate(divide="ignore"):
        log_r = np.log(r / r.sum(axis=1, keepdims=True))
    lost = wanted & (r == 0) & batch.labels.allows(slice(None), r.shape)
    impossible = model._emission().impossible_rows(batch.X, model._model().emission)
    if impossible is not None:
        lost &= ~impossible
    for k in np.flatnonzero(lost.any(axis=0)):
        rows = np.flatnonzero(lost[:, k])
        as_k = Labels(component=np.full(rows.size, k, np.int32))
        joint = model._pass(replace(batch.take(rows), labels=as_k), ["log_likelihoods"])
        log_r[rows, k] = joint["log_likelihoods"] - log_likelihoods[rows]
    return log_r


class Staircase(NamedTuple):
    """How the two steps of EM raise the lower bound; totals over rows, in nats.

    With a prior its log-density, up to a constant, is part of log-likelihoods and lower bounds, as
    it is of the objective of a fit.

    Attributes
    ----------
    log_likelihoods : ndarray of shape (n_iter + 1,)
        Of the start, then after every iteration. Each is where the E-step takes the bound.
    lower_bounds : ndarray of shape (n_iter,)
        Where each M-step takes the bound: of its parameters, with the responsibilities of those
        before.
    kl_divergences : ndarray of shape (n_iter,)
        What the bound lacks then, by which the next E-step raises it.
    """

    log_likelihoods: np.ndarray
    lower_bounds: np.ndarray
    kl_divergences: np.ndarray


def staircase(
    estimator: BaseMixture,
    X: Rows,
    n_iter: int = 6,
    *,
    sample_weight: ArrayLike | None = None,
    labels: Values | None = None,
    n_trials: ArrayLike | None = None,
) -> Staircase:
    """Run EM step by step, and measure the lower bound after every step.

    Parameters
    ----------
    estimator : mixture, fitted or not
        Where it starts, and what is known. It is left as it is.
    X : array-like of shape (n_samples, n_features)
    n_iter : int, default=6
    sample_weight, labels, n_trials : see `elbo`

    Returns
    -------
    Staircase

    Raises
    ------
    TypeError, ValueError
        The estimator is no mixture with soft assignment, or an argument is bad.

    Examples
    --------
    >>> import numpy as np
    >>> from emfast import GaussianMixture, theory
    >>> X = np.array([[0.0], [1.0], [4.0], [6.0]])
    >>> start = GaussianMixture(
    ...     2, covariance_type="tied", means_init=[[1], [4]], weights_init=[0.5, 0.5]
    ... )
    >>> steps = theory.staircase(start, X, n_iter=3)
    >>> up = np.stack([steps.log_likelihoods[:-1], steps.lower_bounds, steps.log_likelihoods[1:]])
    >>> bool(np.all(np.diff(up, axis=0) > 0))
    True
    """
    check_mixture(estimator)
    if estimator.assignment != "soft":
        raise ValueError(
            f"estimator: found assignment={estimator.assignment!r}; expected 'soft', with which "
            "the E-step takes the bound to the log-likelihood"
        )
    given = {"sample_weight": sample_weight, "labels": labels}
    X = with_trials(estimator, X, n_trials)
    models = iterations(estimator, X, n_iter, **given)
    parts = np.array(
        [
            elbo(after, X, before.predict_proba(X, labels=labels), **given)
            for before, after in pairwise([models[0], *models])
        ]
    )
    log_priors = np.array([model._log_prior() for model in models])
    return Staircase(parts[:, 0] + log_priors, parts[1:, 1] + log_priors[1:], parts[1:, 2])


def iterations(
    estimator: BaseMixture,
    X: Rows,
    n_iter: int,
    *,
    sample_weight: ArrayLike | None = None,
    labels: Values | None = None,
    n_trials: ArrayLike | None = None,
) -> list[BaseMixture]:
    """The mixture at the start and after each of `n_iter` iterations of EM.

    Parameters
    ----------
    estimator : mixture, fitted or not; it is left as it is
    X, sample_weight, labels, n_trials : see `fit`
    n_iter : int, at least 1

    Returns
    -------
    list of n_iter + 1 fitted mixtures
    """
    check_mixture(estimator)
    check_n_iter(n_iter, 1)
    given = {"sample_weight": sample_weight, "labels": labels}
    X = with_trials(estimator, X, n_trials)
    start = clone(estimator).set_params(tol=0, max_iter=0, warm_start=False)
    models = [start.set_params(progress=False, callback=None, checkpoint=None).fit(X, **given)]
    for _ in range(n_iter):
        models.append(copy(models[-1]).set_params(max_iter=1, warm_start=True).fit(X, **given))
    return models


def with_trials(model: FittedMixture, X: Any, n_trials: Any) -> Any:
    """Rows with trials of their own, which only one kind of mixture has."""
    if n_trials is not None and not isinstance(model, BinomialMixture):
        raise TypeError(
            f"n_trials: found an argument for {type(model).__name__}; expected None, for only "
            "BinomialMixture has trials"
        )
    return out_of(X, n_trials)


def check_mixture(estimator: Any) -> None:
    if not isinstance(estimator, BaseMixture):
        raise TypeError(f"estimator: found {type(estimator).__name__}; expected a mixture")


def check_n_iter(n_iter: Any, least: int) -> None:
    if not isinstance(n_iter, Integral) or n_iter < least:
        raise ValueError(f"n_iter: found {n_iter!r}; expected an integer of at least {least}")
