"""Families of discrete features, and products of families, for the list in `families`."""

import numpy as np
import scipy.sparse as sp

import oracle
from changes import Change, nothing
from emfast import (
    BinomialMixture,
    CategoricalMixture,
    ExponentialMixture,
    Mixture,
    PoissonMixture,
)
from emfast.data import Batch
from emfast.emissions import (
    Bernoulli,
    Binomial,
    Categorical,
    Exponential,
    Gaussian,
    Poisson,
    Product,
)
from emfast.emissions.bernoulli import BernoulliParameters
from emfast.emissions.categorical import CategoricalParameters
from emfast.emissions.counts import BinomialParameters, PoissonParameters
from emfast.emissions.exponential import ExponentialParameters
from emfast.emissions.product import ProductParameters
from emfast.inputs.labels import Labels
from emfast.inputs.rows import Blocks, SparseRows

# How often an entry is missing where some are.
MISSING = 0.2


def with_holes(rng, X):
    """X with missing entries, but no column without any other."""
    X = X.astype(np.float64)
    holes = rng.uniform(size=X.shape) < MISSING
    holes[0] = False
    X[holes] = np.nan
    return X


class DiscreteFamily:
    """What families of counts and categories share."""

    shared = ()
    missing = False
    closed_form = True
    precisions = ("float64", "float32")
    fill = {"float64": 1, "float32": 1}

    def batch(self, X, weights=None, labels=None):
        return Batch(X, weights, labels or Labels(), self.missing)

    def under(self, parameters):
        return self

    def fall(self, parameters, weights, regular):
        return 0.0

    def changes(self, rng, D):
        return iter(())

    def origin(self, statistics):
        return None

    def fitted(self, estimator):
        return {name: getattr(estimator, f"{name}_") for name in self.groups}

    def arguments(self, named):
        return {f"{name}_init": value for name, value in named.items()}

    def as_stored(self, rng, X):
        return with_holes(rng, X) if self.missing else X.astype(np.float64)


class PoissonFamily(DiscreteFamily):
    groups = ("rates",)
    fill = {"float64": 1000, "float32": 1000}

    def __init__(self, storage="number"):
        self.name = f"poisson-{storage}"
        self.storage = storage
        self.missing = storage == "missing"
        if storage == "uint8":
            self.precisions, self.fill = ("float64",), {"float64": 255}

    def batch(self, X, weights=None, labels=None):
        if self.storage == "sparse":
            X = SparseRows(sp.csr_array(X))
        return super().batch(X, weights, labels)

    def emission(self, *, regular=None):
        return Poisson()

    def of(self, named):
        return PoissonParameters(named["rates"])

    def parameters(self, rng, K, D):
        return PoissonParameters(rng.gamma(2.0, 2.0, (K, D)) + 0.1)

    def draw(self, rng, parameters, components):
        X = rng.poisson(parameters.rates[components])
        return X.astype(np.uint8) if self.storage == "uint8" else self.as_stored(rng, X)

    def named(self, parameters):
        return {"rates": parameters.rates}

    def alike(self, parameters):
        rates = parameters.rates.copy()
        rates[1] = 0.97 * rates[0]
        return PoissonParameters(rates)

    def log_densities(self, X, parameters):
        return oracle.poisson_log_densities(X, parameters.rates)

    def statistics(self, statistics):
        return {"first": statistics.first, "trials": statistics.trials}

    def true_statistics(self, X, r, origin):
        X = np.asarray(X, np.float64)
        there = ~np.isnan(X)
        return {
            "first": oracle.weighted_sums(np.where(there, X, 0), r),
            "trials": oracle.weighted_sums(there, r),
        }

    magnitudes = true_statistics

    def estimate(self, X, r, *, regular=None):
        sums = self.true_statistics(X, r, None)
        return {"rates": sums["first"] / sums["trials"]}

    def estimator(self, K, *, regular=None, **arguments):
        return PoissonMixture(K, **arguments)


class ExponentialFamily(PoissonFamily):
    """Waiting times, some of them perhaps missing."""

    fill = {"float64": 1e200, "float32": 9.96921e36}

    def __init__(self, storage="number"):
        super().__init__(storage)
        self.name = f"exponential-{storage}"

    def emission(self, *, regular=None):
        return Exponential()

    def of(self, named):
        return ExponentialParameters(named["rates"])

    def parameters(self, rng, K, D):
        return ExponentialParameters(rng.gamma(2.0, 1.0, (K, D)) + 0.1)

    def draw(self, rng, parameters, components):
        return self.as_stored(rng, rng.exponential(1 / parameters.rates[components]))

    def alike(self, parameters):
        rates = parameters.rates.copy()
        rates[1] = 0.97 * rates[0]
        return ExponentialParameters(rates)

    def log_densities(self, X, parameters):
        return oracle.exponential_log_densities(X, parameters.rates)

    def estimate(self, X, r, *, regular=None):
        sums = self.true_statistics(X, r, None)
        return {"rates": sums["trials"] / sums["first"]}

    def estimator(self, K, *, regular=None, **arguments):
        return ExponentialMixture(K, **arguments)

    def changes(self, rng, D):
        """Other units of time."""
        scales = 10.0 ** rng.choice([-6.0, 6.0], size=D)

        yield Change(
            "scale",
            lambda X: (X * scales).astype(X.dtype),
            lambda named: {"rates": named["rates"] / scales},
            lambda named: {"rates": named["rates"] * scales},
            lambda X: -(~np.isnan(X) @ np.log(scales)).mean(),
            self.precisions,
        )


class BinomialFamily(DiscreteFamily):
    """Counts out of five."""

    groups = ("probabilities",)
    n_trials = 5

    def __init__(self, storage="number"):
        self.name = f"binomial-{storage}"
        self.missing = storage == "missing"

    def emission(self, *, regular=None):
        return Binomial(self.n_trials)

    def of(self, named):
        return BinomialParameters(named["probabilities"])

    def parameters(self, rng, K, D):
        return BinomialParameters(rng.uniform(0.05, 0.95, (K, D)))

    def draw(self, rng, parameters, components):
        return self.as_stored(
            rng, rng.binomial(self.n_trials, parameters.probabilities[components])
        )

    def named(self, parameters):
        return {"probabilities": parameters.probabilities}

    def alike(self, parameters):
        p = parameters.probabilities.copy()
        p[1] = 0.97 * p[0]
        return BinomialParameters(p)

    def log_densities(self, X, parameters):
        return oracle.binomial_log_densities(X, self.n_trials, parameters.probabilities)

    def statistics(self, statistics):
        return {"first": statistics.first, "trials": statistics.trials}

    def origin(self, statistics):
        return statistics.reference

    def true_statistics(self, X, r, origin):
        X = np.asarray(X, np.float64)
        there = ~np.isnan(X)
        first = np.where(there, X - self.n_trials * origin, 0)
        return {
            "first": oracle.weighted_sums(first, r),
            "trials": self.n_trials * oracle.weighted_sums(there, r),
        }

    def magnitudes(self, X, r, origin):
        return {name: np.abs(sums) for name, sums in self.true_statistics(X, r, origin).items()}

    def estimate(self, X, r, *, regular=None):
        sums = self.true_statistics(X, r, 0)
        return {"probabilities": sums["first"] / sums["trials"]}

    def estimator(self, K, *, regular=None, **arguments):
        return BinomialMixture(K, n_trials=self.n_trials, **arguments)

    def changes(self, rng, D):
        """Counting failures instead of successes in some columns."""
        flipped = rng.uniform(size=D) < 0.5

        def rows(X):
            return np.where(flipped, self.n_trials - X, X).astype(X.dtype)

        def parameters(named):
            p = named["probabilities"]
            return {"probabilities": np.where(flipped, 1 - p, p)}

        yield Change("flip", rows, parameters, parameters, nothing, self.precisions)


class CategoricalFamily(DiscreteFamily):
    """Two to four levels, as codes in bytes or as numbers."""

    groups = ("probabilities",)
    # The numbers are codes, which emfast packs to bytes.
    precisions = ("float64",)

    def __init__(self, storage="uint8"):
        self.name = f"categorical-{storage}"
        self.missing = storage == "missing"

    def levels(self, D):
        return 2 + np.arange(D, dtype=np.int64) % 3

    def emission(self, *, regular=None):
        return Categorical()

    def of(self, named):
        p = named["probabilities"]
        # As many columns as the levels make up.
        D = next(D for D in range(1, p.shape[1]) if self.levels(D).sum() == p.shape[1])
        return CategoricalParameters(p, self.levels(D))

    def parameters(self, rng, K, D):
        levels = self.levels(D)
        shares = rng.uniform(0.2, 1.0, (K, levels.sum()))
        return CategoricalParameters(oracle.normalised_by_feature(shares, levels), levels)

    def draw(self, rng, parameters, components):
        columns = []
        for p in parameters.by_feature:
            below = np.cumsum(p[components], axis=1)
            chosen = (rng.uniform(size=(len(components), 1)) > below[:, :-1]).sum(axis=1)
            columns.append(chosen)
        X = np.stack(columns, axis=1)
        return with_holes(rng, X) if self.missing else X.astype(np.uint8)

    def named(self, parameters):
        return {"probabilities": parameters.probabilities}

    def arguments(self, named):
        return {"probabilities_init": self.of(named).by_feature}

    def fitted(self, estimator):
        return {"probabilities": np.hstack(estimator.probabilities_)}

    def alike(self, parameters):
        p = parameters.probabilities.copy()
        p[1] = 0.97 * p[0]
        return CategoricalParameters(
            oracle.normalised_by_feature(p, parameters.levels), parameters.levels
        )

    def log_densities(self, X, parameters):
        return oracle.categorical_log_densities(X, parameters.by_feature)

    def statistics(self, statistics):
        return {"sums": statistics.sums}

    def true_statistics(self, X, r, origin):
        X = np.asarray(X, np.float64)
        hits = [X[:, [d]] == np.arange(n) for d, n in enumerate(self.levels(X.shape[1]))]
        return {"sums": oracle.weighted_sums(np.hstack(hits), r)}

    magnitudes = true_statistics

    def estimate(self, X, r, *, regular=None):
        sums = self.true_statistics(X, r, None)["sums"]
        levels = self.levels(X.shape[1])
        return {"probabilities": oracle.normalised_by_feature(sums, levels)}

    def estimator(self, K, *, regular=None, **arguments):
        return CategoricalMixture(K, **arguments)

    def changes(self, rng, D):
        """Other names of the levels of some columns."""
        levels = self.levels(D)
        flipped = rng.uniform(size=D) < 0.5

        def rows(X):
            return np.where(flipped, levels - 1 - X, X).astype(X.dtype)

        def parameters(named):
            parts = np.split(named["probabilities"], np.cumsum(levels)[:-1], axis=1)
            turned = [p[:, ::-1] if flip else p for p, flip in zip(parts, flipped, strict=True)]
            return {"probabilities": np.hstack(turned)}

        yield Change("rename", rows, parameters, parameters, nothing, self.precisions)


class ProductFamily(DiscreteFamily):
    """Columns of four kinds in turn: numbers, yes and no, three levels, counts."""

    name = "product"
    kinds = ("numbers", "answers", "levels", "counts")

    def columns(self, D):
        """The columns of every part that has any."""
        return {
            name: list(range(first, D, 4)) for first, name in enumerate(self.kinds) if first < D
        }

    def part(self, name, regular):
        return {
            "numbers": Gaussian("diag", reg_covar=1e-3 if regular is None else regular),
            "answers": Bernoulli(),
            "levels": Categorical(),
            "counts": Poisson(),
        }[name]

    def _emission(self, D, regular):
        columns = self.columns(D)
        parts = {name: self.part(name, regular) for name in columns}
        return Product(parts, [len(each) for each in columns.values()])

    def batch(self, X, weights=None, labels=None):
        blocks = Blocks(tuple(X[:, each[0] :: 4] for each in self.columns(X.shape[1]).values()))
        return Batch(blocks, weights, labels or Labels(), (False,) * len(blocks.parts))

    def emission(self, *, regular=None, D=4):
        return self._emission(D, regular)

    def of(self, named):
        parts = {}
        for key, value in named.items():
            if "." not in key:
                continue
            name, group = key.split(".")
            parts.setdefault(name, {})[group] = value
        return ProductParameters(self._of_part(name, own) for name, own in parts.items())

    def _of_part(self, name, named):
        if name == "numbers":
            return Gaussian("diag").parameters(named["means"], named["covariances"])
        if name == "answers":
            return BernoulliParameters(named["probabilities"])
        if name == "counts":
            return PoissonParameters(named["rates"])
        p = named["probabilities"]
        return CategoricalParameters(p, np.full(p.shape[1] // 3, 3))

    def parameters(self, rng, K, D):
        parts = []
        for name, columns in self.columns(D).items():
            size = (K, len(columns))
            if name == "numbers":
                named = {"means": rng.normal(scale=2.0, size=size),
                         "covariances": rng.uniform(0.5, 2.0, size)}  # fmt: skip
            elif name == "counts":
                named = {"rates": rng.gamma(2.0, 2.0, size) + 0.1}
            elif name == "answers":
                named = {"probabilities": rng.uniform(0.05, 0.95, size)}
            else:
                shares = rng.uniform(0.2, 1.0, (K, 3 * len(columns)))
                levels = np.full(len(columns), 3)
                named = {"probabilities": oracle.normalised_by_feature(shares, levels)}
            parts.append(self._of_part(name, named))
        return ProductParameters(parts)

    def draw(self, rng, parameters, components):
        D = sum(np.shape(own)[1] for own in self._locations(parameters))
        X = np.zeros((len(components), D))
        for own, (name, columns) in zip(parameters, self.columns(D).items(), strict=True):
            emission = self.part(name, None)
            state = np.random.RandomState(rng.integers(2**31))
            for k in np.unique(components):
                rows = np.flatnonzero(components == k)
                X[np.ix_(rows, columns)] = emission.draw(own, k, rows.size, state)
        return X

    def _locations(self, parameters):
        for own in parameters:
            if isinstance(own, CategoricalParameters):
                yield own.levels[None]
            else:
                yield next(iter(vars(own).values()))

    def named(self, parameters):
        D = sum(np.shape(own)[1] for own in self._locations(parameters))
        named = {}
        for own, name in zip(parameters, self.columns(D), strict=True):
            for group in self.part(name, None).groups:
                named[f"{name}.{group}"] = getattr(own, group)
        return named

    def arguments(self, named):
        given = dict(named)
        if "levels.probabilities" in given:
            p = given["levels.probabilities"]
            given["levels.probabilities"] = np.split(p, p.shape[1] // 3, axis=1)
        return {"emissions_init": given}

    def fitted(self, estimator):
        return {
            f"{name}.{group}": getattr(own, group)
            for name, own in estimator.emissions_.items()
            for group in self.part(name, None).groups
        }

    def alike(self, parameters):
        named = {}
        for name, values in self.named(parameters).items():
            named[name] = values.copy()
            named[name][1] = named[name][0]
            if name == "numbers.means":
                named[name][1] = 0.97 * named[name][0]
        return self.of(named)

    def log_densities(self, X, parameters):
        X = np.asarray(X, np.float64)
        total = 0.0
        columns = self.columns(X.shape[1])
        for own, (name, each) in zip(parameters, columns.items(), strict=True):
            part = X[:, each]
            total = total + {
                "numbers": lambda own, part: oracle.gaussian_log_densities(
                    part, own.means, own.covariances, "diag"
                ),
                "answers": lambda own, part: oracle.bernoulli_log_densities(
                    part, own.probabilities
                ),
                "levels": lambda own, part: oracle.categorical_log_densities(part, own.by_feature),
                "counts": lambda own, part: oracle.poisson_log_densities(part, own.rates),
            }[name](own, part)
        return total

    def statistics(self, statistics):
        named = {}
        for name, own in zip(self.kinds, statistics.parts, strict=False):
            if name == "levels":
                named["levels"] = own.sums
            else:
                named[f"{name}.first"] = own.first
            if name == "numbers":
                named["numbers.second"] = own.second
        return named

    def origin(self, statistics):
        return {
            name: getattr(own, "origin", getattr(own, "reference", None))
            for name, own in zip(self.kinds, statistics.parts, strict=False)
        }

    def true_statistics(self, X, r, origin):
        X = np.asarray(X, np.float64)
        named = {}
        for name, each in self.columns(X.shape[1]).items():
            part = X[:, each]
            if name == "levels":
                hits = np.hstack([part[:, [d]] == np.arange(3) for d in range(len(each))])
                named["levels"] = oracle.weighted_sums(hits, r)
            elif name == "numbers":
                second = oracle.second_moments(part, r, origin[name])
                named["numbers.first"] = oracle.first_moments(part, r, origin[name])
                named["numbers.second"] = np.diagonal(second, axis1=1, axis2=2)
            else:
                named[f"{name}.first"] = oracle.weighted_sums(part - origin[name], r)
        return named

    def magnitudes(self, X, r, origin):
        sums = {name: np.abs(each) for name, each in self.true_statistics(X, r, origin).items()}
        part = np.asarray(X, np.float64)[:, ::4]
        sums["numbers.first"] = np.stack(
            [r[:, k] @ np.abs(part - origin["numbers"][k]) for k in range(r.shape[1])]
        )
        return sums

    def estimate(self, X, r, *, regular=1e-3):
        X = np.asarray(X, np.float64)
        estimate = {}
        for name, each in self.columns(X.shape[1]).items():
            part = X[:, each]
            if name == "numbers":
                estimate["numbers.means"] = oracle.weighted_means(part, r)
                estimate["numbers.covariances"] = oracle.gaussian_covariances(
                    part, r, "diag", regular
                )
            elif name == "levels":
                hits = np.hstack([part[:, [d]] == np.arange(3) for d in range(len(each))])
                estimate["levels.probabilities"] = oracle.weighted_means(hits, r)
            else:
                group = {"answers": "probabilities", "counts": "rates"}[name]
                estimate[f"{name}.{group}"] = oracle.weighted_means(part, r)
        return estimate

    def estimator(self, K, *, regular=1e-3, **arguments):
        def every_fourth(first):
            return lambda X: list(range(first, X.shape[1], 4))

        emissions = [
            (name, self.part(name, regular), every_fourth(first))
            for first, name in enumerate(self.kinds)
        ]
        return Mixture(K, emissions, **arguments)

    def fall(self, parameters, weights, regular):
        return 0.5 * regular * float(weights @ (1 / parameters[0].covariances).sum(axis=1))
