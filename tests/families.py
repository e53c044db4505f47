"""Every emission family that the laws are tested over, in one list.

A later emission joins all laws by one line in `FAMILIES`: an object with the interface of
`GaussianFamily` below.
"""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import strategies as st

import emcore
import oracle
from changes import Change, nothing
from discrete_families import (
    BinomialFamily,
    CategoricalFamily,
    DiscreteFamily,
    ExponentialFamily,
    PoissonFamily,
    ProductFamily,
)
from emfast import BernoulliMixture, GaussianMixture
from emfast.data import ArraySource, Batch
from emfast.emissions import Bernoulli, Gaussian
from emfast.emissions.bernoulli import BernoulliParameters
from emfast.inputs.labels import Labels
from emfast.inputs.rows import SparseRows
from emfast.latent import MixtureWeights
from emfast.passes import Model, expectation, posterior
from emfast.problems.grid import GridProblem
from regressions import RegressionFamily


class GaussianFamily:
    """Gaussians with covariances of one shape."""

    precisions = ("float64", "float32")
    # What a masked entry may hold: its square overflows.
    fill = {"float64": 1e200, "float32": 9.96921e36}
    closed_form = True

    def __init__(self, covariance_type):
        self.covariance_type = covariance_type
        self.name = f"gaussian-{covariance_type}"
        # Groups of parameters that have no component axis.
        self.shared = ("covariances",) if covariance_type == "tied" else ()

    def emission(self, *, regular=1e-3):
        """The package's family; `regular` keeps few rows in many dimensions well-posed."""
        return Gaussian(self.covariance_type, reg_covar=regular)

    def of(self, named):
        """Parameters in the package's form, from those in human units."""
        return self.emission().parameters(named["means"], named["covariances"])

    def parameters(self, rng, K, D):
        """Random parameters in the package's form, with condition numbers below about 100."""
        means = rng.normal(scale=2.0, size=(K, D))
        if self.covariance_type == "spherical":
            covariances = rng.uniform(0.5, 2.0, K)
        elif self.covariance_type == "diag":
            covariances = rng.uniform(0.5, 2.0, (K, D))
        else:
            roots = rng.normal(size=(K, D, D)) / np.sqrt(D)
            covariances = roots @ np.swapaxes(roots, 1, 2) + 0.3 * np.eye(D)
            covariances = covariances[0] if self.covariance_type == "tied" else covariances
        return self.emission().parameters(means, covariances)

    def draw(self, rng, parameters, components):
        """A row from each of the given components."""
        D = parameters.means.shape[1]
        X = rng.normal(size=(len(components), D))
        for k in np.unique(components):
            covariance = oracle.covariance_of(parameters.covariances, self.covariance_type, k, D)
            rows = components == k
            X[rows] = X[rows] @ np.linalg.cholesky(covariance).T + parameters.means[k]
        return X

    def named(self, parameters):
        """Parameters in human units, under the names of the estimator's arguments."""
        return {"means": parameters.means, "covariances": parameters.covariances}

    def alike(self, parameters):
        """Parameters whose second component is much like the first."""
        means, covariances = parameters.means.copy(), parameters.covariances.copy()
        means[1] = 0.97 * means[0]
        if not self.shared:
            covariances[1] = 0.97 * covariances[0]
        return self.emission().parameters(means, covariances)

    def batch(self, X, weights=None, labels=None):
        return Batch(X, weights, labels or Labels())

    def under(self, parameters):
        """What can tell statistics and estimates of rows under these parameters."""
        return self

    def fitted(self, estimator):
        return {"means": estimator.means_, "covariances": estimator.covariances_}

    def arguments(self, named):
        return {f"{name}_init": value for name, value in named.items()}

    def log_densities(self, X, parameters):
        return oracle.gaussian_log_densities(
            X, parameters.means, parameters.covariances, self.covariance_type
        )

    def statistics(self, statistics):
        """The package's statistics as a dict of arrays."""
        return {"first": statistics.first, "second": statistics.second}

    def origin(self, statistics):
        return statistics.origin

    def true_statistics(self, X, r, origin):
        """The oracle's, about the same origin."""
        second = oracle.second_moments(X, r, origin)
        return {"first": oracle.first_moments(X, r, origin), "second": self._shaped(second)}

    def magnitudes(self, X, r, origin):
        """Sums of the absolute values that the statistics are sums of."""
        X = np.asarray(X, np.float64)
        first, second = [], []
        for k in range(r.shape[1]):
            z = np.abs(X - origin[k])
            first.append(r[:, k] @ z)
            second.append((r[:, k, None] * z).T @ z)
        return {"first": np.stack(first), "second": self._shaped(np.stack(second))}

    def _shaped(self, second):
        if self.covariance_type == "tied":
            return second.sum(axis=0)
        if self.covariance_type == "full":
            return second
        variances = np.diagonal(second, axis1=1, axis2=2)
        return variances.sum(axis=1) if self.covariance_type == "spherical" else variances

    def estimate(self, X, r, *, regular=1e-3):
        """The closed-form estimate given responsibilities."""
        return {
            "means": oracle.weighted_means(X, r),
            "covariances": oracle.gaussian_covariances(X, r, self.covariance_type, regular),
        }

    def estimator(self, K, *, regular=1e-3, **arguments):
        return GaussianMixture(
            K, covariance_type=self.covariance_type, reg_covar=regular, **arguments
        )

    def fall(self, parameters, weights, regular):
        """How much `regular` may lower the mean objective in an iteration, as law 3 says."""
        D = parameters.means.shape[1]
        traces = [
            np.trace(
                np.linalg.inv(
                    oracle.covariance_of(parameters.covariances, self.covariance_type, k, D)
                )
            )
            for k in range(len(weights))
        ]
        return 0.5 * regular * float(np.dot(weights, traces))

    def changes(self, rng, D):
        """Changes of the data that law 8 foresees."""
        scales = 10.0 ** rng.choice([-6.0, 6.0], size=D)
        if self.covariance_type == "spherical":
            scales[:] = scales[0]
        yield self._change("shift", np.full(D, 1e8), np.ones(D), ("float64",))
        yield self._change("scale", np.zeros(D), scales, self.precisions)

    def _change(self, name, shift, scales, precisions):
        def rows(X):
            return (X * scales + shift).astype(X.dtype)

        def parameters(named):
            covariances = named["covariances"]
            if self.covariance_type == "spherical":
                covariances = covariances * scales[0] ** 2
            elif self.covariance_type == "diag":
                covariances = covariances * scales**2
            else:
                covariances = covariances * np.outer(scales, scales)
            return {"means": named["means"] * scales + shift, "covariances": covariances}

        def back(named):
            """Undo `parameters`, so that results compare on the scale of the original data."""
            covariances = named["covariances"]
            if self.covariance_type == "spherical":
                covariances = covariances / scales[0] ** 2
            elif self.covariance_type == "diag":
                covariances = covariances / scales**2
            else:
                covariances = covariances / np.outer(scales, scales)
            return {"means": (named["means"] - shift) / scales, "covariances": covariances}

        def log_likelihood(X):
            return -(~np.isnan(X) @ np.log(scales)).mean()

        return Change(name, rows, parameters, back, log_likelihood, precisions)


class IncompleteGaussianFamily(GaussianFamily):
    """Gaussian rows with missing entries, in a few patterns.

    What is expected of missing entries, hence the statistics, depends on the parameters unless
    features are independent.
    """

    def __init__(self, covariance_type, parameters=None):
        super().__init__(covariance_type)
        self.name = f"incomplete-{self.name}"
        self.independent = covariance_type in ("diag", "spherical")
        # Whether M-steps of labelled rows do not depend on the model before.
        self.closed_form = self.independent
        self.given = parameters

    def under(self, parameters):
        return IncompleteGaussianFamily(self.covariance_type, parameters)

    def draw(self, rng, parameters, components):
        X = super().draw(rng, parameters, components)
        patterns = rng.uniform(size=(8, X.shape[1])) < 0.3
        # No column is missing entirely.
        patterns[0] = False
        missing = patterns[rng.integers(8, size=len(X))]
        missing[0] = False
        X[missing] = np.nan
        return X

    def batch(self, X, weights=None, labels=None):
        return Batch(X, weights, labels or Labels(), missing=True)

    def log_densities(self, X, parameters):
        return oracle.incomplete_gaussian_log_densities(
            X, parameters.means, parameters.covariances, self.covariance_type
        )

    def statistics(self, statistics):
        named = super().statistics(statistics)
        return {**named, "known": statistics.known} if self.independent else named

    def true_statistics(self, X, r, origin):
        X = np.asarray(X, np.float64)
        if self.independent:
            first, second, known = oracle.known_moments(X, r, origin)
            second = second.sum(axis=1) if self.covariance_type == "spherical" else second
            return {"first": first, "second": second, "known": known}
        first, second = oracle.expected_moments(
            X, r, origin, self.given.means, self.given.covariances, self.covariance_type
        )
        return {"first": first, "second": self._shaped(second)}

    def magnitudes(self, X, r, origin):
        X = np.asarray(X, np.float64)
        if self.independent:
            known = ~np.isnan(X)
            sizes = super().magnitudes(np.where(known, X, np.median(origin, axis=0)), r, origin)
            return {**sizes, "known": r.T @ known}
        first, second = [], []
        for k in range(r.shape[1]):
            covariance = oracle.covariance_of(
                self.given.covariances, self.covariance_type, k, X.shape[1]
            )
            filled, spread = oracle.conditional(X, self.given.means[k], covariance)
            z = np.abs(filled - origin[k])
            # A conditional mean is a difference of sums that may be larger.
            z += np.abs(self.given.means[k] - origin[k]) + np.sqrt(np.diag(covariance))
            first.append(r[:, k] @ z)
            second.append((r[:, k, None] * z).T @ z + np.tensordot(r[:, k], np.abs(spread), 1))
        return {"first": np.stack(first), "second": self._shaped(np.stack(second))}

    def estimate(self, X, r, *, regular=1e-3):
        X = np.asarray(X, np.float64)
        if self.independent:
            first, _, known = oracle.known_moments(X, r, np.zeros((r.shape[1], X.shape[1])))
            means = first / known
            second = oracle.known_moments(X, r, means)[1]
            if self.covariance_type == "spherical":
                return {"means": means, "covariances": second.sum(1) / known.sum(1) + regular}
            return {"means": means, "covariances": second / known + regular}
        origin = self.given.means
        first, second = oracle.expected_moments(
            X, r, origin, origin, self.given.covariances, self.covariance_type
        )
        counts = r.sum(axis=0)
        steps = first / counts[:, None]
        second = second - counts[:, None, None] * steps[:, :, None] * steps[:, None, :]
        averages = (
            second.sum(axis=0) / counts.sum() if self.shared else second / counts[:, None, None]
        )
        return {"means": origin + steps, "covariances": averages + regular * np.eye(X.shape[1])}


class BernoulliFamily(DiscreteFamily):
    """Binary features: numbers, of which some may be missing, bytes, or entries of sparse rows."""

    groups = ("probabilities",)

    def __init__(self, storage):
        self.storage = storage
        self.missing = storage == "missing"
        self.name = f"bernoulli-{storage}"
        self.precisions = ("float64",) if storage == "uint8" else ("float64", "float32")

    def batch(self, X, weights=None, labels=None):
        if self.storage == "sparse":
            X = SparseRows(sp.csr_array(X))
        return super().batch(X, weights, labels)

    def emission(self, *, regular=None):
        return Bernoulli()

    def of(self, named):
        return BernoulliParameters(named["probabilities"])

    def parameters(self, rng, K, D):
        return BernoulliParameters(rng.uniform(0.05, 0.95, (K, D)))

    def draw(self, rng, parameters, components):
        p = parameters.probabilities[components]
        X = (rng.uniform(size=p.shape) < p).astype(np.uint8)
        return X if self.storage == "uint8" else self.as_stored(rng, X)

    def named(self, parameters):
        return {"probabilities": parameters.probabilities}

    def alike(self, parameters):
        p = parameters.probabilities.copy()
        p[1] = 0.97 * p[0]
        return BernoulliParameters(p)

    def log_densities(self, X, parameters):
        return oracle.bernoulli_log_densities(X, parameters.probabilities)

    def statistics(self, statistics):
        return {"first": statistics.first}

    def origin(self, statistics):
        return np.tile(statistics.reference, (len(statistics.first), 1))

    def true_statistics(self, X, r, origin):
        X = np.asarray(X, np.float64)
        return {"first": oracle.weighted_sums(np.where(np.isnan(X), 0, X - origin[0]), r)}

    def magnitudes(self, X, r, origin):
        return {"first": np.abs(self.true_statistics(X, r, origin)["first"])}

    def estimate(self, X, r, *, regular=None):
        X = np.asarray(X, np.float64)
        there = ~np.isnan(X)
        sums = oracle.weighted_sums(np.where(there, X, 0), r)
        return {"probabilities": sums / oracle.weighted_sums(there, r)}

    def estimator(self, K, *, regular=None, **arguments):
        return BernoulliMixture(K, **arguments)

    def changes(self, rng, D):
        """Renaming yes to no in some columns renames their probabilities."""
        flipped = rng.uniform(size=D) < 0.5

        def rows(X):
            return np.where(flipped, 1 - X, X).astype(X.dtype)

        def parameters(named):
            p = named["probabilities"]
            return {"probabilities": np.where(flipped, 1 - p, p)}

        yield Change("flip", rows, parameters, parameters, nothing, self.precisions)


FAMILIES = [
    GaussianFamily("spherical"),
    GaussianFamily("diag"),
    GaussianFamily("tied"),
    GaussianFamily("full"),
    BernoulliFamily("number"),
    BernoulliFamily("uint8"),
    BernoulliFamily("missing"),
    BernoulliFamily("sparse"),
    PoissonFamily("number"),
    PoissonFamily("uint8"),
    PoissonFamily("missing"),
    PoissonFamily("sparse"),
    ExponentialFamily("number"),
    ExponentialFamily("missing"),
    BinomialFamily("number"),
    BinomialFamily("missing"),
    CategoricalFamily("uint8"),
    CategoricalFamily("missing"),
    ProductFamily(),
    IncompleteGaussianFamily("spherical"),
    IncompleteGaussianFamily("diag"),
    IncompleteGaussianFamily("tied"),
    IncompleteGaussianFamily("full"),
    RegressionFamily("one array"),
    RegressionFamily("two arrays"),
]
GAUSSIANS = [family for family in FAMILIES if family.name.startswith("gaussian")]
# Those whose kernels look up bits.
BERNOULLIS = [family for family in FAMILIES if isinstance(family, BernoulliFamily)][:2]

# Those that say how all columns of a row are distributed.
DENSITIES = [family for family in FAMILIES if not isinstance(family, RegressionFamily)]


def over(families):
    """A test over families in their precisions."""
    return pytest.mark.parametrize(
        ("family", "precision"),
        [
            pytest.param(family, precision, id=f"{family.name}-{precision}")
            for family in families
            for precision in family.precisions
        ],
    )


over_families, over_densities = over(FAMILIES), over(DENSITIES)


# Cases


@dataclass(frozen=True)
class Shape:
    n: int
    D: int
    K: int
    seed: int

    def rng(self):
        return np.random.default_rng(self.seed)


# About lanes (2 to 16 rows a vector), tiles (64 to 768 rows) and blocks (whole tiles).
ROWS = [1, 2, 3, 7, 17, 63, 64, 65, 127, 130, 511, 769, 1537, 2500]
# About vectors of 2 to 16 numbers and about blocks of 4 and 8 columns.
FEATURES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33]
COMPONENTS = [1, 2, 3, 4, 5, 8, 9]

seeds = st.integers(0, 2**32 - 1)


@st.composite
def shapes(draw, rows=tuple(ROWS), features=tuple(FEATURES), components=tuple(COMPONENTS)):
    """Shapes of data and model; now and then as many components as rows."""
    n = draw(st.sampled_from(rows))
    K = draw(st.sampled_from(components))
    if n <= max(components) and draw(st.booleans()):
        K = n
    return Shape(n, draw(st.sampled_from(features)), K, draw(seeds))


def shapes_for_fits():
    """Enough rows for every component to stay alive for some iterations."""
    return shapes(rows=(200, 333, 801), features=(1, 2, 3, 4, 8, 9), components=(1, 2, 3, 5))


@dataclass
class Setting:
    """Rows with a model that could have made them."""

    family: object
    model: Model
    X: np.ndarray
    components: np.ndarray

    @property
    def K(self):
        return len(self.model.latent)


def setting(family, precision, shape):
    """A random model and rows drawn from it, in the storage that family and precision say."""
    rng = shape.rng()
    weights = rng.dirichlet(np.full(shape.K, 5.0))
    model = Model(weights, family.parameters(rng, shape.K, shape.D))
    components = rng.choice(shape.K, shape.n, p=weights)
    X = family.draw(rng, model.emission, components)
    return Setting(family, model, X.astype(precision) if X.dtype.kind == "f" else X, components)


def another_model(family, shape):
    """A second model of the same shape, unrelated to the first."""
    rng = np.random.default_rng([shape.seed, 1])
    weights = rng.dirichlet(np.full(shape.K, 5.0))
    return Model(weights, family.parameters(rng, shape.K, shape.D))


# What is known of the rows: nothing, components of some, sets of components of some


def random_labels(kind, rng, n, K):
    if kind == "component":
        return Labels(component=rng.integers(-1, K, n).astype(np.int32))
    if kind == "allowed":
        allowed = rng.uniform(size=(n, K)) < 0.6
        allowed[np.arange(n), rng.integers(0, K, n)] = True
        return Labels(allowed=allowed.view(np.uint8))
    return Labels()


LABELS = ("none", "component", "allowed")


def allowed_of(labels, K):
    """What labels allow, as the oracle takes it."""
    if labels.component is not None:
        return oracle.allowed_by(labels.component, K)
    return None if labels.allowed is None else labels.allowed.astype(bool)


# Running the package


def estep(family, model, X, *, weights=None, labels=None, threads=1, regular=1e-3):
    batch = family.batch(X, weights, labels)
    emission = emission_of(family, X, regular)
    return expectation(MixtureWeights(), emission, model, batch, threads)


def emission_of(family, X, regular=1e-3):
    """The package's family for rows like these."""
    if isinstance(family, ProductFamily):
        return family.emission(regular=regular, D=X.shape[1])
    return family.emission(regular=regular)


def outputs(family, model, X, *, weights=None, labels=None, threads=1):
    """Responsibilities, assignments and log-likelihoods of all rows."""
    batch = family.batch(X, weights, labels)
    n, K = len(X), len(model.latent)
    arrays = {
        "responsibilities": np.full((n, K), np.nan, batch.dtype),
        "assignments": np.full(n, -9, np.intp),
        "log_likelihoods": np.full(n, np.nan),
    }
    posterior(MixtureWeights(), emission_of(family, X), model, batch, threads, **arrays)
    return arrays


def problem(family, X, *, weights=None, labels=None, threads=1, regular=1e-3):
    batch = family.batch(X, weights, labels)
    emission = emission_of(family, X, regular)
    return GridProblem(MixtureWeights(), emission, ArraySource(batch), threads)


def fit(family, X, start, *, labels=None, sample_weight=None, regular=1e-3, **arguments):
    """An estimator fitted from a model."""
    given = family.arguments(family.named(start.emission))
    arguments.setdefault("n_threads", 1)
    estimator = family.estimator(
        len(start.latent), regular=regular, weights_init=start.latent, **given, **arguments
    )
    with warnings.catch_warnings():
        # The bound at the last iteration is what these tests look at, converged or not.
        warnings.filterwarnings("ignore", "The best of 1 start")
        return estimator.fit(X, labels=labels, sample_weight=sample_weight)


def fitted(family, estimator, start):
    """Fitted parameters under the names that `named` gives those of `start`, and the weights."""
    return {**family.fitted(estimator), "weights": estimator.weights_}


# Comparing


def all_numbers(statistics, family):
    """Statistics as a dict of float64 arrays."""
    return {
        "log_likelihood": np.array(statistics.log_likelihood),
        "weight": np.array(statistics.weight),
        "counts": statistics.counts,
        **family.statistics(statistics.emission),
    }


def assert_same_bits(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name, strict=True)


def assert_close(actual, expected, *, rtol, atol=0.0):
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        np.testing.assert_allclose(value, expected[name], rtol=rtol, atol=atol, err_msg=name)


def assert_close_within(actual, expected, bounds):
    """|actual - expected| <= bound, entry by entry."""
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        assert np.shape(value) == np.shape(expected[name]), name
        wrong = ~(np.abs(value - expected[name]) <= bounds[name])
        assert not np.any(wrong), (
            f"{name}: {np.asarray(value)[wrong][:3]} instead of "
            f"{np.asarray(expected[name])[wrong][:3]}, bounds {np.asarray(bounds[name])[wrong][:3]}"
        )


@dataclass
class Truth:
    """What the oracle says of an E-step, and how far rounding may take a kernel from it."""

    responsibilities: np.ndarray
    log_likelihoods: np.ndarray
    numbers: dict
    bounds: dict
    responsibility_bounds: np.ndarray
    log_likelihood_bounds: np.ndarray


def truth(family, model, X, origin, *, weights=None, labels=None):
    """The oracle's E-step about `origin`, with bounds from an error analysis.

    A log-density a is a sum of D squares, so that its error is of the order eps (D + |a|); that is
    a relative error of the responsibility. A responsibility below 1e-16 (4e-8 in single precision)
    of the largest may be taken for zero. Sums then lose eps times the sum of absolute values.
    """
    n, K = len(X), len(model.latent)
    family = family.under(model.emission)
    precision = np.float32 if X.dtype == np.float32 else np.float64
    eps, negligible = np.finfo(precision).eps, {4: 4.2e-8, 8: 9e-17}[precision().nbytes]
    w = np.ones(n) if weights is None else weights
    log_densities = family.log_densities(X, model.emission)
    r, log_likelihoods = oracle.respond(
        log_densities, model.latent, allowed_of(labels or Labels(), K)
    )
    D = X.shape[1]
    error = 8 * eps * (10 + D + np.abs(log_densities))
    with np.errstate(invalid="ignore"):
        largest = np.where(r > eps, error, 0.0).max(axis=1, keepdims=True)
    slack = np.where(r > 0, r * (error + largest), 0.0) + negligible * K
    weighted = r * w[:, None]
    sums = 64 * eps
    bounds = {
        name: value * sums + spread + 1e-300
        for (name, value), spread in zip(
            family.magnitudes(X, weighted, origin).items(),
            family.magnitudes(X, slack * w[:, None], origin).values(),
            strict=True,
        )
    }
    likelihood_bounds = largest[:, 0] + error.min(axis=1) + 1e-15
    finite = np.where(np.isfinite(log_likelihoods), log_likelihoods, 0.0)
    numbers = {
        "log_likelihood": np.array(w @ finite),
        "weight": np.array(w.sum()),
        "counts": weighted.sum(axis=0),
        **family.true_statistics(X, weighted, origin),
    }
    bounds |= {
        "log_likelihood": w @ (likelihood_bounds + sums * np.abs(finite)),
        "weight": sums * w.sum(),
        "counts": w @ slack + sums * weighted.sum(axis=0),
    }
    return Truth(r, log_likelihoods, numbers, bounds, slack, likelihood_bounds)


# Instruction sets


@contextmanager
def instruction_set(name):
    """A context in which the package computes with the kernels of that instruction set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emcore, "instruction_set", name)
        yield


over_instruction_sets = pytest.mark.parametrize("instructions", emcore.runnable_instruction_sets())
