"""tables/store and pruning: a union of files without duplicates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.test_manifest import finished
from verger.tables import manifest
from verger.tables.pruning import prune_gone, prune_runs
from verger.tables.schemas import FEATURES, REJECTED
from verger.tables.store import FeatureStore, deduplicate, matching, without

FINGERPRINT = "pixels-20-f32-000000000000"


def rows(*keys: tuple[str, str]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"path": path, "version": version, "features": [1.0, 2.0], "size": 3} for path, version in keys],
        schema=FEATURES,
    )


def put(output: Path, file: str, *keys: tuple[str, str]) -> Path:
    path = output / "features" / FINGERPRINT / file
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows(*keys), path)
    return path


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(str(tmp_path), FINGERPRINT)


def test_an_empty_store_knows_nothing(store: FeatureStore) -> None:
    assert store.known().num_rows == store.rejected().num_rows == 0
    assert store.known().column_names == ["path", "version", "file"]


def test_the_first_file_by_name_wins_a_tie(store: FeatureStore, tmp_path: Path) -> None:
    second = put(tmp_path, "run-b-00000/part-1.parquet", ("/p", "1"), ("/q", "1"))
    first = put(tmp_path, "run-a-00000/part-0.parquet", ("/p", "1"), ("/p", "2"))
    known = store.known()
    assert known.to_pylist() == [
        {"path": "/p", "version": "1", "file": str(first)},
        {"path": "/p", "version": "2", "file": str(first)},
        {"path": "/q", "version": "1", "file": str(second)},
    ]


@pytest.mark.parametrize("file", ["run-00000/_temporary/0/part.parquet", "run-00000/.part.parquet", "_x/part.parquet"])
def test_what_is_being_written_is_not_seen(store: FeatureStore, tmp_path: Path, file: str) -> None:
    put(tmp_path, file, ("/p", "1"))
    assert store.known().num_rows == 0


def test_an_output_below_a_hidden_folder_is_seen(tmp_path: Path) -> None:
    put(tmp_path / ".cache" / "_out", "run-00000/part.parquet", ("/p", "1"))
    assert FeatureStore(str(tmp_path / ".cache" / "_out"), FINGERPRINT).known().num_rows == 1


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:4] + bytes(60) + data[64:]])
def test_a_damaged_file_is_left_out_with_a_warning(tmp_path: Path, damage) -> None:
    put(tmp_path, "run-00000/part-0.parquet", ("/p", "1"))
    damaged = put(tmp_path, "run-00001/part-0.parquet", ("/q", "1"))
    damaged.write_bytes(damage(damaged.read_bytes()))
    warnings: list[str] = []
    store = FeatureStore(str(tmp_path), FINGERPRINT, warnings.append)
    assert store.known()["path"].to_pylist() == ["/p"]
    assert len(warnings) == 1
    assert str(damaged) in warnings[0]


def test_rejections_are_remembered_once(store: FeatureStore) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    row = {"path": "/p", "version": "1", "reason": "empty", "message": "0 bytes", "at": at, "label": None}
    store.remember("run-a", "00000", pa.Table.from_pylist([row], schema=REJECTED))
    store.remember("run-b", "00000", pa.Table.from_pylist([row | {"at": at + timedelta(1)}], schema=REJECTED))
    store.remember("run-c", "00000", REJECTED.empty_table())
    assert store.rejected().to_pylist() == [row]


def test_joins_go_by_path_and_version() -> None:
    left = rows(("/p", "1"), ("/q", "1"), ("/r", "1"))
    right = rows(("/q", "1"), ("/p", "2"))
    assert without(left, right)["path"].to_pylist() == ["/p", "/r"]
    assert matching(left, right)["path"].to_pylist() == ["/q"]
    assert without(left, right.slice(0, 0)).num_rows == 3


def test_deduplicating_one_row_or_none() -> None:
    table = rows(("/p", "1")).append_column("file", pa.array(["f"]))
    assert deduplicate(table, "file").num_rows == 1
    assert deduplicate(table.slice(0, 0), "file").num_rows == 0


def test_what_made_the_features_is_kept_once(store: FeatureStore, tmp_path: Path) -> None:
    store.describe({"dimension": 2}, lambda: b"weights")
    store.describe({"dimension": 3}, lambda: b"others")
    folder = tmp_path / "features" / FINGERPRINT
    assert (folder / "weights.npz").read_bytes() == b"weights"
    assert '"dimension": 2' in (folder / "fingerprint.json").read_text()


def test_pruning_drops_rows_of_photographs_that_are_gone(store: FeatureStore, tmp_path: Path) -> None:
    mixed = put(tmp_path, "run-00000/part-0.zstd.parquet", ("/in/p", "1"), ("/in/q", "1"), ("/elsewhere/r", "1"))
    gone = put(tmp_path, "run-00001/part-0.zstd.parquet", ("/in/q", "2"))
    kept = put(tmp_path, "run-00002/part-0.zstd.parquet", ("/in/p", "2"))
    before = kept.stat().st_mtime_ns
    present = pa.chunked_array([pa.array(["/in/p"])])
    assert prune_gone(str(tmp_path), "/in", present, pytest.fail) == 2
    assert not mixed.exists()
    assert not gone.exists()
    assert kept.stat().st_mtime_ns == before
    known = store.known()
    assert known.select(["path", "version"]).to_pylist() == [
        {"path": "/elsewhere/r", "version": "1"},
        {"path": "/in/p", "version": "1"},
        {"path": "/in/p", "version": "2"},
    ]
    rewritten = pq.read_table(known["file"][0].as_py())
    assert rewritten["features"].to_pylist() == [[1.0, 2.0], [1.0, 2.0]]
    assert prune_gone(str(tmp_path), "/in", present, pytest.fail) == 0


def test_pruning_keeps_the_newest_runs_and_those_that_are_pointed_at(tmp_path: Path) -> None:
    named = finished(tmp_path, 0, "apples")
    old, new = finished(tmp_path, 1), finished(tmp_path, 2)
    died = manifest.new_run(str(tmp_path), "verger", datetime(2026, 1, 1, tzinfo=UTC))
    manifest.record_failure(died, {})
    running = manifest.new_run(str(tmp_path), "verger", datetime.now(UTC))
    manifest.record_failure(running, {})
    killed = put(tmp_path, f"{died.run_id}-00000/_temporary/0/part-0.parquet", ("/p", "1"))
    writing = put(tmp_path, f"{running.run_id}-00000/_temporary/0/part-0.parquet", ("/p", "1"))
    committed = put(tmp_path, f"{died.run_id}-00000/part-1.parquet", ("/q", "1"))
    assert prune_runs(str(tmp_path), 1) == {"runs": 1, "unfinished": 1}
    assert (killed.exists(), writing.exists(), committed.exists()) == (False, True, True)
    assert {run_id for run_id, _ in manifest.run_ids(str(tmp_path))} == {named.run_id, new.run_id, running.run_id}
    assert not Path(old.folder).exists()
