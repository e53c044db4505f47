"""Pictures of fitted models, and of how EM comes to them; they need matplotlib.

Every function draws on the given Axes, or on those of a new figure, and returns them.
"""

from emfast.plot.axes import COLOURS
from emfast.plot.landscapes import attractors, contours, landscape
from emfast.plot.mixtures import mixture
from emfast.plot.selections import selection
from emfast.plot.sequences import states
from emfast.plot.staircases import staircase
from emfast.plot.traces import trace

__all__ = [
    "COLOURS",
    "attractors",
    "contours",
    "landscape",
    "mixture",
    "selection",
    "staircase",
    "states",
    "trace",
]
