"""Fits and questions about rows that come in batches: the same as in memory, to the bit."""

import itertools
import threading
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

import emfast
from batches import Batches
from emfast.data import Batch, Plan, surveyed
from emfast.data.ahead import read_ahead
from emfast.data.cuts import Listed, Multiples, cut_again
from emfast.data.reservoir import Reservoir, random_keys
from emfast.data.sums import Tree
from emfast.emissions import Categorical, Gaussian
from emfast.inputs.labels import Labels


def in_batches(rows, cuts=(1, 17, 1000, 9000)):
    return Batches(*np.split(rows, cuts)) if isinstance(rows, np.ndarray) else _frames(rows, cuts)


def _frames(frame, cuts):
    ends = [0, *cuts, len(frame)]
    return Batches(*(frame[a:b] for a, b in itertools.pairwise(ends)))


def blobs(n=20_000, D=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, D))
    X[: n // 3] += 3
    return X


COVARIANCES = {
    "full": np.stack([np.eye(4)] * 2),
    "tied": np.eye(4),
    "diag": np.ones((2, 4)),
    "spherical": np.ones(2),
}


def started(covariance_type="full", **options):
    """A mixture whose start is given."""
    return emfast.GaussianMixture(
        2,
        covariance_type=covariance_type,
        means_init=[[0.0] * 4, [3.0] * 4],
        weights_init=[0.5, 0.5],
        covariances_init=COVARIANCES[covariance_type],
        **{"max_iter": 4, "tol": 0} | options,
    )


def assert_same(model, other, names=("weights_", "means_", "covariances_", "lower_bounds_")):
    for name in names:
        assert_array_equal(getattr(model, name), getattr(other, name))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("covariance_type", COVARIANCES)
def test_fit_is_the_same_to_the_bit(covariance_type, dtype):
    X = blobs().astype(dtype)
    whole = started(covariance_type).fit(X)
    parts = started(covariance_type, n_threads=2).fit(in_batches(X))
    assert_same(parts, whole)
    assert parts.means_.dtype == dtype


def test_fit_is_the_same_where_blocks_are_many():
    # Blocks are of 4 MiB at most, and there are more than 64 of them.
    X = np.random.default_rng(0).normal(size=(400, 2000)).astype(np.float32)
    X[:100] += 1
    X = np.tile(X, (100, 1))
    kwargs = {
        "covariance_type": "spherical",
        "means_init": X[[0, -1]],
        "weights_init": [0.5, 0.5],
        "covariances_init": [1.0, 1.0],
        "max_iter": 2,
        "tol": 0,
    }
    whole = emfast.GaussianMixture(2, **kwargs).fit(X)
    assert_same(emfast.GaussianMixture(2, **kwargs).fit(in_batches(X, (3, 25_000))), whole)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag"])
def test_missing_entries_of_any_batch_count_for_all(covariance_type):
    X = blobs()
    X[15_000:][np.random.default_rng(1).random((5000, 4)) < 0.2] = np.nan
    whole = started(covariance_type).fit(X)
    assert_same(started(covariance_type).fit(in_batches(X)), whole)


def test_weights_labels_and_priors():
    X, rng = blobs(), np.random.default_rng(2)
    weights = rng.uniform(0, 3, len(X)) * 1e9
    weights[:5000] = 0
    labels = np.where(rng.random(len(X)) < 0.05, np.where(X[:, 0] > 1.5, 1, 0), -1)
    prior = {"weight_concentration_prior": 3.0}
    whole, parts = started(prior=prior), started(prior=prior)
    whole.fit(X, labels=labels, sample_weight=weights)
    parts.fit(in_batches(X), labels=labels, sample_weight=weights)
    assert_same(parts, whole)


def test_labels_and_weights_by_the_names_of_columns():
    X, rng = blobs(), np.random.default_rng(3)
    kinds = np.where(rng.random(len(X)) < 0.1, np.where(X[:, 0] > 1.5, "truck", "car"), None)
    frame = pd.DataFrame(X, columns=list("abcd")).assign(kind=kinds, w=rng.random(len(X)))
    whole = started().fit(frame[list("abcd")], labels=kinds, sample_weight=frame["w"])
    parts = started().fit(in_batches(frame), labels="kind", sample_weight="w")
    assert_same(parts, whole)
    assert parts.classes_.tolist() == ["car", "truck"]
    assert parts.feature_names_in_.tolist() == list("abcd")
    # Names that only some batches have.
    assert_same(started().fit(in_batches(frame, (10, 20)), labels="kind", sample_weight="w"), whole)


@pytest.mark.parametrize("copies", [1, 40])
def test_fit_predict_takes_names_of_columns(copies):
    rng = np.random.default_rng(3)
    X = (rng.random((400, 3)) < np.where(np.arange(400) < 150, 0.2, 0.8)[:, None]).astype(float)
    frame = pd.DataFrame(np.tile(X, (copies, 1)), columns=list("abc"))
    n = len(frame)
    frame = frame.assign(kind=np.where(rng.random(n) < 0.1, "x", None), w=rng.random(n))
    for source in (frame, in_batches(frame, (10, 200))):
        model = emfast.BernoulliMixture(2, random_state=0)
        found = model.fit_predict(source, labels="kind", sample_weight="w")
        expected = model.predict_proba(frame[list("abc")], labels=frame["kind"]).argmax(axis=1)
        assert_array_equal(found, expected)


def test_noise_knows_the_bounds_of_all():
    X = blobs()
    X[0] = 100
    whole, parts = (started(noise=True).set_params(weights_init=[0.4, 0.5]) for _ in range(2))
    whole.fit(X)
    parts.fit(in_batches(X))
    assert_array_equal(parts.noise_bounds_, whole.noise_bounds_)
    assert_same(parts, whole)


@pytest.mark.parametrize("max_chunksize", [1 << 20, 777])
def test_record_batches_of_columns_of_several_types(max_chunksize):
    X = blobs()
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["b"] = np.rint(X[:, 1] * 10).astype(np.int16)
    table = pa.Table.from_pandas(frame)
    whole = started("diag").fit(frame)
    parts = started("diag").fit(Batches(*table.to_batches(max_chunksize=max_chunksize)))
    assert_same(parts, whole)


def test_record_batches_with_nulls():
    X = blobs()
    X[np.random.default_rng(4).random(X.shape) < 0.1] = np.nan
    table = pa.Table.from_pandas(pd.DataFrame(X, columns=list("abcd")), preserve_index=False)
    assert sum(column.null_count for column in table.columns) > 0
    parts = started("diag").fit(Batches(*table.to_batches(max_chunksize=5000)))
    assert_same(parts, started("diag").fit(X))


@pytest.mark.parametrize("kind", [pa.int8(), pa.bool_()])
def test_record_batches_of_which_some_have_nulls(kind):
    X = blobs(3000, 2).astype(np.float32)
    column = pa.array(np.rint(X[:, 1]).astype(np.int8) % 2).cast(kind)
    some = pa.concat_arrays([column[:2000], pa.nulls(10, kind), column[2010:]])
    table = pa.table({"a": X[:, 0], "b": some})
    options = {"n_components": 2, "random_state": 0, "max_iter": 3, "tol": 0}
    whole = emfast.GaussianMixture(**options).fit(table)
    parts = emfast.GaussianMixture(**options).fit(Batches(*table.to_batches(max_chunksize=500)))
    assert_same(parts, whole)
    assert parts.means_.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_masked_batches(dtype):
    X = np.ma.masked_array((blobs(3000) * 10).astype(dtype))
    X[:1500, :2] = np.ma.masked_where(X[:1500, :2] > 15, X[:1500, :2])
    options = {"n_components": 2, "random_state": 0, "max_iter": 3, "tol": 0}
    whole = emfast.GaussianMixture(**options).fit(X)
    parts = emfast.GaussianMixture(**options).fit(Batches(X[:1000], X[1000:2000], X[2000:]))
    assert_same(parts, whole)
    states = emfast.GaussianHMM(**options).fit(Batches([X[:1000], X[1000:]]))
    whole = emfast.GaussianHMM(**options).fit(X, [1000, 2000])
    assert_same(states, whole, ("startprob_", "transmat_", "means_", "covars_"))


def test_categories_of_labels_keep_their_order():
    X = blobs(3000)
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["kind"] = pd.Categorical(
        np.where(X[:, 0] > 1.5, "truck", "car"), categories=["truck", "car"]
    )
    beside = [(X[a : a + 1000], {"kind": frame["kind"][a : a + 1000]}) for a in (0, 1000, 2000)]
    for source in (frame, in_batches(frame, (100, 2000)), Batches(*beside)):
        mixture = emfast.GaussianMixture(2, max_iter=1, tol=0, random_state=0)
        assert mixture.fit(source, labels="kind").classes_.tolist() == ["truck", "car"]


def test_a_first_batch_without_rows():
    X = blobs(300)
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "kind": ["car"] * 300})
    for nothing in (table[:0], table[:0].to_pandas()):
        source = Batches(nothing, table)
        mixture = emfast.GaussianMixture(1).fit(source, labels="kind")
        assert mixture.feature_names_in_.tolist() == ["a", "b"]
        assert_array_equal(mixture.predict(source), np.zeros(300))


def test_batches_without_weight():
    X, mixture = blobs(3000), started("diag").fit(blobs())
    weights = np.repeat([1.0, 0.0, 2.0], 1000)
    source = in_batches(X, (1000, 2000))
    given = {"sample_weight": weights}
    assert mixture.score(source, **given) == pytest.approx(mixture.score(X, **given))
    assert mixture.summarize(source, **given).weight == 3000
    whole, parts = (started("diag").fit(blobs()) for _ in range(2))
    assert_same(
        parts.partial_fit(source, **given), whole.partial_fit(X, **given), ("lower_bound_",)
    )
    for ask in (mixture.score, mixture.summarize, mixture.partial_fit, started("diag").fit):
        with pytest.raises(ValueError, match="sample_weight: all weights are zero"):
            ask(source, sample_weight=np.zeros(3000))


def test_many_small_batches_are_gathered_soon():
    batches = [Batch(np.zeros((1, 1))) for _ in range(20_000)]
    began = time.process_time()
    assert sum(part.n_rows for part in cut_again(batches, Multiples(64), 8)) == 20_000
    # Some 0.1 s; where time grows with the square of their number, 20 s.
    assert time.process_time() - began < 5


def test_discrete_families():
    rng = np.random.default_rng(5)
    X = (rng.random((5000, 9)) < np.where(np.arange(5000) < 2000, 0.2, 0.7)[:, None]).astype("u1")
    kwargs = {"probabilities_init": rng.uniform(0.2, 0.8, (2, 9)), "weights_init": [0.4, 0.6]}
    kwargs |= {"max_iter": 4, "tol": 0}
    whole = emfast.BernoulliMixture(2, **kwargs).fit(X)
    parts = emfast.BernoulliMixture(2, **kwargs).fit(in_batches(X, (100,)))
    assert_same(parts, whole, ("weights_", "probabilities_"))
    rates = {
        "rates_init": rng.uniform(1, 3, (2, 9)),
        "weights_init": [0.4, 0.6],
        "max_iter": 4,
        "tol": 0,
    }
    counts = rng.poisson(1 + 3 * X)
    whole = emfast.PoissonMixture(2, **rates).fit(counts)
    parts = emfast.PoissonMixture(2, **rates).fit(in_batches(counts, (100,)))
    assert_same(parts, whole, ("weights_", "rates_"))


def test_levels_are_those_of_all_batches():
    rng = np.random.default_rng(6)
    n = 12_000
    kind = rng.random(n) < 0.4
    frame = pd.DataFrame({"letter": np.where(kind, rng.choice(["a", "b"], n), "c")})
    frame["number"] = rng.integers(0, 3, n) + kind
    frame["x"] = rng.normal(size=n) + 4 * kind
    frame.loc[:5, ["letter", "number"]] = ["b", 1]
    source = in_batches(frame, (3, 2000))
    model = emfast.CategoricalMixture(2, random_state=0)
    model.fit(in_batches(frame[["letter", "number"]], (3, 2000)))
    assert [levels.tolist() for levels in model.categories_] == [["a", "b", "c"], [0, 1, 2, 3]]
    emissions = [("c", Categorical(), ["letter", "number"]), ("g", Gaussian("diag"), ["x"])]
    mixed = emfast.Mixture(2, emissions=emissions, random_state=0).fit(source)
    assert mixed.categories_["c"][0].tolist() == ["a", "b", "c"]
    assert mixed.score(source) == pytest.approx(mixed.score(frame), rel=1e-12)
    assert_array_equal(mixed.predict(source), mixed.predict(frame))


def test_a_whole_fit_finds_what_a_fit_in_memory_finds():
    X = blobs(60_000)
    in_memory = emfast.GaussianMixture(2, random_state=0).fit(X)
    model = emfast.GaussianMixture(2, random_state=0, n_init=3).fit(in_batches(X))
    assert model.converged_
    assert model.lower_bound_ == pytest.approx(in_memory.lower_bound_, abs=1e-4)


def test_questions_to_a_fitted_model():
    X = blobs()
    model, source = started().fit(X), in_batches(X)
    assert_array_equal(model.predict(source), model.predict(X))
    assert_array_equal(model.predict_proba(source), model.predict_proba(X))
    assert_array_equal(model.score_samples(source), model.score_samples(X))
    weights = np.random.default_rng(7).random(len(X))
    for name in ("score", "bic", "aic", "icl"):
        ask = getattr(model, name)
        assert ask(source, sample_weight=weights) == pytest.approx(
            ask(X, sample_weight=weights), rel=1e-12
        )
    assert_array_equal(started().fit_predict(source), model.predict(X))


SEQUENCES = [np.random.default_rng(i).normal(size=(5 + 13 * i % 300, 2)) + i % 3 for i in range(90)]


def chain(**options):
    return emfast.GaussianHMM(
        3,
        covariance_type="diag",
        startprob_init=np.full(3, 1 / 3),
        transmat_init=np.full((3, 3), 1 / 3),
        means_init=[[0.0, 0], [1, 1], [2, 2]],
        covars_init=np.ones((3, 2)),
        max_iter=4,
        tol=0,
        **options,
    )


def test_sequences_in_batches():
    X, lengths = np.concatenate(SEQUENCES), [len(rows) for rows in SEQUENCES]
    weights = np.random.default_rng(8).uniform(0, 2, len(lengths))
    source = Batches(SEQUENCES[:7], SEQUENCES[7], SEQUENCES[8:60], SEQUENCES[60:])
    whole = chain().fit(X, lengths, sample_weight=weights)
    parts = chain().fit(source, sample_weight=weights)
    assert_same(parts, whole, ("startprob_", "transmat_", "means_", "covars_", "lower_bounds_"))
    assert parts.score(source) == pytest.approx(whole.score(X, lengths), rel=1e-12)
    assert_array_equal(parts.predict(source), whole.predict(X, lengths))
    assert_array_equal(parts.predict_proba(source), whole.predict_proba(X, lengths))
    with pytest.raises(ValueError, match="lengths: found lengths of sequences that come in"):
        chain().fit(source, lengths)


def test_a_whole_fit_of_sequences():
    source = Batches(SEQUENCES[:7], SEQUENCES[7:])
    model = emfast.GaussianHMM(3, covariance_type="diag", random_state=0, n_init=2).fit(source)
    assert sorted(np.rint(model.means_[:, 0])) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_of_few_long_sequences(tmp_path, monkeypatch, seed):
    # Of which the number of rows is known before they are read.
    monkeypatch.setattr("emfast.data.survey.SAMPLE_BYTES", 1000)
    X = blobs(100_000, 2)
    for i in range(2):
        np.save(tmp_path / f"{i}.npy", X[i::2])
    model = emfast.GaussianHMM(2, max_iter=1, tol=0, random_state=seed).fit(tmp_path)
    assert model.n_iter_ == 1


def test_parts_keep_enough_of_long_sequences():
    X, sequences = np.arange(40_000.0)[:, None], np.arange(0, 40_001, 10_000)
    for seed in range(20):
        whole, part = Reservoir(5000, 0, seed), None
        whole.add(Batch(X, sequences=sequences), 0)
        part = Reservoir(5000, 0, seed, whole.thresholds(5000))
        part.add(Batch(X, sequences=sequences), 0)
        assert_array_equal(part.content().X, whole.content().X)


def test_sequences_that_change_are_refused():
    first, second = blobs(80, 2)[:30], blobs(80, 2)[30:]
    whole = np.concatenate([first, second])
    for other in ([whole[:50], whole[50:]], [whole[:30], whole[30:50], whole[50:]]):
        passes = itertools.chain([[first, second]] * 2, itertools.repeat(other))
        with pytest.raises(ValueError, match="of other lengths than in an earlier pass"):
            chain().fit(lambda passes=passes: [next(passes)])


def test_regressions_in_batches():
    rng = np.random.default_rng(9)
    frame = pd.DataFrame(rng.normal(size=(9000, 2)), columns=["a", "b"])
    frame["y"] = np.where(rng.random(9000) < 0.4, 2 * frame["a"] + 1, -frame["b"])
    frame["y"] += 0.1 * rng.normal(size=9000)
    kwargs = {"coef_init": [[2.0, 0], [0, -1]], "intercept_init": [1.0, 0], "max_iter": 4, "tol": 0}
    kwargs |= {"noise_variances_init": [1.0, 1.0], "weights_init": [0.5, 0.5]}
    features, source = frame[["a", "b"]], in_batches(frame, (4, 5000))
    whole = emfast.LinearRegressionMixture(2, **kwargs).fit(features, frame["y"])
    parts = emfast.LinearRegressionMixture(2, **kwargs).fit(source, "y")
    assert_same(parts, whole, ("coef_", "intercept_", "noise_variances_", "lower_bounds_"))
    assert_array_equal(parts.predict(in_batches(features)), whole.predict(features))
    assert_array_equal(parts.score_samples(source, "y"), whole.score_samples(features, frame["y"]))
    gate = emfast.MixtureOfExperts(2, random_state=0).fit(source, "y")
    assert gate.lower_bound_ > whole.lower_bound_ - 0.1


def test_a_source_that_changes_is_refused():
    X = blobs(3000)

    class Changing:
        def __init__(self, *passes):
            self.passes, self.n = passes, 0

        def __iter__(self):
            self.n += 1
            return iter(self.passes[min(self.n, len(self.passes)) - 1])

    fit = emfast.GaussianMixture(2, random_state=0).fit
    with pytest.raises(ValueError, match="2900 rows"):
        fit(Changing([X], [X], [X[:2900]]))
    with pytest.raises(ValueError, match="3"):
        fit(Changing([X], [X], [X[:, :3]]))
    with pytest.raises(ValueError, match="float32"):
        fit(Changing([X], [X], [X.astype(np.float32)]))


BAD = {
    "width": ([np.zeros((9, 3)), np.zeros((9, 2))], "2"),
    "infinity": ([np.zeros((9, 3)), np.full((9, 3), np.inf)], "inf"),
    "dtype": ([np.zeros((9, 3)), np.zeros((9, 3), np.float32)], "float32"),
    "nothing": ([], "found no batch"),
    "no rows": ([np.zeros((0, 3))], "found no batch"),
    "one row": ([np.zeros((1, 3))], "n_samples = 1"),
}


@pytest.mark.parametrize("parts, said", BAD.values(), ids=BAD)
def test_bad_batches(parts, said):
    model = emfast.GaussianMixture(2)
    with pytest.raises(ValueError, match=said):
        model.fit(Batches(*parts))
    assert not hasattr(model, "n_features_in_")


@pytest.mark.parametrize("name", ["labels", "sample_weight"])
@pytest.mark.parametrize("n", [100, 3001])
def test_entries_that_are_not_as_many_as_rows(name, n):
    with pytest.raises(ValueError, match=f"{name}: found {n} entries"):
        emfast.GaussianMixture(2).fit(in_batches(blobs(3000), (10,)), **{name: np.ones(n, int)})


def of_kinds(*kinds):
    """Batches of rows of one after the other of these precisions."""
    return [Batch(np.ones((5, 2), kind)) for kind in kinds]


def test_batches_that_differ_in_kind():
    said = r"found rows .* = \(2, 'float32', 'dense'\) after rows of \(2, 'float64', 'dense'\)"
    with pytest.raises(ValueError, match=said):
        surveyed(lambda survey: iter(of_kinds(np.float64, np.float32)), Plan(0, 1, 0))


def test_batches_of_another_kind_than_in_an_earlier_pass():
    kinds = iter([np.float64, np.float32])
    source = surveyed(lambda survey: iter(of_kinds(next(kinds))), Plan(0, 1, 0))
    said = r"\(2, 'float32', 'dense'\), where an earlier pass found \(2, 'float64', 'dense'\)"
    with pytest.raises(ValueError, match=said):
        list(source.batches())


# What sources are made of


@pytest.mark.parametrize("n", range(1, 40))
def test_tree_adds_as_blocks_are_added(n):
    terms = np.random.default_rng(n).normal(size=n)
    tree = Tree()
    for term in terms:
        tree.add(term)
    step = 1
    while step < n:
        for block in range(0, n - step, 2 * step):
            terms[block] += terms[block + step]
        step *= 2
    assert tree.total() == terms[0]


@pytest.mark.parametrize("row_bytes", [1, 8, 2000, 100_000])
@pytest.mark.parametrize("sizes", [[5], [64, 64], [1] * 70, [1000, 3, 700, 64, 63, 1, 900]])
def test_batches_are_cut_again_where_they_may_begin(sizes, row_bytes):
    from emfast.data import Batch

    X = np.arange(sum(sizes), dtype=float)[:, None]
    parts = [Batch(rows) for rows in np.split(X, np.cumsum(sizes)[:-1])]
    found = [batch.X for batch in cut_again(parts, Multiples(64), row_bytes)]
    assert_array_equal(np.concatenate(found), X)
    assert all(len(rows) % 64 == 0 for rows in found[:-1])
    places = np.array([0, 3, 10, 64, sum(sizes)])
    places = np.unique(places[places <= sum(sizes)])
    found = [batch.X for batch in cut_again(parts, Listed(places), row_bytes)]
    assert_array_equal(np.concatenate(found), X)
    assert set(np.cumsum([len(rows) for rows in found])) <= set(places.tolist())


def test_samples_do_not_depend_on_how_rows_come():
    X = np.arange(5000.0)[:, None]
    labels = np.where(X[:, 0] < 30, X[:, 0].astype(int) % 2, -1).astype(np.int32)

    def sample(cuts, parts=1):
        reservoirs, first = [Reservoir(200, 2, 7) for _ in range(parts)], 0
        ends = [0, *cuts, 5000]
        for i, (a, b) in enumerate(itertools.pairwise(ends)):
            batch = Batch(X[a:b], labels=Labels(labels[a:b]))
            reservoirs[i * parts // (len(ends) - 1)].add(batch, first)
            first += b - a
        total = reservoirs[0]
        for other in reservoirs[1:]:
            total = total + other
        return total.content()

    whole = sample([])
    for cuts, parts in (([100], 1), (range(10, 5000, 10), 1), ([10, 20, 3000], 2)):
        other = sample(cuts, parts)
        assert_array_equal(other.X, whole.X)
        assert_array_equal(other.weights, whole.weights)
    # Labelled rows are there, and weigh less for it.
    assert (whole.labels.component >= 0).sum() == 30
    assert whole.weights.sum() == pytest.approx(200, rel=0.1)


def test_keys_are_uniform():
    keys = random_keys(3, np.arange(100_000)) / 2.0**64
    counts = np.histogram(keys, 50, (0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 100


def test_reading_ahead_ends_with_its_reader():
    closed = []

    def numbers():
        try:
            yield from range(100)
        finally:
            closed.append(True)

    ahead = read_ahead(numbers())
    assert [next(ahead) for _ in range(3)] == [0, 1, 2]
    ahead.close()
    assert closed == [True]
    assert list(read_ahead(iter(range(5)))) == list(range(5))

    def failing():
        yield 1
        raise OSError("gone")

    ahead = read_ahead(failing())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="gone"):
        next(ahead)


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "emfast-reader"]


def test_no_thread_is_left_where_an_error_holds_on_to_a_stream(monkeypatch):
    monkeypatch.setattr("emfast.data.ahead.PATIENCE", 0.01)
    X = np.random.default_rng(0).normal(size=(70_000, 2))
    labels = np.full(10 * len(X), -1)
    labels[:2] = 0, 1
    hmm = emfast.GaussianHMM(2, transmat_init=[[1.0, 0.0], [0.5, 0.5]], random_state=0)
    with pytest.raises(ValueError, match="row 1 ") as held:
        hmm.fit(lambda: ([X] for _ in range(10)), labels=labels)
    patience = time.monotonic() + 10
    while readers() and time.monotonic() < patience:
        time.sleep(0.01)
    assert held.value.__traceback__ is not None
    assert not readers()


def test_a_thread_that_nobody_waited_for_is_followed_by_another(monkeypatch):
    monkeypatch.setattr("emfast.data.ahead.PATIENCE", 0.001)
    made = []

    def numbers():
        for i in range(20):
            made.append(i)
            yield i

    found = []
    for i in read_ahead(numbers()):
        found.append(i)
        if i % 5 == 0:
            time.sleep(0.05)
            assert len(made) <= i + 3
    assert found == list(range(20))


def test_closing_does_not_wait_for_the_thread_to_lose_patience(monkeypatch):
    monkeypatch.setattr("emfast.data.ahead.PATIENCE", 60)
    items = read_ahead(iter(range(100)))
    assert next(items) == 0
    began = time.monotonic()
    items.close()
    assert time.monotonic() - began < 30
    assert not readers()
