"""What a start that is repeated alone has in common with the start among others."""

from numpy.testing import assert_array_equal


def assert_repeats(alone, restart):
    """`alone` was fitted with the seed of `restart`; only the winner goes on beyond `tol`."""
    n_iter = alone.n_iter_ if restart.won else restart.n_iter
    assert alone.n_iter_ == n_iter <= restart.n_iter
    assert_array_equal(alone.lower_bounds_, restart.lower_bounds[:n_iter])
    assert alone.converged_ == restart.converged
    assert restart.score == restart.lower_bounds[-1]
