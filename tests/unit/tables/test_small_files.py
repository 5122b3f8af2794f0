"""tables/small_files: the promises of a compaction at a run's end, kept over long histories of runs."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from verger.storage.base import Entry
from verger.tables import small_files
from verger.tables.small_files import AUTOMATIC_BYTES, MAX_SMALL_FILES, SMALL_BYTES, TARGET_BYTES

MB = 1 << 20
ROW_BYTES, FILE_BYTES = 2_900, 6_000  # of 1,280 features, as they are stored; and of a file without rows


@dataclass
class Store:
    """The sizes of a fingerprint's files, and how often the rows of each were copied."""

    sizes: dict[str, int] = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)  # size of the smallest file that a row in it was written in
    copied: int = 0
    number: int = 0

    def write(self, size: int, copies: int = 0, first: int | None = None) -> None:
        name = f"{self.number:08d}"
        self.number += 1
        self.sizes[name], self.copies[name], self.first[name] = size, copies, size if first is None else first

    def compact(self, most_bytes: int) -> int:
        """Merge what is chosen, a task getting the largest file that is left as Spark's workers do; bytes copied."""
        if self.small <= MAX_SMALL_FILES:  # most of the time, and quicker
            return 0
        chosen = small_files.choose([Entry(name, size, "") for name, size in self.sizes.items()], most_bytes)
        total = sum(entry.size for entry in chosen)
        if not chosen:
            return 0
        tasks: list[list[str]] = [[] for _ in range(small_files.count_outputs(total))]
        loads = [(0, number) for number in range(len(tasks))]
        for entry in reversed(chosen):
            load, number = loads[0]
            tasks[number].append(entry.path)
            heapq.heapreplace(loads, (load + entry.size, number))
        for names in tasks:
            copies, first = 1 + max(self.copies[name] for name in names), min(self.first[name] for name in names)
            self.write(sum(self.sizes.pop(name) for name in names), copies, first)
        self.copied += total
        return total

    @property
    def small(self) -> int:
        return sum(size < SMALL_BYTES for size in self.sizes.values())


def daily(draw: random.Random, runs: int) -> Iterator[list[int]]:
    """Runs of 1 to 10,000 photographs, in waves of 8 files and more: the bytes of each file."""
    for _ in range(runs):
        left = round(10 ** draw.uniform(0, 4))
        files = []
        while left > 0:
            wave, tasks = min(left, 2400), draw.randint(8, 16)
            left -= wave
            files += [FILE_BYTES + ROW_BYTES * (wave // tasks + (task < wave % tasks)) for task in range(tasks)]
        yield files


def ingested(draw: random.Random, runs: int) -> Iterator[list[int]]:
    """A first run of a million photographs, then small ones, and now and then another large one."""
    for number in range(runs):
        yield [FILE_BYTES + ROW_BYTES * draw.randint(100, 300)] * (5000 if number % 50 == 0 else 8)


def wide(draw: random.Random, runs: int) -> Iterator[list[int]]:
    """Features of 100 kB, in files just below those that count as small."""
    for _ in range(runs):
        yield [draw.randint(30 * MB, SMALL_BYTES - 1) for _ in range(draw.randint(1, 20))]


def one_by_one(draw: random.Random, runs: int) -> Iterator[list[int]]:
    for _ in range(runs):
        yield [FILE_BYTES + ROW_BYTES]


def mixed(draw: random.Random, runs: int) -> Iterator[list[int]]:
    """Files of all sizes, large ones too."""
    for _ in range(runs):
        yield [round(2 ** draw.uniform(10, 28)) for _ in range(draw.randint(1, 300))]


@pytest.mark.parametrize(
    ("history", "runs"), [(daily, 1000), (ingested, 120), (wide, 300), (one_by_one, 3000), (mixed, 100)]
)
def test_runs_never_leave_too_many_files_wait_long_or_copy_rows_often(history, runs: int) -> None:
    store = Store()
    written = 0
    for files in history(random.Random(1), runs):
        for size in files:
            store.write(size)
        written += sum(files)
        assert store.compact(AUTOMATIC_BYTES + sum(files)) <= AUTOMATIC_BYTES + sum(files)
        assert store.small <= MAX_SMALL_FILES
        assert len(store.sizes) <= MAX_SMALL_FILES + written / SMALL_BYTES
    for name, copies in store.copies.items():
        assert copies <= 1 + math.log(max(SMALL_BYTES / store.first[name], 1), 4) + 1e-9
    assert store.copied <= 4 * written
    assert sum(store.sizes.values()) == written


def test_ten_million_photographs_are_in_some_hundreds_of_files() -> None:
    store, rows = Store(), 0
    for _ in range(100):  # runs of 100,000, in files of 300
        files = [FILE_BYTES + 300 * ROW_BYTES] * 333
        rows += 100_000
        for size in files:
            store.write(size)
        store.compact(AUTOMATIC_BYTES + sum(files))
    assert rows == 10_000_000
    assert 200 <= len(store.sizes) < 500


def test_a_store_with_many_small_files_catches_up_over_several_runs() -> None:
    store, left = Store(), []
    for _ in range(20_000):  # 17 GB, of six million photographs
        store.write(FILE_BYTES + 300 * ROW_BYTES)
    while store.small > MAX_SMALL_FILES:
        assert AUTOMATIC_BYTES / 2 < store.compact(AUTOMATIC_BYTES) <= AUTOMATIC_BYTES
        left.append(store.small)
    assert len(left) <= 35
    assert left == sorted(left, reverse=True)


def test_nothing_is_chosen_as_long_as_there_are_few_small_files() -> None:
    entries = [Entry(f"{number:03d}", 1000, "") for number in range(MAX_SMALL_FILES)]
    assert small_files.choose([*entries, Entry("large", SMALL_BYTES, "")], AUTOMATIC_BYTES) == []
    one_more = [*entries, Entry("small", SMALL_BYTES - 1, "")]
    assert small_files.choose(one_more, AUTOMATIC_BYTES) == entries  # the last would be copied for little


@pytest.mark.parametrize("size", [1, MB, TARGET_BYTES, 3 * TARGET_BYTES // 2, 5 * TARGET_BYTES // 2, 99 * TARGET_BYTES])
def test_new_files_are_of_the_target_size_or_there_is_one(size: int) -> None:
    outputs = small_files.count_outputs(size)
    assert outputs == 1 or 0.66 * TARGET_BYTES <= size / outputs <= 1.5 * TARGET_BYTES
