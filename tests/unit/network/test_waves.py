"""network/waves: the first tasks of a run."""

from __future__ import annotations

import pytest

from verger.config import RunConfig
from verger.network.waves import first_tasks


@pytest.mark.parametrize(
    ("rows", "cores", "partitions", "first"),
    [
        (5, 2, None, 0),
        (127, 2, None, 0),  # a task would have but a few batches
        (128, 2, None, 2),
        (100_000, 2, None, 2),
        (100_000, 96, None, 4),  # each leaves a small file
        (100_000, 2, 7, 0),
    ],
)
def test_a_run_of_many_photographs_begins_with_small_tasks(
    rows: int, cores: int, partitions: int | None, first: int
) -> None:
    config = RunConfig(input="in", output="out", batch_size=16, partitions=partitions)
    assert first_tasks(rows, cores, config) == first
