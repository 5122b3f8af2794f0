"""What a run waits for may fail without an error: a thread watches it, and says why the run ends."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from verger.errors import VergerError


class Watch(ABC):
    """Watches something in a thread while a run works, and can end the run.

    Parameters
    ----------
    name : str
        Of the thread.

    Attributes
    ----------
    ended : threading.Event
        Set when the run has ended.
    failure : VergerError, optional
        Why the run must end. Whoever sets it also makes the run's work fail, as by cancelling Spark's jobs.
    """

    def __init__(self, name: str) -> None:
        self.ended = threading.Event()
        self.failure: VergerError | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def _run(self) -> None:
        """Watch in the thread until `ended`, or until there is a `failure`."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch until the context ends.

        Raises
        ------
        VergerError
            The `failure`. It replaces the error with which the body lost what it waited for.
        """
        self._thread.start()
        try:
            yield
        except BaseException as error:
            if self.failure:
                raise self.failure from error
            raise
        finally:
            self.ended.set()
