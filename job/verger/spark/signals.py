"""SIGINT and SIGTERM while Spark computes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from verger.spark.failures import detach_error
from verger.spark.jobs import cancel_jobs_until

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class SignalHandlers:
    """SIGINT and SIGTERM while Spark computes: Spark's jobs are cancelled, so that a call that waits for them returns.

    Without that, some interrupted calls wait for their job to end, as `DataFrame.toArrow` does, and then raise the
    job's error instead of the interrupt. It must be made before the SparkContext, which installs its own SIGINT
    handler. That one talks to the JVM over a connection that is in use.

    Attributes
    ----------
    caught : KeyboardInterrupt, optional
        What a handler raised.
    """

    def __init__(self) -> None:
        self.caught: KeyboardInterrupt | None = None
        self._handlers: dict[int, Callable[..., Any]] = {}
        if threading.current_thread() is threading.main_thread():
            found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
            self._handlers = {number: handler for number, handler in found.items() if callable(handler)}

    @contextmanager
    def installed(self, spark: SparkSession) -> Iterator[None]:
        """Handle the signals until the context ends: cancel the jobs, then call the handler that was there before.

        Parameters
        ----------
        spark : SparkSession
            Whose jobs are cancelled.

        Raises
        ------
        KeyboardInterrupt
            What the handler raised, where the body raised another error because its job was cancelled.
        """
        ended = threading.Event()

        def handle(number: int, frame: Any) -> None:
            threading.Thread(target=cancel_jobs_until, args=(ended, spark.sparkContext), daemon=True).start()
            try:
                self._handlers[number](number, frame)
            except KeyboardInterrupt as caught:
                self.caught = caught
                raise

        for number in self._handlers:
            signal.signal(number, handle)
        try:
            yield
        except BaseException as error:
            if self.caught is not None and error is not self.caught:
                raise self.caught from detach_error(error)  # the JVM ends before its causes are told
            raise
        finally:
            ended.set()
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
