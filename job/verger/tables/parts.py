"""Files of a run's table, written where their rows are made: by Spark's Python workers, or by the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq

from verger.storage.base import Storage
from verger.storage.buckets import Bucket
from verger.storage.stores import stores_of
from verger.storage.uri import join
from verger.tables.schemas import PROJECTION

WRITTEN = "file string, rows bigint"
"""What `PartWriter` returns, in DDL: the file that a task wrote, and its rows."""

_SETTINGS = {
    "compression": "zstd",
    "use_dictionary": False,
    "column_encoding": {"pca_features.list.element": "BYTE_STREAM_SPLIT"},
    "write_page_checksum": True,
}


def write_part(storage: Storage, path: str, batches: Iterable[pa.RecordBatch], max_rows: int | None = None) -> int:
    """Write rows of a table as one file, which appears when it is complete.

    Parameters
    ----------
    storage : Storage
        The store that holds the file.
    path : str
        Canonical.
    batches : iterable of pyarrow.RecordBatch
        Schema `PROJECTION`. No more of them are read than the file takes.
    max_rows : int, optional
        The file ends with the batch that reaches it; default: with the last batch.

    Returns
    -------
    int
        Rows in the file.
    """
    rows = 0
    with storage.stream(path) as file, pq.ParquetWriter(file, PROJECTION, **_SETTINGS) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
            if max_rows is not None and rows >= max_rows:
                break
    return rows


@dataclass(frozen=True)
class PartWriter:
    """The function of mapInArrow that writes what another function returns, a file a task.

    A task that runs twice writes the same file twice.

    Attributes
    ----------
    function : callable, picklable
        Takes record batches, and returns others with the schema `PROJECTION`.
    folder : str
        Canonical folder of the table.
    name : str
        Begins the names of the files.
    buckets : tuple of Bucket
        How the driver reaches the bucket of the folder.
    """

    function: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
    folder: str
    name: str
    buckets: tuple[Bucket, ...]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write the rows of one task.

        Parameters
        ----------
        batches : iterator of pyarrow.RecordBatch
            What ``function`` takes.

        Yields
        ------
        pyarrow.RecordBatch
            One row (`WRITTEN`); none where there are no rows to write.
        """
        from pyspark import TaskContext

        context = TaskContext.get()
        assert context is not None
        made = (batch for batch in self.function(batches) if batch.num_rows)
        first = next(made, None)
        if first is None:
            return
        path = join(self.folder, f"{self.name}-{context.partitionId():05d}.zstd.parquet")
        rows = write_part(stores_of(self.buckets).of(path), path, chain([first], made))
        yield pa.record_batch({"file": pa.array([path]), "rows": pa.array([rows], pa.int64())})
