"""Files and folders of this machine as a `Storage`."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow.fs as pafs

from verger.errors import DoesNotFitError, NothingToReadError, Reason, Rejection, StoreError
from verger.storage.base import AlreadyPublishedError, Entry


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

    def make_folder(self, folder: str) -> None:
        with _explained(folder):
            os.makedirs(folder, exist_ok=True)

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
