"""Writes `tests/data/saved`: a file of every estimator in this format, and what the model says.

Run it when there is a new estimator or a new version of the format: ``PYTHONPATH=tests python
tests/write_saved_files.py``. Files that are there are kept: later versions have to read them.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from emfast.storage import archive
from fitted_estimators import CASES, answers, fitted

FOLDER = Path(__file__).parent / "data" / "saved"
N_ROWS = 8
ATTRIBUTES = ("n_iter_", "converged_", "lower_bound_", "feature_names_in_", "classes_")


def folder_of(version):
    return FOLDER / f"format_{version}"


def write(name, path):
    model, case = fitted(name), CASES[name]
    model.save(path)
    X, y = case.X[:N_ROWS], None if case.y is None else case.y[:N_ROWS]
    told = {
        "X": as_lists(X),
        "dtypes": {column: dtype.name for column, dtype in X.dtypes.items()},
        "y": as_lists(y) if isinstance(y, pd.DataFrame) else np.asarray(y).tolist(),
        "answers": {method: each.tolist() for method, each in answers(model, X, y).items()},
        "attributes": {
            each: np.asarray(getattr(model, each)).tolist()
            for each in ATTRIBUTES
            if hasattr(model, each)
        },
    }
    path.with_suffix(".json").write_text(json.dumps(told) + "\n", encoding="utf-8")


def as_lists(table):
    return {column: values.tolist() for column, values in table.items()}


if __name__ == "__main__":
    folder = folder_of(archive.FORMAT_VERSION)
    folder.mkdir(parents=True, exist_ok=True)
    for name in CASES:
        path = folder / f"{name.replace(' ', '_')}.npz"
        if not path.exists():
            write(name, path)
            print(path)
