"""A run's photographs with the places of their features, and columns of the feature store read at these places."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from verger.errors import NothingToReadError, StoreError
from verger.insight.arrays import Float32Array, Indices, category_codes
from verger.storage.base import Storage, raise_if_corrupt
from verger.tables import reader
from verger.tables.rows import KEY, semi_join
from verger.tables.runs import Run
from verger.tables.snapshot import Snapshot
from verger.tables.store import FeatureStore, parquet_files

_COLUMNS = ["path", "label", "split", "version"]


def located_rows(run: Run, store: FeatureStore, most: int, random: np.random.Generator) -> tuple[pa.Table, int]:
    """A run's photographs and where their features are; of very many, a part that is drawn at random.

    Parameters
    ----------
    run : Run
        Its table and its snapshot are written.
    store : FeatureStore
        The store that holds the run's features.
    most : int
        Photographs that are held in memory, about.
    random : numpy.random.Generator
        Draws them.

    Returns
    -------
    pyarrow.Table
        ``path, label, split, version, file, row``, sorted by path; ``file`` is canonical.
    int
        Photographs of the run.

    Raises
    ------
    NothingToReadError
        The run's table, or features of its photographs, are gone.
    StoreError
        The table is damaged.
    """
    try:
        snapshot = Snapshot.open(run)
        rows = _from_snapshot(snapshot, store, most, random)
    except (NothingToReadError, StoreError):  # an older run, or one whose snapshot is lost: the table has all it needs
        rows = None
    if rows is not None:
        return rows, snapshot.num_rows
    rows = _from_table(run, store)
    return rows, rows.num_rows


def _from_snapshot(snapshot: Snapshot, store: FeatureStore, most: int, random: np.random.Generator) -> pa.Table | None:
    """The rows; None where a file that has features was replaced since."""
    share, drawn = most / max(snapshot.num_rows, 1), []
    for batch in snapshot.photographs():
        rows = pa.Table.from_batches([batch]).select([*_COLUMNS, "file", "row"])
        drawn.append(rows if share >= 1 else rows.filter(pa.array(random.random(len(rows)) < share)))
    if not snapshot.num_rows:
        return None
    table = pa.concat_tables(drawn)
    files = pc.binary_join_element_wise(pa.scalar(store.folder), table["file"], "/")
    there = {entry.path for entry in parquet_files(store.storage, store.folder)}
    if not there.issuperset(pc.unique(files).to_pylist()):
        return None
    return table.set_column(table.schema.get_field_index("file"), "file", files)


def _from_table(run: Run, store: FeatureStore) -> pa.Table:
    with raise_if_corrupt(run.path("projection")):
        rows = reader.projection(run).to_table(_COLUMNS).sort_by([(name, "ascending") for name in KEY])
    if not rows.num_rows:
        raise NothingToReadError(f"the run's table, {run.path('projection')}, is gone", "Run again")
    stored = semi_join(store.known(), rows)  # both are sorted by path, and a run has one version of each path
    if stored.num_rows != rows.num_rows:
        raise NothingToReadError(f"{rows.num_rows - stored.num_rows} photographs of the run are not in {store.folder}")
    return rows.append_column("file", stored["file"]).append_column("row", stored["row"])


def list_length(storage: Storage, rows: pa.Table, column: str) -> int:
    """Length of the lists in a column of the feature store, which is the same in every row.

    Parameters
    ----------
    storage : Storage
        The store that holds the files.
    rows : pyarrow.Table
        At least one row, as `located_rows` gives them.
    column : str
        Name of the column.
    """
    first = _values(storage, rows["file"][0].as_py(), np.array([rows["row"][0].as_py()]), column)
    return int(pc.list_value_length(first)[0].as_py())


def read_lists(storage: Storage, rows: pa.Table, column: str, width: int) -> Float32Array:
    """Read a column of lists as an array. Of the files, only row groups with wanted rows are read.

    Parameters
    ----------
    storage : Storage
        The store that holds the files.
    rows : pyarrow.Table
        As `located_rows` gives them.
    column : str
        Name of the column.
    width : int
        Length of the lists.

    Returns
    -------
    ndarray of float32, shape (n, width)
        In the order of ``rows``.
    """
    values = np.empty((rows.num_rows, width), np.float32)
    for file, positions, numbers in _by_file(rows):
        found = _values(storage, file, numbers, column)
        values[positions] = pc.list_flatten(found).to_numpy().reshape(-1, width)
    return values


def read_texts(storage: Storage, rows: pa.Table, column: str) -> pa.Array:
    """Read a column of text.

    Parameters
    ----------
    storage : Storage
        The store that holds the files.
    rows : pyarrow.Table
        As `located_rows` gives them.
    column : str
        Name of the column.

    Returns
    -------
    pyarrow.Array
        In the order of ``rows``.
    """
    if not rows.num_rows:
        return pa.array([], pa.string())
    found, order = [], []
    for file, positions, numbers in _by_file(rows):
        found += _values(storage, file, numbers, column).chunks
        order.append(positions)
    return pa.chunked_array(found, pa.string()).take(pa.array(np.argsort(np.concatenate(order)))).combine_chunks()


def _by_file(rows: pa.Table) -> Iterator[tuple[str, Indices, Indices]]:
    """Each file, with the positions of the rows that are in it and their numbers there, ascending."""
    if not rows.num_rows:
        return
    codes, numbers = category_codes(rows["file"]), rows["row"].to_numpy().astype(np.int64)
    order = np.lexsort((numbers, codes))
    for positions in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        yield rows["file"][int(positions[0])].as_py(), positions, numbers[positions]


def _values(storage: Storage, file: str, numbers: Indices, column: str) -> pa.ChunkedArray:
    """Values of a column in some rows of a file, whose numbers ascend."""
    found = []
    with (
        storage.arrow().open_input_file(file) as opened,
        raise_if_corrupt(file),
        pq.ParquetFile(opened, page_checksum_verification=True) as parquet,
    ):
        start = 0
        for group in range(parquet.num_row_groups):
            end = start + parquet.metadata.row_group(group).num_rows
            wanted = numbers[np.searchsorted(numbers, start) : np.searchsorted(numbers, end)]
            if len(wanted):
                found += parquet.read_row_group(group, [column])[column].take(pa.array(wanted - start)).chunks
            start = end
    return pa.chunked_array(found)
