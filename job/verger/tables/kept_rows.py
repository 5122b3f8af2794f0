"""Rows of an earlier run's table that stand in the next: copied as a stream, with today's labels."""

from __future__ import annotations

from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from verger.photographs.labels import label_and_split
from verger.tables import reader
from verger.tables.parts import write_part
from verger.tables.rows import row_keys
from verger.tables.runs import Run
from verger.tables.schemas import PROJECTION

_FILE_ROWS = 1 << 20


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
    rows = reader.batches(source)
    if len(keys):
        rows = (batch.filter(pc.invert(pc.is_in(row_keys(batch), value_set=keys))) for batch in rows)
    labelled = (_labelled(batch, root) for batch in rows if batch.num_rows)
    copied, number = 0, 0
    while first := next(labelled, None):
        path = target.path("projection", f"part-kept-{number:05d}.zstd.parquet")
        copied += write_part(target.storage, path, PROJECTION, chain([first], labelled), _FILE_ROWS)
        number += 1
    return copied


def _labelled(rows: pa.RecordBatch, root: str) -> pa.RecordBatch:
    """The rows with the labels and splits that their paths have below a folder."""
    label, split = label_and_split(rows["path"], root)
    columns = [{"label": label, "split": split}.get(name, rows[name]) for name in PROJECTION.names]
    return pa.record_batch(columns, schema=PROJECTION)
