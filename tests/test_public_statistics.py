"""Statistics in the hands of people: taken, added, kept, and what is made of them."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

import emfast
from chains import chain_case, hmm_of, shown
from emfast import GaussianMixture, Statistics
from families import Shape, another_model, fitted, over_families, setting
from fitted_estimators import CASES, assert_alike
from fitted_estimators import fitted as fitted_case
from one_iteration import OF_WEIGHTS, prior_of
from saved_files import entries_of, put_together

T = 4
SHAPE = Shape(240, 4, 3, 7)
TOLERANCE = {"float64": 1e-10, "float32": 3e-3}


def parts_of(n):
    return np.split(np.arange(n), [n // 7, n // 2])


def estimator(family, start, **arguments):
    given = family.arguments(family.named(start.emission))
    return family.estimator(
        len(start.latent), regular=1e-3, weights_init=start.latent, n_threads=1, **given,
        **arguments,
    )  # fmt: skip


def told(family, X):
    """What `summarize` takes in place of rows with the target as a last column."""
    if family.name.startswith("regression"):
        return X[:, :-1], X[:, -1]
    return (X,)


@over_families
@pytest.mark.parametrize("prior", [False, True])
@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_a_fit_is_made_of_summaries_and_updates(family, precision, prior, assignment):
    case, start = setting(family, precision, SHAPE), another_model(family, SHAPE)
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.2, 2, SHAPE.n)
    labels = np.where(rng.random(SHAPE.n) < 0.2, case.components, -1)
    arguments = {"tol": 0, "assignment": assignment}
    if prior:
        arguments["prior"] = {**prior_of(family, SHAPE.D), "weight_concentration_prior": OF_WEIGHTS}
    known = {"labels": labels, "sample_weight": weights}
    X = case.X
    if getattr(family, "storage", None) == "sparse":
        X = sp.csr_array(X)
    expected = estimator(family, start, max_iter=T, **arguments).fit(X, **known)
    model = estimator(family, start, max_iter=0, **arguments).fit(X, **known)
    for _ in range(T):
        first, *others = (
            model.summarize(*told(family, X[rows]), labels=labels[rows],
                            sample_weight=weights[rows])
            for rows in parts_of(SHAPE.n)
        )  # fmt: skip
        model.update(sum(others) + first)
    tolerance = TOLERANCE[precision]
    for name, value in fitted(family, expected, start).items():
        found = fitted(family, model, start)[name]
        assert_allclose(found, value, rtol=tolerance, atol=tolerance, err_msg=name)
    assert model.n_iter_ == T
    # That of the start, and those that are known by now.
    assert_allclose(model.lower_bounds_[1:], expected.lower_bounds_[:-1], rtol=tolerance)
    assert model.lower_bound_ == model.lower_bounds_[-1]


@over_families
def test_so_is_one_of_sequences(family, precision):
    lengths = np.random.default_rng(0).integers(1, 30, 20)
    case = chain_case(family, precision, 3, 3, lengths, seed=1)
    X = case.X
    if getattr(family, "storage", None) == "sparse":
        X = sp.csr_array(X)
    weights = np.random.default_rng(1).uniform(0.2, 2, 20)
    expected = hmm_of(family, case.model, max_iter=T).fit(X, lengths, sample_weight=weights)
    model = hmm_of(family, case.model, max_iter=0).fit(X, lengths)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    for _ in range(T):
        statistics = sum(
            model.summarize(
                X[ends[some[0]] : ends[some[-1] + 1]], lengths[some], sample_weight=weights[some]
            )
            for some in parts_of(20)
        )
        model.update(statistics)
    tolerance = TOLERANCE[precision]
    for name, value in shown(family, expected).items():
        found = shown(family, model)[name]
        assert_allclose(found, value, rtol=tolerance, atol=tolerance, err_msg=name)


def test_of_a_gate_they_are_those_of_newton_steps():
    case = CASES["MixtureOfExperts"]
    arguments = {"n_components": 2, "random_state": 0, "tol": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = emfast.MixtureOfExperts(**arguments, max_iter=2).fit(case.X, case.y)
    model = emfast.MixtureOfExperts(**arguments, max_iter=0).fit(case.X, case.y)
    for _ in range(2):
        halves = [
            model.summarize(case.X[some], case.y[some]) for some in (slice(25), slice(25, 60))
        ]
        model.update(Statistics.from_bytes((halves[0] + halves[1]).to_bytes()))
    assert_allclose(model.gate_coef_, expected.gate_coef_, rtol=1e-8)
    assert_allclose(model.coef_, expected.coef_, rtol=1e-8)


def test_weights_of_any_size_count_beside_a_prior():
    X = np.random.default_rng(0).normal(size=(50, 2))
    arguments = {"prior": {"mean_prior": [5.0, 5.0], "mean_precision_prior": 30.0}, "tol": 0}
    for size in (1e-9, 1e12):
        weights = np.full(50, size)
        expected = GaussianMixture(1, max_iter=1, **arguments).fit(X, sample_weight=weights)
        model = GaussianMixture(1, max_iter=0, **arguments).fit(X)
        model.update(model.summarize(X, sample_weight=weights))
        assert_allclose(model.means_, expected.means_, rtol=1e-12)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 2)) + 4 * rng.integers(0, 2, (60, 1))


@pytest.fixture
def mixture(rows):
    return GaussianMixture(2, random_state=0, max_iter=0).fit(rows)


def numbers(statistics):
    return {
        "log_likelihood": statistics.log_likelihood,
        "weight": statistics.weight,
        "counts": statistics.counts,
        "latent": statistics.latent,
        **vars(statistics.emission),
    }


def test_times_a_number_they_are_those_of_as_many_rows(mixture, rows):
    one = mixture.summarize(rows)
    many = mixture.summarize(rows, sample_weight=np.full(60, 2.5))
    for found in (one * 2.5, np.float64(2.5) * one, 2.5 * one):
        assert isinstance(found, Statistics)
        for name, value in numbers(many).items():
            if name != "covariance_type" and value is not None:
                assert_allclose(numbers(found)[name], value, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="times -1"):
        one * -1
    with pytest.raises(TypeError):
        one * "a"
    with pytest.raises(TypeError):
        one + 1


def test_rows_that_come_in_batches_are_summarised(mixture, rows):
    class Rows:
        def __iter__(self):
            return iter(np.array_split(rows, 7))

    expected, found = mixture.summarize(rows), mixture.summarize(Rows())
    assert found.weight == 60
    assert_allclose(found.log_likelihood, expected.log_likelihood, rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in CASES if hasattr(CASES[name].estimator,
                                                                     "summarize")])  # fmt: skip
def test_nothing_is_lost_in_files_bytes_and_pickles(name, tmp_path):
    case, model = CASES[name], fitted_case(name)
    statistics = model.summarize(case.X, *([] if case.y is None else [case.y]))
    statistics.save(tmp_path / "statistics")
    for again in (
        emfast.load(tmp_path / "statistics"),
        Statistics.from_bytes(statistics.to_bytes()),
        pickle.loads(pickle.dumps(statistics)),
    ):
        assert_alike(again, statistics)
        assert repr(again) == repr(statistics)
        assert (again + statistics).weight == 2 * statistics.weight
    assert (tmp_path / "statistics").read_bytes() == statistics.to_bytes()
    copied = pickle.loads(pickle.dumps(model))
    assert copied.update(emfast.load(tmp_path / "statistics")).n_iter_ == model.n_iter_ + 1


def test_of_another_model_they_do_not_add(mixture, rows):
    statistics = mixture.summarize(rows)
    others = [
        GaussianMixture(2, covariance_type="diag", random_state=0).fit(rows),
        GaussianMixture(3, random_state=0).fit(rows),
        GaussianMixture(2, random_state=1, max_iter=1, tol=0).fit(rows),
        emfast.GaussianHMM(2, random_state=0).fit(rows),
        GaussianMixture(2, random_state=0, max_iter=0, assignment="hard").fit(rows),
    ]
    for other in others:
        theirs = other.summarize(rows)
        with pytest.raises(ValueError, match="do not add; expected those of the same model"):
            statistics + theirs
        with pytest.raises(ValueError, match="statistics: found those of a"):
            mixture.update(theirs)
    # Within the package too, where nothing says what they were taken under.
    bare = [Statistics(0.0, 1.0, s.counts, s.latent, s.emission) for s in
            (statistics, others[0].summarize(rows))]  # fmt: skip
    with pytest.raises(ValueError, match="statistics of a full Gaussian"):
        bare[0] + bare[1]


def test_those_of_earlier_parameters_are_refused_and_change_nothing(mixture, rows):
    statistics = mixture.summarize(rows)
    mixture.update(statistics)
    before = pickle.dumps(mixture)
    with pytest.raises(ValueError, match="take them again after every update"):
        mixture.update(statistics)
    with pytest.raises(ValueError, match="do not add"):
        statistics + mixture.summarize(rows)
    with pytest.raises(TypeError, match="found ndarray; expected Statistics"):
        mixture.update(rows)
    with pytest.raises(ValueError, match="none of rows of positive weight"):
        mixture.update(mixture.summarize(rows) * 0)
    assert pickle.dumps(mixture) == before


def test_parameters_set_by_hand_are_what_they_are_taken_under(mixture, rows):
    before = mixture.summarize(rows)
    mixture.means_ = mixture.means_ + 1
    with pytest.raises(ValueError, match="do not add"):
        before + mixture.summarize(rows)
    assert mixture.update(mixture.summarize(rows)).n_iter_ == 1


def test_the_same_parameters_anywhere_are_the_same(mixture, rows, tmp_path):
    mixture.save(tmp_path / "model")
    theirs = emfast.load(tmp_path / "model").summarize(rows[30:])
    assert mixture.update(mixture.summarize(rows[:30]) + theirs).n_iter_ == 1


def test_gains_tell_when_to_stop(rows):
    model = GaussianMixture(2, random_state=0, max_iter=0, tol=1e-6).fit(rows)
    for _ in range(500):
        model.update(model.summarize(rows))
        if model.converged_:
            break
    assert model.converged_
    expected = GaussianMixture(2, random_state=0, max_iter=500, tol=1e-6).fit(rows)
    assert model.n_iter_ <= expected.n_iter_ + 2
    assert_allclose(model.lower_bound_, expected.lower_bound_, atol=1e-5)
    # And a fit goes on from there.
    model.set_params(warm_start=True, max_iter=3, tol=0).fit(rows)
    assert model.lower_bound_ >= expected.lower_bound_ - 1e-9


def test_what_cannot_be_summarised(mixture, rows):
    with pytest.raises(ValueError, match="not fitted"):
        GaussianMixture(2).summarize(rows)
    with pytest.raises(ValueError, match="not fitted"):
        GaussianMixture(2).update(mixture.summarize(rows))
    with pytest.raises(ValueError, match="expecting 2 features"):
        mixture.summarize(rows[:, :1])
    with pytest.raises(ValueError, match="found 'a' in row 0; expected component indices"):
        mixture.summarize(rows[:2], labels=["a", "b"])
    with pytest.raises(ValueError, match="sample_weight: found shape"):
        mixture.summarize(rows, sample_weight=[1.0])
    with pytest.raises(ValueError, match="row 0 has zero likelihood"):
        mixture.summarize(np.full((3, 2), 1e200))
    stochastic = GaussianMixture(2, assignment="stochastic", random_state=0).fit(rows)
    with pytest.raises(ValueError, match="assignment: found 'stochastic'"):
        stochastic.summarize(rows)


def test_an_impossible_row_is_named(rows):
    mixture = emfast.BernoulliMixture(
        1, probabilities_init=[[1.0, 0.5]], weights_init=[1.0], max_iter=0
    ).fit([[1, 0]])
    # Kernels keep log-densities finite, so that only labels make rows impossible.
    assert mixture.summarize([[0, 1]]).log_likelihood < -50


# Files


def test_damaged_and_foreign_bytes(mixture, rows, tmp_path):
    statistics = mixture.summarize(rows)
    content = statistics.to_bytes()
    for damaged in (b"", b"abc", content[:-30], content[:200] + b"x" + content[201:]):
        with pytest.raises(ValueError, match="content: "):
            Statistics.from_bytes(damaged)
    mixture.save(tmp_path / "model")
    with pytest.raises(ValueError, match="not valid statistics"):
        Statistics.from_bytes((tmp_path / "model").read_bytes())
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(ValueError, match="not an emfast model"):
        Statistics.from_bytes((tmp_path / "other.npz").read_bytes())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(format_version=99), "a newer one is needed"),
        (lambda h: h.update(other=1), "expected only statistics"),
        (lambda h: h["statistics"]["named"].pop("weight"), "weight: found nothing"),
        (lambda h: h["statistics"]["named"].update(weight=-1.0), "numbers? from 0 on"),
        (lambda h: h["statistics"]["named"].update(more=1), "unknown values statistics.more"),
        (lambda h: emission(h).update({"class": "Statistics"}), "found 'Statistics'"),
        (lambda h: emission(h).update({"class": "object"}), "found 'object'"),
        (lambda h: emission(h).update(covariance_type="round"), "round"),
        (lambda h: emission(h).update(covariance_type="diag"), "second: found float64"),
        (lambda h: emission(h).update(epsilon=0.0), "epsilon"),
        (lambda h: emission(h).update(shape={"tuple": [2, 3]}), "origin: found float64"),
        (lambda h: emission(h).update(shape={"tuple": [2]}), "not enough values"),
        (lambda h: under(h).update(n_features=3), "found the shape \\(2, 2\\) under"),
        (lambda h: under(h).update(parameters=3), "parameters: found 3"),
    ],
)
def test_headers_that_say_something_else(change, message, mixture, rows, tmp_path):
    mixture.summarize(rows).save(tmp_path / "statistics")
    header, arrays = entries_of(tmp_path / "statistics")
    change(header)
    put_together(tmp_path / "statistics", header, arrays)
    with pytest.raises(ValueError, match=message):
        emfast.load(tmp_path / "statistics")


def emission(header):
    return header["statistics"]["named"]["emission"]["named"]


def under(header):
    return header["statistics"]["named"]["under"]["named"]


@pytest.mark.parametrize("name", CASES)
def test_arrays_of_other_shapes_and_values(name, tmp_path):
    case, model = CASES[name], fitted_case(name)
    if not hasattr(model, "summarize"):
        return
    model.summarize(case.X, *([] if case.y is None else [case.y])).save(tmp_path / "statistics")
    header, arrays = entries_of(tmp_path / "statistics")
    for each, array in arrays.items():
        for wrong in (array[..., :-1], array.astype(complex), np.full_like(array, np.nan, float)):
            if array.dtype.kind != "f" and wrong.dtype == float:
                continue
            put_together(tmp_path / "statistics", header, {**arrays, each: wrong})
            with pytest.raises(ValueError, match="statistics"):
                emfast.load(tmp_path / "statistics")
        fewer = {other: values for other, values in arrays.items() if other != each}
        put_together(tmp_path / "statistics", header, fewer)
        with pytest.raises(ValueError, match="statistics"):
            emfast.load(tmp_path / "statistics")


def test_a_path_that_cannot_be_written(mixture, rows, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        mixture.summarize(rows).save(tmp_path / "nowhere" / "statistics")
