"""The pass over rows: memory layouts, outputs, labels, blocks, arguments that do not fit."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import emcore
import oracle
from emfast.data import Batch
from emfast.inputs.labels import Labels
from emfast.latent import MixtureWeights
from emfast.passes import Model, posterior
from families import (
    BERNOULLIS,
    FAMILIES,
    GAUSSIANS,
    GaussianFamily,
    Shape,
    all_numbers,
    assert_close_within,
    assert_same_bits,
    emission_of,
    estep,
    fit,
    fitted,
    instruction_set,
    outputs,
    over_families,
    over_instruction_sets,
    problem,
    setting,
    shapes,
    truth,
)

# Memory layouts: law 4 has those of X that a view can give


@over_families
def test_rows_from_a_memory_map(family, precision, tmp_path):
    case = setting(family, precision, Shape(1000, 5, 3, 0))
    path = tmp_path / "rows"
    case.X.tofile(path)
    mapped = np.memmap(path, case.X.dtype, "r", shape=case.X.shape)
    expected = all_numbers(estep(family, case.model, case.X), family)
    assert_same_bits(all_numbers(estep(family, case.model, mapped), family), expected)
    start = case.model
    assert_same_bits(
        fitted(family, fit(family, mapped, start, max_iter=2, tol=0), start),
        fitted(family, fit(family, case.X, start, max_iter=2, tol=0), start),
    )


@over_families
def test_rows_at_odd_addresses(family, precision):
    """A column of a packed record array: rows 13 bytes apart, say."""
    case = setting(family, precision, Shape(300, 3, 2, 0))
    records = np.zeros(300, [("flag", "u1"), ("x", case.X.dtype, case.X.shape[1])])
    records["x"] = case.X
    expected = all_numbers(estep(family, case.model, case.X), family)
    assert_same_bits(all_numbers(estep(family, case.model, records["x"]), family), expected)


@over_families
@given(shape=shapes(rows=(3, 65, 900)), step=st.sampled_from([2, 3, -1, -2]))
def test_weights_of_any_stride(family, precision, shape, step):
    case = setting(family, precision, shape)
    weights = shape.rng().uniform(0, 2, shape.n)
    wide = np.full(shape.n * abs(step), 1e6)
    view = wide[::step][: shape.n]
    view[:] = weights
    view.flags.writeable = False
    assert view.strides[0] == 8 * step
    expected = all_numbers(estep(family, case.model, case.X, weights=weights), family)
    assert_same_bits(all_numbers(estep(family, case.model, case.X, weights=view), family), expected)


def test_weights_from_a_packed_record():
    """A stride that is no multiple of 8 is refused or followed, but not rounded."""
    family = FAMILIES[0]
    case = setting(family, "float64", Shape(300, 3, 2, 0))
    records = np.zeros(300, [("w", "f8"), ("flag", "i4")])
    records["w"] = np.arange(300.0)
    expected = all_numbers(estep(family, case.model, case.X, weights=np.arange(300.0)), family)
    try:
        actual = estep(family, case.model, case.X, weights=records["w"])
    except ValueError:
        return
    assert_same_bits(all_numbers(actual, family), expected)


# Outputs


@over_families
@given(shape=shapes())
def test_outputs_are_the_same_alone_and_together(family, precision, shape):
    case = setting(family, precision, shape)
    together = outputs(family, case.model, case.X)
    for name, value in together.items():
        alone = np.zeros_like(value)
        posterior(
            MixtureWeights(),
            emission_of(family, case.X),
            case.model,
            family.batch(case.X),
            1,
            **{name: alone},
        )
        np.testing.assert_array_equal(alone, value, strict=True)


@over_families
@given(shape=shapes())
def test_outputs_agree_with_each_other(family, precision, shape):
    case = setting(family, precision, shape)
    of_rows = outputs(family, case.model, case.X)
    responsibilities = of_rows["responsibilities"]
    np.testing.assert_allclose(
        responsibilities.sum(axis=1), 1, rtol=0, atol=4 * shape.K * np.finfo(precision).eps
    )
    # Of equal ones the first, as argmax has it.
    np.testing.assert_array_equal(of_rows["assignments"], responsibilities.argmax(axis=1))
    statistics = estep(family, case.model, case.X)
    np.testing.assert_allclose(
        statistics.log_likelihood,
        of_rows["log_likelihoods"].sum(),
        rtol=50 * np.finfo(precision).eps,
        atol=50 * np.finfo(precision).eps * np.abs(of_rows["log_likelihoods"]).sum(),
    )
    np.testing.assert_allclose(
        statistics.counts,
        responsibilities.sum(axis=0, dtype=float),
        rtol=0,
        # Equal rows have equal errors, which add up.
        atol=200 * np.finfo(precision).eps * shape.n,
    )


@over_families
@pytest.mark.parametrize("n", [1, 63, 64, 65, 1000])
def test_outputs_end_where_the_rows_end(family, precision, n):
    """Rows of padding in the last tile are not written."""
    case = setting(family, precision, Shape(n, 4, 3, 0))
    responsibilities = np.full((n + 70, 3), 7, precision)
    likelihoods, assignments = np.full(n + 70, 7.0), np.full(n + 70, 7, np.intp)
    posterior(
        MixtureWeights(),
        emission_of(family, case.X),
        case.model,
        family.batch(case.X),
        2,
        responsibilities=responsibilities[:n],
        log_likelihoods=likelihoods[:n],
        assignments=assignments[:n],
    )
    for array in (responsibilities, likelihoods, assignments):
        assert np.all(array[n:] == 7)
        assert np.all(array[:n] != 7)


# Negligible terms


@over_instruction_sets
@over_families
def test_component_of_almost_no_weight(family, precision, instructions):
    """Far below rounding of the whole in every row, but above what may be left out."""
    case = setting(family, precision, Shape(700, 4, 2, 11))
    tiny = {"float64": 1e-12, "float32": 1e-5}[precision]
    model = Model(np.array([1 - tiny, tiny]), family.alike(case.model.emission))
    with instruction_set(instructions):
        statistics = estep(family, model, case.X)

    origin = family.origin(statistics.emission)
    true, actual = truth(family, model, case.X, origin), all_numbers(statistics, family)
    assert_close_within(actual, true.numbers, true.bounds)
    # Its own mass, too, has all digits but those of what was left out.
    relative = {"float64": 1e-3, "float32": 2e-2}[precision]
    of_components = {"counts", "first", "sums", "levels"}
    for name in (each for each in true.numbers if each.split(".")[-1] in of_components):
        expected = true.numbers[name][1]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(actual[name][1], expected, rtol=relative, atol=relative * scale)


@over_instruction_sets
@over_families
@pytest.mark.parametrize("K", [1, 2, 3, 4, 5, 8, 9])
def test_rows_sorted_by_component(family, precision, instructions, K):
    """Most vectors of rows concern one component only, and are left out for the others."""
    rng = np.random.default_rng(K)
    D, per_component = 5, 150
    components = np.repeat(np.arange(K), per_component)
    parameters = family.parameters(rng, K, D)
    X = family.draw(rng, parameters, components)
    X = X.astype(precision) if X.dtype.kind == "f" else X
    model = Model(np.full(K, 1 / K), parameters)
    labels = Labels(component=components.astype(np.int32))
    with instruction_set(instructions):
        statistics = estep(family, model, X, labels=labels)
    np.testing.assert_array_equal(statistics.counts, np.full(K, per_component))
    r = (components[:, None] == np.arange(K)).astype(float)
    origin = family.origin(statistics.emission)
    known = family.under(parameters)
    true, size = known.true_statistics(X, r, origin), known.magnitudes(X, r, origin)
    eps = np.finfo(precision).eps
    assert_close_within(
        family.statistics(statistics.emission),
        true,
        {name: 64 * eps * value + 1e-300 for name, value in size.items()},
    )


@pytest.mark.parametrize("covariance_type", ["spherical", "diag", "full"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("tiny", [1e-6, 1e-7, 1.5e-8, 1e-9, 1e-12, 3e-16, 1e-20])
def test_component_of_little_mass_is_estimated_or_has_starved(covariance_type, precision, tiny):
    """In between, what is left out of its mass would be most of it, and its mean mean nothing."""
    family = GaussianFamily(covariance_type)
    X = np.random.default_rng(0).normal(size=(4000, 2)).astype(precision)
    covariances = {"spherical": [1.0, 1.0], "diag": np.ones((2, 2)), "full": [np.eye(2)] * 2}
    emission = family.emission().parameters(
        np.array([[0.0, 0.0], [0.5, 0.0]]), np.array(covariances[covariance_type])
    )
    model = Model(np.array([1 - tiny, tiny]), emission)
    r, _ = oracle.respond(family.log_densities(X, emission), model.latent)
    steps = problem(family, X)

    after = steps.mstep(steps.estep(model), model)

    if after.latent[1] == 0:
        np.testing.assert_array_equal(after.emission.means[1], emission.means[1])
        assert r[:, 1].sum() < 20 * np.finfo(precision).eps * len(X)
    else:
        expected = oracle.weighted_means(X, r)[1]
        np.testing.assert_allclose(after.emission.means[1], expected, rtol=0, atol=0.05)
        np.testing.assert_allclose(after.latent[1], r[:, 1].mean(), rtol=0.1)


# Rows and parameters at the edge


@over_instruction_sets
@pytest.mark.parametrize("family", BERNOULLIS, ids=lambda family: family.name)
def test_probabilities_of_exactly_0_and_1(family, instructions):
    """Logarithms are clipped at -100, so that what is excluded stays finite and comparable."""
    rng = np.random.default_rng(0)
    p = rng.choice([0.0, 0.3, 1.0], (3, 20))
    model = Model(np.full(3, 1 / 3), family.of({"probabilities": p}))
    fair = family.of({"probabilities": np.full((1, 20), 0.5)})
    X = family.draw(rng, fair, np.zeros(300, int))
    with instruction_set(instructions):
        statistics = estep(family, model, X)
    assert statistics.impossible_row == -1
    true = truth(family, model, X, family.origin(statistics.emission))
    assert_close_within(all_numbers(statistics, family), true.numbers, true.bounds)


@over_instruction_sets
@pytest.mark.parametrize("family", BERNOULLIS, ids=lambda family: family.name)
@given(shape=shapes(rows=(65, 511, 1537), features=(2, 3, 9, 17)))
def test_constant_columns_have_probabilities_of_exactly_0_and_1(family, instructions, shape):
    precision = family.precisions[-1]
    case = setting(family, precision, shape)
    case.X[:, 0], case.X[:, 1] = 0, 1
    weights = shape.rng().uniform(0, 2, shape.n)
    with instruction_set(instructions):
        statistics = estep(family, case.model, case.X, weights=weights)
    p = family.emission().mstep(statistics.emission, case.model.emission).probabilities
    assert np.all(p[:, 0] == 0)
    assert np.all(p[:, 1] == 1)


@over_instruction_sets
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("family", GAUSSIANS, ids=lambda family: family.name)
@pytest.mark.parametrize("bad", [np.nan, np.inf, "far"])
def test_row_without_a_density_is_named_and_spoils_no_other(family, precision, instructions, bad):
    case = setting(family, precision, Shape(300, 3, 2, 0))
    expected = outputs(family, case.model, case.X)
    X = case.X.copy()
    X[77, 1] = {"float64": 1e200, "float32": 1e30}[precision] if bad == "far" else bad
    with instruction_set(instructions):
        # Its statistics are worth nothing, but the caller hears of it.
        assert estep(family, case.model, X).impossible_row == 77
        of_rows = outputs(family, case.model, X)
    assert of_rows["log_likelihoods"][77] == -np.inf
    others = np.arange(300) != 77
    for name, value in of_rows.items():
        tolerance = 1e3 * np.finfo(precision).eps
        np.testing.assert_allclose(
            value[others], expected[name][others], rtol=tolerance, atol=tolerance
        )


# Sums over blocks of components


@over_instruction_sets
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("family", GAUSSIANS, ids=lambda family: family.name)
@given(shape=shapes(rows=(65, 511), components=(11, 15, 23)))
def test_products_that_several_blocks_of_components_share(family, precision, instructions, shape):
    case = setting(family, precision, shape)
    weights = shape.rng().integers(0, 3, shape.n).astype(float)
    case.X[weights == 0] = np.nan
    with instruction_set(instructions):
        statistics = estep(family, case.model, case.X, weights=weights)
    origin = family.origin(statistics.emission)
    counted = np.repeat(case.X, weights.astype(int), axis=0)
    true = truth(family, case.model, counted, origin)
    assert_close_within(all_numbers(statistics, family), true.numbers, true.bounds)


# Moments about the centre and about the means


@over_instruction_sets
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("covariance_type", ["diag", "spherical", "tied"])
@given(shape=shapes(rows=(65, 511), components=(2, 3, 5)), apart=st.sampled_from([1.0, 1e3]))
def test_moments_both_ways(covariance_type, precision, instructions, shape, apart):
    family = GaussianFamily(covariance_type)
    case = setting(family, precision, shape)
    named = family.named(case.model.emission)
    means = 0.3 * named["means"]
    means[:, 0] += apart * np.arange(shape.K)
    emission = family.emission().parameters(means, named["covariances"])
    model = Model(case.model.latent, emission)
    X = family.draw(shape.rng(), emission, case.components).astype(precision)
    with instruction_set(instructions):
        kernel = family.emission().kernel(emission, model.latent, emcore.kernels(precision))
        statistics = estep(family, model, X)

    assert kernel.about_centre == (apart == 1)
    origin = statistics.emission.origin
    assert np.allclose(origin, origin[0]) == (apart == 1)
    # The origin is a point that the kernel's precision can represent, so that `x - origin` there is
    # what it is here.
    true = truth(family, model, X, origin)
    assert_close_within(all_numbers(statistics, family), true.numbers, true.bounds)


def test_many_features_of_a_spherical_component_in_single_precision():
    """Few deviations in each of many features are a distance at which linear forms would cancel."""
    rng = np.random.default_rng(0)
    D, apart = 1000, 9.5
    means = np.vstack([np.zeros(D), np.full(D, apart), np.full(D, apart + 0.05)])
    X = rng.normal(size=(300, D)) + means[rng.integers(3, size=300)]
    X = X.astype(np.float32)
    responsibilities = {}
    for precision in ("float32", "float64"):
        family = GaussianFamily("spherical")
        model = Model(np.array([0.8, 0.1, 0.1]), family.emission().parameters(means, np.ones(3)))
        responsibilities[precision] = outputs(family, model, X.astype(precision))[
            "responsibilities"
        ]
    soft = responsibilities["float64"][:, 1:].min(axis=1)
    assert soft.max() > 0.1
    np.testing.assert_allclose(responsibilities["float32"], responsibilities["float64"], atol=2e-3)


@over_instruction_sets
@pytest.mark.parametrize("family", GAUSSIANS, ids=lambda family: family.name)
@pytest.mark.parametrize("D", [3, 13, 40])
def test_bytes_are_numbers_like_others(family, D, instructions):
    rng = np.random.default_rng(0)
    X = (rng.uniform(size=(100, D)) < 0.5).astype(np.uint8)
    model = Model(np.array([0.4, 0.6]), family.parameters(rng, 2, D))
    with instruction_set(instructions):
        of_bytes = estep(family, model, X)
        of_numbers = estep(family, model, X.astype(np.float64))
    expected = all_numbers(of_numbers, family)
    for name, value in all_numbers(of_bytes, family).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12, atol=1e-9)


@over_instruction_sets
def test_density_that_is_no_number_is_none(instructions):
    """inf - inf in either of two components leaves the row to the other."""
    with instruction_set(instructions):
        kernels = emcore.kernels("float64")
        factors = np.array([1e-200 * np.eye(2), [[1e160, 0.0], [1e160, -1e160]]])
        for order in ([0, 1], [1, 0]):
            emission = kernels.FullGaussian(
                np.zeros(2), np.zeros((2, 2)), factors[order].copy(), np.zeros(2)
            )
            r = np.zeros((1, 2))
            kernels.expectation(
                kernels.MixtureWeights(np.zeros(2)),
                emission,
                np.full((1, 2), 1e155),
                np.zeros((1, 4 + emission.statistics_size)),
                64,
                1,
                responsibilities=r,
            )
            assert r[0].tolist() == np.array([1.0, 0.0])[order].tolist()


@over_instruction_sets
def test_what_an_earlier_tile_left_behind_does_not_matter(instructions):
    """The last, short tile of a block adds up the same after another tile and as the first."""
    rng = np.random.default_rng(0)
    n_tile, n_last, D, K = 64, 20, 40, 16
    means = rng.normal(size=(K, D))
    # Two components may have a level: few responsibilities are not negligible.
    log_p = np.where(np.eye(K) + np.eye(K, k=1) > 0, 0.0, -100.0)
    codes = rng.integers(K, size=(n_tile + n_last, 1)).astype(np.uint8)
    blocks = codes, rng.normal(size=(n_tile + n_last, D))

    def last_tile(skipped):
        emission = kernels.Product(
            kernels.Categorical(np.array([K]), log_p),
            kernels.FullGaussian(
                np.zeros(D), 0.01 * means, np.tile(0.1 * np.eye(D), (K, 1, 1)), np.zeros(K)
            ),
        )
        rows = tuple(block[skipped:] for block in blocks)
        partial = np.zeros((2 - skipped // n_tile, 2 + K + emission.statistics_size))
        latent = kernels.MixtureWeights(np.zeros(K))
        weights = np.full(len(rows[0]), 1000.0)
        kernels.expectation(latent, emission, rows, partial, n_tile, 1, weights=weights)
        return partial[-1]

    with instruction_set(instructions):
        kernels = emcore.kernels("float64")
        assert_same_bits({"sums": last_tile(0)}, {"sums": last_tile(n_tile)})


# Blocks


KERNEL_EMISSIONS = {
    "DiagGaussian": lambda k, K, D: k.DiagGaussian(
        np.zeros(D), np.zeros((K, D)), np.ones((K, D)), np.zeros(K)
    ),
    "TiedGaussian": lambda k, K, D: k.TiedGaussian(np.zeros(D), np.zeros((K, D)), np.eye(D), 0.0),
    "FullGaussian": lambda k, K, D: k.FullGaussian(
        np.zeros(D), np.zeros((K, D)), np.tile(np.eye(D), (K, 1, 1)), np.zeros(K)
    ),
    "Bernoulli": lambda k, K, D: k.Bernoulli(np.zeros(D), np.zeros((K, D)), np.zeros(K)),
    "LinearForms": lambda k, K, D: k.LinearForms(np.zeros(D), np.zeros((K, 2 * D)), np.zeros(K)),
    "Counts": lambda k, K, D: k.Counts(np.zeros(D), np.zeros((K, 2 * D)), np.zeros(K)),
    "Categorical": lambda k, K, D: k.Categorical(np.full(D, 3), np.zeros((3 * D, K))),
    "SparseForms": lambda k, K, D: k.SparseForms(np.zeros((D, K)), np.zeros(K)),
    "Product": lambda k, K, D: k.Product(
        k.Bernoulli(np.zeros(D), np.zeros((K, D)), np.zeros(K)),
        k.Categorical(np.full(D, 3), np.zeros((3 * D, K))),
    ),
}
over_kernels = pytest.mark.parametrize("emission", KERNEL_EMISSIONS)
MEBIBYTE = 2**20


def equal_weights(kernels, K):
    return kernels.MixtureWeights(np.log(np.full(K, 1 / K)))


@over_kernels
@pytest.mark.parametrize("precision", ["float64", "float32"])
@given(
    n=st.integers(1, 10**9),
    D=st.sampled_from([1, 2, 8, 33, 128, 784]),
    K=st.sampled_from([1, 2, 7, 16]),
)
def test_blocks(emission, precision, n, D, K):
    if emission == "FullGaussian":
        D = min(D, 128)
    kernels = emcore.kernels(precision)
    kernel, latent = KERNEL_EMISSIONS[emission](kernels, K, D), equal_weights(kernels, K)
    tile, block = kernels.tile_rows(kernel), kernels.block_rows(latent, kernel, n)
    assert tile % 64 == 0
    assert 64 <= tile <= 768
    assert block % tile == 0
    n_blocks = -(-n // block)
    columns = kernel.n_features
    if emission == "Bernoulli":
        # Words, with room for one bit more than there are features.
        columns = columns // (8 * np.dtype(precision).itemsize) + 1
    row_bytes = columns * np.dtype(precision).itemsize
    size = 8 * (2 + K + kernel.statistics_size)
    largest = max(4 * MEBIBYTE, 16 * size)
    assert (block - tile) * row_bytes <= largest
    assert n_blocks <= 64 or block * row_bytes >= largest
    partial = n_blocks * size
    assert n_blocks == 1 or partial <= max(32 * MEBIBYTE, n * row_bytes // 8 + size)
    # Enough of them for the threads there may be, unless statistics are large or rows few.
    if n > 64 * tile and 64 * 8 * (2 + K + kernel.statistics_size) <= 32 * MEBIBYTE:
        assert n_blocks >= 32


@over_kernels
def test_numbers_of_rows_beyond_32_bits(emission):
    kernels = emcore.kernels("float64")
    kernel, latent = KERNEL_EMISSIONS[emission](kernels, 2, 3), equal_weights(kernels, 2)
    block = kernels.block_rows(latent, kernel, 2**40)
    most = 64 if emission == "Bernoulli" else 1
    assert 4 * MEBIBYTE <= block * kernel.n_features * 8 <= most * 5 * MEBIBYTE


# Arguments that do not fit


N, D, K = 7, 2, 3


def arguments(kernels):
    kernel = KERNEL_EMISSIONS["DiagGaussian"](kernels, K, D)
    return {
        "latent": equal_weights(kernels, K),
        "emission": kernel,
        "rows": np.zeros((N, D), kernels.DTYPE),
        "partial": np.zeros((1, 2 + K + kernel.statistics_size)),
        "block_rows": kernels.tile_rows(kernel),
        "n_threads": 1,
    }


def call(kernels, **changed):
    given = arguments(kernels) | changed
    names = ("latent", "emission", "rows", "partial", "block_rows", "n_threads")
    positional = [given.pop(name) for name in names]
    return kernels.expectation(*positional, **given)


def test_arguments_that_fit():
    assert call(emcore.kernels("float64")) == -1


WRONG = {
    "rows of other features": {"rows": np.zeros((N, D + 1))},
    "rows of one dimension": {"rows": np.zeros(N)},
    "rows of other precision": {"rows": np.zeros((N, D), "float32")},
    "rows of other byte order": {"rows": np.zeros((N, D), np.dtype("f8").newbyteorder())},
    "rows of signed bytes": {"rows": np.zeros((N, D), "int8")},
    "partial too narrow": {"partial": np.zeros((1, 2))},
    "partial too wide": {"partial": np.zeros((1, 3 + K + 2 * K * D))},
    "no block": {"partial": np.zeros((0, 2 + K + 2 * K * D))},
    "block of no row": {"block_rows": 0},
    "block of negative rows": {"block_rows": -768},
    "weights too short": {"weights": np.ones(N - 1)},
    "weights too long": {"weights": np.ones(N + 1)},
    "weights of two dimensions": {"weights": np.ones((N, 1))},
    "weights of other precision": {"weights": np.ones(N, "float32")},
    "component too short": {"component": np.zeros(N - 1, np.int32)},
    "component of other integers": {"component": np.zeros(N, np.int64)},
    "allowed too short": {"allowed": np.ones((N - 1, K), np.uint8)},
    "allowed too narrow": {"allowed": np.ones((N, K - 1), np.uint8)},
    "allowed in columns": {"allowed": np.ones((N, K), np.uint8, order="F")},
    "responsibilities too short": {"responsibilities": np.zeros((N - 1, K))},
    "responsibilities too narrow": {"responsibilities": np.zeros((N, K - 1))},
    "responsibilities in columns": {"responsibilities": np.zeros((N, K), order="F")},
    "responsibilities of other precision": {"responsibilities": np.zeros((N, K), "float32")},
    "assignments too short": {"assignments": np.zeros(N - 1, np.intp)},
    "log_likelihoods too short": {"log_likelihoods": np.zeros(N - 1)},
    "log_likelihoods that skip": {"log_likelihoods": np.zeros(2 * N)[::2]},
}


@pytest.mark.parametrize("changed", WRONG.values(), ids=WRONG)
def test_arguments_that_do_not_fit(changed):
    with pytest.raises(ValueError):
        call(emcore.kernels("float64"), **changed)


class Sparse:
    """Rows as `SparseForms` reads them."""

    def __init__(self, values=(1.0, 2.0), columns=(0, 1), starts=(0, 1, 1, 2), shape=(3, D)):
        self.values = np.array(values, np.float64)
        self.columns = np.array(columns, np.int32)
        self.starts = np.array(starts, np.int64)
        self.shape = shape


BYTES, CODES = np.zeros((3, D), np.uint8), np.zeros((3, D), np.uint16)
BLOCKS_THAT_DO_NOT_FIT = {
    "one block of two": ("Product", BYTES),
    "one block of two, in a tuple": ("Product", (BYTES,)),
    "three blocks of two": ("Product", (BYTES, BYTES, BYTES)),
    "two blocks of one": ("Counts", (BYTES, BYTES)),
    "no blocks": ("Counts", ()),
    "blocks of different lengths": ("Product", (BYTES, np.zeros((4, D), np.uint8))),
    "blocks of other columns": ("Product", (BYTES, np.zeros((3, D + 1), np.uint8))),
    "codes where numbers are read": ("Counts", CODES),
    "codes with a sign": ("Categorical", CODES.astype(np.int16)),
    "long codes": ("Categorical", CODES.astype(np.uint64)),
    "numbers where sparse rows are read": ("SparseForms", np.zeros((3, D))),
    "starts that do not begin": ("SparseForms", Sparse(starts=(1, 1, 1, 2))),
    "starts that do not end": ("SparseForms", Sparse(starts=(0, 1, 1, 3))),
    "too few starts": ("SparseForms", Sparse(starts=(0, 1, 2))),
    "fewer columns than values": ("SparseForms", Sparse(columns=(0,))),
    "sparse rows of other columns": ("SparseForms", Sparse(shape=(3, D + 1))),
}


@pytest.mark.parametrize(
    ("emission", "rows"), BLOCKS_THAT_DO_NOT_FIT.values(), ids=BLOCKS_THAT_DO_NOT_FIT
)
def test_blocks_that_do_not_fit(emission, rows):
    kernels = emcore.kernels("float64")
    kernel = KERNEL_EMISSIONS[emission](kernels, K, D)
    latent = kernels.MixtureWeights(np.zeros(K))
    partial = np.zeros((1, 2 + K + kernel.statistics_size))
    with pytest.raises((ValueError, AttributeError, TypeError, IndexError)):
        kernels.expectation(latent, kernel, rows, partial, 64, 1)


def test_codes_that_are_no_levels_are_missing():
    """Whatever the memory holds, nothing outside the table is read."""
    kernels = emcore.kernels("float64")
    table = np.log(np.array([[0.1, 0.7], [0.2, 0.2], [0.7, 0.1]]))
    kernel = kernels.Categorical(np.array([3]), table)
    latent = kernels.MixtureWeights(np.log([0.5, 0.5]))
    for codes in (
        np.array([0, 3, 255], np.uint8),
        np.array([0, 4, 65535], np.uint16),
        np.array([0, 2**31, 2**32 - 1], np.uint32),
        np.array([0, np.nan, 1e300]),
        np.array([0, -1, -np.inf]),
        np.array([0, np.inf, 3.0]),
    ):
        likelihoods = np.zeros(3)
        partial = np.zeros((1, 4 + kernel.statistics_size))
        kernels.expectation(
            latent, kernel, codes[:, None], partial, 64, 1, log_likelihoods=likelihoods
        )
        np.testing.assert_allclose(likelihoods, [np.log(0.4), 0, 0], atol=1e-15)
        np.testing.assert_allclose(
            kernel.by_slot(partial[0, 4:]), [[0.125, 0.875], [0, 0], [0, 0], [1, 1]]
        )


def test_read_only_outputs_are_refused():
    out = np.zeros(N)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        call(emcore.kernels("float64"), log_likelihoods=out)


def test_weights_of_another_number_of_components():
    kernels = emcore.kernels("float64")
    with pytest.raises(ValueError, match="shapes"):
        call(kernels, latent=kernels.MixtureWeights(np.zeros(K + 1)))


def test_parts_of_another_precision():
    with pytest.raises(TypeError):
        call(
            emcore.kernels("float64"),
            latent=emcore.kernels("float32").MixtureWeights(np.zeros(K)),
        )


EMISSIONS_THAT_DO_NOT_FIT = {
    "diag, centre": lambda k: k.DiagGaussian(
        np.zeros(1), np.zeros((K, D)), np.ones((K, D)), np.zeros(K)
    ),
    "diag, scales": lambda k: k.DiagGaussian(
        np.zeros(D), np.zeros((K, D)), np.ones((1, D)), np.zeros(K)
    ),
    "diag, constants": lambda k: k.DiagGaussian(
        np.zeros(D), np.zeros((K, D)), np.ones((K, D)), np.zeros(1)
    ),
    "tied, centre": lambda k: k.TiedGaussian(np.zeros(1), np.zeros((K, D)), np.eye(D), 0.0),
    "tied, factor": lambda k: k.TiedGaussian(np.zeros(D), np.zeros((K, D)), np.eye(1), 0.0),
    "full, centre": lambda k: k.FullGaussian(
        np.zeros(1), np.zeros((K, D)), np.ones((K, D, D)), np.zeros(K)
    ),
    "full, factors": lambda k: k.FullGaussian(
        np.zeros(D), np.zeros((K, D)), np.ones((K, D, 1)), np.zeros(K)
    ),
    "full, constants": lambda k: k.FullGaussian(
        np.zeros(D), np.zeros((K, D)), np.ones((K, D, D)), np.zeros(1)
    ),
    "bernoulli, reference": lambda k: k.Bernoulli(np.zeros(1), np.zeros((K, D)), np.zeros(K)),
    "bernoulli, constants": lambda k: k.Bernoulli(np.zeros(D), np.zeros((K, D)), np.zeros(1)),
    "spherical, scales": lambda k: k.SphericalGaussian(
        np.zeros(D), np.zeros((K, D)), np.ones(1), np.zeros(K)
    ),
    "forms, weights": lambda k: k.LinearForms(np.zeros(D), np.zeros((K, D + 1)), np.zeros(K)),
    "forms, constants": lambda k: k.LinearForms(np.zeros(D), np.zeros((K, D)), np.zeros(1)),
    "counts, weights": lambda k: k.Counts(np.zeros(D), np.zeros((K, D + 1)), np.zeros(K)),
    "counts, constants": lambda k: k.Counts(np.zeros(D), np.zeros((K, D)), np.zeros(1)),
    "counts, base": lambda k: k.Counts(
        np.zeros(D), np.zeros((K, 2 * D)), np.zeros(K), base=np.zeros(D)
    ),
    "counts, trials": lambda k: k.Counts(
        np.zeros(D), np.zeros((K, D)), np.zeros(K), trials=np.zeros(1)
    ),
    "counts, pairs of three": lambda k: k.Counts(
        np.zeros(3), np.zeros((K, 3)), np.zeros(K), paired=True
    ),
    "categorical, too few slots": lambda k: k.Categorical(np.full(D, 3), np.zeros((3 * D - 1, K))),
    "categorical, too many slots": lambda k: k.Categorical(np.full(D, 3), np.zeros((3 * D + 1, K))),
    "categorical, no levels": lambda k: k.Categorical(np.array([3, 0]), np.zeros((3, K))),
    "categorical, negative": lambda k: k.Categorical(np.array([-3, 6]), np.zeros((3, K))),
    "sparse, constants": lambda k: k.SparseForms(np.zeros((D, K)), np.zeros(1)),
    "sparse, base": lambda k: k.SparseForms(np.zeros((D, K)), np.zeros(K), base=np.zeros(1)),
    "bernoulli, half a pair": lambda k: k.Bernoulli(
        np.zeros(3), np.zeros((K, 3)), np.zeros(K), True
    ),
    "product, components": lambda k: k.Product(
        KERNEL_EMISSIONS["Bernoulli"](k, K, D), KERNEL_EMISSIONS["Counts"](k, K + 1, D)
    ),
    "product, first of several": lambda k: k.Product(
        KERNEL_EMISSIONS["Product"](k, K, D), KERNEL_EMISSIONS["Counts"](k, K, D)
    ),
    "no features": lambda k: k.DiagGaussian(
        np.zeros(0), np.zeros((K, 0)), np.ones((K, 0)), np.zeros(K)
    ),
    "no components": lambda k: k.Bernoulli(np.zeros(D), np.zeros((0, D)), np.zeros(0)),
    "no weights": lambda k: k.MixtureWeights(np.zeros(0)),
}


@pytest.mark.parametrize("build", EMISSIONS_THAT_DO_NOT_FIT.values(), ids=EMISSIONS_THAT_DO_NOT_FIT)
def test_parameters_that_do_not_fit(build):
    """Out of bounds memory would be read else: here, and row by row in the pass."""
    with pytest.raises(ValueError):
        build(emcore.kernels("float64"))


def run(script):
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False
    )


BLOCKS_OF_ANY_SIZE = """
import numpy as np, emcore
k = emcore.kernels("float64")
X = np.random.default_rng(0).normal(size=(500, 2))
e = k.DiagGaussian(np.zeros(2), np.zeros((2, 2)), np.ones((2, 2)), np.zeros(2))
z = k.MixtureWeights(np.log([0.5, 0.5]))
def run(rows):
    partial = np.zeros((-(-500 // rows), 4 + e.statistics_size))
    k.expectation(z, e, X, partial, rows, 1)
    return partial[0]
expected = run(k.tile_rows(e))
for rows in (1, 10, 63, 65, 100, k.tile_rows(e) + 1):
    try:
        assert np.allclose(run(rows), expected), rows
    except ValueError:
        pass
print("done")
"""


def test_block_that_is_not_a_multiple_of_a_tile_is_refused_or_works():
    """In a process of its own: writing past a buffer may end it much later."""
    result = run(BLOCKS_OF_ANY_SIZE)
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr


@pytest.mark.parametrize("function", ["lane_exp", "lane_log"])
def test_results_longer_than_their_array_are_refused(function):
    script = f"""
import numpy as np, emcore
try:
    emcore.kernels("float64").{function}(np.ones(300_000), np.zeros(3))
except ValueError:
    print("refused")
"""
    result = run(script)
    assert (result.returncode, result.stdout) == (0, "refused\n"), result.stderr


def test_other_threads_run_during_a_pass():
    """Python code sees a pass half done: the first row's result is there, the last one's is not."""
    family = GaussianFamily("full")
    rng = np.random.default_rng(0)
    model = Model(np.full(8, 1 / 8), family.parameters(rng, 8, 16))
    X = np.tile(rng.normal(size=(1000, 16)), (400, 1))
    likelihoods = np.full(len(X), np.nan)
    worker = threading.Thread(
        target=posterior,
        args=(MixtureWeights(), family.emission(), model, Batch(X), 1),
        kwargs={"log_likelihoods": likelihoods},
    )
    seen_half_done = False
    worker.start()
    while worker.is_alive() and not seen_half_done:
        seen_half_done = not np.isnan(likelihoods[0]) and np.isnan(likelihoods[-1])
    worker.join()
    assert seen_half_done
    assert not np.isnan(likelihoods).any()
