"""Walking the folders of a disk, each once, whatever links there are between them."""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections.abc import Iterator

from verger.storage.base import Entry, WalkPolicy

# A file or folder that was deleted meanwhile, or a link that leads nowhere or to itself.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def walk(root: str, policy: WalkPolicy) -> Iterator[Entry]:
    """Find all files below a folder, in the order of the bytes of their paths.

    A folder is entered once, known by its device and inode. Folders that are reached without a symbolic link come
    first, in that order; then those behind links, in the order of the links' paths. So the same tree gives the same
    paths on every machine. What is behind links is out of order.

    The names in a folder are sorted in memory: some 50 bytes and the name's length for each of its files and folders,
    while the walk is in it or below it. Only the next file is asked for its size.

    Parameters
    ----------
    root : str
        The folder, absolute.
    policy : WalkPolicy
        Says which folders below it are entered, and is told what is passed over.

    Yields
    ------
    Entry
        One for each regular file, also one that a link leads to.

    Raises
    ------
    OSError
        The folder, or one below it that is to be entered, cannot be read.
    """
    entered: set[int | str] = set()
    links = [root]
    while links:
        folder = heapq.heappop(links)
        levels = [(folder, _names(folder, root, policy, entered))]
        while levels:
            folder, names = levels[-1]
            if not names:
                levels.pop()
                continue
            name = os.fsdecode(names.pop())
            path = os.path.join(folder, name.removesuffix("/"))
            if not name.endswith("/"):
                if entry := _entry(path, policy, links):
                    yield entry
            elif policy.enters(path):
                levels.append((path, _names(path, root, policy, entered)))


def _names(folder: str, root: str, policy: WalkPolicy, entered: set[int | str]) -> list[bytes]:
    """The names in a folder, the first one last; those of folders end in a slash, which is how their paths sort."""
    try:
        identity = _identity(folder)
        if identity in entered:
            policy.found_entered_folder(folder)
            return []
        entered.add(identity)
        with os.scandir(os.fsencode(folder)) as found:
            names = [item.name + b"/" if _is_folder(item) else item.name for item in found]
    except OSError as error:
        if folder == root or not _is_excused(error, folder, policy):
            error.filename = folder
            raise
        return []
    names.sort(reverse=True)
    return names


def _is_folder(item: os.DirEntry[bytes]) -> bool:
    """Whether it is a folder, not a link to one. What cannot be asked for its kind is asked again as a file."""
    try:
        return item.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _entry(path: str, policy: WalkPolicy, links: list[str]) -> Entry | None:
    """A regular file; a link to a folder is added to ``links``."""
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno in _ABSENT and os.path.islink(path):
            policy.found_broken_link(path)
        elif not _is_excused(error, path, policy):
            raise
        return None
    if stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
        return Entry(path, status.st_size, version_of(status))
    if stat.S_ISDIR(status.st_mode) and policy.enters(path):
        heapq.heappush(links, path)
    return None


def _is_excused(error: OSError, path: str, policy: WalkPolicy) -> bool:
    """Whether the walk goes on: what it met is gone, or is nothing that it needs."""
    return error.errno in _ABSENT or (isinstance(error, PermissionError) and policy.ignores_permission_error(path))


def _identity(folder: str) -> int | str:
    """Device and inode in one number; the real path where a file system has no inodes."""
    status = os.stat(folder)
    return status.st_dev << 64 | status.st_ino if status.st_ino else os.path.realpath(folder)


def version_of(status: os.stat_result) -> str:
    """What changes when a file does.

    Parameters
    ----------
    status : os.stat_result
        Of the file.

    Returns
    -------
    str
        Modification time in nanoseconds, and size.
    """
    return f"{status.st_mtime_ns}-{status.st_size}"
