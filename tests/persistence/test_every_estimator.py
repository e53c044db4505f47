"""Every public estimator in files, pickles and copies."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest

import emcore
import emfast
from emfast.storage import archive
from fitted_estimators import (
    CASES,
    answers,
    assert_alike,
    assert_same_answers,
    fitted,
    public_estimators,
)
from write_saved_files import FOLDER, folder_of

EVERY = pytest.mark.parametrize("name", CASES)


def saved_and_loaded(model, path):
    model.save(path / "model")
    return emfast.load(path / "model")


def dumped_and_loaded(model, path):
    joblib.dump(model, path / "model.joblib")
    return joblib.load(path / "model.joblib")


WAYS = {
    "file": saved_and_loaded,
    "joblib": dumped_and_loaded,
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, path: copy.deepcopy(model),
}


def test_every_public_estimator_is_among_the_cases():
    assert {type(case.estimator).__name__ for case in CASES.values()} == {*public_estimators()}
    assert all(type(CASES[name].estimator) is each for name, each in public_estimators().items())


@EVERY
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost(name, way, tmp_path):
    case, before = CASES[name], fitted(name)
    after = WAYS[way](before, tmp_path)
    assert_alike(after, before)
    assert_same_answers(answers(after, case.X, case.y), answers(before, case.X, case.y))


@EVERY
def test_a_warm_start_goes_on(name, tmp_path):
    case, model = CASES[name], copy.deepcopy(fitted(name))
    if "warm_start" not in model.get_params():
        assert name.startswith("MixtureClassifier")
        return
    model.set_params(warm_start=True, tol=0, max_iter=2)
    model.save(tmp_path / "model")
    fits = []
    for each in (emfast.load(tmp_path / "model"), model):
        each.fit(case.X, *([] if case.y is None else [case.y]), **case.given)
        assert each.n_iter_ == 2
        fits.append(answers(each, case.X, case.y))
    assert_same_answers(*fits)


@EVERY
def test_a_file_of_a_file_is_the_same_file(name, tmp_path):
    fitted(name).save(tmp_path / "first")
    emfast.load(tmp_path / "first").save(tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.parametrize("name", public_estimators())
def test_what_is_not_fitted_is_not_saved(name, tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        public_estimators()[name]().save(tmp_path / "model")
    assert os.listdir(tmp_path) == []


LOAD_ALL = """
import pickle, sys
import emcore, emfast
from fitted_estimators import answers
with open(sys.argv[1], "rb") as file:
    models = pickle.load(file)
found = {name: answers(*each) for name, each in models.items()}
files = {name: answers(emfast.load(f"{sys.argv[1]} {name}"), *each[1:])
         for name, each in models.items()}
with open(sys.argv[2], "wb") as file:
    pickle.dump((emcore.instruction_set, found, files), file)
"""


@pytest.mark.parametrize("instructions", emcore.runnable_instruction_sets())
def test_processes_with_other_instruction_sets(instructions, tmp_path):
    models = {name: (fitted(name), case.X, case.y) for name, case in CASES.items()}
    with open(tmp_path / "models", "wb") as file:
        pickle.dump(models, file)
    for name, (model, _, _) in models.items():
        model.save(tmp_path / f"models {name}")
    subprocess.run(
        [sys.executable, "-c", LOAD_ALL, tmp_path / "models", tmp_path / "answers"],
        env=os.environ
        | {
            emcore.INSTRUCTION_SET_VARIABLE: instructions,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
        },
        check=True,
    )
    with open(tmp_path / "answers", "rb") as file:
        found_instructions, of_pickles, of_files = pickle.load(file)
    assert found_instructions == instructions
    for name, each in models.items():
        expected = answers(*each)
        assert_same_answers(of_files[name], of_pickles[name])
        for method, values in expected.items():
            found = of_pickles[name][method]
            if values.dtype.kind == "f":
                # Some rows are float32.
                np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(found, values)


# Files of this and earlier versions


@pytest.mark.parametrize("name", public_estimators())
def test_this_format_has_a_file_of_every_estimator(name):
    path = folder_of(archive.FORMAT_VERSION) / f"{name}.npz"
    assert type(emfast.load(path)) is public_estimators()[name]


@pytest.mark.parametrize(
    "path", sorted(FOLDER.glob("*/*.npz")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_files_of_every_version_are_read(path):
    model = emfast.load(path)
    told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    X, y = pd.DataFrame(told["X"]), told["y"]
    y = pd.DataFrame(y) if isinstance(y, dict) else y
    found = answers(model, X.astype(told["dtypes"]), y)
    assert found.keys() == told["answers"].keys()
    for method, expected in told["answers"].items():
        if found[method].dtype.kind == "f":
            np.testing.assert_allclose(found[method], expected, rtol=1e-4, atol=1e-6)
        else:
            assert found[method].tolist() == expected
    for attribute, expected in told["attributes"].items():
        value = getattr(model, attribute)
        assert (value.tolist() if isinstance(value, np.ndarray) else value) == expected
