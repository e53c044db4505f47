from emfast.data.portions import portions_of


class Batched:
    def __init__(self, X, apart):
        self.X, self.apart, self.n_rows, self.names = X, apart, None, None

    def portions(self, batch_rows):
        for i, b in enumerate(self.X):
            yield from portions_of(b, f"batch {i}", self.apart, batch_rows)


def reader_of(X, *, apart=()):
    if hasattr(X, "__iter__") and not hasattr(X, "shape") and not isinstance(X, (list, tuple)):
        return Batched(X, apart)
    return None
