"""Emissions as people see them."""

import numpy as np
import pytest

from emfast import HMM, Mixture
from emfast.emissions import Bernoulli, Binomial, Categorical, Gaussian, LinearRegression, Poisson


@pytest.mark.parametrize(
    ("emission", "shown"),
    [
        (Gaussian(), "Gaussian()"),
        (Gaussian("diag", reg_covar=0.0), "Gaussian(covariance_type='diag', reg_covar=0.0)"),
        (Poisson(fixed=("rates",)), "Poisson(fixed={'rates': True})"),
        (Binomial([3, 4]), "Binomial(n_trials=[3, 4])"),
        (LinearRegression(), "LinearRegression()"),
        (Categorical([["a", "b"]]), "Categorical(categories=[['a', 'b']])"),
    ],
    ids=str,
)
def test_an_emission_shows_how_it_was_made(emission, shown):
    assert repr(emission) == shown


def test_estimators_show_their_emissions():
    assert repr(HMM(2, emission=Bernoulli())) == "HMM(emission=Bernoulli(), n_components=2)"
    mixture = Mixture(2, [("size", Gaussian("diag"), ["height"])])
    assert "('size', Gaussian(covariance_type='diag'), ['height'])" in repr(mixture)
    mask = Gaussian(fixed={"means": np.array([True, False])})
    assert repr(mask) == "Gaussian(fixed={'means': array([ True, False])})"
