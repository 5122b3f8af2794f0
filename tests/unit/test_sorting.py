"""sorting: sorted on disk as in memory, merged in order, cut at the same keys; whatever the rows and their batches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from verger import sorting, spool
from verger.sorting import Sorter, aligned, keep_last, merge

SCHEMA = pa.schema([("path", pa.string()), ("version", pa.string()), ("at", pa.int64())])
Row = tuple[str, str, int]
ALPHABETS = ["ab", "a /.b", "aé梨🍑\uffff\ue000", "\x00\x01a\n"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MAX_BATCH_ROWS", 7)
    monkeypatch.setattr(sorting, "_RUN_ROWS", 20)
    monkeypatch.setattr(sorting, "_MAX_MERGED", 3)


def table(rows: list[Row]) -> pa.Table:
    return pa.table([list(column) for column in zip(*rows, strict=True)] if rows else [[], [], []], schema=SCHEMA)


def rows_of(found: pa.Table) -> list[Row]:
    return [tuple(row.values()) for row in found.to_pylist()]


def drawn(draw: random.Random, number: int) -> list[Row]:
    """Rows of which many have equal paths."""
    letters, longest = draw.choice(ALPHABETS), draw.randrange(4)
    return [
        ("".join(draw.choices(letters, k=draw.randint(0, longest))), draw.choice("123"), at) for at in range(number)
    ]


def cut(draw: random.Random, rows: list[Row]) -> Iterator[pa.Table | pa.RecordBatch]:
    """The rows in tables and batches of any size, empty ones among them."""
    at = 0
    while at < len(rows):
        size = draw.choice([0, 1, 2, 5, 40])
        part = table(rows[at : at + size])
        yield part.combine_chunks().to_batches()[0] if size and draw.random() < 0.5 else part
        at += size


def in_bytes(row: Row) -> tuple[bytes, bytes]:
    return row[0].encode(), row[1].encode()


@pytest.mark.parametrize("seed", range(60))
def test_rows_are_sorted_in_the_order_of_bytes_and_equal_ones_keep_their_order(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    rows = drawn(draw, draw.choice([0, 1, 19, 20, 21, 150, 600]))
    if draw.random() < 0.3:
        rows.sort(key=in_bytes)
    if draw.random() < 0.3:  # sorted, but for a few
        rows = sorted(rows[:-5], key=in_bytes) + rows[-5:]
    sorter = Sorter(SCHEMA, ["path", "version"], str(tmp_path))
    for part in cut(draw, rows):
        sorter.write(part)
    assert rows_of(sorter.finish().to_table()) == sorted(rows, key=in_bytes)


@pytest.mark.parametrize("seed", range(60))
def test_of_equal_rows_the_last_is_kept(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    rows = drawn(draw, draw.choice([0, 1, 20, 150, 180, 600]))  # 180 rows in reverse are merged into one run
    rows.sort(key=in_bytes, reverse=draw.random() < 0.5)
    unique = draw.choice([["path"], ["path", "version"]])
    sorter = Sorter(SCHEMA, unique, str(tmp_path))
    for part in cut(draw, rows):
        sorter.write(part)
    expected = {row[: len(unique)]: row for row in rows}
    assert rows_of(sorter.finish(unique).to_table()) == sorted(expected.values(), key=in_bytes)


@pytest.mark.parametrize("order", [1, -1])
def test_unique_rows_of_which_all_runs_were_merged(order: int) -> None:
    rows = [(f"{at:03}", "1", at) for at in range(60)][::order]
    sorter = Sorter(SCHEMA, ["path"])
    for part in (rows, rows, rows):
        sorter.write(table(part))
    assert rows_of(sorter.finish(["path"]).to_table()) == sorted(rows)


def test_rows_in_order_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "merge", lambda *_: pytest.fail("sorted again"))
    sorter, rows = Sorter(SCHEMA, ["path"]), [(f"{at:03}", "1", at) for at in range(200)]
    for row in rows:
        sorter.write(table([row]))
    assert rows_of(sorter.finish(["path"]).to_table()) == rows


def test_few_files_are_merged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, present = [], sorting.merge

    def counted(streams: list[Iterator[pa.RecordBatch]], *more: object) -> Iterator[pa.Table]:
        at_once.append(len(streams))
        return present(streams, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(sorting, "merge", counted)
    sorter, rows = Sorter(SCHEMA, ["path"]), [(f"{at:05}", "1", at) for at in range(2000)]
    for row in reversed(rows):
        sorter.write(table([row]))
    assert rows_of(sorter.finish().to_table()) == rows
    assert max(at_once) <= 2 * 5  # two of each level, of 3 ** 4 < 100 runs


@pytest.mark.parametrize("seed", range(60))
def test_streams_are_cut_at_the_same_keys(seed: int) -> None:
    draw = random.Random(seed)
    streams = [sorted(drawn(draw, draw.choice([0, 0, 1, 30, 200])), key=in_bytes) for _ in range(draw.randint(1, 5))]
    blocks = list(aligned([cut(draw, rows) for rows in streams], [SCHEMA] * len(streams), "path"))
    assert all(any(part.num_rows for part in block) for block in blocks)
    for number, rows in enumerate(streams):
        assert [row for block in blocks for row in rows_of(block[number])] == rows
    keys = [sorted({row[0].encode() for part in block for row in rows_of(part)}) for block in blocks]
    assert all(before[-1] < after[0] for before, after in pairwise(keys))  # no key is in two blocks


def test_a_key_with_more_rows_than_a_batch_comes_in_one_block() -> None:
    one, many = table([("a", "1", 0), ("b", "1", 1), ("c", "1", 2)]), table([("b", str(at), at) for at in range(50)])
    batches = many.to_batches(max_chunksize=3)
    blocks = list(aligned([[one], batches], [SCHEMA] * 2, "path"))
    (block,) = [pair for pair in blocks if pair[1].num_rows]
    assert (block[0].filter(pa.compute.equal(block[0]["path"], "b")).num_rows, block[1].num_rows) == (1, 50)


def test_streams_of_different_columns_are_cut_too() -> None:
    other = pa.schema([("size", pa.int64()), ("path", pa.string())])
    right = pa.table([[1, 2], ["b", "d"]], schema=other)
    blocks = list(aligned([[table([("a", "1", 0), ("d", "1", 1)])], [right]], [SCHEMA, other], "path"))
    assert [row["size"] for _, part in blocks for row in part.to_pylist()] == [1, 2]
    assert list(aligned([[], []], [SCHEMA, other], "path")) == []


@pytest.mark.parametrize("seed", range(30))
def test_merged_streams_are_sorted(seed: int) -> None:
    draw = random.Random(seed)
    streams = [sorted(drawn(draw, draw.choice([0, 1, 100])), key=in_bytes) for _ in range(draw.randint(0, 4))]
    merged = [rows_of(part) for part in merge([cut(draw, rows) for rows in streams], SCHEMA, ["path", "version"])]
    assert [row for part in merged for row in part] == sorted((row for rows in streams for row in rows), key=in_bytes)


@pytest.mark.parametrize("seed", range(20))
def test_keep_last_of_a_table(seed: int) -> None:
    draw = random.Random(seed)
    rows = sorted(drawn(draw, draw.choice([0, 1, 2, 80])), key=in_bytes)
    expected = [list(group)[-1] for _, group in groupby(rows, key=lambda row: row[:2])]
    chunked = pa.concat_tables([SCHEMA.empty_table(), *(table([row]) for row in rows)])
    assert rows_of(keep_last(chunked, ["path", "version"])) == expected
