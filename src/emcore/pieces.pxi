# Sequences that are too long for one group of rows.
#
# They are cut into pieces, about as many as a piece has rows. A first pass keeps the forward
# probabilities at the end of each piece; then the pieces follow from the last to the first, each
# with its log-densities and its forward recursion once more. So memory grows with the square root of
# the longest sequence.

cdef bint forward_piece(
    MarkovChain chain, GroupSpace* space, Py_ssize_t piece, Py_ssize_t n, Recursion recursion,
    Py_ssize_t* impossible,     # OUT  the step at which the sequence is impossible, or -1
) noexcept nogil:
    """The forward recursion of a piece, from what is kept of the one before; whether it has lost nothing."""
    cdef const real* before = NULL
    cdef Run run
    if piece > 0:
        before = space.kept + (piece - 1) * chain.stride
    impossible[0] = -1
    if recursion == SCALED:
        run = Run(0, 0, n, before, 1, 1, False)
        advance_forward(chain, &space.steps, &run, 1, n)
        return not run.lost
    impossible[0] = forward_logarithmic(chain, &space.steps, 0, n, before, recursion == BEST_PATH)
    return impossible[0] < 0


cdef void keep_end(
    MarkovChain chain, GroupSpace* space, Py_ssize_t piece, Py_ssize_t n, Recursion recursion,
) noexcept nogil:
    """Keep the forward probabilities of the last of n steps."""
    cdef Py_ssize_t j, stride = chain.stride
    cdef const real* a = space.steps.forward + (n - 1) * stride
    cdef real scale = space.steps.inverse[n - 1] if recursion == SCALED else 1
    for j in range(stride):
        space.kept[piece * stride + j] = a[j] * scale


cdef bint pass_over_pieces(
    MarkovChain chain, Emission emission, const Sequences* data, GroupSpace* space,
    Py_ssize_t s, Recursion recursion, double* statistics,
    Py_ssize_t* impossible,     # OUT  the row at which the sequence is impossible, or -1
) noexcept nogil:
    """One sequence in pieces; whether nothing was lost, or else what it has added must not be used."""
    cdef Steps* steps = &space.steps
    cdef Py_ssize_t start = data.starts[s], stop = data.starts[s + 1], size = data.piece_rows
    cdef Py_ssize_t n_pieces = (stop - start + size - 1) // size, piece, first, n = 0, n_tiles = 0
    cdef Py_ssize_t step, state = -1
    cdef double weight = weight_of(data, s), log_likelihood = 0
    for piece in range(n_pieces):
        first = start + piece * size
        n = min(size, stop - first)
        n_tiles = read_steps(chain, emission, data, space, s, first, first + n, recursion)
        if not forward_piece(chain, space, piece, n, recursion, &step):
            impossible[0] = first + step if step >= 0 else -1
            return step >= 0
        log_likelihood += log_likelihood_of(steps, 0, n, recursion)
        keep_end(chain, space, piece, n, recursion)
    if recursion == LOGARITHMIC:
        log_likelihood += log_sum_at(steps, n - 1, chain.n_components)
    impossible[0] = -1
    if data.backward:
        set_after(steps, 0)
        for piece in range(n_pieces - 1, -1, -1):
            first = start + piece * size
            if piece < n_pieces - 1:
                n = size
                n_tiles = read_steps(chain, emission, data, space, s, first, first + n, recursion)
                forward_piece(chain, space, piece, n, recursion, &step)
            if not backward_piece(chain, space, n, piece == 0, piece == n_pieces - 1, recursion,
                                  <real> weight, &state):
                return False
            finish_transitions(chain, steps, n, statistics)
            finish_steps(chain, emission, data, space, n_tiles, statistics)
        add_start(chain, steps, 0, statistics)
    statistics[1] += weight * (stop - start)
    add_log_likelihood(data, s, log_likelihood, statistics)
    return True


cdef bint backward_piece(
    MarkovChain chain, GroupSpace* space, Py_ssize_t n, bint at_start, bint at_end,
    Recursion recursion, real weight, Py_ssize_t* state,
) noexcept nogil:
    """Posteriors of a piece of n steps; whether nothing was lost."""
    cdef Steps* steps = &space.steps
    cdef Run run
    cdef Py_ssize_t j
    # What the last step leads to.
    forget(steps, n, n + 1)
    if recursion == SCALED:
        for j in range(steps.stride):
            steps.density[n * steps.stride + j] = steps.after[j]
        run = Run(0, n - 1, n, steps.after, 1, weight, False)
        if at_end:
            run.beside = NULL
        advance_backward(chain, steps, &run, 1, n)
        for j in range(steps.stride):
            steps.after[j] = steps.density[j]
        return not run.lost
    if recursion == BEST_PATH:
        state[0] = along_best_path(chain, steps, 0, n, at_start, state[0], weight)
    else:
        backward_logarithmic(chain, steps, 0, n, at_end, weight)
    return True


cdef Py_ssize_t pass_over_long_sequence(
    MarkovChain chain, Emission emission, const Sequences* data, GroupSpace* space,
    Py_ssize_t s, double* statistics,
) noexcept nogil:
    """A sequence in pieces; the row at which it is impossible, or -1."""
    cdef Py_ssize_t i, impossible = -1
    if weight_of(data, s) == 0:
        return -1
    space.steps.transitions = transitions_of(chain, statistics)
    for i in range(data.partial_size):
        space.before[i] = statistics[i]
    if pass_over_pieces(chain, emission, data, space, s, BEST_PATH if chain.hard else SCALED,
                        statistics, &impossible):
        if impossible >= 0:
            add_impossible(data, s)
        return impossible
    for i in range(data.partial_size):
        statistics[i] = space.before[i]
    pass_over_pieces(chain, emission, data, space, s, LOGARITHMIC, statistics, &impossible)
    if impossible >= 0:
        add_impossible(data, s)
    return impossible
