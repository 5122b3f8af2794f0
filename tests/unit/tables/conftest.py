"""Fixtures of tests of tables."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.tables.world import World, paths_of
from verger.tables import locations, snapshot
from verger.tables.store import FeatureStore


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """An empty output. Batches are tiny, so that streams are cut everywhere."""
    monkeypatch.setattr("verger.spool.MAX_BATCH_ROWS", 8)
    monkeypatch.setattr("verger.sorting._RUN_ROWS", 12)
    monkeypatch.setattr(snapshot, "_PART_ROWS", 17)
    monkeypatch.setattr(snapshot, "_BATCH_ROWS", 9)
    made = World(tmp_path / "out")
    narrow_rows = locations._narrow_rows

    def counted(store: FeatureStore, name: str, path: str) -> pa.Table:
        made.opened.append(name)
        return narrow_rows(store, name, path)

    monkeypatch.setattr(locations, "_narrow_rows", counted)
    return made


@pytest.fixture
def known(world: World) -> World:
    """Nine photographs in three files, as three runs have computed them."""
    for names in ("abc", "def", "ghi"):
        world.photographs |= paths_of(*names)
        world.run()
    return world
