"""Five times ten tosses of one of two coins, softly and hard assigned (Do and Batzoglou, 2008)."""

from math import comb, log

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from emfast import BernoulliMixture, BinomialMixture

HEADS = [[5], [9], [8], [4], [7]]
COINS = {
    "n_trials": 10,
    "weights_init": "equal",
    "probabilities_init": [[0.6], [0.5]],
    "fixed": ["weights"],
    "tol": 0,
}


def test_responsibilities_at_the_start():
    start = BinomialMixture(2, max_iter=0, **COINS).fit(HEADS)
    expected = [0.449149, 0.804986, 0.733467, 0.352156, 0.647215]
    assert_allclose(start.predict_proba(HEADS)[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("n_iter", "expected"),
    [
        (1, [0.7130122354, 0.5813393083]),
        (10, [0.7967441495, 0.5196586622]),
        (1000, [0.7967890669, 0.5195831201]),
    ],
)
def test_soft_assignment(n_iter, expected):
    coins = BinomialMixture(2, max_iter=n_iter, **COINS).fit(HEADS)
    assert_allclose(coins.probabilities_.ravel(), expected, atol=1e-9)
    assert_array_equal(coins.weights_, [0.5, 0.5])


def test_series_are_rows_of_tosses_of_one_coin():
    tosses = (np.arange(10) < HEADS).astype(int)
    arguments = {**COINS, "probabilities_init": np.repeat([[0.6], [0.5]], 10, axis=1)}
    del arguments["n_trials"]
    one = BernoulliMixture(2, max_iter=0, **arguments).fit(tosses)
    start = BinomialMixture(2, max_iter=0, **COINS).fit(HEADS)
    assert_allclose(one.predict_proba(tosses), start.predict_proba(HEADS), rtol=1e-12)


@pytest.mark.parametrize("n_iter", [1, 2, 5])
def test_hard_assignment(n_iter):
    """Every series is of the likelier coin, by hand.

    9, 8 and 7 heads are likelier at 0.6, for h log(0.6 / 0.5) + (10 - h) log(0.4 / 0.5) is positive
    above 5.5: of 30 tosses 24 are heads. 5 and 4 are likelier at 0.5: of 20 tosses 9 are heads.
    With 0.8 and 0.45 the sign changes at 6.4, and nothing moves any more.
    """
    coins = BinomialMixture(2, assignment="hard", max_iter=n_iter, **COINS)
    assert_array_equal(coins.fit_predict(HEADS), [1, 0, 0, 1, 0])
    assert_allclose(coins.probabilities_.ravel(), [24 / 30, 9 / 20], rtol=1e-14)
    # The classification likelihood, with the binomial coefficients.
    series = [(9, 0.8), (8, 0.8), (7, 0.8), (5, 0.45), (4, 0.45)]
    objective = sum(
        log(0.5 * comb(10, heads) * p**heads * (1 - p) ** (10 - heads)) for heads, p in series
    )
    assert_allclose(coins.lower_bounds_, np.full(n_iter, objective / 5), rtol=1e-12)


def test_free_weights():
    coins = BinomialMixture(
        2, n_trials=10, probabilities_init=[[0.6], [0.5]], tol=1e-12, max_iter=20_000
    ).fit(HEADS)
    assert_allclose(coins.probabilities_.ravel(), [0.7933676, 0.5139166], atol=1e-4)
    assert_allclose(coins.weights_[0], 0.5227513, atol=1e-4)
    # With the binomial coefficients.
    assert coins.score_samples(HEADS).sum() == pytest.approx(-9.795419, abs=1e-5)
    assert coins.lower_bound_ * 5 == pytest.approx(-9.795419, abs=1e-5)
