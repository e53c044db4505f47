"""Imputation, marginals and conditionals of every family: chain rules, and sums over all values."""

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from emfast import (
    BernoulliMixture,
    BinomialMixture,
    CategoricalMixture,
    ExponentialMixture,
    GaussianMixture,
    Mixture,
    PoissonMixture,
)
from emfast.emissions import Bernoulli, Binomial, Categorical, Exponential, Gaussian, Poisson
from emfast.storage.persistence import load, save
from families import DENSITIES, fit, setting, shapes

over_families = pytest.mark.parametrize("family", DENSITIES, ids=lambda family: family.name)
# Two columns or more, so that one can be given and another is left; rows with all levels.
over_shapes = given(
    shape=shapes(rows=(200, 333), features=(2, 3, 4, 5, 9), components=(1, 2, 3, 5)),
    data=st.data(),
)


def complete(X):
    """Rows of numbers without holes: what is missing has a value that other rows have."""
    X = np.array(X, np.float64)
    for column in X.T:
        column[np.isnan(column)] = column[~np.isnan(column)][0]
    return X


def hidden(X, columns):
    """X with only these columns known."""
    known = np.full(X.shape, np.nan)
    known[:, columns] = X[:, columns]
    return known


def fitted_as_started(family, shape):
    """An estimator with the parameters of a random model, and complete rows drawn from it."""
    case = setting(family, "float64", shape)
    X = complete(case.X)
    return fit(family, X.astype(case.X.dtype), case.model, max_iter=0), X


# The chain rule


@over_families
@over_shapes
def test_joint_is_marginal_times_conditional(family, shape, data):
    mixture, X = fitted_as_started(family, shape)
    columns = data.draw(st.permutations(range(shape.D)))
    n_given = data.draw(st.integers(1, shape.D - 1))
    known, rest = columns[:n_given], np.sort(columns[n_given:])
    row = X[0]
    X[:, known] = row[known]
    conditional = mixture.conditional({column: row[column] for column in known})
    assert_allclose(
        conditional.score_samples(X[:, rest]) + mixture.score_samples(hidden(X, known)),
        mixture.score_samples(X),
        rtol=1e-10,
        atol=1e-10,
    )
    assert_allclose(
        conditional.predict_proba(X[:, rest]), mixture.predict_proba(X), rtol=0, atol=1e-9
    )
    assert type(conditional) is type(mixture)
    assert conditional.sample(3)[0].shape == (3, len(rest))


@over_families
@over_shapes
def test_marginals_are_densities_of_what_is_known(family, shape, data):
    mixture, X = fitted_as_started(family, shape)
    columns = data.draw(st.permutations(range(shape.D)))
    columns = columns[: data.draw(st.integers(1, shape.D))]
    marginal = mixture.marginal(columns)
    known = hidden(X, columns)
    assert_allclose(
        marginal.score_samples(X[:, columns]), mixture.score_samples(known), rtol=1e-10, atol=1e-10
    )
    assert_allclose(
        marginal.predict_proba(X[:, columns]), mixture.predict_proba(known), rtol=0, atol=1e-9
    )
    assert marginal.n_features_in_ == len(columns)


@over_families
@over_shapes
def test_conditional_of_two_is_conditional_after_conditional(family, shape, data):
    mixture, X = fitted_as_started(family, shape)
    if shape.D < 3:
        return
    first, second, *_ = data.draw(st.permutations(range(shape.D)))
    both = mixture.conditional({first: X[0, first], second: X[0, second]})
    after = mixture.conditional({first: X[0, first]})
    after = after.conditional({second - (second > first): X[0, second]})
    assert_allclose(after.weights_, both.weights_, rtol=0, atol=1e-10)
    rest = np.setdiff1d(range(shape.D), [first, second])
    assert_allclose(
        after.score_samples(X[:, rest]), both.score_samples(X[:, rest]), rtol=1e-9, atol=1e-9
    )


@over_families
@over_shapes
def test_estimates_are_those_of_the_conditional_mixture(family, shape, data):
    """Row by row: what is imputed is a mean or most probable level given all that is known."""
    mixture, X = fitted_as_started(family, shape)
    holes = X.copy()
    rng = shape.rng()
    holes[rng.uniform(size=X.shape) < 0.4] = np.nan
    holes[0] = np.nan
    imputed = mixture.impute(holes)
    known = ~np.isnan(holes)
    assert_array_equal(imputed[known], X[known])
    assert not np.isnan(imputed).any()
    for row in range(8):
        at = np.flatnonzero(known[row])
        if 0 < len(at) < shape.D:
            conditional = mixture.conditional({int(d): X[row, d] for d in at})
            empty = np.full((1, shape.D - len(at)), np.nan)
            assert_allclose(
                conditional.impute(empty)[0], imputed[row, ~known[row]], rtol=1e-9, atol=1e-9
            )


# Sums over all values


LEVELS = {"Bernoulli": 2, "Binomial": 5, "Categorical": 3, "Poisson": 60}


def of_three_columns(kind):
    """A mixture of three correlated columns, and all values that a column may have."""
    rng = np.random.default_rng(3)
    weights = [0.5, 0.3, 0.2]
    p = rng.uniform(0.1, 0.9, (3, 3))
    X = rng.integers(0, 2, (20, 3))
    if kind == "Bernoulli":
        mixture = BernoulliMixture(3, weights_init=weights, probabilities_init=p)
    elif kind == "Binomial":
        mixture = BinomialMixture(3, n_trials=4, weights_init=weights, probabilities_init=p)
    elif kind == "Poisson":
        rates = rng.uniform(0.5, 9, (3, 3))
        mixture = PoissonMixture(3, weights_init=weights, rates_init=rates)
    else:
        shares = rng.dirichlet(np.ones(3), (3, 3))
        mixture = CategoricalMixture(
            3, categories=[range(3)] * 3, weights_init=weights, probabilities_init=list(shares)
        )
    return mixture.set_params(max_iter=0).fit(X), np.arange(LEVELS[kind])


@pytest.mark.parametrize("kind", LEVELS)
def test_sums_over_all_values(kind):
    mixture, levels = of_three_columns(kind)
    joint = np.exp(mixture.score_samples(list(itertools.product(levels, repeat=3))))
    joint = joint.reshape((len(levels),) * 3)
    assert joint.sum() == pytest.approx(1, abs=1e-9)
    marginal = mixture.marginal([2, 0])
    pairs = list(itertools.product(levels, repeat=2))
    assert_allclose(
        np.exp(marginal.score_samples(pairs)), joint.sum(axis=1).T.ravel(), rtol=1e-9, atol=1e-12
    )
    for value in (0, 1):
        conditional = mixture.conditional({1: value})
        expected = joint[:, value] / joint[:, value].sum()
        assert_allclose(
            np.exp(conditional.score_samples(pairs)), expected.ravel(), rtol=1e-9, atol=1e-12
        )
        imputed = mixture.impute([[np.nan, value, np.nan], [1, value, np.nan]])
        last = joint[1, value] / joint[1, value].sum()
        marginals = expected.sum(axis=1), expected.sum(axis=0), last
        if kind in ("Bernoulli", "Categorical"):
            estimates = [p.argmax() for p in marginals]
        else:
            estimates = [p @ levels for p in marginals]
        assert_allclose(imputed[[0, 0, 1], [0, 2, 2]], estimates, rtol=1e-9)


def test_integrals_over_all_waiting_times():
    rates = np.array([[0.5, 2.0], [3.0, 0.7]])
    mixture = ExponentialMixture(2, weights_init=[0.4, 0.6], rates_init=rates, max_iter=0)
    mixture.fit(np.ones((4, 2)))
    nodes, widths = np.polynomial.laguerre.laggauss(60)
    rows = np.column_stack([np.full(60, 0.8), nodes])
    density = np.exp(mixture.score_samples(rows)) * np.exp(nodes) * widths
    known = np.exp(mixture.score_samples([[0.8, np.nan]])).item()
    assert density.sum() == pytest.approx(known, rel=1e-8)
    assert np.exp(mixture.marginal(0).score_samples([[0.8]])).item() == pytest.approx(known)
    mean = density @ nodes / known
    assert mixture.impute([[0.8, np.nan]])[0, 1] == pytest.approx(mean, rel=1e-6)


# What users have


@pytest.fixture
def people():
    """Two kinds of people, in columns of all kinds, and the same with missing entries."""
    rng = np.random.default_rng(0)
    z, n = rng.integers(0, 2, 300), 300
    frame = pd.DataFrame(
        {
            "height": rng.normal([165, 180], 5, (n, 2))[np.arange(n), z],
            "smokes": rng.uniform(size=n) < np.array([0.1, 0.8])[z],
            "town": np.where(rng.uniform(size=n) < np.array([0.2, 0.7])[z], "Ulm", "Bonn"),
            "weight": rng.normal([60, 85], 6, (n, 2))[np.arange(n), z].astype(np.float32),
            "visits": rng.poisson(np.array([1.0, 6.0])[z]),
            "grade": rng.integers(1, 4, n),
            "wins": rng.binomial(7, np.array([0.2, 0.9])[z]),
            "wait": rng.exponential(np.array([2.0, 30.0])[z]),
            "note": "nobody asks",
        }
    ).convert_dtypes()
    holes = frame.mask(rng.uniform(size=frame.shape) < 0.2)
    holes.loc[3] = pd.NA
    return frame, holes


# The columns of the body are not in the order of the table.
EMISSIONS = [
    ("body", Gaussian("full"), ["weight", "height"]),
    ("habits", Bernoulli(), ["smokes"]),
    ("home", Categorical(), ["town", "grade"]),
    ("counts", Poisson(), "visits"),
    ("games", Binomial(7), ["wins"]),
    ("times", Exponential(), ["wait"]),
]
DESCRIBED = ["height", "smokes", "town", "weight", "visits", "grade", "wins", "wait"]


@pytest.fixture
def of_people(people):
    return Mixture(2, EMISSIONS, random_state=0).fit(people[1])


def test_conditional_of_columns_of_several_kinds(people, of_people, tmp_path):
    X, _ = people
    given = {"weight": 85.0, "town": "Ulm", "smokes": True, "visits": 4, 6: 6}
    conditional = of_people.conditional(given)
    names = [name for name in DESCRIBED if name not in given and name != "wins"]
    assert conditional.feature_names_in_.tolist() == names == ["height", "grade", "wait"]
    assert list(conditional.emissions_) == ["body", "home", "times"]
    assert conditional.n_features_in_ == 3
    both = X.assign(weight=85.0, town="Ulm", smokes=True, visits=4, wins=6)
    known = both.assign(height=np.nan, grade=np.nan, wait=np.nan)
    assert_allclose(
        conditional.score_samples(X[names]) + of_people.score_samples(known),
        of_people.score_samples(both),
        rtol=1e-10,
    )
    assert_allclose(conditional.weights_, of_people.predict_proba(known)[0], rtol=1e-12)
    # Within the block the height depends on the weight.
    body = of_people.emissions_["body"]
    slopes = body.covariances[:, 1, 0] / body.covariances[:, 0, 0]
    means = body.means[:, 1] + slopes * (85 - body.means[:, 0])
    assert_allclose(conditional.emissions_["body"].means[:, 0], means)
    save(conditional, tmp_path / "model")
    again = load(tmp_path / "model")
    assert_array_equal(again.score_samples(X[names]), conditional.score_samples(X[names]))
    few = known[names]
    assert_array_equal(again.impute(few)["grade"], conditional.impute(few)["grade"])
    rows = conditional.sample(50)[0]
    assert rows.shape == (50, 3)
    assert set(rows[:, 1]) <= {1, 2, 3}
    with pytest.raises(ValueError, match="feature names"):
        conditional.score(X)
    refitted = conditional.set_params(max_iter=2, tol=0).fit(X[names])
    assert refitted.n_iter_ == 2


def test_marginal_of_columns_of_several_kinds(people, of_people):
    X, holes = people
    columns = ["town", "height", "wins", "grade", "weight"]
    marginal = of_people.marginal(columns)
    hidden = holes.assign(smokes=None, visits=None, wait=None)
    assert_allclose(marginal.score_samples(holes[columns]), of_people.score_samples(hidden))
    assert marginal.feature_names_in_.tolist() == columns
    imputed = marginal.impute(holes[columns])
    assert_array_equal(imputed["town"], of_people.impute(hidden)["town"])
    single = marginal.marginal("grade")
    assert_allclose(single.predict_proba(X[["grade"]]).sum(axis=1), 1)
    assert single.categories_["home"][0].tolist() == [1, 2, 3]


def test_positions_of_arrays_without_names():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    X[:, 3] = rng.poisson(4, 200)
    mixture = Mixture(2, [("b", Gaussian("full"), [2, 0]), ("a", Poisson(), [3])], random_state=0)
    mixture.fit(X)
    conditional = mixture.conditional({0: 0.3})
    both = X.copy()
    both[:, 0] = 0.3
    assert_allclose(
        conditional.score_samples(X[:, 2:]) + mixture.score_samples(hidden(both, [0])),
        mixture.score_samples(both),
        rtol=1e-10,
    )
    imputed = mixture.impute(hidden(X, [0, 1]))
    assert imputed.dtype == np.float64
    assert_array_equal(imputed[:, :2], X[:, :2])
    assert not np.isnan(imputed).any()
    # What no emission describes is left as it is.
    assert_array_equal(np.isnan(mixture.impute(hidden(X, [0]))), np.isnan(hidden(X, [0, 2, 3])))


def as_objects(frame):
    return frame.astype(object).where(frame.notna(), None)


TABLES = {
    "pandas": lambda frame: frame,
    "pandas of Arrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "pandas of objects": as_objects,
    "pandas with categories": lambda frame: frame.assign(town=frame["town"].astype("category")),
    "polars": pl.from_pandas,
    "Arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "Arrow with a dictionary": lambda frame: pa.Table.from_pandas(
        frame.assign(town=frame["town"].astype("category")), preserve_index=False
    ),
    "objects": lambda frame: as_objects(frame).to_numpy(),
    "lists": lambda frame: as_objects(frame).to_numpy().tolist(),
}


def column_of(table, name):
    if isinstance(table, np.ndarray):
        return table[:, [*DESCRIBED, "note"].index(name)].tolist()
    column = table[name]
    return column.to_pylist() if isinstance(column, pa.ChunkedArray) else list(column)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("kind", TABLES)
def test_tables_stay_tables(people, of_people, kind):
    _, holes = people
    holes.index += 7
    given = TABLES[kind](holes)
    imputed = of_people.impute(given)
    assert type(imputed) is (np.ndarray if isinstance(given, list) else type(given))
    values = {name: column_of(imputed, name) for name in DESCRIBED}
    expected = of_people.impute(as_objects(holes))
    for name in DESCRIBED:
        tolerance = 1e-6 if name == "weight" else 1e-12
        if name in ("town", "smokes", "grade"):
            assert values[name] == expected[name].tolist()
        else:
            assert_allclose(np.array(values[name], float), expected[name].astype(float), tolerance)
    assert {type(value) for value in values["smokes"]} <= {bool, np.bool_}
    assert set(values["town"]) == {"Ulm", "Bonn"}
    known = pd.Series(column_of(imputed, "note"), dtype=object).fillna("?")
    assert [value == "nobody asks" for value in known] == holes["note"].notna().tolist()
    if isinstance(imputed, pd.DataFrame):
        assert imputed.index.equals(holes.index)
        kept = [name for name in given.columns if name not in ("visits", "wins")]
        assert imputed[kept].dtypes.equals(given[kept].dtypes)
    if isinstance(imputed, pl.DataFrame | pa.Table):
        before, after = given.schema, imputed.schema
        for name in ("height", "weight", "smokes", "town", "grade", "note"):
            if isinstance(imputed, pl.DataFrame):
                assert after[name] == before[name]
            else:
                assert after.field(name).type == before.field(name).type


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("nothing", [None, np.nan])
def test_columns_that_are_missing_entirely(of_people, kind, nothing):
    """Whose type nobody can tell."""
    empty = pd.DataFrame(nothing, index=range(3), columns=[*DESCRIBED, "note"])
    imputed = of_people.impute(TABLES[kind](empty))
    r = of_people.weights_
    parameters = of_people.emissions_
    expected = {
        "weight": r @ parameters["body"].means[:, 0],
        "height": r @ parameters["body"].means[:, 1],
        "smokes": float(r @ parameters["habits"].probabilities[:, 0] > 0.5),
        "town": ["Bonn", "Ulm"][(r @ parameters["home"].by_feature[0]).argmax()],
        "grade": [1, 2, 3][(r @ parameters["home"].by_feature[1]).argmax()],
        "visits": r @ parameters["counts"].rates[:, 0],
        "wins": 7 * (r @ parameters["games"].probabilities[:, 0]),
        "wait": r @ (1 / parameters["times"].rates[:, 0]),
    }
    for name, value in expected.items():
        found = column_of(imputed, name)
        assert found == ([value] * 3 if name == "town" else pytest.approx([value] * 3, rel=1e-6))


@pytest.mark.parametrize("kind", ["strings", "objects", "numbers", "categories"])
def test_levels_are_in_the_coding_of_the_data(kind):
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, 300)
    codes = (rng.uniform(size=(300, 3)) < np.array([0.1, 0.9])[z][:, None]).astype(int)
    missing = rng.uniform(size=codes.shape) < 0.2
    names = np.array(["no", "yes"])
    X = {
        "strings": np.where(missing, None, names[codes].astype(object)),
        "objects": np.where(missing, np.nan, np.array([("a", 1), ("b", 2)], object)[:, 1][codes]),
        "numbers": np.where(missing, np.nan, 5 + 2 * codes),
        "categories": pd.DataFrame(names[codes]).astype(pd.CategoricalDtype(["yes", "no"]))
        .mask(missing),
    }[kind]  # fmt: skip
    mixture = CategoricalMixture(2, random_state=0).fit(X)
    imputed = mixture.impute(X)
    assert type(imputed) is type(X)
    if kind == "categories":
        assert imputed.dtypes.equals(X.dtypes)
    else:
        assert imputed.dtype == X.dtype
    values = np.asarray(imputed, object)
    for d in range(3):
        assert set(values[:, d]) <= set(mixture.categories_[d].tolist())
    assert_array_equal(values[~missing], np.asarray(X, object)[~missing])
    r = mixture.predict_proba(X)
    expected = [
        mixture.categories_[d][(r @ mixture.probabilities_[d]).argmax(axis=1)] for d in range(3)
    ]
    assert_array_equal(values[missing], np.stack(expected, axis=1).astype(object)[missing])
    conditional = mixture.conditional({1: mixture.categories_[1][0]})
    assert [levels.tolist() for levels in conditional.categories_] == [
        mixture.categories_[d].tolist() for d in (0, 2)
    ]


@pytest.mark.parametrize("kind", [PoissonMixture, BernoulliMixture, ExponentialMixture])
def test_rows_without_missing_entries_come_back_as_they_are(kind):
    rng = np.random.default_rng(0)
    X = (rng.uniform(size=(200, 3)) < np.array([0.2, 0.7])[rng.integers(0, 2, 200)][:, None]) * 1.0
    mixture = kind(2, random_state=0).fit(X if kind is not ExponentialMixture else X + 0.1)
    rows = [X, X.astype(np.float32), X.astype(int), X.astype(np.uint8), X.astype(bool)]
    for each in rows if kind is BernoulliMixture else rows[:-1]:
        imputed = mixture.impute(each)
        assert_array_equal(imputed, each, strict=True)
        assert not np.shares_memory(imputed, each)
    if kind is not ExponentialMixture:
        for each in (sp.csr_array(X), sp.csc_matrix(X)):
            imputed = mixture.impute(each)
            assert type(imputed) is type(each)
            assert_array_equal(imputed.toarray(), X)
        assert np.isfinite(mixture.marginal([2, 0]).score(sp.csr_array(X[:, :2])))
    nothing = np.full((2, 3), np.nan, np.float32)
    average = mixture.weights_ @ (1 / mixture.rates_ if kind is ExponentialMixture else
                                  mixture.rates_ if kind is PoissonMixture else
                                  mixture.probabilities_)  # fmt: skip
    expected = average > 0.5 if kind is BernoulliMixture else average
    assert_allclose(mixture.impute(nothing), [expected, expected], rtol=1e-6)
    assert mixture.impute(nothing).dtype == np.float32


def test_trials_of_columns_and_of_rows():
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, 300)
    p = np.array([[0.2, 0.7, 0.5], [0.9, 0.1, 0.4]])
    trials = np.array([3, 10, 6])
    X = rng.binomial(trials, p[z]).astype(float)
    of_columns = BinomialMixture(2, n_trials=trials, random_state=0).fit(X)
    each = np.tile(trials, (300, 1))
    of_rows = BinomialMixture(2, random_state=0).fit(X, n_trials=each)
    assert_allclose(of_rows.probabilities_, of_columns.probabilities_)
    holes = X.copy()
    holes[rng.uniform(size=X.shape) < 0.3] = np.nan
    expected = np.where(
        np.isnan(holes),
        of_columns.predict_proba(holes) @ of_columns.probabilities_ * trials,
        holes,
    )
    assert_allclose(of_columns.impute(holes), expected, rtol=1e-12)
    assert_allclose(of_rows.impute(holes, n_trials=each), expected, rtol=1e-9)
    # As many trials as this row has.
    other = of_rows.impute([[np.nan, 4.0, 2.0]], n_trials=[[40, 10, 6]])
    of_three = of_columns.impute([[np.nan, 4.0, 2.0]])
    assert_allclose(other[0, 0] / 40, of_three[0, 0] / 3)
    assert of_columns.marginal([2, 0]).n_trials.tolist() == [6, 3]
    assert of_columns.marginal([2, 0]).sample(200)[0].max(axis=0).tolist() == [6, 3]
    given = of_columns.conditional({1: 4})
    assert given.n_trials.tolist() == [3, 6]
    by_call = of_rows.conditional({1: 4}, n_trials=10)
    assert by_call.n_trials is None
    assert_allclose(by_call.weights_, given.weights_)
    mixed = of_columns.conditional({2: 20, 1: 4}, n_trials=[30, 10])
    assert mixed.n_trials.tolist() == [3]
    twice = of_rows.predict_proba([[np.nan, 4, 20]], n_trials=[[1, 10, 30]])
    assert_allclose(mixed.weights_, twice[0])
    for wrong in (
        lambda: of_rows.conditional({1: 4}),
        lambda: of_rows.impute(holes),
        lambda: of_rows.conditional({1: 4, 0: 1}, n_trials=[3, 4, 5]),
        lambda: of_rows.conditional({1: 4}, n_trials=-1),
    ):
        with pytest.raises(ValueError, match="n_trials"):
            wrong()
    with pytest.raises(ValueError, match="given: found 4 in column 1; expected at most n_trials"):
        of_columns.conditional({1: 4}, n_trials=3)


def test_labels_say_what_is_missing_too():
    mixture = PoissonMixture(2, weights_init="equal", rates_init=[[1, 2], [9, 8]], max_iter=0)
    mixture.fit([[1, 2], [9, 8]], labels=["few", "many"])
    imputed = mixture.impute([[3, np.nan], [np.nan, 5], [np.nan, 5]], labels=["many", "few", None])
    assert_array_equal(imputed[:2], [[3, 8], [1, 5]])
    assert 1 < imputed[2, 0] < 9
    assert mixture.conditional({0: 1}).classes_.tolist() == ["few", "many"]


def test_what_is_given_may_leave_one_component():
    mixture = BernoulliMixture(
        2, weights_init=[0.5, 0.5], probabilities_init=[[0, 0.3, 1], [1, 0.6, 1]], max_iter=0
    ).fit([[0, 0, 1], [1, 1, 1]])
    conditional = mixture.conditional({0: 1})
    assert_array_equal(conditional.weights_, [0, 1])
    assert_allclose(np.exp(conditional.score_samples([[1, 1]])), 0.6)
    with pytest.raises(ValueError, match=r"given: .*density 0 under every component"):
        mixture.conditional({0: 1, 2: 0})


def test_numbers_far_from_every_component_keep_their_odds():
    """Weights of 1e-40 are some, for what is not given yet may turn them over."""
    mixture = GaussianMixture(
        2,
        covariance_type="diag",
        weights_init=[0.5, 0.5],
        means_init=[[0, 0], [12, 30]],
        covariances_init=np.ones((2, 2)),
        max_iter=0,
    ).fit([[0, 0], [12, 30]])
    conditional = mixture.conditional({0: 0})
    assert conditional.weights_[1] == pytest.approx(np.exp(-72), rel=1e-10)
    assert conditional.predict([[30]])[0] == mixture.predict([[0, 30]])[0] == 1


# Wrong input


BAD_GIVEN = {
    "no mapping": (["town"], TypeError, "mapping"),
    "nothing": ({}, ValueError, "no columns"),
    "no such name": ({"city": "Ulm"}, ValueError, "'city'.*'town'"),
    "no such position": ({9: 1}, ValueError, "position 9; expected -9 to 8"),
    "twice": ({"town": "Ulm", 2: "Bonn"}, ValueError, "column 2 twice"),
    "a list of columns": ({("town", "wait"): 1}, TypeError, "names or positions"),
    "not described": ({"note": "x"}, ValueError, "column 8 .'note'., which no emission"),
    "NaN": ({"height": np.nan}, ValueError, "nan for 'height'; expected a finite"),
    "None": ({"town": None}, ValueError, "None for 'town'"),
    "NA": ({"visits": pd.NA}, ValueError, "NA> for 'visits'"),
    "infinity": ({"height": np.inf}, ValueError, "inf for 'height'"),
    "several": ({"height": [180, 170]}, TypeError, "for 'height'; expected one number"),
    "an array": ({"height": np.ones(2)}, TypeError, "for 'height'; expected one number"),
    "a string": ({"height": "tall"}, ValueError, "tall"),
    "unseen level": ({"town": "Rome"}, ValueError, "'Rome' in column 2 .'town'., which is"),
    "a number for a level": ({"town": 3}, ValueError, "3.* in column 2 .'town'."),
    "unseen number": ({"grade": 7}, ValueError, "7 in column 5 .'grade'."),
    "not binary": ({"smokes": 2}, ValueError, "2.* in column 1 .'smokes'.; expected only 0 and 1"),
    "negative count": ({"visits": -1}, ValueError, "-1.* in column 4 .'visits'.; expected counts"),
    "half a count": ({"visits": 0.5}, ValueError, "0.5 in column 4 .'visits'.; expected counts"),
    "above the trials": ({"wins": 8}, ValueError, "8 in column 6 .'wins'.; expected at most"),
    "negative time": ({"wait": -2.0}, ValueError, "-2.0 in column 7 .'wait'.; expected waiting"),
    "everything": (
        dict(zip(DESCRIBED, [180, 1, "Ulm", 80, 3, 1, 4, 2.0], strict=True)),
        ValueError,
        "every column",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_GIVEN)
def test_bad_values(of_people, name):
    given, error, said = BAD_GIVEN[name]
    with pytest.raises(error, match=f"^given: .*{said}"):
        of_people.conditional(given)


BAD_COLUMNS = {
    "no such name": ("city", ValueError, "'city'"),
    "no such position": (9, ValueError, "9"),
    "none": ([], ValueError, "no columns"),
    "twice": (["town", 2], ValueError, "column 2 twice"),
    "not described": (
        ["town", "note"],
        ValueError,
        "column 8 .'note'., which no emission",
    ),
    "a number": (0.5, TypeError, "0.5"),
    "None": (None, TypeError, "None"),
}


@pytest.mark.parametrize("name", BAD_COLUMNS)
def test_bad_columns(of_people, name):
    columns, error, said = BAD_COLUMNS[name]
    with pytest.raises(error, match=f"^columns: .*{said}"):
        of_people.marginal(columns)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_rows_that_cannot_be_imputed(people, of_people):
    _, holes = people
    for wrong, said in (
        (holes.assign(town="Rome"), "'Rome' in column 2 .'town'."),
        (holes.assign(visits=-1), "'visits'"),
        (holes[DESCRIBED], "feature names"),
        (holes.to_numpy()[:, :3], "X"),
        (None, "None"),
    ):
        with pytest.raises(ValueError, match=said):
            of_people.impute(wrong)
    with pytest.raises(ValueError, match="labels"):
        of_people.impute(holes, labels=[0, 1])


@pytest.mark.parametrize("kind", [PoissonMixture, CategoricalMixture, BinomialMixture, Mixture])
def test_before_the_fit(kind):
    for call in (
        lambda mixture: mixture.impute([[1.0]]),
        lambda mixture: mixture.marginal([0]),
        lambda mixture: mixture.conditional({0: 1}),
    ):
        with pytest.raises(NotFittedError, match="not fitted"):
            call(kind())
