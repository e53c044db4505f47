"""Linear regressions as a family of rows whose last column is the target, for `families`."""

import numpy as np

import oracle
from changes import Change
from emfast import LinearRegressionMixture
from emfast.data import Batch
from emfast.emissions import LinearRegression
from emfast.emissions.regression import RegressionParameters
from emfast.inputs.labels import Labels
from emfast.inputs.rows import RowsWithTargets

# Rows of a component have to tell its coefficients; kernels for more columns have own tests.
MOST_COLUMNS = 4


class OfLastColumn(LinearRegressionMixture):
    """The last column of X is y."""

    def fit(self, X, y=None, *, labels=None, sample_weight=None):
        return super().fit(X[:, :-1], X[:, -1], labels=labels, sample_weight=sample_weight)

    def predict_proba(self, X, *, labels=None):
        return super().predict_proba(X[:, :-1], X[:, -1], labels=labels)

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)

    def score_samples(self, X, *, labels=None):
        return super().score_samples(X[:, :-1], X[:, -1], labels=labels)

    def bic(self, X):
        return super().bic(X[:, :-1], X[:, -1])

    def aic(self, X):
        return super().aic(X[:, :-1], X[:, -1])

    def score(self, X, y=None, sample_weight=None, *, labels=None):
        return float(np.average(self.score_samples(X, labels=labels), weights=sample_weight))


class RegressionFamily:
    """Regressions with features and target in one array, or in two."""

    shared = ()
    groups = ("coef", "intercept", "noise_variances")
    precisions = ("float64", "float32")
    fill = {"float64": 1e130, "float32": 9.96921e15}
    closed_form = True

    def __init__(self, storage, most_columns=MOST_COLUMNS):
        self.storage, self.most_columns = storage, most_columns
        self.name = f"regression-{storage}"

    def emission(self, *, regular=1e-3):
        return LinearRegression(reg_covar=regular)

    def of(self, named):
        C = named["coef"].shape[1]
        centre = getattr(self, "centre", None)
        centre = np.zeros(C + 1) if centre is None else centre
        return RegressionParameters(
            *(np.array(named[group]) for group in self.groups), centre, np.ones(C)
        )

    def parameters(self, rng, K, D):
        C = min(D, self.most_columns)
        return RegressionParameters(
            rng.normal(size=(K, C)) / np.sqrt(C), rng.normal(size=K), rng.uniform(0.5, 2.0, K),
            0.3 * rng.normal(size=C + 1).astype("float32").astype(float), np.ones(C),
        )  # fmt: skip

    def draw(self, rng, parameters, components):
        X = rng.normal(size=(len(components), parameters.coef.shape[1]))
        y = (X * parameters.coef[components]).sum(axis=1) + parameters.intercept[components]
        noise = rng.normal(size=len(X)) * np.sqrt(parameters.noise_variances[components])
        return np.column_stack([X, y + noise])

    def named(self, parameters):
        return {group: getattr(parameters, group) for group in self.groups}

    def alike(self, parameters):
        named = {group: values.copy() for group, values in self.named(parameters).items()}
        for values in named.values():
            values[1] = 0.97 * values[0]
        return self.of(named)

    def batch(self, X, weights=None, labels=None):
        if self.storage == "two arrays":
            X = RowsWithTargets(X[:, :-1], X[:, -1])
        return Batch(X, weights, labels or Labels())

    def under(self, parameters):
        return self

    def fitted(self, estimator):
        return {name: getattr(estimator, f"{name}_") for name in self.groups}

    def arguments(self, named):
        return {f"{name}_init": value for name, value in named.items()}

    def log_densities(self, X, parameters):
        return oracle.regression_log_densities(X, *self.named(parameters).values())

    def statistics(self, statistics):
        names = ("design", "residuals", "squares")
        return {name: getattr(statistics, name) for name in names}

    def origin(self, statistics):
        """Centre, levels and coefficients that residuals are about: (K, 2 D + 2)."""
        K = len(statistics.coef)
        return np.column_stack(
            [np.tile(statistics.centre, (K, 1)), statistics.levels, statistics.coef]
        )

    def true_statistics(self, X, r, origin):
        return oracle.regression_sums(X, r, origin, np.asarray)

    def magnitudes(self, X, r, origin):
        return oracle.regression_sums(X, r, origin, np.abs)

    def estimate(self, X, r, *, regular=1e-3):
        return oracle.regression_estimate(X, r, regular)

    def estimator(self, K, *, regular=1e-3, **arguments):
        return OfLastColumn(K, reg_covar=regular, **arguments)

    def fall(self, parameters, weights, regular):
        return 0.5 * regular * float(np.dot(weights, 1 / parameters.noise_variances))

    def changes(self, rng, D):
        C = min(D, self.most_columns) + 1
        yield self._change("shift", np.full(C, 1e8), np.ones(C), ("float64",))
        yield self._change(
            "scale", np.zeros(C), 10.0 ** rng.choice([-6.0, 6.0], C), self.precisions
        )

    def _change(self, name, shift, scales, precisions):
        ratios = scales[-1] / scales[:-1]

        def rows(X):
            return (X * scales + shift).astype(X.dtype)

        def parameters(named):
            coef = named["coef"] * ratios
            return {
                "coef": coef,
                "intercept": scales[-1] * named["intercept"] + shift[-1] - coef @ shift[:-1],
                "noise_variances": scales[-1] ** 2 * named["noise_variances"],
            }

        def back(named):
            intercept = named["intercept"] - shift[-1] + named["coef"] @ shift[:-1]
            return {
                "coef": named["coef"] / ratios,
                "intercept": intercept / scales[-1],
                "noise_variances": named["noise_variances"] / scales[-1] ** 2,
            }

        return Change(
            name, rows, parameters, back, lambda X: -float(np.log(scales[-1])), precisions
        )
