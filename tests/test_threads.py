"""Fits from several Python threads at once, with or without a lock around the interpreter."""

import os
import re
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from threadpoolctl import threadpool_info, threadpool_limits

import emcore
from emfast import (
    BernoulliMixture,
    BinomialMixture,
    CategoricalMixture,
    GaussianMixture,
    Mixture,
    MixtureClassifier,
    PoissonMixture,
)
from emfast.emissions import Categorical, Gaussian

# Enough that a pass of the kernels has two threads, too.
N_ROWS = 80_000
N_FITS = 2
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def rows_of(kind):
    random = np.random.RandomState(0)
    component = random.randint(2, size=N_ROWS)
    if kind in ("gaussian", "mixed", "classes"):
        X = random.normal(size=(N_ROWS, 4)) + 4 * component[:, None]
        if kind == "mixed":
            X[:, 3] = component ^ (random.uniform(size=N_ROWS) < 0.1)
        return X, component
    if kind == "incomplete":
        X = random.normal(size=(N_ROWS, 4)) + 4 * component[:, None]
        X[random.uniform(size=X.shape) < 0.2] = np.nan
        return X, component
    return random.binomial(9, 0.2 + 0.6 * component[:, None], size=(N_ROWS, 4)), component


GIVEN = {"random_state": 0, "max_iter": 3, "tol": 0, "n_threads": 2}
PARTS = [("numbers", Gaussian("diag"), [0, 1, 2]), ("levels", Categorical(), [3])]
MODELS = {
    "gaussian": lambda: GaussianMixture(2, **GIVEN),
    "incomplete": lambda: GaussianMixture(2, covariance_type="tied", **GIVEN),
    "mixed": lambda: Mixture(2, PARTS, **GIVEN),
    "counts": lambda: PoissonMixture(2, **GIVEN),
    "successes": lambda: BinomialMixture(2, n_trials=9, **GIVEN),
    "levels": lambda: CategoricalMixture(2, **GIVEN),
    "bits": lambda: BernoulliMixture(2, **GIVEN),
    "classes": lambda: MixtureClassifier(GaussianMixture(**GIVEN)),
}


def fitted(name):
    """What a fit and a question to it come to, in numbers."""
    X, component = rows_of(name)
    if name == "bits":
        X = X > 4
    model = MODELS[name]()
    model.fit(X, component if name == "classes" else None)
    return model.predict_proba(X), model.score_samples(X)


def test_a_look_at_all_rows_takes_one_thread_of_blas(monkeypatch):
    """Others stay awake for a while, on the CPUs that the threads of a kernel need."""
    of_blas, dot = [], np.dot

    def seen(*arguments):
        of_blas.extend(
            info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"
        )
        return dot(*arguments)

    X, _ = rows_of("gaussian")
    mixture = GaussianMixture(2, **GIVEN)
    with threadpool_limits(2, user_api="blas"):
        monkeypatch.setattr(np, "dot", seen)
        mixture.fit(X).score_samples(X)
        monkeypatch.undo()
    assert of_blas
    assert set(of_blas) == {1}


@pytest.mark.parametrize("name", MODELS)
def test_fits_at_once_give_the_bits_of_fits_one_by_one(name):
    """Each thread fits a model of its own; the kernels run without the lock."""
    alone, start = fitted(name), Barrier(N_FITS)

    def together(_):
        start.wait()
        return fitted(name)

    with ThreadPoolExecutor(N_FITS) as threads:
        for found in threads.map(together, range(N_FITS)):
            for values, expected in zip(found, alone, strict=True):
                assert_array_equal(values, expected)


def test_fits_of_every_kind_at_once():
    alone, start = {name: fitted(name) for name in MODELS}, Barrier(len(MODELS))

    def together(name):
        start.wait()
        return fitted(name)

    with ThreadPoolExecutor(len(MODELS)) as threads:
        for name, found in zip(MODELS, threads.map(together, MODELS), strict=True):
            for values, expected in zip(found, alone[name], strict=True):
                assert_array_equal(values, expected)


def test_many_threads_ask_one_fitted_model():
    X, _ = rows_of("incomplete")
    model = GaussianMixture(2, **GIVEN).fit(X)
    expected, start = model.predict_proba(X), Barrier(N_FITS)

    def ask(_):
        start.wait()
        return [model.predict_proba(X) for _ in range(3)]

    with ThreadPoolExecutor(N_FITS) as threads:
        for answers in threads.map(ask, range(N_FITS)):
            for answer in answers:
                assert_array_equal(answer, expected)


def test_the_lock_stays_off_where_python_has_none():
    """A module that does not declare itself safe would turn it on for the whole process."""
    script = """
import sys
import emcore, emfast
emcore.kernels("float32"), emcore.kernels("float64")
print(getattr(sys, "_is_gil_enabled", lambda: True)())
"""
    command = [sys.executable, "-W", "error", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout == f"{not FREE_THREADED}\n", result.stderr


@pytest.mark.parametrize("variable", [None, "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_how_long_threads_wait_is_said_to_openmp_alone(variable):
    """Unless users have said it: and nobody else finds it in the environment."""
    said = {} if variable is None else {variable: "77" if "SPIN" in variable else "active"}
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    script = f"import os, emcore; print([os.environ.get(name) for name in {names!r}])"
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, **said, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str([said.get(name) for name in names])
    shown = re.search(r"GOMP_SPINCOUNT = '(\d+)'", found.stderr)
    if shown is None:
        assert "GOMP" not in found.stderr  # another runtime
    elif variable is None:
        assert shown[1] == emcore.PATIENCE["GOMP_SPINCOUNT"]
    else:
        assert shown[1] != emcore.PATIENCE["GOMP_SPINCOUNT"]
