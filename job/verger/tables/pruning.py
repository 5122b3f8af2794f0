"""Pruning: deleting old runs, and the stored rows of photographs that are gone."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from verger.errors import NothingToReadError, StoreError
from verger.redaction import words
from verger.spool import Spool
from verger.storage.base import Storage
from verger.storage.uri import join
from verger.tables import manifest, runs
from verger.tables.file_errors import damaged
from verger.tables.rows import is_gone, present_among
from verger.tables.runs import Run
from verger.tables.store import parquet_files

Result = TypeVar("Result")

# A run without a manifest may still be in progress until it is this old.
_UNFINISHED_AGE = timedelta(days=2)
# Rows that are copied at a time.
_BATCH_ROWS = 1024
# Rows of files that are compared with the photographs at a time; a path takes some 100 bytes.
_GROUP_ROWS = 500_000
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
    kept = set(finished[max(len(finished) - keep, 0) :]) | _pointed_at(storage, output)
    old = sorted(set(finished) - kept - _standing_for(storage, output, kept))
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


def _standing_for(storage: Storage, output: str, kept: set[str]) -> set[str]:
    """The runs whose table is that of a kept run, in which nothing had changed."""
    documents = []
    for run_id in kept:
        with suppress(NothingToReadError, StoreError):  # what cannot be read names no other run
            documents.append(manifest.read(Run(output, run_id, storage)))
    return {document.same_as for document in documents if document.same_as}


def prune_gone(
    storage: Storage,
    output: str,
    source: str,
    photographs: Spool,
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
    photographs : Spool
        The photographs that are in the input, with a column ``path``. It is read once for some hundred thousand rows
        of the store.
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
        files = (entry.path for entry in parquet_files(storage, join(output, folder)))
        for group in _grouped(_with_paths(storage, files, warn)):
            for file, gone in _gone_by_file(group, source, photographs, unseen):
                removed = _unless_damaged(file, warn, partial(_delete_rows, storage, file, gone))
                dropped += removed or 0 if folder == "features" else 0
    return dropped


def _with_paths(
    storage: Storage, files: Iterable[str], warn: Callable[[str], None]
) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """Each file and the paths of its photographs."""
    for file in files:
        paths = _unless_damaged(file, warn, partial(_paths, storage, file))
        if paths is not None:
            yield file, paths


def _paths(storage: Storage, file: str) -> pa.ChunkedArray:
    return ds.dataset(file, filesystem=storage.arrow()).to_table(columns=["path"])["path"]


def _grouped(files: Iterable[tuple[str, pa.ChunkedArray]]) -> Iterator[dict[str, pa.ChunkedArray]]:
    """Groups of files, with not many more than `_GROUP_ROWS` rows."""
    group: dict[str, pa.ChunkedArray] = {}
    for file, paths in files:
        group[file] = paths
        if sum(map(len, group.values())) >= _GROUP_ROWS:
            yield group
            group = {}
    if group:
        yield group


def _gone_by_file(
    group: dict[str, pa.ChunkedArray], source: str, photographs: Spool, unseen: Sequence[str]
) -> Iterator[tuple[str, pa.Array]]:
    """Each file of a group that has photographs that are gone, and their paths."""
    paths = pa.chunked_array([chunk for each in group.values() for chunk in each.chunks], pa.string())
    present = paths.filter(present_among(paths, photographs))
    gone, start = is_gone(paths, source, present, unseen), 0
    for file, its in group.items():
        its_gone = its.filter(gone.slice(start, len(its)))
        start += len(its)
        if len(its_gone):
            yield file, pc.unique(its_gone)


def _unless_damaged(file: str, warn: Callable[[str], None], action: Callable[[], Result]) -> Result | None:
    """Read or rewrite a file; None if that cannot be."""
    try:
        return action()
    except FileNotFoundError:  # a compaction has deleted it: its rows are in another file of the list
        return None
    except (pa.ArrowInvalid, OSError) as error:
        if not damaged(error):
            raise
        warn(f"{file} is damaged and left as it is ({words(error, 120)})")
        return None


def _delete_rows(storage: Storage, path: str, gone_paths: pa.Array) -> int:
    """Replace a file by one without the rows of some photographs. Returns how many these were."""
    table = ds.dataset(path, filesystem=storage.arrow())
    gone = pc.field("path").isin(gone_paths)
    removed = int(table.count_rows(filter=gone))
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
