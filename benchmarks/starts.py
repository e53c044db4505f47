"""How soon and how well a fit starts: whole fits, races, and the optima of small data.

    python benchmarks/starts.py [--parts fit,race,small,drawn] [--scale 0.2] [--seeds 10]
                                [--draw 0] [--json FILE]

fit
    `fit` with default arguments beside scikit-learn's, over seeds: median seconds of each, how many
    times sooner emfast ends, and the median and least difference of the log-likelihoods per row
    (positive: emfast ends higher). A row meets its goal if the ratio is the one named and the
    median difference is above -1e-4.
race
    Starts that race (``n_init=10, restarts="race"``) beside ten full starts and beside a single
    one, on data with overlapping components, over seeds: least, quartiles and most of the
    differences of the log-likelihoods per row, the share of them above -1e-4, and the median cost
    of a race and of ten full starts, in single starts. Cost is seconds, and rows that the kernels
    went over, whatever was computed of them.
drawn
    Races on a dozen sets of rows whose kinds, sizes and distances are drawn, by the seed `--draw`:
    nobody has looked at them before. Not among the parts that run unless they are named.
small
    How many of 20 seeds reach the best optimum known that no degenerate component explains, with
    ten starts, default `tol` and as many iterations as they need.

Times are wall-clock; on a machine that does other work only their ratios mean something, and those
little. All fits of one seed run in turn. On two quiet cores everything takes about ten minutes,
most of it scikit-learn's; with ``--scale 0.1`` less than three.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as SklearnMixture

import emcore
from emfast import BernoulliMixture, GaussianMixture
from emfast.datasets import load_faithful
from measure import machine, settle, write_json
from progress import progress
from workloads import Workload

CLOSE = 1e-4
Step = Callable[[str], None]


@dataclass(frozen=True)
class Uneven(Workload):
    """Components of unequal weights and sizes, with correlated features."""

    def __str__(self) -> str:
        return f"{super().__str__()} uneven"

    def rows(self, dtype: str = "float64") -> np.ndarray:
        """Rows in no order of components."""
        generator = np.random.default_rng(0)
        D, K = self.n_features, self.n_components
        components = generator.choice(K, self.n_samples, p=generator.dirichlet(np.full(K, 2.0)))
        means = self.separation / np.sqrt(2 * D) * generator.standard_normal((K, D))
        X = np.empty((self.n_samples, D))
        for k in range(K):
            of_component = np.flatnonzero(components == k)
            axes = np.diag(np.exp(generator.uniform(-1, 0.7, D)))
            axes += 0.7 / np.sqrt(D) * generator.standard_normal((D, D))
            axes *= np.exp(generator.uniform(-0.7, 0.7))
            X[of_component] = means[k] + generator.standard_normal((of_component.size, D)) @ axes
        return X.astype(dtype, copy=False)


# What a whole fit is to be, in times of scikit-learn's.
FITS = (
    (Workload("diag", 1_000_000, 16, 16), 40),
    (Workload("full", 1_000_000, 8, 8), 40),
    (Workload("full", 200_000, 32, 16), 25),
)
RACES = (
    Workload("diag", 1_000_000, 16, 16),
    Workload("full", 1_000_000, 8, 8),
    Workload("full", 200_000, 32, 16),
    Workload("diag", 200_000, 2, 4, separation=2.5),
    Uneven("full", 200_000, 5, 6, separation=5.0),
    Uneven("diag", 200_000, 10, 8, separation=5.0),
    Uneven("tied", 200_000, 4, 6, separation=5.0),
    Workload("spherical", 200_000, 3, 5),
    Workload("tied", 200_000, 8, 8),
    Uneven("spherical", 500_000, 2, 12, separation=6.0),
    Uneven("diag", 60_000, 8, 10),
    Workload("full", 60_000, 4, 8, separation=3.0),
    Uneven("full", 60_000, 4, 8, separation=5.0),
    Uneven("diag", 100_000, 5, 12, separation=6.0),
)
# Starts race above as many rows.
LEAST_RACE = 50_001

N_DRAWN = 12

# Log-likelihoods. That of Old Faithful with K=3, full, has a component of 35 short eruptions with a
# standard deviation of 0.06 minutes; the next lower maximum is -1119.21.
SMALL = (
    ("faithful", "tied", 3, -1126.315928),
    ("faithful", "full", 3, -1114.440),
    ("faithful", "full", 2, -1130.263960),
    ("faithful", "diag", 3, -1127.008),
    ("iris", "full", 2, -214.354704),
    ("iris", "full", 3, -180.185477),
    ("iris", "tied", 2, -296.448),
    ("iris", "tied", 3, -256.354043),
    ("iris", "diag", 2, -386.185347),
    ("iris", "diag", 3, -306.860461),
    ("iris", "spherical", 2, -478.559),
    ("iris", "spherical", 3, -384.314095),
    ("carcinoma", "bernoulli", 3, -293.704979),
    ("carcinoma", "bernoulli", 4, -289.285853),
)
SMALL_SEEDS = 20
REACHED = 0.03


@contextmanager
def rows_counted() -> Iterator[list[int]]:
    """A list whose only item is the number of rows that kernels go over inside the block.

    A pass that serves several models counts as often.
    """
    kernels = emcore.kernels("float64")
    count, expectation = [0], kernels.expectation

    def counted(latent, emission, X, *arguments, **options):
        count[0] += X.shape[0] * getattr(latent, "n_mixtures", 1)
        return expectation(latent, emission, X, *arguments, **options)

    kernels.expectation = counted
    try:
        yield count
    finally:
        kernels.expectation = expectation


def timed(mixture, X) -> dict[str, float]:
    """Seconds of a fit, passes over all rows, and the log-likelihood per row that it ends at."""
    settle()
    with rows_counted() as count:
        began = time.perf_counter()
        mixture.fit(X)
        seconds, passes = time.perf_counter() - began, count[0] / len(X)
    return {"seconds": seconds, "passes": passes, "log_likelihood": float(mixture.score(X))}


def column(runs: list[dict], who: str, what: str) -> np.ndarray:
    """One number of every run."""
    return np.array([run[who][what] for run in runs])


def fits(scale: float, seeds: int, step: Step) -> list[dict]:
    """Default fits beside scikit-learn's."""
    results = []
    print(f"{'default fit':<28}{'emfast s':>9}{'sklearn s':>11}{'ratio':>7}{'goal':>6}", end="")
    print(f"{'median':>11}{'least':>11}")
    for workload, goal in FITS:
        workload = workload.scaled(scale)
        X, K, runs = workload.rows(), workload.n_components, []
        GaussianMixture(K, covariance_type=workload.family, max_iter=1, tol=0).fit(X)
        for seed in range(seeds):
            step(f"fit {workload}, seed {seed}")
            arguments = {"covariance_type": workload.family, "random_state": seed}
            ours = timed(GaussianMixture(K, **arguments), X)
            theirs = timed(SklearnMixture(K, **arguments), X)
            runs.append({"seed": seed, "emfast": ours, "sklearn": theirs})
        mine, other = (np.median(column(runs, who, "seconds")) for who in ("emfast", "sklearn"))
        ends = [column(runs, who, "log_likelihood") for who in ("emfast", "sklearn")]
        differences = ends[0] - ends[1]
        print(f"{workload!s:<28}{mine:>9.3f}{other:>11.3f}{other / mine:>7.1f}{goal:>6}", end="")
        print(f"{np.median(differences):>11.5f}{differences.min():>11.5f}", flush=True)
        results.append({"workload": workload.as_dict(), "goal": goal, "runs": runs})
    return results


def drawn(seed: int) -> list[Workload]:
    """Sets of rows of components that overlap, more or less."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(N_DRAWN):
        kind = (Workload, Uneven)[number % 2]
        family = generator.choice(["full", "diag", "tied", "spherical"])
        n_samples = int(generator.choice([55_000, 70_000, 100_000, 140_000, 180_000, 250_000]))
        n_features, n_components = int(generator.integers(1, 13)), int(generator.integers(3, 11))
        separation = round(generator.uniform(2.5, 6.0), 1)
        found.append(kind(str(family), n_samples, n_features, n_components, separation=separation))
    return found


def races(workloads: Sequence[Workload], scale: float, seeds: int, step: Step) -> list[dict]:
    """Races beside ten full starts and one."""
    results = []
    print(f"{'race - ten full starts':<28}{'least':>10}{'lower q.':>10}{'median':>10}", end="")
    print(f"{'upper q.':>10}{'most':>10}{'close':>7}", end="")
    print(f"{'cost s':>8}{'rows':>6}{'full s':>8}{'rows':>6}")
    for workload in workloads:
        workload = workload.scaled(scale)
        workload = replace(workload, n_samples=max(LEAST_RACE, workload.n_samples))
        X, K, runs = workload.rows(), workload.n_components, []
        for seed in range(seeds):
            step(f"race {workload}, seed {seed}")
            arguments = {"covariance_type": workload.family, "random_state": seed}
            run = {"seed": seed, "one": timed(GaussianMixture(K, **arguments), X)}
            for restarts in ("race", "full"):
                mixture = GaussianMixture(K, n_init=10, restarts=restarts, **arguments)
                run[restarts] = timed(mixture, X)
            runs.append(run)
        ends = [column(runs, who, "log_likelihood") for who in ("race", "full")]
        differences = ends[0] - ends[1]
        cells = "".join(f"{q:>10.5f}" for q in np.quantile(differences, [0, 0.25, 0.5, 0.75, 1]))
        close = f"{(differences > -CLOSE).sum()}/{seeds}"
        print(f"{workload!s:<28}{cells}{close:>7}", end="")
        for who in ("race", "full"):
            cost, passes = (
                np.median(column(runs, who, what) / column(runs, "one", what))
                for what in ("seconds", "passes")
            )
            print(f"{cost:>8.1f}{passes:>6.1f}", end="")
        print(flush=True)
        results.append({"workload": workload.as_dict(), "runs": runs})
    return results


def small(step: Step) -> list[dict]:
    """How many seeds find the best optimum of small data."""
    data = {"faithful": (load_faithful().data, None), "iris": (load_iris().data, None)}
    path = Path(__file__).parents[1] / "tests" / "data" / "carcinoma.csv"
    table = np.loadtxt(path, delimiter=",", skiprows=1, dtype=int)
    data["carcinoma"] = table[:, :7], table[:, 7]
    results = []
    print(f"{'ten starts':<28}{'best':>12}{'reached':>9}{'above':>7}{'ms':>7}")
    for name, family, K, best in SMALL:
        X, weight = data[name]
        common = {"n_init": 10, "max_iter": 1000}
        ends, began = [], time.perf_counter()
        for seed in range(SMALL_SEEDS):
            step(f"small {name} {family} {K}, seed {seed}")
            if family == "bernoulli":
                mixture = BernoulliMixture(K, random_state=seed, **common)
            else:
                mixture = GaussianMixture(K, covariance_type=family, random_state=seed, **common)
            mixture.fit(X, sample_weight=weight)
            total = len(X) if weight is None else weight.sum()
            ends.append(float(mixture.score(X, sample_weight=weight) * total))
        seconds = (time.perf_counter() - began) / SMALL_SEEDS
        reached, above = np.sum(np.array(ends) > best - REACHED), np.max(ends) > best + REACHED
        row = f"{f'{name} {family} K={K}':<28}{best:>12.3f}{f'{reached}/{SMALL_SEEDS}':>9}"
        print(f"{row}{'yes' if above else 'no':>7}{1e3 * seconds:>7.0f}", flush=True)
        results.append({"data": name, "family": family, "K": K, "best": best, "ends": ends})
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="fit,race,small", help="comma-separated")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the rows of the data")
    parser.add_argument("--seeds", type=int, default=10, help="of the parts fit, race and drawn")
    parser.add_argument("--draw", type=int, default=0, help="seed of the sets of the part drawn")
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    arguments = parser.parse_args()
    scale, seeds = arguments.scale, arguments.seeds
    parts = {
        "fit": (len(FITS) * seeds, lambda step: fits(scale, seeds, step)),
        "race": (len(RACES) * seeds, lambda step: races(RACES, scale, seeds, step)),
        "drawn": (N_DRAWN * seeds, lambda step: races(drawn(arguments.draw), scale, seeds, step)),
        "small": (len(SMALL) * SMALL_SEEDS, small),
    }
    chosen = arguments.parts.split(",")
    unknown = [part for part in chosen if part not in parts]
    if unknown:
        parser.error(f"--parts: found {unknown}; expected names among {list(parts)}")
    print(machine())
    warnings.simplefilter("ignore", ConvergenceWarning)
    with progress(sum(parts[part][0] for part in chosen)) as step:
        results = {part: parts[part][1](step) for part in chosen}
    write_json(arguments.json, {"machine": machine(), **results})


if __name__ == "__main__":
    main()
