"""What an iteration costs by the algebra, whatever program runs it.

Counted are the multiply-adds (two operations each) that are made for every row; what is done once
for every component is not, nor are the exp and log of the responsibilities, which are told apart.
With D features and K components, a row costs:

========== ================================================== ==================================
family     E-step                                             M-step
========== ================================================== ==================================
diag       K 2D: scale and centre, square                     K 2D: sums of x and x^2
spherical  K D + D: product with the mean, |x|^2              K D + K: sums of x and |x|^2
tied       K D: product with a whitened mean; |x|^2 is once   K D: sums of x; x x' is once
full       K (D(D+1)/2 + D): triangle of P x, |P x|^2         K (D(D+1)/2 + D): triangle, x
bernoulli  K D: product with the log-odds                     K D: sums of x
========== ================================================== ==================================

What responsibilities do not enter (the scatter matrix of all rows, |x|^2 of whitened rows) need not
be computed in every iteration and is not counted. Every row is read once.
"""

from typing import NamedTuple

from workloads import Workload


class Cost(NamedTuple):
    """Of one iteration over all rows.

    Attributes
    ----------
    flops : float, floating-point operations, a multiply-add being two
    bytes : float, read from memory
    exponentials : float, one for every row and component
    """

    flops: float
    bytes: float
    exponentials: float

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.flops / self.bytes

    def seconds(self, flops_per_second: float, bytes_per_second: float) -> float:
        """Least time of an iteration on a machine with these rates."""
        return max(self.flops / flops_per_second, self.bytes / bytes_per_second)


def multiply_adds(family: str, D: int, K: int) -> int:
    """Multiply-adds of one row in one iteration."""
    return {
        "diag": 4 * K * D,
        "spherical": 2 * K * D + D + K,
        "tied": 2 * K * D,
        "full": 2 * K * (D * (D + 1) // 2 + D),
        "bernoulli": 2 * K * D,
    }[family]


def cost(workload: Workload, itemsize: int) -> Cost:
    """Of one iteration, with `itemsize` bytes for every number of a row."""
    N, D, K = workload.n_samples, workload.n_features, workload.n_components
    return Cost(2.0 * N * multiply_adds(workload.family, D, K), N * D * itemsize, N * K)
