"""What is asked of a fitted hidden Markov model."""

import numpy as np
import pytest
from scipy.special import logsumexp

import chain_oracle
from emfast import HMM, BernoulliHMM, CategoricalHMM, GaussianHMM, PoissonHMM
from emfast.emissions import Gaussian, Poisson

LENGTHS = [4, 1, 3]


def model(**changes):
    """A model that is given as a whole, of rows in two columns."""
    arguments = {
        "startprob_init": [0.6, 0.3, 0.1],
        "transmat_init": [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]],
        "means_init": [[0.0, 0.0], [2.0, 1.0], [-1.0, 3.0]],
        "covars_init": [[1.0, 2.0], [0.5, 1.0], [1.0, 1.0]],
        "max_iter": 0,
    }
    return GaussianHMM(3, **{**arguments, **changes})


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(scale=2, size=(8, 2))


@pytest.fixture
def hmm(X):
    return model().fit(X, LENGTHS)


def log_densities(hmm, X):
    z = (X[:, None] - hmm.means_) ** 2 / hmm.covars_ + np.log(2 * np.pi * hmm.covars_)
    return -0.5 * z.sum(axis=2)


def truths(hmm, X, of=chain_oracle.by_enumeration):
    cuts = np.cumsum(LENGTHS)[:-1]
    return [
        of(rows, hmm.startprob_, hmm.transmat_) for rows in np.split(log_densities(hmm, X), cuts)
    ]


def test_score_is_the_total_over_sequences(hmm, X):
    expected = [truth.log_likelihood for truth in truths(hmm, X)]
    np.testing.assert_allclose(hmm.score(X, LENGTHS), sum(expected))
    weights = np.array([2.0, 0.0, 0.5])
    np.testing.assert_allclose(hmm.score(X, LENGTHS, sample_weight=weights), weights @ expected)
    # Sequences are independent, and one sequence is another thing.
    parts = [hmm.score(rows) for rows in np.split(X, np.cumsum(LENGTHS)[:-1])]
    np.testing.assert_allclose(parts, expected)
    assert hmm.score(X) != hmm.score(X, LENGTHS)


def test_posteriors_are_given_all_rows_of_the_sequence(hmm, X):
    total, posteriors = hmm.score_samples(X, LENGTHS)
    np.testing.assert_allclose(total, hmm.score(X, LENGTHS))
    expected = np.concatenate([truth.posteriors for truth in truths(hmm, X)])
    np.testing.assert_allclose(posteriors, expected, atol=1e-12)
    np.testing.assert_array_equal(hmm.predict_proba(X, LENGTHS), posteriors)


def test_decoding_by_path_and_by_row(hmm, X):
    paths = truths(hmm, X, chain_oracle.best_path)
    joint, states = hmm.decode(X, LENGTHS)
    np.testing.assert_allclose(joint, sum(joint for _, joint in paths))
    np.testing.assert_array_equal(states, np.concatenate([path for path, _ in paths]))
    np.testing.assert_array_equal(hmm.predict(X, LENGTHS), states)
    assert hmm.decode(X, LENGTHS, "viterbi")[0] == joint
    posteriors = hmm.predict_proba(X, LENGTHS)
    expected, states = hmm.decode(X, LENGTHS, algorithm="map")
    np.testing.assert_array_equal(states, posteriors.argmax(axis=1))
    np.testing.assert_allclose(expected, posteriors.max(axis=1).sum())
    with pytest.raises(ValueError, match="algorithm: found 'best'; expected one of"):
        hmm.decode(X, LENGTHS, algorithm="best")


def test_labels_restrict_paths(hmm, X):
    labels = np.array([-1, 2, -1, 0, 1, -1, -1, 0])
    allowed = (labels[:, None] == -1) | (labels[:, None] == np.arange(3))
    cuts = np.cumsum(LENGTHS)[:-1]
    parts = zip(np.split(log_densities(hmm, X), cuts), np.split(allowed, cuts), strict=True)
    found = [
        (
            chain_oracle.by_enumeration(rows, hmm.startprob_, hmm.transmat_, own),
            chain_oracle.best_path(rows, hmm.startprob_, hmm.transmat_, own),
        )
        for rows, own in parts
    ]
    total, posteriors = hmm.score_samples(X, LENGTHS, labels=labels)
    np.testing.assert_allclose(total, sum(truth.log_likelihood for truth, _ in found))
    np.testing.assert_allclose(
        posteriors, np.concatenate([truth.posteriors for truth, _ in found]), atol=1e-12
    )
    paths = np.concatenate([path for _, (path, _) in found])
    np.testing.assert_array_equal(hmm.predict(X, LENGTHS, labels=labels), paths)
    np.testing.assert_array_equal(hmm.predict(X, LENGTHS, labels=allowed), paths)
    np.testing.assert_allclose(hmm.score(X, LENGTHS, labels=allowed), total)


def test_criteria_count_free_parameters_and_rows(hmm, X):
    p, total = 2 + 6 + 6 + 6, hmm.score(X, LENGTHS)
    np.testing.assert_allclose(hmm.aic(X, LENGTHS), -2 * total + 2 * p)
    np.testing.assert_allclose(hmm.bic(X, LENGTHS), -2 * total + p * np.log(8))
    weights = [1.0, 2.0, 0.0]
    np.testing.assert_allclose(
        hmm.bic(X, LENGTHS, sample_weight=weights),
        -2 * hmm.score(X, LENGTHS, sample_weight=weights) + p * np.log(4 + 2),
    )
    repeated = np.vstack([X[:4], X[4:5], X[4:5]])
    np.testing.assert_allclose(
        hmm.bic(repeated, [4, 1, 1]), hmm.bic(X, LENGTHS, sample_weight=weights)
    )


# Samples


def test_samples_are_of_the_model(hmm):
    X, states = hmm.sample(40_000, random_state=0)
    assert X.shape == (40_000, 2)
    assert states.shape == (40_000,)
    transitions = np.zeros((3, 3))
    np.add.at(transitions, (states[:-1], states[1:]), 1)
    np.testing.assert_allclose(
        transitions / transitions.sum(axis=1)[:, None], hmm.transmat_, atol=0.02
    )
    for k in range(3):
        np.testing.assert_allclose(X[states == k].mean(axis=0), hmm.means_[k], atol=0.05)
        np.testing.assert_allclose(X[states == k].var(axis=0), hmm.covars_[k], atol=0.08)
    shares = np.bincount(states) / 40_000
    np.testing.assert_allclose(shares, hmm.get_stationary_distribution(), atol=0.03)


def test_samples_begin_where_they_are_told(hmm):
    firsts = [hmm.sample(1, random_state=seed)[1][0] for seed in range(2000)]
    np.testing.assert_allclose(np.bincount(firsts) / 2000, hmm.startprob_, atol=0.04)
    assert all(hmm.sample(3, random_state=s, currstate=2)[1][0] == 2 for s in range(5))
    one, other = hmm.sample(5, random_state=3), hmm.sample(5, random_state=3)
    np.testing.assert_array_equal(one[0], other[0])
    hmm.set_params(random_state=3)
    np.testing.assert_array_equal(hmm.sample(5)[0], one[0])
    for wrong in (3, -1, 1.5, "a"):
        with pytest.raises(ValueError, match="currstate: found"):
            hmm.sample(2, currstate=wrong)
    for wrong in (0, -1, 2.5):
        with pytest.raises(ValueError, match="n_samples: found"):
            hmm.sample(wrong)


def test_states_that_are_impossible_are_not_drawn():
    hmm = model(startprob_init=[0, 1, 0], transmat_init=[[0, 1, 0], [0.5, 0, 0.5], [1, 0, 0]])
    hmm.fit(np.zeros((9, 2)))
    _, states = hmm.sample(3000, random_state=0)
    assert states[0] == 1
    steps = set(zip(states[:-1].tolist(), states[1:].tolist(), strict=True))
    assert steps == {(0, 1), (1, 0), (1, 2), (2, 0)}


def test_a_fit_of_a_sample_finds_the_model(hmm):
    X = np.vstack([hmm.sample(300, random_state=seed)[0] for seed in range(30)])
    found = model(max_iter=200, tol=1e-7).fit(X, [300] * 30)
    np.testing.assert_allclose(found.transmat_, hmm.transmat_, atol=0.05)
    np.testing.assert_allclose(found.means_, hmm.means_, atol=0.1)
    assert found.score(X, [300] * 30) > hmm.score(X, [300] * 30)


# Rows that no state, or no path, can have produced


def certain():
    """State 0 is always yes in the first column, state 1 always no."""
    X = np.array([[1, 1], [0, 0], [0, 1], [1, 0]])
    return BernoulliHMM(
        2,
        startprob_init=[0.5, 0.5],
        transmat_init=[[0.9, 0.1], [0.0, 1.0]],
        probabilities_init=[[1.0, 0.5], [0.0, 0.25]],
        max_iter=0,
    ).fit(X[:3])


def test_states_of_density_zero_are_excluded_exactly():
    hmm = certain()
    X = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    total, posteriors = hmm.score_samples(X)
    np.testing.assert_allclose(total, np.log(0.5 * 0.5 * 0.9 * 0.5 * 0.1 * 0.25 * 0.75), rtol=1e-12)
    np.testing.assert_array_equal(posteriors, np.eye(2)[[0, 0, 1, 1]])
    np.testing.assert_array_equal(hmm.predict(X), [0, 0, 1, 1])


def test_sequence_that_no_path_can_produce_has_likelihood_zero():
    hmm = certain()
    # From no to yes there is no way.
    X = np.array([[1, 1], [0, 0], [1, 0], [1, 1], [0, 0]])
    lengths = [3, 2]
    assert hmm.score(X, lengths) == -np.inf
    assert hmm.score(X, lengths, sample_weight=[0, 1]) == hmm.score(X[3:])
    posteriors = hmm.predict_proba(X, lengths)
    assert not np.isnan(posteriors).any()
    np.testing.assert_allclose(posteriors.sum(axis=1), 1)
    np.testing.assert_array_equal(posteriors[3:], hmm.predict_proba(X[3:]))
    joint, states = hmm.decode(X, lengths)
    assert joint == -np.inf
    np.testing.assert_array_equal(states[3:], [0, 1])
    assert hmm.aic(X, lengths) == np.inf


def test_labels_that_no_path_can_have_are_refused_with_the_row():
    hmm = certain()
    X = np.array([[1, 1], [1, 0], [0, 0], [0, 1]])
    for labels, lengths, row in (
        ([1, -1, -1, -1], None, 0),
        ([-1, -1, 0, -1], None, 2),
        ([-1, -1, -1, 0], [2, 2], 3),
    ):
        for ask in (hmm.score, hmm.score_samples, hmm.decode, hmm.predict, hmm.predict_proba):
            with pytest.raises(ValueError, match=f"labels: row {row} has zero likelihood in every"):
                ask(X, lengths, labels=labels)
    assert hmm.score(X, [2, 2], labels=[-1, -1, -1, 0], sample_weight=[1, 0]) < 0


def test_transitions_that_labels_need_and_the_chain_does_not_have():
    hmm = model(startprob_init=[1, 0, 0], transmat_init=[[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1]])
    X = np.random.default_rng(0).normal(size=(6, 2))
    hmm.fit(X)
    with pytest.raises(ValueError, match="labels: row 3 "):
        hmm.score(X, labels=[0, 1, 1, 0, -1, -1])
    hmm.set_params(max_iter=3)
    with pytest.raises(ValueError, match="row 3 has zero likelihood in every state that its label"):
        hmm.fit(X, labels=[0, 1, 1, 0, -1, -1])


def test_categories_that_a_state_never_has():
    X = [["a"], ["b"], ["a"], ["c"]]
    hmm = CategoricalHMM(
        2,
        startprob_init=[0.5, 0.5],
        transmat_init=[[0.5, 0.5], [0.5, 0.5]],
        probabilities_init=[[[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]],
        max_iter=0,
    ).fit(X)
    np.testing.assert_allclose(hmm.score(X), 4 * np.log(0.25) + np.log(2))
    np.testing.assert_allclose(hmm.predict_proba(X), [[1, 0], [0.5, 0.5], [1, 0], [0, 1]])


def test_counts_under_rates_of_zero():
    hmm = PoissonHMM(
        2,
        startprob_init=[0.5, 0.5],
        transmat_init=[[0.5, 0.5], [0.5, 0.5]],
        rates_init=[[0.0], [2.0]],
        max_iter=0,
    ).fit([[0], [3]])
    np.testing.assert_array_equal(hmm.predict_proba([[0], [3], [0]])[1], [0, 1])
    expected = np.log(0.5 + 0.5 * np.exp(-2)) + np.log(0.5 * np.exp(-2) * 2**3 / 6)
    np.testing.assert_allclose(hmm.score([[0], [3]]), expected)


# Attributes


def test_attributes_that_are_changed_by_hand_are_the_model(hmm, X):
    before = hmm.score(X, LENGTHS)
    hmm.transmat_ = np.full((3, 3), 1 / 3)
    mixture = logsumexp(log_densities(hmm, X) + np.log(1 / 3), axis=1)
    first = logsumexp(log_densities(hmm, X) + np.log(hmm.startprob_), axis=1)
    expected = mixture.sum() + (first - mixture)[[0, 4, 5]].sum()
    np.testing.assert_allclose(hmm.score(X, LENGTHS), expected)
    assert hmm.score(X, LENGTHS) != before
    hmm.covars_ = hmm.covars_ * 4
    np.testing.assert_allclose(
        hmm.score(X[:1]), logsumexp(log_densities(hmm, X[:1]) + np.log(hmm.startprob_))
    )


def test_feature_names_are_told_and_asked_for(X):
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(X, columns=["length", "width"])
    hmm = model().fit(table, LENGTHS)
    assert hmm.feature_names_in_.tolist() == ["length", "width"]
    assert hmm.n_features_in_ == 2
    np.testing.assert_allclose(hmm.score(table, LENGTHS), model().fit(X).score(X, LENGTHS))
    with pytest.raises(ValueError, match="feature names"):
        hmm.score(table[["width", "length"]], LENGTHS)


def test_missing_entries_are_left_out(hmm, X):
    holes = X.copy()
    holes[2, 1] = holes[5, 0] = np.nan
    holes[6] = np.nan
    own = -0.5 * np.nansum(
        (holes[:, None] - hmm.means_) ** 2 / hmm.covars_
        + np.where(np.isnan(holes), np.nan, 0)[:, None]
        + np.log(2 * np.pi * hmm.covars_),
        axis=2,
    )
    cuts = np.cumsum(LENGTHS)[:-1]
    found = [
        chain_oracle.by_enumeration(rows, hmm.startprob_, hmm.transmat_)
        for rows in np.split(own, cuts)
    ]
    total, posteriors = hmm.score_samples(holes, LENGTHS)
    np.testing.assert_allclose(total, sum(truth.log_likelihood for truth in found))
    np.testing.assert_allclose(
        posteriors, np.concatenate([truth.posteriors for truth in found]), atol=1e-12
    )


def test_general_model_of_one_emission_and_of_several(X):
    X = np.tile(X, (5, 1)) + np.random.default_rng(1).normal(size=(40, 2))
    one = HMM(2, emission=Gaussian("full"), random_state=0).fit(X)
    assert one.emission_.means.shape == (2, 2)
    drawn, states = one.sample(7, random_state=0)
    assert drawn.shape == (7, 2)
    assert len(states) == 7
    counts = np.abs(X).astype(int)
    two = HMM(
        2, emission=[("a", Gaussian("diag"), [1]), ("b", Poisson(), [0])], random_state=0
    ).fit(np.column_stack([counts[:, 0], X[:, 1]]))
    drawn, _ = two.sample(50, random_state=0)
    assert np.all(drawn[:, 0] == np.rint(drawn[:, 0]))
    assert np.any(drawn[:, 1] != np.rint(drawn[:, 1]))
