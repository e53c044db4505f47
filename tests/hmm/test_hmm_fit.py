"""Fits of hidden Markov models: published results, what is known, priors, starts, restarts."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import chain_oracle
from chains import walk
from emfast import HMM, BernoulliHMM, CategoricalHMM, GaussianHMM, PoissonHMM
from emfast.emissions import Categorical, Gaussian, Poisson
from emfast.exceptions import ConvergenceWarning, StarvedComponentWarning
from emfast.latent.markov import ChainParameters

EARTHQUAKES = np.loadtxt(
    Path(__file__).parents[1] / "data" / "earthquakes.csv", delimiter=",", skiprows=1
)[:, 1:]


def clusters(lengths=(60, 1, 90), K=3, D=2, seed=0, scale=6.0, stay=0.8):
    """Rows about K corners, in sequences, and their states."""
    rng = np.random.default_rng(seed)
    transmat = np.full((K, K), (1 - stay) / (K - 1)) + (stay - (1 - stay) / (K - 1)) * np.eye(K)
    states = []
    for length in lengths:
        state = rng.integers(K)
        for _ in range(length):
            states.append(state)
            state = rng.choice(K, p=transmat[state])
    states = np.array(states)
    centres = scale * rng.normal(size=(K, D))
    return centres[states] + rng.normal(size=(len(states), D)), np.array(lengths), states


# Published results


@pytest.mark.parametrize("accelerate", [False, True])
def test_earthquakes_in_two_states(accelerate):
    """Zucchini, MacDonald and Langrock, Hidden Markov Models for Time Series."""
    hmm = PoissonHMM(2, random_state=0, tol=1e-12, max_iter=2000, accelerate=accelerate)
    hmm.fit(EARTHQUAKES)
    np.testing.assert_allclose(hmm.score(EARTHQUAKES), -341.878701, atol=1e-5)
    np.testing.assert_allclose(hmm.lower_bound_ * 107, -341.878701, atol=1e-5)
    order = np.argsort(hmm.rates_[:, 0])
    np.testing.assert_allclose(hmm.rates_[order, 0], [15.420756, 26.018223], atol=1e-4)
    np.testing.assert_allclose(
        hmm.transmat_[np.ix_(order, order)], [[0.928374, 0.071626], [0.119034, 0.880966]], atol=1e-4
    )
    np.testing.assert_allclose(hmm.startprob_[order], [1, 0], atol=1e-4)
    np.testing.assert_allclose(hmm.bic(EARTHQUAKES), 2 * 341.878701 + 5 * np.log(107), atol=1e-4)
    np.testing.assert_allclose(hmm.aic(EARTHQUAKES), 2 * 341.878701 + 2 * 5, atol=1e-4)


def test_earthquakes_in_three_states():
    hmm = PoissonHMM(3, random_state=0, n_init=5, tol=1e-10, max_iter=2000).fit(EARTHQUAKES)
    np.testing.assert_allclose(hmm.score(EARTHQUAKES), -328.527483, atol=1e-5)
    np.testing.assert_allclose(
        np.sort(hmm.rates_[:, 0]), [13.133762, 19.713165, 29.709728], atol=1e-4
    )
    assert len(hmm.restarts_) == 5


def test_any_emission_of_one_kind_is_the_model_of_that_kind():
    hmm = PoissonHMM(2, random_state=0).fit(EARTHQUAKES)
    general = HMM(2, emission=Poisson(), random_state=0).fit(EARTHQUAKES)
    np.testing.assert_array_equal(general.lower_bounds_, hmm.lower_bounds_)
    np.testing.assert_array_equal(general.emission_.rates, hmm.rates_)
    listed = HMM(2, emission=[("quakes", Poisson(), [0])], random_state=0).fit(EARTHQUAKES)
    np.testing.assert_allclose(listed.lower_bound_, hmm.lower_bound_, rtol=1e-9)
    np.testing.assert_allclose(listed.emission_["quakes"].rates, hmm.rates_, rtol=1e-6)


# One iteration by hand


def test_one_iteration_is_the_expected_counts_divided():
    X, lengths, _ = clusters()
    startprob, transmat = np.array([0.5, 0.3, 0.2]), np.full((3, 3), 0.2) + 0.4 * np.eye(3)
    means, covars = X[[0, 70, 100]], np.full((3, 2), 4.0)
    hmm = GaussianHMM(
        3,
        startprob_init=startprob,
        transmat_init=transmat,
        means_init=means,
        covars_init=covars,
        reg_covar=0,
        max_iter=1,
        tol=0,
    ).fit(X, lengths)
    z = (X[:, None] - means) ** 2 / covars
    log_densities = -0.5 * (z + np.log(2 * np.pi * covars)).sum(axis=2)
    cuts = np.cumsum(lengths)[:-1]
    truths = [
        chain_oracle.forward_backward(rows, startprob, transmat)
        for rows in np.split(log_densities, cuts)
    ]
    starts = sum(truth.starts for truth in truths)
    transitions = sum(truth.transitions for truth in truths)
    r = np.concatenate([truth.posteriors for truth in truths])
    np.testing.assert_allclose(hmm.startprob_, starts / 3, atol=1e-12)
    np.testing.assert_allclose(
        hmm.transmat_, transitions / transitions.sum(axis=1)[:, None], atol=1e-12
    )
    expected = r.T @ X / r.sum(axis=0)[:, None]
    np.testing.assert_allclose(hmm.means_, expected, rtol=1e-10)
    squares = (r[:, :, None] * (X[:, None] - expected) ** 2).sum(axis=0)
    np.testing.assert_allclose(hmm.covars_, squares / r.sum(axis=0)[:, None], rtol=1e-9)


@pytest.mark.parametrize(
    ("covariance_type", "shape"),
    [("spherical", (3,)), ("diag", (3, 2)), ("tied", (2, 2)), ("full", (3, 2, 2))],
)
def test_covariances_have_the_shape_of_their_type(covariance_type, shape):
    X, lengths, states = clusters()
    hmm = GaussianHMM(3, covariance_type=covariance_type, random_state=0).fit(X, lengths)
    assert hmm.covars_.shape == shape
    assert agreement(hmm.predict(X, lengths), states) > 0.95
    again = GaussianHMM(
        3,
        covariance_type=covariance_type,
        startprob_init=hmm.startprob_,
        transmat_init=hmm.transmat_,
        means_init=hmm.means_,
        covars_init=hmm.covars_,
        max_iter=0,
    ).fit(X, lengths)
    np.testing.assert_allclose(again.score(X, lengths), hmm.score(X, lengths), rtol=1e-12)


def agreement(found, states):
    """The share of rows that agree once every state found has the name it mostly is."""
    K = max(found.max(), states.max()) + 1
    table = np.zeros((K, K))
    np.add.at(table, (found, states), 1)
    return table.max(axis=1).sum() / len(states)


# What is known


def test_zeros_that_are_given_stay_zero():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(30, 1)) + 3 * (np.arange(30)[:, None] // 10)] * 5)
    left_right = np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1]])
    for prior in (None, {"transmat_prior": 4.0, "startprob_prior": 3.0}):
        for accelerate in (False, True):
            for assignment in ("soft", "hard"):
                hmm = GaussianHMM(
                    3,
                    startprob_init=[1, 0, 0],
                    transmat_init=left_right,
                    means_init=[[0], [3], [6]],
                    prior=prior,
                    accelerate=accelerate,
                    assignment=assignment,
                    tol=1e-8,
                ).fit(X, [30] * 5)
                np.testing.assert_array_equal(hmm.startprob_, [1, 0, 0])
                np.testing.assert_array_equal(hmm.transmat_ == 0, left_right == 0)
                assert hmm._n_parameters() == 2 + 6
                states = hmm.predict(X, [30] * 5).reshape(5, 30)
                assert np.all(np.diff(states, axis=1) >= 0)
                # About one transition in ten rows, or with the prior three more on both sides.
                seen = 5 / 50 if prior is None else 8 / 56
                np.testing.assert_allclose(hmm.transmat_[0, 1], seen, atol=0.02)


def test_known_parameters_do_not_move():
    X, lengths, _ = clusters()
    start = GaussianHMM(3, random_state=0).fit(X, lengths)
    given = {
        "startprob_init": np.full(3, 1 / 3),
        "transmat_init": np.full((3, 3), 1 / 3),
        "means_init": start.means_ + 0.5,
        "covars_init": np.full((3, 2), 2.0),
    }
    for group in ("startprob", "transmat", "means", "covars"):
        hmm = GaussianHMM(3, fixed=(group,), max_iter=5, tol=0, **given).fit(X, lengths)
        for name in ("startprob", "transmat", "means", "covars"):
            same = np.array_equal(getattr(hmm, f"{name}_"), given[f"{name}_init"])
            assert same == (name == group), (group, name)
    free = 2 + 6 + 6 + 6
    assert hmm._n_parameters() == free - 6
    some = GaussianHMM(
        3,
        fixed={"transmat": [True, False, False], "covars": [False, True, False]},
        max_iter=3,
        tol=0,
        **given,
    ).fit(X, lengths)
    np.testing.assert_array_equal(some.transmat_[0], given["transmat_init"][0])
    assert not np.allclose(some.transmat_[1], given["transmat_init"][1])
    np.testing.assert_array_equal(some.covars_[1], 2.0)
    assert some._n_parameters() == free - 2 - 2


def test_transitions_of_some_states_only_are_given():
    X, lengths, _ = clusters()
    hmm = GaussianHMM(
        3,
        transmat_init=[[0.7, 0.3, 0.0], None, None],
        fixed={"transmat": [True, False, False]},
        random_state=0,
    ).fit(X, lengths)
    np.testing.assert_allclose(hmm.transmat_[0], [0.7, 0.3, 0.0])
    np.testing.assert_allclose(hmm.transmat_.sum(axis=1), 1)
    assert np.all(hmm.transmat_[1:] > 0)


def test_prior_makes_the_mode():
    X, lengths, states = clusters()
    hmm = GaussianHMM(
        3,
        prior={"startprob_prior": 3.0, "transmat_prior": 11.0},
        max_iter=1,
        tol=0,
        random_state=0,
    ).fit(X, lengths, labels=states)
    starts = np.bincount(states[[0, 60, 61]], minlength=3) + 2.0
    transitions = np.full((3, 3), 10.0)
    for rows in np.split(states, np.cumsum(lengths)[:-1]):
        np.add.at(transitions, (rows[:-1], rows[1:]), 1)
    np.testing.assert_allclose(hmm.startprob_, starts / starts.sum())
    np.testing.assert_allclose(hmm.transmat_, transitions / transitions.sum(axis=1)[:, None])
    log_prior = 2 * np.log(hmm.startprob_).sum() + 10 * np.log(hmm.transmat_).sum()
    joint = hmm.score(X, lengths, labels=states)
    np.testing.assert_allclose(hmm.lower_bound_, (joint + log_prior) / len(X), rtol=1e-12)


def test_prior_counts_as_the_weights_do():
    X, lengths, _ = clusters()
    prior = {"startprob_prior": 2.0, "transmat_prior": 5.0}
    fits = [
        GaussianHMM(3, prior=prior, random_state=0, max_iter=5, tol=0).fit(
            X, lengths, sample_weight=weights
        )
        for weights in (None, np.ones(3), np.full(3, 1e-9))
    ]
    np.testing.assert_allclose(fits[1].transmat_, fits[0].transmat_, rtol=1e-9)
    # Beside rows that hardly count the prior is all there is.
    np.testing.assert_allclose(fits[2].transmat_, 1 / 3, atol=1e-6)


def test_labels_name_the_states():
    X, lengths, states = clusters()
    names = np.array(["rest", "run", "walk"])[states].astype(object)
    names[np.random.default_rng(0).uniform(size=len(names)) < 0.9] = None
    hmm = GaussianHMM(3, random_state=0).fit(X, lengths, labels=names)
    assert hmm.classes_.tolist() == ["rest", "run", "walk"]
    assert np.mean(hmm.predict(X, lengths) == states) > 0.97
    assert hmm.score(X, lengths, labels=names) < hmm.score(X, lengths)
    mask = np.ones((len(X), 3), bool)
    mask[states != 0, 0] = False
    hmm = GaussianHMM(3, random_state=0).fit(X, lengths, labels=mask)
    assert not hasattr(hmm, "classes_")
    posteriors = hmm.predict_proba(X, lengths, labels=mask)
    assert np.all(posteriors[states != 0, 0] == 0)


# Viterbi training


def test_hard_assignment_maximises_the_density_of_rows_and_path():
    X, lengths, _ = clusters(scale=2.0)
    hmm = GaussianHMM(3, assignment="hard", random_state=0, max_iter=50).fit(X, lengths)
    assert np.all(np.diff(hmm.lower_bounds_) > -1e-6)
    joint, path = hmm.decode(X, lengths)
    np.testing.assert_allclose(hmm.lower_bound_, joint / len(X), rtol=1e-10)
    # At the fixed point the transitions are those of the path.
    transitions = np.zeros((3, 3))
    for rows in np.split(path, np.cumsum(lengths)[:-1]):
        np.add.at(transitions, (rows[:-1], rows[1:]), 1)
    np.testing.assert_allclose(
        hmm.transmat_, transitions / transitions.sum(axis=1)[:, None], atol=1e-12
    )
    np.testing.assert_allclose(hmm.means_[0], X[path == 0].mean(axis=0))
    # What is said of rows is what the model says, whatever it was fitted by.
    assert hmm.score(X, lengths) > joint
    assert np.any((hmm.predict_proba(X, lengths) > 0) & (hmm.predict_proba(X, lengths) < 1))


# Starts


def test_start_is_counted_among_rows_that_are_assigned():
    X, lengths, _ = clusters(stay=0.9, scale=20.0)
    hmm = GaussianHMM(3, random_state=0, max_iter=0).fit(X, lengths)
    transitions = np.zeros((3, 3))
    for rows in np.split(hmm.predict(X, lengths), np.cumsum(lengths)[:-1]):
        np.add.at(transitions, (rows[:-1], rows[1:]), 1)
    expected = 0.95 * transitions / transitions.sum(axis=1)[:, None] + 0.05 / 3
    np.testing.assert_allclose(hmm.transmat_, expected, rtol=1e-9)


@pytest.mark.parametrize(
    "init_params",
    ["kmeans", "k-means++", "random", "random_from_data", "neighbourhood", "short_em"],
)
def test_every_kind_of_start_leads_somewhere(init_params):
    X, lengths, states = clusters()
    hmm = GaussianHMM(3, init_params=init_params, n_init=10, random_state=1).fit(X, lengths)
    assert agreement(hmm.predict(X, lengths), states) > 0.99


@pytest.mark.parametrize("restarts", ["full", "race"])
@pytest.mark.parametrize("lengths", [(60_000,), (40,) * 1500])
def test_many_rows_start_on_subsamples_and_race(restarts, lengths):
    X, lengths, states = clusters(lengths, stay=0.95, scale=10.0)
    hmm = GaussianHMM(3, n_init=3, restarts=restarts, random_state=0).fit(X, lengths)
    assert agreement(hmm.predict(X, lengths), states) > 0.99
    np.testing.assert_allclose(np.diagonal(hmm.transmat_), 0.95, atol=0.01)
    assert sum(restart.won for restart in hmm.restarts_) == 1
    assert hmm.n_iter_ < 10


@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_a_race_on_pieces_of_one_sequence_whose_first_state_is_certain(assignment):
    """Pieces that starts are scored on begin in states, by their labels, that no sequence does."""
    X, _, states = clusters((60_000,), stay=0.95, scale=50.0)
    hmm = GaussianHMM(3, n_init=3, restarts="race", assignment=assignment, random_state=0).fit(
        X, labels=states
    )
    assert hmm.startprob_.tolist() == np.eye(3)[states[0]].tolist()
    scores = [restart.score for restart in hmm.restarts_]
    np.testing.assert_allclose(scores, hmm.lower_bound_, atol=0.1)


def test_many_rows_of_a_chain_that_only_goes_on():
    """Pieces of sequences would begin in states that none begins in."""
    lengths = (100,) * 600
    rng = np.random.default_rng(0)
    states = np.concatenate([np.sort(rng.integers(0, 3, 100)) for _ in lengths])
    X = 5.0 * states[:, None] + rng.normal(size=(len(states), 1))
    labels = np.where(rng.uniform(size=len(states)) < 0.01, states, -1)
    hmm = GaussianHMM(
        3,
        startprob_init=[1, 0, 0],
        transmat_init=[[0.9, 0.1, 0], [0, 0.9, 0.1], [0, 0, 1]],
        fixed=("startprob", "transmat"),
        random_state=0,
    ).fit(X, lengths, labels=labels)
    assert np.mean(hmm.predict(X, lengths) == states) > 0.98


@pytest.mark.parametrize(("assignment", "n_init"), [("soft", 1), ("hard", 3)])
def test_a_chain_that_only_goes_on_finds_the_order_of_its_states(assignment, n_init):
    """Clusters come in any order, in which EM would have to leave them."""
    K, n_sequences = 5, 60
    transmat = 0.85 * np.eye(K) + 0.15 * np.eye(K, k=1)
    transmat[-1, -1] = 1
    chain = ChainParameters(np.eye(K)[0], transmat)
    rng = np.random.default_rng(0)
    states = np.concatenate([walk(rng, chain, 30) for _ in range(n_sequences)])
    means = np.array([[0.0, 0.0], [5.0, -2.0], [-2.0, 0.0], [2.0, -1.0], [0.0, 3.0]])
    X = means[states] + rng.normal(size=(len(states), 2))
    for seed in range(5):
        hmm = GaussianHMM(
            K,
            startprob_init=chain.startprob,
            transmat_init=chain.transmat,
            assignment=assignment,
            n_init=n_init,
            random_state=seed,
        ).fit(X, lengths=[30] * n_sequences)
        np.testing.assert_allclose(hmm.means_, means, atol=0.4)
        assert (hmm.predict(X, [30] * n_sequences) == states).mean() > 0.97


def test_warm_start_goes_on_as_if_it_had_not_stopped():
    X, lengths, _ = clusters(scale=2.0)
    once = GaussianHMM(3, random_state=0, max_iter=10, tol=0).fit(X, lengths)
    twice = GaussianHMM(3, random_state=0, max_iter=4, tol=0, warm_start=True).fit(X, lengths)
    twice.set_params(max_iter=6).fit(X, lengths)
    np.testing.assert_array_equal(twice.transmat_, once.transmat_)
    np.testing.assert_array_equal(twice.lower_bounds_, once.lower_bounds_[4:])


def test_accelerated_fits_reach_the_same_maximum_sooner():
    X = clusters((400,), scale=1.5)[0]
    hmm, fast = (
        GaussianHMM(3, random_state=0, tol=1e-8, max_iter=3000, accelerate=accelerate).fit(X)
        for accelerate in (False, True)
    )
    np.testing.assert_allclose(fast.lower_bound_, hmm.lower_bound_, atol=1e-6)
    assert fast.n_iter_ < 0.9 * hmm.n_iter_


def test_fit_that_stops_early_says_so():
    with pytest.warns(ConvergenceWarning, match="did not converge in 2"):
        PoissonHMM(2, random_state=0, max_iter=2, tol=1e-9).fit(EARTHQUAKES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PoissonHMM(2, random_state=0, max_iter=2, tol=0).fit(EARTHQUAKES)


def test_state_that_loses_all_rows_keeps_its_parameters():
    X, lengths, _ = clusters()
    far = np.vstack([GaussianHMM(2, random_state=0).fit(X, lengths).means_, [1e4, 1e4]])
    with pytest.warns(StarvedComponentWarning, match="2"):
        hmm = GaussianHMM(3, means_init=far, covars_init=np.ones((3, 2))).fit(X, lengths)
    np.testing.assert_array_equal(hmm.means_[2], far[2])
    assert hmm.startprob_[2] == 0
    np.testing.assert_array_equal(hmm.transmat_[:2, 2], 0)
    np.testing.assert_allclose(hmm.transmat_.sum(axis=1), 1)


# Other emissions


def test_binary_rows_in_sequences():
    rng = np.random.default_rng(0)
    _, lengths, states = clusters((300, 200), K=2)
    p = np.array([[0.9, 0.8, 0.1], [0.2, 0.1, 0.7]])
    X = (rng.uniform(size=(500, 3)) < p[states]).astype(np.uint8)
    hmm = BernoulliHMM(2, random_state=0, tol=1e-6).fit(X, lengths)
    order = np.argsort(-hmm.probabilities_[:, 0])
    np.testing.assert_allclose(hmm.probabilities_[order], p, atol=0.1)
    sparse = BernoulliHMM(2, random_state=0, tol=1e-6).fit(sp.csr_array(X.astype(float)), lengths)
    np.testing.assert_allclose(
        np.sort(sparse.probabilities_, axis=0), np.sort(hmm.probabilities_, axis=0), atol=1e-3
    )


def test_strings_in_several_columns():
    _, lengths, states = clusters((300, 200), K=2)
    words = np.array([["up", "left"], ["down", "right"]], object)[states]
    rng = np.random.default_rng(0)
    noisy = rng.uniform(size=words.shape) < 0.2
    words[noisy] = np.array([["up", "down"], ["left", "right"]], object)[
        np.nonzero(noisy)[1], rng.integers(0, 2, noisy.sum())
    ]
    words[rng.uniform(size=words.shape) < 0.1] = None
    hmm = CategoricalHMM(2, random_state=0, tol=1e-6).fit(words, lengths)
    assert [each.tolist() for each in hmm.categories_] == [["down", "up"], ["left", "right"]]
    assert agreement(hmm.predict(words, lengths), states) > 0.9
    drawn, _ = hmm.sample(20, random_state=0)
    assert set(drawn[:, 0]) <= {"down", "up"}
    general = HMM(2, emission=Categorical(), random_state=0, tol=1e-6).fit(words, lengths)
    np.testing.assert_array_equal(general.lower_bounds_, hmm.lower_bounds_)


def test_several_kinds_of_columns_in_a_table():
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    _, lengths, states = clusters((200, 100), K=2)
    table = pd.DataFrame(
        {
            "size": rng.normal(size=300) + 2.0 * states,
            "unused": 0,
            "visits": rng.poisson(np.array([2, 9])[states]),
            "town": np.where(rng.uniform(size=300) < 0.8, states, 1 - states).astype(str),
        }
    )
    table.loc[5, "size"] = np.nan
    hmm = HMM(
        2,
        emission=[
            ("size", Gaussian("diag"), ["size"]),
            ("visits", Poisson(), ["visits"]),
            ("home", Categorical(), ["town"]),
        ],
        emission_init={"visits.rates": [[2.0], [9.0]]},
        fixed={"visits.rates": True},
        prior={"home.probabilities_prior": 2.0, "transmat_prior": 2.0},
        random_state=0,
    ).fit(table, lengths)
    assert np.mean(hmm.predict(table, lengths) == states) > 0.97
    np.testing.assert_array_equal(hmm.emission_["visits"].rates, [[2.0], [9.0]])
    assert hmm.categories_["home"].__len__() == 1
    assert hmm._n_parameters() == 1 + 2 + 4 + 0 + 2
    drawn, _ = hmm.sample(10, random_state=0)
    assert drawn.shape == (10, 4)
    assert list(hmm.feature_names_in_) == ["size", "unused", "visits", "town"]
