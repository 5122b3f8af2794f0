"""What a run finds out about its photographs once its table is written; none of it can fail the run."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

from verger.components.pca import Pca
from verger.config import RunConfig
from verger.progress import Progress
from verger.spark.failures import warn_on_error
from verger.storage.stores import Stores
from verger.tables import runs
from verger.tables.runs import Run
from verger.tables.store import FeatureStore

if TYPE_CHECKING:
    from verger.insight.audit.checks import Audit
    from verger.insight.audit.issues import Predictions
    from verger.insight.classification.classifier import Classification
    from verger.insight.sample import Sample


def preload(config: RunConfig) -> None:
    """Import, while Spark starts, what takes a study seconds to import; what fails fails again where it is used."""
    modules = []
    if config.classifier:
        modules += ["verger.insight.classification.classifier", "verger.insight.audit.checks"]
    if config.report:
        modules += ["verger.insight.report.png_charts", "matplotlib.backends.backend_agg"]

    def load() -> None:
        with suppress(Exception):
            for module in modules:
                importlib.import_module(module)

    threading.Thread(target=load, name="preload").start()


class Analysis:
    """Sample, classifier, audit and report of one run.

    Their libraries are imported where they are used: what is broken in one of them costs a warning.

    Parameters
    ----------
    run : Run
        Where it writes; its table is there, its manifest not yet.
    config : RunConfig
    stores : Stores
        How photographs are reached, for thumbnails.
    progress : Progress
    show : callable
        Takes headline figures by name, for whoever watches the run.
    standardize : bool, optional
        Whether the PCA of the run divides features by their standard deviation; what ``config`` says by default.
    fitted_by : str, optional
        Id of the run that fitted the PCA; this one by default.
    """

    def __init__(
        self,
        run: Run,
        config: RunConfig,
        stores: Stores,
        progress: Progress,
        show: Callable[..., None],
        standardize: bool | None = None,
        fitted_by: str | None = None,
    ) -> None:
        self.run = run
        self.config = config
        self.stores = stores
        self.progress = progress
        self.show = show
        self.standardize = config.standardized if standardize is None else standardize
        self.fitted_by = None if fitted_by == run.run_id else fitted_by
        self.sample: Sample | None = None
        self.classification: Classification | None = None
        self.audited: Audit | None = None

    def analyse(self, store: FeatureStore) -> dict[str, Any]:
        """Draw a sample of the run, fit a first classifier on it, and audit it.

        Returns
        -------
        dict
            ``classifier`` and ``audit`` of the manifest, as far as there are any.
        """
        found: dict[str, Any] = {}
        classification: Classification | None = None
        with self._unless("nothing was audited, and no classifier fitted"), self.progress.stage("sample"):
            from verger.insight import sample

            self.sample = sample.take(self.run, store, self.config, self.config.input)
        if self.sample is None:
            return found
        if self.config.classifier:
            with self._unless("no classifier was fitted"), self.progress.stage("classifier"):
                classification, absent = self._classify(self.sample)
                found |= absent
        with self._unless("nothing was audited"), self.progress.stage("audit", "Auditing the photographs"):
            found["audit"] = self._audit(self.sample, classification)
        if classification:
            with self._unless("no classifier was kept"):
                found["classifier"] = self._keep(classification)
        self._tell(found)
        return found

    def draw(self, document: dict[str, Any]) -> dict[str, Any]:
        """Draw the report from the manifest as far as it has come.

        Returns
        -------
        dict
            ``report`` of the manifest, where it could be drawn.
        """
        with self._unless("the report was not drawn"), self.progress.stage("report", "Drawing the report"):
            from verger.insight.report import content, writer

            findings = self.audited.table if self.audited else None
            classifier = self.classification.document() if self.classification else None
            last = runs.latest(self.run.storage, self.run.output, self.config.name)
            report = content.gather(self.run, document, self.sample, findings, classifier, last, self.stores)
            page = writer.write(self.run, report)
            return {"report": {"path": self.run.relative(page)}}
        return {}

    def _classify(self, sample: Sample) -> tuple[Classification | None, dict[str, Any]]:
        """A classifier, or what the manifest says where there is none."""
        from verger.insight.classification import classifier

        elsewhere = self.fitted_by and classifier.Given(
            self.fitted_by, Pca.load(self.run.path("pca"), self.run.storage)
        )
        try:
            found = classifier.classify(sample, self.config, self.progress.warn, elsewhere or None)
        except classifier.NothingToTellError as absent:
            if self.config.class_regex is not None:
                self.progress.warn(f"no classifier was fitted: {absent}")
            return None, {"classifier": {"absent": str(absent)}}
        return found, {}

    def _keep(self, classification: Classification) -> dict[str, Any]:
        """Write the classifier, which needs what the audit says of its score, if there is one."""
        if self.audited:
            classification = classification.beside(self.audited.seen)
        folder = self.run.path("model")
        summary = {**classification.summary(), "path": self.run.relative(folder)}
        classification.save(folder, self.run.storage)
        self.classification = classification
        return summary

    def _audit(self, sample: Sample, classification: Classification | None) -> dict[str, Any]:
        from verger.insight.audit import checks

        audited = checks.audit(sample, predictions_of(classification), self.standardize)
        summary = {**audited.summary(), "path": self.run.relative(self.run.path("audit"))}
        audited.save(self.run.path("audit", "part-00000.zstd.parquet"), self.run.storage)
        self.audited = audited
        return summary

    def _tell(self, found: dict[str, Any]) -> None:
        """Headline figures, as far as anybody has looked."""
        counts = found["audit"]["counts"] if "audit" in found else {}
        figures = {f"{kind}s": counts[kind]["found"] for kind in ("near_duplicate", "suspected_mislabel") if counts}
        figures["recognised"] = found.get("classifier", {}).get("accuracy", 0) if self.config.classifier else None
        self.show(**{name: value for name, value in figures.items() if value is not None})

    def _unless(self, failure: str) -> AbstractContextManager[None]:
        return warn_on_error(failure, self.progress.warn)


def predictions_of(classification: Classification | None) -> Predictions | None:
    """What the audit needs of a classifier: the predictions of random folds."""
    if classification is None:
        return None
    from verger.insight.audit.issues import Predictions

    held_out, score = classification.out_of_fold, classification.scores[-1]
    return Predictions(
        classes=classification.model.classes,
        rows=held_out.rows,
        codes=held_out.codes,
        probability=held_out.probability,
        accuracy=score.accuracy,
        beats_majority=score.beats_majority,
    )
