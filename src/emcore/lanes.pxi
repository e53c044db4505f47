# The C side of the kernels: see lanes.h.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free

cdef extern from "lanes.h" nogil:
    # `real` is float or double and `vreal` a vector of it, as the build says. Cython needs to
    # know only that both are floating-point: C arithmetic on them is what it emits.
    ctypedef double real
    ctypedef double vreal
    ctypedef long long vbits
    ctypedef long long bits
    ctypedef unsigned long long ubits
    enum:
        LANES
        VECTORS
        COLUMNS
        LOOKUPS
        WORD_BITS
        NIBBLES
        WORD_VECTORS
    real LOWEST
    real NEGLIGIBLE
    vreal splat(real)
    vreal vmax(vreal, vreal)
    vreal vwhere_greater(vreal condition, vreal threshold, vreal a, vreal b)
    vreal vexp_above(vreal x, real threshold)
    vreal vlog(vreal)
    double vsum(vreal)
    vreal vreduce(vreal*)
    void vtranspose(vreal*)
    void vtranspose_halves(vreal*)
    vreal vload_halves(const real*, const real*)
    unsigned vpositive_lanes(vreal)
    int vlist_positive(vreal, int32_t first, real* values, int32_t* numbers)
    vbits vno_counts()
    vbits vcount_above(vbits count, vreal, real threshold)
    long long vcount_sum(vbits)
    vreal vload(const real*)
    void vstore(real*, vreal)
    void vadd_to(double*, vreal)
    void vadd_first_to(double*, vreal, int n)
    void prefetch(const char*)
    vreal vlookup(const real* table, vbits index)
    vbits vnext_index(vbits)
    bits word_of_bytes(const unsigned char*, int n)
    bits word_of_reals(const real*, int n)
    bits word_of_missing(const real*, int n)
    void transpose_bits(vbits*)
    void* lanes_alloc(size_t, void** handle)


cdef class Buffer:
    """Zeroed, cache-line aligned memory for `size` reals that lives as long as this object."""

    cdef void* handle
    cdef real* data
    cdef readonly Py_ssize_t size

    def __cinit__(self, Py_ssize_t size):
        self.size = size
        self.data = <real*> lanes_alloc(<size_t> size * sizeof(real), &self.handle)
        if self.data == NULL:
            raise MemoryError(f"no memory for {size} numbers")

    def __dealloc__(self):
        free(self.handle)
