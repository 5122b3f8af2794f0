"""One story for `run` and `project`; they differ in where the PCA comes from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from verger.components.pca import Pca
from verger.config import RunConfig
from verger.errors import NothingToReadError, TooManyRejectedError, UsageError
from verger.network.backbones import Network, fitted_settings, resolve, resolve_fitted
from verger.pipeline import comparison, quarantine, space, stages, table, unchanged
from verger.pipeline.recording import Recorder
from verger.pipeline.spark_session import RunSession
from verger.pipeline.values import Compared, Driver, Fitted, Job, Published
from verger.progress import Progress
from verger.spark import variables
from verger.storage.uri import canonical
from verger.tables import manifest, runs
from verger.tables.changes import Base
from verger.tables.manifest import Manifest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def run(config: RunConfig, spark: SparkSession | None = None, progress: Progress | None = None) -> Manifest:
    """From a folder of photographs to a published table of principal components.

    Parameters
    ----------
    config : RunConfig
        All settings of the run, with its input and output.
    spark : SparkSession, optional
        One to work in; default: an own one, which ends with the run.
    progress : Progress, optional
        Where stages and warnings are shown; default: stderr, as the settings ask for it.

    Returns
    -------
    Manifest
        As it was published.

    Raises
    ------
    VergerError
        Whatever the user can mend; its class says the exit code. Committed waves stay in the store.

    Examples
    --------
    Twenty drawn photographs, with their pixels as features; the results are read without Spark:

    >>> import verger
    >>> from verger.config import RunConfig
    >>> from verger.photographs import synthetic
    >>> labels = synthetic.draw("photographs", 20, seed=0)
    >>> config = RunConfig(
    ...     input="photographs", output="out", backbone="pixels", components=2, classifier=False, report=False
    ... )
    >>> manifest = run(config)
    >>> manifest.photographs.computed, manifest.pca.n_components
    (20, 2)
    >>> verger.load("out").num_rows
    20
    """
    job = stages.open_job(config, progress)
    return _tell(job, _LatestRun(job) if config.pca == "reuse" else _FitAnew(job), spark)


def project(
    config: RunConfig, run_uri: str, spark: SparkSession | None = None, progress: Progress | None = None
) -> Manifest:
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
    Manifest
        ``pca.kept`` says how much of the photographs' variance the old space keeps.

    Raises
    ------
    VergerError
        As in `run`; WeightsError where the run's weights are gone or are others.
    """
    job = stages.open_job(config, progress, run=canonical(run_uri))
    origin = _GivenRun(job, run_uri)
    return _tell(origin.job, origin, spark)


def _tell(job: Job, origin: _Space, spark: SparkSession | None) -> Manifest:
    record = Recorder(job)
    with record.failures():
        network = origin.network()
        fitted = origin.fitted(network)
        # In a cluster executors are paid for, and their idle workers end after a minute: not beside a long listing.
        first = spark is None and not variables.is_submitted() and comparison.is_first(job, network)
    with RunSession(job, network, spark) as started:
        # Of a first run any photograph is to be computed; of a later one, those that the comparison finds.
        starts = (started.start,) if first else ()
        with record.failures(NothingToReadError, UsageError):
            listed = record.stage("list", "Listing photographs", stages.list_photographs, job, *starts)
        with record.failures():
            says = "Comparing with what is known"
            compared = record.stage("compare", says, comparison.compare, job, listed, network, started.start)
            return _continue(job, record, compared, fitted, started)


def _continue(job: Job, record: Recorder, compared: Compared, fitted: Fitted | None, started: RunSession) -> Manifest:
    """From the comparison to the manifest: nothing is left to do, or Spark does it."""
    try:
        quarantine.check_remembered(job, compared)
    except TooManyRejectedError:
        record.count(compared.without_computing)
        raise
    base = unchanged.standing_base(job, compared, fitted)
    if base and (again := _publish_again(job, record, compared, base)):
        return again.manifest
    with started.opened() as session:
        record.shown_by(session, compared)
        extracted = record.extraction(stages.extract, session, compared)
        standing = comparison.locate(job, quarantine.check_reject_ratio(job, extracted))
        if fitted is None:
            says = "Fitting the principal components"
            fitted = record.stage("components", says, space.fit, job, session, standing)
        else:
            says = "Measuring how well the components fit"
            fitted = record.stage("drift", says, space.measure_drift, job, session, standing, fitted)
        projected = record.stage("projection", "Projecting", table.project, job, session, standing, fitted)
        analysed = stages.analyse(job, session, projected)
        published = record.publish(session, projected, analysed)
        quarantine.forget_refusals(job, published.compared)
        stages.compact(job, session, published)
    return published.manifest


def _publish_again(job: Job, record: Recorder, compared: Compared, base: Base) -> Published | None:
    """Publish a run whose table is that of the base run, and its classifier, audit and report if these are, too.

    None where the base run has been pruned since it was found.
    """
    accepted = quarantine.check_reject_ratio(job, compared.without_computing)
    record.count(compared.without_computing)
    if unchanged.is_same(job, compared, base):
        if not unchanged.is_there(job, base):
            return None
        published = record.publish_same(compared, base)
    else:
        driver = Driver()
        projected = record.stage("projection", "Copying the table", unchanged.copy_table, job, accepted, base)
        if projected is None:
            return None
        published = record.publish(driver, projected, stages.analyse(job, driver, projected))
    quarantine.forget_refusals(job, published.compared)
    return published


class _Space(Protocol):
    """Where the space of the components comes from, and with it the network."""

    def network(self) -> Network:
        """The network whose features are meant."""

    def fitted(self, network: Network) -> Fitted | None:
        """The space that there is; None where it is to be fitted on the features of this run."""


class _FitAnew:
    """The network of the settings; the PCA is fitted on what it makes."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def network(self) -> Network:
        return resolve(self._job.config, self._job.stores, self._job.config.seed)

    def fitted(self, network: Network) -> Fitted | None:
        return None


class _LatestRun(_FitAnew):
    """The network of the settings, and the PCA of the latest run of this name."""

    def fitted(self, network: Network) -> Fitted:
        job = self._job
        ignored = job.config.model_fields_set & {"variance", "components", "standardize", "solver"}
        if job.config.components is None:  # set by --variance alone
            ignored -= {"components"}
        if ignored:
            job.progress.warn(
                f"pca reuse: {', '.join(sorted(ignored))} {'are' if len(ignored) > 1 else 'is'} ignored: "
                "the PCA of an earlier run is reused"
            )
        last = runs.latest(job.run.storage, job.run.output, job.config.name)
        if last is None:
            raise UsageError(f"pca reuse: no finished run {job.config.name} in {job.run.output}", "Fit one first")
        last, document = manifest.read_standing(last)
        if document.features.fingerprint != network.fingerprint:
            raise UsageError(
                f"pca reuse: {last.folder} was fitted on {document.features.fingerprint}, "
                f"these settings make {network.fingerprint}",
                "Use the same network settings, or fit",
            )
        return Fitted(Pca.load(last.path("pca"), last.storage), manifest.fitting_run(last, document))


class _GivenRun:
    """Network and PCA of a finished run.

    Attributes
    ----------
    job : Job
        With the network settings of that run.
    """

    def __init__(self, job: Job, run_uri: str) -> None:
        self._run, self._document = manifest.read_standing(runs.find(run_uri, job.stores))
        network = fitted_settings(self._run.output, self._document, job.stores)
        self.job = replace(job, config=job.config.model_copy(update=network))

    def network(self) -> Network:
        return resolve_fitted(self._run.output, self._document, self.job.stores)

    def fitted(self, network: Network) -> Fitted:
        return Fitted(
            Pca.load(self._run.path("pca"), self._run.storage), manifest.fitting_run(self._run, self._document)
        )
