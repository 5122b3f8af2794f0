"""tables/changes: what a run finds to do, and which files it opens for that."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.unit.tables.world import (
    NOON,
    World,
    assert_same_with_and_without_base,
    forget,
    keys_in,
    names_of,
    outcome,
    paths_of,
)
from verger.config import RunConfig
from verger.jsonable import timestamp
from verger.storage.local import LocalStorage
from verger.tables import runs
from verger.tables.changes import find_changes, pointer_path
from verger.tables.pruning import prune_runs
from verger.tables.snapshot import Snapshot


def test_only_files_that_the_base_run_did_not_know_are_opened(known: World) -> None:
    known.opened.clear()
    known.run()
    assert known.opened == []
    known.photographs |= paths_of("j")
    run = known.run()
    assert known.opened == [f"wave={run.run_id}-00000/part-0.zstd.parquet"]
    base = known.base()
    assert base is not None
    assert len(base.snapshot.files) == 4
    assert assert_same_with_and_without_base(known).files == base.snapshot.files


def test_what_a_dead_attempt_has_left_is_found(known: World) -> None:
    known.photographs |= paths_of("x", "y", "z")
    known.put("wave=20260102T000000Z-verger-dead00-00000/part-0.zstd.parquet", [("/in/x", "1"), ("/in/z", "1")])
    found = assert_same_with_and_without_base(known)
    assert (names_of(found), found.added, found.new) == ("y", 2, 1)


def test_of_a_photograph_in_two_files_the_other_is_taken_once_the_first_is_deleted(known: World) -> None:
    """A compaction with a clock that went back, or another run at the same time, whose file was deleted by hand."""
    copy = known.put("wave=0000-compacted/part-0.zstd.parquet", paths_of("a", "b", "x").items())
    later = known.put("wave=zzzz/part-0.zstd.parquet", paths_of("d").items())
    known.run()
    known.run()
    known.files()[1].unlink()  # of the first run
    later.unlink()
    found = assert_same_with_and_without_base(known)
    assert names_of(found) == "c"
    places = {row["path"]: row["file"] for row in found.photographs.to_table().to_pylist()}
    assert places["/in/a"] == f"{copy.parent.name}/{copy.name}"


def test_a_file_that_another_run_writes_meanwhile_is_read_by_the_next(known: World) -> None:
    """Of its rows only those are in the snapshot that are of this run's photographs."""
    known.photographs |= paths_of("j", "k")
    meanwhile = [*paths_of("k", "l").items(), ("/in/a", "2")]
    known.finish(
        find_changes(known.store(), known.input(), known.base()),
        wave=lambda: known.put("wave=zzzz/part-0.zstd.parquet", meanwhile) and None,
    )
    known.photographs |= paths_of("l") | paths_of("a", version="2")
    assert names_of(assert_same_with_and_without_base(known)) == ""


def test_a_compaction_between_comparison_and_reading_moves_photographs(known: World) -> None:
    known.photographs |= paths_of("0")

    def compact() -> None:
        """In another order, so that rows have other numbers."""
        files = known.files()
        known.put("wave=compacted-1/part-0.zstd.parquet", reversed([key for path in files for key in keys_in(path)]))
        for path in files:
            path.unlink()

    known.finish(find_changes(known.store(), known.input(), known.base()), wave=compact)  # which looks at the places
    known.run()
    assert names_of(assert_same_with_and_without_base(known)) == ""


def test_a_photograph_that_another_run_has_computed_may_be_rejected(known: World) -> None:
    """This run could not read it. The table has no row of it, as the quarantine has."""
    known.photographs |= paths_of("j", "k")
    run = known.finish(
        find_changes(known.store(), known.input(), known.base()),
        bad=paths_of("k").items(),
        wave=lambda: known.put("wave=zzzz/part-0.zstd.parquet", paths_of("k").items()) and None,
    )
    assert Snapshot.open(run).num_rows == 10
    assert names_of(assert_same_with_and_without_base(known)) == ""


def test_photographs_that_come_back_are_known(known: World) -> None:
    before = dict(known.photographs)
    known.photographs = paths_of("a", "d") | paths_of("g", version="2")
    found = assert_same_with_and_without_base(known)
    assert (found.removed.num_rows, found.gone, names_of(found)) == (7, 6, "g")
    known.run()
    known.photographs = before
    found = assert_same_with_and_without_base(known)
    assert (found.added, found.removed.num_rows, names_of(found), found.gone) == (7, 1, "", 0)


def test_a_pruned_photograph_that_comes_back_is_computed_again(known: World) -> None:
    """Whether a run has stood on what was left, or its base still names the place where the photograph was."""
    before = dict(known.photographs)
    known.photographs = paths_of(*"bcdef")
    known.run()
    assert forget(known) == {"photographs": 4, "versions": 0, "rejections": 0, "refused": 0}
    known.photographs = before
    assert names_of(assert_same_with_and_without_base(known)) == "aghi"
    known.photographs = paths_of(*"bcdef")
    assert names_of(assert_same_with_and_without_base(known)) == ""
    known.run()
    known.photographs = before
    assert names_of(assert_same_with_and_without_base(known)) == "aghi"
    known.run()
    assert names_of(assert_same_with_and_without_base(known)) == ""


def test_a_pruned_version_that_comes_back_is_computed_again(known: World) -> None:
    """The file from before was restored, with its old time; a compaction had copied its features."""
    before = dict(known.photographs)
    known.put("wave=compacted-1/part-0.zstd.parquet", [key for path in known.files() for key in keys_in(path)])
    known.photographs |= paths_of("a", "h", version="2")
    known.run(bad=[("/in/h", "2")])
    assert forget(known) == {"photographs": 0, "versions": 4, "rejections": 0, "refused": 0}  # with their copies
    assert names_of(assert_same_with_and_without_base(known)) == ""
    known.photographs = before
    assert names_of(assert_same_with_and_without_base(known)) == "ah"
    known.run()
    assert forget(known) == {"photographs": 0, "versions": 1, "rejections": 1, "refused": 0}
    assert names_of(assert_same_with_and_without_base(known)) == ""


def test_an_output_that_was_copied_has_other_times_and_the_same_photographs(known: World) -> None:
    for path in known.files():
        os.utime(path, ns=(1, 1))
    known.photographs |= paths_of("j")
    known.opened.clear()
    found = assert_same_with_and_without_base(known)
    assert (found.base is not None, found.added, names_of(found)) == (True, 0, "j")
    known.run()
    known.opened.clear()
    assert assert_same_with_and_without_base(known).pending.num_rows == 0


def snapshot_of(world: World) -> Path:
    base = world.base()
    assert base is not None
    return Path(base.run.path("snapshot"))


def with_a_row_less(folder: Path) -> None:
    path = folder / "part-00000.zstd.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: folder.rename(folder.with_name("moved")), "snapshot/_files.parquet is gone"),
        (lambda folder: (folder / "_files.parquet").write_bytes(b""), "snapshot/_files.parquet is damaged"),
        (
            lambda folder: (folder / "part-00000.zstd.parquet").write_bytes(b"PAR1"),
            "part-00000.zstd.parquet is damaged",
        ),
        (lambda folder: (folder / "part-00000.zstd.parquet").unlink(), "snapshot has 0 rows, not 9"),
        (with_a_row_less, "snapshot has 8 rows, not 9"),
        (lambda folder: (folder / "_unused.parquet").unlink(), "snapshot/_unused.parquet is gone"),
        (lambda folder: (folder / "_unused.parquet").write_bytes(b"?" * 99), "snapshot/_unused.parquet is damaged"),
        (lambda folder: (folder.parent / "manifest.json").write_text("{"), "manifest.json is not a manifest"),
    ],
)
def test_without_a_snapshot_that_can_be_read_there_is_a_warning(
    known: World, damage: Callable[[Path], object], says: str
) -> None:
    known.photographs |= paths_of("j")
    damage(snapshot_of(known))
    found = find_changes(known.store(), known.input(), known.base())
    assert found.base is None
    (warning,) = known.warnings
    assert says in warning
    assert warning.startswith(("the latest run with these photographs was not used: ", "the snapshot of run "))
    assert outcome(known, found) == outcome(known, find_changes(known.store(), known.input(), None))
    known.warnings.clear()
    known.finish(found)
    assert find_changes(known.store(), known.input(), known.base()).base is not None
    assert not known.warnings


def test_a_page_of_a_snapshot_that_is_damaged_is_noticed_as_it_is_read(known: World) -> None:
    path = snapshot_of(known) / "part-00000.zstd.parquet"
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    data[column.data_page_offset + column.total_compressed_size - 1] ^= 0xFF
    path.write_bytes(data)
    base = known.base()
    assert base is not None
    found = find_changes(known.store(), known.input(), base)
    assert (found.base, found.pending.num_rows, found.added) == (None, 0, 9)
    (warning,) = known.warnings
    assert warning == f"the snapshot of run {base.run.run_id} was not used: {path} is damaged. Run again."


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"run": "a"}', '{"run_id": null}', '{"run_id": "../../x"}'])
def test_a_damaged_pointer_points_at_no_run(known: World, content: str) -> None:
    known.pointer().write_text(content)
    assert known.base() is None
    known.run()
    assert known.base() is not None


def test_a_run_that_was_pruned_is_no_base(known: World) -> None:
    base = known.base()
    assert base is not None
    LocalStorage().delete(base.run.path("manifest.json"))
    assert known.base() is None
    assert not known.warnings


def test_prune_deletes_the_last_run_of_another_selection(known: World) -> None:
    """`--keep-runs` keeps no more than it says, and the next run like it finds all in the store."""
    assert known.base() is not None
    known.settings = {"max_photographs": 4}
    last = known.run()
    assert prune_runs(LocalStorage(), str(known.output), 1)["runs"] == 3
    assert [run_id for run_id, _ in runs.run_ids(LocalStorage(), str(known.output))] == [last.run_id]
    known.settings = {}
    assert known.pointer().exists()
    assert known.base() is None
    found = find_changes(known.store(), known.input(), None)
    assert (names_of(found), found.added, found.new) == ("", 9, 0)
    known.finish(found)
    assert known.base() is not None
    assert not known.warnings


def test_each_input_selection_and_fingerprint_has_a_pointer() -> None:
    def pointer(source: str = "/in", fingerprint: str = "f", **settings: Any) -> str:
        return pointer_path("/out", source, RunConfig(input="/in", output="/out", **settings), fingerprint)

    same = [pointer(), pointer(name="x"), pointer(components=3), pointer(pca="auto"), pointer(report=False)]
    others: list[dict[str, Any]] = [{"label": ("a",)}, {"exclude": ("a",)}, {"max_labels": 1}, {"max_photographs": 1}]
    different = [pointer(source="/in/a"), pointer(fingerprint="g"), *(pointer(**settings) for settings in others)]
    assert len(set(same)) == 1
    assert len({pointer(), *different}) == 7


def test_the_pointer_only_moves_to_a_run_that_started_later(known: World) -> None:
    latest = json.loads(known.pointer().read_text())
    known.photographs |= paths_of("j")
    known.minutes -= 2  # the clock goes back
    run = known.run()
    assert json.loads(known.pointer().read_text()) == latest
    found = assert_same_with_and_without_base(known)  # from the older run's snapshot and the newer run's file
    assert (found.added, names_of(found)) == (1, "")
    known.minutes += 5
    assert known.run().run_id != run.run_id
    assert json.loads(known.pointer().read_text())["started_at"] == timestamp(NOON + timedelta(minutes=known.minutes))


def test_two_runs_at_once_leave_what_the_next_needs(known: World) -> None:
    known.photographs |= paths_of("j")
    first = find_changes(known.store(), known.input(), known.base())
    known.photographs |= paths_of("k")
    second = find_changes(known.store(), known.input(), known.base())
    assert (names_of(first), names_of(second)) == ("j", "jk")
    later = known.finish(second)
    known.minutes -= 2
    known.photographs = {path: version for path, version in known.photographs.items() if path != "/in/k"}
    known.finish(first)
    known.photographs |= paths_of("k")
    found = assert_same_with_and_without_base(known)
    assert found.base is not None
    assert (found.base.run.run_id, names_of(found)) == (later.run_id, "")
