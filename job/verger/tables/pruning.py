"""Pruning: deleting old runs, and the stored rows of photographs that are gone or were replaced."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
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
from verger.tables.rows import KEY, is_gone
from verger.tables.runs import Run
from verger.tables.schemas import FEATURES
from verger.tables.store import parquet_files

Result = TypeVar("Result")

# A run without a manifest may still be in progress until it is this old.
_UNFINISHED_AGE = timedelta(days=2)
# Rows that are copied at a time.
_BATCH_ROWS = 1024
# Rows of files that are compared with the photographs at a time; a path takes some 100 bytes.
_GROUP_ROWS = 500_000
# A replaced version is forgotten if it was stored so long before the listing: clocks differ by less, and a row that is
# younger is forgotten by a later prune.
CLOCK_SKEW = timedelta(hours=1)
# The folders that name photographs, and the column that says when a row was made.
_TIMES = {"features": "extracted_at", "rejects": "at", "refused": None}
_STARTED = re.compile(r"/(\d{8}T\d{6}Z)-[^/]+$")  # the run after which a file in refused/ is named
_KEYS = pa.schema([*(FEATURES.field(name) for name in KEY), ("at", pa.timestamp("us", tz="UTC"))])
# Below the folder of a wave or a compaction: where Spark's committers kept uncommitted files, and on a disk files that
# we were writing.
_HALF_WRITTEN = re.compile(
    r"/[^/]+/(?:wave=)?(?:compacted-)?(?P<started>[^/]+)/(?:(?:_temporary|__magic[^/]*)(?=/)|\.[^/]+\.parquet\.[0-9a-f]+$)"
)


def prune_runs(storage: Storage, output: str, keep: int) -> dict[str, int]:
    """Remove all but the newest finished runs, and unfinished ones that are over two days old.

    Of a failed run that a pointer in ``names/`` tells of, its failure.json stays for as long as the pointer does.

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
    names = _names(storage, output)
    pointed = _pointed_at(storage, output, names)
    # A run id tells the second: of runs that started in one, those that a pointer names are the newest.
    finished = sorted((run_id for run_id, done in found if done), key=lambda run_id: (run_id[:16], run_id in pointed))
    before = f"{datetime.now(UTC) - _UNFINISHED_AGE:%Y%m%dT%H%M%SZ}"
    unfinished = [run_id for run_id, done in found if not done and run_id < before]
    kept = set(finished[max(len(finished) - keep, 0) :]) | pointed
    old = sorted(set(finished) - kept - _standing_for(storage, output, kept))
    for folder in ("features", "rejects"):
        _remove_half_written(storage, join(output, folder), before)
    failed = {failure.run_id for name in names if (failure := runs.latest_failure(storage, output, name))}
    for run_id in failed.intersection(unfinished):
        _reduce_to_failure(Run(output, run_id, storage))
    unfinished = [run_id for run_id in unfinished if run_id not in failed]
    for run_id in old + unfinished:
        run = Run(output, run_id, storage)
        storage.delete(run.path("manifest.json"))  # first: readers trust only a run that has one
        storage.delete(run.folder)
    return {"runs": len(old), "unfinished": len(unfinished)}


def _reduce_to_failure(run: Run) -> None:
    """Remove all of a failed run but its failure.json."""
    below = {run.relative(entry.path).split("/")[2] for entry in run.storage.list(run.folder)}
    for name in below - {"failure.json"}:
        run.storage.delete(run.path(name))


def _remove_half_written(storage: Storage, root: str, before: str) -> None:
    """Remove uncommitted files of waves and compactions that were started ``before`` a time."""
    if storage.exists(root):
        found = (_HALF_WRITTEN.match(entry.path.removeprefix(root)) for entry in storage.list(root))
        for half, started in sorted({(half[0], half["started"]) for half in found if half}):
            if started < before:
                storage.delete(root + half)


def _names(storage: Storage, output: str) -> list[str]:
    """The series of runs that have a pointer."""
    names = join(output, "names")
    files = [entry.path.removeprefix(names + "/") for entry in storage.list(names)] if storage.exists(names) else []
    return [file.removesuffix(".json") for file in files if file.endswith(".json")]


def _pointed_at(storage: Storage, output: str, names: Iterable[str]) -> set[str]:
    pointed = [runs.latest(storage, output), *(runs.latest(storage, output, name) for name in names)]
    return {run.run_id for run in pointed if run is not None}


def _standing_for(storage: Storage, output: str, kept: set[str]) -> set[str]:
    """The runs whose table is that of a kept run, in which nothing had changed."""
    documents = []
    for run_id in kept:
        with suppress(NothingToReadError, StoreError):  # what cannot be read names no other run
            documents.append(manifest.read(Run(output, run_id, storage)))
    return {document.same_as for document in documents if document.same_as}


@dataclass(frozen=True)
class Listing:
    """The photographs that are in the input now.

    Attributes
    ----------
    source : str
        Canonical folder of the input. Of photographs elsewhere nothing is known.
    photographs : Spool
        With the columns ``path`` and ``version``, each path once.
    began : datetime
        When the listing began, with a time zone.
    unseen : sequence of str
        Folders below ``source`` that were not listed. Of photographs in them nothing is known.
    """

    source: str
    photographs: Spool
    began: datetime
    unseen: Sequence[str] = ()


def prune_gone(
    storage: Storage,
    output: str,
    listing: Listing,
    warn: Callable[[str], None],
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, int]:
    """Delete what is stored of photographs that are gone, and of versions that were replaced, of every fingerprint.

    A version was replaced if the listing has another one of this path, and the row was made more than `CLOCK_SKEW`
    before the listing began, by the clock of the machine that made it. A younger row may be of a run that has listed a
    newer version, so that it stays, and a warning counts such rows.

    A file with rows to delete is replaced by one without them. The new file appears before the old one is deleted: a
    reader may see rows twice, which it deduplicates, but it never misses one. The photographs are read once for some
    hundred thousand rows of the store, whose keys are in memory.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder.
    listing : Listing
        The photographs that are in the input.
    warn : callable
        Takes a warning, one line, for each damaged file, which is left as it is, and for younger rows.
    tell : callable
        Takes a line for each row that was deleted, which names the photograph.

    Returns
    -------
    dict of str to int
        Deleted rows of features: ``photographs`` that are gone, and replaced ``versions``, each counted once for each
        fingerprint, version and copy; of remembered ``rejections``; and of photographs of runs that were ``refused``.
    """
    counts = dict.fromkeys(("photographs", "versions", "rejections", "refused"), 0)
    young = 0
    for folder in _TIMES:
        files = (entry.path for entry in parquet_files(storage, join(output, folder)))
        for group in _grouped(_with_keys(storage, files, folder, warn)):
            for file, found in _compared_by_file(group, listing):
                young += _count(found["is_young"])
                if _unless_damaged(file, warn, partial(_delete_rows, storage, file, found["is_forgotten"])):
                    _add_up(counts, folder, found, tell)
    if young:
        warn(
            f"{young:,} stored rows of replaced photographs stay: they were made after {listing.began - CLOCK_SKEW:%c} "
            "UTC, maybe by a run that has seen a newer version; prune again later"
        )
    return counts


def _with_keys(
    storage: Storage, files: Iterable[str], folder: str, warn: Callable[[str], None]
) -> Iterator[tuple[str, pa.Table]]:
    """Each file, and the keys of its rows with the time at which they were made."""
    for file in files:
        rows = _unless_damaged(file, warn, partial(_keys, storage, file, _TIMES[folder]))
        if rows is not None:
            yield file, rows


def _keys(storage: Storage, file: str, time: str | None) -> pa.Table:
    """The columns of `_KEYS`. Where there is no time, it is that of the run after which the file is named."""
    schema = pa.schema([*_KEYS][:2] + ([(time, _KEYS.field("at").type)] if time else []))
    rows = ds.dataset(file, schema=schema, filesystem=storage.arrow()).to_table()
    if time is None:
        started = _STARTED.search(file)
        at = datetime.strptime(started[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) if started else None
        rows = rows.append_column("at", pa.array([at] * rows.num_rows, _KEYS.field("at").type))
    return rows.rename_columns(_KEYS.names).cast(_KEYS)


def _grouped(files: Iterable[tuple[str, pa.Table]]) -> Iterator[dict[str, pa.Table]]:
    """Groups of files, with not many more than `_GROUP_ROWS` rows."""
    group: dict[str, pa.Table] = {}
    for file, rows in files:
        group[file] = rows
        if sum(each.num_rows for each in group.values()) >= _GROUP_ROWS:
            yield group
            group = {}
    if group:
        yield group


def _compared_by_file(group: dict[str, pa.Table], listing: Listing) -> Iterator[tuple[str, pa.Table]]:
    """Each file of a group, and its rows with what becomes of them."""
    rows, start = _compared(pa.concat_tables(group.values()), listing), 0
    for file, its in group.items():
        yield file, rows.slice(start, its.num_rows)
        start += its.num_rows


def _compared(rows: pa.Table, listing: Listing) -> pa.Table:
    """The rows, and of each whether its photograph ``is_gone``, and whether it ``is_forgotten`` or ``is_young``."""
    listed = _listed_versions(rows["path"], listing.photographs)
    present = rows["path"].filter(pc.is_valid(listed))
    gone = is_gone(rows["path"], listing.source, present, listing.unseen)
    replaced = pc.fill_null(pc.not_equal(rows["version"], listed), False)
    latest = pa.scalar(listing.began - CLOCK_SKEW, _KEYS.field("at").type)
    young = pc.and_(replaced, pc.fill_null(pc.greater(rows["at"], latest), False))
    forgotten = pc.or_(gone, pc.and_not(replaced, young))
    for name, column in (("is_gone", gone), ("is_forgotten", forgotten), ("is_young", young)):
        rows = rows.append_column(name, column)
    return rows


def _listed_versions(paths: pa.ChunkedArray, photographs: Spool) -> pa.ChunkedArray:
    """Of each path the version that is listed; null where it is not."""
    wanted = pc.unique(paths)
    found = [
        pa.table([batch["path"], batch["version"]], KEY).filter(pc.is_in(batch["path"], value_set=wanted))
        for batch in photographs.batches(KEY)
    ]
    listed = pa.concat_tables([_KEYS.empty_table().select(KEY), *found])
    return listed["version"].take(pc.index_in(paths, value_set=listed["path"]))


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


def _delete_rows(storage: Storage, path: str, forgotten: pa.ChunkedArray) -> bool:
    """Replace a file by one without some of its rows. Returns whether there were any."""
    if not _count(forgotten):
        return False
    if _count(forgotten) < len(forgotten):
        table = ds.dataset(path, filesystem=storage.arrow())
        successor = f"{path.removesuffix('.zstd.parquet')}-{secrets.token_hex(3)}.zstd.parquet"
        settings, done = _parquet_settings(table.schema), 0
        with storage.stream(successor) as file, pq.ParquetWriter(file, table.schema, **settings) as writer:
            for batch in table.to_batches(batch_size=_BATCH_ROWS):
                writer.write_batch(batch.filter(pc.invert(forgotten.slice(done, len(batch)).combine_chunks())))
                done += len(batch)
    storage.delete(path)
    return True


def _add_up(counts: dict[str, int], folder: str, found: pa.Table, tell: Callable[[str], None]) -> None:
    """Count the rows of a file that were deleted, and tell of each."""
    forgotten = found.filter(found["is_forgotten"])
    gone = _count(forgotten["is_gone"])
    if folder == "features":
        counts["photographs"] += gone
        counts["versions"] += forgotten.num_rows - gone
    else:
        counts["rejections" if folder == "rejects" else "refused"] += forgotten.num_rows
    for batch in forgotten.to_batches(_BATCH_ROWS):
        for row in batch.to_pylist():
            why = "is gone" if row["is_gone"] else "was replaced"
            tell(f"deleted from {folder}: {row['path']} in version {row['version']}, which {why}")


def _count(those: pa.ChunkedArray) -> int:
    return int(pc.sum(those).as_py() or 0)


def _parquet_settings(schema: pa.Schema) -> dict[str, Any]:
    """Spark's settings for the store: zstd, floats as byte streams, no dictionary, a checksum of each page."""
    floats = {"features.list.element": "BYTE_STREAM_SPLIT"} if "features" in schema.names else None
    settings = {"compression": "zstd", "use_dictionary": False, "column_encoding": floats}
    return settings | {"write_page_checksum": True}
