r"""Statistics in the hands of people, and rows that come one batch after the other.

`summarize` is an E-step and `update` an M-step, so that whoever can run a function on rows and add
what comes back can fit a model to rows that are anywhere. `partial_fit` is stepwise EM: the
statistics of a batch are mixed into those of the batches before,

.. math:: s \leftarrow (1 - \eta_t) s + \eta_t s_t, \qquad \eta_t = (t + t_0)^{-\alpha},

each per unit of weight, and an M-step follows.

References
----------
Cappé, O. and Moulines, E. (2009). On-line expectation-maximization algorithm for latent data
models. Journal of the Royal Statistical Society B 71, 593-613.
Liang, P. and Klein, D. (2009). Online EM for unsupervised models. Proceedings of NAACL-HLT 2009,
611-619.
"""

import math
from collections.abc import Iterator
from copy import copy
from dataclasses import fields, is_dataclass, replace
from hashlib import sha256
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from emfast import em
from emfast.data import Batch
from emfast.data.sums import Tree
from emfast.emissions.base import Emission
from emfast.estimators.base.estimator import EMEstimator
from emfast.estimators.base.fitting import unchanged_by_failure
from emfast.latent import Latent
from emfast.passes import Model
from emfast.problems.grid import GridProblem
from emfast.starts.records import Restart
from emfast.statistics import Statistics, Under
from emfast.storage.stored import NOT_NEGATIVE, Maybe, Number
from emfast.storage.stored_statistics import StoredStatistics, told_of
from emfast.threads import SingleThreadedBlas, resolve_threads

# Arguments of a fit that do not matter to the start of `partial_fit`.
ONLY_THE_START = {
    "max_iter": 0,
    "warm_start": False,
    "accelerate": False,
    "incremental": False,
    "verbose": 0,
    "progress": False,
    "callback": None,
    "checkpoint": None,
}


class TakesStatistics(EMEstimator):
    """An estimator whose E-step and M-step people can take by themselves.

    Its method `_batches` takes what `_observed` does, and gives the batches that the fitted model
    can be asked about.
    """

    # The statistics that the model is the M-step of, or has come to by a fit, and how often
    # `partial_fit` has been called since.
    _stored = {
        "_statistics": Maybe(StoredStatistics()),
        "_calls": Maybe(Number(NOT_NEGATIVE), beside="_statistics"),
    }

    def update(self, statistics: Statistics) -> Self:
        """One M-step: the parameters that statistics of all rows lead to.

        Parameters
        ----------
        statistics : Statistics
            Those of all rows together, by `summarize` of this model as it is.

        Returns
        -------
        self : object
            With `fixed`, `prior` and ``reg_covar`` as in `fit`. ``n_iter_`` is one more. What the
            new parameters are worth is not known before statistics are taken again, so that
            ``lower_bound_``, and the last of ``lower_bounds_``, is the objective of the parameters
            *before*, under which these statistics were taken; whether ``converged_``, its gains
            say.

        Raises
        ------
        TypeError
            They are no `Statistics`.
        ValueError
            They were not taken under the present parameters of this model: nothing is changed then.
        SingularComponentError
            Covariances became singular, which only happens with ``reg_covar=0``.
        sklearn.exceptions.NotFittedError

        Notes
        -----
        ``fit(X, max_iter=T, tol=0)`` is T times the two of them from the same start, up to
        rounding. That starts on rows that are not all in one place: `fit` some of them with
        ``max_iter=0``, which returns the start, or give all starting values.

        Examples
        --------
        >>> import numpy as np
        >>> from emfast import PoissonMixture
        >>> X = np.array([[1], [0], [2], [20], [17], [23]])
        >>> mixture = PoissonMixture(2, rates_init=[[1.0], [9.0]], weights_init="equal", max_iter=0)
        >>> mixture.fit(X[:2]).rates_.ravel().tolist()
        [1.0, 9.0]
        >>> while not mixture.converged_:
        ...     parts = [mixture.summarize(part) for part in np.split(X, 3)]
        ...     mixture = mixture.update(sum(parts))
        >>> mixture.rates_.round(2).ravel().tolist()
        [1.0, 20.0]
        """
        check_is_fitted(self)
        if not isinstance(statistics, Statistics):
            raise TypeError(f"statistics: found {type(statistics).__name__}; expected Statistics")
        with unchanged_by_failure(self):
            self._validate_params()
            model = self._model_to_go_on_from()
            expected = self._under(model)
            if statistics.under != expected:
                raise ValueError(
                    f"statistics: found those of {statistics.under}; expected those of {expected}, "
                    "which is this model as it is: take them again after every update"
                )
            if not statistics.weight > 0:
                raise ValueError("statistics: found none of rows of positive weight")
            objective = self._maximise(statistics, model)
            history = [*self._objectives_before(), objective]
            self.converged_ = em.has_converged(history, self._tol)
            # That of the new parameters nobody knows yet.
            self._history = [*history[-2:], math.nan]
            self._statistics, self._calls = replace(statistics, under=None), 0.0
        return self

    def _model_to_go_on_from(self) -> Model:
        """The fitted model, which has as many components as the argument says."""
        model, wanted = self._model(), int(self.n_components)
        found = self._emission().shape(model.emission)[0]
        if found != wanted:
            raise ValueError(
                f"n_components: found {wanted}, and a model of {found}; expected {found}, for this "
                "goes on from that model, or a model that is not fitted"
            )
        return model

    def _objectives_before(self) -> list[float]:
        """Objectives that led to the model by updates, but for its own."""
        history = getattr(self, "_history", [])
        return history[:-1] if history and math.isnan(history[-1]) else []

    def _summarized(self, *data: Any) -> Statistics:
        check_is_fitted(self)
        if self.assignment == "stochastic":
            raise ValueError(
                "assignment: found 'stochastic'; expected 'soft' or 'hard', for draws are by the "
                "place of a row among all rows, of which a part of them does not know"
            )
        batches, model = self._batches(*data), self._model()
        return replace(self._taken(batches, model), under=self._under(model))

    def _taken(self, batches: Iterator[Batch], model: Model) -> Statistics:
        """The statistics of rows under a model, by weights as the user has given them."""
        total, first_row = Tree(), 0
        for batch in batches:
            if batch.n_used:
                total.add(self._of_batch(batch, first_row, model))
            first_row += batch.n_rows
        return total.total()

    def _of_batch(self, batch: Batch, first_row: int, model: Model) -> Statistics:
        fixed = self._known()
        emission = self._emission(fixed)
        source, unit = self._source(batch, emission).near_one()
        source.first_row = first_row
        latent = self._latent_of(source, fixed)
        problem = GridProblem(latent, emission, source, resolve_threads(self.n_threads))
        statistics = source.total(problem.asked(model))
        em.finite(statistics.log_likelihood)
        return statistics if unit == 1 else statistics * (1 / unit)

    def _maximise(self, statistics: Statistics, model: Model) -> float:
        """Become the M-step of statistics under a model; the objective that they tell."""
        latent, emission = self._parts_with_prior(model)
        log_prior = latent.log_prior(model.latent) + emission.log_prior(model.emission)
        objective = em.finite((statistics.log_likelihood + log_prior) / statistics.weight)
        dtype = self._shown_dtype(model)
        with SingleThreadedBlas():
            of_latent = latent.mstep(statistics.latent, model.latent)
            of_emission = emission.mstep(statistics.emission, model.emission)
        self._set_model(Model(of_latent, of_emission, model.iteration + 1), dtype)
        self.n_iter_ = getattr(self, "n_iter_", 0) + 1
        self.lower_bound_ = objective
        self.lower_bounds_ = np.append(getattr(self, "lower_bounds_", []), objective)
        self.restarts_ = getattr(self, "restarts_", [])
        return objective

    def _parts_with_prior(self, model: Model) -> tuple[Latent, Emission]:
        fixed = self._known()
        latent, emission = self._latent(fixed, self.assignment), self._emission(fixed)
        self._set_prior(latent, emission, emission.shape(model.emission)[1])
        return latent, emission

    def _under(self, model: Model) -> Under:
        """What statistics of this model are known by."""
        latent = self._latent(assignment=self.assignment)
        kind = f"{type(self).__name__} of {self._kind()}"
        if self.assignment != "soft":
            kind += f" with {self.assignment} assignment"
        shape = self._emission().shape(model.emission)
        return Under(kind, *shape, fingerprint(model.latent, model.emission, latent.noise))

    # Batch after batch

    def _partial_fit(self, *data: Any) -> Self:
        with unchanged_by_failure(self):
            self._validate_params()
            if not self.__sklearn_is_fitted__():
                self._begin(*data)
                model, total, calls = self._model(), self._statistics, 0.0
            else:
                model = self._model_to_go_on_from()
                taken = self._taken(self._batches(*data), model)
                total, calls = self._mixed(taken, model)
            self._maximise(total, model)
            self._statistics, self._calls = total, calls + 1
            self._history, self.converged_ = [math.nan], False
        return self

    def _begin(self, *data: Any) -> None:
        """Become the start that `fit` would make of rows, with their statistics."""
        beginner = copy(self)
        for name, value in ONLY_THE_START.items():
            if hasattr(beginner, name):
                setattr(beginner, name, value)
        beginner._fit(*data)
        arguments = self.get_params(deep=False)
        vars(self).update(vars(beginner) | arguments)

    def _mixed(self, taken: Statistics, model: Model) -> tuple[Statistics, float]:
        """Statistics of a batch with those before, of all weight there has been; calls before."""
        before = getattr(self, "_statistics", None)
        if before is None or model is not self._float64_model:
            # A model that was made, or changed, without rows.
            return taken, 0.0
        # A fit counts as many calls as it has seen rows of so many batches.
        calls = self._calls or max(1.0, before.weight / taken.weight)
        step = min(1.0, (calls + self.step_offset) ** -self.step_exponent)
        weight = before.weight + taken.weight
        # About where the batch is: the present parameters.
        total = taken * (step * weight / taken.weight)
        if step < 1:
            total = total + before * ((1 - step) * weight / before.weight)
        return total, calls

    def _set_fitted(self, problem: GridProblem, best: em.Trace, restarts: list[Restart]) -> None:
        super()._set_fitted(problem, best, restarts)
        statistics = best.statistics.alone
        self._statistics = statistics * (1 / problem.unit) if problem.unit != 1 else statistics
        self._calls = 0.0

    def _state(self) -> dict[str, Any]:
        state = super()._state()
        if "_statistics" in state:
            if self._model() is self._float64_model:
                state["_statistics"] = told_of(self._statistics)
            else:
                del state["_statistics"], state["_calls"]
        return state


def fingerprint(*values: Any) -> str:
    """What tells parameters from others: hexadecimal digits of a hash of all numbers in them.

    Statistics of other processes and machines have to be told by it: it depends on nothing else.
    """
    found = sha256()
    for part in _flat(values):
        found.update(part)
    return found.hexdigest()[:16]


def _flat(value: Any) -> Iterator[bytes]:
    if is_dataclass(value):
        value = tuple(getattr(value, each.name) for each in fields(value))
    if isinstance(value, tuple):
        for each in value:
            yield from _flat(each)
    elif value is None:
        yield b"None"
    else:
        array = np.asarray(value)
        yield f"{array.dtype.kind}{array.shape}".encode()
        yield array.astype(array.dtype.newbyteorder("<")).tobytes()
