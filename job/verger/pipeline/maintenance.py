"""Commands that look after what runs have left: prune and compact."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from verger.config import AccessSettings, CompactSettings, PruneSettings
from verger.errors import NothingToReadError
from verger.photographs import inventory
from verger.progress import Progress
from verger.residency.nodes import check_executors
from verger.residency.preflight import check_access, uris_by_role
from verger.spark.session import session
from verger.storage.stores import Stores
from verger.storage.uri import canonical
from verger.tables import compaction, manifest, runs
from verger.tables.pruning import Listing, prune_gone, prune_runs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def prune(config: PruneSettings, keep_runs: int | None, forget_gone: bool, progress: Progress) -> dict[str, int]:
    """Forget old runs, and what is stored of photographs that are gone or were replaced.

    Parameters
    ----------
    config : PruneSettings
        The output, how stores are reached, and where they may be.
    keep_runs : int, optional
        Finished runs to keep, the newest; those that a pointer names are always kept.
    forget_gone : bool
        Whether to list the latest run's input, and drop stored rows below it whose photograph is gone or has
        another version now.
    progress : Progress
        Told of the stages, of damaged files that are left as they are, and of each row that was dropped.

    Returns
    -------
    dict of str to int
        How many ``runs`` and ``unfinished`` runs were removed; and the counts of `verger.tables.pruning.prune_gone`.

    Raises
    ------
    NothingToReadError
        There is no such output, or no finished run that names an input.
    ResidencyError, StoreError, UsageError
        As `verger.residency.preflight.check_access`.
    """
    stores = Stores()
    output = _existing_output(stores, config.output, None, config)
    storage = stores.of(output)
    source, exclude = _latest_input(stores, output, config) if forget_gone else ("", ())
    removed = dict.fromkeys(("runs", "unfinished", "photographs", "versions", "rejections", "refused"), 0)
    if keep_runs is not None:
        with progress.stage("prune", "Removing old runs"):
            removed |= prune_runs(storage, output, keep_runs)
    if forget_gone:
        began = datetime.now(UTC)
        with progress.stage("list", "Listing photographs"):
            found = inventory.take(source, stores, exclude, enter_excluded=True)
        listing = Listing(source, found.photographs, began, found.excluded)
        with progress.stage("prune", "Forgetting photographs that are gone or were replaced"):
            removed |= prune_gone(storage, output, listing, progress.warn, progress.info)
    return removed


def compact(
    config: CompactSettings, spark: SparkSession | None = None, progress: Progress | None = None
) -> dict[str, int]:
    """Merge the small files of the feature store.

    Parameters
    ----------
    config : CompactSettings
        The output, how stores are reached and where they may be, and how Spark runs.
    spark, progress
        As in `verger.pipeline.run`.

    Returns
    -------
    dict of str to int
        As `verger.tables.compaction.compact` counts.

    Raises
    ------
    NothingToReadError
        There is no such output.
    StoreError
        The store refuses, or what was written does not hold all that it should; nothing was removed then.
    ResidencyError
        The output, the event log or an executor is outside the EU, or a region is unknown.
    UsageError
        There is no Java, or one that is too old; or Spark cannot write its event log to S3 and should.
    DoesNotFitError
        There is too little memory or disk space.
    """
    progress, stores = progress or Progress.of(config), Stores()
    output = _existing_output(stores, config.output, config.event_log, config)
    with ExitStack() as stack:
        if spark is None:
            with progress.stage("session", "Starting Spark"):
                spark = stack.enter_context(session(config, stores, output))
        with progress.stage("compact", "Merging files"):
            checked = partial(check_executors, spark.sparkContext, config)
            return compaction.compact(
                stores.of(output),
                output,
                spark,
                progress.warn,
                checked=checked,
                buckets=stores.buckets,
                scratch=config.local_dir,
            )


def _existing_output(stores: Stores, output: str, event_log: str | None, settings: AccessSettings) -> str:
    """The output of a command that works on what runs have left there; the stores have let us in."""
    asked = uris_by_role(output=output, event_log=event_log)
    check_access(stores, asked, settings, written={"output", "event log"})
    output = canonical(output)
    try:  # by listing it: rights to what is below the output need not hold for an object of the output's own name
        found = next(iter(stores.of(output).list(output)), None)
    except NothingToReadError:
        found = None
    if found is None:
        raise NothingToReadError(f"{output} does not exist or is empty", "Check --output")
    return output


def _latest_input(stores: Stores, output: str, settings: AccessSettings) -> tuple[str, tuple[str, ...]]:
    """The input of the latest run, which says what is gone, and what it excludes; its store has let us in."""
    last = runs.latest(stores.of(output), output)
    if last is None:
        raise NothingToReadError(f"{output} has no finished run", "The latest run's input says what is gone")
    document = manifest.read(last)
    check_access(stores, {"input": document.input.uri}, settings)
    return document.input.uri, tuple(document.config.get("exclude") or ())
