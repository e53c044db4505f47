import pytest

from gaussians import blobs


@pytest.fixture(scope="module")
def X():
    return blobs()
