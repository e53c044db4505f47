# Quadratic forms: rows whitened by the factor P of a precision P' P.

cdef inline void whiten_column(
    const vreal* x, Py_ssize_t x_stride, const real* factor, Py_ssize_t first, Py_ssize_t n_rows,
    vreal* acc,
) noexcept nogil:
    """Add a column of P times x to the rows from `first` on."""
    cdef Py_ssize_t v, h
    cdef vreal xv
    for v in range(VECTORS):
        xv = x[v * x_stride]
        for h in range(n_rows):
            if h >= first:
                acc[h * VECTORS + v] = acc[h * VECTORS + v] + xv * factor[h]


cdef inline void whiten_rows(
    const vreal* x, Py_ssize_t x_stride, const real* factor, Py_ssize_t row, Py_ssize_t D,
    Py_ssize_t n_rows,
    vreal* y,                    # OUT  (n_rows, VECTORS)
) noexcept nogil:
    """Adjacent rows of y = P x - P mu, from `row` on, for VECTORS vectors of rows.

    factor holds (-P mu) and then P column by column, the n_rows entries of a column adjacent.
    """
    cdef Py_ssize_t j, v, h
    cdef vreal acc[4 * VECTORS]
    for h in range(n_rows):
        for v in range(VECTORS):
            acc[h * VECTORS + v] = splat(factor[h])
    for j in range(row):
        factor += n_rows
        whiten_column(x + j, x_stride, factor, 0, n_rows, acc)
    # The block on the diagonal, with constant bounds.
    whiten_column(x + row, x_stride, factor + n_rows, 0, n_rows, acc)
    if row + 1 < D:
        whiten_column(x + row + 1, x_stride, factor + 2 * n_rows, 1, n_rows, acc)
    if n_rows == 4 and row + 2 < D:
        whiten_column(x + row + 2, x_stride, factor + 3 * n_rows, 2, n_rows, acc)
    if n_rows == 4 and row + 3 < D:
        whiten_column(x + row + 3, x_stride, factor + 4 * n_rows, 3, n_rows, acc)
    for h in range(n_rows * VECTORS):
        y[h] = acc[h]


cdef inline void squared_distances(
    const vreal* x, Py_ssize_t x_stride, const real* factor, Py_ssize_t D, Py_ssize_t n_rows,
    vreal* q,                    # OUT  (VECTORS,)
) noexcept nogil:
    """q = |P x - P mu|^2 for VECTORS vectors of rows."""
    cdef vreal y[4 * VECTORS]
    cdef Py_ssize_t row, v, h
    for v in range(VECTORS):
        q[v] = splat(0)
    for row from 0 <= row < D by n_rows:
        whiten_rows(x, x_stride, factor, row, D, n_rows, y)
        factor += n_rows + n_rows * min(row + n_rows, D)
        for h in range(n_rows):
            for v in range(VECTORS):
                q[v] = q[v] + y[h * VECTORS + v] * y[h * VECTORS + v]


cdef void whitened_log_density(
    const Tile* tile,            # OUT  responsibilities of component k
    Py_ssize_t k,
    const real* factor,          # IN   as pack_factor lays it out
    const real* mean,            # IN   (D,), or NULL if the factor holds -P mu
    real constant,
    Py_ssize_t D,
) noexcept nogil:
    """log p = constant - 1/2 |P (x - mu)|^2."""
    cdef Py_ssize_t i, v, d, stride = tile.x_stride
    cdef const vreal* x
    cdef vreal* z = tile.scratch
    cdef vreal q[VECTORS]
    for i from 0 <= i < tile.vectors by VECTORS:
        x = tile.x + i * stride
        if mean != NULL:
            for v in range(VECTORS):
                for d in range(D):
                    z[v * stride + d] = x[v * stride + d] - mean[d]
            x = z
        if rows_at_a_time(D) == 4:
            squared_distances(x, stride, factor, D, 4, q)
        else:
            squared_distances(x, stride, factor, D, 2, q)
        for v in range(VECTORS):
            tile.responsibilities[(i + v) * tile.r_stride + k] = (
                splat(constant) - q[v] * <real> 0.5)


cdef double largest_square(const double* P, const double* mean, Py_ssize_t D) noexcept nogil:
    """Largest squared coordinate of P mu: how many deviations a mean is from the centre."""
    cdef double y, largest = 0
    cdef Py_ssize_t i, j
    for i in range(D):
        y = 0
        for j in range(i + 1):
            y += P[i * D + j] * mean[j]
        largest = max(largest, y * y)
    return largest


cdef Py_ssize_t rows_at_a_time(Py_ssize_t n_features) noexcept nogil:
    # Four rows of P use each vector of x four times, but waste more above the diagonal.
    return 4 if COLUMNS == 8 and n_features >= 8 else 2


cdef Py_ssize_t packed_factor_size(Py_ssize_t n_features) noexcept nogil:
    cdef Py_ssize_t i, size = 0, n_rows = rows_at_a_time(n_features)
    for i from 0 <= i < n_features by n_rows:
        size += n_rows + n_rows * min(i + n_rows, n_features)
    return size


cdef void pack_factor(
    const double* P,             # IN   (D, D), lower-triangular
    const double* mean,          # IN   (D,), or NULL for zeros
    Py_ssize_t D,
    real* out,                   # OUT  (packed_factor_size(D),)
) noexcept nogil:
    """Lay P out for whiten_rows, some rows at a time, with zeros above the diagonal."""
    cdef Py_ssize_t i, j, h, row, n_rows = rows_at_a_time(D)
    cdef double shift
    for i from 0 <= i < D by n_rows:
        for h in range(n_rows):
            row = i + h
            shift = 0
            if row < D and mean != NULL:
                for j in range(row + 1):
                    shift += P[row * D + j] * mean[j]
            out[h] = <real> -shift
        out += n_rows
        for j in range(min(i + n_rows, D)):
            for h in range(n_rows):
                row = i + h
                out[h] = <real> P[row * D + j] if row < D and j <= row else 0
            out += n_rows
