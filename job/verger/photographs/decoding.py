"""Photographs that are decoded side by side: as many at once as memory has room for."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Condition


class Gate:
    """Lets threads decode while their photographs together have no more pixels than there is room for.

    Small ones pass several at a time, one that fills the room by itself alone. They pass in the order in which they
    come, so that a large one waits for no longer than what came before it.

    Parameters
    ----------
    room : int
        Pixels.
    """

    def __init__(self, room: int) -> None:
        self._room = self._free = room
        self._waiting: deque[object] = deque()
        self._changed = Condition()

    @contextmanager
    def through(self, pixels: int) -> Iterator[None]:
        """Wait for room for a photograph, and hold it."""
        needed, turn = min(pixels, self._room), object()
        with self._changed:
            self._waiting.append(turn)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is turn and needed <= self._free)
                self._free -= needed
            finally:  # one that is interrupted is waited for by nobody
                self._waiting.remove(turn)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += needed
                self._changed.notify_all()


def trim() -> None:
    """Give free memory back to the system: the C library keeps it for each thread, whatever the others need."""
    if release := _malloc_trim():
        release(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """None where the C library is not glibc."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
    return found
