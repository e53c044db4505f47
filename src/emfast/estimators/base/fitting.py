"""What fits have in common, those of the grid of emissions by latent structures and others."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from emfast.em import Trace
from emfast.exceptions import ConvergenceWarning


@contextmanager
def unchanged_by_failure(estimator: Any) -> Iterator[None]:
    """Give an estimator back all its attributes if the block raises."""
    before = estimator.__dict__.copy()
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        raise


def warn_unless_converged(trace: Trace, tol: float, max_iter: int) -> None:
    """Warn of a run that ended before it converged, if it was to converge."""
    if not (trace.converged or trace.stopped) and tol > 0 and max_iter > 0:
        warnings.warn(
            f"EM did not converge in {max_iter} iterations (tol={tol}). Increase max_iter or tol.",
            ConvergenceWarning,
            stacklevel=3,
        )
