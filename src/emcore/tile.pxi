# A tile: some hundred rows, packed so that one row sits in each vector lane.

ctypedef struct Patterns:
    # The rows of a tile that have missing entries, those of one pattern adjacent.
    Py_ssize_t n              # patterns
    Py_ssize_t n_rows
    int32_t* rows             # (n_rows,)
    int32_t* first            # (n + 1,)  of `rows`, the first of each pattern
    int32_t* n_missing        # (n,)
    int32_t* features         # (n, D)    the missing features in order, then the others
    int32_t* found            # (n_rows,) rows as they come,
    int32_t* pattern_of       # (n_rows,) and their patterns
    int32_t* table            # (n_slots,) patterns by hash, or -1
    Py_ssize_t n_slots        # a power of two
    unsigned* lanes           # (D,)      lanes of a vector in which a feature is missing
    vreal* fills              # what stands in for missing entries, as the emission lays it out
    vreal* shifts             # (n, vectors of components)  what patterns add to log-densities
    vreal* matrix             # (n, n), n <= max(1, 2 D / 3)
    vreal* solution           # (D,)
    vreal* deviations         # (D,)


ctypedef struct Rows:
    # A strided matrix of reals or of integers, strides in bytes; or one array of reals for each
    # column; or the entries of a sparse matrix.
    const char* data
    const char** features     # (n_features,)  the columns, adjacent reals each; or NULL
    const char* end           # after the last entry of the last row
    Py_ssize_t row_stride
    Py_ssize_t column_stride
    int integer_size          # bytes of an integer without sign; 0 for reals
    bint is_bytes
    const real* values        # (n_entries,)
    const int32_t* columns    # (n_entries,)
    const int64_t* starts     # (n_rows + 1,)  where the entries of a row begin
    const char* last          # the last column, if it is an array of its own; or NULL
    Py_ssize_t last_stride


ctypedef struct Tile

ctypedef struct Tile:
    const Rows* source        # the block of columns that the tile is packed from
    Py_ssize_t first          # index of the first row
    Py_ssize_t rows           # rows that exist
    Py_ssize_t vectors        # vectors of LANES rows, a multiple of VECTORS; padded with zeros
    Py_ssize_t x_stride       # vectors from one of the next two lines' rows to the next
    Py_ssize_t r_stride
    vreal* x                  # (vectors, n_features)     rows less the centre
    vreal* weights            # (vectors,)                0 in padding
    vreal* responsibilities   # (vectors, n_components)   log-densities until normalised
    vreal* log_likelihoods    # (vectors,)                if each_row
    vreal* scratch            # what the emission asked for
    double* sums              # of a block, the emission's, from a cache line on; or NULL
    Patterns* missing         # of the rows that have missing entries; NULL if not asked for
    real* rows_of_x           # (rows, run_length)        x by rows; or NULL
    Py_ssize_t row_stride
    Py_ssize_t wrapped        # the first so many of a row come once more after its last
    vbits* words              # (vectors, n_words)        bits of rows instead of x; or NULL
    vbits* columns            # (n_words, WORD_BITS / LANES, rows / WORD_BITS)  their transpose
    Py_ssize_t n_words
    int32_t* slots            # (rows, n_features)        where codes are looked up; or NULL
    bint each_row             # whether rows have weights, or their log-likelihoods are asked for
    Py_ssize_t n_positive     # how many responsibilities are not negligible
    int32_t* every            # (vectors,)                0, 1, 2, ...
    int32_t* listed           # (n_pairs, vectors)        room for `active`
    const int32_t* active     # (n_pairs, vectors)        vectors in which a pair of components
    Py_ssize_t* n_active      # (n_pairs,)                has any responsibility
    Py_ssize_t active_stride  # from pair to pair
    vreal* densities          # (vectors, n_components)   those of one block, of several
    Tile* next                # the same rows of the next block of columns; or NULL
    Tile* covariates          # the same rows of what a latent structure reads; or NULL
    bint accumulating         # whether statistics are wanted


cdef Py_ssize_t odd_stride(Py_ssize_t n) noexcept nogil:
    # A power of two would put one column of a tile in a few sets of the cache.
    return n if n < 8 else n | 1


cdef inline const char* column_of(const Rows* rows, Py_ssize_t d) noexcept nogil:
    """Where a column begins."""
    return rows.data + d * rows.column_stride if rows.features == NULL else rows.features[d]


cdef void pack_entries(
    const Rows* rows, const real* centre, Py_ssize_t D, Tile* tile, Py_ssize_t i,
) noexcept nogil:
    """Vector i one number at a time: any strides, rows that end."""
    cdef Py_ssize_t d, lane
    cdef Py_ssize_t valid = max(<Py_ssize_t> 0, min(<Py_ssize_t> LANES, tile.rows - i * LANES))
    cdef const char* at
    cdef real* out
    for d in range(D):
        at = column_of(rows, d) + (tile.first + i * LANES) * rows.row_stride
        out = <real*> (tile.x + i * tile.x_stride + d)
        for lane in range(valid):
            if rows.is_bytes:
                out[lane] = (<const unsigned char*> at)[0] - centre[d]
            else:
                out[lane] = (<const real*> at)[0] - centre[d]
            at += rows.row_stride
        for lane in range(valid, LANES):
            out[lane] = 0
    if tile.rows_of_x != NULL:
        transpose_to_rows(tile, D, i)


cdef void transpose_to_rows(const Tile* tile, Py_ssize_t D, Py_ssize_t i) noexcept nogil:
    """The rows of vector i of tile.x, each with its features adjacent, in tile.rows_of_x."""
    cdef real* rows = tile.rows_of_x + i * LANES * tile.row_stride
    transpose_vector(tile, D, i, (D + LANES - 1) // LANES, rows, tile.row_stride)
    if tile.wrapped > 0:
        transpose_vector(tile, D, i, (tile.wrapped + LANES - 1) // LANES, rows + D, tile.row_stride)


cdef void transpose_vector(
    const Tile* tile, Py_ssize_t D, Py_ssize_t i, Py_ssize_t n_v,
    real* rows,                 # OUT  (LANES, n_v * LANES) with a stride, zeros after feature D
    Py_ssize_t stride,
) noexcept nogil:
    """The rows of vector i of tile.x, each with its features adjacent."""
    cdef Py_ssize_t d, lane
    cdef vreal block[LANES]
    for d from 0 <= d < n_v * LANES by LANES:
        for lane in range(LANES):
            block[lane] = tile.x[i * tile.x_stride + d + lane] if d + lane < D else splat(0)
        vtranspose(block)
        for lane in range(LANES):
            vstore(rows + lane * stride + d, block[lane])


cdef inline void pack_adjacent_features(
    const Rows* rows, const real* centre, Py_ssize_t D, Tile* tile, Py_ssize_t i,
    bint with_rows, bint wraps,
) noexcept nogil:
    """Vector i where features are adjacent: LANES features of LANES rows, transposed in registers.

    The last features come in a vector that ends with them, and overlaps the one before.
    """
    cdef Py_ssize_t d = 0, lane, source_stride = rows.row_stride, row_stride = tile.row_stride
    cdef const char* source = rows.data + (tile.first + i * LANES) * source_stride
    cdef vreal* out = tile.x + i * tile.x_stride
    cdef real* row = tile.rows_of_x + i * LANES * row_stride
    cdef vreal block[LANES]
    cdef vreal origin
    while True:
        origin = vload(centre + d)
        for lane in range(LANES):
            block[lane] = vload(<const real*> (source + lane * source_stride) + d) - origin
            if with_rows:
                vstore(row + lane * row_stride + d, block[lane])
            if wraps and d < tile.wrapped:
                vstore(row + lane * row_stride + D + d, block[lane])
        vtranspose(block)
        for lane in range(LANES):
            if lane < D:
                out[d + lane] = block[lane]
        d += LANES
        if d >= D:
            return
        d = min(d, max(<Py_ssize_t> 0, D - LANES))


cdef void pack_few_features(
    const Rows* rows, const real* centre, Py_ssize_t D, Tile* tile, Py_ssize_t i,
) noexcept nogil:
    """Vector i where adjacent features are no more than half the lanes: two rows in each register."""
    cdef Py_ssize_t lane, stride = rows.row_stride
    cdef const char* source = rows.data + (tile.first + i * LANES) * stride
    cdef vreal* out = tile.x + i * tile.x_stride
    cdef vreal block[LANES]
    cdef vreal origin = vload_halves(centre, centre)
    for lane in range(LANES // 2):
        block[lane] = vload_halves(
            <const real*> (source + lane * stride),
            <const real*> (source + (lane + LANES // 2) * stride)) - origin
    vtranspose_halves(block)
    for lane in range(LANES // 2):
        if lane < D:
            out[lane] = block[lane]


cdef void pack(
    const Rows* rows,           # IN
    const real* centre,         # IN   (D,), padded to whole vectors
    Py_ssize_t D,
    Tile* tile,                 # OUT  x and rows_of_x; first, rows and vectors are read
) noexcept nogil:
    """Transpose rows into lanes, subtracting the centre in the precision of the input."""
    cdef Py_ssize_t i, d, size = sizeof(real)
    cdef Py_ssize_t whole = tile.rows // LANES
    cdef bint by_halves = is_narrow(D) and tile.rows_of_x == NULL
    cdef Py_ssize_t width = LANES // 2 if by_halves else LANES
    cdef const char* source
    if rows.row_stride == <Py_ssize_t> sizeof(real) and not rows.is_bytes:
        for i in range(whole):
            for d in range(D):
                source = column_of(rows, d) + tile.first * size
                tile.x[i * tile.x_stride + d] = (
                    vload(<const real*> source + i * LANES) - centre[d])
            if tile.rows_of_x != NULL:
                transpose_to_rows(tile, D, i)
    elif rows.column_stride == size and not rows.is_bytes:
        # What is read of a row goes on beyond its features, but not beyond those of the last row.
        source = rows.data + tile.first * rows.row_stride
        if D < width and rows.row_stride < 0:
            whole = 0
        while (D < width and whole > 0
                and source + (whole * LANES - 1) * rows.row_stride + width * size > rows.end):
            whole -= 1
        for i in range(whole):
            if by_halves:
                pack_few_features(rows, centre, D, tile, i)
            elif tile.rows_of_x == NULL:
                pack_adjacent_features(rows, centre, D, tile, i, False, False)
            elif tile.wrapped > 0:
                pack_adjacent_features(rows, centre, D, tile, i, True, True)
            else:
                pack_adjacent_features(rows, centre, D, tile, i, True, False)
    else:
        whole = 0
    for i in range(whole, tile.vectors):
        pack_entries(rows, centre, D, tile, i)


cdef inline bits word_of_features(
    const Rows* rows, const char* at, int n, bint is_bytes,
) noexcept nogil:
    """n features from `at` on, as bits."""
    cdef unsigned char gathered[WORD_BITS]
    cdef int h
    if is_bytes and rows.column_stride == 1:
        return word_of_bytes(<const unsigned char*> at, n)
    if not is_bytes and rows.column_stride == <Py_ssize_t> sizeof(real):
        return word_of_reals(<const real*> at, n)
    for h in range(n):
        gathered[h] = at[0] if is_bytes else (<const real*> at)[0] != 0
        at += rows.column_stride
    return word_of_bytes(gathered, n)


cdef inline void words_of_row(
    const Rows* rows, const char* at, const bits* flips, Py_ssize_t D, bits* out, bint is_bytes,
) noexcept nogil:
    cdef Py_ssize_t w, whole = D // WORD_BITS
    for w in range(whole):
        out[w * LANES] = word_of_features(rows, at, WORD_BITS, is_bytes) ^ flips[w]
        at += WORD_BITS * rows.column_stride
    # The last word has room for the column of ones at least.
    out[whole * LANES] = (
        word_of_features(rows, at, <int> (D - whole * WORD_BITS), is_bytes) ^ flips[whole])


cdef void pack_words(
    const Rows* rows,           # IN   zeros and ones
    const bits* flips,          # IN   (n_words,) bits that are inverted
    Py_ssize_t D,
    Tile* tile,                 # OUT  words
) noexcept nogil:
    """The bits of every row, a word of a row in each lane; 0 in padding."""
    cdef Py_ssize_t b, w
    cdef const char* at = rows.data + tile.first * rows.row_stride
    cdef bits* out
    for b in range(tile.vectors * LANES):
        out = <bits*> (tile.words + b // LANES * tile.n_words) + b % LANES
        if b >= tile.rows:
            for w in range(tile.n_words):
                out[w * LANES] = 0
        elif rows.is_bytes:
            words_of_row(rows, at, flips, D, out, True)
        else:
            words_of_row(rows, at, flips, D, out, False)
        at += rows.row_stride


cdef void pack_answers(
    const Rows* rows,           # IN   zeros, ones and what is missing, all reals
    const bits* flips,          # IN   (n_words,) bits that are inverted
    Py_ssize_t D,
    Tile* tile,                 # OUT  words
) noexcept nogil:
    """For every feature a bit that says yes, and after all of them for every feature one that says no.

    Where a feature is missing, neither does.
    """
    cdef Py_ssize_t b, w, d, n, h
    cdef const char* at
    cdef real gathered[WORD_BITS]
    cdef bits there, no
    cdef bits* out
    for b in range(tile.vectors * LANES):
        out = <bits*> (tile.words + b // LANES * tile.n_words) + b % LANES
        for w in range(tile.n_words):
            out[w * LANES] = flips[w] if b < tile.rows else 0
        if b >= tile.rows:
            continue
        at = rows.data + (tile.first + b) * rows.row_stride
        for d from 0 <= d < D by WORD_BITS:
            n = min(<Py_ssize_t> WORD_BITS, D - d)
            for h in range(n):
                gathered[h] = (<const real*> at)[0]
                at += rows.column_stride
            there = all_ones(n) & ~word_of_missing(gathered, <int> n)
            no = there & ~word_of_reals(gathered, <int> n)
            xor_bits(out, d, there & ~no)
            xor_bits(out, D + d, no)


cdef inline bits all_ones(Py_ssize_t n) noexcept nogil:
    return <bits> (~(<ubits> 0) >> (WORD_BITS - n))


cdef inline void xor_bits(bits* words, Py_ssize_t first, bits word) noexcept nogil:
    """Invert bits from `first` on in words that are LANES apart."""
    cdef Py_ssize_t at = first // WORD_BITS * LANES, shift = first % WORD_BITS
    words[at] ^= <bits> (<ubits> word << shift)
    if shift > 0 and <ubits> word >> (WORD_BITS - shift) != 0:
        words[at + LANES] ^= <bits> (<ubits> word >> (WORD_BITS - shift))


# Inlined: compilers leave out a call of a function that does nothing but prefetch.
cdef inline void prefetch_adjacent_rows(
    const Rows* rows, Py_ssize_t first, Py_ssize_t stop, Py_ssize_t D,
) noexcept nogil:
    """Start reading rows that come next, where they are adjacent, while others are computed."""
    cdef const char* at = rows.data + first * rows.row_stride
    cdef const char* end = rows.data + stop * rows.row_stride
    if not 0 < rows.row_stride <= 2 * D * rows.column_stride:
        return
    while at < end:
        prefetch(at)
        at += 64


cdef inline void prefetch_next(const Tile* tile, Py_ssize_t stop, Py_ssize_t D) noexcept nogil:
    """Start reading the next tile."""
    cdef Py_ssize_t next_row = tile.first + tile.rows
    prefetch_adjacent_rows(tile.source, next_row, min(next_row + tile.rows, stop), D)


cdef void blank_rows_of_no_weight(Tile* tile, Py_ssize_t D) noexcept nogil:
    """Rows of weight 0 become 0: whatever they hold, their statistics must not overflow."""
    cdef Py_ssize_t b, d
    for b in range(tile.rows):
        if (<real*> tile.weights)[b] == 0:
            for d in range(D):
                (<real*> (tile.x + b // LANES * tile.x_stride + d))[b % LANES] = 0
            if tile.rows_of_x != NULL:
                for d in range(D + tile.wrapped):
                    tile.rows_of_x[b * tile.row_stride + d] = 0


cdef void share_rows(Tile* tile) noexcept nogil:
    """Tell the tiles of the other blocks of columns what they share with the first."""
    cdef Tile* other = tile.next
    while other != NULL:
        other.first, other.rows, other.vectors = tile.first, tile.rows, tile.vectors
        other.n_positive = tile.n_positive
        other.active, other.active_stride = tile.active, tile.active_stride
        other = other.next


cdef bint is_sparse(const Tile* tile, Py_ssize_t K) noexcept nogil:
    """Whether so many responsibilities are negligible that it pays to look for those that are not.

    One that is found costs some five times one that is not looked for.
    """
    return 5 * tile.n_positive < tile.vectors * LANES * K


cdef void list_active(Tile* tile, Py_ssize_t K) noexcept nogil:
    """List the vectors of rows in which a pair of components has any responsibility."""
    cdef Py_ssize_t i, k, n
    cdef const vreal* r
    cdef int32_t* active
    if not is_sparse(tile, K):
        for k from 0 <= k < K by 2:
            tile.n_active[k // 2] = tile.vectors
        tile.active = tile.every
        tile.active_stride = 0
        return
    for k from 0 <= k < K by 2:
        active = tile.listed + k // 2 * tile.vectors
        n = 0
        for i in range(tile.vectors):
            r = tile.responsibilities + i * tile.r_stride + k
            active[n] = <int32_t> i
            n += vpositive_lanes(r[0] + r[1] if k + 1 < K else r[0]) != 0
        tile.n_active[k // 2] = n
    tile.active = tile.listed
    tile.active_stride = tile.vectors
