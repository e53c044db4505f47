"""What fitted models say of rows of Dask: a question to every partition, wherever that is."""

from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from typing import Any

from sklearn.utils.validation import check_is_fitted

from emfast.data.answers import Names, check_out, gathered
from emfast.data.portions import is_of_dask
from emfast.data.sums import added


def lazy_with_dask(
    dtype: Any = None,
    width: Callable[[Any], int] | None = None,
    names: Names | Callable[[Any], Names] = "",
) -> Callable[[Callable], Callable]:
    """Let a method of rows take collections of Dask, and return a lazy array of Dask for them.

    The array has the chunks of X. Arguments are what the method takes for rows in memory, or
    collections of Dask with the partitions of X.

    Parameters
    ----------
    dtype : type of what it returns; that of the rows by default; or a function of the model
    width : callable, which is given the model and tells how many columns there are, if any
    names : what columns are called where the method has the argument `out`: see `gathered`
        Partitions are computed and written one after the other then. Or a function of the model.
    """

    def decorated(method: Callable) -> Callable:
        @wraps(method)
        def answer(self: Any, X: Any, *args: Any, **given: Any) -> Any:
            if not is_of_dask(X):
                return method(self, X, *args, **given)
            from emfast.data.lazy import Question

            check_is_fitted(self)
            out = given.pop("out", None)
            check_out(out, X)
            columns = () if width is None else (int(width(self)),)
            kind = dtype(self) if isfunction(dtype) else dtype
            rows = Question.of(self, method, X, args, given).lazily(kind, columns)
            if out is None:
                return rows
            parts = (part.compute() for part in rows.to_delayed().ravel())
            return gathered(parts, out, names(self) if isfunction(names) else names)

        return answer

    return decorated


def summed_with_dask(method: Callable) -> Callable:
    """Let a method that returns sums over rows, which add, or a tuple of them, take those of Dask.

    They are computed where Dask computes the partitions, and added in a tree.
    """

    @wraps(method)
    def answer(self: Any, X: Any, *args: Any, **given: Any) -> Any:
        if not is_of_dask(X):
            return method(self, X, *args, **given)
        from emfast.data.lazy import Question

        check_is_fitted(self)
        found = Question.of(self, method, X, args, given).answers()
        if isinstance(found[0], tuple):
            return tuple(map(added, zip(*found, strict=True)))
        return added(found)

    return answer
