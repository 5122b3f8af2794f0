"""How the photographs of a wave are distributed over tasks."""

from __future__ import annotations

import math
from itertools import pairwise

import pyarrow as pa
import pytest

from verger.network.extraction import partition_round_robin


def photographs(rows: int) -> pa.Table:
    sizes = [7919 * number % 1000 for number in range(rows)]
    return pa.table({"path": [f"/{number:05d}" for number in range(rows)], "size": sizes})


def tasks(rows: int, partitions: int, batch_size: int) -> list[list[int]]:
    """The sizes of each task's photographs."""
    made = partition_round_robin(photographs(rows), partitions, batch_size)
    assert sorted(made["path"].to_pylist()) == photographs(rows)["path"].to_pylist()
    return [batch["size"].to_pylist() for batch in made.to_batches()]


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 100, 4724, 4736])
@pytest.mark.parametrize("partitions", [1, 2, 10, 21])
def test_tasks_together_have_no_more_batches_than_needed(rows: int, partitions: int) -> None:
    made = tasks(rows, partitions, 16)
    batches = [math.ceil(len(task) / 16) for task in made]
    assert len(made) == min(rows, partitions)
    assert sum(batches) == max(len(made), math.ceil(rows / 16))
    assert max(batches) - min(batches) <= 1


def test_each_task_has_large_and_small_photographs_the_large_ones_first() -> None:
    means = []
    for task in tasks(4724, 10, 16):
        assert task == sorted(task, reverse=True)
        means.append(sum(task) / len(task))
    assert max(means) < 1.02 * min(means)


def test_fewer_photographs_than_a_batch_for_each_task_are_dealt_one_by_one() -> None:
    lengths = [len(task) for task in tasks(10, 4, 16)]
    assert sorted(lengths) == [2, 2, 3, 3]
    assert all(abs(one - other) <= 1 for one, other in pairwise(lengths))
