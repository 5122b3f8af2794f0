"""Compactions of a few rows without Spark, and what they leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from verger.storage.local import LocalStorage
from verger.tables import compaction
from verger.tables.schemas import FEATURES
from verger.tables.selection import Selection
from verger.tables.store import FeatureStore

FINGERPRINT = "pixels-2-f32-000000000000"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def put(output: Path, file: str, *paths: str, value: float = 1, fingerprint: str = FINGERPRINT) -> Path:
    """A file of the store with a row for each path."""
    rows = [{"path": path, "version": "1", "features": [value, 2.0]} for path in paths]
    path = output / "features" / fingerprint / file
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=FEATURES), path)
    return path


def copied(_: Any, selection: Selection, buckets: Any, target: str) -> None:
    """What Spark's workers do, for the few rows of these tests."""
    folder = Path(target)
    folder.mkdir()
    tables = []
    for file in selection.files:
        rows = pq.read_table(file.path, schema=FEATURES)
        wanted = np.unpackbits(np.frombuffer(file.wanted, np.uint8)) if file.wanted else np.ones(file.rows)
        tables.append(rows.filter(pa.array(wanted[: file.rows] == 1)))
    pq.write_table(pa.concat_tables(tables), folder / f"part-00000-{folder.name[-6:]}.zstd.parquet")


def compact(
    output: Path, hours: float = 0, warn: Callable[[str], None] = pytest.fail, after: str | None = None
) -> dict[str, int]:
    def clock() -> datetime:
        return NOON + timedelta(hours=hours)

    counts = compaction.compact(LocalStorage(), str(output), None, warn, clock, after=after)  # type: ignore[arg-type]
    assert counts.pop("fingerprints") == 1
    return counts


def features(output: Path) -> dict[str, list[float]]:
    """What readers see: the features of each path."""
    known = FeatureStore(LocalStorage(), str(output), FINGERPRINT).known()
    seen = {}
    for row in known.to_pylist():
        rows = pq.read_table(row["file"])
        (seen[row["path"]],) = rows.filter(pc.equal(rows["path"], row["path"]))["features"].to_pylist()
    return seen


def files(output: Path) -> list[Path]:
    return sorted((output / "features").rglob("*.parquet"))


def records(output: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((output / "compactions").glob("*"))]


SEEN = {"/p": [1, 2], "/q": [3, 2], "/r": [1, 2], "/s": [3, 2]}
NOTHING = {"files_before": 0, "files_after": 0, "rows": 0, "deleted": 0}
