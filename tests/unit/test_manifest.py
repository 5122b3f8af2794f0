"""tables/manifest: a run is trusted by its manifest, which is written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_runs import NOON, finished
from verger.errors import NothingToReadError, StoreError
from verger.storage.base import AlreadyPublishedError
from verger.tables import manifest, runs


def test_a_run_without_manifest_is_not_trusted(tmp_path: Path) -> None:
    with pytest.raises(NothingToReadError, match="no manifest"):
        manifest.read(runs.new_run(str(tmp_path), "verger", NOON))


def test_a_manifest_is_written_once(tmp_path: Path) -> None:
    run = finished(tmp_path)
    with pytest.raises(AlreadyPublishedError):
        manifest.publish(run, {})


def test_a_manifest_of_a_newer_verger_is_refused(tmp_path: Path) -> None:
    run = runs.new_run(str(tmp_path), "verger", NOON)
    manifest.publish(run, {"schema_version": 2})
    with pytest.raises(StoreError, match="newer verger"):
        manifest.read(run)
