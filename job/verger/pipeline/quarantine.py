"""The quarantine of a run: rejected photographs written down, and the run refused if they are too many."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from verger.errors import TooManyRejectedError
from verger.pipeline.values import Accepted, Compared, Extracted, Job
from verger.tables.changes import Changes
from verger.tables.rows import anti_join, is_gone, parquet_bytes, present_among, semi_join

# Of fewer new photographs all may be bad by chance.
_MIN_NEW = 20


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
        new = (batch.filter(batch["new"]) for batch in compared.pending.batches())
        unknown = (anti_join(batch, compared.changes.refused) for batch in new)
        compared.store.remember_refused(job.run.run_id, unknown)
        raise refusal
    return Accepted(extracted)


def _write_quarantine(job: Job, extracted: Extracted) -> None:
    if extracted.rejected.num_rows:
        path = job.run.path("rejected", "part-00000.zstd.parquet")
        job.run.storage.publish_once(path, parquet_bytes(extracted.rejected))


def _reject_ratio_exceeded(job: Job, extracted: Extracted) -> TooManyRejectedError | None:
    """The error if too many are rejected. Photographs of a refused run count as new ones."""
    rejected, changes = extracted.rejected, extracted.compared.changes
    shares = [("photographs", rejected.num_rows, extracted.listed.chosen.num_rows)]
    if changes.new >= _MIN_NEW:
        shares.append(("new photographs", _new_rejections(rejected, changes), changes.new))
    for which, count, total in shares:
        if count / total > job.config.max_rejected_ratio:
            return TooManyRejectedError(
                f"{count} of {total} {which} were rejected, more than --max-rejected-ratio "
                f"{job.config.max_rejected_ratio:g} allows",
                f"See why in {job.run.path('rejected')}, and mend or remove them; the last good run stays the latest",
            )
    return None


def _new_rejections(rejected: pa.Table, changes: Changes) -> int:
    """Rejections of photographs that no run has passed with: of those computed now, and of refused runs."""
    computed_now = anti_join(anti_join(rejected, changes.rejected), changes.tried)
    again = anti_join(rejected, computed_now)
    return int(computed_now.num_rows + semi_join(again, changes.refused).num_rows)


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
    if refused.num_rows:
        paths = pc.unique(refused["path"])
        present, chosen = (present_among(paths, spool) for spool in (found.photographs, found.chosen))
        gone = is_gone(paths, found.source, paths.filter(present), found.unseen)
        left = pc.and_not(pc.invert(gone), chosen)
        compared.store.forget_refused(refused, paths.filter(left))
