"""Any number of threads, and fits that overlap in time."""

import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from threadpoolctl import threadpool_info

from emfast import GaussianMixture
from emfast.threads import resolve_threads
from gaussians import TYPES, assert_same_bits, blobs, start_for


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_same_bits_for_any_number_of_threads(covariance_type, dtype):
    X = blobs(5000).astype(dtype)
    weights = np.random.RandomState(0).uniform(0, 2, len(X))
    start = start_for(covariance_type)
    settings = {**start, "covariance_type": covariance_type, "tol": 0, "max_iter": 5}
    one = GaussianMixture(3, n_threads=1, **settings).fit(X, sample_weight=weights)
    for n_threads in (2, 3, 8, None):
        other = GaussianMixture(3, n_threads=n_threads, **settings).fit(X, sample_weight=weights)
        assert_same_bits(one, other)
        assert_array_equal(one.predict_proba(X), other.predict_proba(X))
        assert_array_equal(one.score_samples(X), other.score_samples(X))


def test_fits_that_overlap_in_time_leave_blas_its_threads(X):
    def blas_threads():
        return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]

    before = blas_threads()
    fits = [
        threading.Thread(target=GaussianMixture(3, tol=0, max_iter=n).fit, args=(X,))
        for n in (300, 30, 150)
    ]
    for fit in fits:
        fit.start()
    for fit in fits:
        fit.join()
    assert blas_threads() == before


def test_the_number_of_threads_follows_what_the_process_may_use(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    resolve_threads(None)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert resolve_threads(None) == 1
    assert resolve_threads(3) == 3
