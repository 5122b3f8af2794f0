"""The counts of the extraction, its rate, and the time that is left."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

RATE_WINDOW_S = 30.0
# Gaps between two arrivals of which the longest is taken as usual. In a longer gap the work has become slower.
_RECENT_GAPS = 8
# The estimated end moves toward a new estimate so slowly that a rate which is off by a fifth for a moment does not
# let the time left grow.
_MOVES_WITHIN = 0.2  # of the time left
# A rise of the time left by less than this share and so many seconds is not shown: it stands still instead.
_HELD, _HELD_S = 0.1, 3.0
_KNOWN_AFTER_S = 4.0  # since the first photographs arrived; a rate over less says little


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
        self._time_left = TimeLeft(total)
        self._lock = threading.Lock()
        self.changed: Callable[[], object] = lambda: None

    def set(self, done: int, rejected: int) -> None:
        """Set the counts.

        Parameters
        ----------
        done, rejected : int
            As the attributes. They may become smaller, where a wave is repeated; more than all is taken as all.
        """
        now, done = time.monotonic(), min(done, self.total)
        with self._lock:
            is_second = done > self.done > 0 and self._samples[0][1] == 0
            if is_second:  # the time until the first photograph is the start's, and not the rate's
                while self._samples[0][1] == 0:
                    self._samples.popleft()
            self.done, self.rejected = done, rejected
            self._samples.append((now, done))
            while len(self._samples) > 2 and now - self._samples[0][0] > RATE_WINDOW_S:
                self._samples.popleft()
            self._time_left.set(now, done)
        self.changed()

    def fields(self) -> dict[str, Any]:
        """The fields of one ``progress`` line.

        Returns
        -------
        dict
            ``eta_s`` is None while the rate is unknown.
        """
        with self._lock:
            now = time.monotonic()
            since, before = self._samples[0]
            rate = max(self.done - before, 0) / (now - since) if now > since else 0.0
            left = self._time_left.seconds(now)
            return {
                "done": self.done,
                "total": self.total,
                "photographs_per_s": round(rate, 1),
                "eta_s": None if left is None else math.ceil(round(left, 3)),
                "rejected": self.rejected,
            }


class TimeLeft:
    """Estimates the time that is left, so that it shrinks steadily although photographs arrive in bursts.

    The rate is that of the gaps between arrivals, weighted exponentially: what was `RATE_WINDOW_S` ago weighs a third.
    From the last arrival on, the photographs that are left take as long as this rate says. The time between arrivals
    so counts down by itself. The estimated end moves slowly toward each new estimate.

    Parameters
    ----------
    total : int
        Photographs to extract.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._last: tuple[float, int] | None = None  # when the last photographs arrived, and how many there were
        self._gaps: deque[float] = deque(maxlen=_RECENT_GAPS)
        self._arrived = self._seconds = 0.0  # photographs and seconds, both weighted
        self._end: float | None = None
        self._shown: float | None = None
        self._first = self._moved = 0.0

    def set(self, now: float, done: int) -> None:
        """Take the count into account.

        Parameters
        ----------
        now : float
            Seconds of a monotonic clock.
        done : int
            Photographs that are computed or rejected. Where it becomes smaller, a wave is repeated.
        """
        if self._last is None or done < self._last[1]:
            self._first = self._first if self._seconds else now
            self._last = (now, done) if done else None
            return
        then, before = self._last
        if done > before and now > then:
            self._add(now - then, done - before)
            self._last = now, done
        if self._seconds and now - self._first >= _KNOWN_AFTER_S:
            self._move(now, self._estimated_end(now))

    def seconds(self, now: float) -> float | None:
        """The time that is left.

        Parameters
        ----------
        now : float
            Seconds of a monotonic clock.

        Returns
        -------
        float or None
            Seconds; 0 only if all photographs are done, None while the rate is unknown.
        """
        if self._last is not None and self._last[1] >= self._total:
            return 0.0
        if self._end is None:
            return None
        left = max(self._end - now, 1.0)
        if self._shown is None or not self._shown < left < self._shown * (1 + _HELD) + _HELD_S:
            self._shown = left
        return self._shown

    def _add(self, gap: float, photographs: int) -> None:
        kept = math.exp(-gap / RATE_WINDOW_S)
        weight = RATE_WINDOW_S * (1 - kept)
        self._arrived = self._arrived * kept + photographs / gap * weight
        self._seconds = self._seconds * kept + weight
        self._gaps.append(gap)

    def _estimated_end(self, now: float) -> float:
        """When the last photograph is done, if the rate stays; in a gap longer than usual the rate falls."""
        assert self._last is not None
        arrived, done = self._last
        overdue = max(0.0, now - arrived - max(self._gaps))
        kept = math.exp(-overdue / RATE_WINDOW_S)
        rate = self._arrived * kept / (self._seconds * kept + RATE_WINDOW_S * (1 - kept))
        return arrived + overdue + (self._total - done) / rate

    def _move(self, now: float, estimated: float) -> None:
        if self._end is None:
            self._end, self._moved = estimated, now
            return
        left = max(self._end - now, 1.0)
        ratio = min(1.0, (estimated - now) / left)  # the more it was overestimated, the quicker it moves
        # At first quickly: the first estimates rest on little.
        within = max(1.0, min(_MOVES_WITHIN * left * ratio**2, now - self._first))
        self._end += (estimated - self._end) * (1 - math.exp((self._moved - now) / within))
        self._moved = now
