"""The laws of the design, for every emission in the states of a Markov chain."""

from dataclasses import replace

import numpy as np
import pytest

from chains import (
    TOLERANCE,
    assert_within,
    batch_of,
    chain_case,
    chain_estep,
    chain_numbers,
    chain_outputs,
    chain_problem,
    hmm_of,
    possible_labels,
    ragged,
    random_chain,
    shown,
    true_numbers,
)
from emfast import em
from emfast.data import offsets, rows_of
from emfast.emissions import gaussian
from emfast.inputs.labels import Labels
from emfast.latent import MarkovChain
from emfast.parts.known import Known
from emfast.passes import Model
from families import (
    FAMILIES,
    GAUSSIANS,
    LABELS,
    assert_close,
    assert_same_bits,
    over_families,
)

ASSIGNMENTS = ("soft", "hard")
# Of 1 + |objective|, as in the law of mixtures; densities of a sequence are products over its rows.
ROUNDING = {"float64": 1e-11, "float32": 4e-6}


@pytest.fixture(scope="module", autouse=True)
def as_for_many_rows():
    """Passes leave out what they leave out of many rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gaussian, "LEAST_SCATTER", 0)
        yield


def some_case(family, precision, seed=0, K=3, D=3, n_sequences=12, longest=40, zeros=False):
    lengths = ragged(np.random.default_rng([seed, 1]), n_sequences, longest)
    return chain_case(family, precision, K, D, lengths, seed=seed, zeros=zeros)


def another_start(case, seed=9):
    rng = np.random.default_rng(seed)
    return Model(random_chain(rng, case.K), case.family.parameters(rng, case.K, case.D))


# Additive, weights


@over_families
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_statistics_add_over_whole_sequences(family, precision, assignment):
    case = some_case(family, precision)
    labels = possible_labels("allowed", np.random.default_rng(2), case)
    whole = chain_estep(case, labels=labels, assignment=assignment)
    cut = case.lengths[:5].sum()
    parts = [
        chain_estep(
            case,
            X=case.X[rows],
            lengths=lengths,
            labels=labels.take(np.arange(case.n)[rows]),
            assignment=assignment,
        )
        for rows, lengths in (
            (slice(0, cut), case.lengths[:5]),
            (slice(cut, None), case.lengths[5:]),
        )
    ]
    origin = family.origin(whole.emission)
    _, sizes = true_numbers(case, origin, labels=labels, assignment=assignment)
    assert_within(
        chain_numbers(parts[0] + parts[1], family),
        chain_numbers(whole, family),
        sizes,
        TOLERANCE[precision],
    )


@over_families
def test_integer_weight_is_repeated_sequence(family, precision):
    case = some_case(family, precision)
    counts = np.random.default_rng(3).integers(0, 4, len(case.lengths))
    counts[0] = 2
    which = np.repeat(np.arange(len(counts)), counts)
    rows = rows_of(offsets(case.lengths)[:-1][which], case.lengths[which])
    weighted = chain_estep(case, weights=counts.astype(float))
    long = chain_estep(case, X=case.X[rows], lengths=case.lengths[which])
    origin = family.origin(weighted.emission)
    _, sizes = true_numbers(case, origin, weights=counts.astype(float))
    assert_within(
        chain_numbers(weighted, family), chain_numbers(long, family), sizes, TOLERANCE[precision]
    )


@over_families
def test_zero_weight_is_deleted_sequence(family, precision):
    case = some_case(family, precision)
    weights = np.random.default_rng(3).uniform(0.1, 2, len(case.lengths))
    weights[1::2] = 0
    kept = np.flatnonzero(weights)
    rows = rows_of(offsets(case.lengths)[:-1][kept], case.lengths[kept])
    weighted = chain_estep(case, weights=weights)
    without = chain_estep(case, X=case.X[rows], lengths=case.lengths[kept], weights=weights[kept])
    _, sizes = true_numbers(case, family.origin(weighted.emission), weights=weights)
    assert_within(
        chain_numbers(weighted, family),
        chain_numbers(without, family),
        sizes,
        TOLERANCE[precision],
    )


@over_families
def test_weights_do_not_change_what_is_said_of_a_row(family, precision):
    case = some_case(family, precision)
    weights = np.full(len(case.lengths), 0.25)
    weights[::3] = 0
    assert_same_bits(chain_outputs(case, weights=weights)[0], chain_outputs(case)[0])


@pytest.mark.parametrize("family", GAUSSIANS, ids=lambda family: family.name)
@pytest.mark.parametrize("scale", [1e-60, 1e-3, 7.0, 1e60])
def test_fit_does_not_know_the_scale_of_weights(family, scale):
    case = some_case(family, "float64", n_sequences=20)
    weights = np.random.default_rng(2).uniform(0.1, 2, len(case.lengths))
    fits = [
        hmm_of(family, case.model).fit(case.X, case.lengths, sample_weight=each)
        for each in (weights, scale * weights)
    ]
    assert_close(shown(family, fits[1]), shown(family, fits[0]), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(fits[1].lower_bounds_, fits[0].lower_bounds_, rtol=1e-9)


# Monotone


@over_families
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
@pytest.mark.parametrize("known", LABELS)
def test_objective_never_falls(family, precision, assignment, known):
    case = some_case(family, precision, n_sequences=25)
    rng = np.random.default_rng(1)
    steps = chain_problem(
        case,
        weights=rng.uniform(0, 2, len(case.lengths)),
        labels=possible_labels(known, rng, case),
        assignment=assignment,
        regular=1e-3,
    )
    model = another_start(case)
    statistics = steps.estep(model)
    objective = steps.objective(statistics, model)
    for _ in range(8):
        model = steps.mstep(statistics, model)
        statistics = steps.estep(model)
        before, objective = objective, steps.objective(statistics, model)
        allowed = ROUNDING[precision] * (1 + abs(objective)) + steps.slack(model)
        assert objective >= before - allowed


@over_families
@pytest.mark.parametrize("group", ["startprob", "transmat", "emission"])
def test_objective_never_falls_with_known_groups_and_these_stay(family, precision, group):
    case = some_case(family, precision)
    start = another_start(case)
    steps = chain_problem(case)
    if group == "emission":
        steps.emission.fixed = Known(steps.emission.groups)
    else:
        steps = replace(steps, latent=MarkovChain(fixed={group}))
    trace = em.maximize(steps, start, tol=0, max_iter=5)
    if group == "emission":
        assert_same_bits(family.named(trace.model.emission), family.named(start.emission))
    else:
        np.testing.assert_array_equal(
            getattr(trace.model.latent, group), getattr(start.latent, group)
        )
    allowed = ROUNDING[precision] * (1 + np.abs(trace.objectives[1:])) + steps.slack(trace.model)
    assert np.all(-np.diff(trace.objectives) <= allowed)


# Same bits


@over_families
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_same_bits_for_any_threads(family, precision, assignment):
    case = some_case(family, precision, n_sequences=150, longest=70)
    rng = np.random.default_rng(4)
    weights = rng.uniform(0, 2, len(case.lengths))
    labels = possible_labels("component", rng, case)
    one, of_rows = (
        run(case, weights=weights, labels=labels, assignment=assignment)
        for run in (chain_estep, chain_outputs)
    )
    for threads in (2, 3, 8):
        changes = {"weights": weights, "labels": labels, "threads": threads}
        many = chain_estep(case, assignment=assignment, **changes)
        assert_same_bits(chain_numbers(many, family), chain_numbers(one, family))
        assert_same_bits(chain_outputs(case, assignment=assignment, **changes)[0], of_rows[0])


@over_families
def test_fit_has_the_same_bits_for_any_threads(family, precision):
    case = some_case(family, precision, n_sequences=60, longest=60)
    fits = [
        hmm_of(family, another_start(case), n_threads=threads).fit(case.X, case.lengths)
        for threads in (1, 2, 3, 8)
    ]
    for other in fits[1:]:
        np.testing.assert_array_equal(other.lower_bounds_, fits[0].lower_bounds_)
        assert_same_bits(shown(family, other), shown(family, fits[0]))


# Labels


@pytest.mark.parametrize(
    "family", [each for each in FAMILIES if each.closed_form], ids=lambda family: family.name
)
def test_every_row_labelled_fits_in_one_iteration(family):
    case = some_case(family, "float64", n_sequences=40)
    states = case.states
    hmm = hmm_of(family, case.model, max_iter=1).fit(case.X, case.lengths, labels=states)
    firsts = offsets(case.lengths)[:-1]
    starts = np.bincount(states[firsts], minlength=case.K) / len(firsts)
    transitions = np.zeros((case.K, case.K))
    for rows in case.slices():
        np.add.at(transitions, (states[rows][:-1], states[rows][1:]), 1)
    r = (states[:, None] == np.arange(case.K)).astype(float)
    expected = {
        "startprob": starts,
        "transmat": transitions / transitions.sum(axis=1, keepdims=True),
        **family.estimate(case.X, r),
    }
    assert_close(shown(family, hmm), expected, rtol=1e-8, atol=1e-8)
    # A second iteration changes nothing: the bound is joint with the labels.
    again = hmm_of(family, case.model, max_iter=2).fit(case.X, case.lengths, labels=states)
    np.testing.assert_allclose(again.lower_bounds_[1], hmm.lower_bound_, rtol=1e-9)
    log_densities = family.log_densities(case.X, hmm._model().emission)
    with np.errstate(divide="ignore", invalid="ignore"):
        joint = np.nansum(transitions * np.log(hmm.transmat_))
        joint += np.nansum(starts * len(firsts) * np.log(hmm.startprob_))
    joint += log_densities[np.arange(case.n), states].sum()
    np.testing.assert_allclose(hmm.score(case.X, case.lengths, labels=states), joint, rtol=1e-9)
    np.testing.assert_allclose(hmm.lower_bound_, joint / case.n, rtol=1e-9)


@over_families
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_no_row_labelled_is_the_plain_model(family, precision, assignment):
    case = some_case(family, precision)
    plain = chain_numbers(chain_estep(case, assignment=assignment), family)
    for labels in (
        Labels(component=np.full(case.n, -1, np.int32)),
        Labels(allowed=np.ones((case.n, case.K), np.uint8)),
    ):
        labelled = chain_estep(case, labels=labels, assignment=assignment)
        assert_within(
            chain_numbers(labelled, family),
            plain,
            true_numbers(case, family.origin(labelled.emission), assignment=assignment)[1],
            TOLERANCE[precision] / 10,
        )


@over_families
def test_one_state_allowed_is_that_label(family, precision):
    case = some_case(family, precision)
    labels = possible_labels("component", np.random.default_rng(5), case)
    allowed = labels.allows(slice(None), (case.n, case.K))
    by_set = chain_outputs(case, labels=Labels(allowed=allowed.view(np.uint8)))[0]
    assert_same_bits(by_set, chain_outputs(case, labels=labels)[0])


@over_families
def test_label_sets_only_restrict(family, precision):
    case = some_case(family, precision)
    labels = possible_labels("allowed", np.random.default_rng(6), case)
    free, bound = chain_outputs(case)[0], chain_outputs(case, labels=labels)[0]
    assert np.all(bound["responsibilities"][labels.allowed == 0] == 0)
    slack = TOLERANCE[precision] * (1 + np.abs(free["log_likelihoods"]))
    assert np.all(bound["log_likelihoods"] <= free["log_likelihoods"] + slack)
    paths = chain_outputs(case, labels=labels, assignment="hard")[0]["assignments"]
    assert np.all(labels.allowed[np.arange(case.n), paths])


# Missing features


@pytest.mark.parametrize(
    ("family", "precision"),
    [
        pytest.param(family, precision, id=f"{family.name}-{precision}")
        for family in FAMILIES
        for precision in family.precisions
        if family.name.startswith("gaussian") or family.name.endswith("-number")
    ],
)
def test_data_without_nan_give_the_same_through_the_path_for_missing_entries(family, precision):
    case = some_case(family, precision)
    steps = chain_problem(case)
    incomplete = replace(steps, source=steps.source.of(replace(batch_of(case), missing=True)))
    models = [each.mstep(each.estep(case.model), case.model) for each in (steps, incomplete)]
    tolerance = {"float64": 1e-8, "float32": 5e-3}[precision]
    plain, through = ({**family.named(model.emission), **vars(model.latent)} for model in models)
    assert_close(through, plain, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("family", GAUSSIANS, ids=lambda family: family.name)
def test_rows_without_any_entry_are_told_by_their_neighbours(family):
    case = chain_case(family, "float64", 3, 3, (9, 1, 20))
    X = case.X.copy()
    X[[1, 2, -1]] = np.nan
    hmm = hmm_of(family, case.model, max_iter=0).fit(case.X, case.lengths)
    total, posteriors = hmm.score_samples(X, case.lengths)
    np.testing.assert_allclose(posteriors.sum(axis=1), 1)
    # Missing at the end of a sequence: a step of the chain from the row before.
    np.testing.assert_allclose(posteriors[-1], posteriors[-2] @ hmm.transmat_, rtol=1e-9)
    assert np.isfinite(total)


# Location, scale, precision


@pytest.mark.parametrize("family", GAUSSIANS, ids=lambda family: family.name)
@pytest.mark.parametrize("number", [0, 1])
def test_fit_changes_as_algebra_says(family, number):
    case = some_case(family, "float64", n_sequences=25)
    # On a grid that leaves the shifted numbers exact.
    X = np.round(case.X * 2.0**14) / 2.0**14
    change = list(family.changes(np.random.default_rng(1), X.shape[1]))[number]
    start = case.model
    moved_start = start._replace(
        emission=family.of(change.parameters(family.named(start.emission)))
    )
    plain = hmm_of(family, start, regular=0.0, max_iter=4).fit(X, case.lengths)
    moved = hmm_of(family, moved_start, regular=0.0, max_iter=4).fit(change.rows(X), case.lengths)
    after, expected = shown(family, moved), shown(family, plain)
    for name in ("startprob", "transmat"):
        np.testing.assert_allclose(after.pop(name), expected.pop(name), atol=1e-6)
    assert_close(change.back(after), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        moved.lower_bounds_ - change.log_likelihood(X), plain.lower_bounds_, rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(
        moved.predict(change.rows(X), case.lengths), plain.predict(X, case.lengths)
    )


@pytest.mark.parametrize(
    "family", [each for each in FAMILIES if "float32" in each.precisions], ids=lambda f: f.name
)
def test_single_precision_reaches_the_same_optimum(family):
    case = some_case(family, "float32", K=2, n_sequences=40, longest=80)
    single, double = (
        hmm_of(family, case.model, max_iter=30).fit(case.X.astype(dtype), case.lengths)
        for dtype in (np.float32, np.float64)
    )
    assert_close(
        {name: value.astype(float) for name, value in shown(family, single).items()},
        shown(family, double),
        rtol=1e-2,
        atol=1e-2,
    )
    np.testing.assert_allclose(single.lower_bound_, double.lower_bound_, rtol=1e-5)
    assert single.transmat_.dtype == single.startprob_.dtype == np.float32
    assert single.predict_proba(case.X, case.lengths).dtype == np.float32
    assert single._model().latent.transmat.dtype == np.float64
