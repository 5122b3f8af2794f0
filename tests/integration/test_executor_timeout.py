"""A cluster without executors: a run on it ends by itself, and the next one goes on from what was committed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import verger
from tests.integration.runs import photographs, submitted
from tests.integration.standalone import Cluster, cluster

PIXELS = ("run", "--input", "in", "--output", "out", "--backbone", "pixels", "--input-size", "8")
QUICK = ("--no-classifier", "--no-report")


@pytest.fixture
def standalone(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "cluster").mkdir()
    with cluster(tmp_path / "cluster") as found:
        yield found


def start(folder: Path, master: str, *arguments: str) -> subprocess.Popen[str]:
    settings = {"spark.master": master, "spark.executor.memory": "512m"}
    return submitted(*PIXELS, *QUICK, *arguments, cwd=folder, settings=settings)


def ended(process: subprocess.Popen[str], folder: Path) -> tuple[int, dict[str, Any]]:
    """The exit code, and what the last line of ours says."""
    code = process.wait(timeout=240)
    lines = (folder / "log").read_text().splitlines()
    return code, json.loads([line for line in lines if '"event"' in line][-1])


def test_a_run_to_which_no_executor_comes_ends_in_one_line(standalone: Cluster, tmp_path: Path) -> None:
    photographs(tmp_path / "in", 8)
    code, last = ended(start(tmp_path, standalone.master, "--executors-timeout", "3"), tmp_path)
    assert (code, last["event"], last["exit_code"]) == (8, "failed", 8), (tmp_path / "log").read_text()
    assert last["message"].startswith("no executor has come in 3 s. Remove what keeps them away")
    assert "Traceback" not in (tmp_path / "log").read_text()

    (failure,) = (tmp_path / "out").glob("runs/*/failure.json")
    assert json.loads(failure.read_text())["exit_code"] == 8
    assert not [path for path in (tmp_path / "out").rglob("*.parquet") if "features" in path.parts]


@pytest.mark.slow
def test_a_run_that_loses_its_executors_ends_and_keeps_what_was_committed(standalone: Cluster, tmp_path: Path) -> None:
    photographs(tmp_path / "in", 200)
    worker = standalone.add_worker()
    process = start(tmp_path, standalone.master, "--executors-timeout", "3", "--wave-size", "4")
    deadline = time.monotonic() + 120
    while not (stored := files(tmp_path)):
        assert time.monotonic() < deadline and process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.05)
    standalone.remove(worker)

    code, last = ended(process, tmp_path)
    assert (code, last["exit_code"]) == (8, 8), (tmp_path / "log").read_text()
    assert last["message"].startswith("all executors are gone, and no executor has come back in 3 s")
    kept = files(tmp_path)
    assert stored <= kept
    rows = sum(pq.read_metadata(path).num_rows for path in kept)
    assert 0 < rows < 200 and rows % 4 == 0
    assert not list((tmp_path / "out").rglob("_temporary"))

    code, last = ended(start(tmp_path, "local[2]"), tmp_path)
    assert code == 0, (tmp_path / "log").read_text()
    assert (last["known"], last["computed"], last["projected"]) == (rows, 200 - rows, 200)
    assert verger.load(str(tmp_path / "out")).num_rows == 200


def files(folder: Path) -> set[Path]:
    """What is committed of the features."""
    return set((folder / "out" / "features").glob("*/*/*.parquet"))
