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


cdef inline void normalise(
    vreal* a,                    # INOUT  (K,)  log p(x | k), then weight times p(k | x)
    const real* log_weights, Py_ssize_t K, vreal weight,
    vreal* largest, vreal* total, vbits* n_positive,
) noexcept nogil:
    """With a_k = log p(k) + log p(x | k) and m = max a: m, the sum of exp(a_k - m), and p(k | x)."""
    cdef vreal m = splat(LOWEST), sum_ = splat(0), term
    cdef Py_ssize_t k
    for k in range(K):
        m = vmax(a[k] + log_weights[k], m)
    for k in range(K):
        term = a[k] + log_weights[k] - m
        n_positive[0] = vcount_above(n_positive[0], term, NEGLIGIBLE)
        term = vexp_above(term, NEGLIGIBLE)
        a[k] = term
        sum_ = sum_ + term
    # At least 1 unless every a_k is -inf.
    sum_ = vmax(sum_, splat(1))
    weight = weight / sum_
    for k in range(K):
        a[k] = a[k] * weight
    largest[0] = m
    total[0] = sum_


cdef inline void normalise_two(
    vreal* a, const real* log_weights, vreal weight,
    vreal* largest, vreal* total, vbits* n_positive,
) noexcept nogil:
    """`normalise` for two components, with one exponential."""
    cdef vreal a0 = a[0] + log_weights[0], a1 = a[1] + log_weights[1], lowest = splat(LOWEST)
    cdef vreal m = vmax(a0, vmax(a1, lowest)), low = vwhere_greater(a0, a1, a1, a0) - m
    cdef vreal small = vexp_above(low, NEGLIGIBLE)
    n_positive[0] = vcount_above(vcount_above(n_positive[0], low, NEGLIGIBLE), m, LOWEST)
    total[0] = small + <real> 1
    weight = vwhere_greater(m, lowest, weight, splat(0)) / total[0]
    small = small * weight
    a[0] = vwhere_greater(a0, a1, weight, small)
    a[1] = vwhere_greater(a0, a1, small, weight)
    largest[0] = m


cdef class MixtureWeights(Latent):
    """Independent latent variables: log p(z = k) = log_weights[k].

    With a_k = log p(z = k) + log p(x | k) and m = max_k a_k,

        log p(x) = m + log sum_k exp(a_k - m),   r_k = weight exp(a_k - m) / sum_k exp(a_k - m).

    A term below exp(NEGLIGIBLE) is lost in the sum by rounding and counts as zero.
    """

    cdef Buffer log_weights
    cdef Py_ssize_t rows_per_log

    def __init__(self, const double[::1] log_weights):
        self.n_components = log_weights.shape[0]
        self.log_weights = as_buffer(log_weights)
        # Sums of K terms of at most 1, whose product must stay below the largest real.
        self.rows_per_log = (1000 if sizeof(real) == 8 else 120) // max(1, int.bit_length(self.n_components))

    cdef Py_ssize_t respond(
        self, Tile* tile, const Labels* labels, double* log_likelihood, double* counts,
    ) noexcept nogil:
        cdef Py_ssize_t K = self.n_components, i, room = self.rows_per_log
        cdef const real* log_weights = self.log_weights.data
        cdef vreal* a = tile.responsibilities
        cdef vreal m, total, weight, ll = splat(0), product = splat(1)
        cdef vreal zero = splat(0), one = splat(1), lowest = splat(LOWEST)
        cdef vbits n_positive = vno_counts(), n_possible = vno_counts()
        if labels.component != NULL or labels.allowed != NULL:
            restrict_to_labels(tile, labels, K)
        for i in range(tile.vectors):
            weight = tile.weights[i]
            if K == 2:
                normalise_two(a, log_weights, weight, &m, &total, &n_positive)
            else:
                normalise(a, log_weights, K, weight, &m, &total, &n_positive)
            a += tile.r_stride
            n_possible = vcount_above(n_possible, m, LOWEST)
            if tile.each_row:
                total = m + vlog(total)
                tile.log_likelihoods[i] = vwhere_greater(m, lowest, total, splat(<real> -INFINITY))
                ll = ll + vwhere_greater(m, lowest, total, zero) * weight
                continue
            # Every weight is 1, or 0 in padding. log a + log b = log ab: one logarithm for many rows.
            ll = ll + vwhere_greater(m, lowest, m, zero) * weight
            product = product * vwhere_greater(weight, zero, total, one)
            room -= 1
            if room == 0:
                ll = ll + vlog(product)
                product = one
                room = self.rows_per_log
        log_likelihood[0] += vsum(ll + vlog(product))
        tile.n_positive = vcount_sum(n_positive)
        add_counts(tile, K, counts)
        if vcount_sum(n_possible) < tile.vectors * LANES:
            return first_impossible(tile, K)
        return -1


cdef void add_counts(const Tile* tile, Py_ssize_t K, double* counts) noexcept nogil:
    """counts[k] += sum of r_k."""
    cdef vreal sums[4]
    cdef const vreal* r
    cdef Py_ssize_t i, k, h
    for k from 0 <= k < K - 3 by 4:
        r = tile.responsibilities + k
        for h in range(4):
            sums[h] = splat(0)
        for i in range(tile.vectors):
            for h in range(4):
                sums[h] = sums[h] + r[h]
            r += tile.r_stride
        for h in range(4):
            counts[k + h] += vsum(sums[h])
    for k in range(K // 4 * 4, K):
        sums[0] = splat(0)
        for i in range(tile.vectors):
            sums[0] = sums[0] + tile.responsibilities[i * tile.r_stride + k]
        counts[k] += vsum(sums[0])


cdef Py_ssize_t first_impossible(const Tile* tile, Py_ssize_t K) noexcept nogil:
    """The first row of positive weight that no component is responsible for, or -1."""
    cdef const real* r
    cdef Py_ssize_t b, k
    cdef bint possible
    for b in range(tile.rows):
        r = <const real*> (tile.responsibilities + b // LANES * tile.r_stride) + b % LANES
        possible = (<real*> tile.weights)[b] == 0
        for k in range(K):
            possible = possible or r[k * LANES] > 0
        if not possible:
            return tile.first + b
    return -1
