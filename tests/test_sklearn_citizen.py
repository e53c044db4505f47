"""Pipelines, searches, routed labels and weights, tables out: what estimators do among others."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import emfast
from emfast import (
    BernoulliMixture,
    FactorAnalysis,
    GaussianHMM,
    GaussianMixture,
    MixtureClassifier,
    PoissonMixture,
)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def two_groups():
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 4])
    return X, np.repeat([1, 0], 100)


@pytest.mark.usefixtures("routing")
def test_labels_and_weights_are_routed_through_a_pipeline():
    X, labels = two_groups()
    weights = np.random.default_rng(1).uniform(0.5, 2, 200)
    partly = np.where(np.arange(200) % 10 == 0, labels, -1)
    mixture = GaussianMixture(2, random_state=0).set_fit_request(labels=True, sample_weight=True)
    scaler = StandardScaler().set_fit_request(sample_weight=True)
    pipeline = make_pipeline(scaler, mixture).fit(X, labels=partly, sample_weight=weights)
    scaled = StandardScaler().fit(X, sample_weight=weights).transform(X)
    alone = GaussianMixture(2, random_state=0).fit(scaled, labels=partly, sample_weight=weights)
    np.testing.assert_array_equal(pipeline[-1].means_, alone.means_)
    assert (pipeline.predict(X) == labels).mean() > 0.95


@pytest.mark.usefixtures("routing")
def test_labels_are_cut_as_rows_are_in_a_search():
    X, labels = two_groups()
    mixture = GaussianMixture(2, random_state=0)
    mixture.set_fit_request(labels=True).set_score_request(labels=False)
    grid = {"covariance_type": ["spherical", "full"]}
    search = GridSearchCV(mixture, grid, cv=3).fit(X, labels=labels)
    assert set(search.best_params_) == set(grid)
    assert (search.predict(X) == labels).mean() > 0.95


def test_searches_choose_by_log_likelihood():
    X, _ = two_groups()
    grid = {"n_components": [1, 2]}
    search = GridSearchCV(GaussianMixture(covariance_type="spherical", random_state=0), grid, cv=3)
    assert search.fit(X[np.random.default_rng(0).permutation(200)]).best_params_ == {
        "n_components": 2
    }


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_transformed_rows_are_tables_where_asked_for(container):
    X, _ = two_groups()
    table = pd.DataFrame(X, columns=["height", "weight"])
    transformed = FactorAnalysis(1).set_output(transform=container).fit_transform(table)
    assert list(transformed.columns) == ["factoranalysis0"]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (GaussianMixture, [1.5, None, 2.0, 5.0]),
        (PoissonMixture, [1, None, 2, 5]),
        (BernoulliMixture, [True, None, False, True]),
    ],
)
def test_numbers_in_a_dictionary_are_numbers(kind, values):
    # Arrow's own conversion makes the last value of the dictionary of what is missing.
    parts = [pa.array(part).dictionary_encode() for part in (values[:2], values[2:])]
    table = pa.table({"value": pa.chunked_array(parts), "other": [0, 1, 0, 1]})
    plain = pa.table({"value": values, "other": [0, 1, 0, 1]})
    assert kind(1).fit(table).lower_bound_ == kind(1).fit(plain).lower_bound_


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.table])
@pytest.mark.parametrize("missing", [None, 3.0])
def test_what_is_no_number_is_found_in_a_table(kind, missing):
    table = kind({"age": [1.0, missing, 2.0], "name": ["Ann", "Bob", None]})
    with pytest.raises(ValueError, match=r"X: could not convert string.*, in column 'name'"):
        GaussianMixture().fit(table)


def test_other_columns_are_told_by_their_names_alone():
    table = pd.DataFrame({"age": [1.0, 3.0, 2.0]})
    model = GaussianMixture().fit(table)
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- name\s*$"):
        model.predict(table.assign(name=["Ann", "Bob", None]))


PUBLIC = [
    kind
    for kind in (getattr(emfast, name) for name in emfast.__all__)
    if isinstance(kind, type) and issubclass(kind, sklearn.base.BaseEstimator)
]


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_every_estimator_shows_itself(kind):
    required = {"emissions": []} if kind is emfast.Mixture else {}
    estimator = kind(**required)
    assert kind.__name__ in repr(estimator)
    assert kind.__name__ in estimator._repr_html_()


def test_classifiers_score_in_searches_of_their_mixtures():
    X, labels = two_groups()
    grid = {"mixture__covariance_type": ["diag", "full"], "components_per_class": [1, 2]}
    classifier = MixtureClassifier(GaussianMixture(random_state=0))
    assert GridSearchCV(classifier, grid, cv=3).fit(X, labels).best_score_ > 0.95


def test_a_pipeline_of_sequences_takes_their_lengths_for_y():
    X, _ = two_groups()
    pipeline = make_pipeline(StandardScaler(), GaussianHMM(2, random_state=0))
    pipeline.fit(X, [50, 150])
    alone = GaussianHMM(2, random_state=0).fit(StandardScaler().fit_transform(X), [50, 150])
    np.testing.assert_array_equal(pipeline[-1].transmat_, alone.transmat_)
