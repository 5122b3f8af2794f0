"""An output on disk and its photographs, as runs find and leave them: for tests of what has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

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
from verger.tables import locations, manifest, runs
from verger.tables.changes import Base, Changes, Input, find_base, find_changes, pointer_path
from verger.tables.manifest import Manifest
from verger.tables.pruning import Listing, prune_gone
from verger.tables.rows import KEY
from verger.tables.runs import Run
from verger.tables.schemas import REJECTED
from verger.tables.snapshot import Snapshot
from verger.tables.store import FeatureStore

FINGERPRINT = "pixels-20-f32-000000000000"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
Key = tuple[str, str]


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


def names_of(found: Changes) -> str:
    """The names of the photographs that are to be computed."""
    return "".join(row["path"].removeprefix("/in/") for row in found.pending.to_table().to_pylist())
