"""Latent-variable models fitted by expectation-maximisation, at the speed of the machine."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from emfast import em
from emfast.data import cached
from emfast.estimators.bayes import BayesianLinearRegression
from emfast.estimators.categorical import CategoricalMixture
from emfast.estimators.classifier import MixtureClassifier
from emfast.estimators.experts import MixtureOfExperts
from emfast.estimators.factor_analysis import FactorAnalysis
from emfast.estimators.hmm import HMM, BernoulliHMM, CategoricalHMM, GaussianHMM, PoissonHMM
from emfast.estimators.mixed import Mixture
from emfast.estimators.mixture import GaussianMixture
from emfast.estimators.probabilities import BernoulliMixture, BinomialMixture
from emfast.estimators.rates import ExponentialMixture, PoissonMixture
from emfast.estimators.regression import LinearRegressionMixture
from emfast.selection import select
from emfast.statistics import Statistics
from emfast.storage.persistence import load
from emfast.theory import Elbo, elbo
from emfast.versions import show_versions

__all__ = [
    "HMM",
    "BayesianLinearRegression",
    "BernoulliHMM",
    "BernoulliMixture",
    "BinomialMixture",
    "CategoricalHMM",
    "CategoricalMixture",
    "Elbo",
    "ExponentialMixture",
    "FactorAnalysis",
    "GaussianHMM",
    "GaussianMixture",
    "LinearRegressionMixture",
    "Mixture",
    "MixtureClassifier",
    "MixtureOfExperts",
    "PoissonHMM",
    "PoissonMixture",
    "Statistics",
    "cached",
    "elbo",
    "em",
    "load",
    "select",
    "show_versions",
]

__version__ = version("emfast")

if TYPE_CHECKING:
    from emfast import datasets as datasets
    from emfast import landscape as landscape
    from emfast import plot as plot
else:

    def __getattr__(name):
        """Modules that most people do not need, once somebody asks for them."""
        if name in ("datasets", "landscape", "plot"):
            return import_module(f"emfast.{name}")
        raise AttributeError(f"module 'emfast' has no attribute {name!r}")
