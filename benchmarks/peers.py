"""The peers: each runs EM from a given start and tells when every iteration ended.

A peer is a function ``(workload, X, start, n_iter, n_threads)`` that returns the moments at which
its E-steps ended, n_iter + 1 of them, and the mean log-likelihood of X after n_iter M-steps; or
None where it has no such model. The first moment is NaN where the loop does not tell it.
"""

import time

import numpy as np
from sklearn.mixture import GaussianMixture as SklearnMixture

from emfast import em
from emfast.baseline import numpy_em, numpy_em_bernoulli
from emfast.data import ArraySource, Batch
from emfast.latent import MixtureWeights
from emfast.problem import MixtureProblem
from emfast.threads import SingleThreadedBlas

REG_COVAR = 1e-6


def emfast(workload, X, start, n_iter, n_threads):
    emission, model = workload.emission_and_model(start, REG_COVAR)
    problem = MixtureProblem(MixtureWeights(), emission, ArraySource(Batch(X)), n_threads)
    moments = [np.nan]

    def record(iteration):
        moments.append(time.perf_counter())

    with SingleThreadedBlas():
        trace = em.maximize(problem, model, tol=0, max_iter=n_iter, observe=record)
    return moments, trace.objective


def numpy(workload, X, start, n_iter, n_threads):
    moments = [np.nan]

    def record(number, log_likelihood):
        moments.append(time.perf_counter())

    if workload.family == "bernoulli":
        _, log_likelihood = numpy_em_bernoulli(X, *start, n_iter, on_iteration=record)
    else:
        _, log_likelihood = numpy_em(
            X, *start, workload.family, n_iter, reg_covar=REG_COVAR, on_iteration=record
        )
    return moments, log_likelihood


def sklearn(workload, X, start, n_iter, n_threads):
    """scikit-learn's own E-step and M-step; its `fit` would run k-means first, start or not."""
    if workload.family == "bernoulli":
        return None
    weights, means, covariances = start
    mixture = SklearnMixture(
        workload.n_components, covariance_type=workload.family, reg_covar=REG_COVAR
    )
    diagonal = workload.family in ("diag", "spherical")
    precisions = 1 / covariances if diagonal else np.linalg.inv(covariances)
    cholesky = np.sqrt(precisions) if diagonal else np.linalg.cholesky(precisions)
    mixture.weights_, mixture.means_, mixture.precisions_cholesky_ = weights, means, cholesky
    moments = []
    for iteration in range(n_iter + 1):
        log_likelihood, log_responsibilities = mixture._e_step(X)
        moments.append(time.perf_counter())
        if iteration < n_iter:
            mixture._m_step(X, log_responsibilities)
    return moments, float(log_likelihood)


PEERS = {"emfast": emfast, "numpy": numpy, "sklearn": sklearn}
