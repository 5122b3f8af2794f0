"""Files of a table, written where their rows are made: by Spark's Python workers, or by the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from verger.storage.base import Storage
from verger.storage.buckets import Bucket
from verger.storage.stores import stores_of
from verger.storage.uri import join

WRITTEN = "file string, rows bigint"
"""What `PartWriter` returns, in DDL: the file that a task wrote, and its rows."""

# Bytes of a row group in memory: a writer holds one, and a reader too.
_GROUP_BYTES = 32 << 20


def write_part(
    storage: Storage, path: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], max_rows: int | None = None
) -> int:
    """Write rows of a table as one file, which appears when it is complete.

    Parameters
    ----------
    storage : Storage
        The store that holds the file.
    path : str
        Canonical.
    schema : pyarrow.Schema
        Of the rows.
    batches : iterable of pyarrow.RecordBatch
        No more of them are read than the file takes.
    max_rows : int, optional
        The file ends with the batch that reaches it; default: with the last batch.

    Returns
    -------
    int
        Rows in the file.
    """
    rows = 0
    with storage.stream(path) as file, pq.ParquetWriter(file, schema, **_settings(schema)) as writer:
        for group in _row_groups(_first(batches, max_rows), schema):
            writer.write_table(group, row_group_size=max(1, group.num_rows))
            rows += group.num_rows
    return rows


def _settings(schema: pa.Schema) -> dict[str, Any]:
    """As Spark writes features and projections: zstd, floats as byte streams, no dictionary, checksums of pages."""
    lists = {f"{field.name}.list.element": "BYTE_STREAM_SPLIT" for field in schema if pa.types.is_list(field.type)}
    settings = {"compression": "zstd", "use_dictionary": False, "column_encoding": lists or None}
    return settings | {"write_page_checksum": True}


def _first(batches: Iterable[pa.RecordBatch], max_rows: int | None) -> Iterator[pa.RecordBatch]:
    rows = 0
    for batch in batches:
        yield batch
        rows += batch.num_rows
        if max_rows is not None and rows >= max_rows:
            return


def _row_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """The batches in groups of about _GROUP_BYTES."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size >= _GROUP_BYTES:
            yield pa.Table.from_batches(waiting, schema)
            waiting, size = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting, schema)


@dataclass(frozen=True)
class PartWriter:
    """The function of mapInArrow that writes what another function returns, a file a task.

    A task that runs twice writes the same file twice.

    Attributes
    ----------
    function : callable, picklable
        Takes record batches, and returns those that are written.
    schema : pyarrow.Schema
        Of what it returns.
    folder : str
        Canonical folder of the table.
    name : str
        Begins the names of the files.
    buckets : tuple of Bucket
        How the driver reaches the bucket of the folder.
    """

    function: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
    schema: pa.Schema
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
        rows = write_part(stores_of(self.buckets).of(path), path, self.schema, chain([first], made))
        yield pa.record_batch({"file": pa.array([path]), "rows": pa.array([rows], pa.int64())})
