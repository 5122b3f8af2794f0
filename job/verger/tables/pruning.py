"""Pruning: deleting old runs, and the stored rows of photographs that are gone."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from verger.redaction import words
from verger.storage.base import Storage
from verger.storage.uri import join
from verger.tables import runs
from verger.tables.file_errors import damaged
from verger.tables.rows import is_gone
from verger.tables.runs import Run
from verger.tables.store import parquet_files

# A run without a manifest may still be in progress until it is this old.
_UNFINISHED_AGE = timedelta(days=2)
# Rows that are copied at a time.
_BATCH_ROWS = 1024
# Where Spark's committers keep uncommitted files, below the folder of a wave or a compaction.
_HALF_WRITTEN = re.compile(r"/[^/]+/(?:wave=)?(?:compacted-)?(?P<started>[^/]+)/(?:_temporary|__magic[^/]*)(?=/)")


def prune_runs(storage: Storage, output: str, keep: int) -> dict[str, int]:
    """Remove all but the newest finished runs, and unfinished ones that are over two days old.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder.
    keep : int
        How many finished runs to keep. Those that a pointer names are always kept.

    Returns
    -------
    dict of str to int
        How many ``runs`` and how many ``unfinished`` runs were removed.
    """
    found = list(runs.run_ids(storage, output))
    finished = [run_id for run_id, done in found if done]
    before = f"{datetime.now(UTC) - _UNFINISHED_AGE:%Y%m%dT%H%M%SZ}"
    unfinished = [run_id for run_id, done in found if not done and run_id < before]
    old = sorted(set(finished[: max(len(finished) - keep, 0)]) - _pointed_at(storage, output))
    _remove_half_written(storage, join(output, "features"), before)
    for run_id in old + unfinished:
        run = Run(output, run_id, storage)
        storage.delete(run.path("manifest.json"))  # first: readers trust only a run that has one
        storage.delete(run.folder)
    return {"runs": len(old), "unfinished": len(unfinished)}


def _remove_half_written(storage: Storage, features: str, before: str) -> None:
    """Remove uncommitted files of waves and compactions that were started ``before`` a time."""
    if storage.exists(features):
        found = (_HALF_WRITTEN.match(entry.path.removeprefix(features)) for entry in storage.list(features))
        for half, started in sorted({(half[0], half["started"]) for half in found if half}):
            if started < before:
                storage.delete(features + half)


def _pointed_at(storage: Storage, output: str) -> set[str]:
    names = join(output, "names")
    files = [entry.path.removeprefix(names + "/") for entry in storage.list(names)] if storage.exists(names) else []
    found = [file.removesuffix(".json") for file in files if file.endswith(".json")]
    pointed = [runs.latest(storage, output), *(runs.latest(storage, output, name) for name in found)]
    return {run.run_id for run in pointed if run is not None}


def prune_gone(
    storage: Storage,
    output: str,
    source: str,
    present: pa.ChunkedArray,
    warn: Callable[[str], None],
    unseen: Sequence[str] = (),
) -> int:
    """Delete the stored rows of photographs that are no longer in the input, of every fingerprint.

    A file with such rows is replaced by one without them. The new file appears before the old one is deleted: a reader
    may see rows twice, which it deduplicates, but it never misses one.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder.
    source : str
        Canonical folder of the photographs; rows of other folders are kept.
    present : pyarrow.ChunkedArray of str
        The paths of the photographs that are in the input.
    warn : callable
        Takes a warning, one line, for each damaged file, which is left as it is.
    unseen : sequence of str
        Folders below ``source`` that were not listed; rows of photographs in them are kept.

    Returns
    -------
    int
        Deleted rows of features: photographs, counted once for each fingerprint and version.
    """
    dropped = 0
    for folder in ("features", "rejects", "refused"):
        for entry in parquet_files(storage, join(output, folder)):
            try:
                removed = _delete_rows(storage, entry.path, lambda paths: is_gone(paths, source, present, unseen))
            except FileNotFoundError:  # a compaction has deleted it: its rows are in another file of the list
                continue
            except (pa.ArrowInvalid, OSError) as error:
                if not damaged(error):
                    raise
                warn(f"{entry.path} is damaged and left as it is ({words(error, 120)})")
                continue
            dropped += removed if folder == "features" else 0
    return dropped


def _delete_rows(storage: Storage, path: str, gone_of: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> int:
    """Replace a file by one without the rows of photographs that are gone. Returns how many these were."""
    table = ds.dataset(path, filesystem=storage.arrow())
    paths = table.to_table(columns=["path"])["path"]
    gone = pc.field("path").isin(pc.unique(paths.filter(gone_of(paths))))
    removed = int(table.count_rows(filter=gone))
    if removed == 0:
        return 0
    if removed < table.count_rows():
        successor = f"{path.removesuffix('.zstd.parquet')}-{secrets.token_hex(3)}.zstd.parquet"
        settings = _parquet_settings(table.schema)
        with storage.stream(successor) as file, pq.ParquetWriter(file, table.schema, **settings) as writer:
            for batch in table.to_batches(filter=~gone, batch_size=_BATCH_ROWS):
                writer.write_batch(batch)
    storage.delete(path)
    return removed


def _parquet_settings(schema: pa.Schema) -> dict[str, Any]:
    """Spark's settings for the store: zstd, floats as byte streams, no dictionary, a checksum of each page."""
    floats = {"features.list.element": "BYTE_STREAM_SPLIT"} if "features" in schema.names else None
    settings = {"compression": "zstd", "use_dictionary": False, "column_encoding": floats}
    return settings | {"write_page_checksum": True}
