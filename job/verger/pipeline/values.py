"""What the stages of a run hand to one another: frozen values, each made by one stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from verger.components.pca import Pca
from verger.components.rows import Float64Array
from verger.components.scatter import ScatterMoments
from verger.config import RunConfig
from verger.insight.analysis import Findings
from verger.network.backbones import Network
from verger.progress import Progress
from verger.residency.guard import Residency
from verger.residency.nodes import Executors
from verger.spool import Spool, count
from verger.storage.stores import Stores
from verger.tables.changes import Changes, Input
from verger.tables.manifest import FittingRun, Manifest
from verger.tables.manifest_parts import Photographs, ReportPage, SnapshotPart
from verger.tables.manifest_space import Drift, Retention
from verger.tables.runs import Run
from verger.tables.snapshot import StoredFile
from verger.tables.store import FeatureStore

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from verger.network.loading import NetworkLoading


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
    input : Input
        The photographs below the input, and those of them that the settings select, on disk.
    ignored : dict of str to int
        Other files, by suffix.
    labels : dict of str to int
        Chosen photographs, by label.
    """

    input: Input
    ignored: dict[str, int]
    labels: dict[str, int]

    @property
    def chosen(self) -> Spool:
        """The photographs that the settings select (`verger.photographs.inventory.SCHEMA`), sorted by path."""
        return self.input.chosen

    @property
    def counts(self) -> Photographs:
        """What the manifest says of photographs so far."""
        return Photographs(listed=self.chosen.num_rows, ignored=self.ignored)


@dataclass(frozen=True)
class Compared:
    """How today's photographs differ from those of the run before and from what is stored.

    Attributes
    ----------
    listed : Listed
        The photographs that were compared.
    network : Network
        Whose features are meant.
    store : FeatureStore
        Of the output and this network.
    changes : Changes
        What is new, known, rejected before, and gone.
    """

    listed: Listed
    network: Network
    store: FeatureStore
    changes: Changes

    @property
    def pending(self) -> Spool:
        """The photographs that are to be computed (`verger.tables.changes.PENDING`)."""
        return self.changes.pending

    @property
    def counts(self) -> Photographs:
        """What the manifest says of photographs so far."""
        return self.without_computing.counts

    @property
    def without_computing(self) -> Extracted:
        """The outcome where nothing is computed."""
        return Extracted(self, 0, self.changes.rejected)


@dataclass(frozen=True)
class Extracted:
    """What the store has now, or there is a rejection for.

    Attributes
    ----------
    compared : Compared
        What was found before the extraction.
    computed : int
        Photographs whose features this run has computed.
    rejected : Spool
        All rejections of chosen photographs (`verger.tables.schemas.REJECTED`), sorted by path.
    """

    compared: Compared
    computed: int
    rejected: Spool

    @property
    def listed(self) -> Listed:
        """What was listed."""
        return self.compared.listed

    @property
    def rows(self) -> int:
        """Photographs that have features: rows of the table."""
        return int(self.listed.chosen.num_rows - self.rejected.num_rows)

    @property
    def counts(self) -> Photographs:
        """What the manifest says of photographs so far."""
        changes = self.compared.changes
        known = self.listed.chosen.num_rows - changes.pending.num_rows - changes.rejected.num_rows
        counted = {"computed": self.computed, "rejected": self.rejected.num_rows, "gone": changes.gone}
        return self.listed.counts.model_copy(update={"known": known, **counted})

    @cached_property
    def rejected_by_reason(self) -> dict[str, int]:
        """Rejections, counted."""
        return {reason: number for reason, number in count(self.rejected, "reason").items() if reason is not None}


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
class Standing:
    """The photographs of the table, each with the place of its features.

    Attributes
    ----------
    accepted : Accepted
        Few enough photographs were rejected.
    photographs : Spool
        Those that were not (`verger.photographs.difference.LOCATED`), sorted by path.
    files : dict of str to StoredFile
        All readable files of the feature store, by their path below its folder.
    """

    accepted: Accepted
    photographs: Spool
    files: dict[str, StoredFile]

    @property
    def extracted(self) -> Extracted:
        """What the store has of the photographs."""
        return self.accepted.extracted

    @property
    def changes(self) -> Changes:
        """What has changed since the run before."""
        return self.extracted.compared.changes


@dataclass(frozen=True)
class Driver:
    """The process that a run works in, where it needs no Spark.

    Attributes
    ----------
    cores : int
        Tasks that are run at once.
    executors : Executors, optional
        The pods, and the regions of the nodes that these run on; None without Spark.
    show : callable
        Sets numbers, by name, for those who watch the run (`verger.spark.metrics.Gauges.set`).
    """

    cores: int = 1
    executors: Executors | None = None
    show: Callable[..., None] = lambda **_: None


@dataclass(frozen=True)
class Session(Driver):
    """The Spark that a run works in.

    Attributes
    ----------
    spark : SparkSession
        The run's own session, or the one that its caller gave.
    loading : NetworkLoading, optional
        The network of the run, where workers have begun to load it.
    """

    spark: SparkSession = field(kw_only=True)
    loading: NetworkLoading | None = None


@dataclass(frozen=True)
class Fitted:
    """The space of the components.

    Attributes
    ----------
    pca : Pca
        Scaler and components, and how much of the variance each explains.
    by : FittingRun
        The run that fitted it.
    moments : ScatterMoments, optional
        Of this run's photographs, for the next run; None where they are not known.
    drift : Drift, optional
        How much of this run's photographs a space keeps that an earlier run has fitted.
    kept_share : float, optional
        Share of the variance of this run's photographs that the space of an earlier run keeps, where it is known.
    retention : Retention, optional
        With ``pca`` auto: what the space of the base run keeps of today's variance, and whether a refit was due.
    rotation : ndarray of float64, shape (k, k_old), optional
        Cosines between the components of a refit and those of the space before it.
    turned_to : str, optional
        Id of the run that fitted that space.
    on_these_photographs : bool
        Whether an earlier run fitted it on the photographs of this run.
    """

    pca: Pca
    by: FittingRun
    moments: ScatterMoments | None = None
    drift: Drift | None = None
    kept_share: float | None = None
    retention: Retention | None = None
    rotation: Float64Array | None = None
    turned_to: str | None = None
    on_these_photographs: bool = False

    def save(self, run: Run) -> None:
        """Write components and moments into a run's folder.

        Parameters
        ----------
        run : Run
            Its folder ``pca`` gets them.
        """
        self.pca.save(run.path("pca"), run.storage)
        if self.moments is not None:
            self.moments.save(run.path("pca"), run.storage)

    def summary(self) -> dict[str, Any]:
        """What the manifest has of the space, but for its place.

        Returns
        -------
        dict
            Keys of the manifest's ``pca``.
        """
        optional = {
            "kept": self.drift,
            "kept_share": self.kept_share,
            "retention": self.retention,
            "rotation": None if self.rotation is None else self.rotation.round(6).tolist(),
            "turned_to": self.turned_to,
        }
        there = {name: value for name, value in optional.items() if value is not None}
        return {**self.pca.summary(), "fitted_by": self.by.run_id, "fitted_in": self.by.folder, **there}


@dataclass(frozen=True)
class Projected:
    """The table, written and read back.

    Attributes
    ----------
    standing : Standing
        The photographs in it.
    fitted : Fitted
        The space in which its rows are.
    folder : str
        Where it is.
    snapshot : SnapshotPart
        The snapshot of its photographs, as the manifest has it.
    """

    standing: Standing
    fitted: Fitted
    folder: str
    snapshot: SnapshotPart

    @property
    def extracted(self) -> Extracted:
        """What the store has of its photographs."""
        return self.standing.extracted

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
    compared : Compared
        Its photographs.
    manifest : Manifest
        As it is in manifest.json.
    """

    compared: Compared
    manifest: Manifest
