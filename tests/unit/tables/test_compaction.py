"""tables/compaction: what is merged, what a record licenses, and what a crash between two steps leaves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.spools import spool_of
from tests.unit.tables.compactions import (
    FINGERPRINT,
    NOON,
    NOTHING,
    SEEN,
    compact,
    copied,
    features,
    files,
    put,
    records,
)
from verger.errors import StoreError
from verger.storage.local import LocalStorage
from verger.tables import compaction, small_files
from verger.tables.pruning import Listing, prune_gone
from verger.tables.selection import Selection
from verger.tables.store import FeatureStore


def without_first(selection: Selection) -> Selection:
    return Selection(selection.files[1:])


def test_small_files_are_merged_and_deleted_a_day_later(output: Path) -> None:
    old = files(output)
    (old[0].parent / "_SUCCESS").touch()
    assert features(output) == SEEN
    assert compact(output) == {"files_before": 3, "files_after": 1, "rows": 4, "deleted": 0}
    (new,) = set(files(output)) - set(old)
    assert new.parent.name.startswith("wave=compacted-20261120T120000Z-")
    assert records(output) == [
        {
            "fingerprint": FINGERPRINT,
            "inputs": [str(path.relative_to(output)) for path in old],
            "outputs": [str(new.relative_to(output))],
            "holders": [],
            "rows": 4,
            "at": "2026-11-20T12:00:00.000000Z",
        }
    ]
    assert features(output) == SEEN
    assert set(FeatureStore(LocalStorage(), str(output), FINGERPRINT).known()["file"].to_pylist()) == {str(new)}
    assert compact(output, hours=23.9) == NOTHING
    assert compact(output, hours=24) == NOTHING | {"deleted": 3}
    assert files(output) == [new]
    assert list(new.parent.parent.iterdir()) == [new.parent]
    assert records(output) == []
    assert features(output) == SEEN
    assert compact(output, hours=99) == NOTHING


def test_new_files_are_merged_with_those_of_an_earlier_compaction(output: Path) -> None:
    compact(output)
    put(output, "20261120T130000Z-c-000000-00000/part-3.parquet", "/t")
    assert compact(output, hours=2) == {"files_before": 2, "files_after": 1, "rows": 5, "deleted": 0}
    assert compact(output, hours=25) == NOTHING | {"deleted": 3}
    assert features(output) == {**SEEN, "/t": [1, 2]}
    assert compact(output, hours=26) == NOTHING | {"deleted": 2}
    assert len(files(output)) == 1
    assert features(output) == {**SEEN, "/t": [1, 2]}


def test_large_files_and_a_single_small_one_are_not_merged(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = sorted(path.stat().st_size for path in files(output))
    monkeypatch.setattr(small_files, "SMALL_BYTES", sizes[0] + 1)
    assert compact(output) == NOTHING
    assert len(files(output)) == 3


def test_a_file_that_no_reader_needs_is_deleted_without_a_copy(output: Path) -> None:
    spent = put(output, "20261031T000000Z-z-000000-00000/part-9.parquet", "/q", "/r", value=9)
    empty = put(output, "20261101T000000Z-a-000000-00002/part-8.parquet")
    assert compact(output)["files_before"] == 3
    assert {str(path.relative_to(output)) for path in (spent, empty)} < set(records(output)[0]["inputs"])
    compact(output, hours=24)
    assert len(files(output)) == 1
    assert features(output) == SEEN


@pytest.mark.parametrize("file", ["part-0.parquet", "part-1.parquet"])
def test_a_damaged_file_is_neither_merged_nor_deleted(output: Path, file: str) -> None:
    damaged = next(output.rglob(file))
    damaged.write_bytes(damaged.read_bytes()[:-10])
    put(output, f"{damaged.parent.name}/part-9.parquet", "/beside")
    seen, warnings = features(output), list[str]()
    for hours in (0, 24, 48):
        compact(output, hours, warnings.append)
    assert features(output) == seen
    assert damaged.exists()
    assert len(files(output)) == 2
    assert warnings
    assert all(str(damaged) in warning for warning in warnings)


def test_a_copy_that_lacks_a_row_is_removed_and_nothing_else_is_changed(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lossy(spark: Any, selection: Selection, buckets: Any, uri: str) -> None:
        copied(spark, without_first(selection), buckets, uri)

    before = files(output)
    monkeypatch.setattr(compaction, "_copy", lossy)
    with pytest.raises(StoreError, match="lacks rows of 1 of the files"):
        compact(output)
    assert files(output) == before
    assert not (output / "compactions").exists()


class Killed(BaseException):
    """Stands for SIGKILL: after it nothing changes the store any more, whatever an `except` would do."""


STEPS = ["copy", "publish", "delete", "delete", "delete", "delete"]


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_the_store_reads_the_same_after_a_kill_at_any_step(
    output: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Each write and delete of two compactions, a day apart, is broken off in turn."""
    with monkeypatch.context() as killing:
        steps = killed_at(step, killing)
        with pytest.raises(Killed):
            compact(output)
            compact(output, hours=24)
    assert steps == [*STEPS[:step], f"killed: {STEPS[step]}"]
    assert features(output) == SEEN
    for hours in (25, 50, 75, 100):
        compact(output, hours)
        assert features(output) == SEEN
    assert len(files(output)) == 1
    assert records(output) == []


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From the step-th change of the store on, none happens; returns the changes as they are asked for."""
    from verger.storage.local import LocalStorage

    asked: list[str] = []

    def counted(name: str, change: Callable[..., Any], half: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def perhaps(*arguments: Any) -> Any:
            if len(asked) > step:
                raise Killed
            asked.append(name)
            if len(asked) <= step:
                return change(*arguments)
            if half:
                half(*arguments)
            asked[-1] = f"killed: {name}"
            raise Killed

        return perhaps

    def half_copied(spark: Any, selection: Selection, buckets: Any, folder: str) -> None:
        copied(spark, without_first(selection), buckets, folder)

    def half_deleted(_: Any, path: str) -> None:
        if Path(path).is_dir():
            next(Path(path).glob("*.parquet")).unlink()

    monkeypatch.setattr(compaction, "_copy", counted("copy", copied, half_copied))
    monkeypatch.setattr(LocalStorage, "publish_once", counted("publish", LocalStorage.publish_once))
    monkeypatch.setattr(LocalStorage, "delete", counted("delete", LocalStorage.delete, half_deleted))
    return asked


def test_a_record_whose_outputs_are_gone_allows_no_deletion(output: Path) -> None:
    compact(output)
    shutil.rmtree(next(output.glob("features/*/wave=compacted-*")))
    assert compact(output, hours=30) == {"files_before": 3, "files_after": 1, "rows": 4, "deleted": 0}
    assert [record["at"] for record in records(output)] == ["2026-11-21T18:00:00.000000Z"]
    assert features(output) == SEEN


@pytest.mark.parametrize("folder", ["features", "rejects"])
def test_a_record_of_a_store_without_files_is_deleted(output: Path, folder: str) -> None:
    """Else compaction would be due at the end of every run."""
    compact(output)
    (record,) = (output / "compactions").glob("*")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"folder": folder}))
    shutil.rmtree(output / "features")
    found = compaction.compact(LocalStorage(), str(output), None, pytest.fail, lambda: NOON)  # type: ignore[arg-type]
    assert found == NOTHING | {"fingerprints": 0}
    assert records(output) == []


def test_a_record_whose_outputs_were_renamed_allows_no_deletion(output: Path) -> None:
    """As `prune --gone` gives them: what the record was checked for is not there any more."""
    compact(output)
    (new,) = output.glob("features/*/wave=compacted-*/*")
    new.rename(new.with_name("part-00000-successor.zstd.parquet"))
    assert compact(output, hours=24) == NOTHING
    assert compact(output, hours=48) == NOTHING | {"deleted": 3}
    assert features(output) == SEEN


def test_an_input_with_unique_rows_is_kept(output: Path) -> None:
    compact(output)
    (record,) = (output / "compactions").glob("*")
    document = json.loads(record.read_text())
    lone = put(output, "20261103T000000Z-c-000000-00000/part-7.parquet", "/lone")
    document["inputs"].append(str(lone.relative_to(output)))
    record.write_text(json.dumps(document))
    assert compact(output, hours=24)["deleted"] == 3
    assert features(output) == {**SEEN, "/lone": [1, 2]}


def test_two_inputs_with_the_same_unique_rows_are_both_kept(output: Path) -> None:
    """Two records, each with a file that the other replaces: were both deleted, their row would be lost."""
    twins = [put(output, f"2026110{day}T000000Z-c-000000-00000/part-{day}.parquet", "/twin") for day in (4, 5)]
    (output / "compactions").mkdir()
    for number, twin in enumerate(twins):
        document = {"fingerprint": FINGERPRINT, "inputs": [str(twin.relative_to(output))], "outputs": [], "rows": 0}
        (output / "compactions" / f"{number}.json").write_text(json.dumps(document | {"at": NOON.isoformat()}))
    assert compact(output, hours=24)["deleted"] == 0
    assert features(output) == {**SEEN, "/twin": [1, 2]}


def test_a_file_that_is_no_record_is_left_with_a_warning(output: Path) -> None:
    (output / "compactions").mkdir()
    (output / "compactions" / "odd.json").write_text("[]")
    warnings: list[str] = []
    compact(output, warn=warnings.append)
    assert warnings == [f"{output}/compactions/odd.json is not the record of a compaction, and is left as it is"]


def test_two_compactions_at_once_keep_every_row(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(*arguments: Any) -> None:
        monkeypatch.setattr(compaction, "_copy", copied)
        compact(output, hours=0.1)
        copied(*arguments)

    monkeypatch.setattr(compaction, "_copy", meanwhile)
    compact(output)
    assert len(records(output)) == 2
    for hours in (1, 25, 50, 75):
        assert features(output) == SEEN
        compact(output, hours)
    assert features(output) == SEEN
    assert len(files(output)) == 1
    assert records(output) == []


def test_an_uncommitted_wave_is_not_changed(output: Path) -> None:
    writing = put(output, "20261120T110000Z-c-000000-00000/_temporary/0/part-6.parquet", "/t")
    compact(output)
    compact(output, hours=24)
    assert writing.exists()
    assert features(output) == SEEN


def test_prune_and_compaction_work_together(output: Path) -> None:
    compact(output)
    listing = Listing("/", spool_of("/p", "/q"), NOON)
    forgotten = prune_gone(LocalStorage(), str(output), listing, pytest.fail)
    assert forgotten["photographs"] == 4  # of four files, two rows each of /r and /s
    left = {path: SEEN[path] for path in ("/p", "/q")}
    for hours in (24, 48, 72):
        assert features(output) == left
        compact(output, hours)
    assert features(output) == left
    assert len(files(output)) == 1


def test_fingerprints_are_never_mixed(output: Path) -> None:
    other = "pixels-3-f32-000000000000"
    for wave in range(2):
        put(output, f"20261101T000000Z-a-000000-0000{wave}/other-{wave}.parquet", "/p", f"/{wave}", fingerprint=other)
    counts = compaction.compact(LocalStorage(), str(output), None, pytest.fail, lambda: NOON)  # type: ignore[arg-type]
    assert counts == {"fingerprints": 2, "files_before": 5, "files_after": 2, "rows": 7, "deleted": 0}
    assert features(output) == SEEN
    assert FeatureStore(LocalStorage(), str(output), other).known()["path"].to_pylist() == ["/0", "/1", "/p"]
