"""Models behind a gate, and what plain NumPy says of them."""

from dataclasses import dataclass

import numpy as np

import oracle
from emfast.data import ArraySource
from emfast.inputs.labels import Labels
from emfast.latent import Gate
from emfast.latent.gate import GateParameters, GatePrior
from emfast.passes import Model, expectation, posterior
from emfast.problems.grid import GridProblem
from families import FAMILIES, allowed_of, emission_of

NAMES = ("gaussian-full", "bernoulli-missing", "product", "regression-two arrays")
GATED = [family for family in FAMILIES if family.name in NAMES]


@dataclass
class Gated:
    """Rows whose components depend on covariates, and a model that could have made them."""

    family: object
    model: Model
    X: np.ndarray
    covariates: np.ndarray
    components: np.ndarray
    latent: Gate

    @property
    def K(self):
        return len(self.model.latent.intercept)

    def batch(self, weights=None, labels=None, rows=slice(None), covariates=None):
        batch = self.family.batch(self.X[rows], weights, labels)
        covariates = self.covariates if covariates is None else covariates
        object.__setattr__(batch, "covariates", covariates[rows])
        return batch

    def estep(self, model=None, *, threads=1, **given):
        emission = emission_of(self.family, self.X)
        batch = self.batch(**given)
        return expectation(self.latent, emission, model or self.model, batch, threads)

    def outputs(self, model=None, *, threads=1, **given):
        batch = self.batch(**given)
        arrays = {
            "responsibilities": np.full((batch.n_rows, self.K), np.nan, batch.dtype),
            "assignments": np.full(batch.n_rows, -9, np.intp),
            "log_likelihoods": np.full(batch.n_rows, np.nan),
        }
        emission = emission_of(self.family, self.X)
        posterior(self.latent, emission, model or self.model, batch, threads, **arrays)
        return arrays

    def problem(self, *, precision=0.01, regular=1e-3, **given):
        self.latent.prior = GatePrior(np.array(precision))
        emission = emission_of(self.family, self.X, regular)
        return GridProblem(self.latent, emission, ArraySource(self.batch(**given)), 1)


def gate_parameters(rng, K, C, scale=1.0):
    shares = np.full(K, 1 / K)
    return GateParameters(scale * rng.normal(size=(K, C)) / np.sqrt(C), rng.normal(size=K), shares)


def gated(family, precision, shape, n_covariates, scale=1.0):
    """A random model, covariates, and rows drawn from it."""
    rng = np.random.default_rng([shape.seed, 7])
    C = n_covariates
    covariates = (rng.normal(size=(shape.n, C)) * 2 + 1).astype(precision)
    gate = gate_parameters(rng, shape.K, C, scale)
    p = oracle.softmax(covariates.astype(float) @ gate.coef.T + gate.intercept)
    components = (p.cumsum(axis=1) < rng.uniform(size=(shape.n, 1))).sum(axis=1)
    components = np.minimum(components, shape.K - 1)
    model = Model(gate, family.parameters(rng, shape.K, shape.D))
    X = family.draw(rng, model.emission, components)
    location = np.full(C, 1.0) + rng.normal(size=C).astype("float32")
    latent = Gate(location.astype(float), rng.uniform(0.5, 2.0, C))
    X = X.astype(precision) if X.dtype.kind == "f" else X
    return Gated(family, model, X, covariates, components, latent)


def numbers(statistics):
    """What the gate has collected, as a dict of arrays."""
    return {
        "log_likelihood": np.array(statistics.log_likelihood),
        "weight": np.array(statistics.weight),
        **vars(statistics.latent),
    }


@dataclass
class GateTruth:
    responsibilities: np.ndarray
    log_likelihoods: np.ndarray
    numbers: dict
    bounds: dict
    responsibility_bounds: np.ndarray
    log_likelihood_bounds: np.ndarray


def gate_truth(case, *, weights=None, labels=None, model=None, rows=slice(None)):
    """The oracle's E-step and bounds of rounding: see `families.truth`."""
    model = model or case.model
    X, covariates = case.X[rows], case.covariates[rows].astype(float)
    single = covariates.dtype == np.float32 or case.covariates.dtype == np.float32
    eps, negligible = (np.finfo("float32").eps, 4.2e-8) if single else (2.2e-16, 9e-17)
    n, K = len(X), case.K
    w = np.ones(n) if weights is None else weights
    family = case.family.under(model.emission)
    log_densities = family.log_densities(X, model.emission)
    forms = covariates @ model.latent.coef.T + model.latent.intercept
    p = oracle.softmax(forms)
    log_p = np.log(np.maximum(p, 1e-300))
    allowed = allowed_of(labels or Labels(), K)
    r, log_likelihoods = oracle.respond(log_densities + log_p, np.ones(K), allowed)

    z = np.abs(covariates - case.latent.location)
    sizes = z @ np.abs(model.latent.coef).T + np.abs(model.latent.intercept)
    sizes += np.abs(model.latent.coef @ case.latent.location)
    error = 8 * eps * (20 + X.shape[1] + z.shape[1] + np.abs(log_densities) + sizes)
    largest = error.max(axis=1, keepdims=True)
    slack = np.minimum(r * (error + largest) + negligible * K, 1.0)
    slack_p = np.minimum(2 * p * largest + negligible * K, 1.0)

    u = np.column_stack([np.ones(n), (covariates - case.latent.location) / case.latent.scale])
    first, second = np.triu_indices(K, 1)
    pairs = p[:, first] * p[:, second]
    slack_pairs = slack_p[:, first] * p[:, second] + p[:, first] * slack_p[:, second]

    def sums(of_gradient, of_pairs, u):
        return {
            "gradient": np.einsum("n,nk,ni->ki", w, of_gradient, u),
            "scatter": np.einsum("n,ni,nj->ij", w, u, u),
            "pairs": np.einsum("n,nk,ni,nj->kij", w, of_pairs, u, u, optimize=True),
        }

    sizes = sums(r + p, pairs, np.abs(u))
    spread = sums(slack + slack_p, slack_pairs + slack_p[:, first] * slack_p[:, second], np.abs(u))
    spread["scatter"] = 0 * spread["scatter"]
    rounding = 64 * eps
    finite = np.where(np.isfinite(log_likelihoods), log_likelihoods, 0.0)
    likelihood_bounds = largest[:, 0] + eps * np.abs(finite)
    return GateTruth(
        r,
        log_likelihoods,
        {
            "log_likelihood": np.array(w @ finite),
            "weight": np.array(w.sum()),
            "counts": w @ r,
            **sums(r - p, pairs, u),
        },
        {
            "log_likelihood": w @ (likelihood_bounds + rounding * np.abs(finite)),
            "weight": rounding * w.sum(),
            "counts": w @ slack + rounding * (w @ r),
            **{name: rounding * sizes[name] + spread[name] + 1e-300 for name in sizes},
        },
        slack,
        likelihood_bounds,
    )


def expected_objective(case, theta, r, weights, precision):
    """sum w r log p(z | x) and the log prior, at a gate."""
    forms = case.covariates.astype(float) @ theta.coef.T + theta.intercept
    log_p = forms - np.logaddexp.reduce(forms, axis=1, keepdims=True)
    penalty = 0.5 * precision * ((theta.coef * case.latent.scale) ** 2).sum()
    return float((weights[:, None] * r * log_p).sum() - penalty)
