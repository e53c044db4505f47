"""Latent-variable models fitted by expectation-maximisation, at the speed of the machine."""

from importlib.metadata import version

from emfast.discrete import BinomialMixture, CategoricalMixture, PoissonMixture
from emfast.mixed import Mixture
from emfast.mixture import BernoulliMixture, GaussianMixture
from emfast.theory import Elbo, elbo
from emfast.versions import show_versions

__all__ = [
    "BernoulliMixture",
    "BinomialMixture",
    "CategoricalMixture",
    "Elbo",
    "GaussianMixture",
    "Mixture",
    "PoissonMixture",
    "elbo",
    "show_versions",
]

__version__ = version("emfast")
