"""tables/reader: the table of a run, as a table and as a dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import verger
from tests.unit.tables.test_runs import finished
from verger.errors import NothingToReadError, StoreError
from verger.storage.base import Entry
from verger.tables.runs import Run
from verger.tables.schemas import PROJECTION

READERS = [verger.load, verger.scan]


def put(run: Run, *parts: list[str]) -> list[Path]:
    """A table of several files, with these labels and as many photographs."""
    files = []
    for number, labels in enumerate(parts):
        rows = [
            {"path": f"/p/{label}/{number}-{at}.jpg", "label": label, "pca_features": [float(number), float(at)]}
            for at, label in enumerate(labels)
        ]
        files.append(Path(run.path("projection", f"part-{number}.zstd.parquet")))
        files[-1].parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=PROJECTION), files[-1])
    return files


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = finished(tmp_path)
    put(run, ["pear", "apple"], ["apple"])
    return run


def test_a_dataset_has_the_rows_of_the_table(run: Run) -> None:
    for uri in (run.folder, run.output):
        dataset = verger.scan(uri)
        assert dataset.schema == PROJECTION
        assert dataset.to_table().sort_by("path").equals(verger.load(uri))
    assert len(verger.scan(run.output).files) == 2


def test_a_dataset_reads_what_is_asked_for(run: Run) -> None:
    table = verger.scan(run.output).to_table(columns=["path"], filter=pc.field("label") == "apple")
    assert sorted(table.to_pydict()["path"]) == ["/p/apple/0-1.jpg", "/p/apple/1-0.jpg"]


def test_the_dataset_of_a_run_in_which_nothing_had_changed_is_that_of_the_run_before(run: Run, tmp_path: Path) -> None:
    later = finished(tmp_path, minutes=5)
    path = Path(later.path("manifest.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "same_as": run.run_id}))
    assert verger.scan(run.output).files == verger.scan(run.folder).files
    assert verger.scan(later.folder).count_rows() == 3


@pytest.mark.parametrize("read", READERS)
def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path, read: Callable[[str], Any]) -> None:
    with pytest.raises(NothingToReadError, match="neither a run nor an output"):
        read(str(tmp_path))


@pytest.mark.parametrize("read", READERS)
def test_a_run_without_a_manifest_is_refused(run: Run, read: Callable[[str], Any]) -> None:
    Path(run.path("manifest.json")).unlink()
    with pytest.raises(NothingToReadError, match=r"has no manifest\.json: it is running or it failed"):
        read(run.output)


@pytest.mark.parametrize("read", READERS)
def test_a_damaged_manifest_is_named(run: Run, read: Callable[[str], Any]) -> None:
    Path(run.path("manifest.json")).write_text("{}")
    with pytest.raises(StoreError, match=r"manifest\.json is not a manifest of verger"):
        read(run.output)


def test_a_dataset_lists_again_after_the_folder_was_deleted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (first, second) = sorted(Path(run.path("projection")).iterdir())
    ghost = FileNotFoundError("deleted between listing and opening")
    listed = iter([ghost, [Entry(str(first), 1, "1"), Entry(str(second), 1, "1")]])

    def list_files(*_: object) -> list[Entry]:
        found = next(listed)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr("verger.tables.reader.parquet_files", list_files)
    assert verger.scan(run.output).count_rows() == 3


def test_the_package_exports_its_readers() -> None:
    assert {"load", "load_features", "scan"} < set(verger.__all__)
