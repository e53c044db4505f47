# Gaussian emissions: spherical and diagonal, tied, full.

# Largest (mean - centre)^2 / variance at which second moments are taken about the centre: the
# relative error of a variance stays below 1e-11 in double and 1e-5 in single precision.
cdef double MAX_CANCELLATION = 1e4 if sizeof(real) == 8 else 100
LARGEST_SQUARED_DISTANCE = MAX_CANCELLATION


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


cdef void append_squared_norm(const Tile* tile, Py_ssize_t D) noexcept nogil:
    """Column D of the tile becomes sum_d x_d^2."""
    cdef Py_ssize_t i, d
    cdef vreal* x
    cdef vreal q
    for i in range(tile.vectors):
        x = tile.x + i * tile.x_stride
        q = splat(0)
        for d in range(D):
            q = q + x[d] * x[d]
        x[D] = q


cdef class SphericalGaussian(Emission):
    """Gaussian with one precision for all features, of its own for every component.

    Parameters
    ----------
    centre : ndarray of shape (n_features,), subtracted from the rows first
    means : ndarray of shape (n_components, n_features), less the centre
    scales : ndarray of shape (n_components,), square roots of the precisions
    constants : ndarray of shape (n_components,), log-density at the mean

    Statistics: for every component first moments about the centre, (n_features,), then the sum of
    r |x|^2. The squared norm of a row is one column more, in which the log-density is linear:

        log p = constant - scale^2 |mu|^2 / 2 + sum_d x_d mu_d scale^2 - |x|^2 scale^2 / 2.

    Where that would cancel, `about_centre` is false, and the density must not be used:
    `DiagGaussian` serves.
    """

    cdef Buffer weights, constants

    def __init__(self, const double[::1] centre, const double[:, ::1] means,
                 const double[::1] scales, const double[::1] constants):
        cdef Py_ssize_t k, d, K = means.shape[0], D = means.shape[1]
        cdef double norm, precision, ratio = 0
        require(constants.shape[0] == K and scales.shape[0] == K)
        self.set_shape(K, D, D + 1, centre)
        self.constants = as_buffer(constants)
        self.weights = Buffer(K * (D + 1))
        for k in range(K):
            precision, norm = scales[k] * scales[k], 0
            for d in range(D):
                self.weights.data[d * K + k] = <real> (means[k, d] * precision)
                norm += means[k, d] * means[k, d]
            ratio = max(ratio, norm * precision)
            self.weights.data[D * K + k] = <real> (-0.5 * precision)
            self.constants.data[k] = <real> (constants[k] - 0.5 * precision * norm)
        self.about_centre = ratio <= MAX_CANCELLATION
        self.sum_terms(D, D)
        self.statistics_size = K * (D + 1)

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        append_squared_norm(tile, self.n_features)
        all_linear_forms(tile, self.weights.data, self.constants.data,
                         self.n_features + 1, self.n_components)

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        # The squared norm by itself: with the features, it might take a vector of its own.
        cdef Py_ssize_t D = self.n_features, K = self.n_components
        accumulate_terms(tile, D, D, K, statistics, D + 1)
        accumulate_in_lanes(tile, tile.x + D, tile.x_stride, 1, K, statistics + D, D + 1)


cdef class DiagGaussian(Emission):
    """Gaussian with a diagonal precision of its own for every component.

    Parameters
    ----------
    centre : ndarray of shape (n_features,), subtracted from the rows first
    means : ndarray of shape (n_components, n_features), less the centre
    scales : ndarray of shape (n_components, n_features), square roots of the precisions
    constants : ndarray of shape (n_components,), log-density at the mean

    Statistics: for every component first moments (n_features,), then second moments (n_features,),
    about the centre if `about_centre` and else about the means. About the centre, densities and
    moments cost two fused multiply-adds each for every (row, component, feature) instead of three and
    four operations, and lose to cancellation as much as (mean - centre)^2 exceeds the variance: which
    is used depends on that ratio.
    """

    cdef Buffer means, scales, scaled, constants

    def __init__(self, const double[::1] centre, const double[:, ::1] means,
                 const double[:, ::1] scales, const double[::1] constants):
        cdef Py_ssize_t k, d, K = means.shape[0], D = means.shape[1]
        cdef double s, ratio = 0
        cdef real* w
        require(constants.shape[0] == K)
        require(scales.shape[0] == K and scales.shape[1] == D)
        self.set_shape(K, D, D, centre)
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
        self.statistics_size = 2 * K * D
        if self.about_centre:
            self.sum_terms(D, 2 * D)

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        if self.about_centre:
            scaled_log_density(tile, tile.x, self.scaled.data, self.constants.data,
                               self.n_features, self.n_components)
        else:
            distant_log_density(tile, self.means.data, self.scales.data, self.constants.data,
                                self.n_features, self.n_components)

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        if self.about_centre:
            Emission.accumulate(self, tile, statistics)
        else:
            accumulate_central_moments(tile, self.means.data, NULL, self.n_features,
                                       self.n_components, statistics, 2 * self.n_features)


cdef class FullGaussian(Emission):
    """Gaussian with a precision matrix of its own for every component.

    Parameters
    ----------
    centre : ndarray of shape (n_features,)
    means : ndarray of shape (n_components, n_features), less the centre
    factors : ndarray of shape (n_components, n_features, n_features), lower-triangular
        P with P' P the precision
    constants : ndarray of shape (n_components,)

    Statistics: first and second moments, which `moments` unpacks. Where some mean is so many
    deviations from the centre that whitened rows and moments about the centre would cancel
    (not `about_centre`), the mean is subtracted first, and moments are about the means. About the
    centre, products of few features are terms of a row, the same for every component; with many
    features, each component's triangle is summed in blocks, about its mean. So it is, about the
    centre, on tiles where most responsibilities are negligible, if features are not very few.
    """

    cdef Buffer means, factors, constants
    cdef Py_ssize_t factor_size
    cdef bint distant, in_blocks, has_triangles

    def __init__(self, const double[::1] centre, const double[:, ::1] means,
                 const double[:, :, ::1] factors, const double[::1] constants):
        cdef Py_ssize_t k, d, K = means.shape[0], D = means.shape[1]
        cdef double ratio = 0
        require(constants.shape[0] == K)
        require(factors.shape[0] == K and factors.shape[1] == D and factors.shape[2] == D)
        self.set_shape(K, D, D, centre)
        # Followed by the centre itself, 0.
        self.means = Buffer((K + 1) * row_vectors(D) * LANES)
        self.constants = as_buffer(constants)
        self.factor_size = packed_factor_size(D)
        self.factors = Buffer(K * self.factor_size)
        for k in range(K):
            ratio = max(ratio, largest_square(&factors[k, 0, 0], &means[k, 0], D))
        self.distant = ratio > MAX_CANCELLATION
        self.about_centre = not self.distant and D <= MAX_PRODUCT_FEATURES
        self.in_blocks = not self.about_centre or is_wide(D)
        for k in range(K):
            for d in range(D):
                self.means.data[k * row_vectors(D) * LANES + d] = <real> means[k, d]
            if self.distant:
                pack_factor(&factors[k, 0, 0], NULL, D, self.factors.data + k * self.factor_size)
            else:
                pack_factor(&factors[k, 0, 0], &means[k, 0], D,
                            self.factors.data + k * self.factor_size)
        if self.about_centre:
            self.sum_terms(D, D + triangle(D))
        else:
            self.statistics_size = K * D
        if self.in_blocks:
            self.add_triangles()

    cdef void add_triangles(self) noexcept:
        """Have room for triangles that are summed in blocks."""
        if not self.has_triangles:
            self.has_triangles = True
            self.scratch_per_row = max(
                self.scratch_per_row, scratch_for_scatter(self.n_features))
            self.statistics_size += self.n_components * triangle(self.n_features)

    def moments(self, const double[::1] sums, double[:, ::1] first, double[:, :, ::1] second):
        """Unpack into first moments (n_components, n_features) and symmetric second ones, zeros."""
        cdef Py_ssize_t D = self.n_features, K = self.n_components, k, i, j, s, at = 0
        require(sums.shape[0] == self.statistics_size)
        require(first.shape[0] == K and first.shape[1] == D)
        require(second.shape[0] == K and second.shape[1] == D and second.shape[2] == D)
        for k in range(K):
            for i in range(D):
                first[k, i] = sums[at]
                at += 1
            for s in range(D // 2 + 1 if self.about_centre else 0):
                for i in range(D // 2 if 2 * s == D else D):
                    j = (i + s) % D
                    second[k, i, j] = second[k, j, i] = sums[at]
                    at += 1
        for k in range(K if self.has_triangles else 0):
            for i in range(D):
                for j in range(i + 1):
                    second[k, i, j] += sums[at]
                    second[k, j, i] = second[k, i, j]
                    at += 1

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        cdef Py_ssize_t k
        for k in range(self.n_components):
            self.log_density_of_component(tile, k)

    cdef void log_density_of_component(self, const Tile* tile, Py_ssize_t k) noexcept nogil:
        cdef Py_ssize_t D = self.n_features
        cdef const real* mean = NULL
        if self.distant:
            mean = self.means.data + k * row_vectors(D) * LANES
        whitened_log_density(tile, k, self.factors.data + k * self.factor_size, mean,
                             self.constants.data[k], D)

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        cdef Py_ssize_t D = self.n_features, K = self.n_components, n_v = row_vectors(D), k
        cdef Py_ssize_t of_component = self.n_terms if self.about_centre else D
        cdef const vreal* means = <const vreal*> self.means.data
        if not self.in_blocks or self.about_centre and not is_sparse(tile, K):
            Emission.accumulate(self, tile, statistics)
            return
        if is_wide(D):
            rows_of_tile(tile, D, tile.scratch)
        for k in range(K):
            accumulate_component(tile, k, means + (K if self.about_centre else k) * n_v, D,
                                 statistics + k * of_component,
                                 statistics + K * of_component + k * triangle(D))


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
        require(factor.shape[0] == D and factor.shape[1] == D)
        self.set_shape(K, D, D, centre)
        self.statistics_size = K * D + triangle(D)
        self.scratch_per_row = scratch_for_scatter(D)
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
                    whiten_rows(x, tile.x_stride, factor, row, D, 4, block)
                else:
                    whiten_rows(x, tile.x_stride, factor, row, D, 2, block)
                factor += n_rows + n_rows * min(row + n_rows, D)
                for h in range(min(n_rows, D - row)):
                    for v in range(VECTORS):
                        y[(i + v) * tile.x_stride + row + h] = block[h * VECTORS + v]
        scaled_log_density(tile, y, self.scaled.data, self.constants.data, D, self.n_components)

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        cdef Py_ssize_t D = self.n_features, K = self.n_components, k
        if not self.about_centre:
            if is_wide(D):
                rows_of_tile(tile, D, tile.scratch)
            for k in range(K):
                accumulate_component(tile, k, <const vreal*> self.means.data + k * row_vectors(D),
                                     D, statistics + k * D, statistics + K * D)
            return
        accumulate_in_lanes(tile, tile.x, tile.x_stride, D, K, statistics, D)
        accumulate_scatter_of_all(tile, D, statistics + K * D)
