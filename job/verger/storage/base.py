"""What every store can do: list, read, write, publish once."""

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
        Changes whenever the content may have: the ETag and size in a bucket, mtime in nanoseconds and size on disk.
    """

    path: str
    size: int
    version: str


class AlreadyPublishedError(StoreError):
    """``publish_once`` found something in its place."""


class Storage(Protocol):
    """What every store can do. Whatever is written appears whole or not at all."""

    def list(self, folder: str) -> Iterator[Entry]:
        """Everything below ``folder``, at any depth, in no order; NothingToReadError where there is no such place."""

    def exists(self, path: str) -> bool:
        """Whether there is a file or an object of exactly this name, or a folder with something in it."""

    def read(self, path: str) -> bytes:
        """The content; NothingToReadError where there is none."""

    def read_version(self, path: str, version: str) -> bytes:
        """The content of just this version; Rejection ``vanished``, ``changed`` or ``unreadable`` otherwise."""

    def write(self, path: str, data: bytes) -> None:
        """Put ``data`` there, over what is there."""

    def publish_once(self, path: str, data: bytes) -> None:
        """Put ``data`` there; AlreadyPublishedError where something is."""

    def update(self, path: str, change: Callable[[bytes | None], bytes | None]) -> bool:
        """Compare and swap: put ``change(content)`` unless it is None, undisturbed by others who do the same.

        Of those who put the very same content, each is told that it did.
        """

    def stream(self, path: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """A file to write to, which appears under its name when the context ends without an error."""

    def make_folder(self, folder: str) -> None:
        """See that there is such a folder, if only an empty one."""

    def delete(self, path: str) -> None:
        """Remove a file, or a folder and all below it; nothing there is no error."""

    def arrow(self) -> pafs.FileSystem:
        """The same store for pyarrow, which takes canonical paths."""

    def spark_uri(self, path: str) -> str:
        """The name by which Spark reaches ``path``."""


@contextlib.contextmanager
def raise_if_corrupt(path: str) -> Iterator[None]:
    """Say of content that cannot be made sense of that the file is damaged: what a run has written, nobody edits.

    Raises
    ------
    StoreError
        JSON, NumPy or Arrow refuse it (by a ValueError, or an OSError without a number), or a part is missing.
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise
        raise StoreError(f"{path} is damaged", "Run again") from error
