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

COUNTED = "written boolean"
"""What `CountedPartWriter` returns, in DDL: a row for each row that it wrote."""

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
    return sum(batch.num_rows for batch in _written(storage, path, schema, _first(batches, max_rows)))


def _written(
    storage: Storage, path: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Write batches as one file, and yield each. Row groups have about _GROUP_BYTES. The file appears at the end."""
    with storage.stream(path) as file, pq.ParquetWriter(file, schema, **_settings(schema)) as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in batches:
            waiting.append(batch)
            if sum(each.nbytes for each in waiting) >= _GROUP_BYTES:
                _write_group(writer, waiting)
                waiting = []
            yield batch
        if waiting:
            _write_group(writer, waiting)


def _write_group(writer: pq.ParquetWriter, batches: list[pa.RecordBatch]) -> None:
    group = pa.Table.from_batches(batches, writer.schema)
    writer.write_table(group, row_group_size=max(1, group.num_rows))


def _settings(schema: pa.Schema) -> dict[str, Any]:
    """Zstd, floats as byte streams, no dictionary, checksums of pages."""
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
        if to_write := self._to_write(batches):
            path, made = to_write
            rows = write_part(stores_of(self.buckets).of(path), path, self.schema, made)
            yield pa.record_batch({"file": pa.array([path]), "rows": pa.array([rows], pa.int64())})

    def _to_write(self, batches: Iterator[pa.RecordBatch]) -> tuple[str, Iterator[pa.RecordBatch]] | None:
        """The file of this task, and what is to be in it."""
        from pyspark import TaskContext

        context = TaskContext.get()
        assert context is not None
        made = (batch for batch in self.function(batches) if batch.num_rows)
        first = next(made, None)
        if first is None:
            return None
        path = join(self.folder, f"{self.name}-{context.partitionId():05d}.zstd.parquet")
        return path, chain([first], made)


class CountedPartWriter(PartWriter):
    """A `PartWriter` whose rows Spark counts while a task runs: see `verger.spark.live_rows`."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write the rows of one task.

        Parameters
        ----------
        batches : iterator of pyarrow.RecordBatch
            What ``function`` takes.

        Yields
        ------
        pyarrow.RecordBatch
            As many rows (`COUNTED`) as a batch has that was written.
        """
        if to_write := self._to_write(batches):
            path, made = to_write
            for batch in _written(stores_of(self.buckets).of(path), path, self.schema, made):
                yield pa.record_batch({"written": pa.repeat(pa.scalar(True), batch.num_rows)})
