"""Spark's daemon of Python workers, where coverage is measured: each task's is saved when the task ends.

Spark ends its workers with a signal, which leaves them no time to save.
"""

from __future__ import annotations

from typing import Any

from coverage import Coverage
from pyspark import daemon

run_task = daemon.worker


def run_measured_task(*args: Any) -> int:
    """What the daemon calls for each task, in the worker's process."""
    try:
        return run_task(*args)
    finally:
        if measured := Coverage.current():
            measured.save()


if __name__ == "__main__":
    daemon.worker = run_measured_task
    daemon.manager()
