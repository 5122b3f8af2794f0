"""A long-lived process, as a notebook is: one run after another, each with its own store, keys and JVM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.integration.runs import photographs
from tests.integration.s3 import Minio

pytestmark = [pytest.mark.required_in_ci, pytest.mark.slow]

SCRIPT = """
import json, os, sys
import verger
from verger import pipeline
from verger.config import RunConfig

for step in json.load(sys.stdin):
    os.environ.update(step["environment"])
    done = pipeline.run(RunConfig(backbone="pixels", input_size=8, cores=1, store_location="eu", **step["places"]))
    print(json.dumps([done.photographs.computed, verger.load(step["places"]["output"]).num_rows]))
"""


def test_one_process_reaches_one_store_after_the_other(minio: Minio, own_minio: Minio, tmp_path: Path) -> None:
    files = photographs(tmp_path / "in", 6)
    steps = [{"environment": {}, "places": {"input": str(tmp_path / "in"), "output": str(tmp_path / "out")}}]
    for server in (minio, own_minio):  # with buckets of the same names, which must not be taken for one another
        server.bucket("notebook-in")
        server.bucket("notebook-out")
        for file in files:
            server.client().upload_file(str(file), "notebook-in", f"in/{file.parent.name}/{file.name}")
        places = {"input": "s3://notebook-in/in", "output": "s3://notebook-out/out"}
        steps.append({"environment": server.environment(), "places": places})
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "VERGER_"))}
    paths = os.pathsep.join((str(ROOT / "job"), str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(steps),
        env=kept | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [[6, 6]] * 3
    for server in (minio, own_minio):
        keys = [item["Key"] for item in server.client().list_objects_v2(Bucket="notebook-out")["Contents"]]
        assert len([key for key in keys if key.startswith("out/features/") and key.endswith(".parquet")]) == 1
