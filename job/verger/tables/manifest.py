"""The record of a run: manifest.json, or failure.json where the run failed."""

from __future__ import annotations

import json
import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple, Self

from pydantic import Field

from verger import __version__
from verger.config import RunConfig
from verger.errors import NothingToReadError, StoreError
from verger.jsonable import dump, timestamp
from verger.residency.guard import Residency
from verger.storage.uri import join
from verger.tables.manifest_parts import (
    AuditSummary,
    ClassifierResult,
    Cost,
    Environment,
    Number,
    Part,
    Photographs,
    Place,
    Projection,
    ReportPage,
    ResidencyRecord,
    SnapshotPart,
    Throughput,
)
from verger.tables.manifest_space import Features, PcaSummary
from verger.tables.pointers import FailedRun
from verger.tables.runs import Run

SCHEMA_VERSION = 1
_PACKAGES = {
    "spark": "pyspark",
    "tensorflow": "tensorflow-cpu",
    "pillow": "pillow",
    "numpy": "numpy",
    "pyarrow": "pyarrow",
    "scikit-learn": "scikit-learn",
}


class RecordHeader(Part):
    """The first keys of a manifest and of a failure: what ran, when, with which settings, from where to where."""

    schema_version: int = Field(description="1. Keys may be added to it; none is renamed or removed.")
    run_id: str = Field(description="The run: UTC time, name and six hex digits.")
    verger_version: str = Field(description="Version of Verger.")
    started_at: str = Field(description="When the run began, ISO 8601 in UTC.")
    finished_at: str = Field(description="When it ended, ISO 8601 in UTC.")
    config: dict[str, Any] = Field(
        description="Every setting of the run, as that version of Verger had them (`verger schema`); no secret."
    )
    input: Place = Field(description="Where the photographs are.")
    output: Place = Field(description="Where the results are.")

    @classmethod
    def of(
        cls, run: Run, config: RunConfig, residency: Residency, started_at: datetime, finished_at: datetime
    ) -> RecordHeader:
        """Make the header of a run's record.

        Parameters
        ----------
        run : Run
            Its id is recorded.
        config : RunConfig
            Its ``input`` and ``output`` are canonical.
        residency : Residency
            Knows the regions of both.
        started_at, finished_at : datetime
            With a time zone.

        Returns
        -------
        RecordHeader
            For a `Manifest` or a `Failure`: ``Manifest(**dict(header), ...)``.
        """
        return RecordHeader(
            schema_version=SCHEMA_VERSION,
            run_id=run.run_id,
            verger_version=__version__,
            started_at=timestamp(started_at),
            finished_at=timestamp(finished_at),
            config=config.model_dump(mode="json"),
            input=Place(uri=config.input, region=residency.region(config.input)),
            output=Place(uri=config.output, region=residency.region(config.output)),
        )


class Manifest(RecordHeader):
    """The record of a finished run; manifest.json. Readers trust only a run that has one."""

    photographs: Photographs = Field(description="How many there are.")
    labels: dict[str, int] = Field(
        description="Photographs listed, by label; under the empty label, those without one."
    )
    features: Features = Field(description="The features that the network computes.")
    rejected_by_reason: dict[str, int] = Field(description="Photographs rejected, by reason.")
    pca: PcaSummary = Field(description="The principal components.")
    projection: Projection = Field(description="The table.")
    same_as: str | None = Field(
        default=None,
        description="Id of the run whose table, components and report are this run's too, as nothing had changed; "
        "absent where the run wrote its own.",
    )
    snapshot: SnapshotPart | None = Field(
        default=None, description="The photographs that the run stood on; absent in older manifests."
    )
    audit: AuditSummary | None = Field(
        default=None,
        description="What the audit has found (docs/classifier.md); absent with `--no-audit`, and where the audit "
        "failed.",
    )
    classifier: ClassifierResult | None = Field(
        default=None,
        description="The first classifier (docs/classifier.md), or why there is none; absent with `--no-classifier`, "
        "and where fitting it failed.",
    )
    report: ReportPage | None = Field(
        default=None, description="The report; absent with `--no-report`, and where drawing it failed."
    )
    timings_s: dict[str, Number] = Field(
        description="Seconds that the run spent in each stage. Where Spark starts beside the listing, session is "
        "only what the run still waited for it."
    )
    throughput: Throughput = Field(description="How fast features were computed.")
    cost: Cost = Field(description="The cost of the run's cores from its start to its end.")
    residency: ResidencyRecord = Field(description="Where the data was.")
    environment: Environment = Field(
        description="Versions of the software that features and components depend on; null for what is not installed."
    )
    warnings: list[str] = Field(description="Warnings of the run, each once, in order.")

    @classmethod
    def parse(cls, data: bytes, path: str) -> Self:
        """A manifest from the bytes of its file.

        Parameters
        ----------
        data : bytes
            JSON in UTF-8.
        path : str
            Of the file, for messages.

        Returns
        -------
        Manifest
            Checked; keys that a newer version of Verger has added are kept.

        Raises
        ------
        StoreError
            They are not a manifest, or have a newer schema version.
        """
        try:
            document = json.loads(data)
            if document["schema_version"] > SCHEMA_VERSION:
                raise StoreError(f"{path} was written by a newer verger", "Upgrade verger")
            return cls.model_validate(document)
        except (ValueError, KeyError, TypeError):
            raise StoreError(
                f"{path} is not a manifest of verger", "Choose another run, or move the file away"
            ) from None


class Failure(RecordHeader):
    """The record of a failed run, as far as it came; failure.json."""

    exit_code: int = Field(description="Exit code of the process.")
    message: str = Field(description="What failed, in one line.")
    photographs: Photographs | None = Field(description="How many there are, as far as the run came; null before that.")
    rejected_by_reason: dict[str, int] | None = Field(description="Photographs rejected, by reason; null before that.")


class FittingRun(NamedTuple):
    """The run that fitted a PCA, which may be in another output.

    Attributes
    ----------
    run_id : str
        Its id, as manifests name it in ``pca.fitted_by``.
    folder : str
        Its canonical folder.
    """

    run_id: str
    folder: str


def fitting_run(run: Run, document: Manifest) -> FittingRun:
    """The run that fitted the PCA of a finished run: itself, or an earlier one.

    Parameters
    ----------
    run : Run
        The finished run; where the manifest names no folder, one in the same output is meant.
    document : Manifest
        That of ``run``.

    Returns
    -------
    FittingRun
        Its id and folder, from the manifest.
    """
    fitted_by = document.pca.fitted_by
    return FittingRun(fitted_by, document.pca.fitted_in or join(run.output, "runs", fitted_by))


def environment() -> Environment:
    """Versions of what features and components depend on.

    Returns
    -------
    Environment
        None for what is not installed.
    """
    found: dict[str, str | None] = {}
    for name, package in _PACKAGES.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = None
    return Environment.model_validate({"python": platform.python_version(), **found})


def publish(run: Run, document: Manifest) -> None:
    """Write manifest.json, the last file of a run. From then on readers trust the run.

    Parameters
    ----------
    run : Run
        In whose folder it is written.
    document : Manifest
        All of it; it cannot be changed afterwards.

    Raises
    ------
    AlreadyPublishedError
        The run has a manifest.
    """
    run.storage.publish_once(run.path("manifest.json"), dump(document.as_dict()))


def record_failure(run: Run, document: Failure) -> None:
    """Write failure.json, instead of a manifest.

    Parameters
    ----------
    run : Run
        In whose folder it is written; an earlier failure.json is replaced.
    document : Failure
        What failed, and how far the run had come.
    """
    run.storage.write(run.path("failure.json"), dump(document.as_dict()))


def failed_run(run: Run, document: Failure) -> FailedRun:
    """What names/<name>.json tells of a failed run.

    Parameters
    ----------
    run : Run
        The failed run.
    document : Failure
        Its failure.json.

    Returns
    -------
    FailedRun
        With the path of failure.json, for `verger.tables.runs.point_at_failure`.
    """
    return FailedRun(
        run_id=run.run_id,
        failure=run.relative(run.path("failure.json")),
        started_at=document.started_at,
        finished_at=document.finished_at,
        exit_code=document.exit_code,
        message=document.message,
    )


def read(run: Run) -> Manifest:
    """Read the manifest of a run.

    Parameters
    ----------
    run : Run
        From whose folder it is read.

    Returns
    -------
    Manifest
        As `Manifest.parse` gives it.

    Raises
    ------
    NothingToReadError
        The run has none: it is in progress, or it failed.
    StoreError
        It is damaged, or has a newer schema version.
    """
    storage, path = run.storage, run.path("manifest.json")
    if not storage.exists(path):
        raise NothingToReadError(f"{run.folder} has no manifest.json: it is running or it failed", "Choose another run")
    return Manifest.parse(storage.read(path), path)


def read_standing(run: Run) -> tuple[Run, Manifest]:
    """Read the manifest of the run whose table, components and report are those of a finished run.

    Parameters
    ----------
    run : Run
        The finished run.

    Returns
    -------
    Run
        The run itself or, where nothing had changed, the earlier one that its ``same_as`` names.
    Manifest
        That of this run.

    Raises
    ------
    NothingToReadError
        There is no manifest: the run is in progress, it failed, or it was deleted.
    StoreError
        It is damaged, or has a newer schema version.
    """
    document = read(run)
    if document.same_as is None:
        return run, document
    run = Run(run.output, document.same_as, run.storage)
    return run, read(run)
