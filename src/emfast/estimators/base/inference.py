"""What people ask of a fitted mixture: scores, responsibilities, criteria, samples."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from numbers import Integral
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from emfast.annotations import Array, PathName, Rows, Values
from emfast.data import (
    Batch,
    covariates_of,
    lazy_with_dask,
    observe,
    read_ahead,
    summed_with_dask,
)
from emfast.estimators.base.criteria import InformationCriteria
from emfast.estimators.base.fitted import FittedModel
from emfast.inputs.arguments import check_sample_weight
from emfast.inputs.columns import columns_apart
from emfast.inputs.labels import Labels
from emfast.latent import MixtureWeights
from emfast.parts.known import NOTHING_KNOWN, Known


class RowPosteriors(FittedModel, InformationCriteria):
    """What a fitted model says of every row, and of all of them together."""

    @abstractmethod
    def _prior_weights(self, covariates: np.ndarray | None) -> np.ndarray:
        """How probable components are before a row is seen: (n_components,), or for every row."""

    def _posterior(self, batch: Batch, *wanted: str) -> list[np.ndarray]:
        """The outputs of `problem.posterior` that are named, for every row.

        Kernels keep log-probabilities finite, so a component that cannot have produced a row is
        excluded here; a row that none can have produced has likelihood 0, and as responsibilities
        the probabilities that components have without it.
        """
        emission, model = self._emission(), self._model()
        needed = wanted if batch.labels.nothing_known else {*wanted, "log_likelihoods"}
        out = self._pass(batch, needed)
        for chunk, rows in self._chunks(batch.X):
            zero = emission.impossible_rows(rows, model.emission)
            if zero is None:
                break
            weights = self._prior_weights(covariates_of(batch, chunk))
            possible = ~zero & (weights > 0) & batch.labels.allows(chunk, zero.shape)
            affected = np.flatnonzero(zero.any(axis=1) & possible.any(axis=1))
            if affected.size:
                allowed = np.ascontiguousarray(possible[affected]).view(np.uint8)
                part = replace(
                    batch,
                    X=rows[affected],
                    labels=Labels(allowed=allowed),
                    covariates=covariates_of(batch, chunk.start + affected),
                )
                for name, values in self._pass(part, needed).items():
                    out[name][chunk][affected] = values
            self._no_component(out, batch, chunk.start + np.flatnonzero(~possible.any(axis=1)))
        if "log_likelihoods" in needed:
            nowhere = out["log_likelihoods"] == -np.inf
            self._no_component(out, batch, np.flatnonzero(nowhere))
            _refuse_contradictions(batch, nowhere)
        return [out[name] for name in wanted]

    def _no_component(self, out: dict[str, np.ndarray], batch: Batch, rows: np.ndarray) -> None:
        """What is said of rows that no component can have produced."""
        if not rows.size:
            return
        weights = self._prior_weights(covariates_of(batch, rows))
        for name, value in (
            ("responsibilities", weights),
            ("assignments", weights.argmax(axis=-1)),
            ("log_likelihoods", -np.inf),
        ):
            if name in out:
                out[name][rows] = value

    def _responsibilities(self, batch: Batch) -> np.ndarray:
        # With the likelihoods, which tell the rows that underflow under every component.
        return self._posterior(batch, "responsibilities", "log_likelihoods")[0]

    def _log_likelihoods(self, batch: Batch) -> np.ndarray:
        return self._posterior(batch, "log_likelihoods")[0]

    def _weighted(self, batch: Batch, sample_weight: Any) -> Batch:
        return replace(batch, weights=check_sample_weight(sample_weight, batch.n_rows))


class FittedMixture(DensityMixin, RowPosteriors):
    """The methods of a mixture that need no fitting, once it has its parameters."""

    # Whether there is a component more, which is uniform; some mixtures take it as an argument.
    noise: bool | float = False

    weights_: Array
    noise_weight_: float
    noise_bounds_: Array

    def _latent(self, fixed: Known = NOTHING_KNOWN, assignment: str = "soft") -> MixtureWeights:
        noise = getattr(self, "noise_bounds_", None) if self._has_noise else None
        return MixtureWeights(fixed=fixed, assignment=assignment, noise=noise)

    @property
    def _has_noise(self) -> bool:
        return not isinstance(self.noise, bool | np.bool_) or bool(self.noise)

    def _kind(self) -> str:
        return super()._kind() + (" with noise" if self._has_noise else "")

    def _prior_weights(self, covariates: np.ndarray | None) -> np.ndarray:
        return self._model().latent

    def _latent_attributes(self, weights: np.ndarray) -> dict[str, Any]:
        if not self._has_noise:
            return {"weights_": weights}
        return {"weights_": weights[:-1], "noise_weight_": float(weights[-1])}

    def _latent_of_attributes(self) -> np.ndarray:
        weights = np.asarray(self.weights_, np.float64)
        return np.append(weights, self.noise_weight_) if self._has_noise else weights

    def _as_columns(self, drawn: list[Any]) -> np.ndarray:
        """What was drawn from each component, as rows of X."""
        return np.vstack(drawn)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_")

    def _batch(self, X: Any, labels: Any) -> Batch:
        """Rows that the fitted model can be asked about, with what is known of them."""
        batch = self._rows(X)
        known = self._labels_of(labels, batch.n_rows, self._names_of_components())
        return replace(batch, labels=known)

    def _batches(self, X: Any, labels: Any = None, sample_weight: Any = None) -> Iterator[Batch]:
        """The rows of X, in one batch where they are in memory, with what is known of them."""
        check_is_fitted(self)
        observer = observe(self, X, labels, sample_weight, self._names_of_components())
        if observer is None:
            X, labels, sample_weight = columns_apart(X, labels=labels, sample_weight=sample_weight)
            return iter([self._weighted(self._batch(X, labels), sample_weight)])
        return read_ahead(observer.batches())

    def _with_noise_as_none(self, assignments: np.ndarray) -> np.ndarray:
        """Components of rows, with -1 for those of noise."""
        if self._has_noise:
            assignments[assignments == len(self.weights_)] = -1
        return assignments

    # What people ask of it

    @overload
    def score_samples(
        self, X: Rows, *, labels: Values | None = None, out: None = None
    ) -> NDArray[np.float64]: ...
    @overload
    def score_samples(
        self, X: Rows, *, labels: Values | None = None, out: PathName
    ) -> PathName: ...
    @lazy_with_dask(np.float64, names="log_likelihood")
    def score_samples(
        self, X: Rows, *, labels: Values | None = None, out: PathName | None = None
    ) -> NDArray[np.float64] | PathName:
        """Log-likelihood of every row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        labels : array-like of shape (n_samples,) or (n_samples, n_components), optional
            What is known of each row's component, as in `fit`; names are those in ``classes_``.
        out : path-like, optional
            A file to write instead, row by row as they come, so that neither rows nor answers need
            to fit into memory. It ends in .npy, .parquet, .arrow (.feather) or .csv, and appears as
            a whole or not at all: see `docs/large-data.md`.

        Returns
        -------
        ndarray of shape (n_samples,); a lazy Dask array for rows of Dask; or `out`, whose column is
            "log_likelihood"
            log p(x) in nats, joint with the label where there is one: the log of the sum of
            p(z) p(x | z) over the components z that it allows. -inf for a row without label that no
            component can produce.

        Raises
        ------
        ValueError
            A row has zero likelihood under every component that its label allows; `out` ends in
            something else, or names a file of `X`.
        OSError
            The file cannot be written.
        """
        return self._answered(self._log_likelihoods, out, "log_likelihood", X, labels)

    def score(
        self,
        X: Rows,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        labels: Values | None = None,
    ) -> float:
        """Mean log-likelihood of the rows, in nats; joint with the label for labelled rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional
        labels : see `score_samples`

        Returns
        -------
        float
        """
        total, weight = self._total(X, labels, sample_weight)
        return total / weight

    @summed_with_dask
    def _total(self, X: Any, labels: Any = None, sample_weight: Any = None) -> tuple[float, float]:
        return self._totals(self._batches(X, labels, sample_weight))

    @overload
    def predict_proba(
        self, X: Rows, *, labels: Values | None = None, out: None = None
    ) -> Array: ...
    @overload
    def predict_proba(
        self, X: Rows, *, labels: Values | None = None, out: PathName
    ) -> PathName: ...
    @lazy_with_dask(width=lambda self: len(self.weights_) + self._has_noise, names="p")
    def predict_proba(
        self, X: Rows, *, labels: Values | None = None, out: PathName | None = None
    ) -> Array | PathName:
        """Responsibilities: the probability of every component given the row, and its label.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        labels, out : see `score_samples`

        Returns
        -------
        ndarray of shape (n_samples, n_components), or one column more, the last, for noise
            Or `out`, whose columns are "p0", "p1", ...; a lazy Dask array for rows of Dask.
            Rows sum to 1; components that a label excludes have 0. A row without label that no
            component can produce has the mixture's weights.

        Raises
        ------
        ValueError
            A row has zero likelihood under every component that its label allows.
        """
        return self._answered(self._responsibilities, out, "p", X, labels)

    @overload
    def predict(self, X: Rows, *, out: None = None) -> Array: ...
    @overload
    def predict(self, X: Rows, *, out: PathName) -> PathName: ...
    def predict(self, X: Rows, *, out: PathName | None = None) -> Array | PathName:
        """The most probable component of every row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        out : see `score_samples`

        Returns
        -------
        ndarray of shape (n_samples,), int; a lazy Dask array for rows of Dask; or `out`, whose
            column is "component"
            -1 where noise is more probable than any component.
        """
        return self._predicted(X, out=out)

    @lazy_with_dask(np.intp, names="component")
    def _predicted(
        self, X: Any, labels: Any = None, sample_weight: Any = None, *, out: Any = None
    ) -> Any:
        return self._answered(self._assignments, out, "component", X, labels, sample_weight)

    def _assignments(self, batch: Batch) -> np.ndarray:
        """The most probable component of every row, of those that its label allows."""
        found = self._posterior(batch, "assignments", "log_likelihoods")[0]
        return self._with_noise_as_none(found)

    def sample(self, n_samples: int = 1) -> tuple[Array, Array]:
        """Draw rows from the fitted mixture, component after component.

        Parameters
        ----------
        n_samples : int, default=1

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,), int, the component of every row, -1 for noise
        """
        model = self._model()
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples: found {n_samples!r}; expected an integer of at least 1")
        random_state = check_random_state(self.random_state)
        counts = random_state.multinomial(n_samples, model.latent / model.latent.sum())
        emission = self._emission()
        components = np.arange(len(counts))
        drawn = [
            emission.draw(model.emission, k, counts[k], random_state)
            for k in components[: len(self.weights_)]
        ]
        if self._has_noise:
            low, high = self.noise_bounds_
            drawn.append(low + (high - low) * random_state.random_sample((counts[-1], len(low))))
        return self._as_columns(drawn), self._with_noise_as_none(np.repeat(components, counts))

    def bic(self, X: Rows, *, sample_weight: ArrayLike | None = None) -> float:
        """Bayesian information criterion, the lower the better.

        -2 log-likelihood + p log n with p free parameters and n the sum of weights (Schwarz, 1978).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        return self._bic_of(*self._total(X, None, sample_weight))

    def aic(self, X: Rows, *, sample_weight: ArrayLike | None = None) -> float:
        """Akaike information criterion, the lower the better: -2 log-likelihood + 2 p.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        return self._aic_of(*self._total(X, None, sample_weight))

    def icl(self, X: Rows, *, sample_weight: ArrayLike | None = None) -> float:
        """Integrated completed likelihood, the lower the better.

        BIC - 2 sum of the log-responsibilities of the most probable components: a penalty for rows
        that lie between components (Biernacki, Celeux and Govaert, 2000).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        (certainty,) = self._certainty(X, sample_weight)
        return self.bic(X, sample_weight=sample_weight) - 2 * certainty

    @summed_with_dask
    def _certainty(self, X: Any, sample_weight: Any) -> tuple[float]:
        """Weighted sum of the log-responsibilities of the most probable components."""
        certainty = 0.0
        for batch in self._batches(X, None, sample_weight):
            for chunk, rows in self._chunks(batch.X):
                shares = self._responsibilities(replace(batch, X=rows, weights=None))
                largest = np.log(shares.max(axis=1), dtype=np.float64)
                weights = np.ones(len(largest)) if batch.weights is None else batch.weights[chunk]
                certainty += float(largest @ weights)
        return (certainty,)


def _refuse_contradictions(batch: Batch, nowhere: np.ndarray) -> None:
    """Raise where a row of positive weight and its label exclude each other."""
    if batch.labels.nothing_known:
        return
    contradictory = nowhere & batch.labels.restricts(batch.n_rows)
    if batch.weights is not None:
        contradictory &= batch.weights > 0
    if contradictory.any():
        row = batch.number(contradictory.argmax())
        raise ValueError(
            f"labels: row {row} has zero likelihood under every component that its label allows"
        )
