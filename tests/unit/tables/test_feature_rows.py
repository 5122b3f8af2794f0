"""tables/feature_rows: what a Python worker reads of the files, without Spark."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.features import decaying, table
from verger.components.rows import matrix
from verger.errors import StoreError
from verger.storage.stores import Stores
from verger.tables.feature_rows import BATCH_BYTES, _Piece, _read_piece
from verger.tables.file_errors import vanished

ROWS = decaying(100, 6)
COLUMNS = ("path", "version", "features")


def put(folder: Path, rows: np.ndarray = ROWS, group: int = 30, **settings: object) -> str:
    """A file of the store, in row groups of so many rows."""
    path = folder / "part-0.zstd.parquet"
    pq.write_table(table(rows), path, row_group_size=group, write_page_checksum=True, **settings)
    return str(path)


def read(path: str, wanted: list[int] | None = None, columns: tuple[str, ...] = COLUMNS, part: tuple = (0, 1)) -> list:
    """The batches of a piece of a file of 100 rows."""
    bitmap = None if wanted is None else np.packbits(np.isin(np.arange(len(ROWS)), wanted)).tobytes()
    return list(_read_piece(Stores(), columns, _Piece(path, len(ROWS), bitmap, *part)))


def numbers(batches: list[pa.RecordBatch]) -> list[int]:
    """The rows that were read, by their paths; their features are compared with what was stored."""
    found = [int(Path(path).stem) for batch in batches for path in batch["path"].to_pylist()]
    stored = np.vstack([np.empty((0, 6), np.float32), *(matrix(batch, 6) for batch in batches)])
    np.testing.assert_array_equal(stored, ROWS[found])
    return found


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(None, id="all"),
        pytest.param([*range(5, 100)], id="without the first"),
        pytest.param([*range(93)], id="without the last"),
        pytest.param([0, 99], id="the ends"),
        pytest.param([*range(30, 60)], id="one row group"),
        pytest.param([*range(0, 100, 2)], id="every second"),
        pytest.param([], id="none"),
    ],
)
def test_the_bitmap_says_which_rows_are_read(tmp_path: Path, wanted: list[int] | None) -> None:
    assert numbers(read(put(tmp_path), wanted)) == (list(range(100)) if wanted is None else wanted)


def test_row_groups_without_a_wanted_row_are_not_read(tmp_path: Path) -> None:
    path = put(tmp_path, use_dictionary=False)
    start, end = (pq.read_metadata(path).row_group(group).column(0).data_page_offset for group in (1, 2))
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[:start] + bytes(end - start) + data[end:])
    assert numbers(read(path, [*range(30), *range(60, 100)])) == [*range(30), *range(60, 100)]
    with pytest.raises(StoreError, match=f"{path} is damaged. Delete it"):
        read(path)


def test_the_parts_of_a_file_have_every_row_once(tmp_path: Path) -> None:
    path = put(tmp_path)
    parts = [numbers(read(path, [*range(7, 95)], part=(part, 3))) for part in range(3)]
    assert parts == [[*range(7, 30), *range(90, 95)], [*range(30, 60)], [*range(60, 90)]]
    assert numbers(read(path, part=(5, 6))) == []


def test_only_the_columns_that_are_asked_for_are_read_in_that_order(tmp_path: Path) -> None:
    path = put(tmp_path)
    assert {tuple(batch.schema.names) for batch in read(path, columns=("features",))} == {("features",)}
    assert read(path, [3], ("version", "path"))[0].to_pydict() == {
        "version": ["3-1"], "path": ["/in/label 1/000003.png"],
    }  # fmt: skip


def test_feature_lists_become_a_matrix_without_a_copy(tmp_path: Path) -> None:
    for batch in read(put(tmp_path)):
        rows = matrix(batch, 6)
        values = batch["features"].values.buffers()[1]
        assert values.address <= rows.__array_interface__["data"][0] < values.address + values.size


def test_wide_rows_come_in_bounded_batches(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(400, 25_088)).astype(np.float32)
    path = put(tmp_path, rows, group=320)
    bitmap = np.packbits(np.arange(400) % 7 != 0).tobytes()
    for wanted, expected in ((None, rows), (bitmap, rows[np.arange(400) % 7 != 0])):
        batches = list(_read_piece(Stores(), ("features",), _Piece(path, 400, wanted, 0, 1)))
        assert max(batch.nbytes for batch in batches) <= BATCH_BYTES
        np.testing.assert_array_equal(np.vstack([matrix(batch, 25_088) for batch in batches]), expected)


def test_a_file_that_is_gone_has_vanished(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"the stored file {tmp_path}/no.parquet is gone") as caught:
        read(f"{tmp_path}/no.parquet")
    assert vanished(caught.value)
    assert vanished(RuntimeError(f"Job aborted: FileNotFoundError: {caught.value}\n"))  # as Spark repeats it
    assert not vanished(RuntimeError("FileNotFoundError: [Errno 2] No such file or directory: '/etc/verger'"))


@pytest.mark.parametrize("damage", ["empty", "cut", "a bit"])
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    path = Path(put(tmp_path, use_dictionary=False, compression="none"))
    data = bytearray(path.read_bytes())
    at = data.index(ROWS[50].tobytes())
    data[at] ^= 1  # in an uncompressed page, only its checksum tells
    path.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "a bit": data}[damage])
    with pytest.raises(StoreError, match=f"^{path} is damaged. Delete it: its photographs are computed again.$"):
        read(str(path))


def test_a_file_with_another_number_of_rows_is_an_error(tmp_path: Path) -> None:
    path = put(tmp_path, ROWS[:99])
    with pytest.raises(StoreError, match="has 99 rows instead of 100"):
        read(path)


def test_a_system_error_is_not_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    path = put(tmp_path)
    monkeypatch.setattr(pq, "ParquetFile", refused)
    with pytest.raises(StoreError, match=f"{path} cannot be read: .*Permission denied.*Check the store"):
        read(path)
