"""What the system says of files, as errors that say what the user can do."""

from __future__ import annotations

import errno
import os

from verger.errors import DoesNotFitError, StoreError, VergerError

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
"""A full disk, and a full quota."""

_MOUNT = "Check the disk, or the mount"
_CANNOT = "Its file system cannot do that: choose another folder"
_ADVICE = {
    errno.EACCES: "Check the path and its permissions",
    errno.EPERM: "Check the path and its permissions, and whether its file system can do that",
    errno.EROFS: "Mount it for writing, or choose another folder",
    errno.ENOENT: "Check the path",
    errno.ENOTDIR: "Check the path",
    errno.EISDIR: "Check the path",
    errno.EEXIST: "Check the path",
    errno.ELOOP: "Check the path",
    errno.ENAMETOOLONG: "Choose a shorter path",
    errno.EILSEQ: "Its file system does not allow this name: choose another folder",
    errno.EINVAL: "Its file system may not allow this name, or cannot do that: choose another folder",
    errno.ENOSYS: _CANNOT,
    errno.EOPNOTSUPP: _CANNOT,
    errno.ENOLCK: "Its file system gives no locks: mount it with them, or choose another folder",
    errno.EIO: _MOUNT,
    errno.ESTALE: _MOUNT,
    errno.ENOTCONN: _MOUNT,
    errno.ENODEV: _MOUNT,
    errno.ENXIO: _MOUNT,
    errno.ETIMEDOUT: _MOUNT,
    errno.EHOSTDOWN: _MOUNT,
    errno.EMFILE: "Allow more open files (ulimit -n)",
    errno.ENFILE: "Close other programs: the machine has too many open files",
}
# Those that Java gives as text only, and that can mean nothing else.
_TOLD_BY_JAVA = (errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENAMETOOLONG, errno.EFBIG)


def explain(number: int | None, words: str, where: str) -> VergerError:
    """What an error of the system means. Where the cause is not known, no advice is given.

    Parameters
    ----------
    number : int or None
        The error's number, as in `errno`.
    words : str
        What the system says of it.
    where : str
        The file or folder, or what was being done.

    Returns
    -------
    VergerError
        DoesNotFitError where space or a limit is the cause, else StoreError.
    """
    if number in NO_SPACE:
        return DoesNotFitError(f"no space left for {where} ({words})", "Free some space, or choose another folder")
    if number == errno.EFBIG:
        advice = "Its file system or a limit (ulimit -f) allows no larger file: choose another folder"
        return DoesNotFitError(f"{where}: {words}", advice)
    return StoreError(f"{where}: {words}", _ADVICE.get(number or 0, ""))


def find(text: str) -> tuple[int, str] | None:
    """Find the words of an error of the system in a text of Java.

    Parameters
    ----------
    text : str
        With the messages of all causes.

    Returns
    -------
    tuple of (int, str) or None
        The error's number, and the words as they are in the text.
    """
    found = ((number, os.strerror(number)) for number in _TOLD_BY_JAVA)
    return next(((number, words) for number, words in found if words in text), None)
