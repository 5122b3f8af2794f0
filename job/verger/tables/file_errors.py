"""Why a file of the store cannot be read: it was deleted, it is damaged, or the store fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

from verger.errors import NothingToReadError, StoreError
from verger.redaction import words

# The error of a Python worker for a file that was deleted, as Spark repeats it.
_GONE = "FileNotFoundError: the stored file "

T = TypeVar("T")


def retry_if_vanished(attempt: Callable[[], T], where: str, again: bool = True) -> T:
    """Call a function that lists files and reads them; once more if a file was deleted in between.

    Parameters
    ----------
    attempt : callable
        Called without arguments.
    where : str
        The folder, for the message.
    again : bool
        Whether there may be a second attempt.

    Returns
    -------
    object
        The result of ``attempt``.

    Raises
    ------
    StoreError
        Files were deleted in the second attempt too.
    """
    try:
        return attempt()
    except Exception as error:
        if not vanished(error):
            raise
        if not again:
            raise StoreError(
                f"files in {where} vanish while they are read", "Run again when nothing deletes files there"
            ) from error
    return retry_if_vanished(attempt, where, again=False)


def vanished(error: BaseException) -> bool:
    """Whether an error says that a listed file was deleted: a compaction or a prune has put another in its place.

    Parameters
    ----------
    error : BaseException
        Spark's, which repeats that of a Python worker; or FileNotFoundError, or an error of `Storage` that it caused.
    """
    cause = error.__cause__ if isinstance(error, NothingToReadError) else error
    return isinstance(cause, FileNotFoundError) or _GONE in str(error)


def damaged(error: BaseException) -> bool:
    """Whether pyarrow cannot parse a file. Errors of the operating system have an error number or another type.

    Parameters
    ----------
    error : BaseException
        What pyarrow raised as it read the file.
    """
    return isinstance(error, pa.ArrowInvalid) or (type(error) is OSError and error.errno is None)


def unreadable(file: str, error: Exception) -> StoreError:
    """The error for a file of the store that pyarrow could not read.

    Parameters
    ----------
    file : str
        Its canonical path.
    error : Exception
        What pyarrow raised, but no FileNotFoundError.
    """
    if damaged(error):
        return StoreError(f"{file} is damaged", "Delete it: its photographs are computed again")
    return StoreError(f"{file} cannot be read: {words(error, 120)}", "Check the store")


def gone(file: str) -> FileNotFoundError:
    """The error of a Python worker for a file that was deleted since it was listed. `vanished` knows it.

    Parameters
    ----------
    file : str
        Its canonical path.
    """
    return FileNotFoundError(f"the stored file {file} is gone")
