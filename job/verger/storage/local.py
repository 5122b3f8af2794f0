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
from verger.storage.base import EVERYTHING, AlreadyPublishedError, Entry, Storage, WalkPolicy
from verger.storage.walking import version_of, walk


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
                os.link(temporary, path)  # unlike a rename, it fails if the file exists
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
            os.replace(temporary, path)
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

    def spark_uri(self, path: str) -> str:
        return f"file://{path}"  # Hadoop takes paths as they are, not percent-encoded


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


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(path: str) -> None:
    """Flush the folder of a file: without that, a rename may be lost in a power cut."""
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
        where = error.filename or path
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DoesNotFitError(f"no space left for {where}", "Free some space, or choose another folder") from error
        raise StoreError(f"{where}: {error.strerror or error}", "Check the path and its permissions") from error
