"""network/prestart: the process from which workers are forked, started ahead of Spark."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from verger.network import prestart
from verger.network.prestart import Prestart

pytestmark = pytest.mark.required_in_ci

SMALL = "tests.unit.network.small_daemon"
SECRET = b"known to Spark and its workers"


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Iterator[Prestart]:
    monkeypatch.setattr(prestart, "DAEMON", SMALL)
    started = Prestart(os.environ)
    yield started
    started.close()


def socket_of(ahead: Prestart) -> Path:
    (path,) = ahead.settings.values()
    return Path(path)


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def process_of(ahead: Prestart) -> subprocess.Popen[bytes]:
    assert ahead._process is not None
    return ahead._process


class Spark:
    """Starts the daemon and a worker as Spark does."""

    def __init__(self, ahead: Prestart) -> None:
        (name, path), *_ = ahead.settings.items()
        environment = {
            name.removeprefix("spark.executorEnv."): path,
            "PYTHON_UNIX_DOMAIN_ENABLED": "false",
            "PYTHON_WORKER_FACTORY_SECRET": SECRET.decode(),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", SMALL, "pyspark.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | environment,
        )

    def port(self) -> int:
        assert self.process.stdout
        return int(struct.unpack(">i", self.process.stdout.read(4))[0])

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(30)


def worker(port: int) -> tuple[socket.socket, int, bytes]:
    """A connection to a worker that was forked for it, its process id, and its answer to Spark's secret."""
    connection = socket.create_connection(("127.0.0.1", port))
    told = connection.makefile("rb")
    (identity,) = struct.unpack(">i", told.read(4))
    connection.sendall(struct.pack(">i", len(SECRET)) + SECRET)
    (length,) = struct.unpack(">i", told.read(4))
    return connection, identity, told.read(length)


def parent(identity: int) -> int:
    return int(Path(f"/proc/{identity}/stat").read_text().rpartition(")")[2].split()[1])


linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of processes")


@linux
def test_workers_are_forked_from_the_process_that_was_started_ahead(ahead: Prestart) -> None:
    """With the environment and the streams that Spark gave to its own daemon."""
    spark = Spark(ahead)
    connection, identity, answer = worker(spark.port())
    with connection:
        assert answer == b"ok"
        assert parent(identity) == process_of(ahead).pid
        spark.end()
        process_of(ahead).wait(30)
    wait_until(lambda: not Path(f"/proc/{identity}").exists())


@linux
def test_a_second_daemon_of_spark_works_beside_it(ahead: Prestart) -> None:
    """Spark starts one for each environment of workers."""
    both = [Spark(ahead), Spark(ahead)]
    parents = set()
    for spark in both:
        connection, identity, answer = worker(spark.port())
        with connection:
            assert answer == b"ok"
            parents.add(parent(identity))
    assert process_of(ahead).pid in parents
    assert len(parents) == 2
    for spark in both:
        spark.end()


@linux
def test_nobody_else_can_listen_where_spark_hands_over(ahead: Prestart) -> None:
    """The folder stays, and with it its name, when the socket is gone."""
    spark = Spark(ahead)
    spark.port()
    folder = socket_of(ahead).parent
    assert list(folder.iterdir()) == []
    assert folder.stat().st_mode & 0o777 == 0o700
    spark.end()
    ahead.close()
    assert not folder.exists()


def test_a_daemon_whose_spark_has_ended_does_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It waits for one that imports; both are ended by then."""
    started = busy(monkeypatch, tmp_path)
    spark = Spark(started)
    time.sleep(1)  # it has connected
    assert spark.process.stdin
    spark.process.stdin.close()
    started.close()
    assert spark.process.stdout
    assert spark.process.stdout.read() == b""
    assert spark.process.wait(30) == 0


@linux
@pytest.mark.parametrize("killed", ["before", "after"])
def test_spark_starts_a_daemon_that_does_without_one_that_is_gone(ahead: Prestart, killed: str) -> None:
    """Spark starts another daemon where one has died."""
    wait_until(socket_of(ahead).exists)
    if killed == "after":
        first = Spark(ahead)
        first.port()
        process_of(ahead).kill()
        first.end()
    else:
        process_of(ahead).kill()
    process_of(ahead).wait(30)
    spark = Spark(ahead)
    connection, identity, answer = worker(spark.port())
    with connection:
        assert answer == b"ok"
        assert parent(identity) == spark.process.pid
        spark.end()


def test_it_ends_with_the_driver(ahead: Prestart) -> None:
    wait_until(socket_of(ahead).exists)
    process = process_of(ahead)
    assert process.stdin
    process.stdin.close()  # as the kernel does where the driver is killed
    assert process.wait(30) == 0
    assert not socket_of(ahead).parent.exists()


def test_one_that_is_not_needed_is_ended_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started = busy(monkeypatch, tmp_path)
    began = time.monotonic()
    started.close()
    assert time.monotonic() - began < prestart._PATIENCE_S
    assert process_of(started).returncode == -signal.SIGKILL
    assert not socket_of(started).parent.exists()


def busy(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Prestart:
    """One that imports for a long time."""
    (folder / "busy.py").write_text("import time; time.sleep(600)")
    monkeypatch.setattr(prestart, "DAEMON", "busy")
    return Prestart(os.environ | {"PYTHONPATH": str(folder)})


@pytest.mark.parametrize("lacking", ["program", "folder", "short path"])
def test_where_no_process_can_be_started_spark_works_as_ever(
    lacking: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / (120 * "x" if lacking == "short path" else "temporary")
    if lacking == "program":
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
    if lacking != "folder":
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    started = Prestart(os.environ)
    assert not started.settings
    started.close()
    assert not list(tmp_path.glob("*/*"))


def test_spark_starts_a_daemon_that_does_without_where_none_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERGER_DAEMON_SOCKET", raising=False)
    assert not prestart.hand_over()
    monkeypatch.setenv("VERGER_DAEMON_SOCKET", "/nowhere/daemon")
    assert not prestart.hand_over()
