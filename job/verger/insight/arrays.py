"""Types of arrays, and small sums over them, that all of insight shares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Indices = npt.NDArray[np.int64]
"""Row numbers, or codes of categories."""
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

_BLOCK = 1 << 19  # numbers that are in double precision at a time


def moments(rows: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Means and standard deviations (divisor n) of columns, in double precision without a copy in it."""
    step = max(1, _BLOCK // rows.shape[1])
    blocks = [rows[start : start + step] for start in range(0, len(rows), step)]
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks) / len(rows)
    squares = sum(np.square(block - mean).sum(axis=0) for block in blocks)
    return mean, np.sqrt(squares / len(rows))


def codes(values: pa.ChunkedArray) -> Indices:
    """A number from 0 for each value; null is a value too."""
    encoded = values.combine_chunks().dictionary_encode(null_encoding="encode")
    return np.asarray(encoded.indices).astype(np.int64)
