"""tables/runs: which run is where, and pointers that only move forward."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

import verger
from tests.manifests import manifest_with, recorded
from verger.errors import NothingToReadError, StoreError
from verger.jsonable import timestamp
from verger.storage.local import LocalStorage
from verger.storage.stores import Stores
from verger.tables import manifest, runs
from verger.tables.manifest import Failure, Manifest
from verger.tables.pointers import FailedRun
from verger.tables.pruning import prune_runs
from verger.tables.runs import Run

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


# A failed run as no version writes it, in names/verger.json: the last but one would be the latest for ever.
UNREADABLE = ["yesterday", [], 7, {}, {"started_at": "9999-01-01T00:00:00Z"}, {"run_id": None, "exit_code": "six"}]


def finished(output: Path, minutes: float = 0, name: str = "verger") -> Run:
    started_at = NOON + timedelta(minutes=minutes)
    run = runs.new_run(LocalStorage(), str(output), name, started_at)
    document = manifest_with(run_id=run.run_id, started_at=timestamp(started_at))
    manifest.publish(run, Manifest.model_validate(document))
    runs.point_latest(run, name, timestamp(started_at))
    return run


def failed(output: Path, minutes: float = 0, name: str = "verger") -> Run:
    started_at = NOON + timedelta(minutes=minutes)
    run = runs.new_run(LocalStorage(), str(output), name, started_at)
    document = Failure.model_validate(recorded("failure-0.1.0") | {"started_at": timestamp(started_at)})
    manifest.record_failure(run, document)
    runs.point_at_failure(run, name, manifest.failed_run(run, document))
    return run


def named(output: Path, name: str = "verger") -> dict[str, Any]:
    document: dict[str, Any] = json.loads((output / "names" / f"{name}.json").read_text())
    return document


def failure(output: Path) -> FailedRun | None:
    return runs.latest_failure(LocalStorage(), str(output), "verger")


def latest(output: Path) -> Run | None:
    return runs.latest(LocalStorage(), str(output), "verger")


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


class TestFailures:
    def test_the_name_of_a_series_leads_to_the_failure_of_its_first_run(self, tmp_path: Path) -> None:
        died = failed(tmp_path)
        told = named(tmp_path)
        assert (told["run_id"], told["manifest"]) == (None, None)
        record = json.loads((tmp_path / told["failed"]["failure"]).read_text())
        assert told["failed"] == {
            "run_id": died.run_id,
            "failure": f"runs/{died.run_id}/failure.json",
            "started_at": timestamp(NOON),
            **{key: record[key] for key in ("finished_at", "exit_code", "message")},
        }
        assert latest(tmp_path) is None
        assert not (tmp_path / "latest.json").exists()
        with pytest.raises(NothingToReadError, match="an output with a finished run"):
            runs.find(str(tmp_path), Stores())

    def test_a_failure_leaves_the_latest_finished_run_in_its_place(self, tmp_path: Path) -> None:
        good = finished(tmp_path)
        before, newest = named(tmp_path), (tmp_path / "latest.json").read_bytes()
        died = failed(tmp_path, minutes=1)
        after = named(tmp_path)
        assert after.pop("failed")["run_id"] == died.run_id
        assert after == before
        assert (tmp_path / "latest.json").read_bytes() == newest
        assert latest(tmp_path) == runs.find(str(tmp_path), Stores()) == good

    def test_the_next_run_that_finishes_removes_the_failure(self, tmp_path: Path) -> None:
        failed(tmp_path)
        good = finished(tmp_path, minutes=1)
        assert latest(tmp_path) == good
        assert named(tmp_path).keys() == {"run_id", "manifest", "started_at"}

    def test_each_name_has_its_own_failure(self, tmp_path: Path) -> None:
        finished(tmp_path, 0, "apples")
        failed(tmp_path, 1, "pears")
        assert "failed" not in named(tmp_path, "apples")

    @pytest.mark.parametrize("order", [*permutations(range(4))])
    def test_runs_that_end_in_any_order_leave_the_same_file(self, tmp_path: Path, order: tuple[int, ...]) -> None:
        ends = [finished, failed, finished, failed]  # by the minute in which they started
        ended = {minute: ends[minute](tmp_path, minute) for minute in order}
        told = failure(tmp_path)
        assert latest(tmp_path) == ended[2]
        assert told is not None and told.run_id == ended[3].run_id

    @pytest.mark.parametrize("order", [*permutations(range(3))])
    def test_a_failure_that_is_told_late_does_not_cover_a_later_finished_run(
        self, tmp_path: Path, order: tuple[int, ...]
    ) -> None:
        ends = [failed, failed, finished]
        ended = {minute: ends[minute](tmp_path, minute) for minute in order}
        assert (latest(tmp_path), failure(tmp_path)) == (ended[2], None)

    def test_attempts_that_end_at_once_lose_nothing(self, tmp_path: Path) -> None:
        begin = threading.Barrier(8)

        def end(minute: int) -> None:
            begin.wait()
            (failed if minute % 2 else finished)(tmp_path, minute)

        threads = [threading.Thread(target=end, args=(minute,)) for minute in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = named(tmp_path)
        assert (told["started_at"], told["failed"]["started_at"]) == tuple(
            timestamp(NOON + timedelta(minutes=minute)) for minute in (6, 7)
        )

    @pytest.mark.parametrize("damaged", ["{", "[]", '"run"', "{}", '{"manifest": "runs/a/manifest.json"}'])
    def test_a_damaged_pointer_is_not_covered_by_a_failure(self, tmp_path: Path, damaged: str) -> None:
        path = tmp_path / "names" / "verger.json"
        path.parent.mkdir()
        path.write_text(damaged)
        failed(tmp_path)
        assert path.read_text() == damaged
        for read in (latest, failure):
            with pytest.raises(StoreError, match="names/verger.json is not a pointer to a run"):
                read(tmp_path)
        assert finished(tmp_path, minutes=-1) == latest(tmp_path)

    @pytest.mark.parametrize("damaged", UNREADABLE)
    def test_what_cannot_be_read_of_a_failure_hides_no_run_and_gives_way(self, tmp_path: Path, damaged: object) -> None:
        good = finished(tmp_path)
        self.damage(tmp_path, damaged)
        assert (latest(tmp_path), failure(tmp_path)) == (good, None)
        failed(tmp_path, minutes=1)
        told = failure(tmp_path)
        assert told is not None and told.exit_code == recorded("failure-0.1.0")["exit_code"]
        assert latest(tmp_path) == good

    @pytest.mark.parametrize("damaged", UNREADABLE)
    def test_the_next_run_that_finishes_removes_what_cannot_be_read(self, tmp_path: Path, damaged: object) -> None:
        failed(tmp_path)
        self.damage(tmp_path, damaged)
        assert (latest(tmp_path), failure(tmp_path)) == (None, None)
        good = finished(tmp_path, minutes=1)
        assert latest(tmp_path) == good
        assert "failed" not in named(tmp_path)

    @pytest.mark.parametrize("damaged", UNREADABLE)
    def test_prune_goes_on_where_a_failure_cannot_be_read(self, tmp_path: Path, damaged: object) -> None:
        old, good = finished(tmp_path), finished(tmp_path, minutes=1)
        self.damage(tmp_path, damaged)
        assert prune_runs(LocalStorage(), str(tmp_path), 1) == {"runs": 1, "unfinished": 0}
        assert list(runs.run_ids(LocalStorage(), str(tmp_path))) == [(good.run_id, True)]
        assert not Path(old.folder).exists()

    def damage(self, output: Path, damaged: object) -> None:
        (output / "names" / "verger.json").write_text(json.dumps(named(output) | {"failed": damaged}))

    def test_where_nothing_has_finished_nothing_is_read_and_nothing_pruned(self, tmp_path: Path) -> None:
        died = failed(tmp_path)
        for read in (verger.load, verger.scan, verger.load_features):
            with pytest.raises(NothingToReadError, match="an output with a finished run"):
                read(str(tmp_path))
        assert prune_runs(LocalStorage(), str(tmp_path), 0) == {"runs": 0, "unfinished": 0}
        assert [path.name for path in Path(died.folder).iterdir()] == ["failure.json"]

    def test_keys_of_a_newer_version_stay(self, tmp_path: Path) -> None:
        finished(tmp_path)
        path = tmp_path / "names" / "verger.json"
        path.write_text(json.dumps(named(tmp_path) | {"later": 1}))
        failed(tmp_path, minutes=1)
        assert named(tmp_path)["later"] == 1

    def test_version_0_1_0_reads_the_run_that_finished_and_replaces_a_file_without_one(self, tmp_path: Path) -> None:
        def started_at(pointer: dict[str, Any]) -> str:  # as 0.1.0 compares pointers
            try:
                return str(pointer["started_at"])
            except KeyError:
                return ""

        failed(tmp_path)
        assert named(tmp_path)["run_id"] is None  # there, so that its prune goes on
        assert started_at(named(tmp_path)) < timestamp(NOON)
        good = finished(tmp_path, minutes=1)
        failed(tmp_path, minutes=2)
        assert named(tmp_path)["run_id"] == good.run_id
        assert started_at(named(tmp_path)) == timestamp(NOON + timedelta(minutes=1))
