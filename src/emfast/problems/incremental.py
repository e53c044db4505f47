r"""Incremental EM: an M-step after every block of rows instead of after all.

Of every block b there are the statistics :math:`s_b` that were collected under the parameters
:math:`\theta_b` of its last visit. Visits climb the lower bound of the log-likelihood

.. math::
    F = \sum_b \bigl[ \ell_b(\theta_b) - Q(\theta_b; s_b) \bigr] + Q(\theta; \textstyle\sum_b s_b)

and the log prior: an E-step on a block raises it by the responsibilities of its rows, an M-step by
:math:`\theta`. Q is the expected log-density of rows and latent variables, which is linear in the
statistics; what is in brackets is the entropy of the responsibilities of a block, up to terms that
no parameter enters. Once :math:`\theta_b = \theta` for all blocks, F is the log-likelihood.

One iteration of the driver is one sweep over all blocks. The statistics are the leaves of a binary
tree whose other nodes are sums: after a visit those on the way to the root are summed anew, so that
nothing is ever subtracted and rounding does not pile up.

References
----------
Neal, R. M. and Hinton, G. E. (1998). A view of the EM algorithm that justifies incremental, sparse,
and other variants. In Learning in Graphical Models, 355-368.
Thiesson, B., Meek, C. and Heckerman, D. (2001). Accelerating EM for large databases. Machine
Learning 45, 279-299.
"""

from dataclasses import dataclass, replace

from emfast.data.source import Block, Blocks
from emfast.passes import Model
from emfast.problems.grid import GridProblem
from emfast.statistics import Statistics

# With more blocks M-steps cost more, and sweeps are hardly fewer: parameters that are a thirtieth
# of the rows behind are as good as the latest.
BLOCKS = 32

# Fewer rows are not worth a call of the kernels.
LEAST_ROWS = 16

# What the statistics of all blocks may take, those of two sweeps together.
MOST_BYTES = 512 * 2**20


def check_incremental(accelerate: bool, assignment: str) -> None:
    """Raise for arguments that incremental EM does not go with."""
    if accelerate:
        raise ValueError(
            "accelerate: found True with incremental=True; expected at most one of them, for "
            "sweeps go on from the statistics of blocks, which an extrapolation has not"
        )
    if assignment == "stochastic":
        raise ValueError(
            "assignment: found 'stochastic' with incremental=True; expected 'soft' or 'hard', for "
            "draws climb no bound"
        )


@dataclass(frozen=True, eq=False, repr=False)
class BlockStatistics(Statistics):
    """Statistics of all rows, each block's as of its last visit.

    Attributes
    ----------
    log_likelihood : float, the bound F of the model that they have led to
    nodes : tuple of Statistics
        The tree, the first of which is unused: node i is the sum of nodes 2 i and 2 i + 1, and the
        second half are the blocks'. Their ``log_likelihood`` is the entropy.
    """

    nodes: tuple = ()

    @property
    def carried(self) -> list[Statistics]:
        """Statistics of all blocks, each under the model of its last visit."""
        return list(self.nodes[len(self.nodes) // 2 :])


class IncrementalProblem:
    """The problem of fitting a model to rows, as the driver climbs it by blocks.

    Parameters
    ----------
    problem : GridProblem
    """

    def __init__(self, problem: GridProblem):
        self._problem = problem
        self._blocks: Blocks = ()
        # The model that the last sweep has led to, which is measured already, and the statistics.
        self._swept: tuple[Model, BlockStatistics] | None = None

    @property
    def rounding(self) -> float:
        return self._problem.rounding

    def objective(self, statistics: BlockStatistics, model: Model) -> float:
        """The bound and the log prior in nats, per unit of weight."""
        return self._problem.objective(statistics, model)

    def slack(self, model: Model) -> float:
        """That of every M-step of a sweep."""
        return (len(self._blocks) + 1) * self._problem.slack(model)

    def estep(self, model: Model) -> BlockStatistics:
        """Statistics of all blocks under a model, or what the sweep that led to it has left."""
        if self._swept is not None and self._swept[0] is model:
            return self._swept[1]
        self._cut(model)
        return self._bound(_tree([self._visit(block, model) for block in self._blocks]), model)

    def go_on(self, model: Model, carried: list[Statistics]) -> None:
        """Take them up where a sweep that led to this model has left them."""
        self._cut(model)
        if len(carried) != len(self._blocks):
            raise ValueError(
                f"found statistics of {len(carried)} blocks; expected {len(self._blocks)}"
            )
        self._swept = model, self._bound(_tree(carried), model)

    def _cut(self, model: Model) -> None:
        """Cut the rows into blocks, once."""
        if self._blocks:
            return
        source, emission = self._problem.source, self._problem.emission
        shape = emission.shape(model.emission)
        n_numbers = sum(emission.group_size(group, *shape) for group in emission.groups)
        # As many of statistics, twice as many where matrices are symmetric.
        self._blocks = source.blocks(n_blocks(source.n_rows, 2 * n_numbers))

    def mstep(self, statistics: BlockStatistics, model: Model) -> Model:
        """A sweep: the model after every block has been visited once."""
        nodes, iteration = list(statistics.nodes), model.iteration
        for leaf, block in enumerate(self._blocks, len(self._blocks)):
            model = self._problem.mstep(nodes[1], model)
            nodes[leaf] = self._visit(block, model)
            i = leaf // 2
            while i > 0:
                nodes[i] = nodes[2 * i] + nodes[2 * i + 1]
                i //= 2
        model = self._problem.mstep(nodes[1], model)._replace(iteration=iteration + 1)
        self._swept = model, self._bound(nodes, model)
        return model

    def _visit(self, block: Block, model: Model) -> Statistics:
        """Statistics of a block, with the entropy in place of the log-likelihood."""
        statistics = block.total(self._problem.asked(model))
        entropy = statistics.log_likelihood - self._expected(statistics, model)
        return replace(statistics, log_likelihood=entropy)

    def _expected(self, statistics: Statistics, model: Model) -> float:
        """Q, what statistics are expected to say of a model."""
        latent, emission = self._problem.latent, self._problem.emission
        return latent.expected_log_density(
            statistics.latent, model.latent
        ) + emission.expected_log_density(statistics.emission, model.emission)

    def _bound(self, nodes: list, model: Model) -> BlockStatistics:
        total = vars(nodes[1])
        bound = nodes[1].log_likelihood + self._expected(nodes[1], model)
        return BlockStatistics(**{**total, "log_likelihood": bound}, nodes=tuple(nodes))


def _tree(leaves: list[Statistics]) -> list:
    """The nodes above these leaves, and them: see `BlockStatistics`."""
    nodes = [None] * len(leaves) + leaves
    for i in range(len(leaves) - 1, 0, -1):
        nodes[i] = nodes[2 * i] + nodes[2 * i + 1]
    return nodes


def n_blocks(n_rows: int, n_numbers: int) -> int:
    """Into how many blocks rows are cut whose statistics have about so many numbers."""
    affordable = MOST_BYTES // (4 * 8 * max(1, n_numbers))
    return max(1, min(BLOCKS, n_rows // LEAST_ROWS, affordable))
