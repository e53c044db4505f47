# The contract of an emission.
#
#                                  Emission
#               read(tile)   log_density(tile)   accumulate(tile)
#      ┌─────────────────┬────────────┴─┬──────────────┬───────────┬──────────┬─────────┐
#  SphericalGaussian  DiagGaussian  TiedGaussian  FullGaussian  Bernoulli  Entries  LinearForms
#                                                                             │         │
#                                                               Categorical, SparseForms, Counts
#
# LinearRegression is the density of the last column of a row given the others.
#
# Rows with missing entries have emissions of their own: IncompleteDiagGaussian, IncompleteTiedGaussian
# and IncompleteFullGaussian; the latter two derive from those of complete rows.
#
# An emission is built from its parameters for one pass over the rows, and is read-only during it. A
# `Product` of them reads several blocks of columns, each with a tile of its own.

cdef enum Reads:
    NUMBERS                 # reals or bytes
    CODES                   # reals or integers without sign
    ENTRIES                 # those of a sparse matrix


cdef class Emission:
    """The density of a row given its component, on tiles of rows.

    Where the statistics of a component are sums of r t(x) over terms of a row that do not depend on
    the component, `accumulate` takes them: see terms.pxi. Emissions with others override it.

    `about_centre` tells whether moments are taken about the centre or about the means, `form` whether
    statistics are by "levels" or by "entries" of rows (see entries.pxi); None elsewhere.
    """

    cdef readonly Py_ssize_t n_components
    cdef readonly Py_ssize_t n_features
    cdef readonly Py_ssize_t n_columns          # of tile.x: features, and what log_density adds
    cdef readonly Py_ssize_t run_length         # columns that terms are made of
    cdef readonly Py_ssize_t n_terms            # 0 where none are
    cdef readonly Py_ssize_t statistics_size
    cdef readonly Py_ssize_t scratch_per_row    # reals
    cdef readonly Py_ssize_t component_vectors  # of what stands in for a missing entry; 0 for none
    cdef readonly bint about_centre
    cdef readonly str form
    cdef Buffer centre                          # (n_features,) subtracted while packing
    cdef Buffer flips                           # (n_words,) bits inverted while packing
    cdef Py_ssize_t n_words                     # of the bits of a row; 0 where rows are numbers
    cdef Reads reads
    cdef bint in_short_tiles                    # about a level-1 cache, beside sums over terms
    cdef bint sums_runs                         # of terms; of a product, whether any part does

    @property
    def dtype(self):
        return DTYPE

    def centre_values(self):
        return [self.centre.data[d] for d in range(self.n_features)]

    cdef int set_shape(
        self, Py_ssize_t K, Py_ssize_t D, Py_ssize_t n_columns, const double[::1] centre,
    ) except -1:
        require(K > 0 and D > 0 and centre.shape[0] == D)
        self.n_components, self.n_features, self.n_columns = K, D, n_columns
        self.centre = as_buffer(centre)
        return 0

    cdef Py_ssize_t reals_per_row(self) noexcept:
        """What a row of a tile takes, besides its responsibilities."""
        x = 2 * self.n_words if self.n_words > 0 else self.n_columns + row_stride(self)
        return x + self.scratch_per_row

    cdef void sum_terms(self, Py_ssize_t run_length, Py_ssize_t n_terms):
        """Have the sums of r t(x) taken over `n_terms` terms, in runs."""
        self.run_length = run_length
        self.n_terms = n_terms
        self.in_short_tiles = self.sums_runs = True
        self.statistics_size = self.n_components * self.n_terms
        self.scratch_per_row = max(
            self.scratch_per_row, scratch_for_terms(run_length, self.n_terms))

    cdef void read(self, Tile* tile, Py_ssize_t stop, bint weighted) noexcept nogil:
        """Pack the rows of the tile from its source, which goes on up to row `stop`."""
        pack(tile.source, self.centre.data, self.n_features, tile)
        prefetch_next(tile, stop, self.n_features)
        if weighted:
            blank_rows_of_no_weight(tile, self.n_features)

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        """Write log p(row | component) to tile.responsibilities."""

    cdef void add_log_density(self, const Tile* tile) noexcept nogil:
        """Add log p(row | component) to tile.responsibilities, that of other columns."""
        cdef Tile mine = tile[0]
        cdef Py_ssize_t i, k
        mine.responsibilities = tile.densities
        self.log_density(&mine)
        for i from 0 <= i < tile.vectors * tile.r_stride by tile.r_stride:
            for k in range(i, i + self.n_components):
                tile.responsibilities[k] = tile.responsibilities[k] + tile.densities[k]

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        """Add the sufficient statistics of the rows, weighted by tile.responsibilities."""
        accumulate_terms(tile, self.run_length, self.n_terms, self.n_components,
                         statistics, self.n_terms)

    cdef void impute(self, const Tile* tile, real* rows) noexcept nogil:
        """Write what is expected of missing entries to `rows`, (n_rows, n_features), of all tiles."""


cdef class Product(Emission):
    """Independent blocks of columns: their log-densities add.

    Parameters
    ----------
    first : Emission of one block
    rest : Emission of the other block, or a product of several

    Statistics: those of `first`, then those of `rest`.
    """

    cdef readonly Emission first, rest

    def __init__(self, Emission first not None, Emission rest not None):
        require(first.n_components == rest.n_components and not isinstance(first, Product))
        self.first, self.rest = first, rest
        self.n_components = first.n_components
        self.n_features = first.n_features + rest.n_features
        self.statistics_size = first.statistics_size + rest.statistics_size
        self.in_short_tiles = first.in_short_tiles or rest.in_short_tiles
        self.sums_runs = first.sums_runs or rest.sums_runs

    cdef Py_ssize_t reals_per_row(self) noexcept:
        return self.first.reals_per_row() + self.rest.reals_per_row() + self.n_components

    cdef void read(self, Tile* tile, Py_ssize_t stop, bint weighted) noexcept nogil:
        self.first.read(tile, stop, weighted)
        self.rest.read(tile.next, stop, weighted)

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        self.first.log_density(tile)
        self.rest.add_log_density(tile.next)

    cdef void add_log_density(self, const Tile* tile) noexcept nogil:
        self.first.add_log_density(tile)
        self.rest.add_log_density(tile.next)

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        self.first.accumulate(tile, statistics)
        self.rest.accumulate(tile.next, statistics + self.first.statistics_size)


cdef bint reads_rows_of_x(Emission emission) noexcept:
    """Whether terms are in the lanes when they are summed, hence a tile has its rows by rows, too."""
    return emission.n_terms > 0 and not is_narrow(emission.run_length)


cdef Py_ssize_t wrapped_columns(Emission emission) noexcept:
    """Columns that terms need once more after the last: as many as the last run is shifted by."""
    if not reads_rows_of_x(emission):
        return 0
    return max(<Py_ssize_t> 0, (emission.n_terms - 1) // emission.run_length - 1)


cdef Py_ssize_t row_stride(Emission emission) noexcept:
    """Reals from row to row: whole vectors, with room for one that starts at the last of them."""
    if not reads_rows_of_x(emission):
        return 0
    columns = emission.run_length + wrapped_columns(emission)
    return odd_stride((columns + 2 * LANES - 2) // LANES) * LANES


cdef int require(bint fits) except -1:
    if not fits:
        raise ValueError("emcore: parameters of shapes that do not belong together")


cdef const double[::1] zeros(Py_ssize_t n):
    return array("d", [0]) * n


cdef Buffer as_buffer(const double[::1] values):
    # Padded, for vectors that start at the last value.
    cdef Buffer buffer = Buffer(values.shape[0] + LANES)
    cdef Py_ssize_t i
    for i in range(values.shape[0]):
        buffer.data[i] = <real> values[i]
    return buffer


cdef inline void cross_products(
    const vreal* a, Py_ssize_t stride_a,        # n_a adjacent columns of (vectors, stride_a)
    const vreal* b, Py_ssize_t stride_b,        # n_b adjacent columns of (vectors, stride_b)
    const int32_t* at, Py_ssize_t n_at,         # the vectors to sum over
    Py_ssize_t n_a, Py_ssize_t n_b,
    real* sums,                                 # OUT (n_a, n_b)
) noexcept nogil:
    """sums[i, j] = sum over rows of a_i b_j.

    n_a n_b <= 24 are constants where this is called, so that the totals live in registers.
    """
    cdef vreal total[32]
    cdef vreal av[4]
    cdef vreal bv, lanes
    cdef const vreal* a_s
    cdef const vreal* b_s
    cdef Py_ssize_t s, i, j, g
    for i in range(n_a * n_b):
        total[i] = splat(0)
    for s in range(n_at):
        a_s = a + at[s] * stride_a
        b_s = b + at[s] * stride_b
        for i in range(n_a):
            av[i] = a_s[i]
        for j in range(n_b):
            bv = b_s[j]
            for i in range(n_a):
                total[i * n_b + j] = total[i * n_b + j] + av[i] * bv
    if n_a * n_b < LANES:
        for i in range(n_a * n_b):
            sums[i] = <real> vsum(total[i])
    else:
        for i in range(n_a * n_b, (n_a * n_b + LANES - 1) // LANES * LANES):
            total[i] = splat(0)
        for g in range((n_a * n_b + LANES - 1) // LANES):
            lanes = vreduce(total + g * LANES)
            vstore(sums + g * LANES, lanes)


cdef Py_ssize_t triangle(Py_ssize_t n) noexcept nogil:
    return n * (n + 1) // 2


cdef void accumulate_scatter(
    const vreal* a,              # IN     (vectors, D)
    const vreal* b,              # IN     (vectors, D)
    Py_ssize_t stride,           # IN     vectors from row to row of both
    const int32_t* every, Py_ssize_t vectors, Py_ssize_t D,
    double* scatter,             # INOUT  lower triangle by rows
) noexcept nogil:
    """scatter[i, j] += sum over rows of a_i b_j for j <= i: the triangle only, in blocks."""
    cdef real sums[16]
    cdef double* row
    cdef Py_ssize_t i, j, s, t, n_i
    for i from 0 <= i < D by 4:
        n_i = min(<Py_ssize_t> 4, D - i)
        for j from 0 <= j <= i by 4:
            if n_i == 4:
                cross_products(a + i, stride, b + j, stride, every, vectors, 4, 4, sums)
            elif i > j:
                for s in range(n_i):
                    cross_products(a + i + s, stride, b + j, stride, every, vectors, 1, 4,
                                   sums + 4 * s)
            else:
                for s in range(n_i):
                    for t in range(s + 1):
                        cross_products(a + i + s, stride, b + j + t, stride, every, vectors, 1, 1,
                                       sums + 4 * s + t)
            for s in range(n_i):
                row = scatter + triangle(i + s) + j
                if j < i:
                    for t in range(4):
                        row[t] += sums[4 * s + t]
                else:
                    for t in range(s + 1):
                        row[t] += sums[4 * s + t]
