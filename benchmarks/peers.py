"""The peers: each runs EM from a given start and tells how long every iteration took.

A peer's function takes ``(workload, X, start, n_iter, n_threads)`` and returns an `Outcome`, or
None where it has no such model.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from sklearn.mixture import GaussianMixture as SklearnMixture

from dependent import ChainWorkload
from emfast import em
from emfast.baseline import numpy_em, numpy_em_bernoulli, numpy_em_regression
from emfast.threads import SingleThreadedBlas
from iterations import problem_of
from workloads import FAMILIES, REG_COVAR

GAUSSIANS = ("diag", "full", "tied", "spherical")


class PeerFailure(Exception):
    """A peer cannot fit this row of the table; the message says why."""


class Outcome(NamedTuple):
    """What a run of a peer gives.

    Attributes
    ----------
    seconds : list of float, of every iteration that could be told apart
    log_likelihood : callable that returns the mean log-likelihood in nats of the same rows after
        all M-steps; a function, because some peers do not tell it and scoring takes time.
    """

    seconds: list[float]
    log_likelihood: Callable[[], float]


@dataclass(frozen=True)
class Peer:
    """A program to compare with.

    Attributes
    ----------
    run : callable
    module : str, what it imports
    exact : bool
        Whether its log-likelihood must be that of emfast to rounding. Of others, which take an
        M-step of their own, the deviation is told.
    """

    run: Callable[..., Outcome | None]
    module: str
    exact: bool = True

    @property
    def installed(self) -> bool:
        return find_spec(self.module) is not None


def emfast(workload, X, start, n_iter, n_threads):
    problem, model = problem_of(workload, X, start, n_threads)
    moments = []
    with SingleThreadedBlas():
        trace = em.maximize(
            problem,
            model,
            tol=0,
            max_iter=n_iter,
            observe=lambda iteration: moments.append(time.perf_counter()),
        )
    return Outcome(list(np.diff(moments)), lambda: trace.objective)


def numpy(workload, X, start, n_iter, n_threads):
    if workload.family not in (*FAMILIES, "regression"):
        return None
    moments = []

    def record(number, log_likelihood):
        moments.append(time.perf_counter())

    log_likelihood = _numpy_em(workload, X, start, n_iter, record)
    return Outcome(list(np.diff(moments)), lambda: log_likelihood)


def _numpy_em(workload, X, start, n_iter, on_iteration=None) -> float:
    if workload.family == "regression":
        return numpy_em_regression(
            X.features, X.target, *start, n_iter, reg_covar=REG_COVAR, on_iteration=on_iteration
        )[1]
    if workload.family == "bernoulli":
        return numpy_em_bernoulli(X, *start, n_iter, on_iteration=on_iteration)[1]
    return numpy_em(
        X, *start, workload.family, n_iter, reg_covar=REG_COVAR, on_iteration=on_iteration
    )[1]


def sklearn(workload, X, start, n_iter, n_threads):
    """scikit-learn's own E-step and M-step; its `fit` would run k-means first, start or not."""
    if workload.family not in GAUSSIANS:
        return None
    weights, means, covariances = start
    mixture = SklearnMixture(
        workload.n_components, covariance_type=workload.family, reg_covar=REG_COVAR
    )
    diagonal = workload.family in ("diag", "spherical")
    precisions = 1 / covariances if diagonal else np.linalg.inv(covariances)
    cholesky = np.sqrt(precisions) if diagonal else np.linalg.cholesky(precisions)
    weights, means, cholesky = (part.astype(X.dtype) for part in (weights, means, cholesky))
    mixture.weights_, mixture.means_, mixture.precisions_cholesky_ = weights, means, cholesky
    moments = []
    for iteration in range(n_iter + 1):
        log_likelihood, log_responsibilities = mixture._e_step(X)
        moments.append(time.perf_counter())
        if iteration < n_iter:
            mixture._m_step(X, log_responsibilities)
    return Outcome(list(np.diff(moments)), lambda: float(log_likelihood))


def daal4py(workload, X, start, n_iter, n_threads):
    """oneDAL's whole run, divided by its iterations: it tells no moments.

    A run is as many E-steps as M-steps, hence its log-likelihood is that before the last M-step;
    the parameters it returns are scored by the NumPy baseline. Variances get nothing added: with
    few rows a covariance matrix becomes singular, where others have `REG_COVAR`.
    """
    if workload.family not in ("diag", "full"):
        return None
    import daal4py as onedal

    onedal.daalinit(n_threads)
    weights, means, covariances = (part.astype(X.dtype) for part in start)
    # A diagonal is stored as a matrix of one row.
    matrices = [np.ascontiguousarray(np.atleast_2d(matrix)) for matrix in covariances]
    algorithm = onedal.em_gmm(
        workload.n_components,
        fptype="float" if X.dtype == np.float32 else "double",
        maxIterations=n_iter,
        accuracyThreshold=0.0,
        regularizationFactor=REG_COVAR,
        covarianceStorage="diagonal" if workload.family == "diag" else "full",
    )
    began = time.perf_counter()
    try:
        result = algorithm.compute(X, weights[None], means, matrices)
    except RuntimeError as error:
        raise PeerFailure(" ".join(str(error).split())) from error
    seconds = time.perf_counter() - began
    made = int(result.nIterations[0, 0])
    if made != n_iter:
        raise RuntimeError(f"daal4py made {made} iterations; expected {n_iter}")
    found = np.array(result.covariances).reshape(covariances.shape)
    end = tuple(part.astype(np.float64) for part in (result.weights[0], result.means, found))

    def log_likelihood():
        try:
            return _numpy_em(workload, X, end, 0)
        except np.linalg.LinAlgError as error:
            raise PeerFailure("its covariance matrices are singular") from error

    return Outcome([seconds / n_iter], log_likelihood)


def stepmix(workload, X, start, n_iter, n_threads):
    """StepMix's own E-step and M-step on rows with missing entries; variances get nothing added."""
    if workload.family not in ("diag", "spherical"):
        return None
    from stepmix import StepMix

    weights, means, covariances = start
    mixture = StepMix(workload.n_components, measurement=f"gaussian_{workload.family}_nan")
    covariances = np.broadcast_to(covariances.reshape(len(means), -1), means.shape)
    mixture.set_parameters(
        {
            "weights": weights.copy(),
            "measurement": {"means": means.copy(), "covariances": covariances.copy()},
            "measurement_in": X.shape[1],
        }
    )
    moments = []
    for iteration in range(n_iter + 1):
        log_likelihood, log_responsibilities = mixture._e_step(X)
        moments.append(time.perf_counter())
        if iteration < n_iter:
            mixture._m_step(X, np.exp(log_responsibilities))
    return Outcome(list(np.diff(moments)), lambda: float(log_likelihood))


def hmmlearn(workload, X, start, n_iter, n_threads, implementation="scaling"):
    """hmmlearn's own E-step and M-step, with nothing added to variances; it has no threads."""
    if not isinstance(workload, ChainWorkload):
        return None
    from hmmlearn.hmm import GaussianHMM

    model = GaussianHMM(
        workload.n_components,
        workload.covariance_type,
        covars_prior=0.0,
        implementation=implementation,
    )
    model.n_features = X.shape[1]
    model.startprob_, model.transmat_, model.means_, model.covars_ = start
    moments = []
    for iteration in range(n_iter + 1):
        statistics, log_likelihood = model._do_estep(X, workload.lengths)
        moments.append(time.perf_counter())
        if iteration < n_iter:
            model._do_mstep(statistics)
    return Outcome(list(np.diff(moments)), lambda: float(log_likelihood) / len(X))


def hmmlearn_log(workload, X, start, n_iter, n_threads):
    """hmmlearn by default, with logarithms."""
    return hmmlearn(workload, X, start, n_iter, n_threads, "log")


PEERS = {
    "emfast": Peer(emfast, "emfast"),
    "numpy": Peer(numpy, "numpy"),
    "sklearn": Peer(sklearn, "sklearn"),
    "daal4py": Peer(daal4py, "daal4py", exact=False),
    "hmmlearn": Peer(hmmlearn, "hmmlearn"),
    "hmmlearn-log": Peer(hmmlearn_log, "hmmlearn"),
}
