# Emissions whose log-density is a sum over entries of a row, each of which is looked up in a slot.
#
#   log p(row | k)  =  constant_k  +  sum over entries  value w[slot, k]
#   sums[slot, k]   =  sum over rows and their entries  r_k value
#
# An entry of a categorical feature is its level, of value 1; those of a sparse row are its stored
# numbers. Components are in the lanes: an entry costs a multiply-add for LANES of them, however many
# slots there are.

cdef inline void gather(
    const real* weights, Py_ssize_t stride,         # (n_slots, stride)
    const int32_t* slots, const real* values, Py_ssize_t n, bint valued, Py_ssize_t n_v,
    vreal* sums,                                    # INOUT  (n_v,)
) noexcept nogil:
    """Add what the entries of a row contribute to n_v vectors of components, a constant."""
    cdef vreal acc[4]
    cdef const vreal* slot
    cdef Py_ssize_t e, v
    for v in range(n_v):
        acc[v] = sums[v]
    for e in range(n):
        slot = <const vreal*> (weights + slots[e] * stride)
        for v in range(n_v):
            if valued:
                acc[v] = acc[v] + slot[v] * splat(values[e])
            else:
                acc[v] = acc[v] + slot[v]
    for v in range(n_v):
        sums[v] = acc[v]


cdef inline void scatter(
    const vreal* r, const int32_t* slots, const real* values, Py_ssize_t n, bint valued,
    Py_ssize_t n_v,
    double* sums, Py_ssize_t stride,                # INOUT  (n_slots, stride)
) noexcept nogil:
    """Add the responsibilities of a row to its slots, for n_v vectors of components, a constant."""
    cdef vreal mine[4]
    cdef double* slot
    cdef Py_ssize_t e, v
    for v in range(n_v):
        mine[v] = r[v]
    for e in range(n):
        slot = sums + slots[e] * stride
        for v in range(n_v):
            if valued:
                vadd_to(slot + v * LANES, mine[v] * splat(values[e]))
            else:
                vadd_to(slot + v * LANES, mine[v])


cdef class Entries(Emission):
    """A log-density that is a sum over entries.

    Statistics: sums of r value, (n_slots, n_components) with the components padded to `stride`.
    """

    cdef Buffer weights, constants
    cdef readonly Py_ssize_t stride, n_slots

    def by_slot(self, sums):
        """Statistics as an array of shape (n_slots, n_components)."""
        return sums.reshape(self.n_slots, self.stride)[:, :self.n_components]

    cdef int set_weights(
        self, const double[:, ::1] weights, const double[::1] constants, Py_ssize_t more,
    ) except -1:
        """`weights` of shape (n_slots, n_components), and so many slots `more` of weight 0."""
        cdef Py_ssize_t K = weights.shape[1], s, k
        require(constants.shape[0] == K)
        self.in_short_tiles = True
        self.stride = (K + LANES - 1) // LANES * LANES
        self.n_slots = weights.shape[0] + more
        self.statistics_size = self.n_slots * self.stride
        self.scratch_per_row = self.stride
        self.weights = Buffer(self.n_slots * self.stride)
        self.constants = Buffer(self.stride)
        for k in range(K):
            self.constants.data[k] = <real> constants[k]
            for s in range(weights.shape[0]):
                self.weights.data[s * self.stride + k] = <real> weights[s, k]
        return 0

    cdef Py_ssize_t entries(
        self, const Tile* tile, Py_ssize_t row, const int32_t** slots, const real** values,
    ) noexcept nogil:
        """Where the entries of a row of the tile are, and how many."""
        return 0

    cdef inline void sum_rows(self, const Tile* tile, bint valued) noexcept nogil:
        """The log-densities, a row after the other, in tile.scratch."""
        cdef Py_ssize_t b, v, n, n_v = self.stride // LANES
        cdef const int32_t* slots = NULL
        cdef const real* values = NULL
        cdef const real* weights = self.weights.data
        cdef vreal* out = tile.scratch
        for b in range(tile.rows):
            n = self.entries(tile, b, &slots, &values)
            for v in range(n_v):
                out[v] = (<const vreal*> self.constants.data)[v]
            v = 0
            while v < n_v:
                if n_v - v >= 4:
                    gather(weights + v * LANES, self.stride, slots, values, n, valued, 4, out + v)
                    v += 4
                elif n_v - v >= 2:
                    gather(weights + v * LANES, self.stride, slots, values, n, valued, 2, out + v)
                    v += 2
                else:
                    gather(weights + v * LANES, self.stride, slots, values, n, valued, 1, out + v)
                    v += 1
            out += n_v
        # What an earlier tile has left here would count among the responsibilities of padding.
        for v in range((tile.vectors * LANES - tile.rows) * n_v):
            out[v] = splat(0)

    cdef inline void add_rows(self, const Tile* tile, bint valued, double* sums) noexcept nogil:
        """Add the responsibilities, a row after the other in tile.scratch."""
        cdef Py_ssize_t b, v, n, n_v = self.stride // LANES
        cdef const int32_t* slots = NULL
        cdef const real* values = NULL
        cdef const vreal* r = tile.scratch
        for b in range(tile.rows):
            n = self.entries(tile, b, &slots, &values)
            v = 0
            while v < n_v:
                if n_v - v >= 4:
                    scatter(r + v, slots, values, n, valued, 4, sums + v * LANES, self.stride)
                    v += 4
                elif n_v - v >= 2:
                    scatter(r + v, slots, values, n, valued, 2, sums + v * LANES, self.stride)
                    v += 2
                else:
                    scatter(r + v, slots, values, n, valued, 1, sums + v * LANES, self.stride)
                    v += 1
            r += n_v

    cdef void rows_to_lanes(self, const Tile* tile) noexcept nogil:
        """tile.responsibilities from tile.scratch."""
        cdef Py_ssize_t i, k, j, n_v = self.stride // LANES
        cdef vreal block[LANES]
        for i in range(tile.vectors):
            for k from 0 <= k < self.n_components by LANES:
                for j in range(LANES):
                    block[j] = tile.scratch[(i * LANES + j) * n_v + k // LANES]
                vtranspose(block)
                for j in range(min(<Py_ssize_t> LANES, self.n_components - k)):
                    tile.responsibilities[i * tile.r_stride + k + j] = block[j]

    cdef void lanes_to_rows(self, const Tile* tile) noexcept nogil:
        """tile.scratch from tile.responsibilities."""
        cdef Py_ssize_t i, k, j, n_v = self.stride // LANES
        cdef vreal block[LANES]
        for i in range(tile.vectors):
            for k from 0 <= k < self.n_components by LANES:
                for j in range(LANES):
                    block[j] = (tile.responsibilities[i * tile.r_stride + k + j]
                                if k + j < self.n_components else splat(0))
                vtranspose(block)
                for j in range(LANES):
                    tile.scratch[(i * LANES + j) * n_v + k // LANES] = block[j]


cdef class Categorical(Entries):
    """Independent features, each one of some levels; a code that is none of them is missing.

    Parameters
    ----------
    levels : ndarray of shape (n_features,), int64, how many levels each feature has
    log_probabilities : ndarray of shape (n_slots, n_components), the levels of a feature adjacent

    The last slot holds what is missing, of weight 0.
    """

    cdef object first_slots

    cdef int32_t* first_slot            # (n_features + 1,)

    def __init__(self, const int64_t[::1] levels, const double[:, ::1] log_probabilities):
        cdef Py_ssize_t D = levels.shape[0], K = log_probabilities.shape[1], d
        cdef int32_t[::1] first_slots
        self.first_slots = first_slots = array("i", [0]) * (D + 1)
        self.first_slot = &first_slots[0]
        for d in range(D):
            require(0 < levels[d] <= log_probabilities.shape[0] - first_slots[d])
            first_slots[d + 1] = first_slots[d] + <int32_t> levels[d]
        require(first_slots[D] == log_probabilities.shape[0])
        self.set_shape(K, D, D, zeros(D))
        self.set_weights(log_probabilities, zeros(K), 1)
        self.reads, self.form = CODES, "levels"

    cdef void read(self, Tile* tile, Py_ssize_t stop, bint weighted) noexcept nogil:
        cdef Py_ssize_t D = self.n_features, b, d, size = tile.source.integer_size
        cdef const char* row = tile.source.data + tile.first * tile.source.row_stride
        cdef int32_t* slots = tile.slots
        for b in range(tile.rows):
            if size == 1:
                self.read_codes(row, tile.source.column_stride, slots, 1)
            elif size == 2:
                self.read_codes(row, tile.source.column_stride, slots, 2)
            elif size == 4:
                self.read_codes(row, tile.source.column_stride, slots, 4)
            else:
                self.read_codes(row, tile.source.column_stride, slots, 0)
            row += tile.source.row_stride
            slots += D
        prefetch_next(tile, stop, D)

    cdef inline void read_codes(
        self, const char* at, Py_ssize_t stride, int32_t* slots, int size,
    ) noexcept nogil:
        cdef Py_ssize_t d
        cdef const int32_t* first = self.first_slot
        cdef int64_t code
        cdef real number
        for d in range(self.n_features):
            if size == 1:
                code = (<const unsigned char*> at)[0]
            elif size == 2:
                code = (<const unsigned short*> at)[0]
            elif size == 4:
                code = (<const unsigned int*> at)[0]
            else:
                number = (<const real*> at)[0]
                # Not where it is no number.
                code = <int64_t> number if 0 <= number < 2147483648.0 else first[self.n_features]
            slots[d] = (first[d] + <int32_t> code if code < first[d + 1] - first[d]
                        else first[self.n_features])
            at += stride

    cdef Py_ssize_t entries(
        self, const Tile* tile, Py_ssize_t row, const int32_t** slots, const real** values,
    ) noexcept nogil:
        slots[0] = tile.slots + row * self.n_features
        return self.n_features

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        self.sum_rows(tile, False)
        self.rows_to_lanes(tile)

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        self.lanes_to_rows(tile)
        self.add_rows(tile, False, statistics)


cdef class SparseForms(Entries):
    """A log-density that is linear in sparse rows: see `Counts` for dense ones.

    Parameters
    ----------
    weights : ndarray of shape (n_features, n_components)
    constants : ndarray of shape (n_components,)
    base : ndarray of shape (n_features,), optional
        With it, log h(x) = base_constant + sum_d x_d base_d - log x_d! is included in the density;
        without, it is left out.
    base_constant : float

    The last slot holds a number that is 1 in every row.
    """

    cdef const double[::1] base         # double: large terms cancel
    cdef const double* base_weights
    cdef double base_constant
    cdef bint with_base

    def __init__(self, const double[:, ::1] weights, const double[::1] constants,
                 const double[::1] base=None, double base_constant=0):
        cdef Py_ssize_t D = weights.shape[0], K = weights.shape[1]
        require(base is None or base.shape[0] == D)
        self.set_shape(K, D, D, zeros(D))
        self.set_weights(weights, constants, 1)
        self.reads, self.form = ENTRIES, "entries"
        self.with_base, self.base_constant = base is not None, base_constant
        if self.with_base:
            self.base = base
            self.base_weights = &self.base[0]

    cdef void read(self, Tile* tile, Py_ssize_t stop, bint weighted) noexcept nogil:
        pass

    cdef Py_ssize_t entries(
        self, const Tile* tile, Py_ssize_t row, const int32_t** slots, const real** values,
    ) noexcept nogil:
        cdef const int64_t* starts = tile.source.starts + tile.first + row
        slots[0] = tile.source.columns + starts[0]
        values[0] = tile.source.values + starts[0]
        return starts[1] - starts[0]

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        self.sum_rows(tile, True)
        if self.with_base:
            self.add_base(tile)
        self.rows_to_lanes(tile)

    cdef void add_base(self, const Tile* tile) noexcept nogil:
        cdef Py_ssize_t b, e, n, v, n_v = self.stride // LANES
        cdef const int32_t* slots = NULL
        cdef const real* values = NULL
        cdef double total
        for b in range(tile.rows):
            n = self.entries(tile, b, &slots, &values)
            total = self.base_constant
            for e in range(n):
                total += values[e] * self.base_weights[slots[e]] - log_factorial(values[e])
            for v in range(n_v):
                tile.scratch[b * n_v + v] = tile.scratch[b * n_v + v] + splat(<real> total)

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        cdef Py_ssize_t b, v, n_v = self.stride // LANES
        self.lanes_to_rows(tile)
        self.add_rows(tile, True, statistics)
        for b in range(tile.rows):
            for v in range(n_v):
                vadd_to(statistics + self.n_features * self.stride + v * LANES,
                        tile.scratch[b * n_v + v])
