"""All that may be known of a fit, in any combination, for every family: one iteration by hand."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import oracle
from emfast.estimators.base import repeats
from families import FAMILIES, Shape, another_model, fit, fitted, over_families, setting
from one_iteration import OF_WEIGHTS, maximised, prior_of, responsibilities

K, D, N = 3, 4, 320
FIRST = np.arange(K) == 0

TOLERANCE = {"float64": 1e-8, "float32": 2e-3}

# What is known besides labels.
COMBINATIONS = {
    "labels": {},
    "weights": {"weighted": True},
    "known components": {"known": "components"},
    "known groups": {"known": "groups"},
    "prior": {"prior": True},
    "hard": {"assignment": "hard", "weighted": True},
    "stochastic": {"assignment": "stochastic", "prior": True},
    "accelerated": {"accelerate": True, "prior": True, "known": "components"},
    "everything": {"weighted": True, "known": "components", "prior": True},
    "everything, hard": {
        "weighted": True, "known": "components", "prior": True, "assignment": "hard"
    },
    "everything, stochastic": {
        "weighted": True, "known": "components", "prior": True, "assignment": "stochastic"
    },
}  # fmt: skip

over_combinations = pytest.mark.parametrize("combination", COMBINATIONS)
over_labels = pytest.mark.parametrize("kind", ["component", "allowed"])

pytestmark = pytest.mark.filterwarnings("ignore::emfast.exceptions.DegenerateComponentWarning")


def random_labels(kind, rng, n):
    """Of a third of the rows the component, or of most a set of components; and what they allow."""
    if kind == "component":
        component = np.where(rng.uniform(size=n) < 0.35, rng.integers(0, K, n), -1)
        return component, oracle.allowed_by(component, K)
    allowed = rng.uniform(size=(n, K)) < 0.6
    allowed[np.arange(n), rng.integers(0, K, n)] = True
    return allowed, allowed


def as_given(family, X):
    return sp.csr_array(X) if getattr(family, "storage", None) == "sparse" else X


class Case:
    """Rows with what is known of them, and the start of a fit."""

    def __init__(self, family, precision, kind, combination, seed=0):
        shape = Shape(N, D, K, seed)
        rng = np.random.default_rng([seed, 3])
        of = COMBINATIONS[combination]
        self.family, self.precision = family, precision
        self.X = setting(family, precision, shape).X
        self.start = another_model(family, shape)
        self.labels, self.allowed = random_labels(kind, rng, N)
        self.weights = rng.uniform(0.2, 2, N) if of.get("weighted") else None
        self.assignment = of.get("assignment", "soft")
        self.prior = of.get("prior", False)
        self.accelerate = of.get("accelerate", False)
        groups = self.family.named(self.start.emission)
        self.known = {}
        if of.get("known") == "components":
            self.known = {name: FIRST for name in groups if name not in family.shared}
            self.known["weights"] = FIRST
        elif of.get("known") == "groups":
            self.known = {list(groups)[-1]: np.ones(K, bool)}

        # Rows that rounding may give to either of two components have no weight.
        if not self.assigned[1].all():
            self.weights = self.assigned[1] * (np.ones(N) if self.weights is None else self.weights)

    @property
    def assigned(self):
        log_densities = self.family.log_densities(self.X, self.start.emission)
        r, _ = oracle.respond(log_densities, self.start.latent, self.allowed)
        return responsibilities(r, self.assignment, self.X.dtype)

    def expected(self):
        """The parameters after one iteration."""
        w = np.ones(N) if self.weights is None else self.weights
        named = {**self.family.named(self.start.emission), "weights": self.start.latent}
        return maximised(
            self.family, self.X, self.assigned[0] * w[:, None], named,
            known=self.known, prior=self.prior,
        )  # fmt: skip

    def fit(self, max_iter):
        prior = {**prior_of(self.family, D), "weight_concentration_prior": OF_WEIGHTS}
        return fit(
            self.family, as_given(self.family, self.X), self.start, labels=self.labels,
            sample_weight=self.weights, regular=0, tol=0, max_iter=max_iter,
            fixed=self.known or None, prior=prior if self.prior else None,
            assignment=self.assignment, accelerate=self.accelerate, random_state=0,
        )  # fmt: skip


@over_combinations
@over_labels
@over_families
def test_one_iteration_is_that_of_the_oracle(family, precision, kind, combination):
    case = Case(family, precision, kind, combination)
    expected = case.expected()
    found = fitted(family, case.fit(1), case.start)
    tolerance = TOLERANCE[precision]
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert_allclose(value, expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("combination", [name for name in COMBINATIONS if "stoch" not in name])
@over_labels
@over_families
def test_objective_never_falls(family, precision, kind, combination):
    for seed in range(2):
        case = Case(family, precision, kind, combination, seed)
        fits = case.fit(9)
        rounding = {"float64": 1e-11, "float32": 1e-5}[precision]
        assert np.all(np.diff(fits.lower_bounds_) > -rounding * np.abs(fits.lower_bound_))
        assert fits.lower_bound_ > fits.lower_bounds_[0]


@pytest.mark.filterwarnings("ignore::emfast.exceptions.StarvedComponentWarning")
@over_labels
@over_families
def test_what_is_said_of_labelled_rows_is_what_the_oracle_says(family, precision, kind):
    case = Case(family, precision, kind, "everything")
    mixture = case.fit(2)
    X = as_given(family, case.X)
    exact = mixture._model()

    scores = mixture.score_samples(X, labels=case.labels)
    r = mixture.predict_proba(X, labels=case.labels)

    expected, log_likelihoods = oracle.respond(
        family.log_densities(case.X, exact.emission), exact.latent, case.allowed
    )
    tolerance = {"float64": 1e-9, "float32": 1e-3}[precision]
    assert_allclose(scores, log_likelihoods, rtol=tolerance, atol=tolerance)
    assert_allclose(r, expected, atol=tolerance)
    assert_array_equal(r[~case.allowed], 0)
    total = mixture.score(X, sample_weight=case.weights, labels=case.labels)
    assert_allclose(total, log_likelihoods @ case.weights / case.weights.sum(), rtol=tolerance)


@over_labels
@pytest.mark.parametrize(
    "family",
    [family for family in FAMILIES if not hasattr(family, "covariance_type")],
    ids=lambda family: family.name,
)
def test_rows_that_are_repeated_make_the_same_iteration(family, kind, monkeypatch):
    """Collapsed to one with the sum of the weights, if their labels agree too."""
    case = Case(family, "float64", kind, "everything")
    often = np.arange(N) % 40
    case.X = case.X[often]
    case.labels, case.allowed = case.labels[often // 2], case.allowed[often // 2]
    found = []
    discrete = case.fit(1)._emission().discrete and not sp.issparse(as_given(family, case.X))
    for many in (1, N + 1):
        monkeypatch.setattr(repeats, "MANY_ROWS", many)
        mixture = case.fit(1)
        assert (mixture.restarts_[0].n_rows < N) == (discrete and many < N)
        found.append(fitted(family, mixture, case.start))
    for name, value in case.expected().items():
        for each in found:
            assert_allclose(each[name], value, rtol=1e-8, atol=1e-8, err_msg=name)
