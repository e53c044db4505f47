# Markov chains: the forward and backward recursions over the steps of sequences.
#
#   log-densities ──as_steps──> forward ──────────> backward ──> posteriors ──to_tile──> tile
#     (tiles)                   (one step after another)                      (tiles)
#
# Steps are rows with their states in the lanes, tiles have rows in the lanes: blocks are transposed
# between them. The recursions come in three kinds.
#
# SCALED is for what floating-point numbers hold, nearly always. With b_t the densities of a row over
# the largest of them, and A the transitions,
#
#   forward    a_t = (a_(t-1) A) b_t / c_(t-1),   c_t = sum a_t,   log p(x) = sum log c_t + log largest_t
#   backward   u_t = A w_(t+1) / sum w_(t+1),     w_t = b_t u_t,   u_T = 1
#   posterior  a_t u_t / sum,   of a transition   a_t(i) A_ij w_(t+1)(j) / the same sum
#
# where a_t / c_t are the probabilities of states given the past, and the division by c_(t-1) is under
# way while the product with A is. A term that is lost because it is too small
# for a number is lost beside c_t, or beside the sum of the posterior; so nothing is lost but rounding
# as long as these are above LEAST, which is a good deal above the smallest numbers.
#
# LOGARITHMIC does the same with logarithms, where that does not hold: states far apart, between which
# there is no way. BEST_PATH has the largest term in place of the sum, and the number of it. Both are
# in logarithmic.pxi.

cdef enum Recursion:
    SCALED
    LOGARITHMIC
    BEST_PATH

# Sums that are smaller may have lost something; a term that small is lost beside the square of it.
cdef real LEAST = <real> (5e-131 if sizeof(real) == 8 else 1e-13)
# What exp is taken of, at least.
cdef real LEAST_EXPONENT = <real> (-700.0 if sizeof(real) == 8 else -87.0)
# The logarithm of 0, and what is not distinguished from it.
cdef real LOG_ZERO = <real> -1e30
cdef real NEARLY_LOG_ZERO = <real> -1e29

# Steps whose transitions are summed before the sums go to double precision.
cdef Py_ssize_t STEPS_PER_SUM = 256


ctypedef struct Steps:
    # Rows of one or more whole sequences, or a piece of one: (n, stride) each, states adjacent.
    Py_ssize_t stride       # whole vectors
    real* density           # densities over the largest, or their logarithms; then w
    real* forward           # a; then what a transition from here has of its probability
    real* posterior         # weighted
    real* inverse           # (n,)  1 / c
    double* largest         # (n,)  the largest log-density
    int32_t* back           # the state before, on the best path
    real* after             # (stride,)  w, or its logarithm, of the step after the last one
    real* product           # (stride,)
    unsigned char* lost     # (n,)  by its first step, whether scaling may have lost something of a sequence
    double* transitions     # (K, K)  where expected transitions are added


cdef class MarkovChain(Latent):
    """Latent variables in sequence: p(z_1 = k) = start[k], p(z_t = j | z_(t-1) = i) = transitions[i, j].

    Parameters
    ----------
    start : ndarray of shape (n_components,)
    transitions : ndarray of shape (n_components, n_components)
        Probabilities, zeros among them.
    assignment : {"soft", "hard"}
        With "hard", posteriors are those of the most probable path, and log p(x) gives way to its
        log p(x, z).

    Statistics: expected starts, (n_components,), then transitions, (n_components, n_components).
    """

    cdef Py_ssize_t stride                      # states, padded with impossible ones
    cdef Buffer start, log_start                # (stride,)
    cdef Buffer transitions, log_transitions    # (stride, stride), to a state in the lanes
    cdef Buffer reverse, log_reverse            # their transposes, from a state in the lanes
    cdef Buffer ones                            # (stride,)  1 for states
    cdef bint hard
    cdef bint connected                         # every state leads to every other, not too rarely

    def __init__(self, const double[::1] start, const double[:, ::1] transitions, *,
                 str assignment="soft"):
        cdef Py_ssize_t K = start.shape[0], unit = max(LANES, 4), i, j
        require(K > 0 and transitions.shape[0] == K and transitions.shape[1] == K)
        require(assignment in ("soft", "hard"))
        self.n_components = K
        self.statistics_size = K + K * K
        self.hard = assignment == "hard"
        self.stride = (K + unit - 1) // unit * unit
        self.start, self.log_start = Buffer(self.stride), Buffer(self.stride)
        self.ones = Buffer(self.stride)
        self.transitions, self.log_transitions = self.matrix(), self.matrix()
        self.reverse, self.log_reverse = self.matrix(), self.matrix()
        for i in range(self.stride):
            self.log_start.data[i] = LOG_ZERO
            for j in range(self.stride):
                self.log_transitions.data[i * self.stride + j] = LOG_ZERO
                self.log_reverse.data[i * self.stride + j] = LOG_ZERO
        self.connected = True
        for i in range(K):
            self.ones.data[i] = 1
            self.start.data[i] = <real> start[i]
            self.log_start.data[i] = log_or_zero(start[i])
            for j in range(K):
                self.connected = self.connected and transitions[i, j] > LEAST
                self.transitions.data[i * self.stride + j] = <real> transitions[i, j]
                self.reverse.data[j * self.stride + i] = <real> transitions[i, j]
                self.log_transitions.data[i * self.stride + j] = log_or_zero(transitions[i, j])
                self.log_reverse.data[j * self.stride + i] = log_or_zero(transitions[i, j])

    cdef Buffer matrix(self):
        return Buffer(self.stride * self.stride)

    cdef bint fits(self, Py_ssize_t n_rows) noexcept:
        """Not without the sequences that rows are in."""
        return False


cdef real log_or_zero(double p) noexcept:
    return <real> max(log(p), <double> LOG_ZERO) if p > 0 else LOG_ZERO


# Between tiles and steps

cdef void tile_to_steps(
    const Tile* tile,           # IN   responsibilities: log-densities
    Steps* steps, Py_ssize_t at,    # OUT  density and largest of the steps from `at` on
    Py_ssize_t K, bint logarithms,
) noexcept nogil:
    """Densities of every row over the largest of them, or the logarithms of that."""
    cdef Py_ssize_t i, k, lane
    cdef const vreal* a
    cdef vreal block[LANES]
    cdef vreal m
    cdef real* out
    for i in range(tile.vectors):
        a = tile.responsibilities + i * tile.r_stride
        m = splat(LOWEST)
        for k in range(K):
            # vmax takes what is no number to be the lowest.
            m = vmax(a[k], m)
        for lane in range(LANES):
            steps.largest[at + i * LANES + lane] = (<const real*> &m)[lane]
        out = steps.density + (at + i * LANES) * steps.stride
        for k from 0 <= k < steps.stride by LANES:
            for lane in range(LANES):
                if k + lane >= K:
                    block[lane] = splat(LOG_ZERO if logarithms else 0)
                elif logarithms:
                    block[lane] = vmax(a[k + lane] - m, splat(LOG_ZERO))
                else:
                    block[lane] = vexp_above(a[k + lane] - m, LEAST_EXPONENT)
            vtranspose(block)
            for lane in range(LANES):
                vstore(out + lane * steps.stride + k, block[lane])


cdef void logarithms_of_row(
    const Tile* tile, Py_ssize_t row, Steps* steps, Py_ssize_t at, Py_ssize_t K,
) noexcept nogil:
    """density[at] becomes the log-densities of a row of the tile less the largest."""
    cdef const real* a = <const real*> (
        tile.responsibilities + row // LANES * tile.r_stride) + row % LANES
    cdef real* out = steps.density + at * steps.stride
    cdef real value
    cdef Py_ssize_t k
    for k in range(steps.stride):
        out[k] = LOG_ZERO
    for k in range(K):
        value = a[k * LANES] - <real> steps.largest[at]
        if value > LOG_ZERO:
            out[k] = value


cdef void steps_to_tile(
    Tile* tile,                 # OUT  responsibilities, n_positive
    const Steps* steps, Py_ssize_t at, Py_ssize_t K,
) noexcept nogil:
    """Posteriors of the steps from `at` on; those that are lost beside 1 become 0."""
    cdef Py_ssize_t i, k, lane, left
    cdef vreal* out
    cdef vreal block[LANES]
    cdef vreal lost
    cdef vbits n_positive = vno_counts()
    cdef real negligible = <real> 8e-17         # exp(NEGLIGIBLE)
    for i in range(tile.vectors):
        out = tile.responsibilities + i * tile.r_stride
        left = tile.rows - i * LANES
        lost = tile.weights[i] * negligible
        for k from 0 <= k < steps.stride by LANES:
            for lane in range(LANES):
                block[lane] = splat(0)
                if lane < left:
                    block[lane] = vload(steps.posterior + (at + i * LANES + lane) * steps.stride + k)
            vtranspose(block)
            for lane in range(LANES):
                if k + lane < K:
                    out[k + lane] = vwhere_greater(block[lane], lost, block[lane], splat(0))
                    n_positive = vcount_above(n_positive, out[k + lane], 0)
    tile.n_positive = vcount_sum(n_positive)


# Scaled recursions
#
# A step waits for the one before, some 40 cycles in which little is done: so several sequences advance
# side by side, each a run of its own.

cdef enum:
    RUNS = 4


ctypedef struct Run:
    # A recursion under way.
    Py_ssize_t sequence
    Py_ssize_t t            # the next step
    Py_ssize_t left         # steps left
    const real* beside      # what the step before (forward) or after (backward) has left; NULL at the ends
    real scale              # forward: 1 / c of the step before
    real weight
    bint lost               # whether what was lost may matter


cdef inline void sums_of_products(
    const real* a, const real* matrix, Py_ssize_t K, Py_ssize_t stride,
    Py_ssize_t n_v, Py_ssize_t n_sums, vreal* out,
) noexcept nogil:
    """out[j] = sum_i a_i matrix[i, j] for n_v vectors of j, in n_sums sums that do not wait for each other.

    n_v and n_sums are constants.
    """
    cdef vreal acc[8]
    cdef Py_ssize_t i, h, v
    for h in range(n_v * n_sums):
        acc[h] = splat(0)
    for i from 0 <= i < K by n_sums:
        for h in range(n_sums):
            for v in range(n_v):
                acc[h * n_v + v] = acc[h * n_v + v] + vload(matrix + v * LANES) * a[i + h]
            matrix += stride
    for v in range(n_v):
        out[v] = acc[v] + acc[n_v + v]
        if n_sums == 4:
            out[v] = out[v] + (acc[2 * n_v + v] + acc[3 * n_v + v])


cdef inline vreal forward_block(
    const real* before, const real* matrix, const real* b, real scale, Py_ssize_t K, Py_ssize_t stride,
    Py_ssize_t n_v, Py_ssize_t n_sums, real* a,
) noexcept nogil:
    """a = (before A) b scale for n_v vectors of states; their sum."""
    cdef vreal predicted[4]
    cdef vreal x, total = splat(0)
    cdef Py_ssize_t v
    sums_of_products(before, matrix, K, stride, n_v, n_sums, predicted)
    for v in range(n_v):
        x = predicted[v] * (vload(b + v * LANES) * scale)
        vstore(a + v * LANES, x)
        total = total + x
    return total


cdef inline void forward_step(MarkovChain chain, Steps* steps, Run* run) noexcept nogil:
    cdef Py_ssize_t j = 0, K = chain.n_components, stride = chain.stride
    cdef const real* matrix = chain.transitions.data
    cdef const real* b = steps.density + run.t * stride
    cdef real* a = steps.forward + run.t * stride
    cdef vreal x, total = splat(0)
    cdef real c
    if run.beside == NULL:
        for j from 0 <= j < stride by LANES:
            x = vload(chain.start.data + j) * vload(b + j)
            vstore(a + j, x)
            total = total + x
    while j < stride:
        if stride - j >= 4 * LANES:
            total = total + forward_block(
                run.beside, matrix + j, b + j, run.scale, K, stride, 4, 2, a + j)
            j += 4 * LANES
        elif stride - j >= 2 * LANES:
            total = total + forward_block(
                run.beside, matrix + j, b + j, run.scale, K, stride, 2, 4, a + j)
            j += 2 * LANES
        else:
            total = total + forward_block(
                run.beside, matrix + j, b + j, run.scale, K, stride, 1, 4, a + j)
            j += LANES
    c = <real> vsum(total)
    if not c > LEAST:
        run.lost = True
        c = 1
    run.scale = 1 / c
    steps.inverse[run.t] = run.scale
    run.beside = a
    run.t += 1


cdef inline void backward_block(
    const vreal* u, Py_ssize_t n_v, real inverse,
    real* a, real* w, real* posterior,
    vreal* total, vreal* sum_of_w,
) noexcept nogil:
    """posterior = a u / c and w = b u for n_v vectors of states, and their sums."""
    cdef vreal now
    cdef Py_ssize_t v
    for v in range(n_v):
        now = vload(a + v * LANES) * inverse
        vstore(a + v * LANES, now)
        now = now * u[v]
        vstore(posterior + v * LANES, now)
        total[0] = total[0] + now
        now = vload(w + v * LANES) * u[v]
        vstore(w + v * LANES, now)
        sum_of_w[0] = sum_of_w[0] + now


cdef inline void backward_step(MarkovChain chain, Steps* steps, Run* run) noexcept nogil:
    """`forward` and `density` become the factors of the posteriors of transitions.

    That from i at t to j is forward[t, i] A_ij density[t + 1, j].
    """
    cdef Py_ssize_t j = 0, K = chain.n_components, stride = chain.stride
    cdef real* a = steps.forward + run.t * stride
    cdef real* w = steps.density + run.t * stride
    cdef real* out = steps.posterior + run.t * stride
    cdef const real* matrix = chain.reverse.data
    cdef real inverse = steps.inverse[run.t], share, norm
    cdef bint at_end = run.beside == NULL
    cdef vreal u[4]
    cdef vreal total = splat(0), sum_of_w = splat(0)
    if at_end:
        for j from 0 <= j < stride by LANES:
            u[0] = vload(chain.ones.data + j)
            backward_block(u, 1, inverse, a + j, w + j, out + j, &total, &sum_of_w)
    while j < stride:
        if stride - j >= 4 * LANES:
            sums_of_products(run.beside, matrix + j, K, stride, 4, 2, u)
            backward_block(u, 4, inverse, a + j, w + j, out + j, &total, &sum_of_w)
            j += 4 * LANES
        elif stride - j >= 2 * LANES:
            sums_of_products(run.beside, matrix + j, K, stride, 2, 4, u)
            backward_block(u, 2, inverse, a + j, w + j, out + j, &total, &sum_of_w)
            j += 2 * LANES
        else:
            sums_of_products(run.beside, matrix + j, K, stride, 1, 4, u)
            backward_block(u, 1, inverse, a + j, w + j, out + j, &total, &sum_of_w)
            j += LANES
    share, norm = <real> vsum(total), <real> vsum(sum_of_w)
    if not (share > LEAST and norm > LEAST):
        run.lost = True
        share, norm = 1, 1
    share, norm = run.weight / share, 1 / norm
    for j from 0 <= j < stride by LANES:
        vstore(out + j, vload(out + j) * share)
        vstore(a + j, vload(a + j) * (0 if at_end else share))
        vstore(w + j, vload(w + j) * norm)
    run.beside = w
    run.t -= 1


cdef inline void advance(
    MarkovChain chain, Steps* steps, Run* runs, Py_ssize_t n_runs, Py_ssize_t n, bint forward,
) noexcept nogil:
    """All runs by n steps; `forward` is a constant."""
    cdef Py_ssize_t i, h
    for i in range(n):
        for h in range(n_runs):
            if forward:
                forward_step(chain, steps, &runs[h])
            else:
                backward_step(chain, steps, &runs[h])
    for h in range(n_runs):
        runs[h].left -= n


cdef void advance_forward(
    MarkovChain chain, Steps* steps, Run* runs, Py_ssize_t n_runs, Py_ssize_t n,
) noexcept nogil:
    advance(chain, steps, runs, n_runs, n, True)


cdef void advance_backward(
    MarkovChain chain, Steps* steps, Run* runs, Py_ssize_t n_runs, Py_ssize_t n,
) noexcept nogil:
    advance(chain, steps, runs, n_runs, n, False)


cdef inline void add_transitions_block(
    const real* a, const real* w, Py_ssize_t stride, Py_ssize_t n_steps, Py_ssize_t i, Py_ssize_t j,
    Py_ssize_t n_i, Py_ssize_t n_v, const real* matrix, Py_ssize_t K, double* out,
) noexcept nogil:
    """out[i, j] += A_ij sum_t a_t(i) w_t(j) for n_i states i and n_v vectors of j, both constants."""
    cdef vreal acc[8]
    cdef vreal wv
    cdef Py_ssize_t t, h, v, lane, n
    for h in range(n_i * n_v):
        acc[h] = splat(0)
    a += i
    w += j
    for t in range(n_steps):
        for v in range(n_v):
            wv = vload(w + v * LANES)
            for h in range(n_i):
                acc[h * n_v + v] = acc[h * n_v + v] + wv * a[h]
        a += stride
        w += stride
    for h in range(min(n_i, K - i)):
        for v in range(n_v):
            n = min(<Py_ssize_t> LANES, K - j - v * LANES)
            for lane in range(n):
                out[(i + h) * K + j + v * LANES + lane] += (
                    <double> (<real*> &acc[h * n_v + v])[lane]
                    * matrix[(i + h) * stride + j + v * LANES + lane])


cdef void add_transitions(
    MarkovChain chain, const real* a, const real* w, Py_ssize_t n_steps, double* out,
) noexcept nogil:
    """out[i, j] += A_ij sum over n_steps steps of a_t(i) w_t(j)."""
    cdef Py_ssize_t stride = chain.stride, K = chain.n_components, i, j
    for i from 0 <= i < K by 4:
        j = 0
        while j < stride:
            if stride - j >= 2 * LANES:
                add_transitions_block(a, w, stride, n_steps, i, j, 4, 2,
                                      chain.transitions.data, K, out)
                j += 2 * LANES
            else:
                add_transitions_block(a, w, stride, n_steps, i, j, 4, 1,
                                      chain.transitions.data, K, out)
                j += LANES
