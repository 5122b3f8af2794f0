"""tables/changes: whatever happens to photographs and files, a run finds the same with a base run as without."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.tables.world import (
    FINGERPRINT,
    NOON,
    World,
    assert_same_with_and_without_base,
    forget,
    keys_in,
    readable,
)
from verger.storage.local import LocalStorage
from verger.tables.changes import find_changes
from verger.tables.schemas import REJECTED
from verger.tables.store import FeatureStore


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
