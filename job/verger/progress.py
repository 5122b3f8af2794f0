"""The progress of a run on stderr: a bar on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self, TextIO

from rich.console import Console
from rich.status import Status
from rich.text import Text

from verger import log
from verger.bar import Bar
from verger.config import LogSettings
from verger.errors import ExitCode
from verger.meter import Meter
from verger.redaction import redact
from verger.text import one_line
from verger.waits import Wait, Waits


class Progress:
    """Shows stages, progress, warnings and the end of a run.

    On a terminal: a spinner for each stage, a bar for the photographs, and what the run waits for. Elsewhere: one JSON
    object a line, each with an ``event``: ``stage``, ``waiting``, ``progress``, ``warning``, and last ``done`` or
    ``failed``; lines for people are between them. In the format ``json`` these are objects too, with the event
    ``message``, and each object has ``ts``, ``level`` and ``logger``.

    It may be used from any thread. It never raises: a run goes on when nothing reads its output any more.

    Parameters
    ----------
    stream : TextIO, optional
        Default: stderr.
    interval : float
        Seconds between two ``progress`` lines.
    log_level : {"debug", "info", "warning", "error"}
        With ``error``, warnings are not shown. With ``info`` and ``debug``, stages are lines on a terminal too, as
        Spark's messages would break a spinner.
    log_format : {"auto", "json"}
        With ``json``, all lines are JSON objects, also on a terminal.

    Attributes
    ----------
    timings : dict of str to float
        Seconds per stage; a stage that was entered again is added.
    warnings : list of str
        Each warning once, in order.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        interval: float = 5.0,
        log_level: str = "warning",
        log_format: str = "auto",
    ) -> None:
        self.timings: dict[str, float] = {}
        self.warnings: list[str] = []
        self._stream = _SafeStream(sys.stderr if stream is None else stream)
        self._interval = interval
        self._log_level = log_level
        self._is_json = log_format == "json"
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._reporting = threading.Lock()
        self._meter: Meter | None = None
        self._counts: dict[str, int] = {}
        self._waits = Waits()
        self._spinners = contextlib.ExitStack()
        self._spinner: Status | None = None
        self._description = ""
        self._console: Console | None = None
        if self._stream.isatty() and not self._is_json:
            self._console = Console(file=self._stream, highlight=False)  # type: ignore[arg-type]

    @classmethod
    def of(cls, settings: LogSettings) -> Self:
        """Make one on stderr.

        Parameters
        ----------
        settings : LogSettings
            ``progress_interval``, ``log_level`` and ``log_format`` decide what is shown, and how.

        Returns
        -------
        Progress
            A new one, without timings and warnings.
        """
        return cls(None, settings.progress_interval, settings.log_level, settings.log_format)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_spinner()

    @contextmanager
    def stage(self, name: str, description: str = "") -> Iterator[None]:
        """Time a stage and show that it has begun.

        Parameters
        ----------
        name : str
            Its key in ``timings``.
        description : str, optional
            Shown on a terminal, such as "Listing photographs"; default: the name.
        """
        self._show(name, description or name.capitalize())
        start = time.monotonic()
        try:
            yield
        finally:
            self._close_spinner()
            with self._lock:
                self.timings[name] = self.timings.get(name, 0.0) + time.monotonic() - start

    def _show(self, name: str, description: str) -> None:
        if self._console is None:
            self._event("stage", stage=name, elapsed_s=self._elapsed())
        elif self._log_level in ("debug", "info"):
            self.say(f"{description} …")
        else:
            self._close_spinner()  # only one at a time
            self._description = description
            self._spinner = self._spinners.enter_context(self._console.status(self._spinner_text()))

    def _close_spinner(self) -> None:
        self._spinner = None
        self._spinners.close()

    def _spinner_text(self) -> Text:
        waits = self._waits.text
        return Text(f"{self._description} … {f'({waits})' if waits else ''}".rstrip())

    def executors(self, here: int, wanted: int, why: str = "") -> None:
        """Show how many executors are here. May be called again and again: what is shown already changes nothing.

        Parameters
        ----------
        here : int
            Executors that take tasks.
        wanted : int
            Executors that the run asked for; a run whose executors are all here waits for none.
        why : str, optional
            What the others wait for, such as "2 pending: Insufficient memory".
        """
        text = f"{here:,} of {wanted:,} executors are here"
        self._wait(Wait("executors", here, wanted, redact(f"{text}; {why}" if why else text)))

    def workers(self, loaded: int, total: int) -> None:
        """Show how many workers have loaded the network, until the first photographs are done. May be called again.

        Parameters
        ----------
        loaded : int
            Worker processes that can compute.
        total : int
            Worker processes that will; a run whose workers have all loaded it waits for none.
        """
        text = f"network loaded on {loaded:,} of {total:,} worker{'s' * (total != 1)}"
        self._wait(Wait("network", loaded, total, text))

    def _wait(self, wait: Wait) -> None:
        if not self._waits.set(wait):
            return
        if self._console is None:
            counts: dict[str, Any] = {"waiting_for": wait.what, "ready": wait.ready, "total": wait.total}
            self._event("waiting", **counts, message=wait.message, elapsed_s=self._elapsed())
        elif self._log_level in ("debug", "info"):
            self.say(wait.message)
        elif spinner := self._spinner:
            spinner.update(self._spinner_text())

    @contextmanager
    def photographs(self, total: int) -> Iterator[None]:
        """Show the progress of the extraction, as `update` sets it, until the context ends.

        Parameters
        ----------
        total : int
            Photographs to extract.
        """
        self._close_spinner()
        self._meter = meter = Meter(total)
        try:
            with Bar(meter, self._waits, self._console) if self._console else self._lines(meter):
                yield
        finally:
            self._meter = None
            self._counts = {"done": meter.done, "total": meter.total, "rejected": meter.rejected}

    def update(self, done: int, rejected: int) -> dict[str, Any]:
        """Set the progress of the extraction.

        Parameters
        ----------
        done : int
            Photographs that are computed or rejected.
        rejected : int
            Those of them that are rejected.

        Returns
        -------
        dict
            The fields of a ``progress`` line; empty after the extraction.
        """
        meter = self._meter
        if meter is None:  # a late update changes nothing
            return {}
        if done:
            self._waits.end("network")
        is_first = 0 < done < meter.total and not meter.done
        meter.set(done, rejected)
        if is_first and self._console is None:  # at once
            self._report(meter)
        return meter.fields()

    @contextmanager
    def _lines(self, meter: Meter) -> Iterator[None]:
        """One line at the start, one each interval, one at the end; `update` adds one for the first photograph."""
        ended = threading.Event()

        def report() -> None:
            while not ended.wait(self._interval):
                self._report(meter)

        self._report(meter)
        reporter = threading.Thread(target=report, name="verger-progress", daemon=True)
        reporter.start()
        try:
            yield
        finally:
            ended.set()
            reporter.join()
            self._report(meter)

    def _report(self, meter: Meter) -> None:
        with self._reporting:  # else a line of another thread may follow, with an earlier number
            self._event("progress", stage="features", **meter.fields(), elapsed_s=self._elapsed())

    def warn(self, text: str) -> None:
        """Show a warning, and keep it for the manifest. The same text is shown once.

        Parameters
        ----------
        text : str
            One sentence; secrets are removed.
        """
        text = redact(text)
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
        """Show one line for people.

        Parameters
        ----------
        text : str
            Control characters are replaced; in the format ``json`` it is the ``message`` of an object.
        """
        if self._is_json:
            self._event("message", message=text)
        else:
            self._print(text)

    def info(self, text: str) -> None:
        """Show one line of detail, at the log levels ``info`` and ``debug``.

        Parameters
        ----------
        text : str
            As for `say`.
        """
        if self._log_level in ("debug", "info"):
            self.say(text)

    def finish(self, **totals: Any) -> None:
        """Write the last line of a run that succeeded, for scripts. On a terminal nothing is written.

        Parameters
        ----------
        **totals
            Fields of the line.
        """
        if self._console is None:
            self._event("done", **totals)

    def fail(self, code: ExitCode, line: str, error: BaseException | None = None, **counts: Any) -> None:
        """Write the end of a run that failed: a line for people, and one for scripts unless stderr is a terminal.

        Parameters
        ----------
        code : ExitCode
            Of the process.
        line : str
            What happened, where, and what to do.
        error : BaseException, optional
            Its traceback is shown at the log levels ``info`` and ``debug``.
        **counts
            Further fields for scripts.
        """
        self._close_spinner()
        if error is not None and self._log_level in ("debug", "info"):
            text = redact("".join(traceback.format_exception(error)))
            if self._is_json:
                counts["traceback"] = text
            else:
                self._write(text.rstrip())
        if not self._is_json:
            self._print(f"verger: {line}", "red")
        if self._console is None:
            self._event("failed", "ERROR", exit_code=int(code), message=line, **self._counts, **counts)

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._began, 1)

    def _print(self, text: str, style: str = "") -> None:
        line = one_line(redact(" ".join(text.splitlines())))
        if self._console is not None:
            self._console.print(Text(line, style=style), soft_wrap=True)
        else:
            self._write(line)

    def _event(self, event: str, level: str = "INFO", **fields: Any) -> None:
        self._write(log.line(event, level, **fields) if self._is_json else log.dump({"event": event, **fields}))

    def _write(self, line: str) -> None:
        with self._lock:
            self._stream.write(line + "\n")  # at once, so that the lines of two threads do not mix
            self._stream.flush()


class _SafeStream:
    """A text stream that ignores errors, as its reader may have gone."""

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
