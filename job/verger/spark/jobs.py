"""Cancelling Spark's jobs."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark import SparkContext

_INTERVAL_S = 0.2


def cancel_jobs_until(ended: threading.Event, context: SparkContext) -> None:
    """Cancel all jobs, again and again: the run may start another one, or its scheduler may not know one yet.

    Parameters
    ----------
    ended : threading.Event
        Set when the run has ended.
    context : SparkContext
        Whose jobs are cancelled; it may have stopped.
    """
    while not ended.is_set():
        with suppress(Exception):
            context.cancelAllJobs()
        ended.wait(_INTERVAL_S)
