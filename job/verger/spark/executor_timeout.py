"""The time for which a run on a cluster waits for executors: without a single one, nothing would ever end it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from verger.errors import DoesNotFitError
from verger.spark import executors
from verger.spark.jobs import cancel_jobs_until
from verger.spark.watch import Watch

if TYPE_CHECKING:
    from pyspark import SparkContext

_INTERVAL_S = 2.0


@contextmanager
def end_without_executors(context: SparkContext, timeout_s: float) -> Iterator[None]:
    """End Spark's work where it needs executors, and not a single one has been there for too long.

    Spark itself warns that the *initial job has not accepted any resources*, and waits for ever. One executor is enough
    to go on: such a run is slow, and not stuck. What the driver does without Spark's jobs is never ended.

    Parameters
    ----------
    context : pyspark.SparkContext
        Its jobs are cancelled. Where it computes inside the driver, there is nothing to wait for.
    timeout_s : float
        Seconds, counted while a job is active; 0 for no limit.

    Raises
    ------
    DoesNotFitError
        No executor has come, or all have gone and none has come back. It has Kubernetes' own reason where that is
        known, and replaces the error of the job that was cancelled.
    """
    if not timeout_s or not executors.has_executors(context):
        yield
        return
    with _ExecutorWatch(context, timeout_s).watching():
        yield


class Absence:
    """How long there has been no executor although one was needed.

    Attributes
    ----------
    seen : bool
        Whether there ever was an executor.
    """

    def __init__(self) -> None:
        self.seen = False
        self._since: float | None = None

    def seconds(self, now: float, registered: int, is_needed: bool) -> float:
        """Take into account what is there now.

        Parameters
        ----------
        now : float
            Seconds of a monotonic clock.
        registered : int
            Executors that are there.
        is_needed : bool
            Whether work waits for them.

        Returns
        -------
        float
            Seconds since the last executor was there, or since one is needed; 0 where one is there or none is needed.
        """
        self.seen = self.seen or registered > 0
        if registered or not is_needed:
            self._since = None
            return 0.0
        if self._since is None:
            self._since = now
        return now - self._since


class _ExecutorWatch(Watch):
    """Counts the executors until the context ends, or there has been none for too long."""

    def __init__(self, context: SparkContext, timeout_s: float) -> None:
        super().__init__("verger-executor-timeout")
        self._context = context
        self._timeout_s = timeout_s
        self._absence = Absence()

    def _run(self) -> None:
        while not self.ended.wait(_INTERVAL_S):
            with suppress(Exception):  # the JVM may be ending
                if self._is_over():
                    self.failure = self._explain()
                    cancel_jobs_until(self.ended, self._context)

    def _is_over(self) -> bool:
        is_needed = bool(self._context.statusTracker().getActiveJobsIds())
        registered = executors.registered(self._context)
        return self._absence.seconds(time.monotonic(), registered, is_needed) >= self._timeout_s

    def _explain(self) -> DoesNotFitError:
        _, wanted, why = executors.Cluster().state() or (0, 0, "")
        whose = f"none of {wanted:,} executors" if wanted else "no executor"
        gone, back = ("all executors are gone, and ", " back") if self._absence.seen else ("", "")
        return DoesNotFitError(
            f"{gone}{whose} has come{back} in {self._timeout_s:,g} s{f' ({why})' if why else ''}",
            "Remove what keeps them away, or ask for smaller ones, and run the same command again: what was committed "
            "is kept. --executors-timeout says how long a run waits",
        )
