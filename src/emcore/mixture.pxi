# Latent structures: how z is distributed, and what log-densities become responsibilities by it.

cdef class Latent:
    """The distribution of the latent variable, on tiles of rows."""

    cdef readonly Py_ssize_t n_components
    cdef readonly Py_ssize_t n_uniform      # of these, the last ones, of which no emission knows
    cdef readonly Py_ssize_t statistics_size    # besides the sums of responsibilities

    cdef bint fits(self, Py_ssize_t n_rows) noexcept:
        """Whether it knows of so many rows."""
        return True

    cdef object room(self, Tile* tile, Py_ssize_t rows):
        """Memory for tiles of so many rows, which `tile` is told of and which the caller keeps."""
        return None

    cdef Py_ssize_t respond(
        self, Tile* tile, const Labels* labels, double* log_likelihood, double* counts,
    ) noexcept nogil:
        """Turn tile.responsibilities from log-densities into weighted responsibilities.

        Those of uniform components are not there yet. Adds the weighted log-likelihood and the sum
        of responsibilities of every component, and returns the first row that no component allows,
        or -1.
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
    vreal* a,                    # INOUT  (VECTORS, K)  log p(x | k), then weight times p(k | x)
    Py_ssize_t stride, const real* log_weights, Py_ssize_t K, const vreal* weights,
    vreal* m, vreal* total,      # OUT    (VECTORS,)
    vbits* n_positive,
) noexcept nogil:
    """With a_k = log p(k) + log p(x | k): m = max a, the sum of exp(a_k - m), and p(k | x).

    For VECTORS vectors of rows at a time, whose chains of operations overlap.
    """
    cdef Py_ssize_t k, v
    cdef vreal term
    for v in range(VECTORS):
        m[v] = splat(LOWEST)
        total[v] = splat(0)
    for k in range(K):
        for v in range(VECTORS):
            m[v] = vmax(a[v * stride + k] + log_weights[k], m[v])
    for k in range(K):
        for v in range(VECTORS):
            term = a[v * stride + k] + log_weights[k] - m[v]
            n_positive[0] = vcount_above(n_positive[0], term, NEGLIGIBLE)
            term = vexp_above(term, NEGLIGIBLE)
            a[v * stride + k] = term
            total[v] = total[v] + term
    for v in range(VECTORS):
        # At least 1 unless every a_k is -inf.
        total[v] = vmax(total[v], splat(1))
        term = weights[v] / total[v]
        for k in range(K):
            a[v * stride + k] = a[v * stride + k] * term


cdef inline void normalise_two(
    vreal* a, Py_ssize_t stride, const real* log_weights, const vreal* weights,
    vreal* m, vreal* total, vbits* n_positive,
) noexcept nogil:
    """`normalise` for two components, with one exponential."""
    cdef Py_ssize_t v
    cdef vreal a0, a1, low, small, weight, lowest = splat(LOWEST)
    for v in range(VECTORS):
        # vmax takes what is no number to be the lowest.
        a0 = vmax(a[v * stride] + log_weights[0], lowest)
        a1 = vmax(a[v * stride + 1] + log_weights[1], lowest)
        m[v] = vmax(a0, a1)
        low = vwhere_greater(a0, a1, a1, a0) - m[v]
        n_positive[0] = vcount_above(n_positive[0], low, NEGLIGIBLE)
        n_positive[0] = vcount_above(n_positive[0], m[v], LOWEST)
        small = vexp_above(low, NEGLIGIBLE)
        total[v] = small + <real> 1
        weight = vwhere_greater(m[v], lowest, weights[v], splat(0)) / total[v]
        small = small * weight
        a[v * stride] = vwhere_greater(a0, a1, weight, small)
        a[v * stride + 1] = vwhere_greater(a0, a1, small, weight)


cdef inline void choose(
    vreal* a,                    # INOUT  (VECTORS, K)  log p(x | k), then the weight or 0
    Py_ssize_t stride, const real* log_weights, Py_ssize_t K, const vreal* weights,
    vreal* m, vreal* total,      # OUT    (VECTORS,)
    vbits* n_positive,
) noexcept nogil:
    """`normalise`, but all goes to the first k with the largest a_k, and no other is summed."""
    cdef Py_ssize_t k, v
    cdef vreal joint, below
    cdef vreal best[VECTORS]
    cdef vreal zero = splat(0)
    for v in range(VECTORS):
        m[v] = splat(LOWEST)
        best[v] = splat(-1)
        total[v] = splat(1)
    for k in range(K):
        for v in range(VECTORS):
            joint = a[v * stride + k] + log_weights[k]
            best[v] = vwhere_greater(joint - m[v], zero, splat(<real> k), best[v])
            m[v] = vmax(joint, m[v])
    for v in range(VECTORS):
        n_positive[0] = vcount_above(n_positive[0], best[v], -1)
        for k in range(K):
            below = vwhere_greater(best[v], splat(k - <real> 0.5), weights[v], zero)
            a[v * stride + k] = vwhere_greater(best[v], splat(k + <real> 0.5), zero, below)


cdef uint64_t GOLDEN = 0x9e3779b97f4a7c15ULL


cdef inline uint64_t mixed(uint64_t z) noexcept nogil:
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL
    return z ^ (z >> 31)


cdef inline real uniform(uint64_t key, uint64_t row) noexcept nogil:
    """A number in [0, 1) for every row: output `row` of SplitMix64 seeded with the key.

    Steele, G. L., Lea, D. and Flood, C. H. (2014). Fast splittable pseudorandom number generators.
    OOPSLA '14, 453-472.
    """
    cdef uint64_t z = mixed(key + (row + 1) * GOLDEN)
    # One digit less than a real has: u c < c even after rounding.
    if sizeof(real) == 8:
        return <real> (<double> (z >> 12) * (1.0 / 4503599627370496.0))
    return <real> (<double> (z >> 41) * (1.0 / 8388608.0))


cdef void draw(
    Tile* tile,                  # INOUT  responsibilities: the weight of one component, else 0
    Py_ssize_t K, uint64_t key, Py_ssize_t first_row,
) noexcept nogil:
    """Draw the component of every row: the first whose cumulated responsibility exceeds u r."""
    cdef Py_ssize_t i, k, lane
    cdef vreal* r
    cdef vreal u, total, before, after, chosen, zero = splat(0)
    for i in range(tile.vectors):
        r = tile.responsibilities + i * tile.r_stride
        total = zero
        for k in range(K):
            total = total + r[k]
        for lane in range(LANES):
            (<real*> &u)[lane] = uniform(
                key, <uint64_t> (first_row + tile.first + i * LANES + lane))
        u = u * total
        before = zero
        for k in range(K):
            after = before + r[k]
            chosen = vwhere_greater(after, u, tile.weights[i], zero)
            r[k] = vwhere_greater(before, u, zero, chosen)
            before = after
    tile.n_positive = tile.vectors * LANES


cdef enum Assignment:
    SOFT
    HARD
    STOCHASTIC


cdef class MixtureWeights(Latent):
    """Independent latent variables: log p(z = k) = log_weights[k].

    With a_k = log p(z = k) + log p(x | k) and m = max_k a_k,

        log p(x) = m + log sum_k exp(a_k - m),   r_k = weight exp(a_k - m) / sum_k exp(a_k - m).

    A term below exp(NEGLIGIBLE) is lost in the sum by rounding and counts as zero.

    Parameters
    ----------
    log_weights : ndarray of shape (n_components,)
    assignment : {"soft", "hard", "stochastic"}
        With "hard", r_k is the weight for the first k with a_k = m, else 0, and log p(x) gives way
        to m; with "stochastic", a component that is drawn with probability r_k gets the weight.
    seed, iteration, first_row : int
        Draws depend on these and on the index of the row, `first_row` for the first one.
    background : float, optional
        The log-density of the last component, the same for every row.
    background_of_rows : ndarray of shape (n_rows,), optional
        What is added to that of single rows.
    """

    cdef Buffer log_weights
    cdef Py_ssize_t rows_per_log
    cdef Assignment assignment
    cdef uint64_t key
    cdef Py_ssize_t first_row
    cdef real background
    cdef const double[::1] background_of_rows

    def __init__(self, const double[::1] log_weights, *, str assignment="soft",
                 uint64_t seed=0, uint64_t iteration=0, Py_ssize_t first_row=0, background=None,
                 const double[::1] background_of_rows=None):
        cdef Py_ssize_t K = log_weights.shape[0]
        self.n_uniform = background is not None
        require(K > self.n_uniform and assignment in ("soft", "hard", "stochastic") and first_row >= 0)
        self.n_components = K
        self.log_weights = as_buffer(log_weights)
        self.assignment = {"soft": SOFT, "hard": HARD, "stochastic": STOCHASTIC}[assignment]
        self.key = mixed(mixed(seed + GOLDEN) + (iteration + 1) * GOLDEN)
        self.first_row = first_row
        self.background = <real> (0.0 if background is None else background)
        self.background_of_rows = background_of_rows
        # Sums of K terms of at most 1, whose product must stay below 2^1024 (2^128).
        self.rows_per_log = (1000 if sizeof(real) == 8 else 120) // int.bit_length(K)

    cdef Py_ssize_t respond(
        self, Tile* tile, const Labels* labels, double* log_likelihood, double* counts,
    ) noexcept nogil:
        cdef Py_ssize_t K = self.n_components
        if self.n_uniform:
            self.fill_background(tile)
        return self.respond_by(self.log_weights.data, K, tile, labels, log_likelihood, counts)

    cdef Py_ssize_t respond_by(
        self, const real* log_weights, Py_ssize_t K, Tile* tile, const Labels* labels,
        double* log_likelihood, double* counts,
    ) noexcept nogil:
        """The same for K components with these weights, which tile.responsibilities begin with."""
        cdef Py_ssize_t i, v, room = self.rows_per_log
        cdef vreal* a = tile.responsibilities
        cdef const vreal* weights = tile.weights
        cdef vreal m[VECTORS]
        cdef vreal total[VECTORS]
        cdef vreal row, ll = splat(0), product = splat(1)
        cdef vreal zero = splat(0), one = splat(1), lowest = splat(LOWEST)
        cdef vbits n_positive = vno_counts(), n_possible = vno_counts()
        if labels.component != NULL or labels.allowed != NULL:
            restrict_to_labels(tile, labels, K)
        for i from 0 <= i < tile.vectors by VECTORS:
            if self.assignment == HARD:
                choose(a, tile.r_stride, log_weights, K, weights, m, total, &n_positive)
            elif K == 2:
                normalise_two(a, tile.r_stride, log_weights, weights, m, total, &n_positive)
            else:
                normalise(a, tile.r_stride, log_weights, K, weights, m, total, &n_positive)
            for v in range(VECTORS):
                n_possible = vcount_above(n_possible, m[v], LOWEST)
                if tile.each_row:
                    row = m[v] + vlog(total[v])
                    tile.log_likelihoods[i + v] = vwhere_greater(
                        m[v], lowest, row, splat(<real> -INFINITY))
                    ll = ll + vwhere_greater(m[v], lowest, row, zero) * weights[v]
                else:
                    # Not each_row: every weight is 1, or 0 in padding.
                    ll = ll + vwhere_greater(m[v], lowest, m[v], zero) * weights[v]
                    product = product * vwhere_greater(weights[v], zero, total[v], one)
            a += VECTORS * tile.r_stride
            weights += VECTORS
            # log a + log b = log ab: one logarithm for many rows.
            room -= VECTORS
            if room < VECTORS:
                ll = ll + vlog(product)
                product = one
                room = self.rows_per_log
        log_likelihood[0] += vsum(ll + vlog(product))
        tile.n_positive = vcount_sum(n_positive)
        if self.assignment == STOCHASTIC:
            draw(tile, K, self.key, self.first_row)
        add_counts(tile, K, counts)
        if vcount_sum(n_possible) < tile.vectors * LANES:
            return first_impossible(tile, K)
        return -1

    cdef bint fits(self, Py_ssize_t n_rows) noexcept:
        return self.background_of_rows is None or self.background_of_rows.shape[0] == n_rows

    cdef void fill_background(self, Tile* tile) noexcept nogil:
        """The log-densities of the last component."""
        cdef Py_ssize_t i, b
        cdef vreal* out = tile.responsibilities + self.n_components - 1
        for i in range(tile.vectors):
            out[i * tile.r_stride] = splat(self.background)
        if self.background_of_rows is None:
            return
        for b in range(tile.rows):
            (<real*> (out + b // LANES * tile.r_stride))[b % LANES] += <real> (
                self.background_of_rows[tile.first + b])


cdef class SideBySide(MixtureWeights):
    """Several mixtures of all rows, of equally many components, which come one after the other.

    The log-likelihood is the sum of theirs; those of each mixture are statistics. Those of single
    rows are of the last mixture.

    Parameters
    ----------
    log_weights : ndarray of shape (n_mixtures * n_components,)
    n_mixtures : int
    assignment : {"soft", "hard"}
    """

    cdef readonly Py_ssize_t n_mixtures

    def __init__(self, const double[::1] log_weights, Py_ssize_t n_mixtures, *,
                 str assignment="soft"):
        require(n_mixtures > 0 and log_weights.shape[0] % n_mixtures == 0
                and assignment in ("soft", "hard"))
        MixtureWeights.__init__(self, log_weights, assignment=assignment)
        self.n_mixtures = self.statistics_size = n_mixtures

    cdef Py_ssize_t respond(
        self, Tile* tile, const Labels* labels, double* log_likelihood, double* counts,
    ) noexcept nogil:
        cdef Py_ssize_t K = self.n_components // self.n_mixtures, n_positive = 0, i, row
        cdef Py_ssize_t impossible = -1
        cdef const real* log_weights = self.log_weights.data
        cdef double* log_likelihoods = counts + self.n_components
        cdef double own
        cdef Tile part = tile[0]
        for i in range(self.n_mixtures):
            own = 0
            row = self.respond_by(log_weights + i * K, K, &part, labels, &own, counts + i * K)
            if row >= 0 and (impossible < 0 or row < impossible):
                impossible = row
            log_likelihood[0] += own
            log_likelihoods[i] += own
            n_positive += part.n_positive
            part.responsibilities += K
        tile.n_positive = n_positive
        return impossible


cdef class Responsibilities(Latent):
    """Latent variables of which it is known how probable each value is, (n_rows, n_components)."""

    cdef const real[:, ::1] values

    def __init__(self, const real[:, ::1] values not None):
        self.values = values
        self.n_components = values.shape[1]

    cdef Py_ssize_t respond(
        self, Tile* tile, const Labels* labels, double* log_likelihood, double* counts,
    ) noexcept nogil:
        cdef Py_ssize_t b, k
        cdef real* r
        for b in range(tile.vectors * LANES):
            r = <real*> (tile.responsibilities + b // LANES * tile.r_stride) + b % LANES
            for k in range(self.n_components):
                r[k * LANES] = self.values[tile.first + b, k] if b < tile.rows else 0
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
