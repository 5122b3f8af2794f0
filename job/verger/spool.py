"""Tables that are larger than memory: rows in a temporary file, written once and read as often as needed."""

from __future__ import annotations

import errno
import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from types import TracebackType
from typing import IO, Self

import pyarrow as pa
import pyarrow.compute as pc

from verger.errors import DoesNotFitError

MAX_BATCH_ROWS = 1 << 16
"""Rows of a batch of a spool, at most. Fewer rows than this in all are a few MB: they are kept in memory."""


class Spool:
    """Rows of one schema that were written once, in memory if they are few, else in a file without a name.

    The file is removed when this object is, or the process ends, in whatever way. Several threads may read at once.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the rows.
    batches : list of pyarrow.RecordBatch
        The rows, where they are in memory.
    file : pyarrow.NativeFile, optional
        The file in Arrow's IPC format that has them instead.
    lengths : sequence of int
        Rows of each batch of the file.

    Attributes
    ----------
    schema : pyarrow.Schema
        Of the rows.
    num_rows : int
        How many there are.
    """

    def __init__(
        self,
        schema: pa.Schema,
        batches: list[pa.RecordBatch],
        file: pa.NativeFile | None = None,
        lengths: Sequence[int] = (),
    ) -> None:
        self.schema = schema
        self._batches = batches
        self._file = file
        self._reader = pa.ipc.open_file(file) if file else None
        self._starts = [0, *accumulate(lengths if file else [batch.num_rows for batch in batches])]
        self.num_rows = self._starts[-1]

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Read all rows, in the order in which they were written.

        Parameters
        ----------
        columns : sequence of str, optional
            The columns that are read, in the order of the schema; default: all.

        Yields
        ------
        pyarrow.RecordBatch
            At most `MAX_BATCH_ROWS` rows.
        """
        names = self.schema.names
        wanted = [at for at, name in enumerate(names) if columns is None or name in columns]
        if self._file is None:
            yield from (batch.select([names[at] for at in wanted]) for batch in self._batches)
            return
        options = pa.ipc.IpcReadOptions(included_fields=wanted)
        reader = self._reader if columns is None else pa.ipc.open_file(self._file, options=options)
        assert reader is not None
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)

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
        stop, found = min(start + length, self.num_rows), []
        for number in range(bisect_right(self._starts, start) - 1, len(self._starts) - 1):
            first, end = self._starts[number], self._starts[number + 1]
            if first >= stop:
                break
            batch = self._reader.get_batch(number) if self._reader else self._batches[number]
            low = max(start - first, 0)
            found.append(batch.slice(low, min(stop, end) - first - low))
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
        self._folder = folder or tempfile.gettempdir()
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        self._lengths: list[int] = []
        self._file: IO[bytes] | None = None
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting, self._writer, self._file = [], None, None

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
        if self._rows >= MAX_BATCH_ROWS:
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
        if self._file is None:
            return Spool(self.schema, _batches(pa.Table.from_batches(self._waiting, self.schema), self.schema))
        self._flush(last=True)
        with full_disk_explained(self._folder):
            assert self._writer is not None
            self._writer.close()
            self._file.flush()
            # Opened anew by Arrow, whose files several threads can read at once, unlike Python's.
            file = pa.OSFile(f"/proc/self/fd/{self._file.fileno()}", "rb")
        return Spool(self.schema, [], file, self._lengths)

    def _flush(self, last: bool = False) -> None:
        """Write what waits as batches of one size, so that many small writes make no small batches."""
        batches = _batches(pa.Table.from_batches(self._waiting, self.schema), self.schema)
        rest = [] if last or batches[-1].num_rows == MAX_BATCH_ROWS else [batches.pop()]
        with full_disk_explained(self._folder):
            if self._writer is None:
                os.makedirs(self._folder, exist_ok=True)
                # It has no name, so that nothing is left behind by a process that is killed.
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writer = pa.ipc.new_file(pa.PythonFile(self._file, "w"), self.schema, options=options)
            for batch in batches:
                self._writer.write_batch(batch)
                self._lengths.append(batch.num_rows)
        self._waiting, self._rows = rest, sum(batch.num_rows for batch in rest)


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

    Raises
    ------
    DoesNotFitError
        The disk is full.
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
def full_disk_explained(folder: str) -> Iterator[None]:
    """Turn an error of the disk into one that says what to do.

    Parameters
    ----------
    folder : str
        Where the temporary files are that the context writes.

    Raises
    ------
    DoesNotFitError
        The disk is full, or cannot be written.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise DoesNotFitError(
            f"temporary file in {folder}: {'the disk is full' if full else error.strerror or error}",
            "Free some space, or name a folder of another disk with --local-dir or the variable TMPDIR",
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
    for batch in rows.batches([column]):
        for item in pc.value_counts(batch[column]).to_pylist():
            found[item["values"]] = found.get(item["values"], 0) + item["counts"]
    return found
