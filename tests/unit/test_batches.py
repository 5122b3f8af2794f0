from collections.abc import Iterator

import pytest

from verger.batches import batched, slices


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
