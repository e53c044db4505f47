# Sums of r t(x): sufficient statistics of densities that are linear in terms t(x) of a row.
#
#   sums[k, f] = sum over rows of r_k t_f
#
# The terms of a row with C columns come in runs of C:
#
#   x_j,   x_j x_j,   x_j x_(j + 1) mod C,   x_j x_(j + 2) mod C,   ...,   x_j x_(j + C // 2) mod C
#
# One run are first moments; two, first moments and squares; all of them, every product of two columns:
# for even C, the last run has only the C / 2 of which it does not hold both orders. A run is made of
# vectors of adjacent columns of a row, and of the row twice over, whereas the rows of a triangle
# would have all lengths.
#
# Terms are in the lanes, hence no sum ends in a sum over lanes: a row's responsibility is broadcast
# and multiplies its terms, which are products made in registers. A block of COLUMNS components and
# two vectors of terms stays in registers while the rows of a tile pass by: nine loads, one of them
# astride two cache lines, and at most two products for sixteen fused multiply-adds. Where rows are so
# short that most lanes would stay empty, rows are in the lanes.

cdef bint is_narrow(Py_ssize_t n_columns) noexcept nogil:
    """Whether columns are so few that most lanes would stay empty."""
    return 2 * n_columns <= LANES


cdef Py_ssize_t scratch_for_terms(Py_ssize_t C, Py_ssize_t n_terms) noexcept nogil:
    # The terms; or two vectors of products; or a responsibility and an index, with room for one
    # vector more of each.
    return odd_stride(n_terms) if is_narrow(C) else max(3, 2 * LANES)


cdef inline void add_lanes(
    vreal values, Py_ssize_t start, Py_ssize_t stop, double* out,
) noexcept nogil:
    """Add to out[start : stop] as many lanes as there are."""
    vadd_first_to(out + start, values, <int> max(0, min(LANES, stop - start)))


ctypedef struct TermVector:
    # LANES terms from f on, x[a + lane] x[b + lane] of a row; `left` of them are of the run.
    Py_ssize_t f, a, b, left


cdef Py_ssize_t term_vectors(Py_ssize_t C, Py_ssize_t n_terms) noexcept nogil:
    """Vectors of terms, each of one run."""
    return n_terms // C * ((C + LANES - 1) // LANES) + (n_terms % C + LANES - 1) // LANES


cdef inline TermVector term_vector(
    Py_ssize_t i, Py_ssize_t C, Py_ssize_t n_terms,
) noexcept nogil:
    """Vector i, by runs."""
    cdef Py_ssize_t of_run = (C + LANES - 1) // LANES, run = i // of_run, j = i % of_run * LANES
    cdef TermVector t
    t.f = run * C + j
    t.a = j
    t.b = j + run - 1
    t.left = min(C - j, n_terms - t.f)
    return t


cdef enum Terms:
    # Of a block: where they come from.
    FEATURES
    PRODUCTS
    NEW_PRODUCTS        # which are kept in tile.scratch
    KEPT_PRODUCTS


cdef inline void add_block(
    const Tile* tile, Py_ssize_t k, Py_ssize_t n_k, TermVector* t, Py_ssize_t n_t, Terms terms,
    double* sums, Py_ssize_t stride,
) noexcept nogil:
    """n_k components from k on, n_t vectors of terms; n_k, n_t and terms are constants."""
    cdef vreal acc[2 * COLUMNS]
    cdef vreal term[2]
    cdef vreal rv
    cdef const vreal* r = tile.responsibilities + k
    cdef vreal* product = tile.scratch
    cdef const real* row = tile.rows_of_x
    cdef double* out
    cdef Py_ssize_t row_stride = tile.row_stride, vectors = tile.vectors, r_stride = tile.r_stride
    cdef Py_ssize_t i, h, j, lane, a0 = t[0].a, b0 = t[0].b, a1 = t[n_t - 1].a, b1 = t[n_t - 1].b
    for h in range(n_k * n_t):
        acc[h] = splat(0)
    for i in range(vectors):
        for lane in range(LANES):
            if terms == KEPT_PRODUCTS:
                for j in range(n_t):
                    term[j] = product[j]
            elif terms == FEATURES:
                term[0] = vload(row + a0)
                if n_t == 2:
                    term[1] = vload(row + a1)
            else:
                term[0] = vload(row + a0) * vload(row + b0)
                if n_t == 2:
                    term[1] = vload(row + a1) * vload(row + b1)
            if terms == NEW_PRODUCTS:
                for j in range(n_t):
                    product[j] = term[j]
            for h in range(n_k):
                rv = splat((<const real*> (r + h))[lane])
                for j in range(n_t):
                    acc[h * n_t + j] = acc[h * n_t + j] + term[j] * rv
            row += row_stride
            product += n_t
        r += r_stride
    for j in range(n_t):
        out = sums + k * stride + t[j].f
        # Whole vectors, too, by the mask, where there is one: a branch costs more.
        for h in range(n_k):
            add_lanes(acc[h * n_t + j], 0, t[j].left, out + h * stride)


cdef inline void add_group(
    const Tile* tile, Py_ssize_t k, Py_ssize_t n_k, TermVector* t, Py_ssize_t n_t, bint products,
    bint keeping, double* sums, Py_ssize_t stride,
) noexcept nogil:
    """n_k components, a constant, from k on; if keeping, the first leave products to the others."""
    if not products:
        add_block(tile, k, n_k, t, n_t, FEATURES, sums, stride)
    elif not keeping:
        add_block(tile, k, n_k, t, n_t, PRODUCTS, sums, stride)
    elif n_k < COLUMNS or k > 0:
        add_block(tile, k, n_k, t, n_t, KEPT_PRODUCTS, sums, stride)
    else:
        add_block(tile, k, n_k, t, n_t, NEW_PRODUCTS, sums, stride)


cdef inline void add_components(
    const Tile* tile, Py_ssize_t K, TermVector* t, Py_ssize_t n_t, bint products,
    double* sums, Py_ssize_t stride,
) noexcept nogil:
    cdef Py_ssize_t k = 0
    cdef bint keeping = K > COLUMNS
    while K - k >= COLUMNS:
        add_group(tile, k, COLUMNS, t, n_t, products, keeping, sums, stride)
        k += COLUMNS
    if COLUMNS == 8 and K - k >= 4:
        add_group(tile, k, 4, t, n_t, products, keeping, sums, stride)
        k += 4
    if K - k >= 2:
        add_group(tile, k, 2, t, n_t, products, keeping, sums, stride)
        k += 2
    if k < K:
        add_group(tile, k, 1, t, n_t, products, keeping, sums, stride)


cdef Py_ssize_t rows_of_component(
    const Tile* tile, Py_ssize_t k,
    int32_t* at,                 # OUT  (at most vectors * LANES,) and room for one vector more
    real* r,                     # OUT  the same
) noexcept nogil:
    """Rows where component k is not negligible, and its responsibilities there."""
    cdef Py_ssize_t i, n = 0
    for i in range(tile.vectors):
        n += vlist_positive(tile.responsibilities[i * tile.r_stride + k],
                            <int32_t> (i * LANES), r + n, at + n)
    return n


cdef inline void add_listed(
    const Tile* tile, const int32_t* at, const real* r, Py_ssize_t n,
    TermVector* t, Py_ssize_t n_t, bint products, double* sums,
) noexcept nogil:
    """One component over listed rows; n_t and products are constants."""
    cdef vreal acc[8]
    cdef vreal term, rv
    cdef const real* row
    cdef Py_ssize_t s, j
    for j in range(n_t):
        acc[j] = splat(0)
    for s in range(n):
        row = tile.rows_of_x + at[s] * tile.row_stride
        rv = splat(r[s])
        for j in range(n_t):
            term = vload(row + t[j].a) * rv
            acc[j] = acc[j] + term * vload(row + t[j].b) if products else acc[j] + term
    for j in range(n_t):
        add_lanes(acc[j], 0, t[j].left, sums + t[j].f)


cdef void add_listed_runs(
    const Tile* tile, Py_ssize_t C, Py_ssize_t n_terms, Py_ssize_t K,
    double* sums, Py_ssize_t stride,
) noexcept nogil:
    """Where most responsibilities are negligible: for each component the rows where its are not."""
    cdef real* r = <real*> tile.scratch
    cdef int32_t* at = <int32_t*> (r + (tile.vectors + 1) * LANES)
    cdef Py_ssize_t of_run = (C + LANES - 1) // LANES, n_vectors = term_vectors(C, n_terms)
    cdef Py_ssize_t k, i, j, n, n_t
    cdef TermVector t[8]
    for k in range(K):
        n = rows_of_component(tile, k, at, r)
        i = 0
        while i < n_vectors:
            n_t = (of_run if i < of_run else n_vectors) - i
            n_t = 8 if n_t >= 8 else 2 if n_t >= 2 else 1
            for j in range(n_t):
                t[j] = term_vector(i + j, C, n_terms)
            if i < of_run and n_t == 8:
                add_listed(tile, at, r, n, t, 8, False, sums + k * stride)
            elif i < of_run and n_t == 2:
                add_listed(tile, at, r, n, t, 2, False, sums + k * stride)
            elif i < of_run:
                add_listed(tile, at, r, n, t, 1, False, sums + k * stride)
            elif n_t == 8:
                add_listed(tile, at, r, n, t, 8, True, sums + k * stride)
            elif n_t == 2:
                add_listed(tile, at, r, n, t, 2, True, sums + k * stride)
            else:
                add_listed(tile, at, r, n, t, 1, True, sums + k * stride)
            i += n_t


cdef void add_runs(
    const Tile* tile, Py_ssize_t C, Py_ssize_t n_terms, Py_ssize_t K,
    double* sums, Py_ssize_t stride,
) noexcept nogil:
    cdef Py_ssize_t of_run = (C + LANES - 1) // LANES, n_vectors = term_vectors(C, n_terms)
    cdef Py_ssize_t i = 0
    cdef TermVector t[2]
    while i < n_vectors:
        t[0] = term_vector(i, C, n_terms)
        if i + 1 < (of_run if i < of_run else n_vectors):
            t[1] = term_vector(i + 1, C, n_terms)
            if i < of_run:
                add_components(tile, K, t, 2, False, sums, stride)
            else:
                add_components(tile, K, t, 2, True, sums, stride)
            i += 2
        else:
            if i < of_run:
                add_components(tile, K, t, 1, False, sums, stride)
            else:
                add_components(tile, K, t, 1, True, sums, stride)
            i += 1


cdef void accumulate_terms(
    const Tile* tile, Py_ssize_t C, Py_ssize_t n_terms, Py_ssize_t K,
    double* sums,               # INOUT  (K, n_terms), spaced by `stride`
    Py_ssize_t stride,
) noexcept nogil:
    """sums[k, f] += sum over rows of r_k t_f."""
    if is_narrow(C):
        write_terms_in_lanes(tile, C, n_terms, tile.scratch)
        accumulate_in_lanes(tile, tile.scratch, odd_stride(n_terms), n_terms, K, sums, stride)
    elif is_sparse(tile, K):
        add_listed_runs(tile, C, n_terms, K, sums, stride)
    else:
        add_runs(tile, C, n_terms, K, sums, stride)


cdef void write_terms_in_lanes(
    const Tile* tile, Py_ssize_t C, Py_ssize_t n_terms,
    vreal* terms,               # OUT  (vectors, n_terms)
) noexcept nogil:
    cdef Py_ssize_t i, j, f, shift
    cdef const vreal* x
    for i in range(tile.vectors):
        x = tile.x + i * tile.x_stride
        for j in range(C):
            terms[j] = x[j]
        shift = 0
        for f from C <= f < n_terms by C:
            for j in range(min(C - shift, n_terms - f)):
                terms[f + j] = x[j] * x[j + shift]
            for j in range(C - shift, min(C, n_terms - f)):
                terms[f + j] = x[j] * x[j + shift - C]
            shift += 1
        terms += odd_stride(n_terms)


cdef inline void add_cross_products(
    const vreal* r, Py_ssize_t r_stride, const vreal* t, Py_ssize_t t_stride,
    const int32_t* at, Py_ssize_t n_at, Py_ssize_t n_k, Py_ssize_t n_t,
    double* sums, Py_ssize_t stride,
) noexcept nogil:
    cdef real products[32]
    cdef Py_ssize_t i, j
    cross_products(r, r_stride, t, t_stride, at, n_at, n_k, n_t, products)
    for i in range(n_k):
        for j in range(n_t):
            sums[i * stride + j] += products[i * n_t + j]


cdef inline void add_terms_in_lanes(
    const Tile* tile, Py_ssize_t K, const vreal* t, Py_ssize_t t_stride, Py_ssize_t n_t,
    double* sums, Py_ssize_t stride,
) noexcept nogil:
    """n_t terms, a constant, of pairs of components."""
    cdef Py_ssize_t k, n_at, rs = tile.r_stride
    cdef const vreal* r
    cdef const int32_t* at
    for k from 0 <= k < K by 2:
        r = tile.responsibilities + k
        at = tile.active + k // 2 * tile.active_stride
        n_at = tile.n_active[k // 2]
        if k + 1 < K:
            add_cross_products(r, rs, t, t_stride, at, n_at, 2, n_t, sums, stride)
        else:
            add_cross_products(r, rs, t, t_stride, at, n_at, 1, n_t, sums, stride)
        sums += 2 * stride


cdef void accumulate_in_lanes(
    const Tile* tile,
    const vreal* t,             # IN     (vectors, n_terms)
    Py_ssize_t t_stride, Py_ssize_t n_terms, Py_ssize_t K,
    double* sums,               # INOUT  (K, n_terms), spaced by `stride`
    Py_ssize_t stride,
) noexcept nogil:
    """sums[k, f] += sum over rows of r_k t_f with a row in each lane."""
    cdef Py_ssize_t f = 0
    while f < n_terms:
        if n_terms - f >= 12 and COLUMNS == 8:
            add_terms_in_lanes(tile, K, t + f, t_stride, 12, sums + f, stride)
            f += 12
        elif n_terms - f >= COLUMNS:
            add_terms_in_lanes(tile, K, t + f, t_stride, COLUMNS, sums + f, stride)
            f += COLUMNS
        elif n_terms - f >= 2:
            add_terms_in_lanes(tile, K, t + f, t_stride, 2, sums + f, stride)
            f += 2
        else:
            add_terms_in_lanes(tile, K, t + f, t_stride, 1, sums + f, stride)
            f += 1
