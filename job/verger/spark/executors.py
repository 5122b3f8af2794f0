"""How many executors are here, and what keeps the others away."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from verger.spark import pods, variables

if TYPE_CHECKING:
    from pyspark import SparkContext

_INTERVAL_S = 2.0
# Spark sets it in the driver's pod. It is there while the context still waits for its first executors.
_APPLICATION = "SPARK_APPLICATION_ID"

Show = Callable[[int, int, str], None]
"""Takes the number of executors that are here, that of those wanted, and what the others wait for."""


@contextmanager
def watch_executors(show: Show) -> Iterator[None]:
    """Tell what becomes of the executors, in a thread, until the context ends. Without a cluster nothing is told.

    It begins before the SparkContext is there, which may wait half a minute for its executors. An error here never
    ends a run: where Kubernetes does not answer, the executors are counted without reasons.

    Parameters
    ----------
    show : callable
        Called every two seconds.

    Yields
    ------
    None
        While the thread runs.
    """
    ended = threading.Event()
    if variables.is_submitted():
        threading.Thread(target=_watch, args=(show, ended), name="verger-executors", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _watch(show: Show, ended: threading.Event) -> None:
    cluster = Cluster()
    while not ended.wait(_INTERVAL_S):
        with suppress(Exception):  # the JVM may be starting or ending
            state = cluster.state()
            if state is None:
                return
            if state[1] and not ended.is_set():
                show(*state)


class Cluster:
    """The executors of the SparkContext of this process, of which there may be none yet."""

    def __init__(self) -> None:
        self._api: tuple[Any, str] | None = None
        if pods.NAMESPACE_FILE.exists():  # else this process is in no pod
            with suppress(Exception):
                self._api = pods.connect()

    def state(self) -> tuple[int, int, str] | None:
        """How many executors are here, how many are wanted, and why some are missing.

        Returns
        -------
        tuple of int, int and str, or None
            As `missing` counts them; None where Spark runs inside the driver and needs no executors.
        """
        from pyspark import SparkContext

        context = SparkContext._active_spark_context
        here = wanted = None
        if context is not None:
            if not has_executors(context):
                return None
            wanted = _wanted(context)
            if _has_started(context):
                here = registered(context)
        if here is not None and wanted is not None and here >= wanted:
            return here, wanted, ""
        application = context.applicationId if context and here is not None else os.environ.get(_APPLICATION)
        return missing(self._pods(application), here, wanted)

    def _pods(self, application: str | None) -> list[dict[str, Any]] | None:
        if self._api is not None and application:
            with suppress(Exception):  # not allowed, or no answer
                return pods.executors(*self._api, application)
        return None


def _has_started(context: SparkContext) -> bool:
    """Whether the context's JVM has started. PySpark names it before, while Spark waits for the first executors."""
    return getattr(context, "_jsc", None) is not None


def has_executors(context: SparkContext) -> bool:
    """Whether Spark computes in executors; else it computes inside the driver.

    Parameters
    ----------
    context : pyspark.SparkContext
        Its master tells.
    """
    return not (context.master or "").startswith("local")


def registered(context: SparkContext) -> int:
    """The number of executors that have told Spark's driver that they are there.

    Parameters
    ----------
    context : pyspark.SparkContext
        Whose executors are counted.
    """
    # Not the status tracker: it lives on events, of which Spark drops some where there are many.
    block_managers: int = context._jsc.sc().getExecutorMemoryStatus().size()
    return max(block_managers - 1, 0)  # the driver's is among them


def _wanted(context: SparkContext) -> int | None:
    """How many executors the run asks for; None where that is not fixed."""
    conf = context.getConf()
    default = "2" if (context.master or "").startswith("k8s") else None
    instances = conf.get("spark.executor.instances", default)
    if conf.get("spark.dynamicAllocation.enabled", "false") == "true" or instances is None:
        return None
    return int(instances)


def missing(
    found: Sequence[Mapping[str, Any]] | None, registered: int | None, wanted: int | None
) -> tuple[int, int, str]:
    """Count the executors, and say why some are missing.

    Parameters
    ----------
    found : sequence of mapping, optional
        The executors' pods that have not ended, as Kubernetes' JSON has them; None where it does not say.
    registered : int, optional
        Executors that have told Spark's driver that they are there; None before the driver listens, when those whose
        pods run are counted.
    wanted : int, optional
        How many the run asks for; None where that is as many as there are pods.

    Returns
    -------
    tuple of int, int and str
        Executors that are here, executors wanted, and why the others are not here, such as "2 pending: Insufficient
        memory"; the last is empty where nothing is known.
    """
    is_told, found = found is not None, found or ()
    running = sum(map(pods.is_running, found))
    here = running if registered is None else registered
    total = max(wanted or 0, len(found), here)
    reasons = [f"{count:,} pending: {reason}" for reason, count in pods.why_pending(found)]
    if running > here:
        reasons.insert(0, f"{running - here:,} starting")
    if is_told and (podless := total - max(len(found), here)) > 0:
        reasons.append(f"{podless:,} without a pod yet")
    return here, total, "; ".join(reasons)
