"""The quarantine of a run: rejected photographs written down, and the run refused if they are too many."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from verger.errors import TooManyRejectedError
from verger.pipeline.values import Accepted, Compared, Extracted, Job
from verger.sorting import aligned
from verger.tables.changes import PENDING
from verger.tables.parts import write_part
from verger.tables.rejections import PLACED
from verger.tables.rows import KEY, anti_join, is_gone, semi_join
from verger.tables.schemas import REFUSED, REJECTED

# Of fewer new photographs all may be bad by chance.
_MIN_NEW = 20
_NEW = pa.schema([PENDING.field(name) for name in (*KEY, "new")])
_PATHS = pa.schema([PENDING.field("path")])


def check_remembered(job: Job, compared: Compared) -> None:
    """End the run before Spark starts if the remembered rejections alone are too many.

    Only permanent rejections are remembered. Photographs that may pass the next time are pending.

    Parameters
    ----------
    job : Job
        Its ``max_rejected_ratio`` decides; the quarantine is written into its run's folder.
    compared : Compared
        Its remembered rejections are counted, among all chosen photographs and among the new ones.

    Raises
    ------
    TooManyRejectedError
        The quarantine is written.
    """
    extracted = compared.without_computing
    if refusal := _reject_ratio_exceeded(job, extracted):
        _write_quarantine(job, extracted)
        raise refusal


def check_reject_ratio(job: Job, extracted: Extracted) -> Accepted:
    """Write the quarantine, and end the run if too many photographs were rejected.

    Parameters
    ----------
    job : Job
        Its ``max_rejected_ratio`` decides; the quarantine is written into its run's folder.
    extracted : Extracted
        Its rejections are counted, among all chosen photographs and among the new ones.

    Returns
    -------
    Accepted
        ``extracted``, which has few enough rejections.

    Raises
    ------
    TooManyRejectedError
        The quarantine is written, and the refused photographs are remembered.
    """
    _write_quarantine(job, extracted)
    if refusal := _reject_ratio_exceeded(job, extracted):
        compared = extracted.compared
        compared.store.remember_refused(job.run.run_id, _first_refused(compared))
        raise refusal
    return Accepted(extracted)


def _first_refused(compared: Compared) -> Iterator[pa.Table]:
    """The new photographs with which no run was refused before."""
    streams = [compared.pending.batches(["path", "version", "new"]), compared.changes.refused.batches()]
    for pending, refused in aligned(streams, [_NEW, PLACED], "path"):
        yield anti_join(pending.filter(pending["new"]), refused)


def _write_quarantine(job: Job, extracted: Extracted) -> None:
    if extracted.rejected.num_rows:
        path = job.run.path("rejected", "part-00000.zstd.parquet")
        write_part(job.run.storage, path, REJECTED, extracted.rejected.batches())


def _reject_ratio_exceeded(job: Job, extracted: Extracted) -> TooManyRejectedError | None:
    """The error if too many are rejected. Photographs of a refused run count as new ones."""
    rejected, changes = extracted.rejected, extracted.compared.changes
    shares = [("photographs", rejected.num_rows, extracted.listed.chosen.num_rows)]
    if changes.new >= _MIN_NEW:
        shares.append(("new photographs", _count_new(extracted), changes.new))
    for which, count, total in shares:
        if count / total > job.config.max_rejected_ratio:
            return TooManyRejectedError(
                f"{count} of {total} {which} were rejected, more than --max-rejected-ratio "
                f"{job.config.max_rejected_ratio:g} allows",
                f"See why in {job.run.path('rejected')}, and mend or remove them; the last good run stays the latest",
            )
    return None


def _count_new(extracted: Extracted) -> int:
    """Rejections of photographs that no run has passed with: of those computed now, and of refused runs."""
    compared = extracted.compared
    number = compared.changes.new_rejected
    streams = [extracted.rejected.batches(KEY), compared.pending.batches(["path", "version", "new"])]
    if extracted.rejected.num_rows > compared.changes.rejected.num_rows:
        for rejected, pending in aligned(streams, [REFUSED, _NEW], "path"):
            number += semi_join(rejected, pending.filter(pending["new"])).num_rows
    return number


def forget_refusals(job: Job, compared: Compared) -> None:
    """Forget the refused runs of which this run has every photograph that still exists.

    Parameters
    ----------
    job : Job
        Refused photographs that are gone from its input are ignored.
    compared : Compared
        The photographs of a published run.
    """
    refused, found = compared.changes.refused, compared.listed.input
    if not refused.num_rows:
        return
    files, kept = set[str](), set[str]()
    streams = [refused.batches(), found.photographs.batches(["path"]), found.chosen.batches(["path"])]
    for rows, present, chosen in aligned(streams, [PLACED, _PATHS, _PATHS], "path"):
        gone = is_gone(rows["path"], found.source, present["path"], found.unseen)
        left = pc.invert(pc.or_(gone, pc.is_in(rows["path"], value_set=chosen["path"])))
        files.update(pc.unique(rows["file"]).to_pylist())
        kept.update(pc.unique(rows["file"].filter(left)).to_pylist())
    compared.store.forget_refused(files - kept)
