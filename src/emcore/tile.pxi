# A tile: some hundred rows, packed so that one row sits in each vector lane.

ctypedef struct Tile:
    Py_ssize_t first          # index of the first row
    Py_ssize_t rows           # rows that exist
    Py_ssize_t vectors        # vectors of LANES rows, a multiple of VECTORS; padded with zeros
    Py_ssize_t x_stride       # vectors from one of the next two lines' rows to the next
    Py_ssize_t r_stride
    vreal* x                  # (vectors, n_features)     rows less the centre
    vreal* weights            # (vectors,)                0 in padding
    vreal* responsibilities   # (vectors, n_components)   log-densities until normalised
    vreal* log_likelihoods    # (vectors,)
    vreal* scratch            # what the emission asked for
    Py_ssize_t n_positive     # how many responsibilities are not negligible
    int32_t* every            # (vectors,)                0, 1, 2, ...
    int32_t* active           # (n_pairs, vectors)        vectors in which a pair of components
    Py_ssize_t* n_active      # (n_pairs,)                has any responsibility


cdef Py_ssize_t odd_stride(Py_ssize_t n) noexcept nogil:
    # A power of two would put one column of a tile in a few sets of the cache.
    return n if n < 8 else n | 1


ctypedef struct Rows:
    # A strided matrix of reals or of bytes; strides in bytes.
    const char* data
    Py_ssize_t row_stride
    Py_ssize_t column_stride
    bint is_bytes


cdef inline void pack_entries(
    const Rows* rows, const real* centre, Tile* tile, Py_ssize_t i, Py_ssize_t start, Py_ssize_t stop,
) noexcept nogil:
    """Features start..stop of vector i, one number at a time: any strides, rows that end."""
    cdef Py_ssize_t d, lane
    cdef Py_ssize_t valid = max(<Py_ssize_t> 0, min(<Py_ssize_t> LANES, tile.rows - i * LANES))
    cdef const char* at
    cdef real* out
    for d in range(start, stop):
        at = rows.data + (tile.first + i * LANES) * rows.row_stride + d * rows.column_stride
        out = <real*> (tile.x + i * tile.x_stride + d)
        for lane in range(valid):
            if rows.is_bytes:
                out[lane] = (<const unsigned char*> at)[0] - centre[d]
            else:
                out[lane] = (<const real*> at)[0] - centre[d]
            at += rows.row_stride
        for lane in range(valid, LANES):
            out[lane] = 0


cdef inline void pack_adjacent_features(
    const Rows* rows, const real* centre, Py_ssize_t D, Tile* tile, Py_ssize_t i, bint is_bytes,
) noexcept nogil:
    """Vector i where features are adjacent: LANES features of LANES rows, transposed in registers."""
    cdef Py_ssize_t d, lane, whole = D // LANES * LANES
    cdef const char* source = rows.data + (tile.first + i * LANES) * rows.row_stride
    cdef vreal* out = tile.x + i * tile.x_stride
    cdef vreal block[LANES]
    for d from 0 <= d < whole by LANES:
        for lane in range(LANES):
            if is_bytes:
                block[lane] = vload_bytes(
                    <const unsigned char*> source + lane * rows.row_stride + d)
            else:
                block[lane] = vload(<const real*> (source + lane * rows.row_stride) + d)
        vtranspose(block)
        for lane in range(LANES):
            out[d + lane] = block[lane] - centre[d + lane]
    pack_entries(rows, centre, tile, i, whole, D)


cdef void pack(
    const Rows* rows,           # IN
    const real* centre,         # IN   (D,)
    Py_ssize_t D,
    Tile* tile,                 # OUT  x; first, rows and vectors are read
) noexcept nogil:
    """Transpose rows into lanes, subtracting the centre in the precision of the input."""
    cdef Py_ssize_t i, d, full = tile.rows // LANES
    cdef const char* source = rows.data + tile.first * rows.row_stride
    if rows.is_bytes and rows.column_stride == 1:
        for i in range(full):
            pack_adjacent_features(rows, centre, D, tile, i, True)
    elif rows.is_bytes:
        full = 0
    elif rows.row_stride == <Py_ssize_t> sizeof(real):
        for i in range(full):
            for d in range(D):
                tile.x[i * tile.x_stride + d] = (
                    vload(<const real*> (source + d * rows.column_stride) + i * LANES) - centre[d])
    elif rows.column_stride == <Py_ssize_t> sizeof(real):
        for i in range(full):
            pack_adjacent_features(rows, centre, D, tile, i, False)
    else:
        full = 0
    for i in range(full, tile.vectors):
        pack_entries(rows, centre, tile, i, 0, D)
