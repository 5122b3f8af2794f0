"""Runs that spark-submit starts, as in a driver's pod: the log, the figures that are served, and cheap failures."""

from __future__ import annotations

import json
import resource
import socket
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import verger
from tests.integration.runs import photographs, submitted
from tests.integration.s3 import Minio
from verger.spark.metrics import NAMES

GAUGE = "metrics_verger_driver_AccumulatorSource_{}_Value"

# What the JVM writes before any log of ours, or of Spark's, is there.
NATIVE = ("WARNING: Using incubator modules",)


def log_of(folder: Path) -> list[dict[str, Any]]:
    """Every line is an object."""
    said = (folder / "log").read_text().splitlines()
    return [json.loads(line) for line in said if not line.startswith(NATIVE)]


def scraped(port: int) -> dict[str, float]:
    """Our gauges, as Prometheus reads them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics/prometheus/", timeout=5) as answer:
        lines = [line.rpartition(" ") for line in answer.read().decode().splitlines()]
    served = {name.partition("{")[0]: value for name, _, value in lines}
    return {name: float(served[GAUGE.format(name)]) for name in NAMES}


def test_a_run_logs_json_alone_and_serves_its_figures(tmp_path: Path) -> None:
    """The figures after extraction are the manifest's; one photograph is known before, two are bad."""
    photographs(tmp_path / "in", 60)
    arguments = ("run", "--input", "in", "--output", "out", "--backbone", "pixels", "--input-size", "8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first = submitted(*arguments, "--max-photographs", "20", cwd=tmp_path, settings={"spark.ui.enabled": "false"})
    assert first.wait(timeout=120) == 0, (tmp_path / "log").read_text()
    for name in ("a", "b"):
        (tmp_path / "in" / "label 0" / f"{name}.png").write_bytes(b"no photograph" * 100)

    process = submitted(*arguments, cwd=tmp_path, settings={"spark.ui.port": str(port)})
    last: dict[str, float] = {}
    deadline = time.monotonic() + 300
    while process.poll() is None:
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        with suppress(OSError, KeyError):
            last = scraped(port)
        time.sleep(0.05)
    lines = log_of(tmp_path)
    assert process.returncode == 0, lines[-1]

    counts = json.loads(next((tmp_path / "out").glob(f"runs/{lines[-1]['run_id']}/manifest.json")).read_text())
    counts = counts["photographs"]
    assert (counts["listed"], counts["known"], counts["computed"], counts["rejected"]) == (62, 20, 40, 2)
    assert {name: last[f"photographs_{name}"] for name in ("listed", "known", "computed", "rejected")} == {
        name: counts[name] for name in ("listed", "known", "computed", "rejected")
    }
    assert last["photographs_done"] == last["photographs_total"] == 42

    assert all({"ts", "level", "logger"} <= line.keys() for line in lines)
    ours = [line for line in lines if line["logger"] == "verger"]
    assert {line["event"] for line in ours} == {"stage", "progress", "message", "done"}
    assert ours[-1]["event"] == "done" and ours[-1]["projected"] == 60
    assert verger.load(str(tmp_path / "out")).num_rows == 60


# As the process ends, it tells what it has imported and started.
CONFESSES = """
import atexit, json, sys
def confess():
    spark = sys.modules.get("pyspark.core.context")
    started = spark is not None and spark.SparkContext._active_spark_context is not None
    with open("confession", "w") as file:
        json.dump([sorted({"tensorflow", "keras"} & set(sys.modules)), started], file)
if sys.argv[-1] != "--help":
    atexit.register(confess)
"""
PIXELS = ("--backbone", "pixels")
PERMANENT: dict[str, tuple[int, tuple[str, ...], str]] = {
    "a wrong value": (2, ("--batch-size", "0"), "batch_size"),
    "an output in the input": (2, ("--output", "in/out"), "in/out"),
    "no finished run to reuse": (2, (*PIXELS, "--pca", "reuse"), "no finished run"),
    "no such folder": (3, ("--input", "nowhere"), "nowhere"),
    "no photographs": (3, ("--input", "empty"), "empty"),
    "no weights": (7, ("--weights", "none.h5"), "none.h5"),
    "no such weights": (7, ("--weights", "wrong.npz"), "wrong.npz"),
    "weights of another digest": (7, ("--weights-sha256", "0" * 64), "SHA-256"),
}


def fails(folder: Path, code: int, words: str, *arguments: str, **environment: str) -> None:
    """A run ends in one line and this code, soon, and has neither imported TensorFlow nor started a SparkContext."""
    photographs(folder / "in", 3)
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "wrong.npz").write_bytes(b"no weights")
    places = {"--input": "in", "--output": "out"}
    given = [part for name, place in places.items() if name not in arguments for part in (name, place)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = submitted("run", *given, *arguments, cwd=folder, inject=CONFESSES, **environment)
    assert process.wait(timeout=120) == code, (folder / "log").read_text()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # CPU, and not by the clock, which runs for other tests too.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 15
    last = log_of(folder)[-1]
    assert (last["event"], last["exit_code"]) == ("failed", code)
    assert words in last["message"]
    assert json.loads((folder / "confession").read_text()) == [[], False]


@pytest.mark.parametrize("case", PERMANENT)
def test_what_will_never_succeed_ends_before_tensorflow_and_spark(tmp_path: Path, case: str) -> None:
    code, arguments, words = PERMANENT[case]
    fails(tmp_path, code, words, *arguments)


def test_so_does_what_a_store_refuses(tmp_path: Path, minio: Minio) -> None:
    bucket, store = minio.bucket(), minio.environment()
    denied = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), minio.user("diagnostics"), strict=True))
    reached = ("--input", f"s3://{bucket}/in", "--store-location", "eu")
    fails(tmp_path, 3, "no bucket", "--input", "s3://there-is-none", "--store-location", "eu", **store)
    fails(tmp_path, 3, f"s3://{bucket}/in", *reached, **store)
    fails(tmp_path, 4, bucket, *reached, **store | denied)
    fails(tmp_path, 4, "secret key", *reached, **store | {"AWS_SECRET_ACCESS_KEY": "another"})
    fails(tmp_path, 5, "--store-location", "--input", f"s3://{bucket}/in", **store)


def test_an_authority_that_the_jvm_was_not_told_of_is_missed_before_spark_starts(
    tmp_path: Path, jars: Path, minios: Callable[..., Minio]
) -> None:
    server = minios(tls=True)
    output = ("--output", f"s3://{server.bucket()}/out", "--store-location", "eu")
    fails(tmp_path, 2, "trustStore", *PIXELS, *output, **server.environment() | {"AWS_CA_BUNDLE": str(server.ca)})
