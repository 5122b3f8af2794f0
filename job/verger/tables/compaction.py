"""Compaction: fewer, larger files in the feature store, which readers prefer to the ones that they replace.

A crash at any point leaves a store that reads the same: new files hold copies, and old ones go a day later, by a record
of their own, and only where what they hold stands in other files.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
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
from verger.tables.schemas import FEATURES
from verger.tables.store import KEY, FeatureStore, anti_join, deduplicate, named, parquet_files, retry_if_vanished

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TARGET = 128 << 20
# From here on a file is left as it is. Two that are smaller fit into one, so that merging ends.
SMALL = TARGET // 2
# From so many small files of one fingerprint on, an automatic compaction pays: every reader opens each of them, and at
# the 20 ms a file that a store on one machine took that is five seconds.
MANY = 256
# A run that listed the store before a compaction may read the old files for as long.
GRACE = timedelta(hours=24)
# What opening a file counts for, so that no task opens more than 2,048 files.
_OPENING = TARGET // 2048

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Record:
    """What one compaction did; its only use is to license deleting the inputs.

    Attributes
    ----------
    path : str
        Where the record lies.
    fingerprint : str
    inputs, outputs : tuple of str
        Files of the store.
    at : datetime
        When the outputs were checked.
    """

    path: str
    fingerprint: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    at: datetime


def due(storage: Storage, output: str, clock: Clock = _now) -> bool:
    """Whether a compaction pays: many small files, or old ones whose time has come. One listing of the store."""
    found = list(_records(storage, output, lambda _: None))
    if any(record.at + GRACE <= clock() for record in found):
        return True
    replaced = {path for record in found for path in record.inputs}
    features = join(output, "features")
    entries = parquet_files(storage, features)
    small = (entry.path for entry in entries if entry.size < SMALL and entry.path not in replaced)
    return any(count >= MANY for count in Counter(_fingerprint(features, path) for path in small).values())


def compact(
    storage: Storage, output: str, spark: SparkSession, warn: Callable[[str], None], clock: Clock = _now
) -> dict[str, int]:
    """Merge the small files of every fingerprint, and delete what a compaction of a day ago has replaced.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder of the output.
    spark : SparkSession
    warn : callable
        Told in one line of what is left out: a damaged file.
    clock : callable, optional
        Tells the time, in UTC.

    Returns
    -------
    dict of str to int
        ``fingerprints`` looked at; ``files_before`` and ``files_after``: files that were merged, and what they became;
        ``rows`` in these; ``deleted`` files that an earlier compaction had replaced.

    Raises
    ------
    StoreError
        A new file lacks what it was to hold (it is removed), or the store refuses.
    """
    features = join(output, "features")
    found = {_fingerprint(features, entry.path) for entry in parquet_files(storage, features)}
    counts = dict.fromkeys(("fingerprints", "files_before", "files_after", "rows", "deleted"), 0)
    for fingerprint in sorted(found):
        compaction = _Compaction(FeatureStore(storage, output, fingerprint, warn), warn, clock, counts)
        retry_if_vanished(partial(compaction.run, spark), compaction.store.folder)
        counts["fingerprints"] += 1
    return counts


def _fingerprint(features: str, path: str) -> str:
    return path.removeprefix(join(features, "")).partition("/")[0]


class _Compaction:
    """The compaction of one fingerprint's files; it adds to ``counts`` what it has done."""

    def __init__(self, store: FeatureStore, warn: Callable[[str], None], clock: Clock, counts: dict[str, int]) -> None:
        self.store = store
        self._storage = store.storage
        self._warn = warn
        self._clock = clock
        self._counts = counts

    def run(self, spark: SparkSession) -> None:
        """Delete what may go, then merge what is small."""
        # Records before files: what a record names that is read here was there before the files are listed.
        found = list(_records(self._storage, self.store.output, self._warn))
        entries, rows = self.store.rows()
        present = {entry.path for entry in entries}
        records = self._valid([record for record in found if record.fingerprint == self.store.fingerprint], present)
        deleted = self._retire(records, rows, present)
        rows = rows.filter(pc.invert(_within(rows, deleted)))
        entries = [entry for entry in entries if entry.path not in deleted]
        self._merge(spark, entries, rows, {path for record in records for path in record.inputs})

    def _valid(self, records: list[Record], present: set[str]) -> list[Record]:
        """The records, oldest first; one whose outputs are gone, or damaged, licenses nothing, and goes."""
        for record in records:
            if not present.issuperset(record.outputs):
                self._storage.delete(record.path)
        valid = [record for record in records if present.issuperset(record.outputs)]
        return sorted(valid, key=lambda record: (record.at, record.path))

    def _retire(self, records: list[Record], rows: pa.Table, present: set[str]) -> set[str]:
        """Delete what was replaced a day ago, as far as files that nothing replaces hold it; then its record."""
        replaced = {path for record in records for path in record.inputs if path in present}
        covered, deleted = _covered(rows, replaced), set[str]()
        for record in records:
            if record.at + GRACE <= self._clock():
                going = covered.intersection(record.inputs) - deleted
                self._delete(going)
                self._storage.delete(record.path)
                self._counts["deleted"] += len(going)
                deleted |= going
        return deleted

    def _delete(self, files: Collection[str]) -> None:
        """Delete files, and with the last one of a folder what its committer left there."""
        for folder, group in groupby(sorted(files), key=lambda path: path.rpartition("/")[0]):
            going = set(group)
            present = {entry.path for entry in parquet_files(self._storage, folder)}
            for path in [folder] if present <= going and folder != self.store.folder else sorted(going):
                self._storage.delete(path)

    def _merge(self, spark: SparkSession, entries: list[Entry], rows: pa.Table, replaced: set[str]) -> None:
        """Copy the rows of small files into large ones, and record which files may go.

        A file none of whose rows is the one that readers take needs no copy: a compaction made one and was killed
        before its record, or two runs computed the same.
        """
        winners = deduplicate(rows, "file")
        winning = set(pc.unique(winners["file"]).to_pylist())
        small = [entry.path for entry in entries if entry.size < SMALL and entry.path in winning]
        moving = small if len(small) > 1 else []
        inputs = moving + [entry.path for entry in entries if entry.path not in winning | replaced]
        if not inputs:
            return
        name = f"{self._clock().astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        folder = join(self.store.folder, f"compacted-{name}")
        try:
            if moving:
                losers = anti_join(rows.filter(_within(rows, moving)), winners, on=[*KEY, "file"])
                _copy(spark, self.store, moving, losers, self._storage.spark_uri(folder))
            written = self._checked(folder, inputs, rows)
        except BaseException:
            with suppress(StoreError):  # what is left are copies, which the next compaction takes for duplicates
                self._storage.delete(folder)
            raise
        outputs = pc.unique(written["file"]).to_pylist()
        self._record(name, inputs, outputs, written.num_rows)
        for what, number in (("files_before", len(moving)), ("files_after", len(outputs)), ("rows", written.num_rows)):
            self._counts[what] += number

    def _checked(self, folder: str, inputs: list[str], rows: pa.Table) -> pa.Table:
        """The rows in ``folder``, read back; with the files that stay they hold all that the inputs do."""
        _, written = self.store.rows(folder)
        lacking = len(inputs) - len(_covered(pa.concat_tables([rows, written]), inputs))
        if lacking:
            raise StoreError(
                f"{folder} does not hold all that {lacking} of the files that it was to replace hold",
                "It was removed and nothing else was touched: run again",
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


def _copy(spark: SparkSession, store: FeatureStore, files: list[str], losers: pa.Table, uri: str) -> None:
    """Write the files' rows but for ``losers`` to ``uri``, one file for every TARGET bytes; nothing is shuffled."""
    from pyspark.sql import functions as F

    # Settings of its own, by which Spark packs small files into tasks, each of which writes one file.
    packing = spark.newSession()
    packing.conf.set("spark.sql.files.maxPartitionBytes", TARGET)
    packing.conf.set("spark.sql.files.openCostInBytes", _OPENING)
    packing.conf.set("spark.sql.files.minPartitionNum", 1)
    rows = store.stored(packing, files, FEATURES.names)
    if losers.num_rows:
        rows = rows.join(F.broadcast(packing.createDataFrame(named(losers))), [*KEY, "file"], "left_anti")
    write_parquet(rows.drop("file"), uri)


def _within(rows: pa.Table, files: Collection[str]) -> pa.ChunkedArray:
    return pc.is_in(rows["file"], value_set=pa.array(list(files), pa.string()))


def _covered(rows: pa.Table, files: Collection[str]) -> set[str]:
    """Those of ``files`` whose every photograph version stands also in a file that is not among them."""
    leaving = _within(rows, files)
    alone = anti_join(rows.filter(leaving), rows.filter(pc.invert(leaving)))
    return set(files).difference(pc.unique(alone["file"]).to_pylist())


def _records(storage: Storage, output: str, warn: Callable[[str], None]) -> Iterator[Record]:
    """What earlier compactions have recorded, of all fingerprints."""
    folder = join(output, "compactions")
    for entry in storage.list(folder) if storage.exists(folder) else ():
        if entry.path.rpartition("/")[2].startswith(".") or not entry.path.endswith(".json"):
            continue
        with suppress(NothingToReadError):  # another compaction has done with it
            if record := _parsed(entry.path, storage.read(entry.path), output):
                yield record
            else:
                warn(f"{entry.path} is no record of a compaction, and stays")


def _parsed(path: str, data: bytes, output: str) -> Record | None:
    try:
        document = json.loads(data)
        inputs, outputs = (tuple(join(output, file) for file in document[key]) for key in ("inputs", "outputs"))
        at = datetime.fromisoformat(document["at"]).astimezone(UTC)
        return Record(path, document["fingerprint"], inputs, outputs, at)
    except (ValueError, KeyError, TypeError):
        return None
