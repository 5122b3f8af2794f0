"""Why a file of the store cannot be read: it was deleted, it is damaged, or the store fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

from verger.errors import NothingToReadError, StoreError
from verger.redaction import words

# Errors for a file that was deleted: Spark's when it reads, plans or lists the file, and that of a Python worker.
_VANISHED = re.compile(
    r"FAILED_READ_FILE\.FILE_NOT_EXIST|\[PATH_NOT_FOUND\]|FileNotFoundError: the stored file "
    r"|FileNotFoundException: (?:File .* does not exist|No such file or directory: s3a:)"
)

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
        Spark's, whose text is searched; or FileNotFoundError, or an error of `Storage` that it caused.
    """
    cause = error.__cause__ if isinstance(error, NothingToReadError) else error
    return isinstance(cause, FileNotFoundError) or bool(_VANISHED.search(str(error)))


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
