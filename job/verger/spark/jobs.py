"""Spark's jobs, cancelled for as long as a run that is to end goes on."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark import SparkContext

_PAUSE_S = 0.5


def cancel_until(over: threading.Event, context: SparkContext) -> None:
    """Cancel again and again: a job may still be on its way to the scheduler, and the run may begin its next one."""
    while not over.is_set():
        with suppress(Exception):
            context.cancelAllJobs()
        over.wait(_PAUSE_S)
