# Bernoulli emission: independent binary features.

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
        self.n_components, self.n_features = K, D
        self.statistics_size = K * D
        self.centre = as_buffer(reference)
        self.about_centre = True
        self.constants = as_buffer(constants)
        self.logits = Buffer((K + 1) // 2 * 2 * D)
        for k in range(K):
            for d in range(D):
                self.logits.data[(k // 2 * D + d) * 2 + k % 2] = <real> logits[k, d]

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        # log p = constant + sum_d (x_d - reference_d) logit_d
        cdef Py_ssize_t D = self.n_features, K = self.n_components, k, i, d, v
        cdef Py_ssize_t xs = tile.x_stride, rs = tile.r_stride
        cdef const vreal* x
        cdef const real* w
        cdef vreal* out
        cdef vreal acc0[VECTORS]
        cdef vreal acc1[VECTORS]
        for i from 0 <= i < tile.vectors by VECTORS:
            x = tile.x + i * xs
            out = tile.responsibilities + i * rs
            for k from 0 <= k < K by 2:
                w = self.logits.data + k * D
                for v in range(VECTORS):
                    acc0[v] = splat(self.constants.data[k])
                    acc1[v] = splat(self.constants.data[min(k + 1, K - 1)])
                for d in range(D):
                    for v in range(VECTORS):
                        acc0[v] = acc0[v] + x[v * xs + d] * w[0]
                        acc1[v] = acc1[v] + x[v * xs + d] * w[1]
                    w += 2
                for v in range(VECTORS):
                    out[v * rs + k] = acc0[v]
                if k + 1 < K:
                    for v in range(VECTORS):
                        out[v * rs + k + 1] = acc1[v]

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        accumulate_weighted_sums(tile, tile.x, self.n_features, self.n_components, statistics)
