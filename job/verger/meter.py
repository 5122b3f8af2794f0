"""The counts of the extraction, its rate, and the time that is left."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

RATE_WINDOW_S = 30.0


class Meter:
    """The counts of the extraction, and the rate over the last `RATE_WINDOW_S`.

    Parameters
    ----------
    total : int
        Photographs to extract.

    Attributes
    ----------
    total : int
        As given.
    done : int
        Photographs that are computed or rejected.
    rejected : int
        Those of them that are rejected.
    changed : callable
        Called after each change.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.rejected = 0
        self._samples = deque([(time.monotonic(), 0)])
        self._lock = threading.Lock()
        self.changed: Callable[[], object] = lambda: None

    def set(self, done: int, rejected: int) -> None:
        """Set the counts.

        Parameters
        ----------
        done, rejected : int
            As the attributes. They may become smaller, where a wave is repeated.
        """
        now = time.monotonic()
        with self._lock:
            self.done, self.rejected = done, rejected
            self._samples.append((now, done))
            while len(self._samples) > 2 and now - self._samples[0][0] > RATE_WINDOW_S:
                self._samples.popleft()
        self.changed()

    def fields(self) -> dict[str, Any]:
        """The fields of one ``progress`` line.

        Returns
        -------
        dict
            ``eta_s`` is None while the rate is unknown.
        """
        with self._lock:
            since, before = self._samples[0]
            seconds = time.monotonic() - since
            rate = max(self.done - before, 0) / seconds if seconds > 0 else 0.0
            left = max(self.total - self.done, 0)
            eta = 0 if not left else left / rate if rate else None
            return {
                "done": self.done,
                "total": self.total,
                "photographs_per_s": round(rate, 1),
                "eta_s": None if eta is None else math.ceil(eta),
                "rejected": self.rejected,
            }
