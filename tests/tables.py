"""Columns of tables that tests make."""

import pyarrow as pa


def ordered_dictionary(codes, levels):
    """An Arrow array of codes into levels that have an order."""
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(levels), ordered=True)
