"""What `import emfast` costs beyond scikit-learn."""

import subprocess
import sys

import pytest

import emfast

# What people need for pictures, tables, bars and the command line, and what is slow to import.
HEAVY = {
    "IPython",
    "dask",
    "distributed",
    "hypothesis",
    "matplotlib",
    "mpmath",
    "pandas",
    "polars",
    "pyarrow",
    "rich",
    "tqdm",
    "typer",
}
HEAVY_PARTS = {
    "emfast.cli",
    "emfast.plot",
    "sklearn.callback",
    "scipy.stats",
    "sklearn.cluster",
    "sklearn.ensemble",
    "sklearn.metrics",
    "sklearn.mixture",
    "sklearn.neighbors",
}
MOST_MODULES = 130


def imported(first, then):
    """The modules that `then` imports where `first` has been imported already."""
    script = (
        f"import sys; import {first}; before = set(sys.modules); import {then}\n"
        "print(*sorted(set(sys.modules) - before), sep='\\n')"
    )
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize("module", ["emfast", "emfast.datasets", "emfast.storage.persistence"])
def test_nothing_heavy_is_imported_that_scikit_learn_does_not_import_itself(module):
    """Under 150 ms, which a clock on a machine that has other work cannot tell."""
    own = imported("sklearn.base", module)
    assert "emfast.estimators.mixture" in own
    assert not {name.partition(".")[0] for name in own} & HEAVY
    assert not own & HEAVY_PARTS
    assert len(own) < MOST_MODULES


def test_modules_that_nothing_else_imports_are_there_when_asked_for():
    script = (
        "import emfast; emfast.plot.trace, emfast.datasets.load_faithful, emfast.landscape.paths"
    )
    subprocess.run([sys.executable, "-c", script], timeout=120, check=True)
    with pytest.raises(AttributeError, match="module 'emfast' has no attribute 'plots'"):
        emfast.plots  # noqa: B018
