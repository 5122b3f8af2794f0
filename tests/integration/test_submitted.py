"""Runs that spark-submit starts, as in a driver's pod: the log, the figures that are served, and cheap failures."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import verger
from tests.conftest import ROOT
from tests.integration.runs import photographs, run, submitted
from tests.integration.s3 import Minio
from verger.spark.metrics import NAMES

GAUGE = "metrics_verger_driver_AccumulatorSource_{}_Value"

# What the shell and the JVM write before any log of ours, or of Spark's, is there.
NATIVE = ("WARNING: Using incubator modules", "bash: warning: setlocale: LC_ALL: cannot change locale")


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


def test_a_run_logs_json_alone_and_serves_its_figures(spark: Any, tmp_path: Path) -> None:
    """The figures after extraction are the manifest's; one photograph is known before, two are bad."""
    photographs(tmp_path / "in", 60)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run(spark, tmp_path, max_photographs=20)
    for name in ("a", "b"):
        (tmp_path / "in" / "label 0" / f"{name}.png").write_bytes(b"no photograph" * 100)

    arguments = ("run", "--input", "in", "--output", "out", "--backbone", "pixels", "--input-size", "8")
    quick = ("--no-classifier", "--no-report")
    process = submitted(*arguments, *quick, cwd=tmp_path, settings={"spark.ui.port": str(port)})
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
    assert {line["event"] for line in ours} == {"stage", "waiting", "progress", "message", "done"}
    assert ours[-1]["event"] == "done" and ours[-1]["projected"] == 60
    # spark-submit had Hadoop's usual file system of a disk, which writes .crc files, before our settings came.
    tables = [path for folder in ("features", "rejects") for path in (tmp_path / "out" / folder).rglob("*.*")]
    assert {path.suffix for path in tables if path.is_file()} == {".parquet"}
    assert verger.load(str(tmp_path / "out")).num_rows == 60


# What never succeeds, by the code, the options and a part of the line.
PIXELS = ("--backbone", "pixels")
Case = tuple[int, tuple[str, ...], str]
PERMANENT: dict[str, Case] = {
    "a wrong value": (2, ("--batch-size", "0"), "batch_size"),
    "an output in the input": (2, ("--output", "in/out"), "in/out"),
    "no finished run to reuse": (2, (*PIXELS, "--pca", "reuse"), "no finished run"),
    "no such folder": (3, ("--input", "nowhere"), "nowhere"),
    "no photographs": (3, ("--input", "empty"), "empty"),
    "no weights": (7, ("--weights", "none.h5"), "none.h5"),
    "no such weights": (7, ("--weights", "wrong.npz"), "wrong.npz"),
    "weights of another digest": (7, ("--weights-sha256", "0" * 64), "SHA-256"),
}

# As the process ends, it tells what it has imported and started.
REPORT_AT_EXIT = """
import atexit, json, sys
def report():
    spark = sys.modules.get("pyspark.core.context")
    started = spark is not None and spark.SparkContext._active_spark_context is not None
    with open("reported", "w") as file:
        json.dump([sorted({"tensorflow", "keras"} & set(sys.modules)), started], file)
if sys.argv[-1] != "--help":
    atexit.register(report)
"""

# One process for many runs that fail: what a run has imported is still there after the next.
FAILS_IN_TURN = """
import contextlib, io, json, os, sys
from verger import cli
for arguments, environment in json.load(sys.stdin):
    os.environ.update(environment)
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            cli.main(["run", *arguments])
        except SystemExit as ended:
            code = ended.code
    spark = sys.modules.get("pyspark.core.context")
    started = spark is not None and spark.SparkContext._gateway is not None
    imported = sorted({"tensorflow", "keras"} & set(sys.modules))
    print(json.dumps([code, json.loads(said.getvalue().splitlines()[-1]), imported, started]))
"""


def places(folder: Path, arguments: tuple[str, ...]) -> list[str]:
    """The arguments, and the input and output that they leave open."""
    if not (folder / "in").exists():
        photographs(folder / "in", 3)
        (folder / "empty").mkdir()
        (folder / "wrong.npz").write_bytes(b"no weights")
    defaults = {"--input": "in", "--output": "out"}
    return [part for name, place in defaults.items() if name not in arguments for part in (name, place)] + [*arguments]


def failed_in_turn(folder: Path, runs: list[tuple[tuple[str, ...], dict[str, str]]]) -> list[Any]:
    """Exit code, last line, what was imported, and whether a JVM was started, of one run after the other."""
    given = [(places(folder, arguments), environment) for arguments, environment in runs]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "VERGER_"))}
    more = {"PYTHONPATH": str(ROOT / "job"), "VERGER_LOG_FORMAT": "json"}
    command = [sys.executable, "-c", FAILS_IN_TURN]
    done = subprocess.run(
        command, input=json.dumps(given), env=kept | more, cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_failed_soon(found: Any, code: int, words: str) -> None:
    """It ended in one line and this code, and has neither imported TensorFlow nor started Spark."""
    got, last, imported, started = found
    assert got == code, last
    assert (last["event"], last["exit_code"]) == ("failed", code)
    assert words in last["message"]
    assert (imported, started) == ([], False)


@pytest.fixture(scope="module")
def permanent(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How each of PERMANENT ended."""
    runs = [(arguments, {}) for _, arguments, _ in PERMANENT.values()]
    return dict(zip(PERMANENT, failed_in_turn(tmp_path_factory.mktemp("permanent"), runs), strict=True))


@pytest.mark.parametrize("case", PERMANENT)
def test_what_will_never_succeed_ends_before_tensorflow_and_spark(permanent: dict[str, Any], case: str) -> None:
    code, _, words = PERMANENT[case]
    assert_failed_soon(permanent[case], code, words)


def test_what_a_store_refuses_ends_before_tensorflow_and_spark(tmp_path: Path, minio: Minio) -> None:
    bucket, store = minio.bucket(), minio.environment()
    denied = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), minio.user("diagnostics"), strict=True))
    reached = ("--input", f"s3://{bucket}/in", "--store-location", "eu")
    cases: list[tuple[int, str, tuple[str, ...], dict[str, str]]] = [
        (3, "no bucket", ("--input", "s3://there-is-none", "--store-location", "eu"), store),
        (3, f"s3://{bucket}/in", reached, store),
        (4, bucket, reached, store | denied),
        (4, "secret key", reached, store | {"AWS_SECRET_ACCESS_KEY": "another"}),
        (5, "--store-location", ("--input", f"s3://{bucket}/in"), store),
    ]
    ended = failed_in_turn(tmp_path, [(arguments, environment) for *_, arguments, environment in cases])
    for (code, words, *_), found in zip(cases, ended, strict=True):
        assert_failed_soon(found, code, words)


def fails_submitted(folder: Path, code: int, words: str, *arguments: str, **environment: str) -> None:
    """The same by spark-submit: it gives the code on, and takes little of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = submitted("run", *places(folder, arguments), cwd=folder, inject=REPORT_AT_EXIT, **environment)
    assert process.wait(timeout=120) == code, (folder / "log").read_text()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # CPU, and not by the clock, which runs for other tests too.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 15
    last = log_of(folder)[-1]
    imported, started = json.loads((folder / "reported").read_text())
    assert_failed_soon((code, last, imported, started), code, words)


def test_what_will_never_succeed_ends_so_by_spark_submit(tmp_path: Path) -> None:
    code, arguments, words = PERMANENT["no weights"]
    fails_submitted(tmp_path, code, words, *arguments)


def test_an_authority_that_the_jvm_was_not_told_of_is_missed_before_spark_starts(
    tmp_path: Path, jars: Path, minios: Callable[..., Minio]
) -> None:
    server = minios(tls=True)
    events = ("--event-log", f"s3://{server.bucket()}/events", "--store-location", "eu")
    environment = server.environment() | {"AWS_CA_BUNDLE": str(server.ca)}
    fails_submitted(tmp_path, 2, "trustStore", *PIXELS, *events, **environment)


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        ("C", "LC_ALL=C"),
        pytest.param("de_DE.UTF-8", "LC_ALL=de_DE.UTF-8", marks=pytest.mark.slow),
        pytest.param("", "no locale is set", marks=pytest.mark.slow),
    ],
)
def test_letters_that_spark_submit_cannot_read_are_named_with_their_locale(
    tmp_path: Path, locale: str, said: str
) -> None:
    """Java replaces them before Verger starts, in a locale without letters as in one that is not installed."""
    photographs(tmp_path / "Äpfel", 3)
    what = f"??pfel: spark-submit reads its arguments in ANSI_X3.4-1968 ({said}), and has perhaps replaced letters"
    fails_submitted(tmp_path, 2, what, "--input", "Äpfel", LC_ALL=locale, LC_CTYPE="", LANG="")


@pytest.mark.slow
def test_letters_of_the_arguments_are_read_in_utf_8(tmp_path: Path) -> None:
    photographs(tmp_path / "Äpfel", 3)
    process = submitted("plan", "--json", "--input", "Äpfel", "--output", "Öl?", cwd=tmp_path, LC_ALL="C.UTF-8")
    assert process.wait(timeout=120) == 0, (tmp_path / "log").read_text()
    assert '"listed": 3' in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_of_question_marks_in_a_glob_there_is_a_warning(tmp_path: Path) -> None:
    photographs(tmp_path / "in", 3)
    arguments = ("plan", "--json", "--input", "in", "--output", "out", "--exclude", "*/000?.png", "--exclude", "*Ä*")
    process = submitted(*arguments, cwd=tmp_path, LC_ALL="C")
    assert process.wait(timeout=120) == 3, (tmp_path / "log").read_text()  # no photograph is left
    lines = (tmp_path / "log").read_text().splitlines()
    warnings = [json.loads(line)["message"] for line in lines if "perhaps replaced" in line]
    assert [warning.partition(":")[0] for warning in warnings] == ["*/000?.png", "*??*"]
