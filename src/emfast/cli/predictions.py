"""What a fitted model says of the rows of a table, and what it draws, as columns."""

from typing import Any

import numpy as np

from emfast.cli.kinds import ANY_VALUES, MODELS, Data, sequence_lengths
from emfast.data.tables import Table
from emfast.estimators.base.hmm import BaseHMM
from emfast.estimators.classifier import MixtureClassifier

Columns = dict[str, np.ndarray]


def rows_for(model: Any, names: list[str], table: Table, sequences: str | None = None) -> Data:
    """The columns of a table that a model was fitted to, wherever they stand.

    Raises
    ------
    TableError
        A column is missing, or is not what the model takes.
    ValueError
        Sequences, and the model has none.
    """
    if sequences is not None and not isinstance(model, BaseHMM):
        raise ValueError("--sequence-column needs a hidden Markov model")
    part = table.only(names)
    takes_any = any(type(model) is MODELS[name] for name in ANY_VALUES)
    X, _ = part.values() if takes_any else part.features()
    data = Data(X, names)
    if isinstance(model, BaseHMM):
        data.fit_params["lengths"] = sequence_lengths(table, sequences)
    return data


def predicted(model: Any, data: Data, probabilities: bool, scores: bool) -> Columns:
    """A row for every row of the data.

    Parameters
    ----------
    model : fitted estimator
    data : Data
    probabilities : bool, whether to add those of components, classes or states
    scores : bool, whether to add the log-likelihoods of rows, in nats

    Raises
    ------
    ValueError
        The model has no probabilities or scores of rows.
    """
    X, params = data.X, data.fit_params
    found = _main(model, X, params)
    if probabilities:
        if not hasattr(model, "predict_proba"):
            raise ValueError(f"--proba: a {type(model).__name__} has no probabilities")
        shares = model.predict_proba(X, **params)
        classes = getattr(model, "classes_", ()) if isinstance(model, MixtureClassifier) else ()
        for k in range(shares.shape[1]):
            found[f"p_{classes[k]}" if len(classes) else f"p{k}"] = shares[:, k]
    if scores:
        if hasattr(model, "predict_components") or not hasattr(model, "score_samples"):
            raise ValueError(f"--scores: a {type(model).__name__} has no likelihood of rows alone")
        if isinstance(model, BaseHMM):
            raise ValueError("--scores: rows of a sequence have no likelihood of their own")
        found["log_likelihood"] = model.score_samples(X)
    return found


def _main(model: Any, X: np.ndarray, params: dict[str, Any]) -> Columns:
    """What a model is asked for first."""
    if isinstance(model, MixtureClassifier):
        return {"class": model.predict(X)}
    if hasattr(model, "transform"):
        factors = model.transform(X)
        return {f"factor{k}": factors[:, k] for k in range(factors.shape[1])}
    if hasattr(model, "alpha_"):
        means, deviations = model.predict(X, return_std=True)
        return {"prediction": means, "deviation": deviations}
    if hasattr(model, "predict_components"):
        return {"prediction": model.predict(X)}
    called = "state" if isinstance(model, BaseHMM) else "component"
    return _named(model, called, model.predict(X, **params))


def _named(model: Any, called: str, components: np.ndarray) -> Columns:
    """Components, and the names of those that have one."""
    found = {called: components}
    classes = getattr(model, "classes_", None)
    if classes is not None:
        names = np.append(classes.astype(object), [None])
        found["class"] = names[np.where(components < len(classes), components, len(classes))]
    return found


def sampled(
    model: Any, names: list[str], n_rows: int | None, seed: int | None, table: Table | None
) -> Columns:
    """Rows that a model draws, and which component each is from.

    Raises
    ------
    ValueError
        It draws none, or not from what is given.
    """
    if not hasattr(model, "sample"):
        raise ValueError(f"a {type(model).__name__} draws no rows")
    of_target = hasattr(model, "predict_components")
    if of_target and table is None:
        raise ValueError("--data is missing: a regression draws the target of rows")
    if not of_target and table is not None:
        raise ValueError("--data needs a regression, which draws the target of rows")
    if of_target and n_rows is not None:
        raise ValueError("--rows: a regression draws the target of each row of --data")
    inner = model.mixture_ if isinstance(model, MixtureClassifier) else model
    if seed is not None:
        inner.set_params(random_state=seed)
    if of_target:
        data = rows_for(model, names, table)
        target, components = model.sample(data.X)
        return {**_columns(data.X, names), "target": target, "component": components}
    if n_rows is None:
        raise ValueError("--rows is missing: expected how many rows to draw")
    drawn = model.sample(n_rows)
    if hasattr(model, "transform"):
        return _columns(drawn, names)
    X, components = drawn
    if isinstance(model, MixtureClassifier):
        return {**_columns(X, names), "class": components}
    called = "state" if isinstance(model, BaseHMM) else "component"
    return {**_columns(X, names), **_named(model, called, components)}


def _columns(X: np.ndarray, names: list[str]) -> Columns:
    return {name: X[:, j] for j, name in enumerate(names)}
