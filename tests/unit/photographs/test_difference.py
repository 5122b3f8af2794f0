"""photographs/difference: sorted streams compared as a plain program would, whatever the batches they come in."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from verger.photographs.difference import LOCATED, LOCATION, compare, locate
from verger.photographs.inventory import SCHEMA

Row = dict[str, Any]
LETTERS = "ab/ é\uffff🍑"  # UTF-16 would sort the last two the other way round


def cut(draw: random.Random, rows: list[Row], schema: pa.Schema) -> Iterator[pa.Table | pa.RecordBatch]:
    """The rows in tables and batches of any size, empty ones among them."""
    at = 0
    while at < len(rows):
        size = draw.choice([0, 1, 1, 2, 3, 30])
        part = pa.Table.from_pylist(rows[at : at + size], schema)
        yield part.combine_chunks().to_batches()[0] if size and draw.random() < 0.5 else part
        at += size


def in_bytes(row: Row) -> tuple[bytes, ...]:
    return tuple(str(row.get(name) or "").encode() for name in ("path", "version", "file"))


def key(row: Row) -> tuple[str, str]:
    return row["path"], row["version"]


def some_paths(draw: random.Random) -> list[str]:
    longest = draw.choice([1, 2, 4])
    names = {"".join(draw.choices(LETTERS, k=draw.randint(0, longest))) for _ in range(draw.choice([1, 5, 60]))}
    return sorted(names, key=str.encode)


def some_today(draw: random.Random, paths: list[str]) -> list[Row]:
    share = draw.choice([0, 0.5, 0.9, 1])
    return [
        {"path": path, "label": draw.choice([None, "l"]), "split": None, "version": draw.choice("12"), "size": at}
        for at, path in enumerate(paths)
        if draw.random() < share
    ]


def some_locations(draw: random.Random, paths: list[str], files: str, versions: str = "123") -> list[Row]:
    """Versions of paths, each in some of the files: rows of one stream, in order."""
    rows = [
        {"path": path, "version": version, "file": file, "row": draw.randrange(1000)}
        for path in paths
        for version in versions
        for file in files
        if draw.random() < draw.choice([0.1, 0.5])
    ]
    return sorted(rows, key=in_bytes)


def gathered(tables: Iterable[pa.Table], schema: pa.Schema) -> list[Row]:
    rows: list[Row] = pa.concat_tables([schema.empty_table(), *(table.select(schema.names) for table in tables)])
    return list(rows.to_pylist())


def some_base(draw: random.Random, paths: list[str]) -> list[Row]:
    """The photograph versions of a run: one a path, some of whose files are gone."""
    rows = [{"path": path, "version": draw.choice("12"), "file": "b", "row": at} for at, path in enumerate(paths)]
    gone = draw.choice([0, 0.3, 1])
    return [row | ({"file": None} if draw.random() < gone else {}) for row in rows if draw.random() < 0.7]


@pytest.mark.parametrize("seed", range(300))
def test_streams_are_compared_as_dictionaries_would_be(seed: int) -> None:
    draw = random.Random(seed)
    paths = some_paths(draw)
    today, base = some_today(draw, paths), some_base(draw, paths) if seed % 4 else []
    others = [some_locations(draw, paths, files) for files in draw.choice([[], ["ac"], ["c", "ad"]])]
    present = None
    if draw.random() < 0.5:
        chosen = {row["path"] for row in today}
        present = [{"path": path} for path in paths if path in chosen or draw.random() < 0.5]
    paths_only = pa.schema([("path", pa.string())])
    found = list(
        compare(
            cut(draw, today, SCHEMA),
            cut(draw, base, LOCATION),
            [cut(draw, rows, LOCATION) for rows in others],
            None if present is None else cut(draw, present, paths_only),
        )
    )

    stored: dict[tuple[str, str], Row] = {}
    for row in [*base, *(row for rows in others for row in rows)]:
        last = stored.get(key(row))
        if row["file"] is not None and (last is None or row["file"] >= last["file"]):
            stored[key(row)] = row
    before, now = {key(row) for row in base}, {key(row) for row in today}
    there = {row["path"] for row in (today if present is None else present)}
    everything = [row for rows in [base, *others] for row in rows if row["file"] is not None]
    unused = sorted((row for row in everything if key(row) not in now or row != stored[key(row)]), key=in_bytes)

    located = gathered((compared.photographs for compared in found), LOCATED)
    assert located == [
        row
        | {name: stored[key(row)][name] if key(row) in stored else None for name in ("file", "row")}
        | {"kept": key(row) in before}
        for row in today
    ]
    assert gathered((compared.removed for compared in found), LOCATION) == [row for row in base if key(row) not in now]
    assert gathered((compared.unused for compared in found), LOCATION) == unused
    gone = [path for compared in found for path in compared.gone.to_pylist()]
    assert sorted(gone) == sorted({row["path"] for row in unused} - there)


@pytest.mark.parametrize("seed", range(200))
def test_photographs_without_a_place_get_that_of_what_was_stored_meanwhile(seed: int) -> None:
    draw = random.Random(seed)
    paths = some_paths(draw)
    photographs: list[Row] = []
    for row in some_today(draw, paths):
        file = draw.choice([None, "b"])
        photographs.append(row | {"file": file, "row": draw.choice([None, 7]) if file is None else 7, "kept": False})
    stored = [row for row in some_locations(draw, paths, draw.choice(["c", "cde"])) if draw.random() < 0.7]
    found = gathered(locate(cut(draw, photographs, LOCATED), cut(draw, stored, LOCATION)), LOCATED)
    places = {key(row): row for row in stored}
    expected = []
    for row in photographs:
        place = places.get(key(row))
        if row["file"] is None and place is not None:  # its row in a file that is gone says nothing
            row = row | {name: place[name] for name in ("file", "row")}
        expected.append(row if row["file"] is not None else row | {"row": None})
    assert found == expected


def test_all_versions_of_a_path_come_together_whatever_the_batches() -> None:
    today = [{"path": "b", "label": None, "split": None, "version": "5", "size": 1}]
    versions = [{"path": "b", "version": str(version), "file": "f", "row": version} for version in range(9)]
    single = [pa.Table.from_pylist([row], LOCATION) for row in versions]
    (compared,) = compare([pa.Table.from_pylist(today, SCHEMA)], [], [single])
    assert compared.photographs["row"].to_pylist() == [5]
    assert compared.unused["row"].to_pylist() == [0, 1, 2, 3, 4, 6, 7, 8]
    assert compared.gone.to_pylist() == []


def test_nothing_is_compared_with_nothing() -> None:
    assert list(compare([], [], [])) == []
    assert list(locate([], [])) == []
