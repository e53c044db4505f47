"""What importing and running the kernels does to the process around them."""

import os
import subprocess
import sys

import pytest

import emcore


def run(script, timeout=120, **environment):
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | environment,
        check=False,
    )


IMPORT_EVERYTHING = """
import sys
from importlib import import_module
import numpy as np
import emcore
for name in emcore.runnable_instruction_sets():
    for precision in ("float32", "float64"):
        kernels = import_module(f"emcore._{name}_{precision}")
        out = np.zeros(3, precision)
        kernels.lane_exp(np.ones(3, precision), out)
from emfast import GaussianMixture
X = np.random.default_rng(0).normal(size=(3000, 2))
GaussianMixture(2, max_iter=1, tol=0, n_threads=2).fit(X)
assert sys.float_info.min / 2 != 0
tiny = np.finfo(np.float32).tiny
assert np.float32(tiny) / np.float32(2) != 0
assert (np.full(64, sys.float_info.min) / 2).all()
print("subnormal numbers are kept")
"""


def test_subnormal_numbers_survive():
    """-ffast-math in a shared library would flush them to zero in the whole process."""
    result = run(IMPORT_EVERYTHING)
    assert result.stdout == "subnormal numbers are kept\n", result.stderr


@pytest.mark.parametrize("name", emcore.runnable_instruction_sets())
def test_variable_chooses_the_instruction_set(name):
    script = "import emcore; print(emcore.instruction_set, emcore.kernels('float32').__name__)"
    result = run(script, **{emcore.INSTRUCTION_SET_VARIABLE: name})
    assert result.stdout.split() == [name, f"emcore._{name}_float32"], result.stderr


AT_THE_END_OF_MEMORY = """
import ctypes, mmap, sys
import numpy as np
from emfast import GaussianMixture
page = mmap.PAGESIZE
pages = mmap.mmap(-1, 64 * page)
whole = np.frombuffer(pages, np.uint8)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mprotect(ctypes.c_void_p(whole.ctypes.data + 63 * page), page, 0) == 0
rng = np.random.default_rng(0)
for D in range(1, 35):
    for dtype in ("float32", "float64"):
        # Whole vectors, the last of which ends with the last row.
        X = rng.normal(size=(208, D)).astype(dtype)
        last = whole[63 * page - X.nbytes : 63 * page].view(dtype).reshape(X.shape)
        last[:] = X
        for kind in ("diag", "spherical"):
            found = [
                GaussianMixture(2, covariance_type=kind, random_state=0, max_iter=2, tol=0)
                .fit(rows)
                .means_
                for rows in (X, last, X[::-1], last[::-1])
            ]
            np.testing.assert_array_equal(found[0], found[1])
            np.testing.assert_array_equal(found[2], found[3])
print("read to the end")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect of the C library")
@pytest.mark.parametrize("name", emcore.runnable_instruction_sets())
def test_nothing_is_read_beyond_the_last_row(name):
    result = run(AT_THE_END_OF_MEMORY, **{emcore.INSTRUCTION_SET_VARIABLE: name})
    assert result.stdout == "read to the end\n", result.stderr[-2000:]


def test_empty_variable_is_no_choice():
    result = run("import emcore; print(emcore.instruction_set)", EMFAST_INSTRUCTION_SET="")
    assert result.stdout.split() == [emcore.runnable_instruction_sets()[0]], result.stderr


@pytest.mark.parametrize("wrong", ["x86_64_v9", "AVX2", "plain "])
def test_wrong_variable_is_a_clear_error(wrong):
    result = run("import emcore; emcore.kernels('float64')", EMFAST_INSTRUCTION_SET=wrong)
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: EMFAST_INSTRUCTION_SET={wrong!r}")
    for name in emcore.runnable_instruction_sets():
        assert name in last


def test_instruction_sets_come_best_first():
    names = emcore.runnable_instruction_sets()
    assert names
    assert names == [name for name in emcore.INSTRUCTION_SETS if name in names]


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

FORK = """
import multiprocessing, sys
import numpy as np
from emfast import GaussianMixture

X = np.random.default_rng(0).normal(size=(5000, 4))
X[:2500] += 3

def fit():
    mixture = GaussianMixture(2, init_params={init!r}, random_state=0, n_threads=2, **{start!r})
    return mixture.fit(X).lower_bound_

def child(queue):
    queue.put((fit(), fit()))

here = fit()
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=child, args=(queue,))
process.start()
process.join({seconds})
if process.exitcode is None:
    process.kill()
    sys.exit("the child hangs")
assert queue.get(timeout=5) == (here, here)
print("same fit")
"""
START = {
    "weights_init": [0.5, 0.5],
    "means_init": [[0.0] * 4, [3.0] * 4],
    "covariances_init": [[[float(i == j) for i in range(4)] for j in range(4)]] * 2,
}


@forks
@pytest.mark.parametrize(
    ("init", "start"),
    [("kmeans", START), ("random_from_data", {}), ("k-means++", {}), ("kmeans", {})],
    ids=["given", "random_from_data", "k-means++", "kmeans"],
)
def test_fit_in_a_forked_child(init, start):
    """OpenMP's threads do not survive a fork, and waiting for them would hang."""
    # From Python 3.12 forking a process with threads warns, which is what this is about.
    result = run(
        FORK.format(init=init, start=start, seconds=15), PYTHONWARNINGS="ignore::DeprecationWarning"
    )
    assert result.stdout == "same fit\n", result.stderr


@forks
def test_threads_of_a_forked_child():
    script = """
import os, emcore
assert emcore.usable_threads(3) == 3
if os.fork() == 0:
    os._exit(emcore.usable_threads(3))
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    result = run(script, PYTHONWARNINGS="ignore::DeprecationWarning")
    assert result.stdout == "1\n", result.stderr
