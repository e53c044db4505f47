import os
import stat
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from emfast import BernoulliMixture, GaussianMixture, LinearRegressionMixture, MixtureOfExperts
from emfast.datasets import make_gaussian_mixture
from emfast.emissions import Binomial, Categorical, Gaussian, Poisson
from emfast.storage import archive
from emfast.storage.persistence import load, save
from saved_files import entries_of, rewritten


@pytest.fixture
def X():
    return make_gaussian_mixture(300, 3, 2, random_state=0)[0]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


def assert_same(before, after, X):
    for method in ("predict_proba", "score_samples", "predict"):
        assert np.array_equal(getattr(before, method)(X), getattr(after, method)(X))
    assert before.bic(X) == after.bic(X)
    assert vars(before).keys() == vars(after).keys()
    for name, value in vars(before).items():
        if isinstance(value, np.ndarray):
            other = getattr(after, name)
            assert np.array_equal(value, other), name
            assert value.dtype == other.dtype, name


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaussian(X, path, covariance_type, dtype):
    X = X.astype(dtype)
    before = GaussianMixture(2, covariance_type=covariance_type, random_state=0, n_init=2).fit(X)
    save(before, path)
    after = load(path)
    assert_same(before, after, X)
    assert after.get_params() == before.get_params()
    assert after.restarts_ == before.restarts_


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_bernoulli(path, dtype):
    X = (np.random.default_rng(0).random((200, 5)) < 0.4).astype(dtype)
    # A probability of exactly 1 must stay what it is.
    X[:, 0] = 1
    before = BernoulliMixture(3, random_state=0, tol=1e-2).fit(X)
    save(before, path)
    assert_same(before, load(path), X)


EXPERTS = {
    "gaussian": (Gaussian("full"), lambda y: np.column_stack([y, y**2])),
    "categories": (Categorical(), lambda y: np.where(y > 0, "up", "down")),
    "counts": (Binomial(n_trials=[3, 9]), lambda y: np.column_stack([y > 0, 4 * (y > 1)]) * 1),
    "product": (
        [("a", Gaussian("diag"), [0]), ("b", Categorical(), [1]), ("c", Poisson(), [2])],
        lambda y: np.column_stack([y, y > 0, np.abs(np.round(y))]),
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["mixture", "linear", *EXPERTS])
def test_regressions(X, path, kind, dtype):
    X, y = X[:, :2].astype(dtype), X[:, 2].astype(dtype)
    arguments = {"random_state": 0, "tol": 1e-2, "max_iter": 500}
    if kind == "mixture":
        before = LinearRegressionMixture(2, **arguments).fit(X, y)
    elif kind == "linear":
        before = MixtureOfExperts(2, **arguments).fit(X, y)
    else:
        expert, change = EXPERTS[kind]
        y = change(y)
        before = MixtureOfExperts(2, expert=expert, **arguments).fit(X, y)
    save(before, path)
    after = load(path)
    for found, expected in (
        (after.predict(X), before.predict(X)),
        (after.predict_proba(X), before.predict_proba(X)),
        (after.predict_proba(X, y), before.predict_proba(X, y)),
        (after.score_samples(X, y), before.score_samples(X, y)),
        (after.sample(X)[0], before.sample(X)[0]),
    ):
        assert np.array_equal(found, expected)
        assert found.dtype == expected.dtype
    assert after.bic(X, y) == before.bic(X, y)
    assert vars(before).keys() == vars(after).keys()


def test_goes_on_where_it_was(X, path):
    before = GaussianMixture(2, random_state=0, warm_start=True, tol=0, max_iter=3).fit(X)
    save(before, path)
    after = load(path)
    assert np.array_equal(before.fit(X).means_, after.fit(X).means_)


@pytest.mark.parametrize(
    "labels",
    [
        ["car", "truck"],
        np.array(["car", "truck"]),
        pd.Series(pd.Categorical(["b", "a"], categories=["b", "a"])),
    ],
)
def test_names_of_classes_and_features(X, path, labels):
    table = pd.DataFrame(X[:2], columns=["a", "b", "é"])
    before = GaussianMixture(2, random_state=0).fit(table, labels=labels)
    save(before, path)
    after = load(path)
    assert after.classes_.tolist() == before.classes_.tolist()
    assert after.classes_.dtype == before.classes_.dtype
    assert after.feature_names_in_.tolist() == ["a", "b", "é"]
    assert_same(before, after, table)


def test_arguments_of_every_kind(X, path):
    before = GaussianMixture(
        np.int64(2),
        covariance_type="diag",
        tol=np.float64(0.5),
        weights_init=[0.5, 0.5],
        means_init=X[:2],
        covariances_init=pd.DataFrame(np.ones((2, 3))),
        fixed={"weights"},
    ).fit(X)
    save(before, path)
    after = load(path)
    assert after.weights_init == [0.5, 0.5]
    assert np.array_equal(after.means_init, X[:2])
    assert np.array_equal(after.covariances_init, np.ones((2, 3)))
    assert after.fixed == {"weights"}
    assert after.bic(X) == before.bic(X)


def test_a_random_state_is_not_stored(X, path):
    save(GaussianMixture(2, random_state=np.random.RandomState(0)).fit(X), path)
    assert load(path).random_state is None


def test_a_failed_start_is_stored_without_infinity(path):
    X = np.repeat([[0.0], [1.0]], 20, axis=0) + np.random.default_rng(0).normal(0, 1e-3, (40, 1))
    X = np.vstack([X, np.full((20, 1), 5.0)])
    mixture = GaussianMixture(2, reg_covar=0, n_init=8, init_params="random_from_data", tol=1e-2)
    mixture.set_params(random_state=1).fit(X)
    mixture.restarts_[0].score, mixture.restarts_[0].error = -np.inf, "singular"
    save(mixture, path)
    assert load(path).restarts_ == mixture.restarts_


def test_attributes_set_by_hand_are_what_is_stored(X, path):
    mixture = GaussianMixture(2, random_state=0).fit(X)
    mixture.means_ = mixture.means_ + 1
    save(mixture, path)
    assert np.array_equal(load(path).score_samples(X), mixture.score_samples(X))


def test_the_header_is_json_and_nothing_is_pickled(X, path):
    save(GaussianMixture(2, random_state=0).fit(X), path)
    header, arrays = entries_of(path)
    assert all(array.dtype.kind in "biufU" for array in arrays.values())
    assert header["format"] == "emfast"
    assert header["format_version"] == 1
    assert header["class"] == "GaussianMixture"


# What cannot be saved


def test_an_unfitted_estimator_cannot_be_saved(path):
    with pytest.raises(NotFittedError):
        save(GaussianMixture(2), path)
    assert not path.exists()


def test_other_classes_cannot_be_saved(X, path):
    class Mine(GaussianMixture):
        pass

    with pytest.raises(TypeError, match="expected one of"):
        save(Mine(2, random_state=0).fit(X), path)


def test_changed_arguments_cannot_be_saved(X, path):
    mixture = GaussianMixture(3, covariance_type="diag", random_state=0, tol=1).fit(X)
    mixture.set_params(covariance_type="tied")
    with pytest.raises(ValueError, match="changed to tied Gaussian since"):
        save(mixture, path)
    mixture.set_params(covariance_type="diag").means_ = np.full((3, 3), np.nan)
    with pytest.raises(ValueError, match="means: found NaN or infinity; expected finite"):
        save(mixture, path)
    assert not path.exists()


def test_classes_that_are_no_names_cannot_be_saved(X, path):
    labels = np.array(["2020-01-01", "2021-01-01"], "datetime64[D]")
    mixture = GaussianMixture(2, random_state=0).fit(X[:2], labels=labels.astype(object))
    with pytest.raises(TypeError, match=r"classes_: cannot store datetime\.date"):
        save(mixture, path)


# Files


def test_the_path_is_taken_as_it_is_and_replaced(X, tmp_path):
    path = tmp_path / "model"
    path.write_text("old")
    save(GaussianMixture(2, random_state=0).fit(X), str(path))
    assert os.listdir(tmp_path) == ["model"]
    assert isinstance(load(str(path)), GaussianMixture)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_file_is_as_readable_as_any_other(X, path, tmp_path):
    save(GaussianMixture(2, random_state=0).fit(X), path)
    other = tmp_path / "other"
    other.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_file_is_as_readable_as_the_one_it_replaces(X, path):
    mixture = GaussianMixture(2).fit(X)
    for mode in (0o600, 0o664):
        path.touch()
        path.chmod(mode)
        mixture.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_file_that_is_read_only_stays(X, path, monkeypatch):
    # As for users who may not write whatever they like.
    monkeypatch.setattr(os, "access", lambda file, how: bool(os.stat(file).st_mode & stat.S_IWUSR))
    path.write_bytes(b"precious")
    path.chmod(0o444)
    with pytest.raises(PermissionError, match=r"model\.npz: is read-only and would be replaced"):
        GaussianMixture(2).fit(X).save(path)
    assert path.read_bytes() == b"precious"
    path.chmod(0o644)


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links")
def test_a_link_stays_a_link(X, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    save(GaussianMixture(2, random_state=0).fit(X), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert isinstance(load(tmp_path / "target"), GaussianMixture)


@pytest.mark.parametrize(("module", "failing"), [(archive, "_write_entries"), (os, "replace")])
def test_a_failure_leaves_the_old_file_and_nothing_else(X, path, monkeypatch, module, failing):
    mixture = GaussianMixture(2, random_state=0).fit(X)
    path.write_text("old")

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(module, failing, fail)
    with pytest.raises(OSError, match="disk full"):
        save(mixture, path)
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == [path.name]


def test_places_that_cannot_be_written(X, tmp_path):
    mixture = GaussianMixture(2, random_state=0).fit(X)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        save(mixture, tmp_path / "missing" / "model.npz")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save(mixture, tmp_path)
    if os.path.exists("/dev/null"):
        with pytest.raises(FileExistsError, match="not a regular file"):
            save(mixture, "/dev/null")


def test_every_truncation_is_a_clear_error(X, path):
    save(GaussianMixture(2, random_state=0).fit(X), path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"model\.npz: not an emfast model, or a damaged one"):
            load(path)


def test_every_flipped_byte_is_an_error_or_harmless(X, path):
    mixture = GaussianMixture(2, random_state=0).fit(X)
    save(mixture, path)
    whole = path.read_bytes()
    expected = mixture.score_samples(X)
    errors = 0
    for position in range(0, len(whole), 53):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            found = load(path).score_samples(X)
        except ValueError as error:
            assert "model.npz" in str(error)
            errors += 1
        else:
            # Time stamps and the like carry nothing.
            assert np.array_equal(found, expected)
    assert errors > len(whole) / 53 / 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(format_version=2), "newer one is needed"),
        (lambda h: h.update(format="other"), "not an emfast model"),
        (lambda h: h.update(format_version="1"), "no format version"),
        (lambda h: h.update({"class": "os.system"}), "class 'os.system'; expected one of"),
        (lambda h: h.update({"class": "BernoulliMixture"}), "unknown parameters"),
        (lambda h: h["parameters"].update(shell="rm"), "unknown parameters"),
        (lambda h: h.update(shell="rm"), "unknown entries"),
        (lambda h: h["parameters"].update(covariance_type="diag"), "expected float64 of"),
        (lambda h: h["parameters"].update(covariance_type="round"), "covariance_type"),
        (lambda h: h["state"].update(dtype="object"), "expected float32 or float64"),
        (lambda h: h.pop("state"), "no fitted estimator"),
        (lambda h: h["state"].pop("model"), "model: found nothing"),
        (lambda h: h["state"].update(restarts_=[{"named": {"score": 1}}]), r"restarts_\[0\]"),
        (lambda h: h["state"].update(classes_={"values": [[]]}), "classes_"),
        (lambda h: h["state"].update(classes_={"values": ["a", "b", "c"]}), "found 3"),
        (lambda h: h["state"].update(classes_={"values": ["a", "a"]}), "different"),
        (lambda h: h["state"].pop("restarts_"), "with it, or neither"),
        (lambda h: h["state"].update(n_iter_=True), "n_iter_: found True"),
        (lambda h: h["parameters"].update(n_components=3), "expected float64 of"),
        (lambda h: h["parameters"].update(noise=True), "noise_bounds_"),
        (lambda h: h["parameters"].update(fixed=["colours"]), "colours"),
    ],
)
def test_headers_that_do_not_fit(X, path, change, message):
    save(GaussianMixture(2, random_state=0).fit(X), path)
    rewritten(path, change)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "arrays",
    [
        {"means": np.zeros((3, 3))},
        {"means": np.zeros(3)},
        {"means": np.zeros((2, 3), np.float32)},
        {"means": np.full((2, 3), np.nan)},
        {"weights": np.array([1.5, -0.5])},
        {"weights": np.array(1.0)},
        {"weights": np.zeros(0)},
        {"factors": np.zeros((2, 2, 2))},
    ],
)
def test_arrays_that_do_not_fit(X, path, arrays):
    save(GaussianMixture(2, random_state=0).fit(X), path)
    rewritten(path, lambda header: None, **arrays)
    with pytest.raises(ValueError, match="not a valid emfast model"):
        load(path)


def test_a_missing_array(X, path):
    save(GaussianMixture(2, random_state=0).fit(X), path)
    rewritten(path, lambda header: None, remove=["means"])
    with pytest.raises(ValueError, match="not a valid emfast model"):
        load(path)


def test_foreign_files(tmp_path):
    path = tmp_path / "foreign"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="not an emfast model"):
        load(path)
    with open(path, "wb") as file:
        np.savez(file, a=np.zeros(3))
    with pytest.raises(ValueError, match="not an emfast model"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("latent.coef", np.zeros((2, 3)), r"latent.coef: found float64 of shape \(2, 3\)"),
        ("latent.shares", np.array([0.5, -0.5]), "latent.shares: .* probabilities that sum to 1"),
        ("noise_variances", np.array([1.0, 0.0]), "noise_variances: .* expected positive"),
        ("centre", np.zeros(2), r"centre: found float64 of shape \(2,\)"),
        ("emission.coef", np.full((2, 2), np.nan), "coef: found NaN"),
        ("gate_scale_", np.array([1.0, -1.0]), "gate_scale_: .* expected positive"),
    ],
)
def test_arrays_of_experts_that_do_not_fit_are_refused(X, path, name, values, message):
    experts = MixtureOfExperts(2, random_state=0, tol=1e-2, max_iter=500).fit(X[:, :2], X[:, 2])
    save(experts, path)
    rewritten(path, lambda header: None, **{name: values})
    with pytest.raises(ValueError, match=message):
        load(path)
