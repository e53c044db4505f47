# %% [markdown]
# # Cars and trucks
#
# Lengths of vehicles: cars are N(5, 1²), trucks N(10, 2²), and six in ten are cars. Of 1100
# vehicles a hundred are labelled. Weights and standard deviations are known; EM has to find the
# two means.

# %%
import numpy as np
from matplotlib import pyplot as plt

from emfast import GaussianMixture, plot
from emfast.datasets import make_cars_and_trucks
from emfast.landscape import landscape, paths

X, labels = make_cars_and_trucks(random_state=0)

mixture = GaussianMixture(
    2,
    covariance_type="spherical",
    weights_init=[0.6, 0.4],
    covariances_init=[1.0, 4.0],
    fixed=("weights", "covariances"),
    random_state=0,
)
mixture.fit(X, labels=labels)
for name, mean in zip(mixture.classes_, mixture.means_.ravel(), strict=True):
    print(f"{name:5} {mean:.2f}")

# %% [markdown]
# That start was taken from the labelled rows. What if we had guessed? Here is what EM makes of
# every pair of initial means on a grid.
#
# - Left, the objective after ten iterations. Lines are the likelihood of the initial means: a hill
#   about (5, 10), and a lower one where the two have changed places.
# - Right, where the means are, by then nearly all of them on one of the two hilltops.

# %%
means = np.linspace(0, 15, 31)
hills = landscape(mixture, X, means, means, n_iter=0, labels=labels)
after_ten = landscape(mixture, X, means, means, n_iter=10, labels=labels)
walks = paths(mixture, X, means[::2], means[::2], n_iter=10, labels=labels)

figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.6), layout="constrained")
plot.landscape(after_ten, left)
plot.contours(hills, left, "0.3")
plot.attractors(walks, right)
for ax in (left, right):
    ax.set(xlabel="mean of the cars", ylabel="mean of the trucks")
plt.show()

# %%
for means, objective in zip(walks.attractors, walks.objectives, strict=True):
    print(f"attractor ({means[0]:.2f}, {means[1]:.2f}), objective {objective:.4f}")

# %% [markdown]
# At the second attractor the narrow component sits on the trucks, and the broad one has to
# explain the cars. From there no single step leads uphill; EM never leaves it. Most other starts
# need three to five iterations until both means are within 0.1 of the best.

# %%
to_best = walks.positions[walks.leads_to == 0]
distances = np.abs(to_best - walks.attractors[0]).max(axis=-1)
near = (distances < 0.1).mean(axis=0)
for n_iter in (1, 3, 5, 10):
    print(f"within 0.1 of the best after {n_iter:2} iterations: {near[n_iter]:.0%} of its starts")

# %% [markdown]
# The trap is made of what we know. Let EM also estimate the weights and variances, from the same
# starting values, and the narrow component can grow where it sits: one attractor is left.

# %%
free = GaussianMixture(
    2, covariance_type="spherical", weights_init=[0.6, 0.4], covariances_init=[1.0, 4.0]
)
free_walks = paths(free, X, np.arange(1.0, 15.0, 2), np.arange(1.0, 15.0, 2), labels=labels)
print("attractors with free weights and variances:", free_walks.attractors.round(2).tolist())
