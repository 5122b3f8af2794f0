"""The table of a run: the space of its components, and each photograph in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from verger.components import projection
from verger.components.pca import fit as fit_pca
from verger.pipeline.comparison import locate, record
from verger.pipeline.values import Fitted, Job, Projected, Session, Standing
from verger.spark.session import write_parquet
from verger.tables import reader
from verger.tables.manifest import FittingRun
from verger.tables.manifest_parts import Drift
from verger.tables.store import retry_if_vanished

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

T = TypeVar("T")


def fit(job: Job, session: Session, standing: Standing) -> Fitted:
    """Fit the PCA on the features of this run.

    Parameters
    ----------
    job : Job
        Its settings of the components; its run becomes the run that fitted them.
    session : Session
        The Spark that reads the features and sums over them.
    standing : Standing
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
            dimension=standing.extracted.compared.network.dimension,
            variance=config.requested_variance,
            components=config.components,
            standardize=config.standardized,
            solver=config.solver,
            seed=config.seed,
            memory=config.driver_bytes,
        )
        return Fitted(pca, FittingRun(job.run.run_id, job.run.folder))

    return _on_features(job, session, standing, on)


def measure_drift(job: Job, session: Session, standing: Standing, fitted: Fitted) -> Fitted:
    """Measure how much of these photographs' variance the components of an earlier run keep.

    Parameters
    ----------
    job : Job
        Its progress warns where most photographs have drifted.
    session : Session
        The Spark that reads the features and sums over them.
    standing : Standing
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
        job, session, standing, lambda features: projection.measure_drift(features, fitted.pca, session.spark)
    )
    if measured.drifted:
        job.progress.warn(measured.warning)
    return replace(fitted, drift=Drift(**measured.summary()))


def project(job: Job, session: Session, standing: Standing, fitted: Fitted) -> Projected:
    """Write the PCA and the table, and read the table back.

    Parameters
    ----------
    job : Job
        Its run's folder gets the PCA and the table, and projection.csv where ``csv`` is set.
    session : Session
        The Spark that reads the features and writes the table.
    standing : Standing
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
    _on_features(job, session, standing, on)
    reader.verify(run, standing.photographs.num_rows, fitted.pca.n_components)
    if job.config.csv:
        reader.write_csv(run, fitted.pca.n_components)
    return Projected(standing, fitted, folder, record(job, standing))


def _on_features(job: Job, session: Session, standing: Standing, stage: Callable[[DataFrame], T]) -> T:
    """A stage on the features; once more where a compaction took away a file that it was reading."""
    places = [standing]

    def attempt() -> T:
        current = places.pop() if places else locate(job, standing.accepted)
        return stage(_features(session, current))

    return retry_if_vanished(attempt, standing.extracted.compared.store.folder)


def _features(session: Session, standing: Standing) -> DataFrame:
    """The features of the photographs with today's labels."""
    store = standing.extracted.compared.store
    rows = standing.photographs.to_table().select(["path", "label", "split", "version", "file"])
    files = pc.binary_join_element_wise(pa.scalar(store.folder), rows["file"], "/")
    return store.features(session.spark, rows.set_column(4, "file", files))
