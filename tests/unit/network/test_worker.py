"""The function of the Python workers, with a network that only keeps what it was given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from verger.network import worker
from verger.network.worker import Extractor

SIZE, BATCH = 16, 8
DIMENSION = SIZE * SIZE * 3


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The batches that the network was given; a photograph's features are its pixels."""
    batches: list[np.ndarray] = []

    def infer(photographs: np.ndarray) -> np.ndarray:
        batches.append(photographs)
        return photographs.reshape(len(photographs), -1).astype(np.float32)

    monkeypatch.setattr(worker, "_networks", {"key": infer})
    return batches


def listed(folder: Path, count: int) -> list[dict[str, Any]]:
    """So many photographs of one colour each, as rows of the inventory."""
    rows = []
    for number in range(count):
        path = folder / f"{number:02d}.png"
        Image.new("RGB", (SIZE, SIZE), (number + 1, 100, 200)).save(path)
        status = path.stat()
        version = f"{status.st_mtime_ns}-{status.st_size}"
        rows.append({"path": str(path), "label": None, "split": None, "version": version, "size": status.st_size})
    return rows


def extracted(rows: list[dict[str, Any]]) -> pa.Table:
    nothing: Any = SimpleNamespace(add=lambda _: None)
    extractor = Extractor(nothing, "key", DIMENSION, SIZE, "bicubic", "stretch", "full", BATCH, nothing, ())
    return pa.Table.from_batches(extractor([pa.RecordBatch.from_pylist(rows)]))


def test_the_last_batch_is_padded_to_a_full_one(given: list[np.ndarray], tmp_path: Path) -> None:
    table = extracted(listed(tmp_path, BATCH + 3))
    assert [len(batch) for batch in given] == [BATCH, BATCH]
    assert not given[1][3:].any()
    assert table.num_rows == BATCH + 3


def test_each_row_has_the_features_of_its_own_photograph(given: list[np.ndarray], tmp_path: Path) -> None:
    rows = listed(tmp_path, BATCH + 3)
    (tmp_path / "04.png").write_bytes(b"no image")  # rejected in the middle of a batch: `changed`
    table = extracted(rows)
    assert table["path"].to_pylist() == [row["path"] for row in rows if not row["path"].endswith("04.png")]
    for row in table.to_pylist():
        with Image.open(row["path"]) as image:
            assert row["features"] == np.asarray(image, np.float32).ravel().tolist()


def test_the_machine_that_computes_tells_once_a_task_that_it_emulates_the_precision(
    given: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "precision_warning", lambda precision: "slow" if precision == "bfloat16" else "")
    nothing: Any = SimpleNamespace(add=lambda _: None)
    for precision, expected in (("bfloat16", [frozenset({"slow"})]), ("float32", [])):
        told: list[frozenset[str]] = []
        collected: Any = SimpleNamespace(add=told.append)
        extractor = Extractor(
            nothing, "key", DIMENSION, SIZE, "bicubic", "stretch", "full", BATCH, nothing, (), precision, collected
        )
        list(extractor([pa.RecordBatch.from_pylist(listed(tmp_path, BATCH + 3))]))
        assert told == expected
