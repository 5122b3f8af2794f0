"""tables/store and pruning: a union of files without duplicates."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.manifests import recorded
from tests.spools import spool_of
from tests.unit.tables.test_runs import failed, finished
from verger.errors import NothingToReadError, StoreError
from verger.spool import Spool
from verger.storage.base import Entry, Storage
from verger.storage.local import LocalStorage
from verger.tables import manifest, pruning, runs
from verger.tables.file_errors import vanished
from verger.tables.pruning import CLOCK_SKEW, Listing, prune_gone, prune_runs
from verger.tables.reader import load
from verger.tables.rejections import read_refused, read_remembered, split_by_decoders
from verger.tables.rows import anti_join, deduplicate, is_gone, semi_join
from verger.tables.schemas import FEATURES, PROJECTION, REJECTED
from verger.tables.store import FeatureStore, parquet_files

FINGERPRINT = "pixels-20-f32-000000000000"


NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def rows(*keys: tuple[str, str], at: datetime | None = None) -> pa.Table:
    features = {"features": [1.0, 2.0], "size": 3, "extracted_at": at}
    return pa.Table.from_pylist(
        [{"path": path, "version": version} | features for path, version in keys], schema=FEATURES
    )


def put(output: Path, file: str, *keys: tuple[str, str], at: datetime | None = None) -> Path:
    path = output / "features" / FINGERPRINT / file
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows(*keys, at=at), path)
    return path


def held(store: FeatureStore) -> pa.Table:
    """The rejections that a run with these decoders does not try again."""
    return split_by_decoders(read_remembered(store).to_table(), store.decoders)[0]


def pruned(output: Path, present: Spool, warn: Any = pytest.fail, unseen: Any = (), tell: Any = list) -> dict[str, int]:
    """What was forgotten, but for what was not: the photographs of /in were listed at noon."""
    listing = Listing("/in", present, NOON, unseen)
    return {
        what: count for what, count in prune_gone(LocalStorage(), str(output), listing, warn, tell).items() if count
    }


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(LocalStorage(), str(tmp_path), FINGERPRINT)


def test_an_empty_store_has_no_known_photographs(store: FeatureStore) -> None:
    assert store.known().num_rows == held(store).num_rows == 0
    assert store.known().column_names == ["path", "version", "file", "row"]


def test_the_last_file_by_name_wins(store: FeatureStore, tmp_path: Path) -> None:
    first = put(tmp_path, "20260101T000000Z-run-000000-00000/part-1.parquet", ("/p", "1"), ("/q", "1"))
    second = put(tmp_path, "compacted-20250101T000000Z-000000/part-0.parquet", ("/p", "1"), ("/p", "2"))
    known = store.known()
    assert known.to_pylist() == [
        {"path": "/p", "version": "1", "file": str(second), "row": 0},
        {"path": "/p", "version": "2", "file": str(second), "row": 1},
        {"path": "/q", "version": "1", "file": str(first), "row": 1},
    ]


@pytest.mark.parametrize("file", ["run-00000/_temporary/0/part.parquet", "run-00000/.part.parquet", "_x/part.parquet"])
def test_files_in_progress_are_not_read(store: FeatureStore, tmp_path: Path, file: str) -> None:
    put(tmp_path, file, ("/p", "1"))
    assert store.known().num_rows == 0


def test_an_output_below_a_hidden_folder_is_read(tmp_path: Path) -> None:
    put(tmp_path / ".cache" / "_out", "run-00000/part.parquet", ("/p", "1"))
    assert FeatureStore(LocalStorage(), str(tmp_path / ".cache" / "_out"), FINGERPRINT).known().num_rows == 1


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:4] + bytes(60) + data[64:]])
def test_a_damaged_file_is_left_out_with_a_warning(tmp_path: Path, damage) -> None:
    put(tmp_path, "run-00000/part-0.parquet", ("/p", "1"))
    damaged = put(tmp_path, "run-00001/part-0.parquet", ("/q", "1"))
    damaged.write_bytes(damage(damaged.read_bytes()))
    warnings: list[str] = []
    store = FeatureStore(LocalStorage(), str(tmp_path), FINGERPRINT, warnings.append)
    assert store.known()["path"].to_pylist() == ["/p"]
    assert len(warnings) == 1
    assert str(damaged) in warnings[0]


def vanishing(monkeypatch: pytest.MonkeyPatch, *ghosts: Path) -> None:
    """Each of the next listings names one file more, which is gone when it is read."""
    left = list(ghosts)

    def listed(storage: Storage, folder: str) -> list[Entry]:
        entries = list(parquet_files(storage, folder))
        return [*entries, Entry(str(left.pop(0)), 1, "1")] if left else entries

    monkeypatch.setattr("verger.tables.store.parquet_files", listed)


def test_a_deleted_file_makes_the_store_list_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "run-00000/part-0.parquet", ("/p", "1"))
    store = FeatureStore(LocalStorage(), str(tmp_path), FINGERPRINT, pytest.fail)
    vanishing(monkeypatch, tmp_path / "ghost.parquet")
    assert store.known()["path"].to_pylist() == ["/p"]
    vanishing(monkeypatch, tmp_path / "ghost.parquet", tmp_path / "another.parquet")
    with pytest.raises(StoreError, match=f"files in {store.folder} vanish while they are read"):
        store.known()


def test_a_system_error_is_not_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    file = put(tmp_path, "run-00000/part-0.parquet", ("/p", "1"))
    monkeypatch.setattr("verger.tables.store.pq.ParquetFile", refused)
    with pytest.raises(StoreError, match=f"{file} cannot be read: .*Permission denied"):
        FeatureStore(LocalStorage(), str(tmp_path), FINGERPRINT, pytest.fail).known()


def test_a_folder_deleted_during_the_listing_is_listed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = put(tmp_path, "run-00000/part-0.parquet", ("/p", "1")).parent
    put(tmp_path, "run-00001/part-0.parquet", ("/p", "1"))
    scandir = os.scandir

    def scanned(folder: bytes | int) -> Any:
        if folder == os.fsencode(gone) and gone.exists():
            shutil.rmtree(gone)
        return scandir(folder)

    monkeypatch.setattr("os.scandir", scanned)
    assert FeatureStore(LocalStorage(), str(tmp_path), FINGERPRINT, pytest.fail).known().num_rows == 1
    assert not gone.exists()


def test_load_lists_again_after_a_file_was_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished(tmp_path, 0)
    part = Path(run.path("projection", "part-0.zstd.parquet"))
    part.parent.mkdir()
    pq.write_table(pa.Table.from_pylist([{"path": "/p", "pca_features": [1.0]}], schema=PROJECTION), part)
    listed = iter([[Entry(str(tmp_path / "ghost.parquet"), 1, "1")], [Entry(str(part), 1, "1")]])
    monkeypatch.setattr("verger.tables.reader.parquet_files", lambda *_: next(listed))
    assert load(str(tmp_path))["path"].to_pylist() == ["/p"]


@pytest.mark.parametrize(
    ("error", "is_vanished"),
    [
        (FileNotFoundError("part-0.parquet"), True),
        (Exception("PythonException: Traceback: FileNotFoundError: the stored file /out/a.parquet is gone"), True),
        (Exception("[FAILED_READ_FILE.NO_HINT] Encountered error while reading file file:///a"), False),
        (
            Exception("java.io.FileNotFoundException: /local/blockmgr-1/0c/shuffle_0_1_0.data (Permission denied)"),
            False,
        ),
        (NothingToReadError("/a has no manifest.json"), False),
        (StoreError("files in /a vanish while they are read"), False),
    ],
)
def test_errors_for_a_deleted_file_are_recognised(error: Exception, is_vanished: bool) -> None:
    assert vanished(error) is is_vanished


def test_rejections_are_remembered_once(store: FeatureStore) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    row = {"path": "/p", "version": "1", "reason": "empty", "message": "0 bytes", "at": at, "label": None}
    store.remember_rejected("run-a", "00000", pa.Table.from_pylist([row], schema=REJECTED))
    latest = row | {"at": at + timedelta(1)}
    store.remember_rejected("run-b", "00000", pa.Table.from_pylist([latest], schema=REJECTED))
    store.remember_rejected("run-c", "00000", REJECTED.empty_table())
    assert held(store).to_pylist() == [latest]


def test_what_other_decoders_rejected_is_tried_again(store: FeatureStore, tmp_path: Path) -> None:
    """A later version, or one more package, may read it; a file from before November 2026 has no such column."""
    row = {"path": "/p", "version": "1", "reason": "truncated", "at": datetime(2026, 1, 1, tzinfo=UTC)}
    table = pa.Table.from_pylist([row], schema=REJECTED)
    old = tmp_path / "rejects" / FINGERPRINT / "run-a-00000"
    old.mkdir(parents=True)
    pq.write_table(table, old / "part-00000.zstd.parquet")
    assert held(store).num_rows == 0
    two, three = (
        FeatureStore(LocalStorage(), str(tmp_path), FINGERPRINT, pytest.fail, decoders) for decoders in ("2", "3")
    )
    two.remember_rejected("run-b", "00000", table)
    assert (held(two).num_rows, held(three).num_rows) == (1, 0)
    three.remember_rejected("run-c", "00000", table)
    assert (held(two).num_rows, held(three).num_rows) == (1, 1)
    assert held(three).schema == REJECTED


def test_refused_photographs_are_kept_until_a_run_accepts_all_of_them(store: FeatureStore, tmp_path: Path) -> None:
    assert read_refused(store).to_table().num_rows == 0
    store.remember_refused("run-a", [rows(("/p", "1"), ("/q", "1"))])
    store.remember_refused("run-b", [rows(("/p", "1"), ("/r", "2"))])
    store.remember_refused("run-c", [rows()])
    first, second = (str(tmp_path / "refused" / FINGERPRINT / f"run-{run}.zstd.parquet") for run in "ab")
    assert read_refused(store).to_table().to_pylist() == [
        {"path": "/p", "version": "1", "file": first},
        {"path": "/p", "version": "1", "file": second},
        {"path": "/q", "version": "1", "file": first},
        {"path": "/r", "version": "2", "file": second},
    ]
    store.forget_refused([first])
    assert set(read_refused(store).to_table()["file"].to_pylist()) == {second}
    store.forget_refused([first, second])  # the first is gone already
    assert read_refused(store).num_rows == held(store).num_rows == 0


def test_joins_compare_path_and_version() -> None:
    left = rows(("/p", "1"), ("/q", "1"), ("/r", "1"))
    right = rows(("/q", "1"), ("/p", "2"))
    assert anti_join(left, right)["path"].to_pylist() == ["/p", "/r"]
    assert semi_join(left, right)["path"].to_pylist() == ["/q"]
    assert anti_join(left, right.slice(0, 0)).num_rows == 3


def test_deduplicate_with_one_row_or_none() -> None:
    table = rows(("/p", "1")).append_column("file", pa.array(["f"]))
    assert deduplicate(table, "file").num_rows == 1
    assert deduplicate(table.slice(0, 0), "file").num_rows == 0


def test_prune_deletes_rows_of_photographs_that_are_gone(store: FeatureStore, tmp_path: Path) -> None:
    mixed = put(tmp_path, "run-00000/part-0.zstd.parquet", ("/in/p", "2"), ("/in/q", "1"), ("/elsewhere/r", "1"))
    gone = put(tmp_path, "run-00001/part-0.zstd.parquet", ("/in/q", "2"))
    kept = put(tmp_path, "run-00002/part-0.zstd.parquet", ("/in/s", "2"))
    before = kept.stat().st_mtime_ns
    present, told = spool_of("/in/p", "/in/s", version="2"), list[str]()
    assert pruned(tmp_path, present, tell=told.append) == {"photographs": 2}
    assert told == [f"deleted from features: /in/q in version {version}, which is gone" for version in "12"]
    assert not mixed.exists()
    assert not gone.exists()
    assert kept.stat().st_mtime_ns == before
    known = store.known()
    assert known.select(["path", "version"]).to_pylist() == [
        {"path": "/elsewhere/r", "version": "1"},
        {"path": "/in/p", "version": "2"},
        {"path": "/in/s", "version": "2"},
    ]
    rewritten = pq.read_table(known["file"][0].as_py())
    assert rewritten["features"].to_pylist() == [[1.0, 2.0], [1.0, 2.0]]
    assert pruned(tmp_path, present) == {}


def test_prune_deletes_versions_that_were_replaced_and_no_younger_ones(store: FeatureStore, tmp_path: Path) -> None:
    early, late = NOON - CLOCK_SKEW, NOON - CLOCK_SKEW + timedelta(microseconds=1)
    old = put(tmp_path, "run-00000/part-0.parquet", ("/in/p", "1"), ("/in/p", "2"), ("/elsewhere/p", "1"), at=early)
    put(tmp_path, "run-00001/part-0.parquet", ("/in/p", "2"), ("/in/p", "3"), at=late)  # 3 may be newer than 2
    put(tmp_path, "run-00002/part-0.parquet", ("/in/locked/p", "1"), ("/in/gone", "1"), at=NOON + timedelta(hours=9))
    present = spool_of("/in/p", "/in/q", version="2")
    told, warnings = list[str](), list[str]()
    found = pruned(tmp_path, present, warnings.append, ["/in/locked"], told.append)
    assert found == {"photographs": 1, "versions": 1}
    assert told == [
        "deleted from features: /in/p in version 1, which was replaced",
        "deleted from features: /in/gone in version 1, which is gone",
    ]
    (warning,) = warnings
    assert warning.startswith("1 stored rows of replaced photographs stay")
    assert not old.exists()
    keys = [(row["path"], row["version"]) for row in store.known().to_pylist()]
    assert keys == [("/elsewhere/p", "1"), ("/in/locked/p", "1"), ("/in/p", "2"), ("/in/p", "3")]


def test_prune_deletes_rejections_and_refusals_of_versions_that_were_replaced(
    store: FeatureStore, tmp_path: Path
) -> None:
    keys = [("/in/p", "1"), ("/in/p", "2"), ("/in/p", "3"), ("/in/q", "1")]
    made = dict(zip(keys, (NOON - timedelta(days=1),) * 2 + (NOON,) * 2, strict=True))
    rejected = [{"path": path, "version": version, "reason": "empty", "at": at} for (path, version), at in made.items()]
    store.remember_rejected("run-a", "00000", pa.Table.from_pylist(rejected, schema=REJECTED))
    store.remember_refused("20261119T000000Z-old-000000", [rows(*keys[:2])])
    store.remember_refused("20261120T113000Z-new-000000", [rows(*keys[:2])])
    told, warnings = list[str](), list[str]()
    assert pruned(tmp_path, spool_of("/in/p", version="2"), warnings.append, tell=told.append) == {
        "rejections": 2,
        "refused": 1,
    }
    assert told == [
        "deleted from rejects: /in/p in version 1, which was replaced",
        "deleted from rejects: /in/q in version 1, which is gone",
        "deleted from refused: /in/p in version 1, which was replaced",
    ]
    assert len(warnings) == 1 and warnings[0].startswith("2 stored rows")
    assert held(store).select(["path", "version"]).to_pylist() == [
        {"path": "/in/p", "version": "2"},
        {"path": "/in/p", "version": "3"},
    ]
    assert [row["version"] for row in read_refused(store).to_table().to_pylist()] == ["1", "2", "2"]


@pytest.mark.parametrize(("rows", "times"), [(1, 12), (5, 4), (1000, 1)])
def test_prune_reads_the_photographs_once_for_many_files(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, times: int
) -> None:
    monkeypatch.setattr(pruning, "_GROUP_ROWS", rows)
    for number in range(12):
        put(tmp_path, f"run-{number:05}/part-0.zstd.parquet", (f"/in/{number:02}", "1"), ("/in/gone", str(number)))
    damaged = put(tmp_path, "run-00005/part-1.zstd.parquet", ("/in/gone", "x"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    present, passes, warnings = spool_of(*(f"/in/{number:02}" for number in range(0, 12, 2))), [], []
    counted = Spool.batches
    monkeypatch.setattr(Spool, "batches", lambda *both: passes.append(1) or counted(*both))
    assert pruned(tmp_path, present, warnings.append) == {"photographs": 18}
    assert len(passes) == times
    (warning,) = warnings
    assert "run-00005/part-1.zstd.parquet is damaged and left as it is" in warning
    damaged.unlink()
    assert store.known()["path"].to_pylist() == [f"/in/{number:02}" for number in range(0, 12, 2)]


def test_what_was_not_listed_is_not_gone(store: FeatureStore, tmp_path: Path) -> None:
    keys = ("/in/p", "1"), ("/in/q", "1"), ("/in/locked/r", "1"), ("/in/locked too/s", "1")
    put(tmp_path, "run-00000/part-0.zstd.parquet", *keys)
    present, unseen = spool_of("/in/p"), ["/in/locked"]
    paths = present.to_table()["path"]
    known = store.known()["path"]
    assert known.filter(is_gone(known, "/in", paths)).to_pylist() == ["/in/locked too/s", "/in/locked/r", "/in/q"]
    assert known.filter(is_gone(known, "/in", paths, unseen)).to_pylist() == ["/in/locked too/s", "/in/q"]
    assert pruned(tmp_path, present, unseen=unseen) == {"photographs": 2}
    assert store.known()["path"].to_pylist() == ["/in/locked/r", "/in/p"]


def test_prune_deletes_refused_photographs_that_are_gone(store: FeatureStore, tmp_path: Path) -> None:
    store.remember_refused("run-a", [rows(("/in/p", "1"), ("/in/q", "1"))])
    store.remember_refused("run-b", [rows(("/in/q", "1"))])
    assert pruned(tmp_path, spool_of("/in/p")) == {"refused": 2}  # of two runs
    assert read_refused(store).to_table().select(["path", "version"]).to_pylist() == [{"path": "/in/p", "version": "1"}]


@pytest.mark.parametrize("turn", range(8))  # the order of two ids of one second is by chance
def test_of_runs_that_started_in_one_second_prune_keeps_the_latest(tmp_path: Path, turn: int) -> None:
    finished(tmp_path)
    newest = finished(tmp_path, 1 / 600_000)  # minutes
    assert prune_runs(LocalStorage(), str(tmp_path), 1)["runs"] == 1
    assert [run_id for run_id, _ in runs.run_ids(LocalStorage(), str(tmp_path))] == [newest.run_id]


def test_prune_keeps_the_newest_runs_and_those_of_pointers(tmp_path: Path) -> None:
    failure = manifest.Failure.model_validate(recorded("failure-0.1.0"))
    named = finished(tmp_path, 0, "apples")
    old, new = finished(tmp_path, 1), finished(tmp_path, 2)
    died = runs.new_run(LocalStorage(), str(tmp_path), "verger", datetime(2026, 1, 1, tzinfo=UTC))
    manifest.record_failure(died, failure)
    running = runs.new_run(LocalStorage(), str(tmp_path), "verger", datetime.now(UTC))
    manifest.record_failure(running, failure)
    killed = put(tmp_path, f"{died.run_id}-00000/_temporary/0/part-0.parquet", ("/p", "1"))
    writing = put(tmp_path, f"{running.run_id}-00000/_temporary/0/part-0.parquet", ("/p", "1"))
    magic = put(tmp_path, f"{died.run_id}-00001/__magic_job-0a/tasks/part-0.parquet", ("/p", "1"))
    compacting = put(tmp_path, "compacted-20260101T000000Z-0a0a0a/_temporary/0/part-0.parquet", ("/p", "1"))
    copying = put(tmp_path, "wave=compacted-20260101T000000Z-0c0c0c/.part-00000.zstd.parquet.0a1b2c3d", ("/p", "1"))
    committed = [
        put(tmp_path, f"{died.run_id}-00000/part-1.parquet", ("/q", "1")),
        put(tmp_path, "compacted-20260101T000000Z-0b0b0b/part-2.parquet", ("/q", "1")),
    ]
    assert prune_runs(LocalStorage(), str(tmp_path), 1) == {"runs": 1, "unfinished": 1}
    assert not any(path.exists() for path in (killed, magic, compacting, copying))
    assert all(path.exists() for path in (writing, *committed))
    assert {run_id for run_id, _ in runs.run_ids(LocalStorage(), str(tmp_path))} == {
        named.run_id,
        new.run_id,
        running.run_id,
    }
    assert not Path(old.folder).exists()


def test_prune_keeps_the_failure_that_a_name_leads_to_and_nothing_else_of_it(tmp_path: Path) -> None:
    other, told = failed(tmp_path, 0), failed(tmp_path, 1)
    for run in (other, told):
        for file in ("rejected/part-0.parquet", "snapshot/.hidden", "projection.csv"):
            path = Path(run.path(file))
            path.parent.mkdir(exist_ok=True)
            path.write_text("of photographs that may have to be erased")
    assert prune_runs(LocalStorage(), str(tmp_path), 1) == {"runs": 0, "unfinished": 1}
    assert not Path(other.folder).exists()
    assert [path.name for path in Path(told.folder).iterdir()] == ["failure.json"]
    assert prune_runs(LocalStorage(), str(tmp_path), 1) == {"runs": 0, "unfinished": 0}
    finished(tmp_path, 2)
    assert prune_runs(LocalStorage(), str(tmp_path), 1) == {"runs": 0, "unfinished": 1}
    assert not Path(told.folder).exists()
