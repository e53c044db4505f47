"""Every public estimator, fitted to few rows, and what is asked of it.

Rows are data frames, so that features have names; their columns suit the estimator.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

import emfast
from emfast import (
    HMM,
    BayesianLinearRegression,
    BernoulliHMM,
    BernoulliMixture,
    BinomialMixture,
    CategoricalHMM,
    CategoricalMixture,
    ExponentialMixture,
    FactorAnalysis,
    GaussianHMM,
    GaussianMixture,
    LinearRegressionMixture,
    Mixture,
    MixtureClassifier,
    MixtureOfExperts,
    PoissonHMM,
    PoissonMixture,
)
from emfast.emissions import Binomial, Categorical, Exponential, Gaussian, Poisson
from emfast.estimators.base.hmm import BaseHMM
from emfast.estimators.base.regression import BaseRegressionMixture

RNG = np.random.default_rng(0)
GROUP = np.repeat([0, 1], 30)[RNG.permutation(60)]
NUMBERS = pd.DataFrame(
    RNG.normal(size=(60, 3)) * [1.0, 2.0, 0.5] + 4 * GROUP[:, None], columns=["a", "b", "é"]
)
SINGLE = NUMBERS.astype(np.float32)
GAPS = NUMBERS.mask(RNG.random((60, 3)) < 0.1)
COUNTS = pd.DataFrame(RNG.poisson(1 + 4 * GROUP[:, None], (60, 2)), columns=["a", "b"])
YES_NO = pd.DataFrame((RNG.random((60, 4)) < 0.2 + 0.6 * GROUP[:, None]).astype(int)).add_prefix(
    "q"
)
WORDS = pd.DataFrame(
    {
        "colour": np.array(["blue", "red", "green"], object)[(RNG.integers(0, 2, 60) + GROUP)],
        "size": RNG.integers(0, 2, 60) * (1 + GROUP),
    }
)
MIXED = pd.concat([NUMBERS[["a"]], WORDS[["colour"]], COUNTS[["b"]]], axis=1)
TARGET = np.where(GROUP == 1, 2.0, -1.0) * NUMBERS["b"].to_numpy() + RNG.normal(0, 0.1, 60)
NAMES = np.where(np.arange(60) % 3 == 0, np.array(["car", "truck"])[GROUP], None)
SHORT = {"random_state": 0, "tol": 1e-2}
PARTS = [
    ("size", Gaussian("diag"), ["a"]),
    ("colour", Categorical(), [1]),
    ("visits", Poisson(), slice("b", "b")),
]


@dataclass
class Case:
    """An estimator, and what it is fitted to."""

    estimator: Any
    X: pd.DataFrame
    y: Any = None
    given: dict[str, Any] = field(default_factory=dict)

    def fitted(self) -> Any:
        arguments = [self.X] if self.y is None else [self.X, self.y]
        return clone(self.estimator).fit(*arguments, **self.given)


CASES = {
    "GaussianMixture": Case(
        GaussianMixture(2, n_init=2, prior={"weight_concentration_prior": 2.0}, **SHORT),
        GAPS,
        given={"labels": NAMES},
    ),
    "GaussianMixture with noise": Case(
        GaussianMixture(2, covariance_type="diag", noise=True, fixed={"weights"},
                        weights_init=[0.5, 0.4], **SHORT),
        SINGLE,
    ),
    "GaussianMixture tied": Case(
        GaussianMixture(2, covariance_type="tied", means_init=NUMBERS.to_numpy()[:2], **SHORT),
        NUMBERS,
    ),
    "BernoulliMixture": Case(BernoulliMixture(2, **SHORT), YES_NO),
    "CategoricalMixture": Case(CategoricalMixture(2, **SHORT), WORDS),
    "PoissonMixture": Case(PoissonMixture(2, prior={"rates_prior": (2.0, 1.0)}, **SHORT), COUNTS),
    "BinomialMixture": Case(BinomialMixture(2, n_trials=[20, 30], **SHORT), COUNTS),
    "ExponentialMixture": Case(ExponentialMixture(2, **SHORT), NUMBERS.abs()),
    "Mixture": Case(Mixture(2, PARTS, fixed={"size.means": [True, False]},
                            emissions_init={"size.means": [[0.0], [4.0]]}, **SHORT), MIXED),
    "MixtureClassifier": Case(
        MixtureClassifier(GaussianMixture(**SHORT), components_per_class={"car": 2, "truck": 1},
                          missing_label=np.nan),
        NUMBERS,
        NAMES,
    ),
    "MixtureClassifier of columns": Case(
        MixtureClassifier(Mixture(1, PARTS, **SHORT), components_per_class=[1, 2]),
        MIXED,
        np.where(np.arange(60) % 3 == 0, GROUP, -1),
    ),
    "GaussianHMM": Case(GaussianHMM(2, n_init=2, **SHORT), GAPS, given={"labels": NAMES}),
    "BernoulliHMM": Case(BernoulliHMM(2, startprob_init=[1.0, 0.0], **SHORT), YES_NO),
    "CategoricalHMM": Case(CategoricalHMM(2, **SHORT), WORDS),
    "PoissonHMM": Case(PoissonHMM(2, transmat_init=[[0.9, 0.1], [0.0, 1.0]], **SHORT), COUNTS),
    "HMM": Case(HMM(2, emission=PARTS, **SHORT), MIXED),
    "HMM of one emission": Case(HMM(2, emission=Exponential(), **SHORT), NUMBERS.abs()),
    "LinearRegressionMixture": Case(LinearRegressionMixture(2, **SHORT), NUMBERS, TARGET),
    "MixtureOfExperts": Case(MixtureOfExperts(2, max_iter=500, **SHORT), NUMBERS, TARGET),
    "MixtureOfExperts of columns": Case(
        MixtureOfExperts(2, expert=PARTS, max_iter=500, **SHORT), NUMBERS, MIXED
    ),
    "MixtureOfExperts of counts": Case(
        MixtureOfExperts(2, expert=Binomial(30), max_iter=500, **SHORT), NUMBERS, COUNTS[["a"]]
    ),
    "BayesianLinearRegression": Case(BayesianLinearRegression(), NUMBERS, TARGET),
    "BayesianLinearRegression per feature": Case(
        BayesianLinearRegression(per_feature=True), SINGLE.assign(one=np.float32(1)), TARGET
    ),
    "FactorAnalysis": Case(FactorAnalysis(random_state=0), GAPS),
    "FactorAnalysis isotropic": Case(FactorAnalysis(2, noise="isotropic"), SINGLE),
}  # fmt: skip


def public_estimators():
    """By name, whatever `emfast` exports that can be fitted."""
    public = [getattr(emfast, name) for name in emfast.__all__]
    return {
        each.__name__: each for each in public if isinstance(each, type) and hasattr(each, "fit")
    }


@cache
def fitted(name):
    """The estimator of a case, which nobody may change."""
    return CASES[name].fitted()


def answers(model, X, y=None):
    """What a fitted model says of rows, by the name of the method."""
    found = {}
    for name in ("predict", "predict_proba", "transform"):
        if hasattr(model, name):
            found[name] = getattr(model, name)(X)
    if isinstance(model, BaseHMM):
        found["score"] = model.score(X)
    elif isinstance(model, BaseRegressionMixture):
        found["score_samples"] = model.score_samples(X, y)
    elif isinstance(model, BayesianLinearRegression):
        found["std"] = model.predict(X, return_std=True)[1]
    else:
        found["score_samples"] = model.score_samples(X)
    return {name: np.asarray(each) for name, each in found.items()}


def assert_same_answers(found, expected):
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        np.testing.assert_array_equal(found[name], each, err_msg=name)
        assert found[name].dtype == each.dtype, name


def assert_alike(found, expected, called="it"):
    """All that two models consist of is equal, and of the same types."""
    assert type(found) is type(expected), called
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype, called
        np.testing.assert_array_equal(found, expected, err_msg=called)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), called
        for number, each in enumerate(expected):
            assert_alike(found[number], each, f"{called}[{number}]")
    elif is_dataclass(expected):
        for each in fields(expected):
            names = f"{called}.{each.name}"
            assert_alike(getattr(found, each.name), getattr(expected, each.name), names)
    elif isinstance(expected, dict):
        assert list(found) == list(expected), called
        for key, each in expected.items():
            assert_alike(found[key], each, f"{called}[{key!r}]")
    elif type(expected).__module__.split(".")[0] in ("emfast", "sklearn"):
        assert vars(found).keys() == vars(expected).keys(), called
        for key, each in vars(expected).items():
            assert_alike(vars(found)[key], each, f"{called}.{key}")
    else:
        np.testing.assert_equal(found, expected, err_msg=called)
