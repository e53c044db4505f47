"""The examples run, and what they show is so."""

import contextlib
import io
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402
from sklearn.base import clone  # noqa: E402

import emfast  # noqa: E402
from emfast.datasets import make_gaussian_mixture  # noqa: E402

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture
def run(monkeypatch):
    """Runs an example: its variables, what it prints, and the number of its figures."""

    def run(name):
        shown, printed = [], io.StringIO()
        monkeypatch.setattr(pyplot, "show", lambda: shown.extend(_drawn()))
        with contextlib.redirect_stdout(printed):
            variables = runpy.run_path(str(ROOT / "examples" / f"{name}.py"))
        return variables, printed.getvalue(), len(shown)

    yield run
    pyplot.close("all")


def _drawn():
    """Figures that are open, drawn and closed."""
    figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
    for figure in figures:
        figure.canvas.draw()
    pyplot.close("all")
    return figures


def test_every_example_is_tested_and_in_the_readme():
    readme, tests = (ROOT / "README.md").read_text(encoding="utf-8"), globals()
    assert EXAMPLES
    for path in EXAMPLES:
        assert f"test_{path.stem}" in tests
        assert f"examples/{path.name}" in readme
        cells = path.read_text(encoding="utf-8").split("# %%")
        assert cells[0] == "" and cells[1].startswith(" [markdown]\n# # ")


def test_cars_and_trucks(run):
    variables, printed, n_figures = run("cars_and_trucks")
    assert_allclose(variables["mixture"].means_.ravel(), [5, 10], atol=0.1)
    assert "car   5.05\ntruck 9.98\n" in printed
    walks, after_ten = variables["walks"], variables["after_ten"]
    assert len(walks.attractors) == 2
    assert_allclose(walks.attractors[0], [5, 10], atol=0.1)
    assert_allclose(walks.attractors[1], [9.7, 5.7], atol=0.2)
    # After ten iterations nearly all are there, and the objective is that of one or the other.
    ends = walks.positions[..., -1, :]
    distances = np.abs(ends[..., None, :] - walks.attractors).max(axis=-1)
    assert (distances.min(axis=-1) < 0.1).mean() > 0.9
    assert set(distances.argmin(axis=-1).ravel()) == {0, 1}
    gaps = np.abs(after_ten.objective[..., None] - walks.objectives).min(axis=-1)
    assert (gaps < 1e-3).mean() > 0.9
    assert (np.abs(after_ten.objective - walks.objectives[1]) < 1e-3).mean() > 0.3
    assert variables["near"][5] > 0.8
    # What the second attractor is: a maximum of the likelihood with its weights and variances.
    assert walks.objectives[0] - walks.objectives[1] > 1
    assert_allclose(variables["free_walks"].attractors, [[5.03, 9.88]], atol=0.02)
    assert n_figures == 1


def test_genetic_linkage(run):
    # Dempster, Laird and Rubin (1977).
    variables, printed, n_figures = run("genetic_linkage")
    published = [0.608247423, 0.624321050, 0.626488879, 0.626777322, 0.626815632]
    assert_allclose(variables["iterates"][:6], [0.5, *published], atol=5e-10)
    assert_allclose(variables["limit"], 0.626821497871, atol=1e-12)
    assert "1  0.608247423  -1.9e-02\n" in printed
    assert "   0.626821497871\n" in printed
    # The rate of convergence is the share of information that is missing: of what would be known of
    # t with the parts of the first class told apart, what these parts tell.
    t = variables["limit"]
    part = t / (2 + t)
    complete = (125 * part + 34) / t**2 + 38 / (1 - t) ** 2
    missing = 125 * part * (1 - part) / t**2
    distances = variables["distances"]
    assert_allclose(distances[8] / distances[7], missing / complete, rtol=1e-4)
    assert f"{missing / complete:.4f}" == "0.1328"
    assert n_figures == 0


def test_lower_bound(run):
    variables, printed, n_figures = run("lower_bound")
    for total, bound, divergence in variables["parts"].values():
        assert_allclose(bound + divergence, total, rtol=1e-13)
    assert variables["parts"]["its own"].kl_divergence < 1e-10
    total = f"{variables['parts']['its own'].log_likelihood:.2f}"
    assert f"its own                  {total}   {total}       0.00" in printed
    steps = variables["steps"]
    assert np.all(steps.lower_bounds > steps.log_likelihoods[:-1])
    assert np.all(steps.log_likelihoods[1:] > steps.lower_bounds)
    bounds, log_likelihood = variables["bounds"], variables["log_likelihood"]
    grid, visited = variables["grid"], variables["visited"]
    assert all(
        bound <= log_likelihood(mean) + 1e-9 for mean, bound in zip(grid, bounds, strict=True)
    )
    assert abs(grid[np.argmax(bounds)] - visited[-1]) <= 0.025
    assert np.all(np.diff([log_likelihood(mean) for mean in visited]) > 0)
    assert n_figures == 2


def test_multiprocessing_statistics():
    # Processes that are spawned import what they run, so that it is a program by itself.
    example = ROOT / "examples" / "multiprocessing_statistics.py"
    done = subprocess.run(
        [sys.executable, example], check=True, capture_output=True, text=True, timeout=300,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "converged after" in done.stdout and done.stderr == ""
    scores = re.findall(r"(-[0-9.]+)(?: nats a row|$)", done.stdout, re.MULTILINE)
    assert len(scores) == 2 and scores[0] == scores[1]


class Frame:
    """What is asked of a Spark data frame, of record batches in partitions."""

    def __init__(self, partitions):
        self.partitions = partitions

    def select(self, *names):
        return Frame([[batch.select(names) for batch in each] for each in self.partitions])

    def cache(self):
        return self

    def mapInArrow(self, function, schema):
        assert schema == "statistics binary"
        return Frame([list(function(iter(each))) for each in self.partitions])

    def collect(self):
        return [row for each in self.partitions for batch in each for row in batch.to_pylist()]


def test_spark_statistics(run, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    variables, printed, n_figures = run("spark_statistics")
    assert printed == "" and n_figures == 0
    X, _ = make_gaussian_mixture(900, 2, 3, separation=4, random_state=0)
    table = pyarrow.table({"a": X[:, 0], "other": X[:, 0], "b": X[:, 1]})
    batches = table.to_batches(max_chunksize=100)
    frame = Frame([batches[:4], [], batches[4:5], [batches[5].slice(0, 0), *batches[5:]]])
    start = emfast.GaussianMixture(3, max_iter=0, tol=1e-4, random_state=0)
    start.fit(table.select(["a", "b"]).slice(0, 300).to_pandas())
    alone = clone(start).set_params(
        max_iter=100, weights_init=start.weights_, means_init=start.means_,
        covariances_init=start.covariances_,
    )  # fmt: skip
    model = variables["fit"](start, frame, ["a", "b"], tmp_path)
    assert model.converged_
    alone.set_params(tol=0, max_iter=model.n_iter_).fit(X)
    assert_allclose(model.means_, alone.means_, atol=1e-10)


def test_several_starts(run):
    variables, printed, n_figures = run("several_starts")
    scores, mixture = variables["scores"], variables["mixture"]
    n_best = (scores > scores.max() - 1e-3).sum()
    assert 1 <= n_best <= 4
    assert f"starts within 0.001 of the best: {n_best} of 12" in printed
    assert mixture.lower_bound_ == scores.max()
    assert_allclose(variables["repeated"].lower_bound_, scores.min(), rtol=1e-12)
    assert scores.max() - scores.min() > 0.5
    assert_allclose(variables["default"].lower_bound_, scores.max(), atol=1e-4)
    assert n_figures == 1


def test_team_selection(run):
    variables, printed, n_figures = run("team_selection")
    experts, errors = variables["experts"], variables["errors"]
    assert experts.classes_.tolist() == ["fit", "unfit"]
    # What the data were made of: within three standard errors.
    truth = np.array([[0.6, 0, 0, 0], [0, -0.8, 0, 0]])
    assert np.all(np.abs(experts.coef_ - truth) < 3 * errors["coef"])
    odds = experts.gate_coef_[0] - experts.gate_coef_[1]
    assert np.all(np.abs(odds - [0, 0, 0.7, 1.2]) < 3 * 2 * errors["gate_coef"][0])
    new, score = variables["new"], variables["new_score"]
    scores = [variables[name].score(new, score) for name in ("mixture", "plain", "experts")]
    assert scores[0] < scores[1] < scores[2] - 0.05
    assert "and by the score of the match, too: 97% right" in printed
    assert score[variables["team"]].mean() > score.mean() + 15
    assert n_figures == 1


def test_two_coins(run):
    # Do and Batzoglou (2008).
    variables, printed, n_figures = run("two_coins")
    r = variables["TwoCoins"]().estep(variables["start"])[:, 0]
    assert_allclose(r, [0.449149, 0.804986, 0.733467, 0.352156, 0.647215], atol=1e-6)
    for name, theta in (
        ("first", (0.7130122354, 0.5813393083)),
        ("tenth", (0.7967441495, 0.5196586622)),
        ("limit", (0.7967890669, 0.5195831201)),
        ("hard", (0.80, 0.45)),
    ):
        assert_allclose(variables[name].model, theta, atol=1e-7)
    assert variables["hard"].objectives[0] == variables["hard"].objectives[-1]
    assert "the limit      [0.7968, 0.5196]" in printed
    assert n_figures == 1
