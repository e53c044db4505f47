"""Laws hold for few rows as they do for many."""

import pytest

from emfast.emissions import gaussian


@pytest.fixture(scope="module", autouse=True)
def as_for_many_rows():
    """Passes leave out what they leave out of many rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gaussian, "LEAST_SCATTER", 0)
        yield
