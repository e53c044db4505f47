"""Fits and questions about rows of Dask, on a cluster of processes, which lose workers, too."""

import copy
import itertools
import os
import signal
import threading
import time
from functools import partial

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import distributed
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import emfast
from emfast.data import Batch
from emfast.data.reservoir import Reservoir
from emfast.data.sums import Nodes, Tree
from emfast.emissions import Bernoulli, Categorical, Gaussian
from emfast.inputs.labels import Labels

UNEVEN = (1, 700, 0, 299, 0, 1500, 500)


@pytest.fixture(scope="module", autouse=True)
def settings_of_dask():
    """As they were: a client that is lost would stay the scheduler of tests in other files."""
    before = copy.deepcopy(dask.config.config)
    yield
    dask.config.config.clear()
    dask.config.config.update(before)


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        yield cluster
        # A worker that begins as the cluster closes may end in an error of the last test.
        with distributed.Client(cluster) as client:
            wait_for_two(cluster, client)


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as client:
        wait_for_two(cluster, client)
        yield client


def wait_for_two(cluster, client):
    """Until there are two workers after a test that has killed or added some."""
    cluster.scale(2)
    try:
        client.wait_for_workers(2, timeout=30)
    except TimeoutError:
        # Dask may forget one that it was about to take away as it died.
        cluster.scale(0)
        cluster.scale(2)
        client.wait_for_workers(2, timeout=60)
    deadline = time.monotonic() + 30
    while len(client.nthreads()) > 2 and time.monotonic() < deadline:
        time.sleep(0.1)


def blobs(n=3000, D=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, D))
    X[rng.permutation(n)[: n // 3]] += 3
    return X


def started(**options):
    """A mixture whose start is given."""
    return emfast.GaussianMixture(
        2,
        means_init=[[0.0] * 3, [3.0] * 3],
        weights_init=[0.5, 0.5],
        covariances_init=[np.eye(3)] * 2,
        **{"max_iter": 8, "tol": 0} | options,
    )


NAMES = ("weights_", "means_", "covariances_", "lower_bounds_")


def assert_close(model, other, names=NAMES):
    for name in names:
        assert_allclose(getattr(model, name), getattr(other, name), rtol=1e-10, atol=1e-10)


def assert_same(model, other, names=NAMES):
    for name in names:
        assert_array_equal(getattr(model, name), getattr(other, name))


def in_chunks(X, chunks=UNEVEN):
    """An array of Dask, with empty chunks too."""
    ends = np.cumsum([0, *chunks])
    parts = [da.from_array(X[a:b], chunks=-1) for a, b in itertools.pairwise(ends)]
    return da.concatenate(parts)


def with_unknown_sizes(X, chunks=UNEVEN):
    delayed = [dask.delayed(part) for part in np.split(X, np.cumsum(chunks)[:-1])]
    shape = (np.nan, *X.shape[1:])
    return da.concatenate(
        [da.from_delayed(part, shape, X.dtype) for part in delayed], allow_unknown_chunksizes=True
    )


# The same answer as in memory


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fit_is_that_in_memory_and_repeats_to_the_bit(client, dtype):
    X = blobs().astype(dtype)
    rows = da.from_array(X, chunks=(50, -1))
    model = started().fit(rows)
    tolerance = 1e-10 if dtype == np.float64 else 1e-5
    for name in NAMES:
        ours, local = getattr(model, name), getattr(started().fit(X), name)
        assert_allclose(ours, local, rtol=tolerance, atol=tolerance)
    assert model.means_.dtype == dtype
    assert_same(started().fit(rows), model)
    # Wherever Dask has put them.
    assert_same(started().fit(rows.persist()), model)


@pytest.mark.parametrize(
    "chunked",
    [
        lambda X: in_chunks(X),
        lambda X: with_unknown_sizes(X),
        lambda X: da.from_array(X, chunks=-1),
        lambda X: da.from_array(X, chunks=(1000, 1)),
        lambda X: list(in_chunks(X).to_delayed().ravel()),
    ],
    ids=["uneven and empty", "unknown sizes", "one partition", "along features", "delayed"],
)
def test_chunks_of_any_kind(client, chunked):
    X = blobs()
    assert_close(started().fit(chunked(X)), started().fit(X))


def test_futures(client):
    X = blobs()
    futures = client.scatter([X[:1000], X[1000:]])
    assert_close(started().fit(futures), started().fit(X))


def test_starts_are_made_of_a_sample(client):
    X = blobs(20_000)
    rows = da.from_array(X, chunks=(1500, -1))
    options = {"n_components": 2, "n_init": 2, "random_state": 3}
    model = emfast.GaussianMixture(**options).fit(rows)
    local = emfast.GaussianMixture(**options).fit(X)
    # The same optimum, though the starts are not the same.
    assert model.lower_bound_ == pytest.approx(local.lower_bound_, abs=1e-3)
    assert_same(emfast.GaussianMixture(**options).fit(rows), model)


def test_missing_features_labels_weights_and_prior(client):
    X, rng = blobs(), np.random.default_rng(1)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:200] = np.nan_to_num(X[:200])
    labels = np.where(rng.random(3000) < 0.1, (np.nan_to_num(X[:, 0]) > 1.5).astype(int), -1)
    # So large that they are scaled.
    weights = rng.gamma(1.0, size=3000) * 1e200
    weights[5] = 0
    prior = {"weight_concentration_prior": 3.0, "mean_precision_prior": 1.0, "mean_prior": X[0]}
    local = started(prior=prior).fit(X, labels=labels, sample_weight=weights)
    chunks = (1000, 999, 1, 1000)
    as_dask = [in_chunks(each, chunks) for each in (X, labels, weights)]
    model = started(prior=prior).fit(as_dask[0], labels=as_dask[1], sample_weight=as_dask[2])
    assert_close(model, local)
    # What is in memory goes to where its rows are, whether these are known or not.
    for rows in (as_dask[0], with_unknown_sizes(X, chunks)):
        again = started(prior=prior).fit(rows, labels=labels, sample_weight=weights)
        assert_same(again, model)
    # Chunks of their own are cut again.
    whole = da.from_array(weights, chunks=-1)
    assert_same(started(prior=prior).fit(as_dask[0], labels=as_dask[1], sample_weight=whole), model)


def test_labels_that_are_names(client):
    X = blobs()
    names = np.where(np.arange(3000) % 7 == 0, np.where(X[:, 0] > 1.5, "high", "low"), None)
    names[1000:] = None
    local = emfast.GaussianMixture(2, random_state=0, max_iter=2, tol=0).fit(X, labels=names)
    model = emfast.GaussianMixture(2, random_state=0, max_iter=2, tol=0).fit(
        da.from_array(X, chunks=(500, -1)), labels=da.from_array(names, chunks=500)
    )
    assert model.classes_.tolist() == local.classes_.tolist() == ["high", "low"]
    assert_close(model, local)


@pytest.mark.parametrize("assignment", ["hard", "stochastic"])
def test_assignment_of_rows_as_a_whole(client, assignment):
    X = blobs()
    options = {"assignment": assignment, "random_state": 4}
    # Draws depend on the place of a row among all.
    assert_close(started(**options).fit(in_chunks(X)), started(**options).fit(X))


def table(n=3000, seed=2):
    rng = np.random.default_rng(seed)
    kind = rng.random(n) < 0.4
    return pd.DataFrame(
        {
            "x": rng.normal(size=n) + 3 * kind,
            "smokes": (rng.random(n) < np.where(kind, 0.8, 0.2)).astype(int),
            "city": np.where(kind, "Rome", "Oslo"),
            "weight": rng.uniform(1, 2, n),
            "group": np.where(rng.random(n) < 0.1, kind.astype(int), -1),
        }
    )


def mixed(**options):
    parts = [
        ("x", Gaussian("diag"), ["x"]),
        ("smokes", Bernoulli(), ["smokes"]),
        ("city", Categorical(), ["city"]),
    ]
    given = {
        "x.means": [[0.0], [3.0]],
        "x.covariances": [[1.0], [1.0]],
        "smokes.probabilities": [[0.2], [0.8]],
        "city.probabilities": [[[0.8, 0.2], [0.3, 0.7]]],
    }
    return emfast.Mixture(
        2, parts, emissions_init=given, weights_init="equal", max_iter=5, tol=0, **options
    )


def test_columns_of_a_data_frame(client):
    # The last partition alone has a level.
    frame = table()
    frame.loc[2999, "city"] = "Bern"
    given = {"labels": "group", "sample_weight": "weight"}
    parted = dd.from_pandas(frame, npartitions=4)
    parts = [("x", Gaussian("diag"), ["x"]), ("city", Categorical(), ["city"])]
    options = {"random_state": 0, "max_iter": 5, "tol": 0}
    model = emfast.Mixture(2, parts, **options).fit(parted, **given)
    local = emfast.Mixture(2, parts, **options).fit(frame, **given)
    assert model.categories_["city"][0].tolist() == ["Bern", "Oslo", "Rome"]
    assert model.feature_names_in_.tolist() == local.feature_names_in_.tolist()
    assert_close(model, local, ("weights_", "lower_bounds_"))
    local_rows = frame[["x", "smokes", "city"]]
    assert_array_equal(model.predict(parted).compute(), model.predict(local_rows))


def test_columns_of_several_kinds(client):
    frame = table()[["x", "smokes", "city"]]
    model, local = mixed().fit(dd.from_pandas(frame, npartitions=3)), mixed().fit(frame)
    assert_close(model, local, ("weights_", "lower_bounds_"))


@pytest.mark.parametrize(
    ("model", "rows"),
    [
        (emfast.BernoulliMixture, lambda rng: (rng.random((2000, 5)) < 0.4).astype(np.uint8)),
        (partial(emfast.BinomialMixture, n_trials=6), lambda rng: rng.binomial(6, 0.4, (2000, 3))),
        (emfast.PoissonMixture, lambda rng: rng.poisson(3.0, (2000, 3))),
        (emfast.CategoricalMixture, lambda rng: rng.integers(0, 4, (2000, 3))),
    ],
)
def test_counts_and_categories(client, model, rows):
    X = rows(np.random.default_rng(0))
    options = {"n_components": 2, "random_state": 1, "max_iter": 3, "tol": 0}
    ours = model(**options).fit(da.from_array(X, chunks=(300, -1)))
    assert_close(ours, model(**options).fit(X), ("weights_", "lower_bounds_"))


def test_sequences_of_a_bag(client):
    rng = np.random.default_rng(0)
    X = blobs(4000, 2)
    lengths = rng.multinomial(4000, [1 / 40] * 40)
    sequences = np.split(X, np.cumsum(lengths)[:-1])
    bag = db.from_sequence(sequences, npartitions=7)
    weights = rng.uniform(0.5, 2, 40)
    options = {
        "startprob_init": [0.5, 0.5],
        "transmat_init": [[0.7, 0.3], [0.3, 0.7]],
        "means_init": [[0.0, 0.0], [3.0, 3.0]],
        "covars_init": [np.eye(2)] * 2,
        "covariance_type": "full",
        "max_iter": 6,
        "tol": 0,
    }
    local = emfast.GaussianHMM(2, **options).fit(X, lengths, sample_weight=weights)
    model = emfast.GaussianHMM(2, **options).fit(bag, sample_weight=weights)
    assert_close(model, local, ("startprob_", "transmat_", "means_", "covars_", "lower_bounds_"))
    assert_same(
        emfast.GaussianHMM(2, **options).fit(
            bag, sample_weight=db.from_sequence(weights.tolist(), npartitions=7)
        ),
        model,
        ("startprob_", "transmat_", "means_", "covars_"),
    )
    assert_array_equal(model.predict(bag).compute(), model.predict(X, lengths))
    assert model.score(bag) == pytest.approx(model.score(X, lengths), rel=1e-12)
    for algorithm in ("viterbi", "map"):
        ours, states = model.decode(bag, algorithm=algorithm)
        expected, local_states = model.decode(X, lengths, algorithm=algorithm)
        assert ours == pytest.approx(expected, rel=1e-12)
        assert_array_equal(np.asarray(states), local_states)
    with pytest.raises(ValueError, match="lengths: found lengths"):
        model.predict(bag, lengths)


def test_regression_of_a_target_that_dask_has(client):
    X, rng = blobs(2000), np.random.default_rng(3)
    y = np.where(rng.random(2000) < 0.5, X @ [1.0, 2.0, 0.0], 5 - X[:, 0]) + rng.normal(size=2000)
    options = {
        "n_components": 2,
        "coef_init": [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]],
        "intercept_init": [0.0, 4.0],
        "noise_variances_init": [1.0, 1.0],
        "weights_init": "equal",
        "max_iter": 5,
        "tol": 0,
    }
    rows, target = in_chunks(X, (500, 1500)), in_chunks(y, (500, 1500))
    model = emfast.LinearRegressionMixture(**options).fit(rows, target)
    local = emfast.LinearRegressionMixture(**options).fit(X, y)
    assert_close(model, local, ("weights_", "coef_", "intercept_", "lower_bounds_"))
    assert_allclose(model.predict(rows).compute(), model.predict(X))
    assert model.bic(rows, target) == pytest.approx(model.bic(X, y), rel=1e-12)


# Questions


@pytest.mark.parametrize("chunked", [in_chunks, with_unknown_sizes])
def test_answers_are_lazy_and_have_the_chunks_of_the_rows(client, chunked):
    X = blobs().astype(np.float32)
    model, rows = started().fit(X), chunked(X)
    for method in ("predict", "predict_proba", "score_samples"):
        ours, local = getattr(model, method)(rows), getattr(model, method)(X)
        assert isinstance(ours, da.Array)
        assert np.array_equal(ours.chunks[0], rows.chunks[0], equal_nan=True)
        assert ours.dtype == local.dtype
        assert_array_equal(ours.compute(), local)
    assert_array_equal(started().fit_predict(rows).compute(), started().fit_predict(X))


def test_scores_are_summed_where_rows_are(client):
    X, rng = blobs(), np.random.default_rng(0)
    model, rows = started().fit(X), in_chunks(X)
    weights = rng.uniform(1, 2, 3000)
    labels = np.where(X[:, 0] > 3, 1, -1)
    for given in ({}, {"sample_weight": weights}, {"sample_weight": in_chunks(weights)}):
        local = {name: np.asarray(value) for name, value in given.items()}
        for method in ("score", "bic", "aic", "icl"):
            ours, expected = (
                getattr(model, method)(rows, **given),
                getattr(model, method)(X, **local),
            )
            assert ours == pytest.approx(expected, rel=1e-12)
    assert model.score(rows, labels=labels) == pytest.approx(model.score(X, labels=labels))
    with pytest.raises(ValueError, match="sample_weight: found 7 entries; expected one for each"):
        model.score(rows, sample_weight=weights[:7])


def test_statistics_are_summed_where_rows_are(client):
    X, weights = blobs(), np.random.default_rng(0).uniform(1, 2, 3000)
    model = started().fit(X)
    ours = model.summarize(in_chunks(X), sample_weight=in_chunks(weights))
    expected = model.summarize(X, sample_weight=weights)
    assert_allclose(ours.counts, expected.counts, rtol=1e-12)
    assert ours.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-12)
    assert_close(started().fit(X).update(ours), started().fit(X).update(expected))
    # Some partitions have no weight, and add nothing.
    weights[500:2000] = 0
    ours = model.summarize(in_chunks(X), sample_weight=in_chunks(weights))
    assert ours.weight == pytest.approx(weights.sum(), rel=1e-12)
    with pytest.raises(ValueError, match="X: found no row in any partition"):
        model.score(in_chunks(X)[:0])


def test_partitions_are_blocks_of_incremental_fits(client):
    X = blobs(3200)
    local = started(incremental=True, max_iter=4).fit(X)
    assert_close(started(incremental=True, max_iter=4).fit(da.from_array(X, (100, -1))), local)


def test_batch_after_batch(client):
    X = blobs()
    local, model = started(), started()
    for rows in (X[:1500], X[1500:]):
        local.partial_fit(rows)
        model.partial_fit(da.from_array(rows, (400, -1)))
    assert_close(model, local, NAMES[:3])


def test_fit_goes_on_from_its_checkpoint(client, tmp_path):
    rows, path = da.from_array(blobs(), (500, -1)), tmp_path / "fit"
    started(checkpoint=path, callback=lambda iteration: iteration.number == 3).fit(rows)
    assert_same(started(checkpoint=path).fit(rows), started().fit(rows))


def test_without_a_client_rows_are_a_stream():
    X = blobs()
    rows = in_chunks(X)
    model = started().fit(rows)
    assert_same(model, started().fit(X))
    assert_array_equal(model.predict(rows).compute(), model.predict(X))
    assert model.score(rows) == pytest.approx(model.score(X), rel=1e-12)


# Where things are


def test_rows_that_are_on_workers_stay_there(client, monkeypatch):
    from emfast.data import distributed as ours

    X, found = blobs(), []
    rows = da.from_array(X, chunks=(100, -1)).persist()
    distributed.wait(rows)
    of_rows = {
        future.key[1]: client.who_has([future])[future.key]
        for future in distributed.futures_of(rows)
    }
    total = ours.Asked.total

    def watched(self, *args):
        found.extend(self.batches.cluster.holders(self.batches.futures))
        return total(self, *args)

    monkeypatch.setattr(ours.Asked, "total", watched)
    started(max_iter=1).fit(rows)
    assert [sorted(each) for each in found[:30]] == [sorted(of_rows[i]) for i in range(30)]


def test_neighbours_go_to_the_same_worker(client, monkeypatch):
    from emfast.data import distributed as ours

    places, total = [], ours.Asked.total

    def watched(self, *args):
        places.append([which for _, which in self.batches.places()])
        return total(self, *args)

    monkeypatch.setattr(ours.Asked, "total", watched)
    started(max_iter=1).fit(da.from_array(blobs(), chunks=(100, -1)))
    assert places[0] == [list(range(15)), list(range(15, 30))]


def test_passes_use_the_threads_of_the_worker(cluster, monkeypatch):
    from emfast.passes import Expectation

    threads, sums = [], Expectation.sums

    def watched(self, batch, first_row=0):
        threads.append(self.n_threads)
        return sums(self, batch, first_row)

    monkeypatch.setattr(Expectation, "sums", watched)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=3, processes=False, dashboard_address=":0"
        ) as own,
        distributed.Client(own),
    ):
        model = started(n_threads=1, max_iter=1).fit(in_chunks(blobs(), (1500, 1500)))
    # Workers are in this process here; the last pass is over both partitions.
    assert threads[-2:] == [3, 3]
    assert_close(model, started(max_iter=1).fit(blobs()))


def test_the_model_travels_once_in_an_iteration(client, monkeypatch):
    from emfast.data.cluster import Cluster

    held, hold = [], Cluster.hold

    def watched(self, value):
        held.append(type(value).__name__)
        return hold(self, value)

    monkeypatch.setattr(Cluster, "hold", watched)
    started(max_iter=5).fit(da.from_array(blobs(), chunks=(100, -1)))
    # One for each E-step, and what is constant.
    assert held.count("Expectation") <= 7
    assert len(held) - held.count("Expectation") <= 3


# Faults


def kill_a_worker(client):
    pids = sorted(client.run(os.getpid).values())
    os.kill(pids[0], signal.SIGKILL)


@pytest.mark.parametrize("persisted", [False, True])
def test_a_worker_is_killed_in_the_middle_of_a_fit(client, persisted):
    X = blobs()
    rows = da.from_array(X, chunks=(100, -1))
    rows = rows.persist() if persisted else rows
    distributed.wait(rows)
    undisturbed = started().fit(rows)
    model = started(
        callback=lambda iteration: kill_a_worker(client) if iteration.number == 3 else None
    ).fit(rows)
    assert_same(model, undisturbed)
    assert_close(model, started().fit(X))


def test_a_worker_is_killed_while_it_computes(client):
    X = blobs()

    def slow(part):
        time.sleep(0.05)
        return part

    rows = da.from_array(X, chunks=(200, -1)).map_blocks(slow, dtype=X.dtype)
    timer = threading.Timer(0.3, kill_a_worker, [client])
    timer.start()
    model = started().fit(rows)
    timer.join()
    assert_close(model, started().fit(X))


def test_all_workers_are_killed(client):
    rows = da.from_array(blobs(), chunks=(500, -1))

    def kill_all(iteration):
        if iteration.number == 2:
            for pid in client.run(os.getpid).values():
                os.kill(pid, signal.SIGKILL)

    assert_same(started(callback=kill_all).fit(rows), started().fit(rows))


def test_a_worker_is_added_and_taken_away(cluster, client):
    rows = da.from_array(blobs(), chunks=(100, -1))

    def scale(iteration):
        if iteration.number == 2:
            cluster.scale(3)
            client.wait_for_workers(3)
        if iteration.number == 5:
            cluster.scale(2)

    model = started(callback=scale).fit(rows)
    assert_same(model, started().fit(rows))


def test_a_worker_has_no_rows(client):
    X = blobs()
    rows = da.from_array(X, chunks=-1)
    assert_close(started().fit(rows), started().fit(X))


def test_only_copy_of_rows_is_lost(client):
    futures = client.scatter(np.split(blobs(), 10))

    def kill(iteration):
        if iteration.number == 2:
            kill_a_worker(client)

    with pytest.raises(RuntimeError, match="Dask: a result was cancelled"):
        started(callback=kill).fit(futures)


def test_client_is_closed(cluster):
    X = blobs()
    with distributed.Client(cluster) as client:
        rows = da.from_array(X, chunks=(1000, -1)).persist()
        distributed.wait(rows)
        model = started(callback=lambda iteration: client.close())
        with pytest.raises(RuntimeError, match="Dask: found the client closed"):
            model.fit(rows)
        assert not hasattr(model, "means_")
    fitted = started().fit(X)
    for ask in (started().fit, fitted.predict, fitted.score):
        with pytest.raises(RuntimeError, match="Dask: the data are on a cluster"):
            ask(rows)


# Bad input


def test_bad_collections(client):
    X = blobs()
    rows = in_chunks(X)
    with pytest.raises(ValueError, match="X: found a Dask array of 1 dimensions; expected two"):
        started().fit(rows[:, 0])
    with pytest.raises(ValueError, match="labels: found 2 partitions; expected those of X"):
        started().fit(
            dd.from_pandas(pd.DataFrame(X), npartitions=5), labels=da.zeros(3000, chunks=1500)
        )
    with pytest.raises(ValueError, match="sample_weight: found 2999 entries; expected one"):
        started().fit(rows, sample_weight=da.ones(2999))
    with pytest.raises(ValueError, match="sample_weight: found 2999 entries; expected one"):
        started().fit(rows, sample_weight=np.ones(2999))
    with pytest.raises(ValueError, match="partition 1: found 499 entries"):
        started().fit(
            with_unknown_sizes(X, (2500, 500)),
            labels=with_unknown_sizes(np.zeros(2999, int), (2500, 499)),
        )
    with pytest.raises(TypeError, match=r"X: found a Delayed.*; expected a Dask array"):
        started().fit(dask.delayed(X))
    with pytest.raises(ValueError, match="there is no column 'no'"):
        started().fit(
            dd.from_pandas(pd.DataFrame(X, columns=list("abc")), npartitions=2), labels="no"
        )


def test_bad_partitions_are_named(client):
    X = blobs(300)

    def delayed(*parts):
        return [dask.delayed(part) for part in parts]

    with pytest.raises(ValueError, match=r"X has 2 features, but .* 3 .*\(in partition 2\)"):
        started().fit(delayed(X, X, X[:, :2]))
    with pytest.raises(ValueError, match=r"float32.* in partition 1, and of .*float64"):
        started().fit(delayed(X, X.astype(np.float32)))
    bad = X.copy()
    bad[5, 1] = np.inf
    with pytest.raises(ValueError, match=r"infinity.*\(in partition 1\)"):
        started().fit(delayed(X, bad))
    with pytest.raises(ValueError, match="expected 1 row at least"):
        started().fit(delayed(X[:0], X[:0]))
    with pytest.raises(ValueError, match=r"sample_weight.*partition 1"):
        started().fit(delayed(X, X), sample_weight=delayed(np.ones(300), -np.ones(300)))


def test_impossible_row_is_named_by_its_place_in_all_rows(client):
    X = np.zeros((300, 2), np.uint8)
    X[250] = 1
    model = emfast.BernoulliMixture(1, probabilities_init=[[0.0, 0.0]], fixed=["probabilities"])
    with pytest.raises(ValueError, match="row 250 has zero likelihood"):
        model.fit(da.from_array(X, chunks=(100, -1)))


# What adds


@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 100])
def test_sums_of_parts_have_the_bits_of_the_tree(n):
    rng = np.random.default_rng(n)
    terms, tree = rng.normal(size=(n, 5)) * 10.0 ** rng.integers(-8, 8, (n, 1)), Tree()
    for term in terms:
        tree.add(term)
    for n_workers in (1, 2, 5):
        parts = [Nodes() for _ in range(n_workers)]
        for place in rng.permutation(n):
            parts[rng.integers(n_workers)].add(int(place), terms[place])
        total = sum((parts[i] for i in rng.permutation(n_workers)), start=Nodes())
        assert_array_equal(total.total(), tree.total())


def test_neighbours_are_few_nodes():
    nodes = Nodes()
    for place in range(21, 83):
        nodes.add(place, 1.0)
    assert len(nodes) <= 2 * np.log2(83)


@pytest.mark.parametrize("in_sequences", [False, True])
def test_samples_of_parts_that_keep_little(in_sequences):
    X = np.arange(20_000.0)[:, None]
    labels = np.where(X[:, 0] % 500 == 0, X[:, 0].astype(int) // 500 % 2, -1).astype(np.int32)
    parts = [
        Batch(
            X[a : a + 2000],
            labels=Labels(labels[a : a + 2000]),
            sequences=np.arange(0, 2001, 20) if in_sequences else None,
        )
        for a in range(0, 20_000, 2000)
    ]

    def reservoir(capacity, thresholds=None):
        return Reservoir(capacity, 2, 5, thresholds)

    def kept(thresholds):
        found = [reservoir(1000, thresholds) for _ in parts]
        for i, (sample, batch) in enumerate(zip(found, parts, strict=True)):
            sample.add(batch, i * 1_000_000)
        return found, sum(found[1:], start=found[0]).content()

    counted = [reservoir(1, [0, 0, 0]) for _ in parts]
    for i, (sample, batch) in enumerate(zip(counted, parts, strict=True)):
        sample.add(batch, i * 1_000_000)
    thresholds = sum(counted[1:], start=counted[0]).thresholds(1000)
    some, sample = kept(thresholds)
    everything = kept(None)[1]
    assert_array_equal(sample.X, everything.X)
    assert_array_equal(sample.weights, everything.weights)
    # A quarter more than their share, and what forty keys may have.
    most = 1250 + 40 * (20 if in_sequences else 1)
    assert sum(each._all._n_rows for each in some) < 1.2 * most
