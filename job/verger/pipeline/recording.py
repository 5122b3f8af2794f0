"""What is told of a run: its stages timed and shown, gauges set, and the record that it leaves, good or bad."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from verger.errors import ExitCode, InterruptedRunError, VergerError
from verger.insight.analysis import Findings
from verger.pipeline.values import Analysed, Compared, Driver, Extracted, Job, Listed, Projected, Published, Session
from verger.planning.cost import cost
from verger.redaction import words
from verger.spark.failures import explain
from verger.tables import manifest, runs
from verger.tables.changes import Base, pointer_path
from verger.tables.manifest import Failure, Manifest, RecordHeader
from verger.tables.manifest_parts import Cost, Photographs, Projection, ReportPage, ResidencyRecord, Throughput
from verger.tables.manifest_space import Features, PcaSummary

P = ParamSpec("P")
Value = TypeVar("Value")


class Recorder:
    """Wraps every stage of a run, so that what is told of it is told in one place.

    Parameters
    ----------
    job : Job
        The run: its progress times and shows the stages, and its folder gets the record.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._show: Callable[..., None] = lambda **_: None
        self._counts: Photographs | None = None
        self._rejected_by_reason: dict[str, int] | None = None
        self._published = False

    def stage(self, name: str, says: str, stage: Callable[P, Value], *given: P.args, **named: P.kwargs) -> Value:
        """Time a stage and show that it began; what it returns is counted where it has counts.

        Parameters
        ----------
        name : str
            Its key in ``timings_s``.
        says : str
            What a terminal shows.
        stage : callable
            Called with ``given`` and ``named``: a function of `verger.pipeline.stages`.
        *given, **named
            What the stage takes.
        """
        with self._job.progress.stage(name, says):
            value = stage(*given, **named)
        if isinstance(value, (Listed, Compared, Extracted, Projected)):
            self.count(value)
        return value

    def count(self, value: Listed | Compared | Extracted | Projected) -> None:
        """Keep what is known of the photographs, for the record of a run that fails from here on.

        Parameters
        ----------
        value : Listed, Compared, Extracted or Projected
            What a stage has returned.
        """
        self._counts = value.counts
        if isinstance(value, Extracted):
            self._rejected_by_reason = value.rejected_by_reason

    def shown_by(self, session: Session, compared: Compared) -> None:
        """Set gauges in this session from here on.

        Parameters
        ----------
        session : Session
            Its ``show`` sets the gauges.
        compared : Compared
            Its numbers of listed, known and pending photographs are shown at once.
        """
        self._show = session.show
        counts = compared.counts
        self._show(listed=counts.listed, known=counts.known, total=compared.pending.num_rows)

    def extraction(
        self,
        stage: Callable[[Job, Session, Compared, Callable[[int, int], None]], Extracted],
        session: Session,
        compared: Compared,
    ) -> Extracted:
        """The stage that computes features, with a bar and gauges that move as tasks end.

        Where nothing is pending there is no such stage.

        Parameters
        ----------
        stage : callable
            `verger.pipeline.stages.extract`.
        session : Session
            The Spark in which features are computed.
        compared : Compared
            Its ``pending`` photographs are to be computed.
        """
        if compared.pending.num_rows == 0:
            extracted = compared.without_computing
        else:
            progress = self._job.progress
            with (
                progress.stage("features", "Preparing the network"),
                progress.photographs(compared.pending.num_rows),
            ):
                extracted = stage(self._job, session, compared, self._report)
            self._show(per_s=0)
        self.count(extracted)
        return extracted

    def _report(self, done: int, rejected: int) -> None:
        figures = self._job.progress.update(done, rejected)
        rate = figures.get("photographs_per_s", 0.0)
        self._show(done=done, rejected=rejected, computed=done - rejected, per_s=rate)

    def publish(self, driver: Driver, projected: Projected, analysed: Analysed) -> Published:
        """Manifest last, then the pointers: before that, no reader sees the run.

        Parameters
        ----------
        driver : Driver
            Its executors' regions are confirmed and recorded, and the cost is that of its cores.
        projected : Projected
            The table that the manifest describes, with the counts of its photographs.
        analysed : Analysed
            The findings for the manifest, and the function that draws the report.

        Raises
        ------
        ResidencyError
            An executor ran in a region that is not allowed or unknown, or none was found.
        AlreadyPublishedError
            The run has a manifest.
        """
        job = self._job
        _confirm(driver)
        document = self._manifest(driver, projected, analysed.findings)
        if job.config.report:
            page = analysed.draw(document)
            # Again, with what drawing took and warned of.
            document = self._manifest(driver, projected, analysed.findings, page)
            _confirm(driver)  # again, for executors that started while the report was drawn
        self._publish(document)
        pointer = pointer_path(job.run.output, job.config.input, job.config, document.features.fingerprint)
        runs.point_at(job.run, document.started_at, pointer)
        return Published(projected.extracted.compared, document)

    def publish_same(self, compared: Compared, base: Base) -> Published:
        """Publish a run that has nothing of its own but its manifest: all else is that of the base run.

        Parameters
        ----------
        compared : Compared
            The photographs, which are those of the base run.
        base : Base
            The base run.

        Raises
        ------
        AlreadyPublishedError
            The run has a manifest.
        """
        job, before, now = self._job, base.manifest, datetime.now(UTC)
        outcome = compared.without_computing
        counts = outcome.counts.model_copy(update={"projected": before.projection.rows})
        stands = ("features", "pca", "projection", "snapshot", "audit", "classifier", "report")
        kept = {name: getattr(before, name) for name in stands if getattr(before, name) is not None}
        document = Manifest(
            **dict(RecordHeader.of(job.run, job.config, job.residency, job.started_at, now)),
            **kept,
            **self._told(Driver(), now, outcome),
            photographs=counts,
            same_as=base.run.run_id,
            residency=ResidencyRecord.model_validate(job.residency.as_dict()),
        )
        self._publish(document)
        return Published(compared, document)

    def _publish(self, document: Manifest) -> None:
        manifest.publish(self._job.run, document)
        self._published = True
        runs.point_latest(self._job.run, self._job.config.name, document.started_at)

    def _manifest(
        self, driver: Driver, projected: Projected, findings: Findings, report: ReportPage | None = None
    ) -> Manifest:
        """The manifest, as far as the run has come; what there is not is absent from its JSON."""
        job, extracted, finished_at = self._job, projected.extracted, datetime.now(UTC)
        executors = driver.executors
        residency = job.residency.with_executors(executors, job.config) if executors else job.residency
        optional = {"audit": findings.audit, "classifier": findings.classifier, "report": report}
        there: dict[str, Any] = {name: part for name, part in optional.items() if part is not None}
        store, network = extracted.compared.store, extracted.compared.network
        columns = projected.fitted.pca.n_components
        return Manifest(
            **dict(RecordHeader.of(job.run, job.config, residency, job.started_at, finished_at)),
            photographs=projected.counts,
            features=Features(**network.summary(), path=job.run.relative(store.folder)),
            pca=_pca(job, projected),
            projection=Projection(path=job.run.relative(projected.folder), rows=extracted.rows, columns=columns),
            snapshot=projected.snapshot,
            **there,
            **self._told(driver, finished_at, extracted),
            residency=ResidencyRecord.model_validate(residency.as_dict()),
        )

    def _told(self, driver: Driver, finished_at: datetime, extracted: Extracted) -> dict[str, Any]:
        """What the manifest has of every run: labels and rejections, times and costs, software and warnings."""
        job, timings = self._job, self._job.progress.timings
        seconds = (finished_at - job.started_at).total_seconds() * driver.cores
        region = job.residency.region(job.run.output)
        return {
            "labels": extracted.listed.labels,
            "rejected_by_reason": extracted.rejected_by_reason,
            "timings_s": {stage: round(spent, 3) for stage, spent in timings.items()},
            "throughput": _throughput(extracted.computed, timings.get("features", 0.0), driver.cores),
            "cost": Cost(**cost(seconds, extracted.computed, job.config, region)),
            "environment": manifest.environment(),
            "warnings": job.progress.warnings,
        }

    @contextmanager
    def failures(self, *unrecorded: type[VergerError]) -> Iterator[None]:
        """Leave failure.json, to which names/ leads, where the run fails and can still write.

        Spark's errors become lines for the user.

        Parameters
        ----------
        *unrecorded : type of VergerError
            Errors that leave nothing, as the run has not begun: there is nothing to do, or a setting is wrong.
        """
        try:
            yield
        except BaseException as error:
            known = error if isinstance(error, VergerError) else explain(error)
            if isinstance(error, KeyboardInterrupt):
                known = InterruptedRunError(error)
            if not self._published and not isinstance(known, unrecorded):
                self._record_failure(error, known)
            if known is not None and known is not error:
                raise known from error
            raise

    def _record_failure(self, error: BaseException, known: VergerError | None) -> None:
        job = self._job
        failure = Failure(
            **dict(RecordHeader.of(job.run, job.config, job.residency, job.started_at, datetime.now(UTC))),
            exit_code=int(known.exit_code if known else ExitCode.DEFECT),
            message=known.line if known else words(f"{type(error).__name__}: {error}", 2000),
            photographs=self._counts,
            rejected_by_reason=self._rejected_by_reason,
        )
        job.stores.fail_fast.set()
        with suppress(Exception):  # nothing that goes wrong here may hide why the run failed
            manifest.record_failure(job.run, failure)
            runs.point_at_failure(job.run, job.config.name, manifest.failed_run(job.run, failure))
        job.stores.fail_fast.clear()


def _confirm(driver: Driver) -> None:
    if driver.executors:
        driver.executors.confirm()


def _pca(job: Job, projected: Projected) -> PcaSummary:
    return PcaSummary(**projected.fitted.summary(), path=job.run.relative(job.run.path("pca")))


def _throughput(computed: int, seconds: float, cores: int) -> Throughput:
    rate = computed / seconds if seconds else 0.0
    return Throughput(photographs_per_s=round(rate, 2), photographs_per_s_per_core=round(rate / cores, 2))
