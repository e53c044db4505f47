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

    Parameters
    ----------
    centre : ndarray of shape (n_features,), subtracted from the rows first
    weights : ndarray of shape (n_components, n_features)
    constants : ndarray of shape (n_components,)

    Statistics: sums of r (x - centre), (n_components, n_features).
    """

    cdef Buffer weights, constants

    def __init__(self, const double[::1] centre, const double[:, ::1] weights,
                 const double[::1] constants):
        cdef Py_ssize_t k, d, K = weights.shape[0], D = weights.shape[1]
        require(constants.shape[0] == K)
        self.set_shape(K, D, D, centre)
        self.about_centre = True
        self.constants = as_buffer(constants)
        self.weights = Buffer(K * D)
        for k in range(K):
            for d in range(D):
                self.weights.data[d * K + k] = <real> weights[k, d]
        self.sum_terms(D, D)

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        all_linear_forms(tile, self.weights.data, self.constants.data,
                         self.n_columns, self.n_components)
