"""What the report is drawn from, and how it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from verger.components.pca import Pca
from verger.insight.model import DOCUMENT, ClassifierDocument
from verger.insight.report import run_diff
from verger.insight.report.run_diff import RunDiff
from verger.insight.report.thumbnails import ThumbnailCounts, read_thumbnails
from verger.insight.sample import Sample
from verger.storage.base import raise_if_corrupt
from verger.storage.stores import Stores
from verger.tables.manifest import Manifest
from verger.tables.runs import Run
from verger.tables.store import parquet_files

ReadThumbnails = Callable[[list[tuple[str, str]]], dict[str, str]]
"""From path and version of photographs, the most important first, to ``data:`` URIs by path."""
TryRead = Callable[[Callable[[], Any], str], Any]
"""Calls its first argument, which reads what its second names; the result is None where that cannot be read."""


@dataclass(frozen=True, eq=False)
class Report:
    """What the report is drawn from. Where something is None, the page has a sentence instead of its section.

    Attributes
    ----------
    manifest : Manifest
        The run's.
    sample : Sample, optional
        Photographs of the run with their components.
    variance_ratios : list of float
        Share of the variance, from 0 to 1, of each component, those beyond the chosen ones included; empty where they
        are not known.
    audit : pyarrow.Table, optional
        The issues, of `verger.insight.audit.issues.SCHEMA`.
    classifier : ClassifierDocument, optional
        What ``classifier.json`` says.
    rejected : pyarrow.Table, optional
        ``path, label, reason, message``: the quarantine.
    diff : RunDiff, optional
        How the run differs from the one before.
    read_thumbnails : callable
        Gives ``data:`` URIs by path, of photographs given as path and version, the most important first.
    thumbnail_counts : ThumbnailCounts
        Set once the thumbnails have been read.
    """

    manifest: Manifest
    sample: Sample | None = None
    variance_ratios: list[float] = field(default_factory=list)
    audit: pa.Table | None = None
    classifier: ClassifierDocument | None = None
    rejected: pa.Table | None = None
    diff: RunDiff | None = None
    read_thumbnails: ReadThumbnails = lambda _: {}
    thumbnail_counts: ThumbnailCounts = field(default_factory=ThumbnailCounts)

    @property
    def labels_in_table(self) -> dict[str, int]:
        """Photographs in the table by label, '' being none: those that are listed, less those that are rejected."""
        rejected = Counter[str]()
        if self.rejected is not None:
            rejected.update(label or "" for label in self.rejected["label"].to_pylist())
        left = {label: count - rejected[label] for label, count in self.manifest.labels.items()}
        return {label: count for label, count in left.items() if count > 0}


def gather(
    run: Run,
    manifest: Manifest,
    sample: Sample | None,
    audit: pa.Table | None,
    classifier: ClassifierDocument | None,
    previous: Run | None,
    stores: Stores | None = None,
    try_read: TryRead = lambda read, _: read(),
) -> Report:
    """Read what the report needs and the caller does not have yet.

    Parameters
    ----------
    run : Run
        The run whose table is written.
    manifest : Manifest
        Its manifest, which need not be published yet.
    sample : Sample or None
        See `Report`.
    audit : pyarrow.Table or None
        See `Report`.
    classifier : ClassifierDocument or None
        See `Report`.
    previous : Run or None
        The finished run of the same name before it.
    stores : Stores, optional
        That the photographs are in, for thumbnails; None where they may not be read.
    try_read : callable
        Calls what reads a part of the report; by default, what cannot be read raises.
    """
    pca = try_read(lambda: Pca.load(run.path("pca"), run.storage), "the components")
    counts = ThumbnailCounts()
    return Report(
        manifest=manifest,
        sample=sample,
        variance_ratios=[] if pca is None else (pca.spectrum / pca.total_variance).tolist(),
        audit=audit,
        classifier=classifier,
        rejected=try_read(lambda: _read_table(run, "rejected"), "what was rejected"),
        diff=run_diff.compare(run, pca, manifest, previous) if previous and pca is not None else None,
        read_thumbnails=partial(read_thumbnails, stores, counts=counts) if stores else lambda _: {},
        thumbnail_counts=counts,
    )


def read_audit(run: Run) -> pa.Table | None:
    """Read the issues that the audit of a finished run has found.

    Parameters
    ----------
    run : Run
        The finished run.

    Returns
    -------
    pyarrow.Table or None
        None where it was not audited.
    """
    return _read_table(run, "audit")


def read_classifier(run: Run) -> ClassifierDocument | None:
    """Read what ``classifier.json`` says of a run's classifier.

    Parameters
    ----------
    run : Run
        The finished run.

    Returns
    -------
    ClassifierDocument or None
        None where the run has no classifier.
    """
    path = run.path("model", DOCUMENT)
    if not run.storage.exists(path):
        return None
    with raise_if_corrupt(path):
        return ClassifierDocument.model_validate_json(run.storage.read(path))


def _read_table(run: Run, folder: str) -> pa.Table | None:
    files = [entry.path for entry in parquet_files(run.storage, run.path(folder))]
    with raise_if_corrupt(run.path(folder)):
        return ds.dataset(files, filesystem=run.storage.arrow()).to_table() if files else None
