"""Memory of the photographs that are decoded at the same time."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Condition


class MemoryBudget:
    """Limits how many pixels the photographs have that threads decode at the same time.

    Several small photographs are decoded at once. One that is as large as the whole budget is decoded alone. Threads
    are served first come, first served, so a large photograph waits only for those that came before it.

    Parameters
    ----------
    pixels : int
        The budget: most pixels at the same time.
    """

    def __init__(self, pixels: int) -> None:
        self._total = self._free = pixels
        self._queue: deque[object] = deque()
        self._changed = Condition()

    @contextmanager
    def reserve(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for a photograph, and hold that room inside the ``with`` block.

        Parameters
        ----------
        pixels : int
            Of the photograph. One that is larger than the whole budget takes all of it.

        Yields
        ------
        None
            Once there is room. It is free again when the block ends.
        """
        needed, ticket = min(pixels, self._total), object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket and needed <= self._free)
                self._free -= needed
            finally:  # an interrupted thread must not stay in the queue
                self._queue.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += needed
                self._changed.notify_all()


def release_free_memory() -> None:
    """Give freed memory back to the system. glibc keeps it for each thread, even if others need it."""
    if trim := _malloc_trim():
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Glibc's function; None where the C library is another."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
    return found
