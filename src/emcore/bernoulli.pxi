# Bernoulli emission: independent binary features.

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


cdef class Bernoulli(Emission):
    """Independent binary features.

    Parameters
    ----------
    reference : ndarray of shape (n_features,), 0 or 1, subtracted from the rows first
    logits : ndarray of shape (n_components, n_features), log p - log(1 - p)
    constants : ndarray of shape (n_components,), log-density of the reference

    Statistics: sums of r (x - reference), (n_components, n_features).
    """

    cdef Buffer logits, constants

    def __init__(self, const double[::1] reference, const double[:, ::1] logits,
                 const double[::1] constants):
        cdef Py_ssize_t k, d, K = logits.shape[0], D = logits.shape[1]
        require(reference.shape[0] == D and constants.shape[0] == K)
        self.n_components, self.n_features = K, D
        self.statistics_size = K * D
        self.centre = as_buffer(reference)
        self.about_centre = True
        self.constants = as_buffer(constants)
        self.logits = Buffer(K * D)
        for k in range(K):
            for d in range(D):
                self.logits.data[d * K + k] = <real> logits[k, d]

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        # log p = constant + sum_d (x_d - reference_d) logit_d
        cdef Py_ssize_t D = self.n_features, K = self.n_components, k, i
        cdef const vreal* x
        cdef const real* w
        cdef vreal* out
        for i from 0 <= i < tile.vectors by VECTORS:
            x = tile.x + i * tile.x_stride
            k = 0
            while k < K:
                w = self.logits.data + k
                out = tile.responsibilities + i * tile.r_stride + k
                if K - k >= 4 and COLUMNS == 8:
                    linear_forms(x, tile.x_stride, w, self.constants.data + k, D, K, 4,
                                 out, tile.r_stride)
                    k += 4
                elif K - k >= 2:
                    linear_forms(x, tile.x_stride, w, self.constants.data + k, D, K, 2,
                                 out, tile.r_stride)
                    k += 2
                else:
                    linear_forms(x, tile.x_stride, w, self.constants.data + k, D, K, 1,
                                 out, tile.r_stride)
                    k += 1

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        accumulate_weighted_sums(tile, tile.x, self.n_features, self.n_components, statistics)
