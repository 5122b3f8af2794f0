"""The record of a run: manifest.json, or failure.json where the run failed."""

from __future__ import annotations

import json
import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from verger import __version__
from verger.config import RunConfig
from verger.errors import NothingToReadError, StoreError
from verger.jsonable import dump, timestamp
from verger.residency.guard import Residency
from verger.storage.stores import storage_of
from verger.storage.uri import join
from verger.tables.runs import Run

SCHEMA_VERSION = 1
_PACKAGES = {
    "spark": "pyspark",
    "tensorflow": "tensorflow-cpu",
    "pillow": "pillow",
    "numpy": "numpy",
    "pyarrow": "pyarrow",
    "scikit-learn": "scikit-learn",
}


def fitting(run: Run, document: dict[str, Any]) -> Run:
    """The run that fitted the PCA of a finished run, by its manifest: itself, or one that may be in another output."""
    fitted_by = str(document["pca"]["fitted_by"])
    folder = str(document["pca"].get("fitted_in", join(run.output, "runs", fitted_by)))
    return Run(folder.removesuffix(f"/runs/{fitted_by}"), fitted_by)


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


def publish(run: Run, manifest: dict[str, Any]) -> None:
    """Make a run one that readers trust. The last thing that is written into its folder."""
    storage_of(run.output).publish_once(run.path("manifest.json"), dump(manifest))


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
