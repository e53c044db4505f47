# Linear regression: the density of a target given the other columns of its row.

cdef void pack_last(
    const Rows* rows, real centre, Py_ssize_t column,
    Tile* tile,                 # OUT  this column of x; first, rows and vectors are read
) noexcept nogil:
    """The last column of rows that have it in an array of its own, less the centre."""
    cdef Py_ssize_t b
    cdef const char* at = rows.last + tile.first * rows.last_stride
    cdef real* out
    for b in range(tile.vectors * LANES):
        out = <real*> (tile.x + b // LANES * tile.x_stride + column) + b % LANES
        out[0] = (<const real*> at)[0] - centre if b < tile.rows else 0
        at += rows.last_stride if b < tile.rows else 0


cdef class LinearRegression(Emission):
    """A Gaussian target, the last column of a row, about a linear function of the other columns.

    With z the other columns less their centre, and the residual e = y - centre - level - z' coef,

        log p(y | z) = constant - (e scale)^2.

    The residual has all its digits wherever the rows are, and so have the sums that it enters.

    Parameters
    ----------
    centre : ndarray of shape (D + 1,), of the columns and of the target
    coef : ndarray of shape (n_components, D)
    levels : ndarray of shape (n_components,), the mean at the centre, less the centre of the target
    scales : ndarray of shape (n_components,), square roots of half the precisions
    constants : ndarray of shape (n_components,)

    Statistics: for every component the sums of r t over terms of z, first those of first order and
    then all products of two (see terms.pxi); then for every component the sums of r e z; of r e; of
    r e^2. The residuals are those of the component itself.
    """

    cdef Buffer forms, constants, negative_levels, scales
    cdef Py_ssize_t e_stride

    def __init__(self, const double[::1] centre, const double[:, ::1] coef, const double[::1] levels,
                 const double[::1] scales, const double[::1] constants):
        cdef Py_ssize_t K = coef.shape[0], D = coef.shape[1], k, d
        require(levels.shape[0] == K and scales.shape[0] == K and constants.shape[0] == K and D > 0)
        self.set_shape(K, D + 1, D + 1, centre)
        self.about_centre = True
        self.constants, self.scales = as_buffer(constants), as_buffer(scales)
        self.negative_levels = Buffer(K + LANES)
        self.forms = Buffer((D + 1) * K)
        for k in range(K):
            self.negative_levels.data[k] = <real> -levels[k]
            for d in range(D):
                self.forms.data[d * K + k] = <real> -coef[k, d]
            self.forms.data[D * K + k] = 1
        self.sum_terms(D, D + triangle(D))
        self.statistics_size += K * (D + 2)
        # Residuals, of which the sums of terms know nothing.
        self.e_stride = odd_stride(K)
        self.scratch_per_row += self.e_stride

    cdef void read(self, Tile* tile, Py_ssize_t stop, bint weighted) noexcept nogil:
        cdef Py_ssize_t D = self.run_length, i
        cdef Tile lanes = tile[0]
        # Rows are of the first columns only, of which terms are made.
        lanes.rows_of_x = NULL
        if tile.source.last == NULL:
            pack(tile.source, self.centre.data, D + 1, &lanes)
            prefetch_next(tile, stop, D + 1)
        else:
            pack(tile.source, self.centre.data, D, &lanes)
            pack_last(tile.source, self.centre.data[D], D, &lanes)
            prefetch_next(tile, stop, D)
        if weighted:
            blank_rows_of_no_weight(&lanes, D + 1)
        if tile.rows_of_x != NULL:
            for i in range(tile.vectors):
                transpose_to_rows(tile, D, i)

    cdef Tile with_residuals(self, const Tile* tile) noexcept nogil:
        """The same rows with residuals in place of responsibilities, and what scratch is left."""
        cdef Tile other = tile[0]
        other.responsibilities = tile.scratch
        other.r_stride = self.e_stride
        other.scratch = tile.scratch + tile.vectors * self.e_stride
        # They may be negative, so that none is negligible.
        other.n_positive = tile.vectors * LANES * self.n_components
        return other

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        cdef Tile residuals = self.with_residuals(tile)
        cdef Py_ssize_t i, k
        cdef const vreal* e = residuals.responsibilities
        cdef vreal* out = tile.responsibilities
        cdef vreal t
        all_linear_forms(&residuals, self.forms.data, self.negative_levels.data,
                         self.n_columns, self.n_components)
        for i in range(tile.vectors):
            for k in range(self.n_components):
                t = e[k] * self.scales.data[k]
                out[k] = splat(self.constants.data[k]) - t * t
            e += self.e_stride
            out += tile.r_stride

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        cdef Py_ssize_t K = self.n_components, D = self.run_length
        cdef Tile residuals = self.with_residuals(tile)
        cdef double* of_residuals = statistics + K * self.n_terms
        cdef Tile terms = tile[0]
        terms.scratch = residuals.scratch
        accumulate_terms(&terms, D, self.n_terms, K, statistics, self.n_terms)
        weight_residuals(tile, &residuals, K, of_residuals + K * D, of_residuals + K * (D + 1))
        accumulate_terms(&residuals, D, D, K, of_residuals, D)


cdef void weight_residuals(
    const Tile* tile,
    const Tile* residuals,      # INOUT  e, then r e in place of responsibilities
    Py_ssize_t K,
    double* first,              # INOUT  (K,)
    double* second,             # INOUT  (K,)
) noexcept nogil:
    """first += sum r e and second += sum r e^2, by components."""
    cdef Py_ssize_t i, k
    cdef const vreal* r
    cdef vreal* e
    cdef vreal re, sum1, sum2
    for k in range(K):
        r = tile.responsibilities + k
        e = residuals.responsibilities + k
        sum1 = splat(0)
        sum2 = splat(0)
        for i in range(tile.vectors):
            re = r[0] * e[0]
            sum1 = sum1 + re
            sum2 = sum2 + re * e[0]
            e[0] = re
            r += tile.r_stride
            e += residuals.r_stride
        first[k] += vsum(sum1)
        second[k] += vsum(sum2)
