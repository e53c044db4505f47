# Counts: Poisson and binomial features, whose log-densities are linear in the counts.

cdef enum:
    TABULATED = 256

cdef double LOG_FACTORIALS[TABULATED]


cdef void tabulate_log_factorials() noexcept:
    cdef int n
    LOG_FACTORIALS[0] = 0
    for n in range(1, TABULATED):
        LOG_FACTORIALS[n] = LOG_FACTORIALS[n - 1] + log(n)


tabulate_log_factorials()


cdef inline double log_factorial(double n) noexcept nogil:
    """log n!, beyond the table by Stirling's series (Abramowitz and Stegun 1964, 6.1.41)."""
    if not n > 0:
        return 0
    if n < TABULATED:
        return LOG_FACTORIALS[<int> n]
    return (n + 0.5) * log(n) - n + 0.91893853320467274178 + (1 - 1 / (30 * n * n)) / (12 * n)


cdef class Counts(LinearForms):
    """Counts x_d out of trials t_d: log p = constant + sum_d x_d w_d + t_d v_d + log h(x, t).

    Trials are the same for every row, when they are part of the constant; or 0 where a count is
    missing (NaN) and 1 elsewhere; or the last half of the columns of a row.

    Parameters
    ----------
    centre : ndarray of shape (n_features,), subtracted from the counts first
    weights : ndarray of shape (n_components, n_features), or (n_components, 2 n_features) with those
        of the trials where counts may be missing
    constants : ndarray of shape (n_components,)
    base : ndarray of the shape of one component's weights, optional
        With it, log h(x, t) = base_constant + sum_d x_d base_d + t_d base_(D + d) + log c(x, t) is
        included in the density; without, it is left out, which all components share.
    base_constant : float
    trials : ndarray of shape (n_features,), optional
        log c is sum_d log (t_d over x_d) if trials are given or are columns, else - sum_d log x_d!.
    paired : bool, whether the last half of the columns are trials

    Statistics: sums of r (x - centre) and, where counts may be missing, of r t for every component.
    """

    cdef Buffer trials
    cdef const double[::1] base         # double: large terms cancel
    cdef const double* base_weights
    cdef double base_constant
    cdef bint with_base, with_trials
    cdef readonly bint paired

    def __init__(self, const double[::1] centre, const double[:, ::1] weights,
                 const double[::1] constants, const double[::1] base=None,
                 double base_constant=0, const double[::1] trials=None, bint paired=False):
        cdef Py_ssize_t D = centre.shape[0], C = weights.shape[1]
        require(not paired or C == D)
        require(not paired or D % 2 == 0 and trials is None)
        require(base is None or base.shape[0] == C)
        require(trials is None or trials.shape[0] == D)
        LinearForms.__init__(self, centre, weights, constants)
        self.paired = paired
        self.with_base, self.with_trials = base is not None, trials is not None
        self.base_constant = base_constant
        if self.with_base:
            self.base = base
            self.base_weights = &self.base[0]
        if self.with_trials:
            self.trials = as_buffer(trials)

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        cdef Py_ssize_t i, k
        cdef vreal shared
        cdef vreal* out
        LinearForms.log_density(self, tile)
        if not self.with_base:
            return
        for i in range(tile.vectors):
            shared = self.log_base(tile.x + i * tile.x_stride)
            out = tile.responsibilities + i * tile.r_stride
            for k in range(self.n_components):
                out[k] = out[k] + shared

    cdef vreal log_base(self, const vreal* x) noexcept nogil:
        """log h of LANES rows."""
        cdef vreal result
        cdef real* lanes = <real*> &result
        cdef const real* column
        cdef const real* centre = self.centre.data
        cdef Py_ssize_t D = self.n_features // 2 if self.paired else self.n_features, lane, d
        cdef double total, count, trials
        for lane in range(LANES):
            column = <const real*> x + lane
            total = self.base_constant
            for d in range(self.n_columns):
                total += <double> column[d * LANES] * self.base_weights[d]
            for d in range(D):
                if self.may_miss and column[(D + d) * LANES] == 0:
                    continue
                count = column[d * LANES] + centre[d]
                total -= log_factorial(count)
                if self.paired or self.with_trials:
                    trials = column[(D + d) * LANES] if self.paired else self.trials.data[d]
                    total += log_factorial(trials) - log_factorial(trials - count)
            lanes[lane] = <real> total
        return result
