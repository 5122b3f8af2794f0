"""The TensorFlow that is installed, and the one that is needed: its internals are used, which versions may change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from verger.errors import UsageError

NEEDED = "2.21.0"
"""As in requirements/run.in."""


@contextmanager
def needed() -> Iterator[None]:
    """Around imports of TensorFlow, and of what comes with it.

    Raises
    ------
    UsageError
        It is not installed, does not load, or lacks what is imported.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # of libraries below it that do not fit, protobuf's is of no type that others have
        raise UsageError(
            f"TensorFlow {NEEDED} is needed, and {_found()} ({type(error).__name__}: {str(error)[:200]})",
            f"Install verger with its requirements: tensorflow-cpu=={NEEDED}",
        ) from error


def _found() -> str:
    for package in ("tensorflow-cpu", "tensorflow"):
        try:
            found = version(package)
        except PackageNotFoundError:
            continue
        return f"{found} is installed but does not load" if found == NEEDED else f"{found} is installed"
    return "none is installed"
