"""tables/changes: a run finds the same with a base run as without, whatever has happened to photographs and files."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.manifests import manifest_with
from verger.config import RunConfig
from verger.jsonable import timestamp
from verger.photographs import inventory
from verger.photographs.inventory import SCHEMA
from verger.photographs.labels import label_and_split
from verger.pipeline import comparison
from verger.pipeline.values import Accepted, Compared, Extracted, Job, Listed
from verger.spool import spool
from verger.storage.local import LocalStorage
from verger.tables import locations, manifest, runs, snapshot
from verger.tables.changes import Base, Changes, Input, find_base, find_changes, pointer_path
from verger.tables.manifest import Manifest
from verger.tables.pruning import Listing, prune_gone, prune_runs
from verger.tables.rows import KEY
from verger.tables.runs import Run
from verger.tables.schemas import REJECTED
from verger.tables.snapshot import Snapshot
from verger.tables.store import FeatureStore

FINGERPRINT = "pixels-20-f32-000000000000"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
Key = tuple[str, str]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny batches, so that streams are cut everywhere."""
    monkeypatch.setattr("verger.spool.MAX_BATCH_ROWS", 8)
    monkeypatch.setattr("verger.sorting._RUN_ROWS", 12)
    monkeypatch.setattr(snapshot, "_PART_ROWS", 17)
    monkeypatch.setattr(snapshot, "_BATCH_ROWS", 9)


@dataclass
class World:
    """An output on disk, the photographs that there are today, and runs that leave what real ones do.

    Attributes
    ----------
    output : Path
    photographs : dict of str to str
        Version by path.
    warnings : list of str
    opened : list of str
        Files of the store whose narrow columns were read since it was last cleared.
    """

    output: Path
    photographs: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    decoders: str = "1"
    source: str = "/in"
    settings: dict[str, Any] = field(default_factory=dict)
    minutes: int = 0

    @property
    def config(self) -> RunConfig:
        return RunConfig(input=self.source, output=str(self.output), **self.settings)

    def store(self) -> FeatureStore:
        return FeatureStore(LocalStorage(), str(self.output), FINGERPRINT, self.warnings.append, self.decoders)

    def files(self) -> list[Path]:
        """The files of the feature store, by name."""
        return sorted((self.output / "features").rglob("*.parquet"))

    def put(self, name: str, keys: Iterable[Key]) -> Path:
        """A file of the feature store; what else than the key is in it does not matter here."""
        path = self.output / "features" / FINGERPRINT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"path": key[0], "version": key[1]} for key in keys]
        pq.write_table(pa.Table.from_pylist(rows, locations.LOCATION.remove(3).remove(2)), path)
        return path

    def input(self) -> Input:
        """Today's photographs below the source, and those that the settings select."""
        paths = sorted(path for path in self.photographs if path.startswith(f"{self.source}/"))
        label, split = label_and_split(pa.array(paths, pa.string()), self.source)
        versions = pa.array([self.photographs[path] for path in paths], pa.string())
        table = pa.table([pa.array(paths, pa.string()), label, split, versions, pa.array([9] * len(paths))], SCHEMA)
        found = spool(SCHEMA, [table])
        return Input(self.source, found, inventory.select(found, self.config, self.source))

    def base(self) -> Base | None:
        return find_base(self.store(), self.source, self.config)

    def pointer(self) -> Path:
        return Path(pointer_path(str(self.output), self.source, self.config, FINGERPRINT))

    def finish(self, compared: Changes, bad: Iterable[Key] = (), wave: Callable[[], None] = lambda: None) -> Run:
        """Compute what is pending, but for what is bad, and publish the run."""
        self.minutes += 1
        started = NOON + timedelta(minutes=self.minutes)
        run = runs.new_run(LocalStorage(), str(self.output), "verger", started)
        rejected = self.compute(run.run_id, compared, set(bad))
        wave()
        job = cast(Job, SimpleNamespace(run=run, config=self.config))
        listed = Listed(self.input(), {}, {})
        known = Compared(listed, cast(Any, None), self.store(), compared)
        everything = spool(REJECTED, [pa.concat_tables([compared.rejected.to_table(), rejected]).sort_by("path")])
        standing = comparison.locate(job, Accepted(Extracted(known, 0, everything)))
        comparison.record(job, standing)
        assert_places_hold(self, pa.Table.from_batches(Snapshot.open(run).photographs()))
        document = manifest_with(
            run_id=run.run_id,
            started_at=timestamp(started),
            projection={"rows": standing.photographs.num_rows},
        )
        manifest.publish(run, Manifest.model_validate(document))
        runs.point_at(run, timestamp(started), str(self.pointer()))
        return run

    def compute(self, run_id: str, compared: Changes, bad: set[Key]) -> pa.Table:
        """What the waves of a run leave: features, and rejections, which are returned."""
        pending = [(row["path"], row["version"]) for row in compared.pending.to_table().to_pylist()]
        if good := [key for key in pending if key not in bad]:
            self.put(f"wave={run_id}-00000/part-0.zstd.parquet", good)
        at = {"reason": "empty", "message": "0 bytes", "label": None, "at": NOON}
        rejected = [{"path": key[0], "version": key[1], **at} for key in pending if key in bad]
        table = pa.Table.from_pylist(rejected, REJECTED)
        self.store().remember_rejected(run_id, "00000", table)
        return table

    def run(self, bad: Iterable[Key] = ()) -> Run:
        return self.finish(find_changes(self.store(), self.input(), self.base()), bad)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path / "out")
    narrow_rows = locations._narrow_rows

    def counted(store: FeatureStore, name: str, path: str) -> pa.Table:
        made.opened.append(name)
        return narrow_rows(store, name, path)

    monkeypatch.setattr(locations, "_narrow_rows", counted)
    return made


def paths_of(*names: str, version: str = "1") -> dict[str, str]:
    return {f"/in/{name}": version for name in names}


def keys_in(path: Path) -> list[Key]:
    return [(row["path"], row["version"]) for row in pq.read_table(path).to_pylist()]


def readable(path: Path) -> bool:
    try:
        return pq.read_metadata(path).num_rows >= 0
    except pa.ArrowInvalid:
        return False


def outcome(world: World, found: Changes) -> dict[str, Any]:
    """What a comparison says that has to be the same with a base run and without."""
    photographs = found.photographs.to_table().to_pylist()
    for row in photographs:
        row["stored"] = row.pop("file") is not None
        del row["row"], row["kept"]
    return {
        "photographs": photographs,
        "pending": found.pending.to_table().to_pylist(),
        "rejected": found.rejected.to_table().to_pylist(),
        "refused": sorted(map(str, found.refused.to_table().to_pylist())),
        "files": sorted(found.files.items()),
        "counts": (found.new, found.new_rejected, found.gone),
    }


def assert_places_hold(world: World, *located: pa.Table) -> None:
    """Each location is a row that holds the key."""
    content = {path: keys_in(path) for path in world.files() if readable(path)}
    folder = world.output / "features" / FINGERPRINT
    for table in located:
        for row in table.to_pylist():
            if row["file"] is not None:
                assert content[folder / row["file"]][row["row"]] == (row["path"], row["version"])


def assert_same_with_and_without_base(world: World) -> Changes:
    """Compare both ways; the changes found with the base run, if there is one."""
    base, found = world.base(), world.input()
    world.opened.clear()
    with_base = find_changes(world.store(), found, base)
    if base is not None:
        assert with_base.base is base
        known = {name for name, file in base.snapshot.files.items() if with_base.files.get(name) == file}
        assert not known.intersection(world.opened)
    without = find_changes(world.store(), found, None)
    assert outcome(world, with_base) == outcome(world, without)
    for each in (with_base, without):
        assert_places_hold(world, *(rows.to_table() for rows in (each.photographs, each.unused, each.removed)))
    stored = {key for path in world.files() if readable(path) for key in keys_in(path)}
    now = {(row["path"], row["version"]) for row in found.chosen.to_table().to_pylist()}
    assert {(row["path"], row["version"]) for row in with_base.unused.to_table().to_pylist()} - now == stored - now
    if base is not None:
        before = {(row["path"], row["version"]) for batch in base.snapshot.photographs() for row in batch.to_pylist()}
        removed = {(row["path"], row["version"]) for row in with_base.removed.to_table().to_pylist()}
        assert removed == before - now
        assert with_base.added == len((now & stored) - before)
    return with_base


def forget(world: World) -> dict[str, int]:
    """`verger prune --gone`: what was forgotten."""
    keys = sorted(world.photographs.items())
    photographs = pa.table({name: [key[at] for key in keys] for at, name in enumerate(KEY)})
    listing = Listing("/in", spool(photographs.schema, [photographs]), NOON + timedelta(days=1))
    return prune_gone(LocalStorage(), str(world.output), listing, lambda _: None)


class History:
    """Things that happen to photographs and files between runs, drawn at random."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.draw, self.files, self.removed = world, random.Random(seed), 0, dict[str, str]()
        self.old: list[Path] = []  # replaced files that are kept a while

    def name(self, prefix: str) -> str:
        self.files += 1
        return f"wave={prefix}-{self.draw.choice('abc')}{self.files:03}/part-0.zstd.parquet"

    def some_files(self) -> list[Path]:
        files = [path for path in self.world.files() if readable(path)]
        return self.draw.sample(files, self.draw.randint(0, min(4, len(files))))

    def add(self) -> None:
        for _ in range(self.draw.randint(1, 12)):
            folder = self.draw.choice(["a", "a/Training/x", "b", "b/é", "🍑"])
            self.world.photographs[f"/in/{folder}/{self.draw.randrange(60)}.png"] = self.draw.choice("12")

    def remove(self) -> None:
        for path in self.draw.sample(sorted(self.world.photographs), len(self.world.photographs) // 4):
            self.removed[path] = self.world.photographs.pop(path)

    def bring_back(self) -> None:
        self.world.photographs |= self.removed
        self.removed = {}

    def compact(self) -> None:
        """Copy the rows of files into a new one; delete the old ones now or later."""
        if files := self.some_files():
            self.world.put(self.name("compacted"), {key: None for path in files for key in keys_in(path)})
            if self.draw.random() < 0.5:
                self.old += files
            else:
                self.delete(files)

    def delete_old(self) -> None:
        self.delete(self.old)
        self.old = []

    def delete(self, files: Iterable[Path]) -> None:
        for path in files:
            path.unlink(missing_ok=True)

    def prune(self) -> None:
        """Replace files by ones without the rows of photographs that are gone."""
        for path in self.some_files():
            kept = [key for key in keys_in(path) if key[0] in self.world.photographs]
            if kept:
                self.world.put(f"{path.parent.name}/part-0-{self.files}-{self.draw.random()}.zstd.parquet", kept)
            path.unlink()

    def forget(self) -> None:
        forget(self.world)

    def rewrite(self) -> None:
        """Other rows in another order under the same name."""
        for path in self.some_files():
            keys = keys_in(path)
            self.draw.shuffle(keys)
            path.unlink()
            self.world.put(f"{path.parent.name}/{path.name}", keys[self.draw.choice([0, 0, 1]) :])

    def damage(self) -> None:
        for path in self.some_files()[:1]:
            path.write_bytes(path.read_bytes()[: self.draw.choice([0, 10, 100, -9])])

    def repeat(self) -> None:
        """Another run has computed the same photographs at the same time."""
        for path in self.some_files():
            self.world.put(self.name(self.draw.choice(["1999", "2999"])), keys_in(path))

    def die(self) -> None:
        """An attempt computes some photographs and is killed."""
        found = find_changes(self.world.store(), self.world.input(), self.world.base())
        keys = [(row["path"], row["version"]) for row in found.pending.to_table().to_pylist()]
        self.world.put(self.name("2026"), keys[: self.draw.randint(0, len(keys))])

    def reject(self) -> None:
        """A run with the same decoders or others rejects photographs, of today or of another version."""
        keys = self.draw.sample(sorted(self.world.photographs.items()), len(self.world.photographs) // 6)
        at = {"reason": "empty", "message": "0 bytes", "label": "old", "at": NOON}
        rows = [{"path": path, "version": self.draw.choice([version, "3"]), **at} for path, version in keys]
        store = FeatureStore(LocalStorage(), str(self.world.output), FINGERPRINT, pytest.fail, self.draw.choice("12"))
        store.remember_rejected(self.name("r"), "0", pa.Table.from_pylist(rows, REJECTED))

    def refuse(self) -> None:
        keys = self.draw.sample(sorted(self.world.photographs.items()), len(self.world.photographs) // 6)
        table = pa.table([[key[0] for key in keys], [key[1] for key in keys]], names=["path", "version"])
        self.files += 1
        self.world.store().remember_refused(f"run-{self.files}", [table])

    def look_elsewhere(self) -> None:
        """Another input, in which photographs have other labels, or another selection."""
        self.world.source = self.draw.choice(["/in", "/in", "/in/a"])
        self.world.settings = self.draw.choice([{}, {}, {"label": ("a", "x")}, {"max_photographs": 9}])

    def upgrade(self) -> None:
        self.world.decoders = self.draw.choice("12")

    def happens(self) -> None:
        names = [name for name in vars(History) if not name.startswith("_")]
        names = [name for name in names if name not in ("happens", "name", "some_files", "delete")]
        for name in self.draw.choices(names, k=self.draw.randint(0, 4)):
            getattr(self, name)()


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 120))])
def test_a_run_finds_the_same_with_a_base_run_as_without(world: World, seed: int) -> None:
    history = History(world, seed)
    used = 0
    for _ in range(7):
        history.add()
        history.happens()
        if not any(path.startswith("/in/a/") for path in world.photographs):
            world.photographs["/in/a/0.png"] = "1"
        found = assert_same_with_and_without_base(world)
        used += found.base is not None
        pending = {(row["path"], row["version"]) for row in found.pending.to_table().to_pylist()}
        stored = found.photographs.num_rows - found.pending.num_rows - found.rejected.num_rows
        bad = {key for key in sorted(pending) if history.draw.random() < 0.1}
        if stored or pending - bad:
            meanwhile = history.draw.choice([lambda: None, history.compact, history.repeat])
            world.finish(found, bad, meanwhile)
            assert find_changes(world.store(), world.input(), world.base()).pending.num_rows == 0
            assert_same_with_and_without_base(world)
    assert used > 1
    assert all("is damaged and left out" in warning for warning in world.warnings)


@pytest.fixture
def known(world: World) -> World:
    """Nine photographs in three files, as three runs have computed them."""
    for names in ("abc", "def", "ghi"):
        world.photographs |= paths_of(*names)
        world.run()
    return world


def names_of(found: Changes) -> str:
    """The names of the photographs that are to be computed."""
    return "".join(row["path"].removeprefix("/in/") for row in found.pending.to_table().to_pylist())


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
