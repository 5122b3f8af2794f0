"""Rows of photographs by their key, path and version: joined, deduplicated, counted, and written as Parquet."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from verger.storage.uri import join

KEY = ["path", "version"]
"""The columns that identify a photograph version."""


def deduplicate(rows: pa.Table, order_by: str) -> pa.Table:
    """Keep one row for each photograph version.

    Parameters
    ----------
    rows : pyarrow.Table
        With the columns ``path`` and ``version``.
    order_by : str
        Column whose largest value decides which row is kept.

    Returns
    -------
    pyarrow.Table
        Sorted by path and version.
    """
    rows = rows.sort_by([("path", "ascending"), ("version", "ascending"), (order_by, "descending")])
    if rows.num_rows < 2:
        return rows
    path, version = rows["path"].combine_chunks(), rows["version"].combine_chunks()
    repeats = pc.and_(pc.equal(path[1:], path[:-1]), pc.equal(version[1:], version[:-1]))
    return rows.filter(pa.concat_arrays([pa.array([True]), pc.invert(repeats)]))


def anti_join(rows: pa.Table, others: pa.Table, on: Sequence[str] = KEY) -> pa.Table:
    """The rows whose key is not in another table.

    Parameters
    ----------
    rows, others : pyarrow.Table
        Both with the columns of ``on``.
    on : sequence of str
        Columns of the key, of text; default: path and version.

    Returns
    -------
    pyarrow.Table
        In the order of ``rows``.
    """
    return rows.filter(pc.invert(pc.is_in(row_keys(rows, on), value_set=row_keys(others, on))))


def semi_join(rows: pa.Table, others: pa.Table) -> pa.Table:
    """The rows whose path and version are in another table.

    Parameters
    ----------
    rows, others : pyarrow.Table
        Both with the columns ``path`` and ``version``.

    Returns
    -------
    pyarrow.Table
        In the order of ``rows``.
    """
    return rows.filter(pc.is_in(row_keys(rows), value_set=row_keys(others)))


def is_gone(
    paths: pa.ChunkedArray, source: str, present: pa.ChunkedArray, unseen: Sequence[str] = ()
) -> pa.ChunkedArray:
    """Of each photograph, whether it was in the input and is not there any more.

    Parameters
    ----------
    paths : pyarrow.ChunkedArray of str
        Canonical.
    source : str
        Canonical folder of the input; photographs of other folders are not gone.
    present : pyarrow.ChunkedArray of str
        The paths that are in the input.
    unseen : sequence of str
        Folders below the input that were not listed; photographs in them are not gone, for all that is known.

    Returns
    -------
    pyarrow.ChunkedArray of bool
        One for each path.
    """
    gone = pc.and_not(pc.starts_with(paths, join(source, "")), pc.is_in(paths, value_set=present))
    for folder in unseen:
        gone = pc.and_not(gone, pc.starts_with(paths, join(folder, "")))
    return gone


def row_keys(rows: pa.Table | pa.RecordBatch, columns: Sequence[str] = KEY) -> pa.ChunkedArray | pa.Array:
    """Several text columns as one.

    Parameters
    ----------
    rows : pyarrow.Table or pyarrow.RecordBatch
        With these columns.
    columns : sequence of str
        Paths and versions, or other texts without NUL.

    Returns
    -------
    pyarrow.ChunkedArray or pyarrow.Array
        A text a row, of a table or a batch.
    """
    # Neither a path nor a version can hold NUL, so that the joined key is unique.
    return pc.binary_join_element_wise(*(rows[name] for name in columns), "\0")


def parquet_bytes(table: pa.Table) -> bytes:
    """The content of a Parquet file.

    Parameters
    ----------
    table : pyarrow.Table
        A small one, as the file is made in memory.

    Returns
    -------
    bytes
        Compressed with zstd.
    """
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
