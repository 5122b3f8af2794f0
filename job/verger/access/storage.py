"""Places by URI behind one small interface: list, read, write, publish once."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import pyarrow.fs as pafs

from verger.errors import DoesNotFitError, NothingToReadError, Reason, Rejection, StoreError, UsageError


@dataclass(frozen=True, slots=True)
class Entry:
    """One object or file.

    Attributes
    ----------
    path : str
        Canonical: an absolute POSIX path, never percent-encoded.
    size : int
        Bytes.
    version : str
        Changes whenever the content may have: on disk, mtime in nanoseconds and size.
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
        """Compare and swap: put ``change(content)`` unless it is None, undisturbed by others who do the same."""

    def stream(self, path: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """A file to write to, which appears under its name when the context ends without an error."""

    def delete(self, path: str) -> None:
        """Remove a file, or a folder and all below it; nothing there is no error."""

    def arrow(self) -> pafs.FileSystem:
        """The same store for pyarrow, which takes canonical paths."""

    def spark_uri(self, path: str) -> str:
        """The name by which Spark reaches ``path``."""


def canonical(uri: str) -> str:
    """Fold a local path or ``file:`` URI to its canonical form.

    Raises
    ------
    UsageError
        The scheme is not known.
    """
    scheme = re.match(r"^([A-Za-z][A-Za-z0-9+.-]*):(?=/)", uri)
    if scheme is None:
        return _absolute(os.path.expanduser(uri))
    if scheme[1].lower() != "file":
        raise UsageError(f"{uri}: the scheme {scheme[1]}: is not supported", "Give a local path or a file: URI")
    rest = uri[len("file:") :]
    if rest.startswith("//"):
        host, _, path = rest[2:].partition("/")
        if host not in ("", "localhost"):
            raise UsageError(f"{uri} names the host {host}", "A file: URI has none: file:///folder")
        rest = "/" + path
    return _absolute(rest)


def _absolute(path: str) -> str:
    """POSIX lets two leading slashes stand, and means the same place by them on Linux."""
    return "/" + os.path.abspath(path).lstrip("/")


def join(folder: str, *parts: str) -> str:
    """A path below ``folder``."""
    return "/".join((folder.rstrip("/"), *parts))


def contains(folder: str, path: str) -> bool:
    """Whether ``path`` is ``folder`` or lies below it; symbolic links are followed."""
    outer, inner = os.path.realpath(folder), os.path.realpath(path)
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
    """The store that holds ``uri``."""
    canonical(uri)
    return LocalStorage()


class LocalStorage:
    """Files and folders of this machine (or of a volume that all machines mount)."""

    def list(self, folder: str) -> Iterator[Entry]:
        if not os.path.isdir(folder):
            what = "is a file, not a folder" if os.path.exists(folder) else "does not exist"
            raise NothingToReadError(f"{folder} {what}", "Check the path")
        with _explained(folder), _found(folder):
            yield from self._walk(folder, frozenset())

    def _walk(self, folder: str, above: frozenset[tuple[int, int]]) -> Iterator[Entry]:
        here = os.stat(folder)
        identity = (here.st_dev, here.st_ino)
        if identity in above:  # a symbolic link to a folder that holds it
            return
        with os.scandir(folder) as found:
            for item in found:
                try:
                    status = item.stat()
                except OSError as error:
                    if error.errno in (errno.ENOENT, errno.ELOOP):  # gone since, or a link to nowhere or to itself
                        continue
                    raise
                if stat.S_ISDIR(status.st_mode):
                    yield from self._walk(item.path, above | {identity})
                elif stat.S_ISREG(status.st_mode):  # to open a pipe would wait for its writer
                    yield Entry(item.path, status.st_size, _version(status))

    def exists(self, path: str) -> bool:
        return os.path.isfile(path) or (os.path.isdir(path) and bool(os.listdir(path)))

    def read(self, path: str) -> bytes:
        with _explained(path), _found(path):
            return Path(path).read_bytes()

    def read_version(self, path: str, version: str) -> bytes:
        try:
            with open(path, "rb") as file:
                if _version(os.fstat(file.fileno())) != version:
                    raise Rejection(Reason.CHANGED, "changed between listing and reading")
                data = file.read()
                if _version(os.fstat(file.fileno())) != version:
                    raise Rejection(Reason.CHANGED, "changed while it was read")
                return data
        except FileNotFoundError:
            raise Rejection(Reason.VANISHED, "gone between listing and reading") from None
        except OSError as error:
            raise Rejection(Reason.UNREADABLE, error.strerror or str(error)) from None

    def write(self, path: str, data: bytes) -> None:
        with self.stream(path) as file:
            file.write(data)

    def publish_once(self, path: str, data: bytes) -> None:
        with _explained(path), _temporary(path) as (temporary, file):
            file.write(data)
            _flush(file)
            try:
                os.link(temporary, path)  # unlike a rename, refuses to replace
            except FileExistsError:
                raise AlreadyPublishedError(f"{path} exists already") from None
            _flush_folder(path)

    def update(self, path: str, change: Callable[[bytes | None], bytes | None]) -> bool:
        folder, name = os.path.split(path)
        with _explained(path):
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, f".{name}.lock"), "wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                data = change(Path(path).read_bytes() if os.path.isfile(path) else None)
                if data is None:
                    return False
                self.write(path, data)
                return True

    @contextmanager
    def stream(self, path: str) -> Iterator[BinaryIO]:
        with _explained(path), _temporary(path) as (temporary, file):
            yield file
            _flush(file)
            os.replace(temporary, path)
            _flush_folder(path)

    def delete(self, path: str) -> None:
        with _explained(path), contextlib.suppress(FileNotFoundError):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)

    def arrow(self) -> pafs.FileSystem:
        return pafs.LocalFileSystem()

    def spark_uri(self, path: str) -> str:
        return f"file://{path}"  # Hadoop takes paths as they are, not percent-encoded


def _version(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_size}"


@contextmanager
def _temporary(path: str) -> Iterator[tuple[str, BinaryIO]]:
    """A hidden file beside ``path``, which readers skip; gone when the context ends."""
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            yield temporary, file
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(path: str) -> None:
    """A rename survives a power cut only when its folder is on disk."""
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _found(path: str) -> Iterator[None]:
    """Say that there is nothing to read at ``path``."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NothingToReadError(f"{error.filename or path} does not exist", "Check the path") from error


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn the system's errors into lines that a user can act on."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DoesNotFitError(f"no space left for {where}", "Free some, or choose another folder") from error
        raise StoreError(f"{where}: {error.strerror or error}", "Check the path and its permissions") from error
