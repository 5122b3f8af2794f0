"""What a run finds out about its photographs once its table is written; none of it can fail the run."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

from verger.access.failures import dispensable
from verger.config import RunConfig
from verger.progress import Progress
from verger.tables import manifest
from verger.tables.manifest import Run
from verger.tables.store import FeatureStore

if TYPE_CHECKING:
    from verger.insight.audit import Audit
    from verger.insight.classifier import Classification
    from verger.insight.sample import Sample


def preload(config: RunConfig) -> None:
    """Import, while Spark starts, what takes a study seconds to import; what fails fails again where it is used."""
    modules = ["verger.insight.audit"] if config.classifier else []
    modules += ["verger.insight.figures", "matplotlib.backends.backend_agg"] if config.report else []

    def load() -> None:
        with suppress(Exception):
            for module in modules:
                importlib.import_module(module)

    threading.Thread(target=load, name="preload").start()


class Study:
    """Sample, classifier, audit and report of one run.

    Their libraries are imported where they are used: what is broken in one of them costs a warning.

    Parameters
    ----------
    run : Run
        Where it writes; its table is there, its manifest not yet.
    config : RunConfig
    progress : Progress
    show : callable
        Takes headline figures by name, for whoever watches the run.
    """

    def __init__(self, run: Run, config: RunConfig, progress: Progress, show: Callable[..., None]) -> None:
        self.run = run
        self.config = config
        self.progress = progress
        self.show = show
        self.sample: Sample | None = None
        self.classification: Classification | None = None
        self.audited: Audit | None = None

    def look(self, store: FeatureStore) -> dict[str, Any]:
        """Draw a sample of the run, fit a first classifier on it, and audit it.

        Returns
        -------
        dict
            ``classifier`` and ``audit`` of the manifest, as far as there are any.
        """
        found: dict[str, Any] = {}
        with self._unless("nothing was audited, and no classifier fitted"), self.progress.stage("sample"):
            from verger.insight import sample

            self.sample = sample.take(self.run, store, self.config)
        if self.sample is None:
            return found
        if self.config.classifier:
            with self._unless("no classifier was fitted"), self.progress.stage("classifier"):
                found["classifier"] = self._classify(self.sample)
                self.show(recognised=found["classifier"].get("accuracy", 0))
        with self._unless("nothing was audited"), self.progress.stage("audit", "Auditing the photographs"):
            found["audit"] = self._audit(self.sample)
            counts = found["audit"]["counts"]
            self.show(**{f"{kind}s": counts[kind]["found"] for kind in ("near_duplicate", "suspected_mislabel")})
        return found

    def draw(self, document: dict[str, Any]) -> dict[str, Any]:
        """Draw the report from the manifest as far as it has come.

        Returns
        -------
        dict
            ``report`` of the manifest, where it could be drawn.
        """
        with self._unless("the report was not drawn"), self.progress.stage("report", "Drawing the report"):
            from verger.insight import report

            findings = self.audited.table if self.audited else None
            classifier = self.classification.document() if self.classification else None
            last = manifest.latest(self.run.output, self.config.name)
            page = report.write(self.run, report.gather(self.run, document, self.sample, findings, classifier, last))
            return {"report": {"path": self.run.relative(page)}}
        return {}

    def _classify(self, sample: Sample) -> dict[str, Any]:
        from verger.insight import classifier

        try:
            self.classification = classifier.classify(sample, self.config, self.progress.warn)
        except classifier.NothingToTellError as absent:
            return {"absent": str(absent)}
        folder = self.run.path("model")
        self.classification.save(folder)
        return {**self.classification.summary(), "path": self.run.relative(folder)}

    def _audit(self, sample: Sample) -> dict[str, Any]:
        from verger.insight import audit

        self.audited = audit.audit(sample, self.classification, self.config.standardized)
        self.audited.save(self.run.path("audit", "part-00000.zstd.parquet"))
        return {**self.audited.summary(), "path": self.run.relative(self.run.path("audit"))}

    def _unless(self, failure: str) -> AbstractContextManager[None]:
        return dispensable(failure, self.progress.warn)
