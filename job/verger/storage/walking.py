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
    """Find all files below a folder.

    A folder is entered once, known by its device and inode. Folders that are reached without a symbolic link come
    first, in sorted order; then those behind links, in the order of the links' paths. So the same tree gives the same
    paths on every machine.

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
        folders = [heapq.heappop(links)]
        while folders:
            folder = folders.pop()
            try:
                identity = _identity(folder)
                if identity in entered:
                    policy.met_again(folder)
                    continue
                entered.add(identity)
                subfolders: list[str] = []
                yield from _scan(folder, policy, subfolders, links)
            except OSError as error:
                if folder == root or not _is_excused(error, folder, policy):
                    raise
                continue
            folders += sorted(subfolders, reverse=True)  # the last one is the next


def _scan(folder: str, policy: WalkPolicy, subfolders: list[str], links: list[str]) -> Iterator[Entry]:
    """The files of one folder; folders in it, and links to folders, are added to the two lists."""
    with os.scandir(folder) as found:
        for item in found:
            try:
                is_link = item.is_symlink()
                if not is_link and item.is_dir(follow_symlinks=False):
                    if policy.enters(item.path):
                        subfolders.append(item.path)
                    continue
                status = item.stat()
            except OSError as error:
                if error.errno in _ABSENT and item.is_symlink():
                    policy.found_broken_link(item.path)
                elif not _is_excused(error, item.path, policy):
                    raise
                continue
            if stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
                yield Entry(item.path, status.st_size, version_of(status))
            elif is_link and stat.S_ISDIR(status.st_mode) and policy.enters(item.path):
                heapq.heappush(links, item.path)


def _is_excused(error: OSError, path: str, policy: WalkPolicy) -> bool:
    """Whether the walk goes on: what it met is gone, or is nothing that it needs."""
    return error.errno in _ABSENT or (isinstance(error, PermissionError) and policy.excuses(path))


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
