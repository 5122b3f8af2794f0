"""How a command ends: one line on stderr, and an exit code."""

from __future__ import annotations

import errno
import logging
import select
import signal
import sys
import tempfile
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import rich_click as click

from verger import __version__, log
from verger.config import LogSettings
from verger.errors import (
    DoesNotFitError,
    ExitCode,
    InterruptedCommandError,
    Terminated,
    VergerError,
)
from verger.progress import Progress
from verger.redaction import redact, words
from verger.spark.failures import explain
from verger.text import one_line

TERMINATION_LOG = Path("/dev/termination-log")
"""A file in a pod's containers, and nowhere else."""


@contextmanager
def reporting(
    config: LogSettings, interrupted: Callable[[KeyboardInterrupt], VergerError] = InterruptedCommandError
) -> Iterator[Progress]:
    """Give a command its progress; where it fails, say why in one line and end the process with the exit code.

    Parameters
    ----------
    config : LogSettings
        What is said on stderr, and how.
    interrupted : callable
        Makes the error of an interrupt.
    """
    if config.log_level not in ("debug", "info") and not log.is_json():
        # Py4J logs the traceback of every call that a signal interrupts.
        logging.getLogger().addHandler(logging.NullHandler())
    with Progress.of(config) as progress:
        try:
            with _sigterm_raises():
                yield progress
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, BrokenPipeError) and _stdout_is_closed():
                raise
            code, line = exit_code_and_line(error, interrupted)
            tell_kubernetes(line)
            progress.fail(code, line, error)
            raise SystemExit(code) from error


def _stdout_is_closed() -> bool:
    """Whether nobody reads stdout any more, so that a broken pipe is not one of the run's own."""
    stdout = select.poll()
    try:
        stdout.register(sys.stdout.fileno(), 0)  # errors are told unasked
    except (OSError, ValueError):  # it is no file, or closed
        return False
    return bool(stdout.poll(0))


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM ends the run in order; a second one ends it at once."""

    def stop(number: int, _: types.FrameType | None) -> NoReturn:
        signal.signal(number, previous)
        raise Terminated

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def exit_code_and_line(
    error: BaseException, interrupted: Callable[[KeyboardInterrupt], VergerError] = InterruptedCommandError
) -> tuple[ExitCode, str]:
    """The exit code and the one line for whatever ended the command.

    Parameters
    ----------
    error : BaseException
        What ended the command.
    interrupted : callable
        Makes the error of an interrupt.
    """
    known: VergerError | None
    if isinstance(error, VergerError):
        known = error
    elif isinstance(error, KeyboardInterrupt):
        known = interrupted(error)
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" for {error.filename}" if error.filename else ""
        known = DoesNotFitError(f"no space left on disk{where}", "Free some space, or choose another folder")
    else:
        known = explain(error)
    return (known.exit_code, known.line) if known else (ExitCode.DEFECT, _defect(error))


def _defect(error: BaseException) -> str:
    """Keep the traceback in a file and say where."""
    what = f"internal error: {words(traceback.format_exception_only(error)[-1], 300)}."
    try:
        with tempfile.NamedTemporaryFile("w", prefix="verger-", suffix=".txt", delete=False, errors="replace") as file:
            text = redact("".join(traceback.format_exception(error)))
            file.write(f"verger {__version__}, Python {sys.version}\n\n{text}")
    except OSError as unwritable:
        return f"{what} Its traceback could not be written ({unwritable.strerror}). Show it with --log-level info."
    return f"{what} The traceback is in {file.name}. Please report it with that file."


def fail(code: ExitCode, line: str) -> NoReturn:
    """End the process with a line on stderr, where no `Progress` could say it.

    Parameters
    ----------
    code : ExitCode
        With which the process ends.
    line : str
        What happened and what to do, for stderr and for Kubernetes.
    """
    line = redact(line)
    tell_kubernetes(line)
    structured = log.line("failed", "ERROR", exit_code=int(code), message=line) if log.is_json() else None
    click.echo(structured or f"verger: {one_line(line)}", err=True)
    sys.exit(code)


def tell_kubernetes(line: str) -> None:
    """Leave the line where Kubernetes looks for why a container ended; of more than 4096 bytes it keeps the last.

    Parameters
    ----------
    line : str
        Why the command ended.
    """
    with suppress(OSError):
        if TERMINATION_LOG.is_file():
            TERMINATION_LOG.write_bytes(redact(line).encode()[:4096].decode(errors="ignore").encode())
