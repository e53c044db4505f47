# A gate: the distribution of the latent variable depends on covariates of the row.

cdef Py_ssize_t GATE_PAIRS = 16     # of components, whose weights of rows are summed at a time


cdef class GateRoom:
    """Memory of one thread for the covariates of a tile of rows, and what a gate makes of them."""

    cdef Workspace workspace
    cdef Buffer probabilities


cdef class Gate(MixtureWeights):
    """Independent latent variables with p(z = k | x) proportional to exp(levels[k] + z' coef[k]),
    where z are covariates x of the row less their centre.

    Parameters
    ----------
    covariates : ndarray of shape (n_rows, n_covariates), of this build's precision
    centre : ndarray of shape (n_covariates,)
    coef : ndarray of shape (n_components, n_covariates)
    levels : ndarray of shape (n_components,)
    assignment, seed, iteration, first_row : see `MixtureWeights`

    Statistics, with p_k = p(z = k | x), responsibilities r_k and weights w of rows: sums of
    r_k - w p_k for every component, and of (r_k - w p_k) z; then sums for weights w, w p_0 p_1,
    w p_0 p_2, ..., w p_1 p_2, ... of every pair of components; then for each of these the sums over
    terms of z, those of first order and all products of two (see terms.pxi). They are the gradient
    of the expected log p(z | x), the scatter of all rows, and the Hessian.
    """

    cdef Emission terms         # how covariates are packed, and which terms of them are summed
    cdef Buffer coef, levels
    cdef object block
    cdef Rows source
    cdef Py_ssize_t n_rows

    def __init__(self, covariates, const double[::1] centre, const double[:, ::1] coef,
                 const double[::1] levels, *, str assignment="soft",
                 uint64_t seed=0, uint64_t iteration=0, Py_ssize_t first_row=0):
        cdef Py_ssize_t K = coef.shape[0], D = coef.shape[1], k, d
        require(levels.shape[0] == K)
        MixtureWeights.__init__(self, zeros(K), assignment=assignment, seed=seed,
                                iteration=iteration, first_row=first_row)
        self.terms = Emission()
        self.terms.set_shape(K, D, D, centre)
        self.terms.sum_terms(D, D + triangle(D))
        self.block, self.source = covariates, described(covariates, self.terms)
        self.n_rows = covariates.shape[0]
        self.levels = as_buffer(levels)
        self.coef = Buffer(D * K)
        for k in range(K):
            for d in range(D):
                self.coef.data[d * K + k] = <real> coef[k, d]
        self.statistics_size = K * (1 + D) + (1 + K * (K - 1) // 2) * (1 + self.terms.n_terms)

    cdef bint fits(self, Py_ssize_t n_rows) noexcept:
        return self.n_rows == n_rows

    cdef object room(self, Tile* tile, Py_ssize_t rows):
        cdef GateRoom room = GateRoom()
        room.workspace = Workspace(self.terms, rows, max(self.n_components, GATE_PAIRS))
        room.probabilities = Buffer(rows * odd_stride(self.n_components))
        room.workspace.tile.densities = <vreal*> room.probabilities.data
        room.workspace.tile.source = &self.source
        tile.covariates = &room.workspace.tile
        return room

    cdef Py_ssize_t respond(
        self, Tile* tile, const Labels* labels, double* log_likelihood, double* counts,
    ) noexcept nogil:
        cdef Tile* mine = tile.covariates
        cdef Py_ssize_t K = self.n_components, row
        mine.first, mine.rows, mine.vectors = tile.first, tile.rows, tile.vectors
        mine.weights = tile.weights
        self.terms.read(mine, self.n_rows, tile.each_row)
        all_linear_forms(mine, self.coef.data, self.levels.data, self.terms.n_features, K)
        add_log_probabilities(tile, mine, self.log_weights.data, K)
        row = MixtureWeights.respond(self, tile, labels, log_likelihood, counts)
        if tile.accumulating:
            # Weights may be negative, so that none is negligible.
            mine.n_positive = mine.vectors * LANES * max(K, GATE_PAIRS)
            list_active(mine, max(K, GATE_PAIRS))
            self.add_gradient(tile, mine, counts + K)
            self.add_hessian(mine, counts + K + K * (1 + self.terms.n_features))
        return row

    cdef void add_gradient(self, const Tile* tile, Tile* mine, double* sums) noexcept nogil:
        cdef Py_ssize_t K = self.n_components, D = self.terms.n_features, i, k
        cdef const vreal* r = tile.responsibilities
        cdef const vreal* p = mine.densities
        cdef vreal* out = mine.responsibilities
        for i in range(mine.vectors):
            for k in range(K):
                out[k] = r[k] - p[k] * mine.weights[i]
            r += tile.r_stride
            p += odd_stride(K)
            out += mine.r_stride
        add_counts(mine, K, sums)
        accumulate_terms(mine, D, D, K, sums + K, D)

    cdef void add_hessian(self, Tile* mine, double* sums) noexcept nogil:
        """Sums for the weights of rows, then for those of pairs of components, some at a time."""
        cdef Py_ssize_t K = self.n_components, n_pairs = 1 + K * (K - 1) // 2
        cdef Py_ssize_t k = 0, other = 0, first, n, column
        for first from 0 <= first < n_pairs by GATE_PAIRS:
            n = min(GATE_PAIRS, n_pairs - first)
            for column in range(n):
                # (0, 0) stands for all rows.
                weigh_pair(mine, k, other, odd_stride(K), column)
                other += 1
                if other == K:
                    k += 1
                    other = k + 1
            add_counts(mine, n, sums + first)
            accumulate_terms(mine, self.terms.n_features, self.terms.n_terms, n,
                             sums + n_pairs + first * self.terms.n_terms, self.terms.n_terms)


cdef void weigh_pair(
    Tile* mine,                 # OUT  responsibilities, of one column
    Py_ssize_t k, Py_ssize_t other, Py_ssize_t stride, Py_ssize_t column,
) noexcept nogil:
    """w p_k p_other; w if both are the same."""
    cdef Py_ssize_t i
    cdef const vreal* p = mine.densities
    cdef vreal* out = mine.responsibilities + column
    for i in range(mine.vectors):
        out[0] = mine.weights[i] if k == other else p[k] * p[other] * mine.weights[i]
        p += stride
        out += mine.r_stride


cdef void add_log_probabilities(
    Tile* tile,                 # INOUT  responsibilities: log-densities, to which they are added
    Tile* mine,                 # INOUT  responsibilities: linear forms; densities: probabilities
    const real* nothing,        # IN     (K,), zeros
    Py_ssize_t K,
) noexcept nogil:
    """The softmax of the linear forms of every row."""
    cdef Py_ssize_t i, v, k, stride = odd_stride(K)
    cdef const vreal* a = mine.responsibilities
    cdef vreal* p = mine.densities
    cdef vreal* out = tile.responsibilities
    cdef vreal m[VECTORS]
    cdef vreal total[VECTORS]
    cdef vreal ones[VECTORS]
    cdef vreal shift
    cdef vbits n_positive = vno_counts()
    for v in range(VECTORS):
        ones[v] = splat(1)
    for i from 0 <= i < mine.vectors by VECTORS:
        for v in range(VECTORS):
            for k in range(K):
                p[v * stride + k] = a[v * mine.r_stride + k]
        normalise(p, stride, nothing, K, ones, m, total, &n_positive)
        for v in range(VECTORS):
            shift = m[v] + vlog(total[v])
            for k in range(K):
                out[v * tile.r_stride + k] = (
                    out[v * tile.r_stride + k] + (a[v * mine.r_stride + k] - shift))
        a += VECTORS * mine.r_stride
        p += VECTORS * stride
        out += VECTORS * tile.r_stride
