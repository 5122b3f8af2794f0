"""What has changed: today's photographs, those of an earlier run, and stored rows, compared as sorted streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from verger.photographs.inventory import SCHEMA
from verger.sorting import Rows, aligned, is_last, keep_last

LOCATION = pa.schema([("path", pa.string()), ("version", pa.string()), ("file", pa.string()), ("row", pa.int32())])
"""One row a photograph version: the file of the feature store that has its features, and its row in that file.

``file`` and ``row`` are null where no file has them any more.
"""
LOCATED = pa.schema([*SCHEMA, LOCATION.field("file"), LOCATION.field("row"), pa.field("kept", pa.bool_())])
"""Today's photographs with their location, null where they are not stored. ``kept``: the earlier run had this version.
"""

_PATHS = pa.schema([SCHEMA.field("path")])


@dataclass(frozen=True)
class Compared:
    """The result for one range of paths.

    Attributes
    ----------
    photographs : pyarrow.Table
        Today's photographs (`LOCATED`), sorted by path.
    removed : pyarrow.Table
        Photograph versions of the earlier run that are not among today's (`LOCATION`).
    unused : pyarrow.Table
        Stored rows that today's photographs do not stand on (`LOCATION`): other versions, those of the earlier run
        included, and the same versions in other files, which remain where the file that was taken is deleted.
    gone : pyarrow.ChunkedArray of str
        Paths of ``unused`` that are not in the input any more, each once.
    """

    photographs: pa.Table
    removed: pa.Table
    unused: pa.Table
    gone: pa.ChunkedArray


def compare(
    today: Iterable[Rows],
    base: Iterable[Rows],
    stored: Sequence[Iterable[Rows]],
    present: Iterable[Rows] | None = None,
) -> Iterator[Compared]:
    """Compare sorted streams. A bounded number of rows is in memory.

    Parameters
    ----------
    today : iterable of pyarrow.RecordBatch
        The photographs of this run (`verger.photographs.inventory.SCHEMA`), each path once.
    base : iterable of pyarrow.RecordBatch
        The photograph versions of the earlier run (`LOCATION`); empty where there is none.
    stored : sequence of iterable of pyarrow.RecordBatch
        Further photograph versions that are stored (`LOCATION`). Where a version is stored in several files, the last
        of these by name is taken.
    present : iterable of pyarrow.RecordBatch, optional
        All photographs of the input, with a column ``path``, where ``today`` is a selection of them.

    Yields
    ------
    Compared
        For one range of paths after the other. All versions of a path are in one of them.
    """
    streams = [today, base, *stored] + ([present] if present is not None else [])
    schemas = [SCHEMA, LOCATION] + [LOCATION] * len(stored) + ([_PATHS] if present is not None else [])
    for tables in aligned(streams, schemas, "path"):
        chosen, before, *others = tables
        there = others.pop() if present is not None else chosen
        yield _compared(chosen, before.select(LOCATION.names), others, there["path"])


def _compared(chosen: pa.Table, before: pa.Table, others: list[pa.Table], present: pa.ChunkedArray) -> Compared:
    rows = pa.concat_tables([before, *(table.select(LOCATION.names) for table in others)])
    rows = rows.filter(pc.is_valid(rows["file"])).sort_by([(name, "ascending") for name in ("path", "version", "file")])
    taken = is_last(rows, ["path", "version"])
    stored = rows.filter(taken)
    keys, row_keys, before_keys = (_keys(table) for table in (chosen, rows, before))
    at = pc.index_in(keys, value_set=row_keys.filter(taken))
    located = chosen.select(SCHEMA.names)
    for name in ("file", "row"):
        located = located.append_column(LOCATION.field(name), stored[name].take(at))
    located = located.append_column(LOCATED.field("kept"), pc.is_in(keys, value_set=before_keys))
    unused = rows.filter(pc.invert(pc.and_(taken, pc.is_in(row_keys, value_set=keys))))
    gone = pc.unique(unused["path"].filter(pc.invert(pc.is_in(unused["path"], value_set=present))))
    removed = before.filter(pc.invert(pc.is_in(before_keys, value_set=keys)))
    return Compared(located, removed, unused, gone)


def locate(photographs: Iterable[Rows], stored: Iterable[Rows]) -> Iterator[pa.Table]:
    """Add locations to photographs that have none, or none any more.

    Parameters
    ----------
    photographs : iterable of pyarrow.RecordBatch
        Today's (`LOCATED`), sorted by path. Where ``file`` is null, ``row`` is ignored.
    stored : iterable of pyarrow.RecordBatch
        Photograph versions that were stored meanwhile (`LOCATION`), sorted by path, version and file. Where a version
        is in several files, the last of these is taken.

    Yields
    ------
    pyarrow.Table
        The photographs in the same order (`LOCATED`).
    """
    for rows, found in aligned([photographs, stored], [LOCATED, LOCATION], "path"):
        found = keep_last(found, ["path", "version"])
        at = pc.index_in(_keys(rows), value_set=_keys(found))
        # Where its file has vanished, a photograph may still have the number of its row there.
        there = pc.is_valid(rows["file"])
        for name in ("file", "row"):
            place = LOCATED.get_field_index(name)
            rows = rows.set_column(place, LOCATED.field(name), pc.if_else(there, rows[name], found[name].take(at)))
        if rows.num_rows:
            yield rows


def _keys(rows: pa.Table) -> pa.ChunkedArray:
    """Path and version as one text: neither can hold NUL."""
    return pc.binary_join_element_wise(rows["path"], rows["version"], "\0")
