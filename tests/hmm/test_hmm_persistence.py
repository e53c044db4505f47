"""Hidden Markov models in files."""

import numpy as np
import pytest

from emfast import HMM, BernoulliHMM, CategoricalHMM, GaussianHMM, PoissonHMM
from emfast.emissions import Categorical, Exponential, Gaussian, Poisson
from emfast.storage.persistence import load, save
from saved_files import rewritten

LENGTHS = [50, 1, 69]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return np.repeat(5 * rng.normal(size=(3, 2)), 40, axis=0) + rng.normal(size=(120, 2))


def models(X):
    words = np.array(["a", "b", "c"], object)[(np.abs(X[:, :1]) % 3).astype(int)]
    counts = np.abs(X).astype(int)
    for covariance_type in ("spherical", "diag", "tied", "full"):
        yield GaussianHMM(2, covariance_type=covariance_type, random_state=0), X
    yield BernoulliHMM(2, random_state=0, tol=1e-3), X > 0
    yield PoissonHMM(2, random_state=0, transmat_init=[[0.9, 0.1], [0.2, 0.8]]), counts
    yield CategoricalHMM(2, random_state=0), words
    yield HMM(2, emission=Exponential(), random_state=0), np.abs(X)
    yield HMM(2, emission=Categorical(), random_state=0), words
    yield (
        HMM(
            2,
            emission=[
                ("size", Gaussian("diag"), [0]),
                ("counts", Poisson(), lambda X: [1]),
            ],
            random_state=0,
        ),
        np.column_stack([X[:, 0], counts[:, 1]]),
    )


@pytest.mark.parametrize("number", range(10))
def test_what_is_read_is_what_was_written(X, path, number):
    hmm, rows = list(models(X))[number]
    labels = ["low", "high"] + [None] * 118
    hmm.fit(rows, LENGTHS, labels=labels)
    save(hmm, path)
    found = load(path)
    assert type(found) is type(hmm)
    assert found.score(rows, LENGTHS) == hmm.score(rows, LENGTHS)
    np.testing.assert_array_equal(found.predict(rows, LENGTHS), hmm.predict(rows, LENGTHS))
    np.testing.assert_array_equal(
        found.predict_proba(rows, LENGTHS), hmm.predict_proba(rows, LENGTHS)
    )
    np.testing.assert_array_equal(found.transmat_, hmm.transmat_)
    np.testing.assert_array_equal(found.lower_bounds_, hmm.lower_bounds_)
    assert found.classes_.tolist() == ["high", "low"]
    assert found.bic(rows, LENGTHS) == hmm.bic(rows, LENGTHS)
    assert found.restarts_ == hmm.restarts_
    np.testing.assert_array_equal(found.sample(5, 0)[0], hmm.sample(5, 0)[0])
    # A fit goes on from there.
    more = [each.set_params(warm_start=True, max_iter=2, tol=0) for each in (hmm, found)]
    for each in more:
        each.fit(rows, LENGTHS)
    np.testing.assert_array_equal(more[1].lower_bounds_, more[0].lower_bounds_)


def test_single_precision(X, path):
    hmm = GaussianHMM(2, random_state=0).fit(X.astype(np.float32))
    save(hmm, path)
    assert load(path).transmat_.dtype == np.float32


@pytest.mark.parametrize(
    "arrays",
    [
        {"startprob": np.array([1.5, -0.5])},
        {"startprob": np.array([0.5, 0.4])},
        {"startprob": np.array(1.0)},
        {"startprob": np.full(3, 1 / 3)},
        {"startprob": np.zeros(0)},
        {"transmat": np.eye(3)},
        {"transmat": np.full((2, 2), 0.6)},
        {"transmat": np.full((2, 2), np.nan)},
        {"transmat": np.full((2, 2), 0.5, np.float32)},
        {"transmat": np.full((4,), 0.25)},
        {"means": np.zeros((3, 2))},
        {"factors": np.zeros((2, 2))},
    ],
)
def test_arrays_that_do_not_fit(X, path, arrays):
    save(GaussianHMM(2, random_state=0).fit(X), path)
    rewritten(path, lambda header: None, **arrays)
    with pytest.raises(ValueError, match="not a valid emfast model") as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("missing", ["startprob", "transmat", "means"])
def test_a_missing_array(X, path, missing):
    save(GaussianHMM(2, random_state=0).fit(X), path)
    rewritten(path, lambda header: None, remove=[missing])
    with pytest.raises(ValueError, match="not a valid emfast model"):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update({"class": "GaussianMixture"}), "unknown parameters"),
        (lambda h: h["parameters"].update(weights_init=None), "unknown parameters"),
        (lambda h: h["parameters"].update(covariance_type="full"), "expected float64 of"),
    ],
)
def test_headers_that_do_not_fit(X, path, change, message):
    save(GaussianHMM(2, random_state=0).fit(X), path)
    rewritten(path, change)
    with pytest.raises(ValueError, match=message):
        load(path)


def test_bytes_that_are_damaged(X, path):
    hmm = GaussianHMM(2, random_state=0).fit(X)
    save(hmm, path)
    whole, expected, errors = path.read_bytes(), hmm.score(X, LENGTHS), 0
    for position in range(0, len(whole), 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            found = load(path).score(X, LENGTHS)
        except ValueError as error:
            assert "model.npz" in str(error)
            errors += 1
        else:
            # Time stamps and the like carry nothing.
            assert found == expected
    assert errors > len(whole) / 97 / 2


def test_a_model_that_is_no_chain_is_not_stored(X, path):
    hmm = GaussianHMM(2, random_state=0).fit(X)
    hmm.transmat_ = np.full((2, 2), 0.7)
    with pytest.raises(ValueError, match="transmat"):
        save(hmm, path)
    assert not path.exists()
