"""The stages of a run, from an admitted job to a published table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import chain

from verger.config import RunConfig
from verger.insight.analysis import Analysis, preload
from verger.photographs import inventory
from verger.photographs.labels import label_warnings
from verger.pipeline.values import Analysed, Compared, Driver, Extracted, Job, Listed, Projected, Published, Session
from verger.progress import Progress
from verger.residency.preflight import check_access, uris_by_role
from verger.sorting import Sorter
from verger.spark.failures import warn_on_error
from verger.spark.session import uses_s3
from verger.storage.stores import Stores
from verger.storage.uri import bucket_name, require_disjoint
from verger.tables import compaction
from verger.tables.changes import Input
from verger.tables.runs import new_run
from verger.tables.schemas import REJECTED


def open_job(config: RunConfig, progress: Progress | None, **more: str) -> Job:
    """Check residency and access of all stores, before anything is read or written.

    Parameters
    ----------
    config : RunConfig
        Names the places that are checked, and says how they are reached and where they may be.
    progress : Progress, optional
        Default: one as the settings ask for it.
    **more : str
        Canonical URIs of further places that the run reads, by role.

    Raises
    ------
    UsageError
        Input and output contain one another, or the jars for an event log on S3 are missing.
    ResidencyError, StoreError, NothingToReadError
        As `verger.residency.preflight.check_access`.
    """
    source, output = require_disjoint(config.input, config.output)
    config = config.model_copy(update={"input": source, "output": output})
    progress, stores, started_at = progress or Progress.of(config), Stores(), datetime.now(UTC)
    if uses_s3(config.event_log):
        from verger.spark import s3a

        s3a.class_path()
    places = {"input": source, "inventory": config.inventory, "output": output, "weights": config.weights}
    asked = uris_by_role(**places, event_log=config.event_log) | more
    asking = any(map(bucket_name, asked.values()))
    with progress.stage("preflight", "Asking the stores") if asking else nullcontext():
        residency = check_access(stores, asked, config, written={"output", "event log"})
    for sentence in residency.evidence:
        if sentence.startswith("warning: "):
            progress.warn(sentence.removeprefix("warning: "))
    run = new_run(stores.of(output), output, config.name, started_at)
    return Job(run, config, stores, progress, started_at, residency)


def list_photographs(job: Job, first: Callable[[], object] = lambda: None) -> Listed:
    """List the whole input, or read a report of what is there, and select the photographs of this run.

    Parameters
    ----------
    job : Job
        Its input is listed, and its settings select among the photographs.
    first : callable, optional
        Called when the first photograph is seen.

    Raises
    ------
    NothingToReadError
        There is no photograph in the input, or the settings select none; or there is no report.
    UsageError
        The report is none of the input's bucket, or lacks a column that is needed.
    StoreError
        The report is damaged, or the store refuses or cannot be reached.
    """
    config = job.config
    found = inventory.find(config, config.input, job.stores, job.progress.warn, first)
    chosen = inventory.select(found.photographs, config, config.input, config.local_dir)
    labels = inventory.label_counts(chosen)
    for warning in label_warnings(labels):
        job.progress.warn(warning)
    return Listed(Input(config.input, found.photographs, chosen, found.excluded), found.ignored, labels)


def extract(job: Job, session: Session, compared: Compared, report: Callable[[int, int], None]) -> Extracted:
    """Compute the features of all pending photographs. Afterwards each is in the store or rejected.

    Parameters
    ----------
    job : Job
        Its run id begins the names of the waves' folders; its settings size waves, tasks and batches.
    session : Session
        The Spark whose executors compute.
    compared : Compared
        Its ``pending`` photographs go through its network into its store.
    report : callable
        Called with the numbers of photographs dealt with, and rejected, as tasks end.
        While the first are computed, every core is wanted: what the analysis needs is imported afterwards.

    Raises
    ------
    DoesNotFitError
        There is too little memory or disk space.
    """
    from verger.network.extraction import Extraction  # which imports pyspark

    waiting = [preload] if session.loading else []

    def told(done: int, rejected: int) -> None:
        report(done, rejected)
        if done and waiting:
            waiting.pop()(job.config)

    extraction = Extraction(
        session.spark,
        compared.network,
        compared.store,
        job.run.run_id,
        job.config,
        told,
        job.stores.buckets,
        job.progress.warn,
        workers=job.progress.workers,
        loading=session.loading,
    )
    done = extraction.run(compared.pending)
    rejected = Sorter(REJECTED, ["path"], job.config.local_dir)
    for rows in chain(compared.changes.rejected.batches(), [done.rejected]):
        rejected.write(rows)
    return Extracted(compared, done.computed, rejected.finish())


def analyse(job: Job, driver: Driver, projected: Projected) -> Analysed:
    """Audit the photographs and fit the classifier, as far as the settings ask for it.

    Parameters
    ----------
    job : Job
        The run that is analysed, with its settings, stores and progress.
    driver : Driver
        Its ``show`` is given the findings' numbers.
    projected : Projected
        Its feature store is sampled; its PCA says whether features are standardized, and which run fitted it.
    """
    fitted = projected.fitted
    analysis = Analysis(
        job.run,
        job.config,
        job.stores,
        job.progress,
        driver.show,
        standardize=fitted.pca.scale is not None,
        fitted_by=None if fitted.on_these_photographs else fitted.by.run_id,
    )
    return Analysed(analysis.analyse(projected.extracted.compared.store), analysis.draw)


def compact(job: Job, session: Session, published: Published) -> None:
    """Merge the store's smallest files if there are many. A failure is a warning: the run is published already.

    The run waits for it: `verger.tables.small_files` says how much is copied at most.

    Parameters
    ----------
    job : Job
        Nothing is done where its setting ``compact`` is ``never``; the store is that of its output.
    session : Session
        The Spark that copies rows from small files into large ones.
    published : Published
        Readers see it already: nothing here can fail it.
    """
    if job.config.compact == "never":
        return
    with warn_on_error("the feature store was not compacted", job.progress.warn):
        if compaction.is_due(job.run.storage, job.run.output):
            with job.progress.stage("compact", "Merging the feature store's small files"):
                compaction.compact(
                    job.run.storage,
                    job.run.output,
                    session.spark,
                    job.progress.warn,
                    after=job.run.run_id,
                    buckets=job.stores.buckets,
                    scratch=job.config.local_dir,
                )
