# %% [markdown]
# # Genetic linkage, 1977
#
# 197 animals fall into four classes of probabilities 1/2 + t/4, (1 - t)/4, (1 - t)/4 and t/4. How
# large is t? (Dempster, Laird and Rubin, Maximum likelihood from incomplete data via the EM
# algorithm, Journal of the Royal Statistical Society B 39, 1977; the data are Rao's.)
#
# What hides is which animals of the first class belong to its part of probability t/4. If that were
# known, t would be a share of counts.

# %%
import numpy as np

from emfast import em


class Linkage:
    """Counts of animals in four classes; the model is t, a number."""

    counts = np.array([125, 18, 20, 34])

    def estep(self, t):
        """How many of the first class are expected in its part of probability t/4."""
        return self.counts[0] * t / (2 + t)

    def mstep(self, hidden, t):
        """Of the animals in parts of t/4 or (1 - t)/4, the share of the former."""
        ours, others = hidden + self.counts[3], self.counts[1] + self.counts[2]
        return ours / (ours + others)

    def objective(self, hidden, t):
        """The log-likelihood of the counts that were seen, without the multinomial coefficient."""
        return self.counts @ np.log([2 + t, 1 - t, 1 - t, t]) - self.counts.sum() * np.log(4)


iterates = [em.maximize(Linkage(), 0.5, tol=0, max_iter=n_iter).model for n_iter in range(9)]
limit = em.maximize(Linkage(), 0.5, tol=0, max_iter=60).model

for number, t in enumerate(iterates):
    print(f"{number}  {t:.9f}  {t - limit:+.1e}")
print(f"   {limit:.12f}")

# %% [markdown]
# Every iteration leaves about 0.1328 of the distance to the limit: the share of information on t
# that is missing, because the parts of the first class cannot be told apart.

# %%
distances = np.abs(np.array(iterates) - limit)
print("left by each iteration:", (distances[1:] / distances[:-1]).round(4).tolist())
