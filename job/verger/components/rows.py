"""Feature rows as they come out of Spark, in float64 and in bounded chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Float64Array = npt.NDArray[np.float64]

# Bytes of float64 rows that a task holds at a time.
CHUNK_BYTES = 32 << 20


def matrix(batch: pa.RecordBatch, dimension: int) -> npt.NDArray[np.float32]:
    """The features of a batch as a matrix.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        With a column ``features`` of lists of float32.
    dimension : int
        Features that each row must have, d.

    Returns
    -------
    ndarray of float32, shape (n, d)
        A view of the batch's memory, not to be written to.

    Raises
    ------
    ValueError
        A row has another number of features.
    """
    column = batch.column("features")
    lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
    if len(lengths) and lengths.tolist() != [dimension]:
        raise ValueError(f"rows of {lengths.tolist()} features where {dimension} were announced")
    values: npt.NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, dimension)


def chunks(batches: Iterable[pa.RecordBatch], dimension: int) -> Iterator[tuple[pa.Array, Float64Array]]:
    """Regroup rows into chunks of one size, whatever the size of Spark's batches.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        With columns ``path string`` and ``features array<float>``.
    dimension : int
        Features of a row, d.

    Yields
    ------
    paths : pyarrow.Array of string
        Paths of the n rows.
    rows : ndarray of float64, shape (n, d)
        At most CHUNK_BYTES, but at least one row. The caller may overwrite this array but not keep it: the next
        chunk is written into the same memory.

    Raises
    ------
    ValueError
        A row has another number of features.
    """
    buffer = np.empty((max(1, CHUNK_BYTES // (8 * dimension)), dimension))
    paths: list[pa.Array] = []
    filled = 0
    for batch in batches:
        values, done = matrix(batch, dimension), 0
        while done < len(values):
            count = min(len(buffer) - filled, len(values) - done)
            buffer[filled : filled + count] = values[done : done + count]
            paths.append(batch.column("path").slice(done, count))
            filled, done = filled + count, done + count
            if filled == len(buffer):
                yield pa.concat_arrays(paths), buffer
                paths, filled = [], 0
    if filled:
        yield pa.concat_arrays(paths), buffer[:filled]
