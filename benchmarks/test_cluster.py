"""Simulated iterations on a cluster beside the closed form, and sizes of messages."""

from dataclasses import replace

import numpy as np
import pytest

import emcore
from cluster import (
    Cluster,
    Job,
    best_workers,
    closed_form,
    costs_of_a_worker,
    first_to_break,
    simulate,
    usable_cores,
)
from cluster_model import Case, measure_case, row_bytes, sums_numbers
from iterations import problem_of
from workloads import FAMILIES, Workload

WORKERS = [1, 2, 3, 7, 8, 64, 100, 1000]
JOB = Job(
    rows=1e9,
    row_seconds=5e-8,
    pass_seconds=2e-3,
    statistics_bytes=1e3,
    parameters_bytes=1e3,
    pack_seconds=3e-4,
    add_seconds=0.0,
    mstep_seconds=5e-3,
)
# What each worker more costs, in seconds of a link of 1.25 GB/s: nothing, more than all else.
LIMITS = {
    "scheduler": JOB,
    "parameters": replace(JOB, parameters_bytes=5e6, statistics_bytes=2e6),
    "statistics": replace(JOB, parameters_bytes=2e6, statistics_bytes=5e6),
    "additions": replace(JOB, statistics_bytes=2e6, add_seconds=4e-3),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_first_to_break(limit):
    assert first_to_break(LIMITS[limit], Cluster(10)) == limit


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("limit", ["scheduler", "parameters", "statistics"])
def test_formula_is_what_is_simulated_where_the_client_adds(limit, workers):
    cluster = Cluster(workers)
    simulated = simulate(LIMITS[limit], cluster)
    assert simulated.seconds == pytest.approx(closed_form(LIMITS[limit], cluster), rel=1e-12)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("add_seconds", [1e-5, 1e-3, 1e-1])
@pytest.mark.parametrize("limit", LIMITS)
def test_formula_counts_at_most_the_levels_of_additions_too_often(limit, add_seconds, workers):
    job, cluster = replace(LIMITS[limit], add_seconds=add_seconds), Cluster(workers)
    excess = closed_form(job, cluster) - simulate(job, cluster).seconds
    assert -1e-9 <= excess <= add_seconds * np.log2(2 * workers) + 1e-9


@pytest.mark.parametrize(("workers", "fan_in"), [(2, 2), (64, 2), (8, 8), (64, 8), (512, 8)])
@pytest.mark.parametrize("limit", LIMITS)
def test_formula_is_what_is_simulated_where_workers_add(limit, workers, fan_in):
    cluster = Cluster(workers, fan_in=fan_in, task_seconds=0.0)
    simulated = simulate(LIMITS[limit], cluster)
    assert simulated.seconds == pytest.approx(closed_form(LIMITS[limit], cluster), rel=1e-12)


@pytest.mark.parametrize("workers", [*WORKERS, 999])
@pytest.mark.parametrize("fan_in", [2, 8])
@pytest.mark.parametrize("limit", LIMITS)
def test_formula_is_near_where_workers_add_and_the_scheduler_is_asked(limit, fan_in, workers):
    cluster = Cluster(workers, fan_in=fan_in)
    ratio = simulate(LIMITS[limit], cluster).seconds / closed_form(LIMITS[limit], cluster)
    assert 0.85 < ratio < 1.1


def test_every_worker_waits_for_parameters_and_statistics_for_the_link():
    # 1 s for a message either way, and nothing else: the last of 5 has its parameters after 5 s,
    # and the link is never free from 1 s on.
    job = Job(0.0, 0.0, 0.0, 1.25e9, 1.25e9, 0.0, 0.0, 0.0)
    assert simulate(job, Cluster(5, latency=0, task_seconds=0)).seconds == pytest.approx(6)


def test_the_mean_delay_of_the_slowest_worker():
    job = replace(JOB, pass_seconds=0.0, rows=1e6)
    cluster = Cluster(10, latency=0, task_seconds=0, spread=0.5, bandwidth=1e15)
    generator = np.random.default_rng(0)
    compute = job.rows * job.row_seconds / (10 * cluster.cores)
    slowest = [simulate(job, cluster, generator).slowest_seconds for _ in range(2000)]
    expected = compute * (1 + 0.5 * sum(1 / i for i in range(1, 11)))
    assert np.mean(slowest) == pytest.approx(expected, rel=0.02)
    assert closed_form(job, cluster) == pytest.approx(
        expected + job.pack_seconds + job.mstep_seconds, rel=1e-6
    )


def test_the_best_number_of_workers():
    for limit, job in LIMITS.items():
        best = round(best_workers(job, Cluster(1)))
        cost = costs_of_a_worker(job, Cluster(1))[limit]
        assert best * cost == pytest.approx(job.rows * job.row_seconds / 16 / best, rel=0.05)
        there = simulate(job, Cluster(best)).seconds
        assert there < 0.9 * simulate(job, Cluster(best // 2)).seconds
        assert there < 0.9 * simulate(job, Cluster(best * 2)).seconds


def test_memory_of_the_client():
    in_order = simulate(LIMITS["statistics"], Cluster(64))
    assert in_order.held == 7
    slow_to_add = simulate(replace(JOB, add_seconds=1.0), Cluster(64))
    assert slow_to_add.held > 50


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("D", "K"), [(16, 8), (100, 30), (256, 64)])
def test_cores_that_have_a_block_are_as_many_as_the_kernels_make(family, D, K):
    workload = Workload(family, 4 * max(D, K), D, K, separation=0.0)
    X = workload.rows()
    problem, model = problem_of(workload, X, workload.start(X), 1)
    kernels = emcore.kernels("float64")
    latent = problem.latent.kernel(model.latent, kernels, problem.source.batch)
    emission = problem.emission.kernel(model.emission, model.latent, kernels)
    if family != "tied":
        # Where the scatter is not known beforehand, it is summed, too.
        assert kernels.partial_size(latent, emission) == sums_numbers(family, D, K)
    sums_bytes = 8 * kernels.partial_size(latent, emission)
    for n_rows in (1_000_000, 100_000_000):
        made = -(-n_rows // kernels.block_rows(latent, emission, n_rows))
        job = replace(JOB, rows=n_rows, row_bytes=row_bytes(family, D), sums_bytes=sums_bytes)
        # Blocks have whole tiles, which makes them somewhat larger.
        usable = usable_cores(job, Cluster(1, cores=10**6))
        assert usable == pytest.approx(made, rel=0.1, abs=1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("D", "K"), [(16, 8), (31, 5)])
def test_messages_are_as_large_as_their_numbers(family, D, K):
    # So many rows that the scatter of tied covariances is known beforehand.
    work = 2 * 8 * K * D * D * 1e3
    measured = measure_case(Case(family, D, K, 1e6), work, 0.0, "float64")
    for name in ("statistics", "parameters"):
        # Names of classes, shapes and types.
        beside = measured["job"][f"{name}_bytes"] - measured[f"expected_{name}_bytes"]
        assert 0 < beside < 1500, name
