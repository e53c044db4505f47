import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402
from matplotlib.collections import QuadMesh  # noqa: E402
from matplotlib.contour import QuadContourSet  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import Ellipse  # noqa: E402

from emfast import (  # noqa: E402
    BayesianLinearRegression,
    ExponentialMixture,
    FactorAnalysis,
    GaussianHMM,
    GaussianMixture,
    MixtureClassifier,
    PoissonMixture,
    plot,
    select,
)
from emfast.datasets import (  # noqa: E402
    load_faithful,
    make_cars_and_trucks,
    make_gaussian_mixture,
)
from emfast.landscape import Landscape, landscape, paths  # noqa: E402
from emfast.plot import mixtures  # noqa: E402
from emfast.selection import Candidate, Candidates  # noqa: E402
from emfast.theory import staircase  # noqa: E402
from gaussians import blobs  # noqa: E402


@pytest.fixture
def faithful():
    return load_faithful().data


def ellipses(ax):
    return [patch for patch in ax.patches if isinstance(patch, Ellipse)]


def test_draws_on_the_given_axes(faithful):
    mixture = GaussianMixture(2, random_state=0).fit(faithful)
    ax = Figure().subplots()
    assert plot.mixture(mixture, faithful, ax) is ax
    assert len(ellipses(ax)) == 4
    assert len(ax.collections[0].get_offsets()) == 272


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_ellipses_are_one_and_two_standard_deviations(faithful, covariance_type):
    mixture = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(faithful)
    drawn = ellipses(plot.mixture(mixture, faithful, Figure().subplots()))
    full = {
        "full": lambda c: c,
        "tied": lambda c: np.tile(c, (2, 1, 1)),
        "diag": lambda c: np.array([np.diag(row) for row in c]),
        "spherical": lambda c: c[:, None, None] * np.eye(2),
    }[covariance_type](mixture.covariances_)
    for k in range(2):
        for ellipse, deviations in zip(drawn[2 * k : 2 * k + 2], (2, 1), strict=True):
            np.testing.assert_allclose(ellipse.center, mixture.means_[k])
            edge = ellipse.get_transform().transform(
                np.column_stack([np.cos(np.arange(7)), np.sin(np.arange(7))])
            )
            edge = ellipse.axes.transData.inverted().transform(edge) - mixture.means_[k]
            distances = np.sqrt(np.einsum("ni,ij,nj->n", edge, np.linalg.inv(full[k]), edge))
            np.testing.assert_allclose(distances, deviations, rtol=1e-6)


def test_makes_a_figure_and_takes_names_from_a_table(faithful):
    table = pd.DataFrame(faithful, columns=["eruptions", "waiting"])
    mixture = GaussianMixture(2, random_state=0).fit(table)
    ax = plot.mixture(mixture, table)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("eruptions", "waiting")
    pyplot.close(ax.figure)


def test_legend_names_the_classes(faithful):
    labels = np.full(272, None)
    labels[:2] = ["long", "short"]
    mixture = GaussianMixture(3, random_state=0, tol=1).fit(faithful, labels=labels)
    ax = plot.mixture(mixture, faithful, Figure().subplots())
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [text.split(",")[0] for text in texts] == ["long", "short", "component 2"]


def test_many_rows_and_many_components():
    X, _ = make_gaussian_mixture(50_000, 2, 10, random_state=0)
    mixture = GaussianMixture(10, covariance_type="spherical", random_state=0, tol=1).fit(X)
    ax = plot.mixture(mixture, X, Figure().subplots())
    assert len(ellipses(ax)) == 20
    assert len(ax.collections[0].get_offsets()) <= mixtures.MAX_POINTS


def test_other_numbers_of_features_are_an_error():
    X, _ = make_gaussian_mixture(100, 3, 2, random_state=0)
    mixture = GaussianMixture(2, random_state=0, tol=1).fit(X)
    with pytest.raises(ValueError, match=r"found 3 feature\(s\); expected 1 or 2 of a Gauss"):
        plot.mixture(mixture, X)
    poisson = PoissonMixture(2, random_state=0, tol=1).fit(np.arange(40).reshape(20, 2))
    with pytest.raises(ValueError, match=r"found 2 feature\(s\); .* 1 of a Poisson"):
        plot.mixture(poisson, X)


def test_lines_of_equal_density_are_halves_of_each_other(faithful):
    mixture = GaussianMixture(2, random_state=0).fit(faithful)
    ax = plot.mixture(mixture, faithful, Figure().subplots())
    (lines,) = (each for each in ax.collections if isinstance(each, QuadContourSet))
    assert len(lines.levels) == 7
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        bits = mixture.score_samples(path.vertices) / np.log(2)
        assert_allclose(bits, level, atol=0.05)
    assert_allclose(np.diff(lines.levels), 1)


@pytest.mark.parametrize(
    "made",
    [
        lambda X: pd.DataFrame(X, columns=["a", "b"]),
        lambda X: pl.DataFrame(X, schema=["a", "b"]),
        lambda X: pa.table({"a": X[:, 0], "b": X[:, 1]}),
        lambda X: X.tolist(),
    ],
    ids=["pandas", "polars", "arrow", "lists"],
)
@pytest.mark.parametrize("n_features", [1, 2])
def test_tables_of_any_kind(faithful, made, n_features):
    X = made(faithful)
    if n_features == 1:
        X = X[["a"]] if isinstance(X, pd.DataFrame) else X
        X = X.select(["a"]) if hasattr(X, "select") else X
        X = [row[:1] for row in X] if isinstance(X, list) else X
    mixture = GaussianMixture(2, random_state=0).fit(X)
    ax = plot.mixture(mixture, X, Figure().subplots())
    if n_features == 2:
        assert_allclose(ax.collections[0].get_offsets(), faithful)
    assert ax.get_xlabel() == ("" if isinstance(X, list) else "a")


def test_rows_that_are_all_alike():
    X = np.full((9, 1), 3.0)
    mixture = GaussianMixture().fit(X)
    ax = plot.mixture(mixture, X, Figure().subplots())
    assert ax.get_xlim()[0] < 3 < ax.get_xlim()[1]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((5, 3)), r"X: found 3 feature\(s\); the model has 1"),
        (np.full((5, 1), np.nan), "X: every entry is missing"),
    ],
)
def test_rows_that_cannot_be_drawn(faithful, X, message):
    mixture = GaussianMixture(2, random_state=0).fit(faithful[:, :1])
    with pytest.raises(ValueError, match=message):
        plot.mixture(mixture, X)


def test_a_selection_along_anything(faithful):
    grid = {"prior": [None, {"weight_concentration_prior": 2.0}]}
    found = select(GaussianMixture(2, random_state=0), faithful, grid)
    ax = plot.selection(found, Figure().subplots())
    ax.figure.canvas.draw()
    assert ax.get_xticklabels()[0].get_text() == "None"


def test_a_trace_of_a_classifier_is_that_of_its_mixture(faithful):
    classifier = MixtureClassifier().fit(faithful, faithful[:, 0] > 3)
    ax = plot.trace(classifier, Figure().subplots())
    drawn = ax.lines[0].get_ydata()
    assert_array_equal(drawn, classifier.mixture_.lower_bounds_)


def test_states_of_a_column_that_is_not_there(faithful):
    hmm = GaussianHMM(2, random_state=0, tol=1).fit(faithful)
    with pytest.raises(ValueError, match="column: found 2; expected 0 to 1"):
        plot.states(hmm, faithful, column=2)


def test_noise_of_one_column_is_level(faithful):
    X = faithful[:, :1]
    mixture = GaussianMixture(2, noise=True, random_state=0).fit(X)
    ax = plot.mixture(mixture, X, Figure().subplots())
    noise = next(line for line in ax.lines if line.get_label().startswith("noise, "))
    assert_allclose(noise.get_ydata(), mixture.noise_weight_ / np.ptp(X), rtol=1e-6)


def test_noise_is_grey_and_named(faithful):
    mixture = GaussianMixture(2, noise=True, random_state=0).fit(faithful)
    ax = plot.mixture(mixture, faithful, Figure().subplots())
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[-1] == f"noise, {mixture.noise_weight_:.1%}"
    ax.figure.canvas.draw()


ONE_COLUMN = {
    "gaussian": (GaussianMixture(2, random_state=0), [45.0, 60.0, 80.0]),
    "poisson": (PoissonMixture(2, random_state=0), [45.0, 60.0, 80.0]),
    "exponential": (ExponentialMixture(2, random_state=0, max_iter=1, tol=0), [43.0, 96.0]),
}


@pytest.mark.parametrize("kind", ONE_COLUMN)
def test_one_column_shows_the_density(faithful, kind):
    mixture, places = ONE_COLUMN[kind]
    table = pd.DataFrame({"waiting": faithful[:, 1]})
    mixture.fit(table)
    ax = Figure().subplots()
    assert plot.mixture(mixture, table, ax) is ax
    *parts, whole = ax.lines
    assert len(parts) == 2
    assert_allclose(sum(part.get_ydata() for part in parts), whole.get_ydata())
    density = np.interp(places, whole.get_xdata(), whole.get_ydata())
    expected = np.exp(mixture.score_samples(pd.DataFrame({"waiting": places})))
    assert_allclose(density, expected, rtol=1e-3)
    assert sum(bar.get_height() * bar.get_width() for bar in ax.patches) == pytest.approx(1)
    assert ax.get_xlabel() == "waiting"
    assert ax.get_ylabel() == ("probability" if kind == "poisson" else "density")
    highest = max(bar.get_height() for bar in ax.patches)
    assert ax.get_ylim()[1] > highest
    ax.figure.canvas.draw()


# Which model


@pytest.fixture
def table(faithful):
    grid = {"covariance_type": ["full", "spherical"], "n_components": range(1, 5)}
    return select(GaussianMixture(random_state=0, tol=1e-2), faithful, grid).table


def test_selection_draws_a_line_for_each_shape(table):
    ax = Figure().subplots()
    assert plot.selection(table, ax) is ax
    full, spherical, ring = ax.lines
    for line, which in ((full, table[:4]), (spherical, table[4:])):
        assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
        assert_array_equal(line.get_ydata(), [each.bic for each in which])
    best = next(each for each in table if each.best)
    assert ring.get_xydata().tolist() == [[best.params["n_components"], best.bic]]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["full", "spherical"]
    assert ax.get_ylabel() == "BIC (the lower the better)"
    low, high = ax.get_ylim()
    assert all(low < each.bic < high for each in table)
    ax.figure.canvas.draw()


def test_a_selection_without_components_and_with_failures(faithful):
    found = select(
        GaussianMixture(2, random_state=0), faithful, {"reg_covar": [1e-6, -1.0, 1e-3]}, "aic"
    )
    ax = plot.selection(found, Figure().subplots())
    assert ax.get_xlabel() == "reg_covar"
    assert len(ax.lines[0].get_xdata()) == 2
    assert ax.get_legend() is None
    ax.figure.canvas.draw()


def test_degenerate_models_are_crossed_in_a_selection():
    candidates = [
        Candidate({"n_components": 1}, bic=20.0, best=True),
        Candidate({"n_components": 2}, bic=10.0, degenerate=[1]),
        Candidate({"n_components": 3}, error="failed"),
    ]
    ax = plot.selection(Candidates(candidates, "bic"), Figure().subplots())
    (cross,) = (line for line in ax.lines if line.get_marker() == "X")
    assert cross.get_xydata().tolist() == [[2, 10.0]]
    ax.figure.canvas.draw()


# Over time


def test_states_have_stretches_of_their_colour():
    X = np.array([0.1, -0.1, 5.1, 4.9, 5.0, 0.2, 0.0, -0.1, 5.2, 4.8])
    hmm = GaussianHMM(2, means_init=[[0.0], [5.0]], random_state=0)
    hmm.fit(pd.DataFrame({"level": X}), lengths=[5, 5])
    ax = Figure().subplots()
    assert plot.states(hmm, pd.DataFrame({"level": X}), [5, 5], ax=ax) is ax
    drawn = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in ax.patches]
    assert drawn == [(-0.5, 1.5), (1.5, 4.5), (4.5, 7.5), (7.5, 9.5)]
    colours = [patch.get_facecolor() for patch in ax.patches]
    assert colours[0] == colours[2] != colours[1] == colours[3]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["state 0", "state 1"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("row", "level")
    end, line = ax.lines
    assert end.get_xdata() == [4.5, 4.5]
    # No line leads from one sequence to the next.
    assert np.isnan(line.get_ydata()[5])
    assert_array_equal(line.get_ydata()[~np.isnan(line.get_ydata())], X)
    plot.states(hmm, pd.DataFrame({"level": X}), ax=Figure().subplots())


# How EM goes


@pytest.fixture
def vehicles():
    X, labels = make_cars_and_trucks(20, 200, random_state=0)
    mixture = GaussianMixture(
        2, covariance_type="spherical", weights_init=[0.6, 0.4], covariances_init=[1, 4],
        fixed=("weights", "covariances"),
    )  # fmt: skip
    return mixture, X, labels


def test_trace_draws_a_curve_for_every_start(faithful):
    mixture = GaussianMixture(
        3, n_init=4, init_params="random_from_data", random_state=0, max_iter=500
    ).fit(faithful)
    ax = Figure().subplots()
    assert plot.trace(mixture, ax) is ax
    curves = [line for line in ax.lines if len(line.get_xdata()) > 1]
    drawn = {tuple(curve.get_ydata()) for curve in curves}
    assert drawn == {tuple(restart.lower_bounds) for restart in mixture.restarts_}
    broadest = max(curves, key=lambda line: line.get_linewidth())
    assert_array_equal(broadest.get_ydata(), mixture.lower_bounds_)
    assert_array_equal(broadest.get_xdata(), np.arange(1, mixture.n_iter_ + 1))
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(texts) == ["kept", "other starts"]
    low, high = ax.get_ylim()
    assert all(low < curve.get_ydata()[-1] < high for curve in curves)


def test_trace_tells_degenerate_starts_and_fewer_rows():
    mixture = GaussianMixture(
        5, n_init=6, init_params="random_from_data", random_state=7, tol=1e-5, max_iter=1000
    ).fit(blobs())
    assert any(restart.degenerate for restart in mixture.restarts_)
    ax = plot.trace(mixture, Figure().subplots())
    assert "degenerate" in [text.get_text() for text in ax.get_legend().get_texts()]
    X, _ = make_gaussian_mixture(60_000, 2, 4, random_state=0)
    raced = GaussianMixture(4, n_init=4, random_state=0, max_iter=300).fit(X)
    assert any(restart.n_rows < 60_000 for restart in raced.restarts_)
    styles = {line.get_linestyle() for line in plot.trace(raced, Figure().subplots()).lines}
    assert {":", "-"} <= styles


def test_trace_of_models_that_keep_but_one_run(faithful):
    regression = BayesianLinearRegression(accelerate=False).fit(faithful[:, :1], faithful[:, 1])
    ax = plot.trace(regression, Figure().subplots())
    assert_array_equal(ax.lines[0].get_ydata(), regression.scores_)
    assert ax.get_ylabel() == "log evidence (nats)"
    analysis = FactorAnalysis(1, noise="isotropic").fit(faithful)
    ax = plot.trace(analysis, Figure().subplots())
    assert_array_equal(ax.lines[0].get_ydata(), analysis.lower_bounds_)
    assert ax.get_legend() is None


def test_trace_needs_iterations(faithful):
    with pytest.raises(NotFittedError):
        plot.trace(GaussianMixture(2))
    with pytest.raises(ValueError, match="model: found no iterations"):
        plot.trace(GaussianMixture(2, max_iter=0, random_state=0).fit(faithful))


def test_staircase_touches_and_never_crosses(vehicles):
    mixture, X, labels = vehicles
    steps = staircase(mixture.set_params(means_init=[[6], [8]]), X, 4, labels=labels)
    ax = Figure().subplots()
    assert plot.staircase(steps, ax) is ax
    above, raised = ax.lines[:2]
    assert_array_equal(above.get_xdata(), raised.get_xdata())
    gaps = np.array(above.get_ydata()) - raised.get_ydata()
    assert np.all(gaps >= 0)
    assert np.count_nonzero(gaps) == 2 * 4
    assert_allclose(np.unique(gaps[gaps > 0].round(9)), np.sort(steps.kl_divergences.round(9)))
    assert raised.get_ydata()[0] == steps.log_likelihoods[0]
    assert raised.get_ydata()[-1] == steps.log_likelihoods[-1]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(texts) == ["KL divergence", "log-likelihood", "lower bound"]


@pytest.mark.parametrize("n_iter", [0, 1, 10])
def test_landscape_shows_the_objective(vehicles, n_iter):
    mixture, X, labels = vehicles
    axis = np.linspace(1, 14, 6)
    grid = landscape(mixture, X, axis, axis, n_iter=n_iter, labels=labels)
    grid.objective[0, 0] = np.nan
    figure = Figure()
    ax = figure.subplots()
    assert plot.landscape(grid, ax) is ax
    assert ax.get_xlabel() == "initial mean of component 0"
    when = {0: "of the start", 1: "after 1 iteration", 10: "after 10 iterations"}[n_iter]
    assert figure.axes[1].get_ylabel() == f"objective {when} (nats a row)"
    if n_iter:
        (mesh,) = (c for c in ax.collections if isinstance(c, QuadMesh))
        shown = mesh.get_array()
        assert_array_equal(shown.mask, np.isnan(grid.objective))
        assert_array_equal(shown.compressed(), grid.objective[~shown.mask])
    lines = len(ax.collections)
    assert plot.contours(grid, ax) is ax
    assert len(ax.collections) == lines + 1
    figure.canvas.draw()


def test_landscape_may_be_flat():
    axis = np.array([0.2, 0.6])
    grid = Landscape("probabilities", axis, axis, np.full((2, 2), -0.5), 0)
    for n_iter in (0, 5):
        figure = Figure()
        plot.landscape(grid._replace(n_iter=n_iter), figure.subplots())
        figure.canvas.draw()


def test_attractors_end_every_path(vehicles):
    mixture, X, labels = vehicles
    grid = paths(mixture, X, [2.0, 7.0, 12.0], [2.0, 7.0, 12.0], n_iter=3, labels=labels)
    ax = Figure().subplots()
    assert plot.attractors(grid, ax) is ax
    walks = [walk for lines in ax.collections for walk in lines.get_segments()]
    assert len(walks) == 9
    assert all(len(walk) == 4 for walk in walks)
    stars = [line.get_xydata()[0] for line in ax.lines if line.get_marker() == "*"]
    assert_array_equal(stars, grid.attractors)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("mean of component 0", "mean of component 1")


def test_pictures_make_a_figure_of_their_own(vehicles):
    mixture, X, labels = vehicles
    axis = [4.0, 9.0, 12.0]
    drawn = [
        plot.landscape(landscape(mixture, X, axis, axis, labels=labels)),
        plot.attractors(paths(mixture, X, axis, axis, labels=labels)),
        plot.staircase(staircase(mixture, X, 2, labels=labels)),
        plot.trace(mixture.fit(X, labels=labels)),
    ]
    assert len({ax.figure.number for ax in drawn}) == 4
    for ax in drawn:
        ax.figure.canvas.draw()
        pyplot.close(ax.figure)
