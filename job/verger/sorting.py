"""Sorted streams of rows that are larger than memory: sorted on disk, merged, and compared block by block."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from verger.spool import MAX_BATCH_ROWS, Spool, SpoolWriter, spool

Rows: TypeAlias = pa.Table | pa.RecordBatch

# Rows that are sorted in memory. A path and what belongs to it take some 200 bytes.
_RUN_ROWS = 2 * MAX_BATCH_ROWS
# Files of one level that are merged at once: a batch of each is in memory.
_MAX_MERGED = 8
_MERGED_ROWS = MAX_BATCH_ROWS // 4


def aligned(
    streams: Sequence[Iterable[Rows]], schemas: Sequence[pa.Schema], key: str
) -> Iterator[tuple[pa.Table, ...]]:
    """Cut several streams, all sorted by one column, at the same values.

    Parameters
    ----------
    streams : sequence of iterable of pyarrow.Table or pyarrow.RecordBatch
        Each sorted by ``key``, ascending, in the order of bytes.
    schemas : sequence of pyarrow.Schema
        Of each stream.
    key : str
        A column of text that all streams have.

    Yields
    ------
    tuple of pyarrow.Table
        For each stream the rows of one range of keys; not all are empty. Rows with equal keys come together. A block
        has about as many rows as a batch of the streams, but for a key that has more.
    """
    cursors = [_Cursor(stream, schema, key) for stream, schema in zip(streams, schemas, strict=True)]
    while any([cursor.advance() for cursor in cursors]):  # every one of them
        bounds = [cursor.last for cursor in cursors if not cursor.exhausted]
        bound = min(bounds) if bounds else None
        taken = tuple(cursor.take_below(bound) for cursor in cursors)
        if any(table.num_rows for table in taken):
            yield taken
        for cursor in cursors:
            if bound is not None and not cursor.exhausted and cursor.last == bound:
                cursor.load()


class _Cursor:
    """A place in a sorted stream, and the rows that were read beyond it."""

    def __init__(self, stream: Iterable[Rows], schema: pa.Schema, key: str) -> None:
        self._stream = iter(stream)
        self._key = key
        self._rows = schema.empty_table()
        self.exhausted = False

    @property
    def last(self) -> str:
        """The largest key that was read."""
        return str(self._rows[self._key][-1].as_py())

    def advance(self) -> bool:
        """Read on where there are no rows; False at the end."""
        if not self._rows.num_rows and not self.exhausted:
            self.load()
        return bool(self._rows.num_rows)

    def load(self) -> None:
        """Read another batch that has rows."""
        for rows in self._stream:
            if rows.num_rows:
                table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
                self._rows = pa.concat_tables([self._rows, table]) if self._rows.num_rows else table
                return
        self.exhausted = True

    def take_below(self, bound: str | None) -> pa.Table:
        """Take the rows with smaller keys; all of them where there is no bound."""
        below = self._rows.num_rows
        if bound is not None:
            keys = self._rows[self._key]
            below = bisect_left(range(below), bound, key=lambda at: str(keys[at].as_py()))
        taken, self._rows = self._rows.slice(0, below), self._rows.slice(below)
        return taken


def merge(streams: Sequence[Iterable[Rows]], schema: pa.Schema, by: Sequence[str]) -> Iterator[pa.Table]:
    """Merge sorted streams into one.

    Parameters
    ----------
    streams : sequence of iterable of pyarrow.Table or pyarrow.RecordBatch
        Each sorted by the first column of ``by``.
    schema : pyarrow.Schema
        Of all of them.
    by : sequence of str
        Columns of text to sort by, ascending.

    Yields
    ------
    pyarrow.Table
        Sorted; rows with an equal first column come together.
    """
    order = [(name, "ascending") for name in by]
    sliced = [_sliced(stream) for stream in streams]
    for tables in aligned(sliced, [schema] * len(streams), by[0]):
        yield pa.concat_tables(tables).sort_by(order)


def _sliced(rows: Iterable[Rows]) -> Iterator[Rows]:
    """In parts of _MERGED_ROWS, so that the copies that merging makes are small."""
    for part in rows:
        yield from (part.slice(start, _MERGED_ROWS) for start in range(0, part.num_rows, _MERGED_ROWS))


class Sorter:
    """Sorts rows, however many: in memory, and beyond some hundred thousand rows on disk.

    Rows that come in order are only written down. Others are sorted in runs of so many rows as fit into memory, and
    the runs are merged, a bounded number at a time. Rows with equal keys keep their order.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the rows.
    by : sequence of str
        Columns of text to sort by, ascending, in the order of bytes; not null.
    folder : str, optional
        Where temporary files are; default: the system's temporary folder.
    """

    def __init__(self, schema: pa.Schema, by: Sequence[str], folder: str | None = None) -> None:
        self._schema = schema
        self._by = list(by)
        self._folder = folder
        self._waiting: list[pa.Table] = []
        self._rows = 0
        self._runs: list[_Run] = []
        self._current: SpoolWriter | None = None
        self._last: tuple[str, ...] | None = None
        self._repeats = False  # whether two neighbours are equal in the first column

    def write(self, rows: Rows) -> None:
        """Add rows, in any order.

        Parameters
        ----------
        rows : pyarrow.Table or pyarrow.RecordBatch
            With the schema's columns.

        Raises
        ------
        DoesNotFitError
            The disk is full.
        """
        if rows.num_rows:
            self._waiting.append(rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows]))
            self._rows += rows.num_rows
        if self._rows >= _RUN_ROWS:
            self._spill()

    def finish(self, unique: Sequence[str] = ()) -> Spool:
        """End the writing, and sort.

        Parameters
        ----------
        unique : sequence of str
            Columns, the first of ``by``: of rows that are equal in these, only the last is kept.

        Returns
        -------
        Spool
            The rows, sorted.

        Raises
        ------
        DoesNotFitError
            The disk is full.
        """
        self._spill()
        self._end_run()
        if len(self._runs) == 1 and not (unique and (self._repeats or self._runs[0].level)):
            return self._runs[0].rows
        merged = self._merged(self._runs)
        return spool(self._schema, (keep_last(rows, unique) for rows in merged) if unique else merged, self._folder)

    def _spill(self) -> None:
        """Sort what waits, and append it to the present run if it comes after all rows there, else to a new one."""
        if not self._rows:
            return
        table = pa.concat_tables(self._waiting)
        if not _ascends(table[self._by[0]]):
            table = table.sort_by([(name, "ascending") for name in self._by])
            self._repeats = self._repeats or not _ascends(table[self._by[0]])
        first, last = (tuple(table[name][at].as_py() for name in self._by) for at in (0, -1))
        if self._last is not None:
            self._repeats = self._repeats or first[0] == self._last[0]
            if first < self._last:
                self._end_run()
        self._current = self._current or SpoolWriter(self._schema, self._folder)
        self._current.write(table)
        self._last = last
        self._waiting, self._rows = [], 0

    def _end_run(self) -> None:
        """Close the present run. Where there are many runs of one size, they become a run of the next size."""
        if self._current is None:
            return
        self._runs.append(_Run(0, self._current.finish()))
        self._current = self._last = None
        while len(last := self._runs[-_MAX_MERGED:]) == _MAX_MERGED and last[0].level == last[-1].level:
            merged = spool(self._schema, self._merged(last), self._folder)
            self._runs[-_MAX_MERGED:] = [_Run(last[0].level + 1, merged)]

    def _merged(self, runs: Sequence[_Run]) -> Iterator[pa.Table]:
        return merge([run.rows.batches() for run in runs], self._schema, self._by)


class _Run(NamedTuple):
    """Sorted rows, and how often they were merged."""

    level: int
    rows: Spool


def _ascends(keys: pa.ChunkedArray) -> bool:
    """Whether each value is greater than the one before it."""
    return bool(pc.all(pc.less(keys[:-1], keys[1:]), min_count=0).as_py())


def keep_last(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Keep the last of the rows that are equal in some columns.

    Parameters
    ----------
    rows : pyarrow.Table
        Sorted by these columns.
    columns : sequence of str
        Columns of text.

    Returns
    -------
    pyarrow.Table
        In the same order.
    """
    return rows.filter(is_last(rows, columns))


def is_last(rows: pa.Table, columns: Sequence[str]) -> pa.BooleanArray:
    """Of each row, whether it is the last of those that are equal in some columns.

    Parameters
    ----------
    rows : pyarrow.Table
        Sorted by these columns.
    columns : sequence of str
        Columns of text.

    Returns
    -------
    pyarrow.BooleanArray
        One for each row.
    """
    if rows.num_rows < 2:
        return pa.array([True] * rows.num_rows, pa.bool_())
    differs = pa.scalar(False)
    for name in columns:
        values = rows[name].combine_chunks()
        differs = pc.or_(differs, pc.not_equal(values[:-1], values[1:]))
    return pa.concat_arrays([differs, pa.array([True])])
