# %% [markdown]
# # Two coins, by hand
#
# Somebody takes one of two coins, tosses it ten times, and does so five times. We see the numbers
# of heads, not which coin it was. How likely is heads, with each coin? (Do and Batzoglou, What is
# the expectation maximization algorithm?, Nature Biotechnology 26, 2008.)
#
# `em.maximize` runs EM on anything that has an E-step, an M-step and an objective. The model here
# is the pair of probabilities.

# %%
import numpy as np
from matplotlib import pyplot as plt
from scipy.stats import binom

from emfast import em

HEADS, TOSSES = np.array([5, 9, 8, 4, 7]), 10


class TwoCoins:
    """Each coin is taken half of the time."""

    def likelihoods(self, theta):
        """p(heads, coin), of shape (5, 2)."""
        return 0.5 * binom.pmf(HEADS[:, None], TOSSES, theta)

    def estep(self, theta):
        """Responsibilities: the probability of each coin, given the heads."""
        joint = self.likelihoods(theta)
        return joint / joint.sum(axis=1, keepdims=True)

    def mstep(self, r, theta):
        """The share of heads among the tosses that each coin is responsible for."""
        return HEADS @ r / (TOSSES * r.sum(axis=0))

    def objective(self, r, theta):
        """The log-likelihood."""
        return np.log(self.likelihoods(theta).sum(axis=1)).sum()


start = np.array([0.6, 0.5])
first = em.maximize(TwoCoins(), start, tol=0, max_iter=1)
tenth = em.maximize(TwoCoins(), start, tol=0, max_iter=10)
limit = em.maximize(TwoCoins(), start, tol=1e-14, max_iter=1000)

print("responsibilities of coin A:", TwoCoins().estep(start)[:, 0].round(3).tolist())
for name, trace in (("1 iteration", first), ("10 iterations", tenth), ("the limit", limit)):
    print(f"{name:14} {trace.model.round(4).tolist()}")

# %% [markdown]
# Who decides for the likelier coin each time, instead of sharing the tosses between both, ends
# somewhere else, and after one iteration already. What hard assignments climb is another
# objective: the likelihood joint with the best choice of coins.

# %%


class HardCoins(TwoCoins):
    """Each five tosses belong to the likelier coin as a whole."""

    def estep(self, theta):
        return np.eye(2)[self.likelihoods(theta).argmax(axis=1)]

    def objective(self, r, theta):
        return np.log((self.likelihoods(theta) * r).sum(axis=1)).sum()


hard = em.maximize(HardCoins(), start, tol=0, max_iter=3)
print(f"{'hard':14} {hard.model.round(4).tolist()}")

# %% [markdown]
# The likelihood over both probabilities has two equal hilltops: names of coins mean nothing. The
# start decides which of them EM climbs.

# %%
theta = np.linspace(0.02, 0.98, 97)
surface = np.array([[TwoCoins().objective(None, np.array([a, b])) for a in theta] for b in theta])
walk = np.array(
    [em.maximize(TwoCoins(), start, tol=0, max_iter=n_iter).model for n_iter in range(30)]
)

figure, ax = plt.subplots(figsize=(6, 5.6), layout="constrained")
levels = surface.max() - np.linspace(4.0, 0.1, 18) ** 2
ax.contourf(theta, theta, surface, levels, cmap="YlGnBu_r", extend="both", alpha=0.8)
ax.plot([0, 1], [0, 1], color="white", linewidth=0.8)
ax.plot(*walk.T, "o-", color="#D55E00", markersize=6, markeredgecolor="white", label="EM")
ax.plot(*np.stack([start, hard.model]).T, "s--", color="#1B1F24", label="hard assignment")
ax.set(xlabel="coin A: probability of heads", ylabel="coin B: probability of heads")
ax.set(aspect="equal", xlim=theta[[0, -1]], ylim=theta[[0, -1]])
ax.legend(loc="lower left")
plt.show()
