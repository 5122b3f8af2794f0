"""The table of a run: a row a photograph, copied from the base run where it stands, and projected where it is new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verger.components.projection import write_projection
from verger.pipeline.comparison import record
from verger.pipeline.features import count_added, on_features
from verger.pipeline.values import Fitted, Job, Projected, Session, Standing
from verger.tables import kept_rows, reader
from verger.tables.changes import Base
from verger.tables.file_errors import damaged, vanished

if TYPE_CHECKING:
    from verger.tables.feature_rows import FeatureRows

# So many removed photographs are held in memory to leave them out; with more, all rows are projected again.
_MAX_REMOVED = 1 << 17


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
    StoreError
        Features that were computed are gone, or the table that was read back is not complete.
    """
    for warning in fitted.pca.warnings:
        job.progress.warn(warning)
    run, folder = job.run, job.run.path("projection")
    fitted.save(run)
    run.storage.delete(folder)  # what a first attempt may have left
    base = _base_in_same_space(standing, fitted)

    def write(features: FeatureRows) -> None:
        run.storage.delete(folder)  # what another attempt may have left
        write_projection(features, fitted.pca, job.config.input, folder, "part", job.stores.buckets)

    if base is None or count_added(standing):
        on_features(job, session, standing, "added" if base else "all", write)
    if base is not None and not copy_kept(job, standing, base):
        on_features(job, session, standing, "all", write)
    return finish(job, standing, fitted)


def copy_kept(job: Job, standing: Standing, base: Base) -> bool:
    """Copy the rows of the base run's table that stand.

    Parameters
    ----------
    job : Job
        Its run's table gets the rows.
    standing : Standing
        What has changed since the base run.
    base : Base
        The base run, whose table is in the same space.

    Returns
    -------
    bool
        False, after a warning, where its table is gone or damaged, as the run was pruned meanwhile: then some rows may
        have been written.
    """
    removed = standing.changes.removed.to_table()
    try:
        copied = kept_rows.copy(base.run, job.run, removed, job.config.input)
    except Exception as error:
        if not (vanished(error) or damaged(error)):
            raise
        copied = -1
    if copied == base.manifest.projection.rows - removed.num_rows:
        return True
    job.progress.warn(f"the table of run {base.run.run_id} is gone or damaged; all photographs are projected again")
    return False


def _base_in_same_space(standing: Standing, fitted: Fitted) -> Base | None:
    """The base run, if rows of its table can be copied."""
    base, removed = standing.changes.base, standing.changes.removed.num_rows
    if base is None or base.manifest.pca.fitted_by != fitted.by.run_id or removed > _MAX_REMOVED:
        return None
    kept = standing.photographs.num_rows - count_added(standing)
    return base if kept == base.manifest.projection.rows - removed else None


def finish(job: Job, standing: Standing, fitted: Fitted) -> Projected:
    """Read the table back, and write what is made from it: the CSV where it is asked for, and the snapshot.

    Parameters
    ----------
    job : Job
        Its run's folder has the table.
    standing : Standing
        The photographs of which the table has a row each.
    fitted : Fitted
        The space of the table.

    Raises
    ------
    StoreError
        The table is not complete.
    """
    run, columns = job.run, fitted.pca.n_components
    reader.verify(run, standing.photographs.num_rows, columns, job.config.local_dir)
    if job.config.csv:
        reader.write_csv(run, columns)
    return Projected(standing, fitted, run.path("projection"), record(job, standing))
