"""Checks of arguments, the rows aside: `validation` has those of rows.

Every message names the argument, what was found, what is expected.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import lapack

# Of two; times it, priors of up to a million rows are finite.
LARGEST_POWER = 1000


def check_sample_weight(
    sample_weight: Any, n_rows: int, unit: str = "row", *, some: bool = True
) -> np.ndarray | None:
    """Weights as float64 of shape (n_rows,), or None; `unit` is what each is the weight of.

    All may be zero unless there are to be `some` that are not.

    Raises
    ------
    ValueError
        Not numeric, of another shape, negative, not finite, or all zero.
    """
    if sample_weight is None:
        return None
    weights = _as_floats("sample_weight", sample_weight)
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight: found shape {weights.shape}; expected ({n_rows},), one weight a {unit}"
        )
    _check_finite("sample_weight", weights)
    if np.any(weights < 0):
        row = int(np.flatnonzero(weights < 0)[0])
        raise ValueError(
            f"sample_weight: found {weights[row]} in {unit} {row}; expected no negatives"
        )
    if some:
        check_some_weight(np.any(weights > 0))
    if weights.max(initial=0) > np.finfo(np.float64).max / n_rows:
        raise ValueError(
            f"sample_weight: found {weights.max():g}; expected weights whose sum is finite"
        )
    return weights


def check_some_weight(positive: bool | np.bool_) -> None:
    """Raise unless the weight of some row is positive."""
    if not positive:
        raise ValueError("sample_weight: all weights are zero; expected at least one positive")


def check_enough_rows(n_rows: int, usable: int, n_components: int) -> None:
    """Raise where fewer rows have a positive weight than there are components."""
    if usable < n_components:
        raise ValueError(
            "X: Expected n_samples >= n_components but got "
            f"n_components = {n_components}, n_samples = {usable}"
            + (" of positive weight" if usable < n_rows else "")
        )


def check_lengths(lengths: Any, n_rows: int) -> np.ndarray:
    """Where sequences of these lengths begin, and where the last one ends, int64.

    None is one sequence with all rows.
    """
    if lengths is None:
        return np.array([0, n_rows], np.int64)
    values = _as_floats("lengths", lengths)
    if values.ndim != 1 or np.asarray(lengths).dtype.kind == "b":
        raise ValueError(
            f"lengths: found {np.asarray(lengths).dtype} of shape {values.shape}; expected one "
            "whole number for each sequence, of shape (n_sequences,)"
        )
    if values.size == 0:
        raise ValueError("lengths: found none; expected one for each sequence")
    right = (values >= 1) & (values == np.rint(values)) & (values <= n_rows)
    if not right.all():
        sequence = int((~right).argmax())
        raise ValueError(
            f"lengths: found {values[sequence]:g} for sequence {sequence}; expected whole numbers "
            f"from 1 to the {n_rows} rows of X"
        )
    if values.sum() != n_rows:
        raise ValueError(
            f"lengths: found {values.size} that add up to {values.sum():.0f}; expected the "
            f"{n_rows} rows of X"
        )
    return np.concatenate([[0], np.cumsum(values)]).astype(np.int64)


def refuse_lengths(lengths: Any) -> None:
    """Raise where lengths are given of sequences that come in batches."""
    if lengths is not None:
        raise ValueError(
            "lengths: found lengths of sequences that come in batches; expected None, for each "
            "batch is a sequence, or a list of them"
        )


def near_one(weights: np.ndarray | None) -> np.ndarray | None:
    """Weights, or where they are very large or small, weights times a power of two.

    Only ratios of weights matter in a fit, and this keeps the ratios; very large or small weights
    would overflow in single precision. The power is no larger than a prior can be multiplied by.
    """
    if weights is None or 1e-6 < weights.max() < 1e6:
        return weights
    return np.ldexp(weights, min(1 - np.frexp(weights.max())[1], LARGEST_POWER))


def check_array_of(name: str, values: Any, shape: tuple[int, ...], meaning: str) -> np.ndarray:
    """Finite float64 values of exactly this shape."""
    array = _as_floats(name, values)
    if array.shape != shape:
        raise ValueError(f"{name}: found shape {array.shape}; expected {shape}, {meaning}")
    _check_finite(name, array)
    return np.array(array, order="C")


def check_of_components(
    name: str, values: Any, check: Callable[[str, Any], np.ndarray]
) -> np.ndarray:
    """What `check` makes of values of every component, NaN where a list has None: not given."""
    missing = _is_none(values)
    if not missing.any():
        return check(name, values)
    if missing.all():
        raise ValueError(f"{name}: found None for every component; expected values for some")
    # In place of what is missing, something that passes if the rest does.
    something = next(value for value in values if value is not None)
    filled = check(name, [something if value is None else value for value in values])
    filled[missing] = np.nan
    return filled


def _is_none(values: Any) -> np.ndarray:
    if isinstance(values, list | tuple):
        return np.array([value is None for value in values], bool)
    return np.zeros(1, bool)


def check_mixture_weights(weights_init: Any, n_components: int, noise: bool = False) -> np.ndarray:
    """Weights of the components: non-negative numbers that sum to 1.

    "equal" are the same for all. Where a list has None, which becomes NaN, components share what
    the others leave, and so does `noise` if there is any.
    """
    if isinstance(weights_init, str) and noise:
        raise ValueError(
            "weights_init: found 'equal'; expected numbers, for what they leave is the weight of "
            "the noise"
        )
    if isinstance(weights_init, str):
        return np.full(n_components, 1 / n_components)
    weights = check_of_components(
        "weights_init",
        weights_init,
        lambda name, values: check_array_of(name, values, (n_components,), "(n_components,)"),
    )
    total = np.nansum(weights)
    if np.any(weights < 0):
        raise ValueError(f"weights_init: found {np.nanmin(weights)}; expected no negatives")
    if noise or np.isnan(weights).any():
        if not total < 1:
            sharing = "the noise has" if noise else "the components that are None share"
            raise ValueError(
                f"weights_init: found a sum of {total}; expected less than 1, for {sharing} what "
                "is left"
            )
        return weights
    if not np.isclose(total, 1.0, rtol=0, atol=1e-6):
        raise ValueError(f"weights_init: found a sum of {total}; expected 1")
    return weights / total


def check_probabilities(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = check_array_of(name, values, shape, "(n_components, n_features)")
    if np.any((array < 0) | (array > 1)):
        wrong = array[(array < 0) | (array > 1)][0]
        raise ValueError(f"{name}: found {wrong}; expected probabilities between 0 and 1")
    return array


def check_distributions(
    name: str, values: Any, shape: tuple[int, ...], meaning: str = "(n_components, levels)"
) -> np.ndarray:
    """Probabilities, of the levels of one feature say, which sum to 1 along the last axis."""
    array = check_array_of(name, values, shape, meaning)
    if np.any(array < 0):
        raise ValueError(f"{name}: found {array.min()}; expected probabilities")
    sums = np.atleast_1d(array.sum(axis=-1))
    if not np.allclose(sums, 1.0, rtol=0, atol=1e-6):
        wrong = sums[np.abs(sums - 1).argmax()]
        raise ValueError(f"{name}: found probabilities that sum to {wrong:g}; expected 1")
    return array / sums.reshape((*shape[:-1], 1))


def check_startprob(values: Any, K: int) -> np.ndarray:
    """Probabilities of the first state."""
    return check_distributions("startprob_init", values, (K,), "(n_components,)")


def check_transmat(values: Any, K: int) -> np.ndarray:
    """Probabilities of transitions, NaN for states whose row of a list is None."""
    return check_of_components(
        "transmat_init",
        values,
        lambda name, rows: check_distributions(name, rows, (K, K), "(n_components, n_components)"),
    )


def check_rates(name: str, values: Any, shape: tuple[int, ...], *, zero: bool) -> np.ndarray:
    """Rates, among them `zero` only if that is one."""
    array = check_array_of(name, values, shape, "(n_components, n_features)")
    if np.any(array < 0) or (not zero and np.any(array == 0)):
        expected = "rates of at least 0" if zero else "positive rates"
        raise ValueError(f"{name}: found {array.min()}; expected {expected}")
    return array


def check_positive_definite(
    name: str, values: Any, covariance_type: str, K: int, D: int
) -> np.ndarray:
    """Covariances or precisions of one of the four shapes, positive (definite) and symmetric."""
    shape, meaning = {
        "full": ((K, D, D), "(n_components, n_features, n_features)"),
        "tied": ((D, D), "(n_features, n_features)"),
        "diag": ((K, D), "(n_components, n_features)"),
        "spherical": ((K,), "(n_components,)"),
    }[covariance_type]
    array = check_array_of(name, values, shape, f"{meaning} for {covariance_type!r}")
    if covariance_type in ("diag", "spherical"):
        if np.any(array <= 0):
            raise ValueError(f"{name}: found {array.min()}; expected positive numbers")
        return array
    for k, matrix in enumerate(array if covariance_type == "full" else array[None]):
        which = f"{name}[{k}]" if covariance_type == "full" else name
        if not np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-12 * np.abs(matrix).max()):
            raise ValueError(f"{which}: found an asymmetric matrix; expected a symmetric one")
        if lapack.dpotrf(matrix, lower=1)[1]:
            raise ValueError(
                f"{which}: found the eigenvalue {np.linalg.eigvalsh(matrix)[0]:.3g}; "
                "expected a positive-definite matrix"
            )
    return array


def _as_floats(name: str, values: Any) -> np.ndarray:
    """Numbers as float64; dates, strings and complex numbers are none."""
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: found values that are not numbers ({error})") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name}: found values of type {array.dtype}; expected real numbers")
    return array.astype(np.float64, copy=False)


def _check_finite(name: str, array: np.ndarray) -> None:
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name}: found {array[~np.isfinite(array)][0]}; expected finite numbers")


def inverse(matrices: np.ndarray) -> np.ndarray:
    """Inverses of positive-definite matrices, symmetric to the bit."""
    factors = np.linalg.inv(np.linalg.cholesky(matrices))
    return np.swapaxes(factors, -1, -2) @ factors


def check_trials(n_trials: Any, n_rows: int | None, n_features: int) -> np.ndarray:
    """Numbers of trials: one for all, one a feature, or with `n_rows` one a row, or one an entry.

    Returns
    -------
    ndarray of shape (n_features,), or (n_rows, n_features)
    """
    if n_trials is None:
        raise ValueError(
            "n_trials: found None; expected the number of trials that the counts are out of, as an "
            "argument of the constructor, or of a method of `BinomialMixture`"
        )
    trials = _as_floats("n_trials", n_trials)
    shapes = {(): "a number", (n_features,): "(n_features,)"}
    if n_rows is not None:
        shapes = {
            (n_rows,): "(n_rows,)",
            (n_rows, n_features): "(n_rows, n_features)",
            (): "a number",
        }
    if trials.shape not in shapes:
        raise ValueError(
            f"n_trials: found shape {trials.shape}; expected {' or '.join(shapes.values())} with "
            + (f"n_rows = {n_rows} and " if n_rows is not None else "")
            + f"n_features = {n_features}"
        )
    _check_finite("n_trials", trials)
    # Of a row, a count may have none; a feature without any would be constant.
    least = 1 if n_rows is None else 0
    wrong = (trials < least) | (trials != np.rint(trials))
    if np.any(wrong):
        raise ValueError(
            f"n_trials: found {trials[wrong][0]:g}; expected whole numbers from {least} on"
        )
    if n_rows is None:
        return np.broadcast_to(trials, n_features)
    if trials.ndim == 1:
        trials = trials[:, None]
    return np.broadcast_to(trials, (n_rows, n_features))
