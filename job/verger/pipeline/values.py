"""What the stages of a run hand to one another: frozen values, each made by one stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from verger.components.pca import Pca
from verger.config import RunConfig
from verger.insight.analysis import Findings
from verger.network.backbones import Network
from verger.progress import Progress
from verger.residency.guard import Residency
from verger.residency.nodes import Executors
from verger.spool import Spool
from verger.storage.stores import Stores
from verger.tables.manifest import FittingRun, Manifest
from verger.tables.manifest_parts import Drift, Photographs, ReportPage
from verger.tables.runs import Run
from verger.tables.store import FeatureStore

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Job:
    """One attempt at a run, admitted by its stores.

    Attributes
    ----------
    run : Run
        Where it writes.
    config : RunConfig
        Its ``input`` and ``output`` are canonical.
    stores : Stores
        How all its places are reached.
    progress : Progress
        Times and shows the stages, and keeps the warnings.
    started_at : datetime
        When the attempt began, UTC.
    residency : Residency
        What the guard found.
    """

    run: Run
    config: RunConfig
    stores: Stores
    progress: Progress
    started_at: datetime
    residency: Residency


@dataclass(frozen=True)
class Listed:
    """What was listed.

    Attributes
    ----------
    photographs : Spool
        All photographs in the input (`verger.photographs.inventory.SCHEMA`), sorted by path; they tell what is gone.
    chosen : Spool
        Those that the settings select.
    ignored : dict of str to int
        Other files, by suffix.
    labels : dict of str to int
        Chosen photographs, by label.
    unseen : tuple of str
        Excluded folders that were not entered; what is in them is not known.
    """

    photographs: Spool
    chosen: Spool
    ignored: dict[str, int]
    labels: dict[str, int]
    unseen: tuple[str, ...] = ()

    @property
    def counts(self) -> Photographs:
        """What the manifest says of photographs so far."""
        return Photographs(listed=self.chosen.num_rows, ignored=self.ignored)


@dataclass(frozen=True)
class Pending:
    """What neither the feature store nor the remembered rejections have.

    Attributes
    ----------
    listed : Listed
        The photographs that were looked up.
    network : Network
        Whose features are meant.
    store : FeatureStore
        Of the output and this network.
    photographs : pyarrow.Table
        To be computed; columns as ``listed.chosen``.
    rejected : pyarrow.Table
        Remembered rejections of chosen photographs, with today's labels (`verger.tables.schemas.REJECTED`).
    refused : pyarrow.Table
        The photographs that earlier runs were refused with: ``path, version, file``.
    new : pyarrow.Table
        Chosen photographs that no run has passed with yet.
    gone : int
        Photographs below the input that the store knows and that are not there any more.
    """

    listed: Listed
    network: Network
    store: FeatureStore
    photographs: pa.Table
    rejected: pa.Table
    refused: pa.Table
    new: pa.Table
    gone: int

    @property
    def counts(self) -> Photographs:
        """What the manifest says of photographs so far."""
        return self.without_computing.counts

    @property
    def without_computing(self) -> Extracted:
        """The outcome where nothing is computed."""
        return Extracted(self, 0, self.rejected)


@dataclass(frozen=True)
class Extracted:
    """What the store has now, or there is a rejection for.

    Attributes
    ----------
    pending : Pending
        What was looked up and found before the extraction.
    computed : int
        Photographs whose features this run has computed.
    rejected : pyarrow.Table
        All rejections of chosen photographs (`verger.tables.schemas.REJECTED`), sorted by path.
    """

    pending: Pending
    computed: int
    rejected: pa.Table

    @property
    def listed(self) -> Listed:
        """What was listed."""
        return self.pending.listed

    @property
    def rows(self) -> int:
        """Photographs that have features: rows of the table."""
        return int(self.listed.chosen.num_rows - self.rejected.num_rows)

    @property
    def counts(self) -> Photographs:
        """What the manifest says of photographs so far."""
        pending = self.pending
        known = self.listed.chosen.num_rows - pending.photographs.num_rows - pending.rejected.num_rows
        counted = {"computed": self.computed, "rejected": self.rejected.num_rows, "gone": pending.gone}
        return self.listed.counts.model_copy(update={"known": known, **counted})

    @cached_property
    def rejected_by_reason(self) -> dict[str, int]:
        """Rejections, counted."""
        reasons = pc.value_counts(self.rejected["reason"]).to_pylist()
        return {item["values"]: item["counts"] for item in reasons}


@dataclass(frozen=True)
class Accepted:
    """Photographs of which few enough were rejected; their quarantine is written.

    Attributes
    ----------
    extracted : Extracted
        These photographs and their rejections.
    """

    extracted: Extracted


@dataclass(frozen=True)
class Session:
    """The Spark that a run works in.

    Attributes
    ----------
    spark : SparkSession
        The run's own session, or the one that its caller gave.
    cores : int
        Tasks that it runs at once.
    executors : Executors
        The pods, and the regions of the nodes that these run on.
    show : callable
        Sets numbers, by name, for those who watch the run (`verger.spark.metrics.Gauges.set`).
    """

    spark: SparkSession
    cores: int
    executors: Executors
    show: Callable[..., None]


@dataclass(frozen=True)
class Fitted:
    """The space of the components.

    Attributes
    ----------
    pca : Pca
        Scaler and components, and how much of the variance each explains.
    by : FittingRun
        The run that fitted it.
    drift : Drift, optional
        How much of this run's photographs a space keeps that an earlier run has fitted.
    """

    pca: Pca
    by: FittingRun
    drift: Drift | None = None


@dataclass(frozen=True)
class Projected:
    """The table, written and read back.

    Attributes
    ----------
    accepted : Accepted
        The photographs in it.
    fitted : Fitted
        The space in which its rows are.
    folder : str
        Where it is.
    """

    accepted: Accepted
    fitted: Fitted
    folder: str

    @property
    def extracted(self) -> Extracted:
        """What the store has of its photographs."""
        return self.accepted.extracted

    @property
    def counts(self) -> Photographs:
        """What the manifest says of photographs."""
        return self.extracted.counts.model_copy(update={"projected": self.extracted.rows})


@dataclass(frozen=True)
class Analysed:
    """What was found out about the photographs.

    Attributes
    ----------
    findings : Findings
        Of classifier and audit.
    draw : callable
        Draws the report from the manifest so far; None where it could not be drawn.
    """

    findings: Findings
    draw: Callable[[Manifest], ReportPage | None]


@dataclass(frozen=True)
class Published:
    """A run that readers see.

    Attributes
    ----------
    projected : Projected
        The table that they read.
    manifest : Manifest
        As it is in manifest.json.
    """

    projected: Projected
    manifest: Manifest
