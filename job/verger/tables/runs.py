"""The runs of an output: their ids and folders, and the pointers to the latest one that finished or failed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from verger.errors import NothingToReadError, StoreError
from verger.storage.base import Storage
from verger.storage.stores import Stores
from verger.storage.uri import canonical, join
from verger.tables.pointers import FailedRun, Pointer, moved, with_failure

_RUN_ID = re.compile(r"^\d{8}T\d{6}Z-.+-[0-9a-f]{6}$")


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its id and its folder. A folder without a manifest is of a run that is in progress or has failed.

    Attributes
    ----------
    output : str
        Canonical folder of all runs and the feature store.
    run_id : str
        UTC time, name and a random part: each attempt has its own.
    storage : Storage
        The store that holds the output.
    """

    output: str
    run_id: str
    storage: Storage = field(repr=False, compare=False)

    @property
    def folder(self) -> str:
        """The run's own folder."""
        return join(self.output, "runs", self.run_id)

    def path(self, *parts: str) -> str:
        """A path inside the run's folder.

        Parameters
        ----------
        *parts
            Names of folders and files.

        Returns
        -------
        str
            Canonical.
        """
        return join(self.folder, *parts)

    def relative(self, path: str) -> str:
        """A path relative to the output, as the manifest has it, so that an output can be moved.

        Parameters
        ----------
        path : str
            Canonical, below the output.

        Returns
        -------
        str
            Without a slash at the start.
        """
        return path.removeprefix(self.output.rstrip("/") + "/")


def new_run(storage: Storage, output: str, name: str, now: datetime) -> Run:
    """A run with a new id. Nothing is written.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder.
    name : str
        Of the series of runs.
    now : datetime
        With a time zone.

    Returns
    -------
    Run
        Its id is the time in UTC, the name, and six random hexadecimal digits.
    """
    return Run(output, f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{name}-{secrets.token_hex(3)}", storage)


def point_at(run: Run, started_at: str, *pointers: str) -> None:
    """Point files at a run, unless they point at one that started later.

    Parameters
    ----------
    run : Run
        It has a manifest.
    started_at : str
        ISO 8601 in UTC, as `verger.jsonable.timestamp` gives it.
    *pointers : str
        Canonical paths of the files.
    """
    pointer = Pointer(run_id=run.run_id, manifest=run.relative(run.path("manifest.json")), started_at=started_at)
    for path in pointers:
        run.storage.update(path, lambda present: moved(present, pointer))


def point_latest(run: Run, name: str, started_at: str) -> None:
    """Point latest.json and names/<name>.json at a run, unless they point at one that started later.

    Parameters
    ----------
    run : Run
        It has a manifest.
    name : str
        Of the series of runs.
    started_at : str
        As for `point_at`.
    """
    point_at(run, started_at, join(run.output, "latest.json"), _of_name(run.output, name))


def point_at_failure(run: Run, name: str, failed: FailedRun) -> None:
    """Let names/<name>.json tell of a failed run, unless a run of this name that started later finished or failed.

    The finished run that it points at stays. A run that starts later and finishes replaces both.

    Parameters
    ----------
    run : Run
        It has a failure.json.
    name : str
        Of the series of runs.
    failed : FailedRun
        What is told of it.
    """
    run.storage.update(_of_name(run.output, name), lambda present: with_failure(present, failed))


def _of_name(output: str, name: str) -> str:
    return join(output, "names", f"{name}.json")


def latest(storage: Storage, output: str, name: str | None = None) -> Run | None:
    """The latest finished run of an output, or of one series of its runs.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder.
    name : str, optional
        Of the series of runs; default: any series.

    Returns
    -------
    Run or None
        None where there is none yet, also where runs have failed.

    Raises
    ------
    StoreError
        The pointer is damaged.
    """
    pointer = _pointer(storage, _of_name(output, name) if name else join(output, "latest.json"))
    if pointer is None or pointer.run_id is None:
        return None
    return Run(output, pointer.run_id, storage)


def latest_failure(storage: Storage, output: str, name: str) -> FailedRun | None:
    """The failed run of a series that started last, if no run that started later has finished.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder.
    name : str
        Of the series of runs.

    Returns
    -------
    FailedRun or None
        As `point_at_failure` has written it; None also where that cannot be read.

    Raises
    ------
    StoreError
        The pointer is damaged.
    """
    pointer = _pointer(storage, _of_name(output, name))
    return pointer.failed if pointer else None


def _pointer(storage: Storage, path: str) -> Pointer | None:
    if not storage.exists(path):
        return None
    try:
        return Pointer.model_validate_json(storage.read(path))
    except ValueError:
        raise StoreError(f"{path} is not a pointer to a run", "Delete it: the next run writes it again") from None


def find(uri: str, stores: Stores) -> Run:
    """Find a run by its folder, or the latest run of an output.

    Parameters
    ----------
    uri : str
        Local path or URI of a run's folder or of an output.
    stores : Stores
        How the store of ``uri`` is reached.

    Returns
    -------
    Run
        The one of this folder, even if it has no manifest; else the latest finished one.

    Raises
    ------
    NothingToReadError
        It is neither, or the output has no finished run.
    UsageError
        The URI is not valid.
    StoreError
        The pointer to the latest run is damaged.
    """
    folder = canonical(uri)
    storage = stores.of(folder)
    parent, _, name = folder.rpartition("/")
    output, _, parent_name = parent.rpartition("/")
    if parent_name == "runs" and _RUN_ID.match(name):
        return Run(output, name, storage)
    run = latest(storage, folder)
    if run is None:
        raise NothingToReadError(f"{folder} is neither a run nor an output with a finished run", "Check --run")
    return run


def run_ids(storage: Storage, output: str) -> Iterator[tuple[str, bool]]:
    """List the runs of an output, oldest first.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder.

    Yields
    ------
    tuple of (str, bool)
        Run id, and whether the run has a manifest.
    """
    folder = join(output, "runs")
    if not storage.exists(folder):
        return
    found: dict[str, bool] = {}
    for entry in storage.list(folder):
        run_id, _, rest = entry.path.removeprefix(folder + "/").partition("/")
        if _RUN_ID.match(run_id):
            found[run_id] = found.get(run_id, False) or rest == "manifest.json"
    yield from sorted(found.items())
