"""The log of a cluster: one JSON object a line, with time, level and logger named as in Spark's structured log."""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from verger.jsonable import finite

# Python's names, where log4j has others.
_LEVELS = {"WARNING": "WARN", "CRITICAL": "FATAL"}


def line(event: str, level: str = "INFO", logger: str = "verger", **fields: Any) -> str:
    """One line of the log.

    Parameters
    ----------
    event : str
        What kind of line it is.
    level, logger : str
        As log4j calls them.
    **fields
        What else it says.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return dump({"ts": now, "level": level, "logger": logger, "event": event, **fields})


def dump(fields: dict[str, Any]) -> str:
    """JSON on one line, with null for what it has no number for."""
    return json.dumps(finite(fields), default=str)


class _Lines(logging.Handler):
    """Python's loggers as lines of the log."""

    def emit(self, record: logging.LogRecord) -> None:
        shown = {"traceback": "".join(traceback.format_exception(*record.exc_info))} if record.exc_info else {}
        level = _LEVELS.get(record.levelname, record.levelname)
        with suppress(OSError, ValueError, TypeError):  # nobody reads it any more, or its arguments do not fit
            message = " ".join(record.getMessage().split())
            sys.stderr.write(line("log", level, record.name, message=message, **shown) + "\n")
            sys.stderr.flush()


_LINES = _Lines()


def begin(as_json: bool, loud: bool = False) -> None:
    """Say whether, from here on, Python's warnings, loggers and stray tracebacks become lines of the log too.

    Parameters
    ----------
    as_json : bool
    loud : bool
        Whether the traceback of every call that a signal interrupts, which Py4J logs, is among them.
    """
    root = logging.getLogger()
    (root.addHandler if as_json else root.removeHandler)(_LINES)
    logging.captureWarnings(as_json)
    logging.getLogger("py4j").setLevel(logging.CRITICAL if as_json and not loud else logging.NOTSET)
    if as_json:
        threading.excepthook = sys.unraisablehook = _stray
    elif threading.excepthook is _stray:
        threading.excepthook, sys.unraisablehook = threading.__excepthook__, sys.__unraisablehook__


def structured() -> bool:
    """Whether lines are JSON."""
    return _LINES in logging.getLogger().handlers


def _stray(stray: Any) -> None:
    """An exception that no caller can catch: a thread's, or an object's that is deleted."""
    logging.getLogger("verger").error(
        "an exception that nobody handles", exc_info=(stray.exc_type, stray.exc_value, stray.exc_traceback)
    )
