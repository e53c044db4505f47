# The pass itself.
#
#   rows ──Emission.read──> tile ──.log_density──> ──Latent.respond──> ──.accumulate──> statistics
#
# Where rows consist of several blocks of columns, each has a tile of its own, and the tiles share
# responsibilities and weights. A tile stays in cache from first to last, so nothing of size rows x
# components exists unless the caller asks for it. Tiles make up blocks; a block is the work of one
# thread at a time, and has statistics of its own, which are added in a fixed tree. Blocks depend on
# the shape alone, hence the same bits come out for any number of threads.

cdef Py_ssize_t TILE_BYTES = 640 * 1024         # of one tile: well inside a level-2 cache
cdef Py_ssize_t TERM_TILE_BYTES = 40 * 1024     # where terms are summed: about a level-1 cache
cdef Py_ssize_t MAX_TILE_ROWS = 768
# Sums of a component, each loaded and stored once for a tile, from which on that shows.
cdef Py_ssize_t MANY_SUMS = 200
cdef Py_ssize_t ROW_STEP = 64                   # VECTORS vectors in every build
cdef Py_ssize_t MAX_BLOCKS = 64
cdef double WORK_OF_A_THREAD = 1e6              # rows x components x features, some 200 us
# Statistics of all blocks are added by so many columns, which stay in a level-2 cache, and by as many
# threads as have some of them.
cdef Py_ssize_t MERGED_AT_ONCE = 512
cdef Py_ssize_t CHUNKS_OF_A_THREAD = 4
cdef Py_ssize_t PARTIAL_BYTES = 32 * 1024 * 1024
cdef Py_ssize_t BLOCK_BYTES = 4 * 1024 * 1024   # of rows: of a stream, threads share out a few dozen MiB


cdef struct Outputs:
    # What is written for every row; each may be NULL.
    bint wanted
    real* responsibilities      # (n_rows, n_components)
    Py_ssize_t* assignments     # (n_rows,)
    double* log_likelihoods     # (n_rows,)
    real* imputed               # (n_rows, n_features)    where entries are missing


cdef class Workspace:
    """Scratch memory of one thread, for a block of columns; that of other blocks hangs on to it."""

    cdef Buffer x, weights, responsibilities, log_likelihoods, scratch, rows_of_x, words, columns
    cdef Buffer densities, sums
    cdef PatternMemory missing
    cdef Buffer n_active
    cdef object every, listed, slots
    cdef Workspace next
    cdef Tile tile              # points into the buffers

    def __cinit__(self, Emission emission, Py_ssize_t rows, Py_ssize_t K, Workspace whole=None):
        cdef Emission part = emission
        if isinstance(emission, Product):
            part = (<Product> emission).first
        if whole is None:
            self.share(K, rows, isinstance(emission, Product))
            whole = self
        else:
            self.share_with(&whole.tile)
        self.tile.x_stride = odd_stride(part.n_columns)
        if part.n_words > 0:
            self.pack_to_words(part, rows)
        elif part.reads == NUMBERS:
            self.pack_to_lanes(part, rows)
        elif part.reads == CODES:
            self.pack_to_slots(part, rows)
        self.scratch = Buffer(rows * part.scratch_per_row)
        self.tile.scratch = <vreal*> self.scratch.data
        if part.component_vectors > 0:
            self.missing = PatternMemory(rows, part.n_features, part.component_vectors)
            self.tile.missing = &self.missing.patterns
        if isinstance(emission, Product):
            self.next = Workspace((<Product> emission).rest, rows, K, whole)
            self.tile.next = &self.next.tile

    cdef int sum_apart(self, Emission emission) except -1:
        """Have room for a block's sums of terms where no vector of them need be astride cache lines."""
        self.sums = Buffer(emission.statistics_size * sizeof(double) // sizeof(real))
        self.tile.sums = <double*> self.sums.data
        return 0

    cdef int share(self, Py_ssize_t K, Py_ssize_t rows, bint blocks) except -1:
        """What the tiles of all blocks have in common."""
        cdef Py_ssize_t vectors = rows // LANES, n_pairs = (K + 1) // 2
        cdef int32_t[::1] every, listed
        self.tile.r_stride = odd_stride(K)
        self.weights = Buffer(rows)
        self.responsibilities = Buffer(rows * self.tile.r_stride)
        self.log_likelihoods = Buffer(rows)
        self.densities = Buffer(rows * self.tile.r_stride if blocks else 0)
        self.tile.weights = <vreal*> self.weights.data
        self.tile.responsibilities = <vreal*> self.responsibilities.data
        self.tile.log_likelihoods = <vreal*> self.log_likelihoods.data
        self.tile.densities = <vreal*> self.densities.data
        self.every = every = array("i", range(vectors))
        self.listed = listed = array("i", [0]) * ((vectors + 1) * n_pairs)
        # Written for every tile, hence in no cache line of another thread.
        self.n_active = Buffer(n_pairs * sizeof(Py_ssize_t) // sizeof(real))
        self.tile.every = &every[0]
        self.tile.listed = &listed[0]
        self.tile.n_active = <Py_ssize_t*> self.n_active.data
        return 0

    cdef void share_with(self, const Tile* tile) noexcept:
        self.tile.r_stride = tile.r_stride
        self.tile.weights = tile.weights
        self.tile.responsibilities = tile.responsibilities
        self.tile.log_likelihoods = tile.log_likelihoods
        self.tile.densities = tile.densities
        self.tile.every, self.tile.listed, self.tile.n_active = (
            tile.every, tile.listed, tile.n_active)

    cdef int pack_to_lanes(self, Emission emission, Py_ssize_t rows) except -1:
        self.x = Buffer(rows * self.tile.x_stride)
        self.tile.x = <vreal*> self.x.data
        if row_stride(emission) > 0:
            self.rows_of_x = Buffer(rows * row_stride(emission))
            self.tile.rows_of_x = self.rows_of_x.data
            self.tile.row_stride = row_stride(emission)
            self.tile.wrapped = wrapped_columns(emission)
        return 0

    cdef int pack_to_words(self, Emission emission, Py_ssize_t rows) except -1:
        self.tile.n_words = emission.n_words
        # Rows are looked up in 8 vectors, features in 4, beyond the last.
        self.words = Buffer((rows + 4 * LANES) * emission.n_words)
        self.tile.words = <vbits*> self.words.data
        self.columns = Buffer((rows // WORD_BITS + 1) * (emission.n_words * WORD_BITS + 4 * LANES))
        self.tile.columns = <vbits*> self.columns.data
        return 0

    cdef int pack_to_slots(self, Emission emission, Py_ssize_t rows) except -1:
        cdef int32_t[::1] slots
        self.slots = slots = array("i", [0]) * (rows * emission.n_features)
        self.tile.slots = &slots[0]
        return 0


def tile_rows(Emission emission):
    """Rows of a tile: as many as fit in cache together, up to 768.

    Where terms of rows are summed, about a level-1 cache, but at least 64 rows, and no more than a level-2
    cache holds. In single precision a tile takes half the time, and what is done once for it shows: at least
    192 rows where they are in the lanes, over which each sum is taken; 128 where sums are many, each of which
    is loaded and stored.
    """
    per_row = (emission.reals_per_row() + emission.n_components) * sizeof(real)
    rows = TILE_BYTES // per_row
    if emission.in_short_tiles:
        least = 64
        if sizeof(real) == 4 and emission.n_terms > 0 and not reads_rows_of_x(emission):
            least = 192
        elif sizeof(real) == 4 and emission.statistics_size >= MANY_SUMS * emission.n_components:
            least = 128
        rows = min(rows, max(TERM_TILE_BYTES // per_row, least))
    return max(ROW_STEP, min(MAX_TILE_ROWS, rows // ROW_STEP * ROW_STEP))


def partial_size(Latent latent, Emission emission):
    """How many numbers a pass accumulates for every block."""
    return 2 + latent.n_components + latent.statistics_size + emission.statistics_size


def block_rows(Latent latent, Emission emission, Py_ssize_t n_rows):
    """Rows of a block: whole tiles, at most 64 blocks and 32 MiB of statistics in all.

    Where the statistics of one block are so large that this leaves few blocks, they may take an
    eighth of the memory of the rows. Where rows are so many that a block would be larger than 4 MiB,
    and than sixteen times its statistics, there are more.
    """
    tile = tile_rows(emission)
    row_bytes = bytes_of_row(emission)
    budget = max(PARTIAL_BYTES, n_rows * row_bytes // 8)
    size = partial_size(latent, emission) * sizeof(double)
    blocks = max(1, min(MAX_BLOCKS, budget // size))
    most = -(-most_bytes(size) // (tile * row_bytes))
    return max(1, min(most, -(-n_rows // (blocks * tile)))) * tile


cdef Py_ssize_t most_bytes(Py_ssize_t size) noexcept:
    """What the rows of a block take at most, whose statistics take so much."""
    return max(BLOCK_BYTES, 16 * size)


cdef Py_ssize_t bytes_of_row(Emission emission) noexcept:
    """What a row takes when it is computed with: a bit for each feature that is yes or no."""
    if emission.n_words > 0:
        return emission.n_words * sizeof(real)
    return emission.n_features * sizeof(real)


cdef double set_weights(Tile* tile, const char* weights, Py_ssize_t stride) noexcept nogil:
    """Fill tile.weights; their sum."""
    cdef real* out = <real*> tile.weights
    cdef vreal total = splat(0)
    cdef Py_ssize_t b, i
    if weights == NULL:
        for i in range(tile.vectors):
            tile.weights[i] = splat(1)
    else:
        for b in range(tile.rows):
            out[b] = <real> (<const double*> (weights + (tile.first + b) * stride))[0]
    for b in range(tile.rows, tile.vectors * LANES):
        out[b] = 0
    if weights == NULL:
        return tile.rows
    for i in range(tile.vectors):
        total = total + tile.weights[i]
    return vsum(total)


cdef void write_outputs(const Tile* tile, const Outputs* outputs, Py_ssize_t K) noexcept nogil:
    cdef const real* r
    cdef Py_ssize_t b, k, best, row
    for b in range(tile.rows):
        row = tile.first + b
        r = <const real*> (tile.responsibilities + b // LANES * tile.r_stride) + b % LANES
        if outputs.responsibilities != NULL:
            for k in range(K):
                outputs.responsibilities[row * K + k] = r[k * LANES]
        if outputs.assignments != NULL:
            best = 0
            for k in range(1, K):
                if r[k * LANES] > r[best * LANES]:
                    best = k
            outputs.assignments[row] = best
        if outputs.log_likelihoods != NULL:
            outputs.log_likelihoods[row] = (<const real*> tile.log_likelihoods)[b]


cdef Py_ssize_t pass_over_block(
    Latent latent, Emission emission, const Tile* of_thread,
    const char* weights, Py_ssize_t weight_stride, const Labels* labels,
    const Outputs* outputs, bint accumulate,
    Py_ssize_t start, Py_ssize_t stop, Py_ssize_t step,
    double* statistics,
) noexcept nogil:
    """Add the statistics of rows start..stop; return the first impossible row, or -1."""
    cdef Py_ssize_t K = latent.n_components, first, row, impossible = -1
    cdef size_t of_emission = emission.statistics_size * sizeof(double)
    cdef double* end = &statistics[2 + K + latent.statistics_size]
    cdef double* sums = end
    # What is written for every tile is on the stack, in no cache line that another thread reads.
    cdef Tile mine = of_thread[0]
    cdef Tile* tile = &mine
    if tile.sums != NULL:
        sums = tile.sums
        memcpy(sums, end, of_emission)
    tile.each_row = weights != NULL or outputs.log_likelihoods != NULL
    tile.accumulating = accumulate
    for first from start <= first < stop by step:
        tile.first = first
        tile.rows = min(step, stop - first)
        tile.vectors = (tile.rows + VECTORS * LANES - 1) // (VECTORS * LANES) * VECTORS
        share_rows(tile)
        statistics[1] += set_weights(tile, weights, weight_stride)
        emission.read(tile, stop, weights != NULL)
        emission.log_density(tile)
        row = latent.respond(tile, labels, &statistics[0], &statistics[2])
        if impossible < 0:
            impossible = row
        if outputs.wanted:
            write_outputs(tile, outputs, K)
        if outputs.imputed != NULL:
            emission.impute(tile, outputs.imputed)
        if accumulate:
            if latent.n_uniform:
                leave_to_emission(tile, emission.n_components)
            list_active(tile, emission.n_components)
            share_rows(tile)
            emission.accumulate(tile, sums)
    if sums != end:
        memcpy(end, sums, of_emission)
    return impossible


cdef void leave_to_emission(Tile* tile, Py_ssize_t n_own) noexcept nogil:
    """Of tile.weights what the components have of which the emission knows."""
    cdef Py_ssize_t i, k
    cdef vreal total
    for i in range(tile.vectors):
        total = splat(0)
        for k in range(n_own):
            total = total + tile.responsibilities[i * tile.r_stride + k]
        tile.weights[i] = total


cdef void attach(Tile* tile, const Rows* sources) noexcept:
    """Tell the tiles of all blocks where their rows are."""
    while tile != NULL:
        tile.source = sources
        tile = tile.next
        sources += 1


cdef void merge(double[:, ::1] partial, int n_threads) noexcept nogil:
    """Add the rows of `partial` into the first, as a binary tree."""
    cdef Py_ssize_t n_chunks = (partial.shape[1] + MERGED_AT_ONCE - 1) // MERGED_AT_ONCE, chunk
    cdef int team = <int> max(1, min(n_threads, n_chunks // CHUNKS_OF_A_THREAD))
    for chunk in prange(n_chunks, num_threads=team, schedule="static"):
        merge_columns(partial, chunk * MERGED_AT_ONCE,
                      min((chunk + 1) * MERGED_AT_ONCE, partial.shape[1]))


cdef void merge_columns(
    double[:, ::1] partial, Py_ssize_t start, Py_ssize_t stop,
) noexcept nogil:
    cdef Py_ssize_t step = 1, block, i
    cdef double* sums
    cdef const double* others
    while step < partial.shape[0]:
        for block from 0 <= block < partial.shape[0] - step by 2 * step:
            sums, others = &partial[block, 0], &partial[block + step, 0]
            for i in range(start, stop):
                sums[i] += others[i]
        step *= 2


cdef Py_ssize_t describe_blocks(tuple blocks, Emission emission, Rows* sources) except -1:
    """Blocks of columns as the parts of the emission read them; how many rows they have."""
    cdef Py_ssize_t i, n_rows
    cdef Emission rest = emission
    require(len(blocks) > 0)
    n_rows = blocks[0].shape[0]
    for i in range(len(blocks)):
        require(blocks[i].shape[0] == n_rows)
        require(isinstance(rest, Product) == (i + 1 < len(blocks)))
        if i + 1 < len(blocks):
            sources[i] = described(blocks[i], (<Product> rest).first)
            rest = (<Product> rest).rest
        else:
            sources[i] = described(blocks[i], rest)
    return n_rows


cdef Rows described(block, Emission emission) except *:
    """The memory of a block of columns, to which no reference is held."""
    cdef Rows rows = Rows(NULL, NULL, NULL, 0, 0, 0, False, NULL, NULL, NULL, NULL, 0)
    cdef Py_ssize_t n_rows = block.shape[0]
    cdef const real[:] last
    cdef const real[::1] values
    cdef const int32_t[::1] columns
    cdef const int64_t[::1] starts
    cdef Py_buffer view
    require(len(block.shape) == 2 and block.shape[1] == emission.n_features)
    if emission.reads == ENTRIES:
        values, columns, starts = block.values, block.columns, block.starts
        require(starts.shape[0] == n_rows + 1 and starts[0] == 0
                and values.shape[0] == columns.shape[0] == starts[n_rows])
        rows.starts = &starts[0]
        if values.shape[0] > 0:
            rows.values, rows.columns = &values[0], &columns[0]
        return rows
    if hasattr(block, "pointers"):
        require(emission.reads == NUMBERS and emission.n_words == 0)
        describe_columns(block, &rows)
        return rows
    if isinstance(emission, LinearRegression) and hasattr(block, "target"):
        last, block = block.target, block.features
        require(last.shape[0] == n_rows == block.shape[0]
                and block.shape[1] == emission.n_features - 1)
        rows.last, rows.last_stride = <const char*> &last[0], last.strides[0]
    PyObject_GetBuffer(block, &view, PyBUF_STRIDES | PyBUF_FORMAT)
    try:
        rows.integer_size = integer_size((<bytes> view.format).lstrip(b"@="), view.itemsize, emission.reads)
        rows.is_bytes = rows.integer_size == 1
        rows.data = <const char*> view.buf
        rows.row_stride, rows.column_stride = view.strides[0], view.strides[1]
        rows.end = rows.data + view.itemsize + (
            (view.shape[0] - 1) * rows.row_stride + (view.shape[1] - 1) * rows.column_stride)
    finally:
        PyBuffer_Release(&view)
    return rows


cdef int describe_columns(block, Rows* rows) except -1:
    """A block whose columns are arrays of their own; it keeps the pointers to them."""
    cdef Py_ssize_t d
    cdef const real[::1] column
    cdef size_t[::1] pointers = block.pointers
    require(len(block.arrays) == pointers.shape[0] == block.shape[1])
    for d in range(pointers.shape[0]):
        column = block.arrays[d]
        require(column.shape[0] == block.shape[0])
        pointers[d] = <size_t> &column[0] if column.shape[0] else 0
    rows.features = <const char**> &pointers[0]
    rows.row_stride = sizeof(real)
    return 0


cdef int integer_size(bytes format, Py_ssize_t itemsize, Reads reads) except -1:
    """Bytes of an integer without sign; 0 where entries are numbers of this build's precision."""
    if format == (b"d" if sizeof(real) == 8 else b"f"):
        return 0
    if format == b"B" or reads == CODES and format in (b"H", b"I"):
        return <int> itemsize
    raise ValueError(f"emcore.expectation: rows of type {format.decode()!r}")


def expectation(
    Latent latent not None,
    Emission emission not None,
    rows not None,
    double[:, ::1] partial not None,
    Py_ssize_t block_rows,
    int n_threads,
    *,
    const double[:] weights=None,
    const int32_t[::1] component=None,
    const unsigned char[:, ::1] allowed=None,
    bint accumulate=True,
    real[:, ::1] responsibilities=None,
    Py_ssize_t[::1] assignments=None,
    double[::1] log_likelihoods=None,
    real[:, ::1] imputed=None,
    Py_ssize_t head_rows=0,
    bint merged=True,
):
    """One E-step over `rows`; the statistics end up in ``partial[0]``.

    Parameters
    ----------
    latent, emission : the model
    rows : ndarray of shape (n_rows, n_features), of this build's precision or uint8
        What a `Product` reads is a tuple of blocks of columns. Codes may be uint16 or uint32, too.
        Sparse rows are an object with `shape`, `values`, `columns` (int32) and `starts` (int64); rows
        of a regression may be one with `shape`, `features` and, for the last column, `target`.
    partial : ndarray of shape (n_blocks, `partial_size`), zeros
        Log-likelihood in nats, sum of weights, sum of responsibilities of every component, then what
        else the latent structure, and what the emission accumulates.
    block_rows : int, as `block_rows` says
    n_threads : int
    weights : ndarray of shape (n_rows,), optional
    component : ndarray of shape (n_rows,), optional; -1 where the label is missing
    allowed : ndarray of shape (n_rows, n_components), optional
    accumulate : bool, whether the emission's statistics are wanted
    responsibilities, assignments, log_likelihoods : ndarrays, optional; written if given, undefined
        for rows of weight 0
    imputed : ndarray of shape (n_rows, n_features), optional
        Gets the conditional means of missing entries, of an emission of incomplete rows.
    head_rows : int, rows before the second block, of a block that has begun with earlier rows: its
        statistics go on from what is in ``partial[0]``; 0 where rows begin with a block
    merged : bool, whether blocks are added up; else each stays where it is

    Returns
    -------
    int
        The first row of positive weight whose likelihood is zero under every component its label
        allows, or -1.
    """
    cdef Labels labels
    cdef Outputs outputs
    cdef tuple blocks = rows if isinstance(rows, tuple) else (rows,)
    cdef Buffer source_memory = Buffer(len(blocks) * (sizeof(Rows) // sizeof(real) + 1))
    cdef Rows* sources = <Rows*> source_memory.data
    cdef Py_ssize_t n_rows = describe_blocks(blocks, emission, sources)
    cdef Py_ssize_t n_blocks = partial.shape[0], K = latent.n_components
    # What the first block lacks, which earlier rows have taken.
    cdef Py_ssize_t gap = block_rows - head_rows if head_rows > 0 else 0
    if (emission.n_components != K - latent.n_uniform or not latent.fits(n_rows)
            or partial.shape[1] != partial_size(latent, emission)
            or n_blocks * block_rows - gap < n_rows or block_rows < 1
            or head_rows < 0 or head_rows > block_rows
            or (weights is not None and weights.shape[0] != n_rows)
            or (component is not None and component.shape[0] != n_rows)
            or (allowed is not None and (allowed.shape[0] != n_rows or allowed.shape[1] != K))
            or (responsibilities is not None
                and (responsibilities.shape[0] != n_rows or responsibilities.shape[1] != K))
            or (assignments is not None and assignments.shape[0] != n_rows)
            or (log_likelihoods is not None and log_likelihoods.shape[0] != n_rows)
            or (imputed is not None
                and (imputed.shape[0] != n_rows or imputed.shape[1] != emission.n_features))):
        raise ValueError("emcore.expectation: arguments of shapes that do not belong together")

    labels = Labels(NULL, NULL)
    outputs = Outputs(False, NULL, NULL, NULL, NULL)
    cdef const char* weight_data = NULL
    cdef Py_ssize_t weight_stride = 0       # bytes
    if weights is not None:
        weight_data = <const char*> &weights[0]
        weight_stride = weights.strides[0]
    if component is not None:
        labels.component = <const int32_t*> &component[0]
    if allowed is not None:
        labels.allowed = <const unsigned char*> &allowed[0, 0]
    if responsibilities is not None:
        outputs.responsibilities = &responsibilities[0, 0]
    if assignments is not None:
        outputs.assignments = &assignments[0]
    if log_likelihoods is not None:
        outputs.log_likelihoods = &log_likelihoods[0]

    if imputed is not None:
        outputs.imputed = &imputed[0, 0]
    outputs.wanted = (responsibilities is not None or assignments is not None
                      or log_likelihoods is not None)

    cdef Py_ssize_t step = min(tile_rows(emission), block_rows)
    step = min(step, max(1, n_rows))
    # A thread more costs some microseconds, or milliseconds where CPUs are short.
    cdef double work = <double> n_rows * K * (emission.n_features + 10)
    cdef int team = <int> max(1, min(n_threads, n_blocks, <Py_ssize_t> (work / WORK_OF_A_THREAD)))
    room = (step + ROW_STEP - 1) // ROW_STEP * ROW_STEP
    workspaces = [Workspace(emission, room, K) for _ in range(team)]
    if accumulate and emission.sums_runs:
        for workspace in workspaces:
            (<Workspace> workspace).sum_apart(emission)
    cdef Buffer tile_memory = Buffer(team * (sizeof(Tile) // sizeof(real) + 1))
    cdef Tile* tiles = <Tile*> tile_memory.data
    for i in range(team):
        tiles[i] = (<Workspace> workspaces[i]).tile
        attach(&tiles[i], sources)
    rooms = [latent.room(&tiles[i], room) for i in range(team)]

    impossible_rows = array("q", [-1]) * n_blocks
    cdef long long[::1] impossible = impossible_rows
    cdef Py_ssize_t block
    with nogil, parallel(num_threads=team):
        for block in prange(n_blocks, schedule="dynamic"):
            impossible[block] = pass_over_block(
                latent, emission, &tiles[threadid()], weight_data, weight_stride,
                &labels, &outputs, accumulate,
                max(0, block * block_rows - gap), min(n_rows, (block + 1) * block_rows - gap), step,
                &partial[block, 0])
    if merged:
        with nogil:
            merge(partial, team)
    return min((row for row in impossible_rows if row >= 0), default=-1)


def lane_exp(const real[::1] values not None, real[::1] out not None):
    """exp of every value, by the vector code of the kernels; for tests."""
    if values.shape[0] != out.shape[0]:
        raise ValueError("emcore.lane_exp: arrays of different lengths")
    if values.shape[0] > 0:
        apply_lanes(&values[0], &out[0], values.shape[0], True)


def lane_log(const real[::1] values not None, real[::1] out not None):
    """log of every value, by the vector code of the kernels; for tests."""
    if values.shape[0] != out.shape[0]:
        raise ValueError("emcore.lane_log: arrays of different lengths")
    if values.shape[0] > 0:
        apply_lanes(&values[0], &out[0], values.shape[0], False)


cdef void apply_lanes(const real* values, real* out, Py_ssize_t n, bint exponential) noexcept nogil:
    cdef vreal vector = splat(0)
    cdef real threshold = -708 if sizeof(real) == 8 else -87
    cdef real* lane = <real*> &vector
    cdef Py_ssize_t i, j
    for i from 0 <= i < n by LANES:
        for j in range(min(<Py_ssize_t> LANES, n - i)):
            lane[j] = values[i + j]
        vector = vexp_above(vector, threshold) if exponential else vlog(vector)
        for j in range(min(<Py_ssize_t> LANES, n - i)):
            out[i + j] = lane[j]
