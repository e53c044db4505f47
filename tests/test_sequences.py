"""Sequences as a source of rows: pieces, and samples that starts are made on."""

from itertools import pairwise

import numpy as np
import pytest

from emfast.data import LEAST_PIECE, Batch, SequenceSource, offsets
from emfast.inputs.labels import Labels


def batch_of(lengths, weights=None, labels=None, missing=False, D=1):
    """Rows that tell their own number."""
    n = int(np.sum(lengths))
    X = np.repeat(np.arange(float(n))[:, None], D, axis=1)
    return Batch(X, weights, labels or Labels(), missing, sequences=offsets(lengths))


def test_rows_have_the_weight_of_their_sequence():
    batch = batch_of([2, 1, 3], np.array([1.0, 0.0, 2.5]))
    np.testing.assert_array_equal(batch.row_weights, [1, 1, 0, 2.5, 2.5, 2.5])
    source = SequenceSource(batch)
    assert (source.n_rows, source.n_used, source.weight) == (6, 5, 9.5)
    rows = batch.as_rows()
    assert rows.sequences is None
    np.testing.assert_array_equal(rows.weights, batch.row_weights)
    assert batch_of([2, 1]).row_weights is None


def test_some_sequences_keep_all_that_is_known():
    labels = Labels(component=np.arange(6, dtype=np.int32))
    batch = batch_of([2, 1, 3], np.array([1.0, 2.0, 3.0]), labels)
    some = batch.of_sequences(np.array([2, 0]))
    np.testing.assert_array_equal(some.X[:, 0], [3, 4, 5, 0, 1])
    np.testing.assert_array_equal(some.sequences, [0, 3, 5])
    np.testing.assert_array_equal(some.weights, [3, 1])
    np.testing.assert_array_equal(some.labels.component, [3, 4, 5, 0, 1])


def assert_contiguous(sample, lengths):
    """Every sequence of a sample is a piece of one sequence."""
    whole = offsets(lengths)
    for first, end in pairwise(sample.sequences):
        rows = sample.X[first:end, 0]
        np.testing.assert_array_equal(np.diff(rows), 1)
        of = np.searchsorted(whole, rows[[0, -1]], side="right")
        assert of[0] == of[1]
    assert len(np.unique(sample.X[:, 0])) == sample.n_rows


@pytest.mark.parametrize(
    "lengths", [[10] * 500, [5000], [1] * 2000 + [3000], [300, 1, 2, 4000, 700]]
)
def test_samples_have_about_as_many_rows_in_pieces_of_sequences(lengths):
    source = SequenceSource(batch_of(lengths))
    rng = np.random.RandomState(0)
    for n_rows in (800, 1600):
        sample = source.sample(n_rows, 2, rng)
        assert n_rows <= sample.n_rows < 1.2 * n_rows + LEAST_PIECE
        assert_contiguous(sample, lengths)
        inner = source.of(sample).sample(n_rows // 4, 2, rng)
        assert n_rows // 4 <= inner.n_rows < n_rows // 2
        assert_contiguous(inner, lengths)
        assert np.isin(inner.X, sample.X).all()


def test_rows_are_as_likely_to_be_drawn_in_long_sequences_as_in_short_ones():
    lengths = [1] * 3000 + [3000] + [30] * 100
    source = SequenceSource(batch_of(lengths))
    drawn = np.zeros(9000)
    rng = np.random.RandomState(0)
    for _ in range(200):
        drawn[source.sample(900, 2, rng).X[:, 0].astype(int)] += 1
    for part in np.split(drawn, 3):
        np.testing.assert_allclose(part.mean() / 200, 0.1, atol=0.02)


def test_sample_that_is_all_is_what_there_is():
    batch = batch_of([3, 4])
    assert SequenceSource(batch).sample(7, 2, np.random.RandomState(0)) is batch
    weighted = batch_of([3, 4, 2], np.array([1.0, 0.0, 2.0]))
    sample = SequenceSource(weighted).sample(100, 2, np.random.RandomState(0))
    np.testing.assert_array_equal(sample.X[:, 0], [0, 1, 2, 7, 8])
    np.testing.assert_array_equal(sample.weights, [1, 2])


def test_sequences_without_weight_are_not_drawn():
    weights = np.where(np.arange(50) % 2, 0.0, 1.5)
    source = SequenceSource(batch_of([40] * 50, weights))
    sample = source.sample(200, 2, np.random.RandomState(0))
    assert np.all(sample.X[:, 0] // 40 % 2 == 0)
    np.testing.assert_array_equal(sample.weights, 1.5)


def test_whole_sequences_where_pieces_would_begin_where_none_begins():
    source = SequenceSource(batch_of([900, 100]), cut=False)
    for seed in range(4):
        sample = source.sample(50, 2, np.random.RandomState(seed))
        assert set(sample.lengths.tolist()) <= {900, 100}
        assert not source.of(sample).cut


def test_labelled_pieces_are_drawn_more_often_and_weigh_less():
    n, length = 400, 25
    component = np.full(n * length, -1, np.int32)
    component[[5, 5005, 7000]] = [0, 1, 1]
    labels = Labels(component=component)
    for weights in (None, np.full(n, 2.0)):
        source = SequenceSource(batch_of([length] * n, weights, labels))
        totals = []
        for seed in range(100):
            sample = source.sample(1000, 2, np.random.RandomState(seed))
            assert np.bincount(sample.labels.component + 1, minlength=3)[1:].tolist() == [1, 2]
            totals.append(sample.weights @ sample.lengths)
        expected = 1000 * (1 if weights is None else 2)
        np.testing.assert_allclose(np.mean(totals), expected, rtol=0.03)


def test_sample_has_a_row_with_every_column():
    batch = batch_of([50] * 100, missing=True, D=2)
    batch.X[:, 1] = np.nan
    batch.X[1234, 1] = 7
    for seed in range(5):
        sample = SequenceSource(batch).sample(300, 2, np.random.RandomState(seed))
        assert np.nanmax(sample.X[:, 1]) == 7
        assert_contiguous(sample, [50] * 100)
