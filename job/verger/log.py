"""The log of a cluster: one JSON object a line. Time, level and logger have the names of Spark's structured log."""

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
from verger.redaction import redact, redact_values

# Python's names of levels -> log4j's, where they differ.
_LEVELS = {"WARNING": "WARN", "CRITICAL": "FATAL"}


def line(event: str, level: str = "INFO", logger: str = "verger", **fields: Any) -> str:
    """Make one line of the log.

    Parameters
    ----------
    event : str
        The kind of line.
    level : str
        In log4j's words: INFO, WARN, ERROR, ...
    logger : str
        Name of the logger.
    **fields
        Further keys and values.

    Returns
    -------
    str
        A JSON object, without a newline.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return dump({"ts": now, "level": level, "logger": logger, "event": event, **fields})


def dump(fields: dict[str, Any]) -> str:
    """Write a JSON object on one line. Numbers that are not finite become null, and secrets are removed.

    Parameters
    ----------
    fields : dict
        A value that JSON does not have is written as its text.

    Returns
    -------
    str
        The object, without a newline.
    """
    return json.dumps(redact_values(finite(fields)), default=lambda value: redact(str(value)))


class _JsonHandler(logging.Handler):
    """Writes the messages of Python's loggers as lines of the log."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"traceback": "".join(traceback.format_exception(*record.exc_info))} if record.exc_info else {}
        level = _LEVELS.get(record.levelname, record.levelname)
        with suppress(OSError, ValueError, TypeError):  # stderr is closed, or the arguments do not fit the message
            message = " ".join(record.getMessage().split())
            sys.stderr.write(line("log", level, record.name, message=message, **fields) + "\n")
            sys.stderr.flush()


class _PlainFormatter(logging.Formatter):
    """The text of a message, of which the secrets are removed."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


_HANDLER = _JsonHandler()


def configure(as_json: bool, verbose: bool = False) -> None:
    """Write Python's warnings, log messages and uncaught exceptions as lines of the log; or not any more.

    Parameters
    ----------
    as_json : bool
        Whether they are lines of the log from here on; False restores Python's own handling.
    verbose : bool
        Whether to include Py4J's messages: a traceback for every call that a signal interrupts.
    """
    if logging.lastResort is not None:  # writes on stderr what no handler takes
        logging.lastResort.setFormatter(_PlainFormatter())
    root = logging.getLogger()
    (root.addHandler if as_json else root.removeHandler)(_HANDLER)
    logging.captureWarnings(as_json)
    logging.getLogger("py4j").setLevel(logging.CRITICAL if as_json and not verbose else logging.NOTSET)
    if as_json:
        threading.excepthook = sys.unraisablehook = _log_uncaught
    else:
        threading.excepthook = sys.unraisablehook = _print_uncaught


def is_json() -> bool:
    """Whether the log is JSON."""
    return _HANDLER in logging.getLogger().handlers


def _print_uncaught(uncaught: Any) -> None:
    """Print an exception that no caller can catch, as Python does, without secrets."""
    text = redact("".join(traceback.format_exception(uncaught.exc_type, uncaught.exc_value, uncaught.exc_traceback)))
    with suppress(OSError, ValueError, AttributeError):  # stderr is closed, or there is none
        sys.stderr.write(text)


def _log_uncaught(uncaught: Any) -> None:
    """Log an exception that no caller can catch: one in a thread, or in an object's ``__del__``."""
    logging.getLogger("verger").error(
        "uncaught exception", exc_info=(uncaught.exc_type, uncaught.exc_value, uncaught.exc_traceback)
    )
