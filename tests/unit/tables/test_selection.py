"""tables/selection: places of rows become a bitmap for each file."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from verger.tables.selection import SelectedFile, Selection, select_rows

ROWS = {"a": 9, "b": 3, "c": 8, "d": 1}
SIZES = {"a": 90, "b": 30, "c": 80, "d": 10}


def located(*places: tuple[str, int]) -> pa.RecordBatch:
    files, rows = zip(*places, strict=True)
    return pa.record_batch({"file": pa.array(files, pa.string()), "row": pa.array(rows, pa.int32())})


def wanted(file: SelectedFile) -> list[int]:
    assert file.wanted is not None
    return np.flatnonzero(np.unpackbits(np.frombuffer(file.wanted, np.uint8))).tolist()


def test_rows_in_any_order_and_in_many_batches_become_bitmaps() -> None:
    batches = [located(("c", 7), ("a", 8), ("a", 0)), located(("a", 3), ("c", 0)), located(("a", 8))]
    first, second = select_rows(batches, ROWS, SIZES).files
    assert (first.path, first.rows, first.size) == ("a", 9, 90)
    assert wanted(first) == [0, 3, 8]
    assert wanted(second) == [0, 7]
    assert (first.num_rows, second.num_rows) == (3, 2)


def test_a_file_whose_rows_are_all_wanted_needs_no_bitmap() -> None:
    every = [located(*(("a", row) for row in range(9))), located(("d", 0))]
    selection = select_rows(every, ROWS, SIZES)
    assert selection == Selection((SelectedFile("a", 9, 90), SelectedFile("d", 1, 10)))
    assert selection.num_rows == 10


def test_nothing_is_selected_where_nothing_is_located() -> None:
    assert select_rows([], ROWS, SIZES) == select_rows([], {}, {}) == Selection(())
    assert select_rows([located(("a", 0)).slice(1)], ROWS, SIZES).num_rows == 0


def test_names_may_be_dictionary_encoded_and_relative_to_a_folder() -> None:
    batch = located(("b", 1), ("gone", 0), ("a", 8))
    encoded = pa.record_batch({"file": batch["file"].dictionary_encode(), "row": batch["row"]})
    kept = pa.concat_batches([encoded.slice(0, 1), encoded.slice(2)])  # its dictionary names a file that no row is in
    first, second = select_rows([kept], ROWS, SIZES, "s3://bucket/out/").files
    assert (first.path, wanted(first)) == ("s3://bucket/out/a", [8])
    assert (second.path, wanted(second)) == ("s3://bucket/out/b", [1])


def test_a_row_in_no_file_that_there_is_has_vanished() -> None:
    with pytest.raises(FileNotFoundError, match="^gone$"):
        select_rows([located(("a", 0), ("gone", 0))], ROWS, SIZES)


@pytest.mark.parametrize("row", [3, -1, 2**31 - 1])
def test_a_row_beyond_the_end_of_its_file_is_an_error(row: int) -> None:
    with pytest.raises(ValueError, match="beyond the end"):
        select_rows([located(("b", row))], ROWS, SIZES)
