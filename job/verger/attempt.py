"""One attempt at a run: what is known of it so far, and the steps that `verger.pipeline` puts in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from verger.components import projection
from verger.components.pca import Pca, fit
from verger.config import RunConfig
from verger.errors import (
    ExitCode,
    InterruptedRunError,
    NothingToReadError,
    StoreError,
    TooManyRejectedError,
    UsageError,
    VergerError,
)
from verger.insight.analysis import Analysis, preload
from verger.network.backbones import Network
from verger.network.extraction import Extraction
from verger.photographs import inventory
from verger.planning.cost import cost
from verger.progress import Progress
from verger.residency.guard import Residency
from verger.residency.nodes import watched
from verger.residency.preflight import admit, places
from verger.spark.failures import dispensable, explain
from verger.spark.metrics import Gauges
from verger.spark.session import equipped, session, uses_s3, write_parquet
from verger.storage.buckets import HURRY
from verger.storage.stores import storage_of
from verger.storage.uri import apart, bucket_name, join
from verger.tables import compaction, manifest, reader, runs
from verger.tables.schemas import REJECTED
from verger.tables.store import KEY, FeatureStore, gone, matching, parquet_bytes, relisted, without

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

T = TypeVar("T")

# A handful of new photographs may all be bad without the bucket being bad.
_NEW_FROM = 20


class Attempt:
    """One attempt at a run, and what is known of it so far.

    Attributes
    ----------
    run : runs.Run
        Where it writes.
    figures : dict
        The manifest in the making.
    """

    def __init__(self, config: RunConfig, progress: Progress | None) -> None:
        source, output = apart(config.input, config.output)
        self.config = config.model_copy(update={"input": source, "output": output})
        self.progress = progress or Progress.of(config)
        self.started_at = datetime.now(UTC)
        self.run = runs.new_run(output, config.name, self.started_at)
        self.figures: dict[str, Any] = {}
        self.published = False
        self._show: Callable[..., None] = lambda **_: None

    def admit(self, **more: str) -> None:
        """Ask the stores before anything is read or written: where they stand, and whether they let us in.

        Parameters
        ----------
        **more : str
            Canonical URIs of further places that the run reads, by role.
        """
        config = self.config
        if uses_s3(config):
            from verger.spark import s3a

            s3a.class_path()
        asked = places(config, "input", "output", "event log", "weights") | more
        with (
            self.progress.stage("preflight", "Asking the stores")
            if any(map(bucket_name, asked.values()))
            else nullcontext()
        ):
            self.residency = admit(asked, config, written={"output", "event log"})
        for sentence in self.residency.evidence:
            if sentence.startswith("warning: "):
                self.progress.warn(sentence.removeprefix("warning: "))

    def list_photographs(self) -> None:
        """List the whole input: the selection goes on, the rest only tells what is gone."""
        with self.progress.stage("list", "Listing photographs"):
            found = inventory.take(self.config.input)
            self.present = found.photographs["path"]
            self.chosen = inventory.select(found.photographs, self.config, self.config.input)
        self.figures["photographs"] = {"listed": self.chosen.num_rows, "ignored": found.ignored}
        self.figures["labels"] = inventory.label_counts(self.chosen)

    def subtract(self, network: Network) -> None:
        """Leave what neither the store nor the remembered rejections have."""
        self.store = FeatureStore(self.run.output, network.fingerprint, self.progress.warn)
        with self.progress.stage("subtract", "Looking up what is known"):
            self.known = self.store.known()
            rejected = without(matching(self.store.rejected(), self.chosen), self.known)
            self.rejected = _relabelled(rejected, self.chosen)
            self.pending = without(without(self.chosen, self.known), self.rejected)
            self.refused = self.store.refused()
            new = pa.concat_tables([self.pending.select(KEY), self.refused.select(KEY)])
            self.new = matching(self.chosen, new)
            self.store.describe(network.describe(), network.weights.to_npz if network.weights else None)
        self.figures["photographs"] |= {
            "known": self.chosen.num_rows - self.pending.num_rows - self.rejected.num_rows,
            "computed": 0,
            "rejected": self.rejected.num_rows,
            "gone": gone(self.known, self.config.input, self.present),
        }
        self.figures["features"] = network.summary() | {"path": self.run.relative(self.store.folder)}

    @contextmanager
    def session(self, given: SparkSession | None) -> Iterator[SparkSession]:
        """The SparkSession that was given, or an own one; its executors stand where they may, or the run ends."""
        with ExitStack() as stack:
            if given is None:
                preload(self.config)
                with self.progress.stage("session", "Starting Spark"):
                    given = stack.enter_context(session(self.config))
                self._show = Gauges(given).show
                counts = self.figures["photographs"]
                self._show(listed=counts["listed"], known=counts["known"], total=self.pending.num_rows)
            self.cores = equipped(given, self.config).sparkContext.defaultParallelism
            self.executors = stack.enter_context(watched(given, self.config))
            yield given

    def extract(self, network: Network, spark: SparkSession) -> None:
        """Compute what is pending; afterwards the store has it, or there is a rejection for it."""
        if self.pending.num_rows == 0:
            return

        def report(done: int, rejected: int) -> None:
            figures = self.progress.update(done, rejected)
            rate = figures.get("photographs_per_s", 0.0)
            self._show(done=done, rejected=rejected, computed=done - rejected, per_s=rate)

        extraction = Extraction(spark, network, self.store, self.run.run_id, self.config, report)
        with (
            self.progress.stage("features", "Preparing the network"),
            self.progress.photographs(self.pending.num_rows),
        ):
            extracted = extraction.run(self.pending)
        self._show(per_s=0)
        self.figures["photographs"]["computed"] = extracted.computed
        self.figures["photographs"]["rejected"] += extracted.rejected.num_rows
        self.rejected = pa.concat_tables([self.rejected, extracted.rejected]).sort_by("path")

    def judge(self) -> None:
        """End the run before Spark starts where remembered rejections alone are too many, whatever is pending.

        Rejections that may pass are not among them but pending: a refusal that rests on them is tried again.
        """
        if refusal := self._too_many():
            self._write_rejected()
            raise refusal

    def quarantine(self) -> None:
        """Write down what was rejected and why, and end the run where that is too much."""
        self._write_rejected()
        if refusal := self._too_many():
            self.store.refuse(self.run.run_id, without(self.pending, self.refused))
            raise refusal

    def _write_rejected(self) -> None:
        reasons = pc.value_counts(self.rejected["reason"]).to_pylist()
        self.figures["rejected_by_reason"] = {item["values"]: item["counts"] for item in reasons}
        if self.rejected.num_rows:
            path = self.run.path("rejected", "part-00000.zstd.parquet")
            storage_of(path).publish_once(path, parquet_bytes(self.rejected))

    def _too_many(self) -> TooManyRejectedError | None:
        """The verdict on what is rejected so far; photographs of a refused run are judged as new ones once more."""
        shares = [("photographs", self.rejected.num_rows, self.chosen.num_rows)]
        if self.new.num_rows >= _NEW_FROM:
            shares.append(("new photographs", matching(self.rejected, self.new).num_rows, self.new.num_rows))
        for which, rejected, total in shares:
            if rejected / total > self.config.max_rejected_ratio:
                return TooManyRejectedError(
                    f"{rejected} of {total} {which} were rejected, more than --max-rejected-ratio "
                    f"{self.config.max_rejected_ratio:g} allows",
                    f"See why in {self.run.path('rejected')}, and mend or remove them; "
                    "the last good run stays the latest",
                )
        return None

    def _accept(self) -> None:
        """Forget the refusals of which this run has every photograph that is still there."""
        paths = self.refused["path"]
        below = pc.starts_with(paths, join(self.config.input, ""))
        there = pc.or_(pc.invert(below), pc.is_in(paths, value_set=self.present))
        left = pc.and_not(there, pc.is_in(paths, value_set=self.chosen["path"]))
        self.store.accept(self.refused, paths.filter(left))

    def _on_features(self, spark: SparkSession, stage: Callable[[DataFrame], T]) -> T:
        """A stage on the features; once more where a compaction took away a file that it was reading."""
        return relisted(lambda: stage(self._features(spark)), self.store.folder)

    def _features(self, spark: SparkSession) -> DataFrame:
        """The features of the chosen photographs with today's labels, from the files that there are now."""
        wanted = _located(self.chosen, self.store.known())
        missing = self.chosen.num_rows - wanted.num_rows - self.rejected.num_rows
        if missing:
            raise StoreError(
                f"{missing} photographs that were computed are not in {self.store.folder}",
                "Run again; if it happens again, look for what deletes files there",
            )
        if wanted.num_rows == 0:
            raise NothingToReadError("no photograph is left: all were rejected", f"See {self.run.path('rejected')}")
        self.wanted = wanted.num_rows
        return self.store.features(spark, wanted)

    def fit(self, network: Network, spark: SparkSession) -> Pca:
        """Fit the PCA on the features of this run."""

        def fitted(features: DataFrame) -> Pca:
            return fit(
                features.select("path", "features"),
                dimension=network.dimension,
                variance=self.config.variance_wanted,
                components=self.config.components,
                standardize=self.config.standardized,
                solver=self.config.solver,
                seed=self.config.seed,
                memory=self.config.driver_bytes,
            )

        with self.progress.stage("components", "Fitting the principal components"):
            return self._on_features(spark, fitted)

    def latest_pca(self, network: Network) -> tuple[Pca, runs.Run]:
        """The PCA of the latest run of this name, and the run that fitted it."""
        ignored = self.config.model_fields_set & {"variance", "components", "standardize", "solver"}
        if ignored:
            self.progress.warn(
                f"pca reuse: {', '.join(sorted(ignored))} of this run do not count, the fit is an older one"
            )
        last = runs.latest(self.run.output, self.config.name)
        if last is None:
            raise UsageError(f"pca reuse: no finished run {self.config.name} in {self.run.output}", "Fit one first")
        document = manifest.read(last)
        if document.features.fingerprint != network.fingerprint:
            raise UsageError(
                f"pca reuse: {last.folder} was fitted on {document.features.fingerprint}, "
                f"these settings make {network.fingerprint}",
                "Use the same network settings, or fit",
            )
        return Pca.load(last.path("pca")), manifest.fitting(last, document)

    def measure_drift(self, pca: Pca, spark: SparkSession) -> None:
        """Say how much of these photographs the old space keeps."""
        with self.progress.stage("drift", "Measuring how well the components fit"):
            measured = self._on_features(spark, lambda features: projection.kept(features, pca, spark))
        self.figures["pca"] = {"kept": measured.summary()}
        if measured.drifted:
            self.progress.warn(measured.warning)

    def project(self, pca: Pca, fitted: runs.Run, spark: SparkSession) -> None:
        """Write the table and what made it, and read it back; ``fitted`` is the run that fitted the PCA."""
        for warning in pca.warnings:
            self.progress.warn(warning)
        folder = self.run.path("projection")

        def projected(features: DataFrame) -> None:
            storage_of(folder).delete(folder)  # what a first attempt may have left
            write_parquet(projection.project(features, pca, spark), storage_of(folder).spark_uri(folder))

        with self.progress.stage("projection", "Projecting"):
            pca.save(self.run.path("pca"))
            self._on_features(spark, projected)
            reader.verify(self.run, self.wanted, pca.n_components)
            if self.config.csv:
                reader.write_csv(self.run, pca.n_components)
        self.figures["photographs"]["projected"] = self.wanted
        self.figures["pca"] = {
            **pca.summary(),
            "fitted_by": fitted.run_id,
            "fitted_in": fitted.folder,
            "path": self.run.relative(self.run.path("pca")),
            **self.figures.get("pca", {}),
        }
        self.figures["projection"] = {
            "path": self.run.relative(folder),
            "rows": self.wanted,
            "columns": pca.n_components,
        }

    def look(self) -> None:
        """Find out about the photographs what a person wants to know of them."""
        pca = self.figures["pca"]
        space = {"standardize": pca["standardized"], "fitted_by": pca["fitted_by"]}
        self.study = Analysis(self.run, self.config, self.progress, self._show, **space)
        self.figures |= self.study.analyse(self.store)

    def publish(self) -> dict[str, Any]:
        """Manifest last, then the pointers: before that, no reader sees the run."""
        self.executors.confirm()
        residency = self.residency.with_executors(self.executors, self.config)
        if self.config.report:
            self.figures |= self.study.draw(self._document(residency))
        document = self._document(residency)
        manifest.publish(self.run, document)
        self.published = True
        runs.point_latest(self.run, self.config.name, document["started_at"])
        self._accept()
        return document

    def _document(self, residency: Residency) -> dict[str, Any]:
        """The manifest, as far as the run has come."""
        finished_at = datetime.now(UTC)
        config, computed = self.config, self.figures["photographs"]["computed"]
        seconds = (finished_at - self.started_at).total_seconds()
        features_s = self.progress.timings.get("features", 0.0)
        rate = computed / features_s if features_s else 0.0
        return {
            **manifest.opening(self.run, config, residency, self.started_at, finished_at),
            **self.figures,
            "timings_s": {stage: round(spent, 3) for stage, spent in self.progress.timings.items()},
            "throughput": {
                "photographs_per_s": round(rate, 2),
                "photographs_per_s_per_core": round(rate / self.cores, 2),
            },
            "cost": cost(seconds * self.cores, computed, config, residency.region(self.run.output)),
            **manifest.closing(residency, self.progress.warnings),
        }

    def compact(self, spark: SparkSession) -> None:
        """Merge the store's small files where they have become many; the run is published, and stays so."""
        if self.config.compact == "never":
            return
        with dispensable("the feature store was not compacted", self.progress.warn):
            if compaction.due(self.run.output):
                with self.progress.stage("compact", "Merging the feature store's small files"):
                    compaction.compact(self.run.output, spark, self.progress.warn)

    @contextmanager
    def failure_recorded(self) -> Iterator[None]:
        """Leave failure.json where the run fails and can still write; Spark's errors become lines for the user."""
        try:
            yield
        except BaseException as error:
            known = error if isinstance(error, VergerError) else explain(error)
            if isinstance(error, KeyboardInterrupt):
                known = InterruptedRunError(error)
            code = known.exit_code if known else ExitCode.DEFECT
            failure = {
                **manifest.opening(self.run, self.config, self.residency, self.started_at, datetime.now(UTC)),
                "exit_code": int(code),
                "message": known.line if known else f"{type(error).__name__}: {error}"[:2000],
                "photographs": self.figures.get("photographs"),
                "rejected_by_reason": self.figures.get("rejected_by_reason"),
            }
            if not self.published:
                HURRY.set()
                with suppress(VergerError):
                    manifest.record_failure(self.run, failure)
                HURRY.clear()
            if known is not None and known is not error:
                raise known from error
            raise


def _located(chosen: pa.Table, known: pa.Table) -> pa.Table:
    """The chosen photographs that the store knows, with the file that holds each."""
    known = matching(known, chosen)  # both are sorted by path, and a path is chosen in one version
    return matching(chosen, known).select(["path", "label", "split", "version"]).append_column("file", known["file"])


def _relabelled(rejected: pa.Table, chosen: pa.Table) -> pa.Table:
    """Remembered rejections with today's labels."""
    today = chosen["label"].take(pc.index_in(rejected["path"], value_set=chosen["path"]))
    return rejected.set_column(REJECTED.get_field_index("label"), "label", today)
