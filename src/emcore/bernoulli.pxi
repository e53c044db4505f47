# Bernoulli emission: independent binary features.
#
# Rows are packed to bits, and four bits at a time are looked up: with y_d = |x_d - reference_d|,
#
#   sum_d y_d w_d   =  sum over groups of 4 features of  table[y of the group],   rows in the lanes,
#   sum_n r_n y_nd  =  sum over groups of 4 rows of      table[y of the group],   features in the lanes,
#
# where a table has the 16 sums of subsets of four numbers. A lookup and an addition take the place of
# four multiply-adds. Where a lookup is no instruction, rows are numbers.

cdef inline void lookup_sums(
    const real* tables,          # IN   (n_groups, K, 16)
    Py_ssize_t K,
    const vbits* words,          # IN   (n_v, n_words) with a stride
    Py_ssize_t stride, Py_ssize_t n_groups, Py_ssize_t n_k, Py_ssize_t n_v,
    vreal* sums,                 # OUT  (n_k, n_v)
) noexcept nogil:
    """n_k components, n_v vectors; both constants. A word holds NIBBLES groups."""
    cdef vreal acc[16]
    cdef vbits index[8]
    cdef Py_ssize_t w, g, h, v
    for h in range(n_k * n_v):
        acc[h] = splat(0)
    for w in range((n_groups + NIBBLES - 1) // NIBBLES):
        for v in range(n_v):
            index[v] = words[v * stride + w]
        for g in range(min(<Py_ssize_t> NIBBLES, n_groups - w * NIBBLES)):
            for h in range(n_k):
                for v in range(n_v):
                    acc[h * n_v + v] = acc[h * n_v + v] + vlookup(tables + h * 16, index[v])
            for v in range(n_v):
                index[v] = vnext_index(index[v])
            tables += K * 16
    for h in range(n_k * n_v):
        sums[h] = acc[h]


cdef inline void subset_sums(const real* terms, Py_ssize_t stride, real* table) noexcept nogil:
    """table[s] = sum of the terms whose bits are set in s."""
    cdef Py_ssize_t b, s
    table[0] = 0
    for b in range(4):
        for s in range(1 << b):
            table[(1 << b) + s] = table[s] + terms[b * stride]


cdef class Bernoulli(LinearForms):
    """Independent binary features.

    Parameters
    ----------
    reference : ndarray of shape (n_features,), 0 or 1, subtracted from the rows first
    logits : ndarray of shape (n_components, n_features), log p - log(1 - p)
    constants : ndarray of shape (n_components,), log-density of the reference

    Statistics: for every component sums of r (x - reference), (n_features,), and then the sum of r,
    taken in the same order: a feature that differs from its reference in every row has exactly that.
    """

    cdef Buffer tables           # (n_groups, K, 16)
    cdef Py_ssize_t n_groups

    def __init__(self, const double[::1] reference, const double[:, ::1] logits,
                 const double[::1] constants):
        super().__init__(reference, logits, constants)
        cdef Py_ssize_t D = self.n_features, K = self.n_components, d, k, g, b
        cdef real terms[4]
        self.n_columns = D + 1
        self.sum_terms(D + 1, 1)
        if not LOOKUPS:
            return
        self.scratch_per_row = max(self.scratch_per_row, 4 * K)
        self.n_words = D // WORD_BITS + 1
        self.flips = Buffer(self.n_words)
        for d in range(D + 1):
            # The feature after the last is 1 in every row.
            if d == D or reference[d] == 1:
                (<bits*> self.flips.data)[d // WORD_BITS] |= (<bits> 1) << (d % WORD_BITS)
        self.n_groups = (D + 3) // 4
        self.tables = Buffer(self.n_groups * K * 16)
        for g in range(self.n_groups):
            for k in range(K):
                for b in range(4):
                    d = 4 * g + b
                    terms[b] = 0 if d >= D else <real> (
                        -logits[k, d] if reference[d] == 1 else logits[k, d])
                subset_sums(terms, 1, self.tables.data + (g * K + k) * 16)

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        if tile.words == NULL:
            set_column(tile, self.n_features, splat(1))
            LinearForms.log_density(self, tile)
        else:
            self.log_density_of_bits(tile)

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        if tile.words == NULL:
            LinearForms.accumulate(self, tile, statistics)
        else:
            self.accumulate_bits(tile, statistics)

    cdef void log_density_of_bits(self, const Tile* tile) noexcept nogil:
        cdef Py_ssize_t K = self.n_components, W = tile.n_words, i, k, h, v, n_k
        cdef const real* tables
        cdef vreal sums[16]
        for i from 0 <= i < tile.vectors by 8:
            for k from 0 <= k < K by 2:
                tables = self.tables.data + k * 16
                n_k = min(<Py_ssize_t> 2, K - k)
                if n_k == 2:
                    lookup_sums(tables, K, tile.words + i * W, W, self.n_groups, 2, 8, sums)
                else:
                    lookup_sums(tables, K, tile.words + i * W, W, self.n_groups, 1, 8, sums)
                for h in range(n_k):
                    for v in range(min(<Py_ssize_t> 8, tile.vectors - i)):
                        tile.responsibilities[(i + v) * tile.r_stride + k + h] = (
                            sums[h * 8 + v] + self.constants.data[k + h])

    cdef void accumulate_bits(self, const Tile* tile, double* statistics) noexcept nogil:
        cdef Py_ssize_t K = self.n_components, C = self.n_features + 1, D = C - 1
        cdef Py_ssize_t n_groups = tile.vectors * LANES // 4, n_words, of_word = WORD_VECTORS
        cdef Py_ssize_t k, d, h, v, n_k
        cdef real* tables = <real*> tile.scratch
        cdef const vbits* columns
        cdef double* out
        cdef vreal sums[16]
        n_words = (tile.vectors + of_word - 1) // of_word
        transpose_words(tile, n_words)
        tables_of_responsibilities(tile, K, tables)
        for d from 0 <= d < C by 4 * LANES:
            columns = tile.columns + d // LANES * n_words
            k = 0
            while k < K:
                if K - k >= 4:
                    n_k = 4
                    lookup_sums(tables + k * 16, K, columns, n_words, n_groups, 4, 4, sums)
                elif K - k >= 2:
                    n_k = 2
                    lookup_sums(tables + k * 16, K, columns, n_words, n_groups, 2, 4, sums)
                else:
                    n_k = 1
                    lookup_sums(tables + k * 16, K, columns, n_words, n_groups, 1, 4, sums)
                for h in range(n_k):
                    out = statistics + (k + h) * C
                    for v in range(4):
                        self.add_signed(sums[h * 4 + v], d + v * LANES, out)
                k += n_k

    cdef inline void add_signed(self, vreal sums, Py_ssize_t d, double* out) noexcept nogil:
        """out[d + lane] += sums[lane], or less where the reference is 1, up to the column of ones."""
        cdef Py_ssize_t D = self.n_features
        if d <= D:
            add_lanes(sums * (<real> 1 - vload(self.centre.data + d) * <real> 2), d, D + 1, out)


cdef void transpose_words(const Tile* tile, Py_ssize_t n_words) noexcept nogil:
    """tile.columns from tile.words: words of WORD_BITS rows of a feature, features in the lanes."""
    cdef Py_ssize_t of_word = WORD_VECTORS, r, w, i
    cdef vbits block[WORD_VECTORS]
    for r in range(n_words):
        for w in range(tile.n_words):
            for i in range(of_word):
                block[i] = (tile.words[(r * of_word + i) * tile.n_words + w]
                            if r * of_word + i < tile.vectors else vno_counts())
            transpose_bits(block)
            for i in range(of_word):
                tile.columns[(w * of_word + i) * n_words + r] = block[i]


cdef void tables_of_responsibilities(
    const Tile* tile, Py_ssize_t K,
    real* tables,                # OUT  (vectors * LANES / 4, K, 16)
) noexcept nogil:
    cdef Py_ssize_t g, k, row
    cdef const real* r
    for g in range(tile.vectors * LANES // 4):
        row = 4 * g
        r = <const real*> (tile.responsibilities + row // LANES * tile.r_stride) + row % LANES
        for k in range(K):
            subset_sums(r + k * LANES, 1, tables + (g * K + k) * 16)


cdef void set_column(const Tile* tile, Py_ssize_t column, vreal value) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(tile.vectors):
        tile.x[i * tile.x_stride + column] = value
    if tile.rows_of_x != NULL:
        for i in range(tile.vectors * LANES):
            tile.rows_of_x[i * tile.row_stride + column] = (<real*> &value)[0]
