# Emissions whose log-density is linear in the columns of a row.

cdef inline void linear_forms(
    const vreal* x, Py_ssize_t x_stride,
    const real* w, const real* constants, Py_ssize_t D, Py_ssize_t K, Py_ssize_t n_k,
    vreal* out, Py_ssize_t r_stride,
) noexcept nogil:
    """out[k] = constants[k] + sum_d x_d w[d, k] for n_k components and VECTORS vectors of rows."""
    cdef vreal acc[4 * VECTORS]
    cdef vreal xv
    cdef Py_ssize_t d, v, h
    for h in range(n_k):
        for v in range(VECTORS):
            acc[h * VECTORS + v] = splat(constants[h])
    for d in range(D):
        for v in range(VECTORS):
            xv = x[v * x_stride + d]
            for h in range(n_k):
                acc[h * VECTORS + v] = acc[h * VECTORS + v] + xv * w[h]
        w += K
    for v in range(VECTORS):
        for h in range(n_k):
            out[v * r_stride + h] = acc[h * VECTORS + v]


cdef void all_linear_forms(
    const Tile* tile,            # OUT  responsibilities
    const real* w,               # IN   (C, K)
    const real* constants,       # IN   (K,)
    Py_ssize_t C, Py_ssize_t K,
) noexcept nogil:
    """log p = constants[k] + sum_c x_c w[c, k], up to a term that all components share."""
    cdef Py_ssize_t k, i, xs = tile.x_stride, rs = tile.r_stride
    cdef const vreal* x
    cdef vreal* out
    for i from 0 <= i < tile.vectors by VECTORS:
        x = tile.x + i * xs
        out = tile.responsibilities + i * rs
        k = 0
        while k < K:
            if K - k >= 4 and COLUMNS == 8:
                linear_forms(x, xs, w + k, constants + k, C, K, 4, out + k, rs)
                k += 4
            elif K - k >= 2:
                linear_forms(x, xs, w + k, constants + k, C, K, 2, out + k, rs)
                k += 2
            else:
                linear_forms(x, xs, w + k, constants + k, C, K, 1, out + k, rs)
                k += 1


cdef class LinearForms(Emission):
    """A log-density that is linear in the row, up to a term that all components share.

    Where a feature may be missing (NaN), a row has columns for what there is: log p = constant +
    sum_d x_d w_d + t_d w_(D + d), with t_d = 1, or x_d = t_d = 0 for a feature that is missing.

    Parameters
    ----------
    centre : ndarray of shape (n_features,), subtracted from the rows first
    weights : ndarray of shape (n_components, n_features), or (n_components, 2 n_features) where
        features may be missing
    constants : ndarray of shape (n_components,)

    Statistics: sums of r (x - centre) and, where features may be missing, of r t for every component.
    """

    cdef Buffer weights, constants
    cdef bint may_miss

    def __init__(self, const double[::1] centre, const double[:, ::1] weights,
                 const double[::1] constants):
        cdef Py_ssize_t k, c, K = weights.shape[0], C = weights.shape[1], D = centre.shape[0]
        require(constants.shape[0] == K and (C == D or C == 2 * D))
        self.set_shape(K, D, C, centre)
        self.may_miss = C > D
        self.about_centre = True
        self.constants = as_buffer(constants)
        self.weights = Buffer(K * C)
        for k in range(K):
            for c in range(C):
                self.weights.data[c * K + k] = <real> weights[k, c]
        self.sum_terms(C, C)

    cdef void read(self, Tile* tile, Py_ssize_t stop, bint weighted) noexcept nogil:
        cdef Py_ssize_t i
        Emission.read(self, tile, stop, weighted)
        if self.may_miss:
            for i in range(tile.vectors):
                split_missing(tile, self.n_features, i)

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        all_linear_forms(tile, self.weights.data, self.constants.data,
                         self.n_columns, self.n_components)


cdef void split_missing(const Tile* tile, Py_ssize_t D, Py_ssize_t i) noexcept nogil:
    """Columns D on become 1 where a number is there, and 0 where it is missing, as it is then."""
    cdef vreal* x = tile.x + i * tile.x_stride
    cdef Py_ssize_t d
    for d in range(D):
        x[D + d] = known(x[d])
        x[d] = zero_for_missing(x[d])
    if tile.rows_of_x != NULL:
        transpose_to_rows(tile, 2 * D, i)
