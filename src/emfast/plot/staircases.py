"""The two steps of EM, in turn."""

from typing import TYPE_CHECKING

import numpy as np

from emfast.plot.axes import COLOURS, TOP, new_axes, plain
from emfast.theory import Staircase

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The parts of the staircase besides the log-likelihood: lower bound, and what is between them.
BOUND, GAP = COLOURS[0], COLOURS[1]


def staircase(steps: Staircase, ax: "Axes | None" = None) -> "Axes":
    """Draw how the two steps of EM raise the lower bound on the log-likelihood in turn.

    The M-step raises the bound by the choice of parameters, and the log-likelihood by more; what is
    between them is the KL divergence, and is shaded. The E-step closes it: the bound touches the
    log-likelihood, which stays. With a prior both include its log-density.

    Parameters
    ----------
    steps : Staircase, from `emfast.theory.staircase`
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax)
    tops, bounds = steps.log_likelihoods, steps.lower_bounds
    e_step = np.arange(1, len(tops))
    m_step = e_step - 0.5
    x = [0.0, *np.column_stack([m_step, m_step, e_step, e_step]).ravel(), len(bounds) + 0.4]
    raised = np.column_stack([tops[:-1], bounds, bounds, tops[1:]]).ravel()
    above = np.column_stack([tops[:-1], tops[1:], tops[1:], tops[1:]]).ravel()
    raised, above = ([tops[0], *curve, tops[-1]] for curve in (raised, above))
    ax.fill_between(x, raised, above, color=GAP, alpha=0.3, linewidth=0, label="KL divergence")
    ax.plot(x, above, color=TOP, linewidth=2.4, label="log-likelihood", zorder=4)
    ax.plot(x, raised, color=BOUND, linewidth=2.4, label="lower bound", zorder=5)
    for at, low, high in zip(e_step, bounds, tops[1:], strict=True):
        ax.plot([at, at], [low, high], color=GAP, linewidth=2.4, zorder=6)
    ax.plot([0, *e_step], tops, "o", color=BOUND, markeredgecolor="white", markersize=8, zorder=7)
    _name_steps(ax, steps)
    ax.set_xticks(range(len(tops)))
    ax.set_xlabel("iteration")
    ax.set_ylabel("nats")
    plain(ax)
    ax.legend(frameon=False, loc="lower right")
    return ax


def _name_steps(ax, steps: Staircase) -> None:
    """Say which riser of the first stairs is which step, where there is room."""
    room = 0.07 * (steps.log_likelihoods[-1] - steps.log_likelihoods[0])
    for number, (low, bound, divergence) in enumerate(
        zip(steps.log_likelihoods[:-1], steps.lower_bounds, steps.kl_divergences, strict=True)
    ):
        for name, x, bottom, height in (
            ("M", number + 0.5, low, bound - low),
            ("E", number + 1.0, bound, divergence),
        ):
            if height > room:
                ax.annotate(
                    name,
                    (x, bottom + height / 2),
                    xytext=(-7 if name == "M" else 7, 0),
                    textcoords="offset points",
                    ha="right" if name == "M" else "left",
                    va="center",
                    color=BOUND if name == "M" else GAP,
                    fontweight="bold",
                )
