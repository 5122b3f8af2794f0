"""tables/rejects_compaction: few files, the same remembered rejections, and nothing lost by a crash or a prune."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.spools import spool_of
from verger.errors import StoreError
from verger.storage.local import LocalStorage
from verger.tables import compaction, compaction_records, rejections, rejects_compaction, small_files
from verger.tables.pruning import Listing, prune_gone, prune_runs
from verger.tables.rejections import read_remembered, split_by_decoders
from verger.tables.schemas import REJECTED
from verger.tables.store import FeatureStore

FINGERPRINT = "pixels-20-f32-000000000000"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny batches, so that streams are cut everywhere."""
    monkeypatch.setattr("verger.spool.MAX_BATCH_ROWS", 8)
    monkeypatch.setattr("verger.sorting._RUN_ROWS", 12)


def store_of(output: Path, decoders: str = "1", fingerprint: str = FINGERPRINT) -> FeatureStore:
    return FeatureStore(LocalStorage(), str(output), fingerprint, pytest.fail, decoders)


def remember(
    output: Path, name: str, *paths: str, minute: int = 0, decoders: str = "1", fingerprint: str = FINGERPRINT
) -> None:
    row = {"label": "a", "version": "1", "reason": "empty", "message": f"minute {minute}"}
    at = NOON - timedelta(days=9) + timedelta(minutes=minute)
    rows = [{"path": path, "at": at, **row} for path in paths]
    store_of(output, decoders, fingerprint).remember_rejected(name, "00000", pa.Table.from_pylist(rows, REJECTED))


def compact(output: Path, hours: float = 0, everything: bool = True, warn: Any = pytest.fail) -> dict[str, int]:
    def clock() -> datetime:
        return NOON + timedelta(hours=hours)

    return rejects_compaction.compact(LocalStorage(), str(output), warn, clock, everything=everything)


def seen(output: Path) -> list[Any]:
    """What runs with either decoders see."""
    found = []
    for decoders in "12":
        held, tried = split_by_decoders(read_remembered(store_of(output)).to_table(), decoders)
        found += [held.to_pylist(), sorted({tuple(row.values()) for row in tried.to_pylist()})]
    return found


def files(output: Path) -> list[Path]:
    return sorted((output / "rejects").rglob("*.parquet"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Three waves; one photograph was rejected twice, and one by other decoders too."""
    remember(tmp_path, "20261101T000000Z-a-000000", "/in/p", "/in/q")
    remember(tmp_path, "20261102T000000Z-b-000000", "/in/r", decoders="2")
    remember(tmp_path, "20261103T000000Z-c-000000", "/in/q", "/in/r", "/in/s", minute=1)
    return tmp_path


def test_files_are_merged_and_deleted_a_day_later(output: Path) -> None:
    before, old = seen(output), files(output)
    assert compact(output) == {"files_before": 3, "files_after": 1, "rows": 5}
    (new,) = set(files(output)) - set(old)
    (record,) = (json.loads(path.read_text()) for path in (output / "compactions").glob("*"))
    assert record == {
        "fingerprint": FINGERPRINT,
        "inputs": [str(path.relative_to(output)) for path in old],
        "outputs": [str(new.relative_to(output))],
        "holders": [],
        "rows": 5,
        "at": "2026-11-20T12:00:00.000000Z",
        "folder": "rejects",
    }
    assert seen(output) == before
    assert compact(output, hours=23.9) == {}
    assert compact(output, hours=24) == {"deleted": 3}
    assert files(output) == [new]
    assert list(new.parent.parent.iterdir()) == [new.parent]
    assert not list((output / "compactions").glob("*"))
    assert seen(output) == before
    assert compact(output, hours=99) == {}


def test_a_compaction_of_features_leaves_the_records_of_rejections(output: Path) -> None:
    (output / "features" / FINGERPRINT).mkdir(parents=True)
    counts = compaction.compact(LocalStorage(), str(output), None, pytest.fail, lambda: NOON)  # type: ignore[arg-type]
    assert counts == {"fingerprints": 0, "files_before": 3, "files_after": 1, "rows": 5, "deleted": 0}
    assert not compaction.is_due(LocalStorage(), str(output), lambda: NOON + timedelta(hours=23))
    later = NOON + timedelta(hours=24)
    assert compaction.is_due(LocalStorage(), str(output), lambda: later)
    counts = compaction.compact(LocalStorage(), str(output), None, pytest.fail, lambda: later)  # type: ignore[arg-type]
    assert (counts["files_before"], counts["deleted"]) == (0, 3)


def test_after_a_run_files_are_merged_only_where_they_are_many(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4, 9):
        remember(output, f"2026110{number}T000000Z-d-000000", f"/in/{number}")
    remember(output, "20261104T000000Z-d-000000", "/in/x", fingerprint="pixels-3-f32-000000000000")
    before = seen(output)
    monkeypatch.setattr(small_files, "MAX_SMALL_FILES", 8)
    assert not compaction.is_due(LocalStorage(), str(output), lambda: NOON)
    assert compact(output, everything=False) == {}
    monkeypatch.setattr(small_files, "MAX_SMALL_FILES", 7)
    assert compaction.is_due(LocalStorage(), str(output), lambda: NOON)
    assert compact(output, everything=False) == {"files_before": 8, "files_after": 1, "rows": 10}
    assert not compaction.is_due(LocalStorage(), str(output), lambda: NOON)  # those that are replaced do not count
    assert seen(output) == before


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_the_same_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(small_files, "MAX_SMALL_FILES", 4)
    monkeypatch.setattr(rejections, "_SMALL_BYTES", 4000)  # some files are streamed
    monkeypatch.setattr(rejects_compaction, "SMALL_BYTES", 6000)
    monkeypatch.setattr(rejects_compaction, "TARGET_BYTES", 9000)
    draw, hours = random.Random(seed), 0.0
    steps = [(compaction_records, "write"), (compaction_records, "delete_files"), (rejects_compaction, "write_part")]
    for number in range(25):
        hours += draw.choice([1, 9, 30])
        names = {f"/in/{draw.choice('aé🍑')}{draw.randint(0, 60)}" for _ in range(draw.choice([1, 5, 60]))}
        remember(tmp_path, f"run-{number:02}", *sorted(names), minute=number, decoders=draw.choice("12"))
        before = seen(tmp_path)
        if draw.random() < 0.4:
            module, name = draw.choice(steps)
            with monkeypatch.context() as crash:
                crash.setattr(module, name, killed(getattr(module, name), draw.random() < 0.5))
                try:
                    compact(tmp_path, hours, everything=False)
                except KeyboardInterrupt:
                    assert seen(tmp_path) == before
        compact(tmp_path, hours, everything=draw.random() < 0.1)
        assert seen(tmp_path) == before
    compact(tmp_path, hours + 100, everything=False)
    compact(tmp_path, hours + 200, everything=False)
    small = [path for path in files(tmp_path) if path.stat().st_size < 6000]
    assert len(small) <= 5
    assert seen(tmp_path) == before


def killed(function: Callable[..., Any], afterwards: bool) -> Callable[..., Any]:
    def dying(*arguments: Any) -> Any:
        if afterwards:
            function(*arguments)
        raise KeyboardInterrupt

    return dying


def test_a_file_that_is_damaged_in_the_middle_is_left_as_it_is(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejections, "_SMALL_BYTES", 0)
    monkeypatch.setattr(rejections, "MAX_BATCH_ROWS", 1)
    damaged = files(output)[2]
    table = pq.read_table(damaged)
    pq.write_table(table, damaged, row_group_size=1, use_dictionary=False, write_statistics=False)
    data = bytearray(damaged.read_bytes())
    column = pq.ParquetFile(damaged).metadata.row_group(2).column(0)
    data[column.data_page_offset : column.data_page_offset + 8] = b"\xff" * 8
    damaged.write_bytes(data)
    warnings = list[str]()
    counts = compact(output, warn=warnings.append)
    assert counts["files_before"] == 2
    assert len(warnings) == 1 and str(damaged) in warnings[0]
    assert compact(output, hours=24, warn=warnings.append)["deleted"] == 2
    assert damaged.exists()


def test_a_compaction_that_lost_rows_is_undone(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, write = files(output), rejects_compaction.write_part
    lossy = lambda storage, path, schema, batches, most: write(  # noqa: E731
        storage, path, schema, (batch.slice(1) for batch in batches), most
    )
    monkeypatch.setattr(rejects_compaction, "write_part", lossy)
    with pytest.raises(StoreError, match="has 4 rows instead of 5"):
        compact(output)
    assert files(output) == before
    assert not (output / "compactions").exists()


def test_prune_forgets_a_rejection_in_the_old_files_and_in_the_new_one(output: Path) -> None:
    compact(output)
    listing = Listing("/in", spool_of("/in/p", "/in/s"), NOON)
    assert prune_gone(LocalStorage(), str(output), listing, pytest.fail)["rejections"] == 4 + 3
    expected = seen(output)
    assert [row["path"] for row in expected[0]] == ["/in/p", "/in/s"]
    for hours in (24, 48, 72):
        compact(output, hours)
        assert seen(output) == expected


def test_what_a_compaction_had_half_written_is_removed(output: Path) -> None:
    half = (
        output
        / "rejects"
        / FINGERPRINT
        / "wave=compacted-20260101T000000Z-0c0c0c"
        / ".part-00000.zstd.parquet.0a1b2c3d"
    )
    half.parent.mkdir()
    half.touch()
    before = seen(output)
    prune_runs(LocalStorage(), str(output), 1)
    assert not half.exists()
    assert seen(output) == before
