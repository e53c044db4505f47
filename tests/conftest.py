"""Settings for every test."""

import os

# scikit-learn checks array input of other libraries only if this is set before SciPy is imported.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import signal

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Where tests run in the background of a shell, Ctrl-C would be ignored, which some of them test.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Examples are the same in every run, so that a failure is one for everybody.
# HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=12,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", deadline=None, max_examples=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(autouse=True)
def repeatable_draws():
    """Draws of `random_state=None` are the same in every run, so that a failure is one for all."""
    np.random.seed(0)  # noqa: NPY002 - the generator that scikit-learn takes for None
