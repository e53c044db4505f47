"""Latent structures: how the component of a row is distributed."""

from emfast.latent.base import Latent
from emfast.latent.gate import Gate
from emfast.latent.given import GivenResponsibilities
from emfast.latent.markov import MarkovChain
from emfast.latent.mixture import MixtureWeights
from emfast.latent.side_by_side import SideBySide

__all__ = ["Gate", "GivenResponsibilities", "Latent", "MarkovChain", "MixtureWeights", "SideBySide"]
