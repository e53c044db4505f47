"""The driver on its own, with problems of a few lines."""

import math
import warnings
from dataclasses import dataclass, field

import numpy as np
import pytest

from emfast import em
from emfast.exceptions import ObjectiveDecreaseWarning


class Linkage:
    """Dempster, Laird and Rubin (1977): animals in four cells of probability
    (2 + t, 1 - t, 1 - t, t) / 4, the first of which mixes two cells 2/4 and t/4."""

    y = (125, 18, 20, 34)

    def estep(self, t):
        return self.y[0] * t / (2 + t)

    def mstep(self, hidden, t):
        return (hidden + self.y[3]) / (hidden + self.y[1] + self.y[2] + self.y[3])

    def objective(self, hidden, t):
        cells = (2 + t, 1 - t, 1 - t, t)
        return sum(n * math.log(cell / 4) for n, cell in zip(self.y, cells, strict=True))


LINKAGE_ITERATES = (0.608247423, 0.624321050, 0.626488879, 0.626777322, 0.626815632)
LINKAGE_LIMIT = 0.626821497871


@dataclass
class Script:
    """A problem that runs through given objectives: model i has objectives[i]."""

    objectives: list
    calls: list = field(default_factory=list)

    def estep(self, model):
        self.calls.append(("E", model))
        return model

    def mstep(self, statistics, model):
        # Statistics and the model they were computed with arrive together.
        assert statistics == model
        self.calls.append(("M", model))
        return model + 1

    def objective(self, statistics, model):
        assert statistics == model
        return self.objectives[model]


def gains(start, *steps):
    return np.cumsum([start, *steps]).tolist()


# The linkage example


@pytest.mark.parametrize("iterations", range(1, 6))
def test_linkage_iterates(iterations):
    trace = em.maximize(Linkage(), 0.5, tol=0, max_iter=iterations)
    assert trace.model == pytest.approx(LINKAGE_ITERATES[iterations - 1], abs=5e-10)


def test_linkage_limit():
    trace = em.maximize(Linkage(), 0.5, tol=1e-14, max_iter=1000)
    assert trace.converged
    assert trace.n_iter < 100
    assert trace.model == pytest.approx(LINKAGE_LIMIT, abs=1e-7)
    assert em.maximize(Linkage(), 0.5, tol=0, max_iter=60).model == pytest.approx(
        LINKAGE_LIMIT, abs=1e-11
    )


def test_linkage_objective_belongs_to_the_model():
    trace = em.maximize(Linkage(), 0.5, tol=1e-6)
    assert trace.objective == Linkage().objective(None, trace.model)
    assert trace.statistics == Linkage().estep(trace.model)
    assert trace.objectives[-1] == trace.objective


def test_numbers_of_numpy_become_those_of_python():
    class OfNumpy(Linkage):
        def objective(self, hidden, t):
            return np.float64(super().objective(hidden, t))

        def displacement(self, t, reference):
            return t - reference

        def displaced(self, displacement, reference):
            return reference + displacement

    for accelerate in (False, True):
        seen = []
        trace = em.maximize(
            OfNumpy(), np.float64(0.5), tol=1e-9, accelerate=accelerate, observe=seen.append
        )
        assert trace.converged is True
        numbers = [
            trace.objective,
            *trace.objectives,
            *trace.history,
            *(each.gain for each in seen),
        ]
        assert {type(number) for number in numbers} == {float}
        assert trace.model == pytest.approx(LINKAGE_LIMIT, abs=1e-5)


# Iterations


@pytest.mark.parametrize("max_iter", [0, 1, 2, 7])
def test_at_most_max_iter_m_steps_and_one_e_step_more(max_iter):
    script = Script(gains(0.0, *[1.0] * 10))
    trace = em.maximize(script, 0, tol=1e-3, max_iter=max_iter)
    kinds = [kind for kind, _ in script.calls]
    assert kinds == ["E"] + ["M", "E"] * max_iter
    assert trace.model == trace.n_iter == max_iter
    assert trace.objectives == script.objectives[1 : max_iter + 1]
    assert not trace.converged


def test_statistics_that_are_known_save_an_e_step():
    script = Script(gains(0.0, *[1.0] * 10))
    known = script.estep(0)
    script.calls.clear()
    saved = em.maximize(script, 0, tol=0, max_iter=4, statistics=known)
    assert [kind for kind, _ in script.calls] == ["M", "E"] * 4
    assert saved == em.maximize(Script(gains(0.0, *[1.0] * 10)), 0, tol=0, max_iter=4)


def test_a_state_knows_better_than_statistics_of_another_model():
    states = []
    whole = em.maximize(Script(gains(0.0, 1, 1, 1)), 0, tol=0, max_iter=3, keep=states.append)
    script = Script(gains(0.0, 1, 1, 1))
    rest = em.maximize(script, 0, tol=0, max_iter=3, statistics=script.estep(0), state=states[2])
    assert rest == whole


def test_max_iter_0_returns_the_start():
    script = Script([-3.0])
    trace = em.maximize(script, 0, tol=1e-3, max_iter=0)
    assert (trace.model, trace.objective, trace.n_iter) == (0, -3.0, 0)
    assert trace.statistics == 0
    assert trace.objectives == []
    assert trace.history == [-3.0]
    assert not trace.converged


def test_tol_0_runs_exactly_max_iter_even_when_nothing_moves():
    trace = em.maximize(Script([1.0] * 9), 0, tol=0, max_iter=8)
    assert trace.n_iter == 8
    assert not trace.converged


def test_stops_at_once_when_converged():
    script = Script([*gains(0.0, 1.0, 1e-9), math.nan])
    trace = em.maximize(script, 0, tol=1e-3, max_iter=100)
    assert trace.converged
    assert trace.n_iter == 2
    assert script.calls[-1] == ("E", 2)


# Convergence


def test_gain_alone_decides_before_there_are_three_objectives():
    trace = em.maximize(Script(gains(0.0, 1e-4)), 0, tol=1e-3, max_iter=1)
    assert trace.converged


def test_gain_of_tol_is_not_below_tol():
    trace = em.maximize(Script([0.0, 0.5]), 0, tol=0.5, max_iter=1)
    assert not trace.converged


@pytest.mark.parametrize(
    ("ratio", "tol", "converged"),
    [
        # last gain 1e-4; still to come: 1e-4 ratio / (1 - ratio)
        (0.5, 1.5e-4, True),
        (0.9, 8e-4, False),
        (0.9, 9.5e-4, True),
        (0.99, 9e-3, False),
        (0.99, 1e-2, True),
    ],
)
def test_remaining_gain_must_be_below_tol_too(ratio, tol, converged):
    objectives = gains(0.0, 1e-4 / ratio, 1e-4)
    assert em.remaining_gain(objectives) == pytest.approx(1e-4 * ratio / (1 - ratio), rel=1e-9)
    assert em.has_converged(objectives, tol) is converged


@pytest.mark.parametrize(
    "steps", [(1e-5, 1e-4), (1e-4, 1e-4), (-1e-5, 1e-4), (1e-4, 0.0), (0.0, 1e-4)]
)
def test_ratio_outside_0_and_1_leaves_the_gain_alone(steps):
    # On powers of two, so that equal steps are equal gains.
    objectives = gains(0.0, *(round(step * 2**30) / 2**30 for step in steps))
    assert em.remaining_gain(objectives) is None
    assert em.has_converged(objectives, 1e-3)
    assert not em.has_converged(objectives, min(steps[1], 1e-4) / 2) or steps[1] == 0


def test_aitken_is_exact_for_a_geometric_series():
    limit = 5.0
    objectives = [limit - 0.7**i for i in range(3)]
    assert objectives[-1] + em.remaining_gain(objectives) == pytest.approx(limit, abs=1e-12)


def test_slow_progress_is_not_convergence():
    """Gains that shrink by a hundredth each: the gain is below tol 400 iterations too soon."""
    steps = [2e-3 * 0.99**i for i in range(2000)]
    script = Script(gains(-1.0, *steps))
    trace = em.maximize(script, 0, tol=1e-3, max_iter=2000)
    assert trace.converged
    assert steps[trace.n_iter - 1] < 1e-3 / 90
    still_to_come = script.objectives[-1] - trace.objective
    assert 0.9e-3 < still_to_come < 1e-3


# History


def test_history_is_carried_on():
    """A run in two parts stops where the run in one part does."""
    steps = [0.5**i for i in range(1, 30)]
    whole = em.maximize(Script(gains(0.0, *steps)), 0, tol=1e-4, max_iter=30)
    assert whole.converged
    for cut in range(1, whole.n_iter):
        script = Script(gains(0.0, *steps))
        first = em.maximize(script, 0, tol=1e-4, max_iter=cut)
        assert first.history == script.objectives[max(0, cut - 2) : cut + 1]
        second = em.maximize(script, first.model, tol=1e-4, max_iter=30, history=first.history[:-1])
        assert (second.model, second.converged) == (whole.model, True)
        assert first.n_iter + second.n_iter == whole.n_iter
        assert second.history == whole.history


def test_history_makes_the_first_gain_subject_to_aitken():
    objectives = gains(0.0, 1e-4 / 0.99, 1e-4)
    carried = em.maximize(Script(objectives), 1, tol=1e-3, max_iter=1, history=objectives[:1])
    fresh = em.maximize(Script(objectives), 1, tol=1e-3, max_iter=1)
    assert not carried.converged
    assert fresh.converged


def test_history_does_not_make_the_start_converged():
    trace = em.maximize(Script([1.0, 1.0, 1.0, 2.0]), 2, tol=1e-3, max_iter=0, history=[1.0, 1.0])
    assert not trace.converged
    assert trace.n_iter == 0


# Observer


def test_observer_sees_every_iteration():
    seen = []
    script = Script(gains(-10.0, 4.0, 2.0, 1e-9))
    em.maximize(script, 0, tol=1e-3, max_iter=10, observe=seen.append)
    assert [each.number for each in seen] == [1, 2, 3]
    assert [each.objective for each in seen] == script.objectives[1:]
    assert [each.gain for each in seen] == pytest.approx([4.0, 2.0, 1e-9], abs=1e-14)
    assert [each.converged for each in seen] == [False, False, True]


# What must not happen


def test_decrease_warns_with_its_iteration():
    with pytest.warns(ObjectiveDecreaseWarning, match=r"iteration 2 lowered .* by 0\.5 to 0\.5"):
        em.maximize(Script([0.0, 1.0, 0.5, 2.0]), 0, tol=0, max_iter=3)


def test_decrease_within_rounding_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        em.maximize(Script([0.0, 1.0, 1.0 - 1e-13]), 0, tol=0, max_iter=2)


@pytest.mark.parametrize(("slack", "warned"), [(0.4, True), (0.6, False)])
def test_slack_of_the_problem_allows_a_decrease(slack, warned):
    script = Script([0.0, 1.0, 0.5])
    script.slack = lambda model: slack
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        em.maximize(script, 0, tol=0, max_iter=2)
    assert [each.category for each in caught] == [ObjectiveDecreaseWarning] * warned


def test_rounding_of_the_problem_allows_a_decrease():
    script = Script([0.0, 1000.0, 999.9])
    script.rounding = 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        em.maximize(script, 0, tol=0, max_iter=2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [0, 2])
def test_objective_that_is_not_finite_is_an_error(bad, at):
    objectives = [0.0, 1.0, 2.0, 3.0]
    objectives[at] = bad
    with pytest.raises(ValueError, match=str(bad)):
        em.maximize(Script(objectives), 0, tol=0, max_iter=3)


# Generalised EM


class Newton:
    """Roots of atan by Newton steps, which lead away from 0 beyond 1.39: the objective falls."""

    def __init__(self, attempts=20):
        self.tried, self.attempts = [], attempts

    def estep(self, x):
        return math.atan(x)

    def mstep(self, slope, x):
        return x - slope * (1 + x**2)

    def objective(self, slope, x):
        return -abs(x)

    def displacement(self, x, reference):
        return np.array([x - reference])

    def displaced(self, displacement, reference):
        return reference + float(displacement[0])

    def retreat(self, slope, x, proposal, attempt):
        # Statistics and the model they were computed with arrive together.
        assert slope == math.atan(x)
        self.tried.append((attempt, proposal))
        return 0.5 * (x + proposal) if attempt <= self.attempts else None


@pytest.mark.parametrize("accelerate", [False, True])
def test_a_step_that_leads_too_far_is_retreated_from(accelerate):
    problem = Newton()
    trace = em.maximize(problem, 5.0, tol=1e-12, max_iter=50, accelerate=accelerate)
    assert trace.converged
    assert trace.model == pytest.approx(0, abs=1e-6)
    assert np.all(np.diff([-5.0, *trace.objectives]) >= -1e-12)
    # The first step leads to -30.7; half of it to -12.9, a quarter to -3.9.
    assert [attempt for attempt, _ in problem.tried[:2]] == [1, 2]
    assert problem.tried[0][1] == pytest.approx(5 - 26 * math.atan(5))
    assert trace.objectives[0] == pytest.approx(-abs(5 - 26 * math.atan(5) / 4))
    assert trace.statistics == math.atan(trace.model)


def test_a_problem_that_gives_up_is_warned_of():
    problem = Newton(attempts=1)
    with pytest.warns(ObjectiveDecreaseWarning, match="iteration 1 lowered the objective by 7.85"):
        em.maximize(problem, 5.0, tol=0, max_iter=1)
    assert [attempt for attempt, _ in problem.tried] == [1, 2]


def test_slack_hides_no_step_that_leads_too_far():
    class Slack(Newton):
        def slack(self, x):
            return 100.0

    problem = Slack()
    trace = em.maximize(problem, 5.0, tol=0, max_iter=1)
    assert [attempt for attempt, _ in problem.tried] == [1, 2]
    assert trace.objective > -5


def test_the_best_of_all_attempts_is_kept():
    class Worse(Newton):
        def slack(self, x):
            return 100.0

        def retreat(self, slope, x, proposal, attempt):
            return (-20.0, -40.0, None)[attempt - 1]

    trace = em.maximize(Worse(), 5.0, tol=0, max_iter=1)
    assert (trace.model, trace.objective) == (-20.0, -20.0)
    assert trace.statistics == math.atan(-20.0)


def test_nothing_is_retreated_from_where_the_objective_rises():
    problem = Newton()
    em.maximize(problem, 1.0, tol=0, max_iter=5)
    assert problem.tried == []


def test_an_objective_that_is_not_finite_is_retreated_from():
    class Overflowing(Newton):
        def objective(self, slope, x):
            return -math.inf if abs(x) > 6 else -abs(x)

    trace = em.maximize(Overflowing(), 5.0, tol=0, max_iter=1)
    assert trace.objective == pytest.approx(-abs(5 - 26 * math.atan(5) / 4))
    with pytest.raises(ValueError, match="the objective became -inf"):
        em.maximize(Overflowing(attempts=0), 5.0, tol=0, max_iter=1)


# How a run is ended


def test_observer_sees_the_model_and_what_is_still_to_gain():
    seen = []
    script = Script(gains(-10.0, 4.0, 2.0, 1.0, 1e-9))
    em.maximize(script, 0, tol=1e-3, max_iter=10, observe=seen.append)
    assert [each.model for each in seen] == [1, 2, 3, 4]
    assert seen[0].remaining_gain is None
    assert [each.remaining_gain for each in seen[1:3]] == pytest.approx([2.0, 1.0])
    assert [(each.start, each.n_starts) for each in seen] == [(0, 1)] * 4


@pytest.mark.parametrize("accelerate", [False, True])
def test_observer_ends_the_run(accelerate):
    class Space(Linkage):
        def displacement(self, t, reference):
            return np.array([t - reference])

        def displaced(self, displacement, reference):
            return reference + float(displacement[0])

    trace = em.maximize(
        Space(), 0.5, tol=0, max_iter=9, accelerate=accelerate, observe=lambda it: it.number == 2
    )
    assert (trace.n_iter, trace.stopped, trace.converged) == (2, True, False)
    assert trace.objective == trace.objectives[-1] == Linkage().objective(None, trace.model)
    whole = em.maximize(Linkage(), 0.5, tol=0, max_iter=2)
    assert (trace.model, whole.stopped) == (whole.model, False)


@pytest.mark.parametrize("at", range(2, 12))
def test_ctrl_c_leaves_the_iterations_that_were_completed(at):
    """Whichever call of the problem it comes in, model, statistics and objectives fit together."""
    calls = 0

    class Impatient(Linkage):
        def _call(self):
            nonlocal calls
            calls += 1
            if calls == at:
                raise KeyboardInterrupt

        def estep(self, t):
            self._call()
            return super().estep(t)

        def mstep(self, hidden, t):
            self._call()
            return super().mstep(hidden, t)

        def objective(self, hidden, t):
            if t != 0.5:
                self._call()
            return super().objective(hidden, t)

    with pytest.raises(KeyboardInterrupt) as caught:
        em.maximize(Impatient(), 0.5, tol=0, max_iter=20)
    trace = caught.value.trace
    assert trace.n_iter == (at - 2) // 3
    assert trace.stopped
    assert not trace.converged
    assert trace.model == em.maximize(Linkage(), 0.5, tol=0, max_iter=trace.n_iter).model
    assert trace.objective == Linkage().objective(None, trace.model)
    assert trace.statistics == Linkage().estep(trace.model)
    assert [trace.objective][: trace.n_iter] == trace.objectives[-1:]


def test_ctrl_c_in_the_observer_counts_the_iteration():
    def observe(iteration):
        if iteration.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        em.maximize(Linkage(), 0.5, tol=0, max_iter=20, observe=observe)
    assert caught.value.trace.n_iter == 3
    assert "3 iterations" in str(caught.value)
    assert caught.value.trace.history == caught.value.trace.objectives
