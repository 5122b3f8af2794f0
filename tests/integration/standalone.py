"""Spark's own cluster manager on this machine: a master, and workers that come and go."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyspark

from tests.conftest import ROOT

_CLASS = str(Path(pyspark.__file__).parent / "bin" / "spark-class")


class Cluster:
    """A master without workers.

    Parameters
    ----------
    folder : Path
        Where the processes write their logs and files.

    Attributes
    ----------
    master : str
        As spark-submit takes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.master = f"spark://127.0.0.1:{port}"
        self._start("Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0")
        self._await("Master", "I have been elected leader")

    def add_worker(self) -> subprocess.Popen[bytes]:
        """A worker with one core, on which the master starts executors."""
        worker = self._start(
            "worker.Worker", "--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", "1g",
            "--work-dir", str(self._folder / "work"), self.master,
        )  # fmt: skip
        self._await("worker.Worker", "Successfully registered with master")
        return worker

    def remove(self, worker: subprocess.Popen[bytes]) -> None:
        """Kill a worker and its executors, as where a machine is taken away."""
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def stop(self) -> None:
        """Kill the master and all workers."""
        for process in reversed(self._processes):
            self.remove(process)

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "job"), str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "256m",
        }
        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                [_CLASS, f"org.apache.spark.deploy.{'master.' if name == 'Master' else ''}{name}", *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _await(self, name: str, words: str) -> None:
        deadline = time.monotonic() + 60
        while words not in (said := self._log(name).read_text()):
            assert time.monotonic() < deadline and self._processes[-1].poll() is None, said
            time.sleep(0.1)


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster that is gone when the context ends."""
    found = Cluster(folder)
    try:
        yield found
    finally:
        found.stop()
