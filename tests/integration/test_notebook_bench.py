"""bench/notebook.py, the job with which Verger is compared, as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT
from verger.photographs import synthetic

NOTEBOOK = ROOT / "bench" / "notebook.py"


@pytest.mark.slow
def test_the_job_runs_where_the_path_has_another_python(tmp_path: Path) -> None:
    """As `make bench` calls it: by the environment's Python, without the environment on the PATH."""
    (tmp_path / "in" / "fruit").mkdir(parents=True)
    for number in range(60):
        (tmp_path / "in" / "fruit" / f"{number}.jpg").write_bytes(synthetic.draw_one(number, seed=1))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYSPARK_", "SPARK_"))}
    options = ["--form", "best", "--weights", "bundled", "--partitions", "2", "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(
        [sys.executable, NOTEBOOK, "--input", tmp_path / "in", "--output", tmp_path / "out", *options],
        env=environment | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "figures.json").read_text())
    assert pq.read_table(tmp_path / "out" / "features").num_rows == 60
