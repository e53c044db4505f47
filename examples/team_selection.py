# %% [markdown]
# # Who makes the team?
#
# Of 600 players we know height, weight, hours of exercise a week and hours of sleep, and the score
# of one match. Whether a player was fit that day is hidden. Fitness comes of exercise and sleep;
# what height and weight are good for depends on it. A doctor has examined 30 of the players.
#
# The data are simulated, so that we can look at the truth afterwards.

# %%
import numpy as np
from matplotlib import pyplot as plt
from sklearn.linear_model import LinearRegression

from emfast import LinearRegressionMixture, MixtureOfExperts

NAMES = ["height", "weight", "exercise", "sleep"]


def players(n, rng):
    """Features, hidden fitness, and scores of some players."""
    height = rng.normal(180, 8, n)
    weight = 75 + 0.6 * (height - 180) + rng.normal(0, 6, n)
    exercise, sleep = rng.gamma(4, 1.5, n), rng.normal(7, 1, n)
    is_fit = rng.random(n) < 1 / (1 + np.exp(-0.7 * (exercise - 6) - 1.2 * (sleep - 7)))
    fit_score = 70 + 0.6 * (height - 180)
    unfit_score = 50 - 0.8 * (weight - 75)
    score = np.where(is_fit, fit_score, unfit_score) + rng.normal(0, 4, n)
    return np.column_stack([height, weight, exercise, sleep]), is_fit, score


rng = np.random.default_rng(0)
X, is_fit, score = players(600, rng)
examined = rng.choice(600, 30, replace=False)
labels = np.full(600, None)
labels[examined] = np.where(is_fit[examined], "fit", "unfit")

# %% [markdown]
# Two experts, each a linear regression of the score, and a gate that tells by the features how
# probable it is that a player is fit. EM fits both at once, with what the doctor said of the 30.

# %%
experts = MixtureOfExperts(2, random_state=0, max_iter=500).fit(X, score, labels=labels)
errors = experts.standard_errors(X, score, labels=labels)

odds = experts.gate_coef_[0] - experts.gate_coef_[1]
print("what a unit more adds            fit          unfit       log-odds of being fit")
for i, name in enumerate(NAMES):
    fit, unfit = experts.coef_[:, i]
    print(
        f"{name:24}  {fit:5.2f} ± {errors['coef'][0, i]:.2f}  {unfit:5.2f} ± "
        f"{errors['coef'][1, i]:.2f}  {odds[i]:5.2f} ± {2 * errors['gate_coef'][0, i]:.2f}"
    )

# %% [markdown]
# The table is how the data were made: height counts for those who are fit, weight against those who
# are not; exercise and sleep do nothing for the score but decide who is which. One regression for
# all mixes this up, and a mixture of regressions without a gate cannot say who will be fit.

# %%
new, new_is_fit, new_score = players(2000, rng)
plain = LinearRegression().fit(X, score)
mixture = LinearRegressionMixture(2, random_state=0, max_iter=500).fit(X, score, labels=labels)
for name, model in (("one regression", plain), ("mixture", mixture), ("experts", experts)):
    print(f"{name:15} R² on new players {model.score(new, new_score):.2f}")

p = experts.predict_proba(new)[:, 0]
seen = experts.predict_proba(new, new_score)[:, 0]
print(f"who is fit, by the features:        {((p > 0.5) == new_is_fit).mean():.0%} right")
print(f"and by the score of the match, too: {((seen > 0.5) == new_is_fit).mean():.0%} right")

# %% [markdown]
# The team: eleven of the new players, by the score that is expected of them.

# %%
team = np.argsort(experts.predict(new))[-11:]
print(f"mean score of the team {new_score[team].mean():.0f}, of all {new_score.mean():.0f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.2), layout="constrained")
shown = {"cmap": "coolwarm", "s": 14, "vmin": 0, "vmax": 1}
left.scatter(new[:, 2], new[:, 3], c=p, **shown)
left.scatter(*new[team, 2:].T, facecolors="none", edgecolors="#1B1F24", s=70, label="the team")
left.set(xlabel="exercise, hours a week", ylabel="sleep, hours a night")
left.set_title("How probable it is to be fit, by the gate", loc="left")
left.legend(loc="lower right")
right.scatter(new[:, 1], new_score, c=seen, **shown)
weights = np.linspace(55, 95, 2)
middle = np.column_stack([np.full(2, 180.0), weights, np.full(2, 6.0), np.full(2, 7.0)])
for line, color in zip(experts.predict_components(middle).T, ("#B40426", "#3B4CC0"), strict=True):
    right.plot(weights, line, color=color, linewidth=2)
right.set(xlabel="weight, kg", ylabel="score")
right.set_title("The two experts, and who is whose once the score is known", loc="left")
plt.show()
