"""The contract of what a model consists of: a latent structure, and an emission or several."""

from abc import ABC, abstractmethod
from copy import copy
from typing import Any, Self

import numpy as np

from emfast.parts.known import NOTHING_KNOWN, Known


class Part(ABC):
    """A distribution in a model: its groups of parameters, what is known of them, their prior.

    Attributes
    ----------
    groups : tuple of str
        The names of the parameter groups, which can be given and fixed.
    fixed : Known
        The parameters that the M-step leaves as they are.
    prior : Prior or None
        What is known of the parameters before any row is seen; None if it is flat.
    prior_names : tuple of str
        How the parts of a prior are called.
    """

    groups: tuple[str, ...] = ()
    fixed: Known = NOTHING_KNOWN
    prior: Any = None
    prior_names: tuple[str, ...] = ()

    def log_prior(self, parameters: Any) -> float:
        """The log-density of the prior in nats, up to a constant."""
        return 0.0

    def with_prior_times(self, factor: float) -> Self:
        """The same, with a prior that counts `factor` times as much."""
        if self.prior is None:
            return self
        changed = copy(self)
        changed.prior = self.prior.times(factor)
        return changed

    def expected_log_density(self, statistics: Any, parameters: Any) -> float:
        """What statistics are expected to say of parameters, in nats: Q(parameters), to a constant.

        It is a sum over rows, linear in the statistics, and the M-step has maximised it together
        with the log prior. Terms that no parameter enters may be missing; terms of what is 0 with
        probability one are 0.

        Raises
        ------
        TypeError
            Statistics of fixed size do not tell it.
        """
        raise TypeError(f"{type(self).__name__}: its statistics do not tell what is expected")

    @abstractmethod
    def with_groups(self, parameters: Any, given: dict[str, np.ndarray]) -> Any:
        """Replace groups by given values, except where these are NaN."""

    @abstractmethod
    def displacement(self, parameters: Any, reference: Any) -> np.ndarray:
        """Unconstrained coordinates of the free parameters, 0 for `reference`.

        They are logarithms of ratios, log-odds, or distances in standard deviations of `reference`,
        so that the units of the data do not matter. Not finite for parameters on a boundary that
        `reference` is not on.

        Returns
        -------
        ndarray of shape (n,)
        """

    @abstractmethod
    def displaced(self, displacement: np.ndarray, reference: Any) -> Any | None:
        """The parameters of these coordinates, or None where they are out of range."""
