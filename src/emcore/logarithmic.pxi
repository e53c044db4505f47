# The recursions of Markov chains in logarithms: of sums over all paths, or of the best path.
#
# Every step is taken over the largest of its states, so that only differences are large. See chain.pxi.

cdef inline void log_product(
    const real* a, const real* matrix, Py_ssize_t K, Py_ssize_t stride, bint best,
    real* out,
    int32_t* which,             # OUT  (stride,) the i of the largest term, the first of several; if `best`
) noexcept nogil:
    """out[j] = log sum_i exp(a_i + matrix[i, j]), or the largest of these terms. `best` is a constant."""
    cdef Py_ssize_t i, j, lane
    cdef vreal m, total, term, number
    for j from 0 <= j < stride by LANES:
        m = splat(2 * LOG_ZERO)
        number = splat(0)
        for i in range(K):
            term = vload(matrix + i * stride + j) + a[i]
            if best:
                number = vwhere_greater(term, m, splat(<real> i), number)
            m = vmax(term, m)
        if best:
            vstore(out + j, m)
            for lane in range(LANES):
                which[j + lane] = <int32_t> (<real*> &number)[lane]
            continue
        total = splat(0)
        for i in range(K):
            term = vload(matrix + i * stride + j) + a[i]
            total = total + vexp_above(term - m, LEAST_EXPONENT)
        vstore(out + j, m + vlog(vmax(total, splat(1))))


cdef real largest_of(const real* a, Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t j
    cdef real m = a[0]
    for j in range(1, stride):
        if a[j] > m:
            m = a[j]
    return m


cdef Py_ssize_t forward_logarithmic(
    MarkovChain chain, Steps* steps, Py_ssize_t first, Py_ssize_t stop, const real* before, bint best,
) noexcept nogil:
    """The logarithms of a_t over the largest of them, which inverse[t] gets; of the best path if `best`.

    `before` has those of the step before `first`, NULL at the start. Returns the first step that is
    impossible, or -1.
    """
    cdef Py_ssize_t t, j, stride = chain.stride
    cdef const real* previous = before
    cdef const real* predicted = chain.log_start.data
    cdef const real* b
    cdef real* a
    cdef vreal x, m
    cdef real largest
    for t in range(first, stop):
        if previous != NULL:
            predicted = steps.product
            if best:
                log_product(previous, chain.log_transitions.data, chain.n_components, stride, True,
                            steps.product, steps.back + t * stride)
            else:
                log_product(previous, chain.log_transitions.data, chain.n_components, stride, False,
                            steps.product, NULL)
        a, b = steps.forward + t * stride, steps.density + t * stride
        m = splat(4 * LOG_ZERO)
        for j from 0 <= j < stride by LANES:
            x = vload(predicted + j) + vload(b + j)
            vstore(a + j, x)
            m = vmax(x, m)
        largest = largest_of(<real*> &m, LANES)
        if largest < NEARLY_LOG_ZERO:
            return t
        for j from 0 <= j < stride by LANES:
            vstore(a + j, vmax(vload(a + j) - largest, splat(LOG_ZERO)))
        steps.inverse[t] = largest
        previous = a
    return -1


cdef void backward_logarithmic(
    MarkovChain chain, Steps* steps, Py_ssize_t first, Py_ssize_t stop, bint at_end, real weight,
) noexcept nogil:
    """Posteriors of the steps first..stop, and the expected transitions from them.

    `steps.after` has the logarithms of w of step `stop`, and gets those of `first`.
    """
    cdef Py_ssize_t t, i, j, stride = chain.stride, K = chain.n_components
    cdef real* a
    cdef real* u = steps.product
    cdef real largest, log_sum
    cdef double total
    for t in range(stop - 1, first - 1, -1):
        a = steps.forward + t * stride
        if at_end:
            for j in range(stride):
                u[j] = 0 if j < K else LOG_ZERO
        else:
            log_product(steps.after, chain.log_reverse.data, K, stride, False, u, NULL)
        largest = 2 * LOG_ZERO
        for j in range(K):
            largest = max(largest, a[j] + u[j])
        total = 0
        for j in range(K):
            total += exp(<double> (a[j] + u[j] - largest))
        log_sum = largest + <real> log(total)
        for j in range(stride):
            steps.posterior[t * stride + j] = (
                weight * <real> exp(<double> (a[j] + u[j] - log_sum)) if j < K else 0)
        if not at_end:
            for i in range(K):
                if steps.posterior[t * stride + i] > 0:
                    add_log_transitions(chain, steps, i, steps.posterior[t * stride + i], u[i])
        largest = largest_of(u, stride)
        for j in range(stride):
            steps.after[j] = max(u[j] - largest + steps.density[t * stride + j], LOG_ZERO)
            # Scaled sums over transitions pass by.
            a[j] = 0
            steps.density[t * stride + j] = 0
        at_end = False


cdef void add_log_transitions(
    MarkovChain chain, Steps* steps, Py_ssize_t i, real posterior, real u,
) noexcept nogil:
    """transitions[i, j] += posterior A_ij w_j / sum_l A_il w_l, where u is about the log of that sum.

    Logarithms far from 0 are rounded to multiples of more than 1. Terms beside each other are rounded
    alike, and the sum of them makes up for what is lost of u: so transitions add up to the posterior.
    """
    cdef Py_ssize_t j, lane, stride = chain.stride, K = chain.n_components
    cdef const real* log_transitions = chain.log_transitions.data + i * stride
    cdef vreal x, total = splat(0)
    cdef real share
    for j from 0 <= j < stride by LANES:
        x = vload(log_transitions + j) + vload(steps.after + j) - u
        total = total + vexp_above(x, LEAST_EXPONENT)
    share = posterior / <real> vsum(total)
    for j from 0 <= j < stride by LANES:
        x = vload(log_transitions + j) + vload(steps.after + j) - u
        x = vexp_above(x, LEAST_EXPONENT) * share
        for lane in range(min(<Py_ssize_t> LANES, K - j)):
            steps.transitions[i * K + j + lane] += (<real*> &x)[lane]


cdef Py_ssize_t along_best_path(
    MarkovChain chain, Steps* steps, Py_ssize_t first, Py_ssize_t stop, bint at_start,
    Py_ssize_t state,           # of the last step, or -1 for the best one
    real weight,
) noexcept nogil:
    """Posteriors of the best path; the state before `first`, or its own if the sequence starts there."""
    cdef Py_ssize_t t, j, before, stride = chain.stride, K = chain.n_components
    cdef real* a = steps.forward + (stop - 1) * stride
    if state < 0:
        state = 0
        for j in range(1, K):
            if a[j] > a[state]:
                state = j
    for t in range(stop - 1, first - 1, -1):
        for j in range(stride):
            steps.posterior[t * stride + j] = weight if j == state else 0
            steps.forward[t * stride + j] = 0
            steps.density[t * stride + j] = 0
        if t > first or not at_start:
            before = steps.back[t * stride + state]
            steps.transitions[before * K + state] += weight
            state = before
    return state
