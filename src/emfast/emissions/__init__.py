"""Emissions: the density of a row given its component, one file for each family."""

from emfast.emissions.bernoulli import Bernoulli
from emfast.emissions.categorical import Categorical
from emfast.emissions.counts import Binomial, Poisson
from emfast.emissions.exponential import Exponential
from emfast.emissions.gaussian import Gaussian
from emfast.emissions.product import Product
from emfast.emissions.regression import LinearRegression

__all__ = [
    "Bernoulli",
    "Binomial",
    "Categorical",
    "Exponential",
    "Gaussian",
    "LinearRegression",
    "Poisson",
    "Product",
]
