"""The interface of every store: list, read, write, publish once."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import pyarrow.fs as pafs

from verger.errors import StoreError


@dataclass(frozen=True, slots=True)
class Entry:
    """One object or file.

    Attributes
    ----------
    path : str
        Canonical: ``s3://bucket/key`` or an absolute POSIX path, never percent-encoded.
    size : int
        Bytes.
    version : str
        Changes whenever the content may have changed. In a bucket it is the ETag and the size; on disk it is the
        modification time in nanoseconds and the size.
    """

    path: str
    size: int
    version: str


class AlreadyPublishedError(StoreError):
    """``publish_once`` found a file or an object of that name."""


class WalkPolicy:
    """Which folders of a disk are entered. This one enters all, and forgets what is passed over.

    A bucket has no folders to enter: there, the caller passes over entries.
    """

    def enters(self, folder: str) -> bool:
        """Whether a folder is entered.

        Parameters
        ----------
        folder : str
            Its path, below the folder that is listed.
        """
        return True

    def ignores_permission_error(self, path: str) -> bool:
        """Whether the walk goes on although a file or folder may not be read.

        Parameters
        ----------
        path : str
            Of the file or folder.
        """
        return False

    def found_entered_folder(self, folder: str) -> None:
        """Hear of a folder that was entered before, by another path.

        Parameters
        ----------
        folder : str
            The path by which it is not entered.
        """

    def found_broken_link(self, path: str) -> None:
        """Hear of a symbolic link that leads nowhere.

        Parameters
        ----------
        path : str
            Of the link.
        """


EVERYTHING = WalkPolicy()
"""Enters all folders."""


class Storage(Protocol):
    """A local disk or a bucket. What is written appears whole or not at all.

    All paths are canonical (see `verger.storage.uri.canonical`).
    """

    def list(self, folder: str, policy: WalkPolicy = EVERYTHING) -> Iterator[Entry]:
        """List all files below a folder, at any depth, in the byte order of their paths where the store lists so.

        Not in this order is what lies behind symbolic links to folders of a disk, which comes last, and what is in a
        bucket whose store lists in an order of its own.

        Parameters
        ----------
        folder : str
            A folder, or a whole bucket.
        policy : WalkPolicy
            Which folders of a disk are entered. It does not concern a bucket.

        Yields
        ------
        Entry
            One for each file; in a bucket, empty objects whose key ends in a slash are left out.

        Raises
        ------
        NothingToReadError
            There is no such folder.
        StoreError
            It may not be read, or a folder below it.
        """

    def exists(self, path: str) -> bool:
        """Tell whether there is a file of exactly this name, or a folder that is not empty.

        Parameters
        ----------
        path : str
            Of a file, a folder or a whole bucket.
        """

    def read(self, path: str) -> bytes:
        """Read a file.

        Parameters
        ----------
        path : str
            Of the file.

        Returns
        -------
        bytes
            Its whole content.

        Raises
        ------
        NothingToReadError
            There is no such file.
        """

    def read_version(self, path: str, version: str) -> bytes:
        """Read a photograph, in one version only.

        Parameters
        ----------
        path : str
            Of the photograph, as `Entry` has it.
        version : str
            As `Entry` has it.

        Returns
        -------
        bytes
            The whole content of this version.

        Raises
        ------
        Rejection
            It has ``vanished``, has ``changed`` or is ``unreadable``.
        StoreError
            The store refuses or cannot be reached; that is not a fault of this photograph.
        """

    def write(self, path: str, data: bytes) -> None:
        """Write a file, in place of an existing one.

        Parameters
        ----------
        path : str
            Of the file; folders that do not exist are made.
        data : bytes
            Its whole content.
        """

    def publish_once(self, path: str, data: bytes) -> None:
        """Write a file that must not exist yet.

        Parameters
        ----------
        path : str
            Of the file; folders that do not exist are made.
        data : bytes
            Its whole content.

        Raises
        ------
        AlreadyPublishedError
            It exists.
        """

    def update(self, path: str, change: Callable[[bytes | None], bytes | None]) -> bool:
        """Replace the content of a file atomically (compare and swap).

        Parameters
        ----------
        path : str
            Of the file, which need not exist.
        change : callable
            Takes the present content, None where there is no file. It returns the new content, or None to leave the
            file as it is. It is called again where another process wrote in between.

        Returns
        -------
        bool
            Whether the file now has the new content. Of several processes that write the same content at once, each
            gets True.
        """

    def stream(self, path: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open a file for writing. It appears under its name when the context ends without an error.

        Parameters
        ----------
        path : str
            Of the file; an existing one is replaced when the context ends without an error.

        Returns
        -------
        context manager
            Of the file, a binary stream.
        """

    def make_folder(self, folder: str) -> None:
        """Make a folder, unless it exists.

        Parameters
        ----------
        folder : str
            Folders above it are made too.
        """

    def delete(self, path: str) -> None:
        """Remove a file, or a folder and everything below it. It is no error if there is neither.

        Parameters
        ----------
        path : str
            Of the file or folder.
        """

    def arrow(self) -> pafs.FileSystem:
        """Give the same store as a file system of pyarrow, which takes canonical paths.

        Returns
        -------
        pyarrow.fs.FileSystem
            To open files by name; that of a bucket neither lists nor writes.
        """


@contextlib.contextmanager
def raise_if_corrupt(path: str) -> Iterator[None]:
    """Report a file that cannot be parsed as damaged: only Verger writes these files, so the user did not edit it.

    Parameters
    ----------
    path : str
        The file that the context reads, for the message.

    Raises
    ------
    StoreError
        JSON, NumPy or Arrow cannot parse the content, or a part of it is missing. Errors of the operating system,
        which have an error number, are passed on.
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise
        raise StoreError(f"{path} is damaged", "Run again") from error
