"""What a mixture says of some of its features: imputation, marginals and conditionals."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
from scipy.special import softmax
from sklearn.base import clone

from emfast.annotations import Columns, Rows, Values
from emfast.data import Batch
from emfast.estimators.base.inference import FittedMixture
from emfast.inputs.columns import column_positions, column_values
from emfast.inputs.filling import filled, settable
from emfast.inputs.labels import Labels
from emfast.inputs.rows import take
from emfast.inputs.validation import Block, column_called
from emfast.passes import Model, conditional_means
from emfast.threads import resolve_threads


class MixtureOfFeatures(FittedMixture):
    """The methods of a mixture that are about some of the columns of X."""

    def impute(self, X: Rows, *, labels: Values | None = None) -> Any:
        """X with an estimate of every missing entry.

        Given what is known of a row, numbers and counts get their mean under the fitted model, the
        estimate of least mean square error: that of the components' conditional means, weighted by
        the responsibilities. Binary and categorical features get the level of the highest
        probability under the fitted model, the first of several; the estimate that is most often
        right.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN, None or NA where an entry is missing.
        labels : see `score_samples`

        Returns
        -------
        array, sparse array or table, as X is, of shape (n_samples, n_features)
            A copy of X. Real numbers are float32 in arrays if X is and else float64; columns of a
            table keep their types, except that columns of integers with missing counts become
            real. What is not missing is as it was.

        Raises
        ------
        ValueError
            A row has zero likelihood under every component that its label allows.
        """
        batch = self._batch(X, labels)
        return filled(self._settable(X, batch), self._fills(batch))

    def _settable(self, X: Any, batch: Batch) -> Any:
        """X as an array or a table, with what is missing still missing."""
        return settable(X, batch.X)

    def _fills(self, batch: Batch) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """By column of X the rows in which it is missing, and the values that it gets there."""
        found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        for column, rows, values in self._estimates(batch):
            found.setdefault(column, []).append((rows, values))
        described = self._described_columns()
        return {
            int(described[column]): (
                np.concatenate([rows for rows, _ in parts]),
                self._decoded(column, np.concatenate([values for _, values in parts])),
            )
            for column, parts in found.items()
        }

    def _estimates(self, batch: Batch) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Columns of the emission with rows and estimates, for some of the rows at a time."""
        emission = self._emission()
        for chunk, rows in self._chunks(batch.X) if np.any(batch.missing) else ():
            at = np.flatnonzero(emission.incomplete_rows(rows))
            if at.size:
                labels = batch.labels.take(chunk.start + at)
                part = replace(batch, X=take(rows, at), labels=labels)
                for column, which, values in self._estimates_of_incomplete(part):
                    yield column, chunk.start + at[which], values

    def _estimates_of_incomplete(
        self, batch: Batch
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        model, K = self._model(), len(self.weights_)
        shares = self._responsibilities(batch)
        own = shares[:, :K]
        if self._has_noise:
            total = own.sum(axis=1, keepdims=True)
            own = np.where(total > 0, own, model.latent[:K].astype(own.dtype))
            own = own / own.sum(axis=1, keepdims=True)
        compiled = partial(conditional_means, n_threads=resolve_threads(self.n_threads))
        for column, rows, values in self._emission().estimated(
            model.emission, batch.X, own, compiled
        ):
            if self._has_noise:
                middle = self.noise_bounds_[:, column].mean()
                values = total[rows, 0] * values + shares[rows, K] * middle
            yield column, rows, values

    def _decoded(self, column: int, values: np.ndarray) -> np.ndarray:
        """Estimates of a column of the emission, as X has them."""
        return values

    def marginal(self, columns: Columns) -> Self:
        """The mixture of some of the features, whatever the others are.

        Parameters
        ----------
        columns : str, int, sequence of them, slice, or boolean mask of shape (n_features,)
            Names or positions of the features, in the order they are to have.

        Returns
        -------
        a mixture of the same class
            Fitted, with the same arguments but those that are about features: no starting values,
            nothing fixed, no prior.
        """
        model = self._model()
        positions = column_positions("columns", columns, self._n_columns(), self._feature_names())
        own = self._own_columns("columns", positions)
        parameters = self._emission().marginal(model.emission, own)
        return self._of_columns(Model(model.latent, parameters), own)

    def conditional(self, given: Mapping[Any, Any]) -> Self:
        """The mixture of the other features, where some have known values.

        Each component has its conditional distribution, and the responsibility it has for the known
        values as its weight (Bishop, Pattern Recognition and Machine Learning, 2006, eqs. 2.73,
        2.75 and exercise 9.10).

        Parameters
        ----------
        given : mapping of column to value
            Columns by name or position; values as X has them.

        Returns
        -------
        a mixture of the same class
            Fitted, of the features that are not `given`, in their order, with the same arguments
            but those that are about features: no starting values, nothing fixed, no prior.

        Raises
        ------
        ValueError, TypeError
            There are no such columns or values, there is no other column, or no component can have
            these values together.

        Examples
        --------
        >>> import numpy as np
        >>> from emfast import GaussianMixture
        >>> X = np.array([[0.0, 0.1], [1.0, 0.9], [2.0, 2.1], [3.0, 2.9]])
        >>> mixture = GaussianMixture().fit(X)
        >>> mixture.conditional({0: 2.5}).means_.round(2).tolist()
        [[2.46]]
        """
        model, emission = self._model(), self._emission()
        positions, batch = self._known_row(given)
        known = np.zeros(emission.shape(model.emission)[1], bool)
        known[self._own_columns("given", positions)] = True
        if known.all():
            raise ValueError("given: found values of every column; expected at least one without")
        log_joint = self._log_joint(batch)
        if np.all(log_joint == -np.inf):
            raise ValueError(
                f"given: found {given!r}, which has density 0 under every component; expected "
                "values that some component can have together"
            )
        parameters = emission.conditional(model.emission, known, batch.X)
        others = np.flatnonzero(~known)
        others = others[np.argsort(self._described_columns()[others])]
        return self._of_columns(Model(softmax(log_joint), parameters), others)

    def _log_joint(self, batch: Batch) -> np.ndarray:
        """log p(z) p(x | z) of one row and every z; none is too small to matter."""
        model = self._model()
        K = len(model.latent)
        labels = Labels(component=np.arange(K, dtype=np.int32))
        rows = replace(batch, X=take(batch.X, np.zeros(K, np.intp)), labels=labels)
        log_joint = self._pass(rows, ["log_likelihoods"])["log_likelihoods"]
        zero = self._emission().impossible_rows(batch.X, model.emission)
        return log_joint if zero is None else np.where(zero[0], -np.inf, log_joint)

    def _known_row(self, given: Any) -> tuple[np.ndarray, Batch]:
        """Positions of the columns that are given, and a row in which all others are missing."""
        n_columns, names = self._n_columns(), self._feature_names()
        positions, values = column_values("given", given, n_columns, names)
        row = np.full((1, n_columns), None, object)
        row[0, positions] = values
        try:
            return positions, self._validated_rows(row)
        except (TypeError, ValueError) as error:
            # There are no rows in what was given.
            said = str(error).replace("X: ", "given: ", 1)
            said = said.replace(", row 0", "").replace("row 0, ", "")
            raise type(error)(said) from error

    def _validated_rows(self, X: np.ndarray) -> Batch:
        """Rows of objects as the kernels take them."""
        columns = Block(self, range(X.shape[1]))
        rows, missing = self._emission().validated(columns, X, reset=True)
        return Batch(rows, missing=missing)

    def _feature_names(self) -> np.ndarray | None:
        return getattr(self, "feature_names_in_", None)

    def _n_columns(self) -> int:
        """How many columns X has."""
        return self._emission().shape(self._model().emission)[1]

    def _described_columns(self) -> np.ndarray:
        """The positions in X of the columns of the emission."""
        return np.arange(self._n_columns())

    def _own_columns(self, argument: str, positions: np.ndarray) -> np.ndarray:
        """The columns of the emission that are at these positions in X."""
        of_position = np.full(self._n_columns(), -1)
        described = self._described_columns()
        of_position[described] = np.arange(len(described))
        own = of_position[positions]
        if (own < 0).any():
            called = column_called(self, int(positions[own < 0][0]))
            raise ValueError(
                f"{argument}: found {called}, which no emission describes; expected columns of "
                "some emission"
            )
        return own

    def _of_columns(self, model: Model, own: np.ndarray) -> "MixtureOfFeatures":
        """A mixture of some columns of the emission."""
        mixture = clone(self)
        mixture.n_features_in_ = len(own)
        if self._feature_names() is not None:
            mixture.feature_names_in_ = self._feature_names()[self._described_columns()[own]]
        if hasattr(self, "classes_"):
            mixture.classes_ = self.classes_
        if self._has_noise:
            mixture.noise_bounds_ = self.noise_bounds_[:, own]
        for name in mixture.get_params(deep=False):
            values_of_features = name.endswith("_init") and name != "n_init"
            if values_of_features or name in ("fixed", "prior"):
                setattr(mixture, name, None)
        self._tell_of_columns(mixture, own)
        mixture._set_model(model, self.weights_.dtype)
        return mixture

    def _tell_of_columns(self, mixture: "MixtureOfFeatures", own: np.ndarray) -> None:
        """Give a mixture of some columns the arguments, and what was learned, of these."""
