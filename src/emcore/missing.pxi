# Rows with missing entries, which are NaN: which they are, and linear algebra of their components.
#
# The missing features of a row are its pattern. What depends on the pattern alone - factors of parts
# of a precision or covariance, their determinants, conditional covariances - is found once for the
# rows of a tile that share it, for LANES components at a time: one in each lane.

# Relative rounding of a pivot.
cdef real ROUNDING = <real> (2.3e-16 if sizeof(real) == 8 else 1.2e-7)


cdef class PatternMemory:
    """What `Patterns` points to, for tiles of some rows."""

    cdef object numbers
    cdef Buffer fills, shifts, matrix, vectors
    cdef Patterns patterns

    def __cinit__(self, Py_ssize_t rows, Py_ssize_t D, Py_ssize_t component_vectors):
        cdef Py_ssize_t side = max(1, 2 * D // 3), n_slots = 1
        cdef int32_t[::1] numbers
        while n_slots < 2 * rows:
            n_slots *= 2
        self.numbers = numbers = array("i", [0]) * (5 * rows + 1 + n_slots + (rows + 1) * D + D)
        self.fills = Buffer(rows * D * component_vectors * LANES)
        self.shifts = Buffer(rows * component_vectors * LANES)
        self.matrix = Buffer(side * side * LANES)
        self.vectors = Buffer(2 * D * LANES)
        self.patterns.rows = &numbers[0]
        self.patterns.n_missing = self.patterns.rows + rows
        self.patterns.found = self.patterns.n_missing + rows
        self.patterns.pattern_of = self.patterns.found + rows
        self.patterns.first = self.patterns.pattern_of + rows
        self.patterns.table = self.patterns.first + rows + 1
        self.patterns.features = self.patterns.table + n_slots
        self.patterns.lanes = <unsigned*> (self.patterns.features + (rows + 1) * D)
        self.patterns.n_slots = n_slots
        self.patterns.fills = <vreal*> self.fills.data
        self.patterns.shifts = <vreal*> self.shifts.data
        self.patterns.matrix = <vreal*> self.matrix.data
        self.patterns.solution = <vreal*> self.vectors.data
        self.patterns.deviations = self.patterns.solution + D


cdef inline vreal known(vreal x) noexcept nogil:
    """1 where x is a number, 0 where it is missing."""
    return vwhere_greater(x, splat(<real> -INFINITY), splat(1), splat(0))


cdef inline vreal zero_for_missing(vreal x) noexcept nogil:
    return vwhere_greater(x, splat(<real> -INFINITY), x, splat(0))


cdef void zero_missing_in_rows(const Tile* tile, Py_ssize_t i) noexcept nogil:
    """Of vector i, in tile.rows_of_x."""
    cdef vreal* rows
    cdef Py_ssize_t h
    if tile.rows_of_x != NULL:
        rows = <vreal*> (tile.rows_of_x + i * LANES * tile.row_stride)
        for h in range(tile.row_stride):
            rows[h] = zero_for_missing(rows[h])


cdef void find_patterns(const Tile* tile, Py_ssize_t D) noexcept nogil:
    """Turn NaN to 0, the centre, and list the rows that have any by their patterns."""
    cdef Patterns* q = tile.missing
    cdef vreal* x
    cdef Py_ssize_t i, d, lane, s
    cdef unsigned some
    q.n = q.n_rows = 0
    for i in range(tile.vectors):
        x = tile.x + i * tile.x_stride
        some = 0
        for d in range(D):
            q.lanes[d] = vpositive_lanes(splat(1) - known(x[d]))
            some |= q.lanes[d]
        if some == 0:
            continue
        for d in range(D):
            x[d] = zero_for_missing(x[d])
        zero_missing_in_rows(tile, i)
        if q.n_rows == 0:
            for s in range(q.n_slots):
                q.table[s] = -1
        for lane in range(LANES):
            if some >> lane & 1:
                q.pattern_of[q.n_rows] = <int32_t> pattern_in_lane(q, D, lane)
                q.found[q.n_rows] = <int32_t> (i * LANES + lane)
                q.n_rows += 1
    if q.n_rows > 0:
        order_by_pattern(q)


cdef Py_ssize_t pattern_in_lane(Patterns* q, Py_ssize_t D, Py_ssize_t lane) noexcept nogil:
    """The number of the pattern that q.lanes holds in a lane; a new one if it is new."""
    cdef int32_t* features = q.features + q.n * D
    cdef int32_t p
    cdef Py_ssize_t d, n = 0
    cdef uint64_t hashed = 0
    cdef bint missing
    for d in range(D):
        missing = q.lanes[d] >> lane & 1
        features[n] = <int32_t> d
        n += missing
    for d in range(n):
        # Knuth's multiplicative hashing; the upper half is spread best.
        hashed = (hashed + <uint64_t> features[d] + 1) * <uint64_t> 0x9e3779b97f4a7c15
    hashed >>= 32
    while True:
        p = q.table[hashed & <uint64_t> (q.n_slots - 1)]
        if p < 0:
            break
        if q.n_missing[p] == n and is_same(q.features + p * D, features, n):
            return p
        hashed += 1
    q.table[hashed & <uint64_t> (q.n_slots - 1)] = <int32_t> q.n
    q.n_missing[q.n] = <int32_t> n
    for d in range(D):
        features[n] = <int32_t> d
        n += 1 - (q.lanes[d] >> lane & 1)
    q.n += 1
    return q.n - 1


cdef bint is_same(const int32_t* a, const int32_t* b, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        if a[i] != b[i]:
            return False
    return True


cdef void order_by_pattern(Patterns* q) noexcept nogil:
    cdef Py_ssize_t p, i
    for p in range(q.n + 1):
        q.first[p] = 0
    for i in range(q.n_rows):
        q.first[q.pattern_of[i] + 1] += 1
    for p in range(q.n):
        q.first[p + 1] += q.first[p]
    for i in range(q.n_rows):
        p = q.pattern_of[i]
        q.rows[q.first[p]] = q.found[i]
        q.first[p] += 1
    for p in range(q.n, 0, -1):
        q.first[p] = q.first[p - 1]
    q.first[0] = 0


cdef inline real* entry(const Tile* tile, Py_ssize_t row, Py_ssize_t d) noexcept nogil:
    """x of a row of the tile."""
    return <real*> (tile.x + row // LANES * tile.x_stride + d) + row % LANES


# Matrices (n, n) of LANES components, of which the lower triangle is read.

cdef vreal decompose(vreal* a, Py_ssize_t n, vreal* least) noexcept nogil:
    """a = U C^-1 U' with ones on the diagonal of U, in whose place comes that of C; log det a.

    No pivot is below what rounding leaves of one; `least` has room for n.
    """
    cdef Py_ssize_t p, i, j
    cdef vreal pivot, inverse, u, log_determinant = splat(0)
    for p in range(n):
        least[p] = a[p * n + p] * ROUNDING
    for p in range(n):
        pivot = vmax(a[p * n + p], least[p])
        log_determinant = log_determinant + vlog(pivot)
        inverse = splat(1) / pivot
        a[p * n + p] = inverse
        # Downwards, so that rows above still have column p as it was.
        for i from n > i > p:
            u = a[i * n + p] * inverse
            for j in range(p + 1, i + 1):
                a[i * n + j] = a[i * n + j] - u * a[j * n + p]
            a[i * n + p] = u
    return log_determinant


cdef void solve(const vreal* a, Py_ssize_t n, vreal* b) noexcept nogil:
    """b becomes the solution x of (U C^-1 U') x = b."""
    cdef Py_ssize_t i, j
    for i in range(1, n):
        for j in range(i):
            b[i] = b[i] - a[i * n + j] * b[j]
    for i in range(n):
        b[i] = b[i] * a[i * n + i]
    for i from n > i >= 0:
        for j in range(i):
            b[j] = b[j] - a[i * n + j] * b[i]


cdef void invert(vreal* a, Py_ssize_t n) noexcept nogil:
    """The lower triangle of (U C^-1 U')^-1 = V' C V with V = U^-1, in place of U and C."""
    cdef Py_ssize_t i, j, p
    cdef vreal v, scaled
    # Row i of V is that of the identity less sum over j < i of U_ij times row j of V.
    for i in range(n):
        for j in range(i):
            v = splat(0) - a[i * n + j]
            for p in range(j + 1, i):
                v = v - a[i * n + p] * a[p * n + j]
            a[i * n + j] = v
    # Entry (i, j) needs rows of V from i on, hence the rows of the result from the first on.
    for i in range(n):
        for j in range(i + 1):
            v = a[i * n + i] * a[i * n + j] if j < i else a[i * n + i]
            for p in range(i + 1, n):
                scaled = a[p * n + i] * a[p * n + p]
                v = v + scaled * a[p * n + j]
            a[i * n + j] = v


ctypedef struct Covariances:
    # Precisions L and covariances S, (D, D), with a component in each lane, or one for all of them.
    const real* precisions
    const real* covariances
    Py_ssize_t D
    Py_ssize_t component_vectors     # 0 for one


cdef inline vreal element(
    const Covariances* of, const real* table, Py_ssize_t i, Py_ssize_t j, Py_ssize_t v,
) noexcept nogil:
    """Of a table of `of`, for the vector v of components."""
    cdef Py_ssize_t at = i * of.D + j
    if of.component_vectors == 0:
        return splat(table[at])
    return vload(table + (at * of.component_vectors + v) * LANES)


cdef inline bint by_precision(const Covariances* of, const Patterns* q, Py_ssize_t p) noexcept nogil:
    """Whether L_mm is decomposed, or else S_oo.

    The conditional covariance takes |m|^3 / 2 multiply-adds by the former, and by the latter
    |o|^3 / 6 + |m| |o|^2 + |m|^2 |o| / 2: fewer where |m| > 2 |o|, roughly.
    """
    return 3 * q.n_missing[p] <= 2 * of.D


cdef vreal decompose_pattern(
    const Covariances* of, Patterns* q, Py_ssize_t p, Py_ssize_t v,
) noexcept nogil:
    """Have L_mm or S_oo decomposed in q.matrix; its log-determinant."""
    cdef Py_ssize_t n = q.n_missing[p], i, j
    cdef const int32_t* at = q.features + p * of.D
    cdef const real* table = of.precisions
    if not by_precision(of, q, p):
        at += n
        n = of.D - n
        table = of.covariances
    for i in range(n):
        for j in range(i + 1):
            q.matrix[i * n + j] = element(of, table, at[i], at[j], v)
    return decompose(q.matrix, n, q.solution)


cdef void conditional_covariances(
    const Covariances* of, Patterns* q, Py_ssize_t p, Py_ssize_t v, Py_ssize_t i,
    vreal* out,                  # OUT  (i + 1,)
) noexcept nogil:
    """Row i of L_mm^-1, which is in q.matrix, or of S_mm - S_mo S_oo^-1 S_om, S_oo decomposed there."""
    cdef Py_ssize_t n = q.n_missing[p], n_o = of.D - n, j, h
    cdef const int32_t* m = q.features + p * of.D
    cdef const int32_t* o = m + n
    if by_precision(of, q, p):
        for j in range(i + 1):
            out[j] = q.matrix[i * n + j]
        return
    for h in range(n_o):
        q.solution[h] = element(of, of.covariances, m[i], o[h], v)
    solve(q.matrix, n_o, q.solution)
    for j in range(i + 1):
        out[j] = element(of, of.covariances, m[i], m[j], v)
        for h in range(n_o):
            out[j] = out[j] - element(of, of.covariances, m[j], o[h], v) * q.solution[h]
