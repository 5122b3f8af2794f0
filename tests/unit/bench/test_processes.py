"""Processes that the benchmarks measure, and end."""

from __future__ import annotations

import importlib
import sys

# A process whose child has a session of its own, as the JVM has, and tells its id.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


def test_what_is_ended_early_leaves_no_process_behind() -> None:
    processes = importlib.import_module("processes")
    done = processes.told([sys.executable, "-c", PARENT], until=str.isdigit)
    ((_, child),) = done["lines"]
    assert not processes.is_running(int(child)) and not processes.is_running(done["pid"])
    assert done["seconds"] < 30


def test_what_takes_too_long_leaves_no_process_behind() -> None:
    processes = importlib.import_module("processes")
    done = processes.told([sys.executable, "-c", PARENT], limit_s=10, must_succeed=False)
    assert done["timed_out"] and not processes.is_running(int(done["lines"][0][1]))
