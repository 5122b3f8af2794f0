"""The quarantine of a run: rejected photographs written down, and the run refused if they are too many."""

from __future__ import annotations

import pyarrow.compute as pc

from verger.errors import TooManyRejectedError
from verger.pipeline.values import Accepted, Extracted, Job, Pending, Published
from verger.tables.rows import anti_join, is_gone, parquet_bytes, present_among, semi_join

# Of fewer new photographs all may be bad by chance.
_MIN_NEW = 20


def check_remembered(job: Job, pending: Pending) -> None:
    """End the run before Spark starts if the remembered rejections alone are too many.

    Only permanent rejections are remembered. Photographs that may pass the next time are pending.

    Parameters
    ----------
    job : Job
        Its ``max_rejected_ratio`` decides; the quarantine is written into its run's folder.
    pending : Pending
        Its remembered rejections are counted, among all chosen photographs and among the new ones.

    Raises
    ------
    TooManyRejectedError
        The quarantine is written.
    """
    extracted = pending.without_computing
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
        pending = extracted.pending
        computed_now = semi_join(pending.photographs, pending.new)
        pending.store.remember_refused(job.run.run_id, anti_join(computed_now, pending.refused))
        raise refusal
    return Accepted(extracted)


def _write_quarantine(job: Job, extracted: Extracted) -> None:
    if extracted.rejected.num_rows:
        path = job.run.path("rejected", "part-00000.zstd.parquet")
        job.run.storage.publish_once(path, parquet_bytes(extracted.rejected))


def _reject_ratio_exceeded(job: Job, extracted: Extracted) -> TooManyRejectedError | None:
    """The error if too many are rejected. Photographs of a refused run count as new ones."""
    rejected, new = extracted.rejected, extracted.pending.new
    shares = [("photographs", rejected.num_rows, extracted.listed.chosen.num_rows)]
    if new.num_rows >= _MIN_NEW:
        shares.append(("new photographs", semi_join(rejected, new).num_rows, new.num_rows))
    for which, count, total in shares:
        if count / total > job.config.max_rejected_ratio:
            return TooManyRejectedError(
                f"{count} of {total} {which} were rejected, more than --max-rejected-ratio "
                f"{job.config.max_rejected_ratio:g} allows",
                f"See why in {job.run.path('rejected')}, and mend or remove them; the last good run stays the latest",
            )
    return None


def forget_refusals(job: Job, published: Published) -> None:
    """Forget the refused runs of which this run has every photograph that still exists.

    Parameters
    ----------
    job : Job
        Refused photographs that are gone from its input are ignored.
    published : Published
        Its chosen photographs are those that the run has.
    """
    pending = published.projected.extracted.pending
    paths, listed = pending.refused["path"], pending.listed
    present = paths.filter(present_among(paths, listed.photographs))
    gone = is_gone(paths, job.config.input, present, listed.unseen)
    left = pc.and_not(pc.invert(gone), present_among(paths, listed.chosen))
    pending.store.forget_refused(pending.refused, paths.filter(left))
