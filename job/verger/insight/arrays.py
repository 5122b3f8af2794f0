"""Types of arrays that all of insight shares, and two functions over columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Indices = npt.NDArray[np.int64]
"""Row numbers, or codes of categories."""
BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

_BLOCK = 1 << 19  # values that are in double precision at a time


def column_moments(rows: npt.NDArray[np.floating]) -> tuple[Float64Array, Float64Array]:
    """Mean and standard deviation of each column, in double precision without a copy of the rows in it.

    Parameters
    ----------
    rows : ndarray of float, shape (n, d)
        At least one row.

    Returns
    -------
    mean : ndarray of float64, shape (d,)
        Of each column, summed in double precision.
    deviation : ndarray of float64, shape (d,)
        With divisor n.
    """
    step = max(1, _BLOCK // rows.shape[1])
    blocks = [rows[start : start + step] for start in range(0, len(rows), step)]
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks) / len(rows)
    squares = sum(np.square(block - mean).sum(axis=0) for block in blocks)
    return mean, np.sqrt(squares / len(rows))


def category_codes(values: pa.ChunkedArray) -> Indices:
    """Number the distinct values of a column.

    Parameters
    ----------
    values : pyarrow.ChunkedArray
        Null is a value like any other.

    Returns
    -------
    ndarray of int64, shape (n,)
        From 0, in the order in which the values first appear.
    """
    encoded = values.combine_chunks().dictionary_encode(null_encoding="encode")
    return np.asarray(encoded.indices).astype(np.int64)
