"""Remembered rejections, and the photographs of refused runs: read from the store's files, and sorted on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from verger.prefetch import prefetch_map
from verger.redaction import words
from verger.sorting import Rows, Sorter, keep_last
from verger.spool import MAX_BATCH_ROWS, Spool
from verger.storage.base import Entry
from verger.tables.file_errors import damaged, retry_if_vanished, unreadable
from verger.tables.rows import KEY
from verger.tables.schemas import REFUSED, REJECTED, REMEMBERED
from verger.tables.store import FeatureStore, parquet_files

PLACED = REFUSED.append(pa.field("file", pa.string()))
"""A photograph of a refused run, and the file that names it."""

# Files up to this size are read whole, several at a time, as each needs a round trip or two. Larger ones are read
# batch by batch.
_SMALL_BYTES = 1 << 18
_READERS, _READ_AHEAD = 16, 32


def read_remembered(store: FeatureStore, scratch: str | None = None) -> Spool:
    """Read the permanent rejections of earlier runs, with whatever decoders.

    Parameters
    ----------
    store : FeatureStore
        Its rejections are read. It is told of damaged files, which are left out.
    scratch : str, optional
        Folder for temporary files.

    Returns
    -------
    Spool
        With the columns of `REMEMBERED`, sorted by path and version. A photograph version may come several times.

    Raises
    ------
    StoreError
        The store refuses or cannot be reached, or its files vanish while they are read.
    """
    return _sorted(store, store.rejects_folder, REMEMBERED, scratch)


def read_refused(store: FeatureStore, scratch: str | None = None) -> Spool:
    """Read the photographs of refused runs.

    Parameters
    ----------
    store, scratch
        As for `read_remembered`.

    Returns
    -------
    Spool
        With the columns of `PLACED`, sorted by path and version: one row a photograph version and run.

    Raises
    ------
    StoreError
        As `read_remembered`.
    """
    return _sorted(store, store.refused_folder, PLACED, scratch)


def split_by_decoders(remembered: pa.Table, decoders: str) -> tuple[pa.Table, pa.Table]:
    """Divide remembered rejections into those that hold and those that are to be tried again.

    Parameters
    ----------
    remembered : pyarrow.Table
        With the columns of `REMEMBERED`; all rows of a photograph version.
    decoders : str
        What decodes photographs here.

    Returns
    -------
    pyarrow.Table
        The rejections with these decoders (`REJECTED`): of each photograph version the latest, sorted by path.
    pyarrow.Table
        ``path, version`` of those with other decoders, such as an earlier version's.
    """
    same = pc.fill_null(pc.equal(remembered["decoders"], decoders), False)
    held = remembered.filter(same).select(REJECTED.names)
    held = held.sort_by([(name, "ascending") for name in (*KEY, "at")])
    return keep_last(held, KEY), remembered.filter(pc.invert(same)).select(KEY)


def read_files(
    store: FeatureStore, entries: Iterable[Entry], schema: pa.Schema, unread: set[str] | None = None
) -> Iterator[tuple[Entry, Rows]]:
    """Read files that hold rejections or refused photographs. A bounded number of rows is in memory.

    Parameters
    ----------
    store : FeatureStore
        To which they belong. It is told of each damaged one, of which some rows may have been read.
    entries : iterable of Entry
        The files.
    schema : pyarrow.Schema
        The columns to read. One that a file does not have is null.
    unread : set of str, optional
        Gets the path of each damaged file.

    Yields
    ------
    tuple of (Entry, pyarrow.Table or pyarrow.RecordBatch)
        A file, and rows of it.

    Raises
    ------
    FileNotFoundError
        One of them was deleted.
    StoreError
        The store refuses or cannot be reached.
    """

    def read(entry: Entry) -> tuple[Entry, pa.Table | Exception | None]:
        if entry.size > _SMALL_BYTES:
            return entry, None
        try:
            return entry, _dataset(store, entry, schema).to_table(use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            return entry, error

    for entry, rows in prefetch_map(read, entries, _READERS, _READ_AHEAD):
        try:
            if isinstance(rows, Exception):
                raise rows
            if rows is not None:
                yield entry, rows
                continue
            for batch in _dataset(store, entry, schema).to_batches(batch_size=MAX_BATCH_ROWS, batch_readahead=1):
                yield entry, batch
        except (pa.ArrowInvalid, OSError) as error:
            _raise_unless_damaged(store, entry, error)
            if unread is not None:
                unread.add(entry.path)


def _raise_unless_damaged(store: FeatureStore, entry: Entry, error: Exception) -> None:
    if isinstance(error, FileNotFoundError):
        raise error
    if not damaged(error):
        raise unreadable(entry.path, error) from error
    store.warn(f"{entry.path} is damaged and left out ({words(error, 120)})")


def _dataset(store: FeatureStore, entry: Entry, schema: pa.Schema) -> ds.Dataset:
    return ds.dataset([entry.path], schema=schema, filesystem=store.storage.arrow())


def _sorted(store: FeatureStore, folder: str, schema: pa.Schema, scratch: str | None) -> Spool:
    return retry_if_vanished(partial(_sorted_once, store, folder, schema, scratch), folder)


def _sorted_once(store: FeatureStore, folder: str, schema: pa.Schema, scratch: str | None) -> Spool:
    sorter = Sorter(schema, KEY, scratch)
    for entry, rows in read_files(store, parquet_files(store.storage, folder), schema):
        if schema is PLACED:
            rows = rows.set_column(2, "file", pa.array([entry.path] * rows.num_rows, pa.string()))
        sorter.write(rows)
    return sorter.finish()
