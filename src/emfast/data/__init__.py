"""Where rows come from: the only part of the package that knows.

A *source* is re-iterable and yields batches. An array is a source of one batch.
"""

from emfast.data.ahead import read_ahead
from emfast.data.arrays import LEAST_PIECE, ArraySource, SequenceSource
from emfast.data.batch import Batch, all_of, covariates_of, offsets, rows_of
from emfast.data.observer import START, Observer, observe
from emfast.data.source import Source
from emfast.data.stream import StreamSource, surveyed
from emfast.data.survey import Plan

__all__ = [
    "LEAST_PIECE",
    "START",
    "ArraySource",
    "Batch",
    "Observer",
    "Plan",
    "SequenceSource",
    "Source",
    "StreamSource",
    "all_of",
    "covariates_of",
    "observe",
    "offsets",
    "read_ahead",
    "rows_of",
    "surveyed",
]
