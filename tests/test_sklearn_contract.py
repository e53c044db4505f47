"""scikit-learn's own checks of an estimator."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import _num_samples, validate_data

from emfast import (
    BernoulliMixture,
    BinomialMixture,
    CategoricalMixture,
    ExponentialMixture,
    GaussianHMM,
    GaussianMixture,
    LinearRegressionMixture,
    Mixture,
    MixtureOfExperts,
    PoissonMixture,
)
from emfast.data import Batch
from emfast.emissions import Gaussian

BINARY_ONLY = "expected only 0 and 1"


class OfNumbers:
    """Takes the numbers of scikit-learn's checks, which are made discrete first."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inputs = tags.input_tags
        inputs.sparse = inputs.positive_only = inputs.categorical = inputs.string = False
        return tags


class ThresholdedBernoulliMixture(OfNumbers, BernoulliMixture):
    """scikit-learn's checks have no binary data: here every integer part that is odd is 1."""

    def _validate_rows(self, X, *, reset):
        return super()._validate_rows(whole_numbers(self, X, reset) % 2, reset=reset)


class FlooredPoissonMixture(OfNumbers, PoissonMixture):
    """Nor have they whole numbers."""

    def _validate_rows(self, X, *, reset):
        return super()._validate_rows(whole_numbers(self, X, reset), reset=reset)


class FlooredBinomialMixture(OfNumbers, BinomialMixture):
    """Out of ten."""

    def _validate_rows(self, X, *, reset):
        return super()._validate_rows(whole_numbers(self, X, reset) % 10, reset=reset)


class FlooredCategoricalMixture(OfNumbers, CategoricalMixture):
    """Four levels, all of which are known."""

    def _validate_rows(self, X, *, reset):
        rows = whole_numbers(self, X, reset) % 4
        if reset:
            self.categories_ = [np.arange(4)] * rows.shape[1]
        return Batch(rows.astype(np.uint8))


class HMMOfRows(GaussianHMM):
    """scikit-learn's rows are independent, as are sequences of one row; and its `fit` has a y."""

    def fit(self, X, y=None, sample_weight=None):
        return super().fit(X, single_rows(X), sample_weight=sample_weight)

    def partial_fit(self, X, y=None, sample_weight=None):
        return super().partial_fit(X, single_rows(X), sample_weight=sample_weight)

    def predict(self, X):
        return super().predict(X, single_rows(X))

    def predict_proba(self, X):
        return super().score_samples(X, single_rows(X))[1]

    def score(self, X, y=None):
        return super().score(X, single_rows(X))

    def score_samples(self, X):
        batch = self._batch(X, single_rows(X), None)
        return self._outputs(batch)["log_likelihoods"]


def single_rows(X):
    """The lengths of sequences of one row; whatever for what is no table."""
    try:
        return np.ones(_num_samples(X), int)
    except (TypeError, ValueError):
        return None


def whole_numbers(estimator, X, reset):
    rows = validate_data(
        estimator, X, dtype=[np.float64, np.float32], reset=reset, ensure_all_finite="allow-nan"
    )
    return np.abs(np.floor(rows))


def every_column(X):
    return slice(None)


def expected_failures(estimator):
    if isinstance(estimator, Mixture):
        # What has predict_proba and takes sparse rows is taken for a classifier.
        names = ("check_estimator_sparse_array", "check_estimator_sparse_matrix")
        return dict.fromkeys(names, "the check asks for the tags of a classifier")
    excused = {}
    if isinstance(estimator, LinearRegressionMixture | MixtureOfExperts):
        needs_targets = (
            "check_array_api_input", "check_methods_sample_order_invariance",
            "check_methods_subset_invariance",
        )  # fmt: skip
        excused = dict.fromkeys(needs_targets, "score_samples is of targets, and takes y")
        excused["check_regressors_no_decision_function"] = "predict_proba tells the components"
    if estimator.n_components == 1 or isinstance(estimator, MixtureOfExperts):
        return excused
    # scikit-learn excuses its KMeans from this, too: the draws of a start pick other rows where a
    # row of weight 2 stands for two. From a given start the laws of the weights hold, and are
    # tested elsewhere.
    return excused | {
        "check_sample_weight_equivalence_on_dense_data": "the start is drawn from the rows given"
    }


@parametrize_with_checks(
    [
        GaussianMixture(),
        GaussianMixture(2, covariance_type="tied"),
        GaussianMixture(2, covariance_type="diag"),
        GaussianMixture(2, covariance_type="spherical", init_params="random_from_data"),
        ThresholdedBernoulliMixture(),
        ThresholdedBernoulliMixture(2, init_params="k-means++"),
        GaussianMixture(covariance_type="tied"),
        GaussianMixture(covariance_type="diag"),
        GaussianMixture(covariance_type="spherical"),
        FlooredPoissonMixture(),
        ExponentialMixture(),
        ExponentialMixture(2),
        FlooredBinomialMixture(n_trials=10),
        FlooredCategoricalMixture(),
        Mixture(1, [("all", Gaussian("diag"), every_column)]),
        LinearRegressionMixture(),
        LinearRegressionMixture(2),
        MixtureOfExperts(),
        MixtureOfExperts(2),
        MixtureOfExperts(1, expert=Gaussian("diag")),
        HMMOfRows(),
        HMMOfRows(2, covariance_type="full"),
    ],
    expected_failed_checks=expected_failures,
)
# Some checks fit two components to a handful of rows.
@pytest.mark.filterwarnings("ignore::emfast.exceptions.DegenerateComponentWarning")
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def reasons(error):
    """The messages of an error and of those it came from."""
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_the_only_excuse_of_a_bernoulli_mixture_is_that_its_data_are_binary():
    results = check_estimator(BernoulliMixture(), on_fail=None)
    failed = [result for result in results if result["status"] == "failed"]
    passed = [result for result in results if result["status"] == "passed"]
    assert len(passed) > 10
    unexcused = {}
    for result in failed:
        error = result["exception"]
        if not any(BINARY_ONLY in message for message in reasons(error)):
            unexcused[result["check_name"]] = error
    assert unexcused == {}


@pytest.mark.filterwarnings("ignore")
def test_the_only_excuse_of_a_hidden_markov_model_is_that_y_is_taken_for_lengths():
    """The second argument of `fit` is `lengths`, as in hmmlearn."""
    results = check_estimator(GaussianHMM(), on_fail=None)
    failed = [result for result in results if result["status"] == "failed"]
    assert sum(result["status"] == "passed" for result in results) > 10
    for result in failed:
        said = " ".join(reasons(result["exception"]))
        assert "lengths: found" in said or "keyword argument 'y'" in said, result["check_name"]


def test_the_end_of_a_pipeline_may_be_a_hidden_markov_model():
    X = np.random.default_rng(0).normal(size=(40, 2)) * [1, 100]
    pipeline = make_pipeline(StandardScaler(), GaussianHMM(2, random_state=0))
    # A pipeline hands on what it takes for y, which are the lengths.
    pipeline.fit(X, [30, 10])
    scaled = StandardScaler().fit_transform(X)
    alone = GaussianHMM(2, random_state=0).fit(scaled, [30, 10])
    found = pipeline.predict(X, lengths=[30, 10])
    np.testing.assert_array_equal(found, alone.predict(scaled, [30, 10]))
    assert pipeline.score(X, [30, 10]) == alone.score(scaled, [30, 10])
