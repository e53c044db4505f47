"""Sums of products of columns, as kernels lay them out, and equations with these as matrices."""

from functools import lru_cache

import numpy as np

# Least share of a column that the columns before it do not explain, where a matrix is regular, in
# units of its size times machine epsilon.
RANK_DIGITS = 100

EPSILON = float(np.finfo(np.float64).eps)


def with_ones(counts: np.ndarray, terms: np.ndarray, n_columns: int) -> np.ndarray:
    """Symmetric matrices of the sums of w u u', where u is 1 and then the columns.

    Parameters
    ----------
    counts : ndarray of shape (n,), sums of w
    terms : ndarray of shape (n, C + C (C + 1) / 2)
        Sums of w times the terms of a row with C columns, in runs: see ``terms.pxi`` of `emcore`.
    n_columns : int, C

    Returns
    -------
    ndarray of shape (n, C + 1, C + 1)
    """
    C = n_columns
    matrices = np.empty((len(counts), C + 1, C + 1))
    matrices[:, 0, 0] = counts
    matrices[:, 0, 1:] = matrices[:, 1:, 0] = terms[:, :C]
    i, j = _pairs(C)
    matrices[:, i + 1, j + 1] = matrices[:, j + 1, i + 1] = terms[:, C:]
    return matrices


@lru_cache(maxsize=8)
def _pairs(n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The two columns of every product, in the order of the runs."""
    C = n_columns
    pairs = [
        (i, (i + run) % C)
        for run in range(C // 2 + 1)
        for i in range(C // 2 if 2 * run == C else C)
    ]
    return tuple(np.array(pairs, np.intp).T)


def solutions(
    matrices: np.ndarray, right: np.ndarray, epsilon: float = EPSILON
) -> tuple[np.ndarray, np.ndarray | None]:
    """Solve A x = b for some positive semi-definite matrices.

    Equations are solved with every column in units of the root of its diagonal entry. Where columns
    depend on each other to within rounding, of all solutions the one of least norm in these units.

    Parameters
    ----------
    matrices : ndarray of shape (n, M, M)
    right : ndarray of shape (n, M)
    epsilon : float, of the precision of the matrices

    Returns
    -------
    x : ndarray of shape (n, M)
    determined : ndarray of shape (n, M, M) or None
        The projections on what is determined, which take a vector to the one of least norm in these
        units that the matrix cannot tell from it; None where all matrices are regular.
    """
    diagonals = np.diagonal(matrices, axis1=1, axis2=2)
    scales = np.sqrt(np.where(diagonals > 0, diagonals, 1.0))
    correlations = matrices / (scales[:, :, None] * scales[:, None, :])
    least = RANK_DIGITS * matrices.shape[1] * epsilon
    b = right / scales
    if np.all(diagonals > 0):
        try:
            factors = np.linalg.cholesky(correlations)
        except np.linalg.LinAlgError:
            pass
        else:
            if np.all(np.diagonal(factors, axis1=1, axis2=2) ** 2 > least):
                half = np.linalg.solve(factors, b[:, :, None])
                x = np.linalg.solve(np.swapaxes(factors, 1, 2), half)[:, :, 0]
                return x / scales, None
    values, vectors = np.linalg.eigh(correlations)
    regular = values > least
    inverses = np.where(regular, 1 / np.where(regular, values, 1.0), 0.0)
    x = np.einsum("nij,nj,nkj,nk->ni", vectors, inverses, vectors, b, optimize=True)
    projections = np.einsum("nij,nj,nkj->nik", vectors, regular, vectors, optimize=True)
    projections = projections * scales[:, None, :] / scales[:, :, None]
    return x / scales, projections
