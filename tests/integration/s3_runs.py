"""What the tests of whole runs on buckets share: a bucket with photographs, and what runs leave in it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import verger
from tests.integration.runs import photographs
from tests.integration.runs import verger as start
from tests.integration.s3 import Server

COUNT = 60

# For `runs.verger`: as SIGKILL ends the process, it ends Spark's JVM too, which would leave in order otherwise.
KILL_ALL = """
import os, signal
def kill_all():
    from pyspark import SparkContext
    if SparkContext._gateway is not None:
        os.killpg(SparkContext._gateway.proc.pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
"""

# The projection's first partition is done at once, its second one much later.
SLOW_PROJECTION = """
import time
import verger.components.projection as projection
transformed = projection._transformed
def slowly(*arguments):
    from pyspark import TaskContext
    time.sleep({seconds} * TaskContext.get().partitionId())
    return transformed(*arguments)
projection._transformed = slowly
"""


def reach(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process, and those that it starts, find the server by AWS's own variables."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)


@dataclass
class Place:
    """A bucket with photographs below ``in``, whose copies are in a folder's ``in``, and runs that write to ``out``.

    Attributes
    ----------
    server : Server
    folder : Path
        Where the processes run.
    bucket : str
    """

    server: Server
    folder: Path
    bucket: str

    @classmethod
    def make(cls, server: Server, folder: Path) -> Place:
        """A new bucket with 60 photographs."""
        place = cls(server, folder, server.bucket())
        for path in photographs(folder / "in", COUNT):
            place.put(str(path.relative_to(folder)), path.read_bytes())
        return place

    @property
    def input(self) -> str:
        return f"s3://{self.bucket}/in"

    @property
    def output(self) -> str:
        return f"s3://{self.bucket}/out"

    def put(self, key: str, data: bytes) -> None:
        self.server.client().put_object(Bucket=self.bucket, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        data: bytes = self.server.client().get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return data

    def arguments(self, *more: str) -> list[str]:
        """A run by quick and exact pixels, three waves of two partitions."""
        places = ["--input", self.input, "--output", self.output, "--store-location", "eu"]
        quick = ["--backbone", "pixels", "--input-size", "8", "--no-classifier", "--no-report"]
        return ["run", *places, *quick, *SHAPE, *more]

    def start(self, *more: str, inject: str = "") -> subprocess.Popen[str]:
        """Start a run as a process of its own."""
        return start(*self.arguments(*more), inject=inject, cwd=self.folder)

    def keys(self, below: str = "out/", suffix: str = "") -> list[str]:
        """The objects that can be seen."""
        pages = self.server.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=below)
        keys = (item["Key"] for page in pages for item in page.get("Contents", []))
        return [key for key in keys if key.endswith(suffix)]

    def in_parts(self, key: str) -> bool:
        """Whether it was uploaded in parts, as large files are."""
        etag: str = self.server.client().head_object(Bucket=self.bucket, Key=key)["ETag"]
        return "-" in etag

    def uploads(self) -> list[str]:
        """The keys of uploads, anywhere in the bucket, that were begun and neither completed nor aborted."""
        found = self.server.client().list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return [upload["Key"] for upload in found]

    def documents(self, name: str) -> Iterator[dict[str, Any]]:
        """Every run's JSON file of this name, in the order of the runs."""
        for key in self.keys("out/runs/", f"/{name}"):
            yield json.loads(self.get(key))

    def stored(self) -> list[str]:
        """The photographs whose features can be seen in the store, duplicates included."""
        files = [key for key in self.keys("out/features/", ".parquet") if "/_" not in key]
        return [path for key in files for path in pq.read_table(io.BytesIO(self.get(key)))["path"].to_pylist()]

    def assert_whole(self, expected: Tables) -> None:
        """The output has the tables of an undisturbed run, each photograph once."""
        assert_same(Tables.load(self.output, self.input), expected)


SHAPE = ("--wave-size", "20", "--partitions", "2", "--cores", "2", "--progress-interval", "0.2")


@dataclass
class Tables:
    """What a run came to, with names below its input and without versions, which no two stores share."""

    projection: pa.Table
    features: pa.Table

    @classmethod
    def load(cls, output: str, source: str) -> Tables:
        """The tables of an output's latest run."""
        return cls(
            _below(verger.load(output), source).drop_columns("version"),
            _below(verger.load_features(output), source).drop_columns(["version", "extracted_at"]),
        )


def _below(table: pa.Table, source: str) -> pa.Table:
    paths = [path.removeprefix(source) for path in table["path"].to_pylist()]
    assert len(set(paths)) == len(paths) == COUNT
    return table.set_column(0, "path", pa.array(paths))


def assert_same(got: Tables, expected: Tables) -> None:
    """Two runs over the same photographs."""
    assert got.features.equals(expected.features)
    assert got.projection.drop_columns("pca_features").equals(expected.projection.drop_columns("pca_features"))
    components = [np.stack(tables.projection["pca_features"].to_pylist()) for tables in (got, expected)]
    np.testing.assert_allclose(*components, atol=1e-7 * np.ptp(components[1]), rtol=0)


def descendants(pid: int) -> dict[int, tuple[int, str]]:
    """The parent and the command line of all processes that a process has started, and those that they have."""
    running: dict[int, tuple[int, str]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            command = (status.parent / "cmdline").read_text().replace("\0", " ")
            running[int(status.parent.name)] = (parent, command)
    found: dict[int, tuple[int, str]] = {}
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        children = {child: its for child, its in running.items() if its[0] == parent}
        found |= children
        waiting += children
    return found


def kill_all(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the driver, its JVM and its workers, as when their machine vanishes; nothing where it has ended."""
    if process.poll() is not None:
        return
    for pid in [process.pid, *descendants(process.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
