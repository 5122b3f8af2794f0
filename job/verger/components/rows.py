"""Feature rows in Spark, and as its Python workers get them: in float64 and in bounded chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Float64Array = npt.NDArray[np.float64]

# Bytes of float64 rows that a task holds at a time.
CHUNK_BYTES = 32 << 20


class Rows(Protocol):
    """Rows in Spark: a DataFrame, or `verger.tables.feature_rows.FeatureRows`, which no JVM reads."""

    @property
    def sparkSession(self) -> SparkSession:
        """The session that computes."""

    def select(self, *columns: str) -> Rows:
        """The same rows with fewer columns.

        Parameters
        ----------
        *columns : str
            Names of the columns.
        """

    def coalesce(self, max_tasks: int, /) -> Rows:
        """The same rows in a number of tasks at most, without a shuffle.

        Parameters
        ----------
        max_tasks : int
            At least one.
        """

    def mapInArrow(
        self, function: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]], schema: str, /
    ) -> DataFrame:
        """Give the rows of each task to a function, as record batches.

        Parameters
        ----------
        function : callable, picklable
            Called once a task in a Python worker.
        schema : str
            Of the batches that it returns, in DDL.
        """


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


def chunks(batches: Iterable[pa.RecordBatch], dimension: int) -> Iterator[Float64Array]:
    """Regroup rows into chunks of one size, whatever the size of the batches.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        With a column ``features array<float>``.
    dimension : int
        Features of a row, d.

    Yields
    ------
    ndarray of float64, shape (n, d)
        At most CHUNK_BYTES, but at least one row. The caller may overwrite this array but not keep it: the next
        chunk is written into the same memory.

    Raises
    ------
    ValueError
        A row has another number of features.
    """
    for _, rows in _chunks(batches, dimension, None):
        yield rows


def chunks_with_paths(batches: Iterable[pa.RecordBatch], dimension: int) -> Iterator[tuple[pa.Array, Float64Array]]:
    """The same chunks as `chunks` gives, with the paths of their rows.

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
        As in `chunks`.

    Raises
    ------
    ValueError
        A row has another number of features.
    """
    for parts, rows in _chunks(batches, dimension, "path"):
        yield pa.concat_arrays(parts), rows


def _chunks(
    batches: Iterable[pa.RecordBatch], dimension: int, column: str | None
) -> Iterator[tuple[list[pa.Array], Float64Array]]:
    """Chunks of rows, and the parts of a column that belong to them."""
    buffer = np.empty((max(1, CHUNK_BYTES // (8 * dimension)), dimension))
    parts: list[pa.Array] = []
    filled = 0
    for batch in batches:
        values, done = matrix(batch, dimension), 0
        while done < len(values):
            count = min(len(buffer) - filled, len(values) - done)
            buffer[filled : filled + count] = values[done : done + count]
            if column:
                parts.append(batch.column(column).slice(done, count))
            filled, done = filled + count, done + count
            if filled == len(buffer):
                yield parts, buffer
                parts, filled = [], 0
    if filled:
        yield parts, buffer[:filled]
