"""At its exit, Python waits for threads of Arrow, which may hold a file of a store after a table is read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

# A thread that holds something after the main one has ended, as threads of Arrow do; it prints when that is released.
SCRIPT = """
import sys, threading, time, weakref
sys.path.insert(0, "job")
from verger.storage import ranges

class Store:
    def get(self, path, **options):
        return b"content", {}

held, seconds, ranges._EXIT_WAIT_S = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
made = {
    "file system": lambda: ranges.RangedFileSystem(Store()),
    "file": lambda: ranges.RangedFile(Store(), "path"),
    "bytes": lambda: ranges.RangedFile(Store(), "path").read(4),
}

def hold(held):
    time.sleep(seconds)
    weakref.finalize(held.pop(), print, "released", flush=True)

threading.Thread(target=hold, args=[[made[held]()]], daemon=True).start()
"""


def printed(held: str, released_after_s: float, wait_s: float) -> str:
    command = [sys.executable, "-c", SCRIPT, held, str(released_after_s), str(wait_s)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


@pytest.mark.parametrize("held", ["file system", "file", "bytes"])
def test_exit_waits_until_arrow_has_released_what_it_holds(held: str) -> None:
    assert printed(held, released_after_s=0.3, wait_s=30) == "released"


def test_exit_does_not_wait_for_what_is_never_released() -> None:
    assert printed("file", released_after_s=600, wait_s=0.2) == ""
