"""When a run's Spark starts: beside the listing where photographs are new, and not at all where it is not needed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

import verger
from tests.integration.runs import finished, photographs, signalled
from tests.integration.runs import verger as start

# A file tells that a JVM was asked for; the listing ends only when there is one.
LISTING_WAITS = """
import os, time
from verger.spark import jvm
from verger.photographs import inventory
launch, select = jvm.launch, inventory.select
def launched(*arguments):
    open("launched", "w").close()
    return launch(*arguments)
def waits(*arguments):
    for _ in range(600):
        if os.path.exists("launched"):
            return select(*arguments)
        time.sleep(0.1)
    raise RuntimeError("Spark was not started beside the listing")
jvm.launch, inventory.select = launched, waits
"""

# A worker that dies as it loads the network.
LOADING_DIES = """
import os
from verger.network import loading
def dies(*_):
    os._exit(1)
loading.Loader.__call__ = dies
"""

TELLS_OF_LOADING = """
from verger.network import loading
prepare = loading.NetworkLoading.__init__
def told(*arguments):
    open("loading", "w").close()
    prepare(*arguments)
loading.NetworkLoading.__init__ = told
"""

# TensorFlow that ends each process which imports it, as an instruction that the CPU lacks does.
IMPORT_DIES = """
import importlib.abc, os, sys
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "verger.network.operations":
            os._exit(132)
sys.meta_path.insert(0, Finder())
"""

MOBILENET = ["--backbone", "mobilenet_v2", "--weights", "random", "--input-size", "32"]

# The parents of the workers, and which of them the driver started: those have another argument.
TELLS_OF_PARENTS = """
import os
from verger.network import loading
call = loading.Loader.__call__
def told(*arguments):
    with open(f"/proc/{os.getppid()}/cmdline", "rb") as command:
        open(f"parent-{os.getppid()}", "wb").write(command.read())
    return call(*arguments)
loading.Loader.__call__ = told
"""

TELLS_OF_JVM = """
from verger.spark import jvm
def launched(*_):
    open("launched", "w").close()
    raise SystemExit(99)
jvm.launch = launched
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    photographs(tmp_path / "in", 12)
    return tmp_path


def arguments(place: Path, *more: str) -> list[str]:
    settings = ["--backbone", "pixels", "--input-size", "8", "--cores", "2", "--local-dir", str(place / "local")]
    return ["run", "--input", str(place / "in"), "--output", str(place / "out"), *settings, *more]


def test_the_spark_of_a_first_run_starts_beside_the_listing(place: Path) -> None:
    code, stderr, lines = finished(start(*arguments(place), inject=LISTING_WAITS, cwd=place))
    assert code == 0, stderr
    stages = [line["stage"] for line in lines if line["event"] == "stage"]
    assert stages[:4] == ["list", "compare", "session", "features"]
    assert verger.load(str(place / "out")).num_rows == 12


def test_workers_that_die_as_they_load_the_network_do_not_fail_the_run(place: Path) -> None:
    code, stderr, _ = finished(start(*arguments(place), inject=LOADING_DIES, cwd=place))
    assert code == 0, stderr
    assert verger.load(str(place / "out")).num_rows == 12


@pytest.mark.slow
def test_a_tensorflow_that_ends_its_process_is_told(place: Path) -> None:
    code, stderr, lines = finished(start(*arguments(place, *MOBILENET), inject=IMPORT_DIES, cwd=place))
    assert code == 2, stderr
    assert "died as it imported TensorFlow" in lines[-1]["message"]
    assert stderr.count("verger: ") == 1


def test_no_network_is_loaded_where_all_features_are_stored(place: Path) -> None:
    for without_base in (False, True):
        if without_base:
            shutil.rmtree(place / "out" / "snapshots")
        code, stderr, _ = finished(start(*arguments(place), inject=TELLS_OF_LOADING, cwd=place))
        assert code == 0, stderr
        assert (place / "loading").exists() is not without_base
        (place / "loading").unlink(missing_ok=True)
    assert verger.load(str(place / "out")).num_rows == 12


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGTERM, 143, id="SIGTERM"),
        pytest.param(signal.SIGINT, 130, id="SIGINT", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("after", [0.2, pytest.param(2, marks=pytest.mark.slow)])
def test_interrupted_while_spark_starts_it_leaves_no_jvm(place: Path, number: int, code: int, after: float) -> None:
    process = start(*arguments(place), cwd=place)
    signalled(process, lambda line: line.get("stage") == "session", number, after=after)
    ended, stderr, lines = finished(process)
    assert ended == code, stderr
    assert lines[-1]["event"] == "failed"
    assert stderr.count("verger: ") == 1
    assert_none_works_in(place)
    assert not list((place / "local").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of processes")
def test_workers_are_forked_from_a_process_that_imported_tensorflow_while_spark_started(place: Path) -> None:
    code, stderr, _ = finished(start(*arguments(place, *MOBILENET), inject=TELLS_OF_PARENTS, cwd=place))
    assert code == 0, stderr
    assert verger.load(str(place / "out")).num_rows == 12
    (parent,) = place.glob("parent-*")
    assert b"--listen" in parent.read_bytes().split(b"\0")
    assert_none_works_in(place)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of processes")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
@pytest.mark.parametrize("stage", ["session", pytest.param("features", marks=pytest.mark.slow)])
def test_a_run_that_is_ended_leaves_no_process(place: Path, number: int, stage: str) -> None:
    process = start(*arguments(place, *MOBILENET), cwd=place)
    signalled(process, lambda line: line.get("stage") == stage, number, after=0.2)
    ended, stderr, _ = finished(process)
    assert ended in (143, -number), stderr
    assert_none_works_in(place)


def assert_none_works_in(folder: Path) -> None:
    """Soon: the kernel may still be ending them, and an import is not interrupted."""
    for _ in range(300):
        if not (left := working_in(folder)):
            break
        time.sleep(0.1)
    assert not left


def working_in(folder: Path) -> list[str]:
    """Processes whose working directory is a folder."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):  # it has ended
            if Path(os.readlink(f"/proc/{name}/cwd")) == folder and int(name) != os.getpid():
                found.append(f"{name} {Path('/proc', name, 'cmdline').read_bytes()[:200]!r}")
    return found


@pytest.mark.parametrize(
    ("more", "code"), [(("--verify-nodes",), 5), (("--input", "nowhere"), 3), (("--weights", "none.h5"), 7)]
)
def test_a_run_that_is_refused_starts_nothing(place: Path, more: tuple[str, ...], code: int) -> None:
    given = ["run", "--input", str(place / "in"), "--output", str(place / "out"), *more]
    ended, stderr, _ = finished(start(*given, inject=TELLS_OF_JVM, cwd=place))
    assert ended == code, stderr
    assert not (place / "launched").exists()


def test_jobs_with_and_without_sql_share_their_workers(spark) -> None:
    def process(items):
        list(items)
        time.sleep(0.3)  # so that the other task gets another worker
        yield os.getpid()

    def process_as_row(batches):
        for pid in process(batches):
            yield pa.record_batch({"pid": [pid]})

    plain = set(spark.sparkContext.parallelize(range(2), 2).mapPartitions(process).collect())
    rows = spark.range(0, 2, 1, 2).mapInArrow(process_as_row, "pid long").collect()
    assert len(plain) == 2
    assert plain & {row.pid for row in rows}
