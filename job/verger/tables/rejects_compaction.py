"""Compaction of remembered rejections: small files are merged into larger ones, and deleted a day later.

Every run reads all of these files. Their rows are few and narrow, so that the process copies them by itself. At the end
of a run, which waits for it, files are chosen as `verger.tables.small_files` chooses those of features, with smaller
limits: at most one file for each `SMALL_BYTES` and `verger.tables.small_files.MAX_SMALL_FILES` more stay, and at most
`AUTOMATIC_BYTES` are copied. Files that were read by others meanwhile stay for a day, named by a record.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from verger.errors import StoreError
from verger.sorting import Sorter, aligned, keep_last
from verger.spool import Spool, spool
from verger.storage.base import Entry, Storage
from verger.storage.uri import join
from verger.tables import compaction_records, small_files
from verger.tables.compaction_records import Record
from verger.tables.file_errors import retry_if_vanished
from verger.tables.parts import write_part
from verger.tables.rejections import read_files
from verger.tables.rows import KEY
from verger.tables.schemas import REMEMBERED
from verger.tables.store import FeatureStore, parquet_files

# A million rejections take some 20 to 50 MB.
SMALL_BYTES = 4 << 20
TARGET_BYTES = 4 * SMALL_BYTES
# Copied at the end of a run, at most; more than GROWTH * SMALL_BYTES.
AUTOMATIC_BYTES = 8 * SMALL_BYTES


def is_due(storage: Storage, output: str, replaced: Collection[str] = ()) -> bool:
    """Whether there are many small files. It lists the remembered rejections once.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder of the output.
    replaced : collection of str
        Canonical paths of files that a compaction has replaced, which do not count.
    """
    small = Counter(
        _fingerprint(output, entry)
        for entry in parquet_files(storage, join(output, "rejects"))
        if entry.size < SMALL_BYTES and entry.path not in replaced
    )
    return any(count > small_files.MAX_SMALL_FILES for count in small.values())


def compact(
    storage: Storage,
    output: str,
    warn: Callable[[str], None],
    clock: Callable[[], datetime],
    *,
    everything: bool,
    scratch: str | None = None,
) -> dict[str, int]:
    """Merge the small files of every fingerprint, and delete the files that a compaction replaced a day ago.

    Of a photograph version the latest rejection by each kind of decoders is kept.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder of the output.
    warn : callable
        Takes a warning, one line, for each damaged file, which is left as it is.
    clock : callable
        Returns the time, with a time zone.
    everything : bool
        Whether all small files are merged. Otherwise only if there are too many, and a bounded number of bytes.
    scratch : str, optional
        Folder for temporary files.

    Returns
    -------
    dict of str to int
        As `verger.tables.compaction.compact` counts.

    Raises
    ------
    StoreError
        The new files lack rows (they are removed), or the store refuses.
    """
    counts: Counter[str] = Counter()
    found = {_fingerprint(output, entry) for entry in parquet_files(storage, join(output, "rejects"))}
    # Also those that have no files any more, but a record.
    records = compaction_records.read(storage, output, lambda _: None)
    found |= {record.fingerprint for record in records if record.folder == "rejects"}
    for fingerprint in sorted(found):
        compaction = _Compaction(FeatureStore(storage, output, fingerprint, warn), clock, everything, scratch, counts)
        retry_if_vanished(compaction.run, compaction.store.rejects_folder)
    return dict(counts)


def _fingerprint(output: str, entry: Entry) -> str:
    return entry.path.removeprefix(join(output, "rejects", "")).partition("/")[0]


class _Compaction:
    """The compaction of the rejections of one fingerprint."""

    def __init__(
        self,
        store: FeatureStore,
        clock: Callable[[], datetime],
        everything: bool,
        scratch: str | None,
        counts: Counter[str],
    ) -> None:
        self.store = store
        self._storage = store.storage
        self._clock, self._everything, self._scratch, self._counts = clock, everything, scratch, counts

    def run(self) -> None:
        """Delete old files, then merge small ones."""
        # Records are read before the files are listed: so the listing has all files of these records.
        found = compaction_records.read(self._storage, self.store.output, self.store.warn)
        mine = [it for it in found if (it.folder, it.fingerprint) == ("rejects", self.store.fingerprint)]
        entries = list(parquet_files(self._storage, self.store.rejects_folder))
        records = compaction_records.valid(self._storage, mine, {entry.path for entry in entries})
        replaced = {path for record in records for path in record.inputs}
        self._delete_replaced(records, {entry.path for entry in entries})
        entries = [entry for entry in entries if entry.path not in replaced and entry.size < SMALL_BYTES]
        if not self._everything:
            entries = small_files.choose(entries, AUTOMATIC_BYTES, SMALL_BYTES)
        if len(entries) > 1:
            self._merge(entries)

    def _delete_replaced(self, records: Iterable[Record], present: set[str]) -> None:
        """Delete the files that were replaced a day ago, by others that are all there; then the records."""
        for record in records:
            # What a record before this one has deleted is not there to replace anything.
            if record.is_due(self._clock()) and present.issuperset(record.outputs):
                removed = present.intersection(record.inputs)
                compaction_records.delete_files(self._storage, self.store.rejects_folder, removed)
                self._storage.delete(record.path)
                self._counts["deleted"] += len(removed)
                present -= removed

    def _merge(self, entries: list[Entry]) -> None:
        rows, merged = self._sorted(entries)
        if len(merged) < 2:
            return
        name = f"{self._clock().astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        folder = join(self.store.rejects_folder, f"wave=compacted-{name}")
        try:
            written = self._write(rows, folder, sum(entry.size for entry in merged))
        except BaseException:
            with suppress(StoreError):  # what is left are copies
                self._storage.delete(folder)
            raise
        record = Record(
            path=join(self.store.output, "compactions", f"{name}.json"),
            fingerprint=self.store.fingerprint,
            inputs=tuple(entry.path for entry in merged),
            outputs=tuple(written),
            holders=(),
            rows=rows.num_rows,
            at=self._clock(),
            folder="rejects",
        )
        compaction_records.write(self._storage, self.store.output, record)
        self._counts.update(files_before=len(merged), files_after=len(written), rows=rows.num_rows)

    def _sorted(self, entries: list[Entry]) -> tuple[Spool, list[Entry]]:
        """The rows of files, without those that a later rejection repeats; and the files that can be read."""
        sorter, damaged = Sorter(REMEMBERED, KEY, self._scratch), set[str]()
        for _, rows in read_files(self.store, entries, REMEMBERED, damaged):
            sorter.write(rows)
        kept = spool(REMEMBERED, map(_latest, _blocks(sorter.finish())), self._scratch)
        return kept, [entry for entry in entries if entry.path not in damaged]

    def _write(self, rows: Spool, folder: str, size: int) -> list[str]:
        """Write rows to a folder, about TARGET_BYTES a file, and read back how many there are."""
        per_file = -(-rows.num_rows // max(1, round(size / TARGET_BYTES)))
        batches, written, total = rows.batches(), list[str](), 0
        while first := next(batches, None):
            path = join(folder, f"part-{len(written):05d}.zstd.parquet")
            write_part(self._storage, path, REMEMBERED, chain([first], batches), per_file)
            written.append(path)
            with pq.ParquetFile(self._storage.arrow().open_input_file(path)) as file:
                total += file.metadata.num_rows
        if total != rows.num_rows:
            raise StoreError(
                f"{folder} has {total} rows instead of {rows.num_rows}",
                "It was removed, and nothing else was changed: run again",
            )
        return written


def _blocks(rows: Spool) -> Iterator[pa.Table]:
    for (block,) in aligned([rows.batches()], [REMEMBERED], "path"):
        yield block


def _latest(rows: pa.Table) -> pa.Table:
    """Of a photograph version the latest rejection by each kind of decoders."""
    rows = rows.append_column("kind", pc.fill_null(rows["decoders"], "\0"))
    rows = rows.sort_by([(name, "ascending") for name in (*KEY, "kind", "at")])
    return keep_last(rows, [*KEY, "kind"]).drop_columns("kind")
