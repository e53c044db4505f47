# Gaussian emissions of rows with missing entries: the marginal density of what is known.
#
# With diagonal precisions a missing feature leaves out its factor. Otherwise, with d = x - mu, the
# missing features m, the known ones o, and a precision L, what is missing has the conditional mean
#
#   mu_m - L_mm^-1 L_mo d_o   =   mu_m + S_mo S_oo^-1 d_o,   S the covariance,
#
# and the conditional covariance L_mm^-1 = S_mm - S_mo S_oo^-1 S_om: of both forms, the one that takes
# fewer operations is used. With the conditional mean in place of what is missing,
#
#   log p(x_o) = log p(x) + |m| log(2 pi) / 2 - log det(L_mm) / 2,
#
# for it minimises |P (x - mu)|^2: an error of it enters squared. So rows are filled in, separately
# for every component, and go the way of complete ones.

cdef double HALF_LOG_TWO_PI = 0.91893853320467274178


cdef class IncompleteDiagGaussian(Emission):
    """`DiagGaussian` for rows with missing entries.

    Parameters
    ----------
    centre : ndarray of shape (n_features,), subtracted from the rows first
    means : ndarray of shape (n_components, n_features), less the centre
    scales : ndarray of shape (n_components, n_features), square roots of the precisions

    Statistics: for every component first moments (n_features,), second moments (n_features,), and
    sums of responsibilities (n_features,), of the rows that have the feature; about the centre if
    `about_centre` and else about the means. With kappa_d = 1 where x_d is known and else 0, and x_d = 0
    where it is not, the log-density is linear in x, x^2 and kappa:

        log p = sum_d x_d mu_d s_d^2 - x_d^2 s_d^2 / 2 + kappa_d (log s_d - log(2 pi) / 2 - mu_d^2 s_d^2 / 2).
    """

    cdef Buffer means, scales, constants, weights, zeros

    def __init__(self, const double[::1] centre, const double[:, ::1] means,
                 const double[:, ::1] scales):
        cdef Py_ssize_t k, d, K = means.shape[0], D = means.shape[1]
        cdef double s, constant, ratio = 0
        require(scales.shape[0] == K and scales.shape[1] == D)
        self.set_shape(K, D, 3 * D, centre)
        self.means = Buffer(K * D)
        self.scales = Buffer(K * D)
        self.constants = Buffer(K * D)
        self.weights = Buffer(3 * D * K)
        self.zeros = Buffer(K)
        for k in range(K):
            for d in range(D):
                s = scales[k, d]
                constant = log(s) - HALF_LOG_TWO_PI
                self.means.data[k * D + d] = <real> means[k, d]
                self.scales.data[k * D + d] = <real> (s * 0.7071067811865476)
                self.constants.data[k * D + d] = <real> constant
                s *= s
                self.weights.data[d * K + k] = <real> (means[k, d] * s)
                self.weights.data[(D + d) * K + k] = <real> (-0.5 * s)
                self.weights.data[(2 * D + d) * K + k] = <real> (
                    constant - 0.5 * s * means[k, d] * means[k, d])
                ratio = max(ratio, s * means[k, d] * means[k, d])
        self.about_centre = ratio <= MAX_CANCELLATION
        if self.about_centre:
            self.sum_terms(D, 2 * D)
        self.statistics_size = 3 * K * D

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        cdef Py_ssize_t D = self.n_features, K = self.n_components
        append_squares_and_known(tile, D)
        if self.about_centre:
            all_linear_forms(tile, self.weights.data, self.zeros.data, 3 * D, K)
        else:
            distant_log_density_of_known(tile, self.means.data, self.scales.data,
                                         self.constants.data, D, K)

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        cdef Py_ssize_t D = self.n_features, K = self.n_components
        if self.about_centre:
            accumulate_terms(tile, D, 2 * D, K, statistics, 3 * D)
        else:
            accumulate_central_moments(tile, self.means.data, tile.x + 2 * D, D, K,
                                       statistics, 3 * D)
        accumulate_in_lanes(tile, tile.x + 2 * D, tile.x_stride, D, K, statistics + 2 * D, 3 * D)

    cdef void impute(self, const Tile* tile, real* rows) noexcept nogil:
        """The means, averaged by responsibilities."""
        cdef Py_ssize_t D = self.n_features, K = self.n_components, b, d, k
        cdef const real* r
        cdef real mean
        for b in range(tile.rows):
            r = log_density_of_row(tile, b)
            for d in range(D):
                if entry(tile, b, 2 * D + d)[0] == 0:
                    mean = self.centre.data[d]
                    for k in range(K):
                        mean += r[k * LANES] * self.means.data[k * D + d]
                    rows[(tile.first + b) * D + d] = mean


cdef void append_squares_and_known(const Tile* tile, Py_ssize_t D) noexcept nogil:
    """NaN becomes 0; columns D to 2 D of the tile are squares, 2 D to 3 D what is known, 1 or 0."""
    cdef Py_ssize_t i, d
    cdef vreal* x
    cdef vreal xd
    for i in range(tile.vectors):
        x = tile.x + i * tile.x_stride
        for d in range(D):
            x[2 * D + d] = known(x[d])
            xd = zero_for_missing(x[d])
            x[d] = xd
            x[D + d] = xd * xd
        zero_missing_in_rows(tile, i)


cdef void distant_log_density_of_known(
    const Tile* tile,            # OUT  responsibilities
    const real* means,           # IN   (K, D)
    const real* scales,          # IN   (K, D), sqrt(precision / 2)
    const real* constants,       # IN   (K, D)
    Py_ssize_t D, Py_ssize_t K,
) noexcept nogil:
    """log p = sum_d kappa_d (constant_d - ((x_d - mu_d) s_d)^2)."""
    cdef Py_ssize_t i, k, d
    cdef const vreal* x
    cdef vreal acc, t
    for i in range(tile.vectors):
        x = tile.x + i * tile.x_stride
        for k in range(K):
            acc = splat(0)
            for d in range(D):
                t = (x[d] - means[k * D + d]) * scales[k * D + d]
                acc = acc + x[2 * D + d] * (splat(constants[k * D + d]) - t * t)
            tile.responsibilities[i * tile.r_stride + k] = acc


cdef Py_ssize_t component_vectors(Py_ssize_t K) noexcept nogil:
    """Vectors with a component in each lane."""
    return (K + LANES - 1) // LANES


cdef Buffer in_component_lanes(const double[:, :, :] values):
    """Values (K, N, M) as (N, M) vectors of components; in lanes of none, 1 on the diagonal."""
    cdef Py_ssize_t K = values.shape[0], N = values.shape[1], M = values.shape[2], i, j, k
    cdef Py_ssize_t room = component_vectors(K) * LANES
    cdef Buffer buffer = Buffer(N * M * room)
    for i in range(N):
        for j in range(M):
            for k in range(room):
                buffer.data[(i * M + j) * room + k] = <real> (values[k, i, j] if k < K else i == j)
    return buffer


cdef class IncompleteFullGaussian(FullGaussian):
    """`FullGaussian` for rows with missing entries.

    Parameters
    ----------
    centre, means, factors, constants : see `FullGaussian`
    precisions, covariances : ndarray of shape (n_components, n_features, n_features)

    Statistics: those of `FullGaussian`, as expected of what is missing given what is known. Tiles
    without missing entries go its way; on others the rows of every component differ, and its triangle
    is summed in blocks.
    """

    cdef Buffer precisions, covariances, means_in_lanes
    cdef Covariances of

    def __init__(self, const double[::1] centre, const double[:, ::1] means,
                 const double[:, :, ::1] factors, const double[::1] constants,
                 const double[:, :, ::1] precisions, const double[:, :, ::1] covariances):
        cdef Py_ssize_t K, D
        FullGaussian.__init__(self, centre, means, factors, constants)
        K, D = self.n_components, self.n_features
        require(precisions.shape[0] == K and covariances.shape[0] == K)
        require(precisions.shape[1] == D and covariances.shape[1] == D)
        require(precisions.shape[2] == D and covariances.shape[2] == D)
        self.add_triangles()
        self.component_vectors = component_vectors(K)
        self.precisions = in_component_lanes(precisions)
        self.covariances = in_component_lanes(covariances)
        self.means_in_lanes = in_component_lanes(means[:, None])
        self.of = Covariances(
            self.precisions.data, self.covariances.data, D, self.component_vectors)

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        cdef Py_ssize_t D = self.n_features, k
        find_patterns(tile, D)
        if tile.missing.n == 0:
            FullGaussian.log_density(self, tile)
            return
        self.fill_in(tile)
        for k in range(self.n_components):
            put_fills(tile, D, self.component_vectors, k, NULL, 0)
            self.log_density_of_component(tile, k)
        add_shifts(tile, D, self.n_components, self.component_vectors)

    cdef void fill_in(self, const Tile* tile) noexcept nogil:
        """The conditional means of what is missing, and what patterns add to log-densities."""
        cdef Patterns* q = tile.missing
        cdef Py_ssize_t C = self.component_vectors, p, v, t, n
        cdef vreal* fills = q.fills
        cdef vreal log_determinant
        for p in range(q.n):
            n = q.n_missing[p]
            for v in range(C):
                log_determinant = decompose_pattern(&self.of, q, p, v)
                q.shifts[p * C + v] = self.shift(q, p, v) - log_determinant * <real> 0.5
                for t in range(q.first[p], q.first[p + 1]):
                    self.deviations(tile, q.rows[t], v)
                    if by_precision(&self.of, q, p):
                        self.fill_by_precision(q, p, v, fills + (t - q.first[p]) * n * C + v)
                    else:
                        self.fill_by_covariance(q, p, v, fills + (t - q.first[p]) * n * C + v)
            fills += (q.first[p + 1] - q.first[p]) * n * C

    cdef vreal shift(self, const Patterns* q, Py_ssize_t p, Py_ssize_t v) noexcept nogil:
        """|m| log(2 pi) / 2, or what makes -|o| log(2 pi) / 2 of the constants."""
        cdef Py_ssize_t D = self.n_features, n = q.n_missing[p], k
        cdef vreal shift
        if by_precision(&self.of, q, p):
            return splat(n * <real> HALF_LOG_TWO_PI)
        shift = splat((n - D) * <real> HALF_LOG_TWO_PI)
        for k in range(v * LANES, min(self.n_components, (v + 1) * LANES)):
            (<real*> &shift)[k - v * LANES] -= self.constants.data[k]
        return shift

    cdef void deviations(self, const Tile* tile, Py_ssize_t row, Py_ssize_t v) noexcept nogil:
        """x - mu of a row, for a vector of components."""
        cdef const real* x = entry(tile, row, 0)
        cdef const vreal* mu = <vreal*> self.means_in_lanes.data + v
        cdef Py_ssize_t d
        for d in range(self.n_features):
            tile.missing.deviations[d] = splat(x[d * LANES]) - mu[d * self.component_vectors]

    cdef void fill_by_precision(
        self, Patterns* q, Py_ssize_t p, Py_ssize_t v,
        vreal* fills,            # OUT  (|m|,), spaced by the vectors of components
    ) noexcept nogil:
        """mu_m - L_mm^-1 L_mo d_o."""
        cdef Py_ssize_t D = self.n_features, C = self.component_vectors, n = q.n_missing[p], i
        cdef const int32_t* m = q.features + p * D
        cdef const vreal* mu = <vreal*> self.means_in_lanes.data + v
        for i in range(n):
            q.deviations[m[i]] = splat(0)
        for i in range(n):
            q.solution[i] = dot(
                <const vreal*> self.of.precisions + m[i] * D * C + v, C, q.deviations, D)
        solve(q.matrix, n, q.solution)
        for i in range(n):
            fills[i * C] = mu[m[i] * C] - q.solution[i]

    cdef void fill_by_covariance(
        self, Patterns* q, Py_ssize_t p, Py_ssize_t v,
        vreal* fills,            # OUT  (|m|,), spaced by the vectors of components
    ) noexcept nogil:
        """mu_m + S_mo S_oo^-1 d_o."""
        cdef Py_ssize_t D = self.n_features, C = self.component_vectors, n = q.n_missing[p], i, h
        cdef const int32_t* m = q.features + p * D
        cdef const int32_t* o = m + n
        cdef const vreal* mu = <vreal*> self.means_in_lanes.data + v
        for h in range(D - n):
            q.solution[h] = q.deviations[o[h]]
        solve(q.matrix, D - n, q.solution)
        for i in range(n):
            fills[i * C] = mu[m[i] * C]
            for h in range(D - n):
                fills[i * C] = fills[i * C] + q.solution[h] * (
                    element(&self.of, self.of.covariances, m[i], o[h], v))

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        cdef Py_ssize_t D = self.n_features, K = self.n_components, n_v = row_vectors(D), k
        cdef Py_ssize_t of_component = self.n_terms if self.about_centre else D
        cdef const vreal* means = <const vreal*> self.means.data
        cdef double* scatter = statistics + K * of_component
        if tile.missing.n == 0:
            FullGaussian.accumulate(self, tile, statistics)
            return
        if is_wide(D):
            rows_of_tile(tile, D, tile.scratch)
        for k in range(K):
            if is_wide(D):
                put_fills(tile, D, self.component_vectors, k, <real*> tile.scratch, n_v * LANES)
            else:
                put_fills(tile, D, self.component_vectors, k, NULL, 0)
            accumulate_component(tile, k, means + (K if self.about_centre else k) * n_v, D,
                                 statistics + k * of_component, scatter + k * triangle(D))
        self.add_conditional_covariances(tile, scatter)

    cdef void add_conditional_covariances(
        self, const Tile* tile, double* scatter,
    ) noexcept nogil:
        """scatter[k] += sum over rows of r_k times the conditional covariance of what is missing."""
        cdef Patterns* q = tile.missing
        cdef Py_ssize_t D = self.n_features, p, v, i, j
        cdef const int32_t* m
        cdef vreal r
        for p in range(q.n):
            m = q.features + p * D
            for v in range(self.component_vectors):
                r = responsibilities_of_pattern(tile, p, v, self.n_components)
                if vpositive_lanes(r) == 0:
                    continue
                decompose_pattern(&self.of, q, p, v)
                if by_precision(&self.of, q, p):
                    invert(q.matrix, q.n_missing[p])
                for i in range(q.n_missing[p]):
                    conditional_covariances(&self.of, q, p, v, i, q.deviations)
                    for j in range(i + 1):
                        add_by_component(r * q.deviations[j], v, self.n_components,
                                         scatter + triangle(m[i]) + m[j], triangle(D))

    cdef void impute(self, const Tile* tile, real* rows) noexcept nogil:
        """The conditional means, averaged by responsibilities."""
        cdef Patterns* q = tile.missing
        cdef Py_ssize_t D = self.n_features, p, t, i
        cdef const int32_t* m
        cdef const vreal* fill = q.fills
        for p in range(q.n):
            m = q.features + p * D
            for t in range(q.first[p], q.first[p + 1]):
                for i in range(q.n_missing[p]):
                    rows[(tile.first + q.rows[t]) * D + m[i]] = <real> (
                        self.centre.data[m[i]]
                        + expected(tile, q.rows[t], fill, self.n_components))
                    fill += self.component_vectors


cdef inline double expected(
    const Tile* tile, Py_ssize_t row, const vreal* values, Py_ssize_t K,
) noexcept nogil:
    """The sum over components of r_k values_k."""
    cdef vreal total = splat(0)
    cdef Py_ssize_t v
    for v in range(component_vectors(K)):
        total = total + responsibilities_of_row(tile, row, v, K) * values[v]
    return vsum(total)


cdef inline vreal dot(
    const vreal* a, Py_ssize_t stride, const vreal* b, Py_ssize_t n,
) noexcept nogil:
    """The sum of a_i b_i; a has a stride. Four sums at a time, which do not wait for each other."""
    cdef vreal total[4]
    cdef Py_ssize_t i, h
    for h in range(4):
        total[h] = splat(0)
    for i from 0 <= i < n - 3 by 4:
        for h in range(4):
            total[h] = total[h] + a[(i + h) * stride] * b[i + h]
    for i in range(n // 4 * 4, n):
        total[0] = total[0] + a[i * stride] * b[i]
    return (total[0] + total[1]) + (total[2] + total[3])


cdef void put_fills(
    const Tile* tile, Py_ssize_t D, Py_ssize_t C, Py_ssize_t k,
    real* rows,                  # OUT  the rows of the tile one after another; tile.x if NULL
    Py_ssize_t stride,
) noexcept nogil:
    """Put what component k fills in where entries are missing."""
    cdef Patterns* q = tile.missing
    cdef const real* fill = <const real*> q.fills + k
    cdef const int32_t* m
    cdef real* row
    cdef Py_ssize_t p, t, i, step = LANES if rows == NULL else 1
    for p in range(q.n):
        m = q.features + p * D
        for t in range(q.first[p], q.first[p + 1]):
            row = entry(tile, q.rows[t], 0) if rows == NULL else rows + q.rows[t] * stride
            for i in range(q.n_missing[p]):
                row[m[i] * step] = fill[0]
                fill += C * LANES


cdef void add_shifts(
    const Tile* tile, Py_ssize_t D, Py_ssize_t K, Py_ssize_t C,
) noexcept nogil:
    """Add to log-densities what the pattern of a row changes; they are 0 where all is missing."""
    cdef Patterns* q = tile.missing
    cdef const real* shift
    cdef real* out
    cdef Py_ssize_t p, t, k
    for p in range(q.n):
        shift = <const real*> (q.shifts + p * C)
        for t in range(q.first[p], q.first[p + 1]):
            out = log_density_of_row(tile, q.rows[t])
            for k in range(K):
                out[k * LANES] = out[k * LANES] + shift[k] if q.n_missing[p] < D else 0


cdef inline real* log_density_of_row(const Tile* tile, Py_ssize_t row) noexcept nogil:
    """Those of components, LANES apart; later the responsibilities."""
    return <real*> (tile.responsibilities + row // LANES * tile.r_stride) + row % LANES


cdef vreal responsibilities_of_pattern(
    const Tile* tile, Py_ssize_t p, Py_ssize_t v, Py_ssize_t K,
) noexcept nogil:
    """The sum over rows of a pattern, for a vector of components."""
    cdef Patterns* q = tile.missing
    cdef vreal total = splat(0)
    cdef Py_ssize_t t
    for t in range(q.first[p], q.first[p + 1]):
        total = total + responsibilities_of_row(tile, q.rows[t], v, K)
    return total


cdef inline vreal responsibilities_of_row(
    const Tile* tile, Py_ssize_t row, Py_ssize_t v, Py_ssize_t K,
) noexcept nogil:
    cdef vreal r = splat(0)
    cdef const real* of_row = log_density_of_row(tile, row) + v * LANES * LANES
    cdef Py_ssize_t k
    for k in range(min(<Py_ssize_t> LANES, K - v * LANES)):
        (<real*> &r)[k] = of_row[k * LANES]
    return r


cdef inline void add_by_component(
    vreal values, Py_ssize_t v, Py_ssize_t K, double* out, Py_ssize_t stride,
) noexcept nogil:
    """out[k] += values for the components of vector v; out has a stride."""
    cdef Py_ssize_t k
    for k in range(v * LANES, min(K, (v + 1) * LANES)):
        out[k * stride] += (<real*> &values)[k - v * LANES]


cdef Buffer as_one_buffer(const double[:, ::1] matrix):
    return as_buffer(<const double[:matrix.shape[0] * matrix.shape[1]]> &matrix[0, 0])


cdef class IncompleteTiedGaussian(TiedGaussian):
    """`TiedGaussian` for rows with missing entries; to be used only if it is `about_centre`.

    Parameters
    ----------
    centre, means, factor, constant : see `TiedGaussian`
    precision, covariance : ndarray of shape (n_features, n_features)

    Statistics: those of `TiedGaussian`, as expected of what is missing given what is known.

    A row is filled in as if the centre were its mean, the same for all components. How far the
    conditional means of the components are from there is told by its pattern,

        delta_k = L_mm^-1 (L mu_k)_m = mu_mk - S_mo S_oo^-1 mu_ok,

    and so is how much nearer it is to a component than the row that is filled in, delta_k' L_mm delta_k.
    """

    cdef Buffer precision, covariance
    cdef Buffer means_in_lanes, forms   # (D, vectors of components): mu and L mu
    cdef Covariances of

    def __init__(self, const double[::1] centre, const double[:, ::1] means,
                 const double[:, ::1] factor, double constant,
                 const double[:, ::1] precision, const double[:, ::1] covariance,
                 const double[:, ::1] forms):
        cdef Py_ssize_t D
        TiedGaussian.__init__(self, centre, means, factor, constant)
        D = self.n_features
        require(precision.shape[0] == D and precision.shape[1] == D)
        require(covariance.shape[0] == D and covariance.shape[1] == D)
        require(forms.shape[0] == self.n_components and forms.shape[1] == D)
        self.component_vectors = component_vectors(self.n_components)
        self.precision = as_one_buffer(precision)
        self.covariance = as_one_buffer(covariance)
        self.of = Covariances(self.precision.data, self.covariance.data, D, 0)
        self.means_in_lanes = in_component_lanes(means[:, None])
        self.forms = in_component_lanes(forms[:, None])

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        cdef Py_ssize_t D = self.n_features
        find_patterns(tile, D)
        if tile.missing.n > 0:
            self.fill_in(tile)
        TiedGaussian.log_density(self, tile)
        if tile.missing.n > 0:
            add_shifts(tile, D, self.n_components, self.component_vectors)

    cdef void fill_in(self, const Tile* tile) noexcept nogil:
        """Rows about the centre, the deltas of patterns, and what these add to log-densities."""
        cdef Patterns* q = tile.missing
        cdef Py_ssize_t C = self.component_vectors, p, t, v
        cdef vreal* deltas = q.fills
        cdef vreal shift
        for p in range(q.n):
            shift = decompose_pattern(&self.of, q, p, 0) * <real> -0.5
            if by_precision(&self.of, q, p):
                shift = shift + q.n_missing[p] * <real> HALF_LOG_TWO_PI
            else:
                shift = shift - self.constants.data[0] - (
                    (self.n_features - q.n_missing[p]) * <real> HALF_LOG_TWO_PI)
            for v in range(C):
                q.shifts[p * C + v] = shift + self.find_deltas(q, p, v, deltas + v) * <real> 0.5
            for t in range(q.first[p], q.first[p + 1]):
                self.fill_in_row(tile, p, q.rows[t])
            deltas += q.n_missing[p] * C

    cdef vreal find_deltas(
        self, Patterns* q, Py_ssize_t p, Py_ssize_t v,
        vreal* deltas,           # OUT  (|m|,), spaced by the vectors of components
    ) noexcept nogil:
        """delta of a vector of components; delta' L_mm delta = mu' L mu - mu_o' S_oo^-1 mu_o."""
        cdef Py_ssize_t D = self.n_features, C = self.component_vectors, n = q.n_missing[p], i, h
        cdef const int32_t* m = q.features + p * D
        cdef const int32_t* o = m + n
        cdef const vreal* mu = <vreal*> self.means_in_lanes.data + v
        cdef const vreal* forms = <vreal*> self.forms.data + v
        cdef vreal delta, nearer = splat(0)
        if by_precision(&self.of, q, p):
            for i in range(n):
                q.solution[i] = forms[m[i] * C]
            solve(q.matrix, n, q.solution)
            for i in range(n):
                deltas[i * C] = q.solution[i]
                nearer = nearer + q.solution[i] * forms[m[i] * C]
            return nearer
        for h in range(D - n):
            q.solution[h] = mu[o[h] * C]
        solve(q.matrix, D - n, q.solution)
        for h in range(D):
            nearer = nearer + mu[h * C] * forms[h * C]
        for h in range(D - n):
            nearer = nearer - mu[o[h] * C] * q.solution[h]
        for i in range(n):
            delta = mu[m[i] * C]
            for h in range(D - n):
                delta = delta - q.solution[h] * self.of.covariances[m[i] * D + o[h]]
            deltas[i * C] = delta
        return nearer

    cdef void fill_in_row(self, const Tile* tile, Py_ssize_t p, Py_ssize_t row) noexcept nogil:
        """-L_mm^-1 L_mo x_o = S_mo S_oo^-1 x_o, in tile.x; the same in all lanes of q.solution."""
        cdef Patterns* q = tile.missing
        cdef Py_ssize_t D = self.n_features, n = q.n_missing[p], i, h
        cdef const int32_t* m = q.features + p * D
        cdef const int32_t* o = m + n
        cdef real* x = entry(tile, row, 0)
        cdef real fill
        if by_precision(&self.of, q, p):
            for i in range(n):
                q.solution[i] = splat(form_of_row(self.of.precisions + m[i] * D, x, D))
            solve(q.matrix, n, q.solution)
            for i in range(n):
                x[m[i] * LANES] = -(<real*> (q.solution + i))[0]
            return
        for h in range(D - n):
            q.solution[h] = splat(x[o[h] * LANES])
        solve(q.matrix, D - n, q.solution)
        for i in range(n):
            fill = 0
            for h in range(D - n):
                fill += self.of.covariances[m[i] * D + o[h]] * (<real*> (q.solution + h))[0]
            x[m[i] * LANES] = fill

    cdef void accumulate(self, const Tile* tile, double* statistics) noexcept nogil:
        cdef Py_ssize_t D = self.n_features, K = self.n_components
        if tile.missing.n == 0:
            TiedGaussian.accumulate(self, tile, statistics)
            return
        accumulate_in_lanes(tile, tile.x, tile.x_stride, D, K, statistics, D)
        self.add_deltas(tile, statistics)
        accumulate_scatter_of_all(tile, D, statistics + K * D)

    cdef void add_deltas(self, const Tile* tile, double* statistics) noexcept nogil:
        """First moments of the deltas; their scatter within rows, and the conditional covariances.

        In tile.x, a row gets the mean of its deltas, so that its own scatter is all that is left.
        """
        cdef Patterns* q = tile.missing
        cdef Py_ssize_t D = self.n_features, K = self.n_components, C = self.component_vectors
        cdef Py_ssize_t p, v, i
        cdef const int32_t* m
        cdef vreal* deltas = q.fills
        cdef vreal r
        for p in range(q.n):
            m = q.features + p * D
            for v in range(C):
                r = responsibilities_of_pattern(tile, p, v, K)
                q.shifts[p * C + v] = r
                for i in range(q.n_missing[p]):
                    add_by_component(
                        r * deltas[i * C + v], v, K, statistics + m[i], D)
            self.add_scatter(q, p, deltas, statistics + K * D)
            for i in range(q.first[p], q.first[p + 1]):
                self.add_mean_delta(tile, p, q.rows[i], deltas, statistics + K * D)
            deltas += q.n_missing[p] * C

    cdef void add_scatter(
        self, Patterns* q, Py_ssize_t p,
        const vreal* deltas,     # IN     (|m|, vectors of components)
        double* scatter,         # INOUT  lower triangle by rows
    ) noexcept nogil:
        """sum_k r_k (delta_k delta_k' + the conditional covariance), r_k summed over the pattern."""
        cdef Py_ssize_t C = self.component_vectors, i, j, v
        cdef const int32_t* m = q.features + p * self.n_features
        cdef const vreal* r = q.shifts + p * C
        cdef vreal total
        decompose_pattern(&self.of, q, p, 0)
        if by_precision(&self.of, q, p):
            invert(q.matrix, q.n_missing[p])
        for i in range(q.n_missing[p]):
            conditional_covariances(&self.of, q, p, 0, i, q.deviations)
            for j in range(i + 1):
                total = splat(0)
                for v in range(C):
                    total = total + r[v] * (
                        deltas[i * C + v] * deltas[j * C + v] + q.deviations[j])
                scatter[triangle(m[i]) + m[j]] += vsum(total)

    cdef void add_mean_delta(
        self, const Tile* tile, Py_ssize_t p, Py_ssize_t row,
        const vreal* deltas,     # IN     (|m|, vectors of components)
        double* scatter,         # INOUT  lower triangle by rows
    ) noexcept nogil:
        """Add the mean delta to a row, and take its square from the scatter."""
        cdef Patterns* q = tile.missing
        cdef Py_ssize_t C = self.component_vectors, K = self.n_components, i, j
        cdef const int32_t* m = q.features + p * self.n_features
        cdef real* x = entry(tile, row, 0)
        cdef real weight = (<real*> tile.weights)[row]
        cdef real* means = <real*> q.solution
        if weight == 0:
            return
        for i in range(q.n_missing[p]):
            means[i] = <real> expected(tile, row, deltas + i * C, K) / weight
            x[m[i] * LANES] += means[i]
            for j in range(i + 1):
                scatter[triangle(m[i]) + m[j]] -= weight * means[i] * means[j]

    cdef void impute(self, const Tile* tile, real* rows) noexcept nogil:
        """The conditional means, averaged by responsibilities."""
        cdef Patterns* q = tile.missing
        cdef Py_ssize_t D = self.n_features, p, t, i
        cdef const int32_t* m
        cdef const vreal* delta = q.fills
        for p in range(q.n):
            m = q.features + p * D
            for i in range(q.n_missing[p]):
                for t in range(q.first[p], q.first[p + 1]):
                    rows[(tile.first + q.rows[t]) * D + m[i]] = <real> (
                        self.centre.data[m[i]] + entry(tile, q.rows[t], m[i])[0]
                        + expected(tile, q.rows[t], delta, self.n_components))
                delta += self.component_vectors


cdef inline real form_of_row(const real* a, const real* x, Py_ssize_t D) noexcept nogil:
    """The sum of a_d x_d for x as tile.x has it."""
    cdef real total[4]
    cdef Py_ssize_t d, h
    for h in range(4):
        total[h] = 0
    for d from 0 <= d < D - 3 by 4:
        for h in range(4):
            total[h] += a[d + h] * x[(d + h) * LANES]
    for d in range(D // 4 * 4, D):
        total[0] += a[d] * x[d * LANES]
    return (total[0] + total[1]) + (total[2] + total[3])
