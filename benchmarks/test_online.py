"""What `online.py` counts."""

import numpy as np

import online


def test_incremental_em_needs_fewer_passes_where_components_overlap():
    name, X, estimator = next(iter(online.workloads(3_000)))
    assert name == "diag 8 overlapping"
    scores = {way: online.path_of(way, X, estimator)[0] for way in ("batch", "incremental")}
    best = max(max(path) for path in scores.values())
    counts = {way: online.passes(path, best, 1e-2, 1) for way, path in scores.items()}
    assert counts["incremental"] < counts["batch"]


def test_passes():
    assert online.passes([1.0, 2.0, 2.95], 3.0, 0.1, 1) == 4
    assert online.passes([1.0, 2.0], 3.0, 0.1, 1) is None


def test_there_are_so_many_workloads():
    assert len(list(online.workloads(200))) == online.N_WORKLOADS
    assert np.isfinite(list(online.workloads(200))[-1][1]).all()
