"""The story of a run: list, subtract, extract, quarantine, fit, project, look, publish."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from verger.attempt import Attempt
from verger.components.pca import Pca
from verger.config import RunConfig
from verger.errors import NothingToReadError
from verger.network.backbones import as_fitted, resolve, resolve_fitted
from verger.photographs import inventory
from verger.progress import Progress
from verger.residency.preflight import admit, places
from verger.spark.session import session
from verger.storage.stores import storage_of
from verger.storage.uri import canonical
from verger.tables import compaction, manifest, runs
from verger.tables.pruning import prune_gone, prune_runs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def run(config: RunConfig, spark: SparkSession | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """From a folder of photographs to a published table of principal components.

    Parameters
    ----------
    config : RunConfig
    spark : SparkSession, optional
        One to work in; default: an own one, which ends with the run.
    progress : Progress, optional

    Returns
    -------
    dict
        The manifest, as it was published.

    Raises
    ------
    VergerError
        Whatever the user can mend; its class says the exit code. Committed waves stay in the store.
    """
    job = Attempt(config, progress)
    job.admit()
    job.list_photographs()
    with job.failure_recorded():
        network = resolve(job.config)
        reused = job.latest_pca(network) if config.pca == "reuse" else None
        job.subtract(network)
        job.judge()
        with job.session(spark) as spark:
            job.extract(network, spark)
            job.quarantine()
            pca, fitted = reused or (job.fit(network, spark), job.run)
            if reused:
                job.measure_drift(pca, spark)
            job.project(pca, fitted, spark)
            job.look()
            published = job.publish()
            job.compact(spark)
        return published


def project(
    config: RunConfig, run_uri: str, spark: SparkSession | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """New photographs through the network and the PCA of a finished run.

    Parameters
    ----------
    config : RunConfig
        Its settings of network and components give way to the run's.
    run_uri : str
        A run's folder, or an output, whose latest run is meant.
    spark, progress
        As in `run`.

    Returns
    -------
    dict
        The manifest; ``pca.kept`` says how much of the photographs' variance the old space keeps.

    Raises
    ------
    VergerError
        As in `run`; WeightsError where the run's weights are gone or are others.
    """
    job = Attempt(config, progress)
    job.admit(run=canonical(run_uri))
    fitting_run = runs.find(run_uri)
    fitting = manifest.read(fitting_run)
    job.config = as_fitted(job.config, fitting_run.output, fitting)
    job.list_photographs()
    with job.failure_recorded():
        network = resolve_fitted(job.config, fitting)
        pca = Pca.load(fitting_run.path("pca"))
        job.subtract(network)
        job.judge()
        with job.session(spark) as spark:
            job.extract(network, spark)
            job.quarantine()
            job.measure_drift(pca, spark)
            job.project(pca, manifest.fitting(fitting_run, fitting), spark)
            job.look()
            published = job.publish()
            job.compact(spark)
        return published


def prune(config: RunConfig, keep_runs: int | None, forget_gone: bool, progress: Progress) -> dict[str, int]:
    """Forget old runs, and the features of photographs that are no longer there.

    Parameters
    ----------
    config : RunConfig
        Its output, and how the store is reached.
    keep_runs : int, optional
        Finished runs to keep, the newest; those that a pointer names are always kept.
    forget_gone : bool
        Whether to list the latest run's input, and drop stored rows below it whose photograph is gone.
    progress : Progress

    Returns
    -------
    dict of str to int
        How many ``runs``, ``unfinished`` runs and ``photographs`` were removed.

    Raises
    ------
    NothingToReadError
        There is no such output, or no finished run that names an input.
    """
    output = _existing(config)
    source = _latest_input(output, config) if forget_gone else ""
    removed = {"runs": 0, "unfinished": 0, "photographs": 0}
    if keep_runs is not None:
        with progress.stage("prune", "Removing old runs"):
            removed |= prune_runs(output, keep_runs)
    if forget_gone:
        with progress.stage("list", "Listing photographs"):
            present = inventory.take(source).photographs
        with progress.stage("prune", "Removing features of photographs that are gone"):
            removed["photographs"] = prune_gone(output, source, present["path"], progress.warn)
    return removed


def compact(config: RunConfig, spark: SparkSession | None = None, progress: Progress | None = None) -> dict[str, int]:
    """Merge the small files of the feature store.

    Parameters
    ----------
    config : RunConfig
        Its output, how the store is reached, and how Spark runs.
    spark, progress
        As in `run`.

    Returns
    -------
    dict of str to int
        As `verger.tables.compaction.compact` counts.

    Raises
    ------
    NothingToReadError
        There is no such output.
    StoreError
        The store refuses, or what was written does not hold all that it should; nothing was removed then.
    """
    progress = progress or Progress.of(config)
    output = _existing(config)
    with ExitStack() as stack:
        if spark is None:
            with progress.stage("session", "Starting Spark"):
                spark = stack.enter_context(session(config))
        with progress.stage("compact", "Merging files"):
            return compaction.compact(output, spark, progress.warn)


def _existing(config: RunConfig) -> str:
    """The output of a command that works on what runs have left there; the stores have let us in."""
    output = canonical(config.output)
    admit(places(config, "output", "event log"), config, written={"output", "event log"})
    if not storage_of(output).exists(output):
        raise NothingToReadError(f"{output} does not exist or is empty", "Check --output")
    return output


def _latest_input(output: str, config: RunConfig) -> str:
    """The input of the latest run, which says what is gone; its store has let us in."""
    last = runs.latest(output)
    if last is None:
        raise NothingToReadError(f"{output} has no finished run", "The latest run's input says what is gone")
    source = manifest.read(last).input.uri
    admit({"input": source}, config)
    return source
