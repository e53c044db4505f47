"""Models that are no sums over rows, of rows that come in batches: what they are in memory."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import emfast
from batches import Batches, in_batches
from emfast.estimators.base.scores import r_squared
from emfast.problems import factors

RNG = np.random.default_rng(0)
N, D = 900, 4
X = RNG.normal(size=(N, 2)) @ RNG.normal(size=(2, D)) * 3 + RNG.normal(size=(N, D)) + 100
Y = X @ [1.0, 0, -2, 0] + RNG.normal(size=N)
W = RNG.uniform(0, 3, N)
W[:70] = 0
HOLES = np.where(RNG.random((N, D)) < 0.15, np.nan, X)
HOLES[5] = np.nan
NAMES = list("abcd")


def table(rows=X):
    return pd.DataFrame(rows, columns=NAMES).assign(y=Y, w=W)


def sources(rows=X):
    """The same rows, with targets and weights in columns, in all ways."""
    arrow = pa.Table.from_pandas(table(rows), preserve_index=False)
    return {
        "frames": in_batches(table(rows)),
        "record batches": Batches(*arrow.to_batches(max_chunksize=77)),
    }


def assert_close(found, expected, names, rtol=1e-8):
    for name in names:
        assert_allclose(getattr(found, name), getattr(expected, name), rtol=rtol, err_msg=name)


REGRESSION = ("coef_", "intercept_", "alpha_", "lambda_", "sigma_", "scores_")


@pytest.mark.parametrize("per_feature", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_regression(per_feature, fit_intercept):
    made = emfast.BayesianLinearRegression(per_feature=per_feature, fit_intercept=fit_intercept)
    made.set_params(max_iter=20, tol=0)
    frame = table()
    whole = made.fit(frame[NAMES], Y, W)
    names = REGRESSION
    found = emfast.BayesianLinearRegression(**made.get_params()).fit(in_batches(X), Y, W)
    assert_close(found, whole, names)
    for source in [frame, *sources().values()]:
        found = emfast.BayesianLinearRegression(**made.get_params()).fit(source, "y", "w")
        assert_close(found, whole, names)
        assert found.feature_names_in_.tolist() == NAMES
        assert_allclose(found.score(source, "y", "w"), whole.score(frame[NAMES], Y, W))


def test_regression_of_single_precision():
    rows = X.astype(np.float32)
    # Sums in memory are as far from these as sums of batches are.
    exact = emfast.BayesianLinearRegression().fit(rows.astype(np.float64), Y)
    found = emfast.BayesianLinearRegression().fit(in_batches(rows), Y)
    assert found.coef_.dtype == np.float32
    assert_allclose(found.coef_, exact.coef_, rtol=1e-4, atol=2e-5)
    assert_close(found, exact, ("alpha_",), 1e-4)


def test_predictions_of_a_regression(tmp_path):
    model, path = emfast.BayesianLinearRegression().fit(table()[NAMES], Y), tmp_path / "found.npy"
    means, deviations = model.predict(table()[NAMES], return_std=True)
    for source in sources().values():
        assert_allclose(model.predict(source), means, rtol=1e-13)
        found = model.predict(source, return_std=True)
        assert_allclose(found, (means, deviations), rtol=1e-13)
        assert model.predict(source, return_std=True, out=path) is path
        assert_allclose(np.load(path), np.column_stack([means, deviations]), rtol=1e-13)
        model.predict(source, out=path)
        assert_allclose(np.load(path), means, rtol=1e-13)


@pytest.mark.parametrize("noise", ["diagonal", "isotropic"])
@pytest.mark.parametrize("rows", [X, HOLES], ids=["complete", "missing"])
def test_factors(noise, rows, tmp_path):
    kwargs = {"n_components": 2, "noise": noise, "max_iter": 15, "tol": 0}
    names = ("mean_", "components_", "noise_variance_", "lower_bounds_")
    frame = table(rows).drop(columns="y")
    whole = emfast.FactorAnalysis(**kwargs).fit(frame[NAMES], sample_weight=W)
    found = emfast.FactorAnalysis(**kwargs).fit(in_batches(rows), sample_weight=W)
    assert_close(found, whole, names, 1e-6)
    path = tmp_path / "found.npy"
    arrow = pa.Table.from_pandas(frame, preserve_index=False).to_batches(max_chunksize=77)
    for source in (frame, in_batches(frame), Batches(*arrow)):
        found = emfast.FactorAnalysis(**kwargs).fit(source, sample_weight="w")
        assert_close(found, whole, names, 1e-6)
        for name in ("score", "bic", "aic"):
            ask = getattr(whole, name)
            assert_allclose(ask(source, sample_weight="w"), ask(frame[NAMES], sample_weight=W))
    for source in (in_batches(frame), *sources(rows).values()):
        for name in ("transform", "score_samples"):
            expected = getattr(whole, name)(frame[NAMES])
            assert_allclose(getattr(whole, name)(source), expected, rtol=1e-10)
            getattr(whole, name)(source, out=path)
            assert_allclose(np.load(path), expected, rtol=1e-10)


def test_what_stands_for_rows_does_not_grow_with_them():
    patterns = factors.Patterns(D, 1)
    for _ in range(40):
        patterns.add(HOLES, W, True)
    points = patterns.points()
    assert len(points.masks) < 2**D
    assert len(points.rows) <= 2 * D * len(points.masks)
    assert_allclose(points.weight, 40 * W.sum())
    once = factors.points_of(np.tile(HOLES, (40, 1)), np.tile(W, 40), True, 1)
    assert_allclose(points.spread(), once.spread())
    assert_array_equal(points.masks, once.masks)


def test_bad_streams():
    regression, analysis = emfast.BayesianLinearRegression(), emfast.FactorAnalysis()
    with pytest.raises(ValueError, match="y: found 899 entries"):
        regression.fit(in_batches(X), Y[:-1])
    with pytest.raises(ValueError, match="sample_weight: found 899 entries"):
        analysis.fit(in_batches(X), sample_weight=W[:-1])
    with pytest.raises(ValueError, match="all weights are zero"):
        analysis.fit(in_batches(X), sample_weight=np.zeros(N))
    with pytest.raises(ValueError, match=r"Input y contains NaN.*in batch 3"):
        regression.fit(in_batches(X), np.where(np.arange(N) == 80, np.nan, Y))
    with pytest.raises(ValueError, match="no column 'z'"):
        regression.fit(in_batches(table()), "z")
    for source in (table(), in_batches(table())):
        with pytest.raises((ValueError, TypeError), match="y: found None"):
            regression.fit(source, None)
    empty = np.where(np.arange(D) == 2, np.nan, X)
    with pytest.raises(ValueError, match="every entry of column 2 is missing"):
        analysis.fit(in_batches(empty))
    with pytest.raises(ValueError, match="n_components: found 5; expected at most 4"):
        emfast.FactorAnalysis(5).fit(in_batches(X))
    with pytest.raises(ValueError, match="expected numbers below"):
        analysis.fit(in_batches(X * 1e160))
    assert not hasattr(regression, "n_features_in_")
    assert not hasattr(analysis, "n_features_in_")


@pytest.mark.parametrize("kind", [emfast.BayesianLinearRegression, emfast.FactorAnalysis])
def test_a_stopped_fit_goes_on(kind, tmp_path):
    path = tmp_path / "state.npz"
    args = (Y,) if kind is emfast.BayesianLinearRegression else ()
    whole = kind(max_iter=12, tol=0).fit(in_batches(X), *args)

    def stop(iteration):
        return iteration.number >= 4

    kind(max_iter=12, tol=0, checkpoint=path, callback=stop).fit(in_batches(X), *args)
    assert path.exists()
    with pytest.raises(ValueError, match="of other rows, labels or weights"):
        kind(max_iter=12, tol=0, checkpoint=path).fit(in_batches(X + 1), *args)
    found = kind(max_iter=12, tol=0, checkpoint=path).fit(in_batches(X), *args)
    assert found.n_iter_ == whole.n_iter_


# The coefficient of determination


def test_r_squared_of_mixtures():
    frame = table()
    mixture = emfast.LinearRegressionMixture(2, random_state=0, max_iter=5, tol=0)
    mixture.fit(frame[NAMES], Y)
    expected = mixture.score(frame[NAMES], Y, sample_weight=W)
    for source in [frame, *sources().values()]:
        assert_allclose(mixture.score(source, "y", sample_weight="w"), expected)
    assert_allclose(mixture.score(in_batches(frame), Y, sample_weight=W), expected)
    experts = emfast.MixtureOfExperts(
        2, expert=emfast.emissions.Gaussian("diag"), random_state=0, max_iter=5, tol=0
    )
    both = np.column_stack([Y, Y**2])
    experts.fit(X, both)
    assert_allclose(experts.score(in_batches(X), both), experts.score(X, both))
    assert_allclose(experts.predict(in_batches(X)), experts.predict(X))
    for model in (mixture, experts):
        source = in_batches(frame[NAMES]) if model is mixture else in_batches(X)
        rows = frame[NAMES] if model is mixture else X
        assert_allclose(model.predict_components(source), model.predict_components(rows))


@pytest.mark.parametrize("y", [Y, np.full(N, 3.0), Y * 1e-6 + 1e6])
@pytest.mark.parametrize("error", [0, 1])
@pytest.mark.parametrize("w", [None, W])
def test_r_squared_is_that_of_scikit_learn(y, error, w):
    from sklearn.metrics import r2_score

    predicted = y + error * 1e-6 * X[:, 0]
    parts = [
        (y[a:b], predicted[a:b], None if w is None else w[a:b])
        for a, b in [(0, 60), (60, 61), (61, N)]
    ]
    assert_allclose(r_squared(parts), r2_score(y, predicted, sample_weight=w), rtol=1e-5)


def test_rows_of_dask(here):
    rows, y = here.from_array(X, chunks=(200, D)), here.from_array(Y, chunks=200)
    whole = emfast.BayesianLinearRegression().fit(X, Y)
    found = emfast.BayesianLinearRegression().fit(rows, y)
    assert_close(found, whole, ("coef_", "alpha_", "lambda_"))
    assert_allclose(found.predict(rows).compute(), whole.predict(X))
    assert_allclose(found.score(rows, y), whole.score(X, Y))
    analysis = emfast.FactorAnalysis(2).fit(rows)
    assert_close(analysis, emfast.FactorAnalysis(2).fit(X), ("components_",), 1e-4)
    assert_allclose(analysis.transform(rows).compute(), analysis.transform(X))
    assert_allclose(analysis.score(rows), analysis.score(X))
