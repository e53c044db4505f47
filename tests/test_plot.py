import numpy as np
import pandas as pd
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import Ellipse  # noqa: E402

from emfast import GaussianMixture, plot  # noqa: E402
from emfast.datasets import load_faithful, make_gaussian_mixture  # noqa: E402


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
    assert len(ax.collections[0].get_offsets()) <= plot.MAX_POINTS


def test_other_numbers_of_features_are_an_error():
    X, _ = make_gaussian_mixture(100, 3, 2, random_state=0)
    mixture = GaussianMixture(2, random_state=0, tol=1).fit(X)
    with pytest.raises(ValueError, match=r"found 3 feature\(s\); expected 2"):
        plot.mixture(mixture, X)
