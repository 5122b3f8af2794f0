"""network/daemon: the process from which Spark forks Python workers."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import pytest

from verger.spark.session import SETTINGS

pytestmark = pytest.mark.required_in_ci


@pytest.mark.parametrize("imported", ["this", "nothing.there"])
def test_spark_reads_a_port_whatever_an_import_prints(imported: str) -> None:
    """The module `this` prints verses; the other one is missing."""
    script = f"from verger.network import daemon; daemon._IMPORTED = ({imported!r},); daemon.main()"
    environment = os.environ | {"PYTHON_UNIX_DOMAIN_ENABLED": "false"}
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        (port,) = struct.unpack(">i", process.stdout.read(4))
        process.stdin.close()  # as Spark ends it
        assert 1024 <= port <= 65535
        process.wait(20)  # it ends with 1, as Spark's own does
        assert ("Zen of Python" in process.stderr.read().decode()) is (imported == "this")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of threads")
def test_what_is_imported_before_the_fork_starts_no_thread_but_that_of_jemalloc() -> None:
    """Under the variables that executors have. jemalloc's thread, of PyArrow, is prepared for forks."""
    script = (
        "import importlib, os; from verger.network import daemon\n"
        "for module in daemon._IMPORTED: importlib.import_module(module)\n"
        "names = [open(f'/proc/self/task/{task}/comm').read().strip() for task in os.listdir('/proc/self/task')]\n"
        "names = [name for name in names if name != 'jemalloc_bg_thd']\n"
        "assert len(names) == 1, names"
    )
    executors = {name.removeprefix("spark.executorEnv."): value for name, value in SETTINGS.items() if "Env." in name}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=os.environ | executors
    )
    assert done.returncode == 0, done.stderr


def test_a_worker_collects_no_garbage_among_what_was_imported() -> None:
    """PySpark collects after each task, which takes a tenth of a second where all of TensorFlow is looked at."""
    script = (
        "import gc, sys, types; from verger.network import daemon\n"
        "sys.modules['pyspark.daemon'] = types.SimpleNamespace(manager=lambda: print(len(gc.get_objects())))\n"
        "daemon.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000


def test_workers_import_no_settings() -> None:
    """They get what they need with their task; to import pydantic would take them a fifth of a second."""
    script = (
        "import importlib, sys; from verger.network import daemon\n"
        "for module in (*daemon._IMPORTED, 'verger.storage.clients'): importlib.import_module(module)\n"
        "assert not {'pydantic', 'verger.config'} & sys.modules.keys(), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
