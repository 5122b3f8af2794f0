"""pipeline/recording: what a run that fails leaves, as far as it came."""

from __future__ import annotations

import errno
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from verger.config import RunConfig
from verger.errors import DoesNotFitError, InterruptedRunError, NothingToReadError, StoreError
from verger.photographs.difference import LOCATION
from verger.photographs.inventory import SCHEMA
from verger.pipeline.recording import Recorder
from verger.pipeline.values import Compared, Extracted, Job, Listed
from verger.progress import Progress
from verger.residency.guard import Residency
from verger.spool import Spool, spool
from verger.storage.stores import Stores
from verger.tables import manifest, runs
from verger.tables.changes import PENDING, Changes, Input
from verger.tables.rejections import PLACED
from verger.tables.runs import new_run
from verger.tables.schemas import REJECTED

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    config, stores = RunConfig(input=str(tmp_path / "in"), output=str(tmp_path / "out")), Stores()
    run = new_run(stores.of(config.output), config.output, config.name, NOW)
    return Job(run, config, stores, Progress(io.StringIO()), NOW, Residency([], {}, []))


def photographs(*paths: str) -> pa.Table:
    rows = [{"path": path, "label": "apple", "split": None, "version": "1", "size": 1} for path in paths]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def rejections(*paths: str) -> Spool:
    rows = [{"path": path, "version": "1", "reason": "empty", "message": "", "at": NOW} for path in paths]
    return spool(REJECTED, [pa.Table.from_pylist(rows, schema=REJECTED)])


def compared(job: Job) -> Compared:
    chosen = photographs("/in/a", "/in/b", "/in/c", "/in/d")
    spooled = spool(SCHEMA, [chosen])
    listed = Listed(Input("/in", spooled, spooled), {".txt": 2}, {"apple": 4})
    waiting = chosen.slice(2).append_column("new", pa.array([True, True]))
    empty = spool(LOCATION, [])
    changes = Changes(
        base=None,
        photographs=empty,
        pending=spool(PENDING, [waiting]),
        removed=empty,
        unused=empty,
        rejected=rejections("/in/b"),
        refused=spool(PLACED, []),
        new=2,
        new_rejected=0,
        added=0,
        gone=7,
        files={},
    )
    missing: Any = None
    return Compared(listed, missing, missing, changes)


def recorded(job: Job) -> dict[str, Any]:
    failure: dict[str, Any] = json.loads(Path(job.run.path("failure.json")).read_text())
    return failure


class TestCounts:
    def test_photographs_are_counted_stage_by_stage(self, job: Job) -> None:
        waiting = compared(job)
        assert waiting.listed.counts.as_dict() == {"listed": 4, "ignored": {".txt": 2}}
        found = {"known": 1, "computed": 0, "rejected": 1, "gone": 7}
        assert waiting.counts.as_dict() == {"listed": 4, "ignored": {".txt": 2}, **found}
        done = Extracted(waiting, computed=1, rejected=rejections("/in/b", "/in/d"))
        assert done.counts.as_dict() == {"listed": 4, "ignored": {".txt": 2}, **found, "computed": 1, "rejected": 2}
        assert (done.rows, done.rejected_by_reason) == (2, {"empty": 2})

    def test_values_are_frozen(self, job: Job) -> None:
        with pytest.raises(AttributeError):
            compared(job).store = None  # type: ignore[misc]


class TestFailures:
    def test_a_failure_is_recorded_with_what_was_counted(self, job: Job) -> None:
        recorder = Recorder(job)
        with pytest.raises(StoreError), recorder.failures():
            recorder.stage("compare", "", compared, job)
            raise StoreError("the store refuses", "Grant it")
        failure = recorded(job)
        assert (failure["exit_code"], failure["message"]) == (4, "the store refuses. Grant it.")
        assert failure["photographs"] == compared(job).counts.as_dict()
        assert failure["rejected_by_reason"] is None
        assert not job.stores.fail_fast.is_set()

    def test_reasons_are_recorded_once_photographs_were_extracted(self, job: Job) -> None:
        recorder = Recorder(job)
        with pytest.raises(StoreError), recorder.failures():
            recorder.count(Extracted(compared(job), 1, rejections("/in/b", "/in/d")))
            raise StoreError("no", "Yes")
        assert recorded(job)["rejected_by_reason"] == {"empty": 2}

    def test_a_failure_has_no_secrets(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SESSION_TOKEN", "Tn5Rb1Ly8Hd4Mf6Js2Gc")
        recorder = Recorder(job)
        with pytest.raises(KeyError), recorder.failures():
            raise KeyError("x-amz-security-token: Tn5Rb1Ly8Hd4Mf6Js2Gc")
        assert recorded(job)["message"] == "KeyError: 'x-amz-security-token: ***'"

    def test_an_interrupt_is_a_failure_that_says_how_to_go_on(self, job: Job) -> None:
        with pytest.raises(InterruptedRunError), Recorder(job).failures():
            raise KeyboardInterrupt
        assert recorded(job)["exit_code"] == 130

    def test_a_full_memory_is_told_in_a_line(self, job: Job) -> None:
        with pytest.raises(DoesNotFitError), Recorder(job).failures():
            raise MemoryError
        assert recorded(job)["exit_code"] == 8

    def test_a_defect_is_recorded_and_raised_as_it_is(self, job: Job) -> None:
        with pytest.raises(ZeroDivisionError), Recorder(job).failures():
            raise ZeroDivisionError("division by zero")
        failure = recorded(job)
        assert (failure["exit_code"], failure["message"]) == (1, "ZeroDivisionError: division by zero")

    def test_a_store_that_refuses_the_record_does_not_hide_the_failure(self, job: Job, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("a file in place of the folder")
        with pytest.raises(StoreError, match="first"), Recorder(job).failures():
            raise StoreError("first", "")

    def test_the_name_of_the_run_leads_to_the_failure(self, job: Job) -> None:
        with pytest.raises(StoreError), Recorder(job).failures():
            raise StoreError("the store refuses", "Grant it")
        told = runs.latest_failure(job.run.storage, job.run.output, job.config.name)
        assert told is not None and told.message == "the store refuses. Grant it."
        assert json.loads(Path(job.run.output, told.failure).read_text()) == recorded(job)

    def test_what_a_name_tells_has_no_secrets(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SESSION_TOKEN", "Tn5Rb1Ly8Hd4Mf6Js2Gc")
        with pytest.raises(KeyError), Recorder(job).failures():
            raise KeyError("x-amz-security-token: Tn5Rb1Ly8Hd4Mf6Js2Gc")
        told = Path(job.run.output, "names", f"{job.config.name}.json").read_text()
        assert "x-amz-security-token: ***" in told and "Tn5Rb1Ly8Hd4Mf6Js2Gc" not in told

    def test_a_name_that_cannot_be_written_hides_neither_the_failure_nor_its_record(self, job: Job) -> None:
        Path(job.run.output).mkdir()
        Path(job.run.output, "names").write_text("a file in place of the folder")
        with pytest.raises(StoreError, match="first"), Recorder(job).failures():
            raise StoreError("first", "")
        assert recorded(job)["message"] == "first."
        assert not job.stores.fail_fast.is_set()

    def test_what_was_not_begun_leaves_nothing(self, job: Job) -> None:
        recorder = Recorder(job)
        with pytest.raises(NothingToReadError), recorder.failures(NothingToReadError):
            raise NothingToReadError("no photograph", "Check --input")
        assert not Path(job.run.output).exists()
        with pytest.raises(StoreError), recorder.failures(NothingToReadError):
            raise StoreError("the store refuses", "Grant it")
        assert recorded(job)["exit_code"] == 4

    def test_a_name_leads_to_no_failure_that_is_not_there(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")  # not translated, as of no storage

        monkeypatch.setattr(manifest, "record_failure", full)
        with pytest.raises(StoreError, match="first"), Recorder(job).failures():
            raise StoreError("first", "")
        assert not Path(job.run.output, "names").exists()
        assert not job.stores.fail_fast.is_set()

    def test_a_stage_is_timed_also_where_it_fails(self, job: Job) -> None:
        def failing() -> None:
            raise StoreError("no", "Yes")

        with pytest.raises(StoreError):
            Recorder(job).stage("list", "", failing)
        assert "list" in job.progress.timings


def test_a_job_with_other_settings_keeps_all_else(job: Job) -> None:
    other = replace(job, config=job.config.model_copy(update={"batch_size": 4}))
    assert (other.run, other.config.batch_size) == (job.run, 4)
