"""Memory that a fit of very many rows allocates beyond the rows.

    python benchmarks/memory.py [--rows 10000000]

Fails if a default fit of rows x 4 with 8 components needs more than 64 MiB.
"""

import argparse
import sys

from emfast import GaussianMixture
from emfast.datasets import make_gaussian_mixture
from measure import PeakMemory

LIMIT_MIB = 64


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    arguments = parser.parse_args()
    X = make_gaussian_mixture(arguments.rows, 4, 8, random_state=0)[0]
    worst = 0.0
    for covariance_type in ("full", "tied", "diag", "spherical"):
        mixture = GaussianMixture(8, covariance_type=covariance_type, random_state=0)
        with PeakMemory() as memory:
            mixture.fit(X)
        if memory.extra is None:
            print("this system does not tell how much memory a process needed at most")
            return 1
        worst = max(worst, memory.extra)
        print(
            f"{covariance_type:>10} {arguments.rows} x 4, 8: {memory.extra:6.1f} MiB beyond "
            f"{X.nbytes / 2**20:.0f} MiB of rows, {mixture.n_iter_} iterations, "
            f"log-likelihood {mixture.lower_bound_:.6f}"
        )
    return 0 if worst <= LIMIT_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
