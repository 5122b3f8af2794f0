"""Fixtures of tests of tables."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.tables.compactions import copied, put
from tests.unit.tables.world import World, paths_of
from verger.tables import compaction, locations, snapshot
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


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three waves; one photograph was computed twice. Compactions need no Spark, and batches are tiny."""
    monkeypatch.setattr(compaction, "_copy", copied)
    monkeypatch.setattr("verger.spool.MAX_BATCH_ROWS", 2)
    monkeypatch.setattr("verger.sorting._RUN_ROWS", 3)
    put(tmp_path, "20261101T000000Z-a-000000-00000/part-0.parquet", "/p", "/q")
    put(tmp_path, "20261101T000000Z-a-000000-00001/part-1.parquet", "/r")
    put(tmp_path, "20261102T000000Z-b-000000-00000/part-2.parquet", "/q", "/s", value=3)
    return tmp_path
