"""Python workers of Spark where coverage is measured: each task's is saved when the task ends.

Spark ends its workers with a signal, which leaves them no time to save. Every process of the tests imports this as it
starts; it changes the daemon of the workers only.
"""

from __future__ import annotations

import sys
from typing import Any

if "pyspark.daemon" in sys.orig_argv:
    from coverage import Coverage
    from pyspark import worker

    run_task = worker.main

    def run_measured_task(*args: Any) -> Any:
        """What the daemon calls for each task, in the worker's process."""
        try:
            return run_task(*args)
        finally:
            if measured := Coverage.current():
                measured.save()

    worker.main = run_measured_task
