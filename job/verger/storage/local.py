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

from verger.errors import NothingToReadError, Reason, Rejection
from verger.storage import system_errors
from verger.storage.base import EVERYTHING, AlreadyPublishedError, Entry, Storage, WalkPolicy
from verger.storage.walking import version_of, walk

# What os.link says where the file system has no hard links, by kernel and FUSE driver.
_NO_HARD_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EMLINK}
# What os.fsync says where the file system cannot flush this.
_NO_FSYNC = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


class LocalStorage(Storage):
    """Files and folders of this machine, or of a volume that all machines mount."""

    def list(self, folder: str, policy: WalkPolicy = EVERYTHING) -> Iterator[Entry]:
        with _translate_errors(folder), _translate_not_found(folder):
            if not stat.S_ISDIR(os.stat(folder).st_mode):
                raise NothingToReadError(f"{folder} is a file, not a folder", "Check the path")
            yield from walk(folder, policy)

    def exists(self, path: str) -> bool:
        return os.path.isfile(path) or (os.path.isdir(path) and bool(os.listdir(path)))

    def read(self, path: str) -> bytes:
        with _translate_errors(path), _translate_not_found(path):
            return Path(path).read_bytes()

    def read_version(self, path: str, version: str) -> bytes:
        try:
            with open(path, "rb") as file:
                if version_of(os.fstat(file.fileno())) != version:
                    raise Rejection(Reason.CHANGED, "changed between listing and reading")
                data = file.read()
                if version_of(os.fstat(file.fileno())) != version:
                    raise Rejection(Reason.CHANGED, "changed while it was read")
                return data
        except FileNotFoundError:
            raise Rejection(Reason.VANISHED, "deleted between listing and reading") from None
        except OSError as error:
            raise Rejection(Reason.UNREADABLE, error.strerror or str(error)) from None

    def write(self, path: str, data: bytes) -> None:
        with self.stream(path) as file:
            file.write(data)

    def publish_once(self, path: str, data: bytes) -> None:
        with _translate_errors(path), _temporary_file(path) as (temporary, file):
            file.write(data)
            _flush(file)
            try:
                _move_new(temporary, path)
            except FileExistsError:
                raise AlreadyPublishedError(f"{path} exists already") from None
            _flush_folder(path)

    def update(self, path: str, change: Callable[[bytes | None], bytes | None]) -> bool:
        folder, name = os.path.split(path)
        with _translate_errors(path):
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
        with _translate_errors(path), _temporary_file(path) as (temporary, file):
            yield file
            _flush(file)
            _replace(temporary, path)
            _flush_folder(path)

    def make_folder(self, folder: str) -> None:
        with _translate_errors(folder):
            os.makedirs(folder, exist_ok=True)

    def delete(self, path: str) -> None:
        with _translate_errors(path), contextlib.suppress(FileNotFoundError):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)

    def arrow(self) -> pafs.FileSystem:
        return pafs.LocalFileSystem()


@contextmanager
def _temporary_file(path: str) -> Iterator[tuple[str, BinaryIO]]:
    """A hidden file in the folder of ``path``. Readers skip it, and it is deleted when the context ends."""
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            yield temporary, file
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _move_new(temporary: str, path: str) -> None:
    """Give a finished file its name; FileExistsError where a file has it.

    A hard link fails where there is a file, but FAT, exFAT and many network shares have no hard links. There a rename
    must do, which replaces a file. So one process of this machine at a time looks whether there is one, and renames.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        with _locked_folder(path):
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from None
            _replace(temporary, path)


@contextmanager
def _locked_folder(path: str) -> Iterator[None]:
    """Hold the lock of a file's folder. It leaves no file behind, and the system releases it when this process dies."""
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(temporary: str, path: str) -> None:
    try:
        os.replace(temporary, path)
    except OSError as error:
        error.filename = path  # the user knows this one
        raise


def _flush(file: BinaryIO) -> None:
    file.flush()
    _fsync(file.fileno())


def _flush_folder(path: str) -> None:
    """Flush the folder of a file: without that, a rename may be lost in a power cut."""
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        _fsync(descriptor)
    finally:
        os.close(descriptor)


def _fsync(descriptor: int) -> None:
    """Flush a file or a folder, if the file system can: many network shares cannot flush folders."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise


@contextmanager
def _translate_not_found(path: str) -> Iterator[None]:
    """Turn the system's errors about a missing file into NothingToReadError."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NothingToReadError(f"{error.filename or path} does not exist", "Check the path") from error


@contextmanager
def _translate_errors(path: str) -> Iterator[None]:
    """Turn the system's errors into errors that say what the user can do."""
    try:
        yield
    except OSError as error:
        words = error.strerror or str(error)
        raise system_errors.explain(error.errno, words, error.filename or path) from error
