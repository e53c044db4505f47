"""What tests of sources share."""

import pytest


@pytest.fixture
def here():
    """Arrays of Dask that are computed in this process, whatever client other tests had."""
    dask = pytest.importorskip("dask")
    da = pytest.importorskip("dask.array")
    with dask.config.set(scheduler="synchronous"):
        yield da
