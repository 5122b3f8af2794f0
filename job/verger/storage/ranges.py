"""Objects as files that pyarrow reads in byte ranges: of a Parquet file, only the columns that are needed."""

from __future__ import annotations

import atexit
import io
import time
import weakref
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.fs as pafs

from verger.errors import NothingToReadError, StoreError
from verger.storage.buckets import Bucket

# The first request reads the end of the file: of a Parquet file it has the footer, and often all that is needed.
_TAIL_BYTES = 1 << 16
_EXIT_WAIT_S = 1.0
# File systems, files and bytes that exist, by id(): threads of Arrow may hold them until after a table is read.
_held: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


class ObjectReader(Protocol):
    """What `RangedFile` needs of a store."""

    @property
    def bucket(self) -> Bucket:
        """The bucket that holds the objects."""

    def get(self, path: str, **options: str) -> tuple[bytes, Any]:
        """Read an object, or a range of it.

        Parameters
        ----------
        path : str
            Canonical.
        **options
            Further options of boto3's ``get_object``, such as ``Range`` and ``IfMatch``.

        Returns
        -------
        bytes
            The content.
        dict
            boto3's answer.
        """


class RangedFile(io.RawIOBase):
    """One object as a file. All reads are of the version that was opened.

    Parameters
    ----------
    storage : ObjectReader
        Reads the objects of a bucket.
    path : str
        Canonical.

    Raises
    ------
    FileNotFoundError
        There is no such object. pyarrow expects this type.
    """

    def __init__(self, storage: ObjectReader, path: str) -> None:
        _held[id(self)] = self
        self._storage, self._path, self._position = storage, path, 0
        self._tail, answer = self._get(f"bytes=-{_TAIL_BYTES}")
        self._etag = answer.get("ETag", "")
        self.length = int(answer.get("ContentRange", f"/{len(self._tail)}").rpartition("/")[2])

    def _get(self, byte_range: str, **options: str) -> tuple[bytes, Any]:
        try:
            return self._storage.get(self._path, Range=byte_range, **options)
        except NothingToReadError as error:
            raise FileNotFoundError(error.line) from error
        except StoreError as error:
            code = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
            if code == "InvalidRange":  # the object is empty
                return b"", {}
            raise

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.length}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> memoryview:
        start = self._position
        end = self.length if size is None or size < 0 else min(self.length, start + size)
        if start >= end:
            return memoryview(b"")
        before_tail = self.length - len(self._tail)
        if start >= before_tail:
            data = self._tail[start - before_tail : end - before_tail]
        else:
            data, _ = self._get(f"bytes={start}-{end - 1}", IfMatch=self._etag)
        self._position += len(data)
        view = memoryview(data)
        _held[id(view)] = view
        return view

    def readall(self) -> bytes:
        return bytes(self.read())


class RangedFileSystem(pafs.FileSystemHandler):  # type: ignore[misc]
    """A file system of pyarrow that opens objects by name. It neither lists nor writes.

    Parameters
    ----------
    storage : ObjectReader
        Reads the objects of a bucket.
    """

    def __init__(self, storage: ObjectReader) -> None:
        _held[id(self)] = self
        self._storage = storage

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangedFileSystem) and other._storage.bucket == self._storage.bucket

    def __hash__(self) -> int:
        return hash(self._storage.bucket)

    def get_type_name(self) -> str:
        return "verger-s3"

    def normalize_path(self, path: str) -> str:
        return path

    def open_input_file(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(RangedFile(self._storage, path), mode="r")

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return [pafs.FileInfo(path, pafs.FileType.File) for path in paths]

    def _unsupported(self, *_: Any) -> Any:
        raise io.UnsupportedOperation("this file system only reads; Storage lists, writes and removes objects")

    get_file_info_selector = create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = delete_file = (
        _unsupported
    )
    move = copy_file = open_output_stream = open_append_stream = _unsupported


@atexit.register
def _wait_for_arrow() -> None:
    """Let Arrow's threads release what they hold before Python ends.

    A thread of C++ that asks for Python's lock after that ends the process with `terminate called without an active
    exception` (https://github.com/apache/arrow/issues/45017).
    """
    end = time.monotonic() + _EXIT_WAIT_S
    while _held and time.monotonic() < end:
        time.sleep(0.001)
