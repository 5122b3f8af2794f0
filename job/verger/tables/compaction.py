"""Compaction: small files of the feature store are copied into fewer, larger ones, which readers prefer.

Readers get the same rows after a crash at any point. The new files are copies. A record names the old files, and these
are deleted a day later, if other files still hold all of their rows. At the end of a run, which waits for it, only some
files are merged, and no other file is opened: `verger.tables.small_files` says which. In memory there are blocks of
rows, and a bit for each row of the files that are merged.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from verger.errors import StoreError
from verger.photographs.difference import LOCATION
from verger.sorting import aligned, keep_last
from verger.spool import Spool
from verger.storage.base import Entry, Storage
from verger.storage.buckets import Bucket
from verger.storage.uri import join
from verger.tables import compaction_records, locations, rejects_compaction, small_files
from verger.tables.compaction_records import Record
from verger.tables.feature_rows import FeatureRows
from verger.tables.file_errors import retry_if_vanished
from verger.tables.locations import Located
from verger.tables.parts import WRITTEN, PartWriter
from verger.tables.rows import KEY, anti_join, semi_join
from verger.tables.schemas import FEATURES
from verger.tables.selection import Selection, select_rows
from verger.tables.store import FeatureStore, parquet_files, run_folder_prefix

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


def is_due(storage: Storage, output: str, clock: Clock = _now) -> bool:
    """Whether a compaction pays: there are many small files, or old ones that may be deleted. It lists the store once.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder of the output.
    clock : callable, optional
        Returns the time, with a time zone.
    """
    found = list(compaction_records.read(storage, output, lambda _: None))
    if any(record.is_due(clock()) for record in found):
        return True
    replaced = {path for record in found for path in record.inputs}
    features = join(output, "features")
    entries = (entry for entry in parquet_files(storage, features) if entry.path not in replaced)
    small = (_fingerprint(features, entry.path) for entry in entries if entry.size < small_files.SMALL_BYTES)
    return any(count > small_files.MAX_SMALL_FILES for count in Counter(small).values()) or rejects_compaction.is_due(
        storage, output, replaced
    )


def compact(
    storage: Storage,
    output: str,
    spark: SparkSession,
    warn: Callable[[str], None],
    clock: Clock = _now,
    checked: Callable[[], AbstractContextManager[object]] = nullcontext,
    *,
    after: str | None = None,
    buckets: tuple[Bucket, ...] = (),
    scratch: str | None = None,
) -> dict[str, int]:
    """Merge the small files of every fingerprint, and delete the files that a compaction replaced a day ago.

    Those of remembered rejections are merged by `verger.tables.rejects_compaction`, and counted too.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder of the output.
    spark : SparkSession
        Copies the rows.
    warn : callable
        Takes a warning, one line, for each damaged file that is left out.
    clock : callable, optional
        Returns the time, with a time zone.
    checked : callable, optional
        Returns a context, in which executors copy rows. What it raises at its end undoes the copy.
    after : str, optional
        Id of the run that waits for this compaction: no more is merged than `verger.tables.small_files` allows.
        Default: all small files are, and files of which readers take no row are recorded for deletion.
    buckets : tuple of Bucket, optional
        How the driver reaches the buckets of the output. A Python worker finds its own credentials.
    scratch : str, optional
        Folder for temporary files.

    Returns
    -------
    dict of str to int
        ``fingerprints`` in the store; ``files_before``: files that were merged; ``files_after``: new files; ``rows``
        in these; ``deleted``: files that an earlier compaction had replaced.

    Raises
    ------
    StoreError
        The new files lack rows (they are removed), or the store refuses.
    """
    features = join(output, "features")
    written: Counter[str] = Counter()  # bytes of each fingerprint that the run wrote
    for entry in parquet_files(storage, features):
        fingerprint, _, below = entry.path.removeprefix(join(features, "")).partition("/")
        written[fingerprint] += entry.size if after and below.startswith(run_folder_prefix(after)) else 0
    records = compaction_records.read(storage, output, lambda _: None)
    recorded = {record.fingerprint for record in records if record.folder == "features"}
    work = _Work(spark, warn, clock, checked, buckets, scratch)
    if after is not None:
        work.budget = small_files.AUTOMATIC_BYTES + written.total()
    # The run's own files first, so that they cannot become too many.
    for fingerprint in sorted(recorded.union(written), key=lambda name: (not written[name], name)):
        compaction = _Compaction(FeatureStore(storage, output, fingerprint, warn), work)
        retry_if_vanished(compaction.run, compaction.store.folder)
        work.counts["fingerprints"] += fingerprint in written  # else all of its files are gone, and its records go too
    rejected = rejects_compaction.compact(storage, output, warn, clock, everything=after is None, scratch=scratch)
    return {what: count + rejected.get(what, 0) for what, count in work.counts.items()}


def _fingerprint(features: str, path: str) -> str:
    return path.removeprefix(join(features, "")).partition("/")[0]


@dataclass
class _Work:
    """How one compaction works, what it may still copy (None: everything), and what it has done."""

    spark: SparkSession
    warn: Callable[[str], None]
    clock: Clock
    checked: Callable[[], AbstractContextManager[object]]
    buckets: tuple[Bucket, ...]
    scratch: str | None
    budget: int | None = None
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("fingerprints", "files_before", "files_after", "rows", "deleted"), 0)
    )


class _Compaction:
    """The compaction of one fingerprint's files."""

    def __init__(self, store: FeatureStore, work: _Work) -> None:
        self.store = store
        self._storage = store.storage
        self._work = work

    def run(self) -> None:
        """Delete old files, then merge small ones."""
        # Records are read before the files are listed: so the listing has all files of these records.
        found = list(compaction_records.read(self._storage, self.store.output, self._work.warn))
        entries = list(parquet_files(self._storage, self.store.folder))
        mine = (it for it in found if (it.folder, it.fingerprint) == ("features", self.store.fingerprint))
        records = compaction_records.valid(self._storage, mine, {entry.path for entry in entries})
        deleted = self._delete_replaced(records, entries)
        entries = [entry for entry in entries if entry.path not in deleted]
        replaced = {path for record in records for path in record.inputs}
        if self._work.budget is not None:
            entries = [entry for entry in entries if entry.path not in replaced]
            entries = small_files.choose(entries, self._work.budget)
            self._work.budget -= sum(entry.size for entry in entries)
        if entries:
            self._merge(entries, {self._name(path) for path in replaced})

    def _delete_replaced(self, records: list[Record], entries: list[Entry]) -> set[str]:
        """Delete the files that were replaced a day ago, if other files hold all of their rows; then the records.

        Of the others only such count as hold rows for a record, and that no record allows to be deleted.
        """
        now = self._work.clock()
        due = [record for record in records if record.is_due(now)]
        if not due:
            return set()
        replaced = {path for record in records for path in record.inputs}
        old = {path for record in due for path in record.inputs}
        holding = {path for record in records for path in (*record.outputs, *record.holders)} - replaced
        read = locations.read(self.store, (it for it in entries if it.path in old | holding), self._work.scratch)
        inputs = {name for name in read.files if self._path(name) in old}
        redundant = {self._path(name) for name in inputs - _lacking([read.rows], inputs)}
        deleted = set[str]()
        for record in due:
            removed = redundant.intersection(record.inputs) - deleted
            compaction_records.delete_files(self._storage, self.store.folder, removed)
            self._storage.delete(record.path)
            self._work.counts["deleted"] += len(removed)
            deleted |= removed
        return deleted

    def _merge(self, entries: list[Entry], replaced: set[str]) -> None:
        """Copy the rows of small files into large ones, and record which files may be deleted.

        A file of which readers take no row is not copied. Other files hold its rows, as two runs computed the same, or
        a compaction was killed before it wrote its record.
        """
        read = locations.read(self.store, entries, self._work.scratch)
        needed = {name for _, taken in _blocks(read.rows) for name in pc.unique(taken["file"]).to_pylist()}
        small = {name for name in needed if read.files[name].size < small_files.SMALL_BYTES}
        merged = small if len(small) > 1 else set[str]()
        spent = set(read.files) - needed - replaced
        if not merged | spent:
            return
        name = f"{self._work.clock().astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        folder = join(self.store.folder, f"wave=compacted-{name}")
        try:
            if merged:
                with self._work.checked():
                    selection = self._selection(read, merged)
                    _copy(self._work.spark, selection, self._work.buckets, folder)
            written = self._read_back(folder, read.rows, merged | spent)
        except BaseException:
            with suppress(StoreError):  # what is left are copies: the next compaction treats them as duplicates
                self._storage.delete(folder)
            raise
        self._record(name, merged | spent, set(written.files), _holders(read.rows, spent) - merged, written.rows)
        done = {"files_before": len(merged), "files_after": len(written.files), "rows": written.rows.num_rows}
        for what, number in done.items():
            self._work.counts[what] += number

    def _selection(self, read: Located, merged: set[str]) -> Selection:
        """The rows of these files that readers take."""
        taken = (rows.filter(_in_files(rows, merged)) for _, rows in _blocks(read.rows))
        rows_of, sizes = ({name: getattr(read.files[name], what) for name in merged} for what in ("rows", "size"))
        batches = (batch for rows in taken for batch in rows.select(["file", "row"]).to_batches())
        return select_rows(batches, rows_of, sizes, self._path(""))

    def _read_back(self, folder: str, rows: Spool, inputs: set[str]) -> Located:
        """The rows in ``folder``; StoreError unless these and the files that stay hold all rows of the inputs."""
        written = locations.read(self.store, parquet_files(self._storage, folder), self._work.scratch)
        if lacking := len(_lacking([rows, written.rows], inputs)):
            raise StoreError(
                f"{folder} lacks rows of {lacking} of the files that it should replace",
                "It was removed, and nothing else was changed: run again",
            )
        return written

    def _record(self, name: str, inputs: set[str], outputs: set[str], holders: set[str], rows: Spool) -> None:
        def paths(names: set[str]) -> tuple[str, ...]:
            return tuple(self._path(name) for name in sorted(names))

        record = Record(
            path=join(self.store.output, "compactions", f"{name}.json"),
            fingerprint=self.store.fingerprint,
            inputs=paths(inputs),
            outputs=paths(outputs),
            holders=paths(holders),
            rows=rows.num_rows,
            at=self._work.clock(),
        )
        compaction_records.write(self._storage, self.store.output, record)

    def _path(self, name: str) -> str:
        """The path of a file that is named below the store's folder."""
        return join(self.store.folder, name)

    def _name(self, path: str) -> str:
        return path.removeprefix(join(self.store.folder, ""))


def _unchanged(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return batches


def _copy(spark: SparkSession, selection: Selection, buckets: tuple[Bucket, ...], folder: str) -> None:
    """Write rows to a folder, about TARGET_BYTES a file: the Python worker of each task reads and writes."""
    files = small_files.count_outputs(sum(file.size for file in selection.files))
    rows = FeatureRows(spark, selection, buckets, tuple(FEATURES.names), max_tasks=files, open_cost=0)
    rows.mapInArrow(PartWriter(_unchanged, FEATURES, folder, "part", buckets), WRITTEN).collect()


def _in_files(rows: pa.Table, files: Collection[str]) -> pa.ChunkedArray:
    return pc.is_in(rows["file"], value_set=pa.array(sorted(files), pa.string()))


def _blocks(rows: Spool) -> Iterator[tuple[pa.Table, pa.Table]]:
    """All rows of one range of paths after the other; and of each photograph version the row that readers take."""
    for (block,) in aligned([rows.batches()], [LOCATION], "path"):
        yield block, keep_last(block, KEY)


def _holders(rows: Spool, spent: set[str]) -> set[str]:
    """The files from which readers take the photograph versions that are also in ``spent``."""
    holders = set[str]()
    for block, taken in _blocks(rows) if spent else ():
        elsewhere = semi_join(taken, block.filter(_in_files(block, spent)))
        holders.update(pc.unique(elsewhere["file"]).to_pylist())
    return holders


def _lacking(streams: Iterable[Spool], inputs: set[str]) -> set[str]:
    """Those of ``inputs`` that have a photograph version which no other file has."""
    spools, lacking = list(streams), set[str]()
    for tables in aligned([rows.batches() for rows in spools], [LOCATION] * len(spools), "path"):
        rows = pa.concat_tables(tables)
        inside = _in_files(rows, inputs)
        lone = anti_join(rows.filter(inside), rows.filter(pc.invert(inside)))
        lacking.update(pc.unique(lone["file"]).to_pylist())
    return lacking
