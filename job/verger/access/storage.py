"""Places by URI behind one small interface: list, read, write, publish once."""

from __future__ import annotations

import contextlib
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import pyarrow.fs as pafs

from verger.errors import StoreError, UsageError

S3 = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


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


def canonical(uri: str) -> str:
    """Fold a local path, ``file:``, ``s3:`` or ``s3a:`` URI to its canonical form.

    Raises
    ------
    UsageError
        The scheme is not known, or what follows it names no place.
    """
    if uri.startswith("arn:"):  # so that the residency guard can say why it refuses it
        return S3 + uri
    scheme = re.match(r"^([A-Za-z][A-Za-z0-9+.-]*):(?=/)", uri)
    if scheme is None:
        return _absolute(os.path.expanduser(uri))
    rest = uri[scheme.end() :]
    match scheme[1].lower():
        case "file":
            return _absolute(_without_host(uri, rest))
        case "s3" | "s3a":
            return _in_bucket(uri, rest)
    raise UsageError(f"{uri}: the scheme {scheme[1]}: is not supported", "Give a local path, or a file: or s3:// URI")


def _without_host(uri: str, rest: str) -> str:
    if not rest.startswith("//"):
        return rest
    host, _, path = rest[2:].partition("/")
    if host not in ("", "localhost"):
        raise UsageError(f"{uri} names the host {host}", "A file: URI has none: file:///folder")
    return "/" + path


def _in_bucket(uri: str, rest: str) -> str:
    bucket, _, key = rest.removeprefix("//").partition("/")
    if not rest.startswith("//") or not (_BUCKET.fullmatch(bucket) or bucket.startswith("arn:")):
        named = re.sub("//.*@", "//...@", uri)  # keys, in the manner of old Hadoop
        raise UsageError(f"{named} names no bucket", "Write s3://BUCKET/FOLDER")
    key = key.rstrip("/")
    if key and {"", ".", ".."} & set(key.split("/")):  # Spark would take them for another folder than boto3 does
        raise UsageError(f"{uri}: '//', '/./' and '/../' name no folder in a bucket", "Write s3://BUCKET/FOLDER")
    return f"{S3}{bucket}/{key}".rstrip("/")


def _absolute(path: str) -> str:
    """POSIX lets two leading slashes stand, and means the same place by them on Linux."""
    return "/" + os.path.abspath(path).lstrip("/")


@contextlib.contextmanager
def intact(path: str) -> Iterator[None]:
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


def bucket_name(uri: str) -> str | None:
    """The bucket of a canonical URI; None for a local path."""
    return uri.removeprefix(S3).partition("/")[0] if uri.startswith(S3) else None


def join(folder: str, *parts: str) -> str:
    """A path below ``folder``."""
    return "/".join((folder.rstrip("/"), *parts))


def contains(folder: str, path: str) -> bool:
    """Whether ``path`` is ``folder`` or lies below it; symbolic links are followed."""
    outer, inner = (place if place.startswith(S3) else os.path.realpath(place) for place in (folder, path))
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def apart(source: str, output: str) -> tuple[str, str]:
    """Canonical forms of a run's two places.

    Raises
    ------
    UsageError
        One contains the other: the run would list what it writes, or write among the photographs.
    """
    source, output = canonical(source), canonical(output)
    if contains(source, output) or contains(output, source):
        raise UsageError(
            f"input {source} and output {output} contain one another", "Choose an output outside the photographs"
        )
    return source, output


def storage_of(uri: str) -> Storage:
    """The store that holds ``uri``; what it needs is imported when it is first asked for."""
    # What a bucket has listed may be named as no user may name a place: AWS lets '..' stand in a key.
    bucket = bucket_name(uri if uri.startswith(S3) else canonical(uri))
    if bucket is None:
        from verger.access.local import LocalStorage

        return LocalStorage()
    from verger.access import credentials
    from verger.access.s3 import S3Storage

    return S3Storage(credentials.connection(bucket))
