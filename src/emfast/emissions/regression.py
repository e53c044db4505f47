r"""Linear regression: a Gaussian target about a linear function of the other columns of its row.

.. math:: p(y | x, k) = N(y;\; b_k + x^T w_k,\; \sigma_k^2)

The M-step is a weighted least-squares fit for every component. It is taken as a step from the
parameters of the model before: with their residuals e, responsibilities r, and z the columns less
their weighted mean,

.. math:: \Delta w_k = \Bigl(\sum_n r_{nk} z_n z_n^T\Bigr)^{-1} \sum_n r_{nk} e_{nk} z_n,

so that nothing cancels, neither where rows are far from the origin nor where they are fitted almost
exactly, and what rounding has done to the matrix only matters to how soon the fit is reached.

A prior is conjugate: a Gaussian of the coefficients about 0 with covariance
:math:`\sigma_k^2 / \kappa`, which is ridge regression with :math:`\alpha = \kappa`, and an inverse
Gamma of the variances.

References
----------
DeSarbo, W. S. and Cron, W. L. (1988). A maximum likelihood methodology for clusterwise linear
regression. Journal of Classification 5, 249-282.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from emfast.emissions.base import Emission, refuse_another_kind
from emfast.emissions.degeneracy import degenerate_components
from emfast.exceptions import SingularComponentError
from emfast.inputs.arguments import check_array_of, check_of_components
from emfast.inputs.labels import Labels
from emfast.inputs.rows import RowsWithTargets, as_points
from emfast.inputs.validation import check_rows, check_squares, column_ranges
from emfast.parts.known import Known, components_given, filled
from emfast.parts.priors import RegressionPrior, check_regression_prior
from emfast.parts.quadratic import EPSILON, RANK_DIGITS, solutions, with_ones
from emfast.statistics import LEAST_COUNT, starved
from emfast.storage.stored import NO_NEGATIVE_DIAGONALS, POSITIVE, Number, Numbers, Record

# Digits lost where residuals of the model before cancel, in units of machine epsilon times their
# squares.
LOST_DIGITS = 10

# Sums are precise where squares of residuals under the model they were collected with are at most
# epsilon^-CANCELLATION times those of the fit.
CANCELLATION = 0.25

# Rounding of a target, in units of machine epsilon times what it is the sum of.
NOISE = 8


@dataclass(frozen=True, eq=False)
class RegressionParameters:
    """Parameters of K linear regressions on D columns.

    Attributes
    ----------
    coef : ndarray of shape (K, D)
    intercept : ndarray of shape (K,)
    noise_variances : ndarray of shape (K,)
    centre : ndarray of shape (D + 1,)
        What is subtracted from rows, the target last, before anything is computed: about where they
        are.
    spread : ndarray of shape (D,), about how far the columns of rows are from there
    """

    coef: np.ndarray
    intercept: np.ndarray
    noise_variances: np.ndarray
    centre: np.ndarray
    spread: np.ndarray

    @property
    def levels(self) -> np.ndarray:
        """The means at the centre, less the centre of the target, (K,)."""
        return self.intercept + self.coef @ self.centre[:-1] - self.centre[-1]

    def means(self, X: np.ndarray) -> np.ndarray:
        """Of the target of rows, (n_rows, K)."""
        return X @ self.coef.T + self.intercept


@dataclass(frozen=True, eq=False)
class RegressionStatistics:
    """Sums over rows of u u', e u and e^2, where u is 1 and then the columns about a centre.

    Attributes
    ----------
    centre : ndarray of shape (D + 1,), of the columns and the target
    coef : ndarray of shape (K, D), of the model that the residuals e are of
    levels : ndarray of shape (K,), its means at the centre, less the centre of the target
    design : ndarray of shape (K, D + 1, D + 1), sums of r u u'
    residuals : ndarray of shape (K, D + 1), sums of r e u
    squares : ndarray of shape (K,), sums of r e^2
    epsilon : float, machine epsilon of the precision the rows were computed in
    """

    centre: np.ndarray
    coef: np.ndarray
    levels: np.ndarray
    design: np.ndarray
    residuals: np.ndarray
    squares: np.ndarray
    epsilon: float = EPSILON

    @property
    def kind(self) -> str:
        return f"linear regression of shape {self.coef.shape}"

    @property
    def counts(self) -> np.ndarray:
        return self.design[:, 0, 0]

    def moved_to(
        self, centre: np.ndarray, coef: np.ndarray, levels: np.ndarray
    ) -> "RegressionStatistics":
        """The same statistics about another centre, of residuals of another model: algebra."""
        if all(map(np.array_equal, (centre, coef, levels), (self.centre, self.coef, self.levels))):
            return self
        shift = self.centre - centre
        steps = np.column_stack(
            [shift[-1] + self.levels - levels - coef @ shift[:-1], self.coef - coef]
        )
        moved = np.einsum("kij,kj->ki", self.design, steps)
        squares = self.squares + ((2 * self.residuals + moved) * steps).sum(axis=1)
        change = about(shift[:-1])
        return replace(
            self,
            centre=centre,
            coef=coef,
            levels=levels,
            design=change @ self.design @ change.T,
            residuals=(self.residuals + moved) @ change.T,
            squares=squares,
        )

    def __add__(self, other: "RegressionStatistics") -> "RegressionStatistics":
        refuse_another_kind(self, other)
        other = other.moved_to(self.centre, self.coef, self.levels)
        return replace(
            self,
            design=self.design + other.design,
            residuals=self.residuals + other.residuals,
            squares=self.squares + other.squares,
            epsilon=max(self.epsilon, other.epsilon),
        )

    def __mul__(self, factor: float) -> "RegressionStatistics":
        return replace(
            self,
            design=factor * self.design,
            residuals=factor * self.residuals,
            squares=factor * self.squares,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """The target is a feature, too."""
        return len(self.coef), self.coef.shape[1] + 1

    @staticmethod
    def stored(K: int, D: int, told: dict[str, Any]) -> dict[str, Any]:
        return {
            "centre": Numbers(D),
            "coef": Numbers(K, D - 1),
            "levels": Numbers(K),
            "design": Numbers(K, D, D, rule=NO_NEGATIVE_DIAGONALS),
            "residuals": Numbers(K, D),
            "squares": Numbers(K),
            "epsilon": Number(POSITIVE),
        }


def about(shifts: np.ndarray) -> np.ndarray:
    """What takes u = (1, z) to (1, z + shift), of shape (..., D + 1, D + 1)."""
    D = shifts.shape[-1]
    change = np.zeros((*shifts.shape[:-1], D + 1, D + 1))
    change[...] = np.eye(D + 1)
    change[..., 1:, 0] = shifts
    return change


class LinearRegression(Emission):
    """The last column of a row given the others: a Gaussian about a linear function of them.

    Nothing is said of how the other columns are distributed.

    Parameters
    ----------
    reg_covar : float, default=1e-6
        Added to the noise variances in every M-step.
    fixed : collection or mapping of "coef", "intercept" and "noise_variances", see `known.Known`
    """

    kind = "linear regression"
    groups = ("coef", "intercept", "noise_variances")
    prior_names = ("coef_precision_prior", "noise_variance_prior", "degrees_of_freedom_prior")
    has_units = True

    def __init__(self, *, reg_covar=1e-6, fixed=()):
        self.reg_covar = reg_covar
        self.fixed = Known(fixed)

    def validated(self, estimator, X, *, reset):
        rows, missing = check_rows(estimator, X, [np.float64, np.float32], reset=reset)
        if rows.shape[1] < 2:
            raise ValueError("X: found 1 column; expected a target, the last column, and others")
        return rows, missing

    def check_columns(
        self, X: Any, weights: np.ndarray | None, called: Callable[[int], str]
    ) -> None:
        target = X.target[:, None] if isinstance(X, RowsWithTargets) else X[:, -1:]
        check_squares(X.features if isinstance(X, RowsWithTargets) else X, weights)
        check_squares(target, weights, "y")
        if self.reg_covar > 0 or "noise_variances" in self.fixed or self._is_bounded:
            return
        least, largest = column_ranges(target, weights)
        if least[0] == largest[0]:
            raise ValueError(
                f"y: all targets are {least[0]}, so that noise variances are 0; expected targets "
                "that vary, or reg_covar > 0"
            )

    def checked(self, name: str, group: str, values: Any, K: int, D: int) -> np.ndarray:
        def check(name: str, values: Any) -> np.ndarray:
            if group == "coef":
                return check_array_of(name, values, (K, D - 1), "(n_components, n_features)")
            values = check_array_of(name, values, (K,), "(n_components,)")
            if group == "noise_variances" and np.any(values <= 0):
                raise ValueError(f"{name}: found {values.min()}; expected positive numbers")
            return values

        return check_of_components(name, values, check)

    def kernel(
        self,
        parameters: RegressionParameters,
        weights: np.ndarray,
        kernels: ModuleType,
        constant: Any = None,
        missing: bool = False,
        storage: str = "dense",
    ) -> Any:
        # In the precision of the rows, from which it is subtracted.
        own = replace(parameters, centre=_rounded(parameters.centre, kernels.DTYPE))
        variances = own.noise_variances
        return kernels.LinearRegression(
            own.centre,
            np.ascontiguousarray(own.coef),
            own.levels,
            np.sqrt(0.5 / variances),
            -0.5 * np.log(2 * np.pi * variances),
        )

    def statistics(
        self, flat: np.ndarray, counts: np.ndarray, kernel: Any, parameters: RegressionParameters
    ) -> RegressionStatistics:
        K, D = parameters.coef.shape
        own = replace(parameters, centre=np.array(kernel.centre_values()))
        sizes = np.cumsum([K * (D + D * (D + 1) // 2), K * D, K])
        terms, slopes, first, squares = np.split(flat, sizes)
        return RegressionStatistics(
            own.centre,
            _rounded(own.coef, kernel.dtype),
            _rounded(own.levels, kernel.dtype),
            with_ones(counts, terms.reshape(K, -1), D),
            np.column_stack([first, slopes.reshape(K, D)]),
            squares,
            float(np.finfo(kernel.dtype).eps),
        )

    def mstep(
        self, statistics: RegressionStatistics, parameters: RegressionParameters
    ) -> RegressionParameters:
        parameters = _placed(parameters, statistics)
        own = statistics.moved_to(parameters.centre, parameters.coef, parameters.levels)
        gone, prior = starved(own.counts), self.prior
        n = np.maximum(own.counts, LEAST_COUNT)
        # Intercepts that are known are values at 0; for others, columns are about their means.
        free_levels = ~self.fixed.or_gone("intercept", gone)
        points = np.where(free_levels[:, None], own.design[:, 0, 1:] / n[:, None], -own.centre[:-1])
        change = about(-points)
        design = change @ own.design @ np.swapaxes(change, 1, 2)
        residuals = np.einsum("kij,kj->ki", change, own.residuals)
        strengths = np.zeros(len(n)) if prior is None else prior.strengths
        steps = self._steps(parameters, design, residuals, strengths, own.epsilon, gone)
        levels = np.where(free_levels, residuals[:, 0] / n, 0.0)
        coef = parameters.coef + steps
        intercept = parameters.intercept + levels - (steps * (points + own.centre[:-1])).sum(axis=1)
        intercept = np.where(free_levels, intercept, parameters.intercept)
        whole = np.column_stack([levels, steps])
        fitted = np.einsum("kij,kj->ki", design, whole)
        squares = np.maximum(own.squares - ((2 * residuals - fitted) * whole).sum(axis=1), 0.0)
        variances = self._variances(squares, n, coef, own, parameters, gone)
        return replace(parameters, coef=coef, intercept=intercept, noise_variances=variances)

    def expected_log_density(
        self, statistics: RegressionStatistics, parameters: RegressionParameters
    ) -> float:
        own = statistics.moved_to(parameters.centre, parameters.coef, parameters.levels)
        variances = parameters.noise_variances
        return -0.5 * float((own.counts * np.log(variances) + own.squares / variances).sum())

    def _steps(
        self,
        parameters: RegressionParameters,
        design: np.ndarray,
        residuals: np.ndarray,
        strengths: np.ndarray,
        epsilon: float,
        gone: np.ndarray,
    ) -> np.ndarray:
        """How far coefficients move, (K, D)."""
        kept = self.fixed.or_gone("coef", gone)
        if np.all(kept):
            return np.zeros_like(parameters.coef)
        D = parameters.coef.shape[1]
        matrices = design[:, 1:, 1:] + strengths[:, None, None] * np.eye(D)
        right = residuals[:, 1:] - strengths[:, None] * parameters.coef
        steps, determined = solutions(matrices, right, epsilon)
        if determined is not None:
            # What the rows of a component say nothing of is 0 in its units.
            moved = np.einsum("kij,kj->ki", determined, parameters.coef)
            steps = steps + (moved - parameters.coef)
        return np.where(np.asarray(kept)[:, None], 0.0, steps)

    def _variances(
        self,
        squares: np.ndarray,
        n: np.ndarray,
        coef: np.ndarray,
        statistics: RegressionStatistics,
        parameters: RegressionParameters,
        gone: np.ndarray,
    ) -> np.ndarray:
        """Noise variances, of residuals with these sums of squares."""
        if "noise_variances" in self.fixed:
            return parameters.noise_variances
        prior, counts, sums = self.prior, n, squares
        if prior is not None:
            sums = squares + prior.squares(coef)
            counts = n + prior.counts
        variances = sums / counts
        unknown = LOST_DIGITS * statistics.epsilon * np.maximum(statistics.squares, 0.0) / n
        noise = _rounding(replace(parameters, coef=coef), statistics.epsilon)
        kept = self.fixed.or_gone("noise_variances", gone)
        if self.reg_covar == 0 and not self._is_bounded:
            exact = np.flatnonzero((np.maximum(variances, unknown) <= noise) & ~kept)
            if exact.size:
                raise SingularComponentError(
                    f"the noise variance of component(s) {exact.tolist()} became 0 with "
                    "reg_covar=0, for all their rows are fitted exactly; fewer components or "
                    "reg_covar > 0 avoid it",
                    tuple(exact.tolist()),
                )
        variances = np.maximum(np.maximum(variances, unknown), noise) + self.reg_covar
        return self.fixed.keep("noise_variances", variances, parameters.noise_variances, gone)

    def checked_prior(
        self, prior: dict[str, Any], n_components: int, n_features: int
    ) -> RegressionPrior | None:
        return check_regression_prior(prior, self.prior_names, n_components, n_features - 1)

    @property
    def _is_bounded(self) -> bool:
        """Whether a prior keeps densities from growing without bound."""
        return self.prior is not None and bool(np.any(self.prior.scale))

    def log_prior(self, parameters: RegressionParameters) -> float:
        if self.prior is None:
            return 0.0
        return self.prior.log_density(parameters.coef, parameters.noise_variances)

    def is_precise(
        self, statistics: RegressionStatistics, parameters: RegressionParameters
    ) -> bool:
        left = parameters.noise_variances * statistics.counts
        return bool(np.all(statistics.squares <= statistics.epsilon**-CANCELLATION * left))

    def flat_start(self, X: Any, n_components: int) -> RegressionParameters:
        points = np.asarray(X, np.float64)
        centre = points.mean(axis=0)
        spread = np.sqrt(((points - centre) ** 2).mean(axis=0))
        spread[~(spread > 0)] = 1.0
        K = n_components
        return RegressionParameters(
            np.zeros((K, len(centre) - 1)),
            np.full(K, centre[-1]),
            np.full(K, spread[-1] ** 2),
            centre,
            spread[:-1],
        )

    def located(self, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        lines = ("coef", "intercept")
        return {group: given[group] for group in lines} if set(lines) <= set(given) else {}

    def embedded(
        self, X: Any, located: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Columns and target, each in units of its own."""
        points = as_points(X)
        scales = points.std(axis=0, dtype=np.float64)
        return (points / np.where(scales > 0, scales, 1.0)).astype(points.dtype), None

    def start_distances(
        self,
        X: Any,
        weights: np.ndarray | None,
        labels: Labels,
        located: dict[str, np.ndarray],
        n_components: int,
        init_params: str,
        random_state: np.random.RandomState,
    ) -> np.ndarray | None:
        """Squared residuals of regressions on the labelled rows, or on a few that are drawn.

        Those of "random_from_data" are any, as many as a regression has parameters; the next ones
        of "k-means++" are drawn by the squares of their residuals; those of "neighbourhood" are
        neighbours.
        """
        known = labels.known(len(X))
        clustered = init_params == "kmeans" and not np.any(known >= 0)
        if not located and (clustered or init_params == "random"):
            return None
        points = np.asarray(X, np.float64)
        scales = points.std(axis=0)
        points = (points - points.mean(axis=0)) / np.where(scales > 0, scales, 1.0)
        weights = np.ones(len(points)) if weights is None else weights / weights.max()
        distances = np.full((len(points), n_components), np.inf)
        allowed = labels.allows(slice(None), distances.shape)
        if located:
            rows = np.asarray(X, np.float64)
            means = rows[:, :-1] @ located["coef"].T + located["intercept"]
            residuals = (rows[:, -1:] - means) / (scales[-1] or 1.0)
            distances = np.where(np.isnan(residuals), np.inf, residuals**2)
        for k in range(n_components):
            if located and components_given(located["coef"])[k]:
                continue
            rows = np.flatnonzero((known == k) & (weights > 0))
            if not rows.size:
                odds = weights * allowed[:, k]
                odds, nearest = odds if odds.any() else weights, distances.min(axis=1)
                rows = _drawn(points, odds, nearest, n_components, init_params, random_state)
            distances[:, k] = _squared_residuals(points, rows, weights)
        return distances

    def reseed(
        self,
        parameters: RegressionParameters,
        components: np.ndarray,
        rows: np.ndarray,
        healthy: np.ndarray,
    ) -> RegressionParameters:
        coef, intercept = parameters.coef.copy(), parameters.intercept.copy()
        variances = parameters.noise_variances.copy()
        coef[components] = coef[healthy].mean(axis=0)
        coef = self.fixed.keep("coef", coef, parameters.coef)
        intercept[components] = rows[:, -1] - (rows[:, :-1] * coef[components]).sum(axis=1)
        variances[components] = variances[healthy].mean()
        return replace(
            parameters,
            coef=coef,
            intercept=self.fixed.keep("intercept", intercept, parameters.intercept),
            noise_variances=self.fixed.keep(
                "noise_variances", variances, parameters.noise_variances
            ),
        )

    def with_groups(
        self, parameters: RegressionParameters, given: dict[str, np.ndarray]
    ) -> RegressionParameters:
        return replace(
            parameters,
            **{
                group: filled(given.get(group), getattr(parameters, group)) for group in self.groups
            },
        )

    def displacement(
        self, parameters: RegressionParameters, reference: RegressionParameters
    ) -> np.ndarray:
        """Changes of coefficients and of levels in units of the noise, logarithms of variances."""
        deviations = np.sqrt(reference.noise_variances)
        moved = parameters.coef - reference.coef
        parts = [np.empty(0)]
        if "coef" not in self.fixed:
            parts.append((moved * reference.spread / deviations[:, None]).ravel())
        if "intercept" not in self.fixed:
            levels = parameters.intercept - reference.intercept + moved @ reference.centre[:-1]
            parts.append(levels / deviations)
        if "noise_variances" not in self.fixed:
            parts.append(np.log(parameters.noise_variances / reference.noise_variances))
        return np.concatenate(parts)

    def displaced(
        self, displacement: np.ndarray, reference: RegressionParameters
    ) -> RegressionParameters | None:
        if not np.isfinite(displacement).all():
            return None
        coef, intercept = reference.coef, reference.intercept
        variances, deviations = reference.noise_variances, np.sqrt(reference.noise_variances)
        moved = np.zeros_like(coef)
        if "coef" not in self.fixed:
            steps = displacement[: coef.size].reshape(coef.shape)
            moved = steps * deviations[:, None] / reference.spread
            coef = self.fixed.keep("coef", coef + moved, coef)
            displacement = displacement[coef.size :]
        if "intercept" not in self.fixed:
            levels = displacement[: len(intercept)] * deviations
            intercept = self.fixed.keep(
                "intercept", intercept + levels - moved @ reference.centre[:-1], intercept
            )
            displacement = displacement[len(intercept) :]
        if "noise_variances" not in self.fixed:
            factors = np.exp(displacement)
            variances = self.fixed.keep("noise_variances", variances * factors, variances)
        if not all(np.isfinite(each).all() for each in (coef, intercept, variances)):
            return None
        if not np.all(variances > 0):
            return None
        return replace(reference, coef=coef, intercept=intercept, noise_variances=variances)

    def stored(self, n_components: int, n_features: int) -> Record:
        K, D = n_components, n_features - 1
        return Record(
            RegressionParameters,
            coef=Numbers(K, D),
            intercept=Numbers(K),
            noise_variances=Numbers(K, rule=POSITIVE),
            centre=Numbers(D + 1),
            spread=Numbers(D, rule=POSITIVE),
        )

    def shape(self, parameters: RegressionParameters) -> tuple[int, int]:
        """The target is a feature, too."""
        K, D = parameters.coef.shape
        return K, D + 1

    def group_size(self, group: str, n_components: int, n_features: int) -> int:
        return n_components * (n_features - 1 if group == "coef" else 1)

    def marginal(self, parameters: RegressionParameters, columns: np.ndarray) -> Any:
        raise ValueError(
            "a linear regression says nothing of how its columns are distributed; expected columns "
            "of other emissions"
        )

    def draw(
        self,
        parameters: RegressionParameters,
        component: int,
        n_rows: int,
        random_state: np.random.RandomState,
    ) -> np.ndarray:
        raise ValueError(
            "a linear regression says nothing of how its columns are distributed, so that no rows "
            "can be drawn; expected rows of which targets are to be drawn"
        )

    def draw_given(
        self,
        parameters: RegressionParameters,
        X: np.ndarray,
        components: np.ndarray,
        random_state: np.random.RandomState,
    ) -> np.ndarray:
        """A target for every row of X from its component, (n_rows,)."""
        means = parameters.means(X)[np.arange(len(X)), components]
        deviations = np.sqrt(parameters.noise_variances)[components]
        return means + deviations * random_state.standard_normal(len(X))

    def slack(self, parameters: RegressionParameters, counts: np.ndarray, epsilon: float) -> float:
        """What `reg_covar` and rounding may cost: see `gaussian.Gaussian.slack`.

        Residuals are small beside what they are differences of, so that an error d in them changes
        the log-density of a row by about d / sigma.
        """
        variances = parameters.noise_variances
        errors = np.sqrt(_rounding(parameters, epsilon) / variances)
        if "noise_variances" not in self.fixed:
            if self.prior is not None:
                counts = counts + self.prior.counts
            D = parameters.coef.shape[1]
            errors = errors + 0.5 * (self.reg_covar / variances + RANK_DIGITS * D * epsilon)
        return float((counts * errors).sum())

    def degenerate(
        self, statistics: RegressionStatistics, parameters: RegressionParameters, n_rows: int
    ) -> list[int]:
        """Components whose rows are few, or fitted exactly, and whose noise is small beside others.

        See `degeneracy`.
        """
        counts = statistics.counts
        if "noise_variances" in self.fixed or self._is_bounded or starved(counts).all():
            return []
        shares = counts / counts.sum()
        n = np.where(starved(counts), 1.0, counts)
        squares = np.maximum(statistics.squares, 0.0) / n
        return degenerate_components(
            shares,
            shares[:, None],
            parameters.noise_variances[:, None],
            squares[:, None],
            _rounding(parameters, statistics.epsilon)[:, None],
            n_rows,
            self.reg_covar,
            regular=parameters.coef.shape[1] + 2,
        )


def _rounded(values: np.ndarray, dtype: Any) -> np.ndarray:
    """As numbers of this precision."""
    return values.astype(dtype).astype(np.float64)


def _placed(
    parameters: RegressionParameters, statistics: RegressionStatistics
) -> RegressionParameters:
    """The same parameters about where rows are, if that is not near their centre."""
    total = statistics.design.sum(axis=0)
    if not total[0, 0] > 0:
        return parameters
    means = total[0, 1:] / total[0, 0]
    variances = np.maximum(np.diagonal(total)[1:] / total[0, 0] - means**2, 0.0)
    spread = np.sqrt(np.where(variances > 0, variances, 1.0))
    centre = parameters.centre.copy()
    far = np.abs(means) > spread
    centre[:-1][far] = (statistics.centre[:-1] + means)[far]
    if far.any():
        centre[-1] += (statistics.counts / total[0, 0]) @ (
            statistics.levels + statistics.coef @ means
        )
    return replace(parameters, centre=centre, spread=spread)


def _rounding(parameters: RegressionParameters, epsilon: float) -> np.ndarray:
    """Variances of residuals, (K,), that are nothing but rounding of rows and of their means."""
    centre = parameters.centre
    columns = parameters.coef**2 @ (centre[:-1] ** 2 + parameters.spread**2)
    return (NOISE * epsilon) ** 2 * (columns + centre[-1] ** 2 + parameters.levels**2)


def _drawn(
    points: np.ndarray,
    odds: np.ndarray,
    distances: np.ndarray,
    n_components: int,
    init_params: str,
    random_state: np.random.RandomState,
) -> np.ndarray:
    """Rows that a component begins with."""
    n, size = len(points), min(len(points), points.shape[1] + 1)
    if init_params == "neighbourhood":
        size = min(n, max(size, n // (4 * n_components)))
        first = points[random_state.choice(n, p=odds / odds.sum())]
        near = ((points - first) ** 2).sum(axis=1)
        return np.argpartition(near, size - 1)[:size]
    if init_params == "k-means++" and np.isfinite(distances).all() and (odds * distances).any():
        odds = odds * distances
    size = min(size, np.count_nonzero(odds))
    return random_state.choice(n, size, replace=False, p=odds / odds.sum())


def _squared_residuals(points: np.ndarray, rows: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Of all points, about the regression on some of them."""
    own, weights = points[rows], np.sqrt(odds[rows])
    design = np.column_stack([own[:, :-1], np.ones(len(own))])
    line = np.linalg.lstsq(design * weights[:, None], own[:, -1] * weights, rcond=1e-8)[0]
    return (points[:, -1] - points[:, :-1] @ line[:-1] - line[-1]) ** 2
