"""The space of the components: fitted on the photographs of the run, or kept from an earlier run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from verger.components import projection
from verger.components.alignment import align
from verger.components.pca import Fit, Pca, fit_moments
from verger.components.pca import fit as fit_rows
from verger.components.precision import full_pass_reason
from verger.components.retention import kept_share, measure_retention
from verger.components.scatter import ScatterMoments, scatter_moments
from verger.components.solvers.selection import takes_gram
from verger.errors import NothingToReadError, StoreError
from verger.pipeline.features import count_added, on_features
from verger.pipeline.values import Fitted, Job, Session, Standing
from verger.tables import manifest
from verger.tables.changes import Base
from verger.tables.manifest import FittingRun
from verger.tables.manifest_space import Drift, Retention


def fit(job: Job, session: Session, standing: Standing) -> Fitted:
    """Fit the PCA on the features of this run; with ``pca`` auto, only where that of the base run is not good enough.

    The moments of the base run are taken where there are any, and only features of photographs that have changed are
    read. Otherwise the features of all photographs are.

    Parameters
    ----------
    job : Job
        Its settings of the components; its run becomes the run that fitted them.
    session : Session
        The Spark that reads the features and sums over them.
    standing : Standing
        The photographs on whose features the PCA is fitted.

    Returns
    -------
    Fitted
        The space, and the moments of these photographs.

    Raises
    ------
    NothingToReadError
        Fewer than two photographs are left, or all have the same features.
    StoreError
        Features that were computed are gone.
    DoesNotFitError
        The PCA needs more than half of the driver's memory.
    VergerError
        A feature is infinite or not a number.
    """
    fitted = _fit_anew(job, session, standing)
    base = standing.changes.base
    if job.config.pca != "auto" or base is None:
        return Fitted(fitted.pca, FittingRun(job.run.run_id, job.run.folder), fitted.moments)
    return _keep_or_align(job, fitted, base)


def _fit_anew(job: Job, session: Session, standing: Standing) -> Fit:
    config = job.config
    moments = updated_moments(job, session, standing)
    if moments is not None:
        pca = fit_moments(
            moments,
            variance=config.requested_variance,
            components=config.components,
            standardize=config.standardized,
            memory=config.driver_bytes,
        )
        return Fit(pca, moments)
    return on_features(
        job,
        session,
        standing,
        "all",
        lambda features: fit_rows(
            features,
            dimension=standing.extracted.compared.network.dimension,
            variance=config.requested_variance,
            components=config.components,
            standardize=config.standardized,
            solver=config.solver,
            seed=config.seed,
            memory=config.driver_bytes,
        ),
    )


def _keep_or_align(job: Job, fitted: Fit, base: Base) -> Fitted:
    """The space of the base run while it keeps what was asked for; else the new one, turned the way of the old."""
    before = manifest.fitting_run(base.run, base.manifest)
    try:
        space = Pca.load(base.run.path("pca"), base.run.storage)
    except (NothingToReadError, StoreError) as error:
        job.progress.warn(f"the components of run {base.run.run_id} were not used: {error.line}")
        return Fitted(fitted.pca, FittingRun(job.run.run_id, job.run.folder), fitted.moments)
    measured = None
    if fitted.moments is not None:
        measured = measure_retention(space, fitted.pca, fitted.moments)
        retention = Retention(space=before.run_id, **measured.summary())
        if not measured.due:
            return Fitted(space, before, fitted.moments, kept_share=measured.kept_share, retention=retention)
        job.progress.say(f"New components are fitted: {measured.reason}.")
    aligned, rotation = align(fitted.pca, space)
    return Fitted(
        aligned,
        FittingRun(job.run.run_id, job.run.folder),
        fitted.moments,
        retention=retention if measured else None,
        rotation=rotation,
        turned_to=before.run_id,
    )


def updated_moments(job: Job, session: Session, standing: Standing) -> ScatterMoments | None:
    """The moments of this run's photographs, from those of the base run and the features that have changed.

    Parameters
    ----------
    job : Job
        Its ``solver`` and ``standardize`` decide whether moments are of use.
    session : Session
        The Spark that reads features.
    standing : Standing
        The photographs, and what has changed since the base run.

    Returns
    -------
    ScatterMoments or None
        None where all features have to be read.
    """
    base, removed = standing.changes.base, standing.changes.removed
    dimension = standing.extracted.compared.network.dimension
    if base is None or not takes_gram(dimension, job.config.solver, job.config.driver_bytes // 2):
        return None
    moments = moments_of(base)
    if moments is None or moments.n != base.manifest.projection.rows:
        return None
    files = pa.array(sorted(standing.files), pa.string())
    if not all(pc.all(pc.is_in(batch["file"], value_set=files)).as_py() for batch in removed.batches()):
        return None  # features of photographs that are gone have been deleted, or moved since they were found
    standardize = job.config.standardized
    if full_pass_reason(moments, standardize, removed.num_rows):
        return None
    added = count_added(standing)
    for which, number in (("added", added), ("removed", removed.num_rows)):
        if number:
            change = _moments_of_changed(job, session, standing, which, moments)
            moments = moments.add(change) if which == "added" else moments.subtract(change)
    complete = moments.n == standing.photographs.num_rows
    return moments if complete and full_pass_reason(moments, standardize) is None else None


def moments_of(base: Base) -> ScatterMoments | None:
    """Load the moments of a base run's photographs.

    Parameters
    ----------
    base : Base
        The base run.

    Returns
    -------
    ScatterMoments or None
        None where the run has none that can be read.
    """
    with suppress(NothingToReadError, StoreError):
        return ScatterMoments.load(base.run.path("pca"), base.run.storage)
    return None


def _moments_of_changed(
    job: Job, session: Session, standing: Standing, which: str, moments: ScatterMoments
) -> ScatterMoments:
    return on_features(
        job,
        session,
        standing,
        "added" if which == "added" else "removed",
        lambda features: scatter_moments(features, moments.dimension, moments.reference),
    )


def measure_drift(job: Job, session: Session, standing: Standing, fitted: Fitted) -> Fitted:
    """Measure how much of these photographs' variance the components of an earlier run keep.

    Where the base run's table is in the same space, only photographs that it did not have are measured.

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

    Returns
    -------
    Fitted
        With the drift, and with the moments of this run's photographs where these are known without reading all.

    Raises
    ------
    StoreError
        Features that were computed are gone.
    """
    base = standing.changes.base
    moments = updated_moments(job, session, standing)
    share = kept_share(fitted.pca, moments) if moments else None
    fitted = replace(fitted, moments=moments, kept_share=share)
    same_space = base is not None and base.manifest.pca.fitted_by == fitted.by.run_id
    if same_space and not count_added(standing):
        assert base is not None
        return replace(fitted, drift=base.manifest.pca.kept)
    measured = on_features(
        job,
        session,
        standing,
        "added" if same_space else "all",
        lambda features: projection.measure_drift(features, fitted.pca),
    )
    if measured.drifted:
        job.progress.warn(measured.warning)
    return replace(fitted, drift=Drift(**measured.summary()))
