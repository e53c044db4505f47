# Bernoulli emission: independent binary features.

cdef class Bernoulli(LinearForms):
    """Independent binary features.

    Parameters
    ----------
    reference : ndarray of shape (n_features,), 0 or 1, subtracted from the rows first
    logits : ndarray of shape (n_components, n_features), log p - log(1 - p)
    constants : ndarray of shape (n_components,), log-density of the reference

    Statistics: for every component sums of r (x - reference), (n_features,), and then the sum of r,
    taken in the same order: a feature that differs from its reference in every row has exactly that.
    """

    def __init__(self, const double[::1] reference, const double[:, ::1] logits,
                 const double[::1] constants):
        super().__init__(reference, logits, constants)
        self.n_columns = self.n_features + 1
        self.sum_terms(1)

    cdef void log_density(self, const Tile* tile) noexcept nogil:
        set_column(tile, self.n_features, splat(1))
        LinearForms.log_density(self, tile)


cdef void set_column(const Tile* tile, Py_ssize_t column, vreal value) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(tile.vectors):
        tile.x[i * tile.x_stride + column] = value
    if tile.rows_of_x != NULL:
        for i in range(tile.vectors * LANES):
            tile.rows_of_x[i * tile.row_stride + column] = (<real*> &value)[0]
