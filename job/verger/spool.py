"""Tables that are larger than memory: rows in a temporary file, written once and read as often as needed."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from verger.errors import DoesNotFitError

MAX_BATCH_ROWS = 1 << 16
"""Rows of a batch of a spool, at most."""
# A file of so many rows is a few MB: what is less is kept in memory, without a file.
_ROWS_IN_MEMORY = 1 << 16


class Spool:
    """Rows of one schema that were written once, in memory if they are few, else in a file without a name.

    The file is removed when this object is.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the rows.
    batches : list of pyarrow.RecordBatch
        The rows, where they are in memory.
    file : pyarrow.NativeFile, optional
        The file in Arrow's IPC format that has them instead.

    Attributes
    ----------
    schema : pyarrow.Schema
        Of the rows.
    num_rows : int
        How many there are.
    """

    def __init__(self, schema: pa.Schema, batches: list[pa.RecordBatch], file: pa.NativeFile | None = None) -> None:
        self.schema = schema
        self._batches = batches
        self._reader = pa.ipc.open_file(file) if file else None
        self._starts = [0]
        for number in range(self._count()):
            self._starts.append(self._starts[-1] + self._batch(number).num_rows)
        self.num_rows = self._starts[-1]

    def _count(self) -> int:
        return self._reader.num_record_batches if self._reader else len(self._batches)

    def _batch(self, number: int) -> pa.RecordBatch:
        return self._reader.get_batch(number) if self._reader else self._batches[number]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read all rows, in the order in which they were written.

        Yields
        ------
        pyarrow.RecordBatch
            At most `MAX_BATCH_ROWS` rows.
        """
        for number in range(self._count()):
            yield self._batch(number)

    def slice(self, start: int, length: int) -> pa.Table:
        """Read some rows.

        Parameters
        ----------
        start, length : int
            First row, and number of rows; there may be fewer.

        Returns
        -------
        pyarrow.Table
            The rows, in memory.
        """
        stop, found = start + length, []
        for number, (first, end) in enumerate(zip(self._starts, self._starts[1:], strict=False)):
            if first < stop and end > start:
                low = max(start - first, 0)
                found.append(self._batch(number).slice(low, min(stop, end) - first - low))
        return pa.Table.from_batches(found, self.schema)

    def to_table(self) -> pa.Table:
        """Read all rows into memory: for tests, and where they are known to be few.

        Returns
        -------
        pyarrow.Table
            All rows.
        """
        return pa.Table.from_batches(list(self.batches()), self.schema)


class SpoolWriter:
    """Writes the rows of a `Spool`. As a context manager it removes what was written, unless `finish` was called.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the rows.
    folder : str, optional
        Where the temporary file is; default: the system's temporary folder.
    """

    def __init__(self, schema: pa.Schema, folder: str | None = None) -> None:
        self.schema = schema
        self._folder = folder
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        self._path: str | None = None
        self._file: pa.ipc.RecordBatchFileWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def write(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Add rows at the end.

        Parameters
        ----------
        rows : pyarrow.Table or pyarrow.RecordBatch
            With the schema's columns.

        Raises
        ------
        DoesNotFitError
            The disk is full.
        """
        if not rows.num_rows:
            return
        self._waiting += _batches(rows, self.schema)
        self._rows += rows.num_rows
        if self._rows >= _ROWS_IN_MEMORY:
            self._flush()

    def finish(self) -> Spool:
        """End the writing.

        Returns
        -------
        Spool
            All rows that were written.

        Raises
        ------
        DoesNotFitError
            The disk is full.
        """
        if self._path is None:
            return Spool(self.schema, _batches(pa.Table.from_batches(self._waiting, self.schema), self.schema))
        self._flush()
        with _full_disk_explained(self._path):
            assert self._file is not None
            self._file.close()
            file = pa.OSFile(self._path, "rb")
        self._remove()  # the open file stays readable, and nothing is left behind by a process that is killed
        return Spool(self.schema, [], file)

    def _flush(self) -> None:
        """Write what waits as batches of one size, so that many small writes make no small batches."""
        rows = pa.Table.from_batches(self._waiting, self.schema)
        if self._file is None:
            folder = self._folder or tempfile.gettempdir()
            with _full_disk_explained(folder):
                os.makedirs(folder, exist_ok=True)
                descriptor, self._path = tempfile.mkstemp(prefix="verger-", suffix=".arrow", dir=folder)
                os.close(descriptor)
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._file = pa.ipc.new_file(self._path, self.schema, options=options)
        with _full_disk_explained(self._path):
            for batch in _batches(rows, self.schema):
                self._file.write_batch(batch)
        self._waiting, self._rows = [], 0

    def _remove(self) -> None:
        if self._path is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._path)


def spool(schema: pa.Schema, rows: Iterable[pa.Table | pa.RecordBatch], folder: str | None = None) -> Spool:
    """Write rows into a spool.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the rows.
    rows : iterable of pyarrow.Table or pyarrow.RecordBatch
        Read once.
    folder : str, optional
        As for `SpoolWriter`.

    Returns
    -------
    Spool
        All rows.
    """
    with SpoolWriter(schema, folder) as writer:
        for some in rows:
            writer.write(some)
        return writer.finish()


def _batches(rows: pa.Table | pa.RecordBatch, schema: pa.Schema) -> list[pa.RecordBatch]:
    """The rows in batches of MAX_BATCH_ROWS; the last has fewer."""
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
    batches: list[pa.RecordBatch] = table.select(schema.names).cast(schema).combine_chunks().to_batches(MAX_BATCH_ROWS)
    return batches


@contextmanager
def _full_disk_explained(path: str | None) -> Iterator[None]:
    """Turn an error of the disk into one that says what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise DoesNotFitError(
            f"temporary file {path}: {'the disk is full' if full else error.strerror or error}",
            "Free some space, or name a folder of another disk with --local-dir",
        ) from error


def count(rows: Spool, column: str) -> dict[str | None, int]:
    """Count the rows by the values of a text column.

    Parameters
    ----------
    rows : Spool
        With this column.
    column : str
        Its name; it has few values.

    Returns
    -------
    dict of str or None to int
        In no particular order.
    """
    found: dict[str | None, int] = {}
    for batch in rows.batches():
        for item in pc.value_counts(batch[column]).to_pylist():
            found[item["values"]] = found.get(item["values"], 0) + item["counts"]
    return found
