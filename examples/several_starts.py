# %% [markdown]
# # Initialisation matters
#
# EM climbs the hill it starts on. Seven groups, seven components, and twelve starts from rows
# drawn at random: each run is convergent and monotone, and most of them end on a hill that is too
# low.

# %%
import numpy as np
from matplotlib import pyplot as plt

from emfast import GaussianMixture, plot
from emfast.datasets import make_gaussian_mixture

X, _ = make_gaussian_mixture(2000, 2, 7, separation=14, random_state=2)

settings = {"covariance_type": "diag", "tol": 1e-6, "max_iter": 2000}
mixture = GaussianMixture(
    7, n_init=12, init_params="random_from_data", random_state=0, **settings
).fit(X)

scores = np.array([restart.score for restart in mixture.restarts_])
print("objective of every start:", np.sort(scores).round(3).tolist())
print("starts within 0.001 of the best:", int((scores > scores.max() - 1e-3).sum()), "of 12")

# %% [markdown]
# `restarts_` tells how every start went, with the seed that repeats it. Here are all curves, the
# fit that was kept, and the worst, where several components share a group while another covers
# several.

# %%
worst = min(mixture.restarts_, key=lambda restart: restart.score)
repeated = GaussianMixture(
    7, init_params=worst.init_params, random_state=worst.seed, **settings
).fit(X)

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(17, 5), layout="constrained")
plot.trace(mixture, left)
left.set_title("Twelve starts", loc="left")
for ax, model, name in ((middle, mixture, "The best"), (right, repeated, "The worst")):
    plot.mixture(model, X, ax)
    ax.get_legend().remove()
    ax.set_title(f"{name}: {model.score(X):.3f} nats a row", loc="left")
plt.show()

# %% [markdown]
# The start by default, k-means, is better than rows drawn at random, and several of different
# kinds are better still.

# %%
default = GaussianMixture(7, n_init=4, random_state=0, **settings).fit(X)
print(f"four starts by default: {default.lower_bound_:.3f}; the best above: {scores.max():.3f}")
