"""Rows of an earlier run's table that stand in the next: copied as a stream, with today's labels."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from verger.photographs.labels import label_and_split
from verger.tables import reader
from verger.tables.rows import row_keys
from verger.tables.runs import Run
from verger.tables.schemas import PROJECTION

_FILE_ROWS = 1 << 20
_BATCH_ROWS = 1 << 14


def copy(source: Run, target: Run, removed: pa.Table, root: str) -> int:
    """Copy the table of a run into that of another.

    Parameters
    ----------
    source : Run
        The earlier run, which is finished.
    target : Run
        The run whose table gets the rows, in files of their own.
    removed : pyarrow.Table
        ``path, version`` of rows that are left out.
    root : str
        Canonical folder of the input, below which a path has its label and its split.

    Returns
    -------
    int
        Rows that were copied.
    """
    keys = row_keys(removed)
    settings = {
        "compression": "zstd",
        "use_dictionary": False,
        "column_encoding": {"pca_features.list.element": "BYTE_STREAM_SPLIT"},
        "write_page_checksum": True,
    }
    batches = reader.projection(source).to_batches(batch_size=_BATCH_ROWS)
    copied, number, ended = 0, 0, False
    while not ended:
        path, rows = target.path("projection", f"part-kept-{number:05d}.zstd.parquet"), 0
        with target.storage.stream(path) as file, pq.ParquetWriter(file, PROJECTION, **settings) as writer:
            for batch in batches:
                wanted = batch.filter(pc.invert(pc.is_in(row_keys(batch), value_set=keys)))
                writer.write_batch(_labelled(wanted, root))
                rows += wanted.num_rows
                if rows >= _FILE_ROWS:
                    break
            else:
                ended = True
        copied, number = copied + rows, number + 1
    return copied


def _labelled(rows: pa.RecordBatch, root: str) -> pa.RecordBatch:
    """The rows with the labels and splits that their paths have below a folder."""
    label, split = label_and_split(rows["path"], root)
    columns = [{"label": label, "split": split}.get(name, rows[name]) for name in PROJECTION.names]
    return pa.record_batch(columns, schema=PROJECTION)
