"""All that the report is drawn from, and how it is read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from verger.components.pca import Pca
from verger.insight.report import run_diff
from verger.insight.report.run_diff import RunDiff
from verger.insight.report.thumbnails import Counts
from verger.insight.report.thumbnails import read as read_thumbnails
from verger.insight.sample import Sample
from verger.storage.base import raise_if_corrupt
from verger.storage.stores import Stores
from verger.tables.runs import Run
from verger.tables.store import parquet_files

Pictures = Callable[[list[tuple[str, str]]], dict[str, str]]
Kept = Callable[[Callable[[], Any], str], Any]


@dataclass(frozen=True, eq=False)
class Report:
    """All that the page is drawn from; what is None has a sentence instead of its section.

    Attributes
    ----------
    manifest : dict
    sample : Sample, optional
        Photographs of the run with their components.
    shares : list of float
        Of the variance, by component: those beyond the chosen ones too, where they are known.
    audit : pyarrow.Table, optional
        The findings, a row each.
    classifier : dict, optional
        What `verger.insight.classification.classifier.Classification.document` says of it.
    rejected : pyarrow.Table, optional
        ``path, label, reason, message``: the quarantine.
    since : RunDiff, optional
        How the run differs from the one before.
    pictures : callable
        Thumbnails of photographs, given as path and version, those that matter most first.
    counts : Counts
        How many of these were wanted, read and left out; known once they have been asked for.
    """

    manifest: dict[str, Any]
    sample: Sample | None = None
    shares: list[float] = field(default_factory=list)
    audit: pa.Table | None = None
    classifier: dict[str, Any] | None = None
    rejected: pa.Table | None = None
    since: RunDiff | None = None
    pictures: Pictures = lambda _: {}
    counts: Counts = field(default_factory=Counts)

    @property
    def in_table(self) -> dict[str, int]:
        """Photographs in the table by label, '' being none: those that are listed without those that were rejected."""
        rejected = Counter[str]()
        if self.rejected is not None:
            rejected.update(label or "" for label in self.rejected["label"].to_pylist())
        left = {label: count - rejected[label] for label, count in self.manifest["labels"].items()}
        return {label: count for label, count in left.items() if count > 0}


def gather(
    run: Run,
    manifest: dict[str, Any],
    sample: Sample | None,
    audit: pa.Table | None,
    classifier: dict[str, Any] | None,
    previous: Run | None,
    pictures: Stores | None = None,
    kept: Kept = lambda read, _: read(),
) -> Report:
    """Read what the page needs beside what the caller has at hand.

    Parameters
    ----------
    run : Run
    manifest : dict
        Its manifest, which need not be published yet.
    sample : Sample or None
    audit : pyarrow.Table or None
    classifier : dict or None
    previous : Run or None
        The finished run of the same name before it.
    pictures : Stores, optional
        How photographs are read, for thumbnails; None where they may not be.
    kept : callable
        Calls what reads a part of the page, whose name it is given too; what it returns may be None.
    """
    pca = kept(lambda: Pca.load(run.path("pca"), run.storage), "the components")
    counts = Counts()
    return Report(
        manifest,
        sample,
        [] if pca is None else (pca.spectrum / pca.total_variance).tolist(),
        audit,
        classifier,
        kept(lambda: _table(run, "rejected"), "what was rejected"),
        run_diff.compare(run, pca, manifest, previous) if previous and pca is not None else None,
        partial(read_thumbnails, pictures, counts=counts) if pictures else lambda _: {},
        counts,
    )


def findings(run: Run) -> pa.Table | None:
    """What the audit of a run has found; None where it was not audited."""
    return _table(run, "audit")


def classifier(run: Run) -> dict[str, Any] | None:
    """What is known of a run's classifier; None where it has none."""
    path = run.path("model", "classifier.json")
    storage = run.storage
    if not storage.exists(path):
        return None
    with raise_if_corrupt(path):
        document = dict(json.loads(storage.read(path)))
        return document | {"classes": list(document["classes"])}


def _table(run: Run, folder: str) -> pa.Table | None:
    storage = run.storage
    files = [entry.path for entry in parquet_files(storage, run.path(folder))]
    with raise_if_corrupt(run.path(folder)):
        return ds.dataset(files, filesystem=storage.arrow()).to_table() if files else None
