"""Rows of the feature store in Spark. What Spark distributes is the names of files, which its Python workers read.

So no row passes through the JVM, and a column of feature lists becomes a matrix without a copy.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from verger.cores import use_one_thread
from verger.errors import StoreError
from verger.prefetch import prefetch
from verger.storage.buckets import Bucket
from verger.storage.stores import Stores, stores_of
from verger.tables.file_errors import gone, unreadable
from verger.tables.selection import SelectedFile, Selection

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Bytes of a row group of the store, at most; a file has about so many as fit it. The driver opens no file to see.
ROW_GROUP_BYTES = 32 << 20
# Bytes of a batch in memory. A worker holds two, one at work and one being read, and a row group as it is stored.
BATCH_BYTES = 16 << 20
# As Spark packs files into tasks: bytes of a task, at most and at least, and what opening a file costs, in bytes that
# are read meanwhile.
_TASK_BYTES = 128 << 20
_OPEN_COST_BYTES = _MIN_TASK_BYTES = 4 << 20
# Files are cut into pieces of a quarter of a task at most, so that tasks differ by no more than that.
_PIECES_A_TASK = 4
_BATCHES_AHEAD = 1

# Record batches in, record batches out: a function of mapInArrow.
BatchFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, slots=True)
class _Piece:
    """What a task reads of a file: of its row groups, number ``part`` and every ``parts``-th after it."""

    path: str
    rows: int
    wanted: bytes | None
    part: int
    parts: int


_PIECES = pa.schema(
    [("path", pa.string()), ("rows", pa.int64()), ("wanted", pa.binary()), ("part", pa.int32()), ("parts", pa.int32())]
)


@dataclass(frozen=True)
class FeatureRows:
    """Selected rows of the feature store. It has those methods of a DataFrame by which the PCA works.

    Attributes
    ----------
    spark : pyspark.sql.SparkSession
        Its Python workers read the files.
    selection : Selection
        The rows.
    buckets : tuple of Bucket
        How the driver reaches the buckets of the files. A worker finds its own credentials.
    columns : tuple of str
        Names of columns of `FEATURES`, the only ones that are read.
    max_tasks : int, optional
        Tasks at most; default: as many as Spark would take for files of these sizes.
    open_cost : int
        What opening a file counts, in bytes that are read meanwhile, where tasks get equal shares.
    """

    spark: SparkSession
    selection: Selection
    buckets: tuple[Bucket, ...]
    columns: tuple[str, ...] = ("path", "version", "features")
    max_tasks: int | None = None
    open_cost: int = _OPEN_COST_BYTES

    @property
    def sparkSession(self) -> SparkSession:
        """The session, by the name that it has in a DataFrame."""
        return self.spark

    def select(self, *columns: str) -> FeatureRows:
        """The same rows with other columns.

        Parameters
        ----------
        *columns : str
            As in ``columns``.

        Returns
        -------
        FeatureRows
            Nothing is read yet.
        """
        return replace(self, columns=columns)

    def coalesce(self, max_tasks: int) -> FeatureRows:
        """The same rows in a number of tasks at most.

        Parameters
        ----------
        max_tasks : int
            At least one.

        Returns
        -------
        FeatureRows
            Nothing is read yet.
        """
        return replace(self, max_tasks=min(max_tasks, self.max_tasks or max_tasks))

    def mapInArrow(self, function: BatchFunction, schema: str) -> DataFrame:
        """Give each task's rows to a function, in the Python worker that reads them.

        Parameters
        ----------
        function : callable, picklable
            Takes an iterator of record batches with ``columns``, of at most `BATCH_BYTES` or one row. It is called
            once a task, in a process whose numeric libraries use one thread.
        schema : str
            Of the batches that it returns, in DDL.

        Returns
        -------
        pyspark.sql.DataFrame
            What the function returned; lazy. Where a file is gone by then, `verger.tables.store.vanished` recognises
            the error.
        """
        tasks = self._tasks()
        batches = [pa.RecordBatch.from_pylist([_fields(piece) for piece in pieces], _PIECES) for pieces in tasks]
        # Each batch is a partition where the session has our settings.
        names = self.spark.createDataFrame(pa.Table.from_batches(batches, _PIECES)).coalesce(max(1, len(tasks)))
        return names.mapInArrow(_ReadFirst(function, self.columns, self.buckets), schema)

    def _tasks(self) -> list[list[_Piece]]:
        """The pieces of each task. Each task has about as many bytes as any other."""
        costs = [file.size + self.open_cost for file in self.selection.files]
        cores = self.spark.sparkContext.defaultParallelism
        target = min(_TASK_BYTES, max(_MIN_TASK_BYTES, sum(costs) // cores))
        count = min(-(-sum(costs) // target), self.max_tasks or len(costs) * cores)
        if not costs:
            return []
        size = sum(costs) // (count * _PIECES_A_TASK)
        pieces = [piece for file in self.selection.files for piece in _cut(file, size, self.open_cost)]
        pieces.sort(key=lambda costed: (-costed[0], costed[1].path, costed[1].part))
        tasks: list[list[_Piece]] = [[] for _ in range(min(count, len(pieces)))]
        loads = [(0, number) for number in range(len(tasks))]
        for cost, piece in pieces:  # the largest first, each to the task that has least
            load, number = loads[0]
            tasks[number].append(piece)
            heapq.heapreplace(loads, (load + cost, number))
        return tasks


def _cut(file: SelectedFile, size: int, open_cost: int) -> list[tuple[int, _Piece]]:
    """A file in pieces of about so many bytes, but no smaller than a row group; with what each costs."""
    parts = max(1, min(-(-file.size // size), -(-file.size // ROW_GROUP_BYTES)))
    cost = file.size // parts + open_cost
    return [(cost, _Piece(file.path, file.rows, file.wanted, part, parts)) for part in range(parts)]


def _fields(piece: _Piece) -> dict[str, object]:
    return {name: getattr(piece, name) for name in _PIECES.names}


@dataclass(frozen=True)
class _ReadFirst:
    """The function of Spark's mapInArrow: pieces in, out comes what a function makes of the rows in them."""

    function: BatchFunction
    columns: tuple[str, ...]
    buckets: tuple[Bucket, ...]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        use_one_thread()
        pieces = [_Piece(**fields) for batch in batches for fields in batch.to_pylist()]
        read = partial(_read_piece, stores_of(self.buckets), self.columns)
        yield from self.function(prefetch((rows for piece in pieces for rows in read(piece)), _BATCHES_AHEAD))


def _read_piece(stores: Stores, columns: tuple[str, ...], piece: _Piece) -> Iterator[pa.RecordBatch]:
    """The wanted rows of a piece, in the order of the file. The checksums of pages are verified."""
    with (
        _explained(piece.path),
        stores.of(piece.path).arrow().open_input_file(piece.path) as opened,
        pq.ParquetFile(opened, page_checksum_verification=True, pre_buffer=False) as file,
    ):
        if file.metadata.num_rows != piece.rows:
            raise StoreError(f"{piece.path} has {file.metadata.num_rows} rows instead of {piece.rows}", "Run again")
        for group, wanted in _row_groups(file.metadata, piece):
            done, size = 0, _batch_rows(file.metadata.row_group(group))
            for batch in file.iter_batches(size, [group], list(columns), use_threads=False):
                rows = batch.select(columns)
                if wanted is not None:
                    rows = _filtered(rows, wanted[done : done + len(rows)])
                done += len(batch)
                if len(rows):
                    yield rows


def _row_groups(metadata: pq.FileMetaData, piece: _Piece) -> Iterator[tuple[int, npt.NDArray[np.bool_] | None]]:
    """The row groups of a piece that have wanted rows, and which rows of each are wanted; None for all."""
    lengths = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    starts = np.cumsum([0, *lengths])
    wanted = None if piece.wanted is None else np.unpackbits(np.frombuffer(piece.wanted, np.uint8)).view(np.bool_)
    for group in range(piece.part, len(lengths), piece.parts):
        rows = None if wanted is None else wanted[starts[group] : starts[group + 1]]
        if rows is None or rows.all():
            yield group, None
        elif rows.any():
            yield group, rows


def _batch_rows(group: pq.RowGroupMetaData) -> int:
    """Rows of a batch. Nearly all of a row is its features, each of 32 bits and one that says if it is null."""
    values = max(int(group.column(column).num_values) for column in range(group.num_columns))
    return max(1, 8 * BATCH_BYTES * int(group.num_rows) // (33 * values + 1))


def _filtered(batch: pa.RecordBatch, wanted: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    """Those rows of a batch that are wanted."""
    if wanted.all():
        return batch
    return pa.RecordBatch.from_arrays(
        [_filtered_column(column, wanted) for column in batch.columns], batch.schema.names
    )


def _filtered_column(column: pa.Array, wanted: npt.NDArray[np.bool_]) -> pa.Array:
    if not pa.types.is_list(column.type) or column.null_count:
        return column.filter(pa.array(wanted))
    lengths = column.value_lengths().to_numpy()
    if (lengths != lengths[0]).any():
        return column.filter(pa.array(wanted))
    # Arrow would gather the numbers one by one.
    values = column.flatten().to_numpy().reshape(len(column), -1)[wanted]
    offsets = np.arange(len(values) + 1, dtype=np.int32) * lengths[0]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn errors of reading a file into such as the driver knows; they reach it as text."""
    try:
        yield
    except FileNotFoundError as error:
        raise gone(path) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(path, error) from error
