from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verger.batches import batched, parquet_batches, slices


@pytest.mark.parametrize(("count", "lengths"), [(0, []), (1, [1]), (3, [3]), (7, [3, 3, 1])])
def test_batches_keep_order_and_only_the_last_is_shorter(count: int, lengths: list[int]) -> None:
    found = list(batched(iter(range(count)), 3))
    assert [len(batch) for batch in found] == lengths
    assert [item for batch in found for item in batch] == list(range(count))


def test_no_more_items_are_read_than_the_batch_needs() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(10):
            read.append(item)
            yield item

    assert next(batched(items(), 4)) == [0, 1, 2, 3]
    assert read == [0, 1, 2, 3]


def test_a_batch_of_no_items_is_an_error() -> None:
    with pytest.raises(ValueError, match="a batch of 0 items"):
        next(batched("abc", 0))


@pytest.mark.parametrize(("length", "size"), [(0, 3), (1, 3), (3, 3), (7, 3), (7, 100)])
def test_slices_cover_the_sequence_once(length: int, size: int) -> None:
    items = list(range(length))
    pieces = [items[which] for which in slices(length, size)]
    assert [item for piece in pieces for item in piece] == items
    assert all(1 <= len(piece) <= size for piece in pieces)


def test_a_parquet_file_is_read_whole_in_its_order(tmp_path: Path) -> None:
    pq.write_table(pa.table({"number": range(10), "text": list("abcdefghij")}), tmp_path / "ten", row_group_size=4)
    with pq.ParquetFile(tmp_path / "ten") as file:
        batches = list(parquet_batches(file, 3, ["number"]))
    assert [batch["number"].to_pylist() for batch in batches] == [[0, 1, 2], [3], [4, 5, 6], [7], [8, 9]]
    assert {tuple(batch.schema.names) for batch in batches} == {("number",)}


def test_row_groups_that_were_read_are_released(tmp_path: Path) -> None:
    """Of forty row groups, at most the one that is read is in memory, with what it takes to decode it."""
    group = 1 << 16
    values = np.random.default_rng(0).normal(size=40 * group)
    pq.write_table(pa.table({"value": values}), tmp_path / "large", row_group_size=group, use_dictionary=False)
    before, most = pa.total_allocated_bytes(), 0
    with pq.ParquetFile(tmp_path / "large") as file:
        for _ in parquet_batches(file, 1 << 12):
            most = max(most, pa.total_allocated_bytes() - before)
    assert most < 5 * group * 8
