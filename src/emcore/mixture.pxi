# Latent structures: how z is distributed, and what log-densities become responsibilities by it.

cdef class Latent:
    """The distribution of the latent variable, on tiles of rows."""

    cdef readonly Py_ssize_t n_components

    cdef Py_ssize_t respond(
        self, Tile* tile, const Labels* labels, double* log_likelihood, double* counts,
    ) noexcept nogil:
        """Turn tile.responsibilities from log-densities into weighted responsibilities.

        Adds the weighted log-likelihood and the sum of responsibilities of every component, and
        returns the first row that no component allows, or -1.
        """
        return -1


ctypedef struct Labels:
    # Either may be NULL.
    const int32_t* component          # (n_rows,)               the component of a row, or -1
    const unsigned char* allowed      # (n_rows, n_components)  the components a row may have


cdef void restrict_to_labels(
    const Tile* tile, const Labels* labels, Py_ssize_t K,
) noexcept nogil:
    """A component that the label of a row excludes has log-density -inf there."""
    cdef real* out
    cdef Py_ssize_t b, k, first = tile.first
    for b in range(tile.rows):
        out = <real*> (tile.responsibilities + b // LANES * tile.r_stride) + b % LANES
        for k in range(K):
            if ((labels.component != NULL and labels.component[first + b] >= 0
                    and labels.component[first + b] != k)
                    or (labels.allowed != NULL and not labels.allowed[(first + b) * K + k])):
                out[k * LANES] = <real> -INFINITY


cdef class MixtureWeights(Latent):
    """Independent latent variables: log p(z = k) = log_weights[k]."""

    cdef Buffer log_weights

    def __init__(self, const double[::1] log_weights):
        self.n_components = log_weights.shape[0]
        self.log_weights = as_buffer(log_weights)

    cdef Py_ssize_t respond(
        self, Tile* tile, const Labels* labels, double* log_likelihood, double* counts,
    ) noexcept nogil:
        # With a_k = log p(z = k) + log p(x | k) and m = max_k a_k,
        #   log p(x) = m + log sum_k exp(a_k - m),   r_k = weight exp(a_k - m) / sum_k exp(a_k - m).
        # The sum is at least 1 unless every a_k is -inf. A term below exp(NEGLIGIBLE) is lost in it
        # by rounding and counts as zero; vectors of rows where a component has only such terms are
        # left out of the accumulation.
        cdef Py_ssize_t K = self.n_components, i, k, b, impossible = -1
        cdef vreal* a
        cdef vreal m, total, scale, row, term, ll = splat(0)
        cdef vreal zero = splat(0), one = splat(1), lowest = splat(LOWEST)
        cdef const real* log_weights = self.log_weights.data
        cdef Py_ssize_t* n_active = tile.n_active
        cdef int32_t* active = tile.active
        cdef int of_pair
        cdef Py_ssize_t n_positive = 0
        if labels.component != NULL or labels.allowed != NULL:
            restrict_to_labels(tile, labels, K)
        for k in range((K + 1) // 2):
            n_active[k] = 0
        for i in range(tile.vectors):
            a = tile.responsibilities + i * tile.r_stride
            m = lowest
            for k in range(K):
                term = a[k] + log_weights[k]
                a[k] = term
                m = vmax(term, m)
            total = zero
            for k in range(K):
                term = a[k] - m
                term = vexp_above(term, NEGLIGIBLE)
                a[k] = term
                total = total + term
            total = vmax(total, one)
            row = m + vlog(total)
            tile.log_likelihoods[i] = row
            ll = ll + vwhere_greater(m, lowest, row, zero) * tile.weights[i]
            scale = tile.weights[i] / total
            of_pair = 0
            for k in range(K):
                term = a[k] * scale
                a[k] = term
                of_pair += vcount_positive(term)
                if k % 2 == 1 or k == K - 1:
                    active[k // 2 * tile.vectors + n_active[k // 2]] = <int32_t> i
                    n_active[k // 2] += of_pair > 0
                    n_positive += of_pair
                    of_pair = 0
        tile.n_positive = n_positive
        for b in range(tile.rows):
            if not (<real*> tile.log_likelihoods)[b] > LOWEST:
                (<real*> tile.log_likelihoods)[b] = <real> -INFINITY
                if (<real*> tile.weights)[b] > 0 and impossible < 0:
                    impossible = tile.first + b
        log_likelihood[0] += vsum(ll)
        for k in range(K):
            total = zero
            for i in range(tile.vectors):
                total = total + tile.responsibilities[i * tile.r_stride + k]
            counts[k] += vsum(total)
        return impossible
