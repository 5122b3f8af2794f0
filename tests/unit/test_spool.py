"""spool: rows come back as they were written, from a file that nobody else sees and that does not stay."""

from __future__ import annotations

import errno
import gc
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from verger import spool as module
from verger.errors import DoesNotFitError
from verger.spool import Spool, SpoolWriter, count, spool

SCHEMA = pa.schema([("path", pa.string()), ("size", pa.int64())])
ODD = ["", "a", "a b/x", "a/x", "é", "梨/一", "🍑", "x\ny", "x\0y", None]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BATCH_ROWS", 10)


def table(start: int, stop: int) -> pa.Table:
    return pa.table({"path": [ODD[at % len(ODD)] for at in range(start, stop)], "size": range(start, stop)}, SCHEMA)


def open_files(folder: Path) -> int:
    """Files in a folder that this process has open, also those without a name."""
    links = [os.path.join("/proc/self/fd", number) for number in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith(f"{folder}/") for link in links if os.path.islink(link))


@pytest.mark.parametrize("rows", [0, 1, 9, 10, 11, 25, 100])
def test_rows_come_back_as_they_were_written(tmp_path: Path, rows: int) -> None:
    whole = spool(SCHEMA, [table(0, rows)], str(tmp_path))
    assert whole.num_rows == rows
    assert whole.to_table() == table(0, rows)
    assert whole.to_table().schema == whole.schema == SCHEMA
    assert [batch.num_rows for batch in whole.batches()] == [10] * (rows // 10) + [rows % 10] * (rows % 10 > 0)
    assert open_files(tmp_path) == (rows >= 10)


@pytest.mark.parametrize("seed", range(20))
def test_writes_of_any_size_make_batches_of_one_size(tmp_path: Path, seed: int) -> None:
    draw, bounds = random.Random(seed), [0]
    while bounds[-1] < 200:
        bounds.append(bounds[-1] + draw.choice([0, 1, 3, 10, 37]))
    parts = [table(*both) for both in pairwise(bounds)]
    written = spool(SCHEMA, (part if draw.random() < 0.5 else part.combine_chunks() for part in parts), str(tmp_path))
    assert written.to_table() == table(0, bounds[-1])
    assert {batch.num_rows for batch in list(written.batches())[:-1]} == {10}
    for _ in range(50):
        start, length = draw.randrange(bounds[-1] + 20), draw.randrange(60)
        assert written.slice(start, length) == table(0, bounds[-1]).slice(start, length)


def test_record_batches_and_other_orders_of_columns_can_be_written(tmp_path: Path) -> None:
    for rows in (3, 30):
        turned = table(0, rows).select(["size", "path"])
        assert spool(SCHEMA, turned.to_batches(), str(tmp_path)).to_table() == table(0, rows)


@pytest.mark.parametrize("rows", [3, 30])
def test_some_columns_alone_can_be_read(tmp_path: Path, rows: int) -> None:
    written = spool(SCHEMA, [table(0, rows)], str(tmp_path))
    for columns in (["size"], ["path"], ["size", "path"]):
        found = pa.Table.from_batches(written.batches(columns))
        assert found == table(0, rows).select([name for name in SCHEMA.names if name in columns])


def test_rows_are_read_as_often_as_needed_and_by_several_threads(tmp_path: Path) -> None:
    written, found = spool(SCHEMA, [table(0, 1000)], str(tmp_path)), []

    def read() -> None:
        for columns in (None, ["path"], ["size"]):
            names = columns or SCHEMA.names
            found.append(pa.Table.from_batches(written.batches(columns)) == table(0, 1000).select(names))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 24


def test_values_are_counted(tmp_path: Path) -> None:
    assert count(spool(SCHEMA, [table(0, 95)], str(tmp_path)), "path") == {
        value: 10 if at < 5 else 9 for at, value in enumerate(ODD)
    }
    assert count(spool(SCHEMA, []), "path") == {}


def test_the_file_has_no_name_and_is_gone_with_the_spool(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "when needed"
    written = spool(SCHEMA, [table(0, 30)], str(folder))
    batches = written.batches()
    next(batches)
    assert not os.listdir(folder)
    assert open_files(folder) == 1
    del written, batches
    gc.collect()
    assert open_files(folder) == 0


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[pa.Table]:
        yield table(0, 30)
        assert open_files(tmp_path) == 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        spool(SCHEMA, failing(), str(tmp_path))
    gc.collect()
    assert not os.listdir(tmp_path)
    assert open_files(tmp_path) == 0


def test_a_process_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, pyarrow as pa\n"
        "from verger.spool import SpoolWriter\n"
        "writer = SpoolWriter(pa.schema([('n', pa.int64())]), sys.argv[1])\n"
        "writer.write(pa.table({'n': range(200_000)}))\n"
        "assert os.readlink(f'/proc/self/fd/{writer._file.fileno()}').startswith(sys.argv[1])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert (killed.returncode, killed.stderr) == (-9, "")
    assert not os.listdir(tmp_path)


def test_a_full_disk_ends_the_writing_in_one_line(full_disk: Path) -> None:
    draw = random.Random(1)
    with pytest.raises(DoesNotFitError) as caught, SpoolWriter(SCHEMA, str(full_disk)) as writer:
        for _ in range(1000):
            writer.write(pa.table({"path": [draw.randbytes(500).hex() for _ in range(10)], "size": range(10)}, SCHEMA))
        writer.finish()
    assert caught.value.what == f"temporary file in {full_disk}: the disk is full"
    assert "--local-dir" in caught.value.advice
    del caught, writer
    gc.collect()
    assert open_files(full_disk) == 0


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 kB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As on a machine where no file system can be mounted."""

    def full(**_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module.tempfile, "TemporaryFile", full)
    with pytest.raises(DoesNotFitError, match="the disk is full"):
        spool(SCHEMA, [table(0, 30)], str(tmp_path))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DoesNotFitError, match=r"temporary file in .*/file: (File exists|Not a directory)"):
        spool(SCHEMA, [table(0, 30)], str(tmp_path / "file"))


def test_a_spool_of_batches_in_memory() -> None:
    assert Spool(SCHEMA, table(0, 7).to_batches()).to_table() == table(0, 7)
