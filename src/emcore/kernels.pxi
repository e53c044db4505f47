"""One pass over rows: log-densities, responsibilities and sufficient statistics, tile by tile.

Built once for every instruction set and precision; `emcore.kernels` picks the build.
"""

from array import array

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer,
)
from cython.parallel cimport parallel, prange, threadid
from libc.math cimport INFINITY, exp, log, sqrt
from libc.string cimport memcpy

include "lanes.pxi"

DTYPE = "float64" if sizeof(real) == 8 else "float32"

include "tile.pxi"
include "emission.pxi"
include "terms.pxi"
include "wide.pxi"
include "moments.pxi"
include "missing.pxi"
include "whiten.pxi"
include "linear.pxi"
include "counts.pxi"
include "entries.pxi"
include "gaussian.pxi"
include "incomplete.pxi"
include "bernoulli.pxi"
include "regression.pxi"
include "mixture.pxi"
include "expectation.pxi"
include "gate.pxi"
include "chain.pxi"
include "logarithmic.pxi"
include "sequences.pxi"
include "pieces.pxi"
