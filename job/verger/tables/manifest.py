"""The record of a run: its id, manifest.json, failure.json, and the pointers to the last good run."""

from __future__ import annotations

import json
import math
import platform
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from verger import __version__
from verger.config import RunConfig
from verger.errors import NothingToReadError, StoreError
from verger.residency.guard import Residency
from verger.storage.stores import storage_of
from verger.storage.uri import canonical, join

SCHEMA_VERSION = 1
_PACKAGES = {
    "spark": "pyspark",
    "tensorflow": "tensorflow-cpu",
    "pillow": "pillow",
    "numpy": "numpy",
    "pyarrow": "pyarrow",
    "scikit-learn": "scikit-learn",
}
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
    """

    output: str
    run_id: str

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


def new_run(output: str, name: str, now: datetime) -> Run:
    """A run that has not written anything yet."""
    return Run(output, f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{name}-{secrets.token_hex(3)}")


def fitting(run: Run, document: dict[str, Any]) -> Run:
    """The run that fitted the PCA of a finished run, by its manifest: itself, or one that may be in another output."""
    fitted_by = str(document["pca"]["fitted_by"])
    folder = str(document["pca"].get("fitted_in", join(run.output, "runs", fitted_by)))
    return Run(folder.removesuffix(f"/runs/{fitted_by}"), fitted_by)


def timestamp(when: datetime) -> str:
    """ISO 8601 in UTC, with microseconds, so that text order is time order."""
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def opening(
    run: Run, config: RunConfig, residency: Residency, started_at: datetime, finished_at: datetime
) -> dict[str, Any]:
    """How a manifest and a failure begin: what ran, when, with which settings, from where to where."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run.run_id,
        "verger_version": __version__,
        "started_at": timestamp(started_at),
        "finished_at": timestamp(finished_at),
        "config": config.model_dump(mode="json"),
        "input": {"uri": config.input, "region": residency.region(config.input)},
        "output": {"uri": config.output, "region": residency.region(config.output)},
    }


def closing(residency: Residency, warnings: list[str]) -> dict[str, Any]:
    """How a manifest ends: where the data stood, what software ran, what was warned of."""
    return {
        "residency": residency.as_dict(),
        "environment": environment(),
        "warnings": warnings,
    }


def environment() -> dict[str, str | None]:
    """Versions of what features and components depend on; None for what is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name, package in _PACKAGES.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = None
    return found


def dump(document: dict[str, Any]) -> bytes:
    """JSON as other programs expect it: no NaN, keys as they were put."""
    return (json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def publish(run: Run, manifest: dict[str, Any]) -> None:
    """Make a run one that readers trust. The last thing that is written into its folder."""
    storage_of(run.output).publish_once(run.path("manifest.json"), dump(manifest))


def point_latest(run: Run, name: str, manifest: dict[str, Any]) -> None:
    """Point latest.json and names/<name>.json at the run, unless they point at one that started later."""
    pointer = {
        "run_id": run.run_id,
        "manifest": run.relative(run.path("manifest.json")),
        "started_at": manifest["started_at"],
    }

    def forward(present: bytes | None) -> bytes | None:
        if present is not None and _started_at(present) >= pointer["started_at"]:
            return None
        return dump(pointer)

    for path in (join(run.output, "latest.json"), join(run.output, "names", f"{name}.json")):
        storage_of(run.output).update(path, forward)


def _started_at(pointer: bytes) -> str:
    try:
        return str(json.loads(pointer)["started_at"])
    except (ValueError, KeyError, TypeError):  # a pointer that nobody can follow is no pointer
        return ""


def record_failure(run: Run, failure: dict[str, Any]) -> None:
    """Leave failure.json where a manifest would have been."""
    storage_of(run.output).write(run.path("failure.json"), dump(failure))


def read(run: Run) -> dict[str, Any]:
    """The manifest of a run.

    Raises
    ------
    NothingToReadError
        The run has none: it is running, or died.
    """
    storage, path = storage_of(run.output), run.path("manifest.json")
    if not storage.exists(path):
        raise NothingToReadError(f"{run.folder} has no manifest.json: it is running or it failed", "Choose another run")
    return _parse(storage.read(path), path)


def _parse(data: bytes, path: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
        if document["schema_version"] > SCHEMA_VERSION:
            raise StoreError(f"{path} was written by a newer verger", "Upgrade verger")
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{path} is no manifest of verger", "Choose another run, or move the file away") from None
    return dict(document)


def latest(output: str, name: str | None = None) -> Run | None:
    """The last good run of an output (of one name), or None where there is none yet."""
    output = canonical(output)
    storage = storage_of(output)
    path = join(output, "names", f"{name}.json") if name else join(output, "latest.json")
    if not storage.exists(path):
        return None
    try:
        return Run(output, str(json.loads(storage.read(path))["run_id"]))
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{path} is no pointer to a run", "Delete it: the next run writes it anew") from None


def find(uri: str) -> Run:
    """The run that ``uri`` names: a run's folder, or an output, whose latest run is meant.

    Raises
    ------
    NothingToReadError
        It is neither.
    """
    place = canonical(uri)
    above, _, last = place.rpartition("/")
    output, _, runs = above.rpartition("/")
    if runs == "runs" and _RUN_ID.match(last):
        return Run(output, last)
    run = latest(place)
    if run is None:
        raise NothingToReadError(f"{place} is neither a run nor an output with a finished run", "Check --run")
    return run


def run_ids(output: str) -> Iterator[tuple[str, bool]]:
    """Every run folder of an output, oldest first, and whether it has a manifest."""
    storage, folder = storage_of(output), join(canonical(output), "runs")
    if not storage.exists(folder):
        return
    found: dict[str, bool] = {}
    for entry in storage.list(folder):
        run_id, _, rest = entry.path.removeprefix(folder + "/").partition("/")
        if _RUN_ID.match(run_id):
            found[run_id] = found.get(run_id, False) or rest == "manifest.json"
    yield from sorted(found.items())
