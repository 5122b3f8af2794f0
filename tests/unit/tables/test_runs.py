"""tables/runs: which run is where, and pointers that only move forward."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.manifests import manifest_with, recorded
from verger.errors import NothingToReadError, StoreError
from verger.jsonable import timestamp
from verger.storage.local import LocalStorage
from verger.storage.stores import Stores
from verger.tables import manifest, runs
from verger.tables.manifest import Failure, Manifest
from verger.tables.runs import Run

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def finished(output: Path, minutes: float = 0, name: str = "verger") -> Run:
    started_at = NOON + timedelta(minutes=minutes)
    run = runs.new_run(LocalStorage(), str(output), name, started_at)
    document = manifest_with(run_id=run.run_id, started_at=timestamp(started_at))
    manifest.publish(run, Manifest.model_validate(document))
    runs.point_latest(run, name, timestamp(started_at))
    return run


def test_every_attempt_has_its_own_id() -> None:
    ids = {runs.new_run(LocalStorage(), "/out", "verger", NOON).run_id for _ in range(20)}
    assert len(ids) == 20
    assert all(run_id.startswith("20260102T120000Z-verger-") for run_id in ids)


def test_a_run_is_found_by_its_folder_or_its_output(tmp_path: Path) -> None:
    run = finished(tmp_path)
    assert runs.find(str(tmp_path), Stores()) == runs.find(run.folder, Stores()) == run
    assert manifest.read(run).run_id == run.run_id


def test_a_folder_that_is_neither_run_nor_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NothingToReadError, match="neither a run nor an output"):
        runs.find(str(tmp_path), Stores())


def test_an_older_run_that_ends_later_does_not_move_the_pointer(tmp_path: Path) -> None:
    newer = finished(tmp_path, minutes=5)
    finished(tmp_path, minutes=0)
    assert runs.latest(LocalStorage(), str(tmp_path)) == newer
    assert runs.latest(LocalStorage(), str(tmp_path), "verger") == newer


def test_each_name_has_its_own_pointer(tmp_path: Path) -> None:
    apples, pears = finished(tmp_path, 1, "apples"), finished(tmp_path, 2, "pears")
    assert runs.latest(LocalStorage(), str(tmp_path)) == pears
    assert runs.latest(LocalStorage(), str(tmp_path), "apples") == apples
    assert runs.latest(LocalStorage(), str(tmp_path), "plums") is None


def test_a_damaged_pointer_is_reported_and_replaced(tmp_path: Path) -> None:
    (tmp_path / "latest.json").write_text("{")
    with pytest.raises(StoreError, match="latest.json"):
        runs.latest(LocalStorage(), str(tmp_path))
    assert runs.latest(LocalStorage(), str(finished(tmp_path).output)) is not None


def test_finished_runs_have_a_manifest(tmp_path: Path) -> None:
    done = finished(tmp_path)
    died = runs.new_run(LocalStorage(), str(tmp_path), "verger", NOON + timedelta(minutes=1))
    manifest.record_failure(died, Failure.model_validate(recorded("failure-0.1.0")))
    assert list(runs.run_ids(LocalStorage(), str(tmp_path))) == [(done.run_id, True), (died.run_id, False)]
