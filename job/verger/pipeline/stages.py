"""The stages of a run, from an admitted job to a published table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from verger.components import projection
from verger.components.pca import fit as fit_pca
from verger.config import RunConfig
from verger.errors import NothingToReadError, StoreError
from verger.insight.analysis import Analysis, preload
from verger.network.backbones import Network
from verger.network.extraction import Extraction
from verger.photographs import inventory
from verger.photographs.images import decoders
from verger.photographs.labels import label_warnings
from verger.pipeline.values import (
    Accepted,
    Analysed,
    Extracted,
    Fitted,
    Job,
    Listed,
    Pending,
    Projected,
    Published,
    Session,
)
from verger.progress import Progress
from verger.residency.nodes import check_executors
from verger.residency.preflight import check_access, uris_by_role
from verger.spark.failures import warn_on_error
from verger.spark.metrics import Gauges
from verger.spark.session import require_s3_support, session, uses_s3, write_parquet
from verger.storage.stores import Stores
from verger.storage.uri import bucket_name, require_disjoint
from verger.tables import compaction, description, reader
from verger.tables.manifest import FittingRun
from verger.tables.manifest_parts import Drift
from verger.tables.rows import KEY, anti_join, count_gone, semi_join
from verger.tables.runs import new_run
from verger.tables.schemas import REJECTED
from verger.tables.store import FeatureStore, retry_if_vanished

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

T = TypeVar("T")


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
        Input and output contain one another, or the jars of S3 are missing.
    ResidencyError, StoreError, NothingToReadError
        As `verger.residency.preflight.check_access`.
    """
    source, output = require_disjoint(config.input, config.output)
    config = config.model_copy(update={"input": source, "output": output})
    progress, stores, started_at = progress or Progress.of(config), Stores(), datetime.now(UTC)
    if uses_s3(output, config.event_log):
        from verger.spark import s3a

        s3a.class_path()
    asked = uris_by_role(input=source, output=output, event_log=config.event_log, weights=config.weights) | more
    asking = any(map(bucket_name, asked.values()))
    with progress.stage("preflight", "Asking the stores") if asking else nullcontext():
        residency = check_access(stores, asked, config, written={"output", "event log"})
    for sentence in residency.evidence:
        if sentence.startswith("warning: "):
            progress.warn(sentence.removeprefix("warning: "))
    run = new_run(stores.of(output), output, config.name, started_at)
    return Job(run, config, stores, progress, started_at, residency)


def list_photographs(job: Job) -> Listed:
    """List the whole input, and select the photographs of this run.

    Parameters
    ----------
    job : Job
        Its input is listed, and its settings select among the photographs.

    Raises
    ------
    NothingToReadError
        There is no photograph in the input, or the settings select none.
    StoreError
        The store refuses or cannot be reached.
    """
    found = inventory.take(job.config.input, job.stores, job.config.exclude)
    chosen = inventory.select(found.photographs, job.config, job.config.input)
    labels = inventory.label_counts(chosen)
    for warning in label_warnings(labels):
        job.progress.warn(warning)
    return Listed(found.photographs["path"], chosen, found.ignored, labels, found.excluded)


def find_pending(job: Job, listed: Listed, network: Network) -> Pending:
    """Find the photographs that have neither features in the store nor a remembered rejection.

    Parameters
    ----------
    job : Job
        Its output has the feature store; only photographs below its input count as gone.
    listed : Listed
        ``chosen`` is looked up in the store, and ``present`` tells what is gone.
    network : Network
        Whose features are meant.
    """
    store = FeatureStore(job.run.storage, job.run.output, network.fingerprint, job.progress.warn, decoders())
    known, chosen = store.known(), listed.chosen
    remembered, tried = store.rejections()
    rejected = _relabelled(anti_join(semi_join(remembered, chosen), known), chosen)
    pending = anti_join(anti_join(chosen, known), rejected)
    refused = store.refused()
    new = semi_join(chosen, pa.concat_tables([anti_join(pending, tried).select(KEY), refused.select(KEY)]))
    weights = network.weights.to_npz if network.weights else None
    description.describe(store.storage, store.output, store.fingerprint, network.describe(), weights)
    return Pending(
        listed=listed,
        network=network,
        store=store,
        photographs=pending,
        rejected=rejected,
        refused=refused,
        new=new,
        gone=count_gone(known, job.config.input, listed.present, listed.unseen),
    )


def _relabelled(rejected: pa.Table, chosen: pa.Table) -> pa.Table:
    """Remembered rejections with today's labels."""
    today = chosen["label"].take(pc.index_in(rejected["path"], value_set=chosen["path"]))
    return rejected.set_column(REJECTED.get_field_index("label"), "label", today)


@contextmanager
def spark_session(job: Job, given: SparkSession | None) -> Iterator[Session]:
    """The given SparkSession, or one for this run alone, with the location of its executors checked.

    Parameters
    ----------
    job : Job
        Its settings shape a new session; its output and event log decide whether Spark writes to S3.
    given : SparkSession, optional
        One to work in; default: an own one, which ends with the context.

    Raises
    ------
    UsageError, StoreError, DoesNotFitError
        As `verger.spark.session.session`.
    ResidencyError
        As `verger.residency.nodes.check_executors`.
    """
    config, output = job.config, job.run.output
    with ExitStack() as stack:
        gauges = None
        if given is None:
            preload(config)
            with job.progress.stage("session", "Starting Spark"):
                given = stack.enter_context(session(config, job.stores, output, config.input))
            gauges = Gauges(given)
        require_s3_support(given, uses_s3(output, config.event_log))
        executors = stack.enter_context(check_executors(given, config))
        yield Session(
            given, given.sparkContext.defaultParallelism, executors, gauges.set if gauges else lambda **_: None
        )


def extract(job: Job, session: Session, pending: Pending, report: Callable[[int, int], None]) -> Extracted:
    """Compute the features of all pending photographs. Afterwards each is in the store or rejected.

    Parameters
    ----------
    job : Job
        Its run id begins the names of the waves' folders; its settings size waves, tasks and batches.
    session : Session
        The Spark whose executors compute.
    pending : Pending
        Its ``photographs`` go through its network into its store.
    report : callable
        Called with the numbers of photographs dealt with, and rejected, as tasks end.

    Raises
    ------
    DoesNotFitError
        There is too little memory or disk space.
    """
    extraction = Extraction(
        session.spark,
        pending.network,
        pending.store,
        job.run.run_id,
        job.config,
        report,
        job.stores.buckets,
        job.progress.warn,
    )
    done = extraction.run(pending.photographs)
    rejected = pa.concat_tables([pending.rejected, done.rejected]).sort_by("path")
    return Extracted(pending, done.computed, rejected)


def fit(job: Job, session: Session, accepted: Accepted) -> Fitted:
    """Fit the PCA on the features of this run.

    Parameters
    ----------
    job : Job
        Its settings of the components; its run becomes the run that fitted them.
    session : Session
        The Spark that reads the features and sums over them.
    accepted : Accepted
        The photographs on whose features the PCA is fitted.

    Raises
    ------
    NothingToReadError
        All photographs were rejected, fewer than two are left, or all have the same features.
    StoreError
        Features that were computed are gone.
    DoesNotFitError
        The PCA needs more than half of the driver's memory.
    VergerError
        A feature is infinite or not a number.
    """
    config = job.config

    def on(features: DataFrame) -> Fitted:
        pca = fit_pca(
            features.select("path", "features"),
            dimension=accepted.extracted.pending.network.dimension,
            variance=config.requested_variance,
            components=config.components,
            standardize=config.standardized,
            solver=config.solver,
            seed=config.seed,
            memory=config.driver_bytes,
        )
        return Fitted(pca, FittingRun(job.run.run_id, job.run.folder))

    return _on_features(job, session, accepted.extracted, on)


def measure_drift(job: Job, session: Session, accepted: Accepted, fitted: Fitted) -> Fitted:
    """Measure how much of these photographs' variance the components of an earlier run keep.

    Parameters
    ----------
    job : Job
        Its progress warns where most photographs have drifted.
    session : Session
        The Spark that reads the features and sums over them.
    accepted : Accepted
        The photographs of this run, which are measured.
    fitted : Fitted
        The components of the earlier run.

    Raises
    ------
    NothingToReadError
        All photographs were rejected.
    StoreError
        Features that were computed are gone.
    """
    measured = _on_features(
        job, session, accepted.extracted, lambda features: projection.measure_drift(features, fitted.pca, session.spark)
    )
    if measured.drifted:
        job.progress.warn(measured.warning)
    return replace(fitted, drift=Drift(**measured.summary()))


def project(job: Job, session: Session, accepted: Accepted, fitted: Fitted) -> Projected:
    """Write the PCA and the table, and read the table back.

    Parameters
    ----------
    job : Job
        Its run's folder gets the PCA and the table, and projection.csv where ``csv`` is set.
    session : Session
        The Spark that reads the features and writes the table.
    accepted : Accepted
        The photographs of which the table has a row each.
    fitted : Fitted
        The PCA that is written, and by which features are projected.

    Raises
    ------
    NothingToReadError
        All photographs were rejected.
    StoreError
        Features that were computed are gone, or the table that was read back is not complete.
    """
    for warning in fitted.pca.warnings:
        job.progress.warn(warning)
    run, folder = job.run, job.run.path("projection")

    def on(features: DataFrame) -> None:
        run.storage.delete(folder)  # what a first attempt may have left
        write_parquet(projection.project(features, fitted.pca, session.spark), run.storage.spark_uri(folder))

    fitted.pca.save(run.path("pca"), run.storage)
    _on_features(job, session, accepted.extracted, on)
    reader.verify(run, accepted.extracted.rows, fitted.pca.n_components)
    if job.config.csv:
        reader.write_csv(run, fitted.pca.n_components)
    return Projected(accepted, fitted, folder)


def _on_features(job: Job, session: Session, extracted: Extracted, stage: Callable[[DataFrame], T]) -> T:
    """A stage on the features; once more where a compaction took away a file that it was reading."""
    return retry_if_vanished(lambda: stage(_features(job, session, extracted)), extracted.pending.store.folder)


def _features(job: Job, session: Session, extracted: Extracted) -> DataFrame:
    """The features of the chosen photographs with today's labels, from the files that there are now."""
    store = extracted.pending.store
    wanted = _located(extracted.listed.chosen, store.known())
    missing = extracted.rows - wanted.num_rows
    if missing:
        raise StoreError(
            f"{missing} photographs that were computed are not in {store.folder}",
            "Run again; if it happens again, look for what deletes files there",
        )
    if wanted.num_rows == 0:
        raise NothingToReadError("no photograph is left: all were rejected", f"See {job.run.path('rejected')}")
    return store.features(session.spark, wanted)


def _located(chosen: pa.Table, known: pa.Table) -> pa.Table:
    """The chosen photographs that the store knows, with the file that holds each."""
    known = semi_join(known, chosen)  # both are sorted by path, and a path is chosen in one version
    return semi_join(chosen, known).select(["path", "label", "split", "version"]).append_column("file", known["file"])


def analyse(job: Job, session: Session, projected: Projected) -> Analysed:
    """Audit the photographs and fit the classifier, as far as the settings ask for it.

    Parameters
    ----------
    job : Job
        The run that is analysed, with its settings, stores and progress.
    session : Session
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
        session.show,
        standardize=fitted.pca.scale is not None,
        fitted_by=fitted.by.run_id,
    )
    return Analysed(analysis.analyse(projected.extracted.pending.store), analysis.draw)


def compact(job: Job, session: Session, published: Published) -> None:
    """Merge the store's small files if there are many. A failure is a warning: the run is published already.

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
                compaction.compact(job.run.storage, job.run.output, session.spark, job.progress.warn)
