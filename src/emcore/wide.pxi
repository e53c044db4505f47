# Statistics of wide rows: features in the lanes, one row after another.
#
# With a row in each lane, every entry of the statistics ends in a sum over lanes, and a vector of
# rows is left out only where none of them has any responsibility. With features in the lanes there
# are no such sums, and rows are left out one by one; but blocks on the diagonal of a scatter matrix
# waste what lies above it.

cdef Py_ssize_t row_vectors(Py_ssize_t D) noexcept nogil:
    """Vectors that hold a row, padded to whole vectors and to blocks of COLUMNS features."""
    cdef Py_ssize_t step = max(<Py_ssize_t> LANES, <Py_ssize_t> COLUMNS)
    return odd_stride((D + step - 1) // step * (step // LANES))


cdef bint is_wide(Py_ssize_t D) noexcept nogil:
    return D >= 4 * LANES


cdef void rows_of_tile(
    const Tile* tile, Py_ssize_t D,
    vreal* rows,                 # OUT  (vectors * LANES, row_vectors(D)), zeros after feature D
) noexcept nogil:
    cdef Py_ssize_t i, n_v = row_vectors(D)
    for i in range(tile.vectors):
        transpose_vector(tile, D, i, n_v, <real*> (rows + i * LANES * n_v), n_v * LANES)


cdef Py_ssize_t gather_rows(
    const Tile* tile, Py_ssize_t k,
    const vreal* mean,           # IN   (n_v,)
    const vreal* rows,           # IN   (vectors * LANES, n_v)
    Py_ssize_t n_v,
    vreal* z,                    # OUT  (at most vectors * LANES, n_v)
    vreal* rz,                   # OUT  the same
) noexcept nogil:
    """z = x - mean and r_k z for the rows where r_k is not negligible; their number."""
    cdef const int32_t* at = tile.active + k // 2 * tile.active_stride
    cdef const real* r
    cdef const vreal* x
    cdef Py_ssize_t s, h, v, n = 0
    cdef real weight
    cdef vreal zv
    for s in range(tile.n_active[k // 2]):
        r = <const real*> (tile.responsibilities + at[s] * tile.r_stride + k)
        for h in range(LANES):
            weight = r[h]
            if weight > 0:
                x = rows + (at[s] * LANES + h) * n_v
                for v in range(n_v):
                    zv = x[v] - mean[v]
                    z[n * n_v + v] = zv
                    rz[n * n_v + v] = zv * weight
                n += 1
    return n


cdef void add_sums_of_rows(
    const vreal* rows, Py_ssize_t n_v, Py_ssize_t n, Py_ssize_t D, double* out,
) noexcept nogil:
    """out[d] += sum over rows of feature d."""
    cdef Py_ssize_t v, s
    cdef vreal total
    for v in range(n_v):
        total = splat(0)
        for s in range(n):
            total = total + rows[s * n_v + v]
        add_lanes(total, v * LANES, D, out)


cdef inline void scatter_block(
    const real* a, const vreal* b, Py_ssize_t n_v, Py_ssize_t n, Py_ssize_t n_b,
    vreal* total,                # OUT  (COLUMNS, n_b)
) noexcept nogil:
    """total[i, j] = sum over rows of a_i b_j for COLUMNS features and n_b vectors of features."""
    cdef vreal acc[2 * COLUMNS]
    cdef vreal bv
    cdef Py_ssize_t s, i, j
    for i in range(COLUMNS * n_b):
        acc[i] = splat(0)
    for s in range(n):
        for j in range(n_b):
            bv = b[s * n_v + j]
            for i in range(COLUMNS):
                acc[i * n_b + j] = acc[i * n_b + j] + bv * a[s * n_v * LANES + i]
    for i in range(COLUMNS * n_b):
        total[i] = acc[i]


cdef void accumulate_scatter_of_rows(
    const vreal* a,              # IN     (n, n_v)
    const vreal* b,              # IN     (n, n_v)
    Py_ssize_t n_v, Py_ssize_t n, Py_ssize_t D,
    double* scatter,             # INOUT  lower triangle by rows
) noexcept nogil:
    """scatter[i, j] += sum over rows of a_i b_j for j <= i."""
    cdef vreal total[2 * COLUMNS]
    cdef Py_ssize_t i, j, s, t, n_b, vectors
    for i from 0 <= i < D by COLUMNS:
        vectors = min(i + COLUMNS - 1, D - 1) // LANES + 1
        for j from 0 <= j < vectors by 2:
            n_b = min(<Py_ssize_t> 2, vectors - j)
            if n_b == 2:
                scatter_block(<const real*> a + i, b + j, n_v, n, 2, total)
            else:
                scatter_block(<const real*> a + i, b + j, n_v, n, 1, total)
            for s in range(min(<Py_ssize_t> COLUMNS, D - i)):
                for t in range(n_b):
                    add_lanes(total[s * n_b + t], (j + t) * LANES, i + s + 1,
                              scatter + triangle(i + s))
