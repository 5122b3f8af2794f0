"""The report of a run: one self-contained page, and pictures beside it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import resources
from itertools import islice
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.dataset as ds

from verger.components.pca import Pca
from verger.config import RunConfig
from verger.errors import NothingToReadError, StoreError
from verger.insight import sample, since, view
from verger.insight.sample import Sample
from verger.insight.since import Since
from verger.insight.thumbnails import Counts
from verger.insight.thumbnails import read as read_thumbnails
from verger.progress import Progress
from verger.residency.preflight import admit
from verger.storage.base import intact
from verger.storage.stores import storage_of
from verger.storage.uri import canonical, join
from verger.tables import manifest as manifests
from verger.tables import runs
from verger.tables.runs import Run
from verger.tables.store import FeatureStore, parquet_files
from verger.text import plain

T = TypeVar("T")

MAX_BYTES = 4_900_000
"""Of the page."""

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
        What `verger.insight.classifier.Classification.document` says of it.
    rejected : pyarrow.Table, optional
        ``path, label, reason, message``: the quarantine.
    since : Since, optional
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
    since: Since | None = None
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
    pictures: bool = True,
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
    pictures : bool
        Whether the photographs may be read, for thumbnails.
    kept : callable
        Calls what reads a part of the page, whose name it is given too; what it returns may be None.
    """
    pca = kept(lambda: Pca.load(run.path("pca")), "the components")
    counts = Counts()
    return Report(
        manifest,
        sample,
        [] if pca is None else (pca.spectrum / pca.total_variance).tolist(),
        audit,
        classifier,
        kept(lambda: _table(run, "rejected"), "what was rejected"),
        since.compare(run, pca, manifest, previous) if previous and pca is not None else None,
        partial(read_thumbnails, counts=counts) if pictures else lambda _: {},
        counts,
    )


def findings(run: Run) -> pa.Table | None:
    """What the audit of a run has found; None where it was not audited."""
    return _table(run, "audit")


def classifier(run: Run) -> dict[str, Any] | None:
    """What is known of a run's classifier; None where it has none."""
    path = run.path("model", "classifier.json")
    storage = storage_of(path)
    if not storage.exists(path):
        return None
    with intact(path):
        document = dict(json.loads(storage.read(path)))
        return document | {"classes": list(document["classes"])}


def _table(run: Run, folder: str) -> pa.Table | None:
    storage = storage_of(run.output)
    files = [entry.path for entry in parquet_files(storage, run.path(folder))]
    with intact(run.path(folder)):
        return ds.dataset(files, filesystem=storage.arrow()).to_table() if files else None


def draw(report: Report) -> str:
    """The page, as HTML that needs nothing from anywhere; with fewer pictures where it were too large with all."""
    found: dict[str, str] = {}

    def read(share: float, wanted: list[tuple[str, str]]) -> dict[str, str]:
        if not report.counts.wanted:  # once
            found.update(report.pictures(wanted))
            report.counts.wanted, report.counts.read = len(wanted), len(found)
        return dict(islice(found.items(), int(len(found) * share)))

    for share in (1.0, 0.5, 0.25, 0.0):
        page = _rendered(replace(report, pictures=partial(read, share)))
        if len(page.encode()) <= MAX_BYTES:
            break
    return page


def _rendered(report: Report) -> str:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("verger.insight", "page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        # What is marked as safe stays as it is.
        finalize=lambda value: plain(value) if type(value) is str else value,
    )
    environment.filters |= view.FILTERS
    folder = resources.files("verger.insight") / "page"
    style, script = ((folder / name).read_text() for name in ("style.css", "script.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.get_template("index.html.j2")
    return template.render(
        view.of(report), style=Markup(style), script=Markup(script), script_hash=f"sha256-{digest}"
    ).lstrip()


def write(run: Run, report: Report) -> str:
    """Draw a run's report into its folder.

    Returns
    -------
    str
        Where the page is.
    """
    from verger.insight import figures

    # All is drawn before any of it is written: a report that fails leaves nothing.
    files = {**figures.draw(report), "index.html": draw(report).encode()}
    folder = run.path("report")
    for name, content in files.items():
        storage_of(folder).write(join(folder, name), content)
    return join(folder, "index.html")


def redraw(config: RunConfig, run_uri: str, progress: Progress) -> str:
    """Draw the report of a finished run again, from what it has left.

    Parameters
    ----------
    config : RunConfig
        How the stores are reached, and the memory that a sample may take.
    run_uri : str
        A run's folder, or an output, whose latest run is meant.
    progress : Progress

    Returns
    -------
    str
        Where the page is.

    Raises
    ------
    NothingToReadError
        There is no such run, or it did not finish.
    """
    admit({"run": canonical(run_uri)}, config, written={"run"})
    run = runs.find(run_uri)
    manifest = manifests.read(run).as_dict()
    source, seed = str(manifest["input"]["uri"]), manifest["config"].get("seed", config.seed)
    config = config.model_copy(update={"input": source, "output": run.output, "seed": seed})
    kept = partial(_unless_gone, progress=progress)
    with progress.stage("sample", "Sampling the run"):
        store = FeatureStore(run.output, manifest["features"]["fingerprint"], progress.warn)
        sampled = kept(lambda: sample.take(run, store, config), "what the report is drawn from")
        readable = kept(lambda: admit({"input": source}, config), "the photographs") is not None
    with progress.stage("report", "Drawing the report"):
        audited = kept(lambda: findings(run), "what the audit found")
        known = kept(lambda: classifier(run), "what is known of the classifier")
        last = before(run, manifest["config"]["name"])
        report = gather(run, manifest, sampled, audited, known, last, readable, kept)
        page = write(run, report)
    if lacking := _lacking(report, source):
        progress.warn(f"the page of run {run.run_id} has {lacking}")
    return page


def _lacking(report: Report, source: str) -> str | None:
    """Which pictures the page lacks, where more than half of the photographs are not where the run found them."""
    counts = report.counts
    looked_at = counts.wanted - counts.left_out
    if not looked_at or 2 * counts.read >= looked_at:
        return None
    how_many = "no pictures: none" if not counts.read else f"few pictures: only {counts.read:,}"
    return f"{how_many} of the {looked_at:,} photographs could be read; they were looked for in {source}"


def _unless_gone(read: Callable[[], T], what: str, progress: Progress) -> T | None:
    """What can be read, else None and a warning: the page says what it lacks."""
    try:
        return read()
    except (NothingToReadError, StoreError) as error:
        progress.warn(f"{what} cannot be read: {error.line}")
        return None


def before(run: Run, name: str) -> Run | None:
    """The finished run of this name before it, looked for among all of them."""
    for run_id, finished in reversed(list(runs.run_ids(run.output))):
        # An id is the time, the name and six digits.
        if finished and run_id < run.run_id and run_id.partition("-")[2].rpartition("-")[0] == name:
            return Run(run.output, run_id)
    return None
