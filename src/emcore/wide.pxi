# Statistics of wide rows: features in the lanes, one row after another.
#
# With a row in each lane, every entry of the statistics ends in a sum over lanes, and a vector of
# rows is left out only where none of them has any responsibility. With features in the lanes there
# are no such sums, and rows are left out one by one; but blocks on the diagonal of a scatter matrix
# waste what lies above it.

cdef Py_ssize_t row_vectors(Py_ssize_t D) noexcept nogil:
    """Vectors that hold a row, padded to whole vectors and to blocks of COLUMNS features."""
    cdef Py_ssize_t step = max(<Py_ssize_t> LANES, <Py_ssize_t> COLUMNS)
    return (D + step - 1) // step * (step // LANES)


cdef bint is_wide(Py_ssize_t D) noexcept nogil:
    return D >= 4 * LANES


cdef void rows_of_tile(
    const Tile* tile, Py_ssize_t D, Py_ssize_t width,
    vreal* rows,                 # OUT  (vectors * LANES, width), zeros after feature D
) noexcept nogil:
    cdef Py_ssize_t i, d, h, n_v = row_vectors(D)
    cdef vreal block[LANES]
    for i in range(tile.vectors):
        for d from 0 <= d < n_v * LANES by LANES:
            for h in range(LANES):
                block[h] = tile.x[i * tile.x_stride + d + h] if d + h < D else splat(0)
            vtranspose(block)
            for h in range(LANES):
                rows[(i * LANES + h) * width + d // LANES] = block[h]


cdef Py_ssize_t gather_rows(
    const Tile* tile, Py_ssize_t k,
    const vreal* mean,           # IN   (n_v,)
    const vreal* rows,           # IN   (vectors * LANES, n_v)
    Py_ssize_t n_v,
    vreal* z,                    # OUT  (at most vectors * LANES, n_v)
    vreal* rz,                   # OUT  the same
) noexcept nogil:
    """z = x - mean and r_k z for the rows where r_k is not negligible; their number."""
    cdef const int32_t* at = tile.active + k // 2 * tile.vectors
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


cdef inline void add_lanes(
    vreal values, Py_ssize_t start, Py_ssize_t stop, double* out,
) noexcept nogil:
    """Add to out[start : stop] as many lanes as there are."""
    cdef const real* lane = <const real*> &values
    cdef Py_ssize_t h
    if stop - start >= LANES:
        for h in range(LANES):
            out[start + h] += lane[h]
    else:
        for h in range(stop - start):
            out[start + h] += lane[h]


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


cdef Py_ssize_t rows_of_pair(
    const Tile* tile, Py_ssize_t k,
    bint paired,                 # IN   whether there is a component k + 1
    int32_t* at,                 # OUT  (at most vectors * LANES,)
    real* r,                     # OUT  (the same, 2)
) noexcept nogil:
    """Rows where component k or k + 1 is not negligible, and the responsibilities of both."""
    cdef const int32_t* active = tile.active + k // 2 * tile.vectors
    cdef const real* r0
    cdef const real* r1
    cdef Py_ssize_t s, h, n = 0
    for s in range(tile.n_active[k // 2]):
        r0 = <const real*> (tile.responsibilities + active[s] * tile.r_stride + k)
        r1 = r0 + LANES if paired else r0
        for h in range(LANES):
            at[n] = <int32_t> (active[s] * LANES + h)
            r[2 * n] = r0[h]
            r[2 * n + 1] = r1[h]
            n += r0[h] > 0 or r1[h] > 0
    return n


cdef inline void sum_block(
    const vreal* rows, Py_ssize_t width, const int32_t* at, const real* r, Py_ssize_t n,
    Py_ssize_t n_b,
    vreal* total,                # OUT  (2, n_b)
) noexcept nogil:
    """total[i, j] = sum over rows of r_i times vector j of the row."""
    cdef vreal acc[2 * COLUMNS]
    cdef const vreal* x
    cdef vreal r0, r1, xv
    cdef Py_ssize_t s, j
    for j in range(2 * n_b):
        acc[j] = splat(0)
    for s in range(n):
        x = rows + at[s] * width
        r0 = splat(r[2 * s])
        r1 = splat(r[2 * s + 1])
        for j in range(n_b):
            xv = x[j]
            acc[j] = acc[j] + xv * r0
            acc[n_b + j] = acc[n_b + j] + xv * r1
    for j in range(2 * n_b):
        total[j] = acc[j]


cdef Py_ssize_t scratch_for_moments(Py_ssize_t D) noexcept nogil:
    # A row and its squares, two responsibilities, and an index.
    return 2 * row_vectors(D) * LANES + 3


cdef void accumulate_moments_of_rows(
    const Tile* tile, Py_ssize_t D, Py_ssize_t K,
    double* first,               # INOUT  (K, D)
    double* second,              # INOUT  (K, D)
) noexcept nogil:
    """first[k] += sum r_k x and second[k] += sum r_k x^2 over rows where r_k is not negligible."""
    cdef Py_ssize_t n_v = row_vectors(D), width = 2 * n_v, n_rows = tile.vectors * LANES
    cdef vreal* rows = tile.scratch                     # features, then their squares
    cdef real* r = <real*> (rows + n_rows * width)
    cdef int32_t* at = <int32_t*> (r + 2 * n_rows)
    cdef vreal total[2 * COLUMNS]
    cdef Py_ssize_t k, j, v, s, n, n_b, i
    rows_of_tile(tile, D, width, rows)
    for s in range(n_rows):
        for v in range(n_v):
            rows[s * width + n_v + v] = rows[s * width + v] * rows[s * width + v]
    for k from 0 <= k < K by 2:
        n = rows_of_pair(tile, k, k + 1 < K, at, r)
        j = 0
        while j < width:
            n_b = COLUMNS if width - j >= COLUMNS else 1
            if n_b == COLUMNS:
                sum_block(rows + j, width, at, r, n, COLUMNS, total)
            else:
                sum_block(rows + j, width, at, r, n, 1, total)
            for i in range(2 if k + 1 < K else 1):
                for v in range(n_b):
                    add_lanes(total[i * n_b + v], (j + v) % n_v * LANES, D,
                              (first if j + v < n_v else second) + (k + i) * D)
            j += n_b
