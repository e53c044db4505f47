"""Where rows come from: the only part of the package that knows.

A *source* is re-iterable and yields batches. An array is a source of one batch.
"""

from emfast.data.ahead import read_ahead
from emfast.data.answers import Names, check_out, gathered, in_parts, rows_in_parts
from emfast.data.arrays import LEAST_PIECE, ArraySource, SequenceSource
from emfast.data.batch import Batch, covariates_of, offsets, rows_of
from emfast.data.observer import START, Labelled, Observer, observe
from emfast.data.opened import SomeColumns, cached
from emfast.data.partitionwise import lazy_with_dask, summed_with_dask
from emfast.data.portions import is_of_dask
from emfast.data.source import Source
from emfast.data.stream import StreamSource, SurveyedSource, surveyed
from emfast.data.survey import Plan

__all__ = [
    "LEAST_PIECE",
    "START",
    "ArraySource",
    "Batch",
    "Labelled",
    "Names",
    "Observer",
    "Plan",
    "SequenceSource",
    "SomeColumns",
    "Source",
    "StreamSource",
    "SurveyedSource",
    "cached",
    "check_out",
    "covariates_of",
    "gathered",
    "in_parts",
    "is_of_dask",
    "lazy_with_dask",
    "observe",
    "offsets",
    "read_ahead",
    "rows_in_parts",
    "rows_of",
    "summed_with_dask",
    "surveyed",
]
