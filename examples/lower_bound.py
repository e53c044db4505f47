# %% [markdown]
# # The lower bound that EM climbs
#
# Take any guess q of who belongs where: responsibilities, rows of which sum to 1. Then
#
#     log p(X) = L(q, θ) + KL(q, θ)
#
# with the lower bound L = Σ q log(p(x, z) / q) and the divergence KL = Σ q log(q / p(z | x)) ≥ 0.
# `emfast.elbo` computes all three, for every mixture.

# %%
import numpy as np
from matplotlib import pyplot as plt

from emfast import GaussianMixture, elbo, plot
from emfast.datasets import make_cars_and_trucks
from emfast.theory import staircase

X, _ = make_cars_and_trucks(0, 1000, random_state=0)
mixture = GaussianMixture(2, covariance_type="spherical", random_state=0).fit(X)

guesses = {
    "its own": mixture.predict_proba(X),
    "the nearest component": np.eye(2)[mixture.predict(X)],
    "no idea": np.full((len(X), 2), 0.5),
}
parts = {name: elbo(mixture, X, q) for name, q in guesses.items()}
print("responsibilities         log p(X)          L         KL")
for name, (total, bound, divergence) in parts.items():
    print(f"{name:22} {total:10.2f} {bound:10.2f} {divergence:10.2f}")

# %% [markdown]
# The guess changes L and KL, never their sum; the mixture's own responsibilities leave no
# divergence.
#
# The two steps of EM take turns at L. The **E-step** chooses q: the divergence becomes 0, and the
# bound touches the log-likelihood. The **M-step** chooses θ: the bound rises, and the log-
# likelihood rises by more, because a new divergence opens between them.

# %%
start = GaussianMixture(
    2,
    covariance_type="spherical",
    weights_init=[0.5, 0.5],
    means_init=[[6.0], [8.0]],
    covariances_init=[9.0, 9.0],
)
steps = staircase(start, X, n_iter=9)

ax = plot.staircase(steps)
ax.set_title("Every step of EM goes up", loc="left")
plt.show()

# %% [markdown]
# The same once more, for one parameter: the mean of the cars, while all else is known. Every
# lower bound is a parabola that touches the log-likelihood where its responsibilities were taken.
# Its maximum is where the M-step goes.

# %%
known = GaussianMixture(
    2,
    covariance_type="spherical",
    weights_init=[0.6, 0.4],
    means_init=[[0.0], [10.0]],
    covariances_init=[1.0, 4.0],
    max_iter=0,
).fit(X)


def with_mean(mean):
    """The known mixture with another mean of the cars."""
    known.means_ = np.array([[mean], [10.0]])
    return known


def log_likelihood(mean):
    return len(X) * with_mean(mean).score(X)


grid = np.linspace(0.0, 9.0, 181)
figure, ax = plt.subplots(figsize=(7, 5), layout="constrained")
ax.plot(grid, [log_likelihood(mean) for mean in grid], color="0.1", linewidth=2.4, label="log p(X)")

visited = [1.0]
for number, colour in enumerate(plot.COLOURS[:3]):
    q = with_mean(visited[-1]).predict_proba(X)
    bounds = [elbo(with_mean(mean), X, q).lower_bound for mean in grid]
    ax.plot(grid, bounds, color=colour, label=f"L after E-step {number}")
    ax.plot(visited[-1], log_likelihood(visited[-1]), "o", color=colour, markersize=9)
    visited.append(float(q[:, 0] @ X[:, 0] / q[:, 0].sum()))
    ax.axvline(visited[-1], color=colour, linestyle=":", zorder=0)

ax.set_ylim(log_likelihood(0.0), -2200)
ax.set_xlabel("mean of the cars")
ax.set_ylabel("log-likelihood and lower bounds (nats)")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False, loc="upper left")
plt.show()
print("means visited:", np.round(visited, 3).tolist())
