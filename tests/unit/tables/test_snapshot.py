"""tables/snapshot: written and read as streams, and what is damaged is said to be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verger.errors import StoreError
from verger.photographs.difference import LOCATED, LOCATION
from verger.storage.local import LocalStorage
from verger.tables import runs, snapshot
from verger.tables.runs import Run
from verger.tables.snapshot import SCHEMA, Snapshot, StoredFile

FILES = {"wave=a/b.parquet": StoredFile("1-2", 7, 99), "wave=ä/🍑.parquet": StoredFile("3-4", 0, 1 << 40)}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runs.new_run(LocalStorage(), str(tmp_path / "out"), "verger", datetime(2026, 1, 1, tzinfo=UTC))


def photographs(count: int, start: int = 0) -> pa.Table:
    numbers = range(start, start + count)
    rows = [
        {
            "path": f"/in/🍑/{number:05}",
            "label": None if number % 3 else "🍑",
            "split": None,
            "version": f"{number}-1",
            "size": number << 33,
            "file": "wave=a/b.parquet",
            "row": number,
            "kept": True,  # a column that is not written
        }
        for number in numbers
    ]
    return pa.Table.from_pylist(rows, LOCATED)


def locations(count: int) -> pa.Table:
    return photographs(count).select(LOCATION.names)


def read(run: Run) -> tuple[pa.Table, pa.Table]:
    opened = Snapshot.open(run)
    return (
        pa.Table.from_batches(opened.photographs(), SCHEMA),
        pa.Table.from_batches(opened.unused_rows(), LOCATION),
    )


def files_of(run: Run) -> set[str]:
    return {path.name for path in Path(run.path("snapshot")).iterdir()}


def test_what_is_written_is_read_in_the_same_order(run: Run) -> None:
    parts = [photographs(5), photographs(0), photographs(3, start=5).combine_chunks().to_batches()[0]]
    assert snapshot.write(run, parts, [locations(2), locations(0)], FILES) == 8
    opened = Snapshot.open(run)
    assert (opened.num_rows, opened.files) == (8, FILES)
    found, unused = read(run)
    assert found.equals(photographs(8).select(SCHEMA.names))
    assert unused.equals(locations(2))
    assert files_of(run) == {"part-00000.zstd.parquet", "_unused.parquet", "_files.parquet"}


@pytest.mark.parametrize(("rows", "parts"), [(0, 1), (1, 1), (9, 1), (10, 2), (11, 2), (45, 4)])
def test_many_rows_are_several_files(run: Run, monkeypatch: pytest.MonkeyPatch, rows: int, parts: int) -> None:
    monkeypatch.setattr(snapshot, "_PART_ROWS", 10)
    monkeypatch.setattr(snapshot, "_BATCH_ROWS", 4)
    batches = photographs(rows).to_batches(max_chunksize=3)
    assert snapshot.write(run, batches, [], {}) == rows
    assert len(Snapshot.open(run).parts) == parts
    found, unused = read(run)
    assert found.equals(photographs(rows).select(SCHEMA.names))
    assert unused.num_rows == 0
    assert max((batch.num_rows for batch in Snapshot.open(run).photographs()), default=0) <= 4


def test_readers_skip_hidden_files_and_others(run: Run) -> None:
    snapshot.write(run, [photographs(3)], [locations(1)], FILES)
    folder = Path(run.path("snapshot"))
    for name in ("_part-00001.zstd.parquet", ".part-00002.zstd.parquet", "part-00003.txt", "_temporary/part.parquet"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "part-00000.zstd.parquet", folder / name)
    assert Snapshot.open(run).num_rows == read(run)[0].num_rows == 3


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def garbage(path: Path) -> None:
    path.write_bytes(b"no Parquet at all" * 9)


def flipped(path: Path) -> None:
    """The last byte of the first column is another; the footer is as it was."""
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    start = min(column.data_page_offset, column.dictionary_page_offset or column.data_page_offset)
    data[start + column.total_compressed_size - 1] ^= 0xFF
    path.write_bytes(data)


def replaced(path: Path) -> None:
    """A Parquet file with other columns."""
    pq.write_table(pa.table({"version": [1, 2]}), path)


DAMAGES: list[Callable[[Path], object]] = [Path.unlink, truncated, garbage, flipped, replaced]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["part-00001.zstd.parquet", "_unused.parquet", "_files.parquet"])
def test_damage_is_a_store_error(run: Run, monkeypatch: pytest.MonkeyPatch, name: str, damage) -> None:
    monkeypatch.setattr(snapshot, "_PART_ROWS", 10)
    snapshot.write(run, [photographs(10), photographs(10, start=10)], [locations(3)], FILES)
    opened = Snapshot.open(run)
    damage(Path(run.path("snapshot", name)))
    folder = run.path("snapshot")
    if name == "_files.parquet":
        with pytest.raises(StoreError, match=f"{folder}.* is (damaged|gone)"):
            Snapshot.open(run)
    else:
        with pytest.raises(StoreError, match=f"{folder}/{name} is (damaged|gone)"):  # it was opened before
            list(opened.photographs() if name.startswith("part") else opened.unused_rows())


def test_a_folder_that_is_gone_is_a_store_error(run: Run) -> None:
    with pytest.raises(StoreError, match=f"{run.path('snapshot')}/_files.parquet is gone"):
        Snapshot.open(run)


def test_a_snapshot_is_written_anew_over_what_an_attempt_has_left(run: Run) -> None:
    snapshot.write(run, [photographs(9)], [locations(3)], FILES)
    snapshot.write(run, [photographs(2)], [], {})
    assert (read(run)[0].num_rows, read(run)[1].num_rows, Snapshot.open(run).files) == (2, 0, {})
