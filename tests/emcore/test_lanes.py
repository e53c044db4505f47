"""exp and log of the kernels, against arithmetic of 40 digits."""

from functools import lru_cache

import mpmath
import numpy as np
import pytest

import emcore
from families import instruction_set, over_instruction_sets

over_precisions = pytest.mark.parametrize("precision", ["float64", "float32"])

# exp is 0 at the lower end and below.
DOMAIN = {"float64": (-708, 709), "float32": (-87, 88)}
MAX_ULP = 4


def apply(function, instructions, precision, values):
    with instruction_set(instructions):
        out = np.full_like(values, np.nan)
        getattr(emcore.kernels(precision), function)(values, out)
    return out


@lru_cache
def exp_arguments(precision):
    """All over the domain, about 0, and where 2^n changes to the next n."""
    rng = np.random.default_rng(0)
    low, high = DOMAIN[precision]
    steps = (np.arange(-100, 101) + 0.5) * np.log(2)
    values = np.concatenate(
        [
            rng.uniform(low, high, 3000),
            rng.uniform(-1, 1, 1000),
            rng.choice([-1, 1], 500) * 10.0 ** rng.uniform(-20, 0, 500),
            steps,
            np.nextafter(steps, np.inf),
            np.nextafter(steps, -np.inf),
            [0.0, -0.0, high, np.nextafter(low, 0)],
        ]
    ).astype(precision)
    values = values[(values > low) & (values <= high)]
    with mpmath.workdps(40):
        return values, [mpmath.exp(float(value)) for value in values]


@lru_cache
def log_arguments(precision):
    """All over the normal numbers, about 1, and about the powers of two and their roots."""
    rng = np.random.default_rng(1)
    info = np.finfo(precision)
    edges = np.sqrt(2.0) * 2.0 ** np.arange(-30, 31)
    with np.errstate(over="ignore"):
        values = np.concatenate(
            [
                2.0 ** rng.uniform(info.minexp, info.maxexp - 0.01, 3000),
                rng.uniform(0.4, 2.5, 1000),
                1 + rng.choice([-1, 1], 500) * 10.0 ** rng.uniform(-16, -1, 500),
                edges,
                2.0 ** np.arange(-30, 31),
                [float(info.tiny), float(info.max), 1.0],
            ]
        ).astype(precision)
    edges = edges.astype(precision)
    values = np.concatenate([values, np.nextafter(edges, 0), np.nextafter(edges, 1e9)])
    values = values[np.isfinite(values) & (values >= info.tiny)].astype(precision)
    with mpmath.workdps(40):
        return values, [mpmath.log(float(value)) for value in values]


def ulps(actual, exact):
    """Errors in units of the last place of the exact values."""
    with mpmath.workdps(40):
        nearest = np.array([float(value) for value in exact]).astype(actual.dtype)
        errors = [abs(mpmath.mpf(float(a)) - e) for a, e in zip(actual, exact, strict=True)]
        units = np.spacing(np.abs(nearest)).astype(float)
        return np.array(
            [float(e / mpmath.mpf(u)) for e, u in zip(errors, units.tolist(), strict=True)]
        )


@over_instruction_sets
@over_precisions
def test_exp(instructions, precision):
    values, exact = exp_arguments(precision)
    errors = ulps(apply("lane_exp", instructions, precision, values), exact)
    worst = errors.argmax()
    assert errors[worst] <= MAX_ULP, f"exp({values[worst]}): {errors[worst]} ulp"


@over_instruction_sets
@over_precisions
def test_log(instructions, precision):
    values, exact = log_arguments(precision)
    errors = ulps(apply("lane_log", instructions, precision, values), exact)
    worst = errors.argmax()
    assert errors[worst] <= MAX_ULP, f"log({values[worst]}): {errors[worst]} ulp"


@over_instruction_sets
@over_precisions
def test_exact_values(instructions, precision):
    """Responsibilities sum to 1 and a certain row has log-likelihood 0 because of these."""
    of_zero = apply("lane_exp", instructions, precision, np.zeros(3, precision))
    assert of_zero.tolist() == [1, 1, 1]
    of_one = apply("lane_log", instructions, precision, np.ones(3, precision))
    assert of_one.tolist() == [0, 0, 0]


@over_instruction_sets
@over_precisions
def test_exp_is_zero_below_its_domain(instructions, precision):
    low = DOMAIN[precision][0]
    values = np.array([low, low - 1, -1e5, -1e30, -np.inf], precision)
    assert apply("lane_exp", instructions, precision, values).tolist() == [0.0] * 5


@over_instruction_sets
@over_precisions
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 15, 16, 17, 33])
def test_any_length(instructions, precision, n):
    values = np.linspace(0.3, 3, 40).astype(precision)
    for function in ("lane_exp", "lane_log"):
        whole = apply(function, instructions, precision, values)
        np.testing.assert_array_equal(
            apply(function, instructions, precision, values[:n].copy()), whole[:n]
        )
