"""At its exit, Python waits for threads of Arrow, which may hold a file of a store after a table is read."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.conftest import ROOT

# A thread that holds a file system after the main one has ended, as the threads of Arrow do; it tells of its release.
SCRIPT = """
import sys, threading, time, weakref
sys.path.insert(0, "job")
from verger.storage.ranges import RangedFileSystem

def hold(held):
    time.sleep(float(sys.argv[1]))
    weakref.finalize(held.pop(), print, "released", flush=True)

threading.Thread(target=hold, args=[[RangedFileSystem(None)]], daemon=True).start()
"""


def held_for(seconds: float) -> tuple[str, float]:
    """What the script prints, and how long it ran."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(seconds)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip(), time.monotonic() - start


def test_exit_waits_until_arrow_has_released_what_it_holds() -> None:
    assert held_for(0.3)[0] == "released"


def test_exit_does_not_wait_for_what_is_never_released() -> None:
    printed, seconds = held_for(600)
    assert printed == "" and seconds < 50
