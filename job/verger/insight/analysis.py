"""Sample, classifier, audit and report of a run whose table is written. None of them can fail the run."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from verger.components.pca import Pca
from verger.config import InsightSettings, RunConfig
from verger.progress import Progress
from verger.spark.failures import warn_on_error
from verger.storage.stores import Stores
from verger.tables import runs
from verger.tables.manifest import Manifest
from verger.tables.manifest_parts import Absent, AuditSummary, Classifier, ReportPage
from verger.tables.runs import Run
from verger.tables.store import FeatureStore

if TYPE_CHECKING:
    from verger.insight.audit.checks import Audit
    from verger.insight.audit.issues import Predictions
    from verger.insight.classification.classifier import Classification
    from verger.insight.sample import Sample


def preload(config: InsightSettings) -> None:
    """Import the libraries of an analysis in a thread, while Spark starts: they take seconds.

    Parameters
    ----------
    config : InsightSettings
        Says whether there will be a classifier and a report. An import that fails is tried again where it is needed.
    """
    modules = []
    if config.classifier:
        modules += ["verger.insight.classification.classifier"]
    if config.audit:
        modules += ["verger.insight.audit.checks"]
    if config.report:
        modules += ["verger.insight.report.writer", "resvg_py"]

    def load() -> None:
        with suppress(Exception):
            for module in modules:
                importlib.import_module(module)

    threading.Thread(target=load, name="preload").start()


@dataclass(frozen=True)
class Findings:
    """What was found out about the photographs, as the manifest has it.

    Attributes
    ----------
    audit : AuditSummary, optional
        None where the audit was not asked for, or could not be made.
    classifier : Classifier or Absent, optional
        The classifier, or why the photographs allow none. None where it was not asked for, or could not be made.
    """

    audit: AuditSummary | None = None
    classifier: Classifier | Absent | None = None


class Analysis:
    """Sample, classifier, audit and report of one run.

    Their libraries are imported where they are used, so that a broken one costs a warning, not the run.

    Parameters
    ----------
    run : Run
        The run whose table is written, its manifest not yet.
    config : RunConfig
        The run's.
    stores : Stores
        How photographs are reached, for thumbnails.
    progress : Progress
        Told of the stages, and of what could not be done.
    show : callable
        Called with numbers by name, for those who watch the run: ``near_duplicates``, ``suspected_mislabels`` and
        ``recognised``, the classifier's accuracy.
    standardize : bool, optional
        Whether the run's PCA divides features by their standard deviations; by default as ``config`` says.
    fitted_by : str, optional
        Id of the run that fitted the PCA; by default this one.
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
        self.audit: Audit | None = None

    def analyse(self, store: FeatureStore) -> Findings:
        """Draw a sample of the run, fit a first classifier on it, and audit it.

        Parameters
        ----------
        store : FeatureStore
            The store that holds the run's features.

        Returns
        -------
        Findings
            As far as there are any.
        """
        findings = Findings()
        classification: Classification | None = None
        if not (self.config.classifier or self.config.audit or self.config.report):
            return findings
        with self._warn_on_error("nothing was audited, and no classifier fitted"), self.progress.stage("sample"):
            from verger.insight import sample

            self.sample = sample.draw_sample(self.run, store, self.config, self.config.input)
        if self.sample is None:
            return findings
        if self.config.classifier:
            with self._warn_on_error("no classifier was fitted"), self.progress.stage("classifier"):
                classified = self._classify(self.sample)
                if isinstance(classified, Absent):
                    findings = replace(findings, classifier=classified)
                else:
                    classification = classified
        if self.config.audit:
            with self._warn_on_error("nothing was audited"), self.progress.stage("audit", "Auditing the photographs"):
                findings = replace(findings, audit=self._audit(self.sample, classification))
        if classification:
            with self._warn_on_error("no classifier was kept"):
                findings = replace(findings, classifier=self._save(classification))
        self._show_numbers(findings)
        return findings

    def draw(self, manifest: Manifest) -> ReportPage | None:
        """Draw the report.

        Parameters
        ----------
        manifest : Manifest
            The run's, as far as it has come.

        Returns
        -------
        ReportPage or None
            None where it could not be drawn.
        """
        with self._warn_on_error("the report was not drawn"), self.progress.stage("report", "Drawing the report"):
            from verger.insight.model import ClassifierDocument
            from verger.insight.report import content, writer

            issues = self.audit.table if self.audit else None
            classifier = None
            if self.classification:
                classifier = ClassifierDocument.model_validate(self.classification.document())
            previous = runs.latest(self.run.storage, self.run.output, self.config.name)
            report = content.gather(self.run, manifest, self.sample, issues, classifier, previous, self.stores)
            return ReportPage(path=self.run.relative(writer.write(self.run, report)))
        return None

    def _classify(self, sample: Sample) -> Classification | Absent:
        """A classifier, or why the photographs allow none."""
        from verger.insight.classification import classifier

        foreign_pca = None
        if self.fitted_by:
            pca = Pca.load(self.run.path("pca"), self.run.storage)
            foreign_pca = classifier.ForeignPca(self.fitted_by, pca)
        try:
            return classifier.classify(sample, self.config, self.progress.warn, foreign_pca)
        except classifier.NoClassifierError as error:
            if self.config.class_regex is not None:
                self.progress.warn(f"no classifier was fitted: {error}")
            return Absent(absent=str(error))

    def _save(self, classification: Classification) -> Classifier:
        """Write the classifier after the audit, which may find that its score is weak evidence."""
        if self.audit:
            classification = classification.with_near_duplicates(self.audit.seen_in_training)
        folder = self.run.path("model")
        summary = Classifier.model_validate({**classification.summary(), "path": self.run.relative(folder)})
        classification.save(folder, self.run.storage)
        self.classification = classification
        return summary

    def _audit(self, sample: Sample, classification: Classification | None) -> AuditSummary:
        from verger.insight.audit import checks

        audit = checks.audit(sample, predictions_of(classification), self.standardize)
        summary = AuditSummary.model_validate({**audit.summary(), "path": self.run.relative(self.run.path("audit"))})
        audit.save(self.run.path("audit", "part-00000.zstd.parquet"), self.run.storage)
        self.audit = audit
        return summary

    def _show_numbers(self, findings: Findings) -> None:
        numbers: dict[str, float | None] = {}
        if findings.audit:
            counts = findings.audit.counts
            numbers = {f"{kind}s": counts[kind].found for kind in ("near_duplicate", "suspected_mislabel")}
        if self.config.classifier:
            classifier = findings.classifier
            numbers["recognised"] = classifier.accuracy if isinstance(classifier, Classifier) else 0
        self.show(**{name: number for name, number in numbers.items() if number is not None})

    def _warn_on_error(self, failure: str) -> AbstractContextManager[None]:
        return warn_on_error(failure, self.progress.warn)


def predictions_of(classification: Classification | None) -> Predictions | None:
    """What the audit needs of a classifier: its predictions of the photographs that random folds hold out.

    Parameters
    ----------
    classification : Classification or None
        None where there is no classifier.
    """
    if classification is None:
        return None
    from verger.insight.audit.issues import Predictions

    held_out, score = classification.random_folds, classification.scores[-1]
    return Predictions(
        classes=classification.model.classes,
        rows=held_out.rows,
        codes=held_out.codes,
        probabilities=held_out.probabilities,
        accuracy=score.accuracy,
        beats_majority=score.beats_majority,
    )
