"""Emissions: the density of a row given its component, one file for each family."""

from emfast.emissions.bernoulli import Bernoulli
from emfast.emissions.gaussian import Gaussian

__all__ = ["Bernoulli", "Gaussian"]
