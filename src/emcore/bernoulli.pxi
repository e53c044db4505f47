# Bernoulli emission: independent binary features.
#
# Rows are packed to bits, and four bits at a time are looked up: with y_d = |x_d - reference_d|,
#
#   sum_d y_d w_d   =  sum over groups of 4 features of  table[y of the group]   for every row,
#   sum_n r_n y_nd  =  sum over groups of 4 rows of      table[y of the group]   for every feature,
#
# where a table has the 16 sums of subsets of four numbers. A lookup and an addition take the place of
# four multiply-adds. Where an instruction looks up every lane (LOOKUPS), rows or features are in the
# lanes, and each component has tables; elsewhere components are in the lanes of a table's entries.

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


cdef inline void entry_sums(
    const real* tables,          # IN   (n_groups, 16, stride)
    Py_ssize_t stride,
    const bits* words,           # IN   (n_words,), LANES apart
    Py_ssize_t n_groups, Py_ssize_t n_v,
    vreal* sums,                 # OUT  (n_v,)
) noexcept nogil:
    """The sums of entries for n_v vectors of components, a constant."""
    cdef vreal acc[4]
    cdef const vreal* entry
    cdef ubits word
    cdef Py_ssize_t w, g, v
    for v in range(n_v):
        acc[v] = splat(0)
    for w in range((n_groups + NIBBLES - 1) // NIBBLES):
        word = <ubits> words[w * LANES]
        for g in range(min(<Py_ssize_t> NIBBLES, n_groups - w * NIBBLES)):
            entry = <const vreal*> (tables + (word & 15) * stride)
            for v in range(n_v):
                acc[v] = acc[v] + entry[v]
            word >>= 4
            tables += 16 * stride
    for v in range(n_v):
        sums[v] = acc[v]


cdef void all_entry_sums(
    const real* tables, Py_ssize_t stride, const bits* words, Py_ssize_t n_groups,
    vreal* sums,                 # OUT  (stride / LANES,)
) noexcept nogil:
    cdef Py_ssize_t v = 0, n_v = stride // LANES
    while v < n_v:
        if n_v - v >= 4:
            entry_sums(tables + v * LANES, stride, words, n_groups, 4, sums + v)
            v += 4
        elif n_v - v == 3:
            entry_sums(tables + v * LANES, stride, words, n_groups, 3, sums + v)
            v += 3
        elif n_v - v == 2:
            entry_sums(tables + v * LANES, stride, words, n_groups, 2, sums + v)
            v += 2
        else:
            entry_sums(tables + v * LANES, stride, words, n_groups, 1, sums + v)
            v += 1


cdef inline void subset_sums(
    const real* terms,           # IN   (4,)
    real* table, Py_ssize_t stride,
) noexcept nogil:
    """Entry s of the table, `stride` apart: the sum of the terms whose bits are set in s."""
    cdef Py_ssize_t b, s
    table[0] = 0
    for b in range(4):
        for s in range(1 << b):
            table[((1 << b) + s) * stride] = table[s * stride] + terms[b]


cdef class Bernoulli(Emission):
    """Independent binary features.

    Parameters
    ----------
    reference : ndarray of shape (n_features,), 0 or 1, subtracted from the rows first
    logits : ndarray of shape (n_components, n_features), log p - log(1 - p)
    constants : ndarray of shape (n_components,), log-density of the reference
    may_miss : bool
        Whether features may be missing (NaN). Then rows have one column for two of the parameters:
        whether a feature is 1, and after all of these whether it is 0.

    Statistics: for every component sums of r (x - reference), (n_features,), and then the sum of r,
    taken in the same order: a feature that differs from its reference in every row has exactly that.
    """

    cdef Buffer constants
    cdef Buffer tables           # (n_groups, K, 16), or (n_groups, 16, table_stride)
    cdef Py_ssize_t n_bits, n_groups, table_stride
    cdef bint may_miss

    def __init__(self, const double[::1] reference, const double[:, ::1] logits,
                 const double[::1] constants, bint may_miss=False):
        cdef Py_ssize_t K = logits.shape[0], D = logits.shape[1], d, k, g, b
        cdef real terms[4]
        require(constants.shape[0] == K and not (may_miss and D % 2))
        self.set_shape(K, D, D + 1, reference)
        self.n_bits, self.may_miss = D, may_miss
        if may_miss:
            self.n_features = D // 2
        self.statistics_size = K * (D + 1)
        self.about_centre = True
        self.constants = as_buffer(constants)
        self.in_short_tiles = True
        self.n_words = D // WORD_BITS + 1
        self.flips = Buffer(self.n_words)
        for d in range(D + 1):
            # The feature after the last is 1 in every row.
            if d == D or reference[d] == 1:
                (<bits*> self.flips.data)[d // WORD_BITS] |= <bits> (<ubits> 1 << (d % WORD_BITS))
        self.n_groups = (D + 3) // 4
        self.table_stride = (K + LANES - 1) // LANES * LANES
        # Tables of 4 rows, and sums of one table's length.
        self.scratch_per_row = 4 * self.table_stride + self.table_stride // (VECTORS * LANES) + 1
        self.tables = Buffer(self.n_groups * self.table_stride * 16)
        for g in range(self.n_groups):
            for k in range(K):
                for b in range(4):
                    d = 4 * g + b
                    terms[b] = 0 if d >= D else <real> (
                        -logits[k, d] if reference[d] == 1 else logits[k, d])
                self.set_table(self.tables.data, g, k, terms)

    cdef inline void set_table(
        self, real* tables, Py_ssize_t g, Py_ssize_t k, const real* terms,
    ) noexcept nogil:
        if LOOKUPS:
            subset_sums(terms, tables + (g * self.n_components + k) * 16, 1)
        else:
            subset_sums(terms, tables + g * 16 * self.table_stride + k, self.table_stride)

    cdef void read(self, Tile* tile, Py_ssize_t stop, bint weighted) noexcept nogil:
        if self.may_miss:
            pack_answers(tile.source, <const bits*> self.flips.data, self.n_features, tile)
        else:
            pack_words(tile.source, <const bits*> self.flips.data, self.n_features, tile)
        prefetch_next(tile, stop, self.n_features)

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        if LOOKUPS:
            self.log_density_of_vectors(tile)
        else:
            self.log_density_of_rows(tile)

    cdef void log_density_of_vectors(self, const Tile* tile) noexcept nogil:
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

    cdef void log_density_of_rows(self, const Tile* tile) noexcept nogil:
        cdef Py_ssize_t row, k
        cdef vreal* sums = tile.scratch
        cdef real* out
        for row in range(tile.vectors * LANES):
            all_entry_sums(
                self.tables.data, self.table_stride,
                <const bits*> (tile.words + row // LANES * tile.n_words) + row % LANES,
                self.n_groups, sums)
            out = <real*> (tile.responsibilities + row // LANES * tile.r_stride) + row % LANES
            for k in range(self.n_components):
                out[k * LANES] = (<const real*> sums)[k] + self.constants.data[k]

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        cdef Py_ssize_t n_groups = tile.vectors * LANES // 4
        cdef Py_ssize_t n_words = (tile.vectors + WORD_VECTORS - 1) // WORD_VECTORS
        cdef real* tables = <real*> tile.scratch
        transpose_words(tile, n_words)
        self.tables_of_responsibilities(tile, n_groups, tables)
        if LOOKUPS:
            self.add_vectors(tile, tables, n_groups, n_words, statistics)
        else:
            self.add_features(tile, tables, n_groups, n_words, statistics)

    cdef void tables_of_responsibilities(
        self, const Tile* tile, Py_ssize_t n_groups, real* tables,
    ) noexcept nogil:
        cdef Py_ssize_t g, k, b
        cdef real terms[4]
        for g in range(n_groups):
            for k in range(self.n_components):
                for b in range(4):
                    terms[b] = (<const real*> (
                        tile.responsibilities + (4 * g + b) // LANES * tile.r_stride + k
                    ))[(4 * g + b) % LANES]
                self.set_table(tables, g, k, terms)

    cdef void add_vectors(
        self, const Tile* tile, const real* tables, Py_ssize_t n_groups, Py_ssize_t n_words,
        double* statistics,
    ) noexcept nogil:
        cdef Py_ssize_t K = self.n_components, C = self.n_bits + 1, k, d, h, v, n_k
        cdef const vbits* columns
        cdef vreal sums[16]
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
                    for v in range(4):
                        self.add_signed(
                            sums[h * 4 + v], d + v * LANES, statistics + (k + h) * C)
                k += n_k

    cdef inline void add_signed(self, vreal sums, Py_ssize_t d, double* out) noexcept nogil:
        """out[d + lane] += sums[lane], or less where the reference is 1, up to the column of ones."""
        cdef Py_ssize_t D = self.n_bits
        if d <= D:
            add_lanes(sums * (<real> 1 - vload(self.centre.data + d) * <real> 2), d, D + 1, out)

    cdef void add_features(
        self, const Tile* tile, const real* tables, Py_ssize_t n_groups, Py_ssize_t n_words,
        double* statistics,
    ) noexcept nogil:
        cdef Py_ssize_t C = self.n_bits + 1, d, k
        cdef vreal* sums = tile.scratch + n_groups * 16 * (self.table_stride // LANES)
        cdef double sign
        for d in range(C):
            all_entry_sums(
                tables, self.table_stride,
                <const bits*> (tile.columns + d // LANES * n_words) + d % LANES, n_groups, sums)
            sign = 1 - 2 * self.centre.data[d]
            for k in range(self.n_components):
                statistics[k * C + d] += sign * (<const real*> sums)[k]


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
