r"""Conjugate priors: statistics of rows that nobody has seen.

A conjugate prior enters the M-step as if such rows had been seen, and the objective by its
log-density, up to terms that no parameter enters. Both are in proportion to how often these rows
count, so that beside a part of the data the prior counts as that part of it does.

=================================  ================================================================
Dirichlet(alpha)                   alpha - 1 rows of every component, or of every level
Beta(a, b)                         a - 1 successes and b - 1 failures
Gamma(a, b)                        a - 1 events in b rows
regression(k, S, v)                k rows along every coefficient at 0; the squares S of v + 2 more
normal-inverse-Wishart(m, k, S, v) k rows at m; the scatter S, of v + D + 1 rows more
=================================  ================================================================

The modes are those of Gelman et al. (Bayesian Data Analysis, 3rd edition, 2013, sections 2.4, 2.6
and 3.6) and Murphy (Machine Learning: A Probabilistic Perspective, 2012, eqs. 11.46 to 11.48); for
covariances that are tied, diagonal or spherical those of Fraley and Raftery (Journal of
Classification 24, 2007, 155-181, tables 1 and 2).
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from emfast.inputs.arguments import check_array_of, check_positive_definite
from emfast.parts.logarithms import log_above_floor

if TYPE_CHECKING:
    from emfast.emissions.covariances import CovarianceStructure


@dataclass(frozen=True, eq=False)
class Prior:
    """Statistics of rows that nobody has seen."""

    def times(self, factor: float) -> Any:
        """The same rows, `factor` times as often."""
        return type(self)(**{f.name: factor * getattr(self, f.name) for f in fields(self)})


@dataclass(frozen=True, eq=False)
class Dirichlet(Prior):
    """counts : ndarray, concentrations less 1"""

    counts: np.ndarray

    def log_density(self, probabilities: np.ndarray) -> float:
        return _weighted_logs(self.counts, probabilities)


@dataclass(frozen=True, eq=False)
class Beta(Prior):
    """successes, failures : ndarray of shape (K, D), a - 1 and b - 1"""

    successes: np.ndarray
    failures: np.ndarray

    @property
    def trials(self) -> np.ndarray:
        return self.successes + self.failures

    def log_density(self, p: np.ndarray) -> float:
        return _weighted_logs(self.successes, p) + _weighted_logs(self.failures, 1 - p)


@dataclass(frozen=True, eq=False)
class Gamma(Prior):
    """successes, trials : ndarray of shape (K, D), a - 1 and b"""

    successes: np.ndarray
    trials: np.ndarray

    def log_density(self, rates: np.ndarray) -> float:
        return _weighted_logs(self.successes, rates) - float((self.trials * rates).sum())


@dataclass(frozen=True, eq=False)
class NormalInverseWishart(Prior):
    """Rows at a point, and a scatter of rows about wherever the means are.

    Attributes
    ----------
    strengths : ndarray of shape (K,), how many rows are at the point
    strengths_times_point : ndarray of shape (K, D)
    scatter : ndarray of the shape of a covariance, or a number
    counts : ndarray of shape (K,), what is added to the counts that second moments are divided by
    """

    strengths: np.ndarray
    strengths_times_point: np.ndarray
    scatter: np.ndarray
    counts: np.ndarray

    @property
    def tells_means(self) -> bool:
        return bool(np.all(self.strengths > 0))

    @property
    def bounds_covariances(self) -> bool:
        return bool(np.any(self.scatter))

    @property
    def tells_covariances(self) -> bool:
        return self.bounds_covariances and bool(np.all(self.counts > 0))

    def distances(self, means: np.ndarray) -> np.ndarray:
        """The point less the means, times the strengths, (K, D)."""
        return self.strengths_times_point - self.strengths[:, None] * means

    def with_second(
        self, second: np.ndarray, means: np.ndarray, structure: "CovarianceStructure"
    ) -> np.ndarray:
        """Second moments about the means, with those of the rows that nobody has seen."""
        moved = self.distances(means)
        shift = moved / np.where(self.strengths > 0, self.strengths, 1.0)[:, None]
        return structure.moved(second + self.scatter, shift, np.zeros_like(means), moved)

    def log_density(
        self, means: np.ndarray, factors: np.ndarray, structure: "CovarianceStructure"
    ) -> float:
        r"""Up to a constant, :math:`\frac12 \sum_k c_k \log|\Lambda_k| - \mathrm{tr}(\Lambda_k
        (S + \kappa (m - \mu_k)(m - \mu_k)^T))`."""
        determinants = structure.log_determinants(factors, means.shape[1])
        zero = np.zeros_like(structure.precisions(factors))
        scatter = self.with_second(zero, means, structure)
        traces = float((structure.precisions(factors) * scatter).sum())
        return 0.5 * (float((self.counts * determinants).sum()) - traces)


@dataclass(frozen=True, eq=False)
class RegressionPrior(Prior):
    """Rows of noise that say that coefficients are 0, and squares of residuals.

    Attributes
    ----------
    strengths : ndarray of shape (K,), precisions of coefficients in units of that of the noise
    scale : ndarray of shape (K,), sums of squares of residuals that nobody has seen
    counts : ndarray of shape (K,), what is added to the counts that sums of squares are divided by
    """

    strengths: np.ndarray
    scale: np.ndarray
    counts: np.ndarray

    def squares(self, coef: np.ndarray) -> np.ndarray:
        """What is added to the sums of squares of residuals, (K,)."""
        return self.scale + self.strengths * (coef**2).sum(axis=1)

    def log_density(self, coef: np.ndarray, variances: np.ndarray) -> float:
        return -0.5 * float(
            (self.counts * np.log(variances) + self.squares(coef) / variances).sum()
        )


def _weighted_logs(counts: np.ndarray, values: np.ndarray) -> float:
    return float((counts * log_above_floor(values)).sum())


# What the user gives


def check_concentrations(name: str, values: Any, *shapes: tuple[int, ...]) -> np.ndarray:
    """Concentrations of a Dirichlet, of at least 1, in one of the shapes, less 1."""
    values = _of_a_shape(name, values, *shapes)
    if np.any(values < 1):
        raise ValueError(
            f"{name}: found {values.min():g}; expected at least 1, for a concentration below 1 has "
            "no mode"
        )
    return values - 1


def check_beta(name: str, values: Any, K: int, D: int) -> Beta:
    """A pair (a, b) of numbers, or of arrays by feature or by component and feature."""
    a, b = _pair(name, values, "(a, b)")
    shapes = ((), (D,), (K, D))
    return Beta(
        *(
            np.broadcast_to(check_concentrations(f"{name}, {which}", value, *shapes), (K, D))
            for which, value in (("a", a), ("b", b))
        )
    )


def check_gamma(name: str, values: Any, K: int, D: int) -> Gamma:
    """A pair (shape, rate) of numbers, or of arrays by feature or by component and feature."""
    a, b = _pair(name, values, "(shape, rate)")
    shapes = ((), (D,), (K, D))
    a = check_concentrations(f"{name}, shape", a, *shapes)
    b = _of_a_shape(f"{name}, rate", b, *shapes)
    if np.any(b < 0):
        raise ValueError(f"{name}, rate: found {b.min():g}; expected no negatives")
    return Gamma(np.broadcast_to(a, (K, D)), np.broadcast_to(b, (K, D)))


GAUSSIAN_PRIOR_NAMES = (
    "mean_prior",
    "mean_precision_prior",
    "covariance_prior",
    "degrees_of_freedom_prior",
)


def check_normal_inverse_wishart(
    prior: dict[str, Any], structure: "CovarianceStructure", covariance_type: str, K: int, D: int
) -> NormalInverseWishart | None:
    """The prior of Gaussians with scikit-learn's names; what is not there is flat."""
    given = {name: prior[name] for name in GAUSSIAN_PRIOR_NAMES if name in prior}
    if not given:
        return None
    strengths, point, scatter, counts = np.zeros(K), np.zeros((K, D)), np.zeros(()), np.zeros(K)
    names = [f"prior[{name!r}]" for name in GAUSSIAN_PRIOR_NAMES]
    if ("mean_prior" in given) != ("mean_precision_prior" in given):
        found = "mean_prior" if "mean_prior" in given else "mean_precision_prior"
        raise ValueError(
            f"prior: found {found!r} alone; expected both of 'mean_prior' and "
            "'mean_precision_prior', for a flat prior has neither"
        )
    if "mean_prior" in given:
        point = np.broadcast_to(_of_a_shape(names[0], given["mean_prior"], (D,), (K, D)), (K, D))
        strengths = _positive(names[1], given["mean_precision_prior"], (), (K,))
        strengths = np.broadcast_to(strengths, K)
        counts = np.ones(K)
    if "covariance_prior" in given:
        scatter = _check_scatter(names[2], given["covariance_prior"], covariance_type, D)
    if "degrees_of_freedom_prior" in given:
        degrees = float(_of_a_shape(names[3], given["degrees_of_freedom_prior"], ()))
        least = D - 1 if covariance_type in ("full", "tied") else 0
        if not degrees > least:
            raise ValueError(f"{names[3]}: found {degrees:g}; expected more than {least}")
        counts = counts + structure.counts_of_degrees(degrees, K, D)
    return NormalInverseWishart(strengths, strengths[:, None] * point, scatter, counts)


def check_regression_prior(
    prior: dict[str, Any], names: tuple[str, ...], K: int, D: int
) -> RegressionPrior | None:
    """The prior of linear regressions by three names; what is not there is flat.

    They are the precision of coefficients, the scale of noise variances, and degrees of freedom.
    """
    given = {name: prior[name] for name in names if name in prior}
    if not given:
        return None
    precision, scale, degrees = (f"prior[{name!r}]" for name in names)
    strengths, scales, counts = np.zeros(K), np.zeros(K), np.zeros(K)
    if names[0] in given:
        strengths = np.broadcast_to(_positive(precision, given[names[0]], (), (K,)), K)
        counts = counts + D
    if names[1] in given:
        scales = np.broadcast_to(_positive(scale, given[names[1]], (), (K,)), K)
    if names[2] in given:
        counts = counts + 2 + np.broadcast_to(_positive(degrees, given[names[2]], (), (K,)), K)
    return RegressionPrior(strengths, scales, counts)


def _check_scatter(name: str, values: Any, covariance_type: str, D: int) -> np.ndarray:
    if covariance_type in ("full", "tied"):
        return check_positive_definite(name, _of_a_shape(name, values, (D, D)), "tied", 1, D)
    return _positive(name, values, (D,) if covariance_type == "diag" else ())


def _positive(name: str, values: Any, *shapes: tuple[int, ...]) -> np.ndarray:
    values = _of_a_shape(name, values, *shapes)
    if np.any(values <= 0):
        raise ValueError(f"{name}: found {values.min():g}; expected positive numbers")
    return values


def _of_a_shape(name: str, values: Any, *shapes: tuple[int, ...]) -> np.ndarray:
    """Finite numbers in one of the shapes."""
    try:
        found = np.shape(values)
    except ValueError:
        found = None
    expected = next((shape for shape in shapes if shape == found), shapes[-1])
    others = " or ".join(str(shape) for shape in shapes)
    return check_array_of(name, values, expected, f"a prior of shape {others}")


def is_sequence(values: Any) -> bool:
    """Whether these are values in an order, and no string."""
    return hasattr(values, "__len__") and not isinstance(values, str | bytes | Mapping | Set)


def _pair(name: str, values: Any, expected: str) -> tuple[Any, Any]:
    if not is_sequence(values) or len(values) != 2:
        raise ValueError(f"{name}: found {values!r}; expected a pair {expected}")
    return values[0], values[1]
