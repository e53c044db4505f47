"""One iteration of EM for every family in plain NumPy, with all that may be known of it.

Labels, weights of rows, known parameters and priors, one by one or together; nothing is shared with
the package.
"""

import numpy as np

import oracle
from families import (
    BernoulliFamily,
    BinomialFamily,
    CategoricalFamily,
    ExponentialFamily,
    GaussianFamily,
    PoissonFamily,
    ProductFamily,
)
from regressions import RegressionFamily

# What the priors below are made of.
POINT, STRENGTH, EXTRA_DEGREES = 0.5, 2.0, 4.0
BETA, GAMMA, CONCENTRATION = (2.0, 3.0), (3.0, 0.5), 2.5
OF_WEIGHTS = 3.0
NOISE_SCALE = 1.5


def scale_of(covariance_type, D):
    """The scale of a covariance, as the prior takes it."""
    if covariance_type in ("full", "tied"):
        return np.diag(1.0 + np.arange(D)) + 0.5
    return 1.5 + np.arange(D) if covariance_type == "diag" else 2.5


def prior_of(family, D):
    """A prior for the emission of a family with D features, as its estimator takes it."""
    if isinstance(family, GaussianFamily):
        return {
            "mean_prior": np.full(D, POINT),
            "mean_precision_prior": STRENGTH,
            "covariance_prior": scale_of(family.covariance_type, D),
            "degrees_of_freedom_prior": D + EXTRA_DEGREES,
        }
    if isinstance(family, RegressionFamily):
        return {
            "coef_precision_prior": STRENGTH,
            "noise_variance_prior": NOISE_SCALE,
            "degrees_of_freedom_prior": EXTRA_DEGREES,
        }
    if isinstance(family, BernoulliFamily | BinomialFamily):
        return {"probabilities_prior": BETA}
    if isinstance(family, PoissonFamily | ExponentialFamily):
        return {"rates_prior": GAMMA}
    if isinstance(family, CategoricalFamily):
        return {"probabilities_prior": CONCENTRATION}
    widths = {name: len(columns) for name, columns in family.columns(D).items()}
    return {
        f"{name}.{key}": value
        for name, width in widths.items()
        for key, value in prior_of(OF_KIND[name], width).items()
    }


class ThreeLevels(CategoricalFamily):
    """As in products."""

    def levels(self, D):
        return np.full(D, 3)


OF_KIND = {
    "numbers": GaussianFamily("diag"),
    "answers": BernoulliFamily("number"),
    "levels": ThreeLevels(),
    "counts": PoissonFamily("number"),
}


def responsibilities(r, assignment, dtype):
    """What the E-step makes of them, and whether rounding cannot give a row to another component.

    Draws are those of the first iteration with seed 0.
    """
    if assignment == "soft":
        return r, np.ones(len(r), bool)
    if assignment == "hard":
        z, gaps = r.argmax(axis=1), np.sort(r, axis=1)
        clear = gaps[:, -1] > 1.01 * gaps[:, -2]
    else:
        z, clear = oracle.drawn(r, 0, 0, dtype)
    return (z[:, None] == np.arange(r.shape[1])).astype(float), clear


def maximised(family, X, r, named, *, known=None, prior=False, regular=0.0):
    """The parameters after an M-step from `named`, in human units.

    Parameters
    ----------
    X : ndarray of shape (n, D)
    r : ndarray of shape (n, K), weighted responsibilities
    named : dict, the parameters before, the weights among them
    known : dict of str to bool arrays of shape (K,), what stays; nothing by default
    prior : bool, whether there is the prior of `prior_of`, and one of the weights
    """
    known = {group: np.asarray(which) for group, which in (known or {}).items()}
    emission = {name: value for name, value in named.items() if name != "weights"}
    if isinstance(family, ProductFamily):
        after = {}
        for name, columns in family.columns(X.shape[1]).items():
            own = of_part(emission, name)
            moved = _of_family(
                OF_KIND[name], X[:, columns], r, own, of_part(known, name), prior, regular
            )
            after |= {f"{name}.{group}": value for group, value in moved.items()}
    else:
        after = _of_family(family, X, r, emission, known, prior, regular)
    return {**after, "weights": _weights(r, named["weights"], known.get("weights"), prior)}


def of_part(named, name):
    own = (key.split(".") for key in named if key.startswith(f"{name}."))
    return {group: named[f"{part}.{group}"] for part, group in own}


def _weights(r, before, known, prior):
    counts = r.sum(axis=0) + prior * (OF_WEIGHTS - 1)
    if known is None:
        return counts / counts.sum()
    free = np.where(known, 0, counts)
    return np.where(known, before, (1 - before[known].sum()) * free / free.sum())


def kept(estimate, before, known):
    """`estimate`, but what was before for components that are known."""
    if known is None:
        return estimate
    return np.where(known.reshape(-1, *[1] * (estimate.ndim - 1)), before, estimate)


def _of_family(family, X, r, before, known, prior, regular):
    X = np.asarray(X, np.float64)
    if isinstance(family, GaussianFamily):
        return _gaussian(family, X, r, before, known, prior, regular)
    if isinstance(family, RegressionFamily):
        return _regression(X, r, before, known, prior, regular)
    there = ~np.isnan(X)
    sums = oracle.weighted_sums(np.where(there, X, 0), r)
    rows = oracle.weighted_sums(there, r)
    if isinstance(family, CategoricalFamily):
        levels = family.levels(X.shape[1])
        hits = np.hstack([X[:, [d]] == np.arange(n) for d, n in enumerate(levels)])
        counts = oracle.weighted_sums(hits, r) + prior * (CONCENTRATION - 1)
        estimate, group = oracle.normalised_by_feature(counts, levels), "probabilities"
    elif isinstance(family, BernoulliFamily | BinomialFamily):
        trials = rows * getattr(family, "n_trials", 1)
        a, b = np.array(BETA) - 1
        estimate, group = (sums + prior * a) / (trials + prior * (a + b)), "probabilities"
    else:
        a, b = GAMMA[0] - 1, GAMMA[1]
        if isinstance(family, ExponentialFamily):
            sums, rows = rows, sums
        estimate, group = (sums + prior * a) / (rows + prior * b), "rates"
    return {group: kept(estimate, before[group], known.get(group))}


def _gaussian(family, X, r, before, known, prior, regular):
    """Fraley and Raftery (2007), tables 1 and 2, beside means that may be known.

    Where features are independent, sums are over the rows that have them; else what is expected of
    missing entries stands in for them.
    """
    kind, (K, D) = family.covariance_type, before["means"].shape
    independent = kind in ("diag", "spherical")
    covariances = before["covariances"]

    def moments(origins):
        if independent:
            first, second, rows = oracle.known_moments(X, r, origins)
            return first, np.stack([np.diag(each) for each in second]), rows
        first, second = oracle.expected_moments(X, r, origins, before["means"], covariances, kind)
        return first, second, np.broadcast_to(r.sum(axis=0)[:, None], (K, D))

    strength = prior * STRENGTH
    first, _, rows = moments(np.zeros((K, D)))
    means = kept((first + strength * POINT) / (rows + strength), before["means"],
                 known.get("means"))  # fmt: skip
    scatter = moments(means)[1]
    moved = POINT - means
    scatter = scatter + strength * moved[:, :, None] * moved[:, None, :]
    scale = np.zeros((D, D))
    if prior:
        scale = scale_of(kind, D)
        scale = scale if np.ndim(scale) == 2 else np.diag(np.broadcast_to(scale, D))
    degrees = prior * (D + EXTRA_DEGREES)
    if kind == "full":
        counts = r.sum(axis=0) + degrees + prior * (D + 2)
        estimate = (scatter + scale) / counts[:, None, None] + regular * np.eye(D)
    elif kind == "tied":
        counts = r.sum() + degrees + prior * (K + D + 1)
        estimate = (scatter.sum(axis=0) + scale) / counts + regular * np.eye(D)
    elif kind == "diag":
        variances = np.diagonal(scatter + scale, axis1=1, axis2=2)
        estimate = variances / (rows + degrees + 3 * prior) + regular
    else:
        traces = np.trace(scatter, axis1=1, axis2=2) + prior * scale[0, 0]
        estimate = traces / (rows.sum(axis=1) + degrees + prior * (D + 2)) + regular
    if kind == "tied":
        whole = known.get("covariances")
        return {"means": means, "covariances": covariances if whole is not None else estimate}
    return {"means": means, "covariances": kept(estimate, covariances, known.get("covariances"))}


def _regression(X, r, before, known, prior, regular):
    """Ridge regression of every component by its normal equations, less what is known."""
    after = {name: np.array(values) for name, values in before.items()}
    strength = prior * STRENGTH
    for k in range(r.shape[1]):
        free = {name: not known.get(name, np.zeros(r.shape[1], bool))[k] for name in before}
        C = X.shape[1] - 1
        design, y = np.column_stack([X[:, :-1], np.ones(len(X))]), X[:, -1]
        line = np.append(after["coef"][k], after["intercept"][k])
        columns = np.array([free["coef"]] * C + [free["intercept"]])
        rest = y - design[:, ~columns] @ line[~columns]
        own = design[:, columns]
        ridge = strength * np.diag(np.arange(C + 1) < C)[np.ix_(columns, columns)]
        line[columns] = np.linalg.solve((own.T * r[:, k]) @ own + ridge, (own.T * r[:, k]) @ rest)
        after["coef"][k], after["intercept"][k] = line[:C], line[C]
        squares = r[:, k] @ (y - design @ line) ** 2
        squares += strength * line[:C] @ line[:C] + prior * NOISE_SCALE
        counts = r[:, k].sum() + prior * (C + 2 + EXTRA_DEGREES)
        if free["noise_variances"]:
            after["noise_variances"][k] = squares / counts + regular
    return after
