"""What `import emfast` costs beyond scikit-learn."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

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
MOST_MODULES = 135


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


def imported_first(path):
    """The modules and packages that a module imports while it is imported itself."""
    for line in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(line, ast.Import):
            yield from (each.name for each in line.names)
        elif isinstance(line, ast.ImportFrom):
            yield line.module
            yield from (f"{line.module}.{each.name}" for each in line.names)


def test_modules_import_each_other_in_one_direction():
    """The package itself, which imports all of them, aside."""
    root = Path(emfast.__file__).parent
    modules = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root.parent).with_suffix("").parts
        modules[".".join(parts).removesuffix(".__init__")] = path
    del modules["emfast"]
    assert len(modules) > 100
    found = {name: modules.keys() & set(imported_first(path)) for name, path in modules.items()}
    assert "emfast.em" in found["emfast.estimators.base.estimator"]
    TopologicalSorter(found).prepare()
