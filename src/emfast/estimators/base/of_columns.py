"""Columns of several kinds: what models of them share."""

from copy import copy
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.utils import _safe_indexing
from sklearn.utils._indexing import _get_column_indices

from emfast.data import Batch, Observer
from emfast.emissions.base import Emission
from emfast.emissions.categorical import Categorical
from emfast.emissions.product import Product, ProductParameters
from emfast.estimators.base.fitted import FittedModel
from emfast.inputs.levels import decode_levels
from emfast.inputs.rows import in_one_precision
from emfast.inputs.validation import Block, check_columns, column_called
from emfast.parts.known import NOTHING_KNOWN, Known
from emfast.storage.stored import DictOf, ListOf, Maybe, Names, Whole


class OfColumns(FittedModel):
    """Models of columns of several kinds, which are independent given the component."""

    # The argument that says which emission describes which columns, (name, emission, columns). With
    # `_init` it has starting values, and with `_` the fitted parameters.
    _emissions_argument = "emissions"
    # Whether it says so.
    _has_parts = True

    _stored = {
        "categories_": Maybe(DictOf(ListOf(Names()))),
        "columns": Maybe(DictOf(ListOf(Whole())), beside="categories_"),
    }

    @property
    def _table(self) -> BaseEstimator:
        """What knows names and number of the columns."""
        return self

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
        X = check_columns(self._table, X, reset=reset, accept_sparse=True)
        if reset:
            self._set_parts(self._bind(X))
        return self._validated_rows(X)

    _takes_columns = False

    def _learn(self, observer: Observer) -> None:
        bound: list[tuple[str, Emission, list[int]]] = []

        def learn(table: Any) -> bool:
            X = check_columns(self._table, table, reset=not bound, accept_sparse=True)
            for i, (name, emission, columns) in enumerate(self._bind(X)):
                if isinstance(emission, Categorical) and i < len(bound):
                    emission = bound[i][1].with_levels_of(emission)
                bound[i : i + 1] = [(name, emission, columns)]
            return any(isinstance(emission, Categorical) for _, emission, _ in bound)

        observer.each(learn)
        self._set_parts(bound)

    def _validated_rows(self, X: Any) -> Batch:
        rows, missing = [], []
        for _, emission, columns in self._parts():
            block = Block(self._table, columns)
            of_block = emission.validated(block, _block(X, emission, columns), reset=True)
            rows.append(of_block[0])
            missing.append(of_block[1])
        return Batch(in_one_precision(rows), missing=tuple(missing))

    def _called(self, column: int) -> str:
        return column_called(self._table, self._described_columns()[column])

    def _described_columns(self) -> np.ndarray:
        return np.array([at for _, _, columns in self._parts() for at in columns])

    def _bind(self, X: Any) -> list[tuple[str, Emission, list[int]]]:
        """The emissions with the positions of their columns, and what they learn from these."""
        parts, taken, argument = [], {}, self._emissions_argument
        for name, emission, columns in self._checked_emissions():
            selected = _positions(
                X, columns(X) if callable(columns) else columns, f"{argument}: columns of {name!r}"
            )
            if not selected and callable(columns):
                continue
            if not selected:
                raise ValueError(f"{argument}: found no columns for {name!r}; expected some")
            columns = selected
            for column in columns:
                if column in taken:
                    called = column_called(self._table, column)
                    raise ValueError(
                        f"{argument}: found {called} in {taken[column]!r} and in {name!r}; "
                        "expected each column in one emission"
                    )
                taken[column] = name
            if isinstance(emission, Categorical):
                block = _block(X, emission, columns)
                emission = emission.learn(
                    block, partial(column_called, Block(self._table, columns))
                )[2]
            parts.append((name, emission, columns))
        if not parts:
            raise ValueError(f"{argument}: found no columns for any of them; expected some")
        return parts

    def _set_parts(self, parts: list[tuple[str, Emission, list[int]]]) -> None:
        self._bound_parts = parts
        self.categories_ = {
            name: emission.categories
            for name, emission, _ in parts
            if isinstance(emission, Categorical)
        }

    def _arguments(self) -> dict[str, Any]:
        """A callable cannot be stored: the columns that it found stand in for it, if any."""
        arguments, argument = super()._arguments(), self._emissions_argument
        given = arguments[argument]
        if isinstance(given, list | tuple) and hasattr(self, "_bound_parts"):
            found = self._columns()
            arguments[argument] = type(given)(
                (name, emission, found[name] if callable(columns) else columns)
                for name, emission, columns in given
                if name in found
            )
        return arguments

    def _columns(self) -> dict[str, list[int]]:
        """By name the positions of the columns of every part."""
        return {name: columns for name, _, columns in self._parts()}

    def _state(self) -> dict[str, Any]:
        columns = {"columns": self._columns()} if self._has_parts else {}
        return {**super()._state(), **columns}

    def _take_state(self, state: dict[str, Any]) -> None:
        columns = state.pop("columns", None)
        if self._has_parts != (columns is not None):
            raise ValueError("columns: expected them where an argument says what describes which")
        if self._has_parts:
            n_columns = getattr(self._table, "n_features_in_", state["n_features_in_"])
            self._bound_parts = self._bound_again(columns, state["categories_"], n_columns)
        super()._take_state(state)

    def _bound_again(
        self, columns: dict[str, list[int]], categories: dict[str, list[np.ndarray]], n_columns: int
    ) -> list[tuple[str, Emission, list[int]]]:
        """What `_bind` has made of rows of so many columns."""
        emissions = {name: emission for name, emission, _ in self._checked_emissions()}
        every = [column for own in columns.values() for column in own]
        if list(columns) != list(emissions) or not all(columns.values()):
            raise ValueError(f"columns: found {columns}; expected some for each of {[*emissions]}")
        if len(set(every)) < len(every) or max(every) >= n_columns:
            raise ValueError(f"columns: found {columns}; expected different ones of {n_columns}")
        categorical = [name for name, each in emissions.items() if isinstance(each, Categorical)]
        if list(categories) != categorical:
            raise ValueError(f"categories_: found those of {[*categories]}; expected {categorical}")
        for name in categorical:
            emissions[name] = Categorical(categories[name], fixed=emissions[name].fixed)
        return [(name, emission, columns[name]) for name, emission in emissions.items()]

    def _n_columns_of_emission(self) -> int:
        return sum(map(len, self._columns().values()))

    def _checked_emissions(self) -> list[tuple[str, Emission, Any]]:
        """What says which emission describes which columns, if it is what it should be."""
        argument, groups = self._emissions_argument, self._latent().groups
        given = getattr(self, argument)
        if not given:
            raise ValueError(f"{argument}: found none; expected tuples (name, emission, columns)")
        for each in given:
            if not isinstance(each, list | tuple) or len(each) != 3:
                raise ValueError(
                    f"{argument}: found {each!r}; expected tuples (name, emission, columns)"
                )
            name, emission, _ = each
            if not isinstance(name, str) or not name or "." in name or name in groups:
                raise ValueError(
                    f"{argument}: found the name {name!r}; expected a string without a dot, and "
                    f"not {' or '.join(map(repr, groups))}"
                )
            if not isinstance(emission, Emission) or isinstance(emission, Product):
                raise ValueError(
                    f"{argument}: found {emission!r} for {name!r}; expected one of emfast.emissions"
                )
        names = [name for name, _, _ in given]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{argument}: found the name {name!r} twice; expected it once")
        return list(given)

    def _given(self, n_features: int) -> dict[str, np.ndarray]:
        emission, K = self._emission(), int(self.n_components)
        argument = f"{self._emissions_argument}_init"
        given = {}
        for group, values in (getattr(self, argument) or {}).items():
            if group not in emission.groups:
                raise ValueError(
                    f"{argument}: found {group!r}; expected names among {emission.groups}"
                )
            given[group] = emission.checked(self._argument(group), group, values, K, n_features)
        return given

    def _argument(self, group: str) -> str:
        if group in self._latent().groups:
            return f"{group}_init"
        return f"{self._emissions_argument}_init[{group!r}]"

    def _as_columns(self, drawn: list[list[np.ndarray]]) -> np.ndarray:
        blocks = []
        for block, (name, _, columns) in enumerate(self._parts()):
            rows = np.vstack([of_component[block] for of_component in drawn])
            if name in self.categories_:
                rows = decode_levels(rows, self.categories_[name])
            blocks.append((rows, columns))
        return self._assembled(blocks)

    def _assembled(self, blocks: list[tuple[np.ndarray, list[int]]]) -> np.ndarray:
        """A table of blocks of columns, each at its positions; nothing in others."""
        numbers = all(rows.dtype.kind in "biuf" for rows, _ in blocks)
        shape = (len(blocks[0][0]), self._table.n_features_in_)
        X = np.full(shape, np.nan if numbers else None, float if numbers else object)
        for rows, columns in blocks:
            X[:, columns] = rows
        return X

    def _decoded(self, column: int, values: np.ndarray) -> np.ndarray:
        """Values of a column of the emission, as the table has them."""
        ends = np.cumsum([len(columns) for _, _, columns in self._parts()])
        block = int(np.searchsorted(ends, column, side="right"))
        name = self._parts()[block][0]
        if name not in self.categories_:
            return values
        return self.categories_[name][column - ends[block]][values]

    def _attributes(self, parameters: ProductParameters) -> dict[str, Any]:
        by_name = dict(zip(self._emission().names, parameters, strict=True))
        return {f"{self._emissions_argument}_": by_name}

    def _parameters_of_attributes(self) -> ProductParameters:
        return self._float64_model.emission

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.sparse = True
        return tags


class OfOneOrSeveral(OfColumns):
    """The same, where one emission by itself describes all columns."""

    @property
    def _is_single(self) -> bool:
        """Whether one emission describes all columns."""
        return isinstance(getattr(self, self._emissions_argument), Emission)

    def _checked_emissions(self) -> list[tuple[str, Emission, Any]]:
        if not self._is_single:
            return super()._checked_emissions()
        argument, given = self._emissions_argument, getattr(self, self._emissions_argument)
        if isinstance(given, Product):
            raise ValueError(
                f"{argument}: found {given!r}; expected one of emfast.emissions but Product, or a "
                "list of (name, emission, columns)"
            )
        return [(argument, given, slice(None))]

    def _emission(self, fixed: Known = NOTHING_KNOWN) -> Emission:
        if not self._is_single:
            return super()._emission(fixed)
        emission = copy(self._parts()[0][1])
        emission.fixed = fixed
        return emission

    def _known(self) -> Known:
        if not self._is_single:
            return super()._known()
        own, told = self._parts()[0][1].fixed, super(OfColumns, self)._known()
        return Known({**own, **told})

    def _validated_rows(self, X: Any) -> Batch:
        batch = super()._validated_rows(X)
        if not self._is_single:
            return batch
        return Batch(batch.X.parts[0], missing=batch.missing[0])

    def _as_columns(self, drawn: list[Any]) -> np.ndarray:
        return super()._as_columns([[rows] for rows in drawn] if self._is_single else drawn)

    def _attributes(self, parameters: Any) -> dict[str, Any]:
        if not self._is_single:
            return super()._attributes(parameters)
        return {f"{self._emissions_argument}_": parameters}


def _block(X: Any, emission: Emission, columns: list[int]) -> Any:
    """Some columns, dense unless the emission takes sparse ones as they are."""
    block = _safe_indexing(X, np.array(columns), axis=1)
    return block.toarray() if sp.issparse(block) and not emission.takes_sparse else block


def _positions(X: Any, columns: Any, called: str) -> list[int]:
    """Positions of the columns that one emission describes."""
    if isinstance(columns, str) or np.isscalar(columns):
        columns = [columns]
    if isinstance(columns, slice) and columns == slice(None):
        return list(range(X.shape[1]))
    try:
        positions = [int(column) for column in _get_column_indices(X, columns)]
    except (ValueError, IndexError, TypeError) as error:
        raise ValueError(f"{called}: {error}") from error
    return positions
