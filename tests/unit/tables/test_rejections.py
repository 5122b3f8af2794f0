"""tables/rejections: what many files remember, as one sorted stream."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from verger.errors import StoreError
from verger.storage.base import Entry, Storage
from verger.storage.local import LocalStorage
from verger.tables import rejections
from verger.tables.rejections import read_refused, read_remembered, split_by_decoders
from verger.tables.schemas import REJECTED, REMEMBERED
from verger.tables.store import FeatureStore, parquet_files

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny batches, so that streams are cut everywhere."""
    monkeypatch.setattr("verger.spool.MAX_BATCH_ROWS", 8)
    monkeypatch.setattr("verger.sorting._RUN_ROWS", 12)
    monkeypatch.setattr(rejections, "MAX_BATCH_ROWS", 5)


def store_of(output: Path, decoders: str = "1", warn: Any = pytest.fail) -> FeatureStore:
    return FeatureStore(LocalStorage(), str(output), "pixels-20-f32-000000000000", warn, decoders)


def row(path: str, version: str = "1", minute: int = 0) -> dict[str, Any]:
    at = NOON + timedelta(minutes=minute)
    return {"path": path, "label": "a", "version": version, "reason": "empty", "message": f"minute {minute}", "at": at}


def remember(store: FeatureStore, name: str, rows: Iterable[dict[str, Any]]) -> None:
    store.remember_rejected(name, "0", pa.Table.from_pylist(list(rows), REJECTED))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("small_bytes", [0, 1 << 18], ids=["streamed", "whole"])
def test_many_files_are_read_as_one_sorted_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, small_bytes: int
) -> None:
    monkeypatch.setattr(rejections, "_SMALL_BYTES", small_bytes)
    draw = random.Random(seed)
    written, latest = [], dict[tuple[str, str], dict[str, Any]]()
    others = set[tuple[str, str]]()
    for minute in range(draw.randint(0, 9)):
        decoders = draw.choice("12")
        names = draw.sample([f"/in/{letter}{number}" for letter in "aé🍑" for number in range(8)], draw.randint(1, 20))
        rows = [row(name, draw.choice("12"), minute) for name in names]
        remember(store_of(tmp_path, decoders), f"run-{minute}", rows)
        written += rows
        for one in rows:
            key = (one["path"], one["version"])
            if decoders == "1":
                latest[key] = one
            else:
                others.add(key)
    found = read_remembered(store_of(tmp_path)).to_table()
    assert found.schema == REMEMBERED
    keys = list(zip(found["path"].to_pylist(), found["version"].to_pylist(), strict=True))
    assert keys == sorted((one["path"], one["version"]) for one in written)
    held, tried = split_by_decoders(found, "1")
    assert held.to_pylist() == [latest[key] for key in sorted(latest)]
    assert set(zip(*(tried[name].to_pylist() for name in ("path", "version")), strict=True)) == others


def test_a_damaged_file_is_left_out_with_a_warning(tmp_path: Path) -> None:
    warnings = list[str]()
    store = store_of(tmp_path, warn=warnings.append)
    remember(store, "run-a", [row("/p")])
    remember(store, "run-b", [row("/q")])
    (path,) = Path(store.rejects_folder).glob("*run-b*/*")
    path.write_bytes(path.read_bytes()[:-20])
    assert read_remembered(store).to_table()["path"].to_pylist() == ["/p"]
    (warning,) = warnings
    assert warning.startswith(f"{path} is damaged and left out")


def test_files_that_vanish_are_listed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(tmp_path)
    store.remember_refused("run-a", [pa.table({"path": ["/p"], "version": ["1"]})])
    ghosts = [Entry(str(tmp_path / "ghost.parquet"), 1, "1")]

    def listed(storage: Storage, folder: str) -> list[Entry]:
        return [*parquet_files(storage, folder), *(ghosts.pop() for _ in ghosts[:1])]

    monkeypatch.setattr(rejections, "parquet_files", listed)
    assert read_refused(store).to_table()["path"].to_pylist() == ["/p"]
    ghosts += [Entry(str(tmp_path / "ghost.parquet"), 1 << 20, "1")] * 2
    with pytest.raises(StoreError, match=f"files in {store.refused_folder} vanish while they are read"):
        read_refused(store)
