# %% [markdown]
# # One fit, several processes
#
# Sufficient statistics of different rows add. So whoever can run a function where rows are, and add
# what comes back, can fit a model to rows that are never in one place: here with nothing but
# `multiprocessing`, and in the same way with Ray, MPI or a shell script.
#
# Rows lie in files, one of which every job reads. The model goes out as a file, statistics come
# back: their size does not depend on the number of rows.

# %%
import multiprocessing
import tempfile
from pathlib import Path

import numpy as np

import emfast
from emfast import GaussianMixture
from emfast.datasets import make_gaussian_mixture


def summarize(job):
    """The E-step on one file of rows."""
    model, rows = job
    return emfast.load(model).summarize(np.load(rows))


# %% [markdown]
# The start is made of some of the rows (`max_iter=0`). Then E-step, sum and M-step take turns,
# until the gains are small. Sums are the same to the bit for any number of processes, because they
# are added in the order of the files.


# %%
def fit(folder, files, processes):
    """The mixture that EM leads to, by so many processes."""
    mixture = GaussianMixture(4, max_iter=0, tol=1e-5, random_state=0, n_threads=1)
    mixture.fit(np.load(files[0]))
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        while not mixture.converged_ and mixture.n_iter_ < 200:
            mixture.save(folder / "model")
            mixture.update(sum(pool.map(summarize, [(folder / "model", file) for file in files])))
    return mixture


if __name__ == "__main__":
    X, _ = make_gaussian_mixture(8000, 3, 4, separation=3, random_state=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / f"rows{i}.npy" for i in range(4)]
        for file, rows in zip(files, np.array_split(X, 4), strict=True):
            np.save(file, rows)
        mixture = fit(folder, files, processes=2)

    alone = GaussianMixture(4, tol=1e-5, random_state=0, max_iter=200).fit(X)
    print(f"converged after {mixture.n_iter_} iterations")
    print(f"two processes: {mixture.score(X):.3f} nats a row; one fit: {alone.score(X):.3f}")
