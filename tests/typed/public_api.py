"""What a user's program may look like; `mypy --strict` must accept it, and it must run."""

import os
import tempfile
from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import emcore
import emfast
from emfast import (
    HMM,
    BayesianLinearRegression,
    BernoulliMixture,
    BinomialMixture,
    CategoricalMixture,
    Elbo,
    ExponentialMixture,
    FactorAnalysis,
    GaussianHMM,
    GaussianMixture,
    LinearRegressionMixture,
    Mixture,
    MixtureClassifier,
    MixtureOfExperts,
    PoissonMixture,
    elbo,
    em,
    select,
    show_versions,
    theory,
)
from emfast.datasets import load_faithful, make_cars_and_trucks, make_gaussian_mixture
from emfast.emissions import Categorical, Exponential, Gaussian

Array = NDArray[Any]


def gaussian_mixture() -> GaussianMixture:
    X = load_faithful().data
    model = GaussianMixture(2, covariance_type="tied", n_init=2, random_state=0, prior=None)
    model = assert_type(model.fit(X, sample_weight=np.ones(len(X))), GaussianMixture)
    assert_type(model.predict(X), Array)
    assert_type(model.predict_proba(X), Array)
    assert_type(model.score_samples(X), NDArray[np.float64])
    assert_type(model.score(X), float)
    assert_type(model.bic(X) + model.aic(X) + model.icl(X), float)
    assert_type(model.sample(3), tuple[Array, Array])
    assert_type(model.means_, Array)
    assert_type(model.converged_, bool)
    assert_type(model.n_iter_, int)
    assert_type([restart.seed for restart in model.restarts_], list[int])
    assert_type(model.marginal([0]), GaussianMixture)
    seen: list[em.Iteration] = []
    model.set_params(progress=False, callback=seen.append).fit(X)
    assert_type(seen[0].remaining_gain, float | None)
    _, table = select(model, X, {"n_components": range(1, 3)}, criterion="icl")
    assert_type([each.bic for each in table], list[float | None])
    GaussianMixture(2, callback=lambda iteration: iteration.number > 3, progress=True, verbose=1)
    assert_type(model.conditional({0: 2.0}), GaussianMixture)
    return model


def rows_that_are_not_in_memory() -> None:
    X = load_faithful().data

    def batches() -> list[Array]:
        return [X[:100], X[100:]]

    with tempfile.TemporaryDirectory() as folder, emfast.cached(batches) as rows:
        model = GaussianMixture(2, random_state=0).fit(rows).fit(batches)
        path = Path(folder) / "found.npy"
        written: str | os.PathLike[str] = model.predict(batches, out=path)
        model.score_samples(rows, out=written)
        np.save(path, X)
        regression = BayesianLinearRegression().fit(X[:, :1], X[:, 1])
        assert_type(regression.predict(X[:, :1]), Array)
        assert_type(regression.predict(X[:, :1], return_std=True), tuple[Array, Array])
        assert_type(FactorAnalysis().fit(path).transform(path), Array)


def labels_and_known_parameters() -> None:
    X, labels = make_cars_and_trucks(random_state=0)
    model = GaussianMixture(2, weights_init=[0.6, 0.4], fixed=("weights",), noise=False)
    assert_type(model.fit_predict(X, labels=labels), Array)
    assert_type(model.classes_, Array)
    rows, components = make_gaussian_mixture(200, 2, 2, random_state=0, dtype=np.float32)
    classifier = MixtureClassifier(
        GaussianMixture(random_state=0), components_per_class={0: 1, 1: 2}
    )
    classifier = assert_type(classifier.fit(rows, components), MixtureClassifier)
    assert_type(classifier.score(rows, components), float)
    assert_type(classifier.predict_log_proba(rows), Array)


def discrete_mixtures() -> None:
    bits = [[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert_type(BernoulliMixture(2, random_state=0).fit(bits).probabilities_, Array)
    counts = BinomialMixture(2, random_state=0).fit([[5], [9], [8]], n_trials=[10, 10, 10])
    assert_type(counts.predict([[5]], n_trials=[10]), Array)
    assert_type(PoissonMixture(2, random_state=0).fit([[1], [2], [9]]).rates_, Array)
    assert_type(ExponentialMixture(2, random_state=0).fit([[0.1], [0.2], [9]]).rates_, Array)
    words = CategoricalMixture(2, random_state=0).fit([["red"], ["red"], ["blue"], [None]])
    assert_type(words.categories_, list[Array])


def columns_of_several_kinds() -> None:
    X = np.array([[4.1, 0], [4.0, 0], [9.9, 1], [9.6, 1]])
    mixture = Mixture(2, [("size", Gaussian("diag"), [0]), ("fuel", Categorical(), [1])])
    assert_type(mixture.fit(X), Mixture)
    assert_type(mixture.emissions_, dict[str, Any])


def sequences() -> None:
    X = load_faithful().data[:, :1]
    chain = GaussianHMM(2, means_init=[[2.0], [4.5]], random_state=0)
    chain = assert_type(chain.fit(X, lengths=[100, 172]), GaussianHMM)
    assert_type(chain.transmat_, Array)
    assert_type(chain.predict(X, lengths=[100, 172]), Array)
    assert_type(chain.score_samples(X), tuple[float, Array])
    assert_type(chain.decode(X, algorithm="map"), tuple[float, Array])
    assert_type(chain.score(X), float)
    waits = HMM(2, emission=Exponential(), random_state=0, max_iter=5, tol=0).fit(X)
    assert_type(waits.sample(3), tuple[Array, Array])


def regressions() -> None:
    X, y = load_faithful().data[:, :1], load_faithful().data[:, 1]
    lines = LinearRegressionMixture(2, random_state=0)
    lines = assert_type(lines.fit(X, y), LinearRegressionMixture)
    assert_type(lines.coef_, Array)
    assert_type(lines.predict(X), Array)
    assert_type(lines.standard_errors(X, y), dict[str, Array])
    experts = assert_type(MixtureOfExperts(1).fit(X, y), MixtureOfExperts)
    assert_type(experts.predict_components(X), Array)
    ridge = assert_type(BayesianLinearRegression().fit(X, y), BayesianLinearRegression)
    assert_type(ridge.intercept_, float)
    factors = assert_type(FactorAnalysis(1).fit(load_faithful().data), FactorAnalysis)
    assert_type(factors.transform(load_faithful().data), Array)


def what_em_does(model: GaussianMixture) -> None:
    X = load_faithful().data
    assert_type(elbo(model, X, model.predict_proba(X)), Elbo)
    assert_type(theory.staircase(model, X, n_iter=2).lower_bounds, Array)


class Coin:
    """A problem for the driver: two coins, tossed ten times each, of which one is fair."""

    heads = np.array([5.0, 9.0, 8.0, 4.0, 7.0])

    def estep(self, model: float) -> NDArray[np.float64]:
        odds = (model / 0.5) ** self.heads * ((1 - model) / 0.5) ** (10 - self.heads)
        return np.asarray(odds / (1 + odds), np.float64)

    def mstep(self, statistics: NDArray[np.float64], model: float) -> float:
        return float(statistics @ self.heads / (10 * statistics.sum()))

    def objective(self, statistics: NDArray[np.float64], model: float) -> float:
        return float(-np.log1p(-statistics).sum())


def driver() -> None:
    trace = em.maximize(Coin(), 0.7, tol=1e-9, max_iter=100)
    assert_type(trace, em.Trace[float])
    assert_type(trace.model, float)
    assert_type(trace.objectives, list[float])


def files(model: GaussianMixture) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.npz"))
        emfast.load(Path(folder, "model.npz")).predict(load_faithful().data)


def compiled_core() -> None:
    assert_type(emcore.runnable_instruction_sets(), list[str])
    assert_type(emcore.instruction_set, str)
    kernels = emcore.kernels("float64")
    weights = kernels.MixtureWeights(np.log([0.5, 0.5]))
    assert_type(weights.n_components, int)
    emission = kernels.DiagGaussian(np.zeros(1), np.eye(2, 1), np.ones((2, 1)), np.zeros(2))
    assert_type(kernels.block_rows(weights, emission, 10), int)


def main() -> None:
    model = gaussian_mixture()
    labels_and_known_parameters()
    rows_that_are_not_in_memory()
    discrete_mixtures()
    columns_of_several_kinds()
    sequences()
    regressions()
    what_em_does(model)
    driver()
    files(model)
    compiled_core()
    show_versions()
    print(emfast.__version__)


if __name__ == "__main__":
    main()
