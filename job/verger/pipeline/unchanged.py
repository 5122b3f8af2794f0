"""A run in which no photograph has changed: the table of the run before stands, and Spark is not started."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.dataset as ds

from verger import __version__
from verger.components.pca import Pca
from verger.config import InsightSettings, RunConfig
from verger.errors import NothingToReadError, StoreError
from verger.pipeline import comparison, space, table
from verger.pipeline.values import Accepted, Compared, Fitted, Job, Projected
from verger.sorting import aligned
from verger.tables import manifest
from verger.tables.changes import Base
from verger.tables.manifest import Manifest
from verger.tables.rows import KEY
from verger.tables.schemas import REFUSED
from verger.tables.store import parquet_files


def standing_base(job: Job, compared: Compared, fitted: Fitted | None) -> Base | None:
    """The base run, if its table and components are those that this run would make.

    Parameters
    ----------
    job : Job
        Its settings of the components are compared with those of the base run.
    compared : Compared
        What has changed since the base run.
    fitted : Fitted, optional
        The space of an earlier run, where this run does not fit one.

    Returns
    -------
    Base or None
        None where a photograph or a setting has changed, or another version of Verger wrote the table.
    """
    changes = compared.changes
    base = changes.base
    if base is None or changes.pending.num_rows or changes.removed.num_rows or changes.added:
        return None
    document = base.manifest
    if document.verger_version != __version__:
        return None
    if fitted is not None:
        return base if fitted.by.run_id == document.pca.fitted_by else None
    if job.config.pca == "auto":
        return base if document.config.get("pca") in ("fit", "auto") and _fits_alike(job.config, document) else None
    return base if _is_fit(base) and _fits_alike(job.config, document) else None


def _is_fit(base: Base) -> bool:
    """Whether a run's components were fitted on its own photographs: by itself, or by the run whose table it copied."""
    document = base.manifest
    copied = document.config.get("pca") == "fit" and document.pca.kept is None  # neither auto nor reuse nor project
    return document.pca.fitted_by == base.run.run_id or (
        copied and document.pca.n_photographs == document.projection.rows
    )


def _fits_alike(config: RunConfig, document: Manifest) -> bool:
    """Whether a fit would give the components of a run again, or keep them, given the same photographs.

    A run of `verger project` has taken the components of other photographs, and did not ask what a fit would keep.
    """
    before = document.config
    asked = document.pca.retention is not None or document.pca.n_photographs == document.projection.rows
    names = ["solver"] + (["seed", "driver_memory"] if document.pca.solver == "randomized" else [])
    number = config.components
    requested = {"variance": config.variance} if number is None else {"components": number}
    return (
        document.pca.kept is None
        and asked
        and document.pca.requested == requested
        and document.pca.standardized == config.standardized
        and all(before.get(name) == getattr(config, name) for name in names)
    )


def is_same(job: Job, compared: Compared, base: Base) -> bool:
    """Whether a run would leave nothing but what its base run has left: classifier, audit, report and CSV too.

    Parameters
    ----------
    job : Job
        Its settings are compared with those of the base run.
    compared : Compared
        Its counts of photographs are.
    base : Base
        The base run, whose table stands.
    """
    config, document = job.config, base.manifest
    names = [*InsightSettings.model_fields, "seed", "driver_memory"]
    alike = all(document.config.get(name) == getattr(config, name) for name in names)
    complete = (document.report is not None or not config.report) and (
        document.classifier is not None or not config.classifier
    )
    outcome = compared.without_computing
    return (
        alike
        and complete
        and (document.audit is not None or not config.audit)
        and (not config.csv or bool(document.config.get("csv")))
        and document.photographs.listed == outcome.counts.listed
        and document.rejected_by_reason == outcome.rejected_by_reason
        and document.labels == compared.listed.labels
        and _rejects_the_same(compared, base)
    )


def _rejects_the_same(compared: Compared, base: Base) -> bool:
    """Whether the quarantine of the base run names the same photographs: as many may be others."""
    rejected, storage = compared.changes.rejected, base.run.storage
    if not rejected.num_rows:
        return True
    files = [entry.path for entry in parquet_files(storage, base.run.path("rejected"))]
    if len(files) != 1:
        return False
    try:
        before = ds.dataset(files, schema=REFUSED, filesystem=storage.arrow()).to_batches()
        both = aligned([rejected.batches(KEY), before], [REFUSED, REFUSED], "path")
        return all(today.equals(then) for today, then in both)
    except (OSError, pa.ArrowInvalid):  # gone or damaged: it is written anew
        return False


def is_there(job: Job, base: Base) -> bool:
    """Whether the base run has not been pruned since it was found.

    Parameters
    ----------
    job : Job
        Its progress warns where it has.
    base : Base
        The base run.
    """
    there = base.run.storage.exists(base.run.path("manifest.json"))
    if not there:
        job.progress.warn(f"run {base.run.run_id} is gone, so that its table cannot stand for this run's")
    return there


def copy_table(job: Job, accepted: Accepted, base: Base) -> Projected | None:
    """Copy table and components of the base run into this run's folder, without Spark.

    Parameters
    ----------
    job : Job
        Its run's folder gets them.
    accepted : Accepted
        The photographs, which are those of the base run.
    base : Base
        The base run.

    Returns
    -------
    Projected or None
        As a run that has made them; None, after a warning, where the base run has been pruned since it was found.
    """
    run, storage = job.run, job.run.storage
    try:
        pca = Pca.load(base.run.path("pca"), storage)
    except (NothingToReadError, StoreError) as error:
        job.progress.warn(f"the components of run {base.run.run_id} were not used: {error.line}")
        return None
    standing = comparison.locate(job, accepted)
    if not table.copy_kept(job, standing, base):
        return None
    retention = base.manifest.pca.retention
    fitted = Fitted(
        pca,
        manifest.fitting_run(base.run, base.manifest),
        space.moments_of(base),
        retention=retention if retention and not retention.due else None,
        drift=base.manifest.pca.kept,
        kept_share=base.manifest.pca.kept_share,
        on_these_photographs=_is_fit(base),
    )
    fitted.save(run)
    return table.finish(job, standing, fitted)
