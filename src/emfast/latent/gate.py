r"""A gate: the component of a row depends on covariates of the row.

.. math:: p(z = k | x) = \frac{\exp(b_k + x^T v_k)}{\sum_l \exp(b_l + x^T v_l)}

The expected log p(z | x) is the log-likelihood of a multinomial logistic regression with
responsibilities as targets, which has no closed-form maximum. The M-step is one Newton step, by
gradient and Hessian that the E-step has collected: generalised EM. A Newton step may lead too far;
with Boehning's matrix, which bounds all Hessians, a step never does.

References
----------
Jordan, M. I. and Jacobs, R. A. (1994). Hierarchical mixtures of experts and the EM algorithm.
Neural Computation 6, 181-214.
Boehning, D. (1992). Multinomial logistic regression algorithm. Annals of the Institute of
Statistical Mathematics 44, 197-200.
"""

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from scipy.linalg import helmert
from scipy.special import softmax

from emfast.data import Batch
from emfast.inputs.arguments import check_array_of
from emfast.latent.base import Independent
from emfast.parts.known import filled
from emfast.parts.priors import Prior
from emfast.parts.quadratic import solutions, with_ones
from emfast.storage.stored import (
    DISTRIBUTIONS,
    NO_NEGATIVE_DIAGONALS,
    NOT_NEGATIVE,
    Numbers,
    Record,
)

# Of the coefficients for covariates in standard deviations: enough for separable data to have a
# maximum, which is at a coefficient of about 10.
DEFAULT_PRECISION = 0.01

# Times that a step is halved before the bound is used.
HALVINGS = 3


@dataclass(frozen=True, eq=False)
class GateParameters:
    """Parameters of a softmax over K components in C covariates.

    Attributes
    ----------
    coef : ndarray of shape (K, C)
    intercept : ndarray of shape (K,)
    shares : ndarray of shape (K,), how much of all rows each component had in the last E-step
    """

    coef: np.ndarray
    intercept: np.ndarray
    shares: np.ndarray

    def probabilities(self, covariates: np.ndarray) -> np.ndarray:
        """p(z = k | x) of every row, (n_rows, K)."""
        return softmax(covariates @ self.coef.T + self.intercept, axis=1)


@dataclass(frozen=True, eq=False)
class GateStatistics:
    """Gradient and Hessian of the expected log p(z | x), with u = (1, covariates in their units).

    Attributes
    ----------
    counts : ndarray of shape (K,), sums of responsibilities
    gradient : ndarray of shape (K, C + 1), sums of (r_k - w p_k) u
    scatter : ndarray of shape (C + 1, C + 1), sum of w u u'
    pairs : ndarray of shape (K (K - 1) / 2, C + 1, C + 1), sums of w p_k p_l u u' for k < l
    """

    counts: np.ndarray
    gradient: np.ndarray
    scatter: np.ndarray
    pairs: np.ndarray

    def __add__(self, other: "GateStatistics") -> "GateStatistics":
        return GateStatistics(*(one + vars(other)[name] for name, one in vars(self).items()))

    def __mul__(self, factor: float) -> "GateStatistics":
        return GateStatistics(*(factor * each for each in vars(self).values()))

    @staticmethod
    def stored(K: int, D: int, told: dict[str, Any]) -> dict[str, Any]:
        M = told["gradient"].shape[1]
        return {
            "counts": Numbers(K, rule=NOT_NEGATIVE),
            "gradient": Numbers(K, M),
            "scatter": Numbers(M, M, rule=NO_NEGATIVE_DIAGONALS),
            "pairs": Numbers(K * (K - 1) // 2, M, M, rule=NO_NEGATIVE_DIAGONALS),
        }

    def hessian(self) -> np.ndarray:
        """Less the second derivatives: blocks of components, (K, K, C + 1, C + 1)."""
        K, M = self.gradient.shape
        blocks = np.zeros((K, K, M, M))
        first, second = np.triu_indices(K, 1)
        blocks[first, second] = blocks[second, first] = -self.pairs
        # p_k (1 - p_k) is the sum of p_k p_l over all others.
        blocks[np.arange(K), np.arange(K)] = -blocks.sum(axis=1)
        return blocks


@dataclass(frozen=True, eq=False)
class GatePrior(Prior):
    """precision : ndarray of shape (), of every coefficient, which is Gaussian about 0"""

    precision: np.ndarray


class Gate(Independent):
    """p(z = k | x) by a softmax of linear functions of the covariates of a row.

    Adding the same to the coefficients of all components changes no probability. A Gaussian prior,
    which the objective includes, draws coefficients to 0, so that they sum to 0 over components;
    intercepts are free, and sum to 0 at the `location` by convention.

    Parameters
    ----------
    location : ndarray of shape (C,), the middle of the covariates
    scale : ndarray of shape (C,), positive
        Standard deviations of the covariates: coefficients have a prior in these units, so that it
        does not depend on those of the data.
    fixed : collection of "gate_coef" and "gate_intercept", see `known.Known`
    assignment, seed : see `Independent`
    """

    groups = ("gate_coef", "gate_intercept")
    shared = groups
    prior_names = ("gate_coef_precision_prior",)

    def __init__(self, location, scale, *, fixed=(), assignment="soft", seed=0):
        super().__init__(fixed=fixed, assignment=assignment, seed=seed)
        self.location = location
        self.scale = scale

    def kernel(
        self,
        parameters: GateParameters,
        kernels: ModuleType,
        batch: Batch,
        iteration: int = 0,
        first_row: int = 0,
    ) -> Any:
        return kernels.Gate(
            batch.covariates,
            self.location,
            np.ascontiguousarray(parameters.coef),
            parameters.intercept + parameters.coef @ self.location,
            assignment=self.assignment,
            seed=self.seed,
            iteration=iteration,
            first_row=first_row,
        )

    def statistics(self, counts: np.ndarray, flat: np.ndarray) -> GateStatistics:
        K, C = len(counts), len(self.scale)
        n_pairs = 1 + K * (K - 1) // 2
        levels, slopes, totals, terms = np.split(flat, np.cumsum([K, K * C, n_pairs]))
        units = np.append(1.0, self.scale)
        gradient = np.column_stack([levels, slopes.reshape(K, C)]) / units
        scatters = with_ones(totals, terms.reshape(n_pairs, -1), C) / np.outer(units, units)
        return GateStatistics(counts, gradient, scatters[0], scatters[1:])

    def n_components(self, parameters: GateParameters) -> int:
        return len(parameters.intercept)

    def stored(self, n_components: int) -> Record:
        return Record(
            GateParameters,
            coef=Numbers(n_components, len(self.location)),
            intercept=Numbers(n_components),
            shares=Numbers(n_components, rule=DISTRIBUTIONS),
        )

    def weights(self, parameters: GateParameters) -> np.ndarray:
        return parameters.shares

    def flat_start(self, n_components: int) -> GateParameters:
        K = n_components
        return GateParameters(
            np.zeros((K, len(self.scale))), np.zeros(K), np.full(K, 1 / n_components)
        )

    def start(self, statistics: GateStatistics, parameters: GateParameters) -> GateParameters:
        return self.mstep(statistics, parameters)

    def carried_over(
        self, statistics: GateStatistics, parameters: GateParameters
    ) -> GateParameters:
        # Nobody would measure another step.
        return replace(parameters, shares=_shares(statistics))

    def mstep(self, statistics: GateStatistics, parameters: GateParameters) -> GateParameters:
        """One Newton step."""
        parameters = replace(parameters, shares=_shares(statistics))
        K, M = len(parameters.shares), int(self.free.sum())
        if K == 1 or M == 0:
            return parameters
        gradient, hessian = self._slopes(statistics, parameters), self._about(statistics.hessian())
        # Of contrasts between components: adding the same to all of them changes nothing.
        contrasts = helmert(K).T
        reduced = np.einsum("ka,klij,lb->aibj", contrasts, hessian, contrasts, optimize=True)
        n = (K - 1) * M
        reduced = reduced.reshape(n, n) + np.diag(np.tile(self.precisions, K - 1))
        steps, _ = solutions(reduced[None], (contrasts.T @ gradient).reshape(1, n))
        moved = self._moved(contrasts @ steps.reshape(K - 1, M), parameters)
        if np.isfinite(moved.coef).all() and np.isfinite(moved.intercept).all():
            return moved
        return self._bound_step(statistics, parameters)

    def retreat(
        self,
        statistics: GateStatistics,
        parameters: GateParameters,
        proposal: GateParameters,
        attempt: int,
    ) -> GateParameters | None:
        """Half the way, some times; then the step that cannot fail."""
        if len(parameters.shares) == 1 or not self.free.any() or attempt > HALVINGS + 1:
            return None
        if attempt > HALVINGS:
            return self._bound_step(statistics, replace(parameters, shares=proposal.shares))
        return replace(
            proposal,
            coef=0.5 * (parameters.coef + proposal.coef),
            intercept=0.5 * (parameters.intercept + proposal.intercept),
        )

    def _bound_step(self, statistics: GateStatistics, parameters: GateParameters) -> GateParameters:
        """The step with the matrix (I - 11'/K) / 2 times the scatter, which no Hessian is above."""
        gradient, scatter = self._slopes(statistics, parameters), self._about(statistics.scatter)
        matrix = 0.5 * scatter + np.diag(self.precisions)
        # Gradients sum to 0 over components, and so do the steps.
        steps, _ = solutions(np.broadcast_to(matrix, (len(gradient), *matrix.shape)), gradient)
        return self._moved(steps, parameters)

    # Coordinates of a component: the linear form at a point, and coefficients of covariates in
    # their units. Those that M-steps change are free

    @property
    def point(self) -> np.ndarray:
        """The middle of the covariates, but 0 where intercepts are known."""
        return np.zeros_like(self.location) if "gate_intercept" in self.fixed else self.location

    @property
    def free(self) -> np.ndarray:
        """(C + 1,), bool"""
        groups = ["gate_intercept", *["gate_coef"] * len(self.scale)]
        return np.array([group not in self.fixed for group in groups])

    @property
    def precisions(self) -> np.ndarray:
        """Those of the prior, of free coordinates."""
        precision = 0.0 if self.prior is None else float(self.prior.precision)
        return np.append(0.0, np.full(len(self.scale), precision))[self.free]

    def _coordinates(self, parameters: GateParameters) -> np.ndarray:
        """The free ones, which sum to 0 over components: (K, n_free)."""
        levels = parameters.intercept + parameters.coef @ self.point
        found = np.column_stack([levels, parameters.coef * self.scale])[:, self.free]
        return found - found.mean(axis=0)

    def _moved(self, steps: np.ndarray, parameters: GateParameters) -> GateParameters:
        """The parameters some steps away in the free coordinates."""
        standard = np.zeros((len(steps), len(self.scale) + 1))
        standard[:, self.free] = self._coordinates(parameters) + steps
        coef, intercept = parameters.coef, parameters.intercept
        if "gate_coef" not in self.fixed:
            coef = standard[:, 1:] / self.scale
        if "gate_intercept" not in self.fixed:
            intercept = standard[:, 0] - coef @ self.point
        return replace(parameters, coef=coef, intercept=intercept)

    def _about(self, matrices: np.ndarray) -> np.ndarray:
        """Sums of w u u' in the free coordinates, (..., n_free, n_free)."""
        change = self._change
        return (change @ matrices @ change.T)[..., self.free, :][..., self.free]

    @property
    def _change(self) -> np.ndarray:
        """What takes covariates about the location to those about the point of the coordinates."""
        change = np.eye(len(self.scale) + 1)
        change[1:, 0] = (self.location - self.point) / self.scale
        return change

    def _slopes(self, statistics: GateStatistics, parameters: GateParameters) -> np.ndarray:
        """The gradient of the objective in the free coordinates, (K, n_free)."""
        gradient = (statistics.gradient @ self._change.T)[:, self.free]
        return gradient - self.precisions * self._coordinates(parameters)

    # What the user says

    def checked_prior(self, prior: dict[str, Any], n_components: int) -> GatePrior:
        name = self.prior_names[0]
        value = check_array_of(
            f"prior[{name!r}]", prior.get(name, DEFAULT_PRECISION), (), "a number"
        )
        if value < 0:
            raise ValueError(f"prior[{name!r}]: found {value:g}; expected no negative number")
        return GatePrior(value)

    def log_prior(self, parameters: GateParameters) -> float:
        if self.prior is None:
            return 0.0
        return (
            -0.5 * float(self.prior.precision) * float(((parameters.coef * self.scale) ** 2).sum())
        )

    def with_groups(
        self, parameters: GateParameters, given: dict[str, np.ndarray]
    ) -> GateParameters:
        coef = filled(given.get("gate_coef"), parameters.coef)
        return replace(
            parameters,
            coef=coef,
            intercept=filled(given.get("gate_intercept"), parameters.intercept),
        )

    def displacement(self, parameters: GateParameters, reference: GateParameters) -> np.ndarray:
        return (self._coordinates(parameters) - self._coordinates(reference)).ravel()

    def displaced(
        self, displacement: np.ndarray, reference: GateParameters
    ) -> GateParameters | None:
        if not np.isfinite(displacement).all():
            return None
        return self._moved(displacement.reshape(len(reference.shares), -1), reference)

    def n_parameters(self, n_components: int) -> int:
        return (n_components - 1) * int(self.free.sum())


def _shares(statistics: GateStatistics) -> np.ndarray:
    return statistics.counts / statistics.counts.sum()
