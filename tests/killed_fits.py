"""Fits in processes that are killed at random moments, until one comes to the end.

This process has never entered a parallel region, so that those it forks may.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from emfast import (
    BayesianLinearRegression,
    FactorAnalysis,
    GaussianHMM,
    GaussianMixture,
    MixtureOfExperts,
)
from emfast.storage import checkpoint

# Attempts that are killed, before one is left alone.
KILLS = 5

SLOW = {"tol": 0, "random_state": 0}


def rows(n_rows: int, n_features: int = 2) -> np.ndarray:
    """Three clusters that overlap."""
    rng = np.random.RandomState(1)
    return rng.normal(size=(n_rows, n_features)) + 2.5 * (np.arange(n_rows) % 3)[:, None]


def regression(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    X = rows(n_rows)
    return X, np.abs(X[:, 0] - 2) + np.random.RandomState(2).normal(scale=0.2, size=n_rows)


KILLED = {
    "full": (GaussianMixture(5, n_init=5, max_iter=25, **SLOW), lambda: [rows(4000)]),
    "race": (
        GaussianMixture(4, covariance_type="diag", n_init=5, max_iter=25, **SLOW),
        lambda: [rows(60_000)],
    ),
    "accelerated": (
        GaussianMixture(4, n_init=3, tol=1e-9, max_iter=90, random_state=0, accelerate=True),
        lambda: [rows(3000)],
    ),
    "stochastic": (
        GaussianMixture(4, n_init=2, assignment="stochastic", max_iter=60, random_state=0),
        lambda: [rows(4000)],
    ),
    "incremental": (
        GaussianMixture(4, n_init=2, incremental=True, max_iter=15, **SLOW),
        lambda: [rows(4000)],
    ),
    "chain": (GaussianHMM(3, n_init=2, max_iter=25, **SLOW), lambda: [rows(4000)]),
    "experts": (
        MixtureOfExperts(2, n_init=2, max_iter=25, accelerate=True, **SLOW),
        lambda: regression(3000),
    ),
    "factors": (
        FactorAnalysis(2, n_init=3, max_iter=60, accelerate=False, **SLOW),
        lambda: [rows(900, 5)],
    ),
    "evidence": (BayesianLinearRegression(tol=0, max_iter=150), lambda: regression(900)),
}


def result(model) -> str:
    """A digest of all that a fit has found."""
    model = getattr(model, "mixture_", model)
    found = {
        name: value
        for name, value in sorted(vars(model).items())
        if name.endswith("_") or name in ("_float64_model", "_model", "_history")
    }
    return checkpoint.digest(found)


def forked(name: str, path: Path | None, out: Path) -> int:
    """A process that fits, and writes the result if it comes to that."""
    child = os.fork()
    if child:
        return child
    try:
        warnings.simplefilter("ignore")
        checkpoint.INTERVAL, checkpoint.SHARE = 0.01, 1e9
        model, data = KILLED[name]
        model.set_params(checkpoint=path, n_threads=1).fit(*data())
        # As a whole, or a kill leaves half of it.
        written = out.with_suffix(".part")
        written.write_text(result(model))
        written.replace(out)
        os._exit(0)
    except BaseException as error:
        print(f"{name}: {error!r}", file=sys.stderr)
        os._exit(1)


def ended(child: int) -> bool:
    """Wait for a process; whether it has come to its end, and was not killed."""
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise SystemExit(f"a fit ended with status {status}")
    return status == 0


def until(happened, seconds: float) -> None:
    """Wait until something has happened, but not for long."""
    deadline = time.perf_counter() + seconds
    while not happened() and time.perf_counter() < deadline:
        time.sleep(0.001)


def told(name: str, folder: Path) -> dict:
    """What comes of one kind of fit, uninterrupted and killed."""
    path, out = folder / "state" / "fit.npz", folder / "out"
    path.parent.mkdir()
    began = time.perf_counter()
    ended(forked(name, path, out))
    seconds = time.perf_counter() - began
    expected, kills, resumed, chance = out.read_text(), 0, 0, random.Random(name)
    out.unlink()
    while not out.exists():
        resumed += path.exists()
        child = forked(name, path, out)
        if kills < KILLS:
            # Another one may take longer than the first.
            until(lambda: path.exists() or out.exists(), 10 * seconds)
            time.sleep(chance.uniform(0.0, 0.5) * seconds)
            os.kill(child, signal.SIGKILL)
        if not ended(child):
            kills += 1
        elif kills < KILLS - 2:
            # Too fast this time.
            out.unlink()
    left = os.listdir(path.parent)
    plain = folder / "plain"
    ended(forked(name, None, plain))
    return {
        "found": [out.read_text(), plain.read_text()],
        "expected": [expected, expected],
        "kills": kills,
        "resumed": resumed,
        "left": left,
    }


def main() -> None:
    found = {}
    for name in KILLED:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = told(name, Path(folder))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
