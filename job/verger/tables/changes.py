"""What has changed since the base run: which photographs are new, known, rejected before, or gone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from verger.config import SelectionSettings
from verger.errors import NothingToReadError, StoreError
from verger.photographs import difference
from verger.photographs.difference import LOCATED, LOCATION, Compared
from verger.photographs.inventory import SCHEMA
from verger.sorting import aligned
from verger.spool import Spool, SpoolWriter
from verger.storage.uri import join
from verger.tables import locations, manifest, rejections
from verger.tables.manifest import Manifest
from verger.tables.rows import is_gone, row_keys
from verger.tables.runs import Run
from verger.tables.schemas import REJECTED, REMEMBERED
from verger.tables.snapshot import Snapshot, StoredFile
from verger.tables.store import FeatureStore

PENDING = pa.schema([*SCHEMA, pa.field("new", pa.bool_())])
"""Photographs to be computed. ``new``: no run has passed with this photograph version yet."""

# What a comparison writes to disk, by the attributes of `Changes`.
_SPOOLED = {
    "photographs": LOCATED,
    "pending": PENDING,
    "removed": LOCATION,
    "unused": LOCATION,
    "rejected": REJECTED,
}
_NO_PATH = pa.chunked_array([], pa.string())


@dataclass(frozen=True)
class Base:
    """The run that this one is compared with: the latest with the same input, selection and features.

    Attributes
    ----------
    run : Run
        Its folder.
    manifest : Manifest
        Its record.
    snapshot : Snapshot
        What it stood on.
    """

    run: Run
    manifest: Manifest
    snapshot: Snapshot


@dataclass(frozen=True)
class Input:
    """What is compared: the photographs of a run and where they are from.

    Attributes
    ----------
    source : str
        Canonical folder of the input.
    photographs : Spool
        All photographs below it (`verger.photographs.inventory.SCHEMA`).
    chosen : Spool
        Those that the settings select; the same object where they select all.
    unseen : tuple of str
        Folders that were not listed; what is in them is not gone, for all that is known.
    """

    source: str
    photographs: Spool
    chosen: Spool
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Changes:
    """How the photographs of a run differ from those of its base run and from what is stored.

    Attributes
    ----------
    base : Base, optional
        None where there is no such run, or its snapshot cannot be read.
    photographs : Spool
        All photographs of the run (`verger.photographs.difference.LOCATED`).
    pending : Spool
        Those that have neither features nor a remembered rejection (`PENDING`).
    removed : Spool
        Photograph versions of the base run that are not of this one (`LOCATION`).
    unused : Spool
        Stored rows that this run does not stand on (`LOCATION`): other photograph versions, and other files' copies.
    rejected : Spool
        Remembered rejections, with today's labels (`verger.tables.schemas.REJECTED`), sorted by path.
    refused : Spool
        The photographs that earlier runs were refused with (`verger.tables.rejections.PLACED`), sorted by path.
    new : int
        Photographs that no run has passed with yet.
    new_rejected : int
        Those of them that are in ``rejected``.
    added : int
        Photographs whose features are stored, but that the base run did not have in this version.
    gone : int
        Photographs below the input that are stored and not there any more.
    files : dict of str to StoredFile
        All readable files of the feature store, by their path below its folder.
    """

    base: Base | None
    photographs: Spool
    pending: Spool
    removed: Spool
    unused: Spool
    rejected: Spool
    refused: Spool
    new: int
    new_rejected: int
    added: int
    gone: int
    files: dict[str, StoredFile]


def find_changes(
    store: FeatureStore,
    found: Input,
    base: Base | None,
    scratch: str | None = None,
    first_pending: Callable[[], object] = lambda: None,
) -> Changes:
    """Compare the photographs of a run with its base run and with what is stored.

    With a base run, the files of the feature store that it knew are not opened; without one, the narrow columns of all
    files are read, sorted on disk and compared.

    Parameters
    ----------
    store : FeatureStore
        Of the output and the network.
    found : Input
        The photographs.
    base : Base, optional
        As `find_base` gives it. Where its snapshot cannot be read, there is a warning, and the way without it is gone.
    scratch : str, optional
        Folder for temporary files.
    first_pending : callable, optional
        Called when the first photographs that are to be computed are found; it may be called again.

    Returns
    -------
    Changes
        With the base run, if it was used.
    """
    if base is not None:
        try:
            return _Comparison(store, found, base, scratch).changes(first_pending)
        except (StoreError, NothingToReadError) as error:
            store.warn(f"the snapshot of run {base.run.run_id} was not used: {error.line}")
    return _Comparison(store, found, None, scratch).changes(first_pending)


class _Comparison:
    """One comparison: streams in, spools and counts out."""

    def __init__(self, store: FeatureStore, found: Input, base: Base | None, scratch: str | None) -> None:
        self._store, self._found, self._base, self._scratch = store, found, base, scratch
        self._new = self._new_rejected = self._added = self._gone = 0

    def changes(self, first_pending: Callable[[], object]) -> Changes:
        """Compare everything once."""
        known = dict(self._base.snapshot.files) if self._base else {}
        located, present = locations.locate(self._store, known, self._scratch)
        remembered = rejections.read_remembered(self._store, self._scratch)
        refused = rejections.read_refused(self._store, self._scratch)
        with ExitStack() as stack:
            writers = {name: stack.enter_context(SpoolWriter(_SPOOLED[name], self._scratch)) for name in _SPOOLED}
            photographs = self._photographs(self._compared(located.rows, present), writers)
            streams = [photographs, remembered.batches(), refused.batches()]
            for rows in aligned(streams, [LOCATED, REMEMBERED, rejections.PLACED], "path"):
                rejected, pending = self._split(*rows)
                if pending.num_rows:
                    first_pending()
                writers["rejected"].write(rejected)
                writers["pending"].write(pending)
            spools = {name: writer.finish() for name, writer in writers.items()}
        return Changes(
            base=self._base,
            **spools,
            refused=refused,
            new=self._new,
            new_rejected=self._new_rejected,
            added=self._added,
            gone=self._gone,
            files={name: file for name, file in known.items() if name in present} | located.files,
        )

    def _compared(self, rows: Spool, present: set[str]) -> Iterator[Compared]:
        snapshot = self._base.snapshot if self._base else None
        before = _still_there(snapshot.photographs(), present) if snapshot else ()
        stored = [rows.batches()] + ([_still_there(snapshot.unused_rows(), present)] if snapshot else [])
        found = self._found
        everything = found.photographs.batches() if found.photographs is not found.chosen else None
        return difference.compare(found.chosen.batches(), before, stored, everything)

    def _photographs(self, compared: Iterable[Compared], writers: dict[str, SpoolWriter]) -> Iterator[pa.Table]:
        """Today's photographs. What else was found is written and counted as they are read."""
        for rows in compared:
            for name in ("photographs", "removed", "unused"):
                writers[name].write(getattr(rows, name))
            self._count(rows)
            yield rows.photographs

    def _split(self, photographs: pa.Table, remembered: pa.Table, refused: pa.Table) -> tuple[pa.Table, pa.Table]:
        """The remembered rejections of photographs, and the photographs that are to be computed."""
        held, tried = rejections.split_by_decoders(remembered, self._store.decoders)
        keys = row_keys(photographs)
        unknown = pc.is_null(photographs["file"])
        before = pc.index_in(keys, value_set=row_keys(held))
        again = pc.and_(unknown, pc.is_valid(before))
        rejected = held.take(before.filter(again))
        label = REJECTED.get_field_index("label")
        rejected = rejected.set_column(label, REJECTED.field("label"), photographs["label"].filter(again))
        waiting = pc.and_(unknown, pc.invert(again))
        among_refused = pc.is_in(keys, value_set=row_keys(refused))
        is_new = pc.or_(pc.and_not(waiting, pc.is_in(keys, value_set=row_keys(tried))), among_refused)
        self._new += _count(is_new)
        self._new_rejected += _count(pc.and_(again, among_refused))
        pending = photographs.select(SCHEMA.names).append_column(PENDING.field("new"), is_new).filter(waiting)
        return rejected, pending

    def _count(self, compared: Compared) -> None:
        photographs = compared.photographs
        stored = pc.is_valid(photographs["file"])
        self._added += _count(pc.and_not(stored, photographs["kept"]))
        gone = is_gone(compared.gone, self._found.source, _NO_PATH, self._found.unseen)
        self._gone += _count(gone)


def _count(those: pa.ChunkedArray) -> int:
    return int(pc.sum(those).as_py() or 0)


def _still_there(batches: Iterable[pa.RecordBatch], present: set[str]) -> Iterator[pa.Table]:
    """Rows of a snapshot as locations; without a file where the store does not have this file any more."""
    files = pa.array(sorted(present), pa.string())
    for batch in batches:
        there = pc.is_in(batch["file"], value_set=files)
        file = pc.if_else(there, batch["file"], pa.scalar(None, pa.string()))
        yield pa.table([batch["path"], batch["version"], file, batch["row"]], schema=LOCATION)


def find_base(store: FeatureStore, source: str, settings: SelectionSettings) -> Base | None:
    """Find the latest run with the same input, selection and features.

    Parameters
    ----------
    store : FeatureStore
        Of the output and the network. It is told where there is such a run that cannot be read.
    source : str
        Canonical folder of the input.
    settings : SelectionSettings
        What selects among its photographs.

    Returns
    -------
    Base or None
        None where there is none that can be read.
    """
    storage, output, warn = store.storage, store.output, store.warn
    pointer = pointer_path(output, source, settings, store.fingerprint)
    if not storage.exists(pointer):
        return None
    try:
        run = Run(output, str(json.loads(storage.read(pointer))["run_id"]), storage)
        document = manifest.read(run)
        snapshot = Snapshot.open(run)
        if snapshot.num_rows != document.projection.rows:
            raise StoreError(f"{run.path('snapshot')} has {snapshot.num_rows} rows, not {document.projection.rows}")
        return Base(run, document, snapshot)
    except NothingToReadError:  # pruned
        return None
    except (StoreError, ValueError, LookupError, TypeError) as error:
        line = error.line if isinstance(error, StoreError) else f"{pointer} is not a pointer to a run"
        warn(f"the latest run with these photographs was not used: {line}")
        return None


def pointer_path(output: str, source: str, settings: SelectionSettings, fingerprint: str) -> str:
    """The path of the pointer to the latest run with an input, a selection and features.

    Parameters
    ----------
    output : str
        Canonical folder of the output.
    source : str
        Canonical folder of the input.
    settings : SelectionSettings
        What selects among its photographs.
    fingerprint : str
        Of the features.

    Returns
    -------
    str
        Canonical; there need not be such a file.
    """
    selection: dict[str, Any] = {name: getattr(settings, name) for name in SelectionSettings.model_fields}
    key = json.dumps([source, fingerprint, selection], sort_keys=True)
    return join(output, "snapshots", f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json")
