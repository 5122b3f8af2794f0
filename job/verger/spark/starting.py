"""A session that starts in a thread, beside what the run does meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from verger.config import SessionSettings
from verger.spark import machine
from verger.spark.session import Then, in_use, started
from verger.spark.signals import SignalHandlers
from verger.storage.stores import Stores

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PATIENCE_S = 10.0
_INTERVAL_S = 0.1


class StartingSession:
    """A session that starts as this is made. The thread that made it uses or cancels it.

    Parameters
    ----------
    settings : SessionSettings
        As in `verger.spark.session.session`.
    stores : Stores
        The run's.
    places : iterable of str
        Where the run reads and writes.
    then : callable
        Called in the thread of the start as soon as tasks can run, which is seconds before the session is complete.
    more : mapping of str to str, optional
        Further settings of Spark.
    """

    def __init__(
        self,
        settings: SessionSettings,
        stores: Stores,
        places: Iterable[str],
        then: Then,
        more: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._places = places
        self._then = then
        self._more = more
        self._signals = SignalHandlers()
        self._stack = ExitStack()
        self._cancelled = threading.Event()
        # Not Thread.join: where a signal interrupts that, Python 3.11 takes a running thread for one that has ended.
        self._ended = threading.Event()
        self._spark: SparkSession | None = None
        self._others: Any = None
        self._error: BaseException | None = None
        try:
            # In this thread, before the listing's threads read the environment.
            self._folder = self._stack.enter_context(machine.surroundings(settings.local_dir))
        except Exception as error:
            self._error = error
            self._ended.set()
        else:
            threading.Thread(target=self._start, name="verger-session", daemon=True).start()

    def _start(self) -> None:
        try:
            self._others = _gateway()
            with ExitStack() as stack:
                spark = stack.enter_context(
                    started(self._folder, self._settings, self._stores, self._cancelled, self._then, self._more)
                )
                self._stack.push(stack.pop_all().__exit__)
            self._spark = spark
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()

    @contextmanager
    def used(self) -> Iterator[SparkSession]:
        """Wait for the session and work in it; it is stopped when the context ends.

        Yields
        ------
        pyspark.sql.SparkSession
            The session.

        Raises
        ------
        UsageError, StoreError, DoesNotFitError
            As in `verger.spark.session.session`; what went wrong as it started is told here.
        """
        with self._stack:
            try:
                self._ended.wait()
            except BaseException:  # an interrupt
                self.cancel()
                raise
            if self._spark is None:
                assert self._error is not None
                raise self._error
            with in_use(self._spark, self._signals, self._settings, self._stores, *self._places):
                yield self._spark

    def cancel(self) -> None:
        """End a session that is not needed, started or not. Nothing is left of its JVM."""
        self._cancelled.set()
        ending = time.monotonic()
        while not self._ended.wait(_INTERVAL_S) and (waited := time.monotonic() - ending) < _PATIENCE_S:
            self._end_jvm(kill=waited > _PATIENCE_S / 2)
        with suppress(Exception):
            self._stack.close()

    def _end_jvm(self, kill: bool) -> None:
        """End the JVM that was started for this session, so that a thread that waits for its answer gets an error.

        A JVM that is not killed deletes its files as it ends.
        """
        gateway = _gateway()
        process = getattr(gateway, "proc", None)  # that of spark-submit is not ours
        if process is not None and gateway is not self._others:
            process.kill() if kill else process.terminate()


def _gateway() -> Any:
    """The connection of this process to a JVM, if there is one."""
    from pyspark import SparkContext

    return SparkContext._gateway
