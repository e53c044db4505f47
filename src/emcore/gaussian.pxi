# Gaussian emissions: spherical and diagonal, tied, full.

# Largest (mean - centre)^2 / variance at which second moments are taken about the centre: the
# relative error of a variance stays below 1e-11 in double and 1e-5 in single precision.
cdef double MAX_CANCELLATION = 1e4 if sizeof(real) == 8 else 100

cdef void scaled_log_density(
    const Tile* tile,            # OUT  responsibilities
    const vreal* x,              # IN   (vectors, D), spaced as tile.x
    const real* scaled,          # IN   (pairs of components, D, 4): s0, mu0 s0, s1, mu1 s1
    const real* constants,       # IN   (K,)
    Py_ssize_t D, Py_ssize_t K,
) noexcept nogil:
    """log p = constant - sum_d (x_d s_d - mu_d s_d)^2 with s_d = sqrt(precision_d / 2).

    Two components at a time: two fused multiply-adds for each (row, component, feature), and every
    vector of x loaded serves both.
    """
    cdef vreal acc0[VECTORS]
    cdef vreal acc1[VECTORS]
    cdef vreal xv, t
    cdef const real* w
    cdef vreal* out = tile.responsibilities
    cdef Py_ssize_t i, k, d, v, xs = tile.x_stride, rs = tile.r_stride
    for i from 0 <= i < tile.vectors by VECTORS:
        for k from 0 <= k < K by 2:
            w = scaled + k * 2 * D
            for v in range(VECTORS):
                acc0[v] = splat(0)
                acc1[v] = splat(0)
            for d in range(D):
                for v in range(VECTORS):
                    xv = x[v * xs + d]
                    t = xv * w[0] - w[1]
                    acc0[v] = acc0[v] + t * t
                    t = xv * w[2] - w[3]
                    acc1[v] = acc1[v] + t * t
                w += 4
            for v in range(VECTORS):
                out[v * rs + k] = splat(constants[k]) - acc0[v]
            if k + 1 < K:
                for v in range(VECTORS):
                    out[v * rs + k + 1] = splat(constants[k + 1]) - acc1[v]
        x += VECTORS * xs
        out += VECTORS * rs


cdef void distant_log_density(
    const Tile* tile,            # OUT  responsibilities
    const real* means,           # IN   (K, D)
    const real* scales,          # IN   (K, D), sqrt(precision / 2)
    const real* constants,       # IN   (K,)
    Py_ssize_t D, Py_ssize_t K,
) noexcept nogil:
    """log p = constant - sum_d ((x_d - mu_d) s_d)^2: an operation more, and nothing cancels."""
    cdef Py_ssize_t i, k, d
    cdef const vreal* x
    cdef const real* mu
    cdef const real* s
    cdef vreal acc, t
    for i in range(tile.vectors):
        x = tile.x + i * tile.x_stride
        for k in range(K):
            mu = means + k * D
            s = scales + k * D
            acc = splat(0)
            for d in range(D):
                t = (x[d] - mu[d]) * s[d]
                acc = acc + t * t
            tile.responsibilities[i * tile.r_stride + k] = splat(constants[k]) - acc


cdef inline void moments_block(
    const vreal* x, Py_ssize_t x_stride, const vreal* r, Py_ssize_t r_stride,
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
            rt = rv * t
            acc1[j] = acc1[j] + rt
            acc2[j] = acc2[j] + rt * t
    for j in range(n_d):
        first[j] += vsum(acc1[j])
        second[j] += vsum(acc2[j])


cdef void accumulate_central_moments(
    const Tile* tile,
    const real* means,           # IN     (K, D)
    Py_ssize_t D, Py_ssize_t K,
    double* first,               # INOUT  (K, D)
    double* second,              # INOUT  (K, D)
) noexcept nogil:
    """first += sum r (x - mu), second += sum r (x - mu)^2, about the means of the model."""
    cdef Py_ssize_t k, d, at, n_at
    cdef const int32_t* active
    cdef const vreal* r
    for k in range(K):
        r = tile.responsibilities + k
        active = tile.active + k // 2 * tile.vectors
        n_at = tile.n_active[k // 2]
        for d from 0 <= d < D - 3 by 4:
            moments_block(tile.x + d, tile.x_stride, r, tile.r_stride, active, n_at,
                          means + k * D + d, 4, first + k * D + d, second + k * D + d)
        for d in range(D // 4 * 4, D):
            moments_block(tile.x + d, tile.x_stride, r, tile.r_stride, active, n_at,
                          means + k * D + d, 1, first + k * D + d, second + k * D + d)


cdef inline void whiten_rows(
    const vreal* x, Py_ssize_t x_stride, const real* factor, Py_ssize_t columns, Py_ssize_t n_rows,
    vreal* y,                    # OUT  (n_rows, VECTORS)
) noexcept nogil:
    """Adjacent rows of y = P x - P mu for VECTORS vectors of rows.

    factor holds (-P mu) and then P column by column, the n_rows entries of a column adjacent.
    """
    cdef Py_ssize_t j, v, h
    cdef vreal acc[4 * VECTORS]
    cdef vreal xv
    for h in range(n_rows):
        for v in range(VECTORS):
            acc[h * VECTORS + v] = splat(factor[h])
    for j in range(columns):
        factor += n_rows
        for v in range(VECTORS):
            xv = x[v * x_stride + j]
            for h in range(n_rows):
                acc[h * VECTORS + v] = acc[h * VECTORS + v] + xv * factor[h]
    for h in range(n_rows * VECTORS):
        y[h] = acc[h]


cdef inline void squared_distances(
    const vreal* x, Py_ssize_t x_stride, const real* factor, Py_ssize_t D, Py_ssize_t n_rows,
    vreal* q,                    # OUT  (VECTORS,)
) noexcept nogil:
    """q = |P x - P mu|^2 for VECTORS vectors of rows."""
    cdef vreal y[4 * VECTORS]
    cdef Py_ssize_t row, v, h
    for v in range(VECTORS):
        q[v] = splat(0)
    for row from 0 <= row < D by n_rows:
        whiten_rows(x, x_stride, factor, min(row + n_rows, D), n_rows, y)
        factor += n_rows + n_rows * min(row + n_rows, D)
        for h in range(n_rows):
            for v in range(VECTORS):
                q[v] = q[v] + y[h * VECTORS + v] * y[h * VECTORS + v]


cdef void whitened_log_density(
    const Tile* tile,            # OUT  responsibilities of component k
    Py_ssize_t k,
    const real* factor,          # IN   as pack_factor lays it out
    const real* mean,            # IN   (D,), or NULL if the factor holds -P mu
    real constant,
    Py_ssize_t D,
) noexcept nogil:
    """log p = constant - 1/2 |P (x - mu)|^2."""
    cdef Py_ssize_t i, v, d, stride = tile.x_stride
    cdef const vreal* x
    cdef vreal* z = tile.scratch
    cdef vreal q[VECTORS]
    for i from 0 <= i < tile.vectors by VECTORS:
        x = tile.x + i * stride
        if mean != NULL:
            for v in range(VECTORS):
                for d in range(D):
                    z[v * stride + d] = x[v * stride + d] - mean[d]
            x = z
        if rows_at_a_time(D) == 4:
            squared_distances(x, stride, factor, D, 4, q)
        else:
            squared_distances(x, stride, factor, D, 2, q)
        for v in range(VECTORS):
            tile.responsibilities[(i + v) * tile.r_stride + k] = (
                splat(constant) - q[v] * <real> 0.5)


cdef double largest_square(const double* P, const double* mean, Py_ssize_t D) noexcept nogil:
    """Largest squared coordinate of P mu: how many deviations a mean is from the centre."""
    cdef double y, largest = 0
    cdef Py_ssize_t i, j
    for i in range(D):
        y = 0
        for j in range(i + 1):
            y += P[i * D + j] * mean[j]
        largest = max(largest, y * y)
    return largest


cdef Py_ssize_t rows_at_a_time(Py_ssize_t n_features) noexcept nogil:
    # Four rows of P use each vector of x four times, but waste more above the diagonal.
    return 4 if COLUMNS == 8 and n_features >= 8 else 2


cdef Py_ssize_t packed_factor_size(Py_ssize_t n_features) noexcept nogil:
    cdef Py_ssize_t i, size = 0, n_rows = rows_at_a_time(n_features)
    for i from 0 <= i < n_features by n_rows:
        size += n_rows + n_rows * min(i + n_rows, n_features)
    return size


cdef void pack_factor(
    const double* P,             # IN   (D, D), lower-triangular
    const double* mean,          # IN   (D,), or NULL for zeros
    Py_ssize_t D,
    real* out,                   # OUT  (packed_factor_size(D),)
) noexcept nogil:
    """Lay P out for whiten_rows, some rows at a time, with zeros above the diagonal."""
    cdef Py_ssize_t i, j, h, row, n_rows = rows_at_a_time(D)
    cdef double shift
    for i from 0 <= i < D by n_rows:
        for h in range(n_rows):
            row = i + h
            shift = 0
            if row < D and mean != NULL:
                for j in range(row + 1):
                    shift += P[row * D + j] * mean[j]
            out[h] = <real> -shift
        out += n_rows
        for j in range(min(i + n_rows, D)):
            for h in range(n_rows):
                row = i + h
                out[h] = <real> P[row * D + j] if row < D and j <= row else 0
            out += n_rows


cdef class DiagGaussian(Emission):
    """Gaussian with a diagonal precision of its own for every component.

    Parameters
    ----------
    centre : ndarray of shape (n_features,), subtracted from the rows first
    means : ndarray of shape (n_components, n_features), less the centre
    scales : ndarray of shape (n_components, n_features), square roots of the precisions
    constants : ndarray of shape (n_components,), log-density at the mean

    Statistics: first and second moments, (n_components, n_features) each, about the centre if
    `about_centre` and else about the means. About the centre, densities and moments cost two fused
    multiply-adds each for every (row, component, feature) instead of three and four operations, and
    lose to cancellation as much as (mean - centre)^2 exceeds the variance: which is used depends on
    that ratio.
    """

    cdef Buffer means, scales, scaled, constants

    def __init__(self, const double[::1] centre, const double[:, ::1] means,
                 const double[:, ::1] scales, const double[::1] constants):
        cdef Py_ssize_t k, d, K = means.shape[0], D = means.shape[1]
        cdef double s, ratio = 0
        cdef real* w
        require(centre.shape[0] == D and constants.shape[0] == K)
        require(scales.shape[0] == K and scales.shape[1] == D)
        self.n_components, self.n_features = K, D
        self.statistics_size = 2 * K * D
        self.scratch_per_row = odd_stride(D)
        if is_wide(D):
            self.scratch_per_row = max(self.scratch_per_row, scratch_for_moments(D))
        self.centre = as_buffer(centre)
        self.constants = as_buffer(constants)
        self.means = Buffer(K * D)
        self.scales = Buffer(K * D)
        self.scaled = Buffer((K + 1) // 2 * 4 * D)
        for k in range(K):
            for d in range(D):
                self.means.data[k * D + d] = <real> means[k, d]
                s = scales[k, d] * 0.7071067811865476
                w = self.scaled.data + (k // 2 * D + d) * 4 + k % 2 * 2
                self.scales.data[k * D + d] = <real> s
                w[0] = <real> s
                w[1] = <real> (s * means[k, d])
                ratio = max(ratio, (scales[k, d] * means[k, d]) ** 2)
        self.about_centre = ratio <= MAX_CANCELLATION

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        if self.about_centre:
            scaled_log_density(tile, tile.x, self.scaled.data, self.constants.data,
                               self.n_features, self.n_components)
        else:
            distant_log_density(tile, self.means.data, self.scales.data, self.constants.data,
                                self.n_features, self.n_components)

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        cdef Py_ssize_t D = self.n_features, K = self.n_components, i
        cdef vreal* square = tile.scratch       # of x
        if not self.about_centre:
            accumulate_central_moments(
                tile, self.means.data, D, K, statistics, statistics + K * D)
            return
        if is_wide(D) and 2 * tile.n_positive < tile.rows * K:
            accumulate_moments_of_rows(tile, D, K, statistics, statistics + K * D)
            return
        for i in range(tile.vectors * tile.x_stride):
            square[i] = tile.x[i] * tile.x[i]
        accumulate_weighted_sums(tile, tile.x, D, K, statistics)
        accumulate_weighted_sums(tile, square, D, K, statistics + K * D)


cdef Py_ssize_t gather_component(
    const Tile* tile, Py_ssize_t k, const real* mean, Py_ssize_t D,
    vreal* z,                   # OUT  (at most vectors, D), spaced as tile.x
    vreal* rz,                  # OUT  the same
) noexcept nogil:
    """z = x - mean and r_k z for the vectors of rows where r_k is not negligible; their number."""
    cdef const vreal* x
    cdef const int32_t* at = tile.active + k // 2 * tile.vectors
    cdef Py_ssize_t stride = tile.x_stride, s, d, n = 0
    cdef vreal r, zd
    for s in range(tile.n_active[k // 2]):
        r = tile.responsibilities[at[s] * tile.r_stride + k]
        if vcount_positive(r) == 0:
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
        rows_of_tile(tile, D, row_vectors(D), tile.scratch)
        for i in range(rows):
            for d in range(n_v):
                weighted[i * n_v + d] = tile.scratch[i * n_v + d] * (<real*> tile.weights)[i]
        accumulate_scatter_of_rows(weighted, tile.scratch, n_v, rows, D, second)
        return
    for i in range(tile.vectors):
        for d in range(D):
            weighted[i * stride + d] = tile.x[i * stride + d] * tile.weights[i]
    accumulate_scatter(weighted, tile.x, stride, tile.every, tile.vectors, D, second)


cdef class FullGaussian(Emission):
    """Gaussian with a precision matrix of its own for every component.

    Parameters
    ----------
    centre : ndarray of shape (n_features,)
    means : ndarray of shape (n_components, n_features), less the centre
    factors : ndarray of shape (n_components, n_features, n_features), lower-triangular
        P with P' P the precision
    constants : ndarray of shape (n_components,)

    Statistics: first moments about the means (n_components, n_features), then lower triangles by
    rows of the second moments about the means (n_components, n_features (n_features + 1) / 2).
    Rows are whitened before the mean is subtracted, or after if `distant`: where some mean is so many
    deviations from the centre that the former would cancel.
    """

    cdef Buffer means, factors, constants
    cdef Py_ssize_t factor_size
    cdef readonly bint distant

    def __init__(self, const double[::1] centre, const double[:, ::1] means,
                 const double[:, :, ::1] factors, const double[::1] constants):
        cdef Py_ssize_t k, d, K = means.shape[0], D = means.shape[1]
        cdef double ratio = 0
        require(centre.shape[0] == D and constants.shape[0] == K)
        require(factors.shape[0] == K and factors.shape[1] == D and factors.shape[2] == D)
        self.n_components, self.n_features = K, D
        self.statistics_size = K * (D + triangle(D))
        self.scratch_per_row = scratch_for_scatter(D)
        self.centre = as_buffer(centre)
        self.means = Buffer(K * row_vectors(D) * LANES)
        self.constants = as_buffer(constants)
        self.factor_size = packed_factor_size(D)
        self.factors = Buffer(K * self.factor_size)
        for k in range(K):
            ratio = max(ratio, largest_square(&factors[k, 0, 0], &means[k, 0], D))
        self.distant = ratio > MAX_CANCELLATION
        for k in range(K):
            for d in range(D):
                self.means.data[k * row_vectors(D) * LANES + d] = <real> means[k, d]
            if self.distant:
                pack_factor(&factors[k, 0, 0], NULL, D, self.factors.data + k * self.factor_size)
            else:
                pack_factor(&factors[k, 0, 0], &means[k, 0], D,
                            self.factors.data + k * self.factor_size)

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        cdef Py_ssize_t D = self.n_features, k
        cdef const real* mean = NULL
        for k in range(self.n_components):
            if self.distant:
                mean = self.means.data + k * row_vectors(D) * LANES
            whitened_log_density(tile, k, self.factors.data + k * self.factor_size, mean,
                                 self.constants.data[k], D)

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        cdef Py_ssize_t D = self.n_features, K = self.n_components, k
        if is_wide(D):
            rows_of_tile(tile, D, row_vectors(D), tile.scratch)
        for k in range(K):
            accumulate_component(tile, k, <const vreal*> self.means.data + k * row_vectors(D), D,
                                 statistics + k * D, statistics + K * D + k * triangle(D))


cdef class TiedGaussian(Emission):
    """Gaussian with one precision matrix that all components share.

    Parameters
    ----------
    centre : ndarray of shape (n_features,)
    means : ndarray of shape (n_components, n_features), less the centre
    factor : ndarray of shape (n_features, n_features), lower-triangular P with P' P the precision
    constant : float

    Statistics: first moments (n_components, n_features), then the lower triangle by rows of the
    second moment, summed over components. About the centre, the latter is that of all rows, which no
    responsibility enters. Where that would cancel, densities and moments are about the means, at the
    cost of `FullGaussian`.
    """

    cdef Buffer means, scaled, factor, constants

    def __init__(self, const double[::1] centre, const double[:, ::1] means,
                 const double[:, ::1] factor, double constant):
        cdef Py_ssize_t k, d, j, K = means.shape[0], D = means.shape[1]
        cdef double whitened, ratio = 0, half = 0.7071067811865476
        cdef real* w
        require(centre.shape[0] == D and factor.shape[0] == D and factor.shape[1] == D)
        self.n_components, self.n_features = K, D
        self.statistics_size = K * D + triangle(D)
        self.scratch_per_row = scratch_for_scatter(D)
        self.centre = as_buffer(centre)
        self.means = Buffer(K * row_vectors(D) * LANES)
        self.constants = Buffer(K)
        self.factor = Buffer(packed_factor_size(D))
        pack_factor(&factor[0, 0], NULL, D, self.factor.data)
        self.scaled = Buffer((K + 1) // 2 * 4 * D)
        for k in range(K):
            self.constants.data[k] = <real> constant
            for d in range(D):
                self.means.data[k * row_vectors(D) * LANES + d] = <real> means[k, d]
                whitened = 0
                for j in range(d + 1):
                    whitened += factor[d, j] * means[k, j]
                w = self.scaled.data + (k // 2 * D + d) * 4 + k % 2 * 2
                w[0] = <real> half
                w[1] = <real> (half * whitened)
            ratio = max(ratio, largest_square(&factor[0, 0], &means[k, 0], D))
        self.about_centre = ratio <= MAX_CANCELLATION

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        # Whitened once, every row is at the distance |P x - P mu| from every mean.
        cdef Py_ssize_t D = self.n_features, n_rows = rows_at_a_time(D), i, row, v, h, k
        cdef vreal* y = tile.scratch
        cdef const vreal* x
        cdef const real* factor
        cdef vreal block[4 * VECTORS]
        if not self.about_centre:
            for k in range(self.n_components):
                whitened_log_density(tile, k, self.factor.data,
                                     self.means.data + k * row_vectors(D) * LANES,
                                     self.constants.data[k], D)
            return
        for i from 0 <= i < tile.vectors by VECTORS:
            x = tile.x + i * tile.x_stride
            factor = self.factor.data
            for row from 0 <= row < D by n_rows:
                if n_rows == 4:
                    whiten_rows(x, tile.x_stride, factor, min(row + 4, D), 4, block)
                else:
                    whiten_rows(x, tile.x_stride, factor, min(row + 2, D), 2, block)
                factor += n_rows + n_rows * min(row + n_rows, D)
                for h in range(min(n_rows, D - row)):
                    for v in range(VECTORS):
                        y[(i + v) * tile.x_stride + row + h] = block[h * VECTORS + v]
        scaled_log_density(tile, y, self.scaled.data, self.constants.data, D, self.n_components)

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        cdef Py_ssize_t D = self.n_features, K = self.n_components, k
        if not self.about_centre:
            if is_wide(D):
                rows_of_tile(tile, D, row_vectors(D), tile.scratch)
            for k in range(K):
                accumulate_component(tile, k, <const vreal*> self.means.data + k * row_vectors(D),
                                     D, statistics + k * D, statistics + K * D)
            return
        accumulate_weighted_sums(tile, tile.x, D, K, statistics)
        accumulate_scatter_of_all(tile, D, statistics + K * D)
