"""Compaction: small files of the feature store are copied into fewer, larger ones, which readers prefer.

Readers get the same rows after a crash at any point. The new files are copies. A record names the old files, and these
are deleted a day later, if other files still hold all of their rows.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from verger.errors import NothingToReadError, StoreError
from verger.jsonable import dump, timestamp
from verger.spark.session import write_parquet
from verger.storage.base import Entry, Storage
from verger.storage.uri import join
from verger.tables.file_errors import retry_if_vanished
from verger.tables.rows import KEY, anti_join, deduplicate, with_file_names
from verger.tables.schemas import FEATURES
from verger.tables.store import FeatureStore, parquet_files

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Size of the new files.
TARGET_BYTES = 128 << 20
# Smaller files are merged. Two of them fit into one new file, so that compactions come to an end.
SMALL_BYTES = TARGET_BYTES // 2
# The number of small files of one fingerprint from which an automatic compaction pays. Every reader opens each of them:
# at 20 ms a file, as measured with a store on one machine, that is five seconds.
MIN_SMALL_FILES = 256
# How long the old files are kept for runs that listed the store before the compaction.
GRACE_PERIOD = timedelta(hours=24)
# Spark adds so many bytes for each file, so that no task opens more than 2,048 files.
_OPEN_COST_BYTES = TARGET_BYTES // 2048

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Record:
    """What one compaction did. It allows a later compaction to delete the inputs.

    Attributes
    ----------
    path : str
        Of the record itself.
    fingerprint : str
        That of the features in the files.
    inputs, outputs : tuple of str
        Canonical paths of files in the store.
    at : datetime
        When the outputs were checked.
    """

    path: str
    fingerprint: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    at: datetime


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
    found = list(_records(storage, output, lambda _: None))
    if any(record.at + GRACE_PERIOD <= clock() for record in found):
        return True
    replaced = {path for record in found for path in record.inputs}
    features = join(output, "features")
    entries = parquet_files(storage, features)
    small = (entry.path for entry in entries if entry.size < SMALL_BYTES and entry.path not in replaced)
    return any(count >= MIN_SMALL_FILES for count in Counter(_fingerprint(features, path) for path in small).values())


def compact(
    storage: Storage,
    output: str,
    spark: SparkSession,
    warn: Callable[[str], None],
    clock: Clock = _now,
    checked: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> dict[str, int]:
    """Merge the small files of every fingerprint, and delete the files that a compaction replaced a day ago.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder of the output.
    spark : SparkSession
        Copies the rows, in a new session with settings of its own.
    warn : callable
        Takes a warning, one line, for each damaged file that is left out.
    clock : callable, optional
        Returns the time, with a time zone.
    checked : callable, optional
        Returns a context, in which executors copy rows. What it raises at its end undoes the copy.

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
    found = {_fingerprint(features, entry.path) for entry in parquet_files(storage, features)}
    counts = dict.fromkeys(("fingerprints", "files_before", "files_after", "rows", "deleted"), 0)
    for fingerprint in sorted(found):
        compaction = _Compaction(FeatureStore(storage, output, fingerprint, warn), warn, clock, checked, counts)
        retry_if_vanished(partial(compaction.run, spark), compaction.store.folder)
        counts["fingerprints"] += 1
    return counts


def _fingerprint(features: str, path: str) -> str:
    return path.removeprefix(join(features, "")).partition("/")[0]


class _Compaction:
    """The compaction of one fingerprint's files. It adds up its results in ``counts``."""

    def __init__(
        self,
        store: FeatureStore,
        warn: Callable[[str], None],
        clock: Clock,
        checked: Callable[[], AbstractContextManager[object]],
        counts: dict[str, int],
    ) -> None:
        self.store = store
        self._storage = store.storage
        self._warn = warn
        self._clock = clock
        self._checked = checked
        self._counts = counts

    def run(self, spark: SparkSession) -> None:
        """Delete old files, then merge small ones."""
        # Records are read before the files are listed: so the listing has all files of these records.
        found = list(_records(self._storage, self.store.output, self._warn))
        entries, rows = self.store.rows()
        present = {entry.path for entry in entries}
        records = self._valid([record for record in found if record.fingerprint == self.store.fingerprint], present)
        deleted = self._delete_replaced(records, rows, present)
        rows = rows.filter(pc.invert(_in_files(rows, deleted)))
        entries = [entry for entry in entries if entry.path not in deleted]
        self._merge(spark, entries, rows, {path for record in records for path in record.inputs})

    def _valid(self, records: list[Record], present: set[str]) -> list[Record]:
        """The records whose outputs are all readable, oldest first. The others are deleted."""
        for record in records:
            if not present.issuperset(record.outputs):
                self._storage.delete(record.path)
        valid = [record for record in records if present.issuperset(record.outputs)]
        return sorted(valid, key=lambda record: (record.at, record.path))

    def _delete_replaced(self, records: list[Record], rows: pa.Table, present: set[str]) -> set[str]:
        """Delete the files that were replaced a day ago, if other files hold all of their rows; then the records."""
        replaced = {path for record in records for path in record.inputs if path in present}
        redundant, deleted = _redundant(rows, replaced), set[str]()
        for record in records:
            if record.at + GRACE_PERIOD <= self._clock():
                removed = redundant.intersection(record.inputs) - deleted
                self._delete(removed)
                self._storage.delete(record.path)
                self._counts["deleted"] += len(removed)
                deleted |= removed
        return deleted

    def _delete(self, files: Collection[str]) -> None:
        """Delete files; with the last one of a folder the whole folder, as committers leave other files there."""
        for folder, group in groupby(sorted(files), key=lambda path: path.rpartition("/")[0]):
            removed = set(group)
            present = {entry.path for entry in parquet_files(self._storage, folder)}
            for path in [folder] if present <= removed and folder != self.store.folder else sorted(removed):
                self._storage.delete(path)

    def _merge(self, spark: SparkSession, entries: list[Entry], rows: pa.Table, replaced: set[str]) -> None:
        """Copy the rows of small files into large ones, and record which files may be deleted.

        A file of which readers take no row is not copied. Other files hold its rows, as two runs computed the same, or
        a compaction was killed before it wrote its record.
        """
        preferred = deduplicate(rows, "file")
        needed = set(pc.unique(preferred["file"]).to_pylist())
        small = [entry.path for entry in entries if entry.size < SMALL_BYTES and entry.path in needed]
        merged = small if len(small) > 1 else []
        inputs = merged + [entry.path for entry in entries if entry.path not in needed | replaced]
        if not inputs:
            return
        name = f"{self._clock().astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        folder = join(self.store.folder, f"wave=compacted-{name}")
        try:
            if merged:
                repeated = anti_join(rows.filter(_in_files(rows, merged)), preferred, on=[*KEY, "file"])
                with self._checked():
                    _copy(spark, self.store, merged, repeated, self._storage.spark_uri(folder))
            written = self._read_back(folder, inputs, rows)
        except BaseException:
            with suppress(StoreError):  # what is left are copies: the next compaction treats them as duplicates
                self._storage.delete(folder)
            raise
        outputs = pc.unique(written["file"]).to_pylist()
        self._record(name, inputs, outputs, written.num_rows)
        for what, number in (("files_before", len(merged)), ("files_after", len(outputs)), ("rows", written.num_rows)):
            self._counts[what] += number

    def _read_back(self, folder: str, inputs: list[str], rows: pa.Table) -> pa.Table:
        """The rows in ``folder``; StoreError unless these and the files that stay hold all rows of the inputs."""
        _, written = self.store.rows(folder)
        lacking = len(inputs) - len(_redundant(pa.concat_tables([rows, written]), inputs))
        if lacking:
            raise StoreError(
                f"{folder} lacks rows of {lacking} of the files that it should replace",
                "It was removed, and nothing else was changed: run again",
            )
        return written

    def _record(self, name: str, inputs: list[str], outputs: list[str], rows: int) -> None:
        root = join(self.store.output, "")
        document = {
            "fingerprint": self.store.fingerprint,
            "inputs": [path.removeprefix(root) for path in inputs],
            "outputs": [path.removeprefix(root) for path in outputs],
            "rows": rows,
            "at": timestamp(self._clock()),
        }
        self._storage.publish_once(join(self.store.output, "compactions", f"{name}.json"), dump(document))


def _copy(spark: SparkSession, store: FeatureStore, files: list[str], repeated: pa.Table, uri: str) -> None:
    """Write the files' rows without ``repeated`` ones to ``uri``, TARGET_BYTES a file, without a shuffle."""
    from pyspark.sql import functions as F

    # A session with its own settings: Spark packs small files into tasks, and each task writes one file.
    packing = spark.newSession()
    packing.conf.set("spark.sql.files.maxPartitionBytes", TARGET_BYTES)
    packing.conf.set("spark.sql.files.openCostInBytes", _OPEN_COST_BYTES)
    packing.conf.set("spark.sql.files.minPartitionNum", 1)
    rows = store.read_files(packing, files, FEATURES.names)
    if repeated.num_rows:
        rows = rows.join(F.broadcast(packing.createDataFrame(with_file_names(repeated))), [*KEY, "file"], "left_anti")
    write_parquet(rows.drop("file"), uri)


def _in_files(rows: pa.Table, files: Collection[str]) -> pa.ChunkedArray:
    return pc.is_in(rows["file"], value_set=pa.array(list(files), pa.string()))


def _redundant(rows: pa.Table, files: Collection[str]) -> set[str]:
    """Those of ``files`` all of whose photograph versions are also in other files."""
    inside = _in_files(rows, files)
    unique = anti_join(rows.filter(inside), rows.filter(pc.invert(inside)))
    return set(files).difference(pc.unique(unique["file"]).to_pylist())


def _records(storage: Storage, output: str, warn: Callable[[str], None]) -> Iterator[Record]:
    """The records of earlier compactions, of all fingerprints."""
    folder = join(output, "compactions")
    for entry in storage.list(folder) if storage.exists(folder) else ():
        if entry.path.rpartition("/")[2].startswith(".") or not entry.path.endswith(".json"):
            continue
        with suppress(NothingToReadError):  # another compaction has deleted it
            if record := _parsed(entry.path, storage.read(entry.path), output):
                yield record
            else:
                warn(f"{entry.path} is not the record of a compaction, and is left as it is")


def _parsed(path: str, data: bytes, output: str) -> Record | None:
    try:
        document = json.loads(data)
        inputs, outputs = (tuple(join(output, file) for file in document[key]) for key in ("inputs", "outputs"))
        at = datetime.fromisoformat(document["at"]).astimezone(UTC)
        return Record(path, document["fingerprint"], inputs, outputs, at)
    except (ValueError, KeyError, TypeError):
        return None
