"""What a run on a bucket works with dies or fills up under it: a worker, an executor, the store, the local disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest

from tests.conftest import ROOT
from tests.integration.runs import finished
from tests.integration.s3 import Minio
from tests.integration.s3_runs import COUNT, SLOW_PROJECTION, Place, Tables, descendants, kill_all, reach
from tests.integration.test_kills import SLOW_DECODER

pytestmark = [pytest.mark.required_in_ci, pytest.mark.slow]

# Seconds instead of a minute, in the driver. Workers, for which a run does not wait, stay as patient as they are.
IMPATIENT = """
from verger.storage.stores import Stores
Stores.patience_s = 15
"""


@pytest.fixture
def own_place(own_minio: Minio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """On a store that may be stopped."""
    reach(own_minio, monkeypatch)
    return Place.make(own_minio, tmp_path)


def extracting(process: subprocess.Popen[str]) -> None:
    """Wait until the first wave of twenty is through, and the others are not."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        found = json.loads(line) if line.startswith("{") else {}
        if found.get("event") == "progress" and found["done"] >= 20:
            assert found["done"] < COUNT
            return
    raise AssertionError("".join(lines))


def projecting(process: subprocess.Popen[str], place: Place) -> None:
    """Wait until one half of the projection is uploaded, in a run without a manifest."""
    while not [key for key in place.keys("out/runs/", ".parquet") if "/projection/part-00000" in key]:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


def complete(process: subprocess.Popen[str], place: Place, expected: Tables) -> None:
    """It ends well, and its tables are those of an undisturbed run."""
    code, stderr, lines = finished(process)
    assert code == 0, stderr
    assert (lines[-1]["computed"], lines[-1]["rejected"]) == (COUNT, 0)
    place.assert_whole(expected)


def test_a_python_worker_that_is_killed_costs_no_photograph(place: Place, expected: Tables) -> None:
    process = place.start(inject=SLOW_DECODER)
    extracting(process)
    found = descendants(process.pid)
    workers = [pid for pid, (parent, command) in found.items() if "pyspark.worker" in command and parent in found]
    os.kill(max(workers), signal.SIGKILL)  # the daemon that forks them has the lowest number
    complete(process, place, expected)


def test_an_executor_that_is_killed_costs_no_photograph(place: Place, expected: Tables) -> None:
    process = submitted(place)
    try:
        extracting(process)
        found = descendants(process.pid)
        executors = [pid for pid, (_, command) in found.items() if "CoarseGrainedExecutorBackend" in command]
        assert len(executors) == 2
        os.kill(executors[0], signal.SIGKILL)
        complete(process, place, expected)
    finally:
        kill_all(process)


def submitted(place: Place) -> subprocess.Popen[str]:
    """A run by spark-submit, whose photographs are read by two executors, processes of their own."""
    injected = place.folder / "injected"
    injected.mkdir()
    (injected / "sitecustomize.py").write_text(SLOW_DECODER)
    conf = {
        "spark.executor.memory": "1g",
        "spark.log.level": "WARN",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
    }
    settings = [part for name, value in conf.items() for part in ("--conf", f"{name}={value}")]
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    cluster = ["--master", "local-cluster[2,1,1024]"]
    paths = [str(injected), str(ROOT / "job"), str(ROOT)]
    aloud = ["sh", "-c", 'exec "$@" >&2', "sh"]  # spark-submit gives what the driver says on stderr to its stdout
    return subprocess.Popen(
        [*aloud, str(submit), *cluster, *settings, str(ROOT / "job" / "main.py"), *place.arguments()],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"},
        cwd=place.folder,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.parametrize("stage", ["extraction", "projection"])
def test_an_outage_of_20_s_does_not_change_the_table(own_place: Place, expected: Tables, stage: str) -> None:
    inject = SLOW_DECODER if stage == "extraction" else SLOW_PROJECTION.format(seconds=5)
    process = own_place.start(inject=inject)
    if stage == "extraction":
        extracting(process)
    else:
        projecting(process, own_place)
    own_place.server.stop()
    time.sleep(20)
    assert process.poll() is None, process.communicate()
    own_place.server.start()
    complete(process, own_place, expected)
    assert own_place.uploads() == []


def test_a_store_that_is_gone_for_good_ends_the_run_in_one_line(own_place: Place, expected: Tables) -> None:
    process = own_place.start(inject=SLOW_DECODER + IMPATIENT)
    extracting(process)
    own_place.server.stop()
    code, stderr, lines = finished(process, timeout=150)
    assert code == 4, stderr
    (line,) = [line for line in stderr.splitlines() if not line.startswith("{")]
    assert f"s3://{own_place.bucket}: the store at 127.0.0.1:{own_place.server.port} has not answered for 15 s" in line
    assert "Run the same command again" in line
    assert lines[-1]["event"] == "failed"

    own_place.server.start()
    seen = own_place.stored()
    code, stderr, lines = finished(own_place.start())
    assert code == 0, stderr
    assert (lines[-1]["known"], lines[-1]["computed"]) == (len(seen), COUNT - len(seen))
    own_place.assert_whole(expected)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 kB: Spark has no room for the network that it sends to its workers."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "verger", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_local_disk_that_fills_up_ends_the_run_in_one_line(place: Place, small_disk: Path) -> None:
    code, stderr, _ = finished(place.start("--local-dir", str(small_disk)))
    assert code == 8, stderr
    # PySpark prints a traceback of its own where it cannot write what it broadcasts.
    (line,) = [line for line in stderr.splitlines() if line.startswith("verger: ")]
    assert "--local-dir" in line
    (failure,) = place.documents("failure.json")
    assert failure["exit_code"] == 8
