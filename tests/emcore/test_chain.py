"""Recursions over sequences: pieces, logarithms where numbers do not reach, bits, bad arguments."""

from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from itertools import pairwise

import numpy as np
import pytest

import chain_oracle
import emcore
from emfast.emissions import Gaussian

over_kernels = pytest.mark.parametrize(
    ("instructions", "precision"),
    [
        (name, precision)
        for name in emcore.runnable_instruction_sets()
        for precision in ("float64", "float32")
    ],
)
TOLERANCE = {"float64": 1e-9, "float32": 2e-4}


@dataclass(frozen=True, eq=False)
class Case:
    """Sequences of rows under a model of one spherical Gaussian a state.

    Rows are numbers of single precision, the same for every build.
    """

    X: np.ndarray
    lengths: tuple
    means: np.ndarray
    startprob: np.ndarray
    transmat: np.ndarray

    @property
    def sequences(self):
        return np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)

    @property
    def log_densities(self):
        distances = ((self.X[:, None].astype(float) - self.means) ** 2).sum(axis=2)
        return -0.5 * (distances + self.means.shape[1] * np.log(2 * np.pi))

    def model(self, kernels, assignment="soft"):
        K = len(self.means)
        family = Gaussian("spherical")
        parameters = family.parameters(self.means, np.ones(K))
        emission = family.kernel(parameters, np.full(K, 1 / K), kernels)
        return kernels.MarkovChain(self.startprob, self.transmat, assignment=assignment), emission

    def run(self, kernels, assignment="soft", threads=2, accumulate=True, **known):
        """Statistics and outputs of a pass, by name."""
        chain, emission = self.model(kernels, assignment)
        K, n = len(self.means), len(self.X)
        plan = kernels.SequencePlan(chain, emission, self.sequences)
        partial = np.zeros((plan.n_blocks, kernels.partial_size(chain, emission)))
        found = {
            "responsibilities": np.empty((n, K), kernels.DTYPE),
            "assignments": np.empty(n, np.intp),
            "log_likelihoods": np.empty(len(self.lengths)),
        }
        impossible = kernels.expectation_of_sequences(
            chain,
            emission,
            self.X.astype(kernels.DTYPE),
            partial,
            plan,
            threads,
            accumulate=accumulate,
            **found,
            **known,
        )
        total = partial[0]
        ends = np.cumsum([1, 1, K, K, K * K])
        parts = np.split(total, ends)
        names = ("log_likelihood", "weight", "counts", "starts", "transitions", "emission")
        return {
            "plan": plan,
            "impossible": impossible,
            **found,
            **dict(zip(names, parts, strict=True)),
        }

    def truth(self, function):
        """What an oracle says of every sequence."""
        return truth_of(self, function)

    def truth_of_allowed(self, function, allowed):
        bounds = self.sequences
        return [
            function(
                self.log_densities[a:b],
                self.startprob,
                self.transmat,
                None if allowed is None else allowed[a:b],
            )
            for a, b in pairwise(bounds)
        ]


@cache
def truth_of(case, function):
    return case.truth_of_allowed(function, None)


def kernels_of(instructions, precision):
    return import_module(f"emcore._{instructions}_{precision}")


@cache
def case_of(lengths, K, *, spread=2.0, way_back=True, D=2):
    rng = np.random.default_rng(0)
    means = spread * rng.normal(size=(K, D))
    X = means[rng.integers(K, size=sum(lengths))] + rng.normal(size=(sum(lengths), D))
    startprob, transmat = rng.dirichlet(np.ones(K)), rng.dirichlet(np.ones(K), K)
    if not way_back:
        startprob, transmat = np.eye(K)[0], np.triu(transmat)
        transmat /= transmat.sum(axis=1, keepdims=True)
    return Case(X.astype(np.float32), lengths, means, startprob, transmat)


def assert_true(case, found, truth, weights, precision):
    """The numbers of a pass are those of the oracle, but for the digits of large logarithms."""
    largest = float(np.abs(case.log_densities).max())
    tolerance = max(TOLERANCE[precision], float(np.finfo(precision).eps) * largest)
    log_likelihoods = np.array([each.log_likelihood for each in truth])
    relative = 20 * np.finfo(precision).eps
    np.testing.assert_allclose(found["log_likelihoods"], log_likelihoods, rtol=max(relative, 1e-12))
    total = float(weights @ log_likelihoods)
    np.testing.assert_allclose(found["log_likelihood"], total, rtol=max(relative, 1e-12))
    starts = sum(w * each.starts for w, each in zip(weights, truth, strict=True))
    transitions = sum(w * each.transitions for w, each in zip(weights, truth, strict=True))
    posteriors = np.concatenate(
        [w * each.posteriors for w, each in zip(weights, truth, strict=True)]
    )
    np.testing.assert_allclose(found["responsibilities"], posteriors, atol=tolerance, rtol=0)
    size = max(1.0, float(posteriors.sum()))
    np.testing.assert_allclose(found["starts"], starts, atol=tolerance * size**0.5, rtol=tolerance)
    np.testing.assert_allclose(
        found["transitions"], transitions.ravel(), atol=tolerance * size**0.5, rtol=tolerance
    )
    np.testing.assert_allclose(
        found["counts"], posteriors.sum(axis=0), atol=tolerance * size**0.5, rtol=tolerance
    )


LENGTHS = {
    "one": (40,),
    "ragged": (5, 1, 17, 64, 2, 30, 1, 1, 9),
    "single rows": (1,) * 50,
    "many": (100,) * 40,
}


@over_kernels
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("K", [1, 2, 5, 8, 17, 33])
def test_scaled_recursions(instructions, precision, lengths, K):
    case = case_of(lengths, K)
    weights = np.random.default_rng(1).uniform(0.1, 2, len(lengths))
    found = case.run(kernels_of(instructions, precision), weights=weights)
    assert found["impossible"] == -1
    np.testing.assert_allclose(found["weight"], weights @ lengths)
    assert_true(case, found, case.truth(chain_oracle.forward_backward), weights, precision)


@over_kernels
@pytest.mark.parametrize("spread", [10.0, 60.0, 300.0])
@pytest.mark.parametrize("K", [2, 3, 9])
def test_states_far_apart_with_no_way_back(instructions, precision, spread, K):
    """What is too small for numbers decides: scaled recursions alone lose whole paths."""
    case = case_of((7, 20, 1, 12), K, spread=spread, way_back=False, D=1)
    found = case.run(kernels_of(instructions, precision))
    assert_true(case, found, case.truth(chain_oracle.forward_backward), np.ones(4), precision)


@over_kernels
@pytest.mark.parametrize("spread", [300.0, 1e5])
@pytest.mark.parametrize("K", [2, 9, 24])
def test_transitions_from_a_state_are_as_many_as_its_posteriors(instructions, precision, spread, K):
    """Even where logarithms are so large that they are rounded to multiples of 1000."""
    case = case_of((7, 20, 1, 12), K, spread=spread, way_back=False)
    found = case.run(kernels_of(instructions, precision))
    last = case.sequences[1:] - 1
    expected = np.delete(found["responsibilities"], last, axis=0).sum(axis=0)
    transitions = found["transitions"].reshape(K, K)
    np.testing.assert_allclose(transitions.sum(axis=1), expected, atol=1e-4)
    assert transitions.min() >= 0


def test_paths_that_only_logarithms_tell_apart():
    """Rows of the second state, then of the first, which there is no way back to.

    Both paths through the first two rows are worse than the third row alone by exp(1250), and what
    is lost at the second row is all there is at the end.
    """
    case = Case(
        np.array([[50.0], [50.0], [0.0], [0.0], [0.0]]),
        (5,),
        np.array([[0.0], [50.0]]),
        np.array([1.0, 0.0]),
        np.array([[0.5, 0.5], [0.0, 1.0]]),
    )
    found = case.run(emcore.kernels("float64"))
    truth = case.truth(chain_oracle.by_enumeration)
    assert_true(case, found, truth, np.ones(1), "float64")
    assert found["assignments"].tolist() == [0, 0, 0, 0, 0]
    scores = case.run(emcore.kernels("float64"), accumulate=False)
    np.testing.assert_allclose(scores["log_likelihoods"], found["log_likelihoods"], rtol=1e-14)


@over_kernels
@pytest.mark.parametrize("K", [1, 2, 5, 17])
@pytest.mark.parametrize("spread", [1.0, 60.0])
def test_best_paths(instructions, precision, K, spread):
    case = case_of(LENGTHS["ragged"], K, spread=spread)
    found = case.run(kernels_of(instructions, precision), assignment="hard")
    truth = case.truth(chain_oracle.path_truth)
    assert_true(case, found, truth, np.ones(len(truth)), precision)
    path = np.concatenate([each.posteriors.argmax(axis=1) for each in truth])
    np.testing.assert_array_equal(found["assignments"], path)


@over_kernels
@pytest.mark.parametrize("assignment", ["soft", "hard"])
@pytest.mark.parametrize("spread", [1.0, 50.0])
def test_a_sequence_in_pieces(instructions, precision, assignment, spread):
    """One that is too long to be held is recomputed from what is kept of it."""
    n = 70_000
    case = case_of((n, 3, n // 2), 3, spread=spread, way_back=spread == 1.0, D=1)
    weights = np.array([1.5, 1.0, 0.5])
    found = case.run(kernels_of(instructions, precision), assignment, weights=weights)
    assert found["plan"].piece_rows < n / 4
    function = chain_oracle.forward_backward if assignment == "soft" else chain_oracle.path_truth
    assert_true(case, found, case.truth(function), weights, precision)


@over_kernels
def test_labels_restrict_states(instructions, precision):
    case = case_of(LENGTHS["ragged"], 4)
    rng = np.random.default_rng(3)
    allowed = rng.random((len(case.X), 4)) < 0.6
    allowed[~allowed.any(axis=1)] = True
    kernels = kernels_of(instructions, precision)
    truth = case.truth_of_allowed(chain_oracle.forward_backward, allowed)
    assert_true(
        case,
        case.run(kernels, allowed=allowed.astype(np.uint8)),
        truth,
        np.ones(len(truth)),
        precision,
    )
    component = np.where(rng.random(len(case.X)) < 0.5, rng.integers(4, size=len(case.X)), -1)
    allowed = (component[:, None] < 0) | (component[:, None] == np.arange(4))
    truth = case.truth_of_allowed(chain_oracle.forward_backward, allowed)
    assert_true(
        case,
        case.run(kernels, component=component.astype(np.int32)),
        truth,
        np.ones(len(truth)),
        precision,
    )


@over_kernels
@pytest.mark.parametrize("lengths", [(300,) * 200, (40_000, 5, 700, 90_000)], ids=["many", "long"])
def test_same_bits_for_any_number_of_threads(instructions, precision, lengths):
    case = case_of(lengths, 5)
    kernels = kernels_of(instructions, precision)
    one = case.run(kernels, threads=1)
    for threads in (2, 3, 8):
        other = case.run(kernels, threads=threads)
        for name, values in one.items():
            if name != "plan":
                np.testing.assert_array_equal(other[name], values)


def test_sequence_of_weight_zero_is_as_if_it_were_not_there():
    case = case_of((6, 8, 5), 3)
    X = case.X.copy()
    X[6:14] = [[np.inf, np.nan]] * 8
    case = replace(case, X=X)
    found = case.run(emcore.kernels("float64"), weights=np.array([1.0, 0.0, 2.0]))
    others = np.r_[0:6, 14:19]
    rest = Case(case.X[others], (6, 5), case.means, case.startprob, case.transmat)
    expected = rest.run(emcore.kernels("float64"), weights=np.array([1.0, 2.0]))
    for name in ("log_likelihood", "weight", "counts", "starts", "transitions", "emission"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-14)
    np.testing.assert_array_equal(found["responsibilities"][6:14], 0)


@pytest.mark.parametrize("assignment", ["soft", "hard"])
@pytest.mark.parametrize("repeats", [1, 30_000])
def test_the_row_at_which_a_sequence_becomes_impossible(assignment, repeats):
    case = replace(case_of((4, 5 * repeats, 3), 2), transmat=np.eye(2))
    component = np.full(len(case.X), -1, np.int32)
    component[6], component[5 + 2 * repeats] = 0, 1
    found = case.run(emcore.kernels("float64"), assignment, component=component)
    assert found["impossible"] == 5 + 2 * repeats
    assert found["log_likelihoods"][1] == -np.inf
    assert np.isfinite(found["log_likelihoods"][[0, 2]]).all()
    assert found["weight"] == 7
    np.testing.assert_allclose(found["counts"].sum(), 7)


# Plans


def test_plans_depend_on_shapes_and_cover_every_sequence():
    kernels = emcore.kernels("float64")
    for lengths in ((1,), (1,) * 100_000, (100_000, 1, 1), (10_000_000,), (3000,) * 50):
        case = replace(case_of((1,), 8), lengths=lengths)
        plan = kernels.SequencePlan(*case.model(kernels), case.sequences)
        assert plan.n_rows == sum(lengths)
        assert plan.n_sequences == len(lengths)
        assert 1 <= plan.n_blocks <= min(64, plan.n_groups)
        # Steps held, and what is kept of pieces.
        held = plan.capacity + max(lengths) / plan.piece_rows
        assert held < 25_000 + 2 * max(lengths) ** 0.5


BAD = {
    "no sequence": np.array([0]),
    "first elsewhere": np.array([1, 5]),
    "empty": np.array([0, 3, 3, 5]),
    "backwards": np.array([0, 4, 2, 5]),
}


@pytest.mark.parametrize("starts", BAD.values(), ids=BAD)
def test_plan_refuses_bounds_that_are_none(starts):
    kernels = emcore.kernels("float64")
    with pytest.raises(ValueError, match="do not belong together"):
        kernels.SequencePlan(*case_of((5,), 2).model(kernels), starts.astype(np.int64))


def test_pass_refuses_arguments_that_do_not_fit():
    kernels = emcore.kernels("float64")
    case = case_of((5, 4), 3)
    chain, emission = case.model(kernels)
    plan = kernels.SequencePlan(chain, emission, case.sequences)
    size = kernels.partial_size(chain, emission)
    X = case.X.astype(float)
    good = {"rows": X, "partial": np.zeros((plan.n_blocks, size))}
    bad = {
        "rows": {"rows": X[:-1]},
        "columns": {"rows": np.ascontiguousarray(X[:, :1])},
        "partial": {"partial": np.zeros((plan.n_blocks, size - 1))},
        "blocks": {"partial": np.zeros((plan.n_blocks + 1, size))},
        "weights of rows": {"weights": np.ones(9)},
        "labels of sequences": {"component": np.zeros(2, np.int32)},
        "allowed": {"allowed": np.ones((9, 2), np.uint8)},
        "responsibilities": {"responsibilities": np.zeros((9, 2))},
        "assignments": {"assignments": np.zeros(2, np.intp)},
        "log-likelihoods of rows": {"log_likelihoods": np.zeros(9)},
    }
    for change in bad.values():
        given = {**good, **change}
        rows, partial = given.pop("rows"), given.pop("partial")
        with pytest.raises(ValueError, match="do not belong together"):
            kernels.expectation_of_sequences(chain, emission, rows, partial, plan, 1, **given)
    with pytest.raises(ValueError, match="do not belong together"):
        kernels.expectation(chain, emission, X, np.zeros((1, size)), 64, 1)
