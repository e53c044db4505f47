"""Mixtures of columns of several kinds."""

from collections.abc import Mapping
from copy import copy
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import _safe_indexing
from sklearn.utils._indexing import _get_column_indices
from sklearn.utils.validation import check_is_fitted

from emfast.base_mixture import BaseMixture
from emfast.data import Batch
from emfast.emissions.base import Emission
from emfast.emissions.categorical import Categorical
from emfast.emissions.product import Product, ProductParameters
from emfast.known import NOTHING_KNOWN, Known
from emfast.levels import decode_levels
from emfast.rows import in_one_precision
from emfast.validation import Block, check_columns, column_called


class Mixture(BaseMixture):
    """Mixture of columns of several kinds, which are independent given the component.

    Parameters
    ----------
    n_components : int, default=1
    emissions : list of (name, emission, columns)
        Which emission, one of those in `emfast.emissions`, describes which columns: their names,
        positions, a slice, a list, a boolean mask or a callable that is given X and returns one of
        these, as in `sklearn.compose.ColumnTransformer`. Columns that are not named are not used,
        nor is an emission whose callable returns no columns.
    tol, max_iter, n_init, init_params, restarts, random_state, n_threads : see `GaussianMixture`
    weights_init : array-like of shape (n_components,) or "equal", optional
    emissions_init : mapping, optional
        Starting values by "name.group", as in ``{"size.means": ...}``.
    fixed : collection of "weights" and "name.group", or mapping of them, optional
        What is known: see `GaussianMixture`.
    prior : mapping, optional
        "weight_concentration_prior", see `GaussianMixture`, and those of the emissions by the names
        they have in mixtures of their own, as in "name.mean_prior".
    assignment, accelerate, warm_start, verbose, verbose_interval : see `GaussianMixture`

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
    emissions_ : dict
        By name the fitted parameters, under the names they have in the mixtures of one emission, as
        in ``mixture.emissions_["size"].means``.
    categories_ : dict, by name the categories of categorical columns
    converged_, n_iter_, lower_bound_, lower_bounds_, restarts_, classes_, n_features_in_, \
feature_names_in_ : see `GaussianMixture`

    Notes
    -----
    X is an array, a data frame or a sparse matrix. Of a sparse matrix the columns of `Bernoulli`
    and `Poisson` emissions stay sparse, and only what is stored there costs time; those of other
    emissions are made dense.

    Examples
    --------
    >>> import pandas as pd
    >>> from emfast import Mixture
    >>> from emfast.emissions import Categorical, Gaussian
    >>> cars = pd.DataFrame({
    ...     "length": [4.1, 4.0, 4.2, 9.9, 10.3, 9.6],
    ...     "weight": [1.2, 1.1, 1.4, 8.0, 9.0, 7.0],
    ...     "fuel": ["petrol", "petrol", "diesel", "diesel", "diesel", "diesel"],
    ... })
    >>> mixture = Mixture(2, [
    ...     ("size", Gaussian("diag"), ["length", "weight"]),
    ...     ("fuel", Categorical(), ["fuel"]),
    ... ], random_state=0).fit(cars)
    >>> sorted(mixture.emissions_["size"].means[:, 0].round(1).tolist())
    [4.1, 9.9]
    """

    _parameter_constraints = {
        **BaseMixture._parameter_constraints,
        "emissions": [list, tuple],
        "emissions_init": [Mapping, None],
    }

    _defining_attributes = ()

    def __init__(
        self,
        n_components=1,
        emissions=(),
        *,
        tol=1e-3,
        max_iter=100,
        n_init=1,
        init_params="kmeans",
        restarts="auto",
        random_state=None,
        n_threads=None,
        weights_init=None,
        emissions_init=None,
        fixed=None,
        prior=None,
        assignment="soft",
        accelerate=False,
        warm_start=False,
        verbose=0,
        verbose_interval=10,
    ):
        self.n_components = n_components
        self.emissions = emissions
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.restarts = restarts
        self.random_state = random_state
        self.n_threads = n_threads
        self.weights_init = weights_init
        self.emissions_init = emissions_init
        self.fixed = fixed
        self.prior = prior
        self.assignment = assignment
        self.accelerate = accelerate
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    def _emission(self, fixed: Known = NOTHING_KNOWN) -> Product:
        parts = {name: copy(emission) for name, emission, _ in self._parts()}
        widths = [len(columns) for _, _, columns in self._parts()]
        return Product(parts, widths, fixed=fixed)

    def _parts(self) -> list[tuple[str, Emission, list[int]]]:
        """The emissions with their columns, and categories where these have been learned."""
        if not hasattr(self, "_bound_parts"):
            raise AttributeError(f"{type(self).__name__}: its columns are known once it is fitted")
        return self._bound_parts

    def _known(self) -> Known:
        own = {
            f"{name}.{group}": which
            for name, emission, _ in self._parts()
            for group, which in emission.fixed.items()
        }
        return Known({**own, **super()._known()})

    def _validate_rows(self, X: Any, *, reset: bool) -> Batch:
        X = check_columns(self, X, reset=reset, accept_sparse=True)
        if reset:
            self._bound_parts = self._bind(X)
        return self._validated_rows(X)

    def _validated_rows(self, X: Any) -> Batch:
        rows, missing = [], []
        for _, emission, columns in self._parts():
            block = Block(self, columns)
            of_block = emission.validated(block, _block(X, emission, columns), reset=True)
            rows.append(of_block[0])
            missing.append(of_block[1])
        return Batch(in_one_precision(rows), missing=tuple(missing))

    def _called(self, column: int) -> str:
        return super()._called(self._described_columns()[column])

    def _n_columns(self) -> int:
        check_is_fitted(self)
        return self.n_features_in_

    def _described_columns(self) -> np.ndarray:
        return np.array([at for _, _, columns in self._parts() for at in columns])

    def _bind(self, X: Any) -> list[tuple[str, Emission, list[int]]]:
        """The emissions with the positions of their columns, and what they learn from these."""
        parts, taken = [], {}
        for name, emission, columns in self._checked_emissions():
            selected = _positions(X, columns(X) if callable(columns) else columns, name)
            if not selected and callable(columns):
                continue
            if not selected:
                raise ValueError(f"emissions: found no columns for {name!r}; expected some")
            columns = selected
            for column in columns:
                if column in taken:
                    raise ValueError(
                        f"emissions: found {column_called(self, column)} in {taken[column]!r} and "
                        f"in {name!r}; expected each column in one emission"
                    )
                taken[column] = name
            if isinstance(emission, Categorical):
                block = _block(X, emission, columns)
                emission = emission.learn(block, partial(column_called, Block(self, columns)))[2]
            parts.append((name, emission, columns))
        if not parts:
            raise ValueError("emissions: found no columns for any of them; expected some")
        self.categories_ = {
            name: emission.categories
            for name, emission, _ in parts
            if isinstance(emission, Categorical)
        }
        return parts

    def _set_parts(self, positions: list[list[int]]) -> None:
        """Bind the emissions to these columns, with the categories that have been learned."""
        self._bound_parts = [
            (
                name,
                Categorical(self.categories_[name], fixed=emission.fixed)
                if isinstance(emission, Categorical)
                else emission,
                [int(column) for column in columns],
            )
            for (name, emission, _), columns in zip(
                self._checked_emissions(), positions, strict=True
            )
        ]

    def _checked_emissions(self) -> list[tuple[str, Emission, Any]]:
        """The argument `emissions`, if it is what it should be."""
        if not self.emissions:
            raise ValueError("emissions: found none; expected tuples (name, emission, columns)")
        for each in self.emissions:
            if not isinstance(each, list | tuple) or len(each) != 3:
                raise ValueError(
                    f"emissions: found {each!r}; expected tuples (name, emission, columns)"
                )
            name, emission, _ = each
            if not isinstance(name, str) or not name or "." in name or name == "weights":
                raise ValueError(
                    f"emissions: found the name {name!r}; expected a string without a dot, and not "
                    "'weights'"
                )
            if not isinstance(emission, Emission) or isinstance(emission, Product):
                raise ValueError(
                    f"emissions: found {emission!r} for {name!r}; expected one of emfast.emissions"
                )
        names = [name for name, _, _ in self.emissions]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"emissions: found the name {name!r} twice; expected it once")
        return list(self.emissions)

    def _given(self, n_features: int) -> dict[str, np.ndarray]:
        emission, K = self._emission(), int(self.n_components)
        given = {}
        for group, values in (self.emissions_init or {}).items():
            if group not in emission.groups:
                raise ValueError(
                    f"emissions_init: found {group!r}; expected names among {emission.groups}"
                )
            given[group] = emission.checked(self._argument(group), group, values, K, n_features)
        return given

    def _argument(self, group: str) -> str:
        return "weights_init" if group == "weights" else f"emissions_init[{group!r}]"

    def _as_columns(self, drawn: list[list[np.ndarray]]) -> np.ndarray:
        blocks = []
        for block, (name, _, columns) in enumerate(self._parts()):
            rows = np.vstack([of_component[block] for of_component in drawn])
            if name in self.categories_:
                rows = decode_levels(rows, self.categories_[name])
            blocks.append((rows, columns))
        numbers = all(rows.dtype.kind in "biuf" for rows, _ in blocks)
        shape = (len(blocks[0][0]), self.n_features_in_)
        X = np.full(shape, np.nan if numbers else None, float if numbers else object)
        for rows, columns in blocks:
            X[:, columns] = rows
        return X

    def _settable(self, X: Any, batch: Batch) -> Any:
        return check_columns(self, X, reset=False, accept_sparse=True)

    def _decoded(self, column: int, values: np.ndarray) -> np.ndarray:
        ends = np.cumsum([len(columns) for _, _, columns in self._parts()])
        block = int(np.searchsorted(ends, column, side="right"))
        name = self._parts()[block][0]
        if name not in self.categories_:
            return values
        return self.categories_[name][column - ends[block]][values]

    def _tell_of_columns(self, mixture: "Mixture", own: np.ndarray) -> None:
        """The parts that have any of these columns, which keep their order there."""
        given = {name: emission for name, emission, _ in self._checked_emissions()}
        described = self._described_columns()
        place = {int(column): at for at, column in enumerate(described[own])}
        names = getattr(mixture, "feature_names_in_", None)
        of_parts = self._emission().of_parts(own)
        mixture.emissions, mixture.categories_, mixture._bound_parts = [], {}, []
        for (name, emission, columns), of_part in zip(self._parts(), of_parts, strict=True):
            if of_part.size:
                at = [place[columns[column]] for column in of_part]
                called = at if names is None else names[at].tolist()
                bound = emission.of_columns(of_part)
                mixture.emissions.append((name, given[name].of_columns(of_part), called))
                mixture._bound_parts.append((name, bound, at))
                if isinstance(bound, Categorical):
                    mixture.categories_[name] = bound.categories

    def _attributes(self, parameters: ProductParameters) -> dict[str, Any]:
        return {"emissions_": dict(zip(self._emission().names, parameters, strict=True))}

    def _parameters_of_attributes(self) -> ProductParameters:
        return self._float64_model.emission

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.sparse = True
        return tags


def _block(X: Any, emission: Emission, columns: list[int]) -> Any:
    """Some columns, dense unless the emission takes sparse ones as they are."""
    block = _safe_indexing(X, np.array(columns), axis=1)
    return block.toarray() if sp.issparse(block) and not emission.takes_sparse else block


def _positions(X: Any, columns: Any, name: str) -> list[int]:
    """Positions of the columns that one emission describes."""
    if isinstance(columns, str) or np.isscalar(columns):
        columns = [columns]
    if isinstance(columns, slice) and columns == slice(None):
        return list(range(X.shape[1]))
    try:
        positions = [int(column) for column in _get_column_indices(X, columns)]
    except (ValueError, IndexError, TypeError) as error:
        raise ValueError(f"emissions: columns of {name!r}: {error}") from error
    return positions
