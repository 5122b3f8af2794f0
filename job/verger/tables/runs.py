"""Which run is where: run ids and folders, the runs of an output, and the pointers to the last good one."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from verger.errors import NothingToReadError, StoreError
from verger.jsonable import dump
from verger.storage.base import Storage
from verger.storage.stores import Stores
from verger.storage.uri import canonical, join

_RUN_ID = re.compile(r"^\d{8}T\d{6}Z-.+-[0-9a-f]{6}$")


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt: where it writes. A run folder without a manifest is garbage.

    Attributes
    ----------
    output : str
        Canonical folder of all runs and the feature store.
    run_id : str
        UTC time, name and a random part: every attempt has its own.
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
        """A path inside the run's folder."""
        return join(self.folder, *parts)

    def relative(self, path: str) -> str:
        """``path`` as the manifest states it: below the output, so that an output can be moved."""
        return path.removeprefix(self.output.rstrip("/") + "/")


def new_run(storage: Storage, output: str, name: str, now: datetime) -> Run:
    """A run that has not written anything yet."""
    return Run(output, f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{name}-{secrets.token_hex(3)}", storage)


def point_latest(run: Run, name: str, started_at: str) -> None:
    """Point latest.json and names/<name>.json at the run, unless they point at one that started later."""
    pointer = {
        "run_id": run.run_id,
        "manifest": run.relative(run.path("manifest.json")),
        "started_at": started_at,
    }

    def forward(present: bytes | None) -> bytes | None:
        if present is not None and _started_at(present) >= pointer["started_at"]:
            return None
        return dump(pointer)

    for path in (join(run.output, "latest.json"), join(run.output, "names", f"{name}.json")):
        run.storage.update(path, forward)


def _started_at(pointer: bytes) -> str:
    try:
        return str(json.loads(pointer)["started_at"])
    except (ValueError, KeyError, TypeError):  # a pointer that nobody can follow is no pointer
        return ""


def latest(storage: Storage, output: str, name: str | None = None) -> Run | None:
    """The last good run of an output (of one name), or None where there is none yet.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder.
    name : str, optional
        Of a series of runs; default: of any.

    Raises
    ------
    StoreError
        The pointer is damaged.
    """
    path = join(output, "names", f"{name}.json") if name else join(output, "latest.json")
    if not storage.exists(path):
        return None
    try:
        return Run(output, str(json.loads(storage.read(path))["run_id"]), storage)
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{path} is no pointer to a run", "Delete it: the next run writes it anew") from None


def find(uri: str, stores: Stores) -> Run:
    """The run that ``uri`` names: a run's folder, or an output, whose latest run is meant.

    Parameters
    ----------
    uri : str
        Local path or URI.
    stores : Stores

    Raises
    ------
    NothingToReadError
        It is neither.
    """
    place = canonical(uri)
    storage = stores.of(place)
    above, _, last = place.rpartition("/")
    output, _, runs = above.rpartition("/")
    if runs == "runs" and _RUN_ID.match(last):
        return Run(output, last, storage)
    run = latest(storage, place)
    if run is None:
        raise NothingToReadError(f"{place} is neither a run nor an output with a finished run", "Check --run")
    return run


def run_ids(storage: Storage, output: str) -> Iterator[tuple[str, bool]]:
    """Every run folder of an output, oldest first, and whether it has a manifest.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder.
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
