"""What a run shows while it works: a bar on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import contextlib
import datetime
import math
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from verger import log
from verger.config import LogSettings
from verger.errors import ExitCode
from verger.text import one_line

RATE_WINDOW_S = 30.0


class Progress:
    """The voice of a run, on stderr.

    On a terminal: a spinner for each stage, a bar for the photographs. Elsewhere: one JSON object a line, each with an
    ``event``: ``stage``, ``progress``, ``warning``, and last ``done`` or ``failed``, and between them lines for people.
    In the format ``json`` these are objects too, of the event ``message``, and each has ``ts``, ``level`` and
    ``logger``. It may be used from any thread, and never raises: a run does not die of a reader that went away.

    Parameters
    ----------
    stream : TextIO, optional
        Where to speak; default: stderr.
    interval : float
        Seconds between two ``progress`` lines.
    log_level : {"debug", "info", "warning", "error"}
        ``error`` keeps warnings off the screen; from ``info`` on stages are lines, as the log would tear spinners.
    log_format : {"auto", "json"}
        ``json`` also on a terminal, and without lines for people.

    Attributes
    ----------
    timings : dict of str to float
        Seconds per stage; a stage that was entered again adds up.
    warnings : list of str
        Every distinct warning, in order.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        interval: float = 10.0,
        log_level: str = "warning",
        log_format: str = "auto",
    ) -> None:
        self.timings: dict[str, float] = {}
        self.warnings: list[str] = []
        self._stream = _Unbreakable(sys.stderr if stream is None else stream)
        self._interval = interval
        self._log_level = log_level
        self._structured = log_format == "json"
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._meter: _Meter | None = None
        self._counts: dict[str, int] = {}
        self._spinners = contextlib.ExitStack()
        self._console: Console | None = None
        if self._stream.isatty() and not self._structured:
            self._console = Console(file=self._stream, highlight=False)  # type: ignore[arg-type]

    @classmethod
    def of(cls, settings: LogSettings) -> Self:
        """As the settings ask for it."""
        return cls(None, settings.progress_interval, settings.log_level, settings.log_format)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spinners.close()

    @contextmanager
    def stage(self, name: str, says: str = "") -> Iterator[None]:
        """Time a stage and show that it began.

        Parameters
        ----------
        name : str
            Its key in ``timings``.
        says : str, optional
            What a terminal shows, such as "Listing photographs"; default: the name.
        """
        self._show(name, says or name.capitalize())
        start = time.monotonic()
        try:
            yield
        finally:
            self._spinners.close()
            with self._lock:
                self.timings[name] = self.timings.get(name, 0.0) + time.monotonic() - start

    def _show(self, name: str, says: str) -> None:
        if self._console is None:
            self._event("stage", stage=name, elapsed_s=self._elapsed())
        elif self._log_level in ("debug", "info"):
            self.say(f"{says} …")
        else:
            self._spinners.close()  # a terminal has room for one
            self._spinners.enter_context(self._console.status(f"{says} …"))

    @contextmanager
    def photographs(self, total: int) -> Iterator[None]:
        """Show how far the extraction of ``total`` photographs is, from ``update`` to ``update``."""
        self._spinners.close()
        self._meter = meter = _Meter(total)
        try:
            with self._bar(meter) if self._console else self._lines(meter):
                yield
        finally:
            self._meter = None
            self._counts = {"done": meter.done, "total": meter.total, "rejected": meter.rejected}

    def update(self, done: int, rejected: int) -> dict[str, Any]:
        """Set how many photographs are dealt with, rejected ones included, and how many of them were rejected.

        Returns
        -------
        dict
            The figures that a ``progress`` line would have now; empty after the bar has gone.
        """
        if self._meter is None:  # a late report changes nothing
            return {}
        self._meter.set(done, rejected)
        return self._meter.figures()

    @contextmanager
    def _lines(self, meter: _Meter) -> Iterator[None]:
        """One line at the start, one each interval, one at the end."""
        ended = threading.Event()

        def speak() -> None:
            while not ended.wait(self._interval):
                self._report(meter)

        self._report(meter)
        speaker = threading.Thread(target=speak, name="verger-progress", daemon=True)
        speaker.start()
        try:
            yield
        finally:
            ended.set()
            speaker.join()
            self._report(meter)

    def _report(self, meter: _Meter) -> None:
        self._event("progress", stage="features", **meter.figures(), elapsed_s=self._elapsed())

    @contextmanager
    def _bar(self, meter: _Meter) -> Iterator[None]:
        columns = (
            SpinnerColumn(),
            TextColumn("Features"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _MeterColumn(meter),
        )
        with Bar(*columns, console=self._console, expand=True) as bar:
            task: TaskID = bar.add_task("", total=meter.total)
            meter.changed = lambda: bar.update(task, completed=meter.done)
            yield

    def warn(self, text: str) -> None:
        """Say something that the user should know and the manifest keeps; the same text once."""
        with self._lock:
            if text in self.warnings:
                return
            self.warnings.append(text)
        if self._log_level == "error":
            return
        if self._console is None:
            self._event("warning", "WARN", message=text)
        else:
            self._print(f"warning: {text}", "yellow")

    def say(self, text: str) -> None:
        """Write one line for people."""
        if self._structured:
            self._event("message", message=text)
        else:
            self._print(text)

    def finish(self, **totals: Any) -> None:
        """End with the totals, on a line that a script can parse; a terminal has been told by ``say``."""
        if self._console is None:
            self._event("done", **totals)

    def fail(self, code: ExitCode, line: str, error: BaseException | None = None, **counts: Any) -> None:
        """End with what went wrong: a line for people, and where there is no terminal one for scripts.

        Parameters
        ----------
        code : ExitCode
        line : str
        error : BaseException, optional
            Its traceback is shown from the log level ``info`` on.
        **counts
            More figures for scripts.
        """
        self._spinners.close()
        if error is not None and self._log_level in ("debug", "info"):
            shown = "".join(traceback.format_exception(error))
            if self._structured:
                counts["traceback"] = shown
            else:
                self._write(shown.rstrip())
        if not self._structured:
            self._print(f"verger: {line}", "red")
        if self._console is None:
            self._event("failed", "ERROR", exit_code=int(code), message=line, **self._counts, **counts)

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._began, 1)

    def _print(self, text: str, style: str = "") -> None:
        line = one_line(" ".join(text.splitlines()))
        if self._console is not None:
            self._console.print(Text(line, style=style), soft_wrap=True)
        else:
            self._write(line)

    def _event(self, event: str, level: str = "INFO", **fields: Any) -> None:
        self._write(log.line(event, level, **fields) if self._structured else log.dump({"event": event, **fields}))

    def _write(self, line: str) -> None:
        with self._lock:
            self._stream.write(line + "\n")  # whole, so that lines of threads do not mix
            self._stream.flush()


class _Meter:
    """Counts, and the rate over the last half minute."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.rejected = 0
        self._seen = deque([(time.monotonic(), 0)])
        self._lock = threading.Lock()
        self.changed: Callable[[], object] = lambda: None

    def set(self, done: int, rejected: int) -> None:
        now = time.monotonic()
        with self._lock:
            self.done, self.rejected = done, rejected
            self._seen.append((now, done))
            while len(self._seen) > 2 and now - self._seen[0][0] > RATE_WINDOW_S:
                self._seen.popleft()
        self.changed()

    def figures(self) -> dict[str, Any]:
        """Return the figures of one ``progress`` line; ``eta_s`` is None while nothing is known."""
        with self._lock:
            since, before = self._seen[0]
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


class _MeterColumn(TextColumn):
    """Rate, time left and rejected photographs beside the bar."""

    def __init__(self, meter: _Meter) -> None:
        super().__init__("")
        self._figures = meter.figures

    def render(self, task: object) -> Text:
        figures = self._figures()
        eta = figures["eta_s"]
        left = "-:--:--" if eta is None else datetime.timedelta(seconds=eta)
        return Text(f"{figures['photographs_per_s']:.0f}/s  {left} left  {figures['rejected']} rejected")


class _Unbreakable:
    """A text stream whose reader may go away."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):  # ValueError: the stream is closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()
