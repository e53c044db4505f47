r"""Which components of a Gaussian mixture owe their likelihood to a density without bound.

The likelihood of a Gaussian mixture has no maximum: a component on few rows, or on rows that do not
vary in some direction, gains without end as its variance there tends to zero, and only `reg_covar`
stops it (Day, Biometrika 56, 1969, 463-474). Hathaway (Annals of Statistics 13, 1985, 795-800)
bounds the likelihood by the least ratio of variances between components. Here a component whose
ratio is small is degenerate unless its rows earn it:

* thin: in some direction (in some column, for "diag") its variance is below ``THIN`` times the
  variance within all other components together, and
* few: its share of the weight is less than that of 3 (D + 1) of the rows, 6 for "diag" and
  "spherical" - three times what leaves a covariance regular; or
* flat: its rows do not vary in that direction, so that `reg_covar` alone keeps the density finite.

None of this depends on the units of the columns or of the weights. A column in which no component
varies, a tight component of many different rows, and a single component are not degenerate.
"""

import numpy as np
from scipy.linalg import eigh

from emfast.statistics import starved

THIN = 1e-2

# Times the rows that leave a covariance regular.
FEW = 3

# Rows do not vary where their variance is below this fraction of `reg_covar`.
NO_VARIANCE = 1e-3


def degenerate_components(
    shares: np.ndarray,
    known: np.ndarray,
    covariances: np.ndarray,
    moments: np.ndarray,
    rounding: np.ndarray,
    n_rows: int,
    reg_covar: float,
    regular: int | None = None,
) -> list[int]:
    """Components that are thin, and few or flat.

    Parameters
    ----------
    shares : ndarray of shape (K,), weights of the components, sum 1
    known : ndarray of shape (K, 1), or (K, D) for diagonals
        Shares of the rows that have the feature.
    covariances : ndarray of shape (K, D, D), or (K, D) for diagonals
    moments : ndarray of the shape of `covariances`, those of the rows without `reg_covar`
    rounding : ndarray of shape (K, D), variances that are nothing but rounding of the rows
    n_rows : int
    reg_covar : float
    regular : int, optional
        How many rows leave a variance regular; D + 1, or 2 for diagonals, by default.

    Returns
    -------
    list of int
    """
    K, full = len(shares), covariances.ndim == 3
    if not full and not np.any(covariances < THIN * covariances.max(axis=0)):
        return []
    few = n_rows * known < FEW * (regular or (covariances.shape[1] + 1 if full else 2))
    alive = ~starved(shares)
    # Row k: the shares of the components other than k.
    others = np.where(alive, shares, 0.0) * (1.0 - np.eye(K))
    totals = others.sum(axis=1)
    checked = np.flatnonzero(alive & (totals > 0))
    others = others[checked] / totals[checked, None]
    within = (others @ covariances.reshape(K, -1)).reshape(-1, *covariances.shape[1:])
    none = NO_VARIANCE * reg_covar + rounding
    if not full:
        flat = moments[checked] <= none[checked]
        thin = covariances[checked] < THIN * within
        return checked[(thin & (flat | few[checked])).any(axis=1)].tolist()
    # The trace bounds the largest eigenvalue, so that most components need no eigenvalues.
    traces = np.einsum("kij,kji->k", np.linalg.inv(covariances[checked]), within)
    suspects = np.flatnonzero(traces * THIN > 1)
    found = []
    for i in suspects:
        k = checked[i]
        directions = _thin_directions(covariances[k], within[i])
        flat = ((moments[k] @ directions) * directions).sum(axis=0) <= none[k] @ directions**2
        if directions.size and (few[k, 0] or flat.any()):
            found.append(int(k))
    return found


def _thin_directions(covariance: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Directions, as columns, in which `covariance` is below ``THIN`` times `within`."""
    scales = 1 / np.sqrt(np.diagonal(within))
    units = np.outer(scales, scales)
    ratios, directions = eigh(units * covariance, units * within)
    return scales[:, None] * directions[:, ratios < THIN]
