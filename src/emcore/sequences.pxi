# One pass over sequences of rows whose latent variables form Markov chains.
#
# Sequences are gathered in groups of rows that fit in cache together: log-densities of a group are
# computed tile by tile, the recursions of chain.pxi go through the sequences, and posteriors return
# to the tiles, which are still there, for the emission to accumulate. A sequence that is too long
# for one group is cut into pieces: see pieces.pxi.
#
# Groups make up blocks, which are for threads what they are in expectation.pxi.

cdef Py_ssize_t GROUP_BYTES = 768 * 1024        # of steps: well inside a level-2 cache
cdef Py_ssize_t SEQUENCE_BYTES = 4 * 1024 * 1024    # from which on a sequence is cut into pieces
cdef Py_ssize_t REALS_PER_STATE = 3             # density, forward and posterior


cdef class SequencePlan:
    """How the sequences of some rows are shared out: groups of them, and pieces of those that are long.

    It depends on the shapes alone. Blocks are some groups each, and `part` is the plan of some blocks.

    Parameters
    ----------
    latent : MarkovChain
    emission : Emission
    starts : ndarray of shape (n_sequences + 1,), where each starts, and the last one ends
    """

    cdef readonly Py_ssize_t n_rows, n_sequences, n_groups, n_blocks
    cdef readonly Py_ssize_t tile_rows
    cdef readonly Py_ssize_t piece_rows         # of sequences that are cut
    cdef readonly Py_ssize_t capacity           # rows of the largest group or piece
    cdef readonly object first_sequences        # (n_blocks + 1,)  of each block
    cdef const int64_t[::1] starts
    cdef object group_memory, block_memory
    cdef int64_t[::1] groups                    # (n_groups + 1,)  the first sequence of each
    cdef int64_t[::1] blocks                    # (n_blocks + 1,)  the first group of each

    def __init__(self, MarkovChain latent not None, Emission emission not None,
                 const int64_t[::1] starts not None):
        cdef Py_ssize_t s, length, longest = 0, row_bytes, group_rows, most_rows
        require(starts.shape[0] > 1 and starts[0] == 0)
        require(latent.n_components == emission.n_components)
        self.starts, self.n_sequences = starts, starts.shape[0] - 1
        self.n_rows = starts[self.n_sequences]
        for s in range(self.n_sequences):
            require(starts[s + 1] > starts[s])
            longest = max(longest, starts[s + 1] - starts[s])
        self.tile_rows = tile_rows(emission)
        row_bytes = REALS_PER_STATE * latent.stride * sizeof(real)
        group_rows = self.in_tiles(GROUP_BYTES // row_bytes)
        row_bytes += (emission.reals_per_row() + emission.n_components) * sizeof(real)
        most_rows = max(group_rows, SEQUENCE_BYTES // row_bytes)
        self.piece_rows = most_rows
        if longest > most_rows:
            self.piece_rows = self.in_tiles(max(group_rows, <Py_ssize_t> sqrt(<double> longest)))
        self.gather(group_rows, most_rows)
        size = partial_size(latent, emission) * sizeof(double)
        blocks = max(min(MAX_BLOCKS, PARTIAL_BYTES // size),
                     self.n_rows * bytes_of_row(emission) // most_bytes(size))
        self.share_out(max(1, min(self.n_groups, blocks)))

    cdef int share_out(self, Py_ssize_t n_blocks) except -1:
        """Groups among blocks."""
        cdef Py_ssize_t block
        self.n_blocks = n_blocks
        self.block_memory = array("q", [0]) * (n_blocks + 1)
        self.blocks = self.block_memory
        for block in range(n_blocks + 1):
            self.blocks[block] = block * self.n_groups // n_blocks
        self.first_sequences = array("q", [self.groups[group] for group in self.block_memory])
        return 0

    def part(self, Py_ssize_t first, Py_ssize_t stop):
        """The plan of the blocks first..stop, for the rows of their sequences alone."""
        cdef SequencePlan plan = SequencePlan.__new__(SequencePlan)
        cdef int64_t group, sequence
        require(0 <= first < stop <= self.n_blocks)
        group, sequence = self.blocks[first], self.groups[self.blocks[first]]
        plan.block_memory = array("q", [self.blocks[i] - group for i in range(first, stop + 1)])
        plan.blocks = plan.block_memory
        plan.n_blocks, plan.n_groups = stop - first, plan.blocks[stop - first]
        plan.group_memory = array(
            "q", [self.groups[group + i] - sequence for i in range(plan.n_groups + 1)])
        plan.groups = plan.group_memory
        plan.n_sequences = plan.groups[plan.n_groups]
        starts = array("q", [0]) * (plan.n_sequences + 1)
        cdef int64_t[::1] shifted = starts
        for i in range(plan.n_sequences + 1):
            shifted[i] = self.starts[sequence + i] - self.starts[sequence]
        plan.starts = starts
        plan.n_rows = shifted[plan.n_sequences]
        plan.tile_rows, plan.piece_rows = self.tile_rows, self.piece_rows
        plan.capacity = self.capacity
        plan.first_sequences = array("q", [plan.groups[group] for group in plan.block_memory])
        return plan

    cdef Py_ssize_t in_tiles(self, Py_ssize_t n) noexcept:
        """Whole tiles of about n rows."""
        return max(1, (n + self.tile_rows // 2) // self.tile_rows) * self.tile_rows

    cdef int gather(self, Py_ssize_t group_rows, Py_ssize_t most_rows) except -1:
        """Groups of whole sequences with at most so many rows, if they have more than one."""
        cdef Py_ssize_t s, first = 0, n = 0, rows
        self.group_memory = array("q", [0]) * (self.n_sequences + 1)
        self.groups = self.group_memory
        for s in range(self.n_sequences):
            if s > first and self.starts[s + 1] - self.starts[first] > group_rows:
                n += 1
                self.groups[n] = first = s
            rows = self.starts[s + 1] - self.starts[first]
            self.capacity = max(self.capacity, rows if rows <= most_rows else self.piece_rows)
        self.n_groups = n + 1
        self.groups[self.n_groups] = self.n_sequences
        return 0

    cdef bint is_cut(self, Py_ssize_t group) noexcept nogil:
        """Whether the group is one sequence, in pieces."""
        cdef int64_t first = self.groups[group], end = self.groups[group + 1]
        return self.starts[end] - self.starts[first] > self.capacity


ctypedef struct GroupSpace:
    # Scratch memory of one thread.
    Tile* tiles
    Steps steps
    real* kept              # (n_pieces, stride)    forward probabilities at the end of each piece
    double* before          # (partial_size,)       statistics before a sequence in pieces


cdef class SequenceWorkspace:
    """The memory that a `GroupSpace` points into."""

    cdef list workspaces
    cdef Buffer density, forward, posterior, inverse, after, product, kept, tile_memory
    cdef object largest, back, lost, saved
    cdef GroupSpace space

    def __cinit__(self, MarkovChain chain, Emission emission, SequencePlan plan, sources):
        cdef Py_ssize_t K = chain.n_components, rows, i, n_tiles, n_pieces
        cdef double[::1] doubles
        cdef int32_t[::1] integers
        cdef unsigned char[::1] flags
        n_tiles = (plan.capacity + plan.tile_rows - 1) // plan.tile_rows
        rows = min(plan.tile_rows, (plan.capacity + ROW_STEP - 1) // ROW_STEP * ROW_STEP)
        self.workspaces = [Workspace(emission, rows, K) for _ in range(n_tiles)]
        self.tile_memory = Buffer(n_tiles * (sizeof(Tile) // sizeof(real) + 1))
        self.space.tiles = <Tile*> self.tile_memory.data
        for i in range(n_tiles):
            self.space.tiles[i] = (<Workspace> self.workspaces[i]).tile
            attach(&self.space.tiles[i], <Rows*> (<Buffer> sources).data)
        # Steps are whole tiles, and one after the last.
        rows = n_tiles * rows + 1
        self.density = Buffer(rows * chain.stride)
        self.forward = Buffer(rows * chain.stride)
        self.posterior = Buffer(rows * chain.stride)
        self.inverse = Buffer(rows)
        self.after, self.product = Buffer(chain.stride), Buffer(chain.stride)
        self.largest = doubles = array("d", [0]) * rows
        self.back = integers = array("i", [0]) * (rows * chain.stride if chain.hard else 1)
        self.lost = flags = array("B", [0]) * rows
        self.space.steps = Steps(
            chain.stride, self.density.data, self.forward.data, self.posterior.data,
            self.inverse.data, &doubles[0], &integers[0], self.after.data, self.product.data,
            &flags[0], NULL)
        n_pieces = 0
        for i in range(plan.n_sequences):
            if plan.starts[i + 1] - plan.starts[i] > plan.capacity:
                n_pieces = max(n_pieces, 1 + (
                    plan.starts[i + 1] - plan.starts[i]) // plan.piece_rows)
        self.kept = Buffer(n_pieces * chain.stride)
        self.space.kept = self.kept.data
        self.saved = doubles = array("d", [0]) * (partial_size(chain, emission) if n_pieces else 1)
        self.space.before = &doubles[0]


ctypedef struct Sequences:
    # What a pass is about, the same for all threads.
    const int64_t* starts       # (n_sequences + 1,)
    const double* weights       # (n_sequences,)   or NULL
    const Labels* labels
    const Outputs* outputs      # log_likelihoods: (n_sequences,)
    Py_ssize_t partial_size
    Py_ssize_t tile_rows
    Py_ssize_t piece_rows
    bint accumulate
    bint backward               # whether posteriors are wanted, or needed to see what was lost


cdef inline double weight_of(const Sequences* data, Py_ssize_t s) noexcept nogil:
    return 1 if data.weights == NULL else data.weights[s]


cdef void weigh_rows(Tile* tile, const Sequences* data, Py_ssize_t s) noexcept nogil:
    """Fill tile.weights; sequence s is the one its first row is in, or an earlier one."""
    cdef real* out = <real*> tile.weights
    cdef Py_ssize_t b
    for b in range(tile.vectors * LANES):
        if b < tile.rows:
            while data.starts[s + 1] <= tile.first + b:
                s += 1
        out[b] = <real> weight_of(data, s) if b < tile.rows else 0


cdef Py_ssize_t read_steps(
    MarkovChain chain, Emission emission, const Sequences* data, GroupSpace* space,
    Py_ssize_t s, Py_ssize_t first, Py_ssize_t stop, Recursion recursion,
) noexcept nogil:
    """Log-densities of the rows first..stop, the first of which are of sequence s; how many tiles."""
    cdef Py_ssize_t n = 0, K = chain.n_components, row = first
    cdef Tile* tile
    while row < stop:
        tile = &space.tiles[n]
        tile.first = row
        tile.rows = min(data.tile_rows, stop - row)
        tile.vectors = (tile.rows + VECTORS * LANES - 1) // (VECTORS * LANES) * VECTORS
        tile.each_row = False
        share_rows(tile)
        weigh_rows(tile, data, s)
        emission.read(tile, stop, data.weights != NULL)
        emission.log_density(tile)
        if data.labels.component != NULL or data.labels.allowed != NULL:
            restrict_to_labels(tile, data.labels, K)
        tile_to_steps(tile, &space.steps, row - first, K, recursion != SCALED)
        row += tile.rows
        n += 1
    return n


cdef void finish_steps(
    MarkovChain chain, Emission emission, const Sequences* data, GroupSpace* space,
    Py_ssize_t n_tiles, double* statistics,
) noexcept nogil:
    """Let the emission accumulate what the posteriors in the steps make of the tiles."""
    cdef Py_ssize_t K = chain.n_components, i, at = 0
    cdef Tile* tile
    cdef Outputs of_rows = data.outputs[0]
    of_rows.log_likelihoods = NULL
    for i in range(n_tiles):
        tile = &space.tiles[i]
        steps_to_tile(tile, &space.steps, at, K)
        at += tile.rows
        if of_rows.responsibilities != NULL or of_rows.assignments != NULL:
            write_outputs(tile, &of_rows, K)
        add_counts(tile, K, &statistics[2])
        if data.accumulate:
            list_active(tile, K)
            share_rows(tile)
            emission.accumulate(tile, &statistics[2 + K + chain.statistics_size])


cdef void finish_transitions(
    MarkovChain chain, Steps* steps, Py_ssize_t n, double* statistics,
) noexcept nogil:
    """Add the transitions from n steps that the scaled recursion has left to sum."""
    cdef Py_ssize_t t
    for t from 0 <= t < n by STEPS_PER_SUM:
        add_transitions(chain, steps.forward + t * steps.stride,
                        steps.density + (t + 1) * steps.stride,
                        min(STEPS_PER_SUM, n - t), transitions_of(chain, statistics))


cdef inline double* transitions_of(MarkovChain chain, double* statistics) noexcept nogil:
    return statistics + 2 + 2 * chain.n_components


cdef void add_start(
    MarkovChain chain, const Steps* steps, Py_ssize_t at, double* statistics,
) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(chain.n_components):
        statistics[2 + chain.n_components + k] += steps.posterior[at * steps.stride + k]


cdef double log_likelihood_of(
    const Steps* steps, Py_ssize_t first, Py_ssize_t stop, Recursion recursion,
) noexcept nogil:
    """What the steps first..stop contribute to log p(x)."""
    cdef Py_ssize_t t, lane
    cdef double total = 0, of_lanes = 0
    cdef vreal c
    for t in range(first, stop):
        total += steps.largest[t]
    if recursion != SCALED:
        for t in range(first, stop):
            total += steps.inverse[t]
        return total
    for t from first <= t < stop - LANES + 1 by LANES:
        of_lanes += vsum(vlog(vload(steps.inverse + t)))
    for t in range(stop - (stop - first) % LANES, stop):
        of_lanes += log(<double> steps.inverse[t])
    return total - of_lanes


cdef double log_sum_at(const Steps* steps, Py_ssize_t t, Py_ssize_t K) noexcept nogil:
    """The log of the sum over the states of a_t, whose logarithms are over the largest."""
    cdef Py_ssize_t k
    cdef double total = 0
    for k in range(K):
        total += exp(<double> steps.forward[t * steps.stride + k])
    return log(total)


cdef void forget(Steps* steps, Py_ssize_t first, Py_ssize_t stop) noexcept nogil:
    """Nothing comes of the steps first..stop."""
    cdef Py_ssize_t at
    for at in range(first * steps.stride, stop * steps.stride):
        steps.posterior[at] = 0
        steps.forward[at] = 0
        steps.density[at] = 0


cdef void set_after(Steps* steps, real value) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(steps.stride):
        steps.after[j] = value


cdef void run_scaled(
    MarkovChain chain, const Sequences* data, Steps* steps,
    Py_ssize_t first, Py_ssize_t end, Py_ssize_t origin, bint forward,
) noexcept nogil:
    """One recursion over the sequences first..end of positive weight, in which nothing was lost before."""
    cdef Run runs[RUNS]
    cdef Py_ssize_t s = first, n_runs = 0, n, h, start, length
    while True:
        while n_runs < RUNS and s < end:
            start, length = data.starts[s] - origin, data.starts[s + 1] - data.starts[s]
            if weight_of(data, s) > 0 and not steps.lost[start]:
                runs[n_runs] = Run(s, start if forward else start + length - 1, length, NULL, 1,
                                   <real> weight_of(data, s), False)
                n_runs += 1
            s += 1
        if n_runs == 0:
            return
        n = runs[0].left
        for h in range(1, n_runs):
            n = min(n, runs[h].left)
        if forward:
            advance_forward(chain, steps, runs, n_runs, n)
        else:
            advance_backward(chain, steps, runs, n_runs, n)
        for h in range(n_runs - 1, -1, -1):
            if runs[h].left == 0:
                steps.lost[data.starts[runs[h].sequence] - origin] = runs[h].lost
                n_runs -= 1
                runs[h] = runs[n_runs]


cdef Py_ssize_t pass_over_sequence(
    MarkovChain chain, const Sequences* data, GroupSpace* space,
    Py_ssize_t s, Py_ssize_t origin,        # the row of step 0
    double* statistics,
) noexcept nogil:
    """A whole sequence among the steps by logarithms; the row it is impossible at, or -1."""
    cdef Steps* steps = &space.steps
    cdef Py_ssize_t first = data.starts[s] - origin, stop = data.starts[s + 1] - origin, t, impossible
    cdef double weight = weight_of(data, s), log_likelihood
    if not chain.hard:
        for t in range(first, stop):
            logarithms_of_row(&space.tiles[t // data.tile_rows], t % data.tile_rows, steps, t,
                              chain.n_components)
    impossible = forward_logarithmic(chain, steps, first, stop, NULL, chain.hard)
    if impossible >= 0:
        forget(steps, first, stop)
        add_impossible(data, s)
        return origin + impossible
    log_likelihood = log_likelihood_of(steps, first, stop, LOGARITHMIC)
    if not chain.hard:
        log_likelihood += log_sum_at(steps, stop - 1, chain.n_components)
    add_log_likelihood(data, s, log_likelihood, statistics)
    if chain.hard:
        along_best_path(chain, steps, first, stop, True, -1, <real> weight)
    elif data.backward:
        backward_logarithmic(chain, steps, first, stop, True, <real> weight)
    return -1


cdef Py_ssize_t pass_over_sequences(
    MarkovChain chain, const Sequences* data, GroupSpace* space,
    Py_ssize_t first, Py_ssize_t end, double* statistics,
) noexcept nogil:
    """Posteriors and log-likelihoods of whole sequences among the steps; the first impossible row, or -1."""
    cdef Steps* steps = &space.steps
    cdef Py_ssize_t s, at, stop, row, impossible = -1, origin = data.starts[first]
    for s in range(first, end):
        steps.lost[data.starts[s] - origin] = chain.hard
    if not chain.hard:
        run_scaled(chain, data, steps, first, end, origin, True)
        if data.backward:
            run_scaled(chain, data, steps, first, end, origin, False)
    for s in range(first, end):
        at, stop = data.starts[s] - origin, data.starts[s + 1] - origin
        if weight_of(data, s) == 0:
            forget(steps, at, stop)
            continue
        if not steps.lost[at]:
            add_log_likelihood(data, s, log_likelihood_of(steps, at, stop, SCALED), statistics)
        else:
            row = pass_over_sequence(chain, data, space, s, origin, statistics)
            if row >= 0:
                impossible = row if impossible < 0 else impossible
                continue
        statistics[1] += weight_of(data, s) * (stop - at)
        if data.backward:
            add_start(chain, steps, at, statistics)
    return impossible


cdef void add_log_likelihood(
    const Sequences* data, Py_ssize_t s, double log_likelihood, double* statistics,
) noexcept nogil:
    statistics[0] += weight_of(data, s) * log_likelihood
    if data.outputs.log_likelihoods != NULL:
        data.outputs.log_likelihoods[s] = log_likelihood


cdef void add_impossible(const Sequences* data, Py_ssize_t s) noexcept nogil:
    if data.outputs.log_likelihoods != NULL:
        data.outputs.log_likelihoods[s] = -INFINITY


cdef Py_ssize_t pass_over_group(
    MarkovChain chain, Emission emission, const Sequences* data, GroupSpace* space,
    Py_ssize_t first, Py_ssize_t end,       # sequences
    double* statistics,
) noexcept nogil:
    """Whole sequences whose steps fit together; the first row at which one is impossible, or -1."""
    cdef Py_ssize_t impossible, origin = data.starts[first]
    cdef Py_ssize_t n_steps = data.starts[end] - origin
    cdef Py_ssize_t n_tiles = read_steps(chain, emission, data, space, first, origin, data.starts[end],
                                         BEST_PATH if chain.hard else SCALED)
    space.steps.transitions = transitions_of(chain, statistics)
    impossible = pass_over_sequences(chain, data, space, first, end, statistics)
    if data.backward:
        forget(&space.steps, n_steps, n_steps + 1)
        finish_transitions(chain, &space.steps, n_steps, statistics)
        finish_steps(chain, emission, data, space, n_tiles, statistics)
    return impossible


def expectation_of_sequences(
    MarkovChain latent not None,
    Emission emission not None,
    rows not None,
    double[:, ::1] partial not None,
    SequencePlan plan not None,
    int n_threads,
    *,
    const double[::1] weights=None,
    const int32_t[::1] component=None,
    const unsigned char[:, ::1] allowed=None,
    bint accumulate=True,
    real[:, ::1] responsibilities=None,
    Py_ssize_t[::1] assignments=None,
    double[::1] log_likelihoods=None,
    bint merged=True,
):
    """One E-step over sequences of `rows`; the statistics end up in ``partial[0]``.

    Parameters
    ----------
    latent, emission : the model
    rows : see `expectation`
    partial : ndarray of shape (plan.n_blocks, `partial_size`), zeros
        Log-likelihood in nats, sum of weights of all rows, sums of posteriors of every state, expected
        starts and transitions, then what the emission accumulates.
    plan : SequencePlan, for this latent structure and emission
    n_threads : int
    weights : ndarray of shape (n_sequences,), optional
    component : ndarray of shape (n_rows,), optional; -1 where the label is missing
    allowed : ndarray of shape (n_rows, n_components), optional
    accumulate : bool, whether statistics are wanted
    responsibilities : ndarray of shape (n_rows, n_components), optional; gets the posteriors, 0 in
        sequences that are impossible or have weight 0
    assignments : ndarray of shape (n_rows,), optional; gets the most probable state of each row, or of
        all of a sequence together if `latent` is "hard"
    log_likelihoods : ndarray of shape (n_sequences,), optional; undefined where the weight is 0
    merged : bool, whether blocks are added up; else each stays where it is

    Returns
    -------
    int
        The first row at which a sequence of positive weight has become impossible, or -1.
    """
    cdef tuple blocks = rows if isinstance(rows, tuple) else (rows,)
    cdef Buffer source_memory = Buffer(len(blocks) * (sizeof(Rows) // sizeof(real) + 1))
    cdef Rows* sources = <Rows*> source_memory.data
    cdef Py_ssize_t n_rows = describe_blocks(blocks, emission, sources), K = latent.n_components
    cdef Labels labels = Labels(NULL, NULL)
    cdef Outputs outputs = Outputs(False, NULL, NULL, NULL, NULL)
    cdef Sequences data
    if (emission.n_components != K or n_rows != plan.n_rows
            or plan.tile_rows != tile_rows(emission)
            or partial.shape[0] != plan.n_blocks
            or partial.shape[1] != partial_size(latent, emission)
            or (weights is not None and weights.shape[0] != plan.n_sequences)
            or (component is not None and component.shape[0] != n_rows)
            or (allowed is not None and (allowed.shape[0] != n_rows or allowed.shape[1] != K))
            or (responsibilities is not None
                and (responsibilities.shape[0] != n_rows or responsibilities.shape[1] != K))
            or (assignments is not None and assignments.shape[0] != n_rows)
            or (log_likelihoods is not None and log_likelihoods.shape[0] != plan.n_sequences)):
        raise ValueError("emcore.expectation_of_sequences: arguments of shapes that do not belong together")
    cdef const double* weight_data = NULL
    if weights is not None:
        weight_data = &weights[0]
    if component is not None:
        labels.component = &component[0]
    if allowed is not None:
        labels.allowed = &allowed[0, 0]
    if responsibilities is not None:
        outputs.responsibilities = &responsibilities[0, 0]
    if assignments is not None:
        outputs.assignments = &assignments[0]
    if log_likelihoods is not None:
        outputs.log_likelihoods = &log_likelihoods[0]
    data = Sequences(
        &plan.starts[0], weight_data, &labels, &outputs,
        partial.shape[1], plan.tile_rows, plan.piece_rows, accumulate,
        accumulate or responsibilities is not None or assignments is not None
        or not (latent.connected or latent.hard))

    cdef double work = <double> n_rows * K * (emission.n_features + K + 10)
    cdef int team = <int> max(1, min(n_threads, plan.n_blocks, <Py_ssize_t> (work / WORK_OF_A_THREAD)))
    workspaces = [SequenceWorkspace(latent, emission, plan, source_memory) for _ in range(team)]
    cdef Buffer space_memory = Buffer(team * (sizeof(GroupSpace) // sizeof(real) + 1))
    cdef GroupSpace* spaces = <GroupSpace*> space_memory.data
    cdef Py_ssize_t i, block
    for i in range(team):
        spaces[i] = (<SequenceWorkspace> workspaces[i]).space
    impossible_rows = array("q", [-1]) * plan.n_blocks
    cdef long long[::1] impossible = impossible_rows
    with nogil, parallel(num_threads=team):
        for block in prange(plan.n_blocks, schedule="dynamic"):
            impossible[block] = pass_over_groups(
                latent, emission, &data, plan, &spaces[threadid()], block, &partial[block, 0])
    if merged:
        with nogil:
            merge(partial, team)
    return min((row for row in impossible_rows if row >= 0), default=-1)


cdef Py_ssize_t pass_over_groups(
    MarkovChain chain, Emission emission, const Sequences* data, SequencePlan plan, GroupSpace* space,
    Py_ssize_t block, double* statistics,
) noexcept nogil:
    """The groups of one block; the first row at which a sequence is impossible, or -1."""
    cdef Py_ssize_t group, row, impossible = -1
    for group in range(plan.blocks[block], plan.blocks[block + 1]):
        if plan.is_cut(group):
            row = pass_over_long_sequence(
                chain, emission, data, space, plan.groups[group], statistics)
        else:
            row = pass_over_group(
                chain, emission, data, space,
                plan.groups[group], plan.groups[group + 1], statistics)
        if impossible < 0:
            impossible = row
    return impossible
