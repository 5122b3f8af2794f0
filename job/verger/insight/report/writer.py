"""Writing a run's report, the page and PNGs beside it: at the end of the run, or again from what it has left."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from verger.config import ResultSettings
from verger.errors import NothingToReadError, StoreError
from verger.insight.report import html, png_charts
from verger.insight.report.content import Report, gather, read_audit, read_classifier
from verger.insight.sample import draw_sample
from verger.progress import Progress
from verger.residency.preflight import check_access
from verger.storage.stores import Stores
from verger.storage.uri import canonical, join
from verger.tables import manifest as manifests
from verger.tables import runs
from verger.tables.runs import Run
from verger.tables.store import FeatureStore

T = TypeVar("T")


def write(run: Run, report: Report) -> str:
    """Draw a report and write it into the run's folder.

    Parameters
    ----------
    run : Run
        Files of an earlier report in its folder are replaced.
    report : Report
        What is drawn.

    Returns
    -------
    str
        Canonical URI of the page.
    """
    # Everything is drawn before anything is written, so that a report that cannot be drawn leaves no files.
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
        Told of the stages, and of what cannot be read.

    Returns
    -------
    str
        Canonical URI of the page.

    Raises
    ------
    NothingToReadError
        There is no such run, or it did not finish.
    """
    stores = Stores()
    check_access(stores, {"run": canonical(run_uri)}, config, written={"run"})
    run, manifest = manifests.read_standing(runs.find(run_uri, stores))
    source, seed = manifest.input.uri, manifest.config.get("seed", config.seed)
    config = config.model_copy(update={"seed": seed})
    try_read = partial(_warn_if_unreadable, progress=progress)
    with progress.stage("sample", "Sampling the run"):
        store = FeatureStore(run.storage, run.output, manifest.features.fingerprint, progress.warn)
        sample = try_read(lambda: draw_sample(run, store, config, source), "what the report is drawn from")
        readable = try_read(lambda: check_access(stores, {"input": source}, config), "the photographs") is not None
    with progress.stage("report", "Drawing the report"):
        audit = try_read(lambda: read_audit(run), "what the audit found")
        classifier = try_read(lambda: read_classifier(run), "what is known of the classifier")
        previous = previous_run(run, manifest.config["name"])
        report = gather(run, manifest, sample, audit, classifier, previous, stores if readable else None, try_read)
        page = write(run, report)
    if missing := _missing_thumbnails(report, source):
        progress.warn(f"the page of run {run.run_id} has {missing}")
    return page


def _missing_thumbnails(report: Report, source: str) -> str | None:
    """What to warn of where more than half of the photographs are not where the run found them."""
    counts = report.thumbnail_counts
    tried = counts.wanted - counts.left_out
    if not tried or 2 * counts.read >= tried:
        return None
    how_many = "no pictures: none" if not counts.read else f"few pictures: only {counts.read:,}"
    return f"{how_many} of the {tried:,} photographs could be read; they were looked for in {source}"


def _warn_if_unreadable(read: Callable[[], T], what: str, progress: Progress) -> T | None:
    try:
        return read()
    except (NothingToReadError, StoreError) as error:
        progress.warn(f"{what} cannot be read: {error.line}")
        return None


def previous_run(run: Run, name: str) -> Run | None:
    """The finished run of a name before another run, by its id.

    Parameters
    ----------
    run : Run
        The other run.
    name : str
        As ``--name`` gave it.
    """
    for run_id, finished in reversed(list(runs.run_ids(run.storage, run.output))):
        # An id is the time, the name and six digits.
        if finished and run_id < run.run_id and run_id.partition("-")[2].rpartition("-")[0] == name:
            return Run(run.output, run_id, run.storage)
    return None
