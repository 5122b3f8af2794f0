"""tables/compaction: when one is due, and what it merges at the end of a run."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.tables.compactions import (
    FINGERPRINT,
    NOON,
    NOTHING,
    SEEN,
    compact,
    features,
    put,
    records,
)
from verger.storage.local import LocalStorage
from verger.tables import compaction, locations, small_files
from verger.tables.store import FeatureStore

RUN = "20261120T110000Z-run-000000"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of the store whose keys are read, by their names below it."""
    names: list[str] = []
    narrow_rows = locations._narrow_rows

    def counted(store: FeatureStore, name: str, path: str) -> pa.Table:
        names.append(name)
        return narrow_rows(store, name, path)

    monkeypatch.setattr(locations, "_narrow_rows", counted)
    return names


def test_after_a_run_only_the_smallest_files_are_merged_and_no_other_is_opened(
    output: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    large = put(output, "wave=20261103T000000Z-c-000000-00000/part-0.parquet", *(f"/{row:04}" for row in range(99)))
    next(output.rglob("part-1.parquet")).unlink()  # it is as small as those of the run
    own = [put(output, f"wave={RUN}-0000{wave}/part-0.parquet", f"/{wave}") for wave in range(6)]
    smallest = sum(path.stat().st_size for path in own)
    monkeypatch.setattr(small_files, "MAX_SMALL_FILES", 10)
    assert compact(output, after=RUN) == NOTHING
    monkeypatch.setattr(small_files, "MAX_SMALL_FILES", 4)
    monkeypatch.setattr(small_files, "AUTOMATIC_BYTES", 0)
    before = features(output)
    assert compact(output, after="another-run") == NOTHING  # it may copy as much as it wrote, which is nothing
    assert opened == []
    assert compact(output, after=RUN) == {"files_before": 6, "files_after": 1, "rows": 6, "deleted": 0}
    (new,) = output.glob("features/*/wave=compacted-*/*")
    assert [name.partition("-run-")[0] for name in opened] == [*["wave=20261120T110000Z"] * 6, opened[-1]]
    assert opened[-1] == f"{new.parent.name}/{new.name}"
    assert features(output) == before
    monkeypatch.setattr(small_files, "AUTOMATIC_BYTES", 2 * smallest)
    opened.clear()
    assert compact(output, hours=24, after="another-run") == NOTHING | {"deleted": 6}
    assert len(opened) == 7  # the six, and the one that holds their rows
    assert features(output) == before
    assert large.exists()


def test_after_a_run_its_own_files_come_first(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = "a-2-f32-000000000000"
    for wave in range(5):
        put(output, f"wave=20261101T000000Z-a-000000-0000{wave}/part-0.parquet", f"/{wave}", fingerprint=earlier)
        put(output, f"wave={RUN}-0000{wave}/part-0.parquet", f"/{wave}")
    monkeypatch.setattr(small_files, "MAX_SMALL_FILES", 4)
    monkeypatch.setattr(small_files, "AUTOMATIC_BYTES", 0)
    counts = compaction.compact(LocalStorage(), str(output), None, pytest.fail, lambda: NOON, after=RUN)  # type: ignore[arg-type]
    assert (counts["fingerprints"], counts["files_before"]) == (2, 5)
    assert [record["fingerprint"] for record in records(output)] == [FINGERPRINT]


def test_what_a_compaction_did_not_copy_is_deleted_after_a_run_where_its_holders_are_known(output: Path) -> None:
    spent = put(output, "20261031T000000Z-z-000000-00000/part-9.parquet", "/q", "/r", value=9)
    with pytest.MonkeyPatch.context() as none_small:
        none_small.setattr(small_files, "SMALL_BYTES", 0)
        assert compact(output) == NOTHING
    (record,) = records(output)
    assert record["inputs"] == [str(spent.relative_to(output))]
    assert record["outputs"] == []
    assert [Path(path).name for path in record["holders"]] == ["part-1.parquet", "part-2.parquet"]
    (path,) = (output / "compactions").glob("*")
    path.write_text(json.dumps({key: value for key, value in record.items() if key != "holders"}))  # an older one
    assert compact(output, hours=24, after=RUN) == NOTHING
    assert spent.exists()
    with pytest.MonkeyPatch.context() as none_small:
        none_small.setattr(small_files, "SMALL_BYTES", 0)
        compact(output, hours=24)
    assert compact(output, hours=48, after=RUN) == NOTHING | {"deleted": 1}
    assert not spent.exists()
    assert features(output) == SEEN


def test_an_empty_output_has_nothing_to_compact(tmp_path: Path) -> None:
    counts = compaction.compact(LocalStorage(), str(tmp_path), None, pytest.fail)  # type: ignore[arg-type]
    assert counts == {"fingerprints": 0} | NOTHING


def test_compaction_is_due_at_many_small_files_and_when_old_ones_may_be_deleted(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def due(hours: float = 0) -> bool:
        return compaction.is_due(LocalStorage(), str(output), lambda: NOON + timedelta(hours=hours))

    assert not due()
    monkeypatch.setattr(small_files, "MAX_SMALL_FILES", 2)
    assert due()
    put(output, "20261101T000000Z-a-000000-00000/other.parquet", "/p", fingerprint="pixels-3-f32-000000000000")
    monkeypatch.setattr(small_files, "MAX_SMALL_FILES", 3)  # of one fingerprint
    assert not due()
    monkeypatch.setattr(small_files, "MAX_SMALL_FILES", 2)
    compaction.compact(LocalStorage(), str(output), None, pytest.fail, lambda: NOON)  # type: ignore[arg-type]
    assert not due(23.9)  # those that are replaced do not count
    assert due(24)
