"""What is new: today's photographs compared with those of the run before, and located in the feature store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from verger.errors import NothingToReadError, StoreError
from verger.network.backbones import Network
from verger.photographs import difference
from verger.photographs.difference import LOCATED
from verger.photographs.images import decoders
from verger.pipeline.values import Accepted, Compared, Job, Listed, Standing
from verger.sorting import aligned
from verger.spool import Spool, count, spool
from verger.tables import changes, description, locations, snapshot
from verger.tables.manifest_parts import SnapshotPart
from verger.tables.rows import anti_join
from verger.tables.schemas import REJECTED
from verger.tables.snapshot import StoredFile
from verger.tables.store import FeatureStore


def compare(job: Job, listed: Listed, network: Network, first_pending: Callable[[], object] = lambda: None) -> Compared:
    """Find what has changed since the base run, and which photographs have neither features nor a known rejection.

    Parameters
    ----------
    job : Job
        Its output has the feature store and the base run.
    listed : Listed
        The photographs of this run.
    network : Network
        Whose features are meant.
    first_pending : callable, optional
        As in `verger.tables.changes.find_changes`.

    Returns
    -------
    Compared
        With the photographs that are to be computed.
    """
    run, config = job.run, job.config
    store = FeatureStore(run.storage, run.output, network.fingerprint, job.progress.warn, decoders())
    base = changes.find_base(store, config.input, config)
    found = changes.find_changes(store, listed.input, base, config.local_dir, first_pending)
    weights = network.weights.to_npz if network.weights else None
    description.describe(store.storage, store.output, store.fingerprint, network.describe(), weights)
    return Compared(listed, network, store, found)


def is_first(job: Job, network: Network) -> bool:
    """Whether no finished run has had this run's input, selection and features: then its photographs are new.

    Parameters
    ----------
    job : Job
        The run.
    network : Network
        Whose features are meant.
    """
    pointer = changes.pointer_path(job.run.output, job.config.input, job.config, network.fingerprint)
    return not job.run.storage.exists(pointer)


def locate(job: Job, accepted: Accepted) -> Standing:
    """Find the features of all photographs of the table. Only files that were written meanwhile are opened.

    Parameters
    ----------
    job : Job
        Its setting ``local_dir`` says where temporary files are.
    accepted : Accepted
        The photographs, of which few enough were rejected.

    Returns
    -------
    Standing
        The photographs that were not rejected.

    Raises
    ------
    NothingToReadError
        All photographs were rejected.
    StoreError
        Features that were computed are gone.
    """
    extracted, scratch = accepted.extracted, job.config.local_dir
    store, found = extracted.compared.store, extracted.compared.changes
    written, present = locations.locate(store, found.files, scratch)
    files = {name: file for name, file in found.files.items() if name in present} | dict(written.files)
    there = _without_vanished(found.photographs, pa.array(sorted(present), pa.string()))
    photographs = difference.locate(there, written.rows.batches())
    standing = spool(LOCATED, _located(photographs, extracted.rejected), scratch)
    missing = extracted.rows - standing.num_rows
    if missing:
        raise StoreError(
            f"{missing} photographs that were computed are not in {store.folder}",
            "Run again; if it happens again, look for what deletes files there",
        )
    if standing.num_rows == 0:
        raise NothingToReadError("no photograph is left: all were rejected", f"See {job.run.path('rejected')}")
    return Standing(accepted, standing, files)


def record(job: Job, standing: Standing) -> SnapshotPart:
    """Write the run's snapshot, with which the next run compares itself.

    Parameters
    ----------
    job : Job
        Its run's folder gets the snapshot.
    standing : Standing
        The photographs of the table.

    Returns
    -------
    SnapshotPart
        For the manifest.
    """
    run, found = job.run, standing.changes
    run.storage.delete(run.path("snapshot"))
    files = _accounted_for(standing)
    rows = snapshot.write(run, standing.photographs.batches(), found.unused.batches(), files)
    base = found.base.run.run_id if found.base else None
    return SnapshotPart(path=run.relative(run.path("snapshot")), rows=rows, base=base)


def _accounted_for(standing: Standing) -> dict[str, StoredFile]:
    """The files of which the snapshot has every row; the next run reads the others.

    A file that was not there when the run compared is one of this run's waves. Or another run or a compaction has
    written it meanwhile, with rows that may not be among this run's photographs.
    """
    before, rows = standing.changes.files, count(standing.photographs, "file")
    return {
        name: file
        for name, file in standing.files.items()
        if before.get(name) == file or rows.get(name, 0) == file.rows
    }


def _without_vanished(photographs: Spool, present: pa.Array) -> Iterator[pa.RecordBatch]:
    """The photographs, without a location in files that are not there any more."""
    column = LOCATED.get_field_index("file")
    for batch in photographs.batches():
        there = pc.is_in(batch["file"], value_set=present)
        yield batch.set_column(column, "file", pc.if_else(there, batch["file"], pa.scalar(None, pa.string())))


def _located(photographs: Iterable[pa.Table], rejected: Spool) -> Iterator[pa.Table]:
    """Those with a location. Another run may have computed meanwhile what this one has rejected."""
    for rows, not_these in aligned([photographs, rejected.batches()], [LOCATED, REJECTED], "path"):
        yield anti_join(rows.filter(pc.is_valid(rows["file"])), not_these)
