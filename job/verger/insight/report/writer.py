"""Writing a run's report: the page, and pictures beside it; again from what a finished run has left."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from verger.config import ResultSettings
from verger.errors import NothingToReadError, StoreError
from verger.insight import sample
from verger.insight.report import html, png_charts
from verger.insight.report.content import Report, classifier, findings, gather
from verger.progress import Progress
from verger.residency.preflight import admit
from verger.storage.stores import Stores
from verger.storage.uri import canonical, join
from verger.tables import manifest as manifests
from verger.tables import runs
from verger.tables.runs import Run
from verger.tables.store import FeatureStore

T = TypeVar("T")


def write(run: Run, report: Report) -> str:
    """Draw a run's report into its folder.

    Returns
    -------
    str
        Where the page is.
    """
    # All is drawn before any of it is written: a report that fails leaves nothing.
    files = {**png_charts.draw(report), "index.html": html.draw(report).encode()}
    folder = run.path("report")
    for name, content in files.items():
        run.storage.write(join(folder, name), content)
    return join(folder, "index.html")


def redraw(config: ResultSettings, run_uri: str, progress: Progress) -> str:
    """Draw the report of a finished run again, from what it has left.

    Parameters
    ----------
    config : ResultSettings
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
    stores = Stores()
    admit(stores, {"run": canonical(run_uri)}, config, written={"run"})
    run = runs.find(run_uri, stores)
    manifest = manifests.read(run).as_dict()
    source, seed = str(manifest["input"]["uri"]), manifest["config"].get("seed", config.seed)
    config = config.model_copy(update={"seed": seed})
    kept = partial(_unless_gone, progress=progress)
    with progress.stage("sample", "Sampling the run"):
        store = FeatureStore(run.storage, run.output, manifest["features"]["fingerprint"], progress.warn)
        sampled = kept(lambda: sample.take(run, store, config, source), "what the report is drawn from")
        readable = kept(lambda: admit(stores, {"input": source}, config), "the photographs") is not None
    with progress.stage("report", "Drawing the report"):
        audited = kept(lambda: findings(run), "what the audit found")
        known = kept(lambda: classifier(run), "what is known of the classifier")
        last = before(run, manifest["config"]["name"])
        report = gather(run, manifest, sampled, audited, known, last, stores if readable else None, kept)
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
    for run_id, finished in reversed(list(runs.run_ids(run.storage, run.output))):
        # An id is the time, the name and six digits.
        if finished and run_id < run.run_id and run_id.partition("-")[2].rpartition("-")[0] == name:
            return Run(run.output, run_id, run.storage)
    return None
