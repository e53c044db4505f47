# First and second moments about the means, or of all rows about the centre.

# Most features whose products are terms of a row; of more, one component's would not stay in cache.
cdef Py_ssize_t MAX_PRODUCT_FEATURES = 64


cdef inline void moments_block(
    const vreal* x, Py_ssize_t x_stride, const vreal* r, Py_ssize_t r_stride,
    const vreal* known,         # IN     1 or 0 for every entry of x, or NULL for ones
    const int32_t* at, Py_ssize_t n_at, const real* mean, Py_ssize_t n_d,
    double* first, double* second,
) noexcept nogil:
    cdef vreal acc1[4]
    cdef vreal acc2[4]
    cdef vreal t, rt, rv
    cdef real mu[4]
    cdef Py_ssize_t s, j
    for j in range(n_d):
        mu[j] = mean[j]
        acc1[j] = splat(0)
        acc2[j] = splat(0)
    for s in range(n_at):
        rv = r[at[s] * r_stride]
        for j in range(n_d):
            t = x[at[s] * x_stride + j] - mu[j]
            if known != NULL:
                t = t * known[at[s] * x_stride + j]
            rt = rv * t
            acc1[j] = acc1[j] + rt
            acc2[j] = acc2[j] + rt * t
    for j in range(n_d):
        first[j] += vsum(acc1[j])
        second[j] += vsum(acc2[j])


cdef void accumulate_central_moments(
    const Tile* tile,
    const real* means,           # IN     (K, D)
    const vreal* known,          # IN     (vectors, D), spaced as tile.x: 1 or 0; or NULL for ones
    Py_ssize_t D, Py_ssize_t K,
    double* moments,             # INOUT  (K, 2 D), spaced by `stride`
    Py_ssize_t stride,
) noexcept nogil:
    """sum r (x - mu), then sum r (x - mu)^2, about the means of the model, of what is known."""
    cdef Py_ssize_t k, d, n_at
    cdef const int32_t* active
    cdef const vreal* r
    cdef double* out
    for k in range(K):
        r = tile.responsibilities + k
        active = tile.active + k // 2 * tile.active_stride
        n_at = tile.n_active[k // 2]
        out = moments + k * stride
        for d from 0 <= d < D - 3 by 4:
            moments_block(tile.x + d, tile.x_stride, r, tile.r_stride,
                          known + d if known != NULL else NULL, active, n_at,
                          means + k * D + d, 4, out + d, out + D + d)
        for d in range(D // 4 * 4, D):
            moments_block(tile.x + d, tile.x_stride, r, tile.r_stride,
                          known + d if known != NULL else NULL, active, n_at,
                          means + k * D + d, 1, out + d, out + D + d)


cdef Py_ssize_t gather_component(
    const Tile* tile, Py_ssize_t k, const real* mean, Py_ssize_t D,
    vreal* z,                   # OUT  (at most vectors, D), spaced as tile.x
    vreal* rz,                  # OUT  the same
) noexcept nogil:
    """z = x - mean and r_k z for the vectors of rows where r_k is not negligible; their number."""
    cdef const vreal* x
    cdef const int32_t* at = tile.active + k // 2 * tile.active_stride
    cdef Py_ssize_t stride = tile.x_stride, s, d, n = 0
    cdef vreal r, zd
    for s in range(tile.n_active[k // 2]):
        r = tile.responsibilities[at[s] * tile.r_stride + k]
        if vpositive_lanes(r) == 0:
            continue
        x = tile.x + at[s] * stride
        for d in range(D):
            zd = x[d] - mean[d]
            z[n * stride + d] = zd
            rz[n * stride + d] = r * zd
        n += 1
    return n


cdef void add_column_sums(
    const vreal* a, Py_ssize_t stride, Py_ssize_t vectors, Py_ssize_t D, double* out,
) noexcept nogil:
    """out[d] += sum over rows of a_d."""
    cdef vreal total[4]
    cdef Py_ssize_t d, i, j
    for d from 0 <= d < D - 3 by 4:
        for j in range(4):
            total[j] = splat(0)
        for i in range(vectors):
            for j in range(4):
                total[j] = total[j] + a[i * stride + d + j]
        for j in range(4):
            out[d + j] += vsum(total[j])
    for d in range(D // 4 * 4, D):
        total[0] = splat(0)
        for i in range(vectors):
            total[0] = total[0] + a[i * stride + d]
        out[d] += vsum(total[0])


cdef Py_ssize_t scratch_for_scatter(Py_ssize_t D) noexcept nogil:
    # Rows and two gathered copies of them, or two copies with rows in the lanes.
    return 3 * row_vectors(D) * LANES if is_wide(D) else 2 * odd_stride(D)


cdef void accumulate_component(
    const Tile* tile, Py_ssize_t k,
    const vreal* mean,           # IN     (row_vectors(D),)
    Py_ssize_t D,
    double* first,               # INOUT  (D,)
    double* second,              # INOUT  lower triangle by rows
) noexcept nogil:
    """first += sum r_k z and second += sum r_k z z' with z = x - mean, where r_k is not negligible."""
    cdef Py_ssize_t n, n_v = row_vectors(D), stride = tile.x_stride
    cdef vreal* z = tile.scratch
    cdef vreal* rz = tile.scratch + tile.vectors * stride
    if is_wide(D):
        z = tile.scratch + tile.vectors * LANES * n_v
        rz = z + tile.vectors * LANES * n_v
        n = gather_rows(tile, k, mean, tile.scratch, n_v, z, rz)
        add_sums_of_rows(rz, n_v, n, D, first)
        accumulate_scatter_of_rows(rz, z, n_v, n, D, second)
    else:
        n = gather_component(tile, k, <const real*> mean, D, z, rz)
        add_column_sums(rz, stride, n, D, first)
        accumulate_scatter(rz, z, stride, tile.every, n, D, second)


cdef void accumulate_scatter_of_all(
    const Tile* tile, Py_ssize_t D,
    double* second,              # INOUT  lower triangle by rows
) noexcept nogil:
    """second += sum over rows of weight x x', about the centre."""
    cdef Py_ssize_t i, d, n_v = row_vectors(D), stride = tile.x_stride
    cdef Py_ssize_t rows = tile.vectors * LANES
    cdef vreal* weighted = tile.scratch
    if is_wide(D):
        weighted = tile.scratch + rows * n_v
        rows_of_tile(tile, D, tile.scratch)
        for i in range(rows):
            for d in range(n_v):
                weighted[i * n_v + d] = tile.scratch[i * n_v + d] * (<real*> tile.weights)[i]
        accumulate_scatter_of_rows(weighted, tile.scratch, n_v, rows, D, second)
        return
    for i in range(tile.vectors):
        for d in range(D):
            weighted[i * stride + d] = tile.x[i * stride + d] * tile.weights[i]
    accumulate_scatter(weighted, tile.x, stride, tile.every, tile.vectors, D, second)
