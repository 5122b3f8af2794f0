"""Exit codes, the errors that end a run in one line, and the reasons a photograph is rejected."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from verger.redaction import redact


class ExitCode(IntEnum):
    """The exit codes of the process. Scripts and charts rely on them."""

    DONE = 0
    DEFECT = 1
    USAGE = 2
    NOTHING_TO_READ = 3
    STORE = 4
    RESIDENCY = 5
    TOO_MANY_REJECTED = 6
    WEIGHTS = 7
    DOES_NOT_FIT = 8
    INTERRUPTED = 130
    TERMINATED = 143


class VergerError(Exception):
    """A failure that the user can act on. Secrets are removed from what it says.

    Parameters
    ----------
    what : str
        One line: what happened, and where.
    advice : str, optional
        What to do about it.

    Attributes
    ----------
    exit_code : ExitCode
        With which the process ends; each class has its own.
    """

    exit_code = ExitCode.DEFECT

    def __init__(self, what: str, advice: str = "") -> None:
        self.what = redact(" ".join(what.split())).rstrip(".")
        self.advice = redact(" ".join(advice.split())).rstrip(".")
        super().__init__(self.line)

    @property
    def line(self) -> str:
        """The one line that the user reads."""
        return f"{self.what}. {self.advice}." if self.advice else f"{self.what}."


class UsageError(VergerError):
    """The command or its configuration is wrong."""

    exit_code = ExitCode.USAGE


class NothingToReadError(VergerError):
    """There is no such file, folder or bucket, or no photograph in it."""

    exit_code = ExitCode.NOTHING_TO_READ


class StoreError(VergerError):
    """The store refuses or cannot be reached."""

    exit_code = ExitCode.STORE


class ResidencyError(VergerError):
    """Data would be read or written outside the EU, or its region is unknown."""

    exit_code = ExitCode.RESIDENCY


class TooManyRejectedError(VergerError):
    """More photographs were rejected than ``max_rejected_ratio`` allows."""

    exit_code = ExitCode.TOO_MANY_REJECTED


class WeightsError(VergerError):
    """The weights cannot be read, or are not those of this network."""

    exit_code = ExitCode.WEIGHTS


class DoesNotFitError(VergerError):
    """There is not enough memory or disk space."""

    exit_code = ExitCode.DOES_NOT_FIT


class Terminated(KeyboardInterrupt):
    """SIGTERM came. Like KeyboardInterrupt it is no Exception, so that libraries do not handle it as an error."""


class InterruptedCommandError(VergerError):
    """A signal asked the command to end.

    Parameters
    ----------
    signal : KeyboardInterrupt
        `Terminated` for SIGTERM.
    kept : str
        What the message says after "interrupted" or "terminated".
    advice : str
        What to do about it.
    """

    def __init__(self, signal: KeyboardInterrupt, kept: str = "", advice: str = "Run the same command again") -> None:
        terminated = isinstance(signal, Terminated)
        self.exit_code = ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED
        super().__init__(("terminated" if terminated else "interrupted") + kept, advice)


class InterruptedRunError(InterruptedCommandError):
    """A signal asked a run to end. It can be resumed: what finished tasks have written is kept.

    Parameters
    ----------
    signal : KeyboardInterrupt
        `Terminated` for SIGTERM.
    """

    def __init__(self, signal: KeyboardInterrupt) -> None:
        super().__init__(signal, ": what finished tasks have written is kept", "Run the same command again to resume")


class Reason(StrEnum):
    """Why a photograph is not in the table. The list is closed."""

    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED = "truncated"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TOO_LARGE = "too_large"
    TOO_SMALL = "too_small"
    UNREADABLE = "unreadable"
    VANISHED = "vanished"
    CHANGED = "changed"

    @property
    def permanent(self) -> bool:
        """Whether the same bytes would be rejected again. If so, the photograph is not read again."""
        return self not in (Reason.UNREADABLE, Reason.VANISHED, Reason.CHANGED)


class Rejection(Exception):
    """One photograph cannot be used; the run goes on.

    Parameters
    ----------
    reason : Reason
        One of the closed list.
    message : str
        What was found, in one line.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason = reason
        self.message = redact(" ".join(message.split()))
        super().__init__(f"{reason}: {self.message}")
