"""Models of independent features with one parameter each: see `emissions.linear`."""

from typing import Any

import numpy as np

from emfast.estimators.base.fitted import FittedModel
from emfast.estimators.base.mixture import BaseMixture


class OneParameter(FittedModel):
    """What these models share, whose fitted attribute is the one group of the emission."""

    def _attributes(self, parameters: Any) -> dict[str, np.ndarray]:
        group = self._emission().group
        return {f"{group}_": getattr(parameters, group)}

    def _parameters_of_attributes(self) -> Any:
        emission = self._emission()
        return emission.made(np.asarray(getattr(self, f"{emission.group}_"), np.float64))


class OneParameterMixture(OneParameter, BaseMixture):
    """Mixtures of such features."""
