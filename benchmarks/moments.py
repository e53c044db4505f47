"""One pass that collects the scatter of all rows, beside NumPy's X.T @ X, and fits that need it.

    python benchmarks/moments.py [--rows 10000000] [--features 50 100] [--threads 2]

Tells the least time of three, and memory beyond the rows. NumPy has neither weights nor a centre
here, and a fit would need the sums of the rows as well.
"""

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from emfast import BayesianLinearRegression, FactorAnalysis
from emfast.exceptions import ConvergenceWarning
from emfast.problems.moments import joint_moments, moments
from measure import PeakMemory, environment, pin, print_environment

# Rows that are drawn at a time.
DRAWN = 100_000


def rows_of(n_rows: int, n_features: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Correlated rows, and a target that depends on them."""
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(5, n_features))
    X, y = np.empty((n_rows, n_features), dtype), np.empty(n_rows)
    for start in range(0, n_rows, DRAWN):
        part = slice(start, min(start + DRAWN, n_rows))
        n = part.stop - start
        X[part] = rng.normal(size=(n, 5)) @ loadings + rng.normal(size=(n, n_features))
        y[part] = X[part, 0] + rng.normal(size=n)
    return X, y


def measured(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Least seconds, and MiB that the first run needs."""
    with PeakMemory() as memory:
        run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times), float("nan") if memory.extra is None else memory.extra


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--features", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    threads = pin(arguments.threads)
    print_environment(environment(threads))
    warnings.simplefilter("ignore", ConvergenceWarning)
    for n_features in arguments.features:
        X, y = rows_of(arguments.rows, n_features, arguments.dtype)
        w = np.ones(len(X))
        runs = {
            "numpy X.T @ X": lambda X=X: X.T @ X,
            "moments": lambda X=X: moments(X, None, threads),
            "moments, weighted": lambda X=X, w=w: moments(X, w, threads),
            "joint_moments": lambda X=X, y=y: joint_moments(X, y, None, threads),
            "BayesianLinearRegression": lambda X=X, y=y: BayesianLinearRegression(
                n_threads=threads
            ).fit(X, y),
            "FactorAnalysis(5)": lambda X=X: FactorAnalysis(5, n_threads=threads).fit(X),
        }
        print(f"{arguments.rows} x {n_features} {arguments.dtype}: {X.nbytes / 2**20:.0f} MiB")
        with threadpool_limits(threads, user_api="blas"):
            for name, run in runs.items():
                seconds, extra = measured(run, arguments.repeats)
                print(f"{name:>26} {seconds * 1e3:9.1f} ms {extra:8.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
